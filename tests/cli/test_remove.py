"""`mattebox remove`: one photo, its options, and what is wrong with them."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.command import EMPTY, PHOTO, mattebox, names, opened, photos, process, solid

from mattebox import codec
from mattebox.cli import Components
from mattebox.edit import (
    Blur,
    Canvas,
    Color,
    Edit,
    Fit,
    Gradient,
    Layout,
    Length,
    Margin,
    Matte,
    Output,
    Region,
    Shadow,
    ShadowKind,
)
from mattebox.engine import Engine
from mattebox.image import RGB
from mattebox.image import Image as Picture
from mattebox.models import ModelOptions
from mattebox.options import EditOptions, ReplaceOptions
from mattebox.steps import Segmenters
from mattebox.testing import FakeModels, make_scene

# --- one photo ---------------------------------------------------------------------------------------------------


def test_a_photo_becomes_a_cutout_beside_it(tmp_path: Path) -> None:
    photos(tmp_path, "my höliday.png")
    result = mattebox("remove", tmp_path / "my höliday.png")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "my höliday-cutout.png" in result.stderr
    made = opened(tmp_path / "my höliday-cutout.png")
    assert (made.mode, made.size) == ("RGBA", (120, 90))
    assert made.getpixel((0, 0)) == (0, 0, 0, 0)
    assert names(tmp_path) == {"my höliday.png", "my höliday-cutout.png"}
    assert (tmp_path / "my höliday.png").read_bytes() == PHOTO


@pytest.mark.parametrize(
    ("name", "written"), [("x.webp", "WEBP"), ("x.jpg", "JPEG"), ("x.avif", "AVIF"), ("new/x.png", "PNG")]
)
def test_the_ending_says_the_format(tmp_path: Path, name: str, written: str) -> None:
    photos(tmp_path, "a.png")
    assert mattebox("remove", tmp_path / "a.png", "-o", tmp_path / name).exit_code == 0
    assert opened(tmp_path / name).format == written


def test_every_option_reaches_the_picture(tmp_path: Path) -> None:
    photos(tmp_path, "a.png")
    photo = tmp_path / "a.png"
    assert mattebox("remove", photo, "-o", tmp_path / "1.png", "--background", "rgb(1, 2, 3)").exit_code == 0
    assert opened(tmp_path / "1.png").getpixel((0, 0)) == (1, 2, 3)
    assert mattebox("remove", photo, "-o", tmp_path / "2.png", "--crop").exit_code == 0
    cropped = opened(tmp_path / "2.png").size
    assert cropped[0] < 120
    assert cropped[1] < 90
    assert mattebox("remove", photo, "-o", tmp_path / "3.png", "--size", "40", "--no-crop").exit_code == 0
    assert opened(tmp_path / "3.png").size == (40, 30)
    assert mattebox("remove", photo, "-o", tmp_path / "4.png", "--alpha-only").exit_code == 0
    assert opened(tmp_path / "4.png").mode == "L"
    assert mattebox("remove", photo, "-o", tmp_path / "5.bin", "--format", "JPG", "--quality", "20").exit_code == 0
    assert mattebox("remove", photo, "-o", tmp_path / "6.jpg", "--quality", "95").exit_code == 0
    assert (tmp_path / "5.bin").stat().st_size < (tmp_path / "6.jpg").stat().st_size
    assert mattebox("remove", photo, "-o", tmp_path / "7.zip", "--foreground", "keep").exit_code == 0
    assert set(zipfile.ZipFile(tmp_path / "7.zip").namelist()) == {"color.jpg", "alpha.png"}
    photo.write_bytes(codec.encode(Picture(rgb=make_scene(width=400, height=300, seed=1).photo), Output()))
    for number, more in enumerate([[], ["--no-refine"], ["--foreground", "keep"]]):
        assert mattebox("remove", photo, "-o", tmp_path / f"r{number}.png", *more).exit_code == 0
    assert len({(tmp_path / f"r{number}.png").read_bytes() for number in range(3)}) == 3


@pytest.mark.parametrize(
    ("options", "edit"),
    [
        (["--shadow", "cast"], Edit(shadow=Shadow(kind=ShadowKind.CAST))),
        (
            ["--shadow", "ground", "--shadow-opacity", "0.25", "--crop", "--margin", "10px 5%"],
            Edit(
                shadow=Shadow(kind=ShadowKind.GROUND, opacity=0.25),
                layout=Layout(crop=True, margin=Margin(*[Length(10), Length(5, percent=True)] * 2)),
            ),
        ),
        (["--shadow", "none", "--no-semitransparency"], Edit(matte=Matte(semitransparency=False))),
        (["--background-blur", "2.5"], Edit(backdrop=Blur(2.5))),
        (
            ["--background-gradient", "-45 #fff rgb(0, 10, 20)"],
            Edit(backdrop=Gradient(Color(255, 255, 255), Color(0, 10, 20), -45)),
        ),
        (
            ["--roi", "0 0 50% 90px"],
            Edit(
                layout=Layout(roi=Region(Length(0), Length(0), Length(50, percent=True), Length(90))),
            ),
        ),
        (
            ["--scale", "50%", "--position", "0% 100%"],
            Edit(layout=Layout(scale=0.5, position=(0, 1))),
        ),
        (
            ["--crop", "--ratio", "1:1", "--width", "50", "--height", "40", "--fit", "cover"],
            Edit(
                layout=Layout(crop=True, ratio=(1, 1), canvas=Canvas(width=50, height=40, fit=Fit.COVER)),
            ),
        ),
        (
            ["--height", "45", "--size", "30"],
            Edit(layout=Layout(canvas=Canvas(height=45), max_side=30)),
        ),
    ],
)
def test_the_words_of_layout_and_shadow(tmp_path: Path, options: list[str], edit: Edit) -> None:
    photo = codec.encode(Picture(rgb=make_scene(width=120, height=90, seed=2).photo), Output())
    photos(tmp_path, "a.png", data=photo)
    result = mattebox("remove", tmp_path / "a.png", "-o", tmp_path / "x.png", *options)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "x.png").read_bytes() == Engine(FakeModels()).run_file(edit, photo).data


def test_a_picture_goes_behind_many(tmp_path: Path) -> None:
    photos(tmp_path / "in", "a.png", "b.png")
    photos(tmp_path, "behind.png", data=solid((0, 200, 0)))
    result = mattebox("remove", tmp_path / "in", "-o", tmp_path / "out", "--background-image", tmp_path / "behind.png")
    assert result.exit_code == 0, result.stderr
    for name in ("a.png", "b.png"):
        made = opened(tmp_path / "out" / name)
        assert (made.mode, made.getpixel((0, 0))) == ("RGB", (0, 200, 0))


def test_a_picture_behind_that_is_no_good_fails_once_and_before_any_work(tmp_path: Path) -> None:
    photos(tmp_path / "in", "a.png", "b.png")
    photos(tmp_path, "behind.png", data=b"rubbish")
    for name in ("behind.png", "missing.png"):
        result = mattebox("remove", tmp_path / "in", "-o", tmp_path / "out", "--background-image", tmp_path / name)
        assert result.exit_code == 1
        assert result.stderr.count(name) >= 1
        assert len(result.stderr.splitlines()) == 1
        assert not (tmp_path / "out").exists()


def test_a_picture_behind_is_never_overwritten(tmp_path: Path) -> None:
    photos(tmp_path, "a.png")
    photos(tmp_path, "behind.png", data=solid((0, 200, 0)))
    for command in (["remove", "--background-image"], ["replace", "--image"]):
        result = mattebox(
            *(command[0], tmp_path / "a.png", "-o", tmp_path / "behind.png", "--overwrite"),
            *(command[1], tmp_path / "behind.png"),
        )
        assert result.exit_code == 1
        assert "would be overwritten" in result.stderr
    assert (tmp_path / "behind.png").read_bytes() == solid((0, 200, 0))


def test_device_and_own_files_reach_the_networks(tmp_path: Path) -> None:
    photos(tmp_path, "a.png")
    seen: list[ModelOptions] = []

    def networks(options: ModelOptions, _: object) -> Segmenters:
        seen.append(options)
        return FakeModels()

    mattebox("remove", tmp_path / "a.png", "--device", "openvino:NPU", parts=Components(networks=networks))
    environment = {"MATTEBOX_MODELS_DEVICE": "cuda", "MATTEBOX_MODELS_THREADS": "3"}
    mattebox("remove", tmp_path / "a.png", "--overwrite", parts=Components(networks=networks), env=environment)
    assert [(each.device, each.threads, each.user_files) for each in seen] == [
        ("openvino:NPU", 0, True),
        ("cuda", 3, True),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        ["--background", "#12"],
        ["--format", "gif"],
        ["--size", "0"],
        ["--quality", "101"],
        ["--jobs", "0"],
        ["--foreground", "none"],
        ["--model", "nonsense"],
        ["--format", "zip", "--alpha-only"],
        ["-o", "x.gif"],
        ["-o", "-", "--json"],
        ["--nonsense"],
        ["-"],
        ["--background", "red", "--background-blur", "3"],
        ["--background-image", "a.png", "--background-blur", "3"],
        ["--background-blur", "0"],
        ["--background-gradient", "red"],
        ["--background", "red", "--background-gradient", "red blue"],
        ["--background-blur", "nan"],
        ["--shadow", "long"],
        ["--shadow", "drop", "--shadow-opacity", "2"],
        ["--shadow", "drop", "--shadow-opacity", "nan"],
        ["--shadow-opacity", "0.5"],
        ["--roi", "1 2 3"],
        ["--margin", "10px"],
        ["--ratio", "4:3"],
        ["--crop", "--margin", "wide"],
        ["--crop", "--ratio", "4"],
        ["--scale", "80"],
        ["--position", "left"],
        ["--width", "0"],
        ["--fit", "cover"],
        ["--width", "10", "--fit", "tight"],
    ],
)
def test_a_wrong_command_is_status_2_and_does_nothing(tmp_path: Path, wrong: list[str]) -> None:
    photos(tmp_path, "a.png")
    result = mattebox("remove", tmp_path / "a.png", *wrong)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert names(tmp_path) == {"a.png"}


def test_no_input_and_a_missing_input(tmp_path: Path) -> None:
    assert mattebox("remove").exit_code == 2
    result = mattebox("remove", tmp_path / "no.jpg")
    assert result.exit_code == 1
    assert "no.jpg" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("wrong", "option", "sentence"),
    [
        (["--margin", "10px"], "--margin", "--margin requires --crop."),
        (["--fit", "cover"], "--fit", "--fit requires --width or --height."),
        (
            ["--background", "red", "--background-blur", "3"],
            "--background-blur",
            "--background-blur cannot be combined with --background.",
        ),
        (["--shadow", "drop", "--shadow-opacity", "2"], "--shadow-opacity", "must be a number from 0 to 1."),
        (["--width", "0"], "--width", "--width must be a whole number from 1 to "),
        (["--crop", "--margin", "wide"], "--margin", "wide"),
    ],
)
def test_a_wrong_option_is_named_in_a_sentence(tmp_path: Path, wrong: list[str], option: str, sentence: str) -> None:
    photos(tmp_path, "a.png")
    result = mattebox("remove", tmp_path / "a.png", *wrong, env={"COLUMNS": "300"})
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert f"Invalid value for {option}: " in result.stderr


@pytest.mark.parametrize(("command", "model"), [("remove", EditOptions), ("replace", ReplaceOptions)])
def test_each_field_of_an_edit_is_an_option(command: str, model: type[EditOptions]) -> None:
    said = mattebox(command, "--help", env={"COLUMNS": "300"}).stdout
    for name in (*model.model_fields, "background_image"):
        assert re.search(rf"--{name.replace('_', '-')}[ ,]", said)
    for word in ("ground", "scale-down", "multilevel", "1..100", "--no-crop", "Requires --crop."):
        assert word in said


def test_replace_has_both_names_of_a_background_and_the_layout(tmp_path: Path) -> None:
    photo = codec.encode(Picture(rgb=make_scene(width=120, height=90, seed=2).photo), Output())
    photos(tmp_path, "a.png", data=photo)
    photos(tmp_path, "behind.png", data=solid((0, 200, 0)))
    behind = str(tmp_path / "behind.png")
    more = ["--crop", "--margin", "5px", "--shadow", "drop", "--size", "50"]
    for long, short, value in (
        ("--background", "--color", "red"),
        ("--background-image", "--image", behind),
        ("--background-gradient", "--gradient", "red 00f"),
        ("--background-blur", "--blur", "4"),
    ):
        for option in (long, short):
            result = mattebox("replace", tmp_path / "a.png", "-o", tmp_path / f"{option}.png", option, value, *more)
            assert result.exit_code == 0, result.stderr
        assert (tmp_path / f"{long}.png").read_bytes() == (tmp_path / f"{short}.png").read_bytes()
        assert max(opened(tmp_path / f"{long}.png").size) <= 50


def test_an_existing_output_is_an_error_for_one_photo_unless_overwritten(tmp_path: Path) -> None:
    photos(tmp_path, "a.png")
    (tmp_path / "x.png").write_bytes(b"mine")
    result = mattebox("remove", tmp_path / "a.png", "-o", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert (tmp_path / "x.png").read_bytes() == b"mine"
    assert mattebox("remove", tmp_path / "a.png", "-o", tmp_path / "x.png", "--overwrite").exit_code == 0
    assert opened(tmp_path / "x.png").mode == "RGBA"


@pytest.mark.posix
def test_an_input_reached_through_a_link_is_not_overwritten(tmp_path: Path) -> None:
    photos(tmp_path, "a.png")
    (tmp_path / "x.png").symlink_to(tmp_path / "a.png")
    assert mattebox("remove", tmp_path / "a.png", "-o", tmp_path / "x.png", "--overwrite").exit_code == 1
    assert (tmp_path / "a.png").read_bytes() == PHOTO
    assert (tmp_path / "x.png").is_symlink()


def test_no_subject_is_a_warning_and_an_empty_cutout(tmp_path: Path) -> None:
    photos(tmp_path, "wall.png", data=EMPTY)
    result = mattebox("remove", tmp_path / "wall.png", "--json")
    assert result.exit_code == 0
    assert "wall.png: no subject was found" in result.stderr
    assert json.loads(result.stdout)["subject"] is None
    assert opened(tmp_path / "wall-cutout.png").getchannel("A").getextrema() == (0, 0)


def test_a_sentence_has_no_way_to_move_the_cursor(tmp_path: Path) -> None:
    photos(tmp_path, "a\x1b[31m[bold]x.png", data=EMPTY)
    result = mattebox("remove", tmp_path / "a\x1b[31m[bold]x.png")
    assert "\x1b" not in result.stderr
    assert "a\\x1b[31m[bold]x.png: no subject" in result.stderr


# --- the real thing ----------------------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.model
def test_an_astronaut(tmp_path: Path) -> None:
    from skimage import data

    photo: RGB = data.astronaut()  # type: ignore[no-untyped-call]
    Image.fromarray(photo).save(tmp_path / "astronaut.png")
    done = subprocess.run(
        process("remove", tmp_path / "astronaut.png", "-o", tmp_path / "x.webp", "--json", fake_networks=False),
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert (told["width"], told["height"]) == (512, 512)
    assert told["subject"]["height"] > 400
    alpha = np.asarray(opened(tmp_path / "x.webp"))[:, :, 3]
    assert alpha[150, 220] > 250  # her face
    assert alpha[20, 20] < 5


def test_corrections_are_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PHOTO)
    file, target = tmp_path / "mend.json", tmp_path / "out.png"
    stroke = {"points": [[0.5, 0.5]], "size": 0.1, "hardness": 1, "keep": False}
    file.write_text(json.dumps({"strokes": [stroke], "box": [0, 0, 1, 1]}))
    result = mattebox("remove", tmp_path / "a.png", "-o", target, "--corrections", file, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["corrections"] == "parts"
    alpha = codec.decode(target.read_bytes()).alpha
    assert alpha is not None
    assert (alpha[45, 60], alpha[30, 40]) == (0, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "--corrections is not valid JSON"),
        ('{"box": [0, 0]}', "--corrections cannot be used: box[2]"),
        (None, "mend.json"),
    ],
)
def test_corrections_that_cannot_be_used_are_a_wrong_command(tmp_path: Path, text: str | None, message: str) -> None:
    (tmp_path / "a.png").write_bytes(PHOTO)
    file = tmp_path / "mend.json"
    if text is not None:
        file.write_text(text)
    result = mattebox("remove", tmp_path / "a.png", "--corrections", file, env={"COLUMNS": "500"})
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr

"""The command line, with fakes where networks would be; the real one is run where it says `model`."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from mattebox import codec
from mattebox.backdrops.scenes.catalogue import views as scene_views
from mattebox.cli import Components, app
from mattebox.download import transfer
from mattebox.download.transfer import Address
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
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha
from mattebox.image import Image as Picture
from mattebox.models import CATALOGUE, ModelOptions, Segmenter
from mattebox.models.catalogue import Choice, Ensemble, Row, Variant
from mattebox.options import EditOptions, ReplaceOptions
from mattebox.steps import Segmenters
from mattebox.testing import FakeModels, FakeSegmenter, make_scene


def _photo() -> bytes:
    rgb = np.full((90, 120, 3), 200, np.uint8)
    rgb[20:70, 30:90] = (150, 30, 40)
    return codec.encode(Picture(rgb=rgb), Output())


PHOTO = _photo()
EMPTY = codec.encode(Picture(rgb=np.full((40, 50, 3), 200, np.uint8)), Output())


def fake(models: Segmenters | None = None) -> Components:
    return Components(networks=lambda options, fetching: models or FakeModels())


def mattebox(
    *args: str | Path, parts: Components | None = None, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> Result:
    return CliRunner().invoke(
        app, [str(arg) for arg in args], obj=parts or fake(), input=stdin, env=env, catch_exceptions=False
    )


def process(*args: str | Path, fake_networks: bool = True) -> list[str]:
    """The command line of a real process."""
    code = (
        "from mattebox.cli import Components, main; from mattebox.testing import FakeModels\n"
        "main(Components(networks=lambda options, fetching: FakeModels()))"
    )
    program = ["-c", code] if fake_networks else ["-m", "mattebox"]
    return [sys.executable, *program, *map(str, args)]


def photos(folder: Path, *names: str, data: bytes = PHOTO) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def names(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def opened(file: Path | bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file)
    picture.load()
    return picture


@dataclass(frozen=True)
class Elsewhere:
    """Models that do something of their own whenever the segmenter is called."""

    act: Callable[[RGB], Alpha]

    def segmenter(self, name: str) -> Segmenter:
        return self

    def __call__(self, photo: RGB) -> Alpha:
        return self.act(photo)

    def warm(self, name: str) -> None: ...


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


def solid(color: tuple[int, int, int]) -> bytes:
    return codec.encode(Picture(rgb=np.full((30, 40, 3), color, np.uint8)), Output())


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


# --- replace -----------------------------------------------------------------------------------------------------


@pytest.fixture
def backdrops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of their own for backdrops, with nothing in them: studios are drawn, places are not there."""
    monkeypatch.setenv("MATTEBOX_BACKDROPS_DIRECTORY", str(tmp_path / "backdrops"))
    monkeypatch.setenv("MATTEBOX_BACKDROPS_PACKS", str(tmp_path / "packs"))
    return tmp_path


def test_a_subject_before_a_colour_a_picture_or_its_own_background(tmp_path: Path) -> None:
    photos(tmp_path, "a.png")
    photos(tmp_path, "behind.png", data=solid((0, 200, 0)))
    for number, (option, value, color) in enumerate(
        [
            ("--color", "blue", (0, 0, 255)),
            ("--image", str(tmp_path / "behind.png"), (0, 200, 0)),
            ("--gradient", "blue blue", (0, 0, 255)),
            ("--blur", "3", (200, 200, 200)),
        ]
    ):
        target = tmp_path / f"{number}.png"
        result = mattebox("replace", tmp_path / "a.png", "-o", target, option, value, "--json")
        assert result.exit_code == 0, result.stderr
        assert opened(target).getpixel((0, 0)) == color
        told = json.loads(result.stdout)
        assert told.pop("seconds") > 0
        assert set(told.pop("subject")) == {"left", "top", "width", "height"}
        assert told == {
            "path": str(target),
            "width": 120,
            "height": 90,
            "corrections": None,
            "backend": None,
            "scene": None,
            "score": None,
            "warning": None,
        }


def test_a_prompt_is_matched_once(backdrops: Path, matched: list[str]) -> None:
    photos(backdrops, "a.png")
    prompt = "on a wooden table"
    assert mattebox("replace", backdrops / "a.png", "-o", backdrops / "b.png", "--prompt", prompt).exit_code == 0
    assert matched == [prompt]


def test_a_subject_in_a_place_in_words(backdrops: Path) -> None:
    photos(backdrops, "a.png")
    made = []
    for name, seed in (("1.png", "1"), ("2.png", "1"), ("3.jpg", "2")):
        result = mattebox(
            *("replace", backdrops / "a.png", "-o", backdrops / name),
            *("--prompt", "on a wooden table", "--seed", seed, "--json"),
        )
        assert result.exit_code == 0, result.stderr
        told = json.loads(result.stdout)
        assert (told["path"], told["width"], told["height"]) == (str(backdrops / name), 120, 90)
        assert (told["backend"], told["score"], told["warning"]) == ("studio", 1, None)
        assert told["scene"] in {"wood", "table_room"}
        made.append(opened(backdrops / name))
    assert [each.format for each in made] == ["PNG", "PNG", "JPEG"]
    assert made[0].tobytes() == made[1].tobytes()
    assert {each.mode for each in made} == {"RGB"}


def test_a_prompt_that_nothing_shows_is_served_by_the_nearest_unless_that_is_not_wanted(
    backdrops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(backdrops, "a.png")
    # Known by one of its words, and not served: two places at a time.
    args = ("replace", backdrops / "a.png", "-o", backdrops / "x.png", "--prompt", "marble and red brick")
    result = mattebox(*args, "--json", "--no-nearest")
    assert result.exit_code == 1
    assert "The nearest here are" in result.stderr
    monkeypatch.setenv("MATTEBOX_BACKDROPS_STRICT", "true")
    assert mattebox(*args).stderr == mattebox(*args, "--no-nearest").stderr
    told = json.loads(result.stdout)
    assert set(told) == {"input", "error", "kind"}
    assert told["kind"] == "invalid_parameter"
    assert not (backdrops / "x.png").exists()
    strict = mattebox(*args, "--json", "--nearest", "--overwrite")
    monkeypatch.delenv("MATTEBOX_BACKDROPS_STRICT")
    for anyway in (strict, mattebox(*args, "--json", "--overwrite")):
        assert anyway.exit_code == 0, anyway.stderr
        told = json.loads(anyway.stdout)
        assert told["scene"] in result.stderr
        assert told["warning"] in anyway.stderr


def test_an_empty_prompt_is_a_plain_studio(backdrops: Path) -> None:
    result = mattebox("replace", "-", "-o", "-", "--prompt", "", stdin=PHOTO)
    assert result.exit_code == 0, result.stderr
    assert opened(result.stdout_bytes).mode == "RGB"


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["--color", "red", "--prompt", "a park"],
        ["--image", "a.png", "--blur", "3"],
        ["--color", "greenish"],
        ["--blur", "0"],
        ["--color", "red", "--seed", "3"],
        ["--blur", "3", "--nearest"],
        ["--color", "red", "--generator", "scenes"],
        ["--prompt", "a park", "--generator", "magic"],
        ["--prompt", "a park", "--seed", "-1"],
        ["--color", "red", "--format", "gif"],
        ["--color", "red", "--model", "nonsense"],
    ],
)
def test_a_wrong_replacement_is_status_2_and_does_nothing(tmp_path: Path, wrong: list[str]) -> None:
    photos(tmp_path, "a.png")
    result = mattebox("replace", tmp_path / "a.png", "-o", tmp_path / "x.png", *wrong)
    assert result.exit_code == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert names(tmp_path) == {"a.png"}
    assert mattebox("replace", tmp_path / "a.png", *wrong).exit_code == 2
    assert mattebox("replace", tmp_path, "-o", tmp_path / "x.png", "--color", "red").exit_code == 2


def test_what_is_there_is_not_replaced_without_a_word(tmp_path: Path) -> None:
    photos(tmp_path, "a.png", "out/a.png")
    out = tmp_path / "out"
    for target in (out, out / "a.png"):
        result = mattebox("replace", tmp_path / "a.png", "-o", target, "--color", "red")
        assert result.exit_code == 1
        assert "--overwrite" in result.stderr
        assert (tmp_path / "out" / "a.png").read_bytes() == PHOTO
    assert (
        mattebox("replace", tmp_path / "a.png", "-o", tmp_path / "out", "--color", "red", "--overwrite").exit_code == 0
    )
    assert opened(tmp_path / "out" / "a.png").getpixel((0, 0)) == (255, 0, 0)
    assert mattebox("replace", tmp_path / "a.png", "-o", "-", "--color", "red", "--json").exit_code == 2


def test_a_replacement_without_a_subject_says_so(tmp_path: Path) -> None:
    photos(tmp_path, "wall.png", data=EMPTY)
    result = mattebox("replace", tmp_path / "wall.png", "-o", tmp_path / "x.png", "--color", "red", "--json")
    assert result.exit_code == 0
    assert "no subject was found" in result.stderr
    assert json.loads(result.stdout)["subject"] is None
    assert opened(tmp_path / "x.png").getextrema() == ((255, 255), (0, 0), (0, 0))


def test_a_cutout_stays_one_in_remove_and_replace(tmp_path: Path) -> None:
    disc = np.hypot(*(np.mgrid[:90, :120] - np.array([45, 60])[:, None, None])) < 30
    white = Picture(rgb=np.full((90, 120, 3), 255, np.uint8), alpha=disc.astype(np.float32))
    photos(tmp_path, "white.png", data=codec.encode(white, Output()))
    blind = fake(FakeModels(FakeSegmenter(answer=np.zeros((8, 8), np.float32))))
    assert mattebox("remove", tmp_path / "white.png", "-o", tmp_path / "cut.png", parts=blind).exit_code == 0
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "cut.png"))[:, :, 3], disc * np.uint8(255))
    red: list[str | Path] = ["-o", tmp_path / "red.png", "--color", "red"]
    assert mattebox("replace", tmp_path / "white.png", *red, parts=blind).exit_code == 0
    expected = np.where(disc[:, :, None], 255, (255, 0, 0))
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "red.png").convert("RGB")), expected)


# --- scenes ------------------------------------------------------------------------------------------------------


def pack(folder: Path) -> Path:
    photos(folder, "kitchen.png", data=solid((0, 200, 0)))
    (folder / "pack.toml").write_text(
        '[[scene]]\nfile = "kitchen.png"\nname = "kitchen"\ntags = ["kitchen", "worktop", "oven", "sink"]\n'
        'licence = "CC0-1.0"\nauthor = "[red]Jo Doe"\n'
    )
    return folder


def test_scenes_list(backdrops: Path) -> None:
    pack(backdrops / "packs" / "mine")
    first = next(iter(scene_views().values()))
    file = transfer.path(first.file.download, backdrops / "backdrops")
    photos(file.parent, file.name)
    rows = {row["name"]: row for row in map(json.loads, mattebox("scenes", "list", "--json").stdout.splitlines())}
    assert set(rows) == {"mine/kitchen", *scene_views()}
    assert rows["mine/kitchen"] == {
        "name": "mine/kitchen",
        "tags": ["kitchen", "worktop", "oven", "sink"],
        "licence": "CC0-1.0",
        "author": "[red]Jo Doe",
        "installed": True,
        "pack": "mine",
    }
    assert {row["installed"] for name, row in rows.items() if name.startswith("apartment")} == {True}
    assert rows["warehouse-ramp"]["installed"] is False
    said = mattebox("scenes", "list").stdout
    assert "kitchen, worktop, oven, ..." in said
    assert "[red]Jo Doe" in said
    assert len(said.splitlines()) == len(rows) + 1


def test_a_pack_is_added_and_served(backdrops: Path) -> None:
    photos(backdrops, "a.png")
    source = pack(backdrops / "from" / "mine")
    result = mattebox("scenes", "add", source)
    assert result.exit_code == 0, result.stderr
    assert str(backdrops / "packs" / "mine") in result.stderr
    assert names(backdrops / "packs") == {"mine/kitchen.png", "mine/pack.toml"}
    again = mattebox("scenes", "add", source)
    assert (again.exit_code, "already" in again.stderr) == (1, True)
    (source / "pack.toml").write_text("nothing")
    assert mattebox("scenes", "add", source).exit_code == 1
    assert mattebox("scenes", "add", backdrops / "nowhere").exit_code == 1
    result = mattebox("replace", backdrops / "a.png", "-o", backdrops / "x.png", "--prompt", "in my kitchen", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["backend"], told["scene"]) == ("packs", "mine/kitchen")


def test_where_scenes_are(backdrops: Path) -> None:
    directory = backdrops / "backdrops"
    assert mattebox("scenes", "path").stdout == f"{directory}\n"
    for name in ("warehouse", "warehouse-ramp"):
        assert mattebox("scenes", "path", name).stdout == f"{directory / 'warehouse.hdr'}\n"


@pytest.mark.parametrize("command", ["pull", "path"])
def test_an_unknown_scene_is_a_wrong_command(backdrops: Path, command: str) -> None:
    result = mattebox("scenes", command, "nonsense")
    assert result.exit_code == 2
    assert "nonsense" in result.stderr
    assert not (backdrops / "backdrops").exists()


def test_scenes_that_cannot_be_fetched_are_sentences(backdrops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # no package manager
    result = mattebox("scenes", "pull", "warehouse", "night-road")
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert "the panorama warehouse" in result.stderr.lower()
    assert "the panorama night" in result.stderr.lower()
    assert f"0 of {len(scene_views())} scenes" in result.stderr


@pytest.mark.parametrize(("complete", "code"), [(True, 0), (False, 1)])
def test_what_only_a_linux_distribution_has_is_told_and_not_missed(
    backdrops: Path, monkeypatch: pytest.MonkeyPatch, *, complete: bool, code: int
) -> None:
    failure = MatteboxError(Kind.UNAVAILABLE, "The panorama garden cannot be fetched.")
    monkeypatch.setattr("mattebox.backdrops.scenes.catalogue.pull", lambda *_, **__: (failure,))
    monkeypatch.setattr("mattebox.backdrops.scenes.catalogue.complete", lambda _: complete)
    for names, expected in (((), code), (("garden",), 1)):
        result = mattebox("scenes", "pull", *names)
        assert (result.exit_code, failure.message in result.stderr) == (expected, True)


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


# --- the standard streams ----------------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.parametrize("more", [[], ["-o", "-"]])
def test_a_pipe(more: list[str]) -> None:
    made = subprocess.run(process("remove", "-", *more), input=PHOTO, capture_output=True, check=True)
    assert opened(made.stdout).size == (120, 90)
    assert made.stderr == b""


def test_a_file_to_the_standard_output_in_another_format(tmp_path: Path) -> None:
    photos(tmp_path, "a.png")
    result = mattebox("remove", tmp_path / "a.png", "-o", "-", "--format", "webp")
    assert opened(result.stdout_bytes).format == "WEBP"
    assert names(tmp_path) == {"a.png"}


def test_the_standard_input_to_a_file(tmp_path: Path) -> None:
    result = mattebox("remove", "-", "-o", tmp_path / "x.png", "--json", stdin=PHOTO)
    assert opened(tmp_path / "x.png").size == (120, 90)
    told = json.loads(result.stdout)
    assert (told["input"], told["output"]) == ("-", str(tmp_path / "x.png"))


@pytest.mark.process
def test_rubbish_in_a_pipe_gives_nothing_out() -> None:
    for data in (b"", b"rubbish"):
        made = subprocess.run(process("remove", "-"), input=data, capture_output=True, check=False)
        assert made.returncode == 1
        assert made.stdout == b""
        assert made.stderr.startswith(b"-: ")
        assert b"Traceback" not in made.stderr


@pytest.mark.process
def test_a_picture_is_not_written_to_a_terminal() -> None:
    ours, theirs = os.openpty()
    try:
        made = subprocess.run(process("remove", "-"), input=PHOTO, stdout=theirs, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(theirs)
        os.close(ours)
    assert made.returncode == 2
    assert b"terminal" in made.stderr


@pytest.mark.process
def test_a_reader_that_goes_away_is_no_defect() -> None:
    running = subprocess.Popen(
        process("remove", "-"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdout is not None
    running.stdout.close()
    running.stdout = None
    _, said = running.communicate(PHOTO)
    assert running.returncode == 1
    assert b"Traceback" not in said


# --- streams that cannot be used ---------------------------------------------------------------------------------


def shell(line: str, folder: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of a shell, in which $M is the command line with a fake network, in a folder with `a.png`."""
    photos(folder, "a.png")
    (folder / "m").write_text(process()[2])
    environment = os.environ | {"M": f"{sys.executable} {folder / 'm'}"} | env
    return subprocess.run(["sh", "-c", line], cwd=folder, env=environment, capture_output=True, check=False)


@pytest.mark.process
@pytest.mark.parametrize(
    "command",
    [
        "remove a.png -o -",
        "remove a.png -o x.png --json",
        "replace a.png -o x.png --color red --json",
        "--help",
        "--version",
        "models list",
        "models path",
        "scenes list --json",
    ],
)
@pytest.mark.parametrize(
    ("where", "sentence"),
    [("> /dev/full", b"cannot be written: No space left on device."), (">&-", b"is closed.")],
)
def test_a_standard_output_that_fails_is_a_sentence(command: str, where: str, sentence: bytes, tmp_path: Path) -> None:
    done = shell(f"$M {command} {where}", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(b"The standard output " + sentence)
    assert done.stderr.count(b"The standard output") == 1
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    ("where", "sentence"),
    [("<&-", b"The standard input is closed."), ("0> written", b"The standard input cannot be read")],
)
def test_a_standard_input_that_fails_is_a_sentence(where: str, sentence: bytes, tmp_path: Path) -> None:
    done = shell(f"$M remove - -o x.png {where}", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(sentence)
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "x.png").exists()


@pytest.mark.process
@pytest.mark.parametrize("where", ["2>&-", "2> /dev/full", "<&- >&- 2>&-"])
def test_nobody_to_talk_to_is_no_failure(where: str, tmp_path: Path) -> None:
    done = shell(f"$M remove a.png -o x.png {where}", tmp_path)
    assert (done.returncode, done.stdout) == (0, b"")
    assert opened(tmp_path / "x.png").size == (120, 90)
    assert shell(f"$M remove none.png -o y.png {where}", tmp_path).returncode == 1


@pytest.mark.process
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp932", "utf-8"])
@pytest.mark.parametrize("command", ["models list", "scenes list", "--help", "remove --help"])
def test_a_stream_shows_what_it_can(command: str, encoding: str, tmp_path: Path) -> None:
    done = shell(f"$M {command}", tmp_path, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    done.stdout.decode("utf-8" if encoding == "ascii" else encoding)  # click takes ASCII for a slip
    if command == "models list":
        assert b"u2netp" in done.stdout


@pytest.mark.process
def test_a_path_that_is_no_text_comes_out_as_it_is(tmp_path: Path) -> None:
    done = shell("$M models path", tmp_path, MATTEBOX_MODELS_DIRECTORY=os.fsdecode(b"/x\xff"))
    assert (done.returncode, done.stdout) == (0, b"/x\xff\n")


# --- many --------------------------------------------------------------------------------------------------------


def test_one_photo_never_ends_the_others(tmp_path: Path) -> None:
    top, out = tmp_path / "in", tmp_path / "out"
    long = "m" * 251
    photos(top, "a.png", f"{long}.png", "z.png")
    (top / "gone.png").symlink_to("nowhere")
    result = mattebox("remove", top, "-o", out, "--json")
    assert names(out) == {"a.png", f"{long}.png", "z.png"}
    assert result.exit_code == 1
    assert [json.loads(line).get("kind") for line in result.stdout.splitlines()] == [None, "not_found", None, None]


def test_what_vanishes_before_its_turn_is_said(tmp_path: Path) -> None:
    photos(tmp_path / "in", "a.png", "b.png", "c.png")

    def removing(photo: RGB) -> Alpha:
        (tmp_path / "in" / "b.png").unlink(missing_ok=True)
        return FakeSegmenter()(photo)

    result = mattebox("remove", tmp_path / "in", "-o", tmp_path / "out", parts=fake(Elsewhere(removing)))
    assert result.exit_code == 1
    assert "b.png: File not found" in result.stderr
    assert names(tmp_path / "out") == {"a.png", "c.png"}


def test_a_defect_is_shown_once_the_other_photos_are_done(tmp_path: Path) -> None:
    photos(tmp_path / "in", "a.png", "c.png")
    photos(tmp_path / "in", "b.png", data=EMPTY)

    def broken(photo: RGB) -> Alpha:
        if photo.shape[0] == 40:
            raise ZeroDivisionError("deep inside")
        return FakeSegmenter()(photo)

    with pytest.raises(ZeroDivisionError, match="deep inside"):
        mattebox("remove", tmp_path / "in", "-o", tmp_path / "out", parts=fake(Elsewhere(broken)))
    assert names(tmp_path / "out") == {"a.png", "c.png"}


def test_memory_that_is_used_up_is_a_sentence(tmp_path: Path) -> None:
    photos(tmp_path, "a.png")

    def hungry(_: RGB) -> Alpha:
        raise MemoryError

    result = mattebox("remove", tmp_path / "a.png", parts=fake(Elsewhere(hungry)))
    assert result.exit_code == 1
    assert "a.png: There is not enough memory for this photo." in result.stderr


def test_a_folder_with_good_and_bad_files(tmp_path: Path) -> None:
    top = tmp_path / "in"
    photos(top, "a b.png", "süb/猫.png")
    photos(top, "empty.jpg", data=b"")
    photos(top, "broken.png", data=PHOTO[: len(PHOTO) // 2])
    photos(top, "notes.txt", ".hidden.png")
    result = mattebox("remove", top, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert names(tmp_path / "out") == {"a b.png", "süb/猫.png"}
    assert "2 done" in result.stderr
    assert "2 passed over" in result.stderr
    assert "2 failed" in result.stderr
    assert "empty.jpg: The file is empty" in result.stderr
    assert "broken.png: The PNG is damaged" in result.stderr
    assert result.stdout == ""


def test_json_is_one_object_a_photo_and_nothing_else(tmp_path: Path) -> None:
    top, out = tmp_path / "in", tmp_path / "out"
    photos(top, "a.png", "c.png", "d.png")
    photos(top, "b.jpg", data=b"")
    photos(out, "d.png")
    result = mattebox("remove", top, "-o", out, "--json")
    assert result.exit_code == 1
    kept, a, b, c = map(json.loads, result.stdout.splitlines())
    assert kept == {"input": str(top / "d.png"), "output": str(out / "d.png"), "skipped": "exists"}
    assert a["input"] == str(top / "a.png")
    assert a["output"] == str(out / "a.png")
    assert (a["width"], a["height"]) == (120, 90)
    assert set(a["subject"]) == {"left", "top", "width", "height"}
    assert 0 <= a["confidence"] <= 1
    assert a["seconds"] > 0
    assert set(b) == {"input", "error", "kind"}
    assert b["kind"] == "unreadable_image"
    assert c["input"] == str(top / "c.png")


def test_clashes_are_refused_before_any_work(tmp_path: Path) -> None:
    photos(tmp_path / "in", "a.png", "a.jpg", "b.png")
    called: list[RGB] = []

    def work(photo: RGB) -> Alpha:
        called.append(photo)
        return FakeSegmenter()(photo)

    result = mattebox("remove", tmp_path / "in", "-o", tmp_path / "out", parts=fake(Elsewhere(work)))
    assert result.exit_code == 1
    assert "a.jpg and " in result.stderr
    assert not called
    assert not (tmp_path / "out").exists()


def test_several_photos_without_a_folder_ask_for_it(tmp_path: Path) -> None:
    photos(tmp_path, "a.png", "b.png")
    for inputs in ([tmp_path], [tmp_path / "a.png", tmp_path / "b.png"]):
        result = mattebox("remove", *inputs)
        assert result.exit_code == 2
        assert "-o" in result.stderr


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    photos(tmp_path / "in", "a.png", "b.png")
    photos(tmp_path / "out", "a.png", data=b"done before")
    result = mattebox("remove", tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "1 done" in result.stderr
    assert "1 kept" in result.stderr
    assert (tmp_path / "out" / "a.png").read_bytes() == b"done before"
    again = mattebox("remove", tmp_path / "in", "-o", tmp_path / "out")
    assert again.exit_code == 0
    assert "2 kept" in again.stderr
    assert mattebox("remove", tmp_path / "in", "-o", tmp_path / "out", "--overwrite").exit_code == 0
    assert opened(tmp_path / "out" / "a.png").size == (120, 90)


def test_output_inside_the_input_is_not_read_again(tmp_path: Path) -> None:
    photos(tmp_path, "a.png", "s/b.png")
    for _ in range(2):
        assert mattebox("remove", tmp_path, "-o", tmp_path / "out", "--overwrite").exit_code == 0
    assert names(tmp_path) == {"a.png", "s/b.png", "out/a.png", "out/s/b.png"}


def test_an_empty_folder_is_fine(tmp_path: Path) -> None:
    photos(tmp_path / "in", "x.txt")
    result = mattebox("remove", tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "0 done, 1 passed over" in result.stderr
    assert not (tmp_path / "out").exists()


def test_missing_weights_are_one_sentence_and_leave_nothing(tmp_path: Path) -> None:
    photos(tmp_path / "in", *(f"{number}.png" for number in range(20)))

    def missing(_: RGB) -> Alpha:
        raise MatteboxError(Kind.UNAVAILABLE, "The weights could not be fetched.")

    result = mattebox(
        "remove", tmp_path / "in", "-o", tmp_path / "out", "--json", "--jobs", "4", parts=fake(Elsewhere(missing))
    )
    assert result.exit_code == 1
    assert result.stderr == "The weights could not be fetched.\n"
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_a_defect_is_shown_where_it_happened(tmp_path: Path) -> None:
    photos(tmp_path, "a.png")

    def broken(_: RGB) -> Alpha:
        raise ZeroDivisionError("deep inside")

    with pytest.raises(ZeroDivisionError, match="deep inside"):
        mattebox("remove", tmp_path / "a.png", parts=fake(Elsewhere(broken)))


def test_a_servers_limits_do_not_bind_people_but_absurd_files_are_refused(tmp_path: Path) -> None:
    photos(tmp_path, "a.png")
    result = mattebox("remove", tmp_path / "a.png", env={"MATTEBOX_LIMITS_MAX_PIXELS": "100"})
    assert result.exit_code == 0
    Image.new("1", (20_000, 15_000)).save(tmp_path / "bomb.png")
    result = mattebox("remove", tmp_path / "bomb.png")
    assert result.exit_code == 1
    assert "300,000,000 pixels" in result.stderr
    wrong = mattebox("remove", tmp_path / "a.png", "--overwrite", env={"MATTEBOX_MODELS_THREADS": "many"})
    assert wrong.exit_code == 1
    assert "MATTEBOX_MODELS_THREADS" in wrong.stderr


@pytest.mark.process
def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    big = codec.encode(Picture(rgb=np.zeros((300, 300, 3), np.uint8)), Output())
    photos(tmp_path / "few", *(f"{number}.png" for number in range(20)), data=big)
    photos(tmp_path / "many", *(f"{number}.png" for number in range(300)), data=big)
    code = (
        "import resource, sys; from mattebox.cli import Components, app; from mattebox.testing import FakeModels\n"
        "try: app(obj=Components(networks=lambda options, fetching: FakeModels()))\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    peaks = []
    for name in ("few", "many"):
        command = [sys.executable, "-c", code, "remove", str(tmp_path / name), "-o", str(tmp_path / f"{name}-out")]
        done = subprocess.run([*command, "--alpha-only", "--no-refine", "--size", "8"], capture_output=True, check=True)
        peaks.append(int(done.stdout))
    assert len(names(tmp_path / "many-out")) == 300
    # 280 more pictures with 0.27 MB of colours and 0.36 MB of alpha each would be 176 MB.
    assert peaks[1] < peaks[0] + 50


# --- stopping ----------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path) -> None:
    top, out = tmp_path / "in", tmp_path / "out"
    photos(top, *(f"{number:03}.png" for number in range(400)))
    running = subprocess.Popen(process("remove", top, "-o", out), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not (out.exists() and len(names(out)) > 5) and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    stdout, said = running.communicate(timeout=20)
    assert running.returncode == 130
    assert stdout == b""
    assert b"Traceback" not in said
    made = names(out)
    assert 5 < len(made) < 400
    for name in made:
        assert opened(out / name).size == (120, 90)


@pytest.mark.process
def test_ctrl_c_ends_a_wait_for_the_standard_input() -> None:
    running = subprocess.Popen(
        process("remove", "-"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    time.sleep(3)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=10) == 130
    running.communicate()


@pytest.mark.process
@pytest.mark.posix
def test_a_second_ctrl_c_ends_the_process_at_once(tmp_path: Path) -> None:
    code = """
import signal, threading
from mattebox.cli import Components, main
class Stuck:
    def warm(self, name): ...
    def segmenter(self, name):
        return self.never
    def never(self, rgb):  # in a thread of its own, as native code that no signal reaches
        print("busy", flush=True)
        while signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
            threading.Event().wait(0.01)
        print("winding down", flush=True)
        threading.Event().wait()
main(Components(networks=lambda options, fetching: Stuck()))
"""
    photos(tmp_path / "in", "a.png", "b.png")
    args = ["remove", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    running = subprocess.Popen([sys.executable, "-c", code, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    for word in (b"busy\n", b"winding down\n"):
        assert running.stdout.readline() == word
        running.send_signal(signal.SIGINT)
    try:
        assert running.communicate(timeout=60) == (b"", b"")
    finally:
        running.kill()
    assert running.returncode == -signal.SIGINT


# --- models ------------------------------------------------------------------------------------------------------

WEIGHTS = {"/fine.onnx": b"f" * 3_000_000, "/solid.onnx": b"s" * 1_000_000}


@contextmanager
def weights_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = WEIGHTS.get(self.path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def variant(name: str, address: str, *, commercial: bool = True) -> Variant:
    row = CATALOGUE["u2netp"]
    assert isinstance(row, Variant)
    data = WEIGHTS.get(f"/{name}.onnx", b"")
    return replace(
        row,
        name=name,
        commercial=commercial,
        licence="Apache-2.0" if commercial else "CC-BY-NC-4.0",
        sha256=sha256(data).hexdigest(),
        bytes=len(data),
        sources=(Address(f"{address}/{name}.onnx"),),
    )


def catalogue(address: str) -> dict[str, Row]:
    return {
        "auto": Ensemble(name="auto", detail="fine", core="solid", note="Both."),
        "fine": variant("fine", address),
        "solid": variant("solid", address, commercial=False),
        "gone": variant("gone", address),
        "best": Choice(name="best", candidates=("huge", "fine"), note="The best."),
        "huge": replace(variant("huge", address), memory=10**15),
        "by-hand": replace(variant("by-hand", address), sha256=None, bytes=None, sources=()),
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Components, Path]]:
    monkeypatch.setenv("MATTEBOX_MODELS_DIRECTORY", str(tmp_path / "models"))
    with weights_server() as address:
        rows = catalogue(address)
        yield Components(catalogue=lambda: rows), tmp_path / "models"


def test_models_list(here: tuple[Components, Path]) -> None:
    parts, directory = here
    directory.mkdir()
    (directory / "fine.onnx").write_bytes(WEIGHTS["/fine.onnx"])
    rows = {
        row["name"]: row
        for row in map(json.loads, mattebox("models", "list", "--json", parts=parts).stdout.splitlines())
    }
    assert rows["fine"] | {"note": ""} == {
        "name": "fine",
        "bytes": 3_000_000,
        "licence": "Apache-2.0",
        "commercial": True,
        "downloaded": True,
        "note": "",
        "memory": 200_000_000,
        "precision": "f32",
        "network": None,
        "sources": ["127.0.0.1"],
    }
    assert rows["by-hand"]["sources"] == []
    assert rows["best"]["network"] == "fine"
    assert rows["best"]["bytes"] == 3_000_000
    assert rows["auto"]["bytes"] == 4_000_000
    assert rows["auto"]["commercial"] is False
    assert rows["auto"]["downloaded"] is False
    assert rows["by-hand"]["bytes"] is None
    said = mattebox("models", "list", parts=parts).stdout
    assert "4 MB" in said
    assert "NO" in said


def test_the_real_list_is_honest() -> None:
    said = mattebox("models", "list", parts=Components()).stdout
    for name, row in CATALOGUE.items():
        assert name in said
        assert row.note in said
    assert "non-commercial terms" in said


def test_pulling_an_ensemble_pulls_its_members(here: tuple[Components, Path]) -> None:
    parts, directory = here
    result = mattebox("models", "pull", "auto", "fine", parts=parts)
    assert result.exit_code == 0
    assert {file.name for file in directory.iterdir() if not file.name.startswith(".")} == {"fine.onnx", "solid.onnx"}
    assert result.stderr.count("fine: ready") == 1
    assert "solid may not be used commercially (CC-BY-NC-4.0)" in result.stderr
    assert "fine may not" not in result.stderr


def test_pulling_a_choice_pulls_what_it_stands_for_and_says_so(here: tuple[Components, Path]) -> None:
    parts, directory = here
    result = mattebox("models", "pull", "best", parts=parts)
    assert result.exit_code == 0
    assert "best is fine here: the processor with" in result.stderr
    assert "fine: ready" in result.stderr
    assert {file.name for file in directory.iterdir() if not file.name.startswith(".")} == {"fine.onnx"}
    assert mattebox("models", "path", "best", parts=parts).stdout == f"{directory / 'fine.onnx'}\n"
    assert mattebox("models", "verify", "best", parts=parts).stdout == "fine: present\n"


def test_a_choice_says_what_it_stands_for_when_it_is_used(tmp_path: Path, here: tuple[Components, Path]) -> None:
    class Any(FakeModels):
        def segmenter(self, name: str) -> Segmenter:
            return super().segmenter("auto")

    photos(tmp_path, "a.png")
    parts = replace(here[0], networks=fake(Any()).networks)
    result = mattebox("remove", tmp_path / "a.png", "--model", "best", parts=parts)
    assert result.exit_code == 0
    assert "best is fine here: the processor with" in result.stderr


def test_what_cannot_be_pulled_is_a_sentence_and_the_others_are(here: tuple[Components, Path]) -> None:
    parts, directory = here
    result = mattebox("models", "pull", "gone", "by-hand", "fine", parts=parts)
    assert result.exit_code == 1
    assert "gone could not be fetched" in result.stderr
    assert "no download for by-hand" in result.stderr
    assert "Traceback" not in result.stderr
    assert (directory / "fine.onnx").is_file()


def test_verify_and_path(here: tuple[Components, Path]) -> None:
    parts, directory = here
    assert mattebox("models", "verify", parts=parts).exit_code == 0
    assert mattebox("models", "verify", "fine", parts=parts).exit_code == 1
    mattebox("models", "pull", "auto", parts=parts)
    fine = mattebox("models", "verify", parts=parts)
    assert fine.exit_code == 0
    assert fine.stdout == "fine: present\nsolid: present\n"
    (directory / "fine.onnx").write_bytes(b"x")
    damaged = mattebox("models", "verify", "auto", parts=parts)
    assert damaged.exit_code == 1
    assert damaged.stdout == "fine: damaged\nsolid: present\n"
    assert mattebox("models", "path", "fine", parts=parts).stdout == f"{directory / 'fine.onnx'}\n"
    assert mattebox("models", "path", parts=parts).stdout == f"{directory}\n"


@pytest.mark.parametrize("command", ["pull", "verify", "path"])
def test_an_unknown_name_is_a_wrong_command(here: tuple[Components, Path], command: str) -> None:
    result = mattebox("models", command, "nonsense", parts=here[0])
    assert result.exit_code == 2
    assert "nonsense" in result.stderr


def test_weights_that_forbid_commerce_say_so_when_used(tmp_path: Path, here: tuple[Components, Path]) -> None:
    photos(tmp_path, "a.png")
    parts = replace(here[0], networks=fake().networks)
    assert "solid may not be used commercially" in mattebox("remove", tmp_path / "a.png", parts=parts).stderr


# --- serve -------------------------------------------------------------------------------------------------------


def serving(*args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    code = (
        "from mattebox.cli import Components, app; from starlette.applications import Starlette\n"
        "app(obj=Components(server=lambda settings: Starlette()))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, "serve", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ) | dict(env or {}),
    )


@pytest.mark.process
@pytest.mark.parametrize(
    ("args", "env"),
    [
        ([], {}),
        (["--host", "localhost"], {}),
        (["--host", "0.0.0.0"], {"MATTEBOX_KEYS": "secret"}),  # noqa: S104
        (["--host", "0.0.0.0", "--allow-anonymous"], {}),  # noqa: S104
    ],
)
def test_the_server_says_where_it_is(args: list[str], env: dict[str, str]) -> None:
    running = serving("--port", "0", *args, env=env)
    assert running.stderr is not None
    line = running.stderr.readline()
    address = next(word.rstrip(",") for word in line.split() if word.startswith("http://"))
    assert f"{address}/docs" in line
    assert ("Any key" in line) is (not env)
    try:
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(f"{address}/nothing", timeout=5)
        with answer.value as response:
            assert response.code == 404
            assert response.headers["Server"] is None
    finally:
        running.send_signal(signal.SIGINT)
        out, rest = running.communicate(timeout=20)
    assert running.returncode == 130
    assert (out, rest) == ("", "")


@pytest.mark.process
def test_the_server_speaks_https_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "mattebox", "certificate", "localhost", "-o", tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    authority, certificate, key = made.stdout.split()
    running = serving("--port", "0", "--tls-cert", certificate, "--tls-key", key)
    assert running.stderr is not None
    address = next(word.rstrip(",") for word in running.stderr.readline().split() if word.startswith("https://"))
    try:
        trusting = ssl.create_default_context(cafile=authority)
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(address.replace("127.0.0.1", "localhost"), timeout=5, context=trusting)
        answer.value.close()
        assert answer.value.code == 404
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)


@pytest.mark.process
@pytest.mark.parametrize("flags", [["--tls-cert"], ["--tls-key"], ["--tls-cert", "--tls-key"]])
def test_a_certificate_that_cannot_be_used_is_a_wrong_command(flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no certificate")
    args = [word for flag in flags for word in (flag, str(tmp_path / "file"))]
    running = serving("--port", "0", *args)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 2
    assert "certificate" in said
    assert "Traceback" not in said


@pytest.mark.process
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "no-such-host.invalid"])  # noqa: S104
def test_without_keys_other_machines_are_not_let_in(host: str) -> None:
    running = serving("--host", host, "--port", "0")
    _, said = running.communicate(timeout=30)
    assert running.returncode == 2
    assert "Traceback" not in said


@pytest.mark.process
def test_a_port_that_is_in_use_is_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        running = serving("--port", str(port))
        _, said = running.communicate(timeout=30)
    assert running.returncode == 1
    assert said == f"Port {port} is in use; --port takes another one.\n"


@pytest.mark.process
def test_an_app_that_does_not_start_is_a_failure() -> None:
    code = (
        "from contextlib import asynccontextmanager; from starlette.applications import Starlette\n"
        "from mattebox.cli import Components, app\n"
        "@asynccontextmanager\n"
        "async def broken(app):\n    raise RuntimeError('no disk')\n    yield\n"
        "app(obj=Components(server=lambda settings: Starlette(lifespan=broken)))"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, "serve", "--port", "0"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 1
    assert "no disk" in made.stderr
    assert made.stderr.endswith("The server could not start; the log above says why.\n")


# --- the command itself ------------------------------------------------------------------------------------------


def test_version_and_help() -> None:
    assert mattebox("--version").stdout == "mattebox 0.1.0\n"
    for args in (
        [],
        ["remove"],
        ["models"],
        ["models", "pull"],
        ["replace"],
        ["scenes"],
        ["scenes", "add"],
        ["serve"],
        ["database"],
        ["database", "downgrade"],
        ["certificate"],
    ):
        result = mattebox(*args, "--help")
        assert result.exit_code == 0
        assert "Usage" in result.stdout


@pytest.mark.process
@pytest.mark.parametrize(
    ("args", "more"), [(["--help"], "pydantic"), (["remove", "--help"], ""), (["replace", "--help"], "")]
)
def test_help_loads_nothing_heavy(args: list[str], more: str) -> None:
    code = (
        "import sys\n"
        "from mattebox.cli import app\n"
        f"try: app({args})\n"
        "except SystemExit: pass\n"
        f"heavy = set('numpy cv2 PIL fastapi starlette uvicorn sqlalchemy openvino anyio {more}'.split())\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.process
def test_a_progress_bar_is_shown_on_a_terminal_only(tmp_path: Path) -> None:
    photos(tmp_path / "in", *(f"{number}.png" for number in range(12)))
    ours, theirs = os.openpty()
    with subprocess.Popen(
        process("remove", tmp_path / "in", "-o", tmp_path / "out", "--json"),
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=dict(os.environ) | {"TERM": "xterm", "COLUMNS": "120"},
    ) as running:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError as error:  # how Linux says that the other side was closed
            if error.errno != errno.EIO:
                raise
        finally:
            os.close(ours)
        assert running.stdout is not None
        lines = running.stdout.read().splitlines()
    assert b"photos/s" in shown
    assert b"12 done" in shown
    assert len([json.loads(line) for line in lines]) == 12


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

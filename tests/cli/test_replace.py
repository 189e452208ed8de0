"""`mattebox replace`, and the scenes that it can put a subject into."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.cli.command import EMPTY, PHOTO, fake, mattebox, names, opened, photos, solid

from mattebox import codec
from mattebox.backdrops.scenes.catalogue import views as scene_views
from mattebox.download import transfer
from mattebox.edit import (
    Output,
)
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image as Picture
from mattebox.testing import FakeModels, FakeSegmenter


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
    for asked, expected in (((), code), (("garden",), 1)):
        result = mattebox("scenes", "pull", *asked)
        assert (result.exit_code, failure.message in result.stderr) == (expected, True)

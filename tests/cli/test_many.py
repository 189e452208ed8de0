"""Folders and many photos: none ends the others, and none overwrites another one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.command import EMPTY, PHOTO, Elsewhere, fake, mattebox, names, opened, photos

from mattebox import codec
from mattebox.edit import (
    Output,
)
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha
from mattebox.image import Image as Picture
from mattebox.testing import FakeSegmenter


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

"""The vendors' own clients, unchanged, get from a real server what they expect from their vendor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

pytestmark = pytest.mark.model

Run = Callable[..., dict[str, Any]]

CORNER = (4, 4)
FACE = (120, 220)


def pixels(path: Path, kind: str, mode: str) -> npt.NDArray[np.int16]:
    with Pillow.open(path) as picture:
        assert (picture.format, picture.mode) == (kind, mode)
        return np.asarray(picture).astype(np.int16)


def assert_cut_out(path: Path, kind: str, photo: Path) -> None:
    """The face is opaque and has its own colours; the corner is clear."""
    rgba = pixels(path, kind, "RGBA")
    assert rgba.shape == (512, 512, 4)
    assert rgba[CORNER][3] == 0
    assert rgba[FACE][3] == 255
    with Pillow.open(photo) as original:
        assert np.abs(rgba[FACE][:3] - np.asarray(original)[FACE]).max() <= 6


def assert_flat(path: Path, kind: str, corner: tuple[int, int, int], photo: Path) -> None:
    rgb = pixels(path, kind, "RGB")
    assert np.abs(rgb[CORNER] - corner).max() <= 4
    with Pillow.open(photo) as original:
        assert np.abs(rgb[FACE] - np.asarray(original)[FACE]).max() <= 12


@pytest.mark.parametrize("version", ["0.6.1", "0.7.1"])
def test_novita_client(version: str, run: Run, astronaut: Path, tmp_path: Path) -> None:
    said = run(f"novita-client-{version}", "novita.py", str(astronaut), str(tmp_path))
    assert [said[kind] for kind in ("default", "png", "webp", "jpeg", "base64")] == [
        "jpeg",
        "png",
        "webp",
        "jpeg",
        "png",
    ]
    assert_flat(tmp_path / "default", "JPEG", (255, 255, 255), astronaut)
    assert_flat(tmp_path / "jpeg", "JPEG", (255, 255, 255), astronaut)
    assert_cut_out(tmp_path / "png", "PNG", astronaut)
    assert_cut_out(tmp_path / "webp", "WEBP", astronaut)
    assert (tmp_path / "base64").read_bytes() == (tmp_path / "png").read_bytes()
    for case, status, word in (
        ("wrong key", 403, "INVALID_API_KEY"),
        ("wrong picture", 400, "INVALID_IMAGE_FORMAT"),
        ("wrong type", 400, "extra.response_image_type"),
        ("unknown call", 404, "API_NOT_FOUND"),
    ):
        assert f"status {status}" in str(said[case]), case
        assert word in str(said[case]), case

    task = said["task"]
    assert (task["status"], task["type"], task["progress"]) == ("TASK_STATUS_SUCCEED", "webp", 100)
    assert 3500 < task["ttl"] <= 3600
    assert 0 < task["milliseconds"] < 60_000
    assert_cut_out(tmp_path / "task", "WEBP", astronaut)
    assert task["failed"] == ["TASK_STATUS_FAILED", "The picture's address is not one that may be fetched from.", []]
    assert task["tested"] == ["TASK_STATUS_FAILED", []]
    assert "status 404" in task["unknown"]


def test_novita_command(run: Run, astronaut: Path, tmp_path: Path) -> None:
    said = run("novita-0.1.0", "novita_command.py", str(astronaut), str(tmp_path))
    assert said["cut out"][0] == 0, said
    assert_cut_out(tmp_path / "direct", "WEBP", astronaut)
    assert said["wait"][0] == 0, said
    assert_cut_out(tmp_path / f"task_{said['task'][:8]}_0.png", "PNG", astronaut)
    assert "TASK_STATUS_SUCCEED" in said["status"][1]
    assert "/results/" in said["status"][1]
    assert said["wait for failure"][0] == 1
    assert "not one that may be fetched from" in said["wait for failure"][1]
    assert said["unknown"][0] == 1
    assert "TASK_NOT_FOUND" in said["unknown"][1]


@pytest.mark.parametrize("version", ["0.2.0", "0.4.1"])
def test_poofbg(version: str, run: Run, astronaut: Path, tmp_path: Path) -> None:
    said = run(f"poofbg-{version}", "poof_bg.py", str(astronaut), str(tmp_path))
    assert said["version"] == version
    assert_cut_out(tmp_path / "default", "PNG", astronaut)
    assert_cut_out(tmp_path / "bytes", "WEBP", astronaut)
    assert_cut_out(tmp_path / "hd", "PNG", astronaut)
    assert_flat(tmp_path / "stream", "JPEG", (0, 255, 0), astronaut)
    assert_flat(tmp_path / "rgb", "PNG", (255, 255, 255), astronaut)
    alpha = pixels(tmp_path / "alpha", "PNG", "L")
    assert alpha.shape == (256, 256)
    assert (alpha[2, 2], alpha[60, 110]) == (0, 255)
    with Pillow.open(tmp_path / "crop") as cropped:
        assert (cropped.width, cropped.height) == (said["crop"]["width"], said["crop"]["height"])
        assert cropped.height < 512  # some sky above the head is gone

    result = said["default"]
    assert (result["content_type"], result["width"], result["height"]) == ("image/png", 512, 512)
    assert result["request_id"].startswith("req_")
    assert result["milliseconds"] > 0
    assert 0.5 < result["confidence"] <= 1
    assert 0 < result["ambiguous"] < 0.5
    assert said["used"] == 7
    assert said["account"]["plan"] == "self-hosted"
    assert isinstance(said["account"]["maxCredits"], int)

    expected = {
        "wrong key": ("AuthError", "authentication_error", None),
        "wrong account": ("AuthError", "authentication_error", None),
        "wrong picture": ("ValidationError", "validation_error", "image_file" if version == "0.2.0" else "file"),
        "wrong size": ("ValidationError", "validation_error", "size"),
        "ratio": ("ValidationError", "validation_error", "crop"),
        "fit": ("ValidationError", "validation_error", "width"),
        "large": ("ValidationError", "image_too_large", "image_file" if version == "0.2.0" else "file"),
        "video": ("ValidationError", "validation_error", "image_file" if version == "0.2.0" else "file"),
    }
    if version != "0.2.0":
        expected["url"] = ("ValidationError", "validation_error", "url")
    for case, (kind, code, field) in expected.items():
        failure = said[case]
        details = failure["details"]
        blamed = details["field"] if isinstance(details, dict) else None
        assert (failure["class"], failure["code"], blamed) == (kind, code, field), case
        assert failure["request_id"].startswith("req_"), case
    assert "Video" in said["video"]["details"]["message"]

"""The vendors' own clients, unchanged, get from a real server what they expect from their vendor."""

from __future__ import annotations

import sys
import zipfile
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


def assert_staged(path: Path, kind: str, photo: Path) -> npt.NDArray[np.int16]:
    """The face is where it was, in nearly its own colours, and what was behind it is gone."""
    rgb = pixels(path, kind, "RGB")
    assert rgb.shape == (512, 512, 3)
    with Pillow.open(photo) as opened:
        original = np.asarray(opened).astype(np.int16)
    assert np.abs(rgb[FACE] - original[FACE]).max() <= 60
    assert np.abs(rgb[:40, :40] - original[:40, :40]).mean() > 15
    return rgb


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

    replaced = said["replaced"]
    assert [replaced[case] for case in ("default", "png", "again", "webp", "nothing")] == [
        "jpeg",
        "png",
        "png",
        "webp",
        "png",
    ]
    assert_staged(tmp_path / "replaced", "JPEG", astronaut)
    assert assert_staged(tmp_path / "replaced-png", "PNG", astronaut)[:100].std() > 10  # a place, and no flat wall
    assert (tmp_path / "replaced-again").read_bytes() == (tmp_path / "replaced-png").read_bytes()
    red, green, blue = assert_staged(tmp_path / "replaced-webp", "WEBP", astronaut)[CORNER]
    assert red > blue > green
    assert np.ptp(assert_staged(tmp_path / "replaced-nothing", "PNG", astronaut)[CORNER]) < 12
    for case, words in (("refused", "No backdrop here shows this"), ("long", "at most 2000 characters")):
        assert "status 400" in replaced[case], case
        assert words in replaced[case], case


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
    assert said["replaced"][0] == 0, said
    assert_staged(tmp_path / "replaced", "PNG", astronaut)
    assert said["refused"][0] == 1
    assert "No backdrop here shows this" in said["refused"][1]
    assert not (tmp_path / "refused").exists()


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
    ratio = pixels(tmp_path / "ratio", "PNG", "RGBA")
    assert abs(ratio.shape[1] / ratio.shape[0] - 16 / 9) < 0.02
    assert (ratio[:, 2, 3] == 0).all()
    canvas = pixels(tmp_path / "canvas", "PNG", "RGBA")
    assert canvas.shape == (400, 500, 4)
    assert (canvas[2, :, 3] == 0).all()  # the padding above the head
    assert pixels(tmp_path / "cover", "PNG", "RGB").shape == (200, 100, 3)
    assert pixels(tmp_path / "no larger", "PNG", "RGBA").shape == (512, 512, 4)

    result = said["default"]
    assert (result["content_type"], result["width"], result["height"]) == ("image/png", 512, 512)
    assert result["request_id"].startswith("req_")
    assert result["milliseconds"] > 0
    assert 0.5 < result["confidence"] <= 1
    assert 0 < result["ambiguous"] < 0.5
    assert said["used"] == 11
    assert said["account"]["plan"] == "self-hosted"
    assert isinstance(said["account"]["maxCredits"], int)

    expected = {
        "wrong key": ("AuthError", "authentication_error", None),
        "wrong account": ("AuthError", "authentication_error", None),
        "wrong picture": ("ValidationError", "validation_error", "image_file" if version == "0.2.0" else "file"),
        "wrong size": ("ValidationError", "validation_error", "size"),
        "wrong ratio": ("ValidationError", "validation_error", "crop"),
        "no crop": ("ValidationError", "validation_error", "padding"),
        "film": ("ValidationError", "validation_error", "format"),
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


# --- remove.bg ---------------------------------------------------------------------------------------------------


def assert_sized(path: Path, kind: str, mode: str, side: int) -> npt.NDArray[np.int16]:
    found = pixels(path, kind, mode)
    assert found.shape[:2] == (side, side)
    return found


PREVIEW = 500
"""The side of a square photo whose result may have a quarter of a megapixel."""


def assert_preview(path: Path, kind: str) -> None:
    rgba = assert_sized(path, kind, "RGBA", PREVIEW)
    assert (rgba[CORNER][3], rgba[FACE][3]) == (0, 255)


def test_removebg_0_4(run: Run, astronaut: Path, astronaut_url: str, tmp_path: Path) -> None:
    said = run("removebg-0.4", "removebg_package.py", str(astronaut), astronaut_url, str(tmp_path))
    assert_preview(tmp_path / "photo.jpg_no_bg.png", "PNG")
    assert_flat(tmp_path / "large.jpg_no_bg.png", "JPEG", (0, 255, 0), astronaut)
    assert_preview(tmp_path / "url", "PNG")
    assert_cut_out(tmp_path / "base64", "PNG", astronaut)
    assert said["wrong key"] == [403, "auth_failed"]
    assert said["wrong color"] == [400, "invalid_bg_color"]
    assert said["wrong address"] == [400, "failed_image_download"]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the urllib3 that the client insists on ends with Python 3.11")
def test_remove_bg_0_2_1(run: Run, astronaut: Path, astronaut_url: str, tmp_path: Path) -> None:
    said = run("remove-bg-0.2.1", "remove_bg_package.py", str(astronaut), astronaut_url, str(tmp_path))
    cropped = pixels(tmp_path / "file", "PNG", "RGBA")
    assert cropped.shape[0] < 512
    assert cropped[..., 3].max() == 255
    assert cropped[0, :, 3].max() > 0
    backed = assert_sized(tmp_path / "backed", "JPEG", "RGB", 512)
    with Pillow.open(astronaut) as original:
        assert np.abs(backed - np.asarray(original).astype(np.int16)).mean() < 4  # the photo before itself
    assert_cut_out(tmp_path / "url", "WEBP", astronaut)
    assert_preview(tmp_path / "base64", "PNG")
    assert said["wrong key"] == ["AuthenticationFailed", "API Key invalid"]
    assert said["wrong size"][0] == "InvalidParameters"
    assert "size" in said["wrong size"][1]
    assert said["wrong address"][0] == "InvalidParameters"


def test_remove_bg_api_0_2_1(run: Run, astronaut: Path, astronaut_url: str, tmp_path: Path) -> None:
    said = run("remove-bg-api-0.2.1", "remove_bg_api_package.py", str(astronaut), astronaut_url, str(tmp_path))
    assert_cut_out(tmp_path / "file", "PNG", astronaut)
    matte = assert_sized(tmp_path / "bytes", "PNG", "L", 512)
    assert (matte[CORNER], matte[FACE]) == (0, 255)
    assert_preview(tmp_path / "url", "PNG")
    assert_flat(tmp_path / "base64", "JPEG", (255, 255, 255), astronaut)
    assert said["charged"] == 0
    assert said["account"]["data"]["attributes"]["credits"] == said["credits"]
    assert set(said["credits"]) == {"total", "subscription", "payg", "enterprise"}
    assert said["free"] == 0
    assert said["wrong key"] == "ApiErrorCode403"
    assert said["wrong picture"] == said["wrong scale"] == "ApiErrorCode400"


def test_removebg_command(run: Run, astronaut: Path, astronaut_url: str, tmp_path: Path) -> None:
    said = run("removebg-cli-1.0.0", "removebg_command.py", str(astronaut), astronaut_url, str(tmp_path))
    for case in ("account", "file", "crop", "jpg", "zip", "url"):
        assert said[case][0] == 0, said[case]
    assert "2147483647" in said["account"][1]
    assert_cut_out(tmp_path / "file", "PNG", astronaut)
    cropped = pixels(tmp_path / "crop", "WEBP", "RGBA")
    assert cropped.shape[0] < 512
    assert_flat(tmp_path / "jpg", "JPEG", (255, 0, 0), astronaut)
    with zipfile.ZipFile(tmp_path / "zip") as parts:
        assert sorted(parts.namelist()) == ["alpha.png", "color.jpg"]
    assert_preview(tmp_path / "url", "PNG")
    for case, words in (
        ("wrong key", "[403]: API Key invalid"),
        ("wrong account", "API Key"),
        ("wrong color", "[400]: "),
        ("wrong address", "[400]: "),
    ):
        assert said[case][0] == 1, case
        assert words in said[case][1], case


def test_remove_bg_on_node(run: Run, astronaut: Path, astronaut_url: str, tmp_path: Path) -> None:
    said = run("npm/remove.bg-1.3.0", "remove_bg_node.js", str(astronaut), astronaut_url, str(tmp_path))
    assert_preview(tmp_path / "file", "PNG")
    assert_preview(tmp_path / "url", "PNG")
    flat = assert_sized(tmp_path / "base64", "JPEG", "RGB", 512)  # the photo before itself
    with Pillow.open(astronaut) as original:
        assert np.abs(flat - np.asarray(original).astype(np.int16)).mean() < 4
    large = pixels(tmp_path / "large", "JPEG", "RGB")
    assert np.abs(large[0, 0] - (0x81, 0xD4, 0xFA)).max() <= 4
    for case in ("file", "large", "url", "base64"):
        result = said[case]
        assert result["creditsCharged"] == "0"
        assert result["detectedType"] == ("person" if case == "large" else "other")
        assert int(result["rateLimit"]) >= int(result["rateLimitRemaining"]) >= 0
        assert int(result["rateLimitReset"]) > 1_700_000_000
        with Pillow.open(tmp_path / case) as picture:
            assert (int(result["resultWidth"]), int(result["resultHeight"])) == picture.size
    assert said["wrong key"][0] == {
        "title": "API Key invalid",
        "code": "auth_failed",
        "detail": said["wrong key"][0]["detail"],
    }
    assert said["wrong position"][0]["code"] == "invalid_position"
    assert said["wrong address"][0]["code"] == "failed_image_download"


# --- withoutBG ---------------------------------------------------------------------------------------------------


def test_withoutbg(run: Run, astronaut: Path, tmp_path: Path) -> None:
    said = run("withoutbg-1.3.0", "without_bg.py", str(astronaut), str(tmp_path))
    for name in ("path.png", "bytes.png", "command.png"):
        assert_cut_out(tmp_path / name, "PNG", astronaut)
    assert said["steps"][-1] == 1
    large = pixels(tmp_path / "large.png", "PNG", "RGBA")  # from the matte of a smaller copy, which the client enlarges
    assert large.shape == (1500, 1500, 4)
    assert (large[12, 12, 3], large[351, 644, 3]) == (0, 255)
    assert {path.name for path in (tmp_path / "batch").iterdir()} == {
        "photo-withoutbg.png",
        "output_0001-withoutbg.png",
    }
    assert_cut_out(tmp_path / "batch" / "photo-withoutbg.png", "PNG", astronaut)
    assert [code for code, _ in said["commands"].values()] == [0, 0, 0], said["commands"]
    assert_flat(tmp_path / "command.jpg", "JPEG", (255, 255, 255), astronaut)
    assert_cut_out(tmp_path / "command.webp", "WEBP", astronaut)
    assert said["usage"] == {"credit": 2**31 - 1, "expiration_date": "9999-12-31 23:59:59"}
    assert said["models"] == {"models": [{"name": "auto"}]}
    assert said["wrong command"][0] == 1
    assert "Invalid API key" in said["wrong command"][1]
    assert said["wrong key"] == ["APIError", "Invalid API key"]
    for case in ("wrong usage", "wrong models"):
        assert "401" in said[case][1]
    assert said["wrong picture"][1].startswith("API request failed: image_base64")

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mattebox.backdrops.scenes import panorama
from mattebox.backdrops.scenes.panorama import Camera, Panorama
from mattebox.errors import Kind, MatteboxError

HEIGHT = 512
GREY = 0.2

SHAPES = [(256, 256), (300, 200), (200, 300), (1024, 128), (128, 1024)]


def plain(level: float = GREY, height: int = HEIGHT) -> npt.NDArray[np.float32]:
    return np.full((height, 2 * height, 3), level, np.float32)


def made(pixels: npt.NDArray[np.float32]) -> Panorama:
    return Panorama(pixels.astype(np.float16))


def marked(*marks: tuple[float, float], size: int = 6, level: float = 4.0) -> Panorama:
    """A grey panorama with bright squares at directions given as degrees of yaw and of elevation."""
    pixels = plain()
    for yaw, elevation in marks:
        column = round((yaw / 360 + 0.5) * 2 * HEIGHT)
        row = round((0.5 - elevation / 180) * HEIGHT)
        columns = np.arange(column - size, column + size) % (2 * HEIGHT)
        pixels[max(0, row - size) : row + size, columns] = level
    return made(pixels)


def peak(picture: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """Centre of what is brighter than the grey around it: column and row as fractions."""
    bright = np.maximum(picture.astype(np.float32).mean(axis=2) - float(np.median(picture)) - 20, 0)
    assert bright.sum() > 0, "no mark is in sight"
    rows, columns = np.indices(bright.shape)
    height, width = bright.shape
    return (
        float((columns * bright).sum() / bright.sum() + 0.5) / width,
        float((rows * bright).sum() / bright.sum() + 0.5) / height,
    )


# --- looking


@pytest.mark.parametrize(("width", "height"), SHAPES)
@pytest.mark.parametrize("yaw", [-180.0, -90.0, 0.0, 37.0, 179.0])
def test_what_lies_straight_ahead_on_the_horizon_is_in_the_middle_of_its_row(
    width: int, height: int, yaw: float
) -> None:
    camera = Camera(yaw=yaw)
    x, y = peak(panorama.view(marked((yaw, 0)), camera, width=width, height=height))
    assert x == pytest.approx(0.5, abs=0.01 + 2 / width)
    assert y == pytest.approx(camera.horizon, abs=0.01 + 2 / height)


def test_what_lies_to_the_right_is_seen_on_the_right() -> None:
    x, _ = peak(panorama.view(marked((20, 0)), Camera(yaw=0), width=256, height=256))
    assert x == pytest.approx(0.5 + math.tan(math.radians(20)) / math.tan(math.radians(30)) / 2, abs=0.01)


def test_what_lies_above_the_horizon_is_seen_above_it() -> None:
    camera = Camera(pitch=-8, field_of_view=60)
    _, y = peak(panorama.view(marked((0, 10)), camera, width=256, height=256))
    assert y == pytest.approx(camera.horizon - math.tan(math.radians(10)) / math.tan(math.radians(30)) / 2, abs=0.01)


def test_the_field_of_view_lies_along_the_longer_side() -> None:
    edge = math.degrees(math.atan(math.tan(math.radians(30)) * 0.9))  # nine tenths of the way to the edge
    wide, _ = peak(panorama.view(marked((edge, 0)), Camera(pitch=0), width=300, height=200))
    _, tall = peak(panorama.view(marked((0, edge)), Camera(pitch=0), width=200, height=300))
    assert wide == pytest.approx(0.95, abs=0.015)
    assert tall == pytest.approx(0.05, abs=0.015)


@given(st.floats(-40, 20), st.floats(20, 100))
def test_looking_down_raises_the_horizon(pitch: float, field_of_view: float) -> None:
    camera = Camera(pitch=pitch, field_of_view=field_of_view)
    if abs(pitch) > 0.01:
        assert (camera.horizon < 0.5) == (pitch < 0)
    assert Camera(pitch=pitch - 1, field_of_view=field_of_view).horizon < camera.horizon


def test_walls_stay_upright() -> None:
    pixels = plain()
    column = round((15 / 360 + 0.5) * 2 * HEIGHT)
    pixels[:, column - 3 : column + 3] = 4.0  # a vertical line, as it is at the corner of a room
    picture = panorama.view(made(pixels), Camera(pitch=-20), width=256, height=256)
    top, bottom = peak(picture[:64])[0], peak(picture[-64:])[0]
    assert top == pytest.approx(bottom, abs=0.01)


def test_a_very_wide_picture_bends_instead_of_stretching() -> None:
    marks = marked((-60, 0), (0, 0), (60, 0))
    picture = panorama.view(marks, Camera(), width=4096, height=512).astype(np.float32).mean(axis=(0, 2))
    bright = picture > (picture.min() + picture.max()) / 2
    edges = np.flatnonzero(np.diff(bright.astype(np.int8)))
    assert len(edges) == 6
    widths = edges[1::2] - edges[::2]
    assert max(widths) / min(widths) < 1.1


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 300), (300, 1), (37, 1009), (4096, 512), (512, 4096)])
def test_any_size_is_served_exactly(width: int, height: int) -> None:
    picture = panorama.view(marked((0, 0)), Camera(), width=width, height=height)
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8


def test_no_seam_behind_the_camera() -> None:
    pixels = plain()
    pixels *= (1 + 0.5 * np.cos(np.linspace(0, 4 * np.pi, 2 * HEIGHT, endpoint=False)))[None, :, None]
    picture = panorama.view(made(pixels), Camera(yaw=180), width=400, height=400).astype(np.float32)
    steps = np.abs(np.diff(cv2.GaussianBlur(picture[200], (1, 9), 2)[:, 1]))
    assert steps.max() < 4


def test_a_lamp_has_no_dark_ring_around_it() -> None:
    picture = panorama.view(marked((0, 0), size=3, level=500.0), Camera(), width=512, height=512)
    assert int(picture.min()) >= int(np.median(picture)) - 5  # a ring nobody sees


def test_a_small_picture_of_a_large_panorama_does_not_alias() -> None:
    pixels = plain()
    pixels[:, ::2] = 0.0
    picture = panorama.view(made(pixels), Camera(), width=32, height=32)
    assert picture.astype(np.float32).std() < 3


def test_the_same_view_is_the_same_picture() -> None:
    scene = marked((10, 5))
    first, second = (panorama.view(scene, Camera(), width=300, height=200) for _ in range(2))
    np.testing.assert_array_equal(first, second)


# --- exposure


@pytest.mark.parametrize("level", [0.001, 0.2, 50.0])
def test_the_exposure_takes_out_how_bright_the_place_is(level: float) -> None:
    picture = panorama.view(made(plain(level)), Camera(), width=64, height=64)
    grey = panorama.tone_map(np.full((1, 1, 3), 0.18, np.float32)) * 255
    np.testing.assert_allclose(picture.mean(), grey.mean(), atol=2)


def test_a_sun_does_not_darken_the_rest() -> None:
    without = panorama.view(made(plain()), Camera(), width=128, height=128)
    sun = panorama.view(marked((0, 10), size=2, level=60000.0), Camera(), width=128, height=128)
    assert float(np.median(without)) - float(np.median(sun)) < 6


def test_what_is_far_too_bright_is_white_whatever_its_colour() -> None:
    pixels = plain()
    pixels[240:272, 496:528] = (8000.0, 5000.0, 100.0)
    picture = panorama.view(made(pixels), Camera(pitch=0), width=256, height=256)
    assert picture[128, 128].min() > 235


def test_night_is_darker() -> None:
    day, night = (panorama.view(made(plain()), Camera(), width=32, height=32, key=key) for key in (0.18, 0.03))
    assert night.mean() < 0.6 * day.mean()


@given(st.lists(st.floats(0, 12, width=32), min_size=2, max_size=20))
def test_developing_is_monotonic_and_stays_within_the_display(levels: list[float]) -> None:
    light = np.sort(np.array(levels, np.float32))
    display = panorama.tone_map(light)
    assert (np.diff(display) >= -1e-6).all()
    assert display.min() >= 0
    assert display.max() <= 1
    assert display.dtype == np.float32


# --- light


def towards(yaw: float, elevation: float) -> npt.NDArray[np.float64]:
    """Where a direction of the panorama points to for a camera at yaw 0."""
    turn, up = math.radians(yaw), math.radians(elevation)
    return np.array([math.cos(up) * math.sin(turn), math.sin(up), -math.cos(up) * math.cos(turn)])


@pytest.mark.parametrize("camera_yaw", [0.0, 90.0, -130.0])
@pytest.mark.parametrize(("yaw", "elevation"), [(0, 30), (90, 45), (-120, 20), (175, 60)])
def test_the_main_light_is_found_as_the_camera_sees_it(camera_yaw: float, yaw: float, elevation: float) -> None:
    found = panorama.light_of(marked((camera_yaw + yaw, elevation), level=5000.0), camera_yaw)
    assert np.linalg.norm(found.direction) == pytest.approx(1, abs=1e-6)
    angle = math.degrees(math.acos(min(1.0, float(np.dot(found.direction, towards(yaw, elevation))))))
    assert angle < 4


def test_light_from_below_is_not_the_main_light() -> None:
    found = panorama.light_of(marked((0, -40), (60, 30), level=500.0), 0)
    assert np.dot(found.direction, towards(60, 30)) > 0.99


def test_one_lamp_is_hard_and_an_even_sky_is_soft() -> None:
    even = panorama.light_of(made(plain()), 0)
    lamp = panorama.light_of(marked((0, 40), level=20000.0), 0)
    assert even.strength < 0.05
    assert lamp.strength > 0.9


def test_the_colour_is_that_of_what_lies_behind_the_camera() -> None:
    pixels = plain()
    pixels[:, : HEIGHT // 2] = pixels[:, -HEIGHT // 2 :] = (0.6, 0.3, 0.1)  # behind a camera at yaw 0
    warm, neutral = panorama.light_of(made(pixels), 0), panorama.light_of(made(pixels), 180)
    np.testing.assert_allclose(neutral.color, 1, atol=0.02)
    assert warm.color[0] > 1.3
    assert warm.color[2] < 0.6
    for light in (warm, neutral):
        assert np.dot(light.color, (0.2126, 0.7152, 0.0722)) == pytest.approx(1, abs=1e-4)


def test_a_black_panorama_has_a_light_too() -> None:
    dark = made(plain(0.0))
    assert panorama.light_of(dark, 0).strength == 0
    assert panorama.view(dark, Camera(), width=16, height=16).max() < 40


# --- reading


def write_radiance(file: Path, pixels: npt.NDArray[np.float32]) -> Path:
    assert cv2.imwrite(str(file), pixels[..., ::-1])
    return file


def test_a_radiance_file_is_read_with_its_colours_in_order(tmp_path: Path) -> None:
    pixels = plain(height=8) * np.array([1, 2, 4], np.float32)
    read = panorama.read(write_radiance(tmp_path / "a.hdr", pixels))
    np.testing.assert_allclose(read.pixels, pixels, rtol=0.01)
    assert read.pixels.dtype == np.float16


def test_an_openexr_file_is_read(tmp_path: Path) -> None:
    exr = pytest.importorskip("OpenEXR")
    pixels = plain(height=16) * np.array([1, 2, 4], np.float32)
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    with exr.File(header, {"RGB": pixels}) as file:
        file.write(str(tmp_path / "a.exr"))
    np.testing.assert_allclose(panorama.read(tmp_path / "a.exr").pixels, pixels, rtol=0.01)
    (tmp_path / "b.exr").write_bytes((tmp_path / "a.exr").read_bytes()[:300])
    with pytest.raises(MatteboxError) as caught:
        panorama.read(tmp_path / "b.exr")
    assert caught.value.kind is Kind.UNREADABLE_IMAGE


def test_dark_rings_of_a_sharp_filter_are_filled(tmp_path: Path) -> None:
    exr = pytest.importorskip("OpenEXR")
    pixels = plain(height=32)
    pixels[14:18, 30:34] = -0.4  # the ring, and in it
    pixels[15:17, 31:33] = 400.0  # the lamp
    with exr.File({"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}, {"RGB": pixels}) as file:
        file.write(str(tmp_path / "a.exr"))
    read = panorama.read(tmp_path / "a.exr").pixels.astype(np.float32)
    assert read.min() > 0.5 * GREY
    assert read[15, 31].min() == pytest.approx(400, rel=0.01)
    ring = read[14, 30:34]
    assert ring.max() < 6 * GREY


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "neither"),
        (b"\xff\xd8\xff\xe0 a JPEG", "neither"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n", "Radiance file of an unsupported kind"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 4 +X 8\nshort", "damaged"),
    ],
)
def test_what_is_no_panorama_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.hdr").write_bytes(content)
    with pytest.raises(MatteboxError, match=words) as caught:
        panorama.read(tmp_path / "a.hdr")
    assert caught.value.kind is Kind.UNREADABLE_IMAGE
    assert str(tmp_path) not in caught.value.message


def test_a_panorama_that_is_not_all_around_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MatteboxError, match="twice as wide"):
        panorama.read(write_radiance(tmp_path / "a.hdr", np.ones((8, 12, 3), np.float32)))


def test_an_absurd_size_is_refused_before_decoding(tmp_path: Path) -> None:
    (tmp_path / "a.hdr").write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 100000 +X 200000\n")
    with pytest.raises(MatteboxError) as caught:
        panorama.read(tmp_path / "a.hdr")
    assert caught.value.kind is Kind.TOO_MANY_PIXELS


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(MatteboxError, match="cannot be read"):
        panorama.read(tmp_path / "a.hdr")

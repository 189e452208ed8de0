"""Colours that are given as code points: checked against the formulas of the standards and against lcms."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest

from mattebox import codec
from mattebox.codec import cicp, heif
from mattebox.codec.cicp import CodePoints
from mattebox.edit import Output

from .icc import display_p3, in_srgb, srgb_profile
from .pictures import PIXELS, assert_near, failure, raw_png, saved
from .test_reading import HEIC

RED = np.full((8, 8, 3), (200, 30, 40), np.uint8)


def png(pixels: PIXELS, *points: int, icc: bytes | None = None) -> bytes:
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    extra = [] if icc is None else [(b"iCCP", b"x\0\0" + zlib.compress(icc))]
    return raw_png(pixels.shape[1], pixels.shape[0], 8, 2, rows, (b"cICP", bytes(points)), *extra)


def with_points(data: bytes, primaries: int, transfer: int) -> bytes:
    """An AVIF or HEIC with other code points in its one `nclx` box."""
    assert data.count(b"colrnclx") == 1
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def avif(pixels: PIXELS, primaries: int, transfer: int, **options: object) -> bytes:
    return with_points(saved(pixels, "AVIF", quality=100, subsampling="4:4:4", **options), primaries, transfer)


def curve(linear: float) -> float:
    """The sRGB curve, 0..1 to 0..255."""
    linear = min(max(linear, 0), 1)
    return 255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)


def uncurved(level: float) -> float:
    share = level / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


# Linear Display P3 and BT.2020 to linear sRGB, as the CSS Color specification and BT.2087 print them.
P3 = np.array([[1.2249402, -0.2249402, 0], [-0.0420570, 1.0420570, 0], [-0.0196376, -0.0786361, 1.0982736]])
BT2020 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])


@pytest.mark.parametrize(("primaries", "matrix"), [(12, P3), (9, BT2020)])
@pytest.mark.parametrize("transfer", [13, 1])
def test_wide_colours_are_kept_with_their_profile(
    primaries: int, matrix: npt.NDArray[np.float64], transfer: int
) -> None:
    color = np.array([180, 120, 90])
    pixels = np.full((8, 8, 3), color, np.uint8)
    expected = np.array([round(curve(level)) for level in matrix @ [uncurved(level) for level in color]])
    for data in (png(pixels, primaries, transfer, 0, 1), avif(pixels, primaries, transfer)):
        image = codec.decode(data)
        assert_near(image.rgb, pixels, 1)
        assert image.icc is not None
        assert_near(in_srgb(image.rgb, image.icc)[:1, 0], expected[None].astype(np.uint8), 2)


@pytest.mark.parametrize(("primaries", "transfer"), [(1, 13), (1, 1), (2, 2), (1, 6), (2, 13)])
def test_srgb_under_its_numbers_is_none(primaries: int, transfer: int) -> None:
    for data in (png(RED, primaries, transfer, 0, 1), avif(RED, primaries, transfer)):
        assert codec.decode(data).icc is None


@pytest.mark.parametrize(("transfer", "gamma"), [(4, 2.2), (5, 2.8), (8, 1.0)])
def test_plain_powers(transfer: int, gamma: float) -> None:
    image = codec.decode(png(np.full((4, 4, 3), 100, np.uint8), 1, transfer, 0, 1))
    assert image.icc is not None
    grey = in_srgb(image.rgb, image.icc)
    assert abs(int(grey[0, 0, 0]) - curve((100 / 255) ** gamma)) <= 1.5


def test_every_profile_is_one_that_can_be_written_and_used() -> None:
    for primaries in (4, 5, 6, 7, 8, 9, 11, 12, 22):
        icc = cicp.icc_profile(CodePoints(primaries, 13))
        assert icc is not None
        white = in_srgb(np.full((1, 1, 3), 255, np.uint8), icc)
        assert white.min() >= 254
        image = codec.decode(saved(RED, "PNG", icc_profile=icc))
        assert image.icc == icc or (image.icc is None and primaries in (5, 6, 7, 22))  # the latter are close to sRGB


def test_the_narrow_range_of_video() -> None:
    image = codec.decode(png(np.array([[[16, 126, 235]], [[0, 255, 16]]], np.uint8), 1, 13, 0, 0))
    assert image.rgb.tolist() == [[[0, 128, 255]], [[0, 255, 0]]]


def pq_nits(level: float) -> float:
    power = (level / 255) ** (32 / 2523)
    return float(10000 * (max(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (16384 / 2610))


def hlg_nits(level: float) -> float:
    """A grey on a display of 1000 cd/m²."""
    share = level / 255
    scene = share**2 / 3 if share <= 0.5 else (np.exp((share - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return float(1000 * scene**1.2)


@pytest.mark.parametrize(("transfer", "nits"), [(16, pq_nits), (18, hlg_nits)])
def test_high_dynamic_range_ends_at_white(transfer: int, nits: Callable[[float], float]) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    image = codec.decode(png(ramp, 9, transfer, 0, 1))
    assert image.icc is None
    greys = image.rgb[0].astype(int)
    assert np.ptp(greys, axis=1).max() <= 1  # still grey
    levels = greys[:, 0]
    assert (np.diff(levels) >= 0).all()
    for level in range(256):
        seen = nits(level)
        if seen < 90:  # below the knee nothing changes
            assert abs(levels[level] - curve(seen / 203)) <= 1
        elif seen < 1000:
            assert curve(80 / 203) < levels[level] <= curve(seen / 203) + 1
        else:
            assert levels[level] >= 254
    paper = min(range(256), key=lambda level: abs(nits(level) - 203))
    assert 215 < levels[paper] < 245  # light, and below the highlights


def test_high_dynamic_range_keeps_hues_and_clips_what_srgb_has_not() -> None:
    colors = np.array([[[100, 60, 60], [150, 120, 120], [190, 40, 40]]], np.uint8)
    rgb = codec.decode(png(colors, 9, 16, 0, 1)).rgb[0].astype(int)
    assert (rgb[:, 0] > rgb[:, 1]).all()
    assert rgb[2, 0] == 255
    assert rgb[2, 1] == rgb[2, 2] == 0
    one = codec.decode(avif(np.full((16, 16, 3), 110, np.uint8), 9, 16)).rgb
    assert abs(int(one[0, 0, 0]) - curve(pq_nits(110) / 203)) <= 3


def test_heic_has_code_points_too() -> None:
    plain = codec.decode(HEIC.read_bytes())
    wide = codec.decode(with_points(HEIC.read_bytes(), 12, 13))
    assert plain.icc is None
    assert wide.icc == cicp.icc_profile(CodePoints(12, 13))
    np.testing.assert_array_equal(wide.rgb, plain.rgb)
    bright = codec.decode(with_points(HEIC.read_bytes(), 9, 16))
    assert bright.icc is None
    assert bright.rgb.max() == 255
    assert bright.alpha is not None


def test_which_of_profile_and_code_points_counts() -> None:
    # In PNG the code points, by its specification; in AVIF the profile, by that of its container.
    assert codec.decode(png(RED, 1, 13, 0, 1, icc=display_p3())).icc is None
    assert codec.decode(avif(RED, 9, 16, icc_profile=display_p3())).icc == display_p3()
    assert codec.decode(avif(RED, 12, 13, icc_profile=srgb_profile())).icc is None


@pytest.mark.parametrize(("primaries", "transfer", "words"), [(10, 13, "primaries 10"), (1, 9, "characteristics 9")])
def test_what_is_not_supported_is_called_that(primaries: int, transfer: int, words: str) -> None:
    for data in (png(RED, primaries, transfer, 0, 1), avif(RED, primaries, transfer)):
        message = failure(data).message
        assert words in message
        assert "not supported" in message


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def container(*owners: tuple[int, int], main: int = 1, wide: bool = False, tiles: bytes = b"") -> bytes:
    """Boxes of a container whose items have these primaries."""
    number = ">I" if wide else ">H"
    colors = b"".join(box(b"colr", b"nclx" + struct.pack(">HHHB", each, 13, 0, 128)) for _, each in owners)
    table = bytes([wide, 0, 0, 0]) + struct.pack(">I", len(owners))
    for place, (item, _) in enumerate(owners, 1):
        table += struct.pack(number, item) + bytes([1, 0x80 | place])
    shared = box(b"iprp", box(b"ipco", colors) + box(b"ipma", table))
    start = box(b"pitm", bytes([wide, 0, 0, 0]) + struct.pack(number, main))
    return box(b"ftyp", b"avif") + box(b"meta", bytes(4) + start + tiles + shared)


@pytest.mark.parametrize("wide", [False, True])
def test_a_gain_maps_colours_are_not_the_pictures(wide: bool) -> None:
    # The item that joins the picture with its gain map has code points of its own.
    for main, expected in ((1, 12), (2, 9)):
        found = heif.code_points(container((1, 12), (2, 9), main=main, wide=wide))
        assert found == CodePoints(expected, 13)
    assert heif.code_points(container((1, 12), main=3, wide=wide)) is None


def test_the_colours_of_tiles() -> None:
    tiles = box(b"iref", bytes(4) + box(b"dimg", struct.pack(">HHHH", 5, 2, 2, 3)))
    assert heif.code_points(container((2, 12), (3, 12), main=5, tiles=tiles)) == CodePoints(12, 13)
    assert heif.code_points(container((2, 12), main=6, tiles=tiles)) is None


def test_boxes_that_end_early_have_no_colours() -> None:
    whole = container((1, 12))
    for end in range(len(whole)):
        assert heif.code_points(whole[:end]) in (None, CodePoints(12, 13))
    for at in range(8, len(whole)):
        heif.code_points(whole[:at] + b"\xff" + whole[at + 1 :])


def test_a_saved_result_shows_the_same_elsewhere() -> None:
    image = codec.decode(avif(RED, 12, 13))
    picture = PIL.Image.open(BytesIO(codec.encode(image, Output())))
    there = in_srgb(np.asarray(picture), picture.info["icc_profile"])
    assert_near(there[:1, 0], np.array([[219, 0, 31]], np.uint8), 5)

"""Odd metadata of every format but PNG (see test_png.py): the pixels are whole, and other readers show them."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
import tifffile

from mattebox import codec

from .pictures import assert_near, exif, failure, quadrants, saved, smooth
from .test_reading import HEIC

EXIF = exif(1).tobytes()
ODD_EXIF = {
    "cut": EXIF[:20],
    "garbage": b"Exif\0\0" + b"\xff" * 60,
    "directory elsewhere": b"Exif\0\0MM\0*\xff\xff\xff\xff",
    "more entries than there are": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
    "a text where a number should be": EXIF.replace(b"\x01\x12\0\x03", b"\x01\x12\0\x02"),
}


@pytest.mark.parametrize("name", ODD_EXIF)
@pytest.mark.parametrize("form", ["JPEG", "WEBP", "AVIF", "HEIC"])
def test_damaged_exif(form: str, name: str) -> None:
    """The same length is written over whole EXIF data, because writers refuse such data."""
    tags = exif(6)
    tags[0x0131] = "a name of a program that is long enough"  # without it AVIF keeps the turn only
    whole = HEIC.read_bytes() if form == "HEIC" else saved(smooth(), form, exif=tags)
    start = whole.index(b"MM\0*")
    odd = ODD_EXIF[name].removeprefix(b"Exif\0\0")[: 26 if form == "HEIC" else 60]
    image = codec.decode(whole[:start] + odd + whole[start + len(odd) :])
    assert {image.width, image.height} == {48, 64}


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("icc", [b"abc", bytes(200)])
def test_damaged_profiles(form: str, icc: bytes) -> None:
    image = codec.decode(saved(smooth(), form, icc_profile=icc, quality=95))
    assert image.icc is None
    assert_near(image.rgb, smooth(), 25)


SEGMENTS = {
    "an empty APP1": b"\xff\xe1\0\x02",
    "a profile of no pieces": b"\xff\xe2\0\x10ICC_PROFILE\0\0\0",
    "a profile without two of its pieces": b"\xff\xe2\0\x14ICC_PROFILE\0\1\3abcd",
    "a cut Adobe segment": b"\xff\xee\0\x07Adobe",
    "a cut list of pictures": b"\xff\xe2\0\x06MPF\0",
    "an empty comment": b"\xff\xfe\0\x02",
    "filling": b"\xff\xff\xff",
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_odd_segments_of_a_jpeg(name: str) -> None:
    whole = saved(smooth(), "JPEG")
    image = codec.decode(whole[:2] + SEGMENTS[name] + whole[2:])
    np.testing.assert_array_equal(image.rgb, codec.decode(whole).rgb)


@pytest.mark.parametrize("cut", [1, 2, 7, 20])
def test_a_webp_whose_metadata_is_cut(cut: int) -> None:
    whole = saved(smooth(), "WEBP", lossless=True, exif=exif(1))
    assert_near(codec.decode(whole[:-cut]).rgb, smooth())
    assert "damaged" in failure(whole[: len(whole) // 2]).message


@pytest.mark.parametrize("error", [-30, -1, 1, 100, 2**20])
@pytest.mark.parametrize("extra", [b"", b"junk", b"more junk than this"])
def test_a_webp_that_names_a_wrong_size(error: int, extra: bytes) -> None:
    whole = saved(smooth(), "WEBP", lossless=True)
    data = whole[:4] + struct.pack("<I", len(whole) - 8 + error) + whole[8:] + extra
    assert_near(codec.decode(data).rgb, smooth())


EXTENSIONS = {
    "an application without a name": b"\x21\xff\0",
    "a short application": b"\x21\xff\3abc\0",
    "a short loop": b"\x21\xff\x0bNETSCAPE2.0\1\1\0",
    "a short graphic control": b"\x21\xf9\1\0\0",
    "an empty graphic control": b"\x21\xf9\0",
    "an empty text": b"\x21\1\0",
    "an unknown extension": b"\x21\x77\2ab\0",
    "a comment": b"\x21\xfe\3abc\0",
}


@pytest.mark.parametrize("name", EXTENSIONS)
def test_odd_extensions_of_a_gif(name: str) -> None:
    whole = saved(quadrants(), "GIF", transparency=0)
    at = whole.index(b"\x21\xf9\4") + 8
    expected = codec.decode(whole)
    assert expected.alpha is not None
    for place in (at, at - 8):
        image = codec.decode(whole[:place] + EXTENSIONS[name] + whole[place:])
        assert_near(image.rgb, expected.rgb)
        assert image.alpha is not None
        np.testing.assert_array_equal(image.alpha, expected.alpha)
    assert_near(codec.decode(whole[:-1]).rgb, expected.rgb)  # without its end mark


TAGS = {
    "EXIF elsewhere": (34665, "I", 1, 99_999_999),
    "EXIF that is pixels": (34665, "I", 1, 300),
    "GPS elsewhere": (34853, "I", 1, 99_999_999),
    "more pictures elsewhere": (330, "I", 1, 99_999_999),
    "XMP that is not": (700, "B", 5, b"abcde"),
    "Photoshop's data that is not": (34377, "B", 5, b"abcde"),
    "an orientation that there is not": (274, "H", 1, 99),
    "a resolution of nothing": (282, "2I", 1, (0, 0)),
}


@pytest.mark.parametrize("name", TAGS)
@pytest.mark.parametrize("packing", [None, "zlib"])
def test_odd_tags_of_a_tiff(name: str, packing: str | None) -> None:
    file = BytesIO()
    tags = [(*TAGS[name], True)]
    tifffile.imwrite(file, smooth(), photometric="rgb", metadata=None, extratags=tags, compression=packing)
    assert_near(codec.decode(file.getvalue()).rgb, smooth())

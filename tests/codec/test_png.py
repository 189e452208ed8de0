from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mattebox import codec
from mattebox.codec import png

from .icc import display_p3
from .pictures import assert_near, exif, failure, png_chunk, quadrants, raw_png, saved


def noise(height: int, width: int, channels: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def in_bands(pixels: npt.NDArray[np.uint8], rows: int) -> Iterator[npt.NDArray[np.uint8]]:
    return (pixels[top : top + rows] for top in range(0, len(pixels), rows))


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 3, 4]),
    rows=st.integers(1, 50),
    seed=st.integers(0, 9),
)
def test_every_size_comes_back_as_it_was(height: int, width: int, channels: int, rows: int, seed: int) -> None:
    pixels = noise(height, width, channels, seed)
    file = png.encode(in_bands(pixels, rows), width=width, height=height, channels=channels)
    PIL.Image.open(BytesIO(file)).verify()
    picture = PIL.Image.open(BytesIO(file))
    assert picture.mode == {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    np.testing.assert_array_equal(np.asarray(picture).reshape(height, width, channels), pixels)


def test_a_band_may_be_reused_by_its_maker() -> None:
    pixels = noise(9, 7, 3)

    def reusing() -> Iterator[npt.NDArray[np.uint8]]:
        band = np.empty((3, 7, 3), np.uint8)
        for top in (0, 3, 6):
            band[:] = pixels[top : top + 3]
            yield band

    file = png.encode(reusing(), width=7, height=9, channels=3)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(BytesIO(file))), pixels)


def test_the_profile_is_written_as_it_is() -> None:
    profile = bytes(range(256)) * 40
    file = png.encode([noise(2, 2, 3)], width=2, height=2, channels=3, icc=profile)
    assert PIL.Image.open(BytesIO(file)).info["icc_profile"] == profile


def test_flat_areas_become_small() -> None:
    flat = np.zeros((1000, 1000, 4), np.uint8)
    assert len(png.encode(in_bands(flat, 64), width=1000, height=1000, channels=4)) < 40_000


def test_bands_must_add_up_to_the_picture() -> None:
    with pytest.raises(ValueError, match="rows"):
        png.encode([noise(3, 4, 3)], width=4, height=5, channels=3)
    with pytest.raises(ValueError, match="band"):
        png.encode([noise(3, 4, 3)], width=5, height=3, channels=3)


# --- reading


PLAIN = saved(quadrants(), "PNG")
HEAD = len(b"\x89PNG\r\n\x1a\n") + 25


def with_chunks(*chunks: bytes, behind: bool = False) -> bytes:
    at = len(PLAIN) - 12 if behind else HEAD
    return PLAIN[:at] + b"".join(chunks) + PLAIN[at:]


WORKFLOW = zlib.compress(b'{"node":1}' * 150_000)
LARGE = b"\0\x12\x4f\x80" + bytes(8) + b"mntrRGB XYZ " + bytes(1_200_000)
ODD = {
    "a long text": png_chunk(b"zTXt", b"workflow\0\0" + WORKFLOW),
    "a long international text": png_chunk(b"iTXt", b"workflow\0\1\0\0\0" + WORKFLOW),
    "much text": png_chunk(b"zTXt", b"workflow\0\0" + WORKFLOW) * 50,
    "a text that is not packed": png_chunk(b"zTXt", b"a\0\0no"),
    "a text in an unknown packing": png_chunk(b"zTXt", b"a\0\7no"),
    "a large profile": png_chunk(b"iCCP", b"x\0\0" + zlib.compress(LARGE)),
    "a profile that is not packed": png_chunk(b"iCCP", b"x\0\0no"),
    "a profile that is cut": png_chunk(b"iCCP", b"x\0\0" + zlib.compress(LARGE)[:-20]),
    "animation without frames": png_chunk(b"acTL", struct.pack(">II", 9, 0)),
    "animation of wrong order": png_chunk(b"fdAT", struct.pack(">I", 7) + b"no"),
    "an unknown chunk": png_chunk(b"abCd", b"no"),
}
ODD |= {f"a transparent colour of {length} bytes": png_chunk(b"tRNS", bytes(length)) for length in (1, 5, 7, 300)}
BODIES = {b"tEXt": b"a\0b", b"iCCP": b"x\0\0", b"gAMA": bytes(4), b"eXIf": b"MM", b"tRNS": bytes(6)}
ODD |= {f"a wrong checksum of {kind.decode()}": png_chunk(kind, body)[:-4] + bytes(4) for kind, body in BODIES.items()}
NAMES = ["iCCP", "gAMA", "cHRM", "sRGB", "pHYs", "tEXt", "zTXt", "iTXt", "eXIf", "tIME", "acTL", "fcTL", "cICP"]
ODD |= {f"an empty {name}": png_chunk(name.encode(), b"") for name in NAMES}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("behind", [False, True])
def test_odd_metadata_keeps_nobody_from_the_pixels(name: str, behind: bool) -> None:
    data = with_chunks(ODD[name], behind=behind)
    image = codec.decode(data)
    assert_near(image.rgb, quadrants())
    assert image.alpha is None
    assert image.icc is None
    if not re.search("animation|acTL|fcTL", name):
        seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert seen is not None
        assert_near(seen[..., ::-1].astype(np.uint8), quadrants())


def test_many_profiles_cost_no_more_than_one() -> None:
    image = codec.decode(
        with_chunks(*[ODD["a large profile"]] * 3, png_chunk(b"iCCP", b"x\0\0" + zlib.compress(display_p3())))
    )
    assert image.icc is None  # the first one counts


def test_what_is_dropped_is_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    codec.decode(with_chunks(ODD["an empty iCCP"], *[ODD["a wrong checksum of tRNS"]] * 9))
    assert "damaged iCCP chunk" in caplog.text
    assert caplog.text.count("damaged tRNS chunk") == 1


def test_metadata_that_is_whole_still_counts() -> None:
    p3 = png_chunk(b"iCCP", b"x\0\0" + zlib.compress(display_p3()))
    turned = png_chunk(b"eXIf", exif(6).tobytes().removeprefix(b"Exif\0\0"))
    for behind in (False, True):
        image = codec.decode(with_chunks(p3, ODD["a long text"], turned, behind=behind))
        assert image.icc == display_p3()
        assert_near(image.rgb, np.rot90(quadrants(), -1))


def test_a_missing_end_is_no_damage_and_missing_pixels_are() -> None:
    assert_near(codec.decode(PLAIN[:-12]).rgb, quadrants())
    assert_near(codec.decode(PLAIN[:-12] + ODD["a long text"][:400]).rgb, quadrants())
    assert "damaged" in failure(PLAIN[: len(PLAIN) // 2]).message
    broken = bytearray(PLAIN)
    broken[PLAIN.index(b"IDAT") + 20] ^= 1
    assert "damaged" in failure(bytes(broken)).message


def test_the_form_of_iphone_apps_is_called_by_its_name() -> None:
    message = failure(PLAIN[:8] + png_chunk(b"CgBI", bytes(4)) + PLAIN[8:]).message
    assert "iPhone" in message
    assert "not supported" in message


def interlaced(samples: npt.NDArray[np.generic]) -> bytes:
    """The seven passes of Adam7."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = (samples[top::down, left::across] for top, left, down, across in passes)
    return b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)


@pytest.mark.parametrize(("color_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("adam7", [False, True])
def test_opencv_reads_the_same(color_type: int, channels: int, depth: int, adam7: bool) -> None:
    levels = np.random.default_rng(4).integers(0, 256, (19, 23, channels))
    samples = levels.astype(np.uint8) if depth == 8 else (levels * 257).astype(">u2")
    plain = b"".join(b"\0" + row.tobytes() for row in samples)
    data = bytearray(raw_png(23, 19, depth, color_type, interlaced(samples) if adam7 else plain))
    data[28] = adam7
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    image = codec.decode(bytes(data))
    seen = cv2.imdecode(np.frombuffer(bytes(data), np.uint8), cv2.IMREAD_UNCHANGED)
    assert seen is not None
    shares = (seen / (255 if depth == 8 else 65535)).reshape(19, 23, -1)
    blue, green, red = (shares[..., at if shares.shape[2] > 1 else 0] for at in range(3))
    assert_near(image.rgb, np.rint(np.dstack([red, green, blue]) * 255).astype(np.uint8), 1)
    if channels in (2, 4):
        assert image.alpha is not None
        np.testing.assert_allclose(image.alpha, shares[..., 3], atol=0.005)

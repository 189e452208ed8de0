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


@pytest.mark.parametrize("depth", [1, 8])
def test_indices_without_a_palette_are_damage(depth: int) -> None:
    rows, colors = (b"\0" + bytes(depth)) * 8, (b"PLTE", bytes((9, 8, 7)))
    assert_near(codec.decode(raw_png(8, 8, depth, 3, rows, colors)).rgb, np.full((8, 8, 3), (9, 8, 7), np.uint8))
    behind = raw_png(8, 8, depth, 3, rows)[:-12] + png_chunk(*colors) + png_chunk(b"IEND", b"")
    key = (b"tRNS", b"\0")
    for data in (raw_png(8, 8, depth, 3, rows), raw_png(8, 8, depth, 3, rows, key, (b"PLTE", b"")), behind):
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is None
        assert "damaged" in failure(data).message


def test_a_header_that_is_not_first_or_not_alone_is_damage() -> None:
    header, text = PLAIN[8:HEAD], png_chunk(b"tEXt", b"a\0b")
    indices = png_chunk(b"IHDR", header[8:17] + b"\3" + header[18:-4])
    for data in (with_chunks(header), with_chunks(indices), PLAIN[:8] + text + PLAIN[8:], PLAIN[:8] + PLAIN[HEAD:]):
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is None
        assert "damaged" in failure(data).message


# --- colours in numbers


def measured(pixels: npt.NDArray[np.uint8], *chunks: tuple[bytes, bytes], color_type: int = 2) -> bytes:
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return raw_png(pixels.shape[1], pixels.shape[0], 8, color_type, rows, *chunks)


def gamma(exponent: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(100_000 / exponent))


def chromaticities(*numbers: float) -> tuple[bytes, bytes]:
    """White, red, green, blue."""
    return b"cHRM", struct.pack(">8I", *(round(100_000 * number) for number in numbers))


SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
P3 = (0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
RAMP = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)


@pytest.mark.parametrize("exponent", [1.0, 1.8, 2.6])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_gamma_is_its_curve(exponent: float, channels: int) -> None:
    image = codec.decode(measured(RAMP[..., :channels], gamma(exponent), color_type={1: 0, 3: 2}[channels]))
    linear = (np.arange(256) / 255) ** exponent
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(codec.in_profile(image, None).rgb[0, :, 1], 255 * srgb, atol=1.5)


def test_chromaticities_without_a_gamma_have_the_curve_of_srgb() -> None:
    red = np.full((4, 4, 3), (200, 30, 40), np.uint8)
    image = codec.decode(measured(red, chromaticities(*P3)))
    assert image.icc is not None
    assert_near(image.rgb, red)
    assert_near(codec.in_profile(image, None).rgb, np.full_like(red, (218, 0, 27)), 1)


@pytest.mark.parametrize(
    "chunks",
    [
        [gamma(2.2)],
        [gamma(1 / 0.45)],
        [gamma(2.2), chromaticities(*SRGB)],
        [chromaticities(*SRGB)],
        [(b"sRGB", b"\0"), gamma(1.0), chromaticities(*P3)],
        [(b"cICP", bytes((1, 13, 0, 1))), gamma(1.0)],
        [(b"gAMA", bytes(4))],
        [(b"gAMA", b"\xff" * 4)],
        [(b"gAMA", b"\0\0\0\1")],
        [(b"gAMA", b"\1")],
        [(b"cHRM", bytes(32))],
        [(b"cHRM", b"\xff" * 32)],
        [(b"cHRM", bytes(31))],
        [chromaticities(0.3127, 0.3290, *[0.3, 0.3] * 3)],
        [chromaticities(0.3127, 0.0, *P3[2:])],
    ],
)
def test_numbers_that_are_srgb_or_no_colours_change_nothing(chunks: list[tuple[bytes, bytes]]) -> None:
    image = codec.decode(measured(quadrants(), *chunks))
    assert image.icc is None
    assert_near(image.rgb, quadrants())


def test_a_profile_counts_before_gamma_unless_it_is_damaged() -> None:
    p3 = b"x\0\0" + zlib.compress(display_p3())
    assert codec.decode(measured(RAMP, (b"iCCP", p3), gamma(1.0))).icc == display_p3()
    linear = codec.in_profile(codec.decode(measured(RAMP, (b"iCCP", b"x\0\0no"), gamma(1.0))), None)
    assert linear.rgb[0, 55].tolist() == [128, 128, 128]

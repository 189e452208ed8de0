"""Windows bitmaps of every depth, header and layout of bits, written here; OpenCV reads the usual ones alike."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mattebox import codec
from mattebox.codec import Limits
from mattebox.errors import Kind

from .icc import display_p3
from .pictures import PIXELS, assert_near, failure, noise, saved

HEIGHT, WIDTH = 7, 13
COLORS = noise(HEIGHT, WIDTH)
Indices = npt.NDArray[np.int64]


def bmp(
    bits: int,
    body: bytes,
    *,
    packing: int = 0,
    palette: bytes = b"",
    size: int = 40,
    height: int = HEIGHT,
    colors: int = 0,
    masks: Sequence[int] = (),
) -> bytes:
    if size == 12:
        head = struct.pack("<IHHHH", 12, WIDTH, height, 1, bits)
    else:
        head = struct.pack("<IiiHHIIiiII", size, WIDTH, height, 1, bits, packing, len(body), 2835, 2835, colors, 0)
        head += b"".join(struct.pack("<I", mask) for mask in masks)
        head = head.ljust(size, b"\0")
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + head + palette + body


def rows(values: npt.NDArray[np.generic]) -> bytes:
    """Rows from the bottom up, each filled to four bytes."""
    return b"".join(row.tobytes() + bytes(-row.nbytes % 4) for row in np.ascontiguousarray(values[::-1]))


def packed(indices: Indices, bits: int) -> bytes:
    lines = ("".join(format(index, f"0{bits}b") for index in row) for row in indices)
    filled = (line.ljust((len(line) + 31) // 32 * 32, "0") for line in lines)
    return b"".join(int(line, 2).to_bytes(len(line) // 8) for line in filled)


def palette_of(count: int, *, grey: bool) -> PIXELS:
    """Random, or the first greys: a few of those must not be taken for a grey picture of 8 bits."""
    greys = [0, 255] if count == 2 else range(count)
    return np.array([[level] * 3 for level in greys], np.uint8) if grey else noise(count, 1, seed=5)[:, 0]


def stored(palette: PIXELS, entry: int) -> bytes:
    return b"".join(bytes([blue, green, red]) + bytes(entry - 3) for red, green, blue in palette.tolist())


def seen_by_opencv(data: bytes) -> PIXELS:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture[..., ::-1].astype(np.uint8)


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("size", [12, 40, 64, 108, 124])
@pytest.mark.parametrize("top_down", [False, True])
def test_palettes(bits: int, size: int, top_down: bool) -> None:
    for colors, grey in product((0, 2, 3), (False, True)):
        count = colors or 2**bits
        if count > 2**bits or (size == 12 and (top_down or colors)):
            continue
        palette = palette_of(count, grey=grey)
        indices = np.random.default_rng(1).integers(0, count, (HEIGHT, WIDTH))
        body = packed(indices if top_down else indices[::-1], bits)
        data = bmp(
            bits,
            body,
            palette=stored(palette, 3 if size == 12 else 4),
            size=size,
            height=-HEIGHT if top_down else HEIGHT,
            colors=colors,
        )
        assert_near(codec.decode(data).rgb, palette[indices])
        assert_near(seen_by_opencv(data), palette[indices])


def runs(row: list[int], bits: int) -> bytes:
    return b"".join(bytes([1, index if bits == 8 else index << 4]) for index in row)


def literal(row: list[int], bits: int) -> bytes:
    padded = row + [0] * (-len(row) % (2 if bits == 8 else 4))
    halves = [padded[at] << 4 | padded[at + 1] for at in range(0, len(padded), 2)]
    return bytes([0, len(row), *(padded if bits == 8 else halves)])


@pytest.mark.parametrize(("bits", "packing"), [(8, 1), (4, 2)])
@pytest.mark.parametrize("written", [runs, literal])
def test_run_lengths(bits: int, packing: int, written: Callable[[list[int], int], bytes]) -> None:
    for colors, grey in product((0, 2, 5), (False, True)):
        palette = palette_of(colors or 2**bits, grey=grey)
        indices = np.random.default_rng(1).integers(0, len(palette), (HEIGHT, WIDTH))
        body = b"\0\0".join(written(row, bits) for row in indices[::-1].tolist())
        data = bmp(bits, body + b"\0\1", packing=packing, palette=stored(palette, 4), colors=colors)
        for whole in (data, data[:-2]):
            assert_near(codec.decode(whole).rgb, palette[indices])
        assert_near(seen_by_opencv(data), palette[indices])
        assert "damaged" in failure(data[:-40]).message


@pytest.mark.parametrize(("bits", "packing", "run"), [(8, 1, b"\2\7"), (4, 2, b"\2\x77")])
def test_run_lengths_may_skip_and_end_early(bits: int, packing: int, run: bytes) -> None:
    palette = palette_of(2**bits, grey=False)
    expected = np.broadcast_to(palette[0], (HEIGHT, WIDTH, 3)).copy()
    expected[HEIGHT - 2, 3:5] = palette[7]
    data = bmp(bits, b"\0\2\3\1" + run + b"\0\1", packing=packing, palette=stored(palette, 4))
    assert_near(codec.decode(data).rgb, expected)
    if bits == 8:  # OpenCV reads on behind the end of the other
        assert_near(seen_by_opencv(data), expected)


@pytest.mark.parametrize("size", [12, 40, 64, 108, 124])
def test_24_and_32_bits(size: int) -> None:
    data = bmp(24, rows(COLORS[..., ::-1]), size=size)
    assert_near(codec.decode(data).rgb, COLORS)
    assert_near(codec.decode(data[:-1]).rgb, COLORS)  # padding of the last row, which some writers leave out
    assert failure(data[:-2]).kind is Kind.UNREADABLE_IMAGE
    if size != 12:
        filled = np.dstack([COLORS[..., ::-1], noise(HEIGHT, WIDTH, seed=3)[..., 0]])
        image = codec.decode(bmp(32, rows(filled), size=size))
        assert_near(image.rgb, COLORS)
        assert image.alpha is None  # without masks the fourth byte is not used


MASKS = {
    "555": (0x7C00, 0x3E0, 0x1F, 0),
    "565": (0xF800, 0x7E0, 0x1F, 0),
    "444": (0xF00, 0xF0, 0xF, 0),
    "1555": (0x7C00, 0x3E0, 0x1F, 0x8000),
    "4444": (0xF00, 0xF0, 0xF, 0xF000),
    "BGRX": (0xFF0000, 0xFF00, 0xFF, 0),
    "RGBX": (0xFF, 0xFF00, 0xFF0000, 0),
    "BGRA": (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    "ABGR": (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
    "10 bits": (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("size", [40, 108, 124])
def test_channels_are_where_the_masks_say(name: str, size: int) -> None:
    masks = MASKS[name]
    bits = 16 if name.isdigit() else 32
    levels = np.dstack([COLORS, noise(HEIGHT, WIDTH, seed=3)[..., 0]])
    values = np.zeros((HEIGHT, WIDTH), np.uint32)
    expected = np.zeros((HEIGHT, WIDTH, 4))
    for channel, mask in enumerate(masks):
        if mask:
            shift = (mask & -mask).bit_length() - 1
            top = mask >> shift
            share = np.rint(levels[..., channel] / 255 * top).astype(np.uint32)
            values |= share << np.uint32(shift)
            expected[..., channel] = share / top
    kept = masks[:3] if size == 40 else masks
    data = bmp(bits, rows(values.astype(f"<u{bits // 8}")), packing=3, size=size, masks=kept)
    image = codec.decode(data)
    assert_near(image.rgb, np.rint(expected[..., :3] * 255).astype(np.uint8))
    if size == 40 or not masks[3]:
        assert image.alpha is None
    else:
        assert image.alpha is not None
        np.testing.assert_allclose(image.alpha, expected[..., 3], atol=1e-6)


@pytest.mark.parametrize("size", [56, 108, 124])
def test_an_alpha_of_zeros_only_is_none(size: int) -> None:
    empty = np.dstack([COLORS[..., ::-1], np.zeros((HEIGHT, WIDTH), np.uint8)])
    image = codec.decode(bmp(32, rows(empty), packing=3, size=size, masks=MASKS["BGRA"]))
    assert image.alpha is None
    assert_near(image.rgb, COLORS)


def test_an_embedded_profile_is_kept() -> None:
    data = bytearray(bmp(24, rows(COLORS[..., ::-1]), size=124))
    data[70:74] = b"DEBM"
    data[126:134] = struct.pack("<II", len(data) - 14, len(display_p3()))
    image = codec.decode(bytes(data) + display_p3())
    assert image.icc == display_p3()
    assert_near(image.rgb, COLORS)
    assert codec.decode(bytes(data) + bytes(200)).icc is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bmp(0, saved(COLORS, "JPEG"), packing=4), "holds a JPEG"),
        (bmp(0, saved(COLORS, "PNG"), packing=5), "holds a PNG"),
        (bmp(2, bytes(99), packing=7), "compression 7"),
        (bmp(64, bytes(999)), "64 bits"),
        (bmp(24, bytes(999), packing=4, size=64), "OS/2"),
        (bmp(16, bytes(999), packing=3, masks=(0x5, 0x2, 0x8)), "gaps"),
        (bmp(24, bytes(999), packing=3, masks=(0xFF, 0xFF00, 0xFF0000)), "masks"),
        (b"BM" + struct.pack("<IHHII", 99, 0, 0, 54, 99) + bytes(80), "header of 99 bytes"),
    ],
)
def test_what_is_not_supported_is_called_that(data: bytes, words: str) -> None:
    message = failure(data).message
    assert words in message
    assert "not supported" in message


def test_limits_and_damage() -> None:
    data = bmp(24, rows(COLORS[..., ::-1]))
    assert failure(data, Limits(max_pixels=HEIGHT * WIDTH - 1)).kind is Kind.TOO_MANY_PIXELS
    for end in (2, 14, 20, 40, 60):
        assert "damaged" in failure(data[:end]).message

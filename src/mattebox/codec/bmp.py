"""Windows bitmaps of every depth and layout of bits.

Pillow knows a dozen layouts of bits by heart, takes some small palettes for others, and wants packed pictures to be
filled to their last row.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mattebox.codec.limits import Limits, admit, damaged, refuse
from mattebox.codec.profiles import converted, rgb_profile
from mattebox.image import Image, row_bands

_RGB, _RLE8, _RLE4, _MASKS, _JPEG, _PNG, _ALPHA_MASKS = range(7)
_DEFAULT_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_NAMES = {_JPEG: "that holds a JPEG", _PNG: "that holds a PNG"}


@dataclass(frozen=True)
class _Header:
    """The header of a bitmap.

    `palette` and `pixels` are where they start in the file, the latter 0 where it is not said. The palette has `colors`
    entries of `entry` bytes.
    """

    width: int
    height: int
    upside_down: bool
    bits: int
    compression: int
    masks: tuple[int, int, int, int]
    palette: int
    entry: int
    colors: int
    pixels: int


def _header(data: bytes) -> _Header:
    try:
        (pixels, size) = struct.unpack_from("<II", data, 10)
        if size not in _HEADERS:
            refuse(f"A BMP with a header of {size} bytes is not supported")
        compression, colors = _RGB, 0
        if size == 12:
            width, height, _, bits = struct.unpack_from("<4H", data, 18)
        else:
            width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
        if size > 16:
            compression, _, _, _, colors = struct.unpack_from("<5I", data, 30)
        masks, palette = _DEFAULT_MASKS.get(bits, (0, 0, 0, 0)), 14 + size
        if compression in (_MASKS, _ALPHA_MASKS):
            red, green, blue = struct.unpack_from("<3I", data, 54)
            has_alpha = size >= 56 or compression == _ALPHA_MASKS
            masks = (red, green, blue, struct.unpack_from("<I", data, 66)[0] if has_alpha else 0)
            palette += (16 if has_alpha else 12) if size == 40 else 0
    except struct.error as error:
        raise damaged("BMP") from error
    _check(size, bits, compression, masks)
    if bits <= 8:
        colors = min(colors or 2**bits, 2**bits)
    entry = 3 if size == 12 else 4
    return _Header(width, abs(height), height > 0, bits, compression, masks, palette, entry, colors, pixels)


def _check(size: int, bits: int, compression: int, masks: tuple[int, ...]) -> None:
    if size in (16, 64) and compression > _RLE4:
        refuse("A BMP of OS/2 with compressed pixels is not supported")
    if compression in _NAMES:
        refuse(f"A BMP {_NAMES[compression]} is not supported")
    if compression > _ALPHA_MASKS:
        refuse(f"A BMP of compression {compression} is not supported")
    allowed = {_RGB: (1, 2, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,)}.get(compression, (16, 24, 32))
    if bits not in allowed:
        refuse(f"A BMP of {bits} bits a pixel and compression {compression} is not supported")
    if bits == 24 and compression != _RGB and masks[:3] != (0xFF0000, 0xFF00, 0xFF):
        refuse("A BMP of 24 bits a pixel with unusual masks is not supported")


def size(data: bytes) -> tuple[int, int]:
    """The width and height that the header states."""
    head = _header(data)
    return head.width, head.height


def read(data: bytes, limits: Limits) -> Image:
    """A bitmap as a picture, with the profile that the newest kind of header may bring.

    A fourth channel of only zeros is ignored: programs that draw without alpha leave it empty.

    Raises:
        MatteboxError: UNREADABLE_IMAGE, TOO_MANY_PIXELS.
    """
    image = _read(data, limits)
    icc = _profile(data)
    kept, to_srgb = (None, None) if icc is None else rgb_profile(icc)
    return replace(image, rgb=converted(image.rgb, to_srgb), icc=kept)


def _profile(data: bytes) -> bytes | None:
    if len(data) < 138 or data[14:18] != b"\x7c\0\0\0" or data[70:74] != b"DEBM":  # MBED, from its last letter
        return None
    at, size = struct.unpack_from("<II", data, 126)
    return data[14 + at : 14 + at + size]


def _read(data: bytes, limits: Limits) -> Image:
    head = _header(data)
    admit((head.width, head.height), limits)
    start = head.pixels or head.palette + head.entry * head.colors
    if head.compression in (_RLE8, _RLE4):
        return Image(rgb=_palette(data, head)[_unpacked(data, start, head)[::-1]])
    rows = _rows(data, start, head)
    if head.bits <= 8:
        return Image(rgb=_palette(data, head)[_indices(rows, head)])
    if head.bits == 24:
        pixels = rows[:, : 3 * head.width].reshape(head.height, head.width, 3)
        return Image(rgb=np.ascontiguousarray(pixels[:, :, ::-1]))
    return _masked(rows, head)


def _rows(data: bytes, start: int, head: _Header) -> npt.NDArray[np.uint8]:
    """The bytes of each row, from top to bottom. Writers leave out the padding behind the last one."""
    stride = (head.width * head.bits + 31) // 32 * 4
    whole = stride * head.height
    if start + whole - stride + (head.width * head.bits + 7) // 8 > len(data):
        raise damaged("BMP")
    body = np.frombuffer(data, np.uint8, min(whole, len(data) - start), start)
    if body.size < whole:
        body = np.concatenate([body, np.zeros(whole - body.size, np.uint8)])
    rows = body.reshape(head.height, stride)
    return rows[::-1] if head.upside_down else rows


def _unpacked(data: bytes, start: int, head: _Header) -> npt.NDArray[np.uint8]:
    """Run-length coded indices of the palette, from bottom to top; what is left out is 0."""
    rows = np.zeros((head.height, head.width), np.uint8)
    x = y = 0
    at, end = start, len(data) - 1
    while y < head.height:
        if at >= end:
            if y == head.height - 1 and x >= head.width:  # only the end mark is missing
                break
            raise damaged("BMP")
        count, value = data[at], data[at + 1]
        at += 2
        if not count and value == 0:
            x, y = 0, y + 1
        elif not count and value == 1:
            break
        elif not count and value == 2:
            if at >= end:
                raise damaged("BMP")
            x, y, at = x + data[at], y + data[at + 1], at + 2
        else:
            if count:
                run = np.full(count, value, np.uint8) if head.bits == 8 else _halves(bytes([value] * count))[:count]
            else:
                count = value
                size = count if head.bits == 8 else (count + 1) // 2
                packed = data[at : at + size]
                at += size + size % 2
                run = np.frombuffer(packed, np.uint8) if head.bits == 8 else _halves(packed)[:count]
                if len(run) < count:
                    raise damaged("BMP")
            rows[y, x : x + count] = run[: max(head.width - x, 0)]
            x += count
    return rows


def _halves(packed: bytes) -> npt.NDArray[np.uint8]:
    both = np.frombuffer(packed, np.uint8)
    return np.stack([both >> 4, both & 15], axis=1).ravel()


def _palette(data: bytes, head: _Header) -> npt.NDArray[np.uint8]:
    """256 colours; those that the file does not have are black."""
    colors = np.zeros((256, 3), np.uint8)
    end = head.palette + head.entry * head.colors
    if head.pixels > head.palette:
        end = min(end, head.pixels)
    table = data[head.palette : end]
    known = np.frombuffer(table[: len(table) // head.entry * head.entry], np.uint8).reshape(-1, head.entry)
    colors[: len(known)] = known[:, 2::-1]
    return colors


def _indices(rows: npt.NDArray[np.uint8], head: _Header) -> npt.NDArray[np.uint8]:
    if head.bits == 8:
        return rows[:, : head.width]
    shifts = np.arange(8 - head.bits, -1, -head.bits, dtype=np.uint8)
    unpacked = rows[:, :, None] >> shifts & np.uint8(2**head.bits - 1)
    return unpacked.reshape(head.height, -1)[:, : head.width]


def _masked(rows: npt.NDArray[np.uint8], head: _Header) -> Image:
    """16 or 32 bits a pixel, whose channels are where the masks say."""
    masks = head.masks if any(head.masks) else _DEFAULT_MASKS[head.bits]
    rgb = np.empty((head.height, head.width, 3), np.uint8)
    alpha = np.zeros((head.height, head.width), np.float32)
    for band in row_bands(head.height, head.width):
        values = np.ascontiguousarray(rows[band]).view(f"<u{head.bits // 8}")[:, : head.width]
        for channel, mask in enumerate(masks[:3]):
            rgb[band, :, channel] = np.rint(_channel(values, mask) * np.float32(255)).astype(np.uint8)
        alpha[band] = _channel(values, masks[3])
    return Image(rgb=rgb, alpha=None if alpha.max() == 0 or alpha.min() == 1 else alpha)


def _channel(values: npt.NDArray[np.generic], mask: int) -> npt.NDArray[np.float32]:
    """One channel as 0..1; a channel without bits is 0."""
    shift = (mask & -mask).bit_length() - 1 if mask else 0
    top = mask >> shift
    if top & (top + 1):
        refuse("A BMP whose masks have gaps is not supported")
    bits = values.astype(np.uint32, copy=False) >> np.uint32(shift) & np.uint32(top)
    share: npt.NDArray[np.float32] = np.divide(bits, np.float32(top or 1), dtype=np.float32)
    return share

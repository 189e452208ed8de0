"""PNG files, written fast and in little memory.

Every row is filtered with Sub (the difference to the pixel on the left) and packed by ISA-L's deflate at its fastest
useful level. On a 12 megapixel cutout this takes a twentieth of the time of zlib at its usual level, for files that are
about a quarter larger. Other filters for a whole picture and other levels were measured on it and do not pay: Up gives
the same size, Average 5 % less for 15 % more time, and higher levels of ISA-L less than 1 %.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from io import BytesIO

import numpy as np
import numpy.typing as npt

MAX_PNG_SIDE = 2**31 - 1
_COLOR_TYPES = {1: 0, 3: 2, 4: 6}  # grey, RGB, RGBA
_SUB = 1
_LEVEL = 1


def encode(
    bands: Iterable[npt.NDArray[np.uint8]], *, width: int, height: int, channels: int, icc: bytes | None = None
) -> bytes:
    """A PNG file with 8 bits per channel.

    Args:
        bands: the picture from top to bottom in pieces of any number of rows, each uint8 (rows, width, channels). A
            band may be reused by its maker as soon as the next one is asked for.
        width: pixels per row, at most `MAX_PNG_SIDE`.
        height: rows in all bands together, at most `MAX_PNG_SIDE`.
        channels: 1 is grey, 3 is RGB, 4 is RGB with straight alpha.
        icc: the ICC profile of the colours, None for sRGB.

    Raises:
        ValueError: the bands do not add up to the size that was named.
    """
    from isal import isal_zlib

    file = BytesIO()
    file.write(b"\x89PNG\r\n\x1a\n")
    _write(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0))
    if icc is not None:
        _write(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    deflate = isal_zlib.compressobj(_LEVEL)
    filtered = np.empty((0, 1 + width * channels), np.uint8)
    written = 0
    for band in bands:
        rows = len(band)
        if band.shape != (rows, width, channels):
            raise ValueError(f"a band is {band.shape}, not ({rows}, {width}, {channels})")
        flat = band.reshape(rows, width * channels)
        if rows > len(filtered):
            filtered = np.empty((rows, 1 + width * channels), np.uint8)
        lines = filtered[:rows]
        lines[:, 0] = _SUB
        lines[:, 1 : 1 + channels] = flat[:, :channels]
        np.subtract(flat[:, channels:], flat[:, :-channels], out=lines[:, 1 + channels :])
        _write(file, b"IDAT", deflate.compress(lines))
        written += rows
    if written != height:
        raise ValueError(f"the bands have {written} rows, not {height}")
    _write(file, b"IDAT", deflate.flush())
    _write(file, b"IEND", b"")
    return file.getvalue()


def _write(file: BytesIO, kind: bytes, data: bytes) -> None:
    if not data and kind == b"IDAT":
        return  # the compressor keeps small bands for later
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))

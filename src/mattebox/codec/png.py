"""PNG files: which of a file's chunks count when it is read, and how one is written fast and in little memory.

Every row is filtered with Sub (the difference to the pixel on the left) and packed by ISA-L's deflate at its fastest
useful level. On a 12 megapixel cutout this takes a twentieth of the time of zlib at its usual level, for files that are
about a quarter larger. Other filters for a whole picture and other levels were measured on it and do not pay: Up gives
the same size, Average 5 % less for 15 % more time, and higher levels of ISA-L less than 1 %.
"""

from __future__ import annotations

import io
import logging
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mattebox.codec import cicp
from mattebox.codec.cicp import CodePoints
from mattebox.codec.limits import damaged, refuse

_log = logging.getLogger(__name__)

MAX_PNG_SIDE = 2**31 - 1
_COLOR_TYPES = {1: 0, 3: 2, 4: 6}  # grey, RGB, RGBA
_SUB = 1
_LEVEL = 1
_LARGEST_PROFILE = 2**25  # inflated; those of printers have about 2 MiB
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Metadata(NamedTuple):
    """The ancillary information of a PNG about its pixels."""

    exif: bytes = b""
    icc: bytes | None = None
    code_points: CodePoints | None = None


class PixelsOnly(BytesIO):
    """A PNG as an open file without its metadata, so that a reader of pixels never fails because of it.

    Nothing is copied. What of the pixels is damaged is left for their reader to find.

    Raises:
        MatteboxError: UNREADABLE_IMAGE for the private variety that is made for iPhone apps, and for damage that Pillow
            does not notice: a header that is not first or not alone, indices of a palette that is not there.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__()
        if data[12:16] == b"CgBI":
            refuse("A PNG in the private form of iPhone apps (CgBI) is not supported")
        if data[12:16] != b"IHDR":  # Pillow takes it wherever it is
            raise damaged("PNG")
        self._pieces = [memoryview(_SIGNATURE)]
        lengths = {0: range(2, 3), 2: range(6, 7), 3: range(1, 257)}.get(data[25] if len(data) > 25 else 0, range(0))
        dropped, lacks_palette = False, data[25:26] == b"\3"
        for kind, chunk in _chunks(data):
            is_key = kind == b"tRNS" and _is_whole(chunk) and len(chunk) - 12 in lengths
            if kind == b"IHDR" and len(self._pieces) > 1:
                raise damaged("PNG")
            if kind == b"PLTE" and len(chunk) >= 12 + 3:
                lacks_palette = False
            elif kind == b"IDAT" and lacks_palette:
                raise damaged("PNG")
            if _is_critical(kind) or is_key:
                self._pieces.append(chunk)
            elif kind == b"tRNS":
                dropped = True
        if dropped:
            _tell_of(b"tRNS")
        self._ends = list(accumulate(map(len, self._pieces)))
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place that is counted from the start; Pillow asks for no other."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only from the start")
        self._at = offset
        return offset

    def tell(self) -> int:
        """How many bytes have been read."""
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """As many bytes as there are, `size` at most; all where it is negative."""
        found: list[memoryview] = []
        stop = self._ends[-1] if size is None or size < 0 else min(self._at + size, self._ends[-1])
        while self._at < stop:
            place = bisect_right(self._ends, self._at)
            piece, end = self._pieces[place], self._ends[place]
            start = self._at - (end - len(piece))
            found.append(piece[start : start + stop - self._at])
            self._at = min(stop, end)
        return b"".join(found)


def metadata(data: bytes) -> Metadata:
    """Orientation and colours, from the first chunk of each kind.

    A chunk that is damaged is dropped with a warning in the log, as libpng does it.
    """
    first: dict[bytes, memoryview] = {}
    for kind, chunk in _chunks(data):
        if kind in (b"iCCP", b"eXIf", b"cICP", b"sRGB", b"gAMA", b"cHRM"):
            first.setdefault(kind, chunk)
    bodies: dict[bytes, bytes] = {}
    for kind, chunk in first.items():
        if _is_whole(chunk):
            bodies[kind] = bytes(chunk[8:-4])
        else:
            _tell_of(kind)
    colors = bodies.get(b"cICP", b"")
    icc = _profile(bodies[b"iCCP"]) if b"iCCP" in bodies else None
    if icc is None and b"sRGB" not in bodies:
        icc = _measured(bodies.get(b"cHRM"), bodies.get(b"gAMA"))
    return Metadata(
        exif=bodies.get(b"eXIf", b""),
        icc=icc,
        code_points=CodePoints(colors[0], colors[1], bool(colors[3])) if len(colors) == 4 else None,
    )


def _is_critical(kind: bytes) -> bool:
    return not kind[0] & 0x20


def _is_whole(chunk: memoryview) -> bool:
    """Whether an ancillary chunk has content and the right checksum."""
    return len(chunk) > 12 and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def _tell_of(kind: bytes) -> None:
    _log.warning("A damaged %s chunk of a PNG was dropped.", kind.decode("ascii"))


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and whole of each chunk up to IEND. The last one of a file that ends early is shorter than it says."""
    view, at = memoryview(data), len(_SIGNATURE)
    while at + 8 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4])
        if end <= len(data) or _is_critical(kind):
            yield kind, view[at:end]
        if kind == b"IEND":
            return
        at = end


def _profile(body: bytes) -> bytes | None:
    """Name, zero, method, packed profile; None where it cannot be unpacked."""
    name, _, packed = body.partition(b"\0")
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(packed[1:], _LARGEST_PROFILE)
    except zlib.error:
        profile = b""
    if len(name) > 79 or packed[:1] != b"\0" or not inflater.eof:
        _tell_of(b"iCCP")
        return None
    return profile


def _measured(chromaticities: bytes | None, gamma: bytes | None) -> bytes | None:
    """The profile of a `cHRM` (white, red, green, blue) and a `gAMA`, in 1/100,000; None where they say nothing."""
    colors: cicp.Chromaticities | None = None
    exponent: float | None = None
    if chromaticities is not None and len(chromaticities) == 32:
        white, red, green, blue = ((x / 100_000, y / 100_000) for x, y in struct.iter_unpack(">II", chromaticities))
        colors = (red, green, blue, white)
    if gamma is not None and len(gamma) == 4 and any(gamma):
        exponent = 100_000 / int.from_bytes(gamma)
    return cicp.measured_profile(colors, exponent)


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
    file.write(_SIGNATURE)
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

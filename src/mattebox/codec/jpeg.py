"""JPEG files: TurboJPEG writes them and reads the usual ones, Pillow reads samplings that it does not know."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

import numpy as np

from mattebox.codec.limits import Limits, admit, damaged, reading, refuse
from mattebox.codec.pixels import Bytes, as_image, exif_orientation, of_channels
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image

DEFAULT_QUALITY = 92
LONGEST_SIDE = 65500
"""Pixels of a side that libjpeg writes; just below what the format allows."""

_MOST_SCANS = 100  # a progressive JPEG has about ten; a hostile one has a million, each a pass over all pixels
_END = b"\xff\xd9"
_READ = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # baseline, extended and progressive, by Huffman's or arithmetic coding
_NOT_READ = {0xC3: "A lossless JPEG", 0xF7: "JPEG-LS"}


def read(data: bytes, limits: Limits) -> Image:
    """A JPEG as a picture, turned and in RGB.

    Raises:
        MatteboxError: UNREADABLE_IMAGE, TOO_MANY_PIXELS, OVERLOADED.
    """
    import simplejpeg  # type: ignore[import-untyped]

    header = _header(data)
    if header.scans > _MOST_SCANS:
        raise MatteboxError(Kind.UNREADABLE_IMAGE, f"The JPEG has more than {_MOST_SCANS} scans.")
    admit((header.width, header.height), limits)
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        # TurboJPEG knows the usual chroma samplings only; Pillow reads the others, and complains if it is damage.
        return _read_slowly(data, header, limits)
    admit((width, height), limits)
    channels = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}.get(space, "RGB")
    with reading("JPEG"):
        pixels = _pixels(data, channels)
    turn = exif_orientation(header.exif)
    if channels == "RGB":
        return of_channels(pixels, None, header.icc, turn)
    from PIL import Image as Pillow

    if channels == "GRAY":
        return as_image(Pillow.fromarray(pixels[:, :, 0]), header.icc, turn)
    np.subtract(255, pixels, out=pixels)  # every writer follows Adobe and stores how much ink is missing
    return as_image(Pillow.frombuffer("CMYK", (width, height), pixels), header.icc, turn)


def size(data: bytes) -> tuple[int, int]:
    """The width and height that the header states."""
    for marker, body in _segments(data):
        if _is_frame(marker):
            width, height, _ = _frame(marker, body)
            return width, height
    raise damaged("JPEG")


def _pixels(data: bytes, channels: str) -> Bytes:
    import simplejpeg

    try:
        pixels: Bytes = simplejpeg.decode_jpeg(data, channels, strict=True)
    except ValueError as error:
        # Photos with stray bytes between two markers are common and whole. So is one that lacks no more than its end
        # marker: with that put there it is read without a complaint. Any other complaint means that pixels are missing
        # or wrong.
        if "Premature end of JPEG file" in str(error) and not data.endswith(_END):
            return _pixels(data + _END, channels)
        if not re.search(r"extraneous bytes before marker|Invalid SOS parameters", str(error)):
            raise
        pixels = simplejpeg.decode_jpeg(data, channels, strict=False)
    return pixels


def _read_slowly(data: bytes, header: _Header, limits: Limits) -> Image:
    from PIL.JpegImagePlugin import JpegImageFile

    with reading("JPEG"):
        picture = JpegImageFile(BytesIO(data + _END))  # behind the true end nobody looks
    admit(picture.size, limits)
    with reading("JPEG"):
        picture.load()
    return as_image(picture, header.icc, exif_orientation(header.exif))


class _Header(NamedTuple):
    width: int
    height: int
    scans: int
    exif: bytes
    icc: bytes | None


def _header(data: bytes) -> _Header:
    width = height = components = scans = 0
    progressive = False
    exif = b""
    profile: dict[int, bytes] = {}
    for marker, body in _segments(data):
        if _is_frame(marker):
            width, height, components = _frame(marker, body)
            progressive = marker & 3 == 2
        elif marker == 0xE1 and body.startswith(b"Exif\0\0") and not exif:
            exif = body
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile[body[12]] = body[14:]
        elif marker == 0xDA:
            scans += 1
            # One scan of all components is the whole picture, and the search for more would cost time.
            if scans > _MOST_SCANS or not body or (not progressive and body[0] == components):
                break
    if not width and not scans:
        raise damaged("JPEG")
    icc = b"".join(profile[number] for number in sorted(profile)) or None
    return _Header(width, height, scans, exif, icc)


def _is_frame(marker: int) -> bool:
    return (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker in _NOT_READ


def _frame(marker: int, body: bytes) -> tuple[int, int, int]:
    """Width, height and number of channels; refused where the kind of frame is not supported."""
    if len(body) < 6:
        raise damaged("JPEG")
    depth, height, width, channels = struct.unpack_from(">BHHB", body)
    if marker not in _READ:
        refuse(f"{_NOT_READ.get(marker, 'A hierarchical or arithmetic JPEG')} is not supported")
    if depth != 8:
        refuse(f"A JPEG of {depth} bits per channel is not supported")
    if not height:
        refuse("A JPEG that gives its height behind its pixels is not supported")
    return width, height, channels


_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and body of each segment up to the end of the picture, or of the file."""
    at = 2
    while (hit := _MARKER.search(data, at)) is not None:
        marker = data[hit.end() - 1]
        if marker == 0xD9 or hit.end() + 2 > len(data):
            return
        length = int.from_bytes(data[hit.end() : hit.end() + 2])
        yield marker, data[hit.end() + 2 : hit.end() + length]
        at = hit.end() + max(length, 2)


def encode(pixels: Bytes, quality: int, icc: bytes | None) -> bytes:
    """A JPEG from grey (height × width × 1) or RGB pixels, quality 1..100, with a profile.

    Raises:
        MatteboxError: INVALID_PARAMETER where the profile is too large for the format.
    """
    import simplejpeg

    # From quality 90 on colour keeps its resolution: a cutout has hard coloured edges, where halving it shows.
    grey = pixels.shape[2] == 1
    file: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels),
        quality,
        colorspace="GRAY" if grey else "RGB",
        colorsubsampling="Gray" if grey else "444" if quality >= 90 else "420",
    )
    if icc is None:
        return file
    # TurboJPEG writes no profile. It goes behind the first segment (JFIF), in numbered pieces of less than 64 KiB.
    size = 65535 - 2 - 14
    pieces = [icc[at : at + size] for at in range(0, len(icc), size)]
    if len(pieces) > 255:
        raise MatteboxError(Kind.INVALID_PARAMETER, "The colour profile is too large for a JPEG.", parameter="format")
    end = 4 + int.from_bytes(file[4:6])
    segments = [
        b"\xff\xe2" + struct.pack(">H", 2 + 14 + len(piece)) + b"ICC_PROFILE\0" + bytes([number, len(pieces)]) + piece
        for number, piece in enumerate(pieces, 1)
    ]
    return b"".join([file[:end], *segments, file[end:]])

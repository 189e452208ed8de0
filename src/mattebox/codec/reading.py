"""Files to pictures: what a file is, whether it may be read, and the reader of each format.

Pillow's readers are called one by one, by what the bytes are, and never through `PIL.Image.open`: that function applies
a process-wide pixel limit which belongs to whoever uses the library, while ours is an argument, and it would try every
format it knows.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mattebox.codec.limits import DAMAGE, Limits, admit, refuse
from mattebox.codec.pixels import Bytes, as_image, exif_orientation, orientation_of, tiff_tags, turned
from mattebox.codec.profiles import rgb_profile
from mattebox.edit import Format
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image

if TYPE_CHECKING:
    import PIL.Image

_DEFAULT_LIMITS = Limits()
_MOST_SCANS = 100  # a progressive JPEG has about ten; a hostile one has a million, each a pass over all pixels


class _Found(StrEnum):
    """What a file is by its first bytes, among what can be read; the value is its name for people."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WebP"
    GIF = "GIF"
    BMP = "BMP"
    TIFF = "TIFF"
    AVIF = "AVIF"
    HEIF = "HEIC"


_SIGNATURES = (
    (b"\xff\xd8\xff", _Found.JPEG),
    (b"\x89PNG\r\n\x1a\n", _Found.PNG),
    (b"GIF87a", _Found.GIF),
    (b"GIF89a", _Found.GIF),
    (b"BM", _Found.BMP),
    (b"II*\0", _Found.TIFF),
    (b"MM\0*", _Found.TIFF),
    (b"II+\0", _Found.TIFF),
    (b"MM\0+", _Found.TIFF),
)
_FOREIGN = (
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"8BPS", "Photoshop"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\1\0", "ICO"),
    (b"FUJIFILM", "A camera's raw format"),
    (b"PK\3\4", "ZIP"),
    (b"\x1f\x8b", "GZIP"),
    (b"\x1a\x45\xdf\xa3", "Video"),
    (b"<!doctype html", "HTML"),
    (b"<html", "HTML"),
)
_KEPT = {_Found.JPEG: Format.JPEG, _Found.PNG: Format.PNG, _Found.WEBP: Format.WEBP}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}


def decode(data: bytes, limits: Limits = _DEFAULT_LIMITS) -> Image:
    """Read a picture: JPEG, PNG, WebP, AVIF, HEIC, TIFF, BMP or GIF, told by its bytes and never by a name.

    The picture is turned as its EXIF says and is opaque (`alpha` None) unless something in it is transparent. Channels
    of 16 bits are scaled to 8. An RGB profile is kept in `icc`, unless it is sRGB; grey, CMYK and Lab colours are
    converted to sRGB with the profile that the file brings. Of animations and of files with several pages the first
    picture is read.

    Args:
        data: the file.
        limits: checked before pixels are decoded, from what the file's header says.

    Raises:
        MatteboxError: TOO_MANY_BYTES, TOO_MANY_PIXELS, or UNREADABLE_IMAGE with a sentence about what was found.
    """
    with _explained(data, limits) as found:
        return _read_jpeg(data, limits) if found is _Found.JPEG else _read(found, data, limits)


def size(data: bytes, limits: Limits = _DEFAULT_LIMITS) -> tuple[int, int]:
    """The width and height in pixels that a picture's header states, before the turn that its EXIF asks for.

    No pixel is decoded, so it says nothing about whether the rest of the file is whole.

    Raises:
        MatteboxError: as `decode`.
    """
    with _explained(data, limits) as found:
        if found is _Found.JPEG:
            width, height = _jpeg_size(data)
        elif found in _OWN_SIZE:
            width, height = _OWN_SIZE[found](data)
        else:
            width, height = _opened(found, data).size
        admit((width, height), limits)
        return width, height


@contextmanager
def _explained(data: bytes, limits: Limits) -> Iterator[_Found]:
    """What kind of picture a file is; whatever a reader fails with is said in our words."""
    if len(data) > limits.max_bytes:
        raise MatteboxError(
            Kind.TOO_MANY_BYTES, f"The picture has {len(data):,} bytes; the limit is {limits.max_bytes:,}."
        )
    found = _sniff(data)
    from PIL.Image import DecompressionBombError, DecompressionBombWarning

    try:
        yield found
    except (DecompressionBombError, DecompressionBombWarning) as error:
        # A piece of the file (a tile, a frame) that is larger than what Pillow itself is willing to hold.
        raise MatteboxError(Kind.TOO_MANY_PIXELS, f"The {found} holds too many pixels to be read.") from error
    except DAMAGE as error:
        raise MatteboxError(Kind.UNREADABLE_IMAGE, f"The {found} is damaged or incomplete.") from error


def kept_format(data: bytes) -> Format | None:
    """The format of a picture's file, where it is one that every browser shows and mattebox writes; else None.

    It is told by the first bytes; whether the rest is whole is not looked at.

    Raises:
        MatteboxError: UNREADABLE_IMAGE where it is no picture at all.
    """
    return _KEPT.get(_sniff(data))


def _sniff(data: bytes) -> _Found:
    for signature, found in _SIGNATURES:
        if data.startswith(signature):
            return found
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _Found.WEBP
    if data[4:8] == b"ftyp":
        # One container for many codecs. Its main brand may be the neutral `mif1`; then the list of the others tells.
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, min(int.from_bytes(data[:4]), 256), 4))}
        if brands & {b"avif", b"avis"} and data[8:12] not in _HEIF_BRANDS - {b"mif1", b"msf1"}:
            return _Found.AVIF
        if brands & _HEIF_BRANDS:
            return _Found.HEIF
    refuse(_foreign(data))


def _foreign(data: bytes) -> str:
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not data:
        return "The file is empty"
    if start.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in start:
        return "SVG is not supported"
    for signature, name in _FOREIGN:
        if data.startswith(signature) or start.startswith(signature):
            return f"{name} is not supported"
    if data[4:8] == b"ftyp":
        return "Video is not supported"
    return "This is not a picture in a known format"


def _read(found: _Found, data: bytes, limits: Limits) -> Image:
    """All formats but JPEG."""
    # Two readers take memory for the whole canvas when they are made, so these headers are read here first.
    if found in _OWN_SIZE:
        admit(_OWN_SIZE[found](data), limits)
    picture = _opened(found, data)
    admit(picture.size, limits)
    if found is _Found.TIFF:
        _refuse_raw(picture)
    picture.load()
    admit(picture.size, limits)  # the coded picture may differ from what the container says
    if found is _Found.PNG:
        _scale_color_key(picture, depth=data[24])
    return as_image(picture, picture.info.get("icc_profile"), orientation_of(picture))


def _opened(found: _Found, data: bytes) -> PIL.Image.Image:
    """The picture with its header read and its pixels not yet."""
    file = BytesIO(data)
    match found:
        case _Found.PNG:
            from PIL.PngImagePlugin import PngImageFile

            return PngImageFile(file)
        case _Found.WEBP:
            from PIL.WebPImagePlugin import WebPImageFile

            return WebPImageFile(file)
        case _Found.GIF:
            from PIL.GifImagePlugin import GifImageFile

            return GifImageFile(file)
        case _Found.BMP:
            from PIL.BmpImagePlugin import BmpImageFile

            return BmpImageFile(file)
        case _Found.TIFF:
            from PIL.TiffImagePlugin import TiffImageFile

            return TiffImageFile(file)
        case _Found.AVIF:
            from PIL.AvifImagePlugin import AvifImageFile

            return AvifImageFile(file)
        case _Found.HEIF:
            from pi_heif.as_plugin import HeifImageFile  # type: ignore[import-untyped]

            _check_heif_names(data)
            picture: PIL.Image.Image = HeifImageFile(file)
            return picture
        case _Found.JPEG:
            from PIL.JpegImagePlugin import JpegImageFile

            return JpegImageFile(file)


def _check_heif_names(data: bytes) -> None:
    """Refuse a HEIF whose items have names that are not text.

    pi_heif hands such a name to Python without looking (a null pointer in its list of metadata), and the whole process
    dies of it. Names stand in `infe` boxes; the coded pictures, in `mdat`, are not searched.
    """
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16])
        end = at + size if size else len(data)
        if end < at + 8:
            return
        if data[at + 4 : at + 8] != b"mdat":
            for hit in re.finditer(b"infe", data[at:end]):
                start = at + hit.end()
                length = int.from_bytes(data[start - 8 : start - 4])
                names = data[start + (10 if data[start] >= 3 else 8) : start - 8 + length]
                str(names[:4], "utf-8")  # its type; both raise a ValueError
                str(names[4:], "utf-8")
        at = end


def _webp_size(data: bytes) -> tuple[int, int]:
    match data[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
    raise ValueError("no picture in the WebP")


def _gif_size(data: bytes) -> tuple[int, int]:
    """The canvas, which the first frame may enlarge."""
    width, height = struct.unpack_from("<HH", data, 6)
    at = 13 + (3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    while data[at] == 0x21:  # an extension: sub-blocks up to an empty one
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
    if data[at] == 0x2C:
        left, top, across, down = struct.unpack_from("<HHHH", data, at + 1)
        width, height = max(width, left + across), max(height, top + down)
    return width, height


_OWN_SIZE: Mapping[_Found, Callable[[bytes], tuple[int, int]]] = {_Found.WEBP: _webp_size, _Found.GIF: _gif_size}


def _refuse_raw(picture: PIL.Image.Image) -> None:
    """Camera raw files are TIFFs whose first picture is a thumbnail, which nobody meant to send."""
    tags = tiff_tags(picture)
    reduced = tags.get(254)
    if 50706 in tags or 37399 in tags or (isinstance(reduced, int) and reduced & 1):
        refuse("A camera's raw format is not supported")


def _scale_color_key(picture: PIL.Image.Image, *, depth: int) -> None:
    """Bring a PNG's transparent colour from the file's bit depth to that of Pillow's pixels."""
    key = picture.info.get("transparency")
    if isinstance(key, tuple) and depth == 16:
        # Pillow keeps the high byte of each channel. A neighbour that differs in the low byte only becomes transparent
        # too, which no eye can tell.
        picture.info["transparency"] = tuple(value >> 8 for value in key)
    elif isinstance(key, int) and picture.mode == "L" and depth < 8:
        picture.info["transparency"] = key * (255 // (2**depth - 1))


def _read_jpeg(data: bytes, limits: Limits) -> Image:
    import simplejpeg  # type: ignore[import-untyped]

    header = _jpeg_header(data)
    if header.scans > _MOST_SCANS:
        raise MatteboxError(Kind.UNREADABLE_IMAGE, f"The JPEG has more than {_MOST_SCANS} scans.")
    admit((header.width, header.height), limits)
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        # TurboJPEG knows the usual chroma samplings only; Pillow reads the others, and complains if it is damage.
        picture = _opened(_Found.JPEG, data)
        admit(picture.size, limits)
        picture.load()
        return as_image(picture, header.icc, exif_orientation(header.exif))
    admit((width, height), limits)
    channels = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}.get(space, "RGB")
    try:
        pixels: Bytes = simplejpeg.decode_jpeg(data, channels, strict=True)
    except ValueError as error:
        # Photos with stray bytes between two markers are common and whole; any other complaint means that pixels are
        # missing or wrong.
        if not re.search(r"extraneous bytes before marker|Invalid SOS parameters", str(error)):
            raise
        pixels = simplejpeg.decode_jpeg(data, channels, strict=False)
    turn = exif_orientation(header.exif)
    from PIL import Image as Pillow

    if channels == "RGB":
        kept, to_srgb = (None, None) if header.icc is None else rgb_profile(header.icc)
        if to_srgb is not None:
            pixels = np.asarray(to_srgb.apply(Pillow.fromarray(pixels)))
        return Image(rgb=turned(pixels, turn), icc=kept)
    if channels == "GRAY":
        return as_image(Pillow.fromarray(pixels[:, :, 0]), header.icc, turn)
    np.subtract(255, pixels, out=pixels)  # every writer follows Adobe and stores how much ink is missing
    return as_image(Pillow.frombuffer("CMYK", (width, height), pixels), header.icc, turn)


class _JpegHeader(NamedTuple):
    width: int
    height: int
    scans: int
    exif: bytes
    icc: bytes | None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    for marker, body in _jpeg_segments(data):
        if _is_frame(marker):
            height, width = struct.unpack_from(">HH", body, 1)
            return width, height
    raise ValueError("no picture in the JPEG")


def _is_frame(marker: int) -> bool:
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)


def _jpeg_header(data: bytes) -> _JpegHeader:
    width = height = components = scans = 0
    progressive = False
    exif = b""
    profile: dict[int, bytes] = {}
    for marker, body in _jpeg_segments(data):
        if _is_frame(marker):
            height, width, components = struct.unpack_from(">HHB", body, 1)
            progressive = marker & 3 == 2
        elif marker == 0xE1 and body.startswith(b"Exif\0\0") and not exif:
            exif = body
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile[body[12]] = body[14:]
        elif marker == 0xDA:
            scans += 1
            # One scan of all components is the whole picture, and the search for more would cost time.
            if scans > _MOST_SCANS or (not progressive and body[0] == components):
                break
    icc = b"".join(profile[number] for number in sorted(profile)) or None
    return _JpegHeader(width, height, scans, exif, icc)


_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and body of each segment up to the end of the picture."""
    at = 2
    while (hit := _MARKER.search(data, at)) is not None:
        marker = data[hit.end() - 1]
        if marker == 0xD9:
            return
        (length,) = struct.unpack_from(">H", data, hit.end())
        yield marker, data[hit.end() + 2 : hit.end() + length]
        at = hit.end() + max(length, 2)

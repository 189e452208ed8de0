"""Files to pictures: what a file is, whether it may be read, and the reader of each format.

Pillow's readers are called one by one, by what the bytes are, and never through `PIL.Image.open`: that function applies
a process-wide pixel limit which belongs to whoever uses the library, while ours is an argument, and it would try every
format it knows.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import StrEnum
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from mattebox.codec import bmp, cicp, heif, jpeg, png, tiff
from mattebox.codec.cicp import CodePoints
from mattebox.codec.limits import Limits, admit, damaged, reading, refuse
from mattebox.codec.pixels import as_image, exif_orientation, of_channels, orientation_of
from mattebox.edit import Format
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image, row_bands
from mattebox.stages import Stage, stage

if TYPE_CHECKING:
    import PIL.Image

_DEFAULT_LIMITS = Limits()


class _Found(StrEnum):
    """The type of a file by its first bytes, among those that can be read; the value is its name for people."""

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
_RAW = (b"FUJIFILM", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FOVb", b"\0\0\0\x18ftypcrx ")
_FOREIGN = (
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"8BPS", "Photoshop"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\1\0", "ICO"),
    *((start, "A camera's raw format") for start in _RAW),
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
    of 16 bits are scaled to 8. An RGB profile is kept in `icc`, unless it is sRGB; colours that are given as code
    points, or as a PNG's chromaticities and gamma, become such a profile. Grey, CMYK and Lab colours are converted to
    sRGB with the profile that the file brings, and high dynamic range (PQ, HLG) is brought down to sRGB. Of animations
    and of files with several pages the first picture is read, of one with a gain map its ordinary picture.

    Args:
        data: the file.
        limits: checked before pixels are decoded, from what the file's header says.

    Raises:
        MatteboxError: TOO_MANY_BYTES, TOO_MANY_PIXELS, UNREADABLE_IMAGE with a sentence about what was found, or
            OVERLOADED where there is not enough memory.
    """
    with stage(Stage.DECODE):
        found = _told(data, limits)
        match found:
            case _Found.JPEG:
                return jpeg.read(data, limits)
            case _Found.PNG:
                return _read_png(data, limits)
            case _Found.TIFF:
                return _read_tiff(data, limits)
            case _Found.BMP:
                return bmp.read(data, limits)
            case _Found.AVIF | _Found.HEIF:
                return _loaded(found, _readable(found, data), limits, heif.code_points(data))
            # Two readers take memory for the whole canvas when they are made, so these headers are read here first.
            case _Found.WEBP:
                admit(_webp_size(data), limits)
                return _read_webp(_whole_webp(data), limits)
            case _Found.GIF:
                canvas, data = _gif_start(data)
                admit(canvas, limits)
                return _loaded(found, data, limits)


def size(data: bytes, limits: Limits = _DEFAULT_LIMITS) -> tuple[int, int]:
    """The width and height in pixels that a picture's header states, before the turn that its EXIF asks for.

    No pixel is decoded, so it says nothing about whether the rest of the file is whole.

    Raises:
        MatteboxError: as `decode`.
    """
    stated = _stated(_told(data, limits), data)
    admit(stated, limits)
    return stated


def _stated(found: _Found, data: bytes) -> tuple[int, int]:
    match found:
        case _Found.JPEG:
            return jpeg.size(data)
        case _Found.PNG:
            return _opened(found, png.PixelsOnly(data)).size
        case _Found.TIFF:
            return tiff.opened(data).size
        case _Found.BMP:
            return bmp.size(data)
        case _Found.AVIF | _Found.HEIF:
            return _opened(found, BytesIO(_readable(found, data))).size
        case _Found.WEBP:
            return _webp_size(data)
        case _Found.GIF:
            return _gif_start(data)[0]


def _told(data: bytes, limits: Limits) -> _Found:
    """The type of a file that is not too long."""
    if len(data) > limits.max_bytes:
        raise MatteboxError(
            Kind.TOO_MANY_BYTES, f"The picture has {len(data):,} bytes; the limit is {limits.max_bytes:,}."
        )
    return _sniff(data)


def _readable(found: _Found, data: bytes) -> bytes:
    """An AVIF or HEIC as its reader may have it."""
    if found is _Found.AVIF:
        return heif.without_exif(data)
    heif.check_names(data, found)
    heif.check_coding(data)
    return data


def kept_format(data: bytes) -> Format | None:
    """The format of a picture's file, where it is one that every browser shows and mattebox writes; else None.

    It is told by the first bytes; whether the rest is whole is not looked at.

    Raises:
        MatteboxError: UNREADABLE_IMAGE where it is not a picture at all.
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


def _read_png(data: bytes, limits: Limits) -> Image:
    picture = _opened(_Found.PNG, png.PixelsOnly(data))
    admit(picture.size, limits)
    with reading(_Found.PNG):
        picture.load()
    _scale_color_key(picture, depth=data[24])
    about = png.metadata(data)
    icc = about.icc if about.code_points is None else None
    return _in_known_colors(as_image(picture, icc, exif_orientation(about.exif)), about.code_points)


def _read_tiff(data: bytes, limits: Limits) -> Image:
    picture = tiff.opened(data)
    admit(picture.size, limits)
    with reading(_Found.TIFF):
        picture.load()
    admit(picture.size, limits)
    icc = picture.info.get("icc_profile")
    if tiff.is_opaque(picture):
        return as_image(picture.convert("RGB"), icc, 1)
    return as_image(picture, icc, orientation_of(picture))


def _read_webp(data: bytes, limits: Limits) -> Image:
    """OpenCV reads the pixels: Pillow's reader, which is for animations too, holds the canvas four times."""
    if data[12:16] == b"VP8X" and data[20] & 2:  # an animation
        return _loaded(_Found.WEBP, data, limits)
    picture = _opened(_Found.WEBP, BytesIO(data))
    admit(picture.size, limits)
    icc, turn, is_opaque = picture.info.get("icc_profile"), orientation_of(picture), picture.mode == "RGB"
    picture.close()
    import cv2

    opaque = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    with reading(_Found.WEBP):
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), opaque if is_opaque else cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            raise (MemoryError if error.code == cv2.Error.StsNoMem else ValueError)(str(error)) from error
    if pixels is None:
        raise damaged(_Found.WEBP)
    if is_opaque:
        return of_channels(np.asarray(pixels, np.uint8), None, icc, turn)
    if pixels.shape[2] == 3:  # its header denies the alpha that it has, which Pillow decides about
        return _loaded(_Found.WEBP, data, limits)
    height, width = picture.height, picture.width
    rgb, mask = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.uint8)
    for rows in row_bands(height, width):
        rgb[rows] = cv2.cvtColor(pixels[rows], cv2.COLOR_BGRA2RGB)
        mask[rows] = pixels[rows, :, 3]
    del pixels
    return of_channels(rgb, mask, icc, turn)


def _loaded(found: _Found, data: bytes, limits: Limits, points: CodePoints | None = None) -> Image:
    """A picture that Pillow reads. Its `points` count where there is no profile."""
    picture = _opened(found, BytesIO(data))
    admit(picture.size, limits)
    with reading(found):
        picture.load()
    admit(picture.size, limits)  # the coded picture may differ from what the container says
    icc = picture.info.get("icc_profile")
    image = as_image(picture, icc, orientation_of(picture))
    return image if icc else _in_known_colors(image, points)


def _in_known_colors(image: Image, points: CodePoints | None) -> Image:
    """The picture with the profile that its code points stand for, or as sRGB where no profile can say it."""
    if points is None:
        return image
    rgb = image.rgb
    if not points.full_range:
        levels = np.clip((np.arange(256) - 16) * 255 / 219, 0, 255)
        rgb = np.rint(levels).astype(np.uint8)[rgb]
    if not points.is_hdr:
        return Image(rgb=rgb, alpha=image.alpha, icc=cicp.icc_profile(points))
    flat = np.empty_like(rgb)
    for rows in row_bands(image.height, image.width):
        flat[rows] = cicp.tone_mapped(rgb[rows], points)
    return Image(rgb=flat, alpha=image.alpha)


def _opened(found: _Found, file: BytesIO) -> PIL.Image.Image:
    """The picture with its header read and its pixels not yet."""
    reader = _reader(found)
    with reading(found):
        return reader(file)


def _reader(found: _Found) -> Callable[[BytesIO], PIL.Image.Image]:
    match found:
        case _Found.PNG:
            from PIL.PngImagePlugin import PngImageFile

            return PngImageFile
        case _Found.WEBP:
            from PIL.WebPImagePlugin import WebPImageFile

            return WebPImageFile
        case _Found.GIF:
            from PIL.GifImagePlugin import GifImageFile

            return GifImageFile
        case _Found.AVIF:
            from PIL.AvifImagePlugin import AvifImageFile

            return AvifImageFile
        case _Found.HEIF:
            from pi_heif.as_plugin import HeifImageFile  # type: ignore[import-untyped]

            heif_reader: Callable[[BytesIO], PIL.Image.Image] = HeifImageFile
            return heif_reader
        case _:
            raise AssertionError(f"{found} has a reader of its own")


def _webp_size(data: bytes) -> tuple[int, int]:
    if len(data) < 30:
        raise damaged(_Found.WEBP)
    match data[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
    raise damaged(_Found.WEBP)


def _whole_webp(data: bytes) -> bytes:
    """The file without a chunk that its end has cut, and with its true size: libwebp wants both.

    Metadata is behind the pixels, so that a cut there takes none of them.
    """
    at = 12
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        if end > len(data):
            break
        at = end + end % 2
    at = min(at, len(data))
    if int.from_bytes(data[4:8], "little") + 8 in (at, at + at % 2):
        return data
    return data[:4] + struct.pack("<I", at - 8) + data[8:at]


def _gif_start(data: bytes) -> tuple[tuple[int, int], bytes]:
    """The size of the canvas, which the first frame may enlarge, and the file without odd extensions before it.

    Pillow loses its way at empty extensions, and at a graphic control of a wrong length.
    """
    kept: list[bytes] = []
    try:
        width, height = struct.unpack_from("<HH", data, 6)
        start = at = 13 + (3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
        while data[at] == 0x21:  # an extension: sub-blocks up to an empty one
            begin, kind, length = at, data[at + 1], data[at + 2]
            at += 2
            while data[at]:
                at += 1 + data[at]
            at += 1
            if length == 4 if kind == 0xF9 else length:
                kept.append(data[begin:at])
        if data[at] == 0x2C:
            left, top, across, down = struct.unpack_from("<HHHH", data, at + 1)
            width, height = max(width, left + across), max(height, top + down)
    except (IndexError, struct.error) as error:  # the file ends in its header
        raise damaged(_Found.GIF) from error
    is_odd = sum(map(len, kept)) < at - start
    return (width, height), b"".join([data[:start], *kept, data[at:]]) if is_odd else data


def _scale_color_key(picture: PIL.Image.Image, *, depth: int) -> None:
    """Bring a PNG's transparent colour from the file's bit depth to that of Pillow's pixels."""
    key = picture.info.get("transparency")
    if isinstance(key, tuple) and depth == 16:
        # Pillow keeps the high byte of each channel. A neighbour that differs in the low byte only becomes transparent
        # too, which no eye can tell.
        picture.info["transparency"] = tuple(value >> 8 for value in key)
    elif isinstance(key, int) and picture.mode == "L" and depth < 8:
        picture.info["transparency"] = key * (255 // (2**depth - 1))

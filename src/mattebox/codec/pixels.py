"""Pixels of every kind to eight bits a channel: colour modes, 16 bits, EXIF turns, arrays and Pillow's pictures."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from mattebox.codec.limits import Limits, admit, reading, refuse
from mattebox.codec.profiles import converted, rgb_conversion, rgb_profile
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Image, row_bands

if TYPE_CHECKING:
    import PIL.Image

Bytes: TypeAlias = npt.NDArray[np.uint8]

_ROUNDING = 1e-3  # a quarter of a level of 8 bits


def from_array(array: npt.NDArray[np.generic]) -> Image:
    """A picture from numbers: (height, width), (height, width, 1), (height, width, 3) or (height, width, 4), copied.

    uint8 is 0..255, uint16 is 0..65535 and float is 0..1, all sRGB and of any byte order; bool is black and white. The
    fourth channel is straight alpha. Floats that rounding has left a little outside of 0..1 are taken for 0 and 1.

    Raises:
        MatteboxError: INVALID_PARAMETER, about `photo`.
    """
    if not isinstance(array, np.ndarray):
        _refuse_array(f"type must be numpy.ndarray, not {type(array).__name__}")
    array = np.asarray(array)  # a subclass (matrix, a masked array) indexes in its own way
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        _refuse_array(f"shape must be (height, width) with 1, 3 or 4 channels, not {array.shape}")
    if array.dtype.kind not in "fub" or (array.dtype.kind == "u" and array.dtype.itemsize > 2):
        _refuse_array(f"numbers must be uint8, uint16, float or bool, not {array.dtype}")
    pixels = array.reshape(*array.shape[:2], -1)
    rgb = np.empty((*array.shape[:2], 3), np.uint8)
    for rows in row_bands(*array.shape[:2]):
        rgb[rows] = _array_levels(pixels[rows, :, :3])
    if pixels.shape[2] < 4:
        return Image(rgb=rgb)
    _array_levels(pixels[:, :, 3])  # for its checks only: alpha keeps all its levels
    top = {("u", 1): 255, ("u", 2): 65535}.get((array.dtype.kind, array.dtype.itemsize), 1)
    alpha = np.divide(pixels[:, :, 3], np.float32(top), dtype=np.float32, casting="unsafe")
    np.clip(alpha, 0, 1, out=alpha)
    return Image(rgb=rgb, alpha=None if alpha.min() == 1 else alpha)


def _array_levels(pixels: npt.NDArray[np.generic]) -> Bytes:
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    if pixels.dtype.kind == "u":
        return _scaled(pixels, 65535)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    numbers = pixels.astype(np.float32)
    if not (numbers.min() >= -_ROUNDING and numbers.max() <= 1 + _ROUNDING):  # false for NaN too
        _refuse_array("floating-point numbers must be in 0..1")
    levels: Bytes = np.rint(np.clip(numbers, 0, 1) * np.float32(255)).astype(np.uint8)
    return levels


def _refuse_array(what: str) -> NoReturn:
    raise MatteboxError(Kind.INVALID_PARAMETER, f"The array's {what}.", parameter="photo")


def from_pil(picture: PIL.Image.Image) -> Image:
    """A Pillow picture, converted as `decode` does: turned by its EXIF, its profile kept, its alpha straight.

    Modes I and F say nothing of their range. Up to 255, as Pillow converts to and from them, numbers are levels; where
    one of mode I is above, they are those of 16 bits, and where none of mode F is above 1, they are fractions.

    Raises:
        MatteboxError: UNREADABLE_IMAGE where the picture cannot be loaded or converted; INVALID_PARAMETER, about
            `photo`, where it is not a Pillow picture or its numbers are out of range.
    """
    from PIL import Image as Pillow

    if not isinstance(picture, Pillow.Image):
        _refuse_picture(f"must be a Pillow picture, not {type(picture).__name__}")
    admit(picture.size, Limits(max_pixels=max(1, picture.width * picture.height)))
    with reading("picture"):
        picture.load()
    plain = picture
    if picture.mode in ("I", "F"):
        plain = Pillow.fromarray(_levels_of_numbers(np.asarray(picture)))
    return _upright(*_channels(plain, picture.info.get("icc_profile")), orientation_of(picture))


def _levels_of_numbers(numbers: npt.NDArray[np.generic]) -> Bytes:
    low, high = numbers.min(), numbers.max()
    if numbers.dtype.kind == "f" and low >= -_ROUNDING and high <= 1 + _ROUNDING:
        return _array_levels(numbers)
    if low >= 0 and high <= 255:
        levels: Bytes = np.rint(numbers).astype(np.uint8)
        return levels
    if numbers.dtype.kind == "f":
        _refuse_picture("of mode F must have numbers in 0..1 or 0..255")
    if low < 0 or high > 65535:
        _refuse_picture("of mode I must have numbers in 0..255 or 0..65535")
    return _scaled(numbers, 65535)


def _refuse_picture(what: str) -> NoReturn:
    raise MatteboxError(Kind.INVALID_PARAMETER, f"The photo {what}.", parameter="photo")


def to_pil(image: Image) -> PIL.Image.Image:
    """The same picture for Pillow: RGB, or RGBA with straight alpha, with the profile in `info["icc_profile"]`."""
    from PIL import Image as Pillow

    picture = Pillow.fromarray(image.rgb)
    if image.alpha is not None:
        picture.putalpha(Pillow.fromarray(alpha_levels(image.alpha)))
    if image.icc is not None:
        picture.info["icc_profile"] = image.icc
    return picture


def as_image(picture: PIL.Image.Image, icc: object, orientation: int) -> Image:
    """A loaded Pillow picture of any mode as ours. It is closed as soon as its pixels are read."""
    rgb, mask, kept = _channels(picture, icc)
    picture.close()
    return _upright(rgb, mask, kept, orientation)


def of_channels(rgb: RGB, mask: Bytes | None, icc: object, orientation: int) -> Image:
    """Colours and the levels of alpha (None: opaque) as a picture: in the profile that they bring, and turned."""
    kept, to_srgb = rgb_profile(icc) if isinstance(icc, bytes) else (None, None)
    return _upright(converted(rgb, to_srgb), mask, kept, orientation)


def _upright(rgb: RGB, mask: Bytes | None, icc: bytes | None, orientation: int) -> Image:
    alpha: Alpha | None = None
    if mask is not None and mask.min() < 255:
        alpha = np.divide(turned(mask, orientation), np.float32(255), dtype=np.float32)
    return Image(rgb=turned(rgb, orientation), alpha=alpha, icc=icc)


def _channels(picture: PIL.Image.Image, icc: object) -> tuple[RGB, Bytes | None, bytes | None]:
    """RGB, the mask where there is one, and the profile to keep.

    In bands, because Pillow has four bytes for each pixel of RGB and copies the whole picture at each conversion.
    """
    mask: Bytes | None = None
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        picture, mask = _eight_bits(picture)
    mode = _plain_mode(picture)
    convert, kept = rgb_conversion(mode.removesuffix("A"), icc if isinstance(icc, bytes) else None)
    rgb = np.empty((picture.height, picture.width, 3), np.uint8)
    if mode.endswith("A"):
        mask = np.empty((picture.height, picture.width), np.uint8)
    for rows in row_bands(picture.height, picture.width):
        band = picture.crop((0, rows.start, picture.width, rows.stop)).convert(mode)
        if mask is not None and mode.endswith("A"):
            mask[rows] = np.asarray(band.getchannel("A"))
            band = band.convert(mode[:-1])
        rgb[rows] = np.asarray(convert(band))
    return rgb, mask, kept


def _plain_mode(picture: PIL.Image.Image) -> str:
    """The one of L, RGB, CMYK, LAB, LA and RGBA that has all that a picture has."""
    if picture.mode in ("1", "L", "LA", "La"):
        return "LA" if picture.has_transparency_data else "L"
    if picture.mode in ("CMYK", "LAB"):
        return picture.mode
    can_be_clear = picture.mode in ("P", "PA", "RGB", "RGBA", "RGBa")
    return "RGBA" if can_be_clear and picture.has_transparency_data else "RGB"


def _eight_bits(picture: PIL.Image.Image) -> tuple[PIL.Image.Image, Bytes | None]:
    """A grey picture of more than 8 bits: scaled, so that its white stays white, and its mask where it has one."""
    from PIL import Image as Pillow

    if picture.mode == "I":
        refuse("A picture with 32 bits per channel is not supported")
    tags = tiff_tags(picture)
    bits = tags.get(258, (16,))
    white = 2 ** int(bits[0]) - 1 if isinstance(bits, tuple) and bits else 65535
    key = picture.info.get("transparency") if picture.mode != "F" else None
    grey = np.empty((picture.height, picture.width), np.uint8)
    mask = np.empty_like(grey) if isinstance(key, int) else None
    for rows in row_bands(*grey.shape):
        levels = np.asarray(picture.crop((0, rows.start, picture.width, rows.stop)))
        if mask is not None:
            mask[rows] = np.where(levels == key, 0, 255)
        if picture.mode != "F":
            grey[rows] = _scaled(levels, white)
        elif levels.min() >= 0 and levels.max() <= 1:  # false for NaN too
            grey[rows] = np.rint(levels * np.float32(255))
        else:
            refuse("A picture of floating-point numbers is supported only where all are between 0 and 1")
    if tags.get(262) == 0:  # stored with white as zero, which Pillow undoes for 8 bits only
        np.subtract(255, grey, out=grey)
    return Pillow.fromarray(grey), mask


def _scaled(levels: npt.NDArray[np.generic], white: int) -> Bytes:
    """0..white to 0..255, rounded; a table of 64 KiB takes half the time of arithmetic and no wider copy."""
    table = np.minimum((np.arange(65536, dtype=np.uint32) * 255 + white // 2) // white, 255).astype(np.uint8)
    return table[levels.astype(np.uint16, copy=False)]


def tiff_tags(picture: PIL.Image.Image) -> dict[int, object]:
    """Those of a TIFF's tags that tell how to read it; none for other formats."""
    tags = getattr(picture, "tag_v2", None)
    # `get` and not `in`: Pillow has tags without a value, which it calls contained.
    return {} if tags is None else {number: tags.get(number) for number in (258, 262)}


def orientation_of(picture: PIL.Image.Image) -> int:
    """The turn that is left to do. The readers of TIFF and HEIC turn by themselves and leave nothing in `info`."""
    exif = picture.info.get("exif")
    return exif_orientation(exif) if isinstance(exif, bytes) else 1


def exif_orientation(exif: bytes) -> int:
    """How the picture is to be turned: 1 to 8; 1 (not at all) where the EXIF data does not say or is damaged.

    Read here and not by Pillow, which warns about oddities that are common in photos and do not matter.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, entry)
            if tag == 0x0112 and kind == 3:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:  # the directory ends early
        return 1
    return 1


def turned(pixels: Bytes, orientation: int) -> Bytes:
    """Undo an EXIF orientation. OpenCV does it four times faster than a strided copy."""
    if orientation == 1:
        return np.ascontiguousarray(pixels)
    import cv2

    result: npt.NDArray[np.generic]
    match orientation:
        case 2:
            result = cv2.flip(pixels, 1)
        case 3:
            result = cv2.rotate(pixels, cv2.ROTATE_180)
        case 4:
            result = cv2.flip(pixels, 0)
        case 5:
            result = cv2.transpose(pixels)
        case 6:
            result = cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE)
        case 7:
            result = cv2.rotate(cv2.transpose(pixels), cv2.ROTATE_180)
        case _:
            result = cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE)
    return result.astype(np.uint8, copy=False)


def alpha_levels(alpha: Alpha) -> Bytes:
    """0..1 to 0..255, rounded."""
    import cv2

    return cv2.convertScaleAbs(alpha, alpha=255).view(np.uint8)

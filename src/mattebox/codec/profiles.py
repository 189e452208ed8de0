"""Colours and what their numbers mean: ICC profiles and colours given in words."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from mattebox.edit import Color
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Image, row_bands

if TYPE_CHECKING:
    import PIL.Image
    import PIL.ImageCms

_LARGEST_PROFILE = 2**20  # readers refuse larger ones in PNG


def color_in_profile(color: Color, icc: bytes | None) -> Color:
    """An sRGB colour in the numbers of a picture's profile, so that a backdrop looks the same beside its subject.

    Colours outside of the profile's gamut are moved to its border (relative colorimetric).

    Raises:
        MatteboxError: INVALID_PARAMETER where sRGB cannot be converted to the profile; `decode` keeps no such profile.
    """
    if icc is None:
        return color
    from PIL import Image as Pillow

    transform = _from_srgb(icc) if icc[16:20] == b"RGB " else None
    if transform is None:
        raise MatteboxError(Kind.INVALID_PARAMETER, "The picture's colour profile cannot be used.", parameter="photo")
    pixel = np.array([[[color.red, color.green, color.blue]]], np.uint8)
    red, green, blue = np.asarray(transform.apply(Pillow.fromarray(pixel)))[0, 0].tolist()
    return Color(red, green, blue, color.opacity)


def in_profile(image: Image, icc: bytes | None) -> Image:
    """The picture with its colours in another profile, so that it can be put behind or before one in that profile.

    Args:
        image: a picture as `decode` gives it.
        icc: the other profile, as `decode` keeps them; None is sRGB.
    """
    if icc == image.icc:
        return image
    rgb = converted(image.rgb, None if image.icc is None else _to_srgb(image.icc, "RGB"))
    return Image(rgb=converted(rgb, None if icc is None else _from_srgb(icc)), alpha=image.alpha, icc=icc)


def converted(rgb: RGB, transform: PIL.ImageCms.ImageCmsTransform | None) -> RGB:
    """The colours in another profile; the same array where there is nothing to do.

    In bands, because Pillow has four bytes for each pixel.
    """
    if transform is None:
        return rgb
    from PIL import Image as Pillow

    result = np.empty_like(rgb)
    for rows in row_bands(*rgb.shape[:2]):
        result[rows] = np.asarray(transform.apply(Pillow.fromarray(rgb[rows])))
    return result


def rgb_conversion(mode: str, icc: bytes | None) -> tuple[Callable[[PIL.Image.Image], PIL.Image.Image], bytes | None]:
    """The way to RGB from mode L, RGB, CMYK or LAB, and the profile that the result is in (None: sRGB)."""
    from PIL import ImageCms

    transform: PIL.ImageCms.ImageCmsTransform | None = None
    kept: bytes | None = None
    if mode == "LAB":
        profile = ImageCms.createProfile("LAB")
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "LAB", "RGB")
    elif icc is not None and mode in ("L", "RGB") and icc[16:20] == b"RGB ":
        kept, to_srgb = rgb_profile(icc)
        if to_srgb is not None:  # grey is on the neutral axis of every RGB profile
            return lambda picture: to_srgb.apply(picture.convert("RGB")), kept
    elif icc is not None and icc[16:20] == {"L": b"GRAY", "CMYK": b"CMYK"}.get(mode):
        transform = _to_srgb(icc, mode)
    return (lambda picture: picture.convert("RGB")) if transform is None else transform.apply, kept


def rgb_profile(icc: bytes) -> tuple[bytes | None, PIL.ImageCms.ImageCmsTransform | None]:
    """The treatment of RGB pixels that bring a profile: the one to keep, or the way to sRGB, or neither for no change.

    A profile that is damaged or of another kind than the pixels says nothing about them, so the picture is read as if
    it had none: browsers do so too, and refusing would refuse photos that look right everywhere else.
    """
    to_srgb = _to_srgb(icc, "RGB") if icc[16:20] == b"RGB " else None
    if to_srgb is None or _changes_nothing(to_srgb):
        return None, None
    if len(icc) > _LARGEST_PROFILE or _from_srgb(icc) is None:
        return None, to_srgb
    return icc, None


def _to_srgb(icc: bytes, mode: str) -> PIL.ImageCms.ImageCmsTransform | None:
    """None where the profile is damaged."""
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (OSError, ImageCms.PyCMSError):
        return None


def _from_srgb(icc: bytes) -> PIL.ImageCms.ImageCmsTransform | None:
    """None where the profile is damaged or goes one way only, as a scanner's may."""
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        return ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), profile, "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
        )
    except (OSError, ImageCms.PyCMSError):
        return None


def _changes_nothing(transform: PIL.ImageCms.ImageCmsTransform) -> bool:
    """Whether an RGB profile is sRGB under whatever name: no colour of a fine grid moves by more than a level."""
    from PIL import Image as Pillow

    steps = np.linspace(0, 255, 18).astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(18, 324, 3)
    moved = np.asarray(transform.apply(Pillow.fromarray(grid)))
    return int(np.abs(moved.astype(np.int16) - grid).max()) <= 1

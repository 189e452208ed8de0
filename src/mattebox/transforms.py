"""Changes of a whole picture: another size, a part of it, a turn, a blur, other colours, marks on it.

A change is a frozen value that is checked when it is made (INVALID_PARAMETER); `apply` carries it out. Nothing here
looks for a subject.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, assert_never

import cv2
import numpy as np

from mattebox import codec, color_adjust, compositing, layout, resampling
from mattebox.edit import Color, Fit
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Box, Image
from mattebox.layout import Placement

MOST_PIXELS = 50_000_000
"""A result may have so many pixels unless the caller says otherwise: 150 MB of colours and 200 MB of alpha."""
MAX_RESIZED_SIDE = 10_000
"""The longest side that `Resize` can be asked for."""


class Anchor(StrEnum):
    """The place of a picture between its bars, or the part of it that is kept."""

    TOP_LEFT = "top-left"
    TOP = "top"
    TOP_RIGHT = "top-right"
    LEFT = "left"
    CENTER = "center"
    RIGHT = "right"
    BOTTOM_LEFT = "bottom-left"
    BOTTOM = "bottom"
    BOTTOM_RIGHT = "bottom-right"

    def offset(self, across: int, down: int) -> tuple[int, int]:
        """How much of the free pixels goes to the left and to the top; the smaller half where they are odd."""
        words = self.value.split("-")
        left = 0 if "left" in words else across if "right" in words else across // 2
        top = 0 if "top" in words else down if "bottom" in words else down // 2
        return left, top


class Flip(StrEnum):
    """The direction of a mirror image."""

    HORIZONTAL = "horizontal"
    """Left and right change places."""
    VERTICAL = "vertical"
    """Top and bottom change places."""
    BOTH = "both"
    """Both, which is half a turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """Another size: `width` and `height` in pixels, 1..10000.

    With one of them the aspect ratio is kept, to the nearest pixel, and of `fit` only SCALE_DOWN matters. With both,
    the result has that size exactly. `position` is the part that is kept for COVER, and the place of the picture
    between bars for CONTAIN and SCALE_DOWN. `letterbox` is the colour of the bars, None is transparent; the picture
    between them keeps its own alpha.
    """

    width: int | None = None
    height: int | None = None
    fit: Fit = Fit.FILL
    position: Anchor = Anchor.CENTER
    letterbox: Color | None = None

    def __post_init__(self) -> None:
        if self.width is None and self.height is None:
            raise _wrong("width", "A resize needs a width, a height or both.")
        for name, side in (("width", self.width), ("height", self.height)):
            if side is not None and not 1 <= side <= MAX_RESIZED_SIDE:
                raise _wrong(name, f"The {name} must be from 1 to {MAX_RESIZED_SIDE:,} pixels.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A part of the picture. `right` and `bottom` are the first column and row that are not kept.

    Raises:
        MatteboxError: INVALID_PARAMETER, here or in `apply` where the part is not inside of the picture.
    """

    left: int
    top: int
    right: int
    bottom: int

    def __post_init__(self) -> None:
        if self.left < 0:
            raise _wrong("left", "The left edge of the part must not be negative.")
        if self.top < 0:
            raise _wrong("top", "The top edge of the part must not be negative.")
        if self.right <= self.left:
            raise _wrong("right", "The right edge of the part must be right of its left edge.")
        if self.bottom <= self.top:
            raise _wrong("bottom", "The bottom edge of the part must be below its top edge.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotate:
    """A turn by `degrees`, clockwise as seen, -36000..36000, on a canvas that holds all of the turned picture.

    Whole quarters move pixels and change none. So does an angle so near to one that no pixel would move by a twentieth
    of its side, as angles in radians with few digits are. `background` is the colour of the corners, None is
    transparent.
    """

    degrees: float
    background: Color | None = None

    def __post_init__(self) -> None:
        if not -36000 <= self.degrees <= 36000:  # NaN too
            raise _wrong("degrees", "The angle must be a number of degrees from -36000 to 36000.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A mirror image."""

    mode: Flip


@dataclass(frozen=True, slots=True, kw_only=True)
class Blur:
    """A Gaussian blur; `sigma` is its standard deviation in pixels, 0.3..1000. The picture is mirrored at its edges."""

    sigma: float

    def __post_init__(self) -> None:
        if not 0.3 <= self.sigma <= 1000:
            raise _wrong("sigma", "The sigma of a blur must be from 0.3 to 1,000 pixels.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Modulate:
    """Other colours, as cylinder coordinates of CIE L*a*b*: lightness L, chroma C and hue h.

    L becomes L x `brightness` + `lightness`, C becomes C x `saturation`, and `hue` degrees are added to h. The factors
    are in 0..10, `lightness` is in -100..100, `hue` is any number. Colours that no screen shows are cut off channel by
    channel. The numbers of a picture with a profile are read as if they were sRGB, which keeps grey grey.
    """

    brightness: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    lightness: float = 0.0

    def __post_init__(self) -> None:
        for name, factor in (("brightness", self.brightness), ("saturation", self.saturation)):
            if not 0 <= factor <= 10:
                raise _wrong(name, f"The {name} must be a factor from 0 to 10.")
        if not math.isfinite(self.hue):
            raise _wrong("hue", "The hue must be a finite number of degrees.")
        if not -100 <= self.lightness <= 100:
            raise _wrong("lightness", "The lightness must be a number from -100 to 100.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """Other pictures on this one, later ones above earlier ones: `places` are their left upper corners, (left, top).

    A place may be negative; what lies outside is cut off. The marks' colours are used as they are: they should be in
    the picture's own profile.

    Raises:
        MatteboxError: INVALID_PARAMETER, here or in `apply` where a mark lies wholly outside.
    """

    places: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not self.places:
            raise _wrong("places", "At least one mark is needed.")


_MARKS = "marks must be as many as the places of a Watermark"

Transform: TypeAlias = Resize | Crop | Rotate | Mirror | Blur | Modulate | Watermark


def apply(image: Image, transform: Transform, *, marks: Iterable[Image] = (), max_pixels: int = MOST_PIXELS) -> Image:
    """The changed picture, in the same profile. Its arrays are new; those of `image` are not written to.

    Args:
        image: any picture.
        transform: what to do.
        marks: the pictures of a `Watermark`, as many as it has places; empty for the others. They are taken one after
            the other, so that an iterator need hold no more than one of them.
        max_pixels: a size or a turn that would make a larger picture is refused before memory is taken.

    Raises:
        MatteboxError: INVALID_PARAMETER, named as the transform's fields are: the result would be too large, a crop is
            not inside of the picture, or a mark lies wholly outside.
        ValueError: there are not as many marks as places.
    """
    if not isinstance(transform, Watermark) and any(True for _ in marks):
        raise ValueError(_MARKS)
    match transform:
        case Resize():
            return _resize(image, transform, max_pixels)
        case Crop():
            return _crop(image, transform)
        case Rotate():
            return _rotate(image, transform, max_pixels)
        case Mirror():
            return _mirror(image, transform)
        case Blur():
            return resampling.blur(image, transform.sigma)
        case Modulate():
            rgb = color_adjust.modulate(
                image.rgb,
                brightness=transform.brightness,
                saturation=transform.saturation,
                hue=transform.hue,
                lightness=transform.lightness,
            )
            return Image(rgb=rgb, alpha=None if image.alpha is None else image.alpha.copy(), icc=image.icc)
        case Watermark():
            result = _copied(image)
            put_marks(result, transform, marks)
            return result
        case _:
            assert_never(transform)


def _wrong(parameter: str, sentence: str) -> MatteboxError:
    return MatteboxError(Kind.INVALID_PARAMETER, sentence, parameter=parameter)


def _check_size(width: int, height: int, max_pixels: int, parameter: str) -> None:
    if width * height > max_pixels:
        raise _wrong(
            parameter, f"The result would have {width:,} x {height:,} pixels; at most {max_pixels:,} are allowed."
        )


# Size ---------------------------------------------------------------------------------------------------------------


def _resize(image: Image, wanted: Resize, max_pixels: int) -> Image:
    whole = Box(0, 0, image.width, image.height)
    if wanted.width is None or wanted.height is None:
        width, height = _in_proportion(image, wanted.width, wanted.height, wanted.fit)
        _check_size(width, height, max_pixels, "height" if wanted.width is None else "width")
        return _scaled(image, whole, width, height)
    width, height = wanted.width, wanted.height
    _check_size(width, height, max_pixels, "width")
    match wanted.fit:
        case Fit.FILL:
            return _scaled(image, whole, width, height)
        case Fit.CONTAIN | Fit.SCALE_DOWN:
            inner = _in_proportion(image, *_tighter(image, width, height), wanted.fit)
            return _letterboxed(_scaled(image, whole, *inner), wanted, width, height)
        case Fit.COVER:
            # Cut first, in whole pixels, and scale then: scaled first, a narrow picture could become endless.
            keep_width, keep_height = image.width, image.height
            if width * image.height > height * image.width:
                keep_height = min(image.height, max(1, round(image.width * height / width)))
            else:
                keep_width = min(image.width, max(1, round(image.height * width / height)))
            left, top = wanted.position.offset(image.width - keep_width, image.height - keep_height)
            return _scaled(image, Box(left, top, keep_width, keep_height), width, height)
        case _:
            assert_never(wanted.fit)


def _tighter(image: Image, width: int, height: int) -> tuple[int | None, int | None]:
    """Which of the two sides a picture meets first when it grows."""
    return (width, None) if width * image.height <= height * image.width else (None, height)


def _in_proportion(image: Image, width: int | None, height: int | None, fit: Fit) -> tuple[int, int]:
    """The size with the one side that is given, or else the picture's own."""
    if width is not None and not (fit is Fit.SCALE_DOWN and width > image.width):
        return width, max(1, round(image.height * width / image.width))
    if height is not None and not (fit is Fit.SCALE_DOWN and height > image.height):
        return max(1, round(image.width * height / image.height)), height
    return image.width, image.height


def _scaled(image: Image, keep: Box, width: int, height: int) -> Image:
    """A part of the picture at a size, in arrays of its own even where nothing changes."""
    result = layout.place(image, Placement(keep, Box(0, 0, width, height), width, height))
    return _copied(result) if np.may_share_memory(result.rgb, image.rgb) else result


def _letterboxed(image: Image, wanted: Resize, width: int, height: int) -> Image:
    if (image.width, image.height) == (width, height):
        return image
    left, top = wanted.position.offset(width - image.width, height - image.height)
    inside = Box(left, top, image.width, image.height).slices
    rgb = np.zeros((height, width, 3), np.uint8)
    if wanted.letterbox is not None:
        color = codec.color_in_profile(wanted.letterbox, image.icc)
        rgb[:] = (color.red, color.green, color.blue)
    rgb[inside] = image.rgb
    if wanted.letterbox is not None and image.alpha is None:
        return Image(rgb=rgb, icc=image.icc)
    alpha = np.full((height, width), 0 if wanted.letterbox is None else 1, np.float32)
    alpha[inside] = 1 if image.alpha is None else image.alpha
    return Image(rgb=rgb, alpha=alpha, icc=image.icc)


# Parts and turns ----------------------------------------------------------------------------------------------------


def _crop(image: Image, part: Crop) -> Image:
    for name, edge, most in (("left", part.left, image.width - 1), ("right", part.right, image.width)):
        if edge > most:
            raise _wrong(name, f"The {name} edge of the part must be inside the picture, {image.width:,} pixels wide.")
    for name, edge, most in (("top", part.top, image.height - 1), ("bottom", part.bottom, image.height)):
        if edge > most:
            raise _wrong(name, f"The {name} edge of the part must be inside the picture, {image.height:,} pixels high.")
    rows, columns = slice(part.top, part.bottom), slice(part.left, part.right)
    alpha = None if image.alpha is None else image.alpha[rows, columns].copy()
    return Image(rgb=image.rgb[rows, columns].copy(), alpha=alpha, icc=image.icc)


_FLIPS = {Flip.HORIZONTAL: 1, Flip.VERTICAL: 0, Flip.BOTH: -1}


def _mirror(image: Image, mirror: Mirror) -> Image:
    code = _FLIPS[mirror.mode]
    alpha = None if image.alpha is None else np.asarray(cv2.flip(image.alpha, code), np.float32)
    return Image(rgb=np.asarray(cv2.flip(image.rgb, code), np.uint8), alpha=alpha, icc=image.icc)


def _rotate(image: Image, rotate: Rotate, max_pixels: int) -> Image:
    quarters = round(rotate.degrees / 90)
    beyond = math.radians(rotate.degrees - 90 * quarters)
    if abs(beyond) * math.hypot(image.width, image.height) / 2 < 0.05:
        return _quarters(image, quarters % 4)
    angle = math.radians(rotate.degrees % 360)
    cos, sin = math.cos(angle), math.sin(angle)
    width = math.ceil(abs(image.width * cos) + abs(image.height * sin))
    height = math.ceil(abs(image.width * sin) + abs(image.height * cos))
    _check_size(width, height, max_pixels, "degrees")
    # From the middle of the result's pixels to the source's, both counted from the middle of the first pixel.
    x, y = (width - 1) / 2, (height - 1) / 2
    back = np.array(
        [
            [cos, sin, (image.width - 1) / 2 - cos * x - sin * y],
            [-sin, cos, (image.height - 1) / 2 + sin * x - cos * y],
        ]
    )
    behind = None if rotate.background is None else codec.color_in_profile(rotate.background, image.icc)
    return resampling.warp(image, back, width, height, behind)


def _quarters(image: Image, quarters: int) -> Image:
    alpha = None if image.alpha is None else np.rot90(image.alpha, -quarters).copy()
    return Image(rgb=np.rot90(image.rgb, -quarters).copy(), alpha=alpha, icc=image.icc)


# Marks --------------------------------------------------------------------------------------------------------------


def put_marks(image: Image, watermark: Watermark, marks: Iterable[Image]) -> None:
    """Carry a watermark out on the picture itself, which is the caller's own, as they have just decoded it.

    At the limit of pixels a copy of it is what memory has no room for, beside a mark of that size.

    Raises:
        MatteboxError, ValueError: as in `apply`. Some of the marks may be on the picture then.
    """
    coming = iter(marks)
    for number, (left, top) in enumerate(watermark.places, 1):
        mark = next(coming, None)
        if mark is None:
            raise ValueError(_MARKS)
        if not (-mark.width < left < image.width and -mark.height < top < image.height):
            raise _wrong("places", f"Mark {number}, at {left:,} and {top:,}, lies entirely outside the picture.")
        compositing.put(mark, image.rgb, image.alpha, left=left, top=top)
        del mark  # before the next one is decoded
    if next(coming, None) is not None:
        raise ValueError(_MARKS)


def _copied(image: Image) -> Image:
    return Image(rgb=image.rgb.copy(), alpha=None if image.alpha is None else image.alpha.copy(), icc=image.icc)

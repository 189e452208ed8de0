"""The place of the subject and the size of the result. Decisions are integer geometry; pixels only follow.

Every step of a `Layout` changes either the window, a rectangle that looks at the photo and may reach beyond it, or the
canvas, the size at which that window is shown. Beyond the photo a window is empty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from mattebox.edit import LARGEST_SIDE, Canvas, Fit, Layout, Margin, Region
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Box, Image, row_bands

_Array: TypeAlias = npt.NDArray[np.uint8 | np.uint16 | np.float32]

MAX_PIXELS = 100_000_000
"""The most pixels of a result, where the photo itself has no more."""
LARGEST_MARGIN = 500
"""The widest margin in per cent."""
_ABSURD = 10**9  # sides beyond this are refused before anything is calculated with them
_NOISE = 1e-6  # what floats may be off by, in pixels
_FAINT = np.float32(1e-4)  # a pixel of less alpha has no colour


class RegionOutsideError(MatteboxError):
    """The region to look in reaches beyond the photo."""


class RegionEmptyError(MatteboxError):
    """The region to look in has no pixel."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The part of the photo that is kept, where that goes on the canvas, and the canvas' width and height.

    `largest` is the width and height that the canvas would have without `max_side` and `max_pixels`.
    """

    keep: Box
    target: Box
    width: int
    height: int
    largest: tuple[int, int] = field(default=(0, 0), compare=False)

    def moved(self, box: Box) -> Box:
        """The place of a box of the photo on the canvas, to the nearest pixel: never empty, never outside of it."""
        across, down = self.target.width / self.keep.width, self.target.height / self.keep.height
        left = _within(self.target.left + _rounded((box.left - self.keep.left) * across), self.width - 1)
        top = _within(self.target.top + _rounded((box.top - self.keep.top) * down), self.height - 1)
        right = _within(self.target.left + _rounded((box.right - self.keep.left) * across), self.width)
        bottom = _within(self.target.top + _rounded((box.bottom - self.keep.top) * down), self.height)
        return Box(left, top, max(1, right - left), max(1, bottom - top))


def region(width: int, height: int, roi: Region) -> Box:
    """A region of a photo in whole pixels. Per cent and the pixels they amount to give the same box.

    Raises:
        RegionOutsideError: it reaches beyond the photo.
        RegionEmptyError: it has no pixel, or its edges are the wrong way round.
    """
    edges = (roi.left.of(width), roi.top.of(height), roi.right.of(width), roi.bottom.of(height))
    within = zip(edges, (width, height) * 2, strict=True)
    if not all(-_NOISE <= edge <= side + _NOISE for edge, side in within):
        sentence = "The region of interest extends beyond the picture."
        raise RegionOutsideError(Kind.INVALID_PARAMETER, sentence, parameter="roi")
    left, top, right, bottom = (_rounded(edge) for edge in edges)
    if right <= left or bottom <= top:
        raise RegionEmptyError(Kind.INVALID_PARAMETER, "The region of interest is empty.", parameter="roi")
    return Box(left, top, right - left, bottom - top)


def plan(
    width: int,
    height: int,
    subject: Box | None,
    layout: Layout,
    *,
    room: Margin = Margin(),
    max_pixels: int = MAX_PIXELS,
    largest_side: int = LARGEST_SIDE,
) -> Placement:
    """Decide the geometry for a picture of `width` x `height` pixels whose subject lies in `subject`.

    Without a subject there is nothing to crop to or to place, and the whole picture stays; its size still follows
    `canvas`, `max_side` and `max_pixels`. Where the proportions are kept, they are to the nearest pixel.

    A margin in pixels is in the photo's pixels. In per cent it is of the subject's width or height, or where there is a
    ratio of the box that was widened to it, so that equal margins keep the ratio. What is half transparent beside the
    subject's box (a hair's end) stays visible in the margin.

    Args:
        width: of the photo.
        height: of the photo.
        subject: a box in the photo.
        layout: what is asked for; its `roi` plays no part here.
        room: what a shadow needs round the subject: a cropped box is widened by it before all else.
        max_pixels: a larger result than this, or than the photo, is refused.
        largest_side: and so is one with a longer side than this, or than the photo's.

    Raises:
        MatteboxError: INVALID_PARAMETER, where a margin is out of range or the result would be too large.
    """
    whole = Box(0, 0, width, height) if subject is None or not layout.crop else _cropped(subject, layout, room)
    window = _Window(whole.left, whole.top, whole.width, whole.height)
    columns, rows = whole.width, whole.height
    if subject is not None and (layout.scale is not None or layout.position is not None):
        window = _posed(window, subject, layout)
    if layout.canvas is not None:
        window, columns, rows = _fitted(window, columns, rows, layout.canvas, subject)
    largest = columns, rows
    columns, rows = _limited(columns, rows, layout)
    if columns * rows > max(max_pixels, width * height) or max(columns, rows) > max(largest_side, width, height):
        raise _too_large(columns, rows)
    left, right, start, end = _span(window.left, window.width, width, columns)
    top, bottom, first, last = _span(window.top, window.height, height, rows)
    keep = Box(left, top, right - left, bottom - top)
    return Placement(keep, Box(start, first, end - start, last - first), columns, rows, largest)


def cover(image: Image, width: int, height: int) -> Image:
    """The picture at another size, with nothing left empty; what does not fit is cut evenly at both ends."""
    layout = Layout(canvas=Canvas(width=width, height=height, fit=Fit.COVER))
    # It goes behind a picture that was let in at this size.
    pixels, side = width * height, max(width, height)
    return place(image, plan(image.width, image.height, None, layout, max_pixels=pixels, largest_side=side))


def place(image: Image, placement: Placement) -> Image:
    """Carry a placement out.

    Colours are averaged by area where the picture shrinks and interpolated with cubics where it grows, both weighted
    with alpha, so that no fringe appears. Where nothing changes, nothing is copied.
    """
    rows, columns = placement.keep.slices
    rgb, alpha = image.rgb[rows, columns], None if image.alpha is None else image.alpha[rows, columns]
    target = placement.target
    size = (target.width, target.height)
    if (placement.keep.width, placement.keep.height) != size:
        if alpha is None:
            rgb = np.asarray(_resized(rgb, size), np.uint8)
        else:
            rgb, alpha = _resized_with_alpha(rgb, alpha, size)
    if (placement.width, placement.height) != size:
        canvas = np.zeros((placement.height, placement.width, 3), np.uint8)
        canvas[target.slices] = rgb
        matte = np.zeros((placement.height, placement.width), np.float32)
        matte[target.slices] = 1 if alpha is None else alpha
        rgb, alpha = canvas, matte
    return Image(rgb=rgb, alpha=alpha, icc=image.icc)


def surround(image: Image, placement: Placement) -> Image:
    """Carry a placement out on what lies behind the subject: beyond the photo its outermost pixels go on."""
    target = placement.target
    whole = Placement(placement.keep, Box(0, 0, target.width, target.height), target.width, target.height)
    placed = place(Image(rgb=image.rgb, icc=image.icc), whole)
    if (placement.width, placement.height) == (target.width, target.height):
        return placed
    beyond = (target.top, placement.height - target.bottom, target.left, placement.width - target.right)
    rgb = np.asarray(cv2.copyMakeBorder(placed.rgb, *beyond, cv2.BORDER_REPLICATE), np.uint8)
    return Image(rgb=rgb, icc=image.icc)


@dataclass(frozen=True, slots=True)
class _Window:
    """A rectangle in the photo's pixels, which may be fractions and outside the photo."""

    left: float
    top: float
    width: float
    height: float


def _cropped(subject: Box, layout: Layout, room: Margin) -> Box:
    top, right, bottom, left = _margin(room, subject.width, subject.height)
    box = Box(subject.left - left, subject.top - top, subject.width + left + right, subject.height + top + bottom)
    measured = subject
    if layout.ratio is not None:
        across, down = layout.ratio
        wide, high = max(box.width, -(-box.height * across // down)), max(box.height, -(-box.width * down // across))
        if max(wide, high) > _ABSURD:
            raise _too_large(wide, high)
        measured = box = Box(box.left - (wide - box.width) // 2, box.top - (high - box.height) // 2, wide, high)
    top, right, bottom, left = _margin(layout.margin, measured.width, measured.height)
    return Box(box.left - left, box.top - top, box.width + left + right, box.height + top + bottom)


def _margin(margin: Margin, width: int, height: int) -> tuple[int, int, int, int]:
    """Top, right, bottom and left in pixels."""
    sides = ((margin.top, height), (margin.right, width), (margin.bottom, height), (margin.left, width))
    for length, _ in sides:
        if not 0 <= length.value <= (LARGEST_MARGIN if length.percent else LARGEST_SIDE):
            raise MatteboxError(
                Kind.INVALID_PARAMETER,
                f"A margin must be from 0 to {LARGEST_MARGIN} per cent, or from 0 to {LARGEST_SIDE} pixels.",
                parameter="margin",
            )
    top, right, bottom, left = (_rounded(length.of(side)) for length, side in sides)
    return top, right, bottom, left


def _posed(window: _Window, subject: Box, layout: Layout) -> _Window:
    """The window through which the subject has its share of the canvas and lies where it should."""
    x, y = (0.5, 0.5) if layout.position is None else layout.position
    if layout.scale is None:  # it is only moved, by whole pixels, so that none is blurred
        left = subject.left - _rounded((window.width - subject.width) * x)
        top = subject.top - _rounded((window.height - subject.height) * y)
        return _Window(left, top, window.width, window.height)
    share = max(layout.scale, _NOISE)  # less is below one pixel on any canvas
    factor = max(subject.width / window.width, subject.height / window.height) / share
    wide, high = window.width * factor, window.height * factor
    return _Window(subject.left - (wide - subject.width) * x, subject.top - (high - subject.height) * y, wide, high)


def _fitted(window: _Window, width: int, height: int, canvas: Canvas, subject: Box | None) -> tuple[_Window, int, int]:
    """The part that is shown, and on how many columns and rows, once `width` x `height` was fitted to the canvas."""
    if max(canvas.width or 0, canvas.height or 0) > _ABSURD:
        raise _too_large(canvas.width or width, canvas.height or height)
    grows = canvas.fit is not Fit.SCALE_DOWN
    if canvas.width is None or canvas.height is None:
        factor = canvas.width / width if canvas.width is not None else (canvas.height or height) / height
        if factor > 1 and not grows:
            return window, width, height
        columns = canvas.width or max(1, _rounded(width * factor))
        return window, columns, canvas.height or max(1, _rounded(height * factor))
    if canvas.fit is Fit.FILL:
        return window, canvas.width, canvas.height
    across, down = canvas.width / width, canvas.height / height
    factor = max(across, down) if canvas.fit is Fit.COVER else min(across, down)
    if not grows:
        factor = min(factor, 1.0)
    # The canvas as it looks at the photo: wider than the window where space is left, narrower where something is cut.
    wide, high = window.width * across / factor, window.height * down / factor
    left, top = window.left + (window.width - wide) / 2, window.top + (window.height - high) / 2
    if subject is not None and canvas.fit is Fit.COVER:
        left = _drawn_to(left, wide, subject.left, subject.right)
        top = _drawn_to(top, high, subject.top, subject.bottom)
    return _Window(left, top, wide, high), canvas.width, canvas.height


def _drawn_to(origin: float, length: float, first: int, last: int) -> float:
    """The origin of a window, moved just so far that it cuts no more of `first`..`last` than it has to."""
    low, high = sorted((first, last - length))
    return min(max(origin, low), high)


def _limited(width: int, height: int, layout: Layout) -> tuple[int, int]:
    if layout.max_side is not None and max(width, height) > layout.max_side:
        scale = layout.max_side / max(width, height)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
    if layout.max_pixels is not None and width * height > layout.max_pixels:
        scale = math.sqrt(layout.max_pixels / (width * height))
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        # Rounding up, or a side that cannot become less than 1, may have left a few too many.
        if width >= height:
            width = max(1, min(width, layout.max_pixels // height))
        else:
            height = max(1, min(height, layout.max_pixels // width))
    return width, height


def _span(origin: float, length: float, side: int, cells: int) -> tuple[int, int, int, int]:
    """Along one side: first and last pixel of the photo that the window shows, and where these lie on the canvas."""
    factor = cells / length
    if abs(factor - 1) < _NOISE:  # nothing is scaled, so that no pixel need be blurred
        origin = _rounded(origin)
        length = cells
    first = _within(math.floor(origin + _NOISE), side - 1)
    last = max(first + 1, _within(math.ceil(origin + length - _NOISE), side))
    start = _within(_rounded((first - origin) * factor), cells - 1)
    end = max(start + 1, _within(_rounded((last - origin) * factor), cells))
    return first, last, start, end


def _resized(picture: _Array, size: tuple[int, int]) -> _Array:
    """Averaged by area along a side that shrinks, interpolated along one that grows."""
    height, width = picture.shape[:2]
    less = (min(width, size[0]), min(height, size[1]))
    if less != (width, height):
        picture = np.asarray(cv2.resize(picture, less, interpolation=cv2.INTER_AREA), picture.dtype)
    if less != size:
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), picture.dtype)
    return picture


def _resized_with_alpha(rgb: RGB, alpha: Alpha, size: tuple[int, int]) -> tuple[RGB, Alpha]:
    # Averaging straight colours would let the black behind alpha 0 bleed into the edge. Premultiplied colours average
    # rightly; 16 bits hold them without visible steps in half the memory of float. 200 and not 257 times as much,
    # because cubics overshoot. One channel after the other, so that there is never a wide copy of all three.
    scale = np.float32(200)
    matte = np.asarray(_resized(alpha, size), np.float32)
    result = np.zeros((size[1], size[0], 3), np.uint8)
    for channel in range(3):
        premultiplied = np.empty(alpha.shape, np.uint16)
        for band in row_bands(*alpha.shape):
            premultiplied[band] = rgb[band, :, channel] * (alpha[band] * scale) + np.float32(0.5)
        weighted = np.asarray(_resized(premultiplied, size), np.uint16)
        for band in row_bands(*matte.shape):
            colours = weighted[band] / (np.maximum(matte[band], _FAINT) * scale)
            colours[matte[band] < _FAINT] = 0
            result[band, :, channel] = np.minimum(colours + np.float32(0.5), 255)
    return result, np.clip(matte, 0, 1, out=matte)


def _too_large(columns: int, rows: int) -> MatteboxError:
    size = f" of {columns} x {rows} pixels" if max(columns, rows) <= _ABSURD else ""
    return MatteboxError(Kind.INVALID_PARAMETER, f"A result{size} would be too large.", parameter="size")


def _rounded(value: float) -> int:
    return math.floor(value + 0.5 + _NOISE)


def _within(value: int, most: int) -> int:
    return min(max(value, 0), most)

"""A picture through a map, and a picture blurred: where every pixel becomes a mixture of others.

Colours are weighted with alpha wherever they are mixed, so that nothing shines through from where alpha is 0. The
mathematics is done on the stored values, as image editors do, and not on linear light.
"""

from __future__ import annotations

import math
from typing import TypeAlias, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from mattebox import layout
from mattebox.edit import Color
from mattebox.image import RGB, Alpha, Box, Image, row_bands
from mattebox.layout import Placement

_TILE = 1024  # the side of the squares that a rotation is done in

_HALVED = 3.0
"""From this sigma on a blur is done on half as many rows and columns, which moves no level by more than 0.5."""

_Kind = TypeVar("_Kind", np.uint8, np.float32)
_Floats: TypeAlias = npt.NDArray[np.float32]
_Weighted: TypeAlias = npt.NDArray[np.float32]
"""Premultiplied colours in 0..255 and, where the picture has one, alpha as the fourth channel."""


def warp(image: Image, back: npt.NDArray[np.float64], width: int, height: int, behind: Color | None) -> Image:
    """The picture through a map (2, 3) from result to source, bicubic. Outside of it is `behind`, None is transparent.

    Colours go on beyond the picture's edge, and a linear coverage cuts them off there: bicubics across the edge itself
    would draw a line along it. In tiles, since OpenCV takes no side of 32767 or more here, and for little memory.
    """
    color = np.zeros(3, np.float32) if behind is None else np.array([behind.red, behind.green, behind.blue], np.float32)
    rgb = np.empty((height, width, 3), np.uint8)
    alpha = None if behind is not None and image.alpha is None else np.empty((height, width), np.float32)
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            right, bottom = min(left + _TILE, width), min(top + _TILE, height)
            corners = back @ np.array([[left, right, left, right], [top, top, bottom, bottom], [1, 1, 1, 1]])
            # Three pixels more than the tile's own: bicubics look two pixels to each side.
            first = np.clip(np.floor(corners.min(axis=1)).astype(int) - 3, 0, None)
            last = np.minimum(np.ceil(corners.max(axis=1)).astype(int) + 4, (image.width, image.height))
            tile, part = (slice(top, bottom), slice(left, right)), (slice(first[1], last[1]), slice(first[0], last[0]))
            if (last <= first).any():
                rgb[tile] = color
                if alpha is not None:
                    alpha[tile] = 0 if behind is None else 1
                continue
            shifted, size = back.copy(), (right - left, bottom - top)
            shifted[:, 2] += back[:, :2] @ (left, top) - first
            share = np.ones((size[1], size[0], 1), np.float32)
            is_inside = (corners >= 0).all() and ((image.width - 1, image.height - 1) >= corners.T).all()
            if not is_inside:
                whole = np.ones((last[1] - first[1], last[0] - first[0]), np.float32)
                covered = cv2.warpAffine(whole, shifted, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
                share[:, :, 0] = covered
            source: npt.NDArray[np.uint8] | _Weighted = np.ascontiguousarray(image.rgb[part])
            if image.alpha is not None:
                source = _premultiplied(image.rgb[part], image.alpha[part])
            flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            moved = cv2.warpAffine(source, shifted, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
            straight: Alpha = share[:, :, 0]
            if image.alpha is not None:
                mixed = np.asarray(moved, np.float32)
                if not is_inside:
                    mixed *= share
                    if behind is not None:
                        mixed += (1 - share) * np.append(color, np.float32(1))
                rgb[tile], straight = _straight(mixed)
            elif behind is None or is_inside:
                rgb[tile] = moved
            else:
                mixed = np.asarray(moved, np.float32) * share + (1 - share) * color
                rgb[tile] = _levels(mixed)
            if alpha is not None:
                alpha[tile] = straight
    return Image(rgb=rgb, alpha=alpha, icc=image.icc)


def blur(image: Image, sigma: float) -> Image:
    """The picture through a Gaussian of deviation `sigma`, in pixels, mirrored at its edges.

    A wide blur is done on a small copy: reduced by area, blurred by less, and enlarged linearly.

    Variances add up under convolution. A box of f pixels has the variance (f^2 - 1) / 12, and linear interpolation
    over a distance of f has f^2 / 6 on average; the Gaussian on the small copy supplies what is missing. Mirroring at
    the edges commutes with averaging over boxes that fill the picture exactly, so edges are as exact as the middle.
    """
    step = sigma / 4 if sigma >= 8 else 1
    width, height = math.ceil(image.width / step), math.ceil(image.height / step)
    whole = Box(0, 0, image.width, image.height)
    small = layout.place(image, Placement(whole, Box(0, 0, width, height), width, height))
    # Mirrored over and over, a side is one colour under a Gaussian twice as wide as itself, and under wider ones.
    across = min(_missing(sigma, image.width / width), 2 * width)
    down = min(_missing(sigma, image.height / height), 2 * height)
    margin = 2 * (math.ceil(2 * max(across, down)) + 3)
    rgb = np.empty_like(image.rgb)
    alpha = None if image.alpha is None else np.empty_like(image.alpha)
    # Eight times as many rows as usual: each piece is blurred with what surrounds it.
    for rows in row_bands(image.height, max(1, image.width // 8)):
        middles = (np.arange(rows.start, rows.stop) + 0.5) * (height / image.height) - 0.5
        middles = np.clip(middles, 0, height - 1)
        above = np.floor(middles).astype(int)
        first = above[0] // 2 * 2  # so that all bands are halved on one grid
        band = _gaussian(_surrounded(small, first, above[-1] + 2, margin), across, down)[margin:, margin:-margin]
        if height != image.height:
            share = (middles - above).astype(np.float32)[:, None, None]
            below = np.minimum(above + 1, height - 1) - first
            band = band[above - first] * (1 - share) + band[below] * share
        else:
            band = band[rows.start - first : rows.stop - first]
        if width != image.width:
            band = np.asarray(cv2.resize(band, (image.width, band.shape[0])), np.float32)
        if alpha is None:
            rgb[rows] = _levels(band)
        else:
            rgb[rows], alpha[rows] = _straight(band)
    return Image(rgb=rgb, alpha=alpha, icc=image.icc)


def _surrounded(image: Image, first: int, last: int, margin: int) -> _Floats:
    """Some rows, premultiplied, with a margin that is mirrored where the picture ends."""
    rows = slice(max(first - margin, 0), min(last + margin, image.height))
    around = (rows.start - first + margin, last + margin - rows.stop, margin, margin)  # top, bottom, left, right
    rgb = np.asarray(cv2.copyMakeBorder(image.rgb[rows], *around, cv2.BORDER_REFLECT), np.uint8)
    if image.alpha is None:
        return rgb.astype(np.float32)
    return _premultiplied(
        rgb, np.asarray(cv2.copyMakeBorder(image.alpha[rows], *around, cv2.BORDER_REFLECT), np.float32)
    )


def _gaussian(picture: _Floats, across: float, down: float) -> _Floats:
    """A blur of these deviations in pixels, true from 4 of the larger one and 6 pixels away from the picture's ends.

    Halving a picture and doubling it again are binomial filters of variance 1 each, in pixels of the larger one.
    """
    halved = min(across, down) >= _HALVED
    if halved:
        across, down = math.sqrt(across**2 - 2) / 2, math.sqrt(down**2 - 2) / 2
    kernel = (2 * math.ceil(4 * across) + 1, 2 * math.ceil(4 * down) + 1)
    source = cv2.pyrDown(picture) if halved else picture
    result = cv2.GaussianBlur(source, kernel, across, sigmaY=down)
    return np.asarray(cv2.pyrUp(result, dstsize=picture.shape[1::-1]) if halved else result, np.float32)


def resized(picture: npt.NDArray[_Kind], size: tuple[int, int], *, grow: int = cv2.INTER_CUBIC) -> npt.NDArray[_Kind]:
    """The picture at `size` (width, height), squashed if need be: averaged by area where it gets smaller."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    how = cv2.INTER_AREA if size[0] * size[1] < width * height else grow
    return np.asarray(cv2.resize(picture, size, interpolation=how), picture.dtype)


def enlarged(small: _Floats, shape: tuple[int, ...], rows: slice, *, how: int = cv2.INTER_LINEAR) -> _Floats:
    """Some rows of a small picture that is enlarged to `shape` (height, width, ...), without the rest of it."""
    height, width = shape[:2]
    across, down = small.shape[1] / width, small.shape[0] / height
    # Centres of pixels lie at their halves, hence the shifts.
    back = np.array([[across, 0, across / 2 - 0.5], [0, down, (rows.start + 0.5) * down - 0.5]])
    size, flags = (width, rows.stop - rows.start), how | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(small, back, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)


def disc(radius: float) -> _Floats:
    """The kernel of a lens out of focus: a disc of this radius in pixels, of sum 1."""
    reach = math.ceil(radius)
    offsets = np.arange(-reach, reach + 1, dtype=np.float32)
    found = np.clip(radius + 0.5 - np.hypot(offsets, offsets[:, None]), 0, 1)
    return np.asarray(found / found.sum(), np.float32)


def _missing(sigma: float, step: float) -> float:
    """The sigma of the blur on a copy that is `step` times smaller, in its pixels."""
    lost = (step**2 - 1) / 12 + step**2 / 6 if step > 1 else 0.0
    return math.sqrt(sigma**2 - lost) / step


def _premultiplied(rgb: RGB, alpha: Alpha) -> _Weighted:
    weighted = cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA).astype(np.float32)
    weighted *= alpha[:, :, None]
    return np.asarray(cv2.insertChannel(alpha, weighted, 3), np.float32)


def _levels(colors: npt.NDArray[np.float32]) -> RGB:
    """0..255 and whatever interpolation threw beyond it, rounded."""
    return np.clip(colors + np.float32(0.5), 0, 255).astype(np.uint8)


def _straight(weighted: _Weighted) -> tuple[RGB, Alpha]:
    """The way back from `_premultiplied`. Alpha is cut to 0..1 last: colours overshoot together with it."""
    alpha = np.asarray(cv2.extractChannel(weighted, 3), np.float32)
    factor = np.reciprocal(np.maximum(alpha, np.float32(1e-4)))
    colors = cv2.cvtColor(weighted, cv2.COLOR_RGBA2RGB)
    rgb = np.asarray(cv2.multiply(colors, cv2.merge([factor] * 3), dtype=cv2.CV_8U), np.uint8)  # rounded, within 0..255
    return rgb, np.clip(alpha, 0, 1, out=alpha)

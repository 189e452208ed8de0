"""Putting one picture over another: `alpha F + (1 - alpha) B`, with straight (not premultiplied) colours.

The mathematics is Porter and Duff's `over` operator (Compositing Digital Images, SIGGRAPH 1984), done on the stored
values as image editors and browsers do, not on linear light.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from mattebox.edit import Color, Gradient
from mattebox.image import RGB, Alpha, Image, row_bands


def _bayer(order: int) -> npt.NDArray[np.float32]:
    """Bayer's thresholds for ordered dithering (1973), (2**order, 2**order), above 0 and below 1, 0.5 on average."""
    ranks = np.zeros((1, 1), np.float32)
    for _ in range(order):
        ranks = np.block([[4 * ranks, 4 * ranks + 2], [4 * ranks + 3, 4 * ranks + 1]])
    return ((ranks + 0.5) / ranks.size).astype(np.float32)


_DITHER: Final = _bayer(3)


def over(image: Image, backdrop: Color | Image) -> Image:
    """`image` on a flat colour or on another picture, opaque unless the colour is not.

    The backdrop's colours are in the image's own profile (see `codec.color_in_profile`). A picture has the image's
    size; its own alpha, if it has one, plays no part.

    Raises:
        ValueError: the picture behind has another size.
    """
    if isinstance(backdrop, Image) and backdrop.rgb.shape != image.rgb.shape:
        raise ValueError(f"a backdrop of {backdrop.rgb.shape} does not fit a picture of {image.rgb.shape}")
    if image.alpha is None:
        return image
    if isinstance(backdrop, Color) and backdrop.opacity < 1:
        return stack(image, _veil(backdrop, image), left=0, top=0)
    return Image(rgb=_blend(image.rgb, image.alpha, backdrop), icc=image.icc)


def gradient(wanted: Gradient, width: int, height: int) -> Image:
    """The gradient as an opaque sRGB picture, with the geometry of CSS's `linear-gradient`.

    It is dithered in an ordered pattern, so that no bands show: a level is one of the two next to the exact one.
    """
    across, down = math.sin(math.radians(wanted.angle)), -math.cos(math.radians(wanted.angle))
    length = abs(width * across) + abs(height * down)
    columns = (np.arange(width) + 0.5 - width / 2) * (across / length)
    rows = (np.arange(height) + 0.5 - height / 2) * (down / length) + 0.5
    start, end = (np.array([each.red, each.green, each.blue], np.float32) for each in (wanted.start, wanted.end))
    rgb = np.empty((height, width, 3), np.uint8)
    dither = np.tile(_DITHER, (1, -(-width // 8)))[:, :width]
    for band in row_bands(height, width):
        share = (rows[band, None] + columns).astype(np.float32)
        threshold = dither[np.arange(band.start, band.stop) % 8]
        rgb[band] = share[:, :, None] * (end - start) + start + threshold[:, :, None]
    return Image(rgb=rgb)


def filled(image: Image) -> RGB:
    """The picture's own colours; clear pixels, which may hide anything, take that of the nearest one that is not."""
    if image.alpha is None:
        return image.rgb
    clear = image.alpha == 0
    if not clear.any() or clear.all():
        return image.rgb
    _, nearest = cv2.distanceTransformWithLabels(
        clear.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colors = np.empty((int(nearest.max()) + 1, 3), np.uint8)
    colors[nearest[~clear]] = image.rgb[~clear]
    rgb = image.rgb.copy()
    rgb[clear] = colors[nearest[clear]]
    return rgb


def stack(over: Image, under: Image, *, left: int, top: int) -> Image:
    """One picture over another, `left` and `top` pixels from its left upper corner, as large as `under`.

    Both may have alpha; the result has one where `under` has. What lies outside is cut off. The colours of `over` are
    used as they are, and the profile is that of `under`. The arrays of the result are new.
    """
    rgb = under.rgb.copy()
    alpha = None if under.alpha is None else under.alpha.copy()
    put(over, rgb, alpha, left=left, top=top)
    return Image(rgb=rgb, alpha=alpha, icc=under.icc)


def put(over: Image, rgb: RGB, alpha: Alpha | None, *, left: int, top: int) -> None:
    """The same as `stack`, into the arrays of a picture that is in the making."""
    first, last = max(left, 0), min(left + over.width, rgb.shape[1])
    highest, lowest = max(top, 0), min(top + over.height, rgb.shape[0])
    for rows in row_bands(lowest - highest, last - first) if first < last else ():
        start, end = highest + rows.start, highest + rows.stop
        here = (slice(start, end), slice(first, last))
        there = (slice(start - top, end - top), slice(first - left, last - left))
        if over.alpha is None:
            rgb[here] = over.rgb[there]
            if alpha is not None:
                alpha[here] = 1
            continue
        share = over.alpha[there]  # of the upper colour in the mixed one
        if alpha is not None:
            both = share + alpha[here] * (1 - share)
            share = np.divide(share, both, out=np.zeros_like(share), where=both > 0)
            alpha[here] = both
        difference = over.rgb[there].astype(np.float32)
        difference -= rgb[here]
        difference *= share[:, :, None]
        difference += rgb[here]
        difference += np.float32(0.5)
        rgb[here] = difference


def _veil(color: Color, image: Image) -> Image:
    rgb = np.empty_like(image.rgb)
    rgb[:] = (color.red, color.green, color.blue)
    alpha = np.full(image.rgb.shape[:2], color.opacity, np.float32)
    return Image(rgb=rgb, alpha=alpha, icc=image.icc)


def _blend(rgb: RGB, alpha: Alpha, backdrop: Color | Image) -> RGB:
    result = np.empty_like(rgb)
    for rows in row_bands(*alpha.shape):
        if isinstance(backdrop, Image):
            behind = backdrop.rgb[rows].astype(np.float32)
        else:
            behind = np.array([backdrop.red, backdrop.green, backdrop.blue], np.float32)
        band = rgb[rows].astype(np.float32)
        band -= behind
        band *= alpha[rows, :, None]
        band += behind
        band += np.float32(0.5)  # so that the cast below rounds
        result[rows] = band
    return result

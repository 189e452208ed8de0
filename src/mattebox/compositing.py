"""Putting one picture over another: `alpha F + (1 - alpha) B`, with straight (not premultiplied) colours.

The mathematics is Porter and Duff's `over` operator (Compositing Digital Images, SIGGRAPH 1984), done on the stored
values as image editors and browsers do, not on linear light.
"""

from __future__ import annotations

import numpy as np

from mattebox.edit import Color
from mattebox.image import RGB, Alpha, Image

_BAND = 256  # rows at a time: float copies stay small however large the picture is


def over(image: Image, color: Color) -> Image:
    """`image` on a flat colour, opaque. `color` is in the image's own profile (see `codec.color_in_profile`)."""
    if image.alpha is None:
        return image
    return Image(rgb=_blend(image.rgb, image.alpha, color), icc=image.icc)


def _blend(rgb: RGB, alpha: Alpha, color: Color) -> RGB:
    behind = np.array([color.red, color.green, color.blue], np.float32)
    result = np.empty_like(rgb)
    for top in range(0, rgb.shape[0], _BAND):
        rows = slice(top, top + _BAND)
        band = rgb[rows].astype(np.float32)
        band -= behind
        band *= alpha[rows, :, None]
        band += behind
        band += np.float32(0.5)  # so that the cast below rounds
        result[rows] = band
    return result

"""Refining the alpha matte at the photo's own resolution.

A network answers at about 1000 pixels a side. Stretched to a 12 MP photo, its matte has hair like fat brush strokes.
The photo itself knows better: where subject and background differ in colour, a linear function of the colour tells them
apart pixel by pixel. That is the idea of the guided filter (He, Sun and Tang 2010; with coefficients found on a small
copy and enlarged: He and Sun 2015), which shows haze round the subject when it is used as it is. Here

- every sample weighs (2 alpha - 1)^2 in the fit, so that the blurred rim of the rough matte has no say;
- the fit is divided by its R^2, so that the two sides come back to 0 and 1 instead of being drawn to the middle;
- it is used only where it explains the rough matte well, in hair, fur and twigs: a clean, hard rim gains nothing;
- and it may neither open a hole in solid subject nor put a spot where there was none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np

from mattebox.image import RGB, Alpha, Box
from mattebox.matting import Pixels, stretch_alpha

_GRID = 256
"""Cells on the photo's longer side; one sample a cell."""
_REACH = 16
"""The fit's window reaches so many cells to each side."""
_RIDGE = np.float32(1e-4)
"""Added to the variances of colour, which is in 0..1: below it, differences are noise."""
_GAIN = np.float32(1.3)
"""Contrast about the middle of the two sides."""
_UNSURE = (0.05, 0.95)
"""Rough alpha between these is uncertain."""
_MOST_LIVE = 0.3
"""The largest fraction of the picture that may change; beyond it the rough matte is no guide to the edge."""
_TILE = 256
"""Side of the pieces that are worked on at a time, in pixels."""


def refine_alpha(photo: RGB, rough: Alpha) -> Alpha:
    """The rough matte at the photo's resolution, with edges drawn after the photo's own pixels.

    A photo that is not larger than the matte has no more to tell, and gets it resized.

    Args:
        photo: the whole photo.
        rough: an alpha of the whole photo at a lower resolution.
    """
    alpha = stretch_alpha(photo, rough)
    if alpha.size <= rough.size:
        return alpha
    cell = -(-max(alpha.shape) // _GRID)
    planes = _fit(photo, rough, alpha, cell)
    live = planes[:, :, _TRUST] > 0.004
    if live.mean() <= _MOST_LIVE:
        for part in _live_parts(live, max(2, _TILE // cell)):
            _apply(photo, planes, part, cell, alpha)
    return alpha


# What is known of each cell: three slopes and the offset of the plane, how far it is trusted, and its bounds.
_TRUST, _LOW, _HIGH = 4, 5, 6


def _fit(photo: RGB, rough: Alpha, alpha: Alpha, cell: int) -> Pixels:
    """One row of seven numbers a cell, on a grid with a border of one cell all round."""
    height, width = alpha.shape
    rows = np.minimum(np.arange(cell // 2, height + cell // 2, cell), height - 1)
    columns = np.minimum(np.arange(cell // 2, width + cell // 2, cell), width - 1)
    colours = photo[np.ix_(rows, columns)].astype(np.float32) / np.float32(255)
    slopes, offset, r2 = _colour_planes(colours, alpha[np.ix_(rows, columns)])

    size = (len(columns), len(rows))
    unsure = cv2.resize(cv2.inRange(rough, *_UNSURE), size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    near = np.asarray(cv2.dilate((unsure > 0).astype(np.uint8), np.ones((3, 3), np.uint8)), np.float32)
    wiry = np.asarray(cv2.blur(unsure, (7, 7)), np.float32)
    solid = np.asarray(cv2.resize(np.minimum(rough / 0.9, 1), size, interpolation=cv2.INTER_AREA), np.float32)
    share = np.asarray(cv2.blur(solid, (5, 5)), np.float32)
    trust = near * ramp(r2, 0.6, 0.95) * ramp(wiry, 0.12, 0.25) * np.clip(16 * (1 - share), 0, 1)
    low, high = np.clip(1 - 8 * (1 - share), 0, 1), np.clip(12 * share, 0, 1)
    planes = cv2.merge([*cv2.split(slopes / np.float32(255)), offset, trust, low, high])
    return np.asarray(cv2.copyMakeBorder(planes, 1, 1, 1, 1, cv2.BORDER_REPLICATE), np.float32)


def _colour_planes(colours: Pixels, alpha: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """In the window round each sample, the linear function of colour that best tells subject from background.

    Returns:
        Its slopes (rows, columns, 3), its offset and its R^2 (rows, columns).
    """
    weight = np.square(2 * alpha - 1) + np.float32(0.01)
    total = _mean(weight)

    def mean(values: Pixels) -> Pixels:
        return _mean(values * weight) / total

    channels = [np.ascontiguousarray(colours[:, :, i]) for i in range(3)]
    means = [mean(channel) for channel in channels]
    alpha_mean = mean(alpha)
    with_alpha = [mean(channel * alpha) - its * alpha_mean for channel, its in zip(channels, means, strict=True)]
    covariance = {
        (i, j): mean(channels[i] * channels[j]) - means[i] * means[j] + (_RIDGE if i == j else np.float32(0))
        for i in range(3)
        for j in range(i, 3)
    }
    slopes = _solved(covariance, with_alpha)
    variance = mean(alpha * alpha) - alpha_mean * alpha_mean
    r2 = np.clip((slopes * np.stack(with_alpha, -1)).sum(axis=-1) / (variance + np.float32(1e-3)), 0, 1)
    slopes *= (_GAIN / np.maximum(r2, np.float32(0.3)))[..., None]
    offset = np.float32(0.5) + (alpha_mean - np.float32(0.5)) * _GAIN - (slopes * np.stack(means, -1)).sum(axis=-1)
    return slopes, offset, r2


def _solved(matrix: Mapping[tuple[int, int], Pixels], right: Sequence[Pixels]) -> Pixels:
    """The solutions (rows, columns, 3) of symmetric systems of three equations, by the decomposition L D L^T.

    The upper halves of the matrices are given by row and column. With a ridge they have an inverse.
    """
    first = matrix[0, 0]
    l10, l20 = matrix[0, 1] / first, matrix[0, 2] / first
    second = matrix[1, 1] - l10 * matrix[0, 1]
    both = matrix[1, 2] - l10 * matrix[0, 2]
    l21 = both / second
    third = matrix[2, 2] - l20 * matrix[0, 2] - l21 * both
    y0 = right[0]
    y1 = right[1] - l10 * y0
    y2 = right[2] - l20 * y0 - l21 * y1
    x2 = y2 / third
    x1 = y1 / second - l21 * x2
    return np.asarray(np.stack([y0 / first - l10 * x1 - l20 * x2, x1, x2], axis=-1), np.float32)


def _live_parts(live: np.ndarray, step: int) -> Iterator[Box]:
    """The live cells, tile by tile, as boxes of cells of the grid without its border."""
    rows, columns = live.shape[0] - 2, live.shape[1] - 2
    for top in range(0, rows, step):
        for left in range(0, columns, step):
            # One cell more all round: enlarging is linear, so a live cell reaches into its neighbours.
            tile = live[top : min(top + step, rows) + 2, left : min(left + step, columns) + 2]
            down, across = np.flatnonzero(tile.any(axis=1)), np.flatnonzero(tile.any(axis=0))
            if down.size:
                first_row, first_column = max(0, int(down[0]) - 2), max(0, int(across[0]) - 2)
                end_row = min(tile.shape[0] - 2, int(down[-1]) + 1)
                end_column = min(tile.shape[1] - 2, int(across[-1]) + 1)
                if end_row > first_row and end_column > first_column:
                    yield Box(left + first_column, top + first_row, end_column - first_column, end_row - first_row)


def _apply(photo: RGB, planes: Pixels, part: Box, cell: int, alpha: Alpha) -> None:
    """Refine `alpha` in place inside `part`, a box of cells."""
    bordered = planes[part.top : part.bottom + 2, part.left : part.right + 2]
    enlarged = cv2.resize(bordered, None, fx=cell, fy=cell, interpolation=cv2.INTER_LINEAR)
    matte = alpha[part.top * cell : part.bottom * cell, part.left * cell : part.right * cell]
    pixels = photo[part.top * cell : part.bottom * cell, part.left * cell : part.right * cell]
    height, width = matte.shape
    *slopes, refined, trust, low, high = cv2.split(enlarged[cell : cell + height, cell : cell + width])
    for channel, slope in zip(cv2.split(pixels), slopes, strict=True):
        refined += cv2.multiply(channel, slope, dtype=cv2.CV_32F)
    cv2.min(cv2.max(refined, low, dst=refined), high, dst=refined)
    # What the network was sure of stays, the more so the surer: a light twig in a dark bush is no gap.
    cv2.max(refined, np.clip(5 * matte - 4, 0, 1) * matte, dst=refined)
    refined -= matte
    refined *= trust
    matte += refined


def _mean(values: Pixels) -> Pixels:
    return np.asarray(cv2.blur(values, (2 * _REACH + 1, 2 * _REACH + 1)), np.float32)


def ramp(values: Pixels, start: float, end: float) -> Pixels:
    """0 up to `start`, 1 from `end` on, smooth between."""
    t = np.clip((values - np.float32(start)) / np.float32(end - start), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)

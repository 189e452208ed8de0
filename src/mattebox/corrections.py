"""Corrections of a matte at the photo's own size: which of its objects are meant, and the strokes of a brush."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise, product
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from mattebox.cancellation import Checkpoint, go_on
from mattebox.edit import Corrections, Stroke
from mattebox.image import Alpha, Box
from mattebox.matting import CLEAR, Pixels

_Points: TypeAlias = npt.NDArray[np.float32]
"""Rows of x and y."""

# --- which objects are meant -------------------------------------------------------------------------------------

_LOOKED_AT = 1024  # the longest side of the copy in which parts are told apart
_NEAR = 0.02  # of the longer side: a click that misses a part by no more than this is meant for it


def choose_parts(alpha: Alpha, wanted: Corrections, size: tuple[int, int], region: Box) -> None:
    """Clear those connected parts of a matte that are not meant, in place.

    Points that keep choose the part that they lie on, and a box chooses the parts that lie mostly in it. Where no part
    is chosen, all are, or what is inside the box. Then points that do not keep remove their parts. A soft edge belongs
    to the part that it is nearest to. A point that is not near any part does nothing.

    Args:
        alpha: the matte of a region of the photo.
        wanted: its points and its box count.
        size: the photo's width and height.
        region: where `alpha` lies in it.
    """
    height, width = alpha.shape
    scale = min(1.0, _LOOKED_AT / max(height, width))
    across, down = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(alpha, (across, down), interpolation=cv2.INTER_AREA), np.float32)
    if float(small.max()) < CLEAR:
        return
    solid = small >= small.max() / 2
    distances, labels = cv2.distanceTransformWithLabels(
        (~solid).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
    )

    def place(x: float, y: float) -> tuple[float, float]:
        return (x * size[0] - region.left) * across / width, (y * size[1] - region.top) * down / height

    hit: dict[bool, list[int]] = {True: [], False: []}
    for point in wanted.points:
        x, y = place(point.x, point.y)
        if 0 <= x <= across and 0 <= y <= down:
            at = min(int(y), down - 1), min(int(x), across - 1)
            if distances[at] <= _NEAR * max(across, down):
                hit[point.keep].append(int(labels[at]))
    meant = np.zeros(int(labels.max()) + 1, np.bool_)
    meant[hit[True]] = True
    inside = np.ones_like(solid)
    if wanted.box is not None:
        (left, top), (right, bottom) = place(*wanted.box[:2]), place(*wanted.box[2:])
        column, row = np.arange(across) + 0.5, np.arange(down) + 0.5
        inside = ((column >= left) & (column < right))[None] & ((row >= top) & (row < bottom))[:, None]
        areas = (np.bincount(labels[part], minlength=meant.size) for part in (solid & inside, solid))
        meant |= 2 * next(areas) > next(areas)
    mask = meant[labels] if meant.any() else inside
    mask &= ~np.isin(labels, hit[False])
    if not mask.all():
        alpha *= cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)


# --- the brush ---------------------------------------------------------------------------------------------------

_CELLS = 12  # of the grid on the brush's radius; half a cell is the most that an inner corner of a stroke is rounded by
_TILE = 32  # cells on the side of the pieces that are worked on at a time
_AT_ONCE = 256  # straight pieces of a stroke
_STRAIGHT = 1 / 200  # of the radius: a stroke is drawn without the points that change it by less


def paint(
    alpha: Alpha,
    strokes: Sequence[Stroke],
    size: tuple[int, int],
    region: Box,
    checkpoint: Checkpoint = go_on,
) -> None:
    """Draw strokes into a matte, in place and in their order. Each covers no pixel twice, however often it crosses it.

    Args:
        alpha: the matte of a region of the photo.
        strokes: what to draw.
        size: the photo's width and height.
        region: where `alpha` lies in it; what is drawn outside is lost.
        checkpoint: called again and again.
    """
    for stroke in strokes:
        radius = stroke.size * max(size) / 2
        places = np.array(stroke.points) * size - (region.left, region.top)
        line = cv2.approxPolyDP(places.astype(np.float32)[:, None], radius * _STRAIGHT, closed=False)
        points = np.asarray(line[:, 0], np.float32)
        cell = max(1, int(radius / _CELLS))
        # The edge is one pixel wide at least.
        inner, outer = max(0.0, stroke.hardness * radius - 0.5), radius + 0.5
        for (row, column), distances in _tiles(points / np.float32(cell), outer / cell, cell, alpha.shape, checkpoint):
            checkpoint()
            side = _TILE * cell
            part = alpha[row * side : (row + 1) * side, column * side : (column + 1) * side]
            if (float(distances.max()) + 1) * cell <= inner:
                part[:] = stroke.keep
                continue
            height, width = part.shape
            # Linear, so that it can be done before there are many pixels.
            rise = np.asarray((outer - cell * distances) / (outer - inner), np.float32)
            enlarged = cv2.resize(rise, None, fx=cell, fy=cell, interpolation=cv2.INTER_LINEAR)
            coverage = np.clip(enlarged[cell : cell + height, cell : cell + width], 0, 1, dtype=np.float32)
            coverage *= coverage * (3 - 2 * coverage)
            coverage *= (1 - part) if stroke.keep else part
            if stroke.keep:
                part += coverage
            else:
                part -= coverage


def _tiles(
    points: _Points, reach: float, cell: int, shape: tuple[int, ...], checkpoint: Checkpoint
) -> Iterator[tuple[tuple[int, int], Pixels]]:
    """The tiles within reach of a stroke, by row and column, and each cell's distance to it.

    Everything is measured in cells. A tile has a border of one cell all round, so that it can be enlarged.
    """
    last = [-(-side // (cell * _TILE)) - 1 for side in shape]
    far = np.float32((reach + 2) ** 2)
    tiles: dict[tuple[int, int], Pixels] = {}
    pieces = _pieces(points)
    while batch := list(islice(pieces, _AT_ONCE)):
        starts, ends = np.array(batch, np.float32).transpose(1, 0, 2)
        low = np.floor((np.minimum(starts, ends) - reach - 1) / _TILE).astype(int).clip(0).tolist()
        high = np.floor((np.maximum(starts, ends) + reach + 1) / _TILE).astype(int).clip(-1, last[::-1]).tolist()
        touched: dict[tuple[int, int], list[int]] = {}
        for i, ((left, top), (right, bottom)) in enumerate(zip(low, high, strict=True)):
            for place in product(range(top, bottom + 1), range(left, right + 1)):
                touched.setdefault(place, []).append(i)
        for place, near in touched.items():
            checkpoint()
            origin = np.array(place[::-1], np.float32) * _TILE
            squares = _squared_distances(starts[near] - origin, ends[near] - origin)
            tiles[place] = np.minimum(squares, tiles.get(place, far))
    for place, squares in tiles.items():
        if float(squares.min()) < far:
            yield place, np.sqrt(squares)


def _pieces(points: _Points) -> Iterator[tuple[_Points, _Points]]:
    """The ends of the straight lines between points, none of them longer than a tile."""
    if len(points) == 1:
        yield points[0], points[0]
    for start, end in pairwise(points):
        count = max(1, math.ceil(float(np.abs(end - start).max()) / _TILE))
        step = (end - start) / np.float32(count)
        for i in range(count):
            yield start + i * step, start + (i + 1) * step


def _squared_distances(starts: _Points, ends: _Points) -> Pixels:
    """The squared distance of each cell of a tile to the nearest of some lines, which are measured from the tile."""
    steps = np.arange(-0.5, _TILE + 1, dtype=np.float32)
    along = ends - starts
    slope = along / np.maximum(np.square(along).sum(axis=1, keepdims=True), np.float32(1e-9))
    x, y = steps - starts[:, :1], steps - starts[:, 1:]
    share = (x * slope[:, :1])[:, None, :] + (y * slope[:, 1:])[:, :, None]
    np.clip(share, 0, 1, out=share)
    across = x[:, None, :] - share * along[:, 0, None, None]
    down = y[:, :, None] - share * along[:, 1, None, None]
    across *= across
    down *= down
    across += down
    return np.asarray(across.min(axis=0), np.float32)

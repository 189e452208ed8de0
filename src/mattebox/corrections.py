"""Corrections of a matte at the photo's own size: which of its objects are meant, and the strokes of a brush."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise, product
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from mattebox import refinement
from mattebox.cancellation import Checkpoint, go_on
from mattebox.edit import Corrections, Stroke
from mattebox.image import RGB, Alpha, Box
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
    small = _reduced(alpha)
    down, across = small.shape
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


def _reduced(alpha: Alpha) -> Alpha:
    """A copy for finding out what belongs together."""
    height, width = alpha.shape
    scale = min(1.0, _LOOKED_AT / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.float32)


# --- the same, told by a promptable network ----------------------------------------------------------------------

PromptPoint: TypeAlias = tuple[float, float, bool]
"""A point, in fractions of the region's width and height, and whether it is on the object that is asked for."""
Ask: TypeAlias = Callable[[Sequence[PromptPoint], tuple[float, float, float, float] | None], tuple[Pixels, Pixels]]
"""`models.Promptable.ask` about one picture."""

_LIKE_THE_MATTE = 0.5  # how much an answer's likeness to the matte counts beside the network's own estimate
_DETAIL = 0.2  # an answer that is less than this like the part that was clicked on is a detail of it
_SPECK = 0.02  # of what an answer is made of, a piece that is smaller is a mistake
_WHOLE = 0.75  # of a part of the matte: if so much of it is meant, all of it is
_EDGE = 4.0  # of the network's answer, from 0 to 1; it is as wide as the network is unsure
_NEARBY, _REACH = 0.015, 0.04  # of the longer side: agreement is a mean over the one, nothing lies beyond the other
_DIFFERENT = (0.2, 0.5)  # of the means: up to here the matte is right about an edge, and from here on the network
_SURE = 0.75  # how much of an object's area stays where the network has to be surer of it
_OBJECT = 0.1  # of a part of the matte: what is smaller is a detail
_APART = 0.1  # two objects have no more than this of the smaller one in common
_OUTSIDE = 0.3  # of an object: if more of it is outside of the matte, the matte does not show it whole
_LEFT = 0.1  # of a part of the matte: if no more is left of it, all its objects are known
_QUESTIONS = 4  # at the most, about what a part has beside the object that was clicked on


def choose_objects(
    photo: RGB,
    alpha: Alpha,
    wanted: Corrections,
    ask: Ask,
    *,
    size: tuple[int, int],
    region: Box,
    checkpoint: Checkpoint = go_on,
) -> None:
    """Clear what is not meant and add what is, in place.

    Each point that keeps, and the box, is a question of its own, in which the points that do not keep are not on the
    object; the result is all their answers without those to the points that do not keep. Where nothing is kept, the
    matte is, without these.

    A point that keeps takes nothing away from the part of the matte that it is on, unless that consists of several
    objects: the network often takes a jumper for all that is meant, and who clicks on it does not ask for its
    wearer's head to go. The same holds for parts beside what such a point adds. A point on the same part that does not
    keep says more than the network.

    The network says which object is meant, at a resolution of 256 pixels. Where its border and the matte's run
    together, the edge is the matte's, and so is a whole part of the matte that is meant for the most of it. Elsewhere
    the edge is the network's, refined at the photo's resolution: where the matte saw nothing, or two objects that
    touch.

    Args:
        photo: the region of the photo.
        alpha: its matte.
        wanted: its points and its box count, as far as they are in the region.
        ask: asks the network about `photo`.
        size: the photo's width and height.
        region: where `alpha` lies in it.
        checkpoint: called before each question.
    """
    points, box = _placed(wanted, size, region)
    keep, erase = ([point[:2] for point in points if point[2] is kept] for kept in (True, False))
    small = _reduced(alpha)
    solid = small >= max(float(small.max()) / 2, CLEAR)
    labels = np.asarray(cv2.connectedComponents(solid.view(np.uint8))[1], np.int32)

    def part(x: float, y: float) -> int:
        down, across = labels.shape
        return int(labels[min(int(y * down), down - 1), min(int(x * across), across - 1)])

    def answer(
        inside: Sequence[tuple[float, float]],
        outside: Sequence[tuple[float, float]],
        frame: tuple[float, float, float, float] | None = None,
        like: npt.NDArray[np.bool_] | None = None,
    ) -> Pixels:
        checkpoint()
        prompts = [(*each, on) for given, on in ((inside, True), (outside, False)) for each in given]
        return _best(*ask(prompts, frame), like)

    def is_several(own: npt.NDArray[np.bool_], mask: Pixels, at: tuple[float, float]) -> bool:
        return _consists_of_objects(own, mask, lambda place, like: answer([place], [*erase, at], like=like))

    touched = {part(*each) for each in erase}
    whole: set[int] = set()  # parts that stay as they are
    several = set(touched)  # parts of which something goes, whatever other points say
    meant = []
    for each in keep:
        own = {part(*each)} - {0}
        mask = answer([each], erase, like=np.isin(labels, [*own]) if own else None)
        meant.append(mask)
        own = (own or _beside(mask, labels)) - several
        if own:
            (several if is_several(np.isin(labels, [*own]), mask, each) else whole).update(own)
    if box is not None:
        meant.append(answer([], erase, box, solid & _inside(box, solid.shape)))
    gone = [answer([each], keep) for each in erase]
    if not meant:
        if gone:
            _take_away(alpha, solid, _with_whole_parts(np.max(gone, axis=0), labels, set()) > 0.5)
        return
    mask = np.max(meant, axis=0)
    if gone:
        mask = np.minimum(mask, 1 - np.max(gone, axis=0))
    mask = _with_whole_parts(mask, labels, touched)
    near = _nearest(labels, whole - several)
    if gone:
        near &= cv2.resize(np.max(gone, axis=0), labels.shape[::-1], interpolation=cv2.INTER_LINEAR) <= 0.5
    mask = np.where(near, _added(mask, small), mask)
    _follow(alpha, small, mask, refinement.refine_alpha(photo, mask), near)


def _placed(
    wanted: Corrections, size: tuple[int, int], region: Box
) -> tuple[list[PromptPoint], tuple[float, float, float, float] | None]:
    """The points and the box in fractions of the region; what lies outside is left out."""

    def place(x: float, y: float) -> tuple[float, float]:
        return (x * size[0] - region.left) / region.width, (y * size[1] - region.top) / region.height

    placed = [(*place(point.x, point.y), point.keep) for point in wanted.points]
    points = [point for point in placed if 0 <= point[0] <= 1 and 0 <= point[1] <= 1]
    if wanted.box is None:
        return points, None
    left, top = (max(0.0, each) for each in place(*wanted.box[:2]))
    right, bottom = (min(1.0, each) for each in place(*wanted.box[2:]))
    return points, (left, top, right, bottom) if left < right and top < bottom else None


def _inside(box: tuple[float, float, float, float], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    row, column = ((np.arange(side) + 0.5) / side for side in shape)
    left, top, right, bottom = box
    return ((row >= top) & (row < bottom))[:, None] & ((column >= left) & (column < right))[None]


def _best(masks: Pixels, scores: Pixels, like: npt.NDArray[np.bool_] | None) -> Pixels:
    """The best of several answers, as an alpha: by the network's estimate and by its likeness to a part of the matte.

    A click on a jumper may mean the jumper or who wears it. Whoever cuts out mostly means the latter.
    """
    likeness = np.zeros_like(scores)
    if like is not None and like.any():
        there = cv2.resize(like.view(np.uint8), masks.shape[:0:-1], interpolation=cv2.INTER_AREA).astype(np.bool_)
        found = masks > 0
        both, either = (found & there).sum(axis=(1, 2)), (found | there).sum(axis=(1, 2))
        likeness = (both / np.maximum(either, 1)).astype(np.float32)
    total = scores + np.float32(_LIKE_THE_MATTE) * likeness
    if float(likeness.max()) >= _DETAIL:
        total[likeness < _DETAIL] = -np.inf
    best = np.asarray(np.clip(0.5 + masks[int(total.argmax())] / np.float32(_EDGE), 0, 1), np.float32)
    _, labels, stats, _ = cv2.connectedComponentsWithStats((best > 0).view(np.uint8))
    specks = stats[:, cv2.CC_STAT_AREA] < _SPECK * np.count_nonzero(best)
    best[specks[labels]] = 0
    return best


def _consists_of_objects(
    own: npt.NDArray[np.bool_],
    mask: Pixels,
    ask: Callable[[tuple[float, float], npt.NDArray[np.bool_]], Pixels],
) -> bool:
    """Whether a part of the matte consists of several whole objects, one of which is in `mask`.

    Args:
        own: the part.
        mask: the answer to a click on it.
        ask: gives the answer about a place, in fractions of the region, that is the most like something.
    """
    part = cv2.resize(own.view(np.uint8), mask.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.bool_)
    clicked, whole = mask > 0.5, _area(part)
    if not _is_object(mask, whole) or _area(part & clicked) > _WHOLE * whole:
        return False
    rest = unasked = _without_slivers(part & ~clicked)
    for _ in range(_QUESTIONS):
        if not unasked.any():
            break
        answer = ask(_innermost(unasked), rest)
        other = answer > 0.5
        apart = _area(other & clicked) <= _APART * min(_area(other), _area(clicked))
        if apart and _is_object(answer, whole) and _area(other & ~part) <= _OUTSIDE * _area(other):
            rest = _without_slivers(rest & ~other)
        unasked = _without_slivers(unasked & ~other)
        if _area(rest) <= _LEFT * whole:
            return True
    return False


def _is_object(answer: Pixels, whole: int) -> bool:
    """Whether the network is sure about where the object ends, and it is no mere detail of something of that area."""
    surely, perhaps = (_area(answer > limit) for limit in (0.75, 0.25))
    return surely >= _SURE * perhaps and perhaps >= _OBJECT * whole


def _area(mask: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _without_slivers(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(np.bool_)


def _innermost(mask: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The place that is the farthest from the border, in fractions of width and height."""
    depth = cv2.distanceTransform(np.pad(mask.view(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return (float(x) + 0.5) / mask.shape[1], (float(y) + 0.5) / mask.shape[0]


def _beside(mask: Pixels, labels: npt.NDArray[np.int32]) -> set[int]:
    """The parts that the mask overlaps or all but touches."""
    resized = cv2.resize(mask, labels.shape[::-1], interpolation=cv2.INTER_LINEAR)
    near = cv2.dilate((resized > 0.5).view(np.uint8), _disc(2 * _NEAR, labels.shape))
    return set(np.unique(labels[near > 0]).tolist()) - {0}


def _nearest(labels: npt.NDArray[np.int32], wanted: set[int]) -> npt.NDArray[np.bool_]:
    """Everything that is nearer to these parts than to others, as a soft edge goes with what it is nearest to."""
    if not wanted:
        return np.zeros(labels.shape, np.bool_)
    _, nearest = cv2.distanceTransformWithLabels(
        (labels == 0).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
    )
    return np.isin(nearest, np.unique(nearest[np.isin(labels, [*wanted])]))


def _added(mask: Pixels, small: Alpha) -> Alpha:
    """The matte with what the mask has beside it, but for slivers: borders never run together to the pixel."""
    disc = _disc(_NEARBY, small.shape)
    beside = ((mask > 0.5) & (small < 0.5)).view(np.uint8)
    new = cv2.dilate(cv2.morphologyEx(beside, cv2.MORPH_OPEN, disc), disc)
    return np.where(new > 0, np.maximum(mask, small), small)


def _disc(width: float, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The shape of a brush, whose width is measured by the longer side."""
    size = 2 * round(width * max(shape) / 2) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def _with_whole_parts(mask: Pixels, labels: npt.NDArray[np.int32], touched: set[int]) -> Pixels:
    """The mask at the size of `labels`, with all of each part that is in it for the most. `touched` ones are cut."""
    resized = np.asarray(cv2.resize(mask, labels.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    areas = np.bincount(labels.ravel())
    whole = np.bincount(labels.ravel(), weights=resized.ravel()) > _WHOLE * areas
    whole[[0, *touched]] = False
    return np.maximum(resized, whole[labels].astype(np.float32))


def _follow(alpha: Alpha, small: Alpha, mask: Pixels, drawn: Alpha, near: npt.NDArray[np.bool_]) -> None:
    """Make of `alpha` what `mask` shows, in place: its own edge where they agree, and `drawn` elsewhere.

    Far from the mask there is nothing, except where it is `near` to what stays as it is.
    """
    height, width = alpha.shape
    longest = max(mask.shape)
    difference = np.abs(np.asarray(cv2.GaussianBlur(small - mask, (0, 0), _NEARBY * longest), np.float32))
    distance = np.asarray(cv2.distanceTransform((mask < 0.5).view(np.uint8), cv2.DIST_L2, 5), np.float32)
    np.minimum(distance, longest, out=distance)  # where there is no object, it has no end
    own = refinement.ramp(-difference, -_DIFFERENT[1], -_DIFFERENT[0])
    own *= np.maximum(near, refinement.ramp(-distance, -_REACH * longest, -_REACH * longest / 2))
    alpha -= drawn
    alpha *= cv2.resize(own, (width, height), interpolation=cv2.INTER_LINEAR)
    alpha += drawn
    np.clip(alpha, 0, 1, out=alpha)  # what rounding left


def _take_away(alpha: Alpha, solid: npt.NDArray[np.bool_], gone: npt.NDArray[np.bool_]) -> None:
    """Clear `gone` in a matte, in place. A soft edge goes with what it is nearest to."""
    disc = _disc(_NEARBY, solid.shape)  # against slivers
    going, staying = (cv2.morphologyEx((solid & each).view(np.uint8), cv2.MORPH_OPEN, disc) for each in (gone, ~gone))
    if not going.any():
        return
    to_going, to_staying = (
        cv2.distanceTransform(1 - each, cv2.DIST_L2, 5) if each.any() else np.full(solid.shape, np.inf, np.float32)
        for each in (going, staying)
    )
    stays = (to_staying <= to_going).astype(np.float32)
    alpha *= cv2.resize(stays, alpha.shape[::-1], interpolation=cv2.INTER_LINEAR)


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

"""Shadows that a cut-out subject throws: on the wall behind it, or on the ground that it stands on.

Nothing is known of the subject but its alpha, so these are shadows as a retoucher paints them. The ground is read off
the lower hull of the outline: feet and wheels lie on it, and what is above it floats. Two things then darken the
ground. The subject hides the sky from it, the more the closer it is (ambient occlusion): dark and tight at the
contact, soft and wide under what floats. And it hides one light, which draws its outline on the ground.

All of it is smooth, so it is computed on a small copy whose longer side of the subject has 512 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, assert_never

import cv2
import numpy as np
import numpy.typing as npt

from mattebox.edit import Length, Margin, Shadow, ShadowKind
from mattebox.image import RGB, Alpha, Box, Image, row_bands
from mattebox.resampling import enlarged

Darkness: TypeAlias = npt.NDArray[np.float32]
"""How much light is missing, in [0, 1], shape (height, width): what the ground's colour is multiplied with is 1 minus
it."""

_WORKING_SIDE = 512  # pixels of the subject's longer side in the small copy
_FLAT = 0.36  # how much the ground is foreshortened: a circle on it is seen so much lower than wide
_STEEP_ARC, _STEEP_EDGE = 0.3, 0.65  # slopes of the hull from which on it is no line on the ground
_LONG = 0.2  # an edge of the hull is long from this share of the subject's width on
_SCALES = ((0.008, 0.9), (0.03, 0.75), (0.085, 0.6))  # of the occlusion: reach in sizes of the subject, and weight
_LENGTH = 1.0  # of a shadow, in heights of the subject, where the light's direction has length 1
_SOFTNESS = (0.006, 0.02, 0.05)  # of its outline at the contact, half way and at its end, in sizes of the subject
_TOWARD, _AWAY = 0.8, 0.75  # where a cast shadow falls
_DROP_BLUR, _DROP_OFFSET = 0.03, 0.035  # in sizes of the subject
_NEGLIGIBLE = 0.006  # a darkness below this is none, so that a shadow ends somewhere


def ground(alpha: Alpha, toward: float, away: float, strength: float) -> Darkness:
    """How much darker a subject makes the ground that it stands on.

    Args:
        alpha: the subject's matte, (height, width), on the canvas where it stands.
        toward: to which side its shadow falls, in [-1, 1]: 1 is to the right (light from the left), 0 straight.
        away: how far its shadow falls away from the viewer, in [-1, 1]: 1 is up in the picture (light from behind the
            camera), -1 down, towards the viewer (light from behind the subject).
        strength: how directional the light is, in [0, 1]: 0 is an overcast sky with nothing but the occlusion near
            the ground, 1 a bare sun.

    Returns:
        Darkness, (height, width); multiply what is behind the subject with 1 - darkness, then put the subject over it.
    """
    view = _View.of(alpha)
    if view is None:
        return np.zeros_like(alpha)
    line = _ground_line(view, cut=view.touches_bottom)
    dark = _occlusion(view, line)
    if strength > 0:
        dark = 1 - (1 - dark) * (1 - np.float32(0.62 * strength) * _projection(view, line, toward, away))
    result = np.zeros_like(alpha)
    result[view.region.slices] = _stretched(dark, view, view.region.top, view.region.height)
    return result


def cast(image: Image, shadow: Shadow, *, cut: bool | None = None) -> Image:
    """A cutout with its shadow under it, on the same canvas: black under the subject's own colours, straight alpha.

    Where the subject is opaque nothing changes. A picture without alpha, or with nothing in it, comes back as it is.

    Args:
        image: the cutout.
        shadow: its kind and opacity.
        cut: whether the subject goes on below its own lower end (a bust), so that no ground can be seen there; None
            takes it to be so where the subject reaches the canvas' lower edge.
    """
    view = None if image.alpha is None or shadow.opacity == 0 else _View.of(image.alpha)
    if image.alpha is None or view is None:
        return image
    small = _darkness(view, shadow.kind, cut=view.touches_bottom if cut is None else cut)
    # The darkest part that is seen has the opacity; but a shadow of which hardly anything is seen stays as it is.
    seen = float((small * (1 - view.alpha)).max())
    small = np.clip(small / np.float32(max(seen, 0.5)), 0, 1)
    small = np.clip((small - np.float32(_NEGLIGIBLE)) / np.float32(1 - _NEGLIGIBLE), 0, 1) * np.float32(shadow.opacity)

    rgb, alpha = image.rgb.copy(), image.alpha.copy()
    region = view.region
    for rows in row_bands(region.height, region.width):
        top, height = region.top + rows.start, rows.stop - rows.start
        here = (slice(top, top + height), slice(region.left, region.right))
        _lay_under(rgb[here], alpha[here], _stretched(small, view, top, height))
    return Image(rgb=rgb, alpha=alpha, icc=image.icc)


def room(subject: Box, shadow: Shadow) -> Margin:
    """How far a shadow can reach beyond the subject's box, in pixels."""
    size = _size(subject.width, subject.height)
    match shadow.kind:
        case ShadowKind.DROP:
            blur, offset = 2.6 * _DROP_BLUR * size, _DROP_OFFSET * size
            top, right, bottom, left = blur - offset, blur, blur + offset, blur
        case ShadowKind.CAST | ShadowKind.GROUND:
            reach = _SCALES[-1][0] * size
            top, right, bottom, left = 0.0, 2.7 * reach, 3.5 * reach * _FLAT, 2.7 * reach
            if shadow.kind is ShadowKind.CAST:
                right = max(right, _LENGTH * _TOWARD * subject.height + 2.2 * _SOFTNESS[-1] * size)
        case _:
            assert_never(shadow.kind)
    top, right, bottom, left = (max(0, int(side) + 2) for side in (top, right, bottom, left))
    return Margin(Length(top), Length(right), Length(bottom), Length(left))


def _lay_under(rgb: RGB, alpha: Alpha, shadow: Darkness) -> None:
    """Put black of this alpha under a picture, in place."""
    total = alpha + (1 - alpha) * shadow
    changed = (alpha < 1) & (shadow > 0)
    share = np.divide(alpha, total, out=np.zeros_like(alpha), where=changed)
    rgb[changed] = rgb[changed] * share[changed][:, None] + np.float32(0.5)
    alpha[changed] = total[changed]


def _darkness(view: _View, kind: ShadowKind, *, cut: bool) -> Darkness:
    match kind:
        case ShadowKind.DROP:
            down = np.array([[1, 0, 0], [0, 1, _DROP_OFFSET * view.size]])
            height, width = view.alpha.shape
            moved = cv2.warpAffine(view.alpha, down, (width, height), borderMode=cv2.BORDER_REPLICATE)
            return _blurred(np.asarray(moved, np.float32), _DROP_BLUR * view.size, _DROP_BLUR * view.size)
        case ShadowKind.GROUND:
            return _occlusion(view, _ground_line(view, cut=cut))
        case ShadowKind.CAST:
            line = _ground_line(view, cut=cut)
            lit = 1 - np.float32(0.7) * _projection(view, line, _TOWARD, _AWAY)
            return 1 - (1 - _occlusion(view, line)) * lit
        case _:
            assert_never(kind)


def _size(width: float, height: float) -> float:
    """The unit of a shadow's reach: the geometric mean of a subject's sides, with slivers taken for wider."""
    return float(np.sqrt(max(width, height / 4) * max(height, width / 4)))


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A small copy of the part of the canvas that a shadow can reach.

    `region` is that part in the canvas' pixels; `width` and `height` are the subject's in the small copy.
    """

    alpha: Alpha
    region: Box
    width: float
    height: float
    touches_bottom: bool

    @property
    def size(self) -> float:
        """The subject's, in pixels of the small copy."""
        return _size(self.width, self.height)

    @classmethod
    def of(cls, alpha: Alpha) -> _View | None:
        height, width = alpha.shape
        most = float(alpha.max(initial=0))
        if most < 0.5 / 255:
            return None
        box = Box(*cv2.boundingRect((alpha >= most / 2).view(np.uint8)))
        reach_x, reach_y = int(box.width * 0.5 + box.height * 1.3) + 8, int(max(box.width, box.height) * 0.6) + 8
        left, top = max(0, box.left - reach_x), max(0, box.top - reach_y)
        region = Box(left, top, min(width, box.right + reach_x) - left, min(height, box.bottom + reach_y) - top)
        factor = min(1.0, _WORKING_SIDE / max(box.width, box.height))
        size = (max(1, round(region.width * factor)), max(1, round(region.height * factor)))
        small = np.asarray(cv2.resize(alpha[region.slices], size, interpolation=cv2.INTER_AREA), np.float32)
        return cls(
            alpha=small / np.float32(most),
            region=region,
            width=max(1.0, box.width * size[0] / region.width),
            height=max(1.0, box.height * size[1] / region.height),
            touches_bottom=box.bottom >= height,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """The ground under each column of a view: its row, and how high the subject is above it (infinite: not there)."""

    row: Darkness
    gap: Darkness


def _ground_line(view: _View, *, cut: bool) -> _Line:
    """Read the ground off the outline's lower hull.

    The hull's ends climb the sides of a subject, which is no ground any more: from the lowest point outwards it is
    followed until it becomes too steep, and goes on level from there. A long straight edge may be steeper: two wheels
    of a car that is seen obliquely.
    """
    height, width = view.alpha.shape
    most = float(view.alpha.max())  # a wire is thinner than a pixel of the small copy, and nowhere solid
    solid = view.alpha >= (0.5 if most >= 0.5 else most / 2)
    columns = np.flatnonzero(solid.any(axis=0))
    lowest = np.full(width, -np.inf, np.float32)
    lowest[columns] = height - 1 - np.argmax(solid[::-1, columns], axis=0)
    corners = _lower_hull(columns, lowest[columns])
    deepest = int(np.argmax(corners[:, 1]))
    span = _LONG * (columns[-1] - columns[0] + 1)
    first = last = deepest
    while first > 0 and _is_ground(corners[first], corners[first - 1], span):
        first -= 1
    while last < len(corners) - 1 and _is_ground(corners[last], corners[last + 1], span):
        last += 1
    line = corners[first : last + 1]
    row = np.interp(np.arange(width), line[:, 0], line[:, 1]).astype(np.float32)
    gap = np.maximum(row - lowest, 0)
    if cut:  # what was cut off by the photo's edge touches no ground that could be seen
        gap[lowest >= lowest.max() - 1] = np.inf
    return _Line(row=row, gap=gap)


def _lower_hull(columns: npt.NDArray[np.intp], rows: Darkness) -> Darkness:
    """The corners of the lower convex hull of points that are sorted by column (Andrew's monotone chain)."""
    hull: list[tuple[float, float]] = []
    for x, y in zip(columns.tolist(), rows.tolist(), strict=True):
        while len(hull) >= 2:
            (ax, ay), (bx, by) = hull[-2], hull[-1]
            if (bx - ax) * (y - ay) < (by - ay) * (x - ax):  # the middle one sticks out downwards: it stays
                break
            hull.pop()
        hull.append((x, y))
    return np.array(hull, np.float32)


def _is_ground(inner: Darkness, outer: Darkness, long: float) -> bool:
    run = abs(float(outer[0] - inner[0]))
    rise = abs(float(outer[1] - inner[1]))
    return rise <= run * (_STEEP_EDGE if run >= long else _STEEP_ARC)


def _occlusion(view: _View, line: _Line) -> Darkness:
    """How much of the sky the subject hides from the ground.

    A part at height g above the ground darkens it weakly, and over a distance of about g. So each reach sees only what
    floats lower than itself, and blurs it by as much. The footprint is a strip behind the line: subjects have depth.
    """
    height, _ = view.alpha.shape
    behind = line.row[None, :] - np.arange(height, dtype=np.float32)[:, None]
    # Between its wheels or feet one sees farther under the subject, up to what floats there.
    touching = np.flatnonzero(line.gap <= 0.02 * view.size)
    under = np.zeros_like(line.gap)
    if touching.size:
        between = slice(touching[0], touching[-1] + 1)
        under[between] = line.gap[between]
    light = np.ones_like(view.alpha)
    for share, weight in _SCALES:
        reach = max(0.7, share * view.size)
        depth = 2.2 * reach * _FLAT + 1 + np.minimum(under, 3 * reach)
        before = 0.4 * reach * _FLAT + 1  # and are round at the front
        strip = np.clip(np.minimum(behind + before, depth - behind), 0, 1) * np.exp(-line.gap / (3 * reach))[None, :]
        blurred = _blurred(strip.astype(np.float32), reach, reach * _FLAT)
        light *= 1 - np.float32(weight) * np.clip(blurred * np.float32(1.35), 0, 1)
    return 1 - light


def _projection(view: _View, line: _Line, toward: float, away: float) -> Darkness:
    """The subject's outline on the ground: sharp at the contact, softer and fainter the farther it falls.

    Each of the subject's pixels is carried to where its shadow falls. Looking the other way, from the ground to what
    darkens it, would be quicker; but where the line of the ground is oblique several pixels shade the same spot.
    """
    height, width = view.alpha.shape
    up = _LENGTH * _FLAT * away  # how far up the picture, and sideways, the shadow of a point of height 1 lies
    if abs(up) < 0.08:  # light from the side: the shadow is as broad as the subject is deep
        up = -0.08 if up < 0 else 0.08
    y, x = np.nonzero(view.alpha > _NEGLIGIBLE)
    high = np.maximum(line.row[x] - y, 0)
    column = np.rint(x + _LENGTH * toward * high).astype(np.intp)
    row = np.rint(line.row[x] - up * high).astype(np.intp)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    spot = (row * width + column)[inside]
    far = np.clip(high[inside] / np.float32(view.height), 0, 1)
    dark = view.alpha[y[inside], x[inside]] * (1 - np.float32(0.6) * far)
    result = np.zeros_like(view.alpha)
    for part, soft in enumerate(_SOFTNESS):
        share = np.clip(1 - np.abs(2 * far - part), 0, 1)  # of this softness; they add up to 1
        layer = np.zeros(height * width, np.float32)
        np.maximum.at(layer, spot, (dark * share).astype(np.float32))
        # Pixels of an oblique line do not fall side by side.
        whole = cv2.morphologyEx(layer.reshape(height, width), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
        result += _blurred(np.asarray(whole, np.float32), soft * view.size, soft * view.size * 0.6)
    return np.clip(result, 0, 1)


def _blurred(values: Darkness, across: float, down: float) -> Darkness:
    # What the canvas cuts off goes on beyond it: a border of nothing would let light in.
    return np.asarray(
        cv2.GaussianBlur(values, (0, 0), max(across, 0.4), sigmaY=max(down, 0.4), borderType=cv2.BORDER_REPLICATE),
        np.float32,
    )


def _stretched(small: Darkness, view: _View, top: int, height: int) -> Darkness:
    """So many rows of the view's region at the canvas' size; `top` is a row of the canvas."""
    region = view.region
    rows = slice(top - region.top, top - region.top + height)
    return np.clip(enlarged(small, (region.height, region.width), rows, how=cv2.INTER_CUBIC), 0, 1)

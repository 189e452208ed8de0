"""Drawn backdrops: seamless paper, tables, walls with a floor, lights out of focus.

Light is linear until the very end. A surface is noise on several scales, looked up in the plane's own coordinates and
seen through a camera with a vertical picture plane (a shift lens: uprights stay upright). What a pixel or the lens
cannot resolve is faded out scale by scale, which is what filtering would leave of it; so depth of field costs nothing
and no size aliases. Smooth parts are computed small and enlarged; pictures are made band by band; grain is added before
rounding, so that no gradient shows steps.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mattebox.backdrops.plate import Plate
from mattebox.backdrops.studio.frame import (
    SMOOTH,
    Enlarged,
    Frame,
    Shot,
    Triple,
    develop,
    linear,
    main_light,
    main_side,
    shoulder,
    smoothstep,
)
from mattebox.backdrops.studio.noise import Floats, Noise
from mattebox.backdrops.studio.plane import BASE, FLOOR_EDGE, FLOOR_HORIZON, TABLE_EDGE, TABLE_HORIZON
from mattebox.backdrops.studio.tables import marble_table, stone_table, table_in_room, wooden_table
from mattebox.backdrops.studio.walls import brick_wall, concrete_wall
from mattebox.edit import Color
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Served

__all__ = ["BASE", "FLOOR_EDGE", "FLOOR_HORIZON", "KINDS", "TABLES", "TABLE_EDGE", "TABLE_HORIZON", "Backdrop", "draw"]

LAMPS = 768
"""Largest shorter side, in pixels, of a picture of blurred lights."""
_LONGEST = 32_000
_SLIMMEST = 100
"""Longest side that is drawn, in pixels and in shorter sides; longer ones are stretched from that. OpenCV looks nothing
up for more pixels, and what there is to draw grows with the proportions: a hundred thousand lamps on a thread."""
PAPERS = ((0.93, 0.93, 0.92), (0.80, 0.79, 0.77), (0.72, 0.80, 0.86), (0.90, 0.76, 0.70), (0.78, 0.83, 0.74))
TABLES = frozenset({"wood", "stone", "marble", "table_room"})
"""The kinds that can be drawn before a picture of a place."""
DEEP = ((0.22, 0.30, 0.44), (0.36, 0.36, 0.38), (0.46, 0.24, 0.24), (0.22, 0.37, 0.36), (0.42, 0.33, 0.26))
"""Colours of paper and of cloth, sRGB in 0..1, from which the seed chooses where none is asked for."""
LAMP_COLORS: tuple[tuple[Triple, ...], ...] = (
    ((1.0, 0.46, 0.10), (1.0, 0.62, 0.24), (1.0, 0.26, 0.05), (1.0, 0.76, 0.45)),
    ((0.14, 0.40, 1.0), (0.10, 0.65, 0.85), (0.60, 0.72, 1.0), (0.36, 0.16, 1.0)),
    ((1.0, 0.50, 0.13), (1.0, 0.70, 0.33), (0.16, 0.45, 1.0), (1.0, 0.10, 0.05)),
)
"""Lights at night, linear: warm, cool, a street."""


@dataclass(frozen=True, slots=True)
class Backdrop:
    """One kind of studio backdrop, as a list shows it, and what draws it."""

    name: str
    draw: Callable[[Frame], Shot]
    doc: str


def draw(
    kind: str, *, width: int, height: int, seed: int, color: Color | None = None, room: RGB | None = None
) -> Plate:
    """A backdrop of `kind`, one of `KINDS`, of exactly this size.

    The same arguments give the same picture; another seed varies it. `color` is that of the paper, the wall or the
    lights (each kind's `doc` says which). `room` is a picture for the kinds in `TABLES` only: it is cut to the plate's
    aspect and put out of focus behind the table, which is in its light; its own horizon should be at `TABLE_HORIZON` of
    its height.

    Raises:
        MatteboxError: INVALID_PARAMETER: the kind is unknown, or the size is less than one pixel.
        ValueError: a room was given to a kind that shows none.
    """
    painter = next((each.draw for each in KINDS if each.name == kind), None)
    if painter is None:
        known = ", ".join(each.name for each in KINDS)
        raise MatteboxError(
            Kind.INVALID_PARAMETER, f"Unknown studio {kind!r}. Choose one of {known}.", parameter="kind"
        )
    if min(width, height) < 1:
        raise MatteboxError(Kind.INVALID_PARAMETER, "A backdrop must have at least one pixel.", parameter="size")
    if room is not None and kind not in TABLES:
        raise ValueError(f"the backdrop {kind} shows no room")
    longest = min(_LONGEST, _SLIMMEST * min(width, height))
    if max(width, height) > longest:
        import cv2

        less = (min(width, longest), min(height, longest))
        plate = draw(kind, width=less[0], height=less[1], seed=seed, color=color, room=room)
        return replace(plate, rgb=np.asarray(cv2.resize(plate.rgb, (width, height)), np.uint8))
    random = np.random.default_rng([seed, *kind.encode()])
    tint = None if color is None else linear((color.red / 255, color.green / 255, color.blue / 255))
    frame = Frame(width=width, height=height, random=random, noise=Noise(random), color=tint, room=room)
    set_ = painter(frame)
    return Plate(
        rgb=develop(set_, frame),
        horizon=set_.horizon,
        light=set_.light,
        grain=set_.grain,
        served=Served(backend="studio", scene=kind),
    )


def _sweep(frame: Frame) -> Shot:
    side = main_side(frame)
    color = frame.pick(PAPERS)
    low, high = 0.55 + frame.random.uniform(-0.02, 0.02), 0.80 + frame.random.uniform(-0.02, 0.02)
    x, y = frame.small(SMOOTH)
    # The paper turns from wall to floor between the two rows. The wall has its own lights; the floor has the key
    # light, which falls off towards the camera and away from its side.
    bend = smoothstep(y - (low + high) / 2, high - low)
    away = (x * -side) / frame.span
    wall = 0.985 - 0.05 * np.clip(y / low, 0, 1) ** 3 - 0.012 * x * x / frame.span**2 - 0.015 * away
    pool = np.exp(-((x / frame.span - 0.22 * side) ** 2 / 0.9 + (y - 0.84) ** 2 / 0.05))
    floor = 0.76 + 0.075 * pool - 0.03 * away - 0.05 * np.clip((y - 0.86) / 0.14, 0, 1)
    crease = 0.012 * np.exp(-(((y - high + 0.02) / 0.07) ** 2))
    shade = wall * (1 - bend) + floor * bend - crease
    # Between bright paper and bright paper light goes to and fro: pale shadows take on the paper's colour.
    glow = 1 + 0.06 * bend * (color - color.mean()) / max(float(color.max()), 0.05)
    sheen = 0.010 * np.exp(-((y - 0.80) ** 2 / 0.02)) + 0.003
    small = Enlarged(np.asarray(color * shade * glow + sheen * (1 - color), np.float32), frame)
    return Shot(
        rows=small.rows,
        light=main_light(0.55 * side, up=0.65, front=0.55, strength=0.35),
        horizon=0.36,
        grain=0.9,
        vignette=0.012,
    )


def _gradient(frame: Frame) -> Shot:
    side = main_side(frame)
    color = frame.pick(PAPERS)
    x, y = frame.small(SMOOTH)
    slope = 0.5 * (y - 0.5) + 0.22 * x / frame.span * -side
    t = smoothstep(slope + 0.05 * np.sin(2.3 * x / frame.span + 1.3 * side), 1.5)
    glow = np.exp(-((x / frame.span - 0.35 * side) ** 2 / 0.7 + (y - 0.22) ** 2 / 0.25))
    # A gel on the second light: towards the shadow the hue turns a little.
    hue, lightness, saturation = colorsys.rgb_to_hls(*(float(c) for c in color.ravel() ** 0.45))
    turn = 0.035 if frame.random.random() < 0.5 else -0.035
    turned = colorsys.hls_to_rgb((hue + turn) % 1, lightness, min(1, saturation * 1.2))
    shadow = np.asarray(turned, np.float32).reshape(3, 1, 1) ** (1 / 0.45)
    bright = color + 0.10 * (1 - color) * color
    planes = bright * (1 - t) + 0.36 * shadow * t
    planes = planes * (0.92 + 0.12 * glow)
    small = Enlarged(planes.astype(np.float32), frame)
    return Shot(
        rows=small.rows,
        light=main_light(0.6 * side, up=0.6, front=0.6, strength=0.3),
        grain=1.2,
        vignette=0.05,
    )


def _spotlight(frame: Frame) -> Shot:
    color = frame.pick(DEEP)
    side = main_side(frame)
    x, y = frame.small(420)
    aspect = (frame.height / frame.short) ** 0.5
    wide = (frame.width / frame.short) ** 0.5
    edge = 0.76
    bend = smoothstep(y - edge, 0.12)
    yy = frame.down(y - np.float32(0.40))
    cx = 0.06 * side
    far = np.hypot((x - cx) / (0.52 * wide), yy / (0.50 * aspect))
    spot = np.exp(-(far**2.3) * 1.5)
    pool = np.exp(-(((x - 0.5 * cx) / (0.62 * wide)) ** 2 * 1.4 + ((y - 0.84) / 0.15) ** 2))
    # Painted cloth: broad strokes, and folds too weak to be seen as such.
    cloth = frame.noise.fractal(x, yy, (3.2, 2.6), 3, octaves=5, gain=0.62)
    weave = frame.noise.fractal(x, yy, (60.0, 60.0), 13, octaves=2)
    dyed = 1 + (0.13 * cloth + 0.012 * weave) * (1 - bend)
    shade = (0.055 + 1.30 * spot) * (1 - bend) + (0.040 + 0.66 * pool) * bend
    warm = np.array([1.03, 1.0, 0.95], np.float32).reshape(3, 1, 1)
    planes = color * dyed * shade * warm + 0.0035
    small = Enlarged(shoulder(planes.astype(np.float32)), frame)
    return Shot(
        rows=small.rows,
        light=main_light(0.35 * side, up=0.8, front=0.45, tint=(1.03, 1, 0.95), strength=0.6),
        horizon=0.40,
        grain=1.5,
        vignette=0.15,
    )


def _bokeh(frame: Frame) -> Shot:
    random = frame.random
    x, y = frame.small(LAMPS)
    hues = LAMP_COLORS[int(random.integers(len(LAMP_COLORS)))]
    if frame.color is not None:
        c = frame.color.ravel() / max(float(frame.color.max()), 0.02)
        hues = tuple((float(v[0]), float(v[1]), float(v[2])) for v in (c, 0.6 * c + 0.4, c**1.3, 0.8 * c + 0.2))
    tall = frame.height / frame.short
    main = np.asarray(hues[0], np.float32).reshape(3, 1, 1)
    deep = np.array([0.020, 0.022, 0.030], np.float32).reshape(3, 1, 1)
    haze = np.exp(-(((y - 0.42) / 0.25) ** 2)) * (0.75 + 0.25 * np.cos(2.2 * x / frame.span + random.uniform(-1, 1)))
    planes = np.asarray(deep * (0.9 - 0.5 * y) + main * 0.075 * haze, np.float32)
    blades = int(random.integers(6, 10))
    count = int(96 * 2 * frame.span * tall)
    for number in range(count):
        # Far lights first: small, many, along the street; near ones large, few and faint.
        near = (number / count) ** 2.2
        radius = (0.018 + 0.062 * near) * random.uniform(0.85, 1.15)
        cx = random.uniform(-frame.span - 0.05, frame.span + 0.05)
        cy = (0.44 + random.normal(0, 0.10 + 0.16 * near)) * tall
        power = float(np.exp(random.normal(-0.6, 0.75))) * (0.40 - 0.31 * near)
        hue = np.asarray(hues[int(random.integers(len(hues)))], np.float32) * np.float32(power)
        _add_lamp(planes, hue, at=(cx, cy), radius=radius, blades=blades, size=(2 * frame.span, tall))
    small = Enlarged(shoulder(planes), frame)
    tint = 0.5 * main.ravel() + 0.5
    return Shot(
        rows=small.rows,
        light=main_light(0.25, up=0.35, front=0.9, tint=(float(tint[0]), float(tint[1]), float(tint[2])), strength=0.2),
        grain=1.8,
        vignette=0.22,
    )


def _add_lamp(
    planes: Floats, hue: Floats, *, at: tuple[float, float], radius: float, blades: int, size: tuple[float, float]
) -> None:
    """Adds one light out of focus to `planes`, which show `size` units; `at` is from the middle of the upper edge."""
    rows, columns = planes.shape[1:]
    (cx, cy), span, tall = at, size[0] / 2, size[1]
    unit = columns / size[0]
    left, right = (int(np.clip((cx + d + span) * unit, 0, columns)) for d in (-1.2 * radius, 1.2 * radius))
    top, bottom = (int(np.clip((cy + d) * unit, 0, rows)) for d in (-1.2 * radius, 1.2 * radius))
    if left >= right or top >= bottom:
        return
    dx = ((np.arange(left, right) + 0.5) / unit - span - cx)[None] / radius
    dy = ((np.arange(top, bottom) + 0.5) / unit - cy)[:, None] / radius
    away = np.hypot(dx, dy)
    angle = np.arctan2(dy, dx) * blades / (2 * np.pi)
    # The iris is a polygon with bent sides; towards the corners the lens's barrel cuts the disc to a cat's eye.
    side = np.cos((angle - np.floor(angle) - 0.5) * 2 * np.pi / blades) / np.cos(np.pi / blades)
    iris = away * (0.5 + 0.5 * side)
    tilt = np.array([cx / span, cy / tall * 2 - 1]) * 0.42
    barrel = np.hypot(dx + tilt[0], dy + tilt[1]) / 1.18
    soft = max(0.07, 2.2 / (radius * unit))
    whole = smoothstep(np.asarray(0.97 - np.maximum(iris, barrel), np.float32), soft)
    rim = 0.80 + 0.32 * np.clip(away, 0, 1) ** 5 + 0.02 * np.cos(away * 26)
    disc = np.asarray(whole * rim, np.float32)
    fringe = smoothstep(np.asarray(0.97 - np.maximum(iris, barrel) * 1.025, np.float32), soft) * rim
    for channel, shape in enumerate((disc, disc, np.asarray(fringe, np.float32))):
        planes[channel, top:bottom, left:right] += shape * hue[channel]


KINDS: tuple[Backdrop, ...] = (
    Backdrop("sweep", _sweep, "Seamless paper in the colour asked for: wall and floor without a corner."),
    Backdrop("gradient", _gradient, "A smooth wall in the colour asked for, lit from one side."),
    Backdrop(
        "spotlight", _spotlight, "A painted cloth in the colour asked for, with a pool of light behind the subject."
    ),
    Backdrop("bokeh", _bokeh, "Lights at night far out of focus, in the colour asked for."),
    Backdrop("wood", wooden_table, "A wooden table before a wall in the colour asked for."),
    Backdrop("stone", stone_table, "A table of honed stone before a wall in the colour asked for."),
    Backdrop("marble", marble_table, "A polished marble table before a wall in the colour asked for."),
    Backdrop("concrete", concrete_wall, "A concrete wall, dyed in the colour asked for, and a concrete floor."),
    Backdrop("brick", brick_wall, "A brick wall, painted in the colour asked for, and a floor."),
    Backdrop("table_room", table_in_room, "A wooden table before a room far out of focus."),
)
"""Every kind that `draw` knows."""

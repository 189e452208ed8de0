"""Tables: before a wall with a window's light on it, or before a room."""

from __future__ import annotations

import numpy as np

from mattebox import color
from mattebox.backdrops.studio.frame import SMOOTH, Frame, Shot, Triple, main_light, main_side, shoulder, smoothstep
from mattebox.backdrops.studio.interior import furnished_room, given_room
from mattebox.backdrops.studio.noise import Floats
from mattebox.backdrops.studio.plane import TABLE_EDGE, TABLE_HORIZON, Ground, Surface, render_plane
from mattebox.backdrops.studio.surfaces import marble, stone, wood

PAINTS = ((0.86, 0.84, 0.80), (0.76, 0.71, 0.65), (0.64, 0.69, 0.62), (0.58, 0.65, 0.70), (0.75, 0.60, 0.51))
"""Colours of walls, sRGB in 0..1, from which the seed chooses where none is asked for."""


def wooden_table(frame: Frame) -> Shot:
    """Planks before a wall."""
    return _on_table(frame, wood(frame), gloss=0.50, rough=0.8)


def stone_table(frame: Frame) -> Shot:
    """Honed stone before a wall."""
    return _on_table(frame, stone(frame), gloss=0.80, rough=0.4, aperture=0.011)


def marble_table(frame: Frame) -> Shot:
    """Polished marble before a wall."""
    return _on_table(frame, marble(frame), gloss=0.85, rough=0.35)


def table_in_room(frame: Frame) -> Shot:
    """Planks before the frame's room, or before one that is furnished here."""
    side = main_side(frame)
    room = furnished_room(frame, side) if frame.room is None else given_room(frame.room, frame)
    return _before_room(frame, wood(frame), room, side, gloss=0.62, rough=0.7)


def _before_room(frame: Frame, surface: Surface, room: Floats, side: float, *, gloss: float, rough: float) -> Shot:
    """A table in the light of what is behind it; in a furnished room that comes from `side`."""
    rows, columns = room.shape[1:]
    mean = room[:, : int(TABLE_EDGE * rows)].mean(axis=(1, 2))
    tint = mean / max(float(color.luminance(mean)), 1e-6)
    tint = np.clip(0.5 + 0.5 * tint, 0.7, 1.4)
    if frame.room is not None:
        weight = room[:, : int(TABLE_EDGE * rows)].sum(axis=(0, 1)) ** 2
        lean = float((weight * np.linspace(-1, 1, columns)).sum() / max(float(weight.sum()), 1e-9))
        side = float(np.clip(4 * lean, -1.0, 1.0)) or -0.1
    warmth = (float(tint[0]), float(tint[1]), float(tint[2]))
    ground = Ground.table(frame, aperture=0.020)
    painter = render_plane(
        frame,
        ground,
        behind=room,
        surface=surface,
        light=_table_light(frame, side, tint.reshape(3, 1, 1).astype(np.float32), strength=1.05),
        gloss=gloss,
        rough=rough,
    )
    return Shot(
        rows=painter,
        light=main_light(0.70 * side, up=0.50, front=0.40, tint=warmth, strength=0.4),
        horizon=TABLE_HORIZON,
        vignette=0.14,
    )


def _on_table(frame: Frame, surface: Surface, *, gloss: float, rough: float, aperture: float = 0.016) -> Shot:
    side = main_side(frame)
    if frame.room is not None:
        return _before_room(frame, surface, given_room(frame.room, frame), side, gloss=gloss, rough=rough)
    warm: Triple = (1.06, 1.0, 0.90)
    tint = np.array(warm, np.float32).reshape(3, 1, 1)
    ground = Ground.table(frame, aperture=aperture)
    rows = render_plane(
        frame,
        ground,
        behind=_plain_wall(frame, side, tint),
        surface=surface,
        light=_table_light(frame, side, tint),
        gloss=gloss,
        rough=rough,
    )
    return Shot(
        rows=rows,
        light=main_light(0.72 * side, up=0.52, front=0.45, tint=warm, strength=0.5),
        horizon=TABLE_HORIZON,
        vignette=0.16,
    )


def _table_light(frame: Frame, side: float, tint: Floats, *, strength: float = 1.0) -> Floats:
    """A window at the side: a broad pool that falls off across the table."""
    x, y = frame.small(SMOOTH)
    away = x / frame.span * -side
    pool = np.exp(-((away + 0.55) ** 2 / 1.5 + (y - 0.72) ** 2 / 0.12))
    return np.asarray(strength * tint * (0.42 + 0.78 * pool), np.float32)


def _plain_wall(frame: Frame, side: float, tint: Floats) -> Floats:
    """A painted wall, far out of focus, with a window's light on it."""
    color = frame.pick(PAINTS)
    x, y = frame.small(SMOOTH * 2)
    v = frame.down(y)
    away = x / frame.span * -side
    shade = 0.34 + 0.46 * np.exp(-((away + 0.5) ** 2 / 0.9 + (y - 0.20) ** 2 / 0.35))
    cast = _cast(frame, x, v, side)
    if cast is not None:
        shade = 0.86 * shade + 0.32 * cast * np.exp(-((away + 0.1) ** 2) / 0.9)
    plaster = frame.noise.fractal(x, v, (2.0, 2.0), 40, octaves=3)
    shade = shade * (1 + 0.012 * plaster)
    return shoulder(np.asarray(color * tint * shade * 1.25, np.float32))


def _cast(frame: Frame, x: Floats, v: Floats, side: float) -> Floats | None:
    """The light that is left by what stands between the window and the wall, soft with the distance; often nothing."""
    import cv2

    random = frame.random
    pattern = int(random.integers(4))
    if not pattern:
        return None
    lean, size = float(random.uniform(0.35, 0.7)), float(random.uniform(0.8, 1.25))
    slant = -side * x + lean * v + float(random.uniform(-0.15, 0.15))
    fall = v - 0.3 * slant
    sigma = 0.022 * len(v) * frame.short / frame.height
    match pattern:
        case 1:  # the window's frame
            column, row = np.mod(slant / (0.30 * size), 1.0), np.mod(fall / (0.38 * size), 1.0)
            lit = smoothstep(0.43 - np.abs(column - 0.5), 0.08) * smoothstep(0.44 - np.abs(row - 0.5), 0.08)
            lit = lit * smoothstep(0.32 + 0.30 * size - np.abs(slant - 0.30), 0.08)
        case 2:  # a blind
            lit = smoothstep(0.27 - np.abs(np.mod(fall / (0.085 * size), 1.0) - 0.5), 0.2)
            lit, sigma = lit * smoothstep(0.40 * size - np.abs(slant - 0.30), 0.10), 0.5 * sigma
        case _:  # a palm
            lit = np.ones(np.broadcast_shapes(x.shape, v.shape), np.float32)
            _fronds(lit, frame)
            sigma *= 0.55
    return np.asarray(cv2.GaussianBlur(np.asarray(lit, np.float32), (0, 0), max(0.6, sigma)), np.float32)


def _fronds(lit: Floats, frame: Frame) -> None:
    """Shadows of palm leaves, drawn into `lit`."""
    import cv2

    random = frame.random
    rows, columns = lit.shape
    unit = rows * frame.short / frame.height
    for _ in range(max(2, round(2.4 * columns / unit))):
        start = np.array([random.uniform(0, columns), random.uniform(-0.15, 0.25) * rows])
        heading = random.uniform(0.2, 2.9)
        length = random.uniform(0.5, 0.9) * unit
        for k in range(17):
            t = k / 17
            bow = heading + 0.5 * t * np.sign(np.cos(heading))
            stem = start + length * t * np.array([np.cos(bow), np.sin(bow)])
            for wing in (-1, 1):
                turn = bow + wing * (0.95 - 0.45 * t)
                reach = length * (0.10 + 0.30 * np.sin(np.pi * min(1, 0.15 + t)))
                tip = stem + reach * np.array([np.cos(turn), np.sin(turn)])
                normal = np.array([-np.sin(turn), np.cos(turn)]) * 0.012 * unit
                middle = 0.6 * stem + 0.4 * tip
                leaf = np.round(np.array([stem, middle + normal, tip, middle - normal]) * 16).astype(np.int32)
                cv2.fillPoly(lit, [leaf], (0.0,), cv2.LINE_AA, 4)

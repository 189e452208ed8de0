"""Walls in focus, with a floor: concrete and brick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mattebox.backdrops.studio.frame import SMOOTH, Frame, Shot, Triple, main_light, main_side, shoulder, smoothstep
from mattebox.backdrops.studio.noise import Floats, Noise
from mattebox.backdrops.studio.plane import FLOOR_EDGE, FLOOR_HORIZON, Ground, Surface, render_plane
from mattebox.backdrops.studio.surfaces import honed_stone, wood

WALL = 2048
"""Largest shorter side, in pixels, of a wall; what is larger is enlarged."""
CLAY: tuple[Triple, ...] = (
    (0.235, 0.078, 0.046),
    (0.175, 0.066, 0.045),
    (0.285, 0.122, 0.072),
    (0.095, 0.052, 0.044),
)
"""Bricks, linear: red, brown, orange, burnt."""
FORMATS = ((0.72, 0.46, 2), (0.98, 0.40, 3), (0.54, 0.54, 2), (0.46, 0.78, 2), (1.15, 0.62, 3), (0.66, 0.33, 2))
"""Panels of concrete: width and height in units, plugs in a row."""


def concrete_wall(frame: Frame) -> Shot:
    """Concrete as its panels left it, and a concrete floor."""
    side = main_side(frame)
    noise = frame.noise
    face = _Face.of(frame)
    u, v, pixel = face.u, face.v, face.pixel
    clouds = noise.fractal(u, v, (1.5, 1.5), 1, octaves=7, gain=0.66, du=pixel, dv=pixel)
    sand = noise.fractal(u, v, (110.0, 110.0), 16, octaves=3, gain=0.8, du=pixel, dv=pixel)
    holes = np.clip(noise.at(u, v, (46.0, 46.0), 22) + 0.25 * clouds - 2.6, 0, 0.4) / 0.4
    holes = np.maximum(holes, np.clip(noise.at(u, v, (125.0, 125.0), 23) + 0.3 * clouds - 2.4, 0, 0.5) * 1.6)
    seam, plug, panel = _Formwork.choose(frame.random).marks(u, v, noise.table)
    # Each panel was poured against its own sheet: what ran down one does not go on in the next.
    runs = noise.fractal(u + 5 * panel, v, (9.0, 0.8), 10, octaves=3, gain=0.7, du=pixel, dv=pixel)
    groove = np.exp(-(((seam + 0.0007 * sand) / 0.0028) ** 2))
    bore = smoothstep(0.0115 - plug, 0.004)
    height = 0.00022 * sand - 0.0022 * holes - 0.003 * groove - 0.006 * bore + 0.0006 * clouds
    relief = _relief(height.astype(np.float32), side, pixel)
    tone = 1 + 0.12 * clouds + 0.05 * runs + 0.035 * sand + 0.16 * (panel - 0.5)
    tone = tone * (1 - 0.45 * groove) * (1 - 0.62 * bore) * (1 - 0.5 * holes)
    tone = np.clip(tone * (1 + np.clip(0.55 * relief, -0.45, 0.45)), 0.05, 2) * face.light(frame, side)
    base = np.array([0.335, 0.328, 0.312], np.float32) if frame.color is None else frame.color.ravel()
    warm = 0.022 * clouds
    wall = np.stack([tone * (1 + warm) * base[0], tone * base[1], tone * (1 - warm) * base[2]]).astype(np.float32)
    whole = _filled(_lens(wall, frame, 0.0009), frame)
    floor = honed_stone(frame, color=(0.27, 0.262, 0.248), worn=1.0)
    return _before_wall(frame, whole, side, floor, tint=(1.02, 1.0, 0.96), gloss=0.42)


def brick_wall(frame: Frame) -> Shot:
    """Bricks in running bond, bare or painted, and a floor of planks or stone."""
    side = main_side(frame)
    noise, random = frame.noise, frame.random
    wall = _Face.of(frame)
    u, v, pixel = wall.u, wall.v, wall.pixel
    rough = noise.fractal(u, v, (75.0, 75.0), 3, octaves=3, gain=0.75, du=pixel, dv=pixel)
    wear = noise.fractal(u, v, (1.7, 1.7), 9, octaves=6, gain=0.6, du=pixel, dv=pixel)
    ju = u + 0.0007 * noise.at(u, v, (34.0, 34.0), 20)
    jv = v + 0.0006 * noise.at(u, v, (14.0, 24.0), 21) + 0.0003 * rough
    inside, index = _courses(ju, jv, noise.table)
    edge = inside + 0.0007 * rough
    face = smoothstep(edge - 0.0004, max(0.0032, 1.5 * pixel))
    other = noise.table[(index * 5 + 77) & 1023]
    height = 0.0036 * face + 0.0006 * rough + 0.0016 * face * (other - 0.5)
    relief = _relief(height.astype(np.float32), side, pixel)
    # The joint lies deep: on the side of the light the brick above and beside it takes its light.
    reach = max(1, round(0.0035 / pixel))
    cast = np.roll(face, (reach, int(-side) * reach), axis=(0, 1))
    shadow = 1 - (1 - face) * (0.12 + 0.48 * cast)
    lit = shadow * (1 + np.clip(0.40 * relief, -0.5, 0.55)) * wall.light(frame, side)
    if frame.color is not None or bool(random.random() < 0.2):
        paint = np.array([0.74, 0.725, 0.69], np.float32) if frame.color is None else frame.color.ravel()
        coat = 0.96 + 0.07 * (other - 0.5) + 0.035 * wear + 0.02 * rough
        albedo, bright = [paint[channel] * coat for channel in range(3)], np.float32(0.82)
    else:
        albedo = _bare(noise, wall, face=face, shades=noise.table[index], other=other, rough=rough, wear=wear)
        bright = np.float32(1.30)
    planes = [np.clip(a, 0.01, 1) * lit * bright for a in albedo]
    whole = _filled(_lens(np.stack(planes).astype(np.float32), frame, 0.0010), frame)
    if random.random() < 0.5:
        floor, gloss = wood(frame, plank=0.17, dull=0.35, away=True), 0.40
    else:
        floor, gloss = honed_stone(frame, color=(0.20, 0.19, 0.175), worn=0.85), 0.40
    return _before_wall(frame, whole, side, floor, tint=(1.06, 1.0, 0.90), gloss=gloss)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Face:
    """The points of a wall: `u` to the right, `v` up from the floor; `x` and `y` are the picture's, as of a frame."""

    u: Floats
    v: Floats
    x: Floats
    y: Floats
    pixel: float

    @classmethod
    def of(cls, frame: Frame) -> _Face:
        """The part that the frame shows, and a little below the floor's edge."""
        x, y = frame.small(WALL)
        y = y[: int(len(y) * (FLOOR_EDGE + 0.04)) + 2]
        return cls(
            u=np.ascontiguousarray(np.broadcast_to(x, (len(y), x.shape[1]))),
            v=frame.down(np.float32(FLOOR_EDGE) - y),
            x=x,
            y=y,
            pixel=max(float(x[0, 1] - x[0, 0]), 1e-4),
        )

    def light(self, frame: Frame, side: float) -> Floats:
        """A lamp high at one side, and the dark of the corner between wall and floor."""
        away = self.x / frame.span * -side
        pool = np.exp(-((away + 0.45) ** 2 / 0.9 + (self.y - 0.25) ** 2 / 0.22))
        corner = 1 - 0.42 * np.exp(-(FLOOR_EDGE - self.y) / 0.018) - 0.22 * np.exp(-(FLOOR_EDGE - self.y) / 0.09)
        return np.asarray((0.34 + 0.95 * pool) * np.clip(corner, 0.1, 1), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Formwork:
    """The panels that concrete was poured against; lengths in units.

    `bond` is how far a course is shifted against the one below, as a fraction of a panel. Rods that held the panels
    left plugs: two rows in each panel, `ties` of them in a row, `inset` fractions of the panel away from its edges.
    """

    width: float
    lift: float
    left: float
    rise: float
    bond: float
    ties: int
    inset: tuple[float, float]

    @classmethod
    def choose(cls, random: np.random.Generator) -> _Formwork:
        """Panels of one of the usual formats, lying or upright."""
        width, lift, ties = FORMATS[int(random.integers(len(FORMATS)))]
        scale = float(random.uniform(0.9, 1.15))
        return cls(
            width=width * scale,
            lift=lift * scale,
            left=float(random.uniform(0, 1)),
            # Below the floor's edge are no plugs cut in two, and above it no slivers.
            rise=float(random.uniform(0, 0.08) if random.random() < 0.4 else random.uniform(0.32, 0.6)),
            bond=float(random.choice((0.0, 0.0, 0.5, 1 / 3))),
            ties=ties,
            inset=(float(random.uniform(0.14, 0.24)), float(random.uniform(0.16, 0.25))),
        )

    def marks(self, u: Floats, v: Floats, table: Floats) -> tuple[Floats, Floats, Floats]:
        """How far a point is from the next seam and from the next plug's middle, and a number 0..1 of its panel."""
        pv = v / np.float32(self.lift) + np.float32(self.rise)
        row = np.floor(pv)
        pu = u / np.float32(self.width) + np.float32(self.left) + np.float32(self.bond) * row
        column = np.floor(pu)
        tu, tv = pu - column, pv - row
        seam = np.minimum(np.minimum(tu, 1 - tu) * self.width, np.minimum(tv, 1 - tv) * self.lift)
        across = np.minimum(tu, 1 - tu) - self.inset[0]
        if self.ties > 2:
            across = np.minimum(np.abs(across), np.abs(tu - np.float32(0.5)))
        plug = np.hypot(across * self.width, (np.minimum(tv, 1 - tv) - self.inset[1]) * self.lift)
        panel = table[(row.astype(np.int32) * 31 + column.astype(np.int32) * 7) & 1023]
        return np.asarray(seam, np.float32), np.asarray(plug, np.float32), np.asarray(panel, np.float32)


def _bare(
    noise: Noise, wall: _Face, *, face: Floats, shades: Floats, other: Floats, rough: Floats, wear: Floats
) -> list[Floats]:
    """Albedo, red, green and blue, of bricks without paint and of the mortar between them."""
    u, v = wall.u, wall.v
    weights = [np.clip(1.35 - np.abs(shades * 3.6 - k), 0, 1) for k in range(4)]
    total = sum(weights, np.float32(1e-3))
    tone = 0.70 + 0.55 * other + 0.12 * rough + 0.10 * wear + 0.10 * noise.at(u, v, (24.0, 30.0), 31)
    pits = np.clip(noise.at(u, v, (120.0, 120.0), 30) - 1.5, 0, 1)
    tone = tone * (1 - 0.35 * pits)
    lime = np.clip(0.20 * wear - 0.12 + 0.08 * rough, 0, 0.30) * face
    mortar = np.array([0.29, 0.268, 0.235], np.float32)
    grout = 1 + 0.13 * rough + 0.14 * wear
    planes = []
    for channel in range(3):
        brick = sum((w * c[channel] for w, c in zip(weights, CLAY, strict=True)), np.float32(0)) / total * tone
        brick = brick * (1 - lime) + mortar[channel] * lime
        planes.append(np.asarray(brick * face + mortar[channel] * grout * (1 - face)))
    return planes


def _courses(u: Floats, v: Floats, table: Floats) -> tuple[Floats, npt.NDArray[np.int32]]:
    """Running bond: how deep a point lies within its brick (negative in the joint), and a number of the brick."""
    course, length, joint = 0.0385, 0.1180, 0.0050
    row = np.floor(v / course)
    number = row.astype(np.int32)
    place = u / length + 0.5 * np.mod(row, 2) + 0.10 * table[number & 1023]
    column = np.floor(place)
    bu, bv = (place - column) * length, v - row * course
    inside = np.minimum(np.minimum(bu, length - bu), np.minimum(bv, course - bv)) - joint / 2
    return np.asarray(inside, np.float32), (number * 97 + column.astype(np.int32) * 29) & 1023


def _relief(height: Floats, side: float, pixel: float) -> Floats:
    """How light that grazes a wall from `side` and above shades its relief (heights in units)."""
    slope = np.zeros_like(height)
    slope[:, 1:-1] = (height[:, 2:] - height[:, :-2]) * np.float32(side)
    slope[1:-1] += 0.8 * (height[:-2] - height[2:])
    slope *= np.float32(-0.5 / pixel)
    return slope


def _lens(planes: Floats, frame: Frame, blur: float) -> Floats:
    """The wall's own blur; `blur` in units."""
    import cv2

    sigma = max(0.45, blur * planes.shape[1] * frame.short / frame.height)
    return np.stack([cv2.GaussianBlur(p, (0, 0), sigma) for p in planes])


def _filled(wall: Floats, frame: Frame) -> Floats:
    """A wall down to the floor, continued to the whole height: nobody sees the rest."""
    rows = max(wall.shape[1], round(frame.height * min(1.0, WALL / frame.short)))
    return np.pad(shoulder(wall), ((0, 0), (0, rows - wall.shape[1]), (0, 0)), mode="edge")


def _before_wall(frame: Frame, wall: Floats, side: float, surface: Surface, *, tint: Triple, gloss: float) -> Shot:
    ground = Ground.floor(frame, aperture=0.007)
    x, y = frame.small(SMOOTH)
    away = x / frame.span * -side
    pool = np.exp(-((away + 0.35) ** 2 / 1.1 + (y - 0.86) ** 2 / 0.05))
    corner = (
        1 - 0.50 * np.exp(-np.maximum(y - FLOOR_EDGE, 0) / 0.012) - 0.25 * np.exp(-np.maximum(y - FLOOR_EDGE, 0) / 0.05)
    )
    light = np.asarray(tint, np.float32).reshape(3, 1, 1) * (0.40 + 0.75 * pool) * np.clip(corner, 0.1, 1)
    rows = render_plane(
        frame, ground, behind=wall, surface=surface, light=light.astype(np.float32), gloss=gloss, rough=0.8
    )
    return Shot(
        rows=rows,
        light=main_light(0.70 * side, up=0.62, front=0.40, tint=tint, strength=0.5),
        horizon=FLOOR_HORIZON,
        vignette=0.20,
    )

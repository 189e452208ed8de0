"""A sample picture without a camera: a glazed mug on a wooden table before evening lights, computed from nothing.

The mug is a signed distance field that rays march through (sphere tracing, Hart 1996). Its glaze is lit by a window, a
strip light and the room, with Schlick's Fresnel term for the reflections. The table has a soft contact shadow, the
background is out of focus. `python tools/sample_photo.py` writes the file that the package ships.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mattebox.image import RGB, Alpha

Floats: TypeAlias = npt.NDArray[np.float32]
"""Numbers, colours or points; points and directions have shape (3, n): right, up, towards the viewer."""

SUPERSAMPLES = 2
"""Rays a side of each pixel of the mug."""
EYE = (0.0, 1.95, 4.6)
TARGET = (0.13, 0.53, 0.0)
FOCAL = 4.5
"""Focal length in half heights of a picture that is at least 4:3 wide."""
TABLE_END = -1.9
WINDOW = (-0.72, 0.52, 0.55)
STRIP = (0.90, 0.30, -0.42)
BEHIND = (-0.75, 0.25, -0.60)
HANDLE = (0.955, 0.296)
"""Where the handle points: right and a little towards the viewer."""
LIGHTS = ((1.0, 0.55, 0.20), (1.0, 0.72, 0.38), (1.0, 0.38, 0.14), (0.30, 0.55, 0.65))
"""Colours of the lights in the background."""
HEIGHT, RADIUS, WALL, COFFEE = 0.98, 0.42, 0.026, 0.83


def draw(*, width: int = 1200, height: int = 900, seed: int = 0) -> RGB:
    """A picture that looks like a photo of one thing, uint8 (height, width, 3).

    The mug is in the middle at any size; `seed` moves the lights behind it, the grain and the specks.
    """
    return still_life(width=width, height=height, seed=seed)[0]


def still_life(*, width: int, height: int, seed: int) -> tuple[RGB, Alpha]:
    """`draw` with the true alpha of its subject."""
    import cv2

    random = np.random.default_rng(seed)
    picture = _surroundings(width, height, random)

    # Only rays near the mug can hit it.
    left, top, right, bottom = _bounds(width, height)
    xs = (np.arange(left * SUPERSAMPLES, right * SUPERSAMPLES, dtype=np.float32) + 0.5) / SUPERSAMPLES
    ys = (np.arange(top * SUPERSAMPLES, bottom * SUPERSAMPLES, dtype=np.float32) + 0.5) / SUPERSAMPLES
    alpha = np.zeros((height, width), np.float32)
    if len(xs) and len(ys):
        x, y = np.meshgrid(xs, ys)
        direction = _rays(x.astype(np.float32), y.astype(np.float32), width, height)
        eye = np.broadcast_to(np.array(EYE, np.float32)[:, None], direction.shape)
        distance, hit = _march(eye, direction, 8.0)
        colour = np.zeros((direction.shape[1], 3), np.float32)
        colour[hit] = _film(_shade(eye[:, hit] + distance[hit] * direction[:, hit], direction[:, hit], random))
        shape = (len(ys), len(xs))
        size = (right - left, bottom - top)
        coverage = cv2.resize(hit.reshape(shape).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        mug = cv2.resize(colour.reshape(*shape, 3), size, interpolation=cv2.INTER_AREA)
        alpha[top:bottom, left:right] = coverage
        picture[top:bottom, left:right] *= 1 - coverage[..., None]
        picture[top:bottom, left:right] += mug

    # A lens is never perfectly sharp, darkens its corners, and a sensor has noise.
    sharpness = 0.55 * height / 900
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sharpness), np.float32)
    alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), sharpness), np.float32)
    across, down = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    picture *= (1 - 0.22 * np.clip((across**2 + down[:, None] ** 2) / 2, 0, 1) ** 1.5)[..., None]
    noise = random.standard_normal((height, width, 3), np.float32)
    picture += 0.006 * (0.35 * noise + 0.65 * noise.mean(axis=2, keepdims=True))
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8), np.clip(alpha, 0, 1).astype(np.float32)


# geometry


def _mug(p: Floats) -> tuple[Floats, Floats]:
    """Signed distances of the points to the ceramic and to the coffee."""
    x, y, z = p
    r = np.hypot(x, z) - 0.045 * (y - 0.5)
    # A cylinder with a rounded bottom and no top, solid; its shell is the mug.
    corner = 0.15
    out, down = r - (RADIUS - corner), WALL + corner - y
    solid = np.minimum(np.maximum(out, down), 0) + np.hypot(np.maximum(out, 0), np.maximum(down, 0)) - corner
    shell = _smooth_max(np.abs(solid) - WALL, y - HEIGHT, 0.035)
    # The handle: a tube along a rounded rectangle that stands on edge.
    u, w = x * HANDLE[0] + z * HANDLE[1], x * HANDLE[1] - z * HANDLE[0]
    along, up = np.abs(u - 0.47) - 0.05, np.abs(y - 0.53) - 0.09
    ring = np.minimum(np.maximum(along, up), 0) + np.hypot(np.maximum(along, 0), np.maximum(up, 0)) - 0.20
    tube = np.maximum(np.hypot(ring, 0.72 * w) - 0.046, -solid)
    return _smooth_min(shell, tube, 0.07), np.maximum(solid, y - COFFEE)


def _distance(p: Floats) -> Floats:
    ceramic, coffee = _mug(p)
    return np.asarray(np.minimum(ceramic, coffee), np.float32)


def _smooth_min(a: Floats, b: Floats, k: float) -> Floats:
    blend = np.maximum(k - np.abs(a - b), 0) / k
    return np.asarray(np.minimum(a, b) - blend * blend * np.float32(k / 4), np.float32)


def _smooth_max(a: Floats, b: Floats, k: float) -> Floats:
    return -_smooth_min(-a, -b, k)


def _march(start: Floats, direction: Floats, limit: float) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """How far each ray goes until it meets the mug, and whether it does."""
    travelled = np.zeros(start.shape[1], np.float32)
    hit = np.zeros(start.shape[1], np.bool_)
    # Nothing but the mug stands on the table, so rays begin at a sphere around it.
    offset = start - np.array([[0.15], [0.5], [0.0]], np.float32)
    b, c = (offset * direction).sum(0), (offset * offset).sum(0) - np.float32(0.85**2)
    root = b * b - c
    near = np.maximum(-b - np.sqrt(np.maximum(root, 0)), 0)
    far = np.minimum(-b + np.sqrt(np.maximum(root, 0)), limit)
    active = np.flatnonzero((root > 0) & (far > 0))
    travelled[active] = near[active]
    for _ in range(90):
        if not len(active):
            break
        step = _distance(start[:, active] + travelled[active] * direction[:, active])
        met = step < 4e-4
        hit[active[met]] = True
        travelled[active] += np.where(met, 0, 0.92 * step)
        active = active[~met & (travelled[active] < far[active])]
    # What is still on its way creeps along the surface: a hit to any eye.
    hit[active] = True
    return travelled, hit


def _light_reaching(p: Floats, towards: tuple[float, float, float], hardness: float) -> Floats:
    """Soft shadow, 0..1: how narrowly a ray to the light misses the mug (Quilez)."""
    to = _unit(np.array(towards, np.float32)[:, None])
    light = np.ones(p.shape[1], np.float32)
    travelled = np.full(p.shape[1], 0.03, np.float32)
    active = np.arange(p.shape[1])
    for _ in range(40):
        gap = _distance(p[:, active] + travelled[active] * to)
        light[active] = np.minimum(light[active], np.clip(0.5 + 0.5 * hardness * gap / travelled[active], 0, 1))
        travelled[active] += np.clip(np.abs(gap), 0.02, 0.12)
        active = active[(travelled[active] < 2.6) & (light[active] > 0.004)]
        if not len(active):
            break
    return light * light * (3 - 2 * light)


def _normals(p: Floats) -> Floats:
    # Differences along a tetrahedron: four evaluations instead of six.
    normal = np.zeros_like(p)
    for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        k = np.array(corner, np.float32)[:, None]
        normal += k * _distance(p + np.float32(1e-3) * k)
    return _unit(normal)


def _unit(v: Floats) -> Floats:
    return np.asarray(v / np.sqrt((v * v).sum(axis=0, keepdims=True)), np.float32)


def _axes() -> tuple[Floats, Floats, Floats]:
    forward = _unit(np.array([TARGET], np.float32).T - np.array([EYE], np.float32).T)[:, 0]
    right = _unit(np.cross(forward, np.array([0, 1, 0], np.float32))[:, None])[:, 0]
    return right, np.cross(right, forward).astype(np.float32), forward


def _rays(x: Floats, y: Floats, width: int, height: int) -> Floats:
    """Directions through the picture's points, (3, n)."""
    right, up, forward = _axes()
    unit = _unit_length(width, height)
    u, v = (x.ravel() - width / 2) / unit, (height / 2 - y.ravel()) / unit
    plane = right[:, None] * u + up[:, None] * v + FOCAL * forward[:, None]
    return _unit(plane.astype(np.float32))


def _unit_length(width: int, height: int) -> float:
    """Pixels of one unit of the lens: the mug fits into upright pictures too."""
    return min(height, 0.75 * width) / 2


def _bounds(width: int, height: int) -> tuple[int, int, int, int]:
    """A rectangle of the picture that holds the mug: left, top, right, bottom."""
    right, up, forward = _axes()
    corners = np.array([(x, y, z) for x in (-0.5, 0.85) for y in (0, 1.02) for z in (-0.5, 0.5)], np.float32)
    seen = corners - np.array(EYE, np.float32)
    depth = (seen @ forward) / FOCAL
    unit = _unit_length(width, height)
    x = width / 2 + unit * (seen @ right) / depth
    y = height / 2 - unit * (seen @ up) / depth
    return (
        int(np.clip(x.min() - 2, 0, width)),
        int(np.clip(y.min() - 2, 0, height)),
        int(np.clip(x.max() + 3, 0, width)),
        int(np.clip(y.max() + 3, 0, height)),
    )


# light


def _panel(d: Floats, towards: tuple[float, float, float], half: tuple[float, float], bars: bool) -> Floats:
    """How much of a rectangular light is seen in the directions `d`, 0..1, with soft edges."""
    axis = _unit(np.array(towards, np.float32)[:, None])[:, 0]
    right = _unit(np.cross(np.array([0, 1, 0], np.float32), axis)[:, None])[:, 0]
    ahead = np.maximum(axis @ d, 1e-3)
    a, b = (right @ d) / ahead, (np.cross(axis, right).astype(np.float32) @ d) / ahead
    inside = _edge(half[0] - np.abs(a), 0.05) * _edge(half[1] - np.abs(b), half[1] * 0.45) * (axis @ d > 0.05)
    if bars:
        inside *= 1 - 0.85 * (1 - _edge(np.abs(a) - 0.03, 0.02) * _edge(np.abs(b - 0.05) - 0.03, 0.02))
    return np.asarray(inside, np.float32)


def _edge(x: Floats, soft: float) -> Floats:
    t = np.clip(x / soft * 0.5 + 0.5, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _room(d: Floats) -> Floats:
    """Light that comes from the directions `d`, (n, 3), linear."""
    up = d[1][:, None]
    above = np.array([0.30, 0.27, 0.26], np.float32) * (0.25 + 0.75 * np.clip(up, 0, 1))
    side = np.array([0.20, 0.10, 0.05], np.float32) * np.exp(-((up - 0.12) ** 2) * 9)
    table = np.array([0.30, 0.145, 0.06], np.float32) * np.clip(
        0.9 + 0.3 * d[2][:, None] - 0.25 * d[0][:, None], 0.2, 1.2
    )
    light = np.where(up > 0, above + side, table * _edge(-up, 0.15))
    light = light + _panel(d, WINDOW, (0.36, 1.30), bars=True)[:, None] * np.array([5.6, 5.4, 5.1], np.float32)
    light += _panel(d, STRIP, (0.13, 0.95), bars=False)[:, None] * np.array([3.4, 2.3, 1.3], np.float32)
    light += _panel(d, BEHIND, (0.12, 0.7), bars=False)[:, None] * np.array([1.3, 1.7, 2.2], np.float32)
    return light.astype(np.float32)


def _lambert(n: Floats, towards: tuple[float, float, float], wrap: float) -> Floats:
    to = _unit(np.array(towards, np.float32)[:, None])[:, 0]
    return np.asarray(np.clip((to @ n + wrap) / (1 + wrap), 0, 1), np.float32)[:, None]


def _shade(p: Floats, d: Floats, random: np.random.Generator) -> Floats:
    """Light that leaves the mug's points `p` towards the eye, seen along `d`; (n, 3), linear."""
    ceramic, coffee = _mug(p)
    liquid = (coffee < ceramic)[:, None]
    n = _normals(p)
    n = np.where(liquid.T, np.array([[0], [1], [0]], np.float32), n)
    base, gloss = _glaze(p, n, random)
    base = np.where(liquid, _coffee(p), base)
    gloss = np.where(liquid, np.float32(0.8), gloss)

    # Ambient occlusion: how much nearer the mug or the table is than it would be in the open.
    open_to = np.ones(p.shape[1], np.float32)
    for reach in (0.05, 0.12, 0.25):
        q = p + reach * n
        open_to -= 0.30 * np.clip(reach - np.minimum(_distance(q), q[1]), 0, reach) / reach
    ambient = np.clip(open_to, 0.05, 1)[:, None]
    shadow = _light_reaching(p + np.float32(0.01) * n, WINDOW, 5.0)[:, None]

    sky, bounce = np.array([0.36, 0.37, 0.42], np.float32), np.array([0.34, 0.19, 0.09], np.float32)
    light = ambient * (sky * (0.5 + 0.5 * n[1][:, None]) + bounce * (0.5 - 0.5 * n[1][:, None]))
    light += np.array([2.15, 2.0, 1.8], np.float32) * _lambert(n, WINDOW, 0.12) * shadow
    light += np.array([0.95, 0.58, 0.28], np.float32) * _lambert(n, STRIP, 0.1) * ambient

    facing = -(n * d).sum(axis=0)
    mirrored = d + 2 * facing * n
    # A perfect mirror at the outline would glitter there: two rays a pixel cannot resolve what it shows.
    fresnel = (0.045 + 0.42 * np.clip(1 - facing, 0, 1) ** 5)[:, None]
    return np.asarray(base * light + gloss * fresnel * _room(mirrored) * np.clip(0.25 + ambient, 0, 1), np.float32)


def _glaze(p: Floats, n: Floats, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Colour and gloss of the ceramic: glazed outside, cream inside, bare clay at the foot."""
    x, y, z = p
    angle = np.arctan2(z, x)
    wave = sum(a * np.sin(k * angle + f) for a, k, f in ((0.020, 3, 0.4), (0.012, 7, 1.9), (0.006, 17, 4.0)))
    mottle = _cloud(p * 5.0, random) * 0.6 + _cloud(p * 17.0, random) * 0.4
    speckle = _specks(p * 27.0, random)[:, None]

    outside = np.array([0.006, 0.070, 0.088], np.float32) * (0.75 + 0.55 * mottle[:, None])
    outside = outside * (1 + 0.5 * np.exp(-((y - 0.27) ** 2) / 0.012))[:, None]
    clay = np.array([0.48, 0.33, 0.21], np.float32) * (0.85 + 0.3 * mottle[:, None]) * (1 - 0.55 * speckle)
    cream = np.array([0.66, 0.58, 0.46], np.float32) * (0.94 + 0.12 * mottle[:, None])
    rust = np.array([0.26, 0.105, 0.035], np.float32) * (0.7 + 0.6 * mottle[:, None])

    radial = (n[0] * x + n[2] * z) / np.maximum(np.hypot(x, z), 1e-4)
    within = np.hypot(x, z) - 0.045 * (y - 0.5) < RADIUS
    glazed = _edge(np.asarray(y - 0.20 - wave, np.float32), 0.012)[:, None]
    colour = clay * (1 - glazed) + outside * (1 - 0.5 * speckle) * glazed
    colour = np.where((within & (y > 0.1))[:, None], cream, colour)
    # Glaze runs thin at an edge, and the iron in the clay shows.
    rim = np.exp(-(((y - HEIGHT) / 0.022) ** 2))[:, None] * np.clip(1.4 - 0.4 * np.abs(radial), 0, 1)[:, None]
    colour = colour * (1 - 0.85 * rim) + rust * 0.85 * rim
    gloss = np.where((within & (y > 0.1))[:, None], 0.8, 0.06 + 0.94 * glazed)
    return np.asarray(colour, np.float32), np.asarray(gloss, np.float32)


def _coffee(p: Floats) -> Floats:
    r = np.hypot(p[0], p[2])[:, None] / RADIUS
    foam = np.exp(-(((r - 0.97) / 0.07) ** 2))
    dark, light = np.array([0.030, 0.012, 0.005], np.float32), np.array([0.30, 0.15, 0.055], np.float32)
    return np.asarray(dark * (1 - foam) + light * foam, np.float32)


def _cloud(p: Floats, random: np.random.Generator) -> Floats:
    """Smooth noise in 0..1 at the points `p` (value noise on a lattice that repeats after 32 steps)."""
    lattice = random.random((32, 32, 32), np.float32)
    cell = np.floor(p)
    f = p - cell
    f = f * f * (3 - 2 * f)
    i, j, k = cell.astype(np.int64) & 31
    total = np.zeros(p.shape[1], np.float32)
    for a in (0, 1):
        for b in (0, 1):
            for c in (0, 1):
                weight = np.abs(1 - a - f[0]) * np.abs(1 - b - f[1]) * np.abs(1 - c - f[2])
                total += weight * lattice[(i + a) & 31, (j + b) & 31, (k + c) & 31]
    return total


def _specks(p: Floats, random: np.random.Generator) -> Floats:
    """Small round spots, 0..1: at most one in each unit cube."""
    where = random.uniform(0.25, 0.75, (3, 32, 32, 32)).astype(np.float32)
    size = (0.25 * random.random((32, 32, 32)) ** 3).astype(np.float32)
    cell = np.floor(p)
    i, j, k = cell.astype(np.int64) & 31
    gap = p - cell - where[:, i, j, k]
    return _edge(size[i, j, k] - np.sqrt((gap * gap).sum(axis=0)), 0.04)


# surroundings


def _surroundings(width: int, height: int, random: np.random.Generator) -> Floats:
    """Table and background without the mug, (height, width, 3) in 0..1, ready to be seen."""
    import cv2

    x, y = np.meshgrid(np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5)
    d = _rays(x, y, width, height)
    eye = np.array(EYE, np.float32)[:, None]
    distance = np.where(d[1] < -1e-3, -eye[1] / np.minimum(d[1], -1e-3), 100).astype(np.float32)
    p = eye + distance * d
    on_table = (p[2] > TABLE_END) & (d[1] < -1e-3)
    table = np.zeros((d.shape[1], 3), np.float32)
    table[on_table] = _wood(p[:, on_table], random)
    table *= _table_light(width, height)
    back = _backdrop(width, height, random)

    # Depth of field: copies of growing blur, mixed by how far behind the mug a point is.
    mask = on_table.reshape(height, width).astype(np.float32)
    behind = np.clip((-0.2 - p[2]).reshape(height, width) * mask + 3 * (1 - mask), 0, 3)
    before = np.clip((p[2] - 0.7).reshape(height, width) * mask, 0, 3)
    wanted = np.maximum(behind * 0.0055, before * 0.0045) * height
    sharp = table.reshape(height, width, 3) * mask[..., None] + back * (1 - mask[..., None])
    levels = [0.0, 0.0025 * height, 0.006 * height, 0.013 * height]
    result = np.asarray(sharp, np.float32)
    for lower, sigma in pairwise(levels):
        blurred = cv2.GaussianBlur(sharp, (0, 0), sigma)
        mix = np.clip((wanted - lower) / (sigma - lower), 0, 1)[..., None]
        result = np.asarray(result * (1 - mix) + blurred * mix, np.float32)
    return _film(result)


def _wood(p: Floats, random: np.random.Generator) -> Floats:
    """Planks that run from left to right."""
    x, z = p[0], p[2]
    plank = np.floor((z + 0.25) / 0.95)
    shift = plank * 7.3
    flat = np.stack([x * 0.35 + shift, plank, z * 1.6])
    bend = _cloud(flat, random)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (z * 3.2 + bend * 3.4 + shift))
    grain = _cloud(np.stack([x * 2.2 + shift, plank * 3, z * 85 + bend * 9]), random)
    pores = _edge(_cloud(np.stack([x * 5 + shift, plank * 5, z * 160]), random) - 0.72, 0.1)
    tone = (0.55 + 0.28 * rings + 0.34 * grain - 0.22 * pores + 0.10 * np.sin(plank * 4.7))[:, None]
    colour = np.array([0.20, 0.088, 0.036], np.float32) * tone
    gap = np.abs((z + 0.25) / 0.95 - np.round((z + 0.25) / 0.95))
    return np.asarray(colour * (0.25 + 0.75 * _edge(gap.astype(np.float32) - 0.006, 0.006))[:, None], np.float32)


def _table_light(width: int, height: int) -> Floats:
    """Light on the table with the mug's shadow, as a factor (height * width, 3)."""
    import cv2

    # Shadows are smooth: a quarter of the resolution is enough.
    w, h = max(8, width // 3), max(8, height // 3)
    x, y = np.meshgrid((np.arange(w, dtype=np.float32) + 0.5), (np.arange(h, dtype=np.float32) + 0.5))
    d = _rays(x * (width / w), y * (height / h), width, height)
    eye = np.array(EYE, np.float32)[:, None]
    p = eye + np.where(d[1] < -1e-3, -eye[1] / np.minimum(d[1], -1e-3), 100).astype(np.float32) * d
    near = np.flatnonzero((np.abs(p[0]) < 2.6) & (np.abs(p[2]) < 2.0))
    key, contact = np.ones(w * h, np.float32), np.ones(w * h, np.float32)
    key[near] = _light_reaching(p[:, near], WINDOW, 3.2)
    for reach in (0.04, 0.10, 0.22, 0.40):
        q = p[:, near] + np.array([[0], [reach], [0]], np.float32)
        contact[near] -= 0.25 * np.clip(reach - _distance(q), 0, reach) / reach
    pool = np.exp(-((p[0] + 0.55) ** 2 / 5.5 + (p[2] - 0.2) ** 2 / 4.5))
    light = np.array([2.3, 2.1, 1.85], np.float32) * (key * (0.16 + 0.90 * pool))[:, None]
    light *= (0.25 + 0.75 * contact)[:, None]
    light = light + np.array([0.40, 0.40, 0.46], np.float32) * (contact**1.5 * (0.30 + 0.70 * pool))[:, None]
    light = light.reshape(h, w, 3).astype(np.float32)
    return np.asarray(cv2.resize(light, (width, height), interpolation=cv2.INTER_CUBIC), np.float32).reshape(-1, 3)


def _backdrop(width: int, height: int, random: np.random.Generator) -> Floats:
    """Evening lights far out of focus, linear."""
    import cv2

    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    warm, cool = np.array([0.115, 0.050, 0.022], np.float32), np.array([0.012, 0.020, 0.030], np.float32)
    aspect = width / height
    glow = np.exp(-((x - 0.72 * aspect) ** 2 / 0.35 + (y - 0.22) ** 2 / 0.10))[..., None]
    picture = (cool * (1 - glow) + warm * glow).astype(np.float32)
    picture += np.array([0.03, 0.035, 0.04], np.float32) * np.exp(-((x - 0.1 * aspect) ** 2 / 0.2))[..., None]
    for _ in range(34):
        cx, cy = random.uniform(0, aspect), random.uniform(-0.05, 0.34)
        radius, strength = random.uniform(0.022, 0.060), random.uniform(0.03, 0.30)
        tint = strength * np.array(LIGHTS[random.integers(len(LIGHTS))], np.float32)
        box = tuple(slice(*(max(0, int((c + r) * height)) for r in (-0.08, 0.08))) for c in (cy, cx))
        away = np.hypot(x[box] - cx, y[box] - cy)
        # The disc of a real lens is a little brighter at its edge.
        disc = _edge((radius - away).astype(np.float32), 0.004) * (0.8 + 0.3 * (away / radius) ** 4)
        picture[box] += disc[..., None] * tint
    return np.asarray(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 0.0025 * height), np.float32)


def _film(light: Floats) -> Floats:
    """Linear light to display values in 0..1: a filmic curve (Narkowicz 2015), then sRGB's gamma, roughly."""
    x = np.float32(0.72) * np.maximum(light, 0)
    curve = x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)
    return np.asarray(np.clip(curve, 0, 1) ** np.float32(1 / 2.2), np.float32)


def main() -> None:
    """Write the picture that the package ships."""
    from pathlib import Path

    import mattebox
    from mattebox import codec, files
    from mattebox.edit import Format, Output
    from mattebox.image import Image

    target = Path(mattebox.__file__).parent / "photo.jpg"
    files.write(target, codec.encode(Image(rgb=draw()), Output(format=Format.JPEG, quality=90)))


if __name__ == "__main__":
    main()

"""The materials of tables and floors: wood, stone, marble."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mattebox.backdrops.studio.frame import Frame, Triple, smoothstep
from mattebox.backdrops.studio.noise import Floats, Mosaic, seen
from mattebox.backdrops.studio.plane import PlaneBand, Surface

WOODS: tuple[tuple[Triple, Triple], ...] = (
    ((0.60, 0.385, 0.205), (0.36, 0.190, 0.080)),
    ((0.42, 0.225, 0.105), (0.20, 0.088, 0.034)),
    ((0.22, 0.112, 0.058), (0.085, 0.038, 0.018)),
    ((0.66, 0.490, 0.310), (0.47, 0.305, 0.165)),
)
"""Early and late wood, linear: oak, cherry, walnut, ash."""
GRANITES: tuple[tuple[Triple, Floats, Floats], ...] = (
    (
        (0.105, 0.105, 0.106),
        np.array([0.15, 0.20, 0.30, 0.50, 0.65, 0.80, 1.05, 1.60, 2.20], np.float32),
        np.array([0, 0, 0, 0, 0, 0, 0.40, 1.2, 1.6], np.float32),
    ),
    (
        (0.36, 0.345, 0.33),
        np.array([0.14, 0.22, 0.62, 0.75, 0.88, 1.00, 1.10, 1.30, 1.45], np.float32),
        np.array([0, 0, 0, 0, 0, 0, 0.80, 1.35, 1.50], np.float32),
    ),
)
"""Dark and pale granite: linear colour, tones of its fine grains, of its large ones (0: none here)."""
SLATES: tuple[Triple, ...] = ((0.047, 0.053, 0.061), (0.051, 0.055, 0.052), (0.055, 0.052, 0.057))
"""Linear: blue, green, purple."""


def wood(frame: Frame, *, plank: float = 0.30, dull: float = 0.0, away: bool | None = None) -> Surface:
    """Planks cut from logs: year rings cut at a slant, fibres, pores, knots, seams."""
    random, noise = frame.random, frame.noise
    early, late = (np.array(c, np.float32) for c in WOODS[int(random.integers(len(WOODS)))])
    if dull:
        grey = np.array([0.20, 0.17, 0.14], np.float32)
        early, late = (c * (1 - dull) + grey * c.mean() * 5 * dull for c in (early, late))
    lengthwise = bool(random.random() < 0.5) if away is None else away
    table = noise.table
    offset = float(random.uniform(0, 50))
    knots = [
        (float(random.uniform(-1.6, 1.6)), float(random.uniform(1.2, 3.4)), float(random.uniform(0.010, 0.022)))
        for _ in range(int(random.integers(4, 9)))
    ]

    def surface(view: PlaneBand) -> tuple[Floats, Floats | float]:
        a, b, da, db = (view.z, view.x, view.dz, view.dx) if lengthwise else (view.x, view.z, view.dx, view.dz)
        place = (b + np.float32(offset)) / np.float32(plank)
        number = np.floor(place)
        t = place - number
        index = number.astype(np.int32)

        def each(k: int) -> Floats:
            return np.asarray(table[(index * 7 + k * 131) & 1023], np.float32)

        shifted = a + 9.7 * each(0)
        bend = noise.at(shifted, b, (1.6, 4.0), 1)
        depth = 0.42 + 0.24 * noise.at(shifted, number, (0.8, 1.7), 2)
        centre = 2.4 * each(1) - 0.7
        r = np.hypot(t - centre + 0.028 * bend, depth)
        rings = r * (11 + 8 * each(2)) + 0.11 * noise.fractal(shifted, b, (1.5, 20.0), 3, octaves=3, du=da, dv=db)
        bulge, dark = _knots(
            a, b, [(kz, kx, size) if lengthwise else (kx, kz, size) for kx, kz, size in knots], plank, offset
        )
        rings += bulge
        late_share = rings - np.floor(rings)
        # Rings narrow: as late wood builds up it darkens, then spring begins at once; blurred where it is too fine.
        speed = (15 / plank) * db
        sharp = np.clip(0.10 + speed, 0.1, 0.9)
        p = late_share * late_share * np.clip((1 - late_share) / sharp, 0, 1)
        p = 0.26 + (p - np.float32(0.26)) * np.exp(-2.0 * speed * speed)
        fibre = noise.fractal(shifted, b, (4.0, 120.0), 8, octaves=3, gain=0.8, du=da, dv=db)
        pores = noise.at(shifted, b, (22.0, 420.0), 12, np.asarray(seen((22.0, 420.0), da, db)))
        broad = noise.fractal(shifted, b, (0.9, 5.0), 14, octaves=2)
        mix = 0.60 * p + 0.15 * fibre + 0.11 * broad + 0.30 * np.clip(pores - 1.1, 0, 2) + dark + 0.30 * each(3)
        np.clip(mix, 0, 1.5, out=mix)
        tone = (0.80 + 0.36 * each(4)) * (1 + 0.08 * fibre)
        wide = np.maximum(db / plank, 1e-4)
        gap = np.minimum(t, 1 - t)
        seam = 1 - 0.80 * np.exp(-((gap / (0.008 + 0.9 * wide)) ** 2)) * np.clip(0.012 / (0.008 + 0.9 * wide), 0, 1)
        bevel = 1 + 0.10 * np.exp(-(((t - 0.025) / (0.012 + wide)) ** 2)) * np.clip(0.02 / (0.012 + wide), 0, 1)
        tone = np.asarray(tone * seam * bevel, np.float32)
        planes = np.stack([tone * (c + (d - c) * mix) for c, d in zip(early, late, strict=True)])
        np.clip(planes, 0.004, 1, out=planes)
        return planes, np.asarray((0.92 + 0.10 * fibre - 0.2 * np.clip(dark, 0, 1)) * seam, np.float32)

    return surface


def _knots(a: Floats, b: Floats, knots: list[Triple], plank: float, offset: float) -> tuple[Floats, Floats]:
    """How far knots (along, across, size) push the rings, and how dark they are."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    bulge, dark = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for ka, kb, size in knots:
        near = (np.abs(a - ka).min(axis=1) < 9 * size) & (np.abs(b - kb).min(axis=1) < 6 * size)
        rows = np.flatnonzero(near)
        if not len(rows):
            continue
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        pa, pb = a[part], b[part]
        # A knot ends where its plank does.
        own = np.floor((kb + offset) / plank) == np.floor((pb + np.float32(offset)) / np.float32(plank))
        d2 = ((pa - ka) / (1.7 * size)) ** 2 + ((pb - kb) / size) ** 2
        bulge[part] += own * 3.4 * np.exp(-d2 / 5.5)
        core = np.exp(-((d2 / 1.1) ** 1.3))
        rim = np.exp(-((np.sqrt(d2) - 1.25) ** 2) / 0.06)
        dark[part] += own * (0.62 * core + 0.35 * rim)
    return bulge, dark


def stone(frame: Frame) -> Surface:
    """One of the stones of tables: slate, dark or pale granite, limestone."""
    match int(frame.random.integers(4)):
        case 0:
            return _slate(frame)
        case 1:
            return _granite(frame, GRANITES[0])
        case 2:
            return _granite(frame, GRANITES[1])
        case _:
            return honed_stone(frame, color=(0.44, 0.40, 0.34))


def honed_stone(frame: Frame, *, color: Triple, worn: float = 0.0) -> Surface:
    """Clouds, grains, pits, and a relief that light from the side shows; `worn` 1 is a trodden floor."""
    noise = frame.noise
    base = np.array(color, np.float32)
    turned = _turned(frame)

    def surface(view: PlaneBand) -> tuple[Floats, Floats | float]:
        u, v, blur = turned(view)
        clouds = noise.fractal(u, v, (1.3, 1.9), 1, octaves=7, gain=0.60, du=blur, dv=blur)
        grains = noise.fractal(u, v, (95.0, 95.0), 8, octaves=3, gain=0.9, du=blur, dv=blur)
        relief = noise.fractal(u, v, (52.0, 60.0), 14, octaves=3, gain=0.80, du=blur, dv=blur)
        lee = noise.fractal(
            u + np.float32(0.0025), v - np.float32(0.0015), (52.0, 60.0), 14, octaves=3, gain=0.80, du=blur, dv=blur
        )
        specks = noise.at(u, v, (150.0, 150.0), 22, np.asarray(seen((150.0, 150.0), blur, blur)))
        wander = noise.fractal(u, v, (2.1, 2.1), 25, octaves=3, gain=0.55)
        tone = 1 + (0.045 + 0.11 * worn) * clouds + (1 - 0.5 * worn) * (0.040 * grains + 0.03 * (relief - lee))
        tone -= 0.22 * np.clip(specks - 1.9 - 0.1 * worn, 0, 1.2)
        np.clip(tone, 0.15, 2.6, out=tone)
        gloss = np.asarray(np.clip(1 + 0.10 * grains + 0.22 * clouds, 0.2, 2), np.float32)
        return _tinted(np.asarray(tone, np.float32), np.asarray(0.03 * wander, np.float32), base), gloss

    return surface


def _granite(frame: Frame, minerals: tuple[Triple, Floats, Floats]) -> Surface:
    """Minerals that touch: quartz and feldspar, grains of mica, and some feldspar in large crystals."""
    noise = frame.noise
    color, fine, large = minerals
    base = np.array(color, np.float32)
    turned = _turned(frame)
    grains = Mosaic(frame.random, fine, large)

    def surface(view: PlaneBand) -> tuple[Floats, Floats | float]:
        u, v, blur = turned(view)
        clouds = noise.fractal(u, v, (1.3, 1.9), 1, octaves=5, gain=0.60, du=blur, dv=blur)
        # Crystals have no straight sides.
        bent = 0.0016 * noise.at(u, v, (110.0, 110.0), 30, np.asarray(seen((110.0, 110.0), blur, blur)))
        inner = noise.fractal(u, v, (190.0, 190.0), 8, octaves=2, gain=0.8, du=blur, dv=blur)
        mineral = grains.at(view.x + bent, view.z - bent, 150.0, blur=view.dz)
        tone = grains.mean * (1 + 0.05 * clouds) + mineral * (1 + 0.12 * inner) + 0.03 * inner
        np.clip(tone, 0.10, 2.6, out=tone)
        # Mica is dull between polished quartz.
        gloss = np.asarray(np.clip(1 + 0.15 * clouds + 0.35 * mineral, 0.3, 1.6), np.float32)
        return _tinted(tone, np.asarray(0.035 * np.clip(mineral, -1, 1), np.float32), base), gloss

    return surface


def _slate(frame: Frame) -> Surface:
    """Slate as it splits: thin sheets that end in ledges, a grain along the cleavage, here and there rust."""
    noise, table = frame.noise, frame.noise.table
    base = np.array(SLATES[int(frame.random.integers(len(SLATES)))], np.float32)
    turned = _turned(frame)
    sheets = np.float32(frame.random.uniform(3.2, 5.0))

    def surface(view: PlaneBand) -> tuple[Floats, Floats | float]:
        u, v, blur = turned(view)
        bent = noise.fractal(u, v, (1.1, 1.7), 44, octaves=8, gain=0.55, du=blur, dv=blur)
        ramp = sheets * (v + np.float32(0.20) * bent)
        number = np.asarray(np.floor(ramp), np.float32)
        # Distance to the ledge between this sheet and the next, in units: first its bright brink, then its shadow.
        away = (ramp - number - np.float32(0.5)) / sheets
        index = number.astype(np.int32)
        high = np.clip(0.15 + 0.7 * noise.fractal(u, number * 3.1, (2.2, 1.0), 52, octaves=3, gain=0.6), 0, 1.3)
        wide = np.hypot(np.float32(0.0045), blur)
        share = high * np.float32(0.0045) / wide
        brink, foot = np.exp(-(((away - 0.005) / wide) ** 2)), np.exp(-(((away + 0.003) / wide) ** 2))
        shade = np.exp(-np.abs(away + 0.004) / (0.018 + blur)) * (away < 0)
        ledge = share * (0.40 * brink - 0.70 * foot) - 0.16 * high * shade
        # The sheet differs in tone from the ledge onwards, not from where the ramp is cut.
        upper = smoothstep(away, 2 * wide)
        sheet = table[(index * 13 + 5) & 1023] * (1 - upper) + table[(index * 13 + 18) & 1023] * upper
        streaks = noise.fractal(u, v, (7.0, 34.0), 8, octaves=4, gain=0.72, du=blur, dv=blur)
        grains = noise.fractal(u, v, (40.0, 110.0), 14, octaves=3, gain=0.9, du=blur, dv=blur)
        clouds = noise.fractal(u, v, (1.3, 1.9), 1, octaves=5, gain=0.60, du=blur, dv=blur)
        rust = np.clip(noise.fractal(u, v, (1.2, 3.0), 25, octaves=5, gain=0.6) - 1.0, 0, 1.5) * (0.5 + 0.5 * high)
        tone = 1 + 0.13 * (sheet - 0.5) + 0.06 * streaks + 0.060 * grains + 0.06 * clouds + ledge
        np.clip(tone, 0.15, 2.6, out=tone)
        gloss = np.asarray(
            np.clip(0.80 + 0.3 * (sheet - 0.5) + 0.10 * streaks + 0.10 * grains + 0.5 * ledge, 0.2, 2), np.float32
        )
        return _tinted(tone, np.asarray(0.02 * clouds + 0.15 * rust, np.float32), base), gloss

    return surface


def _turned(frame: Frame) -> Callable[[PlaneBand], tuple[Floats, Floats, Floats]]:
    """A plane's points in the directions of a stone, which lies at an angle, and how much one pixel blurs them."""
    angle = float(frame.random.uniform(0.3, 0.9))
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return lambda view: (
        cos * view.x + sin * view.z,
        cos * view.z - sin * view.x,
        np.hypot(view.dx, view.dz * 0.7),
    )


def _tinted(tone: Floats, warm: Floats, base: Floats) -> Floats:
    """Albedo: `base` times `tone`, redder and less blue where it is `warm`."""
    return np.stack([tone * (1 + warm) * base[0], tone * base[1], tone * (1 - warm) * base[2]]).astype(np.float32)


def marble(frame: Frame) -> Surface:
    """Veins are lines of a ramp that noise bends (never contours of noise, which close like those of a map)."""
    random, noise = frame.random, frame.noise
    kinds: tuple[tuple[Triple, Triple], ...] = (
        ((0.76, 0.755, 0.74), (0.22, 0.225, 0.235)),
        ((0.80, 0.785, 0.745), (0.33, 0.25, 0.165)),
        ((0.018, 0.018, 0.020), (0.62, 0.60, 0.56)),
    )
    which = int(random.choice(len(kinds), p=(0.5, 0.3, 0.2)))
    base, vein = (np.array(c, np.float32) for c in kinds[which])
    angle = float(random.uniform(0.5, 1.0)) * float(random.choice([-1, 1]))
    # In dark stone the veins are crystal, with nothing bled into what is around them.
    bled = 0.30 if which < 2 else 0.06
    table = noise.table

    def family(
        view: PlaneBand, blur: Floats, *, turn: float, density: float, width: float, bend: float, key: int
    ) -> Floats:
        cos, sin = np.float32(np.cos(angle + turn)), np.float32(np.sin(angle + turn))
        u, v = cos * view.x + sin * view.z, cos * view.z - sin * view.x
        # Warped twice: the bends are bent, as in stone that flowed.
        first = noise.fractal(u, v, (0.9, 1.5), key, octaves=3, gain=0.5, du=blur, dv=blur)
        u2, v2 = u + 0.20 * first, v + 0.10 * first
        second = noise.fractal(u2, v2, (1.5, 1.9), key + 4, octaves=7, gain=0.47, du=blur, dv=blur)
        ramp = v2 * density + bend * second
        number = np.floor(ramp)
        t = np.abs(ramp - number - np.float32(0.5)) / np.float32(density)
        index = number.astype(np.int32)
        strength = table[(index * 13 + key * 57) & 1023]
        along = noise.fractal(u, number * 3.1, (1.5, 1.0), key + 11, octaves=3, gain=0.6)
        swell = np.clip(0.75 + 0.55 * along, 0.05, 2.2) * (0.35 + 1.1 * strength * strength)
        w = width * swell
        wide = np.sqrt(w * w + blur * blur)
        fine = np.exp(-((t / wide) ** 1.3)) * (w / wide)
        halo = np.exp(-t / (7 * w + blur))
        fade = np.clip(0.65 + 0.6 * along, 0.06, 1)
        return np.asarray((0.80 * fine + bled * halo) * fade * np.clip(0.35 + strength, 0, 1), np.float32)

    def surface(view: PlaneBand) -> tuple[Floats, Floats | float]:
        blur = np.hypot(view.dx, view.dz * 0.7).astype(np.float32)
        clouds = noise.fractal(view.x, view.z, (1.1, 1.1), 40, octaves=6, gain=0.62, du=blur, dv=blur)
        amount = family(view, blur, turn=0.0, density=2.1, width=0.0100, bend=0.25, key=1)
        amount += 0.75 * family(view, blur, turn=0.50, density=3.3, width=0.0042, bend=0.28, key=22)
        amount += 0.45 * family(view, blur, turn=-0.35, density=4.7, width=0.0022, bend=0.30, key=31)
        amount += 0.085 * np.clip(clouds + 0.4, 0, 3)
        crystals = noise.fractal(view.x, view.z, (170.0, 170.0), 50, octaves=2, gain=0.8, du=blur, dv=blur)
        np.clip(amount, 0, 1, out=amount)
        tone = 1 + 0.010 * crystals + 0.02 * clouds
        return np.stack([tone * (c + (d - c) * amount) for c, d in zip(base, vein, strict=True)]).astype(
            np.float32
        ), 1.0

    return surface

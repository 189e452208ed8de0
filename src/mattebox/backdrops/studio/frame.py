"""The picture to be made, and how light becomes pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mattebox import color
from mattebox.backdrops.plate import Light
from mattebox.backdrops.studio.noise import Floats, Noise
from mattebox.image import RGB

Triple: TypeAlias = tuple[float, float, float]

BAND = 128
"""Rows that are computed at a time."""
SMOOTH = 176
"""Largest shorter side, in pixels, of what is computed small because it is smooth."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """The picture to be made. Lengths are in units of its shorter side, unless they are said to be pixels."""

    width: int
    height: int
    random: np.random.Generator
    noise: Noise
    color: Floats | None
    room: RGB | None

    @property
    def short(self) -> int:
        """The shorter side in pixels: the unit of length."""
        return min(self.width, self.height)

    @property
    def span(self) -> float:
        """From the middle to a side."""
        return self.width / self.short / 2

    def small(self, limit: int) -> tuple[Floats, Floats]:
        """Coordinates of a smaller picture: x (1, columns) from its middle, y (rows, 1) as fraction of the height."""
        scale = min(1.0, limit / self.short)
        columns, rows = max(2, round(self.width * scale)), max(2, round(self.height * scale))
        x = ((np.arange(columns) + 0.5) / columns - 0.5) * self.width / self.short
        return x[None].astype(np.float32), ((np.arange(rows) + 0.5) / rows)[:, None].astype(np.float32)

    def down(self, y: Floats) -> Floats:
        """Fractions of the height as lengths."""
        return np.asarray(y * np.float32(self.height / self.short), np.float32)

    def pick(self, colors: tuple[Triple, ...]) -> Floats:
        """The colour asked for, or one of these; linear."""
        chosen = linear(colors[int(self.random.integers(len(colors)))])
        return chosen if self.color is None else self.color


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shot:
    """A backdrop before the camera: `rows(top, bottom)` is the light of a band, (3, rows, width), linear."""

    rows: Callable[[int, int], Floats]
    light: Light
    horizon: float | None = None
    grain: float = 1.1
    vignette: float = 0.10


class Enlarged:
    """A small picture, enlarged to the frame's size band by band, the same however the bands are cut."""

    def __init__(self, planes: Floats, frame: Frame) -> None:
        import cv2

        self._width = frame.width
        # Rows first, once; columns when a band is asked for: neither step then looks across a band's border.
        small = planes.shape[2]
        self._tall = [cv2.resize(p, (small, frame.height), interpolation=cv2.INTER_CUBIC) for p in planes]

    def rows(self, top: int, bottom: int) -> Floats:
        """The rows from `top` to before `bottom`, (3, rows, width)."""
        import cv2

        size = (self._width, bottom - top)
        return np.stack([cv2.resize(p[top:bottom], size, interpolation=cv2.INTER_CUBIC) for p in self._tall])


def develop(set_: Shot, frame: Frame) -> RGB:
    """Light to pixels: vignette, shoulder, sRGB's curve, grain, rounding."""
    import cv2

    width, height = frame.width, frame.height
    # Grain is the same in all channels for the most part, as demosaicing leaves it.
    side = 512
    noise = frame.random.standard_normal((4, side, side), np.float32)
    grain = 0.8 * noise[:1] + 0.6 * noise[1:]
    grain *= np.float32(set_.grain)
    grain = np.tile(grain, (1, 1, -(-width // side) + 1))
    across = np.linspace(-1, 1, width, dtype=np.float32)[None] ** 2
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    picture = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, BAND):
        bottom = min(height, top + BAND)
        light = set_.rows(top, bottom)
        light *= 1 - np.float32(set_.vignette / 2) * (across + down[top:bottom])
        np.clip(light, 0, 1, out=light)
        # sRGB's curve by roots (Hable and others): exact to a third of a level, a tenth of the time of a power.
        root = np.sqrt(light)
        light *= np.float32(-0.0225411470 * 255)
        light += root * np.float32(0.662002687 * 255)
        root = np.sqrt(root, out=root)
        light += root * np.float32(0.684122060 * 255)
        root = np.sqrt(root, out=root)
        light -= root * np.float32(0.323583601 * 255)
        shifts = frame.random.integers(0, side, 2)
        rows = (np.arange(bottom - top) + shifts[0]) % side
        light += grain[:, rows, shifts[1] : shifts[1] + width]
        light += np.float32(0.5)
        np.clip(light, 0, 255, out=light)
        picture[top:bottom] = cv2.merge(list(light.astype(np.uint8)))
    return picture


def linear(encoded: Triple) -> Floats:
    """sRGB in 0..1 to linear light, (3, 1, 1)."""
    return color.to_linear(np.array(encoded, np.float64)).astype(np.float32).reshape(3, 1, 1)


def smoothstep(x: Floats | npt.NDArray[np.float64], soft: Floats | float = 1.0) -> Floats:
    """0 to 1 as x goes from -soft/2 to soft/2, smoothly."""
    t = np.clip(np.asarray(x, np.float32) / soft + np.float32(0.5), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def shoulder(light: Floats) -> Floats:
    """Bright light as film takes it: linear up to 0.6, then ever slower towards 1."""
    over = np.maximum(light - np.float32(0.6), 0)
    return np.asarray(np.minimum(light, 0.6) + 0.4 * over / (over + np.float32(0.4)), np.float32)


def main_light(side: float, *, up: float, front: float, tint: Triple = (1, 1, 1), strength: float) -> Light:
    """The light of a plate; `side` is -1 (left) .. 1."""
    direction = np.array([side, up, front]) / np.linalg.norm([side, up, front])
    falling = np.array(tint, np.float64)
    falling /= color.luminance(falling)
    return Light(
        direction=(float(direction[0]), float(direction[1]), float(direction[2])),
        color=(float(falling[0]), float(falling[1]), float(falling[2])),
        strength=strength,
    )


def main_side(frame: Frame) -> float:
    """From which side the main light comes: -1 or 1. Most photographers put it on the left."""
    return -1.0 if frame.random.random() < 0.65 else 1.0

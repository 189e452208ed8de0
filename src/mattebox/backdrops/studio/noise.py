"""Smooth noise on every scale, and mosaics of grains; both fade as pixel and lens blur them."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
"""Light or numbers; pictures are planes of red, green and blue, (3, rows, columns)."""


class Noise:
    """Smooth noise without end, mean 0, standard deviation 1: two tiles that repeat, looked up at any scale."""

    SIDE, COARSE, FINE = 1024, 16, 128

    def __init__(self, random: np.random.Generator) -> None:
        self._coarse, self._fine = self._tile(self.COARSE, random), self._tile(self.FINE, random)
        self._shifts = random.random((64, 2))
        self.table: Floats = random.random(1024, np.float32)

    def _tile(self, cells: int, random: np.random.Generator) -> Floats:
        import cv2

        lattice = np.pad(random.standard_normal((cells, cells), np.float32), 3, mode="wrap")
        step = self.SIDE // cells
        side = self.SIDE + 6 * step
        large = cv2.resize(lattice, (side, side), interpolation=cv2.INTER_CUBIC)
        # One more row and column: linear interpolation looks at the right neighbour.
        tile = large[3 * step : 3 * step + self.SIDE + 1, 3 * step : 3 * step + self.SIDE + 1]
        return np.ascontiguousarray(tile / tile.std(), np.float32)

    def at(self, u: Floats, v: Floats, cells: tuple[float, float], key: int, blur: Floats | float = 1.0) -> Floats:
        """Noise with so many lattice cells a unit of `u` and `v`, times `blur`; free where that is 0."""
        import cv2

        shape = np.broadcast_shapes(u.shape, v.shape)
        if isinstance(blur, np.ndarray) and blur.max() < 0.03:
            return np.zeros(shape, np.float32)
        period, tile = (self.COARSE, self._coarse) if max(cells) < 14 else (self.FINE, self._fine)
        shift = self._shifts[key % 64]
        places = []
        for where, frequency, offset in ((u, cells[0], shift[0]), (v, cells[1], shift[1])):
            p = where * np.float32(frequency / period) + np.float32(offset)
            p -= np.floor(p)
            p *= self.SIDE
            places.append(p if p.shape == shape else np.ascontiguousarray(np.broadcast_to(p, shape)))
        found = np.asarray(cv2.remap(tile, places[0], places[1], cv2.INTER_LINEAR), np.float32)
        if isinstance(blur, np.ndarray):
            found *= blur
        return found

    def fractal(
        self,
        u: Floats,
        v: Floats,
        cells: tuple[float, float],
        key: int,
        *,
        octaves: int,
        gain: float = 0.55,
        du: Floats | float = 0.0,
        dv: Floats | float = 0.0,
    ) -> Floats:
        """Octaves of noise, standard deviation 1 where all can be seen; `du`, `dv` is what pixel and lens blur."""
        total: Floats | None = None
        power = 0.0
        for octave in range(octaves):
            scale, weight = 2.03**octave, gain**octave
            each = (cells[0] * scale, cells[1] * scale)
            fade = weight * seen(each, du, dv)
            layer = self.at(u, v, each, key + octave, fade if isinstance(fade, np.ndarray) else 1.0)
            if not isinstance(fade, np.ndarray):
                layer *= np.float32(fade)
            total = layer if total is None else np.add(total, layer, out=total)
            power += weight * weight
        if total is None:
            raise ValueError("noise needs at least one octave")
        total /= np.float32(power**0.5)
        return total


def seen(cells: tuple[float, float], du: Floats | float, dv: Floats | float) -> Floats | float:
    """How much a Gaussian blur of these widths leaves of noise with so many cells a unit."""
    squares = (cells[0] * du) ** 2 + (cells[1] * dv) ** 2
    return (
        np.exp(-1.4 * squares).astype(np.float32) if isinstance(squares, np.ndarray) else float(np.exp(-1.4 * squares))
    )


class Mosaic:
    """Grains that touch, each of one tone, mean 0: a tile that repeats, kept blurred to several widths.

    The grains are the cells of points at random (Voronoi's), in two sizes. Noise can be faded out scale by scale; what
    has edges cannot, so it is looked up between the two nearest blurs instead.
    """

    SIDE, FINE, COARSE, LEVELS = 1024, 150, 54, 6
    FIRST, SQUASH = 0.30, 4.0
    """The first level's blur along `v` in fine cells, and how much less it is along `u`: planes are foreshortened."""

    def __init__(self, random: np.random.Generator, tones: Floats, large: Floats) -> None:
        """`tones` are those of the fine grains, `large` those of the coarse, 0 where the fine ones show."""
        import cv2

        fine = random.choice(tones, self.FINE**2)[self._cells(self.FINE, random)]
        coarse = random.choice(large, self.COARSE**2)[self._cells(self.COARSE, random)]
        tile = np.where(coarse == 0, fine, coarse).astype(np.float32)
        self.mean = float(tile.mean())
        tile -= np.float32(self.mean)
        margin = self.SIDE // 4
        wide = np.pad(tile, margin, mode="wrap")
        self._levels = []
        for level in range(self.LEVELS):
            sigma = self.FIRST * 2.0 ** (level - 1) * self.SIDE / self.FINE if level else 1.2
            blurred = cv2.GaussianBlur(wide, (0, 0), sigmaX=max(0.7, sigma / self.SQUASH), sigmaY=sigma)
            # One more row and column: linear interpolation looks at the right neighbour.
            end = margin + self.SIDE + 1
            self._levels.append(np.ascontiguousarray(blurred[margin:end, margin:end]))

    def _cells(self, count: int, random: np.random.Generator) -> npt.NDArray[np.int32]:
        """Which of count x count points is the nearest, (side, side)."""
        import cv2

        margin = self.SIDE // 8
        points = np.zeros((self.SIDE, self.SIDE), np.int32)
        rows, columns = random.integers(0, self.SIDE, (2, count * count))
        points[rows, columns] = np.arange(1, count * count + 1)
        padded = np.pad(points, margin, mode="wrap")
        free = (padded == 0).astype(np.uint8)
        _, labels = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        named = np.zeros(int(labels.max()) + 1, np.int32)
        taken = padded > 0
        named[labels[taken]] = padded[taken] - 1
        return np.asarray(named[labels[margin:-margin, margin:-margin]], np.int32)

    def at(self, u: Floats, v: Floats, cells: float, *, blur: Floats) -> Floats:
        """The tones with so many fine cells a unit; `blur` (rows, 1) is that of pixel and lens along `v`."""
        import cv2

        shape = np.broadcast_shapes(u.shape, v.shape)
        places = []
        for where in (u, v):
            p = where * np.float32(cells / self.FINE)
            p = (p - np.floor(p)) * np.float32(self.SIDE)
            places.append(np.ascontiguousarray(np.broadcast_to(p, shape)))
        sigma = np.maximum(blur * np.float32(cells / self.FIRST), 1e-6)
        level = np.clip(np.log2(sigma) + 1, 0, self.LEVELS - 1)
        total = np.zeros(shape, np.float32)
        for k, tile in enumerate(self._levels):
            weight = np.clip(1 - np.abs(level - k), 0, 1)
            if weight.max() > 0:
                total += weight * cv2.remap(tile, places[0], places[1], cv2.INTER_LINEAR)
        # Beyond the last level tones average out as independent ones do.
        total *= np.minimum(1, 2.0 ** (self.LEVELS - 2) / sigma)
        return total

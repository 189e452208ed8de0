"""A table or a floor in front of its background: the points it shows, the lens blur, the reflections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mattebox.backdrops.studio.frame import SMOOTH, Enlarged, Frame, shoulder, smoothstep
from mattebox.backdrops.studio.noise import Floats

Surface: TypeAlias = "Callable[[PlaneBand], tuple[Floats, Floats | float]]"
"""The material of a plane: albedo (3, rows, columns) and gloss (rows, columns) relative to the material's own."""

TABLE_HORIZON, TABLE_EDGE, BASE = 0.33, 0.62, 0.86
"""Rows as fractions of the height: horizon and far edge of a table, and where its subject stands, in focus."""
FLOOR_HORIZON, FLOOR_EDGE = 0.44, 0.70
"""The same of a floor and its wall."""
FOCAL = 1.55
"""Focal length in heights of the picture, so that a plane is foreshortened alike at any aspect."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlaneBand:
    """A band of a plane: where its points are and how much of it one pixel blurs, per row.

    `x` (rows, columns) goes right, `z` (rows, 1) away from the camera; `dx` and `dz` (rows, 1) are the blur of pixel
    and lens along them.
    """

    x: Floats
    z: Floats
    dx: Floats
    dz: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """A horizontal plane as the camera sees it. Rows here are pixels."""

    horizon: float
    edge: float
    base: float
    aperture: float

    @classmethod
    def table(cls, frame: Frame, *, aperture: float) -> Ground:
        """The top of a table; `aperture` is the largest circle of confusion, in units, at the horizon."""
        h = frame.height
        return cls(horizon=TABLE_HORIZON * h, edge=TABLE_EDGE * h, base=BASE * h, aperture=aperture)

    @classmethod
    def floor(cls, frame: Frame, *, aperture: float) -> Ground:
        """A floor before a wall; `aperture` as of a table."""
        h = frame.height
        return cls(horizon=FLOOR_HORIZON * h, edge=FLOOR_EDGE * h, base=BASE * h, aperture=aperture)

    def view(self, top: int, bottom: int, frame: Frame) -> PlaneBand:
        """The plane's points that the rows from `top` to before `bottom` show."""
        short = frame.short
        y = np.maximum(np.arange(top, bottom) + 0.5, self.edge - 4 * self.blur(self.edge, short) - 2)[:, None]
        q = (self.base - self.horizon) / np.maximum(y - self.horizon, 1.0)
        x = (np.arange(frame.width) + 0.5 - frame.width / 2) / short
        lens = np.hypot(0.55, 0.5 * self.blur(y, short))
        focal = FOCAL * frame.height
        return PlaneBand(
            x=(q * x).astype(np.float32),
            z=(q * focal / short).astype(np.float32),
            dx=(lens * q / short).astype(np.float32),
            dz=(lens * q * q * focal / (short * (self.base - self.horizon))).astype(np.float32),
        )

    def blur(self, y: npt.NDArray[np.float64] | float, short: int) -> npt.NDArray[np.float64]:
        """Diameter in pixels of the circle of confusion of the plane's point that is seen at row `y`."""
        near = (np.asarray(y, np.float64) - self.horizon) / (self.base - self.horizon)
        return np.asarray(self.aperture * short * np.abs(1 - near), np.float64)


def render_plane(
    frame: Frame, ground: Ground, *, behind: Floats, surface: Surface, light: Floats, gloss: float, rough: float
) -> Callable[[int, int], Floats]:
    """A plane before `behind` (3, rows, columns; any size), which it reflects: `gloss` 1 is polish, `rough` 0..1."""
    import cv2

    back = Enlarged(behind, frame)
    lit = Enlarged(light, frame)
    # Fresnel (Schlick) by row; what is reflected is the picture above the edge, upside down, the more blurred the
    # farther from the edge.
    _, y = frame.small(SMOOTH)
    rows = len(y)
    columns = max(2, round(behind.shape[2] * min(1.0, rows / behind.shape[1])))
    edge = ground.edge / frame.height
    tiny = [cv2.resize(p, (columns, rows), interpolation=cv2.INTER_AREA) for p in behind]
    source = np.clip((2 * edge - y.ravel()) * rows - 0.5, 0, edge * rows - 1.5).astype(np.float32)
    onto = np.ascontiguousarray(np.broadcast_to(source[:, None], (rows, columns)))
    along = np.ascontiguousarray(np.broadcast_to(np.arange(columns, dtype=np.float32), (rows, columns)))
    sharp = np.stack([cv2.remap(p, along, onto, cv2.INTER_LINEAR) for p in tiny])
    unit = rows * frame.short / frame.height
    soft = np.stack([cv2.GaussianBlur(p, (0, 0), 0.5 + 0.16 * unit * rough) for p in sharp])
    near = np.stack([cv2.GaussianBlur(p, (0, 0), 0.5 + 0.05 * unit * rough) for p in sharp])
    t = np.clip((y - edge) / 0.22, 0, 1)
    sine = np.sin(np.arctan(np.maximum(y * frame.height - ground.horizon, 1) / (FOCAL * frame.height)))
    fresnel = 0.04 + 0.96 * (1 - sine) ** 5
    mirror = Enlarged(np.asarray(gloss * fresnel * (near * (1 - t) + soft * t), np.float32), frame)
    width = max(1.2, 1.1 * float(ground.blur(ground.edge, frame.short)))

    def rows_of(top: int, bottom: int) -> Floats:
        mask = smoothstep((np.arange(top, bottom, dtype=np.float32) + 0.5 - np.float32(ground.edge))[:, None], width)
        if mask.max() <= 0:
            return back.rows(top, bottom)
        albedo, polish = surface(ground.view(top, bottom, frame))
        planes = np.asarray(albedo, np.float32)
        planes *= lit.rows(top, bottom)
        planes += mirror.rows(top, bottom) * polish
        planes = shoulder(planes)
        if mask.min() < 1:
            wall = back.rows(top, bottom)
            planes = np.asarray(wall + (planes - wall) * mask, np.float32)
        return planes

    return rows_of

"""The room behind a table, far out of focus: a furnished room, or a picture of one."""

from __future__ import annotations

import colorsys

import numpy as np
import numpy.typing as npt

from mattebox.backdrops.studio.frame import SMOOTH, Frame, Triple, shoulder
from mattebox.backdrops.studio.noise import Floats
from mattebox.backdrops.studio.plane import TABLE_HORIZON
from mattebox.image import RGB


def furnished_room(frame: Frame, side: float) -> Floats:
    """A furnished room by day or in the evening, its window at `side`, far out of focus."""
    import cv2

    # A tall picture would need many rows for nothing that can be seen.
    x, y = frame.small(round(min(2 * SMOOTH, 800 * frame.short / frame.height)))
    room = _Room(frame.random, rows=len(y), columns=x.shape[1], side=side)
    room.build()
    room.furnish()
    room.switch_on()
    # Nothing in a room is one flat colour.
    mottled = frame.noise.fractal(x, frame.down(y), (7.0, 7.0), 1, octaves=3, gain=0.8)
    light = np.ascontiguousarray((room.canvas * np.exp(0.12 * mottled)[..., None]).transpose(2, 0, 1), np.float32)
    light *= np.float32(0.9 if room.evening else 1.15)
    blurred = _defocus(light, frame, 0.030 * (frame.height / frame.short) ** 0.5)
    # Bright panes spill over the whole lens.
    veil = np.stack([cv2.GaussianBlur(p, (0, 0), 0.16 * len(y)) for p in blurred])
    return shoulder(np.asarray(0.90 * blurred + 0.10 * veil, np.float32))


def given_room(room: RGB, frame: Frame) -> Floats:
    """A room's picture, cut to the frame's aspect and out of focus, linear."""
    import cv2

    x, y = frame.small(SMOOTH * 2)
    rows, columns = len(y), x.shape[1]
    height, width = room.shape[:2]
    scale = max(rows / height, columns / width)
    w, h = max(1, round(columns / scale)), max(1, round(rows / scale))
    left, top = (width - w) // 2, round((height - h) * TABLE_HORIZON)
    cut = room[max(0, top) : max(0, top) + h, max(0, left) : max(0, left) + w]
    small = cv2.resize(cut, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    light = (small**2.2).transpose(2, 0, 1)
    # What is white in a picture was brighter in the room: such places become discs.
    light = light * (1 + 3 * np.clip(light.min(axis=0) - 0.75, 0, 1) * 4)
    return shoulder(_defocus(np.ascontiguousarray(light, np.float32), frame, 0.020))


def _defocus(planes: Floats, frame: Frame, radius: float) -> Floats:
    """The disc of a lens; `radius` in units."""
    import cv2

    r = max(1.0, radius * planes.shape[1] * frame.short / frame.height)
    reach = int(np.ceil(r))
    d = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1])
    disc = np.clip(r + 0.5 - d, 0, 1)
    kernel = disc / disc.sum()
    blurred = np.stack([cv2.filter2D(p, -1, kernel, borderType=cv2.BORDER_REFLECT) for p in planes])
    return np.stack([cv2.GaussianBlur(p, (0, 0), 0.12 * r + 0.3) for p in np.maximum(blurred, 0)])


class _Room:
    """Boxes and panes in perspective, painted from the back to the front; metres, the camera at the origin's height.

    `x` runs from the wall with the window, -`half`, to the other; `y` up from the floor, `z` away from the camera.
    """

    EYE, BACK, TOP, FOCAL = 1.25, 6.4, 2.9, 1.25
    WALLS = ((0.52, 0.47, 0.40), (0.42, 0.45, 0.42), (0.56, 0.52, 0.48), (0.33, 0.36, 0.40))
    BOARDS = ((0.24, 0.14, 0.08), (0.34, 0.27, 0.20), (0.15, 0.10, 0.07))
    SHELVES = ((0.16, 0.09, 0.05), (0.30, 0.22, 0.14), (0.07, 0.06, 0.055))
    CLOTH = ((0.10, 0.11, 0.12), (0.24, 0.17, 0.11), (0.28, 0.14, 0.08), (0.15, 0.16, 0.12), (0.36, 0.31, 0.25))

    def __init__(self, random: np.random.Generator, *, rows: int, columns: int, side: float) -> None:
        self.canvas: Floats = np.zeros((rows, columns, 3), np.float32)
        self.evening = random.random() < 0.4
        self._random, self._side = random, side
        self._dim = 0.40 if self.evening else 1.0
        self._half = 2.5 * max(1.0, columns / rows)

    def build(self) -> None:
        """Walls, floor, windows, pictures."""
        half, back, top = self._half, self.BACK, self.TOP
        wall, boards = self._choose(self.WALLS), self._choose(self.BOARDS)
        self.canvas[:] = (0.6 * wall).astype(np.float32)
        self._patch([(-half, top, 1), (half, top, 1), (half, top, back), (-half, top, back)], 0.85 * wall)
        self._patch([(-half, 0, 1), (half, 0, 1), (half, 0, back), (-half, 0, back)], boards)
        self._patch([(half, 0, 1), (half, top, 1), (half, top, back), (half, 0, back)], 0.95 * wall)
        self._patch([(-half, 0, 1), (-half, top, 1), (-half, top, back), (-half, 0, back)], 0.45 * wall)
        strips = 14
        for k in range(strips):
            self._front(
                (-half + 2 * half * k / strips, 0, back), (2 * half / strips, top), wall * (1 - 0.55 * k / strips)
            )
        sky = np.array((0.16, 0.24, 0.42) if self.evening else (4.6, 5.0, 5.4))
        garden = sky if self.evening else sky * (0.45, 0.62, 0.35)
        for near in (2.6, 3.22, 4.1, 4.72):
            far = near + 0.55
            for low, high, seen_there in ((0.75, 1.5, garden), (1.58, 2.45, sky)):
                pane = [(-half, low, near), (-half, high, near), (-half, high, far), (-half, low, far)]
                self._patch(pane, seen_there)
        if self._random.random() < 0.55:
            left = self._within(-0.75, -0.2) * half
            for pane_left in (left, left + 0.55):
                self._front((pane_left, 0.8, back), (0.48, 1.5), 0.3 * sky)
        for _ in range(int(self._random.integers(2, 5))):
            left, low = self._within(-0.1, 0.85) * half, self._within(1.35, 1.75)
            w, h, rim = self._within(0.3, 0.7), self._within(0.3, 0.6), 0.06
            self._front((left, low, back), (w, h), wall * 0.25)
            painted = np.array(colorsys.hsv_to_rgb(self._within(0.02, 0.16), 0.35, 0.5)) * self._dim
            self._front((left + rim, low + rim, back), (w - 2 * rim, h - 2 * rim), painted)

    def furnish(self) -> None:
        """Shelves full of things, furniture with things on it, a plant."""
        random, half, deep = self._random, self._half, self.BACK - 0.3
        left, shelf = self._within(-0.35, 0.35) * half, self._choose(self.SHELVES)
        for low in (0.95, 1.32, 1.70, 2.08):
            at = left
            while at < left + 0.62 * half:
                w = self._within(0.04, 0.20)
                if random.random() < 0.85:
                    self._thing((at, low, deep), (w * 0.85, self._within(0.10, 0.30)))
                at += w
            self._front((left, low - 0.05, deep), (at - left, 0.05), shelf)
        for leftmost, rightmost, near, size in (
            (-0.7, -0.1, 5.4, (1.9, 0.85, 0.6)),
            (0.1, 0.6, 5.2, (1.3, 0.80, 0.6)),
            (-0.9, 0.1, 4.2, (0.7, 0.70, 0.6)),
            (0.1, 0.9, 3.8, (0.6, 0.85, 0.5)),
        ):
            left = self._within(leftmost, rightmost) * half
            self._box((left, 0, near), size, self._choose(self.CLOTH))
            for _ in range(int(random.integers(3, 8))):
                where = (left + self._within(0, size[0]), size[1], near + 0.2)
                self._thing(where, (self._within(0.05, 0.18), self._within(0.08, 0.32)))
        for _ in range(90):
            x, y = -0.72 * half + float(random.normal(0, 0.22)), 1.15 + float(random.normal(0, 0.30))
            green = np.array([0.05, 0.12, 0.035]) * float(np.exp(random.normal(0, 0.7))) * self._dim
            s, z = self._within(0.03, 0.09), 4.6
            self._patch([(x - s, y, z), (x, y + 0.5 * s, z), (x + s, y, z), (x, y - 0.5 * s, z)], green)

    def switch_on(self) -> None:
        """Lamps, and their light on what is around them."""
        rows, columns = self.canvas.shape[:2]
        for _ in range(int(self._random.integers(2, 4)) + (3 if self.evening else 0)):
            x, y, z = self._within(-0.8, 0.9) * self._half, self._within(1.5, 2.3), self._within(3.5, 6)
            s = self._within(0.05, 0.13)
            round_ = [(x + s * float(np.cos(t)), y + s * float(np.sin(t)), z) for t in np.linspace(0, 6.28, 20)]
            self._patch(round_, np.array([7.0, 4.0, 1.7]) * (1.0 if self.evening else 0.55))
            at = self._seen([(x, y, z)])[0] / 16
            across, down = (np.arange(columns) - at[0]) / rows, (np.arange(rows)[:, None] - at[1]) / rows
            halo = (1.6 if self.evening else 0.4) * np.exp(-(across * across + down * down) / 0.05)
            self.canvas *= (1 + halo[..., None] * np.array([1.2, 0.95, 0.7])).astype(np.float32)

    def _within(self, low: float, high: float) -> float:
        return float(self._random.uniform(low, high))

    def _choose(self, colors: tuple[Triple, ...]) -> npt.NDArray[np.float64]:
        return np.array(colors[int(self._random.integers(len(colors)))]) * self._dim

    def _seen(self, points: list[Triple]) -> npt.NDArray[np.int32]:
        """The points' places in the picture, in sixteenths of a pixel."""
        rows, columns = self.canvas.shape[:2]
        p = np.array(points)
        x = columns / 2 - self._side * self.FOCAL * rows * p[:, 0] / p[:, 2]
        y = TABLE_HORIZON * rows - self.FOCAL * rows * (p[:, 1] - self.EYE) / p[:, 2]
        return np.round(np.stack([x, y], 1) * 16).astype(np.int32)

    def _patch(self, points: list[Triple], light: npt.NDArray[np.float64]) -> None:
        import cv2

        color = (float(light[0]), float(light[1]), float(light[2]))
        cv2.fillPoly(self.canvas, [self._seen(points)], color, cv2.LINE_AA, 4)

    def _front(self, corner: Triple, size: tuple[float, float], light: npt.NDArray[np.float64]) -> None:
        """A rectangle that faces the camera, from its lower left corner."""
        (x, y, z), (w, h) = corner, size
        self._patch([(x, y, z), (x + w, y, z), (x + w, y + h, z), (x, y + h, z)], light)

    def _box(self, corner: Triple, size: Triple, color: npt.NDArray[np.float64]) -> None:
        """A box, lit from the window: its top most, the side away from it least."""
        (left, low, near), (w, h, d) = corner, size
        right, high, far = left + w, low + h, near + d
        color = color * (1.0 - 0.10 * (left + self._half) / self._half)
        if high < self.EYE:
            self._patch([(left, high, near), (right, high, near), (right, high, far), (left, high, far)], 1.3 * color)
        if left > 0:
            self._patch([(left, low, near), (left, high, near), (left, high, far), (left, low, far)], 1.25 * color)
        elif right < 0:
            self._patch([(right, low, near), (right, high, near), (right, high, far), (right, low, far)], 0.45 * color)
        self._front((left, low, near), (w, h), 0.75 * color)

    def _thing(self, corner: Triple, size: tuple[float, float]) -> None:
        """A book, a jar or a glass; some glint."""
        hue = self._within(0.25, 0.62) if self._random.random() < 0.33 else self._within(0.02, 0.14)
        bright = float(np.exp(self._random.normal(-1.5, 0.7)))
        self._front(corner, size, np.array(colorsys.hsv_to_rgb(hue, self._within(0.15, 0.7), bright)) * self._dim)
        if self._random.random() < 0.15:
            spot = (corner[0] + 0.4 * size[0], corner[1] + 0.7 * size[1], corner[2])
            self._front(spot, (0.02, 0.03), 6 * self._dim * np.array([1.0, 0.85, 0.66]))

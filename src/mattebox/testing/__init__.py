"""Stand-ins and synthetic pictures for tests: no weights, no files, no network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mattebox.backdrops.plate import Light, Plate, PlateMaker
from mattebox.cancellation import Checkpoint
from mattebox.edit import Prompt
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Image, Served
from mattebox.models import Promptable, Segmenter
from mattebox.models.promptable import Embedding, Floats, PromptBox, PromptPoint
from mattebox.samples import make_photo

__all__ = ["FakeBackdrops", "FakeModels", "FakePromptable", "FakeSegmenter", "Scene", "make_photo", "make_scene"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FakeSegmenter:
    """Finds whatever differs in colour from the picture's border: a network's place without a network.

    The background is taken for a quadratic surface through the border's colours. `alpha` rises from 0 to 1 as a pixel's
    distance to that surface goes from `near` to `far` (Euclidean, in steps of 8 bits). `width` and `height` are the
    size of the answer, whatever the photo's size is. Where `answer` is given, that is returned instead.
    """

    width: int = 256
    height: int = 256
    near: float = 24.0
    far: float = 72.0
    answer: Alpha | None = None

    def __call__(self, photo: RGB) -> Alpha:
        """The rough alpha of `photo`, (height, width)."""
        import cv2

        if self.answer is not None:
            return self.answer.copy()
        size = (self.width, self.height)
        small = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.float32)
        y, x = np.mgrid[-1 : 1 : self.height * 1j, -1 : 1 : self.width * 1j].astype(np.float32)
        terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
        border = np.ones((self.height, self.width), np.bool_)
        border[1:-1, 1:-1] = False
        surface = np.linalg.lstsq(terms[border], small[border], rcond=None)[0]
        distance = np.sqrt(((small - terms @ surface) ** 2).sum(axis=-1))
        return np.asarray(np.clip((distance - self.near) / (self.far - self.near), 0, 1), np.float32)


class FakePromptable:
    """Finds what has the colour of the points, connected or not: a promptable network's place without a network.

    It gives three answers, as SAM 2 does: everything of a similar colour, with the estimate 0.9; what is connected with
    the points of that, with 0.8; and nothing but a spot round the points, with 0.1. Points that are not on the object
    take away what has their colour. A box asks for what has the colour of its middle, inside it. `looks` counts the
    pictures it has seen.
    """

    side = 64
    near = 40.0

    def __init__(self) -> None:
        self.looks = 0

    def embed(self, photo: RGB) -> Embedding:
        """A small copy of the photo."""
        import cv2

        self.looks += 1
        return (np.asarray(cv2.resize(photo, (self.side, self.side), interpolation=cv2.INTER_AREA), np.float32),)

    def ask(
        self, seen: Embedding, points: Sequence[PromptPoint], box: PromptBox | None = None
    ) -> tuple[Floats, Floats]:
        """The three answers, 8 on the object and -8 elsewhere."""
        import cv2

        (small,) = seen
        places = [
            (min(int(y * self.side), self.side - 1), min(int(x * self.side), self.side - 1), on) for x, y, on in points
        ]
        frame = np.ones(small.shape[:2], np.bool_)
        if box is not None:
            left, top, right, bottom = (round(each * self.side) for each in box)
            frame[:] = False
            frame[top:bottom, left:right] = True
            places.append(((top + bottom) // 2, (left + right) // 2, True))
        alike = np.zeros_like(frame)
        for row, column, on in sorted(places, key=lambda place: not place[2]):
            alike[np.linalg.norm(small - small[row, column], axis=-1) < self.near] = on
        alike &= frame
        labels = cv2.connectedComponents(alike.view(np.uint8))[1]
        hit = [labels[row, column] for row, column, on in places if on]
        spot = np.zeros_like(frame)
        for row, column, on in places:
            spot[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] |= on
        answers = np.stack([alike, np.isin(labels, hit) & alike, spot])
        return np.where(answers, np.float32(8), np.float32(-8)), np.array([0.9, 0.8, 0.1], np.float32)


class FakeModels:
    """Gives one segmenter under the name `auto`, where `models.Models` would load networks."""

    def __init__(self, segmenter: Segmenter | None = None, promptable: Promptable | None = None) -> None:
        self._segmenter = segmenter or FakeSegmenter()
        self._promptable = promptable
        self.warmed: list[str] = []

    def promptable(self) -> Promptable | None:
        """The promptable that was given."""
        return self._promptable

    def segmenter(self, name: str) -> Segmenter:
        """The segmenter; INVALID_PARAMETER for any name but `auto`."""
        if name != "auto":
            raise MatteboxError(Kind.INVALID_PARAMETER, f"Unknown model {name}. Choose auto.", parameter="model")
        return self._segmenter

    def warm(self, name: str) -> None:
        """Remember that `name` was asked for."""
        self.warmed.append(name)


class FakeBackdrops:
    """Paints every prompt in one colour of its own, where `backdrops.Backdrops` would find or generate a scene.

    The prompt `nowhere` is one that it cannot show. Its plates have neither ground nor grain, so that what is behind
    the subject is exactly that colour.
    """

    def __init__(self) -> None:
        self.warmed = 0

    def warm(self) -> None:
        """Count that it was asked to make ready."""
        self.warmed += 1

    @staticmethod
    def color(prompt: str, seed: int = 0) -> tuple[int, int, int]:
        """The red, green and blue of a prompt with a seed, each in 64..191."""
        red, green, blue = hashlib.sha256(f"{seed} {prompt}".encode()).digest()[:3]
        return 64 + red % 128, 64 + green % 128, 64 + blue % 128

    def choose(self, prompt: Prompt) -> PlateMaker:
        """The maker of this prompt's plates.

        Raises:
            MatteboxError: INVALID_PARAMETER about `prompt` for `nowhere`, which nothing comes near, and for `elsewhere`
                where `nearest` is False; NOT_OFFERED about `generator` for any but `auto` and `fake`.
        """
        warning = self._warning(prompt)

        def make(cutout: Image, checkpoint: Checkpoint) -> Plate:
            checkpoint()
            return self._painted(prompt.text.strip(), cutout.width, cutout.height, prompt.seed, warning)

        return make

    @staticmethod
    def _warning(prompt: Prompt) -> str | None:
        if prompt.generator not in ("auto", "fake"):
            raise MatteboxError(
                Kind.NOT_OFFERED, f"The generator {prompt.generator} is not configured here.", parameter="generator"
            )
        text = prompt.text.strip()
        if text not in ("elsewhere", "nowhere"):
            return None
        if text == "nowhere" or prompt.nearest is False:
            raise MatteboxError(
                Kind.INVALID_PARAMETER,
                "No backdrop here shows this. The nearest here are somewhere.",
                parameter="prompt",
            )
        return "Nothing here shows this; somewhere is the nearest."

    def paint(self, prompt: str, *, width: int, height: int, seed: int, checkpoint: Checkpoint) -> Plate:
        """A plate of this size."""
        checkpoint()
        return self._painted(prompt.strip(), width, height, seed, None)

    def _painted(self, text: str, width: int, height: int, seed: int, warning: str | None) -> Plate:
        rgb = np.empty((height, width, 3), np.uint8)
        rgb[:] = self.color(text, seed)
        scene, score = ("somewhere", 0.25) if warning else ("color", 1.0)
        served = Served(backend="fake", scene=scene, score=score, warning=warning)
        return Plate(rgb=rgb, light=Light(strength=0.0), served=served)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """A picture of which everything is known: `photo` is `alpha * foreground + (1 - alpha) * background`, rounded.

    All have the same height and width. The colours of `foreground` and `background` are known everywhere, also where
    they are not seen. `alpha` consists of steps of 1/255, so that 8 bits hold it without loss.
    """

    photo: RGB
    foreground: RGB
    background: RGB
    alpha: Alpha


STRANDS = 120
SOFT_EDGE = 12.0
"""Width of the defocused edge in pixels, where the picture's shorter side has 1000."""


def make_scene(*, width: int, height: int, seed: int) -> Scene:
    """A figure with a hard outline, an out-of-focus arm and loose hair before a smooth, colourful background.

    The hard outline is one pixel wide, the arm's edge 12 pixels where the shorter side has 1000. The hair is 120
    strands of 1 to 3 pixels. The figure keeps away from the picture's border.

    Raises:
        ValueError: where `width` or `height` is below 16.
    """
    if width < 16 or height < 16:
        raise ValueError("a scene needs at least 16 by 16 pixels")
    random = np.random.default_rng(seed)
    background = _waves(width, height, random, low=(95, 105, 100), high=(245, 235, 240), cycles=0.45)
    foreground = _waves(width, height, random, low=(25, 15, 20), high=(115, 70, 60), cycles=1.5)
    alpha = _figure(width, height, random)
    photo = np.empty_like(foreground)
    for top in range(0, height, 256):
        rows = slice(top, top + 256)
        photo[rows] = _over(alpha[rows], foreground[rows], background[rows])
    return Scene(photo=photo, foreground=foreground, background=background, alpha=alpha)


def _over(alpha: Alpha, foreground: RGB, background: RGB) -> RGB:
    a = alpha[..., None]
    return np.rint(a * foreground + (1 - a) * background).astype(np.uint8)


def _waves(
    width: int,
    height: int,
    random: np.random.Generator,
    *,
    low: tuple[int, int, int],
    high: tuple[int, int, int],
    cycles: float,
) -> RGB:
    """Colours that sway between `low` and `high`, about `cycles` times over the picture."""
    import cv2

    # Smooth enough to be computed small.
    y, x = np.mgrid[0:1:96j, 0:1:96j].astype(np.float32)
    channels = []
    for bottom, top in zip(low, high, strict=True):
        angle, phase = random.uniform(0, 2 * np.pi, 2)
        slope = cycles * random.uniform(0.8, 1.2)
        wave = np.sin(2 * np.pi * slope * (np.cos(angle) * x + np.sin(angle) * y) + phase)
        channels.append(bottom + (top - bottom) * (0.5 + 0.5 * wave))
    small = np.stack(channels, axis=-1).astype(np.float32)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).round(), np.uint8)


def _figure(width: int, height: int, random: np.random.Generator) -> Alpha:
    unit = min(width, height) / 1000
    left, top = width / 2 - 500 * unit, height / 2 - 500 * unit
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5 - np.float32(top)) / np.float32(unit)
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5 - np.float32(left)) / np.float32(unit)

    # Distances in thousandths of the picture's shorter side; one pixel is `1 / unit` of them.
    head = np.hypot(x - 470, y - 370) - np.float32(150)
    body = _rounded_box(x, y, centre=(460, 720), half=(190, 210), radius=90)
    arm = _rounded_box(x, y, centre=(720, 690), half=(100, 130), radius=95)
    hard = np.clip(0.5 - np.minimum(head, body) * np.float32(unit), 0, 1)
    t = np.clip(0.5 - arm / np.float32(SOFT_EDGE), 0, 1)
    soft = t * t * (3 - 2 * t)
    strands = _hair(width, height, random, centre=(left + 470 * unit, top + 370 * unit), unit=unit)
    clear = (1 - hard) * (1 - soft)
    clear *= 1 - strands.astype(np.float32) / np.float32(255)
    return np.asarray(np.rint(255 * (1 - clear)) / np.float32(255), np.float32)


def _rounded_box(
    x: Alpha, y: Alpha, *, centre: tuple[float, float], half: tuple[float, float], radius: float
) -> npt.NDArray[np.float32]:
    """Signed distance to a rectangle with round corners."""
    across = np.abs(x - np.float32(centre[0])) - np.float32(half[0] - radius)
    down = np.abs(y - np.float32(centre[1])) - np.float32(half[1] - radius)
    outside = np.hypot(np.maximum(across, 0), np.maximum(down, 0))
    return np.asarray(outside + np.minimum(np.maximum(across, down), 0) - np.float32(radius), np.float32)


def _hair(
    width: int, height: int, random: np.random.Generator, *, centre: tuple[float, float], unit: float
) -> npt.NDArray[np.uint8]:
    import cv2

    # OpenCV's own anti-aliased lines come out far too wide, so these are drawn hard at four times the size.
    scale = 4
    left, top = int(max(0, centre[0] - 320 * unit)), int(max(0, centre[1] - 320 * unit))
    right, bottom = int(min(width, centre[0] + 320 * unit)), int(min(height, centre[1] + 380 * unit))
    large = np.zeros(((bottom - top) * scale, (right - left) * scale), np.uint8)
    t = np.linspace(0, 1, 24)
    # The faint ones first: a strand that is drawn later replaces what lies under it.
    for opacity in np.sort(random.integers(130, 256, STRANDS)):
        angle = random.uniform(-np.pi * 1.08, np.pi * 0.08)
        reach, bend = random.uniform(40, 165) * unit, random.normal(0, 0.35)
        radius = 140 * unit + reach * t
        turn = angle + bend * t**2 * reach / (165 * unit)
        # Hair falls: the further out, the lower.
        x = centre[0] + radius * np.cos(turn) - left
        y = centre[1] + radius * np.sin(turn) + 60 * unit * t**2 - top
        curve = np.rint(np.stack([x, y], axis=-1) * scale * 16).astype(np.int32)[:, None]
        cv2.polylines(large, [curve], False, int(opacity), int(random.integers(scale, 3 * scale + 1)), cv2.LINE_8, 4)
    picture = np.zeros((height, width), np.uint8)
    size = (right - left, bottom - top)
    picture[top:bottom, left:right] = cv2.resize(large, size, interpolation=cv2.INTER_AREA)
    return picture

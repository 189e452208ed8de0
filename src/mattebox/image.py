"""The values that pictures are made of, and their invariants.

Pixels are uint8 RGB and float32 alpha: float32 RGB of a 50 MP photo would be 572 MB a copy. Functions that need float
colour convert inside, band by band. Arrays are never written to after they were put into one of these values, but where
the docstring says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

RGB: TypeAlias = npt.NDArray[np.uint8]
"""Colours, shape (height, width, 3), straight (not premultiplied)."""
Alpha: TypeAlias = npt.NDArray[np.float32]
"""An alpha matte: the fraction of foreground, shape (height, width), in [0, 1]."""

_BAND_PIXELS = 2**18


def row_bands(height: int, width: int) -> Iterator[slice]:
    """All rows of a picture, in pieces whose working copies stay in a processor's cache, however wide it is."""
    rows = max(1, _BAND_PIXELS // width)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of whole pixels; `left` and `top` count from the picture's upper left corner."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column after the box."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """The first row after the box."""
        return self.top + self.height

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of this box in an array: rows, then columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def overlap(self, other: Box) -> Box | None:
        """The common part of both boxes; None where there is none."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        width, height = min(self.right, other.right) - left, min(self.bottom, other.bottom) - top
        return Box(left, top, width, height) if width > 0 and height > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Image:
    """A picture in memory.

    `alpha` is None where the picture is opaque. `icc` is the ICC profile that `rgb` is in; None means sRGB.
    """

    rgb: RGB
    alpha: Alpha | None = None
    icc: bytes | None = None

    def __post_init__(self) -> None:
        given: dict[str, object] = {"rgb": self.rgb, "alpha": self.alpha}
        for name, value in given.items():
            if not isinstance(value, np.ndarray) and (value is not None or name == "rgb"):
                raise TypeError(f"{name} must be a numpy array, not {type(value).__name__}")
        icc: object = self.icc
        if icc is not None and not isinstance(icc, bytes):
            raise TypeError(f"icc must be bytes, not {type(icc).__name__}")
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or 0 in self.rgb.shape:
            raise ValueError(f"rgb must be uint8 (height, width, 3), not {self.rgb.dtype} {self.rgb.shape}")
        if self.alpha is not None and (self.alpha.dtype != np.float32 or self.alpha.shape != self.rgb.shape[:2]):
            raise ValueError(f"alpha must be float32 {self.rgb.shape[:2]}, not {self.alpha.dtype} {self.alpha.shape}")

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.rgb.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The origin of a backdrop that was made for a prompt.

    `backend` is the generator's name and `scene` what it chose, if it chooses. `score` says how well that matches, in
    [0, 1], None where the generator does not say. `warning` is a sentence where it is not what was asked for.
    """

    backend: str
    scene: str | None = None
    score: float | None = None
    warning: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A finished file: bytes, what they are, and what they show.

    `subject` is where the subject lies in the picture, None where no subject was found. `confidence` and `ambiguity`
    are the matte's (see `Cutout`), None where no matte was made. `chosen_by` says what told the objects of the photo
    apart where corrections chose among them: `network`, the network for clicks, or `parts`, the connected parts of the
    matte. `served` says where the backdrop came from, where it was asked for in words. `largest` is the width and
    height that the picture would have without an upper limit on its size, None where that is not known.
    """

    data: bytes
    media_type: str
    width: int
    height: int
    subject: Box | None = None
    confidence: float | None = None
    ambiguity: float | None = None
    chosen_by: str | None = None
    served: Served | None = None
    largest: tuple[int, int] | None = None

"""The canonical request: one `Edit` says what is to be done to one photo, in mattebox's own words.

Every door translates into it (a dialect from its vendor's fields, the command line from its flags), and the engine
understands nothing else. It is plain, frozen data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture whose bytes came with the request."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Link:
    """A picture that has to be fetched from an http or https address."""

    url: str


Source: TypeAlias = Upload | Link


@dataclass(frozen=True, slots=True)
class Transparent:
    """Nothing behind the subject: the result keeps its alpha."""


@dataclass(frozen=True, slots=True)
class Color:
    """One flat colour behind the subject: red, green, blue in 0..255, sRGB."""

    red: int
    green: int
    blue: int

    def __post_init__(self) -> None:
        if not all(0 <= channel <= 255 for channel in (self.red, self.green, self.blue)):
            raise ValueError("red, green and blue must be in 0..255")


Backdrop: TypeAlias = Transparent | Color
WHITE = Color(255, 255, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the subject goes and how large the result is.

    `crop` cuts the picture to the subject's box; nothing is cut where no subject was found. `max_side` scales the
    result down so that its longer side has at most so many pixels; it never scales up.
    """

    crop: bool = False
    max_side: int | None = None

    def __post_init__(self) -> None:
        if self.max_side is not None and self.max_side < 1:
            raise ValueError("max_side must be at least 1")


class Foreground(StrEnum):
    """How the background's colour is taken out of the half-transparent edge."""

    FAST = "fast"
    """Blur fusion, two passes (Forte 2021). The default."""
    MULTILEVEL = "multilevel"
    """Multi-level estimation (Germer et al. 2020): slower, needs the `multilevel` extra."""
    KEEP = "keep"
    """Leave the photo's own colours, background tint included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matte:
    """How the matte is made. `model` is a name of the catalogue or `auto`; `refine` works at the photo's resolution."""

    model: str = "auto"
    refine: bool = True
    foreground: Foreground = Foreground.FAST


class Format(StrEnum):
    """File formats that mattebox writes."""

    PNG = "png"
    WEBP = "webp"
    JPEG = "jpeg"
    AVIF = "avif"
    ZIP = "zip"
    """`color.jpg` and `alpha.png` in one archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What is written.

    `alpha_only` writes the matte itself as a grey picture. `quality` is 1..100 and concerns JPEG, WebP, AVIF and the
    colour picture of a ZIP; None is the format's default. 100 makes a WebP lossless.
    """

    format: Format = Format.PNG
    alpha_only: bool = False
    quality: int | None = None

    def __post_init__(self) -> None:
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ValueError("quality must be in 1..100")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One photo's request, whole."""

    source: Source
    backdrop: Backdrop = Transparent()
    layout: Layout = Layout()
    matte: Matte = Matte()
    output: Output = Output()

"""The edit of a photo: one `Edit`, in mattebox's own words.

Every front end translates into it (a dialect from its vendor's fields, the command line from its flags), and the
pipeline understands nothing else. It is plain, frozen data.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

LARGEST_SIDE: Final = 32_767
"""The longest side of a result in pixels, where the photo itself has no longer one."""


@dataclass(frozen=True, slots=True)
class Transparent:
    """Nothing behind the subject: the result keeps its alpha."""


@dataclass(frozen=True, slots=True)
class Color:
    """One flat colour behind the subject: red, green, blue in 0..255, sRGB; `opacity` in [0, 1]."""

    red: int
    green: int
    blue: int
    opacity: float = 1.0

    def __post_init__(self) -> None:
        if not all(0 <= channel <= 255 for channel in (self.red, self.green, self.blue)):
            raise ValueError("red, green and blue must be in 0..255")
        if not 0 <= self.opacity <= 1:
            raise ValueError("opacity must be in 0..1")


@dataclass(frozen=True, slots=True)
class Gradient:
    """A smooth change from one opaque colour to another behind the subject, as CSS's `linear-gradient` draws it.

    It spans the canvas: its corners have the pure colours. The colours between are mixed on sRGB's own numbers and not
    on linear light.

    Attributes:
        start: the colour that it begins with.
        end: the colour that it ends with.
        angle: where it runs to, in degrees clockwise from the top, in -360..360: 180 is from the top down, 90 from left
            to right.
    """

    start: Color
    end: Color
    angle: float = 180.0

    def __post_init__(self) -> None:
        if self.start.opacity < 1 or self.end.opacity < 1:
            raise ValueError("start and end must be opaque")
        if not -360 <= self.angle <= 360:
            raise ValueError("angle must be in -360..360")


@dataclass(frozen=True, slots=True)
class Picture:
    """Another picture behind the subject, which is handed in beside the photo.

    It fills the canvas; what does not fit is cut at both ends.
    """


@dataclass(frozen=True, slots=True)
class Blur:
    """The photo's own background, blurred; `sigma` is in pixels of the photo."""

    sigma: float

    def __post_init__(self) -> None:
        if not 0.3 <= self.sigma <= 1000:
            raise ValueError("sigma must be in 0.3..1000")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A backdrop described in words; an empty text means a plain studio.

    `seed` makes the same picture again. `generator` is a name of `backdrops.GENERATORS`, or `auto` for the first of the
    configured ones that can serve the words. `nearest` says what happens where nothing shows what they say: True takes
    the nearest backdrop, with a warning, False refuses; None is as the backdrops are configured.
    """

    text: str = ""
    seed: int = 0
    generator: str = "auto"
    nearest: bool | None = None


Backdrop: TypeAlias = Transparent | Color | Gradient | Picture | Blur | Prompt
WHITE = Color(255, 255, 255)


@dataclass(frozen=True, slots=True)
class Length:
    """A length in pixels, or in per cent of the side that it is measured along."""

    value: float
    percent: bool = False

    def of(self, side: int) -> float:
        """In pixels, along a side of so many pixels."""
        return self.value * side / 100 if self.percent else self.value


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a photo, by its edges, each measured from the left or from the top."""

    left: Length
    top: Length
    right: Length
    bottom: Length


@dataclass(frozen=True, slots=True)
class Margin:
    """Empty space round a cropped subject; per cent are of the subject's own width or height."""

    top: Length = Length(0)
    right: Length = Length(0)
    bottom: Length = Length(0)
    left: Length = Length(0)


class Fit(StrEnum):
    """How a picture is brought to a size with other proportions."""

    FILL = "fill"
    """Stretched."""
    CONTAIN = "contain"
    """All of it, with empty space at two sides."""
    COVER = "cover"
    """No empty space; what does not fit is cut."""
    SCALE_DOWN = "scale-down"
    """As `contain`, but never enlarged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """The size of the result. With one side only, the other follows from the proportions."""

    width: int | None = None
    height: int | None = None
    fit: Fit = Fit.CONTAIN

    def __post_init__(self) -> None:
        if self.width is None and self.height is None:
            raise ValueError("a canvas needs a width, a height or both")
        if any(side is not None and side < 1 for side in (self.width, self.height)):
            raise ValueError("width and height must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The place of the subject and the size of the result. The parts take effect in this order.

    Attributes:
        roi: the region of the photo that the subject is looked for in; all else becomes background.
        crop: cut the picture to the subject's box; nothing is cut where no subject was found.
        ratio: widen the cropped box to these proportions (width, height).
        margin: added round the cropped box, also beyond the photo's edges.
        scale: the subject's share of the canvas, above 0 and at most 1, along the side that it fills first; None leaves
            its size alone.
        position: where the subject lies, as fractions of the room beside and above it: (0, 0) is the upper left corner
            and (0.5, 0.5) the middle; None leaves it where it is, or in the middle where it is scaled.
        canvas: bring the result to this size.
        max_side: scale the result down so that its longer side has at most so many pixels.
        max_pixels: scale the result down so that it has at most so many pixels in all.
    """

    roi: Region | None = None
    crop: bool = False
    ratio: tuple[int, int] | None = None
    margin: Margin = Margin()
    scale: float | None = None
    position: tuple[float, float] | None = None
    canvas: Canvas | None = None
    max_side: int | None = None
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        if any(most is not None and most < 1 for most in (self.max_side, self.max_pixels, *(self.ratio or ()))):
            raise ValueError("max_side, max_pixels and the numbers of ratio must be at least 1")
        if self.scale is not None and not 0 < self.scale <= 1:
            raise ValueError("scale must be above 0 and at most 1")
        if self.position is not None and not all(0 <= part <= 1 for part in self.position):
            raise ValueError("position must be in 0..1")


class ShadowKind(StrEnum):
    """The look of a shadow."""

    DROP = "drop"
    """Soft, behind the subject and a little below: as of something that floats before a wall."""
    CAST = "cast"
    """The subject's own outline, lying on the ground."""
    GROUND = "ground"
    """Dark where the subject touches the ground, and soft round it: as under a car."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A shadow of the subject; `opacity` is that of its darkest part, in [0, 1]."""

    kind: ShadowKind = ShadowKind.DROP
    opacity: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            raise ValueError("opacity must be in 0..1")


class Foreground(StrEnum):
    """How the background's colour is taken out of the half-transparent edge."""

    FAST = "fast"
    """Blur fusion, two passes (Forte 2021). The default."""
    MULTILEVEL = "multilevel"
    """Multi-level estimation (Germer et al. 2020): slower, needs the `multilevel` extra."""
    KEEP = "keep"
    """Leave the photo's own colours, background tint included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stroke:
    """A stroke of a brush over the photo, which keeps what it covers or erases it.

    Attributes:
        points: where the brush went, as fractions of the photo's width and height, (0, 0) being its upper left corner
            as it is shown; one point is a dot.
        size: the brush's diameter as a fraction of the photo's longer side.
        keep: whether what is covered becomes the subject's, or the background's.
        hardness: the share of the brush, from its middle, that has its full effect; 1 is a hard edge.
    """

    points: tuple[tuple[float, float], ...]
    size: float
    keep: bool = True
    hardness: float = 0.8

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("points must not be empty")
        if not all(0 <= part <= 1 for point in self.points for part in point):
            raise ValueError("points must be in 0..1")
        if not 0 < self.size <= 1:
            raise ValueError("size must be above 0 and at most 1")
        if not 0 <= self.hardness <= 1:
            raise ValueError("hardness must be in 0..1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A click on an object that is meant, or is not; `x` and `y` are as in `Stroke`."""

    x: float
    y: float
    keep: bool = True

    def __post_init__(self) -> None:
        if not (0 <= self.x <= 1 and 0 <= self.y <= 1):
            raise ValueError("x and y must be in 0..1")


MOST_STROKES: Final = 500
MOST_STROKE_POINTS: Final = 20_000
"""In all strokes together."""
MOST_POINTS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """The wishes of people who do not find a matte as they want it.

    Attributes:
        strokes: of a brush, in the order in which they were drawn: later ones over earlier ones.
        points: clicks that say which object is meant.
        box: left, top, right and bottom of a box round the object that is meant, as in `Stroke`.
    """

    strokes: tuple[Stroke, ...] = ()
    points: tuple[Point, ...] = ()
    box: tuple[float, float, float, float] | None = None

    @property
    def choose(self) -> bool:
        """Whether they say which object is meant."""
        return bool(self.points) or self.box is not None

    def __post_init__(self) -> None:
        if len(self.strokes) > MOST_STROKES:
            raise ValueError(f"strokes must be at most {MOST_STROKES}")
        if sum(len(stroke.points) for stroke in self.strokes) > MOST_STROKE_POINTS:
            raise ValueError(f"strokes must have at most {MOST_STROKE_POINTS} points in all")
        if len(self.points) > MOST_POINTS:
            raise ValueError(f"points must be at most {MOST_POINTS}")
        if self.box is not None:
            left, top, right, bottom = self.box
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
                raise ValueError("box must be left, top, right, bottom in 0..1, with left < right and top < bottom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Matte:
    """How the matte is made.

    `model` is a name of the catalogue or `auto`; `refine` works at the photo's resolution. Without `semitransparency`
    the inside of the subject is opaque (windows of a car, glass), and only its outline is soft. `corrections` have the
    last word.
    """

    model: str = "auto"
    refine: bool = True
    foreground: Foreground = Foreground.FAST
    semitransparency: bool = True
    corrections: Corrections = Corrections()


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
    """The file that is written.

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
    """Everything that is to be done to one photo. `sources` says where the photo is."""

    backdrop: Backdrop = Transparent()
    shadow: Shadow | None = None
    layout: Layout = Layout()
    matte: Matte = Matte()
    output: Output = Output()

"""The canonical request: one `Edit` says what is to be done to one photo, in mattebox's own words.

Every door translates into it (a dialect from its vendor's fields, the command line from its flags), and the engine
understands nothing else. It is plain, frozen data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias, TypeVar, assert_never, final


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture whose bytes came with the request."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Link:
    """A picture that has to be fetched from an http or https address."""

    url: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture that lies in mattebox's own storage. `key` is its name there; it never comes from a request."""

    key: str


Source: TypeAlias = Upload | Link | Stored


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


def to_json(edit: Edit) -> dict[str, object]:
    """The edit as plain data that `json.dumps` takes, so that it can wait in a queue and outlive its process.

    Raises:
        ValueError: the source is an Upload: a queue carries names of pictures and never the pictures.
    """
    return {
        "source": _source_to_json(edit.source),
        "backdrop": _backdrop_to_json(edit.backdrop),
        "layout": {"crop": edit.layout.crop, "max_side": edit.layout.max_side},
        "matte": {
            "model": edit.matte.model,
            "refine": edit.matte.refine,
            "foreground": edit.matte.foreground.value,
        },
        "output": {
            "format": edit.output.format.value,
            "alpha_only": edit.output.alpha_only,
            "quality": edit.output.quality,
        },
    }


def from_json(value: object) -> Edit:
    """What `to_json` made, back again. What is left out has its default, so that an older edit can still be read.

    Raises:
        ValueError: a name, a kind or a type that is not known here, or a value that is out of range.
    """
    whole = _Reader("edit", value)
    layout, matte, output = Layout(), Matte(), Output()
    parts = whole.part("layout", {}), whole.part("matte", {}), whole.part("output", {})
    read = Edit(
        source=_source_from_json(whole.part("source")),
        backdrop=_backdrop_from_json(whole.part("backdrop", {"kind": "transparent"})),
        layout=Layout(
            crop=parts[0].flag("crop", layout.crop), max_side=parts[0].number_or_none("max_side", layout.max_side)
        ),
        matte=Matte(
            model=parts[1].text("model", matte.model),
            refine=parts[1].flag("refine", matte.refine),
            foreground=parts[1].choice("foreground", matte.foreground),
        ),
        output=Output(
            format=parts[2].choice("format", output.format),
            alpha_only=parts[2].flag("alpha_only", output.alpha_only),
            quality=parts[2].number_or_none("quality", output.quality),
        ),
    )
    for part in (whole, *parts):
        part.done()
    return read


def _source_to_json(source: Source) -> dict[str, object]:
    match source:
        case Upload():
            raise ValueError("a queued edit has stored sources only")
        case Link(url):
            return {"kind": "link", "url": url}
        case Stored(key):
            return {"kind": "stored", "key": key}
        case _:
            assert_never(source)


def _source_from_json(part: _Reader) -> Source:
    source: Source
    match part.text("kind"):
        case "link":
            source = Link(part.text("url"))
        case "stored":
            source = Stored(part.text("key"))
        case unknown:
            raise ValueError(f"there is no source of the kind {unknown!r} in a queued edit")
    part.done()
    return source


def _backdrop_to_json(backdrop: Backdrop) -> dict[str, object]:
    match backdrop:
        case Transparent():
            return {"kind": "transparent"}
        case Color(red, green, blue):
            return {"kind": "color", "red": red, "green": green, "blue": blue}
        case _:
            assert_never(backdrop)


def _backdrop_from_json(part: _Reader) -> Backdrop:
    backdrop: Backdrop
    match part.text("kind"):
        case "transparent":
            backdrop = Transparent()
        case "color":
            backdrop = Color(part.number("red"), part.number("green"), part.number("blue"))
        case unknown:
            raise ValueError(f"there is no backdrop of the kind {unknown!r}")
    part.done()
    return backdrop


_Choice = TypeVar("_Choice", bound=StrEnum)


@final
class _Reader:
    """Takes the values out of one JSON object, checks their types and notices what nobody took."""

    def __init__(self, name: str, value: object) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{name} must be an object")  # noqa: TRY004 - the data is wrong, not the program
        self._name = name
        self._left = dict(value)

    def part(self, name: str, default: dict[str, str] | None = None) -> _Reader:
        return _Reader(f"{self._name}.{name}", self._left.pop(name, default))

    def text(self, name: str, default: str | None = None) -> str:
        value = self._left.pop(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "a text")
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self._left.pop(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def number(self, name: str) -> int:
        value = self.number_or_none(name, None)
        if value is None:
            raise self._wrong(name, "a whole number")
        return value

    def number_or_none(self, name: str, default: int | None) -> int | None:
        value = self._left.pop(name, default)
        # To Python, true is the number 1.
        if isinstance(value, bool) or not (value is None or isinstance(value, int)):
            raise self._wrong(name, "a whole number")
        return value

    def choice(self, name: str, default: _Choice) -> _Choice:
        return type(default)(self.text(name, default.value))

    def done(self) -> None:
        if self._left:
            raise ValueError(f"{self._name} has no {', '.join(map(repr, self._left))}")

    def _wrong(self, name: str, needed: str) -> ValueError:
        return ValueError(f"{self._name}.{name} must be {needed}")

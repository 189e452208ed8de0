"""Limits of a picture, and how one is refused that is too large, damaged or of a kind that cannot be read."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from mattebox.environment import option
from mattebox.errors import Kind, MatteboxError

# What readers of other packages raise on damaged bytes. It is long because Pillow's readers are Python programs that
# trust their file. Warning is in it for processes that turn warnings into errors.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    AttributeError,
    AssertionError,
    struct.error,
    zlib.error,
    Warning,
)
# In these words they say that a file is whole and of a variety they do not know.
_UNSUPPORTED = re.compile(
    "unsupported|not supported|not yet supported|no decoding plugin|unknown raw mode", re.IGNORECASE
)


@dataclass(frozen=True)
class Limits:
    """Limits of a picture. `a & b` is the narrower of both in each respect."""

    max_bytes: int = option(30 * 2**20, "The most bytes that a picture's file may have.")
    max_pixels: int = option(50_000_000, "The most pixels, width times height, of a picture.")

    def __post_init__(self) -> None:
        if self.max_bytes < 1 or self.max_pixels < 1:
            raise ValueError("max_bytes and max_pixels must be at least 1")

    def __and__(self, other: Limits) -> Limits:
        return Limits(min(self.max_bytes, other.max_bytes), min(self.max_pixels, other.max_pixels))


OWN_FILES = Limits(max_bytes=2**30, max_pixels=250_000_000)
"""For people's own files on their own machine: larger than any camera's, so that only absurd ones are refused."""


LONGEST_SIDE = 65_535
"""The most pixels of a side. Longer ones are no photos: few formats can say them, and resizing takes many times the
memory for a strip of one row that it takes for a photo of as many pixels."""


def admit(size: tuple[int, int], limits: Limits) -> None:
    """Refuse a picture of no pixels, of too many, or with a side of more than `LONGEST_SIDE`."""
    width, height = size
    if width < 1 or height < 1:
        raise MatteboxError(Kind.UNREADABLE_IMAGE, "The picture has no pixels.")
    if width * height > limits.max_pixels:
        raise MatteboxError(
            Kind.TOO_MANY_PIXELS,
            f"The picture is {width} × {height} = {width * height:,} pixels; the limit is {limits.max_pixels:,}.",
        )
    if max(size) > LONGEST_SIDE:
        raise MatteboxError(
            Kind.TOO_MANY_PIXELS,
            f"The picture is {width} × {height} pixels; the limit of a side is {LONGEST_SIDE:,}.",
        )


def refuse(what: str, cause: BaseException | None = None) -> NoReturn:
    """Refuse a file for `what`, a sentence without its full stop: which formats to send instead is added here."""
    message = f"{what}; send PNG, JPEG, WebP, AVIF, HEIC, TIFF, BMP or GIF."
    raise MatteboxError(Kind.UNREADABLE_IMAGE, message) from cause


def damaged(name: str) -> MatteboxError:
    """The failure of a file whose bytes contradict each other or end early; `name` is its format."""
    return MatteboxError(Kind.UNREADABLE_IMAGE, f"The {name} is damaged or incomplete.")


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Around a call into another package's reader, and nothing else: what it raises is the file's damage.

    Our own code stays outside, so that a defect of ours is never blamed on the file.

    Raises:
        MatteboxError: UNREADABLE_IMAGE for damage, TOO_MANY_PIXELS where a piece of the file (a tile, a frame) is
            larger than Pillow itself is willing to hold, OVERLOADED where there is not enough memory.
    """
    from PIL.Image import DecompressionBombError, DecompressionBombWarning

    try:
        yield
    except (DecompressionBombError, DecompressionBombWarning) as error:
        raise MatteboxError(Kind.TOO_MANY_PIXELS, f"The {name} holds too many pixels to be read.") from error
    except MemoryError as error:
        raise MatteboxError(
            Kind.OVERLOADED, "There is not enough memory to read this picture; try a smaller one, or again later."
        ) from error
    except _DAMAGE as error:
        if _UNSUPPORTED.search(str(error)):
            refuse(f"This variety of {name} is not supported", error)
        raise damaged(name) from error

"""What a picture may be at most, and how one is refused that is too large, damaged or of an unknown kind."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import NoReturn

from mattebox.errors import Kind, MatteboxError

# What readers raise on damaged bytes. It is long because Pillow's readers are Python programs that trust their file;
# MemoryError is what a row of absurd length gives, Warning is in it for processes that turn warnings into errors.
DAMAGE = (
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
    MemoryError,
    struct.error,
    zlib.error,
    Warning,
)


@dataclass(frozen=True)
class Limits:
    """What a picture may be at most. `a & b` is the narrower of both in each respect."""

    max_bytes: int = field(default=30 * 2**20, metadata={"doc": "The most bytes that a picture's file may have."})
    max_pixels: int = field(default=50_000_000, metadata={"doc": "The most pixels, width times height, of a picture."})

    def __post_init__(self) -> None:
        if self.max_bytes < 1 or self.max_pixels < 1:
            raise ValueError("max_bytes and max_pixels must be at least 1")

    def __and__(self, other: Limits) -> Limits:
        return Limits(min(self.max_bytes, other.max_bytes), min(self.max_pixels, other.max_pixels))


OWN_FILES = Limits(max_bytes=2**30, max_pixels=250_000_000)
"""For people's own files on their own machine: larger than any camera's, so that only absurd ones are refused."""


def admit(size: tuple[int, int], limits: Limits) -> None:
    """Refuse a picture of no pixels or of too many."""
    width, height = size
    if width < 1 or height < 1:
        raise MatteboxError(Kind.UNREADABLE_IMAGE, "The picture has no pixels.")
    if width * height > limits.max_pixels:
        raise MatteboxError(
            Kind.TOO_MANY_PIXELS,
            f"The picture is {width} × {height} = {width * height:,} pixels; the limit is {limits.max_pixels:,}.",
        )


def refuse(what: str) -> NoReturn:
    """Refuse a file for `what`, a sentence without its full stop: which formats to send instead is added here."""
    raise MatteboxError(Kind.UNREADABLE_IMAGE, f"{what}; send PNG, JPEG, WebP, AVIF, HEIC, TIFF, BMP or GIF.")

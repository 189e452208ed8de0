"""A stored image as everybody sees it, pages of them, and how much of it may be kept."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime

from mattebox import codec
from mattebox.edit import Format
from mattebox.environment import option
from mattebox.errors import Kind, MatteboxError

LONGEST_NAME = 30
"""Characters in an image's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStoreOptions:
    """How much of it is kept."""

    images: int = option(10_000, "Images that each key may keep.")
    bytes: int = option(10 * 2**30, "Bytes that the images of each key may have in all.")

    def __post_init__(self) -> None:
        if self.images < 1 or self.bytes < 1:
            raise ValueError("images and bytes must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """The metadata of a stored image.

    `id` is `image_` and 24 lower-case letters and digits; `owner` is an account's id. `width` and `height` are in
    pixels, `size` is in bytes. `created` is in UTC, to the millisecond. `parent` is the id of the image that this one
    was made from, which may have been deleted since; None where it was uploaded, or made from something else.
    `made_by` says what made it, in the words of whoever added it. A `published` image may be read by anyone who knows
    its id.
    """

    id: str
    owner: str
    name: str
    width: int
    height: int
    format: Format
    size: int
    created: datetime
    parent: str | None
    made_by: str
    published: bool

    @property
    def media_type(self) -> str:
        """The media type of the file, as in `image/png`."""
        return codec.media_type(self.format)


@dataclass(frozen=True, slots=True)
class Page:
    """Images, the newest first, and the ids of the images that the pages before and after begin with.

    `previous` is None on the first page, and `next` on the last.
    """

    images: tuple[StoredImage, ...]
    previous: str | None
    next: str | None


@dataclass(frozen=True, slots=True)
class Holdings:
    """How many images an owner keeps, and their bytes in all. What is just being stored is counted already."""

    images: int
    bytes: int


def check_name(name: str) -> str:
    """The name as it is kept: without white space at its ends, 1..30 characters, none of them a control character.

    Raises:
        MatteboxError: INVALID_PARAMETER about `name`.
    """
    stripped = name.strip()
    if not 1 <= len(stripped) <= LONGEST_NAME:
        raise MatteboxError(
            Kind.INVALID_PARAMETER, f"An image's name must have 1 to {LONGEST_NAME} characters.", parameter="name"
        )
    # Neither can be written into a header, and PostgreSQL stores no NUL and no half of a surrogate pair.
    if any(unicodedata.category(each) in {"Cc", "Cs", "Zl", "Zp"} for each in stripped):
        raise MatteboxError(
            Kind.INVALID_PARAMETER, "An image's name must not have control characters or line breaks.", parameter="name"
        )
    return stripped

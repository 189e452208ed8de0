"""The places that pictures of an edit come from: sent along, at an address, or in the server's storage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


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
class Sources:
    """The pictures of one edit: the photo, and the picture behind it where the edit's backdrop is a `Picture`."""

    photo: Source
    backdrop: Source | None = None

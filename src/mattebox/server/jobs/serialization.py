"""An edit and its sources as plain data, so that they can wait in a queue and outlive their process."""

from __future__ import annotations

import math
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, NoReturn, TypeVar

from mattebox.edit import Backdrop, Edit
from mattebox.sources import Source, Sources, Upload

if TYPE_CHECKING:
    from cattrs import Converter

_T = TypeVar("_T")
_Plain = TypeVar("_Plain", bool, int, str)


def to_json(edit: Edit, sources: Sources) -> dict[str, object]:
    """An edit and where its pictures are, as plain data that `json.dumps` takes.

    Raises:
        ValueError: a picture is an Upload: a queue carries names of pictures and never the pictures.
    """
    return {"edit": edit_to_json(edit), "sources": _converter().unstructure(sources)}


def edit_to_json(edit: Edit) -> object:
    """An edit alone, as in `to_json`."""
    return _converter().unstructure(edit)


def from_json(value: object) -> tuple[Edit, Sources]:
    """The inverse of `to_json`. Members that are left out have their defaults, so that an older edit can still be read.

    Raises:
        ValueError: a name, a kind or a type that is not known here, or a value that is out of range.
    """
    if not isinstance(value, dict) or set(value) != {"edit", "sources"}:
        raise ValueError("not an edit: edit and sources are missing")
    return edit_from_json(value["edit"]), _read(value["sources"], Sources)


def edit_from_json(value: object) -> Edit:
    """The inverse of `edit_to_json`.

    Raises:
        ValueError: as in `from_json`.
    """
    return _read(value, Edit)


def _read(value: object, kind: type[_T]) -> _T:
    from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError

    try:
        return _converter().structure(value, kind)
    except (BaseValidationError, ForbiddenExtraKeysError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an edit: {error!r}") from error


@cache
def _converter() -> Converter:
    # Imported when a queue is used, which a program that only cuts out does not.
    from cattrs import Converter
    from cattrs.strategies import configure_tagged_union

    def refuse(*_: object) -> NoReturn:
        raise ValueError("a queued edit has stored sources only")

    def exactly(value: object, kind: type[_Plain]) -> _Plain:
        if isinstance(value, str) and issubclass(kind, StrEnum):
            return kind(value)
        # The library would make 1 of true and "1".
        if type(value) is not kind:
            raise ValueError(f"{value!r} must be {kind.__name__}")
        return value

    def number(value: object, _: type[float]) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{value!r} must be a number")
        return float(value)

    converter = Converter(forbid_extra_keys=True, detailed_validation=False)
    for plain in (bool, int, str):
        converter.register_structure_hook(plain, exactly)
    converter.register_structure_hook(float, number)
    converter.register_unstructure_hook(Upload, refuse)
    converter.register_structure_hook(Upload, refuse)
    for union in (Source, Backdrop):
        configure_tagged_union(union, converter, tag_name="kind", tag_generator=lambda each: each.__name__.lower())
    # To the library `Source | None` is a union of its own, which it would tell apart by the names of its members.
    read, write = converter.get_structure_hook(Source), converter.get_unstructure_hook(Source)
    converter.register_structure_hook(Source | None, lambda value, _: None if value is None else read(value, Source))
    converter.register_unstructure_hook(Source | None, lambda value: None if value is None else write(value))
    return converter

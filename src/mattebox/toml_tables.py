"""Tables that ship as TOML beside the code: read, and checked against the dataclasses that describe them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from importlib import resources
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


def load(package: str, name: str, shape: type[T]) -> T:
    """The contents of a file of the package as `shape`.

    Raises:
        ValueError: the file is not TOML, or a key is missing, unknown or of another type; says which one and where.
    """
    return parse(resources.files(package).joinpath(name).read_text("utf-8"), name, shape)


def parse(text: str, name: str, shape: type[T], *, repeats: bool = False) -> T:
    """TOML as `shape`; `name` is what messages call it, `repeats` allows a text twice in a list. Errors as `load`."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name} is not TOML: {error}") from error
    twice = [f"{where}: listed twice: {', '.join(texts)}" for where, texts in _repeated(table, ())]
    if twice and not repeats:
        raise ValueError(f"{name}: {'; '.join(twice)}")
    try:
        # As JSON, whose strict reading takes an object for a dataclass and converts nothing else.
        return TypeAdapter(shape).validate_json(json.dumps(table), strict=True, extra="forbid")
    except ValidationError as error:
        wrong = (f"{_path(each['loc'])}: {each['msg'].removeprefix('Value error, ')}" for each in error.errors())
        raise ValueError(f"{name}: {'; '.join(wrong)}") from error


def _repeated(value: object, location: tuple[int | str, ...]) -> Iterator[tuple[str, list[str]]]:
    """The places at which a list has a text twice, and which ones."""
    match value:
        case dict():
            for key, each in value.items():
                yield from _repeated(each, (*location, key))
        case list():
            texts = [each for each in value if isinstance(each, str)]
            if len(set(texts)) != len(texts):
                yield _path(location), sorted({each for each in texts if texts.count(each) > 1})
            for index, each in enumerate(value):
                yield from _repeated(each, (*location, index))


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)

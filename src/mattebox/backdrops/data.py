"""Tables that ship as TOML beside the code: read, and checked against the dataclasses that describe them."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")


def load(package: str, name: str, shape: type[T]) -> T:
    """The contents of a file of the package as `shape`.

    Raises:
        ValueError: the file is not TOML, or a key is missing, unknown or of another type; says which one and where.
    """
    return parse(resources.files(package).joinpath(name).read_text("utf-8"), name, shape)


def parse(text: str, name: str, shape: type[T]) -> T:
    """TOML as `shape`; `name` is what messages call it, errors as of `load`."""
    from cattrs import transform_error
    from cattrs.errors import BaseValidationError

    try:
        return _converter().structure(tomllib.loads(text), shape)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name} is not TOML: {error}") from error
    except BaseValidationError as error:
        raise ValueError(f"{name}: {'; '.join(transform_error(error, format_exception=_explained))}") from error


def _explained(error: BaseException, wanted: type | None) -> str:
    from cattrs.v import format_exception

    return str(error) if isinstance(error, TypeError | ValueError) else format_exception(error, wanted)


def _converter() -> Converter:
    """Checks types and converts nothing: a text is not a list of letters, and a number is not a text."""
    from cattrs import Converter

    converter = Converter(forbid_extra_keys=True)

    def scalar(value: object, wanted: type) -> object:
        if wanted is float and type(value) is int:
            return float(value)
        if type(value) is not wanted:
            raise TypeError(f"{value!r} is not of type {wanted.__name__}")
        return value

    for each in (str, int, float, bool):
        converter.register_structure_hook(each, scalar)

    def several(value: object, _: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise TypeError(f"{value!r} is not a list of texts")
        if len(set(value)) != len(value):
            twice = sorted({each for each in value if value.count(each) > 1})
            raise ValueError(f"listed twice: {', '.join(twice)}")
        return tuple(value)

    converter.register_structure_hook_func(lambda wanted: wanted == tuple[str, ...], several)
    return converter

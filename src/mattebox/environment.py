"""Options from the environment: `MATTEBOX_MODELS_THREADS` is the field `threads` of the section `models`.

An option is declared once, as a field of a frozen dataclass beside the code that obeys it. The library and the command
line read only the class they need, with `read`; the server's settings read all of them and share the rules below.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Iterable, Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    from dataclasses import Field
    from typing import ClassVar

    from pydantic_core import ErrorDetails

PREFIX = "MATTEBOX_"


class _Options(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[object]]]


Options = TypeVar("Options", bound=_Options)
_T = TypeVar("_T")


def option(default: _T, doc: str, *, repr: bool = True) -> _T:  # noqa: A002 - as `dataclasses.field` has it
    """A field of such a class: its default, and the sentence that docs/settings.md says of it."""
    return field(default=default, repr=repr, metadata={"doc": doc})


def read(options: type[Options], section: str) -> Options:
    """The options of one section; the default of each that the environment does not set.

    Args:
        options: the class, a frozen dataclass whose fields are str, int, float, bool, Path or tuples of str.
        section: its name in the variables, as in `models`.

    Raises:
        MatteboxError: INVALID_PARAMETER with every wrong variable by name.
    """
    variables = {name.upper(): text for name, text in os.environ.items() if text}  # an empty one is as good as none
    names = {field.name: variable(section, field.name) for field in fields(options)}
    texts = {field: variables[name] for field, name in names.items() if name in variables}
    if not texts:
        return options()
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(options).validate_python(from_text(options, texts))
    except ValidationError as error:
        raise wrong(error.errors(), section) from error


def variable(*names: int | str) -> str:
    """The variable of a setting, as in `MATTEBOX_MODELS_THREADS`."""
    return PREFIX + "_".join(str(name) for name in names).upper()


def from_text(options: type[_Options], values: Mapping[str, object]) -> dict[str, object]:
    """Values by field, where a list is written with commas and a path may begin with `~`."""
    types = typing.get_type_hints(options)
    return {name: _typed(types.get(name), value) for name, value in values.items()}


def _typed(kind: object, value: object) -> object:
    if typing.get_origin(kind) is tuple:
        return split(value)
    if isinstance(value, str) and Path in (kind, *typing.get_args(kind)):
        return Path(value).expanduser()
    return value


def split(value: object) -> object:
    """The parts of a text that commas separate; what is no text stays as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def wrong(errors: Iterable[ErrorDetails], *section: str) -> MatteboxError:
    """The failure of values that are wrong, each named by its variable."""
    found = "; ".join(
        f"{variable(*section, *error['loc'])}: {error['msg'].removeprefix('Value error, ')}" for error in errors
    )
    return MatteboxError(Kind.INVALID_PARAMETER, f"Wrong settings. {found}.")

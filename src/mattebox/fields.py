"""Named values read from what people write, and the types that they are read as.

A `Fields` model declares each value once: its name, its type, what it means. From that come the reader, the messages
about wrong values, and the schema for API docs. Forms, queries, JSON and command lines are all read the same way.

Clients are sloppy: they write "" for what is not set, "True" for true, and numbers as text. All of that is read as it
is meant. A value that cannot be meant is refused by its name.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, NoReturn, Self, TypeAlias

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from mattebox import units
from mattebox.errors import Kind, MatteboxError, forget_frames

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Schema: TypeAlias = dict[str, object]
"""A JSON schema."""

LONGEST_TEXT: Final = 8192
"""Characters of a text without a limit of its own."""


class Refusal(ValueError):
    """A value that cannot be meant. Pydantic collects these; `Fields.read` makes a MatteboxError of the first.

    Args:
        why: the rest of a sentence that begins with the field's name, as in "must be text"; or a whole sentence.
        kind: of the MatteboxError.
        whole: whether `why` is a whole sentence.
    """

    def __init__(self, why: str, *, kind: Kind = Kind.INVALID_PARAMETER, whole: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.kind = kind
        self.whole = whole


@dataclass(frozen=True)
class Reader:
    """How a value is read. A subclass stands in `Annotated[type, Reader()]`, and takes the place of the type's own."""

    def read(self, value: object) -> object:
        """The value that is meant.

        Raises:
            Refusal: it cannot be meant.
            MatteboxError: likewise, in a whole sentence without a parameter.
        """
        raise NotImplementedError

    def read_in(self, value: object, context: object) -> object:  # noqa: ARG002 - for subclasses
        """The same, for a reader that needs to know what `Fields.read` was given as context."""
        return self.read(value)

    @property
    def schema(self) -> Schema:
        """Its JSON schema."""
        raise NotImplementedError

    def show(self, value: object) -> object:
        """How a default is written in the schema; None where it is better not shown."""
        return value if isinstance(value, bool | int | float | str) and value != "" else None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The reader as pydantic calls it."""

        def read(value: object, info: ValidationInfo) -> object:
            try:
                return self.read_in(value, info.context)
            except MatteboxError as error:
                raise Refusal(error.message, kind=error.kind, whole=True) from error

        return core_schema.with_info_plain_validator_function(read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        """Its JSON schema as pydantic asks for it."""
        return self.schema


@dataclass(frozen=True)
class ReadText(Reader):
    """Text without the spaces around it, of at most `longest` characters."""

    longest: int = LONGEST_TEXT

    def read(self, value: object) -> str:  # noqa: D102
        if not isinstance(value, str):
            raise Refusal("must be text")
        text = value.strip()
        if len(text) > self.longest:
            raise Refusal(f"must have at most {self.longest} characters")
        return text

    @property
    def schema(self) -> Schema:  # noqa: D102
        return {"type": "string"} | ({} if self.longest == LONGEST_TEXT else {"maxLength": self.longest})


@dataclass(frozen=True)
class ReadFlag(Reader):
    """true or false, also written "true", "True", "1" or 1, and so on; never yes or no."""

    def read(self, value: object) -> bool:  # noqa: D102
        word = value.strip().lower() if isinstance(value, str) else value
        if isinstance(word, bool | str | int):
            if word in ("true", "1", 1):
                return True
            if word in ("false", "0", 0):
                return False
        raise Refusal("must be true or false")

    @property
    def schema(self) -> Schema:  # noqa: D102
        return {"type": "boolean"}


@dataclass(frozen=True)
class Whole(Reader):
    """A whole number in these bounds, as a number or in digits."""

    least: int
    most: int

    def read(self, value: object) -> int:  # noqa: D102
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not self.least <= value <= self.most:
            raise Refusal(f"must be a whole number from {self.least} to {self.most}")
        return value

    @property
    def schema(self) -> Schema:  # noqa: D102
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Number(Reader):
    """A number in these bounds, as a number or in digits."""

    least: float
    most: float

    def read(self, value: object) -> float:  # noqa: D102
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError as error:
                raise Refusal("must be a number") from error
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise Refusal("must be a number")
        if not self.least <= value <= self.most:  # NaN too, and whole numbers that no float can hold
            raise Refusal(f"must be a number from {self.least:g} to {self.most:g}")
        return float(value)

    @property
    def schema(self) -> Schema:  # noqa: D102
        bounds = {"minimum": self.least, "maximum": self.most}
        return {"type": "number"} | {name: bound for name, bound in bounds.items() if math.isfinite(bound)}


@dataclass(frozen=True)
class Word(Reader):
    """One of several words, whatever its case, and what each stands for.

    Args:
        words: an enumeration, or words and their meanings.
    """

    words: type[StrEnum] | Mapping[str, object]
    meanings: Mapping[str, object] = field(init=False)

    def __post_init__(self) -> None:
        meant = {each.value: each for each in self.words} if isinstance(self.words, type) else self.words
        object.__setattr__(self, "meanings", meant)

    def read(self, value: object) -> object:  # noqa: D102
        word = value.strip().lower() if isinstance(value, str) else ""
        known = {name.lower(): meaning for name, meaning in self.meanings.items()}
        if word not in known:
            raise Refusal(f"must be one of {', '.join(self.meanings)}")
        return known[word]

    @property
    def schema(self) -> Schema:  # noqa: D102
        return {"type": "string", "enum": list(self.meanings)}

    def show(self, value: object) -> object:  # noqa: D102
        return next((word for word, meaning in self.meanings.items() if meaning == value), None)


@dataclass(frozen=True)
class Written(Reader):
    """Text that a function reads, as those of `units`; what it raises is blamed on the field."""

    parse: Callable[[str], object]

    def read(self, value: object) -> object:  # noqa: D102
        return self.parse(ReadText().read(value))

    @property
    def schema(self) -> Schema:  # noqa: D102
        return {"type": "string"}


@dataclass(frozen=True)
class Relation:
    """How a field goes with others of its model. Stands in `Annotated` beside the reader.

    Attributes:
        requires: one of these must be given too.
        excludes: none of these may be given too.
        because: why, for the message; a part of a sentence.
    """

    requires: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    because: str = ""


def counted(most: int) -> BeforeValidator:
    """A check that a value is a list of 1 to `most` objects. Stands in `Annotated` beside the type of the list."""

    def check(value: object) -> object:
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise Refusal(f"must be a list of 1 to {most} objects")
        return value

    return BeforeValidator(check)


Flag = Annotated[bool, ReadFlag()]
Text = Annotated[str, ReadText()]
OpaqueColor = Written(units.color)
AnyColor = Written(partial(units.color, opaque=False))


class Fields(BaseModel):
    """Named values. A subclass declares them; `read` makes one of what came.

    What is absent (not there, null, or an empty text) has its default. `model_fields_set` tells what was given. A field
    that goes by several names has them in `Field(validation_alias=AliasChoices(...))`; the first that is present is
    taken, and blamed.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)
    blank_is_absent: ClassVar[bool] = True
    """Whether an empty text means that nothing was said."""
    _names_used: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _read_present(cls, values: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(values, Mapping):
            raise Refusal("must be an object")
        absent = is_absent if cls.blank_is_absent else partial(operator.is_, None)
        present = {name: value for name, value in values.items() if not absent(value)}
        cls.check_names(present)
        made = handler(present)
        for field_name, info in cls.model_fields.items():
            used = next((name for name in _names(field_name, info) if name in present), field_name)
            if used != field_name:
                made._names_used[field_name] = used
        return made

    @classmethod
    def check_names(cls, names: Collection[str]) -> None:
        """Refuse a combination of what is present before any value is read. A subclass may say more.

        Raises:
            MatteboxError: of any kind.
        """

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        """Pydantic's schema, with defaults as people write them."""
        found = handler(schema)
        properties = handler.resolve_ref_schema(found)["properties"]
        for name, info in cls.model_fields.items():
            shown = properties[_names(name, info)[0]]
            shown.pop("default", None)
            reader = next((each for each in info.metadata if isinstance(each, Reader)), None)
            default = None if reader is None or info.is_required() else reader.show(info.default)
            if default is not None:
                shown["default"] = default
        return found

    @classmethod
    def properties(cls) -> dict[str, Schema]:
        """The JSON schema of each field, by the first of its names."""
        found = cls.model_json_schema(mode="validation")
        shown: dict[str, Schema] = {}
        for name, info in cls.model_fields.items():
            first = _names(name, info)[0]
            shown[first] = inlined(found["properties"][first], found.get("$defs"))
        return shown

    @classmethod
    def required_names(cls) -> tuple[str, ...]:
        """The first names of the fields that have to be given."""
        return tuple(_names(name, info)[0] for name, info in cls.model_fields.items() if info.is_required())

    @classmethod
    def names_of(cls, *field_names: str) -> tuple[str, ...]:
        """All names that these fields go by."""
        return tuple(name for each in field_names for name in _names(each, cls.model_fields[each]))

    def named(self, field_name: str) -> str:
        """The name that a field was given by; the first of its names where it was not."""
        return self._names_used.get(field_name) or _names(field_name, type(self).model_fields[field_name])[0]

    @classmethod
    def read(cls, values: Mapping[str, object], *, called: Callable[[str], str] = str, context: object = None) -> Self:
        """The values that are meant.

        Args:
            values: by name.
            called: how a name is shown to whoever wrote it, `--margin` say.
            context: for readers that need to know more, as `ValidationInfo.context`.

        Raises:
            MatteboxError: about the first field that cannot be meant, is missing or is not known.
        """
        try:
            made = cls.model_validate(values, context=context)
        except ValidationError as error:
            cls._refuse(error.errors(include_url=False), called, error)
        except MatteboxError as error:  # of `check_names`
            raise error if error.parameter is None else error.blaming(called(error.parameter)) from error.__cause__
        made.check_relations(called)
        return made

    @property
    def given(self) -> frozenset[str]:
        """The names of the fields that say something: they were there, and are neither None nor False."""
        return frozenset(name for name in self.model_fields_set if getattr(self, name) not in (None, False))

    def check_relations(self, called: Callable[[str], str] = str) -> None:
        """Refuse fields that cannot be combined, or lack another one.

        Raises:
            MatteboxError: INVALID_PARAMETER.
        """
        # What was said, even "false", needs its companion; only what has an effect excludes others.
        for name, info in type(self).model_fields.items():
            for relation in info.metadata:
                if not isinstance(relation, Relation) or name not in self.model_fields_set:
                    continue
                because = f": {relation.because}" if relation.because else ""
                if relation.requires and self.given.isdisjoint(relation.requires):
                    others = " or ".join(called(self.named(other)) for other in relation.requires)
                    raise _refused(called(self.named(name)), f"requires {others}{because}.")
                for other in relation.excludes:
                    if other != name and {name, other} <= self.given:
                        other_name = called(self.named(other))
                        raise _refused(called(self.named(name)), f"cannot be combined with {other_name}{because}.")

    @classmethod
    def _refuse(cls, problems: list[ErrorDetails], called: Callable[[str], str], cause: Exception) -> NoReturn:
        for each in problems:
            forget_frames(each.get("ctx", {}).get("error"))
        problem = min(problems, key=lambda each: each["type"] != "extra_forbidden")
        name = called(path_of(problem["loc"]))
        refusal = problem.get("ctx", {}).get("error")
        if problem["type"] == "extra_forbidden":
            known = cls.model_fields if len(problem["loc"]) == 1 else ()  # else they are another model's
            message = _unknown(name, str(problem["loc"][-1]), known, called)
        elif problem["type"] == "missing":
            message = f"{name} is required."
        elif isinstance(refusal, Refusal):
            message = refusal.why if refusal.whole else f"{name} {refusal.why}."
        else:
            message = f"{name}: {problem['msg']}."
        if isinstance(refusal, Refusal):
            raise MatteboxError(refusal.kind, message, parameter=name) from refusal.__cause__
        raise MatteboxError(Kind.INVALID_PARAMETER, message, parameter=name[:100]) from cause


def _names(field_name: str, info: FieldInfo) -> tuple[str, ...]:
    """All names that a field goes by."""
    match info.validation_alias:
        case AliasChoices(choices=choices):
            return tuple(str(choice) for choice in choices)
        case str(alias):
            return (alias,)
        case _:
            return (field_name,)


def inlined(schema: Mapping[str, object], definitions: object = None) -> Schema:
    """A JSON schema with what it refers to inside it, and without the titles that only repeat names."""
    known = definitions if isinstance(definitions, Mapping) else schema.get("$defs")

    def walk(value: object) -> object:
        match value:
            case {"$ref": str(reference), **rest} if isinstance(known, Mapping):
                return walk({**known[reference.rpartition("/")[2]], **rest})
            case Mapping():
                return {name: members(name, each) for name, each in value.items() if name not in ("title", "$defs")}
            case list():
                return [walk(each) for each in value]
            case _:
                return value

    def members(name: object, value: object) -> object:
        if name == "properties" and isinstance(value, Mapping):  # one of these may itself be called title
            return {each: walk(inner) for each, inner in value.items()}
        return walk(value)

    found = walk(schema)
    if not isinstance(found, dict):
        raise TypeError(f"{schema!r} is not a schema")
    return found


def _refused(name: str, why: str) -> MatteboxError:
    return MatteboxError(Kind.INVALID_PARAMETER, f"{name} {why}", parameter=name)


def is_absent(value: object) -> bool:
    """Whether a value means that nothing was said: None or an empty text."""
    return value is None or (isinstance(value, str) and not value.strip())


def path_of(location: tuple[int | str, ...]) -> str:
    """The name of a field within others, as in `edits[0].crop`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _unknown(shown: str, name: str, known: Collection[str], called: Callable[[str], str]) -> str:
    message = f"Unknown parameter {shown[:80]!r}."
    if not known:
        return message
    near = difflib.get_close_matches(name, known, 1)
    hint = f"Did you mean {called(near[0])}?" if near else f"Choose from {', '.join(map(called, known))}."
    return f"{message} {hint}"

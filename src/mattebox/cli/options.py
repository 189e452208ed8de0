"""The options of an edit on the command line: each field of a model is an option, and its words are read by the model.

Imported once these options are needed: pydantic is too slow for `mattebox --help`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import typer
from pydantic import Field
from pydantic.fields import FieldInfo

from mattebox import files
from mattebox.edit import Corrections
from mattebox.errors import Kind, MatteboxError
from mattebox.fields import Number, Reader, ReadFlag, Relation, Schema, Whole, Word, Written
from mattebox.options import LONGEST_CORRECTIONS, ONE_BACKGROUND, EditOptions, ReadCorrections, ReplaceOptions, narrowed

_NOTES: Final = {
    "format": "By default what OUT ends in, or png.",
    "model": "See `mattebox models list`. A file of your own is u2net:/my/file.onnx.",
}
"""The command line's additions to an option."""


@dataclass(frozen=True)
class _ReadPath(Reader):
    """The path of a file."""

    def read(self, value: object) -> Path:
        return Path(str(value))

    @property
    def schema(self) -> Schema:
        return {"type": "string", "format": "path"}


@dataclass(frozen=True)
class _ReadCorrectionsFile(ReadCorrections):
    """The path of a file that has them."""

    def read(self, value: object) -> Corrections:
        return super().read(files.read(Path(str(value)), LONGEST_CORRECTIONS))


class RemoveCommand(EditOptions):
    """The options of `mattebox remove`: a picture behind is the path of a file."""

    blank_is_absent: ClassVar[bool] = False  # nobody types --prompt "" without meaning it
    aliases: ClassVar[Mapping[str, str]] = {}

    background_image: Annotated[Path | None, _ReadPath(), ONE_BACKGROUND["background_image"]] = Field(
        None, description="A picture behind the subject. It fills the canvas."
    )
    corrections: Corrections = narrowed(
        EditOptions,
        "corrections",
        _ReadCorrectionsFile(),
        description="A JSON file with strokes that keep or erase, and points and a box that say which object is meant.",
    )


class ReplaceCommand(ReplaceOptions, RemoveCommand):
    """The options of `mattebox replace`, one of which says what goes behind."""

    aliases: ClassVar[Mapping[str, str]] = {
        "background": "--color",
        "background_gradient": "--gradient",
        "background_image": "--image",
        "background_blur": "--blur",
    }

    seed: int = narrowed(ReplaceOptions, "seed", Whole(0, 2**32 - 1))

    def check_relations(self, called: Callable[[str], str] = str) -> None:
        """Refuse fields that cannot be combined, lack another one, or name no generator."""
        from mattebox.backdrops import GENERATORS  # loads numpy, which --help does not need

        super().check_relations(called)
        if self.generator not in (known := ("auto", *GENERATORS)):
            sentence = f"Unknown generator. Choose one of {', '.join(known)}."
            raise MatteboxError(Kind.INVALID_PARAMETER, sentence, parameter=called("generator"))


COMMANDS: Final[Mapping[str, type[RemoveCommand]]] = {
    "remove": RemoveCommand,
    "replace": ReplaceCommand,
    "bulk": RemoveCommand,
}


def flag(name: str) -> str:
    """A field's name as it is typed, `--shadow-opacity`."""
    return "--" + name.replace("_", "-")


def read(command: str, typed: Mapping[str, object]) -> RemoveCommand:
    """The values that were typed; None was not.

    Raises:
        typer.BadParameter: it cannot be meant.
    """
    try:
        return COMMANDS[command].read(typed, called=flag)
    except MatteboxError as error:
        raise typer.BadParameter(error.message, param_hint=error.parameter) from error


def parameters(command: str) -> list[Any]:  # typer does not export their type
    """The options of a command as typer has them. Their values stay text: `read` reads them."""

    def function() -> None: ...

    model = COMMANDS[command]
    found = [_parameter(name, info, model.aliases.get(name)) for name, info in model.model_fields.items()]
    vars(function)["__signature__"] = Signature(found)
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return typer.main.get_command(app).params


def _parameter(name: str, info: FieldInfo, alias: str | None) -> Parameter:
    reader = next(each for each in info.metadata if isinstance(each, Reader))
    kind: Any = str
    metavar: str | None = "TEXT"
    spelling = flag(name)
    match reader:
        case ReadFlag():
            kind, metavar, spelling = bool, None, f"{spelling}/--no-{spelling[2:]}"
        case Word(meanings=words):
            kind, metavar = Literal[tuple(words)], None
        case Whole(least, most) | Number(least, most):
            metavar = f"{least:g}..{most:.10g}"
        case Written(parse):
            metavar = parse.__name__.upper()
        case _ReadPath() | _ReadCorrectionsFile():
            metavar = "FILE"
    default = reader.show(info.default)
    if isinstance(default, bool):
        default = name if default else f"no-{name}"
    option = typer.Option(
        spelling,
        *([] if alias is None else [alias]),
        metavar=metavar,
        case_sensitive=False,
        help=_help(name, info),
        show_default=False if default is None else str(default).replace("_", "-"),
        rich_help_panel="Options of the edit",
    )
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option])


def _help(name: str, info: FieldInfo) -> str:
    relations = [each for each in info.metadata if isinstance(each, Relation)]
    required = " or ".join(flag(each) for relation in relations for each in relation.requires)
    sentence = (info.description or "").replace("`", "")
    return " ".join(filter(None, (sentence, required and f"Requires {required}.", _NOTES.get(name))))

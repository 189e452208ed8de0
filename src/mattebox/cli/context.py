"""What several commands share: the parts they are built from, the environment's options, words for wrong ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from mattebox import batch, files
from mattebox.batch import Plan, shown
from mattebox.cli.terminal import say
from mattebox.edit import Blur, Format
from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from mattebox.backdrops import BackdropOptions
    from mattebox.models import ModelOptions
    from mattebox.models.catalogue import Row
    from mattebox.server.settings import Settings
    from mattebox.steps import Generators, Segmenters

T = TypeVar("T")

Fetching = Callable[[str, int, int | None], None]
"""Told about a download: what is being done, bytes done, bytes in all where that is known."""


def _networks(options: ModelOptions, fetching: Fetching) -> Segmenters:
    from mattebox.models import Models

    return Models(options, progress=fetching)


def _backdrops(options: BackdropOptions, fetching: Fetching) -> Generators:
    from mattebox.backdrops import Backdrops

    return Backdrops(options, progress=fetching)


def _catalogue() -> Mapping[str, Row]:
    from mattebox.models import CATALOGUE

    return CATALOGUE


def _app(settings: Settings) -> ASGIApp:
    from mattebox.server.app import create_app

    return create_app(settings)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the commands are built from. Whoever runs `app` with an `obj` of this class puts in parts of their own."""

    networks: Callable[[ModelOptions, Fetching], Segmenters] = _networks
    backdrops: Callable[[BackdropOptions, Fetching], Generators] = _backdrops
    catalogue: Callable[[], Mapping[str, Row]] = _catalogue
    server: Callable[[Settings], ASGIApp] = _app


# --- options -----------------------------------------------------------------------------------------------------


def _format(word: str) -> Format:
    from mattebox import codec

    found = codec.format_named(word)
    if found is None:
        raise typer.BadParameter(f"{word!r} is none of {', '.join(Format)}.")
    return found


ModelName = Annotated[
    str,
    typer.Option("--model", help="A name from `mattebox models list`, or such a name and a file: u2net:/my/file.onnx."),
]
FormatName = Annotated[
    Format | None,
    typer.Option(
        "--format", parser=_format, metavar="|".join(Format), help="What to write; by default what OUT ends in, or png."
    ),
]
Quality = Annotated[
    int | None,
    typer.Option("--quality", min=1, max=100, help="For jpeg, webp, avif and zip; 100 makes a webp lossless."),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="What the networks run on: auto, cpu, cuda, coreml or openvino:<device>."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]

_HINTS = {"inputs": "INPUT", "output": "-o", "format": "--format"}


def planned(inputs: list[str], output: str | None, *, form: Format | None, overwrite: bool) -> Plan:
    """`batch.plan`, whose words about arguments that do not fit together become those about a wrong command."""
    try:
        return batch.plan(inputs, output, format=form, overwrite=overwrite)
    except MatteboxError as error:
        if error.kind is not Kind.INVALID_PARAMETER:
            raise
        raise typer.BadParameter(error.message, param_hint=_HINTS[error.parameter or ""]) from error


def only_one(options: Mapping[str, object]) -> None:
    """Refuse several of these options, by name."""
    given = [name for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise typer.BadParameter(f"give one of {', '.join(options)}, and not several.", param_hint=given[1])


def lonely(option: str, other: str) -> typer.BadParameter:
    """The failure of an option that says nothing without another one."""
    return typer.BadParameter(f"it says nothing without {other}.", param_hint=option)


def check_standard_output(plan: Plan, *, as_json: bool) -> None:
    """Refuse to write a picture to the standard output where that is a terminal, or has other words to take."""
    if any(job.target is None for job in plan.jobs):
        if as_json:
            raise typer.BadParameter("the standard output cannot take the picture too: name a file.", param_hint="-o")
        if sys.stdout.isatty():
            raise typer.BadParameter("a picture is not written to a terminal: name a file.", param_hint="-o")


def blurred(option: str, sigma: float) -> Blur:
    """The photo's own background, blurred."""
    try:
        return Blur(sigma)
    except ValueError as error:
        raise typer.BadParameter("it must be from 0.3 to 1000 pixels.", param_hint=option) from error


def picture_behind(path: Path, plan: Plan) -> bytes:
    """The file of a picture that goes behind the subjects, once it is clear that it can be read and is not replaced.

    Raises:
        MatteboxError: it cannot be read, is over the limits, or is one of the plan's outputs.
    """
    from mattebox import codec

    try:
        data = files.read(path, codec.OWN_FILES.max_bytes)
        codec.decode(data, codec.OWN_FILES)  # or each of a thousand photos would fail by it
    except MatteboxError as error:
        raise MatteboxError(error.kind, f"{shown(path)}: {error.message}") from error
    if any(job.target is not None and job.target.exists() and job.target.samefile(path) for job in plan.jobs):
        raise MatteboxError(Kind.CONFLICT, f"{shown(path)} would be overwritten, so nothing was done.")
    return data


def checked(option: str, check: Callable[[str], T], value: str) -> T:
    """What `check` makes of an option's value; a wrong value is a wrong command."""
    try:
        return check(value)
    except MatteboxError as error:
        if error.kind is not Kind.INVALID_PARAMETER:
            raise
        raise typer.BadParameter(error.message, param_hint=option) from error


def warn_of_licence(catalogue: Mapping[str, Row], name: str) -> None:
    """Say which of a model's networks may not be used commercially, if any."""
    from mattebox.models.catalogue import licence_warnings

    for sentence in licence_warnings(name, catalogue):
        say(sentence, style="yellow")

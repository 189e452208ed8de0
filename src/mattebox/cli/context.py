"""Parts that several commands share: the components they run on, options that most have, checks of files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mattebox import batch, files
from mattebox.batch import Plan
from mattebox.cli.terminal import say
from mattebox.edit import Format
from mattebox.errors import Kind, MatteboxError
from mattebox.files import shown

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from mattebox.backdrops import BackdropOptions
    from mattebox.models import ModelOptions
    from mattebox.models.catalogue import Row
    from mattebox.server.settings import Settings
    from mattebox.steps import Generators, Segmenters

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
class Components:
    """The components that the commands run on. Whoever runs `app` with an `obj` of this class replaces some of it."""

    networks: Callable[[ModelOptions, Fetching], Segmenters] = _networks
    backdrops: Callable[[BackdropOptions, Fetching], Generators] = _backdrops
    catalogue: Callable[[], Mapping[str, Row]] = _catalogue
    server: Callable[[Settings], ASGIApp] = _app


# --- options -----------------------------------------------------------------------------------------------------

Device = Annotated[
    str | None,
    typer.Option("--device", help="What the networks run on: auto, cpu, cuda, tensorrt, coreml or openvino:<device>."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]

_HINTS = {"inputs": "INPUT", "output": "-o", "format": "--format"}


def planned(inputs: list[str], output: str | None, *, form: Format | None, overwrite: bool) -> Plan:
    """`batch.plan`; arguments that do not fit together are a wrong command."""
    try:
        return batch.plan(inputs, output, format=form, overwrite=overwrite)
    except MatteboxError as error:
        if error.kind is not Kind.INVALID_PARAMETER:
            raise
        raise typer.BadParameter(error.message, param_hint=_HINTS[error.parameter or ""]) from error


def check_standard_output(plan: Plan, *, as_json: bool) -> None:
    """Refuse to write a picture to the standard output where that is a terminal, or takes JSON."""
    if any(job.target is None for job in plan.jobs):
        if as_json:
            raise typer.BadParameter(
                "The standard output cannot take the picture as well as the JSON. Name a file.", param_hint="-o"
            )
        if sys.stdout.isatty():
            raise typer.BadParameter("A picture is not written to a terminal. Name a file.", param_hint="-o")


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


def warn_of_licence(catalogue: Mapping[str, Row], name: str) -> None:
    """Say which of a model's networks may not be used commercially, if any."""
    from mattebox.models.catalogue import licence_warnings

    for sentence in licence_warnings(name, catalogue):
        say(sentence, style="yellow")


def explain_choice(catalogue: Mapping[str, Row], name: str, device: str) -> None:
    """Say which network a name such as `best` stands for on this machine."""
    from mattebox.models import choices
    from mattebox.models.catalogue import Choice

    row = catalogue.get(name)
    if isinstance(row, Choice):
        say(choices.explain(row, choices.machine(device), catalogue))

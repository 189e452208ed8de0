"""What several commands share: the parts they are built from, the environment's options, words for wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import typer

from mattebox.cli.terminal import say
from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from mattebox.engine import Segmenters
    from mattebox.models import ModelOptions
    from mattebox.models.catalogue import Row
    from mattebox.settings import Settings

T = TypeVar("T")

Fetching = Callable[[str, int, int | None], None]
"""Told about a download: what is being done, bytes done, bytes in all where that is known."""


def _networks(options: ModelOptions, fetching: Fetching) -> Segmenters:
    from mattebox.models import Models

    return Models(options, progress=fetching)


def _catalogue() -> Mapping[str, Row]:
    from mattebox.models import CATALOGUE

    return CATALOGUE


def _app(settings: Settings) -> ASGIApp:
    from mattebox.http.app import create_app

    return create_app(settings)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the commands are built from. Whoever runs `app` with an `obj` of this class puts in parts of their own."""

    networks: Callable[[ModelOptions, Fetching], Segmenters] = _networks
    catalogue: Callable[[], Mapping[str, Row]] = _catalogue
    server: Callable[[Settings], ASGIApp] = _app


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

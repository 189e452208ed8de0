"""The log of a server: text for a terminal, JSON for whatever else reads it, a line each."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Callable, Hashable
from typing import Final, Literal, TextIO, TypeAlias, final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat: TypeAlias = Literal["auto", "text", "json"]
FIELDS: Final = (
    "request_id",
    "dialect",
    "method",
    "route",
    "status",
    "seconds",
    "key",
    "kind",
    "parameter",
    "repeated",
)
"""The fields that a record may have besides its sentence: none holds a picture, a key or a prompt."""
_IN_SENTENCE: Final = {"method", "route", "status", "kind"}

_REPEAT_SECONDS: Final = 1.0

_ADDRESS = re.compile(r"\b([a-z][a-z0-9+.-]*://)(?:[^\s/@'\"<>]*@)?([^\s/?#'\"<>]*)[^\s'\"<>]*", re.IGNORECASE)


def configure(form: LogFormat = "auto", stream: TextIO | None = None) -> None:
    """Let the process's log be written so, unless something else has set it up already.

    Args:
        form: `auto` is text at a terminal and JSON otherwise.
        stream: where it goes; by default the standard error.
    """
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    as_text = form == "text" or (form == "auto" and stream.isatty())
    handler.setFormatter(formatter(as_text=as_text, colors=stream.isatty()))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def formatter(*, as_text: bool, colors: bool = False) -> logging.Formatter:
    """Writes a record of the standard library, with the id of the request that it belongs to."""
    last: list[Processor] = [structlog.processors.JSONRenderer(ensure_ascii=False)]
    if as_text:
        plain = structlog.dev.plain_traceback
        last = [
            _without_repeats,
            structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0, exception_formatter=plain),
        ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(allow=FIELDS),
            structlog.processors.TimeStamper("iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _shorten,
            *last,
        ],
    )


@final
class Repeats:
    """Lines that are written over and over: the first at once, and a second later how many more there would have been.

    It lives in one event loop.
    """

    def __init__(self) -> None:
        self._more: dict[Hashable, int] = {}

    def write(self, line: Hashable, write: Callable[[int], None]) -> None:
        """Write a line, or count it.

        Args:
            line: what it has in common with those that it repeats.
            write: writes it, with how many more there were: 0 for the first.
        """
        if line in self._more:
            self._more[line] += 1
            return
        self._more[line] = 0
        write(0)
        asyncio.get_running_loop().call_later(_REPEAT_SECONDS, self._end, line, write)

    def _end(self, line: Hashable, write: Callable[[int], None]) -> None:
        if more := self._more.pop(line):
            write(more)


def shorten_addresses(text: str) -> str:
    """The text, with scheme and host only of each address in it: paths and queries may hold secrets and names."""
    return _ADDRESS.sub(lambda found: f"{found[1]}{found[2]}/…", text)


def _without_repeats(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """For eyes: without what is not known, and what the sentence about a request says already."""
    return {name: value for name, value in event.items() if value is not None and name not in _IN_SENTENCE}


def _shorten(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {name: shorten_addresses(value) if isinstance(value, str) else value for name, value in event.items()}

"""The checkpoint: how work that takes a while learns that it should stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

Checkpoint: TypeAlias = Callable[[], None]
"""Called between steps; raises when the work should stop. The core knows neither deadlines nor clients."""


def go_on() -> None:
    """The checkpoint that never stops the work."""


_checkpoint: ContextVar[Checkpoint] = ContextVar("checkpoint", default=go_on)


@contextmanager
def cancellable(checkpoint: Checkpoint) -> Iterator[None]:
    """Let what is inside, in this thread, be stopped while it waits for other work (`current`)."""
    token = _checkpoint.set(checkpoint)
    try:
        yield
    finally:
        _checkpoint.reset(token)


def current() -> Checkpoint:
    """The checkpoint of the work that goes on in this thread."""
    return _checkpoint.get()

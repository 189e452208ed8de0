"""The stages of an edit, and how whoever measures them is told of each. The core knows neither metrics nor traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from enum import StrEnum
from typing import TypeAlias


class Stage(StrEnum):
    """The stages of a picture, in the order in which it happens."""

    FETCH = "fetch"
    """Downloading a picture, or reading a stored one."""
    QUEUE = "queue"
    """Waiting for a worker."""
    PIXELS = "pixels"
    """Waiting, with a worker, until the picture's pixels fit among those in work."""
    DECODE = "decode"
    """From a file to pixels; once a file."""
    MATCH = "match"
    """Choosing what shows a prompt."""
    LOOK = "look"
    """Choosing what the network is to see, and looking whether it has seen the same before."""
    SEGMENT = "segment"
    """The network, where it is needed."""
    EMBED = "embed"
    """The network that points and a box ask, where it has not seen the picture yet."""
    REFINE = "refine"
    """The matte at the photo's own resolution."""
    FOREGROUND = "foreground"
    """The subject's own colours."""
    LAYOUT = "layout"
    """Crop, scale and shadow; blurring the background."""
    BACKDROP = "backdrop"
    """Making what goes behind; a generator paints here."""
    COMPOSE = "compose"
    """One picture over another."""
    ENCODE = "encode"
    """From pixels to a file."""
    STORE = "store"
    """Writing a task's result to the storage."""


Observer: TypeAlias = Callable[[Stage], AbstractContextManager[object]]
"""Entered when a stage begins and left when it ends, in whichever thread that is."""


def nobody(_: Stage) -> AbstractContextManager[object]:
    """The observer that does nothing."""
    return nullcontext()


_observer: ContextVar[Observer] = ContextVar("observer", default=nobody)


def stage(name: Stage) -> AbstractContextManager[object]:
    """To be entered round a stage."""
    return _observer.get()(name)


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Tell `observer` of the stages inside, in this thread or task and in those that it starts with its context."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)

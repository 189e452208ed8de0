"""One stretch of work on tasks by this process, from the start of its workers to their end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, final

from sqlalchemy import Connection, Engine, Select

from mattebox.errors import Kind, MatteboxError
from mattebox.server.store.database import reachable

_T = TypeVar("_T")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0


class HaltedError(Exception):
    """The workers have stopped under a step's feet. Nothing is written any more; whoever starts next repeats the step.

    It is not a MatteboxError: no task may fail of it.
    """


@final
class Session:
    """The state shared by the steps of one stretch of work.

    Args:
        engine: the database.
        process: the name under which the process works.
    """

    def __init__(self, engine: Engine, process: str) -> None:
        self.process = process
        self._engine = engine
        self._halted = threading.Event()
        self._active: list[str] = []
        self._stops: set[threading.Event] = set()
        self._lock = threading.Lock()

    def halt(self) -> None:
        """Let no step write anything from now on."""
        self._halted.set()
        with self._lock:
            for each in self._stops:
                each.set()

    def check(self) -> None:
        """Raise HaltedError after `halt`."""
        if self._halted.is_set():
            raise HaltedError

    def active(self) -> set[str]:
        """The messages that are being worked on."""
        with self._lock:
            return set(self._active)

    @contextmanager
    def stopping(self) -> Iterator[threading.Event]:
        """An event for work that takes long, which `halt` sets."""
        stop = threading.Event()
        with self._lock:
            self._stops.add(stop)
        if self._halted.is_set():
            stop.set()
        try:
            yield stop
        finally:
            with self._lock:
                self._stops.remove(stop)

    @contextmanager
    def doing(self, message: str) -> Iterator[None]:
        """Remember that a message is being worked on."""
        with self._lock:
            self._active.append(message)
        try:
            yield
        finally:
            with self._lock:
                self._active.remove(message)

    def read(self, query: Select[_T]) -> _T | None:
        """The first value that a query finds; None where it finds nothing, or the database is away."""
        try:
            with reachable(), self._engine.connect() as connection:
                return connection.execute(query).scalars().first()
        except MatteboxError as error:
            if error.kind is not Kind.UNAVAILABLE:
                raise
            return None

    def retry_forever(self, write: Callable[[Connection], _T]) -> _T:
        """Write, however long the database may be away: a worker has nothing better to do than to wait for it.

        Raises:
            HaltedError: the workers were stopped meanwhile.
        """
        pause = FIRST_PAUSE
        while True:
            self.check()
            try:
                with reachable(), self._engine.begin() as connection:
                    return write(connection)
            except MatteboxError as error:
                if error.kind is not Kind.UNAVAILABLE:
                    raise
            if self._halted.wait(pause):
                raise HaltedError
            pause = min(2 * pause, LONGEST_PAUSE)

"""How much is worked on at a time: so many pictures and so many pixels, for requests and tasks together."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import final

import anyio

from mattebox.errors import Kind, MatteboxError

ARRIVING = 16
"""How many pictures may arrive while as many as the server takes are waiting or being worked on."""


class Line(Enum):
    """The two lines that wait for a worker. They are served in turn, so neither starves the other."""

    REQUESTS = auto()
    TASKS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The weights of those of one line that a limiter has let in, and of those that wait."""

    held: tuple[int, ...]
    waiting: tuple[int, ...]


@final
class FairLimiter:
    """A semaphore with weights and two lines. It lives in one event loop.

    In each line it is first come, first served, and what is heavy is not overtaken by what is light. A weight above the
    total counts as the total: it is admitted when nothing else is.
    """

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._lines: dict[Line, deque[tuple[int, anyio.Event]]] = {line: deque() for line in Line}
        self._held: dict[Line, list[int]] = {line: [] for line in Line}
        self._last = Line.TASKS

    @property
    def load(self) -> dict[Line, Load]:
        """The load of each line."""
        return {
            line: Load(held=tuple(self._held[line]), waiting=tuple(weight for weight, _ in self._lines[line]))
            for line in Line
        }

    @asynccontextmanager
    async def hold(self, weight: int, line: Line) -> AsyncIterator[None]:
        """Wait until there is room for `weight`, and take it."""
        weight = min(weight, self._total)
        waiter = (weight, anyio.Event())
        self._lines[line].append(waiter)
        self._admit()
        try:
            await waiter[1].wait()
            yield
        finally:
            if waiter[1].is_set():
                self._free += weight
                self._held[line].remove(weight)
            else:
                self._lines[line].remove(waiter)
            self._admit()

    def _admit(self) -> None:
        while waiting := [line for line in Line if self._lines[line]]:
            line = next((each for each in waiting if each is not self._last), waiting[0])
            weight, admitted = self._lines[line][0]
            if weight > self._free:
                return
            self._lines[line].popleft()
            self._free -= weight
            self._held[line].append(weight)
            self._last = line
            admitted.set()


@final
class Admission:
    """Decides which picture is worked on when. It lives in one event loop.

    Args:
        workers: pictures that are worked on at a time.
        queue: requests that may wait; more are refused. Tasks have a queue of their own, so they wait here without end.
        pixels: of all pictures that are worked on at a time. One that has more is worked on when no other is.
    """

    def __init__(self, *, workers: int, queue: int, pixels: int) -> None:
        self.capacity = workers + queue
        self._workers = FairLimiter(workers)
        self._everything = workers
        self._pixels = FairLimiter(pixels)
        self._requests = 0

    @property
    def free(self) -> int:
        """How many more requests would be admitted now."""
        return max(0, self.capacity - self._requests)

    @property
    def pictures(self) -> dict[Line, Load]:
        """The pictures that are worked on, and those that wait for a worker, each of the weight 1 or alone."""
        return self._workers.load

    @property
    def pixels_taken(self) -> dict[Line, Load]:
        """The pixels of the pictures that are worked on, and of those that have a worker and wait."""
        return self._pixels.load

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request, from its admission until it is answered.

        Raises:
            MatteboxError: OVERLOADED at once when too many are waiting.
        """
        if self._requests >= self.capacity:
            raise MatteboxError(
                Kind.OVERLOADED, "Too many pictures are waiting; please try again in a moment.", retry_after=2
            )
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    @asynccontextmanager
    async def worker(self, line: Line, *, alone: bool = False) -> AsyncIterator[None]:
        """Wait for a worker; `alone` waits for all of them, so that nothing else is worked on meanwhile."""
        async with self._workers.hold(self._everything if alone else 1, line):
            yield

    @asynccontextmanager
    async def pixels(self, count: int, line: Line) -> AsyncIterator[None]:
        """Wait until `count` more pixels may be worked on. Call it inside `worker`."""
        async with self._pixels.hold(count, line):
            yield


@final
class UploadLimiter:
    """Bounds how many requests are inside, because each of them may bring a picture into memory."""

    def __init__(self, most: int) -> None:
        self._free = most

    def __enter__(self) -> None:
        if self._free < 1:
            raise MatteboxError(
                Kind.OVERLOADED, "Too many pictures are arriving; please try again in a moment.", retry_after=2
            )
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        self._free += 1

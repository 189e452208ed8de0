"""Which picture is taken on, and which is worked on when: for requests and tasks together, and fair between keys.

**What is taken on is finished.** A request is taken on if what waits and is worked on, by the pace of the last minutes,
is done within `BACKLOG` of the time that a request may take. More is refused at once, with the time after which there
will be room. Whoever has waited for as long as that goes first, the oldest before the others; so everybody's turn comes
within twice that time, whatever the order before, and what is left of the time is for pictures that take longer than
was thought.

**No key fills all places.** A key may have as much waiting as is still free after it. One key alone fills half, two
fill a third each, and so on: there is always room for another. Keys take turns by what their pictures cost and not by
their number, so small pictures are not held up by another key's large ones.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, final

import anyio

from mattebox.environment import option
from mattebox.errors import Kind, MatteboxError
from mattebox.server.pace import Pace

ARRIVING = 16
"""How many pictures may arrive while as many as the server takes are waiting or being worked on."""
BACKLOG: Final = 0.4
"""The part of a request's time that all the work before it may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionOptions:
    """How much work is taken on at a time."""

    workers: int = option(2, "Photos worked on at the same time, those of tasks included.")
    queue: int = option(
        32,
        "Photos of requests that may wait for their turn. More are refused at once, and so is what cannot be done in "
        "time.",
    )
    per_key: int = option(
        0,
        "Photos of one key that may be worked on or wait, unless it has a number of its own; 0 means as many as leave "
        "room for other keys.",
    )
    estimate: float = option(
        2.0, "Seconds that a photo is expected to keep this machine busy, until some were measured."
    )
    pixels: int = option(
        100_000_000,
        "Pixels worked on at the same time, width times height of all photos and pictures behind them. One photo that "
        "has more is worked on alone.",
    )
    timeout: float = option(60.0, "Seconds that a request's photo may take, waiting included.")

    def __post_init__(self) -> None:
        if self.workers < 1 or self.queue < 0 or self.pixels < 1 or not 0 < self.timeout < math.inf:
            raise ValueError("workers and pixels must be at least 1, queue at least 0 and timeout a number above 0")
        if self.per_key < 0 or not 0 < self.estimate < math.inf:
            raise ValueError("per_key must be at least 0 and estimate a number above 0")


class Line(Enum):
    """The two kinds of work."""

    REQUESTS = auto()
    TASKS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose pictures they are.

    Attributes:
        id: those of one id wait in one line.
        most: how many it may have in work and waiting; 0 means any number.
        shared: this is not one key but everybody, so nothing is kept free for others.
    """

    id: str = ""
    most: int = 0
    shared: bool = False


ANYBODY: Final = Owner(shared=True)
TASKS: Final = Owner(id="tasks", shared=True)
"""All tasks wait here in one line: what the database hands to this process are few at a time."""


@dataclass(slots=True, kw_only=True, eq=False)
class Ticket:
    """One picture from its admission to its end.

    Attributes:
        owner: whose it is.
        line: what it belongs to.
        kind: what is done with it, as in `Pace`.
        since: when it came, by the event loop's clock.
        cost: what it will take of the machine's seconds.
        begun: `Pace.shares` when the work began; None while it waits.
    """

    owner: Owner
    line: Line
    kind: str = ""
    since: float = field(default_factory=anyio.current_time)
    cost: float = 1.0
    begun: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The weights of those of one line that a limiter has let in, and of those that wait."""

    held: tuple[int, ...]
    waiting: tuple[int, ...]


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiter:
    ticket: Ticket
    weight: int
    turn: float
    admitted: anyio.Event = field(default_factory=anyio.Event)


@final
class FairLimiter:
    """A semaphore with weights and a line for each owner. It lives in one event loop.

    Lines take turns by cost (start-time fair queueing): the turn of a picture is when its line would have been served
    so far, had each line the same part of the machine. What does not fit yet may be overtaken by what does, until it
    has waited for `patience`. A weight above the total counts as the total: it is admitted when nothing else is.

    Args:
        total: of the weights that are inside at a time.
        patience: seconds after which whoever waits goes first.
    """

    def __init__(self, total: int, *, patience: float = math.inf) -> None:
        self._total = self._free = total
        self._patience = patience
        self._waiting: list[_Waiter] = []
        self._inside: list[_Waiter] = []
        self._served: dict[str, float] = {}
        self._now = 0.0

    @property
    def load(self) -> dict[Line, Load]:
        """The load of each line."""

        def weights(those: list[_Waiter], line: Line) -> tuple[int, ...]:
            return tuple(each.weight for each in those if each.ticket.line is line)

        return {line: Load(held=weights(self._inside, line), waiting=weights(self._waiting, line)) for line in Line}

    @asynccontextmanager
    async def hold(self, weight: int, ticket: Ticket) -> AsyncIterator[None]:
        """Wait until there is room for `weight`, and take it."""
        weight = min(weight, self._total)
        turn = max(self._now, self._served.get(ticket.owner.id, 0.0))
        self._served[ticket.owner.id] = turn + ticket.cost
        waiter = _Waiter(ticket=ticket, weight=weight, turn=turn)
        self._waiting.append(waiter)
        self._admit()
        try:
            await waiter.admitted.wait()
            yield
        finally:
            if waiter.admitted.is_set():
                self._free += weight
                self._inside.remove(waiter)
            else:
                self._waiting.remove(waiter)
            self._admit()

    def _admit(self) -> None:
        while (waiter := self._next()) is not None:
            self._waiting.remove(waiter)
            self._free -= waiter.weight
            self._inside.append(waiter)
            self._now = max(self._now, waiter.turn)
            waiter.admitted.set()
        self._served = {owner: turn for owner, turn in self._served.items() if turn > self._now}

    def _next(self) -> _Waiter | None:
        now = anyio.current_time() if self._waiting else 0.0
        late = [each for each in self._waiting if now - each.ticket.since >= self._patience]
        if late:
            oldest = min(late, key=lambda each: each.ticket.since)
            return oldest if oldest.weight <= self._free else None
        fitting = (each for each in self._waiting if each.weight <= self._free)
        return min(fitting, key=lambda each: each.turn, default=None)


@final
class Admission:
    """Decides which picture is taken on, and when it is worked on. It lives in one event loop.

    Args:
        workers: pictures that are worked on at a time.
        queue: requests that may wait; more are refused. Tasks have a queue of their own, so they wait here without end.
        pixels: of all pictures that are worked on at a time. One that has more is worked on when no other is.
        timeout: seconds that a request may take, waiting included.
        pace: how long pictures take.
    """

    def __init__(self, *, workers: int, queue: int, pixels: int, timeout: float, pace: Pace) -> None:
        self.capacity = workers + queue
        self._everything = workers
        self._backlog = BACKLOG * timeout
        self._workers = FairLimiter(workers, patience=self._backlog)
        self._pixels = FairLimiter(pixels, patience=self._backlog)
        self._pace = pace
        self._tickets: list[Ticket] = []
        self._promised: dict[str, float] = {}

    @property
    def free(self) -> int:
        """How many more requests there are places for; whether they are taken on depends on the work before them."""
        return max(0, self.capacity - len(self._requests()))

    @property
    def pictures(self) -> dict[Line, Load]:
        """The pictures that are worked on, and those that wait for a worker, each of the weight 1 or alone."""
        return self._workers.load

    @property
    def pixels_taken(self) -> dict[Line, Load]:
        """The pixels of the pictures that are worked on, and of those that have a worker and wait."""
        return self._pixels.load

    @contextmanager
    def request(self, owner: Owner, kind: str) -> Iterator[Ticket]:
        """A place for a request, from its admission until it is answered.

        Raises:
            MatteboxError: OVERLOADED at once when too much is waiting, or too much of this owner.
        """
        self.check(owner, kind)
        with self._place(Ticket(owner=owner, line=Line.REQUESTS, kind=kind)) as ticket:
            yield ticket

    @contextmanager
    def task(self, kind: str) -> Iterator[Ticket]:
        """A place for a task, which is never refused."""
        with self._place(Ticket(owner=TASKS, line=Line.TASKS, kind=kind)) as ticket:
            yield ticket

    def check(self, owner: Owner, kind: str) -> None:
        """Whether a small picture would be taken on now.

        Raises:
            MatteboxError: OVERLOADED, as `request`.
        """
        requests = self._requests()
        own = [each for each in requests if each.owner == owner]
        if owner.most and len(own) >= owner.most:
            raise MatteboxError(
                Kind.OVERLOADED,
                f"This key has {owner.most} pictures in work and waiting, which is as many as it may.",
                retry_after=max(1.0, self._until_one_ends(own)),
            )
        taken = len(requests) + (0 if owner.shared else len(own))
        cost = self._pace.predict(kind, 0)
        if len(requests) >= self.capacity or (taken >= self.capacity and len(requests) >= self._everything):
            raise self._too_much(owner, self._until_one_ends(requests), cost)
        self._check_work(owner, cost)

    def weigh(self, ticket: Ticket, pixels: int, *, late: bool = False) -> None:
        """Say how large a picture is, once that is known.

        Args:
            ticket: the picture's.
            pixels: width times height, of the picture behind it too.
            late: its turn has come already, so it is not refused any more.

        Raises:
            MatteboxError: OVERLOADED where there is too much work before it.
        """
        cost = self._pace.predict(ticket.kind, pixels)
        if ticket.line is Line.REQUESTS and not late:
            self._check_work(ticket.owner, cost, known=ticket)
        ticket.cost = cost

    @asynccontextmanager
    async def worker(self, ticket: Ticket, *, alone: bool = False) -> AsyncIterator[None]:
        """Wait for a worker; `alone` waits for all of them, so that nothing else is worked on meanwhile."""
        async with self._workers.hold(self._everything if alone else 1, ticket):
            yield

    @asynccontextmanager
    async def work(self, ticket: Ticket, pixels: int) -> AsyncIterator[None]:
        """Wait until so many more pixels may be worked on, and learn how long that takes. Call it inside `worker`."""
        async with self._pixels.hold(pixels, ticket):
            ticket.begun = self._pace.shares()
            with self._pace.measure(lambda: ticket.kind, pixels):
                yield

    @contextmanager
    def _place(self, ticket: Ticket) -> Iterator[Ticket]:
        ticket.cost = self._pace.predict(ticket.kind, 0)
        self._tickets.append(ticket)
        try:
            yield ticket
        finally:
            self._tickets.remove(ticket)

    def _requests(self) -> list[Ticket]:
        return [each for each in self._tickets if each.line is Line.REQUESTS]

    def _check_work(self, owner: Owner, cost: float, *, known: Ticket | None = None) -> None:
        others = [each for each in self._tickets if each is not known]
        if len(others) < self._everything:  # a worker is free
            return
        work: defaultdict[str, float] = defaultdict(float)
        for each in others:
            work[each.owner.id] += self._left(each)
        total = sum(work.values())
        own = 0.0 if owner.shared else work[owner.id]
        excess = total + own + cost - self._backlog
        if excess > 0:
            # What is the owner's own counts twice, so it goes down faster than a second in each second.
            raise self._too_much(owner, excess / (1 + own / total) if total else excess, cost * max(1, len(work)))

    def _too_much(self, owner: Owner, seconds: float, each: float) -> MatteboxError:
        """The refusal of a picture. Of many that one owner sends at once each is told a time of its own to come back.

        Args:
            owner: whose it is.
            seconds: until there is room, if nobody else comes.
            each: seconds after which there is room for another one of this owner.
        """
        now = anyio.current_time()
        self._promised = {name: then for name, then in self._promised.items() if then > now}
        seconds = max(1.0, seconds, min(self._promised.get(owner.id, now) - now, self._backlog))
        self._promised[owner.id] = now + seconds + each
        return MatteboxError(
            Kind.OVERLOADED,
            "Too many pictures are waiting; please try again when the header Retry-After says.",
            retry_after=seconds,
        )

    def _left(self, ticket: Ticket) -> float:
        done = 0.0 if ticket.begun is None else self._pace.shares() - ticket.begun
        return max(0.0, ticket.cost - done)

    def _until_one_ends(self, tickets: list[Ticket]) -> float:
        """Seconds until the first of these pictures is done."""
        begun = [self._left(each) * self._pace.active for each in tickets if each.begun is not None]
        return min(begun, default=sum(map(self._left, self._tickets)))


@final
class UploadLimiter:
    """Bounds how many requests are inside, because each of them may bring a picture into memory.

    As with the work, each owner may have as many inside as are still free after it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside: Counter[str] = Counter()

    @contextmanager
    def hold(self, owner: Owner) -> Iterator[None]:
        """A place for a request.

        Raises:
            MatteboxError: OVERLOADED where none is free.
        """
        taken = self._inside.total()
        if taken and taken + (0 if owner.shared else self._inside[owner.id]) >= self._most:
            raise MatteboxError(
                Kind.OVERLOADED, "Too many pictures are arriving; please try again in a moment.", retry_after=2
            )
        self._inside[owner.id] += 1
        try:
            yield
        finally:
            self._inside[owner.id] -= 1
            self._inside += Counter()  # forgets who has none

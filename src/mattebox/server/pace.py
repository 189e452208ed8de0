"""How long pictures keep the machine busy, learnt from those of the last minutes.

The unit is the machine's second: while n pictures are worked on at a time, each of them gets an n-th of each second.
Counted so, a picture costs about the same whether it is worked on alone or beside others, and what waits can be added
up: the sum is how long the machine needs for it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, final

from cachetools import LRUCache, TTLCache

MEMORY_SECONDS: Final = 300.0
"""Pictures that were done longer ago tell nothing any more."""
_SAMPLES: Final = 32
"""Of each kind the last so many."""
_KINDS: Final = 64
_MEGAPIXEL_SECONDS: Final = 0.05
"""The cost of a megapixel, until pictures of several sizes were measured."""
_LINE_SECONDS: Final = 1.0
"""How long what was made of the samples is kept, where no other comes: every refusal asks for it."""
_DOUBT: Final = 0.5
"""How much the first estimate weighs beside one picture that was measured."""


@final
class Pace:
    """The speed of one process. It lives in one event loop.

    Args:
        estimate: seconds that a picture is expected to take, beside its pixels, before any was measured.
        clock: the time in seconds.
    """

    def __init__(self, estimate: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._estimate = estimate
        self._clock = clock
        self._samples: LRUCache[str, deque[tuple[float, int, float]]] = LRUCache(_KINDS)
        self._lines: TTLCache[str, tuple[float, float]] = TTLCache(_KINDS, _LINE_SECONDS, timer=clock)
        self._active = 0
        self._shares = 0.0
        self._then = clock()

    @property
    def active(self) -> int:
        """How many pictures are worked on."""
        return self._active

    def shares(self) -> float:
        """The machine's seconds that each picture has got which was worked on all the time."""
        now = self._clock()
        if self._active:
            self._shares += (now - self._then) / self._active
        self._then = now
        return self._shares

    @contextmanager
    def measure(self, kind: Callable[[], str], pixels: int) -> Iterator[None]:
        """Learn from what is done inside. Of what is cut short nothing is known but that it takes longer.

        Args:
            kind: what was done, asked for at the end: before, nobody knows whether a network has to run.
            pixels: width times height.
        """
        begin = self.shares()
        self._active += 1
        done = False
        try:
            yield
            done = True
        finally:
            spent = self.shares() - begin
            self._active -= 1
            if done or spent > self.predict(kind(), pixels):
                self._samples.setdefault(kind(), deque(maxlen=_SAMPLES)).append((self._then, pixels, spent))
                self._lines.pop(kind(), None)

    def predict(self, kind: str, pixels: int) -> float:
        """The machine's seconds that a picture will take.

        Args:
            kind: what is done; pictures of one kind differ in their pixels only.
            pixels: width times height.
        """
        line = self._lines.get(kind)
        if line is None:
            line = self._lines[kind] = self._line(kind)
        return line[0] + line[1] * pixels

    def _line(self, kind: str) -> tuple[float, float]:
        """The cost of a picture of no size, and of each of its pixels."""
        now = self._clock()
        samples = [(_DOUBT, size, self._first(size)) for size in (0, 24_000_000)]
        samples += [
            (1.0, size, spent) for then, size, spent in self._samples.get(kind, ()) if now - then < MEMORY_SECONDS
        ]
        # Weighted least squares, without numpy, which takes longer for so few.
        weight = sum(w for w, _, _ in samples)
        size = sum(w * x for w, x, _ in samples) / weight
        spent = sum(w * y for w, _, y in samples) / weight
        covariance = sum(w * (x - size) * (y - spent) for w, x, y in samples)
        slope = covariance / sum(w * (x - size) ** 2 for w, x, _ in samples)
        if slope < 0:  # by chance the large ones were the quick ones
            return spent, 0.0
        return max(0.0, spent - slope * size), slope

    def _first(self, pixels: int) -> float:
        return self._estimate + _MEGAPIXEL_SECONDS * min(1.0, self._estimate) * pixels / 1e6

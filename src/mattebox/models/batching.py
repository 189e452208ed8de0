"""Photos that want the same network at the same time, given to it as one batch.

A GPU takes little longer for eight photos than for one. Whoever calls does not notice: each waits for its own answer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import final

import numpy as np
import numpy.typing as npt

from mattebox import cancellation
from mattebox.errors import MatteboxError
from mattebox.models.families import Batch
from mattebox.models.network import LoadedNetwork, OutOfMemoryError

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.05
"""How often a photo that waits looks whether it should stop."""


@dataclass(slots=True, eq=False)
class _Place:
    """A photo's place in the line, and what the network said of it."""

    photo: Batch
    since: float
    outcome: Future[npt.NDArray[np.float32]] = field(default_factory=Future)


@final
class Batching:
    """A network that is called with one photo at a time, by many threads, and runs them in batches.

    There is no thread of its own: one of those that wait runs the batch for all, whoever finds that nobody does. A
    batch holds the photos of one size that have waited longest. It begins when it is full, or when its first photo has
    waited for `wait` seconds, be it for others or for the batch before.

    Args:
        network: takes up to `network.batch` photos.
        wait: seconds that a photo waits for others, at most.
    """

    def __init__(self, network: LoadedNetwork, *, wait: float) -> None:
        self.size = network.size
        self.where = network.where
        self.batch = 1
        self._network = network
        self._largest = network.batch
        self._wait = wait
        self._line: list[_Place] = []
        self._running = False
        self._changed = threading.Condition()

    def __call__(self, batch: Batch) -> npt.NDArray[np.float32]:
        """The network's output for one photo. Raises too what the checkpoint raises of the work that goes on here."""
        checkpoint = cancellation.current()
        place = _Place(batch, time.monotonic())
        with self._changed:
            self._line.append(place)
            self._changed.notify_all()
        try:
            while not self._advance(place):
                checkpoint()
        finally:
            with self._changed:
                if place in self._line:
                    self._line.remove(place)
        return place.outcome.result()

    def _advance(self, place: _Place) -> bool:
        """Run the next batch, or wait a moment where another thread runs one. Whether the place has its answer."""
        with self._changed:
            if not place.outcome.done() and self._running:
                self._changed.wait(_LOOK_SECONDS)
            if place.outcome.done() or self._running:
                return place.outcome.done()
            self._running = True
        places: list[_Place] = []
        try:
            with self._changed:
                places = self._gathered()
            self._run(places)
        finally:
            with self._changed:
                # Where this thread was interrupted, the others' photos are left to the others.
                self._line[:0] = [each for each in places if not each.outcome.done() and each is not place]
                self._running = False
                self._changed.notify_all()
        return place.outcome.done()

    def _gathered(self) -> list[_Place]:
        """The photos of the next batch, taken out of the line once there are enough or the first has waited long."""
        while True:
            first = self._line[0]
            alike = [each for each in self._line if each.photo.shape == first.photo.shape][: self._largest]
            left = first.since + self._wait - time.monotonic()
            if len(alike) == self._largest or left <= 0:
                break
            self._changed.wait(left)
        self._line = [each for each in self._line if each not in alike]
        return alike

    def _run(self, places: Sequence[_Place]) -> None:
        photos = [each.photo for each in places]
        _log.debug("%s: running %d photos", self.where, len(photos))
        try:
            answers = self._network(photos[0] if len(photos) == 1 else np.concatenate(photos))
        except MatteboxError as error:
            if len(places) > 1:
                self._run_in_parts(places, error)
            else:
                places[0].outcome.set_exception(error)
        else:
            for each, answer in zip(places, answers, strict=True):
                each.outcome.set_result(answer[np.newaxis])

    def _run_in_parts(self, places: Sequence[_Place], error: MatteboxError) -> None:
        """Run photos that failed together: halves of them where memory ended, or else each by itself.

        Thus one that cannot be done fails alone.
        """
        count = len(places)
        if isinstance(error, OutOfMemoryError):
            self._largest = count // 2
            _log.warning("%s: no memory for %d photos at once; from now on %d", self.where, count, self._largest)
            while places:
                part, places = places[: self._largest], places[self._largest :]
                self._run(part)  # which may halve it again
            return
        _log.warning("%s: a batch of %d photos failed, each is run by itself: %s", self.where, count, error)
        for each in places:
            self._run([each])
        if all(
            each.outcome.exception() is None for each in places
        ):  # it was made for one photo, whatever its file says
            _log.warning("%s: photos are run one by one from now on", self.where)
            self._largest = 1

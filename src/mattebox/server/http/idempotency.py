"""Answers kept for a day, so that a request that is sent again with its Idempotency-Key is not done again.

They are kept in this process's memory: a restart forgets them, and so does running out of room, the least recently
used first. Forgetting costs the work once more and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import final

from cachetools import TTLCache

from mattebox.edit import Edit
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Encoded
from mattebox.sources import Sources, Upload

DAY = 24 * 3600.0
ROOM = 256 * 2**20
LONGEST_KEY = 255
_OVERHEAD = 1024
"""Bytes round an answer: the objects that hold it and the cache's entries. Measured: 0.6 kB."""


@dataclass(frozen=True, slots=True)
class _Stored:
    fingerprint: bytes
    answer: Encoded
    weight: int


@dataclass(frozen=True, slots=True)
class _Running:
    fingerprint: bytes
    done: asyncio.Event


@final
class IdempotencyCache:
    """Results by who asked and the key they asked under.

    Args:
        room: the most bytes that are kept; a result that is larger than that alone is not kept.
        seconds: how long a result is kept.
    """

    def __init__(self, *, room: int = ROOM, seconds: float = DAY) -> None:
        self._room = room
        self._stored: TTLCache[tuple[str, str], _Stored] = TTLCache(room, seconds, getsizeof=_weight)
        self._running: dict[tuple[str, str], _Running] = {}

    async def once(
        self, owner: str, key: str, edit: Edit, sources: Sources, work: Callable[[], Awaitable[Encoded]]
    ) -> tuple[Encoded, bool]:
        """The result of `work`, and whether it is one from before.

        Of two at the same time one works and the other waits. A failure is not kept: the next one tries again.

        Raises:
            MatteboxError: INVALID_PARAMETER where the key is too long or was used for something else; and what `work`
                raises.
        """
        if len(key) > LONGEST_KEY:
            raise MatteboxError(
                Kind.INVALID_PARAMETER,
                f"An Idempotency-Key may have at most {LONGEST_KEY} characters.",
                parameter="Idempotency-Key",
            )
        name = (owner, key)
        fingerprint = await asyncio.to_thread(_fingerprint, edit, sources)
        while (running := self._running.get(name)) is not None:
            _compare(running.fingerprint, fingerprint)
            await running.done.wait()
        stored = self._stored.get(name)
        if stored is not None:
            _compare(stored.fingerprint, fingerprint)
            return stored.answer, True
        self._running[name] = mine = _Running(fingerprint, asyncio.Event())
        try:
            answer = await work()
        finally:
            del self._running[name]
            mine.done.set()
        weight = sum(map(sys.getsizeof, (answer.data, owner, key))) + _OVERHEAD
        fresh = _Stored(fingerprint, answer, weight)
        if weight <= self._room:
            self._stored[name] = fresh
        return answer, False


def _compare(before: bytes, now: bytes) -> None:
    if before != now:
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            "This Idempotency-Key was used for another request already.",
            parameter="Idempotency-Key",
        )


def _weight(stored: _Stored) -> int:
    return stored.weight


def _fingerprint(edit: Edit, sources: Sources) -> bytes:
    """Of what is asked, not of the body's bytes: the same form has another boundary each time it is sent."""
    digest = hashlib.sha256(repr((edit, sources)).encode())  # the bytes of a picture are not part of its repr
    for source in (sources.photo, sources.backdrop):
        if isinstance(source, Upload):
            digest.update(hashlib.sha256(source.data).digest())
    return digest.digest()

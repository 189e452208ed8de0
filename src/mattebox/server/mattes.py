"""Rough mattes kept for some minutes, so that the same picture with something else behind it needs no network again.

What a network says depends on the pixels that it sees and on nothing else, so a matte that is kept changes no byte of a
result. They are kept in this process's memory, each for the account that had it made, and for nobody else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, final

from cachetools import TTLCache

from mattebox.environment import option
from mattebox.image import RGB
from mattebox.steps import Kept, fingerprint

_OVERHEAD = 1024
"""Bytes round a matte: the objects that hold it and the cache's entries."""
_LOOK_SECONDS = 60.0
_Key: TypeAlias = tuple[str, str, tuple[int, ...], bytes]
"""Whose it is, the model, the shape of what the network sees, and the digest of its pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatteOptions:
    """How many mattes are kept, and how long."""

    bytes: int = option(
        256 * 2**20,
        "Memory for mattes that are kept: the same picture of the same key needs no network again, whatever is put "
        "behind it or corrected. A matte takes 4 MiB or more, 16 MiB more where points or a box asked the network for "
        "clicks; what was not used the longest goes first. 0 keeps none.",
    )
    seconds: float = option(600.0, "Seconds that a matte is kept after it was used the last time.")

    def __post_init__(self) -> None:
        if self.bytes < 0 or not 0 < self.seconds < float("inf"):
            raise ValueError("bytes must be at least 0 and seconds a number above 0")


@final
class MatteCache:
    """The rough mattes of the last minutes. Safe to use from several threads.

    Args:
        options: how many are kept, and how long.
        count: told of each look-up whether the matte was there.
    """

    def __init__(
        self, options: MatteOptions = MatteOptions(), *, count: Callable[[bool], None] = lambda _: None
    ) -> None:
        self._options = options
        self._count = count
        self._kept: TTLCache[_Key, Kept] = TTLCache(options.bytes, options.seconds, getsizeof=_weight)
        self._lock = threading.Lock()

    def recall(self, owner: str, model: str, seen: RGB) -> tuple[Kept | None, Callable[[Kept], None]]:
        """The matte that is kept, and what keeps one where there is none; as `steps.Recall`."""
        if not self._options.bytes:
            return None, lambda _: None
        key = (owner, model, *fingerprint(seen))
        with self._lock:
            found = self._kept.pop(key, None)
            if found is not None:
                self._kept[key] = found  # for its whole time again
        self._count(found is not None)

        def keep(kept: Kept) -> None:
            for each in kept.arrays:
                each.flags.writeable = False
            if _weight(kept) <= self._options.bytes:
                with self._lock:
                    self._kept[key] = kept

        return found, keep

    async def forget(self) -> float | None:
        """Forget what has expired, though nobody asks; returns seconds until the next round, as `Supervisor` has it."""
        return min(self._options.seconds, _LOOK_SECONDS) if self._options.bytes and self.bytes >= 0 else None

    @property
    def bytes(self) -> int:
        """The memory that is taken. What has expired is forgotten before."""
        with self._lock:
            self._kept.expire()
            return int(self._kept.currsize)


def _weight(kept: Kept) -> int:
    return sum(each.nbytes for each in kept.arrays) + _OVERHEAD

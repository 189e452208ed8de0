"""Background work of a server: deleting what has expired, writing down what was counted, compiling what is slow."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.util import find_spec
from subprocess import DEVNULL
from typing import final

import anyio.to_thread
from platformdirs import user_cache_path

from mattebox.errors import Kind, MatteboxError
from mattebox.server.store.accounts import Accounts
from mattebox.server.store.claims import Claims

logger = logging.getLogger(__name__)

_SWEEP_SECONDS = 60.0
_CLAIM_SECONDS = 300.0
"""After so long without a round another server takes the sweeping over."""
_FLUSH_SECONDS = 5.0
_LOOK_SECONDS = 5.0


async def sweep(claims: Claims, name: str, work: Callable[[float], int], *, at_once: int) -> float:
    """Delete what has expired, where no other server does; returns seconds until the next round.

    Args:
        claims: one server at a time does this, for as long as it lives.
        name: what is claimed.
        work: deletes what has expired by a time, in seconds since 1970; returns how much that was.
        at_once: the most that `work` deletes; then there is probably more.
    """
    if not await anyio.to_thread.run_sync(partial(claims.claim, name, seconds=_CLAIM_SECONDS)):
        return _SWEEP_SECONDS
    swept = await anyio.to_thread.run_sync(work, time.time())
    return _SWEEP_SECONDS if swept < at_once else 0.0


async def flush(accounts: Accounts) -> float:
    """Write down the usage that was counted in memory; returns seconds until the next round."""
    await anyio.to_thread.run_sync(accounts.flush)
    return _FLUSH_SECONDS


async def compile_multilevel() -> None:
    """Have what `foreground=multilevel` needs compiled into its cache, where its package is installed.

    The first one who asked for it would wait longer than a request may take. It is done in another process because the
    compiler takes half a gigabyte, which this one would keep.
    """
    if find_spec("pymatting") is None:
        return
    # Numba would write beside its callers' code, into the environment. The variable is for this process, too.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(user_cache_path("mattebox", appauthor=False) / "numba"))
    program = "import os; getattr(os, 'nice', int)(19); import pymatting.foreground.estimate_foreground_ml"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", program, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        await process.wait()
    finally:
        if process.returncode is None:  # the server ends
            process.kill()
            await process.wait()


@final
class MemoryReturn:
    """Gives memory back to the system once a burst of work is over: the C library keeps what many threads have freed.

    Args:
        busy: whether anything is worked on.
        give_back: gives it back.
    """

    def __init__(self, busy: Callable[[], bool], give_back: Callable[[], None]) -> None:
        self._busy = busy
        self._give_back = give_back
        self._worked = False

    async def round(self) -> float:
        """Look whether work has ended since the last look; returns seconds until the next."""
        if self._busy():
            self._worked = True
        elif self._worked:
            self._worked = False
            await anyio.to_thread.run_sync(self._give_back)
        return _LOOK_SECONDS


@final
class Supervisor:
    """Keeps background work going: a round that fails is logged, said by `failing`, and done again after a pause.

    Args:
        pause: seconds after the first failure; doubled each further time in a row.
        longest: seconds that a pause lasts at most.
    """

    def __init__(self, *, pause: float = 1.0, longest: float = 60.0) -> None:
        self._pause = pause
        self._longest = longest
        self._running: list[asyncio.Task[None]] = []
        self._failing: dict[str, str] = {}

    @property
    def failing(self) -> list[str]:
        """A sentence for each work whose last round failed."""
        return [f"{name} failed: {reason}" for name, reason in self._failing.items()]

    def start(self, name: str, work: Callable[[], Awaitable[float | None]]) -> None:
        """Do rounds of `work`, which returns seconds until the next, or None where it is done for good.

        Args:
            name: what it is, to begin a sentence with.
            work: one round.
        """
        self._running.append(asyncio.create_task(self._supervise(name, work), name=name))

    async def close(self) -> None:
        """End all work."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _supervise(self, name: str, work: Callable[[], Awaitable[float | None]]) -> None:
        pause = self._pause
        while True:
            try:
                rest = await work()
            except MatteboxError as error:
                logger.warning("%s failed: %s", name, error.message, exc_info=error.kind is Kind.INTERNAL)
                self._failing[name] = error.message
            except (Exception, asyncio.CancelledError) as error:  # whatever it is, the work must go on
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                    raise  # it is `close` that ends it, and not something inside
                logger.exception("%s failed, by a defect", name)
                self._failing[name] = "The server's log says why."
            else:
                self._failing.pop(name, None)
                pause = self._pause
                if rest is None:
                    return
                await asyncio.sleep(rest)
                continue
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._longest)

"""Whether a server can work: its networks are loaded, its stores answer, its workers are free."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass, field
from typing import Protocol, final

import anyio
import anyio.to_thread
from sqlalchemy import Engine, text

from mattebox.errors import Kind, MatteboxError
from mattebox.server.http.dialect import reason
from mattebox.server.maintenance import Supervisor
from mattebox.server.rates import RateLimits
from mattebox.server.runner import Runner
from mattebox.server.store.blobs import Blobs
from mattebox.server.store.database import reachable

_log = logging.getLogger(__name__)

_ANSWER_HOLDS = 2.0
_STORES_SECONDS = 8.0
_STOP_SECONDS = 10.0
"""How long a download may take to end."""


@final
class Readiness:
    """Loads the networks in the background, and says how far that is."""

    def __init__(self, runner: Runner, *, pause: float = 60.0) -> None:
        self._runner = runner
        self._pause = pause
        self._loop = asyncio.get_running_loop()
        self._decided = asyncio.Event()
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._fetching = False
        self._failure: MatteboxError | None = None

    def progress(self, _what: str, _done: int, _total: int | None) -> None:
        """Told of downloads, by any thread. A download takes minutes, so nobody is kept waiting for it.

        Raises:
            MatteboxError: CANCELLED where the server is being stopped, which ends the download.
        """
        if self._stopping.is_set():
            raise MatteboxError(Kind.CANCELLED, "The server is being stopped.")
        if not self._fetching:
            self._fetching = True
            self._loop.call_soon_threadsafe(self._decided.set)

    async def stop(self) -> None:
        """End a download with the programs that it has started, and do not try again."""
        self._stopping.set()
        if self._fetching:
            with anyio.move_on_after(_STOP_SECONDS):
                await self._ended.wait()

    async def load(self) -> None:
        """Load; where a part is missing that may appear (weights, say), say so and try again every `pause` seconds.

        A failure that is no MatteboxError is a defect: `check` says so, and it is raised.
        """
        try:
            await self._load()
        finally:
            self._ended.set()

    async def _load(self) -> None:
        while not self._runner.ready and not self._stopping.is_set():
            try:
                await self._runner.warm()
            except MatteboxError as error:
                if error.kind is not Kind.CANCELLED:
                    _log.error("the model cannot be loaded: %s", reason(error))
                self._fail(error)
            except Exception:
                self._fail(MatteboxError(Kind.INTERNAL, "The model cannot be loaded."))
                raise
            else:
                self._failure = None
                self._settled()
            if self._failure is not None:
                if self._failure.kind is not Kind.UNAVAILABLE:
                    return
                with anyio.move_on_after(self._pause):
                    await self._stopping.wait()
        if self._runner.ready:
            try:
                await self._runner.warm_backdrops()
            except MatteboxError as error:
                # Nobody who removes a background needs to care.
                _log.warning("backdrops in words cannot be had: %s", reason(error))

    def _fail(self, error: MatteboxError) -> None:
        self._failure = error
        self._settled()

    def _settled(self) -> None:
        self._fetching = False
        self._decided.set()

    async def check(self, *, patience: float = 0.0) -> None:
        """Return when the networks are loaded.

        Raises:
            MatteboxError: UNAVAILABLE after `patience` seconds, or at once where loading failed or the weights are
                being fetched.
        """
        with anyio.move_on_after(patience):
            await self._decided.wait()
        if self._runner.ready:
            return
        if self._fetching:
            raise MatteboxError(Kind.UNAVAILABLE, "The model is still being fetched.", retry_after=30)
        if self._failure is not None:
            raise MatteboxError(Kind.UNAVAILABLE, self._failure.message) from self._failure
        raise MatteboxError(Kind.UNAVAILABLE, "The model is still being loaded.", retry_after=5)


@final
class Stores:
    """Knows whether the stores are there. Asking them costs something, so an answer holds a while.

    Args:
        database: where keys and tasks are.
        blobs: the storage.
        rates: what counts requests, perhaps in Redis; None where requests for pictures do not come.
    """

    def __init__(self, database: Engine, blobs: Blobs, rates: RateLimits | None = None) -> None:
        self._database = database
        self._blobs = blobs
        self._rates = rates
        self._asking = asyncio.Lock()
        self._asked = -math.inf
        self._failure: MatteboxError | None = None

    async def check(self) -> None:
        """Whether all answer.

        Raises:
            MatteboxError: UNAVAILABLE where one does not.
        """
        async with self._asking:
            if time.monotonic() - self._asked > _ANSWER_HOLDS:
                self._failure = await self._ask()
                self._asked = time.monotonic()
        if self._failure is not None:
            raise MatteboxError(self._failure.kind, self._failure.message)

    async def _ask(self) -> MatteboxError | None:
        try:
            with anyio.fail_after(_STORES_SECONDS):
                await anyio.to_thread.run_sync(self._touch, abandon_on_cancel=True)
        except MatteboxError as error:
            return error
        except TimeoutError:
            return MatteboxError(Kind.UNAVAILABLE, "The database, the storage or Redis does not answer.")
        return None

    def _touch(self) -> None:
        with reachable(), self._database.connect() as connection:
            connection.execute(text("SELECT 1"))
        self._blobs.check()
        if self._rates is not None:
            self._rates.check_storage()


class Part(Protocol):
    """A part of the server that knows whether it works."""

    def check(self) -> None:
        """Raise MatteboxError where it does not."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Health:
    """Everything that `/ready` asks: whether this server can work.

    Attributes:
        readiness: whether the networks are loaded.
        stores: whether the database, the storage, and what counts requests answer.
        runner: whether there is a worker.
        supervisor: what goes on in the background. It fails without harm to pictures, so that is only a warning.
        tasks: whether this server takes part in the queue, as it should; None where it has none.
        ending: set when the server is told to stop, also while it still takes requests.
    """

    readiness: Readiness
    stores: Stores
    runner: Runner
    supervisor: Supervisor
    tasks: Part | None
    ending: anyio.Event = field(default_factory=anyio.Event)

    async def check(self) -> None:
        """Whether pictures can be worked on.

        Raises:
            MatteboxError: UNAVAILABLE with the first reason why not.
        """
        if self.ending.is_set():
            raise MatteboxError(Kind.UNAVAILABLE, "The server is being stopped.")
        await self.readiness.check()
        await self.stores.check()
        self.runner.check()
        if self.tasks is not None:
            self.tasks.check()

    @property
    def warnings(self) -> list[str]:
        """Failures in the background, a sentence each."""
        return self.supervisor.failing

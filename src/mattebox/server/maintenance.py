"""What a server does besides answering: see whether its stores are there, and delete what has expired."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import final

import anyio
import anyio.to_thread
from sqlalchemy import Engine, text

from mattebox.errors import Kind, MatteboxError
from mattebox.server.store.blobs import SWEPT_AT_ONCE, Blobs
from mattebox.server.store.database import reachable
from mattebox.server.store.images import ImageStore

_log = logging.getLogger(__name__)

_SWEEP_SECONDS = 60.0
_ANSWER_HOLDS = 2.0
_STORES_SECONDS = 8.0


async def sweep(blobs: Blobs, library: ImageStore) -> None:
    """Delete what has expired, once a minute. Every server does so: what one is too late for is gone already."""
    while True:
        try:
            swept = await anyio.to_thread.run_sync(blobs.sweep, time.time())
            await anyio.to_thread.run_sync(library.sweep, time.time())
        except MatteboxError as error:
            _log.warning("expired pictures stay for now: %s", error.message)
            swept = 0
        if swept < SWEPT_AT_ONCE:
            await asyncio.sleep(_SWEEP_SECONDS)


@final
class Stores:
    """Knows whether the database and the storage are there. Asking them costs something, so an answer holds a while."""

    def __init__(self, database: Engine, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs
        self._asking = asyncio.Lock()
        self._asked = -math.inf
        self._failure: MatteboxError | None = None

    async def check(self) -> None:
        """Whether both answer.

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
            return MatteboxError(Kind.UNAVAILABLE, "The database or the storage does not answer.")
        return None

    def _touch(self) -> None:
        with reachable(), self._database.connect() as connection:
            connection.execute(text("SELECT 1"))
        self._blobs.check()

"""The imperative shell round the engine: get the picture, admit the work or refuse it, run it in a thread, count it.

Everything asynchronous lives here and above. The engine below is plain, synchronous code.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import assert_never

import anyio
import anyio.to_thread

from mattebox.codec import Limits
from mattebox.edit import Edit, Link, Source, Upload
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.fetch import Fetcher
from mattebox.image import Encoded
from mattebox.models import DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """How much work is taken on at a time."""

    workers: int = field(default=2, metadata={"doc": "Photos worked on at the same time."})
    queue: int = field(default=32, metadata={"doc": "Photos that may wait for their turn; more are refused at once."})
    timeout: float = field(default=60.0, metadata={"doc": "Seconds a photo may take, waiting included."})

    def __post_init__(self) -> None:
        if self.workers < 1 or self.queue < 0 or self.timeout <= 0:
            raise ValueError("workers must be at least 1, queue at least 0 and timeout above 0")


class Service:
    """Runs edits for the doors that serve many people at once."""

    def __init__(
        self,
        engine: Engine,
        fetcher: Fetcher,
        *,
        limits: Limits = Limits(),
        model: str = "auto",
        options: ServiceOptions = ServiceOptions(),
    ) -> None:
        self.limits = limits
        self.model = model
        self.ready = False
        self._engine = engine
        self._fetcher = fetcher
        self._options = options
        self._threads = anyio.CapacityLimiter(options.workers)
        self._admitted = 0

    @property
    def capacity(self) -> int:
        """The most photos that are worked on or wait at a time."""
        return self._options.workers + self._options.queue

    async def warm(self) -> None:
        """Load the default model and run it once, so that the first request does not pay for it."""
        await anyio.to_thread.run_sync(self._engine.models.warm, self.model)
        self.ready = True

    async def run(self, edit: Edit, *, limits: Limits, stop: threading.Event | None = None) -> Encoded:
        """Do one edit.

        Args:
            edit: what to do.
            limits: the door's own limits; the narrower of these and the service's hold.
            stop: set it when nobody waits for the result any more.

        Raises:
            MatteboxError: OVERLOADED at once when too much is waiting; TIMED_OUT; CANCELLED; and whatever the engine
                and the download raise.
        """
        if self._admitted >= self.capacity:
            raise MatteboxError(
                Kind.OVERLOADED, "Too many pictures are waiting; please try again in a moment.", retry_after=2
            )
        self._admitted += 1
        try:
            return await self._run(edit, self.limits & limits, stop or threading.Event())
        finally:
            self._admitted -= 1

    async def _run(self, edit: Edit, limits: Limits, stop: threading.Event) -> Encoded:
        deadline = time.monotonic() + self._options.timeout

        def checkpoint() -> None:
            if stop.is_set():
                raise MatteboxError(Kind.CANCELLED, "Nobody waits for this picture any more.")
            if time.monotonic() > deadline:
                raise MatteboxError(
                    Kind.TIMED_OUT, f"The picture was not done within {self._options.timeout:g} seconds."
                )

        def work(photo: bytes) -> Encoded:
            checkpoint()
            return self._engine.run(edit, photo, limits=limits, checkpoint=checkpoint)

        if edit.matte.model == DEFAULT:
            edit = replace(edit, matte=replace(edit.matte, model=self.model))
        photo = await self._read(edit.source, limits)
        return await anyio.to_thread.run_sync(partial(work, photo), limiter=self._threads)

    async def _read(self, source: Source, limits: Limits) -> bytes:
        match source:
            case Upload(data):
                return data
            case Link(url):
                return await self._fetcher.fetch(url, max_bytes=limits.max_bytes)
            case _:
                assert_never(source)

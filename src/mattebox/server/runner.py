"""The imperative shell round the engine: get the picture, admit the work or refuse it, run it in a thread, count it.

Everything asynchronous lives here and above. The engine below is plain, synchronous code.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import assert_never

import anyio
import anyio.from_thread
import anyio.to_thread

from mattebox.codec import Limits
from mattebox.edit import Edit, Output
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Encoded
from mattebox.models import DEFAULT
from mattebox.picture_files import keep, transform
from mattebox.server.fetch import Fetcher
from mattebox.sources import Link, Source, Sources, Stored, Upload
from mattebox.transforms import Transform


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """How much work is taken on at a time."""

    workers: int = field(default=2, metadata={"doc": "Photos worked on at the same time."})
    queue: int = field(default=32, metadata={"doc": "Photos that may wait for their turn; more are refused at once."})
    timeout: float = field(default=60.0, metadata={"doc": "Seconds a photo may take, waiting included."})

    def __post_init__(self) -> None:
        if self.workers < 1 or self.queue < 0 or not 0 < self.timeout < math.inf:
            raise ValueError("workers must be at least 1, queue at least 0 and timeout a number above 0")


class Runner:
    """Runs edits for the doors that serve many people at once."""

    def __init__(
        self,
        engine: Engine,
        fetcher: Fetcher,
        *,
        limits: Limits = Limits(),
        model: str = "auto",
        options: RunnerOptions = RunnerOptions(),
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

    @property
    def free(self) -> int:
        """How many more photos would be admitted now."""
        return max(0, self.capacity - self._admitted)

    async def warm(self) -> None:
        """Load the default model and run it once, so that the first request does not pay for it."""
        await anyio.to_thread.run_sync(self._engine.models.warm, self.model)
        self.ready = True

    async def warm_backdrops(self) -> None:
        """Make the backdrops ready for the first prompt.

        Raises:
            MatteboxError: a part of them is no good; who asks for a backdrop will be told the same.
        """
        await anyio.to_thread.run_sync(self._engine.warm_backdrops)

    async def run(self, edit: Edit, sources: Sources, *, limits: Limits) -> Encoded:
        """Do one edit.

        Cancel the scope round it when nobody waits for the result any more: a download and waiting for a worker end at
        once, work that has begun ends between two of its steps. The deadline does the same.

        Args:
            edit: what to do.
            sources: where its pictures are.
            limits: the door's own limits; the narrower of these and the service's hold.

        Raises:
            MatteboxError: OVERLOADED at once when too much is waiting; TIMED_OUT; and whatever the engine and the
                download raise.
        """
        return await self._in_turn(partial(self._run, edit, sources, self.limits & limits))

    async def transform(
        self,
        change: Transform | None,
        photo: Callable[[], bytes],
        *,
        marks: Sequence[Callable[[], bytes]] = (),
        output: Output | None = None,
        limits: Limits,
    ) -> Encoded:
        """Change a picture without a network; as `engine.transform`, and admitted, timed and cancelled as in `run`.

        These are pictures that were kept, as in `run_kept`. They are read in the worker's thread when it is their turn:
        those who wait hold none in memory.

        Raises:
            MatteboxError: OVERLOADED, TIMED_OUT, and whatever the engine raises.
        """

        def work() -> Encoded:
            return transform(
                change,
                photo(),
                marks=(mark() for mark in marks),
                output=output,
                limits=self._for_kept(limits),
                checkpoint=anyio.from_thread.check_cancelled,
            )

        return await self._in_turn(partial(self._in_thread, work))

    async def paint(self, prompt: str, *, width: int, height: int, seed: int) -> Encoded:
        """A picture for words alone; as `Engine.paint`, and admitted, timed and cancelled as in `run`.

        Raises:
            MatteboxError: OVERLOADED, TIMED_OUT, and whatever the engine raises.
        """
        work = partial(self._engine.paint, prompt, width=width, height=height, seed=seed)
        return await self._in_turn(
            partial(self._in_thread, partial(work, checkpoint=anyio.from_thread.check_cancelled))
        )

    async def run_kept(
        self, edit: Edit, photo: Callable[[], bytes], *, backdrop: Source | None = None, limits: Limits
    ) -> Encoded:
        """As `run`, with a picture that was kept as the photo.

        Of the limits only that on pixels holds for it: a PNG of what came may well have more bytes than may come. It is
        read in the worker's thread, as in `transform`.

        Raises:
            MatteboxError: as in `run`, and whatever `photo` raises.
        """
        return await self._in_turn(
            partial(self._run, edit, Sources(photo=Upload(b""), backdrop=backdrop), self.limits & limits, kept=photo)
        )

    def _for_kept(self, limits: Limits) -> Limits:
        return replace(self.limits & limits, max_bytes=sys.maxsize)

    async def keep(self, source: Source, *, limits: Limits) -> Encoded:
        """A picture as it can be kept, as in `engine.keep`; fetched where it is a link.

        Raises:
            MatteboxError: OVERLOADED, TIMED_OUT, and whatever the engine and the download raise.
        """

        async def work() -> Encoded:
            photo = await self._read(source, self.limits & limits)
            return await self._in_thread(partial(keep, photo, limits=self.limits & limits))

        return await self._in_turn(work)

    async def _in_turn(self, work: Callable[[], Awaitable[Encoded]]) -> Encoded:
        if self._admitted >= self.capacity:
            raise MatteboxError(
                Kind.OVERLOADED, "Too many pictures are waiting; please try again in a moment.", retry_after=2
            )
        self._admitted += 1
        try:
            with anyio.move_on_after(self._options.timeout):
                return await work()
        finally:
            self._admitted -= 1
        raise MatteboxError(Kind.TIMED_OUT, f"The picture was not done within {self._options.timeout:g} seconds.")

    async def _in_thread(self, work: Callable[[], Encoded]) -> Encoded:
        # In the thread `check_cancelled` raises once the scope that waits for the thread is cancelled. The thread is
        # never left alone: its worker is free when it has really ended.
        return await anyio.to_thread.run_sync(work, limiter=self._threads)

    async def _run(
        self, edit: Edit, sources: Sources, limits: Limits, *, kept: Callable[[], bytes] | None = None
    ) -> Encoded:
        edit = with_model(edit, self.model)
        photo = b"" if kept is not None else await self._read(sources.photo, limits)
        backdrop = None
        if sources.backdrop is not None:
            try:
                backdrop = await self._read(sources.backdrop, limits)
            except MatteboxError as error:
                raise error.about("backdrop") from error.__cause__

        def work() -> Encoded:
            return self._engine.run_file(
                edit,
                photo if kept is None else kept(),
                backdrop=backdrop,
                limits=limits if kept is None else self._for_kept(limits),
                checkpoint=anyio.from_thread.check_cancelled,
            )

        return await self._in_thread(work)

    async def _read(self, source: Source, limits: Limits) -> bytes:
        match source:
            case Upload(data):
                return data
            case Link(url):
                return await self._fetcher.fetch(url, max_bytes=limits.max_bytes)
            case Stored():
                raise MatteboxError(Kind.UNAVAILABLE, "This server keeps no pictures.")
            case _:
                assert_never(source)


def with_model(edit: Edit, model: str) -> Edit:
    """The edit, with the server's own model where it names none."""
    return replace(edit, matte=replace(edit.matte, model=model)) if edit.matte.model == DEFAULT else edit

"""The runner: finds the pictures of an edit, waits for its turn, runs it in a thread and ends it in time.

Requests and tasks go through the same code and under the same limits. Everything asynchronous lives here and above; the
pipeline below is plain, synchronous code.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias, TypeVar, assert_never, final

import anyio
import anyio.from_thread
import anyio.to_thread

from mattebox import codec
from mattebox.codec import Limits
from mattebox.edit import Edit, Output, Prompt
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError, blame, failures_behind
from mattebox.image import RGB, Encoded
from mattebox.models import DEFAULT
from mattebox.models.runtimes import give_back_memory
from mattebox.picture_files import keep, transform
from mattebox.server.admission import ANYBODY, Admission, AdmissionOptions, Owner, Ticket
from mattebox.server.fetch import Fetcher
from mattebox.server.mattes import MatteCache, MatteOptions
from mattebox.server.pace import Pace
from mattebox.server.store.accounts import Account
from mattebox.server.store.blobs import Blobs
from mattebox.sources import Link, Source, Sources, Stored, Upload
from mattebox.stages import Observer, Stage, nobody, observed, stage
from mattebox.steps import Kept, recall_nothing
from mattebox.transforms import Transform

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

_Files: TypeAlias = tuple[bytes, bytes | None]
"""The photo, and the picture behind it."""

LARGE = 2**24
"""Pixels above which a picture's memory is given back to the system at once: of 49 megapixels 200 MB stay with the C
library, and the next picture would come on top of them."""
STEP_SECONDS = 10.0
"""How long the step may last that was going on when its work was to end; after that it counts as stuck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """How a piece of work waits, and what happens when its turn has come."""

    ticket: Ticket
    alone: bool = False
    begin: Callable[[], None] = lambda: None
    """Called in the worker's thread."""
    deadline: Callable[[], None] = lambda: None
    """Starts the clock, where it does not run already."""


@final
class Runner:
    """Runs edits for requests and tasks. Everything but the constructor is called in one event loop.

    Args:
        engine: makes the pictures.
        fetcher: downloads those that are links.
        blobs: has those that are stored; without it there are none.
        limits: what a picture may be at most.
        model: the model of an edit that names none.
        options: how much work is taken on at a time.
        mattes: what the networks said of the last pictures.
        observer: told of the stages of each picture.
    """

    def __init__(
        self,
        engine: Engine,
        fetcher: Fetcher,
        blobs: Blobs | None = None,
        *,
        limits: Limits = Limits(),
        model: str = "auto",
        options: AdmissionOptions = AdmissionOptions(),
        mattes: MatteCache | None = None,
        observer: Observer = nobody,
    ) -> None:
        self.limits = limits
        self.model = model
        self.options = options
        self.ready = False
        self.admission = Admission(
            workers=options.workers,
            queue=options.queue,
            pixels=options.pixels,
            timeout=options.timeout,
            pace=Pace(options.estimate),
        )
        self._engine = engine
        self._fetcher = fetcher
        self._blobs = blobs
        self._mattes = mattes or MatteCache(MatteOptions(bytes=0))
        self._observer = observer
        self._measuring = anyio.CapacityLimiter(2)  # the heads of files, which cost little
        self._stuck: set[asyncio.Task[Encoded | None]] = set()

    @property
    def stuck(self) -> int:
        """The workers that are held by a step that does not end."""
        return len(self._stuck)

    @property
    def busy(self) -> bool:
        """Whether any picture is worked on or waits."""
        return any(load.held or load.waiting for load in self.admission.pictures.values())

    def check_room(self, account: Account) -> None:
        """Refuse a request for a picture that would not be taken on, before its body is read.

        Raises:
            MatteboxError: OVERLOADED, as in `run`.
        """
        self.admission.check(self._owner(account), self.model)

    def check(self) -> None:
        """Whether there is a worker left.

        Raises:
            MatteboxError: UNAVAILABLE where each is held by a step that does not end.
        """
        if len(self._stuck) >= self.options.workers:
            raise MatteboxError(
                Kind.UNAVAILABLE, "Every worker is held by a step that does not end. Restart the server."
            )

    async def warm(self) -> None:
        """Load the default model and run it once, so that the first request does not pay for it."""
        await anyio.to_thread.run_sync(self._engine.models.warm, self.model)
        self.ready = True

    async def warm_backdrops(self) -> None:
        """Make the backdrops ready for the first prompt.

        Raises:
            MatteboxError: a part of them cannot be used; requests for a backdrop get the same failure.
        """
        await anyio.to_thread.run_sync(self._engine.warm_backdrops)

    # --- what is done ------------------------------------------------------------------------------------------------

    async def run(self, edit: Edit, sources: Sources, *, account: Account | None = None, limits: Limits) -> Encoded:
        """Do one edit for a request.

        Cancel the scope round it when nobody waits for the result any more: a download and waiting for a worker end at
        once, work that has begun ends between two of its steps. The deadline does the same.

        Args:
            edit: what to do.
            sources: where its pictures are.
            account: who asks; None is anybody.
            limits: the dialect's own limits; the narrower of these and the server's hold.

        Raises:
            MatteboxError: OVERLOADED at once when it would not be done in time; TIMED_OUT; and whatever the engine and
                the download raise.
        """
        work = partial(self._run, edit, sources, self.limits & limits, account=account)
        return await self._request(account, self._kind(edit), work)

    async def run_task(
        self, edit: Edit, sources: Sources, *, timeout: float, alone: bool = False, begin: Callable[[], None]
    ) -> Encoded:
        """Do one edit for a task: it waits for its turn for as long as that takes, and can be cancelled as in `run`.

        Args:
            edit: what to do.
            sources: where its pictures are.
            timeout: seconds that it may take once its turn has come.
            alone: nothing else may be worked on meanwhile.
            begin: called in the worker's thread when its turn has come and before a pixel is decoded. What it raises
                ends the work.

        Raises:
            MatteboxError: TIMED_OUT; NOT_FOUND where a stored picture is not kept any more; and whatever the engine and
                the download raise.
        """
        with anyio.CancelScope() as deadline:

            def start_the_clock() -> None:
                deadline.deadline = anyio.current_time() + timeout

            with self.admission.task(self._kind(edit)) as ticket:
                turn = _Turn(ticket=ticket, alone=alone, begin=begin, deadline=start_the_clock)
                return await self._finished(partial(self._run, edit, sources, self.limits, turn))
        raise _late(timeout)

    async def run_kept(
        self,
        edit: Edit,
        photo: Callable[[], bytes],
        *,
        backdrop: Source | None = None,
        account: Account | None = None,
        limits: Limits,
    ) -> Encoded:
        """As `run`, with a picture that was kept as the photo.

        Of the limits only that on pixels holds for it: a PNG of what came may well have more bytes than may come. It is
        read when it is its turn: those who wait hold none in memory.
        """
        sources = Sources(photo=Upload(b""), backdrop=backdrop)
        work = partial(self._run, edit, sources, self.limits & limits, kept=photo, account=account)
        return await self._request(account, self._kind(edit), work)

    async def transform(
        self,
        change: Transform | None,
        photo: Callable[[], bytes],
        *,
        marks: Sequence[Callable[[], bytes]] = (),
        output: Output | None = None,
        account: Account | None = None,
        limits: Limits,
    ) -> Encoded:
        """Change pictures that were kept, as in `run_kept`, without a network; as `picture_files.transform`."""
        kept = _for_kept(self.limits & limits)

        def work(files: _Files) -> Encoded:
            return transform(
                change,
                files[0],
                marks=(mark() for mark in marks),
                output=output,
                limits=kept,
                checkpoint=anyio.from_thread.check_cancelled,
            )

        at_work = partial(self._at_work, lambda: _measured(_fetched(photo), kept), work, at_hand=False)
        return await self._request(account, "transform", at_work)

    async def paint(
        self, prompt: str, *, width: int, height: int, seed: int, account: Account | None = None
    ) -> Encoded:
        """A picture for words alone; as `Engine.paint`, and admitted, timed and cancelled as in `run`."""

        def work(_: None) -> Encoded:
            return self._engine.paint(
                prompt, width=width, height=height, seed=seed, checkpoint=anyio.from_thread.check_cancelled
            )

        return await self._request(account, "paint", partial(self._at_work, lambda: (None, width * height), work))

    async def keep(self, source: Source, *, account: Account | None = None, limits: Limits) -> Encoded:
        """A picture as it can be kept, as in `picture_files.keep`; admitted, timed and cancelled as in `run`."""
        narrower = self.limits & limits

        async def kept(turn: _Turn) -> Encoded:
            photo = await self._read(source, narrower)
            return await self._at_work(
                lambda: _measured(photo, narrower), lambda files: keep(files[0], limits=narrower), turn
            )

        return await self._request(account, "keep", kept)

    # --- how it is done ----------------------------------------------------------------------------------------------

    async def _request(
        self, account: Account | None, kind: str, work: Callable[[_Turn], Awaitable[Encoded]]
    ) -> Encoded:
        with self.admission.request(self._owner(account), kind) as ticket:
            with anyio.move_on_after(self.options.timeout):
                return await self._finished(partial(work, _Turn(ticket=ticket)))
            raise _late(self.options.timeout)

    def _owner(self, account: Account | None) -> Owner:
        if account is None or account.anonymous:
            return ANYBODY
        most = self.options.per_key if account.pictures is None else account.pictures
        return Owner(id=account.id, most=most)

    def _kind(self, edit: Edit) -> str:
        """The edits that take as long as this one, but for their pixels."""
        model = with_model(edit, self.model).matte.model
        return f"{model} before a prompt" if isinstance(edit.backdrop, Prompt) else model

    async def _finished(self, work: Callable[[], Awaitable[Encoded]]) -> Encoded:
        """Wait for work, which is told to end when the scope round this is cancelled.

        A thread cannot be killed. It is waited for until its step has ended, because until then it holds memory; but
        not longer than `STEP_SECONDS`. After that it goes on without anybody, and keeps its worker for as long.
        """
        scope = anyio.CancelScope()

        async def scoped() -> Encoded | None:
            with scope:
                return await work()
            return None

        with observed(self._observer):  # the task takes it along, and the threads that it waits for
            job = asyncio.create_task(scoped())
        try:
            encoded = await asyncio.shield(job)
        finally:
            if not job.done():
                scope.cancel()
                with anyio.CancelScope(shield=True):
                    await asyncio.wait({job}, timeout=STEP_SECONDS)
                if not job.done():
                    self._leave(job)
        if encoded is None:
            raise RuntimeError("the work was cancelled by nobody")
        return encoded

    def _leave(self, job: asyncio.Task[Encoded | None]) -> None:
        self._stuck.add(job)
        _log.error("a step does not end; it keeps one of the %d workers until it does", self.options.workers)

        def ended(job: asyncio.Task[Encoded | None]) -> None:
            self._stuck.discard(job)
            _log.warning("a step that seemed not to end has ended: %s", None if job.cancelled() else job.exception())

        job.add_done_callback(ended)

    async def _run(
        self,
        edit: Edit,
        sources: Sources,
        limits: Limits,
        turn: _Turn,
        *,
        kept: Callable[[], bytes] | None = None,
        account: Account | None = None,
    ) -> Encoded:
        edit = with_model(edit, self.model)
        photo_limits = limits if kept is None else _for_kept(limits)
        photo = b"" if kept is not None else await self._read(sources.photo, limits)
        backdrop = None
        if sources.backdrop is not None:
            with blame("backdrop"):
                backdrop = await self._read(sources.backdrop, limits)

        def load() -> tuple[_Files, int]:
            found = photo if kept is None else _fetched(kept)
            pixels = math.prod(codec.size(found, photo_limits))
            if backdrop is not None:
                with blame("backdrop"):
                    pixels += math.prod(codec.size(backdrop, limits))
            return (found, backdrop), pixels

        def work(files: _Files) -> Encoded:
            return self._engine.run_file(
                edit,
                files[0],
                backdrop=files[1],
                limits=photo_limits,
                recall=recall_nothing if account is None else partial(self._recall, account, turn.ticket),
                checkpoint=anyio.from_thread.check_cancelled,
            )

        return await self._at_work(load, work, turn, at_hand=kept is None)

    def _recall(
        self, account: Account, ticket: Ticket, model: str, seen: RGB
    ) -> tuple[Kept | None, Callable[[Kept], None]]:
        found, keep = self._mattes.recall(account.id, model, seen)
        kind = ticket.kind
        if found is not None:
            ticket.kind = f"{kind} without a network"  # how long it takes says nothing of those that need one

        def kept(said: Kept) -> None:
            if said.embedding is not None:
                ticket.kind = f"{kind} with clicks"
            keep(said)

        return found, kept

    async def _at_work(
        self, load: Callable[[], tuple[_T, int]], work: Callable[[_T], Encoded], turn: _Turn, *, at_hand: bool = True
    ) -> Encoded:
        """Wait for a worker, and do the work in a thread.

        Args:
            load: finds what is worked on, and its pixels.
            work: what is done with it.
            turn: how it waits.
            at_hand: nothing has to be read into memory for `load`, so it need not wait.
        """

        def begun(loaded: _T, pixels: int) -> Encoded:
            turn.begin()
            try:
                return work(loaded)
            finally:
                if pixels > LARGE:
                    give_back_memory()

        known = await anyio.to_thread.run_sync(load, limiter=self._measuring) if at_hand else None
        if known is not None:
            self.admission.weigh(turn.ticket, known[1])
        async with AsyncExitStack() as held:
            with stage(Stage.QUEUE):
                await held.enter_async_context(self.admission.worker(turn.ticket, alone=turn.alone))
            loaded, pixels = known if known is not None else await _in_thread(load)
            self.admission.weigh(turn.ticket, pixels, late=True)
            with stage(Stage.PIXELS):
                await held.enter_async_context(self.admission.work(turn.ticket, pixels))
            turn.deadline()
            return await _in_thread(partial(begun, loaded, pixels))

    async def _read(self, source: Source, limits: Limits) -> bytes:
        match source:
            case Upload(data):
                return data
            case Link(url):
                with stage(Stage.FETCH):
                    return await self._fetcher.fetch(url, max_bytes=limits.max_bytes)
            case Stored(key):
                with stage(Stage.FETCH):
                    return await _in_thread(partial(self._stored, key))
            case _:
                assert_never(source)

    def _stored(self, key: str) -> bytes:
        if self._blobs is None:
            raise MatteboxError(Kind.UNAVAILABLE, "This server keeps no pictures.")
        try:
            return self._blobs.get(key)
        except MatteboxError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            raise MatteboxError(
                Kind.NOT_FOUND, "The picture waited too long for its turn and is not kept any more."
            ) from error


async def _in_thread(work: Callable[[], _T]) -> _T:
    # In the thread `check_cancelled` raises once the scope that waits for the thread is cancelled. How many threads
    # there are is bounded by the workers.
    return await anyio.to_thread.run_sync(partial(_unburdened, work), limiter=anyio.CapacityLimiter(1))


def _unburdened(work: Callable[[], _T]) -> _T:
    """Do it. A failure lives until the garbage collector comes by, and must not keep the pictures of its frames."""
    try:
        return work()
    except BaseException as error:
        for each in failures_behind(error):
            traceback.clear_frames(each.__traceback__)
        raise


def _measured(photo: bytes, limits: Limits) -> tuple[_Files, int]:
    """A picture without one behind it, and its pixels."""
    return (photo, None), math.prod(codec.size(photo, limits))


def _for_kept(limits: Limits) -> Limits:
    return replace(limits, max_bytes=sys.maxsize)


def _fetched(read: Callable[[], bytes]) -> bytes:
    with stage(Stage.FETCH):
        return read()


def _late(seconds: float) -> MatteboxError:
    return MatteboxError(Kind.TIMED_OUT, f"The picture was not done within {seconds:g} seconds.")


def with_model(edit: Edit, model: str) -> Edit:
    """The edit, with the server's own model where it names none."""
    return replace(edit, matte=replace(edit.matte, model=model)) if edit.matte.model == DEFAULT else edit

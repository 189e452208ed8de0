"""What one running server consists of, and how a request finds it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

import anyio
from starlette.requests import Request

from mattebox.codec import Limits
from mattebox.errors import Kind, MatteboxError
from mattebox.server.http.dialect import reason, request_context
from mattebox.server.http.idempotency import IdempotencyCache
from mattebox.server.jobs import Tasks
from mattebox.server.runner import Runner
from mattebox.server.store.accounts import Accounts
from mattebox.server.store.blobs import Blobs
from mattebox.server.store.images import ImageStore

_log = logging.getLogger(__name__)

ARRIVING = 16
"""How many pictures may arrive while as many as the service takes are waiting or being worked on."""


@final
class Readiness:
    """Loads the networks in the background, and says how far that is."""

    def __init__(self, runner: Runner, *, pause: float = 60.0) -> None:
        self._runner = runner
        self._pause = pause
        self._loop = asyncio.get_running_loop()
        self._decided = asyncio.Event()
        self._stopping = asyncio.Event()
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

    def stop(self) -> None:
        """End a download, and do not try again."""
        self._stopping.set()

    async def load(self) -> None:
        """Load; where a part is missing that may appear (weights, say), say so and try again every `pause` seconds."""
        while not self._runner.ready and not self._stopping.is_set():
            try:
                await self._runner.warm()
            except MatteboxError as error:
                if error.kind is not Kind.CANCELLED:
                    _log.error("the model cannot be loaded: %s", reason(error))
                self._failure = error
            except Exception as error:  # noqa: BLE001 - whatever it is, the server has to say that it is not ready
                _log.exception("the model cannot be loaded, by a defect")
                self._failure = MatteboxError(Kind.INTERNAL, "The model cannot be loaded.")
                self._failure.__cause__ = error
            else:
                self._failure = None
            self._fetching = False
            self._decided.set()
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
class UploadLimiter:
    """Bounds how many requests are inside, because each of them may bring a picture into memory."""

    def __init__(self, most: int) -> None:
        self._free = most

    def __enter__(self) -> None:
        if self._free < 1:
            raise MatteboxError(
                Kind.OVERLOADED, "Too many pictures are arriving; please try again in a moment.", retry_after=2
            )
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        self._free += 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServerState:
    """What one running server consists of."""

    runner: Runner
    accounts: Accounts
    readiness: Readiness
    uploads: UploadLimiter
    installed: Callable[[str], bool]
    """Whether a network of the catalogue can be used without fetching it."""
    idempotency: IdempotencyCache = field(default_factory=IdempotencyCache)
    tasks: Tasks | None = None
    """The queue; None where this server has none."""
    blobs: Blobs | None = None
    library: ImageStore | None = None
    """The images that clients keep here; None where this server has none."""
    public_url: str = ""
    """What clients see of the server, without a slash at the end; empty for the address of each request."""
    listing_url: str = ""
    """What the addresses of a listing's pages begin with, where that is not `public_url`."""


def server_state(request: Request) -> ServerState:
    """The server that this request came to."""
    found = request.app.state.server
    if not isinstance(found, ServerState):
        raise TypeError("no rooms")
    return found


def limits(request: Request) -> Limits:
    """What a picture may be at most, in this request's dialect."""
    return server_state(request).runner.limits & request_context(request).dialect.limits


def base_address(request: Request) -> str:
    """What clients see of this server, as in `https://cutout.example`: its setting, else what this request was sent to.

    Without a slash at the end.
    """
    return server_state(request).public_url or str(request.base_url).rstrip("/")

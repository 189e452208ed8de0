"""What a dialect is, and what all dialects share: who asks, how much they may, doing the edit, and answering failures.

A dialect translates: its vendor's fields into an `Edit`, an `Encoded` into its vendor's answer, a `Kind` into its
vendor's words. All else happens here, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias, TypeVar, final

import anyio
import anyio.to_thread
import pydantic_core
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from mattebox.accounts import Account, Accounts, Usage
from mattebox.codec import Limits
from mattebox.edit import Edit, Link, Stored, Upload
from mattebox.errors import Kind, MatteboxError
from mattebox.fetch import check_url
from mattebox.http.replays import Replays
from mattebox.image import Encoded
from mattebox.service import Service
from mattebox.storage import Blobs, new_source_name
from mattebox.tasks import Hook, Task, Tasks
from mattebox.worker import BASE, Announce, check_hook, result_address

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = [
    "ARRIVING",
    "NO_LIMITS",
    "PATIENCE",
    "STATUS",
    "Dialect",
    "Present",
    "Readiness",
    "Rooms",
    "Turnstile",
    "Visit",
    "admitted",
    "admitted_later",
    "api_key",
    "authenticate",
    "base_address",
    "cancel",
    "failed",
    "idempotency_key",
    "json_response",
    "limits",
    "queue",
    "result_address",
    "rooms",
    "run_edit",
    "run_once",
    "speaking",
    "subject_header",
    "submit",
    "task",
    "tasks_of",
    "usage",
    "visit",
]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

STATUS: Mapping[Kind, int] = MappingProxyType(
    {
        Kind.INVALID_REQUEST: 400,
        Kind.INVALID_PARAMETER: 400,
        Kind.MISSING_IMAGE: 400,
        Kind.UNREADABLE_IMAGE: 400,
        Kind.TOO_MANY_BYTES: 413,
        Kind.TOO_MANY_PIXELS: 413,
        Kind.UNREACHABLE_SOURCE: 400,
        Kind.MISSING_KEY: 401,
        Kind.INVALID_KEY: 401,
        Kind.FORBIDDEN: 403,
        Kind.OUT_OF_CREDITS: 402,
        Kind.NOT_FOUND: 404,
        Kind.CONFLICT: 409,
        Kind.OVERLOADED: 429,
        Kind.TIMED_OUT: 504,
        Kind.CANCELLED: 499,  # nobody reads it; it is what proxies write into their logs
        Kind.UNAVAILABLE: 503,
        Kind.INTERNAL: 500,
    }
)
"""The status of each kind, where a dialect does not say otherwise."""

_PICTURES_FAULT = {
    Kind.UNREADABLE_IMAGE,
    Kind.TOO_MANY_BYTES,
    Kind.TOO_MANY_PIXELS,
    Kind.UNREACHABLE_SOURCE,
    Kind.INVALID_PARAMETER,  # without a parameter's name it is about an address
}

NO_LIMITS = Limits(max_bytes=sys.maxsize, max_pixels=sys.maxsize)
ARRIVING = 16
"""How many pictures may arrive while as many as the service takes are waiting or being worked on."""
PATIENCE = 25.0
"""Seconds that a request waits for the networks to be loaded."""

Present: TypeAlias = Callable[[MatteboxError, int, str], Response]
"""Writes a failure in a vendor's own form, from the failure, the status and the request's id."""


def api_key(request: Request) -> str | None:
    """The key in `x-api-key` or in `Authorization`, where clients write it with `Bearer` or without."""
    scheme, _, rest = request.headers.get("authorization", "").strip().partition(" ")
    bearer = rest.strip() if scheme.lower() == "bearer" else f"{scheme} {rest}".strip()
    return request.headers.get("x-api-key", "").strip() or bearer or None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dialect:
    """One vendor's words.

    Attributes:
        name: for logs.
        prefixes: beginnings of paths; failures below them are answered in this dialect, the longest match winning.
        router: its routes, with their whole paths.
        present: writes a failure.
        status: where it differs from `STATUS`.
        parameters: the vendor's name for a parameter that the engine blames by ours (`format`), where it differs.
        limits: the vendor's own; the narrower of these and the server's hold.
        key: reads the API key.
        announce: writes a webhook's body, from a task that has ended and the address of its result, if it has one.
            Without it the dialect sends no webhooks.
    """

    name: str
    prefixes: tuple[str, ...]
    router: APIRouter
    present: Present
    status: Mapping[Kind, int] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = NO_LIMITS
    key: Callable[[Request], str | None] = api_key
    announce: Announce | None = None


def speaking(dialects: Sequence[Dialect], path: str) -> Dialect:
    """The dialect that answers at `path`."""
    matches = [(len(prefix), each) for each in dialects for prefix in each.prefixes if path.startswith(prefix)]
    return max(matches, key=lambda match: match[0])[1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Visit:
    """One request: in which dialect, under which id, since when (`time.perf_counter`)."""

    dialect: Dialect
    request_id: str
    begin: float = field(default_factory=time.perf_counter)

    @property
    def milliseconds(self) -> int:
        """Since the request's head was there."""
        return round(1000 * (time.perf_counter() - self.begin))


def visit(request: Request) -> Visit:
    """What is known of this request."""
    found = request.scope["state"]["visit"]
    if not isinstance(found, Visit):
        raise TypeError("no visit")
    return found


@final
class Readiness:
    """Loads the networks in the background, and says how far that is."""

    def __init__(self, service: Service, *, pause: float = 60.0) -> None:
        self._service = service
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
        while not self._service.ready and not self._stopping.is_set():
            try:
                await self._service.warm()
            except MatteboxError as error:
                if error.kind is not Kind.CANCELLED:
                    _log.error("the model cannot be loaded: %s", _reason(error))
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

    async def check(self, *, patience: float = 0.0) -> None:
        """Return when the networks are loaded.

        Raises:
            MatteboxError: UNAVAILABLE after `patience` seconds, or at once where loading failed or the weights are
                being fetched.
        """
        with anyio.move_on_after(patience):
            await self._decided.wait()
        if self._service.ready:
            return
        if self._fetching:
            raise MatteboxError(Kind.UNAVAILABLE, "The model is still being fetched.", retry_after=30)
        if self._failure is not None:
            raise MatteboxError(Kind.UNAVAILABLE, self._failure.message) from self._failure
        raise MatteboxError(Kind.UNAVAILABLE, "The model is still being loaded.", retry_after=5)


@final
class Turnstile:
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
class Rooms:
    """What one running server consists of."""

    service: Service
    accounts: Accounts
    readiness: Readiness
    turnstile: Turnstile
    installed: Callable[[str], bool]
    """Whether a network of the catalogue can be used without fetching it."""
    replays: Replays = field(default_factory=Replays)
    tasks: Tasks | None = None
    """The queue; None where this server has none."""
    blobs: Blobs | None = None
    public_url: str = ""
    """What clients see of the server, without a slash at the end; empty for the address of each request."""


def rooms(request: Request) -> Rooms:
    """The server that this request came to."""
    found = request.app.state.rooms
    if not isinstance(found, Rooms):
        raise TypeError("no rooms")
    return found


def limits(request: Request) -> Limits:
    """What a picture may be at most, in this request's dialect."""
    return rooms(request).service.limits & visit(request).dialect.limits


def authenticate(request: Request) -> Account:
    """Who asks.

    Raises:
        MatteboxError: MISSING_KEY or INVALID_KEY.
    """
    return rooms(request).accounts.authenticate(visit(request).dialect.key(request))


async def usage(request: Request) -> tuple[Account, Usage]:
    """Who asks, and what they have used so far.

    Raises:
        MatteboxError: MISSING_KEY or INVALID_KEY.
    """
    account = authenticate(request)
    return account, await anyio.to_thread.run_sync(rooms(request).accounts.usage, account)


@asynccontextmanager
async def admitted(request: Request) -> AsyncIterator[Account]:
    """Who asks, after making sure that their picture can be worked on. Read the body and do the edit inside.

    Raises:
        MatteboxError: MISSING_KEY, INVALID_KEY, OUT_OF_CREDITS, UNAVAILABLE, or OVERLOADED.
    """
    account = authenticate(request)
    room = rooms(request)
    if idempotency_key(request) is None:  # with one it may be a picture that is paid for already
        await anyio.to_thread.run_sync(room.accounts.check, account)
    await room.readiness.check(patience=PATIENCE)
    with room.turnstile:
        yield account


@asynccontextmanager
async def admitted_later(request: Request, *, pictures: int = 1) -> AsyncIterator[Account]:
    """Who asks for tasks. Read the body and `submit` inside. Tasks wait for the networks, so nobody does so here.

    Args:
        request: what came.
        pictures: how many tasks it is about at least.

    Raises:
        MatteboxError: MISSING_KEY, INVALID_KEY, OUT_OF_CREDITS, UNAVAILABLE, or OVERLOADED.
    """
    account = authenticate(request)
    room = rooms(request)
    queue(request)
    await anyio.to_thread.run_sync(partial(room.accounts.check, account, pictures))
    with room.turnstile:
        yield account


async def run_edit(request: Request, account: Account, edit: Edit, *, picture: str) -> Encoded:
    """Do an edit that is paid for. It ends early when the client goes away. Call it after the body was read.

    Args:
        request: its client is watched.
        account: who pays.
        edit: what to do.
        picture: the parameter that the picture or its address came in, to be blamed where it is no good.

    Raises:
        MatteboxError: OUT_OF_CREDITS; CANCELLED where the client went away; and whatever `Service.run` raises.
    """
    return await _while_connected(request, partial(_paid, request, account, edit, picture))


async def run_once(request: Request, account: Account, edit: Edit, *, picture: str) -> tuple[Encoded, bool]:
    """`run_edit`, or the result from before where the request repeats its Idempotency-Key, and which of both it is.

    Raises:
        MatteboxError: INVALID_PARAMETER where the key was used for another edit; and what `run_edit` raises.
    """
    key = idempotency_key(request)
    if key is None:
        return await run_edit(request, account, edit, picture=picture), False
    owner = f"{visit(request).dialect.name} {account.id}"
    work = partial(_paid, request, account, edit, picture)
    return await _while_connected(request, partial(rooms(request).replays.once, owner, key, edit, work))


def idempotency_key(request: Request) -> str | None:
    """Under which key the request may be sent again."""
    return request.headers.get("idempotency-key", "").strip() or None


async def _paid(request: Request, account: Account, edit: Edit, picture: str) -> Encoded:
    room = rooms(request)
    await anyio.to_thread.run_sync(room.accounts.reserve, account)
    try:
        return await room.service.run(edit, limits=visit(request).dialect.limits)
    except BaseException as error:
        with anyio.CancelScope(shield=True):  # also for a client that has gone
            await anyio.to_thread.run_sync(room.accounts.refund, account)
        if isinstance(error, MatteboxError) and error.kind in _PICTURES_FAULT:
            raise error.about(picture) from error.__cause__
        raise


async def _while_connected(request: Request, work: Callable[[], Awaitable[_T]]) -> _T:
    """Do `work`, cancelled when the client goes away."""
    with anyio.CancelScope() as connected:
        watcher = asyncio.create_task(_watch(request, connected))
        try:
            return await work()
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
    raise MatteboxError(Kind.CANCELLED, "Nobody waits for this picture any more.")


async def _watch(request: Request, connected: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    connected.cancel()


# --- tasks -------------------------------------------------------------------------------------------------------


def queue(request: Request) -> tuple[Tasks, Blobs]:
    """Where edits wait that are done later, and where their pictures lie meanwhile.

    Raises:
        MatteboxError: UNAVAILABLE where this server has no queue.
    """
    room = rooms(request)
    if room.tasks is None or room.blobs is None:
        raise MatteboxError(Kind.UNAVAILABLE, "This server takes no tasks.")
    return room.tasks, room.blobs


def base_address(request: Request) -> str:
    """What clients see of this server, as in `https://cutout.example`: its setting, else what this request was sent to.

    Without a slash at the end.
    """
    return rooms(request).public_url or str(request.base_url).rstrip("/")


async def submit(
    request: Request,
    account: Account,
    edits: Sequence[Edit],
    *,
    hook: Hook | None = None,
    batch: str | None = None,
    extra: Mapping[str, object] | None = None,
) -> list[Task]:
    """Queue one task for each edit, in this order, and take one credit for each: all of them or none.

    Args:
        request: what came.
        account: who pays. A task that fails or is cancelled gives its credit back.
        edits: what is to be done. Pictures that came with the request are stored.
        hook: who is told when a task has ended.
        batch: what the tasks have in common, at most 64 characters.
        extra: plain data that the dialect wants to find again in `Task.extra`, beside `base`: what clients see of this
            server.

    Raises:
        ValueError: there is a hook, and the dialect has no words for it.
        MatteboxError: INVALID_PARAMETER where an address or the hook's secret is none, OUT_OF_CREDITS, UNAVAILABLE.
    """
    tasks, blobs = queue(request)
    accounts, dialect = rooms(request).accounts, visit(request).dialect
    if hook is not None:
        if dialect.announce is None:
            raise ValueError(f"the dialect {dialect.name} announces nothing")
        check_hook(hook)
    for edit in edits:
        if isinstance(edit.source, Link):
            check_url(edit.source.url)

    def pay(connection: Connection) -> None:
        accounts.reserve(account, len(edits), connection=connection)

    def work() -> list[Task]:
        # Before anything is stored for an account that has nothing left.
        accounts.check(account, len(edits))
        kept: list[str] = []
        stored = [_stored(blobs, edit, kept) for edit in edits]
        try:
            return tasks.submit(
                account.id,
                stored,
                dialect=dialect.name,
                hook=hook,
                batch=batch,
                extra={**(extra or {}), BASE: base_address(request)},
                in_transaction=pay,
            )
        except MatteboxError as error:
            # Where the database is away the tasks may be there all the same, and need their pictures.
            if error.kind is not Kind.UNAVAILABLE:
                for key in kept:
                    blobs.delete(key)
            raise

    return await anyio.to_thread.run_sync(work)


def _stored(blobs: Blobs, edit: Edit, kept: list[str]) -> Edit:
    if not isinstance(edit.source, Upload):
        return edit
    key = new_source_name(now=time.time())
    blobs.put(key, edit.source.data, media_type="application/octet-stream")
    kept.append(key)
    return replace(edit, source=Stored(key))


async def task(request: Request, account: Account, task_id: str) -> Task:
    """The account's task, as it stands now.

    Raises:
        MatteboxError: NOT_FOUND, also for a task of somebody else; UNAVAILABLE.
    """
    tasks, _ = queue(request)
    return await anyio.to_thread.run_sync(tasks.get, task_id, account.id)


async def tasks_of(
    request: Request, account: Account, *, limit: int = 50, after: str | None = None, batch: str | None = None
) -> list[Task]:
    """The account's tasks, the newest first; `Tasks.listing` says more.

    Raises:
        MatteboxError: NOT_FOUND where there is no task `after`; UNAVAILABLE.
    """
    tasks, _ = queue(request)
    return await anyio.to_thread.run_sync(partial(tasks.listing, account.id, limit=limit, after=after, batch=batch))


async def cancel(request: Request, account: Account, task_id: str) -> Task:
    """Give the account's task up; its credit is given back.

    Raises:
        MatteboxError: NOT_FOUND; CONFLICT where it has succeeded or failed already; UNAVAILABLE.
    """
    tasks, _ = queue(request)
    return await anyio.to_thread.run_sync(tasks.cancel, task_id, account.id)


def failed(request: Request, error: MatteboxError, *, status: int | None = None) -> Response:
    """A failure in the words of the request's dialect. It is logged here, in one line."""
    here = visit(request)
    named = here.dialect.parameters.get(error.parameter or "")
    if named is not None:
        cause = error.__cause__
        error = MatteboxError(error.kind, error.message, parameter=named, retry_after=error.retry_after)
        error.__cause__ = cause
    if status is None:
        status = here.dialect.status.get(error.kind, STATUS[error.kind])
    _note(error, status, here)
    response = here.dialect.present(error, status, here.request_id)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    return response


def _note(error: MatteboxError, status: int, here: Visit) -> None:
    ours = status >= 500 and error.kind not in (Kind.TIMED_OUT, Kind.OVERLOADED)
    defect = error.kind is Kind.INTERNAL and ours
    line = (here.request_id, here.dialect.name, status, here.milliseconds)
    said = _reason(error) if ours and not defect else error.message
    _log.log(
        logging.ERROR if ours else logging.INFO,
        "%s %s %d %d ms %s: %s",
        *line,
        error.kind,
        said,
        exc_info=error.__cause__ if defect else None,
    )


def _reason(error: MatteboxError) -> str:
    """The sentence, and what is behind it, for the log."""
    cause = error.__cause__
    return error.message if cause is None or isinstance(cause, MatteboxError) else f"{error.message} ({cause!r})"


def json_response(
    value: object, *, status: int = 200, media_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer, written fast enough for pictures in base64."""
    return Response(pydantic_core.to_json(value), status_code=status, media_type=media_type, headers=headers)


# --- words that several dialects have in common ------------------------------------------------------------------


def subject_header(encoded: Encoded) -> str:
    """Where the subject is in the result, as `left,top,width,height`; `none` where no subject was found."""
    box = encoded.subject
    return "none" if box is None else f"{box.left},{box.top},{box.width},{box.height}"

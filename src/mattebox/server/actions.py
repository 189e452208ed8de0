"""Actions that every dialect shares: authorize a request, charge for it, and run its edit now or later."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from starlette.requests import Request

from mattebox.edit import Edit
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Encoded
from mattebox.server.admission import ANYBODY, Owner
from mattebox.server.fetch import check_url
from mattebox.server.http.dialect import is_edit, reason, request_context
from mattebox.server.jobs import Hook, Task, Tasks
from mattebox.server.jobs.webhooks import check_hook
from mattebox.server.jobs.worker import BASE
from mattebox.server.state import base_address, server_state
from mattebox.server.store.accounts import Account, Usage
from mattebox.server.store.blobs import Blobs, new_source_name
from mattebox.sources import Link, Source, Sources, Stored, Upload

if TYPE_CHECKING:
    from sqlalchemy import Connection

_log = logging.getLogger(__name__)

_PICTURES_FAULT = {
    Kind.UNREADABLE_IMAGE,
    Kind.TOO_MANY_BYTES,
    Kind.TOO_MANY_PIXELS,
    Kind.UNREACHABLE_SOURCE,
    Kind.INVALID_PARAMETER,  # without a parameter's name it is about an address
}

PATIENCE = 25.0
"""Seconds that a request waits for the networks to be loaded."""


async def authenticate(request: Request) -> Account:
    """The account of a request.

    Raises:
        MatteboxError: MISSING_KEY, INVALID_KEY, or UNAVAILABLE.
    """
    account = _remembered(request)  # most keys need no thread, which costs more than the rest of a refusal
    if account is None:
        key = request_context(request).dialect.key(request)
        account = await anyio.to_thread.run_sync(server_state(request).accounts.authenticate, key)
    request_context(request).account = account.name or account.id
    return account


def _remembered(request: Request) -> Account | None:
    return server_state(request).accounts.remembered(request_context(request).dialect.key(request))


def turn_away(request: Request) -> None:
    """Refuse at once, before anything is read or waited for, what `authorize` would refuse of a request for an edit.

    Whoever floods a server sends far more requests than it can do, so a refusal must cost next to nothing.

    Raises:
        MatteboxError: MISSING_KEY, INVALID_KEY, or OVERLOADED.
    """
    state, here = server_state(request), request_context(request)
    account = _remembered(request)
    if account is None:
        return
    here.account = account.name or account.id
    if idempotency_key(request) is None:
        state.runner.check_room(account)
    if not state.rates.waits:
        state.rates.check(account, here.dialect.name)


async def usage(request: Request) -> tuple[Account, Usage]:
    """The account of a request, and its usage so far.

    Raises:
        MatteboxError: MISSING_KEY, INVALID_KEY, or UNAVAILABLE.
    """
    account = await authenticate(request)
    return account, await anyio.to_thread.run_sync(server_state(request).accounts.usage, account)


@asynccontextmanager
async def authorize(request: Request, *, cost: int = 1, networks: bool = True) -> AsyncIterator[Account]:
    """The account of a request that may be served. Read the body and do the work inside.

    Args:
        request: what came.
        cost: in credits.
        networks: the work needs the networks, so they are waited for a little.

    Raises:
        TypeError: it needs the networks, and its endpoint does not say so.
        MatteboxError: MISSING_KEY, INVALID_KEY, OUT_OF_CREDITS, UNAVAILABLE, or OVERLOADED, also where the key has made
            as many requests as it may.
    """
    if networks and not is_edit(request):
        raise TypeError("an endpoint that needs the networks is declared as an edit_endpoint")
    account = await authenticate(request)
    state = server_state(request)
    if not networks or idempotency_key(request) is None:  # with a key it may be a picture that is paid for already
        if networks:
            state.runner.check_room(account)
        if account.credits:
            await anyio.to_thread.run_sync(partial(state.accounts.check, account, cost))
    await _count(request, account)
    if networks:
        await state.readiness.check(patience=PATIENCE)
    with state.uploads.hold(ANYBODY if account.anonymous else Owner(id=account.id)):
        yield account


async def _count(request: Request, account: Account, requests: int = 1) -> None:
    dialect, rates = request_context(request).dialect.name, server_state(request).rates
    if rates.waits:
        request.state.rate = await anyio.to_thread.run_sync(rates.count, account, dialect, requests)
    else:
        request.state.rate = rates.count(account, dialect, requests)


@asynccontextmanager
async def authorize_tasks(request: Request, *, count: int = 1) -> AsyncIterator[Account]:
    """The account of a request for at least `count` tasks. Read the body and `submit` inside.

    Tasks wait for the networks, so nobody does so here.

    Raises:
        MatteboxError: MISSING_KEY, INVALID_KEY, OUT_OF_CREDITS, UNAVAILABLE, or OVERLOADED.
    """
    await authenticate(request)
    queue(request)
    async with authorize(request, cost=count, networks=False) as account:
        yield account


async def run_edit(
    request: Request, account: Account, edit: Edit, sources: Sources, *, picture: str, subject_needed: bool = False
) -> Encoded:
    """Do an edit that is paid for. It ends early when the client goes away. Call it after the body was read.

    Args:
        request: its client is watched.
        account: who pays.
        edit: what to do.
        sources: where its pictures are.
        picture: the parameter that the picture or its address came in, to be blamed where it cannot be used.
        subject_needed: a picture without a subject is a failure, and is not paid for.

    Raises:
        MatteboxError: OUT_OF_CREDITS; NO_SUBJECT; CANCELLED where the client went away; and whatever `Runner.run`
            raises.
    """
    async with charged(request, account, picture=picture):
        encoded = await _run(request, account, edit, sources)
        if subject_needed and encoded.subject is None:
            raise MatteboxError(Kind.NO_SUBJECT, "There is nothing in the picture that stands out from its background.")
        return encoded


async def run_idempotent(
    request: Request, account: Account, edit: Edit, sources: Sources, *, picture: str
) -> tuple[Encoded, bool]:
    """`run_edit`, or the result from before where the request repeats its Idempotency-Key, and which of both it is.

    Raises:
        MatteboxError: INVALID_PARAMETER where the key was used for another edit; and what `run_edit` raises.
    """
    key = idempotency_key(request)
    if key is None:
        return await run_edit(request, account, edit, sources, picture=picture), False

    async def work() -> Encoded:
        async with _charged(request, account, picture, 1):
            return await _run(request, account, edit, sources)

    owner = f"{request_context(request).dialect.name} {account.id}"
    async with _while_connected(request):
        return await server_state(request).idempotency.once(owner, key, edit, sources, work)


@asynccontextmanager
async def charged(request: Request, account: Account, *, picture: str, cost: int = 1) -> AsyncIterator[int | None]:
    """Take the credits for what is done inside, and give them back where it fails; yields how many are left then.

    None means any number. Everything that can fail belongs inside: after it, a picture is paid for.

    It ends early when the client goes away; enter it after the body was read.

    Args:
        request: its client is watched.
        account: who pays.
        picture: the parameter to be blamed where a picture cannot be used.
        cost: in credits.

    Raises:
        MatteboxError: OUT_OF_CREDITS; CANCELLED where the client went away; and whatever is raised inside.
    """
    async with _while_connected(request), _charged(request, account, picture, cost) as left:
        yield left


async def _run(request: Request, account: Account, edit: Edit, sources: Sources) -> Encoded:
    limits = request_context(request).dialect.limits
    return await server_state(request).runner.run(edit, sources, account=account, limits=limits)


def idempotency_key(request: Request) -> str | None:
    """Under which key the request may be sent again."""
    return request.headers.get("idempotency-key", "").strip() or None


@asynccontextmanager
async def _charged(request: Request, account: Account, picture: str, cost: int) -> AsyncIterator[int | None]:
    accounts = server_state(request).accounts
    left = await anyio.to_thread.run_sync(accounts.reserve, account, cost)
    try:
        yield left
    except BaseException as error:
        with anyio.CancelScope(shield=True):  # also for a client that has gone
            await _refund(request, account, cost)
        if isinstance(error, MatteboxError) and error.kind in _PICTURES_FAULT:
            raise error.about(picture) from error.__cause__
        raise


async def _refund(request: Request, account: Account, cost: int) -> None:
    """Give credits back. Whoever asked needs to hear why the work failed, and not that this failed too."""
    try:
        await anyio.to_thread.run_sync(server_state(request).accounts.refund, account, cost)
    except MatteboxError as error:
        _log.error("%d credits of the account %s could not be given back: %s", cost, account.id, reason(error))
    except Exception:  # noqa: BLE001 - a defect, which is logged here: the caller raises why the work failed
        _log.exception("%d credits of the account %s could not be given back, by a defect", cost, account.id)


@asynccontextmanager
async def _while_connected(request: Request) -> AsyncIterator[None]:
    """Cancel what is done inside when the client goes away."""
    with anyio.CancelScope() as connected:
        watcher = asyncio.create_task(_watch(request, connected))
        try:
            yield
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
    if connected.cancelled_caught:
        raise MatteboxError(Kind.CANCELLED, "Nobody waits for this picture any more.")


async def _watch(request: Request, connected: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    connected.cancel()


# --- tasks -------------------------------------------------------------------------------------------------------


def queue(request: Request) -> tuple[Tasks, Blobs]:
    """The queue of edits that are done later, and the storage of their pictures meanwhile.

    Raises:
        MatteboxError: UNAVAILABLE where this server has no queue.
    """
    room = server_state(request)
    if room.tasks is None or room.blobs is None:
        raise MatteboxError(Kind.UNAVAILABLE, "This server takes no tasks.")
    return room.tasks, room.blobs


async def submit(
    request: Request,
    account: Account,
    edits: Sequence[tuple[Edit, Sources]],
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
    accounts, dialect = server_state(request).accounts, request_context(request).dialect
    if len(edits) > 1:
        await _count(request, account, len(edits) - 1)  # the request itself was counted
    if hook is not None:
        if dialect.webhook_body is None:
            raise ValueError(f"the dialect {dialect.name} sends no webhooks")
        check_hook(hook, server_state(request).fetch)
    for _, sources in edits:
        for each in (sources.photo, sources.backdrop):
            if isinstance(each, Link):
                check_url(each.url)

    def pay(connection: Connection) -> None:
        accounts.reserve(account, len(edits), connection=connection)

    def work() -> list[Task]:
        # Before anything is stored for an account that has nothing left.
        accounts.check(account, len(edits))
        kept: list[str] = []
        stored = [(edit, _stored(blobs, sources, kept)) for edit, sources in edits]
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
                _forget(blobs, kept)
            raise

    return await anyio.to_thread.run_sync(work)


def _forget(blobs: Blobs, kept: Sequence[str]) -> None:
    """Delete sources. Whoever asked needs to hear why their tasks were refused, and not that this failed."""
    try:
        for key in kept:
            blobs.delete(key)
    except MatteboxError as error:
        _log.warning("sources that no task needs are left until they expire: %s", reason(error))


def _stored(blobs: Blobs, sources: Sources, kept: list[str]) -> Sources:
    """The sources with their uploads in the storage, under names that are added to `kept`."""

    def store(source: Source) -> Source:
        if not isinstance(source, Upload):
            return source
        key = new_source_name(now=time.time())
        blobs.put(key, source.data, media_type="application/octet-stream")
        kept.append(key)
        return Stored(key)

    return Sources(store(sources.photo), None if sources.backdrop is None else store(sources.backdrop))


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

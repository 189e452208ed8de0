"""The composition root of the server: finds the dialects, puts the rooms together, and answers what is nobody's."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import logging
import math
import pkgutil
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Final, final

import anyio
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from sqlalchemy import Connection, text
from sqlalchemy import Engine as Database
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send

from mattebox import __version__
from mattebox.accounts import Account, Accounts
from mattebox.database import connect, create, reachable
from mattebox.engine import Engine, Segmenters
from mattebox.errors import Kind, MatteboxError
from mattebox.fetch import Fetcher
from mattebox.http import dialects, openapi
from mattebox.http.dialect import Dialect, Visit, failed, json_response, speaking
from mattebox.http.results import results
from mattebox.http.rooms import ARRIVING, Readiness, Rooms, Turnstile, rooms
from mattebox.models import Models
from mattebox.service import Service
from mattebox.settings import Settings, node_of
from mattebox.storage import SWEPT_AT_ONCE, Blobs
from mattebox.tasks import Status, Task, Tasks
from mattebox.worker import Worker

_log = logging.getLogger(__name__)

ENTRY_POINTS: Final = "mattebox.dialects"
_DRAINED_BYTES = 64 * 2**20
_DRAINED_SECONDS = 10.0
_MOST_REQUESTS = 512
"""Inside at a time, whatever they ask for; the work and the uploads among them are bounded more narrowly elsewhere."""
_STOP_SECONDS = 2.0
"""How long a server that is being stopped waits for the thread that loads: a download ends within a second."""
_SWEEP_SECONDS = 60.0
_ANSWER_HOLDS = 2.0
_STORES_SECONDS = 8.0
_PROBES = frozenset({"/health", "/ready"})

_ABOUT = """
Cuts the subject out of a photo. The same server speaks several APIs at once: its own, and those of vendors whose
clients only need another base address.
"""


def create_app(settings: Settings, *, models: Segmenters | None = None, tasks: bool = True) -> FastAPI:
    """The server.

    Args:
        settings: what it is told by its environment.
        models: the networks, for a server inside another program; by default its own.
        tasks: keep a queue. Without one the server starts faster, several fit into one process, and tasks are refused.

    Raises:
        ValueError: two dialects claim the same paths.
        MatteboxError: INVALID_PARAMETER where the settings name a model that there is not.
    """
    found = find_dialects()

    def progress(what: str, done: int, total: int | None) -> None:
        app.state.readiness.progress(what, done, total)

    networks = models or _networks(settings, progress)
    installed = networks.installed if isinstance(networks, Models) else _always

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as closing:
            fetcher = Fetcher(settings.fetch)
            closing.push_async_callback(fetcher.aclose)
            engine = Engine(networks)
            service = Service(engine, fetcher, limits=settings.limits, model=settings.model, options=settings.service)
            app.state.readiness = readiness = Readiness(service)
            loading = asyncio.create_task(readiness.load())
            closing.push_async_callback(_end_loading, readiness, loading)
            if tasks:
                blobs = Blobs(settings.blobs)
                worker = Worker(
                    engine,
                    blobs,
                    fetcher,
                    loop=asyncio.get_running_loop(),
                    ready=readiness.check,
                    limits=settings.limits,
                    model=settings.model,
                    keep=settings.storage.keep,
                    fetch_timeout=settings.fetch.timeout,
                    webhook_timeout=settings.tasks.webhook_timeout,
                    webhook_secret=settings.tasks.webhook_secret,
                    announce={each.name: each.announce for each in found if each.announce is not None},
                )

                def settle(connection: Connection, task: Task) -> None:
                    if task.status is not Status.SUCCEEDED:
                        accounts.refund(Account(task.owner), connection=connection)

                queue = Tasks(
                    settings.database, node=node_of(settings), work=worker, options=settings.tasks, settle=settle
                )
                database = queue.engine
                accounts = Accounts(settings.keys, database, settings.accounts)
                await anyio.to_thread.run_sync(partial(queue.start, role=settings.role))
                closing.push_async_callback(anyio.to_thread.run_sync, queue.close)
                closing.callback(readiness.stop)  # before the queue ends: a download has no part in its grace
                sweeping = asyncio.create_task(_sweep(blobs))
                closing.push_async_callback(_end, sweeping)
            else:
                queue, blobs = None, None
                database = connect(settings.database)
                closing.callback(database.dispose)
                await anyio.to_thread.run_sync(create, database)
                accounts = Accounts(settings.keys, database, settings.accounts)
            app.state.stores = Stores(database, blobs)
            app.state.rooms = Rooms(
                service=service,
                accounts=accounts,
                readiness=readiness,
                turnstile=Turnstile(service.capacity + ARRIVING),
                installed=installed,
                tasks=queue,
                blobs=blobs,
                public_url=settings.public_url,
            )
            yield

    app = _make_silent(lifespan) if settings.role == "worker" else _make_documented(lifespan)
    _mount_probes(app)
    if settings.role != "worker":
        _mount_home(app)
        app.include_router(results(sign=settings.storage.sign))
        for dialect in found:
            app.include_router(dialect.router)
    app.add_exception_handler(MatteboxError, _answer(_as_it_is))
    app.add_exception_handler(HTTPException, _answer(_from_http))
    app.add_exception_handler(RequestValidationError, _answer(_from_validation))
    app.add_middleware(Door, dialects=found, hosts=settings.hosts, keyless=not settings.keys)
    return app


async def _end_loading(readiness: Readiness, loading: asyncio.Task[None]) -> None:
    readiness.stop()
    await asyncio.wait({loading}, timeout=_STOP_SECONDS)
    await _end(loading)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _sweep(blobs: Blobs) -> None:
    """Delete what has expired, once a minute. Every server does so: what one is too late for is gone already."""
    while True:
        try:
            swept = await anyio.to_thread.run_sync(blobs.sweep, time.time())
        except MatteboxError as error:
            _log.warning("expired pictures stay for now: %s", error.message)
            swept = 0
        if swept < SWEPT_AT_ONCE:
            await asyncio.sleep(_SWEEP_SECONDS)


@final
class Stores:
    """Knows whether the database and the storage are there. Asking them costs something, so an answer holds a while."""

    def __init__(self, database: Database, blobs: Blobs | None) -> None:
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
        if self._blobs is not None:
            self._blobs.check()


def _make_documented(lifespan: Lifespan[FastAPI]) -> FastAPI:
    return FastAPIOffline(
        docs_url="/docs",
        redoc_url=None,  # its page fetches a picture from its maker's server
        title="mattebox",
        version=__version__,
        description=_ABOUT,
        lifespan=lifespan,
        redirect_slashes=False,
        swagger_ui_parameters={"validatorUrl": None, "tryItOutEnabled": True},
    )


def _make_silent(lifespan: Lifespan[FastAPI]) -> FastAPI:
    return FastAPI(openapi_url=None, lifespan=lifespan, redirect_slashes=False)


def _always(_name: str) -> bool:
    return True


def _networks(settings: Settings, progress: Callable[[str, int, int | None], None]) -> Models:
    """The server's own. They are fetched while it starts, never for a request."""
    networks = Models(settings.models, progress=progress, fetch_when_used=False)
    networks.installed(settings.model)  # a name that there is not is said now, and not to every request
    return networks


def find_dialects() -> tuple[Dialect, ...]:
    """All dialects that are installed: the files beside this one, and those that other packages announce.

    Raises:
        ValueError: two of them claim the same paths.
    """
    names = [f"{dialects.__name__}.{module.name}" for module in pkgutil.iter_modules(dialects.__path__)]
    found = [importlib.import_module(name).DIALECT for name in names]
    found += [entry.load() for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)]
    owners: dict[str, str] = {}
    for dialect in found:
        if not isinstance(dialect, Dialect):
            raise TypeError(f"{dialect!r} is not a dialect")
        for prefix in dialect.prefixes:
            if prefix in owners:
                raise ValueError(f"the dialects {owners[prefix]} and {dialect.name} both claim {prefix}")
            owners[prefix] = dialect.name
    return tuple(found)


def _mount_home(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def _home(request: Request) -> Response:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")


def _mount_probes(app: FastAPI) -> None:
    status = openapi.obj({"status": openapi.plain("string", "`ok`, or why not")})
    fine = openapi.success("It is", openapi.content([openapi.JSON], status, example={"status": "ok"}))
    not_yet = openapi.failures(status, {503: {"status": "The model is still being loaded."}})

    @app.get("/health", tags=["server"], summary="Whether the process is alive", responses=fine)
    async def _health() -> Response:
        return json_response({"status": "ok"})

    @app.get(
        "/ready",
        tags=["server"],
        summary="Whether pictures can be worked on",
        responses=fine | not_yet,
    )
    async def _ready(request: Request) -> Response:
        try:
            await rooms(request).readiness.check()
            await request.app.state.stores.check()
        except MatteboxError as error:
            return json_response({"status": error.message}, status=503)
        return json_response({"status": "ok"})


# --- failures ----------------------------------------------------------------------------------------------------


def _as_it_is(error: Exception, _: Request) -> MatteboxError:
    if not isinstance(error, MatteboxError):
        raise TypeError("not a MatteboxError")
    return error


_KINDS = {
    401: Kind.MISSING_KEY,
    402: Kind.OUT_OF_CREDITS,
    404: Kind.NOT_FOUND,
    413: Kind.TOO_MANY_BYTES,
    429: Kind.OVERLOADED,
}


def _from_http(error: Exception, request: Request) -> MatteboxError:
    if not isinstance(error, HTTPException):
        raise TypeError("not an HTTPException")
    status = error.status_code
    match status:
        case 404:
            message = "There is nothing at this address."
        case 405:
            message = f"This address does not take {request.method}."
        case _:
            message = error.detail
    return MatteboxError(_KINDS.get(status, Kind.INTERNAL if status >= 500 else Kind.INVALID_REQUEST), message)


def _from_validation(error: Exception, _: Request) -> MatteboxError:
    if not isinstance(error, RequestValidationError):
        raise TypeError("not a RequestValidationError")
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:])
    return MatteboxError(Kind.INVALID_PARAMETER, f"{name or 'The request'}: {first['msg']}.", parameter=name or None)


def _answer(
    translate: Callable[[Exception, Request], MatteboxError],
) -> Callable[[Request, Exception], Response]:
    def handle(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            response = failed(request, translate(error, request), status=error.status_code)
            response.headers.update(error.headers or {})
            return response
        return failed(request, translate(error, request))

    return handle


@final
class Door:
    """The outermost layer: gives each request its id, keeps out who must not come in, has the last word about failures.

    A server that asks for no key is open to every web page that its user's browser shows: a page can send requests to
    this machine, and by a name that resolves to it can even read the answers. Browsers say where a request comes from
    (`Origin`) and which server they mean (`Host`), so both are looked at.

    Nothing that goes wrong behind it leaves it in any other form than the dialect's. Where a failure is answered before
    the whole body was read, the rest is read and thrown away first, as far as that is reasonable: most clients look for
    an answer only after they have sent everything, and see a broken connection otherwise.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        dialects: Sequence[Dialect],
        hosts: Collection[str] = (),
        keyless: bool = False,
        most: int = _MOST_REQUESTS,
    ) -> None:
        """Build it.

        Args:
            app: what is behind it.
            dialects: the languages that failures are told in.
            hosts: the names that this server may be called by; none at all means any.
            keyless: refuse what another site's page asks for.
            most: the most requests inside at a time.
        """
        self._app = app
        self._dialects = dialects
        self._hosts = frozenset(host.lower() for host in hosts)
        self._keyless = keyless
        self._free = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, _tersely(send))
            return
        # People end base addresses with a slash, and clients put another one behind it.
        scope["path"] = path = re.sub("/{2,}", "/", scope["path"])
        here = Visit(dialect=speaking(self._dialects, path), request_id=f"req_{secrets.token_hex(12)}")
        scope.setdefault("state", {})["visit"] = here
        body = _Body(receive, Headers(scope=scope))
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(raw=message["headers"])
                headers["X-Request-ID"] = here.request_id
                if message["status"] < 400 and path not in _PROBES:
                    line = (here.request_id, here.dialect.name, message["status"], here.milliseconds)
                    _log.info("%s %s %d %d ms", *line)
                if message["status"] >= 400 and not await body.finish():
                    headers["Connection"] = "close"
                message["headers"] = headers.raw
            await send(message)

        self._free -= 1
        try:
            refusal = self._refusal(scope["method"], body.headers)
            if refusal is None:
                await self._app(scope, body.receive, answer)
            else:
                await failed(Request(scope, body.receive), refusal)(scope, body.receive, answer)
        except Exception as error:
            if started:
                _log.exception("%s %s failed while it was answered", here.request_id, here.dialect.name)
                raise
            unknown = MatteboxError(Kind.INTERNAL, "Something went wrong inside the server; its log says more.")
            unknown.__cause__ = error
            await failed(Request(scope, body.receive), unknown)(scope, body.receive, answer)
        finally:
            self._free += 1

    def _refusal(self, method: str, headers: Headers) -> MatteboxError | None:
        if self._free < 0:
            return MatteboxError(Kind.OVERLOADED, "Too many requests; please try again in a moment.", retry_after=2)
        host = headers.get("host", "")
        if self._hosts and _hostname(host) not in self._hosts:
            return MatteboxError(
                Kind.FORBIDDEN,
                "This server is not known by the name in Host. Its operator can set MATTEBOX_HOSTS or MATTEBOX_KEYS.",
            )
        site = headers.get("origin", f"http://{host}").partition("://")[2]
        if self._keyless and site.lower() != host.lower() and method not in ("GET", "HEAD", "OPTIONS"):
            return MatteboxError(
                Kind.FORBIDDEN,
                "A page of another site may not use a server that asks for no key. Its operator can set MATTEBOX_KEYS.",
            )
        return None


def _tersely(send: Send) -> Send:
    """Where the server cannot start for a reason that has a sentence, the log gets that and no stack."""

    async def say(message: Message) -> None:
        error = sys.exception()
        if message["type"] == "lifespan.startup.failed" and isinstance(error, MatteboxError):
            message = {**message, "message": error.message}
        await send(message)

    return say


def _hostname(host: str) -> str:
    """The name in a Host header, without the port."""
    return re.sub(r":\d*$", "", host).strip("[]").rstrip(".").lower()


@final
class _Body:
    """A request's body on its way in."""

    def __init__(self, receive: Receive, headers: Headers) -> None:
        self._receive = receive
        self.headers = headers
        self._begun = False
        self._ended = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        self._waits = headers.get("expect", "").lower() == "100-continue"

    async def receive(self) -> Message:
        """The next message."""
        message = await self._receive()
        self._begun = True
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._ended = True
        return message

    async def finish(self) -> bool:
        """Throw away what is left, within bounds; whether nothing is left."""
        if self._waits and not self._begun:
            return self._ended  # the client asks before it sends, so it listens
        left = _DRAINED_BYTES
        with anyio.move_on_after(_DRAINED_SECONDS):
            while not self._ended and left > 0:
                left -= len((await self.receive()).get("body", b""))
        return self._ended

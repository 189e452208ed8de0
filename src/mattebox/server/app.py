"""The composition root of the server: finds the dialects, puts the parts together, and answers what is nobody's."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import logging
import pkgutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import anyio
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Lifespan

from mattebox import __version__
from mattebox.backdrops import Backdrops
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.models import Models, choices
from mattebox.models.catalogue import Network, Row
from mattebox.models.memory import Machine
from mattebox.models.runtimes import give_back_memory
from mattebox.server import dialects, metrics_page, studio, tracing
from mattebox.server.actions import turn_away
from mattebox.server.admission import ARRIVING, UploadLimiter
from mattebox.server.fetch import Fetcher
from mattebox.server.health import Health, Readiness, Stores
from mattebox.server.http import openapi, stored_images
from mattebox.server.http.dialect import Dialect, error_response, json_response
from mattebox.server.http.results import results
from mattebox.server.jobs import Status, Task, Tasks
from mattebox.server.jobs.worker import Worker
from mattebox.server.maintenance import MemoryReturn, Supervisor, compile_multilevel, flush, sweep
from mattebox.server.mattes import MatteCache
from mattebox.server.middleware import METHODS, RequestGuard
from mattebox.server.monitor import Monitor
from mattebox.server.rates import RateLimits, RateOptions
from mattebox.server.runner import Runner
from mattebox.server.settings import Settings, keyed, node_of
from mattebox.server.state import ServerState
from mattebox.server.store.accounts import Accounts
from mattebox.server.store.blobs import SWEPT_AT_ONCE as SWEPT_BLOBS
from mattebox.server.store.blobs import Blobs
from mattebox.server.store.claims import Claims
from mattebox.server.store.database import connect, create
from mattebox.server.store.images import SWEPT_AT_ONCE as SWEPT_IMAGES
from mattebox.server.store.images import ImageStore
from mattebox.steps import Generators, Segmenters

_log = logging.getLogger(__name__)

ENTRY_POINTS: Final = "mattebox.dialects"
_DOCS_FILES: Final = "/static-offline-docs"
_ABOUT = """
Cuts the subject out of a photo. The same server speaks several APIs at once: its own, and those of vendors whose
clients only need another base address.
"""


def create_app(
    settings: Settings, *, models: Segmenters | None = None, backdrops: Generators | None = None, tasks: bool = True
) -> FastAPI:
    """The server.

    Args:
        settings: what it is told by its environment.
        models: the networks, for a server inside another program; by default its own.
        backdrops: the generators of backdrops; by default, the server's own, where its networks are too.
        tasks: keep a queue. Without one the server starts faster, several fit into one process, and tasks are refused.

    Raises:
        ValueError: two dialects claim the same paths.
        MatteboxError: INVALID_PARAMETER where the settings name an unknown model; UNAVAILABLE where they have no keys
            and the database, which may have some, is away.
    """
    found, closed = find_dialects(), keyed(settings)
    monitor = tracing.start() if settings.tracing else Monitor()

    def progress(what: str, done: int, total: int | None) -> None:
        app.state.readiness.progress(what, done, total)

    networks = models or _networks(settings, progress)
    own = networks if isinstance(networks, Models) else None
    if backdrops is None and models is None:
        backdrops = Backdrops(settings.backdrops, fetch_when_used=False)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, anyio.Event]]:
        async with AsyncExitStack() as closing:
            fetcher = Fetcher(settings.fetch)
            closing.push_async_callback(fetcher.aclose)
            closing.push_async_callback(anyio.to_thread.run_sync, monitor.close)
            blobs = Blobs(settings.blobs)
            mattes = MatteCache(settings.mattes, count=monitor.matte)
            runner = Runner(
                Engine(networks, backdrops),
                fetcher,
                blobs,
                limits=settings.limits,
                model=settings.model,
                options=settings.service,
                mattes=mattes,
                observer=monitor.stage,
            )
            app.state.readiness = readiness = Readiness(runner)
            supervisor = Supervisor()
            closing.push_async_callback(supervisor.close)  # where the start fails
            supervisor.start("Loading the networks", readiness.load)
            if models is None:  # a program that brings its own networks sees to everything else too
                supervisor.start("Compiling the multi-level estimation", compile_multilevel)
            queue: Tasks | None = None
            if tasks:
                work = _worker(settings, runner, blobs, fetcher, readiness=readiness, found=found, monitor=monitor)
                queue, accounts = _queue(settings, work)
                database = queue.engine
                await anyio.to_thread.run_sync(partial(queue.start, role=settings.role))
                closing.push_async_callback(anyio.to_thread.run_sync, queue.close)
            else:
                database = connect(settings.database)
                closing.callback(database.dispose)
                await anyio.to_thread.run_sync(create, database)
                accounts = Accounts(settings.keys, database, settings.accounts)
            library = ImageStore(database, blobs, settings.library)
            closing.push_async_callback(_flush_at_the_end, accounts)
            _tidy_in_background(supervisor, accounts, Claims(database), blobs, library, mattes=mattes, runner=runner)
            closing.push_async_callback(supervisor.close)
            closing.push_async_callback(readiness.stop)  # first of all: a download has no part in the queue's grace
            rates = _rates(settings.rates, found)
            # A worker counts no requests, and works on while Redis is away.
            app.state.health = health = Health(
                readiness,
                Stores(database, blobs, None if settings.role == "worker" else rates),
                runner,
                supervisor,
                queue,
            )
            readings = metrics_page.Readings(
                health=health,
                runner=runner,
                mattes=mattes,
                accounts=accounts,
                database=database,
                webhook_retries=settings.tasks.webhook_retries,
            )
            closing.push_async_callback(
                anyio.to_thread.run_sync, metrics_page.start(monitor, readings, settings.metrics)
            )
            app.state.server = ServerState(
                runner=runner,
                accounts=accounts,
                readiness=readiness,
                uploads=UploadLimiter(runner.admission.capacity + ARRIVING),
                installed=own.installed if own else _always,
                resolve=own.resolve if own else _on_any_machine,
                rates=rates,
                tasks=queue,
                blobs=blobs,
                library=library,
                fetch=settings.fetch,
                public_url=settings.public_url,
                listing_url=settings.listing_url,
                scenes=backdrops if isinstance(backdrops, Backdrops) else None,
            )
            yield {"ending": health.ending}  # set by `connection.Server`

    app = _make_silent(lifespan) if settings.role == "worker" else _make_documented(lifespan, settings.public_url)
    _mount_routes(app, settings, found, monitor, keyless=not closed)
    app.add_middleware(
        RequestGuard,
        dialects=found,
        hosts=settings.hosts,
        keyless=not closed,
        origins=settings.origins(keyed=closed),
        proxies=settings.trusted_proxies,
        uploads=settings.uploads,
        monitor=monitor,
        turn_away=None if settings.role == "worker" else turn_away,
    )
    # Round the guard, whose refusals a page has to be able to read as well.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.origins(keyed=closed),
        allow_methods=METHODS,
        allow_headers=["*"],
        allow_private_network=True,  # a page from the internet may use a server in the house, by the same rules
        expose_headers=["*"],
    )
    return app


def _tidy_in_background(
    supervisor: Supervisor,
    accounts: Accounts,
    claims: Claims,
    blobs: Blobs,
    library: ImageStore,
    *,
    mattes: MatteCache,
    runner: Runner,
) -> None:
    supervisor.start("Counting pictures", partial(flush, accounts))
    sweep_blobs = partial(sweep, claims, "blobs", blobs.sweep, at_once=SWEPT_BLOBS)
    supervisor.start("Deleting results that have expired", sweep_blobs)
    sweep_images = partial(sweep, claims, "images", library.sweep, at_once=SWEPT_IMAGES)
    supervisor.start("Deleting images that were given up", sweep_images)
    supervisor.start("Forgetting mattes", mattes.forget)
    supervisor.start("Giving memory back", MemoryReturn(lambda: runner.busy, give_back_memory).round)


def _mount_routes(
    app: FastAPI, settings: Settings, found: Sequence[Dialect], monitor: Monitor, *, keyless: bool
) -> None:
    _mount_probes(app)
    if not settings.metrics.port:
        metrics_page.mount(app, monitor, keyless=keyless)
    if settings.role != "worker":
        app.include_router(results(sign=settings.storage.sign))
        app.include_router(stored_images.router)
        for dialect in found:
            app.include_router(dialect.router)
        studio.mount(app, public_url=settings.public_url)
    for each in (MatteboxError, HTTPException, RequestValidationError):
        app.add_exception_handler(each, _refuse)


async def _flush_at_the_end(accounts: Accounts) -> None:
    try:
        await anyio.to_thread.run_sync(accounts.flush)
    except MatteboxError as error:
        _log.warning("the last pictures were not counted: %s", error.message)


def _queue(settings: Settings, work: Worker) -> tuple[Tasks, Accounts]:
    """The queue, and the accounts that get credits back for what fails in it."""

    def on_finished(connection: Connection, task: Task) -> None:
        if task.status is not Status.SUCCEEDED:
            accounts.refund(accounts.owner(task.owner), connection=connection)

    queue = Tasks(settings.database, node=node_of(settings), work=work, options=settings.tasks, on_finished=on_finished)
    accounts = Accounts(settings.keys, queue.engine, settings.accounts)
    return queue, accounts


def _worker(
    settings: Settings,
    runner: Runner,
    blobs: Blobs,
    fetcher: Fetcher,
    *,
    readiness: Readiness,
    found: Sequence[Dialect],
    monitor: Monitor,
) -> Worker:
    return Worker(
        runner,
        blobs,
        fetcher,
        loop=asyncio.get_running_loop(),
        ready=readiness.check,
        timeout=settings.tasks.timeout,
        keep=settings.storage.keep,
        webhook_timeout=settings.tasks.webhook_timeout,
        webhook_secret=settings.tasks.webhook_secret,
        webhook_bodies={each.name: each.webhook_body for each in found if each.webhook_body is not None},
        monitor=monitor,
    )


def _make_documented(lifespan: Lifespan[FastAPI], public_url: str) -> FastAPI:
    app = FastAPIOffline(
        docs_url=None,  # ours is below
        redoc_url=None,  # its page fetches a picture from its maker's server
        static_url=_DOCS_FILES,
        title="mattebox",
        version=__version__,
        description=_ABOUT,
        lifespan=lifespan,
        redirect_slashes=False,
        servers=[{"url": public_url}] if public_url else None,
        root_path_in_servers=not public_url,
    )

    @app.get("/docs", include_in_schema=False)
    async def _docs(request: Request) -> Response:
        # The addresses are relative: a proxy may have the page under any path, whether it says so or not.
        written: bytes = request.scope.get("raw_path", b"")
        base = ".." if written.endswith(b"/") else "."
        return get_swagger_ui_html(
            openapi_url=f"{base}/openapi.json",
            title="mattebox",
            swagger_js_url=f"{base}{_DOCS_FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{base}{_DOCS_FILES}/swagger-ui.css",
            swagger_favicon_url=f"{base}{_DOCS_FILES}/favicon.png",
            swagger_ui_parameters={"validatorUrl": None, "tryItOutEnabled": True},
        )

    return app


def _make_silent(lifespan: Lifespan[FastAPI]) -> FastAPI:
    return FastAPI(openapi_url=None, lifespan=lifespan, redirect_slashes=False)


def _rates(options: RateOptions, found: Sequence[Dialect]) -> RateLimits:
    names = [each.name for each in found]
    for each in options.dialects:
        if each.partition("=")[0].strip() not in names:
            raise MatteboxError(
                Kind.INVALID_PARAMETER, f"MATTEBOX_RATES_DIALECTS: unknown dialect; there are {', '.join(names)}."
            )
    return RateLimits(options)


def _always(_name: str) -> bool:
    return True


def _on_any_machine(row: Row) -> Network:
    return choices.resolve(row, Machine(None))


def _networks(settings: Settings, progress: Callable[[str, int, int | None], None]) -> Models:
    """The server's own. They are fetched while it starts, never for a request."""
    networks = Models(settings.models, progress=progress, fetch_when_used=False)
    networks.installed(settings.model)  # an unknown name is refused now, and not at every request
    return networks


def find_dialects() -> tuple[Dialect, ...]:
    """All dialects that are installed: the files beside this one, and those that other packages announce.

    Raises:
        ValueError: two of them claim the same paths.
    """
    names = [
        f"{dialects.__name__}.{module.name}"
        for module in pkgutil.iter_modules(dialects.__path__)
        if module.name != "base"
    ]
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


class _Health(BaseModel):
    status: str = Field(description="`ok`, or why not")


class _Ready(_Health):
    warnings: list[str] = Field([], description="what fails in the background")


def _mount_probes(app: FastAPI) -> None:
    @app.head("/live", include_in_schema=False)
    @app.get("/live", include_in_schema=False)
    @app.head("/health", include_in_schema=False)  # what some monitors ask with
    @app.get(
        "/health",
        tags=["server"],
        summary="Whether the process is alive",
        responses=openapi.result("It is", model=_Health, example={"status": "ok"}),
    )
    async def _health() -> Response:
        return json_response({"status": "ok"})

    @app.head("/ready", include_in_schema=False)
    @app.get(
        "/ready",
        tags=["server"],
        summary="Whether pictures can be worked on",
        responses=openapi.result("They can", model=_Ready, example={"status": "ok"})
        | openapi.result("Not yet", model=_Health, status=503, example={"status": "The model is still being loaded."}),
    )
    async def _ready(request: Request) -> Response:
        health: Health = request.app.state.health
        try:
            await health.check()
        except MatteboxError as error:
            return json_response({"status": error.message}, status=503)
        return json_response({"status": "ok"} | ({"warnings": health.warnings} if health.warnings else {}))


# --- failures ----------------------------------------------------------------------------------------------------


# Asynchronous, because Starlette hands others to a thread, which doubles what a refusal costs.
async def _refuse(request: Request, error: Exception) -> Response:
    """A failure in the words of the request's dialect."""
    match error:
        case MatteboxError():
            return error_response(request, error)
        case HTTPException():
            response = error_response(request, _from_http(error, request.method), status=error.status_code)
            response.headers.update(error.headers or {})
            if "allow" in response.headers:  # which names the methods of the first route at this address only
                response.headers["allow"] = ", ".join(_methods_at(request))
            return response
        case RequestValidationError():
            return error_response(request, _from_validation(error))
    raise error


_KINDS = {
    401: Kind.MISSING_KEY,
    402: Kind.OUT_OF_CREDITS,
    404: Kind.NOT_FOUND,
    413: Kind.TOO_MANY_BYTES,
    429: Kind.OVERLOADED,
}


def _from_http(error: HTTPException, method: str) -> MatteboxError:
    status = error.status_code
    match status:
        case 404:
            message = "There is nothing at this address."
        case 405:
            message = f"This address does not take {method}."
        case _:
            message = error.detail
    return MatteboxError(_KINDS.get(status, Kind.INTERNAL if status >= 500 else Kind.INVALID_REQUEST), message)


def _from_validation(error: RequestValidationError) -> MatteboxError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:])
    return MatteboxError(Kind.INVALID_PARAMETER, f"{name or 'The request'}: {first['msg']}.", parameter=name or None)


def _methods_at(request: Request) -> list[str]:
    """The methods that the address of a request takes."""

    def takes(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in METHODS if takes(method)]

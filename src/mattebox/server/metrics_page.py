"""`/metrics`: the gauges that are read when somebody asks, who may ask, and a port of its own."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio
import anyio.to_thread
from fastapi import FastAPI
from prometheus_client import generate_latest, start_http_server
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response

from mattebox.environment import option
from mattebox.errors import Kind, MatteboxError
from mattebox.server.actions import authenticate
from mattebox.server.admission import Line, Load
from mattebox.server.health import Health
from mattebox.server.jobs.statistics import statistics
from mattebox.server.mattes import MatteCache
from mattebox.server.monitor import Gauges, Monitor
from mattebox.server.runner import Runner
from mattebox.server.store.accounts import Accounts

PATH = "/metrics"
_DATABASE_SECONDS = 5.0
_READING_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsOptions:
    """The port of the metrics."""

    port: int = option(
        0,
        "A port for /metrics alone, without keys. 0: it is on the server's own port, for those who send a key; "
        "without keys, for this machine.",
    )
    host: str = option("127.0.0.1", "The address at which that port listens.")

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError("port must be 0 to 65535")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The parts that the gauges are read from."""

    health: Health
    runner: Runner
    mattes: MatteCache
    accounts: Accounts
    database: Engine
    webhook_retries: int

    async def read(self) -> Gauges:
        """The gauges' values now."""
        found: dict[str, Mapping[tuple[str, ...], float]] = {
            "mattebox_ready": {(): await self._is_ready()},
            "mattebox_workers": {(): self.runner.options.workers},
            "mattebox_workers_stuck": {(): self.runner.stuck},
            "mattebox_pictures": _by_line(self.runner.admission.pictures, len),
            "mattebox_mattes_bytes": {(): self.mattes.bytes},
            "mattebox_pixels": _by_line(self.runner.admission.pixels_taken, sum),
        }
        try:
            with anyio.fail_after(_DATABASE_SECONDS):
                kept = await anyio.to_thread.run_sync(self._kept, abandon_on_cancel=True)
        except (MatteboxError, TimeoutError) as error:
            if isinstance(error, MatteboxError) and error.kind is not Kind.UNAVAILABLE:
                raise
            return found | {"mattebox_database_up": {(): 0}}
        return {**found, "mattebox_database_up": {(): 1}, **kept}

    def _kept(self) -> Gauges:
        queue = statistics(self.database, webhook_retries=self.webhook_retries)
        return {
            "mattebox_tasks": {(status.value,): count for status, count in queue.tasks.items()},
            "mattebox_oldest_task_age_seconds": {(status.value,): age for status, age in queue.oldest.items()},
            "mattebox_shards": {(status.value,): count for status, count in queue.shards.items()},
            "mattebox_oldest_shard_age_seconds": {(status.value,): age for status, age in queue.oldest_shard.items()},
            "mattebox_webhooks_waiting": {(): queue.webhooks},
            "mattebox_credits_used": {(): self.accounts.used()},
        }

    async def _is_ready(self) -> bool:
        try:
            await self.health.check()
        except MatteboxError:  # it is what the gauge says; `/ready` says why
            return False
        return True


def _by_line(load: Mapping[Line, Load], measure: Callable[[tuple[int, ...]], int]) -> Mapping[tuple[str, ...], float]:
    return {
        (state, line.name.lower()): measure(weights)
        for line, each in load.items()
        for state, weights in (("working", each.held), ("waiting", each.waiting))
    }


def mount(app: FastAPI, monitor: Monitor, *, keyless: bool) -> None:
    """Put the page on the server's own port; one that is `keyless`, asking for no keys, answers only this machine."""

    @app.get(PATH, include_in_schema=False)
    async def _metrics(request: Request) -> Response:
        if not keyless:
            await authenticate(request)
        elif request.client is None or not _is_loopback(request.client.host):
            raise MatteboxError(
                Kind.FORBIDDEN, "Without keys the metrics are for this machine only; see MATTEBOX_METRICS_PORT."
            )
        page = await anyio.to_thread.run_sync(generate_latest, monitor.registry)
        return Response(page, media_type=CONTENT_TYPE_PLAIN_0_0_4)


def start(monitor: Monitor, readings: Readings, options: MetricsOptions) -> Callable[[], None]:
    """Let the monitor read the gauges, and serve them where the page has a port of its own; returns what ends that.

    Call it in the server's loop, and what it returns in another thread, which waits for those that ask.

    Raises:
        MatteboxError: CONFLICT where the port cannot be listened at.
    """
    loop = asyncio.get_running_loop()

    def read() -> Gauges:
        return asyncio.run_coroutine_threadsafe(readings.read(), loop).result(_READING_SECONDS)

    monitor.read_gauges = read
    if not options.port:
        return lambda: None
    try:
        server, thread = start_http_server(options.port, options.host, monitor.registry)
    except OSError as error:
        raise MatteboxError(
            Kind.CONFLICT, f"The port of the metrics, {options.port}, cannot be listened at: {error.strerror}."
        ) from error

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:  # a name that a test's client has
        return False

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
from fastapi import FastAPI
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, create_engine, insert, update
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha
from mattebox.server import metrics_page
from mattebox.server.admission import ANYBODY, Admission, Line, Ticket
from mattebox.server.app import create_app, find_dialects
from mattebox.server.jobs import Status
from mattebox.server.jobs.rows import TASKS
from mattebox.server.jobs.statistics import Statistics, statistics
from mattebox.server.middleware import RequestGuard
from mattebox.server.monitor import METRICS, Monitor
from mattebox.server.pace import Pace
from mattebox.server.settings import Settings
from mattebox.server.store.accounts import Accounts
from mattebox.server.store.database import now
from mattebox.stages import Stage
from mattebox.testing import FakeModels, FakeSegmenter

Serve = Callable[..., TestClient]
Labels: TypeAlias = tuple[tuple[str, str], ...]


def parsed(page: str) -> dict[tuple[str, Labels], float]:
    """Every sample by its name and its labels, which are sorted."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def labels(**values: str) -> Labels:
    return tuple(sorted(values.items()))


def here(client: TestClient) -> TestClient:
    """The same server, asked from this machine."""
    return TestClient(client.app, client=("127.0.0.1", 50000), raise_server_exceptions=False)


def metrics(client: TestClient, headers: Mapping[str, str] | None = None) -> dict[tuple[str, Labels], float]:
    answer = here(client).get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return parsed(answer.text)


def test_requests_errors_and_stages_are_counted(client: TestClient, photo: bytes) -> None:
    for data in (photo, photo, b"a letter"):
        client.post("/api/v1/remove", files={"image": ("photo.png", data)})
    client.post("/v1/remove", files={"image_file": ("photo.png", photo)})
    client.get("/api/v1/images/somebody-elses-secret-name")
    client.get("/nothing/like/this?key=hush")
    client.request("BREW", "/api/v1/remove")
    found = metrics(client)

    def requests(**values: str) -> float:
        return found["mattebox_requests_total", labels(**values)]

    assert requests(dialect="native", method="POST", route="/api/v1/remove", status="200") == 2
    assert requests(dialect="native", method="POST", route="/api/v1/remove", status="400") == 1
    assert requests(dialect="poof", method="POST", route="/v1/remove", status="200") == 1
    assert requests(dialect="native", method="GET", route="/api/v1/images/{image_id}", status="404") == 1
    assert requests(dialect="native", method="GET", route="other", status="404") == 1
    assert requests(dialect="native", method="OTHER", route="/api/v1/remove", status="405") == 1
    seconds = labels(dialect="native", route="/api/v1/remove")
    assert found["mattebox_request_seconds_count", seconds] == 4
    assert 0 < found["mattebox_request_seconds_sum", seconds] < 300
    assert found["mattebox_errors_total", labels(work="request", kind="unreadable_image")] == 1
    assert found["mattebox_errors_total", labels(work="request", kind="not_found")] == 2
    for stage in Stage:
        count = found.get(("mattebox_stage_seconds_count", labels(stage=stage.value)))
        # A letter is seen to be none before it waits for its turn.
        # And it is one photo three times, which the network sees once.
        expected = {Stage.FETCH: None, Stage.STORE: None, Stage.EMBED: None, Stage.SEGMENT: 1}.get(stage, 3)
        assert count == expected, stage
    assert found["mattebox_ready", ()] == 1
    assert found["mattebox_database_up", ()] == 1
    assert found["mattebox_workers", ()] == 2
    assert found["mattebox_credits_used", ()] == 3
    assert found["mattebox_tasks", labels(status="queued")] == 0
    assert found["process_resident_memory_bytes", ()] > 1e6


def test_nothing_of_a_client_gets_into_the_page(client: TestClient) -> None:
    client.get("/hush/path", headers={"x-api-key": "hush", "user-agent": "hush"})
    client.post("/api/v1/hush", json={"prompt": "hush"})
    assert "hush" not in here(client).get("/metrics").text


def test_every_metric_is_declared_and_every_declared_one_is_there(client: TestClient) -> None:
    page = here(client).get("/metrics").text
    said = dict(re.findall(r"^# TYPE (mattebox_\w+?) (counter|histogram|gauge)$", page, re.MULTILINE))
    created = {name for name in said if name.endswith("_created")}  # the client library's own
    assert {name: kind for name, kind in said.items() if name not in created} == {
        metric.name: metric.type for metric in METRICS.values()
    }


def test_probes_are_not_counted(client: TestClient) -> None:
    for probe in ("/live", "/health", "/ready", "/metrics"):
        client.get(probe)
    assert not [name for name, _ in metrics(client) if name == "mattebox_requests_total"]


def test_a_picture_in_work_and_one_that_waits_are_seen(serve: Serve, photo: bytes) -> None:
    begun, go_on = threading.Event(), threading.Event()
    fake = FakeSegmenter()

    def slow(photo: RGB) -> Alpha:
        begun.set()
        assert go_on.wait(60)
        return fake(photo)

    client = serve(models=FakeModels(slow), service={"workers": 1})
    send = [
        threading.Thread(target=client.post, args=("/api/v1/remove",), kwargs={"files": {"image": ("a.png", photo)}})
        for _ in range(2)
    ]
    for thread in send:
        thread.start()
    try:
        assert begun.wait(60)
        waiting = "mattebox_pictures", labels(state="waiting", line="requests")
        deadline = time.monotonic() + 60
        while metrics(client)[waiting] < 1:
            assert time.monotonic() < deadline
        found = metrics(client)
        assert found["mattebox_pictures", labels(state="working", line="requests")] == 1
        assert found["mattebox_pixels", labels(state="working", line="requests")] == 200 * 150
        assert found["mattebox_pictures", labels(state="working", line="tasks")] == 0
    finally:
        go_on.set()
        for thread in send:
            thread.join()
    assert metrics(client)[waiting] == 0


def test_a_server_that_is_not_ready_and_a_database_that_is_away_are_said(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing(FakeModels):
        def warm(self, name: str) -> None:
            raise MatteboxError(Kind.UNAVAILABLE, "The weights are missing.")

    def away(*_: object, **__: object) -> Statistics:
        raise MatteboxError(Kind.UNAVAILABLE, "The database is away.")

    client = serve(models=Missing())
    monkeypatch.setattr(metrics_page, "statistics", away)
    found = metrics(client)
    assert found["mattebox_ready", ()] == 0
    assert found["mattebox_database_up", ()] == 0
    assert ("mattebox_tasks", labels(status="queued")) not in found
    assert found["mattebox_workers", ()] == 2


def test_a_server_that_is_told_to_stop_is_not_ready(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    assert client.portal is not None
    client.portal.call(partial(app.state.server.readiness.check, patience=60))
    assert metrics(client)["mattebox_ready", ()] == 1
    client.portal.call(app.state.health.ending.set)  # as `connection.Server` does
    assert metrics(client)["mattebox_ready", ()] == 0
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "The server is being stopped."})
    assert client.get("/live").status_code == 200


# --- who may ask -------------------------------------------------------------------------------------------------


def test_without_keys_other_machines_may_not_ask(client: TestClient) -> None:
    assert here(client).get("/metrics").status_code == 200
    assert TestClient(client.app, client=("::1", 1)).get("/metrics").status_code == 200
    for host in ("192.168.0.7", "2001:db8::1", "example.org"):
        refused = TestClient(client.app, client=(host, 1)).get("/metrics")
        assert refused.status_code == 403
        assert "MATTEBOX_METRICS_PORT" in refused.text


def test_with_keys_whoever_has_one_may_ask(serve: Serve) -> None:
    client = serve(keys=("k",))
    assert here(client).get("/metrics").status_code == 401
    assert here(client).get("/metrics", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert client.get("/metrics", headers={"authorization": "Bearer k"}).status_code == 200


def test_a_worker_shows_its_metrics_too(serve: Serve) -> None:
    client = serve(role="worker")
    assert metrics(client)["mattebox_workers", ()] == 2
    assert client.get("/live").json() == {"status": "ok"}


def test_a_port_of_its_own(serve: Serve, photo: bytes, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings.model_validate({"metrics": {"port": port}, "data_dir": tmp_path})
        app = create_app(settings, models=FakeModels(), tasks=False)
        with pytest.raises(MatteboxError, match="port of the metrics"), TestClient(app):
            pass
    client = serve(metrics={"port": port}, keys=("k",))
    client.post("/api/v1/remove", files={"image": ("a.png", photo)}, headers={"x-api-key": "k"})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        found = parsed(answer.read().decode())
    assert found["mattebox_stage_seconds_count", labels(stage="segment")] == 1
    assert found["mattebox_ready", ()] == 1
    assert client.get("/metrics", headers={"x-api-key": "k"}).status_code == 404


# --- the parts ---------------------------------------------------------------------------------------------------


def test_tasks_are_counted_by_status_with_the_age_of_the_oldest(database: Engine) -> None:
    rows = [
        {"id": f"{number}", "status": status, "created": 1000.0 * number, "hook_url": hook, "announced": announced}
        for number, (status, hook, announced) in enumerate(
            [
                ("queued", None, None),
                ("queued", "https://a.example", None),  # not to be sent before it has ended
                ("running", None, None),
                ("succeeded", "https://a.example", 5.0),  # has been received
                ("succeeded", "https://a.example", None),
                ("failed", "https://a.example", None),
                ("cancelled", "https://a.example", None),  # is never announced
            ]
        )
    ]
    with database.begin() as connection:
        for row in rows:
            connection.execute(insert(TASKS).values(owner="o", dialect="native", edit="{}", extra="{}", **row))
        given_up = insert(TASKS).values(owner="o", dialect="native", edit="{}", extra="{}", id="x", status="failed")
        connection.execute(given_up.values(hook_url="https://a.example", hook_attempts=4))
        connection.execute(update(TASKS).where(TASKS.c.id == "2").values(created=now() - 50))
    found = statistics(database, webhook_retries=3)
    assert found.tasks == {"queued": 2, "running": 1, "succeeded": 2, "failed": 2, "cancelled": 1}
    assert found.webhooks == 2
    assert set(found.oldest) == {"queued", "running"}
    assert 50 <= found.oldest[Status.RUNNING] < 350
    assert found.oldest[Status.QUEUED] > 1e9


def test_the_credits_of_all_keys_are_added_up(database: Engine) -> None:
    accounts = Accounts((), database)
    assert accounts.used() == 0
    for key, pictures in (("a", 2), ("b", 3)):
        accounts.reserve(accounts.authenticate(key), pictures)
    accounts.flush()
    accounts.reserve(accounts.authenticate("b"))  # not written down yet
    accounts.refund(accounts.authenticate("a"))
    assert accounts.used() == 5


def test_a_database_that_is_away_is_a_failure_of_ours(tmp_path: Path) -> None:
    with pytest.raises(MatteboxError) as caught:
        statistics(create_engine(f"sqlite:///{tmp_path}/nowhere/at.db"), webhook_retries=3)
    assert caught.value.kind is Kind.UNAVAILABLE


def test_the_load_is_what_is_held_and_what_waits() -> None:
    async def story() -> None:
        admission = Admission(workers=2, queue=4, pixels=100, timeout=60, pace=Pace(1))
        task, request = (Ticket(owner=ANYBODY, line=line) for line in (Line.TASKS, Line.REQUESTS))
        async with admission.worker(task, alone=True):
            waiting = asyncio.create_task(admission.worker(request).__aenter__())
            await asyncio.sleep(0)
            load = admission.pictures
            assert (load[Line.TASKS].held, load[Line.REQUESTS].held) == ((2,), ())
            assert load[Line.REQUESTS].waiting == (1,)
            async with admission.work(task, 30), admission.work(task, 50):
                assert admission.pixels_taken[Line.TASKS].held == (30, 50)
            assert admission.pixels_taken[Line.TASKS].held == ()
        await waiting
        assert admission.pictures[Line.REQUESTS].held == (1,)

    asyncio.run(story())


def test_deliveries_and_tries_of_tasks_are_counted() -> None:
    monitor = Monitor()
    with monitor.webhook(), monitor.task():
        pass
    for error in (MatteboxError(Kind.TIMED_OUT, "Late."), ZeroDivisionError()):
        with pytest.raises(type(error)), monitor.task(), monitor.webhook():
            raise error
    found = parsed(generate_latest(monitor.registry).decode())
    assert found["mattebox_webhook_deliveries_total", labels(outcome="received")] == 1
    assert found["mattebox_webhook_deliveries_total", labels(outcome="failed")] == 2
    assert found["mattebox_errors_total", labels(work="task", kind="timed_out")] == 1
    assert found["mattebox_errors_total", labels(work="task", kind="internal")] == 1


def test_a_request_that_fails_while_it_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError("in the middle")

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    monitor = Monitor()
    for app in (broken, silent):
        guard = RequestGuard(app, dialects=find_dialects(), monitor=monitor)
        with suppress(ZeroDivisionError, RuntimeError, AssertionError):
            TestClient(guard).get("/api/v1/tasks")
    found = parsed(generate_latest(monitor.registry).decode())
    assert found["mattebox_errors_total", labels(work="request", kind="internal")] == 1
    answered = {"dialect": "native", "method": "GET", "route": "other"}
    assert found["mattebox_requests_total", labels(**answered, status="200")] == 1
    assert found["mattebox_requests_total", labels(**answered, status="499")] == 1
    [record] = [each for each in caplog.records if each.exc_info]
    assert "in the middle" in str(record.exc_info)

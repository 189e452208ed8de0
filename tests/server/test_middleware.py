"""The guard: bodies that are slow to arrive, by a clock that the test moves; full servers; broken responses."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import closing

import anyio.lowlevel
import numpy as np
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from mattebox import codec
from mattebox.edit import Output
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image
from mattebox.server import logs
from mattebox.server.app import find_dialects
from mattebox.server.http import bodies
from mattebox.server.http.dialect import Dialect, error_response, paths_of_edits, request_context
from mattebox.server.middleware import RequestGuard, UploadOptions
from mattebox.server.monitor import Monitor
from mattebox.server.store.blobs import Blobs

DIALECTS = find_dialects()
OPTIONS = UploadOptions(idle=60, timeout=1000)


class Clock:
    """The event loop's clock, with what the test says has passed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0.0
        loop = asyncio.get_running_loop()
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self.passed)

    async def move(self, seconds: float) -> None:
        """Let time pass, and what is due then happen."""
        self.passed += seconds
        for _ in range(5):
            await anyio.lowlevel.checkpoint()


class Sent(list[Message]):
    """What was answered."""

    async def send(self, message: Message) -> None:
        self.append(message)

    @property
    def status(self) -> int:
        return int(self[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self[1:])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self[0]["headers"])


async def reads_its_body(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    try:
        response = Response(await bodies.raw(request, max_bytes=100, picture="image"))
    except MatteboxError as error:
        response = error_response(request, error)
    await response(scope, receive, send)


def upload(
    monkeypatch: pytest.MonkeyPatch, path: str, pauses: Iterable[float], *, complete: bool = True
) -> tuple[Sent, int]:
    """What a client is answered that sends one byte after each pause, and how many bytes were taken."""
    taken = 0

    async def story() -> Sent:
        clock, sent = Clock(monkeypatch), Sent()

        async def arriving() -> AsyncIterator[Message]:
            nonlocal taken
            for pause in pauses:
                await clock.move(pause)
                taken += 1
                yield {"type": "http.request", "body": b"x", "more_body": True}
            if complete:
                yield {"type": "http.request", "body": b"", "more_body": False}
            await anyio.sleep_forever()

        messages = arriving()
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b""}
        scope["headers"] = [(b"host", b"a.test"), (b"transfer-encoding", b"chunked")]
        guard = RequestGuard(reads_its_body, dialects=DIALECTS, uploads=OPTIONS)
        with anyio.fail_after(OPTIONS.timeout * 5):
            await guard(scope, messages.__anext__, sent.send)
        return sent

    return anyio.run(story), taken


def test_an_upload_that_keeps_moving_is_taken_however_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, taken = upload(monkeypatch, "/api/v1/remove", [50] * 18)
    assert (sent.status, sent.body, taken) == (200, b"x" * 18, 18)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.name)
def test_an_upload_that_stops_is_refused_in_the_dialect(dialect: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, _ = upload(monkeypatch, dialect.prefixes[0] + "x", [50, 50, 61, 1])
    assert (sent.status, sent.headers[b"connection"]) == (408, b"close")
    expected = dialect.render_error(
        MatteboxError(Kind.UPLOAD_TIMED_OUT, "The body did not arrive in time."),
        408,
        sent.headers[b"x-request-id"].decode(),
    )
    assert json.loads(sent.body) == json.loads(bytes(expected.body))


def test_an_upload_has_so_much_time_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, taken = upload(monkeypatch, "/api/v1/remove", [50] * 90)
    assert (sent.status, json.loads(sent.body)["kind"]) == (408, "upload_timed_out")
    assert taken == 19


def test_whoever_waits_for_the_client_to_go_away_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def watches(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["more_body"] is False
        assert (await receive())["type"] == "http.disconnect"
        await Response("")(scope, receive, send)

    async def story() -> Sent:
        clock, sent = Clock(monkeypatch), Sent()

        async def arriving() -> AsyncIterator[Message]:
            yield {"type": "http.request", "body": b"x", "more_body": False}
            await clock.move(5000)
            yield {"type": "http.disconnect"}

        scope = {"type": "http", "method": "POST", "path": "/", "query_string": b""}
        scope["headers"] = [(b"host", b"a.test"), (b"content-length", b"1")]
        messages = arriving()
        await RequestGuard(watches, dialects=DIALECTS, uploads=OPTIONS)(scope, messages.__anext__, sent.send)
        return sent

    assert anyio.run(story).status == 200


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("inf"), float("nan")])
def test_times_are_numbers_above_zero(wrong: float) -> None:
    makers: list[Callable[[], object]] = [lambda: UploadOptions(idle=wrong), lambda: UploadOptions(timeout=wrong)]
    for make in makers:
        with pytest.raises(ValueError, match="above 0"):
            make()


# --- a server that has much to do, and responses that break off --------------------------------------------------


@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/ready", 200), ("/api/v1/models", 429)])
def test_a_full_server_still_says_that_it_is_well(path: str, status: int) -> None:
    sent = Sent()

    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def story() -> None:
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [(b"host", b"a.test")]}
        await RequestGuard(Response("fine"), dialects=DIALECTS, most=0)(scope, nothing, sent.send)

    anyio.run(story)
    assert sent.status == status


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        *[(probe, b"10.1.2.3:8000", 200) for probe in ("/live", "/health", "/ready")],
        ("/metrics", b"10.1.2.3:8000", 403),
        ("/metrics", b"cutout.example", 200),
    ],
)
def test_probes_are_answered_by_any_name(path: str, host: bytes, status: int) -> None:
    sent = Sent()

    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def story() -> None:
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [(b"host", host)]}
        await RequestGuard(Response("fine"), dialects=DIALECTS, hosts=("cutout.example",))(scope, nothing, sent.send)

    anyio.run(story)
    assert sent.status == status


def test_what_is_refused_holds_no_place_while_its_body_arrives() -> None:
    sent = {"slow": Sent(), "other": Sent()}

    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(status_code=404 if scope["path"] == "/slow" else 200)(scope, receive, send)

    guard = RequestGuard(behind, dialects=DIALECTS, most=1)

    async def story() -> None:
        reading = anyio.Event()

        async def never_ends() -> Message:
            reading.set()
            await anyio.sleep_forever()
            raise AssertionError

        async def ask(name: str, receive: Receive) -> None:
            scope = {"type": "http", "method": "POST", "path": f"/{name}", "query_string": b""}
            await guard({**scope, "headers": [(b"transfer-encoding", b"chunked")]}, receive, sent[name].send)

        async with anyio.create_task_group() as group:
            group.start_soon(ask, "slow", never_ends)
            with anyio.fail_after(60):
                await reading.wait()
                for _ in range(2):
                    await ask("other", never_ends)
                    assert sent["other"].status == 200
            assert sent["slow"] == []
            group.cancel_scope.cancel()

    anyio.run(story)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.name)
def test_what_is_turned_away_comes_no_further(dialect: Dialect) -> None:
    inside: list[str] = []

    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        inside.append(f"{scope['method']} {scope['path']}")
        await Response("")(scope, receive, send)

    def full(request: Request) -> None:
        raise MatteboxError(Kind.OVERLOADED, "Too much.", retry_after=7)

    monitor = Monitor()
    client = TestClient(RequestGuard(behind, dialects=DIALECTS, monitor=monitor, turn_away=full))
    edits = paths_of_edits([dialect])
    for path in edits:
        refused = client.post(path, content=b"a photo")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
        assert refused.headers["x-request-id"].startswith("req_")
        labels = {"dialect": dialect.name, "method": "POST", "route": path, "status": "429"}
        assert monitor.registry.get_sample_value("mattebox_requests_total", labels) == 1
    assert inside == []
    there = next(iter(edits), dialect.prefixes[0])
    assert client.get(there).status_code == 200
    assert client.post(f"{there}/other").status_code == 200
    assert inside == [f"GET {there}", f"POST {there}/other"]


def test_refusals_that_repeat_are_one_line_of_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logs, "_REPEAT_SECONDS", 0.01)
    caplog.set_level(logging.INFO, "mattebox")

    def full(request: Request) -> None:
        request_context(request).account = request.headers["x-api-key"]
        raise MatteboxError(Kind.OVERLOADED, "Too much.", retry_after=7)

    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    guard = RequestGuard(nothing, dialects=DIALECTS, turn_away=full)

    async def story() -> None:
        for key in (b"ann", b"bob", b"ann", b"ann"):
            scope = {"type": "http", "method": "POST", "path": "/api/v1/remove", "query_string": b""}
            await guard({**scope, "headers": [(b"x-api-key", key)]}, unread, Sent().send)
        with anyio.fail_after(60):
            while len(caplog.records) < 3:
                await anyio.sleep(0.01)

    async def unread() -> Message:
        raise AssertionError

    anyio.run(story)
    lines = [vars(record) for record in caplog.records]
    assert [(line["key"], line.get("repeated")) for line in lines] == [("ann", None), ("bob", None), ("ann", 2)]
    assert [line["message"] for line in lines] == [
        "POST /api/v1/remove 429 overloaded",
        "POST /api/v1/remove 429 overloaded",
        "POST /api/v1/remove 429 overloaded, 2 more",
    ]


def test_a_file_that_is_gone_while_it_is_sent_is_a_line_in_the_log(
    serve: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client = serve()
    noise = np.random.default_rng(1).integers(0, 256, (900, 900, 3), np.uint8)  # more than is read at a time
    photo = codec.encode(Image(rgb=noise), Output())
    image = client.post("/api/v1/images", content=photo, headers={"Content-Type": "image/png"}).json()
    whole = Blobs.part

    def gone(self: Blobs, key: str, start: int, end: int) -> bytes:
        if start > 0:
            raise MatteboxError(Kind.NOT_FOUND, "It was deleted.")
        return whole(self, key, start, end)

    monkeypatch.setattr(Blobs, "part", gone)
    sent = Sent()

    async def never() -> Message:
        await anyio.sleep_forever()
        return {"type": "http.disconnect"}

    async def story() -> None:
        path = f"/api/v1/images/{image['id']}/file"
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [(b"host", b"a.test")]}
        await client.app(scope, never, sent.send)

    assert client.portal is not None
    client.portal.call(story)
    assert (sent.status, sent.headers[b"content-length"], len(sent.body)) == (200, b"%d" % len(photo), 2**20)
    assert sent[-1]["more_body"]
    found = [record for record in caplog.records if record.getMessage().endswith(" 200 not_found")]
    assert [record.exc_info for record in found] == [None]
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("size", [0, 16 * 2**20])
def test_a_refusal_reaches_clients_that_want_to_be_asked_for_the_body_and_send_it_unasked(
    size: int, listen: Callable[..., int]
) -> None:
    head = "POST /api/v1/remove HTTP/1.1\r\nHost: a.test\r\nContent-Type: image/png\r\nContent-Length: 16777216\r\n"
    with closing(socket.create_connection(("127.0.0.1", listen(keys=("k",))), timeout=60)) as client:
        client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode() + bytes(size))  # which the system cannot keep
        with client.makefile("rb") as said:
            assert said.readline() == b"HTTP/1.1 401 Unauthorized\r\n"
            fields = http.client.parse_headers(said)
            assert fields["Connection"] == "close"
            assert json.loads(said.read(int(fields["Content-Length"])))["kind"] == "missing_key"

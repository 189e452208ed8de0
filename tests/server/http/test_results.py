"""Results over HTTP, and tasks from end to end: on SQLite and files, and on PostgreSQL and S3."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI
from standardwebhooks import Webhook
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient
from tests.server.conftest import Serve

from mattebox import codec
from mattebox.codec import Limits
from mattebox.edit import Edit, Format, Output
from mattebox.server import actions, maintenance
from mattebox.server import app as module
from mattebox.server.dialects import native
from mattebox.server.http import dialect as http
from mattebox.server.http.results import ResultOptions
from mattebox.server.jobs import Hook, Status, Task
from mattebox.server.jobs.webhooks import result_address
from mattebox.server.state import base_address
from mattebox.server.store.blobs import Blobs, new_result_name
from mattebox.sources import Link, Sources, Upload

DATA = bytes(range(256)) * 10_000
"""More than one part."""


@pytest.fixture
def blobs(client: TestClient, tmp_path: Path) -> Blobs:
    """The store of the client's server."""
    found = Blobs((tmp_path / "blobs").as_uri())
    assert isinstance(client.app, FastAPI)
    client.app.state.server = replace(client.app.state.server, blobs=found)
    return found


@pytest.fixture
def path(blobs: Blobs) -> str:
    name = new_result_name(".webp", keep=60, now=time.time())
    blobs.put(name, DATA, media_type="image/webp")
    return f"/{name}"


def test_a_result_is_handed_out_without_a_key(serve: Serve, tmp_path: Path) -> None:
    client = serve(keys=("k",))
    blobs = Blobs((tmp_path / "blobs").as_uri())
    assert isinstance(client.app, FastAPI)
    client.app.state.server = replace(client.app.state.server, blobs=blobs)
    name = new_result_name(".png", keep=60, now=time.time())
    blobs.put(name, b"picture", media_type="image/png")
    answer = client.get(f"/{name}")
    assert (answer.status_code, answer.content) == (200, b"picture")


def test_get_and_head_say_the_same(client: TestClient, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert (got.status_code, head.status_code) == (200, 200)
    assert (got.content, head.content) == (DATA, b"")
    for answer in (got, head):
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers["content-length"] == str(len(DATA))
        assert answer.headers["accept-ranges"] == "bytes"
        private, age, *_ = answer.headers["cache-control"].split(", ")
        assert private == "private"
        assert 50 < int(age.removeprefix("max-age=")) <= 61
    assert got.headers["etag"] == head.headers["etag"]
    assert path.rpartition("-")[2][:20] not in got.headers["etag"]


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=1048570-1048590", 1_048_570, 1_048_591),
        ("bytes=5-", 5, len(DATA)),
        ("bytes=-7", len(DATA) - 7, len(DATA)),
        ("bytes=-99999999", 0, len(DATA)),
        ("bytes=2559999-99999999", 2_559_999, 2_560_000),
        ("Bytes = 1 - 2", 1, 3),
    ],
)
def test_a_range(client: TestClient, path: str, header: str, start: int, end: int) -> None:
    answer = client.get(path, headers={"Range": header})
    assert answer.status_code == 206
    assert answer.content == DATA[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("header", ["bytes=2560000-", "bytes=99999999-99999999", "bytes=-0"])
def test_a_range_behind_the_end(client: TestClient, path: str, header: str) -> None:
    answer = client.get(path, headers={"Range": header})
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


@pytest.mark.parametrize(
    "header", ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=9-3", "lines=1-2", "bytes=0-1,4-5"]
)
def test_what_is_no_single_range_is_answered_with_the_whole(client: TestClient, path: str, header: str) -> None:
    answer = client.get(path, headers={"Range": header})
    assert (answer.status_code, answer.content) == (200, DATA)


def test_who_has_it_already_is_told_so(client: TestClient, path: str) -> None:
    tag = client.head(path).headers["etag"]
    for value in (tag, f'"other", W/{tag}', "*"):
        answer = client.get(path, headers={"If-None-Match": value})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.get(path, headers={"Range": "bytes=0-1", "If-Range": tag}).status_code == 206
    assert client.get(path, headers={"Range": "bytes=0-1", "If-Range": '"other"'}).status_code == 200


def test_what_has_expired_or_never_was(client: TestClient, blobs: Blobs) -> None:
    old = new_result_name(".png", keep=60, now=time.time() - 61)
    blobs.put(old, b"picture", media_type="image/png")
    blobs.put("sources/secret", b"picture", media_type="image/png")
    swept = new_result_name(".png", keep=60, now=time.time())
    for path in (
        f"/{old}",
        f"/{swept}",
        "/results/x.png",
        "/results/..%2Fsources%2Fsecret",
        "/results/%00",
        "/results/",
    ):
        for ask in (client.get, client.head):
            answer = ask(path)
            assert answer.status_code == 404, path
            assert "json" in answer.headers["content-type"]


def test_a_storage_that_is_away_is_no_defect_of_the_result(client: TestClient, path: str, tmp_path: Path) -> None:
    (tmp_path / "blobs").rename(tmp_path / "away")
    (tmp_path / "blobs").write_text("a file")
    assert client.get(path).status_code == 503


def test_nothing_but_reading(client: TestClient, path: str) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert client.request(method, path).status_code == 405


# --- from end to end ---------------------------------------------------------------------------------------------

SIGNED_WITH = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NETWORKS = ("127.0.0.0/8",)


class Receiver(BaseHTTPRequestHandler):
    photo: bytes
    received: list[tuple[dict[str, str], bytes]]

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.photo)))
        self.end_headers()
        self.wfile.write(self.photo)

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers["content-length"]))
        if len(body) < int(headers["content-length"]):  # its sender was killed in the middle
            return
        self.received.append((headers, body))
        # The first try fails, to see that there is another.
        self.send_response(500 if len(self.received) == 1 else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Site:
    url: str
    received: list[tuple[dict[str, str], bytes]]


@pytest.fixture
def site(photo: bytes) -> Iterator[Site]:
    received: list[tuple[dict[str, str], bytes]] = []
    handler = type("Bound", (Receiver,), {"photo": photo, "received": received})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield Site(f"http://127.0.0.1:{server.server_port}", received)
    server.shutdown()
    thread.join()
    server.server_close()


router = APIRouter(prefix="/tests")


def _shown(task: Task, address: str | None) -> dict[str, object]:
    return {"id": task.id, "status": task.status, "reason": task.reason, "address": address, "extra": dict(task.extra)}


@router.post("/tasks")
async def submit(request: Request) -> Response:
    async with actions.authorize_tasks(request) as account:
        asked = await request.json()
        sources = [Link(url) for url in asked.get("urls", ())]
        edits = [(Edit(output=Output(format=Format.WEBP)), Sources(source)) for source in sources]
        edits += [(Edit(), Sources(Upload(bytes.fromhex(data)))) for data in asked.get("uploads", ())]
        hook = Hook(asked["hook"], asked.get("secret")) if "hook" in asked else None
        made = await actions.submit(request, account, edits, hook=hook, batch="b", extra={"mine": 1})
    return http.json_response([task.id for task in made], status=202)


@router.get("/tasks")
async def listed(request: Request) -> Response:
    account = await actions.authenticate(request)
    found = await actions.tasks_of(request, account, limit=10, after=request.query_params.get("after"), batch="b")
    return http.json_response([task.id for task in found])


@router.get("/tasks/{task_id}")
async def shown(request: Request) -> Response:
    task = await actions.task(request, await actions.authenticate(request), request.path_params["task_id"])
    address = None if task.result is None else result_address(base_address(request), task.result)
    return http.json_response(_shown(task, address))


@router.delete("/tasks/{task_id}")
async def cancelled(request: Request) -> Response:
    task = await actions.cancel(request, await actions.authenticate(request), request.path_params["task_id"])
    return http.json_response(_shown(task, None))


DIALECT = http.Dialect(
    name="tests",
    prefixes=("/tests/",),
    router=router,
    render_error=native.DIALECT.render_error,
    webhook_body=lambda task, address: json.dumps(_shown(task, address)).encode(),
)


@pytest.fixture(params=["sqlite and files", "postgresql and s3"])
def places(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Where it is kept; the server speaks the dialect above."""
    entry = importlib.metadata.EntryPoint("tests", f"{__name__}:DIALECT", module.ENTRY_POINTS)
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda *, group: [entry] if group == module.ENTRY_POINTS else []
    )
    if request.param == "sqlite and files":
        return {}
    return {
        "database_url": request.getfixturevalue("postgres_database"),
        "storage_url": request.getfixturevalue("s3_url"),
    }


def start(serve: Serve, places: dict[str, str], **settings: object) -> TestClient:
    chosen = {"keys": ("k", "other"), "fetch": {"allow_networks": NETWORKS}, **places, **settings}
    return serve(tasks={"polling": 0.05, "webhook_pause": 0.05}, **chosen)


KEY = {"x-api-key": "k"}


def finished(client: TestClient, task_id: str) -> dict[str, object]:
    deadline = time.monotonic() + 30
    while True:
        found = client.get(f"/tests/tasks/{task_id}", headers=KEY).json()
        if found["status"] not in (Status.QUEUED, Status.RUNNING):
            return dict(found)
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def test_from_the_request_to_the_webhook(serve: Serve, places: dict[str, str], site: Site, photo: bytes) -> None:
    public = "https://cutout.example"
    client = start(serve, places, public_url=public, accounts={"credits": 4})
    assert client.get("/ready").json() == {"status": "ok"}
    asked = {"urls": [f"{site.url}/photo.png"], "hook": f"{site.url}/hook", "secret": SIGNED_WITH}
    (fetched,) = client.post("/tests/tasks", json=asked, headers=KEY).json()
    (uploaded,) = client.post("/tests/tasks", json={"uploads": [photo.hex()]}, headers=KEY).json()

    for task_id, media_type in ((fetched, "image/webp"), (uploaded, "image/png")):
        task = finished(client, task_id)
        assert (task["status"], task["reason"]) == ("succeeded", None)
        assert task["extra"] == {"mine": 1, "base": public}
        path = str(task["address"]).removeprefix(public)
        head = client.head(path)
        assert (head.status_code, head.headers["content-type"]) == (200, media_type)
        got = client.get(path, follow_redirects=False)
        part = client.get(path, headers={"Range": "bytes=2-5"}, follow_redirects=False)
        if places:
            assert (got.status_code, part.status_code) == (307, 307)
            got = httpx2.get(got.headers["location"], trust_env=False)
            part = httpx2.get(part.headers["location"], headers={"Range": "bytes=2-5"}, trust_env=False)
        assert (got.status_code, got.headers["content-type"]) == (200, media_type)
        assert head.headers["content-length"] == str(len(got.content))
        assert codec.decode(got.content, Limits()).rgb.shape == (150, 200, 3)
        assert (part.status_code, part.content) == (206, got.content[2:6])

    deadline = time.monotonic() + 20
    while len(site.received) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    (_, first), (headers, body) = site.received  # refused once, received once
    assert first == body
    told = Webhook(SIGNED_WITH).verify(body, headers)
    assert (told["id"], told["address"].startswith(f"{public}/results/")) == (fetched, True)
    assert client.get("/api/v1/me", headers=KEY).json()["used"] == 2


def test_credits_go_with_tasks(serve: Serve, places: dict[str, str], photo: bytes, tmp_path: Path) -> None:
    client = start(serve, places, accounts={"credits": 3})

    def used() -> object:
        return client.get("/api/v1/me", headers=KEY).json()["used"]

    (broken,) = client.post("/tests/tasks", json={"uploads": [b"no picture".hex()]}, headers=KEY).json()
    failed = finished(client, broken)
    assert failed["status"] == "failed"
    assert failed["reason"]
    assert used() == 0
    many = client.post("/tests/tasks", json={"uploads": [photo.hex()] * 4}, headers=KEY)
    assert (many.status_code, used()) == (402, 0)
    assert client.get("/tests/tasks", headers=KEY).json() == [broken]
    made = client.post("/tests/tasks", json={"uploads": [photo.hex()] * 3}, headers=KEY).json()
    assert used() == 3
    assert client.post("/tests/tasks", json={"uploads": [photo.hex()]}, headers=KEY).status_code == 402
    assert client.get("/tests/tasks", headers=KEY).json() == [*reversed(made), broken]
    assert client.get("/tests/tasks", params={"after": made[1]}, headers=KEY).json() == [made[0], broken]
    for task_id in made:
        finished(client, task_id)
    assert client.delete(f"/tests/tasks/{made[0]}", headers=KEY).status_code == 409
    assert used() == 3


def test_tasks_are_their_owners(serve: Serve, places: dict[str, str], photo: bytes) -> None:
    client = start(serve, places, role="api")
    (task_id,) = client.post("/tests/tasks", json={"uploads": [photo.hex()]}, headers=KEY).json()
    other = {"x-api-key": "other"}
    for ask in (client.get, client.delete):
        assert ask(f"/tests/tasks/{task_id}", headers=other).status_code == 404
        assert ask("/tests/tasks/unknown", headers=KEY).status_code == 404
    assert client.get("/tests/tasks", headers=other).json() == []
    assert client.get("/api/v1/me", headers=KEY).json()["used"] == 1
    # Nobody works here, so it is there to be cancelled.
    for _ in range(2):
        assert client.delete(f"/tests/tasks/{task_id}", headers=KEY).json()["status"] == "cancelled"
        assert client.get("/api/v1/me", headers=KEY).json()["used"] == 0


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"urls": ["nowhere"]}, "picture's address"),
        ({"urls": ["https://a.test/"], "hook": "ftp://a.test/"}, "webhook's address"),
        ({"urls": ["https://a.test/"], "hook": "https://a.test/", "secret": "a"}, "secret"),
    ],
)
@pytest.mark.parametrize("places", ["sqlite and files"], indirect=True)
def test_what_can_never_be_done_is_refused_at_once(
    serve: Serve, places: dict[str, str], asked: dict[str, object], word: str
) -> None:
    client = start(serve, places, role="api")
    answer = client.post("/tests/tasks", json=asked, headers=KEY)
    assert answer.status_code == 400
    assert word in answer.json()["detail"]
    assert client.get("/api/v1/me", headers=KEY).json()["used"] == 0


@pytest.mark.parametrize("places", ["sqlite and files"], indirect=True)
def test_results_expire_and_are_swept(
    serve: Serve, places: dict[str, str], photo: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_SWEEP_SECONDS", 0.1)
    client = start(serve, places, storage={"keep": 1})
    (task_id,) = client.post("/tests/tasks", json={"uploads": [photo.hex()]}, headers=KEY).json()
    address = str(finished(client, task_id)["address"])
    assert address.startswith("http://testserver/results/")
    folder = tmp_path / "blobs" / "results"
    deadline = time.monotonic() + 10
    while [path for path in folder.rglob("*") if path.is_file()]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert client.get(address).status_code == 404
    assert finished(client, task_id)["status"] == "succeeded"


PROGRAM = """
import sys, time, uvicorn
from mattebox.server.app import create_app
from mattebox.server.settings import load
from mattebox.testing import FakeModels, FakeSegmenter

def unhurried(photo):
    time.sleep(0.1)
    return FakeSegmenter()(photo)

uvicorn.run(create_app(load(), models=FakeModels(unhurried)), port=int(sys.argv[1]), log_config=None, ws="none")
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_nothing_is_lost_when_the_server_is_killed(
    request: pytest.FixtureRequest, places: dict[str, str], site: Site, tmp_path: Path, free_port: int
) -> None:
    environment = {
        "MATTEBOX_DATA_DIR": str(tmp_path),
        "MATTEBOX_FETCH_ALLOW_NETWORKS": "127.0.0.0/8",
        "MATTEBOX_TASKS_POLLING": "0.05",
        "MATTEBOX_TASKS_WEBHOOK_PAUSE": "0.05",
    } | {f"MATTEBOX_{name}".upper(): value for name, value in places.items()}
    base = f"http://127.0.0.1:{free_port}"

    def begin() -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(free_port)], env={**os.environ, **environment})
        request.addfinalizer(process.wait)
        request.addfinalizer(process.kill)
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None
            assert time.monotonic() < deadline
            with suppress(httpx2.TransportError):
                if client.get("/ready").status_code == 200:
                    return process
            time.sleep(0.05)

    with httpx2.Client(base_url=base, trust_env=False, timeout=10) as client:
        process = begin()
        asked = {"image_url": f"{site.url}/photo.png", "webhook": f"{site.url}/hook"}
        ids = [client.post("/api/v1/tasks", json=asked).json()["id"] for _ in range(12)]
        time.sleep(0.4)
        process.kill()
        process.wait()
        begin()
        tasks = [wait_for(client, task_id) for task_id in ids]
        assert {task["status"] for task in tasks} == {"succeeded"}

        def told() -> Counter[str]:
            return Counter(json.loads(body)["data"]["id"] for _, body in site.received[1:])  # the first was refused

        deadline = time.monotonic() + 20
        while set(told()) != set(ids):
            assert time.monotonic() < deadline, told()
            time.sleep(0.05)
        time.sleep(0.5)
        # A kill between the answer and its being written down sends one again, under the same id.
        assert sum(told().values()) <= 12 + 8
        assert client.get("/api/v1/me").json()["used"] == 12
        for task in tasks:
            assert client.get(str(task["result"]["url"]), follow_redirects=True).status_code == 200


def wait_for(client: httpx2.Client, task_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 40
    while True:
        found: dict[str, Any] = client.get(f"/api/v1/tasks/{task_id}").json()
        if found["status"] not in ("queued", "running"):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@pytest.mark.parametrize("places", ["sqlite and files"], indirect=True)
def test_a_server_without_a_queue_says_so(serve: Serve, places: dict[str, str]) -> None:
    client = serve()
    answer = client.post("/tests/tasks", json={"urls": ["https://a.test/"]})
    assert (answer.status_code, answer.json()["detail"]) == (503, "This server takes no tasks.")
    assert client.get("/tests/tasks/x").status_code == 503


@pytest.mark.parametrize("keep", [0.0, -1.0, 0.9, math.inf, math.nan])
def test_results_are_kept_for_a_while(keep: float) -> None:
    with pytest.raises(ValueError, match="keep"):
        ResultOptions(keep=keep)

from __future__ import annotations

import base64
import gc
import gzip
import hashlib
import importlib.metadata
import json
import logging
import re
import shutil
import socket
import struct
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import anyio
import numpy as np
import pytest
from fastapi import FastAPI
from httpx2 import Response
from starlette.responses import Response as StarletteResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from mattebox import codec
from mattebox.edit import Format, Output
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Image
from mattebox.models import ModelOptions, Models
from mattebox.server import app as module
from mattebox.server.admission import ARRIVING
from mattebox.server.app import create_app, find_dialects
from mattebox.server.health import Health, Stores
from mattebox.server.maintenance import Supervisor
from mattebox.server.middleware import RequestGuard
from mattebox.server.settings import Settings
from mattebox.server.store.blobs import Blobs
from mattebox.server.store.database import connect
from mattebox.server.store.keys import KeyLimits, Keys
from mattebox.testing import FakeBackdrops, FakeModels, make_scene

MB = 2**20
CAPACITY = 1 + 1 + ARRIVING
Serve = Callable[..., TestClient]
Listen = Callable[..., int]


@dataclass(frozen=True)
class Vendor:
    """How one dialect is spoken: a picture goes out by `send`; `word` and `parameter` read a failure."""

    path: str
    send: Callable[[TestClient, bytes], Response]
    word: Callable[[Response], object]
    parameter: Callable[[Response], object]


def _post_form(field: str, path: str) -> Callable[[TestClient, bytes], Response]:
    return lambda client, data: client.post(path, files={field: ("photo.jpg", data)})


def _post_json(field: str, path: str) -> Callable[[TestClient, bytes], Response]:
    return lambda client, data: client.post(path, json={field: base64.b64encode(data).decode()})


def _poof_field(answer: Response) -> object:
    details = answer.json()["details"]
    return details["field"] if isinstance(details, dict) else None


VENDORS = {
    "native": Vendor(
        "/api/v1/remove",
        _post_form("image", "/api/v1/remove"),
        lambda answer: answer.json()["kind"],
        lambda answer: answer.json()["parameter"],
    ),
    "novita": Vendor(
        "/v3/remove-background",
        _post_json("image_file", "/v3/remove-background"),
        lambda answer: answer.json()["reason"],
        lambda answer: answer.json()["metadata"].get("parameter"),
    ),
    "poof": Vendor(
        "/v1/remove",
        _post_form("image_file", "/v1/remove"),
        lambda answer: answer.json()["code"],
        _poof_field,
    ),
}


@pytest.fixture(params=VENDORS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- the composition ---------------------------------------------------------------------------------------------


def test_each_file_is_a_dialect() -> None:
    files = {file.stem for file in (Path(module.__file__).parent / "dialects").iterdir()}
    files -= {"__init__", "__pycache__", "base"}
    names = {each.name for each in find_dialects()}
    assert {name.replace("-", "_") for name in names} == files
    assert names >= set(VENDORS)


def test_two_dialects_on_one_path_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("copy", "mattebox.server.dialects.poof:DIALECT", module.ENTRY_POINTS)
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda *, group: [entry] if group == module.ENTRY_POINTS else []
    )
    with pytest.raises(ValueError, match="both claim /v1/remove"):
        find_dialects()


def test_what_another_package_announces_must_be_a_dialect(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("odd", "mattebox.errors:Kind", module.ENTRY_POINTS)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: [entry])
    with pytest.raises(TypeError, match="is not a dialect"):
        find_dialects()


def test_the_documentation_needs_no_other_server(client: TestClient) -> None:
    page = client.get("/docs").text
    assert re.findall(r"""(?:https?:)?//[^"'\s]+""", page) == []
    assert '"validatorUrl": null' in page
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert len(addresses) == 3
    for address in addresses:
        found = client.get(urljoin("http://testserver/docs", address))
        assert found.status_code == 200
        if address.endswith(".css"):
            assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", found.text)
    assert client.get("/redoc").status_code == 404


def test_the_documentation_may_lie_under_any_path(serve: Serve) -> None:
    """As behind a proxy that takes the path off, whether it says so in a header or not."""
    client = serve(public_url="https://cutout.example/under")
    for place in ("/docs", "/docs/"):
        page = client.get(place).text
        addresses = re.findall(r"""(?:src|href)="([^"]+)|url: '([^']+)""", page)
        found = {urljoin(f"https://cutout.example/under{place}", one or other) for one, other in addresses}
        assert len(found) == 4
        for address in found:
            assert client.get(address.removeprefix("https://cutout.example/under")).status_code == 200
        assert "https://cutout.example/under/openapi.json" in found
    assert client.get("/openapi.json").json()["servers"] == [{"url": "https://cutout.example/under"}]


def test_every_route_is_described(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    places = {vendor.path for vendor in VENDORS.values()}
    own = {"/api/v1/me", "/api/v1/models", "/api/v1/tasks", "/v1/me", "/health", "/ready", "/results/{name}"}
    assert set(described["paths"]) >= places | own
    for path, methods in described["paths"].items():
        for route in methods.values():
            assert route["tags"], path
            assert route["summary"], path
            assert "422" not in route["responses"], path
            fine = {status: answer for status, answer in route["responses"].items() if status.startswith("2")}
            assert fine or "501" in route["responses"], path
            assert all(answer["content"] for status, answer in fine.items() if status != "204"), path
    for place in places:
        post = described["paths"][place]["post"]
        assert post["requestBody"]["content"]
        assert {"400", "429"} < set(post["responses"])
        assert post["security"]


@pytest.mark.parametrize("wrong", [{}, {"crop": "x"}, {"corrections": {"points": [{"x": 2, "y": 0}]}}, {"croq": True}])
def test_a_body_that_was_refused_is_forgotten_at_once(wrong: dict[str, object], listen: Listen) -> None:
    """And not when the garbage collector comes by, before which there may be hundreds of them, or never."""
    port = listen()
    body = json.dumps({"image": base64.b64encode(bytes(4 * MB)).decode(), **wrong})

    def refused() -> None:
        with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("POST", "/api/v1/remove", body, {"Content-Type": "application/json"})
            assert connection.getresponse().status == 400

    refused()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(3):
            refused()
        deadline = time.monotonic() + 30
        while tracemalloc.get_traced_memory()[0] > 4 * MB:
            assert time.monotonic() < deadline, tracemalloc.take_snapshot().statistics("lineno")[:3]
            time.sleep(0.01)
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize(
    ("method", "path", "called", "status"),
    [
        ("GET", "/results/{name}", "/results/0", 404),
        ("GET", "/images/{image_id}", "/images/0", 404),
        ("POST", "/v1/images/{image_id}/classify", "/v1/images/0/classify", 404),
        ("POST", "/v1/images/{image_id}/visualize", "/v1/images/0/visualize", 404),
        ("GET", "/api/v1/images", "/api/v1/images?limit=AAA", 400),
    ],
)
def test_a_failure_is_in_the_description(method: str, path: str, called: str, status: int, client: TestClient) -> None:
    answer = client.request(method, called, json={} if method == "POST" else None)
    assert answer.status_code == status
    described = client.get("/openapi.json").json()["paths"][path][method.lower()]["responses"]
    assert answer.headers["content-type"] in described[str(status)]["content"]


# --- loading -----------------------------------------------------------------------------------------------------


def test_health_answers_while_the_model_loads(serve: Serve) -> None:
    loaded = threading.Event()

    class Slow(FakeModels):
        def warm(self, name: str) -> None:
            assert loaded.wait(20)

    client = serve(models=Slow())
    assert client.get("/health").json() == {"status": "ok"}
    waiting = client.get("/ready")
    assert (waiting.status_code, waiting.json()["status"]) == (503, "The model is still being loaded.")
    loaded.set()
    while client.get("/ready").status_code != 200:
        time.sleep(0.01)
    assert client.get("/ready").json() == {"status": "ok"}


def test_a_model_that_cannot_be_loaded_is_said(
    name: str, serve: Serve, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FakeModels):
        def warm(self, name: str) -> None:
            raise MatteboxError(Kind.UNAVAILABLE, "The weights of u2net are missing.") from OSError("secret")

    client = serve(models=Broken())
    while client.get("/ready").json()["status"] == "The model is still being loaded.":
        time.sleep(0.01)
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "The weights of u2net are missing.")
    assert client.get("/health").status_code == 200
    answer = VENDORS[name].send(client, photo)
    expected = {"native": (503, "unavailable"), "novita": (500, "TASK_FAILED"), "poof": (502, "upstream_error")}
    assert (answer.status_code, VENDORS[name].word(answer)) == expected[name]
    assert "The weights of u2net are missing." in answer.text
    assert "secret" in caplog.text
    assert "Traceback" not in caplog.text


# --- failures ----------------------------------------------------------------------------------------------------


def test_what_breaks_inside_is_answered_in_the_dialect_and_logged(
    name: str, serve: Serve, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(photo: RGB) -> Alpha:
        raise ZeroDivisionError("a secret")

    answer = VENDORS[name].send(serve(models=FakeModels(broken)), photo)
    expected = {"native": "internal", "novita": "TASK_FAILED", "poof": "internal_server_error"}
    assert (answer.status_code, VENDORS[name].word(answer)) == (500, expected[name])
    assert "secret" not in answer.text
    request_id = answer.headers["x-request-id"]
    said = [record for record in caplog.records if vars(record).get("request_id") == request_id]
    [record] = said
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert "a secret" in str(record.exc_info[1])


def test_what_is_missing_is_logged_with_its_reason_and_without_a_stack(
    serve: Serve, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(photo: RGB) -> Alpha:
        raise MatteboxError(Kind.UNAVAILABLE, "The disk is away.") from OSError("on fire")

    answer = serve(models=FakeModels(broken)).post("/api/v1/remove", files={"image": ("a.png", photo)})
    assert answer.status_code == 503
    assert "on fire" not in answer.text
    [record] = [each for each in caplog.records if each.name == "mattebox.server.middleware"]
    assert (record.levelno, record.exc_info) == (logging.ERROR, None)
    assert record.getMessage() == "POST /api/v1/remove 503 unavailable: The disk is away. (OSError('on fire'))"


def test_unknown_addresses_and_methods_are_answered_in_the_dialect(name: str, client: TestClient) -> None:
    vendor = VENDORS[name]
    refused = client.delete(vendor.path)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert "DELETE" in refused.text
    lost = client.get(vendor.path + "/nothing")
    assert lost.status_code == 404
    expected = {"native": "not_found", "novita": "API_NOT_FOUND", "poof": "validation_error"}
    assert vendor.word(lost) == expected[name]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/api/v1/tasks", "GET, POST"),
        ("/api/v1/images/image_x", "DELETE, GET"),
        ("/v1/images", "GET, POST"),
        ("/api/v1/images/image_x/file", "GET, HEAD"),
        ("/api/v1/remove", "POST"),
    ],
)
def test_an_address_names_all_the_methods_that_it_takes(path: str, methods: str, client: TestClient) -> None:
    refused = client.patch(path)
    assert (refused.status_code, refused.headers["allow"]) == (405, methods)


def test_keys_are_asked_for_in_the_dialect(name: str, serve: Serve, photo: bytes) -> None:
    client = serve(keys=("right", "other"))
    vendor = VENDORS[name]
    missing = vendor.send(client, photo)
    client.headers["Authorization"] = "Bearer wrong"
    wrong = vendor.send(client, photo)
    expected = {
        "native": [(401, "missing_key"), (401, "invalid_key")],
        "novita": [(400, "MISSING_API_KEY"), (403, "INVALID_API_KEY")],
        "poof": [(401, "authentication_error"), (401, "authentication_error")],
    }
    assert [(each.status_code, vendor.word(each)) for each in (missing, wrong)] == expected[name]
    for key in ("Bearer right", "right", "bearer other"):
        client.headers["Authorization"] = key
        assert vendor.send(client, photo).status_code == 200


def test_two_slashes_are_one(client: TestClient, photo: bytes) -> None:
    """As sent where somebody ends the base address with a slash."""
    assert client.post("http://testserver//api/v1//remove", content=photo).status_code == 200
    assert client.post("http://testserver/api/v1/remove/", content=photo).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_monitors_that_ask_with_head_are_answered(path: str, client: TestClient) -> None:
    client.get("/ready")
    assert client.head(path).status_code == client.get(path).status_code


# --- bad input ---------------------------------------------------------------------------------------------------


def _png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _bomb() -> bytes:
    return _png(13_000, 13_000, zlib.compress(bytes(13_000 * (1 + 13_000 // 8)), 9))


def _jpeg() -> bytes:
    return codec.encode(Image(rgb=make_scene(width=200, height=150, seed=1).photo), Output(format=Format.JPEG))


BAD_PICTURES: dict[str, tuple[Callable[[], bytes], Kind]] = {
    "no picture": (lambda: b"This is a letter, not a picture.", Kind.UNREADABLE_IMAGE),
    "truncated": (lambda: _jpeg()[:-2000], Kind.UNREADABLE_IMAGE),
    "noise behind a signature": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(range(256)), Kind.UNREADABLE_IMAGE),
    "no pixels": (lambda: _png(0, 0, zlib.compress(b"")), Kind.UNREADABLE_IMAGE),
    "bomb": (_bomb, Kind.TOO_MANY_PIXELS),
    "huge header": (lambda: _png(60_000, 60_000, b""), Kind.TOO_MANY_PIXELS),
    "video": (lambda: b"\0\0\0\x18ftypisom" + bytes(100), Kind.UNREADABLE_IMAGE),
    "too large": (lambda: b"\xff\xd8\xff" + bytes(31 * MB), Kind.TOO_MANY_BYTES),
}
BAD_WORDS: dict[str, dict[Kind, tuple[int, str]]] = {
    "native": {
        Kind.UNREADABLE_IMAGE: (400, "unreadable_image"),
        Kind.TOO_MANY_PIXELS: (413, "too_many_pixels"),
        Kind.TOO_MANY_BYTES: (413, "too_many_bytes"),
        Kind.MISSING_IMAGE: (400, "missing_image"),
    },
    "novita": {
        Kind.UNREADABLE_IMAGE: (400, "INVALID_IMAGE_FORMAT"),
        Kind.TOO_MANY_PIXELS: (400, "IMAGE_EXCEEDS_MAX_RESOLUTION"),
        Kind.TOO_MANY_BYTES: (400, "IMAGE_FILE_EXCEEDS_MAX_SIZE"),
        Kind.MISSING_IMAGE: (400, "INVALID_REQUEST_BODY"),
    },
    "poof": {
        Kind.UNREADABLE_IMAGE: (400, "validation_error"),
        Kind.TOO_MANY_PIXELS: (400, "image_too_large"),
        Kind.TOO_MANY_BYTES: (400, "image_too_large"),
        Kind.MISSING_IMAGE: (400, "missing_image"),
    },
}
PICTURE = {"native": "image", "novita": "image_file", "poof": "image_file"}


@pytest.mark.parametrize("case", BAD_PICTURES)
def test_bad_pictures_are_refused_by_name(case: str, name: str, client: TestClient) -> None:
    make, kind = BAD_PICTURES[case]
    data = make()
    answer = VENDORS[name].send(client, data)
    assert (answer.status_code, VENDORS[name].word(answer)) == BAD_WORDS[name][kind]
    assert VENDORS[name].parameter(answer) == PICTURE[name]


BAD_BODIES: dict[str, tuple[bytes, str | None]] = {
    "nothing": (b"", None),
    "an empty object": (b"{}", "application/json"),
    "an empty form": (b"--x--\r\n", "multipart/form-data; boundary=x"),
    "another form": (b"a=b", "application/x-www-form-urlencoded"),
    "the wrong type": (b"hello", "text/csv"),
    "broken JSON": (b'{"image', "application/json"),
    "an array": (b"[1, 2]", "application/json"),
    "deep JSON": (b'{"a":' * 50_000, "application/json"),
    "not a number": (b'{"image": NaN, "image_file": NaN}', "application/json"),
    "a broken boundary": (b"--y\r\n\r\n", "multipart/form-data; boundary=x"),
    "no boundary": (b"--y\r\n\r\n", "multipart/form-data"),
    "a large body": (b'{"a":"' + bytes(50 * MB), "application/json"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_bad_bodies_are_refused_in_the_dialect(case: str, name: str, client: TestClient) -> None:
    body, content_type = BAD_BODIES[case]
    answer = client.post(
        VENDORS[name].path, content=body, headers={} if content_type is None else {"content-type": content_type}
    )
    assert answer.status_code in (400, 413, 415)
    assert "json" in answer.headers["content-type"]
    assert isinstance(VENDORS[name].word(answer), str)
    if name == "poof" and content_type == "application/json":
        assert VENDORS[name].word(answer) == "missing_image"
    if case in ("nothing", "an empty form") and name != "novita":
        assert VENDORS[name].word(answer) == "missing_image"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_packed_body_is_read(encoding: str, name: str, client: TestClient, photo: bytes) -> None:
    whole = client.build_request("POST", VENDORS[name].path, **_sent(name, photo))
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    headers = {"content-type": whole.headers["content-type"], "content-encoding": encoding}
    answer = client.post(VENDORS[name].path, content=pack(whole.read()), headers=headers)
    assert answer.status_code == 200, answer.text
    bomb = client.post(VENDORS[name].path, content=pack(bytes(100 * MB)), headers=headers)
    expected = {"native": "too_many_bytes", "novita": "IMAGE_FILE_EXCEEDS_MAX_SIZE", "poof": "image_too_large"}
    if "json" in headers["content-type"]:  # a form is broken before it is too large
        assert VENDORS[name].word(bomb) == expected[name]
    assert bomb.status_code in (400, 413)


@pytest.mark.parametrize("encoding", ["br", "zstd"])
def test_a_body_that_is_packed_otherwise_is_refused(encoding: str, name: str, client: TestClient) -> None:
    content_type = "application/json" if name == "novita" else "application/x-www-form-urlencoded"
    headers = {"content-type": content_type, "content-encoding": encoding}
    answer = client.post(VENDORS[name].path, content=b"whatever", headers=headers)
    assert answer.status_code == 415
    expected = {"native": "unsupported_encoding", "novita": "INVALID_REQUEST_BODY", "poof": "validation_error"}
    assert VENDORS[name].word(answer) == expected[name]


def _sent(name: str, photo: bytes) -> dict[str, Any]:
    if name == "novita":
        return {"json": {"image_file": base64.b64encode(photo).decode().rstrip("=")}}
    return {"files": {"image" if name == "native" else "image_file": ("photo.jpg", photo)}}


# --- a real connection -------------------------------------------------------------------------------------------


@pytest.fixture
def port(listen: Listen) -> int:
    """Where a real server with keys listens."""
    return listen(keys=("k", "l"), service={"workers": 1, "queue": 1})


def _upload(port: int, headers: dict[str, str], size: int, *, chunked: bool) -> tuple[int, object]:
    """As a simple client does it: everything out first, then the answer."""
    body = (b"a" * 65536 for _ in range(size // 65536))
    length = {} if chunked else {"content-length": str(size // 65536 * 65536)}
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", "/v3/remove-background", body, length | headers, encode_chunked=chunked)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["reason"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_too_much_sees_why(port: int, chunked: bool) -> None:
    headers = {"content-type": "application/json", "authorization": "k"}
    if chunked:
        headers["transfer-encoding"] = "chunked"
    assert _upload(port, headers, 60 * MB, chunked=chunked) == (400, "IMAGE_FILE_EXCEEDS_MAX_SIZE")


def test_a_client_that_stops_sending_is_told_so(listen: Listen, name: str) -> None:
    port = listen(keys=("k",), uploads={"idle": 0.2})
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as half:
        half.putrequest("POST", VENDORS[name].path)
        half.putheader("content-type", "application/json" if name == "novita" else "multipart/form-data; boundary=x")
        half.putheader("content-length", "1000")
        half.putheader("authorization", "k")
        half.endheaders(b"{" if name == "novita" else b"--x\r\n")
        answer = half.getresponse()
        assert answer.status == 408
        assert b"did not arrive in time" in answer.read()


def test_a_client_with_a_wrong_key_sees_so_after_a_large_upload(port: int) -> None:
    headers = {"content-type": "application/json", "authorization": "wrong"}
    assert _upload(port, headers, 40 * MB, chunked=False) == (403, "INVALID_API_KEY")


def test_who_asks_before_sending_is_told_at_once(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest("POST", "/v3/remove-background")
    for header in (("content-length", "1000000000000"), ("expect", "100-continue"), ("authorization", "k")):
        connection.putheader(*header)
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert json.loads(answer.read())["reason"] == "IMAGE_FILE_EXCEEDS_MAX_SIZE"
    connection.close()


def test_slow_uploads_are_bounded_before_their_bodies_are_read(port: int) -> None:
    head = b"POST /v3/remove-background HTTP/1.1\r\nhost: x\r\nauthorization: k\r\ncontent-length: 2\r\n\r\n{"
    with ExitStack() as slow:
        connections = [
            slow.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) for _ in range(CAPACITY // 2)
        ]
        for connection in connections:
            connection.sendall(head)
        headers = {"content-type": "application/json", "authorization": "k"}
        while (refused := _upload(port, headers, 65536, chunked=False))[0] != 429:
            time.sleep(0.01)  # the last of them has not been let in yet
        assert refused == (429, "RATE_LIMIT_EXCEEDED")
        assert (
            _upload(port, {**headers, "authorization": "l"}, 65536, chunked=False)[0] == 400
        )  # there is room for another
        for connection in connections:
            connection.sendall(b"}")
            assert connection.recv(12) == b"HTTP/1.1 400"
    assert _upload(port, headers, 65536, chunked=False)[0] == 400


def test_an_endless_upload_is_cut_off(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1024 * MB:
            sent += MB
            yield bytes(MB)

    with pytest.raises(OSError, match=r".*"):  # noqa: PT012 - it depends on buffers which of both notices
        connection.request(
            "POST", "/v3/remove-background", endless(), {"transfer-encoding": "chunked"}, encode_chunked=True
        )
        connection.getresponse()
        raise ConnectionError("it was let in to the end")
    connection.close()
    assert sent < 1024 * MB


def test_each_request_is_one_line_of_the_log(
    name: str, serve: Serve, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mattebox")
    client = serve(keys=("hush",))
    client.headers["x-api-key"] = "hush"
    answers = [VENDORS[name].send(client, data) for data in (photo, b"a letter")]
    client.headers["x-api-key"] = "wrong-hush"
    answers.append(VENDORS[name].send(client, photo))
    for probe in ("/live", "/health", "/ready", "/metrics"):
        client.get(probe)
    lines = [vars(record) for record in caplog.records if record.name.startswith("mattebox.server")]
    assert len(lines) == len(answers)
    path = VENDORS[name].path
    for line, answer in zip(lines, answers, strict=True):
        expected = {"request_id": answer.headers["x-request-id"], "dialect": name, "status": answer.status_code}
        expected |= {"method": "POST", "route": path}
        assert {field: line[field] for field in expected} == expected
        assert 0 < line["seconds"] < 300
        assert line["message"].startswith(f"POST {path} {answer.status_code}")
    account = hashlib.sha256(b"hush").hexdigest()[:24]
    assert [line["key"] for line in lines] == [account, account, None]
    assert [line.get("kind") for line in lines] == [None, "unreadable_image", "invalid_key"]
    assert "hush" not in caplog.text
    assert "hush" not in str(lines)


def test_what_a_client_sent_is_not_in_the_log(serve: Serve, photo: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mattebox")
    client = serve(backdrops=FakeBackdrops())
    wrong = ({"prompt": "nowhere"}, {"prompt": "a hushed beach", "size": "hushed"}, {"a hushed beach": "prompt"})
    for fields in wrong:
        answer = client.post("/api/v1/replace", data=fields, files={"image": ("hushed.png", photo)})
        assert answer.status_code == 400
    lines = [vars(record) for record in caplog.records if record.name.startswith("mattebox.server")]
    assert [line["kind"] for line in lines] == ["invalid_parameter"] * 3
    assert [line["parameter"] for line in lines] == ["prompt", "size", "other"]
    assert not any(word in str(lines) for word in ("hushed", "nowhere"))


# --- who may come in ---------------------------------------------------------------------------------------------

FORBIDDEN = {"native": "forbidden", "novita": "API_NOT_ALLOWED", "poof": "permission_denied"}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::2]:80"])
def test_a_name_that_the_server_is_not_known_by_is_refused(name: str, host: str, serve: Serve, photo: bytes) -> None:
    client = serve(hosts=("localhost", "127.0.0.1", "::1", "Cutout.example"))
    client.headers["host"] = host
    refused = VENDORS[name].send(client, photo)
    assert (refused.status_code, VENDORS[name].word(refused)) == (403, FORBIDDEN[name])
    assert client.get("/api/v1/models").status_code == 403
    for good in ("localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST.:80", "cutout.example"):
        client.headers["host"] = good
        assert VENDORS[name].send(client, photo).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver:81", "http://localhost"])
def test_another_sites_page_does_not_use_a_server_without_keys(
    name: str, origin: str, serve: Serve, photo: bytes
) -> None:
    client = serve()
    client.headers["origin"] = origin
    refused = VENDORS[name].send(client, photo)
    assert (refused.status_code, VENDORS[name].word(refused)) == (403, FORBIDDEN[name])
    assert client.get("/health").status_code == 200
    client.headers["origin"] = "http://testserver"
    assert VENDORS[name].send(client, photo).status_code == 200
    keyed = serve(keys=("k",))
    keyed.headers.update({"origin": origin, "x-api-key": "k"})
    assert VENDORS[name].send(keyed, photo).status_code == 200


def test_too_many_requests_are_refused_in_the_dialect(name: str, photo: bytes) -> None:
    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        await StarletteResponse("")(scope, receive, send)

    full = TestClient(RequestGuard(nothing, dialects=find_dialects(), most=0))
    refused = VENDORS[name].send(full, photo)
    expected = {"native": "overloaded", "novita": "RATE_LIMIT_EXCEEDED", "poof": "rate_limit_exceeded"}
    assert (refused.status_code, refused.headers["retry-after"], VENDORS[name].word(refused)) == (
        429,
        "2",
        expected[name],
    )
    one = TestClient(RequestGuard(nothing, dialects=find_dialects(), most=1))
    assert [VENDORS[name].send(one, photo).status_code for _ in range(3)] == [200, 200, 200]


# --- what it stands on -------------------------------------------------------------------------------------------


def test_it_is_not_ready_without_its_database_and_its_storage(tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/data/mattebox.db")
    folder = tmp_path / "blobs"
    blobs = Blobs(folder.as_uri())

    def sentence() -> str | None:
        try:
            anyio.run(Stores(database, blobs).check)
        except MatteboxError as error:
            return f"{error.kind}: {error.message}"
        return None

    assert sentence() is None
    folder.rename(tmp_path / "away")
    folder.write_text("a file")
    assert sentence() == "unavailable: The storage cannot be reached."
    folder.unlink()
    (tmp_path / "away").rename(folder)
    database.dispose()
    (tmp_path / "data").rename(tmp_path / "gone")
    assert sentence() == "unavailable: The database cannot be reached at the moment."
    (tmp_path / "gone").rename(tmp_path / "data")
    assert sentence() is None
    database.dispose()


def test_who_asks_often_whether_it_is_ready_does_not_ask_its_storage_each_time(tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/mattebox.db")
    stores = Stores(database, Blobs((tmp_path / "blobs").as_uri()))

    async def story() -> None:
        await stores.check()
        database.dispose()
        (tmp_path / "mattebox.db").unlink()
        (tmp_path / "mattebox.db").mkdir()
        (tmp_path / "blobs").rename(tmp_path / "away")
        (tmp_path / "blobs").write_text("a file")
        await stores.check()

    anyio.run(story)


def test_a_server_that_is_not_ready_says_so(client: TestClient, tmp_path: Path) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    assert client.portal is not None
    client.portal.call(partial(app.state.server.readiness.check, patience=60))
    assert client.get("/ready").json() == {"status": "ok"}
    blobs = Blobs((tmp_path / "blobs").as_uri())
    (tmp_path / "blobs").rename(tmp_path / "away")
    (tmp_path / "blobs").write_text("a file")
    database = connect(f"sqlite:///{tmp_path}/mattebox.db")
    state = app.state.server
    app.state.health = Health(state.readiness, Stores(database, blobs), state.runner, Supervisor(), None)
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "The storage cannot be reached."})
    assert client.get("/health").status_code == 200
    database.dispose()


def test_a_worker_answers_probes_only(serve: Serve, photo: bytes) -> None:
    client = serve(role="worker")
    app = client.app
    assert isinstance(app, FastAPI)
    portal = client.portal
    assert portal is not None
    portal.call(partial(app.state.server.readiness.check, patience=60))
    assert {path: client.get(path).status_code for path in ("/health", "/ready")} == {"/health": 200, "/ready": 200}
    for path in ("/", "/docs", "/openapi.json", "/api/v1/models", "/results/x"):
        assert client.get(path, follow_redirects=False).status_code == 404
    for each in (client, serve(role="worker", keys=("k",))):
        assert {vendor.send(each, photo).status_code for vendor in VENDORS.values()} == {404}


def test_what_it_stands_on_goes_into_its_own_folder(serve: Serve, tmp_path: Path) -> None:
    assert serve().get("/ready").status_code == 200
    assert (tmp_path / "mattebox.db").exists()


# --- what it is started with -------------------------------------------------------------------------------------


def test_a_model_that_there_is_not_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(MatteboxError, match="Unknown model") as caught:
        create_app(Settings.model_validate({"data_dir": tmp_path, "model": "isnt"}))
    assert caught.value.kind is Kind.INVALID_PARAMETER


def test_the_servers_networks_are_not_fetched_when_they_are_used(tmp_path: Path) -> None:
    settings = Settings.model_validate({"data_dir": tmp_path, "models": {"directory": tmp_path}})
    networks = module._networks(settings, lambda *_: pytest.fail("something is fetched"))
    with pytest.raises(MatteboxError, match="not installed") as caught:
        networks.segmenter("u2netp")(np.zeros((8, 8, 3), np.uint8))
    assert (caught.value.kind, caught.value.parameter) == (Kind.UNAVAILABLE, "model")


def test_a_model_that_is_not_installed_is_refused(tmp_path: Path, photo: bytes) -> None:
    options = ModelOptions(directory=tmp_path, download=False)
    settings = Settings(data_dir=tmp_path)
    app = create_app(settings, models=Models(options, fetch_when_used=False), tasks=False)
    with TestClient(app) as client:
        rows = client.get("/api/v1/models").json()["models"]
        assert {row["installed"] for row in rows} == {False}
        (tmp_path / "u2netp.onnx").write_bytes(b"as good as one")
        rows = client.get("/api/v1/models").json()["models"]
        assert [row["name"] for row in rows if row["installed"]] == ["fast", "u2netp"]

    app = create_app(settings, models=FakeModels(), tasks=False)
    with TestClient(app) as client:
        app.state.server = replace(app.state.server, installed=lambda name: name == "u2netp")
        refused = client.post("/api/v1/remove", content=photo, params={"model": "birefnet-general"})
        found = refused.json()
        assert (refused.status_code, found["kind"], found["parameter"]) == (400, "invalid_parameter", "model")
        assert "not installed" in found["detail"]
        assert client.post("/api/v1/remove", content=photo).status_code == 200


def test_a_key_in_the_database_is_asked_for(serve: Serve, tmp_path: Path, photo: bytes, fresh_database: Path) -> None:
    shutil.copyfile(fresh_database, tmp_path / "mattebox.db")
    database = connect(f"sqlite:///{tmp_path}/mattebox.db")
    key, _ = Keys(database).create("shop", KeyLimits(credits=1))
    client = serve()
    answers = [
        client.post("/api/v1/remove", content=photo, headers={"x-api-key": each}).status_code
        for each in ("anything", key, key)
    ]
    assert answers == [401, 200, 402]
    preflight = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    assert client.options("/api/v1/remove", headers=preflight).headers["access-control-allow-origin"]
    Keys(database).revoke("shop")
    assert serve().post("/api/v1/remove", content=photo).status_code == 401
    database.dispose()

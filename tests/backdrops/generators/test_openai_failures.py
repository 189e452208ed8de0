from __future__ import annotations

import json
import socket
import threading
import time
from http.server import ThreadingHTTPServer

import pytest
from tests.backdrops.generators.server import (
    BLUE,
    KEY,
    WORK,
    Handler,
    Reply,
    Server,
    b64,
    causes,
    failure,
    go_on,
    openai,
    picture,
    plate,
    says,
    subject,
)

from mattebox.backdrops.generators.openai import OpenAIImages
from mattebox.errors import Kind, MatteboxError

# --- failures ---------------------------------------------------------------------------------------------------------

OOPS = b'{"error":{"message":"oops at 10.0.0.7"}}'


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, Kind.UNAVAILABLE),
        (503, Kind.UNAVAILABLE),
        (400, Kind.UNAVAILABLE),
        (422, Kind.UNAVAILABLE),
        (404, Kind.UNAVAILABLE),
        (302, Kind.UNAVAILABLE),
        (429, Kind.OVERLOADED),
    ],
)
def test_statuses(server: Server, status: int, kind: Kind) -> None:
    server.replies["/v1/images/generations"] = says(OOPS, status, {"Location": "/elsewhere", "Retry-After": "9"})
    error = failure(OpenAIImages(server.url))
    assert error.kind is kind
    assert error.parameter is None
    assert error.retry_after == (9.0 if status in {429, 500, 503} else None)
    assert f"{server.url}/v1/images/generations answered {status}" in causes(error)
    assert "oops at 10.0.0.7" in causes(error)
    assert len(server.seen) == 1  # neither tried again nor followed


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("padding", [0, 480])
def test_a_prompt_that_is_repeated_is_not_told_on(server: Server, escaped: bool, padding: int) -> None:
    prompt = 'in "my" café by the sea'
    body = " " * padding + json.dumps({"error": f"oops: {prompt}"}, ensure_ascii=escaped)
    server.replies["/v1/images/generations"] = says(body.encode(), 500)
    with pytest.raises(MatteboxError) as caught:
        OpenAIImages(server.url).plate(prompt, None, width=64, height=64, seed=1, checkpoint=go_on)
    assert "answered 500" in causes(caught.value)
    assert not any(word in causes(caught.value) for word in ("my", "caf", "sea"))


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key(server: Server, status: int) -> None:
    server.replies["/v1/images/generations"] = says(f'{{"error":"{KEY} oops"}}'.encode(), status)
    error = failure(OpenAIImages(server.url, key=KEY))
    assert error.kind is Kind.UNAVAILABLE
    assert error.message == "The generator refuses the key."
    assert KEY not in causes(error)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"code":"content_policy_violation","message":"no"}}',
        b'{"error":{"message":"Your request was rejected by our safety system."}}',
        b'{"detail":"Blocked: NSFW"}',
        b'{"error":"violates the content policy"}',
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_prompt(server: Server, body: bytes, status: int) -> None:
    server.replies["/v1/images/generations"] = says(body, status)
    error = failure(OpenAIImages(server.url))
    assert (error.kind, error.parameter) == (Kind.INVALID_PARAMETER, "prompt")


def test_a_quoted_prompt_is_no_refusal_of_it(server: Server) -> None:
    body = b'{"detail":[{"loc":["size"],"msg":"bad size","input":{"prompt":"a poster against nsfw"}}]}'
    server.replies["/v1/images/generations"] = says(body, 422)
    assert failure(OpenAIImages(server.url)).kind is Kind.UNAVAILABLE


WHOLE = json.dumps({"data": [{"b64_json": b64(picture(64, 64))}]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><title>oops</title>",
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b"[]",
        b'{"data":[]}',
        b'{"data":[{}]}',
        b'{"data":[{"b64_json":null}]}',
        b'{"data":[{"b64_json":7}]}',
        b'{"data":{"b64_json":"AAAA"}}',
        b'{"data":[{"b64_json":"%%%%"}]}',
        '{"data":[{"b64_json":"ÄÖÜß"}]}'.encode(),
        b'{"data":[{"b64_json":""}]}',
        b'{"data":[{"b64_json":"' + b64(b"<html>oops</html>").encode() + b'"}]}',
        b'{"data":[{"b64_json":"' + b64(picture(64, 64)[:60]).encode() + b'"}]}',
        WHOLE[:-30],
    ],
)
def test_what_is_no_picture(server: Server, body: bytes) -> None:
    server.replies["/v1/images/generations"] = says(body)
    error = failure(OpenAIImages(server.url))
    assert error.kind is Kind.UNAVAILABLE
    assert error.message == "The generator did not send a picture."
    assert "answered 200" in causes(error)


def test_an_address_instead_of_a_picture_is_refused(server: Server) -> None:
    server.replies["/v1/images/generations"] = says(f'{{"data":[{{"url":"{server.url}/picture.png"}}]}}'.encode())
    error = failure(OpenAIImages(server.url))
    assert error.kind is Kind.UNAVAILABLE
    assert "an address instead of a picture" in error.message
    assert len(server.seen) == 1


def test_an_answer_that_is_too_large_is_cut_off(server: Server) -> None:
    sent = 0

    def pour(handler: Handler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        while sent < 2**30:
            handler.wfile.write(b" " * 65536)
            sent += 65536

    server.replies["/v1/images/generations"] = pour
    error = failure(OpenAIImages(server.url, max_bytes=1_000_000))
    assert error.kind is Kind.UNAVAILABLE
    assert "larger than 1,000,000 bytes" in error.message
    assert sent < 2**26


def test_an_answer_that_breaks_off(server: Server) -> None:
    def half(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(WHOLE)))
        handler.end_headers()
        handler.wfile.write(WHOLE[: len(WHOLE) // 2])
        handler.close_connection = True

    server.replies["/v1/images/generations"] = half
    error = failure(OpenAIImages(server.url))
    assert error.kind is Kind.UNAVAILABLE
    assert "closed the connection in the middle" in error.message
    assert len(server.seen) == 1


def drip(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.05)


@pytest.mark.parametrize("slow", [lambda handler: handler.hold(20), drip])
def test_a_slow_answer_times_out(server: Server, slow: Reply) -> None:
    server.replies["/v1/images/generations"] = slow
    error = failure(OpenAIImages(server.url, timeout=0.4))
    assert error.kind is Kind.TIMED_OUT
    assert len(server.seen) == 1


@pytest.mark.slow
def test_edit_and_generation_share_one_time_out(server: Server) -> None:
    def late(handler: Handler) -> None:
        time.sleep(2)
        handler.answer(404, b"{}")

    server.replies["/v1/images/edits"] = late
    server.replies["/v1/images/generations"] = late  # each alone would be in time
    assert failure(OpenAIImages(server.url, timeout=3), subject()).kind is Kind.TIMED_OUT


class GoneError(Exception):
    """Nobody waits any more."""


@pytest.mark.parametrize("slow", [lambda handler: handler.hold(20), drip])
def test_a_running_request_is_given_up(server: Server, slow: Reply) -> None:
    server.replies["/v1/images/generations"] = slow

    def checkpoint() -> None:
        if server.seen:
            raise GoneError

    threads = threading.active_count()
    with pytest.raises(GoneError):
        plate(OpenAIImages(server.url), None, checkpoint=checkpoint)
    if slow is not drip:
        assert server.hung_up.wait(10)  # the server learns of it, and can stop painting
    until = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < until:
        time.sleep(0.02)
    assert threading.active_count() <= threads


def test_nothing_is_sent_where_nobody_waits(server: Server) -> None:
    def checkpoint() -> None:
        raise GoneError

    with pytest.raises(GoneError):
        plate(OpenAIImages(server.url), subject(), checkpoint=checkpoint)
    assert server.seen == []


def test_a_refused_connection_is_tried_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    tried = 0
    connect = socket.create_connection

    def counted(address: tuple[str, int], timeout: float, source_address: None = None) -> socket.socket:
        nonlocal tried
        tried += 1
        return connect(address, timeout, source_address)

    monkeypatch.setattr(socket, "create_connection", counted)
    error = failure(OpenAIImages(f"http://127.0.0.1:{port}"))
    assert error.kind is Kind.UNAVAILABLE
    assert error.message == "The generator cannot be reached."
    assert tried == 2


def test_a_server_that_comes_back_at_once_is_reached(server: Server) -> None:
    server.replies["/v1/images/generations"] = openai(picture(*WORK))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    def start() -> None:
        time.sleep(0.2)
        http = ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (Handler,), {"owner": server}))
        http.handle_request()
        http.server_close()

    thread = threading.Thread(target=start)
    thread.start()
    assert (plate(OpenAIImages(f"http://127.0.0.1:{port}"), None).rgb == BLUE).all()
    thread.join()


def test_proxies_of_the_environment_are_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.replies["/v1/images/generations"] = openai(picture(*WORK))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    plate(OpenAIImages(server.url), None)


def test_an_unknown_host_cannot_be_reached() -> None:
    assert failure(OpenAIImages("http://no-such-host.invalid")).kind is Kind.UNAVAILABLE


@pytest.mark.parametrize(
    "url",
    [
        *("", "generator:7860", "ftp://host", "http://", "http://user:pw@host", "http://host/?a=b", "http://host/#a"),
        *("http://host:port", "http://a..b", "http://ho\tst"),
    ],
)
def test_addresses_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        OpenAIImages(url)


def test_settings_that_cannot_be_right() -> None:
    for key in ("", "a\nb", "ä"):
        with pytest.raises(ValueError, match="key"):
            OpenAIImages("http://host", key=key)
    for timeout in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="timeout"):
            OpenAIImages("http://host", timeout=timeout)

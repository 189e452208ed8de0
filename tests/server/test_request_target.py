from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from starlette.testclient import TestClient
from tests.server.conftest import running

from mattebox.server import studio
from mattebox.server.app import create_app
from mattebox.server.settings import Settings
from mattebox.testing import FakeModels

Listen = Callable[..., int]
Serve = Callable[..., TestClient]


def ask(port: int, line: str, *headers: str, host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    """The answer to a request that is sent as it is written, as most clients would not."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection:
        lines = [line, f"Host: {host or f'127.0.0.1:{port}'}", "Connection: close", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        with connection.makefile("rb") as received:
            head, _, body = received.read().partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    return (
        int(first.split()[1]),
        {name.lower(): value for name, _, value in (each.partition(": ") for each in rest)},
        body,
    )


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server that is known by two names, with a page at `/`."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), hosts=("127.0.0.1", "cutout.example"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studio, "installed", lambda _: True)
        with running(create_app(settings, models=FakeModels(), tasks=False)) as found:
            yield found


# --- targets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET http://127.0.0.1/health HTTP/1.1", 200),
        ("GET HTTPS://cutout.example:8443/health HTTP/1.1", 200),
        ("GET http://me:word@127.0.0.1//health/ HTTP/1.1", 200),
        ("GET http://127.0.0.1/api%2Fv1/models?x=/ HTTP/1.1", 200),
        ("GET http://127.0.0.1 HTTP/1.1", 200),
        ("GET http://127.0.0.1?x HTTP/1.1", 200),
        ("GET http://127.0.0.1/v1/nothing HTTP/1.1", 404),
        ("GET http://evil.example/docs HTTP/1.1", 403),
        ("GET http://127.0.0.1@evil.example/docs HTTP/1.1", 403),
        ("GET http:///health HTTP/1.1", 400),
        ("GET http://[::1/health HTTP/1.1", 400),
        ("GET http://a@b@127.0.0.1/health HTTP/1.1", 400),
        ("GET ftp://127.0.0.1/health HTTP/1.1", 400),
        ("GET health HTTP/1.1", 400),
        ("GET ?x HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("OPTIONS * HTTP/1.1", 204),
        ("CONNECT 127.0.0.1:443 HTTP/1.1", 400),
        ("CONNECT /api/v1/remove HTTP/1.1", 405),
        ("PRI * HTTP/2.0", 400),
        ("BREW /api/v1/remove HTTP/1.1", 405),
        ("GET /// HTTP/1.1", 200),
        ("GET /%2f HTTP/1.1", 200),
        ("GET /health# HTTP/1.1", 404),
        ("GET /%zz% HTTP/1.1", 404),
        ("GET /%ff%ed%a0%80 HTTP/1.1", 404),
        ("GET /%00 HTTP/1.1", 404),
        ("GET /health%0d%0aX:y HTTP/1.1", 404),
        ("GET /results/a%00b HTTP/1.1", 404),
        ("GET /v1/images?from=%00 HTTP/1.1", 400),
        (f"GET /results/{'x' * 9000} HTTP/1.1", 404),
        (f"GET /static-offline-docs/{'x' * 9000} HTTP/1.1", 404),
        ("GET /static-offline-docs/%2e%2e/core.py HTTP/1.1", 404),
    ],
)
def test_any_target_is_answered(line: str, status: int, port: int, caplog: pytest.LogCaptureFixture) -> None:
    answered, headers, body = ask(port, line)
    assert answered == status
    assert re.fullmatch("req_[0-9a-f]{24}", headers["x-request-id"])
    if status >= 400:
        assert isinstance(json.loads(body), dict)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    ("place", "word"), [("/v1/remove/%00", "code"), ("/v3/remove-background%00", "reason"), ("/nothing%00", "kind")]
)
def test_a_wrong_target_is_refused_in_the_dialect_or_in_our_own(place: str, word: str, port: int) -> None:
    assert word in json.loads(ask(port, f"POST http://127.0.0.1{place} HTTP/1.1")[2])


def test_the_host_of_a_whole_address_is_the_one_that_counts(port: int) -> None:
    line = "POST http://cutout.example/api/v1/images HTTP/1.1"
    assert ask(port, line, "Origin: https://evil.example", host="evil.example")[0] == 403
    assert ask(port, line, "Origin: http://cutout.example", host="evil.example")[0] == 400  # let in, without a picture


# --- forwarded headers -------------------------------------------------------------------------------------------

FORWARDED = {
    "X-Forwarded-Proto": "http, https",
    "X-Forwarded-Host": "evil.example, cutout.example",
    "X-Forwarded-Prefix": "/v1/",
}


def location(port: int, photo: bytes, headers: dict[str, str], path: str = "/api/v1/images") -> str:
    body = [f"Content-Length: {len(photo)}", "Content-Type: image/png", *(f"{n}: {v}" for n, v in headers.items())]
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection:
        lines = [f"POST {path} HTTP/1.1", "Host: upstream:1", "Connection: close", *body, "", ""]
        connection.sendall("\r\n".join(lines).encode() + photo)
        with connection.makefile("rb") as received:
            head = received.read().partition(b"\r\n\r\n")[0].decode()
    assert head.startswith("HTTP/1.1 201 "), head
    return next(line[10:] for line in head.split("\r\n") if line.lower().startswith("location: "))


@pytest.mark.parametrize(
    ("settings", "start"),
    [
        ({}, "http://upstream:1/api/"),
        ({"trusted_proxies": "10.0.0.0/8"}, "http://upstream:1/api/"),
        ({"trusted_proxies": "::1, 127.0.0.0/8"}, "https://cutout.example/v1/api/"),
        ({"trusted_proxies": "127.0.0.1", "public_url": "https://set.example"}, "https://set.example/api/"),
    ],
)
def test_addresses_follow_what_a_trusted_proxy_says(
    settings: dict[str, object], start: str, listen: Listen, photo: bytes
) -> None:
    assert location(listen(**settings), photo, FORWARDED).startswith(f"{start}v1/images/")


def test_a_prefix_is_put_before_all_addresses_and_no_route_is_lost(listen: Listen, photo: bytes) -> None:
    port = listen(trusted_proxies="127.0.0.1")
    prefix = "X-Forwarded-Prefix: /v1"
    described = json.loads(ask(port, "GET /openapi.json HTTP/1.1", prefix)[2])
    assert described["servers"] == [{"url": "/v1"}]
    assert "servers" not in json.loads(ask(port, "GET /openapi.json HTTP/1.1")[2])
    assert ask(port, "GET /v1/me HTTP/1.1", prefix)[0] == 200
    assert ask(port, "GET /docs HTTP/1.1", prefix)[0] == 200
    assert ask(port, "GET /static-offline-docs/swagger-ui.css HTTP/1.1", prefix)[0] == 200
    assert "code" in json.loads(ask(port, "POST /v1/remove HTTP/1.1", prefix)[2])  # in Poof's words


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-Proto: ftp",
        "X-Forwarded-Host: a b",
        "X-Forwarded-Host: a/b",
        "X-Forwarded-Prefix: cut",
        "X-Forwarded-Prefix: //evil.example",
        "X-Forwarded-Prefix: /a'b",
        "X-Forwarded-Prefix: /a%00",
    ],
)
def test_a_proxys_nonsense_is_refused_and_anybody_elses_is_left_alone(header: str, listen: Listen) -> None:
    status, _, body = ask(listen(trusted_proxies="127.0.0.1"), "GET /health HTTP/1.1", header)
    assert (status, json.loads(body)["detail"]) == (400, f"{header.partition(':')[0]} has a wrong value.")
    assert ask(listen(), "GET /health HTTP/1.1", header)[0] == 200


def test_a_proxy_that_calls_the_server_by_a_mapped_address_is_known(serve: Serve) -> None:
    app = serve(trusted_proxies="10.0.0.0/8").app
    for client, status in (("::ffff:10.0.0.7", 400), ("10.1.2.3", 400), ("::1", 200), ("a socket", 200)):
        proxy = TestClient(app, client=(client, 1))
        assert proxy.get("/health", headers={"X-Forwarded-Proto": "ftp"}).status_code == status


def test_a_name_has_to_be_known_whichever_header_it_is_in(listen: Listen) -> None:
    port = listen(hosts=("127.0.0.1", "cutout.example"), trusted_proxies="127.0.0.1")
    ask_for = "GET /docs HTTP/1.1"
    assert ask(port, ask_for, "X-Forwarded-Host: cutout.example")[0] == 200
    assert ask(port, ask_for, "X-Forwarded-Host: evil.example")[0] == 403
    assert ask(port, ask_for, "X-Forwarded-Host: cutout.example", host="evil.example")[0] == 403


# --- bodies with two ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_body_with_a_length_and_chunks_is_refused_and_nothing_behind_it_is_answered(first: str, port: int) -> None:
    both = sorted(["Content-Length: 5", "Transfer-Encoding: chunked"], key=lambda each: each != first)
    lines = ["POST /v1.0/removebg HTTP/1.1", f"Host: 127.0.0.1:{port}", *both, "", "0", "", ""]
    behind = ["GET /health HTTP/1.1", f"Host: 127.0.0.1:{port}", "", ""]
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection:
        connection.sendall("\r\n".join([*lines[:-1], *behind]).encode())
        with connection.makefile("rb") as received:
            head, _, body = received.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in head.lower()
    message = "Content-Length and Transfer-Encoding exclude each other."
    assert json.loads(body) == {"errors": [{"title": message, "code": "invalid_request"}]}

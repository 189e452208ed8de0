"""Connections on which nothing moves, to a real server with little patience."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from queue import Queue

import pytest
from starlette.types import Receive, Scope, Send
from tests.server.conftest import running

from mattebox.server.connection import Connection

IDLE = 0.2
LARGE = 64 * 2**20
"""Bytes, more than the system keeps for a client that does not read."""
REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with much: in one piece at /whole, else in many."""
    assert scope["type"] == "http"
    pieces = 1 if scope["path"] == "/whole" else 64
    headers = [(b"content-length", str(LARGE).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for left in reversed(range(pieces)):
        await send({"type": "http.response.body", "body": bytes(LARGE // pieces), "more_body": left > 0})


@pytest.fixture
def ended() -> Queue[None]:
    """Has an item for each connection that the server has no more."""
    return Queue()


@pytest.fixture
def port(ended: Queue[None]) -> Iterator[int]:
    class Quick(Connection):
        idle = IDLE

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            ended.put(None)

    with running(large, http=Quick, lifespan="off") as port:
        yield port


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as client:
        yield client


def received(client: socket.socket) -> int:
    """How many bytes come until the connection ends, in whichever way."""
    count = 0
    try:
        while piece := client.recv(2**20):
            count += len(piece)
    except ConnectionResetError:
        pass
    return count


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a", b"\r\n"])
def test_a_request_that_does_not_go_on(sent: bytes, port: int) -> None:
    with connected(port) as client:
        client.sendall(sent)
        received(client)  # which comes to an end


@pytest.mark.parametrize("path", [b"/", b"/whole"])
def test_a_response_that_is_not_read(path: bytes, port: int, ended: Queue[None]) -> None:
    with connected(port) as client:
        client.sendall(REQUEST.replace(b" / ", b" " + path + b" "))
        ended.get(timeout=60)
        assert received(client) < LARGE


def test_a_response_that_is_read_comes_whole_and_the_connection_is_kept(port: int) -> None:
    with connected(port) as client:
        for _ in range(2):
            client.sendall(REQUEST)
            with client.makefile("rb", buffering=0) as file:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += file.read(1) or b""
                left = LARGE
                while left:
                    piece = file.read(min(left, 2**20))
                    assert piece
                    left -= len(piece)

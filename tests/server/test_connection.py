"""Connections on which nothing moves, to a real server with little patience; and those of a server that ends."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from queue import Queue
from threading import Event, Thread

import anyio.to_thread
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.server.conftest import running

from mattebox.server.connection import Connection, Server

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


async def small(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def ending_server(app: ASGIApp, protocol: type[Connection]) -> Iterator[tuple[Server, int]]:
    """A server that can be told to end, with its port."""
    config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None)
    started, listener = Event(), socket.create_server(("127.0.0.1", 0))
    server = Server(config, ready=started.set)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert started.wait(60)
        yield server, listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def head_of(client: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = client.recv(1)
        assert piece, head
        head += piece
    return head.lower()


def test_a_server_that_ends_takes_requests_that_are_on_their_way(refused: Callable[[int], None]) -> None:
    class Patient(Connection):
        last_request = 600

    with ending_server(small, Patient) as (server, port), connected(port) as used, connected(port) as unused:
        used.sendall(REQUEST)
        assert b"connection: close" not in head_of(used)
        unused.sendall(REQUEST[:4])
        server.should_exit = True
        refused(port)
        for client, request in ((used, REQUEST), (unused, REQUEST[4:])):
            client.sendall(request)
            head = head_of(client)
            assert head.startswith(b"http/1.1 200")
            assert b"\r\nconnection: close\r\n" in head
            assert client.recv(1) == b""


def test_the_response_in_work_says_that_its_connection_ends(refused: Callable[[int], None]) -> None:
    begun, go_on = Event(), Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await anyio.to_thread.run_sync(go_on.wait)
        await small(scope, receive, send)

    with ending_server(slow, Connection) as (server, port), connected(port) as client:
        client.sendall(REQUEST)
        assert begun.wait(60)
        server.should_exit = True
        refused(port)
        go_on.set()
        assert b"\r\nconnection: close\r\n" in head_of(client)
        assert client.recv(1) == b""


def test_a_response_that_had_begun_leaves_its_connection_for_one_more(refused: Callable[[int], None]) -> None:
    begun, go_on = Event(), Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            await small(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        begun.set()
        await anyio.to_thread.run_sync(go_on.wait)
        await send({"type": "http.response.body", "body": b"x"})

    with ending_server(slow, Connection) as (server, port), connected(port) as client:
        client.sendall(REQUEST.replace(b" / ", b" /slow "))
        assert begun.wait(60)
        server.should_exit = True
        refused(port)
        client.sendall(REQUEST)  # as a proxy does that was not told
        go_on.set()
        assert b"connection: close" not in head_of(client)
        assert client.recv(1) == b"x"
        assert b"\r\nconnection: close\r\n" in head_of(client)
        assert client.recv(1) == b""


def test_connections_without_a_request_do_not_keep_a_server_from_ending() -> None:
    class Late(Connection):
        """Connections of which one is taken from the system's queue when the others have been told already."""

        idle = 600.0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            if self.connections:
                self.app_state["ending"].set()
            super().connection_made(transport)

    with ending_server(small, Late) as (server, port), connected(port) as first:
        first.sendall(REQUEST)
        head_of(first)
        with connected(port) as late:
            assert late.recv(1) == b""
        server.should_exit = True
        assert first.recv(1) == b""


@pytest.fixture
def refused() -> Callable[[int], None]:
    """Waits until a port takes no connections."""

    def wait(port: int) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=60).close()
            except ConnectionError:
                return
            time.sleep(0.01)
        raise AssertionError("the port still takes connections")

    return wait

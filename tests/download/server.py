"""A file on loopback that can misbehave, and downloads of it."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mattebox import certificates
from mattebox.download import (
    Download,
    Source,
    State,
    transfer,
)
from mattebox.errors import Kind, MatteboxError

CONTENT = bytes(range(256)) * 12_000  # 3 MB


class FileServer(http.server.ThreadingHTTPServer):
    """A server on loopback with one file, ranges and a choice of ways to misbehave."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = "http" if tls is None else "https"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.content = CONTENT
        self.elsewhere: str | None = None
        """Where requests for the file are sent on to."""
        self.proxied: list[tuple[str, str | None]] = []
        """Address and account of every request that was made as to a proxy."""
        self.ranges = True
        self.cut_after: list[int] = []
        """How many bytes the next answers give before the connection breaks."""
        self.seconds = 0.0
        self.status = 200
        """The status of every answer; any but 200 comes without the file."""
        self.silent_after: int | None = None
        """After so many bytes the connection stays open and nothing more comes."""
        self.asked: list[str | None] = []
        """The Range of every request."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/file.onnx"

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """A client that does not trust the server hangs up, which is as it should be."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        if self.path.startswith("http:"):
            server.proxied.append((self.path, self.headers.get("Proxy-Authorization")))
        if server.elsewhere is not None and self.path == "/file.onnx":
            self.send_response(302)
            self.send_header("Location", server.elsewhere)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if server.status != 200:
            self.send_response(server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        time.sleep(server.seconds)
        begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        body = server.content[begin:]
        if begin and not body:
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.cut_after:
            body = body[: server.cut_after.pop(0)]
        if server.silent_after is not None:
            self.wfile.write(body[: server.silent_after])
            self.rfile.read(1)  # until the client hangs up
            return
        with contextlib.suppress(ConnectionError):  # a client that has seen enough hangs up
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden method
        pass


@contextlib.contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def row(*sources: Source, content: bytes = CONTENT) -> Download:
    return Download(
        name="tiny",
        what="the model tiny",
        file="tiny.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        sources=sources,
        command="mattebox models pull tiny",
        folder_command="mattebox models path",
        parameter="model",
    )


def names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir() if not entry.name.endswith(".lock")}


def unavailable(download: Download, directory: Path) -> MatteboxError:
    with pytest.raises(MatteboxError) as caught:
        transfer.pull(download, directory=directory)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert str(directory) not in caught.value.message
    assert transfer.verify(download, directory) is not State.PRESENT
    return caught.value


@contextlib.contextmanager
def secure_server(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server over https, whose authority the machine trusts for as long."""
    made = certificates.make(["127.0.0.1"], folder / "certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    patch.setenv("SSL_CERT_FILE", str(made.authority))
    with serving(FileServer(context)) as running:
        yield running

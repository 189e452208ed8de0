"""A server on this machine that speaks the OpenAI images interface, and misbehaves where it is told to."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from mattebox import codec
from mattebox.edit import Output
from mattebox.image import Image

GREEN = (30, 160, 60)


def picture(color: tuple[int, int, int] = GREEN, *, width: int = 64, height: int = 64) -> bytes:
    """The answer of a generator that has painted everything in one colour."""
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[:] = color
    text = base64.b64encode(codec.encode(Image(rgb=rgb), Output())).decode()
    return json.dumps({"data": [{"b64_json": text}]}).encode()


@dataclass(slots=True)
class Painter:
    """What is asked of it, and what it answers to everything."""

    body: bytes = field(default_factory=picture)
    status: int = 200
    media_type: str = "application/json"
    seconds: float = 0.0
    """How long it takes."""
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    """The path and the body of every request."""
    url: str = ""


@contextmanager
def painting() -> Iterator[Painter]:
    """Such a server while it runs."""
    painter = Painter()
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            painter.asked.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            closing.wait(painter.seconds)
            try:
                self.send_response(painter.status)
                self.send_header("Content-Type", painter.media_type)
                self.end_headers()
                self.wfile.write(painter.body)
            except OSError:
                return  # nobody waited

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        painter.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield painter
        finally:
            closing.set()
            server.shutdown()
            thread.join()

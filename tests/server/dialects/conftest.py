"""A server that keeps a queue, and somebody who receives its webhooks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import pytest
from starlette.testclient import TestClient

from mattebox.image import RGB, Alpha
from mattebox.server.app import create_app
from mattebox.server.settings import Settings
from mattebox.testing import FakeBackdrops, FakeModels, FakeSegmenter

KEYS = ("one", "two", "poor")


def unhurried(photo: RGB) -> Alpha:
    """The stand-in for the networks. A square photo takes it a second."""
    if photo.shape[0] == photo.shape[1]:
        time.sleep(1.0)
    return FakeSegmenter()(photo)


@pytest.fixture(scope="module")
def queued(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server that takes tasks, asked by the key `one`; `two` is somebody else. Private addresses may be reached."""
    chosen = Settings.model_validate(
        {
            "data_dir": tmp_path_factory.mktemp("queued"),
            "keys": KEYS,
            "fetch": {"allow_private": True},
            "tasks": {"concurrency": 1, "polling": 0.05, "webhook_pause": 0.1},
        }
    )
    app = create_app(chosen, models=FakeModels(unhurried), backdrops=FakeBackdrops())
    with TestClient(app, raise_server_exceptions=False, headers={"Authorization": "Bearer one"}) as client:
        yield client


@dataclass(slots=True)
class Receiver:
    """Receives webhooks, and hands out pictures."""

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    received: Queue[tuple[dict[str, str], bytes]] = field(default_factory=Queue)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()
            here.received.put(({name.lower(): value for name, value in self.headers.items()}, body))

        def do_GET(self) -> None:
            data = here.files.get(self.path)
            self.send_response(200 if data else 404)
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here = Receiver(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield here
        server.shutdown()
        thread.join()

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer

import pytest
from tests.backdrops.generators.server import Handler, Server


@pytest.fixture
def server() -> Iterator[Server]:
    owner = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"owner": owner}))
    owner.port = int(http.server_address[1])
    thread = threading.Thread(target=partial(http.serve_forever, poll_interval=0.02))
    thread.start()
    yield owner
    http.shutdown()
    thread.join()
    http.server_close()

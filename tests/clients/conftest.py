"""A real server with the real networks, and the vendors' own clients, each version in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image as Pillow

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "MATTEBOX_KEYS": "right-key,poor-key",
    "MATTEBOX_FETCH_ALLOW_NETWORKS": "127.0.0.0/8",  # where `astronaut_url` is
}

Run = Callable[..., dict[str, object]]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base address of `mattebox serve`, ready for work. `MATTEBOX_MODELS_DIRECTORY` counts if it is set."""
    from mattebox.backdrops.scenes import catalogue

    assert catalogue.pull(["warehouse"]) == ()  # which a server never does by itself
    folder = tmp_path_factory.mktemp("server")
    environment = {**os.environ, **SETTINGS, "MATTEBOX_DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
    environment["MATTEBOX_BACKDROPS_PACKS"] = str(folder / "packs")
    log = folder / "log"
    with log.open("w") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "mattebox", "serve", "--port", "0"],
            env=environment,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _ready(process, log)
    finally:
        process.terminate()
        process.wait(60)


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    import time
    import urllib.error
    import urllib.request

    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        found = re.search(r"http://[\w.]+:\d+", log.read_text())
        if found:
            try:
                with urllib.request.urlopen(f"{found[0]}/ready", timeout=30):
                    return found[0]
            except urllib.error.HTTPError as error:
                status = json.loads(error.read())["status"]
                assert status.startswith("The model is still being "), f"{status}\n{log.read_text()}"
        time.sleep(0.2)
    raise AssertionError(f"the server was not ready in time\n{log.read_text()}")


@pytest.fixture(scope="session")
def astronaut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of a person whose face is round (200, 120) and whose upper left corner is background."""
    from skimage import data

    path = tmp_path_factory.mktemp("photo") / "astronaut.jpg"
    Pillow.fromarray(data.astronaut()).save(path, quality=95)  # type: ignore[no-untyped-call]
    return path


@pytest.fixture
def astronaut_url(astronaut: Path) -> Iterator[str]:
    """Where `astronaut` can be fetched from."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(astronaut.parent))) as pictures:
        thread = threading.Thread(target=pictures.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{pictures.server_port}/{astronaut.name}"
        pictures.shutdown()
        thread.join()


@pytest.fixture
def run(server: str) -> Run:
    """`run(client, script, *arguments)` runs a script with one client's packages only, and gives what it prints.

    The script is Python's, or Node's where its name ends with `.js`.
    """

    def start(client: str, script: str, *arguments: str) -> dict[str, object]:
        folder = ROOT / ".clients" / client
        assert folder.is_dir(), f"{client} is not installed: run make test"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MATTEBOX"))}
        environment |= {"PYTHONPATH": str(folder), "PYTHONNOUSERSITE": "1", "NODE_PATH": str(folder / "node_modules")}
        interpreter = sys.executable
        if script.endswith(".js"):
            found_node = shutil.which("node")
            assert found_node is not None, "node is not installed"
            interpreter = found_node
        done = subprocess.run(
            [interpreter, str(Path(__file__).parent / script), server, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        # The client that was meant is the one that ran.
        assert str(folder) in str(found["where"])
        return found

    return start

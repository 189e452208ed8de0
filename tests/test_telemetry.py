"""Nobody is contacted and nothing is left behind, by the library, the command line and the server."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TypeVar

import pytest
from tests.watched import PATIENCE, Watched, tracer

from mattebox import codec
from mattebox.models import Models
from mattebox.samples import photo_file

_T = TypeVar("_T")
pytestmark = [pytest.mark.process, pytest.mark.model]


def test_whatever_is_done_is_seen(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere").resolve() / "file"
    watched.run(
        "-c",
        "import contextlib, pathlib, socket, sys, urllib.request\n"
        "with contextlib.suppress(OSError):\n"
        "    urllib.request.urlopen('http://one.invalid/', timeout=9)\n"
        "with contextlib.suppress(OSError):\n"
        "    socket.getaddrinfo('two.invalid', 80)\n"
        "with socket.socket(type=socket.SOCK_DGRAM) as sent, contextlib.suppress(OSError):\n"
        "    sent.sendto(b'', ('192.0.2.3', 9))\n"
        "pathlib.Path.home().joinpath('id').touch()\n"
        "pathlib.Path(sys.argv[1]).touch()",
        str(elsewhere),
    )
    contacted = watched.contacted()
    assert {"GET http://one.invalid/ HTTP/1.1", "two.invalid", "192.0.2.3"} <= contacted
    assert ("192.0.2.3 port 9" in contacted) == bool(tracer())
    assert watched.written() == {str(elsewhere), str(watched.home / "id")}


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_library_contacts_nobody(device: str, watched: Watched) -> None:
    watched.environment["MATTEBOX_MODELS_DEVICE"] = device
    watched.run(
        "-c",
        "import mattebox, mattebox.samples\n"
        "photo = mattebox.samples.make_photo()\n"
        "assert mattebox.remove_background(photo).found\n"
        "assert mattebox.replace_background(photo, prompt='a plain white studio').found",
    )
    assert watched.contacted() == set()
    assert watched.written() == set()


def test_onnx_runtime_contacts_nobody(watched: Watched) -> None:
    """It is what computes where OpenVINO is not installed."""
    file = Models().directory / "u2netp.onnx"
    watched.run(
        "-c",
        "import pathlib, sys\n"
        "from mattebox.models import onnx_runtime\n"
        "onnx_runtime.open_onnxruntime(pathlib.Path(sys.argv[1]), device='cpu', threads=1)",
        str(file),
    )
    assert watched.contacted() == set()
    assert watched.written() == set()


def test_the_command_line_contacts_nobody(watched: Watched) -> None:
    (watched.home.parent / "photo.jpg").write_bytes(photo_file())
    photo, result = "../photo.jpg", watched.home.parent / "result.png"
    watched.run("-m", "mattebox", "remove", photo, "-o", str(result))
    assert codec.decode(result.read_bytes(), codec.OWN_FILES).alpha is not None
    watched.run("-m", "mattebox", "replace", photo, "-o", "../replaced.png", "--prompt", "a plain white studio")
    watched.run("-m", "mattebox", "models", "list")
    watched.run("-m", "mattebox", "--help")
    assert watched.contacted() == set()
    assert watched.written() == set()


def test_the_server_contacts_nobody(watched: Watched) -> None:
    server = watched.start("-m", "mattebox", "serve", "--port", "0")
    try:
        address = wait_for(lambda: re.search(r"http://[\w.]+:\d+", watched.said), server, watched)[0]
        picture = {"image": base64.b64encode(photo_file()).decode()}
        wait_for(lambda: ask(f"{address}/ready"), server, watched)
        assert ask(f"{address}/api/v1/remove", picture)[:4] == b"\x89PNG"
        assert not re.search(rb"(src|href)=.(https?:)?//", ask(f"{address}/docs"))
        task = json.loads(ask(f"{address}/api/v1/tasks", picture))["id"]
        found = wait_for(
            lambda: re.search(rb'"status":"(succeeded|failed)"', ask(f"{address}/api/v1/tasks/{task}")), server, watched
        )
        assert found[1] == b"succeeded"
        server.terminate()
        assert server.wait(PATIENCE) in (0, -signal.SIGTERM), watched.said
    finally:
        server.kill()
        server.wait()
    assert watched.contacted() == set()
    assert watched.written() == set()


def ask(url: str, body: object = None) -> bytes:
    """The answer of the server; empty where it is not ready."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PATIENCE) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        if error.code != 503:
            raise
        return b""


def wait_for(look: Callable[[], _T | None], server: subprocess.Popen[str], watched: Watched) -> _T:
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert server.poll() is None, watched.said
        assert time.monotonic() < deadline, watched.said
        time.sleep(0.05)
    return found

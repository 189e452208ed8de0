"""What a machine and its neighbours do wrong.

Full and read-only disks, stores that are away or slow, a clock that is set back, idle connections, no DNS, a dead
receiver of webhooks. Real processes, the real (small) network `u2netp`, real PostgreSQL and S3; part of
`make durability`. Disks and DNS are a mount namespace of the server's own (Linux); the clock is libfaketime's (Debian's
package `faketime`).
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import pytest
from tests.durability.nodes import Node, ask
from tests.servers import S3

from mattebox import samples

pytestmark = [pytest.mark.durability, pytest.mark.model, pytest.mark.timeout(600)]

AWAY_SECONDS = 30.0
SETTINGS = {"MATTEBOX_MODEL": "u2netp", "MATTEBOX_SERVICE_TIMEOUT": "240"}  # the machine may be busy
LOOPBACK = {"MATTEBOX_FETCH_ALLOW_NETWORKS": "127.0.0.0/8"}
PHOTO = base64.b64encode(samples.photo_file()).decode()
Answer: TypeAlias = tuple[int, dict[str, Any]]


def post(node: Node, path: str, body: object) -> Answer:
    """The status and the body of an answer."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{node.address}{path}", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=300) as response:
            return response.status, {} if response.headers["content-type"].startswith("image/") else json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def get(node: Node, path: str) -> int:
    """The status of an answer."""
    try:
        with urllib.request.urlopen(f"{node.address}{path}", timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def remove(node: Node) -> Answer:
    return post(node, "/api/v1/remove", {"image": PHOTO})


def submit(node: Node, tasks: int, **more: object) -> Answer:
    return post(node, "/api/v1/tasks", {"edits": [{"image": PHOTO}] * tasks, **more})


def counts(node: Node, batch: str) -> dict[str, int]:
    found: dict[str, int] = ask(f"{node.address}/api/v1/batches/{batch}")["counts"]
    return found


def wait_for(node: Node, batch: str, succeeded: int, seconds: float = 180) -> None:
    """Until so many tasks of a batch have succeeded; none of them may fail."""
    until = time.monotonic() + seconds
    while (found := counts(node, batch))["succeeded"] < succeeded:
        assert found["failed"] == 0
        assert time.monotonic() < until, (found, node.log[-2000:])
        time.sleep(0.2)


@contextmanager
def serving(folder: Path, environment: dict[str, str], **more: Any) -> Iterator[Node]:
    """A node that calls nothing a defect of its own in the end."""
    node = Node("node", folder, SETTINGS | environment, **more)
    try:
        until = time.monotonic() + 60
        while get(node, "/ready") != 200:
            assert time.monotonic() < until, node.log
            time.sleep(0.1)
        yield node
    finally:
        node.stop()
    lines = [json.loads(line) for line in node.log.splitlines() if line.startswith("{")]
    assert [line for line in lines if "exception" in line and line["logger"].startswith("mattebox")] == []


# --- disks ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Where a small disk of the server's own will be."""
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


def mounted(disk: Path, options: str) -> list[str]:
    """What runs a program with a disk in memory at that folder, which it alone sees."""
    script = f'mount -t tmpfs -o {options} none "{disk}" && exec "$@"'
    return ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh"]


def seen_by(node: Node, path: Path) -> Path:
    """A path as the node's process sees it."""
    return Path(f"/proc/{node.process}/root{path}")


def fill(folder: Path) -> Path:
    """Leave no byte on a disk."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return filler


def test_a_full_disk_refuses_what_needs_it_and_recovers(tmp_path: Path, disk: Path) -> None:
    environment = {"MATTEBOX_DATA_DIR": str(disk)}
    with serving(tmp_path, environment, wrapper=mounted(disk, "size=32m")) as node:
        status, first = submit(node, 4)
        assert status == 202
        filler = fill(seen_by(node, disk))
        status, body = submit(node, 4)
        assert status == 503, body
        assert "detail" in body
        assert remove(node)[0] == 200  # which needs no disk
        assert get(node, "/live") == 200
        time.sleep(5)
        filler.unlink()
        wait_for(node, first["batch"], 4)
        status, second = submit(node, 4)
        assert status == 202
        wait_for(node, second["batch"], 4)
        half_written = [each for each in seen_by(node, disk).rglob("*") if each.name.startswith((".tmp", "tmp"))]
        assert half_written == []


def test_a_storage_that_turns_read_only_refuses_what_needs_it_and_recovers(tmp_path: Path, disk: Path) -> None:
    def remount(how: str) -> None:
        enter = ["nsenter", "--target", str(node.process), "--user", "--mount", "--preserve-credentials"]
        subprocess.run([*enter, "mount", "-o", f"remount,{how}", str(disk)], check=True)

    environment = {"MATTEBOX_STORAGE_URL": disk.as_uri()}
    with serving(tmp_path, environment, wrapper=mounted(disk, "size=64m")) as node:
        remount("ro")
        status, body = submit(node, 2)
        assert status == 503, body
        assert remove(node)[0] == 200
        remount("rw")
        status, made = submit(node, 2)
        assert status == 202
        wait_for(node, made["batch"], 2)


def test_a_server_says_that_its_folder_is_read_only(tmp_path: Path, disk: Path) -> None:
    command = [*mounted(disk, "size=4m,ro"), sys.executable, "-m", "mattebox", "serve", "--port", "0"]
    environment = os.environ | SETTINGS | {"MATTEBOX_DATA_DIR": str(disk)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "The storage's folder cannot be made." in ended.stderr


# --- stores --------------------------------------------------------------------------------------------------------

Fault: TypeAlias = Literal["gone", "silent", "slow"]


class Between:
    """Stands between a server and a store, and passes bytes on, as long as there is no fault.

    Args:
        listener: where the server connects.
        target: where the store is: a socket's path, or a host and a port.
    """

    def __init__(self, listener: socket.socket, target: str | tuple[str, int]) -> None:
        self.fault: Fault | None = None
        self._listener = listener
        self._target = target
        self._open: set[socket.socket] = set()
        listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()

    def fail(self, fault: Fault | None) -> None:
        """Begin a fault, or end it; connections end with it, except where the store is only slow."""
        self.fault = fault
        if fault != "slow":
            for each in list(self._open):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.fail("gone")

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        family = socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET
        with client, socket.socket(family) as store, suppress(OSError):
            if self.fault == "gone":
                return
            store.connect(self._target)
            self._open |= {client, store}
            back = threading.Thread(target=self._pass_on, args=(store, client), daemon=True)
            back.start()
            self._pass_on(client, store)
            back.join()
            self._open -= {client, store}

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                while self.fault == "silent":
                    time.sleep(0.05)
                if self.fault == "slow":
                    time.sleep(0.2)
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def away(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_database: str, s3: S3, s3_url: str
) -> Iterator[tuple[Between, dict[str, str]]]:
    """What stands before the database or the storage, and the settings of a server behind it."""
    environment = {"MATTEBOX_DATABASE_URL": postgres_database, "MATTEBOX_STORAGE_URL": s3_url}
    with ExitStack() as ending:
        if request.param == "database":
            folder = postgres_database.rpartition("host=")[2]
            (tmp_path / "socket").mkdir()
            listener = ending.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(tmp_path / "socket" / ".s.PGSQL.5432"))
            between = Between(listener, f"{folder}/.s.PGSQL.5432")
            environment["MATTEBOX_DATABASE_URL"] = postgres_database.replace(folder, str(tmp_path / "socket"))
        else:
            listener = ending.enter_context(socket.create_server(("127.0.0.1", 0)))
            store = urlsplit(s3.endpoint)
            between = Between(listener, (str(store.hostname), int(store.port or 80)))
            environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
        ending.callback(between.close)
        yield between, environment


@pytest.mark.parametrize("fault", ["gone", "silent", "slow"])
@pytest.mark.parametrize("away", ["database", "storage"], indirect=True)
def test_a_store_that_is_away_for_half_a_minute_costs_no_task(
    away: tuple[Between, dict[str, str]], fault: Fault, tmp_path: Path
) -> None:
    between, environment = away
    with serving(tmp_path, environment) as node:
        status, made = submit(node, 12)
        assert status == 202
        wait_for(node, made["batch"], 1)
        between.fail(fault)
        until = time.monotonic() + AWAY_SECONDS
        said = set()
        while time.monotonic() < until:
            assert get(node, "/live") == 200
            assert remove(node)[0] == 200  # no row is written for it, and no file
            said.add(get(node, "/ready"))
            said.add(submit(node, 1)[0] if fault != "slow" else 503)
            time.sleep(1)
        assert 503 in said
        between.fail(None)
        wait_for(node, made["batch"], 12)
        status, after = submit(node, 2)
        assert status == 202
        wait_for(node, after["batch"], 2)
        assert get(node, "/ready") == 200


# --- time, connections and names -----------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_costs_nothing(tmp_path: Path) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    assert library is not None, "libfaketime is missing. On Debian: apt-get install faketime"
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with serving(tmp_path, environment) as node:
        _, made = submit(node, 12)
        wait_for(node, made["batch"], 1)
        clock.write_text("-7200")
        wait_for(node, made["batch"], 12)
        _, after = submit(node, 2)
        wait_for(node, after["batch"], 2)
        assert remove(node)[0] == 200
        assert get(node, "/ready") == 200
        for batch in (made, after):
            for task in batch["tasks"]:
                address = ask(f"{node.address}/api/v1/tasks/{task['id']}")["result"]["url"]
                with urllib.request.urlopen(address) as response:
                    assert response.read(4) == b"\x89PNG"


def test_a_thousand_idle_connections_keep_nobody_waiting(tmp_path: Path) -> None:
    with serving(tmp_path, {}) as node, ExitStack() as idle:
        port = int(node.address.rpartition(":")[2])
        connections = [idle.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(1000)]
        assert remove(node)[0] == 200
        assert get(node, "/live") == 200
        for each in connections:  # until the server has given each of them up
            each.settimeout(120)
            with suppress(ConnectionError):
                assert each.recv(1000)[:12] in {b"", b"HTTP/1.1 408"}


@pytest.mark.parametrize("nameserver", ["127.0.0.1", "192.0.2.1"], ids=["gone", "silent"])
def test_without_dns_an_address_is_refused_and_nobody_else_waits(tmp_path: Path, nameserver: str) -> None:
    (tmp_path / "resolv.conf").write_text(f"nameserver {nameserver}\n")
    script = f'mount --bind "{tmp_path}/resolv.conf" "$(realpath /etc/resolv.conf)" && exec "$@"'
    wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh"]
    with serving(tmp_path, {"MATTEBOX_FETCH_TIMEOUT": "8"}, wrapper=wrapper) as node:
        answers: list[Answer] = []

        def fetch() -> None:
            answers.append(post(node, "/api/v1/remove", {"image": "https://pictures.example.org/1.jpg"}))

        asking = [threading.Thread(target=fetch) for _ in range(8)]
        for each in asking:
            each.start()
        assert remove(node)[0] == 200
        for each in asking:
            each.join()
        assert {status for status, _ in answers} <= {400, 422, 502, 504}, answers
        assert all("detail" in body for _, body in answers)


# --- webhooks ------------------------------------------------------------------------------------------------------


def test_a_receiver_that_was_dead_for_an_hour_is_told(tmp_path: Path) -> None:
    """An hour in which each second is a hundredth: the pauses between the tries are so much shorter too."""
    told: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["data"]["id"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving(tmp_path, LOOPBACK | {"MATTEBOX_TASKS_WEBHOOK_PAUSE": "0.05"}) as node:
        status, made = submit(node, 3, webhook=f"http://127.0.0.1:{port}/")
        assert status == 202
        wait_for(node, made["batch"], 3)
        time.sleep(36)
        receiver = ThreadingHTTPServer(("127.0.0.1", port), Receiver)
        thread = threading.Thread(target=receiver.serve_forever)
        thread.start()
        try:
            until = time.monotonic() + 120
            while len(told) < 3:
                assert time.monotonic() < until, node.log
                time.sleep(0.2)
            time.sleep(2)
            assert sorted(told) == sorted(task["id"] for task in made["tasks"])
        finally:
            receiver.shutdown()
            receiver.server_close()
            thread.join()


@pytest.fixture(autouse=True)
def _tools() -> None:
    missing = [name for name in ("unshare", "nsenter", "mount") if shutil.which(name) is None]
    assert not missing, f"{', '.join(missing)}: not on the PATH"

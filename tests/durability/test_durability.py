"""Two hundred tasks, and servers that are killed in the middle of them. Nothing may be lost, nothing told in vain.

The real thing: real processes, the real (small) network `u2netp`, real PostgreSQL and S3. `make durability` runs it; it
takes minutes.
"""

from __future__ import annotations

import base64
import collections
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Postgres

from mattebox import codec
from mattebox.edit import Format, Output
from mattebox.image import Image
from mattebox.testing import make_scene

pytestmark = [pytest.mark.durability, pytest.mark.model, pytest.mark.timeout(1800)]

TASKS = 200
KILLS = 10

ANNOUNCED: collections.Counter[str] = collections.Counter()


class Receiver(BaseHTTPRequestHandler):
    """Takes webhooks in and counts them."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        ANNOUNCED[body["data"]["id"]] += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Node:
    """One `mattebox serve`, which can be killed and started again."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self._environment = {**environment, "MATTEBOX_NODE": name, "MATTEBOX_DATA_DIR": str(self.folder)}
        self.address = ""
        self.start()

    def start(self) -> None:
        log = self.folder / f"log-{time.time()}"
        with log.open("w") as written:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mattebox", "serve", "--port", "0"],
                env=os.environ | self._environment,
                stdout=written,
                stderr=subprocess.STDOUT,
            )
        while not (found := re.search(r"http://[\d.:]+\d", log.read_text())):
            assert self._process.poll() is None, log.read_text()
            time.sleep(0.05)
        self.address = found[0]

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def ask(address: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(response.read())


@pytest.fixture
def hook() -> Iterator[str]:
    """Where a receiver of webhooks listens."""
    ANNOUNCED.clear()
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{receiver.server_port}/"
    receiver.shutdown()
    receiver.server_close()
    thread.join()


def survive(nodes: list[Node], hook: str, disaster: Callable[[int], None]) -> None:
    """Queue the tasks, let disasters happen, and look at what came of it."""
    photo = codec.encode(Image(rgb=make_scene(width=640, height=480, seed=0).photo), Output(format=Format.JPEG))
    edit = {"image": base64.b64encode(photo).decode()}
    begin = time.perf_counter()
    made = ask(f"{nodes[0].address}/api/v1/tasks", {"edits": [edit] * TASKS, "webhook": hook})
    for number in range(KILLS):
        time.sleep(random.uniform(0.5, 6))
        disaster(number)
    while not (summary := ask(f"{nodes[0].address}/api/v1/batches/{made['batch']}"))["finished"]:
        time.sleep(1)
    took = time.perf_counter() - begin
    ids = {task["id"] for task in made["tasks"]}
    until = time.monotonic() + 60
    while len(ANNOUNCED) < len(ids) and time.monotonic() < until:
        time.sleep(1)
    time.sleep(5)  # for ones too many
    told = collections.Counter(ANNOUNCED[each] for each in ids)
    print(f"\n{summary}\n{TASKS} tasks, {KILLS} kills, ended after {took:.0f} s; webhooks a task: {dict(told)}")
    assert summary["counts"]["succeeded"] == TASKS
    assert told[0] == 0, "a task was not told"
    # A kill between the receiver's answer and writing it down sends that webhook again, under the same id.
    assert told[1] >= TASKS - KILLS
    assert set(told) <= {1, 2}


BASE = {"MATTEBOX_MODEL": "u2netp", "MATTEBOX_FETCH_ALLOW_NETWORKS": "127.0.0.0/8"}


def test_one_node_on_sqlite_and_files(tmp_path: Path, hook: str) -> None:
    node = Node("node", tmp_path, BASE)

    def kill(_: int) -> None:
        node.kill()
        node.start()

    try:
        survive([node], hook, kill)
    finally:
        node.stop()


def test_two_nodes_on_postgresql_and_s3(
    tmp_path: Path, hook: str, postgres: Postgres, postgres_database: str, s3_url: str
) -> None:
    stores = {"MATTEBOX_DATABASE_URL": postgres_database, "MATTEBOX_STORAGE_URL": s3_url}
    nodes = [Node(name, tmp_path, BASE | stores) for name in ("one", "two")]

    def kill(number: int) -> None:
        if number == KILLS // 2:  # the database itself, for eight seconds
            postgres.kill()
            time.sleep(8)
            postgres.start()
            return
        victim = random.choice(nodes)
        victim.kill()
        victim.start()

    try:
        survive(nodes, hook, kill)
    finally:
        for node in nodes:
            node.stop()

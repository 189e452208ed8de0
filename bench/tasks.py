"""How fast tasks are taken in, and how fast their state is told, through HTTP, while the workers are busy.

    python bench/tasks.py [--tasks N]

Tasks a second from four clients. One server on SQLite and files, then one on what `MATTEBOX_BENCH_DATABASE` and
`MATTEBOX_BENCH_STORAGE` name, each with the small network `u2netp`.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mattebox import codec
from mattebox.edit import Format, Output
from mattebox.image import Image
from mattebox.testing import make_scene

CLIENTS = 4


@contextlib.contextmanager
def server(environment: dict[str, str]) -> Iterator[str]:
    """The host and port of a running `mattebox serve`."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("w") as written:
            process = subprocess.Popen(
                [sys.executable, "-m", "mattebox", "serve", "--port", "0"],
                env=os.environ | environment | {"MATTEBOX_DATA_DIR": folder, "MATTEBOX_MODEL": "u2netp"},
                stdout=written,
                stderr=subprocess.STDOUT,
            )
        try:
            while not (found := re.search(r"127\.0\.0\.1:\d+", log.read_text())):
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            yield found[0]
        finally:
            process.terminate()
            process.wait()


class Client:
    """One connection, kept open."""

    def __init__(self, host: str) -> None:
        self._connection = http.client.HTTPConnection(host, timeout=120)

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        text = None if body is None else json.dumps(body)
        self._connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
        assert answer.status < 300, found
        return found


def measure(host: str, tasks: int) -> str:
    """One row: tasks one a request from several clients, tasks in one batch, and their state while workers are busy."""
    photo = codec.encode(Image(rgb=make_scene(width=320, height=240, seed=0).photo), Output(format=Format.JPEG))
    upload = {"image": base64.b64encode(photo).decode()}
    link = {"image_url": "http://192.0.2.1/photo.jpg"}  # an address for documentation: it fails when it is fetched
    clients = [Client(host) for _ in range(CLIENTS)]
    for client in clients:
        client.ask("POST", "/api/v1/tasks", upload)

    def queue(client: Client, edit: object) -> None:
        for _ in range(tasks // CLIENTS):
            client.ask("POST", "/api/v1/tasks", edit)

    rates = []
    for edit in (link, upload):
        begin = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as threads:
            list(threads.map(queue, clients, [edit] * CLIENTS))
        rates.append(tasks / (time.perf_counter() - begin))
    begin = time.perf_counter()
    batch = clients[0].ask("POST", "/api/v1/tasks", {"edits": [link] * tasks})
    rates.append(tasks / (time.perf_counter() - begin))
    waits = []
    for task in batch["tasks"][-300:]:
        begin = time.perf_counter()
        state = clients[0].ask("GET", f"/api/v1/tasks/{task['id']}")
        waits.append(1000 * (time.perf_counter() - begin))
        assert state["status"] == "queued", state  # the workers are busy with those before it
        time.sleep(0.02)
    middle, most = statistics.median(waits), statistics.quantiles(waits, n=20)[-1]
    return " | ".join([*(f"{rate:.0f}" for rate in rates), f"{middle:.1f}", f"{most:.1f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    tasks = parser.parse_args().tasks
    print("| | addresses, one a request | uploads, one a request | addresses, one batch | state, ms, median | 95 % |")
    print("| --- | --- | --- | --- | --- | --- |")
    with server({}) as host:
        print(f"| SQLite, files | {measure(host, tasks)} |", flush=True)
    database, storage = os.environ.get("MATTEBOX_BENCH_DATABASE"), os.environ.get("MATTEBOX_BENCH_STORAGE")
    if database and storage:
        with server({"MATTEBOX_DATABASE_URL": database, "MATTEBOX_STORAGE_URL": storage}) as host:
            print(f"| PostgreSQL, S3 | {measure(host, tasks)} |")


if __name__ == "__main__":
    main()

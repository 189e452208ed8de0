"""Two hundred tasks, and a server that is killed ten times in the middle of them. Nothing may be lost or told twice.

    python bench/durability.py [--nodes N] [--tasks N] [--kills N] [--database URL --storage URL]

By default one node on SQLite and files. With a database and a storage address it runs on those, with as many nodes as
asked for; the store's keys come from the environment as usual. The small network `u2netp` keeps it short.
"""

from __future__ import annotations

import argparse
import base64
import collections
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mattebox import codec
from mattebox.edit import Format, Output
from mattebox.image import Image
from mattebox.testing import make_scene

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
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        return json.loads(response.read())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--database", default="")
    parser.add_argument("--storage", default="")
    told = parser.parse_args()
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    hook = f"http://127.0.0.1:{receiver.server_port}/"
    environment = {
        "MATTEBOX_MODEL": "u2netp",
        "MATTEBOX_FETCH_ALLOW_NETWORKS": "127.0.0.0/8",
        "MATTEBOX_DATABASE_URL": told.database,
        "MATTEBOX_STORAGE_URL": told.storage,
    }
    photo = codec.encode(Image(rgb=make_scene(width=640, height=480, seed=0).photo), Output(format=Format.JPEG))
    edit = {"image": base64.b64encode(photo).decode()}
    with tempfile.TemporaryDirectory() as folder:
        nodes = [Node(f"node-{i}", Path(folder), environment) for i in range(told.nodes)]
        begin = time.perf_counter()
        made = ask(f"{nodes[0].address}/api/v1/tasks", {"edits": [edit] * told.tasks, "webhook": hook})
        queued = time.perf_counter() - begin
        ids = {task["id"] for task in made["tasks"]}
        for _ in range(told.kills):
            time.sleep(random.uniform(0.5, 6))  # noqa: S311 - not for secrets
            victim = random.choice(nodes)  # noqa: S311
            victim.kill()
            victim.start()
        while not (summary := ask(f"{nodes[0].address}/api/v1/batches/{made['batch']}"))["finished"]:
            time.sleep(1)
        time.sleep(10)  # for the last webhooks, and for ones too many
        took = time.perf_counter() - begin
        for node in nodes:
            node.stop()
    print(json.dumps(summary))
    print(
        f"{told.tasks} tasks queued in {queued:.1f} s; {told.kills} kills; all ended {took:.0f} s later; "
        f"webhooks a task: {dict(collections.Counter(ANNOUNCED[each] for each in ids))}"
    )


if __name__ == "__main__":
    main()

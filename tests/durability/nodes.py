"""A server as a process of its own, and questions to it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Node:
    """One `mattebox serve`, which can be killed and started again.

    Args:
        name: its name among the nodes, and of the folder of its log.
        folder: where that folder is made.
        environment: its settings; they go before the usual ones.
        wrapper: a command that runs the server in surroundings of its own.
    """

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str], *, wrapper: Sequence[str] = ()) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        # What is given comes last: a test may keep the data elsewhere than the log.
        self._environment = {"MATTEBOX_NODE": name, "MATTEBOX_DATA_DIR": str(self.folder), **environment}
        self._wrapper = wrapper
        self.address = ""
        self.start()

    def start(self) -> None:
        log = self.folder / f"log-{time.time()}"
        with log.open("w") as written:
            self._process = subprocess.Popen(
                [*self._wrapper, sys.executable, "-m", "mattebox", "serve", "--port", "0"],
                env=os.environ | self._environment,
                stdout=written,
                stderr=subprocess.STDOUT,
            )
        while not (found := re.search(r"http://[\d.:]+\d", log.read_text())):
            assert self._process.poll() is None, log.read_text()
            time.sleep(0.05)
        self.address = found[0]

    @property
    def process(self) -> int:
        """The id of its process."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has written since it was started last."""
        return max(self.folder.glob("log-*")).read_text()

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

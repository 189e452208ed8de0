"""A server process that strangers send things to: what it answers, and what that costs it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path

from tests.hostile.doors import Sent
from tests.hostile.launcher import ALLOWED

START_SECONDS = 120.0
ANSWER_SECONDS = 120.0
"""Patience on a busy machine."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; `status` is 0 where the connection was closed without one."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> object:
        found: object = json.loads(self.body)
        return found


class Server:
    """`mattebox serve` with the small network `u2netp`."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "log"
        given = {name: value for name, value in os.environ.items() if not name.startswith("MATTEBOX_")}
        given |= {
            "MATTEBOX_DATA_DIR": str(folder / "data"),
            "MATTEBOX_MODEL": "u2netp",
            "MATTEBOX_MODELS_DOWNLOAD": "false",
            "MATTEBOX_FETCH_ALLOW_NETWORKS": f"{ALLOWED}/32",
            "MATTEBOX_FETCH_TIMEOUT": "2",
            "MATTEBOX_UPLOADS_IDLE": "1",
            "MATTEBOX_TASKS_WEBHOOK_RETRIES": "0",
        }
        root = Path(__file__).parents[2]
        given["PYTHONPATH"] = str(root)
        with self._log.open("w") as written:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.hostile.launcher", "serve", "--port", "0"],
                env=given,
                cwd=root,
                stdout=written,
                stderr=subprocess.STDOUT,
            )
        self.port = 0
        self.most_bytes = 0

    def wait(self) -> None:
        """Until it can work on pictures."""
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(r"http://[\d.]+:(\d+)", self.said)):
            self._look_after(deadline)
        self.port = int(found[1])
        while self.exchange(Sent("/ready", start=b"GET /ready HTTP/1.1")).status != 200:
            self._look_after(deadline)

    def _look_after(self, deadline: float) -> None:
        assert self.process.poll() is None, self.said
        assert time.monotonic() < deadline, self.said
        time.sleep(0.05)

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def exchange(self, sent: Sent) -> Answer:
        """Send a request as it is, with the headers that it lacks, and read the answer."""
        named = {name.lower() for name, _ in sent.headers}
        headers = [*sent.headers, ("Connection", "close")]
        if "host" not in named:
            headers.append(("Host", f"127.0.0.1:{self.port}"))
        if not named & {"content-length", "transfer-encoding"} and not sent.start.startswith(b"GET"):
            headers.append(("Content-Length", str(len(sent.body))))
        start = sent.start or b"POST " + sent.path.encode() + b" HTTP/1.1"
        head = b"\r\n".join([start, *(f"{name}: {value}".encode("latin-1") for name, value in headers), b"", b""])
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_SECONDS)) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may answer before all is sent
                connection.sendall(head + sent.body)
            return _read(connection, "HEAD" if start.startswith(b"HEAD") else "POST")

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak_bytes(self) -> int:
        """The most memory that the process has had since `forget_peak`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    def forget_peak(self) -> None:
        """Begin to measure `peak_bytes` anew, so that each case answers for itself."""
        self.most_bytes = max(self.most_bytes, self.peak_bytes)
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


def _read(connection: socket.socket, method: str) -> Answer:
    response = HTTPResponse(connection, method=method)
    try:
        response.begin()
    except (ConnectionError, ValueError, OSError):
        if isinstance(sys.exception(), TimeoutError):
            raise
        return Answer(0, HTTPMessage(), b"")
    with closing(response):
        body = b""
        with contextlib.suppress(ConnectionError):  # a server that has not read all that was sent may cut its answer
            body = response.read()
        return Answer(response.status, response.headers, body)

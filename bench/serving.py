"""Two servers under the same load: pictures a second, how long each client waited, and what memory it took."""

from __future__ import annotations

import contextlib
import http.client
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from contestants import BUILD, Contestant, Stopped, contestants, watch
from measure import cpu_seconds, peak_bytes

CLIENTS = (1, 4, 16, 64)
SECONDS = 20.0
"""How long clients send photos, at most; those that have begun are waited for."""
LIMIT = 150.0
"""How long one load may last."""
_MULTIPART = "bench-boundary"


@dataclass(frozen=True)
class Service:
    """A running server: how it is started, and how a photo is sent to it."""

    contestant: Contestant
    command: Callable[[int], list[str | Path]]
    path: str
    ready: str
    type: str
    body: Callable[[bytes], bytes]


def services() -> list[Service]:
    """Mattebox's server and rembg's own, as they are unless told otherwise, on one port each."""
    known = {each.name: each for each in contestants()}
    ours, peer = known["mattebox"], known["rembg"]
    return [
        Service(
            contestant=ours,
            command=lambda port: [sys.executable, "-m", "mattebox", "serve", "--port", str(port)],
            path="/api/v1/remove",
            ready="/ready",
            type="image/jpeg",
            body=lambda photo: photo,
        ),
        Service(
            contestant=peer,
            command=lambda port: [peer.python.with_name("rembg"), "s", "--no-ui", "-h", "127.0.0.1", "-p", str(port)],
            path="/api/remove",
            ready="/api",
            type=f"multipart/form-data; boundary={_MULTIPART}",
            body=_form,
        ),
    ]


def _form(photo: bytes) -> bytes:
    head = (
        f'--{_MULTIPART}\r\nContent-Disposition: form-data; name="model"\r\n\r\nisnet-general-use\r\n'
        f'--{_MULTIPART}\r\nContent-Disposition: form-data; name="file"; filename="photo.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + photo + f"\r\n--{_MULTIPART}--\r\n".encode()


@contextlib.contextmanager
def running(service: Service) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The server's process and port, once it has answered for a photo."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    log = BUILD / "logs" / f"serve-{service.contestant.name}.log"
    with tempfile.TemporaryDirectory() as data, log.open("w") as written:
        process = subprocess.Popen(
            service.command(port),
            # The photo is the same each time: a kept matte would spare the network, which is what is compared.
            env=service.contestant.variables() | {"MATTEBOX_DATA_DIR": data, "MATTEBOX_MATTES_BYTES": "0"},
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        try:
            end = time.monotonic() + 120
            while _status(port, service.ready) != 200:
                if process.poll() is not None:
                    raise Stopped(f"it ended; see {log}")
                watch(process, end)
                time.sleep(0.2)
            yield process, port
        finally:
            process.kill()
            process.wait()


def load(service: Service, photo: bytes, clients: int) -> dict[str, float]:
    """One load on a fresh server. Clients keep sending; one that is told to come back does so when it is told.

    Raises:
        Stopped: the server ended, was too slow or took too much memory.
    """
    with running(service) as (process, port):
        body = service.body(photo)
        _ask(port, service, body)  # loads rembg's network
        waits: list[float] = []
        refused: list[float] = []
        cpu, begin = cpu_seconds(process.pid), time.monotonic()

        def client() -> None:
            while time.monotonic() < begin + SECONDS:
                start = time.monotonic()
                with contextlib.suppress(OSError, http.client.HTTPException):  # a server that was ended: see below
                    while after := _ask(port, service, body):
                        refused.append(after)
                        time.sleep(after)
                    waits.append(time.monotonic() - start)
                    continue
                return

        threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            try:
                watch(process, begin + LIMIT)
            except Stopped as reason:
                raise Stopped(f"{reason}, after {len(waits)} pictures") from None
            time.sleep(0.1)
        wall = time.monotonic() - begin
        if process.poll() is not None or not waits:
            raise Stopped("it ended")
        cuts = statistics.quantiles(waits, n=100, method="inclusive") if len(waits) > 1 else waits * 99
        return {
            "pictures": len(waits),
            "rate": len(waits) / wall,
            "p50": cuts[49],
            "p95": cuts[94],
            "p99": cuts[98],
            "refused": len(refused),
            "cpu": (cpu_seconds(process.pid) - cpu) / len(waits),
            "peak": peak_bytes(process.pid),
        }


def _ask(port: int, service: Service, body: bytes) -> float:
    """Send one photo. The seconds after which to come back, or 0 where the answer was a picture."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        connection.request("POST", service.path, body, {"content-type": service.type})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status in (429, 503):
            return max(0.1, float(answer.headers.get("retry-after", 1)))
        assert answer.status == 200, (answer.status, content[:300])
        assert content.startswith(b"\x89PNG"), content[:300]
        return 0.0
    finally:
        connection.close()


def _status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()

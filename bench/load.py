"""A server under more load than it can bear: who gets how many pictures, what the rest is told, and what it costs.

    python bench/load.py [--clients N] [--seconds S] [--model NAME]

A real server process with three keys. First as many clients as it has workers, which is as fast as it can be; then all
of them: four with each of two polite keys, who come back when Retry-After says, and the rest with a key that floods.
Photos have 0.1 to 24 megapixels, in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from mattebox import codec
from mattebox.edit import Format, Output
from mattebox.image import Image
from mattebox.testing import make_scene

MEGAPIXELS = (0.1, 0.5, 2, 6, 12, 24)
WORKERS = 2
POLITE = 4
FLOOD_SECONDS = 0.25
"""The pause of a client that floods, whatever it is told."""


@dataclass
class Tally:
    """What the clients of one key were told."""

    statuses: Counter[int] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    kept: int = 0
    """How often whoever came back when told so was taken on."""
    returned: int = 0


def photos() -> list[bytes]:
    scene = make_scene(width=1600, height=1200, seed=0).photo
    made = []
    for megapixels in MEGAPIXELS:
        factor = (megapixels * 1e6 / (1600 * 1200)) ** 0.5
        sized = cv2.resize(scene, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        made.append(codec.encode(Image(rgb=np.asarray(sized, np.uint8)), Output(format=Format.JPEG)))
    return made


@contextlib.contextmanager
def server(model: str) -> Iterator[tuple[str, int]]:
    """The host and port of a running `mattebox serve`, and its process."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        settings = {"MATTEBOX_DATA_DIR": folder, "MATTEBOX_MODEL": model, "MATTEBOX_KEYS": "one,two,flood"}
        # The photos are sent again and again: kept mattes would spare the network, which is what is measured.
        settings |= {"MATTEBOX_SERVICE_WORKERS": str(WORKERS), "MATTEBOX_MATTES_BYTES": "0"}
        with log.open("w") as written:
            process = subprocess.Popen(
                [sys.executable, "-m", "mattebox", "serve", "--port", "0"],
                env=os.environ | settings,
                stdout=written,
                stderr=subprocess.STDOUT,
            )
        try:
            while not (found := re.search(r"127\.0\.0\.1:\d+", log.read_text())):
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            while ask(found[0], "GET", "/ready")[0] != 200:
                time.sleep(0.2)
            yield found[0], process.pid
        finally:
            process.terminate()
            process.wait()


def ask(host: str, method: str, path: str, body: bytes | None = None, key: str = "") -> tuple[int, float]:
    """The status, and the seconds in Retry-After."""
    connection = http.client.HTTPConnection(host, timeout=120)
    try:
        connection.request(method, path, body, {"x-api-key": key, "content-type": "image/jpeg"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, float(answer.headers.get("retry-after", 0))
    finally:
        connection.close()


def client(host: str, key: str, pictures: Iterator[bytes], tally: Tally, end: float) -> None:
    returning = False
    photo = next(pictures)
    while time.monotonic() < end:
        begin = time.monotonic()
        status, after = ask(host, "POST", "/api/v1/remove", photo, key)
        tally.statuses[status] += 1
        tally.returned += returning
        tally.kept += returning and status == 200
        returning = status in (429, 503)
        if status == 200:
            tally.waits.append(time.monotonic() - begin)
        if not returning:
            photo = next(pictures)
        elif key == "flood":
            time.sleep(FLOOD_SECONDS)
        else:
            time.sleep(max(0.0, min(after, end - time.monotonic())))


def memory(process: int, name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) / 2**20


def load(host: str, clients: dict[str, int], seconds: float, made: list[bytes]) -> tuple[dict[str, Tally], list[float]]:
    """What each key was told, and how long /health took."""
    tallies = {key: Tally() for key in clients}
    health: list[float] = []
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(
            target=client, args=(host, key, itertools.cycle(made[n % 6 :] + made[: n % 6]), tallies[key], end)
        )
        for key, number in clients.items()
        for n in range(number)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        begin = time.monotonic()
        assert ask(host, "GET", "/health")[0] == 200
        health.append(time.monotonic() - begin)
        time.sleep(0.1)
    return tallies, health


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--model", default="auto")
    given = parser.parse_args()
    made = photos()
    with server(given.model) as (host, process):
        idle = memory(process, "VmRSS")
        print(
            "| load | key | clients | pictures | a minute | other answers | came back, taken on | median s | most s |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for name, clients in (
            ("knee", {"one": WORKERS}),
            ("overload", {"one": POLITE, "two": POLITE, "flood": given.clients - 2 * POLITE}),
        ):
            begin = time.monotonic()
            tallies, health = load(host, clients, given.seconds, made)
            minutes = (time.monotonic() - begin) / 60
            done = 0
            for key, tally in tallies.items():
                pictures = tally.statuses.pop(200, 0)
                done += pictures
                waits = tally.waits or [0.0]
                print(
                    f"| {name} | {key} | {clients[key]} | {pictures} | {pictures / minutes:.1f} "
                    f"| {json.dumps(dict(tally.statuses))} | {tally.kept} of {tally.returned} "
                    f"| {statistics.median(waits):.1f} | {max(waits):.1f} |",
                    flush=True,
                )
            p99 = statistics.quantiles(health, n=100)[-1]
            print(
                f"\n{name}: {done / minutes:.1f} pictures a minute; /health {1000 * statistics.median(health):.0f} ms, "
                f"99 % {1000 * p99:.0f} ms; memory {idle:.2f} GiB idle, {memory(process, 'VmHWM'):.2f} GiB at most\n",
                flush=True,
            )
        time.sleep(30)
        print(f"memory half a minute later: {memory(process, 'VmRSS'):.2f} GiB")


if __name__ == "__main__":
    main()

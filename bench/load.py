"""A server under more load than it can bear: who gets how many pictures, what the rest is told, and what it costs.

    python bench/load.py [--clients N] [--seconds S] [--model NAME] [--keep-mattes]

A real server process with three keys. First as many clients as it has workers, which is as fast as it can be; then all
of them: four with each of two polite keys, who come back when Retry-After says, and the rest with a key that floods.
Photos have 0.1 to 24 megapixels, in turn. The clients are a process of their own, so that their processor time can be
told from the server's. It ends with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

import measure
from mattebox import codec
from mattebox.edit import Format, Output
from mattebox.image import Alpha, Image
from mattebox.testing import make_scene

MEGAPIXELS = (0.1, 0.5, 2, 6, 12, 24)
WIDTH, HEIGHT = 1600, 1200
SCENES = 4
"""Photos of each size: with three keys more than the server keeps mattes of, where it keeps any."""
WORKERS = 2
POLITE = 4
FLOOD_SECONDS = 0.25
"""The pause of a client that floods, whatever it is told."""
KNEE_SECONDS = 120.0
SETTLE_SECONDS = 15.0
AFTER_SECONDS = 60.0
ALIKE = 0.01
"""How far a matte may be from that of the same photo at rest, as a mean: the order of sums differs between threads."""
FAIR = 0.01
"""How much less than a third of the work still is one: the last pictures end before or after the end."""
TRUE = 0.05
"""How far a matte may be from the true one, as a mean."""
REFUSED = (429, 503)
STATUS = re.compile(rb"^HTTP/1.1 (\d+)")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Photo:
    """A photo, and what the server makes of it at rest."""

    seed: int
    megapixels: float
    data: bytes
    result: bytes = b""
    seconds: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What the server has said."""

    status: int
    body: bytes
    retry_after: float
    """Seconds; 0 where it says none."""


@dataclass
class Tally:
    """What the clients of one key were told."""

    statuses: Counter[int] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    megapixels: float = 0.0
    work: float = 0.0
    """Seconds that its pictures take at rest."""
    in_time: float = 0.0
    """The same of those that were done while everybody was still asking."""
    wrong: list[str] = field(default_factory=list)
    """Answers that are neither a right picture nor an honest refusal."""
    kept: int = 0
    """How often whoever came back when told so was taken on."""
    returned: int = 0


@dataclass(frozen=True)
class Sent:
    """What the clients of each key were told, the seconds that it took, and those that they used of the processor."""

    tallies: dict[str, Tally]
    seconds: float
    cpu: float


def photos() -> list[Photo]:
    """All photos, of each scene in all sizes."""
    made = []
    for seed in range(SCENES):
        scene = make_scene(width=WIDTH, height=HEIGHT, seed=seed).photo
        for megapixels in MEGAPIXELS:
            factor = (megapixels * 1e6 / (WIDTH * HEIGHT)) ** 0.5
            sized = cv2.resize(scene, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
            data = codec.encode(Image(rgb=np.asarray(sized, np.uint8)), Output(format=Format.JPEG))
            made.append(Photo(seed, megapixels, data))
    return made


def matte(picture: bytes) -> Alpha:
    """The alpha of a picture, of at most 1600 pixels on a side."""
    alpha = codec.decode(picture).alpha
    assert alpha is not None, "the picture has no alpha"
    factor = min(1.0, WIDTH / max(alpha.shape))
    return np.asarray(cv2.resize(alpha, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.float32)


def difference(one: Alpha, other: Alpha) -> float:
    """The mean difference of two mattes of one shape; 1 where they have not."""
    return float(np.abs(one - other).mean()) if one.shape == other.shape else 1.0


@contextlib.contextmanager
def server(model: str, *, keep_mattes: bool) -> Iterator[tuple[str, int]]:
    """The host and port of a running `mattebox serve`, and its process."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        settings = {"MATTEBOX_DATA_DIR": folder, "MATTEBOX_MODEL": model, "MATTEBOX_KEYS": "one,two,flood"}
        settings |= {"MATTEBOX_SERVICE_WORKERS": str(WORKERS)}
        if not keep_mattes:  # the photos are sent again and again: that would spare the network, which is measured
            settings |= {"MATTEBOX_MATTES_BYTES": "0"}
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
            while ask(found[0], "GET", "/ready").status != 200:
                time.sleep(0.2)
            yield found[0], process.pid
        finally:
            process.terminate()
            process.wait()


def ask(host: str, method: str, path: str, body: bytes = b"", key: str = "") -> Answer:
    """One request on a connection of its own; by hand, because the clients share the processors with the server."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-API-Key: {key}\r\n"
    head += f"Content-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), timeout=120) as connection:
        connection.sendall(head.encode())
        connection.sendall(body)
        received = bytearray()
        while part := connection.recv(2**18):
            received += part
    told, end, content = bytes(received).partition(b"\r\n\r\n")
    status, length, retry_after = (re.search(each, told) for each in (STATUS, LENGTH, RETRY_AFTER))
    if not end or status is None or length is None or len(content) != int(length[1]):
        raise ConnectionError(f"half an answer: {told!r}")
    return Answer(int(status[1]), content, 0.0 if retry_after is None else float(retry_after[1]))


def fault(photo: Photo, answer: Answer) -> str | None:
    """Why an answer is neither a right picture nor an honest refusal; None where it is one of them."""
    if answer.status in REFUSED:
        return None if answer.retry_after >= 1 else f"{answer.status} without Retry-After"
    if answer.status != 200:
        return f"{answer.status}: {answer.body[:200]!r}"
    if answer.body != photo.result and (off := difference(matte(answer.body), matte(photo.result))) > ALIKE:
        return f"a picture of {photo.megapixels} megapixels is {off:.3f} off"
    return None


def client(host: str, key: str, pictures: Iterator[Photo], tally: Tally, end: float) -> None:
    returning = False
    photo = next(pictures)
    while time.monotonic() < end:
        begin = time.monotonic()
        try:
            answer = ask(host, "POST", "/api/v1/remove", photo.data, key)
        except OSError as error:
            tally.wrong.append(f"no answer: {error!r}")
            continue
        seconds = time.monotonic() - begin
        tally.statuses[answer.status] += 1
        if (wrong := fault(photo, answer)) is not None:
            tally.wrong.append(wrong)
        tally.returned += returning
        tally.kept += returning and answer.status == 200
        returning = answer.status in REFUSED
        if answer.status == 200:
            tally.waits.append(seconds)
            tally.megapixels += photo.megapixels
            tally.work += photo.seconds
            tally.in_time += photo.seconds if time.monotonic() < end else 0.0
        if not returning:
            photo = next(pictures)
        elif key == "flood":
            time.sleep(FLOOD_SECONDS)
        else:
            time.sleep(max(0.0, min(answer.retry_after, end - time.monotonic())))


def send(host: str, clients: Mapping[str, int], seconds: float, made: Sequence[Photo]) -> Sent:
    """Be so many clients of each key for so long."""
    tallies = {key: Tally() for key in clients}
    begin, cpu = time.monotonic(), time.process_time()
    threads = []
    for key, number in clients.items():
        for n in range(number):
            first = n % len(made)
            pictures = itertools.cycle([*made[first:], *made[:first]])
            threads.append(threading.Thread(target=client, args=(host, key, pictures, tallies[key], begin + seconds)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Sent(tallies, time.monotonic() - begin, time.process_time() - cpu)


def probe(host: str, sending: Future[Sent]) -> list[float]:
    """How long /live takes meanwhile, in seconds."""
    live: list[float] = []
    while not sending.done():
        begin = time.monotonic()
        assert ask(host, "GET", "/live").status == 200
        live.append(time.monotonic() - begin)
        time.sleep(0.1)
    return live


@dataclass(frozen=True)
class Round:
    """One load: how many clients each key had, and what came of it."""

    name: str
    clients: Mapping[str, int]
    sent: Sent
    live: Sequence[float]
    cpu: float
    """Seconds that the server used of the processor."""
    loop: float
    """Those of them that its event loop did, which reads, refuses and answers."""

    @property
    def pictures(self) -> float:
        """A minute."""
        return sum(tally.statuses[200] for tally in self.sent.tallies.values()) / self.sent.seconds * 60

    @property
    def work(self) -> float:
        """Seconds that its pictures take at rest, a second."""
        return sum(tally.work for tally in self.sent.tallies.values()) / self.sent.seconds

    @property
    def p99(self) -> float:
        """Of /live, in milliseconds."""
        return 1000 * statistics.quantiles(self.live, n=100)[-1]

    def share(self, key: str) -> float:
        """The part of the work that was done for a key, while all of them asked."""
        return self.sent.tallies[key].in_time / (sum(tally.in_time for tally in self.sent.tallies.values()) or 1.0)

    def rows(self) -> Iterator[str]:
        minutes = self.sent.seconds / 60
        for key, tally in self.sent.tallies.items():
            done = tally.statuses[200]
            others = {status: number for status, number in tally.statuses.items() if status != 200}
            waits = tally.waits or [0.0]
            yield (
                f"| {self.name} | {key} | {self.clients[key]} | {done} | {done / minutes:.1f} "
                f"| {tally.megapixels / minutes:.0f} | {self.share(key):.0%} | {json.dumps(others)} "
                f"| {tally.kept} of {tally.returned} | {statistics.median(waits):.1f} | {max(waits):.1f} "
                f"| {len(tally.wrong)} |"
            )

    def __str__(self) -> str:
        seconds, live = self.sent.seconds, 1000 * statistics.median(self.live)
        return (
            f"{self.name}: {self.pictures:.1f} pictures a minute, {self.work:.3f} s of work at rest a second; "
            f"processor: server {self.cpu / seconds:.2f} s a second, {self.cpu / seconds / self.work:.2f} s a second "
            f"of work, its event loop {self.loop / seconds:.3f} s a second, clients "
            f"{self.sent.cpu / seconds:.3f} s a second; /live {live:.0f} ms, 99 % {self.p99:.0f} ms"
        )


def gibibytes(process: int, name: str = "VmRSS") -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) / 2**20


def at_rest(host: str, made: Sequence[Photo]) -> list[Photo]:
    """The photos with what the server makes of each, one at a time."""
    known = []
    for photo in made:
        begin = time.monotonic()
        answer = ask(host, "POST", "/api/v1/remove", photo.data, "one")
        assert answer.status == 200, answer
        known.append(replace(photo, result=answer.body, seconds=time.monotonic() - begin))
    return known


def check_truth(made: Sequence[Photo]) -> None:
    """Compare what is made of each photo at rest with the scene's own matte."""
    for photo in made:
        found = matte(photo.result)
        true = make_scene(width=WIDTH, height=HEIGHT, seed=photo.seed).alpha
        true = np.asarray(cv2.resize(true, found.shape[::-1], interpolation=cv2.INTER_AREA), np.float32)
        off = difference(found, true)
        assert off <= TRUE, f"the matte of scene {photo.seed} at {photo.megapixels} megapixels is {off:.3f} off"


def missed(knee: Round, overload: Round, *, start: float, most: float, after: float) -> list[str]:
    """The goals that were not met; memory is in GiB."""
    said = [
        f"{each.name}, {key}: {wrong}"
        for each in (knee, overload)
        for key, tally in each.sent.tallies.items()
        for wrong in tally.wrong
    ]
    said += [
        f"{key} had {overload.share(key):.0%} of the work, less than a third"
        for key in ("one", "two")
        if overload.share(key) < 1 / 3 - FAIR
    ]
    if overload.work < 0.9 * knee.work:
        said.append("under overload less than 90 % of the work at the knee was done")
    if overload.p99 > 150:
        said.append(f"/live took {overload.p99:.0f} ms (99 %)")
    if most * 2**30 > 2.5e9:
        said.append(f"{most:.2f} GiB at most")
    if after > 1.2 * start:
        said.append(f"a minute later {after / start - 1:.0%} more memory than at the start")
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--keep-mattes", action="store_true")
    given = parser.parse_args()
    print(measure.machine())
    made = photos()
    clients = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    with server(given.model, keep_mattes=given.keep_mattes) as (host, process), clients:
        ready = gibibytes(process)
        at_rest(host, made[len(MEGAPIXELS) - 1 : len(MEGAPIXELS)])
        time.sleep(SETTLE_SECONDS)
        start = gibibytes(process)
        made = at_rest(host, made)
        check_truth(made)
        print("| load | key | clients | pictures | a minute | MP a minute | of the work | other answers ", end="")
        print("| came back, taken on | median s | most s | wrong |")
        print("|" + " --- |" * 12)

        def play(name: str, seconds: float, keys: Mapping[str, int]) -> Round:
            cpu, loop = measure.cpu_seconds(process), measure.cpu_seconds(process, main_thread=True)
            sending = clients.submit(send, host, keys, seconds, made)
            live = probe(host, sending)
            sent = sending.result()
            cpu = measure.cpu_seconds(process) - cpu
            loop = measure.cpu_seconds(process, main_thread=True) - loop
            played = Round(name, keys, sent, live, cpu, loop)
            print(*played.rows(), f"\n{played}\n", sep="\n", flush=True)
            return played

        knee = play("knee", min(KNEE_SECONDS, given.seconds), {"one": WORKERS})
        overload = play("overload", given.seconds, {"one": POLITE, "two": POLITE, "flood": given.clients - 2 * POLITE})
        most = gibibytes(process, "VmHWM")
        time.sleep(AFTER_SECONDS)
        after = gibibytes(process)
    print(
        f"memory, GiB: {ready:.2f} when ready, {start:.2f} after one picture of the largest size, {most:.2f} at most, "
        f"{after:.2f} a minute after"
    )
    print(f"overload to knee: pictures {overload.pictures / knee.pictures - 1:+.1%}, ", end="")
    print(f"work {overload.work / knee.work - 1:+.1%}")
    said = missed(knee, overload, start=start, most=most, after=after)
    print(*(["missed:", *said[:40]] if said else ["every goal was met"]), sep="\n")
    sys.exit(bool(said))


if __name__ == "__main__":
    main()

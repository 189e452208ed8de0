"""What mattebox costs beside its peers, contestants in turns. Prints the tables of `bench/README.md`, draws its plots.

    make bench [ROWS="warm cold"] [SIZES="2.5 12"] [ROUNDS=5] [CONTESTANTS='"mattebox" "rembg"']

Every single measurement is a line of `build/bench/results.jsonl` as soon as it is made, so a run that is cut keeps what
it has; `--tables` makes the tables and plots of those lines again. Measuring some rows leaves the lines of the others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np

import photos
import serving
import tables
from colours import colours
from contestants import BUILD, PEERS, ROOT, Contestant, Stopped, Worker, contestants, prepare, watch
from floors import stages
from mattebox.models import CATALOGUE, DEFAULT, Models
from mattebox.models.catalogue import members
from mattebox.testing import make_scene
from measure import machine, peak_bytes

Record: TypeAlias = Mapping[str, Any]
RESULTS = BUILD / "results.jsonl"
SLOW = 10.0
"""A contestant that takes more seconds than this for one photo is given one such photo."""
FOLDER = 100
PEERS_WEIGHTS = {"rembg": 1_024_331_469, "batchroom": 178_648_008, "snipbg": 175_997_641}
"""Bytes of the files of bria-rmbg, IS-Net and U2-Net that they fetch, as their own lists of models have it."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and how often."""

    rows: Sequence[str]
    sizes: Sequence[float]
    rounds: int
    clients: Sequence[int]
    chosen: Sequence[Contestant] = field(default_factory=contestants)


def warm(plan: Plan) -> Generator[Record]:
    """Photos of each size, one contestant after the other, round after round, with the networks loaded."""
    with contextlib.ExitStack() as stack:
        workers = []
        for each in plan.chosen:
            try:
                worker = stack.enter_context(Worker(each))
                worker.measure(photos.photo(0.3))  # the first photo pays for tables and memory
                workers.append(worker)
            except Stopped as reason:
                yield {"contestant": each.name, "stopped": str(reason)}
        for size in plan.sizes:
            photo = photos.photo(size)
            begin = time.monotonic()
            slow: set[str] = set()
            for number in range(plan.rounds):
                if number and time.monotonic() - begin > _share("warm") / len(plan.sizes):
                    break  # a whole round has been made
                for worker in list(workers):
                    name = worker.contestant.name
                    if size > worker.contestant.most or name in slow:
                        continue
                    try:
                        measured = worker.measure(photo)
                    except Stopped as reason:
                        workers.remove(worker)
                        yield {"contestant": name, "megapixels": size, "stopped": str(reason)}
                        continue
                    if measured["wall"] > SLOW:
                        slow.add(name)
                    yield {"contestant": name, "megapixels": size, **measured}


def cold(plan: Plan) -> Generator[Record]:
    """The command line, from nothing to a PNG of 2.5 megapixels, with all files in the system's cache."""
    photo = photos.photo(2.5)
    for _ in range(min(3, plan.rounds)):
        for each in plan.chosen:
            if each.photo is None:
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    measured = _command(each, each.photo(photo, Path(folder, "out.png")), limit=120)
                except Stopped as reason:
                    yield {"contestant": each.name, "stopped": str(reason)}
                    continue
                assert any(Path(folder).rglob("*.png")), f"{each.name} made nothing"
            yield {"contestant": each.name, **measured}


def folder(plan: Plan) -> Generator[Record]:
    """One command for a folder of photos; one that has not ended in time is told by what it has done."""
    those = [each for each in plan.chosen if each.folder is not None]
    made = photos.folder(FOLDER)
    for each in those:
        assert each.folder
        with tempfile.TemporaryDirectory() as out:
            begin = time.monotonic()
            try:
                measured: dict[str, float] = _command(
                    each, each.folder(made, Path(out, "out")), limit=_share("folder") / len(those)
                )
            except Stopped as reason:
                measured = {"wall": time.monotonic() - begin}
                if "long" not in str(reason):
                    yield {"contestant": each.name, "stopped": str(reason)}
                    continue
            yield {"contestant": each.name, **measured, "pictures": len(list(Path(out).rglob("*.png")))}


def server(plan: Plan) -> Generator[Record]:
    """Both servers at each number of clients, one after the other."""
    photo = photos.photo(2.5).read_bytes()
    names = {each.name for each in plan.chosen}
    for clients in plan.clients:
        for service in serving.services():
            name = service.contestant.name
            if name not in names:
                continue
            try:
                yield {"contestant": name, "clients": clients, **serving.load(service, photo, clients)}
            except Stopped as reason:
                yield {"contestant": name, "clients": clients, "stopped": str(reason)}


def size(_: Plan) -> Generator[Record]:
    """Bytes of the packages, and of the files of each one's default model: as fetched, not as kept here."""
    fetched = sum(each.bytes or 0 for each in members(Models().resolve(CATALOGUE[DEFAULT]), CATALOGUE))
    weights = {"mattebox": fetched, **PEERS_WEIGHTS}
    environments = {"mattebox": ROOT / ".core"} | {name: PEERS / name for name in ("rembg", "batchroom", "snipbg")}
    for name, environment in environments.items():
        packages = [*environment.glob("lib/python*/site-packages")]
        held = sum(file.stat().st_size for each in packages for file in each.rglob("*") if file.is_file())
        yield {"contestant": name, "installed": held, "weights": weights[name]}


def start(plan: Plan) -> Generator[Record]:
    """How long one waits before anything happens; the floor is an interpreter that does nothing."""
    commands: dict[str, list[str | Path]] = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import mattebox": [sys.executable, "-c", "import mattebox"],
        "mattebox --help": [sys.executable, "-m", "mattebox", "--help"],
        "import rembg": [PEERS / "rembg" / "bin" / "python", "-c", "import rembg"],
    }
    ours = plan.chosen[0]
    for _ in range(2 * plan.rounds):
        for name, command in commands.items():
            yield {"contestant": name, **_command(ours, command, limit=60)}


def pipeline(plan: Plan) -> Generator[Record]:
    """Everything but the network: 12 megapixels of JPEG to RGBA PNG."""
    matte = BUILD / "matte.npy"
    scene = make_scene(width=4000, height=3000, seed=1)
    np.save(matte, cv2.resize(scene.alpha, (1024, 1024), interpolation=cv2.INTER_AREA))
    for _ in range(plan.rounds):
        for name in ("mattebox", "mattebox-keep", "rembg", "rembg-decontaminate"):
            python = PEERS / "rembg" / "bin" / "python" if name.startswith("rembg") else Path(sys.executable)
            command = [python, ROOT / "bench" / "pipeline.py", name, photos.photo(12), matte, "--repeat", "2"]
            done = subprocess.run(command, check=True, capture_output=True, env=plan.chosen[0].variables())
            answer: dict[str, Any] = json.loads(done.stdout)
            for cpu in answer["cpu_ms"]:
                yield {"contestant": name, "cpu": cpu / 1000, "peak": answer["peak_bytes"]}


def floors(plan: Plan) -> Generator[Record]:
    """Each stage of one photo beside the least that this machine could do it in."""
    for megapixels in plan.sizes:
        if megapixels in (2.5, 12.0):
            yield from stages(photos.photo(megapixels), megapixels, plan.rounds)


ROWS: dict[str, tuple[float, Callable[[Plan], Generator[Record]]]] = {
    "warm": (6.5, warm),
    "cold": (1.5, cold),
    "server": (7, server),
    "folder": (5, folder),
    "floors": (1, floors),
    "size": (0.2, size),
    "start": (1, start),
    "pipeline": (1.5, pipeline),
    "colours": (0.8, lambda _: colours()),
}
"""What there is, with its share of the 25 minutes, in the order in which it is measured."""
MINUTES = 25.0


def _share(row: str) -> float:
    return ROWS[row][0] * 60


def _command(contestant: Contestant, command: Sequence[str | Path], *, limit: float) -> dict[str, float]:
    """Wall and CPU seconds and the peak memory of a command.

    Raises:
        Stopped: it failed, or it took more than `limit` seconds or too much memory.
    """
    log = BUILD / "logs" / "command.log"
    with log.open("w") as written:
        begin, end = time.perf_counter(), time.monotonic() + limit
        process = subprocess.Popen(command, stdout=written, stderr=written, env=contestant.variables())
        peak = 0
        while True:
            with contextlib.suppress(FileNotFoundError, AssertionError):  # it has just ended
                peak = max(peak, peak_bytes(process.pid))
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            try:
                watch(process, end)
            except Stopped:
                os.wait4(process.pid, 0)
                process.returncode = -9
                raise
            time.sleep(0.005)
        wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Stopped(f"{command[0]} failed: {log.read_text()[-300:]}")
    return {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak": peak}


def measure(plan: Plan) -> None:
    """Measure the rows of the plan, and write each measurement as it comes."""
    begin = time.monotonic()
    kept = [each for each in read() if each["row"] not in plan.rows]
    RESULTS.write_text("".join(f"{json.dumps(each)}\n" for each in kept), encoding="utf-8")
    with RESULTS.open("a", encoding="utf-8") as results:

        def write(row: str, record: Record) -> None:
            results.write(f"{json.dumps({'row': row, **record})}\n")
            results.flush()
            print(f"{(time.monotonic() - begin) / 60:5.1f} min  {row:8}  {_short(record)}", flush=True)

        for row in (name for name in ROWS if name in plan.rows):
            if time.monotonic() - begin + _share(row) > MINUTES * 60:
                write(row, {"stopped": "no time was left"})
                continue
            end = time.monotonic() + _share(row)
            write(row, {"machine": machine(), "busy": os.getloadavg()[0]})
            with contextlib.closing(ROWS[row][1](plan)) as made:
                for record in made:
                    write(row, record)
                    if time.monotonic() > end:
                        write(row, {"stopped": "no time was left for more than this"})
                        break


def _short(record: Record) -> str:
    return ", ".join(f"{key} {each:.3g}" if isinstance(each, float) else str(each) for key, each in record.items())


def read() -> list[dict[str, Any]]:
    """The measurements that have been made. A line that was cut is none."""
    if not RESULTS.exists():
        return []
    found = []
    for line in RESULTS.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def main() -> None:
    names = [each.name for each in contestants()]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--sizes", nargs="+", type=float, default=photos.MEGAPIXELS, help="megapixels")
    parser.add_argument("--clients", nargs="+", type=int, default=serving.CLIENTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contestants", nargs="+", choices=names, default=names)
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    given = parser.parse_args()
    if not given.tables:
        prepare()
        chosen = [each for each in contestants() if each.name in given.contestants]
        measure(Plan(given.rows, given.sizes, given.rounds, given.clients, chosen))
    text = tables.text(read())
    (BUILD / "tables.md").write_text(text, encoding="utf-8")
    print(f"\n{text}")
    for name, drawing in tables.drawings(read()):
        (BUILD / name).write_text(drawing, encoding="utf-8")
        if given.rows == list(ROWS):
            shutil.copy(BUILD / name, ROOT / "bench" / name)


if __name__ == "__main__":
    main()

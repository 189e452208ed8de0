"""The cost of `mattebox bulk` beyond the engine's own, in CPU time: fetch, checksum, put and the rows.

    python bench/bulk.py [--model NAME] [--photos N] [--rounds N]

The same photos go through the engine alone, from bytes to bytes, and through a shard from a folder to a folder. The two
take turns, in one process with the same engine, so that what else the machine does meets both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mattebox import bulk, codec
from mattebox.bulk import BulkJob
from mattebox.edit import Edit, Format, Matte, Output
from mattebox.engine import Engine
from mattebox.image import Image
from mattebox.models import Models
from mattebox.testing import FakeModels, FakeSegmenter, make_scene

SIZES = {"0.3 MP": (640, 480), "1 MP": (1200, 900), "12 MP": (4000, 3000)}


def cpu(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def measure(engine: Engine, edit: Edit, folder: Path, size: tuple[int, int], *, photos: int, rounds: int) -> str:
    source = folder / "in"
    source.mkdir(parents=True)
    scenes = [make_scene(width=size[0], height=size[1], seed=seed).photo for seed in range(min(photos, 4))]
    four = [codec.encode(Image(rgb=photo), Output(format=Format.JPEG)) for photo in scenes]
    files = [four[number % len(four)] for number in range(photos)]
    for number, data in enumerate(files):
        (source / f"{number}.jpg").write_bytes(data)
    engine.run_file(edit, files[0])
    alone, shards = [], []
    for number in range(rounds):
        job = BulkJob(source=source.as_uri(), target=(folder / f"out{number}").as_uri(), edit=edit)

        def shard(job: BulkJob = job) -> None:
            plan = bulk.make_plan(job)
            bulk.run_shard(job, plan, 0, engine, threads=2, stop=threading.Event())
            bulk.report(bulk.open_target(job), plan)

        alone.append(cpu(lambda: [engine.run_file(edit, each, limits=codec.OWN_FILES) for each in files]))
        shards.append(cpu(shard))
        assert sum(1 for _ in (folder / f"out{number}").glob("*.png")) == photos
    one, other = (statistics.median(each) / photos * 1000 for each in (alone, shards))
    return f"{one:.0f} | {other:.0f} | {(other / one - 1) * 100:+.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    if chosen.model == "none":  # the cost in milliseconds, without a network whose own varies more than that
        engine, edit = Engine(FakeModels(FakeSegmenter(width=64, height=64))), Edit()
    else:
        engine, edit = Engine(Models()), Edit(matte=Matte(model=chosen.model))
    print(f"| photos, {chosen.model} | engine alone, CPU-ms a photo | bulk, CPU-ms a photo | beyond |")
    print("| --- | --- | --- | --- |")
    for name, size in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            row = measure(engine, edit, Path(folder), size, photos=chosen.photos, rounds=chosen.rounds)
        print(f"| {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()

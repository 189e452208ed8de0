"""Folders of small photos, and looks at what a run left at its target."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mattebox import codec
from mattebox.bulk import BulkJob, Row, open_plan, open_target, run_here, run_shard
from mattebox.bulk.shard import Status, ignore, read_rows
from mattebox.edit import Edit, Output
from mattebox.engine import Engine
from mattebox.image import RGB, Alpha, Image
from mattebox.steps import Segmenters
from mattebox.testing import FakeModels, FakeSegmenter

SIDE = 24
CUT_OUT = Edit()


def photo(number: int) -> bytes:
    """A square on grey, of a size, place and colour of its own."""
    rgb = np.full((SIDE, SIDE, 3), 200, np.uint8)
    top, left = 3 + number % 5, 3 + number // 5 % 5
    rgb[top : top + 9, left : left + 9] = (number % 100, number // 100 % 100, 20)
    return codec.encode(Image(rgb=rgb), Output())


EMPTY = codec.encode(Image(rgb=np.full((SIDE, SIDE, 3), 200, np.uint8)), Output())


DEADLY = codec.encode(Image(rgb=np.full((SIDE, 2 * SIDE, 3), 90, np.uint8)), Output())
DEATH = 9


class _Deadly:
    """Ends the process at one photo, as a lack of memory or a fault in a library would."""

    def __call__(self, photo: RGB) -> Alpha:
        if photo.shape[1] == 2 * SIDE:
            os._exit(DEATH)
        return small_models().segmenter("auto")(photo)


def deadly_models() -> FakeModels:
    return FakeModels(_Deadly())


def write_photos(folder: Path, count: int) -> None:
    """Photos in three folders: every 100th is broken, and every 100th has no subject."""
    for number in range(count):
        file = folder / f"ordner {number % 3}" / f"bïld{number:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes({7: b"broken", 8: EMPTY}.get(number % 100) or photo(number))


def small_models() -> FakeModels:
    return FakeModels(FakeSegmenter(width=SIDE, height=SIDE))


def small_engine() -> Engine:
    """Of a module, so that another process can make it too."""
    return Engine(small_models())


def job_for(source: Path, target: Path, edit: Edit = CUT_OUT) -> BulkJob:
    return BulkJob(source=source.as_uri(), target=target.as_uri(), edit=edit)


def run(
    job: BulkJob, shard: int = 0, *, models: Segmenters | None = None, done: Callable[[Row], None] = ignore
) -> dict[str, Row]:
    """Do a shard of the plan at the target, and give its rows by key."""
    plan = open_plan(job)
    engine = Engine(models or small_models())
    run_shard(job, plan, shard, engine, threads=2, stop=threading.Event(), done=done)
    return {row.key: row for row in rows_of(job, shard)}


def run_all(job: BulkJob) -> None:
    plan = open_plan(job)
    run_here(job, plan, range(plan.shards), small_engine(), threads=2, stop=threading.Event())


def rows_of(job: BulkJob, shard: int) -> list[Row]:
    plan = open_plan(job)
    table = read_rows(open_target(job), plan, shard)
    assert table is not None, f"shard {shard} is not done"
    return [Row(**each | {"status": Status(each["status"])}) for each in table.to_pylist()]


def all_rows(job: BulkJob) -> list[Row]:
    return [row for shard in range(open_plan(job).shards) for row in rows_of(job, shard)]


def facts(job: BulkJob) -> list[tuple[object, ...]]:
    """What two runs must have in common: everything but how long it took."""
    return [(row.key, row.target, row.status, row.error, row.bytes, row.sha256) for row in all_rows(job)]


def files_of(target: Path, *, killed: bool = False) -> dict[str, str]:
    """The results in a folder with their checksums; nothing of the run's own.

    Where processes were `killed`, what they had not finished under another name is left out.
    """
    found = (path for path in target.rglob("*") if path.is_file())
    own = target / "_bulk"
    return {
        path.relative_to(target).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
        if own not in path.parents and not (killed and path.name.startswith(".") and path.suffix == ".part")
    }


def check_whole(job: BulkJob, source: Path, target: Path) -> None:
    """Each photo has one row, each result is what its row says, and there is no other file."""
    rows = all_rows(job)
    assert sorted(row.key for row in rows) == sorted(
        path.relative_to(source).as_posix() for path in source.rglob("*.png")
    )
    assert files_of(target) == {row.target: row.sha256 for row in rows if row.status is Status.OK}
    for row in rows:
        assert (row.target is None) == (row.status is not Status.OK)
        assert (row.error is None) == (row.status is not Status.ERROR)

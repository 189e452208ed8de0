"""One shard: its rows, what is kept, and what ends it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.bulk.work import (
    EMPTY,
    all_rows,
    check_whole,
    facts,
    files_of,
    job_for,
    photo,
    rows_of,
    run,
    run_all,
    small_engine,
    small_models,
    write_photos,
)

from mattebox import bulk, object_store
from mattebox.bulk import BulkJob, Row, Status
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha
from mattebox.models import Segmenter


@pytest.fixture
def job(tmp_path: Path) -> BulkJob:
    (tmp_path / "in").mkdir()
    return job_for(tmp_path / "in", tmp_path / "out")


@dataclass(frozen=True)
class Watching:
    """Models that call `act` before each photo."""

    act: Callable[[], None]

    def segmenter(self, name: str) -> Segmenter:
        return self

    def __call__(self, photo: RGB) -> Alpha:
        self.act()
        return small_models().segmenter("auto")(photo)

    def promptable(self) -> None: ...

    def warm(self, name: str) -> None: ...


def test_each_photo_gets_one_row(job: BulkJob, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 20)
    bulk.make_plan(job)
    told: list[Row] = []
    rows = run(job, done=told.append)
    check_whole(job, tmp_path / "in", tmp_path / "out")
    assert told == list(rows.values()) == rows_of(job, 0)
    good, broken, empty = (rows[f"ordner {n % 3}/bïld{n:04}.png"] for n in (4, 7, 8))
    file = tmp_path / "out" / "ordner 1" / "bïld0004.png.png"
    assert good.target == "ordner 1/bïld0004.png.png"
    assert (good.bytes, good.sha256) == (file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
    assert good.seconds > 0
    assert (broken.status, broken.bytes, broken.sha256) == (Status.ERROR, None, None)
    assert "not a picture" in str(broken.error)
    assert (empty.status, empty.target, empty.error) == (Status.NO_SUBJECT, None, None)


def test_a_shard_that_is_done_is_not_done_again(job: BulkJob, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 3)
    bulk.make_plan(job)
    first = run(job)

    def fail() -> None:
        pytest.fail("a photo was done again")

    assert run(job, models=Watching(fail)) == first


def test_results_that_exist_are_kept_and_have_the_same_rows(job: BulkJob, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 12)
    plan = bulk.make_plan(job)
    run(job)
    before = facts(job)
    (tmp_path / "out" / plan.path("results", 0)).unlink()
    lost = tmp_path / "out" / "ordner 0" / "bïld0003.png.png"
    lost.unlink()
    done: list[int] = []
    rows = run(job, models=Watching(lambda: done.append(1)))
    assert facts(job) == before
    assert len(done) == 2  # the lost one, and the one without a subject
    assert rows["ordner 1/bïld0004.png"].seconds == 0
    check_whole(job, tmp_path / "in", tmp_path / "out")


def test_a_new_plan_tries_what_failed(job: BulkJob, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 9)
    bulk.make_plan(job)
    run(job)
    broken = tmp_path / "in" / "ordner 1" / "bïld0007.png"
    broken.write_bytes(photo(7))
    bulk.make_plan(job, again=True)
    assert run(job)["ordner 1/bïld0007.png"].status is Status.OK
    check_whole(job, tmp_path / "in", tmp_path / "out")


def test_a_result_that_somebody_else_was_first_with_is_kept(job: BulkJob, tmp_path: Path) -> None:
    (tmp_path / "in" / "a.png").write_bytes(photo(1))
    bulk.make_plan(job)

    def be_first() -> None:
        (tmp_path / "out" / "a.png.png").write_bytes(b"theirs")

    row = run(job, models=Watching(be_first))["a.png"]
    assert (tmp_path / "out" / "a.png.png").read_bytes() == b"theirs"
    assert (row.status, row.sha256) == (Status.OK, hashlib.sha256(b"theirs").hexdigest())


def test_two_runs_at_once_on_one_target(job: BulkJob, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 40)
    plan = bulk.make_plan(job, shard_size=5)
    threads = [
        threading.Thread(
            target=bulk.run_here,
            args=(job, plan, range(plan.shards), small_engine()),
            kwargs={"threads": 2, "stop": threading.Event()},
        )
        for _ in range(2)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)
    check_whole(job, tmp_path / "in", tmp_path / "out")
    assert not list((tmp_path / "out" / "_bulk" / plan.id / "running").iterdir())


@pytest.mark.parametrize("key", ["../secret.png", "a/../../secret.png", "/secret.png", ".", "a//b.png", "a\nb.png"])
def test_a_key_never_leads_out_of_the_source(job: BulkJob, tmp_path: Path, key: str) -> None:
    (tmp_path / "secret.png").write_bytes(photo(1))
    (tmp_path / "in" / "good.png").write_bytes(photo(2))
    lines = "".join(f'"{each}",1\n' for each in ("good.png", key))
    (tmp_path / "list.csv").write_text(f"key,n\n{lines}")
    bulk.make_plan(job, manifest=str(tmp_path / "list.csv"))
    rows = run(job)
    assert rows[key].status is Status.ERROR
    assert "cannot be the name" in str(rows[key].error)
    assert set(files_of(tmp_path)) == {"secret.png", "in/good.png", "list.csv", "out/good.png.png"} | {
        name for name in files_of(tmp_path) if name.startswith("out/_bulk")
    }


def test_photos_that_cannot_be_read_are_rows(job: BulkJob, tmp_path: Path) -> None:
    (tmp_path / "in" / "folder.png").mkdir()
    keys = ["folder.png", "missing.png", "x" * 252 + ".png", "good.png", "good.png/x.png"]
    (tmp_path / "in" / "good.png").write_bytes(photo(2))
    (tmp_path / "list.csv").write_text("key\n" + "\n".join(keys))
    bulk.make_plan(job, manifest=str(tmp_path / "list.csv"))
    rows = run(job)
    assert {key for key, row in rows.items() if row.status is Status.OK} == {"good.png"}
    assert set(rows) == set(keys)
    assert "not found" in str(rows["missing.png"].error)


def test_a_source_that_is_gone_ends_the_shard(job: BulkJob, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 6)
    plan = bulk.make_plan(job)

    def move_away() -> None:
        if (tmp_path / "in").exists():
            (tmp_path / "in").rename(tmp_path / "elsewhere")

    gone = Watching(move_away)
    with pytest.raises(MatteboxError, match="source cannot be read") as caught:
        run(job, models=gone)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert bulk.pending(bulk.open_target(job), plan) == [0]
    (tmp_path / "elsewhere").rename(tmp_path / "in")
    run(job)
    check_whole(job, tmp_path / "in", tmp_path / "out")


def test_a_full_disk_ends_the_shard_and_leaves_no_half_of_a_file(
    job: BulkJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(tmp_path / "in", 6)
    bulk.make_plan(job)

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(MatteboxError, match="The storage is full") as caught:
            run(job)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert files_of(tmp_path / "out") == {}
    run(job)
    check_whole(job, tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("kind", [Kind.UNAVAILABLE, Kind.INVALID_PARAMETER])
def test_a_network_that_is_missing_ends_the_shard(job: BulkJob, tmp_path: Path, kind: Kind) -> None:
    write_photos(tmp_path / "in", 6)
    bulk.make_plan(job)

    def missing() -> None:
        raise MatteboxError(kind, "There is no network.", parameter="model")

    with pytest.raises(MatteboxError, match="no network"):
        run(job, models=Watching(missing))
    assert all("results" not in str(path) for path in (tmp_path / "out").rglob("*.parquet"))


def test_a_defect_that_one_photo_shows_is_its_own(job: BulkJob, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 4)
    bulk.make_plan(job)
    count: list[int] = []

    def sometimes() -> None:
        count.append(1)
        if len(count) == 2:
            raise ZeroDivisionError

    rows = run(job, models=Watching(sometimes))
    assert sorted(row.status for row in rows.values()) == [Status.ERROR, Status.OK, Status.OK, Status.OK]
    assert "defect" in next(str(row.error) for row in rows.values() if row.error)


def test_a_stop_leaves_the_shard_for_the_next_time(job: BulkJob, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 30)
    plan = bulk.make_plan(job)
    stop = threading.Event()
    with pytest.raises(MatteboxError) as caught:
        bulk.run_shard(job, plan, 0, small_engine(), threads=2, stop=stop, done=lambda _row: stop.set())
    assert caught.value.kind is Kind.CANCELLED
    made = files_of(tmp_path / "out")
    assert 0 < len(made) < 28
    run(job)
    check_whole(job, tmp_path / "in", tmp_path / "out")
    assert made.items() <= files_of(tmp_path / "out").items()


def test_whoever_stops_listening_stops_the_work(job: BulkJob, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 30)
    plan = bulk.make_plan(job)
    stop = threading.Event()

    def interrupt(_row: Row) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bulk.run_shard(job, plan, 0, small_engine(), threads=2, stop=stop, done=interrupt)
    assert stop.is_set()
    assert len(files_of(tmp_path / "out")) < 10
    assert list((tmp_path / "out" / "_bulk" / plan.id / "running").iterdir()) == []


def test_an_orderly_end_is_not_held_against_a_shard(job: BulkJob, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 6)
    plan = bulk.make_plan(job)

    def interrupt(_row: Row) -> None:
        raise KeyboardInterrupt

    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            run(job, done=interrupt)
        assert not (tmp_path / "out" / plan.path("running", 0, "json")).exists()
    run(job)
    assert all(row.status is Status.OK for row in all_rows(job))


# --- the report ----------------------------------------------------------------------------------------------------


def test_the_report_adds_up(job: BulkJob, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 20)
    plan = bulk.make_plan(job, shard_size=6)
    target = bulk.open_target(job)
    for shard in (1, 3, 0):
        run(job, shard)
    with pytest.raises(MatteboxError, match="1 of 4 shards"):
        bulk.report(target, plan)
    run(job, 2)
    old, young = (tmp_path / "out" / f".mattebox-{name}.part" for name in ("old", "young"))
    for each in (old, young):
        each.write_bytes(b"half")
    os.utime(old, (0, 0))
    made = bulk.report(target, plan)
    assert (made.pictures, made.ok, made.no_subject, made.errors) == (20, 18, 1, 1)
    assert made.bytes == sum(row.bytes or 0 for row in all_rows(job))
    assert made.seconds > 0
    assert made.core_hours > 0
    assert made.pictures_per_second == pytest.approx(20 / made.seconds)
    assert (tmp_path / "out" / made.broken).read_text("utf-8").splitlines() == [
        '"key","status","error"',
        '"ordner 1/bïld0007.png","error","This is not a picture in a known format; send PNG, JPEG, WebP, AVIF, HEIC, '
        'TIFF, BMP or GIF."',
        '"ordner 2/bïld0008.png","no subject",',
    ]
    assert json.loads((tmp_path / "out" / "_bulk" / plan.id / "report.json").read_text())["ok"] == 18
    assert (old.exists(), young.exists()) == (False, True)


def test_time_in_which_nothing_ran_is_not_counted() -> None:
    from mattebox.bulk.report import _covered

    assert _covered([(10, 12), (11, 15), (100, 101), (12, 13)]) == 6
    assert _covered([]) == 0


# --- storage that fails now and then -------------------------------------------------------------------------------


def test_a_shard_over_s3(s3_url: str, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 20)
    job = BulkJob(source=f"{s3_url}/in", target=f"{s3_url}/out", edit=job_for(tmp_path, tmp_path).edit)
    source = object_store.ObjectStore(job.source, patience=30)
    for file in (tmp_path / "in").rglob("*.png"):
        source.put(file.relative_to(tmp_path / "in").as_posix(), file.read_bytes(), media_type="image/png")
    source.put("notes.txt", EMPTY, media_type="text/plain")
    plan = bulk.make_plan(job, shard_size=7)
    assert (plan.pictures, plan.passed_over) == (20, 1)
    local = job_for(tmp_path / "in", tmp_path / "out")
    bulk.make_plan(local, shard_size=7)
    for each in (job, local):
        run_all(each)
    assert facts(job) == facts(local)
    target = bulk.open_target(job)
    for row in all_rows(job):
        if row.target is not None:
            assert hashlib.sha256(target.get(row.target)).hexdigest() == row.sha256
    assert bulk.report(target, plan).ok == 18
    assert bulk.make_plan(job) == plan
    assert not target.put_new(plan.result("ordner 0/bïld0000.png"), b"other", media_type="image/png")

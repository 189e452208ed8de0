"""Doing many photos, and writing what they become."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.batches import as_a_person, write

from mattebox import batch
from mattebox.batch import Done, Failed, Job, Results
from mattebox.cancellation import Checkpoint
from mattebox.errors import Kind, MatteboxError
from mattebox.files import shown
from mattebox.image import Encoded

MADE = Encoded(data=b"made", media_type="image/png", width=3, height=2)


# --- results -----------------------------------------------------------------------------------------------------


def test_results_make_their_folders(tmp_path: Path) -> None:
    Results(overwrite=False).write(tmp_path / "a" / "b" / "x.png", b"1")
    assert (tmp_path / "a" / "b" / "x.png").read_bytes() == b"1"
    assert [each.name for each in (tmp_path / "a" / "b").iterdir()] == ["x.png"]


def test_what_came_to_exist_meanwhile_is_kept(tmp_path: Path) -> None:
    write(tmp_path / "x.png")
    with pytest.raises(MatteboxError) as caught:
        Results(overwrite=False).write(tmp_path / "x.png", b"1")
    assert caught.value.kind is Kind.CONFLICT
    assert (tmp_path / "x.png").read_bytes() != b"1"


@pytest.mark.posix
def test_a_result_of_this_run_is_never_overwritten(tmp_path: Path) -> None:
    # What a disk does that does not tell A.png from a.png: two names, one file.
    results = Results(overwrite=True)
    results.write(tmp_path / "x.png", b"1")
    (tmp_path / "X.png").symlink_to(tmp_path / "x.png")
    with pytest.raises(MatteboxError, match="the result of another photo"):
        results.write(tmp_path / "X.png", b"2")
    assert (tmp_path / "x.png").read_bytes() == b"1"


def test_a_file_in_the_place_of_a_folder_is_said(tmp_path: Path) -> None:
    write(tmp_path / "file")
    with pytest.raises(MatteboxError, match="cannot be created"):
        Results(overwrite=True).write(tmp_path / "file" / "sub" / "x.png", b"1")


@pytest.mark.process
def test_a_read_only_folder_is_said_and_left_clean(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    said = as_a_person(
        "from mattebox import batch, errors\n"
        "try: batch.Results(overwrite=True).write(folder / 'x.png', b'1')\n"
        "except errors.MatteboxError as error: print(error.message)",
        tmp_path,
    )
    tmp_path.chmod(0o700)
    assert "x.png cannot be written: Permission denied" in said
    assert list(tmp_path.iterdir()) == []


# --- running -----------------------------------------------------------------------------------------------------


def jobs(count: int) -> list[Job]:
    return [Job(Path(f"{number}.jpg"), Path(f"{number}.png")) for number in range(count)]


def run(count: int, work: Callable[[Job, Checkpoint], Encoded], *, threads: int = 2) -> list[Done | Failed]:
    return list(batch.run(jobs(count), work, threads=threads, stop=threading.Event()))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_outcomes_come_in_order(threads: int) -> None:
    def work(job: Job, _: Checkpoint) -> Encoded:
        time.sleep(0.002 * (int(job.source.stem) % 3) if job.source else 0)
        return MADE

    outcomes = run(20, work, threads=threads)
    assert [outcome.job for outcome in outcomes] == jobs(20)
    assert all(isinstance(each, Done) and (each.made.width, each.made.height) == (3, 2) for each in outcomes)


def test_a_failure_does_not_stop_the_others() -> None:
    def work(job: Job, _: Checkpoint) -> Encoded:
        if job.source == Path("1.jpg"):
            raise MatteboxError(Kind.UNREADABLE_IMAGE, "No.")
        return MADE

    outcomes = run(4, work)
    assert [isinstance(each, Failed) for each in outcomes] == [False, True, False, False]


def test_a_part_that_all_need_stops_before_a_second_photo_is_begun() -> None:
    begun = []

    def work(job: Job, _: Checkpoint) -> Encoded:
        begun.append(job)
        raise MatteboxError(Kind.UNAVAILABLE, "No weights.")

    with pytest.raises(MatteboxError, match="No weights"):
        run(50, work, threads=4)
    assert len(begun) == 1


@pytest.mark.parametrize(
    ("raised", "kind", "sentence"),
    [
        (ZeroDivisionError("deep"), Kind.INTERNAL, "A defect of mattebox: ZeroDivisionError."),
        (MemoryError(), Kind.OVERLOADED, "There is not enough memory for this photo."),
        (RuntimeError("Failed: std::bad_alloc"), Kind.OVERLOADED, "There is not enough memory for this photo."),
        (OSError(5, "Input/output error"), Kind.UNREADABLE_IMAGE, "The system refuses: Input/output error."),
    ],
)
def test_whatever_one_photo_raises_is_its_failure_alone(raised: Exception, kind: Kind, sentence: str) -> None:
    def work(job: Job, _: Checkpoint) -> Encoded:
        if job.source == Path("1.jpg"):
            raise raised
        return MADE

    outcomes = run(4, work)
    assert [isinstance(each, Failed) for each in outcomes] == [False, True, False, False]
    failed = outcomes[1]
    assert isinstance(failed, Failed)
    assert (failed.error.kind, failed.error.message) == (kind, sentence)
    assert failed.error.__cause__ is raised


def test_threads_work_at_the_same_time_and_not_too_far_ahead() -> None:
    lock = threading.Lock()
    running = most = begun = ahead = given_out = 0

    def work(job: Job, _: Checkpoint) -> Encoded:
        nonlocal running, most, begun, ahead
        with lock:
            running += 1
            begun += 1
            most, ahead = max(most, running), max(ahead, begun - given_out)
        time.sleep(0.005)
        with lock:
            running -= 1
        return MADE

    for _ in batch.run(jobs(60), work, threads=3, stop=threading.Event()):
        with lock:
            given_out += 1
        time.sleep(0.002)
    assert most == 3
    assert ahead <= 2 * 3 + 1


def test_closing_stops_what_runs_at_its_next_checkpoint() -> None:
    begun: list[Job] = []
    endless = threading.Event()
    refusals: list[MatteboxError] = []

    def work(job: Job, checkpoint: Checkpoint) -> Encoded:
        begun.append(job)
        if len(begun) <= 2:
            return MADE
        endless.set()
        while True:
            try:
                checkpoint()
            except MatteboxError as error:
                refusals.append(error)
                raise
            time.sleep(0.001)

    with closing(batch.run(jobs(100), work, threads=2, stop=threading.Event())) as outcomes:
        assert isinstance(next(outcomes), Done)
        assert isinstance(next(outcomes), Done)
        assert endless.wait(5)
    assert {error.kind for error in refusals} == {Kind.CANCELLED}
    assert len(refusals) == len(begun) - 2
    assert len(begun) <= 4
    assert not any(thread.name.startswith("photo") for thread in threading.enumerate())


def test_names_are_shown_without_control_characters() -> None:
    assert shown(Path("a\x1b[2J\nb é 猫.png")) == "a\\x1b[2J\\nb é 猫.png"
    assert shown(Path(os.fsdecode(b"\xff.png"))) == "\\udcff.png"
    assert shown(None) == "-"

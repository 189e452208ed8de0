"""Shards of `mattebox bulk` in the queue: a worker in this process, and two that are processes, one killed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from sqlalchemy import Engine as Database
from sqlalchemy import insert, text
from tests.bulk.work import (
    CUT_OUT,
    all_rows,
    check_whole,
    facts,
    files_of,
    job_for,
    photo,
    run_all,
    small_engine,
    small_models,
    write_photos,
)
from tests.server.jobs.loops import loop_in_a_thread
from typer.testing import CliRunner, Result

from mattebox import bulk
from mattebox.bulk import BulkJob
from mattebox.cli import app
from mattebox.edit import Edit, Matte, Picture
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha
from mattebox.server.fetch import Fetcher
from mattebox.server.jobs import Status, TaskOptions, Tasks, shards
from mattebox.server.jobs.rows import TASKS, open_client
from mattebox.server.jobs.session import Session
from mattebox.server.jobs.shards import run_on_queue, shard_id
from mattebox.server.jobs.statistics import ShardStatus, statistics
from mattebox.server.jobs.worker import Worker
from mattebox.server.runner import Runner
from mattebox.server.store.blobs import Blobs
from mattebox.server.store.database import connect, create
from mattebox.testing import FakeModels, FakeSegmenter

OPTIONS = TaskOptions(polling=0.05, beat=0.25, lease=1, grace=0)
PATIENCE = 240.0
ROOT = Path(__file__).parents[3]
MANY = int(os.environ.get("BULK_PICTURES", "200"))


async def _ready() -> None: ...


@contextmanager
def working(folder: Path, engine: Engine, database: str = "") -> Iterator[Tasks]:
    """A worker in this process, on SQLite unless another database is given."""
    blobs, fetcher = Blobs((folder / "blobs").as_uri()), Fetcher()
    runner = Runner(engine, fetcher, blobs)
    with loop_in_a_thread() as loop:
        work = Worker(runner, blobs, fetcher, loop=loop, ready=_ready, keep=60, webhook_bodies={})
        tasks = Tasks(database or f"sqlite:///{folder}/mattebox.db", node="here", work=work, options=OPTIONS)
        try:
            tasks.start()
            yield tasks
        finally:
            tasks.close()


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tasks]:
    monkeypatch.setattr(shards, "LOOK_SECONDS", 0.02)
    with working(tmp_path, small_engine()) as running:
        yield running


def order(tasks: Tasks, job: BulkJob, *, shard_size: int = 7, again: bool = False) -> list[int]:
    """Make a plan, have it done, and give the shards that were told of."""
    told: list[int] = []
    run_on_queue(job, bulk.make_plan(job, shard_size=shard_size, again=again), tasks.engine, done=told.append)
    return told


def messages(tasks: Tasks, plan: str) -> list[str]:
    client = open_client(tasks.engine)
    try:
        return [each.workflow_id for each in client.list_workflows(workflow_id_prefix=f"shard/{plan}/")]
    finally:
        client.destroy()


def test_a_worker_does_what_this_process_would_have_done(tasks: Tasks, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 20)
    edit = replace(CUT_OUT, backdrop=Picture())
    jobs = [replace(job_for(tmp_path / "in", tmp_path / name, edit), behind=photo(3)) for name in ("out", "alone")]
    assert sorted(order(tasks, jobs[0])) == [0, 1, 2]
    bulk.make_plan(jobs[1], shard_size=7)
    run_all(jobs[1])
    assert facts(jobs[0]) == facts(jobs[1])
    check_whole(jobs[0], tmp_path / "in", tmp_path / "out")
    assert order(tasks, jobs[0]) == []


def test_shards_are_counted_and_scale_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_counts(tmp_path, monkeypatch)


def test_shards_are_counted_on_postgresql(
    postgres_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_counts(tmp_path, monkeypatch, postgres_database)


def check_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str = "") -> None:
    """As shards wait, are worked on and end."""
    monkeypatch.setattr(shards, "LOOK_SECONDS", 0.02)
    begun, go_on = threading.Event(), threading.Event()
    fake = FakeSegmenter()

    def slow(photo: RGB) -> Alpha:
        begun.set()
        assert go_on.wait(PATIENCE)
        return fake(photo)

    write_photos(tmp_path / "in", 20)
    job = job_for(tmp_path / "in", tmp_path / "out", Edit())
    database = database or f"sqlite:///{tmp_path}/mattebox.db"
    engine = connect(database)
    create(engine)
    nothing = statistics(engine, webhook_retries=0)
    assert (set(nothing.shards.values()), nothing.oldest_shard) == ({0}, {})
    ordering = threading.Thread(
        target=run_on_queue,
        args=(job, bulk.make_plan(job, shard_size=7), engine),
        kwargs={"done": lambda shard: None},
        daemon=True,
    )
    ordering.start()
    deadline = time.monotonic() + PATIENCE
    while (found := statistics(engine, webhook_retries=0)) == nothing:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert found.shards == {ShardStatus.WAITING: 3, ShardStatus.WORKING: 0, ShardStatus.ENDED: 0}
    assert wanted_by_the_scaler(engine) == 4 * 3
    with working(tmp_path, Engine(FakeModels(slow)), database) as tasks:
        try:
            assert begun.wait(PATIENCE)
            found = statistics(tasks.engine, webhook_retries=0)
            # On a busy machine the workflow engine takes one more, before it knows that the first one has begun.
            assert found.shards[ShardStatus.WORKING] >= 1
            assert found.shards[ShardStatus.WORKING] + found.shards[ShardStatus.WAITING] == 3
            assert found.oldest_shard.keys() == {status for status, count in found.shards.items() if count}
            assert all(0 < age < PATIENCE for age in found.oldest_shard.values())
            assert wanted_by_the_scaler(tasks.engine) == 4 * 3
        finally:
            go_on.set()
            ordering.join(PATIENCE)
        assert not ordering.is_alive()
        engine.dispose()
        found = statistics(tasks.engine, webhook_retries=0)
        assert (found.shards[ShardStatus.ENDED], found.oldest_shard) == (3, {})
        assert wanted_by_the_scaler(tasks.engine) == 0
        with tasks.engine.begin() as connection:
            for number, status in enumerate([*Status, Status.QUEUED]):
                row = {"id": str(number), "owner": "", "dialect": "", "edit": "", "extra": "{}", "status": status.value}
                connection.execute(insert(TASKS).values(row))
        assert wanted_by_the_scaler(tasks.engine) == 3  # two wait, one is worked on


def wanted_by_the_scaler(engine: Database) -> int:
    """The answer to KEDA's query, which counts four for each worker. SQLite has no schemas."""
    scaler = yaml.safe_load((ROOT / "deploy/kubernetes/scaling.yaml").read_text().partition("\n---\n")[0])
    query = scaler["spec"]["triggers"][0]["metadata"]["query"]
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            query = query.replace("dbos.", "")
        return int(connection.execute(text(query)).scalar_one())


def test_a_shard_that_cannot_be_done_says_why_and_can_be_ordered_again(tasks: Tasks, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 10)
    wrong = job_for(tmp_path / "in", tmp_path / "wrong", Edit(matte=Matte(model="unknown")))
    with pytest.raises(MatteboxError, match=r"^Shard 0 is not done\. .*model") as caught:
        order(tasks, wrong)
    assert caught.value.kind is Kind.UNAVAILABLE
    job = job_for(tmp_path / "in", tmp_path / "out")
    plan = bulk.make_plan(job)
    (tmp_path / "in").rename(tmp_path / "away")
    with pytest.raises(MatteboxError, match=r"^Shard 0 is not done\. Folder not found"):
        run_on_queue(job, plan, tasks.engine, done=lambda shard: None)
    (tmp_path / "away").rename(tmp_path / "in")
    assert order(tasks, job) == [0]
    assert len(all_rows(job)) == 10


def test_an_edit_that_the_worker_does_not_know_is_told_from_a_defect(
    tasks: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(tmp_path / "in", 3)
    job = job_for(tmp_path / "in", tmp_path / "out")
    with monkeypatch.context() as newer:
        newer.setattr(shards, "edit_to_json", lambda edit: {"hologram": True})
        with pytest.raises(MatteboxError, match="version of mattebox does not know this edit"):
            order(tasks, job)
    with monkeypatch.context() as defect:
        defect.setattr(bulk, "run_shard", lambda *_, **__: int("a defect"))
        with pytest.raises(MatteboxError, match="The log of the server that worked on it says why"):
            order(tasks, job)
    assert order(tasks, job) == [0]


def test_a_message_of_an_older_plan_does_nothing(tasks: Tasks, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 3)
    job = job_for(tmp_path / "in", tmp_path / "out")
    older = bulk.make_plan(job)
    order(tasks, job, again=True)
    with pytest.raises(MatteboxError, match="another one by now"):
        run_on_queue(job, older, tasks.engine, done=lambda shard: None)


def test_messages_that_ended_are_forgotten_after_a_while(tasks: Tasks, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 3)
    job = job_for(tmp_path / "in", tmp_path / "out")
    order(tasks, job)
    plan = bulk.open_plan(job).id
    client = open_client(tasks.engine)
    shards.sweep_shards(client, seconds=3600)
    assert messages(tasks, plan) == [shard_id(plan, 0)]
    shards.sweep_shards(client, seconds=-60)
    assert messages(tasks, plan) == []
    client.destroy()


def test_a_worker_that_is_stopped_leaves_the_rest_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "LOOK_SECONDS", 0.02)
    write_photos(tmp_path / "in", 12)
    job = job_for(tmp_path / "in", tmp_path / "out")
    plan = bulk.make_plan(job)
    gate, calls = threading.Event(), threading.Semaphore(0)

    def segment(photo: RGB) -> Alpha:
        calls.release()
        assert gate.wait(PATIENCE)
        return small_models().segmenter("auto")(photo)

    with working(tmp_path, Engine(FakeModels(segment))) as tasks:
        waiting = threading.Thread(
            target=lambda: run_on_queue(job, plan, tasks.engine, done=lambda shard: None), daemon=True
        )
        waiting.start()
        assert calls.acquire(timeout=PATIENCE)
        tasks.close()
        gate.set()
    assert bulk.pending(bulk.open_target(job), plan) == [0]
    with working(tmp_path, small_engine()):
        waiting.join(PATIENCE)
    assert not waiting.is_alive()
    check_whole(job, tmp_path / "in", tmp_path / "out")


def test_halting_stops_the_shards_that_are_worked_on(tasks: Tasks) -> None:
    session = Session(tasks.engine, "me")
    with session.stopping() as stop:
        assert not stop.is_set()
        session.halt()
        assert stop.is_set()
    with session.stopping() as late:
        assert late.is_set()


# --- the command, and servers that are processes -------------------------------------------------------------------


def command(*arguments: str | Path, database: str) -> Result:
    return CliRunner().invoke(
        app, ["bulk", *map(str, arguments)], env={"MATTEBOX_DATABASE_URL": database}, catch_exceptions=False
    )


@pytest.mark.parametrize("other", ["--jobs=3", "--plan-only", "--ray=local", "--shard=1", "--device=cpu"])
def test_what_the_workers_decide_is_refused(other: str, tmp_path: Path) -> None:
    write_photos(tmp_path / "in", 1)
    result = command(tmp_path / "in", tmp_path / "out", "--queue", other, database="")
    assert result.exit_code == 2
    assert f"cannot be combined with {other.partition('=')[0]}" in " ".join(result.stderr.replace("│", " ").split())


class Node:
    """A `mattebox serve --role worker` with a small network."""

    def __init__(self, folder: Path, name: str, database: str) -> None:
        code = (
            "from mattebox.cli import Components, app; from mattebox.server.app import create_app\n"
            "from tests.bulk.work import small_models\n"
            "app(obj=Components(server=lambda settings: create_app(settings, models=small_models())))"
        )
        settings = {
            "MATTEBOX_DATABASE_URL": database,
            "MATTEBOX_DATA_DIR": str(folder / name),
            "MATTEBOX_NODE": name,
            "MATTEBOX_TASKS_LEASE": "2",
            "MATTEBOX_TASKS_BEAT": "0.5",
            "MATTEBOX_TASKS_GRACE": "0",
        }
        self._log = folder / f"{name}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, "serve", "--role", "worker", "--port", "0"],
                cwd=Path(__file__).parents[3],
                env=os.environ | settings,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + PATIENCE
        while not re.search(r"http://[\d.:]+\d", self._log.read_text()):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@pytest.mark.process
@pytest.mark.timeout(900)
def test_a_worker_that_is_killed_loses_nothing(postgres_database: str, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    write_photos(source, MANY)
    job, alone = job_for(source, target), job_for(source, tmp_path / "alone")
    plan = bulk.make_plan(job, shard_size=MANY // 10)
    running = target / "_bulk" / plan.id / "running"
    nodes: list[Node] = []
    killed: list[int] = []
    waiting: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            done = sum(1 for _ in target.glob("ordner*/*.png"))
            # Once both are in the middle of a shard, so that one shard is lost with its worker.
            if done >= MANY // 4 and len(list(running.glob("*.json"))) == 2:
                engine = connect(postgres_database)
                waiting.append(wanted_by_the_scaler(engine))
                engine.dispose()
                nodes[0].kill()
                killed.append(done)
                return
            time.sleep(0.002)

    killer = threading.Thread(target=kill)
    try:
        nodes.extend(Node(tmp_path, name, postgres_database) for name in ("one", "two"))
        killer.start()
        result = command(source, target, "--queue", "--json", database=postgres_database)
        killer.join()
    finally:
        for node in nodes:
            node.stop()
    assert result.exit_code == 0, result.output
    assert MANY // 4 <= killed[0] < MANY
    said = json.loads(result.stdout)
    assert (said["pictures"], said["ok"], said["no_subject"], said["errors"]) == (
        MANY,
        MANY - 2 * (MANY // 100),
        MANY // 100,
        MANY // 100,
    )
    keys = [row.key for row in all_rows(job)]
    assert len(keys) == len(set(keys)) == MANY
    assert waiting[0] >= 4 * 2
    engine = connect(postgres_database)
    assert wanted_by_the_scaler(engine) == 0
    engine.dispose()
    bulk.make_plan(alone, shard_size=MANY // 10)
    run_all(alone)
    assert facts(job) == facts(alone)
    assert files_of(target, killed=True) == files_of(tmp_path / "alone")

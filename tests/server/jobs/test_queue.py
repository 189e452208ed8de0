"""Tasks on both databases. Workers that are to be killed are processes of their own: this file is their program."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, text, update
from sqlalchemy.exc import OperationalError

from mattebox.bulk import BulkJob, Plan
from mattebox.edit import Edit
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Box
from mattebox.server.jobs import DEFECT, Hook, Result, Status, Task, TaskOptions, Tasks, steps
from mattebox.server.jobs.leases import NODES
from mattebox.server.jobs.queue import NAME_TAKEN
from mattebox.server.jobs.rows import webhook_id
from mattebox.server.store.database import now
from mattebox.sources import Link, Sources, Stored, Upload

if TYPE_CHECKING:
    from tests.servers import Postgres

pytestmark = pytest.mark.timeout(60)

HOOK = Hook("ok", "secret")
OPTIONS = TaskOptions(polling=0.05, beat=0.25, lease=1, webhook_retries=1, webhook_pause=0.05, grace=5)


class Turns:
    """Stands in for the runner's admission: any number side by side, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._beside = 0
        self._alone = 0

    @contextmanager
    def beside(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._beside += 1
        try:
            yield
        finally:
            with self._changed:
                self._beside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone += 1
            self._changed.wait_for(lambda: not self._beside)
        try:
            yield
        finally:
            with self._changed:
                self._alone -= 1
                self._changed.notify_all()


class Fake:
    """Does what the source says, as in `refuse`, and writes down what it did where no kill can reach it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._notes = folder / "notes"
        self._turns = Turns()

    def note(self, *words: str) -> int:
        """Write one line; how often it has been written by now."""
        line = " ".join(words)
        with self._notes.open("a") as file:
            file.write(f"{line}\n")
        return self.notes()[line]

    def notes(self) -> Counter[str]:
        return Counter(self._notes.read_text().splitlines() if self._notes.exists() else ())

    def cut_out(
        self,
        edit: Edit,
        sources: Sources,
        *,
        alone: bool,
        begin: Callable[[], None],
        checkpoint: Callable[[], None],
    ) -> Result:
        photo = sources.photo
        assert not isinstance(photo, Upload)
        name = photo.key if isinstance(photo, Stored) else photo.url
        with self._turns.alone() if alone else self._turns.beside():
            begin()
            times = self.note("cut", name)
            match name.split():
                case ["private", *_]:
                    raise MatteboxError(Kind.UNREACHABLE_SOURCE, "This address may not be fetched from.")
                case ["flaky", *_] if times < 3:
                    raise MatteboxError(Kind.UNREACHABLE_SOURCE, "No answer.", retry_after=0.01)
                case ["away", *_]:
                    raise MatteboxError(Kind.UNAVAILABLE, "The storage cannot be reached.", retry_after=1)
                case ["hold", *_]:
                    self._hold(name, checkpoint)
                case ["refuse", *_]:
                    raise MatteboxError(Kind.UNREADABLE_IMAGE, "This is not a picture.")
                case ["defect", *_]:
                    raise ZeroDivisionError("a secret of ours")
                case ["internal", *_]:
                    raise MatteboxError(Kind.INTERNAL, "a secret of ours")
            self.note("done", name)
            return Result(
                name="blob", media_type="image/png", width=7, height=5, subject=Box(1, 2, 3, 4), confidence=0.5
            )

    def _hold(self, name: str, checkpoint: Callable[[], None]) -> None:
        """Work in small steps until `release`."""
        while not self.notes()[f"release {name}"]:
            checkpoint()
            time.sleep(0.02)

    def release(self, *names: str) -> None:
        for name in names:
            self.note("release", name)

    def run_shard(self, job: BulkJob, plan: Plan, shard: int, *, stop: threading.Event) -> None:
        raise NotImplementedError

    def webhook_body(self, task: Task) -> bytes:
        return f"{task.dialect} {task.status} {task.extra}".encode()

    def deliver(self, hook: Hook, body: bytes, task_id: str) -> None:
        times = self.note("deliver", task_id)
        if hook.url == "never" or (hook.url == "second" and times < 2):
            raise MatteboxError(Kind.UNREACHABLE_SOURCE, "The webhook was answered with status 500.")
        self.note("delivered", task_id, body.decode())

    def delivered(self, task: Task) -> int:
        return sum(count for line, count in self.notes().items() if line.startswith(f"delivered {task.id} "))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('tasks')}/mattebox.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    address = server.create_database()
    yield address
    server.drop_database(address)


@pytest.fixture(scope="module")
def fake(url: str, tmp_path_factory: pytest.TempPathFactory) -> Fake:
    return Fake(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def tasks(url: str, fake: Fake) -> Iterator[Tasks]:
    def on_finished(_: Connection, task: Task) -> None:
        fake.note("settled", task.id, task.status)

    queue = Tasks(url, node="main", work=fake, options=OPTIONS, on_finished=on_finished)
    queue.start()
    yield queue
    queue.close()


def submit(tasks: Tasks, *sources: str, owner: str = "me", hook: Hook | None = None) -> list[Task]:
    return tasks.submit(owner, [(Edit(), Sources(Stored(source))) for source in sources], dialect="native", hook=hook)


def wait(tasks: Tasks, task: Task, *wanted: Status, seconds: float = 30) -> Task:
    deadline = time.monotonic() + seconds
    while (task := tasks.get(task.id)).status not in (wanted or (Status.SUCCEEDED, Status.FAILED)):
        assert time.monotonic() < deadline, task
        time.sleep(0.01)
    return task


def announced(tasks: Tasks, task: Task, seconds: float = 30) -> Task:
    deadline = time.monotonic() + seconds
    while (task := tasks.get(task.id)).announced is None:
        assert time.monotonic() < deadline, task
        time.sleep(0.01)
    return task


def messages(tasks: Tasks) -> list[str]:
    """The names of the queue's messages, done or not."""
    schema = "" if tasks.engine.dialect.name == "sqlite" else "dbos."
    with tasks.engine.connect() as connection:
        return list(connection.execute(text(f"SELECT workflow_uuid FROM {schema}workflow_status")).scalars())  # noqa: S608


def suspects(tasks: Tasks) -> list[str]:
    with tasks.engine.connect() as connection:
        return list(connection.execute(text("SELECT id FROM tasks WHERE suspect")).scalars())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_note(folder: Path, note: str, times: int = 1) -> None:
    deadline = time.monotonic() + 20
    while Fake(folder).notes()[note] < times:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.process
def test_a_task_is_fetched_and_cut_out_and_announced(tasks: Tasks, fake: Fake) -> None:
    before = time.time()
    edit, sources = Edit(), Sources(Link("ok link"))
    (queued,) = tasks.submit(
        "me", [(edit, sources)], dialect="native", hook=HOOK, batch="b", extra={"type": ["png", 1, None]}
    )
    assert (queued.status, queued.progress, queued.edit, queued.sources) == (Status.QUEUED, 0, edit, sources)
    done = announced(tasks, queued)
    assert (done.status, done.progress, done.reason, done.hook_failure) == (Status.SUCCEEDED, 100, None, None)
    assert done.result == Result(
        name="blob", media_type="image/png", width=7, height=5, subject=Box(1, 2, 3, 4), confidence=0.5
    )
    assert (done.owner, done.dialect, done.batch, done.hook) == ("me", "native", "b", HOOK)
    assert done.sources == sources
    assert done.started is not None
    assert done.finished is not None
    assert before - 0.1 < done.created <= done.started <= done.finished < time.time() + 0.1
    notes = fake.notes()
    assert notes["cut ok link"] == 1
    assert notes[f"delivered {done.id} native succeeded {{'type': ['png', 1, None]}}"] == 1
    assert notes[f"settled {done.id} succeeded"] == 1


@pytest.mark.parametrize(
    ("source", "failure"),
    [
        (Stored("refuse"), (Kind.UNREADABLE_IMAGE, "This is not a picture.")),
        (Link("private"), (Kind.UNREACHABLE_SOURCE, "This address may not be fetched from.")),
        (Stored("defect"), (Kind.INTERNAL, DEFECT)),
        (Stored("internal"), (Kind.INTERNAL, DEFECT)),
    ],
)
def test_a_task_that_fails_says_why_and_is_announced_too(
    tasks: Tasks, fake: Fake, source: Stored | Link, failure: tuple[Kind, str], caplog: pytest.LogCaptureFixture
) -> None:
    (task,) = tasks.submit("me", [(Edit(), Sources(source))], dialect="native", hook=HOOK)
    done = announced(tasks, task)
    assert (done.status, (done.kind, done.reason), done.result) == (Status.FAILED, failure, None)
    assert fake.notes()[f"delivered {done.id} native failed {{}}"] == 1
    assert fake.notes()[f"settled {done.id} failed"] == 1
    # What is hidden from the public is told to whoever reads the log.
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR and task.id in record.getMessage()]
    assert bool(errors) == (failure[0] is Kind.INTERNAL)


def test_what_may_pass_is_tried_again(tasks: Tasks, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "RETRY_SECONDS", 0.01)
    (task,) = tasks.submit("me", [(Edit(), Sources(Link("flaky")))], dialect="native")
    assert wait(tasks, task).status is Status.SUCCEEDED
    assert fake.notes()["cut flaky"] == 3


def test_what_does_not_pass_fails_after_eight_tries(tasks: Tasks, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "RETRY_SECONDS", 0.01)
    (task,) = tasks.submit("me", [(Edit(), Sources(Link("away")))], dialect="native", hook=HOOK)
    done = announced(tasks, task)
    assert (done.status, done.reason) == (Status.FAILED, "The storage cannot be reached.")
    assert fake.notes()["cut away"] == steps.TRIES == 8
    assert suspects(tasks) == []


def test_only_the_owner_finds_a_task(tasks: Tasks) -> None:
    (task,) = submit(tasks, "ok mine")
    assert tasks.get(task.id, "me").id == task.id
    for task_id, owner in ((task.id, "you"), ("nothing", "me"), ("nothing", None)):
        with pytest.raises(MatteboxError, match="no task with this id") as caught:
            tasks.get(task_id, owner)
        assert caught.value.kind is Kind.NOT_FOUND
    with pytest.raises(MatteboxError, match="no task with this id"):
        tasks.cancel(task.id, "you")
    with pytest.raises(MatteboxError, match="no task with this id"):
        tasks.listing("you", after=task.id)
    wait(tasks, task)


@pytest.mark.process
def test_a_task_that_is_cancelled_as_it_begins_is_no_error(
    tasks: Tasks, fake: Fake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begin = steps.Steps.start

    def cancelled_first(self: steps.Steps, task_id: str) -> bool:
        tasks.cancel(task_id, "me")
        return begin(self, task_id)

    with monkeypatch.context() as patch:
        patch.setattr(steps.Steps, "start", cancelled_first)
        (task,) = submit(tasks, "cancelled-as-it-begins")
        wait(tasks, task, Status.CANCELLED)
        wait_for(lambda: "no longer owned" in caplog.text)  # the queue has noticed
    (after,) = submit(tasks, "after-it")
    assert wait(tasks, after).status is Status.SUCCEEDED
    assert fake.notes()[f"settled {task.id} cancelled"] == 1
    assert fake.notes()["cut cancelled-as-it-begins"] == 0
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_tasks_are_cancelled_while_they_wait_and_while_they_run(tasks: Tasks, fake: Fake) -> None:
    first, second, waiting = submit(tasks, "hold first", "hold second", "ok waiting", hook=HOOK)
    wait_for_note(fake.folder, "cut hold first")
    wait_for_note(fake.folder, "cut hold second")
    for task in (first, waiting):
        assert tasks.cancel(task.id, "me").status is Status.CANCELLED
        assert tasks.cancel(task.id, "me").status is Status.CANCELLED
    (after,) = submit(tasks, "ok after")
    wait(tasks, after)  # the first has freed its worker, and nobody has released it
    fake.release("hold second")
    announced(tasks, second)
    for task in (first, waiting):
        ended = tasks.get(task.id)
        assert (ended.status, ended.result) == (Status.CANCELLED, None)
        assert ended.finished is not None
        assert fake.notes()[f"deliver {task.id}"] == 0
        assert fake.notes()[f"settled {task.id} cancelled"] == 1
    assert fake.notes()["cut ok waiting"] == fake.notes()["done hold first"] == 0
    with pytest.raises(MatteboxError, match="ended already") as caught:
        tasks.cancel(second.id, "me")
    assert caught.value.kind is Kind.CONFLICT


def test_a_webhook_is_sent_again_until_it_is_received(tasks: Tasks, fake: Fake) -> None:
    (second,) = submit(tasks, "ok second", hook=Hook("second"))
    (never,) = submit(tasks, "ok never", hook=Hook("never"))
    received = announced(tasks, second)
    assert (received.status, received.hook_attempts, received.hook_failure) == (Status.SUCCEEDED, 2, None)
    assert received.hook_attempted is not None
    while (lost := tasks.get(never.id)).hook_attempts < 2:
        time.sleep(0.01)
    assert (lost.status, lost.announced) == (Status.SUCCEEDED, None)
    assert lost.hook_failure == "The webhook was answered with status 500."
    assert lost.hook_attempted is not None
    assert lost.finished is not None
    assert lost.hook_attempted > lost.finished
    assert webhook_id(never.id, 1) in messages(tasks)
    assert webhook_id(never.id, 2) not in messages(tasks)  # which would have been queued together with the row
    assert fake.notes()[f"deliver {never.id}"] == 2
    assert fake.notes()[f"deliver {second.id}"] == 2
    assert fake.delivered(second) == 1


def test_tasks_and_what_belongs_to_them_are_queued_together_or_not_at_all(tasks: Tasks, fake: Fake) -> None:
    with tasks.engine.begin() as connection:
        connection.execute(text("CREATE TABLE credits (spent INTEGER)"))

    def spend(connection: Connection) -> None:
        connection.execute(text("INSERT INTO credits VALUES (2)"))

    def overspend(connection: Connection) -> None:
        spend(connection)
        raise MatteboxError(Kind.OUT_OF_CREDITS, "This key has no credits left.")

    edits = [(Edit(), Sources(Stored("ok paid")))] * 2
    with pytest.raises(MatteboxError, match="no credits"):
        tasks.submit("poor", edits, dialect="native", in_transaction=overspend)
    with pytest.raises(ValueError, match="stored sources only"):
        tasks.submit("poor", [*edits, (Edit(), Sources(Upload(b"")))], dialect="native", in_transaction=spend)
    assert tasks.listing("poor") == []
    for task in tasks.submit("rich", edits, dialect="native", in_transaction=spend):
        wait(tasks, task)
    with tasks.engine.connect() as connection:
        assert connection.scalar(text("SELECT SUM(spent) FROM credits")) == 2
    assert fake.notes()["cut ok paid"] == 2


@pytest.mark.slow
def test_fifty_tasks_and_their_listing(tasks: Tasks, fake: Fake) -> None:
    edits = [(Edit(), Sources(Stored(f"ok {number}"))) for number in range(50)]
    made = tasks.submit("crowd", edits, dialect="native", hook=HOOK, batch="fifty")
    (other,) = submit(tasks, "ok other", owner="crowd")
    assert [(task.edit, task.sources) for task in made] == edits
    for task in made:
        announced(tasks, task)
    newest = [task.id for task in reversed(made)]
    assert [task.id for task in tasks.listing("crowd", limit=100)] == [other.id, *newest]
    page = tasks.listing("crowd", limit=20, batch="fifty")
    rest = tasks.listing("crowd", limit=40, after=page[-1].id, batch="fifty")
    assert [task.id for task in page + rest] == newest
    assert all(fake.delivered(task) == 1 for task in made)
    assert all(fake.notes()[f"cut ok {number}"] == 1 for number in range(50))


def test_nothing_in_the_queue_is_pickled(tasks: Tasks) -> None:
    (task,) = submit(tasks, "ok plain")
    wait(tasks, task)
    schema = "" if tasks.engine.dialect.name == "sqlite" else "dbos."
    with tasks.engine.connect() as connection:

        def kept(column: str, table: str) -> list[object]:
            query = text(f"SELECT {column} FROM {schema}{table} WHERE workflow_uuid = :id")  # noqa: S608
            return [json.loads(value) for value in connection.execute(query, {"id": task.id}).scalars()]

        assert kept("inputs", "workflow_input") == [{"namedArgs": {}, "positionalArgs": [task.id]}]
        assert True in kept("output", "operation_outputs")


def test_one_name_one_process(tasks: Tasks, url: str, fake: Fake) -> None:
    twin = Tasks(url, node="main", work=fake, options=OPTIONS)
    with pytest.raises(MatteboxError, match="Another process is running as node 'main'") as caught:
        twin.start()
    assert caught.value.kind is Kind.CONFLICT
    second = Tasks(url, node="second", work=fake, options=OPTIONS)
    with pytest.raises(MatteboxError, match="this process") as caught:
        second.start()
    assert caught.value.kind is Kind.CONFLICT
    with tasks.engine.connect() as connection:  # the one that was refused has left nothing behind
        assert connection.execute(text("SELECT id FROM nodes")).scalars().all() == ["main"]


def test_finished_tasks_are_forgotten(tasks: Tasks, url: str, fake: Fake) -> None:
    first, second = submit(tasks, "ok old", "hold young", hook=HOOK)
    announced(tasks, first)
    door = Tasks(url, node="door", work=fake, options=TaskOptions(retention=0.001))
    door.start(role="api")
    try:
        assert door.sweep() >= 1
        with pytest.raises(MatteboxError, match="no task with this id"):
            door.get(first.id)
        fake.release("hold young")
        assert announced(tasks, second).status is Status.SUCCEEDED
    finally:
        door.close()


@pytest.mark.process
def test_a_database_that_goes_away_is_waited_for(postgres: Postgres, tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    address = postgres.create_database()
    door = Tasks(address, node="door", work=fake, options=OPTIONS)
    door.start(role="api")
    try:
        with worker(address, tmp_path, "node"):
            tasks = submit(door, *(f"hold {number}" for number in range(4)), hook=HOOK)
            wait_for_note(tmp_path, "cut hold 0")
            postgres.kill()
            for action in (lambda: submit(door, "ok never"), lambda: door.get(tasks[0].id)):
                with pytest.raises(MatteboxError, match="database cannot be reached") as caught:
                    action()
                assert caught.value.kind is Kind.UNAVAILABLE
            fake.release(*(f"hold {number}" for number in range(4)))
            wait_for_note(tmp_path, "done hold 0")  # nobody can write that down yet
            postgres.start()
            assert [announced(door, task).status for task in tasks] == [Status.SUCCEEDED] * 4
        assert [fake.delivered(task) for task in tasks] == [1] * 4
    finally:
        door.close()
        postgres.drop_database(address)


# -- workers that die -------------------------------------------------------------------------------------------------


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/mattebox.db"


@pytest.fixture
def door(address: str, tmp_path: Path) -> Iterator[Tasks]:
    """A process that takes tasks in and works on none."""
    queue = Tasks(address, node="door", work=Fake(tmp_path), options=OPTIONS)
    queue.start(role="api")
    yield queue
    queue.close()


@contextmanager
def worker(address: str, folder: Path, node: str, *, grace: int = 5) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, address, str(folder), node, str(grace)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


def stop(process: subprocess.Popen[str], tasks: Tasks) -> None:
    """Stop it while it does not hold the lock of the SQLite file, which it would keep."""
    while True:
        process.send_signal(signal.SIGSTOP)
        with tasks.engine.connect() as connection:
            connection.execute(text("PRAGMA busy_timeout=300"))
            try:
                connection.execute(text("BEGIN IMMEDIATE"))
            except OperationalError:
                process.send_signal(signal.SIGCONT)
            else:
                return
            finally:
                connection.invalidate()


@pytest.mark.process
def test_a_killed_worker_goes_on_after_its_restart(door: Tasks, address: str, tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    names = [*(f"ok {number}" for number in range(4)), "hold 4", "hold 5", *(f"ok {number}" for number in range(6, 10))]
    tasks = submit(door, *names, hook=HOOK)
    assert all(task.status is Status.QUEUED for task in door.listing("me"))
    with worker(address, tmp_path, "node") as process:
        for task in tasks[:4]:  # nobody can know whether a webhook was received that has no answer yet
            announced(door, task)
        for name in ("hold 4", "hold 5"):
            wait_for_note(tmp_path, f"cut {name}")
        process.kill()
        process.wait(10)
    assert [door.get(task.id).status for task in tasks[4:7]] == [Status.RUNNING, Status.RUNNING, Status.QUEUED]
    fake.release("hold 4", "hold 5")
    with worker(address, tmp_path, "node"):
        assert [announced(door, task).status for task in tasks] == [Status.SUCCEEDED] * 10
    assert [fake.delivered(task) for task in tasks] == [1] * 10
    assert [fake.notes()[f"cut {name}"] for name in names] == [1, 1, 1, 1, 2, 2, 1, 1, 1, 1]


@pytest.mark.process
def test_another_node_takes_over(door: Tasks, address: str, tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    with worker(address, tmp_path, "second") as second:
        tasks = submit(door, "hold a", "hold b", hook=HOOK)
        wait_for_note(tmp_path, "cut hold a")
        second.kill()
        fake.release("hold a", "hold b")
        with worker(address, tmp_path, "first"):
            done = [announced(door, task) for task in tasks]
        assert [task.status for task in done] == [Status.SUCCEEDED] * 2
    assert fake.notes()["cut hold a"] == 2
    assert [fake.delivered(task) for task in tasks] == [1, 1]


@pytest.mark.process
def test_a_node_that_was_stopped_and_wakes_up_does_no_harm(door: Tasks, address: str, tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    (task,) = submit(door, "hold a", hook=HOOK)
    with worker(address, tmp_path, "sleeper") as sleeper:
        wait_for_note(tmp_path, "cut hold a")
        stop(sleeper, door)
        fake.release("hold a")
        with worker(address, tmp_path, "other"):
            assert announced(door, task).status is Status.SUCCEEDED
        sleeper.send_signal(signal.SIGCONT)
        wait_for_note(tmp_path, "done hold a", 2)
        (after,) = submit(door, "ok after", hook=HOOK)
        announced(door, after)
    assert (fake.delivered(task), fake.delivered(after)) == (1, 1)


@pytest.mark.process
def test_who_was_beside_a_death_is_a_suspect_and_who_was_stopped_is_not(
    door: Tasks, address: str, tmp_path: Path
) -> None:
    fake = Fake(tmp_path)
    (task,) = submit(door, "hold a")
    with worker(address, tmp_path, "node", grace=0) as process:
        wait_for_note(tmp_path, "cut hold a", 1)
        process.terminate()
        assert process.wait(20) == 0
    assert door.get(task.id).status is Status.RUNNING
    with worker(address, tmp_path, "node") as process:
        wait_for_note(tmp_path, "cut hold a", 2)
        assert suspects(door) == []
        process.kill()
    with worker(address, tmp_path, "node", grace=20) as process:
        wait_for_note(tmp_path, "cut hold a", 3)
        assert suspects(door) == [task.id]
        process.terminate()
        fake.release("hold a")  # in time for its grace
        assert process.wait(30) == 0
    assert door.get(task.id).status is Status.SUCCEEDED


@pytest.mark.process
def test_work_of_an_older_mattebox_is_taken_over(door: Tasks, address: str, tmp_path: Path) -> None:
    """One that named its messages after the node alone."""
    fake = Fake(tmp_path)
    (task,) = submit(door, "hold a", hook=HOOK)
    with worker(address, tmp_path, "node") as process:
        wait_for_note(tmp_path, "cut hold a")
        process.kill()
        process.wait(20)
    with door.engine.begin() as connection:
        connection.execute(text("UPDATE workflow_status SET executor_id = 'node'"))
    fake.release("hold a")
    with worker(address, tmp_path, "node"):
        assert announced(door, task).status is Status.SUCCEEDED


@pytest.mark.process
def test_a_node_that_loses_its_name_says_so_and_comes_back(door: Tasks, address: str, tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    lives = threading.Event()

    def stranger() -> None:
        """Another process that has taken the name, and lives."""
        with door.engine.begin() as connection:
            connection.execute(update(NODES).values(process="stranger", signature=""))
        while not lives.wait(0.05):
            with door.engine.begin() as connection:
                connection.execute(update(NODES).values(seen=now()))

    (task,) = submit(door, "hold a", hook=HOOK)
    with worker(address, tmp_path, "node"):
        wait_for_note(tmp_path, "cut hold a")
        wait_for_note(tmp_path, "check ok")
        thread = threading.Thread(target=stranger)
        thread.start()
        try:
            wait_for_note(tmp_path, f"check {NAME_TAKEN}")
            assert door.get(task.id).status is Status.RUNNING
        finally:
            lives.set()
            thread.join()
        wait_for_note(tmp_path, "check ok", 2)
        wait_for_note(tmp_path, "cut hold a", 2)
        assert suspects(door) == []
        fake.release("hold a")
        assert announced(door, task).status is Status.SUCCEEDED
    assert (fake.notes()["done hold a"], fake.delivered(task)) == (1, 1)


@pytest.mark.parametrize(
    "options",
    [
        lambda: TaskOptions(concurrency=0),
        lambda: TaskOptions(attempts=0),
        lambda: TaskOptions(polling=0),
        lambda: TaskOptions(webhook_retries=-1),
        lambda: TaskOptions(timeout=0),
        lambda: TaskOptions(probation=-1),
        lambda: TaskOptions(beat=3, lease=5),
    ],
)
def test_options_that_make_no_sense_are_refused(options: type[TaskOptions]) -> None:
    with pytest.raises(ValueError, match=r"must (be|not be)"):
        options()


def test_a_secret_does_not_spill_into_logs() -> None:
    assert "secret" not in repr(HOOK)


def _main(address: str, folder: str, node: str, grace: str) -> None:
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    options = replace(OPTIONS, grace=int(grace))
    tasks = Tasks(address, node=node, work=Fake(Path(folder)), options=options)
    tasks.start(role="worker")
    print("ready", flush=True)
    fake, said = Fake(Path(folder)), ""
    while not stopping.wait(0.05):
        try:
            tasks.check()
            state = "ok"
        except MatteboxError as error:
            state = error.message
        if state != said:
            fake.note("check", state)
            said = state
    tasks.close()


if __name__ == "__main__":
    _main(*sys.argv[1:])

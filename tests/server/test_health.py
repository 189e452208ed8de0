from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path

import anyio
import pytest

from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.server.fetch import Fetcher
from mattebox.server.health import Health, Readiness, Stores
from mattebox.server.maintenance import Supervisor
from mattebox.server.runner import Runner
from mattebox.server.store.blobs import Blobs
from mattebox.server.store.database import connect
from mattebox.testing import FakeModels


class Weights(FakeModels):
    """Networks that cannot be loaded the first few times."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.failures = list(failures)

    def warm(self, name: str) -> None:
        super().warm(name)
        if self.failures:
            raise self.failures.pop(0)


def ready(models: FakeModels, *, pause: float = 0.0) -> tuple[Runner, Readiness]:
    runner = Runner(Engine(models), Fetcher())
    return runner, Readiness(runner, pause=pause)


def test_until_loading_ends_the_answer_is_to_come_back() -> None:
    async def story() -> None:
        _, readiness = ready(FakeModels())
        with pytest.raises(MatteboxError) as caught:
            await readiness.check()
        assert (caught.value.kind, caught.value.retry_after) == (Kind.UNAVAILABLE, 5)
        await readiness.load()
        await readiness.check()

    anyio.run(story)


def test_a_request_waits_for_loading() -> None:
    async def story() -> None:
        _, readiness = ready(FakeModels())
        async with anyio.create_task_group() as group:
            group.start_soon(partial(readiness.check, patience=10))
            await anyio.wait_all_tasks_blocked()
            group.start_soon(readiness.load)

    anyio.run(story)


def test_missing_weights_are_said_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        models = Weights(*[MatteboxError(Kind.UNAVAILABLE, "The weights are missing.") for _ in range(2)])
        _, readiness = ready(models, pause=0.2)
        async with anyio.create_task_group() as group:
            group.start_soon(readiness.load)
            with pytest.raises(MatteboxError, match=r"The weights are missing\.") as caught:
                await readiness.check(patience=10)
            assert caught.value.kind is Kind.UNAVAILABLE
        await readiness.check()
        assert len(models.warmed) == 3

    anyio.run(story)
    assert [record.getMessage() for record in caplog.records] == [
        "the model cannot be loaded: The weights are missing."
    ] * 2
    assert not any(record.exc_info for record in caplog.records)


def test_nobody_waits_for_a_download() -> None:
    go_on = threading.Event()

    async def story() -> None:
        class Fetching(FakeModels):
            def warm(self, name: str) -> None:
                readiness.progress("weights: downloading", 1, 2)
                assert go_on.wait(20)

        _, readiness = ready(Fetching())
        async with anyio.create_task_group() as group:
            group.start_soon(readiness.load)
            with anyio.fail_after(5), pytest.raises(MatteboxError, match="being fetched") as caught:
                await readiness.check(patience=20)
            assert caught.value.retry_after == 30
            go_on.set()
        await readiness.check()

    anyio.run(story)


def test_a_server_that_stops_ends_its_download(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        class Fetching(FakeModels):
            def warm(self, name: str) -> None:
                while True:
                    readiness.progress("weights: downloading", 1, None)
                    time.sleep(0.01)

        _, readiness = ready(Fetching(), pause=60)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(readiness.load)
                await anyio.sleep(0.1)
                await readiness.stop()

    anyio.run(story)
    assert caplog.records == []


def test_a_server_that_stops_does_not_wait_to_try_again() -> None:
    async def story() -> None:
        _, readiness = ready(Weights(MatteboxError(Kind.UNAVAILABLE, "missing")), pause=60)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(readiness.load)
                await anyio.wait_all_tasks_blocked()
                await readiness.stop()

    anyio.run(story)


def test_what_will_not_mend_is_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        models = Weights(MatteboxError(Kind.INVALID_PARAMETER, "There is no such model."))
        _, readiness = ready(models)
        await readiness.load()
        with pytest.raises(MatteboxError, match="no such model") as caught:
            await readiness.check(patience=10)
        assert caught.value.kind is Kind.UNAVAILABLE
        assert len(models.warmed) == 1

    anyio.run(story)
    assert [record.exc_info for record in caplog.records] == [None]


def test_a_defect_is_said_without_its_words_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        models = Weights(ZeroDivisionError("a secret of ours"))
        _, readiness = ready(models)
        supervisor = Supervisor(pause=0.01)
        with pytest.raises(ZeroDivisionError):
            await readiness.load()
        with pytest.raises(MatteboxError) as caught:
            await readiness.check(patience=10)
        assert (caught.value.kind, caught.value.message) == (Kind.UNAVAILABLE, "The model cannot be loaded.")
        models.failures.append(ZeroDivisionError("a secret of ours"))
        supervisor.start("Loading the networks", readiness.load)
        with anyio.fail_after(20):
            while len(models.warmed) < 3:
                await anyio.sleep(0.01)
            while supervisor.failing:
                await anyio.sleep(0.01)
        await readiness.check()
        await supervisor.close()

    anyio.run(story)
    assert ["a secret" in str(record.exc_info) for record in caplog.records] == [True]


# --- everything together -----------------------------------------------------------------------------------------


class Queue:
    """Stands in for the queue of a node that has lost its name."""

    def check(self) -> None:
        raise MatteboxError(Kind.UNAVAILABLE, "Another process runs under this node's name.")


def test_a_server_says_the_first_reason_why_it_cannot_work(tmp_path: Path) -> None:
    async def story() -> None:
        runner, readiness = ready(FakeModels())
        database = connect(f"sqlite:///{tmp_path}/mattebox.db")
        stores = Stores(database, Blobs((tmp_path / "blobs").as_uri()))
        supervisor = Supervisor(pause=0.01)
        health = Health(readiness, stores, runner, supervisor, None)
        with pytest.raises(MatteboxError, match="still being loaded"):
            await health.check()
        await readiness.load()
        await health.check()
        with pytest.raises(MatteboxError, match="this node's name"):
            await Health(readiness, stores, runner, supervisor, Queue()).check()
        assert health.warnings == []

        async def broken() -> float:
            raise ZeroDivisionError("a secret")

        supervisor.start("Deleting what has expired", broken)
        with anyio.fail_after(20):
            while not health.warnings:
                await anyio.sleep(0.01)
        assert health.warnings == ["Deleting what has expired failed: The server's log says why."]
        await health.check()  # pictures can be made all the same
        await supervisor.close()
        database.dispose()

    anyio.run(story)

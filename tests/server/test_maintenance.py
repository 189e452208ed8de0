from __future__ import annotations

import asyncio
import time
from pathlib import Path

import anyio
import pytest

from mattebox.errors import Kind, MatteboxError
from mattebox.server.maintenance import MemoryReturn, Supervisor, sweep
from mattebox.server.store.claims import Claims
from mattebox.server.store.database import connect, create


async def until_failing(supervisor: Supervisor, failing: bool) -> None:
    with anyio.fail_after(20):
        while bool(supervisor.failing) is not failing:
            await anyio.sleep(0.005)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (MatteboxError(Kind.UNAVAILABLE, "The storage cannot be reached."), "The storage cannot be reached."),
        (ZeroDivisionError("a secret of ours"), "The server's log says why."),
        (asyncio.CancelledError(), "The server's log says why."),  # of something inside, and not of the work itself
    ],
)
def test_what_fails_is_logged_and_said_and_begun_again(
    failure: BaseException, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        mended = anyio.Event()
        rounds = 0

        async def work() -> float:
            nonlocal rounds
            rounds += 1
            if not mended.is_set():
                raise failure
            return 0.01

        supervisor = Supervisor(pause=0.01, longest=0.02)
        supervisor.start("Sweeping", work)
        await until_failing(supervisor, True)
        assert supervisor.failing == [f"Sweeping failed: {said}"]
        with anyio.fail_after(20):
            while rounds < 4:
                await anyio.sleep(0.005)
        mended.set()
        await until_failing(supervisor, False)
        before = rounds
        with anyio.fail_after(20):
            while rounds < before + 3:  # it goes on, round after round
                await anyio.sleep(0.005)
        await supervisor.close()
        assert caplog.records
        assert all(bool(record.exc_info) is not isinstance(failure, MatteboxError) for record in caplog.records)

    anyio.run(story)


def test_work_that_is_done_is_not_done_again() -> None:
    async def story() -> None:
        done: list[int] = []

        async def work() -> None:
            done.append(1)

        supervisor = Supervisor()
        supervisor.start("Loading", work)
        await anyio.wait_all_tasks_blocked()
        await supervisor.close()
        assert done == [1]

    anyio.run(story)


def test_work_ends_with_the_server() -> None:
    async def story() -> None:
        ended = anyio.Event()

        async def work() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                ended.set()

        supervisor = Supervisor()
        supervisor.start("Sweeping", work)
        await anyio.wait_all_tasks_blocked()
        await supervisor.close()
        await supervisor.close()
        assert ended.is_set()

    anyio.run(story)


def test_one_server_sweeps_at_a_time(tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/mattebox.db")
    create(database)
    swept: list[str] = []

    def sweeping(who: str, count: int) -> int:
        swept.append(who)
        return count

    async def story() -> None:
        one, other = Claims(database), Claims(database)
        begin = time.time()

        async def go(claims: Claims, who: str, count: int) -> float:
            def work(now: float) -> int:
                assert now >= begin
                return sweeping(who, count)

            return await sweep(claims, "blobs", work, at_once=10)

        assert await go(one, "one", 10) == 0  # there is more
        assert await go(other, "other", 0) > 0
        assert await go(one, "one", 9) > 0
        assert swept == ["one", "one"]
        assert one.claim("blobs", seconds=-1)  # as if it had not been heard of for long
        assert await go(other, "other", 0) > 0
        assert await go(one, "one", 0) > 0
        assert swept == ["one", "one", "other"]

    anyio.run(story)
    database.dispose()


def test_a_sweep_that_fails_is_tried_again_by_the_same_server(tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/mattebox.db")
    create(database)
    claims = Claims(database)

    def fail(_now: float) -> int:
        raise MatteboxError(Kind.UNAVAILABLE, "The storage is away.")

    async def story() -> None:
        for _ in range(2):  # and is said each time
            with pytest.raises(MatteboxError, match="storage is away"):
                await sweep(claims, "blobs", fail, at_once=10)

    anyio.run(story)
    database.dispose()


def test_memory_is_given_back_once_after_each_burst_of_work() -> None:
    busy, given_back = [False], []
    memory = MemoryReturn(lambda: busy[0], lambda: given_back.append(True))

    async def looks(*seen: bool) -> int:
        for busy[0] in seen:
            assert await memory.round() > 0
        return len(given_back)

    assert anyio.run(looks, False, False) == 0  # nothing was done
    assert anyio.run(looks, True, True) == 0  # it is not over
    assert anyio.run(looks, False, False) == 1
    assert anyio.run(looks, True, False, False) == 2

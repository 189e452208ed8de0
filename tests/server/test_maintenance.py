from __future__ import annotations

import anyio
import pytest

from mattebox.errors import Kind, MatteboxError
from mattebox.server.maintenance import Supervisor


async def until_failing(supervisor: Supervisor, failing: bool) -> None:
    with anyio.fail_after(20):
        while bool(supervisor.failing) is not failing:
            await anyio.sleep(0.005)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (MatteboxError(Kind.UNAVAILABLE, "The storage cannot be reached."), "The storage cannot be reached."),
        (ZeroDivisionError("a secret of ours"), "The server's log says why."),
    ],
)
def test_what_fails_is_logged_and_said_and_begun_again(
    failure: Exception, said: str, caplog: pytest.LogCaptureFixture
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

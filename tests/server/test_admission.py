from __future__ import annotations

import anyio
import pytest

from mattebox.errors import Kind, MatteboxError
from mattebox.server.admission import Admission, FairLimiter, Line, UploadLimiter


class Crowd:
    """People who come to a limiter, and the order in which they were let in."""

    def __init__(self, limiter: FairLimiter) -> None:
        self._limiter = limiter
        self._leave: dict[str, anyio.Event] = {}
        self.inside: list[str] = []
        self.order: list[str] = []

    async def come(self, name: str, weight: int, line: Line = Line.REQUESTS) -> None:
        self._leave[name] = anyio.Event()
        async with self._limiter.hold(weight, line):
            self.inside.append(name)
            self.order.append(name)
            await self._leave[name].wait()
            self.inside.remove(name)

    async def go(self, name: str) -> None:
        self._leave[name].set()
        await anyio.wait_all_tasks_blocked()


def test_first_come_first_served_and_the_heavy_is_not_overtaken() -> None:
    async def story() -> None:
        crowd = Crowd(FairLimiter(10))
        async with anyio.create_task_group() as group:
            for name, weight in (("a", 6), ("heavy", 7), ("light", 1)):
                group.start_soon(crowd.come, name, weight)
                await anyio.wait_all_tasks_blocked()
            assert crowd.inside == ["a"]
            await crowd.go("a")
            assert crowd.inside == ["heavy", "light"]
            await crowd.go("heavy")
            await crowd.go("light")

    anyio.run(story)


def test_what_is_larger_than_everything_comes_in_alone() -> None:
    async def story() -> None:
        crowd = Crowd(FairLimiter(10))
        async with anyio.create_task_group() as group:
            for name, weight in (("small", 1), ("huge", 1000), ("next", 1)):
                group.start_soon(crowd.come, name, weight)
                await anyio.wait_all_tasks_blocked()
            assert crowd.inside == ["small"]
            await crowd.go("small")
            assert crowd.inside == ["huge"]
            await crowd.go("huge")
            assert crowd.inside == ["next"]
            await crowd.go("next")

    anyio.run(story)


def test_neither_line_starves_the_other() -> None:
    async def story() -> None:
        crowd = Crowd(FairLimiter(1))
        async with anyio.create_task_group() as group:
            group.start_soon(crowd.come, "first", 1)
            await anyio.wait_all_tasks_blocked()
            for name in ("r1", "r2", "r3", "t1", "t2"):
                group.start_soon(crowd.come, name, 1, Line.TASKS if name[0] == "t" else Line.REQUESTS)
                await anyio.wait_all_tasks_blocked()
            for _ in range(6):
                await crowd.go(crowd.inside[0])
        assert crowd.order == ["first", "t1", "r1", "t2", "r2", "r3"]

    anyio.run(story)


def test_who_leaves_the_line_keeps_nobody_waiting() -> None:
    async def story() -> None:
        crowd = Crowd(FairLimiter(10))
        async with anyio.create_task_group() as group:
            group.start_soon(crowd.come, "a", 6)
            await anyio.wait_all_tasks_blocked()
            gone = anyio.CancelScope()

            async def impatient() -> None:
                with gone:
                    await crowd.come("heavy", 7)

            group.start_soon(impatient)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(crowd.come, "light", 4)
            await anyio.wait_all_tasks_blocked()
            assert crowd.inside == ["a"]
            gone.cancel()
            await anyio.wait_all_tasks_blocked()
            assert crowd.inside == ["a", "light"]
            await crowd.go("a")
            await crowd.go("light")

    anyio.run(story)


def test_requests_are_counted_and_refused_and_tasks_are_not() -> None:
    async def story() -> None:
        admission = Admission(workers=1, queue=1, pixels=100)
        assert (admission.capacity, admission.free) == (2, 2)
        with admission.request(), admission.request():
            assert admission.free == 0
            with pytest.raises(MatteboxError) as caught, admission.request():
                pytest.fail("three were let in")
            assert (caught.value.kind, caught.value.retry_after) == (Kind.OVERLOADED, 2)
            async with admission.worker(Line.TASKS), admission.pixels(10**9, Line.TASKS):
                pass
        assert admission.free == 2

    anyio.run(story)


def test_alone_means_that_nobody_else_has_a_worker() -> None:
    async def story() -> None:
        admission = Admission(workers=3, queue=0, pixels=100)
        async with anyio.create_task_group() as group:
            entered = anyio.Event()

            async def alone() -> None:
                async with admission.worker(Line.TASKS, alone=True):
                    entered.set()

            async with admission.worker(Line.REQUESTS):
                group.start_soon(alone)
                await anyio.wait_all_tasks_blocked()
                assert not entered.is_set()
            with anyio.fail_after(10):
                await entered.wait()

    anyio.run(story)


def test_uploads_are_let_in_so_many_at_a_time() -> None:
    uploads = UploadLimiter(2)
    for _ in range(2):
        with uploads, uploads:
            with pytest.raises(MatteboxError) as caught, uploads:
                pytest.fail("three were let in")
            assert (caught.value.kind, caught.value.retry_after) == (Kind.OVERLOADED, 2)

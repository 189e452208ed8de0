from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import anyio
import pytest

from mattebox.errors import Kind, MatteboxError
from mattebox.server.admission import ANYBODY, BACKLOG, Admission, FairLimiter, Line, Owner, Ticket, UploadLimiter
from mattebox.server.pace import Pace

ANN, BOB, EVE = Owner(id="ann"), Owner(id="bob"), Owner(id="eve")


class Crowd:
    """People who come to a limiter, and the order in which they were let in."""

    def __init__(self, limiter: FairLimiter) -> None:
        self._limiter = limiter
        self._leave: dict[str, anyio.Event] = {}
        self.inside: list[str] = []
        self.order: list[str] = []

    async def come(self, name: str, weight: int, owner: Owner = ANN, cost: float = 1.0, waited: float = 0.0) -> None:
        self._leave[name] = anyio.Event()
        ticket = Ticket(owner=owner, line=Line.REQUESTS, cost=cost, since=anyio.current_time() - waited)
        async with self._limiter.hold(weight, ticket):
            self.inside.append(name)
            self.order.append(name)
            await self._leave[name].wait()
            self.inside.remove(name)

    async def go(self, name: str) -> None:
        self._leave[name].set()
        await anyio.wait_all_tasks_blocked()

    async def all_go(self) -> None:
        while self.inside:
            await self.go(self.inside[0])


def admission(
    *, workers: int = 1, queue: int = 100, pixels: int = 100, timeout: float = 100.0, estimate: float = 1.0
) -> Admission:
    return Admission(workers=workers, queue=queue, pixels=pixels, timeout=timeout, pace=Pace(estimate))


def refused(enter: Callable[[], object]) -> MatteboxError:
    with pytest.raises(MatteboxError) as caught:
        enter()
    assert caught.value.kind is Kind.OVERLOADED
    return caught.value


def test_the_light_overtakes_what_does_not_fit_until_that_has_waited_long_enough() -> None:
    async def story(waited: float, inside: list[str]) -> None:
        crowd = Crowd(FairLimiter(10, patience=30))
        async with anyio.create_task_group() as group:
            for name, weight in (("a", 6), ("heavy", 7), ("light", 1)):
                group.start_soon(crowd.come, name, weight, ANN, 1.0, waited if name == "heavy" else 0)
                await anyio.wait_all_tasks_blocked()
            assert crowd.inside == inside
            await crowd.go("a")
            assert sorted(crowd.inside) == ["heavy", "light"]
            await crowd.all_go()

    anyio.run(story, 0, ["a", "light"])
    anyio.run(story, 31, ["a"])


def test_what_is_larger_than_everything_comes_in_alone() -> None:
    async def story() -> None:
        crowd = Crowd(FairLimiter(10, patience=30))
        async with anyio.create_task_group() as group:
            for name, weight in (("small", 1), ("huge", 1000)):
                group.start_soon(crowd.come, name, weight, ANN, 1.0, 31)
                await anyio.wait_all_tasks_blocked()
            group.start_soon(crowd.come, "next", 1)
            await anyio.wait_all_tasks_blocked()
            assert crowd.inside == ["small"]
            await crowd.go("small")
            assert crowd.inside == ["huge"]
            await crowd.go("huge")
            assert crowd.inside == ["next"]
            await crowd.go("next")

    anyio.run(story)


def test_owners_take_turns_however_many_pictures_each_has() -> None:
    async def story() -> None:
        crowd = Crowd(FairLimiter(1))
        async with anyio.create_task_group() as group:
            for name in ("e0", "e1", "e2", "e3", "e4", "a1", "a2", "b1"):
                owner = {"e": EVE, "a": ANN, "b": BOB}[name[0]]
                group.start_soon(crowd.come, name, 1, owner)
                await anyio.wait_all_tasks_blocked()
            await crowd.all_go()
        assert crowd.order == ["e0", "a1", "b1", "e1", "a2", "e2", "e3", "e4"]

    anyio.run(story)


def test_turns_are_by_what_pictures_cost_so_small_ones_are_not_held_up_by_large_ones() -> None:
    async def story() -> None:
        crowd = Crowd(FairLimiter(1))
        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(crowd.come, f"large {number}", 1, EVE, 4.0)
                await anyio.wait_all_tasks_blocked()
            for number in range(8):
                group.start_soon(crowd.come, f"small {number}", 1, ANN, 1.0)
                await anyio.wait_all_tasks_blocked()
            await crowd.all_go()
        last_small = crowd.order.index("small 7")
        assert crowd.order[:last_small].count("large 2") + crowd.order[:last_small].count("large 3") <= 1
        assert crowd.order.index("large 1") < last_small  # and the large ones are not starved either

    anyio.run(story)


def test_who_has_waited_long_goes_first_whatever_the_turns() -> None:
    async def story() -> None:
        crowd = Crowd(FairLimiter(1, patience=30))
        async with anyio.create_task_group() as group:
            for name, owner, waited in (("e0", EVE, 0), ("e1", EVE, 32), ("e2", EVE, 35), ("a1", ANN, 0)):
                group.start_soon(crowd.come, name, 1, owner, 1.0, waited)
                await anyio.wait_all_tasks_blocked()
            await crowd.all_go()
        assert crowd.order == ["e0", "e2", "e1", "a1"]

    anyio.run(story)


def test_who_leaves_the_line_keeps_nobody_waiting() -> None:
    async def story() -> None:
        crowd = Crowd(FairLimiter(10, patience=30))
        async with anyio.create_task_group() as group:
            group.start_soon(crowd.come, "a", 6)
            await anyio.wait_all_tasks_blocked()
            gone = anyio.CancelScope()

            async def impatient() -> None:
                with gone:
                    await crowd.come("heavy", 7, ANN, 1.0, 31)

            group.start_soon(impatient)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(crowd.come, "light", 4)
            await anyio.wait_all_tasks_blocked()
            assert crowd.inside == ["a"]
            gone.cancel()
            await anyio.wait_all_tasks_blocked()
            assert crowd.inside == ["a", "light"]
            await crowd.all_go()

    anyio.run(story)


def test_requests_are_counted_and_refused_and_tasks_are_not() -> None:
    async def story() -> None:
        counted = admission(queue=1)
        assert (counted.capacity, counted.free) == (2, 2)
        with counted.request(ANYBODY, "auto"), counted.request(ANYBODY, "auto"):
            assert counted.free == 0
            assert refused(lambda: counted.check(ANYBODY, "auto")).retry_after == pytest.approx(2)
            with counted.task("auto") as ticket:
                async with counted.worker(ticket), counted.work(ticket, 10**9):
                    pass
        assert counted.free == 2

    anyio.run(story)


def test_what_would_not_be_done_in_time_is_refused_with_the_time_until_there_is_room() -> None:
    async def story() -> None:
        counted = admission(timeout=10 / BACKLOG)
        with ExitStack() as taken:
            for _ in range(10):  # a second each
                taken.enter_context(counted.request(ANYBODY, "auto"))
            assert refused(lambda: counted.check(ANYBODY, "auto")).retry_after == pytest.approx(1)
        with counted.request(ANYBODY, "auto"), counted.request(ANYBODY, "auto") as large:
            assert refused(lambda: counted.weigh(large, 500_000_000)).retry_after == pytest.approx(
                17
            )  # 1 + 26 seconds for 10
            counted.weigh(large, 100_000_000)  # 1 + 6
            refused(lambda: [taken.enter_context(counted.request(ANYBODY, "auto")) for _ in range(4)])
            taken.close()

    anyio.run(story)


def test_a_picture_is_taken_on_where_a_worker_is_free_however_long_it_takes() -> None:
    async def story() -> None:
        counted = admission(workers=2, timeout=1.0, estimate=500.0)
        with counted.request(ANN, "auto"), counted.request(ANN, "auto") as second:
            counted.weigh(second, 10**9)
            assert refused(lambda: counted.check(BOB, "auto")).retry_after

    anyio.run(story)


def test_a_key_may_have_as_much_waiting_as_it_leaves_free() -> None:
    async def story() -> None:
        counted = admission(timeout=12 / BACKLOG)
        with ExitStack() as taken:

            def fill(owner: Owner) -> int:
                for number in range(100):
                    try:
                        taken.enter_context(counted.request(owner, "auto"))
                    except MatteboxError:
                        return number
                pytest.fail("there is no end")

            assert [fill(owner) for owner in (EVE, ANN, BOB)] == [6, 3, 2]

    anyio.run(story)


def test_places_are_kept_free_for_other_keys_too() -> None:
    async def story() -> None:
        counted = admission(queue=7, timeout=10_000)
        with ExitStack() as taken:
            for owner, places in ((EVE, 4), (ANN, 2), (BOB, 1)):
                for _ in range(places):
                    taken.enter_context(counted.request(owner, "auto"))
                refused(partial(counted.check, owner, "auto"))
            counted.check(Owner(id="zoe"), "auto")

    anyio.run(story)


def test_a_key_has_at_most_its_own_number_in_work_and_waiting() -> None:
    async def story() -> None:
        counted, two = admission(workers=8), Owner(id="two", most=2)
        with counted.request(two, "auto"), counted.request(two, "auto"):
            assert "2 pictures in work and waiting" in refused(lambda: counted.check(two, "auto")).message
            counted.check(ANN, "auto")
        counted.check(two, "auto")

    anyio.run(story)


def test_what_is_done_of_a_picture_does_not_wait_any_more() -> None:
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    async def story() -> None:
        clock = Clock()
        counted = Admission(workers=1, queue=9, pixels=100, timeout=10 / BACKLOG, pace=Pace(6.0, clock=clock))
        with counted.request(ANYBODY, "auto") as first:
            async with counted.worker(first), counted.work(first, 1):
                assert refused(lambda: counted.check(ANYBODY, "auto")).retry_after == pytest.approx(2)  # 6 + 6 in 10
                clock.now += 2
                counted.check(ANYBODY, "auto")

    anyio.run(story)


def test_alone_means_that_nobody_else_has_a_worker() -> None:
    async def story() -> None:
        counted = admission(workers=3)
        async with anyio.create_task_group() as group:
            entered = anyio.Event()

            async def alone() -> None:
                with counted.task("auto") as ticket:
                    async with counted.worker(ticket, alone=True):
                        entered.set()

            with counted.request(ANN, "auto") as ticket:
                async with counted.worker(ticket):
                    group.start_soon(alone)
                    await anyio.wait_all_tasks_blocked()
                    assert not entered.is_set()
            with anyio.fail_after(10):
                await entered.wait()

    anyio.run(story)


def test_uploads_are_let_in_so_many_at_a_time_and_a_key_leaves_room_for_others() -> None:
    uploads = UploadLimiter(2)
    for _ in range(2):
        with uploads.hold(ANYBODY), uploads.hold(ANYBODY):
            assert refused(lambda: uploads.hold(ANYBODY).__enter__()).retry_after == 2
    with uploads.hold(EVE):
        refused(lambda: uploads.hold(EVE).__enter__())
        with uploads.hold(ANN):
            refused(lambda: uploads.hold(BOB).__enter__())

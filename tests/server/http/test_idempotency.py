from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import pytest

from mattebox.edit import Edit, Layout, Picture
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Encoded
from mattebox.server.http.idempotency import IdempotencyCache
from mattebox.sources import Sources, Upload

EDIT = Edit()
SOURCES = Sources(Upload(b"photo"))


def result(size: int = 10) -> Encoded:
    return Encoded(data=bytes(size), media_type="image/png", width=1, height=1)


class Work:
    """Counts how often it was done; each time takes until `gate` opens."""

    def __init__(self, *outcomes: Encoded | MatteboxError) -> None:
        self.outcomes = list(outcomes)
        self.done = 0
        self.gate = anyio.Event()

    async def __call__(self) -> Encoded:
        await self.gate.wait()
        outcome = self.outcomes[min(self.done, len(self.outcomes) - 1)]
        self.done += 1
        if isinstance(outcome, MatteboxError):
            raise outcome
        return outcome


def run(story: Callable[[], Awaitable[None]]) -> None:
    anyio.run(story)


def test_the_same_request_is_done_once() -> None:
    async def story() -> None:
        kept, work = IdempotencyCache(), Work(result())
        work.gate.set()
        first = await kept.once("me", "k", EDIT, SOURCES, work)
        again = await kept.once("me", "k", EDIT, Sources(Upload(b"photo")), work)
        assert (first[1], again[1], work.done) == (False, True, 1)
        assert again[0] is first[0]

    run(story)


def test_another_owner_or_key_is_another_request() -> None:
    async def story() -> None:
        kept, work = IdempotencyCache(), Work(result())
        work.gate.set()
        for owner, key in (("me", "k"), ("you", "k"), ("me", "l")):
            assert not (await kept.once(owner, key, EDIT, SOURCES, work))[1]
        assert work.done == 3

    run(story)


@pytest.mark.parametrize(
    ("edit", "sources"),
    [
        (EDIT, Sources(Upload(b"another"))),
        (replace(EDIT, layout=Layout(crop=True)), SOURCES),
        (replace(EDIT, backdrop=Picture()), Sources(SOURCES.photo, Upload(b"another"))),
    ],
)
def test_the_same_key_for_something_else_is_refused(edit: Edit, sources: Sources) -> None:
    async def story() -> None:
        kept, work = IdempotencyCache(), Work(result())
        work.gate.set()
        await kept.once("me", "k", EDIT, SOURCES, work)
        with pytest.raises(MatteboxError) as caught:
            await kept.once("me", "k", edit, sources, work)
        assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, "Idempotency-Key")

    run(story)


def test_of_several_at_once_one_works() -> None:
    async def story() -> None:
        kept, work = IdempotencyCache(), Work(result())
        answers: list[bool] = []

        async def ask() -> None:
            answers.append((await kept.once("me", "k", EDIT, SOURCES, work))[1])

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            work.gate.set()
        assert work.done == 1
        assert sorted(answers) == [False, True, True, True, True]

    run(story)


def test_a_failure_is_not_kept_and_who_waited_tries_again() -> None:
    async def story() -> None:
        kept = IdempotencyCache()
        work = Work(MatteboxError(Kind.TIMED_OUT, "late"), result())
        failures = 0

        async def ask() -> None:
            nonlocal failures
            try:
                await kept.once("me", "k", EDIT, SOURCES, work)
            except MatteboxError:
                failures += 1

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            work.gate.set()
        assert (work.done, failures) == (2, 1)

    run(story)


def test_a_key_may_have_so_many_characters() -> None:
    async def story() -> None:
        kept, work = IdempotencyCache(), Work(result())
        work.gate.set()
        await kept.once("me", "k" * 255, EDIT, SOURCES, work)
        with pytest.raises(MatteboxError) as caught:
            await kept.once("me", "k" * 256, EDIT, SOURCES, work)
        assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, "Idempotency-Key")
        assert work.done == 1

    run(story)


def test_keys_take_room_too() -> None:
    async def story() -> None:
        work = Work(result(1000))
        work.gate.set()
        brief, long = IdempotencyCache(room=2300), IdempotencyCache(room=2300)
        for kept, key in ((brief, "k"), (long, "k" * 255)):
            for _ in range(2):
                await kept.once("me", key, EDIT, SOURCES, work)
        assert work.done == 1 + 2

    run(story)


def test_memory_is_bounded_and_time_too() -> None:
    async def story() -> None:
        kept, work = IdempotencyCache(room=10_000), Work(result(4000))
        work.gate.set()
        for key in "abc":
            await kept.once("me", key, EDIT, SOURCES, work)
        assert (await kept.once("me", "c", EDIT, SOURCES, work))[1]
        assert not (await kept.once("me", "a", EDIT, SOURCES, work))[1]
        large = Work(result(20_000))
        large.gate.set()
        for _ in range(2):
            assert not (await kept.once("me", "large", EDIT, SOURCES, large))[1]
        brief = IdempotencyCache(seconds=0.01)
        await brief.once("me", "k", EDIT, SOURCES, work)
        await anyio.sleep(0.05)
        assert not (await brief.once("me", "k", EDIT, SOURCES, work))[1]

    run(story)

from __future__ import annotations

import math
import socket
import threading
import time
from functools import partial

import anyio
import numpy as np
import pytest

from mattebox import codec
from mattebox.codec import Limits
from mattebox.edit import Edit, Output
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Encoded, Image
from mattebox.models import Segmenter
from mattebox.server.fetch import Fetcher, FetchOptions
from mattebox.server.runner import Runner, RunnerOptions
from mattebox.sources import Link, Sources, Upload
from mattebox.testing import FakeModels, make_scene
from mattebox.transforms import Flip, Mirror, Watermark

SCENE = make_scene(width=80, height=60, seed=0)
PHOTO = codec.encode(Image(rgb=SCENE.photo), Output())
EDIT = Edit()
SOURCES = Sources(Upload(PHOTO))


class Gate:
    """A segmenter that waits until it is let through."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, photo: RGB) -> Alpha:
        self.entered.release()
        assert self.open.wait(20)
        return np.ones((8, 8), np.float32)


def service(
    segmenter: Segmenter | None = None,
    options: RunnerOptions = RunnerOptions(),
    fetching: FetchOptions = FetchOptions(),
) -> Runner:
    return Runner(Engine(FakeModels(segmenter)), Fetcher(fetching), options=options)


async def leave(shell: Runner, sources: Sources, gone: anyio.CancelScope) -> None:
    """A request of a client that goes away."""
    with gone:
        await shell.run(EDIT, sources, limits=Limits())


def test_an_edit_comes_out_encoded() -> None:
    result = anyio.run(lambda: service().run(EDIT, SOURCES, limits=Limits()))
    assert result.media_type == "image/png"
    assert (result.width, result.height) == (80, 60)


def test_warming_loads_the_default_model_and_says_ready() -> None:
    models = FakeModels()
    shell = Runner(Engine(models), Fetcher(FetchOptions()), model="other")
    states = [shell.ready]
    anyio.run(shell.warm)
    assert [*states, shell.ready] == [False, True]
    assert models.warmed == ["other"]


def test_the_narrower_limit_holds() -> None:
    for ours, theirs in ((100, 10**9), (10**9, 100)):
        shell = Runner(Engine(FakeModels()), Fetcher(FetchOptions()), limits=Limits(max_pixels=ours))
        with pytest.raises(MatteboxError) as caught:
            anyio.run(partial(shell.run, EDIT, SOURCES, limits=Limits(max_pixels=theirs)))
        assert caught.value.kind is Kind.TOO_MANY_PIXELS


def test_too_much_work_is_refused_at_once_and_the_rest_gets_done() -> None:
    gate = Gate()
    shell = service(gate, RunnerOptions(workers=1, queue=1))
    results: list[Encoded] = []

    async def one() -> None:
        results.append(await shell.run(EDIT, SOURCES, limits=Limits()))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(one)
            group.start_soon(one)
            await anyio.to_thread.run_sync(gate.entered.acquire)
            with pytest.raises(MatteboxError) as caught:
                await shell.run(EDIT, SOURCES, limits=Limits())
            assert caught.value.kind is Kind.OVERLOADED
            assert caught.value.retry_after
            gate.open.set()
        await one()  # there is room again

    anyio.run(main)
    assert len(results) == 3


def test_a_client_that_left_is_not_worked_for_beyond_the_next_step() -> None:
    gate = Gate()

    async def main() -> None:
        gone = anyio.CancelScope()
        shell = service(gate, RunnerOptions(workers=1))
        async with anyio.create_task_group() as group:
            group.start_soon(leave, shell, SOURCES, gone)
            await anyio.to_thread.run_sync(gate.entered.acquire)
            gone.cancel()
            group.start_soon(partial(shell.run, EDIT, SOURCES, limits=Limits()))
            # The worker is not free before its thread has ended.
            assert not await anyio.to_thread.run_sync(partial(gate.entered.acquire, timeout=0.2))
            gate.open.set()
        assert gone.cancelled_caught

    anyio.run(main)


def test_a_deadline_ends_waiting_for_a_worker() -> None:
    gate = Gate()

    async def main() -> None:
        shell = service(gate, RunnerOptions(workers=1, timeout=0.3))
        async with anyio.create_task_group() as group:
            gone = anyio.CancelScope()
            group.start_soon(leave, shell, SOURCES, gone)
            await anyio.to_thread.run_sync(gate.entered.acquire)
            gone.cancel()
            with anyio.fail_after(5), pytest.raises(MatteboxError) as caught:
                await shell.run(EDIT, SOURCES, limits=Limits())
            assert caught.value.kind is Kind.TIMED_OUT
            gate.open.set()

    anyio.run(main)


def test_who_leaves_while_waiting_frees_the_place_at_once() -> None:
    gate = Gate()

    async def main() -> None:
        gone = anyio.CancelScope()
        shell = service(gate, RunnerOptions(workers=1, queue=1))
        async with anyio.create_task_group() as group:
            group.start_soon(partial(shell.run, EDIT, SOURCES, limits=Limits()))
            await anyio.to_thread.run_sync(gate.entered.acquire)
            group.start_soon(leave, shell, SOURCES, gone)
            await anyio.wait_all_tasks_blocked()
            gone.cancel()
            await anyio.sleep(0.05)
            group.start_soon(partial(shell.run, EDIT, SOURCES, limits=Limits()))  # not OVERLOADED
            await anyio.wait_all_tasks_blocked()
            gate.open.set()

    anyio.run(main)


def test_a_download_ends_when_the_client_leaves_and_at_the_deadline() -> None:
    async def main(silent: socket.socket) -> None:
        link = Sources(Link(f"http://127.0.0.1:{silent.getsockname()[1]}/photo.png"))
        allowed = FetchOptions(allow_private=True)
        begin = time.perf_counter()
        with pytest.raises(MatteboxError) as caught:
            await service(options=RunnerOptions(timeout=0.2), fetching=allowed).run(EDIT, link, limits=Limits())
        assert caught.value.kind is Kind.TIMED_OUT
        gone = anyio.CancelScope()
        async with anyio.create_task_group() as group:
            group.start_soon(leave, service(fetching=allowed), link, gone)
            await anyio.sleep(0.1)
            gone.cancel()
        assert gone.cancelled_caught
        assert time.perf_counter() - begin < 5

    with socket.create_server(("127.0.0.1", 0)) as silent:
        anyio.run(main, silent)


@pytest.mark.parametrize("timeout", [0.0, -1.0, math.nan, math.inf])
def test_a_deadline_is_a_number(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        RunnerOptions(timeout=timeout)


def test_a_deadline_ends_the_work_between_two_steps() -> None:
    with pytest.raises(MatteboxError) as caught:
        anyio.run(lambda: service(options=RunnerOptions(timeout=1e-6)).run(EDIT, SOURCES, limits=Limits()))
    assert caught.value.kind is Kind.TIMED_OUT


def test_a_link_is_fetched_with_care() -> None:
    with pytest.raises(MatteboxError) as caught:
        anyio.run(lambda: service().run(EDIT, Sources(Link("http://127.0.0.1/photo.png")), limits=Limits()))
    assert caught.value.kind is Kind.UNREACHABLE_SOURCE


# --- without a network -------------------------------------------------------------------------------------------


def test_a_picture_is_changed() -> None:
    shell = service()
    result = anyio.run(lambda: shell.transform(Mirror(mode=Flip.HORIZONTAL), lambda: PHOTO, limits=Limits()))
    np.testing.assert_array_equal(codec.decode(result.data).rgb, SCENE.photo[:, ::-1])
    marked = anyio.run(
        lambda: shell.transform(
            Watermark(places=((0, 0),)), lambda: PHOTO, marks=[lambda: result.data], limits=Limits()
        )
    )
    np.testing.assert_array_equal(codec.decode(marked.data).rgb, SCENE.photo[:, ::-1])


def test_of_a_picture_that_was_kept_only_the_pixels_are_bounded() -> None:
    few_bytes, few_pixels = Limits(max_bytes=10), Limits(max_pixels=100)
    assert len(PHOTO) > 10
    for ours, theirs in ((few_bytes, Limits()), (Limits(), few_bytes)):
        shell = Runner(Engine(FakeModels()), Fetcher(FetchOptions()), limits=ours)
        assert anyio.run(partial(shell.transform, None, lambda: PHOTO, limits=theirs)).width == 80
        assert anyio.run(partial(shell.run_kept, EDIT, lambda: PHOTO, limits=theirs)).width == 80
    for ours, theirs in ((few_pixels, Limits()), (Limits(), few_pixels)):
        shell = Runner(Engine(FakeModels()), Fetcher(FetchOptions()), limits=ours)
        for work in (
            partial(shell.transform, None, lambda: PHOTO, limits=theirs),
            partial(shell.run_kept, EDIT, lambda: PHOTO, limits=theirs),
            partial(shell.keep, Upload(PHOTO), limits=theirs),
        ):
            with pytest.raises(MatteboxError) as caught:
                anyio.run(work)
            assert caught.value.kind is Kind.TOO_MANY_PIXELS


def test_who_waits_with_a_picture_that_was_kept_holds_none_in_memory() -> None:
    gate = Gate()
    read: list[str] = []

    def photo() -> bytes:
        read.append("read")
        return PHOTO

    async def main() -> None:
        shell = service(gate, RunnerOptions(workers=1, queue=2))
        async with anyio.create_task_group() as group:
            group.start_soon(partial(shell.run, EDIT, SOURCES, limits=Limits()))
            await anyio.to_thread.run_sync(gate.entered.acquire)
            group.start_soon(partial(shell.run_kept, EDIT, photo, limits=Limits()))
            group.start_soon(partial(shell.transform, None, photo, limits=Limits()))
            await anyio.wait_all_tasks_blocked()
            assert shell.free == 0
            assert not read
            gate.open.set()
        assert read == ["read", "read"]

    anyio.run(main)


def test_a_picture_that_comes_to_be_kept_is_bounded_in_bytes() -> None:
    shell = service()
    assert anyio.run(lambda: shell.keep(Upload(PHOTO), limits=Limits())).data == PHOTO
    with pytest.raises(MatteboxError) as caught:
        anyio.run(lambda: shell.keep(Upload(PHOTO), limits=Limits(max_bytes=10)))
    assert caught.value.kind is Kind.TOO_MANY_BYTES
    with pytest.raises(MatteboxError) as caught:
        anyio.run(lambda: shell.keep(Link("http://127.0.0.1/photo.png"), limits=Limits()))
    assert caught.value.kind is Kind.UNREACHABLE_SOURCE


def test_changes_wait_in_the_same_line_as_edits_and_have_the_same_deadline() -> None:
    gate = Gate()

    async def main() -> None:
        shell = service(gate, RunnerOptions(workers=1, queue=1, timeout=0.5))
        gone = anyio.CancelScope()
        async with anyio.create_task_group() as group:
            group.start_soon(leave, shell, SOURCES, gone)
            await anyio.to_thread.run_sync(gate.entered.acquire)
            late: list[Kind] = []

            async def wait() -> None:
                with pytest.raises(MatteboxError) as caught:
                    await shell.transform(None, lambda: PHOTO, limits=Limits())
                late.append(caught.value.kind)

            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            for refused in (
                partial(shell.transform, None, lambda: PHOTO, limits=Limits()),
                partial(shell.keep, Upload(PHOTO), limits=Limits()),
                partial(shell.run_kept, EDIT, lambda: PHOTO, limits=Limits()),
            ):
                with pytest.raises(MatteboxError) as caught:
                    await refused()
                assert caught.value.kind is Kind.OVERLOADED
            gone.cancel()
            with anyio.fail_after(5):
                while not late:
                    await anyio.sleep(0.02)
            gate.open.set()
        assert late == [Kind.TIMED_OUT]

    anyio.run(main)


def test_a_deadline_ends_a_change_between_two_steps() -> None:
    with pytest.raises(MatteboxError) as caught:
        anyio.run(lambda: service(options=RunnerOptions(timeout=1e-6)).transform(None, lambda: PHOTO, limits=Limits()))
    assert caught.value.kind is Kind.TIMED_OUT

from __future__ import annotations

import gc
import math
import socket
import threading
import weakref
from collections.abc import Callable
from functools import partial

import anyio
import numpy as np
import pytest

from mattebox import codec
from mattebox.codec import Limits
from mattebox.edit import Edit, Output, Picture
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Encoded, Image
from mattebox.models import Segmenter
from mattebox.server import runner
from mattebox.server.admission import AdmissionOptions
from mattebox.server.fetch import Fetcher, FetchOptions
from mattebox.server.pace import Pace
from mattebox.server.runner import Runner
from mattebox.server.store.accounts import Account
from mattebox.server.store.blobs import Blobs
from mattebox.sources import Link, Sources, Stored, Upload
from mattebox.testing import FakeModels, make_scene
from mattebox.transforms import Crop, Flip, Mirror, Watermark

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
    options: AdmissionOptions = AdmissionOptions(),
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
    shell = service(gate, AdmissionOptions(workers=1, queue=1))
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
        shell = service(gate, AdmissionOptions(workers=1))
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
        shell = service(gate, AdmissionOptions(workers=1, timeout=0.3, estimate=0.001))
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
        shell = service(gate, AdmissionOptions(workers=1, queue=1))
        async with anyio.create_task_group() as group:
            gone = anyio.CancelScope()
            group.start_soon(partial(shell.run, EDIT, SOURCES, limits=Limits()))
            await anyio.to_thread.run_sync(gate.entered.acquire)
            group.start_soon(leave, shell, SOURCES, gone)
            await anyio.wait_all_tasks_blocked()
            assert shell.admission.free == 0
            gone.cancel()
            with anyio.fail_after(20):
                while shell.admission.free == 0:
                    await anyio.sleep(0.01)
            group.start_soon(partial(shell.run, EDIT, SOURCES, limits=Limits()))  # not OVERLOADED
            await anyio.wait_all_tasks_blocked()
            gate.open.set()

    anyio.run(main)


def test_a_download_ends_when_the_client_leaves_and_at_the_deadline() -> None:
    async def main(silent: socket.socket) -> None:
        link = Sources(Link(f"http://127.0.0.1:{silent.getsockname()[1]}/photo.png"))
        # It would be waited for until long after this test.
        allowed = FetchOptions(allow_private=True, timeout=10_000)
        with pytest.raises(MatteboxError) as caught:
            await service(options=AdmissionOptions(timeout=0.2), fetching=allowed).run(EDIT, link, limits=Limits())
        assert caught.value.kind is Kind.TIMED_OUT
        gone = anyio.CancelScope()
        async with anyio.create_task_group() as group:
            group.start_soon(leave, service(fetching=allowed, options=AdmissionOptions(timeout=10_000)), link, gone)
            await anyio.wait_all_tasks_blocked()
            gone.cancel()
        assert gone.cancelled_caught

    with socket.create_server(("127.0.0.1", 0)) as silent:
        anyio.run(main, silent)


@pytest.mark.parametrize("timeout", [0.0, -1.0, math.nan, math.inf])
def test_a_deadline_is_a_number(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        AdmissionOptions(timeout=timeout)


def test_a_deadline_ends_the_work_between_two_steps() -> None:
    with pytest.raises(MatteboxError) as caught:
        anyio.run(lambda: service(options=AdmissionOptions(timeout=1e-6)).run(EDIT, SOURCES, limits=Limits()))
    assert caught.value.kind is Kind.TIMED_OUT


def test_a_link_is_fetched_with_care() -> None:
    with pytest.raises(MatteboxError) as caught:
        anyio.run(lambda: service().run(EDIT, Sources(Link("http://127.0.0.1/photo.png")), limits=Limits()))
    assert caught.value.kind is Kind.UNREACHABLE_SOURCE


def test_what_would_not_be_done_in_time_is_refused_at_once_by_its_size_and_for_its_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Pace, "predict", lambda self, kind, pixels: 12 + 3 * pixels / 1e6)
    gate = Gate()
    ann, bob = Account("ann"), Account("bob", pictures=1)
    large = Sources(Upload(codec.encode(Image(rgb=np.zeros((4000, 5000, 3), np.uint8)), Output())))

    async def main() -> None:
        shell = service(gate, AdmissionOptions(workers=1, timeout=100))  # 40 seconds of work at a time
        async with anyio.create_task_group() as group:

            async def one(account: Account) -> None:
                assert (await shell.run(EDIT, SOURCES, account=account, limits=Limits())).width == 80

            group.start_soon(one, ann)
            await anyio.to_thread.run_sync(gate.entered.acquire)
            shell.check_room(ann)  # 12 of its own count twice, and 12 more
            group.start_soon(one, bob)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(MatteboxError) as caught:
                shell.check_room(ann)
            assert caught.value.kind is Kind.OVERLOADED
            with pytest.raises(MatteboxError, match="has 1 pictures in work"):
                await shell.run(EDIT, SOURCES, account=bob, limits=Limits())
            with pytest.raises(MatteboxError, match="Too many pictures") as caught:
                await shell.run(EDIT, large, account=Account("zoe"), limits=Limits())
            assert caught.value.retry_after
            gate.open.set()
        for _ in range(3):
            await one(ann)

    anyio.run(main)


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


def test_the_picture_of_a_change_that_fails_is_forgotten_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not when the garbage collector comes by: the failure itself lives until then."""
    seen: list[weakref.ref[RGB]] = []
    decode = codec.decode

    def watched(data: bytes, limits: Limits) -> Image:
        image = decode(data, limits)
        seen.append(weakref.ref(image.rgb))
        return image

    monkeypatch.setattr(codec, "decode", watched)
    shell = service()
    gc.disable()
    try:
        with pytest.raises(MatteboxError) as caught:
            anyio.run(lambda: shell.transform(Crop(left=0, top=0, right=99, bottom=9), lambda: PHOTO, limits=Limits()))
        assert caught.value.parameter == "right"
        assert [each() for each in seen] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize(("large", "times"), [(80 * 60, 0), (80 * 60 - 1, 1)])
def test_the_memory_of_a_large_picture_is_given_back(large: int, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bool] = []
    monkeypatch.setattr(runner, "LARGE", large)
    monkeypatch.setattr(runner, "give_back_memory", lambda: given.append(True))
    shell = service()
    anyio.run(lambda: shell.transform(Mirror(mode=Flip.HORIZONTAL), lambda: PHOTO, limits=Limits()))
    assert len(given) == times


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
        shell = service(gate, AdmissionOptions(workers=1, queue=2))
        async with anyio.create_task_group() as group:
            group.start_soon(partial(shell.run, EDIT, SOURCES, limits=Limits()))
            await anyio.to_thread.run_sync(gate.entered.acquire)
            group.start_soon(partial(shell.run_kept, EDIT, photo, limits=Limits()))
            group.start_soon(partial(shell.transform, None, photo, limits=Limits()))
            await anyio.wait_all_tasks_blocked()
            assert shell.admission.free == 0
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
        shell = service(gate, AdmissionOptions(workers=1, queue=1, timeout=0.5, estimate=0.001))
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
        anyio.run(
            lambda: service(options=AdmissionOptions(timeout=1e-6)).transform(None, lambda: PHOTO, limits=Limits())
        )
    assert caught.value.kind is Kind.TIMED_OUT


# --- tasks -------------------------------------------------------------------------------------------------------


def nothing() -> None: ...


async def task(
    shell: Runner, sources: Sources = SOURCES, *, timeout: float = 60, alone: bool = False, begin: Callable[[], None]
) -> Encoded:
    return await shell.run_task(EDIT, sources, timeout=timeout, alone=alone, begin=begin)


def test_a_task_waits_for_its_turn_beside_requests_and_its_clock_begins_then() -> None:
    gate = Gate()
    order: list[str] = []

    async def main() -> None:
        shell = service(gate, AdmissionOptions(workers=1, queue=0))
        async with anyio.create_task_group() as group:
            group.start_soon(partial(shell.run, EDIT, SOURCES, limits=Limits()))
            await anyio.to_thread.run_sync(gate.entered.acquire)

            async def later(name: str) -> None:
                result = await task(shell, timeout=30, begin=lambda: order.append(name))
                assert result.width == 80

            for name in ("one", "two"):
                group.start_soon(later, name)  # not OVERLOADED
                await anyio.wait_all_tasks_blocked()
            with pytest.raises(MatteboxError) as caught:
                await shell.run(EDIT, SOURCES, limits=Limits())
            assert caught.value.kind is Kind.OVERLOADED
            assert order == []
            gate.open.set()
        assert order == ["one", "two"]

    anyio.run(main)


def test_a_task_has_a_deadline_of_its_own_which_begins_with_its_turn() -> None:
    gate, second = Gate(), Gate()
    gates = [gate, second]

    def segment(photo: RGB) -> Alpha:
        return gates.pop(0)(photo)

    async def main() -> None:
        shell = service(segment, AdmissionOptions(workers=1))
        async with anyio.create_task_group() as group:
            group.start_soon(partial(task, shell, begin=nothing))
            await anyio.to_thread.run_sync(gate.entered.acquire)
            kinds: list[Kind] = []

            async def late() -> None:
                with pytest.raises(MatteboxError) as caught:
                    await task(shell, timeout=0.1, begin=nothing)
                kinds.append(caught.value.kind)

            group.start_soon(late)
            await anyio.sleep(0.3)  # three times its deadline, and it still waits
            assert kinds == []
            gate.open.set()
            await anyio.to_thread.run_sync(second.entered.acquire)
            await anyio.sleep(0.2)
            second.open.set()
        assert kinds == [Kind.TIMED_OUT]

    anyio.run(main)


def test_a_cancelled_task_frees_its_worker_between_two_steps() -> None:
    gate = Gate()

    async def main() -> None:
        shell = service(gate, AdmissionOptions(workers=1))
        gone = anyio.CancelScope()

        async def cancelled() -> None:
            with gone:
                await task(shell, begin=nothing)

        async with anyio.create_task_group() as group:
            group.start_soon(cancelled)
            await anyio.to_thread.run_sync(gate.entered.acquire)
            gone.cancel()
            group.start_soon(partial(task, shell, begin=nothing))
            await anyio.wait_all_tasks_blocked()
            assert not gate.entered.acquire(blocking=False)  # its step has not ended
            gate.open.set()
        assert gone.cancelled_caught
        assert gate.entered.acquire(blocking=False)

    anyio.run(main)


def test_a_step_that_never_ends_keeps_its_worker_and_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "STEP_SECONDS", 0.05)
    gate = Gate()

    async def main() -> None:
        shell = service(gate, AdmissionOptions(workers=1, timeout=0.2, estimate=0.001))
        with pytest.raises(MatteboxError) as caught:
            await task(shell, timeout=0.05, begin=nothing)
        assert caught.value.kind is Kind.TIMED_OUT
        with pytest.raises(MatteboxError, match="a step that does not end") as caught:
            shell.check()
        assert caught.value.kind is Kind.UNAVAILABLE
        with pytest.raises(MatteboxError) as caught:
            await shell.run(EDIT, SOURCES, limits=Limits())  # its worker is still taken
        assert caught.value.kind is Kind.TIMED_OUT
        gate.open.set()
        with anyio.fail_after(20):
            while True:
                try:
                    shell.check()
                    break
                except MatteboxError:
                    await anyio.sleep(0.01)
        assert (await task(shell, begin=nothing)).width == 80

    anyio.run(main)


def test_a_suspect_is_worked_on_when_nothing_else_is() -> None:
    gate = Gate()

    async def main() -> None:
        shell = service(gate, AdmissionOptions(workers=3))
        begun: list[int] = []
        async with anyio.create_task_group() as group:
            group.start_soon(partial(shell.run, EDIT, SOURCES, limits=Limits()))
            await anyio.to_thread.run_sync(gate.entered.acquire)
            group.start_soon(partial(task, shell, alone=True, begin=lambda: begun.append(1)))
            await anyio.wait_all_tasks_blocked()
            assert begun == []
            gate.open.set()
        assert begun == [1]

    anyio.run(main)


def test_what_the_beginning_raises_ends_the_task_before_a_pixel_is_decoded() -> None:
    class EndedError(Exception): ...

    def begin() -> None:
        raise EndedError

    gate = Gate()
    with pytest.raises(EndedError):
        anyio.run(partial(task, service(gate), begin=begin))
    assert not gate.entered.acquire(blocking=False)


def test_pixels_are_bounded_and_a_photo_above_the_bound_is_worked_on_alone() -> None:
    gate = Gate()

    async def main() -> None:
        shell = service(gate, AdmissionOptions(workers=4, pixels=2 * 80 * 60))
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(partial(shell.run, EDIT, SOURCES, limits=Limits()))
            for _ in range(2):
                assert await anyio.to_thread.run_sync(partial(gate.entered.acquire, timeout=60))
            await anyio.wait_all_tasks_blocked()
            assert not gate.entered.acquire(blocking=False)  # the third has a worker, and no pixels yet
            gate.open.set()
        small = service(options=AdmissionOptions(pixels=1))
        assert (await small.run(EDIT, SOURCES, limits=Limits())).width == 80

    anyio.run(main)


def test_a_stored_picture_is_read_from_the_storage() -> None:
    blobs = Blobs("memory:///")
    blobs.put("sources/one", PHOTO, media_type="image/png")
    shell = Runner(Engine(FakeModels()), Fetcher(), blobs)
    assert anyio.run(partial(shell.run, EDIT, Sources(Stored("sources/one")), limits=Limits())).width == 80
    with pytest.raises(MatteboxError) as caught:
        anyio.run(partial(shell.run, EDIT, Sources(Stored("sources/two")), limits=Limits()))
    assert caught.value.kind is Kind.NOT_FOUND
    with pytest.raises(MatteboxError, match="keeps no pictures"):
        anyio.run(partial(service().run, EDIT, Sources(Stored("sources/one")), limits=Limits()))


def test_what_is_wrong_with_the_picture_behind_is_blamed_on_it() -> None:
    behind = Edit(backdrop=Picture())
    for backdrop in (Upload(b"no picture"), Link("http://127.0.0.1/photo.png")):
        with pytest.raises(MatteboxError) as caught:
            anyio.run(partial(service().run, behind, Sources(Upload(PHOTO), backdrop), limits=Limits()))
        assert caught.value.parameter == "backdrop"

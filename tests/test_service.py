from __future__ import annotations

import threading
from functools import partial

import anyio
import numpy as np
import pytest

from mattebox import codec
from mattebox.codec import Limits
from mattebox.edit import Edit, Link, Output, Upload
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.fetch import Fetcher, FetchOptions
from mattebox.image import RGB, Alpha, Encoded, Image
from mattebox.models import Segmenter
from mattebox.service import Service, ServiceOptions
from mattebox.testing import FakeModels, make_scene

SCENE = make_scene(width=80, height=60, seed=0)
PHOTO = codec.encode(Image(rgb=SCENE.photo), Output())
EDIT = Edit(source=Upload(PHOTO))


class Gate:
    """A segmenter that waits until it is let through."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, photo: RGB) -> Alpha:
        self.entered.release()
        assert self.open.wait(20)
        return np.ones((8, 8), np.float32)


def service(segmenter: Segmenter | None = None, options: ServiceOptions = ServiceOptions()) -> Service:
    return Service(Engine(FakeModels(segmenter)), Fetcher(FetchOptions()), options=options)


def test_an_edit_comes_out_encoded() -> None:
    result = anyio.run(lambda: service().run(EDIT, limits=Limits()))
    assert result.media_type == "image/png"
    assert (result.width, result.height) == (80, 60)


def test_warming_loads_the_default_model_and_says_ready() -> None:
    models = FakeModels()
    shell = Service(Engine(models), Fetcher(FetchOptions()), model="other")
    states = [shell.ready]
    anyio.run(shell.warm)
    assert [*states, shell.ready] == [False, True]
    assert models.warmed == ["other"]


def test_the_narrower_limit_holds() -> None:
    for ours, theirs in ((100, 10**9), (10**9, 100)):
        shell = Service(Engine(FakeModels()), Fetcher(FetchOptions()), limits=Limits(max_pixels=ours))
        with pytest.raises(MatteboxError) as caught:
            anyio.run(partial(shell.run, EDIT, limits=Limits(max_pixels=theirs)))
        assert caught.value.kind is Kind.TOO_MANY_PIXELS


def test_too_much_work_is_refused_at_once_and_the_rest_gets_done() -> None:
    gate = Gate()
    shell = service(gate, ServiceOptions(workers=1, queue=1))
    results: list[Encoded] = []

    async def one() -> None:
        results.append(await shell.run(EDIT, limits=Limits()))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(one)
            group.start_soon(one)
            await anyio.to_thread.run_sync(gate.entered.acquire)
            with pytest.raises(MatteboxError) as caught:
                await shell.run(EDIT, limits=Limits())
            assert caught.value.kind is Kind.OVERLOADED
            assert caught.value.retry_after
            gate.open.set()
        await one()  # there is room again

    anyio.run(main)
    assert len(results) == 3


def test_a_client_that_left_is_not_worked_for() -> None:
    gate = Gate()
    shell = service(gate)
    stop = threading.Event()

    async def leave() -> None:
        await anyio.to_thread.run_sync(gate.entered.acquire)
        stop.set()
        gate.open.set()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(leave)
            with pytest.raises(MatteboxError) as caught:
                await shell.run(EDIT, limits=Limits(), stop=stop)
        assert caught.value.kind is Kind.CANCELLED

    anyio.run(main)


def test_a_deadline_ends_the_work_between_two_steps() -> None:
    with pytest.raises(MatteboxError) as caught:
        anyio.run(lambda: service(options=ServiceOptions(timeout=1e-6)).run(EDIT, limits=Limits()))
    assert caught.value.kind is Kind.TIMED_OUT


def test_a_link_is_fetched_with_care() -> None:
    with pytest.raises(MatteboxError) as caught:
        anyio.run(lambda: service().run(Edit(source=Link("http://127.0.0.1/photo.png")), limits=Limits()))
    assert caught.value.kind is Kind.UNREACHABLE_SOURCE

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

import pytest

from mattebox import codec, pipeline
from mattebox.edit import Edit, Output, Prompt
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Image
from mattebox.stages import Stage, observed, stage
from mattebox.testing import FakeBackdrops, FakeModels, make_scene

PHOTO = codec.encode(Image(rgb=make_scene(width=80, height=60, seed=2).photo), Output())
CUT_OUT = [Stage.LOOK, Stage.SEGMENT, Stage.REFINE, Stage.FOREGROUND, Stage.LAYOUT, Stage.BACKDROP, Stage.COMPOSE]


class Watcher:
    """Writes down which stages begin, and which end."""

    def __init__(self) -> None:
        self.begun: list[Stage] = []
        self.ended: list[Stage] = []

    @contextmanager
    def __call__(self, name: Stage) -> Iterator[None]:
        self.begun.append(name)
        try:
            yield
        finally:
            self.ended.append(name)


def test_each_stage_of_an_edit_is_told_once_and_in_order() -> None:
    watcher = Watcher()
    engine = Engine(FakeModels(), FakeBackdrops())
    with observed(watcher):
        engine.run_file(Edit(backdrop=Prompt(text="a beach")), PHOTO)
    assert watcher.begun == watcher.ended == [Stage.DECODE, Stage.MATCH, *CUT_OUT, Stage.ENCODE]


def test_painting_is_making_a_backdrop() -> None:
    watcher = Watcher()
    with observed(watcher):
        Engine(FakeModels(), FakeBackdrops()).paint("a beach", width=32, height=32)
    assert watcher.begun == [Stage.BACKDROP, Stage.ENCODE]


def test_the_steps_of_a_stage_are_side_by_side() -> None:
    order = [stage for stage, _ in pipeline.RECIPE]
    changes = [each for each, before in zip(order, [None, *order], strict=False) if each is not before]
    assert len(changes) == len(set(order))


def test_a_stage_that_fails_ends() -> None:
    def broken(photo: RGB) -> Alpha:
        raise MatteboxError(Kind.UNAVAILABLE, "The network is missing.")

    watcher = Watcher()
    with observed(watcher), pytest.raises(MatteboxError, match="missing"):
        Engine(FakeModels(broken)).run_file(Edit(), PHOTO)
    assert watcher.ended == [Stage.DECODE, Stage.MATCH, Stage.LOOK, Stage.SEGMENT]


def test_outside_nobody_is_told_and_a_thread_with_the_context_is_watched() -> None:
    watcher = Watcher()

    def work() -> None:
        with stage(Stage.STORE):
            pass

    with observed(watcher):
        context = copy_context()
    work()
    assert watcher.begun == []
    thread = threading.Thread(target=context.run, args=(work,))
    thread.start()
    thread.join()
    assert watcher.begun == [Stage.STORE]

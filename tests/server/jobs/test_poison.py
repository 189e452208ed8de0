"""A picture that kills its worker ends as a failure; one that was only there when somebody pulled the plug does not.

The workers are processes of their own, with the real runner and a network whose answer depends on the photo: this file
is their program.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mattebox import codec
from mattebox.edit import Edit, Output
from mattebox.engine import Engine
from mattebox.errors import Kind
from mattebox.image import RGB, Alpha, Image
from mattebox.server.fetch import Fetcher
from mattebox.server.jobs import Status, TaskOptions, Tasks
from mattebox.server.jobs.worker import Worker
from mattebox.server.runner import Runner
from mattebox.server.store.blobs import Blobs
from mattebox.sources import Sources, Stored
from mattebox.testing import FakeModels

pytestmark = [pytest.mark.process, pytest.mark.timeout(280)]

POISON, HARMLESS = 7, 200
"""The grey of a photo at which the network dies, and of one at which it does not."""
TASKS, KILLS = 40, 5
STEP_SECONDS = 0.25
OPTIONS = TaskOptions(polling=0.05, beat=0.25, lease=1, attempts=3, probation=1)


def photo(grey: int) -> bytes:
    return codec.encode(Image(rgb=np.full((16, 16, 3), grey, np.uint8)), Output())


class Node:
    """A process that works on the tasks in `folder`, and is started again whenever it has died."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.deaths = 0
        self._start()

    def _start(self) -> None:
        command = [sys.executable, __file__, str(self._folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        # It may find its death before it has said so.
        assert self.process.stdout.readline() in {"ready\n", ""}

    def revive(self) -> None:
        """Start it again where it has died."""
        if self.process.poll() is not None:
            assert self.process.returncode == -signal.SIGKILL
            self.deaths += 1
            self._close()
            self._start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def stop(self) -> None:
        self.kill()
        self._close()

    def _close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def running(folder: Path) -> Iterator[Node]:
    node = Node(folder)
    try:
        yield node
    finally:
        node.stop()


@pytest.fixture
def tasks(tmp_path: Path) -> Iterator[Tasks]:
    loop = asyncio.new_event_loop()
    queue = open_tasks(tmp_path, "door", loop)
    queue.start(role="api")
    blobs = Blobs((tmp_path / "blobs").as_uri())
    for grey in (POISON, HARMLESS):
        blobs.put(f"sources/{grey}", photo(grey), media_type="image/png")
    yield queue
    queue.close()
    loop.close()


def submit(tasks: Tasks, *greys: int) -> list[str]:
    edits = [(Edit(), Sources(Stored(f"sources/{grey}"))) for grey in greys]
    return [task.id for task in tasks.submit("me", edits, dialect="native")]


def ended(tasks: Tasks, ids: list[str]) -> list[Status]:
    statuses = [tasks.get(each).status for each in ids]
    return [status for status in statuses if status not in (Status.QUEUED, Status.RUNNING)]


def wait_for_work(folder: Path, node: Node, pictures: int) -> None:
    """Until so many pictures more than now were begun, or all are."""
    notes = folder / "notes"
    before = len(notes.read_text()) if notes.exists() else 0
    deadline = time.monotonic() + 20
    while (len(notes.read_text()) if notes.exists() else 0) < before + pictures:
        node.revive()
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def test_a_picture_that_kills_its_worker_fails_and_its_neighbours_do_not(tasks: Tasks, tmp_path: Path) -> None:
    neighbours = submit(tasks, HARMLESS, HARMLESS)
    (poison,) = submit(tasks, POISON)
    neighbours += submit(tasks, *[HARMLESS] * 4)
    with running(tmp_path) as node:
        while len(ended(tasks, [poison, *neighbours])) < 7:
            node.revive()
            time.sleep(0.05)
        node.revive()
        done = tasks.get(poison)
        assert (done.status, done.kind) == (Status.FAILED, Kind.INTERNAL)
        assert done.reason == "The worker died three times on this picture."
        assert [(each.status, each.reason) for each in map(tasks.get, neighbours)] == [(Status.SUCCEEDED, None)] * 6
        assert node.deaths == 4  # once beside others, which counts for nothing, and three times alone


def test_a_server_that_is_killed_again_and_again_costs_no_picture(tasks: Tasks, tmp_path: Path) -> None:
    ids = submit(tasks, *[HARMLESS] * TASKS)
    with running(tmp_path) as node:
        for _ in range(KILLS):
            wait_for_work(tmp_path, node, 3)
            node.kill()
            node.revive()
        while len(ended(tasks, ids)) < TASKS:
            node.revive()
            time.sleep(0.05)
        assert ended(tasks, ids) == [Status.SUCCEEDED] * TASKS
        assert node.deaths == KILLS


# -- the program of a worker ------------------------------------------------------------------------------------------


def open_tasks(folder: Path, node: str, loop: asyncio.AbstractEventLoop) -> Tasks:
    notes = folder / "notes"

    def segment(photo: RGB) -> Alpha:
        with notes.open("a") as file:
            file.write(".")
        if photo[0, 0, 0] == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(STEP_SECONDS)
        return np.ones((8, 8), np.float32)

    async def ready() -> None: ...

    blobs = Blobs((folder / "blobs").as_uri())
    fetcher = Fetcher()
    runner = Runner(Engine(FakeModels(segment)), fetcher, blobs)
    work = Worker(runner, blobs, fetcher, loop=loop, ready=ready, keep=60, webhook_bodies={})
    return Tasks(f"sqlite:///{folder}/mattebox.db", node=node, work=work, options=OPTIONS)


def _main(folder: str) -> None:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    open_tasks(Path(folder), "node", loop).start(role="worker")
    print("ready", flush=True)
    signal.pause()


if __name__ == "__main__":
    _main(*sys.argv[1:])

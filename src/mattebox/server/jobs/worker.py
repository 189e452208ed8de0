"""The work of a task: its pictures are made by the server's runner, and its webhook is sent."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import CancelledError, wait
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, TypeVar, final

import anyio

from mattebox import codec
from mattebox.cancellation import Checkpoint
from mattebox.edit import Edit
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Encoded
from mattebox.server.fetch import Fetcher
from mattebox.server.jobs.tasks import Hook, Result, Task
from mattebox.server.jobs.webhooks import WebhookBody, headers, result_address, signer
from mattebox.server.monitor import Monitor
from mattebox.server.runner import Runner
from mattebox.server.store.blobs import Blobs, new_result_name
from mattebox.sources import Sources, Upload
from mattebox.stages import Stage

if TYPE_CHECKING:
    from standardwebhooks import Webhook

    from mattebox.bulk import BulkJob, Plan

_T = TypeVar("_T")

BASE = "base"
"""The member of `Task.extra` with the address by which clients see the server."""
_LOOK_SECONDS = 0.25
"""How often a thread that waits for the loop looks whether its task is still wanted."""
_SLACK = 5.0
"""Seconds that the loop may be late with a failure of its own."""


@final
@dataclass(slots=True, eq=False)
class Worker:
    """The work of `Tasks`. Its methods block a thread that is not the loop's; each may be called by several threads.

    Attributes:
        runner: makes the pictures, one after the other and under the same limits as those of requests.
        blobs: where results are kept.
        fetcher: sends webhooks.
        loop: where the runner and the fetcher live; it must run for as long as the worker works.
        ready: returns when pictures can be made; raises MatteboxError where that is not so for now, or never.
        timeout: seconds that a picture may take once its turn has come.
        keep: seconds that a result can be fetched.
        webhook_timeout: seconds that a webhook's receiver may take.
        webhook_secret: signs webhooks that have no secret of their own; empty leaves them unsigned.
        webhook_bodies: for each dialect that sends webhooks, what writes them.
        monitor: counts failures and deliveries.
    """

    runner: Runner
    blobs: Blobs
    fetcher: Fetcher
    _: KW_ONLY
    loop: asyncio.AbstractEventLoop
    ready: Callable[[], Awaitable[None]]
    timeout: float = 300.0
    keep: float
    webhook_timeout: float = 5.0
    webhook_secret: str = field(default="", repr=False)
    webhook_bodies: Mapping[str, WebhookBody]
    monitor: Monitor = field(default_factory=Monitor)
    _signer: Webhook | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._signer = signer(self.webhook_secret) if self.webhook_secret else None

    def cut_out(
        self,
        edit: Edit,
        sources: Sources,
        *,
        alone: bool = False,
        begin: Callable[[], None],
        checkpoint: Callable[[], None],
    ) -> Result:
        """Do an edit, and store the result; the arguments are those of `Work.cut_out`.

        Raises:
            MatteboxError: TIMED_OUT, NOT_FOUND where a source was kept too long, UNAVAILABLE where the networks cannot
                be loaded, and whatever the engine and the download raise.
        """
        work = self._run(edit, sources, alone=alone, begin=begin)
        try:
            encoded = self._on_loop(work, checkpoint)
        except MatteboxError as error:
            if error.kind is not Kind.OVERLOADED or error.retry_after is None:
                raise
            # A generator's server, which may be so for ever, and each try cuts the subject out anew: a few will do.
            raise MatteboxError(Kind.UNAVAILABLE, error.message, retry_after=max(1, error.retry_after)) from error
        name = new_result_name(codec.extension(edit.output.format), keep=self.keep, now=time.time())
        with self.monitor.stage(Stage.STORE):
            self.blobs.put(name, encoded.data, media_type=encoded.media_type)
        return Result(
            name=name,
            media_type=encoded.media_type,
            width=encoded.width,
            height=encoded.height,
            subject=encoded.subject,
            confidence=encoded.confidence,
            chosen_by=encoded.chosen_by,
            served=encoded.served,
        )

    def run_shard(self, job: BulkJob, plan: Plan, shard: int, *, stop: threading.Event) -> None:
        """Do one shard of a bulk run; the arguments are those of `bulk.run_shard`.

        Its pictures wait for their turns as those of tasks do; as many as there are workers may wait at a time.

        Raises:
            MatteboxError: as `bulk.run_shard`.
        """
        from mattebox import bulk

        bulk.run_shard(job, plan, shard, self, threads=self.runner.options.workers, stop=stop)

    def run_file(
        self, edit: Edit, photo: bytes, *, backdrop: bytes | None, limits: codec.Limits, checkpoint: Checkpoint
    ) -> Encoded:
        """Do an edit of a shard: as `Engine.run_file`, in its turn, and with the server's model where it names none.

        Raises:
            MatteboxError: as `cut_out`.
        """
        del limits  # the server's own are narrower
        sources = Sources(Upload(photo), None if backdrop is None else Upload(backdrop))
        return self._on_loop(self._run(edit, sources, alone=False, begin=lambda: None), checkpoint)

    def webhook_body(self, task: Task) -> bytes:
        """The webhook's body, in the words of the task's dialect.

        Raises:
            MatteboxError: UNAVAILABLE where this server does not have the dialect.
        """
        write = self.webhook_bodies.get(task.dialect)
        if write is None:
            raise MatteboxError(Kind.UNAVAILABLE, "This server cannot write this webhook any more.")
        address = None if task.result is None else result_address(str(task.extra.get(BASE, "")), task.result)
        return write(task, address)

    def deliver(self, hook: Hook, body: bytes, task_id: str) -> None:
        """Send a webhook, as Standard Webhooks has it; signed where it or the server has a secret.

        Raises:
            MatteboxError: as `Fetcher.post`, and INVALID_PARAMETER for a secret that is not base64.
        """
        by = self._signer if hook.secret is None else signer(hook.secret)
        post = self.fetcher.post(hook.url, body, headers=headers(task_id, body, by), timeout=self.webhook_timeout)
        end = time.monotonic() + self.webhook_timeout + _SLACK

        def in_time() -> None:  # the delivery has a deadline of its own: this one is for a loop that hangs
            if time.monotonic() > end:
                raise MatteboxError(
                    Kind.UNREACHABLE_SOURCE, f"The webhook was not answered within {self.webhook_timeout:g} seconds."
                )

        with self.monitor.webhook():
            self._on_loop(post, in_time)

    async def _run(self, edit: Edit, sources: Sources, *, alone: bool, begin: Callable[[], None]) -> Encoded:
        while True:
            try:
                await self.ready()
                break
            except MatteboxError as error:
                if error.kind is not Kind.UNAVAILABLE or error.retry_after is None:
                    raise
            await anyio.sleep(1)  # the networks are on their way, and a task can wait
        with self.monitor.task():
            return await self.runner.run_task(edit, sources, timeout=self.timeout, alone=alone, begin=begin)

    def _on_loop(self, work: Coroutine[object, object, _T], checkpoint: Callable[[], None]) -> _T:
        """Wait for what runs in the server's loop; cancel it where `checkpoint` raises."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            while not wait({future}, timeout=_LOOK_SECONDS).done:
                checkpoint()
        except BaseException:
            future.cancel()
            raise
        try:
            return future.result()
        except CancelledError as error:
            raise MatteboxError(Kind.UNAVAILABLE, "The server is being stopped.", retry_after=1) from error

"""Tasks, their states and results, and the work that they are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from mattebox.edit import Edit
from mattebox.errors import Kind
from mattebox.image import Box, Served
from mattebox.sources import Sources

if TYPE_CHECKING:
    from mattebox.bulk import BulkJob, Plan


class Status(StrEnum):
    """The state of a task. The last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNFINISHED = (Status.QUEUED.value, Status.RUNNING.value)


@dataclass(frozen=True, slots=True)
class Hook:
    """The receiver of the webhook of a task that has ended, and the secret that signs it."""

    url: str
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of a task. `name` is the picture's name in the storage; the rest is as in `Encoded`."""

    name: str
    media_type: str
    width: int
    height: int
    subject: Box | None = None
    confidence: float | None = None
    chosen_by: str | None = None
    served: Served | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One edit that runs later. Times are seconds since 1970.

    `owner` is an account's id. `kind` says what made the task fail, and `reason` is a public sentence about it; tasks
    that failed in older versions have no kind. `progress` is 0..100. `extra` belongs to the dialect that took the task
    in. `announced` is when the webhook was received; `hook_attempts` is how often it was sent, `hook_attempted` when
    the last time, and `hook_failure` why that failed.
    """

    id: str
    owner: str
    dialect: str
    edit: Edit
    sources: Sources
    status: Status
    created: float
    kind: Kind | None = None
    reason: str | None = None
    progress: int = 0
    started: float | None = None
    finished: float | None = None
    result: Result | None = None
    hook: Hook | None = None
    batch: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    announced: float | None = None
    hook_failure: str | None = None
    hook_attempts: int = 0
    hook_attempted: float | None = None


class Work(Protocol):
    """The work of a task. Everything is called in a worker's thread and may block it.

    A MatteboxError ends the task, and its sentence is the task's reason. One that has `retry_after` is tried again
    first. A method that is cut short by the death of the process is called again.
    """

    def cut_out(
        self,
        edit: Edit,
        sources: Sources,
        *,
        alone: bool,
        begin: Callable[[], None],
        checkpoint: Callable[[], None],
    ) -> Result:
        """Do the edit and store the result.

        Args:
            edit: what to do.
            sources: where the pictures are: links or stored.
            alone: nothing else may be worked on in this process meanwhile.
            begin: to be called when the picture's turn has come, before anything that may kill the process.
            checkpoint: to be called about once a second by who waits; it raises when the task is not wanted any more.
        """
        ...

    def run_shard(self, job: BulkJob, plan: Plan, shard: int, *, stop: threading.Event) -> None:
        """Do one shard of a bulk run; as `bulk.run_shard`."""
        ...

    def webhook_body(self, task: Task) -> bytes:
        """The webhook's body, in the words of the task's dialect."""
        ...

    def deliver(self, hook: Hook, body: bytes, task_id: str) -> None:
        """Send the webhook; MatteboxError where the receiver does not answer with 2xx in time."""
        ...

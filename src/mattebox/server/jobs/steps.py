"""The steps of a task: begin it, cut out, and write down what came of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from sqlalchemy import Connection, func, select

from mattebox.errors import Kind, MatteboxError
from mattebox.server.jobs.rows import TASKS, TaskRows, result_to_json, task_of
from mattebox.server.jobs.session import HaltedError, Session
from mattebox.server.jobs.tasks import UNFINISHED, Status, Work
from mattebox.server.store.database import now

if TYPE_CHECKING:
    from dbos import StepOptions

logger = logging.getLogger(__name__)

TRIES = 8
"""How often a step is tried that fails for a reason which may pass: over two minutes, enough for a restart."""
RETRY_SECONDS = 1.0
"""The pause before the second try; doubled each further time."""
WATCH_SECONDS = 1.0
"""How often a running task looks whether it is still wanted."""
BEGUN, DONE = 30, 100
"""The progress of a task whose turn has come, and of one that is done."""
DEFECT = "Something went wrong inside mattebox; this picture could not be made."


def retries(name: str) -> StepOptions:
    """How a step is tried again: what may pass is raised by it, and everything else is not."""
    return {
        "name": name,
        "retries_allowed": True,
        "max_attempts": TRIES,
        "interval_seconds": RETRY_SECONDS,
        "backoff_rate": 2.0,
        "should_retry": lambda error: isinstance(error, MatteboxError),
    }


def may_pass(error: MatteboxError) -> bool:
    """Whether the step that fails with this is to be tried again; never at its last try."""
    from dbos import DBOS

    attempt = DBOS.step_status
    last = attempt is None or (attempt.current_attempt or 0) + 1 >= TRIES
    return error.retry_after is not None and not last


@final
@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """The steps of a task.

    Attributes:
        session: the stretch of work that this belongs to.
        rows: changes the tasks.
        work: makes the pictures.
    """

    session: Session
    rows: TaskRows
    work: Work

    def start(self, task_id: str) -> bool:
        """Write down that somebody has begun; returns whether there is anything left to do."""
        begun = {"status": Status.RUNNING.value, "started": func.coalesce(TASKS.c.started, now())}
        return self.session.retry_forever(lambda connection: self.rows.change(connection, task_id, begun)) is not None

    def cut_out(self, task_id: str) -> None:
        """Do the edit, and end the task.

        Raises:
            MatteboxError: what may pass; not at the last try, which fails the task.
        """
        row = self.session.retry_forever(
            lambda connection: connection.execute(
                select(TASKS).where(TASKS.c.id == task_id, TASKS.c.status.in_(UNFINISHED))
            ).one_or_none()
        )
        if row is None:
            return
        task = task_of(row)
        watch = _Watch(self.session, task_id)
        try:
            result = self.work.cut_out(
                task.edit, task.sources, alone=row.suspect, begin=lambda: self._begin(task_id), checkpoint=watch
            )
        except (HaltedError, _UnwantedError):
            return self.session.check()
        except MatteboxError as error:
            if may_pass(error):
                self.session.retry_forever(lambda connection: self.rows.change(connection, task_id, {"worker": None}))
                raise
            why = error
            if error.kind is Kind.INTERNAL:
                logger.exception("task %s failed", task_id)
                why = MatteboxError(Kind.INTERNAL, DEFECT)
        except Exception:
            logger.exception("task %s failed", task_id)
            why = MatteboxError(Kind.INTERNAL, DEFECT)
        else:
            values = {"status": Status.SUCCEEDED.value, "progress": DONE, "result": result_to_json(result)}
            return self._write(lambda connection: self.rows.end(connection, task_id, values))
        return self._write(lambda connection: self.rows.fail(connection, task_id, why))

    def _write(self, write: Callable[[Connection], object]) -> None:
        self.session.retry_forever(write)

    def _begin(self, task_id: str) -> None:
        """Leave a mark for the case that this process does not survive the picture."""
        values = {"worker": self.session.process, "progress": BEGUN}
        if self.session.retry_forever(lambda connection: self.rows.change(connection, task_id, values)) is None:
            raise _UnwantedError


class _UnwantedError(Exception):
    """The task has ended meanwhile: it was cancelled, or somebody else has done it."""


@final
class _Watch:
    """The checkpoint of one task; it may be called as often as one likes."""

    def __init__(self, session: Session, task_id: str) -> None:
        self._session = session
        self._task_id = task_id
        self._looked = time.monotonic()

    def __call__(self) -> None:
        self._session.check()
        if time.monotonic() - self._looked < WATCH_SECONDS:
            return
        status = self._session.read(select(TASKS.c.status).where(TASKS.c.id == self._task_id))
        self._looked = time.monotonic()
        if status is not None and status not in UNFINISHED:
            raise _UnwantedError

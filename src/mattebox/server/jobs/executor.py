"""The executor of this process: the queue's own threads, which run the steps of tasks and send webhooks."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, final

from sqlalchemy import Engine, update

from mattebox.errors import Kind, MatteboxError
from mattebox.server.jobs.leases import Lease
from mattebox.server.jobs.options import TaskOptions
from mattebox.server.jobs.recovery import Recovery
from mattebox.server.jobs.rows import (
    APPLICATION,
    CUT_OUT,
    SHARD,
    SHARD_QUEUE,
    TASKS,
    VERSION,
    WEBHOOK,
    WEBHOOK_QUEUE,
    WORK_QUEUE,
    TaskRows,
    webhook_id,
)
from mattebox.server.jobs.session import Session
from mattebox.server.jobs.shards import Order, ShardStep, shard_id
from mattebox.server.jobs.steps import Steps, retries
from mattebox.server.jobs.tasks import Work
from mattebox.server.jobs.webhooks import Webhooks
from mattebox.server.store.database import reachable

if TYPE_CHECKING:
    from dbos import DBOSClient

logger = logging.getLogger(__name__)

WEBHOOKS_AT_A_TIME = 8
"""Webhooks have a queue of their own: somebody's dead server must not keep the pictures of others waiting."""
SHARDS_AT_A_TIME = 1
"""A shard alone keeps every worker of a process busy, and the seconds that it takes are its own."""

_RUNNING_HERE = threading.Lock()
"""Held by the executor of this process: the library behind them can be there only once."""


@final
class Executor:
    """Works on the queue's messages in this process, from its making to `quit`.

    Args:
        engine: the database.
        client: the queue.
        lease: this process's hold on the node's name, which it has acquired.
        rows: changes the tasks.
        node: the name.
        work: what is done for a task.
        options: how it is done.

    Attributes:
        recovery: looks after what dead processes left.

    Raises:
        MatteboxError: UNAVAILABLE where the database is away; CONFLICT where this process has an executor already.
    """

    def __init__(
        self,
        engine: Engine,
        client: DBOSClient,
        lease: Lease,
        rows: TaskRows,
        *,
        node: str,
        work: Work,
        options: TaskOptions,
    ) -> None:
        if not _RUNNING_HERE.acquire(blocking=False):
            raise MatteboxError(Kind.CONFLICT, "Another part of this process works on tasks already.")
        self._engine = engine
        self._session = Session(engine, lease.process)
        self.recovery = Recovery(
            engine=engine, client=client, lease=lease, session=self._session, rows=rows, options=options, node=node
        )
        try:
            self._define(
                Steps(self._session, rows, work),
                Webhooks(self._session, rows, work, lease, options),
                ShardStep(self._session, work),
            )
            self._launch(client, options, name=f"{node}/{lease.process}")
            self.recovery.take_over(at_start=True)
        except BaseException:
            self.quit(grace=0)
            raise

    def _define(self, steps: Steps, webhooks: Webhooks, shards: ShardStep) -> None:
        """Tell the queue what is done for each of its messages."""
        from dbos import DBOS

        session = self._session

        @DBOS.workflow(name=CUT_OUT)
        def cut_out(task_id: str) -> None:
            with session.doing(task_id):
                # Both steps always happen, in this order and under these names: by them the queue knows what was done,
                # also in messages that an older mattebox has left.
                if DBOS.run_step({"name": "fetch"}, steps.start, task_id):
                    DBOS.run_step(retries("cut_out"), steps.cut_out, task_id)

        @DBOS.workflow(name=WEBHOOK)
        def send_webhook(task_id: str, again: int) -> None:
            with session.doing(webhook_id(task_id, again)):
                DBOS.run_step({"name": "announce"}, webhooks.send, task_id, again)

        @DBOS.workflow(name=SHARD)
        def run_shard(order: Order, plan: str, shard: int) -> str | None:
            with session.doing(shard_id(plan, shard)):
                return DBOS.run_step(retries("shard"), shards.run, order, plan, shard)

    def _launch(self, client: DBOSClient, options: TaskOptions, *, name: str) -> None:
        from dbos import DBOS, DBOSPortableJSONSerializer

        log = logging.getLogger("dbos")
        log.setLevel(logging.WARNING)
        log.addFilter(_is_no_cancelled_task)
        log.addFilter(_without_traceback)
        with reachable():
            queues = {WORK_QUEUE: options.concurrency, WEBHOOK_QUEUE: WEBHOOKS_AT_A_TIME, SHARD_QUEUE: SHARDS_AT_A_TIME}
            for queue, concurrency in queues.items():
                client.register_queue(
                    queue,
                    worker_concurrency=concurrency,
                    polling_interval_sec=options.polling,
                    on_conflict="always_update",
                )
            DBOS(
                config={
                    "name": APPLICATION,
                    "application_version": VERSION,
                    "executor_id": name,
                    "system_database_engine": self._engine,
                    "serializer": DBOSPortableJSONSerializer(),
                    "use_listen_notify": False,  # nobody waits for events, and a pooling proxy may be in between
                    "run_migrations": False,
                    "log_level": "WARNING",
                }
            )
            DBOS.launch()

    def quit(self, *, grace: float) -> None:
        """Stop working, after so many seconds at most that running tasks get to end."""
        from dbos import DBOS

        DBOS.destroy(
            destroy_registry=True, workflow_completion_timeout_sec=round(grace) if self._session.active() else 0
        )
        # Not before: what a step raises while the queue is alive is written down as its outcome.
        self._session.halt()
        try:
            with reachable(), self._engine.begin() as connection:
                # They were stopped, and their pictures did not kill anybody.
                mine = TASKS.c.worker == self._session.process
                connection.execute(update(TASKS).where(mine).values(worker=None))
        except MatteboxError as error:
            logger.warning("running tasks were left behind, and are suspects now: %s", error)
        # What is cut short from here on is taken up by the next start, and no error.
        log = logging.getLogger("dbos")
        log.setLevel(logging.CRITICAL)
        log.removeFilter(_is_no_cancelled_task)
        log.removeFilter(_without_traceback)
        _RUNNING_HERE.release()


def _is_no_cancelled_task(record: logging.LogRecord) -> bool:
    """Whether a record of the queue is about anything but a task that was cancelled in the moment it began.

    To the queue that is an error of the task's function; the task's row has the truth already.
    """
    from dbos import error

    return not (record.exc_info and isinstance(record.exc_info[1], error.DBOSAwaitedWorkflowCancelledError))


def _without_traceback(record: logging.LogRecord) -> bool:
    """Say in a sentence why a step is tried again: what is expected to happen is no defect."""
    if record.exc_info and isinstance(record.exc_info[1], MatteboxError):
        record.msg, record.args = f"{record.getMessage()}: {record.exc_info[1]}", ()
        record.exc_info = record.exc_text = None
    return True

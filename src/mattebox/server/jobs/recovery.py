"""Recovery of the work of processes that have died, and how a picture is found out that kills its worker.

There is one take-over. A message of the queue belongs to the process that has fetched it. Where that lives no more, one
of the living nodes queues the message again; a node that starts does so at once for what it had before under its name.

A picture that kills its worker cannot be told from one that was merely there when somebody pulled the plug. So whatever
was being worked on when its worker died is only a suspect, and is worked on alone from then on. Deaths while it was
alone count against it, with a growing pause between them, and after a few of them the task fails.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from sqlalchemy import Connection, Engine, case, select, update

from mattebox.errors import Kind, MatteboxError
from mattebox.server.jobs.leases import Lease
from mattebox.server.jobs.options import TaskOptions
from mattebox.server.jobs.rows import AT_ONCE, CUT_OUT, TASKS, TaskRows
from mattebox.server.jobs.session import Session
from mattebox.server.jobs.steps import DEFECT
from mattebox.server.store.database import now, reachable

if TYPE_CHECKING:
    from dbos import DBOSClient, WorkflowStatus

logger = logging.getLogger(__name__)

LONGER = 6.0
"""How much longer each pause is than the one before."""
TIMES = {1: "once", 2: "twice", 3: "three times"}


@final
@dataclass(slots=True, kw_only=True, eq=False)
class Recovery:
    """Looks after what dead processes left, as one node sees it.

    Attributes:
        engine: the database.
        client: the queue.
        lease: this node's.
        session: the stretch of work that this belongs to.
        rows: changes the tasks.
        options: how often a picture may kill its worker.
        node: this node's name.
    """

    engine: Engine
    client: DBOSClient
    lease: Lease
    session: Session
    rows: TaskRows
    options: TaskOptions
    node: str
    _missing: set[str] = field(default_factory=set)

    def take_over(self, *, at_start: bool) -> bool:
        """Queue again what nobody works on.

        Args:
            at_start: only what an earlier process of this node has left, which is dead for certain. The others may only
                have had no database to show a sign of life in.

        Returns:
            Whether this node is the one of all that looks after the others.
        """
        with reachable(), self.engine.connect() as connection:
            living = {row.id: row.process for row in connection.execute(self.lease.living())}
        first = self.node == min(living, default=self.node)
        with reachable():
            pending = self.client.list_workflows(status="PENDING", load_input=False, load_output=False)
        mine = {flow.workflow_id for flow in pending if _holder(flow)[1] == self.session.process}
        mine -= self.session.active()
        # Where the answer to "this one is yours" was lost on its way, the node does not know of its own message.
        lost = mine & self._missing
        self._missing = mine - lost
        dead = [flow for flow in pending if self._is_dead(flow, living)]
        if at_start or not first:
            dead = [flow for flow in dead if _holder(flow)[0] == self.node]
        self._resume([*dead, *(flow for flow in pending if flow.workflow_id in lost)])
        return first

    def _is_dead(self, flow: WorkflowStatus, living: Mapping[str, str]) -> bool:
        node, process = _holder(flow)
        if not process:  # as an older mattebox names itself
            return node == self.node or node not in living
        return process != self.session.process and process != living.get(node)

    def fail_orphans(self) -> None:
        """Fail the tasks whose message came to an end that none of ours knows of."""
        with reachable():
            broken = self.client.list_workflows(
                status=["ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
                name=CUT_OUT,
                limit=AT_ONCE,
                sort_desc=True,
                load_input=False,
                load_output=False,
            )
        for flow in broken:
            with reachable(), self.engine.begin() as connection:
                self.rows.fail(connection, flow.workflow_id, MatteboxError(Kind.INTERNAL, DEFECT))

    def _resume(self, flows: Iterable[WorkflowStatus]) -> None:
        for flow in flows:
            if flow.name == CUT_OUT:
                with reachable(), self.engine.begin() as connection:
                    if self._waits(connection, flow.workflow_id):
                        continue
            logger.warning("%s of node %s is queued again", flow.workflow_id, flow.executor_id)
            with reachable():
                self.client.resume_workflow(flow.workflow_id, queue_name=flow.queue_name)

    def _waits(self, connection: Connection, task_id: str) -> bool:
        """Hold against a task that its worker died, where it did; returns whether there is a pause to wait for."""
        died = (TASKS.c.worker.is_not(None), TASKS.c.worker != self.session.process)
        deaths = TASKS.c.deaths + case((TASKS.c.suspect, 1), else_=0)
        row = self.rows.change(connection, task_id, {"worker": None, "suspect": True, "deaths": deaths}, *died)
        if row is not None and row.deaths >= self.options.attempts:
            times = TIMES.get(row.deaths, f"{row.deaths} times")
            why = MatteboxError(Kind.INTERNAL, f"The worker died {times} on this picture.")
            self.rows.fail(connection, task_id, why)
            return False
        if row is not None and row.deaths:
            pause = self.options.probation * LONGER ** (row.deaths - 1)
            logger.warning("task %s waits %g s: its worker has died on it %d times", task_id, pause, row.deaths)
            connection.execute(update(TASKS).where(TASKS.c.id == task_id).values(not_before=now() + pause))
        query = select(TASKS.c.id).where(TASKS.c.id == task_id, TASKS.c.not_before > now())
        return connection.execute(query).first() is not None


def _holder(flow: WorkflowStatus) -> tuple[str, str]:
    """The node and the process that have fetched a message; together they are its executor, `node/process`."""
    executor = flow.executor_id or ""
    node, slash, process = executor.rpartition("/")
    return (node, process) if slash else (executor, "")

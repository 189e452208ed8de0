"""Shards of `mattebox bulk` in the queue: a message a shard, which any worker on the same database takes.

There is no row beside the message. What is done is known at the target of the run; a message only makes somebody look
there. So one too many costs nothing, and what became of the messages of a dead worker is what becomes of tasks'.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypedDict, final

from sqlalchemy import Engine

from mattebox import bulk
from mattebox.bulk import BulkJob, Plan
from mattebox.errors import Kind, MatteboxError
from mattebox.server.jobs.rows import AT_ONCE, SHARD, SHARD_QUEUE, enqueue, open_client
from mattebox.server.jobs.serialization import edit_from_json, edit_to_json
from mattebox.server.jobs.session import Session
from mattebox.server.jobs.steps import may_pass
from mattebox.server.jobs.tasks import Work
from mattebox.server.store.database import reachable

if TYPE_CHECKING:
    from dbos import DBOSClient

LOOK_SECONDS: Final = 2.0
"""How often whoever waits for shards looks for those that have ended."""
WAITING: Final = ["ENQUEUED", "DELAYED", "PENDING"]
ENDED: Final = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class Order(TypedDict):
    """A `BulkJob` as a message holds it: with the key of the picture behind at the target, and not its bytes."""

    source: str
    target: str
    edit: object
    behind: str | None


def shard_id(plan: str, shard: int) -> str:
    """The name of a shard's message."""
    return f"{_prefix(plan)}{shard:05}"


def _prefix(plan: str) -> str:
    return f"shard/{plan}/"


# --- those who order -------------------------------------------------------------------------------------------------


def run_on_queue(job: BulkJob, plan: Plan, engine: Engine, *, done: Callable[[int], None]) -> None:
    """Let the workers on a database do all shards that are not done, and wait for them.

    Whoever stops waiting stops nothing; who calls it again waits for the same messages.

    Args:
        job: what is to be done. Each worker has to reach its addresses.
        plan: its plan.
        engine: the database.
        done: told about each shard that has ended.

    Raises:
        MatteboxError: UNAVAILABLE where the database is away; otherwise with the first reason why a shard is not done.
    """
    target = bulk.open_target(job)
    left = bulk.pending(target, plan)
    if not left:
        return
    if job.behind is not None:
        target.put(plan.behind, job.behind, media_type="application/octet-stream")
    client = open_client(engine)
    try:
        _enqueue(client, engine, job, plan, left)
        _wait(client, plan, set(left), done)
        left = bulk.pending(target, plan)
        if left:
            raise MatteboxError(Kind.UNAVAILABLE, f"Shard {left[0]} is not done. {_reason(client, plan, left[0])}")
    finally:
        client.destroy()


def _enqueue(client: DBOSClient, engine: Engine, job: BulkJob, plan: Plan, shards: Sequence[int]) -> None:
    behind = None if job.behind is None else plan.behind
    order = Order(source=job.source, target=job.target, edit=edit_to_json(job.edit), behind=behind)
    # A message that has ended and left its shard undone would keep a new one from being taken in.
    with reachable():
        client.delete_workflows(_messages(client, plan.id, ENDED))
    for first in range(0, len(shards), AT_ONCE):
        with reachable(), engine.begin() as connection:
            for shard in shards[first : first + AT_ONCE]:
                enqueue(client, connection, SHARD_QUEUE, SHARD, shard_id(plan.id, shard), order, plan.id, shard)


def _wait(client: DBOSClient, plan: Plan, waiting: set[int], done: Callable[[int], None]) -> None:
    while True:
        with reachable():
            found = {int(each.rpartition("/")[2]) for each in _messages(client, plan.id, WAITING)}
        for shard in sorted(waiting - found):
            done(shard)
        waiting &= found
        if not waiting:
            return
        time.sleep(LOOK_SECONDS)


def _messages(client: DBOSClient, plan: str, status: list[str]) -> list[str]:
    found = client.list_workflows(workflow_id_prefix=_prefix(plan), status=status, load_input=False, load_output=False)
    return [each.workflow_id for each in found]


def _reason(client: DBOSClient, plan: Plan, shard: int) -> str:
    with reachable():
        found = client.list_workflows(workflow_ids=[shard_id(plan.id, shard)], load_input=False)
    said = found[0].output if found else None
    return said if isinstance(said, str) else "The log of the server that worked on it says why."


# --- those who work --------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True, slots=True, eq=False)
class ShardStep:
    """The step of a shard.

    Attributes:
        session: the stretch of work that this belongs to.
        work: makes the pictures.
    """

    session: Session
    work: Work

    def run(self, order: Order, plan_id: str, shard: int) -> str | None:
        """Do a shard; returns why it is not done where that is so.

        Raises:
            MatteboxError: what may pass; not at the last try.
        """
        with self.session.stopping() as stop:
            try:
                job = _job(order)
                plan = bulk.read_plan(bulk.open_target(job))
                # Whoever ordered this has compared the plan with the job, and the id is that plan's alone.
                if plan is None or plan.id != plan_id:
                    return "The plan at TARGET is gone, or another one by now."
                self.work.run_shard(job, plan, shard, stop=stop)
            except MatteboxError as error:
                self.session.check()
                if may_pass(error):
                    raise
                return error.message
        return None


def _job(order: Order) -> BulkJob:
    try:
        edit = edit_from_json(order["edit"])
    except ValueError as error:
        message = "The worker's version of mattebox does not know this edit."
        raise MatteboxError(Kind.UNAVAILABLE, message) from error
    job = BulkJob(source=order["source"], target=order["target"], edit=edit)
    return job if order["behind"] is None else replace(job, behind=bulk.open_target(job).get(order["behind"]))


def sweep_shards(client: DBOSClient, *, seconds: float) -> None:
    """Forget the messages of shards that ended so long ago."""
    before = datetime.fromtimestamp(time.time() - seconds, UTC).isoformat()
    with reachable():
        old = client.list_workflows(
            name=SHARD, status=ENDED, completed_before=before, limit=AT_ONCE, load_input=False, load_output=False
        )
        client.delete_workflows([each.workflow_id for each in old])

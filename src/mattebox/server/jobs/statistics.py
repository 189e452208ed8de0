"""The state of the queue as a whole, for those who watch it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Engine, case, column, func, inspect, select, table

from mattebox.server.jobs.rows import SHARD_QUEUE, TASKS
from mattebox.server.jobs.tasks import UNFINISHED, Status
from mattebox.server.store.database import now, reachable


class ShardStatus(StrEnum):
    """How a shard of `mattebox bulk --queue` stands."""

    WAITING = "waiting"
    WORKING = "working"
    ENDED = "ended"
    """Its message is kept until its pictures are ordered again."""


_SHARD_STATUS = {"ENQUEUED": ShardStatus.WAITING, "DELAYED": ShardStatus.WAITING, "PENDING": ShardStatus.WORKING}
"""By the workflow engine's names; by any other one they have ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The queue of all servers on one database.

    `tasks` counts them by status. `oldest` is the seconds since the oldest was taken in, by status, of those that have
    not ended. `shards` and `oldest_shard` are the same of shards. `webhooks` is how many are still to be sent.
    """

    tasks: Mapping[Status, int]
    oldest: Mapping[Status, float]
    webhooks: int
    shards: Mapping[ShardStatus, int]
    oldest_shard: Mapping[ShardStatus, float]


def statistics(engine: Engine, *, webhook_retries: int) -> Statistics:
    """How the queue stands.

    Args:
        engine: the database.
        webhook_retries: how often a webhook that failed is sent again.

    Raises:
        MatteboxError: UNAVAILABLE where the database is away.
    """
    by_status = select(TASKS.c.status, func.count(), now() - func.min(TASKS.c.created)).group_by(TASKS.c.status)
    waiting = select(func.count()).where(
        TASKS.c.hook_url.is_not(None),
        TASKS.c.announced.is_(None),
        TASKS.c.status.in_((Status.SUCCEEDED.value, Status.FAILED.value)),
        TASKS.c.hook_attempts <= webhook_retries,
    )
    with reachable(), engine.connect() as connection:
        rows = connection.execute(by_status).all()
        webhooks = connection.execute(waiting).scalar_one()
        shards = _shards(connection)
    counts = {Status(status): count for status, count, _ in rows}
    return Statistics(
        tasks={status: counts.get(status, 0) for status in Status},
        oldest={Status(status): max(0.0, age) for status, _, age in rows if status in UNFINISHED},
        webhooks=webhooks,
        shards=dict.fromkeys(ShardStatus, 0) | {ShardStatus(status): count for status, count, _ in shards},
        oldest_shard={ShardStatus(status): max(0.0, age) for status, _, age in shards if status != ShardStatus.ENDED},
    )


def _shards(connection: Connection) -> list[tuple[str, int, float]]:
    """Status, number and greatest age of the messages of shards, straight from the workflow engine's own table.

    Its client would read every message to count them.
    """
    schema = "dbos" if connection.dialect.name == "postgresql" else None
    messages = table("workflow_status", column("status"), column("queue_name"), column("created_at"), schema=schema)
    if not inspect(connection).has_table(messages.name, schema=schema):  # a server without tasks makes none
        return []
    status = case(_SHARD_STATUS, value=messages.c.status, else_=ShardStatus.ENDED)
    age = now() - func.min(messages.c.created_at) / 1000.0
    query = select(status, func.count(), age).where(messages.c.queue_name == SHARD_QUEUE).group_by(status)
    return [(status, count, age) for status, count, age in connection.execute(query)]

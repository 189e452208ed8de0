"""The state of the queue as a whole, for those who watch it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from mattebox.server.jobs.rows import TASKS
from mattebox.server.jobs.tasks import UNFINISHED, Status
from mattebox.server.store.database import now, reachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The queue of all servers on one database.

    `tasks` counts them by status. `oldest` is the seconds since the oldest was taken in, by status, of those that have
    not ended. `webhooks` is how many are still to be sent.
    """

    tasks: Mapping[Status, int]
    oldest: Mapping[Status, float]
    webhooks: int


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
    counts = {Status(status): count for status, count, _ in rows}
    return Statistics(
        tasks={status: counts.get(status, 0) for status in Status},
        oldest={Status(status): max(0.0, age) for status, _, age in rows if status in UNFINISHED},
        webhooks=webhooks,
    )

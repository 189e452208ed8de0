"""Webhooks: when they are sent, what signs them, and what becomes of those that are not received."""

from __future__ import annotations

import binascii
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias, final
from urllib.parse import urlsplit

from sqlalchemy import Connection, or_, select, update

from mattebox.errors import Kind, MatteboxError
from mattebox.server.fetch import FetchOptions, check_url
from mattebox.server.jobs.leases import Lease
from mattebox.server.jobs.options import TaskOptions
from mattebox.server.jobs.rows import TASKS, TaskRows, task_of
from mattebox.server.jobs.session import Session
from mattebox.server.jobs.steps import DEFECT
from mattebox.server.jobs.tasks import Hook, Result, Task, Work
from mattebox.server.store.database import now

if TYPE_CHECKING:
    from standardwebhooks import Webhook

logger = logging.getLogger(__name__)

WebhookBody: TypeAlias = Callable[[Task, str | None], bytes]
"""Writes a webhook's body, from a task that has ended and the address of its result, if it has one."""

LONGEST_PAUSE = 3600.0
"""Seconds between two deliveries at most."""


def result_address(base: str, result: Result) -> str:
    """The address of a result on a server whose own address is `base`, as in `https://cutout.example`."""
    return f"{base}/{result.name}"


def check_hook(hook: Hook, options: FetchOptions) -> None:
    """Refuse a webhook that could never be sent.

    Raises:
        MatteboxError: INVALID_PARAMETER where its address is none, or of a host that the options do not name, or its
            secret is not base64 (after `whsec_`).
    """
    check_url(hook.url, what="webhook's")
    if not options.names(urlsplit(hook.url).hostname or ""):
        raise MatteboxError(Kind.INVALID_PARAMETER, "Webhooks may not be sent to this host.", parameter="webhook")
    if hook.secret is not None:
        signer(hook.secret)


def signer(secret: str) -> Webhook:
    """The signer with this secret.

    Raises:
        MatteboxError: INVALID_PARAMETER where it is not base64 (after `whsec_`).
    """
    from standardwebhooks import Webhook
    from standardwebhooks.webhooks import EmptyWebhookSecretError

    try:
        return Webhook(secret)
    except (EmptyWebhookSecretError, binascii.Error, ValueError) as error:
        raise MatteboxError(
            Kind.INVALID_PARAMETER, "The webhook's secret must be base64, with whsec_ before it or without."
        ) from error


def headers(task_id: str, body: bytes, by: Webhook | None) -> dict[str, str]:
    """A webhook's headers, as Standard Webhooks has them; signed where there is something to sign it with."""
    # The same id on every try, so that a receiver notices what it has had already.
    name, moment = f"msg_{task_id}", datetime.now(UTC)
    written = {
        "Content-Type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(int(moment.timestamp())),
    }
    if by is not None:
        written["webhook-signature"] = by.sign(name, moment, body.decode())
    return written


def pause_after(failures: int, options: TaskOptions) -> float | None:
    """Seconds until a webhook is sent again that has failed so often; None where it is given up."""
    if failures > options.webhook_retries:
        return None
    return min(options.webhook_pause * 2.0 ** min(failures - 1, 64), LONGEST_PAUSE)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Webhooks:
    """Sends webhooks. What has to wait does so in the queue, where it outlives the process.

    Attributes:
        session: the stretch of work that this belongs to.
        rows: changes the tasks.
        work: writes and sends.
        lease: knows which processes live.
        options: when a webhook is sent again.
    """

    session: Session
    rows: TaskRows
    work: Work
    lease: Lease
    options: TaskOptions

    def send(self, task_id: str, again: int) -> None:
        """Send a task's webhook, for the first time or `again`, and queue the next try where that fails."""
        task = self.session.retry_forever(lambda connection: self._claim(connection, task_id))
        if task is None or task.hook is None:
            return
        failure = self._deliver(task, task.hook)
        values: dict[str, object] = {"hook_attempts": again + 1, "hook_attempted": now(), "hook_failure": failure}
        values |= {"hook_sender": None} if failure else {"announced": now()}

        def write(connection: Connection) -> None:
            mine = (TASKS.c.id == task_id, TASKS.c.hook_sender == self.session.process, TASKS.c.announced.is_(None))
            if connection.execute(update(TASKS).where(*mine).values(values)).rowcount == 0 or failure is None:
                return
            pause = pause_after(again + 1, self.options)
            if pause is not None:
                self.rows.queue_webhook(connection, task_id, again + 1, delay=pause)

        self.session.retry_forever(write)

    def _deliver(self, task: Task, hook: Hook) -> str | None:
        """Send the webhook; returns why that failed."""
        try:
            self.work.deliver(hook, self.work.webhook_body(task), task.id)
        except MatteboxError as error:
            if error.kind is Kind.INTERNAL:
                logger.exception("the webhook of task %s failed", task.id)
            return error.message
        except Exception:
            logger.exception("the webhook of task %s failed", task.id)
            return DEFECT
        return None

    def _claim(self, connection: Connection, task_id: str) -> Task | None:
        """Become the one that sends this webhook: a node that was taken for dead may wake up in the middle of it."""
        living = select(self.lease.living().subquery().c.process)
        free = or_(
            TASKS.c.hook_sender.is_(None),
            TASKS.c.hook_sender == self.session.process,
            TASKS.c.hook_sender.not_in(living),
        )
        claim = update(TASKS).where(TASKS.c.id == task_id, TASKS.c.announced.is_(None), free)
        row = connection.execute(claim.values(hook_sender=self.session.process).returning(TASKS)).one_or_none()
        return None if row is None else task_of(row)

"""The table of tasks, and a task as one of its rows."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Double,
    Engine,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    false,
    text,
    update,
)

from mattebox.errors import Kind, MatteboxError
from mattebox.image import Box, Served
from mattebox.server.jobs.serialization import from_json
from mattebox.server.jobs.tasks import UNFINISHED, Hook, Result, Status, Task
from mattebox.server.store.database import TABLES, now, reachable

if TYPE_CHECKING:
    from dbos import DBOSClient, EnqueueOptions

APPLICATION = "mattebox"
VERSION = "1"
"""Which workers understand which queue messages. Change it only together with the workflows: waiting tasks of another
version are not touched by this one's workers."""
AT_ONCE = 500
"""Rows or messages of one statement."""
CUT_OUT, WEBHOOK, SHARD = "cut_out", "announce", "shard"
WORK_QUEUE, WEBHOOK_QUEUE, SHARD_QUEUE = "mattebox-tasks", "mattebox-webhooks", "mattebox-shards"

TASKS = Table(
    "tasks",
    TABLES,
    Column("number", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),
    Column("dialect", String(64), nullable=False),
    Column("edit", Text, nullable=False),
    Column("status", String(16), nullable=False, default=Status.QUEUED.value),
    Column("kind", String(32)),
    Column("reason", Text),
    Column("progress", Integer, nullable=False, default=0),
    Column("worker", String(36)),
    Column("suspect", Boolean, nullable=False, server_default=false()),
    Column("deaths", Integer, nullable=False, server_default=text("0")),
    Column("not_before", Double),
    Column("created", Double, nullable=False, default=now()),
    Column("started", Double),
    Column("finished", Double),
    Column("result", Text),
    Column("hook_url", Text),
    Column("hook_secret", Text),
    Column("hook_sender", String(255)),
    Column("hook_failure", Text),
    Column("hook_attempts", Integer, nullable=False, server_default=text("0")),
    Column("hook_attempted", Double),
    Column("announced", Double),
    Column("batch", String(64)),
    Column("extra", Text, nullable=False),
    Index("tasks_owner", "owner", "number"),
    Index("tasks_batch", "batch"),
    Index("tasks_finished", "finished"),
)
"""`worker` is the process that works on the picture right now; where that has died, the picture may be why. Then the
task is a `suspect`, which is worked on alone; `deaths` counts those while it was alone, and it is not worked on again
`not_before` a pause has passed. `hook_sender` is the process that sends the webhook."""


def open_client(engine: Engine) -> DBOSClient:
    """The queue in a database, with its own tables up to date."""
    # It would write to the console, past everything that the server has set up for its own log.
    logging.getLogger("dbos").addHandler(logging.NullHandler())
    from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer

    with reachable():
        DBOS.migrate(engine.url.render_as_string(hide_password=False))
        return DBOSClient(
            system_database_engine=engine,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            retry_connection_errors=False,
        )


def enqueue(
    client: DBOSClient,
    connection: Connection,
    queue: str,
    workflow: str,
    name: str,
    *arguments: object,
    delay: float | None = None,
) -> None:
    """Queue a message of that name in a transaction: a worker calls the workflow, `delay` seconds from now at first."""
    options: EnqueueOptions = {
        "queue_name": queue,
        "workflow_name": workflow,
        "workflow_id": name,
        "app_version": VERSION,
    }
    if delay is not None:
        options["delay_seconds"] = delay
    client.enqueue_in_transaction(connection, options, *arguments)


def task_of(row: Row[tuple[object]]) -> Task:
    """The task of a row."""
    edit, sources = from_json(json.loads(row.edit))
    return Task(
        id=row.id,
        owner=row.owner,
        dialect=row.dialect,
        edit=edit,
        sources=sources,
        status=Status(row.status),
        created=row.created,
        kind=None if row.kind is None else Kind(row.kind),
        reason=row.reason,
        progress=row.progress,
        started=row.started,
        finished=row.finished,
        result=None if row.result is None else _result_of(row.result),
        hook=None if row.hook_url is None else Hook(row.hook_url, row.hook_secret),
        batch=row.batch,
        extra=json.loads(row.extra),
        announced=row.announced,
        hook_failure=row.hook_failure,
        hook_attempts=row.hook_attempts,
        hook_attempted=row.hook_attempted,
    )


@final
class TaskRows:
    """Changes of tasks, each in one transaction with the queue messages that belong to it.

    Args:
        client: the queue.
        on_finished: called with each task that ends, in the transaction that ends it.
    """

    def __init__(self, client: DBOSClient, on_finished: Callable[[Connection, Task], None] | None) -> None:
        self._client = client
        self._on_finished = on_finished

    def change(
        self, connection: Connection, task_id: str, values: Mapping[str, object], *more: ColumnElement[bool]
    ) -> Row[tuple[object]] | None:
        """Write values to a task that has not ended, where `more` holds; None where it has ended or does not hold."""
        unfinished = (TASKS.c.id == task_id, TASKS.c.status.in_(UNFINISHED), *more)
        return connection.execute(update(TASKS).where(*unfinished).values(dict(values)).returning(TASKS)).one_or_none()

    def end(
        self, connection: Connection, task_id: str, values: Mapping[str, object], *more: ColumnElement[bool]
    ) -> Task | None:
        """Write a task's end, with everything that must happen together with it; None as in `change`."""
        row = self.change(connection, task_id, {**values, "finished": now(), "worker": None}, *more)
        if row is None:
            return None
        task = task_of(row)
        if self._on_finished is not None:
            self._on_finished(connection, task)
        if task.hook is not None and task.status is not Status.CANCELLED:
            self.queue_webhook(connection, task_id, 0)
        return task

    def fail(self, connection: Connection, task_id: str, why: MatteboxError) -> None:
        """End a task as failed."""
        values = {"status": Status.FAILED.value, "kind": why.kind.value, "reason": why.message}
        self.end(connection, task_id, values)

    def queue_task(self, connection: Connection, task_id: str) -> None:
        """Queue the message that makes a worker cut out."""
        enqueue(self._client, connection, WORK_QUEUE, CUT_OUT, task_id, task_id)

    def queue_webhook(self, connection: Connection, task_id: str, again: int, *, delay: float | None = None) -> None:
        """Queue the message that makes a worker send the webhook, for the first time or `again`."""
        name = webhook_id(task_id, again)
        enqueue(self._client, connection, WEBHOOK_QUEUE, WEBHOOK, name, task_id, again, delay=delay)


def webhook_id(task_id: str, again: int) -> str:
    """The name of the queue's message that sends a task's webhook for the first time, or `again`."""
    return f"{task_id}/webhook/{again}"


def result_to_json(result: Result) -> str:
    """A result as its column holds it."""
    return json.dumps(asdict(result))


def _result_of(text: str) -> Result:
    values = json.loads(text)
    subject, served = values.pop("subject"), values.pop("served", None)  # which older rows lack
    return Result(
        **values,
        subject=None if subject is None else Box(**subject),
        served=None if served is None else Served(**served),
    )

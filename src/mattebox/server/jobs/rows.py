"""The table of tasks, and a task as one of its rows."""

from __future__ import annotations

import json
from dataclasses import asdict

from sqlalchemy import BigInteger, Column, Double, Index, Integer, Row, String, Table, Text

from mattebox.image import Box
from mattebox.server.jobs.serialization import from_json
from mattebox.server.jobs.values import Hook, Result, Status, Task
from mattebox.server.store.database import TABLES, now

TASKS = Table(
    "tasks",
    TABLES,
    Column("number", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),
    Column("dialect", String(64), nullable=False),
    Column("edit", Text, nullable=False),
    Column("status", String(16), nullable=False, default=Status.QUEUED.value),
    Column("reason", Text),
    Column("progress", Integer, nullable=False, default=0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("created", Double, nullable=False, default=now()),
    Column("started", Double),
    Column("finished", Double),
    Column("result", Text),
    Column("hook_url", Text),
    Column("hook_secret", Text),
    Column("hook_sender", String(255)),
    Column("hook_failure", Text),
    Column("announced", Double),
    Column("batch", String(64)),
    Column("extra", Text, nullable=False),
    Index("tasks_owner", "owner", "number"),
    Index("tasks_batch", "batch"),
    Index("tasks_finished", "finished"),
)


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
    )


def result_to_json(result: Result) -> str:
    """A result as its column holds it."""
    return json.dumps(asdict(result))


def _result_of(text: str) -> Result:
    values = json.loads(text)
    subject = values.pop("subject")
    return Result(**values, subject=None if subject is None else Box(**subject))

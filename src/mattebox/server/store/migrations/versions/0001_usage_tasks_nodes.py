"""Usage of keys, tasks, and the nodes that work on them.

A mattebox that did not count revisions has made the same tables, some of them or all: those are kept as they are.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables that are missing."""
    make: dict[str, Callable[[], None]] = {"usage": _usage, "tasks": _tasks, "nodes": _nodes}
    present = set(sa.inspect(op.get_bind()).get_table_names())
    for name, each in make.items():
        if name not in present:
            each()


def downgrade() -> None:
    """Remove them, and what they keep."""
    for name in ("nodes", "tasks", "usage"):
        op.drop_table(name)


def _usage() -> None:
    op.create_table(
        "usage",
        sa.Column("account", sa.String(64), primary_key=True),
        sa.Column("images", sa.Integer, nullable=False),
    )


def _tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("dialect", sa.String(64), nullable=False),
        sa.Column("edit", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("progress", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("started", sa.Double),
        sa.Column("finished", sa.Double),
        sa.Column("result", sa.Text),
        sa.Column("hook_url", sa.Text),
        sa.Column("hook_secret", sa.Text),
        sa.Column("hook_sender", sa.String(255)),
        sa.Column("hook_failure", sa.Text),
        sa.Column("announced", sa.Double),
        sa.Column("batch", sa.String(64)),
        sa.Column("extra", sa.Text, nullable=False),
    )
    op.create_index("tasks_owner", "tasks", ["owner", "number"])
    op.create_index("tasks_batch", "tasks", ["batch"])
    op.create_index("tasks_finished", "tasks", ["finished"])


def _nodes() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(255), primary_key=True),
        sa.Column("process", sa.String(36), nullable=False),
        sa.Column("signature", sa.Text, nullable=False),
        sa.Column("seen", sa.Double, nullable=False),
    )

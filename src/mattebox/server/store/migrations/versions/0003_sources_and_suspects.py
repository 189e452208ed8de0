"""Tasks say where their pictures are beside what is to be done, and remember more about deaths and webhooks.

The column `edit` held an edit with its sources inside; now it holds `{"edit": ..., "sources": ...}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TASKS = sa.table("tasks", sa.column("number"), sa.column("edit"), sa.column("dialect"))
_AT_ONCE = 500


def upgrade() -> None:
    """Move the sources out of the edits, name dialects as they are called now, and make the new columns."""
    op.add_column("tasks", sa.Column("worker", sa.String(36)))
    op.add_column("tasks", sa.Column("suspect", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("tasks", sa.Column("deaths", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("tasks", sa.Column("not_before", sa.Double))
    op.add_column("tasks", sa.Column("hook_attempts", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("tasks", sa.Column("hook_attempted", sa.Double))
    op.drop_column("tasks", "attempts")
    _rewrite(_apart)
    op.execute(sa.update(_TASKS).where(_TASKS.c.dialect.like("native-%")).values(dialect="native"))


def downgrade() -> None:
    """Put the sources back into the edits. How often workers died and webhooks were sent is forgotten."""
    for column in ("hook_attempted", "hook_attempts", "not_before", "deaths", "suspect", "worker"):
        op.drop_column("tasks", column)
    op.add_column("tasks", sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")))
    _rewrite(_together)
    # The only dialect of ours that announces tasks was called so.
    op.execute(sa.update(_TASKS).where(_TASKS.c.dialect == "native").values(dialect="native-tasks"))


def _rewrite(change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    connection = op.get_bind()
    last = 0
    while True:
        page = sa.select(_TASKS.c.number, _TASKS.c.edit).where(_TASKS.c.number > last).order_by(_TASKS.c.number)
        rows = connection.execute(page.limit(_AT_ONCE)).all()
        if not rows:
            return
        for row in rows:
            changed = json.dumps(change(json.loads(row.edit)))
            connection.execute(sa.update(_TASKS).where(_TASKS.c.number == row.number).values(edit=changed))
        last = rows[-1].number


def _apart(old: dict[str, object]) -> dict[str, object]:
    if "sources" in old:
        return old
    edit = dict(old)
    photo, backdrop, behind = edit.pop("source"), edit.get("backdrop"), None
    if isinstance(backdrop, dict) and backdrop.get("kind") == "picture":
        edit["backdrop"] = {"kind": "picture"}
        behind = backdrop.get("source")
    return {"edit": edit, "sources": {"photo": photo, "backdrop": behind}}


def _together(new: dict[str, object]) -> dict[str, object]:
    edit, sources = new["edit"], new["sources"]
    if not isinstance(edit, dict) or not isinstance(sources, dict):
        raise TypeError("an edit and its sources are objects")
    old = {"source": sources["photo"], **edit}
    if sources["backdrop"] is not None:
        old["backdrop"] = {"kind": "picture", "source": sources["backdrop"]}
    return old

"""Tasks that fail remember what kind of failure it was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the column. Of tasks that have failed before, nobody knows it any more."""
    op.add_column("tasks", sa.Column("kind", sa.String(32)))


def downgrade() -> None:
    """Drop it: the reasons stay."""
    op.drop_column("tasks", "kind")

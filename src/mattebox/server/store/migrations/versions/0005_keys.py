"""The table of API keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "keys",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("credits", sa.Integer),
        sa.Column("pictures", sa.Integer),
        sa.Column("rate", sa.String(128)),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("revoked", sa.Double),
    )
    in_force = sa.text("revoked IS NULL")
    op.create_index("keys_name", "keys", ["name"], unique=True, sqlite_where=in_force, postgresql_where=in_force)


def downgrade() -> None:
    """Drop it. The keys are lost, and a server that has no others asks for none."""
    op.drop_table("keys")

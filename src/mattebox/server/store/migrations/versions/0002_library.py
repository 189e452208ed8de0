"""Stored images, and how much each key keeps of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "images",
        sa.Column(
            "sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True
        ),
        sa.Column("id", sa.String(30), nullable=False, unique=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("name", sa.String(30), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("format", sa.String(8), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("parent", sa.String(30)),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("published", sa.Boolean, nullable=False),
    )
    op.create_index("images_owner", "images", ["owner", "sequence"])
    unsettled = sa.text("state != 'kept'")
    op.create_index("images_unsettled", "images", ["sequence"], sqlite_where=unsettled, postgresql_where=unsettled)
    op.create_table(
        "holdings",
        sa.Column("owner", sa.String(64), primary_key=True),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Remove them. The images' files stay in the storage, under `images/`, and nothing knows of them any more."""
    op.drop_table("holdings")
    op.drop_table("images")

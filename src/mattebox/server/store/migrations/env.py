"""Runs the steps of `versions` in the transaction that `mattebox.server.store.database` has begun."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from mattebox.server.store.database import REVISION_TABLE

connection = context.config.attributes["connection"]
assert isinstance(connection, Connection)  # noqa: S101 - there is no other way to get here
# SQLite too can take a change of tables back; the library does not count on it.
context.configure(connection=connection, version_table=REVISION_TABLE, transactional_ddl=True)
context.run_migrations()

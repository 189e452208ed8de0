"""Claims: which process does what only one at a time should do.

A claim runs out by itself, so that another process takes over from one that was killed.
"""

from __future__ import annotations

import uuid
from typing import final

from sqlalchemy import Column, Double, Engine, String, Table, or_

from mattebox.server.store.database import TABLES, now, reachable, upsert

_CLAIMS = Table(
    "claims",
    TABLES,
    Column("name", String(64), primary_key=True),
    Column("holder", String(36), nullable=False),
    Column("until", Double, nullable=False),
)


@final
class Claims:
    """The claims of one process. Safe to use from several threads.

    Args:
        database: shared by the processes; its tables are made by `database.create`.
    """

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._holder = str(uuid.uuid4())

    def claim(self, name: str, *, seconds: float) -> bool:
        """Claim `name` for so long, or keep it for so much longer; False where another process holds it."""
        mine = {"holder": self._holder, "until": now() + seconds}
        free = or_(_CLAIMS.c.until <= now(), _CLAIMS.c.holder == self._holder)
        with reachable(), self._database.begin() as connection:
            claimed = upsert(connection, _CLAIMS).values(name=name, **mine)
            claimed = claimed.on_conflict_do_update(index_elements=[_CLAIMS.c.name], set_=mine, where=free)
            return connection.execute(claimed.returning(_CLAIMS.c.name)).first() is not None

"""Which processes work on tasks: each signs under its name, and again every few seconds for as long as it lives."""

from __future__ import annotations

import logging
import os
import threading
import uuid
from pathlib import Path
from typing import final

from sqlalchemy import Column, Connection, Double, Engine, Select, String, Table, Text, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from mattebox.errors import Kind, MatteboxError
from mattebox.server.store.database import TABLES, now, reachable

logger = logging.getLogger(__name__)

NODES = Table(
    "nodes",
    TABLES,
    Column("id", String(255), primary_key=True),
    Column("process", String(36), nullable=False),
    Column("signature", Text, nullable=False),
    Column("seen", Double, nullable=False),
)


@final
class Lease:
    """This process's hold on a node's name.

    Args:
        engine: the database.
        node: the name.
        lease: seconds of silence after which a node counts as dead.
        beat: seconds between two signs of life.
    """

    def __init__(self, engine: Engine, node: str, *, lease: float, beat: float) -> None:
        self._engine = engine
        self._node = node
        self.process = ""
        """This process, as the holder of the name since it was acquired last: 36 characters that nobody else has."""
        self._lease = lease
        self._beat = beat

    def living(self) -> Select[str, str]:
        """A query for the names and the processes of the nodes that live."""
        return select(NODES.c.id, NODES.c.process).where(NODES.c.seen > now() - self._lease)

    def acquire(self) -> None:
        """Take this node's name.

        Raises:
            MatteboxError: CONFLICT where another process lives under it; UNAVAILABLE.
        """
        self.process = str(uuid.uuid4())
        mine = {"id": self._node, "process": self.process, "signature": _signature(), "seen": now()}
        patience = 1.5 * self._beat + 0.5
        seen: tuple[str, float] | None = None
        waiting = threading.Event()
        while True:
            with reachable(), self._engine.begin() as connection:
                alive = NODES.c.seen > now() - self._lease
                found = connection.execute(
                    select(NODES.c.process, NODES.c.signature, NODES.c.seen, alive.label("alive")).where(
                        NODES.c.id == self._node
                    )
                ).one_or_none()
                if found is None:
                    try:
                        connection.execute(insert(NODES).values(mine))
                    except IntegrityError as error:
                        raise self._taken() from error
                    return
                if seen is not None and seen != (found.process, found.seen):
                    raise self._taken()
                # A row that does not change is what a process leaves behind that was killed.
                if not found.alive or _is_gone(found.signature) or patience <= 0:
                    free = (NODES.c.id == self._node, NODES.c.process == found.process, NODES.c.seen == found.seen)
                    if connection.execute(update(NODES).where(*free).values(mine)).rowcount:
                        return
                    raise self._taken()
                seen = (found.process, found.seen)
            pause = min(0.25, self._beat / 4)
            waiting.wait(pause)
            patience -= pause

    def release(self) -> None:
        """Give the name back; where the database is away, it runs out by itself."""
        try:
            with reachable(), self._engine.begin() as connection:
                connection.execute(delete(NODES).where(NODES.c.process == self.process))
        except MatteboxError as error:
            logger.warning("the name of this node was not given back: %s", error)

    def _taken(self) -> MatteboxError:
        return MatteboxError(
            Kind.CONFLICT,
            f"Another process is running as node {self._node!r}: each needs a name of its own.",
            parameter="node",
        )

    def renew(self) -> bool:
        """Show a sign of life; False where another process has taken the name."""
        with reachable(), self._engine.begin() as connection:
            mine = (NODES.c.id == self._node, NODES.c.process == self.process)
            if connection.execute(update(NODES).where(*mine).values(seen=now())).rowcount:
                return True
            if connection.execute(select(NODES.c.id).where(NODES.c.id == self._node)).first():
                return False
            connection.execute(
                insert(NODES).values(id=self._node, process=self.process, signature=_signature(), seen=now())
            )
            return True

    def forget(self, connection: Connection, seconds: float) -> None:
        """Remove nodes that were not seen for so long."""
        connection.execute(delete(NODES).where(NODES.c.seen < now() - seconds))


def _signature() -> str:
    """This process among all that ran since the machine was started; empty where the system does not tell."""
    process = os.getpid()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()} {process} {_born(process)}"
    except OSError:
        return ""


def _is_gone(signature: str) -> bool:
    """Whether the process with this signature was one of this machine, and is no more."""
    boot, *rest = signature.split() or [""]
    if not boot or [boot, rest[0]] != _signature().split()[:2]:
        return False
    return _born(int(rest[1])) != rest[2]


def _born(process: int) -> str | None:
    """When the process began, as the system counts; None where it has ended."""
    try:
        # The name, in brackets, may have spaces and brackets in it.
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in {"Z", "X"} else fields[18]

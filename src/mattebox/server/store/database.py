"""The database: SQLite on one machine, PostgreSQL for many, and the same code on both.

What is kept is declared by the modules that keep it, as tables of `TABLES`. This module knows how to connect, and how
to bring the tables of an older mattebox up to date. Each step of that is a file of the folder `migrations`; those files
are the truth about a database, and no other module need be imported for it.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, final

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Double,
    Engine,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from mattebox import extras
from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry
    from sqlalchemy.sql.compiler import SQLCompiler

TABLES = MetaData()
"""Every table of ours, as the modules that were imported so far declare them."""

REVISION_TABLE = "mattebox_revision"
"""The table with the revision of the others. Others may keep tables, and such a table, beside ours."""
BASE = "base"
"""The revision of a database without tables of ours."""

CONNECT_SECONDS = 2
"""Patience with a server that does not answer: whoever asks for a task should be told soon that it cannot be had."""
BUSY_SECONDS = 60
"""How long one writer of an SQLite file waits for another, and a thread for a free connection to it."""
POOL_SECONDS = 5
"""How long a thread waits for a free connection to PostgreSQL."""
IDLE_SECONDS = 10
"""After so long PostgreSQL ends a transaction that does nothing: a stopped process must not keep its locks."""
CREATION_LOCK = 0x6D61747465
"""The number of the lock under which tables are created (PostgreSQL). Any number that nobody else uses will do."""

_MIGRATIONS = Path(__file__).with_name("migrations")
_REVISIONS = Table(REVISION_TABLE, MetaData(), Column("version_num", String(32), primary_key=True))
_MIGRATING = threading.Lock()
"""The library that migrates keeps what it works on in global variables."""


def connect(url: str) -> Engine:
    """The database at `url`, such as `sqlite:////var/lib/mattebox/mattebox.db` or `postgresql://user:word@host/name`.

    Nothing is connected to yet, except that the folder of an SQLite file is made.

    Raises:
        MatteboxError: INVALID_PARAMETER where `url` is not the address of an SQLite or PostgreSQL database; UNAVAILABLE
            where the folder cannot be made.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # the latter where the port is not a number
        raise _unknown() from error
    match parsed.drivername:
        case "sqlite" if parsed.database and parsed.database != ":memory:":
            return _sqlite(parsed)
        case "postgresql" | "postgres" | "postgresql+psycopg" if parsed.database:
            return _postgresql(parsed.set(drivername="postgresql+psycopg"))
        case _:
            raise _unknown()


def create(engine: Engine) -> None:
    """Make the tables, or bring those of an older mattebox up to date, without loss.

    Any number of processes may do this at the same time. Where there is nothing to do it costs one query.

    Raises:
        MatteboxError: UNAVAILABLE, also where a newer mattebox has made the tables.
    """
    if revision(engine) == revisions()[-1]:
        return
    with _changing(engine) as connection:
        if _revision(connection) != revisions()[-1]:  # else another process was first
            _migrate(connection, revisions()[-1], back=False)


def downgrade(engine: Engine, target: str) -> None:
    """Make the tables what they were at an older revision. What only newer ones keep is lost.

    Args:
        engine: the database. Nothing else should work on it meanwhile.
        target: one of `revisions`, or `base` for no tables at all.

    Raises:
        MatteboxError: INVALID_PARAMETER where the revision is unknown, or the database has not come so far;
            UNAVAILABLE, also where a newer mattebox has made the tables.
    """
    order = (BASE, *revisions())
    if target not in order:
        raise MatteboxError(
            Kind.INVALID_PARAMETER, f"Unknown revision. Choose one of {', '.join(order)}.", parameter="revision"
        )
    with _changing(engine) as connection:
        present = _revision(connection)
        if order.index(target) > order.index(present):
            raise MatteboxError(
                Kind.INVALID_PARAMETER,
                f"The database is at revision {present}, from which there is no way back to {target}.",
                parameter="revision",
            )
        if target != present:
            _migrate(connection, target, back=True)


def revision(engine: Engine) -> str:
    """Which of `revisions` the tables are of; `base` for none, or for those of a mattebox that did not count yet.

    Raises:
        MatteboxError: UNAVAILABLE, also where a newer mattebox has made the tables.
    """
    with reachable(), engine.connect() as connection:
        return _revision(connection)


def revisions() -> tuple[str, ...]:
    """Every revision that this mattebox knows, from the oldest to the newest."""
    # The names of the files tell, so that the common case, where nothing is to be done, needs no slow import.
    return tuple(sorted(path.name[:4] for path in (_MIGRATIONS / "versions").glob("[0-9][0-9][0-9][0-9]_*.py")))


@contextmanager
def reachable() -> Iterator[None]:
    """Say that the database is away where that is what went wrong."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise _away() from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise _away() from error
        raise


def upsert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that may say what is done where the row is there already, in the words of the database."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


@final
class now(FunctionElement[float]):  # noqa: N801 - it reads as the SQL function that it is
    """The database's own clock: seconds since 1970 as a float, the same for every process that asks."""

    type = Double()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_of_sqlite(_element: now, _compiler: SQLCompiler, **_: object) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _now_of_postgresql(_element: now, _compiler: SQLCompiler, **_: object) -> str:
    # Not now(), which stands still during a transaction.
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


def _sqlite(url: URL) -> Engine:
    try:
        file = Path(str(url.database)).expanduser()
        file.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # the latter where a home is nobody's
        raise MatteboxError(Kind.UNAVAILABLE, "The folder of the database's file cannot be made.") from error
    engine = create_engine(url.set(database=str(file)), pool_size=10, max_overflow=20, pool_timeout=BUSY_SECONDS)

    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        if isinstance(connection, sqlite3.Connection):
            # A transaction takes the write lock when it begins. One that reads, and finds at its first change that
            # another has written since, would fail at once and not wait.
            connection.isolation_level = "IMMEDIATE"
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
        cursor.execute("PRAGMA journal_mode=WAL")  # readers and the writer do not wait for each other
        cursor.execute("PRAGMA synchronous=FULL")  # what was committed outlives a power cut
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    event.listen(engine, "connect", prepare)
    return engine


def _postgresql(url: URL) -> Engine:
    with extras.needs("postgres", "PostgreSQL"):
        import psycopg  # noqa: F401 - the driver that the address names

    engine = create_engine(
        url,
        pool_size=10,
        max_overflow=20,
        pool_timeout=POOL_SECONDS,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": 5000,
            "application_name": "mattebox",
            "client_encoding": "utf8",  # a database of a cluster without a locale would answer with bytes
        },
    )

    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET idle_in_transaction_session_timeout = {IDLE_SECONDS * 1000}")
        cursor.close()
        connection.commit()  # or the pool's rollback would undo the setting

    event.listen(engine, "connect", prepare)
    return engine


def _revision(connection: Connection) -> str:
    if not inspect(connection).has_table(REVISION_TABLE):
        return BASE
    found = connection.scalar(select(_REVISIONS.c.version_num)) or BASE
    if found not in (BASE, *revisions()):
        shown = found if re.fullmatch("[0-9a-z_]+", found) else "unknown"
        raise MatteboxError(
            Kind.UNAVAILABLE,
            f"A newer mattebox has changed the database: it is at revision {shown}, and this one knows "
            f"{revisions()[-1]} at most.",
        )
    return found


@contextmanager
def _changing(engine: Engine) -> Iterator[Connection]:
    """A transaction that changes the tables: all of it or nothing, and one at a time among all processes."""
    with _MIGRATING, reachable(), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CREATION_LOCK})
        else:
            # The driver would begin the transaction only at the first change, after looking what is there.
            connection.execute(text("BEGIN IMMEDIATE"))
        yield connection


def _migrate(connection: Connection, target: str, *, back: bool) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        (command.downgrade if back else command.upgrade)(config, target)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        # Somebody else's table under the name of ours, say, or a role that may not make tables.
        raise MatteboxError(
            Kind.UNAVAILABLE,
            f"The tables of the database cannot be brought to revision {target}; they were left as they are.",
        ) from error


def _away() -> MatteboxError:
    return MatteboxError(Kind.UNAVAILABLE, "The database cannot be reached at the moment.", retry_after=2)


def _unknown() -> MatteboxError:
    return MatteboxError(
        Kind.INVALID_PARAMETER, "The database's address must be sqlite:///file or postgresql://user:word@host/name."
    )

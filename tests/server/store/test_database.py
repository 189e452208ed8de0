from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from mattebox.errors import Kind, MatteboxError
from mattebox.server.store.database import connect, create, now, reachable, revision, revisions


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    database = connect(f"sqlite:///{tmp_path}/deep/mattebox.db")
    yield database
    database.dispose()


@pytest.mark.parametrize(
    ("pragma", "expected"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 60_000)]
)
def test_sqlite_is_set_up_for_many_threads_and_power_cuts(engine: Engine, pragma: str, expected: object) -> None:
    with engine.connect() as connection:
        assert connection.scalar(text(f"PRAGMA {pragma}")) == expected


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_known_by_all_its_names(scheme: str) -> None:
    engine = connect(f"{scheme}://user:word@host:5433/name")
    assert engine.url.render_as_string(hide_password=False) == "postgresql+psycopg://user:word@host:5433/name"
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mattebox.db",
        "mysql://host/name",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://host",
        "postgresql://host:port/name",
    ],
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(MatteboxError, match="must be sqlite") as caught:
        connect(url)
    assert caught.value.kind is Kind.INVALID_PARAMETER


def test_a_folder_that_cannot_be_made_is_no_defect(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MatteboxError) as caught:
        connect(f"sqlite:///{tmp_path}/file/mattebox.db")
    assert caught.value.kind is Kind.UNAVAILABLE
    assert isinstance(caught.value.__cause__, OSError)


def test_a_file_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    engine = connect("sqlite:///~/deep/mattebox.db")
    create(engine)
    engine.dispose()
    assert (tmp_path / "deep" / "mattebox.db").is_file()


def test_tables_are_created_by_many_at_once(engine: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: create(engine), range(8)))
    assert revision(engine) == revisions()[-1]
    with engine.connect() as connection:
        for table in ("usage", "tasks", "nodes", "images", "holdings"):
            assert inspect(connection).has_table(table)


def test_the_databases_clock_is_the_time(engine: Engine) -> None:
    with engine.connect() as connection:
        first = connection.scalar(select(now()))
        second = connection.scalar(select(now()))
    assert first is not None
    assert second is not None
    assert first <= second
    assert first == pytest.approx(time.time(), abs=1)


def test_two_writers_wait_for_each_other(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE counter (value INTEGER)"))
        connection.execute(text("INSERT INTO counter VALUES (0)"))

    def count(_: int) -> None:
        with engine.begin() as connection:
            connection.execute(text("UPDATE counter SET value = value + 1"))
            connection.execute(select(now()))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(40)))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT value FROM counter")) == 40


@pytest.mark.process
def test_sixty_four_writers_on_a_busy_machine_are_all_served(tmp_path: Path) -> None:
    """More threads than there are connections, and each core has something else to do."""
    engine = connect(f"sqlite:///{tmp_path}/mattebox.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE counter (value INTEGER)"))
        connection.execute(text("INSERT INTO counter VALUES (0)"))
    begin = threading.Barrier(64)

    def write(_: int) -> None:
        begin.wait(60)
        for _ in range(10):
            with reachable(), engine.begin() as connection:
                seen = connection.scalar(text("SELECT value FROM counter"))
                connection.execute(text("UPDATE counter SET value = value + 1"))
                assert seen is not None

    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        with ThreadPoolExecutor(64) as pool:
            list(pool.map(write, range(64)))
    finally:
        for burner in burners:
            burner.kill()
            burner.wait(20)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT value FROM counter")) == 640
    engine.dispose()


def test_a_database_that_is_away_is_said_so_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port, and nobody answers at it
        engine = connect(f"postgresql://user:word@127.0.0.1:{taken.getsockname()[1]}/name")
        with pytest.raises(MatteboxError) as caught, reachable(), engine.connect():
            pass
        assert caught.value.kind is Kind.UNAVAILABLE
        assert "word" not in str(caught.value)
        assert isinstance(caught.value.__cause__, OperationalError)
        engine.dispose()


def test_other_failures_stay_what_they_are(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE one (value INTEGER UNIQUE)"))
    with pytest.raises(IntegrityError), reachable(), engine.begin() as connection:
        connection.execute(text("INSERT INTO one VALUES (1), (1)"))


@pytest.mark.process
def test_the_queue_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, mattebox.server.jobs; assert 'dbos' not in sys.modules and 'psycopg' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_postgresql_without_a_locale_keeps_text(postgres_url: str) -> None:
    server = connect(postgres_url)
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("DROP DATABASE IF EXISTS plain"))
        connection.execute(
            text("CREATE DATABASE plain ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        )
    engine = connect(server.url.set(database="plain").render_as_string(hide_password=False))
    create(engine)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 'Jürgen'")) == "Jürgen"
    engine.dispose()
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("DROP DATABASE plain"))
    server.dispose()

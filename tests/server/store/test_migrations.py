"""Databases of every age become what this mattebox needs, and keep what they hold."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from typer.testing import CliRunner, Result

import mattebox
from mattebox.cli import app
from mattebox.edit import Edit, Format, Output, Picture
from mattebox.errors import Kind, MatteboxError
from mattebox.server import jobs
from mattebox.server.jobs.rows import task_of
from mattebox.server.store import accounts, claims, images
from mattebox.server.store.database import BASE, REVISION_TABLE, TABLES, connect, create, downgrade, revision, revisions
from mattebox.sources import Link, Sources, Stored

FIRST = {"usage", "tasks", "nodes"}
ALL = FIRST | {"images", "holdings", "claims", "keys"}
VERSIONS = Path(mattebox.__file__).parent / "server" / "store" / "migrations" / "versions"
DECLARING = (accounts, claims, jobs, images)
"""The modules whose tables are in TABLES."""


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_database"))
    return f"sqlite:///{tmp_path}/100%25 new/mattebox.db"


@pytest.fixture
def engine(address: str) -> Iterator[Engine]:
    database = connect(address)
    yield database
    database.dispose()


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names()) - {REVISION_TABLE}


def differences(engine: Engine) -> list[object]:
    """What the tables lack of what the modules declare, or have beyond it."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": REVISION_TABLE, "compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, TABLES))


OLD_EDIT = {
    "source": {"kind": "stored", "key": "sources/one"},
    "backdrop": {"kind": "picture", "source": {"kind": "link", "url": "https://a.test/sky.jpg"}},
    "output": {"format": "webp"},
}
NEW_EDIT = {
    "edit": {"backdrop": {"kind": "picture"}, "output": {"format": "webp"}},
    "sources": {
        "photo": {"kind": "stored", "key": "sources/one"},
        "backdrop": {"kind": "link", "url": "https://a.test/sky.jpg"},
    },
}


def make_old(engine: Engine, names: set[str] = FIRST) -> None:
    """The tables as a mattebox made them that did not count revisions, with a row in each."""
    create(engine)
    downgrade(engine, "0001")
    with engine.begin() as connection:
        connection.execute(text(f"DROP TABLE {REVISION_TABLE}"))
        for name in FIRST - names:
            connection.execute(text(f"DROP TABLE {name}"))
        connection.execute(text("INSERT INTO usage VALUES ('ann', 7)"))
    if "tasks" in names:
        add_task(engine, "one", "native-tasks", OLD_EDIT)


def add_task(engine: Engine, task_id: str, dialect: str, edit: object) -> None:
    """A row as revision 0002 knows it."""
    query = text(
        "INSERT INTO tasks (id, owner, dialect, edit, status, progress, attempts, created, extra) "
        "VALUES (:id, 'ann', :dialect, :edit, 'queued', 0, 2, 1.5, '{}')"
    )
    with engine.begin() as connection:
        connection.execute(query, {"id": task_id, "dialect": dialect, "edit": json.dumps(edit)})


def stored_edits(engine: Engine) -> dict[str, tuple[str, object]]:
    """Dialect and edit of each task, by its id."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT id, dialect, edit FROM tasks"))
        return {row.id: (row.dialect, json.loads(row.edit)) for row in rows}


def test_the_migrations_make_what_the_modules_declare(engine: Engine) -> None:
    assert DECLARING
    assert revision(engine) == BASE
    create(engine)
    assert revision(engine) == revisions()[-1]
    assert tables(engine) == set(TABLES.tables) == ALL
    assert differences(engine) == []


def test_a_difference_would_be_seen(engine: Engine) -> None:
    create(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX images_unsettled"))
        connection.execute(text("ALTER TABLE usage ADD COLUMN more INTEGER"))
    assert len(differences(engine)) == 2


def test_the_index_of_unsettled_images_has_only_those(engine: Engine) -> None:
    create(engine)
    # The comparison above does not look at an index's condition.
    query = "SELECT sql FROM sqlite_master WHERE name = 'images_unsettled'"
    if engine.dialect.name == "postgresql":
        query = "SELECT indexdef FROM pg_indexes WHERE indexname = 'images_unsettled'"
    with engine.connect() as connection:
        assert re.search(r"WHERE .*state.*(!=|<>) 'kept'", str(connection.scalar(text(query))))


@pytest.mark.parametrize("present", [FIRST, {"usage"}], ids=["all", "usage alone"])
def test_a_database_without_a_revision_is_adopted_with_its_rows(engine: Engine, present: set[str]) -> None:
    make_old(engine, present)
    assert revision(engine) == BASE
    for _ in range(2):
        create(engine)
    assert revision(engine) == revisions()[-1]
    assert differences(engine) == []
    with engine.connect() as connection:
        assert connection.execute(text("SELECT account, images FROM usage")).all() == [("ann", 7)]
        if "tasks" in present:
            assert connection.execute(text("SELECT number, id, created FROM tasks")).all() == [(1, "one", 1.5)]


def test_sources_move_out_of_queued_edits_and_back(engine: Engine) -> None:
    create(engine)
    downgrade(engine, "0002")
    plain = {"source": {"kind": "link", "url": "https://a.test/"}, "backdrop": {"kind": "transparent"}}
    add_task(engine, "one", "native-tasks", OLD_EDIT)
    add_task(engine, "two", "novita", plain)
    old = {"one": ("native-tasks", OLD_EDIT), "two": ("novita", plain)}
    assert stored_edits(engine) == old
    for number in range(600):  # more than are rewritten at a time
        add_task(engine, f"more {number}", "novita", plain)
    create(engine)
    new = stored_edits(engine)
    assert new["one"] == ("native", NEW_EDIT)
    photo = {"kind": "link", "url": "https://a.test/"}
    moved = {"edit": {"backdrop": {"kind": "transparent"}}, "sources": {"photo": photo, "backdrop": None}}
    assert {str(each) for name, each in new.items() if name != "one"} == {str(("novita", moved))}
    with engine.connect() as connection:
        tasks = [task_of(row) for row in connection.execute(TABLES.tables["tasks"].select())]
    assert len(tasks) == 602
    first = next(task for task in tasks if task.id == "one")
    assert first.sources == Sources(Stored("sources/one"), Link("https://a.test/sky.jpg"))
    assert first.edit == Edit(backdrop=Picture(), output=Output(format=Format.WEBP))
    assert (first.hook_attempts, first.hook_attempted) == (0, None)
    downgrade(engine, "0002")
    assert {name: each for name, each in stored_edits(engine).items() if name in old} == old
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT SUM(attempts) FROM tasks")) == 0


def test_down_and_up_again(engine: Engine) -> None:
    make_old(engine)
    create(engine)
    downgrade(engine, "0001")
    assert (revision(engine), tables(engine)) == ("0001", FIRST)
    create(engine)
    assert (revision(engine), tables(engine)) == (revisions()[-1], ALL)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT account, images FROM usage")).all() == [("ann", 7)]
        assert connection.scalar(text("SELECT id FROM tasks")) == "one"
    for _ in range(2):
        downgrade(engine, BASE)
        assert (revision(engine), tables(engine)) == (BASE, set())
    create(engine)
    assert tables(engine) == ALL
    assert differences(engine) == []


@pytest.mark.parametrize("later", revisions())
def test_every_step_can_be_taken_back(engine: Engine, later: str) -> None:
    order = (BASE, *revisions())
    create(engine)
    downgrade(engine, later)
    before = tables(engine)
    downgrade(engine, order[order.index(later) - 1])
    assert revision(engine) == order[order.index(later) - 1]
    create(engine)
    downgrade(engine, later)
    assert tables(engine) == before


def test_there_is_no_way_to_elsewhere(engine: Engine) -> None:
    create(engine)
    downgrade(engine, "0001")
    for target in ("0002", "0003", "0004", "", "head", "-1", "x" * 1000):
        with pytest.raises(MatteboxError) as caught:
            downgrade(engine, target)
        assert caught.value.kind is Kind.INVALID_PARAMETER
        assert caught.value.parameter == "revision"
        assert len(caught.value.message) < 100
    assert (revision(engine), tables(engine)) == ("0001", FIRST)


@pytest.mark.parametrize(("stored", "said"), [("9999", "9999"), ("'; <b>", "unknown")])
def test_a_newer_database_is_left_alone(engine: Engine, stored: str, said: str) -> None:
    create(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE mattebox_revision SET version_num = :it"), {"it": stored})
    for act in (create, revision, lambda database: downgrade(database, "0001")):
        with pytest.raises(MatteboxError) as caught:
            act(engine)
        assert caught.value.kind is Kind.UNAVAILABLE
        assert caught.value.message == (
            f"A newer mattebox has changed the database: it is at revision {said}, and this one knows "
            f"{revisions()[-1]} at most."
        )
    assert tables(engine) == ALL


def test_a_step_that_fails_changes_nothing(engine: Engine) -> None:
    make_old(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE holdings (stranger INTEGER)"))  # the last table of the second step
    with pytest.raises(MatteboxError, match="cannot be brought to revision") as caught:
        create(engine)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert "holdings" in str(caught.value.__cause__)
    assert revision(engine) == BASE
    assert tables(engine) == FIRST | {"holdings"}
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE holdings"))
    create(engine)
    assert differences(engine) == []


@pytest.mark.process
def test_many_processes_may_begin_at_once(address: str, engine: Engine) -> None:
    code = "import sys; from mattebox.server.store.database import connect, create; create(connect(sys.argv[1]))"
    processes = [subprocess.Popen([sys.executable, "-c", code, address], stderr=subprocess.PIPE) for _ in range(5)]
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, b"")
    assert (revision(engine), tables(engine)) == (revisions()[-1], ALL)


def test_two_databases_in_one_process(tmp_path: Path) -> None:
    engines = [connect(f"sqlite:///{tmp_path}/{n}.db") for n in range(4)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(create, engines * 3))
    for engine in engines:
        assert tables(engine) == ALL
        engine.dispose()


@pytest.mark.process
def test_where_nothing_is_to_be_done_the_library_for_it_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from mattebox.server.store.database import connect, create\n"
        "create(connect(sys.argv[1])); print('alembic' in sys.modules)"
    )
    said = [
        subprocess.run([sys.executable, "-c", code, f"sqlite:///{tmp_path}/x.db"], check=True, capture_output=True)
        for _ in range(2)
    ]
    assert [each.stdout.split() for each in said] == [[b"True"], [b"False"]]


def test_the_files_say_what_their_names_say() -> None:
    before: str | None = None
    files = sorted(VERSIONS.glob("*.py"))
    assert [file.name[:4] for file in files] == list(revisions()) == [f"{n:04}" for n in range(1, len(files) + 1)]
    for file in files:
        said = dict(re.findall(r'^(revision|down_revision) = "?(\w+)"?$', file.read_text(), re.MULTILINE))
        assert said == {"revision": file.name[:4], "down_revision": str(before)}
        before = file.name[:4]


# The command line


def command(*words: str, url: str) -> Result:
    return CliRunner().invoke(app, ["database", *words], env={"MATTEBOX_DATABASE_URL": url})


def test_the_command_goes_up_and_down(address: str, engine: Engine) -> None:
    newest = revisions()[-1]
    before = command("status", url=address)
    assert (before.exit_code, before.stdout) == (0, "base\n")
    assert f"The newest is {newest}" in before.stderr
    assert tables(engine) == set()
    for words in (["upgrade"], ["upgrade"], ["status"]):
        result = command(*words, url=address)
        assert (result.exit_code, result.stdout, result.stderr) == (0, f"{newest}\n", "")
    unsure = command("downgrade", "0001", url=address)
    assert unsure.exit_code == 2
    assert "--yes" in unsure.stderr
    assert tables(engine) == ALL
    result = command("downgrade", "0001", "--yes", url=address)
    assert (result.exit_code, result.stdout) == (0, "0001\n")
    assert tables(engine) == FIRST


def test_the_command_fails_in_one_sentence(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/x.db"
    wrong = command("downgrade", "0009", "--yes", url=address)
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("Unknown revision. Choose one of base, 0001")
    assert command("status", url="mysql://host/name").exit_code == 1
    (tmp_path / "folder.db").mkdir()
    away = command("status", url=f"sqlite:///{tmp_path}/folder.db")
    assert (away.exit_code, away.stderr) == (1, "The database cannot be reached at the moment.\n")

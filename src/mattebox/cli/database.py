"""`mattebox database`: which revision the server's tables are of, and the way to another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from mattebox import extras
from mattebox.cli.terminal import say

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(
    no_args_is_help=True, help="The server's database: MATTEBOX_DATABASE_URL, or the file in the data folder."
)


@app.callback()
def _needs_server() -> None:
    with extras.needs("server", "The server's database"):
        import mattebox.server.store.database  # noqa: F401 - each command imports it in its turn


@app.command()
def status() -> None:
    """Show which revision the tables are of."""
    from mattebox.server.store import database

    with opened() as engine:
        present, newest = database.revision(engine), database.revisions()[-1]
    typer.echo(present)
    if present != newest:
        say(f"The newest is {newest}: the server's next start goes there, or `mattebox database upgrade`.")


@app.command()
def upgrade() -> None:
    """Make the tables, or bring them up to date, as the server does when it starts."""
    from mattebox.server.store import database

    with opened() as engine:
        database.create(engine)
        typer.echo(database.revision(engine))


@app.command()
def downgrade(
    revision: Annotated[str, typer.Argument(help="The revision to go back to; `base` removes every table.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it, although what only newer tables keep is lost.")] = False,
) -> None:
    """Go back to what an older mattebox needs. Stop every server first: one that starts goes forward again."""
    from mattebox.server.store import database

    if not yes:
        raise typer.BadParameter(
            "What only newer tables keep will be lost. Make a copy of the database first.", param_hint="--yes"
        )
    with opened() as engine:
        database.downgrade(engine, revision)
        typer.echo(database.revision(engine))


@contextmanager
def opened() -> Iterator[Engine]:
    """The server's database, as the settings name it."""
    from mattebox.server import settings
    from mattebox.server.store import database

    engine = database.connect(settings.load().database)
    try:
        yield engine
    finally:
        engine.dispose()

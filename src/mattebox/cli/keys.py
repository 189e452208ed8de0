"""`mattebox keys`: the API keys in the server's database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from mattebox import extras
from mattebox.cli.database import opened
from mattebox.cli.terminal import print_json, print_tables, say

if TYPE_CHECKING:
    from mattebox.server.store.keys import Keys

app = typer.Typer(
    no_args_is_help=True,
    help="The server's API keys, in its database: MATTEBOX_DATABASE_URL, or the file in the data folder.",
)


@app.callback()
def _needs_server() -> None:
    with extras.needs("server", "The server's keys"):
        import mattebox.server.store.keys  # noqa: F401 - each command imports it in its turn


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    credits: Annotated[  # noqa: A002 - the name of the option
        int | None, typer.Option(min=0, help="Pictures it may have made in all; 0 is any number.")
    ] = None,
    pictures: Annotated[
        int | None, typer.Option(min=0, help="Photos it may have in work and waiting; 0 is any number.")
    ] = None,
    rate: Annotated[str | None, typer.Option(help="Requests it may make, as in 100/minute; '' is any number.")] = None,
) -> None:
    """Make a key. It is shown now and never again. What is left out is as the settings have it for every key."""
    from mattebox.server.rates import check_rate
    from mattebox.server.store.keys import KeyLimits

    try:
        check_rate(rate or "")
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint="--rate") from error
    with _keys() as keys:
        key, _ = keys.create(name, KeyLimits(credits=credits, pictures=pictures, rate=rate))
    typer.echo(key)
    say("Keep it: only its hash is stored.")


@app.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a key, a line each.")] = False,
) -> None:
    """Show the keys, those that are revoked too."""
    with _keys() as keys:
        rows = keys.listing()
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    table = Table("name", "id", "credits", "pictures", "rate", "created", "revoked", box=None, pad_edge=False)
    for row in rows:
        own = (
            "-" if each is None else str(each) or "any"
            for each in (row.limits.credits, row.limits.pictures, row.limits.rate)
        )
        table.add_row(row.name, row.id, *own, _day(row.created), "-" if row.revoked is None else _day(row.revoked))
    print_tables(table)


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="The key's name or id.")]) -> None:
    """Refuse a key from now on. Servers that run know it within seconds."""
    from mattebox.server.store.keys import KEY_SECONDS

    with _keys() as keys:
        revoked = keys.revoke(name)
    say(f"{revoked.name} is revoked; every server knows it within {KEY_SECONDS} seconds.")


def _day(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when))


@contextmanager
def _keys() -> Iterator[Keys]:
    from mattebox.server.store import database
    from mattebox.server.store.keys import Keys

    with opened() as engine:
        database.create(engine)
        yield Keys(engine)

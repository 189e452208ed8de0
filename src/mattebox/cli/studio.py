"""`mattebox studio`: the libraries that the page of the server imports, and their files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mattebox import extras
from mattebox.cli.terminal import Bar, say

app = typer.Typer(no_args_is_help=True, help="The libraries of the server's page, the studio.")


@app.command()
def pull(
    into: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where to; by default the usual folder.")] = None,
) -> None:
    """Fetch the libraries of the page from npm, each by its checksum."""
    with extras.needs("server", "The studio"):
        from mattebox.server import studio

    with Bar() as bar:
        failures = studio.pull(into, bar.fetching)
    for failure in failures:
        say(failure.message, style="red")
    if failures:
        raise typer.Exit(1)
    say("The studio's libraries are installed.")


@app.command()
def path() -> None:
    """Show the folder of the libraries, whether they are installed or not."""
    with extras.needs("server", "The studio"):
        from mattebox.server import studio

    typer.echo(studio.default_directory())

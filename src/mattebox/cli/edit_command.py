"""Commands that edit photos: their options are the fields of a model, and all of them run a plan in the same way."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from mattebox import backdrop_options, batch, files, model_options
from mattebox.batch import Done, Failed, Job, Plan, Results
from mattebox.cli.context import (
    Components,
    check_standard_output,
    explain_choice,
    picture_behind,
    warn_of_licence,
)
from mattebox.cli.terminal import Bar, read_standard_input, say
from mattebox.edit import Edit, Format, Prompt, Transparent
from mattebox.errors import Kind, MatteboxError
from mattebox.files import shown

if TYPE_CHECKING:
    from mattebox.cancellation import Checkpoint
    from mattebox.cli.context import Fetching
    from mattebox.cli.options import RemoveCommand
    from mattebox.engine import Engine
    from mattebox.image import Encoded

_OPTIONS = "mattebox.options"


class EditCommand(TyperCommand):
    """A command with the options of an edit, which are read before its function is called; see `options_of`."""

    _of_edit: list[Any] | None = None

    def get_params(self, ctx: Any) -> list[Any]:  # typer's own signature
        """The parameters of the function, and the options of the edit, made once they are needed."""
        if self._of_edit is None:
            from mattebox.cli import options

            self._of_edit = options.parameters(self.name or "")
            self.params = [*self.params, *self._of_edit]
        return super().get_params(ctx)

    def invoke(self, ctx: Any) -> Any:  # typer's own signature
        """Read the options, and call the function with the rest."""
        from mattebox.cli import options

        typed = {each.name: ctx.params.pop(each.name) for each in self._of_edit or ()}
        ctx.meta[_OPTIONS] = options.read(self.name or "", typed)
        return super().invoke(ctx)


def options_of(context: typer.Context) -> RemoveCommand:
    """The options of the edit that were typed."""
    options: RemoveCommand = context.meta[_OPTIONS]
    return options


def edit_of(context: typer.Context, plan: Plan) -> tuple[Edit, bytes | None]:
    """The edit that was typed, for the format of a plan, and the file of the picture behind, if there is one.

    Raises:
        typer.BadParameter: the options do not fit together.
        MatteboxError: the picture behind cannot be used.
    """
    options = options_of(context)
    edit = options.to_edit(format=plan.format)
    if options.alpha_only and edit.output.format is Format.ZIP:
        raise typer.BadParameter(
            "A ZIP holds the colours and the matte. Choose another format.", param_hint="--alpha-only"
        )
    return edit, None if options.background_image is None else picture_behind(options.background_image, plan)


def run(
    context: typer.Context,
    plan: Plan,
    *,
    facts: Callable[[Done], Mapping[str, object]],
    device: str | None,
    threads: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Do an `EditCommand`'s edit with each photo of a plan, and say what became of them.

    Args:
        context: the command's.
        plan: which photo becomes which file.
        facts: what is written about a result as JSON.
        device: what the networks run on; None is the environment's.
        threads: how many photos are worked on at a time.
        overwrite: replace files that exist.
        as_json: write one JSON object a photo to the standard output.

    Raises:
        typer.BadParameter: the command is wrong.
        typer.Exit: some photos failed.
        MatteboxError: none can be done.
    """
    check_standard_output(plan, as_json=as_json)
    edit, behind = edit_of(context, plan)
    stop = threading.Event()
    failed: list[Failed] = []
    last: Done | None = None
    with Bar(len(plan.jobs), hidden=as_json and sys.stdout.isatty()) as bar:
        engine = engine_for(context.ensure_object(Components), edit, device, bar.fetching_until(stop))
        work = _work(engine, edit, behind, plan, Results(overwrite=overwrite))
        for job in plan.kept if as_json else ():
            typer.echo(json.dumps({"input": named(job.source), "output": named(job.target), "skipped": "exists"}))
        with closing(batch.run(plan.jobs, work, threads=threads, stop=stop)) as outcomes:
            for outcome in outcomes:
                match outcome:
                    case Done():
                        last = outcome
                        _warn(outcome, edit)
                        if as_json:
                            typer.echo(json.dumps(facts(outcome)))
                    case Failed(job, error):
                        failed.append(outcome)
                        if as_json:
                            tell_failure(job.source, error)
                bar.step()
    _sum_up(plan, failed, last, seconds=bar.seconds)
    for each in failed:
        if each.error.kind is Kind.INTERNAL and each.error.__cause__ is not None:
            raise each.error.__cause__  # where it happened is shown, once the others are done
    if failed:
        raise typer.Exit(1)


def engine_for(components: Components, edit: Edit, device: str | None, fetching: Fetching) -> Engine:
    """The engine for an edit, with the network that it names; the licence of that is told."""
    from mattebox.engine import Engine

    options, model = model_options(), edit.matte.model
    networks = components.networks(
        dataclasses.replace(options, user_files=True, device=device or options.device), fetching
    )
    try:
        networks.segmenter(model)
    except MatteboxError as error:
        if error.kind is not Kind.INVALID_PARAMETER:
            raise
        raise typer.BadParameter(error.message, param_hint="--model") from error
    warn_of_licence(components.catalogue(), model)
    explain_choice(components.catalogue(), model, device or options.device)
    wanted = isinstance(edit.backdrop, Prompt)
    return Engine(networks, components.backdrops(backdrop_options(), fetching) if wanted else None)


def _work(engine: Engine, edit: Edit, behind: bytes | None, plan: Plan, results: Results) -> batch.Work:
    """The work on each photo."""
    from mattebox.codec import OWN_FILES

    # Read here and not in a thread: Ctrl-C must end a wait for somebody to type.
    piped = read_standard_input(OWN_FILES.max_bytes) if any(job.source is None for job in plan.jobs) else b""

    def work(job: Job, checkpoint: Checkpoint) -> Encoded:
        photo = piped if job.source is None else files.read(job.source, OWN_FILES.max_bytes)
        made = engine.run_file(edit, photo, backdrop=behind, limits=OWN_FILES, checkpoint=checkpoint)
        checkpoint()
        if job.target is None:
            sys.stdout.buffer.write(made.data)
            sys.stdout.buffer.flush()
        else:
            results.write(job.target, made.data)
        return made

    return work


# --- what is said ------------------------------------------------------------------------------------------------


def named(path: Path | None) -> str:
    """A file as JSON names it; None is a standard stream."""
    return "-" if path is None else str(path)


def tell_failure(source: Path | None, error: MatteboxError) -> None:
    """Write a failure as JSON."""
    typer.echo(json.dumps({"input": named(source), "error": error.message, "kind": error.kind}))


def _warn(done: Done, edit: Edit) -> None:
    if done.made.subject is None:
        empty = isinstance(edit.backdrop, Transparent)
        result = "the result is empty" if empty else "the result shows only the background"
        say(f"{shown(done.job.source)}: no subject was found; {result}.", style="yellow")
    if done.made.served is not None and done.made.served.warning is not None:
        say(done.made.served.warning, style="yellow")


def _sum_up(plan: Plan, failed: list[Failed], last: Done | None, *, seconds: float) -> None:
    done = len(plan.jobs) - len(failed)
    if len(plan.jobs) == 1 and not plan.kept:
        if last is not None and last.job.target is not None:
            served = last.made.served
            scene = "" if served is None or served.scene is None else f"{served.scene}, "
            say(f"{shown(last.job.target)} ({scene}{seconds:.1f} s)")
    else:
        rate = f" in {seconds:.1f} s ({done / seconds:.1f} photos/s)" if done else ""
        counts = [f"{done} done{rate}"]
        counts += [f"{len(plan.kept)} kept as they are"] if plan.kept else []
        counts += [f"{plan.passed_over} passed over"] if plan.passed_over else []
        counts += [f"{len(failed)} failed"] if failed else []
        say(", ".join(counts) + ".")
    for failure in failed:
        say(f"{shown(failure.job.source)}: {failure.error.message}", style="red")

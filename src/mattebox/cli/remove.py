"""`mattebox remove`: the command line's words become an `Edit`; which file becomes which is `batch`'s."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mattebox import batch, files, model_options
from mattebox.batch import Done, Failed, Job, Plan, Results, shown
from mattebox.cli.parts import Parts, checked, warn_of_licence
from mattebox.cli.terminal import Bar, say
from mattebox.edit import Edit, Foreground, Format, Layout, Matte, Output, Transparent, Upload
from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    from mattebox.engine import Checkpoint, Segmenters
    from mattebox.image import Encoded

EPILOG = (
    "An output that exists is kept and counts as done, so that a stopped run can be started again; where one photo is "
    "to become one named file, it is an error. Nothing is written where two photos would become one file or a photo "
    "would be overwritten."
)


def _format(word: str) -> Format:
    from mattebox import codec

    found = codec.format_named(word)
    if found is None:
        raise typer.BadParameter(f"{word!r} is none of {', '.join(Format)}.")
    return found


_HINTS = {"inputs": "INPUT", "output": "-o", "format": "--format"}


def remove(
    context: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Photos, folders (with the folders in them; hidden files and links to folders are passed over), or - "
            "for the standard input.",
        ),
    ],
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="For one photo a file, or - for the standard output; else a folder. By default photo-cutout.png "
            "beside the photo.",
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="A name from `mattebox models list`, or such a name and a file: u2net:/my/file.onnx.")
    ] = "auto",
    format: Annotated[  # noqa: A002 - the option's name
        Format | None,
        typer.Option(
            parser=_format, metavar="|".join(Format), help="What to write; by default what OUT ends in, else png."
        ),
    ] = None,
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, help="For jpeg, webp, avif and zip; 100 makes a webp lossless.")
    ] = None,
    background: Annotated[
        str | None, typer.Option(metavar="COLOUR", help="Put on this colour: #ffffff, rgb(255, 255, 255) or white.")
    ] = None,
    crop: Annotated[bool, typer.Option("--crop/--no-crop", help="Cut the picture to the subject.")] = False,
    size: Annotated[
        int | None, typer.Option(min=1, metavar="PIXELS", help="The longer side at most; nothing is enlarged.")
    ] = None,
    alpha_only: Annotated[bool, typer.Option("--alpha-only", help="Write the matte alone, as a grey picture.")] = False,
    refine: Annotated[bool, typer.Option("--refine/--no-refine", help="Sharpen the matte at the photo's size.")] = True,
    foreground: Annotated[
        Foreground, typer.Option(help="How the background's colour is taken out of the edge.")
    ] = Foreground.FAST,
    device: Annotated[
        str | None, typer.Option(help="What the networks run on: auto, cpu, cuda, coreml or openvino:<device>.")
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Photos worked on at a time. The network always uses all cores for one photo; a second one is read "
            "and written meanwhile. Each needs its memory.",
        ),
    ] = 2,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object a photo to the standard output.")
    ] = False,
) -> None:
    """Take the background away."""
    from mattebox import codec

    try:
        plan = batch.plan(inputs, output, format=format, overwrite=overwrite)
    except MatteboxError as error:
        if error.kind is not Kind.INVALID_PARAMETER:
            raise
        raise typer.BadParameter(error.message, param_hint=_HINTS[error.parameter or ""]) from error
    edit = Edit(
        source=Upload(b""),
        backdrop=Transparent() if background is None else checked("--background", codec.parse_color, background),
        layout=Layout(crop=crop, max_side=size),
        matte=Matte(model=model, refine=refine, foreground=foreground),
        output=Output(format=plan.format, alpha_only=alpha_only, quality=quality),
    )
    if alpha_only and plan.format is Format.ZIP:
        raise typer.BadParameter("a zip holds the colours and the matte; choose another format.", param_hint="--format")
    if any(job.target is None for job in plan.jobs):
        if as_json:
            raise typer.BadParameter("the standard output cannot take the picture too: name a file.", param_hint="-o")
        if sys.stdout.isatty():
            raise typer.BadParameter("a picture is not written to a terminal: name a file.", param_hint="-o")
    options = model_options()
    options = replace(options, user_files=True, device=device or options.device)
    parts = context.ensure_object(Parts)
    stop = threading.Event()
    with Bar(len(plan.jobs), hidden=as_json and sys.stdout.isatty()) as bar:

        def fetching(what: str, done: int, total: int | None) -> None:
            if stop.is_set():  # a download has no other checkpoint
                raise MatteboxError(Kind.CANCELLED, "Stopped.")
            bar.fetching(what, done, total)

        networks = parts.networks(options, fetching)
        checked("--model", networks.segmenter, model)
        warn_of_licence(parts.catalogue(), model)
        failed = _work(
            networks,
            edit,
            plan,
            threads=jobs,
            results=Results(overwrite=overwrite),
            as_json=as_json,
            bar=bar,
            stop=stop,
        )
    _sum_up(plan, failed, seconds=bar.seconds)
    if failed:
        raise typer.Exit(1)


def _work(
    networks: Segmenters,
    edit: Edit,
    plan: Plan,
    *,
    threads: int,
    results: Results,
    as_json: bool,
    bar: Bar,
    stop: threading.Event,
) -> list[Failed]:
    """Do the plan, report as it goes, and give what failed."""
    from mattebox.codec import OWN_FILES
    from mattebox.engine import Engine

    engine = Engine(networks)

    def work(job: Job, checkpoint: Checkpoint) -> Encoded:
        photo = piped if job.source is None else files.read(job.source, OWN_FILES.max_bytes)
        made = engine.run(edit, photo, limits=OWN_FILES, checkpoint=checkpoint)
        checkpoint()
        if job.target is None:
            sys.stdout.buffer.write(made.data)
            sys.stdout.buffer.flush()
        else:
            results.write(job.target, made.data)
        return made

    # Read here and not beside: Ctrl-C must end a wait for somebody to type. One byte more tells what is too large.
    piped = sys.stdin.buffer.read(OWN_FILES.max_bytes + 1) if any(job.source is None for job in plan.jobs) else b""
    failed: list[Failed] = []
    for job in plan.kept:
        if as_json:
            _tell(job, skipped="exists")
    with closing(batch.run(plan.jobs, work, threads=threads, stop=stop)) as outcomes:
        for outcome in outcomes:
            match outcome:
                case Done(job=job, subject=subject):
                    if subject is None:
                        say(f"{shown(job.source)}: no subject was found; the result is empty.", style="yellow")
                    if as_json:
                        _tell(
                            job,
                            width=outcome.width,
                            height=outcome.height,
                            subject=None if subject is None else dataclasses.asdict(subject),
                            confidence=outcome.confidence,
                            seconds=round(outcome.seconds, 3),
                        )
                case Failed(job, error):
                    failed.append(outcome)
                    if as_json:
                        typer.echo(json.dumps({"input": _name(job.source), "error": error.message, "kind": error.kind}))
            bar.step()
    return failed


def _tell(job: Job, **facts: object) -> None:
    typer.echo(json.dumps({"input": _name(job.source), "output": _name(job.target)} | facts))


def _name(path: Path | None) -> str:
    return "-" if path is None else str(path)


def _sum_up(plan: Plan, failed: list[Failed], *, seconds: float) -> None:
    done = len(plan.jobs) - len(failed)
    if len(plan.jobs) == 1 and not plan.kept:
        target = plan.jobs[0].target
        if done and target is not None:
            say(f"{shown(target)} ({seconds:.1f} s)")
    else:
        rate = f" in {seconds:.1f} s ({done / seconds:.1f} photos/s)" if done else ""
        counts = [f"{done} done{rate}"]
        counts += [f"{len(plan.kept)} kept as they are"] if plan.kept else []
        counts += [f"{plan.passed_over} passed over"] if plan.passed_over else []
        counts += [f"{len(failed)} failed"] if failed else []
        say(", ".join(counts) + ".")
    for failure in failed:
        say(f"{shown(failure.job.source)}: {failure.error.message}", style="red")

"""`mattebox remove`: the command line's words become an `Edit`; which file becomes which is `batch`'s."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
from contextlib import closing
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mattebox import batch, files, model_options, units
from mattebox.batch import Done, Failed, Job, Plan, Results, shown
from mattebox.cli.context import (
    Device,
    FormatName,
    ModelName,
    Overwrite,
    Parts,
    Quality,
    blurred,
    check_standard_output,
    checked,
    lonely,
    only_one,
    picture_behind,
    planned,
    warn_of_licence,
)
from mattebox.cli.terminal import Bar, say
from mattebox.edit import (
    Backdrop,
    Canvas,
    Edit,
    Fit,
    Foreground,
    Format,
    Layout,
    Margin,
    Matte,
    Output,
    Picture,
    Shadow,
    ShadowKind,
    Transparent,
)
from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    from mattebox.cancellation import Checkpoint
    from mattebox.image import Encoded
    from mattebox.steps import Segmenters

EPILOG = (
    "An output that exists is kept and counts as done, so that a stopped run can be started again; where one photo is "
    "to become one named file, it is an error. Nothing is written where two photos would become one file or a photo "
    "would be overwritten."
)


class _Shadow(StrEnum):
    NONE = "none"
    DROP = ShadowKind.DROP.value
    CAST = ShadowKind.CAST.value
    GROUND = ShadowKind.GROUND.value


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
    model: ModelName = "auto",
    form: FormatName = None,
    quality: Quality = None,
    background: Annotated[
        str | None, typer.Option(metavar="COLOUR", help="Put on this colour: #ffffff, rgb(255, 255, 255) or white.")
    ] = None,
    background_image: Annotated[
        Path | None, typer.Option(metavar="PICTURE", help="Put on this picture, which fills the canvas.")
    ] = None,
    background_blur: Annotated[
        float | None, typer.Option(metavar="PIXELS", help="Keep the photo's own background, blurred so much.")
    ] = None,
    shadow: Annotated[
        _Shadow,
        typer.Option(
            help="drop is soft and behind the subject, cast its outline on the ground, ground only where it stands."
        ),
    ] = _Shadow.NONE,
    shadow_opacity: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of the shadow's darkest part; 0.5 by default.")
    ] = None,
    roi: Annotated[
        str | None,
        typer.Option(
            metavar="'X1 Y1 X2 Y2'", help="Look for the subject in this part, in px or %; all else is background."
        ),
    ] = None,
    crop: Annotated[bool, typer.Option("--crop/--no-crop", help="Cut the picture to the subject.")] = False,
    ratio: Annotated[
        str | None, typer.Option(metavar="W:H", help="With --crop: widen the cropped box to these proportions, as 4:3.")
    ] = None,
    margin: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTHS", help="With --crop: one, two or four lengths, in px or in % of the subject's own size."
        ),
    ] = None,
    scale: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="The subject's share of the canvas, as 80%.")
    ] = None,
    position: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="Where the subject lies: center, or 'X% Y%' of the room that is free."),
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, metavar="PIXELS", help="Of the result.")] = None,
    height: Annotated[int | None, typer.Option(min=1, metavar="PIXELS", help="Of the result.")] = None,
    fit: Annotated[
        Fit | None,
        typer.Option(help="With --width and --height: what becomes of other proportions; contain by default."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, metavar="PIXELS", help="The longer side at most; nothing is enlarged.")
    ] = None,
    alpha_only: Annotated[bool, typer.Option("--alpha-only", help="Write the matte alone, as a grey picture.")] = False,
    refine: Annotated[bool, typer.Option("--refine/--no-refine", help="Sharpen the matte at the photo's size.")] = True,
    foreground: Annotated[
        Foreground, typer.Option(help="How the background's colour is taken out of the edge.")
    ] = Foreground.FAST,
    semitransparency: Annotated[
        bool,
        typer.Option(
            "--semitransparency/--no-semitransparency", help="Windows and glass may be see-through, or are opaque."
        ),
    ] = True,
    device: Device = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Photos worked on at a time. The network always uses all cores for one photo; a second one is read "
            "and written meanwhile. Each needs its memory.",
        ),
    ] = 2,
    overwrite: Overwrite = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object a photo to the standard output.")
    ] = False,
) -> None:
    """Take the background away."""
    plan = planned(inputs, output, form=form, overwrite=overwrite)
    only_one(
        {
            "--background": background,
            "--background-image": background_image,
            "--background-blur": background_blur,
        }
    )
    if shadow_opacity is not None and shadow is _Shadow.NONE:
        raise lonely("--shadow-opacity", "--shadow")
    if not crop and (ratio, margin) != (None, None):
        raise lonely("--margin" if ratio is None else "--ratio", "--crop")
    if fit is not None and (width, height) == (None, None):
        raise lonely("--fit", "--width or --height")
    behind = None if background_image is None else picture_behind(background_image, plan)
    edit = Edit(
        backdrop=_backdrop(background, behind, background_blur),
        shadow=_cast(shadow, shadow_opacity),
        layout=Layout(
            roi=None if roi is None else checked("--roi", units.region, roi),
            crop=crop,
            ratio=None if ratio is None else checked("--ratio", units.ratio, ratio),
            margin=Margin() if margin is None else checked("--margin", units.margin, margin),
            scale=None if scale is None else checked("--scale", units.scale, scale),
            position=None if position is None else checked("--position", units.position, position),
            canvas=None
            if width is None and height is None
            else Canvas(width=width, height=height, fit=fit or Fit.CONTAIN),
            max_side=size,
        ),
        matte=Matte(model=model, refine=refine, foreground=foreground, semitransparency=semitransparency),
        output=Output(format=plan.format, alpha_only=alpha_only, quality=quality),
    )
    if alpha_only and plan.format is Format.ZIP:
        raise typer.BadParameter("a zip holds the colours and the matte; choose another format.", param_hint="--format")
    check_standard_output(plan, as_json=as_json)
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
            behind,
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


def _backdrop(color: str | None, picture: bytes | None, sigma: float | None) -> Backdrop:

    if picture is not None:
        return Picture()
    if sigma is not None:
        return blurred("--background-blur", sigma)
    return Transparent() if color is None else checked("--background", units.color, color)


def _cast(word: _Shadow, opacity: float | None) -> Shadow | None:
    if word is _Shadow.NONE:
        return None
    kind = ShadowKind(word.value)
    if opacity is None:
        return Shadow(kind=kind)
    try:
        return Shadow(kind=kind, opacity=opacity)
    except ValueError as error:  # not a number, which no bounds catch
        raise typer.BadParameter("it must be from 0 to 1.", param_hint="--shadow-opacity") from error


def _work(
    networks: Segmenters,
    edit: Edit,
    behind: bytes | None,
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
        made = engine.run_file(edit, photo, backdrop=behind, limits=OWN_FILES, checkpoint=checkpoint)
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

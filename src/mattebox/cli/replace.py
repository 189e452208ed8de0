"""`mattebox replace`: one photo's subject on another background, which may be described in words."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mattebox import backdrop_options, files, model_options
from mattebox.batch import Job, Plan, Results, shown
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
from mattebox.edit import Backdrop, Edit, Matte, Output, Picture, Prompt
from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    from mattebox.image import Encoded

EPILOG = (
    "A prompt is served by the places of `mattebox scenes list`, by studios that are drawn, or by the generators of "
    "MATTEBOX_BACKDROPS_GENERATORS. Where none shows it, that is an error which names what comes nearest."
)


def replace(
    context: typer.Context,
    photo: Annotated[str, typer.Argument(metavar="PHOTO", help="A photo, or - for the standard input.")],
    *,
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="OUT", help="A file, a folder, or - for the standard output."),
    ],
    prompt: Annotated[
        str | None, typer.Option(metavar="WORDS", help="A place in words: 'an empty warehouse', 'a wooden table'.")
    ] = None,
    color: Annotated[
        str | None, typer.Option(metavar="COLOUR", help="A colour: #ffffff, rgb(255, 255, 255) or white.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="PICTURE", help="Another picture, which fills the canvas.")
    ] = None,
    blur: Annotated[
        float | None, typer.Option(metavar="PIXELS", help="The photo's own background, blurred so much.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="With --prompt: the same seed gives the same picture.")
    ] = None,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="With --prompt: take the most similar place where none shows the words.")
    ] = False,
    generator: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --prompt: what makes it; by default the first that can.")
    ] = None,
    model: ModelName = "auto",
    form: FormatName = None,
    quality: Quality = None,
    device: Device = None,
    overwrite: Overwrite = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object about the result to the standard output.")
    ] = False,
) -> None:
    """Put the subject on another background: --prompt, --color, --image or --blur."""
    only_one({"--prompt": prompt, "--color": color, "--image": image, "--blur": blur})
    if prompt is None:
        for option, given in (("--seed", seed is not None), ("--nearest", nearest), ("--generator", generator)):
            if given:
                raise lonely(option, "--prompt")
    if Path(photo).is_dir():
        raise typer.BadParameter("a folder is no photo.", param_hint="PHOTO")
    plan = planned([photo], output, form=form, overwrite=overwrite)
    if plan.kept:
        raise MatteboxError(Kind.CONFLICT, f"{shown(plan.kept[0].target)} exists; --overwrite replaces it.")
    check_standard_output(plan, as_json=as_json)
    behind = None if image is None else picture_behind(image, plan)
    edit = Edit(
        backdrop=_backdrop(prompt, color, behind, blur, seed=seed or 0, nearest=nearest, generator=generator or "auto"),
        matte=Matte(model=model),
        output=Output(format=plan.format, quality=quality),
    )
    try:
        made, seconds = _made(context.ensure_object(Parts), edit, plan, behind, device=device, overwrite=overwrite)
    except MatteboxError as error:
        if as_json:
            typer.echo(json.dumps({"input": photo, "error": error.message, "kind": error.kind}))
        raise
    _report(plan.jobs[0], made, seconds, as_json=as_json)


def _backdrop(
    prompt: str | None,
    color: str | None,
    picture: bytes | None,
    sigma: float | None,
    *,
    seed: int,
    nearest: bool,
    generator: str,
) -> Backdrop:
    from mattebox import units
    from mattebox.backdrops import GENERATORS

    if generator not in ("auto", *GENERATORS):
        raise typer.BadParameter(
            f"there is no generator {generator!r}; there are {', '.join(GENERATORS)}.", param_hint="--generator"
        )
    if prompt is not None:
        return Prompt(prompt, seed=seed, nearest=nearest, generator=generator)
    if picture is not None:
        return Picture()
    if sigma is not None:
        return blurred("--blur", sigma)
    if color is None:
        raise typer.BadParameter("say what goes behind: --prompt, --color, --image or --blur.")
    return checked("--color", units.color, color)


def _made(
    parts: Parts, edit: Edit, plan: Plan, behind: bytes | None, *, device: str | None, overwrite: bool
) -> tuple[Encoded, float]:
    """Do it, write it, and say how long it took in seconds."""
    from mattebox.codec import OWN_FILES
    from mattebox.engine import Engine

    job = plan.jobs[0]
    options = model_options()
    options = dataclasses.replace(options, user_files=True, device=device or options.device)
    with Bar() as bar:
        networks = parts.networks(options, bar.fetching)
        checked("--model", networks.segmenter, edit.matte.model)
        warn_of_licence(parts.catalogue(), edit.matte.model)
        backdrops = parts.backdrops(backdrop_options(), bar.fetching) if isinstance(edit.backdrop, Prompt) else None
        if job.source is None:
            photo = sys.stdin.buffer.read(OWN_FILES.max_bytes + 1)
        else:
            photo = files.read(job.source, OWN_FILES.max_bytes)
        made = Engine(networks, backdrops).run_file(edit, photo, backdrop=behind, limits=OWN_FILES)
        if job.target is None:
            sys.stdout.buffer.write(made.data)
            sys.stdout.buffer.flush()
        else:
            Results(overwrite=overwrite).write(job.target, made.data)
    return made, bar.seconds


def _report(job: Job, made: Encoded, seconds: float, *, as_json: bool) -> None:
    served = made.served
    if made.subject is None:
        say(f"{shown(job.source)}: no subject was found; only the background is there.", style="yellow")
    if served is not None and served.warning is not None:
        say(served.warning, style="yellow")
    if as_json:
        facts = {
            "path": str(job.target),
            "width": made.width,
            "height": made.height,
            "subject": None if made.subject is None else dataclasses.asdict(made.subject),
            "backend": None if served is None else served.backend,
            "scene": None if served is None else served.scene,
            "score": None if served is None else served.score,
            "warning": None if served is None else served.warning,
            "seconds": round(seconds, 3),
        }
        typer.echo(json.dumps(facts))
    if job.target is not None:
        scene = "" if served is None or served.scene is None else f"{served.scene}, "
        say(f"{shown(job.target)} ({scene}{seconds:.1f} s)")

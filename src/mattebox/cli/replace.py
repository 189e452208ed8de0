"""`mattebox replace`: one photo's subject on another background, which may be described in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from mattebox.batch import Done
from mattebox.cli.context import Device, Overwrite, planned
from mattebox.cli.edit_command import named, options_of, run, tell_failure
from mattebox.errors import Kind, MatteboxError
from mattebox.files import shown

EPILOG = (
    "A prompt is served by the places of `mattebox scenes list`, by studios that are drawn, or by the generators of "
    "MATTEBOX_BACKDROPS_GENERATORS. Where none shows it, the nearest is taken, with a warning; --no-nearest refuses."
)


def replace(
    context: typer.Context,
    photo: Annotated[str, typer.Argument(metavar="PHOTO", help="A photo, or - for the standard input.")],
    *,
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="OUT", help="A file, a folder, or - for the standard output."),
    ],
    device: Device = None,
    overwrite: Overwrite = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object about the result to the standard output.")
    ] = False,
) -> None:
    """Put the subject on another background: --prompt, --color, --gradient, --image or --blur."""
    if Path(photo).is_dir():
        raise typer.BadParameter("A folder is not a photo.", param_hint="PHOTO")
    plan = planned([photo], output, form=options_of(context).format, overwrite=overwrite)
    if plan.kept:
        raise MatteboxError(
            Kind.CONFLICT, f"{shown(plan.kept[0].target)} already exists. Use --overwrite to replace it."
        )
    try:
        run(context, plan, facts=_facts, device=device, threads=1, overwrite=overwrite, as_json=as_json)
    except MatteboxError as error:
        if as_json:
            tell_failure(plan.jobs[0].source, error)
        raise


def _facts(done: Done) -> Mapping[str, object]:
    served = done.made.served
    return {
        "path": named(done.job.target),
        "width": done.made.width,
        "height": done.made.height,
        "subject": None if done.made.subject is None else dataclasses.asdict(done.made.subject),
        "corrections": done.made.chosen_by,
        "backend": None if served is None else served.backend,
        "scene": None if served is None else served.scene,
        "score": None if served is None else served.score,
        "warning": None if served is None else served.warning,
        "seconds": round(done.seconds, 3),
    }

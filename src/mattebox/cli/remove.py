"""`mattebox remove`: the background of photos is taken away. Which file becomes which is `batch`'s."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated

import typer

from mattebox.batch import Done
from mattebox.cli.context import Device, Overwrite, planned
from mattebox.cli.edit_command import named, options_of, run

EPILOG = (
    "An output that exists is kept and counts as done, so that a stopped run can be started again; where one photo is "
    "to become one named file, it is an error. Nothing is written where two photos would become one file or a photo "
    "would be overwritten."
)


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
    device: Device = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Photos worked on at a time. On a processor the network uses all cores for one photo; a second one is "
            "read and written meanwhile. An NVIDIA GPU wants 16 or more. Each needs its memory.",
        ),
    ] = 2,
    overwrite: Overwrite = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object a photo to the standard output.")
    ] = False,
) -> None:
    """Take the background away."""
    plan = planned(inputs, output, form=options_of(context).format, overwrite=overwrite)
    run(context, plan, facts=_facts, device=device, threads=jobs, overwrite=overwrite, as_json=as_json)


def _facts(done: Done) -> Mapping[str, object]:
    return {
        "input": named(done.job.source),
        "output": named(done.job.target),
        "width": done.made.width,
        "height": done.made.height,
        "subject": None if done.made.subject is None else dataclasses.asdict(done.made.subject),
        "confidence": done.made.confidence,
        "corrections": done.made.chosen_by,
        "seconds": round(done.seconds, 3),
    }

"""`mattebox bulk`: a folder or a bucket of pictures, in shards."""

from __future__ import annotations

import dataclasses
import functools
import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from mattebox import extras, model_options
from mattebox.batch import Plan as Files
from mattebox.cli.context import Components, Device
from mattebox.cli.database import opened
from mattebox.cli.edit_command import edit_of, engine_for
from mattebox.cli.terminal import Bar, say
from mattebox.edit import Format
from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    from mattebox.bulk import BulkJob, Plan, Report, Row, Summary
    from mattebox.engine import Engine
    from mattebox.models import ModelOptions

EPILOG = (
    "Results that exist are kept, so the same command goes on where a stopped one was, also on several machines at "
    "once. Pictures that cannot be read or show no subject have no result, and are listed at the end."
)
_HINTS = {"manifest": "--manifest", "column": "--column", "shard": "--shard", "target": "TARGET"}


def bulk(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A folder, or an address as in s3://bucket/photos.")],
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="Another one for the results. a/cat.jpg becomes a/cat.jpg.png there."),
    ],
    *,
    manifest: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A Parquet or CSV file with the photos' keys. By default SOURCE is listed."),
    ] = None,
    column: Annotated[str, typer.Option(help="The column of the manifest with the keys in it.")] = "key",
    shard_size: Annotated[int, typer.Option(min=1, max=100_000, help="Pictures in a shard.")] = 1000,
    again: Annotated[
        bool, typer.Option("--again", help="List the photos anew, and try again those that have no result.")
    ] = False,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Only list the photos, and write the number of shards.")
    ] = False,
    shard: Annotated[int | None, typer.Option(min=0, help="Do this shard of the plan only.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Photos that a process works on at a time.")] = 2,
    device: Device = None,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on this Ray cluster: auto, local or its address.")
    ] = None,
    queue: Annotated[
        bool,
        typer.Option("--queue", help="Let the workers of a server do it, whose database is MATTEBOX_DATABASE_URL."),
    ] = False,
    actors: Annotated[int, typer.Option(min=1, help="Processes on the cluster at most.")] = 1000,
    cpus: Annotated[int, typer.Option(min=1, help="Processors for each of them.")] = 2,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs for each of them, as in 0.25.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Write the report as JSON.")] = False,
) -> None:
    """Cut out a folder or a bucket of pictures, in shards."""
    from mattebox.bulk import make_plan, open_plan, open_target, pending, report

    if shard is not None and (again or plan_only or ray is not None):
        raise typer.BadParameter("cannot be combined with --again, --plan-only or --ray.", param_hint="--shard")
    if queue:
        _refuse_what_workers_decide(context)
    job = _job(context, source, target)
    try:
        if shard is None:
            plan = make_plan(job, manifest=manifest, column=column, shard_size=shard_size, again=again)
        else:
            plan = open_plan(job)
            plan.check_shard(shard)
    except MatteboxError as error:
        if error.kind is not Kind.INVALID_PARAMETER or error.parameter not in _HINTS:
            raise
        raise typer.BadParameter(error.message, param_hint=_HINTS[error.parameter]) from error
    if plan_only:
        typer.echo(plan.shards)
        return
    if queue:
        _run_on_queue(context, job, plan)
    elif ray is None:
        _run_here(context, job, plan, shard=shard, threads=jobs, device=device)
    else:
        options = model_options()
        options = dataclasses.replace(options, device=device or options.device, threads=cpus, user_files=True)
        _run_on_ray(context, job, plan, options, address=ray, actors=actors, cpus=cpus, gpus=gpus, threads=jobs)
    storage = open_target(job)
    if shard is None or not pending(storage, plan):
        _tell(report(storage, plan), as_json=as_json)


def _job(context: typer.Context, source: str, target: str) -> BulkJob:
    from mattebox.bulk import BulkJob, address

    edit, behind = edit_of(context, Files(jobs=(), format=Format.PNG))
    return BulkJob(source=address(source), target=address(target), edit=edit, behind=behind)


def _run_here(
    context: typer.Context, job: BulkJob, plan: Plan, *, shard: int | None, threads: int, device: str | None
) -> None:
    from mattebox.bulk import open_target, pending, run_here

    stop = threading.Event()  # set by whatever ends the run early
    shards = pending(open_target(job), plan) if shard is None else [shard]
    with _ended_by_sigterm(), Bar(sum(plan.size_of(each) for each in shards)) as bar:

        def done(_row: Row) -> None:
            bar.step()

        engine = engine_for(context.ensure_object(Components), job.edit, device, bar.fetching_until(stop))
        run_here(job, plan, shards, engine, threads=threads, stop=stop, done=done)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """A cluster that takes a machine back says so with SIGTERM: the shard is left in an orderly way, as by Ctrl-C."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run_on_ray(
    context: typer.Context,
    job: BulkJob,
    plan: Plan,
    options: ModelOptions,
    *,
    address: str,
    actors: int,
    cpus: int,
    gpus: float,
    threads: int,
) -> None:
    from mattebox.bulk.ray import run_on_ray

    with Bar(plan.pictures) as bar:
        # Its networks stay on the nodes; here a wrong name is told at once, and a licence once.
        engine_for(context.ensure_object(Components), job.edit, options.device, bar.fetching)

        def done(summary: Summary) -> None:
            bar.step(summary.ok + summary.no_subject + summary.errors)

        run_on_ray(
            job,
            plan,
            functools.partial(_engine_on_a_node, options),
            address=address,
            actors=actors,
            cpus=cpus,
            gpus=gpus,
            threads=threads,
            done=done,
        )


def _refuse_what_workers_decide(context: typer.Context) -> None:
    for name in ("shard", "plan_only", "ray", "jobs", "device", "actors", "cpus", "gpus"):
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise typer.BadParameter(f"cannot be combined with --{name.replace('_', '-')}.", param_hint="--queue")


def _run_on_queue(context: typer.Context, job: BulkJob, plan: Plan) -> None:
    with extras.needs("server", "The server's queue"):
        from mattebox.server.jobs.shards import run_on_queue
        from mattebox.server.store.database import create

    with opened() as engine, Bar(plan.pictures) as bar:
        # Its networks stay with the workers; here a wrong name is told at once, and a licence once.
        engine_for(context.ensure_object(Components), job.edit, None, bar.fetching)
        create(engine)
        run_on_queue(job, plan, engine, done=lambda shard: bar.step(plan.size_of(shard)))


def _engine_on_a_node(options: ModelOptions) -> Engine:
    from mattebox.engine import Engine
    from mattebox.models import Models

    return Engine(Models(options))


def _tell(made: Report, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(made)))
        return
    typer.echo(_sentence(made))
    if made.ok < made.pictures:
        say(f"Those without a result are listed in {made.broken} at TARGET.", style="yellow")


def _sentence(made: Report) -> str:
    return (
        f"{made.pictures:,} pictures: {made.ok:,} ok, {made.no_subject:,} without a subject, {made.errors:,} failed; "
        f"{made.pictures_per_second:.1f} pictures/s, {made.core_hours:.2f} core-hours, {made.bytes / 1e6:,.0f} MB."
    )

"""The shards of a bulk run on a Ray cluster.

Ray hands out numbers of shards and gets summaries back. Each actor fetches the photos and puts the results by itself,
so no picture goes through the cluster's object store. A node that dies takes its shards with it; Ray gives them to
others, who go on where it was.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mattebox import extras, telemetry
from mattebox.bulk.manifest import BulkJob, Plan, open_target, pending
from mattebox.bulk.shard import Summary, run_shard
from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    from mattebox.engine import Engine

_SHARD, _SUMMARY, _FAILURE = "shard", "summary", "failure"


class _Actor:
    """A process on a node, with the networks loaded once."""

    def __init__(self, job: BulkJob, plan: Plan, make_engine: Callable[[], Engine], threads: int) -> None:
        self._job = job
        self._plan = plan
        self._engine = make_engine()
        self._threads = threads

    def __call__(self, row: Mapping[str, Any]) -> dict[str, str]:
        try:
            done = run_shard(
                self._job,
                self._plan,
                int(row[_SHARD]),
                self._engine,
                threads=self._threads,
                stop=threading.Event(),
            )
        except MatteboxError as error:
            # As a row: raised, it would reach the caller inside of several of Ray's own.
            return {_FAILURE: json.dumps([error.kind, error.message, error.parameter]), _SUMMARY: ""}
        return {_FAILURE: "", _SUMMARY: json.dumps(asdict(done))}


def run_on_ray(
    job: BulkJob,
    plan: Plan,
    make_engine: Callable[[], Engine],
    *,
    address: str | None = None,
    actors: int,
    cpus: float = 1,
    gpus: float = 0,
    threads: int = 2,
    done: Callable[[Summary], None],
) -> None:
    """Do all shards that are not done, on a cluster.

    Args:
        job: what is to be done. Each node has to reach its addresses.
        plan: its plan.
        make_engine: makes an actor's engine; is pickled, as a function of a module is.
        address: the cluster's, as `ray.init` takes it; None is that of `RAY_ADDRESS`, or a cluster on this machine.
        actors: how many at most.
        cpus: processors that one actor is given.
        gpus: GPUs that one actor is given, as in 0.25 for four to a GPU.
        threads: how many pictures an actor works on at a time.
        done: told about each shard.

    Raises:
        MatteboxError: UNAVAILABLE where the extra is missing, and what `run_shard` raises.
    """
    telemetry.switch_off()
    with extras.needs("ray", "A Ray cluster"):
        import ray
        import ray.data
    from pydantic import TypeAdapter

    shards = pending(open_target(job), plan)
    if not shards:
        return
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    # A block a shard: of several in a block, those that wait would be lost with the one that is worked on.
    numbers = ray.data.from_items([{_SHARD: shard} for shard in shards], override_num_blocks=len(shards))
    rows = numbers.map(
        _Actor,
        fn_constructor_args=(job, plan, make_engine, threads),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(actors, len(shards))),
        num_cpus=cpus,
        num_gpus=gpus,
    )
    summary = TypeAdapter(Summary)
    for row in rows.iter_rows():
        if row[_FAILURE]:
            kind, message, parameter = json.loads(row[_FAILURE])
            raise MatteboxError(Kind(kind), message, parameter=parameter)
        done(summary.validate_json(row[_SUMMARY]))

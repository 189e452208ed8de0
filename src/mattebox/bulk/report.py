"""The totals of a bulk run, and the list of the pictures that have no result."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mattebox.bulk.manifest import JSON, REQUESTS_AT_ONCE, Plan, arrow, pending
from mattebox.bulk.shard import Status, Summary, read_rows
from mattebox.errors import Kind, MatteboxError
from mattebox.object_store import ObjectStore

_UNFINISHED_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The totals of a plan.

    Attributes:
        pictures: how many there are; the next three add up to it.
        ok: pictures with a result.
        no_subject: pictures in which no subject was found.
        errors: pictures that could not be done.
        bytes: of all results.
        seconds: during which at least one shard was worked on.
        pictures_per_second: `pictures` over `seconds`.
        core_hours: the time of processors that the processes used in all.
        broken: the key of the list with the pictures that have no result.
    """

    pictures: int
    ok: int
    no_subject: int
    errors: int
    bytes: int
    seconds: float
    pictures_per_second: float
    core_hours: float
    broken: str


def report(target: ObjectStore, plan: Plan) -> Report:
    """Sum up a plan whose shards are all done, and write that, and the list of broken pictures, beside the results.

    Raises:
        MatteboxError: CONFLICT where shards are missing, UNAVAILABLE.
    """
    from pydantic import TypeAdapter

    left = len(pending(target, plan))
    if left:
        raise MatteboxError(Kind.CONFLICT, f"{left:,} of {plan.shards:,} shards are not done yet.")
    summaries, size, broken = _read(target, plan)
    folder = f"_bulk/{plan.id}"
    seconds = _covered((each.begin, each.end) for each in summaries)
    made = Report(
        pictures=plan.pictures,
        ok=sum(each.ok for each in summaries),
        no_subject=sum(each.no_subject for each in summaries),
        errors=sum(each.errors for each in summaries),
        bytes=size,
        seconds=seconds,
        pictures_per_second=plan.pictures / seconds if seconds else 0.0,
        core_hours=sum(each.cpu_seconds for each in summaries) / 3600,
        broken=f"{folder}/broken.csv",
    )
    target.put(made.broken, broken, media_type="text/csv")
    target.put(f"{folder}/report.json", TypeAdapter(Report).dump_json(made, indent=2), media_type=JSON)
    if target.folder:
        _sweep_unfinished(target.folder)
    return made


def _read(target: ObjectStore, plan: Plan) -> tuple[list[Summary], int, bytes]:
    """The summaries of all shards, the bytes of all results, and the pictures without one as CSV."""
    arrow()
    from pyarrow import compute, csv
    from pydantic import TypeAdapter

    adapter = TypeAdapter(Summary)

    def read(shard: int) -> tuple[Summary, int, bytes]:
        table = read_rows(target, plan, shard)
        if table is None:
            raise MatteboxError(Kind.CONFLICT, f"The rows of shard {shard} are gone.")
        without = table.filter(compute.not_equal(table["status"], Status.OK.value)).select(["key", "status", "error"])
        broken = io.BytesIO()
        csv.write_csv(without, broken, csv.WriteOptions(include_header=shard == 0))
        summary = adapter.validate_json(table.schema.metadata[b"summary"])
        return summary, compute.sum(table["bytes"]).as_py() or 0, broken.getvalue()

    # The rows themselves are dropped at once: those of ten million pictures are gigabytes.
    with ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="report") as pool:
        summaries, sizes, broken = zip(*pool.map(read, range(plan.shards)), strict=True)
    return list(summaries), sum(sizes), b"".join(broken)


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """The length of time that is in at least one span."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _sweep_unfinished(folder: Path) -> None:
    # A process that is killed leaves the file that it was writing under another name. An hour spares those that
    # another process writes right now.
    oldest = time.time() - _UNFINISHED_SECONDS
    for path in folder.rglob(".mattebox-*.part"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()

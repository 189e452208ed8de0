"""The list of the pictures, made once, and the shards that it is cut into.

At the target, beside the pictures:

    _bulk/plan.json                  which plan is in force, and for which source and edit
    _bulk/PLAN/shards/00000.parquet  the keys of each shard
    _bulk/PLAN/running/00000.json    a shard that somebody works on
    _bulk/PLAN/results/00000.parquet a row a picture; that it is there says that the shard is done
    _bulk/PLAN/behind                the picture behind, where others than its sender need it
    _bulk/PLAN/report.json           the sum, and broken.csv with the pictures that have no result
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mattebox import batch, codec, extras
from mattebox.edit import Edit, Format
from mattebox.errors import Kind, MatteboxError
from mattebox.files import reason, shown
from mattebox.object_store import ObjectStore

if TYPE_CHECKING:
    import pyarrow as pa

PATIENCE: Final = 180.0
"""Seconds for which a request that fails is sent again. Nobody waits at the other end, so it may be long."""
PLAN: Final = "_bulk/plan.json"
PARQUET: Final = "application/vnd.apache.parquet"
JSON: Final = "application/json"
REQUESTS_AT_ONCE: Final = 8
_LISTED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkJob:
    """Everything that is to be done, as plain data that goes to other machines as it is.

    Attributes:
        source: the address of the photos.
        target: the address for the results.
        edit: what is done to each photo.
        behind: the file of the picture behind, where the edit's backdrop is a `Picture`.
    """

    source: str
    target: str
    edit: Edit
    behind: bytes | None = None

    @property
    def fingerprint(self) -> str:
        """A text that differs where the results would."""
        behind = "" if self.behind is None else hashlib.sha256(self.behind).hexdigest()
        return f"{self.edit!r} {behind}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A list of pictures in shards.

    Attributes:
        id: the name of the folder with its shards and results.
        source: the address that the keys belong to.
        edit: the job's fingerprint.
        format: of the results.
        pictures: how many there are.
        shard_size: how many are in a shard; the last one may have fewer.
        manifest: the file that the keys come from, by path or address; None where the source was listed.
        passed_over: names in the source that are hidden or no photo's by their ending.
    """

    id: str
    source: str
    edit: str
    format: Format
    pictures: int
    shard_size: int
    manifest: str | None = None
    passed_over: int = 0

    @property
    def shards(self) -> int:
        """How many there are. Their numbers begin with 0."""
        return -(-self.pictures // self.shard_size)

    def size_of(self, shard: int) -> int:
        """How many pictures a shard has."""
        return min(self.shard_size, self.pictures - shard * self.shard_size)

    def check_shard(self, shard: int) -> None:
        """Refuse a number that no shard has.

        Raises:
            MatteboxError: INVALID_PARAMETER.
        """
        if not 0 <= shard < self.shards:
            message = f"The plan has the shards 0 to {self.shards - 1}."
            raise MatteboxError(Kind.INVALID_PARAMETER, message, parameter="shard")

    def path(self, kind: str, shard: int, ending: str = "parquet") -> str:
        """The key of a shard's file of that kind: `shards`, `running` or `results`."""
        return f"_bulk/{self.id}/{kind}/{shard:05}.{ending}"

    @property
    def behind(self) -> str:
        """The key of the picture behind, where one was left for other machines."""
        return f"_bulk/{self.id}/behind"

    def result(self, key: str) -> str:
        """The key of a photo's result: a function of the photo's key, and never the same for two."""
        return key + codec.extension(self.format)


def address(place: str) -> str:
    """The address of a folder that is named by its path; an address stays as it is."""
    return place if "://" in place else Path(place).expanduser().resolve().as_uri()


def open_source(job: BulkJob) -> ObjectStore:
    """The storage of the photos."""
    return ObjectStore(job.source, patience=PATIENCE, make=False)


def open_target(job: BulkJob) -> ObjectStore:
    """The storage of the results."""
    return ObjectStore(job.target, patience=PATIENCE)


def arrow() -> tuple[Any, Any]:
    """`pyarrow` and `pyarrow.parquet`, which have no types.

    Raises:
        MatteboxError: UNAVAILABLE where the extra is missing.
    """
    with extras.needs("bulk", "The command bulk"):
        import pyarrow
        from pyarrow import parquet
    return pyarrow, parquet


# --- the plan ------------------------------------------------------------------------------------------------------


def make_plan(
    job: BulkJob, *, manifest: str | None = None, column: str = "key", shard_size: int = 1000, again: bool = False
) -> Plan:
    """The plan at the target; where there is none, it is made.

    Of several processes that make one at the same time, all get the same one.

    Args:
        job: what is to be done.
        manifest: a Parquet or CSV file with the photos' keys, by path or address; None lists the source.
        column: the column with the keys in it.
        shard_size: how many pictures a shard has.
        again: make a new plan even where there is one. Results that are there are kept; all else is tried again.

    Raises:
        MatteboxError: NOT_FOUND where the source, the manifest or any photo in it is missing; INVALID_PARAMETER where
            source and target are not apart, or the manifest has no such column; CONFLICT where the target's plan is for
            another source, edit or manifest.
    """
    arrow()
    _check_apart(job)
    source, target = open_source(job), open_target(job)
    if not again:
        found = read_plan(target)
        if found is not None:
            return _checked(found, job, manifest)
    keys, passed_over = _listed(source, job) if manifest is None else (_read_keys(manifest, column), 0)
    keys = _sorted(keys)
    if len(keys) == 0:
        raise MatteboxError(Kind.NOT_FOUND, "There are no photos in SOURCE." if manifest is None else "It is empty.")
    plan = Plan(
        id=f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}",
        source=job.source,
        edit=job.fingerprint,
        format=job.edit.output.format,
        pictures=len(keys),
        shard_size=shard_size,
        manifest=manifest,
        passed_over=passed_over,
    )
    _write_shards(target, plan, keys)
    # Last: whoever sees the plan sees all of its shards.
    if again:
        target.put(PLAN, _as_json(plan), media_type=JSON)
    elif not target.put_new(PLAN, _as_json(plan), media_type=JSON):
        # Another one was first, unless it was ours whose answer got lost, and which was sent again.
        first = open_plan(job)
        if first.id != plan.id:
            target.delete([plan.path("shards", each) for each in range(plan.shards)])
        return first
    return plan


def open_plan(job: BulkJob) -> Plan:
    """The plan that is at the target.

    Raises:
        MatteboxError: NOT_FOUND where there is none, CONFLICT where it is for another source or edit.
    """
    found = read_plan(open_target(job))
    if found is None:
        raise MatteboxError(Kind.NOT_FOUND, "There is no plan at TARGET yet. Run the command with --plan-only first.")
    return _checked(found, job)


def pending(target: ObjectStore, plan: Plan) -> list[int]:
    """The numbers of the shards that are not done, with those last that somebody seems to work on."""
    done = set(target.list_keys(f"_bulk/{plan.id}/results"))
    running = set(target.list_keys(f"_bulk/{plan.id}/running"))
    left = [each for each in range(plan.shards) if plan.path("results", each) not in done]
    return sorted(left, key=lambda each: plan.path("running", each, "json") in running)


def read_shard(target: ObjectStore, plan: Plan, shard: int) -> list[str]:
    """The keys of one shard.

    Raises:
        MatteboxError: INVALID_PARAMETER where the plan has no shard of that number.
    """
    pyarrow, parquet = arrow()
    plan.check_shard(shard)
    table = parquet.read_table(pyarrow.BufferReader(target.get(plan.path("shards", shard))))
    keys: list[str] = table.column("key").to_pylist()
    return keys


def read_plan(target: ObjectStore) -> Plan | None:
    """The plan that is at a target, whatever it is for; None where there is none.

    Raises:
        MatteboxError: CONFLICT where it is of another version, UNAVAILABLE.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Plan).validate_json(target.get(PLAN))
    except MatteboxError as error:
        if error.kind is not Kind.NOT_FOUND:
            raise
        return None
    except ValidationError as error:
        raise MatteboxError(Kind.CONFLICT, f"{PLAN} at TARGET is not a plan of this version of mattebox.") from error


def _as_json(plan: Plan) -> bytes:
    from pydantic import TypeAdapter

    return TypeAdapter(Plan).dump_json(plan, indent=2)


def _checked(plan: Plan, job: BulkJob, manifest: str | None = None) -> Plan:
    """The plan, if it is for this source and edit, and for this manifest where one is named."""
    if plan.source != job.source or plan.edit != job.fingerprint:
        other = "another source" if plan.source != job.source else "other options"
        raise MatteboxError(
            Kind.CONFLICT, f"The results at TARGET are made with {other}. Choose another target for these."
        )
    if manifest not in (None, plan.manifest):
        raise MatteboxError(Kind.CONFLICT, "The plan at TARGET has another manifest. --again makes a new plan.")
    return plan


def _check_apart(job: BulkJob) -> None:
    """Refuse a target that is in the source, or the other way round: results would be taken for photos."""
    if job.target.startswith("memory:"):
        raise MatteboxError(Kind.INVALID_PARAMETER, "TARGET cannot be in memory.", parameter="target")
    one, other = _place(job.source), _place(job.target)
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        raise MatteboxError(
            Kind.INVALID_PARAMETER, "TARGET cannot be in SOURCE, nor SOURCE in TARGET.", parameter="target"
        )


def _place(url: str) -> tuple[str, ...]:
    """The steps that lead to an address, from the store down."""
    parts = urlsplit(url)
    path = os.path.realpath(url2pathname(parts.path)) if parts.scheme == "file" else parts.path
    host = "" if parts.scheme == "file" else parts.netloc
    return (parts.scheme, host, *(each for each in path.split("/") if each))


# --- keys ----------------------------------------------------------------------------------------------------------


def _listed(source: ObjectStore, job: BulkJob) -> tuple[pa.ChunkedArray, int]:
    """The keys of the photos in a source, and how many other names there are."""
    pyarrow, _ = arrow()
    if source.folder is not None:
        found, passed_over = batch.photos(source.folder)
        keys = [photo.relative_to(source.folder).as_posix() for photo in found]
        for key in keys:
            if not key.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in key):
                raise MatteboxError(Kind.INVALID_PARAMETER, f"The name of {shown(Path(key))} is not UTF-8.")
        return pyarrow.chunked_array([keys], pyarrow.large_string()), passed_over
    passed_over = 0

    def photos() -> Iterator[str]:
        nonlocal passed_over
        try:
            for key in source.list_keys():
                if batch.is_photo(key):
                    yield key
                else:
                    passed_over += 1
        except MatteboxError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            raise MatteboxError(Kind.NOT_FOUND, f"There is nothing at {job.source}.") from error

    chunks = [pyarrow.array(page, pyarrow.large_string()) for page in _pages(photos())]
    return pyarrow.chunked_array(chunks, pyarrow.large_string()), passed_over


def _pages(keys: Iterable[str]) -> Iterator[list[str]]:
    # As Python's texts ten million keys would take a gigabyte; as a column they take their own length.
    rest = iter(keys)
    return iter(lambda: list(islice(rest, _LISTED_AT_ONCE)), [])


def _read_keys(manifest: str, column: str) -> pa.ChunkedArray:
    """The keys of the photos in a file."""
    pyarrow, parquet = arrow()
    from pyarrow import csv

    data = _read_manifest(manifest)
    try:
        if data[:4] == b"PAR1":
            file = parquet.ParquetFile(pyarrow.BufferReader(data))
            columns = file.schema_arrow.names
            table = file.read(columns=[column] if column in columns else [])
        else:
            table = csv.read_csv(
                pyarrow.BufferReader(data),
                parse_options=csv.ParseOptions(newlines_in_values=True),
                convert_options=csv.ConvertOptions(
                    # A photo may be called 007 or NA; only an empty cell is no key.
                    column_types={column: pyarrow.string()},
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
            columns = table.column_names
    except (pyarrow.ArrowException, OSError) as error:
        raise MatteboxError(
            Kind.INVALID_PARAMETER, "The manifest is neither a Parquet file nor a CSV file.", parameter="manifest"
        ) from error
    if column not in columns:
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            f"The manifest has no column {column!r}. Its columns are {', '.join(map(repr, columns[:20]))}.",
            parameter="column",
        )
    keys = table.column(column)
    if pyarrow.types.is_dictionary(keys.type):
        keys = keys.cast(keys.type.value_type)
    if not (pyarrow.types.is_string(keys.type) or pyarrow.types.is_large_string(keys.type)):
        raise MatteboxError(
            Kind.INVALID_PARAMETER, f"The column {column!r} of the manifest is not text.", parameter="column"
        )
    if keys.null_count:
        raise MatteboxError(
            Kind.INVALID_PARAMETER, f"{keys.null_count:,} rows of the manifest have no key.", parameter="manifest"
        )
    return keys.cast(pyarrow.large_string())


def _read_manifest(manifest: str) -> bytes:
    """The bytes of the file, from a path or an address."""
    if "://" not in manifest:
        try:
            return Path(manifest).expanduser().read_bytes()
        except OSError as error:
            raise MatteboxError(
                Kind.NOT_FOUND, f"The manifest cannot be read: {reason(error)}.", parameter="manifest"
            ) from error
    folder, _, name = manifest.rpartition("/")
    try:
        return ObjectStore(folder, patience=PATIENCE, make=False).get(name)
    except MatteboxError as error:
        raise MatteboxError(
            error.kind, f"The manifest cannot be read. {error.message}", parameter="manifest"
        ) from error


def _sorted(keys: pa.ChunkedArray) -> pa.Array:
    """Each key once, in order, so that a list makes the same shards wherever it comes from."""
    from pyarrow import compute

    once = compute.unique(keys)
    return once.take(compute.sort_indices(once))


def _write_shards(target: ObjectStore, plan: Plan, keys: pa.Array) -> None:
    pyarrow, parquet = arrow()

    def write(shard: int) -> None:
        part = keys.slice(shard * plan.shard_size, plan.shard_size)
        file = io.BytesIO()
        parquet.write_table(pyarrow.table({"key": part.cast(pyarrow.string())}), file, compression="zstd")
        target.put(plan.path("shards", shard), file.getvalue(), media_type=PARQUET)

    with ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="plan") as pool:
        for _ in pool.map(write, range(plan.shards)):
            pass

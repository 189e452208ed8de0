"""One shard: fetch each photo, edit it, put the result, and write down what became of it.

A result that exists is kept, so a shard that was killed goes on where it was; its rows are the same as if it had not
been. They can be, because a picture without a subject has no result: what is at the target is always a cutout.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Final, Protocol

from mattebox import batch, codec, files
from mattebox.bulk.manifest import (
    JSON,
    PARQUET,
    BulkJob,
    Plan,
    arrow,
    open_source,
    open_target,
    read_shard,
)
from mattebox.cancellation import Checkpoint
from mattebox.edit import Edit
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Encoded
from mattebox.object_store import ObjectStore, check_key

DEATHS: Final = 2
"""How often a process may die of one picture before it is left out."""
_log = logging.getLogger(__name__)
_ONE_FILES = frozenset((errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR))
"""Errors of the system that are one file's. Others mean that the disk is gone."""


class FileEngine(Protocol):
    """An `Engine`, or what stands before one: a server works on a picture of a shard when its turn has come."""

    def run_file(
        self, edit: Edit, photo: bytes, *, backdrop: bytes | None, limits: codec.Limits, checkpoint: Checkpoint
    ) -> Encoded:
        """As `Engine.run_file`."""
        ...


class Status(StrEnum):
    """The outcome of a picture."""

    OK = "ok"
    NO_SUBJECT = "no subject"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The outcome of one picture.

    Attributes:
        key: the photo's key in the source.
        target: the result's key at the target; None where there is no result.
        status: whether there is one.
        error: why it has none, in a sentence.
        seconds: how long it took; 0 where the result was there already.
        bytes: the size of the result's file.
        sha256: the checksum of the result's file, in hexadecimal digits.
    """

    key: str
    target: str | None = None
    status: Status
    error: str | None = None
    seconds: float = 0.0
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The totals of one shard.

    Attributes:
        shard: its number.
        ok: pictures with a result.
        no_subject: pictures in which no subject was found.
        errors: pictures that could not be done.
        begin: when it was begun, in seconds since 1970.
        end: when it was done.
        cpu_seconds: the process's time on a processor meanwhile.
    """

    shard: int
    ok: int
    no_subject: int
    errors: int
    begin: float
    end: float
    cpu_seconds: float


def ignore(_row: Row) -> None:
    """A listener that does nothing."""


def run_here(
    job: BulkJob,
    plan: Plan,
    shards: Iterable[int],
    engine: FileEngine,
    *,
    threads: int,
    stop: threading.Event,
    done: Callable[[Row], None] = ignore,
) -> None:
    """Do shards one after the other in this process, as far as they are not done.

    Args:
        job: what is to be done.
        plan: its plan.
        shards: their numbers, as `pending` has them.
        engine: with the networks.
        threads: how many pictures are worked on at a time.
        stop: ends the work at the next checkpoint, and is set where something else ends it early.
        done: told about each picture.
    """
    for shard in shards:
        run_shard(job, plan, shard, engine, threads=threads, stop=stop, done=done)


def run_shard(
    job: BulkJob,
    plan: Plan,
    shard: int,
    engine: FileEngine,
    *,
    threads: int,
    stop: threading.Event,
    done: Callable[[Row], None] = ignore,
) -> Summary:
    """Do one shard, if it is not done. The parameters are those of `run_here`.

    Raises:
        MatteboxError: UNAVAILABLE where a storage, the network or a package cannot be used, CANCELLED after `stop`. The
            shard is not done then, and can be tried again; its results so far are kept.
    """
    target = open_target(job)
    found = read_summary(target, plan, shard)
    if found is not None:
        return found
    keys = read_shard(target, plan, shard)
    begin, cpu = time.time(), time.process_time()
    with _Running(target, plan, shard) as running:
        work = _PictureWork(job, plan, engine, target=target, running=running, stop=stop)
        # With one picture at a time it is clear of which one a process dies.
        threads = 1 if running.careful else threads
        rows: list[Row] = []
        with closing(batch.in_order(keys, work.row, threads=threads, stop=stop, works=_works)) as outcomes:
            for row in outcomes:
                rows.append(row)
                done(row)
        count = [sum(row.status is status for row in rows) for status in Status]
        summary = Summary(
            shard=shard,
            ok=count[0],
            no_subject=count[1],
            errors=count[2],
            begin=begin,
            end=time.time(),
            cpu_seconds=time.process_time() - cpu,
        )
        # Of two who did the same shard, the first one's rows stay, as its results do.
        target.put_new(plan.path("results", shard), _as_parquet(rows, summary), media_type=PARQUET)
    return summary


def read_summary(target: ObjectStore, plan: Plan, shard: int) -> Summary | None:
    """The summary of a shard that is done; None for another one."""
    from pydantic import TypeAdapter

    table = read_rows(target, plan, shard)
    if table is None:
        return None
    return TypeAdapter(Summary).validate_json(table.schema.metadata[b"summary"])


def read_rows(target: ObjectStore, plan: Plan, shard: int) -> Any:
    """The rows of a shard that is done as an Arrow table, with its summary in the schema's metadata; None without."""
    pyarrow, parquet = arrow()
    try:
        data = target.get(plan.path("results", shard))
    except MatteboxError as error:
        if error.kind is not Kind.NOT_FOUND:
            raise
        return None
    return parquet.read_table(pyarrow.BufferReader(data))


def _as_parquet(rows: list[Row], summary: Summary) -> bytes:
    pyarrow, parquet = arrow()
    kinds = {"seconds": pyarrow.float64(), "bytes": pyarrow.int64()}
    names = [each.name for each in fields(Row)]
    schema = pyarrow.schema(
        [(name, kinds.get(name, pyarrow.string())) for name in names],
        metadata={"summary": json.dumps(asdict(summary))},
    )
    columns = [[getattr(row, name) for row in rows] for name in names]
    table = pyarrow.table(
        [pyarrow.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema=schema
    )
    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd")
    return file.getvalue()


def _works(row: Row) -> bool:
    return row.status is not Status.ERROR


# --- pictures ------------------------------------------------------------------------------------------------------


class _PictureWork:
    """The work on each picture of a shard. Used from several threads."""

    def __init__(
        self,
        job: BulkJob,
        plan: Plan,
        engine: FileEngine,
        *,
        target: ObjectStore,
        running: _Running,
        stop: threading.Event,
    ) -> None:
        self._job = job
        self._plan = plan
        self._engine = engine
        self._source = open_source(job)
        self._target = target
        self._running = running
        self._stop = stop
        self._media_type = codec.media_type(plan.format)

    def row(self, key: str) -> Row:
        """Do one picture, and say what became of it.

        Raises:
            MatteboxError: no other picture can be done either, or the work should stop.
        """
        begin = time.perf_counter()
        try:
            self._checkpoint()
            check_key(key)
            result = self._plan.result(key)
            data, made = self._existing(result), False
            if data is None:
                data, made = self._make(key, result), True
        except MatteboxError as error:
            if error.kind is Kind.CANCELLED or batch.concerns_all(error) or error.parameter == "backdrop":
                raise
            message = error.message
        except Exception as error:  # noqa: BLE001
            # The outermost boundary: one picture in ten million that shows a defect must not hold up the others.
            _log.exception("the picture %r shows a defect", key)
            message = batch.unexpected(error).message
        else:
            seconds = time.perf_counter() - begin if made else 0.0
            if data is None:
                return Row(key=key, status=Status.NO_SUBJECT, seconds=seconds)
            checksum = hashlib.sha256(data).hexdigest()
            return Row(key=key, target=result, status=Status.OK, seconds=seconds, bytes=len(data), sha256=checksum)
        return Row(key=key, status=Status.ERROR, error=message, seconds=time.perf_counter() - begin)

    def _checkpoint(self) -> None:
        if self._stop.is_set():
            raise MatteboxError(Kind.CANCELLED, "Stopped.")

    def _existing(self, result: str) -> bytes | None:
        try:
            return self._target.get(result)
        except MatteboxError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            return None

    def _make(self, key: str, result: str) -> bytes | None:
        """Put the result and give what is at the target then; None where no subject was found."""
        self._running.enter(key)
        photo = self._fetch(key)
        made = self._engine.run_file(
            self._job.edit,
            photo,
            backdrop=self._job.behind,
            limits=codec.OWN_FILES,
            checkpoint=self._checkpoint,
        )
        if made.subject is None:
            return None
        self._checkpoint()
        if self._target.put_new(result, made.data, media_type=self._media_type):
            return made.data
        return self._target.get(result)  # somebody else was first

    def _fetch(self, key: str) -> bytes:
        folder = self._source.folder
        if folder is None:
            return self._source.get(key, max_bytes=codec.OWN_FILES.max_bytes)
        try:
            return files.read(folder / key, codec.OWN_FILES.max_bytes)
        except MatteboxError as error:
            cause = error.__cause__
            is_gone = not folder.is_dir()
            if is_gone or (
                error.kind is not Kind.NOT_FOUND and isinstance(cause, OSError) and cause.errno not in _ONE_FILES
            ):
                raise MatteboxError(Kind.UNAVAILABLE, f"The source cannot be read. {error.message}") from error
            raise


# --- shards that kill their process --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Attempts:
    """How often a shard was begun and not ended, and in careful attempts of which pictures."""

    begun: int = 0
    current: str | None = None
    deaths: dict[str, int] | None = None


class _Running:
    """A note at the target that a shard is worked on, as a context.

    A picture can kill the process: too little memory, a fault in a library. Another process would begin the shard anew
    and die of the same picture. So a shard that was begun a few times and never ended is done picture by picture, each
    noted before it is begun, and one of which several processes died is left out.
    """

    def __init__(self, target: ObjectStore, plan: Plan, shard: int) -> None:
        self._target = target
        self._key = plan.path("running", shard, "json")
        self._attempts = _Attempts()

    def __enter__(self) -> _Running:
        from pydantic import TypeAdapter

        try:
            self._attempts = TypeAdapter(_Attempts).validate_json(self._target.get(self._key))
        except MatteboxError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
        attempts = self._attempts
        if attempts.current is not None:
            deaths = attempts.deaths or {}
            deaths[attempts.current] = deaths.get(attempts.current, 0) + 1
            attempts.deaths, attempts.current = deaths, None
        attempts.begun += 1
        self._write()
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """Note that the shard was left in an orderly way, done or not."""
        attempts = self._attempts
        attempts.begun, attempts.current = attempts.begun - 1, None
        if failure is None or not (attempts.begun or attempts.deaths):
            self._target.delete([self._key])
        else:
            self._write()

    @property
    def careful(self) -> bool:
        """Whether the shard is to be done one picture at a time."""
        return self._attempts.begun > DEATHS

    def enter(self, key: str) -> None:
        """Note the picture that is begun.

        Raises:
            MatteboxError: INTERNAL where processes died of it.
        """
        if not self.careful:
            return
        deaths = (self._attempts.deaths or {}).get(key, 0)
        if deaths >= DEATHS:
            raise MatteboxError(Kind.INTERNAL, f"The process ended {deaths} times while it worked on this picture.")
        self._attempts.current = key
        self._write()

    def _write(self) -> None:
        self._target.put(self._key, json.dumps(asdict(self._attempts)).encode(), media_type=JSON)

"""Batches: which photo becomes which file, and doing many of them.

The plan is made whole, and refused whole, before the first photo is read: two photos never go to one file, and a photo
is never overwritten, under whatever name, link or spelling it is reached. Files that exist are kept unless told
otherwise.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from mattebox import files
from mattebox.edit import Format
from mattebox.errors import Kind, MatteboxError
from mattebox.files import reason, shown

if TYPE_CHECKING:
    from mattebox.cancellation import Checkpoint
    from mattebox.image import Encoded

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .avif .heic .heif .hif .tif .tiff .bmp .dib .gif".split()  # noqa: SIM905
)
"""Endings of the files that are taken out of a folder, in lower case. A file that is named by itself may have any."""

_SHOWN = 20
_Identity: TypeAlias = tuple[int, int]
_Item = TypeVar("_Item")
_Outcome = TypeVar("_Outcome")


@dataclass(frozen=True, slots=True)
class Job:
    """One photo and the file that it becomes. None is the standard input or output."""

    source: Path | None
    target: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The work of a batch.

    Attributes:
        jobs: the work, in the order of the inputs; a folder's files are sorted.
        format: what all of them become.
        kept: jobs that are left out because their output exists.
        passed_over: how many files and folders inside the inputs were not looked at: hidden, no photo by their ending,
            or a link to a folder.
    """

    jobs: tuple[Job, ...]
    format: Format
    kept: tuple[Job, ...] = ()
    passed_over: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """A photo that became a file: `made` is that, without its bytes."""

    job: Job
    made: Encoded
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A photo that did not. A defect of mattebox is of the kind INTERNAL, and is the error's `__cause__`."""

    job: Job
    error: MatteboxError


# --- the plan ----------------------------------------------------------------------------------------------------


def plan(inputs: Sequence[str], output: str | None, *, format: Format | None, overwrite: bool) -> Plan:  # noqa: A002
    """Find the photos, and the file that each becomes.

    Args:
        inputs: files of any ending and folders, or `-` alone for the standard input. Links to folders inside of folders
            are not followed.
        output: for one photo a file, or `-` for the standard output; else a folder, which need not exist, and in which
            the inputs' own folders are repeated. Where it lies inside an input, it is not read. For one photo, what is
            new and has no ending is a folder too. None is `photo-cutout.png` beside one photo, and the standard output
            for the standard input.
        format: what to write; None is what `output` ends in, or else PNG.
        overwrite: do also what is there already.

    Raises:
        MatteboxError: INVALID_PARAMETER, about `inputs`, `output` or `format`, where these do not fit together;
            NOT_FOUND where an input is missing; CONFLICT where two photos would become one file, a photo would be
            overwritten, or the one file that was asked for exists.
    """
    if "-" in inputs and len(inputs) > 1:
        raise _wrong("inputs", "The standard input cannot be combined with other photos.")
    if "" in inputs or output == "":  # a variable of a shell that is not set; as a path it is the current folder
        raise _wrong("inputs" if "" in inputs else "output", "An empty text is not the name of a file or folder.")
    named = [Path(each) for each in inputs if each != "-"]
    missing = [shown(each) for each in named if not _is_there(each)]
    if missing:
        raise MatteboxError(Kind.NOT_FOUND, f"File or folder not found: {_list(missing)}")
    one = len(inputs) == 1 and not any(_is_folder(each) for each in named)
    if not one and output in (None, "-"):
        raise _wrong("output", "Several photos need a folder as their output.")
    if output is not None and output != "-" and not (one and _is_file(output)):
        return _plan_many(named, output, chosen=format or Format.PNG, overwrite=overwrite)
    return _plan_one(next(iter(named), None), output, chosen=format, overwrite=overwrite)


def _plan_one(photo: Path | None, output: str | None, *, chosen: Format | None, overwrite: bool) -> Plan:
    from mattebox import codec

    if output is not None and output != "-":
        target: Path | None = Path(output)
        chosen = _format_of(Path(output), chosen)
    else:
        chosen = chosen or Format.PNG
        beside = None if photo is None else photo.with_name(f"{photo.stem}-cutout{codec.extension(chosen)}")
        target = beside if output is None else None
    job = Job(photo, target)
    _refuse_inputs([job])
    if target is not None and os.path.lexists(target) and not overwrite:
        raise MatteboxError(Kind.CONFLICT, f"{shown(target)} already exists. Use --overwrite to replace it.")
    return Plan(jobs=(job,), format=chosen)


def _plan_many(inputs: Sequence[Path], output: str, *, chosen: Format, overwrite: bool) -> Plan:
    from mattebox import codec

    if not inputs:
        raise _wrong("output", "A photo from the standard input needs the name of an output file.")
    folder, ending = Path(output), codec.extension(chosen)
    # `-o cutout.png` for several photos is a slip, not the wish for a folder of that name.
    if not _is_folder(folder) and (_mode(folder) or codec.format_named(folder.suffix) is not None):
        raise _wrong("output", f"{shown(folder)} is not a folder. Several photos need one.")
    jobs: dict[Job, None] = {}  # a set that keeps its order: a photo that is named twice is done once
    passed_over = 0
    inside = _identity(folder)
    for each in inputs:
        if _is_folder(each):
            found, others = photos(each, inside)
            passed_over += others
            made = (Job(photo, folder / photo.relative_to(each).with_suffix(ending)) for photo in found)
            jobs.update(dict.fromkeys(made))
        else:
            jobs[Job(each, folder / each.with_suffix(ending).name)] = None
    _refuse_clashes(jobs)
    _refuse_inputs(jobs)
    kept = () if overwrite else tuple(job for job in jobs if job.target is not None and os.path.lexists(job.target))
    ready = frozenset(kept)
    return Plan(jobs=tuple(job for job in jobs if job not in ready), format=chosen, kept=kept, passed_over=passed_over)


def _is_file(output: str) -> bool:
    """Whether one photo's output is a file: no folder, not called one by a slash, and with an ending if it is new."""
    path = Path(output)
    return not (_is_folder(path) or output.endswith(("/", os.sep))) and (path.suffix != "" or _mode(path) != 0)


def _format_of(output: Path, chosen: Format | None) -> Format:
    from mattebox import codec

    named = codec.format_named(output.suffix)
    format = chosen or named  # noqa: A001
    if format is None:
        raise _wrong("output", f"{shown(output)} does not end in a known format. Choose one with --format.")
    if named not in (None, format):
        raise _wrong("format", f"The output's name ends in {output.suffix}, which does not match the format {format}.")
    return format


def _wrong(parameter: str, message: str) -> MatteboxError:
    return MatteboxError(Kind.INVALID_PARAMETER, message, parameter=parameter)


def photos(top: Path, output: _Identity | None = None) -> tuple[list[Path], int]:
    """The photos in a folder and below, sorted, and how many files and folders were passed over.

    Args:
        top: the folder.
        output: the identity of a folder in it that is not read.

    Raises:
        MatteboxError: NOT_FOUND where a folder cannot be read.
    """
    found: list[Path] = []
    passed_over = 0

    def refuse(error: OSError) -> None:
        # A folder that cannot be listed may hold photos: leaving it out would be a quiet loss.
        raise MatteboxError(
            Kind.NOT_FOUND, f"The folder {shown(str(error.filename))} cannot be read: {reason(error)}."
        ) from error

    for name, folders, others in os.walk(top, onerror=refuse):
        here = Path(name)
        entered = []
        for each in sorted(folders):
            path = here / each
            if each.startswith(".") or os.path.islink(path):  # noqa: PTH114 - the same without raising
                passed_over += 1
            elif output is None or _identity(path) != output:
                entered.append(each)
        folders[:] = entered
        kept = [each for each in others if _is_photo(here / each)]
        passed_over += len(others) - len(kept)
        found.extend(here / photo for photo in sorted(kept))
    return found, passed_over


def is_photo(path: str) -> bool:
    """Whether a path in a folder or a bucket is a photo's by its ending, and not hidden."""
    return not any(part.startswith(".") for part in path.split("/")) and Path(path).suffix.lower() in SUFFIXES


def _is_photo(path: Path) -> bool:
    """Whether a folder's entry is to be read: by its name, and no pipe, socket or device.

    What cannot be looked at counts as a photo, so that the reason is said when its turn comes.
    """
    if not is_photo(path.name):
        return False
    mode = _mode(path)
    return mode == 0 or stat.S_ISREG(mode)


def _mode(path: Path) -> int:
    """The kind of file, links followed, for `stat`; 0 where there is none or the system does not say."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(_mode(path))


def _is_there(path: Path) -> bool:
    """Whether an input exists; where the system does not say, a MatteboxError of its words."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise MatteboxError(Kind.UNREADABLE_IMAGE, f"{shown(path)} cannot be read: {reason(error)}.") from error
    return True


def _refuse_clashes(jobs: Iterable[Job]) -> None:
    """Two photos, one output: also where one folder is reached by two names, or names differ in Unicode form only."""
    sources: dict[tuple[_Identity | str, str], list[Job]] = {}
    parents: dict[Path, _Identity | str] = {}
    for job in jobs:
        if job.target is None:
            continue
        parent = job.target.parent
        if parent not in parents:
            parents[parent] = _identity(parent) or os.path.realpath(parent)
        sources.setdefault((parents[parent], unicodedata.normalize("NFC", job.target.name)), []).append(job)
    clashes = [
        f"{' and '.join(shown(job.source) for job in several)} would both become {shown(several[0].target)}"
        for several in sources.values()
        if len(several) > 1
    ]
    if clashes:
        raise MatteboxError(
            Kind.CONFLICT, f"Photos would overwrite one another, so nothing was done: {_list(clashes, separator='; ')}"
        )


def _refuse_inputs(jobs: Iterable[Job]) -> None:
    """An output that is a photo of this run, by whatever name: the system's own number of the file decides."""
    jobs = list(jobs)
    photos = {_identity(job.source): job.source for job in jobs if job.source is not None}
    hits = []
    for job in jobs:
        here = None if job.target is None else _identity(job.target)
        if here is not None and here in photos:
            hits.append(f"{shown(job.target)} is the photo {shown(photos[here])}")
    if hits:
        raise MatteboxError(
            Kind.CONFLICT, f"A photo would be overwritten, so nothing was done: {_list(hits, separator='; ')}"
        )


def _identity(path: Path) -> _Identity | None:
    """The identity of the file to the system, links followed; None if the file does not exist."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _list(items: Sequence[str], *, separator: str = ", ") -> str:
    rest = "" if len(items) <= _SHOWN else f"{separator}and {len(items) - _SHOWN} more"
    return separator.join(items[:_SHOWN]) + rest + "."


# --- the work ----------------------------------------------------------------------------------------------------


class Results:
    """Writes results: none over another one, and none over what should stay. Safe to use from several threads."""

    def __init__(self, *, overwrite: bool) -> None:
        self._overwrite = overwrite
        self._lock = threading.Lock()
        self._written: set[_Identity] = set()

    def write(self, target: Path, data: bytes) -> None:
        """Write a result, whole or not at all; missing folders are made.

        Raises:
            MatteboxError: CONFLICT where the file exists and may not be overwritten, where another result of this run
                is there (a disk that does not tell `A.png` from `a.png`), or where the system does not allow it.
        """
        with self._lock:  # only the disk waits here
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise MatteboxError(
                    Kind.CONFLICT, f"{shown(target.parent)} cannot be created: {reason(error)}."
                ) from error
            if _identity(target) in self._written:
                raise MatteboxError(
                    Kind.CONFLICT, f"{shown(target)} is already the result of another photo on this disk."
                )
            files.write(target, data, overwrite=self._overwrite)
            written = _identity(target)
            if written is not None:
                self._written.add(written)


Work: TypeAlias = "Callable[[Job, Checkpoint], Encoded]"
"""Does one job, writes its result and says what it was. Calls the checkpoint now and then."""


def run(
    jobs: Iterable[Job], work: Work, *, threads: int, stop: threading.Event
) -> Generator[Done | Failed, None, None]:
    """Do the jobs, `threads` at a time, and give what became of each, in their order.

    Only a few jobs are ever ahead of the one that is given next, so memory does not grow with their number. Jobs go one
    by one until the first has succeeded: it fetches and loads the network, or shows that there is none.
    Closing the iterator (also Ctrl-C) sets `stop`, which keeps jobs from beginning and ends those that run at their
    next checkpoint, and waits for that.

    Raises:
        MatteboxError: a part is missing, or a model or device wrong, for all the others too.
    """

    def checkpoint() -> None:
        if stop.is_set():
            raise MatteboxError(Kind.CANCELLED, "Stopped.")

    def attempt(job: Job) -> Done | Failed:
        begin = time.perf_counter()
        try:
            checkpoint()
            made = work(job, checkpoint)
        except MatteboxError as error:
            return Failed(job, error)
        except Exception as error:  # noqa: BLE001 - one photo does not end the batch; whoever runs it has the cause
            return Failed(job, unexpected(error))
        return Done(job, replace(made, data=b""), time.perf_counter() - begin)

    for outcome in in_order(jobs, attempt, threads=threads, stop=stop, works=lambda it: isinstance(it, Done)):
        if isinstance(outcome, Failed) and concerns_all(outcome.error):
            raise outcome.error
        yield outcome


def in_order(
    items: Iterable[_Item],
    do: Callable[[_Item], _Outcome],
    *,
    threads: int,
    stop: threading.Event,
    works: Callable[[_Outcome], bool],
) -> Generator[_Outcome, None, None]:
    """Call `do` with the items, `threads` at a time, and give what it returns, in their order.

    Only a few items are ever ahead of the one that is given next. They go one by one until an outcome `works`. Closing
    the iterator, or a failure of `do`, sets `stop`, keeps items from beginning, and waits for those that have begun.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="photo")
    ahead: deque[Future[_Outcome]] = deque()
    room = 1
    try:
        for item in items:
            if len(ahead) >= room:
                outcome = ahead.popleft().result()
                if works(outcome):
                    room = 2 * threads  # the threads stay busy while a slow photo holds up the order
                yield outcome
            ahead.append(pool.submit(do, item))
        while ahead:
            yield ahead.popleft().result()
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def unexpected(error: Exception) -> MatteboxError:
    """The failure of a photo that shows a defect, or for which there is not enough memory."""
    # OpenCV and the networks' runtimes have exceptions of their own for it.
    if isinstance(error, MemoryError) or re.search("insufficient memory|bad_alloc|out of memory", str(error), re.I):
        failure = MatteboxError(Kind.OVERLOADED, "There is not enough memory for this photo.")
    elif isinstance(error, OSError):
        failure = MatteboxError(Kind.UNREADABLE_IMAGE, f"The system refuses: {reason(error)}.")
    else:
        failure = MatteboxError(Kind.INTERNAL, f"A defect of mattebox: {type(error).__name__}.")
    failure.__cause__ = error
    return failure


def concerns_all(error: MatteboxError) -> bool:
    """Whether a photo's failure would be every other one's too: a part is missing, or a model or device wrong."""
    return error.kind is Kind.UNAVAILABLE or error.parameter in {"model", "device"}

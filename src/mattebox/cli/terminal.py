"""The standard streams; and what a person at the terminal sees, sentences and a progress bar, on the standard error."""

from __future__ import annotations

import codecs
import dataclasses
import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from mattebox.errors import Kind, MatteboxError
from mattebox.files import reason

if TYPE_CHECKING:
    from _typeshed import DataclassInstance, ReadableBuffer
    from rich.progress import TaskID
    from rich.table import Table


def open_streams() -> None:
    """Make the standard streams ready, whatever the process was started with.

    A stream that is closed becomes one that leads nowhere, so that no file that is opened later takes its number, and
    what a library writes there does not end up in a picture. A failure of the standard output is a MatteboxError; one
    of the standard error is passed over, for nobody could be told. Characters that a stream cannot encode are escaped.
    """
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(free)
    codecs.register_error("mattebox", _escaped)
    sys.stdout, sys.stderr = _usable(sys.stdout, 1), _usable(sys.stderr, 2)


def read_standard_input(max_bytes: int) -> bytes:
    """All that comes from the standard input; one byte more than `max_bytes` tells that it is too much.

    Raises:
        MatteboxError: UNREADABLE_IMAGE where it is closed or fails.
    """
    stream: TextIO | None = sys.stdin  # None where it was closed when the process began
    try:
        if stream is not None:
            return stream.buffer.read(max_bytes + 1)
    except OSError as error:
        raise MatteboxError(Kind.UNREADABLE_IMAGE, f"The standard input cannot be read: {reason(error)}.") from error
    raise MatteboxError(Kind.UNREADABLE_IMAGE, "The standard input is closed.")


class _Output(io.FileIO):
    """The descriptor of a standard stream. After it has failed, what still comes is dropped.

    Args:
        descriptor: 1, whose failure is a MatteboxError, or 2, whose failure cannot be told to anybody.
        closed: the process began without it.
    """

    def __init__(self, descriptor: int, *, closed: bool) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._failure = "is closed" if closed else ""
        self._told = descriptor != 1

    def write(self, data: ReadableBuffer, /) -> int:
        """Write as much as the system takes."""
        cause: OSError | None = None
        if not self._failure:
            try:
                return super().write(data)
            except OSError as error:
                cause = error
                self._failure = f"cannot be written: {reason(error)}"
        if not self._told:
            self._told = True
            raise MatteboxError(Kind.CONFLICT, f"The standard output {self._failure}.") from cause
        return memoryview(data).nbytes


def _usable(stream: TextIO | None, descriptor: int) -> TextIO:
    """A standard stream that escapes what it cannot encode, and whose failure is handled."""
    if isinstance(stream, io.TextIOWrapper) and stream.isatty():
        stream.reconfigure(errors="mattebox")  # Windows has a way of its own to write to a terminal
        return stream
    raw = _Output(descriptor, closed=stream is None)
    encoding = "utf-8" if stream is None else stream.encoding
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "mattebox", line_buffering=descriptor == 2)


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    """A byte of a file's name that is no text stays the byte that it is; other characters become `\\xe9`."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def say(sentence: str, *, style: str = "") -> None:
    """One line for a person. Colour only where a terminal shows it and NO_COLOR does not forbid it."""
    from rich.console import Console
    from rich.text import Text

    # A console takes the standard error of the moment, which a running bar replaces by one that writes above it.
    Console(stderr=True, soft_wrap=True).print(Text(sentence, style=style))


def print_json(rows: Iterable[DataclassInstance]) -> None:
    """One JSON object a row on the standard output, a line each."""
    for row in rows:
        print(json.dumps(dataclasses.asdict(row)))


def print_tables(*parts: Table | str) -> None:
    """Tables and sentences on the standard output, apart by empty lines. The words in them are nobody's markup."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 200  # a file or a pipe has no width: keep a row on one line
    for number, part in enumerate(parts):
        if number:
            console.print()
        console.print(part)


class Bar:
    """How far a run of photos is, and downloads below it. Without a terminal only the names of downloads are said.

    Args:
        photos: how many there are; one alone needs no bar.
        hidden: show nothing, because the standard output uses the same terminal.
    """

    def __init__(self, photos: int = 0, *, hidden: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._shown = console.is_terminal and not hidden
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,  # results may go there
            disable=not self._shown,
        )
        self._total = photos
        self._done = 0
        self._photos = self._progress.add_task("photos", total=photos, amount=f"0/{photos}") if photos > 1 else None
        self._download: TaskID | None = None
        self._downloading = ""
        self._lock = threading.Lock()
        self._begin = time.perf_counter()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def seconds(self) -> float:
        """Since the bar was made."""
        return time.perf_counter() - self._begin

    def step(self, photos: int = 1) -> None:
        """So many photos more are dealt with."""
        self._done += photos
        if self._photos is not None:
            rate = self._done / self.seconds
            self._progress.update(
                self._photos, advance=photos, amount=f"{self._done}/{self._total}  {rate:.1f} photos/s"
            )

    def fetching_until(self, stop: threading.Event) -> Callable[[str, int, int | None], None]:
        """`fetching`, which ends the download once `stop` is set: it has no other checkpoint."""

        def fetching(what: str, done: int, total: int | None) -> None:
            if stop.is_set():
                raise MatteboxError(Kind.CANCELLED, "Stopped.")
            self.fetching(what, done, total)

        return fetching

    def fetching(self, what: str, done: int, total: int | None) -> None:
        """A download goes on: what it is, bytes done, bytes in all where that is known. From any thread."""
        amount = f"{done / 1e6:.0f} MB" if total is None else f"{done / 1e6:.0f}/{total / 1e6:.0f} MB"
        with self._lock:
            if what != self._downloading:
                self._downloading = what
                if self._download is not None:
                    self._progress.remove_task(self._download)
                self._download = self._progress.add_task(what, total=total, amount=amount)
                if not self._shown:
                    say(what)
            if self._download is not None:
                self._progress.update(self._download, completed=done, total=total, amount=amount)
                if total is not None and done >= total:
                    self._progress.remove_task(self._download)
                    self._download = None

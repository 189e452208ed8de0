"""Output for a person at the terminal: sentences and a progress bar, all on the standard error."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import TaskID


def say(sentence: str, *, style: str = "") -> None:
    """One line for a person. Colour only where a terminal shows it and NO_COLOR does not forbid it."""
    from rich.console import Console
    from rich.text import Text

    # A console takes the standard error of the moment, which a running bar replaces by one that writes above it.
    Console(stderr=True, soft_wrap=True).print(Text(sentence, style=style))


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

    def step(self) -> None:
        """One photo more is dealt with."""
        self._done += 1
        if self._photos is not None:
            rate = self._done / self.seconds
            self._progress.update(self._photos, advance=1, amount=f"{self._done}/{self._total}  {rate:.1f} photos/s")

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

"""Files on a disk: checksums, one process at a time, a folder to work in, tidying up."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

_log = logging.getLogger(__name__)

_LOOK_AGAIN_SECONDS = 0.5


def sha256(file: Path) -> str:
    """The checksum of a file's bytes, in hexadecimal (0.13 s for 176 MB)."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def only_one(lock: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock that the system releases when this process ends, however it ends.

    Args:
        lock: its file; made where there is none and left there.
        waiting: called twice a second while somebody else holds it; what it raises ends the waiting.

    Raises:
        OSError: the file cannot be written or locked.
    """
    with lock.open("a+b") as file:
        while not _locked(file.fileno()):
            waiting()
            time.sleep(_LOOK_AGAIN_SECONDS)
        try:
            yield
        finally:
            _unlock(file.fileno())


def _locked(descriptor: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # the first byte: nothing is ever written to the file
        except PermissionError:
            return False
    else:
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _unlock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def workshop(folder: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards. What a killed process left in it is removed first.

    Only for one at a time: its name is not made up, so that a killed process can be tidied up after.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def remove_older(entries: Iterable[Path], *, seconds: float) -> None:
    """Remove files and folders that have not changed for so long. What cannot be removed is left, and logged."""
    before = time.time() - seconds
    for entry in entries:
        try:
            if entry.stat().st_mtime > before:
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        except FileNotFoundError:  # another process tidies up too
            continue
        except OSError as error:
            _log.warning("cannot remove a file that is no longer needed: %s", error)

"""Reading photos from disk and writing results to it: whole, or not at all."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from contextlib import suppress
from pathlib import Path

from mattebox.errors import Kind, MatteboxError

# These flags are 0 where a system does not have them.
_BINARY = getattr(os, "O_BINARY", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
_READ = os.O_RDONLY | _BINARY | getattr(os, "O_NONBLOCK", 0)  # opening a pipe must not wait for somebody to write


def shown(path: str | os.PathLike[str] | None) -> str:
    """A file's name for people: nothing in it moves a terminal's cursor or breaks the line. None is a stream, `-`."""
    text = "-" if path is None else os.fspath(path)
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def reason(error: OSError) -> str:
    """The system's own words for a failure."""
    return error.strerror or str(error) or type(error).__name__


def read(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """The bytes of a file, never more than `max_bytes`.

    A pipe is read if somebody writes to it, as in `<(command)` of a shell. Sockets and devices are refused.

    Raises:
        MatteboxError: NOT_FOUND, UNREADABLE_IMAGE (a folder, no permission, no file) or TOO_MANY_BYTES.
    """
    name = shown(Path(path).name or path)
    try:
        handle = os.open(path, _READ)
        try:
            state = os.fstat(handle)
            if stat.S_ISFIFO(state.st_mode) and sys.platform != "win32":
                os.set_blocking(handle, True)  # reading ends at once where nobody writes
            elif not stat.S_ISREG(state.st_mode):
                what = "a folder" if stat.S_ISDIR(state.st_mode) else "a device"
                raise _unreadable(f"{name} is {what}, not a file.")
            with open(handle, "rb", closefd=False) as file:
                data = b"" if state.st_size > max_bytes else file.read(max_bytes + 1)
        finally:
            os.close(handle)
    except (FileNotFoundError, ValueError) as cause:  # no file can have a null character in its name
        raise MatteboxError(Kind.NOT_FOUND, f"File not found: {name}.", parameter="photo") from cause
    except OSError as cause:
        raise _unreadable(f"{name} cannot be read: {reason(cause)}.") from cause
    if max(state.st_size, len(data)) > max_bytes:
        raise too_large(max_bytes)
    return data


def too_large(max_bytes: int) -> MatteboxError:
    """The failure of a photo's file with more bytes than that."""
    return MatteboxError(
        Kind.TOO_MANY_BYTES, f"The file is larger than the limit of {max_bytes / 2**20:g} MiB.", parameter="photo"
    )


def _unreadable(sentence: str) -> MatteboxError:
    return MatteboxError(Kind.UNREADABLE_IMAGE, sentence, parameter="photo")


def write(path: str | os.PathLike[str], data: bytes, *, overwrite: bool = True, private: bool = False) -> None:
    """Write a file that appears whole or not at all: beside its place first, then renamed.

    Args:
        path: where it goes.
        data: what is in it.
        overwrite: replace a file that is there. What is no file, such as a device, is never replaced.
        private: only its owner may ever read it.

    Raises:
        MatteboxError: CONFLICT when the file exists and may not be overwritten, or when it cannot be written.
    """
    target = Path(path)
    name = shown(target.name)
    # Of the same length whatever the target is called: the longest names that a disk takes leave no room for more.
    beside = target.parent / f".mattebox-{secrets.token_hex(8)}.part"
    try:
        if not _is_replaceable(target):
            raise MatteboxError(Kind.CONFLICT, f"{name} is a folder, pipe or device, not a file.")
        with os.fdopen(os.open(beside, _NEW, 0o600 if private else 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            beside.replace(target)
        else:
            _claim(beside, target)
    except FileExistsError as cause:
        raise MatteboxError(Kind.CONFLICT, f"{name} already exists.") from cause
    except OSError as cause:
        raise MatteboxError(Kind.CONFLICT, f"{name} cannot be written: {reason(cause)}.") from cause
    except ValueError as cause:  # a null character, or one that this disk's names cannot have
        raise MatteboxError(Kind.CONFLICT, f"{name} cannot be the name of a file.") from cause
    finally:
        with suppress(OSError, ValueError):  # nothing is there after a rename; and the reason above is what counts
            beside.unlink()


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk. Windows opens no folders and keeps their names.

    Raises:
        OSError: there is nothing of this name, or the disk fails.
    """
    if sys.platform == "win32":
        if path.is_dir():
            return
        flags = os.O_RDWR | _BINARY  # what is opened for reading cannot be flushed there
    else:
        flags = os.O_RDONLY
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_replaceable(target: Path) -> bool:
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return True
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _claim(beside: Path, target: Path) -> None:
    """Give a finished file its name; FileExistsError where the name is taken."""
    try:
        os.link(beside, target)  # unlike a rename, it fails where the name is taken
    except FileExistsError:
        raise
    except OSError:
        # A disk without hard links (FAT, some network shares): take the name with an empty file, then replace that.
        target.touch(exist_ok=False)
        try:
            beside.replace(target)
        except OSError:
            target.unlink()
            raise

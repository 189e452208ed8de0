"""Reading photos from disk and writing results to it: whole, or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from mattebox.errors import Kind, MatteboxError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def read(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """The bytes of a file, whose size is checked first.

    Raises:
        MatteboxError: NOT_FOUND, UNREADABLE_IMAGE (a folder, no permission) or TOO_MANY_BYTES.
    """
    file = Path(path)
    try:
        if file.stat().st_size > max_bytes:
            raise MatteboxError(
                Kind.TOO_MANY_BYTES,
                f"The file is larger than the limit of {max_bytes / 2**20:g} MiB.",
                parameter="photo",
            )
        return file.read_bytes()
    except (FileNotFoundError, ValueError) as cause:  # no file can have a null character in its name
        raise MatteboxError(Kind.NOT_FOUND, f"File not found: {file.name}.", parameter="photo") from cause
    except OSError as cause:
        raise MatteboxError(
            Kind.UNREADABLE_IMAGE, f"{file.name} cannot be read: {cause.strerror}.", parameter="photo"
        ) from cause


def write(path: str | os.PathLike[str], data: bytes, *, overwrite: bool = True, private: bool = False) -> None:
    """Write a file that appears whole or not at all: beside its place first, then renamed.

    Args:
        path: where it goes.
        data: what is in it.
        overwrite: replace a file that is there.
        private: only its owner may ever read it.

    Raises:
        MatteboxError: CONFLICT when the file exists and may not be overwritten, or when it cannot be written.
    """
    target = Path(path)
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(beside, _NEW, 0o600 if private else 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            beside.replace(target)
        else:
            _claim(beside, target)
    except FileExistsError as cause:
        raise MatteboxError(Kind.CONFLICT, f"{target.name} already exists.") from cause
    except OSError as cause:
        raise MatteboxError(Kind.CONFLICT, f"{target.name} cannot be written: {cause.strerror}.") from cause
    finally:
        beside.unlink(missing_ok=True)


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

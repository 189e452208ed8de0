"""The pictures that a server keeps in its storage, and the names that they are kept under.

A finished picture and a source that waits for its turn are kept under a name that says when they expire and cannot be
guessed. So knowing the name is the permission to read, no table goes with the blobs, and every server that shares a
store can hand out and clear away what another one put there.
"""

from __future__ import annotations

import math
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import final

from mattebox import codec
from mattebox.errors import Kind, MatteboxError
from mattebox.object_store import ObjectStore, explained

DAY = 86_400
SOURCE_SECONDS = DAY
"""How long a source is kept for a task that never came to fetch it."""
LONGEST_SIGNATURE = 7 * DAY
"""Seconds for which a store signs an address at most; S3 refuses more."""
SWEPT_AT_ONCE = 10_000
"""The most blobs that one sweep deletes, so that it ends; the next goes on."""
LONGEST_KEY = 240

_EXPIRING = ("results", "sources", "checks")
_EXPIRING_NAME = re.compile(rf"(?:{'|'.join(_EXPIRING)})/([0-9]{{10}})-[A-Za-z0-9_-]{{43}}(?:\.[a-z0-9]{{1,8}})?")
_DATE_DIGITS = 7
"""Those of an expiry that name the folder it is in: 1,000 seconds each."""
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


def new_result_name(extension: str, *, keep: float, now: float) -> str:
    """A key for a finished picture that nobody can guess.

    Args:
        extension: the ending of its file name, such as `.png`; the dot may be left out.
        keep: seconds until it expires.
        now: the time, in seconds since 1970.

    Raises:
        MatteboxError: INVALID_PARAMETER for an ending that is not of one to eight lower-case letters and digits.
    """
    return _new_name("results", now + keep, "." + extension.removeprefix("."))


def new_source_name(*, now: float) -> str:
    """A key for a picture that waits to be worked on. It expires after a day; `now` is in seconds since 1970."""
    return _new_name("sources", now + SOURCE_SECONDS, "")


def expiry_of(name: str) -> int | None:
    """When what is kept under `name` expires, in seconds since 1970; None where the name does not say."""
    found = _EXPIRING_NAME.fullmatch(name)
    return int(found[1]) if found else None


def media_type_of(name: str) -> str:
    """The media type of a result, as in `image/png`, by the ending of its name."""
    form = codec.format_named(name.rpartition(".")[2])
    return "application/octet-stream" if form is None else codec.media_type(form)


@final
class Blobs:
    """The blobs at one address. All methods block, and may be called from several threads.

    A key is made of letters, digits and `. _ - /`, as in `results/cat.png`. Every method raises INVALID_PARAMETER for
    a key that is not, NOT_FOUND where it reads what is not there, and UNAVAILABLE where the store cannot be reached or
    refuses the server.

    Args:
        url: as in `ObjectStore`; a folder is made where it is missing.

    Raises:
        MatteboxError: INVALID_PARAMETER where `url` is malformed, UNAVAILABLE where the folder cannot be made.
    """

    def __init__(self, url: str) -> None:
        # In three minutes, the library's own patience, a request would have long given up.
        self._store = ObjectStore(url, patience=10)
        self._folder = self._store.folder
        if self._folder:
            with explained():
                _sort_by_expiry(self._folder)

    def put(self, key: str, data: bytes, *, media_type: str) -> None:
        """Keep `data` under `key`, in place of what was there. It appears whole or not at all, and survives a crash."""
        self._store.put(self._path(key), data, media_type=media_type)

    def get(self, key: str) -> bytes:
        """The bytes under `key`."""
        return self._store.get(self._path(key))

    def size(self, key: str) -> int:
        """The number of bytes kept under `key`."""
        return self._store.size(self._path(key))

    def part(self, key: str, start: int, end: int) -> bytes:
        """The bytes from `start` up to and without `end`; fewer where the blob ends before.

        Raises:
            MatteboxError: INVALID_PARAMETER where no byte lies there.
        """
        return self._store.part(self._path(key), start, end)

    def delete(self, key: str) -> None:
        """Forget what is kept under `key`, if anything is."""
        self._store.delete([self._path(key)])
        if self._folder:
            with explained():
                _delete_unfinished(self._folder / self._path(key))

    def names(self, prefix: str = "") -> Iterator[str]:
        """The keys under the folder `prefix`, or all, in no order. Files that others put there are left out."""
        if prefix:
            _check_key(prefix)
        return (_key_at(path) for path in self._store.list_keys(prefix) if _is_key(path))

    def check(self) -> None:
        """Write something, read it back and delete it.

        Raises:
            MatteboxError: UNAVAILABLE where that does not work.
        """
        # Expiring, as everything that a crash may leave behind.
        name, data = _new_name("checks", time.time() + DAY, ""), secrets.token_bytes(16)
        self.put(name, data, media_type="application/octet-stream")
        try:
            found = self.get(name)
        except MatteboxError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            found = b""
        if found != data:
            raise MatteboxError(Kind.UNAVAILABLE, "The storage does not give back what was put there.")
        self.delete(name)

    def result_address(self, name: str, *, seconds: float) -> str | None:
        """An address of the store itself at which anyone may GET `name` for a while; None where it gives none out.

        Folders and memory never do, and no store does for less than a second or more than a week. S3 signs for one
        method: a HEAD there is refused. Credentials that the store itself lends end such an address with their own end.

        Args:
            name: a key.
            seconds: for how long, rounded down to whole seconds.

        Raises:
            MatteboxError: UNAVAILABLE where the store could sign, but not with the credentials that it was given.
        """
        _check_key(name)
        return self._store.sign(name, seconds=int(seconds)) if 1 <= seconds <= LONGEST_SIGNATURE else None

    def sweep(self, now: float) -> int:
        """Delete results and sources that have expired. Any number of servers may do it at the same time.

        Args:
            now: the time, in seconds since 1970.

        Returns:
            How many were deleted, at most `SWEPT_AT_ONCE`. As many as that means that there are probably more.
        """
        if self._folder:
            with explained():
                return sum(1 for _ in islice(_sweep_folder(self._folder, now), SWEPT_AT_ONCE))
        # Listed to the end before anything is deleted: a page of a listing counts from what was on the page before.
        expired = list(islice((name for folder in _EXPIRING for name in self._expired(folder, now)), SWEPT_AT_ONCE))
        if expired:
            self._store.delete(expired)
        return len(expired)

    def _expired(self, folder: str, now: float) -> Iterator[str]:
        for name in self.names(folder):
            expiry = expiry_of(name)
            if expiry is None:
                continue
            if expiry > now:
                return  # these stores list by name, and so by expiry
            yield name

    def _path(self, key: str) -> str:
        """The path of a blob in the store."""
        _check_key(key)
        return _dated(key) if self._folder else key


def _new_name(folder: str, expiry: float, ending: str) -> str:
    # 256 random bits. The expiry goes first and has ten digits until the year 2286: names sort by it.
    name = f"{folder}/{math.ceil(expiry):010d}-{secrets.token_urlsafe(32)}{ending}"
    if expiry_of(name) is None:
        raise MatteboxError(Kind.INVALID_PARAMETER, "This is no ending of a file's name, or no time to keep a file.")
    return name


def _check_key(key: str) -> None:
    if not _is_key(key):
        raise MatteboxError(Kind.INVALID_PARAMETER, "This is not a name that something could be kept under.")


def _is_key(key: str) -> bool:
    return len(key) <= LONGEST_KEY and all(
        _SEGMENT.fullmatch(segment) and segment not in {".", ".."} for segment in key.split("/")
    )


# --- folders -----------------------------------------------------------------------------------------------------


def _dated(key: str) -> str:
    """`results/1800000/1800000000-….png` for `results/1800000000-….png`; other keys as they are.

    A folder is in no order. So what expires lies in folders by the time of its expiry, a sweep reads only those whose
    time has come, and the others cost nothing however much is in them.
    """
    if expiry_of(key) is None:
        return key
    folder, _, name = key.partition("/")
    return f"{folder}/{name[:_DATE_DIGITS]}/{name}"


def _key_at(path: str) -> str:
    """The key of the blob at `path`, which is the other way round."""
    folder, _, rest = path.partition("/")
    key = f"{folder}/{rest.rpartition('/')[2]}"
    return key if _dated(key) == path else path


def _sort_by_expiry(folder: Path) -> None:
    """Move what an older mattebox left in the folders themselves to where `_dated` says."""
    for expiring in _EXPIRING:
        for name in _listed(folder / expiring):
            key = f"{expiring}/{name}"
            if expiry_of(key) is not None:
                target = folder / _dated(key)
                target.parent.mkdir(exist_ok=True)
                with suppress(FileNotFoundError):  # another process is doing the same
                    (folder / key).rename(target)


def _sweep_folder(folder: Path, now: float) -> Iterator[str]:
    """Delete what has expired; yields the name of each."""
    for expiring in _EXPIRING:
        for name in _listed(folder / expiring):
            inside = folder / expiring / name
            if re.fullmatch(rf"[0-9]{{{_DATE_DIGITS}}}", name):
                if int(name.ljust(10, "0")) <= now:
                    yield from (each for each in _listed(inside) if _is_swept(inside / each, expiring, now))
                if int(name.ljust(10, "9")) < now:
                    with suppress(OSError):  # not empty, or gone
                        inside.rmdir()
            elif _is_swept(inside, expiring, now):
                yield name


def _is_swept(path: Path, expiring: str, now: float) -> bool:
    """Delete a file that has expired; whether it was one, and this was the first to delete it."""
    # A file is written as `name#1` and then renamed; a process that is killed in between leaves it.
    name, unfinished, _ = path.name.partition("#")
    expiry = expiry_of(f"{expiring}/{name}")
    with suppress(FileNotFoundError):
        if expiry is None and unfinished:
            expiry = math.ceil(path.stat().st_mtime) + DAY
        if expiry is not None and expiry <= now:
            path.unlink()
            return not unfinished
    return False


def _delete_unfinished(path: Path) -> None:
    """Delete what killed writers of a blob have left beside it."""
    with suppress(FileNotFoundError):
        for number in count(1):
            path.with_name(f"{path.name}#{number}").unlink()


def _listed(folder: Path) -> list[str]:
    """The names in a folder, in order; none where it is gone."""
    with suppress(FileNotFoundError):
        return sorted(path.name for path in folder.iterdir())
    return []

"""Bytes kept under a name: in a folder, in memory, or in an object store, whichever an address says.

The only user of obstore. What the stores do differently (a folder keeps no media types, signs nothing and lists in no
order) ends here.

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
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, final
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

from mattebox import codec, files
from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    from obstore.store import LocalStore, ObjectStore, RetryConfig

DAY = 86_400
SOURCE_SECONDS = DAY
"""How long a source is kept for a task that never came to fetch it."""
LONGEST_SIGNATURE = 7 * DAY
"""Seconds for which a store signs an address at most; S3 refuses more."""
SWEPT_AT_ONCE = 10_000
"""The most blobs that one sweep deletes, so that it ends; the next goes on."""
LONGEST_KEY = 240

_CLOUDS = ("s3", "gs", "az")
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
    a key that is not, and UNAVAILABLE where the store cannot be reached or refuses the server.

    Args:
        url: `file:///folder` (made where it is missing), `memory:///`, `s3://bucket/prefix`, `gs://bucket/prefix` or
            `az://container/prefix`. Keys, region and endpoint of a cloud come from its usual environment variables
            (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`, `GOOGLE_APPLICATION_CREDENTIALS`,
            `AZURE_STORAGE_ACCOUNT_NAME`, …).

    Raises:
        MatteboxError: INVALID_PARAMETER where `url` is malformed, UNAVAILABLE where the folder cannot be made.
    """

    def __init__(self, url: str) -> None:
        self._folder, self._store = _open(url)
        if self._folder:
            with _explained():
                _sort_by_expiry(self._folder)

    def put(self, key: str, data: bytes, *, media_type: str) -> None:
        """Keep `data` under `key`, in place of what was there. It appears whole or not at all, and survives a crash.

        Raises:
            MatteboxError: UNAVAILABLE.
        """
        _check_key(key)
        attributes = None if self._folder else {"Content-Type": media_type}
        with _explained():
            # One request even for the largest picture: the parts of a broken upload in parts would stay for ever.
            self._store.put(self._path(key), data, attributes=attributes, use_multipart=False)
            if self._folder:
                _sync(self._folder, self._path(key))

    def get(self, key: str) -> bytes:
        """The bytes under `key`.

        Raises:
            MatteboxError: NOT_FOUND or UNAVAILABLE.
        """
        _check_key(key)
        with _explained(), _finding():
            return bytes(self._store.get(self._path(key)).bytes())

    def size(self, key: str) -> int:
        """The number of bytes kept under `key`.

        Raises:
            MatteboxError: NOT_FOUND or UNAVAILABLE.
        """
        _check_key(key)
        with _explained(), _finding():
            return self._store.head(self._path(key))["size"]

    def part(self, key: str, start: int, end: int) -> bytes:
        """The bytes from `start` up to and without `end`; fewer where the blob ends before.

        Raises:
            MatteboxError: INVALID_PARAMETER where no byte lies there, NOT_FOUND or UNAVAILABLE.
        """
        from obstore.exceptions import BaseError

        _check_key(key)
        if not 0 <= start < end:
            raise _no_such_part()
        with _explained(), _finding():
            try:
                return bytes(self._store.get_range(self._path(key), start=start, end=end))
            except BaseError:
                # No store says it in a way of its own when the part begins behind the end.
                if start >= self.size(key):
                    raise _no_such_part() from None
                raise

    def delete(self, key: str) -> None:
        """Forget what is kept under `key`, if anything is.

        Raises:
            MatteboxError: UNAVAILABLE.
        """
        _check_key(key)
        self._delete([key])
        if self._folder:
            with _explained():
                _delete_unfinished(self._folder / self._path(key))

    def names(self, prefix: str = "") -> Iterator[str]:
        """The keys under the folder `prefix`, or all, in no order. Files that others put there are left out.

        Raises:
            MatteboxError: UNAVAILABLE.
        """
        if prefix:
            _check_key(prefix)
        with _explained():
            for page in self._store.list(prefix or None, chunk_size=1000):
                yield from (_key_at(each["path"]) for each in page if _is_key(each["path"]))

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
        from obstore import sign
        from obstore.store import AzureStore, GCSStore, S3Store

        _check_key(name)
        if not isinstance(self._store, S3Store | GCSStore | AzureStore) or not 1 <= seconds <= LONGEST_SIGNATURE:
            return None
        with _explained():
            return sign(self._store, "GET", name, timedelta(seconds=int(seconds)))

    def sweep(self, now: float) -> int:
        """Delete results and sources that have expired. Any number of servers may do it at the same time.

        Args:
            now: the time, in seconds since 1970.

        Returns:
            How many were deleted, at most `SWEPT_AT_ONCE`. As many as that means that there are probably more.

        Raises:
            MatteboxError: UNAVAILABLE.
        """
        if self._folder:
            with _explained():
                return sum(1 for _ in islice(_sweep_folder(self._folder, now), SWEPT_AT_ONCE))
        # Listed to the end before anything is deleted: a page of a listing counts from what was on the page before.
        expired = list(islice((name for folder in _EXPIRING for name in self._expired(folder, now)), SWEPT_AT_ONCE))
        if expired:
            self._delete(expired)
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
        return _dated(key) if self._folder else key

    def _delete(self, keys: list[str]) -> None:
        paths = [self._path(key) for key in keys]
        with _explained():
            try:
                self._store.delete(paths)
            except FileNotFoundError:
                # Somebody else was first with one of them, and it stopped there.
                for path in paths:
                    with suppress(FileNotFoundError):
                        self._store.delete(path)


def _open(url: str) -> tuple[Path | None, ObjectStore]:
    """The folder, where it is one, and the store at an address."""
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

    parts = _split(url)
    if parts.scheme == "file":
        folder = Path(url2pathname(parts.path))
        return folder, _folder_store(folder)
    if parts.scheme == "memory":
        return None, MemoryStore()
    stores: dict[str, type[S3Store | GCSStore | AzureStore]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
    try:
        return None, stores[parts.scheme].from_url(url, retry_config=_retries())
    except (BaseError, ValueError) as error:
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            "The storage's address, or what its environment variables say, is not what this kind of store needs.",
        ) from error


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _wrong_address() from error
    if parts.scheme == "file":
        right = parts.netloc in {"", "localhost"} and parts.path.strip("/") != ""
    elif parts.scheme == "memory":
        right = parts.netloc + parts.path.strip("/") == ""
    else:
        right = parts.scheme in _CLOUDS and parts.netloc != "" and "@" not in parts.netloc
    if not right or parts.query or parts.fragment:
        raise _wrong_address()
    return parts


def _folder_store(folder: Path) -> LocalStore:
    from obstore.store import LocalStore

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # People's pictures: nobody else on this machine needs to see them.
        folder.mkdir(mode=0o700, exist_ok=True)
        return LocalStore(folder)
    except (OSError, ValueError) as error:
        raise MatteboxError(Kind.UNAVAILABLE, "The storage's folder cannot be made.") from error


def _retries() -> RetryConfig:
    # The library's own patience is three minutes, in which a request would have long given up.
    return {"max_retries": 3, "retry_timeout": timedelta(seconds=10)}


def _wrong_address() -> MatteboxError:
    # It may hold a password, so it is not repeated.
    return MatteboxError(
        Kind.INVALID_PARAMETER,
        "The storage's address must be like file:///folder, memory:///, s3://bucket/prefix, gs://bucket/prefix or "
        "az://container/prefix.",
    )


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


def _no_such_part() -> MatteboxError:
    return MatteboxError(Kind.INVALID_PARAMETER, "There are no bytes in this range.")


@contextmanager
def _explained() -> Iterator[None]:
    """Whatever a store fails with, said in our words."""
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise MatteboxError(Kind.UNAVAILABLE, "The storage refuses the credentials that it was given.") from error
    except (BaseError, OSError) as error:
        raise MatteboxError(Kind.UNAVAILABLE, "The storage cannot be reached.", retry_after=2) from error


@contextmanager
def _finding() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise MatteboxError(Kind.NOT_FOUND, "There is nothing under this name.") from error


def _sync(folder: Path, key: str) -> None:
    """Wait until a file and the names that lead to it are on the disk: a task that has stored its result is done."""
    path = folder / key
    for each in (path, *(parent for parent in path.parents if parent.is_relative_to(folder))):
        # Another put or delete may have been at the same key meanwhile; then there is nothing of ours to wait for.
        with suppress(FileNotFoundError):
            files.sync(each)


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

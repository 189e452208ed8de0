"""Bytes under a key, at an address: in a folder, in memory, or in an object store of a cloud.

The only user of obstore. What the stores do differently (a folder keeps no media types and signs nothing) ends here.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, final
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

from mattebox import extras, files
from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    from obstore import store as obstore_store

LONGEST_KEY = 1024
"""Bytes; no cloud's key can have more."""

_CLOUDS = ("s3", "gs", "az")
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")
_NOT_IN_KEYS = re.compile("[\x00-\x1f\x7f\ud800-\udfff]|#[0-9]+$")  # `#1` ends the name of an unfinished file


@final
class ObjectStore:
    """The bytes at one address. All methods block, and may be called from several threads.

    A key is a path with `/` between its parts, none of which is empty, `.` or `..`. Every method raises
    INVALID_PARAMETER for a key that is not, NOT_FOUND where it reads what is not there, and UNAVAILABLE where the store
    cannot be reached or refuses the credentials.

    Args:
        url: `file:///folder`, `memory:///`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
            Keys, region and endpoint of a cloud come from its usual environment variables (`AWS_ACCESS_KEY_ID`,
            `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME`, …).
        patience: for how many seconds a request to a cloud that fails is sent again, with growing pauses.
        make: make the folder where it is missing.

    Raises:
        MatteboxError: INVALID_PARAMETER where `url` is malformed, NOT_FOUND where the folder is missing, UNAVAILABLE
            where it cannot be made or the package for it is missing.
    """

    def __init__(self, url: str, *, patience: float, make: bool = True) -> None:
        with extras.needs("bulk", "Storage at an address"):
            import obstore  # noqa: F401
        self.folder, self._store = _open(url, patience=patience, make=make)

    def put(self, key: str, data: bytes, *, media_type: str) -> None:
        """Keep `data` under `key`, in place of what was there. It appears whole or not at all, and survives a crash."""
        check_key(key)
        with explained():
            # One request even for the largest picture: the parts of a broken upload in parts would stay for ever.
            self._store.put(key, data, attributes=self._attributes(media_type), use_multipart=False)
            if self.folder:
                _sync(self.folder, key)

    def put_new(self, key: str, data: bytes, *, media_type: str) -> bool:
        """Keep `data` under `key` unless something is there already; whether it was kept."""
        from obstore.exceptions import AlreadyExistsError

        check_key(key)
        if self.folder:
            return _write_new(self.folder / key, data)
        with explained():
            try:
                attributes = self._attributes(media_type)
                self._store.put(key, data, attributes=attributes, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            return True

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """The bytes under `key`.

        Raises:
            MatteboxError: TOO_MANY_BYTES above `max_bytes`, of which none are read.
        """
        check_key(key)
        with explained(), _finding():
            found = self._store.get(key)
            if max_bytes is not None and found.meta["size"] > max_bytes:
                raise files.too_large(max_bytes)
            return bytes(found.bytes())

    def size(self, key: str) -> int:
        """The number of bytes kept under `key`."""
        check_key(key)
        with explained(), _finding():
            return self._store.head(key)["size"]

    def part(self, key: str, start: int, end: int) -> bytes:
        """The bytes from `start` up to and without `end`; fewer where the object ends before.

        Raises:
            MatteboxError: INVALID_PARAMETER where no byte lies there.
        """
        from obstore.exceptions import BaseError

        check_key(key)
        if not 0 <= start < end:
            raise _no_such_part()
        with explained(), _finding():
            try:
                return bytes(self._store.get_range(key, start=start, end=end))
            except BaseError:
                # No store says it in a way of its own when the part begins behind the end.
                if start >= self.size(key):
                    raise _no_such_part() from None
                raise

    def delete(self, keys: Sequence[str]) -> None:
        """Delete what is kept under the keys, if anything is."""
        for key in keys:
            check_key(key)
        with explained():
            try:
                self._store.delete(keys)
            except FileNotFoundError:
                # Somebody else was first with one of them, and it stopped there.
                for key in keys:
                    with suppress(FileNotFoundError):
                        self._store.delete(key)

    def list_keys(self, prefix: str = "") -> Iterator[str]:
        """The keys under the folder `prefix`, or all. Clouds give them in order, folders and memory do not.

        Raises:
            MatteboxError: NOT_FOUND where the bucket does not exist, UNAVAILABLE.
        """
        if prefix:
            check_key(prefix)
        with explained(), _finding():
            for page in self._store.list(prefix or None, chunk_size=1000):
                yield from (each["path"] for each in page)

    def sign(self, key: str, *, seconds: int) -> str | None:
        """An address of a cloud itself at which anyone may GET `key` for so long; None for folders and memory.

        Raises:
            MatteboxError: UNAVAILABLE where the credentials do not sign.
        """
        from obstore import sign
        from obstore.store import AzureStore, GCSStore, S3Store

        check_key(key)
        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            return None
        with explained():
            return sign(self._store, "GET", key, timedelta(seconds=seconds))

    def _attributes(self, media_type: str) -> dict[str, str] | None:
        return None if self.folder else {"Content-Type": media_type}


def check_key(key: str) -> None:
    """Refuse what no store keeps anything under.

    Raises:
        MatteboxError: INVALID_PARAMETER.
    """
    parts = key.split("/")
    if {"", ".", ".."}.intersection(parts) or _NOT_IN_KEYS.search(key) or len(key.encode()) > LONGEST_KEY:
        raise MatteboxError(Kind.INVALID_PARAMETER, "This cannot be the name of an object in a storage.")


def _open(url: str, *, patience: float, make: bool) -> tuple[Path | None, obstore_store.ObjectStore]:
    """The folder, where it is one, and the store at an address."""
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

    parts = _split(url)
    if parts.scheme == "file":
        folder = Path(url2pathname(parts.path))
        return folder, _folder_store(folder, make=make)
    if parts.scheme == "memory":
        return None, MemoryStore()
    stores: dict[str, type[S3Store | GCSStore | AzureStore]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
    # The pauses double, so this many attempts last longer than the patience does.
    attempts = max(3, round(patience / 5))
    try:
        return None, stores[parts.scheme].from_url(
            url, retry_config={"max_retries": attempts, "retry_timeout": timedelta(seconds=patience)}
        )
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


def _wrong_address() -> MatteboxError:
    # It may hold a password, so it is not repeated.
    return MatteboxError(
        Kind.INVALID_PARAMETER,
        "The storage's address must be like file:///folder, memory:///, s3://bucket/prefix, gs://bucket/prefix or "
        "az://container/prefix.",
    )


def _folder_store(folder: Path, *, make: bool) -> obstore_store.LocalStore:
    from obstore.store import LocalStore

    if not make and not folder.is_dir():
        raise MatteboxError(Kind.NOT_FOUND, f"Folder not found: {folder}.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # People's pictures: nobody else on this machine needs to see them.
        folder.mkdir(mode=0o700, exist_ok=True)
        return LocalStore(folder)
    except (OSError, ValueError) as error:
        raise MatteboxError(Kind.UNAVAILABLE, "The storage's folder cannot be made.") from error


def _no_such_part() -> MatteboxError:
    return MatteboxError(Kind.INVALID_PARAMETER, "There are no bytes in this range.")


@contextmanager
def explained() -> Iterator[None]:
    """Turns whatever a store fails with into a MatteboxError: UNAVAILABLE, or INVALID_PARAMETER for too long a name."""
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise MatteboxError(Kind.UNAVAILABLE, "The storage refuses the credentials that it was given.") from error
    except (BaseError, OSError) as error:
        said = _SYSTEM_ERROR.search(str(error))
        number = int(said[1]) if said else getattr(error, "errno", None)
        raise _system_failure(number or 0) from error


def _system_failure(number: int) -> MatteboxError:
    if number in _FULL:
        return MatteboxError(Kind.UNAVAILABLE, "The storage is full.")
    if number == errno.ENAMETOOLONG:
        return MatteboxError(Kind.INVALID_PARAMETER, "The name is too long for this storage.")
    return MatteboxError(Kind.UNAVAILABLE, "The storage cannot be reached.", retry_after=2)


@contextmanager
def _finding() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise MatteboxError(Kind.NOT_FOUND, "There is nothing under this name.") from error


def _write_new(path: Path, data: bytes) -> bool:
    # The store's own way needs hard links, which some disks and network shares do not have.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, data, overwrite=False)
    except MatteboxError as error:
        match error.__cause__:
            case FileExistsError():
                return False
            case OSError(errno=int(number)):
                raise _system_failure(number) from error
        raise
    except OSError as error:
        raise _system_failure(error.errno or 0) from error
    return True


def _sync(folder: Path, key: str) -> None:
    """Wait until a file and the names that lead to it are on the disk: a task that has stored its result is done."""
    path = folder / key
    for each in (path, *(parent for parent in path.parents if parent.is_relative_to(folder))):
        # Another put or delete may have been at the same key meanwhile; then there is nothing of ours to wait for.
        with suppress(FileNotFoundError):
            files.sync(each)

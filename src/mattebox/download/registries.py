"""Package managers as a way to get files: pip, npm and apt fetch a package, and nothing of it is installed or run."""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import lzma
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_BLOCK = 1 << 20
_PACKAGE_SECONDS = 1800
_LOOK_AGAIN_SECONDS = 1.0
_END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """A file inside an npm package, `member` as written in the package's tarball."""

    name: str
    version: str
    member: str


@dataclass(frozen=True, slots=True)
class PyPIPackage:
    """A file inside a wheel, `member` as written in the wheel. Never a source package: those run code when fetched."""

    name: str
    version: str
    member: str


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """A file inside a Debian package, `member` as written in it ("./usr/share/...").

    Whichever version the machine's distribution has is taken: the checksum of the file decides whether it will do.
    """

    name: str
    member: str


class SourceError(Exception):
    """One source could not give the file; the next one is tried."""


def npm_pack(spec: str, aside: Path, tick: Callable[[], None]) -> Path:
    """Let npm fetch a package's tarball into the empty directory `aside`. Nothing of the package is run.

    `tick` is called about once a second; what it raises ends npm.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("npm is not installed")
    _run([npm, "pack", spec, "--ignore-scripts", "--fetch-retries=1", "--loglevel=error"], aside, tick)
    return _only_file(aside, "*.tgz")


def pip_download(spec: str, aside: Path, tick: Callable[[], None]) -> Path:
    """Let pip fetch a package's wheel into the empty directory `aside`.

    Only wheels: for a source package pip runs its set-up code to learn its metadata. Requirements on Python's version
    are ignored, because nothing is installed. `tick` is called about once a second; what it raises ends pip.
    """
    pip = shutil.which("pip") or shutil.which("pip3")
    module = importlib.util.find_spec("pip")
    if module is not None and module.origin is not None:  # some folder called pip has no origin
        command = [sys.executable, "-m", "pip"]
    elif pip is not None:
        command = [pip]
    else:
        raise SourceError("pip is not installed")
    options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-input", "--retries=1"]
    _run([*command, "download", *options, "--dest", str(aside), spec], aside, tick)
    return _only_file(aside, "*.whl")


def apt_download(name: str, aside: Path, tick: Callable[[], None]) -> Path:
    """Let apt fetch a Debian package into the empty directory `aside`, and return the archive of its files.

    `tick` is called about once a second; what it raises ends apt.
    """
    apt = shutil.which("apt-get")
    if apt is None:
        raise SourceError("apt-get is not installed")
    _run([apt, "download", name], aside, tick)
    files = aside / "data.tar"
    with _only_file(aside, "*.deb").open("rb") as package, files.open("wb") as unpacked:
        shutil.copyfileobj(_debian_files(package), unpacked, _BLOCK)
    return files


def _debian_files(package: IO[bytes]) -> lzma.LZMAFile | gzip.GzipFile:
    """The tar archive with a Debian package's files: the package is an `ar` archive that holds it compressed."""
    if package.read(8) != b"!<arch>\n":
        raise SourceError("the package is not a Debian package")
    while len(header := package.read(60)) == 60:
        name, size = header[:16].rstrip(b" /"), int(header[48:58])
        if name == b"data.tar.xz":
            return lzma.open(package)
        if name == b"data.tar.gz":
            return gzip.open(package)
        package.seek(size + size % 2, os.SEEK_CUR)
    raise SourceError("the package's files are compressed in a way that cannot be read here")


def _run(command: list[str], aside: Path, tick: Callable[[], None]) -> None:
    """Run a package manager to its end, or end it when `tick` raises or its time is over."""
    tool = Path(command[0]).name
    said = aside / "said"
    temporary = aside / "temporary"  # so that what an ended tool leaves there goes with `aside`
    temporary.mkdir()
    # They also keep copies and logs in the home folder, and look for newer versions of themselves.
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP", "npm_config_cache"), str(temporary))
    places |= {"npm_config_update_notifier": "false", "PIP_NO_CACHE_DIR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    deadline = time.monotonic() + _PACKAGE_SECONDS
    with said.open("wb") as errors:
        try:
            process = subprocess.Popen(  # noqa: S603 - fixed words and a specification from the catalogue, no shell
                command,
                cwd=aside,
                env=os.environ | places,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # a group of its own, to be ended as a whole
            )
        except OSError as error:
            raise SourceError(f"{tool} cannot be started: {error}") from error
        try:
            while process.poll() is None:
                tick()
                if time.monotonic() > deadline:
                    raise SourceError(f"{tool} took longer than {_PACKAGE_SECONDS} s")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_AGAIN_SECONDS)
        finally:
            if process.poll() is None:
                _end(process)
    if process.returncode:
        lines = said.read_text(errors="replace").strip().splitlines()
        raise SourceError(f"{tool} failed: {' '.join(lines[-3:])}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a tool and what it has started, at first politely."""
    if sys.platform == "win32":
        process.terminate()
        process.wait()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # what is left of the group, if anything
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _only_file(aside: Path, pattern: str) -> Path:
    found = list(aside.glob(pattern))
    if len(found) != 1:
        raise SourceError(f"the package came as {len(found)} files, not one")
    return found[0]

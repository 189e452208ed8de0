"""The networks' files: their places, and how they get there.

The fetching is that of `mattebox.download`; what a network's row of the catalogue means to it is said here. Nothing is
loaded whose checksum is not known.
"""

from __future__ import annotations

from pathlib import Path

import platformdirs

from mattebox import download
from mattebox.download import Download, NotInstalledError, Progress, State
from mattebox.errors import Kind
from mattebox.models.catalogue import Weights


def default_directory() -> Path:
    """The user's own directory for weights."""
    return Path(platformdirs.user_cache_dir("mattebox", appauthor=False)) / "models"


def path(file: Weights, directory: Path) -> Path:
    """The path of the file, whether it is there or not."""
    return directory / f"{file.name}{file.suffix}"


def verify(file: Weights, directory: Path) -> State:
    """Read the file whole and compare its checksum (0.7 s a gigabyte)."""
    if file.sha256 is None:  # whatever lies there, it is not known to be the right one
        return State.DAMAGED if path(file, directory).is_file() else State.MISSING
    return download.verify(_download(file), directory)


def locate(file: Weights, directory: Path) -> Path:
    """The file, read whole and checked. Nothing is fetched and nothing written.

    Raises:
        NotInstalledError: UNAVAILABLE where it is missing or damaged; the message says what to do.
    """
    return download.locate(_download(file), directory)


def not_installed(name: str, file: Weights) -> NotInstalledError:
    """The failure of the model `name` whose network `file` is not here, with what to do about it."""
    return NotInstalledError(
        Kind.UNAVAILABLE,
        f"The model {name} is not installed here; `mattebox models pull {name}` fetches it."
        if _fetchable(file)
        else f"mattebox has no download for {file.name}: get its ONNX file yourself and name it, as in "
        f"`--model {file.name}:/path/to/file.onnx`.",
        parameter="model",
    )


def pull(file: Weights, *, directory: Path, progress: Progress | None = None) -> Path:
    """Fetch the file unless it is there already, and return where it is; see `download.pull`.

    Raises:
        MatteboxError: UNAVAILABLE where no source could give it or the directory cannot hold it. The message says what
            to do; the reason of every source is in the log and in the cause.
    """
    if not _fetchable(file):
        raise not_installed(file.name, file)
    return download.pull(_download(file), directory=directory, progress=progress)


def _fetchable(file: Weights) -> bool:
    return bool(file.sources) and file.sha256 is not None


def _download(file: Weights) -> Download:
    """The download of a file; a NotInstalledError where no checksum of it is known."""
    if file.sha256 is None or file.bytes is None:
        raise not_installed(file.name, file)
    return Download(
        name=file.name,
        what=f"the model {file.name}",
        file=f"{file.name}{file.suffix}",
        sha256=file.sha256,
        bytes=file.bytes,
        sources=file.sources,
        earlier_sha256=file.earlier_sha256,
        command=f"mattebox models pull {file.part_of or file.name}",
        folder_command="mattebox models path",
        parameter="model" if file.part_of is None else "corrections",
    )

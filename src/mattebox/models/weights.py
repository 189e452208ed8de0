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

__all__ = [
    "NotInstalledError",
    "Progress",
    "State",
    "default_directory",
    "locate",
    "not_installed",
    "path",
    "pull",
    "verify",
]


def default_directory() -> Path:
    """The user's own directory for weights."""
    return Path(platformdirs.user_cache_dir("mattebox", appauthor=False)) / "models"


def path(variant: Weights, directory: Path) -> Path:
    """The path of the variant's file, whether it is there or not."""
    return directory / f"{variant.name}{variant.suffix}"


def verify(variant: Weights, directory: Path) -> State:
    """Read the variant's file whole and compare its checksum (0.7 s a gigabyte)."""
    wanted = _download(variant)
    if wanted is None:  # whatever lies there, it is not known to be the right one
        return State.DAMAGED if path(variant, directory).is_file() else State.MISSING
    return download.verify(wanted, directory)


def locate(variant: Weights, directory: Path) -> Path:
    """The variant's file, read whole and checked. Nothing is fetched and nothing written.

    Raises:
        NotInstalledError: UNAVAILABLE where it is missing or damaged; the message says what to do.
    """
    wanted = _download(variant)
    if wanted is None:
        raise not_installed(variant.name, variant)
    return download.locate(wanted, directory)


def not_installed(name: str, variant: Weights) -> NotInstalledError:
    """The failure of the model `name` whose network `variant` is not here, with what to do about it."""
    return NotInstalledError(
        Kind.UNAVAILABLE,
        f"The model {name} is not installed here; `mattebox models pull {name}` fetches it."
        if _fetchable(variant)
        else f"mattebox has no download for {variant.name}: get its ONNX file yourself and name it, as in "
        f"`--model {variant.name}:/path/to/file.onnx`.",
        parameter="model",
    )


def pull(variant: Weights, *, directory: Path, progress: Progress | None = None) -> Path:
    """Fetch the variant's file unless it is there already, and return where it is; see `download.pull`.

    Raises:
        MatteboxError: UNAVAILABLE where no source could give it or the directory cannot hold it. The message says what
            to do; the reason of every source is in the log and in the cause.
    """
    wanted = _download(variant)
    if wanted is None or not _fetchable(variant):
        raise not_installed(variant.name, variant)
    return download.pull(wanted, directory=directory, progress=progress)


def _fetchable(variant: Weights) -> bool:
    return bool(variant.sources) and variant.sha256 is not None


def _download(variant: Weights) -> Download | None:
    """The download of a variant; None where no checksum of it is known."""
    if variant.sha256 is None or variant.bytes is None:
        return None
    return Download(
        name=variant.name,
        what=f"the model {variant.name}",
        file=f"{variant.name}{variant.suffix}",
        sha256=variant.sha256,
        bytes=variant.bytes,
        sources=variant.sources,
        earlier_sha256=variant.earlier_sha256,
        command=f"mattebox models pull {variant.part_of or variant.name}",
        folder_command="mattebox models path",
        parameter="model" if variant.part_of is None else "corrections",
    )

"""The files that places are made from: panoramas, listed in `panoramas.toml`.

They are fetched from packages of registries by `mattebox.download.transfer`, each with its checksum.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import platformdirs
from pydantic import BeforeValidator

from mattebox import toml_tables
from mattebox.download import transfer
from mattebox.download.registries import DebianPackage
from mattebox.download.transfer import Conversion, Download, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class PanoramaFile:
    """A panorama that can be fetched: a row of `panoramas.toml`, which explains its words."""

    name: str
    author: str
    licence: str
    source: Annotated[tuple[Source, ...], BeforeValidator(lambda row: transfer.sources([row]))]
    file: str
    sha256: str
    bytes: int
    module_sha256: str = ""
    module_bytes: int = 0

    @property
    def optional(self) -> bool:
        """Whether its package is one of a Linux distribution, so that not every machine can fetch it."""
        return isinstance(self.source[0], DebianPackage)

    @property
    def download(self) -> Download:
        """How it gets here."""
        return Download(
            name=self.name,
            what=f"the panorama {self.name}",
            file=self.file,
            sha256=self.sha256,
            bytes=self.bytes,
            sources=self.source,
            conversion=Conversion(sha256=self.module_sha256, bytes=self.module_bytes, step="decoding", run=_decode)
            if self.module_sha256
            else None,
            command=f"mattebox scenes pull {self.name}",
            folder_command="mattebox scenes path",
            parameter="scene",
        )


@dataclass(frozen=True, slots=True)
class _Table:
    """The contents of `panoramas.toml`."""

    panoramas: tuple[PanoramaFile, ...]


def default_directory() -> Path:
    """The user's own directory for the files of backdrops."""
    return Path(platformdirs.user_cache_dir("mattebox", appauthor=False)) / "backdrops"


def _decode(script: Path, target: Path) -> None:
    """Write the bytes that a JavaScript module holds as one base64 address."""
    _, _, text = script.read_bytes().partition(b"base64,")
    letters = text.partition(b"'")[0].partition(b'"')[0]
    try:
        target.write_bytes(base64.b64decode(letters, validate=True))
    except binascii.Error as cause:  # cannot happen to bytes whose checksum was right
        raise OSError("the module holds no file") from cause


@lru_cache(1)
def panoramas() -> Mapping[str, PanoramaFile]:
    """Every panorama by its name. Read once.

    Raises:
        ValueError: `panoramas.toml` is not right; says what and where.
    """
    rows = toml_tables.load("mattebox.backdrops.scenes", "panoramas.toml", _Table).panoramas
    return MappingProxyType({row.name: row for row in rows})

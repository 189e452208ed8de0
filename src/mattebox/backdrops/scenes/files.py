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

import platformdirs

from mattebox.backdrops import data
from mattebox.download.registries import DebianPackage, NpmPackage
from mattebox.download.transfer import Conversion, Download, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class PanoramaFile:
    """A panorama that can be fetched.

    Attributes:
        name: what its views call it.
        author: who made it, as far as its package says.
        licence: SPDX expression. Only pictures are taken that bind nobody's result to anything.
        download: how it gets here.
        optional: its package is one of a Linux distribution, so that not every machine can fetch it.
    """

    name: str
    author: str
    licence: str
    download: Download
    optional: bool


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _PanoramaRow:
    author: str
    licence: str
    file: str
    sha256: str
    bytes: int
    npm: tuple[str, ...] = ()
    debian: tuple[str, ...] = ()
    module_sha256: str = ""
    module_bytes: int = 0

    def panorama(self, name: str) -> PanoramaFile:
        download = Download(
            name=name,
            what=f"the panorama {name}",
            file=self.file,
            sha256=self.sha256,
            bytes=self.bytes,
            sources=(self._source(name),),
            conversion=self._conversion(),
            command=f"mattebox scenes pull {name}",
            folder_command="mattebox scenes path",
            parameter="scene",
        )
        return PanoramaFile(
            name=name, author=self.author, licence=self.licence, download=download, optional=bool(self.debian)
        )

    def _source(self, name: str) -> Source:
        match self.npm, self.debian:
            case (package, version, member), ():
                return NpmPackage(package, version, member)
            case (), (package, member):
                return DebianPackage(package, member)
            case _:
                raise ValueError(
                    f"panoramas.toml: {name} needs npm = [package, version, file] or debian = [package, file]"
                )

    def _conversion(self) -> Conversion | None:
        if not self.npm:
            return None
        return Conversion(sha256=self.module_sha256, bytes=self.module_bytes, step="decoding", run=_decode)


@lru_cache(1)
def panoramas() -> Mapping[str, PanoramaFile]:
    """Every panorama by its name. Read once.

    Raises:
        ValueError: `panoramas.toml` is not right; says what and where.
    """
    rows = data.load("mattebox.backdrops.scenes", "panoramas.toml", dict[str, _PanoramaRow])
    return MappingProxyType({name: row.panorama(name) for name, row in rows.items()})

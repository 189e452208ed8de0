"""Photographic backdrops: views of real places, listed in `places.toml`.

A view is a direction in a panorama, chosen by looking: with room for a subject to stand and nothing odd before it.
It is projected to any size and shape when it is asked for. Flat pictures of one's own come in packs (see `packs`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from mattebox import toml_tables
from mattebox.backdrops.plate import Plate
from mattebox.backdrops.scenes import panorama
from mattebox.backdrops.scenes.files import PanoramaFile, default_directory, panoramas
from mattebox.backdrops.scenes.panorama import Camera, Panorama
from mattebox.download import transfer
from mattebox.download.transfer import Progress
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Served

# Panoramas that are kept open: 3 MB each at 1024 x 512.
_KEPT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One view of a place.

    Attributes:
        name: the place and what is seen of it ("warehouse-pillars").
        place: what several views have in common ("warehouse").
        panorama: the name of its panorama, see `files.panoramas`.
        camera: where it looks.
        tags: what it shows, in the words of people who look for it.
        key: see `panorama.view`; below 0.1 it is night.
        ground: there is ground to stand on. The sky has none.
    """

    name: str
    place: str
    panorama: str
    camera: Camera
    tags: tuple[str, ...]
    key: float = 0.18
    ground: bool = True

    @property
    def file(self) -> PanoramaFile:
        """Its panorama's file."""
        return panoramas()[self.panorama]

    @property
    def author(self) -> str:
        """The author of the panorama."""
        return self.file.author

    @property
    def licence(self) -> str:
        """The panorama's licence, an SPDX expression."""
        return self.file.licence

    @property
    def horizon(self) -> float | None:
        """The horizon's row as a fraction of the height; None without ground."""
        return self.camera.horizon if self.ground else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _ViewRow:
    seen: str
    yaw: float
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlaceRow:
    place: str
    tags: tuple[str, ...]
    views: tuple[_ViewRow, ...]
    panorama: str | None = None
    pitch: float = -8.0
    field_of_view: float = 65.0
    key: float = 0.18
    ground: bool = True

    def made(self) -> Iterator[View]:
        for view in self.views:
            yield View(
                name=f"{self.place.replace('_', '-')}-{view.seen}",
                place=self.place,
                panorama=self.panorama or self.place,
                camera=Camera(yaw=view.yaw, pitch=self.pitch, field_of_view=self.field_of_view),
                tags=(*view.tags, *self.tags),
                key=self.key,
                ground=self.ground,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlaceTable:
    """The contents of `places.toml`, which explains them."""

    places: tuple[_PlaceRow, ...]


@lru_cache(1)
def views() -> Mapping[str, View]:
    """Every view by its name, those of a place one after the other. Read once.

    Raises:
        ValueError: `places.toml` is not right; says what and where.
    """
    found: dict[str, View] = {}
    for row in toml_tables.load("mattebox.backdrops.scenes", "places.toml", _PlaceTable).places:
        for view in row.made():
            if view.name in found:
                raise ValueError(f"places.toml: two views are called {view.name}")
            if view.panorama not in panoramas():
                raise ValueError(f"places.toml: {view.name} shows the unknown panorama {view.panorama}")
            found[view.name] = view
    return MappingProxyType(found)


@lru_cache(1)
def places() -> Mapping[str, tuple[View, ...]]:
    """The views of every place, the best one first."""
    found: dict[str, tuple[View, ...]] = {}
    for view in views().values():
        found[view.place] = (*found.get(view.place, ()), view)
    return MappingProxyType(found)


def installed(scene: View, directory: Path | None = None) -> bool:
    """Whether the scene's panorama is installed. Cheap: it is not read, so a damaged one counts too."""
    return transfer.path(scene.file.download, directory or default_directory()).is_file()


def complete(directory: Path | None = None) -> bool:
    """Whether everything is installed that every machine can fetch."""
    return all(installed(view, directory) for view in views().values() if not view.file.optional)


def pull(
    names: Sequence[str] = (), *, directory: Path | None = None, progress: Progress | None = None
) -> tuple[MatteboxError, ...]:
    """Fetch panoramas.

    Args:
        names: of views, places or panoramas; empty means all that this machine has a package manager for.
        directory: where to.
        progress: told of the downloads.

    Returns:
        The failures, one for each panorama that could not be fetched. Usually empty.

    Raises:
        MatteboxError: INVALID_PARAMETER where a name is unknown.
    """
    wanted = (
        chosen(names) if names else [row for row in panoramas().values() if not row.optional or shutil.which("apt-get")]
    )
    return transfer.pull_all(
        [row.download for row in wanted], directory=directory or default_directory(), progress=progress
    )


def chosen(names: Iterable[str]) -> list[PanoramaFile]:
    """The panoramas behind names of views, places or panoramas, each once.

    Raises:
        MatteboxError: INVALID_PARAMETER where a name is unknown.
    """
    found: dict[str, PanoramaFile] = {}
    for name in names:
        if name in views():
            files = [views()[name].file]
        elif name in places():
            files = [row.file for row in places()[name]]
        elif name in panoramas():
            files = [panoramas()[name]]
        else:
            raise MatteboxError(
                Kind.INVALID_PARAMETER,
                f"Unknown scene {name}. Choose one of {', '.join(places())}.",
                parameter="scene",
            )
        found |= {file.name: file for file in files}
    return list(found.values())


def view(scene: View, *, width: int, height: int, directory: Path | None = None) -> Plate:
    """The scene as a picture of exactly this size, whatever its shape, with its light.

    Raises:
        transfer.NotInstalledError: UNAVAILABLE where its panorama is not here or damaged.
    """
    opened = _opened(transfer.path(scene.file.download, directory or default_directory()), scene.panorama)
    return Plate(
        rgb=panorama.view(opened, scene.camera, width=width, height=height, key=scene.key),
        horizon=scene.horizon,
        light=panorama.light_of(opened, scene.camera.yaw),
        depth_of_field=scene.ground,
        served=Served(backend="scenes", scene=scene.name),
    )


@lru_cache(_KEPT)
def _opened(file: Path, name: str) -> Panorama:
    """A panorama, read and checked once."""
    return panorama.read(transfer.locate(panoramas()[name].download, file.parent))

"""Photographic backdrops: views of real places, each one row.

A view is a direction in a panorama, chosen by looking: with room for a subject to stand and nothing odd before it.
It is projected to any size and shape when it is asked for. Flat pictures of one's own come in packs (see `packs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from mattebox.backdrops.plate import Plate
from mattebox.backdrops.scenes import panorama
from mattebox.backdrops.scenes.files import PANORAMAS, PanoramaFile, default_directory
from mattebox.backdrops.scenes.panorama import Camera, Panorama
from mattebox.download import transfer
from mattebox.download.transfer import Progress
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Served

BACKEND = "scenes"
"""What a plate says made it."""

# Panoramas that are kept open: 3 MB each at 1024 x 512.
_KEPT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One view of a place.

    Attributes:
        name: the place and what is seen of it ("warehouse-pillars").
        place: what several views have in common ("warehouse").
        panorama: name of its panorama in `files.PANORAMAS`.
        camera: where it looks.
        tags: what it shows, in the words of people who look for it.
        indoor: under a roof.
        key: see `panorama.view`; below 0.1 it is night.
        ground: there is a ground to stand on. In the sky there is none.
    """

    name: str
    place: str
    panorama: str
    camera: Camera
    tags: tuple[str, ...]
    indoor: bool
    key: float = 0.18
    ground: bool = True

    @property
    def file(self) -> PanoramaFile:
        """Its panorama's file."""
        return PANORAMAS[self.panorama]

    @property
    def author(self) -> str:
        """Who made the panorama."""
        return self.file.author

    @property
    def licence(self) -> str:
        """The panorama's licence, an SPDX expression."""
        return self.file.licence

    @property
    def horizon(self) -> float | None:
        """The horizon's row as a fraction of the height; None where there is no ground."""
        return self.camera.horizon if self.ground else None


def _place(
    name: str,
    *views: tuple[str, float, str],
    common: str,
    indoor: bool,
    panorama: str | None = None,
    pitch: float = -8.0,
    field_of_view: float = 65.0,
    key: float = 0.18,
    ground: bool = True,
) -> tuple[View, ...]:
    """The views of one place: what is seen, its yaw, and its tags, which those of the place follow."""
    return tuple(
        View(
            name=f"{name.replace('_', '-')}-{seen}",
            place=name,
            panorama=panorama or name,
            camera=Camera(yaw=yaw, pitch=pitch, field_of_view=field_of_view),
            tags=tuple(tag.strip() for tag in f"{tags}, {common}".split(",")),
            indoor=indoor,
            key=key,
            ground=ground,
        )
        for seen, yaw, tags in views
    )


# The coarser panoramas are seen at a wider angle: what is nearer shows less that there is nothing finer.
_WIDE = 72.0

_ROWS: tuple[View, ...] = (
    *_place(
        "apartment",
        ("corner", 85, "sunlit corner of a room, window and wooden floor, sunlight on a wall"),
        ("window", 45, "large window with curtains, room with a window, backlight"),
        ("sunlight", 112, "sunlight on a wall, shadow of a window, plain wall with sunlight"),
        ("hallway", -60, "hallway, doorway, white wall with a door"),
        common="empty apartment, living room, bright room, wooden floor",
        indoor=True,
        field_of_view=75,
        pitch=-10,
    ),
    *_place(
        "bridge",
        ("along", 45, "long corridor, tunnel of glass, vanishing point"),
        ("back", -135, "long corridor, covered walkway, vanishing point"),
        ("side", -45, "glass wall, window onto greenery, skywalk"),
        common="glass walkway, modern corridor, footbridge",
        indoor=True,
        field_of_view=_WIDE,
    ),
    *_place(
        "city",
        ("street", 53, "city street, wide pavement, avenue"),
        ("station", 130, "city square, glass roof of a station, white towers"),
        ("crossing", -168, "street crossing, wide street, red pavement"),
        ("square", -93, "city square, asphalt, office buildings"),
        common="city centre, downtown, skyscrapers, cloudy sky",
        indoor=False,
    ),
    *_place(
        "construction",
        ("site", 20, "construction site, building under construction, half-built building"),
        ("offices", 100, "office block, business park"),
        ("tower", -60, "glass office building, modern architecture"),
        ("avenue", -110, "office buildings, business district"),
        common="car park, parking lot, asphalt, city skyline",
        indoor=False,
    ),
    *_place(
        "courtyard",
        ("garages", -5, "garage doors, driveway"),
        ("sunny", -35, "sunny courtyard, white house"),
        common="courtyard, paved yard, backyard, patio",
        indoor=False,
    ),
    *_place(
        "dawn",
        ("ridge", -120, "pink hills, mountain ridge, rocky hills"),
        ("valley", 100, "mountain valley, valley at dusk"),
        ("rock", 142, "bare rock, rocky mountain top, cliff"),
        ("glow", 50, "glow before sunrise, dark hills, bright horizon"),
        common="mountains at dawn, purple sky, wilderness, dusk",
        indoor=False,
    ),
    *_place(
        "esplanade",
        ("entrance", -50, "atrium, entrance of a mall, patterned floor"),
        ("shops", 45, "shops, shop front, boutique"),
        common="shopping mall, shopping centre, department store",
        indoor=True,
        field_of_view=_WIDE,
    ),
    *_place(
        "forest",
        ("rocks", 40, "rocks in a forest, sandstone rock, tall trees"),
        ("clearing", 0, "forest clearing, sunlight through the trees"),
        ("trunk", 105, "forest path, old tree, tree trunk"),
        ("slope", -60, "moss, forest slope, green forest floor"),
        common="forest, woodland, pine trees, nature",
        indoor=False,
    ),
    *_place(
        "garden",
        ("path", 5, "gravel path, bamboo fence, garden path"),
        ("trees", -110, "tree-lined path, old trees, park path"),
        ("hedge", -60, "hedge, shrubs, green leaves"),
        common="Japanese garden, garden, botanical garden, trees",
        indoor=False,
        key=0.15,
    ),
    *_place(
        "hall",
        ("windows", -140, "bright windows with drapes, parquet"),
        ("curtains", 60, "curtains, large windows, dance floor"),
        ("stage", 150, "stage, theatre stage, assembly hall"),
        ("bar", 0, "corner of a hall, event venue"),
        common="ballroom, banquet hall, chandeliers, wedding hall",
        indoor=True,
        field_of_view=_WIDE,
    ),
    *_place(
        "hotel_room",
        ("window", 15, "armchair, window with curtains, soft window light"),
        ("bed", 100, "bed, bedroom, white linen"),
        common="hotel room, hotel bedroom, modern bedroom, suite",
        indoor=True,
        field_of_view=85,
        pitch=-10,
    ),
    *_place(
        "lab",
        ("stairs", 92, "aisle with stairs, old benches"),
        ("machines", -92, "electric motors, old machines"),
        common="laboratory, machine hall, engineering laboratory, green walls",
        indoor=True,
        field_of_view=_WIDE,
    ),
    *_place(
        "lobby",
        ("doors", 66, "row of doors, wooden floor, screen on a wall"),
        ("hall", 85, "entrance hall, foyer, pillar"),
        common="lobby, modern office, reception area, office building",
        indoor=True,
        field_of_view=_WIDE,
    ),
    *_place(
        "meadow_sunrise",
        ("tree", -70, "autumn tree, farm track, misty meadow"),
        ("mist", 0, "morning mist, trees in mist"),
        ("sun", 45, "sun over a field, low sun, backlight"),
        common="meadow at sunrise, countryside, grass field, golden hour",
        indoor=False,
    ),
    *_place(
        "night",
        ("tree", 20, "tree at night, grassland at night"),
        ("trees", 140, "trees at night, dirt road at night"),
        ("road", 95, "dirt road at night, savanna at night"),
        common="night, starry sky, night landscape, under the stars",
        indoor=False,
        key=0.03,
    ),
    *_place(
        "park",
        ("trees", -30, "lawn with trees, blue sky"),
        ("meadow", 90, "green meadow, hills behind a meadow"),
        ("field", 118, "open field, sports field, summer field"),
        common="park, green lawn, grass, sunny day",
        indoor=False,
        field_of_view=_WIDE,
    ),
    *_place(
        "piazza",
        ("palace", -75, "palace with arcades, Doge's palace, historic building"),
        ("library", -143, "historic square, arcades, old town"),
        ("sunset", 30, "square at sunset, low sun, waterfront"),
        common="Italian piazza, Venice, St Mark's square, European old town",
        indoor=False,
        field_of_view=_WIDE,
    ),
    *_place(
        "sky",
        ("clouds", -135, "white clouds, fluffy clouds"),
        ("blue", -60, "blue sky, sky with clouds"),
        ("high", 100, "above the clouds, summer sky"),
        common="sky, open sky, in the clouds, heaven",
        indoor=False,
        field_of_view=_WIDE,
        pitch=12,
        ground=False,
    ),
    *_place(
        "studio_photo",
        ("paper", -90, "paper background, backdrop roll, white cyclorama"),
        common="photo studio, photography studio, studio set, fashion studio",
        indoor=True,
        panorama="studio",
        field_of_view=75,
        pitch=-14,
    ),
    *_place(
        "studio_photo",
        ("curtain", -18, "dark curtain, grey curtain, velvet curtain"),
        common="photo studio, photography studio, film studio, studio background",
        indoor=True,
        panorama="studio",
        field_of_view=45,
        pitch=-6,
    ),
    *_place(
        "sunrise",
        ("tree", -70, "autumn tree, farm track, misty meadow"),
        ("mist", 0, "morning mist, trees in mist"),
        ("sun", 45, "sun over a field, low sun, backlight"),
        common="sunrise, misty morning, countryside, morning sun",
        indoor=False,
        field_of_view=_WIDE,
    ),
    *_place(
        "sunset",
        ("quay", 62, "quay at sunset, sunset over the sea, sun over the water"),
        ("sea", -5, "sea at sunset, evening sky, stone edge over the water"),
        ("corner", -25, "quay in the evening, water's edge"),
        common="seaside at sunset, waterfront, golden hour, evening by the sea",
        indoor=False,
        pitch=-20,  # looks down, or there would be nothing but water to stand on
        field_of_view=72,
    ),
    *_place(
        "venice",
        ("quay", 30, "stone quay, lagoon, sea at dawn"),
        ("houses", -95, "red houses, cobblestones, old houses"),
        ("promenade", -40, "seaside promenade, wide promenade"),
        common="Venice, waterfront at dawn, harbour, Italy",
        indoor=False,
        field_of_view=_WIDE,
    ),
    *_place(
        "warehouse",
        ("ramp", 45, "loading ramp, old factory hall, painted wall"),
        ("pillars", 110, "concrete pillars, parking garage, large empty hall"),
        ("metal", -140, "corrugated metal wall, industrial wall"),
        ("column", 150, "concrete column, industrial loft"),
        common="warehouse, empty warehouse, industrial hall, concrete floor",
        indoor=True,
    ),
    *_place(
        "workshop",
        ("aisle", 140, "factory aisle, green factory floor"),
        ("benches", -45, "workbenches, timber, machines"),
        ("gate", -135, "factory gate, bright gate"),
        ("windows", 45, "tall factory windows, backlight"),
        common="workshop, factory hall, production hall, industrial plant",
        indoor=True,
        field_of_view=_WIDE,
    ),
)

CATALOGUE: Mapping[str, View] = MappingProxyType({row.name: row for row in _ROWS})
"""Every view by its name, those of a place one after the other."""

PLACES: Mapping[str, tuple[View, ...]] = MappingProxyType(
    {place: tuple(row for row in _ROWS if row.place == place) for place in dict.fromkeys(row.place for row in _ROWS)}
)
"""The views of every place, the best one first."""


def installed(scene: View, directory: Path | None = None) -> bool:
    """Whether the scene's panorama is here. Cheap: it is not read, so a damaged one counts as here."""
    return transfer.path(scene.file.download, directory or default_directory()).is_file()


def pull(
    names: Sequence[str] = (), *, directory: Path | None = None, progress: Progress | None = None
) -> tuple[MatteboxError, ...]:
    """Fetch panoramas.

    Args:
        names: of views, places or panoramas; none means all that every machine can fetch.
        directory: where to.
        progress: see `downloads.Progress`.

    Returns:
        The failures, one for each panorama that could not be had. Mostly none.

    Raises:
        MatteboxError: INVALID_PARAMETER where there is no such name.
    """
    wanted = chosen(names) if names else [row for row in PANORAMAS.values() if not row.optional]
    return transfer.pull_all(
        [row.download for row in wanted], directory=directory or default_directory(), progress=progress
    )


def chosen(names: Iterable[str]) -> list[PanoramaFile]:
    """The panoramas behind names of views, places or panoramas, each once.

    Raises:
        MatteboxError: INVALID_PARAMETER where there is no such name.
    """
    found: dict[str, PanoramaFile] = {}
    for name in names:
        if name in CATALOGUE:
            files = [CATALOGUE[name].file]
        elif name in PLACES:
            files = [row.file for row in PLACES[name]]
        elif name in PANORAMAS:
            files = [PANORAMAS[name]]
        else:
            raise MatteboxError(
                Kind.INVALID_PARAMETER, f"There is no scene {name}; there are {', '.join(PLACES)}.", parameter="scene"
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
        served=Served(backend=BACKEND, scene=scene.name),
    )


@lru_cache(_KEPT)
def _opened(file: Path, name: str) -> Panorama:
    """A panorama, read and checked once."""
    return panorama.read(transfer.locate(PANORAMAS[name].download, file.parent))

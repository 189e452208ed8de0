"""Scene packs: folders of one's own pictures that serve as backdrops.

A pack is a folder with pictures and a `pack.toml` that says what they show:

    [[scene]]
    file = "kitchen.jpg"
    name = "kitchen"
    tags = ["kitchen", "kitchen counter"]
    licence = "CC0-1.0"
    author = "Jo Doe"
    horizon = 0.42                # optional: the horizon's row as a fraction of the height
    light = { direction = [-0.5, 0.7, 0.5], color = [1.0, 0.95, 0.9], strength = 0.4 }   # optional

A panorama of everything around one place has its horizon and its light in itself:

    [[scene]]
    file = "harbour.hdr"
    tags = ["harbour"]
    licence = "CC0-1.0"
    author = "Jo Doe"
    yaw = [0, 120]                # optional, like pitch, field_of_view, key and ground
"""

from __future__ import annotations

import math
import re
import secrets
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import platformdirs

from mattebox import codec, color, files
from mattebox.backdrops.plate import Light, Plate
from mattebox.backdrops.scenes import panorama
from mattebox.codec import Limits
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Served

FILE = "pack.toml"
BACKEND = "packs"
"""The name of this generator in a plate's `served`."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MAX_TOML = 1 << 20
_MAX_SCENES = 1000
_KEPT = 4
_PANORAMA_KEYS = frozenset({"yaw", "pitch", "field_of_view", "key", "ground"})
_FLAT_KEYS = frozenset({"horizon", "light"})
_KEYS = frozenset({"file", "name", "tags", "licence", "author", "panorama"}) | _FLAT_KEYS | _PANORAMA_KEYS
_LINEAR = frozenset({".hdr", ".exr"})
_ALL_AROUND = (0.0, 90.0, 180.0, -90.0)
_LIGHT_KEYS = frozenset({"direction", "color", "strength"})

_Table: TypeAlias = dict[str, object]
_Triple: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """How a panorama is looked at: one camera for each view. `key` and `ground` are those of `catalogue.View`."""

    cameras: tuple[panorama.Camera, ...]
    key: float = 0.18
    ground: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PackScene:
    """A picture as a backdrop.

    Attributes:
        name: its own within the pack.
        pack: the pack's name, that of its folder.
        file: the picture.
        tags: what it shows, in the words of people who look for it.
        licence, author: of the picture.
        horizon: the horizon's row as a fraction of the picture's height; None where it is not given.
        light: how it is lit; None is even light.
        around: set where it is a panorama, which has its own horizon and light.
    """

    name: str
    pack: str
    file: Path
    tags: tuple[str, ...]
    licence: str
    author: str
    horizon: float | None = None
    light: Light | None = None
    around: Around | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A folder of pictures that was read and found right."""

    name: str
    folder: Path
    scenes: tuple[PackScene, ...]


def default_directory() -> Path:
    """The user's own directory of packs."""
    return Path(platformdirs.user_data_dir("mattebox", appauthor=False)) / "scenes"


def load_packs(directory: Path) -> tuple[Pack, ...]:
    """The packs in a directory, each in a folder of its own, by name; empty where the directory does not exist.

    Raises:
        MatteboxError: INVALID_PARAMETER where one of them is not right; the message says what and where.
    """
    if not directory.is_dir():
        return ()
    return tuple(
        load_pack(folder)
        for folder in sorted(directory.iterdir())
        if not folder.name.startswith(".") and (folder / FILE).is_file()
    )


def load_pack(folder: Path) -> Pack:
    """Read one pack. Its pictures must exist, but are not opened: see `check`.

    Raises:
        MatteboxError: INVALID_PARAMETER where it is not right; the message says what and where.
    """
    name = folder.name
    if _NAME.fullmatch(name) is None:
        raise _wrong(name, "its folder's name may contain only lower-case letters, digits, - and _")
    try:
        if (folder / FILE).stat().st_size > _MAX_TOML:
            raise _wrong(name, f"{FILE} is larger than 1 MiB")
        content: _Table = tomllib.loads((folder / FILE).read_text("utf-8"))
    except FileNotFoundError as cause:
        raise _wrong(name, f"{FILE} is missing") from cause
    except OSError as cause:
        raise _wrong(name, f"{FILE} cannot be read: {cause.strerror}") from cause
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
        raise _wrong(name, f"{FILE} is not TOML: {cause}") from cause
    unknown = content.keys() - {"scene"}
    if unknown:
        raise _wrong(name, f"{FILE} has the unknown key {_list(unknown)}; only [[scene]] is allowed")
    rows = content.get("scene")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise _wrong(name, f"{FILE} has no [[scene]]")
    if len(rows) > _MAX_SCENES:
        raise _wrong(name, f"{FILE} has more than {_MAX_SCENES} scenes")
    scenes = tuple(_scene(row, folder, number) for number, row in enumerate(rows, 1))
    for scene in scenes:
        if sum(other.name == scene.name for other in scenes) > 1:
            raise _wrong(name, f"two scenes are called {scene.name}")
    return Pack(name=name, folder=folder, scenes=scenes)


def check(pack: Pack, limits: Limits = Limits()) -> None:
    """Open every picture of a pack.

    Raises:
        MatteboxError: what `codec.decode` raises, with the picture's name.
    """
    for scene in pack.scenes:
        if scene.around is None:
            _picture(scene, limits)
        else:
            _panorama(scene, limits)


def add_pack(folder: Path, directory: Path) -> Pack:
    """Copy a pack into the directory of packs, checked, completely or not at all.

    Only `pack.toml` and the pictures that it names are copied.

    Raises:
        MatteboxError: INVALID_PARAMETER or what a picture's reading raises where it is not right; CONFLICT where a pack
            of that name is there already, or nothing can be written.
    """
    pack = load_pack(folder.resolve())
    check(pack)
    target = directory / pack.name
    beside = directory / f".{pack.name}.{secrets.token_hex(4)}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise MatteboxError(Kind.CONFLICT, f"A pack called {pack.name} already exists.", parameter="pack")
        try:
            for file in (pack.folder / FILE, *(scene.file for scene in pack.scenes)):
                copy = beside / file.relative_to(pack.folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
            beside.rename(target)
        finally:
            if beside.exists():
                shutil.rmtree(beside)
    except OSError as cause:
        raise MatteboxError(
            Kind.CONFLICT, f"The pack {pack.name} cannot be copied: {cause.strerror}.", parameter="pack"
        ) from cause
    return load_pack(target)


def view(scene: PackScene, *, width: int, height: int, seed: int = 0, limits: Limits = Limits()) -> Plate:
    """The picture, cut to the shape that is asked for and made of exactly this size; of a panorama the seed's view.

    As much of it is shown as fits. Where its top and bottom are cut, the horizon is kept in sight.

    Raises:
        MatteboxError: what `codec.decode` and `panorama.read` raise.
    """
    if scene.around is not None:
        return _looked_around(scene, scene.around, width=width, height=height, seed=seed, limits=limits)
    rgb = _picture(scene, limits)
    rows, columns = rgb.shape[:2]
    scale = max(width / columns, height / rows)
    wide, high = min(columns, max(1, round(width / scale))), min(rows, max(1, round(height / scale)))
    left = (columns - wide) // 2
    center = 0.5 if scene.horizon is None else min(1.0, max(0.0, scene.horizon + 0.08))
    top = min(rows - high, max(0, round(center * rows - high / 2)))
    part = rgb[top : top + high, left : left + wide]
    return Plate(
        rgb=_resized(part, width, height),
        horizon=None if scene.horizon is None else (scene.horizon * rows - top) / high,
        light=scene.light or Light(strength=0.0),
        depth_of_field=scene.horizon is not None,
        served=Served(backend=BACKEND, scene=f"{scene.pack}/{scene.name}"),
    )


def _looked_around(scene: PackScene, around: Around, *, width: int, height: int, seed: int, limits: Limits) -> Plate:
    camera = around.cameras[seed % len(around.cameras)]
    opened = _panorama(scene, limits)
    return Plate(
        rgb=panorama.view(opened, camera, width=width, height=height, key=around.key),
        horizon=camera.horizon if around.ground else None,
        light=panorama.light_of(opened, camera.yaw),
        depth_of_field=around.ground,
        served=Served(backend=BACKEND, scene=f"{scene.pack}/{scene.name}"),
    )


@lru_cache(_KEPT)
def _panorama(scene: PackScene, limits: Limits) -> panorama.Panorama:
    if scene.file.suffix.lower() not in _LINEAR:
        rgb = _picture(scene, limits)
        if rgb.shape[1] != 2 * rgb.shape[0]:
            raise MatteboxError(
                Kind.UNREADABLE_IMAGE,
                f"The panorama {scene.pack}/{scene.file.name} of a scene pack is not twice as wide as high.",
            )
        return panorama.of_light(color.to_linear(rgb.astype(np.float32) / np.float32(255)))
    try:
        return panorama.read(scene.file)
    except MatteboxError as error:
        raise MatteboxError(error.kind, f"The pack {scene.pack}: {error.message}") from error


def _resized(rgb: RGB, width: int, height: int) -> RGB:
    smaller = width < rgb.shape[1]
    resized = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return np.asarray(resized, np.uint8)


def _picture(scene: PackScene, limits: Limits) -> RGB:
    name = f"{scene.pack}/{scene.file.name}"
    try:
        image = codec.decode(files.read(scene.file, limits.max_bytes), limits)
    except MatteboxError as error:
        raise MatteboxError(error.kind, f"The picture {name} of a scene pack: {error.message}") from error
    if image.alpha is not None:
        raise MatteboxError(
            Kind.UNREADABLE_IMAGE, f"The picture {name} of a scene pack is not opaque: a backdrop must be."
        )
    return codec.in_profile(image, None).rgb


# --- pack.toml --------------------------------------------------------------------------------------------------------


def _wrong(pack: str, what: str) -> MatteboxError:
    return MatteboxError(Kind.INVALID_PARAMETER, f"The scene pack {pack} is not valid: {what}.", parameter="pack")


def _list(words: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(words))


def _scene(row: _Table, folder: Path, number: int) -> PackScene:
    where = f"scene {number}"
    unknown = row.keys() - _KEYS
    if unknown:
        raise _wrong(folder.name, f"{where} has the unknown key {_list(unknown)}; the keys are {_list(_KEYS)}")
    file = _file(folder, _text(row, "file", folder.name, where), where)
    # An HDRI's own name, as in `Old_Hall_4k.hdr`, will do.
    name = _text(row, "name", folder.name, where) if "name" in row else re.sub(r"[^a-z0-9_-]", "-", file.stem.lower())
    if _NAME.fullmatch(name) is None:
        raise _wrong(folder.name, f"the name of {where} may contain only lower-case letters, digits, - and _")
    where = f"scene {name}"
    tags = row.get("tags")
    if not isinstance(tags, list) or not tags or not all(isinstance(tag, str) and tag.strip() for tag in tags):
        raise _wrong(folder.name, f"{where} needs tags, a list of words")
    is_panorama = file.suffix.lower() in _LINEAR
    if "panorama" in row:
        if not isinstance(row["panorama"], bool) or (is_panorama and not row["panorama"]):
            raise _wrong(folder.name, f"panorama of {where} must be true or false, and true for .hdr and .exr")
        is_panorama = row["panorama"]
    useless = row.keys() & (_FLAT_KEYS if is_panorama else _PANORAMA_KEYS)
    if useless:
        kind = "a panorama, which has" if is_panorama else "no panorama, and needs"
        raise _wrong(folder.name, f"{where} is {kind} no {_list(useless)}")
    horizon = row.get("horizon")
    if horizon is not None:
        (horizon,) = _numbers([horizon], 1, folder.name, f"the horizon of {where}")
        if not 0 <= horizon <= 1:
            raise _wrong(folder.name, f"the horizon of {where} must be from 0 to 1")
    return PackScene(
        name=name,
        pack=folder.name,
        file=file,
        tags=tuple(str(tag).strip() for tag in tags),
        licence=_text(row, "licence", folder.name, where),
        author=_text(row, "author", folder.name, where),
        horizon=horizon,
        light=None if "light" not in row else _light(row["light"], folder.name, where),
        around=_around(row, folder.name, where) if is_panorama else None,
    )


def _text(row: _Table, key: str, pack: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip() or len(value) > 1000:
        raise _wrong(pack, f"{where} needs {key}, a text")
    return value.strip()


def _file(folder: Path, text: str, where: str) -> Path:
    """The picture, which lies within the pack: neither `..` nor a link leads out of it."""
    file = folder / text
    if not file.resolve().is_relative_to(folder.resolve()):
        raise _wrong(folder.name, f"the file of {where} is outside the pack")
    if not file.is_file():
        raise _wrong(folder.name, f"the file of {where}, {text}, does not exist")
    return folder / file.resolve().relative_to(folder.resolve())


def _numbers(value: object, count: int, pack: str, what: str) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != count:
        raise _wrong(pack, f"{what} must be {count} numbers")
    return tuple(_finite(value, pack, what))


def _finite(values: list[object], pack: str, what: str) -> Iterator[float]:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise _wrong(pack, f"{what} must be made of numbers")
        yield float(value)


def _around(row: _Table, pack: str, where: str) -> Around:
    def number(key: str, default: float, low: float, high: float) -> float:
        (value,) = _numbers([row.get(key, default)], 1, pack, f"{key} of {where}")
        if not low <= value <= high:
            raise _wrong(pack, f"{key} of {where} must be from {low:g} to {high:g}")
        return value

    yaw = row.get("yaw", list(_ALL_AROUND))
    yaws = yaw if isinstance(yaw, list) else [yaw]
    if not yaws:
        raise _wrong(pack, f"yaw of {where} must be a number, or several in a list")
    ground = row.get("ground", True)
    if not isinstance(ground, bool):
        raise _wrong(pack, f"ground of {where} must be true or false")
    known = panorama.Camera()
    pitch, field_of_view = number("pitch", known.pitch, -60, 60), number("field_of_view", 65, 20, 120)
    return Around(
        cameras=tuple(
            panorama.Camera(yaw=each, pitch=pitch, field_of_view=field_of_view)
            for each in _numbers(yaws, len(yaws), pack, f"yaw of {where}")
        ),
        key=number("key", 0.18, 0.01, 0.5),
        ground=ground,
    )


def _light(value: object, pack: str, where: str) -> Light:
    if not isinstance(value, dict):
        raise _wrong(pack, f"the light of {where} must be a table")
    unknown = value.keys() - _LIGHT_KEYS
    if unknown:
        raise _wrong(
            pack, f"the light of {where} has the unknown key {_list(unknown)}; the keys are {_list(_LIGHT_KEYS)}"
        )
    known = Light()
    direction = _triple(value.get("direction", list(known.direction)), pack, f"the light's direction of {where}")
    length = math.hypot(*direction)
    if length == 0:
        raise _wrong(pack, f"the light's direction of {where} must not be zero")
    tint = _triple(value.get("color", list(known.color)), pack, f"the light's color of {where}")
    luminance = float(color.luminance(np.array(tint)))
    if min(tint) < 0 or luminance <= 0:
        raise _wrong(pack, f"the light's color of {where} must not be negative or black")
    (strength,) = _numbers([value.get("strength", known.strength)], 1, pack, f"the light's strength of {where}")
    if not 0 <= strength <= 1:
        raise _wrong(pack, f"the light's strength of {where} must be from 0 to 1")
    return Light(
        direction=(direction[0] / length, direction[1] / length, direction[2] / length),
        color=(tint[0] / luminance, tint[1] / luminance, tint[2] / luminance),
        strength=strength,
    )


def _triple(value: object, pack: str, what: str) -> _Triple:
    first, second, third = _numbers(value, 3, pack, what)
    return first, second, third

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
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import platformdirs
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from mattebox import codec, color, files, toml_tables
from mattebox.backdrops.plate import Light, Plate
from mattebox.backdrops.scenes import panorama
from mattebox.codec import Limits
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Served
from mattebox.resampling import resized

FILE = "pack.toml"

_NAME = "[a-z0-9][a-z0-9_-]{0,63}"
_MAX_TOML = 1 << 20
_MAX_SCENES = 1000
_KEPT = 4
_LIMITS = Limits()
_PANORAMA_KEYS = ("yaw", "pitch", "field_of_view", "key", "ground")
_FLAT_KEYS = ("horizon", "light")
_LINEAR = frozenset({".hdr", ".exr"})
_ALL_AROUND = (0.0, 90.0, 180.0, -90.0)


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
    if re.fullmatch(_NAME, name) is None:
        raise _wrong(name, "its folder's name may contain only lower-case letters, digits, - and _")
    try:
        if (folder / FILE).stat().st_size > _MAX_TOML:
            raise _wrong(name, f"{FILE} is larger than 1 MiB")
        rows = toml_tables.parse((folder / FILE).read_text("utf-8"), FILE, _Table, repeats=True).scene
    except FileNotFoundError as cause:
        raise _wrong(name, f"{FILE} is missing") from cause
    except OSError as cause:
        raise _wrong(name, f"{FILE} cannot be read: {cause.strerror}") from cause
    except ValueError as cause:
        raise _wrong(name, str(cause)) from cause
    if not 1 <= len(rows) <= _MAX_SCENES:
        raise _wrong(name, f"{FILE} must have 1 to {_MAX_SCENES} [[scene]]")
    scenes = tuple(_scene(row, folder, number) for number, row in enumerate(rows))
    for scene in scenes:
        if sum(other.name == scene.name for other in scenes) > 1:
            raise _wrong(name, f"two scenes are called {scene.name}")
    return Pack(name=name, folder=folder, scenes=scenes)


def check(pack: Pack) -> None:
    """Open every picture of a pack.

    Raises:
        MatteboxError: what `codec.decode` raises, with the picture's name.
    """
    for scene in pack.scenes:
        if scene.around is None:
            _picture(scene)
        else:
            _panorama(scene)


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


def view(scene: PackScene, *, width: int, height: int, seed: int = 0) -> Plate:
    """The picture, cut to the shape that is asked for and made of exactly this size; of a panorama the seed's view.

    As much of it is shown as fits. Where its top and bottom are cut, the horizon is kept in sight.

    Raises:
        MatteboxError: what `codec.decode` and `panorama.read` raise.
    """
    if scene.around is not None:
        return _looked_around(scene, scene.around, width=width, height=height, seed=seed)
    rgb = _picture(scene)
    rows, columns = rgb.shape[:2]
    scale = max(width / columns, height / rows)
    wide, high = min(columns, max(1, round(width / scale))), min(rows, max(1, round(height / scale)))
    left = (columns - wide) // 2
    center = 0.5 if scene.horizon is None else min(1.0, max(0.0, scene.horizon + 0.08))
    top = min(rows - high, max(0, round(center * rows - high / 2)))
    part = rgb[top : top + high, left : left + wide]
    return Plate(
        rgb=np.ascontiguousarray(resized(part, (width, height))),
        horizon=None if scene.horizon is None else (scene.horizon * rows - top) / high,
        light=scene.light or Light(strength=0.0),
        depth_of_field=scene.horizon is not None,
        served=Served(backend="packs", scene=f"{scene.pack}/{scene.name}"),
    )


def _looked_around(scene: PackScene, around: Around, *, width: int, height: int, seed: int) -> Plate:
    camera = around.cameras[seed % len(around.cameras)]
    opened = _panorama(scene)
    return Plate(
        rgb=panorama.view(opened, camera, width=width, height=height, key=around.key),
        horizon=camera.horizon if around.ground else None,
        light=panorama.light_of(opened, camera.yaw),
        depth_of_field=around.ground,
        served=Served(backend="packs", scene=f"{scene.pack}/{scene.name}"),
    )


@lru_cache(_KEPT)
def _panorama(scene: PackScene) -> panorama.Panorama:
    if scene.file.suffix.lower() not in _LINEAR:
        rgb = _picture(scene)
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


def _picture(scene: PackScene) -> RGB:
    name = f"{scene.pack}/{scene.file.name}"
    try:
        image = codec.decode(files.read(scene.file, _LIMITS.max_bytes), _LIMITS)
    except MatteboxError as error:
        raise MatteboxError(error.kind, f"The picture {name} of a scene pack: {error.message}") from error
    if image.alpha is not None:
        raise MatteboxError(
            Kind.UNREADABLE_IMAGE, f"The picture {name} of a scene pack is not opaque: a backdrop must be."
        )
    return codec.in_profile(image, None).rgb


# --- pack.toml --------------------------------------------------------------------------------------------------------


def _several(yaw: object) -> object:
    return tuple(yaw) if isinstance(yaw, list) else (yaw,)


def _scaled(light: Light) -> Light:
    """The light with a direction of length 1 and a colour of luminance 1."""
    length, luminance = math.hypot(*light.direction), float(color.luminance(np.array(light.color)))
    if not 0 < length < math.inf:
        raise ValueError("direction must be finite numbers, and not all zero")
    if not (min(light.color) >= 0 and 0 < luminance < math.inf):
        raise ValueError("color must be finite numbers, none of them negative, and not black")
    if not 0 <= light.strength <= 1:
        raise ValueError("strength must be from 0 to 1")
    x, y, z = (each / length for each in light.direction)
    red, green, blue = (each / luminance for each in light.color)
    return Light(direction=(x, y, z), color=(red, green, blue), strength=light.strength)


_Text: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
_Angle: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _SceneRow:
    """A `[[scene]]`; what is None is not said."""

    file: _Text
    name: Annotated[str, Field(pattern=f"^{_NAME}$")] | None = None
    tags: Annotated[tuple[_Text, ...], Field(min_length=1)]
    licence: _Text
    author: _Text
    horizon: Annotated[float, Field(ge=0, le=1)] | None = None
    light: Annotated[Light, AfterValidator(_scaled)] | None = None
    panorama: bool | None = None
    yaw: Annotated[tuple[_Angle, ...], BeforeValidator(_several), Field(min_length=1)] | None = None
    pitch: Annotated[float, Field(ge=-60, le=60)] | None = None
    field_of_view: Annotated[float, Field(ge=20, le=120)] | None = None
    key: Annotated[float, Field(ge=0.01, le=0.5)] | None = None
    ground: bool | None = None

    def around(self) -> Around:
        """The panorama's views."""
        pitch = panorama.Camera().pitch if self.pitch is None else self.pitch
        angle = self.field_of_view or 65.0
        cameras = (panorama.Camera(yaw=yaw, pitch=pitch, field_of_view=angle) for yaw in self.yaw or _ALL_AROUND)
        return Around(cameras=tuple(cameras), key=self.key or 0.18, ground=self.ground is not False)


@dataclass(frozen=True, slots=True)
class _Table:
    """The contents of `pack.toml`."""

    scene: tuple[_SceneRow, ...] = ()


def _wrong(pack: str, what: str) -> MatteboxError:
    return MatteboxError(Kind.INVALID_PARAMETER, f"The scene pack {pack} is not valid: {what}.", parameter="pack")


def _scene(row: _SceneRow, folder: Path, number: int) -> PackScene:
    where = f"scene.{number}"
    file = _file(folder, row.file, where)
    # An HDRI's own name, as in `Old_Hall_4k.hdr`, will do.
    name = row.name or re.sub(r"[^a-z0-9_-]", "-", file.stem.lower())
    if re.fullmatch(_NAME, name) is None:
        raise _wrong(folder.name, f"{where} needs a name of lower-case letters, digits, - and _")
    linear = file.suffix.lower() in _LINEAR
    if linear and row.panorama is False:
        raise _wrong(folder.name, f"{where}.panorama must be true for .hdr and .exr")
    is_panorama = linear or row.panorama is True
    useless = [key for key in (_FLAT_KEYS if is_panorama else _PANORAMA_KEYS) if getattr(row, key) is not None]
    if useless:
        kind = "a panorama, which has" if is_panorama else "no panorama, and needs"
        raise _wrong(folder.name, f"{where} is {kind} no {', '.join(useless)}")
    return PackScene(
        name=name,
        pack=folder.name,
        file=file,
        tags=row.tags,
        licence=row.licence,
        author=row.author,
        horizon=row.horizon,
        light=row.light,
        around=row.around() if is_panorama else None,
    )


def _file(folder: Path, text: str, where: str) -> Path:
    """The picture, which lies within the pack: neither `..` nor a link leads out of it."""
    file = folder / text
    if not file.resolve().is_relative_to(folder.resolve()):
        raise _wrong(folder.name, f"the file of {where} is outside the pack")
    if not file.is_file():
        raise _wrong(folder.name, f"the file of {where}, {text}, does not exist")
    return folder / file.resolve().relative_to(folder.resolve())

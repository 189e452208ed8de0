"""The command line as the tests run it, with fakes where networks would be."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner, Result

from mattebox import codec
from mattebox.cli import Components, app
from mattebox.edit import (
    Output,
)
from mattebox.image import RGB, Alpha
from mattebox.image import Image as Picture
from mattebox.models import Segmenter
from mattebox.steps import Segmenters
from mattebox.testing import FakeModels


def _photo() -> bytes:
    rgb = np.full((90, 120, 3), 200, np.uint8)
    rgb[20:70, 30:90] = (150, 30, 40)
    return codec.encode(Picture(rgb=rgb), Output())


PHOTO = _photo()
EMPTY = codec.encode(Picture(rgb=np.full((40, 50, 3), 200, np.uint8)), Output())


def fake(models: Segmenters | None = None) -> Components:
    return Components(networks=lambda options, fetching: models or FakeModels())


def mattebox(
    *args: str | Path, parts: Components | None = None, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> Result:
    return CliRunner().invoke(
        app, [str(arg) for arg in args], obj=parts or fake(), input=stdin, env=env, catch_exceptions=False
    )


def process(*args: str | Path, fake_networks: bool = True) -> list[str]:
    """The command line of a real process."""
    code = (
        "from mattebox.cli import Components, main; from mattebox.testing import FakeModels\n"
        "main(Components(networks=lambda options, fetching: FakeModels()))"
    )
    program = ["-c", code] if fake_networks else ["-m", "mattebox"]
    return [sys.executable, *program, *map(str, args)]


def photos(folder: Path, *names: str, data: bytes = PHOTO) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def names(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def opened(file: Path | bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file)
    picture.load()
    return picture


@dataclass(frozen=True)
class Elsewhere:
    """Models that do something of their own whenever the segmenter is called."""

    act: Callable[[RGB], Alpha]

    def segmenter(self, name: str) -> Segmenter:
        return self

    def __call__(self, photo: RGB) -> Alpha:
        return self.act(photo)

    def promptable(self) -> None: ...

    def warm(self, name: str) -> None: ...


def solid(color: tuple[int, int, int]) -> bytes:
    return codec.encode(Picture(rgb=np.full((30, 40, 3), color, np.uint8)), Output())

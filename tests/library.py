"""A scene, its file, and an engine without networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import mattebox
from mattebox import codec
from mattebox.backdrops.plate import Plate, PlateMaker
from mattebox.cancellation import Checkpoint
from mattebox.cutout import Cutout, Replaced
from mattebox.edit import Output, Prompt
from mattebox.engine import Engine
from mattebox.image import Image, Served
from mattebox.testing import FakeModels, make_scene

SCENE = make_scene(width=160, height=120, seed=4)
PNG = codec.encode(Image(rgb=SCENE.photo), Output())
ENGINE = Engine(FakeModels())


def cut(photo: mattebox.Photo) -> Cutout:
    return mattebox.remove_background(photo, engine=ENGINE)


GREEN = np.full((30, 40, 3), (0, 200, 0), np.uint8)


@dataclass
class Painter:
    """Paints everything in one colour, which is the seed, and remembers what it was asked for."""

    asked: list[Prompt] = field(default_factory=list)

    def warm(self) -> None: ...

    def choose(self, prompt: Prompt) -> PlateMaker:
        self.asked.append(prompt)

        def make(cutout: Image, checkpoint: Checkpoint) -> Plate:
            checkpoint()
            rgb = np.full((cutout.height, cutout.width, 3), prompt.seed, np.uint8)
            return Plate(rgb=rgb, served=Served(backend="painter", scene=prompt.text, score=0.5))

        return make

    def paint(self, prompt: str, *, width: int, height: int, seed: int, checkpoint: Checkpoint) -> Plate:
        raise NotImplementedError


def replaced(photo: mattebox.Photo = PNG, **behind: Any) -> Replaced:
    return mattebox.replace_background(photo, engine=ENGINE, **behind)

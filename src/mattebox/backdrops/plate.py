"""A finished backdrop: a picture, with the horizon and the light that a subject needs to stand in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from mattebox.cancellation import Checkpoint
from mattebox.image import RGB, Image, Served


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """The light of a scene, as the camera sees it.

    Attributes:
        direction: a unit vector towards the main light; x to the right, y up, z towards the viewer.
        color: what falls on a card that faces the camera, in linear sRGB, with a luminance of 1.
        strength: from 0, where light comes from everywhere, to 1, where it is one hard lamp.
    """

    direction: tuple[float, float, float] = (-0.4, 0.8, 0.45)
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    strength: float = 0.35


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plate:
    """A finished backdrop.

    Attributes:
        rgb: the picture, of exactly the size that was asked for.
        horizon: the row of the horizon as a fraction of the height, also outside [0, 1]; None without
            ground to stand on.
        light: how it is lit.
        grain: its noise, as a standard deviation in 8-bit levels.
        depth_of_field: blur it with the distance from the subject; False where it is drawn as it should be seen.
        finished: the subject is in it already, with its shadow; only its own pixels have to be put back.
        served: the generator, and how well the backdrop matches the prompt.
    """

    rgb: RGB
    horizon: float | None = None
    light: Light = Light()
    grain: float = 0.0
    depth_of_field: bool = False
    finished: bool = False
    served: Served


PlateMaker: TypeAlias = Callable[[Image, Checkpoint], Plate]
"""The backdrop that was chosen for a prompt: makes its plate, of the cutout's size."""

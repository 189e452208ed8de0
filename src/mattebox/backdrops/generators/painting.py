"""The sketch that every painting generator starts from, and the plate that its picture becomes.

A generator is shown the subject on neutral grey and told where it may paint: everywhere the subject is not. Networks
want sides of certain multiples and are at their best at about a megapixel, so the work is done at a size of its own and
stretched back: the stretch there and the stretch back cancel out, so that subject and scenery still meet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mattebox import color, compositing, layout
from mattebox.backdrops.plate import Light, Plate
from mattebox.edit import WHITE, Color
from mattebox.image import RGB, Image, Served
from mattebox.resampling import resized

GREY = Color(128, 128, 128)
PLAIN = "a plain photo studio backdrop"
"""The prompt that replaces an empty one."""

# Where less of it is subject, the grey would shine through: that is painted, and the subject laid over it afterwards.
_WHOLE = 0.98
# Proportions that differ by less are those that were asked for, rounded by the generator.
_SAME_SHAPE = 0.02
_BROKEN_SHAPE = "The generator gave a picture of other proportions: the surroundings may not fit the subject."
_LONGEST = 2048  # pixels of a side
_UPPER_BORDER = 1 / 8
_MOST_OF_A_CHANNEL = 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sketch:
    """The picture that a generator paints on.

    Attributes:
        rgb: the subject on neutral grey.
        keep: True where the picture is wholly subject and stays; shape (height, width). All else is painted.
    """

    rgb: RGB
    keep: npt.NDArray[np.bool_]


def working_size(
    width: int, height: int, *, multiple: int = 16, least: int = 1_000_000, most: int = 4_194_304
) -> tuple[int, int]:
    """Width and height to paint at: the canvas's proportions, as nearly as sides of a certain multiple allow.

    Args:
        width: of the canvas.
        height: of the canvas.
        multiple: what both sides are multiples of.
        least: pixels that a smaller canvas is enlarged to, as nearly as `multiple` and the longest side of 2048 allow.
        most: pixels that are never exceeded; at least `multiple` squared.
    """
    area = width * height
    scale = math.sqrt(min(max(area, least), most) / area)
    scale = min(scale, _LONGEST / max(width, height))
    sides = [max(1, min(round(side * scale / multiple), _LONGEST // multiple)) for side in (width, height)]
    while sides[0] * sides[1] * multiple**2 > most and max(sides) > 1:
        sides[sides.index(max(sides))] -= 1
    return sides[0] * multiple, sides[1] * multiple


def sketch(cutout: Image | None, size: tuple[int, int]) -> Sketch:
    """The picture to paint on, at `size` (width, height): the subject on grey, or grey alone without a cutout.

    Raises:
        ValueError: the cutout is opaque, so nothing could be painted.
    """
    width, height = size
    if cutout is None:
        grey = np.full((height, width, 3), GREY.red, np.uint8)
        return Sketch(rgb=grey, keep=np.zeros((height, width), np.bool_))
    if cutout.alpha is None:
        raise ValueError("a cutout has an alpha")
    alpha = resized(cutout.alpha, size, grow=cv2.INTER_LINEAR)
    # Linear, because sharper ways overshoot: the colours beside an outline would be nobody's.
    rgb = resized(compositing.over(cutout, GREY).rgb, size, grow=cv2.INTER_LINEAR)
    return Sketch(rgb=rgb, keep=alpha >= _WHOLE)


def plate_of(
    picture: Image, *, width: int, height: int, size: tuple[int, int], with_subject: bool, backend: str
) -> Plate:
    """The plate that a generator's answer becomes.

    Args:
        picture: the answer, of any size.
        width: of the canvas.
        height: of the canvas.
        size: what was asked for, width and height.
        with_subject: whether the subject was painted round, and so is in the picture.
        backend: the generator's name.
    """
    opaque = compositing.over(picture, WHITE)
    distortion = abs(math.log((picture.width * size[1]) / (picture.height * size[0])))
    whole = distortion <= _SAME_SHAPE
    rgb = resized(opaque.rgb, (width, height)) if whole else layout.cover(opaque, width, height).rgb
    return Plate(
        rgb=rgb,
        # Of a painted scene nothing is known; photographs of rooms and streets have their horizon near the middle.
        horizon=None if with_subject else 0.5,
        light=light_of(rgb),
        finished=with_subject,
        served=Served(backend=backend, warning=None if whole or not with_subject else _BROKEN_SHAPE),
    )


def light_of(rgb: RGB) -> Light:
    """A guess at the light of a picture: it comes from above, in the mean colour of the upper border.

    The colour is mixed with white until none of its channels exceeds twice the luminance: a blue wall does not make
    everything before it blue.
    """
    border = rgb[: max(1, round(rgb.shape[0] * _UPPER_BORDER))].reshape(-1, 3)
    # By counts of levels: no float copy of the border, however large it is.
    mean = np.array(
        [np.bincount(border[:, channel], minlength=256) @ color.LINEAR_OF_LEVEL for channel in range(3)]
    ) / len(border)
    luminance = float(color.luminance(mean))
    if luminance < 1e-4:
        return Light()
    tint = mean / luminance
    share = min(1.0, (_MOST_OF_A_CHANNEL - 1) / max(float(tint.max()) - 1, 1e-6))
    red, green, blue = (float(value) for value in 1 + share * (tint - 1))
    return Light(color=(red, green, blue), strength=0.35)

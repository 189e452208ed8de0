"""How a photo becomes a network's input, and a network's output an alpha: one rule a family.

Outputs are read as absolute values. Nothing is stretched to the range 0..1: a stretch would turn "there is no subject
here" into a full-contrast matte of noise.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

import cv2
import numpy as np
import numpy.typing as npt

from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha
from mattebox.models.catalogue import Family, Variant
from mattebox.resampling import resized

Batch: TypeAlias = npt.NDArray[np.float32]
"""A network's input, shape (n, 3, height, width): n normalised photos. With their trimaps, (n, 4, height, width)."""

_Channels: TypeAlias = tuple[float, float, float]

# How far into what is clear the network may look again, and what counts as clear, as the file's publisher has it.
_TRIMAP_PIXELS = 10
_TRIMAP_CLEAR = 10 / 255

# MODNet keeps the photo's shape; beyond this ratio it is squashed, so that a banner does not need gigabytes
_MODNET_STEP = 32
_MODNET_RATIO = 4


def input_size(variant: Variant, *, width: int, height: int) -> tuple[int, int]:
    """Height and width of the input that `variant` wants for a photo of `width` by `height` pixels."""
    match variant.family:
        case Family.ISNET | Family.U2NET | Family.BIREFNET | Family.BEN | Family.VITMATTE:
            return variant.size, variant.size
        case Family.MODNET:
            scale = variant.size / min(width, height)
            longest = variant.size * _MODNET_RATIO
            return _stepped(min(height * scale, longest)), _stepped(min(width * scale, longest))
        case unknown:
            assert_never(unknown)


def _stepped(side: float) -> int:
    return max(_MODNET_STEP, round(side / _MODNET_STEP) * _MODNET_STEP)


def takes_batches(variant: Variant) -> bool:
    """Whether nothing in the network depends on how many photos it is given, whatever its file says of its input.

    IS-Net and U2-Net are convolutions throughout. Others have the shapes of one photo inside where they were exported
    for one.
    """
    return variant.family in {Family.ISNET, Family.U2NET}


def shrink(photo: RGB, *, height: int, width: int) -> RGB:
    """The photo at (height, width), squashed if need be.

    Area averages when it gets smaller, so nothing aliases; cubic when it grows, which gave better mattes than linear on
    every set of small pictures (mean error in the edge band .088 instead of .092).
    """
    # Halving even sides is OpenCV's one fast area average, and averages of averages are the same averages.
    while photo.shape[0] >= 2 * height and photo.shape[1] >= 2 * width and not (photo.shape[0] | photo.shape[1]) % 2:
        half = (photo.shape[1] // 2, photo.shape[0] // 2)
        photo = np.asarray(cv2.resize(photo, half, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return resized(photo, (width, height))


def frame(photo: RGB) -> RGB:
    """The photo in a frame of its own reflection, an eighth of it wide: a subject that is cut off goes on there."""
    down, across = _frame(photo.shape[:2])
    framed = cv2.copyMakeBorder(photo, down, down, across, across, cv2.BORDER_REFLECT_101)
    return np.asarray(framed, np.uint8)


def unframe(alpha: Alpha, photo: tuple[int, int], size: tuple[int, int]) -> Alpha:
    """The part of an alpha of `frame`, at any resolution, that is the photo; all sizes are (height, width)."""
    down, across = _frame(photo)
    top, left = (
        round(side * edge / (inner + 2 * edge))
        for side, edge, inner in zip(alpha.shape, (down, across), photo, strict=True)
    )
    inside = alpha[top : alpha.shape[0] - top, left : alpha.shape[1] - left]
    return np.asarray(cv2.resize(inside, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _frame(photo: tuple[int, int]) -> tuple[int, int]:
    height, width = photo
    return height // 8, width // 8


def trimap(alpha: Alpha, size: tuple[int, int]) -> Alpha:
    """The clear parts of a rough alpha, at `size` (height, width): 1 inside, 0 outside, and 0.5 where it is unclear."""
    height, width = size
    alpha = np.asarray(cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    square = np.ones((_TRIMAP_PIXELS, _TRIMAP_PIXELS), np.uint8)
    outside, inside = (
        cv2.erode(clear.astype(np.uint8), square).astype(bool)
        for clear in (alpha < _TRIMAP_CLEAR, alpha > 1 - 1.5 * _TRIMAP_CLEAR)
    )
    return np.where(inside, np.float32(1), np.where(outside, np.float32(0), np.float32(0.5)))


def prepare(photo: RGB, variant: Variant, size: tuple[int, int], known: Alpha | None = None) -> Batch:
    """The photo as the network's input of `size` (height, width): (colour - mean) / scale, planes first.

    `known` is the trimap, of that size, for a network that takes one.
    """
    height, width = size
    batch = np.empty((1, 3 if known is None else 4, height, width), np.float32)
    if known is not None:
        batch[0, 3] = known
    _normalise(shrink(photo, height=height, width=width), variant.mean, variant.scale, batch)
    return batch


def normalised(photo: RGB, mean: _Channels, scale: _Channels, side: int) -> Batch:
    """The photo as an input of `side` by `side` pixels: (colour - mean) / scale, planes first."""
    batch = np.empty((1, 3, side, side), np.float32)
    _normalise(shrink(photo, height=side, width=side), mean, scale, batch)
    return batch


def _normalise(small: RGB, means: _Channels, scales: _Channels, batch: Batch) -> None:
    # plane by plane: five times cheaper than the same sum on (height, width, 3) and one transposed copy
    for channel, (mean, scale) in enumerate(zip(means, scales, strict=True)):
        plane = batch[0, channel]
        np.subtract(small[..., channel], np.float32(mean), out=plane)
        plane *= np.float32(1 / scale)


def read_alpha(raw: npt.NDArray[np.float32], variant: Variant) -> Alpha:
    """The network's output (height, width) as an alpha in [0, 1], absolute.

    Raises:
        MatteboxError: UNAVAILABLE where the output holds no numbers, as a damaged or unfit file gives.
    """
    if not np.isfinite(raw).all():
        raise MatteboxError(Kind.UNAVAILABLE, f"The network {variant.name} answered with values that are no numbers.")
    if variant.logits:
        # the sigmoid by way of tanh cannot overflow
        raw = np.float32(0.5) * (np.tanh(raw * np.float32(0.5)) + np.float32(1))
    return np.clip(raw, np.float32(0), np.float32(1))

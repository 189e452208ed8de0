"""Where the subject goes and how large the result is. Decisions are integer geometry; pixels only follow."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mattebox.edit import Layout
from mattebox.image import RGB, Alpha, Box, Image


@dataclass(frozen=True, slots=True)
class Placement:
    """The part of the picture that is kept, and the width and height it is scaled to."""

    keep: Box
    width: int
    height: int

    def moved(self, box: Box) -> Box:
        """Where a box of the source lies in the result: never empty, never outside the canvas."""
        across, down = self.width / self.keep.width, self.height / self.keep.height
        left = _within(int((box.left - self.keep.left) * across), self.width - 1)
        top = _within(int((box.top - self.keep.top) * down), self.height - 1)
        right = _within(-int((self.keep.left - box.right) * across // 1), self.width)
        bottom = _within(-int((self.keep.top - box.bottom) * down // 1), self.height)
        return Box(left, top, max(1, right - left), max(1, bottom - top))


def plan(width: int, height: int, subject: Box | None, layout: Layout) -> Placement:
    """Decide the geometry for a picture of `width` x `height` pixels whose subject lies in `subject`.

    Without a subject there is nothing to crop to, and the whole picture stays. Scaling keeps the aspect ratio to the
    nearest pixel, never enlarges, and leaves at least one pixel a side.
    """
    keep = subject if layout.crop and subject is not None else Box(0, 0, width, height)
    longer = max(keep.width, keep.height)
    if layout.max_side is None or longer <= layout.max_side:
        return Placement(keep, keep.width, keep.height)
    scale = layout.max_side / longer
    return Placement(keep, max(1, round(keep.width * scale)), max(1, round(keep.height * scale)))


def place(image: Image, placement: Placement) -> Image:
    """Carry a placement out. Colours are averaged by area, weighted with alpha, so that no fringe appears."""
    rows, columns = placement.keep.slices
    rgb, alpha = image.rgb[rows, columns], None if image.alpha is None else image.alpha[rows, columns]
    size = (placement.width, placement.height)
    if (placement.keep.width, placement.keep.height) != size:
        if alpha is None:
            rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        else:
            rgb, alpha = _shrink(rgb, alpha, size)
    return Image(rgb=rgb, alpha=alpha, icc=image.icc)


def _shrink(rgb: RGB, alpha: Alpha, size: tuple[int, int]) -> tuple[RGB, Alpha]:
    # Averaging straight colours would let the black behind alpha 0 bleed into the edge. Premultiplied colours average
    # rightly; 16 bits hold them without visible steps in half the memory of float.
    weighted = np.empty(rgb.shape, np.uint16)
    for top in range(0, rgb.shape[0], 256):
        band = slice(top, top + 256)
        weighted[band] = rgb[band] * (alpha[band, :, None] * np.float32(257)) + np.float32(0.5)
    small = np.asarray(cv2.resize(weighted, size, interpolation=cv2.INTER_AREA), np.float32)
    matte = np.clip(np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.float32), 0, 1)
    small /= np.maximum(matte, np.float32(1e-4))[:, :, None] * np.float32(257)
    return np.clip(small + np.float32(0.5), 0, 255).astype(np.uint8), matte


def _within(value: int, most: int) -> int:
    return min(max(value, 0), most)

"""Drawn photos of every size, kept between runs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from contestants import BUILD
from mattebox import codec
from mattebox.edit import Format, Output
from mattebox.image import Image
from mattebox.testing import make_scene

MEGAPIXELS = (0.3, 2.5, 12.0, 24.0, 50.0)


def photo(megapixels: float) -> Path:
    """A JPEG of 4 by 3 with hairs, soft edges and the noise of a camera."""
    file = BUILD / "photos" / f"{megapixels:g}.jpg"
    if not file.exists():
        width, height = 4 * round((megapixels * 1e6 / 12) ** 0.5), 3 * round((megapixels * 1e6 / 12) ** 0.5)
        scene = make_scene(width=min(width, 4000), height=min(height, 3000), seed=1).photo
        drawn = np.asarray(cv2.resize(scene, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
        tile = np.random.default_rng(0).normal(0, 3, (256, width, 3)).astype(np.int16)
        for top in range(0, height, len(tile)):  # in bands: 50 megapixels of wider numbers are much memory
            band = drawn[top : top + len(tile)]
            band[:] = np.clip(band + tile[: len(band)], 0, 255)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(codec.encode(Image(rgb=drawn), Output(format=Format.JPEG, quality=90)))
    return file


def folder(number: int) -> Path:
    """A folder of that many photos of 0.3 and 2.5 megapixels in turn, as links."""
    made = BUILD / f"folder-{number}"
    made.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        link = made / f"photo-{index:03}.jpg"
        link.unlink(missing_ok=True)
        link.symlink_to(photo((0.3, 2.5)[index % 2]))
    return made

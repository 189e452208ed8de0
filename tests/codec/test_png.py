from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mattebox.codec import png


def noise(height: int, width: int, channels: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def in_bands(pixels: npt.NDArray[np.uint8], rows: int) -> Iterator[npt.NDArray[np.uint8]]:
    return (pixels[top : top + rows] for top in range(0, len(pixels), rows))


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 3, 4]),
    rows=st.integers(1, 50),
    seed=st.integers(0, 9),
)
def test_every_size_comes_back_as_it_was(height: int, width: int, channels: int, rows: int, seed: int) -> None:
    pixels = noise(height, width, channels, seed)
    file = png.encode(in_bands(pixels, rows), width=width, height=height, channels=channels)
    PIL.Image.open(BytesIO(file)).verify()
    picture = PIL.Image.open(BytesIO(file))
    assert picture.mode == {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    np.testing.assert_array_equal(np.asarray(picture).reshape(height, width, channels), pixels)


def test_a_band_may_be_reused_by_its_maker() -> None:
    pixels = noise(9, 7, 3)

    def reusing() -> Iterator[npt.NDArray[np.uint8]]:
        band = np.empty((3, 7, 3), np.uint8)
        for top in (0, 3, 6):
            band[:] = pixels[top : top + 3]
            yield band

    file = png.encode(reusing(), width=7, height=9, channels=3)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(BytesIO(file))), pixels)


def test_the_profile_is_written_as_it_is() -> None:
    profile = bytes(range(256)) * 40
    file = png.encode([noise(2, 2, 3)], width=2, height=2, channels=3, icc=profile)
    assert PIL.Image.open(BytesIO(file)).info["icc_profile"] == profile


def test_flat_areas_become_small() -> None:
    flat = np.zeros((1000, 1000, 4), np.uint8)
    assert len(png.encode(in_bands(flat, 64), width=1000, height=1000, channels=4)) < 40_000


def test_bands_must_add_up_to_the_picture() -> None:
    with pytest.raises(ValueError, match="rows"):
        png.encode([noise(3, 4, 3)], width=4, height=5, channels=3)
    with pytest.raises(ValueError, match="band"):
        png.encode([noise(3, 4, 3)], width=5, height=3, channels=3)

from __future__ import annotations

import numpy as np
import pytest

from mattebox.image import Box, Image


def test_a_box_knows_its_far_sides_and_indexes_an_array() -> None:
    box = Box(2, 1, 3, 4)
    assert (box.right, box.bottom) == (5, 5)
    assert np.zeros((10, 10))[box.slices].shape == (4, 3)


def test_boxes_overlap_in_what_both_have() -> None:
    box = Box(2, 1, 3, 4)
    assert box.overlap(Box(0, 3, 4, 9)) == Box(2, 3, 2, 2)
    assert box.overlap(Box(3, 2, 1, 1)) == Box(3, 2, 1, 1)
    assert box.overlap(Box(5, 1, 3, 4)) is None


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_colours_of_another_shape_or_type_are_refused(rgb: np.ndarray) -> None:
    with pytest.raises(ValueError, match="rgb must be"):
        Image(rgb=rgb)


@pytest.mark.parametrize("alpha", [np.zeros((4, 5), np.float32), np.zeros((4, 4), np.float64)])
def test_a_matte_of_another_shape_or_type_is_refused(alpha: np.ndarray) -> None:
    with pytest.raises(ValueError, match="alpha must be"):
        Image(rgb=np.zeros((4, 4, 3), np.uint8), alpha=alpha)


def test_width_and_height() -> None:
    image = Image(rgb=np.zeros((4, 7, 3), np.uint8))
    assert (image.width, image.height) == (7, 4)

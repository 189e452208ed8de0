from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mattebox import layout
from mattebox.edit import Layout
from mattebox.image import Box, Image
from mattebox.layout import Placement


@st.composite
def scenes(draw: st.DrawFn) -> tuple[int, int, Box]:
    width, height = draw(st.integers(1, 9000)), draw(st.integers(1, 9000))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return width, height, Box(left, top, draw(st.integers(1, width - left)), draw(st.integers(1, height - top)))


@given(scene=scenes(), crop=st.booleans(), max_side=st.none() | st.integers(1, 9000))
def test_a_plan_never_leaves_the_picture_and_keeps_its_promises(
    scene: tuple[int, int, Box], crop: bool, max_side: int | None
) -> None:
    width, height, subject = scene
    placement = layout.plan(width, height, subject, Layout(crop=crop, max_side=max_side))
    keep = placement.keep
    assert 0 <= keep.left < keep.right <= width
    assert 0 <= keep.top < keep.bottom <= height
    assert 1 <= placement.width <= keep.width
    assert 1 <= placement.height <= keep.height
    if max_side is not None:
        assert max(placement.width, placement.height) <= max_side
        longer = max(keep.width, keep.height)
        assert max(placement.width, placement.height) == min(longer, max_side)
    moved = placement.moved(subject)
    assert 0 <= moved.left < moved.right <= placement.width
    assert 0 <= moved.top < moved.bottom <= placement.height
    if crop:
        assert keep == subject
        assert moved == Box(0, 0, placement.width, placement.height)


def test_without_a_subject_there_is_nothing_to_crop_to() -> None:
    assert layout.plan(40, 30, None, Layout(crop=True)).keep == Box(0, 0, 40, 30)


def test_a_size_is_the_longer_side() -> None:
    assert layout.plan(4000, 3000, None, Layout(max_side=1000)) == Placement(Box(0, 0, 4000, 3000), 1000, 750)
    assert layout.plan(300, 4000, None, Layout(max_side=1000)) == Placement(Box(0, 0, 300, 4000), 75, 1000)


def test_place_crops_without_touching_a_pixel() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    alpha = np.random.default_rng(1).random((20, 30), np.float32)
    placed = layout.place(Image(rgb=rgb, alpha=alpha), Placement(Box(3, 4, 10, 8), 10, 8))
    np.testing.assert_array_equal(placed.rgb, rgb[4:12, 3:13])
    assert placed.alpha is not None
    np.testing.assert_array_equal(placed.alpha, alpha[4:12, 3:13])


def test_shrinking_lets_no_black_into_the_edge() -> None:
    rgb = np.zeros((600, 600, 3), np.uint8)
    rgb[:, :301] = (200, 100, 50)
    alpha = np.zeros((600, 600), np.float32)
    alpha[:, :301] = 1
    placed = layout.place(Image(rgb=rgb, alpha=alpha), layout.plan(600, 600, None, Layout(max_side=100)))
    assert placed.alpha is not None
    seen = placed.alpha > 0.02
    assert 0 < placed.alpha[50, 50] < 1  # the edge falls inside this pixel
    assert np.abs(placed.rgb[seen].astype(int) - (200, 100, 50)).max() <= 1


@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
def test_shrinking_keeps_flat_pictures_flat(level: float) -> None:
    image = Image(rgb=np.full((90, 70, 3), 131, np.uint8), alpha=np.full((90, 70), level, np.float32))
    placed = layout.place(image, layout.plan(70, 90, None, Layout(max_side=17)))
    assert placed.alpha is not None
    np.testing.assert_allclose(placed.alpha, level, atol=1e-6)
    if level:
        assert np.abs(placed.rgb.astype(int) - 131).max() <= 1

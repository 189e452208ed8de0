from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mattebox.image import RGB, Alpha
from mattebox.matting import stretch_alpha
from mattebox.refinement import refine_alpha
from mattebox.testing import make_scene


def rough_of(alpha: Alpha, side: int) -> Alpha:
    """What a network would see of the truth: the right place, without the detail."""
    small = cv2.resize(alpha, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 1.5), np.float32)


def test_hair_is_drawn_after_the_photo() -> None:
    scene = make_scene(width=1600, height=1200, seed=5)
    rough = rough_of(scene.alpha, 256)
    band = cv2.dilate(((scene.alpha > 0.02) & (scene.alpha < 0.98)).view(np.uint8), np.ones((9, 9), np.uint8)) > 0

    def error(alpha: Alpha) -> float:
        return float(np.abs(alpha - scene.alpha)[band].mean())

    assert error(refine_alpha(scene.photo, rough)) < 0.85 * error(stretch_alpha(scene.photo, rough))


def test_a_photo_no_larger_than_its_matte_is_left_alone() -> None:
    scene = make_scene(width=200, height=150, seed=5)
    rough = rough_of(scene.alpha, 256)
    np.testing.assert_array_equal(refine_alpha(scene.photo, rough), stretch_alpha(scene.photo, rough))


def test_sure_pixels_stay_sure() -> None:
    scene = make_scene(width=1600, height=1200, seed=6)
    rough = rough_of(scene.alpha, 256)
    stretched, refined = stretch_alpha(scene.photo, rough), refine_alpha(scene.photo, rough)
    assert np.all(refined[stretched == 1] > 0.99)
    far = cv2.dilate((stretched > 0).astype(np.uint8), np.ones((201, 201), np.uint8)) == 0
    assert not refined[far].any()


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_flat_mattes_stay_flat(level: float) -> None:
    scene = make_scene(width=700, height=500, seed=1)
    np.testing.assert_allclose(refine_alpha(scene.photo, np.full((64, 64), level, np.float32)), level)


@settings(deadline=None, max_examples=30)
@given(
    photo=arrays.arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 400), st.just(3))),
    rough=arrays.arrays(np.float32, (9, 11), elements=st.floats(0, 1, width=32)),
)
def test_any_picture_gives_an_alpha_of_its_size(photo: RGB, rough: Alpha) -> None:
    before = photo.copy()
    alpha = refine_alpha(photo, rough)
    assert alpha.shape == photo.shape[:2]
    assert alpha.dtype == np.float32
    assert alpha.min() >= 0
    assert alpha.max() <= 1
    np.testing.assert_array_equal(photo, before)

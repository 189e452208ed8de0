from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mattebox import compositing
from mattebox.edit import Color
from mattebox.image import RGB, Image

COLOR = st.builds(Color, st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))


@given(rgb=arrays.arrays(np.uint8, (7, 5, 3)), color=COLOR, level=st.floats(0, 1, width=32))
def test_over_is_alpha_f_plus_one_minus_alpha_b(rgb: RGB, color: Color, level: float) -> None:
    alpha = np.full((7, 5), level, np.float32)
    behind = np.array([color.red, color.green, color.blue], np.float64)
    expected = level * rgb.astype(np.float64) + (1 - level) * behind
    result = compositing.over(Image(rgb=rgb, alpha=alpha), color)
    assert result.alpha is None
    assert np.abs(result.rgb - expected).max() <= 0.51


def test_opaque_stays_and_clear_becomes_the_colour() -> None:
    rgb = np.arange(600 * 4 * 3, dtype=np.uint32).astype(np.uint8).reshape(600, 4, 3)  # more rows than one band
    alpha = np.zeros((600, 4), np.float32)
    alpha[:, :2] = 1
    result = compositing.over(Image(rgb=rgb, alpha=alpha, icc=b"profile"), Color(1, 2, 3))
    np.testing.assert_array_equal(result.rgb[:, :2], rgb[:, :2])
    assert np.all(result.rgb[:, 2:] == (1, 2, 3))
    assert result.icc == b"profile"


def test_an_opaque_picture_hides_what_is_behind() -> None:
    image = Image(rgb=np.zeros((2, 2, 3), np.uint8))
    assert compositing.over(image, Color(255, 0, 0)) is image

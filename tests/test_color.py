from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mattebox import color


@pytest.mark.parametrize(
    ("encoded", "linear"),
    [
        (0.0, 0.0),
        (0.04, 0.0030960),
        (0.5, 0.2140411),
        (
            0.735,
            0.4995,
        ),
        (1.0, 1.0),
    ],
)
def test_known_values(encoded: float, linear: float) -> None:
    assert color.to_linear(np.array([encoded], np.float64)) == pytest.approx(linear, abs=1e-4)
    assert color.to_srgb(np.array([linear], np.float64)) == pytest.approx(encoded, abs=1e-4)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8))
def test_there_and_back(values: list[float]) -> None:
    encoded = np.array(values, np.float32)
    light = color.to_linear(encoded)
    assert light.dtype == np.float32
    assert (light <= encoded + np.float32(1e-6)).all()
    np.testing.assert_allclose(color.to_srgb(light), encoded, atol=1e-5)


def test_every_level_comes_back() -> None:
    levels = color.to_srgb(color.LINEAR_OF_LEVEL) * 255
    np.testing.assert_array_equal(np.rint(levels), np.arange(256))
    assert not color.LINEAR_OF_LEVEL.flags.writeable
    assert (np.diff(color.LINEAR_OF_LEVEL) > 0).all()


def test_luminance() -> None:
    pixels = np.array([[[1, 1, 1], [0, 1, 0], [0, 0, 0]]], np.float32)
    found = color.luminance(pixels)
    assert found.shape == (1, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[1, 0.7152, 0]], atol=1e-6)

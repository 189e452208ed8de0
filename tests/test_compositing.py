from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mattebox import compositing
from mattebox.edit import Color, Gradient
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


PICTURES = st.builds(
    lambda height, width, alpha, seed: Image(
        rgb=np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8),
        alpha=np.random.default_rng(seed).random((height, width), np.float32).round(1) if alpha else None,
        icc=bytes([seed]),
    ),
    st.integers(1, 9),
    st.integers(1, 9),
    st.booleans(),
    st.integers(0, 99),
)


@given(over=PICTURES, under=PICTURES, left=st.integers(-10, 10), top=st.integers(-10, 10))
def test_stack_is_porter_and_duffs_over(over: Image, under: Image, left: int, top: int) -> None:
    def rgba(image: Image) -> npt.NDArray[np.float64]:
        alpha = np.ones(image.rgb.shape[:2]) if image.alpha is None else image.alpha
        return np.dstack([image.rgb * alpha[:, :, None], alpha]).astype(np.float64)

    # The upper picture on a clear canvas with room on all sides, of which the lower picture's part is taken.
    canvas = np.zeros((under.height + 40, under.width + 40, 4))
    canvas[20 + top : 20 + top + over.height, 20 + left : 20 + left + over.width] = rgba(over)
    upper = canvas[20 : 20 + under.height, 20 : 20 + under.width]
    expected = upper + rgba(under) * (1 - upper[:, :, 3:])
    result = compositing.stack(over, under, left=left, top=top)
    assert result.icc == under.icc
    if under.alpha is None:
        assert result.alpha is None
    else:
        assert result.alpha is not None
        np.testing.assert_allclose(result.alpha, expected[:, :, 3], atol=1e-6)
    seen = expected[:, :, 3] > 0
    straight = expected[seen][:, :3] / expected[seen][:, 3:]
    assert seen.sum() == 0 or np.abs(result.rgb[seen] - straight).max() <= 0.51


def test_stack_leaves_its_pictures_alone() -> None:
    under = Image(rgb=np.zeros((700, 5, 3), np.uint8), alpha=np.zeros((700, 5), np.float32))
    over = Image(rgb=np.full((650, 3, 3), 9, np.uint8))  # more rows than two bands
    result = compositing.stack(over, under, left=1, top=20)
    assert result.alpha is not None
    assert np.array_equal(result.alpha[20:670, 1:4], np.ones((650, 3)))
    assert result.alpha.sum() == 650 * 3
    assert (result.rgb[20:670, 1:4] == 9).all()
    assert not under.rgb.any()
    assert under.alpha is not None
    assert not under.alpha.any()
    away = compositing.stack(over, under, left=5, top=0)
    assert not np.shares_memory(away.rgb, under.rgb)
    np.testing.assert_array_equal(away.rgb, under.rgb)


def test_over_a_picture() -> None:
    random = np.random.default_rng(3)
    front, behind = random.integers(0, 256, (2, 600, 4, 3), np.uint8)  # more rows than one band
    alpha = random.random((600, 4), np.float32)
    alpha[:, 0], alpha[:, 1] = 0, 1
    result = compositing.over(Image(rgb=front, alpha=alpha, icc=b"profile"), Image(rgb=behind))
    np.testing.assert_array_equal(result.rgb[:, 0], behind[:, 0])
    np.testing.assert_array_equal(result.rgb[:, 1], front[:, 1])
    expected = alpha[..., None] * front.astype(np.float64) + (1 - alpha[..., None]) * behind
    assert np.abs(result.rgb - expected).max() <= 0.51
    assert result.alpha is None
    assert result.icc == b"profile"


def test_a_flat_picture_behind_is_the_same_as_its_colour() -> None:
    random = np.random.default_rng(4)
    image = Image(rgb=random.integers(0, 256, (9, 8, 3), np.uint8), alpha=random.random((9, 8), np.float32))
    flat = Image(rgb=np.full((9, 8, 3), (9, 8, 7), np.uint8))
    np.testing.assert_array_equal(compositing.over(image, flat).rgb, compositing.over(image, Color(9, 8, 7)).rgb)


def test_a_backdrop_has_the_size_of_the_picture() -> None:
    image = Image(rgb=np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(ValueError, match="does not fit"):
        compositing.over(image, Image(rgb=np.zeros((3, 2, 3), np.uint8)))


def test_a_colour_that_is_half_opaque_leaves_the_picture_half_transparent() -> None:
    alpha = np.array([[0, 0.5, 1]], np.float32)
    cutout = Image(rgb=np.full((1, 3, 3), 200, np.uint8), alpha=alpha)
    mixed = compositing.over(cutout, Color(0, 100, 0, opacity=0.5))
    assert mixed.alpha is not None
    np.testing.assert_allclose(mixed.alpha, [[0.5, 0.75, 1]], atol=1e-6)
    np.testing.assert_array_equal(mixed.rgb[0, 0], (0, 100, 0))
    np.testing.assert_array_equal(
        mixed.rgb[0, 1], np.rint((np.array([200, 200, 200]) * 0.5 + np.array([0, 100, 0]) * 0.25) / 0.75)
    )
    np.testing.assert_array_equal(mixed.rgb[0, 2], (200, 200, 200))


def test_clear_parts_are_filled_with_the_nearest_colour() -> None:
    rgb = np.array([[[10, 20, 30], [255, 0, 255], [255, 0, 255], [255, 0, 255], [30, 40, 50]]], np.uint8)
    for opaque in (Image(rgb=rgb), Image(rgb=rgb, alpha=np.zeros((1, 5), np.float32))):
        assert compositing.filled(opaque) is rgb
    filled = compositing.filled(Image(rgb=rgb, alpha=np.array([[1, 0, 0, 0, 0.25]], np.float32)))
    assert filled[0, :2].tolist() == [[10, 20, 30]] * 2
    assert filled[0, 3:].tolist() == [[30, 40, 50]] * 2
    assert filled[0, 2].tolist() in ([10, 20, 30], [30, 40, 50])


@pytest.mark.parametrize(
    ("angle", "corners"),
    [
        (180, ("start", "start", "end", "end")),
        (0, ("end", "end", "start", "start")),
        (90, ("start", "end", "start", "end")),
        (-90, ("end", "start", "end", "start")),
        (270, ("end", "start", "end", "start")),
        (360, ("end", "end", "start", "start")),
    ],
)
def test_a_gradient_runs_where_its_angle_points(angle: float, corners: tuple[str, ...]) -> None:
    colors = {"start": (250, 10, 0), "end": (0, 10, 200)}
    rgb = compositing.gradient(Gradient(Color(*colors["start"]), Color(*colors["end"]), angle), 700, 500).rgb
    assert rgb.shape == (500, 700, 3)
    for found, name in zip((rgb[0, 0], rgb[0, -1], rgb[-1, 0], rgb[-1, -1]), corners, strict=True):
        np.testing.assert_allclose(found, colors[name], atol=1)


def test_the_corners_of_a_slanted_gradient_are_those_of_css() -> None:
    # By the definition: the line through the middle is so long that the nearest corners have the pure colours.
    rgb = compositing.gradient(Gradient(Color(0, 0, 0), Color(240, 240, 240), 135), 600, 200).rgb
    np.testing.assert_allclose(rgb[0, 0], 0, atol=1)
    np.testing.assert_allclose(rgb[-1, -1], 240, atol=1)
    np.testing.assert_allclose(rgb[0, -1], 240 * 600 / 800, atol=1)
    np.testing.assert_allclose(rgb[-1, 0], 240 * 200 / 800, atol=1)


@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    start=COLOR,
    end=COLOR,
    angle=st.floats(-360, 360),
)
def test_a_gradient_is_the_mixture_in_srgb_within_a_level(
    width: int, height: int, start: Color, end: Color, angle: float
) -> None:
    turn = np.radians(angle)
    along = np.array([np.sin(turn), -np.cos(turn)])
    length = abs(along[0]) * width + abs(along[1]) * height
    y, x = np.mgrid[:height, :width] + 0.5
    share = ((x - width / 2) * along[0] + (y - height / 2) * along[1]) / length + 0.5
    first, last = (np.array([each.red, each.green, each.blue]) for each in (start, end))
    exact = first + share[:, :, None] * (last - first)
    image = compositing.gradient(Gradient(start, end, angle), width, height)
    assert image.alpha is None
    assert np.abs(image.rgb - exact).max() < 1


def test_one_pixel_has_the_mixture_and_equal_colours_are_flat() -> None:
    only = compositing.gradient(Gradient(Color(255, 100, 0), Color(255, 0, 20)), 1, 1).rgb
    assert tuple(only[0, 0]) == (255, 50, 10)
    flat = compositing.gradient(Gradient(Color(9, 200, 255), Color(9, 200, 255), 30), 300, 300).rgb
    assert np.all(flat == (9, 200, 255))


def test_a_gradient_has_no_bands() -> None:
    rgb = compositing.gradient(Gradient(Color(100, 100, 100), Color(104, 104, 104), 90), 1024, 64).rgb
    means = rgb[:, :, 0].reshape(64, 128, 8).mean((0, 2))
    np.testing.assert_allclose(means, 100 + 4 * (np.arange(128) + 0.5) / 128, atol=0.05)

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mattebox.backdrops.composite import stage
from mattebox.backdrops.plate import Light, Plate
from mattebox.image import RGB, Alpha, Box, Image, Served
from mattebox.matting import find_subject

NEUTRAL = Light(direction=(0.0, 0.8, 0.6), color=(1.0, 1.0, 1.0), strength=0.0)
SERVED = Served(backend="test")


def make_plate(width: int = 240, height: int = 200, *, horizon: float | None = 0.4) -> Plate:
    """A grey wall above a lighter ground, finely chequered so that blur shows."""
    y, x = np.mgrid[:height, :width]
    level = np.where(y < 0.4 * height, 110, 150) + np.where((x // 2 + y // 2) % 2, 20, -20)
    rgb = np.repeat(level.astype(np.uint8)[:, :, None], 3, axis=2)
    return Plate(rgb=rgb, horizon=horizon, light=NEUTRAL, served=SERVED)


def make_cutout(box: Box, width: int = 240, height: int = 200, *, level: float = 1.0) -> Image:
    """A box of mid-grey with a coarse pattern; nothing else in the frame."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([120 + x // 8 % 5 * 10, 120 + y // 8 % 5 * 10, np.full_like(x, 130)], axis=2).astype(np.uint8)
    alpha = np.zeros((height, width), np.float32)
    alpha[box.slices] = level
    rgb[alpha == 0] = 0
    return Image(rgb=rgb, alpha=alpha)


def inside(box: Box, by: int = 10) -> tuple[slice, slice]:
    return slice(box.top + by, box.bottom - by), slice(box.left + by, box.right - by)


STANDING = Box(90, 50, 60, 100)  # its base at 0.75 of the height
CROPPED = Box(80, 60, 70, 140)  # cut by the lower edge


def test_a_subject_cut_by_the_lower_edge_keeps_its_framing_and_its_pixels() -> None:
    cutout = make_cutout(CROPPED)
    result = stage(cutout, CROPPED, make_plate())
    assert result.alpha is None
    rows, columns = slice(CROPPED.top + 10, CROPPED.bottom), slice(CROPPED.left + 10, CROPPED.right - 10)
    np.testing.assert_array_equal(result.rgb[rows, columns], cutout.rgb[rows, columns])


@pytest.mark.parametrize("horizon", [None, 0.95])
def test_without_ground_the_framing_is_kept(horizon: float | None) -> None:
    cutout = make_cutout(STANDING)
    result = stage(cutout, STANDING, make_plate(horizon=horizon))
    np.testing.assert_array_equal(result.rgb[inside(STANDING)], cutout.rgb[inside(STANDING)])


def test_without_a_horizon_nothing_is_darkened() -> None:
    plate = make_plate(horizon=None)
    result = stage(make_cutout(STANDING), STANDING, plate)
    outside = np.ones((200, 240), np.bool_)
    outside[STANDING.slices] = False
    np.testing.assert_array_equal(result.rgb[outside], plate.rgb[outside])


def test_a_subject_is_set_on_the_ground_at_its_own_scale() -> None:
    cutout = make_cutout(STANDING)
    result = stage(cutout, STANDING, make_plate())
    moved = Box(STANDING.left, STANDING.top + 10, STANDING.width, STANDING.height)  # base at 0.80
    np.testing.assert_array_equal(result.rgb[inside(moved)], cutout.rgb[inside(STANDING)])


def test_a_low_horizon_takes_the_base_below_it() -> None:
    cutout = make_cutout(STANDING)
    result = stage(cutout, STANDING, make_plate(horizon=0.78))
    moved = Box(STANDING.left, STANDING.top + 26, STANDING.width, STANDING.height)  # base at 0.88
    np.testing.assert_array_equal(result.rgb[inside(moved)], cutout.rgb[inside(STANDING)])


def test_a_tall_subject_is_made_smaller_rather_than_beheaded() -> None:
    tall = Box(100, 4, 40, 192)
    cutout = make_cutout(tall)
    plate = replace(make_plate(), rgb=np.full((200, 240, 3), 20, np.uint8))
    shown = np.abs(stage(cutout, tall, plate).rgb.astype(np.int16) - 20).max(axis=2) > 50
    left, top, width, height = cv2.boundingRect(shown.view(np.uint8))
    assert abs(top - 4) <= 1
    assert abs(top + height - 184) <= 1
    assert abs(width - 40 * 180 / 192) <= 2
    assert abs(left + width / 2 - 120) <= 1


@pytest.mark.parametrize(("left", "at"), [(0, 0), (200, 239)])
def test_a_subject_stays_on_the_side_that_it_touches(left: int, at: int) -> None:
    tall = Box(left, 4, 40, 192)
    plate = replace(make_plate(), rgb=np.full((200, 240, 3), 20, np.uint8))
    result = stage(make_cutout(tall), tall, plate)
    assert result.rgb[100, at].min() > 80


def test_a_subject_that_hangs_in_from_the_top_stays_there() -> None:
    hanging = Box(100, 0, 40, 80)
    cutout = make_cutout(hanging)
    result = stage(cutout, hanging, make_plate())
    rows = slice(0, 70)
    np.testing.assert_array_equal(result.rgb[rows, 110:130], cutout.rgb[rows, 110:130])


def test_the_ground_is_dark_at_the_feet_and_the_wall_is_not() -> None:
    plate = make_plate()
    result = stage(make_cutout(STANDING), STANDING, plate)
    change = plate.rgb.astype(np.float32).mean(axis=2) - result.rgb.astype(np.float32).mean(axis=2)
    assert change[161:164, 100:140].mean() > 15  # below the base, which is at row 160
    assert np.abs(change[:80, :80]).max() == 0
    assert np.abs(change[:80, 160:]).max() == 0


def test_the_shadow_falls_away_from_the_light() -> None:
    plate = replace(make_plate(), light=Light(direction=(-0.6, 0.7, 0.4), strength=1.0))
    result = stage(make_cutout(STANDING), STANDING, plate)
    change = plate.rgb.astype(np.float32).mean(axis=2) - result.rgb.astype(np.float32).mean(axis=2)
    assert change[140:165, 155:190].mean() > 2 * change[140:165, 50:85].mean() + 2


def test_a_foot_that_stands_farther_back_has_a_shadow_too() -> None:
    alpha = np.zeros((200, 240), np.float32)
    alpha[50:115, 90:150] = 1
    alpha[110:150, 92:97] = alpha[110:150, 143:148] = 1
    alpha[110:136, 117:122] = 1  # behind the line of the other two
    plate = make_plate()
    result = stage(Image(rgb=np.full((200, 240, 3), 90, np.uint8), alpha=alpha), STANDING, plate).rgb
    change = plate.rgb.astype(np.float32).mean(axis=2) - result.astype(np.float32).mean(axis=2)
    assert change[146:148, 116:124].mean() > 1.5 * change[146:148, 104:112].mean() + 5


def test_what_is_far_is_blurred_and_what_is_at_the_feet_is_not() -> None:
    plate = replace(make_plate(960, 800), depth_of_field=True)
    box = Box(400, 200, 160, 480)  # base at 0.85
    result = stage(make_cutout(box, 960, 800), box, plate).rgb[:, :300].astype(np.float32).mean(axis=2)
    assert result[20:200].std() < 3
    assert result[675:685].std() > 15


def test_the_light_colours_the_subject_mildly() -> None:
    plate = replace(make_plate(), light=replace(NEUTRAL, color=(1.6, 0.9, 0.5)))
    cutout = make_cutout(CROPPED)
    result = stage(cutout, CROPPED, plate).rgb[inside(CROPPED)].astype(np.float32).mean(axis=(0, 1))
    before = cutout.rgb[inside(CROPPED)].astype(np.float32).mean(axis=(0, 1))
    ratio = result / before
    assert 1.01 < ratio[0] < 1.15
    assert 0.85 < ratio[2] < 0.99


def test_light_from_the_left_makes_the_left_side_lighter() -> None:
    plate = replace(make_plate(), light=Light(direction=(-1.0, 0.0, 0.0), strength=1.0))
    cutout = make_cutout(CROPPED)
    change = stage(cutout, CROPPED, plate).rgb.astype(np.float32) - cutout.rgb
    assert change[120:190, 92:100].mean() > 1
    assert change[120:190, 130:138].mean() < -1


def test_the_backdrop_gets_the_photos_noise_and_keeps_its_whites() -> None:
    random = np.random.default_rng(3)
    rgb = np.clip(128 + random.normal(0, 2.5, (400, 400, 3)), 0, 255).astype(np.uint8)
    alpha = np.zeros((400, 400), np.float32)
    box = Box(100, 100, 200, 300)
    alpha[box.slices] = 1
    backdrop = np.full((400, 400, 3), 128, np.uint8)
    backdrop[:, 350:] = 255
    plate = Plate(rgb=backdrop, light=NEUTRAL, served=SERVED)
    result = stage(Image(rgb=rgb, alpha=alpha), box, plate).rgb
    assert 1.2 < result[:, :80].astype(np.float32).mean(axis=2).std() < 3.0
    assert np.all(result[:, 350:] == 255)
    clean = stage(make_cutout(box, 400, 400), box, plate).rgb
    assert np.all(clean[:, :80] == 128)


def test_glass_lets_the_backdrop_shine_through() -> None:
    glass = make_cutout(CROPPED, level=0.4)
    through = stage(glass, CROPPED, make_plate()).rgb[inside(CROPPED)].astype(np.float32)
    assert through.std(axis=(0, 1)).min() > 8  # the chequers are seen


def test_a_finished_plate_only_gets_the_subjects_own_pixels_back() -> None:
    plate = replace(make_plate(), finished=True, depth_of_field=True, light=Light(color=(1.5, 1.0, 0.5), strength=1))
    cutout = make_cutout(STANDING)
    result = stage(cutout, STANDING, plate)
    np.testing.assert_array_equal(result.rgb[inside(STANDING, 3)], cutout.rgb[inside(STANDING, 3)])
    outside = np.ones((200, 240), np.bool_)
    outside[STANDING.slices] = False
    np.testing.assert_array_equal(result.rgb[outside], plate.rgb[outside])
    # The outermost pixels are the generator's.
    np.testing.assert_array_equal(result.rgb[60:140, STANDING.left], plate.rgb[60:140, STANDING.left])


def test_a_finished_plate_keeps_the_subjects_hair() -> None:
    cutout = make_cutout(STANDING)
    assert cutout.alpha is not None
    alpha = cutout.alpha.copy()
    alpha[20:50, 120] = 1
    rgb = cutout.rgb.copy()
    rgb[20:50, 120] = (250, 0, 0)
    result = stage(Image(rgb=rgb, alpha=alpha), STANDING, replace(make_plate(), finished=True))
    assert np.all(result.rgb[25:45, 120] == (250, 0, 0))


def test_no_subject_is_the_plate_itself() -> None:
    plate = make_plate()
    cutout = make_cutout(STANDING)
    clear = Image(rgb=cutout.rgb, alpha=np.zeros((200, 240), np.float32))
    assert stage(cutout, None, plate).rgb is plate.rgb
    assert stage(clear, STANDING, plate).rgb is plate.rgb


def test_the_profile_stays_and_other_sizes_are_a_mistake() -> None:
    cutout = make_cutout(STANDING)
    assert stage(Image(rgb=cutout.rgb, alpha=cutout.alpha, icc=b"icc"), STANDING, make_plate()).icc == b"icc"
    with pytest.raises(ValueError, match="240 x 200 on a plate of 240 x 100"):
        stage(cutout, STANDING, make_plate(height=100))


def _blob(width: int, height: int) -> tuple[RGB, Alpha]:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    alpha = np.clip(2 - 2 * np.hypot(x, y), 0, 1).astype(np.float32)
    return np.full((height, width, 3), 90, np.uint8), alpha


@settings(deadline=None, max_examples=120)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    edges=st.tuples(*[st.integers(-20, 110)] * 4),
    horizon=st.none() | st.floats(-2, 3),
    direction=st.sampled_from([(0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.3, -0.4, -0.8), (0.0, 0.2, 1.0)]),
    strength=st.floats(0, 1),
    finished=st.booleans(),
    solid=st.booleans(),
)
def test_any_size_and_any_box_give_a_picture_and_always_the_same(
    *,
    width: int,
    height: int,
    edges: tuple[int, int, int, int],
    horizon: float | None,
    direction: tuple[float, float, float],
    strength: float,
    finished: bool,
    solid: bool,
) -> None:
    rgb, alpha = _blob(width, height)
    cutout = Image(rgb=rgb, alpha=None if solid else alpha)
    plate = Plate(
        rgb=np.full((height, width, 3), 200, np.uint8),
        horizon=horizon,
        light=Light(direction=direction, color=(0.0, 1.3, 0.4), strength=strength),
        depth_of_field=True,
        finished=finished,
        served=SERVED,
    )
    left, right, top, bottom = min(edges[:2]), max(edges[:2]), min(edges[2:]), max(edges[2:])
    for box in (Box(left, top, right - left, bottom - top), find_subject(alpha)):
        result = stage(cutout, box, plate)
        assert result.rgb.shape == (height, width, 3)
        assert result.alpha is None
        np.testing.assert_array_equal(result.rgb, stage(cutout, box, plate).rgb)

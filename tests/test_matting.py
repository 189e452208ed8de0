from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mattebox import matting
from mattebox.edit import Foreground
from mattebox.image import Alpha, Box
from mattebox.testing import make_scene

ALPHAS = arrays.arrays(
    np.float32, arrays.array_shapes(min_dims=2, max_dims=2, min_side=4, max_side=40), elements=st.floats(0, 1, width=32)
)


def disc(side: int, radius: float, inside: float = 1.0) -> Alpha:
    y, x = np.mgrid[:side, :side] - side / 2
    return np.where(np.hypot(x, y) < radius, np.float32(inside), np.float32(0))


def test_fuse_fills_a_hole_inside_the_core() -> None:
    detail = disc(256, 80)
    detail[120:136, 120:136] = 0.2
    fused = matting.fuse(detail, disc(64, 20))
    assert fused[128, 128] > 0.9


def test_fuse_leaves_every_edge_to_the_detail() -> None:
    detail = disc(1024, 320)
    fused = matting.fuse(detail, disc(320, 101))  # the core reaches 3 pixels further out
    assert np.abs(fused - detail).max() < 0.1


@settings(deadline=None)
@given(detail=ALPHAS, core=ALPHAS)
def test_fuse_never_takes_anything_away_from_a_subject(detail: Alpha, core: Alpha) -> None:
    fused = matting.fuse(detail, core)
    assert fused.shape == detail.shape
    assert fused.max(initial=0) <= 1
    assert np.all(fused >= detail) or not fused.any()


@pytest.mark.parametrize(
    ("detail", "core"),
    [
        (disc(64, 20, inside=0.2), disc(64, 20)),  # one network sees nothing
        (disc(64, 20, inside=0.4), disc(64, 20, inside=0.45)),  # both see a cloud
        (np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32)),
    ],
)
def test_faint_clouds_are_no_subject(detail: Alpha, core: Alpha) -> None:
    assert not matting.has_subject(detail, core)
    assert not matting.fuse(detail, core).any()


def test_a_small_sharp_subject_is_a_subject() -> None:
    assert matting.has_subject(disc(1024, 40), disc(320, 12, inside=0.6))


def test_one_stray_pixel_is_no_subject() -> None:
    alpha = np.zeros((1024, 1024), np.float32)
    alpha[500, 500] = 1
    assert not matting.has_subject(alpha)


def test_find_subject_is_the_box_round_what_is_mostly_there() -> None:
    alpha = np.zeros((50, 60), np.float32)
    alpha[10:20, 5:45] = 0.8
    alpha[40, 55] = 0.3
    assert matting.find_subject(alpha) == Box(5, 10, 40, 10)
    assert matting.find_subject(alpha * 0) is None
    assert matting.find_subject(alpha * np.float32(0.4)) == Box(5, 10, 40, 10)  # however thin it is


def test_confidence_falls_with_doubt() -> None:
    assert matting.confidence(disc(100, 30)) == 1
    assert matting.confidence(disc(100, 30, inside=0.5)) == 0
    assert matting.confidence(disc(100, 30, inside=0.9)) == pytest.approx(0.8)
    assert matting.confidence(disc(100, 0)) == 0


def test_ambiguity_is_the_share_of_undecided_pixels() -> None:
    alpha = np.zeros((10, 10), np.float32)
    alpha[0] = 0.5
    alpha[1] = 1
    assert matting.ambiguity(alpha) == pytest.approx(0.1)


def edge_error(method: Foreground, seed: int = 0) -> float:
    """Mean error in grey levels in the edge band, after compositing on a new colour with the true alpha."""
    scene = make_scene(width=600, height=450, seed=seed)
    estimate = matting.estimate_foreground(scene.photo, scene.alpha, method)
    band = (scene.alpha > 0.02) & (scene.alpha < 0.98)
    wrong = np.abs(estimate.astype(np.float32) - scene.foreground) * scene.alpha[:, :, None]
    return float(wrong[band].mean())


def test_the_backgrounds_colour_is_taken_out_of_the_edge() -> None:
    errors = [edge_error(Foreground.FAST, seed) for seed in range(3)]
    assert max(errors) < 2
    assert np.mean(errors) < edge_error(Foreground.KEEP) / 5


def test_multilevel_agrees_with_the_truth() -> None:
    assert edge_error(Foreground.MULTILEVEL) < edge_error(Foreground.KEEP) / 3


@pytest.mark.parametrize("method", list(Foreground))
def test_foreground_keeps_opaque_pixels_and_zeroes_clear_ones(method: Foreground) -> None:
    scene = make_scene(width=320, height=240, seed=1)
    before = scene.photo.copy()
    estimate = matting.estimate_foreground(scene.photo, scene.alpha, method)
    np.testing.assert_array_equal(estimate[scene.alpha == 1], scene.photo[scene.alpha == 1])
    assert not estimate[scene.alpha == 0].any()
    np.testing.assert_array_equal(scene.photo, before)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
@pytest.mark.parametrize("method", list(Foreground))
@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (3, 5)])
def test_foreground_of_odd_pictures(method: Foreground, value: float, shape: tuple[int, int]) -> None:
    photo = np.full((*shape, 3), 77, np.uint8)
    estimate = matting.estimate_foreground(photo, np.full(shape, value, np.float32), method)
    np.testing.assert_array_equal(estimate, photo if value else photo * 0)


def test_a_window_in_the_subject_becomes_solid() -> None:
    car = disc(200, 80)
    car[80:110, 70:130] = 0.2
    car[90, 90] = 0.0  # a speck is no hole
    solid = matting.make_solid(car)
    np.testing.assert_array_equal(solid, disc(200, 80))


def test_a_hole_stays_a_hole_with_its_soft_edge() -> None:
    body = disc(200, 80)
    body[80:110, 70:130] = 0.0
    body[80:110, 70:72] = 0.5
    np.testing.assert_array_equal(matting.make_solid(body), body)


def test_glass_keeps_its_outline_and_becomes_solid_inside() -> None:
    solid = matting.make_solid(disc(400, 150, inside=0.5))
    assert solid[200, 200] == 1
    assert np.all(solid[disc(400, 144) == 1] == 1)
    assert solid[200, 51] == pytest.approx(0.5)
    assert not solid[disc(400, 150) == 0].any()


def test_a_soft_outline_stays_soft() -> None:
    y, x = np.mgrid[:400, :400] - 200
    soft = np.clip((150 - np.hypot(x, y)) / 5, 0, 1).astype(np.float32)
    np.testing.assert_array_equal(matting.make_solid(soft), soft)


def test_a_faint_haze_beside_the_subject_stays_faint() -> None:
    alpha = disc(400, 60)
    alpha[:100, 300:] = 0.2
    np.testing.assert_array_equal(matting.make_solid(alpha), alpha)


def test_a_haze_all_over_the_picture_is_not_inside_the_subject() -> None:
    alpha = np.maximum(disc(400, 60), np.float32(0.1))
    np.testing.assert_array_equal(matting.make_solid(alpha), alpha)


@settings(deadline=None)
@given(alpha=ALPHAS)
def test_making_solid_takes_nothing_away(alpha: Alpha) -> None:
    solid = matting.make_solid(alpha)
    assert solid.dtype == np.float32
    assert np.all(solid >= alpha)
    assert solid.max(initial=0) <= 1

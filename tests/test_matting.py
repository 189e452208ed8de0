from __future__ import annotations

import importlib.abc
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mattebox import matting, transforms
from mattebox.edit import Foreground
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Alpha, Box, Image
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
def test_fuse_takes_nothing_but_a_veil_away_from_a_subject(detail: Alpha, core: Alpha) -> None:
    fused = matting.fuse(detail, core)
    assert fused.shape == detail.shape
    assert fused.max(initial=0) <= 1
    assert np.all(fused >= np.where(detail <= np.float32(0.02), 0, detail)) or not fused.any()


@pytest.mark.parametrize(
    ("detail", "core"),
    [
        (disc(64, 20, inside=0.15), disc(64, 20, inside=0.9)),  # one network sees nothing, the other is not sure
        (disc(64, 20, inside=0.9), np.zeros((64, 64), np.float32)),
        (disc(64, 20, inside=0.4), disc(64, 20, inside=0.45)),  # both see a cloud
        (np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32)),
    ],
)
def test_faint_clouds_are_no_subject(detail: Alpha, core: Alpha) -> None:
    assert not matting.has_subject(detail, core)
    assert not matting.fuse(detail, core).any()


@pytest.mark.parametrize("radius", [20, 90])
def test_what_one_network_is_sure_of_is_kept_whole(radius: float) -> None:
    seen, blind = disc(128, radius), disc(128, radius, inside=0.1)
    np.testing.assert_array_equal(matting.fuse(seen, blind), seen)
    np.testing.assert_array_equal(matting.fuse(blind, seen), seen)
    small = matting.fuse(np.asarray(cv2.resize(blind, (512, 512)), np.float32), seen)
    assert small.shape == (512, 512)
    assert small.mean() == pytest.approx(seen.mean(), rel=0.02)


def test_fuse_leaves_no_veil_on_the_background_or_the_subject() -> None:
    detail = disc(256, 60)
    for value, becomes in ((0.015, 0), (0.02, 0), (0.025, 0.025), (0.5, 0.5), (0.975, 0.975), (0.98, 1), (0.985, 1)):
        detail[:, :40] = value  # far from the core
        fused = matting.fuse(detail, disc(128, 30))
        assert np.unique(fused[:, :40]).tolist() == [np.float32(becomes)], value


def test_agreement_is_the_share_that_both_mark() -> None:
    half = np.zeros((64, 64), np.float32)
    half[:, :32] = 1
    assert matting.agreement(half, half) == 1
    assert matting.agreement(half, np.ones((32, 32), np.float32)) == pytest.approx(0.5, abs=0.01)
    assert matting.agreement(half, half[:, ::-1]) == 0
    assert matting.agreement(disc(1024, 300), disc(320, 94)) > 0.97
    assert matting.agreement(half * 0, half * 0) == 1


def test_two_looks_are_one_core_where_the_detail_sees_something_and_else_only_what_both_see() -> None:
    detail = np.zeros((128, 128), np.float32)
    detail[:, :64] = 0.5
    first, second = (np.zeros((64, 64), np.float32) for _ in range(2))
    first[:20] = 0.9
    second[10:30] = 0.8
    core = matting.merge(detail, first, second)
    assert core.dtype == np.float32
    np.testing.assert_array_equal(core[:, :32], np.maximum(first, second)[:, :32])
    np.testing.assert_array_equal(core[:, 32:], np.minimum(first, second)[:, 32:])


def test_of_three_looks_two_have_to_see_what_the_detail_does_not() -> None:
    detail = np.zeros((128, 128), np.float32)
    detail[:, :64] = 0.5
    looks = [np.full((64, 64), value, np.float32) for value in (0.1, 0.6, 0.9)]
    looks[2][:32] = 0
    core = matting.merge(detail, *looks)
    for rows, seen, unseen in ((slice(0, 32), 0.6, 0.1), (slice(32, 64), 0.9, 0.6)):
        assert np.unique(core[rows, :32]).tolist() == [np.float32(seen)]
        assert np.unique(core[rows, 32:]).tolist() == [np.float32(unseen)]


def test_what_is_filled_lies_deeper_where_the_two_agree() -> None:
    """A core that agrees as a whole may only fill what is deep inside: near its edge, the detail knows better."""
    agreeing = disc(1024, 300)
    y, x = np.mgrid[:1024, :1024] - 511.5
    agreeing[np.hypot(y, x) < 20] = 0  # a hole in the middle
    rim = (np.abs(np.hypot(y, x) - 280) < 4) & (np.abs(x) < 100)  # and one at the edge, within the core
    agreeing[rim] = 0
    core = disc(1024, 300)
    assert matting.agreement(agreeing, core) > matting.AGREED
    fused = matting.fuse(agreeing, core)
    assert fused[511, 511] > 0.99
    assert fused[rim].max() < 0.1
    half = agreeing.copy()
    half[:450] = 0
    assert matting.agreement(half, core) < matting.AGREED
    fused = matting.fuse(half, core)
    assert fused[511, 511] > 0.99
    assert fused[rim & (y > 0)].min() > 0.9


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


def test_decision_falls_with_doubt() -> None:
    assert matting.decision(disc(100, 30)) == 1
    assert matting.decision(disc(100, 30, inside=0.5)) == 0
    assert matting.decision(disc(100, 30, inside=0.9)) == pytest.approx(0.8)
    assert matting.decision(disc(100, 0)) == 0


def test_support_is_the_results_likeness_to_one_of_its_looks() -> None:
    left, wide, nothing = (np.zeros((512, 512), np.float32) for _ in range(3))
    left[:, :256] = 1
    wide[:, :320] = 1
    assert matting.support(left, left, left) == pytest.approx(1)
    assert matting.support(wide, left, wide) == pytest.approx(1)  # 0.8 of the one is in the other
    assert matting.support(left, left, nothing) == 0  # only one of them sees anything
    wide[:] = 1
    wide[:, 256:] = 0.6
    assert matting.support(left, left, wide) == pytest.approx(1)
    wide[:, 256:] = 1
    wide[:, :64] = 0
    assert matting.support(left, left, wide) == pytest.approx(2 * 192 / 512)


def test_confidence_grows_with_decision_and_support() -> None:
    sure, half = disc(100, 30), disc(100, 30, inside=0.9)
    ranked = [
        matting.confidence(disc(100, 0), 1),
        matting.confidence(half, 0.5),
        matting.confidence(sure, 0.5),
        matting.confidence(half, 1),
        matting.confidence(sure, 1),
    ]
    assert ranked == sorted(ranked)
    assert len(set(ranked)) == len(ranked)
    assert ranked[0] == 0
    assert matting.confidence(sure, 0) == 0


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


class NoFolder(importlib.abc.MetaPathFinder):
    """Numba where it can write to no folder."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == "pymatting.foreground.estimate_foreground_ml":
            raise RuntimeError("cannot cache function: no locator available")


def test_multilevel_says_that_it_needs_a_folder_to_be_compiled_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pymatting.foreground.estimate_foreground_ml", raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoFolder(), *sys.meta_path])
    scene = make_scene(width=64, height=48, seed=1)
    with pytest.raises(MatteboxError, match="NUMBA_CACHE_DIR") as caught:
        matting.estimate_foreground(scene.photo, scene.alpha, Foreground.MULTILEVEL)
    assert caught.value.kind is Kind.UNAVAILABLE


@pytest.mark.slow  # its package compiles itself where it was never used before
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


def test_colours_are_the_same_where_few_and_where_most_pixels_are_fractional() -> None:
    rng = np.random.default_rng(5)
    photo = rng.integers(0, 256, (700, 900, 3), np.uint8)
    dense = rng.uniform(0.1, 0.9, (700, 900)).astype(np.float32)
    sparse = dense.copy()
    # Pixels between those that the small copy is made of are of no account for it.
    sparse[1::2], sparse[:, 1::2] = 1, 1
    both = sparse < 1
    assert both.mean() < 1 / 3
    np.testing.assert_array_equal(
        matting.estimate_foreground(photo, sparse)[both], matting.estimate_foreground(photo, dense)[both]
    )


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


def frame(width: int, height: int, opaque: Box, corner: int = 0) -> Alpha:
    """Clear all round `opaque`, whose corners are rounded; drawn at four times the size, so that its edges are soft."""
    y, x = (np.mgrid[: 4 * height, : 4 * width] + 0.5) / 4
    across = np.abs(x - opaque.left - opaque.width / 2) - opaque.width / 2 + corner
    down = np.abs(y - opaque.top - opaque.height / 2) - opaque.height / 2 + corner
    outside = np.hypot(np.maximum(across, 0), np.maximum(down, 0)) + np.minimum(np.maximum(across, down), 0)
    large = (outside < max(corner, 1e-6)).astype(np.float32)
    return np.asarray(cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def turned(degrees: float) -> Alpha:
    picture = transforms.apply(Image(rgb=np.zeros((200, 300, 3), np.uint8)), transforms.Rotate(degrees=degrees))
    assert picture.alpha is not None
    return picture.alpha


WHOLE = Box(0, 0, 300, 200)
SPECKS = np.where(np.random.default_rng(5).random((200, 300)) < 0.002, np.float32(0), np.float32(1))
NOISE = np.random.default_rng(5).uniform(0.98, 1, (200, 300)).astype(np.float32)


@pytest.mark.parametrize(
    ("alpha", "photo"),
    [
        pytest.param(np.ones((200, 300), np.float32), WHOLE, id="opaque"),
        pytest.param(np.full((200, 300), 0.5, np.float32), WHOLE, id="half transparent all over"),
        pytest.param(NOISE, WHOLE, id="almost opaque"),
        pytest.param((1 + disc(200, 60)) / 2, Box(0, 0, 200, 200), id="veil behind a disc"),
        pytest.param(1 - disc(200, 20), Box(0, 0, 200, 200), id="small hole"),
        pytest.param(SPECKS, WHOLE, id="keyed specks"),
        pytest.param(frame(300, 200, WHOLE, 4), WHOLE, id="corners rounded by 2 %"),
        pytest.param(frame(300, 200, WHOLE, 20), WHOLE, id="corners rounded by 10 %"),
        pytest.param(frame(300, 200, Box(0, 30, 300, 140)), Box(0, 30, 300, 140), id="bars above and below"),
        pytest.param(frame(300, 200, Box(120, 0, 180, 200), 8), Box(120, 0, 180, 200), id="bar on one side"),
    ],
)
def test_a_photo_in_a_frame_is_no_cutout(alpha: Alpha, photo: Box) -> None:
    assert matting.framed_photo(alpha) == photo


@pytest.mark.parametrize("degrees", [1, 3, 20, 45, 170])
def test_a_turned_photo_is_no_cutout(degrees: float) -> None:
    assert matting.framed_photo(turned(degrees)) is not None


@pytest.mark.parametrize(
    "alpha",
    [
        pytest.param(np.zeros((200, 300), np.float32), id="clear"),
        pytest.param(disc(200, 60), id="disc"),
        pytest.param(disc(200, 100), id="disc that touches all sides"),
        pytest.param(disc(200, 60, inside=0.3), id="faint disc"),
        pytest.param(1 - disc(200, 60), id="passe-partout"),
        pytest.param(disc(200, 125), id="disc that fills the picture"),
        pytest.param(frame(300, 200, Box(20, 10, 260, 180)), id="card"),
        pytest.param(frame(300, 200, Box(50, 0, 200, 200), 44), id="app icon"),
        pytest.param(frame(300, 200, Box(-40, -40, 340, 240), 60), id="one corner clear"),
        pytest.param(make_scene(width=300, height=200, seed=2).alpha, id="figure"),
    ],
)
def test_what_is_clear_in_part_is_a_cutout(alpha: Alpha) -> None:
    assert matting.framed_photo(alpha) is None

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mattebox import codec
from mattebox.backdrops import BackdropOptions, Backdrops
from mattebox.backdrops.plate import Plate
from mattebox.edit import Prompt
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image
from mattebox.steps import Generators
from mattebox.testing import FakeBackdrops, FakeSegmenter, make_photo, make_scene


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of what is more than half covered."""
    return float(((a > 0.5) & (b > 0.5)).sum() / ((a > 0.5) | (b > 0.5)).sum())


def shrunk(alpha: np.ndarray, *, width: int, height: int) -> np.ndarray:
    rows, columns = alpha.shape
    return np.asarray(alpha.reshape(height, rows // height, width, columns // width).mean(axis=(1, 3)), np.float32)


# the segmenter


def test_fake_segmenter_finds_what_differs_from_the_border() -> None:
    photo = np.full((90, 120, 3), (250, 240, 230), np.uint8)
    photo[30:60, 30:90] = (200, 20, 30)
    alpha = FakeSegmenter(width=60, height=45)(photo)
    assert alpha.dtype == np.float32
    assert alpha.shape == (45, 60)
    expected = np.zeros((45, 60), np.float32)
    expected[15:30, 15:45] = 1
    np.testing.assert_array_equal(alpha, expected)


def test_fake_segmenter_finds_nothing_in_a_gradient() -> None:
    ramp = np.linspace(10, 240, 300).astype(np.uint8)
    photo = np.stack([np.tile(ramp, (200, 1)), np.full((200, 300), 90, np.uint8), np.tile(ramp[::-1], (200, 1))], -1)
    assert FakeSegmenter()(photo).max() == 0


def test_fake_segmenter_ramps_between_near_and_far() -> None:
    photo = np.full((64, 64, 3), 100, np.uint8)
    photo[20:40, 20:40, 0] = 130
    segment = FakeSegmenter(width=64, height=64, near=20, far=60)
    assert segment(photo)[30, 30] == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_fake_segmenter_on_a_scene(seed: int) -> None:
    scene = make_scene(width=1024, height=768, seed=seed)
    rough = FakeSegmenter()(scene.photo)
    assert agreement(rough, shrunk(scene.alpha, width=256, height=256)) > 0.88
    np.testing.assert_array_equal(rough, FakeSegmenter()(scene.photo))


def test_fake_segmenter_with_a_given_answer() -> None:
    answer = np.full((3, 4), 0.5, np.float32)
    segment = FakeSegmenter(answer=answer)
    given_back = segment(make_scene(width=50, height=40, seed=0).photo)
    np.testing.assert_array_equal(given_back, answer)
    assert given_back is not answer


# the backdrops


def backdrop(generators: Generators, prompt: Prompt, *, width: int = 30, height: int = 20) -> Plate:
    cutout = Image(rgb=np.zeros((height, width, 3), np.uint8), alpha=np.zeros((height, width), np.float32))
    return generators.choose(prompt)(cutout, lambda: None)


def test_fake_backdrops_have_a_colour_for_each_prompt_and_seed() -> None:
    fake = FakeBackdrops()
    plate = backdrop(fake, Prompt(" in a warehouse ", seed=3))
    assert plate.rgb.shape == (20, 30, 3)
    assert (plate.rgb == FakeBackdrops.color("in a warehouse", 3)).all()
    assert (plate.served.backend, plate.served.scene, plate.served.score) == ("fake", "color", 1.0)
    colors = {FakeBackdrops.color(text, seed) for text in ("", "a", "b") for seed in (0, 1)}
    assert len(colors) == 6
    assert all(64 <= channel <= 191 for color in colors for channel in color)
    painted = fake.paint("in a warehouse", width=5, height=7, seed=3, checkpoint=lambda: None)
    assert painted.rgb.shape == (7, 5, 3)
    assert (painted.rgb == plate.rgb[0, 0]).all()
    fake.warm()
    assert fake.warmed == 1


@pytest.mark.parametrize("kind", ["fake", "real"])
def test_fake_backdrops_refuse_as_the_real_ones_do(kind: str, tmp_path: Path) -> None:
    real = Backdrops(BackdropOptions(directory=tmp_path, packs=tmp_path), fetch_when_used=False)
    generators: Generators = FakeBackdrops() if kind == "fake" else real
    elsewhere = "elsewhere" if kind == "fake" else "a marble table with an igloo"
    for refused in (Prompt("nowhere" if kind == "fake" else "a black hole"), Prompt(elsewhere, nearest=False)):
        with pytest.raises(MatteboxError, match="No backdrop here shows this") as caught:
            backdrop(generators, refused)
        assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, "prompt")
    with pytest.raises(MatteboxError, match="is not configured here") as caught:
        backdrop(generators, Prompt("white background", generator="openai"))
    assert (caught.value.kind, caught.value.parameter) == (Kind.NOT_OFFERED, "generator")
    warning = backdrop(generators, Prompt(elsewhere)).served.warning
    assert warning is not None
    assert warning.startswith("Nothing here shows this; ")


# the scene


@settings(max_examples=30, deadline=None)
@given(st.integers(16, 400), st.integers(16, 400), st.integers(0, 2**32))
def test_scene_is_the_composite_of_its_parts(width: int, height: int, seed: int) -> None:
    scene = make_scene(width=width, height=height, seed=seed)
    assert scene.alpha.dtype == np.float32
    assert scene.alpha.shape == (height, width)
    for picture in (scene.photo, scene.foreground, scene.background):
        assert picture.dtype == np.uint8
        assert picture.shape == (height, width, 3)
    a = scene.alpha[..., None].astype(np.float64)
    exact = a * scene.foreground + (1 - a) * scene.background
    assert np.abs(scene.photo - exact).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(np.rint(scene.alpha * 255).astype(np.uint8) / np.float32(255), scene.alpha)


def test_scene_has_hard_and_soft_edges_and_hair() -> None:
    scene = make_scene(width=1200, height=1000, seed=3)
    partial = (scene.alpha > 0) & (scene.alpha < 1)
    # The body's left side at (270, 720) and the arm's right side at (820, 690), both 100 further right here.
    assert 0 <= partial[720, 340:400].sum() <= 2
    assert 9 <= partial[690, 890:950].sum() <= 12
    hair = scene.alpha[40:230, 300:900]
    assert 0.02 < hair.mean() < 0.5
    # Strands are thin: along a row they come in short runs, and many of them.
    row = (hair[150] > 0.2).astype(np.int8)
    starts, ends = np.flatnonzero(np.diff(row) == 1), np.flatnonzero(np.diff(row) == -1)
    assert len(starts) > 12
    assert np.median(ends[: len(starts)] - starts[: len(ends)]) <= 7


def test_scene_keeps_its_border_free() -> None:
    for width, height in ((800, 600), (300, 700)):
        alpha = make_scene(width=width, height=height, seed=1).alpha
        edge = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
        assert edge.max() == 0
        assert alpha.max() == 1


def test_scene_background_is_smooth_and_colourful() -> None:
    background = make_scene(width=800, height=600, seed=2).background.astype(np.int16)
    assert max(np.abs(np.diff(background, axis=axis)).max() for axis in (0, 1)) <= 3
    assert (np.ptp(background.reshape(-1, 3), axis=0) > 40).all()


def test_scene_depends_on_its_seed_only() -> None:
    first, again, other = (make_scene(width=200, height=150, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.photo, again.photo)
    assert (first.photo != other.photo).any()


def test_scene_refuses_what_is_too_small() -> None:
    with pytest.raises(ValueError, match="16"):
        make_scene(width=15, height=100, seed=0)


# the photo


@pytest.mark.parametrize(("width", "height"), [(320, 240), (240, 320), (301, 97), (1, 1), (40, 400)])
def test_photo_has_the_size_that_was_asked_for(width: int, height: int) -> None:
    photo = make_photo(width=width, height=height)
    assert photo.dtype == np.uint8
    assert photo.shape == (height, width, 3)


def test_photo_is_written_for_a_first_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["samples", str(tmp_path / "demo")])
    # It has been imported already, by `mattebox.testing`, which is what runpy would warn of.
    monkeypatch.delitem(sys.modules, "mattebox.samples")
    runpy.run_module("mattebox.samples", run_name="__main__")
    written = codec.decode((tmp_path / "demo" / "photo.jpg").read_bytes(), codec.OWN_FILES)
    np.testing.assert_array_equal(written.rgb, make_photo())


def test_photo_uses_the_whole_range() -> None:
    grey = make_photo(width=400, height=300).mean(axis=-1)
    assert np.percentile(grey, 1) < 40
    assert np.percentile(grey, 99.5) > 170
    assert (grey > 250).mean() < 0.01

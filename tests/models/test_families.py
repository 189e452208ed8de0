from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mattebox.errors import Kind, MatteboxError
from mattebox.models import families
from mattebox.models.catalogue import CATALOGUE, Family, Variant

VARIANTS = [row for row in CATALOGUE.values() if isinstance(row, Variant)]


def variant(name: str) -> Variant:
    row = CATALOGUE[name]
    assert isinstance(row, Variant)
    return row


@pytest.mark.parametrize("row", VARIANTS, ids=lambda row: row.name)
def test_every_variant_prepares_a_photo_for_its_network(row: Variant) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    size = families.input_size(row, width=160, height=90)
    batch = families.prepare(photo, row, size)
    assert batch.shape == (1, 3, *size)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    # the channels keep their order and the normalisation is the row's
    resized = np.asarray(cv2.resize(photo, (size[1], size[0]), interpolation=cv2.INTER_CUBIC), np.float64)
    expected = (resized - np.array(row.mean)) / np.array(row.scale)
    np.testing.assert_allclose(batch[0].transpose(1, 2, 0), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "black", "white"),
    [
        ("isnet-general", (-0.5,) * 3, (127 / 256,) * 3),
        ("u2net", (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225), (0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225)),
        ("modnet-photographic", (-1.0,) * 3, (1.0,) * 3),
        ("birefnet-general", (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225), (2.2489, 2.4286, 2.64)),
    ],
)
def test_black_and_white_become_what_the_network_was_trained_on(
    name: str, black: tuple[float, float, float], white: tuple[float, float, float]
) -> None:
    for level, expected in ((0, black), (255, white)):
        photo = np.full((40, 40, 3), level, np.uint8)
        batch = families.prepare(photo, variant(name), (32, 32))
        np.testing.assert_allclose(batch[0, :, 5, 5], expected, atol=1e-4)


def test_a_trimap_leaves_the_edge_open() -> None:
    alpha = np.zeros((100, 200), np.float32)
    alpha[:, 100:] = 1
    alpha[40:60, 40:60] = 0.5  # see-through
    known = families.trimap(alpha, (100, 200))
    assert set(np.unique(known)) == {0, 0.5, 1}
    assert (known[:, :25] == 0).all()
    assert (known[:, 110:] == 1).all()  # up to the frame, where nothing says that the subject ends
    assert (known[:, 96:104] == 0.5).all()
    assert (known[36:64, 36:64] == 0.5).all()
    assert families.trimap(alpha, (50, 60)).shape == (50, 60)


def test_the_trimap_is_the_fourth_plane() -> None:
    photo = np.full((8, 8, 3), 255, np.uint8)
    known = np.full((16, 32), 0.5, np.float32)
    batch = families.prepare(photo, variant("vitmatte-small"), (16, 32), known)
    assert batch.shape == (1, 4, 16, 32)
    np.testing.assert_array_equal(batch[0, :3], np.ones((3, 16, 32)))
    np.testing.assert_array_equal(batch[0, 3], known)


def test_a_dark_photo_stays_dark() -> None:
    # peers divide by the photo's own brightest value, which makes a black frame's noise into a picture
    dark = np.full((64, 64, 3), 3, np.uint8)
    black = np.zeros((64, 64, 3), np.uint8)
    row = variant("u2net")
    assert np.abs(families.prepare(dark, row, (320, 320)) - families.prepare(black, row, (320, 320))).max() < 0.06


@given(width=st.integers(1, 20000), height=st.integers(1, 20000))
def test_modnet_keeps_the_shape_within_bounds(width: int, height: int) -> None:
    row = variant("modnet-photographic")
    high, wide = families.input_size(row, width=width, height=height)
    assert high % 32 == 0
    assert wide % 32 == 0
    assert min(high, wide) == 512
    assert max(high, wide) <= 2048
    if max(width, height) <= 4 * min(width, height):
        assert abs(wide / high - width / height) / (width / height) < 0.04


@pytest.mark.parametrize("family", [Family.ISNET, Family.U2NET, Family.BIREFNET])
@given(width=st.integers(1, 20000), height=st.integers(1, 20000))
def test_the_others_squash_to_their_square(family: Family, width: int, height: int) -> None:
    row = next(row for row in VARIANTS if row.family is family)
    assert families.input_size(row, width=width, height=height) == (row.size, row.size)


def test_shrinking_averages_instead_of_picking_pixels() -> None:
    stripes = np.zeros((640, 640, 3), np.uint8)
    stripes[:, ::2] = 200
    small = families.shrink(stripes, height=64, width=64)
    assert small.min() >= 99
    assert small.max() <= 101


def test_shrinking_to_the_same_size_copies_nothing() -> None:
    photo = np.zeros((8, 9, 3), np.uint8)
    assert families.shrink(photo, height=8, width=9) is photo


def test_an_empty_scene_stays_empty() -> None:
    # a network that sees nothing answers with a faint cloud: a stretch to 0..1 would make that a full matte
    cloud = np.random.default_rng(3).uniform(0, 0.003, (64, 64)).astype(np.float32)
    np.testing.assert_array_equal(families.read_alpha(cloud, variant("u2net")), cloud)


def test_values_outside_the_range_are_cut_off() -> None:
    raw = np.array([[-0.5, 0.25], [1.0, 1.5]], np.float32)
    expected = np.array([[0, 0.25], [1, 1]], np.float32)
    np.testing.assert_array_equal(families.read_alpha(raw, variant("isnet-general")), expected)


@given(st.floats(-1e4, 1e4, width=32))
def test_logits_go_through_the_sigmoid(value: float) -> None:
    row = variant("birefnet-general")
    assert row.logits
    alpha = float(families.read_alpha(np.full((1, 1), value, np.float32), row)[0, 0])
    expected = 1 / (1 + np.exp(-np.float64(value))) if value > -700 else 0.0
    assert abs(alpha - expected) < 1e-6


def test_probabilities_do_not() -> None:
    row = variant("rmbg-2.0")
    assert not row.logits
    np.testing.assert_array_equal(
        families.read_alpha(np.full((2, 2), 0.5, np.float32), row), np.full((2, 2), 0.5, np.float32)
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_numbers_are_an_error_and_not_a_matte(bad: float) -> None:
    raw = np.zeros((4, 4), np.float32)
    raw[2, 2] = bad
    row = dataclasses.replace(variant("u2net"), logits=True)
    with pytest.raises(MatteboxError) as caught:
        families.read_alpha(raw, row)
    assert caught.value.kind is Kind.UNAVAILABLE


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 3000), (7, 9), (300, 420)])
def test_what_is_framed_comes_out_of_its_frame(height: int, width: int) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    framed = families.frame(photo)
    down, across = height // 8, width // 8
    assert framed.shape == (height + 2 * down, width + 2 * across, 3)
    np.testing.assert_array_equal(framed[down : down + height, across : across + width], photo)
    alphas = [np.divide(each[..., 0], 255, dtype=np.float32) for each in (framed, photo)]
    np.testing.assert_array_equal(families.unframe(alphas[0], (height, width), (height, width)), alphas[1])

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mattebox import layout, shadows
from mattebox.edit import Layout, Shadow, ShadowKind
from mattebox.image import RGB, Alpha, Box, Image

KINDS = list(ShadowKind)


def table(height: int = 300, width: int = 400, *, top: int = 100, bottom: int = 220) -> Alpha:
    """A board on two legs, whose feet end above row `bottom`."""
    alpha = np.zeros((height, width), np.float32)
    alpha[top : top + 40, 120:280] = 1
    alpha[top:bottom, 120:140] = 1
    alpha[top:bottom, 260:280] = 1
    return alpha


def cutout(alpha: Alpha) -> Image:
    rgb = np.full((*alpha.shape, 3), (200, 120, 40), np.uint8)
    rgb[alpha == 0] = 0
    return Image(rgb=rgb, alpha=alpha, icc=b"profile")


def shade(alpha: Alpha, kind: ShadowKind, opacity: float = 0.6, *, cut: bool | None = None) -> Alpha:
    """The alpha of a shadow beside its subject, 0 under it."""
    result = shadows.cast(cutout(alpha), Shadow(kind=kind, opacity=opacity), cut=cut).alpha
    assert result is not None
    return np.where(alpha > 0, np.float32(0), result)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shadow_is_black_and_leaves_the_subject_as_it_is(kind: ShadowKind) -> None:
    alpha = table()
    image = cutout(alpha)
    result = shadows.cast(image, Shadow(kind=kind))
    assert result.alpha is not None
    opaque = alpha == 1
    np.testing.assert_array_equal(result.rgb[opaque], image.rgb[opaque])
    assert np.all(result.alpha[opaque] == 1)
    assert not result.rgb[alpha == 0].any()
    assert result.icc == b"profile"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opacity", [0.2, 0.5, 1.0])
def test_the_darkest_part_has_the_opacity(kind: ShadowKind, opacity: float) -> None:
    assert shade(table(), kind, opacity).max() == pytest.approx(opacity, rel=0.12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_room_holds_all_of_a_shadow(kind: ShadowKind) -> None:
    alpha = np.pad(table(), 400)
    rows, columns = np.nonzero(shade(alpha, kind, 1.0))
    subject = Box(520, 500, 160, 120)
    room = shadows.room(subject, Shadow(kind=kind))
    assert columns.min() >= subject.left - room.left.value
    assert columns.max() < subject.right + room.right.value
    assert rows.min() >= subject.top - room.top.value
    assert rows.max() < subject.bottom + room.bottom.value
    assert room.bottom.value < 60  # and not much more


def test_a_shadow_on_the_ground_is_darkest_at_the_feet() -> None:
    dark = shade(table(), ShadowKind.GROUND)
    at_foot, between, under = dark[220, 130], dark[220, 200], dark[215, 200]
    assert at_foot > 0.5
    assert 0 < between < 0.6 * at_foot
    assert under < 0.6 * at_foot
    assert dark[190, 200] < 0.1  # the air below the board is not the ground
    assert not dark[:100].any()


def test_a_drop_shadow_falls_below() -> None:
    dark = shade(table(), ShadowKind.DROP)
    assert dark[224, 130] > dark[96, 130]


def test_a_cast_shadow_lies_behind_and_beside() -> None:
    dark = shade(table(), ShadowKind.CAST)
    assert dark[200:215, 290:350].mean() > 5 * max(float(dark[200:215, 50:110].mean()), 0.001)
    assert not dark[:100, 300:].any()


@pytest.mark.parametrize("kind", [ShadowKind.GROUND, ShadowKind.CAST])
def test_what_the_photo_cuts_off_stands_on_no_ground(kind: ShadowKind) -> None:
    cut = table(bottom=300)
    if kind is ShadowKind.GROUND:
        assert shade(cut, kind)[295:].max() < 0.1
    lifted = np.pad(cut, ((0, 50), (0, 0)))
    assert shade(lifted, kind, cut=True)[300:].max() < 0.15
    assert shade(lifted, kind, cut=False)[300:].max() > 0.4


def test_half_transparent_pixels_keep_their_colour_over_the_shadow() -> None:
    alpha = table() * np.float32(0.5)
    image = cutout(alpha)
    result = shadows.cast(image, Shadow(kind=ShadowKind.DROP, opacity=0.8))
    assert result.alpha is not None
    # Seen over white, it must be the subject over its shadow over white.
    inside = (slice(110, 130), slice(150, 250))
    mixed = result.rgb[inside] * result.alpha[inside][..., None]
    np.testing.assert_allclose(mixed, image.rgb[inside] * 0.5, atol=1)
    assert result.alpha[inside].min() > 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_throws_no_shadow(kind: ShadowKind) -> None:
    empty = cutout(np.zeros((30, 40), np.float32))
    assert shadows.cast(empty, Shadow(kind=kind)) is empty
    image = cutout(table())
    assert shadows.cast(image, Shadow(kind=kind, opacity=0)) is image
    opaque = Image(rgb=image.rgb)
    assert shadows.cast(opaque, Shadow(kind=kind)) is opaque


@settings(deadline=None)
@given(
    alpha=arrays.arrays(
        np.float32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=30), elements=st.floats(0, 1, width=32)
    ),
    kind=st.sampled_from(KINDS),
)
def test_any_matte_can_have_a_shadow(alpha: Alpha, kind: ShadowKind) -> None:
    image = cutout(alpha)
    result = shadows.cast(image, Shadow(kind=kind, opacity=0.7))
    assert result.alpha is not None
    assert np.all(result.alpha >= alpha)
    assert result.alpha.max() <= 1
    assert not result.rgb[alpha == 0].any()


@settings(deadline=None)
@given(toward=st.floats(-1, 1), away=st.floats(-1, 1), strength=st.floats(0, 1))
def test_ground_is_a_darkness(toward: float, away: float, strength: float) -> None:
    dark = shadows.ground(np.ascontiguousarray(table()[::2, ::2]), toward, away, strength)
    assert dark.dtype == np.float32
    assert dark.shape == (150, 200)
    assert dark.min() >= 0
    assert dark.max() <= 1
    assert dark[109, 65] > 0.7  # under the foot, whatever the light


def test_ground_falls_where_the_light_sends_it() -> None:
    right, left = shadows.ground(table(), 0.8, 0.5, 1), shadows.ground(table(), -0.8, 0.5, 1)
    np.testing.assert_allclose(right, left[:, ::-1], atol=0.12)  # the table stands in the middle
    assert right[:, 290:].sum() > 3 * right[:, :110].sum()
    behind, before = shadows.ground(table(), 0, 1, 1), shadows.ground(table(), 0, -1, 1)
    assert before[235:].sum() > 5 * behind[235:].sum()
    overcast = shadows.ground(table(), 0.8, 0.5, 0)
    assert np.all(overcast <= right + 1e-6)


def test_ground_follows_two_wheels_that_are_seen_obliquely() -> None:
    alpha = np.zeros((300, 400), np.float32)
    alpha[100:200, 100:120] = 1
    alpha[100:160, 280:300] = 1
    alpha[100:130, 100:300] = 1
    dark = shadows.ground(alpha, 0, 0, 0)
    assert dark[200, 110] > 0.5
    assert dark[160, 290] > 0.5
    assert dark[200, 290] < 0.1


def test_a_large_picture_looks_as_a_small_one_does() -> None:
    small = table()
    large = np.kron(small, np.ones((4, 4), np.float32))
    one, other = (shadows.ground(each, 0.5, 0.5, 0.5) for each in (small, large))
    reduced = layout.place(
        Image(rgb=np.zeros((*large.shape, 3), np.uint8), alpha=other),
        layout.plan(1600, 1200, None, Layout(max_side=400)),
    ).alpha
    assert reduced is not None
    outside = small == 0
    assert np.abs(reduced - one)[outside].mean() < 0.01


def test_flat_backdrops_show_no_steps() -> None:
    """Between neighbours a soft shadow changes little, also where the small copy was enlarged."""
    dark: RGB | Alpha = shadows.ground(np.kron(table(), np.ones((8, 8), np.float32)), 0, 0, 0)
    beyond = dark[1790:]
    assert np.abs(np.diff(beyond, axis=1)).max() < 0.03
    assert np.abs(np.diff(beyond, axis=0)).max() < 0.03


@pytest.mark.parametrize("kind", ShadowKind)
def test_a_wire_that_a_small_copy_hardly_shows_has_a_shadow_too(kind: ShadowKind) -> None:
    alpha = np.zeros((300, 3000), np.float32)
    alpha[150] = 1
    made = shadows.cast(Image(rgb=np.zeros((300, 3000, 3), np.uint8), alpha=alpha), Shadow(kind=kind)).alpha
    assert made is not None
    assert made[151:].max() > 0

from __future__ import annotations

import itertools
import math
import tracemalloc
import warnings
import weakref
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import color as skcolor
from skimage import filters as skfilters
from skimage import transform as sktransform
from tests.codec.icc import display_p3

from mattebox import codec, resampling, transforms
from mattebox.edit import Color, Fit
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Image
from mattebox.transforms import (
    Anchor,
    Blur,
    Crop,
    Flip,
    Mirror,
    Modulate,
    Resize,
    Rotate,
    Transform,
    Watermark,
    apply,
)

Floats = npt.NDArray[np.float64]


def noise(height: int, width: int, *, alpha: bool = False, icc: bytes | None = None) -> Image:
    random = np.random.default_rng(height * 10007 + width)
    return Image(
        rgb=random.integers(0, 256, (height, width, 3), np.uint8),
        alpha=random.random((height, width), np.float32) if alpha else None,
        icc=icc,
    )


def waves(height: int, width: int) -> RGB:
    """A picture without edges, on which all good interpolations agree."""
    down, across = np.mgrid[:height, :width]
    planes = [np.sin(across / 17) * np.cos(down / 13), np.cos((across + down) / 19), np.sin((across - 2 * down) / 29)]
    return (128 + 100 * np.stack(planes, axis=-1)).astype(np.uint8)


def clear_red(height: int, width: int) -> Image:
    """A grey disc, opaque; all round it a red that nobody may see."""
    down, across = np.mgrid[:height, :width]
    inside = np.hypot(across - width / 2, down - height / 2) < min(width, height) / 3
    rgb = np.where(inside[:, :, None], (90, 90, 90), (255, 0, 0)).astype(np.uint8)
    return Image(rgb=rgb, alpha=inside.astype(np.float32))


def alpha_of(image: Image) -> Alpha:
    assert image.alpha is not None
    return image.alpha


def turned(picture: Floats, degrees: float, order: int) -> Floats:
    """Within its canvas, round the middle, by scikit-image. Its degrees go the other way."""
    result = sktransform.rotate(picture, -degrees, order=order, preserve_range=True)  # type: ignore[no-untyped-call]
    return np.asarray(result, np.float64)


def gaussian(picture: Floats, sigma: float) -> Floats:
    channels = -1 if picture.ndim == 3 else None
    result = skfilters.gaussian(  # type: ignore[no-untyped-call]
        picture, sigma, mode="reflect", truncate=5, channel_axis=channels, preserve_range=True
    )
    return np.asarray(result, np.float64)


def same(one: Image, other: Image) -> bool:
    if one.alpha is None or other.alpha is None:
        return one.alpha is other.alpha and np.array_equal(one.rgb, other.rgb)
    return np.array_equal(one.rgb, other.rgb) and np.array_equal(one.alpha, other.alpha)


def farthest(one: RGB, other: npt.ArrayLike) -> float:
    return float(np.abs(one.astype(np.float64) - np.asarray(other, np.float64)).max())


images = st.builds(noise, st.integers(1, 40), st.integers(1, 40), alpha=st.booleans())
sides = st.integers(1, 60)

ALL: list[Transform] = [
    Resize(width=30, height=20),
    Resize(width=24, height=16),
    Resize(width=50),
    Resize(width=10, height=40),
    Resize(width=30, height=30, fit=Fit.CONTAIN),
    Resize(width=12, height=12, fit=Fit.COVER),
    Crop(left=0, top=0, right=24, bottom=16),
    Crop(left=3, top=2, right=20, bottom=9),
    Rotate(degrees=0),
    Rotate(degrees=90),
    Rotate(degrees=31),
    Rotate(degrees=31, background=Color(1, 2, 3)),
    Mirror(mode=Flip.BOTH),
    Blur(sigma=2),
    Blur(sigma=40),
    Modulate(),
    Modulate(brightness=1.2, saturation=0.5, hue=20, lightness=3),
    Watermark(places=((-3, 2),)),
]


@pytest.mark.parametrize("change", ALL, ids=str)
@pytest.mark.parametrize("alpha", [False, True])
def test_a_result_is_new_and_keeps_the_profile_and_the_source(change: Transform, alpha: bool) -> None:
    image = noise(16, 24, alpha=alpha, icc=display_p3())
    before = noise(16, 24, alpha=alpha)
    image.rgb.flags.writeable = False
    if image.alpha is not None:
        image.alpha.flags.writeable = False
    marks = [noise(5, 7, alpha=True)] if isinstance(change, Watermark) else []
    result = apply(image, change, marks=marks)
    assert result.icc == display_p3()
    assert same(image, before)
    for array in (result.rgb, result.alpha):
        assert array is None or array.flags.writeable
        assert array is None or not np.shares_memory(array, image.rgb)
        assert array is None or image.alpha is None or not np.shares_memory(array, image.alpha)
    if result.alpha is not None:
        assert result.alpha.min() >= 0
        assert result.alpha.max() <= 1


# What may be asked ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (Resize, "width"),
        (lambda: Resize(width=0), "width"),
        (lambda: Resize(width=10_001), "width"),
        (lambda: Resize(width=5, height=-1), "height"),
        (lambda: Resize(height=10_001), "height"),
        (lambda: Crop(left=-1, top=0, right=5, bottom=5), "left"),
        (lambda: Crop(left=0, top=-1, right=5, bottom=5), "top"),
        (lambda: Crop(left=5, top=0, right=5, bottom=5), "right"),
        (lambda: Crop(left=0, top=5, right=5, bottom=5), "bottom"),
        (lambda: Rotate(degrees=math.nan), "degrees"),
        (lambda: Rotate(degrees=math.inf), "degrees"),
        (lambda: Rotate(degrees=-36000.1), "degrees"),
        (lambda: Blur(sigma=0.29), "sigma"),
        (lambda: Blur(sigma=1000.1), "sigma"),
        (lambda: Blur(sigma=math.nan), "sigma"),
        (lambda: Modulate(brightness=-0.1), "brightness"),
        (lambda: Modulate(brightness=math.nan), "brightness"),
        (lambda: Modulate(saturation=10.1), "saturation"),
        (lambda: Modulate(hue=math.inf), "hue"),
        (lambda: Modulate(hue=math.nan), "hue"),
        (lambda: Modulate(lightness=-101), "lightness"),
        (lambda: Watermark(places=()), "places"),
    ],
)
def test_what_cannot_be_done_is_refused_when_it_is_said(make: Callable[[], Transform], parameter: str) -> None:
    with pytest.raises(MatteboxError) as caught:
        make()
    assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, parameter)
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        (Crop(left=24, top=0, right=30, bottom=5), "left"),
        (Crop(left=0, top=0, right=25, bottom=5), "right"),
        (Crop(left=0, top=16, right=5, bottom=20), "top"),
        (Crop(left=0, top=0, right=5, bottom=17), "bottom"),
        (Watermark(places=((24, 0),)), "places"),
        (Watermark(places=((0, 16),)), "places"),
        (Watermark(places=((-7, 0),)), "places"),
        (Watermark(places=((0, -5),)), "places"),
    ],
    ids=str,
)
def test_what_does_not_suit_the_picture_is_refused(change: Transform, parameter: str) -> None:
    with pytest.raises(MatteboxError) as caught:
        apply(noise(16, 24), change, marks=[noise(5, 7)] if isinstance(change, Watermark) else [])
    assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, parameter)


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        (Resize(width=10_000, height=10_000), "width"),
        (Resize(width=10_000, height=10_000, fit=Fit.CONTAIN), "width"),
        (Resize(width=10_000, height=10_000, fit=Fit.COVER), "width"),
        (Resize(width=10_000), "width"),
        (Resize(height=9_000), "height"),
    ],
    ids=str,
)
def test_too_large_a_result_is_refused_before_memory_is_taken(change: Transform, parameter: str) -> None:
    image = noise(30, 30)
    tracemalloc.start()
    with pytest.raises(MatteboxError, match="at most 50,000,000") as caught:
        apply(image, change)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, parameter)
    assert peak < 1_000_000


def test_the_limit_is_the_callers() -> None:
    assert apply(noise(10, 10), Resize(width=20), max_pixels=400).width == 20
    with pytest.raises(MatteboxError) as caught:
        apply(noise(10, 10), Resize(width=20), max_pixels=399)
    assert caught.value.parameter == "width"
    with pytest.raises(MatteboxError) as caught:
        apply(noise(10, 10), Rotate(degrees=45), max_pixels=200)
    assert caught.value.parameter == "degrees"
    assert apply(noise(10, 10), Rotate(degrees=90), max_pixels=50).width == 10  # not larger than the picture itself


@pytest.mark.parametrize(("change", "count"), [(Blur(sigma=1), 1), (Watermark(places=((0, 0),)), 0)])
def test_marks_belong_to_places(change: Transform, count: int) -> None:
    with pytest.raises(ValueError, match="marks"):
        apply(noise(5, 5), change, marks=[noise(2, 2)] * count)


# Size ---------------------------------------------------------------------------------------------------------------


@given(image=images, width=sides, height=sides, fit=st.sampled_from(Fit), position=st.sampled_from(Anchor))
def test_two_sides_are_met_exactly(image: Image, width: int, height: int, fit: Fit, position: Anchor) -> None:
    result = apply(image, Resize(width=width, height=height, fit=fit, position=position))
    assert (result.width, result.height) == (width, height)


@given(image=images, side=sides, fit=st.sampled_from([Fit.FILL, Fit.CONTAIN, Fit.COVER]))
def test_one_side_keeps_the_aspect_ratio(image: Image, side: int, fit: Fit) -> None:
    wide, high = apply(image, Resize(width=side, fit=fit)), apply(image, Resize(height=side, fit=fit))
    assert wide.width == high.height == side
    assert abs(wide.height - max(1, image.height * side / image.width)) <= 0.5
    assert abs(high.width - max(1, image.width * side / image.height)) <= 0.5
    assert (wide.alpha is None) == (image.alpha is None)


@given(image=images, width=sides, height=st.none() | sides)
def test_scale_down_never_enlarges(image: Image, width: int, height: int | None) -> None:
    result = apply(image, Resize(width=width, height=height, fit=Fit.SCALE_DOWN, letterbox=Color(0, 0, 0)))
    if height is None:
        assert result.width == min(width, image.width)
    elif image.width <= width and image.height <= height:
        left, top = (width - image.width) // 2, (height - image.height) // 2
        np.testing.assert_array_equal(result.rgb[top : top + image.height, left : left + image.width], image.rgb)
    else:
        assert same(result, apply(image, Resize(width=width, height=height, fit=Fit.CONTAIN, letterbox=Color(0, 0, 0))))


@pytest.mark.parametrize(("height", "width"), [(10_000, 1), (1, 10_000), (1, 1), (3, 2)])
@pytest.mark.parametrize("fit", list(Fit))
def test_extreme_shapes_meet_the_size_too(height: int, width: int, fit: Fit) -> None:
    for asked in ((100, 100), (1, 700), (700, 1), (333, 1)):
        result = apply(noise(height, width), Resize(width=asked[0], height=asked[1], fit=fit))
        assert (result.width, result.height) == asked


@pytest.mark.parametrize("alpha", [False, True])
def test_reducing_is_the_mean_of_blocks(alpha: bool) -> None:
    image = noise(60, 84, alpha=alpha)
    result = apply(image, Resize(width=12, height=12))
    weight = np.ones((60, 84)) if image.alpha is None else image.alpha.astype(np.float64)
    blocks = (image.rgb * weight[:, :, None]).reshape(12, 5, 12, 7, 3).mean(axis=(1, 3))
    share = weight.reshape(12, 5, 12, 7).mean(axis=(1, 3))
    assert farthest(result.rgb, blocks / share[:, :, None]) <= 0.51
    if alpha:
        np.testing.assert_allclose(alpha_of(result), share, atol=1e-5)


@pytest.mark.parametrize("alpha", [False, True])
def test_enlarging_follows_the_picture(alpha: bool) -> None:
    down, across = np.mgrid[:900, :1200]
    large = np.stack([128 + 100 * np.sin(across / 60), 128 + 100 * np.cos(down / 60), across / 5], axis=-1)
    small = large.reshape(300, 3, 400, 3, 3).mean(axis=(1, 3))
    image = Image(rgb=np.rint(small).astype(np.uint8), alpha=np.full((300, 400), 0.5, np.float32) if alpha else None)
    result = apply(image, Resize(width=1200, height=900))
    assert np.abs(result.rgb - large)[9:-9, 9:-9].max() <= 1.5
    if alpha:
        np.testing.assert_allclose(alpha_of(result), 0.5, atol=1e-5)


def test_one_side_may_grow_while_the_other_shrinks() -> None:
    image = Image(rgb=np.broadcast_to(np.arange(0, 240, 2, np.uint8)[:, None, None], (120, 10, 3)).copy())
    result = apply(image, Resize(width=40, height=12))
    assert farthest(result.rgb, np.broadcast_to((np.arange(12) * 20 + 9)[:, None, None], (12, 40, 3))) <= 0.51


def test_contain_puts_bars_where_the_anchor_says() -> None:
    image = Image(rgb=np.full((10, 20, 3), 77, np.uint8))
    for position, top in ((Anchor.TOP, 0), (Anchor.CENTER, 5), (Anchor.LEFT, 5), (Anchor.BOTTOM_RIGHT, 10)):
        result = apply(image, Resize(width=20, height=20, fit=Fit.CONTAIN, position=position))
        expected = np.zeros((20, 20), np.float32)
        expected[top : top + 10] = 1
        np.testing.assert_array_equal(alpha_of(result), expected)
        assert (result.rgb[top : top + 10] == 77).all()
    for position, left in ((Anchor.TOP_LEFT, 0), (Anchor.BOTTOM, 30), (Anchor.RIGHT, 60)):
        result = apply(image, Resize(width=80, height=10, fit=Fit.CONTAIN, position=position))
        np.testing.assert_array_equal(np.flatnonzero(alpha_of(result)[0]), np.arange(left, left + 20))


def test_bars_are_opaque_in_their_colour_and_the_picture_keeps_its_alpha() -> None:
    asked = Resize(width=20, height=20, fit=Fit.CONTAIN, letterbox=Color(9, 8, 7))
    opaque = apply(noise(10, 20), asked)
    assert opaque.alpha is None
    assert (opaque.rgb[:5] == (9, 8, 7)).all()
    assert (opaque.rgb[15:] == (9, 8, 7)).all()
    image = noise(10, 20, alpha=True)
    result = apply(image, asked)
    assert (alpha_of(result)[:5] == 1).all()
    np.testing.assert_array_equal(alpha_of(result)[5:15], image.alpha)


def test_a_picture_that_fits_gets_no_bars_and_no_alpha() -> None:
    assert apply(noise(10, 20), Resize(width=40, height=20, fit=Fit.CONTAIN)).alpha is None


def test_cover_keeps_the_part_at_the_anchor() -> None:
    image = noise(10, 30)
    for position, left in ((Anchor.TOP_LEFT, 0), (Anchor.CENTER, 10), (Anchor.TOP, 10), (Anchor.RIGHT, 20)):
        result = apply(image, Resize(width=10, height=10, fit=Fit.COVER, position=position))
        np.testing.assert_array_equal(result.rgb, image.rgb[:, left : left + 10])
    tall = noise(30, 10)
    for position, top in ((Anchor.TOP_RIGHT, 0), (Anchor.LEFT, 10), (Anchor.BOTTOM_LEFT, 20)):
        result = apply(tall, Resize(width=10, height=10, fit=Fit.COVER, position=position))
        np.testing.assert_array_equal(result.rgb, tall.rgb[top : top + 10])


def test_cover_does_not_stretch() -> None:
    down, across = np.mgrid[:400, :900]
    disc = np.hypot(across - 449.5, down - 199.5) < 150
    image = Image(rgb=np.repeat(np.where(disc, 255, 0).astype(np.uint8)[:, :, None], 3, axis=2))
    result = apply(image, Resize(width=200, height=300, fit=Fit.COVER)).rgb[:, :, 0] > 127
    assert abs(int(result.any(axis=0).sum()) - 200) <= 1  # 225 pixels wide at this scale, cut on both sides
    assert abs(int(result.any(axis=1).sum()) - 225) <= 1


@pytest.mark.parametrize(
    "change",
    [
        Resize(width=37),
        Resize(width=317),
        Resize(width=333, height=40),
        Resize(width=300, height=500, fit=Fit.CONTAIN),
        Rotate(degrees=33),
        Blur(sigma=3),
        Blur(sigma=30),
    ],
    ids=str,
)
def test_what_is_clear_does_not_bleed(change: Transform) -> None:
    result = apply(clear_red(120, 150), change)
    seen = alpha_of(result) > 0.02
    assert alpha_of(result).max() > 0.2
    assert ((alpha_of(result) > 0.05) & (alpha_of(result) < 0.95)).any()
    assert farthest(result.rgb[seen], [90, 90, 90]) <= 1


# Parts and turns ----------------------------------------------------------------------------------------------------


@given(image=images, data=st.data())
def test_a_crop_is_a_slice(image: Image, data: st.DataObject) -> None:
    left, top = data.draw(st.integers(0, image.width - 1)), data.draw(st.integers(0, image.height - 1))
    right = data.draw(st.integers(left + 1, image.width))
    bottom = data.draw(st.integers(top + 1, image.height))
    result = apply(image, Crop(left=left, top=top, right=right, bottom=bottom))
    np.testing.assert_array_equal(result.rgb, image.rgb[top:bottom, left:right])
    if image.alpha is not None:
        np.testing.assert_array_equal(alpha_of(result), image.alpha[top:bottom, left:right])


@given(image=images, mode=st.sampled_from(Flip))
def test_two_mirrors_show_the_picture(image: Image, mode: Flip) -> None:
    once = apply(image, Mirror(mode=mode))
    assert same(apply(once, Mirror(mode=mode)), image)


@given(image=images)
def test_mirrors_and_turns_agree(image: Image) -> None:
    horizontal, vertical = apply(image, Mirror(mode=Flip.HORIZONTAL)), apply(image, Mirror(mode=Flip.VERTICAL))
    np.testing.assert_array_equal(horizontal.rgb, image.rgb[:, ::-1])
    np.testing.assert_array_equal(vertical.rgb, image.rgb[::-1])
    both = apply(image, Mirror(mode=Flip.BOTH))
    assert same(both, apply(horizontal, Mirror(mode=Flip.VERTICAL)))
    assert same(both, apply(image, Rotate(degrees=180)))


@given(image=images, turns=st.integers(-400, 400), background=st.none() | st.just(Color(1, 2, 3)))
def test_quarters_move_pixels_and_change_none(image: Image, turns: int, background: Color | None) -> None:
    result = apply(image, Rotate(degrees=90 * turns, background=background))
    np.testing.assert_array_equal(result.rgb, np.rot90(image.rgb, -turns))
    assert (result.alpha is None) == (image.alpha is None)
    for _ in range(-turns % 4):
        result = apply(result, Rotate(degrees=90))
    assert same(result, image)


def test_clockwise_is_positive() -> None:
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[:20, :30] = 255  # left upper quarter
    assert apply(Image(rgb=rgb), Rotate(degrees=90)).rgb[5, 35].tolist() == [255, 255, 255]  # goes right
    tilted = apply(Image(rgb=rgb), Rotate(degrees=80, background=Color(0, 0, 0))).rgb[:, :, 0]
    assert tilted[:30, 30:].sum() > 2 * tilted[:, :20].sum()


def test_a_right_angle_in_few_digits_of_radians_is_a_right_angle() -> None:
    image = noise(300, 400)
    assert same(apply(image, Rotate(degrees=math.degrees(1.5708))), apply(image, Rotate(degrees=90)))
    assert apply(image, Rotate(degrees=91)).width > 300


@given(image=images, degrees=st.floats(-36000, 36000), background=st.none() | st.just(Color(200, 100, 50)))
def test_a_turned_canvas_is_just_large_enough(image: Image, degrees: float, background: Color | None) -> None:
    result = apply(image, Rotate(degrees=degrees, background=background))
    cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    assert -0.11 <= result.width - (image.width * cos + image.height * sin) < 1.11
    assert -0.11 <= result.height - (image.width * sin + image.height * cos) < 1.11
    if background is not None and image.alpha is None:
        assert result.alpha is None


@pytest.mark.parametrize("degrees", [30, -17.5, 135, 200.25])
def test_a_turn_agrees_with_scikit_image(degrees: float) -> None:
    # Theirs turns within a canvas, so that the picture is put into the middle of ours first. There is one where the
    # sides differ by even numbers.
    height, width = next(
        size
        for size in itertools.product(range(300, 308), range(400, 408))
        for turn in [apply(Image(rgb=waves(*size)), Rotate(degrees=degrees))]
        if (turn.height - size[0]) % 2 == 0 == (turn.width - size[1]) % 2
    )
    result = apply(Image(rgb=waves(height, width)), Rotate(degrees=degrees))
    top, left = (result.height - height) // 2, (result.width - width) // 2
    canvas = np.zeros((result.height, result.width, 4))
    canvas[top : top + height, left : left + width, :3] = waves(height, width)
    canvas[top : top + height, left : left + width, 3] = 1
    theirs = turned(canvas, degrees, 3)
    cover = turned(canvas[:, :, 3], degrees, 1)
    inside = cv2.erode((cover > 0.999).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    difference = np.abs(result.rgb - theirs[:, :, :3])[inside]
    assert difference.max() <= 2
    assert difference.mean() <= 0.5
    assert np.abs(alpha_of(result) - cover).max() <= 0.04  # OpenCV goes by 32nds of a pixel
    assert abs(float(alpha_of(result).sum()) / (height * width) - 1) < 2e-3


def test_a_turn_there_and_back_shows_the_picture() -> None:
    rgb = waves(200, 300)
    there = apply(Image(rgb=rgb), Rotate(degrees=23))
    back = apply(there, Rotate(degrees=-23))
    left, top = (back.width - 300) / 2, (back.height - 200) / 2
    shifted = cv2.warpAffine(back.rgb, np.array([[1, 0, -left], [0, 1, -top]]), (300, 200), flags=cv2.INTER_CUBIC)
    assert farthest(np.asarray(shifted, np.uint8)[5:-5, 5:-5], rgb[5:-5, 5:-5]) <= 4


def test_edges_of_a_turn_are_soft_and_corners_have_their_colour() -> None:
    image = Image(rgb=np.full((100, 140, 3), 200, np.uint8))
    clear = alpha_of(apply(image, Rotate(degrees=20)))
    assert clear[0, 0] == clear[-1, -1] == 0
    assert clear[clear.shape[0] // 2, clear.shape[1] // 2] == 1
    assert ((clear > 0.1) & (clear < 0.9)).sum() > 300  # about one a row or column of the outline
    filled = apply(image, Rotate(degrees=20, background=Color(0, 0, 255)))
    assert filled.rgb[0, 0].tolist() == [0, 0, 255]
    mixed = 200 * clear[:, :, None] + np.array([0, 0, 255]) * (1 - clear[:, :, None])
    assert np.abs(filled.rgb - mixed).max() <= 1


def test_a_turned_picture_keeps_its_own_alpha_before_a_colour() -> None:
    image = Image(rgb=np.full((100, 100, 3), 10, np.uint8), alpha=np.full((100, 100), 0.25, np.float32))
    result = apply(image, Rotate(degrees=45, background=Color(255, 255, 255)))
    alpha = alpha_of(result)
    assert alpha[0, 0] == 1
    assert alpha[70, 70] == pytest.approx(0.25, abs=1e-5)
    assert result.rgb[70, 70].tolist() == [10, 10, 10]


@pytest.mark.parametrize("background", [None, Color(250, 0, 0)])
def test_tiles_leave_no_seams(monkeypatch: pytest.MonkeyPatch, background: Color | None) -> None:
    alpha = waves(300, 400)[:, :, 0].astype(np.float32) / np.float32(255)
    image = Image(rgb=waves(300, 400), alpha=None if background is None else alpha)
    whole = apply(image, Rotate(degrees=-28, background=background))
    monkeypatch.setattr(resampling, "_TILE", 37)
    tiled = apply(image, Rotate(degrees=-28, background=background))
    seen = alpha_of(whole) > 0.02
    # OpenCV goes by 32nds of a pixel, counted from the tile's corner: at the outline, that is a few levels.
    assert farthest(tiled.rgb[seen], whole.rgb[seen]) <= 16
    assert np.abs(tiled.rgb[seen].astype(int) - whole.rgb[seen]).mean() <= 0.3
    np.testing.assert_allclose(alpha_of(tiled), alpha_of(whole), atol=0.04)


@pytest.mark.slow
def test_a_turn_of_a_very_long_picture() -> None:
    rgb = np.full((2, 40_000, 3), 120, np.uint8)
    result = apply(Image(rgb=rgb), Rotate(degrees=1))
    seen = alpha_of(result) > 0.5
    assert (result.rgb[seen] == 120).all()
    assert abs(int(seen.sum()) / 80_000 - 1) < 0.05


# Blur ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.3, 1, 4.5, 7.9, 8, 12, 33, 100])
def test_a_blur_agrees_with_scikit_image(sigma: float) -> None:
    blobs = np.kron(np.random.default_rng(5).integers(0, 256, (20, 25, 3)), np.ones((17, 19, 1)))
    rgb = np.clip(blobs + np.random.default_rng(6).integers(-20, 20, blobs.shape), 0, 255).astype(np.uint8)
    ours = apply(Image(rgb=rgb), Blur(sigma=sigma)).rgb
    theirs = gaussian(rgb.astype(np.float64), sigma)
    assert farthest(ours, theirs) <= (0.55 if sigma < 8 else 2)
    assert np.abs(ours - theirs).mean() <= 0.32  # rounding alone makes 0.25


@pytest.mark.parametrize("sigma", [2.9, 3, 3.3, 4, 5, 6.5])
@pytest.mark.parametrize("pattern", ["noise", "dots", "edge", "checks", "lines"])
def test_a_blur_on_half_the_pixels_is_within_a_level(pattern: str, sigma: float) -> None:
    down, across = np.mgrid[:151, :180]
    random = np.random.default_rng(7)
    plane = {
        "noise": random.integers(0, 256, down.shape),
        "dots": 255 * random.integers(0, 2, down.shape),
        "edge": 255 * (3 * across + down > 340),
        "checks": 255 * ((across // 7 + down // 5) % 2),
        "lines": 255 * (across % 2),
    }[pattern].astype(np.uint8)
    alpha = (random.integers(0, 2, down.shape) if pattern == "dots" else plane / 255).astype(np.float32)
    result = apply(Image(rgb=np.dstack([plane] * 3), alpha=alpha), Blur(sigma=sigma))
    weights = gaussian(alpha.astype(np.float64), sigma)
    assert np.abs(alpha_of(result) - weights).max() <= 0.5 / 255
    opaque = apply(Image(rgb=np.dstack([plane] * 3)), Blur(sigma=sigma))
    assert farthest(opaque.rgb[:, :, 0], gaussian(plane.astype(np.float64), sigma)) <= 1
    if pattern in ("noise", "dots"):
        theirs = gaussian(plane.astype(np.float64) * alpha, sigma) / weights
        assert farthest(result.rgb[:, :, 0], theirs) <= 2  # colours there are quotients of two blurs, alpha about 0.5


@pytest.mark.parametrize("sigma", [2, 9, 40])
def test_a_blur_of_alpha_agrees_with_scikit_image(sigma: float) -> None:
    image = clear_red(150, 211)
    result = apply(image, Blur(sigma=sigma))
    theirs = gaussian(alpha_of(image).astype(np.float64), sigma)
    assert np.abs(alpha_of(result) - theirs).max() <= (1e-3 if sigma < 8 else 8e-3)


@pytest.mark.parametrize("sigma", [0.5, 3, 7.9, 20])
def test_a_blur_in_bands_is_that_of_the_whole(sigma: float, monkeypatch: pytest.MonkeyPatch) -> None:
    image = clear_red(150, 211)
    whole = apply(image, Blur(sigma=sigma))
    monkeypatch.setattr(resampling, "row_bands", lambda height, width: (slice(y, y + 10) for y in range(0, height, 10)))
    bands = apply(image, Blur(sigma=sigma))
    np.testing.assert_array_equal(bands.rgb, whole.rgb)
    np.testing.assert_allclose(alpha_of(bands), alpha_of(whole), atol=1e-6)


def test_marks_are_taken_one_by_one() -> None:
    """Each is gone before the next one is decoded: five at the limit of pixels would take gigabytes."""
    taken: list[weakref.ref[RGB]] = []

    def marks() -> Iterator[Image]:
        for value in (10, 20, 30):
            assert all(each() is None for each in taken)
            mark = Image(rgb=np.full((4, 4, 3), value, np.uint8))
            taken.append(weakref.ref(mark.rgb))
            yield mark
            del mark

    image = Image(rgb=np.zeros((8, 8, 3), np.uint8))
    result = apply(image, Watermark(places=((0, 0), (4, 0), (2, 2))), marks=marks())
    assert result.rgb[0, 0, 0] == 10
    assert result.rgb[0, 7, 0] == 20
    assert result.rgb[3, 3, 0] == 30
    assert not image.rgb.any()
    assert len(taken) == 3


@given(image=images, sigma=st.floats(0.3, 1000))
def test_a_blur_keeps_the_mean(image: Image, sigma: float) -> None:
    result = apply(Image(rgb=image.rgb), Blur(sigma=sigma))
    assert (result.width, result.height) == (image.width, image.height)
    assert np.abs(result.rgb.mean(axis=(0, 1)) - image.rgb.mean(axis=(0, 1))).max() <= 1
    if sigma > 100:
        assert np.ptp(result.rgb, axis=(0, 1)).max() <= 1


# Colours ------------------------------------------------------------------------------------------------------------


def all_colors() -> RGB:
    steps = np.arange(0, 256, 5, np.uint8)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 52, 3)


@pytest.mark.parametrize(
    "change",
    [
        Modulate(brightness=1.3),
        Modulate(brightness=0.5),
        Modulate(saturation=0),
        Modulate(saturation=1.5),
        Modulate(saturation=0.8, hue=100),
        Modulate(brightness=0.9, saturation=0.9, hue=-45, lightness=10),
        Modulate(hue=720.5 * 360 + 30),
        Modulate(brightness=10),
    ],
    ids=str,
)
def test_modulation_agrees_with_scikit_image(change: Modulate) -> None:
    rgb = all_colors()
    lch = skcolor.lab2lch(skcolor.rgb2lab(rgb))
    lch[..., 0] = lch[..., 0] * change.brightness + change.lightness
    lch[..., 1] *= change.saturation
    lch[..., 2] += math.radians(change.hue)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells about colours below black, which both cut off
        theirs: Floats = skcolor.lab2rgb(skcolor.lch2lab(lch)) * 255
    assert farthest(apply(Image(rgb=rgb), change).rgb, theirs) <= 0.7


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Modulate(hue=120), (41, 107, 57)),
        (Modulate(brightness=2), (255, 173, 168)),
        (Modulate(brightness=0.5), (97, 17, 25)),
        (Modulate(saturation=2), (198, 0, 43)),
        (Modulate(saturation=0.5), (127, 83, 81)),
        (Modulate(lightness=10), (182, 93, 92)),
        (Modulate(brightness=2, saturation=0.5, hue=180), (149, 209, 214)),
    ],
    ids=str,
)
def test_modulation_agrees_with_libvips(change: Modulate, expected: tuple[int, int, int]) -> None:
    image = Image(rgb=np.array([[[153, 68, 68]]], np.uint8))
    assert farthest(apply(image, change).rgb, expected) <= 1


def test_no_modulation_changes_no_colour() -> None:
    np.testing.assert_array_equal(apply(Image(rgb=all_colors()), Modulate()).rgb, all_colors())


@given(change=st.builds(Modulate, saturation=st.floats(0, 10), hue=st.floats(-1e300, 1e300)))
def test_grey_has_neither_saturation_nor_hue(change: Modulate) -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    np.testing.assert_array_equal(apply(Image(rgb=grey), change).rgb, grey)


@settings(max_examples=30)
@given(
    brightness=st.floats(0, 10), saturation=st.floats(0, 10), hue=st.floats(-720, 720), lightness=st.floats(-100, 100)
)
def test_modulation_survives_every_allowed_number(
    brightness: float, saturation: float, hue: float, lightness: float
) -> None:
    alpha = np.random.default_rng(2).random((3, 4), np.float32)
    image = Image(rgb=noise(3, 4).rgb, alpha=alpha)
    change = Modulate(brightness=brightness, saturation=saturation, hue=hue, lightness=lightness)
    np.testing.assert_array_equal(alpha_of(apply(image, change)), alpha)


def test_a_colour_is_put_into_the_pictures_profile() -> None:
    red = Color(255, 0, 0)
    there = codec.color_in_profile(red, display_p3())
    assert there != red
    expected = [there.red, there.green, there.blue]
    image = noise(10, 20, icc=display_p3())
    boxed = apply(image, Resize(width=20, height=20, fit=Fit.CONTAIN, letterbox=red))
    assert boxed.rgb[0, 0].tolist() == expected
    assert apply(image, Rotate(degrees=45, background=red)).rgb[0, 0].tolist() == expected


# Marks --------------------------------------------------------------------------------------------------------------


def test_marks_lie_at_their_places_later_ones_above() -> None:
    image = Image(rgb=np.zeros((20, 30, 3), np.uint8))
    first = Image(rgb=np.full((10, 10, 3), 100, np.uint8))
    second = Image(rgb=np.full((10, 10, 3), 200, np.uint8), alpha=np.full((10, 10), 0.5, np.float32))
    result = apply(image, Watermark(places=((-5, -5), (0, 0))), marks=[first, second])
    assert result.alpha is None
    assert (result.rgb[:5, :5] == 150).all()
    assert (result.rgb[5:10, 5:10] == 100).all()
    assert (result.rgb[10:] == 0).all()


def test_a_mark_may_show_a_single_pixel() -> None:
    image = Image(rgb=np.zeros((20, 30, 3), np.uint8))
    mark = Image(rgb=np.full((10, 10, 3), 100, np.uint8))
    for place, corner in (((-9, -9), (0, 0)), ((29, 19), (19, 29))):
        result = apply(image, Watermark(places=(place,)), marks=[mark]).rgb
        assert result[corner].tolist() == [100, 100, 100]
        assert np.count_nonzero(result) == 3


def test_the_default_limit_allows_large_photos() -> None:
    assert transforms.MOST_PIXELS >= 48_000_000

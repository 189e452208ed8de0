from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mattebox import layout
from mattebox.edit import LARGEST_SIDE, Canvas, Fit, Layout, Length, Margin, Region
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Box, Image
from mattebox.layout import Placement, RegionEmptyError, RegionOutsideError


@st.composite
def scenes(draw: st.DrawFn) -> tuple[int, int, Box]:
    width, height = draw(st.integers(1, 9000)), draw(st.integers(1, 9000))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return width, height, Box(left, top, draw(st.integers(1, width - left)), draw(st.integers(1, height - top)))


def percent(value: float) -> Length:
    return Length(value, percent=True)


def evenly(length: Length) -> Margin:
    return Margin(length, length, length, length)


def is_inside(box: Box, width: int, height: int) -> bool:
    return 0 <= box.left < box.right <= width and 0 <= box.top < box.bottom <= height


@given(scene=scenes(), crop=st.booleans(), max_side=st.none() | st.integers(1, 9000))
def test_a_plan_never_leaves_the_picture_and_keeps_its_promises(
    scene: tuple[int, int, Box], crop: bool, max_side: int | None
) -> None:
    width, height, subject = scene
    placement = layout.plan(width, height, subject, Layout(crop=crop, max_side=max_side))
    keep = placement.keep
    assert is_inside(keep, width, height)
    assert 1 <= placement.width <= keep.width
    assert 1 <= placement.height <= keep.height
    if max_side is not None:
        longer = max(keep.width, keep.height)
        assert max(placement.width, placement.height) == min(longer, max_side)
    assert is_inside(placement.moved(subject), placement.width, placement.height)
    assert placement.target == Box(0, 0, placement.width, placement.height)
    if crop:
        assert keep == subject
        assert placement.moved(subject) == placement.target


def any_length(draw: random.Random) -> Length:
    if draw.random() < 0.5:
        return percent(draw.choice([0, 0.5, 10, 33.3, 100, 500, 501, draw.uniform(0, 500)]))
    return Length(draw.choice([0, 1, 2.5, 100, 500, -1, draw.uniform(0, 900)]))


def any_layout(draw: random.Random) -> Layout:
    canvas = None
    if draw.random() < 0.5:
        sides = [draw.choice([None, 1, 2, 100, 5999, 6000, 70_000, 10**30, draw.randint(1, 3000)]) for _ in range(2)]
        if sides != [None, None]:
            canvas = Canvas(width=sides[0], height=sides[1], fit=draw.choice(list(Fit)))
    numbers = [1, 2, 3, 16, 9, 10_000, 10**300]
    return Layout(
        crop=draw.random() < 0.6,
        ratio=draw.choice([None, (draw.choice(numbers), draw.choice(numbers))]),
        margin=Margin(any_length(draw), any_length(draw), any_length(draw), any_length(draw)),
        scale=draw.choice([None, 1.0, 0.5, 1e-300, draw.uniform(0.01, 1)]),
        position=draw.choice([None, (0.0, 0.0), (1.0, 1.0), (draw.random(), draw.random())]),
        canvas=canvas,
        max_side=draw.choice([None, None, 1, 50, 3000]),
        max_pixels=draw.choice([None, None, 1, 5, 1000, 10**6]),
    )


@pytest.mark.slow
def test_ten_thousand_layouts_stay_on_their_canvas_or_are_refused() -> None:
    draw = random.Random(8)
    refusals: list[Kind] = []
    for _ in range(10_000):
        width, height = (draw.choice([1, 2, 7, 640, 4000, draw.randint(1, 9000)]) for _ in range(2))
        left, top = draw.randint(0, width - 1), draw.randint(0, height - 1)
        subject = Box(left, top, draw.randint(1, width - left), draw.randint(1, height - top))
        asked = any_layout(draw)
        try:
            placed = layout.plan(width, height, draw.choice([subject, subject, None]), asked)
        except MatteboxError as error:
            refusals.append(error.kind)
            continue
        assert is_inside(placed.keep, width, height), asked
        assert is_inside(placed.target, placed.width, placed.height), asked
        assert is_inside(placed.moved(subject), placed.width, placed.height), asked
        assert placed.width * placed.height <= max(layout.MAX_PIXELS, width * height), asked
        assert asked.max_side is None or max(placed.width, placed.height) <= asked.max_side, asked
        assert asked.max_pixels is None or placed.width * placed.height <= asked.max_pixels, asked
    assert set(refusals) == {Kind.INVALID_PARAMETER}
    assert 1000 < len(refusals) < 9000


def test_without_a_subject_there_is_nothing_to_crop_to() -> None:
    asked = Layout(crop=True, ratio=(1, 1), margin=evenly(Length(9)), scale=0.5, position=(0, 0))
    placed = layout.plan(40, 30, None, asked)
    assert placed == Placement(Box(0, 0, 40, 30), Box(0, 0, 40, 30), 40, 30)


def test_a_size_is_the_longer_side() -> None:
    full = Box(0, 0, 4000, 3000)
    assert layout.plan(4000, 3000, None, Layout(max_side=1000)) == Placement(full, Box(0, 0, 1000, 750), 1000, 750)
    assert layout.plan(300, 4000, None, Layout(max_side=1000)).width == 75


@given(scene=scenes(), most=st.integers(1, 10_000_000))
def test_a_number_of_pixels_is_kept_to_and_used(scene: tuple[int, int, Box], most: int) -> None:
    width, height, _ = scene
    placed = layout.plan(width, height, None, Layout(max_pixels=most))
    assert placed.width * placed.height <= most
    if width * height <= most:
        assert (placed.width, placed.height) == (width, height)
    elif min(placed.width, placed.height) > 20:
        assert placed.width * placed.height > 0.9 * most
        assert abs(placed.width - placed.height * width / height) <= 1 + width / height


# region


def test_a_region_in_pixels() -> None:
    assert layout.region(100, 50, Region(Length(10), Length(5), Length(90), Length(45))) == Box(10, 5, 80, 40)
    assert layout.region(100, 50, Region(Length(0), Length(0), percent(100), percent(100))) == Box(0, 0, 100, 50)


@given(width=st.integers(1, 20_000), height=st.integers(1, 20_000), data=st.data())
def test_per_cent_and_the_same_pixels_are_the_same_region(width: int, height: int, data: st.DataObject) -> None:
    left, right = sorted(data.draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(data.draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True)))
    in_pixels = Region(Length(left), Length(top), Length(right), Length(bottom))
    in_per_cent = Region(
        percent(100 * left / width), percent(100 * top / height), percent(100 * right / width),
        percent(100 * bottom / height),
    )  # fmt: skip
    assert layout.region(width, height, in_pixels) == Box(left, top, right - left, bottom - top)
    assert layout.region(width, height, in_per_cent) == layout.region(width, height, in_pixels)


@pytest.mark.parametrize(
    ("edges", "kind"),
    [
        ((-1, 0, 10, 10), RegionOutsideError),
        ((0, 0, 101, 10), RegionOutsideError),
        ((0, 0, 10, 51), RegionOutsideError),
        ((200, 10, 300, 20), RegionOutsideError),
        ((float("nan"), 0, 10, 10), RegionOutsideError),
        ((10, 10, 10, 20), RegionEmptyError),
        ((20, 10, 10, 20), RegionEmptyError),
        ((0, 0, 0.2, 10), RegionEmptyError),
    ],
)
def test_a_region_that_cannot_be(edges: tuple[float, float, float, float], kind: type[MatteboxError]) -> None:
    left, top, right, bottom = map(Length, edges)
    with pytest.raises(kind) as caught:
        layout.region(100, 50, Region(left, top, right, bottom))
    assert caught.value.kind is Kind.INVALID_PARAMETER
    assert caught.value.parameter == "roi"
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is kind
    assert again.parameter == "roi"


# crop, ratio, margin

SUBJECT = Box(100, 100, 40, 80)


def planned(asked: Layout, *, subject: Box | None = SUBJECT, room: Margin = Margin()) -> Placement:
    return layout.plan(300, 400, subject, asked, room=room)


def test_a_margin_shows_the_photo_round_the_subject() -> None:
    margin = Margin(Length(1), Length(2), Length(3), Length(4))
    assert planned(Layout(crop=True, margin=margin)) == Placement(Box(96, 99, 46, 84), Box(0, 0, 46, 84), 46, 84)


def test_a_margin_beyond_the_photo_is_empty() -> None:
    placed = planned(Layout(crop=True, margin=evenly(Length(500))))
    assert placed == Placement(Box(0, 0, 300, 400), Box(400, 400, 300, 400), 1040, 1080)
    assert placed.moved(SUBJECT) == Box(500, 500, 40, 80)


def test_a_margin_in_per_cent_is_of_the_subject() -> None:
    in_pixels = Margin(Length(8), Length(4), Length(8), Length(4))
    expected = planned(Layout(crop=True, margin=in_pixels))
    assert planned(Layout(crop=True, margin=evenly(percent(10)))) == expected


@given(scene=scenes(), tenths=st.integers(0, 500))
def test_per_cent_and_the_same_pixels_are_the_same_margin(scene: tuple[int, int, Box], tenths: int) -> None:
    width, height, subject = scene
    across, down = Length(subject.width * tenths / 1000), Length(subject.height * tenths / 1000)
    in_pixels = Layout(crop=True, margin=Margin(down, across, down, across), max_side=500)
    in_per_cent = Layout(crop=True, margin=evenly(percent(tenths / 10)), max_side=500)
    assert layout.plan(width, height, subject, in_per_cent) == layout.plan(width, height, subject, in_pixels)


def test_a_margin_without_a_crop_does_nothing() -> None:
    assert planned(Layout(margin=evenly(Length(50)))) == planned(Layout())


@pytest.mark.parametrize("length", [Length(-1), percent(501), Length(1e9), Length(float("nan")), Length(float("inf"))])
def test_a_margin_out_of_range_is_refused(length: Length) -> None:
    with pytest.raises(MatteboxError) as caught:
        planned(Layout(crop=True, margin=Margin(top=length)))
    assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, "margin")


def test_a_ratio_widens_the_box_and_cuts_nothing() -> None:
    placed = planned(Layout(crop=True, ratio=(1, 1)))
    assert (placed.width, placed.height) == (80, 80)
    assert placed.moved(SUBJECT) == Box(20, 0, 40, 80)
    assert planned(Layout(crop=True, ratio=(1, 4))).moved(SUBJECT) == Box(0, 40, 40, 80)


@given(
    width=st.integers(1, 400), height=st.integers(1, 400), across=st.integers(1, 20), down=st.integers(1, 20),
    margin=st.integers(0, 50),
)  # fmt: skip
def test_equal_margins_in_per_cent_keep_a_ratio(width: int, height: int, across: int, down: int, margin: int) -> None:
    asked = Layout(crop=True, ratio=(across, down), margin=evenly(percent(margin)))
    placed = layout.plan(500, 500, Box(50, 50, width, height), asked, max_pixels=10**9)
    assert abs(placed.width * down - placed.height * across) <= 3 * max(across, down)


def test_room_for_a_shadow_widens_a_crop_and_nothing_else() -> None:
    room = Margin(Length(0), Length(10), Length(20), Length(5))
    assert planned(Layout(crop=True), room=room).keep == Box(95, 100, 55, 100)
    assert planned(Layout(), room=room) == planned(Layout())


# scale, position


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 1.0])
def test_a_scaled_subject_fills_its_share_in_the_middle(share: float) -> None:
    placed = planned(Layout(scale=share))
    moved = placed.moved(SUBJECT)
    assert (placed.width, placed.height) == (300, 400)
    assert max(moved.width / 300, moved.height / 400) == pytest.approx(share, abs=0.01)
    assert moved.left + moved.width / 2 == pytest.approx(150, abs=1)
    assert moved.top + moved.height / 2 == pytest.approx(200, abs=1)


def test_a_position_is_a_share_of_the_room_that_is_left() -> None:
    for x, y in ((0, 0), (0.5, 0.5), (1, 1), (0.25, 0.75)):
        moved = planned(Layout(position=(x, y))).moved(SUBJECT)
        assert moved == Box(round(260 * x), round(320 * y), 40, 80)


def test_moving_changes_no_pixel() -> None:
    placed = planned(Layout(position=(0.31, 0.77)))
    assert (placed.keep.width, placed.keep.height) == (placed.target.width, placed.target.height)


def test_scale_and_position_within_a_cropped_box() -> None:
    placed = planned(Layout(crop=True, ratio=(1, 1), scale=0.5, position=(1, 0)))
    assert (placed.width, placed.height) == (80, 80)
    assert placed.moved(SUBJECT) == Box(60, 0, 20, 40)


@given(scene=scenes(), share=st.floats(0.05, 1), x=st.floats(0, 1), y=st.floats(0, 1))
def test_a_placed_subject_is_whole_and_keeps_its_proportions(
    scene: tuple[int, int, Box], share: float, x: float, y: float
) -> None:
    width, height, subject = scene
    placed = layout.plan(width, height, subject, Layout(scale=share, position=(x, y)))
    factor = min(width / subject.width, height / subject.height) * share
    moved = placed.moved(subject)
    slack = 2 + 2 * factor  # a pixel of the canvas and one of the photo at each end
    assert abs(moved.width - subject.width * factor) <= slack
    assert abs(moved.height - subject.height * factor) <= slack
    assert abs(moved.left - (width - subject.width * factor) * x) <= slack
    assert abs(moved.top - (height - subject.height * factor) * y) <= slack


# canvas


@pytest.mark.parametrize(
    ("fit", "target"),
    [
        (Fit.FILL, Box(0, 0, 600, 400)),
        (Fit.CONTAIN, Box(150, 0, 300, 400)),
        (Fit.COVER, Box(0, 0, 600, 400)),
        (Fit.SCALE_DOWN, Box(150, 0, 300, 400)),
    ],
)
def test_fits(fit: Fit, target: Box) -> None:
    placed = planned(Layout(canvas=Canvas(width=600, height=400, fit=fit)))
    assert placed.target == target
    assert (placed.width, placed.height) == (600, 400)


def test_only_scale_down_never_enlarges() -> None:
    for fit, sides in ((Fit.CONTAIN, (600, 800)), (Fit.SCALE_DOWN, (300, 400))):
        placed = planned(Layout(canvas=Canvas(width=1000, height=800, fit=fit)))
        assert (placed.target.width, placed.target.height) == sides
        assert (placed.width, placed.height) == (1000, 800)
    alone = planned(Layout(canvas=Canvas(width=1000, fit=Fit.SCALE_DOWN)))
    assert (alone.width, alone.height) == (300, 400)


def test_one_side_keeps_the_proportions() -> None:
    assert planned(Layout(canvas=Canvas(width=150))).height == 200
    assert planned(Layout(canvas=Canvas(height=800, fit=Fit.FILL))).width == 600


def test_cover_cuts_empty_space_before_the_subject() -> None:
    subject = Box(0, 0, 40, 80)
    placed = planned(Layout(canvas=Canvas(width=300, height=100, fit=Fit.COVER)), subject=subject)
    assert placed.moved(subject) == Box(0, 0, 40, 80)
    evenly_cut = planned(Layout(canvas=Canvas(width=300, height=100, fit=Fit.COVER)), subject=None)
    assert evenly_cut.keep == Box(0, 150, 300, 100)


def test_a_size_after_a_canvas_reduces_it() -> None:
    placed = planned(Layout(canvas=Canvas(width=600, height=400), max_side=300))
    assert (placed.width, placed.height) == (300, 200)
    assert placed.target == Box(75, 0, 150, 200)


@pytest.mark.parametrize(
    "asked",
    [
        Layout(canvas=Canvas(width=20_000, height=20_000)),
        Layout(canvas=Canvas(width=10**400, height=1)),
        Layout(canvas=Canvas(width=LARGEST_SIDE + 1, height=1)),
        Layout(crop=True, ratio=(10**400, 1)),
        Layout(crop=True, ratio=(1000, 1)),
    ],
)
def test_what_would_take_the_memory_is_refused(asked: Layout) -> None:
    with pytest.raises(MatteboxError) as caught:
        planned(asked)
    assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, "size")


def test_a_photo_is_never_too_large_for_itself() -> None:
    assert layout.plan(40_000, 10_000, None, Layout()).width == 40_000


# pixels


def picture(width: int, height: int, *, opaque: bool = False) -> Image:
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    alpha = None if opaque else np.random.default_rng(1).random((height, width), np.float32)
    return Image(rgb=rgb, alpha=alpha, icc=b"profile")


def test_place_crops_without_touching_a_pixel() -> None:
    image = picture(30, 20)
    placed = layout.place(image, Placement(Box(3, 4, 10, 8), Box(0, 0, 10, 8), 10, 8))
    np.testing.assert_array_equal(placed.rgb, image.rgb[4:12, 3:13])
    assert placed.alpha is not None
    assert image.alpha is not None
    np.testing.assert_array_equal(placed.alpha, image.alpha[4:12, 3:13])


def test_nothing_is_copied_where_nothing_changes() -> None:
    image = picture(30, 20)
    placed = layout.place(image, layout.plan(30, 20, Box(3, 4, 10, 8), Layout()))
    assert np.shares_memory(placed.rgb, image.rgb)
    assert placed.alpha is not None
    assert image.alpha is not None
    assert np.shares_memory(placed.alpha, image.alpha)
    assert placed.icc == b"profile"


@pytest.mark.parametrize("opaque", [True, False])
def test_beyond_the_photo_there_is_nothing(opaque: bool) -> None:
    image = picture(30, 20, opaque=opaque)
    placed = layout.place(image, Placement(Box(0, 0, 30, 20), Box(5, 7, 30, 20), 50, 40))
    assert placed.alpha is not None
    outside = np.ones((40, 50), np.bool_)
    outside[7:27, 5:35] = False
    assert not placed.alpha[outside].any()
    assert not placed.rgb[outside].any()
    np.testing.assert_array_equal(placed.rgb[7:27, 5:35], image.rgb)
    np.testing.assert_array_equal(placed.alpha[7:27, 5:35], 1 if image.alpha is None else image.alpha)


def test_shrinking_lets_no_black_into_the_edge() -> None:
    rgb = np.zeros((600, 600, 3), np.uint8)
    rgb[:, :301] = (200, 100, 50)
    alpha = np.zeros((600, 600), np.float32)
    alpha[:, :301] = 1
    placed = layout.place(Image(rgb=rgb, alpha=alpha), layout.plan(600, 600, None, Layout(max_side=100)))
    assert placed.alpha is not None
    seen = placed.alpha > 0.02
    assert 0 < placed.alpha[50, 50] < 1  # the edge falls inside this pixel
    assert np.abs(placed.rgb[seen].astype(int) - (200, 100, 50)).max() <= 1


def test_enlarging_draws_no_fringe_and_no_halo() -> None:
    rgb = np.zeros((20, 20, 3), np.uint8)
    rgb[4:15, 4:15] = (255, 100, 50)
    alpha = np.zeros((20, 20), np.float32)
    alpha[4:15, 4:15] = 1
    enlarged = layout.plan(20, 20, None, Layout(canvas=Canvas(width=130, height=200, fit=Fit.FILL)))
    placed = layout.place(Image(rgb=rgb, alpha=alpha), enlarged)
    assert placed.alpha is not None
    assert placed.rgb.shape == (200, 130, 3)
    assert placed.alpha.min() >= 0
    assert placed.alpha.max() == 1
    assert ((placed.alpha > 0.1) & (placed.alpha < 0.9)).any()
    assert np.abs(placed.rgb[placed.alpha > 0.02].astype(int) - (255, 100, 50)).max() <= 2
    assert not placed.rgb[placed.alpha == 0].any()


@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("size", [(17, 22), (170, 30), (200, 200)])
def test_scaling_keeps_flat_pictures_flat(level: float, size: tuple[int, int]) -> None:
    image = Image(rgb=np.full((90, 70, 3), 131, np.uint8), alpha=np.full((90, 70), level, np.float32))
    asked = Layout(canvas=Canvas(width=size[0], height=size[1], fit=Fit.FILL))
    placed = layout.place(image, layout.plan(70, 90, None, asked))
    assert placed.alpha is not None
    np.testing.assert_allclose(placed.alpha, level, atol=1e-6)
    if level:
        assert np.abs(placed.rgb.astype(int) - 131).max() <= 1


def test_a_picture_covers_a_canvas() -> None:
    rgb = np.zeros((100, 300, 3), np.uint8)
    rgb[:, 100:200] = 90
    covering = layout.cover(Image(rgb=rgb), 50, 50)
    assert covering.alpha is None
    assert covering.rgb.shape == (50, 50, 3)
    assert np.all(covering.rgb == 90)
    same = Image(rgb=rgb)
    assert np.shares_memory(layout.cover(same, 300, 100).rgb, rgb)


@pytest.mark.parametrize(("width", "height"), [(40_000, 3), (3, 40_000)])
def test_a_picture_covers_a_canvas_as_long_as_a_photo_may_be(width: int, height: int) -> None:
    made = layout.cover(Image(rgb=np.full((2, 5, 3), 7, np.uint8)), width, height)
    assert (made.width, made.height) == (width, height)
    assert (made.rgb == 7).all()

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.codec.pictures import exif, saved

from mattebox import codec, corrections, pipeline
from mattebox.edit import Corrections, Edit, Layout, Length, Matte, Output, Point, Region, Stroke
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Alpha, Box, Image
from mattebox.options import EditOptions
from mattebox.testing import FakeModels, FakePromptable, FakeSegmenter, make_scene

WIDTH, HEIGHT = 300, 200
SIZE = (WIDTH, HEIGHT)
WHOLE = Box(0, 0, WIDTH, HEIGHT)


def drawn(*strokes: Stroke, on: float = 0.0, size: tuple[int, int] = SIZE, region: Box | None = None) -> Alpha:
    region = region or Box(0, 0, *size)
    alpha = np.full((region.height, region.width), on, np.float32)
    corrections.paint(alpha, strokes, size, region)
    return alpha


def distances(points: tuple[tuple[float, float], ...], size: tuple[int, int]) -> Alpha:
    """Of each pixel's centre to the line through the points, by brute force."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]] + 0.5
    places = [(a * size[0], b * size[1]) for a, b in points]
    found = np.full(x.shape, np.inf)
    for (ax, ay), (bx, by) in zip(places, [*places[1:], places[-1]], strict=True):
        length = (bx - ax) ** 2 + (by - ay) ** 2
        share = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0, 1) if length else 0 * x
        found = np.minimum(found, np.hypot(x - ax - share * (bx - ax), y - ay - share * (by - ay)))
    return found.astype(np.float32)


ZIGZAG = ((0.1, 0.2), (0.8, 0.3), (0.3, 0.9), (0.95, 0.95))


@pytest.mark.parametrize("size", [0.004, 0.03, 0.2, 1.0])
@pytest.mark.parametrize("hardness", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("picture", [SIZE, (801, 1203)])
@pytest.mark.parametrize(("points", "exact"), [(ZIGZAG, 0.05), (ZIGZAG[:2], 0.01)])
def test_a_stroke_covers_what_is_within_its_radius(
    points: tuple[tuple[float, float], ...], exact: float, size: float, hardness: float, picture: tuple[int, int]
) -> None:
    alpha = drawn(Stroke(points=points, size=size, hardness=hardness), size=picture)
    radius, far = size * max(picture) / 2, distances(points, picture)
    slack = radius * (exact if hardness else 0.05) + 0.01  # inner corners are rounded a little, and so is the middle
    assert (alpha[far <= hardness * radius - 0.5 - slack] == 1).all()
    assert (alpha[far >= radius + 0.5 + slack] == 0).all()
    # Between them it falls, along the same curve at every place.
    inner, outer = max(0.0, hardness * radius - 0.5), radius + 0.5
    least, most = (np.clip((outer - far + each) / (outer - inner), 0, 1) for each in (-slack, slack))
    assert (alpha >= least * least * (3 - 2 * least) - 1e-4).all()
    assert (alpha <= most * most * (3 - 2 * most) + 1e-4).all()


def test_a_dot_and_a_closed_line_have_the_area_of_their_shape() -> None:
    dot = drawn(Stroke(points=((0.5, 0.5),), size=0.2, hardness=1.0))
    assert dot.sum() == pytest.approx(math.pi * 30**2, rel=0.01)
    assert dot[100, 150] == 1
    again = drawn(Stroke(points=((0.5, 0.5), (0.5, 0.5)), size=0.2, hardness=1.0))
    assert np.array_equal(dot, again)


def test_later_strokes_lie_over_earlier_ones() -> None:
    keep = Stroke(points=((0.1, 0.5), (0.9, 0.5)), size=0.1, hardness=1.0)
    erase = Stroke(points=((0.5, 0.1), (0.5, 0.9)), size=0.1, hardness=1.0, keep=False)
    kept_last, erased_last = drawn(erase, keep), drawn(keep, erase)
    assert (kept_last[100, 150], erased_last[100, 150]) == (1, 0)
    assert (kept_last[100, 60], erased_last[100, 60]) == (1, 1)
    assert drawn(erase, on=1.0)[30, 150] == 0


def test_a_soft_stroke_blends_and_covers_no_pixel_twice() -> None:
    there = drawn(Stroke(points=((0.2, 0.5), (0.8, 0.5)), size=0.2, hardness=0.0))
    and_back = drawn(Stroke(points=((0.2, 0.5), (0.8, 0.5), (0.2, 0.5)), size=0.2, hardness=0.0))
    assert np.abs(there - and_back).max() < 1e-5
    half = float(there[85, 150])
    assert 0.4 < half < 0.6
    over = drawn(Stroke(points=((0.2, 0.5), (0.8, 0.5)), size=0.2, hardness=0.0), on=0.5)
    assert over[85, 150] == pytest.approx(0.5 + half / 2, abs=1e-5)


def test_in_a_region_strokes_lie_where_they_lie_in_the_photo() -> None:
    stroke = Stroke(points=ZIGZAG, size=0.1)
    region = Box(41, 33, 170, 120)
    assert np.abs(drawn(stroke, region=region) - drawn(stroke)[region.slices]).max() < 1e-4


@given(
    st.lists(
        st.builds(
            Stroke,
            points=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5).map(tuple),
            size=st.floats(0, 1, exclude_min=True),
            keep=st.booleans(),
            hardness=st.floats(0, 1),
        ),
        max_size=4,
    ),
    st.floats(0, 1, width=32),
)
def test_whatever_is_drawn_is_an_alpha_and_each_stroke_goes_one_way(strokes: list[Stroke], on: float) -> None:
    alpha = np.full((37, 53), on, np.float32)
    for stroke in strokes:
        before = alpha.copy()
        corrections.paint(alpha, [stroke], (53, 37), Box(0, 0, 53, 37))
        assert alpha.min() >= 0
        assert alpha.max() <= 1
        assert (alpha >= before).all() if stroke.keep else (alpha <= before).all()


def test_drawing_can_be_stopped() -> None:
    def stop() -> None:
        raise MatteboxError(Kind.CANCELLED, "Stopped.")

    with pytest.raises(MatteboxError, match="Stopped"):
        corrections.paint(np.zeros((HEIGHT, WIDTH), np.float32), [Stroke(points=ZIGZAG, size=0.1)], SIZE, WHOLE, stop)


# --- parts -------------------------------------------------------------------------------------------------------


def three_parts() -> Alpha:
    """Parts at the left, in the middle and at the right, the left one with a faint rim."""
    alpha = np.zeros((HEIGHT, WIDTH), np.float32)
    alpha[48:152, 18:82] = 0.2
    alpha[50:150, 20:80] = 1
    alpha[50:150, 120:180] = 0.9
    alpha[50:150, 220:280] = 1
    return alpha


def chosen(*points: Point, box: tuple[float, float, float, float] | None = None) -> list[bool]:
    """Which of the parts are still there."""
    alpha = three_parts()
    corrections.choose_parts(alpha, Corrections(points=points, box=box), SIZE, WHOLE)
    kept = alpha > 0
    for left, right in ((20, 80), (120, 180), (220, 280)):
        assert len(np.unique(kept[50:150, left:right])) == 1
        if kept[100, left]:
            assert np.array_equal(alpha[50:150, left:right], three_parts()[50:150, left:right])
    assert kept[49, 19] == kept[100, 50]  # a soft edge goes with its part
    return [bool(kept[100, x]) for x in (50, 150, 250)]


def test_points_choose_and_remove_parts() -> None:
    assert chosen(Point(x=50 / 300, y=0.5)) == [True, False, False]
    assert chosen(Point(x=50 / 300, y=0.5), Point(x=250 / 300, y=0.5)) == [True, False, True]
    assert chosen(Point(x=150 / 300, y=0.5, keep=False)) == [True, False, True]
    assert chosen(Point(x=150 / 300, y=0.5), Point(x=150 / 300, y=0.6, keep=False)) == [False, False, False]
    assert chosen(Point(x=83 / 300, y=0.5)) == [True, False, False]  # just beside it
    assert chosen(Point(x=100 / 300, y=0.05)) == [True, True, True]  # nothing is near
    assert chosen(Point(x=100 / 300, y=0.05, keep=False)) == [True, True, True]


def test_a_box_chooses_what_lies_mostly_in_it() -> None:
    assert chosen(box=(0.05, 0.0, 0.5, 1.0)) == [True, False, False]
    assert chosen(box=(0.05, 0.0, 0.55, 1.0)) == [True, True, False]
    assert chosen(Point(x=250 / 300, y=0.5), box=(0.05, 0.0, 0.3, 1.0)) == [True, False, True]
    assert chosen(Point(x=50 / 300, y=0.5, keep=False), box=(0.05, 0.0, 0.55, 1.0)) == [False, True, False]


def test_a_box_in_a_large_part_cuts_it() -> None:
    alpha = np.ones((HEIGHT, WIDTH), np.float32)
    corrections.choose_parts(alpha, Corrections(box=(0.25, 0.25, 0.5, 0.75)), SIZE, WHOLE)
    expected = np.zeros_like(alpha)
    expected[50:150, 75:150] = 1
    assert np.array_equal(alpha, expected)


def test_without_a_matte_there_is_nothing_to_choose() -> None:
    alpha = np.zeros((HEIGHT, WIDTH), np.float32)
    corrections.choose_parts(alpha, Corrections(points=(Point(x=0.5, y=0.5),), box=(0, 0, 1, 1)), SIZE, WHOLE)
    assert not alpha.any()


# --- which objects are meant, told by a network ------------------------------------------------------------------

RED, GREEN, BLUE, GREY = (200, 40, 40), (40, 180, 60), (50, 60, 200), (128, 128, 128)


def objects(wanted: Corrections, matte: Alpha, *, region: Box = WHOLE) -> Alpha:
    """The matte after a network was asked about a red, a green and a blue stripe before grey."""
    photo = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    for left, colour in ((30, RED), (110, GREEN), (190, BLUE)):
        photo[40:160, left : left + 80] = colour
    network = FakePromptable()
    seen = network.embed(np.ascontiguousarray(photo[region.slices]))
    alpha = matte[region.slices].copy()
    corrections.choose_objects(
        photo[region.slices], alpha, wanted, partial(network.ask, seen), size=SIZE, region=region
    )
    return alpha


def stripes(*lefts: int) -> Alpha:
    matte = np.zeros((HEIGHT, WIDTH), np.float32)
    for left in lefts:
        matte[40:160, left : left + 80] = 1
    return matte


ALL = stripes(30, 110, 190)
ON_RED, ON_GREEN, ON_BLUE = (Point(x=x / WIDTH, y=0.5) for x in (70, 150, 230))


def off(point: Point) -> Point:
    return replace(point, keep=False)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Corrections(points=(ON_RED,)), (1, 0, 0)),
        (Corrections(points=(ON_RED, ON_BLUE)), (1, 0, 1)),
        (Corrections(points=(off(ON_RED),)), (0, 1, 1)),
        (Corrections(points=(off(ON_RED), off(ON_GREEN))), (0, 0, 1)),
        (Corrections(points=(ON_GREEN, off(ON_BLUE))), (0, 1, 0)),
        (Corrections(box=(100 / WIDTH, 0.1, 200 / WIDTH, 0.9)), (0, 1, 0)),
        (Corrections(points=(ON_RED,), box=(100 / WIDTH, 0.1, 200 / WIDTH, 0.9)), (1, 1, 0)),
        (Corrections(points=(off(Point(x=0.02, y=0.02)),)), (1, 1, 1)),
    ],
)
def test_objects_that_touch_are_told_apart(wanted: Corrections, expected: tuple[int, int, int]) -> None:
    alpha = objects(wanted, ALL)
    assert tuple(alpha[100, [70, 150, 230]]) == pytest.approx(expected, abs=1e-5)
    assert float(alpha[:, :20].max()) < 1e-5
    for border, left, right in ((110, expected[0], expected[1]), (190, expected[1], expected[2])):
        # the network's answer has cells of 5 pixels here
        assert alpha[100, border - 12] == pytest.approx(left, abs=0.01)
        assert alpha[100, border + 11] == pytest.approx(right, abs=0.01)


def test_an_object_that_the_matte_has_not_seen_is_added() -> None:
    alpha = objects(Corrections(points=(ON_RED, ON_BLUE)), stripes(30))
    assert np.abs(alpha[60:140, 200:260] - 1).max() < 1e-5
    assert np.array_equal(alpha[:, :105], stripes(30)[:, :105])
    nothing = objects(Corrections(points=(ON_BLUE,)), stripes())
    assert np.abs(nothing - stripes(190)).mean() < 0.02


def test_where_the_two_agree_the_mattes_own_edge_stays() -> None:
    matte = np.asarray(cv2.GaussianBlur(stripes(30, 190), (0, 0), 1.5), np.float32)
    matte[60, 20:30] = 0.6  # a hair
    alpha = objects(Corrections(points=(ON_RED,)), matte)
    assert np.abs(alpha[:, :120] - matte[:, :120]).max() < 1e-3
    assert float(alpha[:, 180:].max()) < 1e-5


def test_a_click_on_a_detail_means_all_of_the_object_and_no_specks() -> None:
    def ask(points: Sequence[object], box: object) -> tuple[Alpha, Alpha]:
        masks = np.full((3, 64, 64), -8, np.float32)
        masks[0, 12:52, 6:24] = masks[1, 28:34, 12:16] = masks[0, 30:32, 50:52] = 8
        return masks, np.array([0.5, 0.95, 0.9], np.float32)

    alpha = stripes(30)
    photo = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    corrections.choose_objects(photo, alpha, Corrections(points=(ON_RED,)), ask, size=SIZE, region=WHOLE)
    assert (alpha[45:155, 35:105] == 1).all()
    assert float(alpha[:, 130:].max()) < 1e-5
    assert np.abs(alpha - stripes(30)).mean() < 0.003


Rectangle: TypeAlias = tuple[int, int, int, int]


def answers(*found: Rectangle, sure: bool = True) -> corrections.Ask:
    """A network that knows these objects, by their sides in 64 x 64; it answers with the last that has the place."""

    def ask(points: Sequence[tuple[float, float, bool]], box: object) -> tuple[Alpha, Alpha]:
        x, y, _ = next(point for point in points if point[2])
        masks = np.full((3, 64, 64), -8, np.float32)
        for left, top, right, bottom in found:
            if left <= 64 * x < right and top <= 64 * y < bottom:
                masks[0] = -8
                masks[0, top:bottom, left:right] = 8
        if not sure:  # it may end anywhere
            masks[0] = cv2.GaussianBlur(masks[0], (0, 0), 16)
        return masks, np.array([0.9, 0.1, 0.1], np.float32)

    return ask


def clicked(matte: Alpha, wanted: Corrections, ask: corrections.Ask) -> Alpha:
    alpha, photo = matte.copy(), np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    corrections.choose_objects(photo, alpha, wanted, ask, size=SIZE, region=WHOLE)
    return alpha


JUMPER, TROUSERS = (6, 12, 24, 30), (6, 30, 24, 52)  # of who wears them, in `stripes(30)`
WEARER = np.asarray(cv2.GaussianBlur(stripes(30), (0, 0), 1.5), np.float32)
WEARER[60, 12:30] = 0.3  # a hair
ON_JUMPER, ON_TROUSERS = Point(x=70 / WIDTH, y=0.3), Point(x=70 / WIDTH, y=0.7)


@pytest.mark.parametrize(
    ("known", "sure"),
    [
        ([JUMPER], True),  # and nothing where the trousers are
        ([JUMPER, TROUSERS], False),
        ([JUMPER, (6, 46, 24, 52)], True),  # shoes, and nothing above them
        ([JUMPER, (6, 30, 60, 52)], True),  # the most of it is not in the matte
        ([(6, 12, 24, 40), (6, 18, 24, 52)], True),  # they overlap
        ([(6, 12, 24, 15), (6, 15, 24, 52)], True),  # a collar
    ],
)
def test_a_click_on_what_is_kept_takes_nothing_away(known: list[Rectangle], sure: bool) -> None:
    for point in (Point(x=70 / WIDTH, y=0.22), ON_JUMPER):
        alpha = clicked(WEARER, Corrections(points=(point,)), answers(*known, sure=sure))
        assert (alpha >= WEARER - 1e-3).all()
        if sure:
            assert np.abs(alpha - WEARER).max() < 1e-3


def test_another_part_of_the_matte_is_another_object() -> None:
    alpha = clicked(np.maximum(WEARER, stripes(190)), Corrections(points=(ON_JUMPER,)), answers(JUMPER))
    assert np.abs(alpha[:, :130] - WEARER[:, :130]).max() < 1e-3
    assert float(alpha[:, 180:].max()) < 1e-5


def test_a_part_of_the_matte_that_consists_of_objects_is_told_apart() -> None:
    two, three = [JUMPER, TROUSERS], [JUMPER, (6, 30, 24, 41), (6, 41, 24, 52)]
    for known in (two, three):
        alpha = clicked(WEARER, Corrections(points=(ON_JUMPER,)), answers(*known))
        assert (alpha[60, 70], alpha[130, 70]) == pytest.approx((1, 0), abs=1e-5)
    both = clicked(WEARER, Corrections(points=(ON_JUMPER, ON_TROUSERS)), answers(*two))
    assert np.abs(both - WEARER)[:, 20:].max() < 0.1


def test_a_click_on_a_detail_brings_no_other_object_back() -> None:
    badge = (10, 14, 13, 17)
    clicks = ON_JUMPER, Point(x=11.5 / 64, y=15.5 / 64)
    for points in (clicks, clicks[::-1]):
        alpha = clicked(WEARER, Corrections(points=points), answers(JUMPER, TROUSERS, badge))
        assert (alpha[60, 70], alpha[130, 70]) == pytest.approx((1, 0), abs=1e-5)


def test_a_point_off_the_object_says_more_than_the_network() -> None:
    alone = answers(JUMPER, (6, 46, 24, 52))
    alpha = clicked(WEARER, Corrections(points=(ON_JUMPER, off(ON_TROUSERS))), alone)
    assert (alpha[60, 70], alpha[130, 70]) == pytest.approx((1, 0), abs=1e-5)
    elsewhere = clicked(WEARER, Corrections(points=(ON_JUMPER, off(Point(x=0.9, y=0.5)))), alone)
    assert np.abs(elsewhere - WEARER).max() < 1e-3


def test_what_is_added_beside_a_part_leaves_that_as_it_is() -> None:
    foot, far = (24, 46, 30, 52), (50, 46, 56, 52)
    alpha = clicked(WEARER, Corrections(points=(Point(x=0.42, y=0.77),)), answers(JUMPER, foot))
    assert alpha[153, 127] == pytest.approx(1, abs=1e-3)
    assert np.abs(alpha[:135] - WEARER[:135]).max() < 1e-3
    other = clicked(WEARER, Corrections(points=(Point(x=0.83, y=0.77),)), answers(JUMPER, far))
    assert other[153, 248] == pytest.approx(1, abs=1e-3)
    assert float(other[:, :130].max()) < 1e-5


def test_points_and_a_box_belong_to_the_photo_and_not_to_the_region() -> None:
    region = Box(100, 20, 200, 160)
    alpha = objects(Corrections(points=(ON_BLUE, ON_RED)), ALL, region=region)
    assert alpha.shape == (160, 200)
    assert (alpha[80, 50], alpha[80, 130]) == pytest.approx((0, 1), abs=1e-5)
    outside = objects(Corrections(points=(ON_RED,), box=(0, 0, 0.3, 1)), ALL, region=region)
    assert np.array_equal(outside, ALL[region.slices])
    boxed = objects(Corrections(box=(100 / WIDTH, 0.1, 190 / WIDTH, 0.9)), ALL, region=region)
    assert (boxed[80, 50], boxed[80, 130]) == pytest.approx((1, 0), abs=1e-5)


def test_each_question_comes_after_a_checkpoint() -> None:
    class Stopped(Exception):
        pass

    asked: list[object] = []

    def checkpoint() -> None:
        if asked:
            raise Stopped

    def ask(points: Sequence[object], box: object) -> tuple[Alpha, Alpha]:
        asked.append(points)
        return np.zeros((3, 8, 8), np.float32), np.zeros(3, np.float32)

    photo = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    wanted = Corrections(points=(ON_RED, ON_BLUE))
    with pytest.raises(Stopped):
        corrections.choose_objects(photo, ALL.copy(), wanted, ask, size=SIZE, region=WHOLE, checkpoint=checkpoint)
    assert len(asked) == 1


# --- in an edit --------------------------------------------------------------------------------------------------

SCENE = make_scene(width=240, height=180, seed=5)
EMPTY = FakeModels(FakeSegmenter(answer=np.zeros((16, 16), np.float32)))


def run(wanted: Corrections, *, models: FakeModels | None = None, layout: Layout = Layout()) -> pipeline.Result:
    edit = Edit(matte=Matte(corrections=wanted), layout=layout)
    return pipeline.run(edit, Image(rgb=SCENE.photo), models=models or FakeModels())


def alpha_of(result: pipeline.Result) -> Alpha:
    assert result.picture.alpha is not None
    return result.picture.alpha


def test_no_corrections_change_no_byte() -> None:
    png = codec.encode(Image(rgb=SCENE.photo), Output())
    engine = Engine(FakeModels())
    plain, corrected = (
        engine.run_file(Edit(matte=matte), png).data for matte in (Matte(), Matte(corrections=Corrections()))
    )
    assert plain == corrected


def test_strokes_are_in_the_result_with_the_photos_own_colours() -> None:
    corner = Stroke(points=((0.05, 0.05),), size=0.05, hardness=1.0)
    hole = Stroke(points=((0.45, 0.72),), size=0.05, hardness=1.0, keep=False)
    plain, result = run(Corrections()), run(Corrections(strokes=(corner, hole)))
    assert (alpha_of(plain)[9, 12], alpha_of(result)[9, 12]) == (0, 1)
    assert np.array_equal(result.picture.rgb[9, 12], SCENE.photo[9, 12])
    assert (alpha_of(plain)[130, 108], alpha_of(result)[130, 108]) == (1, 0)
    assert result.chosen_by is None


def test_where_no_subject_is_found_the_result_is_what_was_kept() -> None:
    assert run(Corrections(), models=EMPTY).subject is None
    result = run(Corrections(strokes=(Stroke(points=((0.5, 0.5),), size=0.25, hardness=1.0),)), models=EMPTY)
    assert result.subject == Box(90, 60, 60, 60)
    assert alpha_of(result)[90, 120] == 1


def test_outside_the_region_of_interest_all_is_background() -> None:
    half = Layout(roi=Region(Length(0), Length(0), Length(50, percent=True), Length(100, percent=True)))
    line = Corrections(strokes=(Stroke(points=((0.0, 0.1), (1.0, 0.1)), size=0.05, hardness=1.0),))
    alpha = alpha_of(run(line, layout=half))
    assert (alpha[18, 60], alpha[18, 180]) == (1, 0)


def test_the_result_says_what_told_the_objects_apart() -> None:
    result = run(Corrections(points=(Point(x=0.45, y=0.72),)))
    assert (result.chosen_by, result.into_file(Output()).chosen_by) == ("parts", "parts")
    assert result.subject is not None
    nothing = run(Corrections(points=(Point(x=0.45, y=0.72, keep=False),)))
    assert nothing.subject is None or nothing.subject.width < result.subject.width


def test_a_network_for_clicks_is_asked_where_there_is_one_and_looks_once() -> None:
    network = FakePromptable()
    engine = Engine(FakeModels(promptable=network))
    photo = Image(rgb=SCENE.photo)
    on = Matte(corrections=Corrections(points=(Point(x=0.45, y=0.72),)))
    without = Matte(corrections=Corrections(points=(Point(x=0.45, y=0.72, keep=False),)))
    cutouts = [engine.cut_out(photo, matte) for matte in (on, without, on)]
    assert [cutout.chosen_by for cutout in cutouts] == ["network"] * 3
    assert (cutouts[0].alpha[130, 108], cutouts[1].alpha[130, 108]) == (1, 0)
    assert np.array_equal(cutouts[0].alpha, cutouts[2].alpha)
    assert network.looks == 1
    png = codec.encode(photo, Output())
    assert engine.run_file(Edit(matte=on), png).chosen_by == "network"
    assert network.looks == 1
    engine.cut_out(Image(rgb=SCENE.photo[:, ::-1].copy()), on)
    assert network.looks == 2


def test_the_network_for_clicks_is_left_alone_where_nothing_is_asked() -> None:
    network = FakePromptable()
    engine = Engine(FakeModels(promptable=network))
    strokes = Matte(corrections=Corrections(strokes=(Stroke(points=((0.5, 0.5),), size=0.25),)))
    assert engine.cut_out(Image(rgb=SCENE.photo), strokes).chosen_by is None
    on = Matte(corrections=Corrections(points=(Point(x=0.45, y=0.72),)))
    cutout = Image(rgb=SCENE.photo, alpha=SCENE.alpha)
    assert engine.cut_out(cutout, on).chosen_by == "parts"  # of a cutout the network knows no more
    assert network.looks == 0


def test_a_cancelled_edit_stops_between_the_look_and_the_questions() -> None:
    class Stopped(Exception):
        pass

    network = FakePromptable()

    def checkpoint() -> None:
        if network.looks:
            raise Stopped

    engine = Engine(FakeModels(promptable=network))
    on = Matte(corrections=Corrections(points=(Point(x=0.45, y=0.72),)))
    with pytest.raises(Stopped):
        engine.cut_out(Image(rgb=SCENE.photo), on, checkpoint=checkpoint)
    assert engine.cut_out(Image(rgb=SCENE.photo), on).chosen_by == "network"
    assert network.looks == 1  # what it saw was kept


def test_a_place_in_a_turned_photo_is_where_it_is_shown() -> None:
    rgb = np.full((60, 100, 3), 128, np.uint8)  # 60 wide and 100 high once it is turned
    file = saved(PIL.Image.fromarray(rgb), "JPEG", exif=exif(6))
    strokes = (Stroke(points=((0.25, 0.1),), size=0.1, hardness=1.0),)
    result = Engine(EMPTY).run_file(Edit(matte=Matte(corrections=Corrections(strokes=strokes))), file)
    assert (result.width, result.height) == (60, 100)
    assert result.subject == Box(10, 5, 10, 10)


# --- as they are written -----------------------------------------------------------------------------------------

WRITTEN: dict[str, object] = {
    "strokes": [{"keep": False, "size": 0.03, "hardness": 1, "points": [[0.1, 0.2], [0, 1]]}],
    "points": [{"x": 0.5, "y": 0.4, "keep": True}],
    "box": [0, 0.1, 0.9, 1],
}


@pytest.mark.parametrize("value", [WRITTEN, json.dumps(WRITTEN)])
def test_json_and_a_text_that_is_json_are_read(value: object) -> None:
    assert EditOptions.read({"corrections": value}).corrections == Corrections(
        strokes=(Stroke(points=((0.1, 0.2), (0.0, 1.0)), size=0.03, hardness=1.0, keep=False),),
        points=(Point(x=0.5, y=0.4),),
        box=(0.0, 0.1, 0.9, 1.0),
    )


@pytest.mark.parametrize("value", ["", "{}", {}, {"strokes": []}, '{"points": [], "box": null}'])
def test_corrections_may_be_empty(value: object) -> None:
    assert EditOptions.read({"corrections": value}).corrections == Corrections()


DOT = {"points": [[0.5, 0.5]], "size": 0.1}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "is not valid JSON"),
        ("[" * 5000, "is not valid JSON"),
        ('{"box": ' * 5000, "is not valid JSON"),
        ([], "should be an object"),
        ("7", "should be an object"),
        ({"stroke": []}, "stroke: Unexpected keyword"),
        ({"strokes": [DOT | {"colour": 1}]}, "strokes[0].colour: Unexpected keyword"),
        ({"strokes": [DOT, {"points": [[0, 0]]}]}, "strokes[1].size: Field required"),
        ({"strokes": [DOT | {"size": 0}]}, "strokes[0]: size must be above 0"),
        ({"strokes": [DOT | {"size": "0.5"}]}, "strokes[0].size: Input should be a valid number"),
        ({"strokes": [DOT | {"keep": 1}]}, "strokes[0].keep: Input should be a valid boolean"),
        ({"strokes": [DOT | {"hardness": 1.5}]}, "strokes[0]: hardness must be in 0..1"),
        ({"strokes": [DOT | {"points": []}]}, "strokes[0]: points must not be empty"),
        ({"strokes": [DOT | {"points": [[0.5]]}]}, "strokes[0].points[0][1]"),
        ({"strokes": [DOT | {"points": [[0.5, 1.01]]}]}, "strokes[0]: points must be in 0..1"),
        ('{"strokes": [{"size": 0.1, "points": [[NaN, 0]]}]}', "strokes[0]: points must be in 0..1"),
        ('{"points": [{"x": Infinity, "y": 0}]}', "points[0]: x and y must be in 0..1"),
        ('{"points": [{"x": 1e999, "y": 0}]}', "points[0]"),
        ({"box": [0.5, 0, 0.5, 1]}, "box must be left, top, right, bottom"),
        ({"box": [0, 0, 1]}, "box[3]: Field required"),
        ({"strokes": [DOT] * 501}, "strokes must be at most 500"),
        ({"strokes": [DOT | {"points": [[0, 0]] * 10_001}] * 2}, "at most 20000 points in all"),
        ({"points": [{"x": 0, "y": 0}] * 65}, "points must be at most 64"),
        (" " * 2**22 + "{}" + " " * 9, "must have at most"),
        ({"box": "\ud800"}, "corrections"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_place(value: object, message: str) -> None:
    with pytest.raises(MatteboxError) as caught:
        EditOptions.read({"corrections": value})
    assert message in caught.value.message
    assert (caught.value.kind, caught.value.parameter) == ("invalid_parameter", "corrections")
    assert len(caught.value.message) < 300

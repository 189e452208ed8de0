"""remove.bg: regions, crops, margins, scales and positions."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.server.dialects.removebg.conftest import CODES, Serve, box, cut, edit_of, everything, opened, post, refused

from mattebox import layout
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Box
from mattebox.server.dialects import removebg
from mattebox.testing import FakeModels

# --- geometry ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roi", "inside"),
    [
        ("40 10 170 148", (40, 10, 130, 138)),
        ("40px 10px 170px 148px", (40, 10, 130, 138)),
        ("40,10,170,148", (40, 10, 130, 138)),
        ("170 148 40 10", (40, 10, 130, 138)),
        ("20% 10% 85% 90%", (40, 15, 130, 120)),
        ("20% 10px 85% 148px", (40, 10, 130, 138)),
        ("0 0 100% 100%", (0, 0, 200, 150)),
        ("199 149 200 150", (199, 149, 1, 1)),
    ],
)
def test_outside_of_the_region_is_background(
    roi: str, inside: tuple[int, int, int, int], serve: Serve, photo: bytes
) -> None:
    rgba, answer = cut(serve(models=FakeModels(everything)), photo, roi=roi)
    left, top, width, height = inside
    expected = np.zeros((150, 200), np.int16)
    expected[top : top + height, left : left + width] = 255
    assert np.array_equal(rgba[..., 3], expected)
    assert box(answer) == inside


def test_the_figure_is_found_in_its_region(client: TestClient, photo: bytes) -> None:
    left, top, width, height = box(cut(client, photo, roi="30 5 180 150")[1])
    assert abs(np.subtract((left, top, width, height), (50, 19, 98, 121))).max() <= 3


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        ("", (0, 0, 0, 0)),
        ("0", (0, 0, 0, 0)),
        ("10", (10, 10, 10, 10)),
        ("10px", (10, 10, 10, 10)),
        ("500px", (500, 500, 500, 500)),
        ("10%", (12, 10, 12, 10)),
        ("50%", (61, 49, 61, 49)),
        ("10px 20px", (10, 20, 10, 20)),
        ("10% 20px", (12, 20, 12, 20)),
        ("1px 2px 3px 4px", (1, 2, 3, 4)),
        ("1, 20%, 3px, 4", (1, 20, 3, 4)),
    ],
)
def test_crops_and_their_margins(
    margin: str, expected: tuple[int, int, int, int], client: TestClient, photo: bytes
) -> None:
    top, right, bottom, left = expected
    rgba, answer = cut(client, photo, crop="true", crop_margin=margin, size="full")
    assert rgba.shape[:2] == (121 + top + bottom, 98 + left + right)
    assert box(answer) == (left, top, 98, 121)
    whole = cut(client, photo)[0]
    assert np.array_equal(rgba[top : top + 121, left : left + 98], whole[19:140, 50:148])
    if margin == "500px":
        assert not rgba[:400].any()


def test_a_margin_without_a_crop_is_nothing(client: TestClient, photo: bytes) -> None:
    assert post(client, photo, crop="false", crop_margin="20px").content == post(client, photo).content


@pytest.mark.parametrize("word", ["true", "True", "1", "false", "0"])
def test_booleans(word: str, client: TestClient, photo: bytes) -> None:
    assert cut(client, photo, crop=word)[0].shape[1] == (98 if word in ("true", "True", "1") else 200)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"position": "original"}, (50, 19, 98, 121)),
        ({"position": "center"}, (51, 15, 98, 121)),
        ({"position": "50%"}, (51, 15, 98, 121)),
        ({"position": "0%"}, (0, 0, 98, 121)),
        ({"position": "100%"}, (102, 29, 98, 121)),
        ({"position": "0% 100%"}, (0, 29, 98, 121)),
        ({"position": "100%, 0%"}, (102, 0, 98, 121)),
        ({"scale": "original"}, (50, 19, 98, 121)),
        ({"scale": "100%"}, (39, 0, 121, 150)),
        ({"scale": "50%"}, (70, 38, 61, 75)),
        ({"scale": "50%", "position": "center"}, (70, 38, 61, 75)),
        ({"scale": "50%", "position": "0% 100%"}, (0, 75, 61, 75)),
        ({"scale": "10%", "position": "100% 0%"}, (188, 0, 12, 15)),
        ({"scale": "12.5%", "position": "0% 0%"}, (0, 0, 15, 19)),
    ],
)
def test_scale_and_position(
    form: dict[str, str], expected: tuple[int, int, int, int], client: TestClient, photo: bytes
) -> None:
    rgba, answer = cut(client, photo, **form)
    assert rgba.shape[:2] == (150, 200)
    assert abs(np.subtract(box(answer), expected)).max() <= 1
    # The pixels are where the headers say.
    rows, columns = np.nonzero(rgba[..., 3] >= 128)
    seen = (columns.min(), rows.min(), columns.max() + 1 - columns.min(), rows.max() + 1 - rows.min())
    assert abs(np.subtract(seen, expected)).max() <= 3


# --- any geometry ------------------------------------------------------------------------------------------------

GEOMETRY = {
    "roi_exceeds_bounds",
    "roi_region_empty",
    "invalid_roi",
    "invalid_crop_margin",
    "invalid_scale",
    "invalid_position",
    "invalid_size",
}
SIZES = ("preview", "medium", "hd", "full", "50MP", "auto", "")


def a_form(chance: random.Random) -> dict[str, str]:
    """Some fields of geometry; about a third of the forms have one that is wrong."""

    def length(percent: float, pixels: float) -> str:
        value = chance.choice([0, 1, chance.uniform(0, 1), 1])
        match chance.randrange(3):
            case 0:
                return f"{percent * value:.{chance.randrange(4)}f}%"
            case 1:
                return f"{pixels * value:.0f}px"
            case _:
                return f"{pixels * value:.0f}"

    def lengths(count: int, percent: float, pixels: float) -> str:
        return chance.choice([" ", ", "]).join(length(percent, pixels) for _ in range(count))

    form = {"crop": chance.choice(["true", "false", ""]), "size": chance.choice(SIZES)}
    if chance.random() < 0.4:
        form["crop_margin"] = lengths(chance.choice([1, 2, 4]), 50, 500)
    if chance.random() < 0.4:
        form["scale"] = chance.choice(["original", "10%", "100%", f"{chance.uniform(10, 100):.2f}%"])
    if chance.random() < 0.4:
        form["position"] = chance.choice(
            ["original", "center", "0%", "100% 100%", f"{chance.uniform(0, 100):.2f}% {chance.uniform(0, 100):.0f}%"]
        )
    if chance.random() < 0.4:
        form["roi"] = lengths(4, 100, chance.choice([100, 1000]))
    if chance.random() < 0.3:
        name = chance.choice(["crop_margin", "scale", "position", "roi", "size"])
        form[name] = chance.choice(
            [
                "-1",
                "0",
                "900px",
                "1e9%",
                "99999999999999999999",
                "50",
                "a b",
                "1 2 3 4 5",
                "%",
                "nan%",
                "inf",
                "٣%",
                "-0%",
            ]
        )
    return form


def planned(form: Mapping[str, str], width: int, height: int, subject: Box | None) -> layout.Placement | MatteboxError:
    """What the door and the engine do about the geometry of one request."""
    try:
        asked = edit_of(form).layout
        if asked.roi is not None:
            layout.region(width, height, asked.roi)
        return layout.plan(width, height, subject, asked)
    except MatteboxError as error:
        return error


def a_picture(chance: random.Random) -> tuple[int, int, Box | None]:
    width = round(10 ** chance.uniform(0, 4))
    height = round(min(10 ** chance.uniform(0, 4), removebg.MOST_PIXELS / width))
    left, top = chance.randrange(width), chance.randrange(height)
    subject = Box(left, top, chance.randint(1, width - left), chance.randint(1, height - top))
    return width, height, None if chance.random() < 0.1 else subject


def code(error: MatteboxError) -> str:
    shown = removebg.render_error(error, 400, "")
    return str(json.loads(bytes(shown.body))["errors"][0]["code"])


@pytest.mark.slow
def test_ten_thousand_requests_stay_on_their_canvas() -> None:
    done, failed = 0, set()
    for seed in range(10_000):
        chance = random.Random(seed)
        form, (width, height, subject) = a_form(chance), a_picture(chance)
        context = f"seed {seed}: {form}, {width} x {height}, {subject}"
        placement = planned(form, width, height, subject)
        if isinstance(placement, MatteboxError):
            assert placement.kind is Kind.INVALID_PARAMETER, context
            assert code(placement) in GEOMETRY, context
            failed.add(code(placement))
            continue
        done += 1
        canvas, target, keep = Box(0, 0, placement.width, placement.height), placement.target, placement.keep
        assert inside(target, canvas), context
        assert inside(keep, Box(0, 0, width, height)), context
        assert canvas.width * canvas.height <= removebg.MOST_PIXELS, context
        if subject is not None:
            assert inside(placement.moved(subject), canvas), context
            assert_posed(form, placement, subject, context)
    assert done > 4000
    assert failed == GEOMETRY


def inside(part: Box, whole: Box) -> bool:
    return (
        part.width >= 1
        and part.height >= 1
        and part.left >= whole.left
        and part.top >= whole.top
        and part.right <= whole.right
        and part.bottom <= whole.bottom
    )


def assert_posed(form: Mapping[str, str], placement: layout.Placement, subject: Box, context: str) -> None:
    """The subject has its share of the canvas and lies where it was asked to lie, to the nearest pixels.

    A pixel of the photo is not cut in two, so where the photo is enlarged it is to one of those at either side.
    """
    moved = placement.moved(subject)
    scale, position = form.get("scale", "original"), form.get("position", "original")
    if scale == position == "original":
        return
    near = 2 + 2 * max(placement.target.width / placement.keep.width, placement.target.height / placement.keep.height)
    sides = ((moved.left, moved.width, placement.width), (moved.top, moved.height, placement.height))
    if scale != "original":
        share = float(scale.rstrip("%")) / 100
        assert any(abs(part - share * whole) <= near for _, part, whole in sides), context
        assert all(part <= share * whole + near for _, part, whole in sides), context
    words = ("50%", "50%") if position in ("original", "center") else position.split()
    for word, (first, part, whole) in zip((words[0], words[-1]), sides, strict=True):
        assert abs(first - float(word.rstrip("%")) / 100 * (whole - part)) <= near, context


@pytest.mark.slow
def test_a_hundred_of_them_through_the_server(client: TestClient, photo: bytes) -> None:
    statuses = []
    for seed in range(100):
        form = a_form(random.Random(seed))
        answer = post(client, photo, **form)
        statuses.append(answer.status_code)
        if answer.status_code != 200:
            assert refused(answer)[0] == 400, form
            assert refused(answer)[1] in GEOMETRY & CODES | {"roi_exceeds_bounds", "unknown_foreground"}, form
            continue
        picture = opened(answer)
        left, top, width, height = box(answer)
        assert left >= 0, form
        assert top >= 0, form
        assert left + width <= picture.shape[1], form
        assert top + height <= picture.shape[0], form
    assert 30 < statuses.count(200) < 100

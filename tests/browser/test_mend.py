"""Mend: strokes, points and boxes, as a person makes them and as the engine obeys them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from tests.browser.conftest import PATIENCE, Server, add, corrections, finished, mend, mended, paint, spot
from tests.browser.test_judge import at_picture, near
from tests.browser.test_place import choose, result

from mattebox import codec, samples
from mattebox.image import Alpha

pytestmark = pytest.mark.model
WALL = (0.4, 0.6)
"""A place on the mug's wall, in shares of the photo's sides."""
CORNER = (0.06, 0.08)
"""A place far from the mug."""


def alpha(data: bytes) -> Alpha:
    found = codec.decode(data).alpha
    assert found is not None
    return found


def value(matte: Alpha, place: tuple[float, float]) -> float:
    return float(matte[int(place[1] * matte.shape[0]), int(place[0] * matte.shape[1])])


def end(page: Page) -> None:
    page.get_by_role("button", name="Done", exact=True).click()
    expect(page.locator(".stage[data-mends]")).to_have_count(0)


def test_strokes_erase_and_keep_and_are_taken_back(cut: Page) -> None:
    before = alpha(result(cut)[1])
    assert value(before, WALL) == 1
    assert value(before, CORNER) == 0
    mend(cut)
    cut.locator('.grounds input[value="white"]').check(force=True)
    choose(cut, "Erase")
    paint(cut, (WALL[0] - 0.03, WALL[1]), (WALL[0] + 0.03, WALL[1]))
    mended(cut)
    choose(cut, "Keep")
    paint(cut, CORNER, (CORNER[0] + 0.05, CORNER[1]))
    mended(cut)
    end(cut)
    both = alpha(result(cut)[1])
    assert value(both, WALL) == 0
    assert value(both, CORNER) == 1
    assert np.abs(both[:, 800:] - before[:, 800:]).max() < 0.02  # nothing else is touched
    mend(cut)
    cut.keyboard.press("Control+z")
    mended(cut)
    cut.keyboard.press("Escape")
    one = alpha(result(cut)[1])
    assert value(one, WALL) == 0
    assert value(one, CORNER) == 0
    mend(cut)
    cut.keyboard.press("Control+Shift+Z")
    mended(cut)
    end(cut)
    assert value(alpha(result(cut)[1]), CORNER) == 1
    mend(cut)
    cut.get_by_role("button", name="Clear all").click()
    end(cut)
    assert np.array_equal(alpha(result(cut)[1]), before)


def test_a_stroke_is_seen_while_it_is_painted_and_the_original_is_ghosted(cut: Page) -> None:
    mend(cut)
    cut.locator('.grounds input[value="black"]').check(force=True)
    photo = codec.decode(samples.photo_file()).rgb
    corner = [int(each) for each in photo[72, 72]]
    ghost = at_picture(cut, *CORNER)
    assert near(ghost, [round(0.3 * each) for each in corner], 6)
    cut.route("**/api/v1/remove", lambda route: None)  # none of this comes from the server
    cut.mouse.move(*spot(cut, *CORNER))
    cut.mouse.down()
    cut.mouse.move(*spot(cut, 0.16, CORNER[1]), steps=5)
    assert near(at_picture(cut, *CORNER), corner, 8)
    cut.mouse.up()
    assert near(at_picture(cut, *CORNER), corner, 8)
    cut.keyboard.press("e")
    paint(cut, WALL, (WALL[0] + 0.05, WALL[1]))
    wall = photo[int(WALL[1] * 900), int(WALL[0] * 1200)]
    assert near(at_picture(cut, *WALL), [round(0.3 * float(each)) for each in wall], 8)
    cut.unroute("**/api/v1/remove")


def test_size_and_hardness_by_sliders_and_keys(cut: Page) -> None:
    mend(cut)
    size, hardness = cut.get_by_role("slider", name="Brush size"), cut.get_by_role("slider", name="Hardness")
    hardness.fill("35")
    first = float(size.input_value())
    cut.locator(".stage").focus()
    for _ in range(4):
        cut.keyboard.press("]")
    assert float(size.input_value()) > first
    cut.keyboard.press("[")
    size.fill("50")
    choose(cut, "Erase")
    paint(cut, WALL, (WALL[0] + 0.05, WALL[1]))
    mended(cut)
    [stroke] = corrections(cut)["strokes"]
    assert stroke["keep"] is False
    assert stroke["hardness"] == 0.35
    assert abs(stroke["size"] - (0.005 * 0.4) ** 0.5) < 1e-4
    assert np.allclose(stroke["points"][0], WALL, atol=0.003)
    assert np.allclose(stroke["points"][-1], (WALL[0] + 0.05, WALL[1]), atol=0.003)


def test_points_and_a_box_say_which_object_is_meant(cut: Page) -> None:
    mend(cut)
    choose(cut, "This")
    cut.mouse.click(*spot(cut, *WALL))
    choose(cut, "Not this")
    cut.mouse.click(*spot(cut, *CORNER))
    choose(cut, "Box")
    paint(cut, (0.9, 0.95), (0.1, 0.2))
    expect(cut.locator(".marks .point")).to_have_count(2)
    expect(cut.locator(".marks .box")).to_have_count(1)
    mended(cut)
    found = corrections(cut)
    assert [each["keep"] for each in found["points"]] == [True, False]
    assert np.allclose([(each["x"], each["y"]) for each in found["points"]], [WALL, CORNER], atol=0.003)
    assert np.allclose(found["box"], [0.1, 0.2, 0.9, 0.95], atol=0.003)
    end(cut)
    matte = alpha(result(cut)[1])
    assert value(matte, WALL) > 0.98
    assert value(matte, CORNER) == 0


def test_corrections_belong_to_the_picture_and_survive_a_reload(cut: Page, photo: Path) -> None:
    add(cut, photo)
    finished(cut, 2)
    mend(cut)
    choose(cut, "Erase")
    paint(cut, WALL, (WALL[0] + 0.05, WALL[1]))
    mended(cut)
    cut.reload()
    cut.wait_for_selector(".after img")
    assert value(alpha(result(cut)[1]), WALL) == 0
    cut.keyboard.press("j")
    cut.wait_for_selector('li:nth-child(2) .choose[aria-current="true"]')
    cut.wait_for_selector(".after img")
    assert value(alpha(result(cut)[1]), WALL) == 1
    cut.keyboard.press("k")
    mend(cut)
    cut.get_by_role("button", name="Undo").click()
    end(cut)
    assert value(alpha(result(cut)[1]), WALL) == 1


def test_what_is_mended_is_what_is_placed(cut: Page) -> None:
    """Mending shows the picture as it is cut out; its end makes what the settings say, which can be had only then."""
    cut.get_by_role("switch", name="Crop to the subject").check()
    choose(cut, "Colour")
    cut.get_by_role("button", name="#cfe0f2").click()
    assert codec.decode(result(cut)[1]).width < 1200
    mend(cut)
    expect(cut.locator(".facts")).to_contain_text("1200 × 900")
    choose(cut, "Keep")
    paint(cut, CORNER, (CORNER[0] + 0.05, CORNER[1]))
    mended(cut)
    cut.get_by_role("button", name="Download", exact=True).click()
    expect(cut.locator(".banner.soft")).to_contain_text("Finish mending first.")
    end(cut)
    picture = codec.decode(result(cut)[1])
    assert picture.width > 900  # up to the corner, which is now the subject's
    assert [int(each) for each in picture.rgb[-3, 3]] == [207, 224, 242]


_TOOLS_ARE_SEEN = """() => [...document.querySelectorAll("input[name=tool]")].every((each) => {
    const box = each.getBoundingClientRect();
    return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2) === each;
})"""


def test_by_touch_and_by_keys(browser: Browser, server: Server, photo: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, locale="en")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(server.address)
    add(page, photo)
    finished(page, 1)
    page.wait_for_selector(".after img")
    mend(page)
    page.wait_for_function(_TOOLS_ARE_SEEN)
    choose(page, "Erase")
    page.locator(".stage").scroll_into_view_if_needed()
    session = context.new_cdp_session(page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", spot(page, *WALL))
    touch("touchMove", spot(page, WALL[0] + 0.04, WALL[1]))
    touch("touchEnd")
    mended(page)
    before = page.locator(".picture").bounding_box()
    one, two = spot(page, 0.4, 0.5), spot(page, 0.6, 0.5)
    touch("touchStart", one)
    touch("touchStart", one, two)
    touch("touchMove", (one[0] - 20, one[1]), (two[0] + 20, two[1]))
    touch("touchEnd")
    after = page.locator(".picture").bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] > before["width"]  # two fingers zoom, and paint nothing
    page.locator(".stage").focus()
    page.keyboard.press("e")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    mended(page)
    strokes = corrections(page)["strokes"]
    assert [each["keep"] for each in strokes] == [False, True]
    assert strokes[1]["points"][-1][0] > strokes[1]["points"][0][0]
    context.close()


def test_what_lies_beside_the_photo_is_nothing_and_there_is_an_end_of_strokes(cut: Page) -> None:
    mend(cut)
    paint(cut, (-0.02, 0.4), (-0.02, 0.5))
    expect(cut.get_by_role("button", name="Undo")).to_be_disabled()
    paint(cut, (0.5, 0.1), (1.2, 0.1))
    mended(cut)
    [stroke] = corrections(cut)["strokes"]
    assert len(stroke["points"]) == 2  # a straight line has no more
    assert stroke["points"][-1][0] == 1
    choose(cut, "This")
    for number in range(65):
        cut.mouse.click(*spot(cut, 0.2 + number / 200, 0.6))
    expect(cut.locator(".banner.soft")).to_contain_text("as many corrections as it can have")
    expect(cut.locator(".marks .point")).to_have_count(64)
    mended(cut)
    expect(cut.locator(".panels")).to_contain_text("choose among the parts of the matte")

"""In, and judge: ways to bring pictures, the queue, the viewer."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import Browser, Page, Route, expect
from tests.browser.conftest import PATIENCE, Open, Server, add, finished

from mattebox import codec, samples
from mattebox.edit import Output
from mattebox.image import RGB, Image

pytestmark = pytest.mark.model


def pixels(page: Page) -> RGB:
    """The stage as it is seen, uint8 (height, width, 3)."""
    return codec.decode(page.locator(".stage").screenshot()).rgb


def at_picture(page: Page, x: float, y: float) -> list[int]:
    """The colour at a place of the picture, in shares of its sides, as it is seen."""
    stage, box = page.locator(".stage").bounding_box(), page.locator(".picture").bounding_box()
    assert stage is not None
    assert box is not None
    seen = pixels(page)[int(box["y"] - stage["y"] + y * box["height"]), int(box["x"] - stage["x"] + x * box["width"])]
    return [int(each) for each in seen]


def near(one: Sequence[int], other: Sequence[int], most: int = 40) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) <= most


def on_ground(page: Page, name: str) -> list[int]:
    page.locator(f'.grounds input[value="{name}"]').check(force=True)
    page.wait_for_selector(f'.after[data-ground="{name}"]')
    return at_picture(page, 0.04, 0.04)


def test_the_sample_is_cut_out_and_judged_on_every_ground(studio: Page) -> None:
    studio.get_by_role("button", name="Try the picture of a mug").click()
    finished(studio, 1)
    studio.wait_for_selector(".after img")
    facts = studio.locator(".facts").inner_text().split("\n")
    assert "found" in facts
    assert "1200 × 900" in facts
    expect(studio.locator(".facts")).to_contain_text("u2netp")
    assert any(each.endswith("%") and int(each[:-1]) > 80 for each in facts)
    assert any(each.endswith(" s") for each in facts)
    assert on_ground(studio, "black") == [0, 0, 0]
    assert on_ground(studio, "white") == [255, 255, 255]
    assert on_ground(studio, "pink") == [255, 45, 155]
    assert on_ground(studio, "own") == [47, 111, 219]
    assert on_ground(studio, "alpha") == [0, 0, 0]
    assert at_picture(studio, 0.4, 0.6) == [255, 255, 255]  # the mug's wall, opaque
    assert min(on_ground(studio, "checker")) >= 210


def test_before_and_after(cut: Page) -> None:
    photo = codec.decode(samples.photo_file()).rgb
    corner = [int(each) for each in photo[36:40, 47:51].mean((0, 1))]
    cut.locator('.grounds input[value="white"]').check(force=True)
    assert at_picture(cut, 0.04, 0.04) == [255, 255, 255]
    slider = cut.get_by_role("slider", name="Compare before and after")
    slider.fill("0.5")
    assert near(at_picture(cut, 0.04, 0.04), corner)  # the original on the left
    assert at_picture(cut, 0.96, 0.04) == [255, 255, 255]
    slider.press("Home")
    assert at_picture(cut, 0.04, 0.04) == [255, 255, 255]
    hold = cut.get_by_role("button", name="Hold for original")
    hold.hover()
    cut.mouse.down()
    assert near(at_picture(cut, 0.04, 0.04), corner)
    cut.mouse.up()
    assert at_picture(cut, 0.04, 0.04) == [255, 255, 255]


def test_zoom_and_pan_to_pixels(cut: Page) -> None:
    share = cut.get_by_role("button", name="Pixel for pixel")
    share.click()
    expect(share).to_have_text("100%")
    box = cut.locator(".picture").bounding_box()
    assert box is not None
    assert (round(box["width"]), round(box["height"])) == (1200, 900)
    cut.locator(".stage").hover(position={"x": 100, "y": 100})
    cut.mouse.wheel(0, -600)
    expect(share).not_to_have_text("100%")
    before = cut.locator(".picture").bounding_box()
    assert before is not None
    assert before["width"] > 1200
    assert before["x"] < box["x"]
    cut.mouse.down()
    cut.mouse.move(0, 0)
    cut.mouse.move(300, 200)
    cut.mouse.up()
    after = cut.locator(".picture").bounding_box()
    assert after is not None
    assert after["width"] == before["width"]
    assert after["x"] != before["x"]
    cut.get_by_role("button", name="Fit", exact=True).click()
    fitted, stage = cut.locator(".picture").bounding_box(), cut.locator(".stage").bounding_box()
    assert fitted is not None
    assert stage is not None
    assert stage["x"] <= fitted["x"]
    assert fitted["x"] + fitted["width"] <= stage["x"] + stage["width"]


def test_no_subject_is_said_plainly(studio: Page, tmp_path: Path) -> None:
    plain = tmp_path / "wall.png"
    plain.write_bytes(codec.encode(Image(rgb=np.full((300, 400, 3), 128, np.uint8)), Output()))
    add(studio, plain)
    studio.wait_for_selector('li[data-mood="none"]')
    expect(studio.locator(".facts")).to_contain_text("No subject found")
    expect(studio.locator("#live")).to_contain_text("wall.png is done: no subject was found.")


def test_a_broken_picture_among_good_ones(studio: Page, photo: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 this is not a photo")
    add(studio, broken, photo)
    studio.wait_for_selector('li[data-mood="failed"]')
    finished(studio, 1)
    failed = studio.locator('li[data-mood="failed"]')
    expect(failed).to_contain_text("broken.jpg")
    sentence = failed.locator(".status").inner_text()
    assert sentence.endswith(".")
    expect(studio.locator(".over.card")).to_contain_text(sentence)
    expect(studio.locator("#live")).not_to_be_empty()


def test_a_photo_that_the_browser_cannot_show(studio: Page, tmp_path: Path) -> None:
    scan = tmp_path / "scan.tiff"
    PIL.Image.open(io.BytesIO(samples.photo_file())).save(scan)
    studio.route("**/api/v1/remove", lambda route: None)
    add(studio, scan)
    expect(studio.locator(".stage")).to_contain_text("This browser cannot show the original.")
    studio.unroute("**/api/v1/remove")
    studio.get_by_role("button", name="Cancel scan.tiff").click()
    studio.locator(".over.card").get_by_role("button", name="Try again").click()
    finished(studio, 1)
    studio.wait_for_selector(".after img")
    studio.wait_for_selector(".thumb img")


def test_a_drop_a_paste_and_an_address(studio: Page, server: Server) -> None:
    data = base64.b64encode(samples.photo_file()).decode()
    studio.evaluate(
        """data => {
            const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
            const carry = (name) => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
                return transfer;
            };
            window.dispatchEvent(new DragEvent("drop", { dataTransfer: carry("dropped.jpg"), cancelable: true }));
            document.body.dispatchEvent(
                new ClipboardEvent("paste", { clipboardData: carry("pasted.jpg"), bubbles: true }));
        }""",
        data,
    )
    finished(studio, 2)
    assert sorted(studio.locator(".name").all_inner_texts()) == ["dropped.jpg", "pasted.jpg"]
    studio.evaluate(
        """address => {
            const transfer = new DataTransfer();
            transfer.setData("text/plain", address);
            document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
        }""",
        f"{server.address}studio/samples/mug.jpg",
    )
    # The server fetches nothing from its own network, and says so.
    expect(studio.locator(".banner.soft")).to_contain_text("address")


def test_a_reload_keeps_the_list(cut: Page, photo: Path) -> None:
    add(cut, photo)
    finished(cut, 2)
    cut.reload()
    cut.wait_for_selector(".after img")
    assert cut.locator(".name").all_inner_texts() == ["mug.jpg", "mug.jpg"]
    finished(cut, 2)
    cut.wait_for_selector("li:nth-child(2) .thumb img")
    cut.get_by_role("button", name="Remove all").click()
    expect(cut.get_by_role("heading", name="Drop your pictures here")).to_be_visible()
    cut.reload()
    expect(cut.get_by_role("heading", name="Drop your pictures here")).to_be_visible()


def test_fifty_pictures_leave_two_files_open(studio: Page, tmp_path: Path) -> None:
    """Addresses keep files in memory: there is one a thumbnail, and two of the picture that is looked at."""
    studio.add_init_script("""
        const open = new Set(), made = URL.createObjectURL, ended = URL.revokeObjectURL;
        window.openAddresses = open;
        URL.createObjectURL = (what) => { const url = made.call(URL, what); open.add(url); return url; };
        URL.revokeObjectURL = (url) => { open.delete(url); ended.call(URL, url); };
    """)
    studio.reload()
    files = []
    for number in range(50):
        files.append(tmp_path / f"{number}.jpg")
        files[-1].write_bytes(samples.photo_file())
    add(studio, *files)
    finished(studio, 50)
    for _ in range(10):
        studio.keyboard.press("j")
    studio.wait_for_selector('li:nth-child(11) .choose[aria-current="true"]')
    studio.wait_for_function(
        "() => document.querySelectorAll('.thumb img').length === 50 && window.openAddresses.size === 52"
    )


def test_busy_then_done(studio: Page, photo: Path) -> None:
    times: list[int] = []

    def refuse_once(route: Route) -> None:
        times.append(1)
        if len(times) > 1:
            route.continue_()
            return
        problem = '{"detail": "Too many requests.", "kind": "overloaded"}'
        headers = {"Retry-After": "2", "Content-Type": "application/problem+json"}
        route.fulfill(status=429, headers=headers, body=problem)

    studio.route("**/api/v1/remove", refuse_once)
    add(studio, photo)
    expect(studio.locator(".list .status")).to_have_text("The server is busy; trying again in 2 s")
    finished(studio, 1)
    assert len(times) == 2


def test_a_failure_of_the_server_is_told_and_tried_again(studio: Page, photo: Path) -> None:
    sentence = "Something went wrong inside the server; its log says more."
    body = f'{{"detail": "{sentence}", "kind": "internal"}}'
    studio.route("**/api/v1/remove", lambda route: route.fulfill(status=500, body=body))
    add(studio, photo)
    expect(studio.locator(".over.card")).to_contain_text(sentence)
    studio.unroute("**/api/v1/remove")
    studio.locator(".over.card").get_by_role("button", name="Try again").click()
    finished(studio, 1)


def test_a_server_that_goes_away_and_comes_back(open_page: Open, photo: Path, tmp_path: Path) -> None:
    own = Server(tmp_path)
    try:
        page = open_page(own.address)
        own.stop()
        add(page, photo)
        expect(page.locator(".banner")).to_contain_text("The server does not answer.")
        own.start()
        finished(page, 1)
        expect(page.locator(".banner")).to_have_count(0)
    finally:
        own.stop()


def test_a_key_is_asked_for_and_kept_in_the_tab(open_page: Open, photo: Path, tmp_path: Path) -> None:
    own = Server(tmp_path, MATTEBOX_KEYS="sesame")
    try:
        page = open_page(own.address)
        add(page, photo)
        expect(page.get_by_role("dialog")).to_contain_text("The server does not accept the key.")
        page.fill("#key", "sesame")
        page.get_by_role("button", name="Use this key").click()
        finished(page, 1)
        assert page.evaluate("sessionStorage.getItem('key')") == "sesame"
        assert "sesame" not in page.evaluate("JSON.stringify(localStorage)")
    finally:
        own.stop()


def test_every_way_in_is_there_beside_a_list_too(cut: Page, photo: Path, tmp_path: Path) -> None:
    """A folder, an address and the sample, from the dialog; it closes when a picture has come."""
    folder = tmp_path / "folder"
    (folder / "deeper").mkdir(parents=True)
    for name in ("one.jpg", "deeper/two.jpg"):
        (folder / name).write_bytes(photo.read_bytes())
    (folder / "notes.txt").write_text("no picture")
    cut.get_by_role("button", name="More ways to add pictures").click()
    dialog = cut.get_by_role("dialog", name="Add pictures")
    with cut.expect_file_chooser() as chooser:
        dialog.get_by_role("button", name="Choose a folder").click()
    chooser.value.set_files(folder)
    finished(cut, 3)
    assert sorted(cut.locator(".list .name").all_inner_texts()) == ["mug.jpg", "one.jpg", "two.jpg"]
    expect(dialog).to_have_count(0)
    cut.keyboard.press("f")
    dialog.get_by_role("button", name="Try the picture of a mug").click()
    finished(cut, 4)
    expect(dialog).to_have_count(0)
    cut.keyboard.press("f")
    cut.route("**/api/v1/images", lambda route: route.fulfill(status=201, json={"id": "i-1"}))
    cut.route("**/api/v1/images/i-1", lambda route: route.fulfill(status=204))
    cut.route(
        "**/api/v1/images/i-1/file",
        lambda route: route.fulfill(content_type="image/jpeg", body=photo.read_bytes()),
    )
    dialog.get_by_label("Address of a picture").fill("https://example.com/a%20shelf.jpg?size=2")
    dialog.get_by_role("button", name="Fetch").click()
    finished(cut, 5)
    expect(cut.locator(".list .name").last).to_have_text("a shelf.jpg")


def test_a_phone_takes_a_photo_and_can_do_what_a_list_can(browser: Browser, server: Server, photo: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True, locale="en")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(server.address)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Take a photo").tap()
    assert chooser.value.element.get_attribute("capture") == "environment"
    chooser.value.set_files(photo)
    finished(page, 1)
    add(page, photo)
    finished(page, 2)
    page.get_by_role("radio", name="Blur").check()
    page.get_by_role("button", name="Apply to all (1)").tap()
    expect(page.locator('li[data-mood="stale"]')).to_have_count(0)
    finished(page, 2)
    page.get_by_role("button", name="Remove mug.jpg").first.tap()  # of the one that is looked at
    expect(page.locator(".list li")).to_have_count(1)
    expect(page.get_by_role("button", name="Download", exact=True)).to_be_in_viewport()
    page.get_by_role("button", name="Remove all").tap()
    expect(page.get_by_role("heading", name="Drop your pictures here")).to_be_visible()
    context.close()


def test_a_picture_that_is_worked_on_is_cancelled_and_tried_again_by_keys(studio: Page, photo: Path) -> None:
    studio.route("**/api/v1/remove", lambda route: None)  # it never gets an answer
    add(studio, photo)
    expect(studio.locator(".list .spinner:not([data-still])")).to_have_count(1)
    expect(studio.locator(".list .choose[aria-current=true]")).to_have_count(1)  # the one that the key is about
    studio.keyboard.press("x")
    expect(studio.locator('.list li[data-mood="cancelled"]')).to_have_count(1)
    studio.unroute("**/api/v1/remove")
    studio.keyboard.press("r")
    finished(studio, 1)


def test_a_failure_is_told_whatever_the_settings_are(studio: Page, photo: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 this is not a photo")
    add(studio, photo, broken)
    finished(studio, 1)
    failed = studio.locator('.list li[data-mood="failed"]')
    sentence = failed.locator(".status").inner_text()
    studio.get_by_role("radio", name="Blur").check()
    expect(failed.locator(".status")).to_have_text(sentence)
    assert failed.locator(".status").get_attribute("title") == sentence

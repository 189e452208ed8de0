"""Odd files, many files, keys that end, two tabs, the back button: a sentence each, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect
from tests.browser.conftest import Open, Server, add, finished, wait_until
from tests.browser.test_place import choose, corner, result

from mattebox import codec, samples

pytestmark = pytest.mark.model
HEIC = Path(__file__).parents[1] / "codec" / "data" / "synthetic.heic"


def edits(context: BrowserContext) -> list[str]:
    """The edits that pages ask for from now on."""
    asked: list[str] = []

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith(("/remove", "/replace")):
            asked.append(request.url)

    context.on("request", note)
    return asked


def names(page: Page) -> list[str]:
    return sorted(page.locator(".list .name").all_inner_texts())


def copies(folder: Path, *called: str) -> list[Path]:
    found = [folder / each for each in called]
    for each in found:
        each.write_bytes(samples.photo_file())
    return found


def test_a_file_of_200_mb_among_good_ones(studio: Page, photo: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.write(photo.read_bytes())
        file.truncate(200_000_000)
    add(studio, large, photo)
    finished(studio, 1)
    failed = studio.locator('.list li[data-mood="failed"]')
    expect(failed).to_contain_text("large.jpg")
    sentence = failed.locator(".status").inner_text()
    assert sentence == "The picture may have at most 31,457,280 bytes."
    expect(studio.locator(".over.card")).to_contain_text(sentence)
    expect(studio.locator(".banner")).to_have_count(0)


def test_a_heic_that_the_browser_cannot_show(studio: Page, photo: Path) -> None:
    add(studio, HEIC, photo)
    studio.wait_for_function("() => document.querySelectorAll('.thumb img').length === 2")
    finished(studio, 2)
    studio.wait_for_selector(".after img")
    expect(studio.locator(".over")).to_have_count(0)
    studio.get_by_role("button", name="Mend this picture").click()
    expect(studio.locator(".panels")).to_contain_text("This browser cannot show the original, so it cannot be mended.")
    studio.keyboard.press("Escape")
    name, data = result(studio)
    assert name == "synthetic.png"
    assert codec.decode(data).alpha is not None


def test_three_hundred_at_once(studio: Page) -> None:
    studio.route("**/api/v1/remove", lambda route: None)  # none is ever answered
    studio.evaluate(
        """() => {
            const transfer = new DataTransfer();
            for (let n = 0; n < 300; n += 1) transfer.items.add(new File(["x"], `${n}.jpg`, { type: "image/jpeg" }));
            const input = document.getElementById("files");
            input.files = transfer.files;
            input.dispatchEvent(new Event("change", { bubbles: true }));
        }"""
    )
    expect(studio.locator(".banner.soft")).to_contain_text("200 were added, 100 were left out")
    expect(studio.locator(".list li")).to_have_count(200)
    studio.reload()
    expect(studio.locator(".list li")).to_have_count(200)
    studio.get_by_role("button", name="Cancel all").click()
    studio.wait_for_function("() => document.querySelectorAll('li[data-mood=cancelled]').length === 200")


def test_a_key_that_ends_in_the_middle(open_page: Open, tmp_path: Path) -> None:
    def keys(*words: str) -> str:
        given = {name: value for name, value in os.environ.items() if not name.startswith("MATTEBOX_")}
        command = [sys.executable, "-m", "mattebox", "keys", *words]
        made = subprocess.run(
            command, env=given | {"MATTEBOX_DATA_DIR": str(tmp_path)}, capture_output=True, text=True, check=True
        )
        return made.stdout

    def create(name: str) -> str:
        return next(word for word in keys("create", name).split() if word.startswith("mattebox_"))

    first, second = create("first"), create("second")
    own = Server(tmp_path)
    try:
        page = open_page(own.address)
        page.get_by_role("button", name="API key").click()
        page.fill("#key", first)
        page.get_by_role("button", name="Use this key").click()
        one, two, three = copies(tmp_path, "one.jpg", "two.jpg", "three.jpg")
        add(page, one)
        finished(page, 1)
        keys("revoke", "first")
        # What a server has read of a key it believes for some seconds.
        refused = (
            "key => fetch('api/v1/me', { headers: { Authorization: `Bearer ${key}` } }).then(it => it.status === 401)"
        )
        wait_until(page, refused, first)
        add(page, two, three)
        expect(page.get_by_role("dialog")).to_contain_text("The server does not accept the key.")
        page.keyboard.press("Escape")
        expect(page.locator(".banner")).to_contain_text("Your pictures wait")
        finished(page, 1)  # what was made is still there, and what was not waits
        expect(page.locator('.list li[data-mood="waiting"]')).to_have_count(2)
        page.get_by_role("button", name="API key").click()
        page.fill("#key", second)
        page.get_by_role("button", name="Use this key").click()
        finished(page, 3)
        expect(page.locator(".banner")).to_have_count(0)
        assert names(page) == ["one.jpg", "three.jpg", "two.jpg"]
    finally:
        own.stop()


def test_two_tabs_share_the_list_and_the_work(open_page: Open, context: BrowserContext, tmp_path: Path) -> None:
    asked = edits(context)
    one, two = open_page(), open_page()
    files = copies(tmp_path, *(f"{number}.jpg" for number in range(6)))
    add(one, *files[:4])
    add(two, *files[4:])
    for page in (one, two):
        finished(page, 6)
        assert names(page) == [each.name for each in files]
        page.wait_for_function("() => document.querySelectorAll('.thumb img').length === 6")
    assert len(asked) == 6
    one.get_by_role("button", name="Remove 2.jpg").click()
    expect(two.locator(".list li")).to_have_count(5)
    choose(two, "Colour")  # the settings are those of both
    two.get_by_role("button", name="#cfe0f2").click()
    assert corner(result(one)[1]) == (207, 224, 242)
    assert corner(result(two)[1]) == (207, 224, 242)


def test_a_tab_that_is_closed_leaves_its_work_to_the_other(
    open_page: Open, context: BrowserContext, tmp_path: Path
) -> None:
    asked = edits(context)
    one, two = open_page(), open_page()
    one.route("**/api/v1/remove", lambda route: None)  # it never gets an answer
    add(one, *copies(tmp_path, "a.jpg", "b.jpg"))
    expect(one.locator(".list .spinner:not([data-still])")).to_have_count(2)
    expect(two.locator(".list li")).to_have_count(2)
    one.close()
    finished(two, 2)
    assert names(two) == ["a.jpg", "b.jpg"]
    assert 2 <= len(asked) <= 4


def test_the_back_button(cut: Page, server: Server, photo: Path, tmp_path: Path) -> None:
    cut.route("**/api/v1/remove", lambda route: None)
    add(cut, *copies(tmp_path, "late.jpg"))
    expect(cut.locator(".list .spinner:not([data-still])")).to_have_count(1)
    cut.goto(f"{server.address}docs")
    cut.unroute("**/api/v1/remove")
    cut.go_back()
    finished(cut, 2)  # what was in the middle is done anew
    assert names(cut) == ["late.jpg", "mug.jpg"]

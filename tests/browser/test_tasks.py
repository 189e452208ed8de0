"""Tasks and the library: pictures that the server works on by itself, and those that it keeps."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect
from tests.browser.conftest import Open, Server, add, finished, mend, mended, spot, wait_until
from tests.browser.test_place import choose, corner, result

from mattebox import codec

pytestmark = pytest.mark.model


def dialog(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()
    expect(page.get_by_role("dialog", name=name)).to_be_visible()


def task(page: Page, name: str) -> Locator:
    """Its row. The server is the other tests' too, whose tasks have no names here."""
    return page.locator(".tasks li").filter(has_text=name)


def close(page: Page) -> None:
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_pictures_are_sent_as_tasks_and_their_results_come_back(cut: Page, photo: Path, tmp_path: Path) -> None:
    other = tmp_path / "second.jpg"
    other.write_bytes(photo.read_bytes())
    add(cut, other)
    finished(cut, 2)
    cut.route("**/api/v1/remove", lambda route: route.abort())  # nothing is made but by tasks
    dialog(cut, "Tasks")
    cut.get_by_role("button", name="Send all (2)").click()
    for name in ("mug.jpg", "second.jpg"):
        expect(task(cut, name)).to_have_attribute("data-mood", "succeeded")
    with cut.expect_download() as download:
        cut.get_by_role("link", name="Download mug.jpg").click()
    assert download.value.suggested_filename == "mug.png"
    made = download.value.path().read_bytes()
    assert codec.decode(made).alpha is not None
    close(cut)
    finished(cut, 2)
    assert result(cut)[1] == made
    cut.unroute("**/api/v1/remove")


def test_a_page_that_is_closed_finds_the_result_when_it_comes_back(cut: Page, open_page: Open, server: Server) -> None:
    choose(cut, "Colour")
    cut.get_by_role("button", name="#cfe0f2").click()
    result(cut)
    # The stream is silent until the page is closed, so that the task certainly ends without it.
    cut.route("**/api/v1/tasks/events", lambda route: route.fulfill(content_type="text/event-stream", body="\n\n"))
    dialog(cut, "Tasks")
    with cut.expect_response("**/api/v1/tasks") as answer:
        cut.get_by_role("button", name="Send this picture").click()
    sent = answer.value.json()["id"]
    expect(cut.locator(".list .status")).to_have_text("Waiting at the server")
    address = f"{server.address}api/v1/tasks/{sent}"
    wait_until(cut, "async address => (await (await fetch(address)).json()).status === 'succeeded'", address)
    cut.close()
    page = open_page()
    page.route("**/api/v1/remove", lambda route: route.abort())
    finished(page, 1)
    assert corner(result(page)[1]) == (207, 224, 242)
    page.unroute("**/api/v1/remove")


def test_progress_is_live_and_a_task_can_be_given_up(cut: Page) -> None:
    """Of a server whose worker is away: the events are written here."""
    state = (
        '{"id": "t-1", "status": "%s", "progress": %d, "reason": null, "created": "2026-11-20T09:00:00.000Z",'
        ' "started": null, "finished": null, "result": null, "batch": null, "webhook": null}'
    )
    asked: list[str | None] = []
    goes_on = threading.Event()

    def events(route: Route) -> None:
        asked.append(route.request.headers.get("last-event-id"))
        now = state % ("running", 40 if len(asked) == 1 else 80)
        body = f"retry: 250\n\n: still here\n\nevent: task\nid: {len(asked)}.5\ndata: {now}\n\n"
        if len(asked) < 3 or goes_on.is_set():
            route.fulfill(content_type="text/event-stream", body=body)
        # or else the stream is silent

    cut.route("**/api/v1/tasks/events", events)
    cut.route(
        "**/api/v1/tasks/t-1",
        lambda route: route.fulfill(content_type="application/json", body=state % ("cancelled", 80)),
    )
    dialog(cut, "Tasks")
    row = cut.locator(".tasks li")
    expect(row.locator("progress")).to_have_attribute("value", re.compile("40|80"))
    expect(row).to_contain_text("80%")  # the stream has ended, and was asked for again
    cut.get_by_role("button", name="Cancel t-1").click()
    expect(row).to_contain_text("Cancelled")
    assert asked[:2] == [None, "1.5"]
    close(cut)


def test_a_task_that_fails_is_told_beside_its_picture(studio: Page, tmp_path: Path, photo: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:4000] + b"\0" * 400)
    add(studio, broken, photo)
    finished(studio, 1)
    dialog(studio, "Tasks")
    studio.get_by_role("button", name="Send all (2)").click()
    expect(task(studio, "mug.jpg")).to_have_attribute("data-mood", "succeeded")
    close(studio)
    expect(studio.locator('.list li[data-mood="failed"]')).to_contain_text("broken.jpg")
    told = studio.locator('.list li[data-mood="failed"] .status')
    in_english = told.inner_text()
    assert in_english.endswith(".")
    # What is told is told in the page's language, also when that is chosen afterwards.
    for code, kind in (("de", "Diese Datei lässt sich nicht als Bild lesen."), ("zh", "无法将此文件读取为图片。")):
        studio.locator(".head select").first.select_option(code)
        expect(told).to_have_text(f"{kind} ({in_english})")
    studio.reload()
    expect(told).to_contain_text("无法")
    studio.get_by_role("button", name="任务", exact=True).click()
    expect(task(studio, "broken.jpg")).to_have_attribute("data-mood", "failed")
    expect(task(studio, "broken.jpg")).to_contain_text("无法")


def test_a_scene_in_words_and_a_click_are_a_task_too(cut: Page) -> None:
    mend(cut)
    choose(cut, "This")
    cut.mouse.click(*spot(cut, 0.4, 0.6))
    mended(cut)
    cut.get_by_role("button", name="Done", exact=True).click()
    choose(cut, "Scene")
    cut.get_by_label("The place in words").fill("on a wooden table")
    _, direct = result(cut)
    cut.route("**/api/v1/replace", lambda route: route.abort())  # nothing is made but by tasks
    dialog(cut, "Tasks")
    cut.get_by_role("button", name="Send this picture").click()
    expect(task(cut, "mug.jpg").first).to_have_attribute("data-mood", "succeeded")
    close(cut)
    finished(cut, 1)
    expect(cut.locator(".facts")).to_contain_text("wood 100%")
    assert result(cut)[1] == direct
    cut.unroute("**/api/v1/replace")


def test_a_result_is_kept_seen_used_and_deleted(cut: Page) -> None:
    choose(cut, "Colour")
    cut.get_by_role("button", name="#cfe0f2").click()
    result(cut)
    dialog(cut, "Library")
    cut.get_by_role("button", name="Keep this result").click()
    image = cut.locator(".kept li").first
    expect(image).to_contain_text("mug")
    expect(image).to_contain_text("1200 × 900")
    image.locator("img").wait_for()
    expect(cut.get_by_role("dialog")).to_contain_text("1 of 10,000 pictures, ")
    close(cut)
    cut.get_by_role("group", name="Behind the subject").get_by_label("None").check()
    result(cut)
    dialog(cut, "Library")
    cut.get_by_role("button", name="mug as background").click()
    expect(cut.get_by_role("dialog")).to_have_count(0)
    assert corner(result(cut)[1]) == (207, 224, 242)  # its own picture behind it
    dialog(cut, "Library")
    cut.get_by_role("button", name="Add mug to the pictures").click()
    expect(cut.locator(".list li")).to_have_count(2)
    finished(cut, 2)
    dialog(cut, "Library")
    cut.get_by_role("button", name="Delete mug from the library").click()
    expect(cut.locator(".kept li")).to_have_count(0)
    expect(cut.get_by_role("dialog")).to_contain_text("0 of ")
    close(cut)


def test_everything_with_a_key(open_page: Open, photo: Path, tmp_path: Path) -> None:
    own = Server(tmp_path, MATTEBOX_KEYS="sesame", MATTEBOX_ACCOUNTS_CREDITS="3")
    try:
        page = open_page(own.address)
        page.get_by_role("button", name="API key").click()
        page.fill("#key", "sesame")
        page.get_by_role("button", name="Use this key").click()
        add(page, photo)
        finished(page, 1)
        dialog(page, "Tasks")
        page.get_by_role("button", name="Send this picture").click()
        expect(task(page, "mug.jpg")).to_have_attribute("data-mood", "succeeded")
        close(page)
        dialog(page, "Library")
        page.get_by_role("button", name="Keep this result").click()
        expect(page.locator(".kept li")).to_have_count(1)
        page.locator(".kept img").wait_for()
        close(page)
        dialog(page, "API key")
        expect(page.get_by_role("dialog")).to_contain_text("Pictures made with this key: 3 of 3")
        close(page)
        dialog(page, "Tasks")
        page.get_by_role("button", name="Send this picture").click()
        expect(page.locator(".why[role=alert]")).to_contain_text("mug.jpg: ")
        close(page)
    finally:
        own.stop()

"""Keys, screen readers, languages, phones, light and dark, and how heavy the page is."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.browser.conftest import PATIENCE, Server, add, finished

pytestmark = pytest.mark.model
MOST_BYTES = 150_000
"""On the wire, until the page can be used."""


def test_everything_by_the_keyboard(cut: Page, photo: Path) -> None:
    add(cut, photo)
    finished(cut, 2)
    current = cut.locator('.choose[aria-current="true"]')
    keys = cut.keyboard
    keys.press("j")
    expect(cut.locator("li").nth(1).locator(current)).to_have_count(1)
    keys.press("k")
    expect(cut.locator("li").nth(0).locator(current)).to_have_count(1)
    cut.wait_for_selector(".after img")
    keys.press("g")
    cut.wait_for_selector('.after[data-ground="black"]')
    share = cut.get_by_role("button", name="Pixel for pixel")
    keys.press("1")
    expect(share).to_have_text("100%")
    keys.press("+")
    expect(share).to_have_text("125%")
    keys.press("0")
    expect(share).not_to_have_text("125%")
    keys.press("]")
    expect(cut.get_by_role("slider", name="Compare before and after")).to_have_value("0.1")
    keys.down("o")
    expect(cut.get_by_role("button", name="Hold for original")).to_have_attribute("aria-pressed", "true")
    keys.up("o")
    expect(cut.get_by_role("button", name="Hold for original")).to_have_attribute("aria-pressed", "false")
    with cut.expect_download() as download:
        keys.press("d")
    assert download.value.suggested_filename == "mug.png"
    keys.press("?")
    sheet = cut.get_by_role("dialog", name="Keyboard")
    expect(sheet).to_contain_text("Next picture")
    keys.press("j")  # a dialog keeps the keys for itself
    keys.press("Escape")
    expect(sheet).to_have_count(0)
    expect(cut.locator("li").nth(0).locator(current)).to_have_count(1)
    keys.press("Delete")
    expect(cut.locator(".list li")).to_have_count(1)
    cut.get_by_label("Width").focus()
    keys.type("12")
    keys.press("Delete")  # of the field, not of the list
    expect(cut.locator(".list li")).to_have_count(1)


def test_what_a_screen_reader_is_told(cut: Page) -> None:
    expect(cut.locator("#live")).to_contain_text("mug.jpg is done, confidence ")
    nameless = cut.evaluate(
        """() => [...document.querySelectorAll("button, input:not([hidden]), select, a")]
            .filter((each) => !each.innerText?.trim() && !each.getAttribute("aria-label") && !each.labels?.length)
            .map((each) => each.outerHTML)"""
    )
    assert nameless == []
    ids = cut.evaluate("() => [...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids))
    expect(cut.get_by_role("main")).to_have_count(1)
    expect(cut.get_by_role("navigation", name="Pictures")).to_have_count(1)


@pytest.mark.parametrize(("code", "heading"), [("de", "Bilder hier ablegen"), ("zh", "将图片拖放到这里")])
def test_other_languages(code: str, heading: str, studio: Page) -> None:
    studio.get_by_label("Language").select_option(code)
    expect(studio.get_by_role("heading", level=1)).to_have_text(heading)
    studio.reload()
    expect(studio.get_by_role("heading", level=1)).to_have_text(heading)
    assert studio.evaluate("document.documentElement.lang") == code


def test_without_scripts_there_is_a_sentence_and_a_way_to_the_api(browser: Browser, server: Server) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(server.address)
    expect(page.locator(".banner")).to_have_text("The studio needs JavaScript. The API does not.")
    expect(page.locator(".banner")).to_be_in_viewport()
    page.locator(".banner a").click()
    expect(page).to_have_url(f"{server.address}docs")
    context.close()


@pytest.mark.parametrize("code", ["en", "de", "zh"])
@pytest.mark.parametrize("width", [1280, 1440])
def test_each_choice_is_one_row_in_every_language(code: str, width: int, cut: Page) -> None:
    cut.set_viewport_size({"width": width, "height": 800})
    cut.get_by_label("Language").select_option(code)
    cut.wait_for_function("code => document.documentElement.lang === code", arg=code)
    cut.get_by_role("switch").check()
    cut.keyboard.press("m")
    cut.wait_for_selector(".mends")
    rows = cut.evaluate(
        """() => [...document.querySelectorAll(".panels .segments, .tools, .actions, .panels .row")].map((each) => {
            const boxes = [...each.children].map((child) => child.getBoundingClientRect());
            const below = boxes.filter((box, at) => at && box.top >= boxes[at - 1].bottom).length;
            return [each.className, 1 + below, each.scrollWidth - each.clientWidth];
        })"""
    )
    assert {name for name, *_ in rows} == {"segments", "tools", "actions", "row start"}
    assert [row for row in rows if row[1] > (2 if row[0] == "actions" else 1) or row[2] > 0] == []
    cut_off = cut.evaluate(
        """() => [...document.querySelectorAll(".button, .segments span, .list-head h2")]
            .filter((each) => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).fontSize !== "0px")
            .map((each) => each.innerText)"""
    )
    assert cut_off == []


def accessible(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 820, 1360])
def test_it_fits_every_screen_and_can_be_read(
    width: int, scheme: str, browser: Browser, server: Server, photo: Path
) -> None:
    phone = width < 800
    dark = scheme == "dark"
    context = browser.new_context(
        viewport={"width": width, "height": 844},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        is_mobile=phone,
        has_touch=phone,
        locale="de-DE",
    )
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(server.address)
    add(page, photo)
    finished(page, 1)
    page.get_by_role("radio", name="Szene").check()
    page.wait_for_selector(".scene")
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    wide = page.evaluate(
        """() => [...document.querySelectorAll(".head *, .tools *, .actions *, .panel .segments")]
            .filter((each) => each.getBoundingClientRect().right > window.innerWidth + 1)
            .map((each) => each.className)"""
    )
    assert wide == []
    accessible(page)
    page.get_by_role("button", name="Dieses Bild nachbessern").click()
    page.wait_for_selector(".mends")
    accessible(page)
    page.get_by_role("button", name="Fertig", exact=True).click()
    dialogs = {name: name for name in ("Aufträge", "Bibliothek", "Tastatur", "API-Schlüssel")}
    for button, name in (dialogs | {"Mehr Wege, Bilder hinzuzufügen": "Bilder hinzufügen"}).items():
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.get_by_role("dialog", name=name)).to_be_visible()
        accessible(page)
        page.keyboard.press("Escape")
    assert (page.evaluate("() => getComputedStyle(document.body).color") == "rgb(236, 239, 241)") is dark
    context.close()


def test_reduced_motion_and_a_theme_of_ones_own(studio: Page) -> None:
    dark = "() => getComputedStyle(document.documentElement).colorScheme"
    assert studio.evaluate(dark) == "light dark"
    for wanted in ("light", "dark", "light dark"):
        studio.get_by_role("button", name="Light or dark").click()
        assert studio.evaluate(dark) == wanted


def test_the_first_load_is_light(context: BrowserContext, server: Server) -> None:
    """Counted by the browser, headers and pictures included; nothing is kept from before."""
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[float] = []
    hosts: set[str] = set()
    said: list[str] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.on("console", lambda message: said.append(message.text))
    page.goto(server.address)
    page.wait_for_selector("h1")
    page.wait_for_load_state("networkidle")
    shown = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print(f"first load: {sum(sizes) / 1000:.0f} kB in {len(sizes)} files, shown after {shown:.0f} ms")
    assert len(sizes) > 25
    assert 20_000 < sum(sizes) <= MOST_BYTES
    assert hosts == {server.address.split("/")[2]}
    assert said == []

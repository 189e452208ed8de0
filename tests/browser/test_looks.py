"""How the studio looks: four screens, on a desktop and a phone, light and dark, against pictures that were looked at.

What varies is fixed: the font (DejaVu Sans, which Debian's fontconfig brings), animations, scroll bars, the seconds and
the confidence. `make golden` draws the pictures anew.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import Browser, Page, Route, expect
from tests.browser.conftest import PATIENCE, Server, add, finished
from tests.golden.comparison import compare

from mattebox import codec
from mattebox.edit import Output
from mattebox.image import Image

pytestmark = pytest.mark.model
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
_FIXED = """
:root, button, input, select { font-family: "DejaVu Sans" !important; }
*, ::before, ::after { animation: none !important; transition: none !important; caret-color: transparent !important; }
"""
_WIDTH_OF_DEJAVU = 480
"""Of `mattebox` in 100 px, rounded to 10: another font would be drawn where this one is missing."""
_SHOWN = """opaque => {
    if (document.querySelector(".over.pill, .actions .wide")) return false;
    const shown = [...document.querySelectorAll("li .thumb img")].map((image) => {
        const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
        if (image.complete) pen.drawImage(image, 0, 0);
        return pen.getImageData(0, 0, 1, 1).data[3] > 127;
    });
    return JSON.stringify(shown) === JSON.stringify(opaque);
}"""


def _fixed_style(route: Route) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text() + _FIXED)


def _fixed_measures(route: Route) -> None:
    answer = route.fetch()
    told = {"x-processing-time-ms": "100", "x-mattebox-confidence": "0.9400"}
    route.fulfill(
        response=answer, headers=answer.headers | {name: told[name] for name in told if name in answer.headers}
    )


@pytest.fixture(params=[(device, scheme) for device in SIZES for scheme in ("light", "dark")], ids="-".join)
def screen(request: pytest.FixtureRequest, browser: Browser, server: Server) -> Iterator[tuple[str, Page]]:
    device, scheme = request.param
    width, height = SIZES[device]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        reduced_motion="reduce",
        is_mobile=device == "phone",
        has_touch=device == "phone",
        locale="en-GB",
    )
    context.set_default_timeout(PATIENCE)
    context.route("**/studio/base.css", _fixed_style)
    context.route("**/api/v1/remove", _fixed_measures)
    page = context.new_page()
    page.goto(server.address)
    page.wait_for_function(
        "() => document.querySelector('.sample img')?.naturalWidth && document.fonts.status === 'loaded'"
    )
    wide = page.evaluate(
        """() => {
            const pen = document.createElement("canvas").getContext("2d");
            pen.font = '100px "DejaVu Sans", monospace';
            return pen.measureText("mattebox").width;
        }"""
    )
    assert round(wide, -1) == _WIDTH_OF_DEJAVU, "DejaVu Sans is missing. On Debian: apt-get install fonts-dejavu-core"
    yield f"page-{device}-{scheme}", page
    context.unroute_all(behavior="wait")
    context.close()


def test_four_screens(screen: tuple[str, Page], photo: Path, tmp_path: Path, regenerate: bool) -> None:
    name, page = screen
    found = {"empty": _shot(page)}
    add(page, photo)
    _settled(page, 1, False)
    found["judge"] = _shot(page)
    broken, wall = tmp_path / "broken.jpg", tmp_path / "wall.png"
    broken.write_bytes(b"\xff\xd8 this is not a photo")
    wall.write_bytes(codec.encode(Image(rgb=np.full((300, 400, 3), 128, np.uint8)), Output()))
    add(page, broken, wall)
    page.wait_for_selector('li[data-mood="failed"]')
    _settled(page, 2, False, False)
    page.locator('li[data-mood="failed"] .choose').click()
    expect(page.locator(".over.card")).to_be_visible()
    found["broken"] = _shot(page)
    page.locator(".list .choose").first.click()
    page.get_by_role("radio", name="Gradient").check()
    page.get_by_role("radio", name="Soft").check()
    page.get_by_role("switch", name="Crop to the subject").check()
    _settled(page, 2, True, False)
    page.get_by_role("heading", name="Background").evaluate("each => each.scrollIntoView({ block: 'center' })")
    found["place"] = _shot(page)
    for screenshot, picture in found.items():
        # In a tile: text that moves by a pixel is 60; the palette, or the matte of another processor, less than 20.
        compare(f"{name}-{screenshot}", picture, regenerate=regenerate, tolerance=2.0, worst=40, few_colors=True)


def _settled(page: Page, count: int, *opaque: bool) -> None:
    """Wait until so many pictures are made, and the list shows the results: whether each has a backdrop."""
    finished(page, count)
    page.wait_for_selector(".after img")
    page.wait_for_function(_SHOWN, arg=list(opaque))


def _shot(page: Page) -> PIL.Image.Image:
    page.mouse.move(0, 0)
    page.evaluate("() => document.activeElement.blur()")
    return PIL.Image.open(io.BytesIO(page.screenshot(scale="css", animations="disabled"))).convert("RGB")

"""Draws studio.jpg for the README and studio-*.png for a look at every screen, with a real server in Chromium."""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import PIL.Image
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from mattebox import samples

HERE = Path(__file__).parent
DESKTOP: ViewportSize = {"width": 1360, "height": 860}
PHONE: ViewportSize = {"width": 390, "height": 844}
PATIENCE = 120_000.0
_FULL = "() => document.querySelectorAll('li[data-mood=done]').length === 1 && !document.querySelector('.over')"


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A server with nothing in it; its address."""
    log = folder / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MATTEBOX_")}
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "mattebox", "serve", "--port", "0"],
            env=environment | {"MATTEBOX_DATA_DIR": str(folder)},
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    try:
        while not (found := re.search(r"serves at (http://127\.0\.0\.1:\d+)", log.read_text())):
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.1)
        yield f"{found[1]}/"
    finally:
        process.terminate()
        process.wait()


def opened(browser: Browser, address: str, photo: Path, *, phone: bool = False, dark: bool = False) -> Page:
    """The studio with the sample photo cut out."""
    page = browser.new_page(
        viewport=PHONE if phone else DESKTOP,
        color_scheme="dark" if dark else "light",
        is_mobile=phone,
        has_touch=phone,
        device_scale_factor=2,
        locale="en-GB",
    )
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.set_input_files("#files", photo)
    page.wait_for_function(_FULL)
    page.wait_for_selector(".after img")
    return page


def on_a_table(page: Page) -> None:
    """Put the subject before a scene, with the original on the left."""
    page.get_by_role("radio", name="Scene").check()
    page.get_by_label("The place in words").fill("on a wooden table")
    page.get_by_text("wood 100%").wait_for()
    page.wait_for_function(_FULL)
    page.wait_for_function("() => document.querySelectorAll('.scene img').length >= 12")
    page.get_by_role("slider", name="Compare before and after").fill("0.5")


def main() -> None:
    """Write the picture, or all of them into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every screen, to be looked at")
    everything = parser.parse_args().all
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright, server(Path(name)) as address:
        photo = Path(name) / "mug.jpg"
        photo.write_bytes(samples.photo_file())
        browser = playwright.chromium.launch(executable_path=program)
        if everything is None:
            page = opened(browser, address, photo)
            on_a_table(page)
            shot = PIL.Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            shot.resize((1800, 1138), PIL.Image.Resampling.LANCZOS).save(HERE / "studio.jpg", quality=86)
            return
        everything.mkdir(parents=True, exist_ok=True)
        for phone in (False, True):
            for dark in (False, True):
                page = opened(browser, address, photo, phone=phone, dark=dark)
                kind = f"studio-{'phone' if phone else 'desktop'}-{'dark' if dark else 'light'}"
                page.screenshot(path=everything / f"{kind}.png")
                page.get_by_role("button", name="Mend this picture").click()
                page.wait_for_selector(".mends")
                page.screenshot(path=everything / f"{kind}-mend.png")
                page.keyboard.press("Escape")
                for dialog in ("Tasks", "Library", "Keyboard"):
                    page.get_by_role("button", name=dialog, exact=True).click()
                    page.get_by_role("dialog", name=dialog).wait_for()
                    page.screenshot(path=everything / f"{kind}-{dialog.lower()}.png")
                    page.keyboard.press("Escape")
                on_a_table(page)
                page.screenshot(path=everything / f"{kind}-scene.png")


if __name__ == "__main__":
    main()

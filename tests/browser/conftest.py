"""The studio in Debian's Chromium, before a real server with a real network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, expect, sync_playwright

from mattebox import samples
from mattebox.models import CATALOGUE, weights
from mattebox.models.catalogue import CLICKS, Variant

START_SECONDS = 90.0
PATIENCE = 90_000.0
"""Milliseconds that a condition may take on a busy machine."""
expect.set_options(timeout=PATIENCE)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_ALIKE = ("--font-render-hinting=none", "--disable-lcd-text", "--force-color-profile=srgb", "--hide-scrollbars")
"""Draw the same on every machine."""
_REFUSED = "Failed to load resource"  # the browser's note on a failure that the page tells itself
Open: TypeAlias = Callable[..., Page]


class Server:
    """`mattebox serve` as a process, which can be stopped and started again at the same address."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self._folder = folder
        given = {name: value for name, value in os.environ.items() if not name.startswith("MATTEBOX_")}
        self._environment = given | {"MATTEBOX_DATA_DIR": str(folder), "MATTEBOX_MODEL": "u2netp"} | environment
        self._port = "0"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    def start(self) -> None:
        command = [sys.executable, "-m", "mattebox", "serve", "--port", self._port]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(r"serves at http://127\.0\.0\.1:(\d+)", self.log)):
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)
        self._port = found[1]

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


def models_directory(folder: Path, *names: str) -> Path:
    """A folder of models with these networks and no others, so that what else was fetched changes nothing."""
    directory = folder / "models"
    directory.mkdir()
    for name in names:
        row = CLICKS if name == CLICKS.name else CATALOGUE[name]
        assert isinstance(row, Variant) or row is CLICKS
        for file in (row,) if isinstance(row, Variant) else (CLICKS.encoder, CLICKS.decoder):
            fetched = weights.pull(file, directory=weights.default_directory())
            weights.path(file, directory).symlink_to(fetched)
    return directory


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("studio")
    running = Server(folder, MATTEBOX_MODELS_DIRECTORY=str(models_directory(folder, "u2netp")))
    yield running
    running.stop()


# Not for the session: the thread has a running event loop while it is there, and other files' tests have their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if program is None:
        pytest.fail("No Chromium is on the PATH. On Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=_ALIKE)
        yield launched
        launched.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(
        viewport={"width": 1360, "height": 860}, locale="en-GB", permissions=["clipboard-read", "clipboard-write"]
    )
    made.set_default_timeout(PATIENCE)
    yield made
    made.close()


@pytest.fixture
def open_page(context: BrowserContext, server: Server) -> Iterator[Open]:
    """Opens the studio; at the end, nothing that the page did was an error."""
    wrong: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and _REFUSED not in message.text:
            wrong.append(message.text)

    def fail(error: Error) -> None:
        wrong.append(str(error))

    def start(address: str = server.address) -> Page:
        page = context.new_page()
        page.on("console", listen)
        page.on("pageerror", fail)
        page.goto(address)
        page.wait_for_selector(".head")
        return page

    yield start
    assert wrong == []


@pytest.fixture
def studio(open_page: Open) -> Page:
    return open_page()


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("photos") / "mug.jpg"
    file.write_bytes(samples.photo_file())
    return file


@pytest.fixture
def cut(studio: Page, photo: Path) -> Page:
    """The studio with one picture that is cut out."""
    add(studio, photo)
    finished(studio, 1)
    studio.wait_for_selector(".after img")
    return studio


def add(page: Page, *files: Path) -> None:
    page.set_input_files("#files", list(files))


def finished(page: Page, count: int) -> None:
    """Wait until so many pictures are made of the present settings."""
    page.wait_for_function(
        "n => document.querySelectorAll('li[data-mood=done], li[data-mood=none]').length === n", arg=count
    )


def mend(page: Page) -> None:
    page.get_by_role("button", name="Mend this picture").click()
    page.wait_for_selector(".stage[data-mends]")
    mended(page)


def mended(page: Page) -> None:
    """Wait until the result has every stroke, so that it is shown and no preview."""
    page.wait_for_function(
        """() => document.querySelector('.mends canvas')?.hidden && !document.querySelector('.over')
            && document.querySelector('li[data-mood=done], li[data-mood=none]')"""
    )


def spot(page: Page, x: float, y: float) -> tuple[float, float]:
    box = page.locator(".picture").bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def paint(page: Page, *places: tuple[float, float]) -> None:
    page.mouse.move(*spot(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*spot(page, *place), steps=8)
    page.mouse.up()


def corrections(page: Page) -> dict[str, Any]:
    """The file that the page says belongs to the call."""
    page.get_by_role("button", name="Show the call").click()
    dialog = page.get_by_role("dialog")
    found: dict[str, Any] = json.loads(dialog.get_by_label("corrections.json").inner_text())
    dialog.get_by_role("button", name="Close").click()
    return found


def wait_until(page: Page, script: str, argument: object) -> None:
    """Until a function that may be asynchronous returns true; `wait_for_function` takes its promise for the answer."""
    until = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(script, argument):
        assert time.monotonic() < until, script
        page.wait_for_timeout(200)

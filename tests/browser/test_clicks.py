"""Clicks on the second of two subjects, with the network for clicks and without it: the page says which answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from playwright.sync_api import Page, expect
from tests.browser.conftest import Open, Server, add, finished, mend, mended, models_directory, spot
from tests.browser.test_mend import alpha, end
from tests.browser.test_place import choose, result

from mattebox import codec, samples
from mattebox.edit import Format, Output
from mattebox.image import RGB, Alpha, Image

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def clicking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("clicks")
    running = Server(folder, MATTEBOX_MODELS_DIRECTORY=str(models_directory(folder, "u2netp", "clicks")))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cup of coffee and the mug, which stand side by side."""
    draw: Callable[[], RGB] = skimage.data.coffee
    coffee = draw()[:, 60:560]
    file = tmp_path_factory.mktemp("photos") / "two.jpg"
    both = Image(rgb=np.hstack([coffee, samples.make_photo(width=500, height=400)]))
    file.write_bytes(codec.encode(both, Output(format=Format.JPEG, quality=95)))
    return file


def click_on_the_mug(page: Page, two: Path, sentence: str) -> Alpha:
    add(page, two)
    finished(page, 1)
    page.wait_for_selector(".after img")
    mend(page)
    choose(page, "This")
    page.mouse.click(*spot(page, 0.72, 0.6))
    mended(page)
    expect(page.locator(".panels")).to_contain_text(sentence)
    end(page)
    matte = alpha(result(page)[1])
    assert float(matte[180:300, 680:760].mean()) > 0.9  # the mug's wall
    return matte


def test_the_network_finds_the_second_of_two_subjects(clicking: Server, open_page: Open, two: Path) -> None:
    matte = click_on_the_mug(open_page(clicking.address), two, "A small network looks for the object")
    assert float(matte[:, :480].mean()) < 0.02


def test_without_it_the_parts_of_the_matte_do(server: Server, open_page: Open, two: Path) -> None:
    click_on_the_mug(open_page(server.address), two, "choose among the parts of the matte")

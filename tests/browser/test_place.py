"""Place and out: what goes behind the subject, the layout, the file, and the ways out of the page."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from tests.browser.conftest import Server, add, corrections, finished, mend, mended, paint

from mattebox import codec
from mattebox.edit import Format, Output
from mattebox.image import Image

pytestmark = pytest.mark.model
SETTLED = """() => document.querySelector('.facts dd') && !document.querySelector('.over')
    && !document.querySelector('.actions .wide') && document.querySelector('.measured').innerText.includes('·')"""


def settled(page: Page) -> None:
    """Wait until the picture that is looked at is made of the present settings."""
    page.wait_for_function(SETTLED)


def result(page: Page) -> tuple[str, bytes]:
    """The file that the page gives, and its name."""
    settled(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download", exact=True).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def choose(page: Page, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).check()


def corner(data: bytes) -> tuple[int, ...]:
    return tuple(int(each) for each in codec.decode(data).rgb[2, 2])


def test_a_colour_a_shadow_and_a_format_with_the_bytes_it_has(cut: Page) -> None:
    choose(cut, "Colour")
    cut.get_by_role("button", name="#cfe0f2").click()
    choose(cut, "Soft")
    choose(cut, "WebP")
    cut.get_by_role("slider", name="Quality").fill("100")
    name, data = result(cut)
    assert name == "mug.webp"
    assert corner(data) == (207, 224, 242)
    size = float(cut.locator(".measured").inner_text().split(" ")[0])
    assert abs(size * 1000 - len(data)) <= 500
    cut.get_by_role("slider", name="Quality").fill("40")
    assert len(result(cut)[1]) < len(data) / 2


def test_another_backdrop_runs_no_network(cut: Page, server: Server) -> None:
    def segmented() -> float:
        text = cut.request.get(f"{server.address}metrics").text()
        counted = re.search(r'^mattebox_stage_seconds_count\{stage="segment"\} (\S+)$', text, re.MULTILINE)
        assert counted is not None
        return float(counted[1])

    cut.get_by_role("radio", name="WebP").check()  # the format is none of the matte's options either
    result(cut)
    before = segmented()
    choose(cut, "Colour")
    cut.get_by_role("button", name="#cfe0f2").click()
    assert corner(result(cut)[1]) == pytest.approx((207, 224, 242), abs=3)
    choose(cut, "Blur")
    result(cut)
    assert segmented() == before
    cut.get_by_label("Model").select_option("u2netp")  # by its name it is the same network, another choice is not
    choose(cut, "Ground")
    result(cut)
    assert segmented() == before


def test_a_gradient_by_mouse_and_keyboard(cut: Page) -> None:
    choose(cut, "Gradient")
    cut.get_by_label("First colour").fill("#ff8000")
    cut.get_by_label("Last colour").fill("#0040ff")
    picture = codec.decode(result(cut)[1])
    assert picture.alpha is None
    assert picture.rgb[0, 0].tolist() == pytest.approx([255, 128, 0], abs=2)
    assert picture.rgb[-1, -1].tolist() == pytest.approx([0, 64, 255], abs=2)
    angle = cut.get_by_role("slider", name="Angle")
    angle.fill("95")
    angle.press("ArrowLeft")
    expect(cut.locator("label", has=angle).locator("b")).to_have_text("90°")
    picture = codec.decode(result(cut)[1])
    assert picture.rgb[-1, 0].tolist() == pytest.approx([255, 128, 0], abs=2)
    assert picture.rgb[0, -1].tolist() == pytest.approx([0, 64, 255], abs=2)
    assert "background_gradient=90 #ff8000 #0040ff" in called(cut, "curl")
    # The arrows go from one kind of background to the next, and the colours are kept.
    cut.get_by_role("radio", name="Gradient", exact=True).press("ArrowRight")
    expect(cut.get_by_role("radio", name="Blur", exact=True)).to_be_checked()
    cut.get_by_role("radio", name="Blur", exact=True).press("ArrowLeft")
    expect(cut.get_by_label("Last colour")).to_have_value("#0040ff")


def test_a_picture_of_ones_own(cut: Page, tmp_path: Path) -> None:
    behind = tmp_path / "red.png"
    red = np.zeros((300, 400, 3), np.uint8) + np.array([180, 20, 30], np.uint8)
    behind.write_bytes(codec.encode(Image(rgb=red), Output()))
    choose(cut, "Picture")
    cut.get_by_label("Choose a picture").last.set_input_files(behind)
    expect(cut.locator(".upload")).to_contain_text("red.png")
    assert corner(result(cut)[1]) == (180, 20, 30)


def test_words_with_thumbnails_and_how_well_they_match(cut: Page) -> None:
    choose(cut, "Scene")
    cut.get_by_label("The place in words").fill("on a wooden table")
    expect(cut.locator(".scene").first).to_have_attribute("data-name", "wood")
    expect(cut.locator(".scene b").first).to_have_text("100%")
    cut.wait_for_selector('.scene[data-name="wood"] img')
    expect(cut.locator(".facts")).to_contain_text("wood 100%")
    settled(cut)
    cut.locator('.scene[data-name="marble"]').click()
    expect(cut.locator(".facts")).to_contain_text("marble 100%")
    cut.get_by_label("The place in words").fill("on a spaceship")
    expect(cut.locator(".facts")).to_contain_text("is the nearest.")
    cut.get_by_label("The place in words").fill("auf dem Mond")
    expect(cut.locator(".over.card")).to_contain_text("Prompts must say in English what is to be seen.")
    cut.get_by_label("The place in words").fill("marble table")
    expect(cut.locator(".over.card")).to_have_count(0)


def test_a_shops_preset(cut: Page) -> None:
    cut.get_by_label("Ready for").select_option("amazon")
    name, data = result(cut)
    picture = codec.decode(data)
    assert name == "mug.jpg"
    assert (picture.width, picture.height) == (2000, 2000)
    assert corner(data) == (255, 255, 255)
    rows, columns = np.nonzero((picture.rgb < 200).any(2))
    longest = max(np.ptp(rows), np.ptp(columns))
    assert 0.8 <= longest / 2000 <= 0.87  # the subject fills 85 % of it


def test_crop_and_proportions(cut: Page) -> None:
    cut.get_by_role("switch", name="Crop to the subject").check()
    choose(cut, "1:1")
    picture = codec.decode(result(cut)[1])
    assert picture.width == picture.height
    assert picture.width < 900
    # Before lies under after, although the frame is another.
    cut.get_by_role("slider", name="Compare before and after").fill("1")
    before = codec.decode(cut.locator(".stage").screenshot()).rgb.astype(int)
    cut.get_by_role("slider", name="Compare before and after").fill("0")
    cut.locator('.grounds input[value="black"]').check(force=True)
    after = codec.decode(cut.locator(".stage").screenshot()).rgb.astype(int)
    height, width = before.shape[:2]
    middle = (slice(height // 2 - 40, height // 2 + 40), slice(width // 2 - 80, width // 2))
    assert np.abs(before[middle] - after[middle]).mean() < 6


def test_all_as_a_zip_with_their_names(studio: Page, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    other = tmp_path / "a" / "mug.jpg"
    other.write_bytes(photo.read_bytes())
    add(studio, photo, other)
    finished(studio, 2)
    with studio.expect_download() as download:
        studio.get_by_role("button", name="All as ZIP").click()
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["mug.png", "mug (2).png"]
        assert codec.decode(archive.read("mug (2).png")).alpha is not None


def test_to_the_clipboard(cut: Page) -> None:
    cut.get_by_role("button", name="Copy", exact=True).click()
    expect(cut.locator(".banner.soft")).to_contain_text("mug.jpg is in the clipboard.")
    kinds = cut.evaluate("async () => (await navigator.clipboard.read()).flatMap((each) => each.types)")
    assert kinds == ["image/png"]


def test_dragged_out_it_is_the_file_itself(cut: Page) -> None:
    told = cut.evaluate(
        """async () => {
            const transfer = new DataTransfer();
            const button = document.querySelector(".actions .primary");
            button.dispatchEvent(new DragEvent("dragstart", { dataTransfer: transfer, bubbles: true }));
            const [type, name, ...address] = transfer.getData("DownloadURL").split(":");
            const size = (await (await fetch(address.join(":"))).blob()).size;
            return { draggable: button.draggable, type, name, size };
        }"""
    )
    assert told == {"draggable": True, "type": "image/png", "name": "mug.png", "size": len(result(cut)[1])}


def test_what_other_settings_made_is_said_and_made_anew(cut: Page, photo: Path) -> None:
    add(cut, photo)
    finished(cut, 2)
    choose(cut, "Colour")
    stale = cut.locator('li[data-mood="stale"]')
    expect(stale).to_have_count(1)
    expect(stale).to_contain_text("Made with other settings")
    cut.get_by_role("button", name="Apply to all (1)").click()
    expect(stale).to_have_count(0)


def called(page: Page, way: str) -> str:
    page.get_by_role("button", name="Show the call").click()
    page.get_by_role("radio", name=way, exact=True).check()
    text = page.locator("dialog pre").first.inner_text()
    page.keyboard.press("Escape")
    return text


def run(text: str, folder: Path, *, python: bool) -> None:
    """Do what the page says, as somebody who copies it would."""
    bin_folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"}
    command = [sys.executable, "-c", text] if python else ["bash", "-c", text]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stderr}"


WAYS = ("curl", "Python", "Command line")
SETTINGS = ("as it is", "a shop", "a scene", "a picture behind", "mended")


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_call_makes_the_same_result(settings: str, cut: Page, photo: Path, tmp_path: Path) -> None:
    cut.get_by_label("Model").select_option("u2netp")  # `auto` is another network on the command line than here
    match settings:
        case "a shop":
            cut.get_by_label("Ready for").select_option("ebay")
            choose(cut, "Ground")
            cut.get_by_role("slider", name="Strength").fill("35")
        case "a scene":
            choose(cut, "Scene")
            cut.get_by_label("The place in words").fill("in the photographer's studio")
            choose(cut, "AVIF")
        case "a picture behind":
            behind = tmp_path / "background.jpg"
            grey = Image(rgb=np.full((300, 400, 3), 90, np.uint8))
            behind.write_bytes(codec.encode(grey, Output(format=Format.JPEG)))
            choose(cut, "Picture")
            cut.get_by_label("Choose a picture").last.set_input_files(behind)
            expect(cut.locator(".upload")).to_contain_text("background.jpg")
            choose(cut, "WebP")
        case "mended":
            mend(cut)
            for tool, place in (("Erase", (0.4, 0.6)), ("Keep", (0.1, 0.1))):
                choose(cut, tool)
                paint(cut, place, (place[0] + 0.05, place[1]))
            mended(cut)
            (tmp_path / "corrections.json").write_text(json.dumps(corrections(cut)))
            cut.get_by_role("button", name="Done", exact=True).click()
    _, wanted = result(cut)
    (tmp_path / "mug.jpg").write_bytes(photo.read_bytes())
    for way in WAYS:
        text = called(cut, way)
        for old in tmp_path.glob("mug-cutout.*"):
            old.unlink()
        run(text, tmp_path, python=way == "Python")
        made = next(tmp_path.glob("mug-cutout.*"))
        assert shlex.quote(made.name) in text or f'"{made.name}"' in text
        assert made.read_bytes() == wanted, way

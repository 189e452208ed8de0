"""IMG Processing: pictures that are sent, and fetched from the web."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from starlette.testclient import TestClient
from tests.server.dialects.imgprocessing.conftest import (
    NOISE,
    PATH,
    PICTURE,
    TRANSFORMS,
    Serve,
    Site,
    flat,
    ids,
    kept,
    refused,
    seen,
    start,
    transformed,
    upload,
    used,
    written,
)

from mattebox import codec
from mattebox.edit import Format, Output
from mattebox.image import Image


def test_a_photo_that_was_held_sideways_has_the_size_that_is_seen(mine: TestClient) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    stripes = np.vstack([flat(64, 16, 250, 0, 0), flat(64, 32, 0, 0, 250)])
    photo = written(PIL.Image.fromarray(stripes), "JPEG", exif=exif, quality=95)
    image = upload(mine, photo)
    assert (image["width"], image["height"], image["format"]) == (48, 64, "jpeg")
    assert mine.get(f"{PATH}/{image['id']}/download").content == photo
    part, made = transformed(mine, image, "crop", {"x1": 36, "y1": 0, "x2": 48, "y2": 64})
    assert (made["width"], made["height"]) == (12, 64)
    assert np.abs(part.rgb[30, 6].astype(int) - (250, 0, 0)).max() < 12


@pytest.mark.parametrize("form", ["TIFF", "GIF", "BMP", "AVIF"])
def test_what_browsers_do_not_all_show_becomes_a_png(form: str, mine: TestClient) -> None:
    image = upload(mine, written(PIL.Image.fromarray(flat(20, 10, 200, 100, 50)), form))
    assert (image["format"], image["width"], image["height"]) == ("png", 20, 10)
    assert np.abs(seen(mine, image).rgb.astype(int) - (200, 100, 50)).max() <= 3


def test_a_heic_becomes_a_png_that_is_turned(mine: TestClient) -> None:
    file = (Path(__file__).parents[3] / "codec" / "data" / "synthetic.heic").read_bytes()
    image = upload(mine, file)
    assert (image["format"], image["width"], image["height"]) == ("png", 48, 64)
    np.testing.assert_array_equal(seen(mine, image).rgb, codec.decode(file).rgb)


@pytest.mark.parametrize("form", [Format.JPEG, Format.PNG, Format.WEBP])
def test_what_they_show_stays_byte_for_byte(form: Format, mine: TestClient) -> None:
    file = codec.encode(Image(rgb=NOISE), Output(format=form))
    image = upload(mine, file)
    assert (image["format"], image["size"]) == (form.value, len(file))
    assert mine.get(f"{PATH}/{image['id']}/download").content == file


def test_an_image_with_more_bytes_than_may_come_can_be_worked_on(serve: Serve) -> None:
    """A PNG of a photo has many times its bytes."""
    client = start(serve, limits={"max_bytes": 9000})
    image = upload(client, written(PIL.Image.fromarray(NOISE), "JPEG", quality=50))
    _, large = transformed(client, image, "convert", {"format": "png"})
    assert large["size"] > 9000
    for word, body in TRANSFORMS.items():
        transformed(client, large, word, body)
    transformed(client, image, "watermark", {"watermarks": [{"id": large["id"]}]})
    kept(client.post(f"{PATH}/{large['id']}/remove-background"), usage=2)


def test_an_image_from_the_web(serve: Serve, places: dict[str, str], site: Site) -> None:
    client = start(serve, **places, fetch={"allow_networks": ("127.0.0.0/8",), "origins": ("*.test", "127.0.0.*")})
    image = kept(client.post(PATH, json={"name": "far", "url": f"{site.url}/mug.png"}))
    assert (image["name"], image["format"], image["width"], image["height"]) == ("far", "png", 64, 48)
    assert client.get(f"{PATH}/{image['id']}/download").content == PICTURE
    for url in (f"{site.url}/page", f"{site.url}/none", "ftp://127.0.0.1/mug.png", "mug.png", "", 7, None):
        answer = client.post(PATH, json={"name": "far", "url": url})
        assert refused(answer, 400)["errors"][0].startswith("url: ")
    assert (ids(client), used(client)) == ([image["id"]], 1)


def test_only_hosts_that_are_allowed_are_fetched_from(serve: Serve, site: Site) -> None:
    client = start(serve, fetch={"allow_networks": ("127.0.0.0/8",), "origins": ("cdn.example.org",)})
    found = refused(client.post(PATH, json={"name": "far", "url": f"{site.url}/mug.png"}), 400)
    assert found["errors"] == ["url: Pictures may not be fetched from this host."]
    assert (ids(client), used(client), site.asked) == ([], 0, [])

"""IMG Processing's API: on SQLite and files, and on PostgreSQL and S3."""

from __future__ import annotations

import io
import json
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
from fastapi import FastAPI
from httpx2 import Response
from starlette.testclient import TestClient

from mattebox import codec
from mattebox.edit import Format, Output
from mattebox.image import RGB, Alpha, Image
from mattebox.server.dialects import imgprocessing
from mattebox.testing import FakeBackdrops, FakeModels

Serve = Callable[..., TestClient]
Json = dict[str, Any]
PATH = "/v1/images"
UNKNOWN = "image_" + "a" * 24
ONE, TWO = {"x-api-key": "test_one"}, {"x-api-key": "test_two"}
NOISE: RGB = np.random.default_rng(5).integers(0, 256, (48, 64, 3), np.uint8)


def png(rgb: RGB, alpha: Alpha | None = None) -> bytes:
    return codec.encode(Image(rgb=rgb, alpha=alpha), Output())


def flat(width: int, height: int, *color: int) -> RGB:
    return np.full((height, width, 3), color, np.uint8)


def written(picture: PIL.Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


PICTURE = png(NOISE)


@pytest.fixture(params=["sqlite and files", "postgresql and s3"])
def places(request: pytest.FixtureRequest) -> dict[str, str]:
    """Where it is kept."""
    if request.param == "sqlite and files":
        return {}
    return {
        "database_url": request.getfixturevalue("postgres_database"),
        "storage_url": request.getfixturevalue("s3_url"),
    }


def start(serve: Serve, **settings: object) -> TestClient:
    """A server of two keys, asked by the first."""
    client = serve(**{"keys": ("test_one", "test_two"), **settings})
    client.headers.update(ONE)
    return client


@pytest.fixture
def mine(serve: Serve) -> TestClient:
    return start(serve)


def kept(answer: Response, usage: int = 1) -> Json:
    """The image that an answer tells of, after a look at everything that every image has."""
    assert answer.status_code == 201, answer.text
    assert answer.headers["x-image-processing-usage"] == str(usage)
    found: Json = answer.json()
    assert answer.headers["location"] == f"{PATH}/{found['id']}"
    assert list(found) == ["id", "name", "url", "width", "height", "format", "size", "created_at"]
    assert re.fullmatch("image_[a-z0-9]{24}", found["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["created_at"])
    assert abs((datetime.now(UTC) - datetime.fromisoformat(found["created_at"])).total_seconds()) < 60
    return found


def upload(client: TestClient, picture: bytes = PICTURE, name: str = "mug") -> Json:
    return kept(client.post(f"{PATH}/upload", data={"name": name}, files={"image": ("blob", picture)}))


def ids(client: TestClient) -> list[str]:
    return [each["id"] for each in client.get(PATH, params={"take": 100}).json()["data"]]


def used(client: TestClient, headers: Mapping[str, str] = ONE) -> object:
    """What another dialect says of the key."""
    return client.get("/v1/me", headers=headers).json()["usedCredits"]


def seen(client: TestClient, image: Json) -> Image:
    """The image's pixels, after comparing its file with what is said of it."""
    answer = client.get(f"{PATH}/{image['id']}/download")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == f"image/{image['format']}"
    assert len(answer.content) == image["size"]
    picture = codec.decode(answer.content)
    assert (picture.width, picture.height) == (image["width"], image["height"])
    return picture


def refused(answer: Response, status: int) -> Json:
    """What a refusal says, after a look at everything that every refusal has."""
    found: Json = answer.json()
    assert answer.status_code == status, found
    assert answer.headers["content-type"] == "application/problem+json"
    assert list(found) == ["type", "title", "error", "status", "detail", "message", "errors", "request_id"]
    assert found["status"] == status
    assert found["title"] == found["error"]
    assert found["type"] == "https://docs.img-processing.com/errors/" + found["title"].lower().replace(" ", "-")
    assert found["detail"] == found["message"] != ""
    assert found["request_id"] == answer.headers["x-request-id"]
    assert all(isinstance(each, str) for each in found["errors"])
    assert "x-image-processing-usage" not in answer.headers
    return found


def library_usage(client: TestClient) -> tuple[int, int]:
    """Images and bytes that the first key's library counts."""
    assert isinstance(client.app, FastAPI)
    rooms = client.app.state.server
    held = rooms.library.usage(rooms.accounts.authenticate("test_one").id)
    return held.images, held.bytes


# --- the life of an image ----------------------------------------------------------------------------------------


def anyone_reads(client: TestClient, address: str, content: bytes) -> str:
    """Read a published image in every way; its tag."""
    got, head = client.get(address), client.head(address)
    assert (got.status_code, got.content, head.status_code, head.content) == (200, content, 200, b"")
    for answer in (got, head):
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["content-length"] == str(len(content))
        assert answer.headers["cache-control"] == "public, max-age=60, must-revalidate"
        assert answer.headers["x-content-type-options"] == "nosniff"
    tag = got.headers["etag"]
    assert re.fullmatch('"[0-9a-f]{32}"', tag)
    fresh = client.get(address, headers={"If-None-Match": tag})
    assert (fresh.status_code, fresh.content, fresh.headers["etag"]) == (304, b"", tag)
    part = client.get(address, headers={"Range": "bytes=1-7"})
    assert (part.status_code, part.content) == (206, content[1:8])
    assert part.headers["content-range"] == f"bytes 1-7/{len(content)}"
    assert client.get(address, headers={"Range": f"bytes={len(content)}-"}).status_code == 416
    return tag


def test_the_life_of_an_image(serve: Serve, places: dict[str, str], photo: bytes) -> None:
    client = start(serve, **places, public_url="https://cutout.example")
    image = upload(client, photo)
    assert (image["name"], image["url"], image["format"]) == ("mug", None, "png")
    assert (image["width"], image["height"], image["size"]) == (200, 150, len(photo))
    assert client.get(f"{PATH}/{image['id']}").json() == image
    assert client.get(PATH).json() == {"data": [image], "links": {"previous": None, "next": None}}
    assert client.get(f"{PATH}/{image['id']}/download").content == photo

    cutout = kept(client.post(f"{PATH}/{image['id']}/remove-background", json={}), usage=2)
    assert (cutout["name"], cutout["url"], cutout["format"]) == ("mug", None, "png")
    assert cutout["id"] != image["id"]
    pixels = seen(client, cutout)
    assert pixels.alpha is not None
    assert (pixels.alpha[0, 0], pixels.alpha[80, 95]) == (0, 1)
    np.testing.assert_array_equal(pixels.rgb[80, 95], codec.decode(photo).rgb[80, 95])
    assert client.get(f"{PATH}/{image['id']}/download").content == photo
    assert ids(client) == [cutout["id"], image["id"]]
    file = client.get(f"{PATH}/{cutout['id']}/download")
    assert file.headers["cache-control"] == "private, no-cache"

    public = kept(client.post(f"{PATH}/{cutout['id']}/publish"))
    address = f"/images/{cutout['id']}"
    assert public == cutout | {"url": f"https://cutout.example{address}"}
    assert client.get(f"{PATH}/{cutout['id']}").json() == public
    assert kept(client.post(f"{PATH}/{cutout['id']}/publish")) == public  # once more
    client.headers.pop("x-api-key")
    tag = anyone_reads(client, address, file.content)
    assert client.get(f"/images/{image['id']}").status_code == 404  # the other one was not published

    client.headers.update(ONE)
    assert kept(client.post(f"{PATH}/{cutout['id']}/unpublish"), 0) == cutout
    for headers in ({}, {"If-None-Match": tag}, {"Range": "bytes=0-1"}):
        assert client.get(address, headers=headers).status_code == 404
    assert client.get(f"{PATH}/{cutout['id']}/download").content == file.content

    kept(client.post(f"{PATH}/{cutout['id']}/publish"))
    gone = client.delete(f"{PATH}/{cutout['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 404
    for answer in every_use(client, cutout["id"], image["id"]):
        assert cutout["id"] in refused(answer, 404)["message"]
    assert ids(client) == [image["id"]]
    assert client.get(f"{PATH}/{image['id']}/download").content == photo
    assert library_usage(client) == (1, len(photo))
    assert used(client) == 1 + 2 + 3


TRANSFORMS: dict[str, Json] = {
    "convert": {"format": "webp", "quality": 100},
    "resize": {"width": 10},
    "crop": {"x1": 1, "y1": 2, "x2": 9, "y2": 8},
    "rotate": {"angle": 90},
    "mirror": {"mode": "both"},
    "blur": {},
    "modulate": {"brightness": 1.5},
}


def every_use(client: TestClient, image_id: str, other: str) -> Iterator[Response]:
    """Everything that can be done with an image, which is not there; `other` is one that is."""
    path = f"{PATH}/{image_id}"
    yield client.get(path)
    yield client.get(f"{path}/download")
    yield client.delete(path)
    for word in ("publish", "unpublish", "remove-background", "classify", "visualize"):
        yield client.post(f"{path}/{word}")
    for word, body in TRANSFORMS.items():
        yield client.post(f"{path}/{word}", json=body)
    yield client.post(f"{path}/watermark", json={"watermarks": [{"id": other}]})
    yield client.post(f"{PATH}/{other}/watermark", json={"watermarks": [{"id": image_id}]})
    yield client.get(PATH, params={"from": image_id})


def test_every_transform_is_tried_here() -> None:
    assert set(TRANSFORMS) | {"watermark"} == set(imgprocessing.TRANSFORMS)


def test_two_keys_do_not_see_each_other(serve: Serve, places: dict[str, str]) -> None:
    client = start(serve, **places)
    theirs = upload(client)
    kept(client.post(f"{PATH}/{theirs['id']}/publish"))
    client.headers.update(TWO)
    own = upload(client)
    for answer in every_use(client, theirs["id"], own["id"]):
        assert theirs["id"] in refused(answer, 404)["message"]
    assert ids(client) == [own["id"]]
    assert client.get(f"/images/{theirs['id']}").status_code == 200
    assert used(client, TWO) == 1
    client.headers.update(ONE)
    assert ids(client) == [theirs["id"]]
    assert client.get(f"{PATH}/{theirs['id']}/download").content == PICTURE
    client.headers.pop("x-api-key")
    for answer in every_use(client, theirs["id"], own["id"]):
        refused(answer, 401)
    for word in ("upload", "imagine", ""):
        refused(client.post(f"{PATH}/{word}".rstrip("/"), json={}), 401)
    refused(client.get(PATH, headers={"x-api-key": "test_three"}), 401)


# --- what transforms do ------------------------------------------------------------------------------------------


def transformed(client: TestClient, image: Json, word: str, body: object) -> tuple[Image, Json]:
    made = kept(client.post(f"{PATH}/{image['id']}/{word}", json=body))
    assert made["id"] != image["id"]
    assert made["url"] is None
    return seen(client, made), made


@pytest.mark.parametrize(
    ("word", "body", "expected"),
    [
        ("convert", {"format": "png"}, NOISE),
        ("convert", {"format": "webp", "quality": 100}, NOISE),
        ("convert", {"format": "PNG", "quality": 7}, NOISE),
        ("crop", {"x1": 3, "y1": 5, "x2": 40, "y2": 48}, NOISE[5:48, 3:40]),
        ("crop", {"x1": "0", "y1": 0, "x2": 64, "y2": 48}, NOISE),
        ("crop", {"x1": 63, "y1": 47, "x2": 64, "y2": 48}, NOISE[47:, 63:]),
        ("rotate", {"angle": 90}, np.rot90(NOISE, -1)),
        ("rotate", {"angle": "-90.0", "unit": "degrees"}, np.rot90(NOISE)),
        ("rotate", {"angle": 3.14159265, "unit": "radians"}, np.rot90(NOISE, 2)),
        ("rotate", {"angle": 0}, NOISE),
        ("mirror", {"mode": "horizontal"}, NOISE[:, ::-1]),
        ("mirror", {"mode": "vertical"}, NOISE[::-1]),
        ("mirror", {"mode": "both"}, NOISE[::-1, ::-1]),
        ("resize", {"width": 64, "height": 48}, NOISE),
        ("resize", {"height": 48}, NOISE),
        ("resize", {"width": 48, "height": 48, "fit": "cover", "position": "left"}, NOISE[:, :48]),
        ("resize", {"width": 48, "height": 48, "fit": "cover", "position": "top-right"}, NOISE[:, 16:]),
        ("resize", {"width": 48, "height": 48, "fit": "cover", "position": "bottom right"}, NOISE[:, 16:]),
        (
            "resize",
            {"width": 66, "height": 48, "fit": "contain", "letterbox_color": "#ff8000"},
            np.hstack([flat(1, 48, 255, 128, 0), NOISE, flat(1, 48, 255, 128, 0)]),
        ),
        (
            "resize",
            {"width": 64, "height": 50, "fit": "contain", "position": "top"},
            np.vstack([NOISE, flat(64, 2, 0, 0, 0)]),
        ),
        ("modulate", {"brightness": 0, "saturation": 0}, flat(64, 48, 0, 0, 0)),
        ("modulate", {"lightness": 100}, flat(64, 48, 255, 255, 255)),
    ],
)
def test_a_transform_whose_pixels_are_known(word: str, body: Json, expected: RGB, mine: TestClient) -> None:
    image = upload(mine)
    result, made = transformed(mine, image, word, body)
    np.testing.assert_array_equal(result.rgb, expected)
    assert result.alpha is None
    assert made["format"] == (body["format"].lower() if word == "convert" else "png")
    assert mine.get(f"{PATH}/{image['id']}/download").content == PICTURE


def test_a_blur_is_gaussian(mine: TestClient) -> None:
    edge = flat(128, 16, 0, 0, 0)
    edge[:, 64:] = 255
    image = upload(mine, png(edge))
    for body, sigma in (({"sigma": 6}, 6.0), ({}, 20.0), ({"sigma": None}, 20.0)):
        result, _ = transformed(mine, image, "blur", body)
        normal = NormalDist(64, sigma)
        columns = range(40, 88)  # the far edges are mirrored, which a wide blur sees
        expected = [255 * normal.cdf(x + 0.5) for x in columns]
        assert np.abs(result.rgb[8, 40:88, 0] - np.array(expected)).max() < 2


def test_colours_are_modulated(mine: TestClient) -> None:
    image = upload(mine)
    plain, _ = transformed(mine, image, "modulate", {"hue": 360})
    assert np.abs(plain.rgb.astype(int) - NOISE).max() <= 1
    grey, _ = transformed(mine, image, "modulate", {"saturation": "0"})
    assert np.ptp(grey.rgb, axis=2).max() <= 1
    red = upload(mine, png(flat(4, 4, 200, 40, 40)))
    turned, _ = transformed(mine, red, "modulate", {"hue": 120})
    assert turned.rgb[0, 0].argmax() == 1
    darker, _ = transformed(mine, red, "modulate", {"lightness": -10})
    assert darker.rgb[0, 0, 0] < 200


def test_a_turn_by_an_angle_has_corners(mine: TestClient) -> None:
    image = upload(mine, png(flat(60, 40, 10, 200, 30)))
    for body, corner in (({"angle": 45}, (0, 0, 0)), ({"angle": 0.785398, "unit": "radians"}, (0, 0, 0))):
        result, _ = transformed(mine, image, "rotate", body)
        assert (result.width, result.height) == (71, 71)
        assert tuple(result.rgb[0, 0]) == corner
        assert np.abs(result.rgb[35, 35].astype(int) - (10, 200, 30)).max() <= 1
    coloured, _ = transformed(mine, image, "rotate", {"angle": 30, "background_color": "rgb(1, 2, 3)"})
    assert tuple(coloured.rgb[0, 0]) == (1, 2, 3)


def test_a_resize_fills_unless_it_is_told_otherwise(mine: TestClient) -> None:
    halves = flat(80, 40, 255, 0, 0)
    halves[:, 40:] = (0, 0, 255)
    image = upload(mine, png(halves))
    filled, _ = transformed(mine, image, "resize", {"width": 20, "height": 20})
    assert (filled.width, filled.height) == (20, 20)
    assert (tuple(filled.rgb[10, 3]), tuple(filled.rgb[10, 16])) == ((255, 0, 0), (0, 0, 255))
    one, _ = transformed(mine, image, "resize", {"width": 20})
    assert (one.width, one.height) == (20, 10)


def test_formats_are_kept_and_converted(mine: TestClient) -> None:
    see_through = np.zeros((30, 40), np.float32)
    see_through[:, 20:] = 1
    rgb = flat(40, 30, 20, 40, 60)
    image = upload(mine, png(rgb, see_through))
    for word in ("jpeg", "jpg", "JPEG"):
        result, made = transformed(mine, image, "convert", {"format": word, "quality": 90})
        assert (made["format"], result.alpha) == ("jpeg", None)
        assert np.abs(result.rgb[15, 5].astype(int) - 255).max() <= 3
        assert np.abs(result.rgb[15, 35].astype(int) - (20, 40, 60)).max() <= 3
    turned, made = transformed(mine, made, "mirror", {"mode": "horizontal"})
    assert made["format"] == "jpeg"
    assert np.abs(turned.rgb[15, 5].astype(int) - (20, 40, 60)).max() <= 3
    webp, made = transformed(mine, image, "convert", {"format": "webp", "quality": 100})
    np.testing.assert_array_equal(webp.alpha, see_through)
    small = [transformed(mine, image, "convert", {"format": "jpeg", "quality": each})[1] for each in (5, 95)]
    assert small[0]["size"] < small[1]["size"]


def test_watermarks_lie_where_they_are_put(serve: Serve, places: dict[str, str]) -> None:
    client = start(serve, **places)
    image = upload(client)
    red = upload(client, png(flat(10, 8, 255, 0, 0)))
    half = upload(client, png(flat(6, 6, 0, 255, 0), np.full((6, 6), 1, np.float32)))
    marks = [
        {"id": red["id"], "left": 5, "top": 6},
        {"id": red["id"], "left": -8, "top": -5},
        {"id": half["id"], "left": 12, "top": "10"},
        {"id": half["id"]},
    ]
    result, made = transformed(client, image, "watermark", {"watermarks": marks, "name": "marked"})
    expected = NOISE.copy()
    expected[6:14, 5:15] = (255, 0, 0)
    expected[:3, :2] = (255, 0, 0)
    expected[10:16, 12:18] = (0, 255, 0)
    expected[:6, :6] = (0, 255, 0)
    np.testing.assert_array_equal(result.rgb, expected)
    assert made["name"] == "marked"
    assert [client.get(f"{PATH}/{each['id']}").json() for each in (image, red, half)] == [image, red, half]


def test_a_transparent_watermark_shines_through(mine: TestClient) -> None:
    image = upload(mine, png(flat(8, 8, 0, 0, 0)))
    mark = upload(mine, png(flat(8, 8, 255, 255, 255), np.full((8, 8), 0.4, np.float32)))
    result, _ = transformed(mine, image, "watermark", {"watermarks": [{"id": mark["id"]}]})
    assert np.abs(result.rgb.astype(int) - 102).max() <= 1


def test_names_are_kept_or_given(mine: TestClient) -> None:
    image = upload(mine, name="  Тарілка 🍽  ")
    assert image["name"] == "Тарілка 🍽"
    for name, expected in ((None, "Тарілка 🍽"), ("x" * 30, "x" * 30), (" a ", "a")):
        for word, body in (TRANSFORMS | {"remove-background": {}}).items():
            answer = mine.post(f"{PATH}/{image['id']}/{word}", json=body | {"name": name})
            assert kept(answer, 2 if word == "remove-background" else 1)["name"] == expected
    assert mine.get(f"{PATH}/{image['id']}").json()["name"] == "Тарілка 🍽"


@pytest.mark.parametrize("word", ["remove-background", "blur", "publish", "unpublish"])
def test_no_body_is_an_empty_one(word: str, mine: TestClient) -> None:
    image = upload(mine)
    path, usage = f"{PATH}/{image['id']}/{word}", {"remove-background": 2, "unpublish": 0}.get(word, 1)
    kept(mine.post(path), usage)
    kept(mine.post(path, json={}), usage)
    for content in (b"", b" \r\n", b"\xef\xbb\xbf{}", b'{"unknown": 1, "name": null}'):
        kept(mine.post(path, content=content, headers={"Content-Type": "application/json; charset=utf-8"}), usage)


# --- what comes in -----------------------------------------------------------------------------------------------


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
    file = (Path(__file__).parents[2] / "codec" / "data" / "synthetic.heic").read_bytes()
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


@dataclass(frozen=True)
class Site:
    url: str
    asked: list[str]


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = {"/mug.png": PICTURE, "/page": b"<html>no picture</html>"}.get(self.path)
            self.send_response(200 if content else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield Site(f"http://127.0.0.1:{server.server_port}", asked)
        server.shutdown()
        thread.join()


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


# --- listing -----------------------------------------------------------------------------------------------------


def test_a_listing_is_followed_both_ways(serve: Serve, places: dict[str, str]) -> None:
    client = start(serve, **places)
    tiny = png(flat(1, 1, 0, 0, 0))
    made = [upload(client, tiny, f"image {number}") for number in range(25)][::-1]
    assert client.get(PATH).json()["data"] == made[:10]
    page = client.get(PATH, params={"take": "undefined", "from": "undefined"})  # as the vendor's client sends it
    found, forward = page.json(), []
    assert found["links"]["previous"] is None
    while True:
        forward.append(found)
        if found["links"]["next"] is None:
            break
        assert found["links"]["next"].startswith("http://testserver/v1/images?take=10&from=image_")
        found = client.get(found["links"]["next"]).json()
    assert [len(each["data"]) for each in forward] == [10, 10, 5]
    assert [image for each in forward for image in each["data"]] == made
    for expected in forward[-2::-1]:
        found = client.get(found["links"]["previous"]).json()
        assert found["data"] == expected["data"]
    assert found["links"]["previous"] is None
    middle = client.get(PATH, params={"take": 3, "from": made[12]["id"]}).json()
    assert middle["data"] == made[12:15]
    whole = client.get(PATH, params={"take": 100}).json()
    assert whole == {"data": made, "links": {"previous": None, "next": None}}
    client.headers.update(TWO)
    assert client.get(PATH).json() == {"data": [], "links": {"previous": None, "next": None}}
    refused(client.get(PATH, params={"from": made[0]["id"]}), 404)


def test_the_addresses_of_pages_can_be_the_vendors(serve: Serve) -> None:
    client = start(serve, listing_url="https://api.img-processing.com/", public_url="https://cutout.example")
    for _ in range(2):
        upload(client)
    newest, oldest = ids(client)
    links = client.get(PATH, params={"take": 1}).json()["links"]
    assert links == {"previous": None, "next": f"https://api.img-processing.com/v1/images?take=1&from={oldest}"}
    back = client.get(PATH, params={"take": 1, "from": oldest}).json()["links"]
    assert back == {"previous": f"https://api.img-processing.com/v1/images?take=1&from={newest}", "next": None}
    image = kept(client.post(f"{PATH}/{newest}/publish"))
    assert image["url"] == f"https://cutout.example/images/{newest}"


# --- credits and room --------------------------------------------------------------------------------------------


def test_what_is_done_is_counted_and_what_fails_is_not(serve: Serve, places: dict[str, str]) -> None:
    client = start(serve, **places, accounts={"credits": 6})
    image = upload(client)
    refused(client.post(f"{PATH}/upload", data={"name": "n"}, files={"image": PICTURE[:2000]}), 400)
    refused(client.post(f"{PATH}/{image['id']}/crop", json={"x1": 0, "y1": 0, "x2": 65, "y2": 1}), 400)
    refused(client.post(f"{PATH}/{UNKNOWN}/publish"), 404)
    refused(client.post(f"{PATH}/{UNKNOWN}/remove-background"), 404)
    assert used(client) == 1
    kept(client.post(f"{PATH}/{image['id']}/remove-background"), usage=2)
    assert used(client) == 3
    kept(client.post(f"{PATH}/{image['id']}/blur"))
    kept(client.post(f"{PATH}/{image['id']}/publish"))
    assert used(client) == 5
    before = ids(client)
    assert len(before) == 3
    refused(client.post(f"{PATH}/{image['id']}/remove-background"), 402)  # two, and one is left
    assert (used(client), ids(client)) == (5, before)
    kept(client.post(f"{PATH}/{image['id']}/mirror", json={"mode": "both"}))
    for word in ("blur", "publish", "remove-background"):
        assert "credits" in refused(client.post(f"{PATH}/{image['id']}/{word}"), 402)["message"]
    refused(client.post(f"{PATH}/upload", data={"name": "n"}, files={"image": PICTURE}), 402)
    kept(client.post(f"{PATH}/{image['id']}/unpublish"), 0)  # also without any left
    assert (used(client), len(ids(client)), used(client, TWO)) == (6, 4, 0)
    assert client.get(f"{PATH}/{image['id']}/download").content == PICTURE  # looking is free
    assert client.delete(f"{PATH}/{image['id']}").status_code == 204


def test_a_defect_is_paid_back(serve: Serve) -> None:
    def broken(photo: RGB) -> Alpha:
        raise ZeroDivisionError

    client = start(serve, models=FakeModels(broken))
    image = upload(client)
    refused(client.post(f"{PATH}/{image['id']}/remove-background"), 500)
    assert (used(client), ids(client)) == (1, [image["id"]])


def test_a_key_may_keep_so_many_images(serve: Serve, places: dict[str, str]) -> None:
    client = start(serve, **places, library={"images": 2})
    first, _ = upload(client), upload(client)
    before = ids(client), used(client), library_usage(client)
    words: dict[str, Json] = TRANSFORMS | {"remove-background": {}}
    answers = [client.post(f"{PATH}/{first['id']}/{word}", json=body) for word, body in words.items()]
    answers.append(client.post(f"{PATH}/upload", data={"name": "n"}, files={"image": PICTURE}))
    for answer in answers:
        assert refused(answer, 409)["message"] == "This key keeps 2 images already; delete some first."
    assert (ids(client), used(client), library_usage(client)) == before
    client.headers.update(TWO)
    upload(client)
    client.headers.update(ONE)
    kept(client.post(f"{PATH}/{first['id']}/publish"))
    assert client.delete(f"{PATH}/{first['id']}").status_code == 204
    upload(client)


def test_a_key_may_keep_so_many_bytes(serve: Serve, tmp_path: Path) -> None:
    client = start(serve, library={"bytes": len(PICTURE) + 100})
    image = upload(client)
    bmp = written(PIL.Image.fromarray(flat(200, 200, 1, 2, 3)), "BMP")
    for answer in (
        client.post(f"{PATH}/upload", data={"name": "n"}, files={"image": PICTURE}),
        client.post(f"{PATH}/upload", data={"name": "n"}, files={"image": bmp}),
        client.post(f"{PATH}/{image['id']}/mirror", json={"mode": "both"}),
    ):
        assert "bytes" in refused(answer, 409)["message"]
    assert (ids(client), used(client), library_usage(client)) == ([image["id"]], 1, (1, len(PICTURE)))
    assert len(stored(tmp_path)) == 1


# --- what is not offered -----------------------------------------------------------------------------------------


def test_a_picture_from_words(serve: Serve, places: dict[str, str]) -> None:
    client = start(serve, backdrops=FakeBackdrops(), **places)
    made = kept(client.post(f"{PATH}/imagine", json={"prompt": " a mug ", "seed": 4, "name": "mug"}))
    assert (made["name"], made["width"], made["height"], made["format"]) == ("mug", 1024, 1024, "png")
    assert (seen(client, made).rgb == FakeBackdrops.color("a mug", 4)).all()
    assert client.get(f"/api/v1/images/{made['id']}").json()["made_by"] == "imagine"
    plain = client.post(f"{PATH}/imagine", json={"prompt": "a mug", "negative_prompt": "tea"})
    assert plain.headers["x-mattebox-warning"] == "The generator is not told negative_prompt."
    made = kept(plain)
    assert (made["name"], used(client)) == ("image", 2)
    assert (seen(client, made).rgb == FakeBackdrops.color("a mug")).all()
    assert kept(client.post(f"{PATH}/{made['id']}/mirror", json={"mode": "both"}))["width"] == 1024


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"prompt": "x" * 2001}, "prompt"),
        ({"prompt": "x" * 10_000}, "prompt"),
        ({"prompt": ["a mug"]}, "prompt"),
        ({"prompt": "a mug", "seed": 1.5}, "seed"),
        ({"prompt": "a mug", "seed": "four"}, "seed"),
        ({"prompt": "a mug", "negative_prompt": 3}, "negative_prompt"),
        ({"prompt": "a mug", "name": "n" * 31}, "name"),
        ({"prompt": "a mug", "name": ""}, "name"),
    ],
)
def test_words_that_no_picture_is_made_of(body: Json, parameter: str, serve: Serve) -> None:
    client = start(serve, backdrops=FakeBackdrops())
    assert refused(client.post(f"{PATH}/imagine", json=body), 400)["errors"][0].startswith(f"{parameter}: ")
    assert (ids(client), used(client)) == ([], 0)


def test_what_no_model_is_there_for(mine: TestClient) -> None:
    image = upload(mine)
    asked: dict[str, Json] = {
        "imagine": {"prompt": "a mug", "negative_prompt": "tea", "name": "mug", "seed": 4},
        f"{image['id']}/classify": {},
        f"{image['id']}/visualize": {"prompt": "What is it?", "model": "llava"},
    }
    for path, body in asked.items():
        assert refused(mine.post(f"{PATH}/{path}", json=body), 501)["title"] == "Not Implemented"
    for prompt in (None, "", 1):
        assert refused(mine.post(f"{PATH}/imagine", json={"prompt": prompt}), 400)["errors"][0].startswith("prompt: ")
    assert (ids(mine), used(mine)) == ([image["id"]], 1)


def test_an_upload_that_is_no_form_is_told_so(mine: TestClient) -> None:
    for body in ({"json": {"name": "mug", "image": "aGVsbG8="}}, {"content": PICTURE}, {}):
        found = refused(mine.post(f"{PATH}/upload", **body), 400)
        assert "multipart/form-data" in found["message"]
    assert (ids(mine), used(mine)) == ([], 0)


# --- all at once -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_hundred_transforms_at_once(serve: Serve, places: dict[str, str]) -> None:
    client = start(serve, **places)
    image = upload(client)

    def one(number: int) -> tuple[int, Json, int]:
        left, top = number % 20 * 2, number // 20 * 3
        body = {"x1": left, "y1": top, "x2": left + 20, "y2": top + 15, "name": f"part {number}"}
        again = 0
        while True:
            answer = client.post(f"{PATH}/{image['id']}/crop", json=body)
            if answer.status_code != 429:
                return number, kept(answer), again
            assert int(answer.headers["retry-after"]) >= 1
            refused(answer, 429)
            again += 1
            time.sleep(0.1)

    with ThreadPoolExecutor(80) as threads:
        done = list(threads.map(one, range(200)))
    assert len({made["id"] for _, made, _ in done}) == 200
    for number, made, _ in done:
        left, top = number % 20 * 2, number // 20 * 3
        assert made["name"] == f"part {number}"
        np.testing.assert_array_equal(seen(client, made).rgb, NOISE[top : top + 15, left : left + 20])
    listed: Counter[str] = Counter()
    link: str | None = f"{PATH}?take=100"
    while link:
        page = client.get(link).json()
        listed.update(each["id"] for each in page["data"])
        link = page["links"]["next"]
    assert listed == Counter([image["id"], *(made["id"] for _, made, _ in done)])
    assert (used(client), library_usage(client)[0]) == (201, 201)


def test_who_comes_when_all_is_busy_may_come_again(serve: Serve) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(photo: RGB) -> Alpha:
        entered.set()
        assert leave.wait(20)
        return np.ones((8, 8), np.float32)

    client = start(serve, models=FakeModels(slow), service={"workers": 1, "queue": 0})
    image = upload(client)
    with ThreadPoolExecutor(1) as thread:
        cutout = thread.submit(client.post, f"{PATH}/{image['id']}/remove-background")
        assert entered.wait(20)
        for word, body in (TRANSFORMS | {"remove-background": {}}).items():
            answer = client.post(f"{PATH}/{image['id']}/{word}", json=body)
            assert refused(answer, 429)["title"] == "Too Many Requests"
            assert 1 <= int(answer.headers["retry-after"]) <= 24  # of the 60 seconds that a request may take
        assert (used(client), ids(client)) == (3, [image["id"]])
        assert client.get(f"{PATH}/{image['id']}/download").content == PICTURE
        leave.set()
        made = kept(cutout.result(), usage=2)
    blurred = kept(client.post(f"{PATH}/{image['id']}/blur"))
    assert (used(client), ids(client)) == (4, [blurred["id"], made["id"], image["id"]])


# --- what is refused ---------------------------------------------------------------------------------------------


def stored(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file())


@dataclass(frozen=True)
class Scene:
    client: TestClient
    image: str
    mark: str
    folder: Path

    def state(self) -> tuple[object, ...]:
        return self.client.get(PATH).json(), used(self.client), library_usage(self.client), stored(self.folder)


@pytest.fixture
def scene(mine: TestClient, tmp_path: Path) -> Iterator[Scene]:
    """Two images, and whatever is done in between has changed nothing."""
    found = Scene(mine, upload(mine)["id"], upload(mine, png(flat(4, 4, 9, 9, 9)))["id"], tmp_path)
    before = found.state()
    yield found
    assert found.state() == before
    assert len(stored(tmp_path)) == 2


HUGE = 10**400
NO_QUALITIES: list[object] = [0, 101, -1, 50.5, "x", True, []]
NO_SIZES: list[object] = [0, 10_001, -5, 2.5, "ten", "1e3", math.nan, math.inf, HUGE, {}]
NO_ANGLES: list[object] = [math.nan, math.inf, "NaN", "inf", "1e999", "a", True, [], 36_001, HUGE, str(HUGE)]
NO_SIGMAS: list[object] = [0, 0.2, 1001, -1, math.nan, "x"]
NO_NAMES: list[object] = ["", "  ", "x" * 31, 7, ["a"], "a\nb", "a\0b", "x" * 9000]


@pytest.mark.parametrize(
    ("word", "body", "member"),
    [
        ("convert", {}, "format"),
        ("convert", {"format": ""}, "format"),
        ("convert", {"format": "gif"}, "format"),
        ("convert", {"format": 3}, "format"),
        *(("convert", {"format": "jpeg", "quality": each}, "quality") for each in NO_QUALITIES),
        ("convert", {"format": "png", "quality": 101}, "quality"),
        ("resize", {}, "width"),
        *(("resize", {side: each}, side) for each in NO_SIZES for side in ("width", "height")),
        ("resize", {"width": 10_000, "height": 10_000}, "width"),
        ("resize", {"width": 10, "fit": "inside"}, "fit"),
        ("resize", {"width": 10, "height": 9, "position": "middle"}, "position"),
        ("resize", {"width": 10, "letterbox_color": "greenish"}, "letterbox_color"),
        ("crop", {}, "x1"),
        ("crop", {"x1": 0, "y1": 0, "x2": 5}, "y2"),
        ("crop", {"x1": 0, "y1": 0, "x2": 65, "y2": 5}, "x2"),
        ("crop", {"x1": 0, "y1": 0, "x2": 5, "y2": 49}, "y2"),
        ("crop", {"x1": 64, "y1": 0, "x2": 65, "y2": 5}, "x1"),
        ("crop", {"x1": 0, "y1": 48, "x2": 5, "y2": 49}, "y1"),
        ("crop", {"x1": -1, "y1": 0, "x2": 5, "y2": 5}, "x1"),
        ("crop", {"x1": 5, "y1": 0, "x2": 5, "y2": 5}, "x2"),
        ("crop", {"x1": 5, "y1": 9, "x2": 6, "y2": 8}, "y2"),
        ("crop", {"x1": 1.5, "y1": 0, "x2": 5, "y2": 5}, "x1"),
        ("crop", {"x1": 0, "y1": 0, "x2": 2**31, "y2": 5}, "x2"),
        ("rotate", {}, "angle"),
        *(("rotate", {"angle": each}, "angle") for each in NO_ANGLES),
        ("rotate", {"angle": 20_000, "unit": "radians"}, "angle"),
        ("rotate", {"angle": 1, "unit": "turns"}, "unit"),
        ("rotate", {"angle": 1, "background_color": "#12345"}, "background_color"),
        ("mirror", {}, "mode"),
        ("mirror", {"mode": "diagonal"}, "mode"),
        *(("blur", {"sigma": each}, "sigma") for each in NO_SIGMAS),
        ("modulate", {"brightness": -1}, "brightness"),
        ("modulate", {"saturation": 11}, "saturation"),
        ("modulate", {"hue": math.inf}, "hue"),
        ("modulate", {"lightness": 101}, "lightness"),
        ("watermark", {}, "watermarks"),
        ("watermark", {"watermarks": []}, "watermarks"),
        ("watermark", {"watermarks": "image"}, "watermarks"),
        ("watermark", {"watermarks": [{"id": UNKNOWN}] * 6}, "watermarks"),
        ("watermark", {"watermarks": ["image"]}, "watermarks[0]"),
        ("watermark", {"watermarks": [{"left": 1}]}, "watermarks[0].id"),
        ("watermark", {"watermarks": [{"id": UNKNOWN}, {"id": UNKNOWN, "top": "x"}]}, "watermarks[1].top"),
        *(
            (word, {**TRANSFORMS.get(word, {}), "name": name}, "name")
            for word in (*TRANSFORMS, "remove-background")
            for name in ("", "  ", "x" * 31)
        ),
        *(("blur", {"name": each}, "name") for each in NO_NAMES),
    ],
)
def test_a_member_that_cannot_be_meant_is_named(word: str, body: Json, member: str, scene: Scene) -> None:
    content = json.dumps(body)  # which writes NaN and Infinity bare
    answer = scene.client.post(
        f"{PATH}/{scene.image}/{word}", content=content, headers={"Content-Type": "application/json"}
    )
    found = refused(answer, 400)
    assert found["errors"] == [f"{member}: {found['message']}"]


def test_a_number_that_no_float_can_hold_is_refused(scene: Scene) -> None:
    for number in ("1e999", "-1e999", "Infinity", "NaN"):
        answer = scene.client.post(f"{PATH}/{scene.image}/rotate", content=f'{{"angle": {number}}}')
        assert refused(answer, 400)["errors"][0].startswith("angle: ")


def test_watermarks_that_cannot_be_put(scene: Scene) -> None:
    def put(*marks: Json) -> Response:
        return scene.client.post(f"{PATH}/{scene.image}/watermark", json={"watermarks": list(marks)})

    for status, answer in (
        (400, put({"id": scene.image})),
        (400, put({"id": scene.mark}, {"id": scene.image, "left": 4})),
        (404, put({"id": UNKNOWN})),
        (404, put({"id": scene.mark}, {"id": "../" + scene.mark})),
        (400, put({"id": scene.mark, "left": 64})),
        (400, put({"id": scene.mark, "top": -4})),
        (400, put({"id": scene.mark}, {"id": scene.mark, "left": 10**9})),
    ):
        assert refused(answer, status)["errors"][0].startswith("watermarks: ")


@pytest.mark.parametrize(
    ("query", "status", "member"),
    [
        ({"take": "0"}, 400, "take"),
        ({"take": "101"}, 400, "take"),
        ({"take": "-1"}, 400, "take"),
        ({"take": "abc"}, 400, "take"),
        ({"take": "1.5"}, 400, "take"),
        ({"take": "9" * 30}, 400, "take"),
        ({"from": UNKNOWN}, 404, "from"),
        ({"from": "unknown"}, 404, "from"),
        ({"from": "image_" + "ä" * 24}, 404, "from"),
        ({"from": "'; DROP TABLE images; --"}, 404, "from"),
        ({"from": "x" * 9000}, 400, "from"),
    ],
)
def test_a_page_that_there_is_not(query: dict[str, str], status: int, member: str, scene: Scene) -> None:
    assert refused(scene.client.get(PATH, params=query), status)["errors"][0].startswith(f"{member}: ")


@pytest.mark.parametrize(
    "strange",
    [
        UNKNOWN,
        "x",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "image_%2F" + "a" * 22,
        UNKNOWN.upper(),
        UNKNOWN + "%00",
        UNKNOWN + "%0a",
        "image_" + "a" * 5000,
        "image_ä",
        "%ff%fe",
        "図",
        "image_*",
        "%20",
    ],
)
def test_an_id_that_is_none(strange: str, scene: Scene) -> None:
    for path in (f"{PATH}/{strange}", f"{PATH}/{strange}/download"):
        assert len(refused(scene.client.get(path), 404)["message"]) < 100
    refused(scene.client.delete(f"{PATH}/{strange}"), 404)
    for word in ("blur", "publish", "unpublish", "remove-background", "classify"):
        refused(scene.client.post(f"{PATH}/{strange}/{word}"), 404)
    assert scene.client.get(f"/images/{strange}").status_code == 404


def test_ways_that_there_are_not(scene: Scene) -> None:
    for method, path in (("PUT", PATH), ("PATCH", f"{PATH}/{scene.image}"), ("GET", f"{PATH}/{scene.image}/blur")):
        assert refused(scene.client.request(method, path), 405)["title"] == "Method Not Allowed"
    refused(scene.client.post(f"{PATH}/{scene.image}/sharpen", json={}), 404)
    for method in ("POST", "PUT", "DELETE"):
        assert scene.client.request(method, f"/images/{scene.image}").status_code == 405


@pytest.mark.parametrize("word", ["blur", "remove-background", "publish", "watermark"])
def test_a_body_that_is_no_object(word: str, scene: Scene) -> None:
    path = f"{PATH}/{scene.image}/{word}"
    typed = {"Content-Type": "application/json"}
    for content in (b"[]", b"[1, 2]", b'"name"', b"null", b"7", b"{", b'{"name": "\\ud800"}', b"\xff"):
        refused(scene.client.post(path, content=content, headers=typed), 400)
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "image/png"):
        assert "JSON" in refused(scene.client.post(path, content=b"{}", headers={"Content-Type": kind}), 400)["message"]
    refused(scene.client.post(PATH, content=b"[]", headers=typed), 400)


def test_an_upload_that_is_no_good(scene: Scene) -> None:
    def send(picture: bytes | None = PICTURE, **data: str) -> Response:
        files = {} if picture is None else {"image": ("blob", picture)}
        return scene.client.post(f"{PATH}/upload", data=data, files=files)

    jpeg = codec.encode(Image(rgb=NOISE), Output(format=Format.JPEG))
    for status, member, answer in (
        (400, "name", send()),
        (400, "name", send(name="")),
        (400, "name", send(name=" ")),
        (400, "name", send(name="x" * 31)),
        (400, "name", scene.client.post(PATH, json={"name": "x" * 31, "url": "https://a.test/"})),
        (400, "name", scene.client.post(PATH, json={"name": "", "url": "https://a.test/"})),
        (400, "name", scene.client.post(PATH, json={"url": "https://a.test/"})),
        (400, "url", scene.client.post(PATH, json={"name": "a"})),
        (400, "image", send(None, name="a")),
        (400, "image", send(b"", name="a")),
        (400, "image", send(b"a letter", name="a")),
        (400, "image", send(b"<svg xmlns='http://www.w3.org/2000/svg'/>", name="a")),
        (400, "image", send(PICTURE[:4000], name="a")),
        (400, "image", send(jpeg[: len(jpeg) // 2], name="a")),
        (413, "image", send(b"\xff\xd8\xff" + bytes(21 * 10**6), name="a")),
        (400, "image", scene.client.post(f"{PATH}/upload", data={"name": "a", "image": "text"})),
        (400, "image", scene.client.post(f"{PATH}/upload", json={"name": "a"})),
    ):
        assert refused(answer, status)["errors"][0].startswith(f"{member}: ")
    broken = scene.client.post(f"{PATH}/upload", content=b"x", headers={"Content-Type": "multipart/form-data"})
    refused(broken, 400)


def test_a_picture_of_too_many_pixels(serve: Serve) -> None:
    client = start(serve, limits={"max_pixels": 4000})
    image = upload(client)
    answer = client.post(f"{PATH}/upload", data={"name": "a"}, files={"image": png(flat(64, 64, 0, 0, 0))})
    assert refused(answer, 413)["errors"][0].startswith("image: ")
    for word, body, member in (
        ("resize", {"width": 100}, "width"),
        ("resize", {"height": 100}, "height"),
        ("resize", {"width": 64, "height": 64, "fit": "contain"}, "width"),
        ("rotate", {"angle": 45}, "angle"),
    ):
        found = refused(client.post(f"{PATH}/{image['id']}/{word}", json=body), 400)
        assert found["errors"][0].startswith(f"{member}: ")
    assert (ids(client), used(client)) == ([image["id"]], 1)


def test_a_request_that_is_too_large(scene: Scene) -> None:
    refused(scene.client.post(f"{PATH}/{scene.image}/blur", content=b" " * (33 * 2**20)), 413)


def test_the_vendors_limit_holds_beside_the_servers(serve: Serve) -> None:
    wide: npt.NDArray[np.uint8] = np.zeros((1, 1, 3), np.uint8)
    padded = png(wide) + bytes(imgprocessing.MOST_BYTES)
    client = start(serve, limits={"max_bytes": 10**9})
    refused(client.post(f"{PATH}/upload", data={"name": "a"}, files={"image": padded}), 413)

"""IMG Processing: what is refused, and in which words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from httpx2 import Response
from starlette.testclient import TestClient
from tests.server.dialects.imgprocessing.conftest import (
    NOISE,
    PATH,
    PICTURE,
    TRANSFORMS,
    UNKNOWN,
    Json,
    Serve,
    flat,
    ids,
    library_usage,
    png,
    refused,
    start,
    stored,
    upload,
    used,
)

from mattebox import codec
from mattebox.edit import Format, Output
from mattebox.image import Image
from mattebox.server.dialects import imgprocessing


@dataclass(frozen=True)
class Scene:
    client: TestClient
    image: str
    mark: str
    folder: Path

    def state(self) -> tuple[object, ...]:
        return self.client.get(PATH).json(), used(self.client), library_usage(self.client), stored(self.folder)


@pytest.fixture(scope="module")
def gallery(serve_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> tuple[Scene, tuple[object, ...]]:
    """Two images, and how everything was when they had come."""
    folder = tmp_path_factory.mktemp("gallery")
    client = start(serve_all, data_dir=folder)
    found = Scene(client, upload(client)["id"], upload(client, png(flat(4, 4, 9, 9, 9)))["id"], folder)
    assert len(stored(folder)) == 2
    return found, found.state()


@pytest.fixture
def scene(gallery: tuple[Scene, tuple[object, ...]]) -> Iterator[Scene]:
    """Two images, and whatever is done in between has changed nothing."""
    found, before = gallery
    yield found
    assert found.state() == before


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

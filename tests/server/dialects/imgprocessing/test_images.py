"""IMG Processing: the life of images, lists of them, and what they cost."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from httpx2 import Response
from starlette.testclient import TestClient
from tests.server.dialects.imgprocessing.conftest import (
    NOISE,
    ONE,
    PATH,
    PICTURE,
    TRANSFORMS,
    TWO,
    UNKNOWN,
    Json,
    Serve,
    flat,
    ids,
    kept,
    library_usage,
    png,
    refused,
    seen,
    start,
    stored,
    upload,
    used,
    written,
)

from mattebox import codec
from mattebox.image import RGB, Alpha
from mattebox.server.dialects import imgprocessing
from mattebox.testing import FakeBackdrops, FakeModels

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


def test_an_image_that_the_native_api_wrote_as_avif_is_shown(mine: TestClient) -> None:
    first = upload(mine, png(flat(40, 30, 9, 99, 199)), "mug")["id"]
    made = mine.post(f"/api/v1/images/{first}/convert", json={"format": "avif"}).json()["id"]
    assert mine.get(f"{PATH}/{made}").json()["format"] == "avif"
    assert [each["format"] for each in mine.get(PATH).json()["data"]] == ["avif", "png"]


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

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
import pytest
from httpx2 import Response
from starlette.testclient import TestClient
from tests.server.dialects.conftest import Receiver

from mattebox import codec, picture_files
from mattebox.edit import Color, Fit, Format, Output
from mattebox.image import Image
from mattebox.transforms import Anchor, Blur, Crop, Flip, Mirror, Modulate, Resize, Rotate, Transform

PATH = "/api/v1/images"
NOBODY = "image_" + "a" * 24
KEYS = {"id", "name", "url", "width", "height", "format", "size", "created_at", "parent", "made_by"}
Case: TypeAlias = tuple[str, dict[str, object], Transform | None, Output | None]
"""A change's name, its options, and what they mean."""
CHANGES: list[Case] = [
    ("convert", {"format": "webp", "quality": 100}, None, Output(format=Format.WEBP, quality=100)),
    ("resize", {"width": 50}, Resize(width=50), None),
    (
        "resize",
        {"width": 60, "height": 60, "fit": "contain", "position": "top-left", "letterbox": "#ff0000"},
        Resize(width=60, height=60, fit=Fit.CONTAIN, position=Anchor.TOP_LEFT, letterbox=Color(255, 0, 0)),
        None,
    ),
    ("resize", {"height": 70, "width": 70, "fit": "cover"}, Resize(width=70, height=70, fit=Fit.COVER), None),
    (
        "crop",
        {"left": 10, "top": 0, "right": 110, "bottom": "60", "format": "jpg", "quality": 70},
        Crop(left=10, top=0, right=110, bottom=60),
        Output(format=Format.JPEG, quality=70),
    ),
    ("rotate", {"degrees": 30}, Rotate(degrees=30), None),
    ("rotate", {"degrees": -90.0, "background": "white"}, Rotate(degrees=-90, background=Color(255, 255, 255)), None),
    ("mirror", {"mode": "vertical"}, Mirror(mode=Flip.VERTICAL), None),
    ("blur", {"sigma": 2.5}, Blur(sigma=2.5), None),
    (
        "modulate",
        {"brightness": 1.2, "saturation": 0, "hue": 30, "lightness": -5},
        Modulate(brightness=1.2, saturation=0, hue=30, lightness=-5),
        None,
    ),
    ("modulate", {"hue": 90}, Modulate(hue=90), None),
]

Serve = Callable[..., TestClient]


def told(answer: Response, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def made(answer: Response) -> dict[str, Any]:
    found = told(answer, 201)
    assert set(found) == KEYS
    assert answer.headers["location"] == f"http://testserver{PATH}/{found['id']}"
    return found


def refused(answer: Response) -> tuple[int, str, str | None]:
    found = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert found["status"] == answer.status_code
    return answer.status_code, found["kind"], found["parameter"]


def file_of(client: TestClient, image: dict[str, Any]) -> bytes:
    answer = client.get(f"{PATH}/{image['id']}/file")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == f"image/{image['format']}"
    assert len(answer.content) == image["size"]
    return answer.content


def keep(client: TestClient, picture: bytes, **options: str) -> dict[str, Any]:
    return made(client.post(PATH, content=picture, params=options))


@pytest.fixture
def two(serve: Serve) -> TestClient:
    """A server for the keys `one`, who asks, and `two`."""
    client = serve(keys=("one", "two"))
    client.headers["Authorization"] = "Bearer one"
    return client


def test_the_life_of_an_image(client: TestClient, photo: bytes) -> None:
    image = keep(client, photo, name="  a mug ")
    path = f"{PATH}/{image['id']}"
    assert image | {"id": "", "created_at": ""} == {
        "id": "",
        "name": "a mug",
        "url": None,
        "width": 200,
        "height": 150,
        "format": "png",
        "size": len(photo),
        "created_at": "",
        "parent": None,
        "made_by": "upload",
    }
    assert image["created_at"].endswith("Z")
    assert abs((datetime.fromisoformat(image["created_at"]) - datetime.now(UTC)).total_seconds()) < 60
    assert told(client.get(path)) == image
    assert file_of(client, image) == photo
    assert told(client.get("/api/v1/library")) == {
        "images": 1,
        "bytes": len(photo),
        "allowed_images": 10_000,
        "allowed_bytes": 10 * 2**30,
    }
    public = f"http://testserver/images/{image['id']}"
    assert client.get(public).status_code == 404
    for _ in range(2):
        assert told(client.post(path + "/publish")) == image | {"url": public}
    assert client.get(public).content == photo
    assert told(client.post(path + "/unpublish")) == image
    assert client.get(public).status_code == 404
    gone = client.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    for answer in (client.get(path), client.get(path + "/file"), client.delete(path), client.post(path + "/publish")):
        assert refused(answer) == (404, "not_found", None)
    assert told(client.get(PATH)) == {"images": [], "previous": None, "next": None}
    assert told(client.get("/api/v1/library"))["images"] == 0


def test_every_way_in_keeps_the_same(client: TestClient, photo: bytes) -> None:
    text = base64.b64encode(photo).decode()
    answers = [
        client.post(PATH, files={"image": photo}, data={"name": "x"}),
        client.post(PATH, files={"image": photo}, params={"name": "x"}),
        client.post(PATH, json={"image": text, "name": "x"}),
        client.post(PATH, json={"image": "data:image/png;base64," + text}, params={"name": "x"}),
        client.post(PATH, content=photo, params={"name": "x"}, headers={"content-type": "image/png"}),
        client.post(PATH, content=photo, params={"name": "x"}),
    ]
    for answer in answers:
        image = made(answer)
        assert (image["name"], image["made_by"], file_of(client, image)) == ("x", "upload", photo)
    assert keep(client, photo)["name"] == keep(client, photo, name="")["name"] == "image"


def test_a_picture_from_an_address(serve: Serve, receiver: Receiver, photo: bytes) -> None:
    client = serve(fetch={"allow_private": True})
    receiver.files["/photo"] = photo
    image = made(client.post(PATH, json={"image_url": receiver.address + "/photo"}))
    assert (image["made_by"], file_of(client, image)) == ("link", photo)
    missing = client.post(PATH, json={"image_url": receiver.address + "/other"})
    assert refused(missing) == (400, "unreachable_source", "image_url")


def test_what_browsers_do_not_show_is_kept_as_png(client: TestClient, photo: bytes) -> None:
    lossless = codec.encode(codec.decode(photo), Output(format=Format.AVIF))
    image = keep(client, lossless)
    assert image["format"] == "png"
    assert (codec.decode(file_of(client, image)).rgb == codec.decode(lossless).rgb).all()


def test_the_file_comes_in_parts_and_only_where_it_is_new(client: TestClient, photo: bytes) -> None:
    path = f"{PATH}/{keep(client, photo)['id']}/file"
    whole = client.get(path)
    part = client.get(path, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, photo[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(photo)}"
    assert client.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    assert client.get(path, headers={"Range": f"bytes={len(photo)}-"}).status_code == 416
    head = client.head(path)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(photo)))
    assert whole.headers["cache-control"].startswith("private")


@pytest.mark.parametrize(
    ("name", "plain", "encoded"),
    [
        ("mug", "mug.png", "mug.png"),
        ("mug.PNG", "mug.PNG", "mug.PNG"),
        ("mug.jpg", "mug.jpg.png", "mug.jpg.png"),
        ("png", "png.png", "png.png"),
        ("../../etc/passwd", "_.._etc_passwd.png", "_.._etc_passwd.png"),
        ('a"; filename="b.exe', "a_; filename=_b.exe.png", "a_%3B%20filename%3D_b.exe.png"),
        ("\\\\host\\c:", "__host_c_.png", "__host_c_.png"),
        ("...", "image.png", "image.png"),
        ("Tasse für Ö", "Tasse f_r _.png", "Tasse%20f%C3%BCr%20%C3%96.png"),
        ("cute\u202egnp.exe", "cute_gnp.exe.png", "cute_gnp.exe.png"),
        ("100%41", "100_41.png", "100_41.png"),
    ],
)
def test_the_file_is_saved_under_a_safe_name(
    name: str, plain: str, encoded: str, client: TestClient, photo: bytes
) -> None:
    image = keep(client, photo, name=name)
    answer = client.get(f"{PATH}/{image['id']}/file")
    assert answer.headers["content-disposition"] == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case[0])
def test_changes(case: Case, client: TestClient, photo: bytes) -> None:
    word, options, change, output = case
    old = keep(client, photo, name="old")
    expected = picture_files.transform(change, photo, output=output)
    for answer in (
        client.post(f"{PATH}/{old['id']}/{word}", json=options),
        client.post(f"{PATH}/{old['id']}/{word}", data=options),
        client.post(f"{PATH}/{old['id']}/{word}", params={name: str(value) for name, value in options.items()}),
    ):
        new = made(answer)
        assert file_of(client, new) == expected.data
        assert (new["width"], new["height"]) == (expected.width, expected.height)
        assert (new["name"], new["parent"], new["made_by"]) == ("old", old["id"], word)
    named = made(client.post(f"{PATH}/{old['id']}/{word}", json=options | {"name": "new"}))
    assert named["name"] == "new"
    assert file_of(client, old) == photo


def test_marks(client: TestClient, photo: bytes) -> None:
    red = codec.encode(Image(rgb=np.full((10, 20, 3), (255, 0, 0), np.uint8)), Output())
    green = codec.encode(Image(rgb=np.full((10, 20, 3), (0, 255, 0), np.uint8)), Output())
    old, first, second = (keep(client, each) for each in (photo, red, green))
    path = f"{PATH}/{old['id']}/watermark"
    places = [{"id": first["id"], "left": 5, "top": 7}, {"id": second["id"], "left": 15, "top": 7}, {"id": first["id"]}]
    new = made(client.post(path, json={"marks": places}))
    expected = codec.decode(photo).rgb.copy()
    expected[7:17, 5:25] = (255, 0, 0)
    expected[7:17, 15:35] = (0, 255, 0)
    expected[:10, :20] = (255, 0, 0)
    assert (codec.decode(file_of(client, new)).rgb == expected).all()
    assert (new["made_by"], new["parent"]) == ("watermark", old["id"])
    for marks, status, parameter in (
        ([{"id": first["id"], "left": 200}], 400, "marks"),
        ([{"left": 3}], 400, "marks[0].id"),
        ([places[0], {"id": first["id"], "top": "x"}], 400, "marks[1].top"),
        ([places[0], {"id": first["id"], "angle": 3}], 400, "marks[1].angle"),
        ([], 400, "marks"),
        (places * 2, 400, "marks"),
        ("x", 400, "marks"),
        ([{"id": NOBODY}], 404, "marks"),
    ):
        assert refused(client.post(path, json={"marks": marks}))[::2] == (status, parameter), marks


def test_removing_the_background_with_options(client: TestClient, photo: bytes) -> None:
    old = keep(client, photo, name="old")
    options = {"crop": "true", "size": "60", "background": "#0000ff", "format": "webp", "quality": "100"}
    direct = client.post("/api/v1/remove", content=photo, params=options)
    for answer, name in (
        (client.post(f"{PATH}/{old['id']}/remove", json=options), "old"),
        (client.post(f"{PATH}/{old['id']}/remove", params=options | {"name": "new"}), "new"),
    ):
        new = made(answer)
        assert file_of(client, new) == direct.content
        assert str(new["height"]) == direct.headers["x-image-height"] == "60"
        assert (new["name"], new["parent"], new["made_by"]) == (name, old["id"], "remove-background")
    plain = made(client.post(f"{PATH}/{old['id']}/remove"))
    assert plain["format"] == "png"
    cutout = codec.decode(file_of(client, plain))
    assert cutout.alpha is not None
    assert (cutout.alpha[0, 0], cutout.alpha[75, 96]) == (0, 1)


def test_a_picture_goes_behind_what_is_kept(client: TestClient, photo: bytes) -> None:
    old = keep(client, photo, name="old")
    path = f"{PATH}/{old['id']}/remove"
    behind = codec.encode(Image(rgb=np.full((30, 40, 3), (0, 200, 0), np.uint8)), Output())
    for answer in (
        client.post(path, files={"background_image": behind}),
        client.post(path, json={"background_image": base64.b64encode(behind).decode()}),
    ):
        assert tuple(codec.decode(file_of(client, made(answer))).rgb[0, 0]) == (0, 200, 0)
    answer = client.post(path, files={"background_image": b"rubbish"})
    assert refused(answer) == (400, "unreadable_image", "background_image")


def test_a_picture_behind_that_is_fetched_has_no_more_bytes_than_may_come(
    serve: Serve, receiver: Receiver, photo: bytes
) -> None:
    client = serve(fetch={"allow_private": True}, limits={"max_bytes": len(photo)})
    path = f"{PATH}/{keep(client, photo)['id']}/remove"
    behind = codec.encode(Image(rgb=np.full((30, 40, 3), (0, 200, 0), np.uint8)), Output())
    receiver.files = {"/small": behind, "/large": behind + bytes(len(photo))}
    image = made(client.post(path, json={"background_image_url": receiver.address + "/small"}))
    assert tuple(codec.decode(file_of(client, image)).rgb[0, 0]) == (0, 200, 0)
    answer = client.post(path, json={"background_image_url": receiver.address + "/large"})
    assert refused(answer) == (413, "too_many_bytes", "background_image")


def test_a_change_of_a_change_and_the_end_of_the_first(client: TestClient, photo: bytes) -> None:
    first = keep(client, photo)
    second = made(client.post(f"{PATH}/{first['id']}/remove", json={"format": "avif"}))
    assert client.delete(f"{PATH}/{first['id']}").status_code == 204
    third = made(client.post(f"{PATH}/{second['id']}/mirror", json={"mode": "both"}))
    assert (second["format"], third["format"], third["parent"]) == ("avif", "png", second["id"])
    assert codec.decode(file_of(client, third)).alpha is not None
    assert told(client.get(f"{PATH}/{second['id']}")) == second


@pytest.fixture(scope="module")
def one_image(serve_all: Serve, photo: bytes) -> tuple[TestClient, str]:
    """A server with one image, and the image's path."""
    client = serve_all()
    return client, f"{PATH}/{keep(client, photo)['id']}"


@pytest.mark.parametrize(
    ("word", "body", "parameter"),
    [
        ("convert", {}, "format"),
        ("convert", {"format": "zip"}, "format"),
        ("convert", {"format": "png", "quality": 0}, "quality"),
        ("convert", {"format": "png", "width": 5}, "width"),
        ("resize", {}, "width"),
        ("resize", {"width": 0}, "width"),
        ("resize", {"height": 10_001}, "height"),
        ("resize", {"width": 10_000, "height": 10_000}, "width"),
        ("resize", {"width": 5, "fit": "stretch"}, "fit"),
        ("resize", {"width": 5, "position": "middle"}, "position"),
        ("resize", {"width": 5, "letterbox": "blu"}, "letterbox"),
        ("resize", {"width": 5, "quality": 50}, "quality"),
        ("resize", {"width": 5, "name": "x" * 31}, "name"),
        ("resize", {"width": 5, "name": 5}, "name"),
        ("resize", {"width": 5, "widht": 5}, "widht"),
        ("resize", {"width": 5, "image": "Zm9v"}, "image"),
        ("resize", {"width": 5, "image_url": "http://example.com/"}, "image_url"),
        ("crop", {"left": 0, "top": 0, "right": 5}, "bottom"),
        ("crop", {"left": -1, "top": 0, "right": 5, "bottom": 5}, "left"),
        ("crop", {"left": 5, "top": 0, "right": 5, "bottom": 5}, "right"),
        ("crop", {"left": 0, "top": 0, "right": 201, "bottom": 5}, "right"),
        ("crop", {"left": 0, "top": 150, "right": 5, "bottom": 151}, "top"),
        ("rotate", {}, "degrees"),
        ("rotate", {"degrees": "x"}, "degrees"),
        ("rotate", {"degrees": 36_001}, "degrees"),
        ("rotate", {"degrees": 5, "background": "blu"}, "background"),
        ("mirror", {}, "mode"),
        ("mirror", {"mode": "sideways"}, "mode"),
        ("blur", {}, "sigma"),
        ("blur", {"sigma": 0.2}, "sigma"),
        ("modulate", {"brightness": 11}, "brightness"),
        ("modulate", {"saturation": -1}, "saturation"),
        ("modulate", {"lightness": 101}, "lightness"),
        ("modulate", {"hue": 36_001}, "hue"),
        ("watermark", {}, "marks"),
        ("remove", {"size": 0}, "size"),
        ("remove", {"format": "zip"}, "format"),
        ("remove", {"model": "none"}, "model"),
        ("remove", {"width": 0}, "width"),
        ("remove", {"breadth": 5}, "breadth"),
        ("remove", {"image_url": "http://example.com/"}, "image_url"),
        ("remove", {"name": "a\tb"}, "name"),
    ],
)
def test_what_is_wrong_is_named_and_costs_nothing(
    word: str, body: dict[str, object], parameter: str, one_image: tuple[TestClient, str]
) -> None:
    client, path = one_image
    assert refused(client.post(f"{path}/{word}", json=body)) == (400, "invalid_parameter", parameter)
    assert told(client.get("/api/v1/library"))["images"] == 1
    assert told(client.get("/api/v1/me"))["used"] == 1


def test_an_upload_that_is_refused(client: TestClient, photo: bytes) -> None:
    text = base64.b64encode(photo).decode()
    invalid = (400, "invalid_parameter")
    assert refused(client.post(PATH)) == (400, "missing_image", "image")
    assert refused(client.post(PATH, content=b"no picture")) == (400, "unreadable_image", "image")
    assert refused(client.post(PATH, content=photo, params={"name": "x" * 31})) == (*invalid, "name")
    assert refused(client.post(PATH, content=photo, params={"crop": "1"})) == (*invalid, "crop")
    assert refused(client.post(PATH, json={"image": "%"})) == (*invalid, "image")
    assert refused(client.post(PATH, json={"image": text, "image_url": "http://a.example/"})) == (*invalid, "image_url")
    assert refused(client.post(PATH, json={"image_url": "ftp://a.example/"})) == (*invalid, "image_url")
    assert refused(client.post(PATH, json={"image_url": "http://127.0.0.1/"}))[::2] == (400, "image_url")
    assert refused(client.post(PATH, content=b"x", headers={"content-type": "text/csv"}))[:2] == (
        415,
        "invalid_request",
    )
    assert refused(client.post(PATH, json={"imge": text})) == (*invalid, "imge")
    path = f"{PATH}/{keep(client, photo)['id']}/mirror"
    assert refused(client.post(path, content=photo, params={"mode": "both"})) == (*invalid, "image")
    assert told(client.get("/api/v1/library"))["images"] == 1


def test_images_of_others_are_not_there(two: TestClient, photo: bytes) -> None:
    mine = keep(two, photo)
    other = {"Authorization": "Bearer two"}
    theirs = made(two.post(PATH, content=photo, headers=other))
    for image_id in (mine["id"], NOBODY, "image_", "x"):
        path = f"{PATH}/{image_id}"
        answers = [two.get(path + each, headers=other) for each in ("", "/file")]
        answers += [two.post(path + each, headers=other) for each in ("/publish", "/unpublish", "/remove")]
        answers += [two.delete(path, headers=other), two.post(path + "/blur", json={"sigma": 1}, headers=other)]
        for answer in answers:
            assert refused(answer) == (404, "not_found", None)
        start = two.get(PATH, params={"start": image_id}, headers=other)
        assert refused(start) == (404, "not_found", "start")
        marks = {"marks": [{"id": image_id}]}
        marked = two.post(f"{PATH}/{theirs['id']}/watermark", json=marks, headers=other)
        assert refused(marked) == (404, "not_found", "marks")
    assert told(two.get(f"{PATH}/{mine['id']}")) == mine
    assert [each["id"] for each in told(two.get(PATH, headers=other))["images"]] == [theirs["id"]]
    for path in (PATH, "/api/v1/library", f"{PATH}/{mine['id']}", f"{PATH}/{mine['id']}/file"):
        assert refused(two.get(path, headers={"Authorization": ""}))[:2] == (401, "missing_key")
        assert refused(two.get(path, headers={"Authorization": "Bearer three"}))[:2] == (401, "invalid_key")


def test_the_list_goes_both_ways(client: TestClient) -> None:
    small = codec.encode(Image(rgb=np.zeros((2, 2, 3), np.uint8)), Output())
    ids = [keep(client, small)["id"] for _ in range(5)][::-1]
    forth, start = [], None
    while True:
        page = told(client.get(PATH, params={"limit": 2} | ({"start": start} if start else {})))
        forth.append([each["id"] for each in page["images"]])
        if page["next"] is None:
            break
        start = page["next"]
    assert forth == [ids[:2], ids[2:4], ids[4:]]
    assert page["previous"] == ids[2]
    back = told(client.get(PATH, params={"limit": 2, "start": page["previous"]}))
    assert ([each["id"] for each in back["images"]], back["previous"], back["next"]) == (ids[2:4], ids[0], ids[4])
    assert [each["id"] for each in told(client.get(PATH))["images"]] == ids
    for limit in ("0", "1001", "x"):
        assert refused(client.get(PATH, params={"limit": limit})) == (400, "invalid_parameter", "limit")


def test_fifty_are_listed_by_default(client: TestClient) -> None:
    small = codec.encode(Image(rgb=np.zeros((2, 2, 3), np.uint8)), Output())
    for _ in range(51):
        keep(client, small)
    page = told(client.get(PATH))
    assert (len(page["images"]), page["next"] is None) == (50, False)
    assert len(told(client.get(PATH, params={"limit": 1000}))["images"]) == 51


def test_credits_and_room_run_out(serve: Serve, photo: bytes) -> None:
    client = serve(accounts={"credits": 4}, library={"images": 2})
    image = keep(client, photo)
    path = f"{PATH}/{image['id']}"
    assert told(client.get("/api/v1/library"))["allowed_images"] == 2
    second = made(client.post(path + "/remove"))
    for answer in (
        client.post(PATH, content=photo),
        client.post(path + "/remove"),
        client.post(path + "/blur", json={"sigma": 1}),
    ):
        assert refused(answer)[:2] == (409, "conflict")
    assert told(client.get("/api/v1/me"))["used"] == 2
    for _ in range(2):
        assert client.delete(f"{PATH}/{second['id']}").status_code == 204
        second = made(client.post(path + "/mirror", json={"mode": "both"}))
    assert told(client.get("/api/v1/me"))["used"] == 4
    client.delete(f"{PATH}/{second['id']}")
    for answer in (
        client.post(PATH, content=photo),
        client.post(path + "/remove"),
        client.post(path + "/blur", json={"sigma": 1}),
    ):
        assert refused(answer)[:2] == (402, "out_of_credits")
    # To look at it, to publish it and to delete it costs nothing.
    assert told(client.post(path + "/publish"))["url"]
    assert file_of(client, image) == photo
    assert client.delete(path).status_code == 204


def test_what_is_described_is_what_is_there(client: TestClient, photo: bytes) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    described = {path: set(methods) for path, methods in paths.items() if path.startswith((PATH, "/api/v1/library"))}
    one = PATH + "/{image_id}"
    changes = [*dict.fromkeys(word for word, *_ in CHANGES), "watermark", "remove"]
    assert described == {
        PATH: {"get", "post"},
        "/api/v1/library": {"get"},
        one: {"get", "delete"},
        one + "/file": {"get"},
    } | {f"{one}/{word}": {"post"} for word in (*changes, "publish", "unpublish")}
    schema = paths[PATH]["post"]["responses"]["201"]["content"]["application/json"]["schema"]["properties"]
    assert set(schema) == KEYS
    operations = [each["operationId"] for path in described for each in paths[path].values()]
    assert len(set(operations)) == len(operations)
    assert all("partial" not in each["description"] for path in described for each in paths[path].values())
    image_id = keep(client, photo)["id"]
    for word in changes:
        body = paths[f"{one}/{word}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert set(body.get("required", ())) <= set(body["properties"])
        for name in body["properties"]:
            assert refused(client.post(f"{PATH}/{image_id}/{word}", json={name: "\x01"}))[0] == 400
        assert refused(client.post(f"{PATH}/{image_id}/{word}", json={"other": 1})) == (
            400,
            "invalid_parameter",
            "other",
        )


def test_a_refusal_of_a_method_is_ours(client: TestClient) -> None:
    assert refused(client.put(PATH))[0] == 405
    assert refused(client.get(f"{PATH}/{NOBODY}/blur"))[0] == 405


def test_a_large_picture_comes_back_whole(client: TestClient) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (700, 700, 3), np.uint8)
    picture = codec.encode(Image(rgb=noise), Output())
    assert len(picture) > 2**20
    assert file_of(client, keep(client, picture)) == picture

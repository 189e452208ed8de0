"""remove.bg: what comes in, results, sizes, formats and the account."""

from __future__ import annotations

import base64
import io
import time
import uuid
import zipfile

import numpy as np
import pytest
from PIL import Image as Pillow
from starlette.testclient import TestClient
from tests.server.dialects.removebg.conftest import (
    ACCOUNT,
    PATH,
    UNSET,
    URLENCODED,
    Serve,
    box,
    cut,
    edit_of,
    post,
    refused,
)

from mattebox.server.dialects import base

# --- the answer --------------------------------------------------------------------------------------------------


def test_a_cutout_with_its_measures_in_headers(client: TestClient, photo: bytes) -> None:
    before = time.time()
    rgba, answer = cut(client, photo)
    assert rgba.shape == (150, 200, 4)
    assert rgba[0, 0, 3] == 0
    assert rgba[100, 90, 3] == 255
    headers = answer.headers
    assert headers["content-type"] == "image/png"
    assert (headers["x-max-width"], headers["x-max-height"]) == ("200", "150")
    assert box(answer) == (50, 19, 98, 121)
    assert headers["x-type"] == "other"
    assert headers["x-credits-charged"] == "0"
    assert headers["x-ratelimit-limit"] == headers["x-ratelimit-remaining"]
    assert before < int(headers["x-ratelimit-reset"]) <= time.time() + 1


def test_json_where_it_is_asked_for(client: TestClient, photo: bytes) -> None:
    plain = post(client, photo)
    for accept in ("application/json", "Application/JSON; charset=utf-8"):
        answer = client.post(PATH, files={"image_file": photo}, headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/json"
        left, top, width, height = box(plain)
        assert answer.json() == {
            "data": {
                "result_b64": base64.b64encode(plain.content).decode(),
                "foreground_top": top,
                "foreground_left": left,
                "foreground_width": width,
                "foreground_height": height,
            }
        }
        assert box(answer) == box(plain)
    # What browsers and HTTP libraries send of their own accord; the vendor's examples with them expect a picture.
    for accept in (
        "*/*",
        "application/json, text/plain, */*",
        "image/png",
        "text/html,application/xml;q=0.9,*/*;q=0.8",
    ):
        answer = client.post(PATH, files={"image_file": photo}, headers={"Accept": accept})
        assert answer.content == plain.content


def test_three_kinds_of_body_say_the_same(client: TestClient, photo: bytes) -> None:
    said = {"crop": "true", "crop_margin": "10% 5px", "bg_color": "81d4fa80", "shadow_type": "drop", "size": "full"}
    encoded = base64.b64encode(photo).decode()
    whole = said | {"shadow_opacity": "40", "image_file_b64": encoded}
    typed = said | {"shadow_opacity": 40, "crop": True, "image_file_b64": f"data:image/png;base64,{encoded}"}
    part = {"type": (None, b"auto")}  # it makes it multipart
    answers = [
        post(client, photo, **said, shadow_opacity="40"),
        client.post(PATH, files=part, data=whole),
        client.post(PATH, data=whole),
        client.post(PATH, json=typed),
        client.post(PATH, json=whole | {"roi": None, "position": ""}),
    ]
    assert {each.status_code for each in answers} == {200}
    assert len({each.content for each in answers}) == 1


def test_base64_comes_as_clients_write_it(client: TestClient, photo: bytes) -> None:
    plain = base64.b64encode(photo).decode()
    url_safe = base64.urlsafe_b64encode(photo).decode()
    lines = "\r\n".join(plain[at : at + 76] for at in range(0, len(plain), 76))
    assert "+" in plain
    forms = [plain, plain.rstrip("="), url_safe, url_safe.rstrip("="), lines, f"data:image/png;base64,{plain}"]
    answers = [client.post(PATH, json={"image_file_b64": each}) for each in forms]
    answers += [  # a plus sign that is not escaped is a space
        client.post(PATH, content=f"image_file_b64={each}", headers={"content-type": URLENCODED})
        for each in (plain, plain.rstrip("="), lines)
    ]
    assert {each.status_code for each in answers} == {200}
    assert {each.content for each in answers} == {post(client, photo).content}


def test_what_is_sent_empty_is_not_set(client: TestClient, photo: bytes) -> None:
    """The vendor's command line sends these, all of them, whatever is set."""
    plain = post(client, photo)
    answer = post(client, photo, **dict.fromkeys(UNSET, ""))
    assert (answer.status_code, answer.content) == (200, plain.content)
    files = {"image_file": ("photo.png", photo), "bg_image_file": ("", b"")}
    assert client.post(PATH, files=files, data={"crop": "", "add_shadow": ""}).content == plain.content


def test_other_fields_are_left_alone(client: TestClient, photo: bytes) -> None:
    assert post(client, photo, test="true").content == post(client, photo).content


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ({}, "other"),
        ({"type": "auto"}, "other"),
        ({"type": "person"}, "person"),
        ({"type": "CAR", "type_level": "latest"}, "car"),
        ({"type": "graphic", "type_level": "2"}, "graphic"),
        ({"type": "product", "type_level": "1"}, "product"),
        ({"type": "animal", "type_level": "none"}, None),
        ({"type": "transportation"}, "transportation"),
    ],
)
def test_the_type_is_given_back(form: dict[str, str], shown: str | None, client: TestClient, photo: bytes) -> None:
    assert cut(client, photo, **form)[1].headers.get("x-type") == shown


# --- size and format ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "most"),
    [
        (None, 250_000),
        ("preview", 250_000),
        ("small", 250_000),
        ("regular", 250_000),
        ("medium", 1_500_000),
        ("hd", 4_000_000),
        ("full", 25_000_000),
        ("4k", 25_000_000),
        ("50MP", 50_000_000),
        ("auto", 50_000_000),
    ],
)
def test_sizes_are_megapixels(size: str | None, most: int, client: TestClient, wide: bytes, photo: bytes) -> None:
    form = {} if size is None else {"size": size}
    assert edit_of(form).layout.max_pixels == most
    if most < 2_000_000:
        matte, answer = cut(client, wide, channels="alpha", **form)
        assert 0.98 * most < matte.size <= most
        assert abs(matte.shape[1] / matte.shape[0] - 2) < 0.01
        assert (answer.headers["x-max-width"], answer.headers["x-max-height"]) == ("2000", "1000")
    # Nothing is enlarged.
    assert cut(client, photo, **form)[0].shape[:2] == (150, 200)


@pytest.mark.parametrize(
    ("form", "kind", "mode"),
    [
        ({}, "PNG", "RGBA"),
        ({"format": "auto"}, "PNG", "RGBA"),
        ({"bg_color": "fff"}, "JPEG", "RGB"),
        ({"format": "auto", "bg_color": "ffffff80"}, "PNG", "RGBA"),
        ({"format": "auto", "bg_color": "ffffff00"}, "PNG", "RGBA"),
        ({"channels": "alpha"}, "PNG", "L"),
        ({"channels": "alpha", "bg_color": "red", "format": "auto"}, "PNG", "L"),
        ({"channels": "alpha", "format": "jpg"}, "JPEG", "L"),
        ({"channels": "rgba", "format": "png"}, "PNG", "RGBA"),
        ({"format": "png", "bg_color": "fff"}, "PNG", "RGB"),
        ({"format": "jpg"}, "JPEG", "RGB"),
        ({"format": "jpeg"}, "JPEG", "RGB"),
        ({"format": "WEBP"}, "WEBP", "RGBA"),
        ({"format": "avif"}, "AVIF", "RGBA"),
    ],
)
def test_formats(form: dict[str, str], kind: str, mode: str, client: TestClient, photo: bytes) -> None:
    answer = post(client, photo, **form)
    assert answer.headers["content-type"] == f"image/{kind.lower()}"
    with Pillow.open(io.BytesIO(answer.content)) as picture:
        assert (picture.format, picture.mode) == (kind, mode)


def test_a_jpeg_without_a_background_is_white(client: TestClient, photo: bytes) -> None:
    assert cut(client, photo, format="jpg")[0][0, 0].min() >= 252


def test_a_zip_has_the_colours_and_the_matte(client: TestClient, photo: bytes) -> None:
    answer = post(client, photo, format="zip")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert sorted(archive.namelist()) == ["alpha.png", "color.jpg"]
        with Pillow.open(io.BytesIO(archive.read("alpha.png"))) as alpha:
            assert np.array_equal(np.asarray(alpha), cut(client, photo)[0][..., 3])
        with Pillow.open(io.BytesIO(archive.read("color.jpg"))) as color:
            assert (color.mode, color.size) == ("RGB", (200, 150))


# --- the account, and pictures that came out badly ---------------------------------------------------------------


def test_the_account(serve: Serve, photo: bytes) -> None:
    """Not one member more than the vendor has: its Ruby client would fail."""
    client = serve(keys=("k",), accounts={"credits": 7})
    client.headers["x-api-key"] = "k"
    cut(client, photo)
    assert client.get(ACCOUNT).json() == {
        "data": {
            "attributes": {
                "credits": {"total": 6, "subscription": 6, "payg": 0, "enterprise": 0},
                "api": {"free_calls": 0, "sizes": "all"},
            }
        }
    }
    unlimited = serve(keys=("k",)).get(ACCOUNT, headers={"x-api-key": "k"}).json()
    assert unlimited["data"]["attributes"]["credits"]["total"] == base.UNLIMITED


def test_improve_takes_a_picture_and_nothing_else(serve: Serve, photo: bytes) -> None:
    client = serve(keys=("k",), accounts={"credits": 1})
    client.headers["x-api-key"] = "k"
    for answer in (
        client.post("/v1.0/improve", files={"image_file": photo}, data={"image_filename": "a.png", "tag": "shoes"}),
        client.post("/v1.0/improve", json={"image_url": "https://example.org/a.jpg"}),
    ):
        assert answer.status_code == 200
        assert list(answer.json()) == ["id"]
        uuid.UUID(answer.json()["id"])
    assert refused(client.post("/v1.0/improve", data={"tag": "shoes"})) == (400, "missing_source")
    assert client.get(ACCOUNT).json()["data"]["attributes"]["credits"]["total"] == 1

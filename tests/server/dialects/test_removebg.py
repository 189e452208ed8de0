from __future__ import annotations

import base64
import io
import json
import random
import re
import sqlite3
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from httpx2 import Response
from PIL import Image as Pillow
from starlette.testclient import TestClient

from mattebox import codec, layout
from mattebox.edit import Edit, Output, ShadowKind
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Box, Image
from mattebox.server.dialects import removebg
from mattebox.testing import FakeModels, FakeSegmenter, make_scene

URLENCODED = "application/x-www-form-urlencoded"
PATH = "/v1.0/removebg"
ACCOUNT = "/v1.0/account"
Serve: TypeAlias = Callable[..., TestClient]
Picture: TypeAlias = npt.NDArray[np.int16]

SUBJECT = Box(50, 19, 98, 121)
"""Where the figure is in `photo`, of 200 x 150 pixels."""

# What the vendor's reference lists.
CODES = {
    "missing_source",
    "multiple_sources",
    "invalid_image_url",
    "invalid_size",
    "invalid_type",
    "invalid_type_level",
    "invalid_format",
    "invalid_roi",
    "invalid_crop_margin",
    "invalid_scale",
    "invalid_position",
    "invalid_channels",
    "invalid_shadow_type",
    "invalid_shadow_opacity",
    "invalid_bg_color",
    "invalid_bg_image_url",
    "failed_image_download",
    "failed_bg_download",
    "failed_to_read_image",
    "file_too_large",
    "resolution_too_high",
    "roi_exceeds_bounds",
    "roi_region_empty",
    "unknown_foreground",
    "multiple_bg_sources",
}


UNSET = (
    "image_url",
    "image_file_b64",
    "size",
    "type",
    "format",
    "bg_color",
    "bg_image_url",
    "scale",
    "position",
    "roi",
    "crop_margin",
    "channels",
    "shadow_type",
    "shadow_opacity",
)


def everything(photo: RGB) -> Alpha:
    """Takes all that it is shown for the subject."""
    return np.ones((16, 16), np.float32)


def nothing(photo: RGB) -> Alpha:
    """Finds no subject."""
    return np.zeros((16, 16), np.float32)


def post(client: TestClient, photo: bytes, **form: str) -> Response:
    return client.post(PATH, files={"image_file": ("photo.png", photo)}, data=form)


def cut(client: TestClient, photo: bytes, **form: str) -> tuple[Picture, Response]:
    """The result as (height, width, channels), and the answer."""
    answer = post(client, photo, **form)
    assert answer.status_code == 200, answer.text
    return opened(answer), answer


def opened(answer: Response) -> Picture:
    with Pillow.open(io.BytesIO(answer.content)) as picture:
        assert (int(answer.headers["x-width"]), int(answer.headers["x-height"])) == picture.size
        return np.asarray(picture).astype(np.int16)


def box(answer: Response) -> tuple[int, int, int, int]:
    left, top, width, height = (
        int(answer.headers[f"x-foreground-{name}"]) for name in ("left", "top", "width", "height")
    )
    return left, top, width, height


def refused(answer: Response) -> tuple[int, str]:
    """The status and the code of a failure that is written as the vendor writes them."""
    found = answer.json()
    assert list(found) == ["errors"]
    (error,) = found["errors"]
    assert {"title", "code"} <= set(error) <= {"title", "code", "detail"}
    assert error["title"]
    return answer.status_code, error["code"]


def edit_of(form: Mapping[str, str]) -> Edit:
    return removebg.to_edit(removebg.Options.read({"image_url": "http://x/", **form}))[0]


def png(rgb: npt.NDArray[np.uint8]) -> bytes:
    return codec.encode(Image(rgb=rgb), Output())


@pytest.fixture(scope="module")
def wide() -> bytes:
    """A photo of two megapixels, 2000 x 1000."""
    return png(make_scene(width=2000, height=1000, seed=2).photo)


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


# --- geometry ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roi", "inside"),
    [
        ("40 10 170 148", (40, 10, 130, 138)),
        ("40px 10px 170px 148px", (40, 10, 130, 138)),
        ("40,10,170,148", (40, 10, 130, 138)),
        ("170 148 40 10", (40, 10, 130, 138)),
        ("20% 10% 85% 90%", (40, 15, 130, 120)),
        ("20% 10px 85% 148px", (40, 10, 130, 138)),
        ("0 0 100% 100%", (0, 0, 200, 150)),
        ("199 149 200 150", (199, 149, 1, 1)),
    ],
)
def test_outside_of_the_region_is_background(
    roi: str, inside: tuple[int, int, int, int], serve: Serve, photo: bytes
) -> None:
    rgba, answer = cut(serve(models=FakeModels(everything)), photo, roi=roi)
    left, top, width, height = inside
    expected = np.zeros((150, 200), np.int16)
    expected[top : top + height, left : left + width] = 255
    assert np.array_equal(rgba[..., 3], expected)
    assert box(answer) == inside


def test_the_figure_is_found_in_its_region(client: TestClient, photo: bytes) -> None:
    left, top, width, height = box(cut(client, photo, roi="30 5 180 150")[1])
    assert abs(np.subtract((left, top, width, height), (50, 19, 98, 121))).max() <= 3


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        ("", (0, 0, 0, 0)),
        ("0", (0, 0, 0, 0)),
        ("10", (10, 10, 10, 10)),
        ("10px", (10, 10, 10, 10)),
        ("500px", (500, 500, 500, 500)),
        ("10%", (12, 10, 12, 10)),
        ("50%", (61, 49, 61, 49)),
        ("10px 20px", (10, 20, 10, 20)),
        ("10% 20px", (12, 20, 12, 20)),
        ("1px 2px 3px 4px", (1, 2, 3, 4)),
        ("1, 20%, 3px, 4", (1, 20, 3, 4)),
    ],
)
def test_crops_and_their_margins(
    margin: str, expected: tuple[int, int, int, int], client: TestClient, photo: bytes
) -> None:
    top, right, bottom, left = expected
    rgba, answer = cut(client, photo, crop="true", crop_margin=margin, size="full")
    assert rgba.shape[:2] == (121 + top + bottom, 98 + left + right)
    assert box(answer) == (left, top, 98, 121)
    whole = cut(client, photo)[0]
    assert np.array_equal(rgba[top : top + 121, left : left + 98], whole[19:140, 50:148])
    if margin == "500px":
        assert not rgba[:400].any()


def test_a_margin_without_a_crop_is_nothing(client: TestClient, photo: bytes) -> None:
    assert post(client, photo, crop="false", crop_margin="20px").content == post(client, photo).content


@pytest.mark.parametrize("word", ["true", "True", "1", "false", "0"])
def test_booleans(word: str, client: TestClient, photo: bytes) -> None:
    assert cut(client, photo, crop=word)[0].shape[1] == (98 if word in ("true", "True", "1") else 200)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"position": "original"}, (50, 19, 98, 121)),
        ({"position": "center"}, (51, 15, 98, 121)),
        ({"position": "50%"}, (51, 15, 98, 121)),
        ({"position": "0%"}, (0, 0, 98, 121)),
        ({"position": "100%"}, (102, 29, 98, 121)),
        ({"position": "0% 100%"}, (0, 29, 98, 121)),
        ({"position": "100%, 0%"}, (102, 0, 98, 121)),
        ({"scale": "original"}, (50, 19, 98, 121)),
        ({"scale": "100%"}, (39, 0, 121, 150)),
        ({"scale": "50%"}, (70, 38, 61, 75)),
        ({"scale": "50%", "position": "center"}, (70, 38, 61, 75)),
        ({"scale": "50%", "position": "0% 100%"}, (0, 75, 61, 75)),
        ({"scale": "10%", "position": "100% 0%"}, (188, 0, 12, 15)),
        ({"scale": "12.5%", "position": "0% 0%"}, (0, 0, 15, 19)),
    ],
)
def test_scale_and_position(
    form: dict[str, str], expected: tuple[int, int, int, int], client: TestClient, photo: bytes
) -> None:
    rgba, answer = cut(client, photo, **form)
    assert rgba.shape[:2] == (150, 200)
    assert abs(np.subtract(box(answer), expected)).max() <= 1
    # The pixels are where the headers say.
    rows, columns = np.nonzero(rgba[..., 3] >= 128)
    seen = (columns.min(), rows.min(), columns.max() + 1 - columns.min(), rows.max() + 1 - rows.min())
    assert abs(np.subtract(seen, expected)).max() <= 3


# --- what is kept and what is behind -----------------------------------------------------------------------------


def test_channels(client: TestClient, photo: bytes) -> None:
    rgba = cut(client, photo, channels="rgba")[0]
    matte = cut(client, photo, channels="alpha", bg_color="red", shadow_type="drop")[0]
    assert np.array_equal(matte, rgba[..., 3])


@pytest.mark.parametrize(
    "form",
    [
        {"add_shadow": "true"},
        {"shadow_type": "auto"},
        {"shadow_type": "auto", "type": "person"},
        {"shadow_type": "drop", "shadow_opacity": "100"},
        {"shadow_type": "3D"},
        {"shadow_type": "car", "shadow_opacity": "30"},
    ],
)
def test_a_shadow_falls_beside_the_subject_only(form: dict[str, str], client: TestClient, photo: bytes) -> None:
    plain, shaded = cut(client, photo)[0], cut(client, photo, **form)[0]
    solid = plain[..., 3] == 255
    assert np.array_equal(shaded[solid], plain[solid])
    assert (shaded[..., 3] >= plain[..., 3]).all()
    clear = plain[..., 3] == 0
    assert np.count_nonzero(shaded[clear][:, 3]) > 200
    assert not shaded[clear][:, :3].any()
    assert shaded[clear][:, 3].max() <= 255 * int(form.get("shadow_opacity", "50")) / 100 + 1


def test_shadows_that_are_none(client: TestClient, photo: bytes) -> None:
    plain = post(client, photo).content
    for form in ({"shadow_type": "none"}, {"add_shadow": "false"}, {"add_shadow": "true", "shadow_type": "none"}):
        assert post(client, photo, **form).content == plain
    unseen, _ = cut(client, photo, shadow_type="drop", shadow_opacity="0")
    assert np.array_equal(unseen, cut(client, photo)[0])


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ({"add_shadow": "1"}, ShadowKind.GROUND),
        ({"shadow_type": "Auto", "type": "Person"}, ShadowKind.DROP),
        ({"add_shadow": "true", "type": "person"}, ShadowKind.DROP),
        ({"shadow_type": "3d", "type": "person"}, ShadowKind.CAST),
        ({"shadow_type": "3D"}, ShadowKind.CAST),
        ({"shadow_type": "car"}, ShadowKind.GROUND),
        ({"shadow_type": "drop", "type": "car"}, ShadowKind.DROP),
    ],
)
def test_which_shadow_is_meant(form: dict[str, str], kind: ShadowKind) -> None:
    shadow = edit_of(form).shadow
    assert shadow is not None
    assert (shadow.kind, shadow.opacity) == (kind, 0.5)


def test_a_crop_leaves_room_for_the_shadow(client: TestClient, photo: bytes) -> None:
    rgba, answer = cut(client, photo, crop="true", shadow_type="drop")
    assert rgba.shape[0] > 121
    assert box(answer)[2:] == (98, 121)


def test_without_semitransparency_the_inside_is_opaque(serve: Serve) -> None:
    glass = np.zeros((64, 64), np.float32)
    glass[8:56, 8:56] = 1
    glass[24:40, 24:40] = 0.5
    pane = np.full((128, 128, 3), 200, np.uint8)
    pane[16:112, 16:112] = (40, 60, 80)
    client = serve(models=FakeModels(FakeSegmenter(answer=glass)))
    see_through = cut(client, png(pane), semitransparency="true")[0]
    assert 90 < see_through[64, 64, 3] < 165
    assert np.array_equal(see_through, cut(client, png(pane))[0])
    solid = cut(client, png(pane), semitransparency="false")[0]
    assert solid[64, 64, 3] == 255
    assert solid[2, 2, 3] == 0


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("f00", (255, 0, 0, 255)),
        ("#f00", (255, 0, 0, 255)),
        ("f008", (255, 0, 0, 136)),
        ("#F008", (255, 0, 0, 136)),
        ("81d4fa", (129, 212, 250, 255)),
        ("#81D4FA", (129, 212, 250, 255)),
        ("81d4fa77", (129, 212, 250, 119)),
        ("#81d4fa77", (129, 212, 250, 119)),
        ("green", (0, 128, 0, 255)),
        ("White", (255, 255, 255, 255)),
        ("rebeccapurple", (102, 51, 153, 255)),
    ],
)
def test_colours_behind(word: str, expected: tuple[int, int, int, int], client: TestClient, photo: bytes) -> None:
    picture = cut(client, photo, bg_color=word, format="png")[0]
    corner = (*picture[0, 0], 255)[:4]
    assert abs(np.subtract(corner, expected)).max() <= 1
    plain = cut(client, photo)[0]
    solid = plain[..., 3] == 255
    assert np.array_equal(picture[solid][:, :3], plain[solid][:, :3])


@pytest.fixture
def flag() -> bytes:
    """300 x 100 pixels: red, white and blue, a third each."""
    stripes = np.zeros((100, 300, 3), np.uint8)
    stripes[:, :100], stripes[:, 100:200], stripes[:, 200:] = (255, 0, 0), (255, 255, 255), (0, 0, 255)
    return png(stripes)


def assert_before_the_flag(picture: Picture) -> None:
    """It fills 200 x 150: of its 450 columns, enlarged, 125 to 325 are seen. White begins after 25 of them."""
    assert picture.shape == (150, 200, 3)
    assert abs(picture[5, 10] - (255, 0, 0)).max() <= 6
    assert abs(picture[145, 190] - (0, 0, 255)).max() <= 6
    assert picture[3, 40].min() > 245
    assert picture[3, 160].min() > 245


def test_a_picture_behind_fills_the_canvas(
    serve: Serve, client: TestClient, photo: bytes, flag: bytes, site: Site
) -> None:
    site.files["/flag"] = flag
    site.files["/photo"] = photo
    files = {"image_file": photo, "bg_image_file": flag}
    uploaded = client.post(PATH, files=files)
    assert uploaded.headers["content-type"] == "image/jpeg"
    assert_before_the_flag(opened(uploaded))
    reaching = serve(fetch={"allow_networks": ("127.0.0.0/8",)})
    fetched = reaching.post(PATH, json={"image_url": site.address + "/photo", "bg_image_url": site.address + "/flag"})
    assert fetched.content == uploaded.content


# --- every failure -----------------------------------------------------------------------------------------------


class Site:
    """Hands out files; says 404 for others."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, bytes] = {}


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = here.files.get(self.path)
            self.send_response(404 if data is None else 200)
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield here
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"image_url": "https://example.org/a.jpg"}, "multiple_sources"),
        ({"image_file_b64": "aGVsbG8="}, "multiple_sources"),
        ({"size": "huge"}, "invalid_size"),
        ({"type": "plant"}, "invalid_type"),
        ({"type_level": "3"}, "invalid_type_level"),
        ({"format": "gif"}, "invalid_format"),
        ({"roi": "0 0 100"}, "invalid_roi"),
        ({"roi": "a b c d"}, "invalid_roi"),
        ({"roi": "-10 0 50 50"}, "invalid_roi"),
        ({"roi": "0 0 50em 50"}, "invalid_roi"),
        ({"roi": "0 0 201 150"}, "roi_exceeds_bounds"),
        ({"roi": "0% 0% 101% 100%"}, "roi_exceeds_bounds"),
        ({"roi": "10 10 10 90"}, "roi_region_empty"),
        ({"roi": "50% 0 20px 100"}, "roi_region_empty"),
        ({"crop": "true", "crop_margin": "900px"}, "invalid_crop_margin"),
        ({"crop": "true", "crop_margin": "51%"}, "invalid_crop_margin"),
        ({"crop": "true", "crop_margin": "-1px"}, "invalid_crop_margin"),
        ({"crop_margin": "1 2 3"}, "invalid_crop_margin"),
        ({"crop_margin": "1e1"}, "invalid_crop_margin"),
        ({"scale": "0"}, "invalid_scale"),
        ({"scale": "5%"}, "invalid_scale"),
        ({"scale": "101%"}, "invalid_scale"),
        ({"scale": "nan%"}, "invalid_scale"),
        ({"position": "left"}, "invalid_position"),
        ({"position": "50px"}, "invalid_position"),
        ({"position": "0% 101%"}, "invalid_position"),
        ({"position": "1% 2% 3%"}, "invalid_position"),
        ({"channels": "rgb"}, "invalid_channels"),
        ({"shadow_type": "soft"}, "invalid_shadow_type"),
        ({"shadow_type": "drop", "shadow_opacity": "101"}, "invalid_shadow_opacity"),
        ({"shadow_opacity": "dark"}, "invalid_shadow_opacity"),
        ({"bg_color": "#ggg"}, "invalid_bg_color"),
        ({"bg_color": "greenish"}, "invalid_bg_color"),
        ({"bg_image_url": "backgrounds/beach.jpg"}, "invalid_bg_image_url"),
        ({"bg_image_url": "http://127.0.0.1/a.jpg"}, "failed_bg_download"),
        ({"bg_image_url": "https://example.org/a.jpg", "bg_color": "fff"}, "multiple_bg_sources"),
        # The vendor's list has no code for these; they follow its pattern.
        ({"crop": "yes"}, "invalid_crop"),
        ({"semitransparency": "a bit"}, "invalid_semitransparency"),
        ({"add_shadow": "soft"}, "invalid_add_shadow"),
    ],
)
def test_what_is_not_understood_has_its_code(form: dict[str, str], code: str, client: TestClient, photo: bytes) -> None:
    answer = post(client, photo, **form)
    assert refused(answer) == (400, code)
    if code.startswith("invalid_"):
        assert code.removeprefix("invalid_").split("_")[0] in answer.text


@pytest.mark.parametrize(
    "sent",
    [
        {"data": {"size": "auto"}},
        {"json": {"size": "auto"}},
        {"json": {"image_url": "", "image_file_b64": None}},
        {"data": {"size": "auto"}, "files": {"image_file": ("", b"")}},
        {"files": {"image": b"something"}},
        {"content": b""},
    ],
)
def test_without_a_picture(sent: dict[str, dict[str, object]], client: TestClient) -> None:
    answer = client.post(PATH, **sent)  # type: ignore[arg-type]
    assert refused(answer) == (400, "missing_source")
    assert answer.json()["errors"][0]["title"] == "No image given"


def test_several_pictures(client: TestClient) -> None:
    both = {"image_url": "https://example.org/a.jpg", "image_file_b64": "aGVsbG8="}
    assert refused(client.post(PATH, json=both)) == (400, "multiple_sources")


def test_addresses_of_the_picture(serve: Serve, client: TestClient, photo: bytes, site: Site) -> None:
    for url in ("photo.jpg", "ftp://example.org/a.jpg", "http://", "https://example org/a.jpg"):
        assert refused(client.post(PATH, data={"image_url": url})) == (400, "invalid_image_url"), url
    for url in ("http://127.0.0.1/a.jpg", "http://169.254.169.254/"):
        assert refused(client.post(PATH, data={"image_url": url})) == (400, "failed_image_download"), url
    site.files["/photo"], site.files["/letter"] = photo, b"Dear Sir"
    client = serve(fetch={"allow_networks": ("127.0.0.0/8",)})
    assert client.post(PATH, data={"image_url": f"{site.address}/photo"}).status_code == 200
    gone, letter = f"{site.address}/gone", f"{site.address}/letter"
    assert refused(client.post(PATH, json={"image_url": gone})) == (400, "failed_image_download")
    assert refused(client.post(PATH, json={"image_url": "http://127.0.0.1:1/"})) == (400, "failed_image_download")
    assert refused(client.post(PATH, json={"image_url": letter})) == (400, "failed_to_read_image")
    assert refused(post(client, photo, bg_image_url=gone)) == (400, "failed_bg_download")
    assert refused(post(client, photo, bg_image_url=letter)) == (400, "failed_to_read_image")


def test_what_is_no_picture(client: TestClient, photo: bytes) -> None:
    letter = (400, "failed_to_read_image")
    assert refused(post(client, b"Dear Sir")) == letter
    assert refused(client.post(PATH, json={"image_file_b64": base64.b64encode(b"Dear Sir").decode()})) == letter
    assert refused(client.post(PATH, json={"image_file_b64": "no base64!"})) == letter
    assert refused(client.post(PATH, json={"image_file_b64": 7})) == letter
    assert refused(client.post(PATH, files={"image_file": photo, "bg_image_file": b"Dear Sir"})) == letter
    assert refused(post(client, photo[: len(photo) // 2])) == letter


def test_several_backgrounds(client: TestClient, photo: bytes) -> None:
    files = {"image_file": photo, "bg_image_file": photo}
    for other in ({"bg_color": "fff"}, {"bg_image_url": "https://example.org/a.jpg"}):
        assert refused(client.post(PATH, files=files, data=other)) == (400, "multiple_bg_sources")
    # One that cannot be seen is none.
    assert client.post(PATH, files=files, data={"bg_color": "#0000"}).status_code == 200


def test_too_many_bytes_or_pixels(client: TestClient, photo: bytes) -> None:
    large = bytes(22 * 2**20 + 1)
    assert refused(post(client, large)) == (400, "file_too_large")
    encoded = base64.b64encode(large).decode()
    assert refused(client.post(PATH, json={"image_file_b64": encoded})) == (400, "file_too_large")
    assert refused(client.post(PATH, files={"image_file": photo, "bg_image_file": large})) == (400, "file_too_large")
    huge = io.BytesIO()
    Pillow.new("1", (7100, 7100)).save(huge, "PNG")
    assert refused(post(client, huge.getvalue())) == (400, "resolution_too_high")
    both = {"image_file": photo, "bg_image_file": huge.getvalue()}
    assert refused(client.post(PATH, files=both)) == (400, "resolution_too_high")


def test_a_blank_wall_has_no_foreground(client: TestClient, serve: Serve, photo: bytes) -> None:
    answer = post(client, png(np.full((300, 400, 3), 230, np.uint8)))
    assert refused(answer) == (400, "unknown_foreground")
    assert answer.json()["errors"][0]["title"] == "Could not identify foreground in image."
    # It costs nothing.
    client = serve(models=FakeModels(nothing), keys=("k",), accounts={"credits": 1})
    client.headers["X-Api-Key"] = "k"
    for _ in range(2):
        assert refused(post(client, photo)) == (400, "unknown_foreground")


def test_keys(serve: Serve, photo: bytes) -> None:
    client = serve(keys=("right",))
    assert post(client, photo).json()["errors"][0]["title"] == "Missing API Key"
    for method, path in (("POST", PATH), ("GET", ACCOUNT), ("POST", "/v1.0/improve")):
        files = {"image_file": photo} if method == "POST" else None
        assert refused(client.request(method, path, files=files)) == (403, "auth_failed")
        for headers in ({"X-Api-Key": "wrong"}, {"Authorization": "Bearer wrong"}):
            answer = client.request(method, path, files=files, headers=headers)
            assert refused(answer) == (403, "auth_failed")
            assert answer.json()["errors"][0]["title"] == "API Key invalid"
        for headers in ({"X-API-KEY": "right"}, {"Authorization": "Bearer right"}):
            assert client.request(method, path, files=files, headers=headers).status_code == 200


def test_credits(serve: Serve, photo: bytes) -> None:
    client = serve(keys=("k",), accounts={"credits": 1})
    client.headers["X-Api-Key"] = "k"

    def total() -> object:
        return client.get(ACCOUNT).json()["data"]["attributes"]["credits"]["total"]

    assert total() == 1
    assert refused(post(client, photo, size="huge")) == (400, "invalid_size")
    assert total() == 1
    assert cut(client, photo)[1].headers["x-credits-charged"] == "1"
    answer = post(client, photo)
    assert refused(answer) == (402, "insufficient_credits")
    assert answer.json()["errors"][0]["title"] == "Insufficient credits"
    assert total() == 0


@pytest.mark.parametrize("allowed", [0, 5])
def test_a_picture_that_is_made_is_handed_out_although_the_database_fails_by_then(
    allowed: int, serve: Serve, photo: bytes, tmp_path: Path
) -> None:
    """The credit was taken already; the response needs nothing more of the database."""

    def lose(photo: RGB) -> Alpha:
        with closing(sqlite3.connect(tmp_path / "mattebox.db", isolation_level=None)) as database:
            database.execute("DROP TABLE usage")
        return FakeSegmenter()(photo)

    client = serve(models=FakeModels(lose), keys=("k",), accounts={"credits": allowed})
    client.headers["X-Api-Key"] = "k"
    assert cut(client, photo)[1].headers["x-credits-charged"] == ("1" if allowed else "0")


class Slow:
    """A network that is busy until `leave` is set, where it is asked to be."""

    def __init__(self) -> None:
        self.entered, self.leave = threading.Event(), threading.Event()

    def __call__(self, photo: RGB) -> Alpha:
        if photo.shape[0] == photo.shape[1]:
            self.entered.set()
            assert self.leave.wait(20)
        return FakeSegmenter()(photo)


SQUARE = png(make_scene(width=64, height=64, seed=3).photo)


def test_the_rate_limit_is_that_of_the_key(serve: Serve, photo: bytes) -> None:
    client = serve(keys=("k", "l"), rates={"requests": "9/second", "dialects": "removebg=2/hour"})
    begin, key = time.time(), {"x-api-key": "k"}
    names = [f"x-ratelimit-{name}" for name in ("limit", "remaining", "reset")]

    def send(headers: dict[str, str]) -> Response:
        return client.post(PATH, files={"image_file": photo}, headers=headers)

    answers = [send(key) for _ in range(3)]
    told = [(each.status_code, *(each.headers[name] for name in names[:2])) for each in answers]
    assert told == [(200, "2", "1"), (200, "2", "0"), (429, "2", "0")]
    assert all(begin < int(each.headers[names[2]]) <= begin + 3600 + 60 for each in answers)
    answer = answers[-1]
    assert answer.json()["errors"][0]["code"] == "rate_limit_exceeded"
    wait = int(answer.headers["retry-after"])
    # Both tell of one moment; each is rounded to a second.
    assert begin - 2 <= int(answer.headers["x-ratelimit-reset"]) - wait <= time.time() + 2
    assert 3000 < wait <= 3600
    assert send({"x-api-key": "l"}).status_code == 200
    assert client.post("/api/v1/remove", content=photo, headers=key).status_code == 200  # another dialect


def test_too_many_at_a_time(serve: Serve, photo: bytes) -> None:
    slow = Slow()
    client = serve(models=FakeModels(slow), service={"workers": 1, "queue": 0})
    busy = threading.Thread(target=post, args=(client, SQUARE))
    busy.start()
    try:
        assert slow.entered.wait(20)
        answer = post(client, photo)
    finally:
        slow.leave.set()
        busy.join()
    assert refused(answer) == (429, "rate_limit_exceeded")
    assert answer.json()["errors"][0]["title"] == "Rate limit exceeded"
    assert int(answer.headers["retry-after"]) > 0


def test_failures_beside_the_vendors_list(client: TestClient) -> None:
    broken = client.post(PATH, content=b"{", headers={"Content-Type": "application/json"})
    assert refused(broken) == (400, "invalid_request")
    assert refused(client.post("/v1.0/removebg/more")) == (404, "not_found")
    for path, method in ((PATH, "POST"), (ACCOUNT, "GET"), ("/v1.0/improve", "POST")):
        answer = client.put(path)
        assert refused(answer) == (405, "invalid_request")
        assert answer.headers["allow"] == method


def test_a_failure_says_more_only_where_there_is_more(client: TestClient, photo: bytes) -> None:
    sentence = "scale must be from 10% to 100%, or original."
    assert post(client, photo, scale="5%").json() == {"errors": [{"title": sentence, "code": "invalid_scale"}]}
    (missing,) = client.post(PATH, json={}).json()["errors"]
    assert missing["title"] == "No image given"
    assert "image_file_b64" in missing["detail"]


# --- large bodies ------------------------------------------------------------------------------------------------


def noise(size: int) -> bytes:
    """A photo of about so many bytes, which no PNG makes smaller."""
    side = round((size / 3) ** 0.5)
    pixels = np.random.default_rng(4).integers(0, 256, (side, side, 3), np.uint8)
    written = io.BytesIO()
    Pillow.fromarray(pixels).save(written, "PNG", compress_level=0)
    return written.getvalue()


def disc(photo: RGB) -> Alpha:
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    return np.asarray(np.hypot(x, y) < 0.7, np.float32)


@pytest.mark.slow
def test_a_base64_field_of_22_megabytes(serve: Serve) -> None:
    photo = noise(16_400_000)
    encoded = base64.b64encode(photo).decode()
    assert 21_800_000 < len(encoded) < 22_200_000
    client = serve(models=FakeModels(disc))
    form = {"image_file_b64": encoded, "channels": "alpha"}
    urlencoded = client.post(PATH, data=form)
    matte = opened(urlencoded)
    assert 245_000 < matte.size <= 250_000
    assert (matte[0, 0], matte[250, 250]) == (0, 255)
    multipart = client.post(PATH, data=form, files={"size": (None, b"preview")})
    assert multipart.request.headers["content-type"].startswith("multipart/")
    assert multipart.content == urlencoded.content


@pytest.mark.slow
def test_a_file_of_almost_22_megabytes(serve: Serve) -> None:
    photo = noise(int(21.9 * 2**20))
    assert 21.8 * 2**20 < len(photo) <= 22 * 2**20
    matte, answer = cut(serve(models=FakeModels(disc)), photo, channels="alpha")
    assert (matte[0, 0], matte[250, 250]) == (0, 255)
    assert int(answer.headers["x-max-width"]) > 2700


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
    assert unlimited["data"]["attributes"]["credits"]["total"] == removebg.UNLIMITED


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


# --- any geometry ------------------------------------------------------------------------------------------------

GEOMETRY = {
    "roi_exceeds_bounds",
    "roi_region_empty",
    "invalid_roi",
    "invalid_crop_margin",
    "invalid_scale",
    "invalid_position",
    "invalid_size",
}
SIZES = ("preview", "medium", "hd", "full", "50MP", "auto", "")


def a_form(chance: random.Random) -> dict[str, str]:
    """Some fields of geometry; about a third of the forms have one that is wrong."""

    def length(percent: float, pixels: float) -> str:
        value = chance.choice([0, 1, chance.uniform(0, 1), 1])
        match chance.randrange(3):
            case 0:
                return f"{percent * value:.{chance.randrange(4)}f}%"
            case 1:
                return f"{pixels * value:.0f}px"
            case _:
                return f"{pixels * value:.0f}"

    def lengths(count: int, percent: float, pixels: float) -> str:
        return chance.choice([" ", ", "]).join(length(percent, pixels) for _ in range(count))

    form = {"crop": chance.choice(["true", "false", ""]), "size": chance.choice(SIZES)}
    if chance.random() < 0.4:
        form["crop_margin"] = lengths(chance.choice([1, 2, 4]), 50, 500)
    if chance.random() < 0.4:
        form["scale"] = chance.choice(["original", "10%", "100%", f"{chance.uniform(10, 100):.2f}%"])
    if chance.random() < 0.4:
        form["position"] = chance.choice(
            ["original", "center", "0%", "100% 100%", f"{chance.uniform(0, 100):.2f}% {chance.uniform(0, 100):.0f}%"]
        )
    if chance.random() < 0.4:
        form["roi"] = lengths(4, 100, chance.choice([100, 1000]))
    if chance.random() < 0.3:
        name = chance.choice(["crop_margin", "scale", "position", "roi", "size"])
        form[name] = chance.choice(
            [
                "-1",
                "0",
                "900px",
                "1e9%",
                "99999999999999999999",
                "50",
                "a b",
                "1 2 3 4 5",
                "%",
                "nan%",
                "inf",
                "٣%",
                "-0%",
            ]
        )
    return form


def planned(form: Mapping[str, str], width: int, height: int, subject: Box | None) -> layout.Placement | MatteboxError:
    """What the door and the engine do about the geometry of one request."""
    try:
        asked = edit_of(form).layout
        if asked.roi is not None:
            layout.region(width, height, asked.roi)
        return layout.plan(width, height, subject, asked)
    except MatteboxError as error:
        return error


def a_picture(chance: random.Random) -> tuple[int, int, Box | None]:
    width = round(10 ** chance.uniform(0, 4))
    height = round(min(10 ** chance.uniform(0, 4), removebg.MOST_PIXELS / width))
    left, top = chance.randrange(width), chance.randrange(height)
    subject = Box(left, top, chance.randint(1, width - left), chance.randint(1, height - top))
    return width, height, None if chance.random() < 0.1 else subject


def code(error: MatteboxError) -> str:
    shown = removebg.render_error(error, 400, "")
    return str(json.loads(bytes(shown.body))["errors"][0]["code"])


@pytest.mark.slow
def test_ten_thousand_requests_stay_on_their_canvas() -> None:
    done, failed = 0, set()
    for seed in range(10_000):
        chance = random.Random(seed)
        form, (width, height, subject) = a_form(chance), a_picture(chance)
        context = f"seed {seed}: {form}, {width} x {height}, {subject}"
        placement = planned(form, width, height, subject)
        if isinstance(placement, MatteboxError):
            assert placement.kind is Kind.INVALID_PARAMETER, context
            assert code(placement) in GEOMETRY, context
            failed.add(code(placement))
            continue
        done += 1
        canvas, target, keep = Box(0, 0, placement.width, placement.height), placement.target, placement.keep
        assert inside(target, canvas), context
        assert inside(keep, Box(0, 0, width, height)), context
        assert canvas.width * canvas.height <= removebg.MOST_PIXELS, context
        if subject is not None:
            assert inside(placement.moved(subject), canvas), context
            assert_posed(form, placement, subject, context)
    assert done > 4000
    assert failed == GEOMETRY


def inside(part: Box, whole: Box) -> bool:
    return (
        part.width >= 1
        and part.height >= 1
        and part.left >= whole.left
        and part.top >= whole.top
        and part.right <= whole.right
        and part.bottom <= whole.bottom
    )


def assert_posed(form: Mapping[str, str], placement: layout.Placement, subject: Box, context: str) -> None:
    """The subject has its share of the canvas and lies where it was asked to lie, to the nearest pixels.

    A pixel of the photo is not cut in two, so where the photo is enlarged it is to one of those at either side.
    """
    moved = placement.moved(subject)
    scale, position = form.get("scale", "original"), form.get("position", "original")
    if scale == position == "original":
        return
    near = 2 + 2 * max(placement.target.width / placement.keep.width, placement.target.height / placement.keep.height)
    sides = ((moved.left, moved.width, placement.width), (moved.top, moved.height, placement.height))
    if scale != "original":
        share = float(scale.rstrip("%")) / 100
        assert any(abs(part - share * whole) <= near for _, part, whole in sides), context
        assert all(part <= share * whole + near for _, part, whole in sides), context
    words = ("50%", "50%") if position in ("original", "center") else position.split()
    for word, (first, part, whole) in zip((words[0], words[-1]), sides, strict=True):
        assert abs(first - float(word.rstrip("%")) / 100 * (whole - part)) <= near, context


@pytest.mark.slow
def test_a_hundred_of_them_through_the_server(client: TestClient, photo: bytes) -> None:
    statuses = []
    for seed in range(100):
        form = a_form(random.Random(seed))
        answer = post(client, photo, **form)
        statuses.append(answer.status_code)
        if answer.status_code != 200:
            assert refused(answer)[0] == 400, form
            assert refused(answer)[1] in GEOMETRY & CODES | {"roi_exceeds_bounds", "unknown_foreground"}, form
            continue
        picture = opened(answer)
        left, top, width, height = box(answer)
        assert left >= 0, form
        assert top >= 0, form
        assert left + width <= picture.shape[1], form
        assert top + height <= picture.shape[0], form
    assert 30 < statuses.count(200) < 100


def test_every_code_of_the_vendors_list_is_provoked_above() -> None:
    """So that the list and the tests do not part."""
    here = re.findall(r'"(\w+)"', Path(__file__).read_text("utf-8"))
    assert {each for each in CODES if here.count(each) < 2} == set()

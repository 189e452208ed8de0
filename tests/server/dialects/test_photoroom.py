from __future__ import annotations

import base64
from collections.abc import Callable

import numpy as np
import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from mattebox import codec
from mattebox.edit import Output
from mattebox.image import RGB, Alpha, Image
from mattebox.testing import FakeModels

PATH = "/v1/segment"
Serve = Callable[..., TestClient]


def ask(client: TestClient, photo: bytes, **form: str) -> tuple[Image, Response]:
    answer = client.post(PATH, files={"image_file": ("photo.jpg", photo)}, data=form)
    assert answer.status_code == 200, answer.text
    return codec.decode(answer.content), answer


def refused(answer: Response) -> tuple[int, str, str]:
    found = answer.json()
    assert set(found) == {"detail", "status_code", "type"}
    assert found["status_code"] == answer.status_code
    return answer.status_code, found["type"], found["detail"]


def test_a_cutout_and_how_uncertain_it_is(client: TestClient, photo: bytes) -> None:
    image, answer = ask(client, photo)
    assert answer.headers["content-type"] == "image/png"
    assert (image.width, image.height) == (200, 150)
    assert image.alpha is not None
    assert image.alpha[0, 0] == 0
    assert answer.headers["x-mattebox-subject"] == "50,19,98,121"
    unsure = float(answer.headers["x-uncertainty-score"])
    assert 0 <= unsure < 0.5
    sure = float(client.post("/v1/remove", files={"image_file": photo}).headers["x-matte-confidence"])
    assert unsure == pytest.approx(1 - sure, abs=1e-4)


def test_words_that_are_not_set_change_nothing(client: TestClient, photo: bytes) -> None:
    empty = dict.fromkeys(("format", "channels", "bg_color", "size", "crop", "despill"), "")
    assert ask(client, photo, **empty)[1].content == ask(client, photo)[1].content


@pytest.mark.parametrize(
    ("form", "media_type", "corner"),
    [
        ({"format": "webp"}, "image/webp", None),
        ({"format": "jpg"}, "image/jpeg", (255, 255, 255)),
        ({"format": "jpg", "bg_color": "#ff0000"}, "image/jpeg", (254, 0, 0)),
        ({"bg_color": "00ff00"}, "image/png", (0, 255, 0)),
        ({"bg_color": "teal", "format": "webp"}, "image/webp", (0, 128, 128)),
        ({"bg_color": "#ff000000"}, "image/png", None),
        ({"channels": "alpha"}, "image/png", (0, 0, 0)),
        ({"channels": "alpha", "bg_color": "red"}, "image/png", (0, 0, 0)),
        ({"despill": "true"}, "image/png", None),
    ],
)
def test_formats_channels_and_colours(
    form: dict[str, str], media_type: str, corner: tuple[int, int, int] | None, client: TestClient, photo: bytes
) -> None:
    image, answer = ask(client, photo, **form)
    assert answer.headers["content-type"] == media_type
    if corner is None:
        assert image.alpha is not None
        assert image.alpha[0, 0] == 0
    else:
        assert image.alpha is None
        assert np.abs(image.rgb[0, 0].astype(int) - corner).max() <= 3


def test_a_colour_may_let_the_transparency_through(client: TestClient, photo: bytes) -> None:
    image, _ = ask(client, photo, bg_color="ff000080")
    assert image.alpha is not None
    assert image.alpha[0, 0] == pytest.approx(128 / 255, abs=0.01)


def test_despill_is_always_done(client: TestClient, photo: bytes) -> None:
    on, off = (ask(client, photo, despill=word)[1].content for word in ("true", "false"))
    assert on == off


@pytest.mark.parametrize(("size", "width"), [("preview", 500), ("medium", 1225), ("hd", 2000), ("full", 2400)])
def test_sizes_are_megapixels(size: str, width: int, client: TestClient) -> None:
    square = codec.encode(Image(rgb=np.zeros((2400, 2400, 3), np.uint8)), Output())
    image, _ = ask(client, square, size=size)
    assert abs(image.width - width) <= 1
    assert abs(image.width - image.height) <= 1
    assert image.width * image.height <= width * (width + 1)


def test_crop_cuts_to_the_subject(client: TestClient, photo: bytes) -> None:
    image, answer = ask(client, photo, crop="true")
    assert (image.width, image.height) == (98, 121)
    assert answer.headers["x-mattebox-subject"] == "0,0,98,121"


def test_json_in_and_out(client: TestClient, photo: bytes) -> None:
    text = base64.b64encode(photo).decode()
    plain = ask(client, photo)[1].content
    for sent in (text, f"data:image/png;base64,{text}"):
        answer = client.post(PATH, json={"image_file_b64": sent, "format": "png", "crop": False})
        assert answer.content == plain
        answer = client.post(PATH, json={"image_file_b64": sent}, headers={"Accept": "application/json"})
        found = answer.json()
        assert set(found) == {"result_b64", "base64img"}
        assert base64.b64decode(found["result_b64"]) == plain
        assert found["base64img"] == found["result_b64"]
        assert answer.headers["vary"] == "Accept, Origin"
        assert "x-uncertainty-score" in answer.headers


def test_only_who_asks_for_json_alone_gets_it(client: TestClient, photo: bytes) -> None:
    """`axios` names JSON first in every request; its users save what comes as a picture."""
    files = {"image_file": photo}
    for accept in ("application/json, text/plain, */*", "image/png, application/json", "*/*"):
        assert client.post(PATH, files=files, headers={"Accept": accept}).headers["content-type"] == "image/png"
    for accept in ("application/json", "application/json;q=0.9"):
        assert client.post(PATH, files=files, headers={"Accept": accept}).headers["content-type"] == "application/json"


def test_base64_in_a_form(client: TestClient, photo: bytes) -> None:
    answer = client.post(PATH, data={"image_file_b64": base64.b64encode(photo).decode()})
    assert answer.content == ask(client, photo)[1].content


def test_a_file_wins_over_base64_which_is_not_read(client: TestClient, photo: bytes) -> None:
    assert ask(client, photo, image_file_b64="?")[1].content == ask(client, photo)[1].content


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "gif"),
        ("channels", "rgb"),
        ("bg_color", "greenish"),
        ("size", "huge"),
        ("crop", "yes"),
        ("despill", "green"),
    ],
)
def test_what_is_not_understood_is_named(field: str, value: str, client: TestClient, photo: bytes) -> None:
    status, kind, detail = refused(client.post(PATH, files={"image_file": photo}, data={field: value}))
    assert (status, kind) == (400, "invalid_parameter")
    assert field in detail


def test_without_a_picture(client: TestClient) -> None:
    for sent in ({"data": {"crop": "true"}}, {"json": {"image": "Zm9v"}}, {"content": b""}):
        assert refused(client.post(PATH, **sent)) == (400, "missing_image", "image_file: Please provide an image.")


def test_a_picture_that_is_none_is_blamed_on_its_field(client: TestClient) -> None:
    status, kind, detail = refused(client.post(PATH, files={"image_file": b"a letter"}))
    assert (status, kind) == (400, "invalid_image")
    assert detail.startswith("image_file: ")
    status, kind, detail = refused(client.post(PATH, json={"image_file_b64": base64.b64encode(b"a letter").decode()}))
    assert (status, kind) == (400, "invalid_image")
    assert detail.startswith("image_file_b64: ")
    assert refused(client.post(PATH, json={"image_file_b64": "?"}))[:2] == (400, "invalid_parameter")
    broken = client.post(PATH, content=b"{", headers={"Content-Type": "application/json"})
    assert refused(broken)[:2] == (400, "invalid_request")


def test_no_subject_is_an_empty_cutout(serve: Serve, photo: bytes) -> None:
    def nothing(photo: RGB) -> Alpha:
        return np.zeros((8, 8), np.float32)

    image, answer = ask(serve(models=FakeModels(nothing)), photo, crop="true")
    assert (image.width, image.height, answer.headers["x-mattebox-subject"]) == (200, 150, "none")


def test_keys_and_credits(serve: Serve, photo: bytes) -> None:
    client = serve(keys=("k",), accounts={"credits": 2}, limits={"max_bytes": 200_000})
    files = {"image_file": photo}
    assert refused(client.post(PATH, files=files))[:2] == (403, "missing_api_key")
    wrong = client.post(PATH, files=files, headers={"x-api-key": "sandbox_wrong"})
    assert refused(wrong)[:2] == (403, "invalid_api_key")
    client.headers["X-Api-Key"] = "k"
    large = client.post(PATH, files={"image_file": bytes(200_001)})
    assert refused(large)[:2] == (413, "image_too_large")
    ask(client, photo)
    client.headers["X-Api-Key"] = "sandbox_k"  # is the same account's
    ask(client, photo)
    assert refused(client.post(PATH, files=files))[:2] == (402, "credits_exhausted")


def test_a_configured_key_may_itself_look_like_one_of_the_sandbox(serve: Serve, photo: bytes) -> None:
    client = serve(keys=("sandbox_k",))
    client.headers["x-api-key"] = "sandbox_k"
    ask(client, photo)
    client.headers["x-api-key"] = "k"
    assert refused(client.post(PATH, files={"image_file": photo}))[:2] == (403, "invalid_api_key")


def test_the_address_takes_post_only(client: TestClient) -> None:
    assert refused(client.get(PATH))[:2] == (405, "invalid_request")

from __future__ import annotations

import base64
from collections.abc import Callable

import numpy as np
import pytest
from starlette.testclient import TestClient

from mattebox import codec
from mattebox.edit import Output
from mattebox.image import RGB, Alpha, Image
from mattebox.testing import FakeModels

PATH = "/v3/remove-background"


def ask(client: TestClient, photo: bytes, **body: object) -> Image:
    """The picture that comes back; its type is what the answer says."""
    answer = client.post(PATH, json={"image_file": base64.b64encode(photo).decode()} | body)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"image_file", "image_type"}
    data = base64.b64decode(answer.json()["image_file"], validate=True)
    signature = {"png": b"\x89PNG", "webp": b"RIFF", "jpeg": b"\xff\xd8\xff"}[answer.json()["image_type"]]
    assert data.startswith(signature)
    return codec.decode(data)


def refused(client: TestClient, body: object) -> tuple[int, str, str]:
    answer = client.post(PATH, json=body)
    found = answer.json()
    assert set(found) == {"code", "reason", "message", "metadata"}
    assert found["code"] == answer.status_code
    assert found["metadata"]["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, found["reason"], found["metadata"].get("parameter", "")


@pytest.mark.parametrize("extra", [None, {}, {"response_image_type": ""}, {"response_image_type": None}, {"more": [1]}])
def test_png_with_alpha_unless_asked_otherwise(extra: object, client: TestClient, photo: bytes) -> None:
    image = ask(client, photo, extra=extra)
    assert (image.width, image.height) == (200, 150)
    assert image.alpha is not None
    assert image.alpha[0, 0] == 0
    assert image.alpha[75, 96] == 1


def test_webp_has_alpha_and_jpeg_is_white_behind(client: TestClient, photo: bytes) -> None:
    webp = ask(client, photo, extra={"response_image_type": "webp"})
    assert webp.alpha is not None
    assert webp.alpha[0, 0] == 0
    for word in ("jpeg", "JPEG", "jpg"):
        jpeg = ask(client, photo, extra={"response_image_type": word})
        assert jpeg.alpha is None
        assert jpeg.rgb[:10, :10].min() > 250
        assert jpeg.rgb[75, 96].max() < 200


@pytest.mark.parametrize("plan", [True, False, {"enabled": True}, {"enabled": "x"}, "yes", None, 3])
def test_the_plan_says_nothing_here(plan: object, client: TestClient, photo: bytes) -> None:
    ask(client, photo, extra={"enterprise_plan": plan, "response_image_type": "png"})


def test_data_urls_are_accepted_and_bare_base64_comes_back(client: TestClient, photo: bytes) -> None:
    ask(client, photo, image_file="data:image/jpeg;base64," + base64.encodebytes(photo).decode())


@pytest.mark.parametrize(
    ("body", "reason", "parameter"),
    [
        ({}, "INVALID_REQUEST_BODY", "image_file"),
        ({"image_file": ""}, "INVALID_REQUEST_BODY", "image_file"),
        ({"image_file": None}, "INVALID_REQUEST_BODY", "image_file"),
        ({"image_file": "%%%"}, "INVALID_REQUEST_BODY", "image_file"),
        ({"image_file": 5}, "INVALID_REQUEST_BODY", "image_file"),
        ({"image_file": "Zm9v", "extra": [1]}, "INVALID_REQUEST_BODY", "extra"),
        (
            {"image_file": "Zm9v", "extra": {"response_image_type": "gif"}},
            "INVALID_REQUEST_BODY",
            "extra.response_image_type",
        ),
        ({"image_file": "Zm9v"}, "INVALID_IMAGE_FORMAT", "image_file"),
        ([], "INVALID_REQUEST_BODY", ""),
    ],
)
def test_refusals(body: object, reason: str, parameter: str, client: TestClient) -> None:
    assert refused(client, body) == (400, reason, parameter)


def test_a_format_that_cannot_hold_the_picture_is_blamed_on_the_vendors_field(client: TestClient) -> None:
    wide = codec.encode(Image(rgb=np.zeros((4, 17_000, 3), np.uint8)), Output())
    asked = {"image_file": base64.b64encode(wide).decode(), "extra": {"response_image_type": "webp"}}
    assert refused(client, asked) == (400, "INVALID_REQUEST_BODY", "extra.response_image_type")


def test_pixels_are_the_operators_to_limit(serve: Callable[..., TestClient]) -> None:
    large = codec.encode(Image(rgb=np.zeros((4100, 4100, 3), np.uint8)), Output())
    ask(serve(), large)  # 16.8 million
    asked = {"image_file": base64.b64encode(large).decode()}
    assert refused(serve(limits={"max_pixels": 16_000_000}), asked)[1] == "IMAGE_EXCEEDS_MAX_RESOLUTION"


def test_where_there_is_no_subject_the_cutout_is_empty(serve: Callable[..., TestClient], photo: bytes) -> None:
    def nothing(photo: RGB) -> Alpha:
        return np.zeros((8, 8), np.float32)

    client = serve(models=FakeModels(nothing))
    answer = client.post(PATH, json={"image_file": base64.b64encode(photo).decode()})
    assert (answer.status_code, answer.headers["x-mattebox-subject"]) == (200, "none")
    image = codec.decode(base64.b64decode(answer.json()["image_file"]))
    assert image.alpha is not None
    assert image.alpha.max() == 0


def test_credits_that_are_used_up_are_a_balance(serve: Callable[..., TestClient], photo: bytes) -> None:
    client = serve(keys=("k",), accounts={"credits": 1})
    client.headers["Authorization"] = "Bearer k"
    ask(client, photo)
    assert refused(client, {"image_file": base64.b64encode(photo).decode()})[:2] == (400, "BILLING_BALANCE_NOT_ENOUGH")

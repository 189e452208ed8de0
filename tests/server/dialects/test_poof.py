from __future__ import annotations

import re
import threading
from collections.abc import Callable

import numpy as np
import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from mattebox import codec
from mattebox.edit import Output
from mattebox.image import RGB, Alpha, Image
from mattebox.server.dialects.base import UNLIMITED
from mattebox.testing import FakeModels

PATH = "/v1/remove"
Serve = Callable[..., TestClient]


def ask(client: TestClient, photo: bytes, field: str = "image_file", **form: str) -> tuple[Image, Response]:
    answer = client.post(PATH, files={field: ("photo.png", photo)}, data=form)
    assert answer.status_code == 200, answer.text
    return codec.decode(answer.content), answer


def refused(answer: Response) -> tuple[int, str, str, object]:
    found = answer.json()
    assert set(found) == {"code", "message", "details", "request_id"}
    assert found["request_id"] == answer.headers["x-request-id"]
    assert re.fullmatch(r"req_[0-9a-f]{24}", found["request_id"])
    details = found["details"]
    return answer.status_code, found["code"], found["message"], details["field"] if isinstance(details, dict) else None


INVALID = (400, "validation_error", "One or more parameters are invalid")
MISSING = (400, "missing_image", "The request did not contain an image file")


@pytest.mark.parametrize("field", ["image_file", "file", "image"])
def test_a_cutout_with_its_measures_in_headers(field: str, client: TestClient, photo: bytes) -> None:
    image, answer = ask(client, photo, field)
    assert image.alpha is not None
    assert image.alpha[0, 0] == 0
    headers = answer.headers
    assert headers["content-type"] == "image/png"
    assert (headers["x-image-width"], headers["x-image-height"]) == ("200", "150")
    assert headers["x-request-id"].startswith("req_")
    assert int(headers["x-processing-time-ms"]) >= 0
    assert 0 < float(headers["x-matte-confidence"]) <= 1
    assert 0 <= float(headers["x-matte-ambiguous-ratio"]) < 1
    assert headers["x-mattebox-subject"] == "50,19,98,121"


def test_words_that_are_not_set_change_nothing(client: TestClient, photo: bytes) -> None:
    names = ("format", "channels", "bg_color", "size", "crop", "padding", "width", "height", "fit", "url")
    empty = dict.fromkeys(names, "")
    assert ask(client, photo, **empty)[1].content == ask(client, photo)[1].content


@pytest.mark.parametrize(
    ("form", "media_type", "corner"),
    [
        ({"format": "webp"}, "image/webp", None),
        ({"format": "jpg"}, "image/jpeg", (255, 255, 255)),
        ({"format": "jpg", "bg_color": "#ff0000"}, "image/jpeg", (254, 0, 0)),
        ({"channels": "rgb"}, "image/png", (255, 255, 255)),
        ({"channels": "rgb", "bg_color": "rgb(0, 128, 255)"}, "image/png", (0, 128, 255)),
        ({"channels": "rgb", "bg_color": "teal", "format": "webp"}, "image/webp", (0, 128, 128)),
        ({"channels": "rgba", "bg_color": "red"}, "image/png", None),
        ({"channels": "alpha"}, "image/png", (0, 0, 0)),
        ({"channels": "alpha", "format": "jpg", "bg_color": "red"}, "image/jpeg", (0, 0, 0)),
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


@pytest.mark.parametrize(
    ("size", "side"),
    [
        ("full", 2600),
        ("preview", 256),
        ("small", 512),
        ("medium", 1024),
        ("hd", 1920),
        ("large", 2048),
        ("LARGE", 2048),
    ],
)
def test_sizes_are_the_longest_side(size: str, side: int, client: TestClient) -> None:
    wide = codec.encode(Image(rgb=np.zeros((100, 2600, 3), np.uint8)), Output())
    image, answer = ask(client, wide, size=size)
    assert (image.width, answer.headers["x-image-width"]) == (side, str(side))


def test_crop_cuts_to_the_subject(client: TestClient, photo: bytes) -> None:
    for word in ("true", "1", "True"):
        image, answer = ask(client, photo, crop=word)
        assert (image.width, image.height) == (98, 121)
        assert answer.headers["x-mattebox-subject"] == "0,0,98,121"
    for word in ("false", "0"):
        assert ask(client, photo, crop=word)[0].width == 200


def test_crop_without_a_subject_is_the_whole_picture(serve: Serve, photo: bytes) -> None:
    def nothing(photo: RGB) -> Alpha:
        return np.zeros((8, 8), np.float32)

    image, answer = ask(serve(models=FakeModels(nothing)), photo, crop="true")
    assert (image.width, image.height, answer.headers["x-mattebox-subject"]) == (200, 150, "none")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "gif"),
        ("format", "mp4"),
        ("format", "MOV"),
        ("format", "webm"),
        ("channels", "cmyk"),
        ("bg_color", "greenish"),
        ("size", "huge"),
        ("crop", "yes"),
        ("crop", "4:0"),
        ("crop", "4:3:2"),
        ("crop", "1.5:1"),
        ("crop", "-4:3"),
        ("crop", "wide:high"),
        ("padding", "wide"),
        ("padding", "10px"),
        ("padding", "-0.1"),
        ("padding", "1.01"),
        ("padding", "101%"),
        ("padding", "10%"),  # round what, without crop?
        ("width", "0"),
        ("width", "6001"),
        ("width", "1.5"),
        ("height", "6001"),
        ("height", "tall"),
        ("fit", "fill"),
    ],
)
def test_what_is_not_understood_is_named(field: str, value: str, client: TestClient, photo: bytes) -> None:
    answer = client.post(PATH, files={"image_file": photo}, data={field: value})
    assert refused(answer) == (*INVALID, field)


def test_padding_needs_a_cropped_subject(client: TestClient, photo: bytes) -> None:
    answer = client.post(PATH, files={"image_file": photo}, data={"padding": "0.1", "crop": "false"})
    assert "requires crop" in answer.json()["details"]["message"]
    assert ask(client, photo, padding="0")[0].width == 200


@pytest.mark.parametrize(
    ("form", "size", "subject"),
    [
        # The subject is 98 x 121.
        ({"crop": "1:1"}, (121, 121), "11,0,98,121"),
        ({"crop": "4:3"}, (162, 121), "32,0,98,121"),
        ({"crop": " 1 : 2 "}, (98, 196), "0,37,98,121"),
        ({"crop": "true", "padding": "10%"}, (118, 145), "10,12,98,121"),
        ({"crop": "true", "padding": "0.1"}, (118, 145), "10,12,98,121"),
        ({"crop": "1", "padding": ".1"}, (118, 145), "10,12,98,121"),
        ({"crop": "1", "padding": "1"}, (294, 363), "98,121,98,121"),
        ({"crop": "1:1", "padding": "50 %"}, (243, 243), "72,61,98,121"),  # the padding keeps the ratio
        ({"width": "100"}, (100, 75), None),
        ({"height": "300"}, (400, 300), None),
        ({"width": "100", "height": "100"}, (100, 100), None),
        ({"width": "400", "height": "100", "fit": "cover"}, (400, 100), None),
        ({"width": "400", "fit": "scale-down"}, (200, 150), None),
        ({"width": "400", "height": "400", "fit": "scale-down"}, (400, 400), "150,144,98,121"),
        ({"crop": "true", "width": "500", "height": "500", "padding": "0.1"}, (500, 500), None),
        ({"width": "600", "size": "preview"}, (600, 450), None),  # width overrides size
        ({"fit": "cover"}, (200, 150), None),  # there is nothing to fit it into
    ],
)
def test_ratio_padding_and_canvas(
    form: dict[str, str], size: tuple[int, int], subject: str | None, client: TestClient, photo: bytes
) -> None:
    image, answer = ask(client, photo, **form)
    assert (image.width, image.height) == size
    assert (answer.headers["x-image-width"], answer.headers["x-image-height"]) == (str(size[0]), str(size[1]))
    if subject is not None:
        assert answer.headers["x-mattebox-subject"] == subject


def test_what_a_canvas_adds_is_clear_or_of_the_colour(client: TestClient, photo: bytes) -> None:
    """200 x 150 in 100 x 100 leaves twelve empty rows above and below."""
    clear, _ = ask(client, photo, width="100", height="100")
    assert clear.alpha is not None
    assert clear.alpha[:12].max() == 0
    red, _ = ask(client, photo, width="100", height="100", channels="rgb", bg_color="red")
    assert (red.rgb[:12] == (255, 0, 0)).all()


def test_cover_keeps_the_subject(serve: Serve, photo: bytes) -> None:
    """Which is at the right edge: the middle of the picture has nothing of it."""

    def right_quarter(photo: RGB) -> Alpha:
        alpha = np.zeros((8, 8), np.float32)
        alpha[:, 6:] = 1
        return alpha

    image, _ = ask(serve(models=FakeModels(right_quarter)), photo, width="60", height="150", fit="cover")
    assert image.alpha is not None
    assert (image.width, image.height) == (60, 150)
    assert (image.alpha > 0.5).any(axis=0).sum() > 35


def test_a_video_is_refused_as_such(client: TestClient) -> None:
    for video in (b"\0\0\0\x18ftypisom" + bytes(1000), b"\x1a\x45\xdf\xa3" + bytes(1000)):
        answer = client.post(PATH, files={"file": video})
        assert refused(answer) == (*INVALID, "file")
        assert "Video" in answer.json()["details"]["message"]
    job = client.get("/v1/jobs/job_1")
    assert (job.status_code, job.json()["code"]) == (404, "validation_error")


def test_a_format_that_cannot_hold_the_picture_is_named(client: TestClient) -> None:
    wide = codec.encode(Image(rgb=np.zeros((4, 17_000, 3), np.uint8)), Output())
    answer = client.post(PATH, files={"image_file": wide}, data={"format": "webp"})
    assert refused(answer) == (*INVALID, "format")


def test_without_a_picture(client: TestClient) -> None:
    for sent in ({"data": {"crop": "true"}}, {"json": {"image": "Zm9v"}}, {"content": b""}):
        assert refused(client.post(PATH, **sent)) == (*MISSING, "image_file")


def test_a_picture_that_is_none_is_blamed_on_its_field(client: TestClient) -> None:
    assert refused(client.post(PATH, files={"file": b"a letter"})) == (*INVALID, "file")


def test_an_address_may_come_in_both_kinds_of_form(client: TestClient) -> None:
    """Loopback is not fetched from, which shows that it was understood as an address."""
    for field in ("url", "image_url"):
        url = {field: "http://127.0.0.1/photo.jpg"}
        for answer in (client.post(PATH, data=url), client.post(PATH, data=url, files={"image_file": ("", b"")})):
            assert refused(answer) == (*INVALID, field)
            assert "fetched from" in answer.text
    assert refused(client.post(PATH, data={"url": "ftp://x"})) == (*INVALID, "url")


def test_the_vendors_sentences_word_for_word(serve: Serve, photo: bytes) -> None:
    client = serve(keys=("k",), accounts={"credits": 1}, limits={"max_bytes": 20_000})
    files = {"image_file": photo}
    assert refused(client.post(PATH, files=files))[:3] == (401, "authentication_error", "Invalid or missing API key")
    client.headers["X-API-Key"] = "k"
    large = client.post(PATH, files={"image_file": bytes(20_001)})
    assert refused(large)[:3] == (400, "image_too_large", "The uploaded image exceeds the maximum size")
    small = codec.encode(Image(rgb=np.zeros((9, 9, 3), np.uint8)), Output())
    assert client.post(PATH, files={"image_file": small}).status_code == 200
    assert refused(client.post(PATH, files=files))[:3] == (402, "payment_required", "Insufficient credits")


def test_the_account(serve: Serve, photo: bytes) -> None:
    client = serve(keys=("k",))
    assert refused(client.get("/v1/me"))[1] == "authentication_error"
    client.headers["x-api-key"] = "k"
    before = client.get("/v1/me").json()
    assert before == {
        "organizationId": before["organizationId"],
        "plan": "self-hosted",
        "maxCredits": UNLIMITED,
        "usedCredits": 0,
        "autoRechargeThreshold": None,
    }
    assert before["organizationId"] != "k"
    ask(client, photo)
    assert client.get("/v1/me").json() == before | {"usedCredits": 1}
    limited = serve(keys=("k",), accounts={"credits": 7})
    assert limited.get("/v1/me", headers={"x-api-key": "k"}).json()["maxCredits"] == 7


# --- Idempotency-Key ---------------------------------------------------------------------------------------------


def test_a_repeated_request_is_answered_from_memory_and_not_counted(serve: Serve, photo: bytes) -> None:
    client = serve(keys=("k", "l"))
    client.headers["x-api-key"] = "k"
    client.headers["Idempotency-Key"] = "order-1"
    first = client.post(PATH, files={"image_file": ("a.png", photo)})
    again = client.post(PATH, files={"file": ("b.png", photo)})  # another boundary, name and field: the same edit
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == first.content
    assert client.get("/v1/me").json()["usedCredits"] == 1
    other = client.post(PATH, files={"image_file": photo}, data={"crop": "true"})
    assert refused(other) == (*INVALID, "Idempotency-Key")
    elsewhere = client.post(PATH, files={"image_file": photo}, headers={"x-api-key": "l"})
    assert "idempotent-replayed" not in elsewhere.headers


def test_of_two_at_once_one_is_worked_on(serve: Serve, photo: bytes) -> None:
    entered, leave = threading.Event(), threading.Event()
    calls = 0

    def slow(photo: RGB) -> Alpha:
        nonlocal calls
        calls += 1
        entered.set()
        assert leave.wait(20)
        return np.ones((8, 8), np.float32)

    client = serve(models=FakeModels(slow))
    answers: list[Response] = []

    def send() -> None:
        answers.append(client.post(PATH, files={"image_file": photo}, headers={"Idempotency-Key": "once"}))

    both = [threading.Thread(target=send) for _ in range(2)]
    both[0].start()
    assert entered.wait(20)
    both[1].start()
    leave.set()
    for thread in both:
        thread.join()
    assert [each.status_code for each in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    assert calls == 1

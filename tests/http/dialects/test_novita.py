from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.http.dialects.conftest import Receiver

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


# --- tasks -------------------------------------------------------------------------------------------------------

LATER = "/v3/async/image-remove-background"
NOBODYS = "http://127.0.0.1:1/photo.jpg"


def queue(client: TestClient, image: str, **extra: object) -> str:
    answer = client.post(LATER, json={"image": image, "extra": extra})
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"task_id"}
    return str(answer.json()["task_id"])


def task_of(client: TestClient, task_id: str) -> dict[str, Any]:
    """The task's result, after a look at the form of each value: clients die of others."""
    answer = client.get("/v3/async/task-result", params={"task_id": task_id})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert_survivable(found)
    assert found["task"]["task_id"] == task_id
    return found


def assert_survivable(found: dict[str, Any]) -> None:
    assert set(found) == {"extra", "task", "images", "videos", "audios"}
    extra, task = found["extra"], found["task"]
    assert extra["seed"] == "0"
    assert extra["enable_nsfw_detection"] is False
    times = ("submit_time_ms", "execute_time_ms", "complete_time_ms")
    assert all(extra["debug_info"][name].isdecimal() for name in times)
    assert extra["debug_info"]["request_info"] == ""
    assert set(task) == {"task_id", "task_type", "status", "reason", "eta", "progress_percent"}
    assert task["task_type"] == "IMAGE_REMOVE_BACKGROUND"
    assert task["status"].removeprefix("TASK_STATUS_") in ("QUEUED", "PROCESSING", "SUCCEED", "FAILED")
    assert isinstance(task["reason"], str)
    assert (type(task["eta"]), type(task["progress_percent"])) == (int, int)
    assert found["videos"] == found["audios"] == []
    for image in found["images"]:
        assert set(image) == {"image_url", "image_url_ttl", "image_type", "nsfw_detection_result"}
        assert image["image_url_ttl"].isdecimal()
        assert image["nsfw_detection_result"] is None


def ended(client: TestClient, task_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = task_of(client, task_id)
        if found["task"]["status"] in ("TASK_STATUS_SUCCEED", "TASK_STATUS_FAILED"):
            return found
        time.sleep(0.05)
    raise AssertionError("the task did not end")


def result_of(client: TestClient, found: dict[str, Any]) -> Image:
    assert found["task"]["status"] == "TASK_STATUS_SUCCEED", found
    (shown,) = found["images"]
    assert 3500 < int(shown["image_url_ttl"]) <= 3600
    fetched = client.get(shown["image_url"], headers={"Authorization": ""})
    assert fetched.headers["content-type"] == "image/" + shown["image_type"]
    return codec.decode(fetched.content)


@pytest.mark.parametrize(("kind", "path"), [("png", LATER), ("webp", LATER), ("jpeg", "/v3/async/remove-background")])
def test_a_task_with_base64(kind: str, path: str, queued: TestClient, photo: bytes) -> None:
    text = base64.b64encode(photo).decode()
    body = {"image": f"data:image/png;base64,{text}", "extra": {"response_image_type": kind, "enterprise_plan": True}}
    found = ended(queued, queued.post(path, json=body).json()["task_id"])
    image = result_of(queued, found)
    assert (image.width, image.height, image.alpha is None) == (200, 150, kind == "jpeg")
    assert found["images"][0]["image_type"] == kind
    assert found["task"]["progress_percent"] == 100
    times = [int(found["extra"]["debug_info"][f"{step}_time_ms"]) for step in ("submit", "execute", "complete")]
    assert times == sorted(times)
    assert abs(times[0] / 1000 - time.time()) < 60
    alias = queued.get(f"/v3/task_result/{found['task']['task_id']}")
    assert alias.json()["task"] == found["task"]


def test_a_task_with_an_address_and_its_webhook(queued: TestClient, receiver: Receiver, photo: bytes) -> None:
    receiver.files["/photo.png"] = photo
    task_id = queue(queued, receiver.address + "/photo.png", webhook={"url": receiver.address + "/told"})
    found = ended(queued, task_id)
    assert result_of(queued, found).width == 200
    headers, body = receiver.received.get(timeout=20)
    said = json.loads(body)
    assert headers["content-type"] == "application/json"
    assert set(said) == {"event_type", "payload"}
    assert said["event_type"] == "ASYNC_TASK_RESULT"
    assert_survivable(said["payload"])
    assert said["payload"]["extra"].pop("webhook") == {"url": receiver.address + "/told"}
    ttl = [int(each["images"][0].pop("image_url_ttl")) for each in (said["payload"], found)]
    assert abs(ttl[0] - ttl[1]) <= 5
    assert said["payload"] == found


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (NOBODYS, "could not be reached"),
        ("http://169.254.169.254/latest/meta-data", "not one that may be fetched from"),
        ("{address}/nothing.png", "status 404"),
        ("{address}/page.html", "HTML is not supported"),
        (base64.b64encode(b"a letter").decode(), "PNG"),
    ],
)
def test_what_cannot_be_done_is_taken_in_and_fails_with_a_reason(
    image: str, word: str, queued: TestClient, receiver: Receiver
) -> None:
    receiver.files["/page.html"] = b"<!doctype html><title>x</title>"
    hook = {"url": receiver.address}
    found = ended(queued, queue(queued, image.format(address=receiver.address), webhook=hook))
    assert found["task"]["status"] == "TASK_STATUS_FAILED"
    assert word in found["task"]["reason"]
    assert found["images"] == []
    told = json.loads(receiver.received.get(timeout=20)[1])["payload"]
    assert (told["task"]["status"], told["images"]) == ("TASK_STATUS_FAILED", [])


@pytest.mark.parametrize("status", ["QUEUED", "PROCESSING", "SUCCEED", "FAILED"])
def test_a_test_has_the_status_that_it_asks_for_at_once(
    status: str, queued: TestClient, receiver: Receiver, photo: bytes
) -> None:
    before = queued.get("/api/v1/me").json()["used"]
    webhook = {
        "url": receiver.address,
        "test_mode": {"enabled": True, "return_task_status": f"TASK_STATUS_{status}"},
    }
    task_id = queue(queued, base64.b64encode(photo).decode(), webhook=webhook, response_image_type="webp")
    found = task_of(queued, task_id)
    assert found["task"]["status"] == f"TASK_STATUS_{status}"
    assert bool(found["task"]["reason"]) == (status == "FAILED")
    payload = json.loads(receiver.received.get(timeout=20)[1])["payload"]
    assert_survivable(payload)
    assert payload["task"] == found["task"]
    assert payload["extra"]["webhook"] == webhook
    later = task_of(queued, task_id)
    assert later["task"] == found["task"]
    if status == "SUCCEED":
        assert result_of(queued, found).width == 1
        assert payload["images"][0]["image_url"] == found["images"][0]["image_url"]
    else:
        assert found["images"] == payload["images"] == []
    assert queued.get("/api/v1/me").json()["used"] == before


@pytest.mark.parametrize("webhook", [None, {}, {"url": ""}, {"url": None, "test_mode": {"enabled": "false"}}])
def test_nobody_has_to_be_told(webhook: object, queued: TestClient, photo: bytes) -> None:
    found = ended(queued, queue(queued, base64.b64encode(photo).decode(), webhook=webhook))
    assert found["task"]["status"] == "TASK_STATUS_SUCCEED"


def test_a_cancelled_task_has_failed(queued: TestClient) -> None:
    square = codec.encode(Image(rgb=np.zeros((40, 40, 3), np.uint8)), Output())
    queue(queued, base64.b64encode(square).decode())  # keeps the server busy
    task_id = queue(queued, NOBODYS)
    assert queued.delete(f"/api/v1/tasks/{task_id}").status_code == 200
    found = task_of(queued, task_id)
    assert (found["task"]["status"], found["task"]["reason"]) == ("TASK_STATUS_FAILED", "The task was cancelled.")


@pytest.mark.parametrize(
    ("body", "reason", "parameter"),
    [
        ({}, "INVALID_REQUEST_BODY", "image"),
        ({"image": ""}, "INVALID_REQUEST_BODY", "image"),
        ({"image": None, "image_file": None}, "INVALID_REQUEST_BODY", "image"),
        ({"image": 7}, "INVALID_REQUEST_BODY", "image"),
        ({"image": "%%%"}, "INVALID_REQUEST_BODY", "image"),
        ({"image": "ftp://example.com/x.jpg"}, "INVALID_REQUEST_BODY", "image"),
        ({"image": "http://"}, "INVALID_REQUEST_BODY", "image"),
        ({"image": "http://exa mple.com/"}, "INVALID_REQUEST_BODY", "image"),
        ({"image": "http://example.com:99999/"}, "INVALID_REQUEST_BODY", "image"),
        ({"image": "http://me:secret@example.com/"}, "INVALID_REQUEST_BODY", "image"),
        ({"image_file": "file:///etc/passwd"}, "INVALID_REQUEST_BODY", "image_file"),
        ({"image": NOBODYS, "extra": 3}, "INVALID_REQUEST_BODY", "extra"),
        ({"image": NOBODYS, "extra": {"webhook": "http://x/"}}, "INVALID_REQUEST_BODY", "extra.webhook"),
        ({"image": NOBODYS, "extra": {"webhook": {"url": "x"}}}, "INVALID_REQUEST_BODY", "extra.webhook.url"),
        (
            {"image": NOBODYS, "extra": {"webhook": {"test_mode": {"enabled": 1, "return_task_status": "UNKNOWN"}}}},
            "INVALID_REQUEST_BODY",
            "extra.webhook.test_mode.return_task_status",
        ),
        (
            {"image": NOBODYS, "extra": {"response_image_type": "gif"}},
            "INVALID_REQUEST_BODY",
            "extra.response_image_type",
        ),
        (
            {"image": NOBODYS, "extra": {"custom_storage": {"aws_s3": {"bucket": "b"}}}},
            "INVALID_CUSTOM_OUTPUT_PATH",
            "extra.custom_storage",
        ),
    ],
)
def test_tasks_that_are_refused(body: object, reason: str, parameter: str, queued: TestClient) -> None:
    answer = queued.post(LATER, json=body)
    found = answer.json()
    assert (answer.status_code, found["reason"], found["metadata"].get("parameter")) == (400, reason, parameter)


def test_tasks_that_there_are_not(queued: TestClient) -> None:
    theirs = queue(queued, NOBODYS)
    for task_id, key in (("nothing", "one"), (theirs, "two")):
        answer = queued.get(
            "/v3/async/task-result", params={"task_id": task_id}, headers={"Authorization": f"Bearer {key}"}
        )
        assert (answer.status_code, answer.json()["reason"]) == (404, "TASK_NOT_FOUND")
    for params in ({}, {"task_id": ""}, {"task_id": "undefined"}):
        answer = queued.get("/v3/async/task-result", params=params)
        assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_REQUEST_BODY")
    assert queued.get("/v3/async/nothing").json()["reason"] == "API_NOT_FOUND"
    answer = queued.get("/v3/async/task-result", params={"task_id": theirs}, headers={"Authorization": ""})
    assert (answer.status_code, answer.json()["reason"]) == (400, "MISSING_API_KEY")

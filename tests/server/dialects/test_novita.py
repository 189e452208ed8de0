from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from httpx2 import Response
from starlette.testclient import TestClient
from tests.server.dialects.conftest import Receiver

from mattebox import codec
from mattebox.backdrops import BackdropOptions, Backdrops
from mattebox.edit import Output
from mattebox.image import RGB, Alpha, Image
from mattebox.testing import FakeBackdrops, FakeModels

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


@pytest.mark.slow
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


def task_of(client: TestClient, task_id: str, **form: str) -> dict[str, Any]:
    """The task's result, after a look at the form of each value: clients die of others."""
    answer = client.get("/v3/async/task-result", params={"task_id": task_id})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert_survivable(found, **form)
    assert found["task"]["task_id"] == task_id
    return found


def assert_survivable(found: dict[str, Any], *, kind: str = "IMAGE_REMOVE_BACKGROUND", seed: str = "0") -> None:
    assert set(found) == {"extra", "task", "images", "videos", "audios"}
    extra, task = found["extra"], found["task"]
    assert extra["seed"] == seed
    assert extra["enable_nsfw_detection"] is False
    times = ("submit_time_ms", "execute_time_ms", "complete_time_ms")
    assert all(extra["debug_info"][name].isdecimal() for name in times)
    assert extra["debug_info"]["request_info"] == ""
    assert set(task) == {"task_id", "task_type", "status", "reason", "eta", "progress_percent"}
    assert task["task_type"] == kind
    assert task["status"].removeprefix("TASK_STATUS_") in ("QUEUED", "PROCESSING", "SUCCEED", "FAILED")
    assert isinstance(task["reason"], str)
    assert (type(task["eta"]), type(task["progress_percent"])) == (int, int)
    assert found["videos"] == found["audios"] == []
    for image in found["images"]:
        assert set(image) == {"image_url", "image_url_ttl", "image_type", "nsfw_detection_result"}
        assert image["image_url_ttl"].isdecimal()
        assert image["nsfw_detection_result"] is None


def ended(client: TestClient, task_id: str, **form: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = task_of(client, task_id, **form)
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


@pytest.mark.parametrize(
    "webhook",
    [
        None,
        {},
        {"url": ""},
        {"url": None, "test_mode": {"enabled": "false"}},
        {"test_mode": {"return_task_status": "TASK_STATUS_UNKNOWN"}},
    ],
)
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


# --- another background ------------------------------------------------------------------------------------------

REPLACE, REPLACE_LATER = "/v3/replace-background", "/v3/async/replace-background"
CORNER = (2, 2)
BODY = (75, 96)


def text_of(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def plain(width: int, height: int) -> bytes:
    """A dark block before white."""
    rgb = np.full((height, width, 3), 255, np.uint8)
    rgb[height // 4 : -height // 4, width // 3 : -width // 3] = (90, 30, 40)
    return codec.encode(Image(rgb=rgb), Output())


@pytest.fixture
def replacing(serve: Callable[..., TestClient]) -> TestClient:
    """A server whose generator paints each prompt in a colour."""
    return serve(backdrops=FakeBackdrops())


@pytest.fixture
def real(serve: Callable[..., TestClient], tmp_path: Path) -> TestClient:
    """A server with the real generator, for which nothing was fetched: it has studios only."""
    options = BackdropOptions(directory=tmp_path / "none", packs=tmp_path / "none")
    return serve(backdrops=Backdrops(options, fetch_when_used=False))


def replaced(client: TestClient, photo: bytes, **body: object) -> tuple[Image, Response]:
    answer = client.post(REPLACE, json={"image_file": text_of(photo)} | body)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"image_file", "image_type"}
    data = base64.b64decode(answer.json()["image_file"], validate=True)
    signature = {"png": b"\x89PNG", "webp": b"RIFF", "jpeg": b"\xff\xd8\xff"}[answer.json()["image_type"]]
    assert data.startswith(signature)
    return codec.decode(data), answer


def unreplaced(client: TestClient, body: object) -> tuple[int, str, str, str]:
    answer = client.post(REPLACE, json=body)
    found = answer.json()
    assert set(found) == {"code", "reason", "message", "metadata"}
    assert found["code"] == answer.status_code
    return answer.status_code, found["reason"], found["metadata"].get("parameter", ""), found["message"]


def near(pixel: npt.NDArray[np.uint8], color: tuple[int, int, int], *, by: int = 2) -> bool:
    return int(np.abs(pixel.astype(np.int16) - color).max()) <= by


def test_the_subject_stands_before_what_the_prompt_says(replacing: TestClient, photo: bytes) -> None:
    image, answer = replaced(replacing, photo, prompt="in a warehouse")
    assert (image.width, image.height, image.alpha) == (200, 150, None)
    assert near(image.rgb[CORNER], FakeBackdrops.color("in a warehouse"))
    assert near(image.rgb[BODY], tuple(codec.decode(photo).rgb[BODY]), by=40)
    assert answer.headers["x-mattebox-backdrop"] == "fake/color"
    assert answer.headers["x-mattebox-backdrop-score"] == "1.000"
    assert "x-mattebox-warning" not in answer.headers
    assert answer.headers["x-mattebox-subject"] != "none"


@pytest.mark.parametrize(
    ("prompt", "scene"), [("a wooden table in a bright kitchen", "table_room"), ("a pub with dark wood", "table_room")]
)
def test_the_nearest_is_served_and_said_so(prompt: str, scene: str, real: TestClient, photo: bytes) -> None:
    _, answer = replaced(real, photo, prompt=prompt)
    assert answer.headers["x-mattebox-backdrop"] == f"studio/{scene}"
    assert answer.headers["x-mattebox-warning"] == "Nothing here shows this; table room is the nearest."
    assert set(answer.json()) == {"image_file", "image_type"}


def test_a_strict_server_refuses_what_nothing_shows(
    serve: Callable[..., TestClient], tmp_path: Path, photo: bytes
) -> None:
    options = BackdropOptions(directory=tmp_path / "none", packs=tmp_path / "none", strict=True)
    client = serve(backdrops=Backdrops(options, fetch_when_used=False))
    body = {"image_file": text_of(photo), "prompt": "a wooden table in a bright kitchen"}
    assert unreplaced(client, body)[:3] == (400, "INVALID_REQUEST_BODY", "prompt")


@pytest.mark.parametrize("prompt", [{}, {"prompt": ""}, {"prompt": None}, {"prompt": "  "}])
def test_without_a_prompt_it_is_a_plain_studio(prompt: dict[str, object], real: TestClient, photo: bytes) -> None:
    image, answer = replaced(real, photo, **prompt)
    assert image.rgb[CORNER].min() > 170
    assert int(np.ptp(image.rgb[CORNER])) < 12
    assert answer.headers["x-mattebox-backdrop"] == "studio/sweep"
    assert "x-mattebox-backdrop-score" not in answer.headers


@pytest.mark.parametrize(("kind", "by"), [("png", 2), ("webp", 12), ("jpeg", 12), ("jpg", 12), ("PNG", 2)])
def test_the_result_is_of_the_type_that_was_asked_for(kind: str, by: int, replacing: TestClient, photo: bytes) -> None:
    image, answer = replaced(replacing, photo, prompt="x", extra={"response_image_type": kind, "enterprise_plan": {}})
    assert answer.json()["image_type"] == {"jpg": "jpeg"}.get(kind.lower(), kind.lower())
    assert image.alpha is None
    assert near(image.rgb[CORNER], FakeBackdrops.color("x"), by=by)


def test_a_seed_repeats_every_byte(real: TestClient, photo: bytes) -> None:
    def made(**body: object) -> str:
        return str(replaced(real, photo, prompt="brick wall", **body)[1].json()["image_file"])

    assert made(seed=5) == made(seed=5) == made(seed="5")
    assert made(seed=5) != made(seed=6)
    assert made() == made(seed=0) == made(seed=None)
    assert made(seed=-1)
    wrong = {"image_file": text_of(photo), "seed": "five"}
    assert unreplaced(real, wrong)[:3] == (400, "INVALID_REQUEST_BODY", "seed")


@pytest.mark.parametrize(
    "prompt", ["Ünder the sea", "在仓库里", "в лесу", "<b>warehouse</b>", "{{7*7}}", "a\nb\x00", "🙂"]
)
def test_any_text_reaches_the_generator(prompt: str, replacing: TestClient, photo: bytes) -> None:
    image, _ = replaced(replacing, photo, prompt=prompt)
    assert near(image.rgb[CORNER], FakeBackdrops.color(prompt.strip()))


@pytest.mark.parametrize(
    "prompt", ["in a black hole", "in a qwer", "在仓库里", "auf einem Holztisch", "{{7*7}}", "🙂", "\x00"]
)
def test_a_prompt_that_nothing_shows_is_refused_and_not_paid_for(
    prompt: str, serve: Callable[..., TestClient], tmp_path: Path, photo: bytes
) -> None:
    options = BackdropOptions(directory=tmp_path / "none", packs=tmp_path / "none")
    client = serve(keys=("k",), backdrops=Backdrops(options, fetch_when_used=False))
    client.headers["Authorization"] = "Bearer k"
    status, reason, parameter, message = unreplaced(client, {"image_file": text_of(photo), "prompt": prompt})
    assert (status, reason, parameter) == (400, "INVALID_REQUEST_BODY", "prompt")
    assert message.startswith("No backdrop here shows this.")
    assert prompt not in message
    assert client.get("/api/v1/me").json()["used"] == 0


def test_markup_round_a_place_is_overlooked(real: TestClient, photo: bytes) -> None:
    for prompt in ("<b>red brick wall</b>", "red brick wall --ar 16:9", "red &amp; brick wall"):
        assert replaced(real, photo, prompt=prompt)[1].headers["x-mattebox-backdrop"] == "studio/brick"


@pytest.mark.parametrize("path", [REPLACE, REPLACE_LATER])
@pytest.mark.parametrize("length", [2001, 8193, 10_000])
def test_a_prompt_may_be_long_but_not_that_long(length: int, path: str, queued: TestClient, photo: bytes) -> None:
    answer = queued.post(path, json={"image_file": text_of(photo), "prompt": "x" * length})
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_REQUEST_BODY")
    assert answer.json()["message"] == "prompt must have at most 2000 characters."
    assert answer.json()["metadata"]["parameter"] == "prompt"
    assert queued.post(path, json={"image_file": text_of(photo), "prompt": " " + "x" * 2000}).status_code == 200


def test_a_scene_that_is_not_installed_is_the_servers_fault(real: TestClient, photo: bytes) -> None:
    status, reason, _, message = unreplaced(real, {"image_file": text_of(photo), "prompt": "in a warehouse"})
    assert (status, reason) == (500, "TASK_FAILED")
    assert "`mattebox scenes pull warehouse`" in message


def test_a_server_without_generators_says_so(client: TestClient, photo: bytes) -> None:
    status, reason, parameter, _ = unreplaced(client, {"image_file": text_of(photo), "prompt": "in a warehouse"})
    assert (status, reason, parameter) == (403, "FEATURE_NOT_ALLOWED", "prompt")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(2048, 2048), (4096, 512), (512, 4096), (1, 1)])
def test_the_result_is_as_large_as_the_picture(width: int, height: int, real: TestClient) -> None:
    image, answer = replaced(real, plain(max(width, 3), max(height, 3)), prompt="navy studio")
    assert (image.width, image.height) == (max(width, 3), max(height, 3))
    if width > 3:
        red, _, blue = image.rgb[height // 16, width // 16].astype(int)
        assert red < blue < 140
        assert answer.headers["x-mattebox-backdrop"] == "studio/sweep"


@pytest.mark.parametrize(
    ("body", "reason", "parameter"),
    [
        ({"prompt": "x"}, "INVALID_REQUEST_BODY", "image_file"),
        ({"image_file": "%%%", "prompt": "x"}, "INVALID_REQUEST_BODY", "image_file"),
        ({"image_file": "Zm9v", "prompt": "x"}, "INVALID_IMAGE_FORMAT", "image_file"),
        ({"image_file": "Zm9v", "prompt": 7}, "INVALID_REQUEST_BODY", "prompt"),
        ({"image_file": "Zm9v", "prompt": ["x"]}, "INVALID_REQUEST_BODY", "prompt"),
        ({"image_file": "Zm9v", "prompt": "x", "extra": 3}, "INVALID_REQUEST_BODY", "extra"),
    ],
)
def test_replacements_that_are_refused(body: object, reason: str, parameter: str, replacing: TestClient) -> None:
    assert unreplaced(replacing, body)[:3] == (400, reason, parameter)


def replace_later(client: TestClient, **body: object) -> str:
    answer = client.post(REPLACE_LATER, json=body)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"task_id"}
    return str(answer.json()["task_id"])


REPLACED = {"kind": "REPLACE_BACKGROUND"}


@pytest.mark.parametrize("kind", ["png", "webp", "jpeg"])
def test_a_replacement_as_a_task(kind: str, queued: TestClient, photo: bytes) -> None:
    task_id = replace_later(
        queued,
        image_file=text_of(photo),
        prompt="in a warehouse",
        seed=12,
        extra={"response_image_type": kind, "enterprise_plan": {"enabled": False}},
    )
    found = ended(queued, task_id, **REPLACED, seed="12")
    image = result_of(queued, found)
    assert (image.width, image.height, image.alpha) == (200, 150, None)
    assert near(image.rgb[CORNER], FakeBackdrops.color("in a warehouse", 12), by=12)
    assert found["images"][0]["image_type"] == kind


def test_a_replacement_of_what_an_address_leads_to(queued: TestClient, receiver: Receiver, photo: bytes) -> None:
    receiver.files["/photo.png"] = photo
    webhook = {"url": receiver.address + "/told"}
    task_id = replace_later(queued, image_file=receiver.address + "/photo.png", extra={"webhook": webhook})
    found = ended(queued, task_id, **REPLACED)
    assert near(result_of(queued, found).rgb[CORNER], FakeBackdrops.color(""))
    payload = json.loads(receiver.received.get(timeout=20)[1])["payload"]
    assert_survivable(payload, **REPLACED)
    assert payload["task"] == found["task"]


def test_a_task_says_that_the_nearest_was_served(queued: TestClient, photo: bytes) -> None:
    task_id = replace_later(queued, image=text_of(photo), prompt="elsewhere")
    ended(queued, task_id, **REPLACED)
    warning = "Nothing here shows this; somewhere is the nearest."
    headers = queued.get("/v3/async/task-result", params={"task_id": task_id}).headers
    assert (headers["x-mattebox-backdrop"], headers["x-mattebox-warning"]) == ("fake/somewhere", warning)


def test_a_refused_prompt_makes_the_task_fail_with_its_reason(queued: TestClient, photo: bytes) -> None:
    before = queued.get("/api/v1/me").json()["used"]
    found = ended(queued, replace_later(queued, image=text_of(photo), prompt="nowhere"), **REPLACED)
    assert found["task"]["status"] == "TASK_STATUS_FAILED"
    assert found["task"]["reason"].startswith("No backdrop here shows this.")
    assert found["images"] == []
    assert queued.get("/api/v1/me").json()["used"] == before
    ended(queued, replace_later(queued, image=text_of(photo), prompt="somewhere"), **REPLACED)
    assert queued.get("/api/v1/me").json()["used"] == before + 1


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"prompt": "x"}, "image_file"),
        ({"image_file": "%%%"}, "image_file"),
        ({"image_file": "ftp://x/y"}, "image_file"),
        ({"image_file": NOBODYS, "prompt": 7}, "prompt"),
        ({"image_file": NOBODYS, "seed": "x"}, "seed"),
        ({"image_file": NOBODYS, "extra": {"response_image_type": "gif"}}, "extra.response_image_type"),
    ],
)
def test_replacements_that_are_not_queued(body: object, parameter: str, queued: TestClient) -> None:
    found = queued.post(REPLACE_LATER, json=body).json()
    assert (found["code"], found["reason"]) == (400, "INVALID_REQUEST_BODY")
    assert found["metadata"]["parameter"] == parameter

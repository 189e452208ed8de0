from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from httpx2 import Response
from standardwebhooks import Webhook
from starlette.testclient import TestClient
from tests.server.dialects.conftest import Receiver

from mattebox import codec
from mattebox.edit import Output
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image
from mattebox.server.store.accounts import Accounts
from mattebox.server.store.blobs import Blobs

PATH = "/api/v1/tasks"
NOBODYS = "http://127.0.0.1:1/photo.jpg"
SECRET = "whsec_" + base64.b64encode(b"s" * 24).decode()

KEYS = {
    "id",
    "status",
    "progress",
    "kind",
    "reason",
    "created",
    "started",
    "finished",
    "result",
    "batch",
    "webhook",
}


def taken(answer: Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refused(answer: Response) -> tuple[int, str, str | None]:
    found = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert found["status"] == answer.status_code
    return answer.status_code, found["kind"], found["parameter"]


def task_of(client: TestClient, task_id: str) -> dict[str, Any]:
    answer = client.get(f"{PATH}/{task_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert set(found) == KEYS
    return found


def ended(client: TestClient, task_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = task_of(client, task_id)
        if found["finished"] is not None:
            return found
        time.sleep(0.05)
    raise AssertionError("the task did not end")


def moment(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def events_of(client: TestClient, task_id: str) -> list[dict[str, Any]]:
    with client.stream("GET", f"{PATH}/{task_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        answer.read()
        blocks = [block for block in answer.text.split("\n\n") if block]
    found = []
    for block in blocks:
        if not block.startswith((":", "retry: ")):
            lines = dict(line.split(": ", 1) for line in block.splitlines())
            assert set(lines) == {"event", "id", "data"}
            found.append(json.loads(lines["data"]))
    return found


def ways(client: TestClient, photo: bytes, options: dict[str, str]) -> list[Response]:
    """The same task in every way there is."""
    text = base64.b64encode(photo).decode()
    return [
        client.post(PATH, files={"image": photo}, data=options),
        client.post(PATH, json={"image": text} | options),
        client.post(PATH, json={"image": "data:image/png;base64," + text}, params=options),
        client.post(PATH, content=photo, params=options, headers={"content-type": "image/png"}),
    ]


def test_every_way_in_gives_the_picture_that_the_direct_way_gives(queued: TestClient, photo: bytes) -> None:
    options = {"crop": "true", "size": "60", "background": "#0000ff", "format": "webp", "quality": "100"}
    direct = queued.post("/api/v1/remove", content=photo, params=options)
    for answer in ways(queued, photo, options):
        begun = taken(answer)
        assert set(begun) == KEYS
        assert (begun["status"], begun["result"], begun["batch"]) == ("queued", None, None)
        assert answer.headers["location"] == f"http://testserver{PATH}/{begun['id']}"
        found = ended(queued, begun["id"])
        assert (found["status"], found["progress"], found["reason"]) == ("succeeded", 100, None)
        times = [moment(found[name]) for name in ("created", "started", "finished")]
        assert times == sorted(times)
        assert abs((times[0] - datetime.now(UTC)).total_seconds()) < 60
        result = found["result"]
        fetched = queued.get(result.pop("url"), headers={"Authorization": ""})
        assert fetched.content == direct.content
        assert fetched.headers["content-type"] == result.pop("media_type") == "image/webp"
        assert 3590 < (moment(result.pop("expires")) - times[2]).total_seconds() < 3610
        assert str(result.pop("width")) == direct.headers["x-image-width"]
        assert str(result.pop("height")) == direct.headers["x-image-height"]
        box = result.pop("subject")
        assert (
            ",".join(str(box[side]) for side in ("left", "top", "width", "height"))
            == direct.headers["x-mattebox-subject"]
        )
        assert f"{result.pop('confidence'):.4f}" == direct.headers["x-mattebox-confidence"]
        assert result == {"backdrop": None, "corrections": None}


def test_a_prompt_and_what_chose_the_object_come_back(queued: TestClient, photo: bytes) -> None:
    options = {"prompt": "elsewhere", "corrections": json.dumps({"points": [{"x": 0.5, "y": 0.5, "keep": True}]})}
    as_json = {"accept": "application/json"}
    direct = queued.post("/api/v1/replace", files={"image": photo}, data=options, headers=as_json)
    for answer in ways(queued, photo, options):
        result = ended(queued, taken(answer)["id"])["result"]
        assert result["corrections"] == direct.json()["corrections"] == "parts"
        assert result["backdrop"] == direct.json()["backdrop"]
        assert result["backdrop"]["warning"]
        file = queued.get(result["url"], headers={"Authorization": ""}).content
        assert file == base64.b64decode(direct.json()["image"])


def test_a_prompt_excludes_what_it_excludes_at_once_and_fails_where_nothing_shows_it(
    queued: TestClient, photo: bytes
) -> None:
    both = {"prompt": "on a quay", "background": "#ffffff"}
    assert refused(queued.post(PATH, files={"image": photo}, data=both))[:2] == (400, "invalid_parameter")
    assert refused(queued.post(PATH, files={"image": photo}, data={"seed": "3"})) == (400, "invalid_parameter", "seed")
    wrong = {"prompt": "on a quay", "generator": "nobody's"}
    assert refused(queued.post(PATH, files={"image": photo}, data=wrong)) == (400, "invalid_parameter", "generator")
    failed = ended(queued, taken(queued.post(PATH, files={"image": photo}, data={"prompt": "nowhere"}))["id"])
    assert (failed["status"], failed["kind"]) == ("failed", "invalid_parameter")
    assert failed["reason"].endswith(".")
    members = {"edits": [{"image": base64.b64encode(photo).decode()}] * 2, "prompt": "on a quay"}
    for each in taken(queued.post(PATH, json=members))["tasks"]:
        assert ended(queued, each["id"])["result"]["backdrop"]["score"] is not None


def test_a_picture_behind_is_kept_until_the_task_is_done(queued: TestClient, photo: bytes) -> None:
    behind = codec.encode(Image(rgb=np.full((30, 40, 3), (0, 200, 0), np.uint8)), Output())
    options = {"shadow": "ground", "crop": "true", "margin": "10%"}
    pictures = {"image": photo, "background_image": behind}
    direct = queued.post("/api/v1/remove", files=pictures, data=options)
    assert direct.status_code == 200
    begun = taken(queued.post(PATH, files=pictures, data=options))
    result = ended(queued, begun["id"])["result"]
    assert queued.get(result["url"], headers={"Authorization": ""}).content == direct.content


def test_a_picture_behind_is_not_stored_for_each_of_a_batch(queued: TestClient, photo: bytes) -> None:
    picture = base64.b64encode(photo).decode()
    body = {"edits": [{"image": picture}], "background_image": picture}
    assert refused(queued.post(PATH, json=body)) == (400, "invalid_parameter", "background_image")
    body = {"edits": [{"image": picture, "background_image": picture}]}
    begun = taken(queued.post(PATH, json=body))["tasks"][0]
    assert ended(queued, begun["id"])["status"] == "succeeded"


def test_accept_is_about_the_answer_and_not_about_the_picture(queued: TestClient, photo: bytes) -> None:
    begun = taken(queued.post(PATH, content=photo, headers={"accept": "image/webp"}))
    assert ended(queued, begun["id"])["result"]["media_type"] == "image/png"


def test_a_signed_webhook(queued: TestClient, receiver: Receiver, photo: bytes) -> None:
    receiver.files["/photo.png"] = photo
    body = {"image_url": receiver.address + "/photo.png", "webhook": receiver.address, "webhook_secret": SECRET}
    begun = taken(queued.post(PATH, json=body))
    untold = {"delivered": None, "attempts": 0, "last_attempt": None, "failure": None}
    assert begun["webhook"] == {"url": receiver.address, **untold}
    headers, said = receiver.received.get(timeout=20)
    told = Webhook(SECRET).verify(said, headers)
    assert set(told) == {"type", "timestamp", "data"}
    found = ended(queued, begun["id"])
    assert (told["type"], told["timestamp"]) == ("task.succeeded", found["finished"])
    assert told["data"] | {"webhook": None} == found | {"webhook": None}
    assert SECRET not in said.decode()
    deadline = time.monotonic() + 20
    while (hook := task_of(queued, begun["id"])["webhook"])["delivered"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert moment(hook["delivered"]) >= moment(found["finished"])
    assert (hook["attempts"], hook["failure"]) == (1, None)
    assert moment(hook["last_attempt"]) >= moment(found["finished"])


def test_a_webhook_to_a_host_that_is_not_allowed_is_refused(serve: Callable[..., TestClient], photo: bytes) -> None:
    client = serve(tasks=True, role="api", fetch={"origins": ("a.test",)}, accounts={"credits": 1})
    text = base64.b64encode(photo).decode()
    answer = client.post(PATH, json={"image": text, "webhook": "https://b.test/"})
    assert refused(answer) == (400, "invalid_parameter", "webhook")
    sent = {"image_file": text, "extra": {"webhook": {"url": "https://b.test/"}}}
    vendor = client.post("/v3/async/image-remove-background", json=sent)
    assert (vendor.status_code, vendor.json()["metadata"]["parameter"]) == (400, "extra.webhook.url")
    taken(client.post(PATH, json={"image": text, "webhook": "https://a.test/"}))  # no credit was taken for the others


def test_why_tasks_are_refused_is_told_also_where_their_sources_cannot_be_deleted(
    serve: Callable[..., TestClient], photo: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise MatteboxError(Kind.UNAVAILABLE, "The storage is away.")

    client = serve(tasks=True, role="api", accounts={"credits": 1})
    monkeypatch.setattr(Accounts, "check", lambda *_: None)  # the last credit goes to somebody else meanwhile
    monkeypatch.setattr(Blobs, "delete", fail)
    text = base64.b64encode(photo).decode()
    assert refused(client.post(PATH, json={"edits": [{"image": text}] * 2}))[:2] == (402, "out_of_credits")
    assert "The storage is away" in caplog.text


def test_a_webhook_without_a_secret_is_not_signed_and_tells_failures(queued: TestClient, receiver: Receiver) -> None:
    taken(queued.post(PATH, data={"image_url": NOBODYS, "webhook": receiver.address}))
    headers, said = receiver.received.get(timeout=20)
    assert "webhook-signature" not in headers
    told = json.loads(said)
    assert (told["type"], told["data"]["status"], told["data"]["result"]) == ("task.failed", "failed", None)
    assert told["data"]["kind"] == "unreachable_source"
    assert told["data"]["reason"] == "The picture's address could not be reached."


def test_a_batch(queued: TestClient, receiver: Receiver, photo: bytes) -> None:
    receiver.files["/photo.png"] = photo
    url = receiver.address + "/photo.png"
    body = {
        "edits": [
            {"image_url": url},
            {"image": base64.b64encode(photo).decode(), "format": "png"},
            {"image_url": NOBODYS},
        ],
        "format": "jpeg",
        "webhook": receiver.address,
    }
    answer = queued.post(PATH, json=body)
    found = taken(answer)
    assert set(found) == {"batch", "tasks"}
    batch = found["batch"]
    assert answer.headers["location"] == f"http://testserver/api/v1/batches/{batch}"
    ids = [each["id"] for each in found["tasks"]]
    assert [each["batch"] for each in found["tasks"]] == [batch] * 3
    results = [ended(queued, each) for each in ids]
    assert [each["status"] for each in results] == ["succeeded", "succeeded", "failed"]
    assert [each["result"]["media_type"] for each in results[:2]] == ["image/jpeg", "image/png"]
    summary = queued.get(f"/api/v1/batches/{batch}").json()
    assert summary.pop("created") == results[0]["created"]
    assert summary == {
        "batch": batch,
        "finished": True,
        "total": 3,
        "counts": {"queued": 0, "running": 0, "succeeded": 2, "failed": 1, "cancelled": 0},
    }
    listed = queued.get(PATH, params={"batch": batch}).json()["tasks"]
    assert [each["id"] for each in listed] == ids[::-1]
    told = [json.loads(receiver.received.get(timeout=20)[1])["data"]["id"] for _ in ids]
    assert sorted(told) == sorted(ids)


@pytest.mark.parametrize(
    ("body", "kind", "parameter"),
    [
        ({"edits": []}, "invalid_parameter", "edits"),
        ({"edits": {}}, "invalid_parameter", "edits"),
        ({"edits": [{"image_url": NOBODYS}] * 1001}, "invalid_parameter", "edits"),
        ({"edits": [{"image_url": NOBODYS}, 3]}, "invalid_parameter", "edits[1]"),
        ({"edits": [{"image_url": NOBODYS}, {}]}, "missing_image", "edits[1].image"),
        ({"edits": [{"image_url": NOBODYS}, {"image_url": "x"}]}, "invalid_parameter", "edits[1].image_url"),
        ({"edits": [{"image_url": NOBODYS, "size": 0}]}, "invalid_parameter", "edits[0].size"),
        ({"edits": [{"image": "%"}]}, "invalid_parameter", "edits[0].image"),
        ({"edits": [{"imge": "Zm9v"}]}, "invalid_parameter", "edits[0].imge"),
        ({"imge": "Zm9v"}, "invalid_parameter", "imge"),
        ({"edits": [{"image": "Zm9v", "image_url": NOBODYS}]}, "invalid_parameter", "edits[0].image_url"),
        ({"edits": [{"image_url": NOBODYS, "webhook": NOBODYS}]}, "invalid_parameter", "edits[0].webhook"),
        ({"edits": [{"image_url": NOBODYS, "edits": []}]}, "invalid_parameter", "edits[0].edits"),
        ({"edits": [{"image_url": NOBODYS}], "image_url": NOBODYS}, "invalid_parameter", "edits"),
        ({"edits": [{"image_url": NOBODYS}], "image": "Zm9v"}, "invalid_parameter", "edits"),
    ],
)
def test_of_a_batch_with_a_fault_nothing_is_taken(body: object, kind: str, parameter: str, queued: TestClient) -> None:
    newest = queued.get(PATH, params={"limit": 1}).json()["tasks"]
    assert refused(queued.post(PATH, json=body)) == (400, kind, parameter)
    assert [each["id"] for each in queued.get(PATH, params={"limit": 1}).json()["tasks"]] == [
        each["id"] for each in newest
    ]


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"image_url": "ftp://example.com/"}, "image_url"),
        ({"image_url": "http://exa mple.com/"}, "image_url"),
        ({"image_url": NOBODYS, "webhook": "nowhere"}, "webhook"),
        ({"image_url": NOBODYS, "webhook": "http://a:b@example.com/"}, "webhook"),
        ({"image_url": NOBODYS, "webhook": NOBODYS, "webhook_secret": "a secret"}, "webhook_secret"),
        ({"image_url": NOBODYS, "webhook": NOBODYS, "webhook_secret": "c2hvcnQ="}, "webhook_secret"),
        ({"image_url": NOBODYS, "webhook_secret": SECRET}, "webhook_secret"),
        ({"image_url": NOBODYS, "format": "tiff"}, "format"),
        ({"image_url": NOBODYS, "webhok": "x"}, "webhok"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, str], parameter: str, queued: TestClient) -> None:
    for answer in (queued.post(PATH, json=body), queued.post(PATH, data=body), queued.post(PATH, params=body)):
        assert refused(answer) == (400, "invalid_parameter", parameter)


def test_other_requests_that_are_refused(queued: TestClient) -> None:
    assert refused(queued.post(PATH)) == (400, "missing_image", "image")
    assert refused(queued.post(PATH, content=b"x", headers={"content-type": "text/csv"}))[:2] == (
        415,
        "invalid_request",
    )
    assert refused(queued.post(PATH, headers={"Authorization": ""}))[:2] == (401, "missing_key")
    assert refused(queued.put(PATH))[0] == 405


def test_the_list_goes_on_where_it_ended(queued: TestClient) -> None:
    me = {"Authorization": "Bearer poor"}
    edits = {"edits": [{"image_url": NOBODYS}] * 5}
    ids = [each["id"] for each in taken(queued.post(PATH, json=edits, headers=me))["tasks"]][::-1]
    pages: list[list[str]] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        page = queued.get(PATH, params={"limit": 2, "after": page["next"]}, headers=me).json()
        pages.append([each["id"] for each in page["tasks"]])
    assert pages == [ids[:2], ids[2:4], ids[4:]]
    whole = queued.get(PATH, params={"limit": 5}, headers=me).json()
    assert ([each["id"] for each in whole["tasks"]], whole["next"]) == (ids, None)
    for limit in ("0", "201", "x"):
        assert refused(queued.get(PATH, params={"limit": limit}, headers=me)) == (400, "invalid_parameter", "limit")
    assert refused(queued.get(PATH, params={"after": "nothing"}, headers=me))[:2] == (404, "not_found")


def test_tasks_of_others_are_not_there(queued: TestClient) -> None:
    found = taken(queued.post(PATH, json={"edits": [{"image_url": NOBODYS}]}))
    mine, batch = found["tasks"][0]["id"], found["batch"]
    other = {"Authorization": "Bearer two"}
    for method, path in (
        ("GET", f"{PATH}/{mine}"),
        ("DELETE", f"{PATH}/{mine}"),
        ("GET", f"{PATH}/{mine}/events"),
        ("GET", f"/api/v1/batches/{batch}"),
    ):
        assert refused(queued.request(method, path, headers=other))[:2] == (404, "not_found")
        assert refused(queued.request(method, path.replace(mine, "no").replace(batch, "no")))[0] == 404
    assert queued.get(PATH, params={"batch": batch}, headers=other).json() == {"tasks": [], "next": None}
    assert refused(queued.get(PATH, params={"after": mine}, headers=other))[0] == 404


def test_what_has_ended_cannot_be_cancelled(queued: TestClient, photo: bytes) -> None:
    task_id = taken(queued.post(PATH, content=photo))["id"]
    ended(queued, task_id)
    assert refused(queued.delete(f"{PATH}/{task_id}"))[:2] == (409, "conflict")


def test_cancelling_and_watching_what_takes_its_time(queued: TestClient) -> None:
    square = codec.encode(Image(rgb=np.zeros((40, 40, 3), np.uint8)), Output())
    watched, waiting = (taken(queued.post(PATH, content=square))["id"] for _ in range(2))  # one is done at a time
    cancelled = queued.delete(f"{PATH}/{waiting}").json()
    assert (cancelled["status"], cancelled["result"]) == ("cancelled", None)
    assert queued.delete(f"{PATH}/{waiting}").json() == cancelled
    seen = events_of(queued, watched)
    assert [each["status"] for each in seen][-2:] == ["running", "succeeded"]
    assert seen[-1] == task_of(queued, watched)
    assert len({(each["status"], each["progress"]) for each in seen}) == len(seen)
    assert [each["status"] for each in events_of(queued, waiting)] == ["cancelled"]


def test_a_watcher_who_has_seen_the_end_is_not_told_again(queued: TestClient, photo: bytes) -> None:
    task_id = taken(queued.post(PATH, content=photo))["id"]
    ended(queued, task_id)
    path = f"{PATH}/{task_id}/events"
    last = next(line for line in queued.get(path).text.splitlines() if line.startswith("id: ")).removeprefix("id: ")
    assert queued.get(path, headers={"Last-Event-ID": last}).status_code == 204
    assert queued.get(path, headers={"Last-Event-ID": "queued-0"}).status_code == 200


def test_a_server_without_a_queue_says_so(client: TestClient, photo: bytes) -> None:
    for answer in (client.post(PATH, content=photo), client.get(PATH), client.get(f"{PATH}/x")):
        assert refused(answer)[:2] == (503, "unavailable")


def test_credits_are_taken_for_a_batch_as_a_whole(serve: Callable[..., TestClient], photo: bytes) -> None:
    client = serve(tasks=True, role="api", keys=("k",), accounts={"credits": 2})
    client.headers["Authorization"] = "Bearer k"
    text = base64.b64encode(photo).decode()
    assert refused(client.post(PATH, json={"edits": [{"image": text}] * 3}))[:2] == (402, "out_of_credits")
    assert client.get(PATH).json()["tasks"] == []
    taken(client.post(PATH, json={"edits": [{"image": text}] * 2}))
    assert refused(client.post(PATH, content=photo))[:2] == (402, "out_of_credits")
    assert client.get("/api/v1/me").json()["used"] == 2


def test_what_is_described_is_what_is_there(queued: TestClient, photo: bytes) -> None:
    paths = queued.get("/openapi.json").json()["paths"]
    described = {path: set(methods) for path, methods in paths.items() if path.startswith((PATH, "/api/v1/batches"))}
    assert described == {
        PATH: {"post", "get"},
        PATH + "/events": {"get"},
        PATH + "/{task_id}": {"get", "delete"},
        PATH + "/{task_id}/events": {"get"},
        "/api/v1/batches/{batch_id}": {"get"},
    }
    post = paths[PATH]["post"]
    schema = post["responses"]["202"]["content"]["application/json"]["schema"]["properties"]
    assert set(schema) == KEYS
    form = post["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    query = {each["name"] for each in post["parameters"] if each["in"] == "query"}
    assert set(form) - query == {"image", "background_image"}
    for name in query - {"prompt"}:  # which is any text
        assert refused(queued.post(PATH, content=photo, params={name: "\x01"}))[0] == 400

from __future__ import annotations

import base64
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx2
import numpy as np
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import Message

from mattebox.codec import Limits
from mattebox.edit import Edit
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha
from mattebox.models import choices
from mattebox.models.memory import Machine
from mattebox.server.actions import authorize, run_edit
from mattebox.server.admission import UploadLimiter
from mattebox.server.app import find_dialects
from mattebox.server.fetch import Fetcher
from mattebox.server.health import Readiness
from mattebox.server.http import dialect as http
from mattebox.server.http.dialect import RequestContext, paths_of_edits
from mattebox.server.runner import Runner
from mattebox.server.state import ServerState
from mattebox.server.store.accounts import Account, Accounts
from mattebox.server.store.database import connect, create
from mattebox.server.store.keys import KeyLimits, Keys
from mattebox.sources import Sources, Upload
from mattebox.testing import FakeBackdrops, FakeModels, FakeSegmenter

DIALECTS = {each.name: each for each in find_dialects()}


def test_the_work_ends_when_the_client_goes_away(photo: bytes, tmp_path: Path) -> None:
    entered = threading.Event()
    gone = threading.Event()

    def slow(photo: RGB) -> Alpha:
        entered.set()
        assert gone.wait(20)
        time.sleep(0.2)  # for the event loop to notice
        return np.ones((8, 8), np.float32)

    async def receive() -> Message:
        await anyio.to_thread.run_sync(entered.wait, 20)
        gone.set()
        return {"type": "http.disconnect"}

    async def story() -> None:
        runner = Runner(Engine(FakeModels(slow)), Fetcher())
        database = connect(f"sqlite:///{tmp_path}/usage.db")
        create(database)
        accounts = Accounts((), database)
        state = ServerState(
            runner=runner,
            accounts=accounts,
            readiness=Readiness(runner),
            uploads=UploadLimiter(1),
            installed=lambda name: True,
            resolve=lambda row: choices.resolve(row, Machine(None)),
        )
        app = SimpleNamespace(state=SimpleNamespace(server=state))
        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b"", "state": {}}
        asked = Request({**scope, "app": app}, receive)
        asked.scope["state"]["context"] = RequestContext(dialect=DIALECTS["native"], request_id="req_1")
        with pytest.raises(MatteboxError) as caught:
            await run_edit(asked, Account("me"), Edit(), Sources(Upload(photo)), picture="image")
        assert caught.value.kind is Kind.CANCELLED
        assert accounts.usage(Account("me")).used == 0
        database.dispose()

    anyio.run(story)


def test_a_finished_picture_is_counted_and_a_failed_one_is_not(serve: Callable[..., TestClient], photo: bytes) -> None:
    client = serve(keys=("k", "l"), accounts={"credits": 2})
    key = {"x-api-key": "k"}

    def used() -> object:
        return client.get("/api/v1/me", headers=key).json()["used"]

    assert client.post("/api/v1/remove", content=b"no picture", headers=key).status_code == 400
    assert used() == 0
    for expected in (1, 2):
        assert client.post("/api/v1/remove", content=photo, headers=key).status_code == 200
        assert used() == expected
    refused = client.post("/api/v1/remove", content=photo, headers=key)
    assert (refused.status_code, refused.json()["kind"]) == (402, "out_of_credits")
    assert client.post("/api/v1/remove", content=photo, headers={"x-api-key": "l"}).status_code == 200


def test_the_last_credit_is_spent_once(serve: Callable[..., TestClient], photo: bytes) -> None:
    entered, leave = threading.Semaphore(0), threading.Event()

    def slow(photo: RGB) -> Alpha:
        entered.release()
        assert leave.wait(20)
        return np.ones((8, 8), np.float32)

    client = serve(keys=("k",), accounts={"credits": 1}, models=FakeModels(slow))
    key = {"x-api-key": "k"}
    answers: list[int] = []

    def send() -> None:
        answers.append(client.post("/api/v1/remove", content=photo, headers=key).status_code)

    senders = [threading.Thread(target=send) for _ in range(3)]
    for sender in senders:
        sender.start()
    assert entered.acquire(timeout=20)
    assert not entered.acquire(timeout=0.3)
    leave.set()
    for sender in senders:
        sender.join()
    assert sorted(answers) == [200, 402, 402]
    assert client.get("/api/v1/me", headers=key).json()["used"] == 1


def test_an_answer_from_before_costs_nothing(serve: Callable[..., TestClient], photo: bytes) -> None:
    client = serve(keys=("k",), accounts={"credits": 1})
    headers = {"x-api-key": "k", "Idempotency-Key": "order-1"}
    answers = [client.post("/api/v1/remove", content=photo, headers=headers) for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 200]
    other = client.post("/api/v1/remove", content=photo, headers=headers | {"Idempotency-Key": "order-2"})
    assert (other.status_code, other.json()["kind"]) == (402, "out_of_credits")
    assert client.get("/api/v1/me", headers=headers).json()["used"] == 1


def test_a_long_idempotency_key_is_refused(serve: Callable[..., TestClient], photo: bytes) -> None:
    answer = serve().post("/api/v1/remove", content=photo, headers={"Idempotency-Key": "k" * 256})
    assert (answer.status_code, answer.json()["parameter"]) == (400, "Idempotency-Key")


def test_the_narrower_limit_of_server_and_vendor_holds(serve: Callable[..., TestClient], photo: bytes) -> None:
    client = serve(limits={"max_pixels": 200 * 150 - 1})
    answer = client.post("/api/v1/remove", content=photo)
    assert (answer.status_code, answer.json()["kind"]) == (413, "too_many_pixels")
    assert DIALECTS["poof"].limits == Limits(20 * 2**20, http.NO_LIMITS.max_pixels)


def client_key(settings: dict[str, Any]) -> str:
    """The first key of a server with these settings."""
    keys: tuple[str, ...] = settings.get("keys", ("k",))
    return keys[0] if keys else "made up"


def test_too_much_work_is_refused_with_a_time_to_come_back(serve: Callable[..., TestClient], photo: bytes) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(photo: RGB) -> Alpha:
        entered.set()
        assert leave.wait(20)
        return np.ones((8, 8), np.float32)

    client = serve(models=FakeModels(slow), service={"workers": 1, "queue": 0})
    answers: list[int] = []
    first = threading.Thread(target=lambda: answers.append(client.post("/api/v1/remove", content=photo).status_code))
    first.start()
    assert entered.wait(20)
    refused = client.post("/api/v1/remove", content=photo)
    leave.set()
    first.join()
    assert answers == [200]
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 3  # the first may take about two seconds


class Slow:
    """A segmentation that ends when it is let."""

    def __init__(self) -> None:
        self.entered, self.leave = threading.Event(), threading.Event()

    def __call__(self, photo: RGB) -> Alpha:
        self.entered.set()
        assert self.leave.wait(60)
        return np.ones((8, 8), np.float32)


@pytest.mark.parametrize(
    ("path", "settings"),
    [
        ("/api/v1/remove", {}),
        ("/api/v1/remove", {"keys": ()}),
        ("/api/v1/remove", {"accounts": {"credits": 1}}),
        ("/v1/segment", {}),
        ("/v1/segment", {"keys": ("sandbox_k", "k")}),
        ("/api/v1/remove", {"rates": {"requests": "1/hour"}, "service": {}}),
        ("/v1/images/image/remove-background", {}),
    ],
)
def test_a_refusal_waits_for_no_thread(
    path: str,
    settings: dict[str, Any],
    serve: Callable[..., TestClient],
    photo: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mattebox.server.store.accounts.KEY_SECONDS", 3600)  # a key may have been made since
    slow = Slow()

    client = serve(**{"keys": ("k",), "models": FakeModels(slow), "service": {"workers": 1, "queue": 0}} | settings)
    answers: list[int] = []
    key = {"x-api-key": client_key(settings)}

    def send(path: str) -> None:
        answers.append(client.post(path, content=photo, headers=key).status_code)

    async def take_all_threads() -> Callable[[], None]:
        limiter = anyio.to_thread.current_default_thread_limiter()
        total, limiter.total_tokens = limiter.total_tokens, 1
        holder = object()
        await limiter.acquire_on_behalf_of(holder)

        def give_back() -> None:
            limiter.release_on_behalf_of(holder)
            limiter.total_tokens = total

        return give_back

    first, second = (threading.Thread(target=send, args=(each,)) for each in ("/api/v1/remove", path))
    first.start()
    assert slow.entered.wait(20)
    assert client.portal is not None
    give_back = client.portal.call(take_all_threads)
    second.start()
    second.join(20)
    said = list(answers)
    client.portal.call(give_back)
    slow.leave.set()
    first.join()
    second.join()
    assert said == [429]
    assert answers == [429, 200]


def test_what_there_is_no_room_for_is_refused_early_in_every_dialect(
    serve: Callable[..., TestClient], photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow()

    def refusals() -> dict[str, tuple[dict[str, str], bytes]]:
        client = serve(models=FakeModels(slow), keys=("k",), service={"workers": 1, "queue": 0})
        key = {"x-api-key": "k", "authorization": "Bearer k", "origin": "http://page.example"}
        paths = [path for path, offered in client.get("/openapi.json").json()["paths"].items() if "post" in offered]
        first = threading.Thread(target=lambda: client.post("/api/v1/remove", content=photo, headers=key))
        first.start()
        assert slow.entered.wait(60)
        found = {}
        for path in paths:
            answer = client.post(path, headers=key)
            if "pictures are waiting" in answer.text:
                assert answer.status_code == 429
                assert int(answer.headers["retry-after"]) >= 1
                request_id = answer.headers["x-request-id"]
                told = set(answer.headers.items()) - {("x-request-id", request_id)}
                told = {(name, value) for name, value in told if name not in ("retry-after", "content-length")}
                found[path] = dict(told), answer.content.replace(request_id.encode(), b"")
        slow.leave.set()
        first.join()
        slow.entered.clear()
        slow.leave.clear()
        return found

    early = refusals()
    assert paths_of_edits([*DIALECTS.values()]) == {path for path in early if "{" not in path}
    monkeypatch.setattr("mattebox.server.app.turn_away", lambda _: None)
    assert refusals() == early


def test_a_full_server_still_answers_what_it_has_kept(serve: Callable[..., TestClient], photo: bytes) -> None:
    slow, entered, leave = threading.Event(), threading.Event(), threading.Event()

    def segment(photo: RGB) -> Alpha:
        if slow.is_set():
            entered.set()
            assert leave.wait(60)
        return np.ones((8, 8), np.float32)

    client = serve(models=FakeModels(segment), keys=("k", "other"), service={"workers": 1, "queue": 0})

    def send(key: str, **headers: str) -> httpx2.Response:
        return client.post("/api/v1/remove", content=photo, headers={"x-api-key": key, **headers})

    made = send("k", **{"idempotency-key": "1"})
    assert made.status_code == 200
    slow.set()
    first = threading.Thread(target=send, args=("other",))
    first.start()
    assert entered.wait(60)
    try:
        assert send("k").status_code == 429
        assert send("k", **{"idempotency-key": "2"}).status_code == 429
        kept = send("k", **{"idempotency-key": "1"})
        assert (kept.status_code, kept.headers["idempotent-replayed"]) == (200, "true")
        assert kept.content == made.content
    finally:
        leave.set()
        first.join()


def test_a_key_that_has_as_many_pictures_as_it_may_is_refused_early(
    serve: Callable[..., TestClient], photo: bytes, tmp_path: Path, fresh_database: Path
) -> None:
    slow = Slow()

    shutil.copyfile(fresh_database, tmp_path / "mattebox.db")
    key, _ = Keys(connect(f"sqlite:///{tmp_path}/mattebox.db")).create("narrow", KeyLimits(pictures=1))
    client = serve(models=FakeModels(slow), keys=("k",), service={"workers": 2, "queue": 8})

    def send(path: str = "/api/v1/remove", body: bytes = b"") -> httpx2.Response:
        return client.post(path, headers={"x-api-key": key}, content=body)

    first = threading.Thread(target=send, kwargs={"body": photo})
    first.start()
    assert slow.entered.wait(60)
    try:
        # No picture came with them: nobody has looked at the body.
        assert send().status_code == 429
        assert send("/v1/segment").status_code == 429
        assert client.post("/v1/segment", headers={"x-api-key": "k"}).status_code == 400
    finally:
        slow.leave.set()
        first.join()


def test_a_worker_turns_nothing_away(serve: Callable[..., TestClient]) -> None:
    assert serve(keys=("k",), role="worker").post("/api/v1/remove").status_code == 404


def test_an_endpoint_that_needs_the_networks_has_to_say_so(serve: Callable[..., TestClient]) -> None:
    client = serve()
    app = client.app
    assert isinstance(app, FastAPI)

    async def forgotten(request: Request) -> Response:
        async with authorize(request):
            return Response()

    app.add_api_route("/forgotten", forgotten, methods=["POST"], response_model=None)
    assert client.post("/forgotten").status_code == 500
    app.add_api_route("/declared", http.edit_endpoint(forgotten), methods=["POST"], response_model=None)
    assert client.post("/declared").status_code == 200


def test_a_key_that_floods_leaves_room_for_another(serve: Callable[..., TestClient], photo: bytes) -> None:
    leave = threading.Event()

    def slow(photo: RGB) -> Alpha:
        assert leave.wait(60)
        return np.ones((8, 8), np.float32)

    client = serve(keys=("flood", "polite"), models=FakeModels(slow), service={"workers": 1, "estimate": 0.01})
    answers: dict[str, list[int]] = {"flood": [], "polite": []}

    def send(key: str) -> None:
        answers[key].append(client.post("/api/v1/remove", content=photo, headers={"x-api-key": key}).status_code)

    senders = [threading.Thread(target=send, args=("flood",)) for _ in range(40)]
    for sender in senders:
        sender.start()
    deadline = time.monotonic() + 60
    while len(answers["flood"]) < 40 - 17 and time.monotonic() < deadline:
        time.sleep(0.01)
    polite = [threading.Thread(target=send, args=("polite",)) for _ in range(3)]
    for sender in polite:
        sender.start()
    leave.set()
    for sender in senders + polite:
        sender.join()
    assert answers["polite"] == [200, 200, 200]
    assert sorted(answers["flood"]) == [200] * 17 + [429] * 23  # of 33 places


@pytest.mark.parametrize("failure", [MatteboxError(Kind.UNAVAILABLE, "The database is away."), ZeroDivisionError()])
def test_a_refund_that_fails_does_not_hide_why_the_work_failed(
    failure: Exception,
    serve: Callable[..., TestClient],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise failure

    client = serve(keys=("k",), accounts={"credits": 2})
    monkeypatch.setattr(Accounts, "refund", fail)
    refused = client.post("/api/v1/remove", content=b"a letter", headers={"x-api-key": "k"})
    assert (refused.status_code, refused.json()["kind"]) == (400, "unreadable_image")
    assert "could not be given back" in caplog.text


PAID: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "/api/v1/remove": lambda photo: {"content": photo},
    "/api/v1/replace?prompt=x": lambda photo: {"content": photo},
    "/v1.0/removebg": lambda photo: {"files": {"image_file": photo}, "data": {"format": "jpg"}},
    "/v1/segment": lambda photo: {"json": {"image_file_b64": base64.b64encode(photo).decode()}},
    "/v1/remove": lambda photo: {"files": {"image_file": photo}},
    "/v1/remove-background": lambda photo: {"json": {"image": base64.b64encode(photo).decode()}},
    "/remove-background/v1": lambda photo: {"files": {"image_file": photo}},
    "/replace-background/v1": lambda photo: {"files": {"image_file": photo}, "data": {"prompt": "x"}},
    "/v3/remove-background": lambda photo: {"json": {"image_file": base64.b64encode(photo).decode()}},
    "/v3/replace-background": lambda photo: {"json": {"image_file": base64.b64encode(photo).decode(), "prompt": "x"}},
    "/v1/images/{image}/remove-background": lambda photo: {},
}
"""A request for a picture in each dialect."""


def test_every_dialect_is_asked_for_a_picture_here() -> None:
    dialects = tuple(DIALECTS.values())
    assert {http.speaking(dialects, path.partition("?")[0]).name for path in PAID} == set(DIALECTS)


@pytest.mark.parametrize("path", PAID)
@pytest.mark.parametrize("allowed", [0, 9])
def test_a_picture_that_was_paid_for_is_handed_out_whatever_becomes_of_the_accounts(
    path: str, allowed: int, serve: Callable[..., TestClient], photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise MatteboxError(Kind.UNAVAILABLE, "The database is away.")

    def lose(photo: RGB) -> Alpha:
        for name in ("usage", "check", "reserve", "refund"):
            monkeypatch.setattr(Accounts, name, away)
        return FakeSegmenter()(photo)

    key = {"x-api-key": "k"} if not path.startswith("/v3") else {"authorization": "Bearer k"}
    client = serve(models=FakeModels(lose), backdrops=FakeBackdrops(), keys=("k",), accounts={"credits": allowed})
    asked = PAID[path](photo)
    if "{image}" in path:
        kept = client.post("/v1/images/upload", data={"name": "n"}, files={"image": photo}, headers=key)
        path = path.format(image=kept.json()["id"])
    answer = client.post(path, headers=key, **asked)
    assert answer.status_code in (200, 201), answer.text
    assert client.get("/api/v1/me", headers={"x-api-key": "k"}).status_code == 503  # it was away indeed

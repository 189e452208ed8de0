from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace

import anyio
import numpy as np
import pytest
from fastapi import APIRouter
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from mattebox.accounts import Account, Accounts
from mattebox.codec import Limits
from mattebox.database import connect, create
from mattebox.edit import Edit, Upload
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.fetch import Fetcher
from mattebox.http import dialect as http
from mattebox.http.app import find_dialects
from mattebox.http.dialect import STATUS, Dialect, Readiness, Rooms, Turnstile, Visit, api_key, speaking
from mattebox.image import RGB, Alpha
from mattebox.service import Service
from mattebox.testing import FakeModels

DIALECTS = {each.name: each for each in find_dialects()}


def test_every_kind_has_a_status() -> None:
    assert set(STATUS) == set(Kind)


def request(headers: dict[str, str], path: str = "/") -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": path, "headers": raw, "query_string": b"", "state": {}})


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "k"},
        {"authorization": "k"},
        {"authorization": "Bearer k"},
        {"authorization": "bearer   k "},
        {"authorization": "", "x-api-key": " k "},
    ],
)
def test_a_key_is_found_in_both_headers_with_or_without_bearer(headers: dict[str, str]) -> None:
    assert api_key(request(headers)) == "k"


@pytest.mark.parametrize("headers", [{}, {"x-api-key": ""}, {"authorization": "Bearer"}, {"authorization": "Bearer "}])
def test_no_key_is_none(headers: dict[str, str]) -> None:
    assert api_key(request(headers)) is None


def test_the_longest_prefix_speaks() -> None:
    def dialect(name: str, *prefixes: str) -> Dialect:
        return Dialect(name=name, prefixes=prefixes, router=APIRouter(), present=DIALECTS["native"].present)

    known = [dialect("deep", "/v1/remove"), dialect("own", "/"), dialect("wide", "/v1/", "/v2/")]
    paths = {
        "/": "own",
        "/v1": "own",
        "/v1/": "wide",
        "/v1/remove": "deep",
        "/v1/removed": "deep",
        "/v2/remove": "wide",
    }
    assert {path: speaking(known, path).name for path in paths} == paths


# --- every kind in every dialect ---------------------------------------------------------------------------------

SHAPES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "native": {
        "type": str,
        "title": str,
        "status": int,
        "detail": str,
        "kind": str,
        "parameter": (str, type(None)),
        "request_id": str,
    },
    "novita": {"code": int, "reason": str, "message": str, "metadata": dict},
    "poof": {"code": str, "message": str, "details": (str, dict), "request_id": str},
}


SHAPES["native-tasks"] = SHAPES["native"]


def test_every_dialect_has_a_shape_here() -> None:
    assert set(SHAPES) == set(DIALECTS)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_words_in_every_dialect(kind: Kind, name: str) -> None:
    asked = request({})
    asked.scope["state"]["visit"] = Visit(dialect=DIALECTS[name], request_id="req_1")
    for parameter in (None, "size"):
        error = MatteboxError(kind, "A sentence for anyone.", parameter=parameter, retry_after=1.2)
        error.__cause__ = OSError("/etc/secret")
        response = http.failed(asked, error)
        assert 400 <= response.status_code <= 504
        assert response.status_code == 499 or HTTPStatus(response.status_code)
        assert response.headers["retry-after"] == "2"
        assert "json" in response.headers["content-type"]
        assert b"secret" not in bytes(response.body)
        body = json.loads(bytes(response.body))
        assert body.keys() == SHAPES[name].keys()
        for key, expected in SHAPES[name].items():
            assert isinstance(body[key], expected), key
        if parameter:
            assert b'"size"' in bytes(response.body)


def test_what_is_our_fault_is_logged_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mattebox")
    asked = request({})
    asked.scope["state"]["visit"] = Visit(dialect=DIALECTS["native"], request_id="req_77")
    for kind in (Kind.INTERNAL, Kind.UNAVAILABLE, Kind.INVALID_PARAMETER):
        error = MatteboxError(kind, "No.")
        error.__cause__ = OSError("disk on fire")
        http.failed(asked, error)
    defect, missing, theirs = caplog.records
    assert [each.levelname for each in caplog.records] == ["ERROR", "ERROR", "INFO"]
    assert re.fullmatch(r"req_77 native 500 \d+ ms internal: No\.", defect.getMessage())
    assert defect.exc_info is not None
    assert "disk on fire" in str(defect.exc_info[1])
    # What is missing is no defect: its reason is enough.
    assert "disk on fire" in missing.getMessage()
    assert (missing.exc_info, theirs.exc_info) == (None, None)
    assert "disk" not in theirs.getMessage()


# --- loading -----------------------------------------------------------------------------------------------------


class Weights(FakeModels):
    """Networks that cannot be loaded the first few times."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.failures = list(failures)

    def warm(self, name: str) -> None:
        super().warm(name)
        if self.failures:
            raise self.failures.pop(0)


def ready(models: FakeModels, *, pause: float = 0.0) -> tuple[Service, Readiness]:
    service = Service(Engine(models), Fetcher())
    return service, Readiness(service, pause=pause)


def test_until_loading_ends_the_answer_is_to_come_back() -> None:
    async def story() -> None:
        _, readiness = ready(FakeModels())
        with pytest.raises(MatteboxError) as caught:
            await readiness.check()
        assert (caught.value.kind, caught.value.retry_after) == (Kind.UNAVAILABLE, 5)
        await readiness.load()
        await readiness.check()

    anyio.run(story)


def test_a_request_waits_for_loading() -> None:
    async def story() -> None:
        _, readiness = ready(FakeModels())
        async with anyio.create_task_group() as group:
            group.start_soon(partial(readiness.check, patience=10))
            await anyio.wait_all_tasks_blocked()
            group.start_soon(readiness.load)

    anyio.run(story)


def test_missing_weights_are_said_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        models = Weights(*[MatteboxError(Kind.UNAVAILABLE, "The weights are missing.") for _ in range(2)])
        _, readiness = ready(models, pause=0.2)
        async with anyio.create_task_group() as group:
            group.start_soon(readiness.load)
            with pytest.raises(MatteboxError, match=r"The weights are missing\.") as caught:
                await readiness.check(patience=10)
            assert caught.value.kind is Kind.UNAVAILABLE
        await readiness.check()
        assert len(models.warmed) == 3

    anyio.run(story)
    assert [record.getMessage() for record in caplog.records] == [
        "the model cannot be loaded: The weights are missing."
    ] * 2
    assert not any(record.exc_info for record in caplog.records)


def test_nobody_waits_for_a_download() -> None:
    go_on = threading.Event()

    async def story() -> None:
        class Fetching(FakeModels):
            def warm(self, name: str) -> None:
                readiness.progress("weights: downloading", 1, 2)
                assert go_on.wait(20)

        _, readiness = ready(Fetching())
        async with anyio.create_task_group() as group:
            group.start_soon(readiness.load)
            with anyio.fail_after(5), pytest.raises(MatteboxError, match="being fetched") as caught:
                await readiness.check(patience=20)
            assert caught.value.retry_after == 30
            go_on.set()
        await readiness.check()

    anyio.run(story)


def test_a_server_that_stops_ends_its_download(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        class Fetching(FakeModels):
            def warm(self, name: str) -> None:
                while True:
                    readiness.progress("weights: downloading", 1, None)
                    time.sleep(0.01)

        _, readiness = ready(Fetching(), pause=60)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(readiness.load)
                await anyio.sleep(0.1)
                readiness.stop()

    anyio.run(story)
    assert caplog.records == []


def test_a_server_that_stops_does_not_wait_to_try_again() -> None:
    async def story() -> None:
        _, readiness = ready(Weights(MatteboxError(Kind.UNAVAILABLE, "missing")), pause=60)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(readiness.load)
                await anyio.wait_all_tasks_blocked()
                readiness.stop()

    anyio.run(story)


@pytest.mark.parametrize("failure", [MatteboxError(Kind.INVALID_PARAMETER, "no such model"), ZeroDivisionError("x")])
def test_what_will_not_mend_is_not_tried_again(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        models = Weights(failure)
        _, readiness = ready(models)
        await readiness.load()
        with pytest.raises(MatteboxError) as caught:
            await readiness.check(patience=10)
        assert caught.value.kind is Kind.UNAVAILABLE
        assert "x" not in caught.value.message.split()
        assert len(models.warmed) == 1

    anyio.run(story)
    assert (caplog.records[0].exc_info is not None) is isinstance(failure, ZeroDivisionError)


# --- the edit ----------------------------------------------------------------------------------------------------


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
        service = Service(Engine(FakeModels(slow)), Fetcher())
        database = connect(f"sqlite:///{tmp_path}/usage.db")
        create(database)
        accounts = Accounts((), database)
        rooms = Rooms(
            service=service,
            accounts=accounts,
            readiness=Readiness(service),
            turnstile=Turnstile(1),
            installed=lambda name: True,
        )
        app = SimpleNamespace(state=SimpleNamespace(rooms=rooms))
        asked = Request({**request({}).scope, "app": app}, receive)
        asked.scope["state"]["visit"] = Visit(dialect=DIALECTS["native"], request_id="req_1")
        with pytest.raises(MatteboxError) as caught:
            await http.run_edit(asked, Account("me"), Edit(source=Upload(photo)), picture="image")
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
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")


def test_the_turnstile_lets_in_so_many_and_counts_who_leaves() -> None:
    turnstile = Turnstile(2)
    for _ in range(2):
        with turnstile, turnstile:
            with pytest.raises(MatteboxError) as caught, turnstile:
                pytest.fail("three were let in")
            assert (caught.value.kind, caught.value.retry_after) == (Kind.OVERLOADED, 2)

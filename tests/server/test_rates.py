from __future__ import annotations

import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from fakeredis import TcpFakeServer
from fastapi import FastAPI
from starlette.testclient import TestClient

from mattebox.errors import Kind, MatteboxError
from mattebox.server.rates import RateLimitedError, RateLimits, RateOptions, RateState, check_rate
from mattebox.server.store.accounts import Account

ANN, BOB = Account("ann"), Account("bob")


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "memory":
        yield ""
        return
    server = TcpFakeServer(("127.0.0.1", 0))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"redis://127.0.0.1:{server.server_address[1]}/0"
    server.shutdown()
    server.server_close()
    thread.join()


def refused(limits: RateLimits, account: Account = ANN, requests: int = 1) -> MatteboxError:
    with pytest.raises(MatteboxError) as caught:
        limits.count(account, "native", requests)
    return caught.value


def test_each_key_has_its_limit_in_each_dialect(url: str) -> None:
    limits = RateLimits(RateOptions(requests="2/hour", dialects=("poof=1/day",), url=url))
    begin = time.time()
    left = [limits.count(ANN, "native") for _ in range(2)]
    assert [(each.limit, each.remaining) for each in left if each] == [(2, 1), (2, 0)]
    error = refused(limits)
    assert error.kind is Kind.OVERLOADED
    assert error.message == "This key may make 2 requests per hour."
    assert error.retry_after is not None
    assert begin + 3600 <= time.time() + error.retry_after <= time.time() + 3601
    assert isinstance(error, RateLimitedError)
    assert (error.state.limit, error.state.remaining) == (2, 0)
    assert limits.count(BOB, "native")
    assert limits.count(ANN, "poof") is not None
    with pytest.raises(MatteboxError, match="1 request per day"):
        limits.count(ANN, "poof")


def test_a_keys_own_rate_comes_first_and_an_empty_one_is_none() -> None:
    limits = RateLimits(RateOptions(requests="1/hour"))
    for rate, allowed in ((None, 1), ("3/hour", 3)):
        account = Account(f"{rate}", rate=rate)
        for _ in range(allowed):
            assert limits.count(account, "native")
        assert refused(limits, account).kind is Kind.OVERLOADED
    assert [limits.count(Account("free", rate=""), "native") for _ in range(5)] == [None] * 5
    assert [limits.count(Account("x", anonymous=True), "native") for _ in range(5)] == [None] * 5


def test_of_several_limits_the_nearest_is_told_and_what_one_refuses_counts_for_none() -> None:
    limits = RateLimits(RateOptions(requests="2/hour; 3/day"))
    states = [limits.count(ANN, "native") for _ in range(2)]
    assert states[-1]
    assert (states[-1].limit, states[-1].remaining) == (2, 0)
    for _ in range(5):
        assert "2 requests per hour" in refused(limits).message
    assert limits._windows.get_window_stats(limits._default[1], "ann", "native").remaining == 1


def test_several_at_once_are_counted_all_or_none(url: str) -> None:
    limits = RateLimits(RateOptions(requests="5/hour", url=url))
    state = limits.count(ANN, "native", 3)
    assert state
    assert state.remaining == 2
    assert refused(limits, requests=3).kind is Kind.OVERLOADED
    state = limits.count(ANN, "native", 2)
    assert state
    assert state.remaining == 0
    assert refused(limits, requests=6).kind is Kind.INVALID_PARAMETER


def test_a_look_counts_for_nothing(url: str) -> None:
    limits = RateLimits(RateOptions(requests="2/hour", url=url))
    assert limits.waits == bool(url)
    for _ in range(5):
        limits.check(ANN, "native")
    left = [limits.count(ANN, "native") for _ in range(2)]
    assert [each.remaining for each in left if each] == [1, 0]
    with pytest.raises(RateLimitedError) as caught:
        limits.check(ANN, "native")
    assert (caught.value.state, caught.value.message) == (left[1], "This key may make 2 requests per hour.")
    limits.check(BOB, "native")


def test_without_a_setting_nothing_is_limited() -> None:
    limits = RateLimits()
    assert [limits.count(ANN, "native") for _ in range(100)] == [None] * 100


def test_a_redis_server_that_is_away_is_said_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port, and nobody answers at it
        limits = RateLimits(RateOptions(requests="5/hour", url=f"redis://127.0.0.1:{taken.getsockname()[1]}/0"))
        error = refused(limits)
    assert (error.kind, error.retry_after) == (Kind.UNAVAILABLE, 2)


@pytest.mark.parametrize(("role", "ready"), [("all", False), ("api", False), ("worker", True)])
def test_a_server_whose_redis_is_away_is_not_ready_and_a_worker_needs_none(
    role: str, ready: bool, serve: Callable[..., TestClient]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{taken.getsockname()[1]}/0"
        client = serve(role=role, keys=("k",), rates={"requests": "5/hour", "url": url})
        app = client.app
        assert isinstance(app, FastAPI)
        assert client.portal is not None
        client.portal.call(partial(app.state.server.readiness.check, patience=60))
        answer = client.get("/ready")
    away = {"status": "The server that counts requests cannot be reached."}
    assert (answer.status_code, answer.json()) == ((200, {"status": "ok"}) if ready else (503, away))


def test_a_server_whose_redis_answers_is_ready(url: str, serve: Callable[..., TestClient]) -> None:
    client = serve(keys=("k",), rates={"requests": "5/hour", "url": url})
    app = client.app
    assert isinstance(app, FastAPI)
    assert client.portal is not None
    client.portal.call(partial(app.state.server.readiness.check, patience=60))
    assert client.get("/ready").json() == {"status": "ok"}


@pytest.mark.parametrize("rate", ["x", "10", "0/minute", "-1/minute", "5/fortnight", "5/minute, x"])
def test_a_rate_is_a_number_per_time(rate: str) -> None:
    with pytest.raises(ValueError, match="a rate"):
        check_rate(rate)
    with pytest.raises(ValueError, match="a rate"):
        RateOptions(requests=rate)


@pytest.mark.parametrize("dialect", ["removebg", "=5/minute", "removebg=", "removebg=x"])
def test_a_dialects_rate_has_a_name_before_it(dialect: str) -> None:
    with pytest.raises(ValueError, match="like"):
        RateOptions(dialects=(dialect,))


def test_the_failure_can_be_sent_between_processes() -> None:
    error = RateLimitedError("No.", RateState(limit=1, remaining=0, reset=time.time() + 5))
    again = pickle.loads(pickle.dumps(error))
    assert (again.message, again.state) == (error.message, error.state)


def test_every_dialect_refuses_in_its_own_words(serve: Callable[..., TestClient], photo: bytes) -> None:
    client = serve(keys=("k",), rates={"requests": "1/hour"})
    key = {"x-api-key": "k"}
    for path, told in (
        ("/api/v1/remove", {"kind": "overloaded"}),
        ("/v1/remove", {"code": "rate_limit_exceeded"}),
    ):
        answers = [
            client.post(path, files={"image_file" if "api" not in path else "image": photo}, headers=key)
            for _ in range(2)
        ]
        assert [each.status_code for each in answers] == [200, 429], answers[0].text
        assert told.items() <= answers[1].json().items(), answers[1].text
        assert 3500 < int(answers[1].headers["retry-after"]) <= 3600
        assert "x-ratelimit-limit" not in answers[1].headers  # which only one vendor documents

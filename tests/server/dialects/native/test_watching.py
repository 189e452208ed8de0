"""The stream of all tasks of a key: how they stand, what changes, where a watcher goes on, and its end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from starlette.requests import Request
from starlette.testclient import TestClient
from tests.server.dialects.native.test_tasks import PATH, ended, taken

from mattebox.server import actions
from mattebox.server.dialects.native import watching
from mattebox.server.jobs import Task
from mattebox.server.store.accounts import Account

EVENTS = f"{PATH}/events"


@pytest.fixture
def ending(queued: TestClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[anyio.Event]:
    """The server is about to end; streams would go on for ever otherwise."""
    monkeypatch.setattr(watching, "_LONGEST_WATCH", float("inf"))
    queued.app_state["ending"] = event = anyio.Event()
    yield event
    del queued.app_state["ending"]


def told(client: TestClient, last: str = "", key: str = "one") -> tuple[list[dict[str, Any]], str]:
    """The tasks of one stream, and the id of its last event."""
    headers = {"Authorization": f"Bearer {key}", **({"Last-Event-ID": last} if last else {})}
    answer = client.get(EVENTS, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    begin, *blocks = answer.text.split("\n\n")[:-1]
    assert begin == "retry: 250"
    found = []
    for block in blocks:
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        assert lines["event"] == "task"
        found.append(json.loads(lines["data"]))
        last = lines["id"]
    return found, last


def test_how_they_stand_and_only_what_is_new_afterwards(
    queued: TestClient, photo: bytes, ending: anyio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending.set()
    one, two = (taken(queued.post(PATH, content=photo))["id"] for _ in range(2))
    seen, last = told(queued)
    assert [each["id"] for each in seen][-2:] == [one, two]  # the oldest first, so that the last one is the newest
    states = {two: set[str]()}
    deadline = time.monotonic() + 30
    while "succeeded" not in states[two]:
        assert time.monotonic() < deadline
        seen, last = told(queued, last)
        for each in seen:
            states.setdefault(each["id"], set()).add(each["status"])
    assert states[one] >= {"succeeded"}
    result = next(each["result"] for each in seen if each["id"] == two)
    assert result["media_type"] == "image/png"
    monkeypatch.setattr(watching, "_OVERLAP", -600.0)
    assert told(queued, last)[0] == []  # nothing happened since
    assert {one, two} <= {each["id"] for each in told(queued)[0]}
    assert {one, two} <= {each["id"] for each in told(queued, "no moment")[0]}
    assert told(queued, "nan")[0] != []


def test_each_change_while_it_happens(
    queued: TestClient, photo: bytes, ending: anyio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_LOOK_AT_ALL", 0.02)
    real = actions.tasks_of
    mine: list[str] = []

    async def looking(request: Request, account: Account, *, limit: int) -> list[Task]:
        found = await real(request, account, limit=limit)
        if all(task.finished is not None for task in found):
            ending.set()
        return found

    monkeypatch.setattr(actions, "tasks_of", looking)
    mine += (taken(queued.post(PATH, content=photo))["id"] for _ in range(3))
    seen, _ = told(queued)
    changes = [(each["id"], each["status"], each["progress"]) for each in seen if each["id"] in mine]
    assert len(changes) == len(set(changes))
    for task in mine:
        assert [status for found, status, _ in changes if found == task][-1] == "succeeded"
    assert seen[-1]["id"] == mine[-1]  # one is done at a time


def test_tasks_of_others_are_not_told(queued: TestClient, photo: bytes, ending: anyio.Event) -> None:
    ending.set()
    task = taken(queued.post(PATH, content=photo))["id"]
    assert task in {each["id"] for each in told(queued)[0]}
    assert told(queued, key="two")[0] == []
    assert queued.get(EVENTS, headers={"Authorization": "Bearer nobody"}).status_code == 401
    ended(queued, task)


def test_silence_is_no_end(queued: TestClient, ending: anyio.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_LOOK_AT_ALL", 0.01)
    monkeypatch.setattr(watching, "_HEARTBEAT", 0.0)
    monkeypatch.setattr(watching, "_LONGEST_WATCH", 0.2)
    answer = queued.get(EVENTS, headers={"Authorization": "Bearer two"})
    assert answer.text.count(": still here\n\n") > 1

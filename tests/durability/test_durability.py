"""Many tasks, and servers that are killed in the middle of them. Nothing may be lost, failed or told in vain.

The real thing: real processes, the real (small) network `u2netp`, real PostgreSQL and S3. `make durability` runs it; it
takes minutes.
"""

from __future__ import annotations

import base64
import collections
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.durability.nodes import Node, ask
from tests.servers import Postgres

from mattebox import codec
from mattebox.edit import Format, Output
from mattebox.image import Image
from mattebox.testing import make_scene

pytestmark = [pytest.mark.durability, pytest.mark.model, pytest.mark.timeout(1800)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many tasks, with photos of which size, and how many kills after how many seconds each."""

    tasks: int
    kills: int
    size: tuple[int, int]
    pauses: tuple[float, float]


MANY = Plan(tasks=200, kills=10, size=(640, 480), pauses=(0.5, 6))
SLOW = Plan(tasks=40, kills=5, size=(4000, 3000), pauses=(5, 9))
"""Each of them takes so long that the same ones could be hit again and again."""

ANNOUNCED: collections.Counter[str] = collections.Counter()


class Receiver(BaseHTTPRequestHandler):
    """Takes webhooks in and counts them."""

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:
            return  # its sender was killed
        ANNOUNCED[json.loads(body)["data"]["id"]] += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[str]:
    """Where a receiver of webhooks listens."""
    ANNOUNCED.clear()
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{receiver.server_port}/"
    receiver.shutdown()
    receiver.server_close()
    thread.join()


def survive(plan: Plan, nodes: list[Node], hook: str, disaster: Callable[[int], None]) -> None:
    """Queue the tasks, let disasters happen, and look at what came of it."""
    width, height = plan.size
    photo = codec.encode(Image(rgb=make_scene(width=width, height=height, seed=0).photo), Output(format=Format.JPEG))
    edit = {"image": base64.b64encode(photo).decode()}
    begin = time.perf_counter()
    # A request has a bound on its bytes, so there are several, of one batch each.
    made = [
        ask(f"{nodes[0].address}/api/v1/tasks", {"edits": [edit] * min(20, plan.tasks - at), "webhook": hook})
        for at in range(0, plan.tasks, 20)
    ]
    for number in range(plan.kills):
        time.sleep(random.uniform(*plan.pauses))
        disaster(number)

    def counts() -> collections.Counter[str]:
        batches = [ask(f"{nodes[0].address}/api/v1/batches/{each['batch']}") for each in made]
        return sum((collections.Counter(batch["counts"]) for batch in batches), collections.Counter())

    while (found := counts())["queued"] + found["running"]:
        time.sleep(1)
    took = time.perf_counter() - begin
    ids = {task["id"] for each in made for task in each["tasks"]}
    until = time.monotonic() + 120
    while len(ANNOUNCED) < len(ids) and time.monotonic() < until:
        time.sleep(1)
    time.sleep(5)  # for ones too many
    told = collections.Counter(ANNOUNCED[each] for each in ids)
    print(f"\n{found}\n{plan}, ended after {took:.0f} s; webhooks a task: {dict(told)}")
    assert found == {"succeeded": plan.tasks}
    assert told[0] == 0, "a task was not told"
    # A kill between the receiver's answer and writing it down sends that webhook again, under the same id.
    assert told[1] >= plan.tasks - plan.kills
    assert set(told) <= {1, 2}


BASE = {"MATTEBOX_MODEL": "u2netp", "MATTEBOX_FETCH_ALLOW_NETWORKS": "127.0.0.0/8"}


@pytest.mark.parametrize("plan", [MANY, SLOW], ids=["many", "slow"])
def test_one_node_on_sqlite_and_files(plan: Plan, tmp_path: Path, hook: str) -> None:
    node = Node("node", tmp_path, BASE)

    def kill(_: int) -> None:
        node.kill()
        node.start()

    try:
        survive(plan, [node], hook, kill)
    finally:
        node.stop()


def test_two_nodes_on_postgresql_and_s3(
    tmp_path: Path, hook: str, postgres: Postgres, postgres_database: str, s3_url: str
) -> None:
    stores = {"MATTEBOX_DATABASE_URL": postgres_database, "MATTEBOX_STORAGE_URL": s3_url}
    nodes = [Node(name, tmp_path, BASE | stores) for name in ("one", "two")]

    def kill(number: int) -> None:
        if number == MANY.kills // 2:  # the database itself, for eight seconds
            postgres.kill()
            time.sleep(8)
            postgres.start()
            return
        victim = random.choice(nodes)
        victim.kill()
        victim.start()

    try:
        survive(MANY, nodes, hook, kill)
    finally:
        for node in nodes:
            node.stop()

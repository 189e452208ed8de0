"""Hundreds of requests that nobody means well, sent to a real server through the routes of every dialect.

Each must be answered, with a picture or with a refusal in the vendor's own shape; nothing may fail inside the server,
and nothing may cost it much. The last test prints what it cost (`pytest -m process -rP tests/hostile`).
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator

import pytest
from _pytest.mark import ParameterSet
from tests.hostile import addresses, bombs, damaged, encodings, forms, heads, json_bodies, kept, options, texts
from tests.hostile.addresses import World
from tests.hostile.doors import DOORS, JSON, PICTURE_DOORS, SOUND, Door, Sent
from tests.hostile.running import ANSWER_SECONDS, Answer, Server

pytestmark = [pytest.mark.process, pytest.mark.model]

MOST_BYTES = 1500 * 2**20
MOST_CPU_SECONDS = 20.0
"""For one request. It is far above what any of them takes, 2 s, as a busy machine counts differently."""

_KINDS = {**bombs.KINDS, **damaged.KINDS}
_PICTURES = [(kind, name, make) for kind, family in _KINDS.items() for name, make in family()]
_FORM_DOORS = [door for door in DOORS if door.file]
_TEXT_DOORS = [door for door in DOORS if door.text]
_JSON_DOORS = [door for door in DOORS if door.text or (door.url and not door.url_in_form)]
_LINK_DOORS = [door for door in DOORS if door.url]
Make = Callable[[Door], Sent]
_ENDLESS = ("99999999", "chunks without an end", "chunks whose size is huge")
"""Bodies that do not come to an end. The server waits for it for ten seconds."""
_FINE = ("delivered: photo.png", "delivered: many-headers", "address with spaces around")
_SEVERAL = 3


def several(doors: list[Door], name: str) -> list[Door]:
    """Some of the doors, which take turns: what they have in common is read in one place."""
    first = zlib.crc32(name.encode())
    return [doors[(first + step * len(doors) // _SEVERAL) % len(doors)] for step in range(_SEVERAL)]


@pytest.fixture(scope="module")
def there() -> Iterator[World]:
    with addresses.world() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("hostile"))
    try:
        running.wait()
        yield running
    finally:
        running.process.kill()
        running.process.wait()


@pytest.fixture(autouse=True)
def _each_case_has_its_own_peak(server: Server) -> None:
    server.forget_peak()


@pytest.fixture(scope="module")
def page(server: Server) -> dict[str, object]:
    """The server's own description of its routes."""
    answer = server.exchange(Sent("", start=b"GET /openapi.json HTTP/1.1"))
    found = answer.json
    assert isinstance(found, dict)
    return found


def named(cases: Iterable[tuple[str, object]]) -> list[ParameterSet]:
    return [pytest.param(case, id=name.replace("/", "⁄")) for name, case in cases]


def send(server: Server, sent: Sent) -> Answer:
    """Send it, and see that it was answered, cheaply enough, by a server that still lives."""
    before = server.cpu_seconds
    answer = server.exchange(sent)
    assert server.process.poll() is None, server.said[-4_000:]
    assert answer.status < 500, (sent.path, answer.body[:500], server.said[-4_000:])
    assert server.cpu_seconds - before < MOST_CPU_SECONDS
    assert server.peak_bytes < MOST_BYTES
    assert "X-Injected" not in answer.headers
    return answer


def answered(server: Server, door: Door, sent: Sent) -> Answer:
    """The same, and see that the answer is in the shape of the door's vendor."""
    answer = send(server, sent)
    assert answer.status, "the connection was closed without an answer"
    if answer.status >= 400 and answer.headers["content-type"] != "text/plain; charset=utf-8":
        found = answer.json
        assert isinstance(found, dict)
        assert found.keys() == door.members, answer.body[:500]
    elif answer.status < 400:
        assert answer.headers.get_content_type() in ("image/png", "image/jpeg", "image/webp", JSON)
        assert answer.body
    return answer


def visits(kind: str) -> int:
    """The doors that each picture of a kind goes through, so that together they go through all."""
    return max(_SEVERAL, -(-len(PICTURE_DOORS) // sum(each == kind for each, _, _ in _PICTURES)))


def doors_for(kind: str, name: str) -> list[tuple[Door, int]]:
    """The doors of one picture, with the number of the way in which it is carried."""
    number = [each for each_kind, each, _ in _PICTURES if each_kind == kind].index(name)
    places = range(number * visits(kind), (number + 1) * visits(kind))
    return [(PICTURE_DOORS[place % len(PICTURE_DOORS)], place // len(PICTURE_DOORS) + number) for place in places]


@pytest.mark.parametrize(("kind", "name", "make"), [pytest.param(*case, id=case[1]) for case in _PICTURES])
def test_a_picture(kind: str, name: str, make: Callable[[], bytes], server: Server, there: World) -> None:
    there.photo = make()
    for door, turn in doors_for(kind, name):
        sent = door.carriages[turn % len(door.carriages)](there.photo) if door.carriages else door.at(there.link)
        answer = answered(server, door, sent)
        if door.task and answer.status < 400:
            follow(server, door, answer)


def follow(server: Server, door: Door, answer: Answer) -> None:
    """Wait for the end of a task, by the stream of its events where it has one."""
    found = answer.json
    assert isinstance(found, dict)
    path = door.task.format(found.get("id", found.get("task_id")))
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        if "?" not in path:
            events = send(server, Sent(path, start=f"GET {path}/events HTTP/1.1".encode()))
            assert events.headers.get_content_type() == "text/event-stream"
        state = send(server, Sent(path, start=f"GET {path} HTTP/1.1".encode())).json
        assert isinstance(state, dict)
        status = state.get("status") or state["task"]["status"]
        if status.removeprefix("TASK_STATUS_").lower() in ("succeeded", "succeed", "failed"):
            return
        assert time.monotonic() < deadline, state
        time.sleep(0.05)


def test_every_door_sees_every_kind() -> None:
    for kind in _KINDS:
        names = [name for each, name, _ in _PICTURES if each == kind]
        seen = {door.name for name in names for door, _ in doors_for(kind, name)}
        assert seen == {door.name for door in PICTURE_DOORS}, kind


def test_every_route_that_takes_a_picture_is_a_door(page: dict[str, object]) -> None:
    """By the server's own description."""
    paths = json.loads(json.dumps(page))["paths"]
    posts = {path: each["post"] for path, each in paths.items() if "post" in each}
    doors = {door.path for door in PICTURE_DOORS}
    assert {path for path, post in posts.items() if options.takes_pictures(post)} - doors == {
        path
        for path in posts
        if path.endswith("/{image_id}/remove")  # with a picture behind
    }
    changes = {f"{kept.path_of(door, '{image_id}')}/{word}" for door, word, _ in kept.CHANGES}
    no_change = ("/publish", "/unpublish", "/classify", "/visualize")  # the last two are refused before it is read
    assert {path for path in posts if "/{image_id}/" in path and not path.endswith(no_change)} == changes


_KEPT = [(name, make) for kind, name, make in _PICTURES if kind in ("large", "lying metadata")]


@pytest.mark.parametrize(("number", "make"), [pytest.param(n, each[1], id=each[0]) for n, each in enumerate(_KEPT)])
def test_a_picture_that_is_kept(number: int, make: Callable[[], bytes], server: Server) -> None:
    photo = make()
    for step in range(_SEVERAL):
        changed(server, *kept.CHANGES[(_SEVERAL * number + step) % len(kept.CHANGES)], photo)


def test_a_sound_picture_is_changed_by_every_route(server: Server) -> None:
    for door, word, members in kept.CHANGES:
        answer = changed(server, door, word, members, SOUND)
        assert answer is not None
        assert answer.status == 201, (word, answer.body)


def changed(server: Server, door: Door, word: str, members: dict[str, object], photo: bytes) -> Answer | None:
    """Have a picture kept, and another one for what needs two, change it, and delete all; None where it is not kept."""
    ids = []
    for _ in range(2 if word == "watermark" else 1):
        server.forget_peak()
        answer = answered(server, door, door.as_file(photo))
        if answer.status >= 400:
            return None
        ids.append(_id(answer))
    body = kept.body_of(members, ids[-1])
    sent = Sent(f"{kept.path_of(door, ids[0])}/{word}", body, [("Content-Type", JSON)])
    answer = answered(server, door, sent)
    if answer.status == 201:
        ids.append(_id(answer))
    for image_id in ids:
        path = kept.path_of(door, image_id)
        assert send(server, Sent(path, start=f"DELETE {path} HTTP/1.1".encode())).status in (200, 204)
    return answer


def _id(answer: Answer) -> str:
    found = answer.json
    assert isinstance(found, dict)
    return str(found["id"])


@pytest.mark.parametrize("make", named(json_bodies.bodies()))
def test_json(make: Callable[[], bytes], server: Server) -> None:
    body = make()
    for door in _JSON_DOORS:
        answer = answered(server, door, Sent(door.path, body, [("Content-Type", JSON)]))
        assert 400 <= answer.status < 500


@pytest.mark.parametrize("make", named(forms.requests()))
def test_a_form(make: Make, server: Server, request: pytest.FixtureRequest) -> None:
    for door in several(_FORM_DOORS, request.node.name):
        answered(server, door, make(door))


@pytest.mark.parametrize("make", named(texts.texts()))
def test_base64(make: Callable[[], object], server: Server, request: pytest.FixtureRequest) -> None:
    value = make()
    for door in several(_TEXT_DOORS, request.node.name):
        answered(server, door, door.json({door.text: value}))


@pytest.mark.parametrize("make", named(encodings.requests()))
def test_a_body_that_is_not_what_its_headers_say(make: Make, server: Server, request: pytest.FixtureRequest) -> None:
    doors = several(list(DOORS), request.node.name)
    if any(word in request.node.name for word in _ENDLESS):
        doors = doors[:1]
    for door in doors:
        answered(server, door, make(door))


@pytest.mark.parametrize("sent", named(heads.lines()))
def test_a_first_line(sent: Sent, server: Server) -> None:
    answer = send(server, sent)
    assert b"root:" not in answer.body
    assert answer.status or sent.start in (b"\r\n\r\n",)


@pytest.mark.parametrize("header", named(heads.headers()))
def test_a_header(header: tuple[str, str], server: Server, request: pytest.FixtureRequest) -> None:
    for door in several(list(DOORS), request.node.name):
        sent = door.carriages[0](b"no picture") if door.carriages else door.at("http://127.0.0.1/")
        answered(server, door, Sent(sent.path, sent.body, [*sent.headers, header]))


def _names_of_addresses() -> list[str]:
    return [name for name, _ in World(allowed=1, here=2).addresses()]


@pytest.mark.parametrize("name", [pytest.param(name, id=name.replace("/", "⁄")) for name in _names_of_addresses()])
def test_an_address(name: str, server: Server, there: World) -> None:
    address = dict(there.addresses())[name]
    for door in _LINK_DOORS:
        answer = answered(server, door, door.at(address))
        assert there.came == []
        assert answer.status >= 400 or name in _FINE, address


@pytest.mark.parametrize("door", [pytest.param(door, id=door.name) for door in DOORS])
def test_options(door: Door, server: Server, page: dict[str, object]) -> None:
    names = sorted(set(options.fields_of(page, door)))
    assert names
    for name in names:
        for sent in options.requests(door, name):
            answered(server, door, sent)


def test_there_are_enough() -> None:
    families = [
        forms.requests(),
        encodings.requests(),
        texts.texts(),
        json_bodies.bodies(),
        heads.lines(),
        heads.headers(),
    ]
    assert len(_PICTURES) + sum(len(list(family)) for family in families) + len(_names_of_addresses()) >= 300


def test_it_is_still_well(server: Server) -> None:
    """At the end: it cuts out what it is sent, and its log has no failure of its own."""
    photo = damaged.samples()["HEIC"]
    for door in DOORS:
        if not door.carriages:
            continue
        assert answered(server, door, door.carriages[0](photo)).status in (200, 201)
    records = [json.loads(line) for line in server.said.splitlines() if line.startswith("{")]
    assert len(records) > 300
    assert [
        each for each in records if each["level"] in ("error", "critical") and each["logger"].startswith("mattebox")
    ] == []
    assert "Traceback" not in server.said
    slowest = sorted(records, key=lambda each: each.get("seconds", 0))[-15:]
    for each in slowest:
        print(each.get("seconds"), each["event"])
    print(f"peak {server.most_bytes / 2**20:.0f} MiB, processor {server.cpu_seconds:.1f} s, {len(records)} requests")

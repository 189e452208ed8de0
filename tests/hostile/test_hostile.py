"""Hundreds of requests that nobody means well, sent to a real server through the routes of every dialect.

Each must be answered, with a picture or with a refusal in the vendor's own shape; nothing may fail inside the server,
and nothing may cost it much. The last test prints what it cost (`pytest -m process -rP tests/hostile`).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator

import pytest
from _pytest.mark import ParameterSet
from tests.hostile import addresses, bombs, damaged, encodings, forms, heads, json_bodies, options, texts
from tests.hostile.addresses import World
from tests.hostile.doors import DOORS, JSON, Door, Sent
from tests.hostile.running import Answer, Server

pytestmark = [pytest.mark.process, pytest.mark.model]

MOST_BYTES = 1500 * 2**20
MOST_CPU_SECONDS = 20.0
"""For one request. It is far above what any of them takes, 2 s, as a busy machine counts differently."""

_BOMBS = list(bombs.pictures())
_DAMAGED = list(damaged.pictures())
_PHOTO_DOORS = [door for door in DOORS if door.carriages]
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


@pytest.mark.parametrize("make", named(_BOMBS))
def test_a_bomb(make: Callable[[], bytes], server: Server, request: pytest.FixtureRequest) -> None:
    photo = make()
    # What the limit of pixels just allows is no bomb but a large picture, and it is worked on: by one door.
    doors = _PHOTO_DOORS[:1] if "within the limit" in request.node.name else _PHOTO_DOORS
    for turn, door in enumerate(doors):
        answered(server, door, door.carriages[turn % len(door.carriages)](photo))


@pytest.mark.parametrize("make", named(_DAMAGED))
def test_a_damaged_picture(make: Callable[[], bytes], server: Server, request: pytest.FixtureRequest) -> None:
    photo = make()
    for turn, door in enumerate(several(_PHOTO_DOORS, request.node.name)):
        answered(server, door, door.carriages[turn % len(door.carriages)](photo))


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
    assert (
        len(_BOMBS) + len(_DAMAGED) + sum(len(list(family)) for family in families) + len(_names_of_addresses()) >= 300
    )


def test_it_is_still_well(server: Server) -> None:
    """At the end: it cuts out what it is sent, and its log has no failure of its own."""
    photo = damaged.samples()["HEIC"]
    for door in _PHOTO_DOORS:
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

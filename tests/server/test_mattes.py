from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from mattebox.image import RGB, Alpha
from mattebox.server.mattes import MatteCache, MatteOptions
from mattebox.server.pace import Pace
from mattebox.steps import Kept
from mattebox.testing import FakeModels, FakePromptable, FakeSegmenter

Serve = Callable[..., TestClient]
PATH = "/api/v1/remove"
ROUGH = np.full((8, 8), 0.5, np.float32)
PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


class Network:
    """A stand-in that counts how often it runs, and says how far it is borne out."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, photo: RGB) -> Alpha:
        return self.look(photo)[0]

    def look(self, photo: RGB) -> tuple[Alpha, float]:
        self.runs += 1
        return FakeSegmenter()(photo), 0.8


def counted(client: TestClient) -> dict[str, float]:
    """The metrics that say whether a network ran."""
    page = TestClient(client.app, client=("127.0.0.1", 50000)).get("/metrics", headers=client.headers).text
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    found = {sample.labels["outcome"]: sample.value for sample in samples if sample.name == "mattebox_mattes_total"}
    for sample in samples:
        if sample.name == "mattebox_stage_seconds_count" and sample.labels["stage"] in ("segment", "embed"):
            found[sample.labels["stage"]] = sample.value
        if sample.name == "mattebox_mattes_bytes":
            found["bytes"] = sample.value
    return found


BEHIND: list[dict[str, str]] = [
    {"background": "#ff0000"},
    {"background": "#00ff00", "crop": "true", "shadow": "drop"},
    {"background_blur": "4", "refine": "false"},
    {"corrections": json.dumps({"strokes": [{"points": [[0.1, 0.1]], "size": 0.2}], "points": [{"x": 0.5, "y": 0.5}]})},
    {"alpha_only": "true", "semitransparency": "false"},
]


def test_what_is_behind_and_corrected_changes_without_a_network_and_not_a_byte_is_another(
    serve: Serve, photo: bytes
) -> None:
    fresh, network = serve(models=FakeModels(Network()), mattes={"bytes": 0}), Network()
    client = serve(models=FakeModels(network))
    client.post(PATH, content=photo)
    before = counted(client)
    assert (before["segment"], before["miss"], before["hit"]) == (1, 1, 0)
    for options in BEHIND:
        kept, anew = client.post(PATH, content=photo, params=options), fresh.post(PATH, content=photo, params=options)
        assert kept.status_code == 200
        assert kept.content == anew.content
        for name in ("subject", "confidence", "ambiguity"):
            assert kept.headers[f"x-mattebox-{name}"] == anew.headers[f"x-mattebox-{name}"]
    after = counted(client)
    assert (after["segment"], after["miss"], after["hit"]) == (1, 1, len(BEHIND))
    assert network.runs == 1
    assert 0 < after["bytes"] == before["bytes"]
    off = counted(fresh)
    assert (off["segment"], off["miss"], off["hit"], off["bytes"]) == (len(BEHIND), 0, 0, 0)


def test_another_picture_region_or_key_needs_the_network(serve: Serve, photo: bytes) -> None:
    network = Network()
    client = serve(models=FakeModels(network), keys=("one", "two"))
    one, two = {"x-api-key": "one"}, {"x-api-key": "two"}
    for expected, headers, options in (
        (1, one, {}),
        (1, one, {}),
        (2, two, {}),
        (3, one, {"roi": "0% 0% 50% 100%"}),
        (3, two, {"background": "red"}),
        (3, one, {"roi": "0% 0% 50% 100%", "background": "red"}),
    ):
        assert client.post(PATH, content=photo, params=options, headers=headers).status_code == 200
        assert network.runs == expected


def test_a_failure_keeps_nothing(serve: Serve, photo: bytes) -> None:
    class Broken(Network):
        def look(self, photo: RGB) -> tuple[Alpha, float]:
            found = super().look(photo)
            if self.runs == 1:
                raise RuntimeError("once")
            return found

    network = Broken()
    client = serve(models=FakeModels(network))
    assert [client.post(PATH, content=photo).status_code for _ in range(3)] == [500, 200, 200]
    assert network.runs == 2


def test_the_network_for_clicks_looks_at_a_picture_once_for_each_key(serve: Serve, photo: bytes) -> None:
    network, clicks = Network(), FakePromptable()
    client = serve(models=FakeModels(network, clicks), keys=("one", "two"))
    points = [{"points": [{"x": 0.5, "y": 0.5, "keep": keep}]} for keep in (True, False)]
    client.headers["x-api-key"] = "one"
    client.post(PATH, content=photo)
    before = counted(client)["bytes"]
    for key, wanted, looks in (("one", 0, 1), ("one", 1, 1), ("one", 0, 1), ("two", 0, 2)):
        options = {"corrections": json.dumps(points[wanted])}
        answer = client.post(PATH, content=photo, params=options, headers={"x-api-key": key})
        assert answer.headers["x-mattebox-corrections"] == "network"
        assert clicks.looks == looks
    assert network.runs == 2
    assert counted(client)["embed"] == 2
    assert counted(client)["bytes"] == 2 * (before + 64 * 64 * 3 * 4)


def test_what_is_seen_for_clicks_and_has_no_room_is_seen_again(serve: Serve, photo: bytes) -> None:
    clicks = FakePromptable()
    small = 256 * 256 * 4 + 2048  # a matte and no more
    client, fresh = (serve(models=FakeModels(Network(), clicks), mattes={"bytes": size}) for size in (small, 0))
    options = {"corrections": json.dumps({"points": [{"x": 0.5, "y": 0.5}]})}
    answers = [each.post(PATH, content=photo, params=options) for each in (client, client, fresh)]
    assert clicks.looks == 3
    assert answers[0].content == answers[1].content == answers[2].content
    assert counted(client)["hit"] == 1


def test_what_needs_no_network_teaches_nothing_about_what_does(
    serve: Serve, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[str] = []

    plain = Pace.measure

    @contextmanager
    def measure(self: Pace, kind: Callable[[], str], pixels: int) -> Iterator[None]:
        with plain(self, kind, pixels):
            yield
        learnt.append(kind())

    monkeypatch.setattr(Pace, "measure", measure)
    client = serve(models=FakeModels(Network(), FakePromptable()))
    clicked = {"corrections": json.dumps({"points": [{"x": 0.5, "y": 0.5}]})}
    for options in ({}, {}, clicked, clicked):
        client.post(PATH, content=photo, params=options)
    assert learnt == ["auto", "auto without a network", "auto with clicks", "auto without a network"]


# --- the cache ---------------------------------------------------------------------------------------------------


def kept(cache: MatteCache, owner: str = "me", model: str = "auto", seen: RGB = PICTURE) -> bool:
    return cache.recall(owner, model, seen)[0] is not None


def keep(cache: MatteCache, owner: str = "me", model: str = "auto", seen: RGB = PICTURE) -> None:
    cache.recall(owner, model, seen)[1](Kept(rough=(ROUGH.copy(), 0.7)))


def test_a_matte_is_kept_for_its_owner_model_and_pixels() -> None:
    told: list[bool] = []
    cache = MatteCache(count=told.append)
    keep(cache)
    found, _ = cache.recall("me", "auto", PICTURE.copy())
    assert found is not None
    assert found.rough is not None
    assert np.array_equal(found.rough[0], ROUGH)
    assert found.rough[1] == 0.7
    assert not found.rough[0].flags.writeable
    assert not kept(cache, owner="you")
    assert not kept(cache, model="fast")
    assert not kept(cache, seen=PICTURE + np.uint8(1))
    assert not kept(cache, seen=PICTURE.reshape(2, 8, 3))
    assert kept(cache, seen=np.asfortranarray(PICTURE))
    assert told == [False, True, False, False, False, False, True]


def test_the_least_recently_used_goes_first_and_the_bytes_are_bounded() -> None:
    each = ROUGH.nbytes + 1024
    cache = MatteCache(MatteOptions(bytes=2 * each))
    keep(cache, "a")
    keep(cache, "b")
    assert kept(cache, "a")
    keep(cache, "c")
    assert [kept(cache, owner) for owner in "abc"] == [True, False, True]
    assert cache.bytes == 2 * each
    small = MatteCache(MatteOptions(bytes=each - 1))
    keep(small)
    assert (kept(small), small.bytes) == (False, 0)


def test_what_has_expired_is_forgotten_though_nobody_asks() -> None:
    cache = MatteCache(MatteOptions(seconds=0.01))
    keep(cache)
    end = time.monotonic() + 30
    while cache.bytes and time.monotonic() < end:
        time.sleep(0.01)
    assert cache.bytes == 0
    assert not kept(cache)
    assert asyncio.run(cache.forget()) == 0.01
    assert asyncio.run(MatteCache(MatteOptions(bytes=0)).forget()) is None


@pytest.mark.parametrize(("room", "seconds"), [(-1, 1.0), (0, 0.0), (0, float("inf")), (0, float("nan"))])
def test_options_out_of_range_are_refused(room: int, seconds: float) -> None:
    with pytest.raises(ValueError, match="bytes must be"):
        MatteOptions(bytes=room, seconds=seconds)

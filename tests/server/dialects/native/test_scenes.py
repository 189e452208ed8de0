"""The list of scenes, and their thumbnails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from mattebox import codec
from mattebox.backdrops import BackdropOptions, Backdrops
from mattebox.edit import Output
from mattebox.image import Image
from mattebox.testing import FakeBackdrops

PATH = "/api/v1/scenes"
Serve = Callable[..., TestClient]
PACK = (
    '[[scene]]\nfile = "kitchen.png"\nname = "kitchen"\ntags = ["my own kitchen"]\nlicence = "CC0-1.0"\nauthor = "Jo"\n'
)


@pytest.fixture
def scenes(tmp_path: Path) -> Backdrops:
    """No photographed place is installed; there are the drawn studios, and a pack with one red picture."""
    pack = tmp_path / "packs" / "home"
    pack.mkdir(parents=True)
    (pack / "pack.toml").write_text(PACK)
    red = np.zeros((40, 60, 3), np.uint8) + np.array([200, 10, 10], np.uint8)
    (pack / "kitchen.png").write_bytes(codec.encode(Image(rgb=red), Output()))
    return Backdrops(BackdropOptions(directory=tmp_path, packs=tmp_path / "packs"), fetch_when_used=False)


def test_those_that_are_installed_and_words_that_choose_them(serve: Serve, scenes: Backdrops, photo: bytes) -> None:
    client = serve(backdrops=scenes)
    found = client.get(PATH).json()["scenes"]
    names = [each["name"] for each in found]
    assert "home/kitchen" in names
    assert "wood" in names
    assert "warehouse" not in names
    assert {each["score"] for each in found} == {None}
    for each in found:
        assert each["prompt"] in each["tags"]
        best = scenes._ready_made.index().best(each["prompt"])
        assert best is not None
        assert best.name == each["name"]
    made = client.post("/api/v1/replace", content=photo, params={"prompt": "my own kitchen"})
    assert made.headers["x-mattebox-backdrop"] == "packs/home/kitchen"


def test_those_that_fit_come_first(serve: Serve, scenes: Backdrops) -> None:
    client = serve(backdrops=scenes)
    found = client.get(PATH, params={"prompt": "on a wooden table"}).json()["scenes"]
    assert (found[0]["name"], found[0]["score"]) == ("wood", 1.0)
    scores = [each["score"] for each in found]
    assert scores == sorted(scores, reverse=True)
    assert len(found) == len(client.get(PATH).json()["scenes"])
    answer = client.get(PATH, params={"prompt": "x" * 2001})
    assert (answer.status_code, answer.json()["parameter"]) == (400, "prompt")


def test_thumbnails(serve: Serve, scenes: Backdrops) -> None:
    client = serve(backdrops=scenes)
    answer = client.get(f"{PATH}/home/kitchen/thumbnail")
    assert answer.headers["content-type"] == "image/jpeg"
    picture = codec.decode(answer.content)
    assert (picture.width, picture.height) == (240, 160)
    assert np.abs(picture.rgb.astype(int) - [200, 10, 10]).max() < 12
    assert client.get(f"{PATH}/warehouse/thumbnail").status_code == 404  # not installed
    assert client.get(f"{PATH}/nowhere/thumbnail").json()["kind"] == "not_found"


def test_another_programs_generators_have_no_list(serve: Serve) -> None:
    client = serve(backdrops=FakeBackdrops())
    assert client.get(PATH).json() == {"scenes": []}
    assert client.get(f"{PATH}/wood/thumbnail").status_code == 404


def test_a_key_is_needed_where_there_are_keys(serve: Serve, scenes: Backdrops) -> None:
    client = serve(backdrops=scenes, keys=("sesame",))
    for path in (PATH, f"{PATH}/wood/thumbnail"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers={"x-api-key": "sesame"}).status_code == 200

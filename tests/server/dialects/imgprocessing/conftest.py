"""What the tests of IMG Processing share: servers with two keys, and images in them."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from fastapi import FastAPI
from httpx2 import Response
from starlette.testclient import TestClient

from mattebox import codec
from mattebox.edit import Output
from mattebox.image import RGB, Alpha, Image

Serve = Callable[..., TestClient]
Json = dict[str, Any]
PATH = "/v1/images"
UNKNOWN = "image_" + "a" * 24
ONE, TWO = {"x-api-key": "test_one"}, {"x-api-key": "test_two"}
NOISE: RGB = np.random.default_rng(5).integers(0, 256, (48, 64, 3), np.uint8)


def png(rgb: RGB, alpha: Alpha | None = None) -> bytes:
    return codec.encode(Image(rgb=rgb, alpha=alpha), Output())


def flat(width: int, height: int, *color: int) -> RGB:
    return np.full((height, width, 3), color, np.uint8)


def written(picture: PIL.Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


PICTURE = png(NOISE)


@pytest.fixture(params=["sqlite and files", "postgresql and s3"])
def places(request: pytest.FixtureRequest) -> dict[str, str]:
    """Where it is kept."""
    if request.param == "sqlite and files":
        return {}
    return {
        "database_url": request.getfixturevalue("postgres_database"),
        "storage_url": request.getfixturevalue("s3_url"),
    }


def start(serve: Serve, **settings: object) -> TestClient:
    """A server of two keys, asked by the first."""
    client = serve(**{"keys": ("test_one", "test_two"), **settings})
    client.headers.update(ONE)
    return client


@pytest.fixture
def mine(serve: Serve) -> TestClient:
    return start(serve)


def kept(answer: Response, usage: int = 1) -> Json:
    """The image that an answer tells of, after a look at everything that every image has."""
    assert answer.status_code == 201, answer.text
    assert answer.headers["x-image-processing-usage"] == str(usage)
    found: Json = answer.json()
    assert answer.headers["location"] == f"{PATH}/{found['id']}"
    assert list(found) == ["id", "name", "url", "width", "height", "format", "size", "created_at"]
    assert re.fullmatch("image_[a-z0-9]{24}", found["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["created_at"])
    assert abs((datetime.now(UTC) - datetime.fromisoformat(found["created_at"])).total_seconds()) < 60
    return found


def upload(client: TestClient, picture: bytes = PICTURE, name: str = "mug") -> Json:
    return kept(client.post(f"{PATH}/upload", data={"name": name}, files={"image": ("blob", picture)}))


def ids(client: TestClient) -> list[str]:
    return [each["id"] for each in client.get(PATH, params={"take": 100}).json()["data"]]


def used(client: TestClient, headers: Mapping[str, str] = ONE) -> object:
    """What another dialect says of the key."""
    return client.get("/v1/me", headers=headers).json()["usedCredits"]


def seen(client: TestClient, image: Json) -> Image:
    """The image's pixels, after comparing its file with what is said of it."""
    answer = client.get(f"{PATH}/{image['id']}/download")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == f"image/{image['format']}"
    assert len(answer.content) == image["size"]
    picture = codec.decode(answer.content)
    assert (picture.width, picture.height) == (image["width"], image["height"])
    return picture


def refused(answer: Response, status: int) -> Json:
    """What a refusal says, after a look at everything that every refusal has."""
    found: Json = answer.json()
    assert answer.status_code == status, found
    assert answer.headers["content-type"] == "application/problem+json"
    assert list(found) == ["type", "title", "error", "status", "detail", "message", "errors", "request_id"]
    assert found["status"] == status
    assert found["title"] == found["error"]
    assert found["type"] == "https://docs.img-processing.com/errors/" + found["title"].lower().replace(" ", "-")
    assert found["detail"] == found["message"] != ""
    assert found["request_id"] == answer.headers["x-request-id"]
    assert all(isinstance(each, str) for each in found["errors"])
    assert "x-image-processing-usage" not in answer.headers
    return found


def library_usage(client: TestClient) -> tuple[int, int]:
    """Images and bytes that the first key's library counts."""
    assert isinstance(client.app, FastAPI)
    rooms = client.app.state.server
    held = rooms.library.usage(rooms.accounts.authenticate("test_one").id)
    return held.images, held.bytes


TRANSFORMS: dict[str, Json] = {
    "convert": {"format": "webp", "quality": 100},
    "resize": {"width": 10},
    "crop": {"x1": 1, "y1": 2, "x2": 9, "y2": 8},
    "rotate": {"angle": 90},
    "mirror": {"mode": "both"},
    "blur": {},
    "modulate": {"brightness": 1.5},
}


def transformed(client: TestClient, image: Json, word: str, body: object) -> tuple[Image, Json]:
    made = kept(client.post(f"{PATH}/{image['id']}/{word}", json=body))
    assert made["id"] != image["id"]
    assert made["url"] is None
    return seen(client, made), made


@dataclass(frozen=True)
class Site:
    url: str
    asked: list[str]


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = {"/mug.png": PICTURE, "/page": b"<html>no picture</html>"}.get(self.path)
            self.send_response(200 if content else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield Site(f"http://127.0.0.1:{server.server_port}", asked)
        server.shutdown()
        thread.join()


def stored(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file())

"""A generator that fails, behind the whole server: what clients hear, what it costs them, how often it was asked."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from httpx2 import Response
from starlette.testclient import TestClient
from tests.backdrops.generators.generator import GREEN, Painter, painting, picture

from mattebox import codec
from mattebox.backdrops import BackdropOptions, Backdrops
from mattebox.image import Image

Serve = Callable[..., TestClient]
PROMPT = "a beach in the evening"


@pytest.fixture
def painter() -> Iterator[Painter]:
    with painting() as found:
        yield found


def start(serve: Serve, painter: Painter, *, timeout: float = 20.0) -> TestClient:
    options = BackdropOptions(generators=("openai",), url=painter.url, key="sk-4711", timeout=timeout)
    backdrops = Backdrops(options, fetch_when_used=False)
    client = serve(backdrops=backdrops, keys=("k",), accounts={"credits": 3}, service={"timeout": 20})
    client.headers |= {"x-api-key": "k", "Authorization": "Bearer k"}
    return client


def novita(client: TestClient, photo: bytes) -> Response:
    body = {"image_file": base64.b64encode(photo).decode(), "prompt": PROMPT}
    return client.post("/v3/replace-background", json=body)


def native(client: TestClient, photo: bytes) -> Response:
    return client.post("/api/v1/replace", content=photo, params={"prompt": PROMPT})


def imagine(client: TestClient, _photo: bytes) -> Response:
    return client.post("/v1/images/imagine", json={"prompt": PROMPT})


Ask = Callable[[TestClient, bytes], Response]
DOORS: list[tuple[Ask, int, int]] = [(novita, 500, 500), (native, 503, 504), (imagine, 503, 504)]
"""Who asks, and with which status a failure and a time-out are answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What the generator answers, and what is said of it."""

    status: int = 200
    media_type: str = "application/json"
    body: bytes = b"{}"
    late: bool = False
    sentence: str


FAILURES = {
    "500": Failure(status=500, body=b'{"error": "secret stack, key sk-4711"}', sentence="The generator failed."),
    "502": Failure(status=502, media_type="text/html", body=b"<html>sk-4711</html>", sentence="The generator failed."),
    "HTML": Failure(
        media_type="text/html", body=b"<html>Hello</html>", sentence="The generator did not send a picture."
    ),
    "no picture": Failure(body=b'{"data": [{"b64_json": "Zm9v"}]}', sentence="The generator did not send a picture."),
    "401": Failure(status=401, sentence="The generator refuses the key."),
    "late": Failure(late=True, sentence="The generator took too long."),
}


@pytest.mark.parametrize(("ask", "status", "status_late"), DOORS, ids=["novita", "native", "imgprocessing"])
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_generator_that_fails(
    ask: Ask, status: int, status_late: int, failure: Failure, request: pytest.FixtureRequest
) -> None:
    painter: Painter = request.getfixturevalue("painter")
    painter.status, painter.media_type, painter.body = failure.status, failure.media_type, failure.body
    painter.seconds = 10.0 if failure.late else 0.0
    client = start(request.getfixturevalue("serve"), painter, timeout=0.7 if failure.late else 20.0)
    answer = ask(client, request.getfixturevalue("photo"))
    assert answer.status_code == (status_late if failure.late else status), answer.text
    said = answer.json()
    assert (said.get("detail") or said["message"]) == failure.sentence
    assert "sk-4711" not in answer.text
    assert painter.url not in answer.text
    assert len(painter.asked) == 1
    assert client.get("/api/v1/me").json()["used"] == 0
    assert client.get("/v1/images").json()["data"] == []


@pytest.mark.parametrize("ask", [novita, native, imagine])
def test_what_a_generator_refuses_is_the_prompts_fault(ask: Ask, serve: Serve, painter: Painter, photo: bytes) -> None:
    painter.status, painter.body = 400, b'{"error": {"code": "content_policy_violation"}}'
    client = start(serve, painter)
    answer = ask(client, photo)
    assert answer.status_code == 400
    assert "The generator refuses this prompt." in answer.text
    assert len(painter.asked) == 1
    assert client.get("/api/v1/me").json()["used"] == 0


def seen(answer: Response) -> Image:
    assert answer.status_code == 200, answer.text
    return codec.decode(answer.content)


def test_a_picture_of_another_size_is_made_to_fit(serve: Serve, painter: Painter, photo: bytes) -> None:
    client = start(serve, painter)
    painter.body = picture(width=40, height=30)  # of the same proportions
    answer = native(client, photo)
    assert (seen(answer).width, answer.headers["x-mattebox-backdrop"]) == (200, "openai")
    assert "x-mattebox-warning" not in answer.headers
    painter.body = picture(width=30, height=90)
    answer = native(client, photo)
    image = seen(answer)
    assert (image.width, image.height) == (200, 150)
    assert tuple(image.rgb[2, 2]) == GREEN
    assert answer.headers["x-mattebox-warning"]
    assert len(painter.asked) == 2
    assert client.get("/api/v1/me").json()["used"] == 2


def test_a_painted_picture_is_kept(serve: Serve, painter: Painter, photo: bytes) -> None:
    client = start(serve, painter)
    answer = imagine(client, photo)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["width"], made["height"], made["format"], made["name"]) == (1024, 1024, "png", "image")
    image = seen(client.get(f"/v1/images/{made['id']}/download"))
    assert tuple(image.rgb[512, 512]) == GREEN
    assert [path for path, _ in painter.asked] == ["/v1/images/generations"]
    assert client.get("/api/v1/me").json()["used"] == 1


def test_the_servers_own_deadline_frees_the_generator(serve: Serve, painter: Painter, photo: bytes) -> None:
    painter.seconds = 30.0
    options = BackdropOptions(generators=("openai",), url=painter.url)
    client = serve(backdrops=Backdrops(options, fetch_when_used=False), service={"timeout": 1.5, "workers": 1})
    assert native(client, photo).json()["kind"] == "timed_out"
    painter.seconds = 0.0
    assert native(client, photo).status_code == 200

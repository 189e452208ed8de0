"""A server of the images API that checks what it is sent, and misbehaves on demand."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest

from mattebox import codec
from mattebox.backdrops.generators.openai import OpenAIImages
from mattebox.backdrops.plate import Plate
from mattebox.edit import Output
from mattebox.errors import MatteboxError
from mattebox.image import Image

KEY = "sk-secret-4711"
WIDTH, HEIGHT = 300, 200
WORK = (1232, 816)  # a megapixel of the same proportions, in steps of 16
BLUE = (40, 80, 200)


@dataclass
class Seen:
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        assert self.headers["content-type"] == "application/json"
        said = json.loads(self.body)
        assert isinstance(said, dict)
        return said

    def form(self) -> dict[str, bytes]:
        """The fields and files of a multipart form, each of which must be there once."""
        kind = self.headers["content-type"]
        assert kind.startswith("multipart/form-data; boundary=")
        message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + self.body)
        found: dict[str, bytes] = {}
        for part in message.iter_parts():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            assert isinstance(name, str)
            assert name not in found
            assert isinstance(content, bytes)
            if name in {"image", "mask"}:
                assert part.get_content_type() == "image/png"
                assert part.get_filename() == f"{name}.png"
            else:
                assert part.get_filename() is None
            found[name] = content
        return found


Reply = Callable[["Handler"], None]


@dataclass
class Server:
    """Answers each path with its reply, or with 404."""

    replies: dict[str, Reply] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [each.path for each in self.seen]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Server

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers["content-length"]))
        self.owner.seen.append(Seen(self.path, headers, body))
        reply = self.owner.replies.get(self.path)
        if reply is None:
            self.answer(404, b'{"detail":"Not Found"}')
        else:
            reply(self)

    def answer(self, status: int, body: bytes, *, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def hold(self, seconds: float) -> None:
        """Stay silent until the client hangs up, at most so long."""
        self.connection.settimeout(seconds)
        try:
            if self.connection.recv(1) == b"":
                self.owner.hung_up.set()
        except TimeoutError:
            return
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            return


def picture(width: int, height: int, color: tuple[int, int, int] = BLUE) -> bytes:
    return codec.encode(Image(rgb=np.full((height, width, 3), color, np.uint8)), Output())


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def openai(data: bytes) -> Reply:
    return says(json.dumps({"created": 1, "data": [{"b64_json": b64(data), "url": None}]}).encode())


def says(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    return lambda handler: handler.answer(status, body, headers=headers)


def subject() -> Image:
    """A red box with a hard outline, before green that must not be seen."""
    rgb = np.full((HEIGHT, WIDTH, 3), (0, 255, 0), np.uint8)
    alpha = np.zeros((HEIGHT, WIDTH), np.float32)
    rgb[50:150, 100:180] = (200, 30, 30)
    alpha[50:150, 100:180] = 1
    return Image(rgb=rgb, alpha=alpha)


def go_on() -> None:
    """Somebody waits."""


def plate(
    generator: OpenAIImages, cutout: Image | None, *, seed: int = 7, checkpoint: Callable[[], None] = go_on
) -> Plate:
    return generator.plate("in a warehouse", cutout, width=WIDTH, height=HEIGHT, seed=seed, checkpoint=checkpoint)


def failure(generator: OpenAIImages, cutout: Image | None = None) -> MatteboxError:
    with pytest.raises(MatteboxError) as caught:
        plate(generator, cutout)
    error = caught.value
    for secret in ("127.0.0.1", "/v1", KEY, "oops"):
        assert secret not in error.message
    return error


def causes(error: BaseException) -> str:
    return f"{error!r} {causes(error.__cause__)}" if error.__cause__ else repr(error)

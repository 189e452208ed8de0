"""What the tests of remove.bg share: how a photo is sent, and what a result or a failure looks like."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from httpx2 import Response
from PIL import Image as Pillow
from starlette.testclient import TestClient

from mattebox import codec
from mattebox.edit import Edit, Output
from mattebox.image import RGB, Alpha, Box, Image
from mattebox.server.dialects import removebg
from mattebox.testing import FakeSegmenter, make_scene

URLENCODED = "application/x-www-form-urlencoded"
PATH = "/v1.0/removebg"
ACCOUNT = "/v1.0/account"
Serve: TypeAlias = Callable[..., TestClient]
Picture: TypeAlias = npt.NDArray[np.int16]

SUBJECT = Box(50, 19, 98, 121)
"""Where the figure is in `photo`, of 200 x 150 pixels."""

# What the vendor's reference lists.
CODES = {
    "missing_source",
    "multiple_sources",
    "invalid_image_url",
    "invalid_size",
    "invalid_type",
    "invalid_type_level",
    "invalid_format",
    "invalid_roi",
    "invalid_crop_margin",
    "invalid_scale",
    "invalid_position",
    "invalid_channels",
    "invalid_shadow_type",
    "invalid_shadow_opacity",
    "invalid_bg_color",
    "invalid_bg_image_url",
    "failed_image_download",
    "failed_bg_download",
    "failed_to_read_image",
    "file_too_large",
    "resolution_too_high",
    "roi_exceeds_bounds",
    "roi_region_empty",
    "unknown_foreground",
    "multiple_bg_sources",
}


UNSET = (
    "image_url",
    "image_file_b64",
    "size",
    "type",
    "format",
    "bg_color",
    "bg_image_url",
    "scale",
    "position",
    "roi",
    "crop_margin",
    "channels",
    "shadow_type",
    "shadow_opacity",
)


def everything(photo: RGB) -> Alpha:
    """Takes all that it is shown for the subject."""
    return np.ones((16, 16), np.float32)


def nothing(photo: RGB) -> Alpha:
    """Finds no subject."""
    return np.zeros((16, 16), np.float32)


def post(client: TestClient, photo: bytes, **form: str) -> Response:
    return client.post(PATH, files={"image_file": ("photo.png", photo)}, data=form)


def cut(client: TestClient, photo: bytes, **form: str) -> tuple[Picture, Response]:
    """The result as (height, width, channels), and the answer."""
    answer = post(client, photo, **form)
    assert answer.status_code == 200, answer.text
    return opened(answer), answer


def opened(answer: Response) -> Picture:
    with Pillow.open(io.BytesIO(answer.content)) as picture:
        assert (int(answer.headers["x-width"]), int(answer.headers["x-height"])) == picture.size
        return np.asarray(picture).astype(np.int16)


def box(answer: Response) -> tuple[int, int, int, int]:
    left, top, width, height = (
        int(answer.headers[f"x-foreground-{name}"]) for name in ("left", "top", "width", "height")
    )
    return left, top, width, height


def refused(answer: Response) -> tuple[int, str]:
    """The status and the code of a failure that is written as the vendor writes them."""
    found = answer.json()
    assert list(found) == ["errors"]
    (error,) = found["errors"]
    assert {"title", "code"} <= set(error) <= {"title", "code", "detail"}
    assert error["title"]
    return answer.status_code, error["code"]


def edit_of(form: Mapping[str, str]) -> Edit:
    return removebg.to_edit(removebg.Options.read({"image_url": "http://x/", **form}))[0]


def png(rgb: npt.NDArray[np.uint8]) -> bytes:
    return codec.encode(Image(rgb=rgb), Output())


@pytest.fixture(scope="module")
def wide() -> bytes:
    """A photo of two megapixels, 2000 x 1000."""
    return png(make_scene(width=2000, height=1000, seed=2).photo)


class Site:
    """Hands out files; says 404 for others."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, bytes] = {}


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = here.files.get(self.path)
            self.send_response(404 if data is None else 200)
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield here
        server.shutdown()
        thread.join()


class Slow:
    """A network that is busy until `leave` is set, where it is asked to be."""

    def __init__(self) -> None:
        self.entered, self.leave = threading.Event(), threading.Event()

    def __call__(self, photo: RGB) -> Alpha:
        if photo.shape[0] == photo.shape[1]:
            self.entered.set()
            assert self.leave.wait(20)
        return FakeSegmenter()(photo)


@pytest.fixture(scope="module")
def client(serve_all: Serve) -> TestClient:
    """A server that anybody may use; nothing that is asked of it here stays in it."""
    return serve_all()

from __future__ import annotations

import base64
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mattebox import codec
from mattebox.backdrops.generators import painting
from mattebox.backdrops.generators.openai import OpenAIImages
from mattebox.backdrops.plate import Plate
from mattebox.edit import Format, Output
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image

KEY = "sk-secret-4711"
WIDTH, HEIGHT = 300, 200
WORK = (1232, 816)  # a megapixel of the same proportions, in steps of 16
BLUE = (40, 80, 200)


# --- a server that checks what it is sent, and misbehaves on demand ---------------------------------------------------


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


@pytest.fixture
def server() -> Iterator[Server]:
    owner = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"owner": owner}))
    owner.port = int(http.server_address[1])
    thread = threading.Thread(target=partial(http.serve_forever, poll_interval=0.02))
    thread.start()
    yield owner
    http.shutdown()
    thread.join()
    http.server_close()


def picture(width: int, height: int, color: tuple[int, int, int] = BLUE) -> bytes:
    return codec.encode(Image(rgb=np.full((height, width, 3), color, np.uint8)), Output())


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def openai(data: bytes) -> Reply:
    return says(json.dumps({"created": 1, "data": [{"b64_json": b64(data), "url": None}]}).encode())


def says(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    return lambda handler: handler.answer(status, body, headers=headers)


# --- what is asked for ------------------------------------------------------------------------------------------------


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


def painted_box() -> tuple[slice, slice]:
    """Where the box lies at the size that is sent, less a pixel of rounding at each side."""
    (width, height), edge = WORK, 5
    rows = slice(50 * height // HEIGHT + edge, 150 * height // HEIGHT - edge)
    return rows, slice(100 * width // WIDTH + edge, 180 * width // WIDTH - edge)


def check_sketch(sent: Image, painted: npt.NDArray[np.bool_]) -> None:
    """The box is red and stays; all round it is grey and is painted."""
    assert (sent.width, sent.height) == WORK
    assert sent.alpha is None
    assert painted.shape == (WORK[1], WORK[0])
    rows, columns = painted_box()
    assert not painted[rows, columns].any()
    assert np.abs(sent.rgb[rows, columns].astype(int) - (200, 30, 30)).max() <= 3
    outside = np.ones_like(painted)
    outside[rows.start - 11 : rows.stop + 11, columns.start - 11 : columns.stop + 11] = False
    assert painted[outside].all()
    assert (sent.rgb[outside] == 128).all()
    assert 0.85 < (~painted).mean() / (100 * 80 / (WIDTH * HEIGHT)) <= 1


def test_openai_edit(server: Server) -> None:
    server.replies["/v1/images/edits"] = openai(picture(*WORK))
    got = plate(OpenAIImages(server.url, key=KEY, model="klein", steps=4), subject())
    (seen,) = server.seen
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    form = seen.form()
    assert form.keys() == {
        *("image", "mask", "prompt", "n", "size", "response_format", "model", "seed", "num_inference_steps")
    }
    assert form["prompt"] == b"in a warehouse"
    assert form["n"] == b"1"
    assert form["size"] == b"1232x816"
    assert form["response_format"] == b"b64_json"
    assert form["model"] == b"klein"
    assert form["seed"] == b"7"
    assert form["num_inference_steps"] == b"4"
    mask = codec.decode(form["mask"])
    assert mask.alpha is not None
    assert set(np.unique(mask.alpha)) == {0.0, 1.0}
    check_sketch(codec.decode(form["image"]), mask.alpha == 0)
    assert got.finished
    assert got.horizon is None
    assert got.rgb.shape == (HEIGHT, WIDTH, 3)
    assert (got.rgb == BLUE).all()
    assert got.served.backend == "openai"
    assert got.served.warning is None


def test_openai_generation_without_a_subject(server: Server) -> None:
    server.replies["/v1/images/generations"] = openai(picture(*WORK))
    got = plate(OpenAIImages(server.url + "/v1/", model="klein", steps=4), None)
    (seen,) = server.seen
    assert "authorization" not in seen.headers
    assert seen.json() == {
        "prompt": "in a warehouse",
        "n": 1,
        "size": "1232x816",
        "response_format": "b64_json",
        "model": "klein",
        "seed": 7,
        "num_inference_steps": 4,
    }
    assert not got.finished
    assert got.horizon == 0.5
    assert got.light.strength == 0.35


def test_openai_without_extras_and_without_edits(server: Server) -> None:
    server.replies["/v1/images/generations"] = openai(picture(*WORK))
    got = plate(OpenAIImages(server.url, steps=4, extras=False, edits=False), subject())
    assert server.seen[0].json() == {"prompt": "in a warehouse", "n": 1, "size": "1232x816"}
    assert not got.finished


def test_no_words_ask_for_a_studio(server: Server) -> None:
    server.replies["/v1/images/generations"] = openai(picture(*WORK))
    OpenAIImages(server.url).plate(" ", None, width=WIDTH, height=HEIGHT, seed=0, checkpoint=go_on)
    assert server.seen[0].json()["prompt"] == painting.PLAIN


@pytest.mark.parametrize("status", [404, 405, 501])
def test_missing_edits_are_remembered(server: Server, status: int, caplog: pytest.LogCaptureFixture) -> None:
    server.replies["/v1/images/edits"] = says(b"{}", status)
    server.replies["/v1/images/generations"] = openai(picture(*WORK))
    generator = OpenAIImages(server.url)
    with caplog.at_level(logging.WARNING):
        assert not plate(generator, subject()).finished
        assert not plate(generator, subject()).finished
    assert server.paths == ["/v1/images/edits", "/v1/images/generations", "/v1/images/generations"]
    assert len(caplog.records) == 1


def test_a_wrong_address_is_not_remembered(server: Server) -> None:
    generator = OpenAIImages(server.url)
    error = failure(generator, subject())
    assert error.kind is Kind.UNAVAILABLE
    assert server.paths == ["/v1/images/edits", "/v1/images/generations"]
    server.replies["/v1/images/edits"] = openai(picture(*WORK))
    assert plate(generator, subject()).finished


def test_a_data_address_is_a_picture(server: Server) -> None:
    body = json.dumps({"data": [{"b64_json": "data:image/png;base64," + b64(picture(64, 64))}]}).encode()
    server.replies["/v1/images/generations"] = says(body)
    assert (plate(OpenAIImages(server.url), None).rgb == BLUE).all()


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_another_size_of_the_same_proportions_is_stretched(server: Server) -> None:
    half = np.zeros((408, 616, 3), np.uint8)
    half[:, 308:] = 255
    server.replies["/v1/images/edits"] = openai(codec.encode(Image(rgb=half), Output()))
    got = plate(OpenAIImages(server.url), subject())
    assert got.rgb.shape == (HEIGHT, WIDTH, 3)
    assert got.rgb[:, :148].max() == 0
    assert got.rgb[:, 152:].min() == 255
    assert got.served.warning is None


@pytest.mark.parametrize("cutout", [None, subject()])
def test_other_proportions_are_cut_from_the_middle(server: Server, cutout: Image | None) -> None:
    square = np.zeros((600, 600, 3), np.uint8)
    square[100:500] = 255  # 600 by 400 of it are 3:2
    for path in ("/v1/images/edits", "/v1/images/generations"):
        server.replies[path] = openai(codec.encode(Image(rgb=square), Output()))
    got = plate(OpenAIImages(server.url), cutout)
    assert got.rgb.shape == (HEIGHT, WIDTH, 3)
    assert got.rgb.min() > 250
    assert (got.served.warning is not None) is (cutout is not None)


def test_a_jpeg_is_a_picture_too(server: Server) -> None:
    jpeg = codec.encode(Image(rgb=np.full((64, 96, 3), 90, np.uint8)), Output(format=Format.JPEG))
    server.replies["/v1/images/generations"] = openai(jpeg)
    assert np.abs(plate(OpenAIImages(server.url), None).rgb.astype(int) - 90).max() <= 2


# --- failures ---------------------------------------------------------------------------------------------------------

OOPS = b'{"error":{"message":"oops at 10.0.0.7"}}'


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, Kind.UNAVAILABLE),
        (503, Kind.UNAVAILABLE),
        (400, Kind.UNAVAILABLE),
        (422, Kind.UNAVAILABLE),
        (404, Kind.UNAVAILABLE),
        (302, Kind.UNAVAILABLE),
        (429, Kind.OVERLOADED),
    ],
)
def test_statuses(server: Server, status: int, kind: Kind) -> None:
    server.replies["/v1/images/generations"] = says(OOPS, status, {"Location": "/elsewhere", "Retry-After": "9"})
    error = failure(OpenAIImages(server.url))
    assert error.kind is kind
    assert error.parameter is None
    assert error.retry_after == (9.0 if status in {429, 500, 503} else None)
    assert f"{server.url}/v1/images/generations answered {status}" in causes(error)
    assert "oops at 10.0.0.7" in causes(error)
    assert len(server.seen) == 1  # neither tried again nor followed


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("padding", [0, 480])
def test_a_prompt_that_is_repeated_is_not_told_on(server: Server, escaped: bool, padding: int) -> None:
    prompt = 'in "my" café by the sea'
    body = " " * padding + json.dumps({"error": f"oops: {prompt}"}, ensure_ascii=escaped)
    server.replies["/v1/images/generations"] = says(body.encode(), 500)
    with pytest.raises(MatteboxError) as caught:
        OpenAIImages(server.url).plate(prompt, None, width=64, height=64, seed=1, checkpoint=go_on)
    assert "answered 500" in causes(caught.value)
    assert not any(word in causes(caught.value) for word in ("my", "caf", "sea"))


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key(server: Server, status: int) -> None:
    server.replies["/v1/images/generations"] = says(f'{{"error":"{KEY} oops"}}'.encode(), status)
    error = failure(OpenAIImages(server.url, key=KEY))
    assert error.kind is Kind.UNAVAILABLE
    assert error.message == "The generator refuses the key."
    assert KEY not in causes(error)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"code":"content_policy_violation","message":"no"}}',
        b'{"error":{"message":"Your request was rejected by our safety system."}}',
        b'{"detail":"Blocked: NSFW"}',
        b'{"error":"violates the content policy"}',
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_prompt(server: Server, body: bytes, status: int) -> None:
    server.replies["/v1/images/generations"] = says(body, status)
    error = failure(OpenAIImages(server.url))
    assert (error.kind, error.parameter) == (Kind.INVALID_PARAMETER, "prompt")


def test_a_quoted_prompt_is_no_refusal_of_it(server: Server) -> None:
    body = b'{"detail":[{"loc":["size"],"msg":"bad size","input":{"prompt":"a poster against nsfw"}}]}'
    server.replies["/v1/images/generations"] = says(body, 422)
    assert failure(OpenAIImages(server.url)).kind is Kind.UNAVAILABLE


WHOLE = json.dumps({"data": [{"b64_json": b64(picture(64, 64))}]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><title>oops</title>",
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b"[]",
        b'{"data":[]}',
        b'{"data":[{}]}',
        b'{"data":[{"b64_json":null}]}',
        b'{"data":[{"b64_json":7}]}',
        b'{"data":{"b64_json":"AAAA"}}',
        b'{"data":[{"b64_json":"%%%%"}]}',
        '{"data":[{"b64_json":"ÄÖÜß"}]}'.encode(),
        b'{"data":[{"b64_json":""}]}',
        b'{"data":[{"b64_json":"' + b64(b"<html>oops</html>").encode() + b'"}]}',
        b'{"data":[{"b64_json":"' + b64(picture(64, 64)[:60]).encode() + b'"}]}',
        WHOLE[:-30],
    ],
)
def test_what_is_no_picture(server: Server, body: bytes) -> None:
    server.replies["/v1/images/generations"] = says(body)
    error = failure(OpenAIImages(server.url))
    assert error.kind is Kind.UNAVAILABLE
    assert error.message == "The generator did not send a picture."
    assert "answered 200" in causes(error)


def test_an_address_instead_of_a_picture_is_refused(server: Server) -> None:
    server.replies["/v1/images/generations"] = says(f'{{"data":[{{"url":"{server.url}/picture.png"}}]}}'.encode())
    error = failure(OpenAIImages(server.url))
    assert error.kind is Kind.UNAVAILABLE
    assert "an address instead of a picture" in error.message
    assert len(server.seen) == 1


def test_an_answer_that_is_too_large_is_cut_off(server: Server) -> None:
    sent = 0

    def pour(handler: Handler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        while sent < 2**30:
            handler.wfile.write(b" " * 65536)
            sent += 65536

    server.replies["/v1/images/generations"] = pour
    error = failure(OpenAIImages(server.url, max_bytes=1_000_000))
    assert error.kind is Kind.UNAVAILABLE
    assert "larger than 1,000,000 bytes" in error.message
    assert sent < 2**26


def test_an_answer_that_breaks_off(server: Server) -> None:
    def half(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(WHOLE)))
        handler.end_headers()
        handler.wfile.write(WHOLE[: len(WHOLE) // 2])
        handler.close_connection = True

    server.replies["/v1/images/generations"] = half
    error = failure(OpenAIImages(server.url))
    assert error.kind is Kind.UNAVAILABLE
    assert "closed the connection in the middle" in error.message
    assert len(server.seen) == 1


def drip(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.05)


@pytest.mark.parametrize("slow", [lambda handler: handler.hold(20), drip])
def test_a_slow_answer_times_out(server: Server, slow: Reply) -> None:
    server.replies["/v1/images/generations"] = slow
    error = failure(OpenAIImages(server.url, timeout=0.4))
    assert error.kind is Kind.TIMED_OUT
    assert len(server.seen) == 1


@pytest.mark.slow
def test_edit_and_generation_share_one_time_out(server: Server) -> None:
    def late(handler: Handler) -> None:
        time.sleep(2)
        handler.answer(404, b"{}")

    server.replies["/v1/images/edits"] = late
    server.replies["/v1/images/generations"] = late  # each alone would be in time
    assert failure(OpenAIImages(server.url, timeout=3), subject()).kind is Kind.TIMED_OUT


class GoneError(Exception):
    """Nobody waits any more."""


@pytest.mark.parametrize("slow", [lambda handler: handler.hold(20), drip])
def test_a_running_request_is_given_up(server: Server, slow: Reply) -> None:
    server.replies["/v1/images/generations"] = slow

    def checkpoint() -> None:
        if server.seen:
            raise GoneError

    threads = threading.active_count()
    with pytest.raises(GoneError):
        plate(OpenAIImages(server.url), None, checkpoint=checkpoint)
    if slow is not drip:
        assert server.hung_up.wait(10)  # the server learns of it, and can stop painting
    until = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < until:
        time.sleep(0.02)
    assert threading.active_count() <= threads


def test_nothing_is_sent_where_nobody_waits(server: Server) -> None:
    def checkpoint() -> None:
        raise GoneError

    with pytest.raises(GoneError):
        plate(OpenAIImages(server.url), subject(), checkpoint=checkpoint)
    assert server.seen == []


def test_a_refused_connection_is_tried_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    tried = 0
    connect = socket.create_connection

    def counted(address: tuple[str, int], timeout: float, source_address: None = None) -> socket.socket:
        nonlocal tried
        tried += 1
        return connect(address, timeout, source_address)

    monkeypatch.setattr(socket, "create_connection", counted)
    error = failure(OpenAIImages(f"http://127.0.0.1:{port}"))
    assert error.kind is Kind.UNAVAILABLE
    assert error.message == "The generator cannot be reached."
    assert tried == 2


def test_a_server_that_comes_back_at_once_is_reached(server: Server) -> None:
    server.replies["/v1/images/generations"] = openai(picture(*WORK))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    def start() -> None:
        time.sleep(0.2)
        http = ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (Handler,), {"owner": server}))
        http.handle_request()
        http.server_close()

    thread = threading.Thread(target=start)
    thread.start()
    assert (plate(OpenAIImages(f"http://127.0.0.1:{port}"), None).rgb == BLUE).all()
    thread.join()


def test_proxies_of_the_environment_are_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.replies["/v1/images/generations"] = openai(picture(*WORK))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    plate(OpenAIImages(server.url), None)


def test_an_unknown_host_cannot_be_reached() -> None:
    assert failure(OpenAIImages("http://no-such-host.invalid")).kind is Kind.UNAVAILABLE


@pytest.mark.parametrize(
    "url",
    [
        *("", "generator:7860", "ftp://host", "http://", "http://user:pw@host", "http://host/?a=b", "http://host/#a"),
        *("http://host:port", "http://a..b", "http://ho\tst"),
    ],
)
def test_addresses_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        OpenAIImages(url)


def test_settings_that_cannot_be_right() -> None:
    for key in ("", "a\nb", "ä"):
        with pytest.raises(ValueError, match="key"):
            OpenAIImages("http://host", key=key)
    for timeout in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="timeout"):
            OpenAIImages("http://host", timeout=timeout)
    with pytest.raises(ValueError, match="max_side"):
        OpenAIImages("http://host", max_side=8)


# --- painting ---------------------------------------------------------------------------------------------------------

SIDES = st.integers(1, 20_000)


@given(width=SIDES, height=SIDES, multiple=st.sampled_from([8, 16, 32, 64]))
def test_working_sizes(width: int, height: int, multiple: int) -> None:
    across, down = painting.working_size(width, height, multiple=multiple)
    assert across % multiple == down % multiple == 0
    assert min(across, down) >= multiple
    assert max(across, down) <= 2048
    assert across * down <= 4_194_304
    if 1 / 8 < width / height < 8:
        assert across * down > 450_000
        assert abs(across / down - width / height) / (width / height) < 2 * multiple / min(across, down)


@given(width=SIDES, height=SIDES)
def test_working_sizes_never_exceed_the_most(width: int, height: int) -> None:
    across, down = painting.working_size(width, height, least=1_048_576, most=1_048_576)
    assert across * down <= 1_048_576


def test_the_soft_edge_is_painted() -> None:
    alpha = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[None], 16, axis=0)
    rgb = np.full((16, 256, 3), 255, np.uint8)
    sketch = painting.sketch(Image(rgb=rgb, alpha=alpha), (256, 16))
    assert (sketch.keep == (alpha >= 0.98)).all()
    assert np.abs(sketch.rgb[..., 0] - (128 + 127 * alpha)).max() <= 1


def test_an_opaque_cutout_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="alpha"):
        painting.sketch(Image(rgb=np.zeros((4, 4, 3), np.uint8)), (16, 16))


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_light(color: tuple[int, int, int]) -> None:
    light = painting.light_of(np.full((40, 30, 3), color, np.uint8))
    red, green, blue = light.color
    assert 0.2126 * red + 0.7152 * green + 0.0722 * blue == pytest.approx(1)
    assert min(light.color) >= 0
    assert max(light.color) <= 2.0001
    if max(color) > 20:
        assert np.argmax(light.color) == np.argmax(color) or sorted(color)[1] == sorted(color)[2]


def test_light_looks_at_the_upper_border_only() -> None:
    rgb = np.zeros((80, 60, 3), np.uint8)
    rgb[:10] = (255, 128, 128)
    rgb[10:] = (0, 0, 255)
    red, green, blue = painting.light_of(rgb).color
    assert red > green == blue


def test_a_transparent_answer_is_put_on_white() -> None:
    see_through = Image(rgb=np.zeros((16, 16, 3), np.uint8), alpha=np.zeros((16, 16), np.float32))
    got = painting.plate_of(see_through, width=16, height=16, size=(16, 16), with_subject=False, backend="x")
    assert (got.rgb == 255).all()

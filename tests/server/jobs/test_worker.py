from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from mattebox import codec
from mattebox.backdrops.plate import Plate, PlateMaker
from mattebox.cancellation import Checkpoint
from mattebox.codec import Limits
from mattebox.edit import Edit, Format, Matte, Output, Picture, Prompt
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image
from mattebox.server.fetch import Fetcher, FetchOptions
from mattebox.server.jobs import Hook, Result, Status, Task
from mattebox.server.jobs.worker import BASE, Announce, Worker, check_hook, result_address
from mattebox.server.store.blobs import Blobs, expiry_of
from mattebox.sources import Link, Sources, Stored, Upload
from mattebox.steps import Generators
from mattebox.testing import FakeBackdrops, FakeModels, make_scene

PHOTO = codec.encode(Image(rgb=make_scene(width=80, height=60, seed=0).photo), Output())
RESULT = Result(name="results/x.png", media_type="image/png", width=8, height=6)
SIGNED_WITH = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Site(BaseHTTPRequestHandler):
    received: list[tuple[dict[str, str], bytes]]

    def do_GET(self) -> None:
        body = {"/photo.png": PHOTO, "/page": b"<html>"}.get(self.path, b"x" * 5000)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.received.append((headers, self.rfile.read(int(headers["content-length"]))))
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def received() -> list[tuple[dict[str, str], bytes]]:
    return []


@pytest.fixture
def site(received: list[tuple[dict[str, str], bytes]]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Site,), {"received": received}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in another thread, as the server's does."""
    running = asyncio.new_event_loop()
    thread = threading.Thread(target=running.run_forever)
    thread.start()
    yield running
    running.call_soon_threadsafe(running.stop)
    thread.join()
    running.close()


async def ready() -> None: ...


@pytest.fixture
def blobs() -> Blobs:
    return Blobs("memory:///")


def make(
    loop: asyncio.AbstractEventLoop,
    blobs: Blobs,
    *,
    ready: Callable[[], Awaitable[None]] = ready,
    limits: Limits = Limits(),
    fetching: FetchOptions = FetchOptions(allow_networks=("127.0.0.0/8",)),
    announce: dict[str, Announce] | None = None,
    model: str = "auto",
    secret: str = "",
    backdrops: Generators | None = None,
) -> Worker:
    return Worker(
        Engine(FakeModels(), backdrops),
        blobs,
        Fetcher(fetching),
        loop=loop,
        ready=ready,
        limits=limits,
        model=model,
        keep=60,
        webhook_secret=secret,
        announce=announce or {},
    )


def failure(step: Callable[[], object]) -> MatteboxError:
    with pytest.raises(MatteboxError) as caught:
        step()
    return caught.value


def test_a_picture_is_fetched_cut_out_and_kept(loop: asyncio.AbstractEventLoop, blobs: Blobs, site: str) -> None:
    worker = make(loop, blobs)
    key = worker.fetch(Link(f"{site}/photo.png"))
    assert blobs.get(key) == PHOTO
    assert time.time() + 80_000 < (expiry_of(key) or 0)
    for _ in range(2):  # once more, as after a crash
        result = worker.cut_out(Edit(output=Output(format=Format.WEBP)), Sources(Stored(key)))
        assert (result.media_type, result.width, result.height) == ("image/webp", 80, 60)
        assert result.subject is not None
        assert result.name.endswith(".webp")
        assert 55 < (expiry_of(result.name) or 0) - time.time() <= 62
        assert codec.decode(blobs.get(result.name), Limits()).rgb.shape == (60, 80, 3)


def test_what_cannot_be_fetched_says_why(loop: asyncio.AbstractEventLoop, blobs: Blobs, site: str) -> None:
    large = failure(lambda: make(loop, blobs, limits=Limits(max_bytes=4000)).fetch(Link(f"{site}/large")))
    assert large.kind is Kind.TOO_MANY_BYTES
    private = failure(lambda: make(loop, blobs, fetching=FetchOptions()).fetch(Link(f"{site}/photo.png")))
    assert (private.kind, private.retry_after) == (Kind.UNREACHABLE_SOURCE, None)
    assert list(blobs.names()) == []


def test_a_page_is_no_picture(loop: asyncio.AbstractEventLoop, blobs: Blobs, site: str) -> None:
    worker = make(loop, blobs)
    key = worker.fetch(Link(f"{site}/page"))
    assert failure(lambda: worker.cut_out(Edit(), Sources(Stored(key)))).kind is Kind.UNREADABLE_IMAGE


def test_the_servers_limits_and_model_hold(loop: asyncio.AbstractEventLoop, blobs: Blobs) -> None:
    blobs.put("sources/one", PHOTO, media_type="image/png")
    one = Sources(Stored("sources/one"))
    small = make(loop, blobs, limits=Limits(max_pixels=100))
    assert failure(lambda: small.cut_out(Edit(), one)).kind is Kind.TOO_MANY_PIXELS
    other = make(loop, blobs, model="other")
    assert "no model other" in failure(lambda: other.cut_out(Edit(), one)).message
    named = Edit(matte=Matte(model="third"))
    assert "no model third" in failure(lambda: other.cut_out(named, one)).message


def test_a_source_that_has_expired_or_was_never_stored(loop: asyncio.AbstractEventLoop, blobs: Blobs) -> None:
    worker = make(loop, blobs)
    gone = failure(lambda: worker.cut_out(Edit(), Sources(Stored("sources/gone"))))
    assert (gone.kind, gone.message) == (
        Kind.NOT_FOUND,
        "The picture waited too long for its turn and is not kept any more.",
    )
    with pytest.raises(ValueError, match="stored"):
        worker.cut_out(Edit(), Sources(Upload(PHOTO)))


def test_a_storage_that_is_away_is_tried_again(loop: asyncio.AbstractEventLoop, tmp_path: Path, site: str) -> None:
    folder = tmp_path / "blobs"
    away = Blobs(folder.as_uri())
    folder.rmdir()
    folder.write_text("a file")
    worker = make(loop, away)
    for step in (
        lambda: worker.fetch(Link(f"{site}/photo.png")),
        lambda: worker.cut_out(Edit(), Sources(Stored("sources/one"))),
    ):
        found = failure(step)
        assert (found.kind, found.retry_after) == (Kind.UNAVAILABLE, 1)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MatteboxError(Kind.UNAVAILABLE, "Being fetched.", retry_after=30), Kind.OVERLOADED),
        (MatteboxError(Kind.UNAVAILABLE, "Nowhere to be found."), Kind.UNAVAILABLE),
    ],
)
def test_a_model_on_its_way_is_waited_for(
    loop: asyncio.AbstractEventLoop, blobs: Blobs, error: MatteboxError, kind: Kind
) -> None:
    async def not_ready() -> None:
        raise error

    worker = make(loop, blobs, ready=not_ready)
    found = failure(lambda: worker.cut_out(Edit(), Sources(Stored("sources/one"))))
    assert (found.kind, found.message) == (kind, error.message)


@pytest.mark.parametrize("after", [0.0, 7.0])
def test_a_generator_that_is_busy_for_ever_is_not_asked_for_ever(
    loop: asyncio.AbstractEventLoop, blobs: Blobs, after: float
) -> None:
    class Busy(FakeBackdrops):
        def choose(self, prompt: Prompt) -> PlateMaker:
            def make(cutout: Image, checkpoint: Checkpoint) -> Plate:
                raise MatteboxError(Kind.OVERLOADED, "Too much to do.", retry_after=after)

            return make

    blobs.put("sources/one", PHOTO, media_type="image/png")
    worker = make(loop, blobs, backdrops=Busy())
    error = failure(lambda: worker.cut_out(Edit(backdrop=Prompt("a quay")), Sources(Stored("sources/one"))))
    # Of this kind a queue counts the tries; OVERLOADED it repeats without end.
    assert (error.kind, error.message, error.retry_after) == (Kind.UNAVAILABLE, "Too much to do.", max(1, after))


def test_a_picture_behind_is_fetched_and_not_kept(loop: asyncio.AbstractEventLoop, tmp_path: Path, site: str) -> None:
    blobs = Blobs(tmp_path.as_uri())
    blobs.put("sources/one", PHOTO, media_type="image/png")
    sources = Sources(Stored("sources/one"), backdrop=Link(f"{site}/photo.png"))
    make(loop, blobs).cut_out(Edit(backdrop=Picture()), sources)
    assert [file.name for file in (tmp_path / "sources").rglob("*") if file.is_file()] == ["one"]


def task(result: Result | None = RESULT, dialect: str = "native") -> Task:
    return Task(
        id="t1",
        owner="me",
        dialect=dialect,
        edit=Edit(),
        sources=Sources(Stored("sources/one")),
        status=Status.FAILED if result is None else Status.SUCCEEDED,
        created=1.0,
        extra={BASE: "https://cutout.example"},
        result=result,
    )


def test_each_dialect_announces_in_its_own_words(loop: asyncio.AbstractEventLoop, blobs: Blobs) -> None:
    words: dict[str, Announce] = {"native": lambda task, address: f"{task.id} {address}".encode()}
    worker = make(loop, blobs, announce=words)
    assert worker.announce(task()) == b"t1 https://cutout.example/results/x.png"
    assert worker.announce(task(result=None)) == b"t1 None"
    assert failure(lambda: worker.announce(task(dialect="gone"))).kind is Kind.UNAVAILABLE
    assert result_address("http://a:1/under", RESULT) == "http://a:1/under/results/x.png"


def test_a_webhook_is_signed_where_it_has_a_secret(
    loop: asyncio.AbstractEventLoop, blobs: Blobs, site: str, received: list[tuple[dict[str, str], bytes]]
) -> None:
    worker = make(loop, blobs)
    body = json.dumps({"name": "Zoë"}, ensure_ascii=False).encode()
    worker.deliver(Hook(f"{site}/200", SIGNED_WITH), body, "t1")
    worker.deliver(Hook(f"{site}/200", SIGNED_WITH), body, "t1")
    worker.deliver(Hook(f"{site}/202"), body, "t1")
    (first, sent), (again, _), (bare, _) = received
    assert sent == body
    assert first["content-type"] == "application/json"
    assert Webhook(SIGNED_WITH).verify(sent, first) == {"name": "Zoë"}
    assert first["webhook-id"] == again["webhook-id"] == bare["webhook-id"]
    assert "webhook-signature" not in bare
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(SIGNED_WITH).verify(sent + b" ", first)


def test_the_servers_secret_signs_what_has_none_of_its_own(
    loop: asyncio.AbstractEventLoop, blobs: Blobs, site: str, received: list[tuple[dict[str, str], bytes]]
) -> None:
    own = base64.b64encode(b"o" * 24).decode()
    worker = make(loop, blobs, secret=own)
    worker.deliver(Hook(f"{site}/200"), b"{}", "t1")
    worker.deliver(Hook(f"{site}/200", SIGNED_WITH), b"{}", "t1")
    (servers, body), (clients, _) = received
    assert Webhook(own).verify(body, servers) == {}
    assert Webhook(SIGNED_WITH).verify(body, clients) == {}
    assert failure(lambda: make(loop, blobs, secret="a")).kind is Kind.INVALID_PARAMETER


def test_a_webhook_that_is_not_received_says_why(loop: asyncio.AbstractEventLoop, blobs: Blobs, site: str) -> None:
    refused = failure(lambda: make(loop, blobs).deliver(Hook(f"{site}/500"), b"{}", "t1"))
    assert refused.message == "The webhook was answered with status 500."
    private = failure(lambda: make(loop, blobs, fetching=FetchOptions()).deliver(Hook(f"{site}/200"), b"{}", "t1"))
    assert private.kind is Kind.UNREACHABLE_SOURCE


@pytest.mark.parametrize(
    "hook", [Hook("nowhere"), Hook("ftp://a.test/"), Hook("https://a.test/", "a"), Hook("https://a.test/", "")]
)
def test_a_webhook_that_could_never_be_sent_is_refused(hook: Hook) -> None:
    assert failure(lambda: check_hook(hook)).kind is Kind.INVALID_PARAMETER


def test_a_right_webhook_is_not_refused() -> None:
    check_hook(Hook("https://a.test/hook"))
    check_hook(Hook("https://a.test/hook", SIGNED_WITH))
    check_hook(Hook("https://a.test/hook", SIGNED_WITH.removeprefix("whsec_")))

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from standardwebhooks import Webhook
from tests.server.jobs.loops import loop_in_a_thread

from mattebox import codec
from mattebox.backdrops.plate import Plate, PlateMaker
from mattebox.cancellation import Checkpoint
from mattebox.codec import Limits
from mattebox.edit import Edit, Format, Matte, Output, Picture, Prompt
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Image
from mattebox.server.admission import AdmissionOptions
from mattebox.server.fetch import Fetcher, FetchOptions
from mattebox.server.jobs import Hook, Result, Status, Task, TaskOptions
from mattebox.server.jobs.webhooks import WebhookBody, check_hook, pause_after, result_address
from mattebox.server.jobs.worker import BASE, Worker
from mattebox.server.runner import Runner
from mattebox.server.store.blobs import Blobs, expiry_of
from mattebox.sources import Link, Sources, Stored
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
    with loop_in_a_thread() as running:
        yield running


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
    bodies: dict[str, WebhookBody] | None = None,
    model: str = "auto",
    secret: str = "",
    models: FakeModels | None = None,
    backdrops: Generators | None = None,
    timeout: float = 60.0,
) -> Worker:
    fetcher = Fetcher(fetching)
    engine = Engine(models or FakeModels(), backdrops)
    options = AdmissionOptions(workers=1, queue=0)

    async def runner() -> Runner:
        return Runner(engine, fetcher, blobs, limits=limits, model=model, options=options)

    return Worker(
        asyncio.run_coroutine_threadsafe(runner(), loop).result(20),
        blobs,
        fetcher,
        loop=loop,
        ready=ready,
        timeout=timeout,
        keep=60,
        webhook_secret=secret,
        webhook_bodies=bodies or {},
    )


def nothing() -> None: ...


def cut_out(
    worker: Worker,
    edit: Edit,
    sources: Sources,
    begin: Callable[[], None] = nothing,
    checkpoint: Callable[[], None] = nothing,
) -> Result:
    return worker.cut_out(edit, sources, begin=begin, checkpoint=checkpoint)


def failure(step: Callable[[], object]) -> MatteboxError:
    with pytest.raises(MatteboxError) as caught:
        step()
    return caught.value


def test_a_picture_is_fetched_cut_out_and_kept(loop: asyncio.AbstractEventLoop, blobs: Blobs, site: str) -> None:
    worker = make(loop, blobs)
    begun: list[int] = []
    blobs.put("sources/one", PHOTO, media_type="image/png")
    for photo in (Link(f"{site}/photo.png"), Stored("sources/one")):
        result = cut_out(worker, Edit(output=Output(format=Format.WEBP)), Sources(photo), lambda: begun.append(1))
        assert (result.media_type, result.width, result.height) == ("image/webp", 80, 60)
        assert result.subject is not None
        assert result.name.endswith(".webp")
        assert 55 < (expiry_of(result.name) or 0) - time.time() <= 62
        assert codec.decode(blobs.get(result.name), Limits()).rgb.shape == (60, 80, 3)
    assert begun == [1, 1]
    assert list(blobs.names("sources")) == ["sources/one"]  # what was fetched is not stored


def test_what_cannot_be_fetched_says_why(loop: asyncio.AbstractEventLoop, blobs: Blobs, site: str) -> None:
    begun: list[int] = []

    def refused(worker: Worker, path: str) -> MatteboxError:
        return failure(lambda: cut_out(worker, Edit(), Sources(Link(f"{site}/{path}")), lambda: begun.append(1)))

    assert refused(make(loop, blobs, limits=Limits(max_bytes=4000)), "large").kind is Kind.TOO_MANY_BYTES
    private = refused(make(loop, blobs, fetching=FetchOptions()), "photo.png")
    assert (private.kind, private.retry_after) == (Kind.UNREACHABLE_SOURCE, None)
    assert refused(make(loop, blobs), "page").kind is Kind.UNREADABLE_IMAGE
    assert list(blobs.names()) == []
    assert begun == []


class Gate:
    """A network that waits until it is let through."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, photo: RGB) -> Alpha:
        self.entered.release()
        assert self.open.wait(60)
        return np.ones((8, 8), np.float32)


def test_a_task_that_is_not_wanted_any_more_frees_its_worker(loop: asyncio.AbstractEventLoop, blobs: Blobs) -> None:
    class CancelledError(Exception): ...

    gate = Gate()
    worker = make(loop, blobs, models=FakeModels(gate))
    blobs.put("sources/one", PHOTO, media_type="image/png")
    one = Sources(Stored("sources/one"))

    def checkpoint() -> None:
        assert gate.entered.acquire(timeout=60)  # the network is at work
        gate.open.set()
        raise CancelledError

    with pytest.raises(CancelledError):
        cut_out(worker, Edit(), one, checkpoint=checkpoint)
    # There is one worker. It is free again after the step, and no result was stored.
    assert list(blobs.names("results")) == []
    assert cut_out(worker, Edit(), one).width == 80
    assert len(list(blobs.names("results"))) == 1


def test_a_task_has_a_deadline(loop: asyncio.AbstractEventLoop, blobs: Blobs) -> None:
    gate = Gate()
    worker = make(loop, blobs, models=FakeModels(gate), timeout=0.2)
    blobs.put("sources/one", PHOTO, media_type="image/png")
    one = Sources(Stored("sources/one"))
    with ThreadPoolExecutor() as threads:
        late = threads.submit(lambda: failure(lambda: cut_out(worker, Edit(), one)))
        assert gate.entered.acquire(timeout=60)
        loop.call_soon_threadsafe(loop.call_later, 0.3, gate.open.set)  # after its deadline, and the step ends
        assert late.result(60).kind is Kind.TIMED_OUT
    assert failure(lambda: cut_out(make(loop, blobs, timeout=1e-6), Edit(), one)).message == (
        "The picture was not done within 1e-06 seconds."
    )


def test_the_servers_limits_and_model_hold(loop: asyncio.AbstractEventLoop, blobs: Blobs) -> None:
    blobs.put("sources/one", PHOTO, media_type="image/png")
    one = Sources(Stored("sources/one"))
    small = make(loop, blobs, limits=Limits(max_pixels=100))
    assert failure(lambda: cut_out(small, Edit(), one)).kind is Kind.TOO_MANY_PIXELS
    other = make(loop, blobs, model="other")
    assert "Unknown model other" in failure(lambda: cut_out(other, Edit(), one)).message
    named = Edit(matte=Matte(model="third"))
    assert "Unknown model third" in failure(lambda: cut_out(other, named, one)).message


def test_a_source_that_has_expired(loop: asyncio.AbstractEventLoop, blobs: Blobs) -> None:
    gone = failure(lambda: cut_out(make(loop, blobs), Edit(), Sources(Stored("sources/gone"))))
    assert (gone.kind, gone.message) == (
        Kind.NOT_FOUND,
        "The picture waited too long for its turn and is not kept any more.",
    )


def test_a_storage_that_is_away_is_tried_again(loop: asyncio.AbstractEventLoop, tmp_path: Path, site: str) -> None:
    folder = tmp_path / "blobs"
    away = Blobs(folder.as_uri())
    folder.rmdir()
    folder.write_text("a file")
    worker = make(loop, away)
    for photo in (Link(f"{site}/photo.png"), Stored("sources/one")):
        found = failure(lambda: cut_out(worker, Edit(), Sources(photo)))  # noqa: B023
        assert (found.kind, found.retry_after) == (Kind.UNAVAILABLE, 2)


def test_a_model_that_cannot_be_had_fails_the_task(loop: asyncio.AbstractEventLoop, blobs: Blobs) -> None:
    async def never() -> None:
        raise MatteboxError(Kind.UNAVAILABLE, "Nowhere to be found.")

    worker = make(loop, blobs, ready=never)
    assert failure(lambda: cut_out(worker, Edit(), Sources(Stored("one")))).message == "Nowhere to be found."


def test_a_model_on_its_way_is_waited_for(loop: asyncio.AbstractEventLoop, blobs: Blobs) -> None:
    asked: list[int] = []

    async def later() -> None:
        asked.append(1)
        if len(asked) < 3:
            raise MatteboxError(Kind.UNAVAILABLE, "Being fetched.", retry_after=30)

    blobs.put("sources/one", PHOTO, media_type="image/png")
    assert cut_out(make(loop, blobs, ready=later), Edit(), Sources(Stored("sources/one"))).width == 80
    assert len(asked) == 3


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
    error = failure(lambda: cut_out(worker, Edit(backdrop=Prompt("a quay")), Sources(Stored("sources/one"))))
    # Of this kind a queue counts the tries; OVERLOADED it repeats without end.
    assert (error.kind, error.message, error.retry_after) == (Kind.UNAVAILABLE, "Too much to do.", max(1, after))


def test_a_picture_behind_is_fetched_and_not_kept(loop: asyncio.AbstractEventLoop, tmp_path: Path, site: str) -> None:
    blobs = Blobs(tmp_path.as_uri())
    blobs.put("sources/one", PHOTO, media_type="image/png")
    sources = Sources(Stored("sources/one"), backdrop=Link(f"{site}/photo.png"))
    cut_out(make(loop, blobs), Edit(backdrop=Picture()), sources)
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
    words: dict[str, WebhookBody] = {"native": lambda task, address: f"{task.id} {address}".encode()}
    worker = make(loop, blobs, bodies=words)
    assert worker.webhook_body(task()) == b"t1 https://cutout.example/results/x.png"
    assert worker.webhook_body(task(result=None)) == b"t1 None"
    assert failure(lambda: worker.webhook_body(task(dialect="gone"))).kind is Kind.UNAVAILABLE
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
    assert failure(lambda: check_hook(hook, FetchOptions())).kind is Kind.INVALID_PARAMETER


def test_a_right_webhook_is_not_refused() -> None:
    check_hook(Hook("https://a.test/hook"), FetchOptions())
    check_hook(Hook("https://A.test/hook"), FetchOptions(origins=("a.test",)))
    refused = failure(lambda: check_hook(Hook("https://b.test/hook"), FetchOptions(origins=("a.test",))))
    assert (refused.kind, refused.message) == (Kind.INVALID_PARAMETER, "Webhooks may not be sent to this host.")
    check_hook(Hook("https://a.test/hook", SIGNED_WITH), FetchOptions())
    check_hook(Hook("https://a.test/hook", SIGNED_WITH.removeprefix("whsec_")), FetchOptions())


def test_a_webhook_is_sent_again_over_half_a_day() -> None:
    options = TaskOptions()
    pauses = [pause_after(failures, options) for failures in range(1, 22)]
    assert pauses[:4] == [5, 10, 20, 40]
    assert pauses[-1] is None
    known = [pause for pause in pauses if pause is not None]
    assert len(known) == options.webhook_retries
    assert known == sorted(known)
    assert known[-1] == 3600
    assert 11 * 3600 < sum(known) < 12 * 3600
    assert pause_after(1, TaskOptions(webhook_retries=0)) is None
    assert pause_after(10**6, TaskOptions(webhook_retries=10**6)) == 3600

"""What is done for a task: fetch the picture, cut the subject out, keep the result, tell whoever wants to know."""

from __future__ import annotations

import asyncio
import binascii
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import CancelledError
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias, TypeVar, final

from mattebox import codec
from mattebox.codec import Limits
from mattebox.edit import Edit
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.server.fetch import Fetcher, check_url
from mattebox.server.jobs import Hook, Result, Task
from mattebox.server.runner import with_model
from mattebox.server.store.blobs import Blobs, new_result_name, new_source_name
from mattebox.sources import Link, Sources, Stored, Upload

if TYPE_CHECKING:
    from standardwebhooks import Webhook

_T = TypeVar("_T")

Announce: TypeAlias = Callable[[Task, str | None], bytes]
"""Writes a webhook's body, from a task that has ended and the address of its result, if it has one."""

BASE = "base"
"""Where `Task.extra` says what clients see of the server."""
_SLACK = 5.0
"""Seconds that the loop may be late with a failure of its own."""


def result_address(base: str, result: Result) -> str:
    """Where clients fetch a result from a server whose own address is `base`, as in `https://cutout.example`."""
    return f"{base}/{result.name}"


def check_hook(hook: Hook) -> None:
    """Refuse a webhook that could never be sent.

    Raises:
        MatteboxError: INVALID_PARAMETER where its address is none, or its secret is not base64 (after `whsec_`).
    """
    check_url(hook.url, what="webhook's")
    if hook.secret is not None:
        _signer(hook.secret)


@final
class Worker:
    """The work of `Tasks`. Its methods block a thread that is not the loop's; each may be called by several threads.

    What it needs of memory is one picture for each call: files of at most `limits.max_bytes`, and what the engine makes
    of `limits.max_pixels`.

    Args:
        engine: makes the pictures.
        blobs: where sources and results are kept.
        fetcher: downloads, and sends webhooks.
        loop: where the fetcher lives; it must run for as long as the worker works.
        ready: returns when pictures can be made; raises MatteboxError where that is not so for now, or never.
        limits: what a picture may be at most.
        model: the model of an edit that names none.
        keep: seconds that a result can be fetched.
        fetch_timeout: seconds that one download may take.
        webhook_timeout: seconds that a webhook's receiver may take.
        webhook_secret: signs webhooks that have no secret of their own; empty leaves them unsigned.
        announce: for each dialect that sends webhooks, who writes them.
    """

    def __init__(
        self,
        engine: Engine,
        blobs: Blobs,
        fetcher: Fetcher,
        *,
        loop: asyncio.AbstractEventLoop,
        ready: Callable[[], Awaitable[None]],
        limits: Limits = Limits(),
        model: str = "auto",
        keep: float = 3600.0,
        fetch_timeout: float = 20.0,
        webhook_timeout: float = 5.0,
        webhook_secret: str = "",
        announce: Mapping[str, Announce],
    ) -> None:
        self._engine = engine
        self._blobs = blobs
        self._fetcher = fetcher
        self._loop = loop
        self._ready = ready
        self._limits = limits
        self._model = model
        self._keep = keep
        self._fetch_timeout = fetch_timeout
        self._webhook_timeout = webhook_timeout
        self._signer = _signer(webhook_secret) if webhook_secret else None
        self._announce = announce

    def fetch(self, source: Link) -> str:
        """Download a picture into the storage; returns its key there.

        Raises:
            MatteboxError: as `Fetcher.fetch`, and UNAVAILABLE.
        """
        data = self._download(source)
        key = new_source_name(now=time.time())
        with_patience(lambda: self._blobs.put(key, data, media_type="application/octet-stream"))
        return key

    def cut_out(self, edit: Edit, sources: Sources) -> Result:
        """Do an edit whose photo is stored, and store the result.

        Raises:
            ValueError: the source is not stored.
            MatteboxError: OVERLOADED while the networks are still being loaded, NOT_FOUND where the source was kept too
                long, and whatever the engine raises.
        """
        if not isinstance(sources.photo, Stored):
            raise ValueError("a task's photo is stored before it is worked on")  # noqa: TRY004 - a value of the union
        self._wait_until_ready()
        photo = self._get(sources.photo.key)
        backdrop = None
        if sources.backdrop is not None:
            source = sources.backdrop
            if isinstance(source, Upload):
                raise ValueError("a task's pictures are stored before it is worked on")
            backdrop = self._download(source) if isinstance(source, Link) else self._get(source.key)
        try:
            encoded = self._engine.run_file(
                with_model(edit, self._model), photo, backdrop=backdrop, limits=self._limits
            )
        except MatteboxError as error:
            if error.kind is not Kind.OVERLOADED or error.retry_after is None:
                raise
            # A generator's server, which may be so for ever, and each try cuts the subject out anew: a few will do.
            raise MatteboxError(Kind.UNAVAILABLE, error.message, retry_after=max(1, error.retry_after)) from error
        name = new_result_name(codec.extension(edit.output.format), keep=self._keep, now=time.time())
        with_patience(lambda: self._blobs.put(name, encoded.data, media_type=encoded.media_type))
        return Result(
            name=name,
            media_type=encoded.media_type,
            width=encoded.width,
            height=encoded.height,
            subject=encoded.subject,
            confidence=encoded.confidence,
        )

    def _download(self, source: Link) -> bytes:
        download = self._fetcher.fetch(source.url, max_bytes=self._limits.max_bytes)
        return self._on_loop(download, self._fetch_timeout, "The picture's address did not deliver in time.")

    def _get(self, key: str) -> bytes:
        try:
            return with_patience(lambda: self._blobs.get(key))
        except MatteboxError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            raise MatteboxError(
                Kind.NOT_FOUND, "The picture waited too long for its turn and is not kept any more."
            ) from error

    def announce(self, task: Task) -> bytes:
        """The webhook's body, in the words of the task's dialect.

        Raises:
            MatteboxError: UNAVAILABLE where this server does not have the dialect.
        """
        words = self._announce.get(task.dialect)
        if words is None:
            raise MatteboxError(Kind.UNAVAILABLE, "This server cannot write this webhook any more.")
        address = None if task.result is None else result_address(str(task.extra.get(BASE, "")), task.result)
        return words(task, address)

    def deliver(self, hook: Hook, body: bytes, task_id: str) -> None:
        """Send a webhook, as Standard Webhooks has it; signed where it or the server has a secret.

        Raises:
            MatteboxError: as `Fetcher.post`, and INVALID_PARAMETER for a secret that is none.
        """
        # The same id on every try, so that a receiver notices what it has had already.
        name, moment = f"msg_{task_id}", datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": str(int(moment.timestamp())),
        }
        signer = self._signer if hook.secret is None else _signer(hook.secret)
        if signer is not None:
            headers["webhook-signature"] = signer.sign(name, moment, body.decode())
        post = self._fetcher.post(hook.url, body, headers=headers, timeout=self._webhook_timeout)
        late = f"The webhook was not answered within {self._webhook_timeout:g} seconds."
        self._on_loop(post, self._webhook_timeout, late)

    def _wait_until_ready(self) -> None:
        async def ready() -> None:
            await self._ready()

        try:
            self._on_loop(ready(), self._fetch_timeout, "The model is still being loaded.", kind=Kind.OVERLOADED)
        except MatteboxError as error:
            if error.kind is not Kind.UNAVAILABLE or error.retry_after is None:
                raise
            # To be tried again for as long as it takes; anything else is tried a few times only.
            raise MatteboxError(Kind.OVERLOADED, error.message, retry_after=1) from error

    def _on_loop(
        self, work: Coroutine[object, object, _T], seconds: float, late: str, kind: Kind = Kind.UNREACHABLE_SOURCE
    ) -> _T:
        """Wait for what runs in the server's loop. It has a deadline of its own: this one is for a loop that hangs."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(seconds + _SLACK)
        except (TimeoutError, CancelledError) as error:
            future.cancel()
            raise MatteboxError(kind, late, retry_after=1) from error


def with_patience(step: Callable[[], _T]) -> _T:
    """Do something with the storage; a failure to reach it may be tried again, so it says when.

    Raises:
        MatteboxError: what `step` raises.
    """
    try:
        return step()
    except MatteboxError as error:
        if error.kind is not Kind.UNAVAILABLE or error.retry_after is not None:
            raise
        raise MatteboxError(error.kind, error.message, retry_after=1) from error


def _signer(secret: str) -> Webhook:
    from standardwebhooks import Webhook
    from standardwebhooks.webhooks import EmptyWebhookSecretError

    try:
        return Webhook(secret)
    except (EmptyWebhookSecretError, binascii.Error, ValueError) as error:
        raise MatteboxError(
            Kind.INVALID_PARAMETER, "The webhook's secret must be base64, with whsec_ before it or without."
        ) from error

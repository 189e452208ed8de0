"""Backdrops painted by another server: the OpenAI images interface, which most servers speak, and Automatic1111's.

The server's address is the operator's own setting. So, unlike addresses that requests name (see `fetch`), it may lie in
a private network; what comes back is bounded in time and bytes all the same, and no redirect is followed. Proxies that
the environment names are not used. Nothing of what a server says reaches the public message of a failure: that, with
the address, is in its cause.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeAlias, final
from urllib.parse import urlsplit

import numpy as np

from mattebox import codec
from mattebox.backdrops.generators import painting
from mattebox.backdrops.generators.painting import Sketch
from mattebox.backdrops.plate import Checkpoint, Plate
from mattebox.edit import Output
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image

_log = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
_RETRY_SECONDS = 0.5
"""The pause before a refused connection is tried a second time, and last: a server that restarts is back by then."""
_LOOK_SECONDS = 0.1
"""How often a waiting caller looks whether anybody still waits for it."""
_NO_SUCH_ROUTE = frozenset({404, 405, 501})
_POLICY = ("content_policy", "content policy", "moderation", "safety", "nsfw")
_EXCERPT = 500

_Sent: TypeAlias = Mapping[str, str | int | float | bool | list[str] | dict[str, str]]


@dataclass(frozen=True, slots=True)
class _Form:
    """A multipart form: fields, and PNG files."""

    fields: Mapping[str, str]
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    retry_after: float | None


class _AnswerError(Exception):
    """What a server said, for the log."""


@final
class OpenAIImages:
    """A server that speaks the OpenAI images interface: `/v1/images/edits` and `/v1/images/generations`.

    With a cutout the surroundings are painted round the subject. A server that has no edits gives a picture without
    the subject instead, for the compositor to put it in; that it has none is remembered. Safe to use from several
    threads.

    Args:
        url: the server's address, http or https, with or without `/v1`.
        key: sent as a bearer token; None sends none.
        model: the model's name there; None leaves the choice to the server.
        timeout: seconds that one plate may take in all.
        max_bytes: the most bytes that an answer may have, a picture in base64 included.
        edits: whether to ask for edits at all.
        steps: how many steps of denoising to ask for; None leaves it to the server.
        extras: send `response_format`, `seed` and the steps. A few servers refuse what they do not know; without them
            the same seed need not give the same picture.
        min_pixels: smaller canvases are painted at about so many pixels and scaled down.
        max_side: the longest side to ask for; larger canvases are painted smaller and scaled up.

    Raises:
        ValueError: a setting that cannot be right.
    """

    name = "openai"

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        model: str | None = None,
        timeout: float = 120.0,
        max_bytes: int = 64 * 2**20,
        edits: bool = True,
        steps: int | None = None,
        extras: bool = True,
        min_pixels: int = 1_000_000,
        max_side: int = 2048,
    ) -> None:
        authorization = None if key is None else f"Bearer {key}"
        base = url.rstrip("/").removesuffix("/v1")
        self._server = _Server(base, authorization, key, timeout=timeout, max_bytes=max_bytes, edits=edits)
        self._model = model
        self._steps = steps
        self._extras = extras
        self._sizes = _Sizes(min_pixels, max_side)

    def plate(
        self, prompt: str, cutout: Image | None, *, width: int, height: int, seed: int, checkpoint: Checkpoint
    ) -> Plate:
        """A backdrop of `width` by `height` for a subject that lies on a canvas of just that size.

        Args:
            prompt: what to paint.
            cutout: the subject; None paints the scene alone.
            width: in pixels.
            height: in pixels.
            seed: passed on; any whole number.
            checkpoint: called every tenth of a second; where it raises, the request is given up.

        Raises:
            MatteboxError: UNAVAILABLE, TIMED_OUT, OVERLOADED, or INVALID_PARAMETER where the server refuses the prompt.
        """
        size = self._sizes.of(width, height)
        fields: dict[str, str | int] = {
            "prompt": prompt.strip() or painting.PLAIN,
            "n": 1,
            "size": f"{size[0]}x{size[1]}",
        }
        if self._model is not None:
            fields["model"] = self._model
        if self._extras:
            fields |= {"response_format": "b64_json", "seed": seed % 2**32}
            if self._steps is not None:
                fields["num_inference_steps"] = self._steps

        def edit(sketch: Sketch) -> tuple[str, _Form]:
            files = {"image": _png(Image(rgb=sketch.rgb)), "mask": _png(_openai_mask(sketch))}
            return "/v1/images/edits", _Form({name: str(value) for name, value in fields.items()}, files)

        job = _Job(edit=edit, generate=("/v1/images/generations", fields), size=size, backend=self.name)
        return self._server.paint(job, cutout, width=width, height=height, checkpoint=checkpoint)


@final
class Automatic1111:
    """A server with the interface of Automatic1111's web UI: `/sdapi/v1/img2img` and `/sdapi/v1/txt2img`.

    It is used as `OpenAIImages` is.

    Args:
        url: the server's address, http or https.
        key: `user:password`, as the server was started with; None sends none.
        model: the checkpoint's name there; None takes the one that is loaded.
        timeout: seconds that one plate may take in all.
        max_bytes: the most bytes that an answer may have, a picture in base64 included.
        edits: paint round the subject; without, the subject is put in afterwards.
        steps: how many steps of denoising to ask for.
        mask_blur: pixels over which the mask's edge is blurred.
        min_pixels: smaller canvases are painted at about so many pixels and scaled down. Models of the first
            generation (512 by 512) want 262144 here, and 768 for the next.
        max_side: the longest side to ask for; larger canvases are painted smaller and scaled up.

    Raises:
        ValueError: a setting that cannot be right.
    """

    name = "automatic1111"

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        model: str | None = None,
        timeout: float = 120.0,
        max_bytes: int = 64 * 2**20,
        edits: bool = True,
        steps: int = 25,
        mask_blur: int = 4,
        min_pixels: int = 1_000_000,
        max_side: int = 2048,
    ) -> None:
        authorization = None if key is None else f"Basic {_base64(key.encode())}"
        self._server = _Server(url.rstrip("/"), authorization, key, timeout=timeout, max_bytes=max_bytes, edits=edits)
        self._model = model
        self._steps = steps
        self._mask_blur = mask_blur
        self._sizes = _Sizes(min_pixels, max_side)

    def plate(
        self, prompt: str, cutout: Image | None, *, width: int, height: int, seed: int, checkpoint: Checkpoint
    ) -> Plate:
        """A backdrop of `width` by `height`; see `OpenAIImages.plate`."""
        size = self._sizes.of(width, height)
        fields: dict[str, str | int | float | bool | list[str] | dict[str, str]] = {
            "prompt": prompt.strip() or painting.PLAIN,
            "width": size[0],
            "height": size[1],
            "steps": self._steps,
            "seed": seed % 2**32,  # -1 would mean a random one
            "batch_size": 1,
            "n_iter": 1,
            "send_images": True,
            "save_images": False,
        }
        if self._model is not None:
            # Not restored afterwards: the next request would have to load the model again.
            fields["override_settings"] = {"sd_model_checkpoint": self._model}
            fields["override_settings_restore_afterwards"] = False

        def edit(sketch: Sketch) -> tuple[str, _Sent]:
            mask = np.repeat(np.where(sketch.keep, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
            return "/sdapi/v1/img2img", fields | {
                "init_images": [_base64(_png(Image(rgb=sketch.rgb)))],
                "mask": _base64(_png(Image(rgb=mask))),  # white is painted
                "inpainting_mask_invert": 0,  # what is white, not what is black
                "inpainting_fill": 1,  # begin with the grey
                "inpaint_full_res": False,
                "mask_blur": self._mask_blur,
                "denoising_strength": 1.0,
                "resize_mode": 0,
                "include_init_images": False,
            }

        job = _Job(edit=edit, generate=("/sdapi/v1/txt2img", fields), size=size, backend=self.name)
        return self._server.paint(job, cutout, width=width, height=height, checkpoint=checkpoint)


# --- what both do -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sizes:
    min_pixels: int
    max_side: int

    def __post_init__(self) -> None:
        if self.min_pixels < 1 or self.max_side < 64:
            raise ValueError("min_pixels must be at least 1 and max_side at least 64")

    def of(self, width: int, height: int) -> tuple[int, int]:
        return painting.working_size(width, height, least=self.min_pixels, longest=self.max_side)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """Paths and bodies to send: `edit` makes those of painting round a subject, `generate` has those without one."""

    edit: Callable[[Sketch], tuple[str, _Form | _Sent]]
    generate: tuple[str, _Sent]
    size: tuple[int, int]
    backend: str


@final
class _Server:
    """One server: sends, waits, and judges what comes back."""

    def __init__(
        self, url: str, authorization: str | None, secret: str | None, *, timeout: float, max_bytes: int, edits: bool
    ) -> None:
        import httpx2

        parts = urlsplit(url)
        try:  # what would be refused only when a picture is asked for
            httpx2.URL(url)
            (parts.hostname or "").encode("idna")
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise ValueError("a generator's address has a host or a port that cannot be") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("a generator's address is http(s)://host, perhaps with a port and a path")
        if parts.username is not None or parts.password is not None:
            raise ValueError("a generator's address has no user name and no password; there is the key for that")
        if secret is not None and not (secret.isascii() and secret.isprintable() and secret):
            raise ValueError("a generator's key consists of printable ASCII characters")
        if not 0 < timeout < math.inf or max_bytes < 1:
            raise ValueError("timeout must be a number above 0 and max_bytes at least 1")
        self._url = url
        self._headers = {"User-Agent": "mattebox", "Accept": "application/json", "Accept-Encoding": "identity"}
        if authorization is not None:
            self._headers["Authorization"] = authorization
        self._secret = secret
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._edits = edits

    def paint(self, job: _Job, cutout: Image | None, *, width: int, height: int, checkpoint: Checkpoint) -> Plate:
        """The plate; not `finished` where it was painted without the subject."""
        until = time.monotonic() + self._timeout
        checkpoint()
        # A cutout to paint round, or None.
        given = cutout if self._edits else None
        path, body = job.generate if given is None else job.edit(painting.sketch(given, job.size))
        answer = self._post(path, body, until=until, checkpoint=checkpoint)
        missing = given is not None and answer.status in _NO_SUCH_ROUTE
        if missing:
            path, body = job.generate
            answer = self._post(path, body, until=until, checkpoint=checkpoint)
        picture = self._picture(path, answer)
        if missing:
            # Only now: where both paths are missing, the address is wrong and may be put right.
            _log.warning("the generator cannot paint round a subject: from now on it paints without")
            self._edits = False
        checkpoint()
        return painting.plate_of(
            picture,
            width=width,
            height=height,
            size=job.size,
            with_subject=given is not None and not missing,
            backend=job.backend,
        )

    def _post(self, path: str, body: _Form | _Sent, *, until: float, checkpoint: Checkpoint) -> _Answer:
        import httpx2

        try:
            try:
                return self._attempt(path, body, until=until, checkpoint=checkpoint)
            except httpx2.ConnectError:
                # Nothing was sent, so nothing can be painted twice.
                _pause(_RETRY_SECONDS, checkpoint)
                return self._attempt(path, body, until=until, checkpoint=checkpoint)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise MatteboxError(Kind.UNAVAILABLE, "The generator cannot be reached.") from error
        except httpx2.TimeoutException as error:
            raise _too_slow() from error
        except httpx2.HTTPError as error:
            raise MatteboxError(Kind.UNAVAILABLE, "The generator broke off in the middle of its answer.") from error

    def _attempt(self, path: str, body: _Form | _Sent, *, until: float, checkpoint: Checkpoint) -> _Answer:
        """One exchange, on a thread of its own: a blocked read cannot be interrupted, but its socket can be shut."""
        line = _Line()
        pool = ThreadPoolExecutor(1, thread_name_prefix="generator")
        try:
            exchange = pool.submit(self._exchange, path, body, seconds=max(until - time.monotonic(), 0.001), line=line)
            while not wait([exchange], timeout=_LOOK_SECONDS).done:
                checkpoint()
                if time.monotonic() > until:  # a server that drips never runs into the time-out of a read
                    raise _too_slow()
            return exchange.result()
        finally:
            line.hang_up()
            pool.shutdown(wait=False)

    def _exchange(self, path: str, body: _Form | _Sent, *, seconds: float, line: _Line) -> _Answer:
        import httpx2

        timeout = httpx2.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
        form = body if isinstance(body, _Form) else None
        with (
            httpx2.Client(timeout=timeout, follow_redirects=False, trust_env=False, headers=self._headers) as client,
            client.stream(
                "POST",
                self._url + path,
                data=None if form is None else form.fields,
                files=None
                if form is None
                else {name: (f"{name}.png", png, "image/png") for name, png in form.files.items()},
                json=body if form is None else None,
                extensions={"trace": line.trace},
            ) as response,
        ):
            whole = bytearray()
            for piece in response.iter_raw():
                whole += piece
                if len(whole) > self._max_bytes:
                    raise MatteboxError(
                        Kind.UNAVAILABLE, f"The generator's answer is larger than {self._max_bytes:,} bytes."
                    )
            return _Answer(response.status_code, bytes(whole), _seconds(response.headers.get("retry-after")))

    def _picture(self, path: str, answer: _Answer) -> Image:
        if not 200 <= answer.status < 300:
            raise _refusal(answer) from self._said(path, answer)
        no_picture = MatteboxError(Kind.UNAVAILABLE, "The generator's answer is no picture.")
        try:
            text = _picture_text(json.loads(answer.body))
        except (ValueError, RecursionError) as error:
            raise no_picture from self._said(path, answer, error)
        if text is None:
            raise no_picture from self._said(path, answer)
        import pybase64

        try:
            text = text.partition(",")[2] if text.startswith("data:") else text
            data = pybase64.b64decode("".join(text.split()), validate=True)
            return codec.decode(data, codec.Limits(max_bytes=self._max_bytes))
        except (ValueError, MatteboxError) as error:
            raise no_picture from self._said(path, answer, error)

    def _said(self, path: str, answer: _Answer, error: Exception | None = None) -> _AnswerError:
        text = answer.body[: _EXCERPT + len(self._secret or "")].decode("utf-8", "replace")
        if self._secret is not None:  # before it is cut: a part of the secret is one too
            text = text.replace(self._secret, "***")
        said = _AnswerError(f"{self._url}{path} answered {answer.status}: {text[:_EXCERPT]!r}")
        said.__cause__ = error
        return said


@final
class _Line:
    """The connection of one exchange, so that another thread can cut it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._cut = False

    def trace(self, event: str, info: Mapping[str, object]) -> None:
        """Called by the client at each of its steps."""
        if event not in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            return
        stream = info.get("return_value")
        import httpcore2

        if isinstance(stream, httpcore2.NetworkStream):
            opened = stream.get_extra_info("socket")
            if isinstance(opened, socket.socket):
                with self._lock:
                    self._sockets.append(opened)
                    late = self._cut
                if late:
                    _shut(opened)

    def hang_up(self) -> None:
        """End the exchange, now and if it only connects later. What is closed already stays so."""
        with self._lock:
            self._cut = True
            opened = list(self._sockets)
        for each in opened:
            _shut(each)


def _shut(opened: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        opened.shutdown(socket.SHUT_RDWR)


def _pause(seconds: float, checkpoint: Checkpoint) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        checkpoint()
        time.sleep(min(left, _LOOK_SECONDS))


def _too_slow() -> MatteboxError:
    return MatteboxError(Kind.TIMED_OUT, "The generator took too long.")


def _refusal(answer: _Answer) -> MatteboxError:
    match answer.status:
        case 400 | 422 if _is_about_policy(answer.body):
            return MatteboxError(
                Kind.INVALID_PARAMETER, "The generator refuses to paint what the prompt asks for.", parameter="prompt"
            )
        case 400 | 422:
            return MatteboxError(Kind.UNAVAILABLE, "The generator does not accept what it is asked.")
        case 401 | 403:
            return MatteboxError(Kind.UNAVAILABLE, "The generator refuses the key.")
        case 404 | 405 | 501:
            return MatteboxError(Kind.UNAVAILABLE, "The generator has no such interface or no such model.")
        case 429:
            return MatteboxError(
                Kind.OVERLOADED, "The generator has too much to do; try again later.", retry_after=answer.retry_after
            )
        case status if 300 <= status < 400:
            return MatteboxError(Kind.UNAVAILABLE, "The generator points to another address, which is not followed.")
        case _:
            return MatteboxError(Kind.UNAVAILABLE, "The generator failed.", retry_after=answer.retry_after)


def _is_about_policy(body: bytes) -> bool:
    """Whether an error is about what the prompt says. Only what describes it is read: it may quote the prompt too."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return False
    outer = said if isinstance(said, dict) else {}
    inner = outer.get("error")
    places = [outer, inner if isinstance(inner, dict) else {"message": inner}]
    words = [place.get(name) for place in places for name in ("code", "type", "message", "detail")]
    text = " ".join(word for word in words if isinstance(word, str)).casefold()
    return any(phrase in text for phrase in _POLICY)


def _picture_text(said: object) -> str | None:
    """The first picture of an answer, in base64; None where there is none."""
    match said:
        case {"data": [{"b64_json": str(text)}, *_]} | {"images": [str(text), *_]}:
            return text
        case {"data": [{"url": str()}, *_]}:
            # It could name any address; fetching it would need the same care as a stranger's.
            raise MatteboxError(
                Kind.UNAVAILABLE,
                "The generator gives an address instead of a picture; it must send the picture itself.",
            )
        case _:
            return None


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() and len(text) < 6 else None


def _openai_mask(sketch: Sketch) -> Image:
    # Transparent is painted: the opposite of what most networks call a mask.
    return Image(rgb=sketch.rgb, alpha=sketch.keep.astype(np.float32))


def _png(image: Image) -> bytes:
    return codec.encode(image, Output())


def _base64(data: bytes) -> str:
    import pybase64

    return pybase64.b64encode(data).decode()

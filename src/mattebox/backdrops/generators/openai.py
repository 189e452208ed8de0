"""Backdrops painted by another server that speaks the OpenAI images API, as many image servers do.

Nothing that a server says reaches the public message of a failure: its text and its address are in the cause.
"""

from __future__ import annotations

import json
import logging
import time
from typing import final

import numpy as np

from mattebox import codec
from mattebox.backdrops.generators import painting
from mattebox.backdrops.generators.connection import Answer, Connection, Form, Json
from mattebox.backdrops.generators.painting import Sketch
from mattebox.backdrops.plate import Plate
from mattebox.cancellation import Checkpoint
from mattebox.edit import Output
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image

_log = logging.getLogger(__name__)

_EDITS, _GENERATIONS = "/v1/images/edits", "/v1/images/generations"
_NO_SUCH_ROUTE = frozenset({404, 405, 501})
_POLICY = ("content_policy", "content policy", "moderation", "safety", "nsfw")
_EXCERPT = 500


class _AnswerError(Exception):
    """A server's words, for the log."""


@final
class OpenAIImages:
    """A server that speaks the OpenAI images interface: `/v1/images/edits` and `/v1/images/generations`.

    With a cutout the surroundings are painted around the subject. A server without edits gives a picture without the
    subject instead, which the compositor puts in; that it has no edits is remembered. Safe to use from several threads.

    Args:
        url: the server's address, http or https, with or without `/v1`.
        key: sent as a bearer token; None sends none.
        model: the model's name there; None leaves the choice to the server.
        timeout: seconds that one plate may take in all.
        max_bytes: the most bytes that an answer may have, a picture in base64 included.

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
    ) -> None:
        self._url = url.rstrip("/").removesuffix("/v1")
        self._connection = Connection(self._url, key=key, timeout=timeout, max_bytes=max_bytes)
        self._key = key
        self._model = model
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._edits = True

    def plate(
        self, prompt: str, cutout: Image | None, *, width: int, height: int, seed: int, checkpoint: Checkpoint
    ) -> Plate:
        """See `Generator.plate`. It is `finished` where the server painted around the subject.

        Raises:
            MatteboxError: UNAVAILABLE, TIMED_OUT, OVERLOADED, or INVALID_PARAMETER where the server refuses the prompt.
        """
        until = time.monotonic() + self._timeout
        checkpoint()
        size = painting.working_size(width, height)
        fields = self._fields(prompt, size, seed)
        around = cutout if self._edits else None
        path, body = (
            (_GENERATIONS, fields) if around is None else (_EDITS, _form(fields, painting.sketch(around, size)))
        )
        answer = self._connection.post(path, body, until=until, checkpoint=checkpoint)
        missing = around is not None and answer.status in _NO_SUCH_ROUTE
        if missing:
            path = _GENERATIONS
            answer = self._connection.post(path, fields, until=until, checkpoint=checkpoint)
        picture = self._picture(path, answer, fields)
        if missing:
            # Only now: where both paths are missing, the address is wrong and may be put right.
            _log.warning("the generator cannot paint around a subject: from now on it paints without")
            self._edits = False
        checkpoint()
        return painting.plate_of(
            picture,
            width=width,
            height=height,
            size=size,
            with_subject=around is not None and not missing,
            backend=self.name,
        )

    def _fields(self, prompt: str, size: tuple[int, int], seed: int) -> Json:
        fields: dict[str, str | int] = {
            "prompt": prompt.strip() or painting.PLAIN,
            "n": 1,
            "size": f"{size[0]}x{size[1]}",
            "response_format": "b64_json",
            "seed": seed % 2**32,
        }
        return fields if self._model is None else fields | {"model": self._model}

    def _picture(self, path: str, answer: Answer, fields: Json) -> Image:
        if not 200 <= answer.status < 300:
            raise _refusal(answer) from self._said(path, answer, fields)
        no_picture = MatteboxError(Kind.UNAVAILABLE, "The generator did not send a picture.")
        try:
            text = _picture_text(json.loads(answer.body))
        except (ValueError, RecursionError) as error:
            raise no_picture from self._said(path, answer, fields, error)
        if text is None:
            raise no_picture from self._said(path, answer, fields)
        import pybase64

        try:
            text = text.partition(",")[2] if text.startswith("data:") else text
            data = pybase64.b64decode("".join(text.split()), validate=True)
            return codec.decode(data, codec.Limits(max_bytes=self._max_bytes))
        except (ValueError, MatteboxError) as error:
            raise no_picture from self._said(path, answer, fields, error)

    def _said(self, path: str, answer: Answer, fields: Json, error: Exception | None = None) -> _AnswerError:
        prompt = str(fields["prompt"])
        # Neither belongs into a log, and some servers repeat the request.
        quoted = (json.dumps(prompt, ensure_ascii=each)[1:-1] for each in (True, False))
        hidden = [each for each in (self._key, *quoted, prompt) if each]
        text = answer.body[: _EXCERPT + 4 * max(map(len, hidden))].decode("utf-8", "replace")
        for each in hidden:  # before it is cut: a part of a secret is one too
            text = text.replace(each, "***")
        said = _AnswerError(f"{self._url}{path} answered {answer.status}: {text[:_EXCERPT]!r}")
        said.__cause__ = error
        return said


def _refusal(answer: Answer) -> MatteboxError:
    match answer.status:
        case 400 | 422 if _is_about_policy(answer.body):
            return MatteboxError(Kind.INVALID_PARAMETER, "The generator refuses this prompt.", parameter="prompt")
        case 400 | 422:
            return MatteboxError(Kind.UNAVAILABLE, "The generator rejected the request.")
        case 401 | 403:
            return MatteboxError(Kind.UNAVAILABLE, "The generator refuses the key.")
        case 404 | 405 | 501:
            return MatteboxError(Kind.UNAVAILABLE, "The generator does not offer this interface or this model.")
        case 429:
            return MatteboxError(
                Kind.OVERLOADED, "The generator is overloaded; try again later.", retry_after=answer.retry_after
            )
        case status if 300 <= status < 400:
            return MatteboxError(Kind.UNAVAILABLE, "The generator redirects to another address, which is not followed.")
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
        case {"data": [{"b64_json": str(text)}, *_]}:
            return text
        case {"data": [{"url": str()}, *_]}:
            # It could name any address; fetching it would need the same care as a stranger's.
            raise MatteboxError(
                Kind.UNAVAILABLE,
                "The generator sent an address instead of a picture; it must send the picture itself.",
            )
        case _:
            return None


def _form(fields: Json, sketch: Sketch) -> Form:
    # Transparent is painted: the opposite of what most networks call a mask.
    mask = Image(rgb=sketch.rgb, alpha=sketch.keep.astype(np.float32))
    files = {"image": codec.encode(Image(rgb=sketch.rgb), Output()), "mask": codec.encode(mask, Output())}
    return Form({name: str(value) for name, value in fields.items()}, files)

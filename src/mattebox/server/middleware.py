"""The outermost layer of the server: gives each request its id, and keeps out who must not come in."""

from __future__ import annotations

import logging
import math
import re
import secrets
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, final

import anyio
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mattebox.environment import option
from mattebox.errors import Kind, MatteboxError, forget_frames
from mattebox.server import logs, request_target
from mattebox.server.http.dialect import (
    STATUS,
    Dialect,
    RequestContext,
    error_response,
    paths_of_edits,
    reason,
    speaking,
)
from mattebox.server.monitor import Monitor

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

_DRAINED_BYTES = 64 * 2**20
_DRAINED_SECONDS = 10.0
_MOST_REQUESTS = 512
"""Inside at a time, whatever they ask for; the work and the uploads among them are bounded more narrowly elsewhere."""
_HEALTH = frozenset({"/live", "/health", "/ready"})
"""They are answered whatever the Host is: whoever asks for them knows an address, and no setting lists that."""
_PROBES = _HEALTH | {"/metrics"}
"""They are asked for every few seconds, so they are neither logged nor counted."""
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
"""Those that anything here takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadOptions:
    """How long the body of a request may take to arrive."""

    idle: float = option(
        60.0, "Seconds that a request may stop arriving before it is refused, or its response stop being read."
    )
    timeout: float = option(1800.0, "Seconds that a body may take to arrive, in all.")

    def __post_init__(self) -> None:
        if not 0 < self.idle < math.inf or not 0 < self.timeout < math.inf:
            raise ValueError("idle and timeout must be numbers above 0")


@final
class RequestGuard:
    """The outermost layer: gives each request its id, keeps out who must not come in, has the last word about failures.

    A server that asks for no key is open to every web page that its user's browser shows: a page can send requests to
    this machine, and by a name that resolves to it can even read the answers. Browsers say where a request comes from
    (`Origin`) and which server they mean (`Host`), so both are looked at.

    Nothing that goes wrong behind it leaves it in any other form than the dialect's. Where a failure is answered before
    the whole body was read, the rest is read and thrown away first, as far as that is reasonable: most clients look for
    an answer only after they have sent everything, and see a broken connection otherwise. What is refused takes no
    place from others meanwhile.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        dialects: Sequence[Dialect],
        hosts: Collection[str] = (),
        keyless: bool = False,
        origins: Collection[str] = (),
        proxies: request_target.Networks = (),
        uploads: UploadOptions = UploadOptions(),
        most: int = _MOST_REQUESTS,
        monitor: Monitor | None = None,
        turn_away: Callable[[Request], None] | None = None,
    ) -> None:
        """Build it.

        Args:
            app: what is behind it.
            dialects: the languages that failures are told in.
            hosts: the names that this server may be called by; none at all means any.
            keyless: refuse what another site's page asks for, unless the site is one of `origins`.
            origins: sites, as in `https://app.example`; `*` is any.
            proxies: whose word is taken for how a request came to them.
            uploads: how long a body may take to arrive.
            most: the most requests inside at a time.
            monitor: counts, times and traces each request.
            turn_away: raises a `MatteboxError` about a request for an edit that would be refused anyway; None where
                there are no edits.
        """
        self._app = app
        self._dialects = dialects
        self._edits = paths_of_edits(dialects)
        self._hosts = frozenset(host.lower() for host in hosts)
        self._keyless = keyless
        self._origins = frozenset(origins)
        self._proxies = proxies
        self._uploads = uploads
        self._free = most
        self._monitor = monitor or Monitor()
        self._turn_away = turn_away
        self._repeats = logs.Repeats()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, _tersely(send))
            return
        with ExitStack() as place:
            self._free -= 1
            place.callback(self._leave)
            await self._serve(scope, receive, send, place)

    def _leave(self) -> None:
        self._free += 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send, place: ExitStack) -> None:
        if scope["method"] == "OPTIONS" and scope["path"] == "*":  # about the server as a whole (RFC 9110, 9.3.7)
            scope["path"] = "/"
            app: ASGIApp = Response(status_code=204, headers={"Allow": ", ".join(METHODS)})
        else:
            app = self._app
        malformed = _failure_of(request_target.normalize, scope)
        path: str = scope["path"]
        here = RequestContext(dialect=speaking(self._dialects, path), request_id=f"req_{secrets.token_hex(12)}")
        scope.setdefault("state", {})["context"] = here
        body = _Body(receive, Headers(scope=scope), self._uploads)
        status: int | None = None

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message["headers"])
                headers["X-Request-ID"] = here.request_id
                if message["status"] >= 400:
                    place.close()
                    if not await body.finish() or body.is_ambiguous:
                        headers["Connection"] = "close"
                message["headers"] = headers.raw
            elif status is not None and status >= 400 and not message.get("more_body") and body.is_unasked:
                # Some, such as Caddy, do not wait. To close the connection while they send would cost them the answer.
                await send({**message, "more_body": True})
                await body.drain()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        with (
            structlog.contextvars.bound_contextvars(request_id=here.request_id),
            self._monitor.request_span(Headers(scope=scope), here.request_id),
        ):
            try:
                refusal = malformed or _failure_of(self._let_in, scope)
                if refusal is None and self._turn_away and scope["method"] == "POST" and path in self._edits:
                    refusal = _failure_of(self._turn_away, Request(scope))
                if refusal is not None:
                    app = error_response(Request(scope, body.receive), refusal)
                await app(scope, body.receive, answer)
            except Exception as error:
                if status is not None and isinstance(error.__cause__, MatteboxError):
                    # What is left of a picture cannot be read, say because it was deleted meanwhile. The connection is
                    # cut, which tells the client that there should be more.
                    here.failure = error.__cause__
                    return
                unknown = MatteboxError(Kind.INTERNAL, "Something went wrong inside the server; its log says more.")
                unknown.__cause__ = error
                if status is not None:  # it is being answered already
                    here.failure = unknown
                    raise
                await error_response(Request(scope, body.receive), unknown)(scope, body.receive, answer)
            finally:
                if path not in _PROBES:
                    self._note(here, scope, path, STATUS[Kind.CANCELLED] if status is None else status)
                forget_frames(here.failure)

    def _note(self, here: RequestContext, scope: Scope, path: str, status: int) -> None:
        """Count a request that was answered, and write its line into the log."""
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        route = getattr(scope.get("route"), "path", path if path in self._edits else "other")
        failure = here.failure
        self._monitor.request(
            dialect=here.dialect.name,
            method=method,
            route=route,
            status=status,
            seconds=here.seconds,
            failure=None if failure is None else failure.kind,
        )
        fields: dict[str, object] = {
            "request_id": here.request_id,
            "dialect": here.dialect.name,
            "method": method,
            "route": route,
            "status": status,
            "seconds": round(here.seconds, 5),
            "key": here.account,
        }
        said = f"{method} {route} {status}"
        if failure is None:
            _log.info("%s", said, extra=fields)
            return
        fields |= {"kind": failure.kind.value, "parameter": _shown(failure.parameter)}
        said += f" {failure.kind.value}"
        match failure.kind:
            case Kind.INTERNAL:
                _log.error("%s: %s", said, failure.message, extra=fields, exc_info=failure.__cause__)
            case Kind.UNAVAILABLE:
                _log.error("%s: %s", said, reason(failure), extra=fields)
            case Kind.OVERLOADED:
                self._repeats.write((method, route, here.account), partial(_write_refusal, said, fields))
            case _:  # its sentence may repeat what the client has sent
                _log.info("%s", said, extra=fields)

    def _let_in(self, scope: Scope) -> None:
        """Take over what a proxy says about the request, and look at who sends it."""
        if self._free < 0 and scope["path"] not in _PROBES:  # a server that has much to do is well
            raise MatteboxError(Kind.OVERLOADED, "Too many requests; please try again in a moment.", retry_after=2)
        if _is_ambiguous(Headers(scope=scope)):
            raise MatteboxError(Kind.INVALID_REQUEST, "Content-Length and Transfer-Encoding exclude each other.")
        health = scope["path"] in _HEALTH
        if not health:
            self._check_host(scope)
        if request_target.forward(scope, self._proxies) and not health:
            # Both: a page of a name that resolves to this machine can write what it likes into the other header.
            self._check_host(scope)
        self._check_origin(scope)

    def _check_host(self, scope: Scope) -> None:
        if self._hosts and _hostname(Headers(scope=scope).get("host", "")) not in self._hosts:
            raise MatteboxError(
                Kind.FORBIDDEN,
                "This server is not known by the name in Host. Its operator can set MATTEBOX_HOSTS or MATTEBOX_KEYS.",
            )

    def _check_origin(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if origin is None or not self._keyless or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return
        own = (f"http://{host}".lower(), f"https://{host}".lower())
        if origin.lower() not in own and not self._origins & {"*", origin}:
            raise MatteboxError(
                Kind.FORBIDDEN,
                "A page of another site may not use a server that asks for no key. Its operator can set MATTEBOX_KEYS "
                "or MATTEBOX_CORS_ORIGINS.",
            )


def _failure_of(check: Callable[[_T], None], asked: _T) -> MatteboxError | None:
    try:
        check(asked)
    except MatteboxError as error:
        return error
    return None


def _write_refusal(said: str, fields: Mapping[str, object], repeated: int) -> None:
    if repeated:
        said, fields = f"{said}, {repeated} more", {**fields, "repeated": repeated}
    _log.info("%s", said, extra=fields)


def _tersely(send: Send) -> Send:
    """Log a sentence and no stack where the server cannot start for a reason that has one."""

    async def say(message: Message) -> None:
        error = sys.exception()
        if message["type"] == "lifespan.startup.failed" and isinstance(error, MatteboxError):
            message = {**message, "message": error.message}
        await send(message)

    return say


def _shown(parameter: str | None) -> str | None:
    """A parameter's name for the log. An unknown one is the client's, and may be anything."""
    return parameter if parameter is None or re.fullmatch(r"[\w.\[\]-]{1,40}", parameter) else "other"


def _is_ambiguous(headers: Headers) -> bool:
    """Whether the body has two ends, one of which a proxy may have believed, and behind which another request begins.

    RFC 9112, 6.3: it is refused, and the connection is closed.
    """
    return "content-length" in headers and "transfer-encoding" in headers


def _hostname(host: str) -> str:
    """The name in a Host header, without the port."""
    return re.sub(r":\d*$", "", host).strip("[]").rstrip(".").lower()


@final
class _Body:
    """A request's body on its way in."""

    def __init__(self, receive: Receive, headers: Headers, options: UploadOptions) -> None:
        self._receive = receive
        self.headers = headers
        self._idle = options.idle
        self._until = anyio.current_time() + options.timeout
        self._begun = False
        self._late = False
        self.is_ambiguous = _is_ambiguous(headers)
        self._ended = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        self._waits = headers.get("expect", "").lower() == "100-continue"

    async def receive(self) -> Message:
        """The next message.

        Raises:
            MatteboxError: UPLOAD_TIMED_OUT where the body does not go on, or has taken too long in all.
        """
        if self._ended:  # whoever asks now waits for the client to go away
            return await self._receive()
        left = self._until - anyio.current_time()
        if left > 0:
            with anyio.move_on_after(min(self._idle, left)):
                return await self._next()
        self._late = True
        raise MatteboxError(Kind.UPLOAD_TIMED_OUT, "The body did not arrive in time.")

    @property
    def is_unasked(self) -> bool:
        """Whether the client wants to be asked for the body, and was not."""
        return self._waits and not self._begun and not self._ended

    async def finish(self) -> bool:
        """Throw away what is left, within bounds; whether nothing is left."""
        if not self._late and not self.is_unasked:  # it is not coming; or the client listens before it sends
            await self.drain()
        return self._ended

    async def drain(self) -> None:
        """Throw away what arrives until the body or the connection ends, within bounds."""
        left = _DRAINED_BYTES
        with anyio.move_on_after(_DRAINED_SECONDS):
            while not self._ended and left > 0:
                left -= len((await self._next()).get("body", b""))

    async def _next(self) -> Message:
        message = await self._receive()
        self._begun = True
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._ended = True
        return message

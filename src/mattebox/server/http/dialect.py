"""The definition of a dialect: its vendor's routes, words and limits, and how failures are rendered in them.

A dialect translates: its vendor's fields into an `Edit`, an `Encoded` into its vendor's answer, a `Kind` into its
vendor's words. What it does between is in `actions`, the same for all of them.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias, TypeVar

import pydantic_core
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from mattebox.codec import Limits
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Encoded, Served
from mattebox.server.jobs.webhooks import WebhookBody
from mattebox.server.rates import RateLimitedError, RateState

STATUS: Mapping[Kind, int] = MappingProxyType(
    {
        Kind.INVALID_REQUEST: 400,
        Kind.UNSUPPORTED_ENCODING: 415,
        Kind.UPLOAD_TIMED_OUT: 408,
        Kind.INVALID_PARAMETER: 400,
        Kind.MISSING_IMAGE: 400,
        Kind.UNREADABLE_IMAGE: 400,
        Kind.NO_SUBJECT: 400,
        Kind.TOO_MANY_BYTES: 413,
        Kind.TOO_MANY_PIXELS: 413,
        Kind.UNREACHABLE_SOURCE: 400,
        Kind.MISSING_KEY: 401,
        Kind.INVALID_KEY: 401,
        Kind.FORBIDDEN: 403,
        Kind.OUT_OF_CREDITS: 402,
        Kind.NOT_FOUND: 404,
        Kind.CONFLICT: 409,
        Kind.OVERLOADED: 429,
        Kind.TIMED_OUT: 504,
        Kind.CANCELLED: 499,  # nobody reads it; it is what proxies write into their logs
        Kind.UNAVAILABLE: 503,
        Kind.NOT_OFFERED: 501,
        Kind.INTERNAL: 500,
    }
)
"""The status of each kind, where a dialect does not say otherwise."""

NO_LIMITS = Limits(max_bytes=sys.maxsize, max_pixels=sys.maxsize)
_Endpoint = TypeVar("_Endpoint", bound=Callable[[Request], Awaitable[Response]])
_EDIT_ENDPOINTS: Final[set[Callable[..., object]]] = set()
RenderError: TypeAlias = Callable[[MatteboxError, int, str], Response]
"""Writes a failure in a vendor's own form, from the failure, the status and the request's id."""


def api_key(request: Request) -> str | None:
    """The key in `x-api-key` or in `Authorization`, where clients write it with `Bearer` or without."""
    scheme, _, rest = request.headers.get("authorization", "").strip().partition(" ")
    bearer = rest.strip() if scheme.lower() == "bearer" else f"{scheme} {rest}".strip()
    return request.headers.get("x-api-key", "").strip() or bearer or None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dialect:
    """One vendor's words.

    Attributes:
        name: for logs.
        prefixes: beginnings of paths; failures below them are answered in this dialect, the longest match winning.
        router: its routes, with their whole paths.
        render_error: writes a failure.
        status: where it differs from `STATUS`.
        parameters: the vendor's name for a parameter that the engine blames by ours (`format`), where it differs.
        limits: the vendor's own; the narrower of these and the server's hold.
        key: reads the API key, and waits for nothing.
        webhook_body: writes a webhook's body, from a task that has ended and the address of its result, if it has one.
            Without it the dialect sends no webhooks.
        rate_headers: writes the headers of a key's rate limit, where the vendor has some; None is a key without one.
    """

    name: str
    prefixes: tuple[str, ...]
    router: APIRouter
    render_error: RenderError
    status: Mapping[Kind, int] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = NO_LIMITS
    key: Callable[[Request], str | None] = api_key
    webhook_body: WebhookBody | None = None
    rate_headers: Callable[[RateState | None], dict[str, str]] | None = None


def edit_endpoint(endpoint: _Endpoint) -> _Endpoint:
    """Say of an endpoint that photos for the networks are posted to it.

    Where there is no room for one, it is refused before anything else is done with the request. That saves most where
    the path has no parameters.
    """
    _EDIT_ENDPOINTS.add(endpoint)
    return endpoint


def is_edit(request: Request) -> bool:
    """Whether the request came to an `edit_endpoint`."""
    return request.scope["endpoint"] in _EDIT_ENDPOINTS


def paths_of_edits(dialects: Sequence[Dialect]) -> frozenset[str]:
    """The paths without parameters that photos for the networks are posted to."""
    routes = (route for each in dialects for route in each.router.routes if isinstance(route, APIRoute))
    return frozenset(route.path for route in routes if route.endpoint in _EDIT_ENDPOINTS and not route.param_convertors)


def speaking(dialects: Sequence[Dialect], path: str) -> Dialect:
    """The dialect that answers at `path`."""
    matches = [(len(prefix), each) for each in dialects for prefix in each.prefixes if path.startswith(prefix)]
    return max(matches, key=lambda match: match[0])[1]


@dataclass(slots=True, kw_only=True, eq=False)
class RequestContext:
    """One request: in which dialect, under which id, since when (`time.perf_counter`), and what came of it.

    `account` is the name of its key, or the id of its account where that has none, and `failure` is what it was refused
    with, as soon as these are known.
    """

    dialect: Dialect
    request_id: str
    begin: float = field(default_factory=time.perf_counter)
    account: str | None = None
    failure: MatteboxError | None = None

    @property
    def seconds(self) -> float:
        """Since the request's head was there."""
        return time.perf_counter() - self.begin

    @property
    def milliseconds(self) -> int:
        """The same in whole milliseconds."""
        return round(1000 * self.seconds)


def request_context(request: Request) -> RequestContext:
    """The context of this request."""
    found = request.scope["state"]["context"]
    if not isinstance(found, RequestContext):
        raise TypeError("the request has no context")
    return found


def error_response(request: Request, error: MatteboxError, *, status: int | None = None) -> Response:
    """A failure in the words of the request's dialect."""
    here = request_context(request)
    named = here.dialect.parameters.get(error.parameter or "")
    if named is not None:
        error = error.blaming(named)
    if status is None:
        status = here.dialect.status.get(error.kind, STATUS[error.kind])
    here.failure = error
    response = here.dialect.render_error(error, status, here.request_id)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    if here.dialect.rate_headers is not None:
        if isinstance(error, RateLimitedError):
            response.headers.update(here.dialect.rate_headers(error.state))
        elif hasattr(request.state, "rate"):
            response.headers.update(here.dialect.rate_headers(request.state.rate))
    return response


def reason(error: MatteboxError) -> str:
    """The sentence, and what is behind it, for the log."""
    cause = error.__cause__
    return error.message if cause is None or isinstance(cause, MatteboxError) else f"{error.message} ({cause!r})"


def json_response(
    value: object, *, status: int = 200, media_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer, written fast enough for pictures in base64."""
    return Response(pydantic_core.to_json(value), status_code=status, media_type=media_type, headers=headers)


BACKDROP_HEADERS = {
    "X-Mattebox-Backdrop": "what served the prompt, as in `scenes/warehouse-ramp`",
    "X-Mattebox-Backdrop-Score": "how well it matches, 0 to 1, if that is known",
    "X-Mattebox-Warning": "a sentence where it is not what was asked for",
}
"""The headers of `backdrop_headers`, for API docs."""


def backdrop_headers(served: Served | None) -> dict[str, str]:
    """The origin of a backdrop that was made for a prompt, and how well it matches; none for other results."""
    if served is None:
        return {}
    return {
        "X-Mattebox-Backdrop": served.backend if served.scene is None else f"{served.backend}/{served.scene}",
        **({} if served.score is None else {"X-Mattebox-Backdrop-Score": f"{served.score:.3f}"}),
        **({} if served.warning is None else {"X-Mattebox-Warning": served.warning}),
    }


def subject_header(encoded: Encoded) -> str:
    """The subject's box in the result, as `left,top,width,height`; `none` where no subject was found."""
    box = encoded.subject
    return "none" if box is None else f"{box.left},{box.top},{box.width},{box.height}"

"""Failures of the native API, as RFC 9457 has them."""

from __future__ import annotations

import http as standard

from starlette.responses import Response

from mattebox.errors import Kind, MatteboxError
from mattebox.server.http import dialect as http
from mattebox.server.http import openapi

PROBLEM = "application/problem+json"


def render_error(error: MatteboxError, status: int, request_id: str) -> Response:
    """A failure as RFC 9457 has it."""
    problem = {
        "type": "about:blank",
        "title": "Client Closed Request" if status == 499 else standard.HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "kind": error.kind.value,
        "parameter": error.parameter,
        "request_id": request_id,
    }
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return http.json_response(problem, status=status, media_type=PROBLEM, headers=headers)


def failures(*kinds: Kind, statuses: tuple[int, ...] = ()) -> openapi.Responses:
    """The failures of a route for the OpenAPI page: those of its key, these kinds, and requests refused by status."""
    described = openapi.errors(render_error, (Kind.MISSING_KEY, Kind.INVALID_KEY, *kinds))
    for status in statuses:
        described |= openapi.errors(render_error, (Kind.INVALID_REQUEST,), status={Kind.INVALID_REQUEST: status})
    return described

"""Failures in mattebox's own words, as RFC 9457 has them: what the dialects that are no vendor's answer with."""

from __future__ import annotations

import http as standard

from starlette.responses import Response

from mattebox.errors import Kind, MatteboxError
from mattebox.server.http import dialect as http
from mattebox.server.http import openapi

PROBLEM = "application/problem+json"

NO_KEY = (401, Kind.MISSING_KEY, "An API key is needed.")
"""The failure that every route has, for `failures`."""


def render_error(error: MatteboxError, status: int, request_id: str) -> Response:
    """A failure as RFC 9457 has it."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return http.json_response(_problem(error, status, request_id), status=status, media_type=PROBLEM, headers=headers)


def failures(*examples: tuple[int, Kind, str]) -> openapi.Responses:
    """The failures of a route for the OpenAPI page: for each status a kind and a sentence."""
    request_id = "req_5f0c1f6f7d1e4b0a9c3d2e1f"
    written = {status: _problem(MatteboxError(kind, text), status, request_id) for status, kind, text in examples}
    return openapi.failures(_ERROR, written, media_type=PROBLEM)


def _problem(error: MatteboxError, status: int, request_id: str) -> openapi.Schema:
    return {
        "type": "about:blank",
        "title": "Client Closed Request" if status == 499 else standard.HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "kind": error.kind.value,
        "parameter": error.parameter,
        "request_id": request_id,
    }


_ERROR = openapi.obj(
    {
        "type": openapi.plain("string", "always about:blank"),
        "title": openapi.plain("string", "the status in words"),
        "status": openapi.plain("integer", "the HTTP status"),
        "detail": openapi.plain("string", "one sentence"),
        "kind": openapi.word([kind.value for kind in Kind], "what went wrong, for programs"),
        "parameter": openapi.plain("string", "the parameter to blame", nullable=True),
        "request_id": openapi.plain("string", "as in the header `X-Request-ID`"),
    }
)

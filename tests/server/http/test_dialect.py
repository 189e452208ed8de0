from __future__ import annotations

import json
import re
from http import HTTPStatus

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import Route

from mattebox.errors import Kind, MatteboxError
from mattebox.server.app import find_dialects
from mattebox.server.http import dialect as http
from mattebox.server.http.dialect import STATUS, Dialect, RequestContext, api_key, speaking

DIALECTS = {each.name: each for each in find_dialects()}


def test_every_kind_has_a_status() -> None:
    assert set(STATUS) == set(Kind)


def request(headers: dict[str, str], path: str = "/") -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": path, "headers": raw, "query_string": b"", "state": {}})


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "k"},
        {"authorization": "k"},
        {"authorization": "Bearer k"},
        {"authorization": "bearer   k "},
        {"authorization": "", "x-api-key": " k "},
    ],
)
def test_a_key_is_found_in_both_headers_with_or_without_bearer(headers: dict[str, str]) -> None:
    assert api_key(request(headers)) == "k"


@pytest.mark.parametrize("headers", [{}, {"x-api-key": ""}, {"authorization": "Bearer"}, {"authorization": "Bearer "}])
def test_no_key_is_none(headers: dict[str, str]) -> None:
    assert api_key(request(headers)) is None


def test_the_longest_prefix_speaks() -> None:
    def dialect(name: str, *prefixes: str) -> Dialect:
        return Dialect(name=name, prefixes=prefixes, router=APIRouter(), render_error=DIALECTS["native"].render_error)

    known = [dialect("deep", "/v1/remove"), dialect("own", "/"), dialect("wide", "/v1/", "/v2/")]
    paths = {
        "/": "own",
        "/v1": "own",
        "/v1/": "wide",
        "/v1/remove": "deep",
        "/v1/removed": "deep",
        "/v2/remove": "wide",
    }
    assert {path: speaking(known, path).name for path in paths} == paths


# --- every kind in every dialect ---------------------------------------------------------------------------------

SHAPES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "native": {
        "type": str,
        "title": str,
        "status": int,
        "detail": str,
        "kind": str,
        "parameter": (str, type(None)),
        "request_id": str,
    },
    "novita": {"code": int, "reason": str, "message": str, "metadata": dict},
    "imgprocessing": {
        "type": str,
        "title": str,
        "error": str,
        "status": int,
        "detail": str,
        "message": str,
        "errors": list,
        "request_id": str,
    },
    "removebg": {"errors": list},
    "poof": {"code": str, "message": str, "details": (str, dict), "request_id": str},
    "photoroom": {"detail": str, "status_code": int, "type": str},
    "withoutbg": {"error": str, "detail": str},
    "clipdrop": {"error": str},
}


def test_every_dialect_has_a_shape_here() -> None:
    assert set(SHAPES) == set(DIALECTS)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_words_in_every_dialect(kind: Kind, name: str) -> None:
    asked = request({})
    asked.scope["state"]["context"] = RequestContext(dialect=DIALECTS[name], request_id="req_1")
    for parameter in (None, "size"):
        error = MatteboxError(kind, "A sentence for anyone.", parameter=parameter, retry_after=1.2)
        error.__cause__ = OSError("/etc/secret")
        response = http.error_response(asked, error)
        assert 400 <= response.status_code <= 504
        assert response.status_code == 499 or HTTPStatus(response.status_code)
        assert response.headers["retry-after"] == "2"
        assert "json" in response.headers["content-type"]
        assert b"secret" not in bytes(response.body)
        body = json.loads(bytes(response.body))
        assert body.keys() == SHAPES[name].keys()
        for key, expected in SHAPES[name].items():
            assert isinstance(body[key], expected), key
        if parameter:
            # remove.bg's words have no place for a parameter, but its codes name the one that is wrong.
            named = b'"invalid_size"' if name == "removebg" else b'"size[:"]'
            assert re.search(named, bytes(response.body)) or (name == "removebg" and kind is not Kind.INVALID_PARAMETER)


def test_a_failure_is_remembered_for_the_log_under_the_vendors_name_of_its_parameter() -> None:
    asked = request({})
    asked.scope["state"]["context"] = here = RequestContext(dialect=DIALECTS["novita"], request_id="req_77")
    named = next(iter(DIALECTS["novita"].parameters.items()))
    cause = OSError("disk on fire")
    error = MatteboxError(Kind.INVALID_PARAMETER, "No.", parameter=named[0])
    error.__cause__ = cause
    http.error_response(asked, error)
    assert here.failure is not None
    assert (here.failure.parameter, here.failure.__cause__) == (named[1], cause)


# --- addresses ---------------------------------------------------------------------------------------------------


def test_no_two_dialects_have_the_same_route_and_each_answers_below_its_own() -> None:
    owners: dict[tuple[str, str], str] = {}
    for name, each in DIALECTS.items():
        routes = [route for route in each.router.routes if isinstance(route, Route)]
        assert routes, name
        for route in routes:
            filled = re.sub(r"{[^}]*}", "x", route.path)
            for method in route.methods or ():
                assert owners.setdefault((method, filled), name) == name
            assert speaking(tuple(DIALECTS.values()), filled) is each, route.path


def test_every_route_is_on_the_page_of_documents_unless_it_is_kept_out() -> None:
    app = FastAPI()
    for each in DIALECTS.values():
        app.include_router(each.router)
    paths = app.openapi()["paths"]
    for each in DIALECTS.values():
        for route in each.router.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                assert {method.lower() for method in route.methods or ()} <= paths[route.path_format].keys()
    for path in ("/v1/segment", "/v1/remove-background", "/remove-background/v1", "/replace-background/v1"):
        assert "post" in paths[path]


# --- loading -----------------------------------------------------------------------------------------------------

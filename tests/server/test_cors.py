"""Pages of other sites: who may use the server from a browser, and that what they are answered can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from mattebox.image import RGB, Alpha
from mattebox.server.app import find_dialects
from mattebox.testing import FakeModels

Serve = Callable[..., TestClient]
APP = "https://app.example"
PHOTO = {"native": "/api/v1/remove", "removebg": "/v1.0/removebg", "photoroom": "/v1/segment", "poof": "/v1/remove"}


def preflight(client: TestClient, path: str, method: str = "POST", *, origin: str = APP, **more: str) -> Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "x-api-key, authorization, idempotency-key, content-type",
    }
    return client.options(path, headers=headers | {name.replace("_", "-"): value for name, value in more.items()})


def readable(answer: Response, origin: str = "*") -> bool:
    """Whether a browser shows it to the page, with all of its headers; never with cookies."""
    headers = answer.headers
    assert "access-control-allow-credentials" not in headers
    assert headers.get_list("access-control-allow-origin") in ([], [origin])
    assert "Origin" in headers["vary"]
    return "access-control-allow-origin" in headers and headers["access-control-expose-headers"] == "*"


def routes(client: TestClient) -> Iterator[tuple[str, str]]:
    paths: Mapping[str, Mapping[str, object]] = client.get("/openapi.json").json()["paths"]
    return ((path, method.upper()) for path, methods in paths.items() for method in methods)


def test_a_page_of_any_site_may_use_every_route_of_a_server_with_keys(serve: Serve) -> None:
    client = serve(keys=("k",))
    known = list(routes(client))
    assert {each.name for each in find_dialects() if any(path.startswith(each.prefixes) for path, _ in known)} == {
        each.name for each in find_dialects()
    }
    for path, method in known:
        asked = preflight(client, path, method, Access_Control_Request_Private_Network="true")
        assert asked.status_code == 200, path
        assert asked.headers["access-control-allow-origin"] == "*"
        assert method in asked.headers["access-control-allow-methods"].split(", ")
        assert asked.headers["access-control-allow-headers"].split(", ")[:2] == ["x-api-key", "authorization"]
        assert asked.headers["access-control-allow-private-network"] == "true"
        assert "access-control-allow-credentials" not in asked.headers


def test_every_failure_can_be_read(serve: Serve) -> None:
    client = serve(keys=("k",))
    for path, method in routes(client):
        answer = client.request(method, path, headers={"Origin": APP})
        assert readable(answer), path
        assert answer.status_code < 500 or path == "/"  # the studio, whose libraries need not be here


@pytest.mark.parametrize("name", PHOTO)
def test_failures_of_every_layer_can_be_read(name: str, serve: Serve, photo: bytes) -> None:
    def broken(photo: RGB) -> Alpha:
        raise ZeroDivisionError

    sent = {"Origin": APP, "x-api-key": "k"}

    def post(client: TestClient) -> Response:
        return client.post(PHOTO[name], files={"image" if name == "native" else "image_file": photo}, headers=sent)

    whole = post(serve(keys=("k",)))
    assert (whole.status_code, readable(whole)) == (200, True)
    spent = serve(keys=("k",), accounts={"credits": 1})
    post(spent)
    for client, statuses in (
        (serve(keys=("k",), models=FakeModels(broken)), {500}),
        (serve(keys=("k",), limits={"max_bytes": 100}), {400, 413}),
        (serve(keys=("k",), hosts=("elsewhere",)), {403}),
        (serve(keys=("other",)), {401, 403}),
        (spent, {402}),
    ):
        answer = post(client)
        assert (answer.status_code in statuses, readable(answer)) == (True, True), answer.text


def test_a_server_without_keys_is_closed_to_other_sites(serve: Serve, photo: bytes) -> None:
    client = serve(public_url="https://cutout.example/under")
    for name, path in PHOTO.items():
        assert "access-control-allow-origin" not in preflight(client, path).headers, name
        answer = client.post(path, files={"image": photo, "image_file": photo}, headers={"Origin": APP})
        assert (answer.status_code, readable(answer)) == (403, False), name
    assert not readable(client.get("/api/v1/models", headers={"Origin": APP}))
    for own in ("http://testserver", "https://testserver", "https://cutout.example"):
        answer = client.post("/api/v1/remove", content=photo, headers={"Origin": own})
        assert answer.status_code == 200
    nobody = {"Origin": "null", "Host": ""}
    assert client.post("/api/v1/remove", content=photo, headers=nobody).status_code == 403


@pytest.mark.parametrize("keys", [(), ("k",)])
def test_the_sites_that_are_named_may_and_no_others(keys: tuple[str, ...], serve: Serve, photo: bytes) -> None:
    client = serve(keys=keys, cors_origins=f"{APP}, http://localhost:3000")
    client.headers["x-api-key"] = "k"
    for origin in (APP, "http://localhost:3000"):
        asked = preflight(client, "/api/v1/remove", origin=origin)
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, origin)
        answer = client.post("/api/v1/remove", content=photo, headers={"Origin": origin})
        assert (answer.status_code, readable(answer, origin)) == (200, True)
    for origin in ("https://evil.example", "http://app.example", f"{APP}.evil.example", "null"):
        assert "access-control-allow-origin" not in preflight(client, "/api/v1/remove", origin=origin).headers
        answer = client.post("/api/v1/remove", content=photo, headers={"Origin": origin})
        assert (answer.status_code, readable(answer)) == (200 if keys else 403, False)


def test_a_server_without_keys_can_be_opened(serve: Serve, photo: bytes) -> None:
    client = serve(cors_origins="*")
    assert preflight(client, "/v1/segment").status_code == 200
    answer = client.post("/api/v1/remove", content=photo, headers={"Origin": APP})
    assert (answer.status_code, readable(answer)) == (200, True)

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime

import numpy as np
import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from mattebox import codec
from mattebox.image import RGB, Alpha
from mattebox.testing import FakeModels

PATH = "/v1/remove-background"
Serve = Callable[..., TestClient]


def post(client: TestClient, photo: bytes, query: str = "", media_type: str = "image/png") -> Response:
    answer = client.post(PATH + query, content=photo, headers={"Content-Type": media_type})
    assert answer.status_code == 200, answer.text
    return answer


def refused(answer: Response) -> tuple[int, str]:
    found = answer.json()
    assert set(found) == {"error", "detail"}
    assert found["error"] == found["detail"]
    return answer.status_code, found["error"]


def test_bytes_in_and_a_cutout_out(client: TestClient, photo: bytes) -> None:
    answer = post(client, photo)
    assert answer.headers["content-type"] == "image/png"
    assert int(answer.headers["x-latency-ms"]) >= 0
    assert answer.headers["x-mattebox-subject"] == "50,19,98,121"
    image = codec.decode(answer.content)
    assert (image.width, image.height) == (200, 150)
    assert image.alpha is not None
    assert image.alpha[0, 0] == 0
    assert image.alpha.max() == 1


@pytest.mark.parametrize("query", ["?output=matte", "?output=MATTE"])
def test_the_matte_is_a_grey_picture_of_the_same_size(query: str, client: TestClient, photo: bytes) -> None:
    matte = codec.decode(post(client, photo, query).content)
    cutout = codec.decode(post(client, photo).content)
    assert matte.alpha is None
    assert cutout.alpha is not None
    assert np.array_equal(matte.rgb[..., 0], np.rint(cutout.alpha * 255).astype(np.uint8))
    assert np.array_equal(matte.rgb[..., 0], matte.rgb[..., 2])


@pytest.mark.parametrize("query", ["?output=cutout", "?output=processed", "?output=", "?output=undefined", "?size=1"])
def test_the_cutout_is_the_default(query: str, client: TestClient, photo: bytes) -> None:
    assert post(client, photo, query).content == post(client, photo).content


@pytest.mark.parametrize("media_type", ["image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_the_body_is_a_picture_whatever_its_type_says(media_type: str, client: TestClient, photo: bytes) -> None:
    assert post(client, photo, media_type=media_type).content == post(client, photo).content


def test_forms(client: TestClient, photo: bytes) -> None:
    for query in ("", "?output=matte"):
        answer = client.post(PATH + query, files={"image": ("photo.jpg", photo, "image/jpeg")})
        assert answer.content == post(client, photo, query).content


def test_json_is_answered_with_both(client: TestClient, photo: bytes) -> None:
    text = base64.b64encode(photo).decode()
    for sent in (text, f"data:image/png;base64,{text}"):
        answer = client.post(PATH, json={"image": sent})
        found = answer.json()
        assert set(found) == {"processed", "alphaMatte", "latencyMs"}
        assert found["latencyMs"] == int(answer.headers["x-latency-ms"])
        for name, query in (("processed", ""), ("alphaMatte", "?output=matte")):
            head, _, data = found[name].partition(",")
            assert head == "data:image/png;base64"
            assert base64.b64decode(data) == post(client, photo, query).content


def test_json_for_a_picture_that_is_all_subject(serve: Serve, photo: bytes) -> None:
    def everything(photo: RGB) -> Alpha:
        return np.ones((8, 8), np.float32)

    found = serve(models=FakeModels(everything)).post(PATH, json={"image": base64.b64encode(photo).decode()}).json()
    matte = codec.decode(base64.b64decode(found["alphaMatte"].partition(",")[2]))
    assert (matte.width, matte.height, matte.rgb.min()) == (200, 150, 255)


def test_what_the_gimp_plug_in_asks_for(client: TestClient, photo: bytes) -> None:
    """It looks at /health first, and shows what it finds there; it needs no key."""
    health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert client.get("/ready").status_code == 200
    answer = post(client, photo, "?output=matte")
    assert answer.content.startswith(b"\x89PNG")
    assert answer.headers["x-latency-ms"].isdecimal()


def test_without_a_picture(client: TestClient) -> None:
    for answer in (
        client.post(PATH, content=b""),
        client.post(PATH, files={"picture": b"x"}),
        client.post(PATH, json={}),
        client.post(PATH, json={"image": ""}),
    ):
        status, said = refused(answer)
        assert (status, said[:16]) == (400, "Send the picture")


def test_what_is_wrong_is_named(client: TestClient, photo: bytes) -> None:
    for query in ("?output=mask", "?output=both"):
        answer = client.post(PATH + query, content=photo)
        assert refused(answer) == (400, "output must be one of cutout, processed, matte.")
    status, said = refused(client.post(PATH, content=b"a letter"))
    assert (status, said.partition(":")[0]) == (400, "image")
    assert refused(client.post(PATH, json={"image": "?"}))[0] == 400
    assert refused(client.post(PATH, content=b"{", headers={"Content-Type": "application/json"}))[0] == 400
    assert refused(client.get(PATH))[0] == 405


@pytest.mark.parametrize("field", ["keep_mask", "remove_mask"])
def test_strokes_are_refused_by_name(field: str, client: TestClient, photo: bytes) -> None:
    status, said = refused(client.post(PATH, files={"image": photo, field: photo}))
    assert (status, said.partition(":")[0]) == (501, field)
    encoded = base64.b64encode(photo).decode()
    assert refused(client.post(PATH, json={"image": encoded, field: encoded}))[0] == 501


def test_keys_limits_and_credits(serve: Serve, photo: bytes) -> None:
    client = serve(keys=("k",), accounts={"credits": 1}, limits={"max_bytes": 200_000})
    assert refused(client.post(PATH, content=photo)) == (401, "An API key is needed.")
    client.headers["X-API-Key"] = "k"
    assert refused(client.post(PATH, content=bytes(200_001)))[0] == 413
    assert client.post(PATH, content=photo).status_code == 200
    assert refused(client.post(PATH, content=photo))[0] == 402


def test_it_is_not_answered_in_the_words_of_a_shorter_path(client: TestClient) -> None:
    """Another dialect has /v1/remove."""
    assert set(client.post("/v1/remove", content=b"").json()) != {"error", "detail"}
    assert refused(client.post(PATH, content=b""))[0] == 400


# --- the cloud's API ---------------------------------------------------------------------------------------------

CUTOUT = "/v1.0/image-without-background"
MATTE = "/v1.0/alpha-channel"


@pytest.mark.parametrize(
    ("path", "query", "member"),
    [(CUTOUT, "", "img_without_background_base64"), (MATTE, "?output=matte", "alpha_base64")],
)
def test_the_cloud_answers_what_the_local_server_does(
    path: str, query: str, member: str, client: TestClient, photo: bytes
) -> None:
    expected = post(client, photo, query).content
    for field in ("file", "image"):  # both are in use
        answer = client.post(path, files={field: ("photo.jpg", photo, "image/jpeg")})
        assert (answer.content, answer.headers["content-type"]) == (expected, "image/png")
        assert answer.headers["x-mattebox-subject"] == "50,19,98,121"
    text = base64.b64encode(photo).decode()
    for field, sent in (("image_base64", text), ("image", f"data:image/png;base64,{text}")):
        answer = client.post(f"{path}-base64", json={field: sent})
        assert answer.headers["x-mattebox-subject"] == "50,19,98,121"
        found = answer.json()
        assert set(found) == {member}
        assert base64.b64decode(found[member]) == expected


def test_a_picture_without_a_subject_has_an_empty_matte(serve: Serve, photo: bytes) -> None:
    client = serve(models=FakeModels(lambda _: np.zeros((8, 8), np.float32)))
    answer = client.post(f"{MATTE}-base64", json={"image_base64": base64.b64encode(photo).decode()})
    assert (answer.status_code, answer.headers["x-mattebox-subject"]) == (200, "none")
    assert codec.decode(base64.b64decode(answer.json()["alpha_base64"])).rgb.max() == 0


def test_what_the_cloud_is_sent_wrongly(client: TestClient, photo: bytes) -> None:
    for path, field in ((CUTOUT, "file"), (f"{CUTOUT}-base64", "image_base64")):
        matte = path.replace(CUTOUT, MATTE)
        for address in (path, matte):
            assert refused(client.post(address, content=b"")) == (400, refused(client.post(address))[1])
            assert field in refused(client.post(address))[1]
            assert refused(client.get(address))[0] == 405
            assert refused(client.post(f"{address}-hd", content=photo))[0] == 404
    status, said = refused(client.post(CUTOUT, files={"file": b"a letter"}))
    assert (status, said.partition(":")[0]) == (400, "file")
    for wrong in ("?", "", None, 7, base64.b64encode(b"a letter").decode()):
        status, said = refused(client.post(f"{MATTE}-base64", json={"image_base64": wrong}))
        assert (status, "image_base64" in said) == (400, True)


def test_the_cloud_wants_a_key_and_counts_credits(serve: Serve, photo: bytes) -> None:
    client = serve(keys=("k",), accounts={"credits": 2}, limits={"max_bytes": 200_000})
    body = {"image_base64": base64.b64encode(photo).decode()}
    for key, words in ((None, "An API key is needed."), ("x", "This API key is not known.")):
        headers = {} if key is None else {"X-API-Key": key}
        for answer in (
            client.post(f"{MATTE}-base64", json=body, headers=headers),
            client.post(CUTOUT, files={"file": photo}, headers=headers),
            client.get("/available-credit", headers=headers),
            client.get("/v1/models", headers=headers),
        ):
            assert refused(answer) == (401, words)
    client.headers["X-API-Key"] = "k"
    for left in (2, 1):
        assert client.get("/available-credit").json() == {"credit": left, "expiration_date": "9999-12-31 23:59:59"}
        assert client.post(f"{MATTE}-base64", json=body).status_code == 200
    assert client.get("/available-credit").json()["credit"] == 0
    assert refused(client.post(f"{MATTE}-base64", json=body))[0] == 402
    assert client.get("/v1/models").status_code == 200


def test_without_a_limit_there_is_credit_forever(client: TestClient) -> None:
    found = client.get("/available-credit").json()
    assert found["credit"] == 2**31 - 1
    assert datetime.strptime(found["expiration_date"], "%Y-%m-%d %H:%M:%S").year == 9999


def test_the_models_are_the_one_that_is_used(serve: Serve) -> None:
    assert serve(model="u2netp").get("/v1/models").json() == {"models": [{"name": "u2netp"}]}

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from mattebox import codec
from mattebox.backdrops import BackdropOptions, Backdrops
from mattebox.edit import Output
from mattebox.image import Image
from mattebox.testing import FakeBackdrops

PATH = "/api/v1/replace"
Serve = Callable[..., TestClient]
MEASURES = {"image", "media_type", "width", "height", "subject", "confidence", "ambiguity", "corrections"}


@pytest.fixture
def replacing(serve: Serve) -> TestClient:
    """A server whose generator paints each prompt in a colour."""
    return serve(backdrops=FakeBackdrops())


def fine(answer: Response) -> Image:
    assert answer.status_code == 200, answer.text
    return codec.decode(answer.content)


def refused(answer: Response) -> tuple[int, str, str | None]:
    found = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(found) == {"type", "title", "status", "detail", "kind", "parameter", "request_id"}
    assert (found["status"], found["request_id"]) == (answer.status_code, answer.headers["x-request-id"])
    return answer.status_code, found["kind"], found["parameter"]


def corner(image: Image) -> tuple[int, int, int]:
    red, green, blue = (int(channel) for channel in image.rgb[2, 2])
    return red, green, blue


def test_a_prompt_is_matched_once(serve: Serve, photo: bytes, matched: list[str], tmp_path: Path) -> None:
    scenes = Backdrops(BackdropOptions(directory=tmp_path, packs=tmp_path / "packs"), fetch_when_used=False)
    fine(serve(backdrops=scenes).post(PATH, content=photo, params={"prompt": "on a wooden table"}))
    assert matched == ["on a wooden table"]


def test_every_way_in_gives_the_same_picture(replacing: TestClient, photo: bytes) -> None:
    options = {"prompt": "in a warehouse", "seed": "3", "size": "100", "format": "png", "nearest": "false"}
    text = base64.b64encode(photo).decode()
    typed = options | {"seed": 3, "size": 100, "nearest": False}
    answers = [
        replacing.post(PATH, files={"image": photo}, data=options),
        replacing.post(PATH, files={"image": photo}, params=options),
        replacing.post(PATH, json={"image": text} | typed),
        replacing.post(PATH, json={"image": "data:image/png;base64," + text}, params=options),
        replacing.post(PATH, content=photo, params=options, headers={"content-type": "image/png"}),
    ]
    image = fine(answers[0])
    assert (image.width, image.height, image.alpha) == (100, 75, None)
    assert corner(image) == FakeBackdrops.color("in a warehouse", 3)
    assert {answer.content for answer in answers} == {answers[0].content}
    headers = answers[0].headers
    assert headers["x-mattebox-backdrop"] == "fake/color"
    assert headers["x-mattebox-backdrop-score"] == "1.000"
    assert (headers["x-image-width"], headers["x-image-height"]) == ("100", "75")
    assert 0 < float(headers["x-mattebox-confidence"]) <= 1
    assert int(headers["x-processing-time-ms"]) >= 0
    assert headers["x-request-id"].startswith("req_")
    assert headers["vary"] == "Accept, Origin"


def test_inside_json_it_says_where_the_backdrop_came_from(replacing: TestClient, photo: bytes) -> None:
    def ask(**options: str) -> Response:
        return replacing.post(PATH, content=photo, params=options, headers={"accept": "application/json"})

    found = ask(prompt="on a beach").json()
    assert set(found) == MEASURES | {"backdrop"}
    assert found["backdrop"] == {"backend": "fake", "scene": "color", "score": 1.0, "warning": None}
    assert corner(codec.decode(base64.b64decode(found["image"]))) == FakeBackdrops.color("on a beach")
    assert found["subject"]["width"] > 0
    answer = ask(prompt="elsewhere")
    warning = "Nothing here shows this; somewhere is the nearest."
    assert answer.json()["backdrop"] == {"backend": "fake", "scene": "somewhere", "score": 0.25, "warning": warning}
    assert answer.headers["x-mattebox-warning"] == warning
    assert set(ask(background="red").json()) == MEASURES


@pytest.mark.parametrize(("accept", "media_type"), [("image/webp", "image/webp"), ("image/avif", "image/avif")])
def test_accept_chooses_the_format(accept: str, media_type: str, replacing: TestClient, photo: bytes) -> None:
    answer = replacing.post(PATH, content=photo, params={"prompt": "x"}, headers={"accept": accept})
    assert answer.headers["content-type"] == media_type
    answer = replacing.post(
        PATH, content=photo, params={"prompt": "x", "format": "jpeg", "quality": "60"}, headers={"accept": accept}
    )
    assert answer.headers["content-type"] == "image/jpeg"
    assert max(np.abs(np.subtract(corner(fine(answer)), FakeBackdrops.color("x")))) < 12


def test_other_backgrounds_are_as_when_it_is_removed(replacing: TestClient, photo: bytes) -> None:
    blue = np.zeros((30, 40, 3), np.uint8)
    blue[..., 2] = 255
    picture = codec.encode(Image(rgb=blue), Output())
    asked: list[dict[str, object]] = [
        {"background": "#00f"},
        {"background_image": base64.b64encode(picture).decode()},
        {"background_blur": 4},
        {"background_gradient": "90 #fff #ccd", "shadow": "drop"},
        {"background": "blue", "shadow": "drop", "shadow_opacity": 0.4},
        {"background": "blue", "crop": True, "margin": "10%", "size": 64},
    ]
    for options in asked:
        body = {"image": base64.b64encode(photo).decode()} | options
        answer = replacing.post(PATH, json=body)
        assert fine(answer).alpha is None
        assert answer.content == replacing.post("/api/v1/remove", json=body).content, options
        assert "x-mattebox-backdrop" not in answer.headers
    form = replacing.post(PATH, files={"image": photo, "background_image": picture})
    assert corner(fine(form)) == (0, 0, 255)


def test_the_layout_comes_before_the_scene(replacing: TestClient, photo: bytes) -> None:
    options = {"prompt": "x", "crop": "true", "width": "120", "height": "90"}
    image = fine(replacing.post(PATH, content=photo, params=options))
    assert (image.width, image.height) == (120, 90)
    assert max(np.abs(np.subtract(corner(image), FakeBackdrops.color("x")))) < 4  # the subject's own grain is on it


@pytest.mark.parametrize(
    ("options", "parameter"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "  "}, "prompt"),
        ({"prompt": "x" * 2001}, "prompt"),
        ({"prompt": "x", "background": "red"}, "background"),
        ({"prompt": "x", "background_blur": "3"}, "background_blur"),
        ({"prompt": "x", "background_gradient": "red blue"}, "background_gradient"),
        ({"prompt": "x", "background_image_url": "http://example.com/a.png"}, "background_image_url"),
        ({"background": "red", "background_blur": "3"}, "background_blur"),
        ({"prompt": "x", "shadow": "drop"}, "shadow"),
        ({"prompt": "x", "alpha_only": "true"}, "alpha_only"),
        ({"background": "red", "seed": "3"}, "seed"),
        ({"background": "red", "generator": "auto"}, "generator"),
        ({"background": "red", "nearest": "true"}, "nearest"),
        ({"seed": "3"}, "seed"),
        ({"prompt": "x", "seed": "three"}, "seed"),
        ({"prompt": "x", "seed": str(2**63)}, "seed"),
        ({"prompt": "x", "generator": "dall-e"}, "generator"),
        ({"prompt": "x", "nearest": "perhaps"}, "nearest"),
        ({"prompt": "x", "promt": "x"}, "promt"),
        ({"prompt": "x", "format": "gif"}, "format"),
        ({"prompt": "nowhere"}, "prompt"),
        ({"prompt": "elsewhere", "nearest": "0"}, "prompt"),
    ],
)
def test_refusals(options: dict[str, str], parameter: str, replacing: TestClient, photo: bytes) -> None:
    assert refused(replacing.post(PATH, content=photo, params=options)) == (400, "invalid_parameter", parameter)


def test_what_two_backgrounds_are_answered_with(replacing: TestClient, photo: bytes) -> None:
    answer = replacing.post(PATH, content=photo, params={"prompt": "x", "background": "red"})
    assert answer.json()["detail"].startswith("background cannot be combined with prompt.")
    answer = replacing.post(PATH, content=photo)
    assert answer.json()["detail"].startswith("prompt is required, or one of background")


def test_pictures_that_are_refused(replacing: TestClient, photo: bytes) -> None:
    assert refused(replacing.post(PATH, params={"prompt": "x"}))[1:] == ("missing_image", "image")
    assert refused(replacing.post(PATH, content=b"a letter", params={"prompt": "x"}))[1] == "unreadable_image"
    both = {"image": base64.b64encode(photo).decode(), "image_url": "http://example.com/a.png", "prompt": "x"}
    assert refused(replacing.post(PATH, json=both)) == (400, "invalid_parameter", "image_url")
    wrong = replacing.post(PATH, content=photo, params={"prompt": "x"}, headers={"content-type": "text/csv"})
    assert refused(wrong)[0] == 415
    wrong = replacing.post(PATH, content=photo, params={"prompt": "x"}, headers={"accept": "text/csv"})
    assert refused(wrong)[0] == 406
    assert refused(replacing.get(PATH))[0] == 405


def test_generators_that_are_not_there(client: TestClient, replacing: TestClient, photo: bytes) -> None:
    found = refused(replacing.post(PATH, content=photo, params={"prompt": "x", "generator": "openai"}))
    assert found == (501, "not_offered", "generator")
    # A server without any still takes the other backgrounds.
    assert refused(client.post(PATH, content=photo, params={"prompt": "x"})) == (501, "not_offered", "prompt")
    assert corner(fine(client.post(PATH, content=photo, params={"background": "red"}))) == (255, 0, 0)


def test_it_is_paid_for_once_under_one_key(serve: Serve, photo: bytes) -> None:
    client = serve(backdrops=FakeBackdrops(), keys=("k",), accounts={"credits": 2})
    assert refused(client.post(PATH, content=photo, params={"prompt": "x"}))[0] == 401
    client.headers |= {"x-api-key": "k", "idempotency-key": "one"}
    first, again = (client.post(PATH, content=photo, params={"prompt": "x"}) for _ in range(2))
    assert first.content == again.content
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-mattebox-backdrop"] == "fake/color"
    other = client.post(PATH, content=photo, params={"prompt": "y"})
    assert refused(other)[1] == "invalid_parameter"
    assert client.get("/api/v1/me").json()["used"] == 1
    del client.headers["idempotency-key"]
    assert refused(client.post(PATH, content=photo, params={"prompt": "nowhere"}))[0] == 400
    assert client.get("/api/v1/me").json()["used"] == 1
    fine(client.post(PATH, content=photo, params={"prompt": "x"}))
    assert refused(client.post(PATH, content=photo, params={"prompt": "x"}))[:2] == (402, "out_of_credits")


def test_with_the_real_studios(serve: Serve, photo: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    nothing = tmp_path_factory.mktemp("nothing")
    options = BackdropOptions(directory=nothing, packs=nothing)
    client = serve(backdrops=Backdrops(options, fetch_when_used=False))
    answer = client.post(PATH, content=photo, params={"prompt": "on a wooden table", "generator": "scenes"})
    assert (fine(answer).width, answer.headers["x-mattebox-backdrop"]) == (200, "studio/wood")
    missing = client.post(PATH, content=photo, params={"prompt": "in a warehouse"})
    assert refused(missing) == (503, "unavailable", "prompt")
    assert "`mattebox scenes pull warehouse`" in missing.json()["detail"]


def test_the_page_says_what_there_is(client: TestClient) -> None:
    route = client.get("/openapi.json").json()["paths"][PATH]["post"]
    body = route["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert {"prompt", "seed", "generator", "nearest", "background", "size"} <= set(body)
    assert {each["name"] for each in route["parameters"]} >= {"prompt", "image_url", "Idempotency-Key"}
    assert {"200", "400", "501", "503"} <= set(route["responses"])
    assert "X-Mattebox-Backdrop" in route["responses"]["200"]["headers"]

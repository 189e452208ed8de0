from __future__ import annotations

import base64
import importlib
import io
import json
import zipfile
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from httpx2 import Response
from starlette.testclient import TestClient
from tests.server.dialects.conftest import Receiver

from mattebox import codec
from mattebox.edit import (
    Blur,
    Canvas,
    Edit,
    Fit,
    Foreground,
    Layout,
    Length,
    Margin,
    Matte,
    Output,
    Region,
    Shadow,
    ShadowKind,
)
from mattebox.engine import Engine
from mattebox.image import RGB, Alpha, Image
from mattebox.models import CATALOGUE, Segmenter
from mattebox.server.dialects import native
from mattebox.testing import FakeModels, FakeSegmenter

PATH = "/api/v1/remove"
Serve = Callable[..., TestClient]


def fine(answer: Response) -> Image:
    assert answer.status_code == 200, answer.text
    return codec.decode(answer.content)


def refused(answer: Response) -> tuple[int, str, str | None]:
    found = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(found) == {"type", "title", "status", "detail", "kind", "parameter", "request_id"}
    assert (found["status"], found["request_id"]) == (answer.status_code, answer.headers["x-request-id"])
    return answer.status_code, found["kind"], found["parameter"]


OPTIONS = {
    "crop": "true",
    "size": "60",
    "background": "#0000ff",
    "format": "png",
    "refine": "false",
    "foreground": "keep",
}


def ways(client: TestClient, photo: bytes, options: dict[str, str]) -> list[Response]:
    """The same request in every way there is."""
    text = base64.b64encode(photo).decode()
    typed = {name: int(value) if value.isdecimal() else value for name, value in options.items()}
    return [
        client.post(PATH, files={"image": photo}, data=options),
        client.post(PATH, files={"image": ("x.txt", photo, "text/plain")}, params=options),
        client.post(PATH, json={"image": text} | typed),
        client.post(PATH, json={"image": "data:image/png;base64," + text}, params=options),
        client.post(PATH, content=photo, params=options, headers={"content-type": "image/png"}),
        client.post(PATH, content=photo, params=options, headers={"content-type": "application/octet-stream"}),
        client.post(PATH, content=photo, params=options),
    ]


def test_every_way_in_gives_the_same_picture(client: TestClient, photo: bytes) -> None:
    answers = ways(client, photo, OPTIONS)
    image = fine(answers[0])
    assert image.height == 60
    assert image.alpha is None
    assert tuple(image.rgb[0, 0]) == (0, 0, 255)
    assert {answer.content for answer in answers} == {answers[0].content}


def test_the_default_is_a_png_with_alpha_and_its_measures(client: TestClient, photo: bytes) -> None:
    answer = client.post(PATH, content=photo)
    image = fine(answer)
    assert image.alpha is not None
    assert (image.alpha[0, 0], image.alpha[75, 96]) == (0, 1)
    headers = answer.headers
    assert headers["content-type"] == "image/png"
    assert headers["x-mattebox-subject"] == "50,19,98,121"
    assert (headers["x-image-width"], headers["x-image-height"]) == ("200", "150")
    assert 0 < float(headers["x-mattebox-confidence"]) <= 1
    assert 0 <= float(headers["x-mattebox-ambiguity"]) < 1
    assert int(headers["x-processing-time-ms"]) >= 0


def test_the_body_comes_before_the_query(client: TestClient, photo: bytes) -> None:
    answer = client.post(PATH, files={"image": photo}, data={"format": "webp"}, params={"format": "png", "size": "50"})
    assert (answer.headers["content-type"], answer.headers["x-image-width"]) == ("image/webp", "50")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "image/png"),
        ("", "image/png"),
        ("image/*", "image/png"),
        ("image/webp", "image/webp"),
        ("image/jpeg", "image/jpeg"),
        ("image/avif", "image/avif"),
        ("application/zip", "application/zip"),
        ("application/json", "application/json"),
        ("application/json, text/plain, */*", "image/png"),
        ("application/json, */*;q=0.5", "application/json"),
        ("image/png;q=0.5, image/webp;q=0.8", "image/webp"),
        ("image/webp;q=0.5, image/*;q=0.9", "image/png"),
        ("image/png;q=0, image/*;q=0.1", "image/webp"),
        ("text/html, IMAGE/AVIF;Q=0.9, */*;q=0.8", "image/avif"),
        ("image/png;q=nonsense, image/jpeg;q=0.1", "image/jpeg"),
        ("image/apng, image/*", "image/png"),
    ],
)
def test_accept_chooses(accept: str, media_type: str, client: TestClient, photo: bytes) -> None:
    answer = client.post(PATH, content=photo, headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    assert answer.headers["vary"] == "Accept, Origin"


def test_a_named_format_comes_before_accept(client: TestClient, photo: bytes) -> None:
    for accept in ("image/png", "text/html", "*/*"):
        answer = client.post(PATH, content=photo, params={"format": "jpg"}, headers={"accept": accept})
        assert answer.headers["content-type"] == "image/jpeg"
    inside = client.post(PATH, content=photo, params={"format": "webp"}, headers={"accept": "application/json"})
    assert inside.json()["media_type"] == "image/webp"


def test_where_nothing_fits(client: TestClient, photo: bytes) -> None:
    answer = client.post(PATH, content=photo, headers={"accept": "text/html, */*;q=0"})
    assert refused(answer) == (406, "invalid_request", None)
    assert "image/webp" in answer.json()["detail"]


def test_json_says_it_all(client: TestClient, photo: bytes) -> None:
    found = client.post(PATH, content=photo, headers={"accept": "application/json"}).json()
    image = codec.decode(base64.b64decode(found.pop("image"), validate=True))
    assert (image.width, image.height) == (found.pop("width"), found.pop("height")) == (200, 150)
    assert found.pop("subject") == {"left": 50, "top": 19, "width": 98, "height": 121}
    assert 0 < found.pop("confidence") <= 1
    assert 0 <= found.pop("ambiguity") < 1
    assert found == {"media_type": "image/png", "corrections": None}


def test_without_a_subject(serve: Serve, photo: bytes) -> None:
    def nothing(photo: RGB) -> Alpha:
        return np.zeros((8, 8), np.float32)

    client = serve(models=FakeModels(nothing))
    answer = client.post(PATH, content=photo, params={"crop": "true"})
    assert answer.headers["x-mattebox-subject"] == "none"
    assert fine(answer).width == 200
    assert client.post(PATH, content=photo, headers={"accept": "application/json"}).json()["subject"] is None


def test_the_matte_alone_and_the_archive(client: TestClient, photo: bytes) -> None:
    matte = fine(client.post(PATH, content=photo, params={"alpha_only": "1"}))
    assert matte.alpha is None
    assert (matte.rgb[0, 0, 0], matte.rgb[75, 96, 0]) == (0, 255)
    archive = client.post(PATH, content=photo, params={"format": "zip"})
    with zipfile.ZipFile(io.BytesIO(archive.content)) as opened:
        assert opened.namelist() == ["color.jpg", "alpha.png"]
    assert refused(client.post(PATH, content=photo, params={"format": "zip", "alpha_only": "1"})) == (
        400,
        "invalid_parameter",
        "format",
    )


def test_quality_reaches_the_file(client: TestClient, photo: bytes) -> None:
    low, high = (
        len(client.post(PATH, content=photo, params={"format": "jpeg", "quality": quality}).content)
        for quality in ("20", "95")
    )
    assert low < high / 2


class Named(FakeModels):
    """Knows every name, and remembers which were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def segmenter(self, name: str) -> Segmenter:
        self.asked.append(name)
        return super().segmenter("auto")


def test_a_network_is_chosen_by_its_name_and_auto_is_the_servers_own(serve: Serve, photo: bytes) -> None:
    models = Named()
    client = serve(models=models, model="modnet-photographic")
    for params in ({}, {"model": "auto"}, {"model": "u2netp"}):
        fine(client.post(PATH, content=photo, params=params))
    assert models.asked == ["modnet-photographic", "modnet-photographic", "u2netp"]
    found = {row["name"]: row for row in client.get("/api/v1/models").json()["models"]}
    assert list(found) == list(CATALOGUE)
    assert [name for name, row in found.items() if row["default"]] == ["modnet-photographic"]
    assert found["auto"]["licence"] == "Apache-2.0"
    assert found["rmbg-2.0"]["commercial"] is False
    assert found["best"]["network"] == "birefnet-general"
    assert found["best"]["memory"] == 8_400_000_000
    assert found["best"]["licence"] == "MIT"
    assert found["auto"]["network"] is None


@pytest.mark.parametrize("name", ["u2net:/etc/passwd", "birefnet:../x.onnx", "nothing"])
def test_no_stranger_names_a_file_of_the_server(name: str, serve: Serve, photo: bytes) -> None:
    models = Named()
    answer = serve(models=models).post(PATH, content=photo, params={"model": name})
    assert models.asked == []
    assert refused(answer) == (400, "invalid_parameter", "model")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "tiff"),
        ("quality", "0"),
        ("quality", "101"),
        ("quality", "high"),
        ("background", "greenish"),
        ("crop", "yes"),
        ("size", "0"),
        ("size", "-5"),
        ("size", "99999999999999999999"),
        ("alpha_only", "2"),
        ("refine", "maybe"),
        ("foreground", "magic"),
        ("backgruond", "red"),
        ("background_image", "no base64!"),
        ("background_image_url", "file:///etc/passwd"),
        ("background_blur", "0"),
        ("background_gradient", "red"),
        ("background_blur", "nan"),
        ("shadow", "long"),
        ("shadow_opacity", "1.5"),
        ("shadow_opacity", "0.5"),
        ("roi", "1 2 3"),
        ("roi", "0 0 300px 100"),
        ("roi", "0 0 0 0"),
        ("margin", "10px"),
        ("ratio", "4:3"),
        ("scale", "80"),
        ("position", "left"),
        ("width", "0"),
        ("height", "100000"),
        ("fit", "cover"),
        ("semitransparency", "some"),
    ],
)
def test_what_is_wrong_is_named_in_every_way_in(name: str, value: str, client: TestClient, photo: bytes) -> None:
    for answer in ways(client, photo, {name: value}):
        assert refused(answer) == (400, "invalid_parameter", name)


def test_a_misspelt_picture_is_named(client: TestClient, photo: bytes) -> None:
    text = base64.b64encode(photo).decode()
    for answer in (client.post(PATH, json={"imge": text}), client.post(PATH, files={"imge": photo})):
        assert refused(answer) == (400, "invalid_parameter", "imge")
        assert answer.json()["detail"] == "Unknown parameter 'imge'. Did you mean image?"
    assert refused(client.post(PATH, json={})) == (400, "missing_image", "image")


def test_a_picture_that_a_form_leaves_empty_is_absent(client: TestClient) -> None:
    for empty in ("", "  "):
        assert refused(client.post(PATH, data={"image": empty})) == (400, "missing_image", "image")
        assert refused(client.post(PATH, files={"image": (None, empty)})) == (400, "missing_image", "image")
        both = {"image": empty, "image_url": "http://127.0.0.1/x.jpg"}
        assert refused(client.post(PATH, data=both)) == (400, "unreachable_source", "image_url")


def test_a_picture_may_come_as_a_plain_text_field_of_a_form(client: TestClient, photo: bytes) -> None:
    same([client.post(PATH, files={"image": photo}), client.post(PATH, files={"image": (None, photo)})])


def test_an_address_is_fetched_only_where_it_may(client: TestClient) -> None:
    url = {"image_url": "http://127.0.0.1/x.jpg"}
    for answer in (client.post(PATH, json=url), client.post(PATH, data=url), client.post(PATH, params=url)):
        assert refused(answer) == (400, "unreachable_source", "image_url")
    assert refused(client.post(PATH, json={"image_url": "file:///etc/passwd"})) == (
        400,
        "invalid_parameter",
        "image_url",
    )


def test_other_bodies_are_named(client: TestClient) -> None:
    assert refused(client.post(PATH, content=b"a,b", headers={"content-type": "text/csv"})) == (
        415,
        "invalid_request",
        None,
    )


# --- layout, shadow and what is behind ---------------------------------------------------------------------------


def png(color: tuple[int, int, int], *, width: int = 40, height: int = 30) -> bytes:
    return codec.encode(Image(rgb=np.full((height, width, 3), color, np.uint8)), Output())


def same(answers: Sequence[Response]) -> Response:
    """All these answers are one picture."""
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert len({answer.content for answer in answers}) == 1
    return answers[0]


@pytest.mark.parametrize(
    ("options", "layout"),
    [
        ({"crop": "true", "margin": "10px"}, Layout(crop=True, margin=Margin(*[Length(10)] * 4))),
        (
            {"crop": "1", "margin": "10% 5px", "ratio": "1:1"},
            Layout(crop=True, ratio=(1, 1), margin=Margin(*[Length(10, percent=True), Length(5)] * 2)),
        ),
        ({"scale": "50%", "position": "0% 100%"}, Layout(scale=0.5, position=(0, 1))),
        ({"position": "center", "size": "80"}, Layout(position=(0.5, 0.5), max_side=80)),
        ({"width": "90", "height": "90", "fit": "cover"}, Layout(canvas=Canvas(width=90, height=90, fit=Fit.COVER))),
        ({"height": "60"}, Layout(canvas=Canvas(height=60))),
        (
            {"roi": "0 0 50% 100%"},
            Layout(
                roi=Region(Length(0), Length(0), Length(50, percent=True), Length(100, percent=True)),
            ),
        ),
    ],
)
def test_the_words_of_a_layout(options: dict[str, str], layout: Layout, client: TestClient, photo: bytes) -> None:
    expected = Engine(FakeModels()).run_file(Edit(layout=layout), photo)
    assert same(ways(client, photo, options)).content == expected.data


def test_shadows_and_glass(client: TestClient, photo: bytes) -> None:
    engine = Engine(FakeModels())
    for options, edit in (
        ({"shadow": "cast"}, Edit(shadow=Shadow(kind=ShadowKind.CAST))),
        (
            {"shadow": "drop", "shadow_opacity": "0.25"},
            Edit(shadow=Shadow(kind=ShadowKind.DROP, opacity=0.25)),
        ),
        ({"shadow": "none"}, Edit()),
        ({"semitransparency": "false"}, Edit(matte=Matte(semitransparency=False))),
    ):
        assert same(ways(client, photo, options)).content == engine.run_file(edit, photo).data


def test_a_picture_behind_comes_as_a_file_or_in_base64(client: TestClient, photo: bytes) -> None:
    behind = png((0, 200, 0))
    text = base64.b64encode(behind).decode()
    image = base64.b64encode(photo).decode()
    answer = same(
        [
            client.post(PATH, files={"image": photo, "background_image": behind}),
            client.post(PATH, files={"image": photo}, data={"background_image": text}),
            client.post(PATH, json={"image": image, "background_image": text}),
            client.post(PATH, json={"image": image, "background_image": f"data:image/png;base64,{text}"}),
            client.post(PATH, content=photo, params={"background_image": text}),
        ]
    )
    assert tuple(fine(answer).rgb[0, 0]) == (0, 200, 0)
    assert fine(answer).alpha is None


def test_a_picture_behind_is_fetched(serve: Serve, receiver: Receiver, photo: bytes) -> None:
    receiver.files["/behind.png"] = png((0, 0, 200))
    client = serve(fetch={"allow_private": True})
    url = receiver.address + "/behind.png"
    answer = client.post(PATH, content=photo, params={"background_image_url": url})
    assert tuple(fine(answer).rgb[0, 0]) == (0, 0, 200)


def test_the_photos_own_background_blurred(client: TestClient, photo: bytes) -> None:
    answer = same(ways(client, photo, {"background_blur": "3.5"}))
    expected = Engine(FakeModels()).run_file(Edit(backdrop=Blur(3.5)), photo)
    assert answer.content == expected.data
    assert fine(answer).alpha is None


def test_a_gradient_behind(client: TestClient, photo: bytes) -> None:
    answer = same(ways(client, photo, {"background_gradient": "90deg, rgb(255, 0, 0), #00f"}))
    rgb = fine(answer).rgb
    np.testing.assert_allclose(rgb[0, 0], (255, 0, 0), atol=3)
    np.testing.assert_allclose(rgb[0, -1], (0, 0, 255), atol=3)
    assert fine(answer).alpha is None


def test_what_is_wrong_with_the_picture_behind_is_blamed_on_it(client: TestClient, photo: bytes) -> None:
    for behind in (b"rubbish", photo[:200]):
        answer = client.post(PATH, files={"image": photo, "background_image": behind})
        assert refused(answer) == (400, "unreadable_image", "background_image")
    url = "http://127.0.0.1/x.jpg"
    answer = client.post(PATH, content=photo, params={"background_image_url": url})
    assert refused(answer) == (400, "unreachable_source", "background_image")


@pytest.mark.parametrize(
    ("options", "blamed"),
    [
        ({"background": "red", "background_blur": "3"}, "background_blur"),
        ({"background": "red", "background_gradient": "red blue"}, "background_gradient"),
        ({"background_blur": "3", "background_image_url": "https://example.com/x.png"}, "background_blur"),
        ({"background": "red", "background_image": "AAAA"}, "background_image"),
        ({"background_image": "AAAA", "background_image_url": "https://example.com/x"}, "background_image_url"),
    ],
)
def test_two_backgrounds_are_refused(options: dict[str, str], blamed: str, client: TestClient, photo: bytes) -> None:
    for answer in ways(client, photo, options):
        assert refused(answer) == (400, "invalid_parameter", blamed)
    image = {"background_image": png((1, 2, 3))}
    answer = client.post(PATH, files={"image": photo} | image, params={"background": "red"})
    assert refused(answer) == (400, "invalid_parameter", "background_image")


def test_a_result_that_would_be_absurd_is_refused(client: TestClient, photo: bytes) -> None:
    answer = client.post(PATH, content=photo, params={"width": "30000", "height": "30000"})
    assert refused(answer) == (400, "invalid_parameter", "size")
    answer = client.post(PATH, content=photo, params={"crop": "1", "margin": "501%"})
    assert refused(answer) == (400, "invalid_parameter", "margin")


def test_another_picture_behind_is_another_request(client: TestClient, photo: bytes) -> None:
    key = {"Idempotency-Key": "b"}
    for number, behind in enumerate([png((0, 200, 0)), png((0, 200, 0)), png((200, 0, 0))]):
        answer = client.post(PATH, files={"image": photo, "background_image": behind}, headers=key)
        if number < 2:
            assert tuple(fine(answer).rgb[0, 0]) == (0, 200, 0)
        else:
            assert refused(answer) == (400, "invalid_parameter", "Idempotency-Key")


def test_a_missing_key_says_how_to_send_one(serve: Serve) -> None:
    answer = serve(keys=("k",)).get("/api/v1/me")
    assert refused(answer) == (401, "missing_key", None)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_usage(serve: Serve, photo: bytes) -> None:
    client = serve(keys=("k",), accounts={"credits": 5})
    client.headers["Authorization"] = "Bearer k"
    fine(client.post(PATH, content=photo))
    found = client.get("/api/v1/me").json()
    assert found == {"account": found["account"], "used": 1, "allowed": 5}


def test_idempotency(client: TestClient, photo: bytes) -> None:
    key = {"Idempotency-Key": "a"}
    first = client.post(PATH, content=photo, headers=key)
    inside = client.post(PATH, files={"image": photo}, headers=key | {"accept": "application/json"})
    assert inside.headers["idempotent-replayed"] == "true"
    assert base64.b64decode(inside.json()["image"]) == first.content


def test_every_option_is_described_and_read(client: TestClient, photo: bytes) -> None:
    described = client.get("/openapi.json").json()["paths"][PATH]["post"]
    form = described["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    query = {each["name"]: each["schema"] for each in described["parameters"] if each["in"] == "query"}
    assert set(form) - set(query) == {"image", "background_image"}
    assert form["background_image"]["format"] == "binary"
    # What says something about another option only, with that option.
    with_others = {"fit": {"width": "50"}}
    assert {answer.status_code for name in query for answer in ways(client, photo, {name: "\x01"})} == {400}
    for name, schema in form.items():
        for value in schema.get("enum", ()):
            if name != "model" and value != Foreground.MULTILEVEL:
                params = {name: value} | with_others.get(name, {})
                fine_or_zip = client.post(PATH, content=photo, params=params)
                assert fine_or_zip.status_code == 200
    assert native.DIALECT.prefixes == ("/",)


@pytest.mark.slow
def test_the_foreground_that_needs_a_package_is_read(client: TestClient, photo: bytes) -> None:
    importlib.import_module("pymatting")  # compiles itself for longer than a request may take under load
    fine(client.post(PATH, content=photo, params={"foreground": Foreground.MULTILEVEL}))


@pytest.mark.parametrize("path", [PATH, "/api/v1/replace"])
def test_a_cutout_is_kept(serve: Serve, path: str) -> None:
    disc = np.hypot(*(np.mgrid[:90, :120] - np.array([45, 60])[:, None, None])) < 30
    white = Image(rgb=np.full((90, 120, 3), 255, np.uint8), alpha=disc.astype(np.float32))
    blind = FakeModels(FakeSegmenter(answer=np.zeros((8, 8), np.float32)))
    photo, options = codec.encode(white, Output()), {"background": "#0000ff", "format": "png"}
    answer = serve(models=blind).post(path, content=photo, params=options)
    assert answer.headers["x-mattebox-subject"] != "none"
    np.testing.assert_array_equal(fine(answer).rgb, np.where(disc[:, :, None], 255, (0, 0, 255)))


STROKE = {"points": [[0.05, 0.05]], "size": 0.1, "hardness": 1.0}


def test_corrections_come_in_every_way(client: TestClient, photo: bytes) -> None:
    wanted = {"strokes": [STROKE, STROKE | {"points": [[0.5, 0.5]], "keep": False}], "points": [{"x": 0.48, "y": 0.6}]}
    text = base64.b64encode(photo).decode()
    answers = [
        *ways(client, photo, {"corrections": json.dumps(wanted)}),
        client.post(PATH, json={"image": text, "corrections": wanted}),
    ]
    for answer in answers:
        alpha = fine(answer).alpha
        assert alpha is not None
        assert (alpha[7, 10], alpha[75, 100], alpha[100, 96]) == (1, 0, 1)
        assert answer.headers["x-mattebox-corrections"] == "parts"
    told = client.post(PATH, json={"image": text, "corrections": wanted}, headers={"accept": "application/json"})
    assert told.json()["corrections"] == "parts"
    strokes = client.post(PATH, json={"image": text, "corrections": {"strokes": [STROKE]}})
    assert "x-mattebox-corrections" not in strokes.headers


@pytest.mark.parametrize(
    "value", [7, [], {"stroke": []}, {"strokes": [STROKE | {"size": "wide"}]}, {"box": [1, 0, 0, 1]}, "{", "[" * 1000]
)
def test_corrections_that_cannot_be_meant_are_refused(client: TestClient, photo: bytes, value: object) -> None:
    text = base64.b64encode(photo).decode()
    answer = client.post(PATH, json={"image": text, "corrections": value})
    assert refused(answer) == (400, "invalid_parameter", "corrections")
    assert "corrections" in answer.json()["detail"]


def test_corrections_save_a_photo_without_a_subject(serve: Serve, photo: bytes) -> None:
    client = serve(models=FakeModels(FakeSegmenter(answer=np.zeros((8, 8), np.float32))))
    answer = client.post(
        PATH, content=photo, params={"corrections": json.dumps({"strokes": [STROKE | {"points": [[0.05, 0.1]]}]})}
    )
    assert fine(answer).width == 200
    assert answer.headers["x-mattebox-subject"] == "0,5,20,20"

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from mattebox import codec
from mattebox.edit import Edit, Format, Output, Prompt
from mattebox.errors import MatteboxError
from mattebox.image import RGB, Alpha, Image
from mattebox.server.dialects.base import UNLIMITED
from mattebox.server.dialects.clipdrop import Replacement, to_edit
from mattebox.server.http.bodies import read_values
from mattebox.sources import Upload
from mattebox.testing import FakeBackdrops, FakeModels

REMOVE = "/remove-background/v1"
REPLACE = "/replace-background/v1"
Serve = Callable[..., TestClient]


def ask(client: TestClient, photo: bytes, accept: str = "*/*", **form: str) -> tuple[Image, Response]:
    answer = client.post(REMOVE, files={"image_file": ("photo.jpg", photo)}, data=form, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return codec.decode(answer.content), answer


def refused(answer: Response) -> tuple[int, str]:
    found = answer.json()
    assert set(found) == {"error"}
    return answer.status_code, found["error"]


@pytest.fixture
def see_through(photo: bytes) -> bytes:
    """The photo with a hole in the middle, where its subject is, and with its colours still there."""
    image = codec.decode(photo)
    alpha = np.ones(image.rgb.shape[:2], np.float32)
    alpha[60:90, 80:120] = 0
    return codec.encode(Image(rgb=image.rgb, alpha=alpha), Output())


# --- remove-background -------------------------------------------------------------------------------------------


def test_a_cutout_and_what_it_cost(client: TestClient, photo: bytes) -> None:
    image, answer = ask(client, photo)
    assert image.alpha is not None
    assert (image.width, image.height, image.alpha[0, 0]) == (200, 150, 0)
    headers = answer.headers
    assert headers["content-type"] == "image/png"
    assert (headers["x-remaining-credits"], headers["x-credits-consumed"]) == (str(UNLIMITED), "1")
    assert headers["x-mattebox-subject"] == "50,19,98,121"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("image/webp", "image/webp"),
        ("image/jpeg", "image/jpeg"),
        ("image/jpg", "image/jpeg"),
        ("IMAGE/PNG", "image/png"),
        ("image/*", "image/png"),
        ("application/json, text/plain, */*", "image/png"),
        ("image/avif,image/webp,image/apng,*/*;q=0.8", "image/webp"),
        ("image/png;q=0.5, image/jpeg;q=0.9", "image/jpeg"),
        ("image/webp;q=0", "image/png"),
        ("image/webp;q=much, image/jpeg;q=0.1", "image/jpeg"),
        ("image/gif", "image/png"),
        ("", "image/png"),
    ],
)
def test_accept_decides_the_format(accept: str, media_type: str, client: TestClient, photo: bytes) -> None:
    image, answer = ask(client, photo, accept)
    assert answer.headers["content-type"] == media_type
    if media_type == "image/jpeg":
        assert image.rgb[0, 0].min() >= 252


def test_a_picture_that_is_transparent_comes_back(client: TestClient, see_through: bytes) -> None:
    for form in ({}, {"transparency_handling": ""}, {"transparency_handling": "return_input_if_non_opaque"}):
        image, answer = ask(client, see_through, **form)
        sent = codec.decode(see_through)
        assert sent.alpha is not None
        assert image.alpha is not None
        assert np.array_equal(image.alpha, sent.alpha)
        assert np.array_equal(image.rgb[sent.alpha > 0], sent.rgb[sent.alpha > 0])
        assert answer.headers["x-credits-consumed"] == "0"
        assert "x-mattebox-subject" not in answer.headers
    assert ask(client, see_through, "image/webp")[1].headers["content-type"] == "image/webp"
    flat, _ = ask(client, see_through, "image/jpeg")
    assert flat.rgb[75, 100].min() >= 252


def test_transparency_can_be_discarded(client: TestClient, see_through: bytes) -> None:
    image, answer = ask(client, see_through, transparency_handling="discard_alpha_layer")
    assert image.alpha is not None
    assert image.alpha[0, 0] == 0
    assert image.alpha[60:90, 80:120].min() > 0.5  # the hole is closed
    assert answer.headers["x-credits-consumed"] == "1"
    assert answer.headers["x-mattebox-subject"].count(",") == 3


def test_an_alpha_channel_that_hides_nothing_is_none(client: TestClient, photo: bytes) -> None:
    image = codec.decode(photo)
    opaque = codec.encode(Image(rgb=image.rgb, alpha=np.ones(image.rgb.shape[:2], np.float32)), Output())
    assert ask(client, opaque)[1].content == ask(client, photo)[1].content


def test_a_jpeg_is_cut_out(client: TestClient, photo: bytes) -> None:
    jpeg = codec.encode(codec.decode(photo), Output(format=Format.JPEG))
    image, answer = ask(client, jpeg)
    assert image.alpha is not None
    assert (image.alpha[0, 0], answer.headers["x-credits-consumed"]) == (0, "1")


def test_no_subject_is_an_empty_cutout(serve: Serve, photo: bytes) -> None:
    def nothing(photo: RGB) -> Alpha:
        return np.zeros((8, 8), np.float32)

    image, answer = ask(serve(models=FakeModels(nothing)), photo)
    assert image.alpha is not None
    assert (image.alpha.max(), answer.headers["x-mattebox-subject"]) == (0, "none")


def test_what_is_wrong_is_named(serve: Serve, photo: bytes) -> None:
    client = serve(backdrops=FakeBackdrops())
    answer = client.post(REMOVE, files={"image_file": photo}, data={"transparency_handling": "keep"})
    assert refused(answer)[0] == 400
    assert "transparency_handling" in refused(answer)[1]
    for path in (REMOVE, REPLACE):
        for sent in ({"data": {"prompt": "x"}}, {"json": {"image": "Zm9v"}}, {"content": b""}):
            assert refused(client.post(path, **sent)) == (
                400,
                "Send the picture as multipart/form-data, in the field image_file.",
            )
        status, said = refused(client.post(path, files={"image_file": b"a letter"}))
        assert (status, said.partition(":")[0]) == (400, "image_file")
        assert refused(client.get(path))[0] == 405
    assert refused(client.post("/remove-background/v2"))[0] == 404


def test_keys_credits_and_limits(serve: Serve, photo: bytes, see_through: bytes) -> None:
    client = serve(keys=("k",), accounts={"credits": 2}, limits={"max_bytes": 200_000})
    files = {"image_file": photo}
    assert refused(client.post(REMOVE, files=files)) == (401, "An API key is needed.")
    assert refused(client.post(REMOVE, files=files, headers={"x-api-key": "wrong"}))[0] == 403
    client.headers["x-api-key"] = "k"
    assert refused(client.post(REMOVE, files={"image_file": bytes(200_001)}))[0] == 400
    assert ask(client, photo)[1].headers["x-remaining-credits"] == "1"
    assert ask(client, see_through)[1].headers["x-remaining-credits"] == "1"
    assert ask(client, photo)[1].headers["x-remaining-credits"] == "0"
    assert refused(client.post(REMOVE, files=files)) == (402, "This key has no credits left.")


def test_the_vendors_limits_hold(client: TestClient) -> None:
    wide = codec.encode(Image(rgb=np.zeros((5000, 5001, 3), np.uint8)), Output())
    status, said = refused(client.post(REMOVE, files={"image_file": wide}))
    assert (status, "25,000,000" in said) == (400, True)
    status, said = refused(client.post(REPLACE, files={"image_file": bytes(20 * 2**20 + 1)}))
    assert (status, "20,971,520" in said) == (400, True)
    assert "20,971,520" not in refused(client.post(REMOVE, files={"image_file": bytes(20 * 2**20 + 1)}))[1]


# --- replace-background ------------------------------------------------------------------------------------------


def test_a_scene_and_who_made_it(serve: Serve, photo: bytes) -> None:
    client = serve(backdrops=FakeBackdrops())
    for form, prompt in (({"prompt": " a green wall "}, "a green wall"), ({"prompt": ""}, ""), ({}, "")):
        answer = client.post(REPLACE, files={"image_file": photo}, data=form)
        assert answer.status_code == 200, answer.text
        headers = answer.headers
        assert headers["content-type"] == "image/jpeg"
        assert headers["x-mattebox-backdrop"] == "fake/color"
        assert float(headers["x-mattebox-backdrop-score"]) == 1
        assert (headers["x-remaining-credits"], headers["x-credits-consumed"]) == (str(UNLIMITED), "1")
        assert headers["x-mattebox-subject"].count(",") == 3
        image = codec.decode(answer.content)
        assert (image.width, image.height) == (200, 150)
        assert np.abs(image.rgb[2, 2].astype(int) - FakeBackdrops.color(prompt)).max() <= 4
    webp = client.post(REPLACE, files={"image_file": photo}, headers={"Accept": "image/webp"})
    assert webp.headers["content-type"] == "image/webp"
    elsewhere = client.post(REPLACE, files={"image_file": photo}, data={"prompt": "elsewhere"})
    assert (elsewhere.status_code, elsewhere.headers["content-type"]) == (200, "image/jpeg")
    assert elsewhere.headers["x-mattebox-backdrop"] == "fake/somewhere"
    assert elsewhere.headers["x-mattebox-warning"] == "Nothing here shows this; somewhere is the nearest."
    status, said = refused(client.post(REPLACE, files={"image_file": photo}, data={"prompt": "nowhere"}))
    assert (status, said.partition(":")[0]) == (400, "prompt")
    assert client.get("/v1/me").json()["usedCredits"] == 5  # what was refused costs nothing


def test_without_a_generator_it_is_not_offered(client: TestClient, photo: bytes) -> None:
    answer = client.post(REPLACE, files={"image_file": photo}, data={"prompt": "a beach"})
    assert refused(answer) == (501, "Backdrops from prompts are not available here.")


def replacement(accept: str = "", **form: str) -> Edit:
    given = read_values(Replacement, {"image_file": b"a photo", **form}, max_bytes=7)
    assert given.photo_source == Upload(b"a photo")
    return to_edit(given, accept)


def test_words_become_an_edit() -> None:
    jpeg = Output(format=Format.JPEG)
    assert replacement(prompt="  a beach at noon ") == Edit(backdrop=Prompt("a beach at noon"), output=jpeg)
    assert replacement() == Edit(backdrop=Prompt(""), output=jpeg)
    assert replacement("image/png").output == Output(format=Format.PNG)
    with pytest.raises(MatteboxError) as caught:
        replacement(prompt="x" * 9000)
    assert caught.value.parameter == "prompt"

from __future__ import annotations

import json
import logging

import numpy as np
import numpy.typing as npt
import pytest
from tests.backdrops.generators.server import (
    BLUE,
    HEIGHT,
    KEY,
    WIDTH,
    WORK,
    Server,
    b64,
    failure,
    go_on,
    openai,
    picture,
    plate,
    says,
    subject,
)

from mattebox import codec
from mattebox.backdrops.generators import painting
from mattebox.backdrops.generators.openai import OpenAIImages
from mattebox.edit import Format, Output
from mattebox.errors import Kind
from mattebox.image import Image


def painted_box() -> tuple[slice, slice]:
    """Where the box lies at the size that is sent, less a pixel of rounding at each side."""
    (width, height), edge = WORK, 5
    rows = slice(50 * height // HEIGHT + edge, 150 * height // HEIGHT - edge)
    return rows, slice(100 * width // WIDTH + edge, 180 * width // WIDTH - edge)


def check_sketch(sent: Image, painted: npt.NDArray[np.bool_]) -> None:
    """The box is red and stays; all round it is grey and is painted."""
    assert (sent.width, sent.height) == WORK
    assert sent.alpha is None
    assert painted.shape == (WORK[1], WORK[0])
    rows, columns = painted_box()
    assert not painted[rows, columns].any()
    assert np.abs(sent.rgb[rows, columns].astype(int) - (200, 30, 30)).max() <= 3
    outside = np.ones_like(painted)
    outside[rows.start - 11 : rows.stop + 11, columns.start - 11 : columns.stop + 11] = False
    assert painted[outside].all()
    assert (sent.rgb[outside] == 128).all()
    assert 0.85 < (~painted).mean() / (100 * 80 / (WIDTH * HEIGHT)) <= 1


def test_openai_edit(server: Server) -> None:
    server.replies["/v1/images/edits"] = openai(picture(*WORK))
    got = plate(OpenAIImages(server.url, key=KEY, model="klein"), subject())
    (seen,) = server.seen
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    form = seen.form()
    assert form.keys() == {*("image", "mask", "prompt", "n", "size", "response_format", "model", "seed")}
    assert form["prompt"] == b"in a warehouse"
    assert form["n"] == b"1"
    assert form["size"] == b"1232x816"
    assert form["response_format"] == b"b64_json"
    assert form["model"] == b"klein"
    assert form["seed"] == b"7"
    mask = codec.decode(form["mask"])
    assert mask.alpha is not None
    assert set(np.unique(mask.alpha)) == {0.0, 1.0}
    check_sketch(codec.decode(form["image"]), mask.alpha == 0)
    assert got.finished
    assert got.horizon is None
    assert got.rgb.shape == (HEIGHT, WIDTH, 3)
    assert (got.rgb == BLUE).all()
    assert got.served.backend == "openai"
    assert got.served.warning is None


def test_openai_generation_without_a_subject(server: Server) -> None:
    server.replies["/v1/images/generations"] = openai(picture(*WORK))
    got = plate(OpenAIImages(server.url + "/v1/", model="klein"), None)
    (seen,) = server.seen
    assert "authorization" not in seen.headers
    assert seen.json() == {
        "prompt": "in a warehouse",
        "n": 1,
        "size": "1232x816",
        "response_format": "b64_json",
        "model": "klein",
        "seed": 7,
    }
    assert not got.finished
    assert got.horizon == 0.5
    assert got.light.strength == 0.35


def test_no_words_ask_for_a_studio(server: Server) -> None:
    server.replies["/v1/images/generations"] = openai(picture(*WORK))
    OpenAIImages(server.url).plate(" ", None, width=WIDTH, height=HEIGHT, seed=0, checkpoint=go_on)
    assert server.seen[0].json()["prompt"] == painting.PLAIN


@pytest.mark.parametrize("status", [404, 405, 501])
def test_missing_edits_are_remembered(server: Server, status: int, caplog: pytest.LogCaptureFixture) -> None:
    server.replies["/v1/images/edits"] = says(b"{}", status)
    server.replies["/v1/images/generations"] = openai(picture(*WORK))
    generator = OpenAIImages(server.url)
    with caplog.at_level(logging.WARNING):
        assert not plate(generator, subject()).finished
        assert not plate(generator, subject()).finished
    assert server.paths == ["/v1/images/edits", "/v1/images/generations", "/v1/images/generations"]
    assert len(caplog.records) == 1


def test_a_wrong_address_is_not_remembered(server: Server) -> None:
    generator = OpenAIImages(server.url)
    error = failure(generator, subject())
    assert error.kind is Kind.UNAVAILABLE
    assert server.paths == ["/v1/images/edits", "/v1/images/generations"]
    server.replies["/v1/images/edits"] = openai(picture(*WORK))
    assert plate(generator, subject()).finished


def test_a_data_address_is_a_picture(server: Server) -> None:
    body = json.dumps({"data": [{"b64_json": "data:image/png;base64," + b64(picture(64, 64))}]}).encode()
    server.replies["/v1/images/generations"] = says(body)
    assert (plate(OpenAIImages(server.url), None).rgb == BLUE).all()


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_another_size_of_the_same_proportions_is_stretched(server: Server) -> None:
    half = np.zeros((408, 616, 3), np.uint8)
    half[:, 308:] = 255
    server.replies["/v1/images/edits"] = openai(codec.encode(Image(rgb=half), Output()))
    got = plate(OpenAIImages(server.url), subject())
    assert got.rgb.shape == (HEIGHT, WIDTH, 3)
    assert got.rgb[:, :148].max() == 0
    assert got.rgb[:, 152:].min() == 255
    assert got.served.warning is None


@pytest.mark.parametrize("cutout", [None, subject()])
def test_other_proportions_are_cut_from_the_middle(server: Server, cutout: Image | None) -> None:
    square = np.zeros((600, 600, 3), np.uint8)
    square[100:500] = 255  # 600 by 400 of it are 3:2
    for path in ("/v1/images/edits", "/v1/images/generations"):
        server.replies[path] = openai(codec.encode(Image(rgb=square), Output()))
    got = plate(OpenAIImages(server.url), cutout)
    assert got.rgb.shape == (HEIGHT, WIDTH, 3)
    assert got.rgb.min() > 250
    assert (got.served.warning is not None) is (cutout is not None)


def test_a_jpeg_is_a_picture_too(server: Server) -> None:
    jpeg = codec.encode(Image(rgb=np.full((64, 96, 3), 90, np.uint8)), Output(format=Format.JPEG))
    server.replies["/v1/images/generations"] = openai(jpeg)
    assert np.abs(plate(OpenAIImages(server.url), None).rgb.astype(int) - 90).max() <= 2

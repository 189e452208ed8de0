"""IMG Processing: what each transform does to the pixels."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.server.dialects.imgprocessing.conftest import (
    NOISE,
    PATH,
    PICTURE,
    TRANSFORMS,
    Json,
    Serve,
    flat,
    kept,
    png,
    start,
    transformed,
    upload,
)

from mattebox.image import RGB


@pytest.mark.parametrize(
    ("word", "body", "expected"),
    [
        ("convert", {"format": "png"}, NOISE),
        ("convert", {"format": "webp", "quality": 100}, NOISE),
        ("convert", {"format": "PNG", "quality": 7}, NOISE),
        ("crop", {"x1": 3, "y1": 5, "x2": 40, "y2": 48}, NOISE[5:48, 3:40]),
        ("crop", {"x1": "0", "y1": 0, "x2": 64, "y2": 48}, NOISE),
        ("crop", {"x1": 63, "y1": 47, "x2": 64, "y2": 48}, NOISE[47:, 63:]),
        ("rotate", {"angle": 90}, np.rot90(NOISE, -1)),
        ("rotate", {"angle": "-90.0", "unit": "degrees"}, np.rot90(NOISE)),
        ("rotate", {"angle": 3.14159265, "unit": "radians"}, np.rot90(NOISE, 2)),
        ("rotate", {"angle": 0}, NOISE),
        ("mirror", {"mode": "horizontal"}, NOISE[:, ::-1]),
        ("mirror", {"mode": "vertical"}, NOISE[::-1]),
        ("mirror", {"mode": "both"}, NOISE[::-1, ::-1]),
        ("resize", {"width": 64, "height": 48}, NOISE),
        ("resize", {"height": 48}, NOISE),
        ("resize", {"width": 48, "height": 48, "fit": "cover", "position": "left"}, NOISE[:, :48]),
        ("resize", {"width": 48, "height": 48, "fit": "cover", "position": "top-right"}, NOISE[:, 16:]),
        ("resize", {"width": 48, "height": 48, "fit": "cover", "position": "bottom right"}, NOISE[:, 16:]),
        (
            "resize",
            {"width": 66, "height": 48, "fit": "contain", "letterbox_color": "#ff8000"},
            np.hstack([flat(1, 48, 255, 128, 0), NOISE, flat(1, 48, 255, 128, 0)]),
        ),
        (
            "resize",
            {"width": 64, "height": 50, "fit": "contain", "position": "top"},
            np.vstack([NOISE, flat(64, 2, 0, 0, 0)]),
        ),
        ("modulate", {"brightness": 0, "saturation": 0}, flat(64, 48, 0, 0, 0)),
        ("modulate", {"lightness": 100}, flat(64, 48, 255, 255, 255)),
    ],
)
def test_a_transform_whose_pixels_are_known(word: str, body: Json, expected: RGB, mine: TestClient) -> None:
    image = upload(mine)
    result, made = transformed(mine, image, word, body)
    np.testing.assert_array_equal(result.rgb, expected)
    assert result.alpha is None
    assert made["format"] == (body["format"].lower() if word == "convert" else "png")
    assert mine.get(f"{PATH}/{image['id']}/download").content == PICTURE


def test_a_blur_is_gaussian(mine: TestClient) -> None:
    edge = flat(128, 16, 0, 0, 0)
    edge[:, 64:] = 255
    image = upload(mine, png(edge))
    for body, sigma in (({"sigma": 6}, 6.0), ({}, 20.0), ({"sigma": None}, 20.0)):
        result, _ = transformed(mine, image, "blur", body)
        normal = NormalDist(64, sigma)
        columns = range(40, 88)  # the far edges are mirrored, which a wide blur sees
        expected = [255 * normal.cdf(x + 0.5) for x in columns]
        assert np.abs(result.rgb[8, 40:88, 0] - np.array(expected)).max() < 2


def test_colours_are_modulated(mine: TestClient) -> None:
    image = upload(mine)
    plain, _ = transformed(mine, image, "modulate", {"hue": 360})
    assert np.abs(plain.rgb.astype(int) - NOISE).max() <= 1
    grey, _ = transformed(mine, image, "modulate", {"saturation": "0"})
    assert np.ptp(grey.rgb, axis=2).max() <= 1
    red = upload(mine, png(flat(4, 4, 200, 40, 40)))
    turned, _ = transformed(mine, red, "modulate", {"hue": 120})
    assert turned.rgb[0, 0].argmax() == 1
    darker, _ = transformed(mine, red, "modulate", {"lightness": -10})
    assert darker.rgb[0, 0, 0] < 200


def test_a_turn_by_an_angle_has_corners(mine: TestClient) -> None:
    image = upload(mine, png(flat(60, 40, 10, 200, 30)))
    for body, corner in (({"angle": 45}, (0, 0, 0)), ({"angle": 0.785398, "unit": "radians"}, (0, 0, 0))):
        result, _ = transformed(mine, image, "rotate", body)
        assert (result.width, result.height) == (71, 71)
        assert tuple(result.rgb[0, 0]) == corner
        assert np.abs(result.rgb[35, 35].astype(int) - (10, 200, 30)).max() <= 1
    coloured, _ = transformed(mine, image, "rotate", {"angle": 30, "background_color": "rgb(1, 2, 3)"})
    assert tuple(coloured.rgb[0, 0]) == (1, 2, 3)


def test_a_resize_fills_unless_it_is_told_otherwise(mine: TestClient) -> None:
    halves = flat(80, 40, 255, 0, 0)
    halves[:, 40:] = (0, 0, 255)
    image = upload(mine, png(halves))
    filled, _ = transformed(mine, image, "resize", {"width": 20, "height": 20})
    assert (filled.width, filled.height) == (20, 20)
    assert (tuple(filled.rgb[10, 3]), tuple(filled.rgb[10, 16])) == ((255, 0, 0), (0, 0, 255))
    one, _ = transformed(mine, image, "resize", {"width": 20})
    assert (one.width, one.height) == (20, 10)


def test_formats_are_kept_and_converted(mine: TestClient) -> None:
    see_through = np.zeros((30, 40), np.float32)
    see_through[:, 20:] = 1
    rgb = flat(40, 30, 20, 40, 60)
    image = upload(mine, png(rgb, see_through))
    for word in ("jpeg", "jpg", "JPEG"):
        result, made = transformed(mine, image, "convert", {"format": word, "quality": 90})
        assert (made["format"], result.alpha) == ("jpeg", None)
        assert np.abs(result.rgb[15, 5].astype(int) - 255).max() <= 3
        assert np.abs(result.rgb[15, 35].astype(int) - (20, 40, 60)).max() <= 3
    turned, made = transformed(mine, made, "mirror", {"mode": "horizontal"})
    assert made["format"] == "jpeg"
    assert np.abs(turned.rgb[15, 5].astype(int) - (20, 40, 60)).max() <= 3
    webp, made = transformed(mine, image, "convert", {"format": "webp", "quality": 100})
    np.testing.assert_array_equal(webp.alpha, see_through)
    small = [transformed(mine, image, "convert", {"format": "jpeg", "quality": each})[1] for each in (5, 95)]
    assert small[0]["size"] < small[1]["size"]


def test_watermarks_lie_where_they_are_put(serve: Serve, places: dict[str, str]) -> None:
    client = start(serve, **places)
    image = upload(client)
    red = upload(client, png(flat(10, 8, 255, 0, 0)))
    half = upload(client, png(flat(6, 6, 0, 255, 0), np.full((6, 6), 1, np.float32)))
    marks = [
        {"id": red["id"], "left": 5, "top": 6},
        {"id": red["id"], "left": -8, "top": -5},
        {"id": half["id"], "left": 12, "top": "10"},
        {"id": half["id"]},
    ]
    result, made = transformed(client, image, "watermark", {"watermarks": marks, "name": "marked"})
    expected = NOISE.copy()
    expected[6:14, 5:15] = (255, 0, 0)
    expected[:3, :2] = (255, 0, 0)
    expected[10:16, 12:18] = (0, 255, 0)
    expected[:6, :6] = (0, 255, 0)
    np.testing.assert_array_equal(result.rgb, expected)
    assert made["name"] == "marked"
    assert [client.get(f"{PATH}/{each['id']}").json() for each in (image, red, half)] == [image, red, half]


def test_a_transparent_watermark_shines_through(mine: TestClient) -> None:
    image = upload(mine, png(flat(8, 8, 0, 0, 0)))
    mark = upload(mine, png(flat(8, 8, 255, 255, 255), np.full((8, 8), 0.4, np.float32)))
    result, _ = transformed(mine, image, "watermark", {"watermarks": [{"id": mark["id"]}]})
    assert np.abs(result.rgb.astype(int) - 102).max() <= 1


def test_names_are_kept_or_given(mine: TestClient) -> None:
    image = upload(mine, name="  Тарілка 🍽  ")
    assert image["name"] == "Тарілка 🍽"
    for name, expected in ((None, "Тарілка 🍽"), ("x" * 30, "x" * 30), (" a ", "a")):
        for word, body in (TRANSFORMS | {"remove-background": {}}).items():
            answer = mine.post(f"{PATH}/{image['id']}/{word}", json=body | {"name": name})
            assert kept(answer, 2 if word == "remove-background" else 1)["name"] == expected
    assert mine.get(f"{PATH}/{image['id']}").json()["name"] == "Тарілка 🍽"


@pytest.mark.parametrize("word", ["remove-background", "blur", "publish", "unpublish"])
def test_no_body_is_an_empty_one(word: str, mine: TestClient) -> None:
    image = upload(mine)
    path, usage = f"{PATH}/{image['id']}/{word}", {"remove-background": 2, "unpublish": 0}.get(word, 1)
    kept(mine.post(path), usage)
    kept(mine.post(path, json={}), usage)
    for content in (b"", b" \r\n", b"\xef\xbb\xbf{}", b'{"unknown": 1, "name": null}'):
        kept(mine.post(path, content=content, headers={"Content-Type": "application/json; charset=utf-8"}), usage)

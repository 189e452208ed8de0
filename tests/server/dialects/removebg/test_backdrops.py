"""remove.bg: shadows, and what is behind the subject."""

from __future__ import annotations

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.server.dialects.removebg.conftest import (
    PATH,
    Picture,
    Serve,
    Site,
    box,
    cut,
    edit_of,
    opened,
    png,
    post,
)

from mattebox.edit import ShadowKind
from mattebox.testing import FakeModels, FakeSegmenter


def test_channels(client: TestClient, photo: bytes) -> None:
    rgba = cut(client, photo, channels="rgba")[0]
    matte = cut(client, photo, channels="alpha", bg_color="red", shadow_type="drop")[0]
    assert np.array_equal(matte, rgba[..., 3])


@pytest.mark.parametrize(
    "form",
    [
        {"add_shadow": "true"},
        {"shadow_type": "auto"},
        {"shadow_type": "auto", "type": "person"},
        {"shadow_type": "drop", "shadow_opacity": "100"},
        {"shadow_type": "3D"},
        {"shadow_type": "car", "shadow_opacity": "30"},
    ],
)
def test_a_shadow_falls_beside_the_subject_only(form: dict[str, str], client: TestClient, photo: bytes) -> None:
    plain, shaded = cut(client, photo)[0], cut(client, photo, **form)[0]
    solid = plain[..., 3] == 255
    assert np.array_equal(shaded[solid], plain[solid])
    assert (shaded[..., 3] >= plain[..., 3]).all()
    clear = plain[..., 3] == 0
    assert np.count_nonzero(shaded[clear][:, 3]) > 200
    assert not shaded[clear][:, :3].any()
    assert shaded[clear][:, 3].max() <= 255 * int(form.get("shadow_opacity", "50")) / 100 + 1


def test_shadows_that_are_none(client: TestClient, photo: bytes) -> None:
    plain = post(client, photo).content
    for form in ({"shadow_type": "none"}, {"add_shadow": "false"}, {"add_shadow": "true", "shadow_type": "none"}):
        assert post(client, photo, **form).content == plain
    unseen, _ = cut(client, photo, shadow_type="drop", shadow_opacity="0")
    assert np.array_equal(unseen, cut(client, photo)[0])


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ({"add_shadow": "1"}, ShadowKind.GROUND),
        ({"shadow_type": "Auto", "type": "Person"}, ShadowKind.DROP),
        ({"add_shadow": "true", "type": "person"}, ShadowKind.DROP),
        ({"shadow_type": "3d", "type": "person"}, ShadowKind.CAST),
        ({"shadow_type": "3D"}, ShadowKind.CAST),
        ({"shadow_type": "car"}, ShadowKind.GROUND),
        ({"shadow_type": "drop", "type": "car"}, ShadowKind.DROP),
    ],
)
def test_which_shadow_is_meant(form: dict[str, str], kind: ShadowKind) -> None:
    shadow = edit_of(form).shadow
    assert shadow is not None
    assert (shadow.kind, shadow.opacity) == (kind, 0.5)


def test_a_crop_leaves_room_for_the_shadow(client: TestClient, photo: bytes) -> None:
    rgba, answer = cut(client, photo, crop="true", shadow_type="drop")
    assert rgba.shape[0] > 121
    assert box(answer)[2:] == (98, 121)


def test_without_semitransparency_the_inside_is_opaque(serve: Serve) -> None:
    glass = np.zeros((64, 64), np.float32)
    glass[8:56, 8:56] = 1
    glass[24:40, 24:40] = 0.5
    pane = np.full((128, 128, 3), 200, np.uint8)
    pane[16:112, 16:112] = (40, 60, 80)
    client = serve(models=FakeModels(FakeSegmenter(answer=glass)))
    see_through = cut(client, png(pane), semitransparency="true")[0]
    assert 90 < see_through[64, 64, 3] < 165
    assert np.array_equal(see_through, cut(client, png(pane))[0])
    solid = cut(client, png(pane), semitransparency="false")[0]
    assert solid[64, 64, 3] == 255
    assert solid[2, 2, 3] == 0


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("f00", (255, 0, 0, 255)),
        ("#f00", (255, 0, 0, 255)),
        ("f008", (255, 0, 0, 136)),
        ("#F008", (255, 0, 0, 136)),
        ("81d4fa", (129, 212, 250, 255)),
        ("#81D4FA", (129, 212, 250, 255)),
        ("81d4fa77", (129, 212, 250, 119)),
        ("#81d4fa77", (129, 212, 250, 119)),
        ("green", (0, 128, 0, 255)),
        ("White", (255, 255, 255, 255)),
        ("rebeccapurple", (102, 51, 153, 255)),
    ],
)
def test_colours_behind(word: str, expected: tuple[int, int, int, int], client: TestClient, photo: bytes) -> None:
    picture = cut(client, photo, bg_color=word, format="png")[0]
    corner = (*picture[0, 0], 255)[:4]
    assert abs(np.subtract(corner, expected)).max() <= 1
    plain = cut(client, photo)[0]
    solid = plain[..., 3] == 255
    assert np.array_equal(picture[solid][:, :3], plain[solid][:, :3])


@pytest.fixture
def flag() -> bytes:
    """300 x 100 pixels: red, white and blue, a third each."""
    stripes = np.zeros((100, 300, 3), np.uint8)
    stripes[:, :100], stripes[:, 100:200], stripes[:, 200:] = (255, 0, 0), (255, 255, 255), (0, 0, 255)
    return png(stripes)


def assert_before_the_flag(picture: Picture) -> None:
    """It fills 200 x 150: of its 450 columns, enlarged, 125 to 325 are seen. White begins after 25 of them."""
    assert picture.shape == (150, 200, 3)
    assert abs(picture[5, 10] - (255, 0, 0)).max() <= 6
    assert abs(picture[145, 190] - (0, 0, 255)).max() <= 6
    assert picture[3, 40].min() > 245
    assert picture[3, 160].min() > 245


def test_a_picture_behind_fills_the_canvas(
    serve: Serve, client: TestClient, photo: bytes, flag: bytes, site: Site
) -> None:
    site.files["/flag"] = flag
    site.files["/photo"] = photo
    files = {"image_file": photo, "bg_image_file": flag}
    uploaded = client.post(PATH, files=files)
    assert uploaded.headers["content-type"] == "image/jpeg"
    assert_before_the_flag(opened(uploaded))
    reaching = serve(fetch={"allow_networks": ("127.0.0.0/8",)})
    fetched = reaching.post(PATH, json={"image_url": site.address + "/photo", "bg_image_url": site.address + "/flag"})
    assert fetched.content == uploaded.content

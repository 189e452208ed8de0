from __future__ import annotations

import io
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import PIL.Image
import pytest
from tests.library import ENGINE, GREEN, PNG, SCENE, Painter, cut, replaced

import mattebox
from mattebox import codec
from mattebox.backdrops import BackdropOptions, Backdrops
from mattebox.cutout import Replaced
from mattebox.edit import Blur, Edit, Output, Prompt
from mattebox.engine import Engine
from mattebox.image import Image, Served
from mattebox.testing import FakeModels


def test_a_colour_behind_in_every_way_to_say_it() -> None:
    results = [replaced(color=color) for color in (mattebox.Color(0, 0, 255), "blue", "#0000ff", "rgb(0, 0, 255)")]
    expected = cut(PNG).encode(backdrop=mattebox.Color(0, 0, 255))
    for each in results:
        assert each.found
        assert (each.subject, each.served) == (expected.subject, None)
        np.testing.assert_array_equal(each.to_array(), codec.decode(expected.data).rgb)
        assert each.to_pil().mode == "RGB"
    veil = replaced(color=mattebox.Color(0, 0, 255, opacity=0.5))
    assert veil.to_array().shape == (120, 160, 4)
    assert veil.to_array()[0, 0, 3] == 128
    assert veil.to_pil().mode == "RGBA"


def test_a_picture_behind_in_every_way_to_give_it(tmp_path: Path) -> None:
    file = codec.encode(Image(rgb=GREEN), Output())
    (tmp_path / "green.png").write_bytes(file)
    for behind in (GREEN, file, tmp_path / "green.png", io.BytesIO(file), PIL.Image.fromarray(GREEN), Image(rgb=GREEN)):
        assert tuple(replaced(image=behind).to_array()[0, 0]) == (0, 200, 0)


def test_the_photo_in_every_way_to_give_it(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(PNG)
    expected = replaced(PNG, color="red").to_array()
    for photo in (tmp_path / "photo.png", SCENE.photo, io.BytesIO(PNG), PIL.Image.fromarray(SCENE.photo)):
        np.testing.assert_array_equal(replaced(photo, color="red").to_array(), expected)


def test_its_own_background_blurred() -> None:
    expected = ENGINE.run_file(Edit(backdrop=Blur(4)), PNG)
    np.testing.assert_array_equal(replaced(blur=4).to_array(), codec.decode(expected.data).rgb)


def test_a_gradient() -> None:
    wanted = mattebox.Gradient(mattebox.Color(255, 255, 255), mattebox.Color(0, 0, 255), angle=90)
    array = replaced(gradient=wanted).to_array()
    expected = ENGINE.run_file(Edit(backdrop=wanted), PNG)
    np.testing.assert_array_equal(array, codec.decode(expected.data).rgb)
    np.testing.assert_allclose(array[0, [0, -1]], [(254, 254, 255), (1, 1, 255)], atol=6)  # the fake matte is not 0
    np.testing.assert_array_equal(replaced(gradient="90 white blue").to_array(), array)


def test_a_place_in_words() -> None:
    painter = Painter()
    engine = Engine(FakeModels(), painter)
    result = assert_type(
        mattebox.replace_background(PNG, prompt="a park", seed=7, nearest=True, generator="x", engine=engine), Replaced
    )
    assert painter.asked == [Prompt("a park", seed=7, nearest=True, generator="x")]
    assert result.served == Served(backend="painter", scene="a park", score=0.5)
    assert result.to_array().shape == (120, 160, 3)
    assert result.to_array()[0, 0].mean() < 20
    with pytest.raises(mattebox.MatteboxError) as caught:
        replaced(prompt="a park")  # this engine has no generators
    assert (caught.value.kind, caught.value.parameter) == (mattebox.Kind.NOT_OFFERED, "prompt")


def test_a_prompt_is_matched_once(matched: list[str], tmp_path: Path) -> None:
    engine = Engine(FakeModels(), Backdrops(BackdropOptions(directory=tmp_path, packs=tmp_path / "packs")))
    result = mattebox.replace_background(PNG, prompt="on a wooden table", engine=engine)
    assert result.served is not None
    assert result.served.backend == "studio"
    assert matched == ["on a wooden table"]


@pytest.mark.parametrize("name", ["x.png", "x.webp", "x.jpg", "x.avif"])
def test_a_replacement_is_saved_as_its_name_says(tmp_path: Path, name: str) -> None:
    replaced(color="red").save(tmp_path / name, quality=90)
    with PIL.Image.open(tmp_path / name) as picture:
        assert picture.size == (160, 120)
    with pytest.raises(mattebox.MatteboxError):
        replaced(color="red").save(tmp_path / "x.docx")
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("behind", "blamed"),
    [
        ({}, "prompt"),
        ({"color": "red", "blur": 3}, "blur"),
        ({"prompt": "", "image": GREEN}, "image"),
        ({"color": "greenish"}, "color"),
        ({"color": "red", "gradient": "red blue"}, "gradient"),
        ({"gradient": "red"}, "gradient"),
        ({"gradient": "red greenish"}, "gradient"),
        ({"blur": 0}, "blur"),
        ({"blur": float("nan")}, "blur"),
        ({"image": b"rubbish"}, "image"),
        ({"image": "no such file.png"}, "image"),
        ({"image": 17}, "image"),
        ({"prompt": "a park", "seed": -1}, "seed"),
        ({"color": "red", "foreground": "nonsense"}, "foreground"),
        ({"color": "red", "model": "nonsense"}, "model"),
    ],
)
def test_what_is_wrong_with_a_replacement_is_named(behind: dict[str, Any], blamed: str) -> None:
    with pytest.raises(mattebox.MatteboxError) as caught:
        replaced(**behind)
    assert caught.value.parameter == blamed
    assert caught.value.message.endswith(".")


def test_the_environment_reaches_the_backdrops(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MATTEBOX_BACKDROPS_PACKS", str(tmp_path))
    assert mattebox.backdrop_options().packs == tmp_path
    monkeypatch.delenv("MATTEBOX_BACKDROPS_PACKS")
    assert mattebox.backdrop_options().packs is None


def test_an_unknown_ending_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(mattebox.MatteboxError) as caught:
        cut(PNG).save(tmp_path / "cutout.docx")
    assert caught.value.kind is mattebox.Kind.INVALID_PARAMETER
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "photo",
    [
        b"",
        bytearray(b"not a picture"),
        "no such file.jpg",
        "no\0name",
        np.zeros((3, 3, 7), np.uint8),
        io.StringIO("text"),
        None,
        17,
    ],
)
def test_rubbish_is_refused_in_one_sentence(photo: object) -> None:
    with pytest.raises(mattebox.MatteboxError) as caught:
        cut(photo)  # type: ignore[arg-type]
    assert caught.value.message.endswith(".")

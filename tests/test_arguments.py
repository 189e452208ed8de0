from __future__ import annotations

import array
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from tests.library import ENGINE, PNG, SCENE, Painter, cut, replaced

import mattebox
from mattebox import codec
from mattebox.edit import Prompt
from mattebox.engine import Engine
from mattebox.image import Image
from mattebox.testing import FakeModels

GREY = SCENE.photo[:, :, 1].copy()
_PICTURE = PIL.Image.fromarray(SCENE.photo)


@pytest.mark.parametrize("mode", ["1", "P", "PA", "CMYK", "YCbCr", "HSV", "LA", "La", "RGBA", "RGBa", "RGBX"])
def test_a_pillow_picture_of_any_mode_is_what_pillow_shows(mode: str) -> None:
    between = {"PA": "P", "La": "LA", "RGBa": "RGBA"}.get(mode)
    picture = (_PICTURE.convert(between) if between else _PICTURE).convert(mode)
    plain = picture.convert({"La": "LA", "RGBa": "RGBA"}.get(mode, mode)).convert("RGB")
    taken = codec.from_pil(picture).rgb
    off = np.abs(taken.astype(int) - np.asarray(plain))
    assert off.max() <= (8 if mode == "CMYK" else 0)
    assert cut(picture).to_array().shape == (120, 160, 4)


@pytest.mark.parametrize("mode", ["L", "I", "F", "I;16", "I;16L", "I;16B"])
def test_grey_of_any_depth_is_the_same_grey(mode: str) -> None:
    wide = GREY.astype(np.uint16) * 257
    pictures = {
        "I;16": PIL.Image.fromarray(wide),
        "I;16L": PIL.Image.frombytes("I;16L", (160, 120), wide.astype("<u2").tobytes()),
        "I;16B": PIL.Image.frombytes("I;16B", (160, 120), wide.astype(">u2").tobytes()),
    }
    picture = pictures[mode] if mode in pictures else PIL.Image.fromarray(GREY).convert(mode)
    np.testing.assert_array_equal(cut(picture).to_array(), cut(GREY).to_array())
    np.testing.assert_array_equal(cut(GREY.view(np.matrix)).to_array(), cut(GREY).to_array())


def test_a_path_whose_name_is_bytes(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(PNG)
    with os.scandir(os.fsencode(tmp_path)) as entries:
        entry: Any = next(entries)
    np.testing.assert_array_equal(cut(entry).to_array(), cut(PNG).to_array())


def _closed() -> io.BytesIO:
    file = io.BytesIO(PNG)
    file.close()
    return file


def _released() -> memoryview:
    view = memoryview(PNG)
    view.release()
    return view


class _NoPath:
    def __fspath__(self) -> int:
        return 3


@pytest.mark.parametrize("name", ["photo", "image"])
@pytest.mark.parametrize(
    "photo",
    [
        None,
        17,
        "",
        [[1, 2], [3, 4]],
        io.BytesIO,
        io.StringIO("text"),
        _closed(),
        PIL.Image.new("RGB", (0, 5)),
        array.array("f", [0, 1]),
        np.array(3),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4), complex),
        np.full((4, 4), "a"),
        np.full((4, 4), np.nan),
        memoryview(b"rubbish"),
        _released(),
        _NoPath(),
        "no such file.png",
    ],
)
def test_what_is_no_picture_is_blamed_on_its_argument(name: str, photo: Any) -> None:
    if name == "image" and photo is None:  # no picture behind, then
        return
    with pytest.raises(mattebox.MatteboxError) as caught:
        mattebox.replace_background(**{"photo": PNG, "image": PNG, "engine": ENGINE, name: photo})
    assert caught.value.parameter == name
    assert caught.value.message.endswith(".")
    assert not caught.value.message.endswith("..")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(PNG)
    with (tmp_path / "photo.png").open() as text, (tmp_path / "new").open("wb") as new:
        for file in (text, new):
            with pytest.raises(mattebox.MatteboxError) as caught:
                cut(file)  # type: ignore[arg-type]
            assert caught.value.parameter == "photo"


@pytest.mark.parametrize("color", [(0, 0, 255), [0, 0, 255], np.array([0, 0, 255]), (np.uint8(0), 0, np.int64(255))])
def test_a_colour_in_numbers(color: Any) -> None:
    np.testing.assert_array_equal(replaced(color=color).to_array(), replaced(color="blue").to_array())


def test_numbers_of_numpy_are_numbers() -> None:
    np.testing.assert_array_equal(replaced(blur=np.float32(4)).to_array(), replaced(blur=4).to_array())
    painter = Painter()
    numbers: dict[str, Any] = {"seed": np.int64(3), "nearest": np.True_}
    mattebox.replace_background(PNG, prompt="x", engine=Engine(FakeModels(), painter), **numbers)
    assert painter.asked == [Prompt("x", seed=3, nearest=True)]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("model", [None, 3, b"auto", ["auto"]]),
        ("refine", [None, 1, "no", np.ones(3)]),
        ("foreground", [None, [], 3]),
        ("engine", [0, "", 17, Engine]),
        ("color", [(255, 0), (256, 0, 0), (-1, 0, 0), (1.0, 0, 0), "greenish", ("a", "b", "c"), 5, b"red", {}, True]),
        ("blur", ["4", [4], 1j, True, 10**400, np.ones(3)]),
        ("gradient", ["red", ("red", "blue"), 5, b"red blue", mattebox.Color(1, 2, 3)]),
        ("prompt", [3, b"x", ["a park"]]),
        ("seed", ["1", 1.5, None, True, -1, np.ones(3, int)]),
        ("nearest", ["yes", 1]),
        ("generator", [None, 3]),
    ],
)
def test_a_value_of_a_wrong_type_is_blamed_on_its_argument(name: str, values: list[Any]) -> None:
    for value in values:
        behind = {} if name in {"color", "gradient", "blur", "prompt"} else {"prompt": "x"}
        with pytest.raises(mattebox.MatteboxError) as caught:
            mattebox.replace_background(PNG, **{"engine": Engine(FakeModels(), Painter()), **behind, name: value})
        assert (caught.value.kind, caught.value.parameter) == (mattebox.Kind.INVALID_PARAMETER, name)
        if name in {"model", "refine", "foreground", "engine"}:
            with pytest.raises(mattebox.MatteboxError) as caught:
                mattebox.remove_background(PNG, **{"engine": ENGINE, name: value})
            assert caught.value.parameter == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", 3),
        ("path", None),
        ("path", b"x.png"),
        ("path", ""),
        ("quality", "high"),
        ("quality", 1.5),
        ("quality", 0),
        ("quality", 101),
        ("arrange", None),
        ("shadow", "drop"),
        ("backdrop", "red"),
        ("backdrop", (1, 2, 3)),
        ("backdrop", GREY),
    ],
)
def test_what_save_cannot_use_is_named(name: str, value: Any, tmp_path: Path) -> None:
    results: list[Any] = [cut(PNG)] if name in {"arrange", "shadow", "backdrop"} else [cut(PNG), replaced(color="red")]
    for result in results:
        with pytest.raises(mattebox.MatteboxError) as caught:
            result.save(**{"path": tmp_path / "x.jpg", name: value})
        assert (caught.value.kind, caught.value.parameter) == (mattebox.Kind.INVALID_PARAMETER, name)
    assert not list(tmp_path.iterdir())


def test_an_image_is_made_of_arrays() -> None:
    pixels: Any = [[0, 0, 0]]
    with pytest.raises(TypeError, match="rgb must be a numpy array, not list"):
        Image(rgb=pixels)
    with pytest.raises(TypeError, match="alpha must be a numpy array, not list"):
        Image(rgb=SCENE.photo, alpha=pixels)

    text: Any = "x"
    with pytest.raises(TypeError, match="icc must be bytes, not str"):
        Image(rgb=SCENE.photo, icc=text)


@pytest.mark.parametrize("level", [-0.1, 1.5, np.nan])
def test_an_alpha_out_of_range_is_blamed_on_its_picture(level: float) -> None:
    image = Image(rgb=SCENE.photo, alpha=np.full(SCENE.photo.shape[:2], level, np.float32))
    given: dict[str, Callable[[], object]] = {
        "photo": lambda: mattebox.remove_background(image, engine=ENGINE),
        "image": lambda: replaced(image=image),
        "backdrop": lambda: cut(PNG).encode(backdrop=image),
    }
    for name, call in given.items():
        with pytest.raises(mattebox.MatteboxError, match=f"The alpha of {name} must be in") as caught:
            call()
        assert caught.value.parameter == name

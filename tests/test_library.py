from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import assert_type

import numpy as np
import PIL.Image
import pytest

import mattebox
from mattebox import codec
from mattebox.cutout import Cutout
from mattebox.edit import Output
from mattebox.engine import Engine
from mattebox.image import Box, Encoded, Image
from mattebox.testing import FakeModels, make_scene

SCENE = make_scene(width=160, height=120, seed=4)
PNG = codec.encode(Image(rgb=SCENE.photo), Output())
ENGINE = Engine(FakeModels())


def cut(photo: mattebox.Photo) -> Cutout:
    return mattebox.remove_background(photo, engine=ENGINE)


def test_every_way_to_give_a_photo_gives_the_same_cutout(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(PNG)
    expected = cut(SCENE.photo).to_array()
    with path.open("rb") as file:
        photos: list[mattebox.Photo] = [
            path,
            str(path),
            PNG,
            io.BytesIO(PNG),
            file,
            PIL.Image.fromarray(SCENE.photo),
            SCENE.photo.astype(np.uint16) * 257,
            SCENE.photo.astype(np.float32) / 255,
            Image(rgb=SCENE.photo),
        ]
        for photo in photos:
            np.testing.assert_array_equal(cut(photo).to_array(), expected)


def test_what_comes_back_is_typed() -> None:
    cutout = assert_type(mattebox.remove_background(PNG, engine=ENGINE, foreground="keep"), Cutout)
    assert_type(cutout.subject, Box | None)
    assert_type(cutout.found, bool)
    assert_type(cutout.to_pil(), PIL.Image.Image)
    assert_type(cutout.encode(), Encoded)
    assert cutout.to_pil().mode == "RGBA"
    assert cutout.to_array().shape == (120, 160, 4)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg", ".JPEG", ".avif", ".zip"])
def test_save_writes_what_the_name_says(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cutout{suffix}"
    cut(PNG).save(path)
    if suffix == ".zip":
        assert path.read_bytes()[:2] == b"PK"
    else:
        with PIL.Image.open(path) as picture:
            assert picture.size == (160, 120)
    assert list(tmp_path.iterdir()) == [path]  # nothing else was left behind


def test_save_over_a_colour(tmp_path: Path) -> None:
    cut(PNG).save(tmp_path / "red.png", backdrop=mattebox.Color(255, 0, 0))
    with PIL.Image.open(tmp_path / "red.png") as picture:
        assert picture.getpixel((1, 1)) == (255, 0, 0)


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


def test_threads_that_ask_first_share_one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mattebox, "_default", None)
    with ThreadPoolExecutor(8) as threads:
        engines = {id(each) for each in threads.map(lambda _: mattebox._engine(), range(8))}
    assert len(engines) == 1


def test_the_environment_reaches_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MATTEBOX_MODELS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("MATTEBOX_MODELS_DOWNLOAD", "false")
    monkeypatch.setattr(mattebox, "_default", None)
    with pytest.raises(mattebox.MatteboxError, match="not installed") as caught:
        mattebox.remove_background(PNG)
    assert caught.value.kind is mattebox.Kind.UNAVAILABLE


def test_a_wrong_method_is_named() -> None:
    with pytest.raises(mattebox.MatteboxError, match="multilevel"):
        mattebox.remove_background(PNG, engine=ENGINE, foreground="nonsense")  # type: ignore[arg-type]


def test_importing_loads_no_picture_library_and_no_network() -> None:
    heavy = {"numpy", "cv2", "PIL", "openvino", "onnxruntime", "fastapi", "pydantic", "typer", "asyncio"}
    code = f"import sys, mattebox; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]"

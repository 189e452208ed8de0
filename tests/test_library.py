from __future__ import annotations

import array
import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import PIL.Image
import pytest
from tests.library import ENGINE, GREEN, PNG, SCENE, Painter, cut, replaced

import mattebox
from mattebox import codec
from mattebox.cutout import Cutout
from mattebox.edit import Layout, Length, Margin, Shadow, ShadowKind
from mattebox.engine import Engine
from mattebox.image import Box, Encoded, Image
from mattebox.testing import FakeModels, FakeSegmenter


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
            bytearray(PNG),
            memoryview(PNG),
            memoryview(b"".join(bytes((each, 0)) for each in PNG))[::2],
            array.array("B", PNG),
            SCENE.photo.data,
            np.asfortranarray(SCENE.photo),
            np.broadcast_to(SCENE.photo[None], (1, *SCENE.photo.shape))[0],
            SCENE.photo[::-1, ::-1].copy()[::-1, ::-1],
            (SCENE.photo.astype(np.uint16) * 257).astype(">u2"),
            (SCENE.photo / 255).astype(">f8"),
            np.where(SCENE.photo == 255, 1 + 1e-6, SCENE.photo / 255),
            file,
            PIL.Image.fromarray(SCENE.photo),
            SCENE.photo.astype(np.uint16) * 257,
            SCENE.photo.astype(np.float32) / 255,
            Image(rgb=SCENE.photo),
        ]
        for photo in photos:
            np.testing.assert_array_equal(cut(photo).to_array(), expected)


def test_every_way_to_give_a_cutout_keeps_it(tmp_path: Path) -> None:
    blind = Engine(FakeModels(FakeSegmenter(answer=np.zeros((8, 8), np.float32))))
    levels = np.rint(SCENE.alpha * 255).astype(np.uint8)
    white = np.dstack([np.full_like(SCENE.photo, 255), levels])
    path = tmp_path / "white.png"
    PIL.Image.fromarray(white).save(path)
    photos: list[mattebox.Photo] = [
        path,
        path.read_bytes(),
        white,
        white.astype(np.uint16) * 257,
        white / 255,
        PIL.Image.fromarray(white),
        PIL.Image.fromarray(white).convert("LA"),
        Image(rgb=white[:, :, :3], alpha=SCENE.alpha),
    ]
    kept = np.where(levels[:, :, None] > 0, white, 0)
    on_red = SCENE.alpha[:, :, None] * 255.0 + (1 - SCENE.alpha[:, :, None]) * np.array([255, 0, 0])
    for photo in photos:
        np.testing.assert_array_equal(mattebox.remove_background(photo, engine=blind).to_array(), kept)
        replaced = mattebox.replace_background(photo, color="red", engine=blind)
        assert np.abs(replaced.to_array() - on_red).max() <= 1


def test_no_file_is_written_or_read_on_the_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a picture in memory went through a file")

    decode, decoded = codec.decode, 0

    def count(*arguments: Any) -> Image:
        nonlocal decoded
        decoded += 1
        return decode(*arguments)

    (tmp_path / "photo.png").write_bytes(PNG)
    engine = Engine(FakeModels(), Painter())
    behind: list[dict[str, Any]] = [
        {"color": "red"},
        {"gradient": "red blue"},
        {"blur": 4},
        {"prompt": "a park"},
        {"image": GREEN},
    ]
    monkeypatch.setattr(codec, "encode", fail)
    monkeypatch.setattr(codec, "decode", fail)
    for photo in (SCENE.photo, PIL.Image.fromarray(SCENE.photo), Image(rgb=SCENE.photo)):
        cut(photo).to_array()
        for each in behind:
            mattebox.replace_background(photo, engine=engine, **each).to_array()
    monkeypatch.setattr(codec, "decode", count)
    cut(tmp_path / "photo.png")
    replaced(tmp_path / "photo.png", color="red").to_pil()
    replaced(tmp_path / "photo.png", image=PNG).to_pil()
    assert decoded == 4


def test_every_public_name_is_there() -> None:
    for name in mattebox.__all__:
        assert getattr(mattebox, name) is not None
    assert mattebox.Cutout is Cutout
    assert mattebox.Engine is Engine
    with pytest.raises(AttributeError, match="Cutuot"):
        mattebox.Cutuot  # type: ignore[attr-defined] # noqa: B018


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


def test_save_with_a_layout_and_a_shadow(tmp_path: Path) -> None:
    layout, shadow = Layout(crop=True, margin=Margin(*[Length(10)] * 4)), Shadow(kind=ShadowKind.CAST)
    cutout = cut(PNG)
    cutout.save(tmp_path / "x.png", arrange=layout, shadow=shadow)
    assert (tmp_path / "x.png").read_bytes() == cutout.encode(arrange=layout, shadow=shadow).data


def test_a_backdrop_in_place_has_the_size_of_the_photo() -> None:
    cutout = cut(PNG)
    with pytest.raises(mattebox.MatteboxError, match="A backdrop in place must be") as caught:
        cutout.encode(backdrop=Image(rgb=SCENE.photo[:5, :7].copy()), in_place=True)
    assert caught.value.parameter == "backdrop"
    shown = codec.decode(cutout.encode(backdrop=Image(rgb=SCENE.photo), in_place=True).data)
    clear = cutout.alpha == 0
    assert clear.any()
    np.testing.assert_array_equal(shown.rgb[clear], SCENE.photo[clear])


def test_an_engine_is_made_of_networks() -> None:
    nothing: list[Any] = [None, 3, "u2netp"]
    for models in nothing:
        with pytest.raises(TypeError, match="models must have a method"):
            Engine(models)
    with pytest.raises(TypeError, match="backdrops must have a method"):
        Engine(FakeModels(), nothing[1])


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


@pytest.mark.process
def test_importing_loads_no_picture_library_and_no_network() -> None:
    heavy = {"numpy", "cv2", "PIL", "openvino", "onnxruntime", "fastapi", "pydantic", "typer", "asyncio"}
    code = f"import sys, mattebox; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]"

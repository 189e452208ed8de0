from __future__ import annotations

import array
import io
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import PIL.Image
import pytest

import mattebox
from mattebox import codec
from mattebox.backdrops import BackdropOptions, Backdrops
from mattebox.backdrops.plate import Plate, PlateMaker
from mattebox.cancellation import Checkpoint
from mattebox.cutout import Cutout, Replaced
from mattebox.edit import Blur, Edit, Layout, Length, Margin, Output, Prompt, Shadow, ShadowKind
from mattebox.engine import Engine
from mattebox.image import Box, Encoded, Image, Served
from mattebox.testing import FakeModels, FakeSegmenter, make_scene

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


# --- another background ------------------------------------------------------------------------------------------

GREEN = np.full((30, 40, 3), (0, 200, 0), np.uint8)


@dataclass
class Painter:
    """Paints everything in one colour, which is the seed, and remembers what it was asked for."""

    asked: list[Prompt] = field(default_factory=list)

    def warm(self) -> None: ...

    def choose(self, prompt: Prompt) -> PlateMaker:
        self.asked.append(prompt)

        def make(cutout: Image, checkpoint: Checkpoint) -> Plate:
            checkpoint()
            rgb = np.full((cutout.height, cutout.width, 3), prompt.seed, np.uint8)
            return Plate(rgb=rgb, served=Served(backend="painter", scene=prompt.text, score=0.5))

        return make

    def paint(self, prompt: str, *, width: int, height: int, seed: int, checkpoint: Checkpoint) -> Plate:
        raise NotImplementedError


def replaced(photo: mattebox.Photo = PNG, **behind: Any) -> Replaced:
    return mattebox.replace_background(photo, engine=ENGINE, **behind)


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

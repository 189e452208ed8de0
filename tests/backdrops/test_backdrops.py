from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.backdrops.generators.generator import GREEN, Painter, painting

from mattebox import codec
from mattebox.backdrops import BackdropOptions, Backdrops
from mattebox.backdrops.plate import Plate
from mattebox.backdrops.prompts.tags import load_tags
from mattebox.backdrops.scenes import catalogue, files
from mattebox.edit import Output, Prompt
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Image
from mattebox.options import LONGEST_PROMPT

WIDTH, HEIGHT = 96, 64
ORANGE = (240, 140, 20)
PACK = """
[[scene]]
file = "hall.png"
name = "hall"
tags = ["aquarium", "fish tank"]
licence = "CC0-1.0"
author = "Jo Doe"
horizon = 0.4

[[scene]]
file = "hall.png"
name = "loft"
tags = ["marble"]
licence = "CC0-1.0"
author = "Jo Doe"
"""


def go_on() -> None: ...


def cutout(width: int = WIDTH, height: int = HEIGHT) -> Image:
    """A grey square on nothing."""
    alpha = np.zeros((height, width), np.float32)
    alpha[height // 4 : -height // 4, width // 4 : -width // 4] = 1
    return Image(rgb=np.full((height, width, 3), 128, np.uint8), alpha=alpha)


def plate(
    backdrops: Backdrops, text: str, *, seed: int = 0, generator: str = "auto", nearest: bool | None = None
) -> Plate:
    prompt = Prompt(text, seed=seed, generator=generator, nearest=nearest)
    made = backdrops.choose(prompt)(cutout(), go_on)
    assert made.rgb.shape == (HEIGHT, WIDTH, 3)
    return made


def refusal(backdrops: Backdrops, text: str, **options: str | bool) -> MatteboxError:
    prompt = Prompt(text, **options)  # type: ignore[arg-type]
    with pytest.raises(MatteboxError) as caught:
        backdrops.choose(prompt)(cutout(), go_on)
    return caught.value


def mean(rgb: RGB) -> tuple[float, float, float]:
    red, green, blue = rgb.reshape(-1, 3).mean(axis=0)
    return float(red), float(green), float(blue)


def chroma(made: Plate) -> float:
    return max(mean(made.rgb)) - min(mean(made.rgb))


def add_pack(directory: Path, text: str = PACK, *, name: str = "home") -> Path:
    folder = directory / name
    folder.mkdir(parents=True)
    (folder / "pack.toml").write_text(text)
    rgb = np.empty((40, 60, 3), np.uint8)
    rgb[:] = ORANGE
    (folder / "hall.png").write_bytes(codec.encode(Image(rgb=rgb), Output()))
    return folder


@pytest.fixture
def options(tmp_path: Path) -> BackdropOptions:
    """Nothing is installed: neither panoramas nor packs."""
    return BackdropOptions(directory=tmp_path / "backdrops", packs=tmp_path / "packs")


@pytest.fixture
def bare(options: BackdropOptions) -> Backdrops:
    return Backdrops(options, fetch_when_used=False)


@pytest.fixture
def painter() -> Iterator[Painter]:
    with painting() as found:
        yield found


def configured(options: BackdropOptions, painter: Painter, *generators: str, timeout: float = 20.0) -> Backdrops:
    chosen = BackdropOptions(
        generators=generators, directory=options.directory, packs=options.packs, url=painter.url, timeout=timeout
    )
    return Backdrops(chosen, fetch_when_used=False)


# --- the options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"generators": ()}, "at least one generator: scenes"),
        ({"generators": ("scenes", "dreams")}, "unknown generator dreams"),
        ({"generators": ("openai",)}, "requires url"),
        ({"generators": ("openai",), "url": "127.0.0.1:7860"}, "http"),
        ({"generators": ("automatic1111",), "url": "http://127.0.0.1:7860"}, "use `openai`"),
        ({"generators": ("scenes", "openai"), "url": "http://me:secret@x/"}, "must not contain a user name"),
        ({"generators": ("openai",), "url": "http://127.0.0.1:1", "key": "a\nb"}, "key"),
        ({"generators": ("openai",), "url": "http://127.0.0.1:port"}, "port"),
        ({"generators": ("scenes", "diffusers"), "model": "dreams"}, "Unknown model"),
        ({"timeout": 0.0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
    ],
)
def test_options_that_cannot_be_right_are_said_at_once(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BackdropOptions(**wrong)  # type: ignore[arg-type]


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(BackdropOptions(generators=("openai",), url="http://127.0.0.1:1", key="secret"))


def test_every_place_and_every_studio_can_be_asked_for() -> None:
    assert set(load_tags().scenes) == set(catalogue.places())
    from mattebox.backdrops.studio.studio import KINDS

    assert set(load_tags().studios) == {kind.name for kind in KINDS}


# --- studios ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_who_asks_for_nothing_gets_a_plain_studio(text: str, bare: Backdrops) -> None:
    made = plate(bare, text)
    assert (made.served.backend, made.served.scene, made.served.warning) == ("studio", "sweep", None)
    assert chroma(made) < 8
    assert min(mean(made.rgb)) > 170


def test_a_colour_in_the_words_is_that_of_the_studio(bare: Backdrops) -> None:
    pink, navy, green = (plate(bare, text) for text in ("plain pastel pink", "navy studio", "a green backdrop"))
    assert {made.served.backend for made in (pink, navy, green)} == {"studio"}
    red, _, blue = mean(pink.rgb)
    assert red > blue > 150
    red, _, blue = mean(navy.rgb)
    assert red < blue < 130
    red, middle, blue = mean(green.rgb)
    assert middle > max(red, blue)


@pytest.mark.parametrize("text", ["", "white background", "on a wooden table", "bokeh lights"])
def test_the_same_seed_is_the_same_picture(text: str, bare: Backdrops, options: BackdropOptions) -> None:
    one = plate(bare, text, seed=7)
    np.testing.assert_array_equal(one.rgb, plate(Backdrops(options), text, seed=7).rgb)
    assert (one.rgb != plate(bare, text, seed=8).rgb).any()
    assert one.served.score in (None, 1.0)


@pytest.mark.parametrize("seed", [-1, -(2**63), 2**63 - 1, 2**70])
def test_any_whole_number_is_a_seed(seed: int, bare: Backdrops) -> None:
    for text in ("", "marble table"):
        np.testing.assert_array_equal(plate(bare, text, seed=seed).rgb, plate(bare, text, seed=seed).rgb)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["inside a whale's stomach", "a black hole", "在仓库里", "auf dem Mond", "inside a qwer"]
)
def test_what_nothing_comes_near_is_refused(text: str, bare: Backdrops) -> None:
    error = refusal(bare, text)
    assert (error.kind, error.parameter) == (Kind.INVALID_PARAMETER, "prompt")
    assert "No backdrop here shows this" in error.message
    assert text not in error.message


IGLOO = "a marble table with an igloo"


@pytest.mark.parametrize("text", ["inside a volcano", "a beach with palm trees", "asdf qwer", IGLOO])
def test_a_strict_one_refuses_what_nothing_shows(text: str, options: BackdropOptions) -> None:
    strict = Backdrops(replace(options, strict=True), fetch_when_used=False)
    for error in (refusal(strict, text), refusal(Backdrops(options), text, nearest=False)):
        assert (error.kind, error.parameter) == (Kind.INVALID_PARAMETER, "prompt")
        assert "No backdrop here shows this" in error.message
        assert text not in error.message
    assert plate(strict, "white background").served.warning is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("inside a whale's stomach", "Nothing comes near it."),
        ("inside a qwer", "Nothing comes near it."),
        ("no background", "Prompts must say in English what is to be seen."),
        ("auf dem Mond", "Prompts must say in English what is to be seen."),
        ("在仓库里", "Prompts must say in English what is to be seen."),
    ],
)
def test_a_refusal_says_why_nothing_is_near(text: str, words: str, bare: Backdrops) -> None:
    assert refusal(bare, text).message == f"No backdrop here shows this. {words}"


def test_a_refusal_names_what_comes_near(bare: Backdrops) -> None:
    assert "marble" in refusal(bare, IGLOO, nearest=False).message


@pytest.mark.parametrize("nearest", [None, True])
def test_the_nearest_is_served_with_a_warning(
    nearest: bool | None, bare: Backdrops, options: BackdropOptions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mattebox.backdrops")
    backdrops = Backdrops(replace(options, strict=bool(nearest)), fetch_when_used=False)
    made = plate(backdrops, IGLOO, nearest=nearest)
    assert (made.served.backend, made.served.scene) == ("studio", "marble")
    assert made.served.warning == "Nothing here shows this; marble is the nearest."
    assert caplog.messages == [made.served.warning]  # and not what was asked for
    assert made.served.score is not None
    assert 0 <= made.served.score < 1
    # What cannot be read has no nearest.
    assert refusal(bare, "在仓库里", nearest=True).parameter == "prompt"
    # What is there is served without one.
    assert plate(bare, "a marble table", nearest=True).served.warning is None


def test_where_no_word_is_known_the_nearest_is_a_plain_studio(bare: Backdrops) -> None:
    assert "Nothing comes near it" in refusal(bare, "asdf qwer", nearest=False).message
    served = plate(bare, "asdf qwer").served
    assert (served.backend, served.scene, served.score) == ("studio", "sweep", None)
    assert served.warning is not None
    assert "a plain studio is used instead" in served.warning


def test_where_the_nearest_place_is_not_installed_the_next_one_is_named(bare: Backdrops) -> None:
    # A courtyard is offered only where its file is; of the two places that are most like it, both are offered.
    assert "city, piazza" in refusal(bare, "in a sunny courtyard", nearest=False).message


def test_the_length_of_a_prompt_is_bounded(bare: Backdrops) -> None:
    start = "white background, "
    assert plate(bare, start + "x" * (LONGEST_PROMPT - len(start)) + "  ").served.scene == "sweep"
    for length in (LONGEST_PROMPT + 1, 10_000):
        error = refusal(bare, start + "x" * (length - len(start)))
        assert (error.kind, error.parameter) == (Kind.INVALID_PARAMETER, "prompt")
        assert "2,000" in error.message


@pytest.mark.parametrize("text", ["", "white background"])
def test_generators_that_are_not_there(text: str, bare: Backdrops) -> None:
    unknown, unconfigured = refusal(bare, text, generator="dall-e"), refusal(bare, text, generator="openai")
    assert (unknown.kind, unknown.parameter) == (Kind.INVALID_PARAMETER, "generator")
    assert "dall-e" not in unknown.message
    assert "Choose one of scenes, openai, diffusers." in unknown.message
    assert (unconfigured.kind, unconfigured.parameter) == (Kind.NOT_OFFERED, "generator")


# --- scenes -----------------------------------------------------------------------------------------------------------


def test_a_scene_that_is_not_here_says_how_to_get_it(bare: Backdrops, options: BackdropOptions) -> None:
    error = refusal(bare, "in a warehouse")
    assert (error.kind, error.parameter) == (Kind.UNAVAILABLE, "prompt")
    assert "`mattebox scenes pull warehouse`" in error.message
    assert options.directory is not None
    assert not options.directory.exists()  # and nothing was fetched


def test_a_scene_whose_file_is_damaged_says_so(bare: Backdrops, options: BackdropOptions) -> None:
    assert options.directory is not None
    options.directory.mkdir()
    for row in catalogue.places()["warehouse"]:
        (options.directory / row.file.download.file).write_bytes(b"#?RADIANCE")
    error = refusal(bare, "in a warehouse")
    assert error.kind is Kind.UNAVAILABLE
    assert "damaged" in error.message


def test_a_scene_that_only_a_linux_distribution_has_is_offered_where_it_is_installed(options: BackdropOptions) -> None:
    def near() -> str:
        return refusal(
            Backdrops(options, fetch_when_used=False), "construction site with a crane", nearest=False
        ).message

    assert "No backdrop here" in near()
    assert options.directory is not None
    options.directory.mkdir()
    download = files.panoramas()["construction"].download
    (options.directory / download.file).write_bytes(b"not the right one")
    assert "damaged" in near()  # it is offered now


# --- packs ------------------------------------------------------------------------------------------------------------


def test_packs_are_found_by_their_tags(bare: Backdrops, options: BackdropOptions) -> None:
    assert options.packs is not None
    add_pack(options.packs)
    made = plate(bare, "before an aquarium")
    assert (made.served.backend, made.served.scene, made.served.score) == ("packs", "home/hall", 1.0)
    assert np.abs(np.array(mean(made.rgb)) - ORANGE).max() < 2
    assert made.horizon is not None
    assert made.depth_of_field
    # One's own picture comes before what everybody has.
    assert plate(bare, "marble").served.scene == "home/loft"
    # And everything else is there as before.
    assert plate(bare, "white background").served.backend == "studio"


def test_what_is_wrong_with_a_pack_is_said_at_every_prompt(bare: Backdrops, options: BackdropOptions) -> None:
    assert options.packs is not None
    folder = add_pack(options.packs, PACK.replace("Jo Doe", "", 1))
    for error in (refusal(bare, "aquarium"), refusal(bare, "white background")):
        assert (error.kind, error.parameter) == (Kind.UNAVAILABLE, "prompt")
        assert "The scene pack home" in error.message
    with pytest.raises(MatteboxError, match="The scene pack home"):
        bare.warm()
    (folder / "pack.toml").write_text(PACK)  # put right while the server runs
    bare.warm()
    assert plate(bare, "aquarium").served.backend == "packs"


@pytest.mark.parametrize("content", [b"not a picture", None])
def test_a_picture_of_a_pack_that_is_no_good_is_not_the_askers_fault(
    content: bytes | None, bare: Backdrops, options: BackdropOptions
) -> None:
    assert options.packs is not None
    folder = add_pack(options.packs)
    bare.warm()
    if content is None:
        shutil.rmtree(folder)
    else:
        (folder / "hall.png").write_bytes(content)
    error = refusal(bare, "aquarium")
    assert (error.kind, error.parameter) == (Kind.UNAVAILABLE, "prompt")
    assert "home/hall.png" in error.message


# --- the order of generators ------------------------------------------------------------------------------------------


def test_the_first_that_can_serve_the_words_does(options: BackdropOptions, painter: Painter) -> None:
    backdrops = configured(options, painter, "scenes", "openai")
    assert plate(backdrops, "white background").served.backend == "studio"
    assert painter.asked == []
    made = plate(backdrops, "inside a volcano", seed=3)
    assert (made.served.backend, made.finished) == ("openai", True)
    assert tuple(made.rgb[0, 0]) == GREEN
    (path, body), *more = painter.asked
    assert (path, more) == ("/v1/images/edits", [])
    assert b"inside a volcano" in body
    assert plate(backdrops, "").served.backend == "studio"
    assert len(painter.asked) == 1


def test_who_is_asked_first_answers_first(options: BackdropOptions, painter: Painter) -> None:
    backdrops = configured(options, painter, "openai", "scenes")
    assert plate(backdrops, "white background").served.backend == "openai"
    assert plate(backdrops, "white background", generator="scenes").served.backend == "studio"
    assert len(painter.asked) == 1


def test_whoever_is_named_answers_alone(options: BackdropOptions, painter: Painter) -> None:
    backdrops = configured(options, painter, "scenes", "openai")
    assert plate(backdrops, "white background", generator="openai").served.backend == "openai"
    error = refusal(backdrops, "inside a volcano", generator="scenes", nearest=False)
    assert error.parameter == "prompt"
    assert len(painter.asked) == 1


def test_a_generator_that_fails_is_not_replaced_by_another(options: BackdropOptions, painter: Painter) -> None:
    painter.status, painter.body = 500, b"{}"
    error = refusal(configured(options, painter, "openai", "scenes"), "white background")
    assert (error.kind, error.message) == (Kind.UNAVAILABLE, "The generator failed.")
    assert len(painter.asked) == 1


def test_a_checkpoint_ends_the_wait_for_a_generator(options: BackdropOptions, painter: Painter) -> None:
    painter.seconds = 30.0
    looks = 0

    def stop() -> None:
        nonlocal looks
        looks += 1
        if looks > 3:
            raise MatteboxError(Kind.CANCELLED, "enough")

    backdrops = configured(options, painter, "openai")
    with pytest.raises(MatteboxError, match="enough"):
        backdrops.choose(Prompt("a beach"))(cutout(), stop)


# --- pictures for words alone -----------------------------------------------------------------------------------------


def test_scenes_paint_nothing(bare: Backdrops) -> None:
    assert not bare.paints
    with pytest.raises(MatteboxError) as caught:
        bare.paint("a mug", width=64, height=64, seed=0, checkpoint=go_on)
    assert caught.value.kind is Kind.NOT_OFFERED


def test_a_generator_paints(options: BackdropOptions, painter: Painter) -> None:
    backdrops = configured(options, painter, "scenes", "openai")
    assert backdrops.paints
    made = backdrops.paint(" a mug ", width=80, height=60, seed=-5, checkpoint=go_on)
    assert made.rgb.shape == (60, 80, 3)
    assert tuple(made.rgb[0, 0]) == GREEN
    assert not made.finished
    ((path, body),) = painter.asked
    assert path == "/v1/images/generations"
    assert b'"a mug"' in body
    with pytest.raises(MatteboxError, match="2,000") as caught:
        backdrops.paint("x" * 2001, width=80, height=60, seed=0, checkpoint=go_on)
    assert caught.value.parameter == "prompt"
    assert len(painter.asked) == 1


# --- many at once -----------------------------------------------------------------------------------------------------


def test_threads_share_one_index(options: BackdropOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    assert options.packs is not None
    add_pack(options.packs)
    backdrops = Backdrops(options, fetch_when_used=False)
    read: list[str] = []
    original = Path.read_text

    def counted(self: Path, *arguments: str) -> str:
        read.append(self.name)
        return original(self, *arguments)

    monkeypatch.setattr(Path, "read_text", counted)
    start = threading.Barrier(8)

    def ask(number: int) -> str | None:
        start.wait()
        text = ("aquarium", "white background", "marble", "brick wall")[number % 4]
        return plate(backdrops, text).served.scene

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, range(8)))
    assert found == ["home/hall", "sweep", "home/loft", "brick"] * 2
    assert read.count("pack.toml") == 1


def test_threads_share_one_painter(options: BackdropOptions, painter: Painter) -> None:
    backdrops = configured(options, painter, "openai")
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda number: plate(backdrops, "a beach", seed=number), range(8)))
    assert {each.served.backend for each in made} == {"openai"}
    assert len(painter.asked) == 8


# --- real scenes ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> Backdrops:
    """Everything that every machine can fetch, without the user's own packs."""
    catalogue.pull()
    assert catalogue.complete()
    backdrops = Backdrops(BackdropOptions(packs=Path("/nonexistent")), fetch_when_used=False)
    backdrops.warm()
    return backdrops


@pytest.mark.model
def test_each_seed_has_its_view_of_a_place(real: Backdrops) -> None:
    views = catalogue.places()["warehouse"]
    made = [plate(real, "in a warehouse", seed=seed) for seed in range(len(views))]
    assert [each.served.scene for each in made] == [view.name for view in views]
    assert {(each.served.backend, each.served.score) for each in made} == {("scenes", 1.0)}
    assert len({each.rgb.tobytes() for each in made}) == len(views)
    again = plate(real, "in a warehouse", seed=len(views) + 1)
    np.testing.assert_array_equal(again.rgb, made[1].rgb)
    assert plate(real, "in a warehouse", seed=-1).served.scene == views[-1].name


@pytest.mark.model
def test_the_nearest_place_to_one_that_is_absent(real: Backdrops) -> None:
    error = refusal(real, "supermarket aisle", nearest=False)
    assert (error.kind, error.parameter) == (Kind.INVALID_PARAMETER, "prompt")
    assert "esplanade" in error.message
    served = plate(real, "supermarket aisle").served
    assert served.warning is not None
    assert served.score is not None
    assert 0 < served.score < 1


@pytest.mark.model
def test_a_table_in_a_place_has_the_place_behind_it(real: Backdrops) -> None:
    alone = plate(real, "a wooden table")
    made = plate(real, "a wooden table in a park")
    assert (made.served.backend, made.served.scene) == ("studio", "wood")
    assert made.served.warning == "Nothing here shows this; wood, before park, is the nearest."
    assert made.horizon == alone.horizon
    red, green, blue = mean(made.rgb[: HEIGHT // 2])  # lawn and sky
    assert green > red
    assert blue > mean(alone.rgb[: HEIGHT // 2])[2]
    assert made.light.color != alone.light.color
    assert plate(real, "a wooden table in a bright kitchen").served.scene == "table_room"


def test_what_is_not_installed_is_left_to_a_painter_that_comes_after_it(tmp_path: Path) -> None:
    options = BackdropOptions(
        generators=("scenes", "openai"), url="http://127.0.0.1:9", directory=tmp_path, packs=tmp_path / "packs"
    )
    backdrops = Backdrops(options, fetch_when_used=False)
    with pytest.raises(MatteboxError) as caught:
        backdrops.choose(Prompt("in a warehouse"))(cutout(), go_on)
    assert "generator" in caught.value.message  # which nobody listens for at that port
    with pytest.raises(MatteboxError, match="mattebox scenes pull"):
        backdrops.choose(Prompt("in a warehouse", generator="scenes"))

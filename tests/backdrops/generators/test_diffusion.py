from __future__ import annotations

import builtins
import json
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.backdrops.generators import pipelines
from tests.watched import Watched

from mattebox.backdrops.generators.diffusion import DEFAULT, MODELS, Diffusers
from mattebox.backdrops.plate import Plate
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image


def go_on() -> None:
    """Somebody waits."""


def subject(width: int = 96, height: int = 64) -> Image:
    """A box in the left half."""
    rgb = np.full((height, width, 3), (0, 255, 0), np.uint8)
    alpha = np.zeros((height, width), np.float32)
    rgb[:, : width // 2] = (200, 30, 30)
    alpha[:, : width // 2] = 1
    return Image(rgb=rgb, alpha=alpha)


def plate(
    generator: Diffusers, cutout: Image | None, *, seed: int = 1, checkpoint: Callable[[], None] = go_on
) -> Plate:
    return generator.plate("in a warehouse", cutout, width=96, height=64, seed=seed, checkpoint=checkpoint)


# --- what needs no packages -------------------------------------------------------------------------------------------


def test_the_default_may_be_used_commercially() -> None:
    assert MODELS[DEFAULT].commercial
    assert MODELS[DEFAULT].licence == "Apache-2.0"
    assert Diffusers().model is MODELS[DEFAULT]


def test_a_model_of_another_licence_is_had_by_its_id_only() -> None:
    others = [name for name, row in MODELS.items() if not row.commercial]
    assert others
    for name in others:
        assert Diffusers(name).model.licence.endswith("non-commercial")


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(MatteboxError) as caught:
        Diffusers("someone/some-model")
    assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, "model")
    assert DEFAULT in caught.value.message


@pytest.mark.parametrize("index", [None, "{", "[]", "{}", '{"_class_name":7}', '{"_class_name":"OtherPipeline"}'])
def test_a_folder_without_a_known_pipeline_is_refused(tmp_path: Path, index: str | None) -> None:
    if index is not None:
        (tmp_path / "model_index.json").write_text(index)
    with pytest.raises(MatteboxError, match="folder holds") as caught:
        Diffusers(str(tmp_path))
    assert caught.value.kind is Kind.UNAVAILABLE
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_is_known_by_its_pipeline(tmp_path: Path, name: str) -> None:
    row = MODELS[name]
    for kind in filter(None, (row.painter, row.plain)):
        (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": kind}))
        found = Diffusers(str(tmp_path)).model
        assert (found.painter, found.steps, found.licence) == (row.painter, row.steps, "unknown")


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(
        name: str,
        globals: dict[str, object] | None = None,  # noqa: A002
        locals: dict[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> object:
        if name in {"torch", "diffusers"}:
            raise ImportError(name)
        return real(name, globals, locals, fromlist or (), level)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MatteboxError, match=r"pip install 'mattebox\[gpu\]'$") as caught:
        plate(Diffusers(), None)
    assert caught.value.kind is Kind.UNAVAILABLE


# --- with the packages ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def klein_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("klein")
    pipelines.save_klein(folder)
    return folder


@pytest.fixture(scope="module")
def stable_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stable")
    pipelines.save_stable_diffusion(folder)
    return folder


@pytest.fixture
def klein(klein_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Diffusers:
    return small(klein_folder, monkeypatch)


@pytest.fixture
def stable(stable_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Diffusers:
    return small(stable_folder, monkeypatch)


def small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Diffusers:
    """The folder's generator on the CPU, painting at a hundredth of the pixels."""
    import dataclasses

    kind = json.loads((folder / "model_index.json").read_text())["_class_name"]
    rows = {name: row for name, row in MODELS.items() if kind in {row.painter, row.plain}}
    monkeypatch.setattr(
        "mattebox.backdrops.generators.diffusion.MODELS",
        {name: dataclasses.replace(row, least=8_000, most=12_000, steps=2) for name, row in rows.items()},
    )
    return Diffusers(str(folder), device="cpu", download=False)


def spread(generator: Diffusers, cutout: Image) -> tuple[float, float]:
    """How much pictures of four seeds differ, in the left half and in the right."""
    pictures = np.stack([plate(generator, cutout, seed=seed).rgb for seed in range(4)]).astype(np.float64)
    deviation = pictures.std(axis=0)
    return float(deviation[:, 8:40].mean()), float(deviation[:, 56:88].mean())


@pytest.mark.diffusion
def test_klein_paints_where_the_subject_is_not(klein: Diffusers) -> None:
    left, right = spread(klein, subject())
    assert right > 3
    assert left < right / 3
    cutout = subject()
    assert cutout.alpha is not None
    left, right = spread(klein, Image(rgb=cutout.rgb, alpha=1 - cutout.alpha))
    assert left > 3
    assert right < left / 3


@pytest.mark.diffusion
def test_stable_diffusion_is_handed_a_mask_of_what_is_painted(
    stable: Diffusers, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from diffusers import UNet2DConditionModel

    inputs: list[torch.Tensor] = []
    forward = UNet2DConditionModel.forward

    def watched(self: object, sample: torch.Tensor, *args: object, **others: object) -> object:
        inputs.append(sample)
        return forward(self, sample, *args, **others)

    monkeypatch.setattr(UNet2DConditionModel, "forward", watched)
    got = plate(stable, subject())
    mask = inputs[0][0, 4]  # after the four channels of noise
    third = mask.shape[1] // 3
    assert mask[:, :third].max() == 0
    assert mask[:, -third:].min() == 1
    assert len(inputs) == 2
    assert got.finished


@pytest.mark.diffusion
@pytest.mark.parametrize("cutout", [None, subject()])
@pytest.mark.parametrize("name", ["klein", "stable"])
def test_a_seed_is_a_picture(request: pytest.FixtureRequest, name: str, cutout: Image | None) -> None:
    generator: Diffusers = request.getfixturevalue(name)
    first = plate(generator, cutout, seed=-3)
    assert first.rgb.shape == (64, 96, 3)
    assert first.rgb.std() > 1
    assert first.finished is (cutout is not None)
    assert first.horizon == (0.5 if cutout is None else None)
    assert first.served.backend == "diffusers"
    assert first.served.warning is None
    assert (plate(generator, cutout, seed=-3).rgb == first.rgb).all()
    assert (plate(generator, cutout, seed=4).rgb != first.rgb).any()


@pytest.mark.diffusion
@pytest.mark.parametrize(("width", "height"), [(1, 1), (97, 61), (300, 17), (640, 853)])
@pytest.mark.parametrize("name", ["klein", "stable"])
def test_any_size_comes_back(request: pytest.FixtureRequest, name: str, width: int, height: int) -> None:
    generator: Diffusers = request.getfixturevalue(name)
    alpha = np.zeros((height, width), np.float32)
    cutout = Image(rgb=np.zeros((height, width, 3), np.uint8), alpha=alpha)
    for each in (cutout, None):
        got = generator.plate("x", each, width=width, height=height, seed=0, checkpoint=go_on)
        assert got.rgb.shape == (height, width, 3)
        assert got.served.warning is None


@pytest.mark.diffusion
def test_words_matter(klein: Diffusers) -> None:
    first = klein.plate("a beach", subject(), width=96, height=64, seed=0, checkpoint=go_on)
    other = klein.plate("a street at night", subject(), width=96, height=64, seed=0, checkpoint=go_on)
    assert (first.rgb != other.rgb).any()


class GoneError(Exception):
    """Nobody waits any more."""


@pytest.mark.diffusion
@pytest.mark.parametrize("name", ["klein", "stable"])
def test_it_stops_between_steps(request: pytest.FixtureRequest, name: str) -> None:
    generator: Diffusers = request.getfixturevalue(name)
    calls = 0

    def checkpoint() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:  # its turn, loaded, the first step
            raise GoneError

    with pytest.raises(GoneError):
        plate(generator, subject(), checkpoint=checkpoint)
    assert calls == 3
    calls = 10
    assert plate(generator, subject(), checkpoint=checkpoint).finished  # and paints again afterwards
    assert calls == 14


@pytest.mark.diffusion
def test_one_at_a_time_and_loaded_once(klein: Diffusers, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import Flux2KleinInpaintPipeline

    loads = 0
    real = Flux2KleinInpaintPipeline.from_pretrained

    def counted(*args: object, **others: object) -> object:
        nonlocal loads
        loads += 1
        return real(*args, **others)

    monkeypatch.setattr(Flux2KleinInpaintPipeline, "from_pretrained", counted)
    alone = plate(Diffusers(str(klein._source), device="cpu"), subject()).rgb
    loads = 0
    pictures: list[Plate] = []
    threads = [threading.Thread(target=lambda: pictures.append(plate(klein, subject()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == 1
    assert len(pictures) == 4
    assert all((each.rgb == alone).all() for each in pictures)


@pytest.mark.diffusion
def test_who_waits_for_a_turn_can_leave(klein: Diffusers) -> None:
    inside, go = threading.Event(), threading.Event()

    def painting_slowly() -> None:
        inside.set()
        assert go.wait(20)

    thread = threading.Thread(target=lambda: plate(klein, None, checkpoint=later(painting_slowly)))
    thread.start()
    assert inside.wait(20)

    def leave() -> None:
        raise GoneError

    with pytest.raises(GoneError):
        plate(klein, None, checkpoint=leave)
    assert thread.is_alive()  # the other still paints
    go.set()
    thread.join()


@pytest.mark.diffusion
def test_too_little_memory_is_said(klein: Diffusers) -> None:
    import torch

    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7 GiB")

    def absurd() -> None:
        torch.empty(2**55)  # the CPU's allocator itself refuses

    for then in (full, absurd):
        with pytest.raises(MatteboxError, match="too little memory") as caught:
            plate(klein, subject(), checkpoint=later(then))
        assert caught.value.kind is Kind.UNAVAILABLE
        assert isinstance(caught.value.__cause__, RuntimeError)
    assert plate(klein, subject()).finished


def later(then: Callable[[], None]) -> Callable[[], None]:
    """A checkpoint that lets the first two calls pass: those before the painting."""
    calls = 0

    def checkpoint() -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            then()

    return checkpoint


@pytest.mark.diffusion
def test_broken_weights_are_said(klein_folder: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "broken"
    shutil.copytree(klein_folder, folder)
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(MatteboxError, match="cannot be loaded") as caught:
        plate(Diffusers(str(folder), device="cpu"), None)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert str(folder) not in caught.value.message


@pytest.mark.diffusion
def test_pickled_weights_are_never_loaded(stable_folder: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = tmp_path / "pickled"
    shutil.copytree(stable_folder, folder)
    safe = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(safe), safe.with_suffix(".bin"))
    safe.unlink()
    with pytest.raises(MatteboxError, match="cannot be loaded"):
        plate(Diffusers(str(folder), device="cpu"), None)


@pytest.mark.diffusion
def test_a_model_that_is_not_here_is_not_fetched_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MatteboxError, match="not on this machine") as caught:
        plate(Diffusers(device="cpu", download=False), None)
    assert caught.value.kind is Kind.UNAVAILABLE


@pytest.mark.diffusion
@pytest.mark.process
@pytest.mark.parametrize("here", [True, False])
def test_a_model_that_is_here_is_loaded_without_asking_anybody(
    here: bool, stable_folder: Path, tmp_path: Path, watched: Watched
) -> None:
    name, revision = "stable-diffusion-v1-5/stable-diffusion-inpainting", "0" * 40
    hub = tmp_path / "hub"
    model = hub / f"models--{name.replace('/', '--')}"
    shutil.copytree(stable_folder, model / "snapshots" / revision)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(revision)
    if not here:
        (model / "snapshots" / revision / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    watched.environment["HF_HUB_CACHE"] = str(hub)
    process = watched.start(
        "-c",
        "import sys\n"
        "from mattebox.backdrops.generators.diffusion import Diffusers\n"
        "painter = Diffusers(sys.argv[1], device='cpu')\n"
        "loaded = lambda: painter._loaded is None or sys.exit()\n"
        "painter.plate('a hall', None, width=64, height=64, seed=0, checkpoint=loaded)",
        name,
    )
    process.wait(600)
    assert (process.returncode == 0) == here, watched.said
    assert (watched.contacted() == set()) == here
    # An empty folder for code that torch might compile is all that may be left.
    assert [path for path in watched.written() if not Path(path).is_dir()] == []


@pytest.mark.diffusion
def test_devices(klein_folder: Path) -> None:
    import torch

    for name in ("gpu", "cuda:x", "CPU"):
        with pytest.raises(MatteboxError) as caught:
            plate(Diffusers(str(klein_folder), device=name), None)
        assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, "device")
    with pytest.raises(MatteboxError) as caught:
        plate(Diffusers(str(klein_folder), device=f"cuda:{torch.cuda.device_count()}"), None)
    assert caught.value.kind is Kind.UNAVAILABLE


@pytest.mark.diffusion
@pytest.mark.parametrize("name", MODELS)
def test_diffusers_has_every_class_and_takes_what_it_is_given(name: str) -> None:
    import inspect

    import diffusers

    row = MODELS[name]
    given = {"prompt", "width", "height", "generator", "callback_on_step_end", "num_inference_steps", *row.arguments}
    on_a_picture = {"image"} | ({"mask_image"} if row.masked else set()) | ({"strength"} if row.strength else set())
    painter = inspect.signature(getattr(diffusers, row.painter).__call__).parameters
    assert given | on_a_picture <= set(painter)
    assert ("mask_image" in painter) is row.masked
    assert ("strength" in painter) is (row.strength is not None)
    if row.plain is not None:
        assert given <= set(inspect.signature(getattr(diffusers, row.plain).__call__).parameters)

from __future__ import annotations

import dataclasses
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.models.installed import PHOTO, installed, models, variant

from mattebox.download import NpmPackage
from mattebox.errors import Kind, MatteboxError
from mattebox.models import (
    CATALOGUE,
    ModelOptions,
    Models,
    families,
    memory,
    onnx_runtime,
    runtimes,
    weights,
)
from mattebox.models.catalogue import Choice, Variant

from .networks import write_tiny


def test_a_segmenter_gives_an_alpha_at_the_networks_size(tmp_path: Path) -> None:
    alpha = models(tmp_path, installed("u2net", tmp_path)).segmenter("u2net")(PHOTO)
    assert alpha.shape == (320, 320)
    assert alpha.dtype == np.float32
    assert alpha.min() >= 0
    assert alpha.max() <= 1


def test_modnet_keeps_the_shape(tmp_path: Path) -> None:
    row = installed("modnet-photographic", tmp_path)
    assert models(tmp_path, row).segmenter(row.name)(PHOTO).shape == (512, 704)


@pytest.mark.parametrize("name", ["nothing", "", ":", "nothing:/a.onnx", "auto:/a.onnx", "u2net:", "U2NET"])
def test_an_unknown_model_is_the_callers_mistake(name: str, tmp_path: Path) -> None:
    with pytest.raises(MatteboxError) as caught:
        models(tmp_path).segmenter(name)
    assert caught.value.kind is Kind.INVALID_PARAMETER
    assert caught.value.parameter == "model"
    assert all(known in caught.value.message for known in CATALOGUE)


@pytest.mark.parametrize("name", ["isnet", "u2net", "modnet", "birefnet", "birefnet-lite", "rmbg-2.0"])
def test_a_file_of_ones_own_is_prepared_like_its_network(name: str, tmp_path: Path) -> None:
    row = CATALOGUE.get(name) or next(
        row for row in CATALOGUE.values() if isinstance(row, Variant) and row.family == name
    )
    assert isinstance(row, Variant)
    file = write_tiny(row, tmp_path)
    alpha = models(tmp_path / "models").segmenter(f"{name}:{file}")(PHOTO)
    network = runtimes.open_network(lambda: file, device="cpu", threads=1, precision=row.precision)
    size = families.input_size(row, width=420, height=300)
    expected = families.read_alpha(network(families.prepare(PHOTO, row, size))[0], row)
    np.testing.assert_array_equal(alpha, expected)
    assert not (tmp_path / "models").exists()  # nothing is kept of a file that is not ours


def test_a_network_of_another_size_gets_that_size(tmp_path: Path) -> None:
    file = write_tiny(dataclasses.replace(variant("isnet-general"), size=768), tmp_path)
    assert models(tmp_path).segmenter(f"isnet:{file}")(PHOTO).shape == (768, 768)


def test_a_file_may_be_named_only_where_that_is_allowed(tmp_path: Path) -> None:
    file = write_tiny(variant("u2net"), tmp_path)
    with pytest.raises(MatteboxError) as caught:
        Models(ModelOptions(directory=tmp_path)).segmenter(f"u2net:{file}")
    assert caught.value.kind is Kind.INVALID_PARAMETER


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(MatteboxError) as caught:
        models(tmp_path).segmenter("u2net:/nowhere/net.onnx")(PHOTO)
    assert caught.value.kind is Kind.UNAVAILABLE


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_without_download_nothing_is_fetched(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        weights.path(variant("u2net"), tmp_path).write_bytes(content)
    with pytest.raises(MatteboxError, match="mattebox models pull u2net") as caught:
        models(tmp_path).segmenter("u2net")(PHOTO)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert ("damaged" if content else "not installed") in caught.value.message
    assert caught.value.parameter == "model"


def test_a_failed_load_is_tried_again(tmp_path: Path) -> None:
    row = installed("u2net", tmp_path)
    file = weights.path(row, tmp_path)
    content = file.read_bytes()
    file.unlink()
    segmenter = models(tmp_path, row).segmenter("u2net")
    with pytest.raises(MatteboxError):
        segmenter(PHOTO)
    file.write_bytes(content)
    assert segmenter(PHOTO).shape == (320, 320)


def test_many_threads_load_a_model_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mattebox.models")
    warm = models(tmp_path, installed("u2net", tmp_path))
    barrier = threading.Barrier(8)

    def run(_: int) -> npt.NDArray[np.float32]:
        barrier.wait(10)
        return warm.segmenter("u2net")(PHOTO)

    with ThreadPoolExecutor(8) as pool:
        alphas = list(pool.map(run, range(8)))
    assert all(np.array_equal(alpha, alphas[0]) for alpha in alphas)
    assert [record.getMessage().split()[:2] for record in caplog.records].count(["loaded", "u2net"]) == 1


@pytest.mark.process
def test_loading_one_model_does_not_hold_up_another(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    quick = installed("u2netp", tmp_path)
    slow_row = dataclasses.replace(
        quick, name="slow", sha256="0" * 64, sources=(NpmPackage("x", "file:/nowhere", "x"),)
    )
    entered = threading.Event()
    release = threading.Event()

    def slow(what: str, done: int, total: int | None) -> None:
        entered.set()
        release.wait(60)

    warm = Models(
        ModelOptions(device="cpu", threads=1, directory=tmp_path),
        progress=slow,
        catalogue={"slow": slow_row, quick.name: dataclasses.replace(quick, sources=(NpmPackage("x", "1", "x"),))},
    )
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(warm.segmenter("slow"), PHOTO)
        assert entered.wait(60)
        assert warm.segmenter(quick.name)(PHOTO).shape == (320, 320)
        assert not waiting.done()
        release.set()
        with pytest.raises(MatteboxError):
            waiting.result(60)


def test_what_may_not_be_used_commercially_warns_when_it_is_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"rmbg-2.0:{write_tiny(variant('rmbg-2.0'), tmp_path)}"
    warm = models(tmp_path)
    for _ in range(2):
        warm.warm(name)
    assert caplog.text.count("may not be used commercially") == 1


# --- memory


def test_what_does_not_fit_is_refused_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    row = dataclasses.replace(installed("u2netp", tmp_path), memory=8_400_000_000)
    monkeypatch.setattr(memory, "free", lambda: 5_000_000_000)
    caplog.set_level(logging.INFO, "mattebox.models")
    with pytest.raises(MatteboxError, match=r"u2netp needs about 8.4 GB of memory, and 5.0 GB are free") as caught:
        models(tmp_path, row).segmenter(row.name)(PHOTO)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert "loaded" not in caplog.text
    assert not (tmp_path / "openvino").exists()
    bold = ModelOptions(device="cpu", threads=1, directory=tmp_path, memory_check=False)
    Models(bold, catalogue={row.name: row}).warm(row.name)


def test_a_file_of_ones_own_is_measured_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free", lambda: 1_000_000_000)
    file = write_tiny(variant("birefnet-general"), tmp_path)
    models(tmp_path).warm(f"birefnet:{file}")  # some kilobytes
    with file.open("ab") as growing:
        growing.truncate(900_000_000)  # a hole: it takes no room on the disk
    with pytest.raises(MatteboxError, match=r"needs about 8.4 GB of memory"):
        models(tmp_path).warm(f"birefnet:{file}")


# --- names for a purpose


def test_a_choice_is_what_it_stands_for_here(tmp_path: Path) -> None:
    large = dataclasses.replace(installed("u2net", tmp_path), memory=8_000_000_000)
    small = installed("u2netp", tmp_path)
    best = Choice(name="best", candidates=(large.name, small.name), note="The best.")
    catalogue = {row.name: row for row in (best, large, small)}
    options = ModelOptions(device="cpu", threads=1, directory=tmp_path, download=False, memory_check=False)
    weights.path(small, tmp_path).unlink()
    for room, there in ((12_000_000_000, True), (8_000_000_000, False)):
        warm = Models(options, catalogue=catalogue, machine=memory.Machine(room))
        assert warm.installed("best") is there
    warm = Models(options, catalogue=catalogue, machine=memory.Machine(12_000_000_000))
    np.testing.assert_array_equal(warm.segmenter("best")(PHOTO), warm.segmenter(large.name)(PHOTO))
    assert warm.resolve(best) is large
    # what is installed does not count: the name means the same before and after a download
    with pytest.raises(MatteboxError, match="mattebox models pull u2netp"):
        Models(options, catalogue=catalogue, machine=memory.Machine(8_000_000_000)).segmenter("best")(PHOTO)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="threads"):
        ModelOptions(threads=-1)
    with pytest.raises(ValueError, match="batch"):
        ModelOptions(batch=0)
    with pytest.raises(ValueError, match="batch_wait"):
        ModelOptions(batch_wait=-0.1)


@pytest.fixture(scope="module")
def astronaut() -> npt.NDArray[np.uint8]:
    from skimage import data

    return np.asarray(data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]


@pytest.mark.model
def test_isnet_cuts_out_the_astronaut_the_same_on_both_runtimes(astronaut: npt.NDArray[np.uint8]) -> None:
    row = variant("isnet-general")
    file = weights.pull(row, directory=weights.default_directory())
    batch = families.prepare(astronaut, row, (row.size, row.size))
    exact = families.read_alpha(onnx_runtime.open_onnxruntime(file, device="cpu", threads=0)(batch)[0], row)
    ours = Models(ModelOptions(device="cpu")).segmenter("isnet-general")(astronaut)
    assert np.abs(ours - exact).mean() < 0.002
    assert np.abs(ours - exact).max() < 0.1
    # her face and suit are in, the corners of the room are out
    assert ours[150:350, 400:520].mean() > 0.95
    assert ours[700:1000, 300:600].mean() > 0.95
    assert ours[:200, :200].mean() < 0.05
    assert 0.3 < ours.mean() < 0.7


@pytest.mark.model
@pytest.mark.parametrize("name", ["auto", "u2net", "u2netp", "modnet-photographic"])
def test_every_fetchable_network_finds_the_astronaut(name: str, astronaut: npt.NDArray[np.uint8]) -> None:
    alpha = Models(ModelOptions(device="cpu")).segmenter(name)(astronaut)
    height, width = alpha.shape
    assert alpha[int(0.7 * height) :, int(0.3 * width) : int(0.6 * width)].mean() > 0.9
    assert alpha[: int(0.2 * height), : int(0.2 * width)].mean() < 0.1


@pytest.mark.model
def test_an_empty_scene_gives_an_empty_alpha() -> None:
    wall = np.full((600, 800, 3), 120, np.uint8)
    wall += np.random.default_rng(0).integers(0, 6, wall.shape, dtype=np.uint8)
    assert Models(ModelOptions(device="cpu")).segmenter("auto")(wall).max() == 0

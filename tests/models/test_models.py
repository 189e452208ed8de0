from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mattebox.download import NpmPackage
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Alpha
from mattebox.models import (
    CATALOGUE,
    EnsembleSegmenter,
    ModelOptions,
    Models,
    families,
    memory,
    onnx_runtime,
    runtimes,
    weights,
)
from mattebox.models.catalogue import Choice, Ensemble, Row, Variant

from .networks import write_tiny

PHOTO = np.random.default_rng(11).integers(0, 256, (300, 420, 3), dtype=np.uint8)


def variant(name: str) -> Variant:
    row = CATALOGUE[name]
    assert isinstance(row, Variant)
    return row


def installed(name: str, directory: Path) -> Variant:
    """A row of the catalogue whose file is a tiny network, in its place."""
    content = write_tiny(variant(name), directory).read_bytes()
    row = dataclasses.replace(variant(name), sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), sources=())
    weights.path(row, directory).write_bytes(content)
    return row


def models(directory: Path, *rows: Row) -> Models:
    options = ModelOptions(device="cpu", threads=1, directory=directory, download=False, user_files=True)
    return Models(options, catalogue={row.name: row for row in rows} or CATALOGUE)


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


def test_a_server_names_the_choice_that_is_not_installed(tmp_path: Path) -> None:
    row = dataclasses.replace(installed("u2netp", tmp_path), sources=(NpmPackage("x", "1", "x"),))
    weights.path(row, tmp_path).unlink()
    with pytest.raises(MatteboxError, match="best is not installed here; `mattebox models pull best` fetches it"):
        server_models(tmp_path, Choice(name="best", candidates=(row.name,), note="The best."), row).segmenter("best")


# --- a server: requests fetch nothing


@dataclasses.dataclass
class Source:
    """A package manager that counts and takes as long as it is told to."""

    folder: Path
    ready: Path

    @property
    def calls(self) -> int:
        file = self.folder / "calls"
        return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A command npm that waits for a file and then packs what lies in `content`."""
    folder = tmp_path / "npm"
    folder.mkdir()
    made = Source(folder, folder / "ready")
    script = folder / "npm"
    script.write_text(
        f"#!/bin/sh\necho call >> {folder}/calls\nwhile [ ! -e {made.ready} ]; do sleep 0.05; done\n"
        f"tar -czf tiny.tgz -C {folder} content\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return made


def fetchable(name: str, source: Source, directory: Path) -> Variant:
    """A row whose file is not there, but can be fetched."""
    row = installed(name, directory)
    weights.path(row, directory).rename(source.folder / "content")
    return dataclasses.replace(row, sources=(NpmPackage("tiny", "1.0", "content"),))


def server_models(directory: Path, *rows: Row, download: bool = True, user_files: bool = False) -> Models:
    options = ModelOptions(device="cpu", threads=1, directory=directory, download=download, user_files=user_files)
    return Models(options, fetch_when_used=False, catalogue={row.name: row for row in rows})


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="the package manager of this test is a shell script")
def test_a_request_neither_fetches_nor_waits_for_what_is_fetched(tmp_path: Path, source: Source) -> None:
    row = fetchable("u2netp", source, tmp_path)
    other = installed("u2net", tmp_path)
    auto = Ensemble(name="auto", detail=other.name, core=row.name, note="Both.")
    warm = server_models(tmp_path, auto, other, row)

    def refused(name: str) -> None:
        with pytest.raises(
            MatteboxError, match=f"{name} is not installed here; `mattebox models pull {name}`"
        ) as caught:
            warm.segmenter(name)
        assert caught.value.kind is Kind.UNAVAILABLE
        assert caught.value.parameter == "model"

    refused("u2netp")
    refused("auto")
    assert source.calls == 0
    assert [warm.installed(name) for name in ("u2net", "u2netp", "auto")] == [True, False, False]
    with ThreadPoolExecutor(1) as pool:
        warming = pool.submit(warm.warm, "auto")
        while source.calls == 0:
            assert not warming.done()
            time.sleep(0.01)
        refused("u2netp")
        assert warm.segmenter("u2net")(PHOTO).shape == (320, 320)
        assert not warming.done()
        source.ready.touch()
        warming.result(60)
    assert source.calls == 1
    assert warm.installed("auto")
    assert warm.segmenter("auto")(PHOTO).shape == (320, 320)
    weights.path(row, tmp_path).unlink()
    assert warm.installed("u2netp")  # it is loaded
    assert warm.segmenter("u2netp")(PHOTO).shape == (320, 320)


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="the package manager of this test is a shell script")
def test_a_request_does_not_wait_for_a_damaged_file_that_is_fetched_again(tmp_path: Path, source: Source) -> None:
    row = fetchable("u2netp", source, tmp_path)
    weights.path(row, tmp_path).write_bytes(b"damaged")
    warm = server_models(tmp_path, row)
    with ThreadPoolExecutor(1) as pool:
        warming = pool.submit(warm.warm, "u2netp")
        while source.calls == 0:
            assert not warming.done()
            time.sleep(0.01)
        with pytest.raises(MatteboxError, match="damaged"):
            warm.segmenter("u2netp")(PHOTO)
        assert not warming.done()
        source.ready.touch()
        warming.result(60)
    assert source.calls == 1
    assert warm.segmenter("u2netp")(PHOTO).shape == (320, 320)


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="the package manager of this test is a shell script")
def test_a_library_fetches_what_it_uses(tmp_path: Path, source: Source) -> None:
    row = fetchable("u2netp", source, tmp_path)
    source.ready.touch()
    options = ModelOptions(device="cpu", threads=1, directory=tmp_path)
    assert Models(options, catalogue={row.name: row}).segmenter(row.name)(PHOTO).shape == (320, 320)
    assert source.calls == 1


@pytest.mark.skipif(os.name == "nt", reason="the package manager of this test is a shell script")
def test_nobody_fetches_where_downloads_are_off(tmp_path: Path, source: Source) -> None:
    row = fetchable("u2netp", source, tmp_path)
    source.ready.touch()
    with pytest.raises(MatteboxError, match="not installed"):
        server_models(tmp_path, row, download=False).warm(row.name)
    assert source.calls == 0


def test_what_cannot_be_fetched_is_installed_only_as_a_file_of_ones_own(tmp_path: Path) -> None:
    row = variant("rmbg-2.0")
    weights.path(row, tmp_path).write_bytes(b"anything")
    warm = server_models(tmp_path, row, user_files=True)
    assert not warm.installed(row.name)
    with pytest.raises(MatteboxError, match="no download"):
        warm.segmenter(row.name)
    file = write_tiny(row, tmp_path)
    assert warm.installed(f"{row.name}:{file}")
    assert warm.segmenter(f"{row.name}:{file}")(PHOTO).shape == (1024, 1024)
    missing = f"{row.name}:{tmp_path}/nowhere.onnx"
    assert not warm.installed(missing)
    with pytest.raises(MatteboxError, match="file is not there") as caught:
        warm.segmenter(missing)(PHOTO)
    assert str(tmp_path) not in caught.value.message


def test_whether_an_unknown_model_is_installed_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(MatteboxError) as caught:
        models(tmp_path).installed("nothing")
    assert caught.value.kind is Kind.INVALID_PARAMETER


def test_a_directory_that_cannot_be_written_is_enough(tmp_path: Path) -> None:
    row = dataclasses.replace(installed("u2netp", tmp_path), sources=(NpmPackage("tiny", "1.0", "content"),))
    (tmp_path / "openvino").write_text("a file where a directory is wanted")
    (tmp_path / ".u2netp.lock").mkdir()
    options = ModelOptions(device="cpu", threads=1, directory=tmp_path)
    warm = Models(options, catalogue={row.name: row})
    warm.warm(row.name)
    assert weights.pull(row, directory=tmp_path).is_file()


@dataclasses.dataclass
class Looks:
    """Networks that answer with given alphas, in the place of `auto`'s, and remember what they were shown."""

    answers: dict[int, list[npt.NDArray[np.float32]]]
    shown: list[families.Batch] = dataclasses.field(default_factory=list)
    where = "memory"
    size = None
    batch = 1

    def __call__(self, batch: families.Batch) -> npt.NDArray[np.float32]:
        self.shown.append(batch)
        return self.answers[batch.shape[-1]].pop(0)[np.newaxis]


def seen_by_auto(looks: Looks, photo: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> tuple[Alpha, float]:
    monkeypatch.setattr(runtimes, "open_network", lambda *_, **__: looks)
    auto = Models(ModelOptions(device="cpu", threads=1)).segmenter("auto")
    assert isinstance(auto, EnsembleSegmenter)
    found = auto.look(photo)
    assert not any(looks.answers.values())  # every look was taken
    return found


def bar(side: int, start: float, end: float) -> npt.NDArray[np.float32]:
    """An upright bar between two fractions of the width."""
    alpha = np.zeros((side, side), np.float32)
    alpha[side // 4 : side // 4 * 3, round(start * side) : round(end * side)] = 1
    return alpha


def test_where_the_two_networks_agree_each_looks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from mattebox import matting

    detail, core = bar(1024, 0.3, 0.6), bar(320, 0.3, 0.6)
    alpha, support = seen_by_auto(Looks({1024: [detail], 320: [core]}), PHOTO, monkeypatch)
    np.testing.assert_array_equal(alpha, matting.fuse(detail, core))
    assert support > 0.98
    assert not isinstance(Models().segmenter("u2netp"), EnsembleSegmenter)  # a single network bears nothing out


def test_where_they_disagree_the_core_is_looked_for_in_the_mirrored_photo_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from mattebox import matting

    detail, core, mirrored = bar(1024, 0.2, 0.5), bar(320, 0.2, 0.5), bar(320, 0.2, 0.8)
    detail = np.maximum(detail, np.float32(0.03))  # it sees a little everywhere
    assert matting.DOUBTED < matting.agreement(detail, core) < matting.AGREED
    looks = Looks({1024: [detail], 320: [core, mirrored[:, ::-1]]})
    square = np.ascontiguousarray(np.resize(PHOTO, (320, 320, 3)))  # resizing is not quite the same mirrored
    alpha, support = seen_by_auto(looks, square, monkeypatch)
    np.testing.assert_array_equal(alpha, matting.fuse(detail, mirrored))
    assert alpha[512, 700] == 1  # which the first look did not see
    assert support == matting.support(alpha, detail, mirrored)
    assert 0 < support < 1
    np.testing.assert_array_equal(looks.shown[2], looks.shown[1][..., ::-1])


def test_where_the_detail_sees_nothing_both_looks_have_to_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    core, mirrored = bar(320, 0.2, 0.7), bar(320, 0.27, 0.9)
    alpha, _ = seen_by_auto(Looks({1024: [bar(1024, 0.2, 0.63)], 320: [core, mirrored[:, ::-1]]}), PHOTO, monkeypatch)
    assert (alpha[512, [240, 460, 690, 800]] > 0.5).tolist() == [True, True, True, False]


def framed(alpha: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The alpha as a network draws it for the photo in its frame: in the middle, at four fifths of the size."""
    whole = np.zeros_like(alpha)
    side = len(alpha) // 10
    whole[side:-side, side:-side] = cv2.resize(alpha, (8 * side, 8 * side), interpolation=cv2.INTER_AREA)
    return whole


def test_where_they_disagree_much_the_photo_is_looked_at_in_a_frame_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the detail sees something, what any look saw counts, and elsewhere what two of the three saw."""
    from mattebox import matting

    detail = bar(1024, 0.2, 0.4)
    first, mirrored, third = bar(320, 0.2, 0.6), bar(320, 0.2, 0.3), bar(320, 0.4, 0.9)
    looks = Looks({1024: [detail], 320: [first, mirrored[:, ::-1], framed(third)]})
    photo = np.ascontiguousarray(np.resize(PHOTO, (256, 256, 3)))
    alpha, support = seen_by_auto(looks, photo, monkeypatch)
    assert (alpha[512, [250, 350, 500, 800]] > 0.5).tolist() == [True, True, True, False]
    assert support == pytest.approx(matting.support(alpha, detail, bar(320, 0.2, 0.6)), abs=0.02)
    inside = looks.shown[3][..., 32:-32, 32:-32]  # a photo of this size is as large in the frame as it is
    np.testing.assert_allclose(inside, families.prepare(photo, variant("u2netp"), (256, 256)), atol=1e-5)
    np.testing.assert_array_equal(looks.shown[3][..., :32, 32:-32], inside[..., 32:0:-1, :])  # it is its reflection


def test_a_third_look_takes_no_subject_away(monkeypatch: pytest.MonkeyPatch) -> None:
    from mattebox import matting

    unsure, core = 0.4 * bar(1024, 0, 1), 0.7 * bar(320, 0.2, 0.3)
    haze = np.maximum(0.3 * bar(320, 0, 1), core)
    assert matting.has_subject(unsure, core)
    assert not matting.has_subject(unsure, matting.merge(unsure, core, core, haze))
    alpha, _ = seen_by_auto(Looks({1024: [unsure], 320: [core, core[:, ::-1], framed(haze)]}), PHOTO, monkeypatch)
    np.testing.assert_array_equal(alpha, matting.fuse(unsure, core))
    assert alpha.any()


def test_what_only_one_of_two_looks_takes_for_a_subject_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    unsure, core, nothing = 0.6 * bar(1024, 0.2, 0.4), bar(320, 0.3, 0.6), np.zeros((320, 320), np.float32)
    alpha, _ = seen_by_auto(Looks({1024: [unsure], 320: [core, nothing]}), PHOTO, monkeypatch)
    assert not alpha.any()


def test_an_empty_scene_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = np.full((1024, 1024), 0.2, np.float32)
    cloud[:, :400] = 0.4
    alpha, _ = seen_by_auto(Looks({1024: [cloud], 320: [cloud[:320, 300:620]]}), PHOTO, monkeypatch)
    assert not alpha.any()


def sketch(directory: Path, *, fill: float) -> Row:
    """A network that sees a subject in the middle of every photo, as far as `fill` goes."""
    from onnx import TensorProto, helper, numpy_helper

    plane = np.zeros((1, 1, 320, 320), np.float32)
    plane[..., 80:240, 80:240] = fill
    nodes = [
        helper.make_node("ReduceMean", ["photo"], ["mean"], axes=[1]),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "plane"], ["alpha"]),
    ]
    values = {"plane": plane, "nothing": np.zeros(1, np.float32)}
    graph = helper.make_graph(
        nodes,
        "sketch",
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, [1, 3, 320, 320])],
        [helper.make_tensor_value_info("alpha", TensorProto.FLOAT, [1, 1, 320, 320])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    row = dataclasses.replace(
        variant("u2netp"), name="sketch", sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), sources=()
    )
    weights.path(row, directory).write_bytes(content)
    return row


def test_an_edge_is_drawn_anew_and_the_rest_stays(tmp_path: Path) -> None:
    rough = sketch(tmp_path, fill=1.0)
    edge = dataclasses.replace(installed("vitmatte-small", tmp_path), rough=rough.name)
    warm = models(tmp_path, rough, edge)
    alpha = warm.segmenter(edge.name)(PHOTO)
    assert alpha.shape == (1024, 1024)
    known = families.trimap(warm.segmenter(rough.name)(PHOTO), (1024, 1024))
    np.testing.assert_array_equal(alpha[known == 0], 0)
    np.testing.assert_array_equal(alpha[known == 1], 1)
    network = runtimes.open_network(lambda: weights.path(edge, tmp_path), device="cpu", threads=1)
    drawn = families.read_alpha(network(families.prepare(PHOTO, edge, (1024, 1024), known))[0], edge)
    np.testing.assert_array_equal(alpha[known == 0.5], drawn[known == 0.5])
    assert 0.01 < (known == 0.5).mean() < 0.2
    own = warm.segmenter(f"{edge.name}:{weights.path(edge, tmp_path)}")(PHOTO)
    np.testing.assert_array_equal(own, alpha)


def test_no_edge_is_drawn_where_there_is_no_subject(tmp_path: Path) -> None:
    rough = sketch(tmp_path, fill=0.0)
    edge = dataclasses.replace(installed("vitmatte-small", tmp_path), rough=rough.name)
    assert models(tmp_path, rough, edge).segmenter(edge.name)(PHOTO).max() == 0


def test_what_refines_an_ensemble_says_how_far_its_networks_agree(tmp_path: Path) -> None:
    detail, core = sketch(tmp_path, fill=1.0), installed("u2net", tmp_path)
    auto = Ensemble(name="auto", detail=detail.name, core=core.name, note="Both.")
    edge = installed("vitmatte-small", tmp_path)
    warm = models(tmp_path, auto, detail, core, edge)
    ensemble, refined = warm.segmenter("auto"), warm.segmenter(edge.name)
    assert isinstance(ensemble, EnsembleSegmenter)
    assert isinstance(refined, EnsembleSegmenter)
    assert refined.look(PHOTO)[1] == ensemble.look(PHOTO)[1] < 1
    weights.path(core, tmp_path).unlink()
    assert not models(tmp_path, auto, detail, core, edge).installed(edge.name)


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

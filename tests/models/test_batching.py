from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.models.installed import installed, variant

from mattebox import cancellation
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB
from mattebox.models import EnsembleSegmenter, ModelOptions, Models, families, onnx_runtime, runtimes, weights
from mattebox.models.batching import Batching
from mattebox.models.catalogue import Ensemble
from mattebox.models.families import Batch
from mattebox.models.network import LoadedNetwork, OutOfMemoryError

LONG = 300.0
"""Seconds that are not waited for: a batch is full before."""


@dataclass
class Doubling:
    """A network that answers with twice the first plane, and remembers what it was given."""

    batch: int = 4
    refuse: Callable[[Batch], None] = lambda _: None
    size = None
    where = "memory"
    seen: list[list[float]] = field(default_factory=list)
    """The batches, each photo by its first value."""

    def __call__(self, batch: Batch) -> npt.NDArray[np.float32]:
        self.seen.append([float(photo[0, 0, 0]) for photo in batch])
        self.refuse(batch)
        return batch[:, 0] * np.float32(2)

    @property
    def sizes(self) -> list[int]:
        return [len(each) for each in self.seen]


def photo(value: float, side: int = 2) -> Batch:
    return np.full((1, 3, side, side), value, np.float32)


def at_once(network: LoadedNetwork, photos: Sequence[Batch]) -> list[Future[npt.NDArray[np.float32]]]:
    """Call a network with each photo, in as many threads, and wait for all."""
    with ThreadPoolExecutor(len(photos)) as pool:
        return [pool.submit(network, each) for each in photos]


def test_photos_that_come_together_are_run_together() -> None:
    network = Doubling(batch=4)
    answers = at_once(Batching(network, wait=LONG), [photo(value) for value in range(8)])
    for value, answer in enumerate(answers):
        np.testing.assert_array_equal(answer.result(), np.full((1, 2, 2), 2.0 * value))
    assert network.sizes == [4, 4]


def test_a_photo_alone_is_run_alone() -> None:
    network = Doubling()
    np.testing.assert_array_equal(Batching(network, wait=0.001)(photo(3)), np.full((1, 2, 2), 6.0))
    assert network.seen == [[3]]


def test_what_comes_while_a_batch_is_run_is_the_next_batch() -> None:
    inside, go = threading.Event(), threading.Event()

    def held(batch: Batch) -> None:
        if batch[0, 0, 0, 0] == 0:
            inside.set()
            assert go.wait(60)

    network = Doubling(batch=3, refuse=held)
    batching = Batching(network, wait=0.0)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batching, photo(0))
        assert inside.wait(60)
        arrived = threading.Barrier(4)

        def announced(value: float) -> npt.NDArray[np.float32]:
            with cancellation.cancellable(lambda: once(arrived)):  # called when its photo waits in the line
                return batching(photo(value))

        later = [pool.submit(announced, value) for value in (1.0, 2.0, 3.0)]
        arrived.wait(60)
        go.set()
        assert [each.result()[0, 0, 0] for each in (first, *later)] == [0, 2, 4, 6]
    assert [sorted(each) for each in network.seen] == [[0], [1, 2, 3]]


_waited = threading.local()


def once(barrier: threading.Barrier) -> None:
    if not hasattr(_waited, "for_all"):
        _waited.for_all = True
        barrier.wait(60)


def test_only_photos_of_one_size_share_a_batch() -> None:
    network = Doubling(batch=2)
    photos = [photo(1, 2), photo(2, 3), photo(3, 2), photo(4, 3)]
    answers = at_once(Batching(network, wait=LONG), photos)
    assert [each.result().shape for each in answers] == [(1, 2, 2), (1, 3, 3)] * 2
    assert sorted(sorted(each) for each in network.seen) == [[1, 3], [2, 4]]


class Cancelled(Exception):
    """What a checkpoint raises."""


def test_what_is_cancelled_leaves_the_line() -> None:
    inside, go, cancel = (threading.Event() for _ in range(3))

    def held(_: Batch) -> None:
        inside.set()
        assert go.wait(60)

    def checkpoint() -> None:
        if cancel.is_set():
            raise Cancelled

    network = Doubling(refuse=held)
    batching = Batching(network, wait=0.0)

    def cancellable() -> npt.NDArray[np.float32]:
        with cancellation.cancellable(checkpoint):
            return batching(photo(2))

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(batching, photo(1))
        assert inside.wait(60)
        second, third = pool.submit(cancellable), pool.submit(batching, photo(3))
        cancel.set()
        assert isinstance(second.exception(60), Cancelled)
        go.set()
        assert [each.result()[0, 0, 0] for each in (first, third)] == [2, 6]
    assert network.seen == [[1], [3]]


def refuses_negative(batch: Batch) -> None:
    if (batch < 0).any():
        raise MatteboxError(Kind.UNAVAILABLE, "A photo is wrong.")


def test_a_photo_that_fails_fails_alone() -> None:
    network = Doubling(batch=3, refuse=refuses_negative)
    batching = Batching(network, wait=LONG)
    one, bad, other = at_once(batching, [photo(1), photo(-1), photo(2)])
    assert (one.result()[0, 0, 0], other.result()[0, 0, 0]) == (2, 4)
    with pytest.raises(MatteboxError, match="A photo is wrong"):
        bad.result()
    assert sorted(network.sizes) == [1, 1, 1, 3]
    at_once(batching, [photo(1), photo(2), photo(3)])
    assert network.sizes[4:] == [3]  # the others are still run together


def test_a_network_that_takes_no_batches_is_asked_for_one_once() -> None:
    def refuse(batch: Batch) -> None:
        if len(batch) > 1:
            raise MatteboxError(Kind.UNAVAILABLE, "One photo, please.")

    network = Doubling(batch=3, refuse=refuse)
    batching = Batching(network, wait=LONG)
    for _ in range(2):
        answers = at_once(batching, [photo(value) for value in (1, 2, 3)])
        assert [each.result()[0, 0, 0] for each in answers] == [2, 4, 6]
    assert network.sizes == [3, 1, 1, 1, 1, 1, 1]


def test_a_batch_that_is_too_large_for_the_memory_is_halved_for_good(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(batch: Batch) -> None:
        if len(batch) > 2:
            raise OutOfMemoryError(Kind.UNAVAILABLE, "No memory.")

    network = Doubling(batch=8, refuse=refuse)
    batching = Batching(network, wait=LONG)
    for _ in range(2):
        answers = at_once(batching, [photo(value) for value in range(8)])
        assert [each.result()[0, 0, 0] for each in answers] == [2.0 * value for value in range(8)]
    assert network.sizes == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    assert "no memory for 8 photos at once; from now on 4" in caplog.text


def test_one_photo_that_is_too_large_for_the_memory_is_a_failure() -> None:
    def refuse(_: Batch) -> None:
        raise OutOfMemoryError(Kind.UNAVAILABLE, "No memory.")

    network = Doubling(batch=2, refuse=refuse)
    for answer in at_once(Batching(network, wait=LONG), [photo(1), photo(2)]):
        with pytest.raises(OutOfMemoryError):
            answer.result()
    assert network.sizes == [2, 1, 1]


def test_an_interruption_is_that_of_one_thread() -> None:
    times = iter([KeyboardInterrupt()])

    def refuse(_: Batch) -> None:
        for each in times:
            raise each

    network = Doubling(batch=3, refuse=refuse)
    answers = at_once(Batching(network, wait=1.0), [photo(value) for value in (1, 2, 3)])
    failed = [each.exception() for each in answers if each.exception() is not None]
    assert [type(each) for each in failed] == [KeyboardInterrupt]
    assert network.sizes == [3, 2]


# --- with real runtimes -----------------------------------------------------------------------------------------------


def on_processor(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let ONNX Runtime's processor do what is asked of a GPU. Gives the sizes of the batches that it runs."""
    real, sizes = onnx_runtime.open_onnxruntime, list[int]()

    @dataclass
    class Counted:
        network: LoadedNetwork

        def __post_init__(self) -> None:
            self.size, self.where, self.batch = self.network.size, self.network.where, self.network.batch

        def __call__(self, batch: Batch) -> npt.NDArray[np.float32]:
            sizes.append(len(batch))
            return self.network(batch)

    def opened(file: Path, *, device: str, threads: int, batch: int, free_batch: bool, **_: object) -> LoadedNetwork:
        assert device == "cuda"
        return Counted(real(file, device="cpu", threads=threads, batch=batch, free_batch=free_batch))

    monkeypatch.setattr(onnx_runtime, "open_onnxruntime", opened)
    return sizes


def photos(count: int) -> list[RGB]:
    rng = np.random.default_rng(4)
    return [rng.integers(0, 256, (60 + each, 90, 3), dtype=np.uint8) for each in range(count)]


def test_an_ensemble_on_a_gpu_sees_its_photos_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detail, core = installed("isnet-general", tmp_path), installed("u2netp", tmp_path)
    catalogue = {
        row.name: row for row in (detail, core, Ensemble(name="auto", detail=detail.name, core=core.name, note=""))
    }

    def segmenter(device: str, batch: int) -> EnsembleSegmenter:
        options = ModelOptions(device=device, threads=1, directory=tmp_path, download=False, batch=batch, batch_wait=1)
        found = Models(options, catalogue=catalogue).segmenter("auto")
        assert isinstance(found, EnsembleSegmenter)
        return found

    seen = photos(3)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)  # so that ONNX Runtime gives the answers to compare
    alone = [segmenter("cpu", 1).look(each) for each in seen]
    sizes = on_processor(monkeypatch)
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(segmenter("cuda", 3).look, seen))
    for (alpha, support), (expected, support_alone) in zip(together, alone, strict=True):
        np.testing.assert_allclose(alpha, expected, atol=1e-6)
        assert support == pytest.approx(support_alone, abs=1e-6)
        assert expected.std() > 0.05
    assert 3 in sizes
    assert max(sizes) == 3


@pytest.mark.parametrize("device", ["cpu", "openvino:CPU"])
def test_processors_are_given_one_photo_at_a_time(device: str, tmp_path: Path) -> None:
    row = installed("u2netp", tmp_path)
    options = ModelOptions(device=device, threads=1, directory=tmp_path, download=False, batch=8)
    Models(options, catalogue={row.name: row}).warm(row.name)
    loaded = runtimes.open_network(
        lambda: weights.path(row, tmp_path), device=device, threads=1, batch=8, free_batch=True
    )
    assert loaded.batch == 1


@pytest.mark.model
@pytest.mark.parametrize("name", ["isnet-general", "u2net", "u2netp", "modnet-photographic"])
def test_a_batch_of_a_real_network_gives_what_its_photos_give_one_by_one(name: str) -> None:
    from mattebox.testing import make_scene

    row = variant(name)
    file = weights.pull(row, directory=weights.default_directory())
    free = families.takes_batches(row)
    loaded = onnx_runtime.open_onnxruntime(file, device="cpu", threads=0, batch=3, free_batch=free)
    assert loaded.batch == 3
    size = loaded.size or families.input_size(row, width=300, height=200)
    scenes = [make_scene(width=300, height=200, seed=seed).photo for seed in range(3)]
    batch = np.concatenate([families.prepare(each, row, size) for each in scenes])
    together = loaded(batch)
    single = np.concatenate([loaded(batch[place : place + 1]) for place in range(3)])
    np.testing.assert_allclose(together, single, atol=1e-4)
    assert np.abs(single[0] - single[1]).mean() > 0.01  # three photos, and not one of them three times

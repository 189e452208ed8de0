from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import onnx
import pytest

from mattebox.errors import Kind, MatteboxError
from mattebox.models import families, network, onnx_runtime, runtimes
from mattebox.models.catalogue import CATALOGUE, Variant
from mattebox.models.network import LoadedNetwork, OutOfMemoryError

from .networks import tiny_model, upsampling_model, write_tiny


def variant(name: str) -> Variant:
    row = CATALOGUE[name]
    assert isinstance(row, Variant)
    return row


def opened(file: Path, *, free: bool = True) -> LoadedNetwork:
    return onnx_runtime.open_onnxruntime(file, device="cpu", threads=1, batch=8, free_batch=free)


def photos(row: Variant, count: int) -> families.Batch:
    rng = np.random.default_rng(9)
    seen = [rng.integers(0, 256, (70, 110, 3), dtype=np.uint8) for _ in range(count)]
    size = families.input_size(row, width=110, height=70)
    return np.concatenate([families.prepare(each, row, size) for each in seen])


@pytest.mark.parametrize("name", ["isnet-general", "u2net", "u2netp", "modnet-photographic"])
def test_a_batch_gives_what_its_photos_give_one_by_one(name: str, tmp_path: Path) -> None:
    row = variant(name)
    loaded = opened(write_tiny(row, tmp_path))
    batch = photos(row, 3)
    single = [loaded(batch[place : place + 1]) for place in range(3)]
    together = loaded(batch)  # after single ones: its answer needs another place
    assert together.shape == (3, *batch.shape[2:])
    np.testing.assert_allclose(together, np.concatenate(single), atol=1e-6)
    np.testing.assert_array_equal(loaded(batch[:1]), single[0])
    assert np.abs(together[0] - together[1]).mean() > 0.01


def test_a_network_that_grows_its_photo_by_its_shape_takes_batches(tmp_path: Path) -> None:
    onnx.save(upsampling_model(), tmp_path / "up.onnx")
    loaded = opened(tmp_path / "up.onnx")
    batch = np.random.default_rng(1).random((3, 3, 12, 12), dtype=np.float32)
    single = [loaded(batch[place : place + 1]) for place in range(3)]
    np.testing.assert_allclose(loaded(batch), np.concatenate(single), atol=1e-6)
    assert np.std(single) > 0.05


def test_an_answer_stays_as_it_is_when_the_next_photo_comes(tmp_path: Path) -> None:
    row = variant("u2netp")
    loaded = opened(write_tiny(row, tmp_path))
    batch = photos(row, 2)
    first = loaded(batch[:1])
    kept = first.copy()
    loaded(batch[1:])
    np.testing.assert_array_equal(first, kept)


def test_a_file_for_one_photo_is_given_one_unless_that_is_merely_what_it_says(tmp_path: Path) -> None:
    row = variant("u2netp")
    file = write_tiny(row, tmp_path)
    assert opened(file, free=False).batch == 1
    assert opened(file).batch == 8
    model = tiny_model(side=320, logits=False)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "count"
    onnx.save(model, tmp_path / "free.onnx")
    assert opened(tmp_path / "free.onnx", free=False).batch == 8


def test_a_file_in_float16_is_said_to_be_computed_in_it(tmp_path: Path) -> None:
    row = variant("isnet-general")
    assert opened(write_tiny(row, tmp_path)).where == "ONNX Runtime cpu f32"
    assert opened(write_tiny(row, tmp_path, dtype=np.float16)).where == "ONNX Runtime cpu f16"


@pytest.mark.parametrize("content", [b"", b"not a network at all" * 10, None], ids=["empty", "text", "half"])
def test_a_file_that_is_no_network_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    whole = tiny_model(side=320, logits=False).SerializeToString()
    file = tmp_path / "broken.onnx"
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(MatteboxError, match="may be damaged, or need a newer runtime") as caught:
        opened(file)
    assert caught.value.kind is Kind.UNAVAILABLE


# --- a GPU, as far as one can be asked for where there is none --------------------------------------------------------


class Session:
    """The session of a GPU that is not here: remembers what it was opened with."""

    opened: ClassVar[list[Session]]
    failure: Exception | None = None
    lost = False

    def __init__(
        self, model: Path | bytes, *, sess_options: object, providers: list[tuple[str, dict[str, str]]]
    ) -> None:
        if self.failure is not None:
            raise self.failure
        self.model, self.providers = model, providers
        self.opened.append(self)

    def disable_fallback(self) -> None:
        pass

    def get_providers(self) -> list[str]:
        return [name for name, _ in self.providers[1 if self.lost else 0 :]]

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="photo", shape=["batch", 3, 320, 320], type="tensor(float)")]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="alpha", shape=["batch", 1, 320, 320], type="tensor(float)")]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> type[Session]:
    import onnxruntime

    class Fresh(Session):
        opened: ClassVar[list[Session]] = []

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(onnx_runtime.PROVIDERS.values()))
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcublas.so"))
    monkeypatch.setattr(onnxruntime, "InferenceSession", Fresh)
    return Fresh


@pytest.mark.parametrize(("precision", "tf32"), [("f32", "0"), ("bf16", "1")])
def test_cuda_rounds_only_where_that_does_not_show(
    precision: str, tf32: str, gpu: type[Session], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_tiny(variant("u2netp"), tmp_path)
    loaded = runtimes.open_network(
        lambda: file,
        device="cuda",
        threads=1,
        precision="bf16" if precision == "bf16" else "f32",
        batch=4,
        free_batch=True,
        prepared=tmp_path / "openvino" / "u2netp",
    )
    assert (loaded.where, loaded.batch, loaded.size) == ("ONNX Runtime cuda f32", 4, (320, 320))
    (session,) = gpu.opened
    assert [name for name, _ in session.providers] == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    options = session.providers[0][1]
    assert options["use_tf32"] == tf32
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert isinstance(session.model, bytes)
    assert len(onnx.ModelProto.FromString(session.model).graph.output) == 1  # without what only training needs
    assert capsys.readouterr().out == ""  # where a picture may go


def test_tensorrt_builds_for_all_batches_and_keeps_what_it_builds(gpu: type[Session], tmp_path: Path) -> None:
    file, prepared = write_tiny(variant("u2netp"), tmp_path), tmp_path / "openvino" / "u2netp"
    loaded = runtimes.open_network(
        lambda: file, device="tensorrt", threads=1, batch=4, free_batch=True, prepared=prepared
    )
    assert loaded.where == "ONNX Runtime tensorrt f32"
    (session,) = gpu.opened
    names = [name for name, _ in session.providers]
    assert names == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    assert session.providers[0][1] == {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(tmp_path / "tensorrt"),
        "trt_profile_min_shapes": "photo:1x3x320x320",
        "trt_profile_opt_shapes": "photo:4x3x320x320",
        "trt_profile_max_shapes": "photo:4x3x320x320",
    }
    assert (tmp_path / "tensorrt").is_dir()


def test_coreml_is_given_the_file_as_it_is(gpu: type[Session], tmp_path: Path) -> None:
    file = write_tiny(variant("u2netp"), tmp_path)
    loaded = runtimes.open_network(lambda: file, device="coreml", threads=1, batch=4, free_batch=True)
    assert loaded.batch == 1
    assert [session.model for session in gpu.opened] == [file]


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_gpu_that_does_not_start_is_an_error_and_no_processor(
    device: str, gpu: type[Session], tmp_path: Path
) -> None:
    gpu.lost = True
    file = write_tiny(variant("u2netp"), tmp_path)
    with pytest.raises(MatteboxError, match=f"{device} could not be started") as caught:
        runtimes.open_network(lambda: file, device=device, threads=1)
    assert (caught.value.kind, caught.value.parameter) == (Kind.UNAVAILABLE, "device")


@pytest.mark.parametrize(
    "words",
    [
        "CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc((void**)&p, size);",
        "Failed to allocate memory for requested buffer of size 12884901888",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
        "CUDNN_BACKEND_API_FAILED: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "std::bad_alloc",
        "[GPU] clEnqueueNDRangeKernel, error code: -5 CL_OUT_OF_RESOURCES",
        "Could not allocate memory",
    ],
)
def test_a_network_that_a_gpu_has_no_memory_for_is_told_apart(words: str, gpu: type[Session], tmp_path: Path) -> None:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    gpu.failure = state.RuntimeException(words)
    file = write_tiny(variant("u2netp"), tmp_path)
    with pytest.raises(OutOfMemoryError, match="too little memory to load the network on cuda") as caught:
        runtimes.open_network(lambda: file, device="cuda", threads=1)
    assert (caught.value.kind, caught.value.parameter) == (Kind.UNAVAILABLE, "model")
    assert isinstance(network.not_run("somewhere", RuntimeError(words)), OutOfMemoryError)


@pytest.mark.parametrize("make", [network.not_run, network.not_loaded])
def test_what_is_no_lack_of_memory_is_not_called_one(make: Callable[[str, Exception], MatteboxError]) -> None:
    for words in (
        "Got invalid dimensions for input: photo",
        "CUDA failure 700: an illegal memory access was encountered",
    ):
        assert not isinstance(make("cuda", RuntimeError(words)), OutOfMemoryError)

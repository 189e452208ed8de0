from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mattebox.errors import Kind, MatteboxError
from mattebox.models import families, onnx_runtime, runtimes
from mattebox.models.catalogue import CATALOGUE, Family, Variant
from mattebox.models.network import LoadedNetwork

if TYPE_CHECKING:
    import onnx

from .networks import tiny_model, write_tiny

VARIANTS = [row for row in CATALOGUE.values() if isinstance(row, Variant)]


def variant(name: str) -> Variant:
    row = CATALOGUE[name]
    assert isinstance(row, Variant)
    return row


def never() -> Path:
    raise AssertionError("the ONNX file was asked for")


def photo_for(row: Variant) -> families.Batch:
    photo = np.random.default_rng(5).integers(0, 256, (70, 110, 3), dtype=np.uint8)
    size = families.input_size(row, width=110, height=70)
    known = None if row.rough is None else families.trimap(np.tri(9, dtype=np.float32), size)
    return families.prepare(photo, row, size, known)


@pytest.mark.parametrize("row", VARIANTS, ids=lambda row: row.name)
def test_both_runtimes_give_the_same_alpha(row: Variant, tmp_path: Path) -> None:
    file = write_tiny(row, tmp_path)
    batch = photo_for(row)
    vino = runtimes.open_openvino(lambda: file, device="CPU", threads=1, precision="f32")
    onnx = onnx_runtime.open_onnxruntime(file, device="cpu", threads=1)
    fixed = None if row.family is Family.MODNET else (row.size, row.size)
    assert vino.size == onnx.size == fixed
    one, other = (families.read_alpha(network(batch), row) for network in (vino, onnx))
    assert one.shape == other.shape == (1, *batch.shape[2:])
    assert one.dtype == other.dtype == np.float32
    assert one.std() > 0.05  # it is not two empty answers that agree
    np.testing.assert_allclose(one, other, atol=2e-5)


def test_a_file_in_float16_gives_the_alpha_of_its_weights(tmp_path: Path) -> None:
    """As IS-Net's: its weights are float16 and so is its arithmetic, which processors do in float32."""
    row = variant("isnet-general")
    file = write_tiny(row, tmp_path, dtype=np.float16)
    expected = families.read_alpha(
        runtimes.open_openvino(lambda: write_tiny(row, tmp_path), device="CPU", threads=1, precision="f32")(
            photo_for(row)
        ),
        row,
    )
    for network in (
        runtimes.open_openvino(lambda: file, device="CPU", threads=1, precision="f32"),
        runtimes.open_openvino(lambda: file, device="CPU", threads=1, precision="f32", prepared=tmp_path / "kept"),
        onnx_runtime.open_onnxruntime(file, device="cpu", threads=1),
    ):
        assert network.size == (row.size, row.size)
        alpha = families.read_alpha(network(photo_for(row)), row)
        np.testing.assert_allclose(alpha, expected, atol=4e-3)  # weights as large as 1 are rounded by up to 0.0005


def test_an_answer_in_float16_is_read_as_one(tmp_path: Path) -> None:
    """As BEN2's: its weights are float32 and its answer float16."""
    import onnx

    row = variant("ben2")
    file, exact = tmp_path / "half.onnx", write_tiny(row, tmp_path)
    onnx.save(tiny_model(side=row.size, logits=row.logits, answer=np.float16), file)
    expected = onnx_runtime.open_onnxruntime(exact, device="cpu", threads=1)(photo_for(row))
    for network in (
        runtimes.open_openvino(lambda: file, device="CPU", threads=1, precision="f32"),
        onnx_runtime.open_onnxruntime(file, device="cpu", threads=1),
    ):
        answer = network(photo_for(row))
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, expected, atol=1e-3)


def test_bf16_is_used_only_where_it_is_allowed_and_native(tmp_path: Path) -> None:
    import openvino

    native = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    row = variant("u2net")
    file = write_tiny(row, tmp_path)
    allowed = runtimes.open_openvino(lambda: file, device="CPU", threads=1, precision="bf16")
    exact = runtimes.open_openvino(lambda: file, device="CPU", threads=1, precision="f32")
    assert allowed.where == f"OpenVINO CPU {'bf16' if native else 'f32'}"
    assert exact.where == "OpenVINO CPU f32"
    np.testing.assert_allclose(allowed(photo_for(row)), exact(photo_for(row)), atol=0.03)


def test_a_network_answers_the_same_from_many_threads(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    row = variant("u2netp")
    file = write_tiny(row, tmp_path)
    batches = [photo_for(row) * np.float32(factor) for factor in (0.5, 1.0, 1.5, 2.0)]
    for network in (
        runtimes.open_openvino(lambda: file, device="CPU", threads=1, precision="f32"),
        onnx_runtime.open_onnxruntime(file, device="cpu", threads=1),
    ):
        alone = [network(batch) for batch in batches]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(network, batches * 4))
        for index, answer in enumerate(together):
            np.testing.assert_array_equal(answer, alone[index % 4])


def test_the_prepared_form_is_made_once_and_then_enough(tmp_path: Path) -> None:
    row = variant("isnet-general")
    file = write_tiny(row, tmp_path)
    prepared = tmp_path / "kept" / "isnet"
    first = runtimes.open_network(lambda: file, device="cpu", threads=1, precision="bf16", prepared=prepared)
    again = runtimes.open_network(never, device="cpu", threads=1, precision="bf16", prepared=prepared)
    batch = photo_for(row)
    np.testing.assert_array_equal(first(batch), again(batch))
    assert not list((tmp_path / "kept").glob(".*"))


def _forged(file: Path, content: bytes) -> None:
    """A file with the right checksum of something that OpenVINO did not write."""
    file.write_bytes(hashlib.sha256(content).hexdigest().encode().ljust(4096, b"\0") + content)


def _flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


HARMS: dict[str, Callable[[Path], object]] = {
    "gone": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "head only": lambda file: file.write_bytes(file.read_bytes()[:4096]),
    "cut in half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b" "),
    "one bit": _flipped,
    "other bytes": lambda file: _forged(file, b"not a network at all" * 100),
    "nothing compiled": lambda file: _forged(file, b""),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_damaged_compiled_network_is_made_again(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    row = variant("u2net")
    file = write_tiny(row, tmp_path)
    asked: list[Path] = []

    def give() -> Path:
        asked.append(file)
        return file

    prepared = tmp_path / "kept" / "u2net"
    first = runtimes.open_network(give, device="cpu", threads=1, prepared=prepared)(photo_for(row))
    (kept,) = (tmp_path / "kept").iterdir()
    harm(kept)
    again = runtimes.open_network(give, device="cpu", threads=1, prepared=prepared)
    assert len(asked) == 2
    np.testing.assert_array_equal(again(photo_for(row)), first)
    runtimes.open_network(never, device="cpu", threads=1, prepared=prepared)
    assert list((tmp_path / "kept").iterdir()) == [kept]


def test_what_another_processor_or_version_compiled_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino

    row = variant("u2net")
    file = write_tiny(row, tmp_path)
    prepared = tmp_path / "kept" / "u2net"
    runtimes.open_network(lambda: file, device="cpu", threads=1, prepared=prepared)
    with monkeypatch.context() as patch:
        patch.setattr(openvino, "__version__", "2001.1")
        runtimes.open_network(lambda: file, device="cpu", threads=1, prepared=prepared)
    assert len(list((tmp_path / "kept").iterdir())) == 2
    ours = openvino.Core.get_property

    def named(core: openvino.Core, device: str, name: str) -> object:
        return "Another processor" if name == "FULL_DEVICE_NAME" else ours(core, device, name)

    with monkeypatch.context() as patch:
        patch.setattr(openvino.Core, "get_property", named)
        runtimes.open_network(lambda: file, device="cpu", threads=1, prepared=prepared)
    assert len(list((tmp_path / "kept").iterdir())) == 3
    runtimes.open_network(never, device="cpu", threads=1, prepared=prepared)


def test_a_compiled_network_is_read_back_with_the_threads_that_are_wanted_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino

    file = write_tiny(variant("u2net"), tmp_path)
    prepared = tmp_path / "kept" / "u2net"
    read_back = openvino.Core.import_model
    settings: list[tuple[object, str]] = []

    def recorded(core: openvino.Core, *arguments: object) -> openvino.CompiledModel:
        compiled = read_back(core, *arguments)
        threads = compiled.get_property("INFERENCE_NUM_THREADS")
        settings.append((threads, compiled.get_property("INFERENCE_PRECISION_HINT").to_string()))
        return compiled

    monkeypatch.setattr(openvino.Core, "import_model", recorded)
    for threads in (2, 1):  # compiled for two
        runtimes.open_network(lambda: file, device="cpu", threads=threads, precision="f32", prepared=prepared)
    assert settings == [(2, "f32"), (1, "f32")]


def test_a_directory_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    row = variant("u2net")
    file = write_tiny(row, tmp_path)
    (tmp_path / "blocked").write_text("a file where a directory is wanted")
    network = runtimes.open_network(lambda: file, device="cpu", threads=1, prepared=tmp_path / "blocked" / "u2net")
    assert network(photo_for(row)).shape == (1, 320, 320)


def test_a_full_disk_costs_only_time(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    row = variant("u2net")
    file = write_tiny(row, tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))  # no file may grow longer
    try:
        network = runtimes.open_network(lambda: file, device="cpu", threads=1, prepared=tmp_path / "kept" / "u2net")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert network(photo_for(row)).shape == (1, 320, 320)
    assert not list((tmp_path / "kept").iterdir())


def test_what_older_versions_and_killed_processes_left_is_removed_after_a_day(tmp_path: Path) -> None:
    file = write_tiny(variant("u2net"), tmp_path)
    kept = tmp_path / "kept"
    folder, young = kept / ".prepare-old", kept / ".prepare-young"
    for made in (folder, young):
        made.mkdir(parents=True)
    (folder / "part").write_text("x")
    stale, fresh, stranger = (kept / f"{name}.xml" for name in ("u2net-f16-1.0", "u2net-f16-2.0", "u2netp-f16-1.0"))
    for made in (stale, fresh, stranger):
        made.write_text("x")
    yesterday = time.time() - 90_000
    for made in (folder, stale, stranger):
        os.utime(made, (yesterday, yesterday))
    runtimes.open_network(lambda: file, device="cpu", threads=1, prepared=kept / "u2net")
    left = set(kept.iterdir())
    assert left >= {young, fresh, stranger}
    assert not left & {folder, stale}
    runtimes.open_network(never, device="cpu", threads=1, prepared=kept / "u2net")


@pytest.mark.parametrize("device", ["cuda", "tensorrt", "coreml", "openvino:NPU.7"])
def test_a_device_that_is_not_here_is_a_loud_error(tmp_path: Path, device: str) -> None:
    import onnxruntime

    if onnx_runtime.PROVIDERS.get(device) in onnxruntime.get_available_providers():
        pytest.skip(f"{device} is here")
    file = write_tiny(variant("u2netp"), tmp_path)
    with pytest.raises(MatteboxError) as caught:
        runtimes.open_network(lambda: file, device=device)
    assert caught.value.kind is Kind.UNAVAILABLE


@pytest.mark.parametrize("device", ["gpu", "openvino:", "", "CUDA"])
def test_a_device_that_does_not_exist_is_the_callers_mistake(device: str) -> None:
    with pytest.raises(MatteboxError) as caught:
        runtimes.open_network(never, device=device)
    assert caught.value.kind is Kind.INVALID_PARAMETER
    assert caught.value.parameter == "device"


def test_auto_takes_what_is_there(tmp_path: Path) -> None:
    row = variant("u2netp")
    file = write_tiny(row, tmp_path)
    assert runtimes.open_network(lambda: file, device="auto", threads=1)(photo_for(row)).shape == (1, 320, 320)


@pytest.fixture
def offers_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX Runtime that says it can use CUDA."""
    import onnxruntime

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )


@pytest.mark.parametrize("kind", [Kind.CANCELLED, Kind.UNAVAILABLE])
def test_a_file_that_is_not_to_be_had_is_no_devices_fault(
    kind: Kind, offers_cuda: None, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Kind] = []

    def give() -> Path:
        asked.append(kind)
        raise MatteboxError(kind, "No file.")

    with pytest.raises(MatteboxError, match="No file"):
        runtimes.open_network(give, device="auto", threads=1)
    assert len(asked) == 1
    assert caplog.text == ""


@pytest.mark.parametrize("failure", ["EPFail", "EngineError", "Fail"])
def test_auto_says_that_a_device_cannot_be_used_and_takes_the_processor(
    failure: str,
    offers_cuda: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    real = onnxruntime.InferenceSession

    def session(file: Path, *, sess_options: object, providers: list[tuple[str, dict[str, str]]]) -> object:
        if providers[0][0] == "CUDAExecutionProvider":
            raise getattr(state, failure)("the driver is too old")
        return real(file, sess_options=sess_options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    row = variant("u2netp")
    file = write_tiny(row, tmp_path)
    network = runtimes.open_network(lambda: file, device="auto", threads=1)
    assert network(photo_for(row)).shape == (1, 320, 320)
    assert "cuda is installed but cannot be used" in caplog.text
    assert "the driver is too old" in caplog.text
    with pytest.raises(MatteboxError) as caught:
        runtimes.open_network(lambda: file, device="cuda", threads=1)
    assert caught.value.kind is Kind.UNAVAILABLE


def both(file: Path) -> list[Callable[[], LoadedNetwork]]:
    """The two ways to load a file on a processor."""
    return [
        lambda: runtimes.open_openvino(lambda: file, device="CPU", threads=1, precision="f32"),
        lambda: onnx_runtime.open_onnxruntime(file, device="cpu", threads=1),
    ]


def unknown_operator(model: onnx.ModelProto) -> bytes:
    model.graph.node[1].op_type = "Convolve"
    model.opset_import[0].version = 99
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("harm", ["empty", "text", "half", "newer"])
def test_a_file_that_is_no_network_is_an_error(tmp_path: Path, harm: str) -> None:
    whole = tiny_model(side=320, logits=False)
    content = {
        "empty": b"",
        "text": b"not a network at all" * 10,
        "half": (data := whole.SerializeToString())[: len(data) // 2],
        "newer": unknown_operator(whole),
    }[harm]
    file = tmp_path / "broken.onnx"
    file.write_bytes(content)
    for load in both(file):
        with pytest.raises(MatteboxError, match="may be damaged, or need a newer runtime") as caught:
            load()
        assert caught.value.kind is Kind.UNAVAILABLE
        assert str(tmp_path) not in caught.value.message


def test_a_newer_operator_set_is_refused_or_computed_right(tmp_path: Path) -> None:
    """ONNX Runtime refuses the number; OpenVINO goes by the operators, and these have not changed."""
    import onnx

    model = tiny_model(side=320, logits=False)
    exact, newer = tmp_path / "exact.onnx", tmp_path / "newer.onnx"
    onnx.save(model, exact)
    model.opset_import[0].version = 99
    onnx.save(model, newer)
    batch = photo_for(variant("u2netp"))
    vino, ort = both(newer)
    expected = both(exact)[0]()(batch)
    np.testing.assert_array_equal(vino()(batch), expected)
    with pytest.raises(MatteboxError, match="need a newer runtime"):
        ort()


def other_network(*, channels: int, answer: list[int]) -> onnx.ModelProto:
    """A network that takes and gives pictures of other kinds: all ones of the shape `answer`."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("ReduceMean", ["photo"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "ones"], ["alpha"]),
    ]
    photo = helper.make_tensor_value_info("photo", TensorProto.FLOAT, [1, channels, 320, 320])
    alpha = helper.make_tensor_value_info("alpha", TensorProto.FLOAT, answer)
    ones = numpy_helper.from_array(np.ones(answer, np.float32), "ones")
    graph = helper.make_graph(nodes, "other", [photo], [alpha], [ones])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize(
    ("channels", "answer", "sentence"),
    [
        (4, [1, 1, 320, 320], "made for another input"),
        (3, [1, 2, 320, 320], "not one that answers with one matte"),
        (3, [1, 1000], "not one that answers with one matte"),
    ],
    ids=["takes a trimap too", "answers with two planes", "classifies"],
)
def test_another_network_is_said_when_it_runs(channels: int, answer: list[int], sentence: str, tmp_path: Path) -> None:
    import onnx

    file = tmp_path / "other.onnx"
    onnx.save(other_network(channels=channels, answer=answer), file)
    for load in both(file):
        network = load()
        with pytest.raises(MatteboxError, match=sentence) as caught:
            network(photo_for(variant("u2netp")))
        assert caught.value.kind is Kind.UNAVAILABLE
        assert caught.value.parameter == "model"


class Refused(Exception):
    """What a guard raises."""


@pytest.mark.parametrize("device", ["cpu", "auto", "openvino:CPU"])
def test_the_guard_comes_before_the_processor_loads(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_runtime, "offered_providers", lambda: ["CPUExecutionProvider"])

    def guard() -> None:
        raise Refused

    with pytest.raises(Refused):
        runtimes.open_network(never, device=device, threads=1, guard=guard)


def test_the_guard_is_asked_when_a_gpu_gives_way_to_the_processor(
    offers_cuda: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(file: Path, *, device: str, **_: object) -> LoadedNetwork:
        raise MatteboxError(Kind.UNAVAILABLE, "No GPU.")

    def guard() -> None:
        raise Refused

    monkeypatch.setattr(onnx_runtime, "open_onnxruntime", fails)
    file = write_tiny(variant("u2netp"), tmp_path)
    with pytest.raises(Refused):
        runtimes.open_network(lambda: file, device="auto", threads=1, guard=guard)


def test_memory_that_ends_while_it_runs_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU's does: ONNX Runtime raises, and says it in its own words."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    def run(*_: object) -> object:
        raise state.RuntimeException("Failed to allocate memory for requested buffer of size 12884901888")

    network = onnx_runtime.open_onnxruntime(write_tiny(variant("u2netp"), tmp_path), device="cpu", threads=1)
    monkeypatch.setattr(onnxruntime.InferenceSession, "run_with_iobinding", run)
    with pytest.raises(MatteboxError, match="too little memory") as caught:
        network(photo_for(variant("u2netp")))
    assert caught.value.kind is Kind.UNAVAILABLE
    assert "12884901888" not in caught.value.message


def test_a_network_that_takes_no_photo_is_an_error(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "flat", value[:1], value[1:])
    file = tmp_path / "flat.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file)
    with pytest.raises(MatteboxError, match="takes a photo"):
        runtimes.open_openvino(lambda: file, device="CPU", threads=1, precision="f32")
    with pytest.raises(MatteboxError, match="takes a photo"):
        onnx_runtime.open_onnxruntime(file, device="cpu", threads=1)


def test_the_thread_budget_is_what_the_process_may_use() -> None:
    assert runtimes.thread_budget(3) == 3
    if sys.platform == "linux":
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        try:
            assert runtimes.thread_budget(0) == 1
        finally:
            os.sched_setaffinity(0, before)


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
@pytest.mark.parametrize(
    ("content", "expected"),
    [("max 100000", 99), ("100000 100000", 1), ("100001 100000", 2), ("5000 100000", 1), ("25000 10000", 3)],
)
def test_a_quota_of_processor_time_bounds_the_thread_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(99)))
    file = tmp_path / "cpu.max"
    file.write_text(f"{content}\n")
    assert runtimes.thread_budget(0, cpu_max=file) == expected
    assert runtimes.thread_budget(7, cpu_max=file) == 7  # what was asked for is done
    assert runtimes.thread_budget(0, cpu_max=tmp_path / "nowhere") == 99

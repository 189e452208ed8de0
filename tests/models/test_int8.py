"""Networks that are computed in 8 bits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper

from mattebox import samples
from mattebox.models import Models, families, int8, runtimes, weights
from mattebox.models.catalogue import CATALOGUE, Precision, Variant
from mattebox.models.network import LoadedNetwork

SIDE = 64


def network(dtype: type[np.float32 | np.float16]) -> onnx.ModelProto:
    """A small random U-Net: a first layer below zero, then all that IS-Net has between its convolutions.

    `deep` and `wide` are read together; the channels of `wide` are up to 50 times as loud.
    """
    random = np.random.default_rng(3)
    channels = {"first": (8, 3), "wide": (8, 8), "deep": (16, 8), "joined": (8, 24), "photo_like": (1, 8)}
    tensors: dict[str, npt.NDArray[np.floating]] = {
        f"{name}_w": random.normal(0, 1 / np.sqrt(9 * read), (made, read, 3, 3))
        for name, (made, read) in channels.items()
    }
    tensors["wide_w"] *= np.geomspace(1, 50, 8)[:, None, None, None]
    tensors["joined_w"][:, 16:] /= np.geomspace(1, 50, 8)[:, None, None]
    tensors |= {f"{name}_b": random.normal(0, 0.2, made) for name, (made, _) in channels.items()}
    nodes = [helper.make_node("Cast", ["photo"], ["cast"], to=TensorProto.FLOAT16 if dtype is np.float16 else 1)]

    def conv(name: str, read: str, made: str) -> None:
        nodes.append(helper.make_node("Conv", [read, f"{name}_w", f"{name}_b"], [made], pads=[1, 1, 1, 1], name=name))

    def relu(read: str, made: str) -> None:
        nodes.append(helper.make_node("Relu", [read], [made], name=f"{made}/Relu"))

    conv("first", "cast", "signed")
    conv("wide", "signed", "wide_0")
    relu("wide_0", "wide")
    nodes.append(helper.make_node("MaxPool", ["wide"], ["small"], kernel_shape=[2, 2], strides=[2, 2]))
    conv("deep", "small", "deep_0")
    relu("deep_0", "deep")
    nodes.append(
        helper.make_node(
            "Resize", ["deep", "", "factors"], ["large"], mode="linear", coordinate_transformation_mode="half_pixel",
            name="large/Resize",
        )
    )  # fmt: skip
    nodes.append(helper.make_node("Concat", ["large", "wide"], ["both"], axis=1))
    conv("joined", "both", "joined_0")
    relu("joined_0", "joined")
    nodes.append(helper.make_node("Add", ["joined", "wide"], ["sum"]))
    conv("photo_like", "sum", "answer")
    nodes.append(helper.make_node("Sigmoid", ["answer"], ["half"]))
    nodes.append(helper.make_node("Cast", ["half"], ["alpha"], to=TensorProto.FLOAT))
    initializers = [numpy_helper.from_array(value.astype(dtype), name) for name, value in tensors.items()]
    factors = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "factors")
    photo = helper.make_tensor_value_info("photo", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    alpha = helper.make_tensor_value_info("alpha", TensorProto.FLOAT, [1, 1, SIDE, SIDE])
    graph = helper.make_graph(nodes, "small", [photo], [alpha], [*initializers, factors])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def table() -> bytes:
    """Scales with room for what `network` computes from `photo`."""
    loud = np.geomspace(1, 50, 8, dtype=np.float32) * 4
    ones = np.ones(16, np.float32)
    return int8.write({"wide/Relu": loud, "large/Resize": ones * 20})


def photo() -> npt.NDArray[np.float32]:
    return np.random.default_rng(5).uniform(-0.5, 0.5, (1, 3, SIDE, SIDE)).astype(np.float32)


@pytest.fixture(params=[np.float32, np.float16])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    onnx.save(network(request.param), tmp_path / "network.onnx")
    return tmp_path / "network.onnx"


def opened(file: Path, *, table: bytes | None, prepared: Path | None = None) -> LoadedNetwork:
    return runtimes.open_openvino(lambda: file, device="CPU", threads=1, precision="f32", int8=table, prepared=prepared)


def test_a_table_is_read_as_it_was_written() -> None:
    scales = {"one": np.array([0.003, 1, 7.5], np.float32), "/two/Relu": np.array([900], np.float32)}
    again = int8.read(int8.write(scales))
    assert list(again) == list(scales)
    for name, values in scales.items():
        assert again[name].dtype == np.float32
        np.testing.assert_allclose(again[name], values, rtol=0.045)


def test_what_has_scales_is_computed_in_8_bits_and_nothing_else(file: Path) -> None:
    core = openvino.Core()
    model = core.read_model(file)
    int8.quantize(model, int8.read(table()))
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    facts = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    precisions = Counter(
        each["runtimePrecision"].astype(str) for each in facts if each["layerType"].astype(str) == "Convolution"
    )
    # `deep` and `joined`; the others read what is below zero, or make a picture
    assert precisions == {"u8": 2, "f32": 3}


def test_the_alpha_in_8_bits_is_close_to_that_in_float32(file: Path) -> None:
    exact = opened(file, table=None)(photo())
    rounded = opened(file, table=table())
    assert rounded.where == "OpenVINO CPU int8"
    assert exact.std() > 0.05
    difference = np.abs(rounded(photo()) - exact)
    assert 0 < difference.mean() < 0.01
    np.testing.assert_allclose(rounded(photo()), exact, atol=0.06)


def test_loud_channels_do_not_drown_quiet_ones(file: Path) -> None:
    exact = opened(file, table=None)(photo())
    alike = {name: np.full_like(values, values.max()) for name, values in int8.read(table()).items()}
    smooth, coarse = (
        float(np.abs(opened(file, table=each)(photo()) - exact).mean()) for each in (table(), int8.write(alike))
    )
    assert smooth < coarse / 2


def test_a_network_in_8_bits_is_kept_small_and_made_again_with_another_table(file: Path, tmp_path: Path) -> None:
    prepared = tmp_path / "kept" / "small"
    first = opened(file, table=table(), prepared=prepared)(photo())
    (kept,) = prepared.parent.iterdir()
    assert "-int8-" in kept.name
    again = runtimes.open_openvino(
        lambda: pytest.fail("it is kept"), device="CPU", threads=1, precision="f32", int8=table(), prepared=prepared
    )
    assert again.where == "OpenVINO CPU int8"
    np.testing.assert_array_equal(again(photo()), first)
    other = int8.write({name: values * 4 for name, values in int8.read(table()).items()})
    assert (opened(file, table=other, prepared=prepared)(photo()) != first).any()
    assert len(list(prepared.parent.iterdir())) == 2


@pytest.mark.parametrize(
    ("capabilities", "allowed", "has_table", "expected"),
    [
        (["BF16", "FP32", "INT8"], "bf16", True, "int8"),
        (["BF16", "FP32", "INT8"], "bf16", False, "bf16"),
        (["FP32", "INT8"], "bf16", True, "int8"),
        (["FP32", "INT8"], "bf16", False, "f32"),
        (["BF16", "FP32", "INT8"], "f32", True, "int8"),
        (["BF16", "FP32", "INT8"], "f32", False, "f32"),
        (["FP32"], "bf16", True, "f32"),
    ],
)
def test_8_bits_are_used_where_there_is_a_table_and_bf16_where_there_is_none(
    capabilities: list[str],
    allowed: Precision,
    has_table: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openvino.Core, "get_property", lambda core, device, name: capabilities)
    assert runtimes.computes_with(allowed, int8=has_table) == expected


@pytest.mark.parametrize(
    ("limit", "expected"), [("AVX2", "f32"), ("AVX512_CORE_VNNI", "f32"), ("AVX512_CORE_BF16", "bf16"), ("all", "bf16")]
)
def test_bf16_is_not_used_where_its_instructions_are_switched_off(
    limit: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino.Core, "get_property", lambda core, device, name: ["BF16", "FP32", "INT8"])
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert runtimes.computes_with("bf16", int8=False) == expected


@pytest.mark.parametrize(
    ("capabilities", "allowed", "expected"),
    [
        (["BF16", "FP32", "INT8"], "bf16", "bf16"),
        (["BF16", "FP32", "INT8"], "f32", "f32"),
        (["FP32", "INT8"], "bf16", "f32"),
    ],
)
def test_what_is_not_in_8_bits_is_in_bf16_where_that_may_be(
    capabilities: list[str], allowed: Precision, expected: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hints = []

    class Recorded(Exception):
        pass

    def record(core: openvino.Core, network: openvino.Model, device: str, options: dict[str, object]) -> None:
        hints.append(options["INFERENCE_PRECISION_HINT"])
        raise Recorded

    monkeypatch.setattr(openvino.Core, "get_property", lambda core, device, name: capabilities)
    monkeypatch.setattr(openvino.Core, "compile_model", record)
    with pytest.raises(Recorded):
        runtimes.open_openvino(lambda: file, device="CPU", threads=1, precision=allowed, int8=table())
    assert hints == [expected]


@pytest.mark.model
@pytest.mark.parametrize("name", ["isnet-general", "u2netp"])
def test_a_network_in_8_bits_cuts_a_photo_as_it_does_in_float32(name: str) -> None:
    Models().warm(name)  # fetches it
    row = CATALOGUE[name]
    assert isinstance(row, Variant)
    assert row.int8 is not None
    file = weights.locate(row, weights.default_directory())
    batch = families.prepare(samples.make_photo(), row, (row.size, row.size))
    exact = families.read_alpha(opened(file, table=None)(batch), row)
    rounded = families.read_alpha(opened(file, table=int8.table(row.int8))(batch), row)
    assert exact.mean() > 0.05
    assert 0 < np.abs(rounded - exact).mean() < 0.003
    assert rounded[exact < 0.001].max() < 0.02  # no veil in the corners, where numbers are largest


def test_every_table_of_the_catalogue_comes_with_mattebox() -> None:
    names = {row.int8 for row in CATALOGUE.values() if isinstance(row, Variant) and row.int8 is not None}
    assert names
    for name in names:
        assert all(np.isfinite(scales).all() and (scales > 0).all() for scales in int8.read(int8.table(name)).values())

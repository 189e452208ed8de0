from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tests.models.networks import tiny_model

from networks import batched, widened

Floats: TypeAlias = npt.NDArray[np.float32]


def answers(model: onnx.ModelProto, photos: Floats) -> list[Floats]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[Floats] = session.run(None, {session.get_inputs()[0].name: photos})
    return found


def upsampling() -> onnx.ModelProto:
    """A network that grows its photo to the size of another tensor, as U2-Net does, by its shape."""
    weights = np.random.default_rng(3).normal(0, 0.5, (1, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["photo", "kernel"], ["small"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Shape", ["photo"], ["whole"]),
        helper.make_node("Slice", ["whole", "two", "four"], ["sides"]),
        helper.make_node("Shape", ["small"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "two"], ["kept"]),
        helper.make_node("Concat", ["kept", "sides"], ["size"], axis=0),
        helper.make_node("Resize", ["small", "", "", "size"], ["alpha"], mode="linear"),
    ]
    graph = helper.make_graph(
        nodes,
        "upsampling",
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, [1, 3, 12, 12])],
        [helper.make_tensor_value_info("alpha", TensorProto.FLOAT, [1, 1, 12, 12])],
        [
            numpy_helper.from_array(weights, "kernel"),
            *(numpy_helper.from_array(np.array([n]), name) for name, n in (("zero", 0), ("two", 2), ("four", 4))),
        ],
        value_info=[helper.make_tensor_value_info("small", TensorProto.FLOAT, [1, 1, 6, 6])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_a_batch_gives_what_its_photos_give_one_by_one() -> None:
    photos = np.random.default_rng(1).random((3, 3, 12, 12), dtype=np.float32)
    for model in (tiny_model(side=12, logits=False), upsampling()):
        single = [answers(model, photo[np.newaxis])[0] for photo in photos]
        together = answers(batched(model), photos)
        assert len(together) == 1  # without the side outputs
        np.testing.assert_allclose(together[0], np.concatenate(single), atol=1e-6)
        assert np.std(together[0]) > 0.05


def test_a_widened_network_computes_in_float32(tmp_path: Path) -> None:
    half = tiny_model(side=12, logits=False, dtype=np.float16, answer=np.float16)
    onnx.save(half, tmp_path / "half.onnx")
    wide = widened(tmp_path / "half.onnx")
    onnx.checker.check_model(wide)
    assert not [each for each in wide.graph.initializer if each.data_type == TensorProto.FLOAT16]
    photo = np.random.default_rng(2).random((1, 3, 12, 12), dtype=np.float32)
    alpha = answers(wide, photo)[0]
    assert alpha.dtype == np.float32
    np.testing.assert_allclose(alpha, answers(half, photo)[0].astype(np.float32), atol=2e-3)
    kernel, bias = (numpy_helper.to_array(each) for each in half.graph.initializer[:2])
    np.testing.assert_array_equal(numpy_helper.to_array(wide.graph.initializer[0]), kernel.astype(np.float32))
    np.testing.assert_array_equal(numpy_helper.to_array(wide.graph.initializer[1]), bias.astype(np.float32))

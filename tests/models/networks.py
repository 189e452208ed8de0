"""Random networks of one layer, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mattebox.models.catalogue import Family, Variant


def tiny_model(
    *,
    side: int | None,
    logits: bool,
    seed: int = 7,
    dtype: type[np.float32 | np.float16] = np.float32,
    answer: type[np.float32 | np.float16] = np.float32,
    channels: int = 3,
) -> onnx.ModelProto:
    """A random network of one layer with the shapes of a real one: (1, 3, S, S) to (1, 1, S, S), and a side output.

    A network that takes a trimap too has 4 channels.
    """
    rng = np.random.default_rng(seed)
    weights = {
        "kernel": rng.normal(0, 0.5, (1, channels, 3, 3)).astype(dtype),
        "bias": np.array([0.2], dtype),
        "unused": np.ones((4,), dtype),
    }
    kind, answered = (TensorProto.FLOAT if each is np.float32 else TensorProto.FLOAT16 for each in (dtype, answer))
    height, width = (side, side) if side else ("height", "width")
    nodes = [
        helper.make_node("Cast", ["photo"], ["cast"], to=kind),
        helper.make_node("Conv", ["cast", "kernel", "bias"], ["edges"], pads=[1, 1, 1, 1]),
        helper.make_node("Identity" if logits else "Sigmoid", ["edges"], ["answer"]),
        helper.make_node("Cast", ["answer"], ["alpha"], to=answered),
        helper.make_node("Add", ["edges", "unused_sum"], ["side"]),
        helper.make_node("ReduceSum", ["unused"], ["unused_sum"]),
    ]
    nodes[4], nodes[5] = nodes[5], nodes[4]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, [1, channels, height, width])],
        [
            helper.make_tensor_value_info("alpha", answered, [1, 1, height, width]),
            helper.make_tensor_value_info("side", kind, [1, 1, height, width]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def upsampling_model() -> onnx.ModelProto:
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


def write_tiny(variant: Variant, directory: Path, *, dtype: type[np.float32 | np.float16] = np.float32) -> Path:
    """Write a tiny network with a variant's shapes and return its file."""
    side = None if variant.family is Family.MODNET else variant.size
    file = directory / f"tiny-{variant.name}-{variant.size}-{np.dtype(dtype).name}.onnx"
    channels = 3 if variant.rough is None else 4
    onnx.save(tiny_model(side=side, logits=variant.logits, dtype=dtype, channels=channels), file)
    return file

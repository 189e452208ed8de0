"""The networks' files as peers want them: in float32. Needs `onnx`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def widened(file: Path) -> onnx.ModelProto:
    """The network of a file with all that is float16 in it as float32, which holds each of its values exactly."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(file)
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT

    def widen(tensor: onnx.TensorProto) -> None:
        if tensor.data_type == half:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), tensor.name))

    for tensor in model.graph.initializer:
        widen(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                widen(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == half:
                attribute.i = single
    for value in _values(model.graph):
        if value.type.tensor_type.elem_type == half:
            value.type.tensor_type.elem_type = single
    return model


def _values(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from graph.input
    yield from graph.output
    yield from graph.value_info

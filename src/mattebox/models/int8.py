"""Convolutions in 8 bits for x86 processors, from a network's own weights and a small table of scales.

The table has one scale for each channel of each tensor that a convolution reads. A tensor is divided by its scales and
rounded to 255 steps of [0, 1], and the weights that meet it are multiplied by them, so that loud channels do not drown
quiet ones; the weights are then rounded to 255 steps for each channel that they make. Everything else stays as it is:
sums, and convolutions that read a tensor without a scale. `tools/int8_scales.py` makes the tables.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Scales: TypeAlias = Mapping[str, npt.NDArray[np.float32]]
"""The scales of a tensor's channels, by the name of the operator that makes it."""

# A scale is kept as a byte: an eighth of an octave a step.
_STEPS = 8
_ONE = 128


def table(name: str) -> bytes:
    """A table that comes with mattebox."""
    return resources.files("mattebox.models").joinpath(name).read_bytes()


def write(scales: Scales) -> bytes:
    """Scales as the bytes of a table; each is rounded by up to 4.5 %."""
    levels = [np.clip(np.rint(np.log2(each) * _STEPS + _ONE), 0, 255).astype(np.uint8) for each in scales.values()]
    file = io.BytesIO()
    lengths = np.array([len(each) for each in levels], np.uint16)
    np.savez_compressed(file, names=np.array(list(scales)), lengths=lengths, levels=np.concatenate(levels))
    return file.getvalue()


def read(content: bytes) -> Scales:
    """The scales of a table."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        scales = np.exp2((arrays["levels"].astype(np.float32) - _ONE) / _STEPS).astype(np.float32)
        parts = np.split(scales, np.cumsum(arrays["lengths"])[:-1])
        return dict(zip(arrays["names"].tolist(), parts, strict=True))


def convolutions(network: Any) -> Iterator[Any]:
    """The convolutions of an OpenVINO network that may be computed in 8 bits: those that make more than a picture."""
    for node in network.get_ordered_ops():
        if node.get_type_name() == "Convolution" and node.output(0).get_partial_shape()[1].get_length() > 1:
            yield node


def sources(output: Any) -> list[tuple[str, Any]]:
    """The tensors behind a convolution's input, in the order of their channels, with their names in a table."""
    node = output.get_node()
    match node.get_type_name():
        case "MaxPool":
            return sources(node.input_value(0))
        case "Concat":
            return [source for value in node.input_values() for source in sources(value)]
    while node.get_type_name() == "Convert":  # float16 networks resize in float32
        node = node.input_value(0).get_node()
    return [(node.get_friendly_name(), output)]


def weights(convolution: Any) -> npt.NDArray[np.float32]:
    """A convolution's weights, shape (channels made, channels read, height, width)."""
    node = convolution.input_value(1).get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return np.asarray(node.get_data(), np.float32)


def quantize(network: Any, scales: Scales) -> None:
    """Let an OpenVINO network compute in 8 bits, in place, wherever all that a convolution reads has scales."""
    from openvino import opset13

    chosen = [node for node in convolutions(network) if all(name in scales for name, _ in sources(node.input_value(0)))]
    done: dict[str, Any] = {}
    for node in chosen:
        value = node.input_value(0)
        dtype = value.get_element_type().to_dtype()
        own = np.concatenate([scales[name] for name, _ in sources(value)])
        scaled = weights(node) * own[:, None, None]
        # Rounded like the network's own numbers first, so that what is divided by is what will be multiplied with.
        step = (np.abs(scaled).max(axis=(1, 2, 3), keepdims=True).clip(1e-6) / 127).astype(dtype)
        levels = np.clip(np.rint(scaled / step.astype(np.float32)), -127, 127).astype(np.int8)
        kept = opset13.convert(opset13.constant(levels), value.get_element_type())
        # All are looked up before any is replaced: a tensor may be read by several convolutions.
        node.input(1).replace_source_output(opset13.multiply(kept, opset13.constant(step)).output(0))
        node.input(0).replace_source_output(_rounded(value, scales, done))
    network.validate_nodes_and_infer_types()


def _rounded(output: Any, scales: Scales, done: dict[str, Any]) -> Any:
    """A convolution's input in 8 bits, made once however many convolutions read it."""
    from openvino import opset13

    node = output.get_node()
    key = node.get_friendly_name()
    if key not in done:
        match node.get_type_name():
            case "MaxPool":
                pool = node.get_attributes()
                made = opset13.max_pool(
                    _rounded(node.input_value(0), scales, done),
                    *(pool[name] for name in ("strides", "dilations", "pads_begin", "pads_end", "kernel")),
                    rounding_type=pool["rounding_type"],
                    auto_pad=pool["auto_pad"],
                )
            case "Concat":
                made = opset13.concat([_rounded(value, scales, done) for value in node.input_values()], 1)
            case _:
                ((name, _),) = sources(output)
                dtype = output.get_element_type().to_dtype()
                high = scales[name].astype(dtype).reshape(1, -1, 1, 1)
                zero, one = (opset13.constant(np.full((1, 1, 1, 1), value, dtype)) for value in (0, 1))
                made = opset13.fake_quantize(output, zero, opset13.constant(high), zero, one, 256)
        done[key] = made.output(0)
    return done[key]

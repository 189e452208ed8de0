"""Networks with fewer operations answer as they did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13

from mattebox.models import rewriting

_random = np.random.default_rng(7)


def numbers(*shape: int) -> Any:
    return opset13.constant(_random.normal(0, 0.3, shape).astype(np.float32))


def convolution(read: Any, made: int, channels: int, *, stride: int = 1, pad: int = 1) -> Any:
    weights = numbers(made, channels, 3, 3)
    found = opset13.convolution(read, weights, [stride] * 2, [pad] * 2, [pad] * 2, [1, 1])
    return opset13.add(found, numbers(1, made, 1, 1))


def photo(height: int, width: int, channels: int = 3) -> Any:
    return opset13.parameter([1, channels, height, width], np.float32)


def first_two(height: int, width: int, *, stride: int = 2) -> Any:
    entry = photo(height, width)
    made = opset13.relu(convolution(convolution(entry, 48, 3, stride=stride), 48, 48))
    return openvino.Model([made], [entry])


def answers(network: Any) -> np.ndarray:
    compiled = openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    asked = np.random.default_rng(1).normal(0, 1, network.input(0).get_shape()).astype(np.float32)
    return np.asarray(compiled(asked)[0]).copy()


def operations(network: Any) -> float:
    """Multiplications of the convolutions; one channel counts for eight, as it is computed."""
    total = 0.0
    for node in network.get_ordered_ops():
        if node.get_type_name() == "Convolution":
            _, channels, height, width = node.output(0).get_shape()
            total += max(8, channels) * height * width * float(np.prod(node.input(1).get_shape()[1:]))
    return total


def kernels(network: Any) -> Sequence[tuple[int, ...]]:
    return [
        tuple(node.input(1).get_shape()) for node in network.get_ordered_ops() if node.get_type_name() == "Convolution"
    ]


def check(network: Any, *, share: float) -> None:
    """The rewritten network takes at most that share of the operations, and answers the same."""
    before, work = answers(network), operations(network)
    rewriting.rewrite(network)
    assert operations(network) < share * work
    after = answers(network)
    assert before.std() > 0.1
    np.testing.assert_allclose(after, before, atol=2e-5 * float(np.abs(before).max()))


@pytest.mark.parametrize("size", [(64, 64), (63, 64), (64, 63), (61, 90)])
def test_the_first_two_convolutions_become_one_and_the_border_stays_as_it_is(size: tuple[int, int]) -> None:
    check(first_two(*size), share=0.7)


def test_without_a_stride_they_become_one_too() -> None:
    check(first_two(64, 64, stride=1), share=0.7)


def test_the_merged_convolution_has_the_larger_kernel() -> None:
    network = first_two(64, 64)
    rewriting.rewrite(network)
    assert (48, 3, 7, 7) in kernels(network)


def test_convolutions_with_something_between_them_are_left() -> None:
    entry = photo(64, 64)
    made = opset13.relu(convolution(opset13.relu(convolution(entry, 24, 3, stride=2)), 24, 24))
    network = openvino.Model([made], [entry])
    rewriting.rewrite(network)
    assert kernels(network) == [(24, 3, 3, 3), (24, 24, 3, 3)]


def test_what_is_read_elsewhere_too_is_not_merged_away() -> None:
    entry = photo(64, 64)
    inner = convolution(entry, 24, 3, stride=2)
    network = openvino.Model([opset13.add(opset13.relu(convolution(inner, 24, 24)), inner)], [entry])
    rewriting.rewrite(network)
    assert kernels(network) == [(24, 3, 3, 3), (24, 24, 3, 3)]


def test_two_convolutions_that_would_be_dearer_as_one_are_left() -> None:
    entry = photo(64, 64, 24)
    network = openvino.Model([opset13.relu(convolution(convolution(entry, 24, 24), 24, 24))], [entry])
    rewriting.rewrite(network)
    assert kernels(network) == [(24, 24, 3, 3), (24, 24, 3, 3)]


def test_a_convolution_that_makes_one_channel_looks_at_each_pixel_once() -> None:
    entry = photo(20, 31, 32)
    check(openvino.Model([convolution(entry, 1, 32)], [entry]), share=0.5)


def test_one_without_padding_is_left() -> None:
    entry = photo(20, 31, 32)
    network = openvino.Model([convolution(entry, 1, 32, pad=0)], [entry])
    rewriting.rewrite(network)
    assert kernels(network) == [(1, 32, 3, 3)]


def resized(factor: float, mode: str) -> Any:
    entry = photo(13, 17, 1)
    size = opset13.constant(np.array([13 * factor, 17 * factor], np.int64))
    axes = opset13.constant(np.array([2, 3], np.int64))
    made = opset13.interpolate(
        entry, size, mode=mode, shape_calculation_mode="sizes", coordinate_transformation_mode="half_pixel", axes=axes
    )
    return openvino.Model([made], [entry])


def test_twice_the_size_is_interpolated_by_convolutions() -> None:
    network = resized(2, "linear_onnx")
    before = answers(network)
    rewriting.rewrite(network)
    assert "Interpolate" not in {node.get_type_name() for node in network.get_ops()}
    np.testing.assert_allclose(answers(network), before, atol=1e-6)


@pytest.mark.parametrize(("factor", "mode"), [(3, "linear_onnx"), (2, "nearest")])
def test_other_sizes_and_ways_are_left(factor: float, mode: str) -> None:
    network = resized(factor, mode)
    rewriting.rewrite(network)
    assert "Interpolate" in {node.get_type_name() for node in network.get_ops()}

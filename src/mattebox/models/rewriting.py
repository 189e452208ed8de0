"""Rewrites an OpenVINO network so that it takes fewer operations, and answers the same but for rounding.

- Two convolutions with nothing between them are one with a larger kernel. IS-Net begins with such a pair, from 3 to 64
  and from 64 to 64 channels; one from 3 to 64 takes a quarter of the work.
- A convolution that makes one channel is computed as if it made 8 or 16. One that looks at single pixels and makes
  nine, of which the shifted sum is taken, costs a quarter.
- Resizing one channel is not vectorised. To twice the size it is four small convolutions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

VERSION = 1
"""To be counted up with every change here: compiled networks are kept."""


def rewrite(network: Any) -> None:
    """Rewrite what can be rewritten, in place."""
    for node in network.get_ordered_ops():
        match node.get_type_name():
            case "Relu":
                merge(node)
            case "Convolution":
                narrow(node)
            case "Interpolate":
                double(node)
    network.validate_nodes_and_infer_types()


def merge(relu: Any) -> None:
    """Two convolutions of 3 x 3 before a ReLU, with no more than a bias between them, as one.

    The second sees zeros round what the first makes, and the one that replaces both would see more than that. So the
    outermost pixels are computed by the two as before.
    """
    from openvino import opset13

    second, first = _biased(relu.input_value(0)), None
    if second is not None and _is_plain(second[0]) and _is_read_once(second[0].input_value(0)):
        first = _biased(second[0].input_value(0))
    if second is None or first is None:
        return
    stride = first[0].get_strides()[0]
    if not _is_plain(first[0], strides=(1, 2)) or not _is_read_once(first[0].output(0)):
        return
    photo, inner = first[0].input_value(0), first[0].output(0).get_partial_shape()
    if not photo.get_partial_shape().is_static or min(photo.get_shape()[2:]) < 8:
        return
    (low, low_bias), (high, high_bias) = first[1:], second[1:]
    side = 3 + 2 * stride
    kernel = np.zeros((len(high), low.shape[1], side, side))
    for row, column in np.ndindex(3, 3):
        part = np.einsum("om,mchw->ochw", high[:, :, row, column], low)
        kernel[:, :, stride * row : stride * row + 3, stride * column : stride * column + 3] += part
    if 2 * kernel.size > low.size + high.size:
        return
    like = _likeness(relu)

    def both(read: Any, pads: tuple[list[int], list[int]], more: tuple[list[int], list[int]]) -> Any:
        made = opset13.convolution(read, like(low), [stride] * 2, *pads, [1, 1])
        made = opset13.add(made, like(low_bias[:, None, None]))
        made = opset13.convolution(made, like(high), [1, 1], *more, [1, 1])
        return opset13.relu(opset13.add(made, like(high_bias[:, None, None])))

    ends = list(photo.get_shape()[2:])
    starts = [stride * (inner[axis].get_length() - 2) - 1 for axis in (2, 3)]  # of what the last two pixels read
    down, right = (start + 2 + stride - end + 1 for start, end in zip(starts, ends, strict=True))
    top = both(_part(photo, 2, 0, stride + 2), ([1, 1], [0, right]), ([1, 1], [0, 1]))
    bottom = both(_part(photo, 2, starts[0], ends[0]), ([0, 1], [down, right]), ([0, 1], [1, 1]))
    before = both(_part(photo, 3, 0, stride + 2), ([1, 1], [down, 0]), ([0, 1], [0, 0]))
    behind = both(_part(photo, 3, starts[1], ends[1]), ([1, 0], [down, right]), ([0, 0], [0, 1]))
    inside = opset13.convolution(photo, like(kernel), [stride] * 2, [1, 1], [down, right], [1, 1])
    bias = high_bias + np.einsum("omhw,m->o", high, low_bias)
    inside = opset13.relu(opset13.add(inside, like(bias[:, None, None])))
    _replace(relu, opset13.concat([top, opset13.concat([before, inside, behind], 3), bottom], 2))


def narrow(convolution: Any) -> None:
    """A convolution of 3 x 3 that makes one channel, as one of 1 x 1 that makes nine, and the sum of their shifts."""
    from openvino import opset13

    weights = constant(convolution.input_value(1))
    if weights is None or not _is_plain(convolution) or len(weights) > 1 or weights.shape[1] < 16:
        return
    like = _likeness(convolution)
    nine = opset13.convolution(
        convolution.input_value(0), like(weights[0].reshape(-1, 9).T[:, :, None, None]), [1, 1], [0, 0], [0, 0], [1, 1]
    )
    shifts = np.eye(9).reshape(1, 9, 3, 3)
    _replace(convolution, opset13.convolution(nine, like(shifts), [1, 1], [1, 1], [1, 1], [1, 1]))


def double(resize: Any) -> None:
    """A linear enlargement of one channel to twice the size, as the convolutions that make each of four pixels."""
    from openvino import opset13

    small, large = resize.input_value(0).get_partial_shape(), resize.output(0).get_partial_shape()
    if not (small.is_static and large.is_static) or len(small) != 4 or list(small.to_shape())[:2] != [1, 1]:
        return
    facts = resize.get_attributes()
    is_linear = facts["mode"] == "linear_onnx" and "half_pixel" in facts["coordinate_transformation_mode"]
    is_padded = any(facts["pads_begin"]) or any(facts["pads_end"])
    if not is_linear or is_padded or [2 * side for side in small.to_shape()[2:]] != list(large.to_shape())[2:]:
        return
    halves = np.array([[0.25, 0.75, 0], [0, 0.75, 0.25]])
    kernels = np.einsum("ay,bx->abyx", halves, halves).reshape(4, 1, 3, 3)
    border = opset13.constant(np.array([0, 0, 1, 1]))
    padded = opset13.pad(resize.input_value(0), border, border, "edge")
    four = opset13.convolution(padded, _likeness(resize)(kernels), [1, 1], [0, 0], [0, 0], [1, 1])
    _replace(resize, opset13.depth_to_space(four, "blocks_first", 2))


def constant(output: Any) -> Array | None:
    """The numbers of a constant that is at most converted or reshaped; None where they are computed."""
    node = output.get_node()
    while node.get_type_name() in ("Convert", "Reshape"):
        node = node.input_value(0).get_node()
    return np.asarray(node.get_data(), np.float64) if node.get_type_name() == "Constant" else None


def _biased(output: Any) -> tuple[Any, Array, Array] | None:
    """The convolution whose sum with a bias this is, its weights and that bias."""
    node = output.get_node()
    if node.get_type_name() != "Add" or node.input_value(0).get_node().get_type_name() != "Convolution":
        return None
    convolution, bias = node.input_value(0).get_node(), constant(node.input_value(1))
    weights = constant(convolution.input_value(1))
    if weights is None or bias is None or bias.size != len(weights) or not _is_read_once(node.input_value(0)):
        return None
    return convolution, weights, bias.reshape(-1)


def _is_plain(convolution: Any, *, strides: tuple[int, ...] = (1,)) -> bool:
    """Whether it is of 3 x 3 neighbours with a border of one zero, with one of these strides both ways."""
    facts = convolution.get_attributes()
    across, down = facts["strides"]
    return (
        list(convolution.input(1).get_shape())[2:] == [3, 3]
        and {*facts["dilations"], *facts["pads_begin"], *facts["pads_end"]} == {1}
        and bool(facts["auto_pad"] == "explicit")
        and bool(across == down)
        and int(across) in strides
    )


def _is_read_once(output: Any) -> bool:
    """Whether only one operator needs the numbers; others may ask for the shape."""
    readers = [each.get_node().get_type_name() for each in output.get_target_inputs()]
    return len(readers) - readers.count("ShapeOf") == 1


def _part(output: Any, axis: int, start: int, end: int) -> Any:
    from openvino import opset13

    return opset13.slice(output, *(opset13.constant(np.array([each])) for each in (start, end, 1, axis)))


def _likeness(node: Any) -> Callable[[Array], Any]:
    """Makes constants of the type that an operator computes with."""
    from openvino import opset13

    dtype = node.output(0).get_element_type().to_dtype()
    return lambda values: opset13.constant(np.ascontiguousarray(values).astype(dtype))


def _replace(node: Any, by: Any) -> None:
    name = node.get_friendly_name()
    node.set_friendly_name(f"{name}/before")
    by.set_friendly_name(name)
    for each in node.output(0).get_target_inputs():
        each.replace_source_output(by.output(0))

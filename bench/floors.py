"""The stages of one photo, and the least that this machine could do each in.

The network's floor is its multiplications and additions at the rate that the same runtime reaches in the friendliest of
convolutions; another stage's is the bytes that it has to read and write at the rate of a plain copy. Both rates are
measured here, in CPU seconds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mattebox import codec, telemetry
from mattebox.edit import Edit
from mattebox.engine import Engine
from mattebox.models import CATALOGUE, Models, int8
from mattebox.models.catalogue import Precision, Variant
from mattebox.models.runtimes import computes_with, thread_budget
from mattebox.models.weights import default_directory, locate
from mattebox.stages import Stage, observed

_COPIED = 256 * 2**20
_DEEP, _CHANNELS, _SIDE = 6, 256, 64


def stages(photo: Path, megapixels: float, rounds: int) -> Iterator[Mapping[str, Any]]:
    """CPU seconds of each stage of the default edit, beside its floor where it has one."""
    engine = Engine(Models())
    data = photo.read_bytes()
    result = engine.run_file(Edit(), data).data
    times: dict[Stage, list[float]] = {}
    for _ in range(rounds):
        used: dict[Stage, float] = {}
        with observed(_recorder(used)):
            engine.run_file(Edit(), data)
        for each, cpu in used.items():
            times.setdefault(each, []).append(cpu)
    pixels = codec.decode(data).rgb[..., 0].size
    copied = _bytes_a_second()
    moved = {
        Stage.DECODE: len(data) + 3 * pixels,  # a file in, RGB out
        Stage.REFINE: (3 + 4) * pixels,  # RGB in, alpha as float32 out
        Stage.FOREGROUND: (3 + 4 + 3) * pixels,  # RGB and alpha in, RGB out
        Stage.ENCODE: 4 * pixels + len(result),  # RGBA in, a file out
    }
    for stage, seconds in times.items():
        found = {"contestant": str(stage), "megapixels": megapixels, "cpu": statistics.median(seconds)}
        if stage in moved:
            found |= {"floor": moved[stage] / copied, "why": f"{moved[stage] / 1e6:.0f} MB, {copied / 1e9:.1f} GB/s"}
        elif stage is Stage.SEGMENT:
            floor, why = _network_floor()
            found |= {"floor": floor, "why": why}
        yield found


def _recorder(used: dict[Stage, float]) -> Callable[[Stage], AbstractContextManager[object]]:
    @contextmanager
    def enter(stage: Stage) -> Iterator[None]:
        begin = time.process_time()
        yield
        used[stage] = used.get(stage, 0.0) + time.process_time() - begin

    return enter


def _bytes_a_second() -> float:
    """What a copy of more than the caches hold reads and writes in a CPU second."""
    source = np.ones(_COPIED, np.uint8)
    target = np.zeros(_COPIED, np.uint8)
    return 2 * _COPIED / _best(lambda: np.copyto(target, source))


def _network_floor() -> tuple[float, str]:
    """Of `auto`'s two networks, one look each."""
    floor, parts = 0.0, []
    for name in ("isnet-general", "u2netp"):
        variant = CATALOGUE[name]
        assert isinstance(variant, Variant)
        precision = computes_with(variant.precision, int8=variant.int8 is not None)
        work, rate = _operations(variant), _operations_a_second(precision)
        floor += work / rate
        parts.append(f"{work / 1e9:.0f} G operations, {precision} at {rate / 1e9:.0f} G/s")
    return floor, "; ".join(parts)


def _operations(variant: Variant) -> float:
    """The multiplications and additions of a network's convolutions, for one photo."""
    telemetry.switch_off()
    import openvino

    network = openvino.Core().read_model(locate(variant, default_directory()))
    first = openvino.Model([network.get_results()[0]], network.get_parameters())
    return _counted(first)


def _counted(network: Any) -> float:
    total = 0.0
    for node in network.get_ordered_ops():
        if node.get_type_name() == "Convolution":
            made = np.prod([each.get_length() for each in node.output(0).get_partial_shape()])
            total += 2.0 * float(made) * float(np.prod(node.input(1).get_shape()[1:]))
    return total


def _operations_a_second(precision: Precision) -> float:
    """What the runtime reaches in a CPU second, in a chain of convolutions that suits every processor."""
    telemetry.switch_off()
    import openvino
    from openvino import opset13

    entry = opset13.parameter([1, _CHANNELS, _SIDE, _SIDE], np.float32)
    weights = np.random.default_rng(0).normal(0, 0.02, (_CHANNELS, _CHANNELS, 3, 3)).astype(np.float32)
    value = opset13.relu(entry)
    for _ in range(_DEEP):
        value = opset13.relu(opset13.convolution(value, opset13.constant(weights), [1, 1], [1, 1], [1, 1], [1, 1]))
    network = openvino.Model([value], [entry])
    work = _counted(network)
    if precision == "int8":
        read = (int8.sources(node.input_value(0)) for node in int8.convolutions(network))
        int8.quantize(network, {name: np.full(_CHANNELS, 2.0, np.float32) for found in read for name, _ in found})
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": thread_budget(0),
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
    }
    request = openvino.Core().compile_model(network, "CPU", options).create_infer_request()
    photo = np.ones((1, _CHANNELS, _SIDE, _SIDE), np.float32)
    return work / _best(lambda: request.infer({0: photo}, share_inputs=True))


def _best(work: Callable[[], object]) -> float:
    """The fewest CPU seconds of ten times, after a first."""
    work()
    seconds = []
    for _ in range(10):
        begin = time.process_time()
        work()
        seconds.append(time.process_time() - begin)
    return min(seconds)

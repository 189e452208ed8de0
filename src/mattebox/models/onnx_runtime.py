"""Networks in ONNX Runtime: on processors that OpenVINO does not know, on NVIDIA GPUs, and on Apple's accelerators."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mattebox import extras, telemetry
from mattebox.errors import Kind, MatteboxError
from mattebox.models.catalogue import Precision
from mattebox.models.families import Batch
from mattebox.models.network import LoadedNetwork, expect_photo, not_loaded, not_run, planes

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
NVIDIA = ("cuda", "tensorrt")
"""The devices that a batch makes better use of than its photos one by one."""


class _OnnxRuntime:
    def __init__(
        self,
        session: Any,
        *,
        where: str,
        memory: str,
        batch: int,
        new_value: Callable[..., object],
        failures: tuple[type[Exception], ...],
    ) -> None:
        self._failures = failures
        self._new_value = new_value
        entry, answer = session.get_inputs()[0], session.get_outputs()[0]
        first, _, height, width = entry.shape
        self.size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        self.where = where
        self.batch = 1 if isinstance(first, int) else batch
        self._dtype, self._answered = (
            np.float16 if each.type == "tensor(float16)" else np.float32 for each in (entry, answer)
        )
        self._input: str = entry.name
        self._output: str = answer.name
        self._session = session
        self._memory = memory
        # Where its size is known, the answer's place in the device's memory is kept from one batch to the next.
        self._plane = answer.shape[1:] if all(isinstance(axis, int) for axis in answer.shape[1:]) else None
        self._place: tuple[int, object] = (0, None)
        self._turn = threading.Lock()  # one run at a time uses all of a device, and has one run's memory

    def __call__(self, batch: Batch) -> npt.NDArray[np.float32]:
        with self._turn:
            try:
                output = self._run(np.ascontiguousarray(batch, self._dtype))
            except self._failures as error:
                raise not_run(self.where, error) from error
        return planes(output, len(batch))

    def _run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The output for a batch, which is copied to the device once, and the output once from it."""
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._input, batch)
        if self._plane is None:
            binding.bind_output(self._output, self._memory)
        else:
            count, value = self._place
            if count != len(batch):
                self._place, value = (0, None), None  # given back before the next one is taken
                value = self._new_value([len(batch), *self._plane], self._answered, self._memory, 0)
                self._place = (len(batch), value)
            binding.bind_ortvalue_output(self._output, value)
        self._session.run_with_iobinding(binding)
        (output,) = binding.copy_outputs_to_cpu()  # a copy on a processor too
        return np.asarray(output)


def open_onnxruntime(
    file: Path,
    *,
    device: str,
    threads: int,
    precision: Precision = "f32",
    batch: int = 1,
    free_batch: bool = False,
    engines: Path | None = None,
) -> LoadedNetwork:
    """Load a network with ONNX Runtime on one of `PROVIDERS`. See `runtimes.open_network`.

    Args:
        file: the ONNX file.
        device: what runs it.
        threads: how many to compute with on a processor.
        precision: "f32" keeps a GPU from rounding float32 to TF32.
        batch: the most photos that will be given to it at once.
        free_batch: let it take any number of photos, whatever its file says. It needs `onnx`.
        engines: the folder where TensorRT keeps what it builds.
    """
    with extras.needs("cuda" if device in NVIDIA else "onnxruntime", f"The device {device}", parameter="device"):
        onnxruntime, state = _import_onnxruntime()
    provider = PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        if device == "cuda":  # the build for processors is installed
            raise extras.missing("cuda", "The device cuda", parameter="device")
        raise MatteboxError(Kind.UNAVAILABLE, f"The installed ONNX Runtime cannot use {device}.", parameter="device")
    if device in NVIDIA:
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it misses
            onnxruntime.preload_dlls()  # CUDA's libraries as `pip` installs them, where no loader looks
    providers = _providers(device, precision=precision, engines=engines)
    model: Path | bytes = file
    half = False
    failures = _failures(state)
    try:
        if free_batch:
            free = _with_free_batch(file, device)
            model, half = free.content, free.half
            if device == "tensorrt":
                providers[0][1].update(free.profile(batch))
        session = onnxruntime.InferenceSession(model, sess_options=_options(onnxruntime, threads), providers=providers)
        session.disable_fallback()
    except failures as error:
        raise not_loaded(device, error) from error
    # Where a provider cannot start, ONNX Runtime only prints a line and computes on the processor.
    got = session.get_providers()
    if not got or got[0] != provider:
        raise MatteboxError(Kind.UNAVAILABLE, f"The device {device} could not be started.", parameter="device")
    expect_photo(len(session.get_inputs()[0].shape))
    return _OnnxRuntime(
        session,
        where=f"ONNX Runtime {device} {'f16' if half else 'f32'}",
        memory="cuda" if device in NVIDIA else "cpu",
        batch=batch,
        new_value=onnxruntime.OrtValue.ortvalue_from_shape_and_type,
        failures=failures,
    )


class Session:
    """A network on the processor with any number of named inputs and outputs. Safe to call from several threads.

    Args:
        file: in the format of ONNX or in that of ONNX Runtime.
        threads: how many to compute with.

    Raises:
        MatteboxError: UNAVAILABLE where ONNX Runtime is missing or cannot load the file.
    """

    def __init__(self, file: Path, *, threads: int) -> None:
        with extras.needs("onnxruntime", "A network for clicks", parameter="corrections"):
            onnxruntime, state = _import_onnxruntime()
        self._failures = _failures(state)
        options = _options(onnxruntime, threads)
        try:
            self._session = onnxruntime.InferenceSession(file, sess_options=options, providers=[PROVIDERS["cpu"]])
        except self._failures as error:
            raise not_loaded("cpu", error).about("corrections") from error
        self._turn = threading.Lock()  # one run at a time uses all of a device, and has one run's memory

    def __call__(self, **inputs: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """The outputs by their names."""
        with self._turn:
            try:
                found = self._session.run(None, inputs)
            except self._failures as error:
                raise not_run("ONNX Runtime cpu f32", error).about("corrections") from error
        return dict(zip((each.name for each in self._session.get_outputs()), found, strict=True))


def _options(onnxruntime: Any, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads burn a core between photos; the arena never gives memory back. Memory set aside by a pattern is
    # a tenth more for IS-Net, and reported to be 2 of 10 GB for BiRefNet.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return options


def _providers(device: str, *, precision: Precision, engines: Path | None) -> list[tuple[str, dict[str, str]]]:
    """The providers of a device with their options, the first of them the device's own."""
    cuda = {
        # Trying all algorithms takes minutes for a network, and again for each size of batch.
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0" if precision == "f32" else "1",
        "arena_extend_strategy": "kSameAsRequested",
    }
    tensorrt: dict[str, str] = {}
    if engines is not None:
        engines.mkdir(parents=True, exist_ok=True)
        tensorrt = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(engines)}
    wanted: dict[str, list[tuple[str, dict[str, str]]]] = {
        "cpu": [],
        "cuda": [(PROVIDERS["cuda"], cuda)],
        "tensorrt": [(PROVIDERS["tensorrt"], tensorrt), (PROVIDERS["cuda"], cuda)],
        # CoreML's older format takes no float16, and would leave IS-Net to the processor.
        "coreml": [(PROVIDERS["coreml"], {"ModelFormat": "MLProgram"})],
    }
    return [*wanted[device], (PROVIDERS["cpu"], {})]


@dataclass(frozen=True, slots=True)
class _Free:
    """A network that takes any number of photos: its file, its input, and whether its weights are float16."""

    content: bytes
    name: str
    axes: tuple[int, ...]
    half: bool

    def profile(self, batch: int) -> dict[str, str]:
        """The batches that TensorRT is to build its engine for, which it would build anew for each size otherwise."""
        axes = "x".join(map(str, self.axes))
        sizes = {"min": 1, "opt": batch, "max": batch}
        return {f"trt_profile_{name}_shapes": f"{self.name}:{count}x{axes}" for name, count in sizes.items()}


def _with_free_batch(file: Path, device: str) -> _Free:
    """The network of a file with a free first axis, and with its first output only.

    Networks are exported for one photo. Nothing in a convolutional one depends on that but what the file says about the
    shapes of its inputs and outputs. The side outputs, which only training needs, would be computed and copied.
    """
    with extras.needs("cuda", f"The device {device}", parameter="device"):
        import onnx
        from google.protobuf.message import DecodeError
    try:
        model = onnx.load(file)
    except DecodeError as error:
        raise not_loaded(device, error) from error
    graph = model.graph
    del graph.output[1:]
    del graph.value_info[:]  # shapes within, for one photo: the runtime finds them itself
    for value in (*graph.input, *graph.output):
        axes = value.type.tensor_type.shape.dim
        if axes:
            axes[0].Clear()
            axes[0].dim_param = "batch"
    entry = next(iter(graph.input), onnx.ValueInfoProto())  # a file of nothing is a graph of nothing
    return _Free(
        content=model.SerializeToString(),
        name=entry.name,
        axes=tuple(axis.dim_value for axis in entry.type.tensor_type.shape.dim[1:]),
        half=any(each.data_type == onnx.TensorProto.FLOAT16 for each in graph.initializer),
    )


def _failures(state: Any) -> tuple[type[Exception], ...]:
    """The exceptions of ONNX Runtime, as many as the installed version has. IO binding raises a plain RuntimeError."""
    names = (
        *("DeviceReset", "EPFail", "EngineError", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf"),
        *("NoModel", "NoSuchFile", "NotFound", "NotImplemented", "RuntimeException"),
    )
    return (RuntimeError, *(getattr(state, name) for name in names if hasattr(state, name)))


def offered_providers() -> list[str]:
    """The providers of the installed ONNX Runtime, if one is installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        return []
    return list(_import_onnxruntime()[0].get_available_providers())


def _import_onnxruntime() -> tuple[Any, Any]:
    """ONNX Runtime, and the module of it that has its exceptions."""
    telemetry.switch_off()
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    onnxruntime.disable_telemetry_events()  # the program that mattebox is used in may have imported it before
    return onnxruntime, state

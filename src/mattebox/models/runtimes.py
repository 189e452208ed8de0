"""Runs a network file: OpenVINO on x86 processors, ONNX Runtime on everything else.

Nothing here falls back in silence. A device that was asked for by name and cannot be had is an error; `auto` takes
what is there and says in the log what it took.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import logging
import math
import os
import platform
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mattebox import extras, telemetry
from mattebox.download import locks
from mattebox.errors import Kind, MatteboxError
from mattebox.models import int8 as quantization
from mattebox.models.catalogue import Precision
from mattebox.models.families import Batch

_log = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda", "coreml", "openvino:<device>")
_PROVIDERS = {"cuda": "CUDAExecutionProvider", "coreml": "CoreMLExecutionProvider", "cpu": "CPUExecutionProvider"}
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_DAY = 86_400.0


class Network(Protocol):
    """A loaded network. Safe to call from several threads; calls are answered one after the other."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the only input it takes; None where it takes any."""

    @property
    def where(self) -> str:
        """The device and precision that it really runs on, for people: `OpenVINO CPU bf16`."""

    def __call__(self, batch: Batch) -> npt.NDArray[np.float32]:
        """The network's first output, shape (height, width), for a batch of shape (1, 3, height, width)."""


def thread_budget(threads: int, *, cpu_max: Path = _CPU_MAX) -> int:
    """How many threads to compute with: `threads`, or for 0 all the cores this process may use.

    Args:
        threads: what was asked for.
        cpu_max: the file in which Linux says how much processor time a container gets.
    """
    if threads:
        return threads
    if sys.platform == "linux":
        # Containers are held to cores by affinity (`taskset`, `--cpuset-cpus`) or to time by a quota (`--cpus`).
        # Threads beyond a quota are stopped all at once when it is used up, which costs more than they give.
        return min(len(os.sched_getaffinity(0)), _quota(cpu_max))
    else:
        return os.cpu_count() or 1


def _quota(cpu_max: Path) -> int:
    """Processors' worth of time that the control group may use, rounded up; very many where nothing limits it."""
    if not cpu_max.is_file():  # no container, or the first version of control groups
        return sys.maxsize
    quota, period = cpu_max.read_text().split()
    return sys.maxsize if quota == "max" else max(1, math.ceil(int(quota) / int(period)))


def check_device(device: str) -> str:
    """The device, if it has the form of one of `DEVICES`.

    Raises:
        ValueError: it has not.
    """
    if device not in DEVICES[:-1] and not re.fullmatch("openvino:[^<>]+", device):
        raise ValueError(f"unknown device {device!r}; choose one of {', '.join(DEVICES)}")
    return device


def open_network(
    onnx: Callable[[], Path],
    *,
    device: str = "auto",
    threads: int = 0,
    precision: Precision = "f32",
    int8: bytes | None = None,
    prepared: Path | None = None,
    guard: Callable[[], None] = lambda: None,
) -> Network:
    """Load a network, ready to run.

    Args:
        onnx: gives the ONNX file; called only where no prepared form of it is there.
        device: one of `DEVICES`.
        threads: how many to compute with; 0 means all cores that the process may use.
        precision: the lowest that may be computed with. bf16 is used where the processor computes with it natively.
        int8: the table with which OpenVINO computes the network in 8 bits, on a processor.
        prepared: where to keep this very network as OpenVINO compiled it, without suffix. It loads in a third of the
            time and with less memory than the ONNX file. None keeps nothing.
        guard: called before the network is loaded into the processor's memory; what it raises ends the loading.

    Raises:
        MatteboxError: INVALID_PARAMETER for a device that does not exist, UNAVAILABLE for one that is not here or
            for a file that is not a network.
    """
    cores = thread_budget(threads)
    if device in {"cpu", "openvino:CPU"}:
        guard()
    match device:
        case "auto":
            return _open_auto(onnx, threads=cores, precision=precision, int8=int8, prepared=prepared, guard=guard)
        case "cpu":
            return _open_cpu(onnx, threads=cores, precision=precision, int8=int8, prepared=prepared)
        case "cuda" | "coreml":
            return open_onnxruntime(onnx(), device=device, threads=cores)
        case _ if device.startswith("openvino:") and len(device) > len("openvino:"):
            target = device.removeprefix("openvino:")
            return open_openvino(onnx, device=target, threads=cores, precision=precision, int8=int8, prepared=prepared)
        case _:
            raise MatteboxError(
                Kind.INVALID_PARAMETER, f"Unknown device. Choose one of {', '.join(DEVICES)}.", parameter="device"
            )


def computes_with(precision: Precision, *, int8: bool) -> Precision:
    """The precision that this processor computes a network with.

    Args:
        precision: the lowest that may be computed with, as far as the processor has it.
        int8: there is a table with which it can be computed in 8 bits.
    """
    if importlib.util.find_spec("openvino") is None:
        return "f32"
    telemetry.switch_off()
    import openvino

    capabilities: list[str] = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if int8 and "INT8" in capabilities:
        return "int8"
    # Where bf16 is not native it would be emulated: slower than f32, and less exact.
    return "bf16" if precision == "bf16" and "BF16" in capabilities else "f32"


def may_use_cuda(device: str) -> bool:
    """Whether a network may run on an NVIDIA GPU where `device` is asked for, if there is one."""
    return device == "cuda" or (device == "auto" and _PROVIDERS["cuda"] in _offered_providers())


def _open_auto(
    onnx: Callable[[], Path],
    *,
    threads: int,
    precision: Precision,
    int8: bytes | None,
    prepared: Path | None,
    guard: Callable[[], None],
) -> Network:
    offered = _offered_providers()
    accelerators = [device for device in ("cuda", "coreml") if _PROVIDERS[device] in offered]
    if platform.machine() != "arm64" and "coreml" in accelerators:
        accelerators.remove("coreml")  # on Intel Macs CoreML is slower than the processor
    if not accelerators:
        guard()
        return _open_cpu(onnx, threads=threads, precision=precision, int8=int8, prepared=prepared)
    file = onnx()  # before any device is tried: a file that is not to be had is no device's fault
    for device in accelerators:
        try:
            return open_onnxruntime(file, device=device, threads=threads)
        except MatteboxError as error:
            reason = error.__cause__ or error
            _log.warning("%s is installed but cannot be used, taking the processor: %s", device, reason)
    guard()
    return _open_cpu(lambda: file, threads=threads, precision=precision, int8=int8, prepared=prepared)


def _open_cpu(
    onnx: Callable[[], Path], *, threads: int, precision: Precision, int8: bytes | None, prepared: Path | None
) -> Network:
    if importlib.util.find_spec("openvino"):
        return open_openvino(onnx, device="CPU", threads=threads, precision=precision, int8=int8, prepared=prepared)
    return open_onnxruntime(onnx(), device="cpu", threads=threads)


# --- OpenVINO ---------------------------------------------------------------------------------------------------------


class _OpenVINO:
    def __init__(self, compiled: Any, *, where: str, weights: npt.NDArray[np.uint8] | None = None) -> None:
        self._weights = weights  # computed from where they are mapped: to be kept as long as the network
        shape = compiled.input(0).get_partial_shape()
        self.size = None if shape.is_dynamic else (int(shape.to_shape()[2]), int(shape.to_shape()[3]))
        self.where = where
        self._dtype = compiled.input(0).get_element_type().to_dtype()
        self._request = compiled.create_infer_request()
        # One request a network, taken in turns: a single inference already uses every core of the budget, and a
        # second request would only add its own activations (200 MB for IS-Net) to the memory.
        self._turn = threading.Lock()

    def __call__(self, batch: Batch) -> npt.NDArray[np.float32]:
        with self._turn:
            try:
                output = self._request.infer({0: batch.astype(self._dtype, copy=False)}, share_inputs=True)[0]
            except RuntimeError as error:  # OpenVINO's only exception
                raise _not_run(self.where) from error
            return _plane(output)


def open_openvino(
    onnx: Callable[[], Path],
    *,
    device: str,
    threads: int,
    precision: Precision,
    int8: bytes | None = None,
    prepared: Path | None = None,
) -> Network:
    """Load a network with OpenVINO on one of its devices (`CPU`, `GPU`, `GPU.1`). See `open_network`."""
    compiler = _Compiler(device, threads=threads, precision=precision, int8=int8)
    kept = None if prepared is None else compiler.file_of(prepared)
    network = None if kept is None else compiler.read_back(kept)
    if network is not None:
        return network
    file = onnx()
    try:
        if prepared is not None and kept is not None and compiler.keep(file, kept):
            # Of this network in other forms, as other versions of OpenVINO keep it; and what killed processes left. A
            # day spares those that another process makes right now.
            others = set(kept.parent.glob(f"{prepared.name}-*")) - {kept}
            locks.remove_older([*others, *kept.parent.glob(".prepare-*")], seconds=_DAY)
            give_back_memory()
            # Read back rather than used as it is: what was compiled here holds its weights a second time.
            network = compiler.read_back(kept)
        return network or compiler.compile(file)
    except RuntimeError as error:  # OpenVINO's only exception
        raise MatteboxError(Kind.UNAVAILABLE, _unfit(device)) from error


class _Compiler:
    """OpenVINO for one device: compiles networks for it, and keeps compiled ones in files.

    What is kept is one file: the SHA-256 of the compiled network in hexadecimal, zeros up to the next page, and the
    network. It is mapped into memory and not copied.
    """

    _HEAD = 4096

    def __init__(self, device: str, *, threads: int, precision: Precision, int8: bytes | None) -> None:
        telemetry.switch_off()
        try:
            import openvino
        except ImportError as error:
            raise MatteboxError(Kind.UNAVAILABLE, "OpenVINO is not installed.") from error
        self._openvino: Any = openvino
        self._core: Any = openvino.Core()
        if device not in self._core.available_devices:
            raise MatteboxError(Kind.UNAVAILABLE, f"OpenVINO finds no device {device} on this machine.")
        self._device = device
        self._half = precision == "bf16"
        self._precision = computes_with(precision, int8=int8 is not None) if device == "CPU" else "f32"
        self._int8 = int8 if self._precision == "int8" else None
        self._options: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
        if device == "CPU":
            # Pinning threads to cores would make two processes on one machine fight for the same ones.
            self._options |= {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
        # Of a network in 8 bits, what is left in float32 stays so.
        self._options["INFERENCE_PRECISION_HINT"] = "bf16" if self._precision == "bf16" else "f32"

    def file_of(self, prepared: Path) -> Path:
        """The file of a compiled network. What one version or processor compiled, another need not be able to run."""
        version = self._openvino.__version__.split("-")[0]
        names = ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
        processor = repr([self._device, *(self._core.get_property(self._device, name) for name in names)])
        processor += os.environ.get("ONEDNN_MAX_CPU_ISA", "")  # which switches instructions off
        key = hashlib.sha256(processor.encode() + (self._int8 or b"")).hexdigest()[:8]
        return prepared.with_name(f"{prepared.name}-{self._precision}-{version}-{key}.blob")

    def compile(self, onnx: Path) -> Network:
        """The network of an ONNX file. OpenVINO raises a RuntimeError where it is none."""
        return self._network(self._compiled(self._read(onnx)))

    def keep(self, onnx: Path, kept: Path) -> bool:
        """Compile a network and keep it in a file; False where the directory cannot take it.

        Its weights are stored as float16 where bf16 may be computed with, which loses nothing (IS-Net) or next to
        nothing (U2-Net: mean 0.0003 of alpha). The file is made aside and moved: two processes may make it at once, and
        one may be killed.
        """
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".prepare-") as aside:
                network = self._read(onnx)
                if self._half and self._int8 is None:
                    network = self._as_float16(network, Path(aside) / "network.xml")
                exported = self._compiled(network).export_model().getbuffer()
                made = Path(aside) / kept.name
                with made.open("wb") as file:
                    file.write(hashlib.sha256(exported).hexdigest().encode().ljust(self._HEAD, b"\0"))
                    file.write(exported)
                made.replace(kept)
        except OSError as error:
            # A directory that cannot be written to costs memory and time at each start, not correctness.
            _log.warning("cannot keep the compiled network, compiling it each time: %s", error)
            return False
        return True

    def read_back(self, kept: Path) -> Network | None:
        """The network that is kept in a file; None where there is no sound one."""
        try:
            content = np.memmap(kept, np.uint8, mode="c")  # OpenVINO wants memory that may be written to
        except (FileNotFoundError, ValueError):  # a file of no bytes cannot be mapped
            return None
        except OSError as error:
            _log.warning("cannot read the compiled network, compiling it again: %s", error)
            return None
        head, network = content[: self._HEAD].tobytes(), content[self._HEAD :]
        if head.rstrip(b"\0") != hashlib.sha256(network.data).hexdigest().encode():
            return None
        try:
            tensor = self._openvino.Tensor(network, shared_memory=True)
            return self._network(self._core.import_model(tensor, self._device, self._options), weights=network)
        except RuntimeError as error:  # OpenVINO's only exception
            _log.warning("cannot use the compiled network, compiling it again: %s", error)
            return None

    def _read(self, onnx: Path) -> Any:
        """The network without the side outputs that it was trained with, and without what only they need."""
        whole = self._core.read_model(onnx)
        network = self._openvino.Model([whole.get_results()[0]], whole.get_parameters())
        if self._int8 is not None:
            quantization.quantize(network, quantization.read(self._int8))
        return network

    def _as_float16(self, network: Any, xml: Path) -> Any:
        try:
            self._openvino.save_model(network, xml, compress_to_fp16=True)
        except RuntimeError as error:  # how OpenVINO says that a disk is full
            raise OSError(f"OpenVINO cannot write it: {error}") from error
        return self._core.read_model(xml)

    def _compiled(self, network: Any) -> Any:
        _expect_photo(network.input(0).get_partial_shape().rank.get_length())
        return self._core.compile_model(network, self._device, self._options)

    def _network(self, compiled: Any, *, weights: npt.NDArray[np.uint8] | None = None) -> Network:
        return _OpenVINO(compiled, where=f"OpenVINO {self._device} {self._precision}", weights=weights)


# --- ONNX Runtime -----------------------------------------------------------------------------------------------------


class _OnnxRuntime:
    def __init__(self, session: Any, *, where: str, failures: tuple[type[Exception], ...]) -> None:
        self._failures = failures
        entry = session.get_inputs()[0]
        height, width = entry.shape[2:]
        self.size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        self.where = where
        self._dtype = np.float16 if entry.type == "tensor(float16)" else np.float32
        self._input: str = entry.name
        self._output: str = session.get_outputs()[0].name
        self._session = session
        self._turn = threading.Lock()  # for the reason given at _OpenVINO

    def __call__(self, batch: Batch) -> npt.NDArray[np.float32]:
        with self._turn:
            try:
                (output,) = self._session.run([self._output], {self._input: batch.astype(self._dtype, copy=False)})
            except self._failures as error:
                raise _not_run(self.where) from error
        return _plane(output)


def open_onnxruntime(file: Path, *, device: str, threads: int) -> Network:
    """Load a network with ONNX Runtime on `cpu`, `cuda` or `coreml`. See `open_network`."""
    with extras.needs("cuda" if device == "cuda" else "onnxruntime", f"The device {device}", parameter="device"):
        onnxruntime, state = _import_onnxruntime()
    provider = _PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        if device == "cuda":  # the build for processors is installed
            raise extras.missing("cuda", "The device cuda", parameter="device")
        raise MatteboxError(Kind.UNAVAILABLE, f"The installed ONNX Runtime cannot use {device}.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads burn a core between photos; the arena never gives memory back. Memory set aside by a pattern is
    # a tenth more for IS-Net, and reported to be 2 of 10 GB for BiRefNet.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    wanted: list[str | tuple[str, dict[str, str]]] = [provider]
    if device == "coreml":  # its older format takes no float16, and would leave IS-Net to the processor
        wanted = [(provider, {"ModelFormat": "MLProgram"})]
    if device != "cpu":
        wanted.append(_PROVIDERS["cpu"])
    try:
        session = onnxruntime.InferenceSession(file, sess_options=options, providers=wanted)
        session.disable_fallback()
    except _failures(state) as error:
        raise MatteboxError(Kind.UNAVAILABLE, _unfit(device)) from error
    # Where a provider cannot start, ONNX Runtime only prints a line and computes on the processor.
    got = session.get_providers()
    if not got or got[0] != provider:
        raise MatteboxError(Kind.UNAVAILABLE, f"The device {device} could not be started.")
    _expect_photo(len(session.get_inputs()[0].shape))
    return _OnnxRuntime(session, where=f"ONNX Runtime {device} f32", failures=_failures(state))


def _failures(state: Any) -> tuple[type[Exception], ...]:
    """The exceptions with which ONNX Runtime refuses a file or a device: as many as the installed version has."""
    names = (
        *("DeviceReset", "EPFail", "EngineError", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf"),
        *("NoModel", "NoSuchFile", "NotFound", "NotImplemented", "RuntimeException"),
    )
    return tuple(getattr(state, name) for name in names if hasattr(state, name))


def _offered_providers() -> list[str]:
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


# --- both -------------------------------------------------------------------------------------------------------------


def give_back_memory() -> None:
    """Return freed memory to the system: converting or preparing a network leaves glibc holding 400 MB of it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none and need none
        if trim is not None:
            trim(0)


def _expect_photo(rank: int) -> None:
    if rank != 4:
        raise MatteboxError(Kind.UNAVAILABLE, "The file is a network, but not one that takes a photo.")


def _unfit(device: str) -> str:
    return f"The file cannot be loaded as a network on {device}. It may be damaged, or need a newer runtime."


def _not_run(where: str) -> MatteboxError:
    """The failure to compute, with the reasons that runtimes do not tell apart."""
    return MatteboxError(
        Kind.UNAVAILABLE,
        f"The network cannot be run ({where}): there is too little memory, or it is made for another input.",
        parameter="model",
    )


def _plane(output: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """An output of shape (1, 1, height, width) or (1, height, width) as (height, width)."""
    if output.ndim < 3 or output.size != output.shape[-1] * output.shape[-2]:
        raise MatteboxError(
            Kind.UNAVAILABLE, "The file is a network, but not one that answers with one matte.", parameter="model"
        )
    return output.reshape(output.shape[-2:]).astype(np.float32, copy=False)

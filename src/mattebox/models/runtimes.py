"""Runs a network file: OpenVINO on x86 processors, ONNX Runtime (`onnx_runtime`) on everything else.

Nothing here falls back in silence. A device that was asked for by name and cannot be had is an error; `auto` takes
what is there and says in the log what it took.
"""

from __future__ import annotations

import ctypes
import functools
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
from typing import Any

import numpy as np
import numpy.typing as npt

from mattebox import telemetry
from mattebox.download import locks
from mattebox.errors import Kind, MatteboxError
from mattebox.models import int8 as quantization
from mattebox.models import onnx_runtime, rewriting
from mattebox.models.catalogue import Precision
from mattebox.models.families import Batch
from mattebox.models.network import LoadedNetwork, expect_photo, not_loaded, not_run, planes

_log = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda", "tensorrt", "coreml", "openvino:<device>")
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_DAY = 86_400.0
_ISA_LIMIT = "ONEDNN_MAX_CPU_ISA"
"""The variable with which the instructions of newer processors are switched off."""


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
    batch: int = 1,
    free_batch: bool = False,
    guard: Callable[[], None] = lambda: None,
) -> LoadedNetwork:
    """Load a network, ready to run.

    Args:
        onnx: gives the ONNX file; called only where no prepared form of it is there.
        device: one of `DEVICES`.
        threads: how many to compute with; 0 means all cores that the process may use.
        precision: the lowest that may be computed with. bf16 is used where the processor computes with it natively.
        int8: the table with which OpenVINO computes the network in 8 bits, on a processor.
        prepared: where to keep this very network as OpenVINO compiled it, without suffix. It loads in a third of the
            time and with less memory than the ONNX file. TensorRT's engines go into a folder beside it. None keeps
            nothing.
        batch: the most photos that it will be given at once. It is offered on NVIDIA GPUs only.
        free_batch: nothing in it depends on how many photos there are, though its file may name a number.
        guard: called before the network is loaded into the processor's memory; what it raises ends the loading.

    Raises:
        MatteboxError: INVALID_PARAMETER for a device that does not exist, UNAVAILABLE for one that is not here or
            for a file that is not a network.
    """
    onnx, threads = functools.cache(onnx), thread_budget(threads)

    def on_openvino(name: str) -> LoadedNetwork:
        if name == "CPU":
            guard()
        return open_openvino(onnx, device=name, threads=threads, precision=precision, int8=int8, prepared=prepared)

    def on_processor() -> LoadedNetwork:
        if importlib.util.find_spec("openvino"):
            return on_openvino("CPU")
        guard()
        return onnx_runtime.open_onnxruntime(onnx(), device="cpu", threads=threads)

    def on_accelerator(name: str) -> LoadedNetwork:
        if name not in onnx_runtime.NVIDIA:
            return onnx_runtime.open_onnxruntime(onnx(), device=name, threads=threads)
        return onnx_runtime.open_onnxruntime(
            onnx(),
            device=name,
            threads=threads,
            precision=precision,
            batch=batch,
            free_batch=free_batch,
            engines=None if prepared is None else prepared.parent.with_name("tensorrt"),
        )

    match device:
        case "auto":
            accelerators = _accelerators()
            if accelerators:
                onnx()  # before any device is tried: a file that is not to be had is no device's fault
            for name in accelerators:
                try:
                    return on_accelerator(name)
                except MatteboxError as error:
                    reason = error.__cause__ or error
                    _log.warning("%s is installed but cannot be used, taking the processor: %s", name, reason)
            return on_processor()
        case "cpu":
            return on_processor()
        case "cuda" | "tensorrt" | "coreml":
            return on_accelerator(device)
        case _ if device.startswith("openvino:") and len(device) > len("openvino:"):
            return on_openvino(device.removeprefix("openvino:"))
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
    # Where bf16 is not native it would be emulated: slower than f32, and less exact. That it is switched off, as the
    # rest of the instructions beyond a limit, is not in the capabilities.
    limit = os.environ.get(_ISA_LIMIT, "ALL").upper()
    is_allowed = any(each in limit for each in ("ALL", "DEFAULT", "BF16", "FP16", "AMX", "AVX10"))
    return "bf16" if precision == "bf16" and "BF16" in capabilities and is_allowed else "f32"


def may_use_cuda(device: str) -> bool:
    """Whether a network may run on an NVIDIA GPU where `device` is asked for, if there is one."""
    return device in onnx_runtime.NVIDIA or (
        device == "auto" and onnx_runtime.PROVIDERS["cuda"] in onnx_runtime.offered_providers()
    )


def _accelerators() -> list[str]:
    """The devices that `auto` tries before the processor."""
    offered = onnx_runtime.offered_providers()
    found = [device for device in ("cuda", "coreml") if onnx_runtime.PROVIDERS[device] in offered]
    if platform.machine() != "arm64" and "coreml" in found:
        found.remove("coreml")  # on Intel Macs CoreML is slower than the processor
    return found


# --- OpenVINO ---------------------------------------------------------------------------------------------------------


class _OpenVINO:
    def __init__(self, compiled: Any, *, where: str, weights: npt.NDArray[np.uint8] | None = None) -> None:
        self._weights = weights  # computed from where they are mapped: to be kept as long as the network
        shape = compiled.input(0).get_partial_shape()
        self.size = None if shape.is_dynamic else (int(shape.to_shape()[2]), int(shape.to_shape()[3]))
        self.where = where
        self.batch = 1  # a processor takes as long for a batch as for its photos one by one
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
                raise not_run(self.where, error) from error
            return planes(output, len(batch))


def open_openvino(
    onnx: Callable[[], Path],
    *,
    device: str,
    threads: int,
    precision: Precision,
    int8: bytes | None = None,
    prepared: Path | None = None,
) -> LoadedNetwork:
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
        raise not_loaded(device, error) from error


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
        # What is not computed in 8 bits of a network that is
        rest = computes_with(precision, int8=False) if self._precision == "int8" else self._precision
        self._options["INFERENCE_PRECISION_HINT"] = rest

    def file_of(self, prepared: Path) -> Path:
        """The file of a compiled network. What one version or processor compiled, another need not be able to run."""
        version = self._openvino.__version__.split("-")[0]
        names = ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
        processor = repr([self._device, *(self._core.get_property(self._device, name) for name in names)])
        processor += os.environ.get(_ISA_LIMIT, "")
        made = [processor, str(self._options["INFERENCE_PRECISION_HINT"]), str(rewriting.VERSION)]
        key = hashlib.sha256(repr(made).encode() + (self._int8 or b"")).hexdigest()[:8]
        return prepared.with_name(f"{prepared.name}-{self._precision}-{version}-{key}.blob")

    def compile(self, onnx: Path) -> LoadedNetwork:
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

    def read_back(self, kept: Path) -> LoadedNetwork | None:
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
        if self._device == "CPU":
            rewriting.rewrite(network)
        return network

    def _as_float16(self, network: Any, xml: Path) -> Any:
        try:
            self._openvino.save_model(network, xml, compress_to_fp16=True)
        except RuntimeError as error:  # how OpenVINO says that a disk is full
            raise OSError(f"OpenVINO cannot write it: {error}") from error
        return self._core.read_model(xml)

    def _compiled(self, network: Any) -> Any:
        expect_photo(network.input(0).get_partial_shape().rank.get_length())
        return self._core.compile_model(network, self._device, self._options)

    def _network(self, compiled: Any, *, weights: npt.NDArray[np.uint8] | None = None) -> LoadedNetwork:
        return _OpenVINO(compiled, where=f"OpenVINO {self._device} {self._precision}", weights=weights)


def give_back_memory() -> None:
    """Return freed memory to the system: converting or preparing a network leaves glibc holding 400 MB of it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none and need none
        if trim is not None:
            trim(0)

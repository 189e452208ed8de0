"""What this process and this machine have used, and what the processor can do. Imports nothing but Python's own."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

_FEATURES = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx_vnni"},
    "bf16": {"avx512_bf16", "amx_bf16"},
    "AMX": {"amx_tile"},
}
"""What networks gain from, and the flags with which Linux says that a processor has it."""


def peak_bytes(process: int | str = "self") -> int:
    """The most memory that a process has held so far, or since `reset_peak`."""
    if sys.platform == "linux":
        # getrusage also counts what the parent held when it started this process; the kernel's own mark does not.
        return _kilobytes(Path(f"/proc/{process}/status"), "VmHWM")
    else:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def reset_peak() -> None:
    """Let `peak_bytes` of this process begin anew, where the system can do that."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def cpu_seconds(process: int, *, main_thread: bool = False) -> float:
    """The processor time that a running process has used, with all its threads or in the first alone. Linux only."""
    stat = f"task/{process}/stat" if main_thread else "stat"
    fields = Path(f"/proc/{process}/{stat}").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_bytes() -> int:
    """The memory that the machine can still give. Linux only."""
    return _kilobytes(Path("/proc/meminfo"), "MemAvailable")


def features() -> Sequence[str]:
    """Which of the instructions that networks gain from the processor has."""
    found = _cpuinfo("flags").split()
    return [name for name, flags in _FEATURES.items() if flags.intersection(found)]


def machine() -> str:
    """The processor and what it can do, on one line, to stand over each table."""
    has = features()
    told = ", ".join(f"{name} {'yes' if name in has else 'no'}" for name in _FEATURES)
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    name = _cpuinfo("model name") or platform.processor() or platform.machine()
    return f"{name}, {cores} cores ({told}), Python {platform.python_version()}"


def _cpuinfo(key: str) -> str:
    file = Path("/proc/cpuinfo")
    found = re.search(rf"^{key}\s*:\s*(.*)$", file.read_text(encoding="utf-8"), re.MULTILINE) if file.exists() else None
    return found[1] if found else ""


def _kilobytes(file: Path, key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", file.read_text(encoding="utf-8"))
    assert found, f"{file} has no {key}"
    return int(found[1]) * 1024

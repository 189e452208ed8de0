"""How much memory there is, and the refusal to load a network that it cannot hold.

A process that asks for more than there is gets killed, mostly in the middle of a photo and without a word.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from mattebox.errors import Kind, MatteboxError
from mattebox.models.catalogue import Variant

_log = logging.getLogger(__name__)

_ROOM = 2_000_000_000
"""Bytes that the system and the rest of the process need beside a network, photo included."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The part of a machine that networks run on.

    Attributes:
        memory: bytes that this process may ever use, or that its GPU has; None where the system does not say.
        gpu: it is an NVIDIA GPU.
    """

    memory: int | None
    gpu: bool = False

    def holds(self, variant: Variant) -> bool:
        """Whether a network can be run here, with room for everything else, and is not too slow to be worth it."""
        return (self.gpu or not variant.gpu) and (self.memory is None or variant.memory + _ROOM <= self.memory)

    def __str__(self) -> str:
        device = "an NVIDIA GPU" if self.gpu else "the processor"
        return device if self.memory is None else f"{device} with {gigabytes(self.memory)} of memory"


def needed(variant: Variant, size: int) -> int:
    """Bytes that a file of `size` bytes needs to be loaded and run like `variant`.

    A file of one's own may be a smaller network of the same family. Half the size may just be half the precision, which
    processors compute in full.
    """
    share = 1.0 if variant.bytes is None else size / variant.bytes
    return round(variant.memory * max(share, min(1.0, 2 * share)))


def check(variant: Variant, size: int) -> None:
    """Refuse a network that needs more memory than is free.

    Args:
        variant: how it is prepared.
        size: bytes of its file.

    Raises:
        MatteboxError: UNAVAILABLE.
    """
    wanted, there = needed(variant, size), free()
    if there is not None and wanted > there:
        raise MatteboxError(
            Kind.UNAVAILABLE,
            f"The model {variant.name} needs about {gigabytes(wanted)} of memory, and {gigabytes(there)} are free. "
            "Choose a smaller one; `mattebox models list` shows how much each needs.",
            parameter="model",
        )


def gigabytes(amount: int) -> str:
    """An amount of memory for people: `8.4 GB`."""
    return f"{amount / 1e9:.1f} GB"


# --- the processor's memory -------------------------------------------------------------------------------------------


def free(root: Path = Path("/")) -> int | None:
    """Bytes that this process can still take without anything being swapped or killed; None where nobody says.

    Args:
        root: the folder with Linux's `proc` and `sys`.
    """
    left = [group.limit - group.used for group in _groups(root)]
    meminfo = root / "proc/meminfo"
    if meminfo.is_file():
        left.append(_table(meminfo.read_text().replace(":", ""))["MemAvailable"] * 1024)
    elif sys.platform == "win32":
        left.append(_Windows().available)
    return max(0, min(left)) if left else None


def total(root: Path = Path("/")) -> int | None:
    """Bytes that this process may ever use: the machine's memory, or what its control groups allow of it."""
    limits = [group.limit for group in _groups(root)]
    meminfo = root / "proc/meminfo"
    if meminfo.is_file():
        limits.append(_table(meminfo.read_text().replace(":", ""))["MemTotal"] * 1024)
    elif sys.platform == "win32":
        limits.append(_Windows().total)
    elif sys.platform == "darwin":
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits) if limits else None


@dataclass(frozen=True, slots=True)
class _Group:
    """A control group of Linux: what it may use, and what it uses that cannot be taken back."""

    limit: int
    used: int


def _groups(root: Path) -> list[_Group]:
    """The control groups of both versions that limit this process, with those above them."""
    memberships = root / "proc/self/cgroup"
    if not memberships.is_file():
        return []
    found: list[_Group] = []
    for line in memberships.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        inner = top / path.lstrip("/")
        above = (folder for folder in inner.parents if folder.is_relative_to(top))
        for folder in dict.fromkeys((inner, *above)):
            found += _group(folder, *names)
    return found


def _group(folder: Path, limit: str, used: str, reclaimable: str) -> list[_Group]:
    """The limit of one group; none where it has none. A container sees only the groups inside its own."""
    try:
        allowed = (folder / limit).read_text().strip()
        if allowed == "max":
            return []
        # Pages of files that nobody has open are counted as used, and given up as soon as they are wanted.
        cached = _table((folder / "memory.stat").read_text())[reclaimable]
        return [_Group(int(allowed), int((folder / used).read_text()) - cached)]
    except FileNotFoundError:
        return []


def _table(text: str) -> dict[str, int]:
    """The lines `name number` of one of Linux's files."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1}


if sys.platform == "win32":

    class _Windows(ctypes.Structure):
        """The memory that Windows reports (MEMORYSTATUSEX)."""

        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "available")),
            *((name, ctypes.c_ulonglong) for name in ("paged", "paged_left", "virtual", "virtual_left", "extended")),
        )
        total: int
        available: int

        def __init__(self) -> None:
            super().__init__(length=ctypes.sizeof(type(self)))
            ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(self))


# --- a GPU's ----------------------------------------------------------------------------------------------------------


def gpu_total() -> int | None:
    """Bytes of memory of the first NVIDIA GPU that this process may use; None where its driver shows none."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    device, memory = ctypes.c_int(), ctypes.c_size_t()
    calls: tuple[tuple[str, tuple[object, ...]], ...] = (
        ("cuInit", (0,)),
        ("cuDeviceGet", (ctypes.byref(device), 0)),
        ("cuDeviceTotalMem_v2", (ctypes.byref(memory), device)),
    )
    for name, arguments in calls:
        status: int = getattr(driver, name)(*arguments)
        if status:
            _log.info("NVIDIA's driver is here and shows no GPU (status %d)", status)
            return None
    return memory.value

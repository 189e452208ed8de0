from __future__ import annotations

import ctypes
import dataclasses
import sys
from pathlib import Path

import pytest

from mattebox.errors import Kind, MatteboxError
from mattebox.models import memory
from mattebox.models.catalogue import CATALOGUE, Variant
from mattebox.models.memory import Machine

GB = 1_000_000_000


def variant(name: str) -> Variant:
    row = CATALOGUE[name]
    assert isinstance(row, Variant)
    return row


@pytest.fixture
def linux(tmp_path: Path) -> Path:
    """A root folder of a machine with 16,000,000 kB of memory, half of them free, and no control groups."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(
        "MemTotal:       16000000 kB\nMemFree:  1000 kB\nMemAvailable:   8000000 kB\nHugePages_Total:       0\n"
    )
    return tmp_path


def group(root: Path, folder: str, *, version: int, limit: str, used: int, cached: int) -> None:
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    place = root / "sys/fs/cgroup" / folder
    place.mkdir(parents=True, exist_ok=True)
    (place / names[0]).write_text(f"{limit}\n")
    (place / names[1]).write_text(f"{used}\n")
    (place / "memory.stat").write_text(f"anon 5\n{names[2]} {cached}\n")


def test_without_groups_it_is_the_machines(linux: Path) -> None:
    assert memory.total(linux) == 16_000_000 * 1024
    assert memory.free(linux) == 8_000_000 * 1024


def test_a_group_limits_it_and_gives_up_its_cache(linux: Path) -> None:
    (linux / "proc/self/cgroup").write_text("0::/app\n")
    group(linux, "app", version=2, limit=str(4 * GB), used=3 * GB, cached=GB)
    assert memory.total(linux) == 4 * GB
    assert memory.free(linux) == 2 * GB


def test_every_group_above_counts(linux: Path) -> None:
    (linux / "proc/self/cgroup").write_text("0::/outer/inner\n")
    group(linux, "outer", version=2, limit=str(3 * GB), used=2 * GB, cached=0)
    group(linux, "outer/inner", version=2, limit="max", used=GB, cached=0)
    assert memory.total(linux) == 3 * GB
    assert memory.free(linux) == GB


def test_a_container_sees_its_own_group_at_the_top(linux: Path) -> None:
    # Docker shows the group's path on the host, but mounts the group itself
    (linux / "proc/self/cgroup").write_text("0::/system.slice/docker-0a1b.scope\n")
    group(linux, "", version=2, limit=str(2 * GB), used=GB, cached=0)
    assert memory.total(linux) == 2 * GB
    assert memory.free(linux) == GB


def test_the_first_version_of_groups_counts_too(linux: Path) -> None:
    (linux / "proc/self/cgroup").write_text("5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n")
    group(linux, "memory", version=1, limit="9223372036854771712", used=9 * GB, cached=0)
    group(linux, "memory/x", version=1, limit=str(GB), used=900_000_000, cached=100_000_000)
    assert memory.total(linux) == GB
    assert memory.free(linux) == 200_000_000


def test_a_group_over_its_limit_has_nothing_free(linux: Path) -> None:
    (linux / "proc/self/cgroup").write_text("0::/app\n")
    group(linux, "app", version=2, limit=str(GB), used=GB + 1, cached=0)
    assert memory.free(linux) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads this machine's own numbers")
def test_this_machine_has_some() -> None:
    total, free = memory.total(), memory.free()
    assert total is not None
    assert free is not None
    assert total > 100_000_000
    assert free <= total


@pytest.mark.skipif(sys.platform in {"linux", "win32", "darwin"}, reason="this system says")
def test_a_system_that_does_not_say_refuses_nothing(tmp_path: Path) -> None:
    assert memory.free(tmp_path) is None


# --- what a network needs


def test_a_network_needs_what_its_row_says() -> None:
    row = variant("birefnet-general")
    assert row.bytes is not None
    assert memory.needed(row, row.bytes) == 8_400_000_000


@pytest.mark.parametrize(("share", "expected"), [(0.5, 1.0), (0.25, 0.5), (0.0, 0.0), (2.0, 2.0)])
def test_a_file_of_ones_own_needs_its_share(share: float, expected: float) -> None:
    row = dataclasses.replace(variant("birefnet-general"), bytes=1_000_000, memory=4 * GB)
    assert memory.needed(row, round(share * 1_000_000)) == expected * 4 * GB


def test_more_than_is_free_is_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    row = variant("birefnet-general")
    assert row.bytes is not None
    monkeypatch.setattr(memory, "free", lambda: 8_399_999_999)
    with pytest.raises(MatteboxError) as caught:
        memory.check(row, row.bytes)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert caught.value.parameter == "model"
    assert "birefnet-general needs about 8.4 GB of memory, and 8.4 GB are free" in caught.value.message
    for enough in (8_400_000_000, None):
        monkeypatch.setattr(memory, "free", lambda there=enough: there)
        memory.check(row, row.bytes)


def test_a_machine_holds_what_leaves_room() -> None:
    general, large = variant("birefnet-general"), variant("birefnet-hr")
    assert Machine(10_400_000_000).holds(general)
    assert not Machine(10_399_999_999).holds(general)
    assert Machine(None).holds(general)
    assert not Machine(100 * GB).holds(large)  # minutes a photo
    assert Machine(24 * GB, gpu=True).holds(large)
    assert not Machine(23 * GB, gpu=True).holds(large)


# --- an NVIDIA GPU


class Driver:
    """NVIDIA's driver, as far as it is asked."""

    def __init__(self, *, status: int = 0) -> None:
        self.status = status

    def cuInit(self, flags: int) -> int:  # noqa: N802 - the driver's name
        return self.status

    def cuDeviceGet(self, device: object, index: int) -> int:  # noqa: N802
        return 0

    def cuDeviceTotalMem_v2(self, amount: object, device: ctypes.c_int) -> int:  # noqa: N802
        ctypes.cast(amount, ctypes.POINTER(ctypes.c_size_t))[0] = 24 * GB  # type: ignore[arg-type]
        return 0


def test_the_driver_says_how_much_a_gpu_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    assert memory.gpu_total() == 24 * GB


def test_a_driver_without_a_gpu_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(status=100))
    assert memory.gpu_total() is None


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert memory.gpu_total() is None

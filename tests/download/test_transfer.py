from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from tests.download.server import CONTENT, FileServer, names, row, serving, unavailable

from mattebox.download import (
    Address,
    Conversion,
    State,
    transfer,
)
from mattebox.download import http as http_download
from mattebox.errors import Kind

# --- an address


def test_a_file_is_fetched_checked_and_named(server: FileServer, tmp_path: Path) -> None:
    directory = tmp_path / "not" / "there" / "yet"
    steps: list[tuple[str, int, int | None]] = []
    file = transfer.pull(row(Address(server.url)), directory=directory, progress=lambda *step: steps.append(step))
    assert file == transfer.path(row(), directory)
    assert file.read_bytes() == CONTENT
    assert names(directory) == {"tiny.onnx"}
    assert steps[-1][1:] == (len(CONTENT), len(CONTENT))
    assert [step[1] for step in steps] == sorted(step[1] for step in steps)


def test_what_is_there_is_not_fetched_again(server: FileServer, tmp_path: Path) -> None:
    download = row(Address(server.url))
    transfer.pull(download, directory=tmp_path)
    transfer.pull(download, directory=tmp_path)
    assert len(server.asked) == 1


def test_a_damaged_file_is_fetched_again(server: FileServer, tmp_path: Path) -> None:
    download = row(Address(server.url))
    transfer.path(download, tmp_path).write_bytes(CONTENT[:-1] + b"x")
    assert transfer.verify(download, tmp_path) is State.DAMAGED
    assert transfer.pull(download, directory=tmp_path).read_bytes() == CONTENT
    assert transfer.verify(download, tmp_path) is State.PRESENT


def test_a_broken_connection_is_continued_where_it_broke(server: FileServer, tmp_path: Path) -> None:
    server.cut_after = [1_000_000]
    assert transfer.pull(row(Address(server.url)), directory=tmp_path).read_bytes() == CONTENT
    assert server.asked[0] is None
    assert server.asked[1] is not None
    assert int(server.asked[1][6:-1]) > 0


def test_a_later_call_continues_an_interrupted_one(server: FileServer, tmp_path: Path) -> None:
    server.cut_after = [400_000] * 3
    download = row(Address(server.url))
    unavailable(download, tmp_path)
    assert "tiny.onnx" not in names(tmp_path)
    (part,) = tmp_path.glob("*.part")
    done = part.stat().st_size
    assert 0 < done < len(CONTENT)
    assert transfer.pull(download, directory=tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == f"bytes={done}-"
    assert names(tmp_path) == {"tiny.onnx"}


def test_a_server_without_ranges_is_asked_for_the_whole_again(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    server.cut_after = [1_000_000]
    assert transfer.pull(row(Address(server.url)), directory=tmp_path).read_bytes() == CONTENT


def test_wrong_bytes_leave_nothing_behind(server: FileServer, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"x"
    unavailable(row(Address(server.url)), tmp_path)
    assert names(tmp_path) == set()


def test_more_bytes_than_the_file_has_are_not_stored(server: FileServer, tmp_path: Path) -> None:
    server.content = CONTENT * 4
    unavailable(row(Address(server.url)), tmp_path)
    assert sum(entry.stat().st_size for entry in tmp_path.iterdir()) == 0


def test_a_shorter_file_is_refused(server: FileServer, tmp_path: Path) -> None:
    server.content = CONTENT[:1000]
    unavailable(row(Address(server.url)), tmp_path)
    assert names(tmp_path) == set()


def test_a_partial_file_longer_than_the_answer_does_not_stick(server: FileServer, tmp_path: Path) -> None:
    download = row(Address(server.url))
    (tmp_path / f".tiny-{download.sha256[:16]}.part").write_bytes(b"x" * (len(CONTENT) + 5))
    unavailable(download, tmp_path)
    assert transfer.pull(download, directory=tmp_path).read_bytes() == CONTENT


def test_the_next_source_is_tried(server: FileServer, tmp_path: Path) -> None:
    refused = Address("http://127.0.0.1:9/file.onnx")
    assert transfer.pull(row(refused, Address(server.url)), directory=tmp_path).read_bytes() == CONTENT


def test_a_failure_says_what_to_do_and_keeps_every_reason(tmp_path: Path) -> None:
    error = unavailable(row(Address("http://127.0.0.1:9/a"), Address("http://127.0.0.1:9/b")), tmp_path)
    assert "mattebox models pull tiny" in error.message
    assert "tiny.onnx" in error.message
    assert "127.0.0.1" not in error.message
    assert isinstance(error.__cause__, ExceptionGroup)
    assert len(error.__cause__.exceptions) == 2


def test_an_address_that_has_no_such_file_is_a_source_that_failed(server: FileServer, tmp_path: Path) -> None:
    server.status = 404
    error = unavailable(row(Address(server.url)), tmp_path)
    assert isinstance(error.__cause__, ExceptionGroup)
    assert "404" in str(error.__cause__.exceptions[0])
    assert len(server.asked) == 1
    assert names(tmp_path) == set()


def test_a_server_that_falls_silent_is_left_and_the_next_one_asked(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_download, "_READ_SECONDS", 0.2)
    server.silent_after = 1_000_000
    with serving(FileServer()) as other:
        fetched = transfer.pull(row(Address(server.url), Address(other.url)), directory=tmp_path)
        assert fetched.read_bytes() == CONTENT
        assert other.asked == ["bytes=3000000-"]  # what the first one gave in its three attempts is kept
    assert names(tmp_path) == {"tiny.onnx"}


@pytest.mark.process
def test_two_processes_fetch_it_once(server: FileServer, tmp_path: Path) -> None:
    server.seconds = 1.0
    script = (
        "import pathlib, sys\n"
        "from mattebox.download import transfer\n"
        "url, sha256, size, directory = sys.argv[1:]\n"
        "row = transfer.Download(name='tiny', what='it', file='tiny.onnx', sha256=sha256, bytes=int(size),"
        " sources=(transfer.Address(url),), command='c', folder_command='f', parameter='p')\n"
        "transfer.pull(row, directory=pathlib.Path(directory))\n"
    )
    download = row()
    command = [sys.executable, "-c", script, server.url, str(download.sha256), str(len(CONTENT)), str(tmp_path)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len(server.asked) == 1
    assert transfer.verify(download, tmp_path) is State.PRESENT


# --- a directory that nothing can be written to


def test_a_file_that_is_there_needs_no_writing(tmp_path: Path) -> None:
    download = row(Address("http://127.0.0.1:9/a"))
    transfer.path(download, tmp_path).write_bytes(CONTENT)
    (tmp_path / ".tiny.lock").mkdir()  # what cannot be opened for writing by anybody, not even by root
    assert transfer.pull(download, directory=tmp_path) == transfer.path(download, tmp_path)
    assert names(tmp_path) == {"tiny.onnx"}


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that nobody can read, not even root")
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    download = row(Address("http://127.0.0.1:9/a"))
    transfer.path(download, tmp_path).symlink_to("/proc/self/mem")
    with pytest.raises(transfer.NotInstalledError, match="cannot be read") as caught:
        transfer.locate(download, tmp_path)
    assert caught.value.kind is Kind.UNAVAILABLE


@pytest.mark.parametrize("blocked", ["lock", "directory"])
def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path, blocked: str) -> None:
    directory = tmp_path / "models"
    if blocked == "lock":
        (directory / ".tiny.lock").mkdir(parents=True)
    else:
        directory.write_text("a file where a directory is wanted")
    error = unavailable(row(Address("http://127.0.0.1:9/a")), directory)
    assert "cannot be written to" in error.message
    assert isinstance(error.__cause__, OSError)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_is_said_and_no_other_source_tried(server: FileServer, tmp_path: Path) -> None:
    download = row(Address(server.url), Address(server.url))
    (tmp_path / f".tiny-{download.sha256[:16]}.part").symlink_to("/dev/full")
    assert "the disk is full" in unavailable(download, tmp_path).message
    assert len(server.asked) == 1


# --- conversion


def reversed_bytes(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes()[::-1])


def test_an_exact_conversion_is_checked_at_both_ends(server: FileServer, tmp_path: Path) -> None:
    content = CONTENT + b"end"
    server.content = content
    conversion = Conversion(
        sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), step="turning", run=reversed_bytes
    )
    good = dataclasses.replace(row(Address(server.url), content=content[::-1]), conversion=conversion)
    assert transfer.pull(good, directory=tmp_path).read_bytes() == content[::-1]
    assert names(tmp_path) == {"tiny.onnx"}
    unavailable(dataclasses.replace(good, name="other", file="other", sha256="0" * 64), tmp_path)
    assert names(tmp_path) == {"tiny.onnx"}

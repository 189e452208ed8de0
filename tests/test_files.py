from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from mattebox import files
from mattebox.errors import Kind, MatteboxError


def test_what_is_written_is_read(tmp_path: Path) -> None:
    files.write(tmp_path / "a.png", b"one")
    files.write(tmp_path / "a.png", b"two")
    assert files.read(tmp_path / "a.png", 3) == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_file_that_exists_is_kept(tmp_path: Path) -> None:
    files.write(tmp_path / "a.png", b"one")
    with pytest.raises(MatteboxError) as caught:
        files.write(tmp_path / "a.png", b"two", overwrite=False)
    assert caught.value.kind is Kind.CONFLICT
    assert (tmp_path / "a.png").read_bytes() == b"one"
    files.write(tmp_path / "b.png", b"two", overwrite=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    for target in (tmp_path / "taken", tmp_path / "missing" / "a.png"):
        with pytest.raises(MatteboxError) as caught:
            files.write(target, b"data")
        assert caught.value.kind is Kind.CONFLICT
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_reading_says_what_is_wrong(tmp_path: Path) -> None:
    os.truncate(os.open(tmp_path / "huge", os.O_CREAT | os.O_WRONLY), 10**12)  # a hole, not a terabyte
    for name, kind in (("none", Kind.NOT_FOUND), (".", Kind.UNREADABLE_IMAGE), ("huge", Kind.TOO_MANY_BYTES)):
        with pytest.raises(MatteboxError) as caught:
            files.read(tmp_path / name, 100_000)
        assert caught.value.kind is kind
        assert str(tmp_path) not in caught.value.message


def test_the_longest_name_is_written_and_a_longer_one_says_why_not(tmp_path: Path) -> None:
    longest = "m" * 251 + ".png"  # what most disks take
    for overwrite in (False, True):
        files.write(tmp_path / longest, b"one", overwrite=overwrite)
    assert [p.name for p in tmp_path.iterdir()] == [longest]
    with pytest.raises(MatteboxError, match="cannot be written: File name too long") as caught:
        files.write(tmp_path / ("m" + longest), b"one")
    assert caught.value.kind is Kind.CONFLICT
    assert [p.name for p in tmp_path.iterdir()] == [longest]


def test_a_disk_that_fills_up_leaves_nothing_and_tidying_up_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MatteboxError, match="No space left on device"):
        files.write(tmp_path / "a.png", b"data")
    assert list(tmp_path.iterdir()) == []

    def stuck(_: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "unlink", stuck)
    with pytest.raises(MatteboxError, match="No space left on device"):
        files.write(tmp_path / "a.png", b"data")


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(MatteboxError) as caught:
        files.write(tmp_path / "a\0.png", b"data")
    assert (caught.value.kind, caught.value.message) == (Kind.CONFLICT, "a\\x00.png cannot be the name of a file.")


@pytest.mark.posix
def test_a_pipe_is_read_only_if_somebody_writes_to_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert files.read(tmp_path / "pipe", 10) == b""
    for size, most in ((100_000, 100_000), (100_001, 100_000)):  # more than a pipe holds at a time
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)  # so that the writer is there before us
        writer = os.open(tmp_path / "pipe", os.O_WRONLY)

        def write(descriptor: int = writer, size: int = size) -> None:
            with open(descriptor, "wb") as file:
                file.write(b"x" * size)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            if size <= most:
                assert files.read(tmp_path / "pipe", most) == b"x" * size
            else:
                with pytest.raises(MatteboxError, match="larger than the limit"):
                    files.read(tmp_path / "pipe", most)
        finally:
            os.close(reader)
            thread.join()


@pytest.mark.posix
def test_sockets_and_devices_are_neither_read_nor_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name may not be long
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind("plug.png")
        for name in ("plug.png", "/dev/zero"):
            with pytest.raises(MatteboxError) as caught:
                files.read(name, 100)
            assert caught.value.kind is Kind.UNREADABLE_IMAGE
        os.mkfifo("pipe.png")
        for name in ("plug.png", "pipe.png"):
            for overwrite in (True, False):
                with pytest.raises(MatteboxError) as caught:
                    files.write(name, b"data", overwrite=overwrite)
                assert caught.value.kind is Kind.CONFLICT
    assert Path("pipe.png").is_fifo()
    assert Path("plug.png").is_socket()
    assert len(list(tmp_path.iterdir())) == 2


def test_windows_opens_no_folder_and_flushes_what_it_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[Path, int]] = []
    open_ = os.open

    def as_windows(path: Path, flags: int) -> int:
        if path.is_dir():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        opened.append((path, flags))
        return open_(path, flags)

    (tmp_path / "a").write_bytes(b"data")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "open", as_windows)
    files.sync(tmp_path)
    files.sync(tmp_path / "a")
    assert [(path.name, flags & os.O_RDWR) for path, flags in opened] == [("a", os.O_RDWR)]
    with pytest.raises(FileNotFoundError):
        files.sync(tmp_path / "b")

from __future__ import annotations

import os
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

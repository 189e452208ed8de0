"""Bytes at an address; `server/store/test_blobs.py` has what a server asks of it."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mattebox.errors import Kind, MatteboxError
from mattebox.object_store import ObjectStore

KEYS = ["a.png", "ordner ü/e\u0301 1.png", "a#b.png", "a%20b.png", "x?y*z.png", "[a]~{b}|^.png", "NA"]


@pytest.fixture(params=["file", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "s3":
        return ObjectStore(str(request.getfixturevalue("s3_url")), patience=10)
    return ObjectStore("memory:///" if request.param == "memory" else (tmp_path / "ü b").as_uri(), patience=10)


def test_people_name_their_files_as_they_like(store: ObjectStore) -> None:
    for key in KEYS:
        store.put(key, key.encode(), media_type="image/png")
    assert sorted(store.list_keys()) == sorted(KEYS)
    assert list(store.list_keys("ordner ü")) == [KEYS[1]]
    for key in KEYS:
        assert store.get(key) == key.encode()
        assert store.size(key) == len(key.encode())
    store.delete([*KEYS, "never there"])
    assert list(store.list_keys()) == []


def test_what_is_new_is_put_once(store: ObjectStore) -> None:
    assert store.put_new("deep/er/ü.png", b"first", media_type="image/png")
    assert not store.put_new("deep/er/ü.png", b"second", media_type="image/png")
    assert store.get("deep/er/ü.png") == b"first"
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda n: store.put_new("race.png", bytes([n]), media_type="image/png"), range(8)))
    assert sum(first) == 1
    assert store.get("race.png") == bytes([first.index(True)])


def test_what_is_too_large_is_not_read(store: ObjectStore) -> None:
    store.put("a.png", bytes(1000), media_type="image/png")
    assert len(store.get("a.png", max_bytes=1000)) == 1000
    with pytest.raises(MatteboxError) as caught:
        store.get("a.png", max_bytes=999)
    assert caught.value.kind is Kind.TOO_MANY_BYTES


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", ".", "a/./b", "../a", "a/..", "a\nb", "a\x7f", "a#1", "é" * 600]
)
def test_keys_that_lead_elsewhere_are_refused(store: ObjectStore, key: str) -> None:
    for act in (
        lambda: store.get(key),
        lambda: store.put(key, b"", media_type="image/png"),
        lambda: store.put_new(key, b"", media_type="image/png"),
        lambda: store.delete([key]),
    ):
        with pytest.raises(MatteboxError) as caught:
            act()
        assert caught.value.kind is Kind.INVALID_PARAMETER


def test_a_name_that_the_disk_does_not_take_is_not_the_disks_end(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path.as_uri(), patience=1)
    for act in (store.put, store.put_new):
        with pytest.raises(MatteboxError, match="too long") as caught:
            act("x" * 300, b"", media_type="image/png")
        assert caught.value.kind is Kind.INVALID_PARAMETER


def test_a_full_disk_is_said_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore(tmp_path.as_uri(), patience=1)

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for act in (store.put, store.put_new):
        with pytest.raises(MatteboxError, match=r"The storage is full\.") as caught:
            act("a.png", b"x", media_type="image/png")
        assert caught.value.kind is Kind.UNAVAILABLE


def test_a_folder_is_made_only_if_it_may_be(tmp_path: Path) -> None:
    with pytest.raises(MatteboxError, match="nowhere") as caught:
        ObjectStore((tmp_path / "nowhere").as_uri(), patience=1, make=False)
    assert caught.value.kind is Kind.NOT_FOUND
    assert not (tmp_path / "nowhere").exists()
    ObjectStore((tmp_path / "nowhere").as_uri(), patience=1)
    assert (tmp_path / "nowhere").is_dir()

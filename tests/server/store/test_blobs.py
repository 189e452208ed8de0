from __future__ import annotations

import math
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mattebox import codec
from mattebox.edit import Format
from mattebox.errors import Kind, MatteboxError
from mattebox.server.store import blobs as module
from mattebox.server.store.blobs import (
    Blobs,
    expiry_of,
    media_type_of,
    new_result_name,
    new_source_name,
)

NOW = 1_800_000_000.0
DATA = bytes(range(256)) * 40
PNG = "image/png"


@pytest.fixture(params=["file", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return str(request.getfixturevalue("s3_url"))
    # A folder's name may need escaping in an address.
    return "memory:///" if request.param == "memory" else (tmp_path / "not made yet" / "blöbs").as_uri()


@pytest.fixture
def blobs(url: str) -> Blobs:
    return Blobs(url)


# What every store does


@pytest.mark.parametrize("data", [b"", b"x", DATA, os.urandom(12_000_000)], ids=len)
def test_what_is_put_is_got(blobs: Blobs, data: bytes) -> None:
    blobs.put("results/cat.png", data, media_type=PNG)
    assert blobs.get("results/cat.png") == data
    assert blobs.size("results/cat.png") == len(data)


def test_a_key_without_a_folder(blobs: Blobs) -> None:
    blobs.put("Cat_1-2.png", DATA, media_type=PNG)
    assert list(blobs.names()) == ["Cat_1-2.png"]


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 256), (100, 9000), (len(DATA) - 1, len(DATA)), (5, 10**9)])
def test_a_part_is_a_slice(blobs: Blobs, start: int, end: int) -> None:
    blobs.put("a/b", DATA, media_type=PNG)
    assert blobs.part("a/b", start, end) == DATA[start:end]


@pytest.mark.parametrize(
    ("start", "end"), [(len(DATA), len(DATA) + 1), (10**6, 10**7), (3, 3), (4, 3), (-1, 3), (0, 0)]
)
def test_a_part_without_bytes_is_refused(blobs: Blobs, start: int, end: int) -> None:
    blobs.put("a/b", DATA, media_type=PNG)
    with pytest.raises(MatteboxError) as caught:
        blobs.part("a/b", start, end)
    assert caught.value.kind is Kind.INVALID_PARAMETER


def test_what_is_not_there_is_not_found(blobs: Blobs) -> None:
    blobs.put("a/b", DATA, media_type=PNG)
    acts: list[Callable[[str], object]] = [blobs.get, blobs.size, lambda key: blobs.part(key, 0, 1)]
    for missing in ("a/c", "a", "none/at/all"):
        for act in acts:
            with pytest.raises(MatteboxError) as caught:
                act(missing)
            assert caught.value.kind is Kind.NOT_FOUND


def test_delete(blobs: Blobs) -> None:
    blobs.put("a/b", DATA, media_type=PNG)
    blobs.put("a/c", DATA, media_type=PNG)
    blobs.delete("a/b")
    blobs.delete("a/b")
    assert list(blobs.names()) == ["a/c"]


def test_names_are_those_of_a_folder(blobs: Blobs) -> None:
    keys = {f"many/{i:04}" for i in range(30)} | {"many/deeper/still", "manymore/x", "y"}
    for key in keys:
        blobs.put(key, b"", media_type=PNG)
    assert set(blobs.names()) == keys
    assert set(blobs.names("many")) == {key for key in keys if key.startswith("many/")}
    assert list(blobs.names("man")) == []


def test_another_look_at_the_same_address_sees_the_same_but_memory_is_one_objects_own(url: str) -> None:
    Blobs(url).put("a/b", DATA, media_type=PNG)
    if url.startswith("memory"):
        assert list(Blobs(url).names()) == []
    else:
        assert Blobs(url).get("a/b") == DATA


def test_a_blob_is_replaced_whole(blobs: Blobs) -> None:
    versions = [bytes([i]) * 300_000 for i in range(12)]
    blobs.put("a/b", versions[0], media_type=PNG)
    with ThreadPoolExecutor(6) as pool:
        puts = [pool.submit(blobs.put, "a/b", version, media_type=PNG) for version in versions * 3]
        seen = [pool.submit(blobs.get, "a/b") for _ in range(60)]
        for put in puts:
            put.result()
    assert all(got.result() in versions for got in seen)
    assert blobs.get("a/b") in versions
    assert list(blobs.names()) == ["a/b"]


def test_many_at_once(blobs: Blobs) -> None:
    keys = [f"results/{i}" for i in range(60)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: blobs.put(key, key.encode(), media_type=PNG), keys))
        assert list(pool.map(blobs.get, keys)) == [key.encode() for key in keys]
    assert set(blobs.names("results")) == set(keys)


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/./b", ".", "a b", "a%2e", "a\\b", "é", "a\n", "a#1", "x" * 241],
)
def test_bad_keys_are_refused(blobs: Blobs, key: str) -> None:
    acts: list[Callable[[], object]] = [
        lambda: blobs.put(key, b"", media_type=PNG),
        lambda: blobs.get(key),
        lambda: blobs.size(key),
        lambda: blobs.part(key, 0, 1),
        lambda: blobs.delete(key),
        lambda: blobs.result_address(key, seconds=60),
    ]
    if key:  # the names under "" are all of them
        acts.append(lambda: list(blobs.names(key)))
    for act in acts:
        with pytest.raises(MatteboxError) as caught:
            act()
        assert caught.value.kind is Kind.INVALID_PARAMETER


def test_check_leaves_nothing(blobs: Blobs) -> None:
    blobs.check()
    assert list(blobs.names()) == []


# Results and sources


def test_sweep_deletes_what_has_expired(blobs: Blobs) -> None:
    old = [new_result_name(".png", keep=3600, now=NOW - 3600 - i) for i in range(5)]
    old += [new_source_name(now=NOW - 86_400 - i) for i in range(3)]
    living = [new_result_name(".png", keep=3600, now=NOW - 3598), new_source_name(now=NOW - 86_398), "results/readme"]
    living += ["library/1700000000-cat.png"]
    for name in (*old, *living):
        blobs.put(name, b"x", media_type=PNG)
    assert blobs.sweep(NOW) == len(old)
    assert set(blobs.names()) == set(living)
    assert blobs.sweep(NOW) == 0


def test_sweep_takes_a_bounded_bite(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mattebox.server.store.blobs.SWEPT_AT_ONCE", 4)
    for i in range(6):
        blobs.put(new_result_name(".png", keep=1, now=NOW - 100 + i), b"x", media_type=PNG)
    assert [blobs.sweep(NOW) for _ in range(3)] == [4, 2, 0]


def test_sweeps_do_not_disturb_one_another(url: str) -> None:
    servers = [Blobs(url)] * 4 if url.startswith("memory") else [Blobs(url) for _ in range(4)]
    for _ in range(100):
        servers[0].put(new_result_name(".png", keep=1, now=NOW - 100), b"x", media_type=PNG)
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda each: each.sweep(NOW), servers))
    assert sum(counts) >= 100
    assert list(servers[0].names()) == []


def test_a_sweep_goes_on_where_another_was_first(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri())
    (tmp_path / "results").mkdir()
    paths = [tmp_path / new_result_name(".png", keep=1, now=NOW - 100) for _ in range(2000)]
    for path in paths:
        path.touch()
    with ThreadPoolExecutor(1) as pool:
        sweep = pool.submit(blobs.sweep, NOW)
        for path in paths[::2]:
            path.unlink(missing_ok=True)
        sweep.result()
    assert list(blobs.names()) == []


@given(
    st.sampled_from([".png", "png", ".webp", "jpg", "zip"]),
    st.floats(1, 10**7),
    st.floats(0, 9 * 10**9 - 10**7),
)
def test_a_name_says_when_it_expires(extension: str, keep: float, now: float) -> None:
    name = new_result_name(extension, keep=keep, now=now)
    assert expiry_of(name) == math.ceil(now + keep)
    assert name.startswith("results/")
    assert name.endswith("." + extension.removeprefix("."))


@given(st.lists(st.floats(0, 9 * 10**9), min_size=2, unique_by=math.ceil))
def test_names_sort_by_expiry(times: list[float]) -> None:
    names = [new_result_name(".png", keep=0, now=now) for now in times]
    assert [expiry_of(name) for name in sorted(names)] == [math.ceil(now) for now in sorted(times)]


def test_names_cannot_be_guessed() -> None:
    names = {new_result_name(".png", keep=60, now=NOW) for _ in range(1000)}
    secret_parts = {re.fullmatch(r"results/1800000060-([A-Za-z0-9_-]{43})\.png", name) for name in names}
    assert len(names) == 1000
    assert None not in secret_parts


@pytest.mark.parametrize(
    "name",
    [
        "results/readme",
        "results/1800000000-short.png",
        "library/1800000000-" + "x" * 43,
        "results/1800000000-" + "x" * 43 + ".png\n",
        "x/results/1800000000-" + "x" * 43,
        "results/18000000000-" + "x" * 43,
        "results/१८००००००००-" + "x" * 43,
        "",
    ],
)
def test_other_names_have_no_expiry(name: str) -> None:
    assert expiry_of(name) is None


@pytest.mark.parametrize("extension", ["", ".", "p/g", "../x", "PNG", "ninechars", "p.g"])
def test_an_ending_is_letters_and_digits(extension: str) -> None:
    with pytest.raises(MatteboxError) as caught:
        new_result_name(extension, keep=60, now=NOW)
    assert caught.value.kind is Kind.INVALID_PARAMETER


def test_a_source_lives_for_a_day() -> None:
    assert expiry_of(new_source_name(now=NOW)) == NOW + 86_400


@pytest.mark.parametrize("each", Format)
def test_a_name_says_what_it_is(each: Format) -> None:
    assert media_type_of(new_result_name(codec.extension(each), keep=60, now=NOW)) == codec.media_type(each)
    assert media_type_of(new_source_name(now=NOW)) == "application/octet-stream"


# Addresses of the store itself


def test_only_a_cloud_signs(blobs: Blobs, url: str) -> None:
    blobs.put("results/cat.png", DATA, media_type=PNG)
    assert (blobs.result_address("results/cat.png", seconds=60) is not None) == url.startswith("s3")
    assert blobs.result_address("results/cat.png", seconds=0.5) is None
    assert blobs.result_address("results/cat.png", seconds=8 * 86_400) is None


def fetch(url: str, *, method: str = "GET", part: str | None = None) -> tuple[int, Message, bytes]:
    request = urllib.request.Request(url, method=method, headers={"Range": part} if part else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.headers, refusal.read()


@pytest.fixture
def signed(s3_url: str) -> str:
    """The address of a PNG in the S3 store, good for a minute."""
    blobs = Blobs(s3_url)
    name = new_result_name(".png", keep=3600, now=time.time())
    blobs.put(name, DATA, media_type=media_type_of(name))
    address = blobs.result_address(name, seconds=60)
    assert address is not None
    return address


def test_anyone_may_fetch_a_signed_address(signed: str) -> None:
    status, headers, body = fetch(signed)
    assert (status, headers["Content-Type"], body) == (200, PNG, DATA)
    status, headers, body = fetch(signed, part="bytes=10-19")
    assert (status, headers["Content-Range"], body) == (206, f"bytes 10-19/{len(DATA)}", DATA[10:20])


def test_a_signed_address_has_the_type_that_was_put(s3_url: str) -> None:
    blobs = Blobs(s3_url)
    blobs.put("results/cat", DATA, media_type="image/webp")  # no ending from which the store could guess
    address = blobs.result_address("results/cat", seconds=60)
    assert address is not None
    assert fetch(address)[1]["Content-Type"] == "image/webp"


def test_a_tampered_address_is_refused(signed: str) -> None:
    last = "0" if signed[-1] != "0" else "1"
    path = urlsplit(signed).path
    other = path[:-5] + ("a" if path[-5] != "a" else "b") + path[-4:]
    longer = signed.replace("X-Amz-Expires=60", "X-Amz-Expires=6000")
    assert longer != signed
    for wrong in (signed[:-1] + last, signed.replace(path, other), longer, signed.partition("?")[0]):
        assert fetch(wrong)[0] == 403
    assert fetch(signed, method="PUT")[0] == 403
    assert fetch(signed, method="DELETE")[0] == 403
    assert fetch(signed)[0] == 200


def test_a_signed_address_expires(s3_url: str) -> None:
    blobs = Blobs(s3_url)
    blobs.put("results/cat.png", DATA, media_type=PNG)
    address = blobs.result_address("results/cat.png", seconds=2.9)
    assert address is not None
    assert fetch(address)[0] == 200
    while (status := fetch(address)[0]) == 200:
        time.sleep(0.1)
    assert status == 403


# Stores that fail


@pytest.fixture(params=["wrong secret", "unknown key", "nobody there", "no bucket"])
def broken(request: pytest.FixtureRequest, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Blobs:
    match request.param:
        case "wrong secret":
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        case "unknown key":
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "unknown")
        case "nobody there":
            monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        case _:
            # This server makes missing buckets, but not with a name that is none.
            return Blobs("s3://no/prefix")
    return Blobs(s3_url)


def test_a_broken_store_is_unavailable(broken: Blobs, request: pytest.FixtureRequest) -> None:
    with pytest.raises(MatteboxError) as caught:
        broken.check()
    assert caught.value.kind is Kind.UNAVAILABLE
    assert caught.value.__cause__ is not None
    assert "127.0.0.1" not in caught.value.message
    if "no bucket" in request.node.name:
        return
    acts: list[Callable[[], object]] = [
        lambda: broken.put("a/b", b"x", media_type=PNG),
        lambda: broken.get("a/b"),
        lambda: broken.size("a/b"),
        lambda: broken.part("a/b", 0, 1),
        lambda: broken.delete("a/b"),
        lambda: list(broken.names()),
        lambda: broken.sweep(NOW),
    ]
    for act in acts:
        with pytest.raises(MatteboxError) as caught:
            act()
        assert caught.value.kind is Kind.UNAVAILABLE


@pytest.mark.parametrize(
    "url",
    [
        "",
        "blobs",
        "/data/blobs",
        "file:",
        "file:///",
        "file://host/data",
        "file:///data?x=1",
        "memory://x",
        "memory:///x",
        "s3://",
        "s3:///prefix",
        "s3://key:secret@bucket/prefix",
        "s3://buck et/prefix",
        "s3://bucket/prefix?region=x",
        "s3://bucket#x",
        "http://host/path",
        "ftp://host/path",
        "az://container",  # and no account in the environment
        "s3://[",
    ],
)
def test_other_addresses_are_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(MatteboxError) as caught:
        Blobs(url)
    assert caught.value.kind is Kind.INVALID_PARAMETER
    assert "secret" not in caught.value.message


def test_other_clouds_have_addresses_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    address = Blobs("az://container/prefix").result_address("results/cat.png", seconds=60)
    assert address is not None
    assert address.startswith("https://account.blob.core.windows.net/container/prefix/results/cat.png?")
    Blobs("gs://bucket/prefix")


# Folders


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "under"):
        with pytest.raises(MatteboxError) as caught:
            Blobs(path.as_uri())
        assert caught.value.kind is Kind.UNAVAILABLE


def test_a_folder_is_private(tmp_path: Path) -> None:
    Blobs((tmp_path / "blobs").as_uri())
    assert (tmp_path / "blobs").stat().st_mode & 0o077 == 0


def test_a_folder_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    blobs = Blobs((tmp_path / "blobs").as_uri())
    (tmp_path / "blobs").rmdir()
    (tmp_path / "blobs").write_bytes(b"")
    with pytest.raises(MatteboxError) as caught:
        blobs.check()
    assert caught.value.kind is Kind.UNAVAILABLE


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri())
    blobs.put("results/cat.png", DATA, media_type=PNG)
    now = time.time()
    for name, age in (("old.png#1", 90_000), ("new.png#1", 60)):
        (tmp_path / "results" / name).write_bytes(b"half")
        os.utime(tmp_path / "results" / name, (now - age, now - age))
    assert list(blobs.names()) == ["results/cat.png"]
    assert blobs.sweep(now) == 0
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"cat.png", "new.png#1"}


def test_strangers_in_the_folder_are_not_ours(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri())
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "not ours.png").write_bytes(b"x")
    assert list(blobs.names()) == []
    assert blobs.sweep(NOW) == 0


def in_folder(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_sweep_reads_only_the_folders_whose_time_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = Blobs(tmp_path.as_uri())
    late = [new_result_name(".png", keep=60, now=NOW + 2000 * hour) for hour in range(9)]
    due, nearly = new_result_name(".png", keep=60, now=NOW - 90), new_result_name(".png", keep=60, now=NOW - 59)
    for name in (*late, due, nearly, "images/image_1.png"):
        blobs.put(name, DATA, media_type=PNG)
    read: list[str] = []

    def listed(folder: Path) -> list[str]:
        read.append(folder.relative_to(tmp_path).as_posix())
        return listing(folder)

    listing = module._listed
    monkeypatch.setattr(module, "_listed", listed)
    assert blobs.sweep(NOW) == 1
    assert set(read) == {"results", "sources", "checks", "results/1799999", "results/1800000"}
    assert set(blobs.names()) == {*late, nearly, "images/image_1.png"}


def test_folders_of_what_has_expired_are_removed(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri())
    name = new_result_name(".png", keep=1, now=NOW)
    blobs.put(name, DATA, media_type=PNG)
    (unfinished,) = {path for path in in_folder(tmp_path) if path.endswith(".png")}
    (tmp_path / f"{unfinished}#1").write_bytes(b"half")
    assert blobs.sweep(NOW) == 0
    assert blobs.get(name) == DATA
    assert blobs.sweep(NOW + 1) == 1
    assert in_folder(tmp_path) == {"results", "results/1800000"}  # another may still come to lie there
    assert blobs.sweep(NOW + 1000) == 0
    assert in_folder(tmp_path) == {"results"}
    blobs.put(name, DATA, media_type=PNG)
    assert blobs.get(name) == DATA


def test_what_an_older_version_put_there_is_found_and_swept(tmp_path: Path) -> None:
    old = [new_result_name(".png", keep=60, now=NOW), new_source_name(now=NOW)]
    for name in (*old, "results/readme"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(DATA)
    blobs = Blobs(tmp_path.as_uri())
    assert [blobs.get(name) for name in old] == [DATA, DATA]
    assert set(blobs.names()) == {*old, "results/readme"}
    assert blobs.sweep(NOW + 60) == 1
    assert set(blobs.names()) == {old[1], "results/readme"}


def test_what_a_killed_writer_left_goes_with_its_blob(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path.as_uri())
    for key in ("images/one.png", "images/two.png"):
        blobs.put(key, DATA, media_type=PNG)
        for number in (1, 2):
            (tmp_path / f"{key}#{number}").write_bytes(b"half")
    blobs.delete("images/one.png")
    assert in_folder(tmp_path) == {"images", "images/two.png", "images/two.png#1", "images/two.png#2"}

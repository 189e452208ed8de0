from __future__ import annotations

import dataclasses
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mattebox.download import Address, NotInstalledError, Source, State
from mattebox.errors import Kind, MatteboxError
from mattebox.models import weights
from mattebox.models.catalogue import CATALOGUE, Variant

CONTENT = bytes(range(256)) * 12_000  # 3 MB


class FileServer(http.server.ThreadingHTTPServer):
    """A server on loopback with one file."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = CONTENT

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.onnx"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden method
        pass


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def row(*sources: Source, content: bytes = CONTENT) -> Variant:
    base = CATALOGUE["u2net"]
    assert isinstance(base, Variant)
    checksum = hashlib.sha256(content).hexdigest()
    return dataclasses.replace(base, name="tiny", sha256=checksum, bytes=len(content), sources=sources)


def names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir() if not entry.name.endswith(".lock")}


def unavailable(variant: Variant, directory: Path) -> MatteboxError:
    with pytest.raises(MatteboxError) as caught:
        weights.pull(variant, directory=directory)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert str(directory) not in caught.value.message
    assert weights.verify(variant, directory) is not State.PRESENT
    return caught.value


def test_a_file_is_fetched_checked_and_named(server: FileServer, tmp_path: Path) -> None:
    variant = row(Address(server.url))
    assert weights.pull(variant, directory=tmp_path).read_bytes() == CONTENT
    assert weights.locate(variant, tmp_path) == weights.path(variant, tmp_path)
    assert names(tmp_path) == {"tiny.onnx"}


def test_a_damaged_file_names_the_command_that_fetches_it(server: FileServer, tmp_path: Path) -> None:
    variant = row(Address(server.url))
    weights.path(variant, tmp_path).write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(NotInstalledError, match="tiny is damaged; `mattebox models pull tiny`"):
        weights.locate(variant, tmp_path)
    assert weights.pull(variant, directory=tmp_path).read_bytes() == CONTENT


def test_a_failure_names_the_command_and_the_file(tmp_path: Path) -> None:
    error = unavailable(row(Address("http://127.0.0.1:9/a")), tmp_path)
    assert error.parameter == "model"
    assert "mattebox models pull tiny" in error.message
    assert "tiny.onnx" in error.message


# --- what cannot be fetched


def test_without_a_source_the_message_says_how_to_name_a_file(tmp_path: Path) -> None:
    variant = CATALOGUE["rmbg-2.0"]
    assert isinstance(variant, Variant)
    assert "rmbg-2.0:/path/to/file.onnx" in unavailable(variant, tmp_path).message


def test_a_file_without_a_known_checksum_is_never_taken_from_the_directory(tmp_path: Path) -> None:
    variant = CATALOGUE["rmbg-2.0"]
    assert isinstance(variant, Variant)
    weights.path(variant, tmp_path).write_bytes(b"anything")
    with pytest.raises(NotInstalledError, match="no download"):
        weights.locate(variant, tmp_path)


# --- files that an earlier version stored


def test_a_file_that_an_earlier_version_stored_will_do(server: FileServer, tmp_path: Path) -> None:
    stored = b"the same network, as it was stored before"
    variant = dataclasses.replace(row(Address(server.url)), earlier_sha256=hashlib.sha256(stored).hexdigest())
    weights.path(variant, tmp_path).write_bytes(stored)
    assert weights.verify(variant, tmp_path) is State.PRESENT
    assert weights.pull(variant, directory=tmp_path).read_bytes() == stored
    weights.path(variant, tmp_path).write_bytes(stored + b"!")
    assert weights.verify(variant, tmp_path) is State.DAMAGED
    assert weights.pull(variant, directory=tmp_path).read_bytes() == CONTENT

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from mattebox.download.transfer import Address, Source
from mattebox.errors import Kind, MatteboxError
from mattebox.models import runtimes, weights
from mattebox.models.catalogue import CATALOGUE, Variant
from mattebox.models.weights import State

from .networks import tiny_model

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
    with pytest.raises(weights.NotInstalledError, match="tiny is damaged; `mattebox models pull tiny`"):
        weights.locate(variant, tmp_path)
    assert weights.pull(variant, directory=tmp_path).read_bytes() == CONTENT


def test_a_failure_names_the_command_and_the_file(tmp_path: Path) -> None:
    error = unavailable(row(Address("http://127.0.0.1:9/a")), tmp_path)
    assert error.parameter == "model"
    assert "mattebox models pull tiny" in error.message
    assert "tiny.onnx" in error.message


# --- what cannot be fetched


def test_without_a_source_the_message_says_how_to_name_a_file(tmp_path: Path) -> None:
    variant = CATALOGUE["birefnet-general"]
    assert isinstance(variant, Variant)
    assert "birefnet-general:/path/to/file.onnx" in unavailable(variant, tmp_path).message


def test_a_file_without_a_known_checksum_is_never_taken_from_the_directory(tmp_path: Path) -> None:
    variant = CATALOGUE["birefnet-general"]
    assert isinstance(variant, Variant)
    weights.path(variant, tmp_path).write_bytes(b"anything")
    with pytest.raises(weights.NotInstalledError, match="no download"):
        weights.locate(variant, tmp_path)


# --- float16 to float32


def test_conversion_keeps_the_answer_and_drops_the_rest(tmp_path: Path) -> None:
    half, full = tmp_path / "half.onnx", tmp_path / "full.onnx"
    onnx.save(tiny_model(side=64, logits=False, dtype=np.float16), half)
    weights.convert_to_fp32(half, full)
    model = onnx.load(full)
    onnx.checker.check_model(model)
    assert [value.name for value in model.graph.output] == ["alpha"]
    assert {tensor.name for tensor in model.graph.initializer} == {"kernel", "bias"}
    assert all(tensor.data_type == onnx.TensorProto.FLOAT for tensor in model.graph.initializer)
    batch = np.random.default_rng(2).normal(0, 1, (1, 3, 64, 64)).astype(np.float32)
    answers = [runtimes.open_onnxruntime(file, device="cpu", threads=1)(batch) for file in (half, full)]
    np.testing.assert_allclose(answers[0], answers[1], atol=4e-3)


def converted_row(server: FileServer, tmp_path: Path) -> Variant:
    half = tmp_path / "half.onnx"
    onnx.save(tiny_model(side=64, logits=False, dtype=np.float16), half)
    server.content = half.read_bytes()
    return dataclasses.replace(
        row(Address(server.url)),
        sha256="0" * 64,  # as if another version of onnx had written the known file
        fetched_sha256=hashlib.sha256(server.content).hexdigest(),
        fetched_bytes=len(server.content),
        conversion="fp16-to-fp32",
    )


def test_a_converted_file_is_checked_by_the_record_beside_it(server: FileServer, tmp_path: Path) -> None:
    variant = converted_row(server, tmp_path)
    directory = tmp_path / "models"
    file = weights.pull(variant, directory=directory)
    assert names(directory) == {"tiny.onnx", "tiny.onnx.sha256"}
    assert weights.verify(variant, directory) is State.PRESENT
    file.write_bytes(file.read_bytes() + b"\0")
    assert weights.verify(variant, directory) is State.DAMAGED
    weights.pull(variant, directory=directory)
    assert weights.verify(variant, directory) is State.PRESENT


def test_a_record_does_not_vouch_for_a_file_that_is_not_converted(server: FileServer, tmp_path: Path) -> None:
    variant = row(Address(server.url))
    file = weights.path(variant, tmp_path)
    file.write_bytes(b"anything")
    (tmp_path / "tiny.onnx.sha256").write_text(f"{hashlib.sha256(b'anything').hexdigest()}  tiny.onnx\n")
    assert weights.verify(variant, tmp_path) is State.DAMAGED


def test_the_source_of_a_conversion_is_checked_strictly(server: FileServer, tmp_path: Path) -> None:
    variant = dataclasses.replace(converted_row(server, tmp_path), fetched_sha256="1" * 64)
    unavailable(variant, tmp_path / "models")
    assert names(tmp_path / "models") == set()

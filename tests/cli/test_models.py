"""`mattebox models`: lists, downloads and licences."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.cli.command import fake, mattebox, photos

from mattebox.cli import Components
from mattebox.download.transfer import Address
from mattebox.models import CATALOGUE, Segmenter
from mattebox.models.catalogue import Choice, Ensemble, Row, Variant
from mattebox.testing import FakeModels

WEIGHTS = {"/fine.onnx": b"f" * 3_000_000, "/solid.onnx": b"s" * 1_000_000}


@contextmanager
def weights_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = WEIGHTS.get(self.path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def variant(name: str, address: str, *, commercial: bool = True) -> Variant:
    row = CATALOGUE["u2netp"]
    assert isinstance(row, Variant)
    data = WEIGHTS.get(f"/{name}.onnx", b"")
    return replace(
        row,
        name=name,
        int8=None,
        commercial=commercial,
        licence="Apache-2.0" if commercial else "CC-BY-NC-4.0",
        sha256=sha256(data).hexdigest(),
        bytes=len(data),
        sources=(Address(f"{address}/{name}.onnx"),),
    )


def catalogue(address: str) -> dict[str, Row]:
    return {
        "auto": Ensemble(name="auto", detail="fine", core="solid", note="Both."),
        "fine": variant("fine", address),
        "solid": variant("solid", address, commercial=False),
        "gone": variant("gone", address),
        "best": Choice(name="best", candidates=("huge", "fine"), note="The best."),
        "huge": replace(variant("huge", address), memory=10**15),
        "by-hand": replace(variant("by-hand", address), sha256=None, bytes=None, sources=()),
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Components, Path]]:
    monkeypatch.setenv("MATTEBOX_MODELS_DIRECTORY", str(tmp_path / "models"))
    with weights_server() as address:
        rows = catalogue(address)
        yield Components(catalogue=lambda: rows), tmp_path / "models"


def test_models_list(here: tuple[Components, Path]) -> None:
    parts, directory = here
    directory.mkdir()
    (directory / "fine.onnx").write_bytes(WEIGHTS["/fine.onnx"])
    rows = {
        row["name"]: row
        for row in map(json.loads, mattebox("models", "list", "--json", parts=parts).stdout.splitlines())
    }
    assert rows["fine"] | {"note": ""} == {
        "name": "fine",
        "bytes": 3_000_000,
        "licence": "Apache-2.0",
        "commercial": True,
        "downloaded": True,
        "note": "",
        "memory": 200_000_000,
        "precision": "f32",
        "network": None,
        "sources": ["127.0.0.1"],
    }
    assert rows["by-hand"]["sources"] == []
    assert rows["best"]["network"] == "fine"
    assert rows["best"]["bytes"] == 3_000_000
    assert rows["auto"]["bytes"] == 4_000_000
    assert rows["auto"]["commercial"] is False
    assert rows["auto"]["downloaded"] is False
    assert rows["by-hand"]["bytes"] is None
    said = mattebox("models", "list", parts=parts).stdout
    assert "4 MB" in said
    assert "NO" in said


def test_the_real_list_is_honest() -> None:
    said = mattebox("models", "list", parts=Components()).stdout
    for name, row in CATALOGUE.items():
        assert name in said
        assert row.note in said
    assert "non-commercial terms" in said


def test_the_network_for_clicks_has_two_files_and_is_no_model_of_an_edit(here: tuple[Components, Path]) -> None:
    parts, directory = here
    row = json.loads(mattebox("models", "list", "--json", parts=parts).stdout.splitlines()[-1])
    assert (row["name"], row["bytes"], row["downloaded"]) == ("clicks", 151_267_913, False)
    assert (row["licence"], row["commercial"], row["sources"]) == ("Apache-2.0", True, ["npm"])
    files = [directory / name for name in ("sam2-tiny-encoder.ort", "sam2-tiny-decoder.onnx")]
    assert mattebox("models", "path", "clicks", parts=parts).stdout.split() == [str(file) for file in files]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    said = mattebox("models", "verify", parts=parts)
    assert said.exit_code == 1
    assert "sam2-tiny-encoder: damaged" in said.stdout
    photos(directory, "a.png")
    assert "Unknown model" in mattebox("remove", directory / "a.png", "--model", "clicks", parts=Components()).stderr


def test_pulling_an_ensemble_pulls_its_members(here: tuple[Components, Path]) -> None:
    parts, directory = here
    result = mattebox("models", "pull", "auto", "fine", parts=parts)
    assert result.exit_code == 0
    assert {file.name for file in directory.iterdir() if not file.name.startswith(".")} == {"fine.onnx", "solid.onnx"}
    assert result.stderr.count("fine: ready") == 1
    assert "solid may not be used commercially (CC-BY-NC-4.0)" in result.stderr
    assert "fine may not" not in result.stderr


def test_pulling_a_choice_pulls_what_it_stands_for_and_says_so(here: tuple[Components, Path]) -> None:
    parts, directory = here
    result = mattebox("models", "pull", "best", parts=parts)
    assert result.exit_code == 0
    assert "best is fine here: the processor with" in result.stderr
    assert "fine: ready" in result.stderr
    assert {file.name for file in directory.iterdir() if not file.name.startswith(".")} == {"fine.onnx"}
    assert mattebox("models", "path", "best", parts=parts).stdout == f"{directory / 'fine.onnx'}\n"
    assert mattebox("models", "verify", "best", parts=parts).stdout == "fine: present\n"


def test_a_choice_says_what_it_stands_for_when_it_is_used(tmp_path: Path, here: tuple[Components, Path]) -> None:
    class Any(FakeModels):
        def segmenter(self, name: str) -> Segmenter:
            return super().segmenter("auto")

    photos(tmp_path, "a.png")
    parts = replace(here[0], networks=fake(Any()).networks)
    result = mattebox("remove", tmp_path / "a.png", "--model", "best", parts=parts)
    assert result.exit_code == 0
    assert "best is fine here: the processor with" in result.stderr


def test_what_cannot_be_pulled_is_a_sentence_and_the_others_are(here: tuple[Components, Path]) -> None:
    parts, directory = here
    result = mattebox("models", "pull", "gone", "by-hand", "fine", parts=parts)
    assert result.exit_code == 1
    assert "gone could not be fetched" in result.stderr
    assert "no download for by-hand" in result.stderr
    assert "Traceback" not in result.stderr
    assert (directory / "fine.onnx").is_file()


def test_verify_and_path(here: tuple[Components, Path]) -> None:
    parts, directory = here
    assert mattebox("models", "verify", parts=parts).exit_code == 0
    assert mattebox("models", "verify", "fine", parts=parts).exit_code == 1
    mattebox("models", "pull", "auto", parts=parts)
    fine = mattebox("models", "verify", parts=parts)
    assert fine.exit_code == 0
    assert fine.stdout == "fine: present\nsolid: present\n"
    (directory / "fine.onnx").write_bytes(b"x")
    damaged = mattebox("models", "verify", "auto", parts=parts)
    assert damaged.exit_code == 1
    assert damaged.stdout == "fine: damaged\nsolid: present\n"
    assert mattebox("models", "path", "fine", parts=parts).stdout == f"{directory / 'fine.onnx'}\n"
    assert mattebox("models", "path", parts=parts).stdout == f"{directory}\n"


@pytest.mark.parametrize("command", ["pull", "verify", "path"])
def test_an_unknown_name_is_a_wrong_command(here: tuple[Components, Path], command: str) -> None:
    result = mattebox("models", command, "nonsense", parts=here[0])
    assert result.exit_code == 2
    assert "nonsense" in result.stderr


def test_weights_that_forbid_commerce_say_so_when_used(tmp_path: Path, here: tuple[Components, Path]) -> None:
    photos(tmp_path, "a.png")
    parts = replace(here[0], networks=fake().networks)
    assert "solid may not be used commercially" in mattebox("remove", tmp_path / "a.png", parts=parts).stderr

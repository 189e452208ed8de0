from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

import pytest
from typer.testing import CliRunner

from mattebox import samples
from mattebox.cli import Components, app
from mattebox.cli import doctor as module
from mattebox.errors import Kind, MatteboxError
from mattebox.models import CATALOGUE, ModelOptions, memory
from mattebox.models.catalogue import Variant
from mattebox.steps import Segmenters
from mattebox.testing import FakeModels

WEIGHTS = samples.photo_file()


def variant() -> Variant:
    """A network whose weights are a few bytes that the test has."""
    row = CATALOGUE["u2netp"]
    assert isinstance(row, Variant)
    return dataclasses.replace(row, name="auto", sha256=sha256(WEIGHTS).hexdigest(), bytes=len(WEIGHTS))


@pytest.fixture(autouse=True)
def sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with which nothing is wrong; its parts are files in this folder."""
    (tmp_path / "cpuinfo").write_text("model name\t: Fast\nflags\t\t: fpu avx2 amx_bf16\n")
    monkeypatch.setattr(module, "_CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(memory, "free", lambda: 6_100_000_000)
    monkeypatch.setattr(memory, "total", lambda: 8_200_000_000)
    for name in [name for name in os.environ if name.startswith("MATTEBOX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MATTEBOX_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MATTEBOX_MODELS_DIRECTORY", str(tmp_path / "models"))
    monkeypatch.setenv("MATTEBOX_BACKDROPS_DIRECTORY", str(tmp_path / "scenes"))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "auto.onnx").write_bytes(WEIGHTS)
    return tmp_path


def doctor(
    networks: Callable[[ModelOptions], Segmenters] = lambda _: FakeModels(),
) -> tuple[int, dict[str, list[module.Finding]]]:
    """The exit status, and the findings by their part."""
    parts = Components(
        networks=lambda options, _: networks(options), catalogue=lambda: MappingProxyType({"auto": variant()})
    )
    done = CliRunner().invoke(app, ["doctor", "--json"], obj=parts, catch_exceptions=False)
    findings: dict[str, list[module.Finding]] = {}
    for line in done.stdout.splitlines():
        finding = module.Finding(**json.loads(line))
        findings.setdefault(finding.part, []).append(finding)
    return done.exit_code, findings


def test_a_sound_installation() -> None:
    models = FakeModels()
    status, found = doctor(lambda _: models)
    assert [each for part in found.values() for each in part if each.wrong] == []
    assert status == 0
    assert list(found) == [
        "mattebox",
        "processor",
        "memory",
        "settings",
        "model",
        "scenes",
        "disk",
        "database",
        "storage",
    ]
    assert "Fast" in found["processor"][0].found
    assert found["processor"][0].found.endswith("avx2, amx_bf16")
    assert found["memory"][0].found == "6.1 GB of 8.2 GB free"
    assert found["scenes"][0].mend == "mattebox scenes pull"
    assert models.warmed == ["auto"]


def test_people_read_lines() -> None:
    done = CliRunner().invoke(
        app, ["doctor"], obj=Components(networks=lambda *_: FakeModels()), env={"MATTEBOX_MODELS_THREDS": "2"}
    )
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok    mattebox: ")
    at = next(number for number, line in enumerate(lines) if line.startswith("WRONG settings:"))
    assert any("MATTEBOX_MODELS_THREADS" in line for line in lines[at:])


@pytest.mark.parametrize(
    ("weights", "state"), [(None, "missing"), (b"x" * len(WEIGHTS), "damaged"), (WEIGHTS[:-1], "damaged")]
)
def test_weights_that_are_not_right_and_what_fetches_them(weights: bytes | None, state: str, sound: Path) -> None:
    file = sound / "models" / "auto.onnx"
    if weights is None:
        file.unlink()
    else:
        file.write_bytes(weights)
    models = FakeModels()
    status, found = doctor(lambda _: models)
    assert status == 1
    [finding] = found["model"]
    assert finding.wrong
    assert f"auto is {state}" in finding.found
    assert finding.mend == "mattebox models pull auto"
    assert models.warmed == []  # it could only fail


def test_a_network_that_does_not_run() -> None:
    class Broken(FakeModels):
        def warm(self, name: str) -> None:
            raise MatteboxError(Kind.UNAVAILABLE, "The device cuda needs an extra.")

    status, found = doctor(lambda _: Broken())
    assert status == 1
    assert [finding.found for finding in found["model"] if finding.wrong] == ["The device cuda needs an extra."]


def test_nothing_is_fetched() -> None:
    asked: list[ModelOptions] = []

    def networks(options: ModelOptions) -> Segmenters:
        asked.append(options)
        return FakeModels()

    doctor(networks)
    assert [options.download for options in asked] == [False]


@pytest.mark.parametrize(
    ("name", "value", "part", "said"),
    [
        ("MATTEBOX_MODEL", "isnt", "model", "Unknown model isnt."),
        ("MATTEBOX_MODELS_THREDS", "2", "settings", "Unknown setting MATTEBOX_MODELS_THREDS."),
        ("MATTEBOX_SERVICE_WORKERS", "none", "settings", "MATTEBOX_SERVICE_WORKERS"),
        ("MATTEBOX_ACCOUNTS_CREDITS", "5", "settings", "MATTEBOX_ACCOUNTS_CREDITS counts per key"),
        ("MATTEBOX_RATES_REQUESTS", "5/minute", "settings", "MATTEBOX_RATES_* count per key"),
        ("MATTEBOX_RATES_URL", "redis://127.0.0.1:9/0", "rates", "The server that counts requests cannot be reached."),
        ("MATTEBOX_DATABASE_URL", "mysql://a/b", "database", "sqlite:///file or postgresql://"),
        ("MATTEBOX_DATABASE_URL", "postgresql://u:hush@127.0.0.1:9/x", "database", "Connection refused"),
        ("MATTEBOX_STORAGE_URL", "ftp://a/b", "storage", "storage's address"),
    ],
)
def test_what_is_set_wrong(name: str, value: str, part: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    status, found = doctor()
    assert status == 1
    wrong = [finding for finding in found[part] if finding.wrong]
    assert [said in finding.found for finding in wrong].count(True) == 1
    assert "hush" not in str(found)
    assert [each for other, part_found in found.items() for each in part_found if each.wrong and other != part] == []


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free", lambda: 900_000_000)
    status, found = doctor()
    assert status == 1
    assert found["memory"][0].wrong
    assert found["memory"][0].found == "0.9 GB of 8.2 GB free; a photo of 12 MP takes about 1.5 GB"


def test_memory_that_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free", lambda: None)
    assert doctor()[1]["memory"][0].found.startswith("not known on ")


def test_a_storage_that_cannot_be_written_to(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sound / "file").write_text("no folder")
    monkeypatch.setenv("MATTEBOX_STORAGE_URL", (sound / "file" / "blobs").as_uri())
    status, found = doctor()
    assert status == 1
    assert found["storage"][0].mend


def test_a_disk_that_is_nearly_full(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(".")._replace(total=40_000_000_000, free=900_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    status, found = doctor()
    assert status == 1
    assert found["disk"][0].found.startswith("0.9 GB of 40.0 GB free in ")
    assert found["disk"][0].mend

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from sqlalchemy import make_url

from mattebox.errors import Kind, MatteboxError
from mattebox.server import settings
from mattebox.server.settings import Settings
from mattebox.server.store.blobs import Blobs


def test_every_module_reads_its_own_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATTEBOX_DATA_DIR", "~/somewhere")
    monkeypatch.setenv("MATTEBOX_KEYS", " one, two ,,")
    monkeypatch.setenv("MATTEBOX_LIMITS_MAX_PIXELS", "123")
    monkeypatch.setenv("MATTEBOX_SERVICE_WORKERS", "3")
    monkeypatch.setenv("MATTEBOX_FETCH_ALLOW_PRIVATE", "true")
    read = settings.load()
    assert read.data_dir == Path("~/somewhere").expanduser()
    assert read.keys == ("one", "two")
    assert read.limits.max_pixels == 123
    assert read.service.workers == 3
    assert read.fetch.allow_private


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATTEBOX_KEYS", "")
    monkeypatch.setenv("MATTEBOX_LIMITS_MAX_PIXELS", "")
    read = settings.load()
    assert read.keys == ()
    assert read.limits == Settings().limits


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MATTEBOX_LIMITS_MAX_PIXELS", "many"),
        ("MATTEBOX_SERVICE_WORKERS", "0"),
        ("MATTEBOX_ACCOUNTS_CREDITS", "-1"),
        ("MATTEBOX_SERVICE_TIMEOUT", "soon"),
        ("MATTEBOX_SERVICE_TIMEOUT", "nan"),
        ("MATTEBOX_SERVICE_TIMEOUT", "inf"),
        ("MATTEBOX_FETCH_TIMEOUT", "nan"),
        ("MATTEBOX_LIMITS_MAX_BYTES", "-5"),
        ("MATTEBOX_LIMITS_MAX_PIXELS", "0"),
        ("MATTEBOX_MODELS_DEVICE", "gpu"),
        ("MATTEBOX_MODELS_DEVICE", "openvino:"),
        ("MATTEBOX_TASKS_CONCURRENCY", "0"),
        ("MATTEBOX_STORAGE_KEEP", "0"),
        ("MATTEBOX_PUBLIC_URL", "cutout.example"),
        ("MATTEBOX_PUBLIC_URL", "https://cutout.example/?a=b"),
        ("MATTEBOX_FETCH_ALLOW_NETWORKS", "10.1.0.0/16,everything"),
        ("MATTEBOX_CORS_ORIGINS", "app.example"),
        ("MATTEBOX_CORS_ORIGINS", "https://*.example"),
        ("MATTEBOX_CORS_ORIGINS", "https://app.example/page"),
        ("MATTEBOX_TRUSTED_PROXIES", "127.0.0.1,nginx"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(MatteboxError) as caught:
        settings.load()
    assert caught.value.kind is Kind.INVALID_PARAMETER
    assert "_".join(variable.split("_")[:2]) in caught.value.message


def test_lists_are_separated_by_commas_and_paths_begin_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATTEBOX_FETCH_ALLOW_NETWORKS", "10.1.0.0/16, 192.168.0.0/24,")
    monkeypatch.setenv("MATTEBOX_HOSTS", "cutout.example.org,localhost")
    monkeypatch.setenv("MATTEBOX_MODELS_DIRECTORY", "~/x")
    monkeypatch.setenv("MATTEBOX_MODELS_DEVICE", "openvino:GPU.1")
    read = settings.load()
    assert read.fetch.allow_networks == ("10.1.0.0/16", "192.168.0.0/24")
    assert read.hosts == ("cutout.example.org", "localhost")
    assert read.models.directory == Path.home() / "x"
    assert read.models.device == "openvino:GPU.1"


@pytest.mark.parametrize(
    ("chosen", "origins"),
    [
        ({}, ()),
        ({"keys": "k"}, ("*",)),
        (
            {"cors_origins": "https://App.example:443/, http://localhost:3000"},
            ("https://app.example", "http://localhost:3000"),
        ),
        ({"keys": "k", "cors_origins": "capacitor://localhost"}, ("capacitor://localhost",)),
        ({"public_url": "http://Cutout.example:80/under"}, ("http://cutout.example",)),
    ],
)
def test_sites_that_may_use_the_server(chosen: dict[str, str], origins: tuple[str, ...]) -> None:
    assert Settings.model_validate(chosen).origins(keyed="keys" in chosen) == origins


def test_tasks_and_storage_have_addresses_and_knobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MATTEBOX_DATA_DIR", str(tmp_path / "a b%20?#"))
    read = settings.load()
    assert make_url(read.database).database == str(tmp_path / "a b%20?#" / "mattebox.db")
    assert read.blobs.startswith("file:///")
    Blobs(read.blobs).put("one", b"1", media_type="text/plain")
    assert (tmp_path / "a b%20?#" / "blobs" / "one").read_bytes() == b"1"
    monkeypatch.setenv("MATTEBOX_DATABASE_URL", "postgresql://me:secret@there/db")
    monkeypatch.setenv("MATTEBOX_STORAGE_URL", "s3://bucket/prefix")
    monkeypatch.setenv("MATTEBOX_STORAGE_KEEP", "60")
    monkeypatch.setenv("MATTEBOX_STORAGE_SIGN", "false")
    monkeypatch.setenv("MATTEBOX_TASKS_POLLING", "0.05")
    monkeypatch.setenv("MATTEBOX_PUBLIC_URL", "https://cutout.example/under/")
    monkeypatch.setenv("MATTEBOX_ROLE", "worker")
    read = settings.load()
    assert (read.database, read.blobs) == ("postgresql://me:secret@there/db", "s3://bucket/prefix")
    assert (read.storage.keep, read.storage.sign, read.tasks.polling) == (60, False, 0.05)
    assert read.public_url == "https://cutout.example/under"
    assert read.role == "worker"
    assert "secret" not in repr(read)


def test_a_nodes_name_is_made_up_once(tmp_path: Path) -> None:
    first = Settings.model_validate({"data_dir": tmp_path / "one"})
    assert settings.node_of(first) == settings.node_of(first) != ""
    assert settings.node_of(Settings.model_validate({"data_dir": tmp_path / "two"})) != settings.node_of(first)
    assert settings.node_of(first.model_copy(update={"node": "pod-1"})) == "pod-1"
    (tmp_path / "one" / "node").write_text("")
    with pytest.raises(MatteboxError, match="node"):
        settings.node_of(first)
    (tmp_path / "file").write_text("")
    with pytest.raises(MatteboxError, match="data folder"):
        settings.node_of(Settings.model_validate({"data_dir": tmp_path / "file" / "x"}))


def test_what_looks_like_a_setting_and_is_none_is_found() -> None:
    variables = [
        "MATTEBOX_LIMITS_MAXPIXELS",
        "MATTEBOX_XYZZY",
        "MATTEBOX_EVAL",
        "mattebox_keys",
        "HOME",
        "MATTEBOX_FETCH",
    ]
    assert settings.unknown(variables) == {
        "MATTEBOX_LIMITS_MAXPIXELS": "MATTEBOX_LIMITS_MAX_PIXELS",
        "MATTEBOX_XYZZY": None,
    }


def test_every_knob_is_documented_with_its_variable() -> None:
    page = settings.document()
    for name, info in Settings.model_fields.items():
        if dataclasses.is_dataclass(info.default):
            for knob in dataclasses.fields(info.default):
                assert f"| `MATTEBOX_{name}_{knob.name}` |".upper() in page.upper()
        else:
            assert f"| `MATTEBOX_{name}` |".upper() in page.upper()


def test_the_page_in_the_docs_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text() == settings.document(), "run: make docs"

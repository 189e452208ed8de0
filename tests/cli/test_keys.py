from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mattebox.cli import app
from mattebox.server import settings
from mattebox.server.settings import Settings
from mattebox.server.store.database import connect
from mattebox.server.store.keys import Keys


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MATTEBOX_DATA_DIR", str(tmp_path))
    return tmp_path


def keys(*args: str) -> Result:
    return CliRunner().invoke(app, ["keys", *args], catch_exceptions=False)


def test_a_key_is_made_shown_once_listed_and_revoked(folder: Path) -> None:
    assert not settings.keyed(Settings(data_dir=folder))
    made = keys("create", "shop", "--credits", "5", "--pictures", "0", "--rate", "5/minute")
    assert made.exit_code == 0
    key = made.stdout.strip()
    database = connect(f"sqlite:///{folder}/mattebox.db")
    found = Keys(database).find(key)
    assert found is not None
    listed = json.loads(keys("list", "--json").stdout)
    assert listed["limits"] == {"credits": 5, "pictures": 0, "rate": "5/minute"}
    assert (listed["name"], listed["id"], listed["revoked"]) == ("shop", found.id, None)
    table = keys("list").stdout
    assert "shop" in table
    assert key.rpartition("_")[2] not in table
    revoked = keys("revoke", "shop")
    assert "within 5 seconds" in revoked.stderr
    assert Keys(database).find(key) is None
    assert settings.keyed(Settings(data_dir=folder))
    database.dispose()


def test_failures_are_sentences(folder: Path) -> None:
    assert keys("create", "shop").exit_code == 0
    twice = keys("create", "shop")
    assert (twice.exit_code, twice.stderr) == (1, "A key in force has this name; revoke it first.\n")
    unknown = keys("revoke", "nobody")
    assert (unknown.exit_code, unknown.stderr) == (1, "No key in force has this name or id.\n")
    assert keys("create", "other", "--credits", "-1").exit_code == 2
    assert keys("create", "other", "--rate", "often").exit_code == 2


@pytest.mark.parametrize("setting", ["MATTEBOX_RATES_REQUESTS", "MATTEBOX_RATES_DIALECTS", "MATTEBOX_ACCOUNTS_CREDITS"])
def test_what_counts_per_key_needs_keys(setting: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"MATTEBOX_RATES_REQUESTS": "5/minute", "MATTEBOX_RATES_DIALECTS": "poof=5/minute"}.get(setting, "5")
    monkeypatch.setenv(setting, value)
    refused = CliRunner().invoke(app, ["serve"], catch_exceptions=False)
    assert refused.exit_code == 1
    assert "`mattebox keys create`" in refused.stderr


def test_looking_for_keys_makes_no_database(folder: Path) -> None:
    assert not settings.keyed(Settings(data_dir=folder))
    assert list(folder.iterdir()) == []

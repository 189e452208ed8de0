from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from cachetools import TTLCache
from sqlalchemy import Engine, event, text

from mattebox.errors import Kind, MatteboxError
from mattebox.server.store.accounts import AccountOptions, Accounts
from mattebox.server.store.database import connect, create
from mattebox.server.store.keys import AWAY_SECONDS, KEY_SECONDS, KeyLimits, Keys


class Clock:
    """The time that caches and accounts go by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("mattebox.server.store.accounts.time.monotonic", lambda: self.now)

    def cached(self, keys: Keys) -> Keys:
        keys._read = TTLCache(100, AWAY_SECONDS, timer=lambda: self.now)
        keys._fresh = TTLCache(100, KEY_SECONDS, timer=lambda: self.now)
        return keys


def refused(accounts: Accounts, key: str | None) -> Kind:
    with pytest.raises(MatteboxError) as caught:
        accounts.authenticate(key)
    return caught.value.kind


def test_a_key_is_256_bits_behind_what_it_is_and_only_its_hash_is_kept(database: Engine) -> None:
    keys = Keys(database)
    key, made = keys.create("shop", KeyLimits(credits=7, pictures=3, rate="5/minute"))
    assert re.fullmatch("mattebox_[0-9a-f]{16}_[0-9a-f]{64}", key)
    assert key != keys.create("other")[0]
    assert keys.find(key) == made
    assert (made.name, made.limits) == ("shop", KeyLimits(credits=7, pictures=3, rate="5/minute"))
    with database.connect() as connection:
        row = connection.execute(text("SELECT * FROM keys WHERE name = 'shop'")).one()
    assert row.hash == hashlib.sha256(key.encode()).hexdigest()
    assert key.rpartition("_")[2] not in repr(row)


def test_another_secret_behind_a_known_id_is_refused(database: Engine) -> None:
    keys = Keys(database)
    key, _ = keys.create("shop")
    known, _, secret = key.rpartition("_")
    flipped = ("1" if secret[0] == "0" else "0") + secret[1:]
    for wrong in (f"{known}_{flipped}", f"{known}_{secret}0", key.upper(), f"{known}_", "mattebox_", "", f" {key}"):
        assert keys.find(wrong) is None
    assert keys.find(key) is not None


def test_what_has_not_the_shape_of_a_key_asks_the_database_nothing(database: Engine) -> None:
    keys, asked = Keys(database), []
    event.listen(database, "before_cursor_execute", lambda *about: asked.append(about[2]))
    for wrong in ("x", "mattebox_1_2", "sk-abc", "m" * 10_000):
        assert keys.find(wrong) is None
    assert asked == []


def test_a_revoked_key_is_refused_by_other_servers_once_they_look_again(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, here = Clock(monkeypatch), Keys(database)
    elsewhere = clock.cached(Keys(database))
    key, made = here.create("shop")
    assert elsewhere.find(key) is not None
    assert here.revoke("shop").id == made.id
    clock.now += KEY_SECONDS - 0.1
    assert elsewhere.find(key) is not None
    clock.now += 0.2
    assert elsewhere.find(key) is None
    assert Keys(database).find(key) is None
    with pytest.raises(MatteboxError) as caught:
        here.revoke("shop")
    assert caught.value.kind is Kind.NOT_FOUND


def test_a_name_belongs_to_one_key_in_force(database: Engine) -> None:
    keys = Keys(database)
    _, first = keys.create("shop")
    with pytest.raises(MatteboxError) as caught:
        keys.create("shop")
    assert (caught.value.kind, caught.value.parameter) == (Kind.CONFLICT, "name")
    keys.revoke(first.id)
    _, second = keys.create("shop")
    assert [(each.id, each.revoked is None) for each in keys.listing()] == [(first.id, False), (second.id, True)]


@pytest.mark.parametrize("name", ["", " shop", "shop ", "a\nb", "x" * 65])
def test_a_name_can_be_shown(name: str, database: Engine) -> None:
    with pytest.raises(MatteboxError) as caught:
        Keys(database).create(name)
    assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, "name")


@pytest.mark.parametrize(
    ("limits", "parameter"), [(KeyLimits(credits=-1), "credits"), (KeyLimits(pictures=2**31), "pictures")]
)
def test_limits_are_counts(limits: KeyLimits, parameter: str, database: Engine) -> None:
    with pytest.raises(MatteboxError) as caught:
        Keys(database).create("shop", limits)
    assert caught.value.parameter == parameter
    assert not Keys(database).exist()


def test_a_key_in_the_database_closes_the_server_for_ever(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, accounts = Clock(monkeypatch), Accounts((), database)
    assert accounts.authenticate("anything").anonymous
    key, made = Keys(database).create("shop")
    clock.now += KEY_SECONDS + 0.1
    assert refused(accounts, "anything") is Kind.INVALID_KEY
    assert refused(accounts, None) is Kind.MISSING_KEY
    account = accounts.authenticate(key)
    assert (account.id, account.name, account.anonymous) == (made.id, "shop", False)
    Keys(database).revoke("shop")
    assert refused(Accounts((), database), "anything") is Kind.INVALID_KEY


def test_a_key_that_was_read_is_known_without_the_database(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, accounts = Clock(monkeypatch), Accounts(("env",), database)
    clock.cached(accounts._kept)
    key, _ = Keys(database).create("shop", KeyLimits(pictures=3))
    assert accounts.remembered("env") == accounts.authenticate("env")
    assert accounts.remembered(key) is None
    read = accounts.authenticate(key)
    assert read.pictures == 3
    assert accounts.remembered(key) == read
    assert accounts.remembered(key[:-1] + ("0" if key[-1] != "0" else "1")) is None
    for unknown, kind in ((None, Kind.MISSING_KEY), ("made up", Kind.INVALID_KEY)):
        with pytest.raises(MatteboxError) as caught:
            accounts.remembered(unknown)
        assert caught.value.kind is kind
    clock.now += KEY_SECONDS + 0.1
    assert accounts.remembered(key) is None  # it may have been revoked


def test_that_no_key_is_asked_for_is_known_for_a_time(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, accounts = Clock(monkeypatch), Accounts((), database)
    assert accounts.remembered("anything") is None
    account = accounts.authenticate("anything")
    assert account.anonymous
    assert accounts.remembered("anything") == account
    clock.now += KEY_SECONDS + 0.1
    assert accounts.remembered("anything") is None  # a key may have been made
    Keys(database).create("first")
    assert refused(accounts, None) is Kind.MISSING_KEY


def test_a_keys_own_limits_come_before_the_settings(database: Engine) -> None:
    accounts = Accounts(("env",), database, AccountOptions(credits=2))
    keys = Keys(database)
    for name, own, allowed in (("a", None, 2), ("b", 5, 5), ("c", 0, None)):
        account = accounts.authenticate(keys.create(name, KeyLimits(credits=own))[0])
        assert accounts.usage(account).allowed == allowed
    assert accounts.usage(accounts.authenticate("env")).allowed == 2
    poor = accounts.authenticate(keys.create("poor", KeyLimits(credits=1))[0])
    assert accounts.reserve(poor) == 0
    with pytest.raises(MatteboxError, match="no credits left"):
        accounts.reserve(poor)


def test_keys_that_are_made_up_make_no_rows(database: Engine) -> None:
    accounts = Accounts((), database)
    for number in range(50):
        accounts.reserve(accounts.authenticate(f"made up {number}"))
    accounts.flush()
    with database.connect() as connection:
        assert connection.execute(text("SELECT account, images FROM usage")).all() == [("anybody", 50)]
    accounts.refund(accounts.owner("whoever"), 2)
    assert accounts.usage(accounts.authenticate("made up 3")).used == 48


def test_while_the_database_is_away_the_last_answer_holds_for_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = connect(f"sqlite:///{tmp_path}/mattebox.db")
    create(database)
    clock = Clock(monkeypatch)
    opened = Accounts((), database)
    assert opened.authenticate("anything").anonymous
    key, _ = Keys(database).create("shop")
    closed = Accounts(("env",), database)
    clock.cached(closed._kept)
    assert closed.authenticate(key).name == "shop"
    database.dispose()
    for file in tmp_path.iterdir():
        file.unlink()
    (tmp_path / "mattebox.db").mkdir()
    clock.now += AWAY_SECONDS - 1
    assert opened.authenticate("anything").anonymous
    assert closed.authenticate(key).name == "shop"
    assert refused(closed, f"mattebox_{'0' * 16}_{'0' * 64}") is Kind.UNAVAILABLE
    clock.now += KEY_SECONDS + 2
    assert refused(opened, "anything") is Kind.UNAVAILABLE
    assert refused(closed, key) is Kind.UNAVAILABLE


def test_a_database_that_is_away_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "mattebox.db").mkdir()
    accounts = Accounts((), connect(f"sqlite:///{tmp_path}/mattebox.db"))
    assert refused(accounts, "anything") is Kind.UNAVAILABLE
    closed = Accounts(("env",), connect(f"sqlite:///{tmp_path}/mattebox.db"))
    assert closed.authenticate("env").id  # the settings' keys need no database
    assert refused(closed, f"mattebox_{'0' * 16}_{'0' * 64}") is Kind.UNAVAILABLE

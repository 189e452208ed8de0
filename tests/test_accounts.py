from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mattebox.accounts import AccountOptions, Accounts
from mattebox.errors import Kind, MatteboxError


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    table = Accounts(("first", "second"), tmp_path, AccountOptions(credits=2))
    yield table
    table.close()


def test_each_key_is_its_own_account(accounts: Accounts) -> None:
    first, second = accounts.authenticate("first"), accounts.authenticate("second")
    assert first != second
    assert "first" not in first.id


@pytest.mark.parametrize(
    ("key", "kind"), [(None, Kind.MISSING_KEY), ("", Kind.MISSING_KEY), ("First", Kind.INVALID_KEY)]
)
def test_other_keys_are_refused(accounts: Accounts, key: str | None, kind: Kind) -> None:
    with pytest.raises(MatteboxError) as caught:
        accounts.authenticate(key)
    assert caught.value.kind is kind


def test_without_keys_everyone_may_in(tmp_path: Path) -> None:
    table = Accounts((), tmp_path)
    assert table.authenticate("anything") != table.authenticate(None)
    table.close()


def test_credits_run_out(accounts: Accounts) -> None:
    account = accounts.authenticate("first")
    for used in range(2):
        assert accounts.usage(account).used == used
        accounts.check(account)
        accounts.reserve(account)
    for refuse in (accounts.check, accounts.reserve):
        with pytest.raises(MatteboxError) as caught:
            refuse(account)
        assert caught.value.kind is Kind.OUT_OF_CREDITS
    assert accounts.usage(account).used == 2
    accounts.check(accounts.authenticate("second"))
    accounts.reserve(accounts.authenticate("second"))


def test_what_was_not_made_is_given_back(accounts: Accounts) -> None:
    account = accounts.authenticate("first")
    accounts.refund(account)
    assert accounts.usage(account).used == 0
    for _ in range(5):
        accounts.reserve(account)
        accounts.refund(account)
    assert accounts.usage(account).used == 0


def test_of_many_at_once_no_more_than_the_credits_get_through(tmp_path: Path) -> None:
    table = Accounts(("key",), tmp_path, AccountOptions(credits=7))
    account = table.authenticate("key")

    def ask() -> bool:
        try:
            table.reserve(account)
        except MatteboxError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        granted = [done.result() for done in [threads.submit(ask) for _ in range(40)]]
    assert sum(granted) == table.usage(account).used == 7
    table.close()


def test_usage_outlives_the_process(tmp_path: Path) -> None:
    for expected in range(3):
        table = Accounts(("key",), tmp_path)
        account = table.authenticate("key")
        assert table.usage(account).used == expected
        assert table.usage(account).allowed is None
        table.reserve(account)
        table.close()


def test_no_picture_is_lost_when_many_are_counted_at_once(tmp_path: Path) -> None:
    table = Accounts(("key",), tmp_path)
    account = table.authenticate("key")
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(table.reserve, account) for _ in range(200)]:
            done.result()
    assert table.usage(account).used == 200
    table.close()

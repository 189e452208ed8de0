from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from mattebox.errors import Kind, MatteboxError
from mattebox.server.store.accounts import AccountOptions, Accounts
from mattebox.server.store.database import connect, create


@pytest.fixture
def accounts(database: Engine) -> Accounts:
    return Accounts(("first", "second"), database, AccountOptions(credits=2))


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


def test_without_keys_everyone_may_in(database: Engine) -> None:
    table = Accounts((), database)
    assert table.authenticate("anything") != table.authenticate(None)


def test_a_reservation_says_how_many_are_left(accounts: Accounts, database: Engine) -> None:
    account = accounts.authenticate("first")
    assert [accounts.reserve(account, pictures) for pictures in (0, 1, 0, 1, 0)] == [2, 1, 1, 0, 0]
    unlimited = Accounts((), database)
    account = unlimited.authenticate("first")
    assert [unlimited.reserve(account, pictures) for pictures in (0, 1)] == [None, None]
    with database.begin() as connection:
        assert unlimited.reserve(account, connection=connection) is None


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


def test_of_many_at_once_no_more_than_the_credits_get_through(database: Engine) -> None:
    table = Accounts(("key",), database, AccountOptions(credits=7))
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


def test_usage_outlives_the_process(tmp_path: Path) -> None:
    for expected in range(3):
        database = connect(f"sqlite:///{tmp_path}/mattebox.db")
        create(database)
        table = Accounts(("key",), database)
        account = table.authenticate("key")
        assert table.usage(account).used == expected
        assert table.usage(account).allowed is None
        table.reserve(account)
        table.flush()
        database.dispose()


def test_no_picture_is_lost_when_many_are_counted_at_once(database: Engine) -> None:
    table = Accounts(("key",), database)
    account = table.authenticate("key")
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(table.reserve, account) for _ in range(200)]:
            done.result()
    assert table.usage(account).used == 200


def test_several_are_paid_all_or_none(database: Engine) -> None:
    table = Accounts(("key", "other"), database, AccountOptions(credits=5))
    account = table.authenticate("key")
    for pictures, granted, used in ((6, False, 0), (3, True, 3), (3, False, 3), (2, True, 5), (1, False, 5)):
        for ask in (table.check, table.reserve):
            with nullcontext() if granted else pytest.raises(MatteboxError, match="no credits left"):
                ask(account, pictures)
        assert table.usage(account).used == used
    table.refund(account, 2)
    assert table.usage(account).used == 3
    table.refund(account, 9)
    assert table.usage(account).used == 0
    assert table.usage(table.authenticate("other")).used == 0


def test_what_is_paid_in_a_transaction_goes_with_it(database: Engine) -> None:
    table = Accounts(("key",), database, AccountOptions(credits=5))
    account = table.authenticate("key")

    def pay_and_stumble() -> None:
        with database.begin() as connection:
            table.reserve(account, 4, connection=connection)
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            pay_and_stumble()
        assert table.usage(account).used == 0
    with database.begin() as connection:
        table.reserve(account, 4, connection=connection)
        table.refund(account, connection=connection)
    assert table.usage(account).used == 3


def test_a_database_that_is_away_is_no_defect(tmp_path: Path) -> None:
    (tmp_path / "mattebox.db").mkdir()
    table = Accounts(("key",), connect(f"sqlite:///{tmp_path}/mattebox.db"), AccountOptions(credits=5))
    account = table.authenticate("key")
    for ask in (table.usage, table.check, table.reserve, table.refund):
        with pytest.raises(MatteboxError) as caught:
            ask(account)
        assert caught.value.kind is Kind.UNAVAILABLE


def test_where_credits_are_unlimited_a_picture_costs_no_write(database: Engine) -> None:
    table = Accounts(("key", "other"), database)
    first, second = table.authenticate("key"), table.authenticate("other")
    writes: list[str] = []

    def see(_: object, __: object, statement: str, *___: object) -> None:
        if not statement.startswith("SELECT"):
            writes.append(statement)

    event.listen(database, "before_cursor_execute", see)
    for _ in range(5):
        table.reserve(first)
    table.refund(first)
    table.reserve(second)
    table.refund(second)
    assert (table.usage(first).used, table.usage(second).used) == (4, 0)
    assert writes == []
    table.flush()
    assert len(writes) == 1  # what came to nothing needs no row
    assert (table.usage(first).used, Accounts((), database).usage(first).used) == (4, 4)
    table.refund(first, 2)
    assert table.usage(first).used == 2
    table.flush()
    table.flush()
    assert len(writes) == 2
    assert Accounts((), database).usage(first).used == 2


def test_what_a_transaction_counts_is_counted_in_it(database: Engine) -> None:
    table = Accounts(("key",), database)
    account = table.authenticate("key")
    with database.begin() as connection:
        table.reserve(account, 3, connection=connection)
    assert Accounts((), database).usage(account).used == 3
    table.reserve(account)
    assert table.usage(account).used == 4


def test_a_database_that_is_away_loses_no_count(tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/mattebox.db")
    table = Accounts(("key",), database)
    account = table.authenticate("key")
    table.reserve(account)
    with pytest.raises(MatteboxError) as caught:  # its tables are not there yet
        table.flush()
    assert caught.value.kind is Kind.UNAVAILABLE
    create(database)
    table.flush()
    assert Accounts((), database).usage(account).used == 1
    database.dispose()

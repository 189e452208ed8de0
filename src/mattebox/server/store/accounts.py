"""Accounts: who may use the server, and how much each has used.

Where credits are limited, each picture is counted in the database before it is made. Where they are not, nothing
depends on the number: it is counted in memory and written down every few seconds, so that no picture costs a write of
its own.

A key is known only by its hash once it has come in: the hash is what is compared, stored and logged.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Column, Connection, Engine, Integer, String, Table, case, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from mattebox.errors import Kind, MatteboxError
from mattebox.server.store.database import TABLES, reachable

_USAGE = Table(
    "usage", TABLES, Column("account", String(64), primary_key=True), Column("images", Integer, nullable=False)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOptions:
    """The options of accounts."""

    credits: int = field(
        default=0, metadata={"doc": "Pictures each key may have made in all; 0 means as many as it likes."}
    )

    def __post_init__(self) -> None:
        if self.credits < 0:
            raise ValueError("credits must not be negative")


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who sent a key. `id` is derived from the key and gives nothing of it away."""

    id: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Pictures an account has had made or is having made, and how many it may have made; None means any number."""

    used: int
    allowed: int | None


class Accounts:
    """The key table. Safe to use from several threads.

    Args:
        keys: the keys that are accepted; none at all means that every key is, and so is no key.
        database: where usage is kept; its tables are made by `database.create`.
        options: what a key is worth.
    """

    def __init__(self, keys: tuple[str, ...], database: Engine, options: AccountOptions = AccountOptions()) -> None:
        self._known = frozenset(_digest(key) for key in keys)
        self._options = options
        self._database = database
        self._counted: Counter[str] = Counter()
        self._counting = threading.Lock()

    @property
    def allowed(self) -> int | None:
        """The number of pictures that each key may have made; None means any number."""
        return self._options.credits or None

    def authenticate(self, key: str | None) -> Account:
        """Whose key this is.

        Raises:
            MatteboxError: MISSING_KEY or INVALID_KEY.
        """
        if not self._known:
            return Account(_digest(key or "")[:24])
        if not key:
            raise MatteboxError(Kind.MISSING_KEY, "An API key is needed.")
        # Looking a hash up in a set takes a time that depends on the hash, from which no key can be learnt.
        digest = _digest(key)
        if digest not in self._known:
            raise MatteboxError(Kind.INVALID_KEY, "This API key is not known.")
        return Account(digest[:24])

    def usage(self, account: Account) -> Usage:
        """The usage of an account so far, what is not written down yet included.

        Raises:
            MatteboxError: UNAVAILABLE where the database is away.
        """
        with self._counting:  # or a flush could move pictures between the two looks
            counted = self._counted[account.id]
            with reachable(), self._database.connect() as connection:
                used = connection.scalar(select(_USAGE.c.images).where(_USAGE.c.account == account.id))
        return Usage(used=max(0, (used or 0) + counted), allowed=self.allowed)

    def used(self) -> int:
        """The pictures that all accounts together have had made, what is not written down yet included.

        Raises:
            MatteboxError: UNAVAILABLE where the database is away.
        """
        with self._counting:
            counted = sum(self._counted.values())
            with reachable(), self._database.connect() as connection:
                used = connection.scalar(select(func.sum(_USAGE.c.images)))
        return max(0, int(used or 0) + counted)

    def flush(self) -> None:
        """Write down what was counted in memory.

        Raises:
            MatteboxError: UNAVAILABLE; it is still counted then.
        """
        with self._counting:
            with self._within(None) as transaction:
                for account, pictures in self._counted.items():
                    if pictures > 0:
                        self._add(transaction, account, pictures, most=0)
                    elif pictures < 0:
                        self._take(transaction, account, -pictures)
            self._counted.clear()

    def check(self, account: Account, pictures: int = 1) -> None:
        """Refuse an account that has too little left, before anything is done for it. `reserve` is what decides.

        Raises:
            MatteboxError: OUT_OF_CREDITS, UNAVAILABLE.
        """
        if not self._options.credits:
            return
        if self.usage(account).used + pictures > self._options.credits:
            raise _no_credits()

    def reserve(self, account: Account, pictures: int = 1, *, connection: Connection | None = None) -> int | None:
        """Count pictures before they are made: of two requests for the last credit one is refused.

        Args:
            account: who pays.
            pictures: how many; all of them or none are counted.
            connection: a transaction that this belongs to; by default it is one of its own.

        Returns:
            How many more pictures the account may have made; None means any number.

        Raises:
            MatteboxError: OUT_OF_CREDITS, UNAVAILABLE.
        """
        most = self._options.credits
        if pictures < 1:
            return max(0, most - self.usage(account).used) if most else None
        if most and pictures > most:  # the first row of an account is not asked for what it holds
            raise _no_credits()
        if not most and connection is None:
            self._count(account, pictures)
            return None
        with self._within(connection) as transaction:
            used = self._add(transaction, account.id, pictures, most=most)
            if used is None:
                raise _no_credits()
        return most - used if most else None

    def refund(self, account: Account, pictures: int = 1, *, connection: Connection | None = None) -> None:
        """Take back what was reserved for pictures that could not be made; arguments as in `reserve`.

        Raises:
            MatteboxError: UNAVAILABLE.
        """
        if not self._options.credits and connection is None:
            self._count(account, -pictures)
            return
        with self._within(connection) as transaction:
            self._take(transaction, account.id, pictures)

    def _count(self, account: Account, pictures: int) -> None:
        with self._counting:
            self._counted[account.id] += pictures

    @staticmethod
    def _add(transaction: Connection, account: str, pictures: int, *, most: int) -> int | None:
        """Add pictures to those an account has used; their number, or None where it would be over `most`, if any."""
        insert = postgresql.insert if transaction.dialect.name == "postgresql" else sqlite.insert
        more = (
            insert(_USAGE)
            .values(account=account, images=pictures)
            .on_conflict_do_update(
                index_elements=[_USAGE.c.account],
                set_={"images": _USAGE.c.images + pictures},
                where=_USAGE.c.images + pictures <= most if most else None,
            )
            .returning(_USAGE.c.images)
        )
        row = transaction.execute(more).one_or_none()
        return None if row is None else int(row.images)

    @staticmethod
    def _take(transaction: Connection, account: str, pictures: int) -> None:
        left = case((_USAGE.c.images > pictures, _USAGE.c.images - pictures), else_=0)
        transaction.execute(update(_USAGE).where(_USAGE.c.account == account).values(images=left))

    @contextmanager
    def _within(self, connection: Connection | None) -> Iterator[Connection]:
        if connection is not None:
            yield connection
            return
        with reachable(), self._database.begin() as own:
            yield own


def _no_credits() -> MatteboxError:
    return MatteboxError(Kind.OUT_OF_CREDITS, "This key has no credits left.")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()

"""Accounts: who may use the server, and how much each has used.

Where credits are limited, each picture is counted in the database before it is made. Where they are not, nothing
depends on the number: it is counted in memory and written down every few seconds, so that no picture costs a write of
its own.

A key is known only by its hash once it has come in: the hash is what is compared, stored and logged. Keys are in the
settings or in the database (`keys.py`). Where there are none, every key is accepted and all pictures are counted
together: whoever makes up keys makes no rows with them.
"""

from __future__ import annotations

import hmac
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Column, Connection, Engine, Integer, String, Table, case, func, select, update

from mattebox.environment import option
from mattebox.errors import Kind, MatteboxError
from mattebox.server.store.database import TABLES, reachable, upsert
from mattebox.server.store.keys import AWAY_SECONDS, KEY_SECONDS, Key, Keys, digest, may_be_kept

_USAGE = Table(
    "usage", TABLES, Column("account", String(64), primary_key=True), Column("images", Integer, nullable=False)
)
_ANYBODY = "anybody"
"""The row of all accounts of a server that asks for no key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOptions:
    """The options of accounts."""

    credits: int = option(
        0, "Pictures each key may have made in all, unless it has a number of its own; 0 means as many as it likes."
    )

    def __post_init__(self) -> None:
        if self.credits < 0:
            raise ValueError("credits must not be negative")


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who sent a key.

    Attributes:
        id: derived from the key; it gives nothing of it away.
        name: whose key it is, for logs; empty for a key of the settings.
        credits: pictures it may have made in all; 0 means any number.
        pictures: photos it may have in work and waiting; None means what the settings say, 0 any number.
        rate: requests it may make, as in `100/minute`; None means what the settings say, empty any number.
        anonymous: the server asks for no key, so this is not anybody in particular.
    """

    id: str
    name: str = ""
    credits: int = 0
    pictures: int | None = None
    rate: str | None = None
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Pictures an account has had made or is having made, and how many it may have made; None means any number."""

    used: int
    allowed: int | None


class Accounts:
    """Keys and the usage of each. Safe to use from several threads.

    Every method raises UNAVAILABLE where the database is away.

    Args:
        keys: keys that are accepted beside those in the database. Where there are none at all, every key is accepted,
            and so is no key.
        database: where usage is kept; its tables are made by `database.create`.
        options: what a key is worth.
    """

    def __init__(self, keys: tuple[str, ...], database: Engine, options: AccountOptions = AccountOptions()) -> None:
        self._known = {hashed[:24]: hashed for hashed in map(digest, keys)}
        self._kept = Keys(database)
        self._keyed = bool(keys)
        self._looked = self._found = -math.inf
        self._options = options
        self._database = database
        self._counted: Counter[str] = Counter()
        self._counting = threading.Lock()

    def authenticate(self, key: str | None) -> Account:
        """Whose key this is. It may ask the database.

        Raises:
            MatteboxError: MISSING_KEY or INVALID_KEY.
        """
        if not self.keyed():
            return self._anybody(key)
        account = self.remembered(key)
        if account is not None:
            return account
        found = self._kept.find(key or "")
        if found is None:
            raise MatteboxError(Kind.INVALID_KEY, "This API key is not known.")
        return self._account(found)

    def remembered(self, key: str | None) -> Account | None:
        """Whose key this is; None where only the database can tell.

        Raises:
            MatteboxError: MISSING_KEY or INVALID_KEY, where the database does not have to be asked for that.
        """
        if not self._keyed:
            return self._anybody(key) if time.monotonic() - self._looked <= KEY_SECONDS else None
        if not key:
            raise MatteboxError(Kind.MISSING_KEY, "An API key is needed.")
        hashed = digest(key)
        # Looking it up takes a time that depends on a part of the hash, from which no key can be learnt.
        if hmac.compare_digest(self._known.get(hashed[:24], ""), hashed):
            return Account(hashed[:24], credits=self._options.credits)
        if not may_be_kept(key):
            raise MatteboxError(Kind.INVALID_KEY, "This API key is not known.")
        found = self._kept.find(key, ask=False)
        return None if found is None else self._account(found)

    def _anybody(self, key: str | None) -> Account:
        return Account(digest(key or "")[:24], credits=self._options.credits, anonymous=True)

    def _account(self, found: Key) -> Account:
        own = found.limits
        most = self._options.credits if own.credits is None else own.credits
        return Account(found.id, name=found.name, credits=most, pictures=own.pictures, rate=own.rate)

    def keyed(self) -> bool:
        """Whether a key is asked for. Once one is in the database that is so for ever, after `KEY_SECONDS` at most.

        While the database is away, what was found there last holds for `AWAY_SECONDS`.

        Raises:
            MatteboxError: UNAVAILABLE where the database is away for longer, or was never there.
        """
        if not self._keyed and time.monotonic() - self._looked > KEY_SECONDS:
            try:
                self._keyed = self._kept.exist()
                self._found = time.monotonic()
            except MatteboxError as error:
                if error.kind is not Kind.UNAVAILABLE or time.monotonic() - self._found > AWAY_SECONDS:
                    raise
            self._looked = time.monotonic()
        return self._keyed

    def owner(self, account_id: str) -> Account:
        """The account of a task that was taken in."""
        return Account(account_id, credits=self._options.credits, anonymous=not self.keyed())

    def usage(self, account: Account) -> Usage:
        """The usage of an account so far, what is not written down yet included."""
        with self._counting:  # or a flush could move pictures between the two looks
            counted = self._counted[_row(account)]
            with reachable(), self._database.connect() as connection:
                used = connection.scalar(select(_USAGE.c.images).where(_USAGE.c.account == _row(account)))
        return Usage(used=max(0, (used or 0) + counted), allowed=account.credits or None)

    def used(self) -> int:
        """The pictures that all accounts together have had made, what is not written down yet included."""
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
            MatteboxError: OUT_OF_CREDITS.
        """
        if not account.credits:
            return
        if self.usage(account).used + pictures > account.credits:
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
            MatteboxError: OUT_OF_CREDITS.
        """
        most = account.credits
        if pictures < 1:
            return max(0, most - self.usage(account).used) if most else None
        if most and pictures > most:  # the first row of an account is not asked for what it holds
            raise _no_credits()
        if not most and connection is None:
            self._count(account, pictures)
            return None
        with self._within(connection) as transaction:
            used = self._add(transaction, _row(account), pictures, most=most)
            if used is None:
                raise _no_credits()
        return most - used if most else None

    def refund(self, account: Account, pictures: int = 1, *, connection: Connection | None = None) -> None:
        """Take back what was reserved for pictures that could not be made; arguments as in `reserve`."""
        if not account.credits and connection is None:
            self._count(account, -pictures)
            return
        with self._within(connection) as transaction:
            self._take(transaction, _row(account), pictures)

    def _count(self, account: Account, pictures: int) -> None:
        with self._counting:
            self._counted[_row(account)] += pictures

    @staticmethod
    def _add(transaction: Connection, account: str, pictures: int, *, most: int) -> int | None:
        """Add pictures to those an account has used; their number, or None where it would be over `most`, if any."""
        more = (
            upsert(transaction, _USAGE)
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


def _row(account: Account) -> str:
    """The row that an account's pictures are counted in."""
    return _ANYBODY if account.anonymous else account.id


def _no_credits() -> MatteboxError:
    return MatteboxError(Kind.OUT_OF_CREDITS, "This key has no credits left.")

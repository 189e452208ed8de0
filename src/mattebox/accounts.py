"""Who may use the server, and how much each of them has used.

A key is known only by its hash once it has come in: the hash is what is compared, stored and logged.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, event, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from mattebox.errors import Kind, MatteboxError

_TABLES = MetaData()
_USAGE = Table(
    "usage", _TABLES, Column("account", String(64), primary_key=True), Column("images", Integer, nullable=False)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOptions:
    """What a key is worth."""

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
        folder: where usage is kept.
        options: what a key is worth.
    """

    def __init__(self, keys: tuple[str, ...], folder: Path, options: AccountOptions = AccountOptions()) -> None:
        self._known = frozenset(_digest(key) for key in keys)
        self._options = options
        folder.mkdir(parents=True, exist_ok=True)
        self._database = create_engine(f"sqlite:///{folder / 'mattebox.db'}")
        event.listen(self._database, "connect", _prepare)
        _TABLES.create_all(self._database)

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
        """What the account has used so far."""
        with self._database.connect() as connection:
            used = connection.scalar(select(_USAGE.c.images).where(_USAGE.c.account == account.id))
        return Usage(used=used or 0, allowed=self._options.credits or None)

    def check(self, account: Account) -> None:
        """Refuse an account that has nothing left, before anything is done for it. `reserve` is what decides.

        Raises:
            MatteboxError: OUT_OF_CREDITS.
        """
        usage = self.usage(account)
        if usage.allowed is not None and usage.used >= usage.allowed:
            raise _no_credits()

    def reserve(self, account: Account) -> None:
        """Count one picture, before it is made: of two requests for the last credit one is refused.

        Raises:
            MatteboxError: OUT_OF_CREDITS.
        """
        one_more = (
            insert(_USAGE)
            .values(account=account.id, images=1)
            .on_conflict_do_update(
                index_elements=[_USAGE.c.account],
                set_={"images": _USAGE.c.images + 1},
                where=_USAGE.c.images < self._options.credits if self._options.credits else None,
            )
        )
        with self._database.begin() as connection:
            if connection.execute(one_more).rowcount < 1:
                raise _no_credits()

    def refund(self, account: Account) -> None:
        """Take back what was reserved for a picture that could not be made."""
        with self._database.begin() as connection:
            connection.execute(
                update(_USAGE)
                .where(_USAGE.c.account == account.id, _USAGE.c.images > 0)
                .values(images=_USAGE.c.images - 1)
            )

    def close(self) -> None:
        """Give the database back."""
        self._database.dispose()


def _no_credits() -> MatteboxError:
    return MatteboxError(Kind.OUT_OF_CREDITS, "This key has no credits left.")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")  # readers and the writer do not wait for each other
    cursor.execute("PRAGMA busy_timeout=5000")
    cursor.close()

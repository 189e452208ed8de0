"""API keys that are kept in the database, beside those of the settings.

A key reads `mattebox_<id>_<secret>`: what it is, which row it belongs to, and 256 random bits. Only its SHA-256 is
kept. A slow, salted hash would add nothing: it protects passwords, of which an attacker can try the likely ones, and of
2**256 equally likely keys none can be found by trying.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import re
import secrets
import threading
from dataclasses import dataclass
from typing import Any, final

from cachetools import TTLCache
from sqlalchemy import (
    Column,
    Double,
    Engine,
    Index,
    Integer,
    Row,
    String,
    Table,
    insert,
    inspect,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from mattebox.errors import Kind, MatteboxError
from mattebox.server.store.database import TABLES, now, reachable

KEY_SECONDS = 5
"""How long a server believes what it has read of a key: so much later at most it knows that one was revoked."""
AWAY_SECONDS = 300
"""How long it does so while the database is away."""
_REMEMBERED = 10_000
_SHAPE = re.compile(r"mattebox_([0-9a-f]{16})_[0-9a-f]{64}")
_NAME = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,62}[^\s\x00-\x1f\x7f])?")

_KEYS = Table(
    "keys",
    TABLES,
    Column("id", String(24), primary_key=True),
    Column("hash", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("credits", Integer),
    Column("pictures", Integer),
    Column("rate", String(128)),
    Column("created", Double, nullable=False),
    Column("revoked", Double),
)
_IN_FORCE = _KEYS.c.revoked.is_(None)
Index("keys_name", _KEYS.c.name, unique=True, sqlite_where=_IN_FORCE, postgresql_where=_IN_FORCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """A key's own limits. What is None is as the settings have it for every key.

    Attributes:
        credits: pictures it may have made in all; 0 means any number.
        pictures: photos it may have in work and waiting; 0 means any number.
        rate: requests it may make, as in `100/minute`; empty means any number.
    """

    credits: int | None = None
    pictures: int | None = None
    rate: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key in the database. Times are seconds since 1970.

    Attributes:
        id: the part of the key that is not secret; its account has the same.
        name: whose it is, for people.
        limits: its own.
        created: when it was made.
        revoked: since when it is refused; None while it is in force.
    """

    id: str
    name: str
    limits: KeyLimits
    created: float
    revoked: float | None


@final
class Keys:
    """The keys in the database. Safe to use from several threads.

    Every method raises UNAVAILABLE where the database is away.

    Args:
        database: its tables are made by `database.create`.
    """

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._read: TTLCache[str, tuple[str, Key]] = TTLCache(_REMEMBERED, AWAY_SECONDS)
        self._fresh: TTLCache[str, bool] = TTLCache(_REMEMBERED, KEY_SECONDS)
        self._reading = threading.Lock()

    def create(self, name: str, limits: KeyLimits = KeyLimits()) -> tuple[str, Key]:
        """A new key, as its owner gets it, and what is kept of it. Its secret is not kept, so it is shown only once.

        Raises:
            MatteboxError: INVALID_PARAMETER where a value cannot be used; CONFLICT where a key in force has the name;
                UNAVAILABLE.
        """
        if not _NAME.fullmatch(name):
            raise MatteboxError(Kind.INVALID_PARAMETER, "A name has 1 to 64 printable characters.", parameter="name")
        for parameter, number in (("credits", limits.credits), ("pictures", limits.pictures)):
            if number is not None and not 0 <= number < 2**31:
                raise MatteboxError(Kind.INVALID_PARAMETER, f"{parameter} must be 0 or more.", parameter=parameter)
        key_id = secrets.token_hex(8)
        key = f"mattebox_{key_id}_{secrets.token_hex(32)}"
        row = {"id": key_id, "hash": digest(key), "name": name, "created": now(), **dataclasses.asdict(limits)}
        try:
            with reachable(), self._database.begin() as connection:
                made = connection.execute(insert(_KEYS).values(row).returning(*_KEYS.c)).one()
        except IntegrityError as error:
            raise MatteboxError(
                Kind.CONFLICT, "A key in force has this name; revoke it first.", parameter="name"
            ) from error
        return key, _key(made)

    def listing(self) -> list[Key]:
        """All keys, the oldest first, also those that are revoked."""
        with reachable(), self._database.connect() as connection:
            return [_key(row) for row in connection.execute(select(_KEYS).order_by(_KEYS.c.created, _KEYS.c.id))]

    def revoke(self, name_or_id: str) -> Key:
        """Refuse a key from now on; every server that shares the database does so after `KEY_SECONDS` at most.

        Raises:
            MatteboxError: NOT_FOUND where no key in force has this name or id.
        """
        meant = _IN_FORCE & or_(_KEYS.c.name == name_or_id, _KEYS.c.id == name_or_id)
        with reachable(), self._database.begin() as connection:
            row = connection.execute(update(_KEYS).where(meant).values(revoked=now()).returning(*_KEYS.c)).first()
        if row is None:
            raise MatteboxError(Kind.NOT_FOUND, "No key in force has this name or id.")
        return _key(row)

    def find(self, key: str, *, ask: bool = True) -> Key | None:
        """The key in force that this is, if it is one.

        Args:
            key: as its owner has it.
            ask: the database, where the key was not read in the last `KEY_SECONDS`.

        Raises:
            MatteboxError: UNAVAILABLE where the database is away and the key was not read in the last `AWAY_SECONDS`.
        """
        shape = _SHAPE.fullmatch(key)
        if shape is None:
            return None
        row = self._row(shape[1], ask=ask)
        if row is None:
            return None
        # The row is found by what is not secret, and the secret is compared in a time that does not depend on it.
        return row[1] if hmac.compare_digest(row[0], digest(key)) else None

    def exist(self) -> bool:
        """Whether there are any, or have been: a server whose last key was revoked must not open to everybody."""
        with reachable(), self._database.connect() as connection:
            made = inspect(connection).has_table(_KEYS.name)
            return made and connection.scalar(select(_KEYS.c.id).limit(1)) is not None

    def _row(self, key_id: str, *, ask: bool) -> tuple[str, Key] | None:
        with self._reading:
            row = self._read.get(key_id)
            if row is not None and key_id in self._fresh:
                return row
        if not ask:
            return None
        try:
            row = self._fetch(key_id)
        except MatteboxError as error:
            if row is None or error.kind is not Kind.UNAVAILABLE:
                raise
        else:
            with self._reading:
                if row is None:  # not remembered: a key can be used as soon as it was made
                    self._read.pop(key_id, None)
                    return None
                self._read[key_id] = row
        with self._reading:
            self._fresh[key_id] = True  # also while the database is away: not each request shall wait for it
        return row

    def _fetch(self, key_id: str) -> tuple[str, Key] | None:
        with reachable(), self._database.connect() as connection:
            row = connection.execute(select(_KEYS).where(_KEYS.c.id == key_id, _IN_FORCE)).one_or_none()
        return None if row is None else (row.hash, _key(row))


def may_be_kept(key: str) -> bool:
    """Whether it reads like a key of the database; no other needs to be looked for there."""
    return _SHAPE.fullmatch(key) is not None


def digest(key: str) -> str:
    """The hash by which a key is known."""
    return hashlib.sha256(key.encode()).hexdigest()


def _key(row: Row[Any]) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        limits=KeyLimits(credits=row.credits, pictures=row.pictures, rate=row.rate),
        created=row.created,
        revoked=row.revoked,
    )

"""Rate limits: how many requests each key may make in a minute, an hour or a day, in each dialect.

A window moves with the time, so what is said of it is exact: a request becomes possible when the oldest one in the
window is older than the window is long.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

from limits import RateLimitItem, parse_many
from limits.errors import StorageError
from limits.storage import MemoryStorage, MovingWindowSupport, Storage, storage_from_string
from limits.strategies import MovingWindowRateLimiter

from mattebox import extras
from mattebox.environment import option
from mattebox.errors import Kind, MatteboxError
from mattebox.server.store.accounts import Account

REDIS_SECONDS = 2
"""Patience with a Redis server that does not answer."""


def check_rate(text: str) -> None:
    """Whether this is a rate, as in `10/second; 5000/day`; empty means any number.

    Raises:
        ValueError: it is not.
    """
    try:
        items = _items(text)
    except ValueError as error:
        raise ValueError("a rate must be like 100/minute, or several with semicolons between them") from error
    if any(item.amount < 1 or item.multiples < 1 for item in items):
        raise ValueError("a rate allows at least one request")


def _items(text: str) -> list[RateLimitItem]:
    return parse_many(text) if text.strip() else []


@dataclass(frozen=True, slots=True, kw_only=True)
class RateOptions:
    """How many requests for pictures are taken of each key."""

    requests: str = option(
        "",
        "Requests for pictures that each key may make in each dialect, unless it has a limit of its own, as in "
        "`100/minute` or `10/second; 5000/day`. Each picture of a batch of tasks counts. Empty: any number.",
    )
    dialects: tuple[str, ...] = option(
        (), "Dialects with another limit, as in `native=500/minute`, separated by commas."
    )
    url: str = option(
        "",
        "A Redis server, as in `redis://host:6379/0`, where several servers count together. Empty: each counts in its "
        "memory.",
        repr=False,
    )

    def __post_init__(self) -> None:
        check_rate(self.requests)
        for each in self.dialects:
            name, _, rate = each.partition("=")
            if not name.strip() or not rate.strip():
                raise ValueError("dialects must be like native=500/minute")
            check_rate(rate)
        if self.url and self.url.partition("://")[0] not in ("redis", "rediss"):
            raise ValueError("url must be like redis://host:6379/0")


@dataclass(frozen=True, slots=True, kw_only=True)
class RateState:
    """Of the limit of a key that is nearest: its number of requests, how many are left, and when there is one more.

    `reset` is in seconds since 1970.
    """

    limit: int
    remaining: int
    reset: float


@final
class RateLimits:
    """The limits of all keys. Where it `waits` for Redis, call its methods in a thread.

    Raises:
        MatteboxError: UNAVAILABLE where a package is missing that Redis needs.
    """

    def __init__(self, options: RateOptions = RateOptions()) -> None:
        self._default = _items(options.requests)
        parts = (each.partition("=") for each in options.dialects)
        self._dialects = {name.strip(): _items(rate) for name, _, rate in parts}
        self._storage = _storage(options.url)
        self._windows = MovingWindowRateLimiter(self._storage)
        self.waits = bool(options.url)

    def check_storage(self) -> None:
        """Whether requests can be counted.

        Raises:
            MatteboxError: UNAVAILABLE where Redis is away.
        """
        if not self._storage.check():
            raise MatteboxError(Kind.UNAVAILABLE, "The server that counts requests cannot be reached.")

    def check(self, account: Account, dialect: str, requests: int = 1) -> None:
        """Refuse requests that `count` would refuse, and count none.

        Raises:
            MatteboxError: as `count`.
        """
        with _reachable():
            self._check(self._items_of(account, dialect), account, dialect, requests)

    def count(self, account: Account, dialect: str, requests: int = 1) -> RateState | None:
        """Count requests of a key, all of them or none; what is left after them, or None where there is no limit.

        Raises:
            MatteboxError: OVERLOADED where they are too many, with the seconds after which they are not;
                INVALID_PARAMETER where they always are; UNAVAILABLE where Redis is away.
        """
        items = self._items_of(account, dialect)
        if not items or requests < 1:
            return None
        with _reachable():
            # First a look at all, so that what one of them refuses does not count for the others.
            self._check(items, account, dialect, requests)
            for item in items:
                if not self._windows.hit(item, account.id, dialect, cost=requests):
                    raise self._refusal(item, account, dialect)
            return min((self._state(item, account, dialect) for item in items), key=lambda each: each.remaining)

    def _check(self, items: Sequence[RateLimitItem], account: Account, dialect: str, requests: int) -> None:
        for item in items:
            if requests > item.amount:
                raise MatteboxError(
                    Kind.INVALID_PARAMETER, f"This key may make {_words(item)}, so {requests} at once are too many."
                )
            if not self._windows.test(item, account.id, dialect, cost=requests):
                raise self._refusal(item, account, dialect)

    def _items_of(self, account: Account, dialect: str) -> list[RateLimitItem]:
        if account.anonymous:
            return []
        if account.rate is not None:
            return _items(account.rate)
        return self._dialects.get(dialect, self._default)

    def _state(self, item: RateLimitItem, account: Account, dialect: str) -> RateState:
        found = self._windows.get_window_stats(item, account.id, dialect)
        return RateState(limit=item.amount, remaining=max(0, found.remaining), reset=found.reset_time)

    def _refusal(self, item: RateLimitItem, account: Account, dialect: str) -> RateLimitedError:
        state = self._state(item, account, dialect)
        return RateLimitedError(f"This key may make {_words(item)}.", state)


class RateLimitedError(MatteboxError):
    """A request over a limit, and the limit's state."""

    def __init__(self, message: str, state: RateState) -> None:
        super().__init__(Kind.OVERLOADED, message, retry_after=max(1, math.ceil(state.reset - time.time())))
        self.state = state

    def __reduce__(self) -> tuple[type[RateLimitedError], tuple[str, RateState]]:
        return RateLimitedError, (self.message, self.state)


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise MatteboxError(
            Kind.UNAVAILABLE, "The server that counts requests cannot be reached.", retry_after=2
        ) from error


def _words(item: RateLimitItem) -> str:
    per = item.GRANULARITY.name if item.multiples == 1 else f"{item.multiples} {item.GRANULARITY.name}s"
    return f"{item.amount} {'request' if item.amount == 1 else 'requests'} per {per}"


def _storage(url: str) -> Storage:
    if not url:
        return MemoryStorage()
    with extras.needs("redis", "Counting requests in Redis"):
        import redis  # noqa: F401 - the storage imports it by name
    found = storage_from_string(
        url, wrap_exceptions=True, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
    )
    if not isinstance(found, Storage) or not isinstance(found, MovingWindowSupport):
        raise TypeError(f"{type(found)} has no moving windows")
    return found

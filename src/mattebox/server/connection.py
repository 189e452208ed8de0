"""Connections that are given up: those of clients that do not finish a request, or do not read its response."""

from __future__ import annotations

import asyncio
from typing import ClassVar, TypeAlias, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_State: TypeAlias = tuple[object, int, int]


class Connection(H11Protocol):
    """A connection as uvicorn has it, which ends where nothing moves on it although the client would have to.

    uvicorn alone waits for ever for the rest of a request's head, and for a client to take what was sent to it: each
    such client would keep a place, and its picture in memory, for as long as it likes. How long a request's body may
    take is `RequestGuard`'s, which can still answer.
    """

    idle: ClassVar[float] = 60.0
    """Seconds without any progress; a connection ends after at most twice as many."""

    _resumed = 0
    _next_look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to look at it now and then."""
        super().connection_made(cast("asyncio.Transport", transport))  # that of a stream, as asyncio says
        self._look_later(self._state())

    def connection_lost(self, exc: Exception | None) -> None:
        """Look at it no more."""
        if self._next_look is not None:
            self._next_look.cancel()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """The client has taken most of what waited for it."""
        self._resumed += 1
        super().resume_writing()

    def _state(self) -> _State:
        return self.cycle, self._resumed, self.transport.get_write_buffer_size()

    def _look_later(self, state: _State) -> None:
        self._next_look = self.loop.call_later(self.idle, self._look, state)

    def _look(self, before: _State) -> None:
        state = self._state()
        if state == before and (state[-1] or self._waits_for_head()):
            self.transport.abort()  # to close it would mean to wait until the client has taken everything
        else:
            self._look_later(state)

    def _waits_for_head(self) -> bool:
        # Between two requests uvicorn has a time-out of its own.
        return self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None

"""Connections and their ends: of clients that do not go on, and of a server that is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import ClassVar, TypeAlias, cast, final

import anyio
import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

_log = logging.getLogger(__name__)

_State: TypeAlias = tuple[object, int, int]


@final
class Server(uvicorn.Server):
    """A server that ends without breaking off a request, also one that is still on its way.

    uvicorn alone closes each connection that waits for its next request at once, and says so in no response. A proxy
    that has just sent a request there cannot know whether it was read, so it answers 502. Here the responses of a
    server that ends say that their connection does, and what waits is closed a moment later.

    Args:
        config: with `Connection` as its protocol.
        drain: seconds that connections are still taken once it was told to stop.
        ready: called once requests are answered.
    """

    def __init__(self, config: uvicorn.Config, *, drain: float = 0.0, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain = drain
        self._ready = ready
        self._renew = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        # Answers that would go on for long, such as streams of events, find it in the state of their request. An
        # application that wants to know without a request brings its own.
        self.ending: anyio.Event = self.lifespan.state.setdefault("ending", anyio.Event())
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen no more, and finish what was begun."""
        self.ending.set()
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        until = time.monotonic() + self._drain
        while time.monotonic() < until and not self.force_exit:
            await asyncio.sleep(0.1)
        for _ in range(2):  # take the connections that the system has made already
            await asyncio.sleep(0)
        with contextlib.suppress(NotImplementedError):  # Windows takes connections in another way
            for each in sockets or []:
                asyncio.get_running_loop().remove_reader(each)
        for _ in range(2):  # asyncio drops a connection that it has taken and not set up yet when it closes the socket
            await asyncio.sleep(0)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End at a first signal; at a Ctrl-C after it, leave everything as it is.

        uvicorn would break the application's own end off in the middle, and log where.
        """
        if self.should_exit and sig == signal.SIGINT:
            os.write(2, b"Interrupted again: the server ends at once.\n")  # what print() would do may be under way
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        super().handle_exit(sig, frame)

    def renew_on_hangup(self) -> None:
        """Read the certificate again at each SIGHUP; call it in the main thread.

        In a terminal, the signal ends the server as before: it says that the terminal is closed.
        """
        if sys.platform != "win32" and not os.isatty(0):
            signal.signal(signal.SIGHUP, self._hang_up)

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        self._renew = True

    async def on_tick(self, counter: int) -> bool:
        """Called every tenth of a second; whether the server is to end."""
        if self._renew:
            self._renew = False
            self._read_certificate()
        return await super().on_tick(counter)

    def _read_certificate(self) -> None:
        certificate, key = self.config.ssl_certfile, self.config.ssl_keyfile
        if self.config.ssl is None or certificate is None:
            return
        try:
            # First elsewhere: a key that does not fit would leave the certificate without one.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
            self.config.ssl.load_cert_chain(certificate, key)
        except OSError as error:  # ssl's own errors are among them
            _log.error("the certificate stays the one before, because the new one cannot be read: %s", error)
        else:
            _log.info("the certificate was read again")


class Connection(H11Protocol):
    """A connection as uvicorn has it, which ends where nothing moves on it although the client would have to.

    uvicorn alone waits for ever for the rest of a request's head, and for a client to take what was sent to it: each
    such client would keep a place, and its picture in memory, for as long as it likes. How long a request's body may
    take is `RequestGuard`'s, which can still answer.
    """

    idle: ClassVar[float] = 60.0
    """Seconds without any progress; a connection ends after at most twice as many."""
    last_request: ClassVar[int] = 1
    """Seconds that a connection without a request is kept when the server ends, for one that is on its way."""

    _resumed = 0
    _next_look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to look at it now and then."""
        super().connection_made(cast("asyncio.Transport", transport))  # that of a stream, as asyncio says
        self._look_later(self._state())
        ending: anyio.Event | None = self.app_state.get("ending")
        if ending is not None and ending.is_set():  # taken from the system's queue after all others were told
            self.shutdown()

    def shutdown(self) -> None:
        """End with the next response that can say so or, where nobody asks for one, in a moment."""
        self.timeout_keep_alive = self.last_request
        if self.conn.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY):
            self.cycle.default_headers = self.server_state.default_headers
        else:
            self.loop.call_later(self.last_request, self._end)

    def _end(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

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

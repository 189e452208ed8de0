"""An HTTP exchange with a generator's server that can be given up at any moment.

The server's address is the operator's own setting. So, unlike addresses that requests name, it may lie in a private
network; its answer is bounded in time and bytes all the same, and redirects are not followed. Proxies that the
environment names are not used.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeAlias, final
from urllib.parse import urlsplit

from mattebox import extras
from mattebox.cancellation import Checkpoint
from mattebox.errors import Kind, MatteboxError

_CONNECT_SECONDS = 5.0
_RETRY_SECONDS = 0.5
"""The pause before a refused connection is tried a second time, and last: a server that restarts is back by then."""
_LOOK_SECONDS = 0.1
"""How often a waiting caller checks whether it should stop."""

Json: TypeAlias = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form: fields, and PNG files."""

    fields: Mapping[str, str]
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer; `retry_after` in seconds."""

    status: int
    body: bytes
    retry_after: float | None


@final
class Connection:
    """One server. Safe to use from several threads.

    Args:
        url: its address, http or https, without a slash at its end.
        key: sent as a bearer token; None sends none.
        timeout: seconds, only checked here: `post` says until when it waits.
        max_bytes: the most bytes that an answer may have.

    Raises:
        ValueError: a setting that cannot be right.
    """

    def __init__(self, url: str, *, key: str | None, timeout: float, max_bytes: int) -> None:
        with extras.needs("remote", "A generator's server"):
            import httpx2
            import pybase64  # noqa: F401 - said now, and not when the first picture comes

        parts = urlsplit(url)
        try:  # or it would be refused only at the first picture
            httpx2.URL(url)
            (parts.hostname or "").encode("idna")
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise ValueError("a generator's address has an invalid host or port") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("a generator's address must be http(s)://host, with an optional port and path")
        if parts.username is not None or parts.password is not None:
            raise ValueError("a generator's address must not contain a user name or password; use the key instead")
        if key is not None and not (key.isascii() and key.isprintable() and key):
            raise ValueError("a generator's key must consist of printable ASCII characters")
        if not 0 < timeout < math.inf or max_bytes < 1:
            raise ValueError("timeout must be a number above 0 and max_bytes at least 1")
        self._url = url
        self._headers = {"User-Agent": "mattebox", "Accept": "application/json", "Accept-Encoding": "identity"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._max_bytes = max_bytes

    def post(self, path: str, body: Form | Json, *, until: float, checkpoint: Checkpoint) -> Answer:
        """The server's answer, whatever its status.

        Args:
            path: after the server's address.
            body: a form, or an object that is sent as JSON.
            until: when to give up, as of `time.monotonic`.
            checkpoint: called every tenth of a second; where it raises, the request is given up.

        Raises:
            MatteboxError: UNAVAILABLE or TIMED_OUT.
        """
        import httpx2

        try:
            try:
                return self._attempt(path, body, until=until, checkpoint=checkpoint)
            except httpx2.ConnectError:
                # Nothing was sent, so nothing can be painted twice.
                _pause(_RETRY_SECONDS, checkpoint)
                return self._attempt(path, body, until=until, checkpoint=checkpoint)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise MatteboxError(Kind.UNAVAILABLE, "The generator cannot be reached.") from error
        except httpx2.TimeoutException as error:
            raise _too_slow() from error
        except httpx2.HTTPError as error:
            raise MatteboxError(
                Kind.UNAVAILABLE, "The generator closed the connection in the middle of its answer."
            ) from error

    def _attempt(self, path: str, body: Form | Json, *, until: float, checkpoint: Checkpoint) -> Answer:
        """One exchange, on a thread of its own: a blocked read cannot be interrupted, but its socket can be shut."""
        line = _Line()
        pool = ThreadPoolExecutor(1, thread_name_prefix="generator")
        try:
            exchange = pool.submit(self._exchange, path, body, seconds=max(until - time.monotonic(), 0.001), line=line)
            while not wait([exchange], timeout=_LOOK_SECONDS).done:
                checkpoint()
                if time.monotonic() > until:  # a server that drips never runs into the time-out of a read
                    raise _too_slow()
            return exchange.result()
        finally:
            line.hang_up()
            pool.shutdown(wait=False)

    def _exchange(self, path: str, body: Form | Json, *, seconds: float, line: _Line) -> Answer:
        import httpx2

        timeout = httpx2.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
        form = body if isinstance(body, Form) else None
        with (
            httpx2.Client(timeout=timeout, follow_redirects=False, trust_env=False, headers=self._headers) as client,
            client.stream(
                "POST",
                self._url + path,
                data=None if form is None else form.fields,
                files=None
                if form is None
                else {name: (f"{name}.png", png, "image/png") for name, png in form.files.items()},
                json=body if form is None else None,
                extensions={"trace": line.trace},
            ) as response,
        ):
            whole = bytearray()
            for piece in response.iter_raw():
                whole += piece
                if len(whole) > self._max_bytes:
                    raise MatteboxError(
                        Kind.UNAVAILABLE, f"The generator's answer is larger than {self._max_bytes:,} bytes."
                    )
            return Answer(response.status_code, bytes(whole), _seconds(response.headers.get("retry-after")))


@final
class _Line:
    """The connection of one exchange, so that another thread can cut it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._cut = False

    def trace(self, event: str, info: Mapping[str, object]) -> None:
        """Called by the client at each of its steps."""
        if event not in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            return
        stream = info.get("return_value")
        import httpcore2

        if isinstance(stream, httpcore2.NetworkStream):
            opened = stream.get_extra_info("socket")
            if isinstance(opened, socket.socket):
                with self._lock:
                    self._sockets.append(opened)
                    late = self._cut
                if late:
                    _shut(opened)

    def hang_up(self) -> None:
        """End the exchange, now and if it only connects later. What is closed already stays so."""
        with self._lock:
            self._cut = True
            opened = list(self._sockets)
        for each in opened:
            _shut(each)


def _shut(opened: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        opened.shutdown(socket.SHUT_RDWR)


def _pause(seconds: float, checkpoint: Checkpoint) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        checkpoint()
        time.sleep(min(left, _LOOK_SECONDS))


def _too_slow() -> MatteboxError:
    return MatteboxError(Kind.TIMED_OUT, "The generator took too long.")


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() and len(text) < 6 else None

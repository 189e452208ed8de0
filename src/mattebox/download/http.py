"""Streaming a file from an address to the disk, continued where it broke off."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from mattebox.download.registries import SourceError

if TYPE_CHECKING:
    import urllib3

_BLOCK = 1 << 20
_ATTEMPTS = 3
_MOST_REDIRECTS = 5
# A machine that cannot reach an address should learn so within seconds: there are other sources to try.
_REACH_SECONDS = 2.0
_CONNECT_SECONDS = 4.0
_UNREACHABLE_SECONDS = 60.0
_unreachable: dict[tuple[str, int], float] = {}
"""Hosts and ports that could not be reached, and when: the next file does not wait for them again."""
_READ_SECONDS = 30.0


def fetch(url: str, part: Path, *, total: int, report: Callable[[int], None]) -> None:
    """Stream the address into `part`, continuing what is there, again after a broken connection.

    Args:
        url: http or https. From https it never leads to anything else.
        part: the file to append to; made where it is missing.
        total: bytes that the whole file has.
        report: called with the bytes that are there; what it raises ends the download.

    Raises:
        SourceError: the address cannot be reached within 2 s, refuses, or sends something else.
    """
    import urllib3

    if _size(part) != total:
        _reach(url)
    for attempt in range(1, _ATTEMPTS + 1):
        before = _size(part)
        if before == total:
            return
        try:
            with _open(url, begin=before) as response:
                _write(response, part, total, report)
        except urllib3.exceptions.HTTPError as error:
            # Only a connection that gave something is worth another try; an unreachable one is not.
            if attempt == _ATTEMPTS or _size(part) <= before:
                raise SourceError(f"the official address failed: {type(error).__name__} {error}") from error
        else:
            return


def _reach(url: str) -> None:
    """Find out within seconds whether the host of an address, or the proxy to it, can be connected to.

    urllib3's time-out is one for each of a host's addresses, and does not count the look-up of its name, which takes
    longest where there is no network. Here it is one for all, and a host that failed is not tried again for a minute.

    Raises:
        SourceError: it cannot.
    """
    parts = urlsplit(_proxy(url) or url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    failed = _unreachable.get((host, port))
    if failed is not None and time.monotonic() - failed < _UNREACHABLE_SECONDS:
        raise SourceError("the official address could not be reached a moment ago")
    outcome: list[OSError | None] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), _REACH_SECONDS / 2).close()
        except OSError as error:
            outcome.append(error)
        else:
            outcome.append(None)

    # a thread, because nothing ends the look-up of a name
    attempt = threading.Thread(target=connect, name="reach", daemon=True)
    attempt.start()
    attempt.join(_REACH_SECONDS)
    error = outcome[0] if outcome else TimeoutError("timed out")
    if error is not None:
        _unreachable[host, port] = time.monotonic()
        raise SourceError(f"the official address cannot be reached: {error}") from error
    _unreachable.pop((host, port), None)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _open(url: str, *, begin: int) -> urllib3.BaseHTTPResponse:
    """The response with the file's bytes from `begin` on, or all of them, after its redirects."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={begin}-"} if begin else {})
    for _ in range(_MOST_REDIRECTS + 1):
        response = _manager(url).request("GET", url, headers=headers, redirect=False, preload_content=False)
        location = response.get_redirect_location()
        if not location:
            return response
        response.close()
        target = urljoin(url, location)
        if url.startswith("https:") and not target.startswith("https:"):
            raise SourceError("the address leads away from https")
        url = target
    raise SourceError("the official address redirects too often")


def _manager(url: str) -> urllib3.PoolManager:
    """A client that trusts what the system trusts, and goes through the proxy that the environment names."""
    import truststore
    import urllib3

    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
    proxy = _proxy(url)
    if proxy is None:
        return urllib3.PoolManager(ssl_context=context, timeout=timeout, retries=False)
    account = urlsplit(proxy).netloc.rpartition("@")[0]
    headers = urllib3.make_headers(proxy_basic_auth=unquote(account)) if account else None
    return urllib3.ProxyManager(
        proxy, proxy_headers=headers, proxy_ssl_context=context, ssl_context=context, timeout=timeout, retries=False
    )


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for an address; None where it is to be reached directly."""
    parts, proxies = urlsplit(url), urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _write(response: urllib3.BaseHTTPResponse, part: Path, total: int, report: Callable[[int], None]) -> None:
    import urllib3

    done = _size(part)
    continued = response.status == 206 and response.headers.get("content-range", "").startswith(f"bytes {done}-")
    if done and not continued:
        part.unlink()  # the server cannot continue: begin anew rather than mix two answers
        done = 0
        if response.status in {206, 416}:
            raise SourceError("the official address could not continue the download; it begins anew next time")
    if response.status not in {200, 206}:
        raise urllib3.exceptions.HTTPError(f"status {response.status}")
    with part.open("ab") as file:
        while block := response.read1(_BLOCK):  # as it comes: what was gathered for a block is lost on a break
            done += len(block)
            if done > total:
                file.truncate(0)
                raise SourceError("the official address sends more bytes than the file has")
            file.write(block)
            report(done)

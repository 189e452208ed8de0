"""The target of a request: which path it asks for, and by which name, as its client or a trusted proxy wrote them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Final, TypeAlias
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Scope

from mattebox.errors import Kind, MatteboxError

Networks: TypeAlias = Sequence[IPv4Network | IPv6Network]

_ABSOLUTE: Final = re.compile(r"https?://(?:[^/@]*@)?([^/@]*)(/.*)?", re.IGNORECASE)
_HOST: Final = re.compile(r"(?:[\w.~-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.ASCII | re.IGNORECASE)
_PREFIX: Final = re.compile(r"((?:/[\w.~-]+)*)/?", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def normalize(scope: Scope) -> None:
    """Bring the target into the one form that routes know: a path without doubled slashes, and the name in `Host`.

    Clients that take the server for a proxy write the whole address (RFC 9112, 3.2.2); its host replaces `Host`. People
    end base addresses with a slash, and clients put another one behind it, or one behind the whole.

    Raises:
        MatteboxError: INVALID_REQUEST where the target is no path, and `path` is `/` then; NOT_FOUND where the path has
            control characters, which neither files nor databases take.
    """
    path: str = scope["path"]
    scope["path"] = "/"
    if not path.startswith("/"):
        absolute = _ABSOLUTE.fullmatch(scope.get("raw_path", b"").decode("latin-1"))
        if absolute is None or not _HOST.fullmatch(absolute[1]):
            raise MatteboxError(Kind.INVALID_REQUEST, "The target of the request must be a path, such as /health.")
        path = unquote(absolute[2] or "/")
        MutableHeaders(scope=scope)["host"] = absolute[1]
    scope["path"] = re.sub("/{2,}", "/", path).rstrip("/") or "/"
    if _CONTROL.search(path):
        raise MatteboxError(Kind.NOT_FOUND, "There is nothing at this address.")
    if b"%00" in scope["query_string"]:
        raise MatteboxError(Kind.INVALID_REQUEST, "The query must not have a null character in it.")


def forward(scope: Scope, proxies: Networks) -> bool:
    """Take over what a proxy says about the request as it came to it; whether one of `proxies` sent it.

    Of several values the last counts, which is the one that the proxy itself wrote.

    Raises:
        MatteboxError: INVALID_REQUEST where it says what cannot be.
    """
    client = scope.get("client")
    if not proxies or not client or not _is_among(str(client[0]), proxies):
        return False
    headers = Headers(scope=scope)
    if protocol := _last(headers, "X-Forwarded-Proto"):
        if protocol.lower() not in ("http", "https"):
            raise _wrong("X-Forwarded-Proto")
        scope["scheme"] = protocol.lower()
    if host := _last(headers, "X-Forwarded-Host"):
        if not _HOST.fullmatch(host):
            raise _wrong("X-Forwarded-Host")
        MutableHeaders(scope=scope)["host"] = host
    if prefix := _last(headers, "X-Forwarded-Prefix"):
        match = _PREFIX.fullmatch(prefix)
        if match is None:
            raise _wrong("X-Forwarded-Prefix")
        scope["root_path"] = match[1] + scope.get("root_path", "")
        scope["path"] = match[1] + scope["path"]  # which begins with the root path, as ASGI has it
    return True


def _is_among(client: str, proxies: Networks) -> bool:
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:  # a local socket has no address
        return False
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return any(address in network for network in proxies)


def _last(headers: Headers, name: str) -> str:
    return ",".join(headers.getlist(name)).rpartition(",")[2].strip()


def _wrong(header: str) -> MatteboxError:
    return MatteboxError(Kind.INVALID_REQUEST, f"{header} has a wrong value.")

"""Download from addresses that strangers gave, and webhooks to them: bounded in bytes and time, only where one may.

A server that fetches what it is told to can be turned against its own network. So the name is resolved here, every
address it stands for is checked, and the connection goes to the very address that was checked: a name that resolves
differently a moment later gains nothing. Each redirect is a new address and is checked the same way.
"""

from __future__ import annotations

import ipaddress
import math
import re
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, TypeAlias, final
from urllib.parse import urljoin

import anyio

from mattebox.environment import option
from mattebox.errors import Kind, MatteboxError
from mattebox.server.inflate import ENCODINGS, Inflater

if TYPE_CHECKING:
    import httpcore2
    import httpx2

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

WEB_PORTS = (80, 443)
CONNECT_SECONDS = 5.0
"""Patience with one of a name's addresses before the next is tried."""

GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
"""All that is handed out for the public internet. Site-local, IPv4-compatible and local NAT64 lie outside of it."""
NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""The well-known prefix (RFC 6052): the last 32 bits are the IPv4 address that a packet ends at."""
_WANTED = {
    "Accept": "image/*,*/*;q=0.5",
    # A picture is packed already; a packed body is a way to send a bomb.
    "Accept-Encoding": "identity",
}
NOT_PUBLIC = tuple(
    ipaddress.ip_network(block)
    for block in (
        # `is_global` of older Pythons calls some of these global.
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "2001::/32",  # Teredo: a tunnel to an IPv4 address
        "2002::/16",  # 6to4: the same
        "3fff::/20",  # documentation
    )
)

METADATA = tuple(
    ipaddress.ip_network(block)
    for block in (
        "169.254.0.0/16",  # link-local: nearly every cloud
        "fe80::/10",  # the same
        "fd00:ec2::/32",  # Amazon
        "fd20:ce::/32",  # Google
        "100.100.100.200/32",  # Alibaba
        "192.0.0.192/32",  # Oracle
        "168.63.129.16/32",  # Azure's, which is a public address by its number
    )
)
"""Addresses at which clouds give a machine its credentials. Never fetched from, unless `allow_networks` names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """How pictures are fetched from the addresses that requests name."""

    timeout: float = option(20.0, "Seconds that one whole download may take.")
    max_redirects: int = option(3, "How many redirects are followed.")
    origins: tuple[str, ...] = option(
        (),
        "The only hosts that pictures may be fetched from and webhooks sent to, such as `cdn.example.org` or "
        "`*.amazonaws.com`; separated by commas. Empty: any public one.",
    )
    allow_private: bool = option(
        False,
        "Fetch from private and loopback addresses too, at any port. Where clouds keep their credentials (link-local "
        "addresses and a few others) stays refused.",
    )
    allow_networks: tuple[str, ...] = option(
        (),
        "Networks, such as 10.1.0.0/16, that may be fetched from whatever they are, at any port; separated by commas.",
    )

    def __post_init__(self) -> None:
        if not 0 < self.timeout < math.inf:
            raise ValueError("timeout must be a number above 0")
        if self.max_redirects < 0:
            raise ValueError("max_redirects must be at least 0")
        for network in self.allow_networks:
            ipaddress.ip_network(network)

    def names(self, host: str) -> bool:
        """Whether `host` is one that may be fetched from and sent to, by its name."""
        return not self.origins or any(fnmatchcase(host.lower(), origin.lower()) for origin in self.origins)


Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Looks up the addresses of a host for a port, the first to be tried first; raises OSError where there are none."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """The system's resolver: addresses in the order in which they should be tried."""
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError("not a host name") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@final
class Guard:
    """Says which addresses may be connected to."""

    def __init__(self, options: FetchOptions) -> None:
        self._allow_private = options.allow_private
        self._networks = [ipaddress.ip_network(network) for network in options.allow_networks]

    def permits(self, address: Address, port: int) -> bool:
        """Whether `address` may be connected to at `port`."""
        address = _final(address)
        if any(address in network for network in self._networks):
            return True
        if any(address in network for network in METADATA):
            return False
        if self._allow_private and _is_private(address):
            return True
        return port in WEB_PORTS and is_public(address)


def is_public(address: Address) -> bool:
    """Whether `address` is one of the public internet, after taking off what wraps an IPv4 address."""
    address = _final(address)
    return (
        address.is_global
        and not address.is_multicast
        and (address.version == 4 or address in GLOBAL_IPV6)
        and not any(address in network for network in NOT_PUBLIC)
    )


def _is_private(address: Address) -> bool:
    # Shared address space (RFC 6598) is neither private nor global to Python; many private networks live in it.
    shared = address in ipaddress.ip_network("100.64.0.0/10")
    usable = not (address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved)
    return shared or address.is_loopback or (address.is_private and usable)


def _final(address: Address) -> Address:
    """The end point of a packet to `address`: the IPv4 address inside a mapped or translated one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


@final
class Fetcher:
    """Fetches pictures. One serves a whole process; close it with `aclose`."""

    def __init__(self, options: FetchOptions | None = None, *, resolver: Resolver = resolve) -> None:
        self._options = options or FetchOptions()
        self._pool = _make_pool(Guard(self._options), resolver)

    async def fetch(self, url: str, *, max_bytes: int) -> bytes:
        """The body at `url`, an http or https address.

        Args:
            url: where the picture is. User names and passwords in it are refused.
            max_bytes: the most bytes that the body may have, unpacked.

        Raises:
            MatteboxError: INVALID_PARAMETER where `url` is malformed, TOO_MANY_BYTES where the body is larger,
                UNREACHABLE_SOURCE where it could not be fetched in time, or may not be.
        """
        target = check_url(url)
        late = "The picture's address did not deliver in time."
        with _explained("The picture's address", refused="is not one that may be fetched from", late=late):
            with anyio.fail_after(self._options.timeout):
                return await self._follow(target, max_bytes)

    async def post(self, url: str, body: bytes, *, headers: Mapping[str, str], timeout: float) -> None:
        """Send a webhook. It goes only where pictures may be fetched from, and follows no redirect.

        Args:
            url: an http or https address without a user name and a password.
            body: what is sent.
            headers: sent with it, `Content-Type` among them; ASCII.
            timeout: seconds until the receiver must have answered.

        Raises:
            MatteboxError: INVALID_PARAMETER where `url` is malformed; UNREACHABLE_SOURCE where the receiver did
                not answer with a status of 2xx in time, or may not be sent to.
        """
        target = check_url(url, what="webhook's")
        if not self._options.names(target.host):
            raise _unreachable("Webhooks may not be sent to this host.")
        late = f"The webhook was not answered within {timeout:g} seconds."
        with _explained("The webhook's address", refused="is not one that may be sent to", late=late):
            with anyio.fail_after(timeout):
                async with self._ask("POST", target, headers, body) as response:
                    status = response.status  # the rest of the answer is nothing to us
        if not 200 <= status < 300:
            raise _unreachable(f"The webhook was answered with status {status}.")

    async def aclose(self) -> None:
        """Close what is open."""
        await self._pool.aclose()

    async def _follow(self, target: httpx2.URL, max_bytes: int) -> bytes:
        for _ in range(self._options.max_redirects + 1):
            if not self._options.names(target.host):
                raise _unreachable("Pictures may not be fetched from this host.")
            async with self._ask("GET", target, _WANTED) as response:
                location = _header(response, b"location")
                if response.status not in {301, 302, 303, 307, 308} or location is None:
                    return await _read(response, max_bytes)
            try:
                target = check_url(urljoin(str(target), location))
            except (MatteboxError, ValueError) as error:
                raise _unreachable("The picture's address redirects to something that is not a web address.") from error
        raise _unreachable(f"The picture's address redirects more than {self._options.max_redirects} times.")

    @asynccontextmanager
    async def _ask(
        self, method: str, target: httpx2.URL, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[httpcore2.Response]:
        import httpcore2

        address = httpcore2.URL(
            scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path
        )
        sent = [(b"Host", target.netloc), (b"User-Agent", b"mattebox")]
        sent += [(name.encode(), value.encode()) for name, value in headers.items()]
        if body is not None:
            sent.append((b"Content-Length", str(len(body)).encode()))
        async with self._pool.stream(method, address, headers=sent, content=body) as response:
            yield response


class _RefusedError(Exception):
    """A name stands for an address that may not be connected to."""


@contextmanager
def _explained(whose: str, *, refused: str, late: str) -> Iterator[None]:
    """Say in a sentence why an address could not be reached."""
    import httpcore2

    try:
        yield
    except _RefusedError as error:
        raise _unreachable(f"{whose} {refused}.") from error
    except TimeoutError as error:
        raise _unreachable(late) from error
    except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError, OSError) as error:
        raise _unreachable(f"{whose} could not be reached.") from error


@cache
def _trusted() -> ssl.SSLContext:
    """The authorities that the system trusts. Reading its authorities takes 35 ms, so one process does it once."""
    import httpx2

    return httpx2.create_ssl_context(trust_env=False)


def _make_pool(guard: Guard, resolver: Resolver) -> httpcore2.AsyncConnectionPool:
    import httpcore2

    # The class is made here because its base comes from a package that takes long to import.
    class Backend(httpcore2.AsyncNetworkBackend):
        """Connects to checked addresses only. The name stays in the Host header and in the TLS handshake."""

        def __init__(self) -> None:
            self._inner = httpcore2.AnyIOBackend()

        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
        ) -> httpcore2.AsyncNetworkStream:
            addresses = [ipaddress.ip_address(address) for address in await resolver(host, port)]
            # One bad address refuses them all: which one a client picks must not be left to chance.
            if not all(guard.permits(address, port) for address in addresses):
                raise _RefusedError
            for last, address in enumerate(addresses, start=1 - len(addresses)):
                try:
                    return await self._inner.connect_tcp(
                        str(address), port, timeout or CONNECT_SECONDS, local_address, socket_options
                    )
                except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                    if last == 0:
                        raise
            raise httpcore2.ConnectError("the name has no address")

        async def sleep(self, seconds: float) -> None:
            await self._inner.sleep(seconds)

    return httpcore2.AsyncConnectionPool(
        ssl_context=_trusted(),
        # How many downloads may run is decided by who calls; here a few slow hosts must not hold up the rest.
        max_connections=None,
        # Nothing is kept open, so that every download is resolved and checked afresh.
        max_keepalive_connections=0,
        network_backend=Backend(),
    )


def check_url(url: str, *, what: str = "picture's") -> httpx2.URL:
    """The address, if it can be that of something on the web: http or https, absolute, without credentials.

    Raises:
        MatteboxError: INVALID_PARAMETER; `what` says whose address it should be.
    """
    import httpx2

    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise MatteboxError(Kind.INVALID_PARAMETER, f"The {what} address is not a valid URL.") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise MatteboxError(Kind.INVALID_PARAMETER, f"The {what} address must start with http:// or https://.")
    if parsed.userinfo:
        raise MatteboxError(Kind.INVALID_PARAMETER, f"The {what} address must not contain a user name or a password.")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise MatteboxError(Kind.INVALID_PARAMETER, f"The {what} address has a port that does not exist.")
    return parsed


async def _read(response: httpcore2.Response, max_bytes: int) -> bytes:
    """The body, unpacked, never more than `max_bytes` of it in memory."""
    if not 200 <= response.status < 300:
        raise _unreachable(f"The picture's address answered with status {response.status}.")
    packing = (_header(response, b"content-encoding") or "identity").strip().lower()
    if packing not in {"identity", *ENCODINGS}:
        raise _unreachable("The picture's address answered with a content encoding that was not asked for.")
    announced = _header(response, b"content-length") or ""
    if re.fullmatch(r"\d+", announced) and int(announced) > max_bytes:
        raise _too_large(max_bytes)

    inflater = None if packing == "identity" else Inflater(packing)
    body = bytearray()
    try:
        async for chunk in response.aiter_stream():
            for piece in (chunk,) if inflater is None else inflater.feed(chunk):
                body += piece
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
        if inflater is not None:
            inflater.finish()
    except zlib.error as error:
        raise _unreachable("The picture's address sent damaged data.") from error
    return bytes(body)


def _header(response: httpcore2.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)


def _unreachable(message: str) -> MatteboxError:
    return MatteboxError(Kind.UNREACHABLE_SOURCE, message)


def _too_large(max_bytes: int) -> MatteboxError:
    return MatteboxError(
        Kind.TOO_MANY_BYTES, f"The picture at this address is larger than the limit of {max_bytes} bytes."
    )

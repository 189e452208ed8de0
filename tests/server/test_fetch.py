from __future__ import annotations

import gzip
import ipaddress
import math
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mattebox.errors import Kind, MatteboxError
from mattebox.server.fetch import Fetcher, FetchOptions, Guard, Resolver, check_url, is_public, resolve

BODY = bytes(range(256)) * 40
LOCAL = FetchOptions(allow_networks=("127.0.0.0/8",), timeout=5.0)

REPLIES: dict[str, tuple[int, bytes, str | None]] = {
    "picture": (200, BODY, None),
    "nowhere": (302, b"", None),
    "gzip": (200, gzip.compress(BODY), "gzip"),
    "bomb": (200, gzip.compress(bytes(200_000_000), 1), "gzip"),
    "halfzip": (200, gzip.compress(BODY)[:-20], "gzip"),
    "notzip": (200, BODY, "gzip"),
    "brotli": (200, BODY, "br"),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str]]]

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers["content-length"]))
        self.seen.append((f"{self.path} {body.decode()}", headers))
        match self.path.strip("/").split("/"):
            case ["moved"]:
                self.reply(307, b"", location="/elsewhere")
            case ["slow"]:
                time.sleep(1)
            case ["endless"]:
                self.pour(b"x" * 4096, pause=0.0)
            case [code]:
                self.reply(int(code), b"")

    def do_GET(self) -> None:
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        match self.path.strip("/").split("/"):
            case ["status", code]:
                self.reply(int(code), b"no")
            case ["hop", left] if left != "0":
                self.reply(302, b"", location=f"/hop/{int(left) - 1}")
            case ["endless"]:
                self.pour(b"x" * 4096, pause=0.0)
            case ["drip"]:
                self.pour(b"x", pause=0.05)
            case ["announced", size]:
                self.promise(int(size), b"")
            case ["short"]:
                self.promise(1000, b"short")
                self.close_connection = True
            case [name]:
                status, body, encoding = REPLIES[name]
                self.reply(status, body, encoding=encoding)
            case _:
                self.reply(200, BODY)

    def reply(self, status: int, body: bytes, *, location: str | None = None, encoding: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if location is not None:
            self.send_header("Location", location)
        if encoding is not None:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.wfile.write(body)

    def promise(self, size: int, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(body)

    def pour(self, piece: bytes, *, pause: float) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            while True:
                self.wfile.write(piece)
                time.sleep(pause)
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            return


class Listener(ThreadingHTTPServer):
    # More than the usual 5: a full queue makes a client wait a second.
    request_queue_size = 64


class Server:
    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        handler = type("Bound", (Handler,), {"seen": self.requests})
        self.http = Listener(("127.0.0.1", 0), handler)
        self.port = int(self.http.server_address[1])

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{path}"


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=partial(server.http.serve_forever, poll_interval=0.02))
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


@pytest.fixture
def server(running: Server) -> Server:
    running.requests.clear()
    return running


def fetch(
    url: str, *, options: FetchOptions = LOCAL, max_bytes: int = 1_000_000, resolver: Resolver = resolve, times: int = 1
) -> bytes:
    async def run() -> bytes:
        fetcher = Fetcher(options, resolver=resolver)
        try:
            bodies = [await fetcher.fetch(url, max_bytes=max_bytes) for _ in range(times)]
        finally:
            await fetcher.aclose()
        return bodies[-1]

    return anyio.run(run)


def failure(
    url: str, *, options: FetchOptions = LOCAL, max_bytes: int = 1_000_000, resolver: Resolver = resolve
) -> MatteboxError:
    with pytest.raises(MatteboxError) as caught:
        fetch(url, options=options, max_bytes=max_bytes, resolver=resolver)
    return caught.value


def answering(*addresses: str) -> Resolver:
    async def look_up(host: str, port: int) -> Sequence[str]:
        return addresses

    return look_up


def test_fetches_a_body(server: Server) -> None:
    assert fetch(server.url("picture")) == BODY


def test_sends_the_name_and_nothing_of_ours(server: Server) -> None:
    url = server.url("any/path?a=b#part", host="pictures.test")
    assert fetch(url, resolver=answering("127.0.0.1")) == BODY
    ((path, headers),) = server.requests
    assert path == "/any/path?a=b"
    assert headers["host"] == f"pictures.test:{server.port}"
    assert headers["accept-encoding"] == "identity"
    assert set(headers) <= {"host", "user-agent", "accept", "accept-encoding"}


def test_reuse_after_failure(server: Server) -> None:
    async def run() -> bytes:
        fetcher = Fetcher(LOCAL)
        with pytest.raises(MatteboxError):
            await fetcher.fetch(server.url("endless"), max_bytes=10_000)
        body = await fetcher.fetch(server.url("picture"), max_bytes=len(BODY))
        await fetcher.aclose()
        return body

    assert anyio.run(run) == BODY


def test_many_at_once(server: Server) -> None:
    bodies: list[bytes] = []

    async def run() -> None:
        fetcher = Fetcher(LOCAL)

        async def one() -> None:
            bodies.append(await fetcher.fetch(server.url("picture"), max_bytes=len(BODY)))

        async with anyio.create_task_group() as group:
            for _ in range(25):
                group.start_soon(one)
        await fetcher.aclose()

    anyio.run(run)
    assert bodies == [BODY] * 25


def test_tls_handshake_carries_the_name() -> None:
    hello = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def accept() -> None:
            connection, _ = listener.accept()
            with connection:
                hello.extend(connection.recv(4096))

        thread = threading.Thread(target=accept)
        thread.start()
        error = failure(f"https://pictures.test:{port}/", resolver=answering("127.0.0.1"))
        thread.join()
    assert error.kind is Kind.UNREACHABLE_SOURCE
    assert b"pictures.test" in hello


def test_proxy_variables_are_ignored(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert fetch(server.url("picture")) == BODY


# redirects


def test_follows_as_many_redirects_as_allowed(server: Server) -> None:
    assert fetch(server.url("hop/3")) == BODY
    assert [path for path, _ in server.requests] == ["/hop/3", "/hop/2", "/hop/1", "/hop/0"]


def test_too_many_redirects(server: Server) -> None:
    error = failure(server.url("hop/4"))
    assert error.kind is Kind.UNREACHABLE_SOURCE
    assert "3 times" in error.message
    none = FetchOptions(allow_networks=("127.0.0.0/8",), max_redirects=0)
    assert failure(server.url("hop/1"), options=none).kind is Kind.UNREACHABLE_SOURCE
    assert fetch(server.url("hop/0"), options=none) == BODY


@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "//192.168.0.1/",
        "http://localhost:22/",
        "file:///etc/passwd",
        "ftp://ftp.test/",
        "http://user:word@127.0.0.1/",
        "http://[::1",
        "http://127.0.0.1:99999/",
    ],
)
def test_redirect_to_what_is_not_allowed(server: Server, target: str) -> None:
    # Only this one address is opened, so that `localhost` must not slip through by its IPv4 address either.
    narrow = FetchOptions(allow_networks=("127.0.0.2/32",), timeout=5.0)

    async def look_up(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.2"] if host == "start.test" else await resolve(host, port)

    with socket.create_server(("127.0.0.2", 0)) as listener:

        def accept() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())

        thread = threading.Thread(target=accept)
        thread.start()
        error = failure(f"http://start.test:{listener.getsockname()[1]}/", options=narrow, resolver=look_up)
        thread.join()
    assert error.kind is Kind.UNREACHABLE_SOURCE
    assert "redirects to" in error.message or "may be fetched" in error.message


def test_redirect_without_location(server: Server) -> None:
    assert "302" in failure(server.url("nowhere")).message


# bounds


@pytest.mark.parametrize("status", [304, 400, 401, 403, 404, 500, 503])
def test_other_statuses(server: Server, status: int) -> None:
    error = failure(server.url(f"status/{status}"))
    assert error.kind is Kind.UNREACHABLE_SOURCE
    assert str(status) in error.message


def test_exact_limit(server: Server) -> None:
    assert fetch(server.url("picture"), max_bytes=len(BODY)) == BODY
    assert failure(server.url("picture"), max_bytes=len(BODY) - 1).kind is Kind.TOO_MANY_BYTES


def test_announced_size_is_refused_at_once(server: Server) -> None:
    # The body never comes: a fetcher that waits for it runs into its deadline instead.
    error = failure(server.url("announced/1000001"))
    assert error.kind is Kind.TOO_MANY_BYTES
    assert "1000000" in error.message


def test_endless_body(server: Server) -> None:
    assert failure(server.url("endless")).kind is Kind.TOO_MANY_BYTES


def test_slow_drip_ends_at_the_deadline(server: Server) -> None:
    options = FetchOptions(allow_networks=("127.0.0.0/8",), timeout=0.6)
    error = failure(server.url("drip"), options=options)
    assert error.kind is Kind.UNREACHABLE_SOURCE
    assert "in time" in error.message


def test_slow_resolver_ends_at_the_deadline() -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await anyio.sleep_forever()
        return []

    options = FetchOptions(timeout=0.3)
    assert "in time" in failure("http://slow.test/", options=options, resolver=never).message


def test_gzip_is_unpacked(server: Server) -> None:
    assert fetch(server.url("gzip"), max_bytes=len(BODY)) == BODY
    assert failure(server.url("gzip"), max_bytes=len(BODY) - 1).kind is Kind.TOO_MANY_BYTES


def test_gzip_bomb_costs_no_memory(server: Server) -> None:
    fetch(server.url("picture"))
    tracemalloc.start()
    error = failure(server.url("bomb"), max_bytes=1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert error.kind is Kind.TOO_MANY_BYTES
    assert peak < 8_000_000


@pytest.mark.parametrize("path", ["halfzip", "notzip", "brotli", "short"])
def test_damaged_bodies(server: Server, path: str) -> None:
    assert failure(server.url(path)).kind is Kind.UNREACHABLE_SOURCE


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure(f"http://127.0.0.1:{port}/")
    assert error.kind is Kind.UNREACHABLE_SOURCE
    assert "127.0.0.1" not in error.message


# where it may go


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "127。0。0。1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[fe80::1]",
        "[fc00::1]",
        "[fec0::1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "192.88.99.1",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
        "255.255.255.255",
        "[ff02::1]",
        "localhost",
    ],
)
def test_refused_hosts(host: str) -> None:
    error = failure(f"http://{host}/", options=FetchOptions())
    assert error.kind is Kind.UNREACHABLE_SOURCE
    assert "may be fetched" in error.message
    assert host.strip("[]") not in error.message


def test_name_with_one_private_address_is_refused(server: Server) -> None:
    for addresses in (("127.0.0.1", "10.0.0.1"), ("10.0.0.1", "127.0.0.1")):
        error = failure(server.url("picture", host="mixed.test"), resolver=answering(*addresses))
        assert "may be fetched" in error.message
    assert server.requests == []


def test_second_address_is_tried(server: Server) -> None:
    # Nobody listens at the first.
    assert fetch(server.url("picture", host="two.test"), resolver=answering("127.0.0.9", "127.0.0.1")) == BODY


def test_name_without_addresses() -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    for resolver in (unknown, answering()):
        error = failure("http://nobody.test/", resolver=resolver)
        assert error.kind is Kind.UNREACHABLE_SOURCE
        assert "nobody" not in error.message


def test_rebinding_reaches_only_what_was_checked(server: Server) -> None:
    """The second answer is private: it is checked as well, and the first is what was connected to."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return next(answers)

    async def run() -> tuple[bytes, MatteboxError]:
        fetcher = Fetcher(LOCAL, resolver=rebinding)
        url = server.url("picture", host="rebind.test")
        first = await fetcher.fetch(url, max_bytes=len(BODY))
        with pytest.raises(MatteboxError) as caught:
            await fetcher.fetch(url, max_bytes=len(BODY))
        await fetcher.aclose()
        return first, caught.value

    first, second = anyio.run(run)
    assert first == BODY
    assert "may be fetched" in second.message
    assert asked == ["rebind.test", "rebind.test"]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b:1::808:808", False),
        ("2002:808:808::", False),
        ("2001:db8::1", False),
        ("3fff::1", False),
        ("192.0.0.8", False),
        ("198.18.0.1", False),
        ("240.0.0.1", False),
        ("5f00::1", False),
        ("fd00:ec2::254", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


@given(st.ip_addresses(v=4))
def test_a_wrapped_address_is_judged_as_the_one_inside(inner: ipaddress.IPv4Address) -> None:
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        wrapped = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(inner))
        assert is_public(wrapped) is is_public(inner)


@given(st.ip_addresses(), st.integers(1, 65535))
def test_guard_never_opens_more_than_its_options_say(address: ipaddress.IPv4Address, port: int) -> None:
    if Guard(FetchOptions()).permits(address, port):
        assert port in {80, 443}
        assert is_public(address)


def test_only_web_ports_on_the_public_internet() -> None:
    guard = Guard(FetchOptions(allow_private=True))
    public = ipaddress.ip_address("93.184.216.34")
    assert [port for port in (22, 80, 443, 6379, 8080) if guard.permits(public, port)] == [80, 443]
    assert "may be fetched" in failure("http://x.test:22/", resolver=answering("93.184.216.34")).message


def test_allow_private(server: Server) -> None:
    options = FetchOptions(allow_private=True)
    assert fetch(server.url("picture"), options=options) == BODY
    guard = Guard(options)

    def permits(text: str) -> bool:
        return guard.permits(ipaddress.ip_address(text), 8080)

    for opened in ("10.1.2.3", "192.168.0.1", "100.64.0.1", "127.0.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"):
        assert permits(opened)
    for closed in ("169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255"):  # noqa: S104
        assert not permits(closed)


METADATA = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "fe80::a9fe:a9fe",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
]


@pytest.mark.parametrize("text", METADATA)
def test_where_clouds_keep_credentials_only_a_network_by_name_leads(text: str) -> None:
    address = ipaddress.ip_address(text)
    for options in (FetchOptions(), FetchOptions(allow_private=True)):
        assert not Guard(options).permits(address, 80)
    named = text.removeprefix("::ffff:")  # a mapped address is judged as the one inside
    assert Guard(FetchOptions(allow_networks=(named,))).permits(address, 80)


def test_allow_networks_opens_nothing_else() -> None:
    guard = Guard(FetchOptions(allow_networks=("10.1.0.0/16", "fe80::/10")))
    assert guard.permits(ipaddress.ip_address("10.1.2.3"), 9000)
    assert guard.permits(ipaddress.ip_address("::ffff:10.1.2.3"), 9000)
    assert guard.permits(ipaddress.ip_address("fe80::1"), 9000)
    assert not guard.permits(ipaddress.ip_address("10.2.0.1"), 9000)
    assert not guard.permits(ipaddress.ip_address("127.0.0.1"), 80)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "picture.jpg",
        "//pictures.test/a.jpg",
        "http://",
        "http:///a.jpg",
        "file:///etc/passwd",
        "ftp://pictures.test/a.jpg",
        "data:image/png;base64,AAAA",
        "gopher://127.0.0.1:6379/_",
        "http://user:word@pictures.test/",
        "http://127.0.0.1\\@pictures.test/",
        "http://0177.0.0.1/",
        "http://pictures.test:99999/",
        "http://pictures.test:port/",
        "http://[::1/",
        "http://a\x00b/",
        "http://a.test/\r\nX: y",
        "http://" + "a" * 70_000,
    ],
)
def test_malformed_urls(url: str) -> None:
    assert failure(url).kind is Kind.INVALID_PARAMETER


@pytest.mark.parametrize("host", ["a" * 70 + ".test", "a b", "a..b", "127.0.0.1..", "%31%32%37.1"])
def test_hosts_that_cannot_exist(host: str) -> None:
    assert failure(f"http://{host}/").kind is Kind.UNREACHABLE_SOURCE


def test_options_are_checked() -> None:
    for timeout in (0, math.nan, math.inf):
        with pytest.raises(ValueError, match="timeout"):
            FetchOptions(timeout=timeout)
    with pytest.raises(ValueError, match="max_redirects"):
        FetchOptions(max_redirects=-1)
    with pytest.raises(ValueError, match="does not appear"):
        FetchOptions(allow_networks=("everything",))


# --- which hosts -------------------------------------------------------------------------------------------------


def only(*origins: str) -> FetchOptions:
    return FetchOptions(allow_networks=("127.0.0.0/8",), timeout=5.0, origins=origins)


@pytest.mark.parametrize(
    ("origins", "host", "fetched"),
    [
        (("cdn.test",), "cdn.test", True),
        (("CDN.test",), "cdn.TEST", True),
        (("other.test", "*.cdn.test"), "eu.west.cdn.test", True),
        (("*.cdn.test",), "cdn.test", False),
        (("cdn.test",), "eu.cdn.test", False),
        (("cdn.test",), "cdn.test.evil.test", False),
        (("*.cdn.test",), "evilcdn.test", False),
        (("cdn.test",), "127.0.0.1", False),
        (("127.0.0.*",), "127.0.0.1", True),
        ((), "anything.test", True),
    ],
)
def test_only_certain_hosts(origins: tuple[str, ...], host: str, fetched: bool, server: Server) -> None:
    url, look_up = server.url("picture", host=host), answering("127.0.0.1")
    if fetched:
        assert fetch(url, options=only(*origins), resolver=look_up) == BODY
        return
    error = failure(url, options=only(*origins), resolver=look_up)
    assert (error.kind, error.message) == (Kind.UNREACHABLE_SOURCE, "Pictures may not be fetched from this host.")
    assert server.requests == []


def test_a_redirect_leads_to_certain_hosts_only(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def send_away() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    location = server.url("picture", host="other.test")
                    answer = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
                    connection.sendall(answer.encode())

        thread = threading.Thread(target=send_away)
        thread.start()
        url = f"http://cdn.test:{listener.getsockname()[1]}/"
        look_up = answering("127.0.0.1")
        assert "this host" in failure(url, options=only("cdn.test"), resolver=look_up).message
        assert server.requests == []
        assert fetch(url, options=only("cdn.test", "other.test"), resolver=look_up) == BODY
        thread.join()


def test_webhooks_go_to_certain_hosts_only(server: Server) -> None:
    look_up = answering("127.0.0.1")
    with pytest.raises(MatteboxError, match="may not be sent to this host") as caught:
        post(server.url("204", "hooks.test"), options=only("cdn.test"), resolver=look_up)
    assert caught.value.kind is Kind.UNREACHABLE_SOURCE
    assert server.requests == []
    post(server.url("204", "Hooks.test"), options=only("cdn.test", "hooks.*"), resolver=look_up)
    assert len(server.requests) == 1


# --- webhooks ----------------------------------------------------------------------------------------------------


def post(url: str, *, options: FetchOptions = LOCAL, timeout: float = 5.0, resolver: Resolver = resolve) -> None:
    async def run() -> None:
        fetcher = Fetcher(options, resolver=resolver)
        try:
            await fetcher.post(url, b"body", headers={"Content-Type": "text/plain", "webhook-id": "1"}, timeout=timeout)
        finally:
            await fetcher.aclose()

    anyio.run(run)


def test_a_webhook_arrives_once_and_whole(server: Server) -> None:
    post(server.url("204"))
    ((path, headers),) = server.requests
    assert path == "/204 body"
    wanted = {"content-type": "text/plain", "webhook-id": "1", "content-length": "4", "user-agent": "mattebox"}
    assert wanted.items() <= headers.items()
    assert headers["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("path", ["moved", "500", "404", "301"])
def test_a_webhook_is_received_with_2xx_only(server: Server, path: str) -> None:
    with pytest.raises(MatteboxError, match="answered with status") as caught:
        post(server.url(path))
    assert caught.value.kind is Kind.UNREACHABLE_SOURCE
    assert len(server.requests) == 1


def test_a_webhooks_receiver_has_so_much_time_and_its_words_are_not_read(server: Server) -> None:
    with pytest.raises(MatteboxError, match=r"not answered within 0\.2 seconds"):
        post(server.url("slow"), timeout=0.2)
    post(server.url("endless"))


@pytest.mark.parametrize("options", [FetchOptions(), FetchOptions(allow_networks=("10.0.0.0/8",))])
def test_a_webhook_goes_only_where_pictures_may_come_from(server: Server, options: FetchOptions) -> None:
    for resolver in (resolve, answering("127.0.0.1"), answering("93.184.216.34", "127.0.0.1")):
        with pytest.raises(MatteboxError, match="webhook's address is not one that may be sent to") as caught:
            post(server.url("204", "localhost"), options=options, resolver=resolver)
        assert caught.value.kind is Kind.UNREACHABLE_SOURCE
    with pytest.raises(MatteboxError, match="webhook's address is not one that may be sent to"):
        post("http://169.254.169.254/latest", options=FetchOptions(allow_private=True))
    assert server.requests == []


def test_what_is_wrong_with_an_address_is_said_of_the_right_thing() -> None:
    with pytest.raises(MatteboxError, match="The webhook's address must start") as caught:
        post("ftp://a.test/")
    assert caught.value.kind is Kind.INVALID_PARAMETER
    with pytest.raises(MatteboxError, match="The webhook's address must not contain"):
        check_url("http://a:b@c.test/", what="webhook's")
    with pytest.raises(MatteboxError, match="The picture's address is not a valid URL"):
        check_url("http://[::1/")
    with pytest.raises(MatteboxError, match="The webhook's address could not be reached"):
        post("http://127.0.0.1:9/")

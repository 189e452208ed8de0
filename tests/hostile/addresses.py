"""Addresses that lead a server to places where it must not go, and what is delivered there.

Only `ALLOWED` may be fetched from. The treasure is on `HERE`; whoever comes for it is counted.
"""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.codec.pictures import quadrants, saved
from tests.hostile.bombs import MB
from tests.hostile.launcher import ALLOWED, HERE, NAMES

_SPELLINGS = (
    "127.0.0.1", "2130706433", "0177.0.0.1", "0x7f000001", "0x7f.0.0.1", "127.1", "127.0.1", "0", "0.0.0", "[::1]",
    "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[fe80::1%25lo]", "[fd00:ec2::254]", "[ff02::1]",
    "169.254.169.254", "2852039166", "0xa9fea9fe", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1",
    "100.100.100.200", "192.0.0.192", "168.63.129.16", "224.0.0.1", "255.255.255.255", "①②⑦.⓪.⓪.①", "127。0。0。1",
    "127.0.0.1.", "0000127.0.0.1", "127.0.0.1%00.allowed.test", "localhost", "LOCALHOST.",
    *(name for name in NAMES if name not in ("allowed.test", "localhost")), "unknown.test", "allowed.test.evil", "-",
    ".", "..", "a..b", "xn--", "xn--a", "x" * 300, "x" * 64 + ".test", "a b", "a_b.test", "[::1", "::1", "[]",
    "%31%32%37.0.0.1", "127.0.0.1:22@allowed.test",
)  # fmt: skip
_WHOLE = (
    "", " ", "http", "http:", "http:/", "http://", "http:///", "http:///x", "//127.0.0.1/", "/etc/passwd",
    "file:///etc/passwd", "FILE:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1:70/_x", "dict://127.0.0.1/",
    "ldap://127.0.0.1/", "javascript:alert(1)", "data:image/png;base64,AAAA", "jar:http://127.0.0.1!/",
    "blob:http://127.0.0.1/x", "unix:///run/x", "http+unix://%2frun/x", "ws://127.0.0.1/", "netdoc:///etc/passwd",
    "php://filter", "about:blank", "http:127.0.0.1", "http:\\\\127.0.0.1\\", "h\nttp://127.0.0.1/", "\0",
    "http://allowed.test\0.evil/", "\ud800", "http://" + "x" * 100_000, "http://allowed.test/" + "x" * 100_000,
    "http://[" + ":" * 1_000 + "]/",
)  # fmt: skip


@dataclass(slots=True)
class World:
    """Two web servers: one on `ALLOWED`, one on `HERE` with a photo that nobody may have."""

    allowed: int
    here: int
    came: list[str] = field(default_factory=list)
    photo: bytes = b""
    """What is at `link`."""

    @property
    def link(self) -> str:
        return f"http://allowed.test:{self.allowed}/photo"

    def addresses(self) -> Iterator[tuple[str, str]]:
        """Each with its name, which tells no port."""
        for host in _SPELLINGS:
            yield f"host {host[:40]}", f"http://{host}:{self.here}/photo.png"
        for text in _WHOLE:
            yield f"address {text[:40]!r}", text
        at = f"allowed.test:{self.allowed}"
        for port in (0, 1, 22, 6379, 65535, 65536, 99999, -1):
            yield f"port {port}", f"http://{HERE}:{port}/"
            yield f"allowed port {port}", f"http://{ALLOWED}:{port}/"
        for name, address in {
            "a user": f"http://user@{at}/photo.png",
            "a user and a password": f"http://user:word@{HERE}:{self.here}/photo.png",
            "an allowed host as user": f"http://{at}@{HERE}:{self.here}/photo.png",
            "an allowed host and a fragment": f"http://{HERE}:{self.here}/#@{at}/",
            "a backslash": f"http://{HERE}:{self.here}\\@{at}/photo.png",
            "two at signs": f"http://a@{at}@{HERE}:{self.here}/photo.png",
            "a line feed in its path": f"http://{at}/\r\nHost: {HERE}",
            "an escaped line feed": f"http://{at}/%0d%0aX-Injected:%201",
            "a tab in its host": f"http://allo\twed.test:{self.allowed}/photo.png",
            "https, where there is none": f"https://{at}/photo.png",
            "spaces around": f"  http://{at}/photo.png  ",
            "a path of dots": f"http://{at}/../../etc/passwd",
        }.items():
            yield f"address with {name}", address
        for path in (*DELIVERED, *self.targets()):
            yield f"delivered: {path}", f"http://{at}/{path}"

    def targets(self) -> dict[str, str]:
        """Where each redirect leads."""
        here, at = f"{HERE}:{self.here}", f"allowed.test:{self.allowed}"
        return {
            "redirect-here": f"http://{here}/photo.png",
            "redirect-decimal": f"http://2130706433:{self.here}/photo.png",
            "redirect-six": f"http://[::1]:{self.here}/photo.png",
            "redirect-mapped": f"http://[::ffff:7f00:1]:{self.here}/photo.png",
            "redirect-name": f"http://inside.test:{self.here}/photo.png",
            "redirect-rebinding": f"http://rebinding.test:{self.here}/photo.png",
            "redirect-slashes": f"//{here}/photo.png",
            "redirect-file": "file:///etc/passwd",
            "redirect-user": f"http://a:b@{at}/photo.png",
            "redirect-itself": "/redirect-itself",
            "redirect-empty": "",
            "redirect-nonsense": "http://[::1",
            "redirect-long": "/" + "x" * 50_000,
            "redirect-metadata": "http://169.254.169.254/latest/meta-data/",
            "redirect-letters": "/\xff\xfe",
            "redirect-port": f"http://{ALLOWED}:99999/",
        }


_PHOTO = saved(quadrants(), "PNG")
DELIVERED: dict[str, tuple[str, bytes]] = {
    # Headers, and what follows them.
    "photo.png": (f"Content-Length: {len(_PHOTO)}", _PHOTO),
    "nothing": ("Content-Length: 0", b""),
    "page": ("Content-Type: text/html", b"<html>"),
    "too-short": ("Content-Length: 99999", b"x"),
    "too-long": ("Content-Length: 1", _PHOTO),
    "length-of-letters": ("Content-Length: five", _PHOTO),
    "length-of-terabytes": ("Content-Length: 9999999999999", b"x"),
    "two-lengths": ("Content-Length: 5\r\nContent-Length: 6", _PHOTO),
    "both-lengths": ("Content-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
    "bad-chunks": ("Transfer-Encoding: chunked", b"zz\r\n"),
    "no-end": ("X-A: b", bytes(64 * MB)),
    "gzip-bomb": ("Content-Encoding: gzip", gzip.compress(bytes(200 * MB))),
    "no-gzip": ("Content-Encoding: gzip", _PHOTO),
    "brotli": ("Content-Encoding: br", _PHOTO),
    "long-header": (f"X-A: {'x' * 300_000}", _PHOTO),
    "many-headers": ("\r\n".join(["X-A: b"] * 5_000), _PHOTO),
    "no-header": ("\0\xff", _PHOTO),
}


@contextmanager
def world() -> Iterator[World]:
    """Both servers, which run meanwhile."""
    here = World(allowed=0, here=0)

    class Allowed(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.strip("/")
            if target := here.targets().get(path):
                headers, body, status = f"Location: {target}\r\nContent-Length: 0", b"", "302 Found"
            elif path == "photo":
                headers, body, status = f"Content-Length: {len(here.photo)}", here.photo, "200 OK"
            elif path in DELIVERED:
                (headers, body), status = DELIVERED[path], "200 OK"
            else:
                headers, body, status = "Content-Length: 0", b"", "404 Not Found"
            try:
                self.wfile.write(f"HTTP/1.1 {status}\r\n{headers}\r\n\r\n".encode("latin-1") + body)
            except OSError:  # it may stop to read when it has had enough
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Treasure(Allowed):
        def do_GET(self) -> None:
            here.came.append(self.path)
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + _PHOTO)

    class Six(ThreadingHTTPServer):
        address_family = socket.AF_INET6

    with ExitStack() as running:
        allowed = running.enter_context(ThreadingHTTPServer((ALLOWED, 0), Allowed))
        treasure = running.enter_context(ThreadingHTTPServer((HERE, 0), Treasure))
        here.allowed, here.here = allowed.server_port, treasure.server_port
        six = running.enter_context(Six(("::1", here.here), Treasure))
        for server in (allowed, treasure, six):
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            running.callback(thread.join)
            running.callback(server.shutdown)
        yield here

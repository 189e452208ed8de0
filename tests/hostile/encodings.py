"""Bodies that are not what their headers say: packed, of another type, longer and shorter."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from functools import partial

from tests.codec.pictures import quadrants, saved
from tests.hostile.bombs import MB, zeros
from tests.hostile.doors import Door, Sent


def requests() -> Iterator[tuple[str, Callable[[Door], Sent]]]:
    """Each with its name."""
    yield from _packed()
    for content_type in (
        "", "text/html", "image/png", "application/json", "application/json; charset=utf-16", "application/xml",
        "multipart/form-data", "application/x-www-form-urlencoded", "*/*", "a", "/", ";", "application/jsonp",
        "application/problem+json", "x" * 8_000, "text/plain; charset=\xff", "application/octet-stream",
        "application/json, multipart/form-data",
    ):  # fmt: skip
        yield (
            f"typed {content_type[:50]!r}",
            partial(lambda content_type, door: _typed(door, content_type), content_type),
        )
    for length in (
        "0",
        "1",
        "10",
        "99999999",
        "999999999999999999999",
        "-1",
        "+5",
        "5.0",
        "0x5",
        "five",
        "",
        "5, 5",
        "5, 6",
    ):
        yield (
            f"Content-Length: {length}",
            partial(lambda length, door: _with(_photo(door), ("Content-Length", length)), length),
        )
    yield "two lengths", lambda door: _with(_photo(door), ("Content-Length", "5"), ("Content-Length", "6"))
    for coding in (
        "chunked",
        "gzip",
        "identity",
        "chunked, chunked",
        "gzip, chunked",
        "xchunked",
        "\x0bchunked",
        "chunked, gzip",
    ):
        yield (
            f"Transfer-Encoding: {coding!r}",
            partial(lambda coding, door: _with(_photo(door), ("Transfer-Encoding", coding)), coding),
        )
    for name, body in {
        "without an end": b"5\r\nhello\r\n",
        "whose size is no number": b"zz\r\nhello\r\n0\r\n\r\n",
        "whose size is negative": b"-5\r\nhello\r\n0\r\n\r\n",
        "whose size is huge": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "whose size has 10,000 digits": b"0" * 10_000 + b"5\r\nhello\r\n0\r\n\r\n",
        "with an extension of 100 KB": b"5;" + b"x" * 100_000 + b"\r\nhello\r\n0\r\n\r\n",
        "with 10,000 trailers": b"0\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n",
        "that are longer than they say": b"2\r\nhello\r\n0\r\n\r\n",
        "of a byte each": b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n",
    }.items():
        yield (
            f"chunks {name}",
            partial(
                lambda body, door: Sent(
                    door.path, body, [("Transfer-Encoding", "chunked"), ("Content-Type", "application/json")]
                ),
                body,
            ),
        )


def _photo(door: Door) -> Sent:
    if door.carriages:
        return door.carriages[0](saved(quadrants(), "PNG"))
    return door.at("http://127.0.0.1/")


def _typed(door: Door, content_type: str) -> Sent:
    return Sent(door.path, _photo(door).body, [("Content-Type", content_type)] if content_type else [])


def _with(sent: Sent, *headers: tuple[str, str]) -> Sent:
    return Sent(sent.path, sent.body, [*sent.headers, *headers])


def _packed() -> Iterator[tuple[str, Callable[[Door], Sent]]]:
    def packed(encoding: str, pack: Callable[[bytes], bytes]) -> Callable[[Door], Sent]:
        def make(door: Door) -> Sent:
            sent = _photo(door)
            return Sent(sent.path, pack(sent.body), [*sent.headers, ("Content-Encoding", encoding)])

        return make

    deflated = zlib.compress(b"x")
    made: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        "bomb of gzip, 500 MB": ("gzip", lambda _: _as_gzip(500)),
        "bomb of deflate, 500 MB": ("deflate", lambda _: zeros(500)),
        "bomb of gzip in 3,000 members": ("gzip", lambda _: _as_gzip(1) * 3_000),
        "100,000 empty members of gzip": ("gzip", lambda _: gzip.compress(b"") * 100_000),
        "gzip twice": ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
        "gzip of gzip, said once": ("gzip", lambda body: gzip.compress(gzip.compress(body))),
        "gzip that is cut": ("gzip", lambda body: gzip.compress(body)[:-9]),
        "gzip with a wrong checksum": ("gzip", lambda body: gzip.compress(body)[:-8] + bytes(8)),
        "gzip with noise behind": ("gzip", lambda body: gzip.compress(body) + b"noise"),
        "no gzip": ("gzip", lambda body: body),
        "gzip with a name that does not end": ("gzip", lambda _: b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * MB),
        "gzip of an unknown method": ("gzip", lambda _: b"\x1f\x8b\x09" + bytes(30)),
        "deflate that is cut": ("deflate", lambda _: deflated[:-3]),
        "deflate with noise behind": ("deflate", lambda _: deflated + b"noise"),
        "nothing, as gzip": ("gzip", lambda _: b""),
        "brotli": ("br", lambda body: body),
        "zstd": ("zstd", lambda body: body),
        "an encoding that nobody knows": ("nonsense", lambda body: body),
        "a hundred encodings": (", ".join(["gzip"] * 100), lambda body: body),
        "identity": ("identity", lambda body: body),
    }
    for name, (encoding, pack) in made.items():
        yield f"packed: {name}", packed(encoding, pack)


def _as_gzip(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(MB)) for _ in range(megabytes)), packer.flush()])

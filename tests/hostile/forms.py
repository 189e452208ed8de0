"""Multipart and urlencoded forms that are cut, endless, nested or at odds with themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from tests.codec.pictures import quadrants, saved
from tests.hostile.doors import BOUNDARY, FORM, Door, Sent, multipart

MB = 2**20
URLENCODED = "application/x-www-form-urlencoded"
_Make = Callable[[Door], Sent]


def requests() -> Iterator[tuple[str, _Make]]:
    """Each with its name, for a door that reads forms."""
    yield from _heads()
    yield from _parts()
    yield from _names()
    yield from _urlencoded()


def _photo() -> bytes:
    return saved(quadrants(), "PNG")


def _typed(body: Callable[[Door], bytes], content_type: str = FORM) -> _Make:
    return lambda door: Sent(door.path, body(door), [("Content-Type", content_type)])


def _whole(door: Door) -> bytes:
    return door.as_file(_photo()).body


def _heads() -> Iterator[tuple[str, _Make]]:
    for content_type in (
        "multipart/form-data",
        "multipart/form-data; boundary",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        f'multipart/form-data; boundary="{BOUNDARY}',
        "multipart/form-data; boundary=another",
        f"multipart/form-data; boundary={BOUNDARY}; boundary=another",
        f"multipart/form-data; boundary={'x' * 5_000}",
        "multipart/form-data; boundary=\xe4\xf6",
        "multipart/form-data; boundary=a b",
        f"multipart/form-data; charset=utf-7; boundary={BOUNDARY}",
        f"multipart/form-data; charset=nonsense; boundary={BOUNDARY}",
        f"multipart/form-data; charset=base64; boundary={BOUNDARY}",
        f"multipart/mixed; boundary={BOUNDARY}",
        f"MULTIPART/FORM-DATA; BOUNDARY={BOUNDARY}",
        f"multipart/form-data, text/plain; boundary={BOUNDARY}",
        f"multipart/form-data;;;; boundary={BOUNDARY}",
        "multipart/form-data; boundary*=utf-8''hostile",
    ):
        yield f"form typed {content_type[:70]!r}", _typed(_whole, content_type)


def _parts() -> Iterator[tuple[str, _Make]]:
    edge = f"--{BOUNDARY}\r\n".encode()
    end = f"--{BOUNDARY}--\r\n".encode()

    def headed(*lines: str, content: bytes = b"x") -> bytes:
        return edge + "\r\n".join([*lines, "", ""]).encode() + content + b"\r\n" + end

    bodies: dict[str, Callable[[Door], bytes]] = {
        "nothing": lambda _: b"",
        "only its end": lambda _: end,
        "no end": lambda door: _whole(door).removesuffix(end),
        "an end that is cut": lambda door: _whole(door)[:-6],
        "a photo that is cut": lambda door: _whole(door)[:-200],
        "bare line feeds": lambda door: _whole(door).replace(b"\r\n", b"\n"),
        "bare carriage returns": lambda door: _whole(door).replace(b"\r\n", b"\r"),
        "something before it": lambda door: b"preamble\r\n" + _whole(door),
        "a megabyte behind it": lambda door: _whole(door) + bytes(MB),
        "itself behind it": lambda door: _whole(door) * 2,
        "10,000 fields": lambda _: multipart([("a", None, b"1")] * 10_000),
        "10,000 files": lambda _: multipart([("a", "a.png", b"1")] * 10_000),
        "100,000 edges": lambda _: edge * 100_000 + end,
        "nine files": lambda door: multipart([(door.file, "a.png", _photo())] * 9),
        "a field of 30 MB": lambda _: multipart([("name", None, bytes(30 * MB))]),
        "a field of 60 MB": lambda _: multipart([("name", None, bytes(60 * MB))]),
        "20 fields of 2 MB": lambda _: multipart([(f"a{n}", None, bytes(2 * MB)) for n in range(20)]),
        "a form in its photo": lambda door: multipart([(door.file, "a.png", multipart([("a", "b", b"c")]))]),
        "a form of forms": lambda door: headed(
            f'Content-Disposition: form-data; name="{door.file}"',
            "Content-Type: multipart/mixed; boundary=inner",
            content=b"--inner\r\n\r\nx\r\n--inner--",
        ),
        "a head without a name": lambda _: headed("Content-Disposition: form-data"),
        "no head": lambda _: headed("Content-Type: image/png"),
        "a head of another kind": lambda _: headed("Content-Disposition: attachment; name=image"),
        "a head that is no head": lambda _: headed("this is no header"),
        "a head of a megabyte": lambda _: headed(f"X-Long: {'x' * MB}"),
        "10,000 lines of head": lambda _: headed(*["X-A: b"] * 10_000),
        "a name of a megabyte": lambda _: headed(f'Content-Disposition: form-data; name="{"x" * MB}"'),
        "a name that is not closed": lambda _: headed('Content-Disposition: form-data; name="image'),
        "two names": lambda door: headed(f'Content-Disposition: form-data; name="a"; name="{door.file}"'),
        "a folded head": lambda door: headed(f'Content-Disposition: form-data;\r\n name="{door.file}"'),
        "a length that lies": lambda door: headed(
            f'Content-Disposition: form-data; name="{door.file}"; filename=a', "Content-Length: 99999999"
        ),
        "base64 by its head": lambda door: headed(
            f'Content-Disposition: form-data; name="{door.file}"; filename=a', "Content-Transfer-Encoding: base64"
        ),
        "a head of unknown letters": lambda door: headed(
            f"Content-Disposition: form-data; name=\"{door.file}\"; filename*=nonsense''%ff%fe"
        ),
        "only edges of dashes": lambda _: b"-" * MB,
        "JSON": lambda _: b'{"image": "x"}',
        "a photo itself": lambda _: _photo(),
        "an edge in the photo": lambda door: multipart([(door.file, "a.png", _photo() + b"\r\n" + edge)]),
    }
    for name, body in bodies.items():
        yield f"form of {name}", _typed(body)


def _names() -> Iterator[tuple[str, _Make]]:
    for filename in (
        "../../../../etc/passwd",
        "..\\..\\windows\\win.ini",
        "/etc/passwd",
        "a\0.png",
        "x" * 5_000,
        "C:\\photo.png",
        "photo.php",
        "\u202egnp.exe",
        '";\r\nX-Injected: 1',
        "%2e%2e%2f",
        "CON",
        ".",
        "\U0001f4a3" * 300,
        "$(id)",
        "'; DROP TABLE tasks; --",
    ):
        yield (
            f"file called {filename[:40]!r}",
            _typed(partial(lambda filename, door: multipart([(door.file, filename, _photo())]), filename)),
        )
    yield "photo as a field", _typed(lambda door: multipart([(door.file, None, _photo())]))
    yield "photo as a field of text", _typed(lambda door: multipart([(door.file, None, "naïve 図".encode())]))
    yield (
        "photo twice, once broken",
        _typed(lambda door: multipart([(door.file, "a", _photo()), (door.file, "b", b"x")])),
    )
    yield (
        "photo and field of one name",
        _typed(lambda door: multipart([(door.file, "a", _photo()), (door.file, None, b"x")])),
    )
    yield "photo with brackets", _typed(lambda door: multipart([(f"{door.file}[]", "a", _photo())]))
    yield "field of a null byte", _typed(lambda door: multipart([("\0", None, b"\0"), (door.file, "a", _photo())]))
    yield "empty name", _typed(lambda door: multipart([("", None, b"x"), (door.file, "a", _photo())]))
    yield "empty photo", _typed(lambda door: multipart([(door.file, "a", b"")]))


def _urlencoded() -> Iterator[tuple[str, _Make]]:
    for name, body in {
        "nothing": b"",
        "10,000 fields": b"&".join([b"a=1"] * 10_000),
        "100,000 ampersands": b"&" * 100_000,
        "a field of 30 MB": b"a=" + b"x" * (30 * MB),
        "a name of a megabyte": b"x" * MB + b"=1",
        "wrong escapes": b"a=%&b=%zz&c=%f&%=%",
        "escaped null bytes": b"image_file=%00&%00=%00",
        "bytes that are no text": b"image_file=\xff\xfe\xfd",
        "escaped bytes that are no text": b"image_file=%ff%fe",
    }.items():
        yield f"urlencoded form of {name}", _typed(partial(lambda body, _: body, body), URLENCODED)

from __future__ import annotations

import base64
import gzip
import json as stdlib
import random
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Annotated
from urllib.parse import quote_plus

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, Field
from starlette.requests import Request
from starlette.types import Message

from mattebox.errors import Kind, MatteboxError
from mattebox.fields import Fields, Number
from mattebox.server.http import bodies
from mattebox.server.http.bodies import (
    Base64File,
    Base64OrAddress,
    File,
    PhotoFields,
    PictureFile,
    ReadAddress,
    Values,
    is_address,
    read_values,
)
from mattebox.sources import Link, Upload

MB = 2**20
FINE = (None, Kind.INVALID_REQUEST)
MULTIPART = "multipart/form-data; boundary=x"
URLENCODED = "application/x-www-form-urlencoded"


def request(
    chunks: Iterable[bytes],
    content_type: str | None,
    *,
    headers: Sequence[tuple[bytes, bytes]] = (),
    query: bytes = b"",
) -> Request:
    """A request whose body comes in these pieces and which is gone afterwards."""
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if messages:
        messages[-1]["more_body"] = False
    waiting = iter([*messages, {"type": "http.disconnect"}])

    async def receive() -> Message:
        return next(waiting)

    typed = [] if content_type is None else [(b"content-type", content_type.encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": query, "headers": [*typed, *headers]}
    return Request(scope, receive)


def read_form(body: bytes, content_type: str, max_bytes: int = MB) -> Values:
    return anyio.run(partial(bodies.form, request([body], content_type), max_bytes=max_bytes, picture="image"))


def read_json(body: bytes, content_type: str | None = "application/json", max_bytes: int = MB) -> Values:
    return anyio.run(partial(bodies.json, request([body], content_type), max_bytes=max_bytes, picture="image"))


def multipart(*parts: tuple[str, str | None, bytes]) -> bytes:
    """Parts of name, file name and content, without any types, as some clients send them."""
    body = b""
    for name, filename, content in parts:
        file = "" if filename is None else f'; filename="{filename}"'
        body += f'--x\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"
    return body + b"--x--\r\n"


def outcome(read: Callable[[], object]) -> Kind | None:
    """How reading failed; None where it did not."""
    try:
        read()
    except MatteboxError as error:
        return error.kind
    return None


def refusal(read: Callable[[], object]) -> tuple[Kind, str | None]:
    """The kind of failure, and the parameter that it is blamed on."""
    with pytest.raises(MatteboxError) as caught:
        read()
    return caught.value.kind, caught.value.parameter


# --- files and addresses -----------------------------------------------------------------------------------------


class Sent(Fields):
    file: Annotated[bytes | None, File()] = None
    text: Annotated[bytes | None, Base64File()] = None
    either: Annotated[bytes | None, PictureFile()] = None
    url: Annotated[str | None, ReadAddress()] = None
    hook: Annotated[str | None, ReadAddress("webhook's")] = None


def read(max_bytes: int = MB, **values: object) -> Sent:
    return read_values(Sent, values, max_bytes=max_bytes)


@pytest.mark.parametrize("absent", ["", "  ", None])
def test_empty_is_absent_for_every_reader(absent: str | None) -> None:
    assert read(file=absent, text=absent, either=absent, url=absent) == Sent()


@given(
    st.binary(min_size=1, max_size=300),
    st.integers(1, 80),
    st.sampled_from(["", "data:image/png;base64,", "DATA:;base64,"]),
)
def test_base64_comes_back_whatever_its_dress(data: bytes, width: int, prefix: str) -> None:
    for text in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()):
        lines = "\r\n".join(text[at : at + width] for at in range(0, len(text), width))
        assert read(text=prefix + text).text == data
        assert read(text=f"{prefix}\n{lines}\n").text == data
        assert read(text=(prefix + text).rstrip("=")).text == data
        assert read(text=f"{prefix}\t{lines}".replace("=", "")).text == data
        assert read(text=prefix + quote_plus(text)).text == data


@pytest.mark.parametrize(
    "wrong",
    [
        "!!!!",
        "abcde",
        "ab=c",
        "Zm9v=",
        "ab=",
        "Zm8=Zm8=",
        "Zm9%41",
        "data:image/png,Zm9v",
        "data:;base64",
        "Zm9vé",
        5,
        {"a": 1},
        "https://x.org/a",
    ],
)
def test_wrong_base64_is_refused_by_name(wrong: object) -> None:
    assert refusal(lambda: read(text=wrong)) == (Kind.INVALID_PARAMETER, "text")


@pytest.mark.parametrize("padded", ["/9j/++++", "/9j/a+b+c+dd", "/9j+", "/9j+++8=", "/9j/ab+aAA+b"])
@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_a_plus_sign_that_a_form_does_not_escape_stays_one(padded: str, prefix: str) -> None:
    data = base64.b64decode(padded)
    assert base64.b64encode(data).decode() == padded
    for text in (padded, padded + "\n", padded + "\r\n"):
        sent = read_form(b"text=" + (prefix + text).encode(), URLENCODED)
        assert "+" not in str(sent["text"])
        assert read(text=sent["text"]).text == data


def test_a_picture_in_a_form_without_escapes(photo: bytes) -> None:
    for text in (base64.b64encode(photo).decode(), base64.b64encode(photo).decode().rstrip("=")):
        sent = read_form(b"text=" + text.encode(), URLENCODED)
        assert " " in str(sent["text"])
        assert read(text=sent["text"]).text == photo


@given(st.binary(min_size=1, max_size=300), st.sampled_from([4, 57, 60, 64, 76]))
def test_spaces_between_lines_of_base64_are_not_plus_signs(data: bytes, width: int) -> None:
    text = base64.b64encode(data).decode()
    lines = " ".join(text[at : at + width] for at in range(0, len(text), width))
    assert read(text=lines).text == data
    assert read_form(f"text={quote_plus(lines)}".encode(), URLENCODED)["text"] == lines


@given(st.binary(min_size=1, max_size=60), st.integers(1, 60))
def test_base64_and_files_obey_the_limit_to_the_byte(data: bytes, limit: int) -> None:
    for name, value in (("text", base64.b64encode(data).decode()), ("file", data), ("either", data)):
        if len(data) <= limit:
            assert getattr(read(limit, **{name: value}), name) == data
        else:
            assert refusal(partial(read, limit, **{name: value})) == (Kind.TOO_MANY_BYTES, name)


def test_a_picture_is_a_file_or_base64() -> None:
    assert read(either=b"\x89PNG").either == read(either=base64.b64encode(b"\x89PNG").decode()).either == b"\x89PNG"
    for wrong in ("no base64!", 3):
        assert refusal(partial(read, either=wrong)) == (Kind.INVALID_PARAMETER, "either")


def test_base64_and_an_address_may_share_a_field() -> None:
    class Either(Fields):
        image: Annotated[bytes | str, Base64OrAddress()]

    def taken(image: object) -> bytes | str:
        return read_values(Either, {"image": image}, max_bytes=3).image

    assert taken("Zm9v") == b"foo"
    assert taken(" http://example.com/a.png ") == "http://example.com/a.png"
    for wrong, kind in (
        ("%%%", Kind.INVALID_PARAMETER),
        ("ftp://x/y", Kind.INVALID_PARAMETER),
        (7, Kind.INVALID_PARAMETER),
        ("Zm9vYg==", Kind.TOO_MANY_BYTES),
    ):
        with pytest.raises(MatteboxError) as caught:
            taken(wrong)
        assert (caught.value.kind, caught.value.parameter) == (kind, "image")


def test_a_file_that_was_sent_as_text_keeps_its_bytes() -> None:
    assert read(file="\xff\xd8").file == b"\xff\xd8"
    assert read(file="€").file == "€".encode()
    assert refusal(lambda: read(file=3)) == (Kind.INVALID_PARAMETER, "file")


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("http://example.com/a.jpg", True),
        (" HTTPS://example.com", True),
        ("ftp://example.com", True),
        ("data:image/png;base64,aaaa", False),
        ("aaaa//aa", False),
        ("", False),
        (None, False),
        (3, False),
    ],
)
def test_addresses_are_told_from_files(value: object, meant: bool) -> None:
    assert is_address(value) is meant


def test_addresses() -> None:
    assert read(url=" https://example.com:8443/a b.jpg?c=d ").url == "https://example.com:8443/a b.jpg?c=d"
    for wrong in ("http://exa mple.com/", "http://a:b@c.de/", "ftp://example.com/a", "x"):
        assert refusal(partial(read, url=wrong)) == (Kind.INVALID_PARAMETER, "url")
    with pytest.raises(MatteboxError, match="webhook's address"):
        read(hook="x")


class Photo(PhotoFields):
    photo_fields = ("file", "url")
    photo_missing = "Please send a picture."

    file: Annotated[bytes | None, File()] = Field(None, validation_alias=AliasChoices("image_file", "image"))
    url: Annotated[str | None, ReadAddress()] = None

    @classmethod
    def check_names(cls, names: Collection[str]) -> None:
        if "stroke" in names:
            raise MatteboxError(Kind.NOT_OFFERED, "Strokes are not supported.", parameter="stroke")
        super().check_names(names)


@pytest.mark.parametrize(
    ("values", "source", "name"),
    [
        ({"image_file": b"1", "image": b"2", "url": "http://x.org/"}, Upload(b"1"), "image_file"),
        ({"image_file": "", "image": b"2"}, Upload(b"2"), "image"),
        ({"url": "http://x.org/"}, Link("http://x.org/"), "url"),
    ],
)
def test_the_photo_is_the_first_that_is_present(values: Values, source: Upload | Link, name: str) -> None:
    found = read_values(Photo, values, max_bytes=9)
    assert (found.photo_source, found.photo_name) == (source, name)


def test_a_photo_is_needed_and_its_name_is_blamed() -> None:
    assert refusal(lambda: read_values(Photo, {"file": b"1"}, max_bytes=9)) == (Kind.MISSING_IMAGE, "image_file")
    assert refusal(lambda: read_values(Photo, {"image": b"12"}, max_bytes=1)) == (Kind.TOO_MANY_BYTES, "image")
    assert refusal(lambda: read_values(Photo, {"stroke": 1}, max_bytes=1)) == (Kind.NOT_OFFERED, "stroke")


def test_undefined_in_a_query_is_absent() -> None:
    asked = bodies.query(request([], None, query=b"a=undefined&b=null&c=&d=1"))
    assert asked == {"c": "", "d": "1"}


# --- forms -------------------------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=2000))
def test_a_file_arrives_byte_for_byte_with_or_without_a_file_name(data: bytes) -> None:
    if b"--x" in data:
        return
    for filename in ("blob", "photo.txt", None):
        if filename is None and not data.decode("latin-1").strip():
            continue  # an empty text, as its reader takes it
        sent = read_form(multipart(("image", filename, data)), MULTIPART)
        assert read(file=sent["image"]).file == data or (filename is None and _is_utf8(data))


def _is_utf8(data: bytes) -> bool:
    """Then it is text that was really meant as text; no picture is."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.slow
def test_a_text_field_may_be_as_large_as_a_picture() -> None:
    """The web framework's own limit is 1 MB, in both kinds of form."""
    data = bytes(range(256)) * (22 * MB // 256)
    text = base64.b64encode(data)
    assert read_form(multipart(("b64", None, text)), MULTIPART, 30 * MB) == {"b64": text.decode()}
    assert read_form(b"b64=" + quote_plus(text).encode(), URLENCODED, 30 * MB) == {"b64": text.decode()}


def test_a_file_field_that_nobody_filled_in_is_absent() -> None:
    assert read_form(multipart(("image", "", b"")), MULTIPART) == {}
    assert read_form(multipart(("image", "empty.jpg", b"")), MULTIPART).get("image") == b""


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"--y\r\nno", MULTIPART),
        (multipart(("a", None, b"1"))[:-30], "multipart/form-data; boundary="),
        (multipart(("a", None, b"1")), "multipart/form-data"),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n", MULTIPART),
        (b"".join([multipart((f"f{n}", None, b"1"))[:-7] for n in range(200)]) + b"--x--\r\n", MULTIPART),
        (b"&".join(b"f%d=1" % n for n in range(200)), URLENCODED),
    ],
)
def test_broken_forms_are_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(MatteboxError) as caught:
        read_form(body, content_type)
    assert caught.value.kind is Kind.INVALID_REQUEST


@given(st.binary(max_size=400), st.sampled_from(["x", "utf-7", "idna", "a\0", "base64", "punycode"]))
def test_no_body_makes_the_form_reader_stumble(noise: bytes, charset: str) -> None:
    start = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
    for body in (noise, start + noise, multipart(("a", None, noise))):
        assert outcome(partial(read_form, body, f"{MULTIPART}; charset={charset}")) in FINE


# --- JSON --------------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(min_size=1, max_size=9).filter(str.strip), max_size=4))
def test_json_texts_come_back(values: dict[str, str]) -> None:
    body = stdlib.dumps(values).encode()
    for dressed in (body, b"\xef\xbb\xbf" + body):
        for content_type in ("application/json; charset=utf-8", "application/vnd.x+json", None):
            found = read_json(dressed, content_type)
            assert found == values


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": "\\ud800"}',
        b"\xff\xfe",
        b'{"a": 1} x',
        b'{"a": ' + b"9" * 10_000 + b"}",
        b"image_file=abc",
    ],
)
def test_broken_json_is_refused(body: bytes) -> None:
    with pytest.raises(MatteboxError) as caught:
        read_json(body)
    assert caught.value.kind is Kind.INVALID_REQUEST


@given(st.binary(max_size=200))
def test_no_body_makes_the_json_reader_stumble(noise: bytes) -> None:
    for body in (noise, b'{"a": "' + noise + b'"}'):
        assert outcome(partial(read_json, body)) in FINE


def test_json_has_as_many_members_as_a_form_has_fields() -> None:
    most = {f"a{number}": number for number in range(100)}
    assert read_json(stdlib.dumps(most).encode()) == most
    assert refusal(lambda: read_json(stdlib.dumps(most | {"more": 1}).encode())) == (Kind.INVALID_REQUEST, None)


@pytest.mark.parametrize("content_type", ["text/plain", URLENCODED, MULTIPART, "image/png"])
def test_other_types_are_no_json(content_type: str) -> None:
    with pytest.raises(MatteboxError, match="application/json") as caught:
        read_json(b"{}", content_type)
    assert caught.value.kind is Kind.INVALID_REQUEST


# --- counting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("announced", [[], [(b"content-length", b"5")]])
@pytest.mark.parametrize("content_type", ["application/json", MULTIPART, URLENCODED])
def test_what_arrives_is_counted_whatever_was_announced(
    announced: Sequence[tuple[bytes, bytes]], content_type: str
) -> None:
    taken = 0

    def endless() -> Iterable[bytes]:
        nonlocal taken
        for _ in range(200):
            taken += 1
            yield b"a" * 100_000

    asked = request(endless(), content_type, headers=announced)
    reader: Callable[..., Awaitable[Values]] = bodies.json if content_type == "application/json" else bodies.form
    with pytest.raises(MatteboxError) as caught:
        anyio.run(partial(reader, asked, max_bytes=MB, picture="image"))
    assert caught.value.kind in (Kind.TOO_MANY_BYTES, Kind.INVALID_REQUEST)
    if content_type != MULTIPART:  # such a body breaks off at its first byte
        assert caught.value.kind is Kind.TOO_MANY_BYTES


def test_a_length_that_is_too_large_is_refused_before_anything_is_read() -> None:
    asked = request([], "application/json", headers=[(b"content-length", b"9" * 30)])
    with pytest.raises(MatteboxError) as caught:
        anyio.run(partial(bodies.json, asked, max_bytes=MB, picture="image"))
    assert caught.value.kind is Kind.TOO_MANY_BYTES


def test_a_raw_body_obeys_the_limit_to_the_byte() -> None:
    assert anyio.run(partial(bodies.raw, request([b"ab", b"c"], "image/png"), max_bytes=3, picture="image")) == b"abc"
    with pytest.raises(MatteboxError) as caught:
        anyio.run(partial(bodies.raw, request([b"ab", b"cd"], "image/png"), max_bytes=3, picture="image"))
    assert caught.value.kind is Kind.TOO_MANY_BYTES


@pytest.mark.parametrize(
    ("reader", "content_type"),
    [(bodies.json, "application/json"), (bodies.form, MULTIPART), (bodies.form, URLENCODED), (bodies.raw, "image/png")],
)
def test_a_client_that_goes_away_is_not_waited_for(reader: Callable[..., Awaitable[object]], content_type: str) -> None:
    with pytest.raises(MatteboxError) as caught:
        anyio.run(partial(reader, request([], content_type), max_bytes=9, picture="image"))
    assert caught.value.kind is Kind.CANCELLED


# --- packed bodies -----------------------------------------------------------------------------------------------


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, list[Callable[[bytes], bytes]]] = {
    "gzip": [gzip.compress, lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:])],
    "X-GZIP": [gzip.compress],
    "deflate": [zlib.compress, raw_deflate],
    "identity, gzip": [gzip.compress],
    "identity": [bytes],
}


def packed(body: bytes, encoding: str, *, step: int = 2**16, content_type: str = "image/png") -> Request:
    pieces = [body[at : at + step] for at in range(0, len(body), step)] or [b""]
    length = (b"content-length", str(len(body)).encode())
    return request(pieces, content_type, headers=[(b"content-encoding", encoding.encode()), length])


def read_packed(body: bytes, encoding: str, max_bytes: int = MB, step: int = 2**16) -> bytes:
    asked = packed(body, encoding, step=step)
    return anyio.run(partial(bodies.raw, asked, max_bytes=max_bytes, picture="image"))


@pytest.mark.parametrize("encoding", PACKERS)
@given(data=st.binary(min_size=1, max_size=400), repeat=st.integers(1, 2000), step=st.sampled_from([1, 7, 2**16]))
def test_a_packed_body_is_what_it_was(encoding: str, data: bytes, repeat: int, step: int) -> None:
    for pack in PACKERS[encoding]:
        assert read_packed(pack(data * repeat), encoding, step=step if repeat < 9 else 2**16) == data * repeat


def test_forms_and_json_may_be_packed_too() -> None:
    form = packed(gzip.compress(multipart(("a", "x.png", b"123"))), "gzip", content_type=MULTIPART)
    assert anyio.run(partial(bodies.form, form, max_bytes=9, picture="image")) == {"a": b"123"}
    text = packed(zlib.compress(b'{"a": "b"}'), "deflate", content_type="application/json")
    assert anyio.run(partial(bodies.json, text, max_bytes=9, picture="image")) == {"a": "b"}
    assert read_packed(b"", "gzip") == b""


@pytest.mark.parametrize("size", [999, 1000, 1001])
def test_the_limit_is_for_what_is_inside(size: int) -> None:
    data = random.Random(size).randbytes(size)  # packed, it is a little larger
    for pack in PACKERS["gzip"] + PACKERS["deflate"]:
        encoding = "gzip" if pack in PACKERS["gzip"] else "deflate"
        if size <= 1000:
            assert read_packed(pack(data), encoding, 1000) == data
        else:
            assert refusal(partial(read_packed, pack(data), encoding, 1000)) == (Kind.TOO_MANY_BYTES, "image")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_refused_before_it_goes_off(encoding: str) -> None:
    bomb = PACKERS[encoding][0](bytes(2**27))
    tracemalloc.start()
    try:
        assert refusal(partial(read_packed, bomb, encoding, MB)) == (Kind.TOO_MANY_BYTES, "image")
        assert tracemalloc.get_traced_memory()[1] < 8 * MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "aws-chunked", "gzip;q=1"])
def test_other_encodings_are_refused_before_anything_is_read(encoding: str) -> None:
    assert refusal(partial(read_packed, b"x" * 10, encoding)) == (Kind.UNSUPPORTED_ENCODING, None)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_packed_body_that_is_damaged_is_refused(encoding: str) -> None:
    whole = PACKERS[encoding][0](b"a picture" * 99)
    for wrong in (whole[:-1], whole[:1], whole[:20], b"\0" + whole, whole + b"xy", b"\xff" * 9):
        assert refusal(partial(read_packed, wrong, encoding)) == (Kind.INVALID_REQUEST, None)
    assert outcome(partial(read_packed, b"\x89PNG\r\n", "gzip")) is Kind.INVALID_REQUEST


# --- lenient JSON ------------------------------------------------------------------------------------------------


def read_leniently(body: bytes, content_type: str | None = "application/json") -> Values:
    return anyio.run(partial(bodies.json, request([body], content_type), max_bytes=MB, picture="image", lenient=True))


@pytest.mark.parametrize("body", [b"", b" \r\n\t", b"\xef\xbb\xbf", b"{}"])
def test_nothing_is_an_empty_object_only_to_the_lenient(body: bytes) -> None:
    for named in ("application/json", None):
        assert read_leniently(body, named) == {}
    if body != b"{}":
        assert outcome(lambda: read_json(body)) is Kind.INVALID_REQUEST


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_reaches_its_reader_only_with_the_lenient(number: str) -> None:
    body = f'{{"angle": {number}}}'.encode()

    class Turn(Fields):
        angle: Annotated[float, Number(-9, 9)] = 0

    assert refusal(lambda: Turn.read(read_leniently(body))) == (Kind.INVALID_PARAMETER, "angle")
    if number != "1e999":
        assert outcome(lambda: read_json(body)) is Kind.INVALID_REQUEST


@pytest.mark.parametrize("body", [b"[]", b"null", b'"a"', b"1", b"{", b"{}{}", b"\xff", b'{"a": "\\ud800"}'])
def test_what_is_no_object_is_refused_by_the_lenient_too(body: bytes) -> None:
    assert outcome(lambda: read_leniently(body)) is Kind.INVALID_REQUEST
    assert outcome(lambda: read_leniently(b"", "text/plain")) is Kind.INVALID_REQUEST

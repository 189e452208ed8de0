from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from mattebox.edit import Color
from mattebox.errors import Kind, MatteboxError
from mattebox.server.http import fields
from mattebox.server.http.fields import Fields

MB = 2**20


def read(max_bytes: int = MB, **values: object) -> Fields:
    return Fields(values, max_bytes=max_bytes)


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


@pytest.mark.parametrize("absent", ["", "  ", None])
def test_empty_is_absent_for_every_reader(absent: str | None) -> None:
    given = read(a=absent)
    assert list(given.names) == []
    assert given.text("a") is None
    assert given.flag("a", default=True) is True
    assert given.choice("a", {"x": 1}, 7) == 7
    assert given.integer("a", least=0, most=1) is None
    assert given.color("a") is None
    assert given.base64("a") is None
    assert given.file("a") is None
    assert list(given.group("a").names) == []


def test_what_was_sent_empty_is_known() -> None:
    given = read(a="", b=" \t", c=None, d="x", e=0, f=b"")
    assert set(given.empty) == {"a", "b"}
    assert set(given.names) == {"d", "e", "f"}


def test_undefined_in_a_query_is_absent() -> None:
    asked = fields.query(request([], None, query=b"a=undefined&b=null&c=&d=1"), max_bytes=1)
    assert list(asked.names) == ["d"]


@pytest.mark.parametrize("value", [True, "true", "True", "TRUE", "1", 1, " true "])
def test_true_in_all_its_spellings(value: object) -> None:
    assert read(a=value).flag("a") is True


@pytest.mark.parametrize("value", [False, "false", "False", "0", 0])
def test_false_in_all_its_spellings(value: object) -> None:
    assert read(a=value).flag("a", default=True) is False


@pytest.mark.parametrize("value", ["yes", "no", "on", "2", 2, 1.5, [], {}, b"true"])
def test_anything_else_is_no_flag(value: object) -> None:
    with pytest.raises(MatteboxError, match="crop must be true or false") as caught:
        read(crop=value).flag("crop")
    assert caught.value.parameter == "crop"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2, 2.0), (-3.5, -3.5), ("2.5", 2.5), (" -1e1 ", -10.0), (10, 10.0), ("-10", -10.0), (0, 0.0)],
)
def test_a_number(value: object, expected: float) -> None:
    found = read(angle=value).number("angle", least=-10, most=10)
    assert (type(found), found) == (float, expected)


NO_NUMBERS: list[object] = ["a", "1,5", "0x10", True, False, [1], {}, b"1"]
OUT_OF_BOUNDS: list[object] = [10.001, -11, "1e999", "nan", math.nan, -math.inf, 10**400, str(10**400)]


@pytest.mark.parametrize("absent", ["", " ", None])
def test_no_number(absent: object) -> None:
    assert read(angle=absent).number("angle", least=-10, most=10) is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        *((each, "must be a number.") for each in NO_NUMBERS),
        *((each, "from -10 to 10.") for each in OUT_OF_BOUNDS),
    ],
)
def test_what_is_no_number_or_out_of_bounds(value: object, why: str) -> None:
    with pytest.raises(MatteboxError) as caught:
        read(angle=value).number("angle", least=-10, most=10)
    assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, "angle")
    assert caught.value.message.startswith("angle must be a number")
    assert caught.value.message.endswith(why)


@given(st.one_of(st.integers(), st.floats(), st.text(), st.floats().map(str), st.integers().map(str)))
def test_a_number_is_in_bounds_or_refused(value: object) -> None:
    found = None
    with suppress(MatteboxError):
        found = read(angle=value).number("angle", least=-1000, most=1000)
    assert found is None or -1000 <= found <= 1000


def test_a_choice_ignores_case_and_lists_what_there_is() -> None:
    words = {"png": 1, "jpg": 2}
    assert read(format=" PNG ").choice("format", words, 0) == 1
    for wrong in ("tiff", 3, ["png"]):
        with pytest.raises(MatteboxError, match="format must be one of png, jpg") as caught:
            read(format=wrong).choice("format", words, 0)
        assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, "format")


@given(st.integers(-50, 250))
def test_whole_numbers_in_their_range(number: int) -> None:
    for written in (number, str(number), f" {number} "):
        if 1 <= number <= 100:
            assert read(a=written).integer("a", least=1, most=100) == number
        else:
            with pytest.raises(MatteboxError, match="from 1 to 100"):
                read(a=written).integer("a", least=1, most=100)


@pytest.mark.parametrize("value", ["1.0", "1e2", "0x1", "١", True, 1.0, "9" * 10_000, [1]])
def test_what_is_no_whole_number(value: object) -> None:
    with pytest.raises(MatteboxError, match="whole number"):
        read(a=value).integer("a", least=0, most=10**20)


def test_a_colour_is_blamed_on_its_parameter() -> None:
    assert read(bg="rgb(1, 2, 3)").color("bg") == Color(1, 2, 3)
    with pytest.raises(MatteboxError) as caught:
        read(bg="greenish").color("bg")
    assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, "bg")


def test_text_is_text_and_not_endless() -> None:
    assert read(a=" x ").text("a") == "x"
    assert read(b="2").text("a", "b") == "2"
    for wrong in (5, ["x"], "x" * 10_000):
        with pytest.raises(MatteboxError, match=r"^a must"):
            read(a=wrong).text("a")


@given(
    st.binary(min_size=1, max_size=300),
    st.integers(1, 80),
    st.sampled_from(["", "data:image/png;base64,", "DATA:;base64,"]),
)
def test_base64_comes_back_whatever_its_dress(data: bytes, width: int, prefix: str) -> None:
    for text in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()):
        lines = "\r\n".join(text[at : at + width] for at in range(0, len(text), width))
        assert read(a=prefix + text).base64("a") == data
        assert read(a=f"{prefix}\n{lines}\n").base64("a") == data


@pytest.mark.parametrize(
    "wrong",
    ["!!!!", "abc", "ab=c", "Zm9v=", "data:image/png,Zm9v", "data:;base64", "Zm9vé", 5, {"a": 1}, "https://x.org/a"],
)
def test_wrong_base64_is_refused_by_name(wrong: object) -> None:
    with pytest.raises(MatteboxError, match="image_file") as caught:
        read(image_file=wrong).base64("image_file")
    assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, "image_file")


@given(st.binary(min_size=1, max_size=60), st.integers(1, 60))
def test_base64_and_files_obey_the_limit_to_the_byte(data: bytes, limit: int) -> None:
    text = base64.b64encode(data).decode()
    for take in (read(limit, a=text).base64, read(limit, a=data).file):
        if len(data) <= limit:
            assert take("a") == data
        else:
            with pytest.raises(MatteboxError) as caught:
                take("a")
            assert (caught.value.kind, caught.value.parameter) == (Kind.TOO_MANY_BYTES, "a")


def test_members_of_a_group_are_named_in_full() -> None:
    body = read(extra={"type": "tiff"})
    with pytest.raises(MatteboxError) as caught:
        body.group("extra").choice("type", {"png": 1}, 1)
    assert caught.value.parameter == "extra.type"
    with pytest.raises(MatteboxError, match="extra must be an object"):
        read(extra=[1]).group("extra")


def test_the_first_fields_come_before_the_others() -> None:
    both = read(a="1", b="").over(read(a="2", b="3"))
    assert (both.text("a"), both.text("b")) == ("1", "3")


def test_lists_of_objects() -> None:
    assert read().groups("edits", most=2) == []
    first, second = read(edits=[{"size": 1}, {}]).groups("edits", most=2)
    assert (first.integer("size", least=1, most=9), second.names) == (1, {}.keys())
    assert first.which("size") == "edits[0].size"
    for wrong, parameter in (
        ([], "edits"),
        ("x", "edits"),
        ({}, "edits"),
        ([{}] * 3, "edits"),
        ([{}, 1], "edits[1]"),
    ):
        with pytest.raises(MatteboxError) as caught:
            read(edits=wrong).groups("edits", most=2)
        assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, parameter)


def test_a_picture_is_a_file_or_base64() -> None:
    given = read(file=b"\x89PNG", text=base64.b64encode(b"\x89PNG").decode(), wrong="no base64!", number=3)
    assert given.picture("file") == given.picture("text") == b"\x89PNG"
    assert given.picture("absent") is None
    for name in ("wrong", "number"):
        with pytest.raises(MatteboxError) as caught:
            given.picture(name)
        assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, name)
    with pytest.raises(MatteboxError) as caught:
        read(3, file=b"\x89PNG").picture("file")
    assert caught.value.kind is Kind.TOO_MANY_BYTES

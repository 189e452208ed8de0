from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, ConfigDict, Field

from mattebox import units
from mattebox.edit import Color, Format
from mattebox.errors import Kind, MatteboxError
from mattebox.fields import (
    Fields,
    Flag,
    Number,
    Reader,
    ReadFlag,
    ReadText,
    Refusal,
    Relation,
    Whole,
    Word,
    Written,
    counted,
)


class Hook(Fields):
    url: Annotated[str | None, ReadText(20)] = None


class Part(Fields):
    model_config = ConfigDict(extra="forbid")

    id: Annotated[int, Whole(0, 9)]


class Asked(Fields):
    model_config = ConfigDict(extra="forbid")

    crop: Annotated[Flag, Field(description="Cut.")] = False
    margin: Annotated[int | None, Whole(0, 9), Relation(requires=("crop", "hook"))] = None
    sigma: Annotated[float | None, Number(0.3, 10), Relation(excludes=("background",), because="it is blurred")] = None
    format: Annotated[Format | None, Word(Format)] = None
    background: Annotated[Color | None, Written(units.color)] = None
    hook: Hook = Hook()
    hooks: tuple[Hook, ...] = ()
    parts: Annotated[tuple[Part, ...], counted(2)] = ()


def test_values_are_read_as_they_are_meant() -> None:
    read = Asked.read({"crop": "True", "margin": " 5 ", "format": "PNG", "background": "white", "sigma": None})
    assert (read.crop, read.margin, read.format, read.background) == (True, 5, Format.PNG, Color(255, 255, 255))
    assert (read.sigma, read.hooks) == (None, ())
    assert read.given == {"crop", "margin", "format", "background"}


def test_what_is_empty_is_absent_also_within() -> None:
    assert Asked.read({"crop": " ", "margin": None, "hook": {"url": ""}}) == Asked()


@pytest.mark.parametrize(
    ("values", "message", "parameter"),
    [
        ({"crop": "yes"}, "crop must be true or false.", "crop"),
        ({"margin": "1.5", "crop": 1}, "margin must be a whole number from 0 to 9.", "margin"),
        ({"margin": True, "crop": 1}, "margin must be a whole number from 0 to 9.", "margin"),
        ({"sigma": "nan"}, "sigma must be a number from 0.3 to 10.", "sigma"),
        ({"sigma": [1]}, "sigma must be a number.", "sigma"),
        ({"format": "gif"}, "format must be one of png, webp, jpeg, avif, zip.", "format"),
        ({"hook": {"url": "x" * 21}}, "hook.url must have at most 20 characters.", "hook.url"),
        ({"hook": 3}, "hook must be an object.", "hook"),
        ({"hooks": [{}, {"url": 1}]}, "hooks[1].url must be text.", "hooks[1].url"),
        ({"crip": 1}, "Unknown parameter 'crip'. Did you mean crop?", "crip"),
        ({"parts": []}, "parts must be a list of 1 to 2 objects.", "parts"),
        ({"parts": "x"}, "parts must be a list of 1 to 2 objects.", "parts"),
        ({"parts": [{"id": 1}] * 3}, "parts must be a list of 1 to 2 objects.", "parts"),
        ({"parts": [{"id": 1}, {}]}, "parts[1].id is required.", "parts[1].id"),
        ({"parts": [{"id": 1, "crip": 1}]}, "Unknown parameter 'parts[0].crip'.", "parts[0].crip"),
        ({"margin": 3}, "margin requires crop or hook.", "margin"),
        ({"margin": 3, "crop": "false"}, "margin requires crop or hook.", "margin"),
        ({"sigma": 3, "background": "red"}, "sigma cannot be combined with background: it is blurred.", "sigma"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(values: dict[str, object], message: str, parameter: str) -> None:
    with pytest.raises(MatteboxError) as caught:
        Asked.read(values)
    assert (caught.value.kind, caught.value.message) == (Kind.INVALID_PARAMETER, message)
    assert caught.value.parameter == parameter


def test_what_a_reader_of_units_refuses_is_blamed_on_the_field() -> None:
    with pytest.raises(MatteboxError, match=r"'beige-ish' is not a colour") as caught:
        Asked.read({"background": "beige-ish"})
    assert caught.value.parameter == "background"


def test_a_hint_looks_at_the_name_and_not_at_the_place() -> None:
    def called(name: str) -> str:
        return f"edits[0].{name}"

    for name, hint in (("crip", "Did you mean edits[0].crop?"), ("secret", "Choose from edits[0].crop, edits[0].")):
        with pytest.raises(MatteboxError) as caught:
            Asked.read({name: 1}, called=called)
        assert caught.value.message.startswith(f"Unknown parameter 'edits[0].{name}'. {hint}")


def test_names_are_shown_as_whoever_wrote_them_knows_them() -> None:
    with pytest.raises(MatteboxError, match=r"^--margin requires --crop or --hook\.$") as caught:
        Asked.read({"margin": 1}, called=lambda name: f"--{name}")
    assert caught.value.parameter == "--margin"


def test_the_schema_says_the_same() -> None:
    properties = Asked.model_json_schema()["properties"]
    assert properties["crop"] | {"title": ""} == {
        "type": "boolean",
        "default": False,
        "description": "Cut.",
        "title": "",
    }
    assert (properties["margin"]["minimum"], properties["margin"]["maximum"]) == (0, 9)
    assert properties["format"]["enum"] == ["png", "webp", "jpeg", "avif", "zip"]


# --- readers of single values ------------------------------------------------------------------------------------


def read_as(reader: Reader, value: object) -> object:
    """What a field with this reader makes of a value; None where it is absent."""

    class One(Fields):
        it: Annotated[object, reader] = None

    return One.read({"it": value}).it


def test_a_word_declared_in_capitals_is_read_in_any_case() -> None:
    word = Word({"ON": 1, "Off": 0})
    assert [read_as(word, each) for each in ("ON", "on", " off ", "OFF")] == [1, 1, 0, 0]
    assert word.schema["enum"] == ["ON", "Off"]


@pytest.mark.parametrize("value", [True, "true", "True", "TRUE", "1", 1, " true "])
def test_true_in_all_its_spellings(value: object) -> None:
    assert read_as(ReadFlag(), value) is True


@pytest.mark.parametrize("value", [False, "false", "False", "0", 0])
def test_false_in_all_its_spellings(value: object) -> None:
    assert read_as(ReadFlag(), value) is False


@pytest.mark.parametrize("value", ["yes", "no", "on", "2", 2, 1.5, [], {}, b"true"])
def test_anything_else_is_not_a_flag(value: object) -> None:
    with pytest.raises(MatteboxError, match=r"^it must be true or false"):
        read_as(ReadFlag(), value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2, 2.0), (-3.5, -3.5), ("2.5", 2.5), (" -1e1 ", -10.0), (10, 10.0), ("-10", -10.0), (0, 0.0)],
)
def test_a_number(value: object, expected: float) -> None:
    found = read_as(Number(-10, 10), value)
    assert (type(found), found) == (float, expected)


@given(st.one_of(st.integers(), st.floats(), st.text(), st.floats().map(str), st.integers().map(str)))
def test_a_number_is_in_bounds_or_refused(value: object) -> None:
    with suppress(MatteboxError):
        found = read_as(Number(-2, 3), value)
        assert found is None or (isinstance(found, float) and -2 <= found <= 3)


@given(st.integers(-50, 250))
def test_whole_numbers_in_their_range(number: int) -> None:
    for value in (number, str(number)):
        if 0 <= number <= 200:
            assert read_as(Whole(0, 200), value) == number
        else:
            with pytest.raises(MatteboxError, match="from 0 to 200"):
                read_as(Whole(0, 200), value)


@pytest.mark.parametrize("value", ["1.0", "1e2", "0x1", "١", True, 1.0, "9" * 10_000, [1]])
def test_what_is_not_a_whole_number(value: object) -> None:
    with pytest.raises(MatteboxError, match="whole number"):
        read_as(Whole(0, 200), value)


def test_text_is_text_and_has_an_end() -> None:
    assert read_as(ReadText(), "  a b ") == "a b"
    for wrong in (5, ["x"], "x" * 10_000):
        with pytest.raises(MatteboxError, match=r"^it must"):
            read_as(ReadText(), wrong)


# --- names and schemas -------------------------------------------------------------------------------------------


class Named(Fields):
    file: Annotated[int, Whole(1, 5), Field(validation_alias=AliasChoices("image_file", "image"))] = 1
    start: Annotated[str | None, ReadText(), Relation(requires=("file",)), Field(validation_alias="from")] = None
    size: Annotated[int, Word({"small": 10, "large": 99})] = Field(99, description="How large.")
    title: Annotated[str, ReadText()]
    hooks: tuple[Hook, ...] = ()


def test_the_first_name_that_is_present_is_taken_and_blamed() -> None:
    found = Named.read({"image_file": "", "image": 2, "title": "t"})
    assert (found.file, found.named("file"), found.named("start")) == (2, "image", "from")
    for values, parameter in (
        ({"image": 9, "title": "t"}, "image"),
        ({"image_file": 9, "image": 1, "title": "t"}, "image_file"),
        ({"from": "a", "title": "t"}, "from"),
        ({}, "title"),
    ):
        with pytest.raises(MatteboxError) as caught:
            Named.read(values)
        assert caught.value.parameter == parameter
    assert Named.read({"file": 9, "title": "t"}).file == 1, "a field goes by the names that it was given"


def test_properties_are_whole_and_have_defaults_as_words() -> None:
    found = Named.properties()
    assert list(found) == ["image_file", "from", "size", "title", "hooks"]
    assert found["size"] == {
        "type": "string",
        "enum": ["small", "large"],
        "default": "large",
        "description": "How large.",
    }
    assert found["hooks"] == {
        "type": "array",
        "items": {"type": "object", "properties": {"url": {"type": "string", "maxLength": 20}}},
    }
    assert Named.required_names() == ("title",)


def test_words_are_shown_as_their_vendor_writes_them_and_read_in_any_case() -> None:
    word = Word({"none": 0, "50MP": 50})
    assert [word.read(each) for each in ("50MP", " 50mp ", "NONE")] == [50, 50, 0]
    assert (word.schema["enum"], word.show(50)) == (["none", "50MP"], "50MP")
    with pytest.raises(Refusal, match="must be one of none, 50MP"):
        word.read("50")

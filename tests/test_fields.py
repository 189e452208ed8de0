from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import ConfigDict, Field

from mattebox import units
from mattebox.edit import Color, Format
from mattebox.errors import Kind, MatteboxError
from mattebox.fields import Fields, Flag, Number, ReadText, Relation, Whole, Word, Written


class Hook(Fields):
    url: Annotated[str | None, ReadText(20)] = None


class Asked(Fields):
    model_config = ConfigDict(extra="forbid")

    crop: Annotated[Flag, Field(description="Cut.")] = False
    margin: Annotated[int | None, Whole(0, 9), Relation(requires=("crop", "hook"))] = None
    sigma: Annotated[float | None, Number(0.3, 10), Relation(excludes=("background",), because="it is blurred")] = None
    format: Annotated[Format | None, Word(Format)] = None
    background: Annotated[Color | None, Written(units.color)] = None
    hook: Hook = Hook()
    hooks: tuple[Hook, ...] = ()


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

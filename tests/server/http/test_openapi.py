from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from mattebox.errors import Kind
from mattebox.fields import Fields, Flag, Whole
from mattebox.server.app import find_dialects
from mattebox.server.http import openapi
from mattebox.server.http.bodies import Base64File, File, PhotoFields, PictureFile
from mattebox.server.http.dialect import STATUS, Dialect


class Sent(PhotoFields):
    photo_fields = ("image", "image_b64")
    photo_missing = "Please send a picture."

    image: Annotated[bytes | None, File()] = Field(None, description="The picture.")
    image_b64: Annotated[bytes | None, Base64File()] = None
    behind: Annotated[bytes | None, PictureFile()] = None
    crop: Annotated[Flag, Field(description="Cut it.")] = False


class Page(Fields):
    take: Annotated[int, Whole(1, 100)] = Field(10, description="How many.")
    start: Annotated[int, Whole(0, 9), Field(validation_alias="from")]


class Row(BaseModel):
    id: str


class Rows(BaseModel):
    rows: list[Row]


def inside(value: object, *keys: str) -> Mapping[str, object]:
    for key in keys:
        assert isinstance(value, Mapping)
        value = value[key]
    assert isinstance(value, Mapping)
    return value


def test_each_kind_of_body_has_the_fields_that_it_can_carry() -> None:
    described = openapi.request(form=Sent, json=Sent, raw=("image/*",), urlencoded=True)
    content = inside(described, "requestBody", "content")
    form = inside(content, "multipart/form-data", "schema")
    assert content["application/x-www-form-urlencoded"] == content["multipart/form-data"]
    assert inside(form, "properties") == {
        "image": {"type": "string", "format": "binary", "description": "The picture."},
        "image_b64": {"type": "string", "contentEncoding": "base64"},
        "behind": {"type": "string", "format": "binary"},
        "crop": {"type": "boolean", "default": False, "description": "Cut it."},
    }
    assert "required" not in form
    body = inside(content, "application/json", "schema")
    assert set(inside(body, "properties")) == {"image_b64", "behind", "crop"}
    assert inside(body, "properties", "behind") == {"type": "string", "contentEncoding": "base64"}
    assert body["required"] == ["image_b64"], "it is the only place for the photo"
    assert inside(content, "image/*", "schema") == {"type": "string", "format": "binary"}


def test_a_query_has_parameters() -> None:
    assert openapi.request(query=Page, parameters=(openapi.IDEMPOTENCY_KEY,)) == {
        "parameters": [
            {
                "name": "take",
                "in": "query",
                "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
                "description": "How many.",
            },
            {
                "name": "from",
                "in": "query",
                "schema": {"type": "integer", "minimum": 0, "maximum": 9},
                "required": True,
            },
            openapi.IDEMPOTENCY_KEY,
        ]
    }
    assert openapi.request(query=Sent) == {
        "parameters": [
            {"name": "crop", "in": "query", "schema": {"type": "boolean", "default": False}, "description": "Cut it."}
        ]
    }


def test_a_result_is_files_or_json_without_references() -> None:
    described = openapi.result("Rows", media_types=("image/png",), model=Rows, headers={"X-A": "a"}, status=201)
    content = inside(described[201], "content")
    assert inside(content, "image/png", "schema") == {"type": "string", "format": "binary"}
    assert inside(content, "application/json", "schema", "properties", "rows", "items") == {
        "type": "object",
        "properties": {"id": {"type": "string"}},
        "required": ["id"],
    }


@pytest.mark.parametrize("dialect", find_dialects(), ids=lambda each: each.name)
def test_each_failure_is_shown_as_the_dialect_writes_it(dialect: Dialect) -> None:
    kinds = [kind for kind in Kind if kind is not Kind.CANCELLED]
    described = openapi.errors(dialect.render_error, kinds, status=dialect.status)
    assert set(described) == {{**STATUS, **dialect.status}[kind] for kind in kinds}
    shown: dict[str, object] = {}
    for each in described.values():
        (media_type,) = inside(each, "content")
        assert "json" in media_type
        shown |= inside(each, "content", media_type, "examples")
    assert set(shown) == set(kinds)
    assert all(inside(each, "value") for each in shown.values())

"""Short words for the long dictionaries that describe routes on the OpenAPI page.

The routes read their requests themselves, so their descriptions are written out; these functions keep them readable.
"""

from __future__ import annotations

import http
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

Schema: TypeAlias = dict[str, object]
Responses: TypeAlias = dict[int | str, dict[str, object]]

JSON = "application/json"

IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string"},
    "description": "A request that is sent again under the same key gets the answer of the first one.",
}


def binary(doc: str = "") -> Schema:
    """The schema of a file."""
    return {"type": "string", "format": "binary", **({"description": doc} if doc else {})}


def obj(properties: Mapping[str, object], *, required: Sequence[str] = ()) -> Schema:
    """The schema of an object."""
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def array(items: Schema) -> Schema:
    """The schema of a list."""
    return {"type": "array", "items": items}


def word(words: Sequence[str], doc: str, *, default: str | None = None) -> Schema:
    """The schema of one of several words."""
    return {
        "type": "string",
        "enum": list(words),
        "description": doc,
        **({} if default is None else {"default": default}),
    }


def plain(
    kind: Literal["string", "boolean", "integer", "number"],
    doc: str,
    *,
    least: int | None = None,
    most: int | None = None,
    nullable: bool = False,
) -> Schema:
    """The schema of a single value."""
    bounds = {"minimum": least, "maximum": most}
    return {
        "type": [kind, "null"] if nullable else kind,
        "description": doc,
        **{name: bound for name, bound in bounds.items() if bound is not None},
    }


def content(media_types: Sequence[str], schema: Schema, *, example: object = None) -> Schema:
    """The same schema under several media types."""
    return {kind: {"schema": schema, **({} if example is None else {"example": example})} for kind in media_types}


def success(doc: str, content: Schema, *, headers: Mapping[str, str] | None = None) -> Responses:
    """The answer of a route that did what it was asked to; `headers` by name, each with what it says."""
    described = {name: {"description": text, "schema": {"type": "string"}} for name, text in (headers or {}).items()}
    return {200: {"description": doc, "headers": described, "content": content}}


def failures(schema: Schema, examples: Mapping[int, Schema], *, media_type: str = JSON) -> Responses:
    """The failures of a route: one schema, and an example for each status."""
    return {
        status: {
            "description": http.HTTPStatus(status).phrase,
            "content": content([media_type], schema, example=example),
        }
        for status, example in examples.items()
    }

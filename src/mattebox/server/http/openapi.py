"""The page of API docs: requests described from the models that read them, and failures by what writes them."""

from __future__ import annotations

import http
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import pydantic_core
from pydantic import BaseModel

from mattebox.errors import Kind, MatteboxError
from mattebox.fields import Fields, inlined
from mattebox.server.http.bodies import PhotoFields
from mattebox.server.http.dialect import STATUS, RenderError

Schema: TypeAlias = dict[str, object]
Responses: TypeAlias = dict[int | str, dict[str, object]]

JSON = "application/json"

IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string"},
    "description": "A request that is sent again under the same key gets the answer of the first one.",
}


_SAMPLES: Mapping[Kind, MatteboxError] = {
    each.kind: each
    for each in (
        MatteboxError(Kind.INVALID_REQUEST, "The body is not valid JSON."),
        MatteboxError(Kind.UNSUPPORTED_ENCODING, "Content-Encoding must be gzip or deflate."),
        MatteboxError(Kind.UPLOAD_TIMED_OUT, "The body did not arrive in time."),
        MatteboxError(Kind.INVALID_PARAMETER, "crop must be true or false.", parameter="crop"),
        MatteboxError(Kind.MISSING_IMAGE, "Please send a picture.", parameter="image"),
        MatteboxError(Kind.UNREADABLE_IMAGE, "This is not a picture that can be read.", parameter="image"),
        MatteboxError(Kind.NO_SUBJECT, "No subject found."),
        MatteboxError(Kind.TOO_MANY_BYTES, "The picture may have at most 31,457,280 bytes.", parameter="image"),
        MatteboxError(Kind.TOO_MANY_PIXELS, "The picture may have at most 50,000,000 pixels.", parameter="image"),
        MatteboxError(Kind.UNREACHABLE_SOURCE, "The address cannot be reached.", parameter="image_url"),
        MatteboxError(Kind.MISSING_KEY, "An API key is needed."),
        MatteboxError(Kind.INVALID_KEY, "This API key is not known."),
        MatteboxError(Kind.FORBIDDEN, "Pages of other sites may not use this server."),
        MatteboxError(Kind.OUT_OF_CREDITS, "This key has no credits left."),
        MatteboxError(Kind.NOT_FOUND, "Nothing was found under this name."),
        MatteboxError(Kind.CONFLICT, "The task has already ended."),
        MatteboxError(Kind.OVERLOADED, "Too many pictures are waiting; please try again in a moment."),
        MatteboxError(Kind.TIMED_OUT, "The picture was not done within 60 seconds."),
        MatteboxError(Kind.CANCELLED, "The client has gone."),
        MatteboxError(Kind.UNAVAILABLE, "The model is still being loaded."),
        MatteboxError(Kind.NOT_OFFERED, "This server is not set up for this."),
        MatteboxError(Kind.INTERNAL, "Something went wrong inside the server; its log says more."),
    )
}
EDIT_ERRORS = (
    Kind.INVALID_PARAMETER,
    Kind.MISSING_IMAGE,
    Kind.UNREADABLE_IMAGE,
    Kind.INVALID_KEY,
    Kind.OUT_OF_CREDITS,
    Kind.TOO_MANY_BYTES,
    Kind.UNSUPPORTED_ENCODING,
    Kind.UPLOAD_TIMED_OUT,
    Kind.OVERLOADED,
    Kind.TIMED_OUT,
    Kind.UNAVAILABLE,
)
"""How an edit can fail, for `errors`."""


def request(
    *,
    form: type[Fields] | None = None,
    json: type[Fields] | None = None,
    raw: Sequence[str] = (),
    query: type[Fields] | None = None,
    parameters: Sequence[Schema] = (),
    urlencoded: bool = False,
    required: bool = True,
    example: object = None,
) -> Schema:
    """The request of a route, for `openapi_extra`.

    Args:
        form: the fields of a multipart body.
        json: the members of a JSON body.
        raw: the media types of a body that is the picture itself.
        query: the parameters of the query.
        parameters: further ones, of headers and paths.
        urlencoded: the form may come urlencoded too.
        required: a body has to be there.
        example: of the JSON body.
    """
    bodies: Schema = {}
    if form is not None:
        kinds = ("multipart/form-data", "application/x-www-form-urlencoded") if urlencoded else ("multipart/form-data",)
        bodies |= content(kinds, _described(form, _in_form))
    if json is not None:
        bodies |= content([JSON], _described(json, _in_json), example=example)
    bodies |= content(raw, binary())
    asked = [] if query is None else _in_query(query)
    return {
        **({"parameters": [*asked, *parameters]} if asked or parameters else {}),
        **({"requestBody": {"required": required, "content": bodies}} if bodies else {}),
    }


def json_object(model: type[Fields]) -> Schema:
    """The schema of a JSON object with these fields, inside another body."""
    return _described(model, _in_json)


def in_path(name: str) -> Schema:
    """A parameter of a path; as an argument of the route's function it would have failures of the framework's own."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def result(
    doc: str,
    *,
    media_types: Sequence[str] = (),
    model: type[BaseModel] | None = None,
    headers: Mapping[str, str] | None = None,
    status: int = 200,
    example: object = None,
) -> Responses:
    """The response of a route that did what it was asked to: a file of one of the `media_types`, or JSON of a `model`.

    `headers` are by name, each with its meaning; `example` is one of the JSON.
    """
    kinds = content(media_types, binary())
    if model is not None:
        schema = inlined(model.model_json_schema(mode="serialization"))
        kinds |= content([JSON], schema, example=example)
    described = {name: {"description": text, "schema": {"type": "string"}} for name, text in (headers or {}).items()}
    return {status: {"description": doc, "headers": described, "content": kinds}}


def errors(
    render_error: RenderError, kinds: Sequence[Kind] = EDIT_ERRORS, *, status: Mapping[Kind, int] | None = None
) -> Responses:
    """How a route fails: an example for each kind, written by the dialect itself; `status` is `Dialect.status`."""
    statuses = {**STATUS, **(status or {})}
    examples: dict[int, dict[str, object]] = {}
    media_type = JSON
    for kind in kinds:
        response = render_error(_SAMPLES[kind], statuses[kind], "req_5f0c1f6f7d1e4b0a9c3d2e1f")
        media_type = response.media_type or JSON
        value = pydantic_core.from_json(bytes(response.body))
        examples.setdefault(statuses[kind], {})[kind.value] = {"value": value}
    return {
        code: {"description": http.HTTPStatus(code).phrase, "content": {media_type: {"examples": each}}}
        for code, each in examples.items()
    }


def _described(model: type[Fields], admit: Callable[[Schema], Schema | None]) -> Schema:
    shown = {name: schema for name, each in model.properties().items() if (schema := admit(each)) is not None}
    required = [name for name in model.required_names() if name in shown]
    photos = model.names_of(*model.photo_fields) if issubclass(model, PhotoFields) else ()
    alone = [name for name in photos if name in shown]
    required = list(dict.fromkeys([*(alone if len(alone) == 1 else ()), *required]))
    return {"type": "object", "properties": shown, **({"required": required} if required else {})}


def _in_form(schema: Schema) -> Schema | None:
    """Every field; what may be a file or base64 is shown as a file."""
    return {name: each for name, each in schema.items() if name != "contentEncoding" or "format" not in schema}


def _in_json(schema: Schema) -> Schema | None:
    """Every field but those that are files only."""
    if schema.get("format") != "binary":
        return schema
    return {name: each for name, each in schema.items() if name != "format"} if "contentEncoding" in schema else None


def _in_query(model: type[Fields]) -> list[Schema]:
    required = model.required_names()
    return [
        {
            "name": name,
            "in": "query",
            "schema": {key: each for key, each in schema.items() if key != "description"},
            **({"description": schema["description"]} if "description" in schema else {}),
            **({"required": True} if name in required else {}),
        }
        for name, schema in model.properties().items()
        if schema.get("format") != "binary" and "contentEncoding" not in schema
    ]


def not_found(message: str) -> Responses:
    """The failure of a public address at which there is nothing, or that no file can have."""

    def sentence(name: str) -> Schema:
        text = {"type": "string", "description": "the reason"}
        return {"type": "object", "properties": {name: text}, "required": [name]}

    kinds = content([JSON], sentence("message"), example={"message": message})
    kinds |= content(["application/problem+json"], sentence("detail"))
    return {404: {"description": http.HTTPStatus(404).phrase, "content": kinds}}


def binary() -> Schema:
    """The schema of a file."""
    return {"type": "string", "format": "binary"}


def content(media_types: Sequence[str], schema: Schema, *, example: object = None) -> Schema:
    """The same schema under several media types."""
    return {kind: {"schema": schema, **({} if example is None else {"example": example})} for kind in media_types}

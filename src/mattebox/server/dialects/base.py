"""The parts that a dialect is made with. A vendor's file imports this module, the parts of an `Edit`, and little else.

A dialect translates its vendor's fields into an `Edit`, and what comes of it into its vendor's response: fields,
`to_edit`, `render`, `render_error`, routes.
"""

from __future__ import annotations

import sys

import pybase64
from fastapi import APIRouter, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import AliasChoices, BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from mattebox.codec import Limits
from mattebox.errors import Kind, MatteboxError, blame
from mattebox.fields import (
    AnyColor,
    Fields,
    Flag,
    Number,
    OpaqueColor,
    Reader,
    ReadFlag,
    ReadText,
    Refusal,
    Relation,
    Text,
    Whole,
    Word,
    Written,
)
from mattebox.image import Encoded
from mattebox.server import actions
from mattebox.server.actions import authorize, charged, run_edit, run_idempotent
from mattebox.server.http import openapi
from mattebox.server.http.bodies import (
    FORM_TYPES,
    JSON_TYPE,
    Address,
    Base64File,
    Base64OrAddress,
    File,
    PhotoFields,
    PictureFile,
    ReadAddress,
    content_type,
    raw,
    read_form,
    read_json,
    read_query,
)
from mattebox.server.http.changes import FARTHEST, MOST_MARKS, ChangeFields, MarkFields, MarksFields
from mattebox.server.http.dialect import (
    BACKDROP_HEADERS,
    Dialect,
    api_key,
    backdrop_headers,
    edit_endpoint,
    json_response,
    request_context,
    subject_header,
)
from mattebox.server.rates import RateState
from mattebox.server.state import base_address, limits, server_state
from mattebox.server.store.accounts import Usage
from mattebox.sources import Link, Source, Sources, Upload

IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp")
SUBJECT = {"X-Mattebox-Subject": "`left,top,width,height`, or `none`"}
"""The header that says where the subject is, for API docs."""
UNLIMITED = 2_147_483_647
"""Credits of a key without a limit: a whole number that every language can hold."""


def router_for(vendor: str, *, header: str = "x-api-key", bearer: bool = False, prefix: str = "") -> APIRouter:
    """A router whose API docs name the vendor, and the header that its clients send their key in.

    With `bearer` that is `Authorization`, whatever `header` is.
    """
    key = (
        HTTPBearer(scheme_name=vendor, auto_error=False, description="any configured key")
        if bearer
        else APIKeyHeader(name=header, scheme_name=vendor, auto_error=False, description="any configured key")
    )
    return APIRouter(prefix=prefix, tags=[vendor], dependencies=[Security(key)], default_response_class=Response)


def most_bytes(most: int) -> Limits:
    """A vendor's limit for the bytes of a picture, who has none for its pixels."""
    return Limits(max_bytes=most, max_pixels=sys.maxsize)


def named_message(error: MatteboxError) -> str:
    """The sentence, and before it the parameter to blame, where the sentence does not name it."""
    name = error.parameter
    return error.message if name is None or name in error.message else f"{name}: {error.message}"


def picture_response(encoded: Encoded, headers: dict[str, str]) -> Response:
    """The picture itself."""
    return Response(encoded.data, media_type=encoded.media_type, headers=headers)


def wants_json(request: Request) -> bool:
    """Whether `Accept` asks for nothing but JSON: some HTTP libraries name it first in every request."""
    return request.headers.get("accept", "").partition(";")[0].strip().lower() == JSON_TYPE


def credits_left(usage: Usage) -> int:
    """The credits of a key that are left; a very large number where it has no limit."""
    return UNLIMITED if usage.allowed is None else max(0, usage.allowed - usage.used)


def as_base64(data: bytes) -> str:
    """A file in base64."""
    return pybase64.b64encode_as_string(data)

"""mattebox's own API: everything the engine can do, in its own words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pybase64
from fastapi import APIRouter, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mattebox import codec
from mattebox.edit import Edit, Format, Upload
from mattebox.errors import Kind
from mattebox.http import dialect as http
from mattebox.http import edits, fields, openapi, work
from mattebox.http.problem import NO_KEY, failures, present
from mattebox.http.rooms import rooms
from mattebox.image import Encoded
from mattebox.models import CATALOGUE
from mattebox.models.catalogue import Ensemble

_MEDIA_TYPES = [codec.media_type(each) for each in Format]


# --- from the request --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """How the result goes out: as which file, and whether inside a JSON object."""

    format: Format
    as_json: bool


async def parse(request: Request) -> tuple[Edit, Answer]:
    """Our own words to the same."""
    incoming = await edits.read(request)
    edits.refuse_unknown(incoming.fields)
    source = edits.source_of(incoming)
    chosen = incoming.fields.choice("format", edits.FORMATS, None)
    answer = _negotiate(request.headers.get("accept", "*/*"), chosen)
    return edits.edit_of(request, incoming.fields, source=source, written=answer.format), answer


def _negotiate(accept: str, chosen: Format | None) -> Answer:
    """What to answer with: a word in the request settles the format, `Accept` the rest.

    Raises:
        HTTPException: 406, where `Accept` leaves nothing.
    """
    wanted = _ranges(accept)
    json_quality = _quality(wanted, fields.JSON_TYPE)
    offered = [(_quality(wanted, codec.media_type(each)), each) for each in Format]
    best, preferred = max(offered, key=lambda offer: offer[0])  # of equals the first
    if chosen is not None:
        # Whoever names a format has decided; what is left to ask is whether they would rather have it inside JSON.
        return Answer(chosen, json_quality > _quality(wanted, codec.media_type(chosen)))
    if json_quality > best:
        return Answer(Format.PNG, as_json=True)
    if best == 0:
        offers = ", ".join([*_MEDIA_TYPES, fields.JSON_TYPE])
        raise HTTPException(406, f"Accept leaves nothing; there are {offers}.")
    return Answer(preferred, as_json=False)


def _ranges(accept: str) -> list[tuple[str, float]]:
    ranges = []
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = min(max(float(value), 0.0), 1.0)
                except ValueError:
                    quality = 0.0
        if kind:
            ranges.append((kind, quality))
    return ranges or [("*/*", 1.0)]


def _quality(ranges: Sequence[tuple[str, float]], media_type: str) -> float:
    """How much a type is wanted: what the most precise range that it falls under says."""
    for pattern in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        found = [quality for kind, quality in ranges if kind == pattern]
        if found:
            return max(found)
    return 0.0


# --- to the answer -----------------------------------------------------------------------------------------------


def _headers(encoded: Encoded, milliseconds: int) -> dict[str, str]:
    measured = {"X-Mattebox-Confidence": encoded.confidence, "X-Mattebox-Ambiguity": encoded.ambiguity}
    return {
        "X-Mattebox-Subject": http.subject_header(encoded),
        "X-Image-Width": str(encoded.width),
        "X-Image-Height": str(encoded.height),
        "X-Processing-Time-Ms": str(milliseconds),
        "Vary": "Accept",
        **{name: f"{value:.4f}" for name, value in measured.items() if value is not None},
    }


def _as_json(encoded: Encoded) -> dict[str, object]:
    box = encoded.subject
    return {
        "image": pybase64.b64encode_as_string(encoded.data),
        "media_type": encoded.media_type,
        "width": encoded.width,
        "height": encoded.height,
        "subject": None
        if box is None
        else {"left": box.left, "top": box.top, "width": box.width, "height": box.height},
        "confidence": encoded.confidence,
        "ambiguity": encoded.ambiguity,
    }


_PIXELS = openapi.plain("integer", "pixels")
_FRACTION = openapi.plain("number", "0 to 1", nullable=True)
_JSON_RESULT = openapi.obj(
    {
        "image": openapi.plain("string", "the result's file in base64"),
        "media_type": openapi.plain("string", "what that file is"),
        "width": _PIXELS,
        "height": _PIXELS,
        "subject": openapi.obj(dict.fromkeys(("left", "top", "width", "height"), _PIXELS))
        | {"type": ["object", "null"], "description": "where the subject is in the result; null where there is none"},
        "confidence": _FRACTION,
        "ambiguity": _FRACTION,
    }
)
_JSON_EXAMPLE = {
    "image": "iVBORw0KGgo…",
    "media_type": "image/png",
    "width": 1200,
    "height": 800,
    "subject": {"left": 310, "top": 42, "width": 480, "height": 758},
    "confidence": 0.98,
    "ambiguity": 0.007,
}
_HEADERS = {
    "X-Mattebox-Subject": "where the subject is: `left,top,width,height`; `none` where there is none",
    "X-Mattebox-Confidence": "how decided the matte is, 0 to 1; a heuristic",
    "X-Mattebox-Ambiguity": "the fraction of pixels with an alpha between 0.1 and 0.9",
    "X-Image-Width": "pixels",
    "X-Image-Height": "pixels",
    "X-Processing-Time-Ms": "whole milliseconds",
    "X-Request-ID": "`req_…`",
    "Idempotent-Replayed": "`true` where the answer is one from before",
}
_FIELDS = {"image_url": edits.URL} | edits.OPTIONS
_BODIES = (
    openapi.content(["multipart/form-data"], openapi.obj({"image": openapi.binary("The picture.")} | _FIELDS))
    | openapi.content(
        [openapi.JSON],
        openapi.obj({"image": edits.BASE64} | _FIELDS),
        example={"image_url": "https://example.com/photo.jpg", "format": "webp", "crop": True},
    )
    | openapi.content(["image/*", "application/octet-stream"], openapi.binary())
)
_MODEL = openapi.obj(
    {
        "name": openapi.plain("string", "what `model` takes"),
        "licence": openapi.plain("string", "of the weights, in SPDX terms"),
        "commercial": openapi.plain("boolean", "whether they may be used commercially"),
        "note": openapi.plain("string", "what it is good at"),
        "default": openapi.plain("boolean", "whether `auto` is this one"),
        "installed": openapi.plain("boolean", "whether it can be used now; the others are refused"),
    }
)
_MODEL_EXAMPLE = {
    "name": "u2netp",
    "licence": "Apache-2.0",
    "commercial": True,
    "note": "A 4.6 MB U2-Net for small machines.",
    "default": False,
    "installed": True,
}
_ACCOUNT = openapi.obj(
    {
        "account": openapi.plain("string", "derived from the key"),
        "used": openapi.plain("integer", "pictures made"),
        "allowed": openapi.plain("integer", "null: as many as it likes", nullable=True),
    }
)
_ACCOUNT_EXAMPLE = {"account": "9f86d081884c7d659a2feaa0", "used": 12, "allowed": None}

router = APIRouter(
    prefix="/api/v1",
    tags=["mattebox"],
    dependencies=[
        Security(HTTPBearer(scheme_name="Key", auto_error=False)),
        Security(APIKeyHeader(name="x-api-key", scheme_name="Key in x-api-key", auto_error=False)),
    ],
)


@router.post(
    "/remove",
    summary="Remove the background",
    response_class=Response,
    openapi_extra={
        "parameters": [*edits.query_parameters(edits.OPTIONS | {"image_url": edits.URL}), openapi.IDEMPOTENCY_KEY],
        "requestBody": {"content": _BODIES},
    },
    responses=openapi.success(
        "The result, in the format that `format` or `Accept` asks for",
        openapi.content(_MEDIA_TYPES, openapi.binary())
        | openapi.content([openapi.JSON], _JSON_RESULT, example=_JSON_EXAMPLE),
        headers=_HEADERS,
    )
    | failures(
        (400, Kind.INVALID_PARAMETER, "quality must be a whole number from 1 to 100."),
        NO_KEY,
        (402, Kind.OUT_OF_CREDITS, "This key has no credits left."),
        (406, Kind.INVALID_REQUEST, "Accept leaves nothing; there are image/png, …"),
        (413, Kind.TOO_MANY_BYTES, "The picture may have at most 31,457,280 bytes."),
        (415, Kind.INVALID_REQUEST, "A body of type text/csv is not understood; …"),
        (429, Kind.OVERLOADED, "Too many pictures are waiting; please try again in a moment."),
        (503, Kind.UNAVAILABLE, "The model is still being loaded."),
        (504, Kind.TIMED_OUT, "The picture was not done within 60 seconds."),
    ),
)
async def remove(request: Request) -> Response:
    """Cut the subject out of a photo.

    The photo comes in a form, in JSON as base64, or as the body itself with the options in the query; or it is fetched
    from `image_url`. Where no subject is found the result is empty, and `X-Mattebox-Subject` says `none`.
    """
    async with work.admitted(request) as account:
        edit, answer = await parse(request)
        picture = "image" if isinstance(edit.source, Upload) else "image_url"
        encoded, replayed = await work.run_once(request, account, edit, picture=picture)
    headers = _headers(encoded, http.visit(request).milliseconds) | (
        {"Idempotent-Replayed": "true"} if replayed else {}
    )
    if answer.as_json:
        return http.json_response(_as_json(encoded), headers=headers)
    return Response(encoded.data, media_type=encoded.media_type, headers=headers)


@router.get(
    "/models",
    summary="The networks there are",
    response_class=Response,
    responses=openapi.success(
        "All of them",
        openapi.content(
            [openapi.JSON], openapi.obj({"models": openapi.array(_MODEL)}), example={"models": [_MODEL_EXAMPLE]}
        ),
    )
    | failures(NO_KEY),
)
async def models(request: Request) -> Response:
    """The names that `model` takes, with the licence of each network's weights, and which are installed."""
    work.authenticate(request)
    room = rooms(request)
    rows = [_model(name, default=name == room.service.model, installed=room.installed(name)) for name in CATALOGUE]
    return http.json_response({"models": rows})


def _model(name: str, *, default: bool, installed: bool) -> dict[str, object]:
    row = CATALOGUE[name]
    parts = [row]
    if isinstance(row, Ensemble):
        parts = [CATALOGUE[row.detail], CATALOGUE[row.core]]
    licences = {part.licence: part.commercial for part in parts if not isinstance(part, Ensemble)}
    return {
        "name": name,
        "licence": " AND ".join(licences),
        "commercial": all(licences.values()),
        "note": row.note,
        "default": default,
        "installed": installed,
    }


@router.get(
    "/me",
    summary="What the key has used",
    response_class=Response,
    responses=openapi.success("The account", openapi.content([openapi.JSON], _ACCOUNT, example=_ACCOUNT_EXAMPLE))
    | failures(NO_KEY),
)
async def me(request: Request) -> Response:
    """How many pictures have been made with this key."""
    account, usage = await work.usage(request)
    return http.json_response({"account": account.id, "used": usage.used, "allowed": usage.allowed})


DIALECT = http.Dialect(name="native", prefixes=("/",), router=router, present=present)

"""mattebox's own API: everything the engine can do, in its own words."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from mattebox.edit import Edit
from mattebox.errors import Kind
from mattebox.models import CATALOGUE
from mattebox.models.catalogue import Ensemble
from mattebox.server import actions
from mattebox.server.dialects.native import options
from mattebox.server.dialects.native.problem import NO_KEY, failures
from mattebox.server.http import dialect as http
from mattebox.server.http import negotiation, openapi
from mattebox.server.state import server_state
from mattebox.sources import Sources, Upload

# --- from the request --------------------------------------------------------------------------------------------


async def parse(request: Request) -> tuple[Edit, Sources, negotiation.ResponseFormat]:
    """Our own words to the same."""
    incoming = await options.read(request)
    options.refuse_unknown(incoming.fields)
    sources = options.sources_of(incoming)
    chosen = incoming.fields.choice("format", options.FORMATS, None)
    answer = negotiation.negotiate(request.headers.get("accept", "*/*"), chosen)
    return options.edit_of(request, incoming.fields, written=answer.format), sources, answer


# --- to the answer -----------------------------------------------------------------------------------------------

_FIELDS = {"image_url": options.URL} | options.OPTIONS
_FORM = {"image": openapi.binary("The picture.")} | _FIELDS | options.FORM_OPTIONS
_BODIES = (
    openapi.content(["multipart/form-data"], openapi.obj(_FORM))
    | openapi.content(
        [openapi.JSON],
        openapi.obj({"image": options.BASE64} | _FIELDS),
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
    dependencies=options.KEYS,
)


@router.post(
    "/remove",
    summary="Remove the background",
    response_class=Response,
    openapi_extra={
        "parameters": [
            *options.query_parameters(options.OPTIONS | {"image_url": options.URL}),
            openapi.IDEMPOTENCY_KEY,
        ],
        "requestBody": {"content": _BODIES},
    },
    responses=openapi.success(
        "The result, in the format that `format` or `Accept` asks for",
        negotiation.CONTENT,
        headers=negotiation.HEADERS,
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
    async with actions.authorize(request) as account:
        edit, sources, answer = await parse(request)
        picture = "image" if isinstance(sources.photo, Upload) else "image_url"
        encoded, replayed = await actions.run_idempotent(request, account, edit, sources, picture=picture)
    return negotiation.render(request, encoded, answer, replayed=replayed)


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
    actions.authenticate(request)
    room = server_state(request)
    rows = [_model(name, default=name == room.runner.model, installed=room.installed(name)) for name in CATALOGUE]
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
    account, usage = await actions.usage(request)
    return http.json_response({"account": account.id, "used": usage.used, "allowed": usage.allowed})

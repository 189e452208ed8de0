"""withoutBG's local server: `POST /v1/remove-background`, a picture in and a PNG out. Its GIMP plug-in speaks this."""

from __future__ import annotations

import anyio.to_thread
import pybase64
from fastapi import APIRouter, Security
from fastapi.security import APIKeyHeader
from starlette.requests import Request
from starlette.responses import Response

from mattebox import codec
from mattebox.edit import Edit, Output
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Encoded
from mattebox.server import actions
from mattebox.server.http import dialect as http
from mattebox.server.http import fields, openapi
from mattebox.server.state import limits
from mattebox.sources import Sources, Upload

_OUTPUTS = {"cutout": False, "processed": False, "matte": True}
_CORRECTIONS = ("keep_mask", "remove_mask")
"""Strokes that the vendor's fourth version corrects a matte by. Ignored, they would give the same matte again."""


def render_error(error: MatteboxError, status: int, _request_id: str) -> Response:
    """A failure as the vendor writes it: `error` for those who send files, `detail` for those who send JSON."""
    message, name = error.message, error.parameter
    said = message if name is None or name in message else f"{name}: {message}"
    return http.json_response({"error": said, "detail": said}, status=status)


async def parse(request: Request) -> tuple[Edit, Sources, bool]:
    """The vendor's words to ours, and whether the answer is JSON too."""
    most = limits(request).max_bytes
    matte = fields.query(request, max_bytes=most).choice("output", _OUTPUTS, False)
    match fields.content_type(request):
        case fields.JSON_TYPE:
            given = await fields.json(request, max_bytes=most, picture="image", lenient=True)
            picture = given.base64("image")
            matte = False  # the answer has both
        case "multipart/form-data":
            given = await fields.form(request, max_bytes=most, picture="image")
            picture = given.file("image")
        case _:  # also a form's type, which command-line clients put on whatever bytes they send
            given = fields.Fields({}, max_bytes=most)
            picture = await fields.raw(request, max_bytes=most, picture="image")
    for name in _CORRECTIONS:
        if name in given.names:
            raise MatteboxError(Kind.NOT_OFFERED, "A matte cannot be corrected by strokes here.", parameter=name)
    if not picture:
        raise MatteboxError(
            Kind.MISSING_IMAGE,
            "Send the picture as the body, in the form's field image, or in JSON.",
            parameter="image",
        )
    return (
        Edit(output=Output(alpha_only=matte)),
        Sources(Upload(picture)),
        fields.content_type(request) == fields.JSON_TYPE,
    )


def _matte_of(cutout: bytes) -> bytes:
    """The matte of a cutout's PNG, which holds it without loss: a second run of the network gives no other."""
    return codec.encode(codec.decode(cutout, codec.OWN_FILES), Output(alpha_only=True))


async def _as_json(encoded: Encoded, milliseconds: int) -> dict[str, object]:
    matte = await anyio.to_thread.run_sync(_matte_of, encoded.data)
    return {"processed": _data_url(encoded.data), "alphaMatte": _data_url(matte), "latencyMs": milliseconds}


def _data_url(png: bytes) -> str:
    return "data:image/png;base64," + pybase64.b64encode_as_string(png)


_ERROR = openapi.obj({name: openapi.plain("string", "what was wrong") for name in ("error", "detail")})


def _example(said: str) -> openapi.Schema:
    return {"error": said, "detail": said}


_FAILURES = openapi.failures(
    _ERROR,
    {
        400: _example("output must be one of cutout, processed, matte."),
        401: _example("This API key is not known."),
        413: _example("image: The picture may have at most 31,457,280 bytes."),
        429: _example("Too many pictures are waiting; please try again in a moment."),
        503: _example("The model is still being loaded."),
    },
)
_FORM = openapi.obj({"image": openapi.binary("The picture.")}, required=("image",))
_JSON = openapi.obj({"image": openapi.plain("string", "In base64, as a data URL or bare.")}, required=("image",))
_RESULT = openapi.obj(
    {
        "processed": openapi.plain("string", "the cutout's PNG as a data URL"),
        "alphaMatte": openapi.plain("string", "the matte's PNG as a data URL"),
        "latencyMs": openapi.plain("integer", "whole milliseconds"),
    }
)
_OUTPUT = {
    "name": "output",
    "in": "query",
    "schema": {"type": "string", "enum": list(_OUTPUTS), "default": "cutout"},
    "description": "The cutout, or its matte as a grey picture. JSON is answered with both.",
}

_security = APIKeyHeader(name="X-API-Key", scheme_name="withoutBG", auto_error=False, description="any configured key")
router = APIRouter(tags=["withoutBG"], dependencies=[Security(_security)])


@router.post(
    "/v1/remove-background",
    summary="Remove the background",
    response_class=Response,
    openapi_extra={
        "parameters": [_OUTPUT],
        "requestBody": {
            "required": True,
            "content": openapi.content(["image/*", "application/octet-stream"], openapi.binary())
            | openapi.content(["multipart/form-data"], _FORM)
            | openapi.content([openapi.JSON], _JSON),
        },
    },
    responses=openapi.success(
        "The picture; JSON is answered with JSON",
        openapi.content(["image/png"], openapi.binary()) | openapi.content([openapi.JSON], _RESULT),
        headers={
            "X-Latency-Ms": "whole milliseconds",
            "X-Mattebox-Subject": "`left,top,width,height`, or `none`",
        },
    )
    | _FAILURES,
)
async def remove_background(request: Request) -> Response:
    """Cut the subject out of a picture. Where there is none, the result is empty and `X-Mattebox-Subject` is `none`."""
    async with actions.authorize(request) as account:
        edit, sources, wants_json = await parse(request)
        encoded = await actions.run_edit(request, account, edit, sources, picture="image")
        took = http.request_context(request).milliseconds
        headers = {"X-Latency-Ms": str(took), "X-Mattebox-Subject": http.subject_header(encoded)}
        if wants_json:
            return http.json_response(await _as_json(encoded, took), headers=headers)
    return Response(encoded.data, media_type=encoded.media_type, headers=headers)


DIALECT = http.Dialect(name="withoutbg", prefixes=("/v1/remove-background",), router=router, render_error=render_error)

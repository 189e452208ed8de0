"""Photoroom: `POST /v1/segment`, a form or JSON in, and a picture or JSON out."""

from __future__ import annotations

import pybase64
from fastapi import APIRouter, Security
from fastapi.security import APIKeyHeader
from starlette.requests import Request
from starlette.responses import Response

from mattebox.codec import Limits
from mattebox.edit import Edit, Format, Layout, Output, Transparent
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Encoded
from mattebox.server import actions
from mattebox.server.http import dialect as http
from mattebox.server.http import fields, openapi
from mattebox.server.state import limits, server_state
from mattebox.sources import Sources, Upload

# Of these words the vendor's pages have `missing_image` only; the others are ours.
_TYPES = {
    Kind.INVALID_REQUEST: "invalid_request",
    Kind.INVALID_PARAMETER: "invalid_parameter",
    Kind.MISSING_IMAGE: "missing_image",
    Kind.UNREADABLE_IMAGE: "invalid_image",
    Kind.NO_SUBJECT: "no_subject",
    Kind.TOO_MANY_BYTES: "image_too_large",
    Kind.TOO_MANY_PIXELS: "image_too_large",
    Kind.UNREACHABLE_SOURCE: "invalid_image",
    Kind.MISSING_KEY: "missing_api_key",
    Kind.INVALID_KEY: "invalid_api_key",
    Kind.FORBIDDEN: "forbidden",
    Kind.OUT_OF_CREDITS: "credits_exhausted",
    Kind.NOT_FOUND: "not_found",
    Kind.CONFLICT: "conflict",
    Kind.OVERLOADED: "rate_limit_exceeded",
    Kind.TIMED_OUT: "timeout",
    Kind.CANCELLED: "cancelled",
    Kind.UNAVAILABLE: "unavailable",
    Kind.NOT_OFFERED: "not_offered",
    Kind.INTERNAL: "internal_error",
}
_STATUS = {Kind.MISSING_KEY: 403, Kind.INVALID_KEY: 403}

_MEGAPIXEL = 1_000_000
_SIZES = {
    "preview": _MEGAPIXEL // 4,
    "medium": 3 * _MEGAPIXEL // 2,
    "hd": 4 * _MEGAPIXEL,
    "full": 36 * _MEGAPIXEL,
}
_FORMATS = {"png": Format.PNG, "jpg": Format.JPEG, "jpeg": Format.JPEG, "webp": Format.WEBP}
_SANDBOX = "sandbox_"


def key(request: Request) -> str | None:
    """The API key. A client's sandbox key is its key with `sandbox_` in front, and as good here.

    A key that is configured so, with the prefix, is meant itself.
    """
    found = http.api_key(request)
    if found is None or not found.startswith(_SANDBOX):
        return found
    try:
        server_state(request).accounts.authenticate(found)
    except MatteboxError:
        return found.removeprefix(_SANDBOX)
    return found


def render_error(error: MatteboxError, status: int, _request_id: str) -> Response:
    """A failure as the vendor writes it."""
    message, name = error.message, error.parameter
    detail = message if name is None or name in message else f"{name}: {message}"
    return http.json_response({"detail": detail, "status_code": status, "type": _TYPES[error.kind]}, status=status)


async def parse(request: Request) -> tuple[Edit, Sources, str]:
    """The vendor's words to ours, and the field that the picture came in."""
    most = limits(request).max_bytes
    if fields.content_type(request) in fields.FORM_TYPES:
        given = await fields.form(request, max_bytes=most, picture="image_file")
    else:
        given = await fields.json(request, max_bytes=most, picture="image_file_b64", lenient=True)
    source, picture = _source(given)
    color = given.color("bg_color", opaque=False)
    given.flag("despill")  # a word that is wrong is refused; the right ones change nothing: it is always done
    edit = Edit(
        backdrop=Transparent() if color is None or color.opacity == 0 else color,
        layout=Layout(crop=given.flag("crop"), max_pixels=given.choice("size", _SIZES, _SIZES["full"])),
        output=Output(
            format=given.choice("format", _FORMATS, Format.PNG),
            alpha_only=given.choice("channels", {"rgba": False, "alpha": True}, False),
        ),
    )
    return edit, Sources(source), picture


def _source(given: fields.Fields) -> tuple[Upload, str]:
    data = given.file("image_file")
    if data is not None:
        return Upload(data), "image_file"
    data = given.base64("image_file_b64")
    if data is not None:
        return Upload(data), "image_file_b64"
    raise MatteboxError(Kind.MISSING_IMAGE, "Please provide an image.", parameter="image_file")


def _headers(encoded: Encoded) -> dict[str, str]:
    doubt = {} if encoded.confidence is None else {"x-uncertainty-score": f"{1 - encoded.confidence:.4f}"}
    return {"X-Mattebox-Subject": http.subject_header(encoded), "Vary": "Accept", **doubt}


_ERROR = openapi.obj(
    {
        "detail": openapi.plain("string", "what was wrong"),
        "status_code": openapi.plain("integer", "the same as the status"),
        "type": openapi.plain("string", "one word for it"),
    }
)


def _example(kind: Kind, status: int, detail: str) -> openapi.Schema:
    return {"detail": detail, "status_code": status, "type": _TYPES[kind]}


_FAILURES = openapi.failures(
    _ERROR,
    {
        400: _example(Kind.MISSING_IMAGE, 400, "image_file: Please provide an image."),
        402: _example(Kind.OUT_OF_CREDITS, 402, "This key has no credits left."),
        403: _example(Kind.INVALID_KEY, 403, "This API key is not known."),
        413: _example(Kind.TOO_MANY_BYTES, 413, "image_file: The picture may have at most 31,457,280 bytes."),
        429: _example(Kind.OVERLOADED, 429, "Too many pictures are waiting; please try again in a moment."),
    },
)
_FIELDS = {
    "format": openapi.word(("png", "jpg", "webp"), "What the result is.", default="png"),
    "channels": openapi.word(("rgba", "alpha"), "`alpha` is the matte alone.", default="rgba"),
    "bg_color": openapi.plain("string", "Behind the subject: `#ff00ff`, `FF0000EE` or a name."),
    "size": openapi.word(tuple(_SIZES), "The most megapixels: 0.25, 1.5, 4 or 36.", default="full"),
    "crop": openapi.plain("boolean", "Cut the picture to the subject."),
    "despill": openapi.plain("boolean", "Accepted; the background's colour is always taken out of the edge."),
}
_FORM = openapi.obj({"image_file": openapi.binary("The picture."), **_FIELDS}, required=("image_file",))
_JSON = openapi.obj(
    {"image_file_b64": openapi.plain("string", "The picture in base64, as a data URL or bare."), **_FIELDS},
    required=("image_file_b64",),
)
_RESULT = openapi.obj(
    {
        "result_b64": openapi.plain("string", "the result's file in base64"),
        "base64img": openapi.plain("string", "the same under the vendor's other name for it"),
    }
)

_security = APIKeyHeader(name="x-api-key", scheme_name="Photoroom", auto_error=False, description="any configured key")
router = APIRouter(tags=["Photoroom"], dependencies=[Security(_security)])


@router.post(
    "/v1/segment",
    summary="Remove the background",
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": openapi.content(["multipart/form-data"], _FORM) | openapi.content([openapi.JSON], _JSON),
        }
    },
    responses=openapi.success(
        "The picture, or JSON where `Accept` asks for it",
        openapi.content(("image/png", "image/jpeg", "image/webp"), openapi.binary())
        | openapi.content([openapi.JSON], _RESULT),
        headers={
            "x-uncertainty-score": "0 (sure) to 1",
            "X-Mattebox-Subject": "`left,top,width,height`, or `none`",
        },
    )
    | _FAILURES,
)
async def segment(request: Request) -> Response:
    """Cut the subject out of a picture. Where there is none, the result is empty and `X-Mattebox-Subject` is `none`."""
    async with actions.authorize(request) as account:
        edit, sources, picture = await parse(request)
        encoded = await actions.run_edit(request, account, edit, sources, picture=picture)
    headers = _headers(encoded)
    # JSON and nothing else: some HTTP libraries name JSON first in every request, and their users expect a picture.
    if request.headers.get("accept", "").partition(";")[0].strip().lower() == fields.JSON_TYPE:
        text = pybase64.b64encode_as_string(encoded.data)
        return http.json_response({"result_b64": text, "base64img": text}, headers=headers)
    return Response(encoded.data, media_type=encoded.media_type, headers=headers)


DIALECT = http.Dialect(
    name="photoroom",
    prefixes=("/v1/segment",),
    router=router,
    render_error=render_error,
    status=_STATUS,
    limits=Limits(max_bytes=30 * 2**20, max_pixels=http.NO_LIMITS.max_pixels),
    key=key,
)

"""Novita AI: `POST /v3/remove-background`, JSON with the picture in base64 both ways."""

from __future__ import annotations

import pybase64
from fastapi import APIRouter, Security
from fastapi.security import HTTPBearer
from starlette.requests import Request
from starlette.responses import Response

from mattebox.codec import Limits
from mattebox.edit import Edit, Format, Output, Upload
from mattebox.errors import Kind, MatteboxError
from mattebox.http import dialect as http
from mattebox.http import fields, openapi

_REASON = {
    Kind.INVALID_REQUEST: "INVALID_REQUEST_BODY",
    Kind.INVALID_PARAMETER: "INVALID_REQUEST_BODY",
    Kind.MISSING_IMAGE: "INVALID_REQUEST_BODY",
    Kind.UNREADABLE_IMAGE: "INVALID_IMAGE_FORMAT",
    Kind.TOO_MANY_BYTES: "IMAGE_FILE_EXCEEDS_MAX_SIZE",
    Kind.TOO_MANY_PIXELS: "IMAGE_EXCEEDS_MAX_RESOLUTION",
    Kind.UNREACHABLE_SOURCE: "INVALID_REQUEST_BODY",
    Kind.MISSING_KEY: "MISSING_API_KEY",
    Kind.INVALID_KEY: "INVALID_API_KEY",
    Kind.FORBIDDEN: "API_NOT_ALLOWED",
    Kind.OUT_OF_CREDITS: "BILLING_BALANCE_NOT_ENOUGH",
    Kind.NOT_FOUND: "API_NOT_FOUND",
    Kind.CONFLICT: "INVALID_REQUEST_BODY",
    Kind.OVERLOADED: "RATE_LIMIT_EXCEEDED",
    Kind.TIMED_OUT: "TASK_FAILED",
    Kind.CANCELLED: "TASK_FAILED",
    Kind.UNAVAILABLE: "TASK_FAILED",
    Kind.INTERNAL: "TASK_FAILED",
}
_FORMATS = {"png": Format.PNG, "webp": Format.WEBP, "jpeg": Format.JPEG, "jpg": Format.JPEG}
# The vendor's table of errors, where it says otherwise than ours.
_STATUS = {
    Kind.TOO_MANY_BYTES: 400,
    Kind.TOO_MANY_PIXELS: 400,
    Kind.MISSING_KEY: 400,
    Kind.INVALID_KEY: 403,
    Kind.OUT_OF_CREDITS: 400,
    Kind.TIMED_OUT: 500,
    Kind.UNAVAILABLE: 500,
}


def present(error: MatteboxError, status: int, request_id: str) -> Response:
    """A failure as the vendor writes it; `metadata` names the parameter and the request."""
    metadata = {"request_id": request_id} | ({"parameter": error.parameter} if error.parameter else {})
    body = {"code": status, "reason": _REASON[error.kind], "message": error.message, "metadata": metadata}
    return http.json_response(body, status=status)


async def parse(request: Request) -> Edit:
    """The vendor's words to ours. `enterprise_plan` only steers the vendor's queues, so it says nothing here."""
    body = await fields.json(request, max_bytes=http.limits(request).max_bytes, picture="image_file")
    picture = body.base64("image_file")
    if picture is None:
        raise MatteboxError(Kind.MISSING_IMAGE, "image_file is required.", parameter="image_file")
    chosen = body.group("extra").choice("response_image_type", _FORMATS, Format.PNG)
    return Edit(source=Upload(picture), output=Output(format=chosen))


_ERROR = openapi.obj(
    {
        "code": openapi.plain("integer", "the HTTP status"),
        "reason": openapi.plain("string", "one of the vendor's words"),
        "message": openapi.plain("string", "one sentence"),
        "metadata": openapi.obj({}),
    }
)


def _example(code: int, reason: str, message: str) -> openapi.Schema:
    return {"code": code, "reason": reason, "message": message, "metadata": {}}


_FAILURES = openapi.failures(
    _ERROR,
    {
        400: _example(400, "INVALID_REQUEST_BODY", "image_file is not valid base64."),
        403: _example(403, "INVALID_API_KEY", "This API key is not known."),
        429: _example(429, "RATE_LIMIT_EXCEEDED", "Too many pictures are waiting; please try again in a moment."),
        500: _example(500, "TASK_FAILED", "Something went wrong inside the server; its log says more."),
    },
)
_BODY = openapi.obj(
    {
        "image_file": openapi.plain("string", "The picture in base64; a data URL is accepted too."),
        "extra": openapi.obj(
            {
                "response_image_type": openapi.word(
                    ("png", "webp", "jpeg"), "JPEG has no alpha: the subject is on white.", default="png"
                ),
                "enterprise_plan": openapi.obj({"enabled": openapi.plain("boolean", "Ignored.")}),
            }
        ),
    },
    required=("image_file",),
)
_RESULT = openapi.obj(
    {
        "image_file": openapi.plain("string", "The result in bare base64."),
        "image_type": openapi.plain("string", "png, webp or jpeg"),
    }
)

router = APIRouter(
    tags=["Novita AI"],
    dependencies=[Security(HTTPBearer(scheme_name="Novita AI", auto_error=False, description="any configured key"))],
)


@router.post(
    "/v3/remove-background",
    summary="Remove the background",
    response_class=Response,
    openapi_extra={"requestBody": {"required": True, "content": openapi.content([openapi.JSON], _BODY)}},
    responses=openapi.success(
        "The cutout",
        openapi.content([openapi.JSON], _RESULT, example={"image_file": "iVBORw0KGgo…", "image_type": "png"}),
        headers={"X-Mattebox-Subject": "`left,top,width,height`, or `none`"},
    )
    | _FAILURES,
)
async def remove_background(request: Request) -> Response:
    """Cut the subject out of a picture. Where there is none, the result is empty and `X-Mattebox-Subject` is `none`."""
    async with http.admitted(request) as account:
        edit = await parse(request)
        encoded = await http.run_edit(request, account, edit, picture="image_file")
    answer = {"image_file": pybase64.b64encode_as_string(encoded.data), "image_type": edit.output.format.value}
    return http.json_response(answer, headers={"X-Mattebox-Subject": http.subject_header(encoded)})


DIALECT = http.Dialect(
    name="novita",
    prefixes=("/v3/",),
    router=router,
    present=present,
    status=_STATUS,
    parameters={"format": "extra.response_image_type"},
    # Pixels are the operator's to limit: the vendor's 16 million are not a promise to refuse more.
    limits=Limits(max_bytes=30 * 2**20, max_pixels=http.NO_LIMITS.max_pixels),
)

"""Poof: `POST /v1/remove`, a form in and a picture out, and `GET /v1/me`."""

from __future__ import annotations

import re
from typing import NoReturn

from fastapi import APIRouter, Security
from fastapi.security import APIKeyHeader
from starlette.requests import Request
from starlette.responses import Response

from mattebox.codec import Limits
from mattebox.edit import (
    WHITE,
    Canvas,
    Edit,
    Fit,
    Format,
    Layout,
    Length,
    Margin,
    Output,
    Transparent,
)
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Encoded
from mattebox.server import actions
from mattebox.server.http import dialect as http
from mattebox.server.http import fields, openapi
from mattebox.server.state import limits
from mattebox.sources import Link, Source, Sources, Upload

_INVALID = ("validation_error", "One or more parameters are invalid")
_UPSTREAM = (
    "upstream_error",
    "The picture could not be processed. Retry with the same Idempotency-Key",
)
# Codes and texts are the vendor's, word for word where it has words; what exactly was wrong goes into `details`.
_WORDS = {
    Kind.INVALID_REQUEST: _INVALID,
    Kind.INVALID_PARAMETER: _INVALID,
    Kind.MISSING_IMAGE: ("missing_image", "The request did not contain an image file"),
    Kind.UNREADABLE_IMAGE: _INVALID,
    Kind.NO_SUBJECT: _INVALID,
    Kind.TOO_MANY_BYTES: ("image_too_large", "The uploaded image exceeds the maximum size"),
    Kind.TOO_MANY_PIXELS: ("image_too_large", "The uploaded image exceeds the maximum size"),
    Kind.UNREACHABLE_SOURCE: _INVALID,
    Kind.MISSING_KEY: ("authentication_error", "Invalid or missing API key"),
    Kind.INVALID_KEY: ("authentication_error", "Invalid or missing API key"),
    Kind.FORBIDDEN: ("permission_denied", "Permission denied"),
    Kind.OUT_OF_CREDITS: ("payment_required", "Insufficient credits"),
    Kind.NOT_FOUND: _INVALID,
    Kind.CONFLICT: _INVALID,
    Kind.OVERLOADED: ("rate_limit_exceeded", "Rate limit exceeded"),
    Kind.TIMED_OUT: _UPSTREAM,
    Kind.CANCELLED: _UPSTREAM,
    Kind.UNAVAILABLE: _UPSTREAM,
    Kind.NOT_OFFERED: _INVALID,
    Kind.INTERNAL: ("internal_server_error", "Internal server error"),
}
_STATUS = {
    Kind.TOO_MANY_BYTES: 400,
    Kind.TOO_MANY_PIXELS: 400,
    Kind.TIMED_OUT: 502,
    Kind.UNAVAILABLE: 502,
    Kind.NOT_OFFERED: 400,
}

# The longest side. The vendor's page has all but `hd`, which only its client offers; there it is 1920 pixels for
# videos, the only number that the vendor ever gives for it.
_SIDES: dict[str, int | None] = {
    "full": None,
    "preview": 256,
    "small": 512,
    "medium": 1024,
    "hd": 1920,
    "large": 2048,
}
_FORMATS = {"png": Format.PNG, "jpg": Format.JPEG, "webp": Format.WEBP, "jpeg": Format.JPEG}
_VIDEOS = ("webm", "mov", "mp4", "gif")
_CHANNELS = {"rgba": "rgba", "rgb": "rgb", "alpha": "alpha"}
_FITS = {"contain": Fit.CONTAIN, "cover": Fit.COVER, "scale-down": Fit.SCALE_DOWN}
_MAX_SIDE = 6000

UNLIMITED = 2_147_483_647
"""`maxCredits` of a key without a limit: the vendor's clients need a whole number, and every language can hold this."""


def render_error(error: MatteboxError, status: int, request_id: str) -> Response:
    """A failure as the vendor writes it."""
    code, message = _WORDS[error.kind]
    details = {"field": error.parameter, "message": error.message} if error.parameter else error.message
    body = {"code": code, "message": message, "details": details, "request_id": request_id}
    return http.json_response(body, status=status)


async def parse(request: Request) -> tuple[Edit, Sources, str]:
    """The vendor's words to ours, and the field that the picture came in."""
    form = await fields.form(request, max_bytes=limits(request).max_bytes, picture="image_file")
    source, picture = _source(form)
    if (form.text("format") or "").lower() in _VIDEOS:
        raise MatteboxError(Kind.NOT_OFFERED, "There are no videos here, only pictures.", parameter="format")
    output = form.choice("format", _FORMATS, Format.PNG)
    channels = form.choice("channels", _CHANNELS, "rgba")
    color = form.color("bg_color")
    flat = channels == "rgb" or (output is Format.JPEG and channels == "rgba")
    edit = Edit(
        # The vendor uses bg_color for opaque results only.
        backdrop=(color or WHITE) if flat else Transparent(),
        layout=_layout(form),
        output=Output(format=output, alpha_only=channels == "alpha"),
    )
    return edit, Sources(source), picture


def _layout(form: fields.Fields) -> Layout:
    ratio = _ratio(form)
    crop = ratio is not None or form.flag("crop")
    width = form.integer("width", least=1, most=_MAX_SIDE)
    height = form.integer("height", least=1, most=_MAX_SIDE)
    fit = form.choice("fit", _FITS, Fit.CONTAIN)
    side = form.choice("size", _SIDES, None)
    canvas = None if width is None and height is None else Canvas(width=width, height=height, fit=fit)
    return Layout(
        crop=crop,
        ratio=ratio,
        margin=_margin(form, crop=crop),
        canvas=canvas,
        max_side=side if canvas is None else None,  # width and height override it
    )


def _ratio(form: fields.Fields) -> tuple[int, int] | None:
    word = form.text("crop")
    if word is None or ":" not in word:
        return None
    found = re.fullmatch(r"([0-9]{1,4})\s*:\s*([0-9]{1,4})", word)
    if found is None or not int(found[1]) or not int(found[2]):
        _wrong("crop", "must be true, false, or a ratio of whole numbers such as 4:3")
    return int(found[1]), int(found[2])


def _margin(form: fields.Fields, *, crop: bool) -> Margin:
    word = form.text("padding")
    if word is None:
        return Margin()
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\s*(%?)", word)
    percent = -1.0 if found is None else float(found[1]) * (1 if found[2] else 100)
    if not 0 <= percent <= 100:
        _wrong("padding", "must be a fraction from 0 to 1, or 0% to 100%")
    if percent and not crop:
        # Without this the picture would come back as large as it was, and nobody would know why.
        _wrong("padding", "goes round a cropped subject, so it needs crop")
    every = Length(percent, percent=True)
    return Margin(every, every, every, every)


def _wrong(name: str, why: str) -> NoReturn:
    raise MatteboxError(Kind.INVALID_PARAMETER, f"{name} {why}.", parameter=name)


def _source(form: fields.Fields) -> tuple[Source, str]:
    # The page insists on image_file; the vendor's own newer client sends file.
    files, links = ("image_file", "file", "image"), ("url", "image_url")
    picture = form.file(*files)
    if picture is not None:
        return Upload(picture), form.which(*files)
    url = form.text(*links)
    if url is not None:
        return Link(url), form.which(*links)
    raise MatteboxError(
        Kind.MISSING_IMAGE, "Send the picture as multipart/form-data, in the field image_file.", parameter="image_file"
    )


def _headers(encoded: Encoded, milliseconds: int) -> dict[str, str]:
    measured = {"X-Matte-Confidence": encoded.confidence, "X-Matte-Ambiguous-Ratio": encoded.ambiguity}
    return {
        "X-Processing-Time-Ms": str(milliseconds),
        "X-Image-Width": str(encoded.width),
        "X-Image-Height": str(encoded.height),
        "X-Mattebox-Subject": http.subject_header(encoded),
        **{name: f"{value:.4f}" for name, value in measured.items() if value is not None},
    }


_ERROR = openapi.obj(
    {
        "code": openapi.plain("string", "one of the vendor's words"),
        "message": openapi.plain("string", "the vendor's sentence for it"),
        "details": {"description": "what was wrong: a sentence, or an object with `field` and `message`"},
        "request_id": openapi.plain("string", "as in the header `X-Request-ID`"),
    }
)


def _example(kind: Kind, details: object) -> openapi.Schema:
    code, message = _WORDS[kind]
    return {"code": code, "message": message, "details": details, "request_id": "req_5f0c1f6f7d1e4b0a9c3d2e1f"}


_NO_KEY = {401: _example(Kind.INVALID_KEY, "This API key is not known.")}
_FAILURES = openapi.failures(
    _ERROR,
    _NO_KEY
    | {
        400: _example(Kind.INVALID_PARAMETER, {"field": "crop", "message": "crop must be true or false."}),
        402: _example(Kind.OUT_OF_CREDITS, "This key has no credits left."),
        429: _example(Kind.OVERLOADED, "Too many pictures are waiting; please try again in a moment."),
        500: _example(Kind.INTERNAL, "Something went wrong inside the server; its log says more."),
        502: _example(Kind.TIMED_OUT, "The picture was not done within 60 seconds."),
    },
)
_FORM = openapi.obj(
    {
        "image_file": openapi.binary("The picture; `file` and `image` are accepted too."),
        "url": openapi.plain("string", "Instead of a file: where the picture is. `image_url` is accepted too."),
        "format": openapi.word(("png", "jpg", "webp"), "What the result is.", default="png"),
        "channels": openapi.word(
            tuple(_CHANNELS), "`rgb` puts `bg_color` behind; `alpha` is the matte alone.", default="rgba"
        ),
        "bg_color": openapi.plain("string", "`#fff`, `rgb(255, 255, 255)` or a name; for opaque results; white."),
        "size": openapi.word(tuple(_SIDES), "The longest side: 256, 512, 1024, 1920 or 2048 pixels.", default="full"),
        "crop": openapi.plain(
            "string", "`true` cuts the picture to the subject; a ratio such as `4:3` widens the cut to it."
        ),
        "padding": openapi.plain("string", "Round a cropped subject: `0.1` or `10%` of it, at most `100%`."),
        "width": openapi.plain("integer", "Of the result; overrides `size`.", least=1, most=_MAX_SIDE),
        "height": openapi.plain("integer", "Of the result; overrides `size`.", least=1, most=_MAX_SIDE),
        "fit": openapi.word(tuple(_FITS), "How it is brought to `width` and `height`.", default="contain"),
    }
)
_HEADERS = {
    "X-Request-ID": "`req_…`",
    "X-Processing-Time-Ms": "whole milliseconds",
    "X-Image-Width": "pixels",
    "X-Image-Height": "pixels",
    "X-Matte-Confidence": "0 to 1",
    "X-Matte-Ambiguous-Ratio": "0 to 1",
    "X-Mattebox-Subject": "`left,top,width,height`, or `none`",
    "Idempotent-Replayed": "`true` where the answer is one from before",
}
_ACCOUNT = openapi.obj(
    {
        "organizationId": openapi.plain("string", "derived from the key"),
        "plan": openapi.plain("string", "always self-hosted"),
        "maxCredits": openapi.plain("integer", f"{UNLIMITED} where there is no limit"),
        "usedCredits": openapi.plain("integer", "pictures made"),
        "autoRechargeThreshold": openapi.plain("integer", "always null", nullable=True),
    }
)
_ACCOUNT_EXAMPLE = {
    "organizationId": "9f86d081884c7d659a2feaa0",
    "plan": "self-hosted",
    "maxCredits": UNLIMITED,
    "usedCredits": 12,
    "autoRechargeThreshold": None,
}

_key = APIKeyHeader(name="x-api-key", scheme_name="Poof", auto_error=False, description="any configured key")
router = APIRouter(tags=["Poof"], dependencies=[Security(_key)])


@router.post(
    "/v1/remove",
    summary="Remove the background",
    response_class=Response,
    openapi_extra={
        "parameters": [openapi.IDEMPOTENCY_KEY],
        "requestBody": {"required": True, "content": openapi.content(fields.FORM_TYPES, _FORM)},
    },
    responses=openapi.success(
        "The picture",
        openapi.content(("image/png", "image/jpeg", "image/webp"), openapi.binary()),
        headers=_HEADERS,
    )
    | _FAILURES,
)
async def remove(request: Request) -> Response:
    """Cut the subject out of a picture. Where there is none, the result is empty and `X-Mattebox-Subject` is `none`."""
    async with actions.authorize(request) as account:
        edit, sources, picture = await parse(request)
        encoded, replayed = await actions.run_idempotent(request, account, edit, sources, picture=picture)
    headers = _headers(encoded, http.request_context(request).milliseconds) | (
        {"Idempotent-Replayed": "true"} if replayed else {}
    )
    return Response(encoded.data, media_type=encoded.media_type, headers=headers)


@router.get(
    "/v1/me",
    summary="The account behind a key",
    response_class=Response,
    responses=openapi.success("The account", openapi.content([openapi.JSON], _ACCOUNT, example=_ACCOUNT_EXAMPLE))
    | openapi.failures(_ERROR, _NO_KEY),
)
async def me(request: Request) -> Response:
    """What the key has used."""
    account, usage = await actions.usage(request)
    return http.json_response(
        {
            "organizationId": account.id,
            "plan": "self-hosted",
            "maxCredits": UNLIMITED if usage.allowed is None else usage.allowed,
            "usedCredits": usage.used,
            "autoRechargeThreshold": None,
        }
    )


DIALECT = http.Dialect(
    name="poof",
    prefixes=("/v1/remove", "/v1/me", "/v1/jobs"),
    router=router,
    render_error=render_error,
    status=_STATUS,
    limits=Limits(max_bytes=20 * 2**20, max_pixels=http.NO_LIMITS.max_pixels),
)

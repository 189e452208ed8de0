"""remove.bg: `POST /v1.0/removebg`, `GET /v1.0/account` and `POST /v1.0/improve`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import pybase64
from fastapi import APIRouter, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import Request
from starlette.responses import Response

from mattebox import units
from mattebox.codec import Limits
from mattebox.edit import (
    Backdrop,
    Color,
    Edit,
    Format,
    Layout,
    Margin,
    Matte,
    Output,
    Picture,
    Shadow,
    ShadowKind,
    Transparent,
)
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Box, Encoded
from mattebox.layout import RegionEmptyError, RegionOutsideError
from mattebox.server import actions
from mattebox.server.http import dialect as http
from mattebox.server.http import fields, openapi
from mattebox.server.state import limits, server_state
from mattebox.sources import Link, Source, Sources, Upload

_T = TypeVar("_T")

MOST_BYTES = 22 * 2**20
MOST_PIXELS = 50_000_000
UNLIMITED = 2_147_483_647
"""Credits of a key without a limit: a whole number that every language can hold."""

_MEGAPIXEL = 1_000_000
_SIZES = {
    "preview": _MEGAPIXEL // 4,
    "small": _MEGAPIXEL // 4,
    "regular": _MEGAPIXEL // 4,
    "medium": 3 * _MEGAPIXEL // 2,
    "hd": 4 * _MEGAPIXEL,
    "full": 25 * _MEGAPIXEL,
    "4k": 25 * _MEGAPIXEL,
    "50mp": 50 * _MEGAPIXEL,
    "auto": 50 * _MEGAPIXEL,
}
_FORMATS = {
    "auto": None,
    "png": Format.PNG,
    "jpg": Format.JPEG,
    "jpeg": Format.JPEG,
    "webp": Format.WEBP,
    "avif": Format.AVIF,
    "zip": Format.ZIP,
}
_TYPES = ("auto", "person", "product", "car", "animal", "graphic", "transportation")
_LEVELS = ("none", "1", "2", "latest")
_SHADOWS = {
    "none": None,
    "auto": ShadowKind.GROUND,
    "drop": ShadowKind.DROP,
    "3d": ShadowKind.CAST,
    "car": ShadowKind.GROUND,
}
_SOURCES = ("image_file", "image_file_b64", "image_url")
_BACKGROUNDS = ("bg_color", "bg_image_url", "bg_image_file")
_FILE_FIELDS = ("image_file", "image_file_b64", "bg_image_file")
_MOST_MARGIN = {True: 50, False: 500}  # per cent, pixels

_AUTH = ("API Key invalid", "auth_failed")
# Codes are the vendor's. Where it has a title that clients compare with, that is used; else the title is our sentence.
_WORDS: Mapping[Kind, tuple[str | None, str]] = {
    Kind.INVALID_REQUEST: (None, "invalid_request"),
    Kind.INVALID_PARAMETER: (None, "invalid_parameter"),
    Kind.MISSING_IMAGE: ("No image given", "missing_source"),
    Kind.UNREADABLE_IMAGE: (None, "failed_to_read_image"),
    Kind.NO_SUBJECT: ("Could not identify foreground in image.", "unknown_foreground"),
    Kind.TOO_MANY_BYTES: (None, "file_too_large"),
    Kind.TOO_MANY_PIXELS: (None, "resolution_too_high"),
    Kind.UNREACHABLE_SOURCE: (None, "failed_image_download"),
    Kind.MISSING_KEY: ("Missing API Key", "auth_failed"),
    Kind.INVALID_KEY: _AUTH,
    Kind.FORBIDDEN: (None, "forbidden"),
    Kind.OUT_OF_CREDITS: ("Insufficient credits", "insufficient_credits"),
    Kind.NOT_FOUND: (None, "not_found"),
    Kind.CONFLICT: (None, "conflict"),
    Kind.OVERLOADED: ("Rate limit exceeded", "rate_limit_exceeded"),
    Kind.TIMED_OUT: (None, "timeout"),
    Kind.CANCELLED: (None, "cancelled"),
    Kind.UNAVAILABLE: (None, "unavailable"),
    Kind.NOT_OFFERED: (None, "not_offered"),
    Kind.INTERNAL: (None, "internal_error"),
}
_STATUS = {Kind.MISSING_KEY: 403, Kind.INVALID_KEY: 403, Kind.TOO_MANY_BYTES: 400, Kind.TOO_MANY_PIXELS: 400}


class _CodedError(MatteboxError):
    """A failure that the vendor has a code of its own for."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(Kind.INVALID_PARAMETER, message)
        self.code = code


def render_error(error: MatteboxError, status: int, _request_id: str) -> Response:
    """A failure as the vendor writes it."""
    title, code = _WORDS[error.kind]
    if error.kind is Kind.UNREACHABLE_SOURCE and error.parameter == "bg_image_url":
        code = "failed_bg_download"
    match error:
        case _CodedError():
            code = error.code
        case RegionOutsideError():
            code = "roi_exceeds_bounds"
        case RegionEmptyError():
            code = "roi_region_empty"
        case _ if error.kind is Kind.INVALID_PARAMETER and error.parameter in _FILE_FIELDS:
            code = "failed_to_read_image"  # broken base64, say
        case _ if error.kind is Kind.INVALID_PARAMETER and error.parameter:
            code = f"invalid_{error.parameter}"
        case _:
            pass
    written = {"title": title or error.message, "code": code}
    if title:
        written["detail"] = error.message
    return http.json_response({"errors": [written]}, status=status, headers=_OPEN)


# --- from the request --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """The edit and its pictures, the field that the photo came in, and the type for the response."""

    edit: Edit
    sources: Sources
    picture: str
    type: str | None


async def read(request: Request) -> fields.Fields:
    """The fields, of whichever of the three kinds of body."""
    most = limits(request).max_bytes
    if fields.content_type(request) in fields.FORM_TYPES:
        return await fields.form(request, max_bytes=most, picture="image_file")
    return await fields.json(request, max_bytes=most, picture="image_file", lenient=True)


def parse(given: fields.Fields) -> Asked:
    """The vendor's words to ours."""
    source, picture = _source(given)
    backdrop, behind = _backdrop(given)
    alpha_only = given.choice("channels", {"rgba": False, "alpha": True}, False)
    kind = given.choice("type", {each: each for each in _TYPES}, "auto")
    level = given.choice("type_level", {each: each for each in _LEVELS}, "1")
    edit = Edit(
        backdrop=backdrop,
        shadow=_shadow(given, kind),
        layout=Layout(
            roi=_read(given, "roi", units.region),
            crop=given.flag("crop"),
            margin=_margin(given),
            scale=_scale(given),
            position=_read(given, "position", units.position),
            max_pixels=given.choice("size", _SIZES, _SIZES["preview"]),
        ),
        matte=Matte(semitransparency=given.flag("semitransparency", default=True)),
        output=Output(format=_format(given, backdrop, alpha_only), alpha_only=alpha_only),
    )
    return Asked(
        edit, Sources(source, behind), picture, None if level == "none" else "other" if kind == "auto" else kind
    )


def _format(given: fields.Fields, backdrop: Backdrop, alpha_only: bool) -> Format:
    asked = given.choice("format", _FORMATS, None)
    if asked is not None:
        return asked
    opaque = not isinstance(backdrop, Transparent) and not (isinstance(backdrop, Color) and backdrop.opacity < 1)
    return Format.JPEG if opaque and not alpha_only else Format.PNG  # a matte is exact


def _source(given: fields.Fields) -> tuple[Source, str]:
    named = [name for name in _SOURCES if name in given.names]
    if len(named) > 1:
        raise _CodedError("multiple_sources", f"Send one of {', '.join(_SOURCES)}, and not several.")
    match named:
        case ["image_file"]:
            picture = given.file("image_file")
        case ["image_file_b64"]:
            picture = given.base64("image_file_b64")
        case ["image_url"]:
            return Link(given.address("image_url") or ""), "image_url"
        case _:
            raise MatteboxError(Kind.MISSING_IMAGE, f"Send the picture as one of {', '.join(_SOURCES)}.")
    return Upload(picture or b""), named[0]


def _backdrop(given: fields.Fields) -> tuple[Backdrop, Source | None]:
    color = given.color("bg_color", opaque=False)
    if color is not None and color.opacity == 0:
        color = None
    named = [name for name in _BACKGROUNDS[1:] if name in given.names] + ([] if color is None else ["bg_color"])
    if len(named) > 1:
        raise _CodedError("multiple_bg_sources", f"Send one of {', '.join(_BACKGROUNDS)}, and not several.")
    url = given.address("bg_image_url", what="background's")
    if url is not None:
        return Picture(), Link(url)
    picture = given.file("bg_image_file")
    if picture is not None:
        return Picture(), Upload(picture)
    return color or Transparent(), None


def _shadow(given: fields.Fields, kind: str) -> Shadow | None:
    opacity = given.number("shadow_opacity", least=0, most=100)
    old = given.flag("add_shadow")
    named = given.choice("shadow_type", {each: each for each in _SHADOWS}, "auto" if old else "none")
    asked = _SHADOWS[named]
    if asked is None:
        return None
    if named == "auto" and kind == "person":
        asked = ShadowKind.DROP  # people are seldom seen down to the ground
    return Shadow(kind=asked, opacity=0.5 if opacity is None else opacity / 100)


def _read(given: fields.Fields, name: str, reader: Callable[[str], _T]) -> _T | None:
    """What a field says in words that every door shares; None where it is absent or `original`."""
    word = given.text(name)
    if word is None or word.lower() == "original":
        return None
    try:
        return reader(word)
    except MatteboxError as error:
        raise error.about(name) from error


def _margin(given: fields.Fields) -> Margin:
    margin = _read(given, "crop_margin", units.margin) or Margin()
    if any(side.value > _MOST_MARGIN[side.percent] for side in (margin.top, margin.right, margin.bottom, margin.left)):
        _wrong("crop_margin", "must be at most 50% or 500px")
    return margin


def _scale(given: fields.Fields) -> float | None:
    scale = _read(given, "scale", units.scale)
    if scale is not None and scale < 0.1:
        _wrong("scale", "must be from 10% to 100%, or original")
    return scale


def _wrong(name: str, why: str) -> NoReturn:
    raise MatteboxError(Kind.INVALID_PARAMETER, f"{name} {why}.", parameter=name)


# --- to the answer -----------------------------------------------------------------------------------------------

_OPEN = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "*",
}


def _headers(request: Request, asked: Asked, encoded: Encoded, *, charged: bool) -> dict[str, str]:
    box = encoded.subject or Box(0, 0, 0, 0)
    width, height = encoded.largest or (encoded.width, encoded.height)
    room = server_state(request)
    return {
        **({} if asked.type is None else {"X-Type": asked.type}),
        "X-Width": str(encoded.width),
        "X-Height": str(encoded.height),
        "X-Max-Width": str(width),
        "X-Max-Height": str(height),
        "X-Credits-Charged": "1" if charged else "0",
        "X-Foreground-Top": str(box.top),
        "X-Foreground-Left": str(box.left),
        "X-Foreground-Width": str(box.width),
        "X-Foreground-Height": str(box.height),
        # As many pictures at a time; a place is free again when one is done, which is soon.
        "X-RateLimit-Limit": str(room.runner.capacity),
        "X-RateLimit-Remaining": str(room.runner.free),
        "X-RateLimit-Reset": str(int(time.time()) + 1),
        **_OPEN,
    }


def _as_json(encoded: Encoded) -> dict[str, object]:
    box = encoded.subject or Box(0, 0, 0, 0)
    return {
        "data": {
            "result_b64": pybase64.b64encode_as_string(encoded.data),
            "foreground_top": box.top,
            "foreground_left": box.left,
            "foreground_width": box.width,
            "foreground_height": box.height,
        }
    }


# --- the OpenAPI page --------------------------------------------------------------------------------------------

_ERROR = openapi.obj(
    {
        "errors": openapi.array(
            openapi.obj(
                {name: openapi.plain("string", "") for name in ("title", "code", "detail")}, required=("title",)
            )
        )
    }
)


def _example(title: str, code: str, detail: str | None = None) -> openapi.Schema:
    return {"errors": [{"title": title, "code": code} | ({} if detail is None else {"detail": detail})]}


_NO_KEY = {403: _example(*_AUTH)}
_FAILURES = openapi.failures(
    _ERROR,
    _NO_KEY
    | {
        400: _example("scale must be from 10% to 100%, or original.", "invalid_scale"),
        402: _example("Insufficient credits", "insufficient_credits"),
        429: _example("Rate limit exceeded", "rate_limit_exceeded"),
    },
)
_COLOR = "`81d4fa`, `fff`, with two or one more digits for the opacity, or a name."
_FIELDS: openapi.Schema = {
    "image_file_b64": openapi.plain("string", "The picture in base64, as a data URL or bare."),
    "image_url": openapi.plain("string", "Where the picture is."),
    "size": openapi.word(
        ("preview", "medium", "hd", "full", "50MP", "auto"),
        "The most megapixels: 0.25, 1.5, 4, 25, 50, 50. `small`, `regular` and `4k` are accepted too.",
        default="preview",
    ),
    "type": openapi.word(_TYPES, "What it is a picture of. It decides which shadow `auto` is.", default="auto"),
    "type_level": openapi.word(_LEVELS, "`none` leaves X-Type out of the answer.", default="1"),
    "format": openapi.word(tuple(_FORMATS), "`auto`: PNG where it is transparent, else JPEG.", default="auto"),
    "roi": openapi.plain("string", "`x1 y1 x2 y2` in px or %: all outside is background."),
    "crop": openapi.plain("boolean", "Cut the picture to the subject."),
    "crop_margin": openapi.plain("string", "One, two or four lengths, up to `50%` of the subject or `500px`."),
    "scale": openapi.plain("string", "`10%` to `100%` of the picture, or `original`."),
    "position": openapi.plain("string", "`original`, `center`, or `x% y%`."),
    "channels": openapi.word(("rgba", "alpha"), "`alpha` is the matte alone.", default="rgba"),
    "add_shadow": openapi.plain("boolean", "The same as `shadow_type=auto`."),
    "shadow_type": openapi.word(("none", "auto", "drop", "3D", "car"), "The shadow.", default="none"),
    "shadow_opacity": openapi.plain("number", "0 to 100, of the shadow's darkest part; 50."),
    "semitransparency": openapi.plain("boolean", "Without it windows and glass are opaque. On."),
    "bg_color": openapi.plain("string", f"A colour behind: {_COLOR}"),
    "bg_image_url": openapi.plain("string", "Where a picture for behind is. It fills the canvas."),
}
_FILES: openapi.Schema = {
    "image_file": openapi.binary("The picture, up to 22 MB."),
    "bg_image_file": openapi.binary("A picture for behind."),
}
_RESULT = openapi.obj(
    {
        "data": openapi.obj(
            {"result_b64": openapi.plain("string", "the result's file in base64")}
            | {f"foreground_{name}": openapi.plain("integer", "pixels") for name in ("top", "left", "width", "height")}
        )
    }
)
_DESCRIBED = {
    "X-Type": "`type`, or `other`",
    "X-Width": "pixels",
    "X-Height": "pixels",
    "X-Max-Width": "what it would be at `size=full`",
    "X-Max-Height": "what it would be at `size=full`",
    "X-Credits-Charged": "0 where keys have no limit, else 1",
    "X-Foreground-Top": "where the subject is, in pixels of the result; likewise -Left, -Width and -Height",
    "X-RateLimit-Limit": "pictures worked on or waiting at a time",
    "X-RateLimit-Remaining": "of them free",
    "X-RateLimit-Reset": "when to look again, in seconds since 1970",
}
_ACCOUNT = openapi.obj(
    {
        "data": openapi.obj(
            {
                "attributes": openapi.obj(
                    {
                        "credits": openapi.obj(
                            {
                                name: openapi.plain("number", "")
                                for name in ("total", "subscription", "payg", "enterprise")
                            }
                        ),
                        "api": openapi.obj(
                            {
                                "free_calls": openapi.plain("integer", "always 0"),
                                "sizes": openapi.plain("string", "always all"),
                            }
                        ),
                    }
                )
            }
        )
    }
)

router = APIRouter(
    prefix="/v1.0",
    tags=["remove.bg"],
    dependencies=[
        Security(APIKeyHeader(name="X-Api-Key", scheme_name="remove.bg", auto_error=False)),
        Security(HTTPBearer(scheme_name="remove.bg, OAuth", auto_error=False)),
    ],
)


@router.post(
    "/removebg",
    summary="Remove the background",
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": openapi.content(["multipart/form-data"], openapi.obj({**_FILES, **_FIELDS}))
            | openapi.content(["application/x-www-form-urlencoded", openapi.JSON], openapi.obj(_FIELDS)),
        }
    },
    responses=openapi.success(
        "The result: a file, or JSON where `Accept` asks for it",
        openapi.content(["image/*", "application/zip"], openapi.binary()) | openapi.content([openapi.JSON], _RESULT),
        headers=_DESCRIBED,
    )
    | _FAILURES,
)
async def removebg(request: Request) -> Response:
    """Cut the subject out of a photo. Where none is found the answer is 400 with the code `unknown_foreground`."""
    async with actions.authorize(request) as account:
        asked = parse(await read(request))
        encoded = await actions.run_edit(
            request, account, asked.edit, asked.sources, picture=asked.picture, subject_needed=True
        )
        _, usage = await actions.usage(request)
        headers = _headers(request, asked, encoded, charged=usage.allowed is not None)
    if request.headers.get("accept", "").partition(";")[0].strip().lower() == fields.JSON_TYPE:
        return http.json_response(_as_json(encoded), headers=headers)
    return Response(encoded.data, media_type=encoded.media_type, headers=headers)


@router.get(
    "/account",
    summary="What the key has left",
    response_class=Response,
    responses=openapi.success("The account", openapi.content([openapi.JSON], _ACCOUNT))
    | openapi.failures(_ERROR, _NO_KEY),
)
async def account(request: Request) -> Response:
    """The credits that are left; a very large number where the key has no limit."""
    _, usage = await actions.usage(request)
    left = UNLIMITED if usage.allowed is None else max(0, usage.allowed - usage.used)
    # The vendor's Ruby client fails on members that it does not know, so there are no others.
    return http.json_response(
        {
            "data": {
                "attributes": {
                    "credits": {"total": left, "subscription": left, "payg": 0, "enterprise": 0},
                    "api": {"free_calls": 0, "sizes": "all"},
                }
            }
        },
        headers=_OPEN,
    )


@router.post(
    "/improve",
    summary="Send a picture that came out badly",
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": openapi.content(
                ["multipart/form-data"],
                openapi.obj(
                    {
                        "image_file": openapi.binary("The picture."),
                        "image_file_b64": _FIELDS["image_file_b64"],
                        "image_url": _FIELDS["image_url"],
                        "image_filename": openapi.plain("string", "Its name."),
                        "tag": openapi.plain("string", "What pictures belong together."),
                    }
                ),
            ),
        }
    },
    responses=openapi.success(
        "It has arrived", openapi.content([openapi.JSON], openapi.obj({"id": openapi.plain("string", "a UUID")}))
    )
    | _FAILURES,
)
async def improve(request: Request) -> Response:
    """Taken and thrown away: your pictures are for nobody to learn from. The answer is the vendor's."""
    async with actions.authorize(request, networks=False, cost=0):
        _source(await read(request))
    return http.json_response({"id": str(uuid.uuid4())}, headers=_OPEN)


@router.options("/removebg", include_in_schema=False)
@router.options("/account", include_in_schema=False)
@router.options("/improve", include_in_schema=False)
async def preflight() -> Response:
    """What a page of another site asks before it sends a key.

    It comes last, because where a method is not taken the first route of the address says which is.
    """
    allowed = {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "X-Api-Key, Authorization, Content-Type, Accept",
    }
    return Response(status_code=204, headers=_OPEN | allowed)


DIALECT = http.Dialect(
    name="removebg",
    prefixes=("/v1.0/removebg", "/v1.0/account", "/v1.0/improve"),
    router=router,
    render_error=render_error,
    status=_STATUS,
    parameters={"backdrop": "bg_image_url"},
    limits=Limits(max_bytes=MOST_BYTES, max_pixels=MOST_PIXELS),
)

"""remove.bg: `POST /v1.0/removebg`, `GET /v1.0/account` and `POST /v1.0/improve`."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Collection
from typing import Annotated, Generic, TypeVar

from fastapi import Security
from fastapi.security import HTTPBearer

from mattebox import units
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
    Region,
    Shadow,
    ShadowKind,
    Transparent,
)
from mattebox.image import Box
from mattebox.layout import RegionEmptyError, RegionOutsideError
from mattebox.options import FORMATS
from mattebox.server.dialects import base
from mattebox.server.store.accounts import Account

_T = TypeVar("_T")
_Model = TypeVar("_Model", bound=base.Fields)

MOST_BYTES = 22 * 2**20
MOST_PIXELS = 50_000_000

_SIZES = dict.fromkeys(("preview", "small", "regular"), 250_000) | {
    "medium": 1_500_000,
    "hd": 4_000_000,
    **dict.fromkeys(("full", "4k"), 25_000_000),
    **dict.fromkeys(("50MP", "auto"), 50_000_000),
}
_FORMATS = {"auto": None} | FORMATS
# What is said of the picture, and what `X-Type` says then.
_TYPES = {"auto": "other"} | {
    each: each for each in ("person", "product", "car", "animal", "graphic", "transportation")
}
_SHADOWS = {
    "none": None,
    "auto": ShadowKind.GROUND,
    "drop": ShadowKind.DROP,
    "3D": ShadowKind.CAST,
    "car": ShadowKind.GROUND,
}
_MOST_MARGIN = {True: 50, False: 500}  # per cent, pixels

# Titles that clients compare with; elsewhere the title is our sentence.
_TITLES = {
    base.Kind.MISSING_IMAGE: "No image given",
    base.Kind.NO_SUBJECT: "Could not identify foreground in image.",
    base.Kind.MISSING_KEY: "Missing API Key",
    base.Kind.INVALID_KEY: "API Key invalid",
    base.Kind.OUT_OF_CREDITS: "Insufficient credits",
    base.Kind.OVERLOADED: "Rate limit exceeded",
}
# The vendor's codes; the others are the words of `Kind` itself.
_CODES = {
    base.Kind.MISSING_IMAGE: "missing_source",
    base.Kind.UNREADABLE_IMAGE: "failed_to_read_image",
    base.Kind.NO_SUBJECT: "unknown_foreground",
    base.Kind.TOO_MANY_BYTES: "file_too_large",
    base.Kind.TOO_MANY_PIXELS: "resolution_too_high",
    base.Kind.UNREACHABLE_SOURCE: "failed_image_download",
    base.Kind.MISSING_KEY: "auth_failed",
    base.Kind.INVALID_KEY: "auth_failed",
    base.Kind.OUT_OF_CREDITS: "insufficient_credits",
    base.Kind.OVERLOADED: "rate_limit_exceeded",
    base.Kind.TIMED_OUT: "timeout",
    base.Kind.INTERNAL: "internal_error",
}
_STATUS = {
    base.Kind.MISSING_KEY: 403,
    base.Kind.INVALID_KEY: 403,
    base.Kind.TOO_MANY_BYTES: 400,
    base.Kind.TOO_MANY_PIXELS: 400,
}


class _CodedError(base.MatteboxError):
    """A failure that the vendor has a code of its own for."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(base.Kind.INVALID_PARAMETER, message)
        self.code = code


def render_error(error: base.MatteboxError, status: int, _request_id: str) -> base.Response:
    """A failure as the vendor writes it."""
    title = _TITLES.get(error.kind)
    written = {"title": title or error.message, "code": _code(error), **({"detail": error.message} if title else {})}
    return base.json_response({"errors": [written]}, status=status)


def _code(error: base.MatteboxError) -> str:
    match error:
        case _CodedError():
            return error.code
        case RegionOutsideError():
            return "roi_exceeds_bounds"
        case RegionEmptyError():
            return "roi_region_empty"
    match error.kind, error.parameter:
        case base.Kind.UNREACHABLE_SOURCE, "bg_image_url":
            return "failed_bg_download"
        case base.Kind.INVALID_PARAMETER, "image_file" | "image_file_b64" | "bg_image_file":
            return "failed_to_read_image"  # broken base64, say
        case base.Kind.INVALID_PARAMETER, str(name):
            return f"invalid_{name}"
        case kind, _:
            return _CODES.get(kind, kind.value)


# --- from the request --------------------------------------------------------------------------------------------


def _unless_original(parse: Callable[[str], _T]) -> base.Written:
    """Reads a field in words that every front end shares, or `original`, which is None."""
    return base.Written(lambda text: None if text.lower() == "original" else parse(text))


def _margin(text: str) -> Margin:
    margin = units.margin(text)
    if any(side.value > _MOST_MARGIN[side.percent] for side in (margin.top, margin.right, margin.bottom, margin.left)):
        raise base.Refusal("must be at most 50% or 500px")
    return margin


def _scale(text: str) -> float:
    scale = units.scale(text)
    if scale < 0.1:
        raise base.Refusal("must be from 10% to 100%, or original")
    return scale


class _Photo(base.PhotoFields):
    photo_fields = ("image_file", "image_file_b64", "image_url")
    photo_missing = f"Send the picture as one of {', '.join(photo_fields)}."

    image_file: Annotated[bytes | None, base.File()] = base.Field(None, description="The picture, up to 22 MB.")
    image_file_b64: Annotated[bytes | None, base.Base64File()] = base.Field(
        None, description="The picture in base64, as a data URL or bare."
    )
    image_url: Annotated[str | None, base.ReadAddress()] = base.Field(None, description="Where the picture is.")

    @classmethod
    def check_names(cls, names: Collection[str]) -> None:
        super().check_names(names)
        if sum(name in names for name in cls.photo_fields) > 1:
            raise _CodedError("multiple_sources", f"Only one of {', '.join(cls.photo_fields)} may be sent.")


class Options(_Photo):
    """The fields of `/removebg`."""

    size: Annotated[int, base.Word(_SIZES)] = base.Field(
        _SIZES["preview"], description="At most 0.25, 0.25, 0.25, 1.5, 4, 25, 25, 50 or 50 megapixels."
    )
    type: Annotated[str, base.Word(_TYPES)] = base.Field(
        _TYPES["auto"], description="The subject. It decides which shadow `auto` is."
    )
    type_level: Annotated[bool, base.Word({"none": False, "1": True, "2": True, "latest": True})] = base.Field(
        True, description="`none` leaves X-Type out of the response."
    )
    format: Annotated[Format | None, base.Word(_FORMATS)] = base.Field(
        None, description="`auto` is PNG where the result is transparent, else JPEG."
    )
    roi: Annotated[Region | None, _unless_original(units.region)] = base.Field(
        None, description="`x1 y1 x2 y2` in px or %: all outside is background."
    )
    crop: Annotated[base.Flag, base.Field(description="Cut the picture to the subject.")] = False
    crop_margin: Annotated[Margin | None, _unless_original(_margin)] = base.Field(
        None, description="One, two or four lengths, up to `50%` of the subject or `500px`."
    )
    scale: Annotated[float | None, _unless_original(_scale)] = base.Field(
        None, description="`10%` to `100%` of the picture, or `original`."
    )
    position: Annotated[tuple[float, float] | None, _unless_original(units.position)] = base.Field(
        None, description="`original`, `center`, or `x% y%`."
    )
    channels: Annotated[bool, base.Word({"rgba": False, "alpha": True})] = base.Field(
        False, description="`alpha` is the matte alone."
    )
    add_shadow: Annotated[base.Flag, base.Field(description="The same as `shadow_type=auto`.")] = False
    shadow_type: Annotated[str, base.Word({each: each for each in _SHADOWS})] = base.Field(
        "none", description="The kind of shadow."
    )
    shadow_opacity: Annotated[float, base.Number(0, 100)] = base.Field(
        50, description="Opacity of the shadow's darkest part in per cent."
    )
    semitransparency: Annotated[base.Flag, base.Field(description="Without it windows and glass are opaque.")] = True
    bg_color: Annotated[Color | None, base.AnyColor] = base.Field(
        None, description="A colour behind: `81d4fa`, `fff`, with two or one more digits for the opacity, or a name."
    )
    bg_image_url: Annotated[str | None, base.ReadAddress("background's")] = base.Field(
        None, description="The address of a picture behind. It fills the canvas."
    )
    bg_image_file: Annotated[bytes | None, base.File()] = base.Field(None, description="A picture behind.")


class Improvement(_Photo):
    """The fields of `/improve`. All but the picture are accepted unread."""

    image_filename: object = base.Field(None, description="The picture's name.")
    tag: object = base.Field(None, description="Pictures with the same tag belong together.")


async def _read(request: base.Request, model: type[_Model]) -> _Model:
    """The fields of any of the three kinds of body."""
    if base.content_type(request) in base.FORM_TYPES:
        return await base.read_form(request, model, picture="image_file")
    return await base.read_json(request, model, picture="image_file", lenient=True)


def to_edit(given: Options) -> tuple[Edit, base.Sources]:
    """The edit that is asked for."""
    backdrop, behind = _backdrop(given)
    edit = Edit(
        backdrop=backdrop,
        shadow=_shadow(given),
        layout=Layout(
            roi=given.roi,
            crop=given.crop,
            margin=given.crop_margin or Margin(),
            scale=given.scale,
            position=given.position,
            max_pixels=given.size,
        ),
        matte=Matte(semitransparency=given.semitransparency),
        output=Output(format=given.format or _auto(backdrop, given), alpha_only=given.channels),
    )
    return edit, base.Sources(given.photo_source, behind)


def _auto(backdrop: Backdrop, given: Options) -> Format:
    opaque = not isinstance(backdrop, Transparent) and not (isinstance(backdrop, Color) and backdrop.opacity < 1)
    return Format.JPEG if opaque and not given.channels else Format.PNG  # a matte is exact


def _backdrop(given: Options) -> tuple[Backdrop, base.Source | None]:
    color = None if given.bg_color is None or given.bg_color.opacity == 0 else given.bg_color
    match [each for each in (color, given.bg_image_url, given.bg_image_file) if each is not None]:
        case []:
            return Transparent(), None
        case [Color() as only]:
            return only, None
        case [str(url)]:
            return Picture(), base.Link(url)
        case [bytes(data)]:
            return Picture(), base.Upload(data)
    raise _CodedError("multiple_bg_sources", "Only one of bg_color, bg_image_url, bg_image_file may be sent.")


def _shadow(given: Options) -> Shadow | None:
    named = "auto" if given.add_shadow and "shadow_type" not in given.model_fields_set else given.shadow_type
    kind = _SHADOWS[named]
    if kind is None:
        return None
    if named == "auto" and given.type == "person":
        kind = ShadowKind.DROP  # people are seldom seen down to the ground
    return Shadow(kind=kind, opacity=given.shadow_opacity / 100)


# --- to the response ---------------------------------------------------------------------------------------------


class _Cutout(base.BaseModel):
    result_b64: str = base.Field(description="the result's file in base64")
    foreground_top: int = base.Field(description="pixels")
    foreground_left: int = base.Field(description="pixels")
    foreground_width: int = base.Field(description="pixels")
    foreground_height: int = base.Field(description="pixels")


class _Credits(base.BaseModel):
    total: int
    subscription: int
    payg: int
    enterprise: int


class _Api(base.BaseModel):
    free_calls: int = base.Field(description="always 0")
    sizes: str = base.Field(description="always all")


class _Account(base.BaseModel):
    # The vendor's Ruby client fails on members that it does not know, so there are no others.
    credits: _Credits
    api: _Api


class _Attributes(base.BaseModel):
    attributes: _Account


class _Data(base.BaseModel, Generic[_T]):
    data: _T


class _Received(base.BaseModel):
    id: str = base.Field(description="a UUID")


_HEADERS = {
    "X-Type": "`type`, or `other`",
    "X-Width": "pixels",
    "X-Height": "pixels",
    "X-Max-Width": "what it would be at `size=full`",
    "X-Max-Height": "what it would be at `size=full`",
    "X-Credits-Charged": "0 where keys have no limit, else 1",
    "X-Foreground-Top": "where the subject is, in pixels of the result; likewise -Left, -Width and -Height",
    "X-RateLimit-Limit": "requests in the window of the key's rate limit; a very large number where it has none",
    "X-RateLimit-Remaining": "of them left",
    "X-RateLimit-Reset": "when there is one more, in seconds since 1970",
}


def rate_headers(state: base.RateState | None) -> dict[str, str]:
    """The rate limit of a key, as the vendor writes it."""
    if state is None:
        state = base.RateState(limit=base.UNLIMITED, remaining=base.UNLIMITED, reset=time.time())
    return {
        "X-RateLimit-Limit": str(state.limit),
        "X-RateLimit-Remaining": str(state.remaining),
        "X-RateLimit-Reset": str(math.ceil(state.reset)),
    }


def render(request: base.Request, account: Account, given: Options, encoded: base.Encoded) -> base.Response:
    """The picture; JSON where `Accept` asks for nothing else, as some HTTP libraries name JSON first by default."""
    box = encoded.subject or Box(0, 0, 0, 0)
    foreground = {"top": box.top, "left": box.left, "width": box.width, "height": box.height}
    width, height = encoded.largest or (encoded.width, encoded.height)
    headers = {
        **({"X-Type": given.type} if given.type_level else {}),
        "X-Width": str(encoded.width),
        "X-Height": str(encoded.height),
        "X-Max-Width": str(width),
        "X-Max-Height": str(height),
        "X-Credits-Charged": "1" if account.credits else "0",
        **{f"X-Foreground-{name.title()}": str(pixels) for name, pixels in foreground.items()},
        **rate_headers(request.state.rate),
    }
    if not base.wants_json(request):
        return base.picture_response(encoded, headers)
    data = {"result_b64": base.as_base64(encoded.data)} | {
        f"foreground_{name}": each for name, each in foreground.items()
    }
    return base.json_response(_Data(data=_Cutout.model_validate(data)), headers=headers)


# --- routes ------------------------------------------------------------------------------------------------------

_NO_KEY = (base.Kind.MISSING_KEY, base.Kind.INVALID_KEY)
router = base.router_for("remove.bg", header="X-Api-Key", prefix="/v1.0")
router.dependencies.append(Security(HTTPBearer(scheme_name="remove.bg, OAuth", auto_error=False)))


@router.post(
    "/removebg",
    summary="Remove the background",
    openapi_extra=base.openapi.request(form=Options, json=Options, urlencoded=True),
    responses=base.openapi.result(
        "The result: a file, or JSON where `Accept` asks for it",
        media_types=("image/*", "application/zip"),
        model=_Data[_Cutout],
        headers=_HEADERS,
    )
    | base.openapi.errors(
        render_error, (*base.openapi.EDIT_ERRORS, base.Kind.NO_SUBJECT, base.Kind.MISSING_KEY), status=_STATUS
    ),
)
@base.edit_endpoint
async def removebg(request: base.Request) -> base.Response:
    """Cut the subject out of a photo. Where none is found the answer is 400 with the code `unknown_foreground`."""
    async with base.authorize(request) as account:
        given = await _read(request, Options)
        edit, sources = to_edit(given)
        encoded = await base.run_edit(request, account, edit, sources, picture=given.photo_name, subject_needed=True)
        return render(request, account, given, encoded)


@router.get(
    "/account",
    summary="What the key has left",
    responses=base.openapi.result("The account", model=_Data[_Attributes])
    | base.openapi.errors(render_error, _NO_KEY, status=_STATUS),
)
async def account(request: base.Request) -> base.Response:
    """The credits that are left; a very large number where the key has no limit."""
    _, usage = await base.actions.usage(request)
    left = base.credits_left(usage)
    found = _Account(
        credits=_Credits(total=left, subscription=left, payg=0, enterprise=0), api=_Api(free_calls=0, sizes="all")
    )
    return base.json_response(_Data(data=_Attributes(attributes=found)))


@router.post(
    "/improve",
    summary="Send a picture that came out badly",
    openapi_extra=base.openapi.request(form=Improvement, json=Improvement, urlencoded=True),
    responses=base.openapi.result("It has arrived", model=_Received)
    | base.openapi.errors(
        render_error,
        (base.Kind.MISSING_IMAGE, *_NO_KEY, base.Kind.TOO_MANY_BYTES, base.Kind.OVERLOADED),
        status=_STATUS,
    ),
)
async def improve(request: base.Request) -> base.Response:
    """Taken and thrown away: your pictures are for nobody to learn from. The answer is the vendor's."""
    async with base.authorize(request, networks=False, cost=0):
        await _read(request, Improvement)
    return base.json_response(_Received(id=str(uuid.uuid4())))


DIALECT = base.Dialect(
    name="removebg",
    prefixes=("/v1.0/removebg", "/v1.0/account", "/v1.0/improve"),
    router=router,
    render_error=render_error,
    status=_STATUS,
    parameters={"backdrop": "bg_image_url"},
    limits=base.Limits(max_bytes=MOST_BYTES, max_pixels=MOST_PIXELS),
    rate_headers=rate_headers,
)

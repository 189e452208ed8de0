"""Poof: `POST /v1/remove`, a form in and a picture out, and `GET /v1/me`."""

from __future__ import annotations

import re
from typing import Annotated

from mattebox import units
from mattebox.edit import WHITE, Canvas, Color, Edit, Fit, Format, Layout, Length, Margin, Output, Transparent
from mattebox.server.dialects import base

_INVALID = ("validation_error", "One or more parameters are invalid")
_TOO_LARGE = ("image_too_large", "The uploaded image exceeds the maximum size")
_NO_KEY = ("authentication_error", "Invalid or missing API key")
_UPSTREAM = ("upstream_error", "The picture could not be processed. Retry with the same Idempotency-Key")
# Codes and sentences are the vendor's, word for word where it has any; exactly what was wrong goes into `details`.
_WORDS = {
    base.Kind.MISSING_IMAGE: ("missing_image", "The request did not contain an image file"),
    base.Kind.TOO_MANY_BYTES: _TOO_LARGE,
    base.Kind.TOO_MANY_PIXELS: _TOO_LARGE,
    base.Kind.MISSING_KEY: _NO_KEY,
    base.Kind.INVALID_KEY: _NO_KEY,
    base.Kind.FORBIDDEN: ("permission_denied", "Permission denied"),
    base.Kind.OUT_OF_CREDITS: ("payment_required", "Insufficient credits"),
    base.Kind.OVERLOADED: ("rate_limit_exceeded", "Rate limit exceeded"),
    base.Kind.TIMED_OUT: _UPSTREAM,
    base.Kind.CANCELLED: _UPSTREAM,
    base.Kind.UNAVAILABLE: _UPSTREAM,
    base.Kind.INTERNAL: ("internal_server_error", "Internal server error"),
}
_STATUS = {
    base.Kind.TOO_MANY_BYTES: 400,
    base.Kind.TOO_MANY_PIXELS: 400,
    base.Kind.TIMED_OUT: 502,
    base.Kind.UNAVAILABLE: 502,
    base.Kind.NOT_OFFERED: 400,
}
# `hd` is in the vendor's client only, not on its page; 1920 is the only number that the client gives, for videos.
_SIDES = {"full": None, "preview": 256, "small": 512, "medium": 1024, "hd": 1920, "large": 2048}
_FORMATS = {"png": Format.PNG, "jpg": Format.JPEG, "webp": Format.WEBP, "jpeg": Format.JPEG}
_CHANNELS = {each: each for each in ("rgba", "rgb", "alpha")}
_FITS = {each.value: each for each in (Fit.CONTAIN, Fit.COVER, Fit.SCALE_DOWN)}
_SIDE = base.Whole(1, 6000)


def _crop(text: str) -> object:
    """True, False, or a ratio."""
    return units.ratio(text) if ":" in text else base.ReadFlag().read(text)


def _percent(text: str) -> float:
    """A fraction, or a share in per cent, as per cent."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\s*(%?)", text)
    percent = float(found[1]) * (1 if found[2] else 100) if found else -1.0
    if not 0 <= percent <= 100:
        raise base.Refusal("must be a fraction from 0 to 1, or 0% to 100%")
    return percent


class Options(base.PhotoFields):
    """The fields of a form."""

    photo_fields = ("image_file", "url")
    photo_missing = "Send the picture as multipart/form-data, in the field image_file."

    # The page insists on image_file; the vendor's own newer client sends file.
    image_file: Annotated[bytes | None, base.File()] = base.Field(
        None,
        validation_alias=base.AliasChoices("image_file", "file", "image"),
        description="The picture; `file` and `image` are accepted too.",
    )
    url: Annotated[str | None, base.ReadText()] = base.Field(
        None,
        validation_alias=base.AliasChoices("url", "image_url"),
        description="The picture's address, instead of a file. `image_url` is accepted too.",
    )
    format: Annotated[Format, base.Word(_FORMATS)] = base.Field(Format.PNG, description="The result's file format.")
    channels: Annotated[str, base.Word(_CHANNELS)] = base.Field(
        "rgba", description="`rgb` puts `bg_color` behind the subject; `alpha` is the matte alone."
    )
    bg_color: Annotated[Color, base.OpaqueColor] = base.Field(
        WHITE, description="`#fff`, `rgb(255, 255, 255)` or a name, for opaque results; white by default."
    )
    crop: Annotated[bool | tuple[int, int] | None, base.Written(_crop)] = base.Field(
        None, description="`true` cuts the picture to the subject; a ratio such as `4:3` widens the cut to it."
    )
    width: Annotated[int | None, _SIDE] = base.Field(None, description="The result's width; overrides `size`.")
    height: Annotated[int | None, _SIDE] = base.Field(None, description="The result's height; overrides `size`.")
    fit: Annotated[Fit, base.Word(_FITS)] = base.Field(
        Fit.CONTAIN, description="How the picture is brought to `width` and `height`."
    )
    size: Annotated[int | None, base.Word(_SIDES)] = base.Field(
        None, description="The longest side: 256, 512, 1024, 1920 or 2048 pixels."
    )
    padding: Annotated[float | None, base.Written(_percent)] = base.Field(
        None, description="Added around a cropped subject: `0.1` or `10%` of its size, at most `100%`."
    )


class Account(base.BaseModel):
    """The account behind a key."""

    organizationId: str = base.Field(description="derived from the key, as in `9f86d081884c7d659a2feaa0`")  # noqa: N815 - the vendor's
    plan: Annotated[str, base.Field(description="always self-hosted")] = "self-hosted"
    maxCredits: int = base.Field(description=f"{base.UNLIMITED} where there is no limit")  # noqa: N815
    usedCredits: int = base.Field(description="pictures made")  # noqa: N815
    autoRechargeThreshold: Annotated[int | None, base.Field(description="always null")] = None  # noqa: N815


def render_error(error: base.MatteboxError, status: int, request_id: str) -> base.Response:
    """A failure as the vendor writes it."""
    code, message = _WORDS.get(error.kind, _INVALID)
    details = {"field": error.parameter, "message": error.message} if error.parameter else error.message
    body = {"code": code, "message": message, "details": details, "request_id": request_id}
    return base.json_response(body, status=status)


def to_edit(given: Options) -> Edit:
    """The edit that is asked for.

    Raises:
        MatteboxError: INVALID_PARAMETER for padding around a subject that is not cropped.
    """
    if given.padding and not given.crop:  # ignored, it would give a picture without padding, and no word why
        raise base.MatteboxError(base.Kind.INVALID_PARAMETER, "padding requires crop.", parameter="padding")
    each = Length(given.padding or 0.0, percent=True)
    canvas = given.width is not None or given.height is not None
    layout = Layout(
        crop=bool(given.crop),
        ratio=given.crop if isinstance(given.crop, tuple) else None,
        margin=Margin(each, each, each, each),
        canvas=Canvas(width=given.width, height=given.height, fit=given.fit) if canvas else None,
        max_side=None if canvas else given.size,
    )
    # The vendor uses bg_color for opaque results only.
    flat = given.channels == "rgb" or (given.format is Format.JPEG and given.channels == "rgba")
    return Edit(
        backdrop=given.bg_color if flat else Transparent(),
        layout=layout,
        output=Output(format=given.format, alpha_only=given.channels == "alpha"),
    )


def render(request: base.Request, encoded: base.Encoded, *, replayed: bool) -> base.Response:
    """The picture, with its measures in headers; `replayed` where it is the result of an earlier request."""
    measures = {"X-Matte-Confidence": encoded.confidence, "X-Matte-Ambiguous-Ratio": encoded.ambiguity}
    headers = {
        "X-Processing-Time-Ms": str(base.request_context(request).milliseconds),
        "X-Image-Width": str(encoded.width),
        "X-Image-Height": str(encoded.height),
        "X-Mattebox-Subject": base.subject_header(encoded),
        **{name: f"{value:.4f}" for name, value in measures.items() if value is not None},
        **({"Idempotent-Replayed": "true"} if replayed else {}),
    }
    return base.picture_response(encoded, headers)


_HEADERS = {
    "X-Request-ID": "`req_…`",
    "X-Processing-Time-Ms": "whole milliseconds",
    "X-Image-Width": "pixels",
    "X-Image-Height": "pixels",
    "X-Matte-Confidence": "0 to 1",
    "X-Matte-Ambiguous-Ratio": "0 to 1",
    "Idempotent-Replayed": "`true` where the result is that of an earlier request",
} | base.SUBJECT
router = base.router_for("Poof")


@router.post(
    "/v1/remove",
    summary="Remove the background",
    openapi_extra=base.openapi.request(form=Options, urlencoded=True, parameters=[base.openapi.IDEMPOTENCY_KEY]),
    responses=base.openapi.result("The picture", media_types=base.IMAGE_TYPES, headers=_HEADERS)
    | base.openapi.errors(render_error, (*base.openapi.EDIT_ERRORS, base.Kind.INTERNAL), status=_STATUS),
)
@base.edit_endpoint
async def remove(request: base.Request) -> base.Response:
    """Cut the subject out of a picture. Where there is none, the result is empty and `X-Mattebox-Subject` is `none`."""
    async with base.authorize(request) as account:
        given = await base.read_form(request, Options, picture="image_file")
        edit, sources = to_edit(given), base.Sources(given.photo_source)
        encoded, replayed = await base.run_idempotent(request, account, edit, sources, picture=given.photo_name)
    return render(request, encoded, replayed=replayed)


@router.get(
    "/v1/me",
    summary="The account behind a key",
    responses=base.openapi.result("The account", model=Account)
    | base.openapi.errors(render_error, [base.Kind.INVALID_KEY]),
)
async def me(request: base.Request) -> base.Response:
    """The usage of the key."""
    account, usage = await base.actions.usage(request)
    most = base.UNLIMITED if usage.allowed is None else usage.allowed
    return base.json_response(Account(organizationId=account.id, maxCredits=most, usedCredits=usage.used))


DIALECT = base.Dialect(
    name="poof",
    prefixes=("/v1/remove", "/v1/me", "/v1/jobs"),
    router=router,
    render_error=render_error,
    status=_STATUS,
    limits=base.most_bytes(20 * 2**20),
)

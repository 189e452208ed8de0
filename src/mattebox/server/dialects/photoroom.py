"""Photoroom: `POST /v1/segment`, a form or JSON in, and a picture or JSON out."""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from mattebox.edit import Color, Edit, Format, Layout, Output, Transparent
from mattebox.server.dialects import base

# Of these words the vendor's pages have `missing_image` only; the others, and those of `Kind` itself, are ours.
_TYPES = {
    base.Kind.UNREADABLE_IMAGE: "invalid_image",
    base.Kind.TOO_MANY_BYTES: "image_too_large",
    base.Kind.TOO_MANY_PIXELS: "image_too_large",
    base.Kind.UNREACHABLE_SOURCE: "invalid_image",
    base.Kind.MISSING_KEY: "missing_api_key",
    base.Kind.INVALID_KEY: "invalid_api_key",
    base.Kind.OUT_OF_CREDITS: "credits_exhausted",
    base.Kind.OVERLOADED: "rate_limit_exceeded",
    base.Kind.TIMED_OUT: "timeout",
    base.Kind.INTERNAL: "internal_error",
}
_STATUS = {base.Kind.MISSING_KEY: 403, base.Kind.INVALID_KEY: 403}
_SIZES = {"preview": 250_000, "medium": 1_500_000, "hd": 4_000_000, "full": 36_000_000}
_FORMATS = {"png": Format.PNG, "jpg": Format.JPEG, "jpeg": Format.JPEG, "webp": Format.WEBP}
_SANDBOX = "sandbox_"


class Options(base.PhotoFields):
    """The fields of a form or of a JSON body."""

    photo_fields = ("image_file", "image_file_b64")
    photo_missing = "Please provide an image."

    image_file: Annotated[bytes | None, base.File()] = base.Field(None, description="The picture.")
    image_file_b64: Annotated[bytes | None, base.Base64File()] = base.Field(
        None, description="The picture in base64, as a data URL or bare."
    )
    bg_color: Annotated[Color | None, base.AnyColor] = base.Field(
        None, description="Behind the subject: `#ff00ff`, `FF0000EE` or a name."
    )
    # Read for its mistakes only: the background's colour is always taken out of the edge.
    despill: Annotated[base.Flag, base.Field(description="Accepted; despilling is always done.")] = True
    crop: Annotated[base.Flag, base.Field(description="Cut the picture to the subject.")] = False
    size: Annotated[int, base.Word(_SIZES)] = base.Field(
        _SIZES["full"], description="At most 0.25, 1.5, 4 or 36 megapixels."
    )
    format: Annotated[Format, base.Word(_FORMATS)] = base.Field(Format.PNG, description="The result's file format.")
    channels: Annotated[bool, base.Word({"rgba": False, "alpha": True})] = base.Field(
        False, description="`alpha` is the matte alone."
    )

    @model_validator(mode="before")
    @classmethod
    def _prefer_file(cls, values: dict[str, object]) -> dict[str, object]:
        """Base64 that comes beside a file is ignored, right or wrong."""
        return {name: each for name, each in values.items() if name != "image_file_b64" or "image_file" not in values}


class Result(base.BaseModel):
    """The response where `Accept` asks for JSON."""

    result_b64: str = base.Field(description="the result's file in base64")
    base64img: str = base.Field(description="the same under the vendor's other name for it")


def key(request: base.Request) -> str | None:
    """The API key. A client's sandbox key is its key with `sandbox_` in front, and as good here.

    A key that is configured so, with the prefix, is meant itself.
    """
    found = base.api_key(request)
    if found is None or not found.startswith(_SANDBOX):
        return found
    try:
        base.server_state(request).accounts.remembered(found)
    except base.MatteboxError as error:
        if error.kind is not base.Kind.INVALID_KEY:
            raise
        return found.removeprefix(_SANDBOX)
    return found


def render_error(error: base.MatteboxError, status: int, _request_id: str) -> base.Response:
    """A failure as the vendor writes it."""
    word = _TYPES.get(error.kind, error.kind.value)
    return base.json_response({"detail": base.named_message(error), "status_code": status, "type": word}, status=status)


def to_edit(given: Options) -> Edit:
    """The edit that is asked for."""
    color = given.bg_color
    return Edit(
        backdrop=Transparent() if color is None or color.opacity == 0 else color,
        layout=Layout(crop=given.crop, max_pixels=given.size),
        output=Output(format=given.format, alpha_only=given.channels),
    )


def render(request: base.Request, encoded: base.Encoded) -> base.Response:
    """The picture, or JSON where `Accept` names nothing else: some HTTP libraries name it first in every request."""
    doubt = {} if encoded.confidence is None else {"x-uncertainty-score": f"{1 - encoded.confidence:.4f}"}
    headers = {"X-Mattebox-Subject": base.subject_header(encoded), "Vary": "Accept", **doubt}
    if not base.wants_json(request):
        return base.picture_response(encoded, headers)
    text = base.as_base64(encoded.data)
    return base.json_response(Result(result_b64=text, base64img=text), headers=headers)


router = base.router_for("Photoroom")


@router.post(
    "/v1/segment",
    summary="Remove the background",
    openapi_extra=base.openapi.request(form=Options, json=Options),
    responses=base.openapi.result(
        "The picture, or JSON where `Accept` asks for it",
        media_types=base.IMAGE_TYPES,
        model=Result,
        headers={"x-uncertainty-score": "0 (sure) to 1"} | base.SUBJECT,
    )
    | base.openapi.errors(render_error, status=_STATUS),
)
@base.edit_endpoint
async def segment(request: base.Request) -> base.Response:
    """Cut the subject out of a picture. Where there is none, the result is empty and `X-Mattebox-Subject` is `none`."""
    async with base.authorize(request) as account:
        if base.content_type(request) in base.FORM_TYPES:
            given = await base.read_form(request, Options, picture="image_file")
        else:
            given = await base.read_json(request, Options, picture="image_file_b64", lenient=True)
        encoded = await base.run_edit(
            request, account, to_edit(given), base.Sources(given.photo_source), picture=given.photo_name
        )
    return render(request, encoded)


DIALECT = base.Dialect(
    name="photoroom",
    prefixes=("/v1/segment",),
    router=router,
    render_error=render_error,
    status=_STATUS,
    limits=base.most_bytes(30 * 2**20),
    key=key,
)

"""withoutBG's local server: `POST /v1/remove-background`, a picture in and a PNG out. Its GIMP plug-in speaks this."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import anyio.to_thread

from mattebox import codec
from mattebox.edit import Edit, Output
from mattebox.server.dialects import base


class _Photo(base.PhotoFields):
    photo_fields = ("image",)
    photo_missing = "Send the picture as the body, in the form's field `image`, or in JSON."

    @classmethod
    def check_names(cls, names: Collection[str]) -> None:
        for name in ("keep_mask", "remove_mask"):  # ignored, these strokes would give the same matte again
            if name in names:
                raise base.MatteboxError(
                    base.Kind.NOT_OFFERED, "This server cannot correct a matte by strokes.", parameter=name
                )
        super().check_names(names)


class Form(_Photo):
    """The fields of a form."""

    image: Annotated[bytes | None, base.File()] = base.Field(None, description="The picture.")


class Body(_Photo):
    """The members of a JSON body."""

    image: Annotated[bytes | None, base.Base64File()] = base.Field(None, description="Base64, as a data URL or bare.")


class Query(base.Fields):
    """The parameters of the query."""

    output: Annotated[bool, base.Word({"cutout": False, "processed": False, "matte": True})] = base.Field(
        False, description="The cutout, or its matte as a grey picture. A JSON request is answered with both."
    )


class Result(base.BaseModel):
    """The response to a JSON request."""

    processed: str = base.Field(description="the cutout's PNG as a data URL")
    alphaMatte: str = base.Field(description="the matte's PNG as a data URL")  # noqa: N815 - the vendor's
    latencyMs: int = base.Field(description="whole milliseconds")  # noqa: N815


def render_error(error: base.MatteboxError, status: int, _request_id: str) -> base.Response:
    """A failure: `error` for clients that send files, `detail` for those that send JSON."""
    message = base.named_message(error)
    return base.json_response({"error": message, "detail": message}, status=status)


async def to_edit(request: base.Request) -> tuple[Edit, base.Sources]:
    """The edit that is asked for."""
    matte = base.read_query(request, Query).output
    match base.content_type(request):
        case base.JSON_TYPE:
            photo = (await base.read_json(request, Body, picture="image", lenient=True)).image
            matte = False  # the response has both
        case "multipart/form-data":
            photo = (await base.read_form(request, Form, picture="image")).image
        case _:  # also a form's type, which command-line clients put on whatever bytes they send
            photo = await base.read_raw(request, picture="image")
    if not photo:
        raise base.MatteboxError(base.Kind.MISSING_IMAGE, _Photo.photo_missing, parameter="image")
    return Edit(output=Output(alpha_only=matte)), base.Sources(base.Upload(photo))


def _matte_of(cutout: bytes) -> bytes:
    """The matte of a cutout's PNG, which holds it without loss."""
    return codec.encode(codec.decode(cutout, codec.OWN_FILES), Output(alpha_only=True))


async def render(request: base.Request, encoded: base.Encoded) -> base.Response:
    """The picture; for a JSON request, JSON with the cutout and its matte."""
    took = base.request_context(request).milliseconds
    headers = {"X-Latency-Ms": str(took), "X-Mattebox-Subject": base.subject_header(encoded)}
    if base.content_type(request) != base.JSON_TYPE:
        return base.picture_response(encoded, headers)
    matte = await anyio.to_thread.run_sync(_matte_of, encoded.data)
    urls = [f"data:image/png;base64,{base.as_base64(each)}" for each in (encoded.data, matte)]
    return base.json_response(Result(processed=urls[0], alphaMatte=urls[1], latencyMs=took), headers=headers)


router = base.router_for("withoutBG", header="X-API-Key")


@router.post(
    "/v1/remove-background",
    summary="Remove the background",
    response_class=base.Response,
    openapi_extra=base.openapi.request(raw=("image/*", "application/octet-stream"), form=Form, json=Body, query=Query),
    responses=base.openapi.result(
        "The picture; for a JSON request, JSON",
        media_types=("image/png",),
        model=Result,
        headers={"X-Latency-Ms": "whole milliseconds"} | base.SUBJECT,
    )
    | base.openapi.errors(render_error, (*base.openapi.EDIT_ERRORS, base.Kind.NOT_OFFERED)),
)
async def remove_background(request: base.Request) -> base.Response:
    """Cut the subject out of a picture. Where there is none, the result is empty and `X-Mattebox-Subject` is `none`."""
    async with base.authorize(request) as account:
        edit, sources = await to_edit(request)
        encoded = await base.run_edit(request, account, edit, sources, picture="image")
        return await render(request, encoded)


DIALECT = base.Dialect(name="withoutbg", prefixes=("/v1/remove-background",), router=router, render_error=render_error)

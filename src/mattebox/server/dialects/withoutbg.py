"""withoutBG: its local server's `POST /v1/remove-background`, which its GIMP plug-in speaks, and its cloud's API.

The cloud has the cutout and the matte, each for a form and for JSON, the credits that are left, and its models.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import anyio.to_thread

from mattebox import codec
from mattebox.edit import Edit, Output
from mattebox.server.dialects import base

NEVER = "9999-12-31 23:59:59"
"""When credits expire, as the cloud writes dates. They do not here."""


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
            photo = await base.raw(request, max_bytes=base.limits(request).max_bytes, picture="image")
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
    openapi_extra=base.openapi.request(raw=("image/*", "application/octet-stream"), form=Form, json=Body, query=Query),
    responses=base.openapi.result(
        "The picture; for a JSON request, JSON",
        media_types=("image/png",),
        model=Result,
        headers={"X-Latency-Ms": "whole milliseconds"} | base.SUBJECT,
    )
    | base.openapi.errors(render_error, (*base.openapi.EDIT_ERRORS, base.Kind.NOT_OFFERED)),
)
@base.edit_endpoint
async def remove_background(request: base.Request) -> base.Response:
    """Cut the subject out of a picture. Where there is none, the result is empty and `X-Mattebox-Subject` is `none`."""
    async with base.authorize(request) as account:
        edit, sources = await to_edit(request)
        runner, limits = base.server_state(request).runner, base.limits(request)
        async with base.charged(request, account, picture="image"):
            return await render(request, await runner.run(edit, sources, account=account, limits=limits))


# --- the cloud's API ---------------------------------------------------------------------------------------------


class CloudForm(base.PhotoFields):
    """The fields of a form for the cloud."""

    photo_fields = ("file",)
    photo_missing = "Send the picture in the form's field `file`."
    file: Annotated[bytes | None, base.File()] = base.Field(
        None, validation_alias=base.AliasChoices("file", "image"), description="The picture."
    )


class CloudBody(base.PhotoFields):
    """The members of a JSON body for the cloud."""

    photo_fields = ("image_base64",)
    photo_missing = "Send the picture as `image_base64`."
    image_base64: Annotated[bytes | None, base.Base64File()] = base.Field(
        None,
        validation_alias=base.AliasChoices("image_base64", "image"),
        description="Base64, as a data URL or bare.",
    )


class CloudCutout(base.BaseModel):
    """The cutout in JSON."""

    img_without_background_base64: str = base.Field(description="the PNG in base64")


class CloudMatte(base.BaseModel):
    """The matte in JSON."""

    alpha_base64: str = base.Field(description="the PNG, a grey picture, in base64")


class Credit(base.BaseModel):
    """The credits of a key."""

    credit: int = base.Field(description="pictures; a very large number where the key has no limit")
    expiration_date: str = base.Field(description="always the end of the year 9999")


class _Network(base.BaseModel):
    name: str


class Networks(base.BaseModel):
    """The networks of a server. The vendor does not document this answer."""

    models: list[_Network]


_NO_KEY = base.openapi.errors(render_error, (base.Kind.MISSING_KEY, base.Kind.INVALID_KEY))


def _offer(path: str, summary: str, *, matte: bool, as_json: bool) -> None:
    @base.edit_endpoint
    async def route(request: base.Request) -> base.Response:
        """Cut the subject out of a picture, or get its matte, a grey picture of its size."""
        async with base.authorize(request) as account:
            given: CloudForm | CloudBody
            if as_json:
                given = await base.read_json(request, CloudBody, picture="image_base64", lenient=True)
            else:
                given = await base.read_form(request, CloudForm, picture="file")
            edit, sources = Edit(output=Output(alpha_only=matte)), base.Sources(given.photo_source)
            encoded = await base.run_edit(request, account, edit, sources, picture=given.photo_name)
        headers = {"X-Mattebox-Subject": base.subject_header(encoded)}
        if not as_json:
            return base.picture_response(encoded, headers)
        data = base.as_base64(encoded.data)
        result = CloudMatte(alpha_base64=data) if matte else CloudCutout(img_without_background_base64=data)
        return base.json_response(result, headers=headers)

    model = CloudMatte if matte else CloudCutout
    router.add_api_route(
        path,
        route,
        methods=["POST"],
        name=path.rpartition("/")[2],
        summary=summary,
        openapi_extra=base.openapi.request(json=CloudBody) if as_json else base.openapi.request(form=CloudForm),
        responses=base.openapi.result(
            summary.partition(",")[0],
            media_types=() if as_json else ("image/png",),
            model=model if as_json else None,
            headers=base.SUBJECT,
        )
        | base.openapi.errors(render_error),
    )


_offer("/v1.0/image-without-background", "The cutout, from a form", matte=False, as_json=False)
_offer("/v1.0/image-without-background-base64", "The cutout, from JSON", matte=False, as_json=True)
_offer("/v1.0/alpha-channel", "The matte, from a form", matte=True, as_json=False)
_offer("/v1.0/alpha-channel-base64", "The matte, from JSON", matte=True, as_json=True)


@router.get(
    "/available-credit",
    summary="What the key has left",
    responses=base.openapi.result("The credits", model=Credit) | _NO_KEY,
)
async def available_credit(request: base.Request) -> base.Response:
    """The credits that are left."""
    _, usage = await base.actions.usage(request)
    return base.json_response(Credit(credit=base.credits_left(usage), expiration_date=NEVER))


@router.get(
    "/v1/models",
    summary="What cuts out",
    responses=base.openapi.result("The network of this server", model=Networks) | _NO_KEY,
)
async def models(request: base.Request) -> base.Response:
    """The name of the network that this server uses."""
    await base.actions.authenticate(request)
    return base.json_response(Networks(models=[_Network(name=base.server_state(request).runner.model)]))


DIALECT = base.Dialect(
    name="withoutbg",
    prefixes=(
        "/v1/remove-background",
        "/v1.0/image-without-background",
        "/v1.0/alpha-channel",
        "/available-credit",
        "/v1/models",
    ),
    router=router,
    render_error=render_error,
)

"""The fields of an edit in the native API, besides the options that every front end has: its pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, TypeVar

from fastapi import APIRouter, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import ConfigDict
from starlette.exceptions import HTTPException

from mattebox.backdrops import GENERATORS
from mattebox.edit import Format
from mattebox.fields import Relation, is_absent
from mattebox.models import CATALOGUE, DEFAULT
from mattebox.options import ONE_BACKGROUND, EditOptions, ReplaceOptions, SceneOptions, narrowed
from mattebox.server.dialects import base
from mattebox.server.http import bodies, openapi

_KEYS = (
    Security(HTTPBearer(scheme_name="Key", auto_error=False)),
    Security(APIKeyHeader(name="x-api-key", scheme_name="Key in x-api-key", auto_error=False)),
)
"""The places of a key, for the OpenAPI page; `dialect.api_key` reads it."""
RAW = ("image/*", "application/octet-stream")
"""Media types of a body that is the picture itself."""
_T = TypeVar("_T", bound=base.Fields)


def router_for(tag: str, *, prefix: str = "/api/v1") -> APIRouter:
    """A router of this API, under a heading of the OpenAPI page."""
    return APIRouter(prefix=prefix, tags=[tag], dependencies=_KEYS, default_response_class=base.Response)


class PhotoFields(base.PhotoFields):
    """The photo."""

    model_config = ConfigDict(extra="forbid")
    photo_fields = ("image", "image_url")
    photo_missing = "Send a picture as image, or its address as image_url."

    image: Annotated[bytes | None, base.PictureFile()] = base.Field(
        None, description="The picture: a file in a form, base64 or a data URL in JSON."
    )
    image_url: Annotated[str | None, base.ReadAddress(), Relation(excludes=("image",))] = base.Field(
        None, description="Instead of `image`: an http or https address to fetch the picture from."
    )

    @classmethod
    def check_names(cls, names: Collection[str]) -> None:
        """Refuse a request without a photo. An unknown name comes first: it may be a misspelt `image`.

        Raises:
            MatteboxError: MISSING_IMAGE.
        """
        if set(names) <= cls.model_fields.keys():
            super().check_names(names)


class RemoveOptions(EditOptions):
    """The options of an edit, with the picture that goes behind the subject."""

    # A stranger may choose among the networks of the catalogue, and name no file of the server's disk.
    model: str = narrowed(
        EditOptions,
        "model",
        base.Word({name: name for name in CATALOGUE}),
        description="The network; `auto` is the one that the server was started with.",
    )
    format: Format | None = narrowed(
        EditOptions,
        "format",
        description="The result's file format; by default the `Accept` header decides, or it is PNG.",
    )
    background_image: Annotated[bytes | None, base.PictureFile(), ONE_BACKGROUND["background_image"]] = base.Field(
        None, description="A picture behind the subject, as a file in a form or in base64. It fills the canvas."
    )
    background_image_url: Annotated[str | None, base.ReadAddress(), ONE_BACKGROUND["background_image_url"]] = (
        base.Field(None, description="Instead of `background_image`: an http or https address to fetch it from.")
    )

    @property
    def backdrop(self) -> base.Source | None:
        """The picture that goes behind the subject, or where it is."""
        if self.background_image is not None:
            return base.Upload(self.background_image)
        return None if self.background_image_url is None else base.Link(self.background_image_url)

    def check_model(self, request: base.Request) -> None:
        """Refuse a network that is not installed.

        Raises:
            MatteboxError: INVALID_PARAMETER.
        """
        if self.model != DEFAULT and not base.server_state(request).installed(self.model):
            raise base.MatteboxError(
                base.Kind.INVALID_PARAMETER,
                f"The model {self.model} is not installed on this server; /api/v1/models says which ones are.",
                parameter="model",
            )


class RemoveFields(RemoveOptions, PhotoFields):
    """The fields of `/api/v1/remove`."""

    @property
    def sources(self) -> base.Sources:
        """The places of the photo, and of the picture behind it if there is one."""
        return base.Sources(self.photo_source, self.backdrop)


class SceneFields(RemoveFields, SceneOptions):
    """The same, and scenes in words."""

    generator: str = narrowed(SceneOptions, "generator", base.Word({name: name for name in ("auto", *GENERATORS)}))


class ReplaceFields(SceneFields, ReplaceOptions):
    """The fields of `/api/v1/replace`."""


async def read(request: base.Request, model: type[_T]) -> _T:
    """The fields of a request; `read_values` and `as_model` say more."""
    return as_model(request, model, await read_values(request))


def as_model(
    request: base.Request, model: type[_T], values: bodies.Values, *, called: Callable[[str], str] = str
) -> _T:
    """The fields of values that were read already; `called` is how their names are shown.

    Raises:
        MatteboxError: as `Fields.read`.
    """
    found = model.read(values, called=called, context=bodies.Bounds(base.limits(request).max_bytes))
    if isinstance(found, RemoveOptions):
        found.check_model(request)
    return found


async def read_values(request: base.Request) -> bodies.Values:
    """The values of the body, which may be a form, JSON or the picture itself, and behind them those of the query.

    Raises:
        HTTPException: 415 where the body is something else.
        MatteboxError: INVALID_REQUEST, TOO_MANY_BYTES or CANCELLED.
    """
    most = base.limits(request).max_bytes
    match base.content_type(request):
        case kind if kind in base.FORM_TYPES:
            body = await bodies.form(request, max_bytes=most, picture="image")
            if not is_absent(body.get("image")):  # it may be a file that was sent as a plain text field
                body["image"] = base.File().decode(body["image"], most)
        case kind if kind == base.JSON_TYPE or kind.endswith("+json"):
            body = await bodies.json(request, max_bytes=most, picture="image")
        case kind if kind.startswith("image/") or kind in ("application/octet-stream", ""):
            data = await bodies.raw(request, max_bytes=most, picture="image")
            body = {"image": data or None}
        case kind:
            raise HTTPException(
                415, f"A body of type {kind[:80]} is not understood; send a form, JSON, or a picture as image/*."
            )
    return bodies.query(request) | bodies.present(body)


def described(
    model: type[base.Fields], *, json: type[base.Fields] | None = None, example: object = None, idempotent: bool = False
) -> openapi.Schema:
    """The request of a route that reads these fields in every way; `json` where a JSON body has others too."""
    return openapi.request(
        form=model,
        json=json or model,
        raw=RAW,
        query=model,
        parameters=[openapi.IDEMPOTENCY_KEY] if idempotent else (),
        required=False,
        example=example,
    )

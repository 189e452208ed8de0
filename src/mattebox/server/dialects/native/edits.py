"""The native API's edits that are done at once, the networks there are, and what a key has used."""

from __future__ import annotations

from mattebox.errors import Kind
from mattebox.models import CATALOGUE
from mattebox.models.catalogue import Choice, Network, Row, members
from mattebox.server.dialects import base
from mattebox.server.dialects.native import options
from mattebox.server.dialects.native.options import RemoveFields, ReplaceFields
from mattebox.server.dialects.native.problem import failures
from mattebox.server.http import negotiation, openapi

router = options.router_for("mattebox")
_FAILURES = failures(*openapi.EDIT_ERRORS, statuses=(406, 415))


async def _edit(request: base.Request, model: type[RemoveFields]) -> base.Response:
    async with base.authorize(request) as account:
        given = await options.read(request, model)
        answer = negotiation.negotiate(request.headers.get("accept", "*/*"), given.format)
        edit = given.to_edit(format=answer.format)
        encoded, replayed = await base.run_idempotent(request, account, edit, given.sources, picture=given.photo_name)
    return negotiation.render(request, encoded, answer, replayed=replayed)


@router.post(
    "/remove",
    summary="Remove the background",
    openapi_extra=options.described(
        RemoveFields,
        idempotent=True,
        example={"image_url": "https://example.com/photo.jpg", "format": "webp", "crop": True},
    ),
    responses=negotiation.described() | _FAILURES,
)
@base.edit_endpoint
async def remove(request: base.Request) -> base.Response:
    """Cut the subject out of a photo.

    The photo comes in a form, in JSON as base64, or as the body itself with the options in the query; or it is fetched
    from `image_url`. Where no subject is found the result is empty, and `X-Mattebox-Subject` says `none`. Without
    `format` the `Accept` header decides, or the result is a PNG.
    """
    return await _edit(request, RemoveFields)


@router.post(
    "/replace",
    summary="Replace the background",
    openapi_extra=options.described(
        ReplaceFields,
        idempotent=True,
        example={"image_url": "https://example.com/photo.jpg", "prompt": "in a warehouse", "format": "jpeg"},
    ),
    responses=negotiation.described(scenes=True) | _FAILURES | failures(Kind.NOT_OFFERED),
)
@base.edit_endpoint
async def replace(request: base.Request) -> base.Response:
    """Put the subject of a photo before something else, with its shadow and the light of the place.

    It needs a `prompt`, or one of the backgrounds that `/api/v1/remove` has. Where nothing here shows what the prompt
    says, the nearest backdrop is taken, and `X-Mattebox-Warning` says so.
    """
    return await _edit(request, ReplaceFields)


class Model(base.BaseModel):
    """A network."""

    name: str = base.Field(description="what `model` takes")
    licence: str = base.Field(description="of the weights, in SPDX terms")
    commercial: bool = base.Field(description="whether they may be used commercially")
    note: str = base.Field(description="what it is good at")
    network: str | None = base.Field(description="the network that a name such as `best` stands for on this server")
    memory: int = base.Field(description="bytes that it is expected to need on a processor")
    default: bool = base.Field(description="whether `auto` is this one")
    installed: bool = base.Field(description="whether it can be used now; the others are refused")


class Models(base.BaseModel):
    """The networks there are."""

    models: list[Model]


class Usage(base.BaseModel):
    """The usage of a key."""

    account: str = base.Field(description="derived from the key")
    used: int = base.Field(description="pictures made")
    allowed: int | None = base.Field(description="null: as many as it likes")


@router.get(
    "/models",
    summary="The networks there are",
    responses=openapi.result("All of them", model=Models) | failures(),
)
async def models(request: base.Request) -> base.Response:
    """The names that `model` takes, with the licence of each network's weights, and which are installed."""
    await base.actions.authenticate(request)
    state = base.server_state(request)
    rows = [
        _model(row, state.resolve(row), default=name == state.runner.model, installed=state.installed(name))
        for name, row in CATALOGUE.items()
    ]
    return base.json_response(Models(models=rows))


def _model(row: Row, network: Network, *, default: bool, installed: bool) -> Model:
    parts = members(network)
    licences = {part.licence: part.commercial for part in parts}
    return Model(
        name=row.name,
        licence=" AND ".join(licences),
        commercial=all(licences.values()),
        note=row.note,
        network=network.name if isinstance(row, Choice) else None,
        memory=sum(part.memory for part in parts),
        default=default,
        installed=installed,
    )


@router.get(
    "/me",
    summary="The usage of the key",
    responses=openapi.result("The account", model=Usage) | failures(),
)
async def me(request: base.Request) -> base.Response:
    """How many pictures have been made with this key."""
    account, usage = await base.actions.usage(request)
    return base.json_response(Usage(account=account.id, used=usage.used, allowed=usage.allowed))

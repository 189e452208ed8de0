"""The native API's list of scenes that prompts can ask for, with small pictures of them."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Final

import anyio.to_thread

from mattebox import codec
from mattebox.backdrops import Backdrops
from mattebox.edit import Format, Output
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image
from mattebox.options import LONGEST_PROMPT
from mattebox.server.dialects import base
from mattebox.server.dialects.native import options
from mattebox.server.dialects.native.problem import failures
from mattebox.server.http import openapi

router = options.router_for("mattebox", prefix="/api/v1/scenes")
WIDTH: Final = 240
HEIGHT: Final = 160
"""Pixels of a thumbnail."""
_KEPT = 256
_NAME = openapi.in_path("name")


class Question(base.Fields):
    """The query of the list."""

    prompt: Annotated[str, base.ReadText(LONGEST_PROMPT)] = base.Field(
        "", description="Words; the scenes that fit them come first, each with its score."
    )


class Scene(base.BaseModel):
    """A scene."""

    name: str = base.Field(description="as in `X-Mattebox-Backdrop`")
    prompt: str = base.Field(description="a `prompt` that chooses it")
    tags: list[str] = base.Field(description="what it is called, the most fitting first")
    score: float | None = base.Field(description="how well it fits the words, 0 to 1; null without words")


class Scenes(base.BaseModel):
    """The scenes that are installed."""

    scenes: list[Scene]


@router.get(
    "",
    summary="The scenes there are",
    openapi_extra=openapi.request(query=Question, required=False),
    responses=openapi.result("All of them", model=Scenes) | failures(Kind.INVALID_PARAMETER),
)
async def scenes(request: base.Request) -> base.Response:
    """The scenes that a `prompt` can ask for without a generator, and how well each fits some words."""
    await base.actions.authenticate(request)
    asked = base.read_query(request, Question)
    found = base.server_state(request).scenes
    rows = () if found is None else await anyio.to_thread.run_sync(found.scenes, asked.prompt)
    listed = [Scene(name=row.name, prompt=row.prompt, tags=list(row.tags), score=row.score) for row in rows]
    return base.json_response(Scenes(scenes=listed))


@router.get(
    "/{name:path}/thumbnail",
    summary="A small picture of a scene",
    openapi_extra={"parameters": [_NAME]},
    responses=openapi.result(f"A JPEG of {WIDTH} by {HEIGHT} pixels", media_types=["image/jpeg"])
    | failures(Kind.NOT_FOUND, Kind.UNAVAILABLE),
)
async def thumbnail(request: base.Request) -> base.Response:
    """The scene without a subject."""
    await base.actions.authenticate(request)
    found = base.server_state(request).scenes
    if found is None:
        raise MatteboxError(Kind.NOT_FOUND, "There is no scene of this name here.")
    data = await anyio.to_thread.run_sync(_thumbnail, found, request.path_params["name"])
    return base.Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


@lru_cache(_KEPT)
def _thumbnail(found: Backdrops, name: str) -> bytes:
    drawn = found.preview(name, width=WIDTH, height=HEIGHT)
    return codec.encode(Image(rgb=drawn), Output(format=Format.JPEG, quality=80))

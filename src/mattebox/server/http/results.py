"""Finished pictures of tasks: at addresses that nobody can guess, without a key, until they expire."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mattebox.environment import option
from mattebox.errors import Kind, MatteboxError
from mattebox.server.http import openapi
from mattebox.server.http.dialect import json_response
from mattebox.server.http.range_responses import serve
from mattebox.server.state import server_state
from mattebox.server.store.blobs import expiry_of, media_type_of

_NOTHING = "There is no result here, or none any more."


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOptions:
    """The options of finished pictures that are fetched later."""

    sign: bool = option(
        True, "Give out addresses of the store itself where it can sign them; else the server hands results out."
    )
    keep: float = option(3600.0, "Seconds that a result can be fetched.")

    def __post_init__(self) -> None:
        if not 1 <= self.keep < math.inf:
            raise ValueError("keep must be a number of at least 1")


def results(*, sign: bool) -> APIRouter:
    """The routes below /results; with `sign`, clients are sent to the store itself where it can sign an address."""
    router = APIRouter(tags=["server"], default_response_class=Response)

    @router.head("/results/{name}", summary="What a task's result is", include_in_schema=False)
    @router.get(
        "/results/{name}",
        summary="A task's result",
        openapi_extra=openapi.request(parameters=[openapi.in_path("name")]),
        responses=openapi.result("The picture", media_types=["image/*"]) | openapi.not_found(_NOTHING),
    )
    async def _result(request: Request) -> Response:
        """The finished picture of a task, until it expires. It may be asked for in ranges."""
        try:
            return await _found(request, f"results/{request.path_params['name']}", sign=sign)
        except MatteboxError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            return json_response({"message": _NOTHING}, status=404)

    return router


async def _found(request: Request, key: str, *, sign: bool) -> Response:
    blobs = server_state(request).blobs
    left = (expiry_of(key) or 0) - time.time()
    if blobs is None or left <= 0:
        raise MatteboxError(Kind.NOT_FOUND, _NOTHING)
    size = await run_in_threadpool(blobs.size, key)
    if sign and request.method == "GET":
        address = await run_in_threadpool(blobs.result_address, key, seconds=left)
        if address is not None:
            return RedirectResponse(address, 307, {"Cache-Control": "no-store"})
    return await serve(
        request,
        blobs,
        key,
        size=size,
        tag=f'"{hashlib.sha256(key.encode()).hexdigest()[:32]}"',  # what lies under a name never changes
        media_type=media_type_of(key),
        headers={"Cache-Control": f"private, max-age={int(left)}, immutable"},
    )

"""Finished pictures of tasks: at addresses that nobody can guess, without a key, until they expire."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncIterator
from functools import partial

import anyio.to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from mattebox.errors import Kind, MatteboxError
from mattebox.http import openapi
from mattebox.http.dialect import json_response
from mattebox.http.rooms import rooms
from mattebox.storage import Blobs, expiry_of, media_type_of

_PART = 2**20
"""Bytes of a result that are in memory at a time."""


def results(*, sign: bool) -> APIRouter:
    """The routes below /results.

    Args:
        sign: send clients to the store itself where it can sign an address.
    """
    router = APIRouter(tags=["server"])
    name = openapi.plain("string", "as in the address that a task has told")
    found = openapi.success("The picture", openapi.content(["image/*"], openapi.binary()))

    @router.head("/results/{name}", summary="What a task's result is", include_in_schema=False)
    @router.get(
        "/results/{name}",
        summary="A task's result",
        response_class=Response,
        openapi_extra={"parameters": [{"name": "name", "in": "path", "required": True, "schema": name}]},
        responses=found,
    )
    async def _result(request: Request) -> Response:
        """The finished picture of a task, until it expires. It may be asked for in ranges."""
        return await _answer(request, f"results/{request.path_params['name']}", sign=sign)

    return router


async def _answer(request: Request, key: str, *, sign: bool) -> Response:
    blobs = rooms(request).blobs
    left = (expiry_of(key) or 0) - time.time()
    if blobs is None or left <= 0:
        return _gone()
    try:
        size = await anyio.to_thread.run_sync(blobs.size, key)
    except MatteboxError as error:
        if error.kind is not Kind.NOT_FOUND:
            raise
        return _gone()
    if sign and request.method == "GET":
        address = await anyio.to_thread.run_sync(partial(blobs.result_address, key, seconds=left))
        if address is not None:
            return RedirectResponse(address, 307, {"Cache-Control": "no-store"})
    tag = f'"{hashlib.sha256(key.encode()).hexdigest()[:32]}"'  # what lies under a name never changes
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={int(left)}, immutable",
        "ETag": tag,
        "X-Content-Type-Options": "nosniff",
    }
    if _matches(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    media_type = media_type_of(key)
    start, end = 0, size
    status = 200
    if request.method == "GET" and request.headers.get("if-range", tag) == tag:
        try:
            wanted = _range(request.headers.get("range", ""), size)
        except ValueError:
            return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{size}"})
        if wanted is not None:
            start, end = wanted
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(headers=headers, media_type=media_type)
    first = await anyio.to_thread.run_sync(blobs.part, key, start, min(start + _PART, end))
    return StreamingResponse(_parts(blobs, key, first, start, end), status, headers, media_type)


async def _parts(blobs: Blobs, key: str, first: bytes, start: int, end: int) -> AsyncIterator[bytes]:
    # The first is read before the answer begins, so that a storage that fails can still be said to.
    yield first
    for begin in range(start + _PART, end, _PART):
        yield await anyio.to_thread.run_sync(blobs.part, key, begin, min(begin + _PART, end))


def _gone() -> Response:
    return json_response({"message": "There is no result here, or none any more."}, status=404)


def _matches(tags: str | None, tag: str) -> bool:
    return tags is not None and any(each.strip().removeprefix("W/") in (tag, "*") for each in tags.split(","))


def _range(header: str, size: int) -> tuple[int, int] | None:
    """The bytes from the first up to and without the second that are asked for; None for all of them.

    RFC 9110 section 14: what is no range of bytes, or more than one, may be answered with the whole.

    Raises:
        ValueError: no byte lies there.
    """
    found = re.fullmatch(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", header, re.ASCII | re.IGNORECASE)
    if found is None or found.groups() == ("", ""):
        return None
    if found[1] == "":
        last = int(found[2])
        start, end = max(0, size - last), size
    else:
        start = int(found[1])
        end = min(int(found[2]) + 1, size) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= end:
        raise ValueError("no byte lies there")
    return start, end

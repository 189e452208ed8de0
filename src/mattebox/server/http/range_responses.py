"""Handing out what is kept: whole or in ranges, with what caches need to know."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from mattebox.server.store.blobs import Blobs

_PART = 2**20
"""Bytes that are in memory at a time."""


async def serve(
    request: Request, blobs: Blobs, key: str, *, size: int, tag: str, media_type: str, headers: Mapping[str, str]
) -> Response:
    """The blob under `key`, as RFC 9110 has it for GET and HEAD.

    Args:
        request: may ask for a range, or whether what it has is still right.
        blobs, key: what is kept there under this name must never change.
        size: in bytes.
        tag: what stands for the content, in quotes.
        media_type, headers: sent with it.

    Raises:
        MatteboxError: NOT_FOUND, UNAVAILABLE.
    """
    sent = {"Accept-Ranges": "bytes", "ETag": tag, "X-Content-Type-Options": "nosniff", **headers}
    if _matches(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=sent)
    start, end = 0, size
    status = 200
    if request.method == "GET" and request.headers.get("if-range", tag) == tag:
        try:
            wanted = _range(request.headers.get("range", ""), size)
        except ValueError:
            return Response(status_code=416, headers=sent | {"Content-Range": f"bytes */{size}"})
        if wanted is not None:
            start, end = wanted
            status = 206
            sent["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    sent["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(headers=sent, media_type=media_type)
    first = await anyio.to_thread.run_sync(blobs.part, key, start, min(start + _PART, end))
    return StreamingResponse(_parts(blobs, key, first, start, end), status, sent, media_type)


async def _parts(blobs: Blobs, key: str, first: bytes, start: int, end: int) -> AsyncIterator[bytes]:
    # The first is read before the answer begins, so that a storage that fails can still be said to.
    yield first
    for begin in range(start + _PART, end, _PART):
        yield await anyio.to_thread.run_sync(blobs.part, key, begin, min(begin + _PART, end))


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

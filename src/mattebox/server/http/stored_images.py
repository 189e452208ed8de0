"""Images that clients keep at the server: store one, make another one of it, send its file.

Every function raises what the methods of `ImageStore` raise, and UNAVAILABLE where the server keeps no images.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import PurePath
from urllib.parse import quote

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from mattebox import codec
from mattebox.edit import Edit, Output
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Encoded
from mattebox.server import actions
from mattebox.server.http import openapi
from mattebox.server.http.dialect import json_response
from mattebox.server.http.range_responses import serve
from mattebox.server.state import base_address, limits, server_state
from mattebox.server.store.accounts import Account
from mattebox.server.store.images import ImageStore
from mattebox.server.store.stored_image import Holdings, ImageStoreOptions, Page, StoredImage, check_name
from mattebox.sources import Source, Upload
from mattebox.transforms import Transform

_NOTHING = "There is no image here, or none any more."


def image_store(request: Request) -> ImageStore:
    """The images that clients keep at this server.

    Raises:
        MatteboxError: UNAVAILABLE where it has none.
    """
    found = server_state(request).library
    if found is None:
        raise MatteboxError(Kind.UNAVAILABLE, "This server keeps no images.")
    return found


async def get(request: Request, account: Account, image_id: str) -> StoredImage:
    """The account's image; NOT_FOUND also for an image of somebody else."""
    return await run_in_threadpool(image_store(request).get, account.id, image_id)


async def listing(request: Request, account: Account, *, take: int, start: str | None) -> Page:
    """The account's images; as `ImageStore.listing`, with `start` to blame where it is not found."""
    with _blaming("start"):
        return await run_in_threadpool(image_store(request).listing, account.id, take=take, start=start)


async def publish(request: Request, account: Account, image_id: str) -> StoredImage:
    """Let anyone read the image."""
    return await run_in_threadpool(image_store(request).publish, account.id, image_id)


async def unpublish(request: Request, account: Account, image_id: str) -> StoredImage:
    """Let nobody else read the image any more."""
    return await run_in_threadpool(image_store(request).unpublish, account.id, image_id)


async def delete(request: Request, account: Account, image_id: str) -> None:
    """Delete the image and its file."""
    await run_in_threadpool(image_store(request).delete, account.id, image_id)


async def holdings(request: Request, account: Account) -> tuple[Holdings, ImageStoreOptions]:
    """How much the account keeps, and how much it may."""
    kept = image_store(request)
    return await run_in_threadpool(kept.usage, account.id), kept.options


def image_id(request: Request) -> str:
    """The id in the address of a request."""
    return str(request.path_params["image_id"])


def created_at(image: StoredImage) -> str:
    """When the image was stored, as in RFC 3339, to the millisecond."""
    return image.created.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def published_address(request: Request, image: StoredImage) -> str | None:
    """The address at which anyone may read the image; None where nobody may."""
    return f"{base_address(request)}/images/{image.id}" if image.published else None


async def add(request: Request, account: Account, source: Source, *, name: str, picture: str) -> StoredImage:
    """Keep a picture that was sent, or that an address leads to, for one credit. Call it after the body was read.

    Args:
        request: what came.
        account: whose it will be, and who pays.
        source: the picture.
        name: as `store.stored_image.check_name` has it.
        picture: the parameter to be blamed where the picture cannot be used.

    Raises:
        MatteboxError: what `actions.charged`, `Runner.keep` and `ImageStore.add` raise.
    """
    name = check_name(name)
    size = len(source.data) if isinstance(source, Upload) else 0
    await run_in_threadpool(image_store(request).check, account.id, size=size)
    runner = server_state(request).runner
    async with actions.charged(request, account, picture=picture):
        encoded = await runner.keep(source, account=account, limits=limits(request))
        made_by = "upload" if isinstance(source, Upload) else "link"
        return await _store(request, account, encoded, name=name, made_by=made_by, parent=None)


async def remove_background(
    request: Request,
    account: Account,
    image_id: str,
    edit: Edit,
    *,
    backdrop: Source | None = None,
    name: str | None,
    cost: int,
) -> StoredImage:
    """Cut the subject out of an image, into a new one; without a `name` it has the old one's.

    Raises:
        MatteboxError: NOT_FOUND; and what `actions.charged`, `Runner.run_kept` and `ImageStore.add` raise.
    """
    image = await get(request, account, image_id)
    photo, run_kept = partial(image_store(request).read, image), server_state(request).runner.run_kept
    run = partial(run_kept, edit, photo, backdrop=backdrop, account=account, limits=limits(request))
    return await _made_of(request, account, image, run, name=name, made_by="remove-background", cost=cost)


async def transform(
    request: Request,
    account: Account,
    image_id: str,
    change: Transform | None,
    *,
    made_by: str,
    marks: Sequence[str] = (),
    output: Output | None = None,
    name: str | None,
) -> StoredImage:
    """Change an image, into a new one, for one credit.

    Args:
        request: what came; its body was read.
        account: whose they are, and who pays.
        image_id: the image.
        change: what to do; None changes the format only.
        made_by: what is kept of how it was made.
        marks: the ids of the images that a watermark is made of.
        output: the new image's format; None keeps the old one's.
        name: of the new image; None takes the old one's.

    Raises:
        MatteboxError: NOT_FOUND, about `marks` where it is one of those; and what `actions.charged`,
            `Runner.transform` and `ImageStore.add` raise.
    """
    image = await get(request, account, image_id)
    with _blaming("marks"):
        seals = {each: await get(request, account, each) for each in set(marks)}
    read, on_it = image_store(request).read, server_state(request).runner.transform
    run = partial(
        on_it,
        change,
        partial(read, image),
        marks=[partial(read, seals[each]) for each in marks],
        output=output,
        account=account,
        limits=limits(request),
    )
    return await _made_of(request, account, image, run, name=name, made_by=made_by)


async def imagine(request: Request, account: Account, prompt: str, *, seed: int, side: int, name: str) -> StoredImage:
    """Paint a square of `side` pixels from words, into a new image, for one credit.

    Raises:
        MatteboxError: NOT_OFFERED where nothing here paints; and what `Runner.paint` and `ImageStore.add` raise.
    """
    name = check_name(name)
    await run_in_threadpool(image_store(request).check, account.id)
    async with actions.charged(request, account, picture="prompt"):
        encoded = await server_state(request).runner.paint(prompt, width=side, height=side, seed=seed, account=account)
        return await _store(request, account, encoded, name=name, made_by="imagine", parent=None)


async def file(request: Request, image: StoredImage, *, cache_control: str = "private, no-cache") -> Response:
    """The image's file, or the part of it that is asked for.

    Raises:
        MatteboxError: UNAVAILABLE.
    """
    blobs = server_state(request).blobs
    if blobs is None:
        raise MatteboxError(Kind.UNAVAILABLE, "This server keeps no images.")
    # An image never changes: what is changed is a new one. So its id says which file it is.
    return await serve(
        request,
        blobs,
        image_store(request).blob_key(image),
        size=image.size,
        tag=f'"{hashlib.sha256(image.id.encode()).hexdigest()[:32]}"',
        media_type=image.media_type,
        headers={"Cache-Control": cache_control},
    )


def disposition(image: StoredImage) -> str:
    """A Content-Disposition that saves the file under the image's name, without what means something to a disk.

    RFC 6266: written once for clients that know ASCII only, and once for the others.
    """
    # Category C has the characters that turn the direction of writing, which can hide what a file's ending is.
    kept = ("_" if each in '/\\:*?"<>|%' or unicodedata.category(each)[0] == "C" else each for each in image.name)
    name = "".join(kept).lstrip(".") or "image"
    if codec.format_named(PurePath(name).suffix) is not image.format:
        name += codec.extension(image.format)
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


router = APIRouter(tags=["server"], default_response_class=Response)
"""The routes below /images: what is published, for anyone."""


@router.head("/images/{image_id}", include_in_schema=False)
@router.get(
    "/images/{image_id}",
    summary="A published image",
    openapi_extra=openapi.request(parameters=[openapi.in_path("image_id")]),
    responses=openapi.result("The image", media_types=["image/*"]) | openapi.not_found(_NOTHING),
)
async def published(request: Request) -> Response:
    """The file of an image that its owner has published, without a key, until it is unpublished or deleted."""
    try:
        image = await run_in_threadpool(image_store(request).published, image_id(request))
    except MatteboxError as error:
        if error.kind is not Kind.NOT_FOUND:
            raise
        return json_response({"message": _NOTHING}, status=404)
    # A minute, and then ask again: what is unpublished should be gone soon, also from caches on the way.
    return await file(request, image, cache_control="public, max-age=60, must-revalidate")


@contextmanager
def _blaming(parameter: str) -> Iterator[None]:
    """Blame this parameter for an image that is not found inside."""
    try:
        yield
    except MatteboxError as error:
        raise (error.about(parameter) if error.kind is Kind.NOT_FOUND else error) from error.__cause__


async def _made_of(
    request: Request,
    account: Account,
    image: StoredImage,
    run: Callable[[], Awaitable[Encoded]],
    *,
    name: str | None,
    made_by: str,
    cost: int = 1,
) -> StoredImage:
    name = image.name if name is None else check_name(name)
    await run_in_threadpool(image_store(request).check, account.id)
    async with actions.charged(request, account, picture="image", cost=cost):
        return await _store(request, account, await run(), name=name, made_by=made_by, parent=image.id)


async def _store(
    request: Request, account: Account, encoded: Encoded, *, name: str, made_by: str, parent: str | None
) -> StoredImage:
    form = codec.format_named(encoded.media_type.rpartition("/")[2])
    if form is None:
        raise ValueError(f"a file of type {encoded.media_type} cannot be kept")
    return await run_in_threadpool(
        image_store(request).add, account.id, encoded, name=name, format=form, made_by=made_by, parent=parent
    )

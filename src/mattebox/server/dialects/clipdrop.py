"""Clipdrop: `POST /remove-background/v1` and `POST /replace-background/v1`, a form in and a picture out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Annotated, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar

from mattebox import codec
from mattebox.edit import Edit, Format, Output, Prompt
from mattebox.image import Image
from mattebox.server.dialects import base
from mattebox.server.http.negotiation import accept_ranges
from mattebox.server.store.accounts import Account

_T = TypeVar("_T")

_STATUS = {base.Kind.INVALID_KEY: 403, base.Kind.TOO_MANY_BYTES: 400, base.Kind.TOO_MANY_PIXELS: 400}
_REPLACE_BYTES = 20 * 2**20
_FORMATS = {
    "image/png": Format.PNG,
    "image/webp": Format.WEBP,
    "image/jpeg": Format.JPEG,
    "image/jpg": Format.JPEG,  # how the vendor's page writes it
}
_RETURN = "return_input_if_non_opaque"
_HANDLINGS = {each: each for each in (_RETURN, "discard_alpha_layer")}


class Photo(base.PhotoFields):
    """The field that both routes have."""

    photo_fields = ("image_file",)
    photo_missing = "Send the picture as multipart/form-data, in the field image_file."

    image_file: Annotated[bytes, base.File()] = base.Field(description="The picture.")


class Removal(Photo):
    """The fields of a form to remove-background."""

    transparency_handling: Annotated[str, base.Word(_HANDLINGS)] = base.Field(
        _RETURN, description="What to do with a picture that is transparent already."
    )


class Replacement(Photo):
    """The fields of a form to replace-background."""

    prompt: Annotated[str, base.ReadText()] = base.Field("", description="The scene; it may be empty.")


def to_edit(given: Removal | Replacement, accept: str) -> Edit:
    """The edit that is asked for, by the fields and by the header `Accept`."""
    if isinstance(given, Replacement):
        return Edit(backdrop=Prompt(given.prompt), output=Output(format=_accepted(accept, Format.JPEG)))
    return Edit(output=Output(format=_accepted(accept, Format.PNG)))


def _accepted(accept: str, default: Format) -> Format:
    """The format that `Accept` likes best; the default where it names none of them.

    HTTP libraries send a wildcard where nobody chose a format, and to an unknown type the vendor sends a picture too.
    """
    wanted = [(kind, quality) for kind, quality in accept_ranges(accept) if kind in _FORMATS and quality > 0]
    return _FORMATS[max(wanted, key=itemgetter(1))[0]] if wanted else default  # of equals the first


# --- pictures that are transparent already -----------------------------------------------------------------------

_decoding: RunVar[CapacityLimiter] = RunVar("pictures that are decoded")


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Two at a time: a picture may take 200 MB once it is decoded, and as many may be arriving as the server takes."""
    limiter = _decoding.get(None)
    if limiter is None:
        limiter = CapacityLimiter(2)
        _decoding.set(limiter)
    return await anyio.to_thread.run_sync(work, limiter=limiter)


async def _remove(request: base.Request, account: Account, given: Removal, edit: Edit) -> base.Response:
    """The response; a picture that comes back as it was costs nothing."""
    runner, limits = base.server_state(request).runner, base.limits(request)
    data, picture = given.image_file, given.photo_name
    with base.blame(picture):
        transparent = await _in_thread(partial(_is_transparent, data, limits))
    if not transparent:
        return await _run(request, account, edit, given)
    cost = 0 if given.transparency_handling == _RETURN else 1
    opaque = await _in_thread(partial(_without_alpha, data, limits)) if cost else b""
    async with base.charged(request, account, picture=picture, cost=cost) as left:
        if cost:  # what is opaque may well have more bytes than a picture may come with
            encoded = await runner.run_kept(edit, lambda: opaque, account=account, limits=limits)
        else:
            encoded = await runner.transform(None, lambda: data, output=edit.output, account=account, limits=limits)
    return render(encoded, cost, left)


async def _run(request: base.Request, account: Account, edit: Edit, given: Photo) -> base.Response:
    runner, sources = base.server_state(request).runner, base.Sources(given.photo_source)
    async with base.charged(request, account, picture=given.photo_name) as left:
        encoded = await runner.run(edit, sources, account=account, limits=base.limits(request))
    return render(encoded, 1, left)


def _is_transparent(data: bytes, most: base.Limits) -> bool:
    """Whether something can be seen through the picture somewhere.

    Raises:
        MatteboxError: it cannot be read or is over the limits.
    """
    if codec.kept_format(data) is Format.JPEG:
        return False
    alpha = codec.decode(data, most).alpha
    return alpha is not None and float(alpha.min()) < 1


def _without_alpha(data: bytes, most: base.Limits) -> bytes:
    """A PNG of the picture's colours, also of those that were hidden."""
    image = codec.decode(data, most)
    return codec.encode(Image(rgb=image.rgb, icc=image.icc), Output())


# --- responses ---------------------------------------------------------------------------------------------------


def render_error(error: base.MatteboxError, status: int, _request_id: str) -> base.Response:
    """A failure as the vendor writes it."""
    return base.json_response({"error": base.named_message(error)}, status=status)


def render(encoded: base.Encoded, cost: int, left: int | None) -> base.Response:
    """The picture, with its cost and the credits that are left, if there is a limit, in headers."""
    headers = {
        "x-remaining-credits": str(base.UNLIMITED if left is None else left),
        "x-credits-consumed": str(cost),
        "Vary": "Accept",
        **({"X-Mattebox-Subject": base.subject_header(encoded)} if cost else {}),  # else nobody has looked for it
        **base.backdrop_headers(encoded.served),
    }
    return base.picture_response(encoded, headers)


_ERRORS = (*base.openapi.EDIT_ERRORS, base.Kind.MISSING_KEY)
_CREDITS = {
    "x-remaining-credits": f"{base.UNLIMITED} where there is no limit",
    "x-credits-consumed": "1; 0 for a picture that came back as it was",
    "X-Mattebox-Subject": "`left,top,width,height`, or `none`; not where the picture came back as it was",
}
router = base.router_for("Clipdrop")


@router.post(
    "/remove-background/v1",
    summary="Remove the background",
    openapi_extra=base.openapi.request(form=Removal),
    responses=base.openapi.result(
        "The picture, in the format that `Accept` asks for; PNG", media_types=base.IMAGE_TYPES, headers=_CREDITS
    )
    | base.openapi.errors(render_error, _ERRORS, status=_STATUS),
)
@base.edit_endpoint
async def remove_background(request: base.Request) -> base.Response:
    """Cut the subject out of a picture. Where there is none, the result is empty and `X-Mattebox-Subject` is `none`."""
    async with base.authorize(request) as account:
        given = await base.read_form(request, Removal, picture="image_file")
        edit = to_edit(given, request.headers.get("accept", ""))
        return await _remove(request, account, given, edit)


@router.post(
    "/replace-background/v1",
    summary="Put the subject into a scene",
    openapi_extra=base.openapi.request(form=Replacement),
    responses=base.openapi.result(
        "The picture, in the format that `Accept` asks for; JPEG",
        media_types=base.IMAGE_TYPES,
        headers=_CREDITS | base.BACKDROP_HEADERS,
    )
    | base.openapi.errors(render_error, (*_ERRORS, base.Kind.NOT_OFFERED), status=_STATUS),
)
@base.edit_endpoint
async def replace_background(request: base.Request) -> base.Response:
    """Put the subject before a scene that is described in words."""
    async with base.authorize(request) as account:
        most = min(base.limits(request).max_bytes, _REPLACE_BYTES)
        given = await base.read_form(request, Replacement, picture="image_file", max_bytes=most)
        edit = to_edit(given, request.headers.get("accept", ""))
        return await _run(request, account, edit, given)


DIALECT = base.Dialect(
    name="clipdrop",
    prefixes=("/remove-background/", "/replace-background/"),
    router=router,
    render_error=render_error,
    status=_STATUS,
    limits=base.Limits(max_bytes=30 * 2**20, max_pixels=25_000_000),
)

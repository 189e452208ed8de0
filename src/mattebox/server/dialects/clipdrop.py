"""Clipdrop: `POST /remove-background/v1` and `POST /replace-background/v1`, a form in and a picture out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from fastapi import APIRouter, Security
from fastapi.security import APIKeyHeader
from starlette.requests import Request
from starlette.responses import Response

from mattebox import codec
from mattebox.codec import Limits
from mattebox.edit import Edit, Format, Output, Prompt
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Encoded, Image
from mattebox.server import actions
from mattebox.server.http import dialect as http
from mattebox.server.http import fields, openapi
from mattebox.server.state import limits, server_state
from mattebox.server.store.accounts import Account
from mattebox.sources import Sources, Upload

_T = TypeVar("_T")

UNLIMITED = 2_147_483_647
"""What is left to a key without a limit: a whole number that every language can hold."""

_STATUS = {Kind.INVALID_KEY: 403, Kind.TOO_MANY_BYTES: 400, Kind.TOO_MANY_PIXELS: 400}
_REPLACE_BYTES = 20 * 2**20
_FORMATS = {
    "image/png": Format.PNG,
    "image/webp": Format.WEBP,
    "image/jpeg": Format.JPEG,
    "image/jpg": Format.JPEG,  # how the vendor's page writes it
}
_RETURN, _DISCARD = "return_input_if_non_opaque", "discard_alpha_layer"


def render_error(error: MatteboxError, status: int, _request_id: str) -> Response:
    """A failure as the vendor writes it."""
    message, name = error.message, error.parameter
    said = message if name is None or name in message else f"{name}: {message}"
    return http.json_response({"error": said}, status=status)


# --- from the request --------------------------------------------------------------------------------------------


async def parse_removal(request: Request) -> tuple[Edit, bytes, str]:
    """The vendor's words to ours, the picture, and what to do with it where it is transparent already."""
    given = await fields.form(request, max_bytes=limits(request).max_bytes, picture="image_file")
    picture = _picture(given)
    handling = given.choice("transparency_handling", {each: each for each in (_RETURN, _DISCARD)}, _RETURN)
    return Edit(output=Output(format=_accepted(request, Format.PNG))), picture, handling


async def parse_replacement(request: Request) -> tuple[Edit, Sources]:
    """The vendor's words to ours. The scene may be left to the server, by an empty prompt."""
    most = min(limits(request).max_bytes, _REPLACE_BYTES)
    given = await fields.form(request, max_bytes=most, picture="image_file")
    sources = Sources(Upload(_picture(given)))
    backdrop = Prompt(given.text("prompt") or "")
    return Edit(backdrop=backdrop, output=Output(format=_accepted(request, Format.JPEG))), sources


def _picture(given: fields.Fields) -> bytes:
    picture = given.file("image_file")
    if picture is None:
        raise MatteboxError(
            Kind.MISSING_IMAGE,
            "Send the picture as multipart/form-data, in the field image_file.",
            parameter="image_file",
        )
    return picture


def _accepted(request: Request, default: Format) -> Format:
    """The format that `Accept` likes best; the default where it names none of them.

    A wildcard is how HTTP libraries say nothing, and a type that there is not is taken the same way: its client got a
    picture from the vendor too.
    """
    best, found = 0.0, default
    for part in request.headers.get("accept", "").split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        if kind in _FORMATS and quality > best:
            best, found = quality, _FORMATS[kind]
    return found


# --- pictures that are transparent already -----------------------------------------------------------------------


_looking: RunVar[CapacityLimiter] = RunVar("pictures that are looked at")


async def _in_thread(look: Callable[[], _T]) -> _T:
    """Two at a time: a picture may take 200 MB once it is decoded, and as many may be arriving as the server takes."""
    limiter = _looking.get(None)
    if limiter is None:
        limiter = CapacityLimiter(2)
        _looking.set(limiter)
    return await anyio.to_thread.run_sync(look, limiter=limiter)


async def _run(request: Request, account: Account, edit: Edit, data: bytes, handling: str) -> tuple[Encoded, int]:
    """The result, and what it costs: a picture that comes back as it was costs nothing."""
    runner, own = server_state(request).runner, http.request_context(request).dialect.limits
    try:
        transparent = await _in_thread(partial(_is_transparent, data, limits(request)))
    except MatteboxError as error:
        raise error.about("image_file") from error.__cause__
    if not transparent:
        return await actions.run_edit(request, account, edit, Sources(Upload(data)), picture="image_file"), 1
    if handling == _RETURN:
        same = partial(runner.transform, None, lambda: data, output=edit.output, limits=own)
        async with actions.charged(request, account, picture="image_file", cost=0):
            return await same(), 0
    opaque = await _in_thread(partial(_without_alpha, data, limits(request)))
    # It may well have more bytes than a picture may come with.
    cut = partial(runner.run_kept, edit, lambda: opaque, limits=own)
    async with actions.charged(request, account, picture="image_file"):
        return await cut(), 1


def _is_transparent(data: bytes, most: Limits) -> bool:
    """Whether something can be seen through the picture somewhere.

    Raises:
        MatteboxError: it cannot be read or is over the limits.
    """
    if codec.kept_format(data) is Format.JPEG:
        return False
    alpha = codec.decode(data, most).alpha
    return alpha is not None and float(alpha.min()) < 1


def _without_alpha(data: bytes, most: Limits) -> bytes:
    """A PNG of the picture's colours, also of those that were hidden."""
    image = codec.decode(data, most)
    return codec.encode(Image(rgb=image.rgb, icc=image.icc), Output())


# --- to the answer -----------------------------------------------------------------------------------------------


async def _answer(request: Request, encoded: Encoded, cost: int) -> Response:
    _, usage = await actions.usage(request)
    left = UNLIMITED if usage.allowed is None else max(0, usage.allowed - usage.used)
    headers = {
        "x-remaining-credits": str(left),
        "x-credits-consumed": str(cost),
        "Vary": "Accept",
        **({"X-Mattebox-Subject": http.subject_header(encoded)} if cost else {}),  # else nobody has looked for it
        **http.backdrop_headers(encoded),
    }
    return Response(encoded.data, media_type=encoded.media_type, headers=headers)


_ERROR = openapi.obj({"error": openapi.plain("string", "what was wrong")})
_FAILURES: dict[int, openapi.Schema] = {
    400: {"error": "image_file: Send the picture as multipart/form-data, in the field image_file."},
    401: {"error": "An API key is needed."},
    402: {"error": "This key has no credits left."},
    403: {"error": "This API key is not known."},
    429: {"error": "Too many pictures are waiting; please try again in a moment."},
}
_PICTURE = openapi.binary("The picture.")
_REMOVAL = openapi.obj(
    {
        "image_file": _PICTURE,
        "transparency_handling": openapi.word(
            (_RETURN, _DISCARD), "What to do with a picture that is transparent already.", default=_RETURN
        ),
    },
    required=("image_file",),
)
_REPLACEMENT = openapi.obj(
    {"image_file": _PICTURE, "prompt": openapi.plain("string", "The scene; it may be empty.")}, required=("image_file",)
)
_CREDITS = {
    "x-remaining-credits": f"{UNLIMITED} where there is no limit",
    "x-credits-consumed": "1; 0 for a picture that came back as it was",
    "X-Mattebox-Subject": "`left,top,width,height`, or `none`; not where the picture came back as it was",
}
_SCENE = {
    "X-Mattebox-Backdrop": "what served the prompt, as in `scenes/warehouse-ramp`",
    "X-Mattebox-Backdrop-Score": "how well it matches, 0 to 1, if that is known",
    "X-Mattebox-Warning": "a sentence where it is not what was asked for",
}
_PICTURES = openapi.content(("image/png", "image/webp", "image/jpeg"), openapi.binary())
_BODY = "multipart/form-data"

_security = APIKeyHeader(name="x-api-key", scheme_name="Clipdrop", auto_error=False, description="any configured key")
router = APIRouter(tags=["Clipdrop"], dependencies=[Security(_security)])


@router.post(
    "/remove-background/v1",
    summary="Remove the background",
    response_class=Response,
    openapi_extra={"requestBody": {"required": True, "content": openapi.content([_BODY], _REMOVAL)}},
    responses=openapi.success("The picture, in the format that `Accept` asks for; PNG", _PICTURES, headers=_CREDITS)
    | openapi.failures(_ERROR, _FAILURES),
)
async def remove_background(request: Request) -> Response:
    """Cut the subject out of a picture. Where there is none, the result is empty and `X-Mattebox-Subject` is `none`."""
    async with actions.authorize(request) as account:
        edit, picture, handling = await parse_removal(request)
        encoded, cost = await _run(request, account, edit, picture, handling)
        return await _answer(request, encoded, cost)


@router.post(
    "/replace-background/v1",
    summary="Put the subject into a scene",
    response_class=Response,
    openapi_extra={"requestBody": {"required": True, "content": openapi.content([_BODY], _REPLACEMENT)}},
    responses=openapi.success(
        "The picture, in the format that `Accept` asks for; JPEG", _PICTURES, headers=_CREDITS | _SCENE
    )
    | openapi.failures(_ERROR, _FAILURES | {501: {"error": "prompt: There is no generator of backdrops here."}}),
)
async def replace_background(request: Request) -> Response:
    """Put the subject before a scene that is described in words."""
    async with actions.authorize(request) as account:
        edit, sources = await parse_replacement(request)
        encoded = await actions.run_edit(request, account, edit, sources, picture="image_file")
        return await _answer(request, encoded, 1)


DIALECT = http.Dialect(
    name="clipdrop",
    prefixes=("/remove-background/", "/replace-background/"),
    router=router,
    render_error=render_error,
    status=_STATUS,
    limits=Limits(max_bytes=30 * 2**20, max_pixels=25_000_000),
)

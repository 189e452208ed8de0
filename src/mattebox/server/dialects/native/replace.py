"""mattebox's own API for another background: a scene in words, a colour, a picture, or the photo's own, blurred."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from mattebox.backdrops import GENERATORS, LONGEST_PROMPT
from mattebox.edit import Edit, Prompt, Transparent
from mattebox.errors import Kind, MatteboxError
from mattebox.server import actions
from mattebox.server.dialects.native import options
from mattebox.server.dialects.native.problem import NO_KEY, failures
from mattebox.server.http import fields, negotiation, openapi
from mattebox.sources import Sources, Upload

_GENERATORS = {name: name for name in ("auto", *GENERATORS)}

OPTIONS: openapi.Schema = {
    "prompt": openapi.plain(
        "string", f"Where the subject is to be, in English: `in a warehouse`. At most {LONGEST_PROMPT} characters."
    ),
    "seed": openapi.plain("integer", "With `prompt`: the same seed makes the same picture again; 0."),
    "generator": openapi.word(
        tuple(_GENERATORS),
        "With `prompt`: who makes the backdrop. `auto` is the first of this server's that can serve the words.",
        default="auto",
    ),
    "nearest": openapi.plain(
        "boolean", "With `prompt`: where nothing here shows it, take what comes nearest, and say so in a warning."
    ),
}
"""What a backdrop in words takes, each with its schema."""


async def parse(request: Request) -> tuple[Edit, Sources, negotiation.ResponseFormat]:
    """Our own words to the same."""
    incoming = await options.read(request)
    given = incoming.fields
    options.refuse_unknown(given, tuple(OPTIONS))
    sources = options.sources_of(incoming)
    answer = negotiation.negotiate(request.headers.get("accept", "*/*"), given.choice("format", options.FORMATS, None))
    return _edit_of(given, options.edit_of(request, given, written=answer.format)), sources, answer


def _edit_of(given: fields.Fields, edit: Edit) -> Edit:
    """The edit with what goes behind."""
    text = given.text("prompt", longest=LONGEST_PROMPT)
    seed = given.integer("seed", least=-(2**63), most=2**63 - 1)
    generator = given.choice("generator", _GENERATORS, "auto")
    nearest = given.flag("nearest")
    if text is None:
        for name in ("seed", "generator", "nearest"):
            if name in given.names:
                raise _refused(given, name, "says nothing without prompt")
        if isinstance(edit.backdrop, Transparent):
            raise _refused(given, "prompt", f"is required, or one of {', '.join(options.BACKGROUNDS)}")
        return edit
    for name in options.BACKGROUNDS:
        if name in given.names:
            raise _refused(
                given, name, f"goes not together with prompt: send one of prompt, {', '.join(options.BACKGROUNDS)}"
            )
    if edit.shadow is not None:
        raise _refused(
            given, "shadow", "goes not together with prompt: the subject has the shadow that the scene makes"
        )
    if edit.output.alpha_only:
        raise _refused(given, "alpha_only", "goes not together with prompt: the matte shows no backdrop")
    return replace(edit, backdrop=Prompt(text, seed=seed or 0, generator=generator, nearest=nearest))


def _refused(given: fields.Fields, name: str, why: str) -> MatteboxError:
    called = given.which(name)
    return MatteboxError(Kind.INVALID_PARAMETER, f"{called} {why}.", parameter=called)


# --- the OpenAPI page --------------------------------------------------------------------------------------------

_FIELDS = {"image_url": options.URL} | OPTIONS | options.OPTIONS
_BODIES = (
    openapi.content(
        ["multipart/form-data"],
        openapi.obj({"image": openapi.binary("The picture.")} | _FIELDS | options.FORM_OPTIONS),
    )
    | openapi.content(
        [openapi.JSON],
        openapi.obj({"image": options.BASE64} | _FIELDS),
        example={"image_url": "https://example.com/photo.jpg", "prompt": "in a warehouse", "format": "jpeg"},
    )
    | openapi.content(["image/*", "application/octet-stream"], openapi.binary())
)

router = APIRouter(
    prefix="/api/v1",
    tags=["mattebox"],
    dependencies=options.KEYS,
)


@router.post(
    "/replace",
    summary="Replace the background",
    response_class=Response,
    openapi_extra={
        "parameters": [
            *options.query_parameters(OPTIONS | options.OPTIONS | {"image_url": options.URL}),
            openapi.IDEMPOTENCY_KEY,
        ],
        "requestBody": {"content": _BODIES},
    },
    responses=openapi.success(
        "The result, in the format that `format` or `Accept` asks for",
        negotiation.CONTENT,
        headers=negotiation.HEADERS | negotiation.BACKDROP_HEADERS,
    )
    | failures(
        (400, Kind.INVALID_PARAMETER, "No backdrop here shows this. The nearest here are …"),
        NO_KEY,
        (402, Kind.OUT_OF_CREDITS, "This key has no credits left."),
        (406, Kind.INVALID_REQUEST, "Accept leaves nothing; there are image/png, …"),
        (413, Kind.TOO_MANY_BYTES, "The picture may have at most 31,457,280 bytes."),
        (415, Kind.INVALID_REQUEST, "A body of type text/csv is not understood; …"),
        (429, Kind.OVERLOADED, "Too many pictures are waiting; please try again in a moment."),
        (501, Kind.NOT_OFFERED, "The generator openai is not configured here."),
        (503, Kind.UNAVAILABLE, "The panorama warehouse is not installed here; `mattebox scenes pull …` fetches it."),
        (504, Kind.TIMED_OUT, "The generator took too long."),
    ),
)
async def replace_background(request: Request) -> Response:
    """Put the subject of a photo before something else, with its shadow and the light of the place.

    Say what: `prompt`, or one of the backgrounds that /api/v1/remove has. A prompt that nothing here shows is refused,
    unless `nearest` is set.
    """
    async with actions.authorize(request) as account:
        edit, sources, answer = await parse(request)
        picture = "image" if isinstance(sources.photo, Upload) else "image_url"
        encoded, replayed = await actions.run_idempotent(request, account, edit, sources, picture=picture)
    return negotiation.render(request, encoded, answer, replayed=replayed)

"""An edit in mattebox's own words: how the routes that are no vendor's read one from a request and describe it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request

from mattebox.edit import Edit, Foreground, Format, Layout, Link, Matte, Output, Source, Transparent, Upload
from mattebox.errors import Kind, MatteboxError
from mattebox.http import fields, openapi
from mattebox.http.rooms import limits, rooms
from mattebox.models import CATALOGUE, DEFAULT

FORMATS: Mapping[str, Format] = {each.value: each for each in Format} | {"jpg": Format.JPEG}
# A stranger may choose among the networks that there are. A file of the server's disk is nobody's to name.
_MODELS = {name: name for name in CATALOGUE}
_FOREGROUNDS = {way.value: way for way in Foreground}
_LONGEST_SIDE = 65_535
_PICTURE = ("image", "image_url")

OPTIONS: openapi.Schema = {
    "model": openapi.word(
        tuple(_MODELS), "The network; `auto` is the one that the server was started with.", default=DEFAULT
    ),
    "format": openapi.word(tuple(FORMATS), "What the result is. Without it the `Accept` header decides, or it is PNG."),
    "quality": openapi.plain(
        "integer", "Of JPEG, WebP, AVIF and the ZIP's colours. 100 makes a WebP lossless.", least=1, most=100
    ),
    "background": openapi.plain(
        "string", "A colour behind the subject: `#ffffff`, `rgb(255, 255, 255)` or a CSS name."
    ),
    "crop": openapi.plain("boolean", "Cut the picture to the subject."),
    "size": openapi.plain(
        "integer", "The longer side in pixels; the result is never enlarged.", least=1, most=_LONGEST_SIDE
    ),
    "alpha_only": openapi.plain("boolean", "The matte itself, as a grey picture."),
    "refine": openapi.plain("boolean", "Sharpen the matte at the photo's own resolution. On unless it is turned off."),
    "foreground": openapi.word(
        tuple(_FOREGROUNDS), "How the background's colour is taken out of the edge.", default=Foreground.FAST.value
    ),
}
"""Each option and its schema."""

URL = openapi.plain("string", "Instead of `image`: an http or https address to fetch the picture from.")
BASE64 = openapi.plain("string", "base64 or a data URL")


def query_parameters(options: openapi.Schema) -> list[openapi.Schema]:
    """The options once more, as parameters of the query."""
    doc = "As in the body, which comes first where both have it."
    return [{"name": name, "in": "query", "schema": schema, "description": doc} for name, schema in options.items()]


@dataclass(frozen=True, slots=True)
class Incoming:
    """What a request says: its fields, and the picture among them, whichever way it was written."""

    fields: fields.Fields
    picture: bytes | None


async def read(request: Request) -> Incoming:
    """Everything in the body, which may be a form, JSON or the picture itself, and behind it what is in the query.

    Raises:
        HTTPException: 415 where the body is something else.
        MatteboxError: INVALID_REQUEST, INVALID_PARAMETER, TOO_MANY_BYTES or CANCELLED.
    """
    max_bytes = limits(request).max_bytes
    options = fields.query(request, max_bytes=max_bytes)
    match fields.content_type(request):
        case kind if kind in fields.FORM_TYPES:
            options = (await fields.form(request, max_bytes=max_bytes, picture="image")).over(options)
            return Incoming(options, options.file("image"))
        case kind if kind == fields.JSON_TYPE or kind.endswith("+json"):
            options = (await fields.json(request, max_bytes=max_bytes, picture="image")).over(options)
            return Incoming(options, options.base64("image"))
        case kind if kind.startswith("image/") or kind in ("application/octet-stream", ""):
            return Incoming(options, await fields.raw(request, max_bytes=max_bytes, picture="image") or None)
        case kind:
            raise HTTPException(
                415, f"A body of type {kind[:80]} is not understood; send a form, JSON, or a picture as image/*."
            )


def refuse_unknown(given: fields.Fields, also: Collection[str] = ()) -> None:
    """Refuse names that mean nothing, so that a slip of the pen is not silently ignored.

    Args:
        given: what the request says.
        also: names that mean something besides the options and the picture.

    Raises:
        MatteboxError: INVALID_PARAMETER.
    """
    known = [*_PICTURE, *OPTIONS, *also]
    for name in given.names:
        if name not in known:
            raise MatteboxError(
                Kind.INVALID_PARAMETER,
                f"There is no parameter {name[:80]!r}; there are {', '.join(known)}.",
                parameter=given.which(name)[:100],
            )


def source_of(incoming: Incoming) -> Source:
    """Where the picture is.

    Raises:
        MatteboxError: MISSING_IMAGE, or INVALID_PARAMETER where it is in two places.
    """
    given = incoming.fields
    url = given.address("image_url")
    if incoming.picture is not None:
        if url is not None:
            blamed = given.which("image_url")
            raise MatteboxError(Kind.INVALID_PARAMETER, "Send image or image_url, not both.", parameter=blamed)
        return Upload(incoming.picture)
    if url is None:
        raise MatteboxError(
            Kind.MISSING_IMAGE,
            "Send a picture as image, or its address as image_url.",
            parameter=given.which("image"),
        )
    return Link(url)


def edit_of(request: Request, given: fields.Fields, *, source: Source, written: Format) -> Edit:
    """The edit that the options ask for.

    Raises:
        MatteboxError: INVALID_PARAMETER.
    """
    return Edit(
        source=source,
        backdrop=given.color("background") or Transparent(),
        layout=Layout(crop=given.flag("crop"), max_side=given.integer("size", least=1, most=_LONGEST_SIDE)),
        matte=Matte(
            model=_model_of(request, given),
            refine=given.flag("refine", default=True),
            foreground=given.choice("foreground", _FOREGROUNDS, Foreground.FAST),
        ),
        output=Output(
            format=written,
            alpha_only=given.flag("alpha_only"),
            quality=given.integer("quality", least=1, most=100),
        ),
    )


def _model_of(request: Request, given: fields.Fields) -> str:
    name = given.choice("model", _MODELS, DEFAULT)
    if name != DEFAULT and not rooms(request).installed(name):
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            f"The model {name} is not installed on this server; /api/v1/models says which ones are.",
            parameter=given.which("model"),
        )
    return name

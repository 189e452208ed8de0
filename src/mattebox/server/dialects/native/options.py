"""An edit in mattebox's own words: how the routes that are no vendor's read one from a request and describe it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import Request

from mattebox import units
from mattebox.edit import (
    LARGEST_SIDE,
    Backdrop,
    Blur,
    Canvas,
    Edit,
    Fit,
    Foreground,
    Format,
    Layout,
    Margin,
    Matte,
    Output,
    Picture,
    Shadow,
    ShadowKind,
    Transparent,
)
from mattebox.errors import Kind, MatteboxError
from mattebox.models import CATALOGUE, DEFAULT
from mattebox.server.http import fields, openapi
from mattebox.server.state import limits, server_state
from mattebox.sources import Link, Source, Sources, Upload

FORMATS: Mapping[str, Format] = {each.value: each for each in Format} | {"jpg": Format.JPEG}
# A stranger may choose among the networks that there are. A file of the server's disk is nobody's to name.
_MODELS = {name: name for name in CATALOGUE}
_FOREGROUNDS = {way.value: way for way in Foreground}
_FITS = {each.value: each for each in Fit}
_SHADOWS: Mapping[str, Shadow | None] = {"none": None} | {each.value: Shadow(kind=each) for each in ShadowKind}
_MAX_RESULT_SIDE = 65_535
_PICTURE = ("image", "image_url")
_T = TypeVar("_T")

KEYS = (
    Security(HTTPBearer(scheme_name="Key", auto_error=False)),
    Security(APIKeyHeader(name="x-api-key", scheme_name="Key in x-api-key", auto_error=False)),
)
"""Where a key goes, for the OpenAPI page; `dialect.api_key` reads it."""
BACKGROUNDS = ("background", "background_image", "background_image_url", "background_blur")
"""What can be behind the subject: one of these."""
PARAMETERS: Mapping[str, str] = {"backdrop": "background_image"}
"""Our names for what the engine blames by another, for `Dialect.parameters`."""

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
    "background_image": openapi.plain(
        "string", "Another picture behind the subject, as a file in a form or in base64. It fills the canvas."
    ),
    "background_image_url": openapi.plain("string", "Instead of it: an http or https address to fetch it from."),
    "background_blur": openapi.plain(
        "number", "The photo's own background, blurred: the standard deviation in pixels, 0.3 to 1000."
    ),
    "shadow": openapi.word(
        tuple(_SHADOWS),
        "`drop` is soft and behind the subject, `cast` its outline on the ground, `ground` only where it stands.",
        default="none",
    ),
    "shadow_opacity": openapi.plain("number", "Of the shadow's darkest part, 0 to 1; 0.5.", least=0, most=1),
    "roi": openapi.plain(
        "string", "`x1 y1 x2 y2` in px or %: where the subject is looked for; all outside is background."
    ),
    "crop": openapi.plain("boolean", "Cut the picture to the subject."),
    "ratio": openapi.plain("string", "With `crop`: widen the cropped box to these proportions, as in `4:3`."),
    "margin": openapi.plain(
        "string", "With `crop`: one, two or four lengths, in px or in % of the subject's own width or height."
    ),
    "scale": openapi.plain("string", "The subject's share of the canvas, as in `80%`."),
    "position": openapi.plain("string", "Where the subject lies: `center`, or `x% y%` of the free room."),
    "width": openapi.plain("integer", "Of the result, in pixels.", least=1, most=LARGEST_SIDE),
    "height": openapi.plain("integer", "Of the result, in pixels.", least=1, most=LARGEST_SIDE),
    "fit": openapi.word(
        tuple(_FITS), "With `width` and `height`: what becomes of other proportions.", default=Fit.CONTAIN.value
    ),
    "size": openapi.plain(
        "integer", "The longer side in pixels; the result is never enlarged.", least=1, most=_MAX_RESULT_SIDE
    ),
    "semitransparency": openapi.plain(
        "boolean", "Off: only the outline is soft, and windows and glass are opaque. On unless it is turned off."
    ),
    "alpha_only": openapi.plain("boolean", "The matte itself, as a grey picture."),
    "refine": openapi.plain("boolean", "Sharpen the matte at the photo's own resolution. On unless it is turned off."),
    "foreground": openapi.word(
        tuple(_FOREGROUNDS), "How the background's colour is taken out of the edge.", default=Foreground.FAST.value
    ),
}
"""Each option and its schema."""
FORM_OPTIONS = OPTIONS | {"background_image": openapi.binary("Another picture behind the subject.")}
"""The same in a form, which has files."""

URL = openapi.plain("string", "Instead of `image`: an http or https address to fetch the picture from.")
BASE64 = openapi.plain("string", "base64 or a data URL")


def query_parameters(options: openapi.Schema) -> list[openapi.Schema]:
    """The options once more, as parameters of the query, where files have no room."""
    doc = "As in the body, which comes first where both have it."
    return [
        {"name": name, "in": "query", "schema": schema, "description": doc}
        for name, schema in options.items()
        if name != "background_image"
    ]


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


def sources_of(incoming: Incoming) -> Sources:
    """Where the pictures are: the photo, and the one behind it if there is one.

    Raises:
        MatteboxError: as `source_of`.
    """
    return Sources(source_of(incoming), backdrop_source(incoming.fields))


def backdrop_source(given: fields.Fields) -> Source | None:
    """Where the picture behind is."""
    if "background_image" in given.names:
        return Upload(given.picture("background_image") or b"")
    url = given.address("background_image_url")
    return None if url is None else Link(url)


def edit_of(request: Request, given: fields.Fields, *, written: Format) -> Edit:
    """The edit that the options ask for.

    Raises:
        MatteboxError: INVALID_PARAMETER.
    """
    return Edit(
        backdrop=_backdrop_of(given),
        shadow=_shadow_of(given),
        layout=_layout_of(given),
        matte=Matte(
            model=_model_of(request, given),
            refine=given.flag("refine", default=True),
            foreground=given.choice("foreground", _FOREGROUNDS, Foreground.FAST),
            semitransparency=given.flag("semitransparency", default=True),
        ),
        output=Output(
            format=written,
            alpha_only=given.flag("alpha_only"),
            quality=given.integer("quality", least=1, most=100),
        ),
    )


def _backdrop_of(given: fields.Fields) -> Backdrop:
    named = [name for name in BACKGROUNDS if name in given.names]
    if len(named) > 1:
        raise _refused(given, named[1], f"goes not together with {named[0]}: send one of {', '.join(BACKGROUNDS)}")
    match named:
        case ["background_image" | "background_image_url"]:
            return Picture()
        case ["background_blur"]:
            return Blur(given.number("background_blur", least=0.3, most=1000) or 0)
        case _:
            return given.color("background") or Transparent()


def _shadow_of(given: fields.Fields) -> Shadow | None:
    shadow = given.choice("shadow", _SHADOWS, None)
    opacity = given.number("shadow_opacity", least=0, most=1)
    if opacity is None:
        return shadow
    if shadow is None:
        raise _refused(given, "shadow_opacity", "says nothing without shadow")
    return Shadow(kind=shadow.kind, opacity=opacity)


def _layout_of(given: fields.Fields) -> Layout:
    crop = given.flag("crop")
    width, height = (given.integer(side, least=1, most=LARGEST_SIDE) for side in ("width", "height"))
    fit = given.choice("fit", _FITS, Fit.CONTAIN)
    for name in ("ratio", "margin"):
        if name in given.names and not crop:
            raise _refused(given, name, "says nothing without crop")
    if "fit" in given.names and width is None and height is None:
        raise _refused(given, "fit", "says nothing without width or height")
    return Layout(
        roi=_read(given, "roi", units.region, None),
        crop=crop,
        ratio=_read(given, "ratio", units.ratio, None),
        margin=_read(given, "margin", units.margin, Margin()),
        scale=_read(given, "scale", units.scale, None),
        position=_read(given, "position", units.position, None),
        canvas=None if width is None and height is None else Canvas(width=width, height=height, fit=fit),
        max_side=given.integer("size", least=1, most=_MAX_RESULT_SIDE),
    )


def _read(given: fields.Fields, name: str, reader: Callable[[str], _T], default: _T) -> _T:
    """What the text under `name` stands for."""
    text = given.text(name)
    if text is None:
        return default
    try:
        return reader(text)
    except MatteboxError as error:
        raise error.about(given.which(name)) from error


def _refused(given: fields.Fields, name: str, why: str) -> MatteboxError:
    called = given.which(name)
    return MatteboxError(Kind.INVALID_PARAMETER, f"{called} {why}.", parameter=called)


def _model_of(request: Request, given: fields.Fields) -> str:
    name = given.choice("model", _MODELS, DEFAULT)
    if name != DEFAULT and not server_state(request).installed(name):
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            f"The model {name} is not installed on this server; /api/v1/models says which ones are.",
            parameter=given.which("model"),
        )
    return name

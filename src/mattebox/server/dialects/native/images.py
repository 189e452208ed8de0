"""mattebox's own API for images that are kept at the server: each change of one makes a new one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from mattebox import transforms
from mattebox.edit import Fit, Format, Output
from mattebox.errors import Kind, MatteboxError
from mattebox.server import actions
from mattebox.server.dialects.native import options
from mattebox.server.dialects.native.problem import NO_KEY, failures
from mattebox.server.http import dialect as http
from mattebox.server.http import fields, openapi
from mattebox.server.http import stored_images as images
from mattebox.server.http.openapi import plain
from mattebox.server.state import base_address
from mattebox.server.store.accounts import Account
from mattebox.server.store.images import LONGEST_NAME, MOST_A_PAGE, StoredImage
from mattebox.sources import Upload
from mattebox.transforms import MAX_RESIZED_SIDE, Anchor, Flip

MOST_MARKS = 5
"""In one watermark; all of them are in memory at a time."""
_LISTED = 50
_FAR = 2**31 - 1
_NUMBERS: Mapping[str, tuple[float, float, float, str]] = {
    "degrees": (0, -36_000, 36_000, "Clockwise."),
    "sigma": (0, 0.3, 1000, "The standard deviation in pixels."),
    "brightness": (1, 0, 10, "A factor."),
    "saturation": (1, 0, 10, "A factor."),
    "hue": (0, -36_000, 36_000, "Degrees to turn the colours by."),
    "lightness": (0, -100, 100, "Is added."),
}
"""For each its default, the least, the most, and what it is."""
# A ZIP is no image.
_FORMATS: Mapping[str, Format] = {word: each for word, each in options.FORMATS.items() if each is not Format.ZIP}
_FITS = {each.value: each for each in Fit}
_ANCHORS = {each.value: each for each in Anchor}
_FLIPS = {each.value: each for each in Flip}
_EDGES = ("left", "top", "right", "bottom")
_COLORS = ("brightness", "saturation", "hue", "lightness")


# --- from the request --------------------------------------------------------------------------------------------


def _id(request: Request) -> str:
    return str(request.path_params["image_id"])


def _refused(given: fields.Fields, name: str, sentence: str) -> MatteboxError:
    called = given.which(name)[:100]
    return MatteboxError(Kind.INVALID_PARAMETER, f"{called} {sentence}.", parameter=called)


def _check(given: fields.Fields, known: Collection[str], needed: tuple[str, ...] = ()) -> None:
    """Refuse what means nothing to this route, and the lack of what it needs. Other routes know other names."""
    for name in given.names:
        if name not in known:
            raise _refused(given, name, f"is no parameter here; there are {', '.join(known)}")
    for name in needed:
        if name not in given.names:
            raise _refused(given, name, "is required")


async def _options(request: Request, known: Collection[str], needed: tuple[str, ...] = ()) -> fields.Fields:
    """What is to be done to an image that is kept already."""
    incoming = await options.read(request)
    _check(incoming.fields, known, needed)
    if incoming.picture is not None:
        raise _refused(incoming.fields, "image", "is kept already, and named by the address; send options only")
    return incoming.fields


def _output(given: fields.Fields) -> Output | None:
    """The format that is asked for; None keeps the image's own."""
    wanted = given.choice("format", _FORMATS, None)
    quality = given.integer("quality", least=1, most=100)
    if wanted is None and quality is not None:
        raise _refused(given, "quality", "says nothing without format")
    return None if wanted is None else Output(format=wanted, quality=quality)


def _numbers(given: fields.Fields, *names: str) -> dict[str, float]:
    """These of `_NUMBERS`."""
    found = {name: given.number(name, least=_NUMBERS[name][1], most=_NUMBERS[name][2]) for name in names}
    return {name: _NUMBERS[name][0] if value is None else value for name, value in found.items()}


def _marks(given: fields.Fields) -> list[tuple[str, tuple[int, int]]]:
    """The id of each mark, and where its left upper corner is put."""
    found = given.groups("marks", most=MOST_MARKS)
    for each in found:
        _check(each, _MARK, ("id",))
    ids = [each.text("id") or "" for each in found]
    lefts, tops = ([each.integer(side, least=-_FAR, most=_FAR) or 0 for each in found] for side in ("left", "top"))
    return list(zip(ids, zip(lefts, tops, strict=True), strict=True))


def _made(request: Request, image: StoredImage) -> Response:
    where = f"{base_address(request)}/api/v1/images/{image.id}"
    return http.json_response(images.as_json(request, image), status=201, headers={"Location": where})


# --- the OpenAPI page --------------------------------------------------------------------------------------------

_PIXELS = plain("integer", "pixels")
_NAME = {"name": plain("string", f"Of the new image, 1 to {LONGEST_NAME} characters; without it the old one's.")}
_UPLOAD: openapi.Schema = {
    "image_url": options.URL,
    "name": plain("string", f"1 to {LONGEST_NAME} characters; `image` without it."),
}
_OUTPUT = {
    "format": openapi.word(tuple(_FORMATS), "Of the new image. Without it the old one's, or PNG for an AVIF."),
    "quality": plain("integer", "Of the format that is named. 100 makes a WebP lossless.", least=1, most=100),
}
_REMOVE = options.OPTIONS | {"format": openapi.word(tuple(_FORMATS), "Of the new image.", default="png")} | _NAME
_MARK = {"id": plain("string", "An image of the same key."), "left": _PIXELS, "top": _PIXELS}
_START = plain("string", "`start` of the page before or after; null where there is none", nullable=True)
_PAGE = openapi.obj({"images": openapi.array(images.SCHEMA), "previous": _START, "next": _START})
_HOLDINGS = ("images", "bytes", "allowed_images", "allowed_bytes")
_COLOR = "`#ffffff`, `rgb(255, 255, 255)` or a CSS name; transparent without it."
_MISSING = failures(NO_KEY, (404, Kind.NOT_FOUND, "There is no image image_k3v9q2m4x8c1z7p5t0b6n2d4."))
_FAILURES = _MISSING | failures(
    (400, Kind.INVALID_PARAMETER, "width must be a whole number from 1 to 10000."),
    (402, Kind.OUT_OF_CREDITS, "This key has no credits left."),
    (409, Kind.CONFLICT, "This key keeps 10,000 images already; delete some first."),
    (413, Kind.TOO_MANY_BYTES, "The picture may have at most 31,457,280 bytes."),
    (503, Kind.UNAVAILABLE, "The database cannot be reached."),
)
_IMAGE_ID = {"name": "image_id", "in": "path", "required": True, "schema": plain("string", "`image_…`")}


def _one(doc: str, *, status: int = 200) -> openapi.Responses:
    return {status: openapi.success(doc, openapi.content([openapi.JSON], images.SCHEMA, example=images.EXAMPLE))[200]}


def _taking(options: openapi.Schema, required: tuple[str, ...] = ()) -> openapi.Schema:
    # Lists of objects are for JSON; all else may also come in a form or in the query.
    kinds = [openapi.JSON] if "marks" in options else [openapi.JSON, "multipart/form-data"]
    body = openapi.content(kinds, openapi.obj(options, required=required))
    return {"parameters": [_IMAGE_ID], "requestBody": {"content": body}}


# --- changes -----------------------------------------------------------------------------------------------------


def _described(*names: str) -> openapi.Schema:
    chosen = {name: _NUMBERS[name] for name in names}
    return {name: plain("number", doc) | {"minimum": lo, "maximum": hi} for name, (_, lo, hi, doc) in chosen.items()}


@dataclass(frozen=True, slots=True)
class _Change:
    """A change: how it is read, what it takes, and what of that it needs."""

    summary: str
    parse: Callable[[fields.Fields], transforms.Transform | None]
    options: openapi.Schema
    needed: tuple[str, ...] = ()


_CHANGES = {
    "convert": _Change("Change the format", lambda _: None, {}, ("format",)),
    "resize": _Change(
        "Change the size",
        lambda given: transforms.Resize(
            width=given.integer("width", least=1, most=MAX_RESIZED_SIDE),
            height=given.integer("height", least=1, most=MAX_RESIZED_SIDE),
            fit=given.choice("fit", _FITS, Fit.FILL),
            position=given.choice("position", _ANCHORS, Anchor.CENTER),
            letterbox=given.color("letterbox"),
        ),
        {
            "width": plain("integer", "Pixels. With one side the shape is kept.", least=1, most=MAX_RESIZED_SIDE),
            "height": plain("integer", "Pixels.", least=1, most=MAX_RESIZED_SIDE),
            "fit": openapi.word(tuple(_FITS), "What becomes of another shape.", default=Fit.FILL.value),
            "position": openapi.word(tuple(_ANCHORS), "What is kept, or where it is put.", default="center"),
            "letterbox": plain("string", f"The colour of the bars: {_COLOR}"),
        },
    ),
    "crop": _Change(
        "Cut a part out",
        lambda given: transforms.Crop(**{name: given.integer(name, least=0, most=_FAR) or 0 for name in _EDGES}),
        {name: plain("integer", "Pixels from the left upper corner.", least=0) for name in _EDGES},
        _EDGES,
    ),
    "rotate": _Change(
        "Turn, on a larger canvas",
        lambda given: transforms.Rotate(**_numbers(given, "degrees"), background=given.color("background")),
        _described("degrees") | {"background": plain("string", f"The colour of the corners: {_COLOR}")},
        ("degrees",),
    ),
    "mirror": _Change(
        "Mirror",
        lambda given: transforms.Mirror(mode=given.choice("mode", _FLIPS, Flip.HORIZONTAL)),
        {"mode": openapi.word(tuple(_FLIPS), "`horizontal`: left and right change places.")},
        ("mode",),
    ),
    "blur": _Change("Blur", lambda given: transforms.Blur(**_numbers(given, "sigma")), _described("sigma"), ("sigma",)),
    "modulate": _Change(
        "Change the colours", lambda given: transforms.Modulate(**_numbers(given, *_COLORS)), _described(*_COLORS)
    ),
    "watermark": _Change(
        "Put other images on it",
        lambda given: transforms.Watermark(places=tuple(place for _, place in _marks(given))),
        {"marks": openapi.array(openapi.obj(_MARK, required=("id",))) | {"minItems": 1, "maxItems": MOST_MARKS}},
        ("marks",),
    ),
}


# --- the routes --------------------------------------------------------------------------------------------------

router = APIRouter(
    prefix="/api/v1",
    tags=["mattebox: images"],
    dependencies=options.KEYS,
    default_response_class=Response,
)


@router.post(
    "/images",
    summary="Keep an image",
    status_code=201,
    openapi_extra={
        "parameters": options.query_parameters(_UPLOAD),
        "requestBody": {
            "content": openapi.content(["multipart/form-data"], openapi.obj({"image": openapi.binary()} | _UPLOAD))
            | openapi.content([openapi.JSON], openapi.obj({"image": options.BASE64} | _UPLOAD))
            | openapi.content(["image/*", "application/octet-stream"], openapi.binary())
        },
    },
    responses=_one("The image", status=201) | _FAILURES,
)
async def create(request: Request) -> Response:
    """Keep a picture that is sent or fetched: a JPEG, PNG or WebP as it is, anything else as a PNG of it."""
    async with actions.authorize(request, networks=False) as account:
        incoming = await options.read(request)
        _check(incoming.fields, ("image", *_UPLOAD))
        source, name = options.source_of(incoming), incoming.fields.text("name") or "image"
        picture = "image" if isinstance(source, Upload) else "image_url"
        image = await images.add(request, account, source, name=name, picture=picture)
    return _made(request, image)


@router.get(
    "/images",
    summary="The images of the key",
    openapi_extra={
        "parameters": [
            {"name": "limit", "in": "query", "schema": plain("integer", "50 without it", least=1, most=MOST_A_PAGE)},
            {"name": "start", "in": "query", "schema": plain("string", "the id of the first image of the page")},
        ]
    },
    responses=openapi.success("The newest first", openapi.content([openapi.JSON], _PAGE)) | _MISSING,
)
async def listing(request: Request) -> Response:
    """The images that are kept for this key, the newest first."""
    account = actions.authenticate(request)
    given = fields.query(request, max_bytes=0)
    take = given.integer("limit", least=1, most=MOST_A_PAGE) or _LISTED
    page = await images.listing(request, account, take=take, start=given.text("start"))
    shown = [images.as_json(request, each) for each in page.images]
    return http.json_response({"images": shown, "previous": page.previous, "next": page.next})


@router.get(
    "/library",
    summary="How much is kept",
    responses=openapi.success(
        "Of this key",
        openapi.content([openapi.JSON], openapi.obj(dict.fromkeys(_HOLDINGS, plain("integer", "of this key")))),
    )
    | failures(NO_KEY),
)
async def holdings(request: Request) -> Response:
    """How many images are kept for this key and how many bytes they have, and how much may be kept."""
    held, allowed = await images.holdings(request, actions.authenticate(request))
    numbers = (held.images, held.bytes, allowed.images, allowed.bytes)
    return http.json_response(dict(zip(_HOLDINGS, numbers, strict=True)))


async def _showing(do: Callable[[Request, Account, str], Awaitable[StoredImage]], request: Request) -> Response:
    image = await do(request, actions.authenticate(request), _id(request))
    return http.json_response(images.as_json(request, image))


for _method, _path, _summary, _doc, _do in (
    ("GET", "", "One image", "What is known of an image.", images.get),
    ("POST", "/publish", "Publish an image", "Let anyone read it, at `url`.", images.publish),
    ("POST", "/unpublish", "Take an image back", "Let nobody else read it any more.", images.unpublish),
):
    router.add_api_route(
        f"/images/{{image_id}}{_path}",
        partial(_showing, _do),
        methods=[_method],
        name=_do.__name__,
        summary=_summary,
        description=_doc,
        openapi_extra={"parameters": [_IMAGE_ID]},
        responses=_one("The image") | _MISSING,
    )


@router.head("/images/{image_id}/file", include_in_schema=False)
@router.get(
    "/images/{image_id}/file",
    summary="An image's file",
    openapi_extra={"parameters": [_IMAGE_ID]},
    responses=openapi.success("The file", openapi.content(["image/*"], openapi.binary())) | _MISSING,
)
async def file(request: Request) -> Response:
    """The file, or a range of it. It never changes, so its `ETag` holds for ever."""
    image = await images.get(request, actions.authenticate(request), _id(request))
    answer = await images.file(request, image)
    answer.headers["Content-Disposition"] = images.disposition(image)
    return answer


@router.delete(
    "/images/{image_id}",
    summary="Delete an image",
    status_code=204,
    openapi_extra={"parameters": [_IMAGE_ID]},
    responses=_MISSING,
)
async def delete(request: Request) -> Response:
    """Delete an image, its file and its public address. What was made from it stays."""
    await images.delete(request, actions.authenticate(request), _id(request))
    return Response(status_code=204)


@router.post(
    "/images/{image_id}/remove",
    summary="Remove the background of an image",
    status_code=201,
    openapi_extra=_taking(_REMOVE),
    responses=_one("The cutout, a new image", status=201) | _FAILURES,
)
async def remove(request: Request) -> Response:
    """Cut the subject out, into a new image, with the options of `/api/v1/remove`."""
    async with actions.authorize(request) as account:
        given = await _options(request, _REMOVE)
        form = given.choice("format", _FORMATS, Format.PNG)
        edit = options.edit_of(request, given, written=form)
        image = await images.remove_background(
            request,
            account,
            _id(request),
            edit,
            backdrop=options.backdrop_source(given),
            name=given.text("name"),
            cost=1,
        )
    return _made(request, image)


async def _changing(word: str, request: Request) -> Response:
    change = _CHANGES[word]
    async with actions.authorize(request, networks=False) as account:
        given = await _options(request, change.options | _OUTPUT | _NAME, change.needed)
        image = await images.transform(
            request,
            account,
            _id(request),
            change.parse(given),
            marks=[mark for mark, _ in _marks(given)],
            output=_output(given),
            made_by=word,
            name=given.text("name"),
        )
    return _made(request, image)


for _word, _change in _CHANGES.items():
    router.add_api_route(
        f"/images/{{image_id}}/{_word}",
        partial(_changing, _word),
        methods=["POST"],
        name=_word,
        summary=_change.summary,
        description="A new image; this one stays as it is.",
        status_code=201,
        openapi_extra=_taking(_change.options | _OUTPUT | _NAME, _change.needed),
        responses=_one("The new image", status=201) | _FAILURES,
    )

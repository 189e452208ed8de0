"""IMG Processing: images as resources below `/v1/images`, each transform making a new one."""

from __future__ import annotations

import http as standard
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Security
from fastapi.security import APIKeyHeader
from starlette.requests import Request
from starlette.responses import Response

from mattebox.backdrops import LONGEST_PROMPT
from mattebox.codec import Limits
from mattebox.edit import Color, Edit, Fit, Format, Output
from mattebox.errors import Kind, MatteboxError
from mattebox.server import actions
from mattebox.server.http import dialect as http
from mattebox.server.http import fields, openapi
from mattebox.server.http import stored_images as images
from mattebox.server.state import base_address, limits, server_state
from mattebox.server.store.accounts import Account
from mattebox.server.store.images import StoredImage, check_name
from mattebox.sources import Link, Upload
from mattebox.transforms import Anchor, Blur, Crop, Flip, Mirror, Modulate, Resize, Rotate, Transform, Watermark

_T = TypeVar("_T")

MOST_BYTES = 20 * 2**20
_MOST_A_PAGE = 100
_MOST_MARKS = 5
_CUTOUT_COST = 2
_BLACK = Color(0, 0, 0)

# Where Python's own phrase depends on its version, or there is none.
_TITLES = {413: "Content Too Large", 499: "Client Closed Request"}
# What the vendor calls a parameter that the core blames by its own name.
_NAMES = {
    "left": "x1",
    "top": "y1",
    "right": "x2",
    "bottom": "y2",
    "degrees": "angle",
    "places": "watermarks",
    "marks": "watermarks",
    "start": "from",
}


def render_error(error: MatteboxError, status: int, request_id: str) -> Response:
    """A failure as RFC 9457 has it, and the members that the vendor's client reads beside it."""
    body = _problem(status, error.message, error.parameter, request_id)
    return http.json_response(body, status=status, media_type="application/problem+json")


def _problem(status: int, message: str, parameter: str | None, request_id: str) -> openapi.Schema:
    title = _TITLES.get(status) or standard.HTTPStatus(status).phrase
    return {
        "type": f"https://docs.img-processing.com/errors/{title.lower().replace(' ', '-')}",
        "title": title,
        "error": title,
        "status": status,
        "detail": message,
        "message": message,
        "errors": [f"{parameter}: {message}"] if parameter else [],
        "request_id": request_id,
    }


# --- images ------------------------------------------------------------------------------------------------------


def _image(request: Request, image: StoredImage) -> dict[str, object]:
    return {
        "id": image.id,
        "name": image.name,
        "url": images.published_address(request, image),
        "width": image.width,
        "height": image.height,
        "format": image.format.value,
        "size": image.size,
        "created_at": image.created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def _made(request: Request, image: StoredImage, *, cost: int = 1) -> Response:
    headers = {"X-Image-Processing-Usage": str(cost), "Location": f"/v1/images/{image.id}"}
    return http.json_response(_image(request, image), status=201, headers=headers)


def _id(request: Request) -> str:
    return str(request.path_params["image_id"])


async def _body(request: Request) -> fields.Fields:
    return await fields.json(request, max_bytes=limits(request).max_bytes, picture="image", lenient=True)


def _name(given: fields.Fields) -> str | None:
    """The name that the new image is given; None where it takes the old one's."""
    name = "" if "name" in given.empty else given.text("name")
    return None if name is None else check_name(name)


def _needed(value: _T | None, name: str, kind: Kind = Kind.INVALID_PARAMETER) -> _T:
    if value is None:
        raise MatteboxError(kind, f"{name} is required.", parameter=name)
    return value


# --- transforms --------------------------------------------------------------------------------------------------

_MOST = 2**31 - 1
_FORMATS = {"jpeg": Format.JPEG, "jpg": Format.JPEG, "png": Format.PNG, "webp": Format.WEBP}
_FITS = {each.value: each for each in (Fit.FILL, Fit.CONTAIN, Fit.COVER)}
_FLIPS = {each.value: each for each in Flip}
_ANCHORS: Mapping[str, Anchor] = {each.value: each for each in Anchor} | {
    each.value.replace("-", joint): each for each in Anchor for joint in (" ", "_")
}


class _Change(NamedTuple):
    """What is to be done to an image, as `images.transform` takes it."""

    change: Transform | None
    output: Output | None = None
    marks: Sequence[str] = ()


def _convert(given: fields.Fields) -> _Change:
    wanted = _needed(given.choice("format", _FORMATS, None), "format")
    quality = given.integer("quality", least=1, most=100)
    # For a lossless format there is nothing to choose, and the vendor's client sends it all the same.
    return _Change(None, output=Output(format=wanted, quality=None if wanted is Format.PNG else quality))


def _resize(given: fields.Fields) -> _Change:
    change = Resize(
        width=given.integer("width", least=1, most=10_000),
        height=given.integer("height", least=1, most=10_000),
        fit=given.choice("fit", _FITS, Fit.FILL),
        position=given.choice("position", _ANCHORS, Anchor.CENTER),
        letterbox=given.color("letterbox_color") or _BLACK,
    )
    return _Change(change)


def _crop(given: fields.Fields) -> _Change:
    left, top, right, bottom = (
        _needed(given.integer(name, least=0, most=_MOST), name) for name in ("x1", "y1", "x2", "y2")
    )
    return _Change(Crop(left=left, top=top, right=right, bottom=bottom))


def _rotate(given: fields.Fields) -> _Change:
    angle = _needed(given.number("angle", least=-36_000, most=36_000), "angle")
    degrees = given.choice("unit", {"degrees": angle, "radians": math.degrees(angle)}, angle)
    return _Change(Rotate(degrees=degrees, background=given.color("background_color") or _BLACK))


def _mirror(given: fields.Fields) -> _Change:
    return _Change(Mirror(mode=_needed(given.choice("mode", _FLIPS, None), "mode")))


def _blur(given: fields.Fields) -> _Change:
    sigma = given.number("sigma", least=0.3, most=1000)
    return _Change(Blur(sigma=20.0 if sigma is None else sigma))


def _modulate(given: fields.Fields) -> _Change:
    brightness = given.number("brightness", least=0, most=10)
    saturation = given.number("saturation", least=0, most=10)
    change = Modulate(
        brightness=1.0 if brightness is None else brightness,
        saturation=1.0 if saturation is None else saturation,
        hue=given.number("hue", least=-36_000, most=36_000) or 0.0,
        lightness=given.number("lightness", least=-100, most=100) or 0.0,
    )
    return _Change(change)


def _watermark(given: fields.Fields) -> _Change:
    marks = _needed(given.groups("watermarks", most=_MOST_MARKS) or None, "watermarks")
    places = tuple(
        (each.integer("left", least=-_MOST, most=_MOST) or 0, each.integer("top", least=-_MOST, most=_MOST) or 0)
        for each in marks
    )
    return _Change(Watermark(places=places), marks=[_needed(each.text("id"), each.which("id")) for each in marks])


# --- the OpenAPI page --------------------------------------------------------------------------------------------

_IMAGE = openapi.obj(
    {
        "id": openapi.plain("string", "`image_` and 24 letters and digits"),
        "name": openapi.plain("string", "1 to 30 characters"),
        "url": openapi.plain("string", "where anyone may read it; null until it is published", nullable=True),
        "width": openapi.plain("integer", "pixels"),
        "height": openapi.plain("integer", "pixels"),
        "format": openapi.word(("jpeg", "png", "webp"), "what the file is"),
        "size": openapi.plain("integer", "bytes"),
        "created_at": openapi.plain("string", "UTC, as in 2026-08-07T12:40:55.712Z"),
    }
)
_EXAMPLE: openapi.Schema = {
    "id": "image_k3v9q2m4x8c1z7p5t0b6n2d4",
    "name": "mug",
    "url": None,
    "width": 1200,
    "height": 800,
    "format": "png",
    "size": 745_112,
    "created_at": "2026-08-07T12:40:55.712Z",
}
_ERROR = openapi.obj(
    {name: openapi.plain("string", "") for name in ("type", "title", "error", "detail", "message", "request_id")}
    | {
        "status": openapi.plain("integer", "the HTTP status"),
        "errors": openapi.array(openapi.plain("string", "member: what is wrong with it")),
    }
)


def _failing(status: int, message: str, parameter: str | None = None) -> dict[int, openapi.Schema]:
    return {status: _problem(status, message, parameter, "req_5f0c1f6f7d1e4b0a9c3d2e1f")}


_FAILURES = openapi.failures(
    _ERROR,
    _failing(400, "width must be a whole number from 1 to 10000.", "width")
    | _failing(401, "This API key is not known.")
    | _failing(402, "This key has no credits left.")
    | _failing(404, "There is no image image_k3v9q2m4x8c1z7p5t0b6n2d4.")
    | _failing(429, "Too many pictures are waiting; please try again in a moment."),
    media_type="application/problem+json",
)
_GONE: openapi.Responses = {204: {"description": "It is gone, and so is its file"}}
_USAGE = {"X-Image-Processing-Usage": "operations that this request counts as"}


def _created(doc: str) -> openapi.Responses:
    found = openapi.success(doc, openapi.content([openapi.JSON], _IMAGE, example=_EXAMPLE), headers=_USAGE)
    return {201: found[200]} | _FAILURES


def _not_offered(sentence: str) -> openapi.Responses:
    return openapi.failures(_ERROR, _failing(501, sentence), media_type="application/problem+json")


def _sent(
    properties: Mapping[str, object], *, required: Sequence[str] = (), media_type: str = openapi.JSON
) -> openapi.Schema:
    body = {"content": openapi.content([media_type], openapi.obj(properties, required=required))}
    return {"requestBody": {**body, "required": True} if required else body}


_OF_IMAGE: openapi.Schema = {
    "parameters": [{"name": "image_id", "in": "path", "required": True, "schema": openapi.plain("string", "`image_…`")}]
}
_NAME = {"name": openapi.plain("string", "Of the new image, 1 to 30 characters; without it, the same name.")}
_NEW_NAME = {"name": openapi.plain("string", "1 to 30 characters")}
_COLOR = "`#fff`, `rgb(255, 255, 255)` or a name."
_PIXELS = openapi.plain("integer", "Pixels.")
_MARK = openapi.obj(
    {"id": openapi.plain("string", "An image of yours."), "left": _PIXELS, "top": _PIXELS}, required=("id",)
)
_Parse = Callable[[fields.Fields], _Change]
_TRANSFORMS: Mapping[str, tuple[_Parse, str, openapi.Schema]] = {
    "convert": (
        _convert,
        "Change the format",
        {
            "format": openapi.word(("jpeg", "png", "webp"), "The new one."),
            "quality": openapi.plain("integer", "Of a JPEG or WebP.", least=1, most=100),
        },
    ),
    "resize": (
        _resize,
        "Change the size",
        {
            "width": openapi.plain("integer", "Pixels. One side is enough.", least=1, most=10_000),
            "height": openapi.plain("integer", "Pixels.", least=1, most=10_000),
            "fit": openapi.word(tuple(_FITS), "How another shape is filled.", default="fill"),
            "position": openapi.word([each.value for each in Anchor], "What is kept, or where it is put."),
            "letterbox_color": openapi.plain("string", f"Of the bars of `contain`: {_COLOR} Black."),
        },
    ),
    "crop": (
        _crop,
        "Cut a part out",
        {name: openapi.plain("integer", "Pixels.", least=0) for name in ("x1", "y1", "x2", "y2")},
    ),
    "rotate": (
        _rotate,
        "Turn",
        {
            "angle": openapi.plain("number", "Clockwise."),
            "unit": openapi.word(("degrees", "radians"), "Of the angle.", default="degrees"),
            "background_color": openapi.plain("string", f"Of the corners: {_COLOR} Black."),
        },
    ),
    "mirror": (_mirror, "Mirror", {"mode": openapi.word(tuple(_FLIPS), "In which direction.")}),
    "blur": (_blur, "Blur", {"sigma": openapi.plain("number", "Standard deviation in pixels, 0.3 to 1000; 20.")}),
    "modulate": (
        _modulate,
        "Change the colours",
        {
            "brightness": openapi.plain("number", "A factor."),
            "saturation": openapi.plain("number", "A factor."),
            "hue": openapi.plain("number", "Degrees to turn the colours by."),
            "lightness": openapi.plain("number", "Is added, -100 to 100."),
        },
    ),
    "watermark": (_watermark, "Put one to five images on it", {"watermarks": openapi.array(_MARK)}),
}


# --- routes ------------------------------------------------------------------------------------------------------

_key = APIKeyHeader(name="x-api-key", scheme_name="IMG Processing", auto_error=False, description="any configured key")
router = APIRouter(prefix="/v1/images", tags=["IMG Processing"], dependencies=[Security(_key)])


@router.post(
    "/upload",
    summary="Keep a picture",
    status_code=201,
    response_class=Response,
    openapi_extra=_sent(
        {**_NEW_NAME, "image": openapi.binary("The picture.")},
        required=("name", "image"),
        media_type="multipart/form-data",
    ),
    responses=_created("The image"),
)
async def upload(request: Request) -> Response:
    """Keep a picture: a JPEG, PNG or WebP as it is, anything else that can be read as a PNG of it."""
    async with actions.authorize(request, networks=False) as account:
        if fields.content_type(request) not in fields.FORM_TYPES:
            raise MatteboxError(
                Kind.MISSING_IMAGE,
                "Send the picture as multipart/form-data, in the field image, with a name.",
                parameter="image",
            )
        form = await fields.form(request, max_bytes=limits(request).max_bytes, picture="image")
        name = _needed(_name(form), "name")
        picture = _needed(form.file("image"), "image", Kind.MISSING_IMAGE)
        return _made(request, await images.add(request, account, Upload(picture), name=name, picture="image"))


@router.post(
    "",
    summary="Keep a picture from the web",
    status_code=201,
    response_class=Response,
    openapi_extra=_sent({**_NEW_NAME, "url": openapi.plain("string", "http or https")}, required=("name", "url")),
    responses=_created("The image"),
)
async def create(request: Request) -> Response:
    """Fetch a picture and keep it."""
    async with actions.authorize(request, networks=False) as account:
        body = await _body(request)
        name = _needed(_name(body), "name")
        url = _needed(body.address("url"), "url", Kind.MISSING_IMAGE)
        return _made(request, await images.add(request, account, Link(url), name=name, picture="url"))


_NO_GENERATOR = "No generator of pictures is configured here."
_PAINTED_SIDE = 1024


@router.post(
    "/imagine",
    summary="Make a picture from words",
    status_code=201,
    response_class=Response,
    openapi_extra=_sent(
        {
            "prompt": openapi.plain("string", "What is to be seen."),
            "negative_prompt": openapi.plain("string", "Is read and left out: no generator here is told it."),
            "seed": openapi.plain("integer", "Makes the same picture again; 0."),
            "name": openapi.plain("string", "1 to 30 characters; `image`."),
        },
        required=("prompt",),
    ),
    responses=_created("The image") | _not_offered(_NO_GENERATOR),
)
async def imagine(request: Request) -> Response:
    """Have a generator paint a square of 1024 pixels. Answered with 501 unless one is configured."""
    async with actions.authorize(request, networks=False) as account:
        body = await _body(request)
        name = _name(body)
        prompt = _needed(body.text("prompt", longest=LONGEST_PROMPT), "prompt")
        left_out = body.text("negative_prompt")
        seed = body.integer("seed", least=-(2**63), most=2**63 - 1) or 0
        image = await images.imagine(
            request, account, prompt, seed=seed, side=_PAINTED_SIDE, name="image" if name is None else name
        )
    answer = _made(request, image)
    if left_out is not None:
        answer.headers["X-Mattebox-Warning"] = "The generator is not told negative_prompt."
    return answer


@router.get(
    "",
    summary="List the images",
    response_class=Response,
    openapi_extra={
        "parameters": [
            {
                "name": "take",
                "in": "query",
                "schema": openapi.plain("integer", "how many; 10", least=1, most=_MOST_A_PAGE),
            },
            {
                "name": "from",
                "in": "query",
                "schema": openapi.plain("string", "id of the first image of the page; without it, the newest"),
            },
        ]
    },
    responses=openapi.success(
        "A page, the newest first",
        openapi.content(
            [openapi.JSON],
            openapi.obj(
                {
                    "data": openapi.array(_IMAGE),
                    "links": openapi.obj(
                        {
                            "previous": openapi.plain("string", "an address", nullable=True),
                            "next": openapi.plain("string", "an address", nullable=True),
                        }
                    ),
                }
            ),
        ),
    )
    | _FAILURES,
)
async def listing(request: Request) -> Response:
    """The images of this key."""
    account = actions.authenticate(request)
    query = fields.query(request, max_bytes=0)
    take = query.integer("take", least=1, most=_MOST_A_PAGE) or 10
    page = await images.listing(request, account, take=take, start=query.text("from"))
    base = server_state(request).listing_url or base_address(request)

    def link(start: str | None) -> str | None:
        return None if start is None else f"{base}/v1/images?{urlencode({'take': take, 'from': start})}"

    return http.json_response(
        {
            "data": [_image(request, each) for each in page.images],
            "links": {"previous": link(page.previous), "next": link(page.next)},
        }
    )


@router.get(
    "/{image_id}",
    summary="One image",
    response_class=Response,
    openapi_extra=_OF_IMAGE,
    responses=openapi.success("The image", openapi.content([openapi.JSON], _IMAGE, example=_EXAMPLE)) | _FAILURES,
)
async def get(request: Request) -> Response:
    """What is known of an image."""
    image = await images.get(request, actions.authenticate(request), _id(request))
    return http.json_response(_image(request, image))


@router.get(
    "/{image_id}/download",
    summary="An image's file",
    response_class=Response,
    openapi_extra=_OF_IMAGE,
    responses=openapi.success("The file", openapi.content(["image/*"], openapi.binary())) | _FAILURES,
)
async def download(request: Request) -> Response:
    """The file itself. It may be asked for in ranges."""
    image = await images.get(request, actions.authenticate(request), _id(request))
    return await images.file(request, image)


@router.delete(
    "/{image_id}",
    summary="Delete an image",
    status_code=204,
    response_class=Response,
    openapi_extra=_OF_IMAGE,
    responses=_GONE | _FAILURES,
)
async def delete(request: Request) -> Response:
    """Delete an image, its file and its public address."""
    await images.delete(request, actions.authenticate(request), _id(request))
    return Response(status_code=204)


# --- what is done to an image ------------------------------------------------------------------------------------

_Route = Callable[[Request], Awaitable[Response]]


def _transforming(word: str, parse: _Parse) -> _Route:
    async def route(request: Request) -> Response:
        async with actions.authorize(request, networks=False) as account:
            body = await _body(request)
            change, output, marks = parse(body)
            if _id(request) in marks:
                raise MatteboxError(
                    Kind.INVALID_PARAMETER,
                    "watermarks must be other images than the one below.",
                    parameter="watermarks",
                )
            image = await images.transform(
                request,
                account,
                _id(request),
                change,
                marks=marks,
                output=output,
                made_by=word,
                name=_name(body),
            )
            return _made(request, image)

    return route


async def _remove_background(request: Request) -> Response:
    async with actions.authorize(request) as account:
        name = _name(await _body(request))
        image = await images.remove_background(request, account, _id(request), Edit(), name=name, cost=_CUTOUT_COST)
        return _made(request, image, cost=_CUTOUT_COST)


def _publishing(change: Callable[[Request, Account, str], Awaitable[StoredImage]], *, cost: int) -> _Route:
    async def route(request: Request) -> Response:
        async with actions.authorize(request, networks=False, cost=cost) as account:
            await _body(request)
            do = partial(change, request, account, _id(request))
            async with actions.charged(request, account, picture="image_id", cost=cost):
                return _made(request, await do(), cost=cost)

    return route


def _refusing(sentence: str) -> _Route:
    async def route(request: Request) -> Response:
        async with actions.authorize(request, networks=False) as account:
            await _body(request)
            await images.get(request, account, _id(request))
            raise MatteboxError(Kind.NOT_OFFERED, sentence)

    return route


def _offer(
    word: str, route: _Route, summary: str, *, doc: str, answers: openapi.Responses, members: Mapping[str, object]
) -> None:
    router.add_api_route(
        f"/{{image_id}}/{word}",
        route,
        methods=["POST"],
        name=word,
        summary=summary,
        description=doc,
        status_code=min(int(status) for status in answers),
        response_class=Response,
        openapi_extra=_OF_IMAGE | _sent(members),
        responses=answers,
    )


for _word, (_parse, _summary, _members) in _TRANSFORMS.items():
    _offer(
        _word,
        _transforming(_word, _parse),
        _summary,
        doc="The result is a new image; the old one stays as it is.",
        answers=_created("The new image"),
        members={**_members, **_NAME},
    )
_offer(
    "remove-background",
    _remove_background,
    "Remove the background",
    doc="Cut the subject out, into a new image. It counts as two operations.",
    answers=_created("The cutout, a PNG"),
    members=_NAME,
)
_offer(
    "publish",
    _publishing(images.publish, cost=1),
    "Publish an image",
    doc="Let anyone read the image at `url`.",
    answers=_created("The image, with its address"),
    members={},
)
_offer(
    "unpublish",
    # Nobody is kept from taking a picture back by having no credits left.
    _publishing(images.unpublish, cost=0),
    "Unpublish an image",
    doc="Let nobody else read the image any more.",
    answers=_created("The image, without an address"),
    members={},
)
for _word, _summary, _what in (
    ("classify", "Say what is in it", "says what is in a picture"),
    ("visualize", "ResponseFormat a question about it", "answers questions about a picture"),
):
    _sentence = f"This server has no model that {_what}."
    _offer(
        _word,
        _refusing(_sentence),
        _summary,
        doc="Answered with 501: mattebox has no model for it.",
        answers=_not_offered(_sentence),
        members={},
    )


DIALECT = http.Dialect(
    name="imgprocessing",
    prefixes=("/v1/images",),
    router=router,
    render_error=render_error,
    parameters=_NAMES,
    limits=Limits(max_bytes=MOST_BYTES, max_pixels=http.NO_LIMITS.max_pixels),
)

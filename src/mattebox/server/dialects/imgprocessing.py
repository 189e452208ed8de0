"""IMG Processing: images as resources below `/v1/images`, each transform making a new one."""

from __future__ import annotations

import http
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Self, TypeVar
from urllib.parse import urlencode

from mattebox import transforms
from mattebox.edit import Color, Edit, Fit, Format, Output
from mattebox.fields import counted
from mattebox.options import LONGEST_PROMPT
from mattebox.server.dialects import base
from mattebox.server.http import stored_images as images
from mattebox.server.store.accounts import Account
from mattebox.server.store.stored_image import StoredImage, check_name
from mattebox.transforms import Anchor, Flip

_Model = TypeVar("_Model", bound=base.Fields)
_Route = Callable[[base.Request], Awaitable[base.Response]]

MOST_BYTES = 20 * 2**20
_CUTOUT_COST = 2
_PAINTED_SIDE = 1024
_BLACK = Color(0, 0, 0)
_FORMATS = {"jpeg": Format.JPEG, "jpg": Format.JPEG, "png": Format.PNG, "webp": Format.WEBP}
_FITS = {each.value: each for each in (Fit.FILL, Fit.CONTAIN, Fit.COVER)}
_ANCHORS: Mapping[str, Anchor] = {each.value: each for each in Anchor} | {
    each.value.replace("-", joint): each for each in Anchor for joint in (" ", "_")
}

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


def render_error(error: base.MatteboxError, status: int, request_id: str) -> base.Response:
    """A failure as RFC 9457 has it, and the members that the vendor's client reads beside it."""
    title = _TITLES.get(status) or http.HTTPStatus(status).phrase
    body = {
        "type": f"https://docs.img-processing.com/errors/{title.lower().replace(' ', '-')}",
        "title": title,
        "error": title,
        "status": status,
        "detail": error.message,
        "message": error.message,
        "errors": [f"{error.parameter}: {error.message}"] if error.parameter else [],
        "request_id": request_id,
    }
    return base.json_response(body, status=status, media_type="application/problem+json")


# --- from the request --------------------------------------------------------------------------------------------

_Name = base.Written(check_name)
_COLOR = "`#fff`, `rgb(255, 255, 255)` or a name; black."
_Pixels = Annotated[int, base.Whole(0, base.FARTHEST)]
_Side = base.Whole(1, transforms.MAX_RESIZED_SIDE)
_Angle = base.Number(-36_000, 36_000)
_Factor = Annotated[float, base.Number(0, 10)]


class _UploadForm(base.Fields):
    name: Annotated[str, _Name] = base.Field(description="1 to 30 characters")
    image: Annotated[bytes, base.File()] = base.Field(description="The picture.")


class _FetchBody(base.Fields):
    name: Annotated[str, _Name] = base.Field(description="1 to 30 characters")
    url: base.Address = base.Field(description="http or https")


class _NamedBody(base.Fields):
    name: Annotated[str | None, _Name] = base.Field(None, description="1 to 30 characters; the old image's name.")

    @classmethod
    def read(cls, values: Mapping[str, object], *, called: Callable[[str], str] = str, context: object = None) -> Self:
        if isinstance(name := values.get("name"), str) and not name.strip():
            check_name(name)  # elsewhere an empty text is not set; as a name it is too short
        return super().read(values, called=called, context=context)


class _ImagineBody(_NamedBody):
    prompt: Annotated[str, base.ReadText(LONGEST_PROMPT)] = base.Field(description="The picture in words.")
    negative_prompt: Annotated[str | None, base.ReadText()] = base.Field(None, description="No generator is told it.")
    seed: Annotated[int, base.Whole(-(2**63), 2**63 - 1)] = base.Field(0, description="Makes the same picture again.")
    name: Annotated[str | None, _Name] = base.Field(None, description="1 to 30 characters; `image`.")


class _Query(base.Fields):
    take: Annotated[int, base.Whole(1, 100)] = base.Field(10, description="images on a page")
    start: Annotated[str | None, base.ReadText()] = base.Field(
        None, validation_alias="from", description="id of the first image of the page; without it, the newest"
    )


class _ChangeBody(_NamedBody, base.ChangeFields):
    """The name of the new image, and a change."""


class _Convert(_ChangeBody):
    format: Annotated[Format, base.Word(_FORMATS)] = base.Field(description="The new one.")
    quality: Annotated[int | None, base.Whole(1, 100)] = base.Field(None, description="Of a JPEG or WebP.")

    @property
    def output(self) -> Output:
        # For a lossless format the quality means nothing, and the vendor's client sends it all the same.
        return Output(format=self.format, quality=None if self.format is Format.PNG else self.quality)


class _Resize(_ChangeBody):
    kind = transforms.Resize
    width: Annotated[int | None, _Side] = base.Field(None, description="Pixels. One side is enough.")
    height: Annotated[int | None, _Side] = base.Field(None, description="Pixels.")
    fit: Annotated[Fit, base.Word(_FITS)] = base.Field(Fit.FILL, description="How another shape is filled.")
    position: Annotated[Anchor, base.Word(_ANCHORS)] = base.Field(
        Anchor.CENTER, description="The part that is kept, or the place between bars."
    )
    letterbox: Annotated[Color, base.OpaqueColor] = base.Field(
        _BLACK, validation_alias="letterbox_color", description=f"The bars: {_COLOR}"
    )


class _Crop(_ChangeBody):
    kind = transforms.Crop
    left: _Pixels = base.Field(validation_alias="x1", description="The first column that is kept.")
    top: _Pixels = base.Field(validation_alias="y1", description="The first row that is kept.")
    right: _Pixels = base.Field(validation_alias="x2", description="The first column that is not kept.")
    bottom: _Pixels = base.Field(validation_alias="y2", description="The first row that is not kept.")


class _Rotate(_ChangeBody):
    kind = transforms.Rotate
    angle: Annotated[float, _Angle] = base.Field(description="Clockwise.")
    unit: Annotated[float, base.Word({"degrees": 1, "radians": 180 / math.pi})] = base.Field(1, description="Its unit.")
    background: Annotated[Color, base.OpaqueColor] = base.Field(
        _BLACK, validation_alias="background_color", description=f"The corners: {_COLOR}"
    )

    @property
    def degrees(self) -> float:
        return self.angle * self.unit


class _Mirror(_ChangeBody):
    kind = transforms.Mirror
    mode: Annotated[Flip, base.Word(Flip)] = base.Field(description="In which direction.")


class _Blur(_ChangeBody):
    kind = transforms.Blur
    sigma: Annotated[float, base.Number(0.3, 1000)] = base.Field(20, description="Standard deviation in pixels.")


class _Modulate(_ChangeBody):
    kind = transforms.Modulate
    brightness: Annotated[_Factor, base.Field(description="A factor.")] = 1
    saturation: Annotated[_Factor, base.Field(description="A factor.")] = 1
    hue: Annotated[float, _Angle, base.Field(description="Degrees to turn the colours by.")] = 0
    lightness: Annotated[float, base.Number(-100, 100), base.Field(description="Is added.")] = 0


class _Watermark(_ChangeBody, base.MarksFields):
    marks: Annotated[list[base.MarkFields], counted(base.MOST_MARKS)] = base.Field(
        validation_alias="watermarks",
        description="Later ones lie above earlier ones.",
        min_length=1,
        max_length=base.MOST_MARKS,
    )


TRANSFORMS: Mapping[str, tuple[type[_ChangeBody], str]] = {
    "convert": (_Convert, "Change the format"),
    "resize": (_Resize, "Change the size"),
    "crop": (_Crop, "Cut a part out"),
    "rotate": (_Rotate, "Turn"),
    "mirror": (_Mirror, "Mirror"),
    "blur": (_Blur, "Blur"),
    "modulate": (_Modulate, "Change the colours"),
    "watermark": (_Watermark, "Put one to five images on it"),
}


async def _read(request: base.Request, model: type[_Model]) -> _Model:
    return await base.read_json(request, model, picture="image", lenient=True)


# --- to the response ---------------------------------------------------------------------------------------------


class _Image(base.BaseModel):
    id: str = base.Field(description="`image_` and 24 letters and digits", examples=["image_k3v9q2m4x8c1z7p5t0b6n2d4"])
    name: str = base.Field(description="1 to 30 characters", examples=["mug"])
    url: str | None = base.Field(description="where anyone may read it; null until it is published", examples=[None])
    width: int = base.Field(description="pixels", examples=[1200])
    height: int = base.Field(description="pixels", examples=[800])
    format: str = base.Field(description="`jpeg`, `png` or `webp`; `avif` from `/api/v1/images`", examples=["png"])
    size: int = base.Field(description="bytes", examples=[745_112])
    created_at: str = base.Field(description="UTC", examples=["2026-08-07T12:40:55.712Z"])


class _Links(base.BaseModel):
    previous: str | None
    next: str | None


class _Page(base.BaseModel):
    data: list[_Image]
    links: _Links


def render(request: base.Request, image: StoredImage) -> _Image:
    """An image as the vendor writes it."""
    return _Image(
        id=image.id,
        name=image.name,
        url=images.published_address(request, image),
        width=image.width,
        height=image.height,
        format=image.format,
        size=image.size,
        created_at=images.created_at(image),
    )


def _created(request: base.Request, image: StoredImage, *, cost: int = 1) -> base.Response:
    headers = {"X-Image-Processing-Usage": str(cost), "Location": f"/v1/images/{image.id}"}
    return base.json_response(render(request, image), status=201, headers=headers)


_OF_IMAGE = base.openapi.request(parameters=[base.openapi.in_path("image_id")])
_FAILURES = base.openapi.errors(render_error, (*base.openapi.EDIT_ERRORS, base.Kind.NOT_FOUND))
_LOOK_FAILURES = base.openapi.errors(
    render_error,
    (base.Kind.INVALID_PARAMETER, base.Kind.INVALID_KEY, base.Kind.NOT_FOUND, base.Kind.UNAVAILABLE),
)
_NOT_OFFERED = base.openapi.errors(render_error, (base.Kind.NOT_OFFERED,))


def _creates(doc: str) -> base.openapi.Responses:
    usage = {"X-Image-Processing-Usage": "operations that this request counts as"}
    return base.openapi.result(doc, model=_Image, headers=usage, status=201) | _FAILURES


# --- routes ------------------------------------------------------------------------------------------------------

router = base.router_for("IMG Processing", prefix="/v1/images")


@router.post(
    "/upload",
    summary="Keep a picture",
    status_code=201,
    openapi_extra=base.openapi.request(form=_UploadForm),
    responses=_creates("The image"),
)
async def upload(request: base.Request) -> base.Response:
    """Keep a picture: a JPEG, PNG or WebP as it is, anything else that can be read as a PNG of it."""
    async with base.authorize(request, networks=False) as account:
        if base.content_type(request) not in base.FORM_TYPES:
            wanted = "Send the picture as multipart/form-data, in the field image, with a name."
            raise base.MatteboxError(base.Kind.MISSING_IMAGE, wanted, parameter="image")
        given = await base.read_form(request, _UploadForm, picture="image")
        source = base.Upload(given.image)
        return _created(request, await images.add(request, account, source, name=given.name, picture="image"))


@router.post(
    "",
    summary="Keep a picture from the web",
    status_code=201,
    openapi_extra=base.openapi.request(json=_FetchBody),
    responses=_creates("The image"),
)
async def create(request: base.Request) -> base.Response:
    """Fetch a picture and keep it."""
    async with base.authorize(request, networks=False) as account:
        given = await _read(request, _FetchBody)
        image = await images.add(request, account, base.Link(given.url), name=given.name, picture="url")
        return _created(request, image)


@router.post(
    "/imagine",
    summary="Make a picture from words",
    status_code=201,
    openapi_extra=base.openapi.request(json=_ImagineBody),
    responses=_creates("The image") | _NOT_OFFERED,
)
async def imagine(request: base.Request) -> base.Response:
    """Have a generator paint a square of 1024 pixels. Answered with 501 unless one is configured."""
    async with base.authorize(request, networks=False) as account:
        given = await _read(request, _ImagineBody)
        image = await images.imagine(
            request, account, given.prompt, seed=given.seed, side=_PAINTED_SIDE, name=given.name or "image"
        )
    response = _created(request, image)
    if given.negative_prompt is not None:
        response.headers["X-Mattebox-Warning"] = "The generator is not told negative_prompt."
    return response


@router.get(
    "",
    summary="List the images",
    openapi_extra=base.openapi.request(query=_Query),
    responses=base.openapi.result("A page, the newest first", model=_Page) | _LOOK_FAILURES,
)
async def listing(request: base.Request) -> base.Response:
    """The images of this key."""
    account = await base.actions.authenticate(request)
    given = base.read_query(request, _Query)
    page = await images.listing(request, account, take=given.take, start=given.start)
    address = base.server_state(request).listing_url or base.base_address(request)

    def link(start: str | None) -> str | None:
        return None if start is None else f"{address}/v1/images?{urlencode({'take': given.take, 'from': start})}"

    links = _Links(previous=link(page.previous), next=link(page.next))
    return base.json_response(_Page(data=[render(request, each) for each in page.images], links=links))


@router.get(
    "/{image_id}",
    summary="One image",
    openapi_extra=_OF_IMAGE,
    responses=base.openapi.result("The image", model=_Image) | _LOOK_FAILURES,
)
async def get(request: base.Request) -> base.Response:
    """The metadata of an image."""
    image = await images.get(request, await base.actions.authenticate(request), images.image_id(request))
    return base.json_response(render(request, image))


@router.get(
    "/{image_id}/download",
    summary="An image's file",
    openapi_extra=_OF_IMAGE,
    responses=base.openapi.result("The file", media_types=("image/*",)) | _LOOK_FAILURES,
)
async def download(request: base.Request) -> base.Response:
    """The file itself. It may be asked for in ranges."""
    image = await images.get(request, await base.actions.authenticate(request), images.image_id(request))
    return await images.file(request, image)


@router.delete(
    "/{image_id}",
    summary="Delete an image",
    status_code=204,
    openapi_extra=_OF_IMAGE,
    responses=base.openapi.result("The image and its file are deleted", status=204) | _LOOK_FAILURES,
)
async def delete(request: base.Request) -> base.Response:
    """Delete an image, its file and its public address."""
    await images.delete(request, await base.actions.authenticate(request), images.image_id(request))
    return base.Response(status_code=204)


# --- what is done to an image ------------------------------------------------------------------------------------


def _offer(
    word: str, route: _Route, summary: str, responses: base.openapi.Responses, body: type[base.Fields] = base.Fields
) -> None:
    router.add_api_route(
        f"/{{image_id}}/{word}",
        route,
        methods=["POST"],
        name=word,
        summary=summary,
        status_code=min(int(status) for status in responses),
        openapi_extra=_OF_IMAGE | base.openapi.request(json=body, required=bool(body.required_names())),
        responses=responses,
    )


def _transforming(word: str, body: type[_ChangeBody]) -> _Route:
    async def route(request: base.Request) -> base.Response:
        """The result is a new image; the old one stays as it is."""
        async with base.authorize(request, networks=False) as account:
            given, image_id = await _read(request, body), images.image_id(request)
            if image_id in given.mark_ids:
                own = "An image cannot be its own watermark."
                raise base.MatteboxError(base.Kind.INVALID_PARAMETER, own, parameter="watermarks")
            image = await images.transform(
                request,
                account,
                image_id,
                given.transform,
                marks=given.mark_ids,
                output=given.output,
                made_by=word,
                name=given.name,
            )
            return _created(request, image)

    return route


@base.edit_endpoint
async def _remove_background(request: base.Request) -> base.Response:
    """Cut the subject out, into a new image. It counts as two operations."""
    async with base.authorize(request) as account:
        name = (await _read(request, _NamedBody)).name
        image = await images.remove_background(
            request, account, images.image_id(request), Edit(), name=name, cost=_CUTOUT_COST
        )
        return _created(request, image, cost=_CUTOUT_COST)


async def _publish(request: base.Request) -> base.Response:
    """Let anyone read the image at `url`."""
    return await _change(request, images.publish, cost=1)


async def _unpublish(request: base.Request) -> base.Response:
    """Let nobody else read the image any more. It costs nothing, so that whoever has no credits left may do it too."""
    return await _change(request, images.unpublish, cost=0)


async def _change(
    request: base.Request, change: Callable[[base.Request, Account, str], Awaitable[StoredImage]], *, cost: int
) -> base.Response:
    async with base.authorize(request, networks=False, cost=cost) as account:
        await _read(request, base.Fields)
        async with base.charged(request, account, picture="image_id", cost=cost):
            return _created(request, await change(request, account, images.image_id(request)), cost=cost)


def _refusing(ability: str) -> _Route:
    async def route(request: base.Request) -> base.Response:
        """Answered with 501: mattebox has no model for it."""
        async with base.authorize(request, networks=False) as account:
            await _read(request, base.Fields)
            await images.get(request, account, images.image_id(request))
            raise base.MatteboxError(base.Kind.NOT_OFFERED, f"This server has no model that {ability}.")

    return route


for _word, (_body, _summary) in TRANSFORMS.items():
    _offer(_word, _transforming(_word, _body), _summary, _creates("The new image"), _body)
_offer("remove-background", _remove_background, "Remove the background", _creates("The cutout, a PNG"), _NamedBody)
_offer("publish", _publish, "Publish an image", _creates("The image, with its address"))
_offer("unpublish", _unpublish, "Unpublish an image", _creates("The image, without an address"))
_offer("classify", _refusing("says what is in a picture"), "Say what is in it", _FAILURES | _NOT_OFFERED)
_offer(
    "visualize", _refusing("answers questions about a picture"), "Answer a question about it", _FAILURES | _NOT_OFFERED
)


DIALECT = base.Dialect(
    name="imgprocessing",
    prefixes=("/v1/images",),
    router=router,
    render_error=render_error,
    parameters=_NAMES,
    limits=base.most_bytes(MOST_BYTES),
)

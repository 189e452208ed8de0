"""The native API's images that are kept at the server: each change of one makes a new one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, ClassVar

from pydantic import ConfigDict

from mattebox import transforms
from mattebox.edit import Color, Fit, Format, Output
from mattebox.errors import Kind
from mattebox.fields import counted
from mattebox.options import FORMATS, EditOptions, narrowed
from mattebox.server.dialects import base
from mattebox.server.dialects.native import options
from mattebox.server.dialects.native.problem import failures
from mattebox.server.http import openapi
from mattebox.server.http import stored_images as images
from mattebox.server.store.accounts import Account
from mattebox.server.store.images import MOST_A_PAGE
from mattebox.server.store.stored_image import LONGEST_NAME, StoredImage
from mattebox.transforms import MAX_RESIZED_SIDE, Anchor, Flip

_SIDE = base.Whole(1, MAX_RESIZED_SIDE)
_EDGE = base.Whole(0, base.FARTHEST)
_FACTOR = base.Number(0, 10)
_DEGREES = base.Number(-36_000, 36_000)
_IMAGE_FORMAT = base.Word({word: each for word, each in FORMATS.items() if each is not Format.ZIP})
_COLOR = "`#ffffff`, `rgb(255, 255, 255)` or a CSS name; transparent without it."


# --- from the request --------------------------------------------------------------------------------------------


class Upload(options.PhotoFields):
    """The fields of a picture that is to be kept."""

    name: base.Text = base.Field("image", description=f"1 to {LONGEST_NAME} characters.")


class Listing(base.Fields):
    """The query of the list."""

    limit: Annotated[int, base.Whole(1, MOST_A_PAGE)] = base.Field(50, description="how many")
    start: base.Text | None = base.Field(None, description="the id of the first image of the page")


class NewImage(base.Fields):
    """The fields of what makes a new image of one that is kept."""

    model_config = ConfigDict(extra="forbid")

    name: base.Text | None = base.Field(
        None, description=f"Of the new image, 1 to {LONGEST_NAME} characters; without it the old one's."
    )


class Remove(options.RemoveOptions, NewImage):
    """The options of a removed background."""

    format: Format | None = narrowed(EditOptions, "format", _IMAGE_FORMAT, description="Of the new image; PNG.")


class Change(base.ChangeFields, NewImage):
    """A change of an image, and the file format of the new one."""

    summary: ClassVar[str]

    format: Format | None = narrowed(
        EditOptions,
        "format",
        _IMAGE_FORMAT,
        description="Of the new image. Without it the old one's, or PNG for an AVIF.",
    )
    quality: int | None = narrowed(EditOptions, "quality", base.Relation(requires=("format",)))

    @property
    def output(self) -> Output | None:
        """The format that is asked for; None keeps the image's own."""
        return None if self.format is None else Output(format=self.format, quality=self.quality)


class Convert(Change):
    """Another file format."""

    summary = "Change the format"

    format: Annotated[Format, _IMAGE_FORMAT] = base.Field(description="Of the new image.")


class Resize(Change):
    """Another size."""

    summary, kind = "Change the size", transforms.Resize

    width: Annotated[int | None, _SIDE] = base.Field(None, description="Pixels. With one side the shape is kept.")
    height: Annotated[int | None, _SIDE] = base.Field(None, description="Pixels.")
    fit: Annotated[Fit, base.Word(Fit)] = base.Field(Fit.FILL, description="What becomes of another shape.")
    position: Annotated[Anchor, base.Word(Anchor)] = base.Field(
        Anchor.CENTER, description="The part that is kept, or the place of the picture between bars."
    )
    letterbox: Annotated[Color | None, base.OpaqueColor] = base.Field(
        None, description=f"The colour of the bars: {_COLOR}"
    )


class Crop(Change):
    """A part of the picture."""

    summary, kind = "Cut a part out", transforms.Crop

    left: Annotated[int, _EDGE] = base.Field(description="Pixels from the left.")
    top: Annotated[int, _EDGE] = base.Field(description="Pixels from the top.")
    right: Annotated[int, _EDGE] = base.Field(description="Pixels from the left: the first column that is not kept.")
    bottom: Annotated[int, _EDGE] = base.Field(description="Pixels from the top: the first row that is not kept.")


class Rotate(Change):
    """The picture turned."""

    summary, kind = "Turn, on a larger canvas", transforms.Rotate

    degrees: Annotated[float, _DEGREES] = base.Field(description="Clockwise.")
    background: Annotated[Color | None, base.OpaqueColor] = base.Field(
        None, description=f"The colour of the corners: {_COLOR}"
    )


class Mirror(Change):
    """The picture mirrored."""

    summary, kind = "Mirror", transforms.Mirror

    mode: Annotated[Flip, base.Word(Flip)] = base.Field(description="`horizontal`: left and right change places.")


class Blur(Change):
    """The picture blurred."""

    summary, kind = "Blur", transforms.Blur

    sigma: Annotated[float, base.Number(0.3, 1000)] = base.Field(description="The standard deviation in pixels.")


class Modulate(Change):
    """Other colours."""

    summary, kind = "Change the colours", transforms.Modulate

    brightness: Annotated[float, _FACTOR] = base.Field(1, description="A factor.")
    saturation: Annotated[float, _FACTOR] = base.Field(1, description="A factor.")
    hue: Annotated[float, _DEGREES] = base.Field(0, description="Degrees to turn the colours by.")
    lightness: Annotated[float, base.Number(-100, 100)] = base.Field(0, description="Is added.")


class Mark(base.MarkFields):
    """An image on another one, and the place of its left upper corner."""

    model_config = ConfigDict(extra="forbid")


class Watermark(base.MarksFields, Change):
    """Other images on the picture."""

    summary = "Put other images on it"

    marks: Annotated[list[Mark], counted(base.MOST_MARKS)] = base.Field(
        min_length=1, max_length=base.MOST_MARKS, description="The later ones are above."
    )


_CHANGES: Mapping[str, type[Change]] = {
    "convert": Convert,
    "resize": Resize,
    "crop": Crop,
    "rotate": Rotate,
    "mirror": Mirror,
    "blur": Blur,
    "modulate": Modulate,
    "watermark": Watermark,
}


# --- to the response ---------------------------------------------------------------------------------------------


class ImageState(base.BaseModel):
    """An image."""

    id: str = base.Field(description="`image_` and 24 letters and digits", examples=["image_k3v9q2m4x8c1z7p5t0b6n2d4"])
    name: str = base.Field(description=f"1 to {LONGEST_NAME} characters", examples=["mug"])
    url: str | None = base.Field(description="its public address; null unless it is published", examples=[None])
    width: int = base.Field(description="pixels", examples=[1200])
    height: int = base.Field(description="pixels", examples=[800])
    format: str = base.Field(description="`png`, `jpeg`, `webp` or `avif`", examples=["png"])
    size: int = base.Field(description="bytes", examples=[745_112])
    created_at: str = base.Field(description="RFC 3339", examples=["2026-11-20T09:00:00.000Z"])
    parent: str | None = base.Field(description="the image that it was made from, which may be gone", examples=[None])
    made_by: str = base.Field(
        description="`upload`, `link`, `imagine`, `remove-background`, or the change's name", examples=["upload"]
    )


def _state(request: base.Request, image: StoredImage) -> ImageState:
    """An image as it is shown."""
    return ImageState(
        id=image.id,
        name=image.name,
        url=images.published_address(request, image),
        width=image.width,
        height=image.height,
        format=image.format,
        size=image.size,
        created_at=images.created_at(image),
        parent=image.parent,
        made_by=image.made_by,
    )


class ImagePage(base.BaseModel):
    """Some images of a key."""

    images: list[ImageState]
    previous: str | None = base.Field(description="`start` of the page before; null where there is none")
    next: str | None = base.Field(description="`start` of the next page; null where there is none")


class Holdings(base.BaseModel):
    """The room that a key has, and how much of it is taken."""

    images: int
    bytes: int
    allowed_images: int
    allowed_bytes: int


_MISSING = failures(Kind.NOT_FOUND)
_FAILURES = failures(
    Kind.NOT_FOUND,
    Kind.INVALID_PARAMETER,
    Kind.OUT_OF_CREDITS,
    Kind.CONFLICT,
    Kind.TOO_MANY_BYTES,
    Kind.UNAVAILABLE,
    statuses=(415,),
)
_IMAGE_ID = openapi.in_path("image_id")


def _made(request: base.Request, image: StoredImage) -> base.Response:
    where = f"{base.base_address(request)}/api/v1/images/{image.id}"
    return base.json_response(_state(request, image), status=201, headers={"Location": where})


def _one(doc: str, *, status: int = 200) -> openapi.Responses:
    return openapi.result(doc, model=ImageState, status=status)


def _taking(model: type[NewImage]) -> openapi.Schema:
    # Lists of objects are for JSON; all else may also come in a form or in the query.
    form = None if model is Watermark else model
    return openapi.request(form=form, json=model, parameters=[_IMAGE_ID], required=False)


# --- the routes --------------------------------------------------------------------------------------------------

router = options.router_for("mattebox: images")


@router.post(
    "/images",
    summary="Keep an image",
    status_code=201,
    openapi_extra=options.described(Upload),
    responses=_one("The image", status=201) | _FAILURES,
)
async def create(request: base.Request) -> base.Response:
    """Keep a picture that is sent or fetched: a JPEG, PNG or WebP as it is, anything else as a PNG of it."""
    async with base.authorize(request, networks=False) as account:
        given = await options.read(request, Upload)
        image = await images.add(request, account, given.photo_source, name=given.name, picture=given.photo_name)
    return _made(request, image)


@router.get(
    "/images",
    summary="The images of the key",
    openapi_extra=openapi.request(query=Listing),
    responses=openapi.result("The newest first", model=ImagePage) | _MISSING | failures(Kind.INVALID_PARAMETER),
)
async def listing(request: base.Request) -> base.Response:
    """The images that are kept for this key, the newest first."""
    account = await base.actions.authenticate(request)
    given = base.read_query(request, Listing)
    page = await images.listing(request, account, take=given.limit, start=given.start)
    shown = [_state(request, each) for each in page.images]
    return base.json_response(ImagePage(images=shown, previous=page.previous, next=page.next))


@router.get(
    "/library", summary="How much is kept", responses=openapi.result("Of this key", model=Holdings) | failures()
)
async def holdings(request: base.Request) -> base.Response:
    """How many images are kept for this key and how many bytes they have, and how much may be kept."""
    held, allowed = await images.holdings(request, await base.actions.authenticate(request))
    return base.json_response(
        Holdings(images=held.images, bytes=held.bytes, allowed_images=allowed.images, allowed_bytes=allowed.bytes)
    )


async def _showing(
    do: Callable[[base.Request, Account, str], Awaitable[StoredImage]], request: base.Request
) -> base.Response:
    image = await do(request, await base.actions.authenticate(request), images.image_id(request))
    return base.json_response(_state(request, image))


for _method, _path, _summary, _doc, _do in (
    ("GET", "", "One image", "All that is known of an image.", images.get),
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
        openapi_extra=openapi.request(parameters=[_IMAGE_ID]),
        responses=_one("The image") | _MISSING,
    )


@router.head("/images/{image_id}/file", include_in_schema=False)
@router.get(
    "/images/{image_id}/file",
    summary="An image's file",
    openapi_extra=openapi.request(parameters=[_IMAGE_ID]),
    responses=openapi.result("The file", media_types=["image/*"]) | _MISSING,
)
async def file(request: base.Request) -> base.Response:
    """The file, or a range of it. It never changes, so its `ETag` holds for ever."""
    image = await images.get(request, await base.actions.authenticate(request), images.image_id(request))
    answer = await images.file(request, image)
    answer.headers["Content-Disposition"] = images.disposition(image)
    return answer


@router.delete(
    "/images/{image_id}",
    summary="Delete an image",
    status_code=204,
    openapi_extra=openapi.request(parameters=[_IMAGE_ID]),
    responses=_MISSING,
)
async def delete(request: base.Request) -> base.Response:
    """Delete an image, its file and its public address. Images that were made from it stay."""
    await images.delete(request, await base.actions.authenticate(request), images.image_id(request))
    return base.Response(status_code=204)


@router.post(
    "/images/{image_id}/remove",
    summary="Remove the background of an image",
    status_code=201,
    openapi_extra=_taking(Remove),
    responses=_one("The cutout, a new image", status=201) | _FAILURES,
)
@base.edit_endpoint
async def remove(request: base.Request) -> base.Response:
    """Cut the subject out, into a new image, with the options of `/api/v1/remove`."""
    async with base.authorize(request) as account:
        given = await options.read(request, Remove)
        edit = given.to_edit(format=Format.PNG)
        image = await images.remove_background(
            request, account, images.image_id(request), edit, backdrop=given.backdrop, name=given.name, cost=1
        )
    return _made(request, image)


async def _changing(word: str, request: base.Request) -> base.Response:
    async with base.authorize(request, networks=False) as account:
        given = await options.read(request, _CHANGES[word])
        image = await images.transform(
            request,
            account,
            images.image_id(request),
            given.transform,
            marks=given.mark_ids,
            output=given.output,
            made_by=word,
            name=given.name,
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
        openapi_extra=_taking(_change),
        responses=_one("The new image", status=201) | _FAILURES,
    )

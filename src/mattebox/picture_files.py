"""Picture files that are changed, or kept as they are, without a look for a subject."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mattebox import codec, transforms
from mattebox.cancellation import Checkpoint, go_on
from mattebox.edit import Format, Output
from mattebox.image import Encoded, Image
from mattebox.stages import Stage, stage
from mattebox.transforms import Transform, Watermark


def transform(
    change: Transform | None,
    photo: bytes,
    *,
    marks: Iterable[bytes] = (),
    output: Output | None = None,
    limits: codec.Limits = codec.Limits(),
    checkpoint: Checkpoint = go_on,
) -> Encoded:
    """A changed picture, from file to file.

    Args:
        change: what to do; None changes the format only.
        photo: the picture's file.
        marks: the files of the pictures that a watermark is made of.
        output: the result's format; None keeps that of the photo where it is JPEG, PNG or WebP, and else is PNG.
        limits: for each of the pictures, and for the result.
        checkpoint: called between steps.

    Raises:
        MatteboxError: a picture cannot be read or is over the limits, or `change` does not fit it.
    """
    image = codec.decode(photo, limits)
    checkpoint()
    if isinstance(change, Watermark):
        transforms.put_marks(image, change, _decoded(marks, limits, checkpoint))
        checkpoint()
    elif change is not None:
        image = transforms.apply(image, change, marks=_decoded(marks, limits, checkpoint), max_pixels=limits.max_pixels)
        checkpoint()
    chosen = output or Output(format=codec.kept_format(photo) or Format.PNG)
    width, height = image.width, image.height
    with stage(Stage.ENCODE):
        write = codec.writer(image, chosen)
        del image
        data = write()
    return Encoded(data=data, media_type=codec.media_type(chosen.format), width=width, height=height)


def keep(photo: bytes, *, limits: codec.Limits = codec.Limits()) -> Encoded:
    """A picture's file in a format that browsers show: itself if it is a whole JPEG, PNG or WebP, else as a PNG.

    The width and height are those of the picture as it is seen, after the turn that its EXIF asks for.

    Raises:
        MatteboxError: it cannot be read or is over the limits.
    """
    own = codec.kept_format(photo)
    if own is None:
        return transform(None, photo, limits=limits)
    image = codec.decode(photo, limits)
    return Encoded(data=photo, media_type=codec.media_type(own), width=image.width, height=image.height)


def _decoded(files: Iterable[bytes], limits: codec.Limits, checkpoint: Checkpoint) -> Iterator[Image]:
    """The pictures one by one, so that no more than one is in memory."""
    for each in files:
        checkpoint()
        yield codec.decode(each, limits)

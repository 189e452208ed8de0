"""The recipe: how a photo becomes a cutout and a cutout becomes a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol, assert_never

import numpy as np

from mattebox import codec, compositing, layout, matting, refinement, transforms
from mattebox.backdrops import composite
from mattebox.backdrops.plate import Plate
from mattebox.cancellation import Checkpoint
from mattebox.cutout import Cutout
from mattebox.edit import (
    WHITE,
    Blur,
    Color,
    Edit,
    Foreground,
    Format,
    Matte,
    Output,
    Picture,
    Prompt,
    Transparent,
)
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Box, Encoded, Image
from mattebox.models import Segmenter
from mattebox.transforms import Transform


def _go_on() -> None: ...


class Segmenters(Protocol):
    """Where the engine gets its networks from: `models.Models`, or a fake."""

    def segmenter(self, name: str) -> Segmenter:
        """The segmenter of this name."""

    def warm(self, name: str) -> None:
        """Make the segmenter of this name ready for its first photo."""


class Generators(Protocol):
    """Where the engine gets backdrops in words from: `backdrops.Backdrops`, or a fake."""

    def warm(self) -> None:
        """Make ready for the first prompt."""

    def check(self, prompt: Prompt) -> None:
        """Refuse what `plate` would refuse, before a subject is cut out for it.

        Raises:
            MatteboxError: as in `plate`.
        """

    def plate(self, prompt: Prompt, cutout: Image, *, checkpoint: Checkpoint) -> Plate:
        """A backdrop of the cutout's size.

        Raises:
            MatteboxError: INVALID_PARAMETER about `prompt` where nothing serves it; and a generator's own failure.
        """

    def paint(self, prompt: str, *, width: int, height: int, seed: int, checkpoint: Checkpoint) -> Plate:
        """A picture for words alone, without a subject.

        Raises:
            MatteboxError: NOT_OFFERED where nothing here paints; and a generator's own failure.
        """


class Engine:
    """Cuts subjects out of photos. Safe to use from several threads; the networks are shared and warm.

    Args:
        models: the networks.
        backdrops: the generators of backdrops; without them an edit that asks for one in words is refused.
    """

    def __init__(self, models: Segmenters, backdrops: Generators | None = None) -> None:
        self.models = models
        self._backdrops = backdrops

    def warm_backdrops(self) -> None:
        """Make the backdrops ready for the first prompt.

        Raises:
            MatteboxError: a part of them is no good.
        """
        if self._backdrops is not None:
            self._backdrops.warm()

    def run(
        self,
        edit: Edit,
        photo: bytes,
        *,
        backdrop: bytes | None = None,
        limits: codec.Limits = codec.Limits(),
        checkpoint: Checkpoint = _go_on,
    ) -> Encoded:
        """Do one edit, from the photo's file to the result's file.

        Args:
            edit: what to do; where its pictures are does not matter here.
            photo: the photo's file.
            backdrop: the file of the edit's `Picture`, where it has one.
            limits: for each of the files.
            checkpoint: called between steps.

        Raises:
            MatteboxError: a file cannot be read or is over the limits, or a part that is needed is missing. What is
                wrong with the backdrop's file is blamed on `backdrop`.
        """
        prompt = edit.backdrop if isinstance(edit.backdrop, Prompt) and not edit.output.alpha_only else None
        if prompt is not None:
            self._generators().check(prompt)
        image = codec.decode(photo, limits)
        roi = None if edit.layout.roi is None else layout.region(image.width, image.height, edit.layout.roi)
        checkpoint()
        # The matte alone needs no colours.
        matte = replace(edit.matte, foreground=Foreground.KEEP) if edit.output.alpha_only else edit.matte
        cutout = self.cut_out(image, matte, within=roi, checkpoint=checkpoint)
        checkpoint()
        if prompt is not None:
            return self._stage(cutout, edit, prompt, checkpoint)
        return cutout.encode(
            arrange=edit.layout,
            shadow=edit.shadow,
            backdrop=_behind(edit, image, cutout, backdrop, limits),
            in_place=isinstance(edit.backdrop, Blur),
            output=edit.output,
        )

    def cut_out(
        self, photo: Image, matte: Matte = Matte(), *, within: Box | None = None, checkpoint: Checkpoint = _go_on
    ) -> Cutout:
        """Find the subject of a picture in memory and take the background away.

        Args:
            photo: the picture.
            matte: how.
            within: the part of the picture that the subject is looked for in; the rest is background.
            checkpoint: called between steps.
        """
        if within is not None:
            part = Image(
                rgb=photo.rgb[within.slices],
                alpha=None if photo.alpha is None else photo.alpha[within.slices],
                icc=photo.icc,
            )
            return _widened(self.cut_out(part, matte, checkpoint=checkpoint), photo, within)
        segment = self.models.segmenter(matte.model)
        seen = compositing.over(photo, WHITE).rgb  # what is behind transparent parts may be rubbish
        rough = segment(seen)
        checkpoint()
        if not matting.has_subject(rough):
            rough = np.zeros_like(rough)
        refine = refinement.refine_alpha if matte.refine else matting.stretch_alpha
        alpha = refine(seen, rough)
        if not matte.semitransparency:
            alpha = matting.make_solid(alpha)
        checkpoint()
        rgb = matting.estimate_foreground(seen, alpha, matte.foreground)
        if photo.alpha is not None:
            # Where the photo was see-through before, its colours are the foreground's already.
            rgb = np.where((photo.alpha < 1)[:, :, None], photo.rgb, rgb)
            alpha = np.minimum(alpha, photo.alpha)
            rgb[alpha < matting.CLEAR] = 0
        return Cutout(
            rgb=rgb,
            alpha=alpha,
            subject=matting.find_subject(alpha),
            confidence=matting.confidence(alpha),
            ambiguity=matting.ambiguity(alpha),
            icc=photo.icc,
        )

    def paint(self, prompt: str, *, width: int, height: int, seed: int = 0, checkpoint: Checkpoint = _go_on) -> Encoded:
        """A picture for words alone, as a PNG.

        Args:
            prompt: what is to be seen.
            width: in pixels.
            height: in pixels.
            seed: the same one paints the same picture, as far as the generator keeps to that.
            checkpoint: called between steps.

        Raises:
            MatteboxError: NOT_OFFERED where nothing here paints; and a generator's own failure.
        """
        if self._backdrops is None:
            raise MatteboxError(Kind.NOT_OFFERED, "No generator of pictures is configured here.")
        plate = self._backdrops.paint(prompt, width=width, height=height, seed=seed, checkpoint=checkpoint)
        checkpoint()
        output = Output()
        return Encoded(
            data=codec.encode(Image(rgb=plate.rgb), output),
            media_type=codec.media_type(output.format),
            width=width,
            height=height,
            served=plate.served,
        )

    def _generators(self) -> Generators:
        if self._backdrops is None:
            raise MatteboxError(Kind.NOT_OFFERED, "There is no generator of backdrops here.", parameter="prompt")
        return self._backdrops

    def _stage(self, cutout: Cutout, edit: Edit, prompt: Prompt, checkpoint: Checkpoint) -> Encoded:
        """The subject in a scene that is described in words."""
        placement = layout.plan(cutout.image.width, cutout.image.height, cutout.subject, edit.layout)
        placed = codec.in_profile(layout.place(cutout.image, placement), None)  # plates are in sRGB
        subject = None if cutout.subject is None else placement.moved(cutout.subject)
        plate = self._generators().plate(prompt, placed, checkpoint=checkpoint)
        checkpoint()
        picture = composite.stage(placed, subject, plate)
        checkpoint()
        return Encoded(
            data=codec.encode(picture, edit.output),
            media_type=codec.media_type(edit.output.format),
            width=picture.width,
            height=picture.height,
            subject=subject,
            confidence=cutout.confidence,
            ambiguity=cutout.ambiguity,
            served=plate.served,
        )


def _widened(cutout: Cutout, photo: Image, within: Box) -> Cutout:
    """The cutout of a part of a photo as one of the whole photo."""
    rgb, alpha = np.zeros_like(photo.rgb), np.zeros(photo.rgb.shape[:2], np.float32)
    rgb[within.slices], alpha[within.slices] = cutout.rgb, cutout.alpha
    subject = cutout.subject
    if subject is not None:
        subject = replace(subject, left=subject.left + within.left, top=subject.top + within.top)
    return replace(cutout, rgb=rgb, alpha=alpha, subject=subject)


def _behind(
    edit: Edit, photo: Image, cutout: Cutout, backdrop: bytes | None, limits: codec.Limits
) -> Transparent | Color | Image:
    """What the cutout is put over, in its own profile."""
    match edit.backdrop:
        case Transparent() | Color():
            return edit.backdrop
        case Picture():
            if backdrop is None:
                raise ValueError("the edit has a picture behind, and its file is not given")
            try:
                picture = codec.decode(backdrop, limits)
            except MatteboxError as error:
                raise error.about("backdrop") from error.__cause__
            return codec.in_profile(compositing.over(picture, WHITE), cutout.icc)
        case Blur(sigma):
            # Weighted with what the subject leaves: its colours do not bleed into the background.
            around = Image(rgb=compositing.over(photo, WHITE).rgb, alpha=1 - cutout.alpha, icc=photo.icc)
            return Image(rgb=transforms.apply(around, transforms.Blur(sigma=sigma)).rgb, icc=photo.icc)
        case Prompt():
            return Transparent()  # only the matte was asked for, which is the same over any backdrop
        case _:
            assert_never(edit.backdrop)


def transform(
    change: Transform | None,
    photo: bytes,
    *,
    marks: Iterable[bytes] = (),
    output: Output | None = None,
    limits: codec.Limits = codec.Limits(),
    checkpoint: Checkpoint = _go_on,
) -> Encoded:
    """A changed picture, from file to file. It takes no network.

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
    if change is not None:
        seals = _decoded(marks, limits, checkpoint)
        image = transforms.apply(image, change, marks=seals, max_pixels=limits.max_pixels)
        checkpoint()
    chosen = output or Output(format=codec.kept_format(photo) or Format.PNG)
    return Encoded(
        data=codec.encode(image, chosen),
        media_type=codec.media_type(chosen.format),
        width=image.width,
        height=image.height,
    )


def _decoded(files: Iterable[bytes], limits: codec.Limits, checkpoint: Checkpoint) -> Iterator[Image]:
    """The pictures one by one, so that no more than one is in memory."""
    for each in files:
        checkpoint()
        yield codec.decode(each, limits)


def keep(photo: bytes, *, limits: codec.Limits = codec.Limits()) -> Encoded:
    """A picture's file as it can be kept and shown: itself where it is a whole JPEG, PNG or WebP, and else a PNG of it.

    The width and height are those of the picture as it is seen, after the turn that its EXIF asks for.

    Raises:
        MatteboxError: it cannot be read or is over the limits.
    """
    own = codec.kept_format(photo)
    if own is None:
        return transform(None, photo, limits=limits)
    image = codec.decode(photo, limits)
    return Encoded(data=photo, media_type=codec.media_type(own), width=image.width, height=image.height)

"""The steps of an edit, from the photo to the finished picture. `pipeline` says in which order they are done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeAlias, assert_never

import numpy as np
import numpy.typing as npt

from mattebox import codec, compositing, corrections, layout, matting, refinement, shadows, transforms
from mattebox.backdrops import composite
from mattebox.backdrops.plate import Plate, PlateMaker
from mattebox.cancellation import Checkpoint, cancellable, go_on
from mattebox.edit import WHITE, Blur, Color, Edit, Gradient, Length, Margin, Picture, Prompt, Transparent
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Box, Image, Served
from mattebox.layout import Placement
from mattebox.models import EnsembleSegmenter, Promptable, Segmenter
from mattebox.models.promptable import Embedding
from mattebox.stages import Stage, stage


class Segmenters(Protocol):
    """The networks by name: `models.Models`, or a fake."""

    def segmenter(self, name: str) -> Segmenter:
        """The segmenter of this name."""

    def warm(self, name: str) -> None:
        """Make the segmenter of this name ready for its first photo."""

    def promptable(self) -> Promptable | None:
        """The network that points and a box ask, if there is one here."""


class Generators(Protocol):
    """The makers of backdrops from words: `backdrops.Backdrops`, or a fake."""

    def warm(self) -> None:
        """Make ready for the first prompt."""

    def choose(self, prompt: Prompt) -> PlateMaker:
        """Match the prompt, before a subject is cut out for it. The result makes the backdrop for a cutout.

        Raises:
            MatteboxError: INVALID_PARAMETER about `prompt` where nothing matches it; NOT_OFFERED or UNAVAILABLE where
                what was asked for cannot be used here.
        """

    def paint(self, prompt: str, *, width: int, height: int, seed: int, checkpoint: Checkpoint) -> Plate:
        """A picture from words alone, without a subject.

        Raises:
            MatteboxError: NOT_OFFERED where no generator here paints; and a generator's own failure.
        """


Rough: TypeAlias = tuple[Alpha, float]
"""The word of a network on a picture: the rough alpha, and how far it is borne out (`Work.support`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The word of the networks on a picture: its rough matte, and what the promptable one saw in it."""

    rough: Rough | None = None
    embedding: Embedding | None = None

    @property
    def arrays(self) -> tuple[npt.NDArray[np.float32], ...]:
        """All that takes memory."""
        return (*(() if self.rough is None else self.rough[:1]), *(self.embedding or ()))


Recall: TypeAlias = Callable[[str, RGB], tuple[Kept | None, Callable[[Kept], None]]]
"""The word of the networks, with this model, on the same pixels from before, if that is kept, and what keeps it."""


def recall_nothing(model: str, seen: RGB) -> tuple[None, Callable[[Kept], None]]:  # noqa: ARG001 - as `Recall` has it
    """The memory that keeps nothing."""
    return None, lambda _: None


def fingerprint(seen: RGB) -> tuple[tuple[int, ...], bytes]:
    """The shape of a picture and the digest of its pixels: what networks say depends on nothing else."""
    return seen.shape, hashlib.sha256(np.ascontiguousarray(seen).data).digest()


@dataclass(slots=True, kw_only=True, eq=False)
class Work:
    """One edit on its way through the steps.

    A step reads what earlier ones have left here and adds its own part. The parts without a default are missing until
    then. Whole pictures are deleted as soon as no later step needs them.

    Attributes:
        behind: the picture for a backdrop that is a `Picture`; of the photo's size where it is `in_place`.
        in_place: `behind` belongs to the subject's own place in the photo, and is arranged as the subject is.
        region: the part of the photo that the subject is looked for in, without a clear frame round it.
        is_cutout: the photo's own alpha shows that it is cut out already.
        seen: the colours of that part, without what may be hidden where the photo is clear.
        kept: what the networks said of these, before or now.
        keep: keeps that.
        promptable: the network that points and a box ask, where they do and it is here.
        rough: its alpha as the network gives it.
        chosen_by: what told the objects apart where points or a box chose among them: `network`, the promptable
            one, or `parts`, the connected parts of the matte.
        support: how far the networks bear it out, in [0, 1].
        rgb: the subject's own colours.
        alpha: the matte; like `rgb` of the region, and from `measure` on of the whole photo.
        icc: the colour profile of `rgb`.
        subject: the box round the subject in the photo; None where none was found.
        picture: the result so far, from `lay_out` on.
        is_cut_below: the photo's lower edge cuts the subject off.
        backdrop: what the picture is put over.
    """

    edit: Edit
    checkpoint: Checkpoint = go_on
    generators: Generators | None = None
    recall: Recall = recall_nothing
    behind: Image | None = None
    in_place: bool = False
    served: Served | None = None
    support: float = 1.0
    chosen_by: str | None = None
    models: Segmenters = field(init=False)
    make_plate: PlateMaker = field(init=False)
    photo: Image = field(init=False)
    region: Box = field(init=False)
    is_cutout: bool = field(init=False)
    seen: RGB = field(init=False)
    kept: Kept = Kept()
    keep: Callable[[Kept], None] = lambda _: None
    promptable: Promptable | None = None
    rough: Alpha = field(init=False)
    rgb: RGB = field(init=False)
    alpha: Alpha = field(init=False)
    icc: bytes | None = field(init=False)
    subject: Box | None = field(init=False)
    confidence: float = field(init=False)
    ambiguity: float = field(init=False)
    placement: Placement = field(init=False)
    is_cut_below: bool = field(init=False)
    picture: Image = field(init=False)
    backdrop: Color | Image | Plate | None = field(init=False)


def match_prompt(work: Work) -> None:
    """Choose what shows the prompt, or refuse it, before anything else is done."""
    if isinstance(work.edit.backdrop, Prompt):
        if work.generators is None:
            raise MatteboxError(Kind.NOT_OFFERED, "Backdrops from prompts are not available here.", parameter="prompt")
        work.make_plate = work.generators.choose(work.edit.backdrop)


def look(work: Work) -> None:
    """Look at the region of interest, and at what the photo's own alpha says: is it a matte, or a photo's frame?"""
    photo, roi = work.photo, work.edit.layout.roi
    work.region = Box(0, 0, photo.width, photo.height)
    if roi is not None:
        work.region = layout.region(photo.width, photo.height, roi)
    framed = work.region if photo.alpha is None else matting.framed_photo(photo.alpha)
    work.is_cutout = framed is None
    if framed is not None:
        work.region = work.region.overlap(framed) or work.region
    part = _part(photo, work.region)
    work.seen = part.rgb if work.is_cutout else compositing.filled(part)
    work.icc = photo.icc
    if not work.is_cutout:
        found, work.keep = work.recall(work.edit.matte.model, work.seen)
        work.kept = found or work.kept


def segment(work: Work) -> None:
    """Let the network say roughly where the subject is. Of a cutout all is subject, whatever a network would see."""
    segmenter = work.models.segmenter(work.edit.matte.model)  # an unknown name is refused in any case
    if work.is_cutout:
        work.rough = np.ones(work.seen.shape[:2], np.float32)
    elif work.kept.rough is not None:
        work.rough, work.support = work.kept.rough
    else:
        with stage(Stage.SEGMENT), cancellable(work.checkpoint):
            if isinstance(segmenter, EnsembleSegmenter):
                work.rough, work.support = segmenter.look(work.seen)
            else:
                work.rough = segmenter(work.seen)
        work.kept = replace(work.kept, rough=(work.rough, work.support))
        work.keep(work.kept)


def embed(work: Work) -> None:
    """Let the promptable network see the photo, where points or a box will ask it. Of a cutout it knows no more."""
    if not work.edit.matte.corrections.choose or work.is_cutout:
        return
    work.promptable = work.models.promptable()
    if work.promptable is not None and work.kept.embedding is None:
        with stage(Stage.EMBED):
            work.kept = replace(work.kept, embedding=work.promptable.embed(work.seen))
        work.keep(work.kept)


def judge(work: Work) -> None:
    """Decide whether there is a subject at all.

    In a photo that is clear in part there always is: nobody knows whether a white square is a wall or a cut-out card.
    """
    if not matting.has_subject(work.rough):
        alpha = work.photo.alpha
        is_opaque = alpha is None or float(alpha.min()) >= matting.CLEAR
        work.rough = np.full_like(work.rough, 0 if is_opaque else 1)
        work.support = 0.0


def refine(work: Work) -> None:
    """Bring the matte to the photo's own resolution."""
    refined = refinement.refine_alpha if work.edit.matte.refine else matting.stretch_alpha
    work.alpha = refined(work.seen, work.rough)
    del work.rough


def make_solid(work: Work) -> None:
    """Make glass and windows opaque, if asked to."""
    if not work.edit.matte.semitransparency:
        work.alpha = matting.make_solid(work.alpha)


def correct(work: Work) -> None:
    """Do what people say about the matte: first which of its objects are meant, then the strokes of their brush."""
    wanted, size = work.edit.matte.corrections, (work.photo.width, work.photo.height)
    if work.promptable is not None and work.kept.embedding is not None:
        ask = partial(work.promptable.ask, work.kept.embedding)
        corrections.choose_objects(
            work.seen, work.alpha, wanted, ask, size=size, region=work.region, checkpoint=work.checkpoint
        )
        work.chosen_by = "network"
    elif wanted.choose:
        corrections.choose_parts(work.alpha, wanted, size, work.region)
        work.chosen_by = "parts"
    corrections.paint(work.alpha, wanted.strokes, size, work.region, work.checkpoint)


def estimate_foreground(work: Work) -> None:
    """Take the old background's colour out of the edges."""
    work.rgb = matting.estimate_foreground(work.seen, work.alpha, work.edit.matte.foreground)
    del work.seen


def keep_transparency(work: Work) -> None:
    """Lay the matte over the photo's own alpha: nowhere does the photo become more opaque than it was."""
    alpha = _part(work.photo, work.region).alpha
    if alpha is not None:
        work.alpha *= alpha
        matting.clear_hidden(work.rgb, work.alpha)


def measure(work: Work) -> None:
    """Find the subject's box and how decided the matte is; all outside of the region becomes background."""
    work.subject = matting.find_subject(work.alpha)
    work.confidence = matting.confidence(work.alpha, work.support)
    work.ambiguity = matting.ambiguity(work.alpha)
    whole, region = work.photo.rgb, work.region
    if work.rgb.shape != whole.shape:
        rgb, alpha = np.zeros_like(whole), np.zeros(whole.shape[:2], np.float32)
        rgb[region.slices], alpha[region.slices] = work.rgb, work.alpha
        work.rgb, work.alpha = rgb, alpha
        if work.subject is not None:
            left, top = work.subject.left + region.left, work.subject.top + region.top
            work.subject = replace(work.subject, left=left, top=top)


def blur_background(work: Work) -> None:
    """Keep the photo's own background, blurred, if asked to. Then the photo itself is no longer needed."""
    if isinstance(work.edit.backdrop, Blur):
        # Weighted with what the subject leaves, so that its colours do not bleed into the background.
        around = Image(rgb=compositing.over(work.photo, WHITE).rgb, alpha=1 - work.alpha)
        blurred = transforms.apply(around, transforms.Blur(sigma=work.edit.backdrop.sigma))
        work.behind, work.in_place = Image(rgb=blurred.rgb, icc=work.icc), True
    del work.photo


def lay_out(work: Work) -> None:
    """Crop, scale and place the subject on its canvas."""
    cutout, subject = Image(rgb=work.rgb, alpha=work.alpha, icc=work.icc), work.subject
    room = Margin()
    work.is_cut_below = subject is not None and subject.bottom >= cutout.height
    if work.edit.shadow is not None and subject is not None:
        # A crop leaves room for the shadow. Where the photo ends it leaves none: the cut would float in the picture.
        room = shadows.room(subject, work.edit.shadow)
        room = Margin(
            top=room.top if subject.top > 0 else Length(0),
            right=room.right if subject.right < cutout.width else Length(0),
            bottom=Length(0) if work.is_cut_below else room.bottom,
            left=room.left if subject.left > 0 else Length(0),
        )
    work.placement = layout.plan(cutout.width, cutout.height, subject, work.edit.layout, room=room)
    work.picture = layout.place(cutout, work.placement)
    work.subject = None if subject is None else work.placement.moved(subject)
    del work.rgb, work.alpha


def cast_shadow(work: Work) -> None:
    """Lay the shadow under the subject."""
    if work.edit.shadow is not None:
        work.picture = shadows.cast(work.picture, work.edit.shadow, cut=work.is_cut_below)


def choose_backdrop(work: Work) -> None:
    """Prepare what goes behind, at the picture's size and in its colour profile."""
    picture, backdrop = work.picture, work.edit.backdrop
    match backdrop:
        case Transparent():
            work.backdrop = None
        case Color():
            work.backdrop = codec.color_in_profile(backdrop, picture.icc)
        case Gradient():
            drawn = compositing.gradient(backdrop, picture.width, picture.height)
            work.backdrop = codec.in_profile(drawn, picture.icc)
        case Picture() | Blur():
            if work.behind is None:
                raise ValueError("the edit has a picture as its backdrop, and none was given")
            behind = codec.in_profile(compositing.over(work.behind, WHITE), picture.icc)
            work.behind = None
            if work.in_place:
                work.backdrop = layout.surround(behind, work.placement)
            else:
                work.backdrop = layout.cover(behind, picture.width, picture.height)
        case Prompt():
            work.picture = codec.in_profile(picture, None)  # plates are in sRGB
            work.backdrop = work.make_plate(work.picture, work.checkpoint)
        case _:
            assert_never(backdrop)


def compose(work: Work) -> None:
    """Put the subject over its backdrop. A scene also changes its place, light and focus."""
    match work.backdrop:
        case None:
            pass
        case Plate():
            work.picture = composite.stage(work.picture, work.subject, work.backdrop)
            work.served = work.backdrop.served
        case _:
            work.picture = compositing.over(work.picture, work.backdrop)
    del work.backdrop


def _part(photo: Image, part: Box) -> Image:
    """A view of a part of a photo."""
    alpha = None if photo.alpha is None else photo.alpha[part.slices]
    return Image(rgb=photo.rgb[part.slices], alpha=alpha, icc=photo.icc)

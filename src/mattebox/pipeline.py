"""The recipe: how a photo becomes a cutout, and a cutout becomes a picture. All of it happens in memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeAlias

from mattebox import codec, steps
from mattebox.cancellation import Checkpoint, go_on
from mattebox.edit import Edit, Foreground, Output, Prompt, Transparent
from mattebox.image import Box, Encoded, Image, Served
from mattebox.stages import Stage, stage
from mattebox.steps import Generators, Recall, Segmenters, Work, recall_nothing

Step: TypeAlias = tuple[Stage | None, Callable[[Work], None]]
"""A stage, and a step of it; None is the stage of a step that enters its own, where it runs a network."""
Recipe: TypeAlias = tuple[Step, ...]
"""Steps in their order. Those of one stage stand side by side."""

CUT_OUT: Recipe = (
    (Stage.LOOK, steps.look),
    (None, steps.segment),
    (None, steps.embed),
    (Stage.REFINE, steps.judge),
    (Stage.REFINE, steps.refine),
    (Stage.REFINE, steps.make_solid),
    (Stage.REFINE, steps.correct),
    (Stage.FOREGROUND, steps.estimate_foreground),
    (Stage.FOREGROUND, steps.keep_transparency),
    (Stage.FOREGROUND, steps.measure),
)
COMPOSE: Recipe = (
    (Stage.LAYOUT, steps.lay_out),
    (Stage.LAYOUT, steps.cast_shadow),
    (Stage.BACKDROP, steps.choose_backdrop),
    (Stage.COMPOSE, steps.compose),
)
RECIPE: Recipe = (
    (Stage.MATCH, steps.match_prompt),
    *CUT_OUT,
    (Stage.LAYOUT, steps.blur_background),
    *COMPOSE,
)


@dataclass(slots=True, kw_only=True, eq=False)
class Result:
    """A finished picture in memory, and what is known about it. The attributes are explained at `image.Encoded`."""

    picture: Image
    subject: Box | None = None
    confidence: float | None = None
    ambiguity: float | None = None
    chosen_by: str | None = None
    served: Served | None = None
    largest: tuple[int, int] | None = None

    def into_file(self, output: Output) -> Encoded:
        """The same as a file. It has no `picture` any more then: an encoder may need the room.

        Raises:
            MatteboxError: INVALID_PARAMETER where the format cannot hold such a picture.
        """
        width, height = self.picture.width, self.picture.height
        with stage(Stage.ENCODE):
            write = codec.writer(self.picture, output)
            del self.picture
            data = write()
        return Encoded(
            data=data,
            media_type=codec.media_type(output.format),
            width=width,
            height=height,
            subject=self.subject,
            confidence=self.confidence,
            ambiguity=self.ambiguity,
            chosen_by=self.chosen_by,
            served=self.served,
            largest=self.largest,
        )


def run(
    edit: Edit,
    photo: Image,
    *,
    behind: Image | None = None,
    models: Segmenters,
    generators: Generators | None = None,
    recall: Recall = recall_nothing,
    checkpoint: Checkpoint = go_on,
) -> Result:
    """Do one edit on a picture in memory.

    Args:
        edit: what to do.
        photo: the picture.
        behind: the other picture, where the edit's backdrop is a `Picture`.
        models: the networks.
        generators: what makes backdrops from prompts, if there is anything.
        recall: what the networks said before.
        checkpoint: called before each step.

    Raises:
        MatteboxError: `edit` does not fit the photo, or a part that is needed is missing.
    """
    work = Work(edit=edit, behind=behind, generators=generators, recall=recall, checkpoint=checkpoint)
    work.models, work.photo = models, photo
    del photo, behind  # `work` decides how long they are needed
    return composed(work, RECIPE)


def composed(work: Work, recipe: Recipe = COMPOSE) -> Result:
    """The result of the steps, the last of which is `compose`."""
    work.edit = _essence(work.edit)
    perform(recipe, work)
    return Result(
        picture=work.picture,
        subject=work.subject,
        confidence=work.confidence,
        ambiguity=work.ambiguity,
        chosen_by=work.chosen_by,
        served=work.served,
        largest=work.placement.largest,
    )


def perform(recipe: Recipe, work: Work) -> None:
    """Do the steps in their order, with a checkpoint before each."""
    for each, group in groupby(recipe, key=lambda step: step[0]):
        with nullcontext() if each is None else stage(each):
            for _, step in group:
                work.checkpoint()
                step(work)


def _essence(edit: Edit) -> Edit:
    """The edit without the parts that do not show in its result."""
    if edit.output.alpha_only:  # the matte is the same over any backdrop, and only keeps its shadow's room
        shadow = None if edit.shadow is None else replace(edit.shadow, opacity=0)
        matte = replace(edit.matte, foreground=Foreground.KEEP)
        return replace(edit, backdrop=Transparent(), shadow=shadow, matte=matte)
    if isinstance(edit.backdrop, Prompt):  # its shadow is that of the scene's light
        return replace(edit, shadow=None)
    return edit

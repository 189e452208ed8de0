"""The engine: networks and generators of backdrops, kept warm, and what they can do with a photo."""

from __future__ import annotations

from collections.abc import Callable

from mattebox import codec, pipeline
from mattebox.cancellation import Checkpoint, go_on
from mattebox.cutout import Cutout
from mattebox.edit import Edit, Matte, Output
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Encoded, Image
from mattebox.pipeline import Result
from mattebox.stages import Stage, stage
from mattebox.steps import Generators, Kept, Recall, Segmenters, Work, fingerprint, recall_nothing


class Engine:
    """Cuts subjects out of photos. Safe to use from several threads, which share the networks.

    Args:
        models: the networks.
        backdrops: the generators of backdrops; without them an edit with a prompt is refused.

    Raises:
        TypeError: one of them is neither.
    """

    def __init__(self, models: Segmenters, backdrops: Generators | None = None) -> None:
        for name, given, method in (("models", models, "segmenter"), ("backdrops", backdrops, "choose")):
            if not callable(getattr(given, method, None)) and (given is not None or name == "models"):
                raise TypeError(f"{name} must have a method {method}(), and {type(given).__name__} has none")
        self.models = models
        self.backdrops = backdrops
        self._last: tuple[object, Kept] | None = None

    def recall(self, matte: Matte) -> Recall:
        """The memory for an edit without one of its own: the last picture that was clicked on, and no other.

        Whoever clicks once clicks again, and the network's look at the picture takes seconds.
        """
        return self._recall_last if matte.corrections.choose else recall_nothing

    def _recall_last(self, model: str, seen: RGB) -> tuple[Kept | None, Callable[[Kept], None]]:
        key, last = (model, *fingerprint(seen)), self._last

        def keep(kept: Kept) -> None:
            if kept.embedding is not None:
                self._last = key, kept

        return (last[1] if last is not None and last[0] == key else None), keep

    def warm_backdrops(self) -> None:
        """Make the backdrops ready for the first prompt.

        Raises:
            MatteboxError: a part of them is damaged.
        """
        if self.backdrops is not None:
            self.backdrops.warm()

    def run_file(
        self,
        edit: Edit,
        photo: bytes,
        *,
        backdrop: bytes | None = None,
        limits: codec.Limits = codec.Limits(),
        recall: Recall | None = None,
        checkpoint: Checkpoint = go_on,
    ) -> Encoded:
        """Do one edit, from the photo's file to the result's file.

        Args:
            edit: what to do.
            photo: the photo's file.
            backdrop: the file of the picture behind, where the edit's backdrop is a `Picture`.
            limits: for each of the files.
            recall: what the networks said before; by default that of `Engine.recall`.
            checkpoint: called between steps.

        Raises:
            MatteboxError: a file cannot be read or is over the limits, or whatever `pipeline.run` raises. An error in
                the file of the picture behind is about `backdrop`.
        """
        result = pipeline.run(
            edit,
            codec.decode(photo, limits),
            behind=None if backdrop is None else _decode_backdrop(backdrop, limits),
            models=self.models,
            generators=self.backdrops,
            recall=recall or self.recall(edit.matte),
            checkpoint=checkpoint,
        )
        checkpoint()
        return result.into_file(edit.output)

    def cut_out(self, photo: Image, matte: Matte = Matte(), *, checkpoint: Checkpoint = go_on) -> Cutout:
        """Find the subject of a picture in memory and take the background away.

        Args:
            photo: the picture.
            matte: how.
            checkpoint: called between steps.

        Raises:
            MatteboxError: the model or its weights are missing, or the method's package is.
        """
        work = Work(edit=Edit(matte=matte), recall=self.recall(matte), checkpoint=checkpoint)
        work.models, work.photo = self.models, photo
        pipeline.perform(pipeline.CUT_OUT, work)
        return Cutout(
            rgb=work.rgb,
            alpha=work.alpha,
            subject=work.subject,
            confidence=work.confidence,
            ambiguity=work.ambiguity,
            icc=work.icc,
            chosen_by=work.chosen_by,
        )

    def paint(self, prompt: str, *, width: int, height: int, seed: int = 0, checkpoint: Checkpoint = go_on) -> Encoded:
        """A picture from words alone, as a PNG.

        Args:
            prompt: what the picture shows.
            width: in pixels.
            height: in pixels.
            seed: the same one paints the same picture, as far as the generator keeps to that.
            checkpoint: called between steps.

        Raises:
            MatteboxError: NOT_OFFERED where no generator here paints; and a generator's own failure.
        """
        if self.backdrops is None:
            raise MatteboxError(Kind.NOT_OFFERED, "No image generator is configured here.")
        with stage(Stage.BACKDROP):
            plate = self.backdrops.paint(prompt, width=width, height=height, seed=seed, checkpoint=checkpoint)
        checkpoint()
        return Result(picture=Image(rgb=plate.rgb), served=plate.served).into_file(Output())


def _decode_backdrop(backdrop: bytes, limits: codec.Limits) -> Image:
    try:
        return codec.decode(backdrop, limits)
    except MatteboxError as error:
        raise error.about("backdrop") from error.__cause__

"""The recipe: how a photo becomes a cutout and a cutout becomes a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from mattebox import codec, compositing, matting, refinement
from mattebox.cutout import Cutout
from mattebox.edit import WHITE, Edit, Foreground, Matte
from mattebox.image import Encoded, Image
from mattebox.models import Segmenter

Checkpoint = Callable[[], None]
"""Called between steps; raises when the work should stop. The engine knows neither deadlines nor clients."""


def _go_on() -> None: ...


class Segmenters(Protocol):
    """Where the engine gets its networks from: `models.Models`, or a fake."""

    def segmenter(self, name: str) -> Segmenter:
        """The segmenter of this name."""

    def warm(self, name: str) -> None:
        """Make the segmenter of this name ready for its first photo."""


class Engine:
    """Cuts subjects out of photos. Safe to use from several threads; the networks are shared and warm."""

    def __init__(self, models: Segmenters) -> None:
        self.models = models

    def run(
        self, edit: Edit, photo: bytes, *, limits: codec.Limits = codec.Limits(), checkpoint: Checkpoint = _go_on
    ) -> Encoded:
        """Do one edit, from the photo's file to the result's file.

        Raises:
            MatteboxError: the photo cannot be read or is over the limits, or a part that is needed is missing.
        """
        image = codec.decode(photo, limits)
        checkpoint()
        # The matte alone needs no colours.
        matte = replace(edit.matte, foreground=Foreground.KEEP) if edit.output.alpha_only else edit.matte
        cutout = self.cut_out(image, matte, checkpoint=checkpoint)
        checkpoint()
        return cutout.encode(arrange=edit.layout, backdrop=edit.backdrop, output=edit.output)

    def cut_out(self, photo: Image, matte: Matte = Matte(), *, checkpoint: Checkpoint = _go_on) -> Cutout:
        """Find the subject of a picture in memory and take the background away."""
        segment = self.models.segmenter(matte.model)
        seen = compositing.over(photo, WHITE).rgb  # what is behind transparent parts may be rubbish
        rough = segment(seen)
        checkpoint()
        if not matting.has_subject(rough):
            rough = np.zeros_like(rough)
        refine = refinement.refine_alpha if matte.refine else matting.stretch_alpha
        alpha = refine(seen, rough)
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

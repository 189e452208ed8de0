"""The protocol of generators of backdrops."""

from __future__ import annotations

from typing import Protocol

from mattebox.backdrops.plate import Plate
from mattebox.cancellation import Checkpoint
from mattebox.image import Image


class Generator(Protocol):
    """Paints a backdrop from words. Synchronous, and safe to call from several threads."""

    def plate(
        self, prompt: str, cutout: Image | None, *, width: int, height: int, seed: int, checkpoint: Checkpoint
    ) -> Plate:
        """A backdrop of this size; the same seed gives the same one.

        Args:
            prompt: what to paint; may be empty.
            cutout: the subject on a canvas of this size, to paint around; None paints the scene alone.
            width: in pixels.
            height: in pixels.
            seed: any whole number.
            checkpoint: called now and then; where it raises, the work is given up.

        Raises:
            MatteboxError: the generator's failure, in a public sentence.
        """

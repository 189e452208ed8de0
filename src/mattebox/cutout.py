"""What mattebox is for: a subject, cut out, and what can be done with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import numpy as np
import numpy.typing as npt

from mattebox import codec, compositing, files, layout
from mattebox.edit import Backdrop, Color, Layout, Output, Transparent
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Box, Encoded, Image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cutout:
    """The subject of a photo: its own colours and its alpha matte, at the photo's size.

    Attributes:
        rgb: the subject's colours, uint8 (height, width, 3), straight; zero where alpha is 0.
        alpha: the matte, float32 (height, width) in [0, 1]; zero everywhere where no subject was found.
        subject: the box round the subject; None where no subject was found.
        confidence: how decided the matte is, in [0, 1]; a heuristic (`matting.confidence`).
        ambiguity: the fraction of pixels with an alpha between 0.1 and 0.9.
        icc: the ICC profile of `rgb`; None means sRGB.
    """

    rgb: RGB
    alpha: Alpha
    subject: Box | None
    confidence: float
    ambiguity: float
    icc: bytes | None = None

    @property
    def found(self) -> bool:
        """Whether there is a subject at all."""
        return self.subject is not None

    @property
    def image(self) -> Image:
        """The same pixels as a picture with alpha."""
        return Image(rgb=self.rgb, alpha=self.alpha, icc=self.icc)

    def to_pil(self) -> PILImage:
        """The cutout as a Pillow picture of mode RGBA, straight alpha."""
        return codec.to_pil(self.image)

    def to_array(self) -> npt.NDArray[np.uint8]:
        """The cutout as uint8 (height, width, 4), straight alpha."""
        return np.dstack([self.rgb, np.rint(self.alpha * 255).astype(np.uint8)])

    def encode(
        self, *, arrange: Layout = Layout(), backdrop: Backdrop = Transparent(), output: Output = Output()
    ) -> Encoded:
        """Arrange the cutout, put it over a backdrop and write it in a file format.

        Raises:
            MatteboxError: INVALID_PARAMETER, when the format cannot hold such a picture.
        """
        placement = layout.plan(self.image.width, self.image.height, self.subject, arrange)
        picture = layout.place(self.image, placement)
        match backdrop:
            case Transparent():
                pass
            case Color():
                if not output.alpha_only:  # the matte is the same over any colour
                    picture = compositing.over(picture, codec.color_in_profile(backdrop, picture.icc))
            case _:
                assert_never(backdrop)
        return Encoded(
            data=codec.encode(picture, output),
            media_type=codec.media_type(output.format),
            width=picture.width,
            height=picture.height,
            subject=None if self.subject is None else placement.moved(self.subject),
            confidence=self.confidence,
            ambiguity=self.ambiguity,
        )

    def save(self, path: str | Path, *, backdrop: Backdrop = Transparent(), quality: int | None = None) -> None:
        """Write the cutout to a file; the name's ending says the format: png, webp, jpg, avif or zip.

        The file appears whole or not at all.

        Raises:
            MatteboxError: INVALID_PARAMETER, when the ending names no format that can be written; CONFLICT, when the
                file cannot be written there.
        """
        target = Path(path)
        named = codec.format_named(target.suffix)
        if named is None:
            raise MatteboxError(
                Kind.INVALID_PARAMETER,
                f"The ending {target.suffix or 'of a name without one'} is no format that can be written; "
                "use .png, .webp, .jpg, .avif or .zip.",
                parameter="path",
            )
        output = Output(format=named, quality=quality)
        files.write(target, self.encode(backdrop=backdrop, output=output).data)

"""The results of the library: `Cutout`, a subject without its background, and `Replaced`, one on another."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mattebox import arguments, codec, files, pipeline
from mattebox.edit import Color, Edit, Gradient, Layout, Output, Picture, Shadow, Transparent
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Box, Encoded, Image, Served
from mattebox.steps import Work

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cutout:
    """The subject of a photo: its own colours and its alpha matte, at the photo's size.

    Attributes:
        rgb: the subject's colours, uint8 (height, width, 3), straight; zero where alpha is 0.
        alpha: the matte, float32 (height, width) in [0, 1]; zero everywhere where no subject was found.
        subject: the box round the subject; None where no subject was found.
        confidence: how likely the matte is a good one, in [0, 1] (`matting.confidence`); 0 where no subject was found.
        ambiguity: the fraction of pixels with an alpha between 0.1 and 0.9.
        icc: the ICC profile of `rgb`; None means sRGB.
        chosen_by: what told the objects of the photo apart where corrections chose among them: `network`, the network
            for clicks, or `parts`, the connected parts of the matte.
    """

    rgb: RGB
    alpha: Alpha
    subject: Box | None
    confidence: float
    ambiguity: float
    icc: bytes | None = None
    chosen_by: str | None = None

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
        self,
        *,
        arrange: Layout = Layout(),
        shadow: Shadow | None = None,
        backdrop: Transparent | Color | Gradient | Image = Transparent(),
        in_place: bool = False,
        output: Output = Output(),
    ) -> Encoded:
        """Arrange the cutout, give it a shadow, put it over a backdrop and write it in a file format.

        A crop leaves room for the shadow, except where the photo itself cuts the subject off. The matte alone
        (`output.alpha_only`) is the subject's, without its shadow.

        Args:
            arrange: where the subject goes and how large the result is.
            shadow: the shadow under it, if any.
            backdrop: what goes behind: a colour or a gradient in sRGB, or a picture, which fills the canvas and is cut
                where it does not fit. A picture is converted from its own colour profile to the cutout's.
            in_place: the backdrop is a picture of the photo's size and belongs to the subject's own place in it (the
                photo's background, blurred), so that it is arranged as the subject is.
            output: the format.

        Raises:
            MatteboxError: INVALID_PARAMETER, when the format cannot hold such a picture, the result would be too
                large, or an argument is of a wrong type.
        """
        arguments.instance(arrange, "arrange", Layout)
        arguments.instance(output, "output", Output)
        if shadow is not None:
            arguments.instance(shadow, "shadow", Shadow)
        in_place = arguments.flag(in_place, "in_place")
        if isinstance(backdrop, Image):
            arguments.in_range(backdrop, "backdrop")
            if in_place and backdrop.rgb.shape != self.rgb.shape:
                raise MatteboxError(
                    Kind.INVALID_PARAMETER,
                    f"A backdrop in place must be {self.image.width} × {self.image.height} pixels, as the photo is.",
                    parameter="backdrop",
                )
        elif not isinstance(backdrop, Transparent | Gradient):
            arguments.instance(backdrop, "backdrop", Color)
        behind = backdrop if isinstance(backdrop, Image) else None
        chosen = Picture() if isinstance(backdrop, Image) else backdrop
        edit = Edit(backdrop=chosen, shadow=shadow, layout=arrange, output=output)
        work = Work(edit=edit, behind=behind, in_place=in_place)
        work.rgb, work.alpha, work.icc = self.rgb, self.alpha, self.icc
        work.subject, work.confidence, work.ambiguity = self.subject, self.confidence, self.ambiguity
        return pipeline.composed(work).into_file(output)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        arrange: Layout = Layout(),
        shadow: Shadow | None = None,
        backdrop: Transparent | Color | Gradient | Image = Transparent(),
        quality: int | None = None,
    ) -> None:
        """Write the cutout to a file; the name's ending chooses the format: png, webp, jpg, avif or zip.

        The file appears whole or not at all. `arrange`, `shadow` and `backdrop` are those of `encode`.

        Raises:
            MatteboxError: INVALID_PARAMETER, when no such format can be written, an argument is wrong, or the result
                would be too large; CONFLICT, when the file cannot be written there.
        """
        target = arguments.path(path, "path")
        output = _output(target, quality)
        files.write(target, self.encode(arrange=arrange, shadow=shadow, backdrop=backdrop, output=output).data)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replaced:
    """A photo's subject on another background.

    Attributes:
        image: the finished picture; with alpha only if the colour behind is not opaque.
        subject: where the subject lies in it; None where no subject was found, and only the backdrop is seen.
        served: where the backdrop came from, if a prompt asked for it.
        chosen_by: as in `Cutout`.
    """

    image: Image
    subject: Box | None
    served: Served | None = None
    chosen_by: str | None = None

    @property
    def found(self) -> bool:
        """Whether there is a subject at all."""
        return self.subject is not None

    def to_pil(self) -> PILImage:
        """The picture for Pillow, of mode RGB, or RGBA with straight alpha."""
        return codec.to_pil(self.image)

    def to_array(self) -> npt.NDArray[np.uint8]:
        """The picture as uint8 (height, width, 3), or (height, width, 4) with straight alpha."""
        if self.image.alpha is None:
            return self.image.rgb
        return np.dstack([self.image.rgb, np.rint(self.image.alpha * 255).astype(np.uint8)])

    def save(self, path: str | os.PathLike[str], *, quality: int | None = None) -> None:
        """Write the picture to a file; the name's ending chooses the format: png, webp, jpg, avif or zip.

        The file appears whole or not at all.

        Raises:
            MatteboxError: INVALID_PARAMETER, when no such format can be written or an argument is wrong; CONFLICT, when
                the file cannot be written there.
        """
        target = arguments.path(path, "path")
        files.write(target, codec.encode(self.image, _output(target, quality)))


def _output(target: Path, quality: int | None) -> Output:
    """The format that a file's name asks for."""
    named = codec.format_named(target.suffix)
    if named is None:
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            f"{target.name} does not end in the name of a format. Use .png, .webp, .jpg, .avif or .zip.",
            parameter="path",
        )
    return Output(
        format=named, quality=None if quality is None else arguments.whole(quality, "quality", least=1, most=100)
    )

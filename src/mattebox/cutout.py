"""What mattebox is for: a subject, cut out, and what can be done with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import numpy as np
import numpy.typing as npt

from mattebox import codec, compositing, files, layout, shadows
from mattebox.edit import Color, Layout, Length, Margin, Output, Shadow, Transparent
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Box, Encoded, Image, Served

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
        self,
        *,
        arrange: Layout = Layout(),
        shadow: Shadow | None = None,
        backdrop: Transparent | Color | Image = Transparent(),
        in_place: bool = False,
        output: Output = Output(),
    ) -> Encoded:
        """Arrange the cutout, give it a shadow, put it over a backdrop and write it in a file format.

        A crop leaves room for the shadow, except where the photo itself cuts the subject off. The matte alone
        (`output.alpha_only`) is the subject's, without its shadow.

        Args:
            arrange: where the subject goes and how large the result is.
            shadow: what it throws, if anything.
            backdrop: what is behind: a colour in sRGB, or a picture in the cutout's own profile, which fills the canvas
                and is cut where it does not fit.
            in_place: the backdrop is a picture of the photo's size and belongs to the subject's own place in it (the
                photo's background, blurred), so that it is arranged as the subject is.
            output: the format.

        Raises:
            MatteboxError: INVALID_PARAMETER, when the format cannot hold such a picture, or the result would be too
                large.
        """
        room = self._room(shadow)
        placement = layout.plan(self.image.width, self.image.height, self.subject, arrange, room=room)
        picture = layout.place(self.image, placement)
        if not output.alpha_only:  # the matte is the same with any shadow, over any backdrop
            if shadow is not None:
                picture = shadows.cast(picture, shadow, cut=self._is_cut_below)
            match backdrop:
                case Transparent():
                    pass
                case Color():
                    picture = compositing.over(picture, codec.color_in_profile(backdrop, picture.icc))
                case Image() if in_place:
                    picture = compositing.over(picture, layout.surround(backdrop, placement))
                case Image():
                    picture = compositing.over(picture, layout.cover(backdrop, picture.width, picture.height))
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
            largest=placement.largest,
        )

    @property
    def _is_cut_below(self) -> bool:
        return self.subject is not None and self.subject.bottom >= self.image.height

    def _room(self, shadow: Shadow | None) -> Margin:
        """What a crop leaves for the shadow: nothing where the photo ends, or the cut would float in the picture."""
        if shadow is None or self.subject is None:
            return Margin()
        room, subject = shadows.room(self.subject, shadow), self.subject
        return Margin(
            top=room.top if subject.top > 0 else Length(0),
            right=room.right if subject.right < self.image.width else Length(0),
            bottom=Length(0) if self._is_cut_below else room.bottom,
            left=room.left if subject.left > 0 else Length(0),
        )

    def save(
        self,
        path: str | Path,
        *,
        arrange: Layout = Layout(),
        shadow: Shadow | None = None,
        backdrop: Transparent | Color | Image = Transparent(),
        quality: int | None = None,
    ) -> None:
        """Write the cutout to a file; the name's ending says the format: png, webp, jpg, avif or zip.

        The file appears whole or not at all. `arrange`, `shadow` and `backdrop` are those of `encode`.

        Raises:
            MatteboxError: INVALID_PARAMETER, when the ending names no format that can be written, or the result would
                be too large; CONFLICT, when the file cannot be written there.
        """
        output = _output(Path(path), quality)
        files.write(path, self.encode(arrange=arrange, shadow=shadow, backdrop=backdrop, output=output).data)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replaced:
    """A photo's subject on another background.

    Attributes:
        image: the finished picture; it has alpha only where the colour behind has.
        subject: where the subject lies in it; None where no subject was found, and only the backdrop is seen.
        served: where the backdrop came from, where it was asked for in words; None else.
    """

    image: Image
    subject: Box | None
    served: Served | None = None

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

    def save(self, path: str | Path, *, quality: int | None = None) -> None:
        """Write the picture to a file; the name's ending says the format: png, webp, jpg, avif or zip.

        The file appears whole or not at all.

        Raises:
            MatteboxError: INVALID_PARAMETER, when the ending names no format that can be written; CONFLICT, when the
                file cannot be written there.
        """
        files.write(path, codec.encode(self.image, _output(Path(path), quality)))


def _output(target: Path, quality: int | None) -> Output:
    """What a file's name asks for."""
    named = codec.format_named(target.suffix)
    if named is None:
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            f"The ending {target.suffix or 'of a name without one'} is no format that can be written; "
            "use .png, .webp, .jpg, .avif or .zip.",
            parameter="path",
        )
    return Output(format=named, quality=quality)

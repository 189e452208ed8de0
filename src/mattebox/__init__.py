"""mattebox cuts the subject out of a photo, on your own machine.

    import mattebox

    cutout = mattebox.remove_background("photo.jpg")
    cutout.save("cutout.png")

Importing is cheap: the picture libraries load with the first photo. The networks are fetched at first use, checked
against a known checksum, and stay loaded.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Literal, TypeAlias

from mattebox.edit import Color, Foreground, Format, Layout, Matte, Output, Transparent
from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image as PILImage

    from mattebox.cutout import Cutout
    from mattebox.engine import Engine
    from mattebox.image import Image
    from mattebox.models import ModelOptions

    Photo: TypeAlias = (
        str
        | os.PathLike[str]
        | bytes
        | bytearray
        | IO[bytes]
        | PILImage
        | npt.NDArray[np.uint8 | np.uint16 | np.floating]
        | Image
    )

__version__ = "0.1.0"
__all__ = [
    "Color",
    "Foreground",
    "Format",
    "Kind",
    "Layout",
    "Matte",
    "MatteboxError",
    "Output",
    "Transparent",
    "remove_background",
]


def remove_background(
    photo: Photo,
    *,
    model: str = "auto",
    refine: bool = True,
    foreground: Foreground | Literal["fast", "multilevel", "keep"] = Foreground.FAST,
    engine: Engine | None = None,
) -> Cutout:
    """Cut the subject out of a photo.

    Args:
        photo: a path, the bytes of a file, an open binary file, a Pillow picture, an array (height, width), (height,
            width, 3) or (height, width, 4) of uint8, uint16 or float in [0, 1], or an `image.Image`. An animated file
            gives its first frame.
        model: a name from `mattebox models list`, or `family:path` for a file of your own.
        refine: sharpen the matte at the photo's own resolution.
        foreground: how the background's colour is taken out of the edge.
        engine: an engine of your own, say for another device; by default one engine serves the whole process.

    Returns:
        The cutout, at the photo's size after its EXIF turn. Where there is no subject, its matte is empty and its
        `found` is False.

    Raises:
        MatteboxError: the photo cannot be read or is too large, the model or method is not known, or the model's
            weights are not here and cannot be fetched.
    """
    if foreground not in set(Foreground):
        raise MatteboxError(
            Kind.INVALID_PARAMETER, f"foreground must be one of {', '.join(Foreground)}.", parameter="foreground"
        )
    matte = Matte(model=model, refine=refine, foreground=Foreground(foreground))
    return (engine or _engine()).cut_out(_read(photo), matte)


_default: Engine | None = None
_making = threading.Lock()


def _engine() -> Engine:
    """The engine of the whole process, made once however many threads ask first."""
    global _default  # noqa: PLW0603
    with _making:
        if _default is None:
            from mattebox.engine import Engine
            from mattebox.models import Models

            _default = Engine(Models(replace(model_options(), user_files=True)))
        return _default


def model_options() -> ModelOptions:
    """The environment's options of the networks, as in docs/settings.md; the defaults where it sets none."""
    if any(name.upper().startswith("MATTEBOX_MODELS_") for name in os.environ):
        from mattebox import settings  # takes half a second

        return settings.load().models
    from mattebox.models import ModelOptions

    return ModelOptions()


def _read(photo: Photo) -> Image:
    import numpy as np
    from PIL.Image import Image as PILImage

    from mattebox import codec, files
    from mattebox.image import Image

    match photo:
        case Image():
            return photo
        case bytes() | bytearray():
            return codec.decode(bytes(photo), codec.OWN_FILES)
        case str() | os.PathLike():
            return codec.decode(files.read(photo, codec.OWN_FILES.max_bytes), codec.OWN_FILES)
        case np.ndarray():
            return codec.from_array(photo)
        case PILImage():
            return codec.from_pil(photo)
        case _ if hasattr(photo, "read"):
            data = photo.read()
            if isinstance(data, bytes):
                return codec.decode(data, codec.OWN_FILES)
    raise MatteboxError(
        Kind.INVALID_PARAMETER,
        "A photo is a path, bytes, a file that is open for reading bytes, a Pillow picture or an array.",
        parameter="photo",
    )

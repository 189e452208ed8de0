"""mattebox cuts the subject out of a photo, on your own machine.

    import mattebox

    cutout = mattebox.remove_background("photo.jpg")
    cutout.save("cutout.png")

Importing is cheap: the picture libraries load with the first photo. The networks are fetched at first use, checked
against a known checksum, and stay loaded.
"""

from __future__ import annotations

import functools
import os
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

    Photo: TypeAlias = (
        str | os.PathLike[str] | bytes | IO[bytes] | PILImage | npt.NDArray[np.uint8 | np.uint16 | np.floating] | Image
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
        MatteboxError: the photo cannot be read or is too large, the model is not known, or its weights are not here and
            cannot be fetched.
    """
    worker = engine or _engine()
    return worker.cut_out(_read(photo), Matte(model=model, refine=refine, foreground=Foreground(foreground)))


@functools.cache
def _engine() -> Engine:
    from mattebox.engine import Engine
    from mattebox.models import ModelOptions, Models

    return Engine(Models(ModelOptions(user_files=True)))


def _read(photo: Photo) -> Image:
    import numpy as np
    from PIL.Image import Image as PILImage

    from mattebox import codec, files
    from mattebox.image import Image

    match photo:
        case Image():
            return photo
        case bytes():
            return codec.decode(photo, codec.OWN_FILES)
        case str() | os.PathLike():
            return codec.decode(files.read(photo, codec.OWN_FILES.max_bytes), codec.OWN_FILES)
        case np.ndarray():
            return codec.from_array(photo)
        case PILImage():
            return codec.from_pil(photo)
        case _:
            return codec.decode(photo.read(), codec.OWN_FILES)

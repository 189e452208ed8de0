"""mattebox cuts the subject out of a photo, on your own machine.

    import mattebox

    cutout = mattebox.remove_background("photo.jpg")
    cutout.save("cutout.png")

Importing is cheap: the picture libraries load with the first photo. The networks are fetched at first use, checked
against a known checksum, and stay loaded.
"""

from __future__ import annotations

import importlib
import os
import threading
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from mattebox.edit import (
    Backdrop,
    Blur,
    Canvas,
    Color,
    Corrections,
    Edit,
    Fit,
    Foreground,
    Format,
    Gradient,
    Layout,
    Length,
    Margin,
    Matte,
    Output,
    Picture,
    Point,
    Prompt,
    Region,
    Shadow,
    ShadowKind,
    Stroke,
    Transparent,
)
from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    import array
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    from _typeshed import SupportsRead
    from PIL.Image import Image as PILImage

    from mattebox.backdrops import BackdropOptions
    from mattebox.cutout import Cutout, Replaced
    from mattebox.engine import Engine
    from mattebox.image import Box, Encoded, Image, Served
    from mattebox.models import ModelOptions

    Photo: TypeAlias = (
        str
        | os.PathLike[str]
        | bytes
        | bytearray
        | memoryview
        | array.array[int]
        | SupportsRead[bytes]
        | PILImage
        | npt.NDArray[np.uint8 | np.uint16 | np.floating | np.bool_]
        | Image
    )

__version__ = "0.1.0"
__all__ = [
    "Backdrop",
    "Blur",
    "Box",
    "Canvas",
    "Color",
    "Corrections",
    "Cutout",
    "Edit",
    "Encoded",
    "Engine",
    "Fit",
    "Foreground",
    "Format",
    "Gradient",
    "Image",
    "Kind",
    "Layout",
    "Length",
    "Margin",
    "Matte",
    "MatteboxError",
    "Output",
    "Picture",
    "Point",
    "Prompt",
    "Region",
    "Replaced",
    "Served",
    "Shadow",
    "ShadowKind",
    "Stroke",
    "Transparent",
    "remove_background",
    "replace_background",
]

_LOADED_WHEN_USED = MappingProxyType(
    {
        "Box": "image",
        "Cutout": "cutout",
        "Encoded": "image",
        "Engine": "engine",
        "Image": "image",
        "Replaced": "cutout",
        "Served": "image",
    }
)
"""The public names whose modules load the picture libraries."""

if not TYPE_CHECKING:  # a checker would take any misspelt name for one of these

    def __getattr__(name: str) -> object:
        if name not in _LOADED_WHEN_USED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_LOADED_WHEN_USED[name]}"), name)


def remove_background(
    photo: Photo,
    *,
    model: str = "auto",
    refine: bool = True,
    foreground: Foreground | Literal["fast", "multilevel", "keep"] = Foreground.FAST,
    corrections: Corrections = Corrections(),
    engine: Engine | None = None,
) -> Cutout:
    """Cut the subject out of a photo.

    Args:
        photo: a path, the bytes of a file (also as `bytearray`, `memoryview` or `array.array`), an open binary file, a
            Pillow picture of any mode, an array (height, width), (height, width, 3) or (height, width, 4) of uint8,
            uint16, float in [0, 1] or bool, in any byte order, or an `image.Image`. An animated file gives its first
            frame.
        model: a name from `mattebox models list`, such as `fast` or `best`, or `family:path` for a file of your own.
        refine: sharpen the matte at the photo's own resolution.
        foreground: how the background's colour is taken out of the edge.
        corrections: strokes that keep or erase, and points and a box that say which object is meant.
        engine: an engine of your own, say for another device; by default one engine serves the whole process.

    Returns:
        The cutout, at the photo's size after its EXIF turn. Where there is no subject, its matte is empty and its
        `found` is False.

    Raises:
        MatteboxError: the photo cannot be read or is too large, the model or method is not known, an argument is of a
            wrong type (`parameter` names it), or the model's weights are not here and cannot be fetched.
    """
    from mattebox import arguments

    used, matte = _chosen(engine), _matte(model, foreground, corrections, refine=refine)
    return used.cut_out(arguments.photo(photo, "photo"), matte)


def replace_background(
    photo: Photo,
    *,
    prompt: str | None = None,
    color: Color | str | Sequence[int] | None = None,
    gradient: Gradient | str | None = None,
    image: Photo | None = None,
    blur: float | None = None,
    seed: int = 0,
    nearest: bool | None = None,
    generator: str = "auto",
    model: str = "auto",
    refine: bool = True,
    foreground: Foreground | Literal["fast", "multilevel", "keep"] = Foreground.FAST,
    corrections: Corrections = Corrections(),
    engine: Engine | None = None,
) -> Replaced:
    """Put the subject of a photo on another background: `prompt`, `color`, `gradient`, `image` or `blur`.

    Args:
        photo: as in `remove_background`.
        prompt: the place in words, "a warehouse"; an empty text is a plain studio. The subject is placed, lit and
            given a shadow as in that place. Without a generator that paints, places are those of `mattebox scenes
            list`, and the nearest of them is taken.
        color: a `Color`, or words for one: "#ffffff", "rgb(255, 255, 255)" or a CSS name, or its red, green and blue
            from 0 to 255, as in `(255, 255, 255)`.
        gradient: a `Gradient`, or words for one: two colours, from the top down, as in "white #c0c8d0", or an angle
            before them as in CSS, "90 white #c0c8d0".
        image: another picture, given as a photo is. It fills the canvas; what does not fit is cut at both ends.
        blur: the photo's own background, blurred; the standard deviation in pixels, 0.3 to 1000.
        seed: with `prompt`, the same seed gives the same picture again; 0 or more.
        nearest: with `prompt`, where nothing shows what it says: True takes the nearest backdrop, with a warning in
            `served`, False refuses; None does the first, unless MATTEBOX_BACKDROPS_STRICT is set.
        generator: with `prompt`, what paints it; `auto` is the first of the configured ones that can.
        model: as in `remove_background`, like `refine`, `foreground` and `engine`.
        refine: sharpen the matte at the photo's own resolution.
        foreground: how the old background's colour is taken out of the edge.
        corrections: as in `remove_background`.
        engine: an engine of your own; prompts need one that was made with backdrops.

    Returns:
        The finished picture, at the photo's size after its EXIF turn, and where its backdrop came from.

    Raises:
        MatteboxError: INVALID_PARAMETER where not exactly one background is asked for, a value is wrong, or nothing
            comes near what the prompt says; what is wrong with `image` is blamed on it; and whatever
            `remove_background` raises.
    """
    from mattebox import arguments, pipeline
    from mattebox.cutout import Replaced

    asked = {"prompt": prompt, "color": color, "gradient": gradient, "image": image, "blur": blur}
    given = [name for name, value in asked.items() if value is not None]
    if len(given) != 1:
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            f"Give exactly one of {', '.join(asked)}.",
            parameter=given[1] if given else "prompt",
        )
    seed = arguments.whole(seed, "seed", least=0)
    nearest = None if nearest is None else arguments.flag(nearest, "nearest")
    generator = arguments.instance(generator, "generator", str)
    behind: Color | Gradient | Picture | Blur | Prompt
    if prompt is not None:
        behind = Prompt(arguments.instance(prompt, "prompt", str), seed=seed, nearest=nearest, generator=generator)
    elif color is not None:
        behind = arguments.color(color)
    elif gradient is not None:
        behind = arguments.gradient(gradient)
    elif blur is not None:
        behind = _blur(blur)
    else:
        behind = Picture()
    edit = Edit(backdrop=behind, matte=_matte(model, foreground, corrections, refine=refine))
    used = _chosen(engine)
    result = pipeline.run(
        edit,
        arguments.photo(photo, "photo"),
        behind=None if image is None else arguments.photo(image, "image"),
        models=used.models,
        generators=used.backdrops,
        recall=used.recall(edit.matte),
    )
    return Replaced(image=result.picture, subject=result.subject, served=result.served, chosen_by=result.chosen_by)


def _matte(model: str, foreground: object, corrections: Corrections, *, refine: bool) -> Matte:
    from mattebox import arguments

    if not isinstance(foreground, str) or foreground not in set(Foreground):
        raise MatteboxError(
            Kind.INVALID_PARAMETER, f"foreground must be one of {', '.join(Foreground)}.", parameter="foreground"
        )
    return Matte(
        model=arguments.instance(model, "model", str),
        refine=arguments.flag(refine, "refine"),
        foreground=Foreground(foreground),
        corrections=arguments.instance(corrections, "corrections", Corrections),
    )


def _blur(sigma: float) -> Blur:
    from mattebox import arguments

    try:
        return Blur(arguments.number(sigma, "blur"))
    except ValueError as error:
        raise MatteboxError(
            Kind.INVALID_PARAMETER, "blur must be a number from 0.3 to 1000.", parameter="blur"
        ) from error


_default: Engine | None = None
_making = threading.Lock()


def _chosen(engine: Engine | None) -> Engine:
    from mattebox import arguments
    from mattebox.engine import Engine

    return _engine() if engine is None else arguments.instance(engine, "engine", Engine)


def _engine() -> Engine:
    """The engine of the whole process, made once however many threads ask first."""
    global _default  # noqa: PLW0603
    with _making:
        if _default is None:
            from mattebox.backdrops import Backdrops
            from mattebox.engine import Engine
            from mattebox.models import Models

            models = Models(replace(model_options(), user_files=True))
            _default = Engine(models, Backdrops(backdrop_options()))
        return _default


def model_options() -> ModelOptions:
    """The environment's options of the networks, as in docs/settings.md; the defaults where it sets none."""
    from mattebox import environment
    from mattebox.models import ModelOptions

    return environment.read(ModelOptions, "models")


def backdrop_options() -> BackdropOptions:
    """The environment's options of the backdrops, as in docs/settings.md; the defaults where it sets none."""
    from mattebox import environment
    from mattebox.backdrops import BackdropOptions

    return environment.read(BackdropOptions, "backdrops")

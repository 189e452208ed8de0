"""Generators that paint whatever they are asked for, on another server or in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mattebox.backdrops.generator import Generator
    from mattebox.backdrops.options import BackdropOptions


def open_generator(name: str, options: BackdropOptions, *, download: bool) -> Generator:
    """The painting generator of this name.

    Args:
        name: a key of `options.GENERATORS`, but not `scenes`.
        options: its address, key and model.
        download: whether it may fetch its model when it is first used.

    Raises:
        ValueError: a setting cannot be right, or no painting generator has this name.
        MatteboxError: the model is unknown.
    """
    match name:
        case "openai":
            from mattebox.backdrops.generators.openai import OpenAIImages

            return OpenAIImages(
                options.url, key=options.key or None, model=options.model or None, timeout=options.timeout
            )
        case "diffusers":
            from mattebox.backdrops.generators import diffusion

            return diffusion.Diffusers(options.model or diffusion.DEFAULT, download=download)
        case _:
            raise ValueError(f"{name} does not paint")

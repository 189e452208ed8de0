"""Colours as people name them for a wall or a roll of paper: "pastel pink", "light grey", "navy"."""

from __future__ import annotations

import colorsys

from mattebox import units
from mattebox.backdrops.prompts.prompt_parser import PAPERS, SHADES
from mattebox.edit import Color
from mattebox.errors import MatteboxError


def color_named(words: str) -> Color | None:
    """The colour of a name with shades before it, as `words.color_in` gives it; None for a name that is not known."""
    *shades, name = words.split()
    base = PAPERS.get(name)
    if base is None:
        try:
            found = units.color(name)
        except MatteboxError:
            return None
        base = (found.red, found.green, found.blue)
    hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in base))
    for shade in shades:
        change, factor = SHADES.get(shade, (0.0, 1.0))
        lightness += change * (1 - lightness) if change > 0 else change * lightness
        saturation = min(1.0, saturation * factor)
    red, green, blue = (round(255 * channel) for channel in colorsys.hls_to_rgb(hue, lightness, saturation))
    return Color(red, green, blue)

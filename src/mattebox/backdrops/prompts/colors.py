"""Colours as people name them for a wall or a roll of paper: "pastel pink", "light grey", "navy"."""

from __future__ import annotations

import colorsys

from mattebox import units
from mattebox.edit import Color
from mattebox.errors import MatteboxError

# Where the screen's own colour of this name is not a colour of paper, or does not exist.
_NAMED = {
    "white": (250, 250, 249),
    "black": (24, 24, 25),
    "red": (178, 34, 38),
    "green": (74, 124, 78),
    "blue": (58, 104, 168),
    "yellow": (240, 200, 72),
    "orange": (226, 128, 54),
    "purple": (112, 72, 140),
    "violet": (128, 92, 168),
    "pink": (232, 164, 178),
    "brown": (110, 78, 56),
    "cream": (245, 239, 221),
    "navy": (32, 44, 84),
    "teal": (38, 112, 116),
    "turquoise": (72, 178, 172),
    "cyan": (110, 196, 206),
    "magenta": (190, 58, 128),
    "burgundy": (104, 28, 44),
    "gold": (200, 162, 74),
    "golden": (206, 168, 80),
    "silver": (192, 194, 198),
    "mint": (182, 222, 200),
    "lilac": (200, 178, 210),
    "peach": (246, 204, 174),
    "coral": (236, 128, 108),
    "charcoal": (58, 60, 64),
    "scarlet": (196, 40, 36),
    "emerald": (40, 128, 96),
    "mustard": (206, 160, 56),
    "taupe": (146, 132, 120),
    "sage": (166, 178, 148),
    "mauve": (178, 148, 172),
    "rose": (222, 162, 164),
    "terracotta": (196, 108, 78),
    "rust": (164, 80, 44),
    "sand": (218, 198, 166),
}
# How a shade changes lightness (towards white above 0, towards black below) and saturation (a factor).
_SHADES = {
    "light": (0.45, 0.9),
    "pale": (0.62, 0.7),
    "pastel": (0.55, 0.8),
    "baby": (0.55, 0.9),
    "off": (-0.03, 1.0),
    "sky": (0.45, 1.1),
    "bright": (0.08, 1.35),
    "hot": (-0.05, 1.6),
    "neon": (0.05, 1.8),
    "royal": (-0.15, 1.3),
    "deep": (-0.3, 1.15),
    "dark": (-0.5, 0.95),
}


def color_named(words: str) -> Color | None:
    """The colour of a name with shades before it, as `words.color_in` gives it; None for a name that is not known."""
    *shades, name = words.split()
    base = _NAMED.get(name)
    if base is None:
        try:
            found = units.color(name)
        except MatteboxError:
            return None
        base = (found.red, found.green, found.blue)
    hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in base))
    for shade in shades:
        change, factor = _SHADES.get(shade, (0.0, 1.0))
        lightness += change * (1 - lightness) if change > 0 else change * lightness
        saturation = min(1.0, saturation * factor)
    red, green, blue = (round(255 * channel) for channel in colorsys.hls_to_rgb(hue, lightness, saturation))
    return Color(red, green, blue)

"""Backgrounds from words: photographed scenes, drawn studios, and generators that paint.

`Backdrops` chooses the first of the configured generators that can serve a prompt. The scenes and studios that are here
are chosen by words, and refuse what they do not show; the painting generators paint whatever they are asked for.
"""

from mattebox.backdrops.generator import Generator
from mattebox.backdrops.options import GENERATORS, BackdropOptions
from mattebox.backdrops.selection import Backdrops

__all__ = ["GENERATORS", "BackdropOptions", "Backdrops", "Generator"]

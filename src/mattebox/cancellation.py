"""The checkpoint: how work that takes a while learns that it should stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Checkpoint: TypeAlias = Callable[[], None]
"""Called between steps; raises when the work should stop. The core knows neither deadlines nor clients."""


def go_on() -> None:
    """The checkpoint that never stops the work."""

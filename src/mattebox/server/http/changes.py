"""Changes of stored images as requests ask for them: fields that make a `Transform`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from mattebox.edit import Output
from mattebox.fields import Fields, Text, Whole
from mattebox.transforms import Transform, Watermark

MOST_MARKS = 5
"""In one watermark; all of them are in memory at a time."""
FARTHEST = 2**31 - 1
"""Pixels from an edge, in either direction."""


class ChangeFields(Fields):
    """The fields of a change. A subclass has those of `kind`, whatever a request calls them."""

    kind: ClassVar[type[Transform] | None] = None

    @property
    def transform(self) -> Transform | None:
        """The change; None where only the format changes."""
        if self.kind is None:
            return None
        return self.kind(**{each.name: getattr(self, each.name) for each in dataclasses.fields(self.kind)})

    @property
    def mark_ids(self) -> list[str]:
        """The ids of other images that it takes."""
        return []

    @property
    def output(self) -> Output | None:
        """The format that is asked for; None keeps the image's own."""
        return None


class MarkFields(Fields):
    """An image on another one, and the place of its left upper corner."""

    id: Text = Field(description="An image of the same key.")
    left: Annotated[int, Whole(-FARTHEST, FARTHEST)] = Field(0, description="Pixels.")
    top: Annotated[int, Whole(-FARTHEST, FARTHEST)] = Field(0, description="Pixels.")


class MarksFields(ChangeFields):
    """The fields of a watermark. A subclass declares `marks`, and who may send what in one."""

    kind = Watermark
    marks: Sequence[MarkFields]

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """The places of the marks."""
        return tuple((each.left, each.top) for each in self.marks)

    @property
    def mark_ids(self) -> list[str]:
        """The ids of the marks."""
        return [each.id for each in self.marks]

"""Pictures that a dialect keeps, and every route that makes something else of them."""

from __future__ import annotations

import json

from tests.hostile.doors import PICTURE_DOORS, Door

STORED = next(door for door in PICTURE_DOORS if door.name == "stored")
UPLOADED = next(door for door in PICTURE_DOORS if door.name == "imgprocessing")
MARK = "mark"
"""Stands for another picture that is kept."""
CHANGES: tuple[tuple[Door, str, dict[str, object]], ...] = (
    (STORED, "remove", {}),
    (STORED, "convert", {"format": "webp"}),
    (STORED, "resize", {"width": 64}),
    (STORED, "crop", {"left": 0, "top": 0, "right": 8, "bottom": 8}),
    (STORED, "rotate", {"degrees": 3}),
    (STORED, "mirror", {"mode": "horizontal"}),
    (STORED, "blur", {"sigma": 3}),
    (STORED, "modulate", {"brightness": 1.2}),
    (STORED, "watermark", {"marks": [{"id": MARK}]}),
    (UPLOADED, "remove-background", {"name": "a"}),
    (UPLOADED, "convert", {"name": "a", "format": "jpeg"}),
    (UPLOADED, "resize", {"name": "a", "width": 64}),
    (UPLOADED, "crop", {"name": "a", "x1": 0, "y1": 0, "x2": 8, "y2": 8}),
    (UPLOADED, "rotate", {"name": "a", "angle": 3}),
    (UPLOADED, "mirror", {"name": "a", "mode": "horizontal"}),
    (UPLOADED, "blur", {"name": "a", "sigma": 3}),
    (UPLOADED, "modulate", {"name": "a", "hue": 60}),
    (UPLOADED, "watermark", {"name": "a", "watermarks": [{"id": MARK}]}),
)
"""Where the picture is kept, the last part of the path, and the body."""


def path_of(door: Door, image_id: str) -> str:
    """The path of a picture that was kept."""
    return f"{door.path.removesuffix('/upload')}/{image_id}"


def body_of(members: dict[str, object], mark: str) -> bytes:
    """The body of a change, in which `mark` is the other picture's id."""
    return json.dumps(
        {name: [{"id": mark}] if value == [{"id": MARK}] else value for name, value in members.items()}
    ).encode()

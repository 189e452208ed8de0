from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest

from mattebox.edit import Blur, Canvas, Color, Edit, Format, Gradient, Layout, Output, Shadow, Transparent


def test_the_plainest_edit_is_a_transparent_png_at_full_size() -> None:
    edit = Edit()
    assert edit.backdrop == Transparent()
    assert edit.output.format is Format.PNG
    assert edit.layout == Layout(crop=False, max_side=None)
    assert edit.matte.model == "auto"


def test_an_edit_is_frozen() -> None:
    edit = Edit()
    with pytest.raises(FrozenInstanceError):
        edit.backdrop = Color(0, 0, 0)  # type: ignore[misc]


@pytest.mark.parametrize(
    "build",
    [
        lambda: Color(-1, 0, 0),
        lambda: Color(0, 256, 0),
        lambda: Layout(max_side=0),
        lambda: Layout(ratio=(16, 0)),
        lambda: Layout(scale=0.0),
        lambda: Layout(position=(0.5, 1.5)),
        lambda: Canvas(width=0),
        lambda: Blur(0),
        lambda: Shadow(opacity=2),
        lambda: Output(quality=0),
        lambda: Output(quality=101),
    ],
)
def test_values_out_of_range_cannot_be_made(build: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        build()


def test_a_gradient_is_opaque_and_has_an_angle() -> None:
    white, veil = Color(255, 255, 255), Color(0, 0, 0, 0.5)
    assert Gradient(white, white).angle == 180
    for start, end in ((white, veil), (veil, white)):
        with pytest.raises(ValueError, match="must be opaque"):
            Gradient(start, end)
    for angle in (-361, 361, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="angle must be"):
            Gradient(white, white, angle)

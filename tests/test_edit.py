from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest

from mattebox.edit import Color, Edit, Format, Layout, Output, Transparent, Upload


def test_the_plainest_edit_is_a_transparent_png_at_full_size() -> None:
    edit = Edit(source=Upload(b""))
    assert edit.backdrop == Transparent()
    assert edit.output.format is Format.PNG
    assert edit.layout == Layout(crop=False, max_side=None)
    assert edit.matte.model == "auto"


def test_an_edit_is_frozen() -> None:
    edit = Edit(source=Upload(b""))
    with pytest.raises(FrozenInstanceError):
        edit.source = Upload(b"other")  # type: ignore[misc]


@pytest.mark.parametrize(
    "build",
    [
        lambda: Color(-1, 0, 0),
        lambda: Color(0, 256, 0),
        lambda: Layout(max_side=0),
        lambda: Output(quality=0),
        lambda: Output(quality=101),
    ],
)
def test_values_out_of_range_cannot_be_made(build: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        build()


def test_a_photo_does_not_spill_into_logs() -> None:
    assert "secret" not in repr(Edit(source=Upload(b"secret")))

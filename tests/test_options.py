from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from mattebox.edit import Blur, Canvas, Color, Edit, Format, Gradient, Layout, Prompt, Shadow, ShadowKind
from mattebox.errors import MatteboxError
from mattebox.options import EditOptions, ReplaceOptions


def test_the_plainest_options_are_the_plainest_edit() -> None:
    assert EditOptions.read({}).to_edit(format=Format.PNG) == Edit()


def test_options_become_an_edit() -> None:
    read = EditOptions.read(
        {"background": "white", "crop": "true", "width": "300", "shadow": "cast", "shadow_opacity": 0.2, "size": 99}
    )
    edit = read.to_edit(format=Format.WEBP)
    assert edit.backdrop == Color(255, 255, 255)
    assert edit.layout == Layout(crop=True, canvas=Canvas(width=300), max_side=99)
    assert edit.shadow == Shadow(kind=ShadowKind.CAST, opacity=0.2)
    assert edit.output.format is Format.WEBP
    assert EditOptions.read({"background_blur": 3}).to_edit(format=Format.PNG).backdrop == Blur(3)
    gradient = EditOptions.read({"background_gradient": "135 #fff #00f"}).to_edit(format=Format.PNG).backdrop
    assert gradient == Gradient(Color(255, 255, 255), Color(0, 0, 255), 135)
    assert ReplaceOptions.read({"prompt": "a quay", "seed": 7}).to_edit(format=Format.PNG).backdrop == Prompt(
        "a quay", seed=7
    )


def test_a_replacement_needs_something_to_replace_the_background_with() -> None:
    with pytest.raises(MatteboxError, match="prompt is required, or one of background") as caught:
        ReplaceOptions.read({})
    assert caught.value.parameter == "prompt"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"margin": "10%"}, "margin requires crop."),
        ({"fit": "cover"}, "fit requires width or height."),
        ({"shadow_opacity": 1}, "shadow_opacity requires shadow."),
        ({"background": "red", "background_blur": 2}, "cannot be combined with background"),
        ({"background": "red", "background_gradient": "red blue"}, "cannot be combined with background."),
        ({"background_blur": 2, "background_gradient": "red blue"}, "cannot be combined with background_blur."),
        ({"background_gradient": "red"}, "'red' is not a gradient"),
        ({"marginn": "1"}, "Unknown parameter 'marginn'. Did you mean margin?"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(MatteboxError) as caught:
        EditOptions.read(values)
    assert message in caught.value.message


def test_the_table_in_the_docs_is_current() -> None:
    docs = Path(__file__).parents[1] / "docs"
    page: Callable[[str], str] = runpy.run_path(str(docs / "options.py"))["page"]
    text = (docs / "dialects" / "native.md").read_text("utf-8")
    assert page(text) == text, "run: make docs"
    assert "| `margin` |" in text

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mattebox.edit import (
    Blur,
    Canvas,
    Color,
    Edit,
    Fit,
    Foreground,
    Format,
    Layout,
    Length,
    Link,
    Margin,
    Matte,
    Output,
    Picture,
    Prompt,
    Region,
    Shadow,
    ShadowKind,
    Stored,
    Transparent,
    Upload,
    from_json,
    to_json,
)

_channels = st.integers(0, 255)
_fractions = st.floats(0, 1)
_sides = st.none() | st.integers(1)
_sources = st.builds(Link, st.text()) | st.builds(Stored, st.text())
_lengths = st.builds(Length, st.floats(-1e6, 1e6), st.booleans())
_edits = st.builds(
    Edit,
    source=_sources,
    backdrop=st.just(Transparent())
    | st.builds(Color, _channels, _channels, _channels)
    | st.builds(Picture, _sources)
    | st.builds(Blur, st.floats(0.3, 1000))
    | st.builds(Prompt, st.text(), st.integers(0), st.text(), st.booleans()),
    shadow=st.none() | st.builds(Shadow, kind=st.sampled_from(ShadowKind), opacity=_fractions),
    layout=st.builds(
        Layout,
        roi=st.none() | st.builds(Region, _lengths, _lengths, _lengths, _lengths),
        crop=st.booleans(),
        ratio=st.none() | st.tuples(st.integers(1), st.integers(1)),
        margin=st.builds(Margin, _lengths, _lengths, _lengths, _lengths),
        scale=st.none() | st.floats(0.01, 1),
        position=st.none() | st.tuples(_fractions, _fractions),
        canvas=st.none() | st.builds(Canvas, width=st.integers(1), height=_sides, fit=st.sampled_from(Fit)),
        max_side=_sides,
        max_pixels=_sides,
    ),
    matte=st.builds(
        Matte,
        model=st.text(),
        refine=st.booleans(),
        foreground=st.sampled_from(Foreground),
        semitransparency=st.booleans(),
    ),
    output=st.builds(
        Output,
        format=st.sampled_from(Format),
        alpha_only=st.booleans(),
        quality=st.none() | st.integers(1, 100),
    ),
)


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


def test_a_photo_does_not_spill_into_logs() -> None:
    assert "secret" not in repr(Edit(source=Upload(b"secret")))


@given(_edits)
def test_a_queued_edit_comes_back_as_it_was(edit: Edit) -> None:
    assert from_json(json.loads(json.dumps(to_json(edit)))) == edit


def test_a_queue_carries_no_pictures() -> None:
    with pytest.raises(ValueError, match="stored sources only"):
        to_json(Edit(source=Upload(b"picture")))


def test_what_an_older_edit_did_not_say_has_its_default() -> None:
    assert from_json({"source": {"kind": "stored", "key": "a"}}) == Edit(source=Stored("a"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "extra"),
        ({"layout": {"crop": False, "rotate": 3}}, "rotate"),
        ({"source": {"kind": "stored", "key": "a", "url": "b"}}, "url"),
        ({"source": {"kind": "upload", "data": ""}}, "stored sources only"),
        ({"source": {"kind": "link"}}, "url"),
        ({"source": {"url": "a"}}, "kind"),
        ({"source": None}, "no edit"),
        ({"backdrop": {"kind": "fog"}}, "fog"),
        ({"backdrop": {"kind": "color", "red": 1, "green": 2}}, "blue"),
        ({"backdrop": {"kind": "color", "red": 1, "green": 2, "blue": 256}}, r"must be in 0\.\.255"),
        ({"backdrop": {"kind": "picture", "source": {"kind": "upload", "data": ""}}}, "stored sources only"),
        ({"backdrop": {"kind": "blur", "sigma": "3"}}, "'3' must be a number"),
        ({"layout": {"crop": 1}}, "1 must be bool"),
        ({"layout": {"max_side": True}}, "True must be int"),
        ({"layout": {"max_side": 0}}, "max_side, .* must be at least 1"),
        ({"layout": {"ratio": [1, 2, 3]}}, "no edit|3"),
        ({"matte": {"foreground": "best"}}, "'best' is not a valid Foreground"),
        ({"output": {"format": "gif"}}, "'gif' is not a valid Format"),
        ({"output": {"quality": 1.5}}, "1.5 must be int"),
    ],
)
def test_an_edit_that_is_not_understood_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json({**to_json(Edit(source=Stored("a"))), **change})


def test_an_edit_is_an_object() -> None:
    with pytest.raises(ValueError, match="no edit"):
        from_json(["source"])

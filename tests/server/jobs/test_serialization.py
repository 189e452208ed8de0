from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mattebox.edit import (
    Blur,
    Canvas,
    Color,
    Corrections,
    Edit,
    Fit,
    Foreground,
    Format,
    Gradient,
    Layout,
    Length,
    Margin,
    Matte,
    Output,
    Picture,
    Point,
    Prompt,
    Region,
    Shadow,
    ShadowKind,
    Stroke,
    Transparent,
)
from mattebox.server.jobs.serialization import from_json, to_json
from mattebox.sources import Link, Sources, Stored, Upload

_channels = st.integers(0, 255)
_colors = st.builds(Color, _channels, _channels, _channels)
_fractions = st.floats(0, 1)
_sides = st.none() | st.integers(1)
_sources = st.builds(Link, st.text()) | st.builds(Stored, st.text())
_places = st.builds(Sources, _sources, st.none() | _sources)
_lengths = st.builds(Length, st.floats(-1e6, 1e6), st.booleans())
_edits = st.builds(
    Edit,
    backdrop=st.just(Transparent())
    | _colors
    | st.builds(Gradient, _colors, _colors, st.floats(-360, 360))
    | st.builds(Picture)
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
        corrections=st.builds(
            Corrections,
            strokes=st.lists(
                st.builds(
                    Stroke,
                    points=st.lists(st.tuples(_fractions, _fractions), min_size=1, max_size=4).map(tuple),
                    size=st.floats(0, 1, exclude_min=True),
                    keep=st.booleans(),
                    hardness=_fractions,
                ),
                max_size=3,
            ).map(tuple),
            points=st.lists(st.builds(Point, x=_fractions, y=_fractions, keep=st.booleans()), max_size=3).map(tuple),
            box=st.none() | st.just((0.1, 0.2, 0.5, 1.0)),
        ),
    ),
    output=st.builds(
        Output,
        format=st.sampled_from(Format),
        alpha_only=st.booleans(),
        quality=st.none() | st.integers(1, 100),
    ),
)


@given(_edits, _places)
def test_a_queued_edit_comes_back_as_it_was(edit: Edit, sources: Sources) -> None:
    assert from_json(json.loads(json.dumps(to_json(edit, sources)))) == (edit, sources)


def test_a_queue_carries_no_pictures() -> None:
    for sources in (Sources(Upload(b"picture")), Sources(Stored("a"), Upload(b"picture"))):
        with pytest.raises(ValueError, match="stored sources only"):
            to_json(Edit(), sources)


def test_what_an_older_edit_did_not_say_has_its_default() -> None:
    stored = {"photo": {"kind": "stored", "key": "a"}}
    assert from_json({"edit": {}, "sources": stored}) == (Edit(), Sources(Stored("a")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edit": {"extra": 1}}, "extra"),
        ({"edit": {"layout": {"crop": False, "rotate": 3}}}, "rotate"),
        ({"sources": {"photo": {"kind": "stored", "key": "a", "url": "b"}}}, "url"),
        ({"sources": {"photo": {"kind": "upload", "data": ""}}}, "stored sources only"),
        ({"sources": {"photo": {"kind": "link"}}}, "url"),
        ({"sources": {"photo": {"url": "a"}}}, "kind"),
        ({"sources": {"photo": None}}, "not an edit"),
        ({"edit": {"backdrop": {"kind": "fog"}}}, "fog"),
        ({"edit": {"backdrop": {"kind": "color", "red": 1, "green": 2}}}, "blue"),
        ({"edit": {"backdrop": {"kind": "color", "red": 1, "green": 2, "blue": 256}}}, r"must be in 0\.\.255"),
        (
            {"sources": {"photo": {"kind": "link", "url": "a"}, "backdrop": {"kind": "upload", "data": ""}}},
            "stored sources only",
        ),
        ({"sources": {"photo": {"kind": "link", "url": "a"}, "backdrop": {"url": "b"}}}, "kind"),
        ({"sources": {}}, "photo"),
        ({"edit": {"backdrop": {"kind": "blur", "sigma": "3"}}}, "'3' must be a number"),
        ({"edit": {"backdrop": {"kind": "gradient", "start": {"red": 1, "green": 2, "blue": 3}}}}, "end"),
        ({"edit": {"layout": {"crop": 1}}}, "1 must be bool"),
        ({"edit": {"layout": {"max_side": True}}}, "True must be int"),
        ({"edit": {"layout": {"max_side": 0}}}, "max_side, .* must be at least 1"),
        ({"edit": {"layout": {"ratio": [1, 2, 3]}}}, "not an edit|3"),
        ({"edit": {"matte": {"foreground": "best"}}}, "'best' is not a valid Foreground"),
        ({"edit": {"output": {"format": "gif"}}}, "'gif' is not a valid Format"),
        ({"edit": {"output": {"quality": 1.5}}}, "1.5 must be int"),
    ],
)
def test_an_edit_that_is_not_understood_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json({**to_json(Edit(), Sources(Stored("a"))), **change})


def test_an_edit_is_an_object() -> None:
    with pytest.raises(ValueError, match="not an edit"):
        from_json(["edit"])

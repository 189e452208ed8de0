from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mattebox.edit import (
    Color,
    Edit,
    Foreground,
    Format,
    Layout,
    Link,
    Matte,
    Output,
    Stored,
    Transparent,
    Upload,
    from_json,
    to_json,
)

_channels = st.integers(0, 255)
_edits = st.builds(
    Edit,
    source=st.builds(Link, st.text()) | st.builds(Stored, st.text()),
    backdrop=st.just(Transparent()) | st.builds(Color, _channels, _channels, _channels),
    layout=st.builds(Layout, crop=st.booleans(), max_side=st.none() | st.integers(1)),
    matte=st.builds(Matte, model=st.text(), refine=st.booleans(), foreground=st.sampled_from(Foreground)),
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
        ({"extra": 1}, "no 'extra'"),
        ({"layout": {"crop": False, "rotate": 3}}, "no 'rotate'"),
        ({"source": {"kind": "stored", "key": "a", "url": "b"}}, "no 'url'"),
        ({"source": {"kind": "upload", "data": ""}}, "no source of the kind 'upload'"),
        ({"source": {"kind": "link"}}, "edit.source.url must be a text"),
        ({"source": None}, "edit.source must be an object"),
        ({"backdrop": {"kind": "blur"}}, "no backdrop of the kind 'blur'"),
        ({"backdrop": {"kind": "color", "red": 1, "green": 2}}, "edit.backdrop.blue must be a whole number"),
        ({"backdrop": {"kind": "color", "red": 1, "green": 2, "blue": 256}}, r"must be in 0\.\.255"),
        ({"layout": {"crop": 1}}, "edit.layout.crop must be true or false"),
        ({"layout": {"max_side": True}}, "edit.layout.max_side must be a whole number"),
        ({"layout": {"max_side": 0}}, "max_side must be at least 1"),
        ({"matte": {"foreground": "best"}}, "'best' is not a valid Foreground"),
        ({"output": {"format": "gif"}}, "'gif' is not a valid Format"),
        ({"output": {"quality": 1.5}}, "edit.output.quality must be a whole number"),
    ],
)
def test_an_edit_that_is_not_understood_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json({**to_json(Edit(source=Stored("a"))), **change})


def test_an_edit_is_an_object() -> None:
    with pytest.raises(ValueError, match="edit must be an object"):
        from_json(["source"])

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mattebox import units
from mattebox.edit import Color, Gradient, Layout, Length, Margin, Region
from mattebox.errors import Kind, MatteboxError

TEN, TWENTY, THIRTY, FORTY = (Length(value) for value in (10, 20, 30, 40))
HALF = Length(50, percent=True)
READERS: list[Callable[[str], object]] = [
    units.lengths,
    units.region,
    units.margin,
    units.scale,
    units.position,
    units.ratio,
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30px", (THIRTY,)),
        ("30", (THIRTY,)),
        (" 30PX ", (THIRTY,)),
        ("50%", (HALF,)),
        ("12.5%", (Length(12.5, percent=True),)),
        ("+10 20px,30 , 40px", (TEN, TWENTY, THIRTY, FORTY)),
        ("-10px", (Length(-10),)),
        ("10.", (TEN,)),
    ],
)
def test_lengths(text: str, expected: tuple[Length, ...]) -> None:
    assert units.lengths(text) == expected


@pytest.mark.parametrize(
    "text", ["", " ", "px", "10 px", "1e3", "nan", "inf%", "10;20", "10,,20", ",10", "10em", "1" * 10, "1 " * 9, "٣px"]
)
def test_what_is_no_length(text: str) -> None:
    with pytest.raises(MatteboxError, match="not a length"):
        units.lengths(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10 20 30 40", Region(TEN, TWENTY, THIRTY, FORTY)),
        ("30px, 40px, 10px, 20px", Region(TEN, TWENTY, THIRTY, FORTY)),
        ("30 20 10 40", Region(TEN, TWENTY, THIRTY, FORTY)),
        ("50% 10 20px 20", Region(HALF, TEN, TWENTY, TWENTY)),
        ("0% 0% 50% 50%", Region(Length(0, percent=True), Length(0, percent=True), HALF, HALF)),
    ],
)
def test_region(text: str, expected: Region) -> None:
    assert units.region(text) == expected


@pytest.mark.parametrize("text", ["10", "1 2 3", "1 2 3 4 5", "-1 2 3 4", "a b c d", ""])
def test_what_is_no_region(text: str) -> None:
    with pytest.raises(MatteboxError, match="x1 y1 x2 y2"):
        units.region(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10px", Margin(TEN, TEN, TEN, TEN)),
        ("10px 50%", Margin(TEN, HALF, TEN, HALF)),
        ("10 20 30 40", Margin(TEN, TWENTY, THIRTY, FORTY)),
    ],
)
def test_margin(text: str, expected: Margin) -> None:
    assert units.margin(text) == expected


@pytest.mark.parametrize("text", ["1 2 3", "-1px", "10 -10", "wide", "1 2 3 4 5"])
def test_what_is_no_margin(text: str) -> None:
    with pytest.raises(MatteboxError, match="one, two or four"):
        units.margin(text)


def test_scale_and_position() -> None:
    assert units.scale("80%") == 0.8
    assert units.scale("100%") == 1
    assert units.position("center") == units.position(" Center ") == units.position("50%") == (0.5, 0.5)
    assert units.position("0% 100%") == (0, 1)
    assert units.position("25%, 75%") == (0.25, 0.75)


@pytest.mark.parametrize("text", ["80", "80px", "0%", "101%", "-5%", "10% 10%", "large", ""])
def test_what_is_no_scale(text: str) -> None:
    with pytest.raises(MatteboxError, match="80%"):
        units.scale(text)


@pytest.mark.parametrize("text", ["10", "101%", "10% 10", "1% 2% 3%", "centre", "-1%", ""])
def test_what_is_no_position(text: str) -> None:
    with pytest.raises(MatteboxError, match="center"):
        units.position(text)


def test_ratio() -> None:
    assert units.ratio("4:3") == (4, 3)
    assert units.ratio(" 16 : 9 ") == (16, 9)


@pytest.mark.parametrize("text", ["4", "4/3", "0:3", "4:0", "-4:3", "4:3:2", "1.5:1", "100000:1", ""])
def test_what_is_no_ratio(text: str) -> None:
    with pytest.raises(MatteboxError, match="4:3"):
        units.ratio(text)


@given(st.text(max_size=60))
def test_whatever_is_written_is_read_or_refused_without_a_name(text: str) -> None:
    refusals = [refused for read in READERS if (refused := _refusal(read, text)) is not None]
    assert {(each.kind, each.parameter) for each in refusals} <= {(Kind.INVALID_PARAMETER, None)}
    assert all(each.message.endswith(".") and len(each.message) < 400 for each in refusals)


def _refusal(read: Callable[[str], object], text: str) -> MatteboxError | None:
    try:
        read(text)
    except MatteboxError as error:
        return error
    return None


_NUMBERS = st.integers(0, 10**6) | st.decimals(0, 10**6, places=3).map(float)
_LENGTHS = st.builds(Length, _NUMBERS, st.booleans())


def _written(length: Length) -> str:
    return f"{length.value:.3f}{'%' if length.percent else 'px'}"


@given(st.lists(_LENGTHS, min_size=1, max_size=4), st.sampled_from([" ", ",", ", "]))
def test_what_is_written_is_read_back(some: list[Length], between: str) -> None:
    assert units.lengths(between.join(map(_written, some))) == tuple(some)


@given(_LENGTHS, _LENGTHS, _LENGTHS, _LENGTHS)
def test_the_corners_of_a_region_may_change_places(a: Length, b: Length, c: Length, d: Length) -> None:
    found = units.region(" ".join(map(_written, (a, b, c, d))))
    if a.percent == c.percent and b.percent == d.percent:
        assert units.region(" ".join(map(_written, (c, d, a, b)))) == found
        assert found.left.value <= found.right.value
        assert found.top.value <= found.bottom.value


@given(st.integers(1, 10**5).map(lambda part: part / 1000), st.integers(0, 100), st.integers(0, 100))
def test_what_is_read_is_a_layout(share: float, x: int, y: int) -> None:
    place = units.position(f"{x}% {y}%")
    assert Layout(scale=units.scale(f"{share:.3f}%"), position=place).position == (x / 100, y / 100)


# --- colours in words


@pytest.mark.parametrize(
    ("text", "color"),
    [
        ("#ffffff", Color(255, 255, 255)),
        ("ff8000", Color(255, 128, 0)),
        ("FF8000", Color(255, 128, 0)),
        ("#f80", Color(255, 136, 0)),
        ("f80", Color(255, 136, 0)),
        ("#f80f", Color(255, 136, 0)),
        ("ff8000FF", Color(255, 128, 0)),
        ("rgb(255, 128, 0)", Color(255, 128, 0)),
        ("RGB(255,128,0)", Color(255, 128, 0)),
        ("rgb(100%, 0%, 0%)", Color(255, 0, 0)),
        ("white", Color(255, 255, 255)),
        (" RebeccaPurple ", Color(102, 51, 153)),
    ],
)
def test_colours_by_name(text: str, color: Color) -> None:
    assert units.color(text) == color


def test_no_colour_at_all_has_a_name_too() -> None:
    assert units.color(" Transparent", opaque=False).opacity == 0
    with pytest.raises(MatteboxError, match="must be opaque"):
        units.color("transparent")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#",
        "#ff",
        "#fffff",
        "reddish",
        "rgb(256, 0, 0)",
        "rgb(1,2)",
        "#ff800080",
        "f808",
        "rgba(1,2,3,4)",
        "x" * 999,
    ],
)
def test_words_that_are_no_colour(text: str) -> None:
    with pytest.raises(MatteboxError, match="colour") as caught:
        units.color(text)
    assert caught.value.kind is Kind.INVALID_PARAMETER
    assert len(caught.value.message) < 150


@given(st.text(max_size=30))
def test_fuzz_colours(text: str) -> None:
    try:
        units.color(text)
    except MatteboxError as error:
        assert error.kind is Kind.INVALID_PARAMETER  # noqa: PT017 - both ends are fine


# --- gradients in words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#fff #00f", Gradient(Color(255, 255, 255), Color(0, 0, 255), 180)),
        (" White,blue ", Gradient(Color(255, 255, 255), Color(0, 0, 255), 180)),
        ("135 #fff 00f", Gradient(Color(255, 255, 255), Color(0, 0, 255), 135)),
        ("-22.5deg, #fff, blue", Gradient(Color(255, 255, 255), Color(0, 0, 255), -22.5)),
        ("rgb(1, 2, 3) rgb( 4,5 , 6)", Gradient(Color(1, 2, 3), Color(4, 5, 6))),
        ("360DEG rgb(1, 2, 3), red", Gradient(Color(1, 2, 3), Color(255, 0, 0), 360)),
    ],
)
def test_gradients(text: str, expected: Gradient) -> None:
    assert units.gradient(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a gradient"),
        ("red", "not a gradient"),
        ("361 red blue", "not a gradient"),
        ("nan red blue", "not a gradient"),
        ("red green blue", "not a gradient"),
        ("90 red green blue", "not a gradient"),
        ("(" * 8000, "not a gradient"),
        ("red bluish", "'bluish' is not a colour"),
        ("red #0000ff80", "must be opaque"),
    ],
)
def test_words_that_are_no_gradient(text: str, message: str) -> None:
    with pytest.raises(MatteboxError, match=message) as caught:
        units.gradient(text)
    assert caught.value.kind is Kind.INVALID_PARAMETER
    assert len(caught.value.message) < 160

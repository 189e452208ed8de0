"""How people write lengths, regions, margins, positions, colours and gradients: the same in every front end.

A length is `30px` or `10%`; a bare number is in pixels. Several are apart by spaces or commas. Every reader raises
MatteboxError(INVALID_PARAMETER) without a parameter: only the front end knows by what name the text came.
"""

from __future__ import annotations

import re
from typing import NoReturn

from mattebox.edit import Color, Gradient, Length, Margin, Region
from mattebox.errors import Kind, MatteboxError

_NUMBER = re.compile(r"([+-]?[0-9]{1,9}(?:\.[0-9]{0,9})?)(px|%)?", re.IGNORECASE)
_ANGLE = re.compile(r"([+-]?[0-9]{1,3}(?:\.[0-9]{0,9})?)(?:deg)?", re.IGNORECASE)
_MOST_LENGTHS = 8
_LONGEST_GRADIENT = 200  # characters


def lengths(text: str) -> tuple[Length, ...]:
    """One length or several, which may be negative.

    Raises:
        MatteboxError: one of them is none, or there are more than 8, which nothing needs.
    """
    found: list[Length] = []
    for word in re.split(r"\s*,\s*|\s+", text.strip(), maxsplit=_MOST_LENGTHS):
        number = _NUMBER.fullmatch(word)
        if number is None or len(found) == _MOST_LENGTHS:
            _refuse(text, "not a length; write 30px or 10%, and separate several by spaces")
        found.append(Length(float(number[1]), percent=number[2] == "%"))
    return tuple(found)


def region(text: str) -> Region:
    """Two opposite corners, `x1 y1 x2 y2`, in whichever order.

    What cannot be compared (pixels with per cent) is taken to be in the order left, top, right, bottom.

    Raises:
        MatteboxError: these are not four lengths from 0 on.
    """
    edges = _several(text)
    if len(edges) != 4 or any(edge.value < 0 for edge in edges):
        _refuse(text, "not a region; write its corners as x1 y1 x2 y2, each in px or %, and none below 0")
    left, right = _in_order(edges[0], edges[2])
    top, bottom = _in_order(edges[1], edges[3])
    return Region(left=left, top=top, right=right, bottom=bottom)


def margin(text: str) -> Margin:
    """One length for all sides; two for above and below, and for the sides; or top, right, bottom and left.

    Raises:
        MatteboxError: these are not one, two or four lengths from 0 on.
    """
    sides = _several(text)
    if len(sides) not in (1, 2, 4) or any(side.value < 0 for side in sides):
        _refuse(text, "not a margin; write one, two or four lengths in px or %, and none below 0")
    match sides:
        case (every,):
            return Margin(every, every, every, every)
        case (vertical, horizontal):
            return Margin(vertical, horizontal, vertical, horizontal)
        case _:
            return Margin(*sides)


def scale(text: str) -> float:
    """A share in per cent, `80%`, as a fraction above 0 and at most 1."""
    shares = _several(text)
    if len(shares) != 1 or not shares[0].percent or not 0 < shares[0].value <= 100:
        _refuse(text, "not a scale; write a share above 0% and up to 100%, as in 80%")
    return shares[0].value / 100


def position(text: str) -> tuple[float, float]:
    """A place: `center`, or how far from the left and from the top, `50% 100%`; one share holds for both.

    Returns:
        Fractions in [0, 1], across and down.
    """
    if text.strip().lower() == "center":
        return (0.5, 0.5)
    shares = _several(text)
    if len(shares) not in (1, 2) or not all(share.percent and 0 <= share.value <= 100 for share in shares):
        _refuse(text, "not a position; write center, or two shares from 0% to 100%, as in 50% 100%")
    return shares[0].value / 100, shares[-1].value / 100


def ratio(text: str) -> tuple[int, int]:
    """Proportions in whole numbers, `4:3`: width, then height."""
    found = re.fullmatch(r"\s*([0-9]{1,5})\s*:\s*([0-9]{1,5})\s*", text)
    if found is None or 0 in (int(found[1]), int(found[2])):
        _refuse(text, "not a ratio; write width and height in whole numbers, as in 4:3")
    return int(found[1]), int(found[2])


def color(text: str, *, opaque: bool = True) -> Color:
    """A colour from words: hex digits with or without `#`, `rgb(255, 255, 255)`, or a CSS name, in any case.

    Args:
        text: the words. The last of four hex digits, or the last two of eight, are the opacity.
        opaque: refuse a colour that is not.

    Raises:
        MatteboxError: it is none, or is not opaque although it must be.
    """
    from PIL import ImageColor

    word = text.strip()
    if word.lower() == "transparent":  # a name of CSS that Pillow does not know
        word = "#00000000"
    if re.fullmatch(r"(?:[0-9a-fA-F]{3,4}){1,2}", word):
        word = "#" + word
    try:
        red, green, blue, *rest = ImageColor.getrgb(word)
        found = Color(red, green, blue, opacity=rest[0] / 255 if rest else 1.0)
    except ValueError as error:
        raise MatteboxError(
            Kind.INVALID_PARAMETER, f"{text[:40]!r} is not a colour; write #ffffff, rgb(255, 255, 255) or a CSS name."
        ) from error
    if opaque and found.opacity < 1:
        raise MatteboxError(Kind.INVALID_PARAMETER, f"The colour {text[:40]!r} must be opaque.")
    return found


def gradient(text: str) -> Gradient:
    """Two opaque colours, from the top down, or an angle in degrees before them: `135 #fff rgb(200, 200, 220)`.

    Raises:
        MatteboxError: it is none, or a colour is not opaque.
    """
    # Spaces and commas within parentheses belong to a colour.
    words = re.split(r"[\s,]+(?![^(]*\))", text.strip()) if len(text) <= _LONGEST_GRADIENT else []
    angle = _ANGLE.fullmatch(words[0]) if len(words) == 3 else None
    degrees = 180.0 if angle is None else float(angle[1])
    if not (len(words) == 2 or angle) or abs(degrees) > 360:
        _refuse(
            text, "not a gradient; write two colours, or an angle from -360 to 360 before them, as in 135 #fff #ccd"
        )
    start, end = map(color, words[-2:])
    return Gradient(start, end, degrees)


def _several(text: str) -> tuple[Length, ...]:
    """The lengths; none where that is something else, for who refuses both alike."""
    try:
        return lengths(text)
    except MatteboxError:
        return ()


def _in_order(one: Length, two: Length) -> tuple[Length, Length]:
    return (two, one) if one.percent == two.percent and two.value < one.value else (one, two)


def _refuse(text: str, why: str) -> NoReturn:
    raise MatteboxError(Kind.INVALID_PARAMETER, f"{text[:40]!r} is {why}.")

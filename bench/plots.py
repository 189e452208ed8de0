"""Plots as SVG, with nothing but text: lines over a logarithmic axis, and bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]
_COLOURS = ("#0b62a4", "#6aa5d8", "#a9cbe8", "#c0392b", "#e67e22", "#f1b04c", "#8e6bbf", "#2e8b57", "#7f8c8d")
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 70, 210, 40, 50


def lines(title: str, x: str, y: str, series: Mapping[str, Points]) -> str:
    """Curves over two logarithmic axes, each with its name beside its end."""
    height = 420
    across, up = ([point[axis] for points in series.values() for point in points] for axis in (0, 1))
    left, right = min(across), max(across)
    low, high = min(up) / 1.15, max(up) * 1.15

    def place(point: tuple[float, float]) -> tuple[float, float]:
        part = (_log(point[0], left, right), _log(point[1], low, high))
        return _LEFT + part[0] * (_WIDTH - _LEFT - _RIGHT), height - _BOTTOM - part[1] * (height - _TOP - _BOTTOM)

    drawn = []
    for tick in sorted(set(across)):
        at = place((tick, low))[0]
        drawn.append(_line((at, _TOP), (at, height - _BOTTOM), "#ddd") + _text(at, height - 30, f"{tick:g}", "middle"))
    for tick in _ticks(low, high):
        at = place((left, tick))[1]
        drawn.append(_line((_LEFT, at), (_WIDTH - _RIGHT, at), "#ddd") + _text(_LEFT - 8, at + 4, f"{tick:g}", "end"))
    ends = _spread({name: place(points[-1])[1] for name, points in series.items()})
    for colour, (name, points) in zip(_COLOURS, series.items(), strict=False):
        places = [place(point) for point in points]
        path = " ".join(f"{each[0]:.1f},{each[1]:.1f}" for each in places)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [f'<circle cx="{each[0]:.1f}" cy="{each[1]:.1f}" r="3" fill="{colour}"/>' for each in places]
        drawn.append(_line(places[-1], (_WIDTH - _RIGHT + 12, ends[name]), colour, dashes="1 4"))
        drawn.append(_text(_WIDTH - _RIGHT + 16, ends[name] + 4, name, "start", colour))
    drawn.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, height - 10, x, "middle"))
    return _picture(height, f"{title}: {y}", drawn)


def bars(title: str, values: Mapping[str, Mapping[str, float]]) -> str:
    """Groups of bars from zero, each with its value. The inner names are the colours'."""
    names = list(dict.fromkeys(name for group in values.values() for name in group))
    most = max(value for group in values.values() for value in group.values())
    drawn, top = [], _TOP + 20.0
    for place, name in enumerate(names if len(names) > 1 else ()):
        drawn.append(_text(_LEFT + 130 + 160 * place, _TOP + 6, f"■ {name}", "start", _COLOURS[place * 3]))
    for label, group in values.items():
        drawn.append(_text(_LEFT + 120, top + 8 * len(group) + 4, label, "end"))
        for place, name in enumerate(names):
            if name in group:
                width = group[name] / most * (_WIDTH - _LEFT - 230)
                colour = _COLOURS[place * 3]
                drawn.append(f'<rect x="{_LEFT + 130}" y="{top:.0f}" width="{width:.1f}" height="13" fill="{colour}"/>')
                drawn.append(_text(_LEFT + 136 + width, top + 11, f"{group[name]:.3g}", "start"))
                top += 16
        top += 10
    return _picture(top + 10, title, drawn)


def _log(value: float, low: float, high: float) -> float:
    return 0.5 if low == high else (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**power for power in powers for step in (1, 2, 5) if low <= step * 10.0**power <= high]


def _spread(heights: Mapping[str, float]) -> dict[str, float]:
    """The heights, moved apart so that names do not cover each other."""
    placed: dict[str, float] = {}
    last = -math.inf
    for name, height in sorted(heights.items(), key=lambda pair: pair[1]):
        last = placed[name] = max(height, last + 16)
    return placed


def _line(start: tuple[float, float], end: tuple[float, float], colour: str, *, dashes: str = "none") -> str:
    ends = f"M{start[0]:.1f},{start[1]:.1f} L{end[0]:.1f},{end[1]:.1f}"
    return f'<path d="{ends}" stroke="{colour}" fill="none" stroke-dasharray="{dashes}"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _picture(height: float, title: str, drawn: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" font-family="sans-serif" '
        f'font-size="13">\n<rect width="100%" height="100%" fill="#fff"/>\n'
    )
    heading = f'<text x="{_LEFT}" y="24" font-size="15" fill="#222">{escape(title)}</text>'
    return "\n".join([head + heading, *drawn, "</svg>", ""])

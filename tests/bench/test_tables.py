from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import tables


def records() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [{"row": "warm", "machine": "A processor (AVX2 yes)", "busy": 0.5}]
    for name, factor in (("mattebox", 1.0), ("rembg", 3.0)):
        for size in (2.5, 12.0):
            for cpu in (1.0, 9.0, 2.0):  # the median of these is 2
                run = {"cpu": factor * size * cpu, "wall": cpu, "peak": 300 * 2**20}
                made.append({"row": "warm", "contestant": name, "megapixels": size, **run})
    made.append({"row": "warm", "contestant": "slow", "megapixels": 12.0, "stopped": "it took too long"})
    return made


def test_a_row_is_the_median_and_its_ratio_to_mattebox() -> None:
    text = tables.text(records())
    assert "A processor (AVX2 yes)" in text
    assert "| 2.5 | mattebox | 5.00 | 1.00 | 2.00 | 300 | 3 |" in text
    assert "| 12 | rembg | 72.00 | 3.00 | 2.00 | 300 | 3 |" in text
    assert "Not measured: slow, 12 megapixels: it took too long." in text


def test_only_what_was_measured_has_a_table() -> None:
    assert tables.text([]) == ""
    headings = [line for line in tables.text(records()).splitlines() if line.startswith("| --- ")]
    assert len(headings) == 1


def test_plots_are_xml_with_a_curve_for_each_contestant() -> None:
    ((name, drawing),) = tables.drawings(records())
    assert name == "warm.svg"
    root = ElementTree.fromstring(drawing)  # noqa: S314 - our own
    curves = root.findall("{*}polyline")
    assert len(curves) == 2
    ys = [[float(point.split(",")[1]) for point in curve.attrib["points"].split()] for curve in curves]
    assert all(fast > slow for fast, slow in zip(*ys, strict=True))  # three times as much is higher up
    assert {"mattebox", "rembg"} <= {each.text for each in root.findall("{*}text")}

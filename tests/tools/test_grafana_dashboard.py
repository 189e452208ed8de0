from __future__ import annotations

import json
import re

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

import grafana_dashboard as tool
from mattebox.server.monitor import METRICS

SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
OURS = {metric.name + suffix: metric for metric in METRICS.values() for suffix in SUFFIXES[metric.type]}


def expressions() -> list[str]:
    return [query for row in tool.ROWS.values() for panel in row for query, _ in panel.queries]


def test_the_file_is_current() -> None:
    assert tool.FILE.read_text("utf-8") == tool.text(), "run: make docs"


def test_each_query_asks_for_metrics_and_labels_that_there_are() -> None:
    for query in expressions():
        [name] = re.findall(r"\b(?:mattebox|process)_\w+", query)
        metric = OURS.get(name)
        assert metric is not None or name.startswith("process_"), query
        if metric is not None:
            grouped = ",".join(re.findall(r"by \(([^)]*)\)", query)).replace(" ", "").split(",")
            assert {*grouped} - {"", "le"} <= {*metric.labels}, query
        assert ("rate(" in query or "increase(" in query) == (metric is None or metric.type != "gauge") or (
            name in {"process_resident_memory_bytes", "process_open_fds"}
        ), query


def test_each_metric_of_ours_is_shown() -> None:
    shown = {OURS[name].name for query in expressions() for name in re.findall(r"\bmattebox_\w+", query)}
    assert shown == set(METRICS)


def test_each_query_is_of_the_chosen_processes_and_nothing_is_drawn_over_another() -> None:
    board = json.loads(tool.FILE.read_text("utf-8"))
    cells: set[tuple[int, int]] = set()
    ids: set[int] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & mine
        cells |= mine
        assert at["x"] + at["w"] <= 24
        assert panel["id"] not in ids
        ids.add(panel["id"])
        for target in panel.get("targets", []):
            assert target["expr"].count(tool.SELECTOR) == 1
            assert target["expr"].count("(") == target["expr"].count(")")
            assert not re.search(r"\$[)\[]|\$$", target["expr"])
            assert target["datasource"]["uid"] == "${source}"


def test_grafana_knows_every_field_and_lacks_none_that_decides_what_is_shown() -> None:
    plugins.register_default_plugins()
    board = json.loads(tool.FILE.read_text("utf-8"))
    known = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    assert fields(board) <= fields(known)
    added = {re.sub(r"[\d.]+\.", ".", field) for field in fields(known) - fields(board)}
    assert {field for field in added if field.startswith("panels.options")} == set()


def fields(value: object, path: str = "") -> set[str]:
    """Each field of a JSON text with its value, as in `panels.3.title=Memory`."""
    if isinstance(value, dict):
        return {found for name, each in value.items() for found in fields(each, f"{path}.{name}")}
    if isinstance(value, list) and value:
        return {found for at, each in enumerate(value) for found in fields(each, f"{path}.{at}")}
    return {f"{path.removeprefix('.')}={value}"}

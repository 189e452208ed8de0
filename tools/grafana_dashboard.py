"""Writes `deploy/grafana-dashboard.json`: a dashboard for Grafana 10 and newer. `make docs` runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase
from typing import NamedTuple

FILE = Path(__file__).parents[1] / "deploy" / "grafana-dashboard.json"
SOURCE = {"type": "prometheus", "uid": "${source}"}
SELECTOR = '{job=~"$job", instance=~"$instance"}'


class Panel(NamedTuple):
    """One graph. `queries` are expressions with the legend of each; `$` in them stands for the chosen processes."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    stacked: bool = False


def _quantile(of: float, metric: str, by: str) -> str:
    return f"histogram_quantile({of}, sum by (le, {by}) (rate({metric}_bucket$[$__rate_interval])))"


ROWS: dict[str, tuple[Panel, ...]] = {
    "Requests": (
        Panel(
            "Requests a second by status",
            "reqps",
            (("sum by (status) (rate(mattebox_requests_total$[$__rate_interval]))", "{{status}}"),),
            stacked=True,
        ),
        Panel(
            "Requests a second by dialect and route",
            "reqps",
            (
                (
                    "sum by (dialect, route) (rate(mattebox_requests_total$[$__rate_interval]))",
                    "{{dialect}} {{route}}",
                ),
            ),
        ),
        Panel(
            "Seconds of a request",
            "s",
            (
                (_quantile(0.5, "mattebox_request_seconds", "dialect"), "{{dialect}} median"),
                (_quantile(0.99, "mattebox_request_seconds", "dialect"), "{{dialect}} 99 %"),
            ),
        ),
        Panel(
            "Failures a second by kind",
            "ops",
            (("sum by (work, kind) (rate(mattebox_errors_total$[$__rate_interval]))", "{{work}} {{kind}}"),),
        ),
    ),
    "Pictures": (
        Panel(
            "Where the time goes: seconds of each stage, a second",
            "s",
            (("sum by (stage) (rate(mattebox_stage_seconds_sum$[$__rate_interval]))", "{{stage}}"),),
            stacked=True,
        ),
        Panel("Seconds of a stage, 95 %", "s", ((_quantile(0.95, "mattebox_stage_seconds", "stage"), "{{stage}}"),)),
        Panel(
            "Pictures in work and waiting",
            "short",
            (
                ("sum by (state, line) (mattebox_pictures$)", "{{line}} {{state}}"),
                ("sum(mattebox_workers$)", "workers"),
                ("sum(mattebox_workers_stuck$)", "workers that are stuck"),
            ),
        ),
        Panel(
            "Pixels in work and waiting", "short", (("sum by (state, line) (mattebox_pixels$)", "{{line}} {{state}}"),)
        ),
        Panel(
            "Mattes that were kept",
            "ops",
            (("sum by (outcome) (rate(mattebox_mattes_total$[$__rate_interval]))", "{{outcome}}"),),
        ),
        Panel("Memory of mattes", "bytes", (("mattebox_mattes_bytes$", "{{instance}}"),)),
    ),
    "Tasks": (
        Panel("Tasks by status", "short", (("max by (status) (mattebox_tasks$)", "{{status}}"),)),
        Panel(
            "Age of the oldest task",
            "s",
            (("max by (status) (mattebox_oldest_task_age_seconds$)", "{{status}}"),),
        ),
        Panel("Shards of bulk by status", "short", (("max by (status) (mattebox_shards$)", "{{status}}"),)),
        Panel(
            "Age of the oldest shard of bulk",
            "s",
            (("max by (status) (mattebox_oldest_shard_age_seconds$)", "{{status}}"),),
        ),
        Panel(
            "Webhooks",
            "short",
            (
                (
                    "sum by (outcome) (increase(mattebox_webhook_deliveries_total$[$__rate_interval]))",
                    "{{outcome}}",
                ),
                ("max(mattebox_webhooks_waiting$)", "waiting"),
            ),
        ),
        Panel("Credits used", "short", (("max(mattebox_credits_used$)", "pictures"),)),
    ),
    "Processes": (
        Panel(
            "Ready, and its database answers",
            "short",
            (
                ("mattebox_ready$", "{{instance}} ready"),
                ("mattebox_database_up$", "{{instance}} database"),
            ),
        ),
        Panel("Memory", "bytes", (("process_resident_memory_bytes$", "{{instance}}"),)),
        Panel(
            "Processors' worth of time",
            "short",
            (("rate(process_cpu_seconds_total$[$__rate_interval])", "{{instance}}"),),
        ),
        Panel("Open files", "short", (("process_open_fds$", "{{instance}}"),)),
    ),
}


def expression(query: str) -> str:
    """A query as Prometheus takes it."""
    return query.replace("$[", f"{SELECTOR}[").replace("$)", f"{SELECTOR})").removesuffix("$") + (
        SELECTOR if query.endswith("$") else ""
    )


def panels() -> Iterator[dict[str, object]]:
    """Every row with its panels, two beside one another."""
    height, number = 0, 0
    for row, shown in ROWS.items():
        number += 1
        place = {"x": 0, "y": height, "w": 24, "h": 1}
        yield {"id": number, "type": "row", "title": row, "gridPos": place, "panels": []}
        height += 1
        for at, panel in enumerate(shown):
            number += 1
            place = {"x": 12 * (at % 2), "y": height + 8 * (at // 2), "w": 12, "h": 8}
            yield {"id": number, "gridPos": place, **_graph(panel)}
        height += 8 * ((len(shown) + 1) // 2)


def _graph(panel: Panel) -> dict[str, object]:
    custom = {"stacking": {"mode": "normal"}, "fillOpacity": 30} if panel.stacked else {"fillOpacity": 5}
    return {
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {"refId": letter, "datasource": SOURCE, "expr": expression(query), "legendFormat": said}
            for letter, (query, said) in zip(ascii_uppercase, panel.queries, strict=False)
        ],
    }


def _choice(name: str, label: str, query: str) -> dict[str, object]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard() -> dict[str, object]:
    """The whole dashboard, as Grafana imports it."""
    return {
        "uid": "mattebox",
        "title": "mattebox",
        "tags": ["mattebox"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                _choice("job", "Job", "label_values(mattebox_ready, job)"),
                _choice("instance", "Process", 'label_values(mattebox_ready{job=~"$job"}, instance)'),
            ]
        },
        "panels": list(panels()),
    }


def text() -> str:
    """The file's text."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")

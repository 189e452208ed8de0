"""Writes the tables of metrics and stages in `operations.md` anew, from their declarations; `make docs` runs it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from mattebox import stages
from mattebox.server.monitor import METRICS

PAGE = Path(__file__).parent / "operations.md"


def metrics() -> str:
    """One row a metric."""
    rows = ["| metric | type | labels | what it says |", "| --- | --- | --- | --- |"]
    for metric in METRICS.values():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.type} | {labels} | {metric.doc} |")
    return "\n".join(rows) + "\n"


def stage_rows() -> str:
    """One row a stage, with the sentence below its declaration."""
    rows = ["| stage | what happens |", "| --- | --- |"]
    declared = re.findall(r'= "(\w+)"\n +"""(.*?)"""', inspect.getsource(stages.Stage))
    rows += [f"| `{name}` | {said} |" for name, said in declared]
    return "\n".join(rows) + "\n"


def page(text: str) -> str:
    """The page with its tables written anew."""
    for name, table in (("metrics", metrics()), ("stages", stage_rows())):
        before, rest = text.split(f"<!-- {name} -->\n")
        text = f"{before}<!-- {name} -->\n{table}<!-- /{name} -->{rest.partition(f'<!-- /{name} -->')[2]}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")

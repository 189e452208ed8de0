from __future__ import annotations

import runpy
from pathlib import Path

from mattebox.server.monitor import METRICS
from mattebox.stages import Stage

DOCS = Path(__file__).parents[2] / "docs"


def test_the_tables_of_the_page_are_current_and_name_everything() -> None:
    text = (DOCS / "operations.md").read_text("utf-8")
    assert runpy.run_path(str(DOCS / "metrics.py"))["page"](text) == text, "run: make docs"
    assert all(f"| `{name}` |" in text for name in (*METRICS, *Stage))

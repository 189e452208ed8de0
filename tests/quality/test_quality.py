"""The quality table: real networks on pictures with true mattes.

`MATTEBOX_EVAL` names a folder with `score.py` and `dev/manifest.csv`. Run with `make quality`.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

import pytest

from mattebox import codec
from mattebox.edit import Edit, Matte, Output
from mattebox.engine import Engine

pytestmark = [pytest.mark.quality, pytest.mark.model, pytest.mark.timeout(3600)]

Scores: TypeAlias = dict[str, float]


@pytest.fixture(scope="session")
def folder() -> Path:
    named = os.environ.get("MATTEBOX_EVAL")
    assert named, "Set MATTEBOX_EVAL to the folder with score.py and dev/manifest.csv."
    return Path(named)


def score(folder: Path, engine: Engine, into: Path, matte: Matte, sets: str = "") -> dict[str, Scores]:
    """Cut out every picture (of `sets`) and let score.py judge the mattes."""
    into.mkdir()
    with (folder / "dev" / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not sets or row["set"] in sets.split(",")]
    limits = codec.Limits(max_bytes=2**30, max_pixels=10**9)
    for row in rows:
        photo = (folder / "dev" / row["image"]).read_bytes()
        edit = Edit(matte=matte, output=Output(alpha_only=True))
        (into / f"{row['name']}.png").write_bytes(engine.run_file(edit, photo, limits=limits).data)
    command = [sys.executable, str(folder / "score.py"), str(into), "--split", "dev", "--sets", sets]
    table = subprocess.run([*command, "--json", str(into / "scores.json")], check=True, capture_output=True, text=True)
    print(f"\n{matte}\n{table.stdout}")
    summary: dict[str, Scores] = json.loads((into / "scores.json").read_text())["summary"]
    return summary


@pytest.fixture(scope="session")
def scores(folder: Path, real_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scores]:
    return score(folder, real_engine, tmp_path_factory.mktemp("quality") / "default", Matte())


@pytest.mark.parametrize(
    ("metric", "least", "most"),
    [
        ("mae", 0.0, 0.0210),
        ("wF", 0.949, 1.0),
        ("S", 0.952, 1.0),
        ("E", 0.970, 1.0),
        ("biouF", 0.607, 1.0),
        ("band", 0.0, 95.5),
    ],
)
def test_the_default_model_is_good_enough(scores: dict[str, Scores], metric: str, least: float, most: float) -> None:
    assert least <= scores["overall"][metric] <= most


def test_refinement_beats_stretching_where_pixels_abound(
    scores: dict[str, Scores], folder: Path, real_engine: Engine, tmp_path: Path
) -> None:
    stretched = score(folder, real_engine, tmp_path / "stretched", Matte(refine=False))
    hires, plain = scores["set:comp_hires"], stretched["set:comp_hires"]
    assert hires["band"] < plain["band"]
    assert hires["biouF"] > plain["biouF"]
    for name, ours in scores.items():
        if name.startswith("set:") and ours["n"]:
            assert ours["mae"] <= stretched[name]["mae"] + 5e-4, name
            assert ours["biouF"] >= stretched[name]["biouF"] - 5e-4, name

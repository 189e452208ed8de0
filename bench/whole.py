"""One whole run in a fresh process: load the default model, cut a photo out twice. Answers with JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mattebox.edit import Edit
from mattebox.engine import Engine
from mattebox.models import Models
from measure import peak_bytes


def main() -> None:
    photo = Path(sys.argv[1]).read_bytes()
    engine = Engine(Models())
    edit = Edit()
    steps: dict[str, Callable[[], object]] = {
        "load": lambda: engine.models.warm("auto"),
        "first photo": lambda: engine.run_file(edit, photo),
        "second photo": lambda: engine.run_file(edit, photo),
    }
    results = {}
    for name, step in steps.items():
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        results[name] = {
            "wall": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "peak": peak_bytes(),
        }
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()

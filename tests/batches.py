"""Plans of batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mattebox import batch
from mattebox.batch import Plan
from mattebox.edit import Format
from mattebox.errors import MatteboxError


def write(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(str(file).encode())


def as_a_person(code: str, folder: Path) -> str:
    """Run code, which is told `folder`, by someone to whom permissions apply, and give what it printed."""
    command = [sys.executable, "-c", f"from pathlib import Path; folder = Path({str(folder)!r}); {code}"]
    if os.geteuid() == 0:  # to root they do not apply, unless this is taken away
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def plan(*inputs: Path | str, to: Path | str | None, overwrite: bool = False, fmt: Format | None = None) -> Plan:
    return batch.plan([str(each) for each in inputs], None if to is None else str(to), format=fmt, overwrite=overwrite)


def targets(made: Plan) -> set[Path | None]:
    return {job.target for job in made.jobs}


def refusal(
    *inputs: Path | str, to: Path | str | None, overwrite: bool = True, fmt: Format | None = None
) -> MatteboxError:
    with pytest.raises(MatteboxError) as caught:
        plan(*inputs, to=to, overwrite=overwrite, fmt=fmt)
    return caught.value

"""The command itself: version, help, the progress bar."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.command import mattebox, photos, process


def test_version_and_help() -> None:
    assert mattebox("--version").stdout == "mattebox 0.1.0\n"
    for args in (
        [],
        ["remove"],
        ["models"],
        ["models", "pull"],
        ["replace"],
        ["scenes"],
        ["scenes", "add"],
        ["serve"],
        ["database"],
        ["database", "downgrade"],
        ["certificate"],
    ):
        result = mattebox(*args, "--help")
        assert result.exit_code == 0
        assert "Usage" in result.stdout


@pytest.mark.process
@pytest.mark.parametrize(
    ("args", "more"), [(["--help"], "pydantic"), (["remove", "--help"], ""), (["replace", "--help"], "")]
)
def test_help_loads_nothing_heavy(args: list[str], more: str) -> None:
    code = (
        "import sys\n"
        "from mattebox.cli import app\n"
        f"try: app({args})\n"
        "except SystemExit: pass\n"
        f"heavy = set('numpy cv2 PIL fastapi starlette uvicorn sqlalchemy openvino anyio {more}'.split())\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.process
def test_a_progress_bar_is_shown_on_a_terminal_only(tmp_path: Path) -> None:
    photos(tmp_path / "in", *(f"{number}.png" for number in range(12)))
    ours, theirs = os.openpty()
    with subprocess.Popen(
        process("remove", tmp_path / "in", "-o", tmp_path / "out", "--json"),
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=dict(os.environ) | {"TERM": "xterm", "COLUMNS": "120"},
    ) as running:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError as error:  # how Linux says that the other side was closed
            if error.errno != errno.EIO:
                raise
        finally:
            os.close(ours)
        assert running.stdout is not None
        lines = running.stdout.read().splitlines()
    assert b"photos/s" in shown
    assert b"12 done" in shown
    assert len([json.loads(line) for line in lines]) == 12

"""What this process has used."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    if sys.platform == "linux":
        # getrusage also counts what the parent held when it started this process; the kernel's own mark does not.
        mark = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert mark
        return int(mark[1]) * 1024
    else:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS

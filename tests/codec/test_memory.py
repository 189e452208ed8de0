"""The memory that decoding takes, outside of Python too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from .pictures import saved


@pytest.mark.process
@pytest.mark.parametrize(
    ("form", "options"), [("PNG", {}), ("TIFF", {"compression": "tiff_deflate"}), ("GIF", {}), ("AVIF", {})]
)
def test_decoding_holds_the_picture_about_once(form: str, options: dict[str, object], tmp_path: Path) -> None:
    program = """
import re, sys
from pathlib import Path
from mattebox import codec

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

codec.decode(Path(sys.argv[1]).read_bytes())
before = peak()
image = codec.decode(Path(sys.argv[2]).read_bytes())
print((peak() - before) * 1024 / image.alpha.size)
"""
    side = 3_000
    whole = np.full((side, side, 4), (200, 60, 40, 100), np.uint8)
    whole[: side // 2] = 0
    picture = PIL.Image.fromarray(whole)
    if form == "GIF":
        picture = picture.convert("P")
        picture.info["transparency"] = picture.getpixel((0, 0))
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(saved(picture.resize((8, 8), PIL.Image.Resampling.NEAREST), form, **options))
    large.write_bytes(saved(picture, form, **options))
    done = subprocess.run([sys.executable, "-c", program, small, large], capture_output=True, text=True, check=True)
    # 3 bytes of RGB, 4 of alpha and 1 of its levels; the reader's own picture, of up to 8, goes before alpha is made.
    assert float(done.stdout) < 13

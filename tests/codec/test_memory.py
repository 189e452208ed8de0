"""The memory that decoding takes, outside of Python too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from .pictures import saved

PEAK = """
import re, sys
from pathlib import Path
from mattebox import codec, picture_files
from mattebox.edit import Format, Output

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

do = {
    "decode": codec.decode,
    "transform": lambda data: picture_files.transform(None, data),
    "to AVIF": lambda data: picture_files.transform(None, data, output=Output(format=Format.AVIF)),
}[sys.argv[1]]
do(Path(sys.argv[2]).read_bytes())
before = peak()
do(Path(sys.argv[3]).read_bytes())
print((peak() - before) * 1024)
"""
_FORMS = [
    ("PNG", {}),
    ("TIFF", {"compression": "tiff_deflate"}),
    ("GIF", {}),
    ("AVIF", {}),
    ("WEBP", {"lossless": True, "quality": 0, "method": 0}),
]
_SIDE = 3_000


def bytes_a_pixel(folder: Path, do: str, picture: PIL.Image.Image, form: str, **options: object) -> float:
    """The most memory that it takes to decode or rewrite a picture, beyond that for a small one of its kind."""
    small, large = folder / "small", folder / "large"
    small.write_bytes(saved(picture.resize((8, 8), PIL.Image.Resampling.NEAREST), form, **options))
    large.write_bytes(saved(picture, form, **options))
    done = subprocess.run([sys.executable, "-c", PEAK, do, small, large], capture_output=True, text=True, check=True)
    return float(done.stdout) / (picture.width * picture.height)


def half_clear() -> PIL.Image.Image:
    whole = np.full((_SIDE, _SIDE, 4), (200, 60, 40, 100), np.uint8)
    whole[: _SIDE // 2] = 0
    return PIL.Image.fromarray(whole)


@pytest.mark.process
@pytest.mark.parametrize(("form", "options"), _FORMS)
def test_decoding_holds_the_picture_about_once(form: str, options: dict[str, object], tmp_path: Path) -> None:
    picture = half_clear()
    if form == "GIF":
        picture = picture.convert("P")
        picture.info["transparency"] = picture.getpixel((0, 0))
    # 3 bytes of RGB, 4 of alpha and 1 of its levels; the reader's own picture, of up to 8, goes before alpha is made.
    assert bytes_a_pixel(tmp_path, "decode", picture, form, **options) < 13


@pytest.mark.process
def test_fractions_are_decoded_in_bands(tmp_path: Path) -> None:
    picture = PIL.Image.fromarray(np.full((_SIDE, _SIDE), 0.4, np.float32))
    # 4 bytes of the fractions, 1 of their levels and 3 of RGB
    assert bytes_a_pixel(tmp_path, "decode", picture, "TIFF", compression="tiff_deflate") < 10


@pytest.mark.process
def test_the_picture_goes_before_its_encoder_takes_memory(tmp_path: Path) -> None:
    # libwebp takes 13 bytes a pixel beside the 4 of the RGBA that it is given; the 7 of the picture are gone.
    assert bytes_a_pixel(tmp_path, "transform", half_clear(), "WEBP", quality=50, method=0) < 20


@pytest.mark.process
def test_avif_is_written_without_further_copies(tmp_path: Path) -> None:
    assert bytes_a_pixel(tmp_path, "to AVIF", half_clear(), "PNG") < 20  # Pillow: 24

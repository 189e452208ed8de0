"""A sample picture without a camera: a glazed mug on a wooden table before evening lights.

It is there for a first try, for the documentation and for tests that need a picture in which a real network finds a
subject. `python -m mattebox.samples FOLDER` writes it as `photo.jpg`. It is computed from nothing, by
`tools/sample_photo.py`.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

from mattebox.image import RGB


def photo_file() -> bytes:
    """The picture as a JPEG of 1200 by 900 pixels."""
    return resources.files("mattebox").joinpath("photo.jpg").read_bytes()


def make_photo(*, width: int = 1200, height: int = 900) -> RGB:
    """The picture at another size, uint8 (height, width, 3). What does not fit is cut at both ends."""
    from mattebox import codec, layout

    photo = codec.decode(photo_file(), codec.OWN_FILES)
    return layout.cover(photo, width, height).rgb


def _write(folder: Path) -> None:
    from mattebox import files

    folder.mkdir(parents=True, exist_ok=True)
    files.write(folder / "photo.jpg", photo_file())


if __name__ == "__main__":
    _write(Path(*sys.argv[1:]))

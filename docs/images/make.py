"""Draws mug.jpg for the README with the real model: the sample photo, its cutout, and the cutout on a colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import mattebox
from mattebox import codec, files, layout
from mattebox.edit import Color, Format, Layout, Output
from mattebox.image import RGB, Image
from mattebox.samples import make_photo

HERE = Path(__file__).parent


def on_chequers(rgb: RGB, alpha: np.ndarray) -> RGB:
    """The cutout as image editors show it."""
    y, x = np.mgrid[: rgb.shape[0], : rgb.shape[1]] // 15
    behind = np.where((x + y) % 2, 235, 255)[:, :, None]
    return np.asarray(np.rint(rgb * alpha[:, :, None] + behind * (1 - alpha[:, :, None])), np.uint8)


def main() -> None:
    """Write the strip."""
    photo = make_photo()
    cutout = mattebox.remove_background(photo)
    plain = codec.decode(cutout.encode(backdrop=Color(246, 196, 83), output=Output(format=Format.PNG)).data).rgb
    strip = Image(rgb=np.hstack([photo, on_chequers(cutout.rgb, cutout.alpha), plain]))
    small = layout.place(strip, layout.plan(strip.width, strip.height, None, Layout(max_side=1800)))
    files.write(HERE / "mug.jpg", codec.encode(small, Output(format=Format.JPEG, quality=88)))


if __name__ == "__main__":
    main()

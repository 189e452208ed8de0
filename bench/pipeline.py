"""One contestant in a process of its own: a 12 MP JPEG to an RGBA PNG with everything but the network.

    python bench/pipeline.py CONTESTANT PHOTO.jpg MATTE.npy [--repeat N]

Each answers with one JSON object: CPU milliseconds of every run, peak memory, size of the result. In the network's
place stands a matte of the resolution that the network would have answered with; what comes before it (resize,
normalise) and after it (stretch, refine) is done for real.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from measure import peak_bytes

if TYPE_CHECKING:
    from mattebox.image import RGB, Alpha

Run = Callable[[bytes], bytes]


def mattebox_run(matte: Alpha, *, foreground: str = "fast") -> Run:
    import cv2

    from mattebox import matting
    from mattebox.edit import Edit, Foreground, Matte
    from mattebox.engine import Engine
    from mattebox.models import CATALOGUE, families
    from mattebox.models.catalogue import Variant
    from mattebox.testing import FakeModels

    detail, core = CATALOGUE["isnet-general"], CATALOGUE["u2netp"]
    assert isinstance(detail, Variant)
    assert isinstance(core, Variant)
    coarse = np.asarray(cv2.resize(matte, (320, 320), interpolation=cv2.INTER_AREA), np.float32)

    def without_network(photo: RGB) -> Alpha:
        small = families.shrink(photo, height=1024, width=1024)
        families.prepare(small, detail, (1024, 1024))
        families.prepare(small, core, (320, 320))
        return matting.fuse(matte, coarse)

    engine = Engine(FakeModels(without_network))
    edit = Edit(matte=Matte(foreground=Foreground(foreground)))
    return lambda photo: engine.run_file(edit, photo).data


def rembg_run(matte: Alpha, **options: bool) -> Run:
    """Rembg's own recipe around the same matte, with the options it offers."""
    import PIL.Image
    import rembg
    from rembg.sessions.base import BaseSession

    class WithoutNetwork(BaseSession):  # type: ignore[misc] # the peer is not typed and not installed here
        def __init__(self) -> None:
            self.inner_session = self  # normalize() asks it for the name of its input

        def get_inputs(self) -> list[Any]:
            return [self]

        name = "input"

        def predict(self, img: PIL.Image.Image, *_: object, **__: object) -> list[PIL.Image.Image]:
            self.normalize(img, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), (1024, 1024))
            low, high = matte.min(), matte.max()
            mask = PIL.Image.fromarray(((matte - low) / (high - low) * 255).astype("uint8"), mode="L")
            return [mask.resize(img.size, PIL.Image.Resampling.LANCZOS)]

    session = WithoutNetwork()
    return lambda photo: rembg.remove(photo, session=session, **options)


CONTESTANTS: dict[str, Callable[[Alpha], Run]] = {
    "mattebox": mattebox_run,
    "mattebox-keep": lambda matte: mattebox_run(matte, foreground="keep"),
    "rembg": rembg_run,
    "rembg-decontaminate": lambda matte: rembg_run(matte, decontaminate=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("photo", type=Path)
    parser.add_argument("matte", type=Path)
    parser.add_argument("--repeat", type=int, default=1)
    arguments = parser.parse_args()
    run = CONTESTANTS[arguments.contestant](np.load(arguments.matte))
    photo = arguments.photo.read_bytes()
    size = len(run(photo))  # the first run pays for imports and tables
    cpu = []
    for _ in range(arguments.repeat):
        start = time.process_time()
        run(photo)
        cpu.append((time.process_time() - start) * 1000)
    json.dump({"cpu_ms": cpu, "peak_bytes": peak_bytes(), "result_bytes": size}, sys.stdout)


if __name__ == "__main__":
    main()

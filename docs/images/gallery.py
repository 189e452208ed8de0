"""Puts subjects into scenes with the real parts, to be looked at.

    python docs/images/gallery.py [FOLDER]     twelve subjects by twelve prompts; build/gallery unless you say where
    python docs/images/gallery.py --sheet      backdrops.jpg for the documentation, of the computed mug alone

The photos come with scikit-image and with mattebox; `MATTEBOX_GALLERY` may name a folder of more. Nothing of them is
committed: the gallery's folder is ignored, and the sheet shows nothing but what is computed or CC0.
"""

from __future__ import annotations

import argparse
import html
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from mattebox import codec, compositing, files, layout
from mattebox.backdrops import Backdrops, composite
from mattebox.cancellation import go_on
from mattebox.cutout import Cutout
from mattebox.edit import WHITE, Format, Layout, Output, Prompt
from mattebox.engine import Engine
from mattebox.errors import MatteboxError
from mattebox.image import RGB, Image
from mattebox.models import Models
from mattebox.samples import make_photo
from mattebox.testing import make_scene

HERE = Path(__file__).parent
THUMB = 240
PROMPTS = (
    "in a warehouse",
    "in a forest",
    "in a park on a sunny day",
    "by the sea at sunset",
    "on a city street",
    "in the lobby of an office",
    "in an empty apartment",
    "white studio",
    "on a wooden table",
    "on a marble countertop",
    "in front of a red brick wall",
    "bokeh lights at night",
)
ON_THE_SHEET = (
    "on a wooden table",
    "on a marble countertop",
    "pastel pink studio",
    "in an empty apartment",
    "in a forest",
    "by the sea at sunset",
)


def photos() -> Mapping[str, Callable[[], RGB]]:
    """What comes with scikit-image or is computed, and what `MATTEBOX_GALLERY` adds."""
    found: dict[str, Callable[[], RGB]] = {
        "mug": make_photo,
        "mug, near": lambda: make_photo(width=1600, height=1200)[200:800, 400:1200],
        "mug, upright": lambda: make_photo()[:, 270:930],
        "mug, wide": lambda: make_photo()[190:740],
        "figure with hairs": lambda: make_scene(width=1200, height=900, seed=3).photo,
        "astronaut": _sample("astronaut.png"),
        "cameraman": _sample("camera.png"),
        "cat": _sample("chelsea.png"),
        "coffee": _sample("coffee.png"),
        "rocket": _sample("rocket.jpg"),
        "motorcycle": _sample("motorcycle_left.png"),
        "horse": _sample("horse.png"),
    }
    folder = os.environ.get("MATTEBOX_GALLERY")
    if folder:
        found |= {file.stem: _reader(file) for file in sorted(Path(folder).iterdir()) if file.is_file()}
    return found


def _sample(name: str) -> Callable[[], RGB]:
    """One of the pictures that scikit-image's package brings along."""
    import skimage

    return _reader(Path(skimage.__file__).parent / "data" / name)


def _reader(file: Path) -> Callable[[], RGB]:
    return lambda: compositing.over(codec.decode(file.read_bytes()), WHITE).rgb


def compose(backdrops: Backdrops, cutout: Cutout, prompt: str) -> tuple[Image, str]:
    """The subject in the place that is described, and what that is called."""
    plate = backdrops.choose(Prompt(prompt))(cutout.image, go_on)
    return composite.stage(cutout.image, cutout.subject, plate), plate.served.scene or plate.served.backend


def jpeg(picture: Image, side: int | None = None, quality: int = 90) -> bytes:
    """The picture's file; with `side`, of at most so many pixels a side."""
    if side is not None:
        picture = layout.place(picture, layout.plan(picture.width, picture.height, None, Layout(max_side=side)))
    return codec.encode(picture, Output(format=Format.JPEG, quality=quality))


def gallery(engine: Engine, backdrops: Backdrops, folder: Path) -> None:
    """Write the page with a row for each photo and a column for each prompt."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(
        f"<tr><th>{html.escape(name)}</th>{''.join(_cells(engine, backdrops, folder, name, photo()))}</tr>"
        for name, photo in photos().items()
    )
    heads = "".join(f"<th>{html.escape(prompt)}</th>" for prompt in PROMPTS)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Backdrops</title>'
        "<style>body{font:14px sans-serif}th{font-weight:normal;padding:4px}td{padding:2px;font-size:11px}</style>"
        f"<table><tr><th></th><th>photo</th>{heads}</tr>\n{rows}</table></html>\n"
    )
    files.write(folder / "index.html", page.encode())


def _cells(engine: Engine, backdrops: Backdrops, folder: Path, name: str, photo: RGB) -> Iterator[str]:
    stem = name.replace(", ", "-").replace(" ", "-")
    yield _cell(folder, f"{stem}--photo", Image(rgb=photo), "")
    cutout = engine.cut_out(Image(rgb=photo))
    if not cutout.found:
        yield f'<td colspan="{len(PROMPTS)}">no subject found</td>'
        return
    start = time.perf_counter()
    for prompt in PROMPTS:
        try:
            picture, scene = compose(backdrops, cutout, prompt)
        except MatteboxError as error:
            yield f"<td>{html.escape(error.message)}</td>"
            continue
        yield _cell(folder, f"{stem}--{prompt.replace(' ', '-')}", picture, scene)
    print(f"{name}: {(time.perf_counter() - start) / len(PROMPTS):.2f} s each", flush=True)


def _cell(folder: Path, stem: str, picture: Image, says: str) -> str:
    files.write(folder / f"{stem}.jpg", jpeg(picture))
    files.write(folder / f"{stem}.small.jpg", jpeg(picture, THUMB, 80))
    return (
        f'<td><a href="{stem}.jpg"><img src="{stem}.small.jpg" alt="" loading="lazy"></a><br>{html.escape(says)}</td>'
    )


def sheet(engine: Engine, backdrops: Backdrops, file: Path) -> None:
    """Write the documentation's picture: three columns of the mug in different places."""
    cutout = engine.cut_out(Image(rgb=make_photo()))
    tiles = [compose(backdrops, cutout, prompt)[0] for prompt in ON_THE_SHEET]
    placement = layout.plan(tiles[0].width, tiles[0].height, None, Layout(max_side=560))
    small = [layout.place(tile, placement).rgb for tile in tiles]
    rows = [np.hstack(small[at : at + 3]) for at in range(0, len(small), 3)]
    files.write(file, jpeg(Image(rgb=np.vstack(rows)), quality=86))


def main() -> None:
    """Draw what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE.parents[1] / "build" / "gallery")
    parser.add_argument("--sheet", action="store_true", help="draw backdrops.jpg for the documentation")
    arguments = parser.parse_args()
    backdrops = Backdrops()
    engine = Engine(Models(), backdrops)
    if arguments.sheet:
        sheet(engine, backdrops, HERE / "backdrops.jpg")
    else:
        gallery(engine, backdrops, arguments.folder)
        print(arguments.folder / "index.html")


if __name__ == "__main__":
    main()

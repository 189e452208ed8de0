"""Error of the colour in the edge band of drawn scenes, whose colours and alpha are known."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np

from contestants import PEERS
from mattebox import matting
from mattebox.edit import Foreground
from mattebox.image import RGB
from mattebox.testing import Scene, make_scene


def colours() -> Generator[dict[str, str | float]]:
    """The error of each method in each scene, after compositing on a new colour with the true alpha."""
    for seed in range(6):
        scene = make_scene(width=1600, height=1200, seed=seed)
        ours = (
            (f"mattebox, {each}", matting.estimate_foreground(scene.photo, scene.alpha, each)) for each in Foreground
        )
        for name, estimate in (*ours, *peer_colours(scene)):
            yield {"contestant": name, "error": edge_error(scene, estimate)}


def edge_error(scene: Scene, estimate: RGB) -> float:
    band = (scene.alpha > 0.02) & (scene.alpha < 0.98)
    wrong = np.abs(estimate.astype(np.float32) - scene.foreground) * scene.alpha[:, :, None]
    return float(wrong[band].mean())


def peer_colours(scene: Scene) -> Iterator[tuple[str, RGB]]:
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "photo.npy"), scene.photo)
        np.save(Path(folder, "alpha.npy"), scene.alpha)
        code = (
            "import sys, numpy as np, PIL.Image as I, rembg.bg as bg\n"
            "folder = sys.argv[1] + '/'\n"
            "photo = I.fromarray(np.load(folder + 'photo.npy'))\n"
            "mask = I.fromarray((np.load(folder + 'alpha.npy') * 255).round().astype('uint8'))\n"
            "for name in ('naive_cutout', 'decontaminate_cutout'):\n"
            "    np.save(folder + name + '.npy', np.asarray(getattr(bg, name)(photo, mask))[..., :3])\n"
        )
        subprocess.run([PEERS / "rembg" / "bin" / "python", "-c", code, folder], check=True)
        for name, label in (("naive_cutout", "rembg, default"), ("decontaminate_cutout", "rembg, decontaminate")):
            yield label, np.load(Path(folder, f"{name}.npy"))

"""What mattebox costs, beside its best-known peer, in one interleaved run. Prints the tables of `bench/README.md`.

    make bench

The peer is installed into `.bench/rembg`, apart from mattebox's own environment.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mattebox import codec, matting, telemetry
from mattebox.edit import Foreground, Format, Output
from mattebox.image import RGB, Image
from mattebox.testing import Scene, make_scene

HERE = Path(__file__).parent
PEER = HERE.parent / ".bench" / "rembg"
ROUNDS = 5


def main() -> None:
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory() as folder:
        scene = make_scene(width=4000, height=3000, seed=1)
        photo, matte = Path(folder, "photo.jpg"), Path(folder, "matte.npy")
        noisy = np.clip(scene.photo + np.random.default_rng(0).normal(0, 3, scene.photo.shape), 0, 255)
        photo.write_bytes(codec.encode(Image(rgb=noisy.astype(np.uint8)), Output(format=Format.JPEG, quality=90)))
        np.save(matte, cv2.resize(scene.alpha, (1024, 1024), interpolation=cv2.INTER_AREA))
        print("\n".join(pipeline(photo, matte)), end="\n\n")
        print("\n".join(whole(photo)), end="\n\n")
    print("\n".join(starts()), end="\n\n")
    print("\n".join(colours()))


def pipeline(photo: Path, matte: Path) -> Iterator[str]:
    """Everything but the network: 12 MP JPEG to RGBA PNG."""
    contestants = ["mattebox", "mattebox-keep", "rembg", "rembg-decontaminate"]
    runs: dict[str, list[float]] = {name: [] for name in contestants}
    peaks: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name in contestants:
            result = answer("pipeline.py", name, photo, matte, "--repeat", 2, peer=name.startswith("rembg"))
            runs[name] += result["cpu_ms"]
            peaks[name] = result["peak_bytes"] / 2**20
    ours = statistics.median(runs["mattebox"])
    yield "| 12 MP JPEG to RGBA PNG, without the network | CPU-ms, median | ratio | peak MiB |"
    yield "| --- | --- | --- | --- |"
    for name in contestants:
        cpu = statistics.median(runs[name])
        yield f"| {name} | {cpu:.0f} | {cpu / ours:.1f} | {peaks[name]:.0f} |"


def whole(photo: Path) -> Iterator[str]:
    """The real thing, network included, in a fresh process."""
    yield "| 12 MP JPEG to RGBA PNG, fresh process, default model | wall s | CPU-s | peak MiB |"
    yield "| --- | --- | --- | --- |"
    runs = [answer("whole.py", photo) for _ in range(3)]
    for part in ("load", "first photo", "second photo"):
        results = [run[part] for run in runs]
        wall, cpu, peak = (statistics.median(result[key] for result in results) for key in ("wall", "cpu", "peak"))
        yield f"| {part} | {wall:.2f} | {cpu:.2f} | {peak / 2**20:.0f} |"


def starts() -> Iterator[str]:
    """How long one waits before anything happens; the floor is an interpreter that does nothing."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import mattebox": [sys.executable, "-c", "import mattebox"],
        "mattebox --help": [sys.executable, "-m", "mattebox", "--help"],
        "import rembg": [sys.executable, "-c", "import rembg"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(2 * ROUNDS):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=environment(peer="rembg" in name))
            times[name].append(time.perf_counter() - start)
    floor = statistics.median(times["python -c pass"])
    yield "| start | wall s, median | beyond the floor |"
    yield "| --- | --- | --- |"
    for name, walls in times.items():
        yield f"| {name} | {statistics.median(walls):.3f} | {statistics.median(walls) - floor:.3f} |"


def colours() -> Iterator[str]:
    """Error of the colour in the edge band, after compositing on white with the true alpha."""
    errors: dict[str, list[float]] = {}
    for seed in range(6):
        scene = make_scene(width=1600, height=1200, seed=seed)
        for method in Foreground:
            estimate = matting.estimate_foreground(scene.photo, scene.alpha, method)
            errors.setdefault(f"mattebox, {method}", []).append(edge_error(scene, estimate))
        for name, estimate in peer_colours(scene):
            errors.setdefault(name, []).append(edge_error(scene, estimate))
    yield "| colour error in the edge band, grey levels | mean | worst scene |"
    yield "| --- | --- | --- |"
    for name, each in errors.items():
        yield f"| {name} | {statistics.mean(each):.2f} | {max(each):.2f} |"


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
        subprocess.run([sys.executable, "-c", code, folder], check=True, env=environment(peer=True))
        for name, label in (("naive_cutout", "rembg, default"), ("decontaminate_cutout", "rembg, decontaminate")):
            yield label, np.load(Path(folder, f"{name}.npy"))


def answer(script: str, *arguments: object, peer: bool = False) -> dict[str, Any]:
    """Run a script beside this one in a process of its own and read the JSON it prints."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment(peer=peer))
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


def environment(*, peer: bool) -> dict[str, str]:
    """The peer runs with its own versions of everything, mattebox with its own."""
    telemetry.switch_off()  # the peer's too
    return os.environ | ({"PYTHONPATH": str(PEER)} if peer else {})


if __name__ == "__main__":
    main()

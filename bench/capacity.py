"""Seconds of a processor and memory of a photo by its pixels, and with several at a time, for `docs/capacity.md`.

    python bench/capacity.py [--model NAME] [--photos N]

Each row is a process of its own. CPU time, because that is what other work on the machine changes least.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mattebox import codec
from mattebox.edit import Edit, Format, Matte, Output
from mattebox.engine import Engine
from mattebox.image import Image
from mattebox.models import Models
from mattebox.testing import make_scene

SIZES = {"0.3": (640, 480), "1": (1200, 900), "4": (2400, 1800), "12": (4000, 3000), "24": (6000, 4000)}


def draw(size: str) -> bytes:
    """A JPEG with the noise of a camera, which costs the most to encode."""
    width, height = SIZES[size]
    photo = make_scene(width=width, height=height, seed=1).photo.astype(np.int16)
    photo += np.random.default_rng(1).integers(-5, 6, photo.shape, np.int16)
    return codec.encode(Image(rgb=photo.clip(0, 255).astype(np.uint8)), Output(format=Format.JPEG))


def measure(model: str, photo: bytes, photos: int, threads: int) -> None:
    """Print CPU seconds a photo, after one that is not counted, and the peak of memory in MiB."""
    engine, edit = Engine(Models()), Edit(matte=Matte(model=model))
    engine.run_file(edit, photo)
    spent = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(photos):
            begin = time.process_time()
            list(pool.map(lambda _: engine.run_file(edit, photo), range(threads)))
            spent.append((time.process_time() - begin) / threads)
    # What the system counts for a process and its parent before it (`ru_maxrss`) would be the parent's drawing.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps({"cpu": statistics.median(spent), "peak": peak}))


def processor() -> str:
    """The name of the processor, and those of its features that the networks' runtime can use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    known = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    return f"{found['model name']}: {', '.join(each for each in known if each in found['flags'].split())}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--photos", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("FILE", "THREADS"), help="one row, in this process")
    chosen = parser.parse_args()
    if chosen.measure:
        measure(chosen.model, Path(chosen.measure[0]).read_bytes(), chosen.photos, int(chosen.measure[1]))
        return
    print(f"{processor()}\n\n| MP, {chosen.model} | at a time | CPU-s a photo | peak MiB |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for size, threads in [*((size, 1) for size in SIZES), ("1", 2), ("1", 4), ("24", 2)]:
            file = Path(folder) / f"{size}.jpg"
            if not file.exists():
                file.write_bytes(draw(size))
            command = [sys.executable, __file__, "--model", chosen.model, "--photos", str(chosen.photos)]
            done = subprocess.run(
                [*command, "--measure", str(file), str(threads)], capture_output=True, check=True, text=True
            )
            row = json.loads(done.stdout)
            print(f"| {size} | {threads} | {row['cpu']:.2f} | {row['peak']:.0f} |", flush=True)


if __name__ == "__main__":
    main()

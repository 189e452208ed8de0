"""What a backdrop in words costs beyond the cutout: time, memory, and how long finding the place takes.

    python bench/backdrops.py

The floor is the same photo on a plain colour, in turn with the prompts, each in a process of its own. The scenes
must be here: `mattebox scenes pull`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mattebox import codec
from mattebox.backdrops import Backdrops
from mattebox.edit import Color, Edit, Format, Output, Prompt
from mattebox.engine import Engine
from mattebox.errors import MatteboxError
from mattebox.image import Image
from mattebox.models import Models
from mattebox.samples import make_photo
from measure import peak_bytes

ROUNDS, REPEAT = 2, 4
FLOOR = "on a plain colour"
CONTESTANTS = (
    FLOOR,
    "in a warehouse",
    "by the sea at sunset",
    "white studio",
    "on a marble countertop",
    "in front of a brick wall",
    "bokeh lights at night",
)
SAID = (
    "in a warehouse",
    "plain pastel pink",
    "on a rustic wooden table next to a window, soft light, product photography",
    "the inside of a disused storehouse",
    "a quiet spot among tall firs",
    "where planes are parked",
    "in a spaceship cockpit",
    "on a sandy beach with palm trees",
    "periodic table",
    "garage band",
    "a movie star on the red carpet",
    "put the product on a nice marble kitchen counter, not in a park, bright morning light, 8k, realistic, no people",
)
"""What is found by its words, what its meaning is asked about, and what is refused."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--photo", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant is not None:
        json.dump(asdict(work(arguments.contestant, arguments.photo)), sys.stdout)
        return
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder, "photo.jpg")
        photo.write_bytes(codec.encode(Image(rgb=make_photo(width=1024, height=1024)), Output(format=Format.JPEG)))
        print("\n".join(composites(photo)), end="\n\n")
    print("\n".join(matching()))


def composites(photo: Path) -> Iterator[str]:
    """The whole way from file to file, and what of it the backdrop is to blame for."""
    runs: dict[str, list[Work]] = {name: [] for name in CONTESTANTS}
    for _ in range(ROUNDS):
        for name in CONTESTANTS:
            command = [sys.executable, __file__, "--contestant", name, "--photo", str(photo)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            runs[name].append(Work(**json.loads(done.stdout)))
    floor = statistics.median(run.peak for run in runs[FLOOR])
    yield "| 1024 x 1024 JPEG to JPEG | wall s | beyond the floor | CPU-s | beyond | peak MiB | beyond |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, each in runs.items():
        wall, walls = typical([pair for run in each for pair in run.wall])
        cpu, cpus = typical([pair for run in each for pair in run.cpu])
        peak = statistics.median(run.peak for run in each)
        more = f"{(peak - floor) / 2**20:.0f}"
        yield f"| {name} | {wall:.2f} | {walls:.2f} | {cpu:.2f} | {cpus:.2f} | {peak / 2**20:.0f} | {more} |"


@dataclass(frozen=True)
class Work:
    """Seconds of the floor and of the contestant, one right after the other; the most memory of the process."""

    wall: list[tuple[float, float]]
    cpu: list[tuple[float, float]]
    peak: int


def typical(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The medians of the contestant's seconds and of what it took beyond the floor that ran just before it."""
    return statistics.median(pair[1] for pair in pairs), statistics.median(pair[1] - pair[0] for pair in pairs)


def work(contestant: str, photo: Path) -> Work:
    """One contestant in this process, where everything is loaded before the clock runs."""
    plain = Edit(backdrop=Color(246, 196, 83), output=Output(format=Format.JPEG))
    edit = plain if contestant == FLOOR else replace(plain, backdrop=Prompt(contestant))
    engine = Engine(Models(), None if contestant == FLOOR else Backdrops())
    engine.models.warm("auto")
    engine.warm_backdrops()
    data = photo.read_bytes()
    engine.run_file(edit, data)  # the first run reads the scene's file and makes tables
    wall, cpu = [], []
    for _ in range(REPEAT):
        walls, cpus = [time.perf_counter()], [time.process_time()]
        for each in (plain, edit):
            engine.run_file(each, data)
            walls.append(time.perf_counter())
            cpus.append(time.process_time())
        wall.append((walls[1] - walls[0], walls[2] - walls[1]))
        cpu.append((cpus[1] - cpus[0], cpus[2] - cpus[1]))
    return Work(wall=wall, cpu=cpu, peak=peak_bytes())


def matching() -> Iterator[str]:
    """From words to a place."""
    start = time.perf_counter()
    backdrops = Backdrops()
    backdrops.warm()
    ready = time.perf_counter() - start
    walls: dict[str, list[float]] = {prompt: [] for prompt in SAID}
    cpus: dict[str, list[float]] = {prompt: [] for prompt in SAID}
    for _ in range(15):
        for prompt in SAID:
            wall, cpu = time.perf_counter(), time.process_time()
            with contextlib.suppress(MatteboxError):
                backdrops.choose(Prompt(prompt))
            walls[prompt].append(1000 * (time.perf_counter() - wall))
            cpus[prompt].append(1000 * (time.process_time() - cpu))
    slowest = max(SAID, key=lambda prompt: statistics.median(walls[prompt]))
    yield "| from words to a place, or to a refusal that names the nearest | wall ms | CPU-ms |"
    yield "| --- | --- | --- |"
    for name, chosen in ((f"median of {len(SAID)} prompts", SAID), ("the slowest of them", (slowest,))):
        wall, cpu = (statistics.median(value for prompt in chosen for value in each[prompt]) for each in (walls, cpus))
        yield f"| {name} | {wall:.1f} | {cpu:.1f} |"
    yield f"\nThe words are read in {ready:.1f} s, once."


if __name__ == "__main__":
    main()

"""The default model on a GPU: does it give what the processor gives, and how many photos a second, by stage.

    python bench/gpu.py pack FOLDER       where there is internet: wheels and networks, for Linux on x86-64
    python3 FOLDER/gpu.py run FOLDER      on the machine with the GPU: installs them, then measures; needs no network
    python bench/gpu.py measure --device cpu --batches 1 2    with what is installed, to try the script out

`pack` takes the wheels of requirements/core.txt and requirements/cuda.txt (ONNX Runtime for CUDA with the libraries of
CUDA and cuDNN, and `onnx`) with `pip download`, and builds that of mattebox. `run` ends within eight minutes: what is
left when they are over is said and left out. The exit status is 1 where the device does not give the processor's alpha.

All is measured in mattebox itself, as a server runs it: its threads call `Engine.run_file`, and `models.batching` puts
their photos together. `--device cpu` lets ONNX Runtime's processor do what the GPU is to do, batches and all, which
mattebox does nowhere else. With `--device tensorrt` name one size of batch: building an engine takes minutes.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

if TYPE_CHECKING:
    from mattebox.image import RGB, Alpha
    from mattebox.models import Models
    from mattebox.models.catalogue import Variant
    from mattebox.models.network import LoadedNetwork
    from mattebox.stages import Stage

MINUTES = 8.0
NETWORKS = ("isnet-general", "u2netp")
DEVICES = ("cuda", "tensorrt", "cpu")
CLOSE = 0.002
"""How far the mean alpha of a photo may be from the processor's."""
PHOTOS, WIDTH, HEIGHT = 8, 1824, 1368
ROOT = Path(__file__).resolve().parents[1]


# --- packing and installing: Python's own library only ----------------------------------------------------------------


def pack(folder: Path) -> None:
    """Put everything that `run` needs into a folder."""
    wheels, models = folder / "wheels", folder / "models"
    for each in (wheels, models):
        each.mkdir(parents=True, exist_ok=True)
    uv = [str(Path(sys.executable).with_name("uv"))]
    pip = [sys.executable, "-m", "pip"]
    build = [
        "build",
        "--quiet",
        "--wheel",
        "--no-build-isolation",
        "--python",
        sys.executable,
        "--out-dir",
        str(wheels),
    ]
    subprocess.run([*uv, *build, str(ROOT)], check=True)
    for lists in ("core", "cuda"):
        command = [*pip, "download", "--quiet", "--require-hashes", "--no-deps", "-d", str(wheels)]
        subprocess.run([*command, "-r", str(ROOT / "requirements" / f"{lists}.txt")], check=True)

    from mattebox.models.weights import default_directory

    for name in NETWORKS:
        shutil.copy(default_directory() / f"{name}.onnx", models)
    for script in ("gpu.py", "measure.py"):
        shutil.copy(ROOT / "bench" / script, folder)
    print(f"{sum(file.stat().st_size for file in folder.rglob('*') if file.is_file()) / 1e9:.1f} GB in {folder}")


def run(folder: Path, arguments: Sequence[str]) -> int:
    """Install the wheels of a folder into an environment in it, and measure there."""
    begin = time.monotonic()
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(folder / "venv", with_pip=True)
    wheels = folder / "wheels"
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--find-links",
        str(wheels),
        "mattebox[cuda]",
    ]
    subprocess.run(install, check=True)
    spent = time.monotonic() - begin
    print(f"installed in {spent:.0f} s", flush=True)
    left = f"{MINUTES - spent / 60:.2f}"
    command = [str(python), str(folder / "gpu.py"), "measure", "--models", str(folder / "models"), "--minutes", left]
    return subprocess.run([*command, *arguments], check=False).returncode


# --- measuring --------------------------------------------------------------------------------------------------------


def rehearsed(device: str) -> AbstractContextManager[object]:
    """For `cpu`: ONNX Runtime's processor in the place of the GPU, and all else as it is."""
    from mattebox.models import onnx_runtime

    if device != "cpu":
        return nullcontext()
    real = onnx_runtime.open_onnxruntime

    def opened(file: Path, *, device: str, threads: int, batch: int, free_batch: bool, **_: object) -> LoadedNetwork:
        return real(file, device=device.replace("cuda", "cpu"), threads=threads, batch=batch, free_batch=free_batch)

    return mock.patch.object(onnx_runtime, "open_onnxruntime", opened)


def loaded(device: str, models: Path, batch: int) -> Models:
    """Mattebox's networks on the device, ready for their first photo."""
    from mattebox.models import DEFAULT, ModelOptions, Models

    found = Models(ModelOptions(device=gpu(device), directory=models, download=False, batch=batch))
    found.warm(DEFAULT)
    return found


def gpu(device: str) -> str:
    """The device as mattebox is to be told, which takes batches on a GPU only."""
    return "cuda" if device == "cpu" else device


def parity(device: str, models: Path, photos: Sequence[RGB]) -> bool:
    """Whether the device's alphas of photos that come at once are those of float32 on the processor, one by one."""
    import numpy as np

    from mattebox.models import CATALOGUE, DEFAULT, ModelOptions, Models

    rows = {name: replace(variant(name), precision="f32", int8=None) for name in NETWORKS}
    on_processor = ModelOptions(device="cpu", directory=models, download=False)
    exact = Models(on_processor, catalogue={**CATALOGUE, **rows}).segmenter(DEFAULT)
    expected = [exact(photo) for photo in photos]
    with ThreadPoolExecutor(len(photos)) as pool:
        found: list[Alpha] = list(pool.map(loaded(device, models, len(photos)).segmenter(DEFAULT), photos))
    each = [np.abs(one - other) for one, other in zip(found, expected, strict=True)]
    means = [float(one.mean()) for one in each]
    print(
        f"mean difference of alpha to float32 on the processor {statistics.mean(means):.5f}, "
        f"worst photo {max(means):.5f}, worst pixel {max(float(one.max()) for one in each):.3f}",
        flush=True,
    )
    return max(means) < CLOSE


def variant(name: str) -> Variant:
    """A network's row of the catalogue."""
    from mattebox.models import CATALOGUE
    from mattebox.models.catalogue import Variant

    row = CATALOGUE[name]
    assert isinstance(row, Variant)
    return row


def networks_alone(device: str, models: Path, size: int) -> Iterator[str]:
    """Photos a second of each network, whose batch is in memory, by itself."""
    import numpy as np

    from mattebox.models import families, runtimes
    from mattebox.models.network import OutOfMemoryError

    for name in NETWORKS:
        row = variant(name)
        network = runtimes.open_network(
            partial(Path, models / f"{name}.onnx"),
            device=gpu(device),
            precision=row.precision,
            batch=size,
            free_batch=families.takes_batches(row),
            prepared=models / "openvino" / name,
        )
        batch = np.random.default_rng(1).normal(size=(size, 3, row.size, row.size)).astype(np.float32)
        try:
            network(batch)  # the first of a size chooses its algorithms
            begin, runs = time.perf_counter(), 0
            while time.perf_counter() - begin < 2:
                network(batch)
                runs += 1
        except OutOfMemoryError as error:
            yield f"| {size} | {name} | {error} |"
        else:
            yield f"| {size} | {name} ({network.where}) | {runs * size / (time.perf_counter() - begin):.1f} |"


class Batches(logging.Handler):
    """The sizes of the batches that were run, as mattebox logs them."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.DEBUG and isinstance(record.args, tuple):
            self.sizes.append(int(str(record.args[1])))


class Clock:
    """The seconds that photos spend in each stage, in all threads."""

    def __init__(self) -> None:
        self.seconds: dict[Stage, float] = defaultdict(float)
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, stage: Stage) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        with self._lock:
            self.seconds[stage] += time.perf_counter() - begin


def file_to_file(device: str, models: Path, files: Sequence[bytes], size: int, end: float) -> Iterator[str]:
    """Photos a second from file to file with three batches' worth of threads, and the milliseconds of each stage."""
    from mattebox.edit import Edit
    from mattebox.engine import Engine
    from mattebox.stages import observed

    engine, threads = Engine(loaded(device, models, size)), max(3 * size, os.cpu_count() or 1)
    with ThreadPoolExecutor(size) as pool:  # a batch of each size that there may be has run before it counts
        list(pool.map(lambda file: engine.run_file(Edit(), file), [files[n % len(files)] for n in range(size)]))
    clock, batches = Clock(), Batches()
    log = logging.getLogger("mattebox.models.batching")
    log.addHandler(batches)
    log.setLevel(logging.DEBUG)
    begin = time.monotonic()
    stop = min(end, begin + 20)

    def work(number: int) -> int:
        done = 0
        with observed(clock):
            while time.monotonic() < stop:
                engine.run_file(Edit(), files[(number + done) % len(files)])
                done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(work, range(threads)))
    seconds = time.monotonic() - begin
    log.removeHandler(batches)
    mean = f", batches of {statistics.mean(batches.sizes):.1f}" if batches.sizes else ""
    yield f"| {size} | **file to file** ({threads} threads{mean}) | **{done / seconds:.1f}** |"
    stages = ", ".join(
        f"{stage} {1000 * spent / done:.0f}" for stage, spent in clock.seconds.items() if spent > done / 1e3
    )
    yield f"| {size} | ms of a photo, waiting included | {stages} |"


def measure(device: str, models: Path, batches: Sequence[int], minutes: float) -> int:
    """Parity, then rates. The exit status."""
    end = time.monotonic() + 60 * minutes
    from mattebox import codec, telemetry
    from mattebox.edit import Format, Output
    from mattebox.image import Image
    from mattebox.testing import make_photo, make_scene
    from measure import machine

    telemetry.switch_off()
    print(machine(), flush=True)
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        print(subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip(), flush=True)
    photos = [make_photo(width=WIDTH, height=HEIGHT)]
    photos += [make_scene(width=WIDTH, height=HEIGHT, seed=seed).photo for seed in range(PHOTOS - 1)]
    files = [codec.encode(Image(rgb=photo), Output(format=Format.JPEG, quality=90)) for photo in photos]
    with rehearsed(device):
        close = parity(device, models, photos[: 2 if device == "cpu" else PHOTOS])
        print(
            f"\n| batch | {device}, {WIDTH} x {HEIGHT}, JPEG to PNG | photos a second |\n| --- | --- | --- |",
            flush=True,
        )
        for size in batches:
            if time.monotonic() > end - 45:
                print(f"\nBatches of {size}: no time was left.")
                continue
            for line in networks_alone(device, models, size):
                print(line, flush=True)
            for line in file_to_file(device, models, files, size, end - 15):
                print(line, flush=True)
    if not close:
        print(f"\nThe alphas differ from the processor's by more than {CLOSE} on average.")
    return 0 if close else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("pack", "run"):
        commands.add_parser(name).add_argument("folder", type=Path)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--models", type=Path, help="folder of the networks; by default the user's own")
    measuring.add_argument("--minutes", type=float, default=MINUTES)
    for each in (measuring, commands.choices["run"]):
        each.add_argument("--device", choices=DEVICES, default="cuda")
        each.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    given = parser.parse_args()
    match given.command:
        case "pack":
            pack(given.folder)
            return 0
        case "run":
            batches = map(str, given.batches)
            return run(given.folder.resolve(), ["--device", given.device, "--batches", *batches])
        case _:
            if given.models is not None:
                return measure(given.device, given.models, given.batches, given.minutes)
            from mattebox.models.weights import default_directory

            with tempfile.TemporaryDirectory() as own:  # what is compiled here is not the user's
                for name in NETWORKS:
                    shutil.copy(default_directory() / f"{name}.onnx", own)
                return measure(given.device, Path(own), given.batches, given.minutes)


if __name__ == "__main__":
    sys.exit(main())

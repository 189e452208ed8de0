"""The default model on a GPU: does it give what the processor gives, and how many photos a second, by stage.

    python bench/gpu.py pack FOLDER       where there is internet: wheels and networks, for Linux on x86-64
    python3 FOLDER/gpu.py run FOLDER      on the machine with the GPU: installs them, then measures; needs no network
    python bench/gpu.py measure --device cpu --batches 1 2    with what is installed, to try the script out

`run` ends within eight minutes: what is left when they are over is said and left out. The exit status is 1 where the
device does not give the processor's alpha. Both networks are run with ONNX Runtime, in batches whose input and output
stay on the device until they are asked for (IO binding).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mattebox.image import RGB, Alpha
    from mattebox.models.catalogue import Variant
    from mattebox.models.families import Batch

MINUTES = 8.0
NETWORKS = ("isnet-general", "u2netp")
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
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
    # `onnx` is needed for rewriting the networks' first axis only, and is in the list for developers.
    subprocess.run([*pip, "download", "--quiet", "-d", str(wheels), "-c", str(_unhashed(folder)), "onnx"], check=True)

    from mattebox.models.weights import default_directory

    for name in NETWORKS:
        shutil.copy(default_directory() / f"{name}.onnx", models)
    for script in ("gpu.py", "networks.py", "measure.py"):
        shutil.copy(ROOT / "bench" / script, folder)
    print(f"{sum(file.stat().st_size for file in folder.rglob('*') if file.is_file()) / 1e9:.1f} GB in {folder}")


def _unhashed(folder: Path) -> Path:
    """The versions that developers have, as constraints."""
    lines = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8").splitlines()
    file = folder / "constraints.txt"
    file.write_text("\n".join(line.rstrip(" \\") for line in lines if "==" in line), encoding="utf-8")
    return file


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
        "onnx",
    ]
    subprocess.run(install, check=True)
    spent = time.monotonic() - begin
    print(f"installed in {spent:.0f} s", flush=True)
    left = f"{MINUTES - spent / 60:.2f}"
    command = [str(python), str(folder / "gpu.py"), "measure", "--models", str(folder / "models"), "--minutes", left]
    return subprocess.run([*command, *arguments], check=False).returncode


# --- networks on the device -------------------------------------------------------------------------------------------


@dataclass
class Network:
    """A network that takes several photos at once, on one device."""

    variant: Variant
    session: Any
    device: str

    def __call__(self, batch: Batch, times: dict[str, float]) -> list[Alpha]:
        """The alphas of a batch (n, 3, side, side). Adds the seconds that each part took to `times`."""
        import onnxruntime

        from mattebox.models import families

        where = "cpu" if self.device == "cpu" else "cuda"
        name = self.variant.name
        binding = self.session.io_binding()
        with _timed(times, f"{name}: to the device"):
            value = onnxruntime.OrtValue.ortvalue_from_numpy(batch, where, 0)
            binding.bind_ortvalue_input(self.session.get_inputs()[0].name, value)
            binding.bind_output(self.session.get_outputs()[0].name, where, 0)
            binding.synchronize_inputs()
        with _timed(times, f"{name}: network"):
            self.session.run_with_iobinding(binding)
            binding.synchronize_outputs()
        with _timed(times, f"{name}: from the device"):
            (answer,) = binding.copy_outputs_to_cpu()
        return [families.read_alpha(each[0], self.variant) for each in answer]


def open_network(name: str, models: Path, device: str) -> Network:
    """A network of a folder of models, with a free batch axis and all of it on the device."""
    import onnxruntime

    from mattebox.models import CATALOGUE
    from mattebox.models.catalogue import Variant
    from networks import batched, widened

    variant = CATALOGUE[name]
    assert isinstance(variant, Variant)
    provider = PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise SystemExit(f"The installed ONNX Runtime has no {provider}.")
    if device != "cpu":
        onnxruntime.preload_dlls()  # CUDA's libraries from the wheels
    options: dict[str, str] = {} if device == "cpu" else {"device_id": "0"}
    if device == "cuda":
        options["cudnn_conv_algo_search"] = "HEURISTIC"  # trying all takes minutes for each size of batch
    content = batched(widened(models / f"{name}.onnx")).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=[(provider, options)])
    session.disable_fallback()
    if session.get_providers()[0] != provider:  # ONNX Runtime only prints a line where a provider cannot start
        raise SystemExit(f"{device} could not be started.")
    return Network(variant, session, device)


# --- measuring --------------------------------------------------------------------------------------------------------


class _timed:  # noqa: N801 - a context manager
    def __init__(self, times: dict[str, float], name: str) -> None:
        self._times, self._name = times, name

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._times[self._name] = self._times.get(self._name, 0.0) + time.perf_counter() - self._begin


def squares(photo: RGB, variants: Sequence[Variant]) -> list[Batch]:
    """A photo as the input of each network."""
    from mattebox.models import families

    small = families.shrink(photo, height=variants[0].size, width=variants[0].size)
    return [families.prepare(small, each, (each.size, each.size)) for each in variants]


def look(detail: Network, core: Network, fine: Batch, coarse: Batch, times: dict[str, float]) -> list[Alpha]:
    """The rough alphas of a batch as `auto` has them: those on which the networks disagree are looked at mirrored."""
    import numpy as np

    from mattebox import matting

    details, cores = detail(fine, times), core(coarse, times)
    unsure = [
        place
        for place, (one, other) in enumerate(zip(details, cores, strict=True))
        if matting.has_subject(one, other) and matting.agreement(one, other) < matting.AGREED
    ]
    if unsure:
        again = core(np.ascontiguousarray(coarse[unsure, :, :, ::-1]), times)
        for place, seen in zip(unsure, again, strict=True):
            mirrored, one = seen[:, ::-1], details[place]
            both = matting.has_subject(one, mirrored)
            cores[place] = matting.merge(one, cores[place], mirrored) if both else mirrored
    with _timed(times, "fuse"):
        return [matting.fuse(one, other) for one, other in zip(details, cores, strict=True)]


def finish(photo: bytes, rough: Alpha) -> bytes:
    """Everything after the networks, from the photo's file and its rough alpha to a PNG."""
    from mattebox.edit import Edit
    from mattebox.engine import Engine
    from mattebox.testing import FakeModels

    return Engine(FakeModels(lambda _: rough)).run_file(Edit(), photo).data


def parity(detail: Network, core: Network, photos: Sequence[RGB], models: Path) -> bool:
    """Whether the device's alphas, made in one batch, are those of float32 on the processor, one by one.

    Says too how far those are that mattebox itself makes on the device.
    """
    import numpy as np

    from mattebox.models import ModelOptions, Models

    variants = [detail.variant, core.variant]
    prepared = [squares(photo, variants) for photo in photos]
    slow, other = (open_network(name, models, "cpu") for name in NETWORKS)
    exact = [look(slow, other, fine, coarse, {})[0] for fine, coarse in prepared]

    def differ(name: str, alphas: Sequence[Alpha]) -> bool:
        each = [np.abs(one - true) for one, true in zip(alphas, exact, strict=True)]
        means = [float(one.mean()) for one in each]
        print(
            f"{name}: mean difference of alpha to the processor's {statistics.mean(means):.5f}, worst photo "
            f"{max(means):.5f}, worst pixel {max(float(one.max()) for one in each):.3f}",
            flush=True,
        )
        return max(means) >= CLOSE

    fine, coarse = (np.concatenate(each) for each in zip(*prepared, strict=True))
    differs = differ("in one batch", look(detail, core, fine, coarse, {}))
    if detail.device != "tensorrt":  # which mattebox does not run yet
        own = Models(ModelOptions(device=detail.device, directory=models, download=False)).segmenter("auto")
        differs |= differ("mattebox", [own(photo) for photo in photos])
    return not differs


def rates(detail: Network, core: Network, files: Sequence[bytes], size: int, end: float) -> Iterator[str]:
    """Photos a second in batches of `size`: each stage by itself, and from file to file with all of them at once."""
    import numpy as np

    from mattebox import codec

    variants = [detail.variant, core.variant]
    batch = [files[number % len(files)] for number in range(size)]

    def prepare(file: bytes) -> list[Batch]:
        return squares(codec.decode(file).rgb, variants)

    def join(prepared: Sequence[list[Batch]]) -> tuple[Batch, Batch]:
        fine, coarse = (np.concatenate(each) for each in zip(*prepared, strict=True))
        return fine, coarse

    with ThreadPoolExecutor() as pool:
        look(detail, core, *join(list(pool.map(prepare, batch))), {})  # the first of a size chooses its algorithms
        times: dict[str, float] = {}
        with _timed(times, "decode, shrink, normalise"):
            prepared = list(pool.map(prepare, batch))
        roughs = look(detail, core, *join(prepared), times)
        with _timed(times, "refine, colours, PNG"):
            list(pool.map(finish, batch, roughs))
        for name, seconds in times.items():
            yield f"| {size} | {name} | {size / seconds:.1f} |"
        begin, done = time.monotonic(), 0
        coming = [pool.submit(prepare, file) for file in batch]
        leaving: list[Future[bytes]] = []
        while time.monotonic() < min(end, begin + 20) or not done:
            ready = join([each.result() for each in coming])
            coming = [pool.submit(prepare, file) for file in batch]  # the next, while the device has these
            roughs = look(detail, core, *ready, {})
            for each in leaving:
                each.result()
            leaving = [pool.submit(finish, *pair) for pair in zip(batch, roughs, strict=True)]
            done += size
        for each in leaving:
            each.result()
        yield f"| {size} | **file to file** | {done / (time.monotonic() - begin):.1f} |"


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
    detail, core = (open_network(name, models, device) for name in NETWORKS)
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        print(subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip(), flush=True)
    photos = [make_photo(width=WIDTH, height=HEIGHT)]
    photos += [make_scene(width=WIDTH, height=HEIGHT, seed=seed).photo for seed in range(PHOTOS - 1)]
    close = parity(detail, core, photos[: 2 if device == "cpu" else PHOTOS], models)
    files = [codec.encode(Image(rgb=photo), Output(format=Format.JPEG, quality=90)) for photo in photos]
    print(f"\n| batch | {device}, {WIDTH} x {HEIGHT}, JPEG to PNG | photos a second |\n| --- | --- | --- |", flush=True)
    for size in batches:
        if time.monotonic() > end - 45:
            print(f"\nBatches of {size}: no time was left.")
            continue
        for line in rates(detail, core, files, size, end - 15):
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
        each.add_argument("--device", choices=PROVIDERS, default="cuda")
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
            if given.models is None:
                from mattebox.models.weights import default_directory

                given.models = default_directory()
            return measure(given.device, given.models, given.batches, given.minutes)


if __name__ == "__main__":
    sys.exit(main())

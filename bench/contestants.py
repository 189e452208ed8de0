"""Who is measured: mattebox, mattebox with the newer instructions switched off, and its peers, with the same networks.

Each peer has an environment of its own in `.bench` (see the Makefile). All are given mattebox's own files of IS-Net and
U2-Net, the first in float32 because they run it with ONNX Runtime.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from mattebox import telemetry
from mattebox.models.weights import default_directory
from measure import features, free_bytes, peak_bytes

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"
PEERS = ROOT / ".bench"
LEAST_FREE = 1.5 * 2**30
"""A contestant is ended when it leaves the machine less memory than this."""

Command: TypeAlias = Callable[[Path, Path], Sequence[str | Path]]
"""The command line that cuts a photo, or a folder of photos, out into a file, or a folder."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way to cut a photo out.

    Attributes:
        name: in the tables.
        python: the interpreter of its environment.
        worker: its arguments to `worker.py`.
        environment: variables that it is run with.
        photo: its command for one photo; None where it cannot be told on the command line.
        folder: its command for a folder; None where the row would say nothing new.
        most: megapixels of the largest photo that it is given.
    """

    name: str
    python: Path
    worker: tuple[str, str]
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    photo: Command | None = None
    folder: Command | None = None
    most: float = 100.0

    def variables(self) -> dict[str, str]:
        """The environment of its processes. None of them may call home, or find a browser to open."""
        telemetry.switch_off()
        return {**os.environ, "BROWSER": "/bin/true", **self.environment}


class Stopped(Exception):
    """A contestant was ended, or ended itself."""


class Worker:
    """A contestant that is warm, in a process of its own. Used as a context manager, which ends the process."""

    def __init__(self, contestant: Contestant, *, script: Path = ROOT / "bench" / "worker.py") -> None:
        self.contestant = contestant
        self._log = (BUILD / "logs").joinpath(f"{contestant.name}.log".replace(" ", "-")).open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            [contestant.python, script, *contestant.worker],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=contestant.variables(),
            text=True,
        )
        self._answer(limit=120)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def measure(self, photo: Path, *, limit: float = 180) -> dict[str, float]:
        """What one photo takes: see `worker.py`.

        Raises:
            Stopped: it took more than `limit` seconds or too much memory, or failed.
        """
        assert self._process.stdin
        try:
            self._process.stdin.write(f"{photo}\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise Stopped(f"it had ended; see {self._log.name}") from error
        return self._answer(limit=limit)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _answer(self, *, limit: float) -> dict[str, float]:
        assert self._process.stdout
        end = time.monotonic() + limit
        while not select.select([self._process.stdout], [], [], 0.2)[0]:
            watch(self._process, end)
        line = self._process.stdout.readline()
        if not line:
            raise Stopped(f"it ended; see {self._log.name}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def watch(process: subprocess.Popen[Any], end: float) -> None:
    """Kill a process that takes too long or leaves too little memory, and raise `Stopped`."""
    if free_bytes() < LEAST_FREE:
        held = peak_bytes(process.pid) / 2**30
        process.kill()
        raise Stopped(f"it held {held:.1f} GiB, more than this machine can give")
    if time.monotonic() > end:
        process.kill()
        raise Stopped("it took too long")


def contestants() -> list[Contestant]:
    """All of them, on this machine, mattebox first."""
    ours = Path(sys.executable)
    found = [
        Contestant(
            name="mattebox",
            python=ours,
            worker=("mattebox", "auto"),
            environment=_own_cache("mattebox"),
            photo=lambda photo, out: [ours, "-m", "mattebox", "remove", photo, "-o", out, "--overwrite"],
            folder=lambda photos, out: [ours, "-m", "mattebox", "remove", photos, "-o", out],
        )
    ]
    found += [
        Contestant(
            name=name,
            python=ours,
            worker=("mattebox", "auto"),
            environment=MappingProxyType({"ONEDNN_MAX_CPU_ISA": limit, **_own_cache(name)}),
        )
        for feature, name, limit in (
            ("VNNI", "mattebox, AVX-512", "AVX512_CORE"),
            ("AVX-512", "mattebox, AVX2", "AVX2"),
        )
        if feature in features()  # where the processor has less, it is measured as it is
    ]
    rembg = _bin("rembg", "rembg")
    found += [
        Contestant(
            name="rembg" + suffix,
            python=_bin("rembg", "python"),
            worker=(f"rembg{suffix.replace(', ', '-').replace(' ', '-')}", "isnet-general-use"),
            environment=MappingProxyType({"U2NET_HOME": str(weights())}),
            photo=_rembg_photo(rembg, options),
            folder=None if options else lambda photos, out: [rembg, "p", "-m", "isnet-general-use", photos, out],
            most=most,
        )
        for suffix, options, most in (
            ("", (), 100.0),
            # 2 GB and 5 GB for 12 megapixels, and in proportion for more
            (", decontaminate", ("-dc",), 24.0),
            (", alpha matting", ("-a",), 12.0),
        )
    ]
    batchroom = _bin("batchroom", "batchroom")
    recipe = BUILD / "batchroom" / "recipe.yaml"
    found += [
        Contestant(
            name="rembg, U2-Net",
            python=_bin("rembg", "python"),
            worker=("rembg", "u2net"),
            environment=MappingProxyType({"U2NET_HOME": str(weights())}),
            photo=lambda photo, out: [rembg, "i", "-m", "u2net", photo, out],
        ),
        Contestant(
            name="batchroom",
            python=_bin("batchroom", "python"),
            worker=("batchroom", "isnet-general"),
            environment=MappingProxyType({"BATCHROOM_DATA_DIR": str(recipe.parent)}),
            photo=lambda photo, out: [batchroom, "run", recipe, photo, "-o", out.with_suffix("")],
            folder=lambda photos, out: [batchroom, "run", recipe, photos, "-o", out],
        ),
        Contestant(
            name="snipbg, U2-Net",
            python=_bin("snipbg", "python"),
            worker=("snipbg", "u2net"),
            environment=MappingProxyType({"SNIPBG_HOME": str(weights())}),
            photo=lambda photo, out: [_bin("snipbg", "snipbg"), "remove", "-m", "u2net", photo, "-o", out],
        ),
    ]
    return found


def _rembg_photo(rembg: Path, options: Sequence[str]) -> Command:
    return lambda photo, out: [rembg, "i", "-m", "isnet-general-use", *options, photo, out]


def _own_cache(name: str) -> Mapping[str, str]:
    """A cache of its own: what is compiled for fewer instructions must not replace what the user's own uses."""
    return MappingProxyType({"XDG_CACHE_HOME": str(BUILD / "cache" / name.replace(", ", "-").replace(" ", "-"))})


def _bin(peer: str, program: str) -> Path:
    return PEERS / peer / "bin" / program


def weights() -> Path:
    """The folder of the networks' files under the names that peers look for."""
    return BUILD / "weights"


def prepare() -> None:
    """Lay out what the contestants need: the networks' files, and a recipe for Batchroom."""
    own = default_directory()
    recipe = BUILD / "batchroom" / "recipe.yaml"
    for folder in (weights(), BUILD / "logs", recipe.parent / "models"):
        folder.mkdir(parents=True, exist_ok=True)
    recipe.write_text(
        "name: cutout\nversion: 1\nsteps:\n  - op: remove-background\noutput:\n  format: png\n  manifest: false\n",
        encoding="utf-8",
    )
    single = weights() / "isnet-general-use.onnx"
    if not single.exists():
        import onnx

        from networks import widened

        onnx.save(widened(own / "isnet-general.onnx"), single)
    links = {weights() / "u2net.onnx": own / "u2net.onnx", recipe.parent / "models" / "isnet-general.onnx": single}
    for each in contestants():
        if cache := each.environment.get("XDG_CACHE_HOME"):
            links |= {Path(cache, "mattebox", "models", file.name): file for file in own.glob("*net*.onnx*")}
    for link, file in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(file)

"""The networks that find the subject: `Models` gives a segmenter by its name and keeps it warm.

The only room with an inference runtime in it. `catalogue` lists the networks, `weights` fetches their files,
`runtimes` runs them, `families` knows what goes in and what comes out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

import numpy as np
from pydantic import AfterValidator

from mattebox import download
from mattebox.environment import option
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha
from mattebox.models import choices, families, int8, memory, runtimes, weights
from mattebox.models.batching import Batching
from mattebox.models.catalogue import (
    CATALOGUE,
    DEFAULT,
    Choice,
    Family,
    Network,
    Row,
    Variant,
    licence_warnings,
    like,
    members,
)
from mattebox.models.network import LoadedNetwork
from mattebox.models.promptable import Promptable, Sam2

__all__ = ["CATALOGUE", "DEFAULT", "EnsembleSegmenter", "ModelOptions", "Models", "Promptable", "Segmenter"]

_log = logging.getLogger(__name__)


class Segmenter(Protocol):
    """Finds the subject of a photo."""

    def __call__(self, photo: RGB) -> Alpha:
        """A rough alpha of the whole photo, edge to edge, absolute in [0, 1], at the network's own resolution."""


@runtime_checkable
class EnsembleSegmenter(Segmenter, Protocol):
    """A segmenter with several networks in it, which may see different things."""

    def look(self, photo: RGB) -> tuple[Alpha, float]:
        """The rough alpha, and how far the networks bear it out, in [0, 1] (`matting.support`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """How networks are found and run."""

    device: Annotated[str, AfterValidator(runtimes.check_device)] = option(
        "auto", "What the networks run on: auto, cpu, cuda, tensorrt, coreml or openvino:<device>."
    )
    threads: int = option(0, "Threads that a network computes with; 0 means all cores that may be used.")
    directory: Path | None = option(None, "Directory of the networks' files; by default in the user's cache directory.")
    download: bool = option(True, "Fetch a network's missing file: when it is first used, or at a server's start.")
    user_files: bool = option(
        False, "Let a model be named as `family:/path/to/file.onnx`, which is loaded without a checksum."
    )
    memory_check: bool = option(True, "Refuse to load a network that is expected to need more memory than is free.")
    batch: int = option(
        8,
        "Photos that an NVIDIA GPU is given at once, of those that are worked on at the same time. Other devices take "
        "one by one, which is as fast there.",
    )
    batch_wait: float = option(0.003, "Seconds that a photo waits at each network for others to share its batch.")

    @property
    def folder(self) -> Path:
        """The directory of the networks' files, the default one where none is set."""
        return self.directory or weights.default_directory()

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise ValueError("threads must not be negative")
        if self.batch < 1 or not 0 <= self.batch_wait <= 1:
            raise ValueError("batch must be at least 1 and batch_wait from 0 to 1")


class Models:
    """Warm networks: each is loaded once, when it is first used, and kept.

    Safe to use from several threads. Loading one network does not hold up another one, and fetching a network holds up
    only those who wait for it.

    Args:
        options: where files are and what runs them.
        progress: told about downloads: what is being done, bytes done, bytes in all (None: unknown). What it raises
            ends the download.
        fetch_when_used: fetch a missing file at a segmenter's first call too, and not only in `warm`. A server says
            False, so that a request can neither start a download nor wait for one.
        catalogue: the networks there are, by name.
        machine: what a choice such as `best` has to fit; by default what the device of `options` is here.
    """

    def __init__(
        self,
        options: ModelOptions | None = None,
        *,
        progress: download.Progress | None = None,
        fetch_when_used: bool = True,
        catalogue: Mapping[str, Row] = CATALOGUE,
        machine: memory.Machine | None = None,
    ) -> None:
        self._options = options or ModelOptions()
        self._progress = progress
        self._fetch_when_used = fetch_when_used
        self._catalogue = catalogue
        self._machine = machine
        self._segmenters: dict[str, _NetworkSegmenter] = {}
        self._lock = threading.Lock()
        self._promptable = Sam2(self.directory, threads=self._options.threads, memory_check=self._options.memory_check)

    @property
    def directory(self) -> Path:
        """The folder of the networks' files."""
        return self._options.folder

    def segmenter(self, name: str) -> Segmenter:
        """The segmenter of that name. It is loaded when it is first called.

        Args:
            name: a name of the catalogue, or `name:/path/to/file.onnx` for a file of one's own that is prepared like
                that network; instead of a network's name, that of its family will do.

        Raises:
            MatteboxError: INVALID_PARAMETER where the model is unknown; UNAVAILABLE where its file is missing and
                `fetch_when_used` is False. Calling the segmenter raises UNAVAILABLE where its file or device is not to
                be had.
        """
        networks = self._networks(name)
        if name in self._catalogue and not self._fetch_when_used:
            for network in networks:
                if not network.installed:
                    raise weights.not_installed(name, network.variant)
        *others, last = networks
        if last.variant.rough is not None:
            return _RefiningSegmenter(_together(others), last)
        return _together(networks)

    def promptable(self) -> Promptable | None:
        """The network that points and a box ask; None where its files or ONNX Runtime are not here.

        It is never fetched by its use: it is as large as the networks that everybody needs.
        """
        return self._promptable if self._promptable.installed else None

    def warm(self, name: str) -> None:
        """Fetch a model if need be, load it and run it once, so that the first photo does not wait.

        Raises:
            MatteboxError: what `segmenter` and its call raise, and UNAVAILABLE where the file cannot be fetched.
        """
        for network in self._networks(name):
            network.open(fetch=self._options.download)
        # a plain grey square: what networks allocate does not depend on what they see
        self.segmenter(name)(np.full((64, 64, 3), 128, np.uint8))

    def installed(self, name: str) -> bool:
        """Whether a model can be loaded without fetching anything: all its files are there, or it is loaded.

        Cheap: no file is read, so a damaged one counts as there.

        Raises:
            MatteboxError: INVALID_PARAMETER where the model is unknown.
        """
        return all(network.installed for network in self._networks(name))

    def _networks(self, name: str) -> list[_NetworkSegmenter]:
        """The networks behind a name: one or an ensemble's two, and perhaps one that refines them."""
        row = self._catalogue.get(name)
        if row is not None:
            return [self._network(variant, None) for variant in members(self.resolve(row), self._catalogue)]
        base, colon, file = name.partition(":")
        variant = like(base, self._catalogue)
        if not colon or not file or variant is None:
            raise MatteboxError(
                Kind.INVALID_PARAMETER,
                f"Unknown model. Choose one of {', '.join(self._catalogue)}.",
                parameter="model",
            )
        if not self._options.user_files:
            raise MatteboxError(Kind.INVALID_PARAMETER, "A model's file may not be named here.", parameter="model")
        rough = [] if variant.rough is None else self._networks(variant.rough)
        return [*rough, self._network(variant, Path(file).expanduser())]

    def resolve(self, row: Row) -> Network:
        """The network that a row of the catalogue stands for on this machine, which is looked at once."""
        if not isinstance(row, Choice):
            return row
        with self._lock:
            if self._machine is None:
                self._machine = choices.machine(self._options.device)
                _log.info("choosing networks for %s", self._machine)
        return choices.resolve(row, self._machine, self._catalogue)

    def _network(self, variant: Variant, file: Path | None) -> _NetworkSegmenter:
        key = variant.name if file is None else f"{variant.name}:{file}"
        expected = file
        if file is None and variant.sha256 is not None:  # without a checksum no file of the directory is taken
            expected = weights.path(variant, self.directory)
        with self._lock:  # short: nothing is loaded under it
            if key not in self._segmenters:
                self._segmenters[key] = _NetworkSegmenter(
                    variant,
                    file=expected,
                    loader=lambda: self._load(variant, file),
                    fetcher=lambda: self._fetch(variant),
                    fetch_when_used=self._options.download and self._fetch_when_used,
                )
            return self._segmenters[key]

    def _load(self, variant: Variant, file: Path | None) -> LoadedNetwork:
        begin = time.perf_counter()
        prepared = None
        if file is None and variant.sha256 is not None:
            # the checksum in the name ties it to these very weights
            prepared = self.directory / "openvino" / f"{variant.name}-{variant.sha256[:12]}"
        network = runtimes.open_network(
            lambda: weights.locate(variant, self.directory) if file is None else _named(file),
            device=self._options.device,
            threads=self._options.threads,
            precision=variant.precision,
            int8=None if prepared is None or variant.int8 is None else int8.table(variant.int8),
            prepared=prepared,
            batch=self._options.batch,
            free_batch=families.takes_batches(variant),
            guard=lambda: self._check_memory(variant, file),
        )
        _log.info("loaded %s on %s in %.1f s", variant.name, network.where, time.perf_counter() - begin)
        for sentence in licence_warnings(variant.name, self._catalogue):
            _log.warning("%s", sentence)
        return network if network.batch == 1 else Batching(network, wait=self._options.batch_wait)

    def _check_memory(self, variant: Variant, file: Path | None) -> None:
        place = file or weights.path(variant, self.directory)
        if self._options.memory_check and place.is_file():  # a missing file is another failure
            memory.check(variant, place.stat().st_size)

    def _fetch(self, variant: Variant) -> None:
        weights.pull(variant, directory=self.directory, progress=self._progress)
        runtimes.give_back_memory()


class _NetworkSegmenter:
    """One network as a segmenter, opened at the first call by whichever thread comes first."""

    def __init__(
        self,
        variant: Variant,
        *,
        file: Path | None,
        loader: Callable[[], LoadedNetwork],
        fetcher: Callable[[], None],
        fetch_when_used: bool,
    ) -> None:
        self.variant = variant
        self._file = file
        self._loader = loader
        self._fetcher = fetcher
        self._fetch_when_used = fetch_when_used
        self._loading = threading.Lock()
        self._network: LoadedNetwork | None = None

    def __call__(self, photo: RGB) -> Alpha:
        network = self.open()
        batch = families.prepare(photo, self.variant, self._size(network, photo))
        return families.read_alpha(network(batch)[0], self.variant)

    def refine(self, photo: RGB, rough: Alpha) -> Alpha:
        """The alpha that this network draws where `rough` is unclear; elsewhere it stays 0 or 1."""
        network = self.open()
        size = self._size(network, photo)
        known = families.trimap(rough, size)
        drawn = families.read_alpha(network(families.prepare(photo, self.variant, size, known))[0], self.variant)
        return np.where(known == 0.5, drawn, known)

    def _size(self, network: LoadedNetwork, photo: RGB) -> tuple[int, int]:
        height, width = photo.shape[:2]
        return network.size or families.input_size(self.variant, width=width, height=height)

    @property
    def installed(self) -> bool:
        """Loaded, or its file is there."""
        return self._network is not None or (self._file is not None and self._file.is_file())

    def open(self, *, fetch: bool = False) -> LoadedNetwork:
        """The network, loaded if it is not yet. Its file is fetched where `fetch` or `fetch_when_used` allows it."""
        try:
            return self._load()
        except download.NotInstalledError:
            if not (fetch or self._fetch_when_used):
                raise
        self._fetcher()  # outside the lock: a request must not wait for what `warm` fetches
        return self._load()

    def _load(self) -> LoadedNetwork:
        with self._loading:  # a failure is not kept: the next call tries again
            if self._network is None:
                self._network = self._loader()
            return self._network

    @property
    def square(self) -> int | None:
        """Side of the square that the photo is squashed to; None where its shape is kept."""
        return None if self.variant.family is Family.MODNET else self.variant.size


class _EnsembleSegmenter:
    """The fine detail of one network and the solid core of another, which looks again where the two disagree."""

    def __init__(self, detail: _NetworkSegmenter, core: _NetworkSegmenter) -> None:
        self._detail = detail
        self._core = core

    def __call__(self, photo: RGB) -> Alpha:
        alpha, _ = self.look(photo)
        return alpha

    def look(self, photo: RGB) -> tuple[Alpha, float]:
        from mattebox import matting

        # Both before either runs: preparing a file and running a network are the two peaks of memory.
        self._detail.open()
        self._core.open()
        side = self._detail.square
        if side is not None and self._core.square is not None and min(photo.shape[:2]) > side:
            # All looks are at a squashed square: reduce the large photo once, not once a look (36 ms at 12 MP).
            photo = families.shrink(photo, height=side, width=side)
        detail, core = self._detail(photo), self._core(photo)
        core = self._looked_again(photo, detail, core)
        fused = matting.fuse(detail, core)
        return fused, matting.support(fused, detail, core)

    def _looked_again(self, photo: RGB, detail: Alpha, core: Alpha) -> Alpha:
        """The core of more looks than one where it and the detail disagree, as they do on a third of photos.

        An empty scene needs none, and what only one of two looks takes for a subject is none.
        """
        from mattebox import matting

        agreement = matting.agreement(detail, core)
        if agreement >= matting.AGREED or not matting.has_subject(detail, core):
            return core
        mirrored = self._core(photo[:, ::-1])[:, ::-1]
        if not matting.has_subject(detail, mirrored):
            return mirrored
        two = matting.merge(detail, core, mirrored)
        if agreement >= matting.DOUBTED or not matting.has_subject(detail, two):
            return two
        framed = families.unframe(self._core(families.frame(photo)), photo.shape[:2], core.shape)
        three = matting.merge(detail, core, mirrored, framed)
        return three if matting.has_subject(detail, three) else two  # a third look takes no subject away


class _RefiningSegmenter:
    """The rough alpha of a segmenter, its unclear edge drawn by another network."""

    def __init__(self, rough: Segmenter, edge: _NetworkSegmenter) -> None:
        self._rough = rough
        self._edge = edge

    def __call__(self, photo: RGB) -> Alpha:
        alpha, _ = self.look(photo)
        return alpha

    def look(self, photo: RGB) -> tuple[Alpha, float]:
        self._edge.open()  # before anything runs, as in an ensemble
        rough, support = (
            self._rough.look(photo) if isinstance(self._rough, EnsembleSegmenter) else (self._rough(photo), 1.0)
        )
        # An empty scene stays empty: the network is asked about edges, and not whether there is a subject.
        return (self._edge.refine(photo, rough) if rough.any() else rough), support


def _together(networks: Sequence[_NetworkSegmenter]) -> Segmenter:
    """One network as it is, or the two of an ensemble fused."""
    if len(networks) == 1:
        return networks[0]
    detail, core = networks
    return _EnsembleSegmenter(detail, core)


def _named(file: Path) -> Path:
    if not file.is_file():
        raise MatteboxError(Kind.UNAVAILABLE, "The model's file is not there.", parameter="model")
    return file

"""The networks that find the subject: `Models` gives a segmenter by its name and keeps it warm.

The only room with an inference runtime in it. `catalogue` lists the networks, `weights` fetches their files,
`runtimes` runs them, `families` knows what goes in and what comes out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, assert_never

import numpy as np

from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha
from mattebox.models import families, runtimes, weights
from mattebox.models.catalogue import CATALOGUE, DEFAULT, Ensemble, Family, Row, Variant

__all__ = ["CATALOGUE", "DEFAULT", "ModelOptions", "Models", "Segmenter"]

_log = logging.getLogger(__name__)


class Segmenter(Protocol):
    """Finds the subject of a photo."""

    def __call__(self, photo: RGB) -> Alpha:
        """A rough alpha of the whole photo, edge to edge, absolute in [0, 1], at the network's own resolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """How networks are found and run."""

    device: str = field(
        default="auto",
        metadata={"doc": "What the networks run on: auto, cpu, cuda, coreml or openvino:<device>."},
    )
    threads: int = field(
        default=0, metadata={"doc": "Threads that a network computes with; 0 means all cores that may be used."}
    )
    directory: Path | None = field(
        default=None, metadata={"doc": "Directory of the networks' files; by default in the user's cache directory."}
    )
    download: bool = field(default=True, metadata={"doc": "Fetch a network's missing file when it is first used."})
    user_files: bool = field(
        default=False,
        metadata={"doc": "Let a model be named as `family:/path/to/file.onnx`, which is loaded without a checksum."},
    )

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise ValueError("threads must not be negative")


class Models:
    """Warm networks: each is loaded once, when it is first used, and kept.

    Safe to use from several threads. Loading one network does not hold up another one.

    Args:
        options: where files are and what runs them.
        progress: told about downloads: what is being done, bytes done, bytes in all (None: unknown).
        catalogue: the networks there are, by name.
    """

    def __init__(
        self,
        options: ModelOptions | None = None,
        *,
        progress: weights.Progress | None = None,
        catalogue: Mapping[str, Row] = CATALOGUE,
    ) -> None:
        self._options = options or ModelOptions()
        self._progress = progress
        self._catalogue = catalogue
        self._segmenters: dict[str, _NetworkSegmenter] = {}
        self._lock = threading.Lock()

    @property
    def directory(self) -> Path:
        """Where the networks' files are kept."""
        return self._options.directory or weights.default_directory()

    def segmenter(self, name: str) -> Segmenter:
        """The segmenter of that name. It is loaded when it is first called.

        Args:
            name: a name of the catalogue, or `name:/path/to/file.onnx` for a file of one's own that is prepared like
                that network; instead of a network's name, that of its family will do.

        Raises:
            MatteboxError: INVALID_PARAMETER where there is no such model. Calling the segmenter raises UNAVAILABLE
                where its file or device is not to be had.
        """
        row = self._catalogue.get(name)
        if isinstance(row, Ensemble):
            return _EnsembleSegmenter(
                self._warm(self._variant(row.detail), None), self._warm(self._variant(row.core), None)
            )
        if row is not None:
            return self._warm(row, None)
        base, colon, file = name.partition(":")
        variant = self._like(base)
        if not colon or not file or variant is None:
            raise MatteboxError(
                Kind.INVALID_PARAMETER,
                f"There is no such model; there are {', '.join(self._catalogue)}.",
                parameter="model",
            )
        if not self._options.user_files:
            raise MatteboxError(Kind.INVALID_PARAMETER, "A model's file may not be named here.", parameter="model")
        return self._warm(variant, Path(file).expanduser())

    def warm(self, name: str) -> None:
        """Load a model and run it once, so that the first photo does not wait. Raises what `segmenter` raises."""
        # a plain grey square: what networks allocate does not depend on what they see
        self.segmenter(name)(np.full((64, 64, 3), 128, np.uint8))

    def _variant(self, name: str) -> Variant:
        row = self._catalogue[name]
        if not isinstance(row, Variant):
            raise TypeError(f"{name} is not a single network")
        return row

    def _like(self, base: str) -> Variant | None:
        """The variant of that name, or the first one of the family of that name."""
        row = self._catalogue.get(base)
        if isinstance(row, Variant):
            return row
        variants = (row for row in self._catalogue.values() if isinstance(row, Variant))
        return next((variant for variant in variants if variant.family == base), None)

    def _warm(self, variant: Variant, file: Path | None) -> _NetworkSegmenter:
        key = variant.name if file is None else f"{variant.name}:{file}"
        with self._lock:  # short: nothing is loaded under it
            return self._segmenters.setdefault(key, _NetworkSegmenter(variant, lambda: self._open(variant, file)))

    def _open(self, variant: Variant, file: Path | None) -> runtimes.Network:
        if not variant.commercial:
            _log.warning("%s may not be used commercially (%s)", variant.name, variant.licence)
        begin = time.perf_counter()
        prepared = None
        if file is None and variant.sha256 is not None:
            # the checksum in the name ties it to these very weights
            prepared = self.directory / "openvino" / f"{variant.name}-{variant.sha256[:12]}"
        network = runtimes.open_network(
            lambda: self._file(variant) if file is None else _named(file),
            device=self._options.device,
            threads=self._options.threads,
            precision=variant.precision,
            prepared=prepared,
        )
        _log.info("loaded %s on %s in %.1f s", variant.name, network.where, time.perf_counter() - begin)
        return network

    def _file(self, variant: Variant) -> Path:
        if self._options.download or variant.sha256 is None:  # without a checksum pull() only says what to do
            file = weights.pull(variant, directory=self.directory, progress=self._progress)
            runtimes.give_back_memory()
            return file
        state = weights.verify(variant, self.directory)
        match state:
            case weights.State.PRESENT:
                return weights.path(variant, self.directory)
            case weights.State.MISSING | weights.State.DAMAGED:
                raise MatteboxError(
                    Kind.UNAVAILABLE,
                    f"The weights of {variant.name} are {state}; `mattebox models pull {variant.name}` fetches them.",
                )
            case unknown:
                assert_never(unknown)


class _NetworkSegmenter:
    """One network as a segmenter, opened at the first call by whichever thread comes first."""

    def __init__(self, variant: Variant, opener: Callable[[], runtimes.Network]) -> None:
        self._variant = variant
        self._opener = opener
        self._opening = threading.Lock()
        self._network: runtimes.Network | None = None

    def __call__(self, photo: RGB) -> Alpha:
        network = self.open()
        height, width = photo.shape[:2]
        size = network.size or families.input_size(self._variant, width=width, height=height)
        return families.read_alpha(network(families.prepare(photo, self._variant, size)), self._variant)

    def open(self) -> runtimes.Network:
        """The network, loaded if it is not yet."""
        with self._opening:  # a failure is not kept: the next call tries again
            if self._network is None:
                self._network = self._opener()
            return self._network

    @property
    def square(self) -> int | None:
        """Side of the square that the photo is squashed to; None where its shape is kept."""
        return None if self._variant.family is Family.MODNET else self._variant.size


class _EnsembleSegmenter:
    """The fine detail of one network and the solid core of another."""

    def __init__(self, detail: _NetworkSegmenter, core: _NetworkSegmenter) -> None:
        self._detail = detail
        self._core = core

    def __call__(self, photo: RGB) -> Alpha:
        from mattebox import matting

        # Both before either runs: preparing a file and running a network are the two peaks of memory.
        self._detail.open()
        self._core.open()
        side = self._detail.square
        if side is not None and self._core.square is not None and min(photo.shape[:2]) > side:
            # Both look at a squashed square: reduce the large photo once, not once a network (36 ms at 12 MP).
            photo = families.shrink(photo, height=side, width=side)
        return matting.fuse(self._detail(photo), self._core(photo))


def _named(file: Path) -> Path:
    if not file.is_file():
        raise MatteboxError(Kind.UNAVAILABLE, "The model's file is not there.", parameter="model")
    return file

"""The network that points and a box ask: which object is meant? It looks at a picture once and answers many times."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeAlias, final

import numpy as np
import numpy.typing as npt

from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB
from mattebox.models import families, memory, onnx_runtime, runtimes, weights
from mattebox.models.catalogue import CLICKS, PromptableRow

_log = logging.getLogger(__name__)

Floats: TypeAlias = npt.NDArray[np.float32]
Embedding: TypeAlias = tuple[Floats, ...]
"""All that the network saw in a picture; 16 MiB for SAM 2."""
PromptPoint: TypeAlias = tuple[float, float, bool]
"""A point, in fractions of the picture's width and height, and whether it is on the object."""
PromptBox: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom in the same fractions."""


class Promptable(Protocol):
    """Says where the object is that somebody points at."""

    def embed(self, photo: RGB) -> Embedding:
        """Look at a picture. This is the dear part."""

    def ask(
        self, seen: Embedding, points: Sequence[PromptPoint], box: PromptBox | None = None
    ) -> tuple[Floats, Floats]:
        """Several answers to one question, as a click may mean an object, a part of it or a group.

        Args:
            seen: the picture.
            points: on the object, or not on it.
            box: round the object.

        Returns:
            The masks (answers, height, width) of the whole picture, positive on the object and negative elsewhere, the
            surer the larger; and how good the network expects each to be, in about 0..1.
        """


@final
class Sam2:
    """SAM 2 (Ravi et al. 2024) in ONNX Runtime, on the processor. Loaded when it is first used.

    Args:
        directory: of the networks' files.
        threads: how many to compute with; 0 means all cores that the process may use.
        memory_check: refuse to load it where it is expected to need more memory than is free.
        row: its row of the catalogue.
    """

    def __init__(self, directory: Path, *, threads: int = 0, memory_check: bool = True, row: PromptableRow = CLICKS):
        self._directory = directory
        self._threads = threads
        self._memory_check = memory_check
        self._row = row
        self._sessions: tuple[onnx_runtime.Session, onnx_runtime.Session] | None = None
        self._loading = threading.Lock()

    @property
    def installed(self) -> bool:
        """Whether its files and ONNX Runtime are here. Cheap: no file is read, so a damaged one counts as there."""
        if self._sessions is not None:
            return True
        files = (weights.path(each, self._directory) for each in (self._row.encoder, self._row.decoder))
        return importlib.util.find_spec("onnxruntime") is not None and all(file.is_file() for file in files)

    def embed(self, photo: RGB) -> Embedding:
        """See `Promptable`.

        Raises:
            MatteboxError: UNAVAILABLE where its files are damaged or there is too little memory.
        """
        encoder, _ = self._loaded()
        outputs = encoder(image=families.normalised(photo, self._row.mean, self._row.scale, self._row.size))
        return tuple(outputs[name] for name in _SEEN)

    def ask(
        self, seen: Embedding, points: Sequence[PromptPoint], box: PromptBox | None = None
    ) -> tuple[Floats, Floats]:
        """See `Promptable`."""
        _, decoder = self._loaded()
        corners = () if box is None else ((*box[:2], 2), (*box[2:], 3))  # a box is two more kinds of points
        rows = np.array([*corners, *points], np.float32)[None]
        outputs = decoder(
            **dict(zip(_SEEN, seen, strict=True)),
            point_coords=rows[:, :, :2] * np.float32(self._row.size),
            point_labels=rows[:, :, 2],
            mask_input=np.zeros((1, 1, 256, 256), np.float32),
            has_mask_input=np.zeros(1, np.float32),
        )
        masks, scores = outputs["masks"][0], outputs["iou_predictions"][0]
        if not (np.isfinite(masks).all() and np.isfinite(scores).all()):
            raise MatteboxError(Kind.UNAVAILABLE, "The network for clicks answered with values that are no numbers.")
        return masks, scores

    def _loaded(self) -> tuple[onnx_runtime.Session, onnx_runtime.Session]:
        with self._loading:  # a failure is not kept: the next call tries again
            if self._sessions is None:
                files = [weights.locate(each, self._directory) for each in (self._row.encoder, self._row.decoder)]
                there = memory.free()
                if self._memory_check and there is not None and self._row.memory > there:
                    raise MatteboxError(
                        Kind.UNAVAILABLE,
                        f"Points and a box need about {memory.gigabytes(self._row.memory)} of memory, and "
                        f"{memory.gigabytes(there)} are free.",
                        parameter="corrections",
                    )
                encoder, decoder = (
                    onnx_runtime.Session(file, threads=runtimes.thread_budget(self._threads)) for file in files
                )
                self._sessions = encoder, decoder
                _log.info("loaded %s on ONNX Runtime cpu f32", self._row.name)
            return self._sessions


_SEEN = ("image_embed", "high_res_feats_0", "high_res_feats_1")

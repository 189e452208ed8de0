"""A loaded network, whatever runs it: its contract, and its failures in words."""

from __future__ import annotations

import re
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mattebox.errors import Kind, MatteboxError
from mattebox.models.families import Batch


class LoadedNetwork(Protocol):
    """A loaded network. Safe to call from several threads; calls are answered one after the other."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the only input it takes; None where it takes any."""

    @property
    def where(self) -> str:
        """The device and precision that it really runs on, for people: `OpenVINO CPU bf16`."""

    @property
    def batch(self) -> int:
        """The most photos that are worth giving to it at once; 1 on a processor, or where its file takes only one."""

    def __call__(self, batch: Batch) -> npt.NDArray[np.float32]:
        """The network's first output, shape (n, height, width), for a batch of shape (n, channels, height, width).

        Raises:
            OutOfMemoryError: the device has too little memory for so many photos.
            MatteboxError: UNAVAILABLE where the network cannot be run, or is one of another kind.
        """


class OutOfMemoryError(MatteboxError):
    """The memory of a network's device ended: UNAVAILABLE."""


_OUT_OF_MEMORY = re.compile(
    "out of memory|out_of_memory|insufficient memory|bad_alloc|(alloc|allocation)_fail|"
    "fail(ed|ure) to allocate|(could|can) ?not allocate|out_of_.*resources",
    re.IGNORECASE,
)


def not_loaded(device: str, error: Exception) -> MatteboxError:
    """The failure to load a file on a device, for what a runtime raised."""
    if _OUT_OF_MEMORY.search(str(error)):
        sentence = f"There is too little memory to load the network on {device}. Choose a smaller model."
        return OutOfMemoryError(Kind.UNAVAILABLE, sentence, parameter="model")
    return MatteboxError(
        Kind.UNAVAILABLE,
        f"The file cannot be loaded as a network on {device}. It may be damaged, or need a newer runtime.",
    )


def not_run(where: str, error: Exception) -> MatteboxError:
    """The failure to compute, for what a runtime raised. Few say that memory was the reason."""
    kind = Kind.UNAVAILABLE
    if _OUT_OF_MEMORY.search(str(error)):
        sentence = f"The network cannot be run ({where}): there is too little memory."
        return OutOfMemoryError(kind, sentence, parameter="model")
    sentence = f"The network cannot be run ({where}): there is too little memory, or it is made for another input."
    return MatteboxError(kind, sentence, parameter="model")


def expect_photo(rank: int) -> None:
    """Refuse a network whose input has not the four axes of a batch."""
    if rank != 4:
        raise MatteboxError(Kind.UNAVAILABLE, "The file is a network, but not one that takes a photo.")


def planes(output: npt.NDArray[Any], count: int) -> npt.NDArray[np.float32]:
    """An output of shape (count, 1, height, width) or (count, height, width) as (count, height, width)."""
    shape = (count, *output.shape[-2:])
    if output.ndim < 3 or output.shape[0] != count or output.size != count * output.shape[-1] * output.shape[-2]:
        raise MatteboxError(
            Kind.UNAVAILABLE, "The file is a network, but not one that answers with one matte.", parameter="model"
        )
    return output.reshape(shape).astype(np.float32, copy=False)

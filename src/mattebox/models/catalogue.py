"""Which networks there are: the rows of `catalogue.toml`, and what their words mean.

A variant of a network is a row there and never a class. `families` says what the rows' numbers mean, `weights` fetches
the files, `runtimes` runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator

from mattebox import download, toml_tables


class Family(StrEnum):
    """Networks that share one way to prepare a photo and to read the answer."""

    ISNET = "isnet"
    U2NET = "u2net"
    MODNET = "modnet"
    BIREFNET = "birefnet"
    BEN = "ben"
    VITMATTE = "vitmatte"


Precision: TypeAlias = Literal["bf16", "int8", "f32"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A file of weights, and where to get it.

    Attributes:
        name: its name, and that of its file without the suffix.
        sha256, bytes: of the file. None where mattebox knows no checksum: then only a file that the user names is
            loaded.
        earlier_sha256: of the same network as an earlier version of mattebox stored it. Such a file is still loaded.
        sources: where to fetch it, tried in this order.
        suffix: of its file.
        part_of: the name that `mattebox models pull` takes, where it is another.
    """

    name: str
    sha256: str | None = None
    bytes: int | None = None
    earlier_sha256: str | None = None
    sources: Annotated[tuple[download.Source, ...], BeforeValidator(download.sources)] = ()
    suffix: str = ".onnx"
    part_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(Weights):
    """One network with one set of weights.

    Attributes:
        name: what `--model` takes.
        family: how a photo becomes its input and its output an alpha.
        size: side of the square input in pixels; for MODNet, which keeps the photo's shape, the shorter side.
        mean, scale: the input is (colour - mean) / scale, per channel, with colours in 0..255.
        logits: the network's output still needs the sigmoid.
        precision: the lowest precision that leaves its alpha as it is. bf16 is used only where the processor has it.
        int8: the table of scales with which OpenVINO computes it in 8 bits on x86 processors (`models.int8`);
            None where that would show.
        licence: SPDX expression of the weights' licence, as far as anybody stated one.
        commercial: may be used commercially.
        note: one honest sentence on what it is good at and what its licence leaves open.
        memory: bytes that a process needs to load it and run it on a processor, beside its own: an estimate.
        rough: the network whose rough alpha this one needs beside the photo, to refine it; None for most.
        gpu: so slow on a processor that no choice takes it without an NVIDIA GPU.
    """

    family: Family
    size: int
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    logits: bool = False
    precision: Precision
    int8: str | None = None
    licence: str
    commercial: bool
    note: str
    memory: int
    rough: str | None = None
    gpu: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptableRow:
    """A network that says where the object is that points or a box mean; `--model` does not take it.

    Attributes:
        name: what `mattebox models pull` takes.
        encoder: looks at the photo, once.
        decoder: answers points and a box from what the encoder saw.
        size: side of the square that the photo is squashed to, in pixels.
        mean, scale, licence, commercial, note, memory: as in `Variant`.
    """

    name: str
    encoder: Weights
    decoder: Weights
    size: int
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    licence: str
    commercial: bool
    note: str
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Two variants whose alphas are fused: the fine `detail` of one, the solid `core` of the other.

    Where they disagree, the core's network looks again: at the mirrored photo and, where they disagree much, at the
    photo in a frame of its own reflection.
    """

    name: str
    detail: str
    core: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A name for a purpose. It stands for the first of its candidates that the machine can run (`choices.resolve`).

    The order of the candidates follows their makers' figures; mattebox has not compared them. All may be used
    commercially, and the last one runs everywhere.
    """

    name: str
    candidates: tuple[str, ...]
    note: str


Network: TypeAlias = Variant | Ensemble
Row: TypeAlias = Network | Choice

DEFAULT = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """The contents of `catalogue.toml`."""

    rows: tuple[Row, ...]
    clicks: PromptableRow


_TABLE = toml_tables.load("mattebox.models", "catalogue.toml", _Table)
CLICKS = _TABLE.clicks
"""The network that answers points and a box, where it was fetched."""
CATALOGUE: Mapping[str, Row] = MappingProxyType({row.name: row for row in _TABLE.rows})
"""Every row by its name, in the order that people should read them."""


def members(row: Network, catalogue: Mapping[str, Row] = CATALOGUE) -> tuple[Variant, ...]:
    """The single networks behind a row, the detail of an ensemble first, and one that refines after what it refines."""
    if isinstance(row, Ensemble):
        parts = (network(name, catalogue) for name in (row.detail, row.core))
        return tuple(member for part in parts for member in members(part, catalogue))
    return (*(members(network(row.rough, catalogue), catalogue) if row.rough else ()), row)


def network(name: str, catalogue: Mapping[str, Row] = CATALOGUE) -> Network:
    """The row of that name, which is a network or an ensemble."""
    row = catalogue[name]
    if isinstance(row, Choice):
        raise TypeError(f"{name} is a choice among networks")
    return row


def like(base: str, catalogue: Mapping[str, Row] = CATALOGUE) -> Variant | None:
    """The row that a file named as `base:/path/to/file.onnx` is prepared like.

    The network of that name, or the first one of the family of that name; None where there is neither.
    """
    row = catalogue.get(base)
    if isinstance(row, Variant):
        return row
    variants = (row for row in catalogue.values() if isinstance(row, Variant))
    return next((variant for variant in variants if variant.family == base), None)


def licence_warnings(name: str, catalogue: Mapping[str, Row] = CATALOGUE) -> tuple[str, ...]:
    """One sentence for each network behind what `--model` takes that may not be used commercially; mostly none."""
    row = catalogue.get(name) or like(name.partition(":")[0], catalogue)
    if isinstance(row, Choice):  # only among networks that may be
        return ()
    return tuple(
        f"{variant.name} may not be used commercially ({variant.licence})."
        for variant in (members(row, catalogue) if row else ())
        if not variant.commercial
    )

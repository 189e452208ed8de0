"""Where the networks' files live and how they get there.

The fetching is that of `mattebox.download`; what a network's row of the catalogue means to it is said here. Nothing is
loaded whose checksum is not known.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from mattebox.download import transfer
from mattebox.download.transfer import Conversion, Download, NotInstalledError, Progress, State
from mattebox.errors import Kind
from mattebox.models.catalogue import Variant

if TYPE_CHECKING:
    import onnx

__all__ = [
    "NotInstalledError",
    "Progress",
    "State",
    "convert_to_fp32",
    "default_directory",
    "locate",
    "not_installed",
    "path",
    "pull",
    "verify",
]


def default_directory() -> Path:
    """The user's own directory for weights."""
    return Path(platformdirs.user_cache_dir("mattebox", appauthor=False)) / "models"


def path(variant: Variant, directory: Path) -> Path:
    """Where the variant's file belongs, whether it is there or not."""
    return directory / f"{variant.name}.onnx"


def verify(variant: Variant, directory: Path) -> State:
    """Read the variant's file whole and compare its checksum (0.13 s for the largest, 176 MB)."""
    download = _download(variant)
    if download is None:  # whatever lies there, it is not known to be the right one
        return State.DAMAGED if path(variant, directory).is_file() else State.MISSING
    return transfer.verify(download, directory)


def locate(variant: Variant, directory: Path) -> Path:
    """The variant's file, read whole and checked. Nothing is fetched and nothing written.

    Raises:
        NotInstalledError: UNAVAILABLE where it is missing or damaged; the message says what to do.
    """
    download = _download(variant)
    if download is None:
        raise not_installed(variant.name, variant)
    return transfer.locate(download, directory)


def not_installed(name: str, variant: Variant) -> NotInstalledError:
    """The failure of the model `name` whose network `variant` is not here, with what to do about it."""
    return NotInstalledError(
        Kind.UNAVAILABLE,
        f"The model {name} is not installed here; `mattebox models pull {name}` fetches it."
        if _fetchable(variant)
        else f"mattebox has no download for {variant.name}: get its ONNX file yourself and name it, as in "
        f"`--model {variant.name}:/path/to/file.onnx`.",
        parameter="model",
    )


def pull(variant: Variant, *, directory: Path, progress: Progress | None = None) -> Path:
    """Fetch the variant's file unless it is there already, and return where it is; see `downloads.pull`.

    Raises:
        MatteboxError: UNAVAILABLE where no source could give it or the directory cannot hold it. The message says what
            to do; the reason of every source is in the log and in the cause.
    """
    download = _download(variant)
    if download is None or not _fetchable(variant):
        raise not_installed(variant.name, variant)
    return transfer.pull(download, directory=directory, progress=progress)


def _fetchable(variant: Variant) -> bool:
    return bool(variant.sources) and variant.sha256 is not None


def _download(variant: Variant) -> Download | None:
    """What is fetched for a variant; None where no checksum of it is known."""
    if variant.sha256 is None or variant.bytes is None:
        return None
    conversion = None
    if variant.conversion is not None:
        if variant.fetched_sha256 is None or variant.fetched_bytes is None:
            raise ValueError(f"{variant.name} is converted, but what is fetched for it has no checksum")
        conversion = Conversion(
            sha256=variant.fetched_sha256,
            bytes=variant.fetched_bytes,
            step="converting to float32",
            run=convert_to_fp32,
            exact=False,  # another version of `onnx` may order the bytes differently
        )
    return Download(
        name=variant.name,
        what=f"the model {variant.name}",
        file=f"{variant.name}.onnx",
        sha256=variant.sha256,
        bytes=variant.bytes,
        sources=variant.sources,
        conversion=conversion,
        command=f"mattebox models pull {variant.name}",
        folder_command="mattebox models path",
        parameter="model",
    )


# --- float16 to float32 -----------------------------------------------------------------------------------------------


def convert_to_fp32(source: Path, target: Path) -> None:
    """Write the network with float32 weights and arithmetic and only its first output.

    Processors compute no float16: both runtimes are slower with it and need more memory. Every float16 value is a
    float32 value, so nothing is rounded. The side outputs that a network was trained with are dropped with whatever
    only they need.
    """
    import onnx

    model = onnx.load(source)
    graph = model.graph
    for tensor in graph.initializer:
        _widen(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _widen(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT16:
                attribute.i = onnx.TensorProto.FLOAT
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    del graph.output[1:]
    del graph.value_info[:]  # intermediate types, which are wrong now and can be inferred
    nodes = _needed(graph, graph.output[0].name)
    used = {name for node in nodes for name in node.input}
    del graph.node[:]
    graph.node.extend(nodes)
    # In place and from the end: a new list would hold all the weights a second time.
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in used:
            del graph.initializer[index]
    onnx.save(model, target)


def _widen(tensor: onnx.TensorProto) -> None:
    import numpy as np
    from onnx import TensorProto, numpy_helper

    if tensor.data_type == TensorProto.FLOAT16:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def _needed(graph: onnx.GraphProto, output: str) -> list[onnx.NodeProto]:
    """The nodes that `output` depends on, each after those that it needs."""
    producer = {name: index for index, node in enumerate(graph.node) for name in node.output}
    order: list[int] = []
    seen: set[int] = set()
    # Depth first with a stack of our own: a network of a thousand layers is deeper than Python recurses.
    stack = [(producer[output], False)]
    while stack:
        index, finished = stack.pop()
        if finished:
            order.append(index)
        elif index not in seen:
            seen.add(index)
            stack.append((index, True))
            inputs = [producer[name] for name in graph.node[index].input if name in producer]
            stack.extend((needed, False) for needed in reversed(inputs))
    return [graph.node[index] for index in order]

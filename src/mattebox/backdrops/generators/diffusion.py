"""Backdrops painted on this machine by a diffusion model, with the packages of the `gpu` extra.

The models are rows of `diffusion.toml`. A row that takes a mask paints everything but the subject; white in its mask is
painted. One model is loaded, when the first backdrop is asked for, and pictures are painted one after the other.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, final

import numpy as np

from mattebox import codec, extras, telemetry, toml_tables
from mattebox.backdrops.generators import painting
from mattebox.backdrops.plate import Plate
from mattebox.cancellation import Checkpoint
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image

if TYPE_CHECKING:
    import PIL.Image

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that paints.

    Attributes:
        painter: the class of `diffusers` that paints on a given picture.
        plain: the class that paints from words alone with the same parts; None where the painter has to do that too.
        licence: of the weights.
        commercial: whether the licence allows commercial use.
        memory: GB of the GPU's memory that it wants whole, at 16 bits; roughly.
        masked: whether the painter takes a mask. One that does not may move the subject.
        multiple: what both sides of the picture are multiples of.
        least: pixels below which it paints poorly.
        most: pixels above which it paints poorly, or scales the picture down by itself.
        steps: of denoising.
        strength: how much of a painted pixel's past is forgotten, 1 for all; None where the painter has no such choice.
        arguments: what else it is called with.
        wording: what is said to it about a given picture; `{prompt}` in it is the prompt.
    """

    painter: str
    plain: str | None = None
    licence: str
    commercial: bool = True
    memory: float
    masked: bool = True
    multiple: int = 16
    least: int = 1_000_000
    most: int = 1_048_576
    steps: int
    strength: float | None = None
    arguments: Mapping[str, float | str] = field(default_factory=dict)
    wording: str = "{prompt}"


MODELS = toml_tables.load("mattebox.backdrops.generators", "diffusion.toml", dict[str, Model])
"""The models by their id."""
DEFAULT = next(iter(MODELS))


class _Result(Protocol):
    @property
    def images(self) -> list[PIL.Image.Image]: ...


class _Pipeline(Protocol):
    """The part of a `diffusers` pipeline that is used here."""

    @property
    def components(self) -> dict[str, object]: ...

    def __call__(self, **arguments: object) -> _Result: ...

    def to(self, device: str) -> object: ...

    def set_progress_bar_config(self, *, disable: bool) -> None: ...

    def enable_model_cpu_offload(self, *, device: str) -> None: ...

    def maybe_free_model_hooks(self) -> None: ...


class _PipelineClass(Protocol):
    def __call__(self, **components: object) -> _Pipeline: ...

    def from_pretrained(
        self, model: str, *, dtype: object, local_files_only: bool, use_safetensors: bool
    ) -> _Pipeline: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    painter: _Pipeline
    plain: _Pipeline | None
    device: str
    offload: bool


@final
class Diffusers:
    """Paints with a model of `diffusers`. Safe to use from several threads; it paints one picture at a time.

    The same seed gives the same picture on the same machine with the same packages.

    Args:
        model: a key of `MODELS`, or a folder in which a pipeline of one of their kinds was saved.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`. Auto takes the GPU where there is one.
        download: fetch a model that is not on this machine; it has 4 to 60 GB.

    Raises:
        MatteboxError: INVALID_PARAMETER for a model that is not known; UNAVAILABLE for a folder that holds none.
    """

    name = "diffusers"

    def __init__(self, model: str = DEFAULT, *, device: str = "auto", download: bool = True) -> None:
        self.model = _find(model)
        self._source = model
        self._device = device
        self._download = download
        self._turn = threading.Lock()
        self._loaded: _Loaded | None = None
        self._placed: _Pipeline | None = None

    def plate(
        self, prompt: str, cutout: Image | None, *, width: int, height: int, seed: int, checkpoint: Checkpoint
    ) -> Plate:
        """See `Generator.plate`. The checkpoint is also called while it waits for its turn, and after each step.

        Raises:
            MatteboxError: UNAVAILABLE where the packages, the weights, the device or its memory are not there, or
                INVALID_PARAMETER where the model refuses what it has painted.
        """
        row = self.model
        size = painting.working_size(width, height, multiple=row.multiple, least=row.least, most=row.most)
        with self._my_turn(checkpoint), self._memory():
            loaded = self._load()
            checkpoint()
            words = prompt.strip() or painting.PLAIN
            picture = self._paint(loaded, cutout, prompt=words, size=size, seed=seed, checkpoint=checkpoint)
        return painting.plate_of(
            picture, width=width, height=height, size=size, with_subject=cutout is not None, backend=self.name
        )

    def _paint(
        self,
        loaded: _Loaded,
        cutout: Image | None,
        *,
        prompt: str,
        size: tuple[int, int],
        seed: int,
        checkpoint: Checkpoint,
    ) -> Image:
        import torch

        def after_step(_pipeline: object, _step: int, _time: object, tensors: dict[str, object]) -> dict[str, object]:
            checkpoint()
            return tensors

        row = self.model
        arguments: dict[str, object] = {
            **row.arguments,
            "prompt": prompt,
            "width": size[0],
            "height": size[1],
            # On the CPU, so that the seed means the same on every device.
            "generator": torch.Generator("cpu").manual_seed(seed % 2**63),
            "num_inference_steps": row.steps,
            "callback_on_step_end": after_step,
        }
        pipeline = loaded.plain
        if cutout is not None or pipeline is None:
            pipeline = loaded.painter
            sketch = painting.sketch(cutout, size)
            arguments["image"] = codec.to_pil(Image(rgb=sketch.rgb))
            if cutout is not None:
                arguments["prompt"] = row.wording.format(prompt=prompt)
            if row.masked:
                mask = np.where(sketch.keep, 0, 255).astype(np.uint8)
                arguments["mask_image"] = codec.to_pil(Image(rgb=np.repeat(mask[..., None], 3, axis=2)))
            if row.strength is not None:
                arguments["strength"] = row.strength
        self._place(pipeline, loaded)
        try:
            result = pipeline(**arguments)
        finally:
            if loaded.offload:
                pipeline.maybe_free_model_hooks()  # which a picture that was given up has not done
        refused: object = getattr(result, "nsfw_content_detected", None)
        if isinstance(refused, list) and any(refused):
            raise MatteboxError(
                Kind.INVALID_PARAMETER, "The generator refuses to show what the prompt asks for.", parameter="prompt"
            )
        return codec.from_pil(result.images[0])

    def _open(self, kind: _PipelineClass, dtype: object) -> _Pipeline:
        try:  # a model that is here is nobody's business
            return kind.from_pretrained(self._source, dtype=dtype, local_files_only=True, use_safetensors=True)
        except OSError:  # it, or a part of it, is not
            if not self._download:
                raise
        return kind.from_pretrained(self._source, dtype=dtype, local_files_only=False, use_safetensors=True)

    def _load(self) -> _Loaded:
        if self._loaded is not None:
            return self._loaded
        telemetry.switch_off()
        with extras.needs("gpu", "Painting on this machine"):
            import diffusers
            import torch
            import transformers  # noqa: F401 - diffusers does without until a model's parts are asked for
            from safetensors import SafetensorError
        row = self.model
        device = _device(self._device)
        precision = _precision(device)
        dtype: object = getattr(torch, precision)
        if not row.commercial:
            _log.warning("%s may not be used commercially: its licence is %s", self._source, row.licence)
        try:
            # By name: the package fails to give all that it has.
            kind: _PipelineClass = getattr(diffusers, row.painter)
            plain_kind: _PipelineClass | None = None if row.plain is None else getattr(diffusers, row.plain)
        except AttributeError as error:
            raise MatteboxError(
                Kind.UNAVAILABLE, "The installed version of diffusers is too old for this model."
            ) from error
        try:
            painter = self._open(kind, dtype)
        except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
            if _is_memory(error):
                raise
            raise MatteboxError(
                Kind.UNAVAILABLE, "The generator's model is not on this machine or cannot be loaded."
            ) from error
        # With the very same parts. The package's own way, `from_pipe`, would cast all of them to one precision.
        plain = None if plain_kind is None else plain_kind(**painter.components)
        for pipeline in (painter, plain):
            if pipeline is not None:
                pipeline.set_progress_bar_config(disable=True)
        loaded = _Loaded(painter=painter, plain=plain, device=device, offload=_is_too_small(device, row.memory))
        self._place(painter, loaded)
        _log.info("%s on %s as %s, offload: %s", self._source, device, precision, loaded.offload)
        self._loaded = loaded
        return loaded

    def _place(self, pipeline: _Pipeline, loaded: _Loaded) -> None:
        """Make this pipeline the one that may run: both share their parts, and offloading hooks belong to one."""
        if self._placed is pipeline:
            return
        if loaded.offload:
            pipeline.enable_model_cpu_offload(device=loaded.device)
        else:
            pipeline.to(loaded.device)
        self._placed = pipeline

    @contextmanager
    def _my_turn(self, checkpoint: Checkpoint) -> Iterator[None]:
        checkpoint()
        while not self._turn.acquire(timeout=_LOOK_SECONDS):
            checkpoint()
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _memory(self) -> Iterator[None]:
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not _is_memory(error):
                raise
            # The frames of the failure hold what filled the memory; without them the next picture may fit.
            traceback.clear_frames(error.__traceback__)
            _give_back_memory()
            raise MatteboxError(Kind.UNAVAILABLE, "The generator has too little memory for this picture.") from error


def _find(model: str) -> Model:
    """The row of an id, or of the kind of pipeline that a folder holds."""
    if model in MODELS:
        return MODELS[model]
    index = Path(model) / "model_index.json"
    if not Path(model).is_dir():
        raise MatteboxError(
            Kind.INVALID_PARAMETER, f"Unknown model. Choose one of {', '.join(MODELS)}.", parameter="model"
        )
    try:
        said: object = json.loads(index.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise MatteboxError(Kind.UNAVAILABLE, "The folder holds no pipeline of diffusers.") from error
    kind = said.get("_class_name") if isinstance(said, dict) else None
    for row in MODELS.values():
        if isinstance(kind, str) and kind in {row.painter, row.plain}:
            # Whose weights these are and what they may be used for is for who put them there to know.
            return dataclasses.replace(row, licence="unknown", commercial=True)
    raise MatteboxError(Kind.UNAVAILABLE, "The folder holds a pipeline of a kind that is not supported.")


def _device(name: str) -> str:
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = name.partition(":")
    there = {
        "cpu": lambda: 1,
        "cuda": torch.cuda.device_count,
        "mps": lambda: int(torch.backends.mps.is_available()),
    }
    if kind not in there or (":" in name and not index.isdecimal()):
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            "Unknown device. Choose one of auto, cpu, cuda, cuda:1, mps.",
            parameter="device",
        )
    if int(index or 0) >= int(there[kind]()):
        raise MatteboxError(Kind.UNAVAILABLE, f"The device {name} is not on this machine.")
    return name


def _precision(device: str) -> str:
    import torch

    if device == "cpu":
        return "float32"
    if device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bfloat16"
    return "float16"


def _is_too_small(device: str, memory: float) -> bool:
    """Whether a GPU has less memory free than the model wants, so that only the part that works is kept on it."""
    import torch

    if not device.startswith("cuda"):
        return False
    free, _ = torch.cuda.mem_get_info(device)
    if free >= memory * 1e9:
        return False
    _log.warning("the GPU has %.1f GB free, less than %.0f: parts that rest are kept outside it", free / 1e9, memory)
    return True


def _is_memory(error: BaseException) -> bool:
    # The CPU's allocator says it with a plain RuntimeError.
    text = str(error).casefold()
    return isinstance(error, MemoryError) or any(
        phrase in text for phrase in ("out of memory", "not enough memory", "can't allocate memory")
    )


def _give_back_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()

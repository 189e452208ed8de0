"""What goes behind a subject when it is described in words: photographed scenes, drawn studios, generators.

A backdrop is made by the first of the configured generators that can serve the words. The scenes and studios that are
here choose by what the words mean and refuse what they do not show; the others paint whatever they are asked for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, final

from mattebox.backdrops.plate import Checkpoint, Plate
from mattebox.edit import Color, Prompt
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image, Served

if TYPE_CHECKING:
    from mattebox.backdrops.prompts.matcher import Embed, Index, Match
    from mattebox.backdrops.scenes.catalogue import View
    from mattebox.backdrops.scenes.packs import PackScene
    from mattebox.download.transfer import Progress

_log = logging.getLogger(__name__)

LONGEST_PROMPT = 2000
"""Characters. What says more is no description of a place."""
GENERATORS: Mapping[str, str] = MappingProxyType(
    {
        "scenes": "photographed places, studios and tables that are drawn, and packs of your own pictures",
        "openai": "a server that speaks the OpenAI images API, at `url`",
        "automatic1111": "a server that speaks the API of AUTOMATIC1111's web interface, at `url`",
        "diffusers": "a diffusion network in this process; needs the gpu extra",
    }
)
"""What can make backdrops, by name."""
_REMOTE = frozenset({"openai", "automatic1111"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BackdropOptions:
    """What makes backdrops out of words."""

    generators: tuple[str, ...] = field(
        default=("scenes",),
        metadata={
            "doc": "What makes backdrops, separated by commas: `scenes`, `openai`, `automatic1111`, `diffusers`. The "
            "first that can serve the words does."
        },
    )
    directory: Path | None = field(
        default=None, metadata={"doc": "Folder of the panoramas and the text encoder; by default in the user's cache."}
    )
    packs: Path | None = field(
        default=None, metadata={"doc": "Folder of packs of your own pictures; by default in the user's data folder."}
    )
    url: str = field(
        default="", metadata={"doc": "The generator's server, as in http://127.0.0.1:8188. It is trusted."}
    )
    key: str = field(default="", repr=False, metadata={"doc": "What the generator's server wants as a key, if any."})
    model: str = field(
        default="", metadata={"doc": "The generator's model; empty is its own default (diffusers: FLUX.2-klein-4B)."}
    )
    timeout: float = field(default=120.0, metadata={"doc": "Seconds that a generator's server may take."})

    def __post_init__(self) -> None:
        unknown = [name for name in self.generators if name not in GENERATORS]
        if unknown or not self.generators:
            raise ValueError(f"there is no generator {', '.join(unknown)}; there are {', '.join(GENERATORS)}")
        if not self.url and _REMOTE & set(self.generators):
            raise ValueError("openai and automatic1111 need url")
        if not 0 < self.timeout <= 3600:
            raise ValueError("timeout must be above 0 and at most 3600")
        for name in self.generators:
            if name == "scenes":
                continue
            try:
                _open(name, self, download=False)  # what is wrong with its address, key or model is said now
            except MatteboxError as error:
                raise ValueError(error.message) from error


class Generator(Protocol):
    """Paints a backdrop for words; sync, and safe to call from several threads."""

    def plate(
        self, prompt: str, cutout: Image | None, *, width: int, height: int, seed: int, checkpoint: Checkpoint
    ) -> Plate:
        """A backdrop of this size; the same seed gives the same one.

        Raises:
            MatteboxError: what went wrong, in a public sentence.
        """


@final
class Backdrops:
    """The configured generators. Safe to use from several threads.

    Args:
        options: which they are.
        progress: told of downloads.
        fetch_when_used: fetch a scene that is asked for and not here. A server says False, so that no request can start
            a download.
    """

    def __init__(
        self,
        options: BackdropOptions | None = None,
        *,
        progress: Progress | None = None,
        fetch_when_used: bool = True,
    ) -> None:
        self._options = options or BackdropOptions()
        self._progress = progress
        self._fetch_when_used = fetch_when_used
        self._scenes = _Scenes(self._options, progress, fetch_when_used=fetch_when_used)
        self._painters: dict[str, Generator] = {}
        self._lock = threading.Lock()

    @property
    def paints(self) -> bool:
        """Whether one of the generators paints anything that it is asked for."""
        return any(name != "scenes" for name in self._options.generators)

    def warm(self) -> None:
        """Read what the words are compared with, so that the first request does not wait for it."""
        if "scenes" in self._options.generators:
            self._scenes.index()

    def check(self, prompt: Prompt) -> None:
        """Refuse what `plate` would refuse, before anything is done for it; arguments and errors as there."""
        self._choose(prompt)

    def plate(self, prompt: Prompt, cutout: Image, *, checkpoint: Checkpoint) -> Plate:
        """A backdrop of the cutout's size.

        Raises:
            MatteboxError: INVALID_PARAMETER about `prompt` where it is too long or nothing here shows it, or about
                `generator` where there is none of this name; NOT_OFFERED where that one is not configured; UNAVAILABLE
                where what serves it is not installed; and a generator's own failure.
        """
        chosen = self._choose(prompt)
        if isinstance(chosen, _Choice):
            return self._scenes.show(chosen, cutout)
        return self._painter(chosen).plate(
            prompt.text.strip(),
            cutout,
            width=cutout.width,
            height=cutout.height,
            seed=prompt.seed,
            checkpoint=checkpoint,
        )

    def _choose(self, prompt: Prompt) -> _Choice | str:
        """What serves the prompt: something that is here, or the painter of this name."""
        text = _checked(prompt.text)
        asked = self._asked(prompt.generator)
        if not text:
            return _Choice(name="sweep", seed=prompt.seed, color=_PLAIN)
        for number, name in enumerate(asked, 1):
            if name != "scenes":
                return name
            try:
                found = self._scenes.find(text, seed=prompt.seed)
            except MatteboxError as error:
                # What is not installed does not serve the words; a painter that comes after it may.
                if error.kind is not Kind.UNAVAILABLE or number == len(asked):
                    raise
                continue
            if found is not None:
                return found
        return self._scenes.nearest(text, seed=prompt.seed, allowed=prompt.nearest)

    def paint(self, prompt: str, *, width: int, height: int, seed: int, checkpoint: Checkpoint) -> Plate:
        """A picture for words alone, without a subject.

        Raises:
            MatteboxError: INVALID_PARAMETER about `prompt` where it is too long; NOT_OFFERED where no generator paints;
                and a generator's own failure.
        """
        text = _checked(prompt)
        name = next((name for name in self._options.generators if name != "scenes"), None)
        if name is None:
            raise MatteboxError(Kind.NOT_OFFERED, "No generator of pictures is configured here.")
        return self._painter(name).plate(text, None, width=width, height=height, seed=seed, checkpoint=checkpoint)

    def _asked(self, generator: str) -> Sequence[str]:
        if generator == "auto":
            return self._options.generators
        if generator not in GENERATORS:
            raise MatteboxError(
                Kind.INVALID_PARAMETER,
                f"There is no generator of this name; there are {', '.join(GENERATORS)}.",
                parameter="generator",
            )
        if generator not in self._options.generators:
            raise MatteboxError(
                Kind.NOT_OFFERED, f"The generator {generator} is not configured here.", parameter="generator"
            )
        return (generator,)

    def _painter(self, name: str) -> Generator:
        with self._lock:
            if name not in self._painters:
                self._painters[name] = _open(name, self._options, download=self._fetch_when_used)
            return self._painters[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """What is here and serves a prompt: a place, a studio, or a scene of a pack."""

    name: str
    seed: int
    color: Color | None
    score: float | None = None
    warning: str | None = None


_PLAIN = Color(236, 236, 234)
"""The paper behind a subject for whose backdrop nothing is asked."""


def _view(choice: _Choice) -> View:
    from mattebox.backdrops.scenes import catalogue

    views = catalogue.PLACES[choice.name]
    return views[choice.seed % len(views)]


def _checked(prompt: str) -> str:
    """The prompt without the spaces around it."""
    text = prompt.strip()
    if len(text) > LONGEST_PROMPT:
        raise MatteboxError(
            Kind.INVALID_PARAMETER, f"A prompt has at most {LONGEST_PROMPT:,} characters.", parameter="prompt"
        )
    return text


def _open(name: str, options: BackdropOptions, *, download: bool) -> Generator:
    match name:
        case "openai":
            from mattebox.backdrops.generators.remote import OpenAIImages

            return OpenAIImages(
                options.url, key=options.key or None, model=options.model or None, timeout=options.timeout
            )
        case "automatic1111":
            from mattebox.backdrops.generators.remote import Automatic1111

            return Automatic1111(
                options.url, key=options.key or None, model=options.model or None, timeout=options.timeout
            )
        case "diffusers":
            from mattebox.backdrops.generators import diffusion

            return diffusion.Diffusers(options.model or diffusion.DEFAULT, download=download)
        case _:
            raise ValueError(f"{name} is no painter")


@final
class _Scenes:
    """Everything that is here already, found by words."""

    def __init__(self, options: BackdropOptions, progress: Progress | None, *, fetch_when_used: bool) -> None:
        from mattebox.backdrops.scenes import files, packs

        self._directory = options.directory or files.default_directory()
        self._packs = options.packs or packs.default_directory()
        self._progress = progress
        self._fetch_when_used = fetch_when_used
        self._lock = threading.Lock()
        self._index: Index | None = None
        self._own: dict[str, PackScene] = {}

    def index(self) -> Index:
        """What words are compared with; made once.

        Raises:
            MatteboxError: UNAVAILABLE where a pack is not right or the encoder is damaged.
        """
        with self._lock:
            if self._index is None:
                self._index = self._make_index()
            return self._index

    def find(self, text: str, *, seed: int) -> _Choice | None:
        """What shows what the words say; None where nothing does.

        Raises:
            MatteboxError: UNAVAILABLE where it is not installed, and nothing may be fetched now.
        """
        found = self.index().best(text)
        return None if found is None else self._choice(found, text, seed, warning=None)

    def nearest(self, text: str, *, seed: int, allowed: bool) -> _Choice:
        """What comes nearest to the words, with a warning, or the refusal that names it."""
        near = self.index().nearest(text)
        names = [each.name.replace("_", " ") for each in near]
        if not allowed or not near:
            said = f" The nearest here are {', '.join(names)}." if names else " Prompts are read in English."
            raise MatteboxError(
                Kind.INVALID_PARAMETER, f"There is no backdrop here that shows this.{said}", parameter="prompt"
            )
        return self._choice(near[0], text, seed, warning=f"Nothing here shows this; {names[0]} is the nearest.")

    def show(self, choice: _Choice, cutout: Image) -> Plate:
        """The chosen backdrop, at the cutout's size.

        Raises:
            MatteboxError: UNAVAILABLE about `prompt` where its picture is not there or no good.
        """
        from mattebox.backdrops.scenes import catalogue, packs
        from mattebox.backdrops.studio import studio

        width, height = cutout.width, cutout.height
        served = Served(backend="studio", scene=choice.name, score=choice.score, warning=choice.warning)
        if choice.name not in self._own and choice.name not in catalogue.PLACES:
            # Its random numbers know no seed below 0.
            plate = studio.draw(choice.name, width=width, height=height, seed=choice.seed % 2**64, color=choice.color)
            return replace(plate, served=served)
        try:
            if choice.name in self._own:
                plate = packs.view(self._own[choice.name], width=width, height=height)
                return replace(plate, served=replace(served, backend="packs"))
            view = self._fetched(choice)
            plate = catalogue.view(view, width=width, height=height, directory=self._directory)
            return replace(plate, served=replace(served, backend="scenes", scene=view.name))
        except MatteboxError as error:
            if error.kind is Kind.CANCELLED:
                raise
            # It is this machine's own picture that is not there or no good, and never the asker's.
            raise MatteboxError(Kind.UNAVAILABLE, error.message, parameter="prompt") from error

    def _choice(self, found: Match, text: str, seed: int, *, warning: str | None) -> _Choice:
        from mattebox.backdrops.prompts import prompt_parser
        from mattebox.backdrops.scenes import catalogue
        from mattebox.download import transfer

        # A cosine, which may be below 0, or above 1 by a rounding.
        score = min(1.0, max(0.0, found.score))
        color = _color(found.name, prompt_parser.color_in(text))
        choice = _Choice(name=found.name, seed=seed, color=color, score=score, warning=warning)
        if found.name in catalogue.PLACES and not self._fetch_when_used:
            view = _view(choice)
            if not catalogue.installed(view, self._directory):
                missing = transfer.not_installed(view.file.download)
                raise MatteboxError(missing.kind, missing.message, parameter="prompt")
        return choice

    def _fetched(self, choice: _Choice) -> View:
        from mattebox.backdrops.scenes import catalogue

        view = _view(choice)
        if self._fetch_when_used and not catalogue.installed(view, self._directory):
            for failure in catalogue.pull([view.name], directory=self._directory, progress=self._progress):
                raise failure
        return view

    def _make_index(self) -> Index:
        from mattebox.backdrops.prompts.matcher import Entry, Index
        from mattebox.backdrops.prompts.tags import SCENE_TAGS, STUDIO_TAGS
        from mattebox.backdrops.scenes import catalogue, files, packs

        try:
            found = packs.load_packs(self._packs)
        except MatteboxError as error:  # its owner's fault, and never the asker's
            raise MatteboxError(Kind.UNAVAILABLE, error.message, parameter="prompt") from error
        self._own = {f"{pack.name}/{each.name}": each for pack in found for each in pack.scenes}
        entries = [Entry(name, each.tags) for name, each in self._own.items()]
        for place, views in catalogue.PLACES.items():
            # What no package manager here can fetch is there only for those who have it.
            if not views[0].file.optional or catalogue.installed(views[0], self._directory):
                entries.append(Entry(place, SCENE_TAGS[place]))
        entries += [Entry(kind, tags) for kind, tags in STUDIO_TAGS.items()]
        embed, knows = self._encoder()
        index = Index(entries, embed, knows=knows, cache=files.encoder_directory(self._directory))
        index.prepare()
        return index

    def _encoder(self) -> tuple[Embed | None, Callable[[str], bool] | None]:
        from mattebox.backdrops.prompts import minilm
        from mattebox.backdrops.scenes import files
        from mattebox.download import transfer

        directory = files.encoder_directory(self._directory)
        missing = next((each for each in files.ENCODER if not transfer.path(each, directory).is_file()), None)
        if missing is not None:
            # Words alone find nearly as much, and refuse a little less of what they should.
            _log.info("prompts are matched by their words alone: %s", transfer.not_installed(missing).message)
            return None, None
        encoder = minilm.Encoder.load(files.locate_encoder(self._directory))
        return encoder, encoder.knows


_OWN_COLORS = {"brick": {"red", "brown", "orange"}, "wood": {"brown"}, "concrete": {"gray"}, "marble": {"white"}}
"""What these materials are anyway: "a red brick wall" is bricks as they come, and not bricks painted red."""


def _color(kind: str, words: str | None) -> Color | None:
    """The colour that words name, as in `pastel pink`, for a kind of backdrop; None where they name none."""
    from mattebox.backdrops.prompts.colors import color_named

    return None if words is None or words in _OWN_COLORS.get(kind, ()) else color_named(words)

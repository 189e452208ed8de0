"""The choice of the generator that serves a prompt."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from mattebox.backdrops.options import GENERATORS, BackdropOptions
from mattebox.backdrops.ready_made import Choice, ReadyMade, Scene, plain_studio
from mattebox.errors import Kind, MatteboxError
from mattebox.options import LONGEST_PROMPT

if TYPE_CHECKING:
    from mattebox.backdrops.generator import Generator
    from mattebox.backdrops.plate import Plate, PlateMaker
    from mattebox.cancellation import Checkpoint
    from mattebox.download.transfer import Progress
    from mattebox.edit import Prompt
    from mattebox.image import RGB


@final
class Backdrops:
    """The configured generators. Safe to use from several threads.

    Every method raises UNAVAILABLE where a pack is not right.

    Args:
        options: the generators and their settings.
        progress: told of downloads.
        fetch_when_used: fetch a scene that is asked for but not here. A server says False, so that no request can start
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
        self._fetch_when_used = fetch_when_used
        self._ready_made = ReadyMade(self._options, progress, fetch_when_used=fetch_when_used)
        self._painters: dict[str, Generator] = {}
        self._lock = threading.Lock()

    @property
    def paints(self) -> bool:
        """Whether one of the generators paints whatever it is asked for."""
        return any(name != "scenes" for name in self._options.generators)

    def scenes(self, prompt: str = "") -> tuple[Scene, ...]:
        """The scenes that can be asked for here, those that fit the prompt first; see `ReadyMade.scenes`.

        Raises:
            MatteboxError: INVALID_PARAMETER about `prompt` where it is too long.
        """
        return self._ready_made.scenes(_checked(prompt)) if "scenes" in self._options.generators else ()

    def preview(self, name: str, *, width: int, height: int) -> RGB:
        """The scene of this name without a subject, uint8 (height, width, 3).

        Raises:
            MatteboxError: NOT_FOUND where none of `scenes()` has the name; UNAVAILABLE where its picture is unusable.
        """
        if name not in {each.name for each in self.scenes()}:
            raise MatteboxError(Kind.NOT_FOUND, "There is no scene of this name here.")
        return self._ready_made.preview(name, width=width, height=height)

    def warm(self) -> None:
        """Read the words that prompts are compared with, so that the first request does not wait for it."""
        if "scenes" in self._options.generators:
            self._ready_made.index()

    def choose(self, prompt: Prompt) -> PlateMaker:
        """Match the prompt, or refuse it, before a subject is cut out for it. The result makes the backdrop.

        Raises:
            MatteboxError: INVALID_PARAMETER about `prompt` where it is too long or nothing here comes near it, or about
                `generator` where its name is unknown; NOT_OFFERED where that generator is not configured; UNAVAILABLE
                where what serves the prompt is not installed. The result raises the generator's own failures.
        """
        chosen = self._choose(prompt)
        if isinstance(chosen, Choice):
            return lambda cutout, _: self._ready_made.show(chosen, cutout)
        return lambda cutout, checkpoint: self._painter(chosen).plate(
            prompt.text.strip(),
            cutout,
            width=cutout.width,
            height=cutout.height,
            seed=prompt.seed,
            checkpoint=checkpoint,
        )

    def paint(self, prompt: str, *, width: int, height: int, seed: int, checkpoint: Checkpoint) -> Plate:
        """A picture from words alone, without a subject.

        Raises:
            MatteboxError: INVALID_PARAMETER about `prompt` where it is too long; NOT_OFFERED where no generator paints;
                and a generator's own failure.
        """
        text = _checked(prompt)
        name = next((name for name in self._options.generators if name != "scenes"), None)
        if name is None:
            raise MatteboxError(Kind.NOT_OFFERED, "No generator of pictures is configured here.")
        return self._painter(name).plate(text, None, width=width, height=height, seed=seed, checkpoint=checkpoint)

    def _choose(self, prompt: Prompt) -> Choice | str:
        """Something ready-made that serves the prompt, or the name of the generator that paints it."""
        text = _checked(prompt.text)
        names = self._asked(prompt.generator)
        if not text:
            return plain_studio(prompt.seed)
        for number, name in enumerate(names, 1):
            if name != "scenes":
                return name
            try:
                found = self._ready_made.find(text, seed=prompt.seed)
            except MatteboxError as error:
                # A place that is not installed does not serve the words; a generator that comes after it may.
                if error.kind is not Kind.UNAVAILABLE or number == len(names):
                    raise
                continue
            if found is not None:
                return found
        allowed = not self._options.strict if prompt.nearest is None else prompt.nearest
        return self._ready_made.nearest(text, seed=prompt.seed, allowed=allowed)

    def _asked(self, generator: str) -> Sequence[str]:
        if generator == "auto":
            return self._options.generators
        if generator not in GENERATORS:
            raise MatteboxError(
                Kind.INVALID_PARAMETER,
                f"Unknown generator. Choose one of {', '.join(GENERATORS)}.",
                parameter="generator",
            )
        if generator not in self._options.generators:
            raise MatteboxError(
                Kind.NOT_OFFERED, f"The generator {generator} is not configured here.", parameter="generator"
            )
        return (generator,)

    def _painter(self, name: str) -> Generator:
        from mattebox.backdrops import generators

        with self._lock:
            if name not in self._painters:
                self._painters[name] = generators.open_generator(name, self._options, download=self._fetch_when_used)
            return self._painters[name]


def _checked(prompt: str) -> str:
    """The prompt without the spaces around it."""
    text = prompt.strip()
    if len(text) > LONGEST_PROMPT:
        raise MatteboxError(
            Kind.INVALID_PARAMETER, f"A prompt has at most {LONGEST_PROMPT:,} characters.", parameter="prompt"
        )
    return text

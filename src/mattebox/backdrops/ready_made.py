"""The backdrops that are here already: photographed places, drawn studios and packs, found by words."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import numpy as np

from mattebox.backdrops.scenes import catalogue, files, packs, panorama
from mattebox.backdrops.scenes.catalogue import View
from mattebox.backdrops.scenes.packs import PackScene
from mattebox.download import transfer
from mattebox.download.transfer import Progress
from mattebox.edit import Color
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Image

if TYPE_CHECKING:
    from mattebox.backdrops.options import BackdropOptions
    from mattebox.backdrops.plate import Plate
    from mattebox.backdrops.prompts.matcher import Index, Match

_log = logging.getLogger(__name__)

_PLAIN = Color(236, 236, 234)
"""The paper behind a subject when no background was described."""
_UNKNOWN = "Nothing here shows this, and none of its words is known; a plain studio is used instead."
_OWN_COLORS = {"brick": {"red", "brown", "orange"}, "wood": {"brown"}, "concrete": {"gray"}, "marble": {"white"}}
"""The natural colours of these materials: "a red brick wall" is bare bricks, not bricks painted red."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Something ready-made that serves a prompt: a place, a studio, or a scene of a pack. `place` is behind a table."""

    name: str
    seed: int
    color: Color | None
    score: float | None = None
    place: str | None = None
    warning: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A backdrop that can be asked for.

    Attributes:
        name: what serves it, as in `warehouse`, `wood` or `mypack/kitchen`.
        prompt: words that choose it and no other.
        tags: what it is called, the most fitting first.
        score: how well it fits the prompt that was asked about, 0 to 1; None without a prompt.
    """

    name: str
    prompt: str
    tags: tuple[str, ...]
    score: float | None = None


def plain_studio(seed: int, warning: str | None = None) -> Choice:
    """The studio for prompts that describe nothing."""
    return Choice(name="sweep", seed=seed, color=_PLAIN, warning=warning)


@final
class ReadyMade:
    """Everything that is here already, found by words. Safe to use from several threads.

    Every method raises UNAVAILABLE where a pack is not right.
    """

    def __init__(self, options: BackdropOptions, progress: Progress | None, *, fetch_when_used: bool) -> None:
        self._directory = options.directory or files.default_directory()
        self._packs = options.packs or packs.default_directory()
        self._progress = progress
        self._fetch_when_used = fetch_when_used
        self._lock = threading.Lock()
        self._index: Index | None = None
        self._own: dict[str, PackScene] = {}
        self._scenes: tuple[Scene, ...] | None = None

    def index(self) -> Index:
        """The words that prompts are compared with; read once."""
        with self._lock:
            if self._index is None:
                self._index = self._make_index()
            return self._index

    def find(self, text: str, *, seed: int) -> Choice | None:
        """The backdrop that shows what a prompt says; None where nothing does.

        Raises:
            MatteboxError: UNAVAILABLE where it is not installed, and nothing may be fetched now.
        """
        found = self.index().best(text)
        return None if found is None else self._choice(found, text, seed)

    def nearest(self, text: str, *, seed: int, allowed: bool) -> Choice:
        """The backdrop that comes nearest to a prompt, with a warning.

        Raises:
            MatteboxError: INVALID_PARAMETER, naming the nearest, where that is not `allowed`; or where the prompt
                is not English.
        """
        near = self.index().nearest(text)
        if near and allowed:
            return self._choice(near[0], text, seed, near=True)
        if allowed and self.index().names_no_place(text):
            _log.info("%s", _UNKNOWN)
            return plain_studio(seed, warning=_UNKNOWN)
        names = ", ".join(each.name.replace("_", " ") for each in near)
        hint = f"The nearest here are {names}." if near else "Nothing comes near it."
        if not self.index().reads(text):
            hint = "Prompts must say in English what is to be seen."
        raise MatteboxError(Kind.INVALID_PARAMETER, f"No backdrop here shows this. {hint}", parameter="prompt")

    def scenes(self, text: str = "") -> tuple[Scene, ...]:
        """The backdrops that are installed and that words choose, those that fit `text` first."""
        index = self.index()
        with self._lock:
            if self._scenes is None:
                self._scenes = tuple(self._chosen_by_words(index))
        if not text:
            return self._scenes
        best = index.best(text)
        scores = {each.name: each.score for each in index.nearest(text, len(index.entries))}
        scores |= {} if best is None else {best.name: best.score}
        scored = (replace(each, score=scores.get(each.name, 0.0)) for each in self._scenes)
        return tuple(sorted(scored, key=lambda each: -(each.score or 0.0)))

    def preview(self, name: str, *, width: int, height: int) -> RGB:
        """The backdrop of this name, one of `scenes()`, without a subject, uint8 (height, width, 3).

        Raises:
            MatteboxError: UNAVAILABLE where its picture is missing or unusable.
        """
        canvas = Image(rgb=np.zeros((height, width, 3), np.uint8))
        return self.show(Choice(name=name, seed=0, color=None), canvas).rgb

    def _chosen_by_words(self, index: Index) -> Iterator[Scene]:
        for entry in index.entries:
            views = catalogue.places().get(entry.name)
            if views and not catalogue.installed(views[0], self._directory):
                continue
            for tag in entry.tags:
                found = index.best(tag)
                if found is not None and found.name == entry.name:
                    yield Scene(name=entry.name, prompt=tag, tags=entry.tags)
                    break

    def show(self, choice: Choice, cutout: Image) -> Plate:
        """The chosen backdrop, at the cutout's size.

        Raises:
            MatteboxError: UNAVAILABLE about `prompt` where its picture is missing or unusable.
        """
        from mattebox.backdrops.studio import studio

        size = {"width": cutout.width, "height": cutout.height}
        try:
            if choice.name in self._own:
                plate = packs.view(self._own[choice.name], **size, seed=choice.seed)
            elif choice.name in catalogue.places():
                plate = catalogue.view(self._fetched(choice), **size, directory=self._directory)
            else:
                room = self._behind_table(choice, **size)
                seed = choice.seed % 2**64  # its random numbers take none below 0
                plate = studio.draw(choice.name, **size, seed=seed, color=choice.color, room=room)
            return replace(plate, served=replace(plate.served, score=choice.score, warning=choice.warning))
        except MatteboxError as error:
            if error.kind is Kind.CANCELLED:
                raise
            # This machine's own picture is missing or unusable, which is never the asker's fault.
            raise MatteboxError(Kind.UNAVAILABLE, error.message, parameter="prompt") from error

    def _behind_table(self, choice: Choice, *, width: int, height: int) -> RGB | None:
        """The place that the choice puts behind a table, with its horizon where the table's is."""
        from mattebox.backdrops.studio.studio import TABLE_HORIZON

        if choice.place is None:
            return None
        view = _view(choice.place, choice.seed)
        camera = panorama.Camera.with_horizon(TABLE_HORIZON, yaw=view.camera.yaw)
        return catalogue.view(replace(view, camera=camera), width=width, height=height, directory=self._directory).rgb

    def _choice(self, found: Match, text: str, seed: int, *, near: bool = False) -> Choice:
        from mattebox.backdrops.prompts import prompt_parser
        from mattebox.backdrops.studio.studio import TABLES

        color = _color(found.name, prompt_parser.color_in(text))
        choice = Choice(name=found.name, seed=seed, color=color, score=found.score)
        if found.name == "wood" and "table_room" in found.around:
            choice = replace(choice, name="table_room")  # a wooden table in a kitchen
        elif near and found.name in TABLES:
            places = (name for name in found.around if name in catalogue.places())
            here = (name for name in places if catalogue.installed(_view(name, seed), self._directory))
            choice = replace(choice, place=next(here, None))
        if near:
            before = "" if choice.place is None else f", before {choice.place.replace('_', ' ')},"
            sentence = f"Nothing here shows this; {choice.name.replace('_', ' ')}{before} is the nearest."
            _log.info("%s", sentence)  # without the words, which are the asker's
            choice = replace(choice, warning=sentence)
        if found.name in catalogue.places() and not self._fetch_when_used:
            view = _view(choice.name, seed)
            if not catalogue.installed(view, self._directory):
                missing = transfer.not_installed(view.file.download)
                raise MatteboxError(missing.kind, missing.message, parameter="prompt")
        return choice

    def _fetched(self, choice: Choice) -> View:
        view = _view(choice.name, choice.seed)
        if self._fetch_when_used and not catalogue.installed(view, self._directory):
            for failure in catalogue.pull([view.name], directory=self._directory, progress=self._progress):
                raise failure
        return view

    def _make_index(self) -> Index:
        from mattebox.backdrops.prompts.matcher import Entry, Index
        from mattebox.backdrops.prompts.tags import load_tags

        try:
            found = packs.load_packs(self._packs)
        except MatteboxError as error:  # its owner's fault, and never the asker's
            raise MatteboxError(Kind.UNAVAILABLE, error.message, parameter="prompt") from error
        self._own = {f"{pack.name}/{each.name}": each for pack in found for each in pack.scenes}
        tags = load_tags()
        entries = [Entry(name, each.tags) for name, each in self._own.items()]
        for place, views in catalogue.places().items():
            # A place that no package manager here can fetch is offered only where it is installed.
            if not views[0].file.optional or catalogue.installed(views[0], self._directory):
                entries.append(Entry(place, tags.scenes[place].tags))
        entries += [Entry(kind, each.tags) for kind, each in tags.studios.items()]
        return Index(entries)


def _view(place: str, seed: int) -> View:
    views = catalogue.places()[place]
    return views[seed % len(views)]


def _color(kind: str, words: str | None) -> Color | None:
    """The colour that words name, as in `pastel pink`, for a kind of backdrop; None where they name none."""
    from mattebox.backdrops.prompts.colors import color_named

    return None if words is None or words in _OWN_COLORS.get(kind, ()) else color_named(words)

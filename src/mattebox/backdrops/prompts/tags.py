"""The words for each backdrop and for what no backdrop shows: the contents of `tags.toml`, which explains them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from mattebox import toml_tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """The words for one backdrop."""

    tags: tuple[str, ...]
    shows: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Names of what no backdrop shows, and the backdrops that come nearest, the nearest first."""

    nearest: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindsOfWords:
    """Tags that are treated differently from the others."""

    weak: tuple[str, ...]
    materials: tuple[str, ...]
    attributes: tuple[str, ...]
    times: tuple[str, ...]
    regions: tuple[str, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """The whole table.

    Attributes:
        scenes: the photographed places by name.
        studios: the drawn studios by kind.
        kinds_of_words: tags that are treated differently.
        absent: what no backdrop shows.
        near: what is like a backdrop.
    """

    scenes: Mapping[str, Tagged]
    studios: Mapping[str, Tagged]
    kinds_of_words: KindsOfWords
    absent: tuple[Absent, ...]
    near: tuple[Absent, ...] = ()

    @property
    def backdrops(self) -> Mapping[str, Tagged]:
        """Scenes and studios together."""
        return {**self.scenes, **self.studios}

    def check(self) -> None:
        """Compare the parts with one another.

        Raises:
            ValueError: a name of a backdrop that is unknown, or a word that is listed twice.
        """
        unknown = sorted({name for name in self._named() if name not in self.backdrops})
        if unknown:
            raise ValueError(f"tags.toml: unknown backdrops {', '.join(unknown)}")
        names = Counter(name for group in (*self.absent, *self.near) for name in group.names)
        if twice := sorted(name for name, times in names.items() if times > 1):
            raise ValueError(f"tags.toml: in two groups of [[absent]] and [[near]]: {', '.join(twice)}")

    def _named(self) -> Iterator[str]:
        for group in (*self.absent, *self.near):
            yield from group.nearest
        for each in self.backdrops.values():
            yield from each.instead


@lru_cache(1)
def load_tags() -> Tags:
    """The table that ships with the package, read and checked once.

    Raises:
        ValueError: it is not right; says what and where.
    """
    tags = toml_tables.load("mattebox.backdrops.prompts", "tags.toml", Tags)
    tags.check()
    return tags

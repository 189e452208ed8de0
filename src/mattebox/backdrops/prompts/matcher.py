"""A prompt and what there is: which scene or studio backdrop serves it, or that none does.

Curated words come first: every entry has tags, and the longest phrases of a prompt that are somebody's tag decide.
Where no word is known, the meaning decides, by a network's vectors. Ideas that are known not to be there (snow, a
library, a spaceship) are entries of their own that give no picture. A wrong picture is worse than none: what two
entries would have to serve together is served by neither.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mattebox import files
from mattebox.backdrops.prompts.prompt_parser import (
    COLORS,
    SHADES,
    Clause,
    Reading,
    clause_of,
    describes,
    is_color,
    misspelt,
    phrase,
    read,
)
from mattebox.backdrops.prompts.tags import (
    ATTRIBUTES,
    KINDS,
    MATERIALS,
    NOT_SERVED,
    REGIONS,
    SCENE_TAGS,
    SHOWN,
    STUDIO_TAGS,
    TIMES,
    WEAK,
)
from mattebox.errors import MatteboxError

_log = logging.getLogger(__name__)

Floats: TypeAlias = NDArray[np.float32]
Embed: TypeAlias = Callable[[Sequence[str]], Floats]
"""Texts to float32 vectors of length one, shape (n, width)."""

THRESHOLD = 0.72
"""Least cosine at which a meaning counts. See `Index` for how it was found."""

MARGIN = 0.10
"""By how much a meaning must be nearer to an entry than to anything that is not served."""

PLACE = 0.62
PLACE_MARGIN = 0.15
NOUN = 0.60
"""Least cosine of what a clause says of the place alone, its least margin, and the least cosine of the place's noun.

Of 112 places that nothing serves ("in a garage band", "on a windowsill") none had all three; of 32 unusual names for
what there is ("among spruces") 7 had."""

TIE = 0.03
"""Cosines that differ by less say the same."""

FLOOR = 0.5
"""Least cosine of an entry whose word was found: the word must mean there what it mostly means."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that can be served, and what people call it, the most fitting tag first."""

    name: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """An entry that serves a prompt.

    Attributes:
        name: the entry's.
        score: 1 where a tag was found in the prompt, the cosine of the two meanings otherwise.
        by: what found it.
    """

    name: str
    score: float
    by: Literal["tag", "meaning"]


_NOBODY = -1
# Nouns that make what they follow a place: a beach house is one, and a beach bag is not.
_PLACES = frozenset(
    """house building town village camp place shack hut field land country region room area festival event ground path
    resort club world realm paradise territory""".split()  # noqa: SIM905
)


Sort: TypeAlias = Literal["material", "attribute", "time", "region", "kind", "place"]


@dataclass(frozen=True, slots=True)
class _Span:
    """A phrase found in a prompt.

    Attributes:
        ranks: who has it as a tag, and at which place among their tags.
        length: its words.
        around: the part of the text that it is in, between two joining words.
        weak: it decides only where nothing else does.
        loose: it only describes a word that nobody knows.
        shown: who has it in the picture without being called so.
        before: whether the next phrase follows at once, so that this one describes it.
        subject: whether it comes before the place, with what is to stand there.
        what: what it is: a material and an attribute may be the subject's, a time is no place of its own, and in a
            region there are many; a kind is another place for every word before it.
    """

    ranks: Mapping[int, int]
    length: int
    around: str
    weak: bool
    loose: bool
    shown: frozenset[int]
    before: bool
    subject: bool
    what: Sort

    @property
    def denied(self) -> bool:
        """Whether it is known not to be there."""
        return _NOBODY in self.ranks

    def fits(self, number: int) -> bool:
        """Whether the entry may serve a prompt that has this phrase."""
        return number in self.ranks or number in self.shown


class Index:
    """Finds what serves a prompt.

    `THRESHOLD`, `MARGIN` and `FLOOR` were found with 80 prompts of product and portrait pictures. Of the 53 that
    something serves, the right entry had a cosine of 0.57 to 1.00 (all but three above 0.72), and always 0.13 more than
    anything that is not served. Of the 27 others the nearest entry had 0.29 to 0.80, and at best 0.07 more.

    Threads may share one.

    Args:
        entries: what can be served.
        embed: the network; None: only words count.
        knows: whether a word is a common English one; prompts of other words are then not judged by their meaning.
        cache: a directory that keeps the tags' vectors between runs (making them takes a processor 10 s for 1600
            texts). Where it cannot be written, they are made anew each time.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        embed: Embed | None,
        *,
        knows: Callable[[str], bool] | None = None,
        cache: Path | None = None,
    ) -> None:
        self._entries = tuple(entries)
        self._embed = embed
        self._knows = knows
        self._cache = cache
        self._phrases: dict[tuple[str, ...], dict[int, int]] = {}
        names = {entry.name for entry in self._entries}
        # A place that is only not installed is as little there as a beach.
        absent = [tag for name, tags in {**SCENE_TAGS, **STUDIO_TAGS}.items() if name not in names for tag in tags]
        not_served = tuple(dict.fromkeys((*NOT_SERVED, *absent)))
        for denied in not_served:
            self._phrases.setdefault(phrase(denied), {})[_NOBODY] = 0
        for number, entry in enumerate(self._entries):
            for rank, tag in enumerate(entry.tags):
                owners = self._phrases.setdefault(phrase(tag), {})
                owners.pop(_NOBODY, None)  # what an entry offers is served, whatever the list says
                owners.setdefault(number, rank)
        self._phrases.pop((), None)
        self._vocabulary = frozenset(word for tag in self._phrases for word in tag)
        self._shown: dict[tuple[str, ...], frozenset[int]] = {}
        for number, entry in enumerate(self._entries):
            for thing in SHOWN.get(entry.name, ()):
                self._shown[phrase(thing)] = self._shown.get(phrase(thing), frozenset()) | {number}
        sorts: tuple[tuple[Sort, tuple[str, ...]], ...] = (
            ("time", TIMES),
            ("region", REGIONS),
            ("kind", KINDS),
            ("attribute", ATTRIBUTES),
            ("material", MATERIALS),
        )
        self._sorts: dict[tuple[str, ...], Sort] = {phrase(word): sort for sort, words in sorts for word in words}
        self._weak = frozenset(phrase(word) for word in WEAK)
        self._lengths = sorted({len(tag) for tag in self._phrases}, reverse=True)
        # The texts of the network, each with its entry.
        refused = [(text, _NOBODY) for text in not_served if _NOBODY in self._phrases.get(phrase(text), {})]
        offered = [(tag, number) for number, entry in enumerate(self._entries) for tag in entry.tags]
        self._texts = [text for text, _ in offered + refused]
        self._owners = np.array([owner for _, owner in offered + refused], np.intp)
        self._vectors: Floats | None = None
        self._once = threading.Lock()

    def best(self, prompt: str) -> Match | None:
        """What serves the prompt, or None where nothing does. Only its first 1000 characters count."""
        reading = read(prompt, self._mended)
        if reading is None:
            return None
        found = self._spans(reading)
        spans = _of_the_place(found)
        firm = [span for span in spans if not span.loose and not span.denied]
        if any(span.denied and not span.shown for span in spans) or (not firm and any(span.denied for span in found)):
            return None
        if not firm or (len(firm) < len(spans) and all(span.weak for span in firm)):
            return self._by_meaning(reading)
        chosen = self._together(firm)
        if chosen is None or not all(span.fits(chosen) for span in spans if span.denied):
            return None
        if not self._plausible(firm, chosen):
            return None
        if all(span.weak for span in firm) and not self._nearest_place(reading, chosen):
            return self._by_meaning(reading)
        odd = any(span.loose and not span.fits(chosen) for span in spans)
        # "A pier at dawn", "a garden in Venice": what is there is not known.
        if (odd or self._only_about(reading, firm)) and not self._nearest_of_all(reading, chosen):
            return None
        return Match(self._entries[chosen].name, 1.0, "tag")

    def nearest(self, prompt: str, n: int = 3) -> list[Match]:
        """The n entries that come nearest to the prompt, the best first, for a message about it; fewer where there is
        nothing to go by. None of them need serve it."""
        reading = read(prompt, self._mended)
        if reading is None:
            return []
        spans = [span for span in self._spans(reading) if _NOBODY not in span.ranks]
        found: dict[int, int] = {}
        for span in spans:
            for owner in span.ranks:
                found[owner] = found.get(owner, 0) + span.length
        scores = {
            owner: hits / (1 + sum(len(clause.words) for clause in reading.clauses)) for owner, hits in found.items()
        }
        if self._embed is not None and self._entries:
            scores = dict(enumerate(float(score) for score in self._scores(reading.text)[0]))
        order = sorted(scores, key=lambda owner: (-scores[owner], owner))[:n]
        by: Literal["tag", "meaning"] = "tag" if self._embed is None else "meaning"
        return [Match(self._entries[owner].name, scores[owner], by) for owner in order]

    # words

    def _mended(self, word: str) -> str:
        """The word as it should have been written, where it is none and one of the tags' words is very near."""
        if self._knows is None or self._knows(word):
            return word
        return misspelt(word, self._vocabulary)

    def _spans(self, reading: Reading) -> list[_Span]:
        """The phrases in the prompt, longest first within a clause, none overlapping another."""
        if all(word in COLORS or word in SHADES for clause in reading.clauses for word in clause.words):
            named = any(is_color(clause.words, at) for clause in reading.clauses for at in range(len(clause.words)))
            reading = Reading((clause_of(("color", "background")),), ()) if named else reading
        return [span for clause in reading.clauses for span in self._spans_of(clause)]

    def _spans_of(self, clause: Clause) -> list[_Span]:
        words = clause.words
        taken = [False] * len(words)
        starts: set[int] = set()
        found: list[tuple[int, int, Mapping[int, int]]] = []
        for length in self._lengths:
            for start in range(len(words) - length + 1):
                if any(taken[start : start + length]):
                    continue
                ranks = self._owners_of(words, start, length)
                if ranks is not None:
                    taken[start : start + length] = [True] * length
                    found.append((start, length, ranks))
                    starts.add(start)
        spans = []
        for start, length, ranks in sorted(found, key=lambda each: each[0]):
            last = start + length - 1
            head = clause.heads[last]
            loose = head is not None and not taken[last + 1] and not describes(head)
            around = " ".join(clause.all[clause.parts[start][0] : clause.parts[last][1]])
            tag = words[start : last + 1]
            spans.append(
                _Span(
                    ranks=ranks,
                    length=length,
                    around=around,
                    weak=tag in self._weak,
                    loose=loose,
                    shown=self._shown.get(tag, frozenset()),
                    before=head is not None and last + 1 in starts,
                    subject=last < clause.subject and (not loose or head not in _PLACES),
                    what=self._sorts.get(tag, "place"),
                )
            )
        return spans

    def _owners_of(self, words: tuple[str, ...], start: int, length: int) -> Mapping[int, int] | None:
        tag = words[start : start + length]
        if (ranks := self._phrases.get(tag)) is not None or length == 1:
            return ranks
        colors = (word in COLORS and is_color(words, at) for at, word in enumerate(tag, start))
        return self._phrases.get(tuple("color" if is_one else w for is_one, w in zip(colors, tag, strict=True)))

    def _together(self, spans: Sequence[_Span]) -> int | None:
        """The entry that has all the phrases, or all but weak ones where it is the strong ones that tell."""
        strong = [span for span in spans if not span.weak] or list(spans)
        named = {number for span in strong for number in span.ranks}
        common = [number for number in named if all(span.fits(number) for span in strong)]
        if not common:
            return None

        # Weak words choose between the entries that the strong ones leave.
        def merit(number: int) -> tuple[int, int, int]:
            helped = sum(span.length for span in spans if number in span.ranks)
            return -helped, min(span.ranks[number] for span in strong if number in span.ranks), number

        return min(common, key=merit)

    def _only_about(self, reading: Reading, spans: Sequence[_Span]) -> bool:
        """Whether the phrases say when it is or in which region, and other words, which nobody knows, where."""
        firm = [span for span in spans if not span.weak and not span.around.endswith("sky")]
        if not firm or any(span.what not in ("time", "region") for span in firm):
            return False
        told = sum(not describes(word) for clause in reading.clauses for word in clause.words)
        return told > sum(span.length for span in spans)

    # meaning

    def _by_meaning(self, reading: Reading) -> Match | None:
        if self._embed is None or not self._entries:
            return None
        if sum(len(clause.words) for clause in reading.clauses) < 2:
            return None  # single words are near to too much: "spring" to a park, "nightstand" to a bedroom
        if self._knows is not None and 2 * sum(map(self._knows, reading.written)) < len(reading.written):
            return None
        scores, denied = self._scores(reading.text)
        chosen = int(np.argmax(scores))
        score = float(scores[chosen])
        if score >= THRESHOLD and score >= denied + MARGIN:
            return Match(self._entries[chosen].name, score, "meaning")
        places = [clause for clause in reading.clauses if clause.noun]
        return self._by_place(places[0]) if len(places) == 1 else None

    def _by_place(self, clause: Clause) -> Match | None:
        """What serves the place that the clause names, whatever its subject is; its noun has to mean that too."""
        scores, denied = self._scores(clause.place)
        chosen = int(np.argmax(scores))
        score = float(scores[chosen])
        if score < PLACE or score < denied + PLACE_MARGIN:
            return None
        nouns, other = self._scores(clause.noun)
        if float(nouns[chosen]) < max(NOUN, other):
            return None
        return Match(self._entries[chosen].name, score, "meaning")

    def _plausible(self, spans: Sequence[_Span], chosen: int) -> bool:
        """Whether the entry's words mean what they mostly mean: a movie star is no star in the sky."""
        if self._embed is None:
            return True
        telling = [span for span in spans if not span.weak] or spans
        scores, denied = self._scores(", ".join(dict.fromkeys(span.around for span in telling)))
        score = float(scores[chosen])
        return score >= FLOOR and score >= denied

    def _nearest_place(self, reading: Reading, chosen: int) -> bool:
        """Whether no other entry is nearer to where the subject is said to be: asked where only weak words are known.

        "A storage building" is no city, though there are buildings in it.
        """
        places = [clause for clause in reading.clauses if clause.noun]
        if not places or all(describes(word) for clause in places for word in clause.place.split()):
            return True
        if self._embed is None:
            return all(self._phrases.get((clause.noun,)) is not None for clause in places)
        scores, _ = self._scores(", ".join(clause.place for clause in places))
        return float(scores[chosen]) >= float(scores.max()) - TIE

    def _nearest_of_all(self, reading: Reading, chosen: int) -> bool:
        """Whether the whole prompt means the entry rather than any other: asked where some of its words say no."""
        if self._embed is None:
            return False
        scores, denied = self._scores(reading.text)
        return int(np.argmax(scores)) == chosen and float(scores[chosen]) >= denied

    def _scores(self, text: str) -> tuple[Floats, float]:
        """The cosine of the nearest tag of each entry, and that of the nearest idea that is not served."""
        embed = self._network()
        products = self._tag_vectors(embed) @ embed([text])[0]
        scores = np.full(len(self._entries), -1, np.float32)
        served = self._owners != _NOBODY
        np.maximum.at(scores, self._owners[served], products[served])
        return scores, float(products[~served].max(initial=-1))

    def prepare(self) -> None:
        """Make the tags' vectors now, or read them from the cache, rather than with the first prompt."""
        if self._embed is not None:
            self._tag_vectors(self._embed)

    def _network(self) -> Embed:
        if self._embed is None:
            raise LookupError("this index has no network")
        return self._embed

    def _tag_vectors(self, embed: Embed) -> Floats:
        with self._once:
            if self._vectors is None:
                self._vectors = _kept(self._texts, embed, self._cache)
            return self._vectors


def _of_the_place(spans: Sequence[_Span]) -> list[_Span]:
    """Those that say what the place is: without what only describes the subject, or the place beside its name.

    "Leather boots on a wooden table" is not about leather, and a city park is a park. Where nothing firm is said of a
    place, everything counts.
    """
    left: list[_Span] = []
    for at, span in enumerate(spans):
        following = spans[at + 1] if span.before else None
        if following is not None and _names_it(following) and _only_describes(span, following):
            continue
        left.append(span)
    if not any(_names_it(span) and not span.subject for span in left):
        return left
    return [
        span
        for span in left
        if not (span.subject and (span.loose or (span.denied and span.what in ("material", "attribute"))))
    ]


def _only_describes(span: _Span, following: _Span) -> bool:
    """Whether the place is what the second phrase says, however it is described: a factory hall is no ballroom."""
    if span.what == "material":
        return True
    return not span.denied and (span.what == "region" or (span.what != "time" and following.what != "kind"))


def _names_it(span: _Span) -> bool:
    return not (span.denied or span.weak or span.loose or span.what == "time")


def _kept(texts: Sequence[str], embed: Embed, cache: Path | None) -> Floats:
    """The texts' vectors, from the cache where it has just these texts."""
    if cache is None:
        return embed(texts)
    file = cache / f"tags-{hashlib.sha256(chr(10).join(texts).encode()).hexdigest()[:32]}.npy"
    try:
        kept: Floats = np.load(file, allow_pickle=False)
        if kept.dtype == np.float32 and kept.ndim == 2 and len(kept) == len(texts):
            return kept
        _log.warning("the vectors in %s are of another shape; making them anew", file)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, EOFError) as error:
        _log.warning("the vectors in %s cannot be read (%s); making them anew", file, error)
    vectors = embed(texts)
    written = BytesIO()
    np.save(written, vectors)
    try:
        files.write(file, written.getvalue())
    except MatteboxError as error:
        _log.warning("the tags' vectors cannot be kept in %s: %s", cache, error)
    return vectors

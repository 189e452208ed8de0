"""A prompt and what there is: which scene or studio backdrop serves it, or that none does.

Curated words come first: every entry has tags, and the longest phrases of a prompt that are somebody's tag decide.
Where no word is known, the meaning decides, by a network's vectors. Ideas that are known not to be there (snow, a
library, a spaceship) are entries of their own that give no picture. A wrong picture is worse than none: what two
entries would have to serve together is served by neither.
"""

from __future__ import annotations

import hashlib
import html
import logging
import re
import tempfile
import threading
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mattebox.backdrops.tags import NOT_SERVED, WEAK

_log = logging.getLogger(__name__)

Floats: TypeAlias = NDArray[np.float32]
Embed: TypeAlias = Callable[[Sequence[str]], Floats]
"""Texts to float32 vectors of length one, shape (n, width)."""

LONGEST = 1000
"""Characters of a prompt that count; the rest is not looked at."""

THRESHOLD = 0.72
"""Least cosine at which a meaning counts. See `Index` for how it was found."""

MARGIN = 0.10
"""By how much a meaning must be nearer to an entry than to anything that is not served."""

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


# --- words ------------------------------------------------------------------------------------------------------------


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COLORS = _words(
    """white black gray red green blue yellow orange purple violet pink brown beige cream ivory navy teal turquoise
    cyan magenta maroon burgundy gold golden silver mint lavender lilac peach coral salmon olive khaki tan charcoal
    crimson scarlet indigo aqua azure emerald mustard taupe sage mauve fuchsia rose terracotta plum rust sand"""
)
# Also the names of things: a colour only where what follows says so ("rose background", never "a rose").
_THINGS = frozenset({"rose", "coral", "sand", "plum", "peach", "salmon", "olive", "rust", "sage", "mint", "orange"})
_SHADES = frozenset({"light", "dark", "pale", "pastel", "deep", "bright", "baby", "sky", "hot", "royal", "off", "neon"})
_PLAIN = frozenset({"background", "backdrop", "studio", "paper", "seamless", "color", "sweep", "gradient", "surface"})

_SPELLINGS: Mapping[str, str] = {
    "grey": "gray", "colour": "color", "coloured": "color", "colored": "color", "colourful": "colorful",
    "centre": "center", "theatre": "theater", "harbour": "harbor", "cosy": "cozy", "metre": "meter",
    "wooden": "wood", "woods": "woodland", "leaves": "leaf", "shelves": "shelf", "dunes": "dune", "stony": "stone",
    "marbled": "marble", "concreted": "concrete", "forested": "forest", "bricks": "brick", "timber": "wood",
    "lab": "laboratory", "monochrome": "plain", "monochromatic": "plain", "solid": "plain", "photographic": "photo",
    "photographer": "photo",
    "photography": "photo", "backgrounds": "background", "bg": "background", "grassy": "grass", "snowy": "snow",
    "snowing": "snow", "rainy": "rain", "raining": "rain", "foggy": "fog", "misty": "mist", "stormy": "storm",
    "cloudy": "cloud", "starry": "star", "sandy": "sand", "mountainous": "mountain", "rocky": "rock", "icy": "ice",
    "blur": "blurred", "blurry": "blurred", "defocused": "blurred", "unfocused": "blurred", "glazed": "glass",
    "spotlit": "spotlight", "hallway": "corridor", "sundown": "sunset", "sunup": "sunrise",
    "daybreak": "dawn", "nightfall": "night", "nighttime": "night", "midnight": "night", "twilight": "dusk",
}  # fmt: skip
_JOINED: Mapping[tuple[str, str], str] = {
    ("back", "drop"): "backdrop", ("table", "top"): "tabletop", ("spot", "light"): "spotlight",
    ("counter", "top"): "countertop", ("work", "shop"): "workshop", ("sea", "side"): "seaside",
    ("sun", "set"): "sunset", ("sun", "rise"): "sunrise", ("ware", "house"): "warehouse", ("night", "time"): "night",
    ("water", "front"): "waterfront", ("board", "walk"): "boardwalk", ("work", "bench"): "workbench",
    ("under", "water"): "underwater", ("space", "ship"): "spaceship", ("court", "yard"): "courtyard",
    ("forest", "green"): "green", ("night", "blue"): "navy", ("brick", "red"): "red", ("sea", "green"): "teal",
    ("ocean", "blue"): "blue", ("wood", "brown"): "brown", ("stone", "gray"): "gray", ("snow", "white"): "white",
    ("ball", "room"): "ballroom", ("show", "room"): "showroom", ("class", "room"): "classroom",
}  # fmt: skip

_JOINERS = _words(
    """in on at of with by under over near beside before behind through into onto from to for against among between
    along across around above below inside outside within toward and or but plus while where as after next front
    surrounded"""
)
_STOP = _JOINERS | _words(
    """a an the this that these those its his her their our your my is are be being it i we you please make put place
    placed show use want would like very really quite some so just there here top side sharp focus soft nice beautiful
    lovely pretty gorgeous stunning realistic photorealistic detailed quality high professional hd uhd hdr k"""
)
_NEGATIONS = frozenset({"no", "not", "without", "except", "excluding", "instead", "than", "never", "avoid", "minus"})
# Looked at as one: the light or the style of a picture, not the place in it.
_MANNERS: tuple[tuple[str, ...], ...] = tuple(
    tuple(manner.split())
    for manner in (
        "studio lighting", "studio light", "studio quality", "studio lit", "studio photo", "studio shot",
        "studio portrait", "studio product photo", "natural light", "day light", "window light", "depth field",
    )
)  # fmt: skip

# Nouns that may follow a place and leave it what it is.
_HEADS = _words(
    """background backdrop scene scenery setting view photo shot image picture style theme look vibe atmosphere mood
    environment interior area space location place texture surface day morning afternoon evening time product portrait
    display light floor ceiling wall window entrance corner edge landscape panorama render effect advertisement ad
    catalog catalogue photograph shoot headshot person people woman man model outside outdoor modern old empty full
    warm cozy bright sunny calm quiet rustic vintage elegant minimal minimalist dark that who made behind bench"""
)

# Words of other languages that are none of English: the network's own language is English.
_FOREIGN = _words(
    """auf einem einer einen eine ein der das dem den des und mit im am vor hinter neben unter ist nicht ohne fur von
    zum zur bei dans sur une le les du avec et devant derriere sous chez aux est sans pour fond el los las una uno con
    sobre en del por para sin fondo una il lo gli nel nella nello sul sulla davanti sotto dietro sfondo di della um
    uma na no nos nas do da dos com sem atras op een het van met voor achter op zonder och med pa et ett den det som
    ved na w z pod przed przy bez tle"""
) - {"am", "den", "no", "do", "in", "on"}
_ENGLISH = _words("""the of with and on at under by from against inside near a background behind is without for to""")

_MARKUP = re.compile(r"<[^<>]{0,300}>|https?://\S+|--\w+(?:\s+[\d:.]+)?|[\w.+-]+@[\w.-]+")
_PIECE = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|[.,;:!?()\[\]{}|/\n]")


def _spread(prompt: str) -> str:
    """The part that counts, in one form of Unicode, in lower case, without markup and accents."""
    text = unicodedata.normalize("NFKC", prompt[:LONGEST])[:LONGEST]
    text = _MARKUP.sub(" ", html.unescape(text)).casefold()
    return "".join(mark for mark in unicodedata.normalize("NFD", text) if not unicodedata.combining(mark))


def _foreign_script(text: str) -> bool:
    """Whether any letter is of another script than the Latin one: what it says would be overlooked."""
    return any(mark.isalpha() and not unicodedata.name(mark, "").startswith("LATIN") for mark in text if mark > "\x7f")


def _lemma(word: str) -> str:
    """The word's plain form: spelling, number, possessive. The same for tags and prompts, so that errors cancel."""
    word = re.sub(r"['’]s?$", "", word).replace("'", "").replace("’", "")
    if word in _SPELLINGS:
        return _SPELLINGS[word]
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "xes", "ches", "shes")):
        word = word[:-2]
    elif word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return _SPELLINGS.get(word, word)


def _clauses(text: str) -> list[list[str]]:
    """Plain forms of the words between punctuation marks."""
    clauses: list[list[str]] = [[]]
    for piece in _PIECE.findall(text):
        if not piece[0].isalpha():
            clauses.append([])
            continue
        word = _lemma(piece)
        before = clauses[-1][-1] if clauses[-1] else ""
        if (joined := _JOINED.get((before, word))) is not None:
            clauses[-1][-1] = joined
        else:
            clauses[-1].append(word)
    return [clause for clause in clauses if clause]


def _affirmed(clause: Sequence[str]) -> list[str]:
    """The clause without what it says is not wanted: from a negation to the next joining word after a noun."""
    kept: list[str] = []
    denied = seen = False
    for word in clause:
        if word in _NEGATIONS:
            denied, seen = True, False
        elif denied and word in _JOINERS and (seen or word == "but"):
            denied = False
        elif denied:
            seen = seen or word not in _STOP
        if not denied:
            kept.append(word)
    return kept


def _without_manners(words: Sequence[str]) -> list[str]:
    left: list[str] = []
    index = 0
    while index < len(words):
        manner = next((m for m in _MANNERS if tuple(words[index : index + len(m)]) == m), ())
        if not manner:
            left.append(words[index])
        index += len(manner) or 1
    return left


def _phrase(tag: str) -> tuple[str, ...]:
    """A tag as the words that a prompt is searched for."""
    return tuple(word for clause in _clauses(_spread(tag)) for word in clause if _tells(word))


def _tells(word: str) -> bool:
    return word not in _STOP and len(word) > 1


@dataclass(frozen=True, slots=True)
class _Clause:
    """The words between two punctuation marks, without what is not wanted.

    Attributes:
        words: those that tell something, in plain forms, in order.
        heads: for each of them the word that comes right after it, where that tells something too: in English the
            last noun says what a thing is, and "garage band" is no garage.
        parts: for each of them where the part of the clause between two joining words begins and ends in `all`.
        all: every word, in plain forms.
    """

    words: tuple[str, ...]
    heads: tuple[str | None, ...]
    parts: tuple[tuple[int, int], ...]
    all: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.all)


def _clause(words: Sequence[str]) -> _Clause:
    telling = [at for at, word in enumerate(words) if _tells(word)]
    after = [words[at + 1] if at + 1 in telling else None for at in telling]
    cuts = [-1, *(at for at, word in enumerate(words) if word in _JOINERS and word != "of"), len(words)]
    parts = [next((a + 1, b) for a, b in pairwise(cuts) if a < at < b) for at in telling]
    return _Clause(tuple(words[at] for at in telling), tuple(after), tuple(parts), tuple(words))


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a prompt says: its clauses with something in them, and every word as written, in lower case."""

    clauses: tuple[_Clause, ...]
    written: tuple[str, ...]

    @property
    def text(self) -> str:
        return ", ".join(clause.text for clause in self.clauses)


def _read(prompt: str) -> _Reading | None:
    """None where the prompt says nothing that can be understood."""
    text = _spread(prompt)
    if _foreign_script(text):
        return None
    clauses = _clauses(text)
    written = tuple(piece for piece in _PIECE.findall(text) if piece[0].isalpha())
    foreign = sum(word in _FOREIGN for word in written)
    if foreign > sum(word in _ENGLISH for word in written):
        return None
    read = (_clause(_without_manners(_affirmed(clause))) for clause in clauses)
    telling = tuple(clause for clause in read if clause.words)
    return _Reading(telling, written) if telling else None


def _only_describes(word: str) -> bool:
    """Whether the word after a phrase leaves open that the phrase is the place: "forest background", "park sitting"."""
    return word in _HEADS or word in _COLORS or word in _SHADES or word.endswith(("ing", "ed", "ly"))


def color_in(prompt: str) -> str | None:
    """The first colour that the prompt names, as it is written there but in lower case and one spelling of gray.

    'plain pastel pink' gives 'pastel pink', 'a light grey backdrop' 'light gray'; None where there is none. Names that
    are also things (rose, coral, mint) count only before a word that makes them a colour.
    """
    for clause in _clauses(_spread(prompt)):
        words = _affirmed(clause)
        first = next((index for index in range(len(words)) if _is_color(words, index)), None)
        if first is not None:
            start, end = first, first + 1
            while start > 0 and words[start - 1] in _SHADES:
                start -= 1
            while end < len(words) and words[end] in _COLORS:
                end += 1
            return " ".join(words[start:end])
    return None


def _is_color(words: Sequence[str], index: int) -> bool:
    word = words[index]
    if word not in _COLORS:
        return False
    if word not in _THINGS:
        return True
    after = words[index + 1] if index + 1 < len(words) else ""
    before = words[index - 1] if index else ""
    return after in _PLAIN or after in _COLORS or before in _SHADES or before == "plain"


# --- the index --------------------------------------------------------------------------------------------------------

_NOBODY = -1


@dataclass(frozen=True, slots=True)
class _Span:
    """A phrase found in a prompt.

    Attributes:
        ranks: who has it as a tag, and at which place among their tags.
        length: its words.
        around: the part of the text that it is in, between two joining words.
        weak: it decides only where nothing else does.
        loose: it only describes a word that nobody knows.
    """

    ranks: Mapping[int, int]
    length: int
    around: str
    weak: bool
    loose: bool


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
        cache: a directory that keeps the tags' vectors between runs (making them takes a processor 10 s for 1400
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
        for denied in NOT_SERVED:
            self._phrases.setdefault(_phrase(denied), {})[_NOBODY] = 0
        for number, entry in enumerate(self._entries):
            for rank, tag in enumerate(entry.tags):
                owners = self._phrases.setdefault(_phrase(tag), {})
                owners.pop(_NOBODY, None)  # what an entry offers is served, whatever the list says
                owners.setdefault(number, rank)
        self._phrases.pop((), None)
        self._weak = frozenset(_phrase(word) for word in WEAK)
        self._lengths = sorted({len(phrase) for phrase in self._phrases}, reverse=True)
        # The texts of the network, each with its entry.
        refused = [(text, _NOBODY) for text in NOT_SERVED if _NOBODY in self._phrases.get(_phrase(text), {})]
        offered = [(tag, number) for number, entry in enumerate(self._entries) for tag in entry.tags]
        self._texts = [text for text, _ in offered + refused]
        self._owners = np.array([owner for _, owner in offered + refused], np.intp)
        self._vectors: Floats | None = None
        self._once = threading.Lock()

    def best(self, prompt: str) -> Match | None:
        """What serves the prompt, or None where nothing does. Only its first 1000 characters count."""
        reading = _read(prompt)
        if reading is None:
            return None
        spans = self._spans(reading)
        if any(_NOBODY in span.ranks for span in spans):
            return None
        firm = [span for span in spans if not span.loose]
        if not firm or (len(firm) < len(spans) and all(span.weak for span in firm)):
            return self._by_meaning(reading)
        chosen = self._together(firm)
        if chosen is None or not self._plausible(firm, chosen):
            return None
        if any(chosen not in span.ranks for span in spans if span.loose) and not self._nearest_of_all(reading, chosen):
            return None
        return Match(self._entries[chosen].name, 1.0, "tag")

    def nearest(self, prompt: str, n: int = 3) -> list[Match]:
        """The n entries that come nearest to the prompt, the best first, for a message about it; fewer where there is
        nothing to go by. None of them need serve it."""
        reading = _read(prompt)
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

    def _spans(self, reading: _Reading) -> list[_Span]:
        """The phrases in the prompt, longest first within a clause, none overlapping another."""
        if all(word in _COLORS or word in _SHADES for clause in reading.clauses for word in clause.words):
            named = any(_is_color(clause.words, at) for clause in reading.clauses for at in range(len(clause.words)))
            reading = _Reading((_clause(("color", "background")),), ()) if named else reading
        return [span for clause in reading.clauses for span in self._spans_of(clause)]

    def _spans_of(self, clause: _Clause) -> list[_Span]:
        words = clause.words
        taken = [False] * len(words)
        found: list[tuple[int, int, Mapping[int, int]]] = []
        for length in self._lengths:
            for start in range(len(words) - length + 1):
                if any(taken[start : start + length]):
                    continue
                ranks = self._owners_of(words, start, length)
                if ranks is not None:
                    taken[start : start + length] = [True] * length
                    found.append((start, length, ranks))
        spans = []
        for start, length, ranks in found:
            last = start + length - 1
            head = clause.heads[last]
            loose = head is not None and not taken[last + 1] and not _only_describes(head)
            around = " ".join(clause.all[clause.parts[start][0] : clause.parts[last][1]])
            spans.append(_Span(ranks, length, around, words[start : last + 1] in self._weak, loose))
        return spans

    def _owners_of(self, words: tuple[str, ...], start: int, length: int) -> Mapping[int, int] | None:
        phrase = words[start : start + length]
        if (ranks := self._phrases.get(phrase)) is not None or length == 1:
            return ranks
        colors = (word in _COLORS and _is_color(words, at) for at, word in enumerate(phrase, start))
        return self._phrases.get(tuple("color" if is_one else w for is_one, w in zip(colors, phrase, strict=True)))

    def _together(self, spans: Sequence[_Span]) -> int | None:
        """The entry that has all the phrases, or all but weak ones where it is the strong ones that tell."""
        strong = [span for span in spans if not span.weak] or list(spans)
        common = _common(strong)
        if not common:
            return None

        # Weak words choose between the entries that the strong ones leave.
        def merit(number: int) -> tuple[int, int, int]:
            helped = sum(span.length for span in spans if number in span.ranks)
            return -helped, min(span.ranks[number] for span in strong), number

        return min(common, key=merit)

    # meaning

    def _by_meaning(self, reading: _Reading) -> Match | None:
        if self._embed is None or not self._entries:
            return None
        if sum(len(clause.words) for clause in reading.clauses) < 2:
            return None  # single words are near to too much: "spring" to a park, "nightstand" to a bedroom
        if self._knows is not None and 2 * sum(map(self._knows, reading.written)) < len(reading.written):
            return None
        scores, denied = self._scores(reading.text)
        chosen = int(np.argmax(scores))
        score = float(scores[chosen])
        if score < THRESHOLD or score < denied + MARGIN:
            return None
        return Match(self._entries[chosen].name, score, "meaning")

    def _plausible(self, spans: Sequence[_Span], chosen: int) -> bool:
        """Whether the entry's words mean what they mostly mean: a movie star is no star in the sky."""
        if self._embed is None:
            return True
        scores, denied = self._scores(", ".join(dict.fromkeys(span.around for span in spans)))
        score = float(scores[chosen])
        return score >= FLOOR and score >= denied

    def _nearest_of_all(self, reading: _Reading, chosen: int) -> bool:
        """Whether the whole prompt means the entry rather than any other: asked where some of its words say no."""
        return self._embed is not None and int(np.argmax(self._scores(reading.text)[0])) == chosen

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


def _common(spans: Sequence[_Span]) -> Collection[int]:
    common = set(spans[0].ranks)
    for span in spans[1:]:
        common &= set(span.ranks)
    return common


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
    try:
        # Under another name first: a reader must never see half of it.
        with tempfile.NamedTemporaryFile(dir=cache, prefix=".tags-", suffix=".npy", delete=False) as written:
            np.save(written, vectors)
        Path(written.name).replace(file)
    except OSError as error:
        _log.warning("the tags' vectors cannot be kept in %s: %s", cache, error)
    return vectors

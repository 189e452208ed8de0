"""What a prompt in English says: its clauses, in plain forms of words, without what is not wanted."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

LONGEST = 1000
"""Characters of a prompt that count; the rest is not looked at."""

_SHORTEST = 5
"""Letters of a word that is put right, and of what it becomes."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


COLORS = _words(
    """white black gray red green blue yellow orange purple violet pink brown beige cream ivory navy teal turquoise
    cyan magenta maroon burgundy gold golden silver mint lavender lilac peach coral salmon olive khaki tan charcoal
    crimson scarlet indigo aqua azure emerald mustard taupe sage mauve fuchsia rose terracotta plum rust sand"""
)
# Also the names of things: a colour only where what follows says so ("rose background", never "a rose").
_THINGS = frozenset({"rose", "coral", "sand", "plum", "peach", "salmon", "olive", "rust", "sage", "mint", "orange"})
SHADES = frozenset({"light", "dark", "pale", "pastel", "deep", "bright", "baby", "sky", "hot", "royal", "off", "neon"})
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
    "forrest": "forest", "saint": "st",
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
    ("ice", "cream"): "icecream", ("off", "road"): "offroad", ("foot", "path"): "footpath",
    ("sky", "scraper"): "skyscraper",
    ("court", "house"): "courthouse", ("farm", "house"): "farmhouse", ("store", "house"): "storehouse",
}  # fmt: skip

_JOINERS = _words(
    """in on at of with by under over near beside before behind through into onto from to for against among between
    along across around above below inside outside within toward and or but plus while where as after next front
    surrounded atop upon amid amidst amongst beneath"""
)
_STOP = _JOINERS | _words(
    """a an the this that these those its his her their our your my is are be being it i we you please make put place
    placed show use want would like very really quite some so just there here top side sharp focus soft nice beautiful
    lovely pretty gorgeous stunning realistic photorealistic detailed quality high professional hd uhd hdr k"""
)
# After these comes where the subject is; what comes before them is the subject.
_PLACING = _words(
    """in on at inside against before atop upon onto into beside among amid amidst amongst between outside within near
    by next front through along across under beneath"""
)
_NEGATIONS = frozenset({"no", "not", "without", "except", "excluding", "instead", "than", "never", "avoid", "minus"})
# Looked at as one: the light or the style of a picture, not the place in it.
_MANNERS: tuple[tuple[str, ...], ...] = tuple(
    tuple(manner.split())
    for manner in (
        "studio lighting", "studio light", "studio quality", "studio lit", "studio photo", "studio shot",
        "studio portrait", "studio product photo", "natural light", "day light", "window light", "depth of field",
        "field of view", "street style", "street photo", "street fashion", "film still", "movie still", "film grain",
        "film look", "magazine cover", "golden ratio", "unreal engine", "wide angle", "high key",
        "space for text", "space for copy", "copy space", "text space", "negative space",
        "flooded with sunlight", "flooded with light",
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
_FREE = re.compile(r"\b\w{1,40}-free\b")
_PIECE = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|[.,;:!?()\[\]{}|/\n]")


def _spread(prompt: str) -> str:
    """The part that counts, in one form of Unicode, in lower case, without markup and accents."""
    text = unicodedata.normalize("NFKC", prompt[:LONGEST])[:LONGEST]
    text = _FREE.sub(" ", _MARKUP.sub(" ", html.unescape(text)).casefold())
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


def _clauses(text: str, mend: Callable[[str], str] | None = None) -> list[list[str]]:
    """Plain forms of the words between punctuation marks, with what is misspelt put right where `mend` knows how."""
    clauses: list[list[str]] = [[]]
    for piece in _PIECE.findall(text):
        if not piece[0].isalpha():
            clauses.append([])
            continue
        word = _lemma(piece) if mend is None else mend(_lemma(piece))
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


def phrase(tag: str) -> tuple[str, ...]:
    """A tag as the words that a prompt is searched for."""
    return tuple(word for clause in _clauses(_spread(tag)) for word in clause if _tells(word))


def _tells(word: str) -> bool:
    return word not in _STOP and len(word) > 1


@dataclass(frozen=True, slots=True)
class Clause:
    """The words between two punctuation marks, without what is not wanted.

    Attributes:
        words: those that tell something, in plain forms, in order.
        heads: for each of them the word that comes right after it, where that tells something too: in English the
            last noun says what a thing is, and "garage band" is no garage.
        parts: for each of them where the part of the clause between two joining words begins and ends in `all`.
        subject: how many of them come before the place, as "leather boots" does in "leather boots on a table"; 0 where
            the clause does not say where anything is, or begins with that.
        all: every word, in plain forms.
    """

    words: tuple[str, ...]
    heads: tuple[str | None, ...]
    parts: tuple[tuple[int, int], ...]
    subject: int
    all: tuple[str, ...]

    @property
    def text(self) -> str:
        """The clause as the network reads it."""
        return " ".join(self.all)

    @property
    def noun(self) -> str:
        """The last word of the first part of `place`: what the place is. Empty where that part says nothing."""
        at = next((at for at, word in enumerate(self.all) if word in _PLACING), len(self.all))
        first = next(((start, end) for start, end in self.parts if start > at), (0, 0))
        part = self.all[first[0] : first[1]]
        part = part[: part.index("of")] if "of" in part else part
        return part[-1] if part else ""

    @property
    def place(self) -> str:
        """The clause from where it says where the subject is; empty where it does not."""
        at = next((at for at, word in enumerate(self.all) if word in _PLACING), len(self.all))
        return " ".join(self.all[at:])


def clause_of(words: Sequence[str]) -> Clause:
    """The clause that has these words, in plain forms."""
    telling = [at for at, word in enumerate(words) if _tells(word)]
    after = [words[at + 1] if at + 1 in telling else None for at in telling]
    cuts = [-1, *(at for at, word in enumerate(words) if word in _JOINERS and word != "of"), len(words)]
    parts = [next((a + 1, b) for a, b in pairwise(cuts) if a < at < b) for at in telling]
    placed = next((at for at, word in enumerate(words) if word in _PLACING), 0)
    subject = sum(at < placed for at in telling)
    return Clause(tuple(words[at] for at in telling), tuple(after), tuple(parts), subject, tuple(words))


@dataclass(frozen=True, slots=True)
class Reading:
    """What a prompt says: its clauses with something in them, and every word as written, in lower case."""

    clauses: tuple[Clause, ...]
    written: tuple[str, ...]

    @property
    def text(self) -> str:
        """The prompt as the network reads it."""
        return ", ".join(clause.text for clause in self.clauses)


def read(prompt: str, mend: Callable[[str], str] | None = None) -> Reading | None:
    """What the prompt says; None where that is nothing that can be understood.

    Args:
        prompt: only its first 1000 characters count.
        mend: what a plain form of a word should have been; None: every word is spelt as it should be.
    """
    text = _spread(prompt)
    if _foreign_script(text):
        return None
    clauses = _clauses(text, mend)
    written = tuple(piece for piece in _PIECE.findall(text) if piece[0].isalpha())
    foreign = sum(word in _FOREIGN for word in written)
    if foreign > sum(word in _ENGLISH for word in written):
        return None
    read = (clause_of(_without_manners(_affirmed(clause))) for clause in clauses)
    telling = tuple(clause for clause in read if clause.words)
    return Reading(telling, written) if telling else None


def misspelt(word: str, vocabulary: Collection[str]) -> str:
    """The one word of the vocabulary that is one slip away: a letter too many, one too few, or two exchanged.

    The word itself where there is none, or more than one. Short words are near to too many others, and a wrong letter
    makes more often another word than a slip: a hanger is no hangar.
    """
    if len(word) < _SHORTEST or word in vocabulary:
        return word
    letters = "abcdefghijklmnopqrstuvwxyz"
    cuts = [(word[:at], word[at:]) for at in range(1, len(word) + 1)]  # nobody mistakes the first letter
    near = {a + b[1:] for a, b in cuts if b}
    near |= {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    near |= {a + letter + b for a, b in cuts for letter in letters}
    found = [each for each in near if len(each) >= _SHORTEST and each in vocabulary]
    return found[0] if len(found) == 1 else word


def describes(word: str) -> bool:
    """Whether the word after a phrase leaves open that the phrase is the place: "forest background", "park sitting"."""
    return word in _HEADS or word in COLORS or word in SHADES or word.endswith(("ing", "ed", "ly"))


def color_in(prompt: str) -> str | None:
    """The first colour that the prompt names, as it is written there but in lower case and one spelling of gray.

    'plain pastel pink' gives 'pastel pink', 'a light grey backdrop' 'light gray'; None where there is none. Names that
    are also things (rose, coral, mint) count only before a word that makes them a colour.
    """
    for clause in _clauses(_spread(prompt)):
        words = _affirmed(clause)
        first = next((index for index in range(len(words)) if is_color(words, index)), None)
        if first is not None:
            start, end = first, first + 1
            while start > 0 and words[start - 1] in SHADES:
                start -= 1
            while end < len(words) and words[end] in COLORS:
                end += 1
            return " ".join(words[start:end])
    return None


def is_color(words: Sequence[str], index: int) -> bool:
    """Whether the word there names a colour, and not a thing that has it."""
    word = words[index]
    if word not in COLORS:
        return False
    if word not in _THINGS:
        return True
    after = words[index + 1] if index + 1 < len(words) else ""
    before = words[index - 1] if index else ""
    return after in _PLAIN or after in COLORS or before in SHADES or before == "plain"

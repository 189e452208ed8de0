"""Reads prompts in English: their clauses, in plain forms of words, without what is not wanted."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from mattebox import toml_tables

LONGEST = 1000
"""Characters of a prompt that count; the rest is not looked at."""

_SHORTEST = 5
"""Letters of a word that is put right, and of what it becomes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """The contents of `words.toml`, which explains them."""

    colors: tuple[str, ...]
    things: tuple[str, ...]
    plain: tuple[str, ...]
    joiners: tuple[str, ...]
    stop: tuple[str, ...]
    placing: tuple[str, ...]
    standing: tuple[str, ...]
    negations: tuple[str, ...]
    manners: tuple[str, ...]
    heads: tuple[str, ...]
    place_nouns: tuple[str, ...]
    foreign: tuple[str, ...]
    english: tuple[str, ...]
    not_misspelt: tuple[str, ...]
    joined: Mapping[str, str]
    spellings: Mapping[str, str]
    papers: Mapping[str, tuple[int, int, int]]
    shades: Mapping[str, tuple[float, float]]


_ENGLISH = toml_tables.load("mattebox.backdrops.prompts", "words.toml", _Words)
COLORS = frozenset(_ENGLISH.colors)
PAPERS, SHADES = _ENGLISH.papers, _ENGLISH.shades
PLACE_NOUNS = frozenset(_ENGLISH.place_nouns)
_THINGS = frozenset(_ENGLISH.things)
_PLAIN = frozenset(_ENGLISH.plain)
_JOINED = {tuple(two.split()): one for two, one in _ENGLISH.joined.items()}
_JOINERS = frozenset(_ENGLISH.joiners)
_STOP = _JOINERS | frozenset(_ENGLISH.stop)
_PLACING = frozenset(_ENGLISH.placing)
_STANDING = frozenset(_ENGLISH.standing)
_NEGATIONS = frozenset(_ENGLISH.negations)
_MANNERS = tuple(tuple(manner.split()) for manner in _ENGLISH.manners)
_HEADS = frozenset(_ENGLISH.heads)
_FOREIGN = frozenset(_ENGLISH.foreign)
_FAMILIAR = frozenset(_ENGLISH.english)

_MARKUP = re.compile(r"<[^<>]{0,300}>|https?://\S+|--\w+(?:\s+[\d:.]+)?|[\w.+-]+@[\w.-]+")
_FREE = re.compile(r"\b\w{1,40}-free\b")
_PIECE = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|[.,;:!?()\[\]{}|/\n]")


def _spread(prompt: str) -> str:
    """The part that counts, in one form of Unicode, in lower case, without markup and accents."""
    text = unicodedata.normalize("NFKC", prompt[:LONGEST])[:LONGEST]
    text = _FREE.sub(" ", _MARKUP.sub(" ", html.unescape(text)).casefold())
    return "".join(mark for mark in unicodedata.normalize("NFD", text) if not unicodedata.combining(mark))


def _foreign_script(text: str) -> bool:
    """Whether any letter is not Latin: its words would be overlooked."""
    return any(mark.isalpha() and not unicodedata.name(mark, "").startswith("LATIN") for mark in text if mark > "\x7f")


def _lemma(word: str) -> str:
    """The word's plain form: spelling, number, possessive. The same for tags and prompts, so that errors cancel."""
    word = re.sub(r"['’]s?$", "", word).replace("'", "").replace("’", "")
    if word in _ENGLISH.spellings:
        return _ENGLISH.spellings[word]
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "xes", "ches", "shes")):
        word = word[:-2]
    elif word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return _ENGLISH.spellings.get(word, word)


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
    def noun(self) -> str:
        """The last word of the first part of `place`: what the place is. Empty where that part says nothing."""
        at = next((at for at, word in enumerate(self.all) if word in _PLACING), len(self.all))
        first = next(((start, end) for start, end in self.parts if start > at), (0, 0))
        part = self.all[first[0] : first[1]]
        part = part[: part.index("of")] if "of" in part else part
        return part[-1] if part else ""

    @property
    def within(self) -> bool:
        """Whether the subject is in something, and not only on or before it, which could be any table or wall."""
        return any(word in _PLACING and word not in _STANDING for word in self.all)

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


def read(prompt: str, mend: Callable[[str], str] | None = None) -> tuple[Clause, ...] | None:
    """The prompt's clauses that are not empty; None where it says nothing that can be understood.

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
    if foreign > sum(word in _FAMILIAR for word in written):
        return None
    read = (clause_of(_without_manners(_affirmed(clause))) for clause in clauses)
    telling = tuple(clause for clause in read if clause.words)
    return telling or None


def misspelt(word: str, vocabulary: Collection[str]) -> str:
    """The one word of the vocabulary that is one slip away: a letter too many, one too few, or two exchanged.

    The word itself where there is none, or more than one. Short words are near to too many others, and a wrong letter
    makes more often another word than a slip: a hanger is no hangar.
    """
    if len(word) < _SHORTEST or word in vocabulary or word in _not_misspelt():
        return word
    letters = "abcdefghijklmnopqrstuvwxyz"
    cuts = [(word[:at], word[at:]) for at in range(1, len(word) + 1)]  # nobody mistakes the first letter
    near = {a + b[1:] for a, b in cuts if b}
    near |= {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    near |= {a + letter + b for a, b in cuts for letter in letters}
    found = [each for each in near if len(each) >= _SHORTEST and each in vocabulary]
    return found[0] if len(found) == 1 else word


@lru_cache(1)
def _not_misspelt() -> frozenset[str]:
    return frozenset(_lemma(word) for word in _ENGLISH.not_misspelt)


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

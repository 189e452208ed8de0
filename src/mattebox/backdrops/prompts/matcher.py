"""Which backdrop serves a prompt, or that none does.

Curated words decide: every entry has tags, and the longest phrases of a prompt that are an entry's tag choose it.
Things that no backdrop shows (snow, a library, a spaceship) have names too, and give no picture. A wrong picture is
worse than none: what two entries would have to serve together is served by neither.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from mattebox.backdrops.prompts.prompt_parser import (
    COLORS,
    PLACE_NOUNS,
    SHADES,
    Clause,
    clause_of,
    describes,
    is_color,
    misspelt,
    phrase,
    read,
)
from mattebox.backdrops.prompts.tags import load_tags


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that can be served, and what people call it, the most fitting tag first."""

    name: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """An entry for a prompt.

    `score` says how well it fits: 1 where it serves the prompt, less where it only comes near. `around` are those that
    come nearest to the rest of what was asked for: the forest in "a table in a forest".
    """

    name: str
    score: float
    around: tuple[str, ...] = ()


_NOBODY = -1
_WEAK, _SUBJECT, _LATER, _DESCRIBES, _TIME, _ABSENT, _LESS_NEAR = 0.5, 0.3, 0.45, 0.6, 0.7, 0.8, 0.45
"""The worth of a phrase for `nearest`, against 1 for a tag of an entry: a tag that says little; a phrase before the
place, which is the subject's; one in a later part of the prompt; one that describes the next, as in "beach restaurant";
a time; a thing no backdrop shows, which speaks for its nearest entry; and each next, so little that two second choices
do not outdo a first one."""

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
        hints: where nobody shows it, who comes nearest, the nearest first.
        describes: whether the next phrase follows at once.
        before: whether it is one that says what the place is, so that this one describes it.
        subject: whether it comes before the place, with what is to stand there.
        near: whether it only is like the entries of `hints`, and may be overlooked beside what is theirs.
        later: whether the prompt says something of the place before this part of it.
        what: what it is: a material and an attribute may be the subject's, a time is not a place of its own, and in a
            region there are many; a kind is another place for every word before it.
    """

    ranks: Mapping[int, int]
    length: int
    around: str
    weak: bool
    loose: bool
    shown: frozenset[int]
    hints: tuple[int, ...]
    describes: bool
    before: bool
    subject: bool
    near: bool
    later: bool
    what: Sort

    @property
    def denied(self) -> bool:
        """Whether no backdrop shows it."""
        return _NOBODY in self.ranks

    def fits(self, number: int) -> bool:
        """Whether the entry may serve a prompt that has this phrase."""
        return number in self.ranks or number in self.shown

    def speaks_for(self) -> Iterator[tuple[int, float]]:
        """The entries that it speaks for, the most fitting first, each with a share in (0, 1]."""
        yield from ((owner, 1.0) for owner in sorted(self.ranks, key=self.ranks.__getitem__) if owner != _NOBODY)
        yield from ((owner, _ABSENT * _LESS_NEAR**at) for at, owner in enumerate(self.hints))


class Index:
    """Finds the entry that serves a prompt. Threads may share one."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        tags = load_tags()
        self._entries = tuple(entries)
        names = {entry.name: number for number, entry in enumerate(self._entries)}
        self._phrases: dict[tuple[str, ...], dict[int, int]] = {}
        self._hints: dict[tuple[str, ...], tuple[int, ...]] = {}
        absent = [(name, group.nearest) for group in (*tags.absent, *tags.near) for name in group.names]
        self._near = frozenset(phrase(name) for group in tags.near for name in group.names)
        # A place that is only not installed is as absent as a beach.
        absent += [(tag, b.instead) for name, b in tags.backdrops.items() if name not in names for tag in b.tags]
        for denied, nearest in absent:
            self._phrases.setdefault(phrase(denied), {})[_NOBODY] = 0
            self._hints.setdefault(phrase(denied), tuple(names[each] for each in nearest if each in names))
        for number, entry in enumerate(self._entries):
            for rank, tag in enumerate(entry.tags):
                owners = self._phrases.setdefault(phrase(tag), {})
                owners.pop(_NOBODY, None)  # a tag of an entry is served, whatever the list of absent things says
                owners.setdefault(number, rank)
        self._phrases.pop((), None)
        self._studios = frozenset(names[kind] for kind in tags.studios if kind in names)
        self._shown: dict[tuple[str, ...], frozenset[int]] = {}
        for name, backdrop in tags.backdrops.items():
            for thing in backdrop.shows if name in names else ():
                self._shown[phrase(thing)] = self._shown.get(phrase(thing), frozenset()) | {names[name]}
        words = tags.kinds_of_words
        sorts: tuple[tuple[Sort, tuple[str, ...]], ...] = (
            ("time", words.times),
            ("region", words.regions),
            ("kind", words.kinds),
            ("attribute", words.attributes),
            ("material", words.materials),
        )
        self._sorts: dict[tuple[str, ...], Sort] = {phrase(word): sort for sort, each in sorts for word in each}
        self._weak = frozenset(phrase(word) for word in words.weak)
        self._lengths = sorted({len(tag) for tag in self._phrases}, reverse=True)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Everything that can be served."""
        return self._entries

    def best(self, prompt: str) -> Match | None:
        """The entry that serves the prompt, or None where none does. Only its first 1000 characters count."""
        clauses = read(prompt, _mended)
        if clauses is None:
            return None
        everything = self._spans(clauses)
        found = [span for span in everything if not span.near]
        spans = _of_the_place(found)
        firm = [span for span in spans if not span.loose and not span.denied]
        if any(span.denied and not span.shown for span in spans) or (not firm and any(span.denied for span in found)):
            return None
        if not firm or (len(firm) < len(spans) and all(span.weak for span in firm)):
            return None
        chosen = self._together(firm)
        if chosen is None or not all(span.fits(chosen) for span in spans if span.denied):
            return None
        likened = [span for span in everything if span.near and not (span.subject or span.later)]
        if not all(chosen in span.hints or span.fits(chosen) for span in likened):
            return None
        if all(span.weak for span in firm) and not self._knows_the_place(clauses):
            return None
        # "A pier at dawn", "a garden in Venice": whether the entry shows that is not known.
        if any(span.loose and not span.fits(chosen) for span in spans) or self._only_about(clauses, firm):
            return None
        return Match(self._entries[chosen].name, 1.0)

    def nearest(self, prompt: str, n: int = 3) -> list[Match]:
        """The n entries that come nearest to the prompt, the best first; fewer where few of its words are known.

        None of them need serve it. Scores are below 1. What is asked for first, and what the subject is on or in,
        counts most: "a table in a kitchen" is a table.
        """
        clauses = read(prompt, _mended)
        if clauses is None:
            return []
        spans = self._spans(clauses)
        placed = any(not span.subject for span in spans)
        if any(span.ranks.keys() == {_NOBODY} and not span.hints and not (span.subject and placed) for span in spans):
            return []  # what it asks for is like nothing here, whatever else it says
        scores: defaultdict[int, float] = defaultdict(float)
        for at, span in enumerate(spans):
            worth = _LATER if span.later else span.length
            worth *= _WEAK if span.weak or span.loose else 1
            worth *= _SUBJECT if span.subject and placed else 1
            worth *= _DESCRIBES if span.describes and span.what != "material" and not spans[at + 1].weak else 1
            worth *= _TIME if span.what == "time" else 1
            for owner, share in span.speaks_for():
                scores[owner] += worth * share
        # Where scores are equal, the entry that was named first.
        order = sorted(scores, key=lambda owner: -scores[owner])[:n]
        words = 1 + sum(len(clause.words) for clause in clauses)
        said = [[owner for owner, _ in span.speaks_for()] for span in spans if not (span.subject and placed)]
        return [
            Match(
                self._entries[owner].name,
                scores[owner] / words,
                tuple(self._entries[owners[0]].name for owners in said if owners and owner != owners[0]),
            )
            for owner in order
        ]

    def reads(self, prompt: str) -> bool:
        """Whether the prompt can be read: it is English and says something."""
        return read(prompt) is not None

    def names_no_place(self, prompt: str) -> bool:
        """Whether the prompt is English, names nothing absent, and puts the subject into nothing that is unknown."""
        clauses = read(prompt, _mended)
        if clauses is None or any(clause.within for clause in clauses):
            return False
        return not any(span.denied for span in self._spans(clauses))

    # phrases

    def _spans(self, clauses: Sequence[Clause]) -> list[_Span]:
        """The phrases in the prompt, longest first within a clause, none overlapping another."""
        if all(word in COLORS or word in SHADES for clause in clauses for word in clause.words):
            named = any(is_color(clause.words, at) for clause in clauses for at in range(len(clause.words)))
            clauses = (clause_of(("color", "background")),) if named else clauses
        spans: list[_Span] = []
        for clause in clauses:
            spans += self._spans_of(clause, later=any(not span.subject for span in spans))
        return spans

    def _spans_of(self, clause: Clause, *, later: bool) -> list[_Span]:
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
                    if not self._only_near(words[start : start + length], ranks):
                        starts.add(start)
        spans = []
        first: tuple[int, int] | None = None  # the part that says the place
        for start, length, ranks in sorted(found, key=lambda each: each[0]):
            last = start + length - 1
            head = clause.heads[last]
            loose = head is not None and not taken[last + 1] and not describes(head)
            around = " ".join(clause.all[clause.parts[start][0] : clause.parts[last][1]])
            tag = words[start : last + 1]
            what = self._sorts.get(tag, "place")
            subject = last < clause.subject and (not loose or head not in PLACE_NOUNS)
            # "A wooden table in a forest" is about the table, which is no subject.
            subject = subject and (loose or what != "place" or not ranks.keys() <= self._studios)
            first = first or (None if subject else clause.parts[start])
            spans.append(
                _Span(
                    ranks=ranks,
                    length=length,
                    around=around,
                    weak=tag in self._weak,
                    loose=loose,
                    shown=self._shown.get(tag, frozenset()),
                    hints=self._hints.get(tag, ()) if _NOBODY in ranks else (),
                    describes=head is not None and taken[last + 1],
                    before=head is not None and last + 1 in starts,
                    subject=subject,
                    near=self._only_near(tag, ranks),
                    later=later or (first is not None and clause.parts[start] != first),
                    what=what,
                )
            )
        return spans

    def _only_near(self, tag: tuple[str, ...], ranks: Mapping[int, int]) -> bool:
        return tag in self._near and ranks.keys() == {_NOBODY}

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

    def _only_about(self, clauses: Sequence[Clause], spans: Sequence[_Span]) -> bool:
        """Whether the phrases say when it is or in which region, and other words, which nobody knows, where."""
        firm = [span for span in spans if not span.weak and not span.around.endswith("sky")]
        if not firm or any(span.what not in ("time", "region") for span in firm):
            return False
        told = sum(not describes(word) for clause in clauses for word in clause.words)
        return told > sum(span.length for span in spans)

    def _knows_the_place(self, clauses: Sequence[Clause]) -> bool:
        """Whether the noun of every place is somebody's tag: asked where only weak words are known.

        "A storage building" is no city, though there are buildings in it.
        """
        places = [clause for clause in clauses if clause.noun]
        if not places or all(describes(word) for clause in places for word in clause.place.split()):
            return True
        return all((clause.noun,) in self._phrases for clause in places)


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
    if span.denied or following.what == "kind":
        return span.what == "region" and not span.denied
    return span.what == "region" or (span.what != "time" and following.what != "region")


def _names_it(span: _Span) -> bool:
    return not (span.denied or span.weak or span.loose or span.what == "time")


def _mended(word: str) -> str:
    """The word as it should have been written, where it is one slip away from a word of the tags."""
    return misspelt(word, _vocabulary())


@lru_cache(1)
def _vocabulary() -> frozenset[str]:
    """The words of all tags that ship with the package: those of packs are their owners', and may be any."""
    tags = load_tags()
    names = [tag for backdrop in tags.backdrops.values() for tag in backdrop.tags]
    names += [name for group in tags.absent for name in group.names]
    return frozenset(word for name in names for word in phrase(name))

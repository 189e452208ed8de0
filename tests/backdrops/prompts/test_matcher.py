from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.backdrops.prompts.prompts import (
    COMMON,
    DIRECTORY,
    ENTRIES,
    HELD_OUT,
    LAST,
    LATER,
    NOWHERE,
    REFUSED,
    SECOND,
    THIRD,
    UNSEEN,
    Case,
    encoder,
)

from mattebox.backdrops.prompts import matcher as finding
from mattebox.backdrops.prompts.matcher import Entry, Floats, Index, Match
from mattebox.backdrops.prompts.minilm import FILES, WIDTH, Encoder
from mattebox.backdrops.prompts.prompt_parser import color_in, misspelt
from mattebox.backdrops.prompts.tags import NOT_SERVED, SCENE_TAGS, STUDIO_TAGS, WEAK
from mattebox.errors import Kind, MatteboxError

REWORDINGS = (HELD_OUT, LATER, LAST, UNSEEN, SECOND, THIRD)
IDS = ("held out", "later", "last", "unseen", "second", "third")
FETCHED_LATER = ("construction", "courtyard", "garden", "hotel_room", "meadow_sunrise")
NAMES = frozenset(entry.name for entry in ENTRIES)


@pytest.fixture(scope="session")
def by_words() -> Index:
    return Index(ENTRIES, None)


@pytest.fixture(scope="session")
def by_both() -> Index:
    network = encoder()
    return Index(ENTRIES, network, knows=network.knows, cache=DIRECTORY)


def _judge(index: Index, cases: Sequence[Case]) -> tuple[int, int, list[str]]:
    """How many were served well, how many answers were right, and every wrong answer."""
    served = right = 0
    wrong: list[str] = []
    for prompt, names in cases:
        found = index.best(prompt)
        good = found is not None and names is not None and found.name in names
        served += good
        right += good or (found is None and names is None)
        if found is not None and not good:
            wrong.append(f"{prompt!r} was answered with {found}, not {names}")
    return served, right, wrong


def test_the_cases_are_what_they_say() -> None:
    assert tuple(map(len, (COMMON, *REWORDINGS))) == (80, 30, 30, 30, 40, 30, 30)
    known = {name for cases in (COMMON, *REWORDINGS) for _, names in cases for name in names or ()}
    assert known <= NAMES
    # Each entry is asked for by some common prompt.
    assert {name for _, names in COMMON for name in names or ()} == NAMES


# --- words alone ------------------------------------------------------------------------------------------------------


def test_common_prompts_by_words_alone(by_words: Index) -> None:
    served, _, wrong = _judge(by_words, COMMON)
    assert wrong == []
    assert served == 53


@pytest.mark.parametrize("cases", REWORDINGS, ids=IDS)
def test_rewordings_by_words_alone(by_words: Index, cases: Sequence[Case]) -> None:
    _, right, wrong = _judge(by_words, cases)
    assert wrong == []
    assert right >= 0.9 * len(cases)


@pytest.mark.parametrize("text", REFUSED)
def test_words_alone_know_when_to_refuse(by_words: Index, text: str) -> None:
    found = by_words.best(text)
    # Without the network nobody knows that a periodic table is none: only the plain word can be seen.
    assert found is None or text in {"movie star", "periodic table", "'; DROP TABLE users; --", "chocolate factory"}


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("<b>Warehouse</b>", "warehouse"),
        ("(warehouse:1.3), 8k --ar 16:9", "warehouse"),
        ("WAREHOUSES!!!", "warehouse"),
        ("ｗａｒｅｈｏｕｓｅ", "warehouse"),
        ("ware house 🏭", "warehouse"),
        ("empty&nbsp;warehouse", "warehouse"),
        ("photographer's studio", "studio_photo"),
        ("a forest under a blue sky", "forest"),
        ("not in a park but in a warehouse", "warehouse"),
        ("a warehouse, no people", "warehouse"),
        ("park instead of a city", "park"),
        ("white studio", "sweep"),
        ("plain pastel pink", "sweep"),
        ("navy", "sweep"),
        ("a white marble table", "marble"),
        ("red dress on a blue background", "sweep"),
        ("wooden table, studio lighting", "wood"),
        ("leather boots on a wooden table", "wood"),
        ("beach bag against a brick wall", "brick"),
        ("a sports car in a warehouse", "warehouse"),
        ("downtown between glass skyscrapers", "city"),
        ("a city park", "park"),
        ("a marble lobby", "lobby"),
        ("a band in an abandoned factory hall", "warehouse"),
        ("Venice at sunset by the water", "sunset"),
        ("shadow-free white background, copy space", "sweep"),
        ("brick wall, street style, shallow depth of field", "brick"),
    ],
)
def test_a_prompt_is_read_through_its_dress(by_words: Index, prompt: str, name: str) -> None:
    assert by_words.best(prompt) == Match(name, 1.0, "tag")


def test_the_longest_phrase_decides() -> None:
    index = Index([Entry("hall", ("hall",)), Entry("stairs", ("entrance hall",))], None)
    assert index.best("in the entrance hall") == Match("stairs", 1.0, "tag")
    assert index.best("in the hall") == Match("hall", 1.0, "tag")


def test_what_is_not_served_gives_way_to_an_entry_that_is_called_so() -> None:
    assert "swimming pool" in NOT_SERVED
    assert Index([Entry("park", ("park",))], None).best("park with a swimming pool") is None
    index = Index([Entry("pool", ("swimming pool",))], None)
    assert index.best("swimming pool") == Match("pool", 1.0, "tag")


@pytest.mark.parametrize(
    "prompt",
    [
        "a beach house in a forest",
        "silk on marble steps by the sea",
        "a wooden table with leather",
        "cottage in Venice",
        "laboratory hall",
    ],
)
def test_only_the_subject_is_overlooked(by_words: Index, prompt: str) -> None:
    assert by_words.best(prompt) is None


@pytest.mark.parametrize(
    ("word", "mended"),
    [("tabel", "table"), ("japanse", "japanese"), ("forst", "forst"), ("table", "table"), ("hanger", "hanger")],
)
def test_a_slip_is_put_right(word: str, mended: str) -> None:
    assert misspelt(word, {"table", "japanese", "frost", "forest", "hangar"}) == mended


def test_two_places_at_once_are_neither() -> None:
    index = Index([Entry("forest", ("forest",)), Entry("city", ("city",))], None)
    assert index.best("a forest and a city") is None
    both = Index([Entry("forest", ("forest",)), Entry("both", ("city", "forest"))], None)
    assert both.best("a forest and a city") == Match("both", 1.0, "tag")


def test_only_the_first_thousand_characters_count(by_words: Index) -> None:
    assert by_words.best("word " * 200 + "warehouse") is None
    assert by_words.best("warehouse" + ", really" * 2000) == Match("warehouse", 1.0, "tag")


@pytest.mark.parametrize("text", ["warehouse " * 1000, "<" * 10_000, "((((" * 2500, "no " * 3333, "ﷺ" * 10_000])
def test_a_long_prompt_is_quick(by_words: Index, text: str) -> None:
    before = time.process_time()
    by_words.best(text)
    by_words.nearest(text)
    assert time.process_time() - before < 0.5


@given(st.text(max_size=300))
def test_any_text_is_answered(text: str) -> None:
    index = Index((Entry("a", ("forest", "coloured background")),), None)
    found = index.best(text)
    assert found is None or found.name == "a"
    assert len(index.nearest(text)) <= 1
    color_in(text)


def test_nothing_to_serve() -> None:
    index = Index((), None)
    assert index.best("forest") is None
    assert index.nearest("forest") == []


def test_the_nearest_by_words(by_words: Index) -> None:
    near = by_words.nearest("rustic oak table near a forest")
    assert 0 < len(near) <= 3
    assert "forest" in {match.name for match in near}
    assert [match.score for match in near] == sorted((match.score for match in near), reverse=True)
    assert by_words.nearest("森") == []


@pytest.mark.parametrize(
    ("prompt", "color"),
    [
        ("plain pastel pink", "pastel pink"),
        ("a Light Grey studio backdrop", "light gray"),
        ("navy", "navy"),
        ("solid mint green backdrop", "mint green"),
        ("rose background", "rose"),
        ("a rose on a table", None),
        ("off-white seamless", "off white"),
        ("no red, but blue paper", "blue"),
        ("in a warehouse", None),
        ("", None),
        ("红色", None),
    ],
)
def test_the_colour_in_a_prompt(prompt: str, color: str | None) -> None:
    assert color_in(prompt) == color


def test_the_tags_can_be_found() -> None:
    """No tag is empty, and none is shadowed by an idea that is not served unless it is meant to be."""
    index = Index(ENTRIES, None)
    for name, tags in {**SCENE_TAGS, **STUDIO_TAGS}.items():
        assert len(set(tags)) == len(tags), name
        for tag in tags:
            assert index.best(tag) is not None, f"{name}: {tag}"
    offered = {tag for entry in ENTRIES for tag in entry.tags}
    assert set(WEAK) <= offered
    assert len(set(NOT_SERVED)) == len(NOT_SERVED)


def test_the_first_tag_is_the_entry_s_own() -> None:
    index = Index(ENTRIES, None)
    for entry in ENTRIES:
        found = index.best(entry.tags[0])
        assert found is not None
        assert found.name == entry.name or {found.name, entry.name} == {"sunrise", "meadow_sunrise"}


# --- the network's part, with vectors made by hand --------------------------------------------------------------------


def _letters(texts: Sequence[str]) -> Floats:
    """Vectors of which letters a text has: enough of a meaning for what is tested here."""
    counts = np.zeros((len(texts), 26), np.float32)
    for row, text in zip(counts, texts, strict=True):
        for letter in text.lower():
            if "a" <= letter <= "z":
                row[ord(letter) - ord("a")] += 1
    counts += np.float32(1e-6)
    unit: Floats = counts / np.linalg.norm(counts, axis=1, keepdims=True)
    return unit


def test_vectors_are_made_once_and_kept(tmp_path: Path) -> None:
    asked: list[int] = []

    def embed(texts: Sequence[str]) -> Floats:
        asked.append(len(texts))
        return _letters(texts)

    entries = (Entry("a", ("quixotic zigzag",)),)
    index = Index(entries, embed, cache=tmp_path)
    assert asked == []
    index.prepare()
    everything = asked[0]
    assert everything > 1
    found = index.best("zigzag quixotic")
    assert found is not None
    assert (found.name, found.by) == ("a", "meaning")
    assert found.score == pytest.approx(1, abs=1e-5)
    Index(entries, embed, cache=tmp_path).prepare()
    assert asked.count(everything) == 1
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"\x93NUMPY broken")
    again = Index(entries, embed, cache=tmp_path)
    assert again.best("zigzag quixotic") is not None
    assert asked.count(everything) == 2
    Index((Entry("b", ("jacquard zephyr",)),), embed, cache=tmp_path).prepare()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    index = Index((Entry("a", ("quixotic zigzag",)),), _letters, cache=tmp_path / "missing")
    assert index.best("zigzag quixotic") is not None


def test_whoever_may_read_files_may_read_the_cache(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        Index((Entry("a", ("quixotic zigzag",)),), _letters, cache=tmp_path).prepare()
    finally:
        os.umask(before)
    (kept,) = tmp_path.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o644


def test_threads_share_an_index() -> None:
    calls: list[int] = []

    def embed(texts: Sequence[str]) -> Floats:
        if len(texts) > 1:
            calls.append(len(texts))
            time.sleep(0.02)
        return _letters(texts)

    index = Index((Entry("a", ("quixotic zigzag",)),), embed)
    found: list[Match | None] = []
    threads = [threading.Thread(target=lambda: found.append(index.best("zigzag quixotic"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert {match.name for match in found if match is not None} == {"a"}
    assert None not in found


def test_words_that_nobody_knows_have_no_meaning() -> None:
    index = Index((Entry("a", ("quixotic zigzag",)),), _letters, knows=lambda _word: False)
    assert index.best("zigzag quixotic") is None


# --- the real network -------------------------------------------------------------------------------------------------


@pytest.mark.model
def test_common_prompts(by_both: Index) -> None:
    served, _, wrong = _judge(by_both, COMMON)
    assert wrong == []
    assert served == 53


@pytest.mark.model
@pytest.mark.parametrize("cases", REWORDINGS, ids=IDS)
def test_rewordings(by_both: Index, cases: Sequence[Case]) -> None:
    _, right, wrong = _judge(by_both, cases)
    assert wrong == []
    assert right >= len(cases) - 1


@pytest.mark.model
def test_subjects_in_places_that_are_not_there(by_both: Index) -> None:
    _, _, wrong = _judge(by_both, NOWHERE)
    assert wrong == []


@pytest.mark.model
def test_a_place_that_is_not_installed_is_not_mistaken_for_another() -> None:
    network = encoder()
    entries = [entry for entry in ENTRIES if entry.name not in FETCHED_LATER]
    for index in (Index(entries, network, knows=network.knows, cache=DIRECTORY), Index(entries, None)):
        for cases in (COMMON, *REWORDINGS):
            assert _judge(index, cases)[2] == []


@pytest.mark.model
@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("lamp in a forrest", "forest"),
        ("in a huge wharehouse", "warehouse"),
        ("mug on a wooden tabel", "wood"),
        ("dress on a hanger", None),
        ("fox among spruces", "forest"),
        ("perfume in a vast unoccupied storage building", "warehouse"),
    ],
)
def test_slips_and_unusual_names(by_both: Index, prompt: str, name: str | None) -> None:
    found = by_both.best(prompt)
    assert (found and found.name) == name


@pytest.mark.model
@pytest.mark.parametrize("text", REFUSED)
def test_refused(by_both: Index, text: str) -> None:
    assert by_both.best(text) is None


@pytest.mark.model
def test_meanings_that_no_tag_names(by_both: Index) -> None:
    found = by_both.best("St. Mark's Square")
    assert found is not None
    assert (found.name, found.by) == ("piazza", "meaning")
    assert finding.THRESHOLD <= found.score < 1


@pytest.mark.model
def test_the_nearest(by_both: Index) -> None:
    near = by_both.nearest("a supermarket")
    assert len(near) == 3
    assert [match.score for match in near] == sorted((match.score for match in near), reverse=True)
    assert {match.name for match in near} & {"esplanade", "warehouse"}
    assert by_both.nearest("在仓库里") == []


@pytest.mark.model
def test_the_network_s_vectors() -> None:
    network = encoder()
    texts = ["a wooden table", "table made of oak wood", "spaceship", "wooden " * 500, ""]
    vectors = network(texts)
    assert vectors.shape == (5, WIDTH)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.6
    assert vectors[0] @ vectors[2] < 0.3
    # Company in the batch, and the padding that comes with it, change nothing.
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(network([text])[0], vector, atol=1e-5)
    assert network([]).shape == (0, WIDTH)
    assert network.knows("table")
    assert not network.knows("holztisch")


def test_an_incomplete_network_says_so(tmp_path: Path) -> None:
    with pytest.raises(MatteboxError, match=r"config\.json") as caught:
        Encoder.load(tmp_path)
    assert caught.value.kind is Kind.UNAVAILABLE
    for name in FILES:
        (tmp_path / name).write_text("{}")
    with pytest.raises(MatteboxError, match="cannot be read") as caught:
        Encoder.load(tmp_path)
    assert caught.value.kind is Kind.UNAVAILABLE

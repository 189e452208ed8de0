"""Plain English: phrases that a native speaker would not write, and words that another one has replaced."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PHRASES = (
    r"\bgoes not\b",
    r"\bsays nothing without\b",
    r"\b(?:there )?is no such\b",
    r"\bthat there (?:is|are) not\b",
    r"\bis no (?:address|colour|edit|folder|format|length|margin|model|number|option|parameter|picture|place|ratio)\b",
    r"\bno good\b",
    r"\bfor whom\b",
)
WORDS = (
    r"\bfront doors?\b",
    r"\bturnstiles?\b",
    r"\bupkeep\b",
    r"\brooms\(",
    r"\bvisit\(",
    r"\b(?:Door|Rooms|Visit|Turnstile)\b",
    r"\b_(?:insist|patiently|bury)\b",
    r"\bsign_off\b",
)
FILES = [
    *(ROOT / "src").rglob("*.py"),
    *(file for file in (ROOT / "docs").rglob("*.md") if "decisions" not in file.parts),
    *ROOT.glob("*.md"),
]


@cache
def text_of(file: Path) -> str:
    return file.read_text("utf-8")


@pytest.mark.parametrize("pattern", [*PHRASES, *WORDS])
def test_banned_words_stay_out(pattern: str) -> None:
    words = re.compile(pattern, 0 if pattern[2:3].isupper() or "(?:Door" in pattern else re.IGNORECASE)
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in FILES
        if words.search(text_of(file))
        for number, line in enumerate(text_of(file).splitlines(), 1)
        if words.search(line)
    ]
    assert found == []


def test_docstrings_name_the_thing() -> None:
    starts = re.compile(r'^\s*"""(?:What|Who|Where)\b', re.MULTILINE)
    code = [file for file in FILES if file.suffix == ".py"]
    found = [str(file.relative_to(ROOT)) for file in code if starts.search(text_of(file))]
    assert found == []

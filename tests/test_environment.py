from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

import mattebox
from mattebox import environment
from mattebox.errors import Kind, MatteboxError


@dataclass(frozen=True, kw_only=True)
class Knobs:
    name: str = "none"
    most: int = 3
    share: float = 0.5
    loud: bool = False
    folder: Path | None = None
    words: tuple[str, ...] = ("one",)

    def __post_init__(self) -> None:
        if self.most < 0:
            raise ValueError("most must not be negative")


def test_each_type_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"NAME": "a b", "MOST": "7", "SHARE": "1e-3", "LOUD": "yes", "FOLDER": "~/x", "WORDS": " a, b c ,,"}
    for name, text in texts.items():
        monkeypatch.setenv(f"MATTEBOX_KNOBS_{name}", text)
    expected = Knobs(name="a b", most=7, share=0.001, loud=True, folder=Path.home() / "x", words=("a", "b c"))
    assert environment.read(Knobs, "knobs") == expected


def test_what_is_not_set_or_empty_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.read(Knobs, "knobs") == Knobs()
    monkeypatch.setenv("MATTEBOX_KNOBS_MOST", "")
    monkeypatch.setenv("mattebox_knobs_name", "small letters will do")
    assert environment.read(Knobs, "knobs") == Knobs(name="small letters will do")


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("MATTEBOX_KNOBS_MOST", "many", "MATTEBOX_KNOBS_MOST: Input should be a valid integer"),
        ("MATTEBOX_KNOBS_MOST", "-1", "MATTEBOX_KNOBS: most must not be negative"),
        ("MATTEBOX_KNOBS_LOUD", "perhaps", "MATTEBOX_KNOBS_LOUD: Input should be a valid boolean"),
    ],
)
def test_a_wrong_value_is_named_by_its_variable(
    variable: str, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(MatteboxError) as caught:
        environment.read(Knobs, "knobs")
    assert caught.value.kind is Kind.INVALID_PARAMETER
    assert said in caught.value.message


def test_the_library_reads_its_own_part_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATTEBOX_TASKS_LEASE", "never")
    monkeypatch.setenv("MATTEBOX_LIMITS_MAX_PIXELS", "many")
    monkeypatch.setenv("MATTEBOX_MODELS_THREADS", "2")
    monkeypatch.setenv("MATTEBOX_BACKDROPS_TIMEOUT", "7.5")
    assert mattebox.model_options().threads == 2
    assert mattebox.backdrop_options().timeout == 7.5


def test_a_device_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATTEBOX_MODELS_DEVICE", "gpu")
    with pytest.raises(MatteboxError, match="MATTEBOX_MODELS_DEVICE: unknown device 'gpu'; choose one of auto, cpu"):
        mattebox.model_options()

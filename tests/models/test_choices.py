from __future__ import annotations

import pytest

from mattebox.models import choices, memory, onnx_runtime
from mattebox.models.catalogue import CATALOGUE, DEFAULT, Choice, members
from mattebox.models.memory import Machine

GB = 1_000_000_000
CHOICES = [row for row in CATALOGUE.values() if isinstance(row, Choice)]


def test_the_names_for_people_are_there() -> None:
    assert {row.name for row in CHOICES} | {DEFAULT} == {"fast", "auto", "best", "portrait", "hair"}


@pytest.mark.parametrize("row", CHOICES, ids=lambda row: row.name)
def test_a_choice_is_among_networks_that_anybody_may_use_and_can_fetch(row: Choice) -> None:
    for name in row.candidates:
        network = choices.resolve(CATALOGUE[name], Machine(None))
        assert network is CATALOGUE[name]
        for member in members(network):
            assert member.commercial
            assert member.sources


@pytest.mark.parametrize("row", CHOICES, ids=lambda row: row.name)
def test_the_last_candidate_runs_on_a_small_machine(row: Choice) -> None:
    last = choices.resolve(row, Machine(1))
    assert last.name == row.candidates[-1]
    assert sum(member.memory for member in members(last)) < 2 * GB


@pytest.mark.parametrize(
    ("name", "here", "expected"),
    [
        ("best", Machine(80 * GB, gpu=True), "birefnet-hr"),
        ("best", Machine(16 * GB, gpu=True), "birefnet-general"),
        ("best", Machine(128 * GB), "birefnet-general"),
        ("best", Machine(10 * GB), "birefnet-lite"),
        ("best", Machine(8 * GB), "auto"),
        ("best", Machine(None), "birefnet-general"),
        ("portrait", Machine(16 * GB), "birefnet-portrait"),
        ("portrait", Machine(8 * GB), "modnet-photographic"),
        ("hair", Machine(80 * GB, gpu=True), "birefnet-hr-matting"),
        ("hair", Machine(16 * GB), "birefnet-matting"),
        ("hair", Machine(4 * GB), "auto"),
        ("fast", Machine(80 * GB, gpu=True), "u2netp"),
        ("auto", Machine(80 * GB, gpu=True), "auto"),
        ("u2net", Machine(1), "u2net"),
    ],
)
def test_a_name_stands_for_what_the_machine_holds(name: str, here: Machine, expected: str) -> None:
    assert choices.resolve(CATALOGUE[name], here) is CATALOGUE[expected]


def test_it_says_which() -> None:
    best = CATALOGUE["best"]
    assert isinstance(best, Choice)
    assert choices.explain(best, Machine(10 * GB)) == (
        "best is birefnet-lite here: the processor with 10.0 GB of memory."
    )
    assert choices.explain(best, Machine(80 * GB, gpu=True)) == (
        "best is birefnet-hr here: an NVIDIA GPU with 80.0 GB of memory."
    )


@pytest.mark.parametrize(
    ("device", "offered", "gpu", "expected"),
    [
        ("auto", True, 24 * GB, Machine(24 * GB, gpu=True)),
        ("auto", True, None, Machine(8 * GB)),  # the package is installed, and there is no GPU
        ("auto", False, 24 * GB, Machine(8 * GB)),
        ("cpu", True, 24 * GB, Machine(8 * GB)),
        ("cuda", False, 24 * GB, Machine(24 * GB, gpu=True)),
        ("tensorrt", False, 24 * GB, Machine(24 * GB, gpu=True)),
        ("openvino:GPU", True, 24 * GB, Machine(8 * GB)),
    ],
)
def test_the_machine_is_what_the_device_means(
    device: str, offered: bool, gpu: int | None, expected: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_runtime, "offered_providers", lambda: ["CUDAExecutionProvider"] if offered else [])
    monkeypatch.setattr(memory, "gpu_total", lambda: gpu)
    monkeypatch.setattr(memory, "total", lambda: 8 * GB)
    assert choices.machine(device) == expected

"""The network for clicks: where it is found, and what the real one answers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from mattebox import Corrections, Engine, Point, codec, matting, remove_background, samples
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB
from mattebox.models import ModelOptions, Models, memory, weights
from mattebox.models.catalogue import CLICKS
from mattebox.models.promptable import Sam2

SAMPLES: dict[str, Callable[[], RGB]] = {"astronaut": skimage.data.astronaut, "cat": skimage.data.chelsea}
FILES = (CLICKS.encoder, CLICKS.decoder)
GREY = np.full((32, 32, 3), 128, np.uint8)


def put(directory: Path, *contents: bytes) -> None:
    for row, content in zip(FILES, contents, strict=False):
        weights.path(row, directory).write_bytes(content)


def test_without_its_files_or_its_runtime_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models(ModelOptions(directory=tmp_path))
    assert models.promptable() is None
    put(tmp_path, b"x")
    assert models.promptable() is None
    put(tmp_path, b"x", b"y")
    assert models.promptable() is not None
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert models.promptable() is None


def test_a_damaged_file_is_an_error_and_no_reason_for_the_other_way(tmp_path: Path) -> None:
    put(tmp_path, b"x", b"y")
    network = Models(ModelOptions(directory=tmp_path)).promptable()
    assert network is not None
    with pytest.raises(MatteboxError, match="is damaged; `mattebox models pull clicks` fetches it") as caught:
        network.embed(GREY)
    assert (caught.value.kind, caught.value.parameter) == (Kind.UNAVAILABLE, "corrections")


def test_the_files_are_checked_packages_of_a_pinned_version() -> None:
    for row in FILES:
        assert row.sha256 is not None
        assert len(row.sha256) == 64
        assert row.bytes
        assert row.sources


# --- the real one ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models() -> Models:
    options = ModelOptions()
    for row in FILES:
        weights.pull(row, directory=options.directory or weights.default_directory())
    return Models(options)


@pytest.fixture(scope="module")
def two() -> RGB:
    """A cat beside the mug, so that there are two subjects that do not touch."""
    cat: RGB = SAMPLES["cat"]()[:, 60:410]
    mug = samples.make_photo(width=350, height=300)
    return np.hstack([cat, mug])


@pytest.mark.model
def test_too_little_memory_is_said(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free", lambda: 900_000_000)
    with pytest.raises(MatteboxError, match=r"need about 1\.3 GB of memory, and 0\.9 GB are free") as caught:
        Sam2(models.directory).embed(GREY)
    assert (caught.value.kind, caught.value.parameter) == (Kind.UNAVAILABLE, "corrections")


@pytest.mark.model
def test_a_click_finds_a_person_and_a_click_elsewhere_does_not(models: Models) -> None:
    network = models.promptable()
    assert network is not None
    seen = network.embed(SAMPLES["astronaut"]())
    assert sum(each.nbytes for each in seen) == 16 * 2**20
    masks, scores = network.ask(seen, [(0.42, 0.75, True)])
    assert masks.shape == (3, 256, 256)
    assert scores.shape == (3,)
    assert float(scores.max()) > 0.7
    suit = masks[int(scores.argmax())] > 0
    assert suit[200, 100]  # on the suit
    assert not suit[10:60, 5:60].any()  # the flag
    masks, scores = network.ask(seen, [], (0.03, 0.0, 0.9, 1.0))
    person = masks[int(scores.argmax())] > 0
    assert person[[45, 200], [115, 100]].all()  # face and suit


@pytest.mark.model
def test_the_second_of_two_subjects_is_cut_out(models: Models, two: RGB) -> None:
    engine = Engine(models)
    mug = Corrections(points=(Point(x=0.68, y=0.6),))
    cutout = remove_background(two, corrections=mug, engine=engine)
    assert cutout.chosen_by == "network"
    assert cutout.alpha[180, 476] > matting.OPAQUE
    assert float(cutout.alpha[:, :300].mean()) < 0.01
    cat = remove_background(two, corrections=Corrections(points=(Point(x=0.2, y=0.5),)), engine=engine)
    assert float(cat.alpha[100:200, 60:200].mean()) > 0.98
    assert float(cat.alpha[:, 400:].mean()) < 0.01


@pytest.mark.model
def test_a_photo_of_any_size_is_answered(models: Models) -> None:
    engine = Engine(models)
    on = Corrections(points=(Point(x=0.4, y=0.6), Point(x=0.02, y=0.02, keep=False)), box=(0.1, 0.1, 0.9, 1.0))
    for size in ((1, 1), (3, 700), (1600, 1200)):
        photo = samples.make_photo(width=size[0], height=size[1])
        cutout = remove_background(codec.from_array(photo).rgb, corrections=on, engine=engine)
        assert cutout.alpha.shape == size[::-1]
        assert cutout.chosen_by == "network"
        assert np.isfinite(cutout.alpha).all()
        assert 0 <= float(cutout.alpha.min()) <= float(cutout.alpha.max()) <= 1

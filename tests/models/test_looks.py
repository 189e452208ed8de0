"""How often the networks of an ensemble look, and an edge that is drawn anew."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from tests.models.installed import PHOTO, installed, models, variant

from mattebox.image import Alpha
from mattebox.models import (
    EnsembleSegmenter,
    ModelOptions,
    Models,
    families,
    runtimes,
    weights,
)
from mattebox.models.catalogue import Ensemble, Row


@dataclasses.dataclass
class Looks:
    """Networks that answer with given alphas, in the place of `auto`'s, and remember what they were shown."""

    answers: dict[int, list[npt.NDArray[np.float32]]]
    shown: list[families.Batch] = dataclasses.field(default_factory=list)
    where = "memory"
    size = None
    batch = 1

    def __call__(self, batch: families.Batch) -> npt.NDArray[np.float32]:
        self.shown.append(batch)
        return self.answers[batch.shape[-1]].pop(0)[np.newaxis]


def seen_by_auto(looks: Looks, photo: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> tuple[Alpha, float]:
    monkeypatch.setattr(runtimes, "open_network", lambda *_, **__: looks)
    auto = Models(ModelOptions(device="cpu", threads=1)).segmenter("auto")
    assert isinstance(auto, EnsembleSegmenter)
    found = auto.look(photo)
    assert not any(looks.answers.values())  # every look was taken
    return found


def bar(side: int, start: float, end: float) -> npt.NDArray[np.float32]:
    """An upright bar between two fractions of the width."""
    alpha = np.zeros((side, side), np.float32)
    alpha[side // 4 : side // 4 * 3, round(start * side) : round(end * side)] = 1
    return alpha


def test_where_the_two_networks_agree_each_looks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from mattebox import matting

    detail, core = bar(1024, 0.3, 0.6), bar(320, 0.3, 0.6)
    alpha, support = seen_by_auto(Looks({1024: [detail], 320: [core]}), PHOTO, monkeypatch)
    np.testing.assert_array_equal(alpha, matting.fuse(detail, core))
    assert support > 0.98
    assert not isinstance(Models().segmenter("u2netp"), EnsembleSegmenter)  # a single network bears nothing out


def test_where_they_disagree_the_core_is_looked_for_in_the_mirrored_photo_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from mattebox import matting

    detail, core, mirrored = bar(1024, 0.2, 0.5), bar(320, 0.2, 0.5), bar(320, 0.2, 0.8)
    detail = np.maximum(detail, np.float32(0.03))  # it sees a little everywhere
    assert matting.DOUBTED < matting.agreement(detail, core) < matting.AGREED
    looks = Looks({1024: [detail], 320: [core, mirrored[:, ::-1]]})
    square = np.ascontiguousarray(np.resize(PHOTO, (320, 320, 3)))  # resizing is not quite the same mirrored
    alpha, support = seen_by_auto(looks, square, monkeypatch)
    np.testing.assert_array_equal(alpha, matting.fuse(detail, mirrored))
    assert alpha[512, 700] == 1  # which the first look did not see
    assert support == matting.support(alpha, detail, mirrored)
    assert 0 < support < 1
    np.testing.assert_array_equal(looks.shown[2], looks.shown[1][..., ::-1])


def test_where_the_detail_sees_nothing_both_looks_have_to_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    core, mirrored = bar(320, 0.2, 0.7), bar(320, 0.27, 0.9)
    alpha, _ = seen_by_auto(Looks({1024: [bar(1024, 0.2, 0.63)], 320: [core, mirrored[:, ::-1]]}), PHOTO, monkeypatch)
    assert (alpha[512, [240, 460, 690, 800]] > 0.5).tolist() == [True, True, True, False]


def framed(alpha: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The alpha as a network draws it for the photo in its frame: in the middle, at four fifths of the size."""
    whole = np.zeros_like(alpha)
    side = len(alpha) // 10
    whole[side:-side, side:-side] = cv2.resize(alpha, (8 * side, 8 * side), interpolation=cv2.INTER_AREA)
    return whole


def test_where_they_disagree_much_the_photo_is_looked_at_in_a_frame_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the detail sees something, what any look saw counts, and elsewhere what two of the three saw."""
    from mattebox import matting

    detail = bar(1024, 0.2, 0.4)
    first, mirrored, third = bar(320, 0.2, 0.6), bar(320, 0.2, 0.3), bar(320, 0.4, 0.9)
    looks = Looks({1024: [detail], 320: [first, mirrored[:, ::-1], framed(third)]})
    photo = np.ascontiguousarray(np.resize(PHOTO, (256, 256, 3)))
    alpha, support = seen_by_auto(looks, photo, monkeypatch)
    assert (alpha[512, [250, 350, 500, 800]] > 0.5).tolist() == [True, True, True, False]
    assert support == pytest.approx(matting.support(alpha, detail, bar(320, 0.2, 0.6)), abs=0.02)
    inside = looks.shown[3][..., 32:-32, 32:-32]  # a photo of this size is as large in the frame as it is
    np.testing.assert_allclose(inside, families.prepare(photo, variant("u2netp"), (256, 256)), atol=1e-5)
    np.testing.assert_array_equal(looks.shown[3][..., :32, 32:-32], inside[..., 32:0:-1, :])  # it is its reflection


def test_a_third_look_takes_no_subject_away(monkeypatch: pytest.MonkeyPatch) -> None:
    from mattebox import matting

    unsure, core = 0.4 * bar(1024, 0, 1), 0.7 * bar(320, 0.2, 0.3)
    haze = np.maximum(0.3 * bar(320, 0, 1), core)
    assert matting.has_subject(unsure, core)
    assert not matting.has_subject(unsure, matting.merge(unsure, core, core, haze))
    alpha, _ = seen_by_auto(Looks({1024: [unsure], 320: [core, core[:, ::-1], framed(haze)]}), PHOTO, monkeypatch)
    np.testing.assert_array_equal(alpha, matting.fuse(unsure, core))
    assert alpha.any()


def test_what_only_one_of_two_looks_takes_for_a_subject_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    unsure, core, nothing = 0.6 * bar(1024, 0.2, 0.4), bar(320, 0.3, 0.6), np.zeros((320, 320), np.float32)
    alpha, _ = seen_by_auto(Looks({1024: [unsure], 320: [core, nothing]}), PHOTO, monkeypatch)
    assert not alpha.any()


def test_an_empty_scene_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = np.full((1024, 1024), 0.2, np.float32)
    cloud[:, :400] = 0.4
    alpha, _ = seen_by_auto(Looks({1024: [cloud], 320: [cloud[:320, 300:620]]}), PHOTO, monkeypatch)
    assert not alpha.any()


def sketch(directory: Path, *, fill: float) -> Row:
    """A network that sees a subject in the middle of every photo, as far as `fill` goes."""
    from onnx import TensorProto, helper, numpy_helper

    plane = np.zeros((1, 1, 320, 320), np.float32)
    plane[..., 80:240, 80:240] = fill
    nodes = [
        helper.make_node("ReduceMean", ["photo"], ["mean"], axes=[1]),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "plane"], ["alpha"]),
    ]
    values = {"plane": plane, "nothing": np.zeros(1, np.float32)}
    graph = helper.make_graph(
        nodes,
        "sketch",
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, [1, 3, 320, 320])],
        [helper.make_tensor_value_info("alpha", TensorProto.FLOAT, [1, 1, 320, 320])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    row = dataclasses.replace(
        variant("u2netp"), name="sketch", sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), sources=()
    )
    weights.path(row, directory).write_bytes(content)
    return row


def test_an_edge_is_drawn_anew_and_the_rest_stays(tmp_path: Path) -> None:
    rough = sketch(tmp_path, fill=1.0)
    edge = dataclasses.replace(installed("vitmatte-small", tmp_path), rough=rough.name)
    warm = models(tmp_path, rough, edge)
    alpha = warm.segmenter(edge.name)(PHOTO)
    assert alpha.shape == (1024, 1024)
    known = families.trimap(warm.segmenter(rough.name)(PHOTO), (1024, 1024))
    np.testing.assert_array_equal(alpha[known == 0], 0)
    np.testing.assert_array_equal(alpha[known == 1], 1)
    network = runtimes.open_network(lambda: weights.path(edge, tmp_path), device="cpu", threads=1)
    drawn = families.read_alpha(network(families.prepare(PHOTO, edge, (1024, 1024), known))[0], edge)
    np.testing.assert_array_equal(alpha[known == 0.5], drawn[known == 0.5])
    assert 0.01 < (known == 0.5).mean() < 0.2
    own = warm.segmenter(f"{edge.name}:{weights.path(edge, tmp_path)}")(PHOTO)
    np.testing.assert_array_equal(own, alpha)


def test_no_edge_is_drawn_where_there_is_no_subject(tmp_path: Path) -> None:
    rough = sketch(tmp_path, fill=0.0)
    edge = dataclasses.replace(installed("vitmatte-small", tmp_path), rough=rough.name)
    assert models(tmp_path, rough, edge).segmenter(edge.name)(PHOTO).max() == 0


def test_what_refines_an_ensemble_says_how_far_its_networks_agree(tmp_path: Path) -> None:
    detail, core = sketch(tmp_path, fill=1.0), installed("u2net", tmp_path)
    auto = Ensemble(name="auto", detail=detail.name, core=core.name, note="Both.")
    edge = installed("vitmatte-small", tmp_path)
    warm = models(tmp_path, auto, detail, core, edge)
    ensemble, refined = warm.segmenter("auto"), warm.segmenter(edge.name)
    assert isinstance(ensemble, EnsembleSegmenter)
    assert isinstance(refined, EnsembleSegmenter)
    assert refined.look(PHOTO)[1] == ensemble.look(PHOTO)[1] < 1
    weights.path(core, tmp_path).unlink()
    assert not models(tmp_path, auto, detail, core, edge).installed(edge.name)

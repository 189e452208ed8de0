from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper
from tests.models.networks import tiny_model

from networks import widened

Floats: TypeAlias = npt.NDArray[np.float32]


def answers(model: onnx.ModelProto, photos: Floats) -> list[Floats]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[Floats] = session.run(None, {session.get_inputs()[0].name: photos})
    return found


def test_a_widened_network_computes_in_float32(tmp_path: Path) -> None:
    half = tiny_model(side=12, logits=False, dtype=np.float16, answer=np.float16)
    onnx.save(half, tmp_path / "half.onnx")
    wide = widened(tmp_path / "half.onnx")
    onnx.checker.check_model(wide)
    assert not [each for each in wide.graph.initializer if each.data_type == TensorProto.FLOAT16]
    photo = np.random.default_rng(2).random((1, 3, 12, 12), dtype=np.float32)
    alpha = answers(wide, photo)[0]
    assert alpha.dtype == np.float32
    np.testing.assert_allclose(alpha, answers(half, photo)[0].astype(np.float32), atol=2e-3)
    kernel, bias = (numpy_helper.to_array(each) for each in half.graph.initializer[:2])
    np.testing.assert_array_equal(numpy_helper.to_array(wide.graph.initializer[0]), kernel.astype(np.float32))
    np.testing.assert_array_equal(numpy_helper.to_array(wide.graph.initializer[1]), bias.astype(np.float32))

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mattebox.backdrops.generators import painting
from mattebox.image import Image

# --- painting ---------------------------------------------------------------------------------------------------------

SIDES = st.integers(1, 20_000)


@given(width=SIDES, height=SIDES, multiple=st.sampled_from([8, 16, 32, 64]))
def test_working_sizes(width: int, height: int, multiple: int) -> None:
    across, down = painting.working_size(width, height, multiple=multiple)
    assert across % multiple == down % multiple == 0
    assert min(across, down) >= multiple
    assert max(across, down) <= 2048
    assert across * down <= 4_194_304
    if 1 / 8 < width / height < 8:
        assert across * down > 450_000
        assert abs(across / down - width / height) / (width / height) < 2 * multiple / min(across, down)


@given(width=SIDES, height=SIDES)
def test_working_sizes_never_exceed_the_most(width: int, height: int) -> None:
    across, down = painting.working_size(width, height, least=1_048_576, most=1_048_576)
    assert across * down <= 1_048_576


def test_the_soft_edge_is_painted() -> None:
    alpha = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[None], 16, axis=0)
    rgb = np.full((16, 256, 3), 255, np.uint8)
    sketch = painting.sketch(Image(rgb=rgb, alpha=alpha), (256, 16))
    assert (sketch.keep == (alpha >= 0.98)).all()
    assert np.abs(sketch.rgb[..., 0] - (128 + 127 * alpha)).max() <= 1


def test_an_opaque_cutout_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="alpha"):
        painting.sketch(Image(rgb=np.zeros((4, 4, 3), np.uint8)), (16, 16))


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_light(color: tuple[int, int, int]) -> None:
    light = painting.light_of(np.full((40, 30, 3), color, np.uint8))
    red, green, blue = light.color
    assert 0.2126 * red + 0.7152 * green + 0.0722 * blue == pytest.approx(1)
    assert min(light.color) >= 0
    assert max(light.color) <= 2.0001
    if max(color) > 20:
        assert np.argmax(light.color) == np.argmax(color) or sorted(color)[1] == sorted(color)[2]


def test_light_looks_at_the_upper_border_only() -> None:
    rgb = np.zeros((80, 60, 3), np.uint8)
    rgb[:10] = (255, 128, 128)
    rgb[10:] = (0, 0, 255)
    red, green, blue = painting.light_of(rgb).color
    assert red > green == blue


def test_a_transparent_answer_is_put_on_white() -> None:
    see_through = Image(rgb=np.zeros((16, 16, 3), np.uint8), alpha=np.zeros((16, 16), np.float32))
    got = painting.plate_of(see_through, width=16, height=16, size=(16, 16), with_subject=False, backend="x")
    assert (got.rgb == 255).all()

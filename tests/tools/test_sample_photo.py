from __future__ import annotations

import numpy as np
import pytest

from mattebox.samples import make_photo
from sample_photo import draw, still_life


@pytest.mark.slow
def test_it_draws_the_picture_that_is_shipped() -> None:
    drawn = draw().astype(np.int16)
    assert np.abs(drawn - make_photo()).mean() < 1.5  # what the JPEG costs


def test_its_seed_moves_the_lights() -> None:
    assert (draw(width=160, height=120) != draw(width=160, height=120, seed=1)).mean() > 0.3


def test_it_has_one_subject_with_a_hole() -> None:
    _, alpha = still_life(width=400, height=300, seed=0)
    assert 0.12 < alpha.mean() < 0.25
    assert max(alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()) == 0
    # Along a row through the handle: body, hole, handle.
    row = (alpha[150] > 0.5).astype(np.int8)
    assert (np.diff(row) == 1).sum() == 2

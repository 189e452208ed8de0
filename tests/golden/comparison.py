"""Pictures as they should be. `make golden` draws them anew; look at them before you commit them.

On failure the actual picture, the expected one and their difference are left in `failed/`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest

HERE = Path(__file__).parent


def compare(
    name: str,
    actual: PIL.Image.Image,
    *,
    regenerate: bool,
    tolerance: float,
    worst: float = 255.0,
    few_colors: bool = False,
) -> None:
    """Compare with the golden picture, or save it anew.

    Args:
        name: the golden picture's, without `.png`.
        actual: the picture that was made.
        regenerate: save it as the golden picture.
        tolerance: the most that the mean of all differences may be, in grey levels.
        worst: the most that their mean over any tile of 8 x 8 pixels may be: small things count too.
        few_colors: the golden picture is small: it has 256 colours, chosen so that rare ones are among them.
    """
    golden = HERE / f"{name}.png"
    if regenerate:
        made = actual.quantize(256, PIL.Image.Quantize.MAXCOVERAGE, 2) if few_colors else actual
        made.save(golden, optimize=True)
        return
    with PIL.Image.open(golden) as opened:
        expected = opened.convert(actual.mode) if few_colors else opened.copy()
    same_form = actual.mode == expected.mode and actual.size == expected.size
    difference = (
        np.abs(np.asarray(actual, np.int16) - np.asarray(expected, np.int16))
        if same_form
        else np.full((1, 1), 255, np.int16)
    )
    flat = difference.max(axis=-1) if difference.ndim == 3 else difference
    tile = _worst_tile(flat)
    if difference.mean() > tolerance or tile > worst:
        failed = HERE / "failed"
        failed.mkdir(exist_ok=True)
        actual.save(failed / f"{name}-actual.png")
        expected.save(failed / f"{name}-expected.png")
        PIL.Image.fromarray(flat.astype(np.uint8)).save(failed / f"{name}-difference.png")
        pytest.fail(f"{name} differs by {difference.mean():.3f} grey levels, {tile:.1f} in one tile; see {failed}")


def _worst_tile(difference: npt.NDArray[np.int16]) -> float:
    """The largest mean over a tile of 8 x 8 pixels, those cut by the border filled with zeros."""
    height, width = difference.shape
    padded = np.pad(difference, ((0, -height % 8), (0, -width % 8)))
    tiles = padded.reshape(padded.shape[0] // 8, 8, padded.shape[1] // 8, 8)
    return float(tiles.mean(axis=(1, 3)).max())

"""The transfer curve of sRGB (IEC 61966-2-1) and the luminance of its primaries."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Floats = TypeVar("_Floats", npt.NDArray[np.float32], npt.NDArray[np.float64])

_LUMINANCE = (0.2126, 0.7152, 0.0722)
"""The weights of linear red, green and blue (ITU-R BT.709)."""


def to_linear(encoded: _Floats) -> _Floats:
    """Linear light from sRGB values, both in [0, 1]; any shape, in the precision that is given."""
    light: _Floats = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return light


def to_srgb(linear: _Floats) -> _Floats:
    """sRGB values from linear light: the inverse of `to_linear`. Light must not be negative; above 1 it goes on."""
    encoded: _Floats = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return encoded


def luminance(linear: _Floats) -> _Floats:
    """The luminance of linear light, red, green and blue along the last axis: 1 for white."""
    result: _Floats = linear @ np.array(_LUMINANCE, linear.dtype)
    return result


LINEAR_OF_LEVEL: npt.NDArray[np.float64] = to_linear(np.arange(256, dtype=np.float64) / 255)
"""Linear light in [0, 1] of each 8-bit level, shape (256,)."""
LINEAR_OF_LEVEL.flags.writeable = False

"""Other colours: lightness, chroma and hue of CIE L*a*b*, changed for a whole picture at once."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from mattebox import color
from mattebox.image import RGB, row_bands

# sRGB (IEC 61966-2-1) to XYZ over its own white, D65: rows add up to 1, and grey has a = b = 0 exactly.
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_TO_XYZ /= _TO_XYZ.sum(axis=1, keepdims=True)
# CIE 1976: L = 116 fy - 16, a = 500 (fx - fy), b = 200 (fy - fz)
_TO_LAB = np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]], np.float64)
_BEND = 6 / 29  # below it, f is a straight line


def modulate(rgb: RGB, *, brightness: float, saturation: float, hue: float, lightness: float) -> RGB:
    """L becomes L x `brightness` + `lightness`, chroma times `saturation`, and `hue` degrees are added to the hue.

    L*a*b* is linear in the cube roots of XYZ, and so are all changes but `lightness`: one matrix does them all.

    Args:
        rgb: sRGB.
        brightness: a factor.
        saturation: a factor.
        hue: degrees.
        lightness: added, in units of L (0..100).
    """
    angle = math.radians(math.fmod(hue, 360))
    turn = saturation * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    lab = np.zeros((3, 3))
    lab[0, 0] = brightness
    lab[1:, 1:] = turn
    from_lab = np.linalg.inv(_TO_LAB)
    # L = 116 fy - 16, so that the 16 has to be taken off before and put back after.
    moved = from_lab @ np.array([16 - 16 * brightness + lightness, 0, 0])
    on_roots = np.column_stack([from_lab @ lab @ _TO_LAB, moved])
    to_steps = np.linalg.inv(_TO_XYZ) * 65535
    linear = color.LINEAR_OF_LEVEL.astype(np.float32)
    levels = _srgb_levels()
    result = np.empty_like(rgb)
    for rows in row_bands(*rgb.shape[:2]):
        xyz = np.asarray(cv2.transform(cv2.LUT(rgb[rows], linear), _TO_XYZ), np.float32)
        line = xyz * np.float32(1 / (3 * _BEND**2)) + np.float32(4 / 29)
        roots = cv2.copyTo(line, (xyz <= _BEND**3).view(np.uint8), cv2.pow(xyz, 1 / 3))
        roots = np.asarray(cv2.transform(roots, on_roots), np.float32)
        line = roots * np.float32(3 * _BEND**2) - np.float32(3 * _BEND**2 * 4 / 29)
        xyz = np.asarray(cv2.copyTo(line, (roots <= _BEND).view(np.uint8), roots * roots * roots), np.float32)
        steps = np.asarray(cv2.transform(xyz, to_steps), np.float32)
        np.clip(steps, 0, 65535, out=steps)
        np.take(levels, (steps + np.float32(0.5)).astype(np.uint16), out=result[rows], mode="clip")
    return result


def _srgb_levels() -> npt.NDArray[np.uint8]:
    """Linear light in 65536 steps to levels; in the darkest colours, where it matters, 20 steps make a level."""
    values = color.to_srgb(np.arange(65536, dtype=np.float64) / 65535)
    levels: npt.NDArray[np.uint8] = np.rint(values * 255).astype(np.uint8)
    return levels

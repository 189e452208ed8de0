"""Colours that a file gives in numbers: code points (ITU-T H.273) in PNG, AVIF and HEIC; `cHRM` and `gAMA` in PNG.

Ordinary colours become an ICC profile, so that they are kept or converted as any other profile is. High dynamic range
(PQ and HLG) has no place in 8 bits and is brought down to sRGB.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from mattebox.codec.limits import refuse
from mattebox.color import to_srgb
from mattebox.image import RGB

_Matrix = npt.NDArray[np.float64]
Chromaticities: TypeAlias = tuple[tuple[float, float], ...]
"""Red, green, blue and white as x and y."""

_PQ, _HLG = 16, 18
_D65, _C, _DCI = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)
# Of each number in H.273's table 2.
_PRIMARIES: dict[int, Chromaticities] = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),  # BT.709, sRGB
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), _C),  # BT.470 M
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),  # BT.601, 625 lines
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),  # BT.601, 525 lines
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),  # SMPTE 240
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),  # film
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),  # BT.2020
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _DCI),  # DCI-P3
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),  # Display P3
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),  # EBU 3213
}
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
# Video's curves (1, 6, 7, 11, 12, 14, 15) are read as sRGB's, as browsers do: pictures that name them were seldom made
# on a video monitor. 0, 2 and 3 are "not said".
_AS_SRGB = {0, 1, 2, 3, 6, 7, 11, 12, 13, 14, 15}

_WHITE_NITS = 203.0  # where HDR has the white of paper, and where SDR ends (ITU-R BT.2408)
_PEAK_NITS = 1000.0


class CodePoints(NamedTuple):
    """Numbers of H.273: which red, green and blue, and which curve. `full_range` is False where black is 16."""

    primaries: int
    transfer: int
    full_range: bool = True

    @property
    def is_hdr(self) -> bool:
        """Whether the picture goes beyond the white of paper, so that no ICC profile says what it shows."""
        return self.transfer in (_PQ, _HLG)


def icc_profile(points: CodePoints) -> bytes | None:
    """The same colours as an ICC profile; None where they are sRGB. Only for what is not `is_hdr`.

    Raises:
        MatteboxError: UNREADABLE_IMAGE for the two logarithmic curves, and primaries of a kind that no picture has.
    """
    if points.transfer not in _AS_SRGB and points.transfer not in _GAMMAS:
        refuse(f"A picture with transfer characteristics {points.transfer} is not supported")
    primaries = _known(points.primaries)
    if (primaries, points.transfer in _AS_SRGB) == (1, True):
        return None
    name = f"Color primaries {primaries}, transfer {points.transfer}"
    return _profile(name, _PRIMARIES[primaries], _GAMMAS.get(points.transfer))


def measured_profile(chromaticities: Chromaticities | None, gamma: float | None) -> bytes | None:
    """An ICC profile of measured colours and the exponent of their curve; None where they are sRGB, or no colours.

    What is not said is as in sRGB. So is an exponent that is within 5 % of 2.2: writers mean sRGB by it, and libpng
    draws the line there.
    """
    if gamma is not None and not 0.1 <= gamma <= 10:
        return None
    if gamma is not None and abs(gamma / 2.2 - 1) < 0.05:
        gamma = None
    if chromaticities is not None:
        (red, green, blue), inside = chromaticities[:3], all(0 <= x <= 1 and 0 < y <= 1 for x, y in chromaticities)
        area = (green[0] - red[0]) * (blue[1] - red[1]) - (blue[0] - red[0]) * (green[1] - red[1])
        if not inside or area < 1e-3:  # a hundredth of sRGB's triangle
            return None
    if chromaticities is None and gamma is None:
        return None
    return _profile("Measured colors", chromaticities or _PRIMARIES[1], gamma)


def tone_mapped(rgb: RGB, points: CodePoints) -> RGB:
    """A band of an HDR picture as sRGB.

    Up to about half of the white of paper nothing changes; above, highlights of up to 1000 cd/m² are bent under white
    by the curve of ITU-R BT.2390 (section 5.4), on the brightest channel, so that no hue turns. What sRGB cannot show
    is clipped.
    """
    nits = _pq_nits(rgb) if points.transfer == _PQ else _hlg_nits(rgb, points)
    brightest = np.maximum(nits.max(axis=2, keepdims=True), np.float32(1e-4))
    nits *= _bent(brightest) / brightest
    to_709 = np.linalg.inv(_to_xyz(_PRIMARIES[1])) @ _to_xyz(_PRIMARIES[_known(points.primaries)])
    linear = np.clip(nits @ (to_709.T / _WHITE_NITS).astype(np.float32), 0, 1)
    levels: RGB = np.rint(to_srgb(linear) * np.float32(255)).astype(np.uint8)
    return levels


def _pq_nits(rgb: RGB) -> npt.NDArray[np.float32]:
    """SMPTE ST 2084, from 8 bits to cd/m²."""
    table = _pq_light(np.linspace(0, 1, 256, dtype=np.float32))
    nits: npt.NDArray[np.float32] = table.astype(np.float32)[rgb]
    return nits


def _hlg_nits(rgb: RGB, points: CodePoints) -> npt.NDArray[np.float32]:
    """ITU-R BT.2100's hybrid log-gamma, on a display of 1000 cd/m²."""
    signal = np.arange(256) / 255
    table = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    scene = table.astype(np.float32)[rgb]
    luminance = scene @ _to_xyz(_PRIMARIES[_known(points.primaries)])[1].astype(np.float32)
    nits: npt.NDArray[np.float32] = scene * (np.float32(_PEAK_NITS) * luminance[..., None] ** np.float32(0.2))
    return nits


def _pq_light(signal: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    power = signal.astype(np.float64) ** (1 / 78.84375)
    nits: npt.NDArray[np.float64] = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
    return 10000 * nits ** (1 / 0.1593017578125)


def _pq_signal(nits: npt.NDArray[np.float32] | float) -> npt.NDArray[np.float32]:
    power = np.power(np.asarray(nits, np.float32) / np.float32(10000), np.float32(0.1593017578125))
    signal: npt.NDArray[np.float32] = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** np.float32(78.84375)
    return signal


def _bent(nits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """0..1000 cd/m² to 0..203; a table of the curve is read between its points."""
    inputs = np.linspace(0, _PEAK_NITS, 4001, dtype=np.float32)
    peak = _pq_signal(_PEAK_NITS)
    top = _pq_signal(_WHITE_NITS) / peak
    knee = 1.5 * top - 0.5
    share = _pq_signal(inputs) / peak
    t = (share - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * top
    signal = np.where(share < knee, share, spline) * peak
    bent: npt.NDArray[np.float32] = np.interp(nits, inputs, _pq_light(signal)).astype(np.float32)
    return bent


def _known(primaries: int) -> int:
    if primaries in (0, 2, 3):  # not said
        return 1
    if primaries not in _PRIMARIES:
        refuse(f"A picture with colour primaries {primaries} is not supported")
    return primaries


def _xyz(x: float, y: float) -> _Matrix:
    return np.array([x / y, 1, (1 - x - y) / y])


@cache
def _to_xyz(chromaticities: Chromaticities) -> _Matrix:
    """Linear RGB to XYZ under the primaries' own white."""
    *colors, white = chromaticities
    columns = np.stack([_xyz(x, y) for x, y in colors], axis=1)
    scaled: _Matrix = columns * np.linalg.solve(columns, _xyz(*white))
    return scaled


@cache
def _profile(name: str, chromaticities: Chromaticities, gamma: float | None) -> bytes:
    """An ICC profile, version 4, of three primaries and one curve: an exponent, or sRGB's."""
    d50 = np.array([0.9642, 1, 0.8249])
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    cone = bradford @ _xyz(*chromaticities[3])
    adaptation = np.linalg.inv(bradford) @ np.diag(bradford @ d50 / cone) @ bradford
    red, green, blue = (adaptation @ _to_xyz(chromaticities)).T
    if gamma is not None:
        curve = b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + _fixed(gamma)
    else:
        curve = b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    tags = {
        b"desc": _text(name),
        b"cprt": _text("No copyright"),
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(*d50),
        b"chad": b"sf32\0\0\0\0" + _fixed(*adaptation.ravel()),
        b"rXYZ": b"XYZ \0\0\0\0" + _fixed(*red),
        b"gXYZ": b"XYZ \0\0\0\0" + _fixed(*green),
        b"bXYZ": b"XYZ \0\0\0\0" + _fixed(*blue),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, body = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", 128 + len(table) + len(body), b"\0\0\0\0", 0x04200000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(*d50)
    return head.ljust(128, b"\0") + table + body


def _fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def _text(words: str) -> bytes:
    encoded = words.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28) + encoded

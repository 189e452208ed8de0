"""Colour profiles for tests, with known numbers in them."""

from __future__ import annotations

import struct
from functools import cache
from io import BytesIO

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageCms


def fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def profile(space: bytes, pcs: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr") -> bytes:
    """An ICC profile, version 2."""
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78), **tags}
    tags[b"cprt"] = b"text\0\0\0\0none\0"
    table, body = struct.pack(">I", len(tags)), b""
    at = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += padded
    header = bytearray(128)
    header[8:12] = b"\x02\x40\0\0"
    header[12:24] = kind + space + pcs
    header[36:40] = b"acsp"
    header[68:80] = fixed(0.9642) + fixed(1) + fixed(0.8249)
    whole = bytes(header) + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


def xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ \0\0\0\0" + fixed(x) + fixed(y) + fixed(z)


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


WHITE_POINT = {b"wtpt": xyz(0.9642, 1, 0.8249)}


@cache
def display_p3() -> bytes:
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma(2.2))
    primaries = {
        b"rXYZ": xyz(0.5151, 0.2412, -0.0011),
        b"gXYZ": xyz(0.2920, 0.6922, 0.0419),
        b"bXYZ": xyz(0.1571, 0.0666, 0.7841),
    }
    return profile(b"RGB ", b"XYZ ", WHITE_POINT | primaries | curves)


@cache
def grey_profile() -> bytes:
    """Gamma 1: its 55 is as light as the 128 of sRGB."""
    return profile(b"GRAY", b"XYZ ", {**WHITE_POINT, b"kTRC": gamma(1.0)})


@cache
def cmyk_profile() -> bytes:
    """Full cyan is a light yellow here, which no conversion without the profile would give."""
    corners = b""
    for cyan, magenta, yellow, black in np.ndindex(2, 2, 2, 2):
        lightness = 0 if black else 255 - 30 * cyan - 60 * magenta - 10 * yellow
        corners += bytes([lightness, 128, 128 + 60 * cyan])
    ramp = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + b"".join(map(fixed, (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    return profile(b"CMYK", b"Lab ", {**WHITE_POINT, b"A2B0": lut + ramp * 4 + corners + ramp * 3}, b"prtr")


@cache
def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def in_srgb(pixels: npt.NDArray[np.uint8], icc: bytes) -> npt.NDArray[np.uint8]:
    source = ImageCms.ImageCmsProfile(BytesIO(icc))
    changed = ImageCms.profileToProfile(
        PIL.Image.fromarray(pixels), source, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert changed is not None
    return np.asarray(changed)

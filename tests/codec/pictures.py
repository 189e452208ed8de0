"""Pictures and files of pictures for tests."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest

from mattebox import codec
from mattebox.codec import Limits
from mattebox.errors import MatteboxError
from mattebox.image import Alpha, Image

PIXELS = npt.NDArray[np.uint8]


def quadrants(height: int = 48, width: int = 64) -> PIXELS:
    """Red, green, blue and light grey: no turn or flip of it equals another."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = 255, 0, 0
    pixels[: height // 2, width // 2 :] = 0, 160, 0
    pixels[height // 2 :, : width // 2] = 0, 0, 220
    pixels[height // 2 :, width // 2 :] = 240, 240, 240
    return pixels


def noise(height: int = 40, width: int = 50, seed: int = 1) -> PIXELS:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int = 48, width: int = 64) -> PIXELS:
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / (width - 1), 255 * y / (height - 1), 255 - 255 * x / (width - 1)], axis=-1).astype(
        np.uint8
    )


def soft_alpha(height: int, width: int) -> Alpha:
    """0 at the left, 1 at the right, every level between."""
    ramp = np.clip(np.linspace(-0.3, 1.3, width, dtype=np.float32), 0, 1)
    return np.ascontiguousarray(np.broadcast_to(ramp, (height, width)))


def saved(picture: PIL.Image.Image | npt.NDArray[np.generic], form: str, **options: object) -> bytes:
    file = BytesIO()
    (picture if isinstance(picture, PIL.Image.Image) else PIL.Image.fromarray(picture)).save(file, form, **options)
    return file.getvalue()


def opened(data: bytes) -> PIL.Image.Image:
    picture = PIL.Image.open(BytesIO(data))
    picture.load()
    return picture


def exif(orientation: int) -> PIL.Image.Exif:
    data = PIL.Image.Exif()
    data[0x0112] = orientation
    return data


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(
    width: int, height: int, depth: int, color_type: int, rows: bytes, *extra: tuple[bytes, bytes], packed: bytes = b""
) -> bytes:
    """A PNG of unusual kinds that Pillow does not write."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0))
    chunks = b"".join(png_chunk(kind, data) for kind, data in extra)
    body = png_chunk(b"IDAT", packed or zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + body + png_chunk(b"IEND", b"")


def cutout(height: int = 48, width: int = 64, icc: bytes | None = None) -> Image:
    return Image(rgb=noise(height, width), alpha=soft_alpha(height, width), icc=icc)


def failure(data: bytes, limits: Limits | None = None) -> MatteboxError:
    with pytest.raises(MatteboxError) as caught:
        codec.decode(data, limits or Limits())
    return caught.value


def assert_near(actual: PIXELS, expected: PIXELS, tolerance: float = 0) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(int) - expected.astype(int)).max() <= tolerance

"""Pictures that are small as files and huge as pictures, or that claim to be."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
import PIL.Image
from tests.codec.pictures import png_chunk, quadrants, raw_png, saved

MB = 2**20
Pictures = Iterator[tuple[str, Callable[[], bytes]]]
_SIDES = ((65_500, 65_500), (2**31 - 1, 1), (1, 2**31 - 1), (2**31 - 1, 2**31 - 1), (8_000, 7_000), (0, 0), (0, 5))


@cache
def zeros(megabytes: int) -> bytes:
    """So many of them, in zlib's form."""
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(MB)) for _ in range(megabytes)), packer.flush()])


def _large() -> Pictures:
    """As large as the limit of pixels allows, of a few kilobytes."""
    yield "png of a bit, 7,000 x 7,000", lambda: raw_png(7_000, 7_000, 1, 0, bytes(7_000 * 876))
    yield "png interlaced, 7,000 x 7,000 and one byte", _interlaced
    yield "png 49,000,000 x 1", lambda: raw_png(49_000_000, 1, 1, 0, bytes(1 + 49_000_000 // 8))
    yield "JPEG 7,000 x 7,000 of one row", lambda: _jpeg_of(7_000, 7_000)
    yield "AVIF of 128 x 96 pixels says 7,000 x 7,000", lambda: _ispe(saved(quadrants(), "AVIF"), 7_000, 7_000)
    clear = PIL.Image.new("RGBA", (7_000, 7_000), (200, 60, 40, 100))
    yield "png half transparent, 7,000 x 7,000", lambda: saved(clear, "PNG", compress_level=1)
    yield "WEBP half transparent, 7,000 x 7,000", lambda: saved(clear, "WEBP", lossless=True, method=0, quality=0)
    yield "TIFF half transparent, 7,000 x 7,000", lambda: saved(clear, "TIFF", compression="tiff_deflate")
    yield "GIF 7,000 x 7,000", lambda: saved(PIL.Image.new("P", (7_000, 7_000)), "GIF")
    yield "png of 765 rows of 65,000 pixels", lambda: raw_png(65_000, 765, 8, 4, bytes(765 * 130_001))


def _interlaced() -> bytes:
    return raw_png(7_000, 7_000, 8, 6, b"\0").replace(b"\x08\x06\0\0\0", b"\x08\x06\0\0\1", 1)


def _png() -> Pictures:
    for width, height in _SIDES:
        yield f"png claims {width} x {height}", partial(_claiming, width, height)
    yield "png of a bit, 13,000 x 13,000", lambda: raw_png(13_000, 13_000, 1, 0, b"", packed=zeros(22))
    yield "png 1 x 1,000,000", lambda: raw_png(1, 1_000_000, 8, 0, bytes(2_000_000))
    yield "png with 300 MB behind its last row", lambda: raw_png(8, 8, 8, 2, b"", packed=zeros(300))
    for kind, start in ((b"zTXt", b"Comment\0\0"), (b"iTXt", b"Comment\0\1\0\0\0"), (b"iCCP", b"profile\0\0")):
        yield (
            f"png with 300 MB of {kind.decode()}",
            partial(lambda kind, start: raw_png(8, 8, 8, 2, bytes(8 * 25), (kind, start + zeros(300))), kind, start),
        )
    yield (
        "png with 2,000 texts of a megabyte",
        lambda: raw_png(8, 8, 8, 2, bytes(8 * 25), *[(b"zTXt", b"Comment\0\0" + zeros(1))] * 2_000),
    )
    yield "png with 100,000 empty chunks", lambda: raw_png(8, 8, 8, 2, bytes(8 * 25), *[(b"tEXt", b"a\0")] * 100_000)
    yield "png of 50,000 pieces", _pieces


def _claiming(width: int, height: int) -> bytes:
    return raw_png(width, height, 8, 2, b"")


def _pieces() -> bytes:
    packed = zlib.compress(np.random.default_rng(0).integers(0, 255, 8 * 25, np.uint8).tobytes())
    whole = raw_png(8, 8, 8, 2, b"", packed=packed)
    at = whole.index(b"IDAT") - 4
    return whole[:at] + png_chunk(b"IDAT", b"") * 50_000 + whole[at:]


def _claims() -> Pictures:
    """Headers whose size has been written over."""
    fields = {
        "GIF": [(6, "<HH")],
        "BMP": [(18, "<ii")],
        "WEBP lossy": [(26, "<HH")],
    }
    plain = {"GIF": saved(quadrants(), "GIF"), "BMP": saved(quadrants(), "BMP")}
    plain["WEBP lossy"] = saved(quadrants(), "WEBP")
    for form, places in fields.items():
        for width, height in ((16_383, 16_383), (65_535, 65_535), (1, 65_535), (0, 0)):
            for at, layout in places:
                yield (
                    f"{form} claims {width} x {height}",
                    partial(
                        lambda form, at, written: _over(plain[form], at, written),
                        form,
                        at,
                        _fitting(layout, width, height),
                    ),
                )
    for name, width, height in (("-1 x -1", -1, -1), ("2^31 tall, upside down", 1, -(2**31)), ("2^31-1", 2**31 - 1, 9)):
        yield (
            f"BMP claims {name}",
            partial(lambda width, height: _over(plain["BMP"], 18, struct.pack("<ii", width, height)), width, height),
        )
    yield "JPEG claims 65,500 x 65,500", lambda: _jpeg_of(65_500, 65_500)
    yield "JPEG claims no height", lambda: _jpeg_of(64, 0)
    yield "WEBP canvas 2^24 x 2^24", lambda: b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0" + b"\xff" * 6
    yield "AVIF claims 65,535 x 65,535", lambda: _ispe(saved(quadrants(), "AVIF"), 65_535, 65_535)


def _fitting(layout: str, width: int, height: int) -> bytes:
    return struct.pack(layout, width, height)


def _over(data: bytes, at: int, written: bytes) -> bytes:
    return data[:at] + written + data[at + len(written) :]


def _jpeg_of(width: int, height: int) -> bytes:
    data = saved(quadrants(), "JPEG")
    return _over(data, data.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width))


def _ispe(data: bytes, width: int, height: int) -> bytes:
    return _over(data, data.index(b"ispe") + 8, struct.pack(">II", width, height))


def _many_frames() -> Pictures:
    frames = [PIL.Image.fromarray(np.full((32, 32, 3), shade, np.uint8)) for shade in range(200)]
    for form in ("GIF", "WEBP", "PNG", "AVIF", "TIFF"):
        yield (
            f"{form} of 200 frames",
            partial(lambda form: saved(frames[0], form, save_all=True, append_images=frames[1:]), form),
        )
    yield "GIF of 100,000 frames", _long_gif
    yield "GIF whose second frame is huge", lambda: saved(quadrants(), "GIF")[:-1] + _frame(65_535, 65_535) + b";"
    yield "GIF whose first frame is huge", lambda: b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + _frame(65_535, 65_535)
    yield "JPEG of 2,000 scans", _scans


def _frame(width: int, height: int) -> bytes:
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\2\x44\1\0"


def _long_gif() -> bytes:
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + _frame(1, 1) * 100_000 + b";"


def _scans() -> bytes:
    data = saved(np.zeros((2_000, 2_000, 3), np.uint8), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * 2_000 + data[-2:]


def _tiff() -> Pictures:
    for packing in ("tiff_deflate", "tiff_lzw", "packbits", "jpeg", "group4"):
        mode = "1" if packing == "group4" else "RGB"
        yield (
            f"TIFF of {packing} claims 60,000 x 60,000",
            partial(
                lambda packing, mode: _tagged(
                    saved(PIL.Image.new(mode, (64, 64)), "TIFF", compression=packing), {256: 60_000, 257: 60_000}
                ),
                packing,
                mode,
            ),
        )
    plain = saved(quadrants(), "TIFF")
    for name, tags in {
        "strips of 2^32-1 rows": {278: 2**32 - 1},
        "strips of 2^32-1 bytes": {279: 2**32 - 1},
        "strips at 2^32-1": {273: 2**32 - 1},
        "60,000 samples a pixel": {277: 60_000},
        "no samples": {277: 0},
        "no width": {256: 0},
    }.items():
        yield f"TIFF of {name}", partial(lambda tags: _tagged(plain, tags), tags)


def _tagged(data: bytes, values: dict[int, int]) -> bytes:
    """A little-endian TIFF whose first directory says something else."""
    changed = bytearray(data)
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from("<HH", data, at)
        if tag in values:
            most = 0xFFFF if kind == 3 else 0xFFFFFFFF
            struct.pack_into("<I", changed, at + 8, min(values[tag], most))
    return bytes(changed)


def _packed() -> Pictures:
    def zipped() -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("photo.png", bytes(200 * MB))
        return file.getvalue()

    yield "ZIP of 200 MB", zipped
    yield "GZIP of 200 MB", lambda: gzip.compress(bytes(200 * MB))
    yield "SVG of a billion laughs", _laughs
    yield (
        "SVG that includes a file",
        lambda: b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>',
    )


def _laughs() -> bytes:
    lines = ['<!ENTITY a "ha">', *(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))]
    return f'<?xml version="1.0"?><!DOCTYPE svg [{"".join(lines)}]><svg>&j;</svg>'.encode()


KINDS: dict[str, Callable[[], Pictures]] = {
    "large": _large,
    "bombs in PNG": _png,
    "lying sizes": _claims,
    "many frames": _many_frames,
    "lying TIFF": _tiff,
    "packed": _packed,
}
"""The pictures of each kind, with their names."""

"""Files of every format that were cut, spliced and written over, and files that are two things at once."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import PIL.Image
from tests.codec.pictures import exif, png_chunk, quadrants, raw_png, saved
from tests.hostile.bombs import Pictures

_HEIC = Path(__file__).parents[1] / "codec" / "data" / "synthetic.heic"


@cache
def samples() -> dict[str, bytes]:
    """A whole file of every format and of its main varieties."""
    pixels = quadrants(96, 128)
    grey = PIL.Image.fromarray(pixels).convert("L")
    return {
        "JPEG": saved(pixels, "JPEG"),
        "JPEG progressive": saved(pixels, "JPEG", progressive=True),
        "JPEG of four inks": saved(PIL.Image.fromarray(pixels).convert("CMYK"), "JPEG"),
        "PNG": saved(pixels, "PNG"),
        "PNG of a palette": saved(PIL.Image.fromarray(pixels).convert("P"), "PNG", transparency=0),
        "WEBP": saved(pixels, "WEBP"),
        "WEBP lossless": saved(pixels, "WEBP", lossless=True),
        "AVIF": saved(pixels, "AVIF"),
        "HEIC": _HEIC.read_bytes(),
        "TIFF": saved(pixels, "TIFF"),
        "TIFF of LZW": saved(pixels, "TIFF", compression="tiff_lzw"),
        "BMP": saved(pixels, "BMP"),
        "GIF": saved(grey, "GIF"),
    }


def _cut() -> Pictures:
    for form, data in samples().items():
        for part in (0.02, 0.3, 0.7, 0.98):
            yield f"{form}, {part:.0%} of it", partial(lambda data, part: data[: int(len(data) * part)], data, part)
        yield f"{form} without its middle", partial(lambda data: data[: len(data) // 3] + data[len(data) // 2 :], data)
        yield (
            f"{form} with zeros in its middle",
            partial(lambda data: data[: len(data) // 3] + bytes(len(data) // 6) + data[len(data) // 2 :], data),
        )
        yield (
            f"{form} with noise behind its head",
            partial(lambda data: data[:64] + random.Random(1).randbytes(len(data)), data),
        )


def _spliced() -> Pictures:
    forms = list(samples())
    for one, other in zip(forms, forms[1:] + forms[:1], strict=True):
        yield f"{one} that goes on as {other}", partial(lambda one, other: _half(one, 0) + _half(other, 1), one, other)
        yield (
            f"{one} behind the first bytes of {other}",
            partial(lambda one, other: samples()[other][:12] + samples()[one][12:], one, other),
        )


def _half(form: str, which: int) -> bytes:
    data = samples()[form]
    middle = len(data) // 2
    return data[middle:] if which else data[:middle]


def _two_things() -> Pictures:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../photo.html", "<script>")
    archive_bytes = file.getvalue()
    for form in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"):
        data = samples()[form]
        yield f"{form} and ZIP", partial(lambda data: data + archive_bytes, data)
        yield f"{form} and a page", partial(lambda data: data + b"<html><script>alert(1)</script>", data)
        yield f"{form} twice", partial(lambda data: data + data, data)
    yield "GIF and a script", lambda: b"GIF89a/*" + samples()["GIF"][8:] + b"*/=1;alert(1)"
    yield "PDF with a JPEG in it", lambda: b"%PDF-1.7\n" + samples()["JPEG"]
    yield "page with a PNG in it", lambda: b"<html>" + samples()["PNG"]
    yield "PNG with a page in its text", lambda: raw_png(8, 8, 8, 2, bytes(200), (b"tEXt", b"a\0<?php system(1);?>"))
    yield (
        "JPEG with a script in its comment",
        lambda: b"\xff\xd8\xff\xfe\x00\x1b" + b"<?php system('ls'); ?>xxx" + samples()["JPEG"][2:],
    )
    for magic in (b"\x7fELF", b"MZ", b"\xca\xfe\xba\xbe", b"#!/bin/sh\n", b"push graphic-context\nviewbox 0 0 1 1\n"):
        yield f"program {magic[:4]!r}", partial(lambda magic: magic + samples()["PNG"], magic)


def _lying_metadata() -> Pictures:
    pixels = quadrants(96, 128)
    for turn in (0, 9, 255, 65_535):
        yield f"JPEG turned by {turn}", partial(lambda turn: saved(pixels, "JPEG", exif=exif(turn)), turn)
    loop = b"Exif\0\0II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0\x08\0\0\0"
    far = b"Exif\0\0II*\0\xff\xff\xff\xff"
    many = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\1\3\0\xff\xff\xff\xff\0\0\0\0" * 5_000
    for name, block in {"leads to itself": loop, "lies behind the end": far, "has 65,535 entries": many}.items():
        for form in ("JPEG", "PNG", "WEBP"):
            yield f"{form} whose EXIF {name}", partial(lambda form, block: saved(pixels, form, exif=block), form, block)
    for name, profile in {
        "zeros": bytes(300),
        "a huge size": b"\xff" * 400,
        "no tags": bytes(36) + b"acsp" + bytes(100),
        "2^32-1 tags": bytes(16) + b"RGB XYZ " + bytes(12) + b"acsp" + bytes(88) + b"\xff" * 64,
    }.items():
        for form in ("JPEG", "PNG", "TIFF"):
            yield (
                f"{form} whose profile is {name}",
                partial(lambda form, profile: saved(pixels, form, icc_profile=profile), form, profile),
            )
    png = samples()["PNG"]
    yield "PNG whose checksums are wrong", lambda: png.replace(png[29:33], b"\0\0\0\0", 1)
    yield "PNG of an unknown kind of colours", lambda: raw_png(8, 8, 8, 5, bytes(200))
    yield "PNG of 3 bits", lambda: raw_png(8, 8, 3, 0, bytes(200))
    yield "PNG of a palette that is missing", lambda: raw_png(8, 8, 8, 3, bytes(72))
    yield "PNG of a palette that is too short", lambda: raw_png(8, 8, 8, 3, b"\xff" * 72, (b"PLTE", bytes(3)))
    yield "PNG with two heads", lambda: png[:33] + png[8:33] + png[33:]
    yield "PNG with its rows first", lambda: png[:8] + png_chunk(b"IDAT", b"") + png[8:]
    yield "PNG whose chunk has 2^31-1 bytes", lambda: png[:33] + b"\x7f\xff\xff\xffIDAT" + png[41:]
    yield "PNG with unknown filters", lambda: raw_png(8, 8, 8, 2, (b"\x09" + bytes(24)) * 8)
    yield "PNG with a gamma of nothing", lambda: raw_png(8, 8, 8, 2, bytes(200), (b"gAMA", bytes(4)))
    yield "PNG with chromaticities of nothing", lambda: raw_png(8, 8, 8, 2, bytes(200), (b"cHRM", bytes(32)))
    yield "PNG with unknown code points", lambda: raw_png(8, 8, 8, 2, bytes(200), (b"cICP", b"\xff" * 4))
    tiff = samples()["TIFF"]
    yield "TIFF whose directory leads to itself", lambda: tiff[:4] + b"\x04\0\0\0" + tiff[8:]
    yield "TIFF whose directory lies behind the end", lambda: tiff[:4] + b"\xff\xff\xff\xff"
    yield "big TIFF of nothing", lambda: b"II+\0\x08\0\0\0" + b"\xff" * 64
    bmp = samples()["BMP"]
    for name, at, value in (
        ("whose pixels lie behind the end", 10, b"\xff\xff\xff\x7f"),
        ("of an unknown head", 14, b"\x05\0\0\0"),
        ("of 3 bits", 28, b"\x03\0"),
        ("of an unknown packing", 30, b"\x09\0\0\0"),
        ("of 2^32-1 colours", 46, b"\xff\xff\xff\xff"),
    ):
        yield f"BMP {name}", partial(lambda at, value: bmp[:at] + value + bmp[at + len(value) :], at, value)
    heic = samples()["HEIC"]
    for name, kind in (("items", b"iloc"), ("properties", b"ipco"), ("references", b"iref"), ("metadata", b"meta")):
        yield (
            f"HEIC of huge {name}",
            partial(
                lambda kind: (
                    heic.replace(kind, kind, 1)[: heic.find(kind) - 4] + (b"\x7f\xff\xff\xff" + heic[heic.find(kind) :])
                ),
                kind,
            ),
        )
    yield "nothing", lambda: b""
    yield "one byte", lambda: b"\xff"
    yield "a letter", lambda: b"This is a letter, not a picture."
    yield "31 MB of zeros", lambda: bytes(31 * 2**20)


KINDS: dict[str, Callable[[], Pictures]] = {
    "cut": _cut,
    "spliced": _spliced,
    "two things": _two_things,
    "lying metadata": _lying_metadata,
}
"""The pictures of each kind, with their names."""

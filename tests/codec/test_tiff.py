"""TIFF files of every layout that tifffile, OpenCV and Pillow write: read right, or refused by name."""

from __future__ import annotations

import struct
from io import BytesIO
from itertools import product
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import tifffile

from mattebox import codec
from mattebox.errors import Kind as Refusal
from mattebox.errors import MatteboxError
from mattebox.image import Image

from .pictures import PIXELS, assert_near, failure, noise, saved, smooth

HEIGHT, WIDTH = 37, 50
COLORS = noise(HEIGHT, WIDTH)
ALPHA = noise(HEIGHT, WIDTH, seed=2)[..., 0]
Kind = tuple[str, int, str]


def tiff(array: npt.NDArray[np.generic], **options: Any) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, array, metadata=None, **options)
    return file.getvalue()


def scaled(levels: PIXELS, dtype: str) -> npt.NDArray[np.generic]:
    """Levels of 8 bits as the same shares of another type's range."""
    if dtype[0] == "f":
        return (levels / 255).astype(dtype)
    top = np.iinfo(dtype).max
    return np.rint(levels / 255 * float(top)).astype(np.float64).clip(0, top).astype(dtype)


def planes(array: npt.NDArray[np.generic], planar: str) -> npt.NDArray[np.generic]:
    return np.moveaxis(array, -1, 0) if planar == "separate" and array.ndim == 3 else array


def read_or_named(data: bytes) -> Image | None:
    """The picture, None where it was refused for its kind; any other refusal fails."""
    try:
        return codec.decode(data)
    except MatteboxError as error:
        if "not supported" not in error.message:
            raise
        return None


MUST_BE_READ = {
    *(("u1", channels, "contig") for channels in (1, 2, 3, 4, 5)),
    *(("u2", channels, "contig") for channels in (1, 3, 4)),
    *((dtype, channels, "separate") for dtype in ("u1", "u2") for channels in (3, 4)),
    ("f4", 1, "contig"),
}


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "f2", "f4", "f8"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_every_type_of_number_is_read_right_or_refused_by_name(dtype: str, channels: int) -> None:
    everything = np.dstack([COLORS, ALPHA, ALPHA])
    stored = {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3], 5: [0, 1, 2, 3, 4]}[channels]
    array = scaled(everything[..., stored].squeeze(), dtype)
    extra = {2: ["unassalpha"], 4: ["unassalpha"], 5: ["unassalpha", "unspecified"]}.get(channels)
    expected = COLORS if channels > 2 else np.repeat(COLORS[..., :1], 3, axis=2)
    for planar, packing, order, tile in product(("contig", "separate"), (None, "zlib"), "<>", (None, (32, 32))):
        if channels == 1 and planar == "separate":
            continue
        image = read_or_named(
            tiff(
                planes(array, planar),
                photometric="rgb" if channels > 2 else "minisblack",
                planarconfig=planar if channels > 1 else None,
                extrasamples=extra,
                compression=packing,
                byteorder=order,
                tile=tile,
            )
        )
        if image is None:
            assert (dtype, channels, planar) not in MUST_BE_READ
            continue
        assert_near(image.rgb, expected, 1)
        if extra is None:
            assert image.alpha is None
        else:
            assert image.alpha is not None
            np.testing.assert_allclose(image.alpha, ALPHA / 255, atol=0.005)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("packing", [None, "zlib"])
@pytest.mark.parametrize("order", "<>")
def test_every_kind_of_colour(dtype: str, planar: str, packing: str | None, order: str) -> None:
    wide = 1 if dtype == "u1" else 257
    share = ALPHA / np.float32(255)

    def check(
        array: npt.NDArray[np.generic], expected: PIXELS, must: bool, tolerance: int = 1, **options: object
    ) -> None:
        separate = {"planarconfig": planar} if array.ndim == 3 else {}
        options |= {"compression": packing, "byteorder": order, **separate}
        image = read_or_named(tiff(planes(array.astype(dtype), planar), **options))
        assert image is not None or not must
        if image is not None:
            seen = share > 0.5 if options.get("extrasamples") == ["assocalpha"] else np.ones_like(share, bool)
            assert_near(image.rgb[seen], expected[seen], tolerance)

    grey, levels = np.repeat(COLORS[..., :1], 3, axis=2), COLORS.astype(np.int64)
    ink = np.dstack([255 - levels, np.zeros_like(ALPHA)])
    check(ink * wide, COLORS, must=True, tolerance=2, photometric="separated")
    check((255 - levels[..., 0]) * wide, grey, must=(dtype, order) != ("u2", ">"), photometric="miniswhite")
    dark = np.dstack([np.rint(COLORS * share[..., None]), ALPHA]) * wide
    check(dark, COLORS, must=planar == "contig", tolerance=3, photometric="rgb", extrasamples=["assocalpha"])
    more = np.dstack([levels, ALPHA]) * wide
    check(more, COLORS, must=planar == "contig", photometric="rgb", extrasamples=["unspecified"])
    if dtype == "u1":
        table = noise(256, 1)[:, 0].T.astype(np.uint16)
        for colormap in (table * 257, table):  # old writers left the palette at 8 bits
            check(ALPHA, table.T[ALPHA].astype(np.uint8), must=True, photometric="palette", colormap=colormap)


def test_lab_has_signs() -> None:
    lab = np.zeros((8, 8, 3), np.uint8)
    lab[...] = 180, 10, 256 - 16  # lightness 70.6, a 10, b -16
    expected = np.broadcast_to(np.array([181, 167, 202], np.uint8), (8, 8, 3))  # by the formulas of CIE and sRGB
    assert_near(codec.decode(tiff(lab, photometric="cielab")).rgb, expected, 1)
    assert read_or_named(tiff(planes(lab, "separate"), photometric="cielab", planarconfig="separate")) is None
    assert read_or_named(tiff(lab, photometric="icclab")) is None


def test_a_fourth_channel_of_zeros_without_a_name_is_no_alpha() -> None:
    empty = np.dstack([COLORS, np.zeros_like(ALPHA)])
    entries = [(256, WIDTH), (257, HEIGHT), (258, 8), (259, 1), (262, 2), (273, 200), (277, 4), (278, HEIGHT)]
    for body, is_opaque in ((empty, True), (np.dstack([COLORS, ALPHA]), False)):
        table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*entries, (279, body.size)])
        start = b"II*\0" + struct.pack("<IH", 8, 9) + table
        image = codec.decode(start + bytes(200 - len(start)) + body.tobytes())
        assert_near(image.rgb, COLORS)
        assert (image.alpha is None) is is_opaque
    named = codec.decode(tiff(empty, photometric="rgb", extrasamples=["unassalpha"]))
    assert named.alpha is not None
    assert named.alpha.max() == 0


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("packing", [1, 5, 8, 32773, 32946])
@pytest.mark.parametrize("predictor", [1, 2])
def test_what_opencv_writes(wide: bool, packing: int, predictor: int) -> None:
    pixels = smooth().astype(np.uint16) * 257 if wide else smooth()
    options = [cv2.IMWRITE_TIFF_COMPRESSION, packing, cv2.IMWRITE_TIFF_PREDICTOR, predictor]
    written, data = cv2.imencode(".tif", np.ascontiguousarray(pixels[..., ::-1]), options)
    assert written
    assert_near(codec.decode(data.tobytes()).rgb, smooth())


@pytest.mark.parametrize("packing", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "zstd", "lzma", "jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK"])
def test_what_pillow_writes(mode: str, packing: str) -> None:
    if (mode, packing) == ("RGBA", "jpeg"):
        return  # JPEG has no alpha
    picture = PIL.Image.fromarray(smooth()).convert(mode)
    options = {"quality": 100} if packing == "jpeg" else {}
    image = codec.decode(saved(picture, "TIFF", compression=packing, **options))
    assert_near(image.rgb, np.asarray(picture.convert("RGB")), 6 if packing == "jpeg" else 0)


@pytest.mark.parametrize("packing", ["group3", "group4", "tiff_ccitt"])
def test_faxes(packing: str) -> None:
    dots = PIL.Image.fromarray(smooth()).convert("1")
    image = codec.decode(saved(dots, "TIFF", compression=packing))
    np.testing.assert_array_equal(image.rgb[..., 0], np.asarray(dots) * np.uint8(255))


def test_strips_of_channels_that_are_stored_one_by_one() -> None:
    wide = COLORS.astype(np.uint16) * 257
    arrays: list[npt.NDArray[np.generic]] = [COLORS, wide]
    for array, rows in product(arrays, (5, 16)):
        data = tiff(planes(array, "separate"), photometric="rgb", planarconfig="separate", rowsperstrip=rows)
        assert_near(codec.decode(data).rgb, COLORS, 1)


def with_bits_turned(data: bytes) -> bytes:
    """A TIFF whose bytes begin with their last bit, said in the place of its tag 305, the name of a program."""
    at = data.index(struct.pack("<HH", 305, 2))
    return data[:at] + struct.pack("<HHII", 266, 3, 1, 2) + data[at + 12 :]


def unusual() -> dict[str, bytes]:
    plain, usual = struct.pack("<HHIH", 259, 3, 1, 1), struct.pack("<HHIH", 259, 3, 1, 7777)
    five = np.dstack([COLORS, ALPHA, ALPHA])
    return {
        "CMYK in 5 channels": tiff(five, photometric="separated", extrasamples=["unassalpha"]),
        "RGB in 3 channels of 32-bit floating-point": tiff(COLORS.astype(np.float32), photometric="rgb"),
        "YCbCr": tiff(COLORS, photometric="ycbcr"),
        "16-bit signed": tiff(COLORS[..., 0].astype(np.int16)),
        "complex": tiff(COLORS[..., 0].astype(np.complex64)),
        "compression 50001": tiff(COLORS, photometric="rgb").replace(plain, struct.pack("<HHIH", 259, 3, 1, 50001)),
        "first byte first": tiff(COLORS, photometric="rgb", byteorder=">", bigtiff=True),
        "This variety of TIFF": with_bits_turned(tiff(COLORS[..., 0], photometric="miniswhite")),
        "compression 7777": tiff(COLORS, photometric="rgb").replace(plain, usual),
    }


@pytest.mark.parametrize("words", unusual())
def test_what_is_whole_and_not_supported_is_called_that(words: str) -> None:
    message = failure(unusual()[words]).message
    assert words in message
    assert "not supported" in message
    assert "damaged" not in message


def test_tags_without_values_and_negative_colours_are_no_defect() -> None:
    """A kind of colour of no numbers counts as not said; a palette of signed numbers below 0 is none."""
    grey = tiff(scaled(COLORS[..., 0], "u2"), compression="lzma")
    empty = grey.replace(struct.pack("<HHI", 262, 3, 1), struct.pack("<HHI", 262, 3, 0))
    assert empty != grey
    assert read_or_refused(empty)
    table = np.zeros((3, 256), np.uint16)
    table[:, 1:] = 65535
    colors = tiff(COLORS[..., 0], photometric="palette", colormap=table)
    signed = colors.replace(struct.pack("<HHI", 320, 3, 768), struct.pack("<HHI", 320, 8, 768))
    assert signed != colors
    assert read_or_refused(signed)


def read_or_refused(data: bytes) -> bool:
    """True unless something else is raised than what a file is refused with."""
    try:
        return codec.decode(data).rgb.shape == COLORS.shape
    except MatteboxError as error:
        return error.kind is Refusal.UNREADABLE_IMAGE

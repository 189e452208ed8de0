from __future__ import annotations

import struct
from io import BytesIO
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import tifffile

from mattebox import codec
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image

from .icc import display_p3
from .pictures import PIXELS, assert_near, cutout, exif, failure, noise, quadrants, raw_png, saved, smooth

# --- depth and colour kinds


def test_16_bit_grey_png_is_scaled_and_not_clipped() -> None:
    levels = np.linspace(0, 65535, 300).astype(np.uint16).reshape(10, 30)
    image = codec.decode(saved(levels, "PNG"))
    expected = np.rint(levels / 257).astype(np.uint8)
    np.testing.assert_array_equal(image.rgb, np.repeat(expected[..., None], 3, axis=2))
    assert image.rgb.max() == 255


def test_16_bit_grey_tiff_of_either_byte_order() -> None:
    levels = np.array([[0, 128, 129, 32768, 65535]], np.uint16)
    for order, mode in (("<", b"II"), (">", b"MM")):
        body = levels.astype(order + "u2").tobytes()
        entries = [(256, 5), (257, 1), (258, 16), (259, 1), (262, 1), (273, 200), (277, 1), (278, 1), (279, 10)]
        table = b"".join(struct.pack(order + "HHI", tag, 4, 1) + struct.pack(order + "I", v) for tag, v in entries)
        start = mode + struct.pack(order + "HIH", 42, 8, len(entries)) + table
        image = codec.decode(start + bytes(200 - len(start)) + body)
        assert image.rgb[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_16_bit_tiff_with_white_as_zero_is_not_a_negative() -> None:
    entries = [(256, 3), (257, 1), (258, 16), (259, 1), (262, 0), (273, 200), (277, 1), (278, 1), (279, 6)]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    start = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table
    image = codec.decode(start + bytes(200 - len(start)) + struct.pack("<HHH", 0, 32896, 65535))
    assert image.rgb[0, :, 0].tolist() == [255, 127, 0]


def test_16_bit_rgb_png_reaches_both_ends_and_errs_by_less_than_a_level() -> None:
    levels = np.random.default_rng(3).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    levels[0, 0] = 0, 32768, 65535
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    image = codec.decode(raw_png(30, 20, 16, 2, rows))
    assert image.rgb[0, 0].tolist() == [0, 128, 255]
    assert np.abs(image.rgb - levels / 257).max() < 1
    assert abs(float((image.rgb - levels / 257).mean())) < 0.05


def test_16_bit_rgba_png() -> None:
    levels = np.array([[[65535, 0, 32768, 65535], [65535, 0, 32768, 32768]]], np.uint16)
    image = codec.decode(raw_png(2, 1, 16, 6, b"\0" + levels.astype(">u2").tobytes()))
    assert image.rgb[0, 0].tolist() == [255, 0, 128]
    assert image.alpha is not None
    np.testing.assert_allclose(image.alpha, [[1, 0.5]], atol=0.003)


def test_floating_point_tiff() -> None:
    image = codec.decode(saved(np.array([[0, 0.5, 1]], np.float32), "TIFF"))
    assert image.rgb[0, :, 1].tolist() == [0, 128, 255]
    for levels in ([[0, 300.0]], [[-0.1, 1]], [[0, np.nan]], [[0, np.inf]]):
        error = failure(saved(np.array(levels, np.float32), "TIFF"))
        assert error.kind is Kind.UNREADABLE_IMAGE
        assert "between 0 and 1" in error.message


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("packing", [None, "zlib"])
def test_floating_point_tiff_of_any_byte_order(order: Literal["<", ">"], packing: str | None) -> None:
    file = BytesIO()
    levels = np.array([[0, 0.5, 1], [0.25, 0.75, 0.1]], np.float32)
    tifffile.imwrite(file, levels, byteorder=order, compression=packing)
    assert_near(codec.decode(file.getvalue()).rgb[..., 0], np.rint(levels * 255).astype(np.uint8))


def test_32_bit_whole_numbers_are_refused_with_a_sentence() -> None:
    assert "32-bit" in failure(saved(np.array([[0, 70000]], np.int32), "TIFF")).message


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "GIF"])
def test_1_bit(form: str) -> None:
    dots = PIL.Image.fromarray(noise()[..., 0] > 127)
    image = codec.decode(saved(dots, form))
    np.testing.assert_array_equal(image.rgb[..., 0], np.asarray(dots) * np.uint8(255))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "GIF", "JPEG"])
def test_grey(form: str) -> None:
    grey = smooth()[..., 0]
    image = codec.decode(saved(grey, form))
    assert_near(image.rgb, np.repeat(grey[..., None], 3, axis=2), 3 if form == "JPEG" else 0)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_kept_straight(form: str) -> None:
    rgba = np.dstack([noise(), noise(seed=2)[..., 0]])
    rgba[..., 3] |= 1  # WebP drops colours that nobody sees
    image = codec.decode(saved(rgba, form, **({"lossless": True} if form == "WEBP" else {})))
    np.testing.assert_array_equal(image.rgb, rgba[..., :3])
    assert image.alpha is not None
    assert image.alpha.dtype == np.float32
    np.testing.assert_allclose(image.alpha, rgba[..., 3] / 255, atol=1e-7)


def test_grey_with_alpha() -> None:
    grey = np.dstack([noise()[..., 0], noise(seed=2)[..., 0]])
    image = codec.decode(saved(PIL.Image.fromarray(grey, "LA"), "PNG"))
    np.testing.assert_array_equal(image.rgb[..., 2], grey[..., 0])
    assert image.alpha is not None
    np.testing.assert_allclose(image.alpha, grey[..., 1] / 255, atol=1e-7)


def test_an_alpha_that_hides_nothing_is_none() -> None:
    rgba = np.dstack([noise(), np.full((40, 50), 255, np.uint8)])
    for form in ("PNG", "WEBP", "TIFF"):
        assert codec.decode(saved(rgba, form)).alpha is None


PALETTE = (b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]))


@pytest.mark.parametrize(
    ("extra", "alpha"),
    [
        ([], None),
        ([(b"tRNS", b"\xff\0")], [1, 0, 1, 1]),  # one transparent entry
        ([(b"tRNS", b"\0\x80\xff")], [0, 128 / 255, 1, 1]),  # levels
    ],
)
def test_palettes(extra: list[tuple[bytes, bytes]], alpha: list[float] | None) -> None:
    image = codec.decode(raw_png(4, 1, 2, 3, b"\0\x1b", PALETTE, *extra))
    assert image.rgb[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]
    assert (None if image.alpha is None else image.alpha[0].tolist()) == (
        None if alpha is None else pytest.approx(alpha)
    )


def test_a_transparent_gif() -> None:
    picture = PIL.Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image = codec.decode(saved(picture, "GIF", transparency=1))
    assert image.alpha is not None
    assert image.alpha.tolist() == [[1, 0, 1]]
    assert image.rgb[0, 2].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    ("depth", "color_type", "row", "key", "alpha"),
    [
        (8, 2, bytes([1, 2, 3, 4, 5, 6]), struct.pack(">HHH", 4, 5, 6), [1, 0]),
        (16, 2, struct.pack(">6H", 1000, 2000, 3000, 40000, 5, 600), struct.pack(">HHH", 40000, 5, 600), [1, 0]),
        (8, 0, bytes([7, 9]), struct.pack(">H", 9), [1, 0]),
        (16, 0, struct.pack(">HH", 1000, 1001), struct.pack(">H", 1001), [1, 0]),
        (4, 0, b"\x3c", struct.pack(">H", 12), [1, 0]),
        (2, 0, b"\x60", struct.pack(">H", 2), [1, 0]),
        (1, 0, b"\x40", struct.pack(">H", 1), [1, 0]),
        (1, 0, b"\x40", struct.pack(">H", 0), [0, 1]),
    ],
)
def test_a_transparent_colour_of_any_depth(
    depth: int, color_type: int, row: bytes, key: bytes, alpha: list[float]
) -> None:
    image = codec.decode(raw_png(2, 1, depth, color_type, b"\0" + row, (b"tRNS", key)))
    assert image.alpha is not None
    assert image.alpha.tolist() == [alpha]


# --- turning


def turned(pixels: PIXELS, orientation: int) -> PIXELS:
    match orientation:
        case 2:
            return pixels[:, ::-1]
        case 3:
            return pixels[::-1, ::-1]
        case 4:
            return pixels[::-1]
        case 5:
            return pixels.swapaxes(0, 1)
        case 6:
            return np.rot90(pixels, -1)
        case 7:
            return pixels[::-1, ::-1].swapaxes(0, 1)
        case 8:
            return np.rot90(pixels)
    return pixels


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "TIFF lzw", "AVIF"])
def test_all_orientations(form: str, orientation: int) -> None:
    options: dict[str, object] = {"exif": exif(orientation)}
    if form == "TIFF lzw":
        form, options["compression"] = "TIFF", "tiff_lzw"
    image = codec.decode(saved(quadrants(), form, **options))
    expected = turned(quadrants(), orientation)
    assert image.rgb.shape == expected.shape
    assert_near(image.rgb[4::8, 4::8], expected[4::8, 4::8], 6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_alpha_is_turned_with_the_colours(orientation: int) -> None:
    rgba = np.dstack([quadrants(), noise(48, 64)[..., 0]])
    image = codec.decode(saved(rgba, "PNG", exif=exif(orientation)))
    assert image.alpha is not None
    np.testing.assert_allclose(image.alpha, turned(rgba[..., 3], orientation) / 255, atol=1e-6)


@pytest.mark.parametrize(
    "data",
    [
        b"Exif\0\0II*\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x09",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0nonsense",
        exif(1).tobytes().replace(b"\0\x01\0\0\0\0\0\0", b"\0\x63\0\0\0\0\0\0"),
    ],
)
def test_damaged_exif_turns_nothing_and_warns_of_nothing(data: bytes) -> None:
    assert_near(codec.decode(saved(smooth(), "JPEG", quality=100, subsampling=0, exif=data)).rgb, smooth(), 3)


# --- arrays and Pillow's pictures


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3)])
@pytest.mark.parametrize(("kind", "top"), [("uint8", 255), ("uint16", 65535), ("float32", 1), ("float64", 1)])
def test_arrays_of_every_kind(shape: tuple[int, ...], kind: str, top: int) -> None:
    part = np.random.default_rng(1).random(shape)
    part.flat[0], part.flat[1] = 0, 1
    array = (part * top).astype(kind)
    image = codec.from_array(array)
    expected = np.rint(array.astype(np.float64) / top * 255)
    if array.ndim == 2:
        expected = expected[..., None]
    np.testing.assert_array_equal(image.rgb, np.broadcast_to(expected, (5, 4, 3)))
    assert image.alpha is None


@pytest.mark.parametrize(("kind", "top"), [("uint8", 255), ("uint16", 65535), ("float32", 1), ("float16", 1)])
def test_arrays_with_alpha(kind: str, top: int) -> None:
    array = (np.random.default_rng(1).random((5, 4, 4)) * top).astype(kind)
    image = codec.from_array(array)
    assert image.alpha is not None
    np.testing.assert_allclose(image.alpha, array[..., 3].astype(np.float64) / top, atol=1e-6)
    array[..., 3] = top
    assert codec.from_array(array).alpha is None


def test_arrays_of_bool() -> None:
    assert codec.from_array(np.array([[True, False]])).rgb[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize("order", "<>=")
@pytest.mark.parametrize("kind", ["u2", "f2", "f4", "f8"])
def test_arrays_of_any_byte_order(order: str, kind: str) -> None:
    pixels = np.dstack([noise(), noise(seed=2)[..., :1]])
    numbers = pixels / 255 if kind[0] == "f" else pixels.astype(np.int64) * 257
    image = codec.from_array(numbers.astype(order + kind))
    assert_near(image.rgb, pixels[..., :3])
    assert image.alpha is not None
    np.testing.assert_allclose(image.alpha, pixels[..., 3] / 255, atol=1e-3)


def test_floats_that_rounding_left_outside_are_forgiven() -> None:
    numbers = np.array([[[1 + 1e-6, -1e-9, 0.5, 1 + 1e-6], [0, 1, 1.0005, -1e-6]]])
    image = codec.from_array(numbers)
    assert image.rgb.tolist() == [[[255, 0, 128], [0, 255, 255]]]
    assert image.alpha is not None
    assert image.alpha.tolist() == [[1, 0]]


def test_a_matrix_is_an_array() -> None:
    grey = noise()[..., 0]
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.asmatrix(grey)
    np.testing.assert_array_equal(codec.from_array(matrix).rgb[..., 1], grey)


@pytest.mark.parametrize("thing", [[[1, 2], [3, 4]], None, "photo.jpg", b"photo", PIL.Image.new("L", (2, 2))])
def test_what_is_no_array_or_picture_is_blamed_by_name(thing: object) -> None:
    for read in (codec.from_array, codec.from_pil):
        if read is codec.from_pil and isinstance(thing, PIL.Image.Image):
            continue
        with pytest.raises(MatteboxError, match=type(thing).__name__) as caught:
            read(cast("Any", thing))
        assert caught.value.kind is Kind.INVALID_PARAMETER
        assert caught.value.parameter == "photo"


def test_an_array_is_copied() -> None:
    array = noise()
    image = codec.from_array(array)
    array[:] = 0
    assert image.rgb.any()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3,), np.uint8),
        np.zeros((3, 3, 2), np.uint8),
        np.zeros((3, 3, 5), np.uint8),
        np.zeros((0, 3, 3), np.uint8),
        np.zeros((1, 3, 3, 3), np.uint8),
        np.zeros((3, 3), np.int32),
        np.zeros((3, 3), np.complex128),
        np.array([["a", "b"]]),
        np.array([[0, np.nan]], np.float32),
        np.array([[0, 255.0]]),
        np.array([[-0.5, 1]]),
        np.array([[[0.1, 0.1, 0.1, np.nan]]]),
        np.array([[[0.1, 0.1, 0.1, 2.0]]]),
    ],
)
def test_arrays_that_are_no_picture(array: npt.NDArray[np.generic]) -> None:
    with pytest.raises(MatteboxError) as caught:
        codec.from_array(array)
    assert caught.value.kind is Kind.INVALID_PARAMETER
    assert caught.value.parameter == "photo"


def test_pillow_there_and_back() -> None:
    image = cutout(icc=display_p3())
    picture = codec.to_pil(image)
    assert picture.mode == "RGBA"
    assert picture.info["icc_profile"] == display_p3()
    again = codec.from_pil(picture)
    np.testing.assert_array_equal(again.rgb, image.rgb)
    assert again.icc == display_p3()
    assert again.alpha is not None
    assert image.alpha is not None
    np.testing.assert_allclose(again.alpha, image.alpha, atol=0.5 / 255 + 1e-6)
    assert codec.to_pil(Image(rgb=noise())).mode == "RGB"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_pillows_pictures_are_turned_as_files_are(form: str) -> None:
    data = saved(quadrants(), form, exif=exif(8))
    image = codec.from_pil(PIL.Image.open(BytesIO(data)))
    np.testing.assert_array_equal(image.rgb, codec.decode(data).rgb)
    loaded = PIL.Image.open(BytesIO(data))
    loaded.load()
    assert codec.from_pil(loaded).rgb.shape == (64, 48, 3)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "La", "CMYK", "YCbCr", "HSV", "RGBX"]
)
def test_pillows_pictures_of_every_mode(mode: str) -> None:
    source = PIL.Image.fromarray(quadrants())
    for step in {"PA": ["P", "PA"], "RGBa": ["RGBA", "RGBa"], "La": ["LA", "La"]}.get(mode, [mode]):
        source = source.convert(step)
    image = codec.from_pil(source)
    assert_near(image.rgb, np.asarray(source.convert("RGBA").convert("RGB")) if mode != "La" else image.rgb, 1)
    assert image.alpha is None


def test_pillows_pictures_of_whole_numbers_and_of_fractions() -> None:
    grey = noise()[..., 0]
    for mode in ("I", "F"):
        image = codec.from_pil(PIL.Image.fromarray(grey).convert(mode))
        np.testing.assert_array_equal(image.rgb[..., 0], grey)
    wide = PIL.Image.fromarray(grey.astype(np.int32) * 257)
    assert wide.mode == "I"
    np.testing.assert_array_equal(codec.from_pil(wide).rgb[..., 2], grey)
    shares = PIL.Image.fromarray((grey / 255).astype(np.float32))
    np.testing.assert_array_equal(codec.from_pil(shares).rgb[..., 1], grey)


@pytest.mark.parametrize("numbers", [[[0, 70000]], [[-1, 5]], [[0.0, 300]], [[-2.0, 1]], [[0.0, np.nan]]])
def test_pillows_numbers_out_of_range_are_refused(numbers: list[list[float]]) -> None:
    array = np.array(numbers)
    picture = PIL.Image.fromarray(array.astype(np.int32 if array.dtype.kind == "i" else np.float32))
    with pytest.raises(MatteboxError, match="must have numbers in") as caught:
        codec.from_pil(picture)
    assert caught.value.kind is Kind.INVALID_PARAMETER
    assert caught.value.parameter == "photo"


def test_pillows_picture_of_a_broken_file() -> None:
    data = saved(noise(), "PNG")
    with pytest.raises(MatteboxError) as caught:
        codec.from_pil(PIL.Image.open(BytesIO(data[: len(data) // 2])))
    assert caught.value.kind is Kind.UNREADABLE_IMAGE

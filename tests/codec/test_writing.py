from __future__ import annotations

import tracemalloc
import zipfile
from io import BytesIO

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mattebox import codec
from mattebox.edit import Format, Output
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image

from .icc import display_p3
from .pictures import PIXELS, assert_near, cutout, exif, noise, opened, saved, smooth, soft_alpha


def as_written(image: Image) -> tuple[PIXELS, PIXELS]:
    """Colours and alpha as a file with alpha must hold them."""
    assert image.alpha is not None
    alpha = np.rint(image.alpha * np.float32(255)).astype(np.uint8)
    return np.where(alpha[..., None] == 0, 0, image.rgb).astype(np.uint8), alpha


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 60), width=st.integers(1, 60))
def test_png_is_exact_at_every_size(height: int, width: int) -> None:
    image = cutout(height, width)
    data = codec.encode(image, Output())
    PIL.Image.open(BytesIO(data)).verify()
    rgb, alpha = as_written(image)
    np.testing.assert_array_equal(np.asarray(opened(data)), np.dstack([rgb, alpha]))


def test_png_of_many_bands_is_exact() -> None:
    image = cutout(700, 900, display_p3())
    picture = opened(codec.encode(image, Output()))
    rgb, alpha = as_written(image)
    np.testing.assert_array_equal(np.asarray(picture), np.dstack([rgb, alpha]))
    assert picture.info["icc_profile"] == display_p3()


def test_an_opaque_png_has_no_alpha() -> None:
    image = Image(rgb=noise(), icc=display_p3())
    picture = opened(codec.encode(image, Output()))
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), image.rgb)
    assert picture.info["icc_profile"] == display_p3()


def test_png_is_written_in_little_memory() -> None:
    image = Image(rgb=np.zeros((3000, 2000, 3), np.uint8), alpha=np.zeros((3000, 2000), np.float32))
    codec.encode(image, Output())
    tracemalloc.start()
    codec.encode(image, Output())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000  # the RGBA picture would be 24 MB, and as much again filtered


def test_nothing_of_the_background_stays_in_a_file_with_alpha() -> None:
    image = cutout()
    for form, quality in ((Format.PNG, None), (Format.WEBP, 100)):
        rgba = np.asarray(opened(codec.encode(image, Output(format=form, quality=quality))))
        assert (rgba[..., 3] == 0).any()
        assert not rgba[rgba[..., 3] == 0].any()


def test_lossless_webp_is_exact() -> None:
    image = cutout(icc=display_p3())
    picture = opened(codec.encode(image, Output(format=Format.WEBP, quality=100)))
    rgb, alpha = as_written(image)
    np.testing.assert_array_equal(np.asarray(picture), np.dstack([rgb, alpha]))
    assert picture.info["icc_profile"] == display_p3()


def test_lossy_webp_keeps_alpha_exactly_and_colours_nearly() -> None:
    image = Image(rgb=smooth(), alpha=soft_alpha(48, 64), icc=display_p3())
    data = codec.encode(image, Output(format=Format.WEBP))
    picture = opened(data)
    assert picture.format == "WEBP"
    rgba = np.asarray(picture)
    _, alpha = as_written(image)
    np.testing.assert_array_equal(rgba[..., 3], alpha)
    solid = alpha == 255
    assert np.abs(rgba[solid][:, :3].astype(int) - image.rgb[solid]).mean() < 6
    assert picture.info["icc_profile"] == display_p3()
    assert len(codec.encode(image, Output(format=Format.WEBP, quality=20))) < len(data)


@pytest.mark.parametrize("by_opencv", [True, False])
def test_avif_keeps_alpha_and_profile(by_opencv: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not by_opencv:  # as on Windows
        monkeypatch.setattr(cv2, "haveImageWriter", lambda name: False)
    image = Image(rgb=smooth(), alpha=soft_alpha(48, 64), icc=display_p3())
    data = codec.encode(image, Output(format=Format.AVIF))
    picture = opened(data)
    assert picture.format == "AVIF"
    assert picture.mode == "RGBA"
    _, alpha = as_written(image)
    assert np.abs(np.asarray(picture)[..., 3].astype(int) - alpha).mean() < 3
    assert picture.info["icc_profile"] == display_p3()
    assert opened(codec.encode(Image(rgb=smooth()), Output(format=Format.AVIF))).mode == "RGB"
    assert len(codec.encode(image, Output(format=Format.AVIF, quality=10))) < len(data)
    best = opened(codec.encode(Image(rgb=smooth()), Output(format=Format.AVIF, quality=100)))
    assert np.abs(np.asarray(best).astype(int) - smooth()).mean() < 2  # in the same order of channels
    assert "icc_profile" not in best.info


def test_jpeg_puts_a_cutout_on_white() -> None:
    image = Image(rgb=smooth(), alpha=soft_alpha(48, 64))
    assert image.alpha is not None
    written = np.asarray(opened(codec.encode(image, Output(format=Format.JPEG, quality=100))))
    expected = 255 + image.alpha[..., None] * (image.rgb - 255.0)
    assert np.abs(written - expected).max() < 5
    assert_near(written[:, :8], np.full((48, 8, 3), 255, np.uint8), 1)


def test_jpeg_of_an_opaque_picture() -> None:
    written = np.asarray(opened(codec.encode(Image(rgb=smooth()), Output(format=Format.JPEG))))
    assert_near(written, smooth(), 12)


@pytest.mark.parametrize("size", [500, 65519, 65520, 200_000])
def test_jpeg_carries_a_profile_of_any_length(size: int) -> None:
    icc = (display_p3() + noise(300, 300).tobytes())[:size]
    data = codec.encode(Image(rgb=smooth(), icc=icc), Output(format=Format.JPEG))
    assert opened(data).info["icc_profile"] == icc


def test_jpeg_halves_colour_only_at_low_quality() -> None:
    from PIL.JpegImagePlugin import get_sampling

    for quality, sampling in ((None, 0), (90, 0), (89, 2), (50, 2)):
        data = codec.encode(Image(rgb=smooth()), Output(format=Format.JPEG, quality=quality))
        assert get_sampling(opened(data)) == sampling


def test_zip_holds_colours_and_matte() -> None:
    image = Image(rgb=smooth(), alpha=soft_alpha(48, 64), icc=display_p3())
    data = codec.encode(image, Output(format=Format.ZIP))
    with zipfile.ZipFile(BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["color.jpg", "alpha.png"]
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}
        color, matte = opened(archive.read("color.jpg")), opened(archive.read("alpha.png"))
    _, alpha = as_written(image)
    assert matte.mode == "L"
    np.testing.assert_array_equal(np.asarray(matte), alpha)
    assert color.info["icc_profile"] == display_p3()
    pixels = np.asarray(color)
    solid = np.s_[8:-8, 24:]  # straight colours, also where the alpha is half
    assert_near(pixels[solid], smooth()[solid], 10)
    assert_near(pixels[:, :8], np.full((48, 8, 3), 255, np.uint8), 3)
    assert codec.encode(image, Output(format=Format.ZIP)) == data


def test_zip_of_an_opaque_picture_has_a_white_matte() -> None:
    with zipfile.ZipFile(BytesIO(codec.encode(Image(rgb=smooth()), Output(format=Format.ZIP)))) as archive:
        assert np.asarray(opened(archive.read("alpha.png"))).min() == 255


@pytest.mark.slow
def test_a_large_picture_that_is_all_detail_is_written_as_webp() -> None:
    """Its modes overflow the part of the file that they are in, where libwebp does not look ahead."""
    rgb = noise(4_000, 4_000)
    rgb[:] = rgb[:, :, :1]
    picture = opened(codec.encode(Image(rgb=rgb), Output(format=Format.WEBP)))
    assert np.abs(np.asarray(picture).astype(np.int16) - rgb).mean() < 8


def test_a_webp_of_two_frames_is_its_first() -> None:
    frames = [PIL.Image.fromarray(noise(seed=seed)) for seed in (1, 2)]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_array_equal(codec.decode(data).rgb, noise(seed=1))


@pytest.mark.parametrize("form", [Format.PNG, Format.WEBP, Format.JPEG, Format.AVIF])
def test_the_matte_alone(form: Format) -> None:
    image = cutout(icc=display_p3())
    picture = opened(codec.encode(image, Output(format=form, alpha_only=True)))
    assert picture.format == form.name
    assert "icc_profile" not in picture.info
    grey = np.asarray(picture.convert("L"))
    _, alpha = as_written(image)
    assert_near(grey, alpha, 0 if form is Format.PNG else 12)
    if form in (Format.PNG, Format.JPEG):
        assert picture.mode == "L"
    opaque = opened(codec.encode(Image(rgb=smooth()), Output(format=form, alpha_only=True)))
    assert np.asarray(opaque.convert("L")).min() >= 254


def test_a_zip_of_the_matte_alone_is_refused() -> None:
    with pytest.raises(MatteboxError) as caught:
        codec.encode(cutout(), Output(format=Format.ZIP, alpha_only=True))
    assert caught.value.kind is Kind.INVALID_PARAMETER


@pytest.mark.parametrize(
    ("form", "side"), [(Format.WEBP, 16383), (Format.JPEG, 65500), (Format.ZIP, 65500), (Format.AVIF, 65536)]
)
def test_sides_that_a_format_cannot_hold(form: Format, side: int) -> None:
    for shape in ((1, side + 1, 3), (side + 1, 1, 3)):
        with pytest.raises(MatteboxError, match=f"{side:,}") as caught:
            codec.encode(Image(rgb=np.zeros(shape, np.uint8)), Output(format=form))
        assert caught.value.kind is Kind.INVALID_PARAMETER
    if form is not Format.AVIF:  # too slow at this length
        assert codec.encode(Image(rgb=np.zeros((1, side, 3), np.uint8)), Output(format=form))


def test_the_place_where_a_photo_was_taken_is_not_written() -> None:
    data = exif(6)
    data.get_ifd(0x8825)[1] = "N"
    image = codec.decode(saved(smooth(), "JPEG", exif=data))
    for form in (Format.PNG, Format.WEBP, Format.JPEG, Format.AVIF):
        picture = opened(codec.encode(image, Output(format=form)))
        assert not picture.getexif()
        assert picture.size == (48, 64)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), height=st.integers(1, 30), width=st.integers(1, 30))
def test_what_is_written_can_be_read_again(seed: int, height: int, width: int) -> None:
    levels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    image = Image(rgb=noise(height, width, seed), alpha=np.divide(levels, 255, dtype=np.float32))
    again = codec.decode(codec.encode(image, Output()))
    rgb, alpha = as_written(image)
    np.testing.assert_array_equal(again.rgb, rgb)
    np.testing.assert_allclose(1 if again.alpha is None else again.alpha, alpha / 255, atol=1e-6)


def test_names_of_formats() -> None:
    for text in ("png", "PNG", ".png", " .Png "):
        assert codec.format_named(text) is Format.PNG
    assert codec.format_named("jpg") is codec.format_named(".JPEG") is Format.JPEG
    assert codec.format_named("gif") is None
    assert codec.format_named("") is None
    for each in Format:
        assert codec.format_named(codec.extension(each)) is each
        assert codec.media_type(each).startswith(("image/", "application/zip"))

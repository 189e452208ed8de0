"""Pictures to files: the formats that are written, their names, and how each is packed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mattebox.codec import jpeg, png
from mattebox.codec.pixels import Bytes, alpha_levels
from mattebox.edit import Format, Output
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Image, row_bands
from mattebox.stages import Stage, stage

if TYPE_CHECKING:
    import PIL.Image

_LARGE = 2**23  # pixels


class _Written(NamedTuple):
    """The properties of a format that is written; `quality` is its default."""

    media_type: str
    extension: str
    longest_side: int
    quality: int


_WRITTEN = {
    Format.PNG: _Written("image/png", ".png", png.MAX_PNG_SIDE, 100),
    Format.WEBP: _Written("image/webp", ".webp", 16383, 90),
    Format.JPEG: _Written("image/jpeg", ".jpg", jpeg.LONGEST_SIDE, jpeg.DEFAULT_QUALITY),
    Format.AVIF: _Written("image/avif", ".avif", 65536, 75),
    Format.ZIP: _Written("application/zip", ".zip", jpeg.LONGEST_SIDE, 95),
}


def media_type(format: Format) -> str:  # noqa: A002 - the field's own word
    """The media type of a format, as in `image/png`."""
    return _WRITTEN[format].media_type


def extension(format: Format) -> str:  # noqa: A002
    """The usual ending of a file's name with its dot, as in `.png`."""
    return _WRITTEN[format].extension


def format_named(text: str) -> Format | None:
    """The format of a word or file ending in any case, with or without a dot; None where there is none."""
    word = text.strip().lower().removeprefix(".")
    return Format.JPEG if word == "jpg" else next((each for each in Format if each.value == word), None)


def encode(image: Image, output: Output) -> bytes:
    """Write a picture, or with `output.alpha_only` its matte, in the format that `output` names.

    Colours are written as 0 wherever the written alpha is 0, so that nothing of a removed background stays in the
    file. The profile is kept. EXIF data, with the place where a photo was taken, is never written. JPEG has no alpha:
    the picture is put on white. A ZIP holds `color.jpg`, the straight foreground colours, and `alpha.png`.

    Raises:
        MatteboxError: INVALID_PARAMETER where the format cannot hold so wide or high a picture, or a ZIP is asked to
            hold the matte only.
    """
    with stage(Stage.ENCODE):
        return writer(image, output)()


def writer(image: Image, output: Output) -> Callable[[], bytes]:
    """The last part of `encode`, to be called once nobody needs the picture any more.

    It holds what is written and no more. For WebP and AVIF, whose encoders take several times the memory of the
    picture, that is a copy, so that a caller who lets go of the picture first makes room for the encoder.

    Raises:
        MatteboxError: as `encode`.
    """
    longest = _WRITTEN[output.format].longest_side
    if max(image.width, image.height) > longest:
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            f"A side of this picture is longer than the {longest:,} pixels that {output.format} can hold; "
            "choose PNG or a smaller size.",
            parameter="format",
        )
    quality = output.quality or _WRITTEN[output.format].quality
    if output.alpha_only and output.format is Format.ZIP:
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            "A ZIP holds the colours and the matte; choose PNG for the matte alone.",
            parameter="format",
        )
    if output.alpha_only:
        return _matte_writer(image, output.format, quality)
    match output.format:
        case Format.PNG:
            return partial(_encode_png, image)
        case Format.JPEG:
            return partial(jpeg.encode, _over_white(image), quality, image.icc)
        case Format.ZIP:
            return partial(_encode_zip, image, quality)
        case Format.WEBP:
            return _saver(_straight(image), output.format, quality, image.icc)
        case Format.AVIF:
            return _avif_writer(_straight(image), quality, image.icc)


def _straight_bands(rgb: RGB, alpha: Alpha) -> Iterator[Bytes]:
    """RGBA, with all four 0 where the alpha is."""
    import cv2

    for rows in row_bands(*alpha.shape):
        levels = alpha_levels(alpha[rows])
        rgba = cv2.cvtColor(rgb[rows], cv2.COLOR_RGB2RGBA)
        cv2.insertChannel(levels, rgba, 3)
        yield cv2.copyTo(rgba, levels, np.zeros_like(rgba)).view(np.uint8)


def _straight(image: Image) -> Bytes:
    """RGBA, or RGB where the picture is opaque."""
    if image.alpha is None:
        return image.rgb
    rgba = np.empty((image.height, image.width, 4), np.uint8)
    for rows, band in zip(row_bands(*image.alpha.shape), _straight_bands(image.rgb, image.alpha), strict=True):
        rgba[rows] = band
    return rgba


def _over_white(image: Image) -> RGB:
    import cv2

    if image.alpha is None:
        return image.rgb
    flat = np.empty_like(image.rgb)
    for rows in row_bands(image.height, image.width):
        # white + alpha (color - white); the difference is negative, which leaves 0 to its absolute value below
        difference = np.subtract(image.rgb[rows], np.float32(255), dtype=np.float32)
        difference *= cv2.cvtColor(image.alpha[rows], cv2.COLOR_GRAY2RGB)
        difference += np.float32(255)
        flat[rows] = cv2.convertScaleAbs(difference)
    return flat


def _colors_over_white(image: Image) -> RGB:
    """The foreground's own colours, not mixed with anything, and white where there is no foreground."""
    import cv2

    if image.alpha is None:
        return image.rgb
    colors = np.full_like(image.rgb, 255)
    for rows in row_bands(image.height, image.width):
        cv2.copyTo(image.rgb[rows], alpha_levels(image.alpha[rows]), colors[rows])
    return colors


def _encode_png(image: Image) -> bytes:
    if image.alpha is None:
        bands: Iterator[Bytes] = (image.rgb[rows] for rows in row_bands(image.height, image.width))
    else:
        bands = _straight_bands(image.rgb, image.alpha)
    channels = 3 if image.alpha is None else 4
    return png.encode(bands, width=image.width, height=image.height, channels=channels, icc=image.icc)


def _matte_writer(image: Image, format: Format, quality: int) -> Callable[[], bytes]:  # noqa: A002
    """For the matte as a grey picture. It has no profile: its numbers are fractions and no colours."""
    size = (image.height, image.width)
    grey = np.full(size, 255, np.uint8) if image.alpha is None else alpha_levels(image.alpha)
    if format is Format.PNG:
        bands = (grey[rows][..., None] for rows in row_bands(*size))
        return partial(png.encode, bands, width=image.width, height=image.height, channels=1)
    if format is Format.JPEG:
        return partial(jpeg.encode, grey[..., None], quality, None)
    return _saver(grey, format, quality, None)


def _encode_zip(image: Image, quality: int) -> bytes:
    import zipfile

    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # both are compressed already
        archive.writestr(zipfile.ZipInfo("color.jpg"), jpeg.encode(_colors_over_white(image), quality, image.icc))
        archive.writestr(zipfile.ZipInfo("alpha.png"), _matte_writer(image, Format.PNG, quality)())
    return file.getvalue()


def _avif_writer(pixels: Bytes, quality: int, icc: bytes | None) -> Callable[[], bytes]:
    """For RGB or RGBA. The file is the same either way: OpenCV takes 3/4 of the time and 2/3 of the memory that Pillow
    does, but its wheels for Windows have no AVIF.
    """
    import cv2

    if not cv2.haveImageWriter(".avif"):
        return _saver(pixels, Format.AVIF, quality, icc)
    swapped = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    return partial(_encode_avif, np.asarray(swapped, np.uint8), quality, icc)


def _encode_avif(pixels: Bytes, quality: int, icc: bytes | None) -> bytes:
    import cv2

    # 100 would be lossless there, with colours at full resolution: twice the memory.
    options = [cv2.IMWRITE_AVIF_QUALITY, min(quality, 99), cv2.IMWRITE_AVIF_SPEED, 9]
    kinds, profiles = ([cv2.IMAGE_METADATA_ICCP], [np.frombuffer(icc, np.uint8)]) if icc else ([], [])
    is_written, data = cv2.imencodeWithMetadata(".avif", pixels, kinds, profiles, options)
    if not is_written:
        raise OSError("OpenCV could not write an AVIF")
    return data.tobytes()


def _saver(pixels: Bytes, format: Format, quality: int, icc: bytes | None) -> Callable[[], bytes]:  # noqa: A002
    """For WebP or AVIF, from grey, RGB or RGBA."""
    from PIL import Image as Pillow

    picture = Pillow.fromarray(pixels)
    options: dict[str, object]
    if format is Format.AVIF:
        options = {"quality": quality, "speed": 9}
    elif quality == 100:
        # In lossless WebP `quality` is effort: this is ten times faster than quality 80, method 4, and a third larger.
        options = {"lossless": True, "quality": 0, "method": 0}
    else:
        # Faster methods fail at a large picture that is all detail: its modes fill more than the 512 KiB that they may
        # have, which method 2 notices and mends.
        method = 2 if picture.width * picture.height > _LARGE else 0
        options = {"quality": quality, "alpha_quality": 100, "method": method}
    return partial(_saved, picture, format, {**options, "icc_profile": icc or b""})


def _saved(picture: PIL.Image.Image, format: Format, options: dict[str, object]) -> bytes:  # noqa: A002
    file = BytesIO()
    picture.save(file, format.name, **options)
    return file.getvalue()

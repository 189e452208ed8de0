from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from mattebox import codec
from mattebox.codec import Limits
from mattebox.edit import Format, Output
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image
from mattebox.picture_files import keep, transform
from mattebox.testing import make_scene
from mattebox.transforms import Crop, Resize, Watermark

SCENE = make_scene(width=320, height=240, seed=3)
PHOTO = codec.encode(Image(rgb=SCENE.photo), Output())


def opened(data: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(data))


def sideways(form: str) -> bytes:
    """A picture 30 high and 40 wide that is to be seen turned by a quarter."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    PIL.Image.fromarray(SCENE.photo[:30, :40]).save(file, form, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_what_browsers_show_is_kept_as_it_is(form: str) -> None:
    file = sideways(form)
    found = keep(file)
    assert found.data is file
    assert (found.media_type, found.width, found.height) == (f"image/{form.lower()}", 30, 40)


def test_anything_else_is_kept_as_a_png() -> None:
    file = sideways("TIFF")
    found = keep(file)
    assert (found.media_type, found.width, found.height) == ("image/png", 30, 40)
    np.testing.assert_array_equal(codec.decode(found.data).rgb, np.rot90(SCENE.photo[:30, :40], -1))


@pytest.mark.parametrize("form", [Format.JPEG, Format.PNG, Format.WEBP])
def test_half_a_picture_is_not_kept(form: Format) -> None:
    file = codec.encode(Image(rgb=SCENE.photo), Output(format=form))
    for data in (file[: len(file) // 2], b"", b"a letter"):
        with pytest.raises(MatteboxError) as caught:
            keep(data)
        assert caught.value.kind is Kind.UNREADABLE_IMAGE
    for limits, kind in ((Limits(max_bytes=10), Kind.TOO_MANY_BYTES), (Limits(max_pixels=10), Kind.TOO_MANY_PIXELS)):
        with pytest.raises(MatteboxError) as caught:
            keep(file, limits=limits)
        assert caught.value.kind is kind


def test_a_change_keeps_the_format_unless_it_is_told_another() -> None:
    part = Crop(left=0, top=0, right=10, bottom=20)
    for form, expected in (("JPEG", "jpeg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "png")):
        found = transform(part, sideways(form))
        assert (found.media_type, found.width, found.height) == (f"image/{expected}", 10, 20)
        assert opened(found.data).format == expected.upper()
        webp = transform(None, sideways(form), output=Output(format=Format.WEBP))
        assert (webp.media_type, webp.width, webp.height) == ("image/webp", 30, 40)
    np.testing.assert_array_equal(
        codec.decode(transform(part, sideways("PNG")).data).rgb, np.rot90(SCENE.photo[:30, :40], -1)[:20, :10]
    )


def test_a_change_is_within_limits() -> None:
    limits = Limits(max_pixels=320 * 240)
    assert transform(Resize(width=320), PHOTO, limits=limits).height == 240
    with pytest.raises(MatteboxError) as caught:
        transform(Resize(width=321), PHOTO, limits=limits)
    assert (caught.value.kind, caught.value.parameter) == (Kind.INVALID_PARAMETER, "width")
    large = codec.encode(Image(rgb=np.zeros((241, 320, 3), np.uint8)), Output())
    for photo, mark in ((large, PHOTO), (PHOTO, large)):
        with pytest.raises(MatteboxError) as caught:
            transform(Watermark(places=((0, 0),)), photo, marks=[mark], limits=limits)
        assert caught.value.kind is Kind.TOO_MANY_PIXELS


def test_a_change_can_be_stopped_between_its_pictures() -> None:
    for after in range(1, 5):
        calls = 0

        def stop(after: int = after) -> None:
            nonlocal calls
            calls += 1
            if calls == after:
                raise MatteboxError(Kind.CANCELLED, "Enough.")

        with pytest.raises(MatteboxError, match="Enough"):
            transform(Watermark(places=((0, 0), (1, 1))), PHOTO, marks=[PHOTO, PHOTO], checkpoint=stop)
        assert calls == after


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_marks_are_put_on_a_picture_of_every_format(form: str) -> None:
    """On the decoded picture itself, which no other reader of it may hold or keep from being written to."""
    file = io.BytesIO()
    PIL.Image.fromarray(np.full((40, 60, 3), 200, np.uint8)).save(file, form)
    mark = codec.encode(Image(rgb=np.zeros((40, 30, 3), np.uint8)), Output())
    made = transform(Watermark(places=((30, 0),)), file.getvalue(), marks=[mark], output=Output())
    found = codec.decode(made.data).rgb
    assert found[:, :30].min() >= 190
    assert not found[:, 30:].any()

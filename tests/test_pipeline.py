from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from mattebox import codec
from mattebox.codec import Limits
from mattebox.edit import Color, Edit, Foreground, Format, Layout, Matte, Output
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image
from mattebox.models import Models
from mattebox.pipeline import Engine, keep, transform
from mattebox.testing import FakeModels, FakeSegmenter, make_scene
from mattebox.transforms import Crop, Resize, Watermark

SCENE = make_scene(width=320, height=240, seed=3)
PHOTO = codec.encode(Image(rgb=SCENE.photo), Output())


@pytest.fixture
def engine() -> Engine:
    return Engine(FakeModels())


def opened(data: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(data))


def test_a_photo_becomes_a_transparent_png_of_its_subject(engine: Engine) -> None:
    result = engine.run(Edit(), PHOTO)
    picture = opened(result.data)
    assert picture.mode == "RGBA"
    assert picture.size == (320, 240) == (result.width, result.height)
    alpha = np.asarray(picture)[:, :, 3]
    assert np.abs(alpha / 255 - SCENE.alpha).mean() < 0.05
    assert result.subject is not None
    assert 0 < result.subject.left < result.subject.right < 320


def test_colour_crop_and_size_reach_the_picture(engine: Engine) -> None:
    edit = Edit(
        backdrop=Color(0, 200, 0),
        layout=Layout(crop=True, max_side=100),
        output=Output(format=Format.JPEG),
    )
    result = engine.run(edit, PHOTO)
    picture = opened(result.data)
    assert picture.format == "JPEG"
    assert max(picture.size) == 100
    assert result.subject is not None
    assert (result.subject.width, result.subject.height) == (result.width, result.height)
    corners = np.asarray(picture, np.int32)[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert any(np.abs(corner - (0, 200, 0)).max() < 12 for corner in corners)


def test_the_matte_alone_is_grey(engine: Engine) -> None:
    result = engine.run(Edit(output=Output(alpha_only=True)), PHOTO)
    picture = opened(result.data)
    assert picture.mode == "L"
    assert np.asarray(picture)[120, 160] == 255


def test_an_empty_scene_gives_an_empty_matte_and_says_so() -> None:
    cloud = np.full((64, 64), 0.3, np.float32)
    engine = Engine(FakeModels(FakeSegmenter(answer=cloud)))
    cutout = engine.cut_out(Image(rgb=SCENE.photo))
    assert not cutout.found
    assert cutout.subject is None
    assert cutout.confidence == 0
    assert not cutout.alpha.any()
    assert not cutout.rgb.any()
    result = engine.run(Edit(layout=Layout(crop=True)), PHOTO)
    assert (result.width, result.height, result.subject) == (320, 240, None)


def test_transparency_that_was_there_stays(engine: Engine) -> None:
    before = np.ones((240, 320), np.float32)
    before[:, :160] = 0
    before[:, 160:180] = 0.5
    cutout = engine.cut_out(Image(rgb=SCENE.photo, alpha=before))
    assert not cutout.alpha[:, :160].any()
    assert np.all(cutout.alpha <= before)
    assert cutout.alpha[120, 200] == 1
    half = cutout.alpha[:, 160:180] == 0.5
    assert half.any()
    # its colours were the foreground's own already
    np.testing.assert_array_equal(cutout.rgb[:, 160:180][half], SCENE.photo[:, 160:180][half])


def test_the_profile_goes_from_photo_to_cutout(engine: Engine) -> None:
    assert engine.cut_out(Image(rgb=SCENE.photo, icc=b"profile")).icc == b"profile"


def test_the_photos_own_colours_can_be_kept(engine: Engine) -> None:
    cutout = engine.cut_out(Image(rgb=SCENE.photo), Matte(foreground=Foreground.KEEP))
    seen = cutout.alpha > 0.5
    np.testing.assert_array_equal(cutout.rgb[seen], SCENE.photo[seen])


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(MatteboxError) as caught:
        Engine(Models()).run(Edit(matte=Matte(model="nonsense")), PHOTO)
    assert caught.value.kind is Kind.INVALID_PARAMETER
    assert caught.value.parameter == "model"


def test_limits_come_before_the_work(engine: Engine) -> None:
    with pytest.raises(MatteboxError) as caught:
        engine.run(Edit(), PHOTO, limits=Limits(max_pixels=1000))
    assert caught.value.kind is Kind.TOO_MANY_PIXELS


def test_a_checkpoint_can_stop_the_work(engine: Engine) -> None:
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise MatteboxError(Kind.CANCELLED, "Enough.")

    with pytest.raises(MatteboxError):
        engine.run(Edit(), PHOTO, checkpoint=stop)
    assert calls == 2


# --- without a network -------------------------------------------------------------------------------------------


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

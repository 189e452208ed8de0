from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from mattebox import codec
from mattebox.codec import Limits
from mattebox.edit import Color, Edit, Foreground, Format, Layout, Matte, Output
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image
from mattebox.models import Models
from mattebox.testing import FakeModels, FakeSegmenter, make_scene

SCENE = make_scene(width=320, height=240, seed=3)
PHOTO = codec.encode(Image(rgb=SCENE.photo), Output())


@pytest.fixture
def engine() -> Engine:
    return Engine(FakeModels())


def opened(data: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(data))


def test_a_photo_becomes_a_transparent_png_of_its_subject(engine: Engine) -> None:
    result = engine.run_file(Edit(), PHOTO)
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
    result = engine.run_file(edit, PHOTO)
    picture = opened(result.data)
    assert picture.format == "JPEG"
    assert max(picture.size) == 100
    assert result.subject is not None
    assert (result.subject.width, result.subject.height) == (result.width, result.height)
    corners = np.asarray(picture, np.int32)[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert any(np.abs(corner - (0, 200, 0)).max() < 12 for corner in corners)


def test_the_matte_alone_is_grey(engine: Engine) -> None:
    result = engine.run_file(Edit(output=Output(alpha_only=True)), PHOTO)
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
    result = engine.run_file(Edit(layout=Layout(crop=True)), PHOTO)
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
        Engine(Models()).run_file(Edit(matte=Matte(model="nonsense")), PHOTO)
    assert caught.value.kind is Kind.INVALID_PARAMETER
    assert caught.value.parameter == "model"


def test_limits_come_before_the_work(engine: Engine) -> None:
    with pytest.raises(MatteboxError) as caught:
        engine.run_file(Edit(), PHOTO, limits=Limits(max_pixels=1000))
    assert caught.value.kind is Kind.TOO_MANY_PIXELS


def test_a_checkpoint_can_stop_the_work(engine: Engine) -> None:
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise MatteboxError(Kind.CANCELLED, "Enough.")

    with pytest.raises(MatteboxError):
        engine.run_file(Edit(), PHOTO, checkpoint=stop)
    assert calls == 2

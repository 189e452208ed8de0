from __future__ import annotations

import dataclasses
import io

import cv2
import numpy as np
import PIL.Image
import pytest

from mattebox import codec, matting
from mattebox.codec import Limits
from mattebox.edit import Color, Edit, Foreground, Format, Layout, Length, Matte, Output, Picture, Region, Shadow
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Image
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


class TwoNetworks:
    """Two fakes as one segmenter."""

    def __init__(self, detail: Alpha, core: Alpha) -> None:
        self.looks = detail, core

    def __call__(self, photo: RGB) -> Alpha:
        return self.look(photo)[0]

    def look(self, photo: RGB) -> tuple[Alpha, float]:
        return (fused := matting.fuse(*self.looks)), matting.support(fused, *self.looks)


def test_a_subject_that_one_network_alone_is_sure_of_is_kept_with_low_confidence() -> None:
    sees, blind = np.ones((64, 64), np.float32), np.full((64, 64), 0.1, np.float32)
    sees[:, :4] = 0  # it fills the frame
    for looks in ((sees, blind), (blind, sees)):
        cutout = Engine(FakeModels(TwoNetworks(*looks))).cut_out(Image(rgb=SCENE.photo))
        assert cutout.found
        assert cutout.alpha.mean() == pytest.approx(60 / 64, abs=0.02)
        assert 0 < cutout.confidence < 0.2
    sure = Engine(FakeModels(TwoNetworks(sees, sees))).cut_out(Image(rgb=SCENE.photo))
    assert sure.confidence > 0.95


WHITE = np.full((240, 320, 3), 255, np.uint8)
BLIND = Engine(FakeModels(FakeSegmenter(answer=np.zeros((64, 64), np.float32))))
"""Its network sees no subject anywhere."""


def test_a_white_thing_on_clear_is_kept_whatever_a_network_sees() -> None:
    for engine in (BLIND, Engine(FakeModels())):
        cutout = engine.cut_out(Image(rgb=WHITE, alpha=SCENE.alpha))
        np.testing.assert_array_equal(cutout.alpha, SCENE.alpha)
        np.testing.assert_array_equal(cutout.rgb[SCENE.alpha > 0], 255)
        assert not cutout.rgb[SCENE.alpha == 0].any()
        assert cutout.subject == matting.find_subject(SCENE.alpha)
        assert cutout.confidence == matting.confidence(SCENE.alpha, 1)


@pytest.mark.parametrize("rgb", [SCENE.foreground, np.zeros_like(WHITE), np.full_like(WHITE, 128)])
@pytest.mark.parametrize("most", [1, 0.2])
def test_a_cutout_of_a_cutout_is_the_same_cutout(engine: Engine, rgb: RGB, most: float) -> None:
    once = engine.cut_out(Image(rgb=rgb, alpha=SCENE.alpha * np.float32(most)))
    twice = engine.cut_out(once.image)
    np.testing.assert_array_equal(once.alpha, SCENE.alpha * np.float32(most))
    np.testing.assert_array_equal(twice.alpha, once.alpha)
    np.testing.assert_array_equal(twice.rgb, once.rgb)
    assert (twice.subject, twice.confidence, twice.ambiguity) == (once.subject, once.confidence, once.ambiguity)


def test_the_cutout_of_a_photo_is_the_same_after_a_png(engine: Engine) -> None:
    first = engine.run_file(Edit(), PHOTO)
    second = engine.run_file(Edit(), first.data)
    np.testing.assert_array_equal(np.asarray(opened(second.data)), np.asarray(opened(first.data)))
    assert second.subject == first.subject


def test_what_is_hidden_under_clear_pixels_does_not_matter(engine: Engine) -> None:
    hidden = np.where(SCENE.alpha[:, :, None] > 0, SCENE.foreground, SCENE.background)
    one, other = (engine.cut_out(Image(rgb=rgb, alpha=SCENE.alpha)) for rgb in (hidden, SCENE.foreground))
    np.testing.assert_array_equal(one.rgb, other.rgb)
    np.testing.assert_array_equal(one.alpha, other.alpha)


def white_disc(mode: str) -> bytes:
    """A white disc on clear, half transparent in its left half where the mode can say so."""
    y, x = np.mgrid[:120, :160]
    disc = np.hypot(x - 80, y - 60) < 40
    alpha = np.where(disc, np.where(x < 80, 128, 255), 0).astype(np.uint8)
    file = io.BytesIO()
    match mode:
        case "RGBA":
            PIL.Image.fromarray(np.dstack([WHITE[:120, :160], alpha])).save(file, "PNG")
        case "LA":
            PIL.Image.merge("LA", [PIL.Image.new("L", (160, 120), 255), PIL.Image.fromarray(alpha)]).save(file, "PNG")
        case "P":
            picture = PIL.Image.fromarray((alpha // 127).astype(np.uint8)).convert("P")
            picture.putpalette([255] * 768)
            picture.save(file, "PNG", transparency=bytes([0, 128, 255]))
        case "16 bit":
            levels = np.dstack([np.full((120, 160, 3), 65535, np.uint16), alpha.astype(np.uint16) * 257])
            file.write(cv2.imencode(".png", levels)[1].tobytes())
        case "GIF":
            picture = PIL.Image.fromarray(disc.astype(np.uint8)).convert("P")
            picture.putpalette([0, 0, 0] + [255] * 765)
            picture.save(file, "GIF", transparency=0)
        case "WEBP":
            PIL.Image.fromarray(np.dstack([WHITE[:120, :160], alpha])).save(file, "WEBP", lossless=True)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "16 bit", "GIF", "WEBP"])
def test_every_kind_of_transparency_is_kept(mode: str) -> None:
    result = np.asarray(opened(BLIND.run_file(Edit(), white_disc(mode)).data))
    assert result[60, 100].tolist() == [255, 255, 255, 255]
    assert result[60, 60].tolist() == [255, 255, 255, 255 if mode == "GIF" else 128]
    assert result[5, 5].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("backdrop", [Color(0, 0, 200), Picture()])
def test_a_cutout_goes_on_another_background_whole(backdrop: Color | Picture) -> None:
    blue = codec.encode(Image(rgb=np.full((120, 160, 3), (0, 0, 200), np.uint8)), Output())
    behind = blue if isinstance(backdrop, Picture) else None
    result = BLIND.run_file(Edit(backdrop=backdrop), white_disc("RGBA"), backdrop=behind)
    picture = np.asarray(opened(result.data).convert("RGB"))
    assert picture[60, 100].tolist() == [255, 255, 255]
    assert picture[60, 60].tolist() == [128, 128, 228]
    assert picture[5, 5].tolist() == [0, 0, 200]


def test_crop_and_shadow_go_by_the_kept_alpha() -> None:
    cropped = BLIND.run_file(Edit(layout=Layout(crop=True)), white_disc("GIF"))
    assert (cropped.width, cropped.height) == (79, 79)
    shaded = np.asarray(opened(BLIND.run_file(Edit(shadow=Shadow(opacity=1)), white_disc("GIF")).data))
    assert 0 < shaded[104, 80, 3] < 255
    assert shaded[104, 80, :3].max() == 0


def test_in_a_photo_with_clear_corners_and_bars_the_background_is_removed(engine: Engine) -> None:
    alpha = np.ones((240, 320), np.float32)
    for corner in (np.s_[:6, :6], np.s_[:6, -6:], np.s_[-6:, :6], np.s_[-6:, -6:]):
        alpha[corner] = 0
    plain = engine.cut_out(Image(rgb=SCENE.photo))
    for level in (1, 0.5):
        cutout = engine.cut_out(Image(rgb=SCENE.photo, alpha=alpha * np.float32(level)))
        assert np.abs(cutout.alpha - plain.alpha * alpha * level).mean() < 0.005
    bars = np.pad(SCENE.photo, ((50, 50), (0, 0), (0, 0)))
    barred = engine.cut_out(Image(rgb=bars, alpha=np.pad(np.ones((240, 320), np.float32), ((50, 50), (0, 0)))))
    np.testing.assert_array_equal(barred.alpha[50:-50], plain.alpha)
    np.testing.assert_array_equal(barred.rgb[50:-50], plain.rgb)
    assert not barred.alpha[:50].any()
    assert plain.subject is not None
    assert barred.subject == dataclasses.replace(plain.subject, top=plain.subject.top + 50)


def test_a_white_card_that_fills_its_picture_is_kept_and_doubted() -> None:
    alpha = np.pad(np.ones((200, 320), np.float32), ((20, 20), (0, 0)))
    cutout = BLIND.cut_out(Image(rgb=WHITE, alpha=alpha))
    np.testing.assert_array_equal(cutout.alpha, alpha)
    assert cutout.confidence == 0
    assert not BLIND.cut_out(Image(rgb=WHITE)).found
    assert not BLIND.cut_out(Image(rgb=WHITE, alpha=np.full((240, 320), 0.99, np.float32))).found


def test_a_wholly_clear_photo_has_no_subject(engine: Engine) -> None:
    cutout = engine.cut_out(Image(rgb=SCENE.photo, alpha=np.zeros((240, 320), np.float32)))
    assert not cutout.found
    assert not cutout.alpha.any()
    assert not cutout.rgb.any()


def test_a_cutout_needs_a_known_model_all_the_same(engine: Engine) -> None:
    with pytest.raises(MatteboxError) as caught:
        engine.cut_out(Image(rgb=WHITE, alpha=SCENE.alpha), Matte(model="nonsense"))
    assert caught.value.kind is Kind.INVALID_PARAMETER


def test_a_region_of_a_cutout_is_kept_as_it_is() -> None:
    edit = Edit(layout=Layout(roi=Region(Length(100), Length(0), Length(220), Length(240))))
    file = codec.encode(Image(rgb=WHITE, alpha=SCENE.alpha), Output())
    alpha = np.asarray(opened(BLIND.run_file(edit, file).data))[:, :, 3] / 255
    np.testing.assert_allclose(alpha[:, 100:220], SCENE.alpha[:, 100:220], atol=1e-6)
    assert not alpha[:, :100].any()
    assert not alpha[:, 220:].any()


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

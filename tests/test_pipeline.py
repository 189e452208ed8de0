from __future__ import annotations

import weakref

import numpy as np
import pytest

from mattebox import cancellation, pipeline
from mattebox.backdrops.plate import Plate, PlateMaker
from mattebox.cancellation import Checkpoint
from mattebox.edit import (
    Backdrop,
    Blur,
    Canvas,
    Color,
    Edit,
    Gradient,
    Layout,
    Length,
    Margin,
    Output,
    Picture,
    Prompt,
    Region,
    Shadow,
    ShadowKind,
    Transparent,
)
from mattebox.engine import Engine
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Image
from mattebox.testing import FakeBackdrops, FakeModels, FakeSegmenter, make_scene

SCENE = make_scene(width=160, height=120, seed=3)
PHOTO = Image(rgb=SCENE.photo)
GRADIENT = Gradient(Color(250, 240, 230), Color(20, 60, 120))
STRIPES = Image(rgb=np.tile(np.array([[[200, 0, 0]], [[0, 0, 200]]], np.uint8), (30, 70, 1)))


def run(edit: Edit, photo: Image = PHOTO, behind: Image | None = None) -> pipeline.Result:
    return pipeline.run(edit, photo, behind=behind, models=FakeModels(), generators=FakeBackdrops())


def test_a_checkpoint_comes_before_each_step() -> None:
    steps = len(pipeline.RECIPE)
    for last in range(1, steps + 1):
        calls = 0

        def stop(last: int = last) -> None:
            nonlocal calls
            calls += 1
            if calls == last:
                raise MatteboxError(Kind.CANCELLED, "Enough.")

        with pytest.raises(MatteboxError, match="Enough"):
            pipeline.run(Edit(), PHOTO, models=FakeModels(), checkpoint=stop)
        assert calls == last


@pytest.mark.parametrize("backdrop", [Transparent(), Color(0, 90, 200, 0.5), GRADIENT, Picture()])
@pytest.mark.parametrize("shadow", [None, Shadow(kind=ShadowKind.CAST)])
@pytest.mark.parametrize(
    "layout",
    [
        Layout(),
        Layout(crop=True, margin=Margin(*[Length(10, percent=True)] * 4)),
        Layout(scale=0.4, position=(0.2, 0.9), canvas=Canvas(width=90, height=90)),
    ],
)
def test_a_cutout_is_composed_as_a_whole_edit_is(backdrop: Backdrop, shadow: Shadow | None, layout: Layout) -> None:
    behind = STRIPES if isinstance(backdrop, Picture) else None
    whole = run(Edit(backdrop=backdrop, shadow=shadow, layout=layout), behind=behind)
    cutout = Engine(FakeModels()).cut_out(PHOTO)
    assert isinstance(backdrop, Transparent | Color | Gradient | Picture)
    over = STRIPES if isinstance(backdrop, Picture) else backdrop
    assert cutout.encode(arrange=layout, shadow=shadow, backdrop=over) == whole.into_file(Output())


def test_a_gradient_spans_the_canvas_under_the_shadow() -> None:
    layout = Layout(scale=0.4, position=(0.5, 0.5), canvas=Canvas(width=200, height=300))
    plain = run(Edit(backdrop=GRADIENT, layout=layout)).picture
    shaded = run(Edit(backdrop=GRADIENT, layout=layout, shadow=Shadow())).picture
    assert plain.alpha is None
    assert shaded.alpha is None
    for result in (plain, shaded):
        np.testing.assert_allclose(result.rgb[0, [0, -1]], [(250, 240, 230)] * 2, atol=1.5)
        np.testing.assert_allclose(result.rgb[-1, [0, -1]], [(20, 60, 120)] * 2, atol=1.5)
    darker = plain.rgb.astype(int) - shaded.rgb
    assert darker.min() >= -1
    assert darker.max() > 40


def test_a_region_is_all_that_is_looked_at() -> None:
    seen: list[tuple[int, ...]] = []

    def segment(photo: RGB) -> Alpha:
        seen.append(photo.shape)
        return FakeSegmenter()(photo)

    roi = Region(Length(40), Length(10, percent=True), Length(100, percent=True), Length(110))
    result = pipeline.run(Edit(layout=Layout(roi=roi)), PHOTO, models=FakeModels(segment))
    assert seen == [(98, 120, 3)]
    assert result.picture.rgb.shape == PHOTO.rgb.shape
    assert result.picture.alpha is not None
    assert not result.picture.alpha[:, :40].any()
    assert not result.picture.alpha[110:].any()
    assert result.subject is not None
    assert result.subject.left >= 40
    assert result.picture.alpha[result.subject.slices].max() == 1


def test_the_matte_alone_needs_no_backdrop_and_no_shadow() -> None:
    output = Output(alpha_only=True)
    plain = run(Edit(output=output)).into_file(output)
    for backdrop in (Color(1, 2, 3), Blur(9), Picture(), Prompt("nowhere")):
        edit = Edit(backdrop=backdrop, shadow=Shadow(), output=output)
        assert run(edit).into_file(output) == plain


def test_a_missing_picture_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="none was given"):
        run(Edit(backdrop=Picture()))


def test_a_prompt_is_refused_before_the_photo_is_looked_at() -> None:
    def segment(photo: RGB) -> Alpha:
        raise AssertionError("the network was asked")

    for generators, kind in ((FakeBackdrops(), Kind.INVALID_PARAMETER), (None, Kind.NOT_OFFERED)):
        with pytest.raises(MatteboxError) as caught:
            pipeline.run(Edit(backdrop=Prompt("nowhere")), PHOTO, models=FakeModels(segment), generators=generators)
        assert (caught.value.kind, caught.value.parameter) == (kind, "prompt")


def test_a_scene_casts_its_own_shadow() -> None:
    plain, shaded = (run(Edit(backdrop=Prompt("a park"), shadow=shadow)) for shadow in (None, Shadow(opacity=1)))
    np.testing.assert_array_equal(plain.picture.rgb, shaded.picture.rgb)


def test_pictures_are_given_up_when_no_later_step_needs_them() -> None:
    class Watching(FakeBackdrops):
        alive: bool | None = None

        def choose(self, prompt: Prompt) -> PlateMaker:
            make = super().choose(prompt)

            def watch(cutout: Image, checkpoint: Checkpoint) -> Plate:
                self.alive = photo() is not None
                return make(cutout, checkpoint)

            return watch

    watching = Watching()
    pictures = [SCENE.photo.copy()]
    photo = weakref.ref(pictures[0])
    pipeline.run(Edit(backdrop=Prompt("a park")), Image(rgb=pictures.pop()), models=FakeModels(), generators=watching)
    assert watching.alive is False


def test_a_transparent_picture_behind_is_put_on_white() -> None:
    clear = Image(rgb=STRIPES.rgb, alpha=np.zeros(STRIPES.rgb.shape[:2], np.float32))
    on_white = run(Edit(backdrop=Color(255, 255, 255)))
    np.testing.assert_array_equal(run(Edit(backdrop=Picture()), behind=clear).picture.rgb, on_white.picture.rgb)


def test_a_segmenter_that_waits_knows_whether_it_should_stop() -> None:
    class Stopped(Exception):
        pass

    stop = False

    def checkpoint() -> None:
        if stop:
            raise Stopped

    def segment(photo: RGB) -> Alpha:
        nonlocal stop
        stop = True
        cancellation.current()()
        return np.ones(photo.shape[:2], np.float32)

    engine = Engine(FakeModels(segment))
    with pytest.raises(Stopped):
        engine.cut_out(Image(rgb=np.zeros((4, 4, 3), np.uint8)), checkpoint=checkpoint)
    cancellation.current()()  # outside it is nobody's

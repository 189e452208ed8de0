from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
from tests.codec.icc import display_p3

from mattebox import codec
from mattebox.cutout import Cutout
from mattebox.edit import Canvas, Color, Fit, Format, Gradient, Layout, Length, Margin, Output, Shadow, ShadowKind
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Alpha, Box, Encoded, Image
from mattebox.layout import MAX_PIXELS
from mattebox.matting import find_subject

KINDS = list(ShadowKind)


def cutout(alpha: Alpha) -> Cutout:
    rgb = np.full((*alpha.shape, 3), (200, 120, 40), np.uint8)
    rgb[alpha == 0] = 0
    return Cutout(rgb=rgb, alpha=alpha, subject=find_subject(alpha), confidence=1.0, ambiguity=0.0)


def block(left: int, top: int, right: int, bottom: int) -> Cutout:
    alpha = np.zeros((200, 300), np.float32)
    alpha[top:bottom, left:right] = 1
    return cutout(alpha)


def pixels(result: Encoded) -> npt.NDArray[np.uint8]:
    with PIL.Image.open(io.BytesIO(result.data)) as opened:
        assert opened.size == (result.width, result.height)
        return np.asarray(opened)


def test_a_crop_with_a_margin_says_where_the_subject_lies() -> None:
    margin = Margin(Length(10), Length(20), Length(30), Length(250))
    result = block(100, 50, 160, 130).encode(arrange=Layout(crop=True, margin=margin))
    assert (result.width, result.height) == (60 + 270, 80 + 40)
    assert result.subject == Box(250, 10, 60, 80)
    alpha = pixels(result)[:, :, 3]
    assert np.all(alpha[10:90, 250:310] == 255)
    assert alpha.sum() == 60 * 80 * 255


def test_a_scaled_and_placed_subject() -> None:
    result = block(100, 50, 160, 130).encode(arrange=Layout(scale=0.5, position=(1, 0)), backdrop=Color(0, 0, 255))
    assert (result.width, result.height) == (300, 200)
    assert result.subject == Box(225, 0, 75, 100)
    seen = pixels(result)
    assert np.all(seen[5:95, 230:295] == (200, 120, 40))
    assert np.all(seen[105:] == (0, 0, 255))


@pytest.mark.parametrize("kind", KINDS)
def test_a_crop_leaves_room_for_the_shadow(kind: ShadowKind) -> None:
    result = block(100, 50, 160, 130).encode(arrange=Layout(crop=True), shadow=Shadow(kind=kind, opacity=0.9))
    alpha = pixels(result)[:, :, 3]
    edges = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
    assert edges[edges < 255].max() <= 2  # nothing is cut off hard
    assert ((alpha > 20) & (alpha < 255)).any()
    assert result.subject is not None
    assert (result.subject.width, result.subject.height) == (60, 80)


@pytest.mark.parametrize("kind", KINDS)
def test_a_subject_that_the_photo_cuts_off_stays_at_that_edge(kind: ShadowKind) -> None:
    shadow = Shadow(kind=kind)
    result = block(0, 0, 300, 200).encode(arrange=Layout(crop=True), shadow=shadow)
    assert (result.width, result.height) == (300, 200)
    bust = block(100, 50, 160, 200).encode(arrange=Layout(crop=True), shadow=shadow)
    assert bust.subject is not None
    assert bust.subject.bottom == bust.height


def test_without_a_crop_the_canvas_stays() -> None:
    result = block(100, 50, 160, 195).encode(shadow=Shadow(kind=ShadowKind.CAST))
    assert (result.width, result.height) == (300, 200)
    assert result.subject == Box(100, 50, 60, 145)


def test_a_shadow_darkens_the_backdrop() -> None:
    plain = pixels(block(100, 50, 160, 130).encode(backdrop=Color(255, 255, 255)))
    shaded = pixels(block(100, 50, 160, 130).encode(backdrop=Color(255, 255, 255), shadow=Shadow(opacity=0.5)))
    assert np.all(shaded <= plain)
    np.testing.assert_array_equal(shaded[50:130, 100:160], plain[50:130, 100:160])
    assert 120 <= shaded.min(axis=2)[130:].min() <= 140


def test_the_matte_alone_has_no_shadow() -> None:
    output = Output(alpha_only=True)
    shaded = block(100, 50, 160, 130).encode(shadow=Shadow(), output=output)
    assert shaded.data == block(100, 50, 160, 130).encode(output=output).data


def test_nothing_found_is_no_failure() -> None:
    empty = cutout(np.zeros((20, 30), np.float32))
    asked = Layout(crop=True, ratio=(1, 1), scale=0.5, canvas=Canvas(width=60))
    result = empty.encode(arrange=asked, shadow=Shadow(), backdrop=Color(1, 2, 3), output=Output(format=Format.PNG))
    assert (result.width, result.height, result.subject) == (60, 40, None)
    assert np.all(pixels(result) == (1, 2, 3))


def test_a_picture_fills_the_canvas() -> None:
    striped = np.zeros((50, 400, 3), np.uint8)
    striped[:, 175:225] = (0, 200, 0)  # the middle of it is all that a square shows
    square = Layout(canvas=Canvas(width=100, height=100, fit=Fit.CONTAIN))
    result = pixels(block(100, 50, 160, 130).encode(arrange=square, backdrop=Image(rgb=striped)))
    assert result.shape == (100, 100, 3)
    assert np.all(result[0] == (0, 200, 0))
    assert np.all(result[50, 45] == (200, 120, 40))


def test_a_picture_is_converted_to_the_cutouts_profile() -> None:
    green = Image(rgb=np.full((20, 30, 3), (0, 200, 0), np.uint8))
    subject = block(100, 50, 160, 130)
    wide = replace(subject, icc=display_p3())
    expected = codec.color_in_profile(Color(0, 200, 0), display_p3())
    assert (expected.red, expected.green, expected.blue) != (0, 200, 0)
    for source, color in ((subject, Color(0, 200, 0)), (wide, expected)):
        encoded = source.encode(backdrop=green)
        assert codec.decode(encoded.data).icc == source.icc
        np.testing.assert_allclose(pixels(encoded)[0, 0], (color.red, color.green, color.blue), atol=1)


def test_a_gradient_is_in_the_cutouts_profile() -> None:
    wide = replace(block(100, 50, 160, 130), icc=display_p3())
    encoded = wide.encode(backdrop=Gradient(Color(0, 200, 0), Color(0, 200, 0)))
    expected = codec.color_in_profile(Color(0, 200, 0), display_p3())
    assert codec.decode(encoded.data).icc == wide.icc
    assert tuple(pixels(encoded)[0, 0]) == (expected.red, expected.green, expected.blue) != (0, 200, 0)


def test_what_belongs_to_the_photo_is_arranged_with_it() -> None:
    ramp = np.zeros((200, 300, 3), np.uint8)
    ramp[:, :, 0] = np.arange(300) // 2
    source = block(100, 50, 160, 130)
    cropped = Layout(crop=True, margin=Margin(left=Length(150), right=Length(20)))
    result = pixels(source.encode(arrange=cropped, backdrop=Image(rgb=ramp), in_place=True))
    assert result.shape == (80, 230, 3)
    assert np.all(result[:, 215, 0] == 165 // 2)
    assert np.all(result[:, :50, 0] == 0)  # beyond the photo its edge goes on
    assert np.all(result[:, 51:150, 0] == np.arange(1, 100) // 2)


def test_what_is_too_large_is_refused() -> None:
    with pytest.raises(MatteboxError) as caught:
        block(100, 50, 160, 130).encode(arrange=Layout(canvas=Canvas(width=30_000)))
    assert caught.value.kind is Kind.INVALID_PARAMETER


def test_a_backdrop_does_not_change_a_colour_of_the_subject() -> None:
    source = block(10, 10, 290, 190)
    png = pixels(source.encode(backdrop=Image(rgb=np.full((200, 300, 3), 77, np.uint8))))
    np.testing.assert_array_equal(
        png[10:190, 10:290], codec.to_pil(source.image).convert("RGB").crop((10, 10, 290, 190))
    )


def test_the_largest_size_is_known_also_where_it_could_not_be_made() -> None:
    side = 910
    cutout = Cutout(
        rgb=np.zeros((side, side, 3), np.uint8),
        alpha=np.ones((side, side), np.float32),
        subject=Box(0, 0, side, side),
        confidence=1.0,
        ambiguity=0.0,
    )
    margin = Margin(*[Length(500, percent=True)] * 4)
    encoded = cutout.encode(arrange=Layout(crop=True, margin=margin, max_pixels=10_000))
    assert 11 * side > MAX_PIXELS**0.5
    assert (encoded.width, encoded.height, encoded.largest) == (100, 100, (11 * side, 11 * side))

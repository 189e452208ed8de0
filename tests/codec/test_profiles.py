from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
from PIL import ImageCms

from mattebox import codec
from mattebox.edit import Color
from mattebox.errors import Kind, MatteboxError

from .icc import WHITE_POINT, cmyk_profile, display_p3, fixed, gamma, grey_profile, in_srgb, profile, srgb_profile, xyz
from .pictures import assert_near, saved, smooth


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_an_rgb_profile_is_kept(form: str) -> None:
    image = codec.decode(saved(smooth(), form, icc_profile=display_p3(), quality=95))
    assert image.icc == display_p3()
    assert_near(image.rgb, smooth(), 25)  # the numbers are those of the file


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_srgb_under_its_own_name_is_none(form: str) -> None:
    assert codec.decode(saved(smooth(), form, icc_profile=srgb_profile())).icc is None


def test_a_profile_near_srgb_is_not_taken_for_it() -> None:
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma(2.2))
    primaries = {
        b"rXYZ": xyz(0.4361, 0.2225, 0.0139),
        b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
        b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
    }
    near = profile(b"RGB ", b"XYZ ", WHITE_POINT | primaries | curves)
    assert codec.decode(saved(smooth(), "PNG", icc_profile=near)).icc == near


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_a_grey_profile_is_applied(form: str) -> None:
    image = codec.decode(saved(np.full((16, 16), 55, np.uint8), form, icc_profile=grey_profile()))
    assert image.icc is None
    assert np.abs(image.rgb.astype(int) - 128).max() <= 2


def test_a_grey_profile_beside_alpha() -> None:
    grey = PIL.Image.merge("LA", [PIL.Image.new("L", (4, 4), 55), PIL.Image.new("L", (4, 4), 90)])
    image = codec.decode(saved(grey, "PNG", icc_profile=grey_profile()))
    assert np.abs(image.rgb.astype(int) - 128).max() <= 2
    assert image.alpha is not None
    np.testing.assert_allclose(image.alpha, 90 / 255)


def test_grey_pixels_with_an_rgb_profile_keep_it() -> None:
    image = codec.decode(saved(smooth()[..., 0], "PNG", icc_profile=display_p3()))
    assert image.icc == display_p3()
    np.testing.assert_array_equal(image.rgb[..., 0], smooth()[..., 0])


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_with_its_profile(form: str) -> None:
    cyan = PIL.Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    image = codec.decode(saved(cyan, form, icc_profile=cmyk_profile()))
    assert image.icc is None
    red, green, blue = image.rgb[8, 8].tolist()
    assert red > 200
    assert green > 180
    assert blue < 160


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
@pytest.mark.parametrize("icc", [None, b"broken", "other"])
def test_cmyk_without_a_usable_profile(form: str, icc: bytes | str | None) -> None:
    data = display_p3() if icc == "other" else icc
    options = {} if data is None else {"icc_profile": data}
    ink = PIL.Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    ink.paste((0, 0, 0, 0), (8, 0, 16, 16))
    image = codec.decode(saved(ink, form, **options))
    assert image.icc is None
    assert_near(image.rgb[8, 3], np.array([0, 255, 255], np.uint8), 4)
    assert_near(image.rgb[8, 13], np.array([255, 255, 255], np.uint8), 4)


def test_lab_is_converted() -> None:
    muted = smooth() // 2 + 64  # near the border of sRGB the 8 bits of Lab are too coarse to compare
    lab = ImageCms.profileToProfile(
        PIL.Image.fromarray(muted), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    image = codec.decode(saved(lab, "TIFF"))
    assert np.abs(image.rgb.astype(int) - muted).mean() < 1.5
    assert image.icc is None


@pytest.mark.parametrize("icc", [b"broken", bytes(200), b"", "grey", "cut"])
def test_a_profile_that_says_nothing_about_the_pixels_is_ignored(icc: bytes | str) -> None:
    data = grey_profile() if icc == "grey" else display_p3()[:150] if icc == "cut" else icc
    assert isinstance(data, bytes)
    image = codec.decode(saved(smooth(), "PNG", icc_profile=data))
    assert image.icc is None
    np.testing.assert_array_equal(image.rgb, smooth())


def test_a_profile_that_goes_one_way_only_is_applied() -> None:
    ramp = bytes(range(256))
    corners = b"".join(
        bytes([min(255, 80 * red + 120 * green + 55 * blue), 128, 128]) for red, green, blue in np.ndindex(2, 2, 2)
    )
    lut = b"mft1\0\0\0\0" + bytes([3, 3, 2, 0]) + b"".join(map(fixed, (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    scanner = profile(b"RGB ", b"Lab ", {**WHITE_POINT, b"A2B0": lut + ramp * 3 + corners + ramp * 3}, b"scnr")
    image = codec.decode(saved(smooth(), "PNG", icc_profile=scanner))
    assert image.icc is None
    np.testing.assert_array_equal(image.rgb, in_srgb(smooth(), scanner))


def test_a_colour_in_the_pictures_profile_looks_the_same() -> None:
    assert codec.color_in_profile(Color(1, 2, 3), None) == Color(1, 2, 3)
    wanted = Color(200, 60, 40)
    there = codec.color_in_profile(wanted, display_p3())
    assert there != wanted
    back = in_srgb(np.array([[[there.red, there.green, there.blue]]], np.uint8), display_p3())
    assert_near(back, np.array([[[200, 60, 40]]], np.uint8), 2)
    assert codec.color_in_profile(Color(255, 255, 255), display_p3()) == Color(255, 255, 255)


def test_a_profile_that_cannot_be_used_is_blamed() -> None:
    for icc in (b"broken", grey_profile(), cmyk_profile()):
        with pytest.raises(MatteboxError, match="profile") as caught:
            codec.color_in_profile(Color(1, 2, 3), icc)
        assert caught.value.kind is Kind.INVALID_PARAMETER

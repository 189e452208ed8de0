from __future__ import annotations

import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from dataclasses import fields
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import TiffImagePlugin

from mattebox import codec
from mattebox.codec import Limits
from mattebox.errors import Kind, MatteboxError

from .icc import cmyk_profile, display_p3, grey_profile
from .pictures import assert_near, exif, failure, noise, opened, quadrants, raw_png, saved, smooth

HEIC = Path(__file__).parent / "data" / "synthetic.heic"
"""Made from the four quadrants of `quadrants()`, the last one half transparent, stored turned (EXIF 6)."""


# --- importing


@pytest.mark.process
def test_importing_the_codec_imports_no_reader() -> None:
    program = (
        "import sys, mattebox.codec;"
        "print(sorted({'PIL', 'cv2', 'simplejpeg', 'pi_heif', 'isal', 'zipfile'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- limits


def test_the_narrower_limits_win_one_by_one() -> None:
    assert Limits(max_bytes=10, max_pixels=200) & Limits(max_bytes=20, max_pixels=100) == Limits(10, 100)
    assert all(knob.metadata["doc"] for knob in fields(Limits))


def test_a_limit_itself_is_allowed_and_one_more_is_not() -> None:
    data = saved(noise(30, 20), "PNG")
    assert codec.decode(data, Limits(max_bytes=len(data), max_pixels=600)).width == 20
    error = failure(data, Limits(max_bytes=len(data) - 1))
    assert error.kind is Kind.TOO_MANY_BYTES
    assert f"{len(data):,}" in error.message
    error = failure(data, Limits(max_pixels=599))
    assert error.kind is Kind.TOO_MANY_PIXELS
    assert "600" in error.message
    assert "599" in error.message


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_every_format_obeys_the_limit_of_pixels(form: str) -> None:
    data = saved(noise(30, 20), form)
    assert failure(data, Limits(max_pixels=599)).kind is Kind.TOO_MANY_PIXELS
    assert codec.decode(data, Limits(max_pixels=600)).height == 30


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_the_size_is_read_without_the_pixels(form: str) -> None:
    data = saved(noise(30, 20), form)
    assert codec.size(data) == (20, 30)
    for limits, kind in ((Limits(max_pixels=599), Kind.TOO_MANY_PIXELS), (Limits(max_bytes=9), Kind.TOO_MANY_BYTES)):
        with pytest.raises(MatteboxError) as caught:
            codec.size(data, limits)
        assert caught.value.kind is kind


def test_the_size_of_a_progressive_jpeg_and_of_a_heic() -> None:
    assert codec.size(saved(noise(30, 20), "JPEG", progressive=True)) == (20, 30)
    assert codec.size(HEIC.read_bytes()) == (48, 64)


@pytest.mark.parametrize("data", [b"", b"a letter", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n" + bytes(9), b"GIF89a"])
def test_the_size_of_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(MatteboxError) as caught:
        codec.size(data)
    assert caught.value.kind is Kind.UNREADABLE_IMAGE


def test_heic_obeys_the_limit_of_pixels() -> None:
    assert failure(HEIC.read_bytes(), Limits(max_pixels=48 * 64 - 1)).kind is Kind.TOO_MANY_PIXELS


@pytest.mark.parametrize(("width", "height"), [(65_536, 1), (1, 65_536)])
def test_a_strip_that_is_longer_than_any_photo_is_refused(width: int, height: int) -> None:
    """However few its pixels are."""
    error = failure(raw_png(width, height, 1, 0, bytes(height * (1 + (width + 7) // 8))))
    assert error.kind is Kind.TOO_MANY_PIXELS
    assert "the limit of a side is 65,535" in error.message
    inside = raw_png(width - width // 65_536, height - height // 65_536, 1, 0, bytes(height * (1 + (width + 7) // 8)))
    assert max(codec.decode(inside).rgb.shape) == 65_535


def huge_png() -> bytes:
    """13000 × 13000 pixels of 1 bit: 169 megapixels in some 20 KB."""
    return raw_png(13000, 13000, 1, 0, bytes(13000 * (1 + 1625)))


def claiming(data: bytes, form: str, width: int, height: int) -> bytes:
    """The same file with a header that says a huge size."""
    file = bytearray(data)
    if form == "PNG":
        file[16:24] = struct.pack(">II", width, height)
        file[29:33] = struct.pack(">I", zlib.crc32(file[12:29]))
    elif form == "JPEG":
        at = file.index(b"\xff\xc0")
        file[at + 5 : at + 9] = struct.pack(">HH", height, width)
    elif form == "GIF":
        file[6:10] = struct.pack("<HH", width, height)
    elif form == "BMP":
        file[18:26] = struct.pack("<ii", width, height)
    elif form == "AVIF":
        at = file.index(b"ispe")
        file[at + 8 : at + 16] = struct.pack(">II", width, height)
    elif form == "VP8X":
        file[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(file)


def huge_tiff() -> bytes:
    entries = [(256, 60000), (257, 60000), (258, 8), (259, 1), (262, 1), (273, 200), (277, 1), (278, 60000), (279, 64)]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(200)


def gif_with_a_frame_of(side: int) -> bytes:
    """A small canvas and a larger first frame to be disposed of, which Pillow would fill as it opens the file."""
    data = bytearray(saved(noise(8, 8), "GIF", disposal=2))
    at = data.index(b"\x2c\0\0\0\0\x08\0\x08\0")
    data[at + 5 : at + 9] = struct.pack("<HH", side, side)
    return bytes(data)


def huge_files() -> dict[str, bytes]:
    small = noise(16, 16)
    transparent = PIL.Image.fromarray(small).convert("RGBA")
    transparent.putalpha(100)
    return {
        "png 13000": huge_png(),
        "png 3600 MP": claiming(saved(small, "PNG"), "PNG", 60000, 60000),
        "jpeg": claiming(saved(small, "JPEG"), "JPEG", 65000, 65000),
        "gif frame": gif_with_a_frame_of(13000),
        "gif": claiming(saved(small, "GIF"), "GIF", 65000, 65000),
        "bmp": claiming(saved(small, "BMP"), "BMP", 60000, 60000),
        "avif": claiming(saved(small, "AVIF"), "AVIF", 60000, 60000),
        "heic": claiming(HEIC.read_bytes(), "AVIF", 30000, 30000),
        "webp": claiming(saved(transparent, "WEBP"), "VP8X", 60000, 60000),
        "tiff": huge_tiff(),
    }


@pytest.mark.parametrize("name", sorted(huge_files()))
def test_a_huge_picture_is_refused_at_once_and_without_memory(name: str) -> None:
    data = huge_files()[name]
    assert len(data) < 100_000
    codec.decode(saved(noise(2, 2), "PNG"))
    failure(data)  # imports the reader
    tracemalloc.start()
    start = time.process_time()
    error = failure(data)
    took = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if name in ("avif", "heic") and error.kind is Kind.UNREADABLE_IMAGE:
        assert "damaged" in error.message  # these readers see for themselves that the header cannot be true
    else:
        assert error.kind is Kind.TOO_MANY_PIXELS
        assert "the limit is 50,000,000" in error.message
    assert took < 0.1
    assert peak < 2_000_000


@pytest.mark.process
def test_a_refusal_touches_no_memory_outside_python_either(tmp_path: Path) -> None:
    program = """
import resource, sys
from mattebox import codec
from mattebox.errors import MatteboxError
codec.decode(open(sys.argv[1], "rb").read())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[2:]:
    try:
        codec.decode(open(path, "rb").read())
    except MatteboxError:
        continue
    sys.exit("was read")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    paths = []
    for name, data in {"small": saved(noise(), "PNG"), **huge_files()}.items():
        paths.append(str(tmp_path / name))
        Path(paths[-1]).write_bytes(data)
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 30_000  # kilobytes: the readers' code itself, not one of the pictures


@pytest.mark.slow
def test_a_limit_above_pillows_own_works_without_a_warning() -> None:
    # 179 megapixels is where Pillow refuses and half of it where it warns; warnings are errors here.
    before = PIL.Image.MAX_IMAGE_PIXELS
    image = codec.decode(huge_png(), Limits(max_pixels=200_000_000))
    assert (image.width, image.height) == (13000, 13000)
    assert before == PIL.Image.MAX_IMAGE_PIXELS


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = saved(smooth(), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    hostile = data[:at] + data[at:-2] * 1000 + b"\xff\xd9"
    assert "scans" in failure(hostile).message


# --- formats


@pytest.mark.parametrize(
    ("form", "options", "tolerance"),
    [
        ("JPEG", {"quality": 100, "subsampling": 0}, 3),
        ("JPEG", {"quality": 100, "subsampling": 0, "progressive": True}, 3),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, 6),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("BMP", {}, 0),
    ],
)
def test_colours_come_back(form: str, options: dict[str, object], tolerance: int) -> None:
    image = codec.decode(saved(smooth(), form, **options))
    assert_near(image.rgb, smooth(), tolerance)
    assert image.alpha is None
    assert image.icc is None
    assert image.rgb.flags.c_contiguous


def test_gif_keeps_the_colours_of_its_palette() -> None:
    assert_near(codec.decode(saved(quadrants(), "GIF")).rgb, quadrants())


def test_heic_is_turned_once_and_keeps_its_alpha() -> None:
    image = codec.decode(HEIC.read_bytes())
    expected = np.rot90(quadrants(), -1)
    assert image.rgb.shape == (64, 48, 3)
    assert_near(image.rgb[8::16, 8::16], expected[8::16, 8::16], 3)
    assert image.alpha is not None
    np.testing.assert_allclose(image.alpha[8::16, 8::16][:2, 1:], 1)
    np.testing.assert_allclose(image.alpha[40:, 4:20], 128 / 255, atol=0.01)


@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_whose_header_denies_its_alpha_is_read(lossless: bool) -> None:
    rgba = np.dstack([noise(12, 14), noise(12, 14)[:, :, :1]])
    file = bytearray(saved(rgba, "WEBP", lossless=lossless, exact=True, exif=exif(1)))
    assert file[12:16] == b"VP8X"
    file[20] ^= 0x10
    found, expected = codec.decode(bytes(file)), np.asarray(opened(bytes(file)).convert("RGBA"))
    assert np.array_equal(found.rgb, expected[:, :, :3])
    assert (found.alpha is None) == (expected[:, :, 3] == 255).all()
    assert found.alpha is None or np.array_equal(np.rint(found.alpha * 255), expected[:, :, 3])


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_picture_of_several_is_read(form: str) -> None:
    first, second = PIL.Image.new("RGB", (20, 20), "red"), PIL.Image.new("RGB", (20, 20), "blue")
    image = codec.decode(saved(first, form, save_all=True, append_images=[second]))
    assert_near(image.rgb, np.asarray(first), 3)


def test_a_file_is_told_by_its_bytes() -> None:
    assert codec.decode(saved(noise(), "BMP")).width == 50  # there is no name or type to be misled by


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello, this is text", "not a picture"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"  <svg></svg>", "SVG"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"%PDF-1.7", "PDF"),
        (b"8BPS\0\1", "Photoshop"),
        (b"\0\0\0\x18ftypcrx " + bytes(40), "A camera's raw format"),
        (b"IIU\0" + bytes(40), "A camera's raw format"),
        (b"\0\0\0\x20ftypisom" + bytes(40), "Video"),
        (b"PK\3\4" + bytes(40), "ZIP"),
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
    ],
)
def test_what_cannot_be_read_is_called_by_its_name(data: bytes, words: str) -> None:
    error = failure(data)
    assert error.kind is Kind.UNREADABLE_IMAGE
    assert words in error.message
    assert "PNG, JPEG, WebP, AVIF, HEIC, TIFF, BMP or GIF" in error.message


@pytest.mark.parametrize("coding", [b"vvc1", b"jpeg", b"j2k1", b"unci", b"av01"])
def test_a_heic_that_is_coded_otherwise_is_called_that(coding: bytes) -> None:
    message = failure(HEIC.read_bytes().replace(b"hvc1", coding)).message
    assert coding.decode() in message
    assert "not supported" in message


@pytest.mark.parametrize("form", ["PPM", "ICO", "TGA", "PCX", "SGI", "EPS", "JPEG2000", "DDS", "ICNS"])
def test_formats_outside_the_list_are_not_opened(form: str) -> None:
    assert failure(saved(noise(32, 32), form)).kind is Kind.UNREADABLE_IMAGE


def test_a_camera_raw_file_is_not_taken_for_its_thumbnail() -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254] = 1
    assert "raw" in failure(saved(noise(), "TIFF", tiffinfo=tags)).message


def test_pictures_without_pixels_are_unreadable() -> None:
    for data in (
        claiming(saved(noise(), "PNG"), "PNG", 0, 5),
        claiming(saved(noise(), "GIF"), "GIF", 0, 0)[:13],
        claiming(saved(noise(), "BMP"), "BMP", 0, 0),
        claiming(saved(noise(), "JPEG"), "JPEG", 0, 0),
    ):
        assert failure(data).kind is Kind.UNREADABLE_IMAGE


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(
    ("form", "options", "tolerance"),
    [
        ("WEBP", {"quality": 80}, 2),
        ("WEBP", {"lossless": True, "exact": True}, 0),
        *(("AVIF", {"subsampling": each, "speed": 9}, 2) for each in ("4:4:4", "4:2:2", "4:2:0")),
        ("AVIF", {"range": "limited", "speed": 9}, 2),
    ],
)
def test_opencv_reads_the_same(form: str, options: dict[str, object], tolerance: int, alpha: bool) -> None:
    pixels = np.dstack([smooth(), smooth()[..., 0]]) if alpha else smooth()
    data = saved(pixels, form, **options)
    image = codec.decode(data)
    seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert seen is not None
    levels = seen.astype(np.uint8) if seen.ndim == 3 else np.repeat(seen[..., None].astype(np.uint8), 3, axis=2)
    assert_near(image.rgb, np.ascontiguousarray(levels[..., 2::-1]), tolerance)
    if alpha:
        assert image.alpha is not None
        np.testing.assert_allclose(image.alpha, levels[..., 3] / 255, atol=0.01)


# --- damage


def test_a_defect_of_ours_is_not_blamed_on_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, form in (("as_image", "PNG"), ("as_image", "GIF"), ("orientation_of", "TIFF"), ("admit", "WEBP")):
        with monkeypatch.context() as patched:
            patched.setattr(codec.reading, name, None)  # calling it is a TypeError
            with pytest.raises(TypeError):
                codec.decode(saved(noise(), form))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "GIF", "WEBP", "AVIF"])
def test_too_little_memory_is_not_blamed_on_the_file(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(picture: PIL.ImageFile.ImageFile) -> None:
        raise MemoryError

    def decode(data: object, flags: int) -> object:
        return cv2.resize(np.zeros((1, 1, 4), np.uint8), (2**20, 2**30))  # OpenCV's own failure

    data = saved(noise(), form)
    for kind in {PIL.ImageFile.ImageFile, type(opened(data))}:
        monkeypatch.setattr(kind, "load", load)
    monkeypatch.setattr(cv2, "imdecode", decode)
    error = failure(data)
    assert error.kind is Kind.OVERLOADED
    assert "memory" in error.message


@pytest.mark.parametrize("progressive", [False, True])
def test_half_a_jpeg_is_no_picture(progressive: bool) -> None:
    data = saved(noise(200, 300), "JPEG", progressive=progressive)
    half = data[: len(data) // 2]
    for broken in (half, half + b"\xff\xd9", data[:-5], data[:400]):
        error = failure(broken)
        assert error.kind is Kind.UNREADABLE_IMAGE
        assert "JPEG is damaged" in error.message


@pytest.mark.parametrize("form", ["PNG", "WEBP", "AVIF", "TIFF", "BMP"])
def test_half_a_file_is_no_picture(form: str) -> None:
    data = saved(noise(100, 100), form)
    assert failure(data[: len(data) // 2]).kind is Kind.UNREADABLE_IMAGE


def test_half_a_cmyk_jpeg_is_no_picture() -> None:
    data = saved(PIL.Image.fromarray(noise(200, 200)).convert("CMYK"), "JPEG")
    assert failure(data[: len(data) // 2] + b"\xff\xd9").kind is Kind.UNREADABLE_IMAGE


def test_half_a_heic_is_no_picture() -> None:
    data = HEIC.read_bytes()
    for end in (12, 40, len(data) // 2, len(data) - 100):
        error = failure(data[:end])
        assert error.kind is Kind.UNREADABLE_IMAGE
        assert "HEIC" in error.message


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif", b"avis"])
def test_a_header_before_garbage_is_damage(brand: bytes) -> None:
    data = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0" + brand + b"miaf" + noise().tobytes()
    assert failure(data).kind is Kind.UNREADABLE_IMAGE


@pytest.mark.process
def test_a_heic_with_names_that_are_no_text_does_not_end_the_process() -> None:
    data = HEIC.read_bytes()
    at = data.index(b"Exif")
    for place in range(at, at + 6):
        broken = bytearray(data)
        broken[place] |= 0x80
        program = "import sys; from mattebox import codec; codec.decode(sys.stdin.buffer.read())"
        done = subprocess.run([sys.executable, "-c", program], input=bytes(broken), capture_output=True, check=False)
        assert done.returncode == 1, done.stderr  # an exception; a crash would be negative
        assert failure(bytes(broken)).kind is Kind.UNREADABLE_IMAGE


@cache
def samples() -> list[bytes]:
    rgba = np.dstack([noise(12, 14), noise(12, 14)[..., 0]])
    grey = noise(12, 14)[..., 0]
    files = [saved(noise(12, 14), form) for form in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF")]
    files += [saved(rgba, form, exif=exif(6)) for form in ("PNG", "WEBP", "TIFF", "AVIF")]
    files += [saved(noise(12, 14), "JPEG", progressive=True, exif=exif(5), icc_profile=display_p3())]
    files += [saved(noise(12, 14), "PNG", icc_profile=display_p3()), saved(grey, "JPEG", icc_profile=grey_profile())]
    files += [saved(PIL.Image.fromarray(noise(12, 14)).convert("CMYK"), "JPEG", icc_profile=cmyk_profile())]
    files += [saved(noise(12, 14), "TIFF", compression=name) for name in ("tiff_lzw", "packbits", "jpeg")]
    files += [saved(grey.astype(np.uint16) * 257, "PNG"), saved(grey.astype(np.float32), "TIFF")]
    files += [raw_png(4, 1, 2, 3, b"\0\x1b", (b"PLTE", bytes(range(12))), (b"tRNS", b"\0\x80\xff"))]
    files += [HEIC.read_bytes()]
    return files


def read_or_refuse(data: bytes) -> None:
    try:
        image = codec.decode(data, Limits(max_pixels=1_000_000))
    except MatteboxError as error:
        refusal = error
    else:
        assert image.width * image.height <= 1_000_000
        assert image.alpha is None or (image.alpha.min() >= 0 and image.alpha.max() <= 1)
        return
    assert refusal.kind in (Kind.UNREADABLE_IMAGE, Kind.TOO_MANY_PIXELS)
    assert refusal.message.endswith(".")


FUZZ = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FUZZ
@given(data=st.binary(max_size=200))
def test_fuzz_any_bytes(data: bytes) -> None:
    read_or_refuse(data)


@FUZZ
@given(which=st.integers(0, 99), body=st.binary(max_size=300))
def test_fuzz_any_bytes_behind_a_true_start(which: int, body: bytes) -> None:
    sample = samples()[which % len(samples())]
    read_or_refuse(sample[: 16 + which % 24] + body)


@FUZZ
@given(which=st.integers(0, 99), part=st.floats(0, 1))
def test_fuzz_truncations(which: int, part: float) -> None:
    sample = samples()[which % len(samples())]
    read_or_refuse(sample[: int(part * len(sample))])


@pytest.mark.slow
@FUZZ
@given(
    which=st.integers(0, 99), flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=6)
)
def test_fuzz_bit_flips(which: int, flips: list[tuple[float, int]]) -> None:
    sample = bytearray(samples()[which % len(samples())])
    for place, bits in flips:
        sample[min(int(place * len(sample)), len(sample) - 1)] ^= bits
    read_or_refuse(bytes(sample))


@pytest.mark.slow
@FUZZ
@given(which=st.integers(0, 99), place=st.integers(0, 400), value=st.binary(min_size=1, max_size=4))
def test_fuzz_headers(which: int, place: int, value: bytes) -> None:
    sample = bytearray(samples()[which % len(samples())])
    place %= len(sample)
    sample[place : place + len(value)] = value
    read_or_refuse(bytes(sample))

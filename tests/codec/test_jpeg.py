from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
import PIL.Image
import pytest
import simplejpeg  # type: ignore[import-untyped]

from mattebox import codec

from .pictures import assert_near, failure, noise, saved, smooth

END = b"\xff\xd9"


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_missing_end_mark_is_no_damage(mode: str, progressive: bool) -> None:
    picture = PIL.Image.fromarray(noise(60, 80)).convert(mode)
    whole = saved(picture, "JPEG", progressive=progressive)
    assert whole.endswith(END)
    expected = codec.decode(whole).rgb
    for cut in (whole[:-2], whole[:-1]):
        np.testing.assert_array_equal(codec.decode(cut).rgb, expected)
    for cut in (whole[:-6], whole[:-6] + END, whole[: len(whole) // 2], whole[:400]):
        assert "JPEG is damaged" in failure(cut).message


def test_stray_bytes_between_jpeg_segments_are_forgiven() -> None:
    # Common in photos of phones: the picture is whole.
    data = saved(smooth(), "JPEG", quality=95, progressive=True)
    at = data.rindex(b"\xff\xc4")
    stray = data[:at] + b"\x11" * 30 + data[at:]
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg(stray)
    np.testing.assert_array_equal(codec.decode(stray).rgb, codec.decode(data).rgb)


def test_unusual_chroma_sampling_is_read_too() -> None:
    # Three columns of light to one of colour, which TurboJPEG does not know. A grey picture is one block of zeros again
    # and again, so its coded data can be written here: (DC 0, end) is 00 1010 in light, 00 00 in colour.
    data = bytearray(saved(np.full((8, 24, 3), 128, np.uint8), "JPEG", subsampling=0))
    data[data.index(b"\xff\xc0") + 11] = 0x31
    bits = "001010" * 3 + "0000" * 2
    coded = int(bits.ljust(32, "1"), 2).to_bytes(4)
    at = data.index(b"\xff\xda")
    start = at + 2 + int.from_bytes(data[at + 2 : at + 4])
    file = bytes(data[:start]) + coded + b"\xff\xd9"
    with pytest.raises(ValueError, match="subsampling"):
        simplejpeg.decode_jpeg_header(file)
    for whole in (file, file[:-2]):
        assert_near(codec.decode(whole).rgb, np.full((8, 24, 3), 128, np.uint8), 1)


def test_the_ordinary_picture_of_one_with_a_gain_map() -> None:
    # The gain map is a second JPEG behind the first one, which an APP2 segment tells of.
    first = saved(smooth(), "JPEG", quality=100, subsampling=0)
    about = b"MPF\0MM\0*\0\0\0\x08" + bytes(8)
    note = b"\xff\xe2" + (len(about) + 2).to_bytes(2) + about
    data = first[:2] + note + first[2:] + saved(noise(20, 20)[..., 0], "JPEG")
    assert_near(codec.decode(data).rgb, smooth(), 3)


def frame(marker: int, depth: int = 8, height: int = 16) -> bytes:
    """A whole JPEG whose frame says something else of itself."""
    data = bytearray(saved(smooth(16, 16), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 1] = marker
    data[at + 4] = depth
    data[at + 5 : at + 7] = height.to_bytes(2)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (frame(0xC3), "lossless JPEG"),
        (frame(0xC5), "hierarchical"),
        (frame(0xCB), "hierarchical or arithmetic"),
        (frame(0xF7), "JPEG-LS"),
        (frame(0xC1, depth=12), "12 bits"),
        (frame(0xC0, height=0), "height behind its pixels"),
    ],
)
def test_what_is_not_supported_is_called_that(data: bytes, words: str) -> None:
    message = failure(data).message
    assert words in message
    assert "not supported" in message


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
@pytest.mark.parametrize(("progressive", "restart"), [(False, 0), (True, 0), (False, 1)])
def test_opencv_reads_the_same(sampling: str, progressive: bool, restart: int) -> None:
    data = saved(smooth(50, 70), "JPEG", subsampling=sampling, progressive=progressive, restart_marker_rows=restart)
    seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert seen is not None
    assert_near(codec.decode(data).rgb, seen[..., ::-1].astype(np.uint8), 1)
    pillow = np.asarray(PIL.Image.open(BytesIO(data)))
    assert_near(codec.decode(data).rgb, pillow, 1)

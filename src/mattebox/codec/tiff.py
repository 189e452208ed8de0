"""TIFF files: which of their many layouts Pillow reads right, and how it is brought to read some more."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, NoReturn

from mattebox.codec.limits import damaged, reading, refuse

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 254, 256, 257, 258, 259, 262, 277
_PLANAR, _COLORS, _EXTRA, _FORMAT, _MAKER_NOTE, _DNG = 284, 320, 338, 339, 37399, 50706
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_UNCOMPRESSED, _WEBP = 1, 50001
_YCBCR, _LAB, _CFA, _LINEAR_RAW = 6, 8, 32803, 34892
_KINDS = {0: "grey", 1: "grey", 2: "RGB", 3: "a palette", 5: "CMYK", 6: "YCbCr", 8: "Lab", 9: "Lab", 10: "Lab"}
_NUMBERS = {_UNSIGNED: "unsigned", _SIGNED: "signed", _FLOAT: "floating-point"}


def opened(data: bytes) -> TiffImageFile:
    """The first picture of a TIFF with its header read and its pixels not yet.

    Raises:
        MatteboxError: UNREADABLE_IMAGE where it is damaged, a camera's raw file, or of a layout that would be read
            wrongly or not at all.
    """
    from PIL.TiffImagePlugin import COMPRESSION_INFO, ImageFileDirectory_v2, TiffImageFile

    if data.startswith(b"MM\0+"):
        refuse("A BigTIFF whose numbers have their first byte first is not supported")  # Pillow takes it for a TIFF
    with reading("TIFF"):
        tags = ImageFileDirectory_v2(data[:16] if data[2:4] == b"+\0" else data[:8])
        file = BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
    layout = _Layout.of(tags)
    _refuse_raw(tags, layout)
    # Pillow's packages bring a libtiff without WebP, which tells the standard error and not its caller.
    if layout.compression not in COMPRESSION_INFO or layout.compression == _WEBP:
        refuse(f"A TIFF with compression {layout.compression} is not supported")
    if not layout.is_read_right:
        layout.refuse()
    with reading("TIFF"):
        try:
            picture = TiffImageFile(BytesIO(data))
        except SyntaxError as error:
            if str(error) in ("unknown pixel mode", "Invalid value for samples per pixel"):
                layout.refuse()
            raise
    _adapt(picture, layout)
    return picture


@dataclass(frozen=True)
class _Layout:
    """How a TIFF stores its pixels. `extra` are its channels beyond colour: 1 and 2 are alpha, 0 is anything else."""

    photometric: int
    samples: int
    bits: int
    numbers: int
    compression: int
    is_planar: bool
    extra: tuple[int, ...]

    @classmethod
    def of(cls, tags: ImageFileDirectory_v2) -> _Layout:
        return cls(
            photometric=_numbers(tags, _PHOTOMETRIC, 0)[0],
            samples=_numbers(tags, _SAMPLES, 1)[0],
            bits=max(_numbers(tags, _BITS, 1)),
            numbers=max(_numbers(tags, _FORMAT, _UNSIGNED)),
            compression=_numbers(tags, _COMPRESSION, _UNCOMPRESSED)[0],
            is_planar=_numbers(tags, _PLANAR, 1)[0] == 2 and _numbers(tags, _SAMPLES, 1)[0] != 1,
            extra=_numbers(tags, _EXTRA),
        )

    @property
    def is_read_right(self) -> bool:
        """Whether Pillow reads these pixels right, if it reads them."""
        if self.numbers == _SIGNED and self.photometric != _LAB:
            return False  # taken for unsigned
        if self.bits > 16 and self.numbers != _FLOAT:
            return False  # nothing says which whole number of 32 bits is white
        if self.photometric == _YCBCR and self.compression == _UNCOMPRESSED:
            return False  # its samples are not stored pixel by pixel, which Pillow takes for granted
        if not self.is_planar:
            return True
        # Grey and palettes lose their alpha, premultiplied colours are taken for straight ones, and the signs of Lab
        # are lost.
        extra_is_right = self.extra in ((), (2,)) or (self.compression != _UNCOMPRESSED and not any(self.extra))
        return self.photometric in (2, 5, 6) and extra_is_right

    def refuse(self) -> NoReturn:
        kind = _KINDS.get(self.photometric, "an unusual kind of colour")
        channels = "one channel" if self.samples == 1 else f"{self.samples} channels"
        numbers = f"{self.bits}-bit {_NUMBERS.get(self.numbers, 'complex')} numbers"
        separate = ", stored one channel after the other," if self.is_planar else ""
        refuse(f"A TIFF of {kind} in {channels} of {numbers}{separate} is not supported")


def _numbers(tags: ImageFileDirectory_v2, tag: int, *default: int) -> tuple[int, ...]:
    with reading("TIFF"):  # it is now that Pillow looks at the values
        value = tags.get(tag, default)
    values = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(number, int) for number in values) or (default and not values):
        raise damaged("TIFF")
    return values


def is_opaque(picture: TiffImageFile) -> bool:
    """Whether to ignore the loaded picture's fourth channel: the file does not call it alpha, and all of it is 0."""
    is_named = _numbers(picture.tag_v2, _EXTRA, 0)[0] in (1, 2)
    return picture.mode == "RGBA" and not is_named and picture.getchannel("A").getextrema() == (0, 0)


def _refuse_raw(tags: ImageFileDirectory_v2, layout: _Layout) -> None:
    """Camera raw files are TIFFs whose first picture is a thumbnail, which nobody meant to send."""
    is_thumbnail = _numbers(tags, _SUBFILE, 0)[0] & 1
    if _DNG in tags or _MAKER_NOTE in tags or is_thumbnail or layout.photometric in (_CFA, _LINEAR_RAW):
        refuse("A camera's raw format is not supported")


def _adapt(picture: TiffImageFile, layout: _Layout) -> None:
    """Have libtiff read what Pillow's own reader gets wrong: channels that are stored one by one.

    And tell Pillow the byte order of what libtiff gives it, which is always this machine's. Some old files have a
    palette of 8 bits where the format wants 16.
    """
    from PIL import ImageFile, ImagePalette

    raw_mode = None
    if layout.compression != _UNCOMPRESSED:
        raw_mode = "F;32NF" if picture.mode == "F" else None
    elif layout.is_planar and picture.mode in ("RGB", "RGBA", "CMYK"):
        raw_mode = f"{picture.mode};16N" if layout.bits == 16 else picture.mode
    tags = picture.tag_v2
    if raw_mode is not None:
        picture.use_load_libtiff = True
        whole = (0, 0, tags[_WIDTH], tags[_HEIGHT])
        picture.tile = [ImageFile._Tile("libtiff", whole, 0, (raw_mode, False, tags.offset))]
    colors = _numbers(tags, _COLORS)
    if picture.mode == "P" and colors and min(colors) >= 0 and max(colors) < 256:
        picture.palette = ImagePalette.raw("RGB;L", bytes(colors))

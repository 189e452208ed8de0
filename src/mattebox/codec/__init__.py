"""Bytes to pictures and back: formats, limits, EXIF turn, ICC profiles, 16 bits.

This package alone uses Pillow, simplejpeg, isal and pi_heif, and imports them where they are needed.
"""

from mattebox.codec.limits import OWN_FILES, Limits
from mattebox.codec.pixels import from_array, from_pil, to_pil
from mattebox.codec.profiles import color_in_profile, in_profile
from mattebox.codec.reading import decode, kept_format, size
from mattebox.codec.writing import encode, extension, format_named, media_type, writer

__all__ = [
    "OWN_FILES",
    "Limits",
    "color_in_profile",
    "decode",
    "encode",
    "extension",
    "format_named",
    "from_array",
    "from_pil",
    "in_profile",
    "kept_format",
    "media_type",
    "size",
    "to_pil",
    "writer",
]

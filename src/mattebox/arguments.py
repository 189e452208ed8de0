"""The arguments of the library's functions, as people give them: checked, and brought to the types of the core.

A wrong type is a MatteboxError that names the argument, as a wrong value is.
"""

from __future__ import annotations

import array
import operator
import os
from pathlib import Path
from typing import SupportsFloat, SupportsIndex, TypeVar

import numpy as np
from PIL.Image import Image as PILImage

from mattebox import codec, files, units
from mattebox.edit import Color, Gradient
from mattebox.errors import Kind, MatteboxError
from mattebox.image import Image

T = TypeVar("T")
_PHOTO = "a path, bytes, a file opened in binary mode, a Pillow picture or an array"
_COLOR = "a Color, the words for one, or three whole numbers from 0 to 255"


def wrong(name: str, must_be: str, value: object) -> MatteboxError:
    """The failure of the argument `name`, which must be something else."""
    kind = value.__name__ if isinstance(value, type) else type(value).__name__
    return MatteboxError(Kind.INVALID_PARAMETER, f"{name} must be {must_be}, not {kind}.", parameter=name)


def instance(value: object, name: str, kind: type[T]) -> T:
    """`value`, if it is a `kind`."""
    if not isinstance(value, kind):
        raise wrong(name, f"of the type {kind.__name__}", value)
    return value


def photo(value: object, name: str) -> Image:
    """A picture, in each of the ways to give one that `mattebox.remove_background` lists."""
    try:
        return _photo(value, name)
    except MatteboxError as error:
        raise error.blaming(name) from error.__cause__


def _photo(value: object, name: str) -> Image:
    match value:
        case Image():
            return in_range(value, name)
        case np.ndarray():
            return codec.from_array(value)
        case PILImage():
            return codec.from_pil(value)
        case str() | os.PathLike():
            return codec.decode(files.read(path(value, name), codec.OWN_FILES.max_bytes), codec.OWN_FILES)
        case bytes() | bytearray() | memoryview() | array.array():
            try:
                view = memoryview(value)
            except ValueError as error:  # released, or its file closed
                raise wrong(name, _PHOTO, value) from error
            if view.ndim == 1 and view.itemsize == 1:
                return codec.decode(view.tobytes(), codec.OWN_FILES)
            return codec.from_array(np.asarray(view))
        case _:
            return codec.decode(_content(value, name), codec.OWN_FILES)


def in_range(image: Image, name: str) -> Image:
    """A picture made by hand, if its alpha is in [0, 1]."""
    alpha = image.alpha
    if alpha is not None and not (alpha.min() >= 0 and alpha.max() <= 1):  # false for NaN too
        raise MatteboxError(Kind.INVALID_PARAMETER, f"The alpha of {name} must be in 0..1.", parameter=name)
    return image


def _content(file: object, name: str) -> bytes:
    """The rest of an open file."""
    read = getattr(file, "read", None)
    if not callable(read) or isinstance(file, type):
        raise wrong(name, _PHOTO, file)
    try:
        data = read()
    except UnicodeDecodeError as error:  # opened as text
        raise wrong(name, _PHOTO, file) from error
    except (OSError, ValueError) as error:  # closed, or opened for writing
        raise MatteboxError(
            Kind.UNREADABLE_IMAGE, f"The file cannot be read: {str(error).rstrip('.')}.", parameter=name
        ) from error
    if not isinstance(data, bytes | bytearray | memoryview):
        raise wrong(name, _PHOTO, file)
    return bytes(data)


def path(value: object, name: str) -> Path:
    """A path, given as text or as an object that has one."""
    if not isinstance(value, str | os.PathLike):
        raise wrong(name, "a path", value)
    try:
        text = os.fsdecode(value)
    except TypeError as error:  # its path is neither text nor bytes
        raise wrong(name, "a path", value) from error
    if not text:
        raise MatteboxError(Kind.INVALID_PARAMETER, f"{name} is an empty path.", parameter=name)
    return Path(text)


def color(value: object) -> Color:
    """A colour, given as one, in words, or as its red, green and blue in whole numbers."""
    if isinstance(value, Color):
        return value
    try:
        if isinstance(value, str):
            return units.color(value)
        if isinstance(value, tuple | list | np.ndarray):
            red, green, blue = map(operator.index, value)
            return Color(red, green, blue)
    except MatteboxError as error:
        raise error.about("color") from error.__cause__
    except (TypeError, ValueError) as error:  # not three, not whole, or out of range
        raise MatteboxError(Kind.INVALID_PARAMETER, f"color must be {_COLOR}.", parameter="color") from error
    raise wrong("color", _COLOR, value)


def gradient(value: object) -> Gradient:
    """A gradient, given as one or in words."""
    if isinstance(value, Gradient):
        return value
    if not isinstance(value, str):
        raise wrong("gradient", "a Gradient or the words for one", value)
    try:
        return units.gradient(value)
    except MatteboxError as error:
        raise error.about("gradient") from error.__cause__


def flag(value: object, name: str) -> bool:
    """A truth value, Python's or NumPy's."""
    if not isinstance(value, bool | np.bool_):
        raise wrong(name, "True or False", value)
    return bool(value)


def whole(value: object, name: str, *, least: int, most: int | None = None) -> int:
    """A whole number, Python's or NumPy's."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise wrong(name, "a whole number", value)
    try:
        number = operator.index(value)
    except TypeError as error:  # an array of several
        raise wrong(name, "a whole number", value) from error
    if number < least or (most is not None and number > most):
        allowed = f"{least} or more" if most is None else f"a whole number from {least} to {most}"
        raise MatteboxError(Kind.INVALID_PARAMETER, f"{name} must be {allowed}.", parameter=name)
    return number


def number(value: object, name: str) -> float:
    """A number, Python's or NumPy's."""
    if isinstance(value, bool) or not isinstance(value, SupportsFloat):
        raise wrong(name, "a number", value)
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:  # an array of several, or a number that is too large
        raise wrong(name, "a number", value) from error

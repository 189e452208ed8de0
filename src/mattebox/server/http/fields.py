"""What a request says, read with patience and within bounds.

Clients are sloppy: they write "" for what is not set, "True" for true, data URLs for base64, and any name and type on a
file. All of that is read as it is meant; what cannot be meant is refused by the parameter's name. Bodies are counted as
they arrive, because the length that a request announces may be absent or wrong.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Collection, Mapping
from typing import NoReturn, TypeVar, final
from urllib.parse import urlsplit

import pybase64
from starlette.requests import Request

from mattebox import units
from mattebox.edit import Color
from mattebox.errors import Kind, MatteboxError
from mattebox.server.fetch import check_url
from mattebox.server.http import bodies
from mattebox.server.http.bodies import FORM_TYPES, JSON_TYPE, content_type, raw

_T = TypeVar("_T")

__all__ = ["FORM_TYPES", "JSON_TYPE", "Fields", "content_type", "form", "json", "query", "raw"]

_LONGEST_TEXT = 8192


@final
class Fields:
    """Named values of a form, a JSON object or a query.

    A reader gives None, or its default, for what is absent: not there, null, or an empty text. Every reader raises
    MatteboxError(INVALID_PARAMETER) with the parameter's name for a value that cannot be meant.

    Args:
        values: by name; bytes for files.
        max_bytes: the most bytes that a picture may have.
        within: the name of the object that these are the members of, for messages.
    """

    def __init__(self, values: Mapping[str, object], *, max_bytes: int, within: str = "") -> None:
        self._values = {
            name: value
            for name, value in values.items()
            if value is not None and not (isinstance(value, str) and not value.strip())
        }
        self._empty = frozenset(
            name for name, value in values.items() if isinstance(value, str) and name not in self._values
        )
        self._max_bytes = max_bytes
        self._within = within

    @property
    def names(self) -> Collection[str]:
        """The names of all that is present."""
        return self._values.keys()

    @property
    def empty(self) -> Collection[str]:
        """The names of what was sent as an empty text. Most clients mean nothing by it, so it counts as absent."""
        return self._empty

    def over(self, other: Fields) -> Fields:
        """These, and those of `other` that are absent here."""
        return Fields(other._values | self._values, max_bytes=self._max_bytes, within=self._within)

    def which(self, *names: str) -> str:
        """The name of the first of these that is present; the first of all where none is."""
        return self._called(self._first(names)[0])

    def text(self, *names: str, longest: int = _LONGEST_TEXT) -> str | None:
        """The first of these that is present, without the spaces around it; `longest` is in characters."""
        name, value = self._first(names)
        if value is None:
            return None
        if not isinstance(value, str):
            self._refuse(name, "must be text")
        value = value.strip()
        if len(value) > longest:
            self._refuse(name, f"must have at most {longest} characters")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """true or false, also written "true", "True", "1" or 1, and so on; never yes or no."""
        value = self._values.get(name)
        if value is None:
            return default
        word = value.strip().lower() if isinstance(value, str) else value
        if isinstance(word, bool | str | int):
            if word in ("true", "1", 1):
                return True
            if word in ("false", "0", 0):
                return False
        self._refuse(name, "must be true or false")

    def choice(self, name: str, words: Mapping[str, _T], default: _T) -> _T:
        """What the word under `name` stands for, whatever its case."""
        value = self._values.get(name)
        if value is None:
            return default
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in words:
            self._refuse(name, f"must be one of {', '.join(words)}")
        return words[word]

    def integer(self, name: str, *, least: int, most: int) -> int | None:
        """A whole number, as a number or in digits."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self._refuse(name, f"must be a whole number from {least} to {most}")
        return value

    def number(self, name: str, *, least: float, most: float) -> float | None:
        """A number in these bounds, as a number or in digits."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                self._refuse(name, "must be a number")
        if not isinstance(value, int | float) or isinstance(value, bool):
            self._refuse(name, "must be a number")
        if not least <= value <= most:  # NaN too, and whole numbers that no float can hold
            self._refuse(name, f"must be a number from {least:g} to {most:g}")
        return float(value)

    def color(self, name: str, *, opaque: bool = True) -> Color | None:
        """A colour as `units.color` reads it."""
        word = self.text(name)
        if word is None:
            return None
        try:
            return units.color(word, opaque=opaque)
        except MatteboxError as error:
            raise error.about(self._called(name)) from error

    def base64(self, *names: str) -> bytes | None:
        """A file written in base64 or its URL-safe form, bare or as a data URL, broken into lines or not.

        Raises:
            MatteboxError: TOO_MANY_BYTES too.
        """
        name, value = self._first(names)
        if value is None:
            return None
        if not isinstance(value, str):
            self._refuse(name, "must be base64 text")
        head, comma, rest = value.partition(",") if value[:100].lstrip()[:5].lower() == "data:" else ("", "", value)
        if head and not (comma and head.rstrip().lower().endswith(";base64")):
            self._refuse(name, "must be base64, or a data URL that says ;base64")
        try:
            digits = rest.encode("ascii").translate(None, b" \t\r\n")
            if len(digits) // 4 * 3 > self._max_bytes + 3:
                self._too_large(name)
            if b"-" in digits or b"_" in digits:  # in the URL-safe form the padding is usually left out
                data = pybase64.b64decode(digits + b"=" * (-len(digits) % 4), altchars=b"-_", validate=True)
            else:
                data = pybase64.b64decode(digits, validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise MatteboxError(
                Kind.INVALID_PARAMETER,
                f"{self._called(name)} is not valid base64.",
                parameter=self._called(name),
            ) from error
        return self._admitted(name, data)

    def file(self, *names: str) -> bytes | None:
        """A file of a form, whatever the name and type on it; also one that was sent as a plain text field.

        Raises:
            MatteboxError: TOO_MANY_BYTES too.
        """
        name, value = self._first(names)
        if value is None:
            return None
        if isinstance(value, str):
            # The form's reader takes bytes that are not UTF-8 for Latin-1, which gives each byte back.
            value = value.encode("latin-1" if value.isascii() or max(value) <= "\xff" else "utf-8")
        if not isinstance(value, bytes):
            self._refuse(name, "must be a file")
        return self._admitted(name, value)

    def picture(self, name: str) -> bytes | None:
        """A file of a form, or one that is written in base64, whichever way the request came.

        Raises:
            MatteboxError: TOO_MANY_BYTES too.
        """
        return self.base64(name) if isinstance(self._values.get(name), str) else self.file(name)

    def group(self, name: str) -> Fields:
        """The members of an object within this one; none where it is absent."""
        value = self._values.get(name, {})
        if not isinstance(value, dict):
            self._refuse(name, "must be an object")
        return Fields(value, max_bytes=self._max_bytes, within=self._called(name))

    def groups(self, name: str, *, most: int) -> list[Fields]:
        """The members of each object in the list under `name`, of one object at least; none where it is absent."""
        value = self._values.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            self._refuse(name, f"must be a list of 1 to {most} objects")
        whole = [self._called(f"{name}[{index}]") for index in range(len(value))]
        for called, each in zip(whole, value, strict=True):
            if not isinstance(each, dict):
                raise MatteboxError(Kind.INVALID_PARAMETER, f"{called} must be an object.", parameter=called)
        return [
            Fields(each, max_bytes=self._max_bytes, within=called) for called, each in zip(whole, value, strict=True)
        ]

    def is_address(self, *names: str) -> bool:
        """Whether the first of these that is present is meant as an address, of whatever kind, and not as a file."""
        value = self._first(names)[1]
        return isinstance(value, str) and re.match(r"\s*[a-z][a-z0-9+.-]*://", value[:100], re.IGNORECASE) is not None

    def address(self, *names: str, what: str = "picture's") -> str | None:
        """An http or https address that is well formed; `what` is whose it is, for the message."""
        value = self.text(*names)
        if value is None:
            return None
        try:
            check_url(value, what=what)
        except MatteboxError as error:
            raise error.about(self.which(*names)) from error
        if re.search(r"\s", urlsplit(value).netloc):  # a space further on is what people write who mean %20
            self._refuse(self._first(names)[0], "must not have a space in its host name")
        return value

    def _first(self, names: tuple[str, ...]) -> tuple[str, object]:
        return next(((name, self._values[name]) for name in names if name in self._values), (names[0], None))

    def _admitted(self, name: str, data: bytes) -> bytes:
        if len(data) > self._max_bytes:
            self._too_large(name)
        return data

    def _too_large(self, name: str) -> NoReturn:
        raise MatteboxError(Kind.TOO_MANY_BYTES, _limit(self._max_bytes), parameter=self._called(name))

    def _called(self, name: str) -> str:
        return f"{self._within}.{name}" if self._within else name

    def _refuse(self, name: str, why: str) -> NoReturn:
        called = self._called(name)
        raise MatteboxError(Kind.INVALID_PARAMETER, f"{called} {why}.", parameter=called)


def query(request: Request, *, max_bytes: int) -> Fields:
    """`bodies.query` for who has not got a model of fields."""
    return Fields(bodies.query(request), max_bytes=max_bytes)


async def form(request: Request, *, max_bytes: int, picture: str) -> Fields:
    """`bodies.form` for who has not got a model of fields."""
    return Fields(await bodies.form(request, max_bytes=max_bytes, picture=picture), max_bytes=max_bytes)


async def json(request: Request, *, max_bytes: int, picture: str, lenient: bool = False) -> Fields:
    """`bodies.json` for who has not got a model of fields."""
    values = await bodies.json(request, max_bytes=max_bytes, picture=picture, lenient=lenient)
    return Fields(values, max_bytes=max_bytes)


def _limit(max_bytes: int) -> str:
    return f"The picture may have at most {max_bytes:,} bytes."

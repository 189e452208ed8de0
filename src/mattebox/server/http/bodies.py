"""The bodies of requests, read within bounds into plain values, and the files and addresses among their fields.

Clients are sloppy: they write data URLs for base64, and any name and type on a file. All of that is read as it is
meant. Bodies are counted as they arrive, because the length that a request announces may be absent or wrong.
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, TypeAlias, TypeVar
from urllib.parse import urlsplit

import anyio.lowlevel
import pybase64
import pydantic_core
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from mattebox.errors import Kind, MatteboxError
from mattebox.fields import Fields, Reader, ReadText, Refusal, Schema, is_absent
from mattebox.server.fetch import check_url
from mattebox.server.inflate import ENCODINGS, Inflater
from mattebox.server.state import limits
from mattebox.sources import Link, Upload

_T = TypeVar("_T", bound=Fields)

FORM_TYPES = ("multipart/form-data", "application/x-www-form-urlencoded")
JSON_TYPE = "application/json"
Values: TypeAlias = dict[str, object]
"""The values of a request by name; bytes for files."""

_MOST_FIELDS = 100
"""Of a form, and members of a JSON object."""
_MOST_FILES = 8


# --- fields that only a request has ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bounds:
    """The context of reading: the most bytes that a picture may have."""

    max_bytes: int


class _BytesReader(Reader):
    def read_in(self, value: object, context: object) -> bytes:
        """The bytes, which are no more than the context allows."""
        if not isinstance(context, Bounds):
            raise TypeError("files are read in the context of Bounds")
        data = self.decode(value, context.max_bytes)
        if len(data) > context.max_bytes:
            raise _too_large(context.max_bytes)
        return data

    def decode(self, value: object, max_bytes: int) -> bytes:
        """The bytes; it may raise where there are more than so many."""
        raise NotImplementedError


class File(_BytesReader):
    """A file of a form, whatever the name and type on it; also one that was sent as a plain text field."""

    schema: ClassVar[Schema] = {"type": "string", "format": "binary"}

    def decode(self, value: object, max_bytes: int) -> bytes:  # noqa: ARG002, D102
        if isinstance(value, str):
            # The form's reader takes bytes that are not UTF-8 for Latin-1, which gives each byte back.
            return value.encode("latin-1" if value.isascii() or max(value) <= "\xff" else "utf-8")
        if not isinstance(value, bytes):
            raise Refusal("must be a file")
        return value


_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_ESCAPED = ((b"%2B", b"+"), (b"%2F", b"/"), (b"%3D", b"="), (b"%0D", b""), (b"%0A", b""))


def _digits(text: bytes) -> bytes:
    """Base64 of either alphabet as the digits of the standard one, without white space, its padding as it came."""
    if b"%" in text:
        for escaped, meant in _ESCAPED:
            text = text.replace(escaped, meant).replace(escaped.lower(), meant)
    text = text.translate(_URL_SAFE, b"\t\r\n").lstrip(b" ")
    bare = text.replace(b" ", b"")
    if len(bare) == len(text) or b"+" in bare:
        return bare
    # Without a single plus sign, the spaces are likely what a form's reader made of them: clients forget to escape it.
    width = text.index(b" ")
    ends = text[width :: width + 1]
    if len(ends) > 1 and ends == b" " * text.count(b" "):
        return bare  # lines of one length
    return bare if len(bare) % 4 == 0 and len(text) % 4 else text.replace(b" ", b"+")


class Base64File(_BytesReader):
    """A file written in base64, bare or as a data URL: of either alphabet, padded or not, broken into lines or not."""

    schema: ClassVar[Schema] = {"type": "string", "contentEncoding": "base64"}

    def decode(self, value: object, max_bytes: int) -> bytes:  # noqa: D102
        if not isinstance(value, str):
            raise Refusal("must be base64 text")
        head, comma, rest = value.partition(",") if value[:100].lstrip()[:5].lower() == "data:" else ("", "", value)
        if head and not (comma and head.rstrip().lower().endswith(";base64")):
            raise Refusal("must be base64, or a data URL that says ;base64")
        try:
            digits = _digits(rest.encode("ascii"))
            if len(digits) // 4 * 3 > max_bytes + 3:
                raise _too_large(max_bytes)
            return pybase64.b64decode(digits if b"=" in digits else digits + b"=" * (-len(digits) % 4), validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise Refusal("is not valid base64") from error


class PictureFile(_BytesReader):
    """A file of a form, or one that is written in base64, whichever way the request came."""

    schema: ClassVar[Schema] = {"type": "string", "format": "binary", "contentEncoding": "base64"}

    def decode(self, value: object, max_bytes: int) -> bytes:  # noqa: D102
        return (Base64File() if isinstance(value, str) else File()).decode(value, max_bytes)


@dataclass(frozen=True)
class ReadAddress(Reader):
    """An http or https address that is well formed; `whose` it is, for the message."""

    schema: ClassVar[Schema] = {"type": "string", "format": "uri"}
    whose: str = "picture's"

    def read(self, value: object) -> str:  # noqa: D102
        text = ReadText().read(value)
        check_url(text, what=self.whose)
        if re.search(r"\s", urlsplit(text).netloc):  # a space further on is what people write who mean %20
            raise Refusal("must not have a space in its host name")
        return text


Address = Annotated[str, ReadAddress()]


def is_address(value: object) -> bool:
    """Whether a value is meant as an address, of whatever kind, and not as a file."""
    return isinstance(value, str) and re.match(r"\s*[a-z][a-z0-9+.-]*://", value[:100], re.IGNORECASE) is not None


class Base64OrAddress(Reader):
    """A picture's address, or the picture itself as `Base64File` reads it."""

    schema: ClassVar[Schema] = {"type": "string"}

    def read_in(self, value: object, context: object) -> bytes | str:
        """The address, or the bytes, which are no more than the context allows."""
        return ReadAddress().read(value) if is_address(value) else Base64File().read_in(value, context)


class PhotoFields(Fields):
    """Fields with the photo among them: bytes, or a text that is its address.

    Attributes:
        photo_fields: those that the photo may be in, the first that is present winning.
        photo_missing: the sentence for a request without any of them.
    """

    photo_fields: ClassVar[tuple[str, ...]]
    photo_missing: ClassVar[str]

    @classmethod
    def check_names(cls, names: Collection[str]) -> None:
        """Refuse a request without a photo.

        Raises:
            MatteboxError: MISSING_IMAGE.
        """
        known = cls.names_of(*cls.photo_fields)
        if not any(name in names for name in known):
            raise MatteboxError(Kind.MISSING_IMAGE, cls.photo_missing, parameter=known[0])

    @property
    def photo_name(self) -> str:
        """The name that the photo came under, to be blamed where it cannot be used."""
        return self.named(self._photo_field)

    @property
    def photo_source(self) -> Upload | Link:
        """The photo, or where it is."""
        value = getattr(self, self._photo_field)
        return Upload(value) if isinstance(value, bytes) else Link(value)

    @property
    def _photo_field(self) -> str:
        return next(name for name in self.photo_fields if getattr(self, name) is not None)


# --- a body as a model -------------------------------------------------------------------------------------------


async def read_form(request: Request, model: type[_T], *, picture: str, max_bytes: int | None = None) -> _T:
    """The fields of a form; `form` and `Fields.read` say more. Without `max_bytes` the dialect's limit holds."""
    most = limits(request).max_bytes if max_bytes is None else max_bytes
    return read_values(model, await form(request, max_bytes=most, picture=picture), max_bytes=most)


async def read_json(request: Request, model: type[_T], *, picture: str, lenient: bool = False) -> _T:
    """The members of a JSON object; `json` and `Fields.read` say more."""
    most = limits(request).max_bytes
    return read_values(model, await json(request, max_bytes=most, picture=picture, lenient=lenient), max_bytes=most)


def read_query(request: Request, model: type[_T]) -> _T:
    """The parameters of the query."""
    return read_values(model, query(request), max_bytes=0)


def read_values(model: type[_T], values: Mapping[str, object], *, max_bytes: int) -> _T:
    """The fields of values that were read already.

    Raises:
        MatteboxError: as `Fields.read`; TOO_MANY_BYTES about a file of more than `max_bytes`.
    """
    return model.read(values, context=Bounds(max_bytes))


# --- a body as plain values --------------------------------------------------------------------------------------


def content_type(request: Request) -> str:
    """The body's media type without its parameters, in lower case; empty where none is named."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def present(values: Mapping[str, object]) -> Values:
    """The values that say something."""
    return {name: value for name, value in values.items() if not is_absent(value)}


def query(request: Request) -> Values:
    """The query's values. Scripts that build addresses write `undefined` and `null` for what is not set."""
    return {name: value for name, value in request.query_params.items() if value not in ("undefined", "null")}


async def form(request: Request, *, max_bytes: int, picture: str) -> Values:
    """The values of a multipart or urlencoded body; none where the body is neither.

    Args:
        request: its body must not have been read yet.
        max_bytes: the most bytes that a picture may have; a body may be half as large again, for base64.
        picture: the parameter to blame for a body that is larger.

    Raises:
        MatteboxError: INVALID_REQUEST, and as `raw`.
    """
    try:
        items = await _parse_form(request, _body_room(max_bytes), max_bytes, picture)
    except MultiPartException as error:
        raise MatteboxError(Kind.INVALID_REQUEST, f"The form cannot be read: {error.message}") from error
    except ValueError as error:  # an encoding or a boundary that nothing can be done with
        raise MatteboxError(Kind.INVALID_REQUEST, "The form cannot be read.") from error
    values: Values = {}
    for name, item in items.multi_items():
        if not isinstance(item, UploadFile):
            values[name] = item
        elif item.filename or item.size:  # a browser sends a file field that nobody filled in without either
            values[name] = item.file.read()
    await items.close()
    return values


async def _parse_form(request: Request, room: int, max_bytes: int, picture: str) -> FormData:
    body = _counted(request, room, max_bytes, picture)
    match content_type(request):
        case "multipart/form-data":
            # Files stay in memory, where they are needed anyway: they are no larger than the room.
            parser = MultiPartParser(
                request.headers, body, max_files=_MOST_FILES, max_fields=_MOST_FIELDS, max_part_size=room
            )
            parser.spool_max_size = room
            return await parser.parse()
        case "application/x-www-form-urlencoded":
            return await FormParser(request.headers, body, max_fields=_MOST_FIELDS, max_part_size=room).parse()
        case _:
            return FormData()


async def json(request: Request, *, max_bytes: int, picture: str, lenient: bool = False) -> Values:
    """The members of a body that is one JSON object.

    Args:
        request, max_bytes, picture: as in `form`.
        lenient: an empty body is an empty object; and NaN is read, so that the member that has it can be named.

    Raises:
        MatteboxError: INVALID_REQUEST, and as `raw`.
    """
    named = content_type(request)
    if named and named != JSON_TYPE and not named.endswith("+json"):
        raise MatteboxError(Kind.INVALID_REQUEST, f"The body must be JSON, with Content-Type: {JSON_TYPE}.")
    body = await _read(request, _body_room(max_bytes), max_bytes, picture)
    try:
        text = body.removeprefix(b"\xef\xbb\xbf")
        value = {}
        if text.strip() or not lenient:
            value = pydantic_core.from_json(text, allow_inf_nan=lenient, cache_strings=False)
    except ValueError as error:
        raise MatteboxError(Kind.INVALID_REQUEST, f"The body is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise MatteboxError(Kind.INVALID_REQUEST, "The body must be a JSON object.")
    if len(value) > _MOST_FIELDS:
        raise MatteboxError(Kind.INVALID_REQUEST, f"The body may have at most {_MOST_FIELDS} members.")
    return value


async def raw(request: Request, *, max_bytes: int, picture: str) -> bytes:
    """The body itself, with at most `max_bytes`; `picture` is the parameter to blame for more.

    Raises:
        MatteboxError: TOO_MANY_BYTES; UNSUPPORTED_ENCODING, or INVALID_REQUEST where it cannot be unpacked;
            UPLOAD_TIMED_OUT; CANCELLED where the client has gone.
    """
    return bytes(await _read(request, max_bytes, max_bytes, picture))


def _body_room(max_bytes: int) -> int:
    """Base64 takes a third more, its line breaks and escapes a little; the rest is for the other fields."""
    return max_bytes * 3 // 2 + 2**20


async def _read(request: Request, room: int, max_bytes: int, picture: str) -> bytearray:
    body = bytearray()
    async for chunk in _counted(request, room, max_bytes, picture):
        body += chunk
    return body


async def _counted(request: Request, room: int, max_bytes: int, picture: str) -> AsyncGenerator[bytes, None]:
    """The body as it arrives, unpacked; neither what arrives nor what it unpacks to is larger than the room."""
    inflater = _inflater(request)
    # What cannot be packed becomes a little larger when somebody tries.
    arriving = room if inflater is None else room + room // 500 + 1024
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:18]) > arriving:
        raise _too_large(max_bytes).about(picture)
    received = unpacked = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            for piece in (chunk,) if inflater is None else inflater.feed(chunk):
                unpacked += len(piece)
                if max(received - arriving, unpacked - room) > 0:
                    raise _too_large(max_bytes).about(picture)
                if inflater is not None:
                    await anyio.lowlevel.checkpoint()  # a little may unpack to much
                yield piece
        if inflater is not None:
            inflater.finish()
    except ClientDisconnect as error:
        raise MatteboxError(Kind.CANCELLED, "The client went away before its request was complete.") from error
    except zlib.error as error:
        raise MatteboxError(Kind.INVALID_REQUEST, "The body is not what its Content-Encoding says.") from error


def _inflater(request: Request) -> Inflater | None:
    """The inflater of the body; None where it is not packed."""
    named = ",".join(request.headers.getlist("content-encoding")).split(",")
    match [name for name in (each.strip().lower() for each in named) if name not in ("", "identity")]:
        case []:
            return None
        case [name] if name in ENCODINGS:
            return Inflater(name)
        case _:
            raise MatteboxError(
                Kind.UNSUPPORTED_ENCODING, "Content-Encoding must be gzip or deflate, or left out for a plain body."
            )


def _too_large(max_bytes: int) -> MatteboxError:
    return MatteboxError(Kind.TOO_MANY_BYTES, f"The picture may have at most {max_bytes:,} bytes.")

"""Unpacking of gzip and deflate data as it arrives, a bounded piece at a time: a thousandth may be a bomb's size."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    _Stream = zlib._Decompress

ENCODINGS: Final = ("gzip", "x-gzip", "deflate")
"""The content codings that can be unpacked."""
PIECE: Final = 2**18
"""The most bytes of one piece."""

_GZIP, _ZLIB, _RAW = 31, 15, -15


@final
class Inflater:
    """Unpacks one body.

    Args:
        encoding: one of `ENCODINGS`. Deflate is read with zlib's frame around it, as it should be, and without.
    """

    def __init__(self, encoding: str) -> None:
        self._gzip = encoding != "deflate"
        self._stream: _Stream | None = None
        self._first = b""
        self._ended = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes of the body; what they unpack to, in pieces of at most `PIECE` bytes.

        Raises:
            zlib.error: they are damaged, or go on behind the end.
        """
        full = False
        while data or full:
            if self._stream is None:
                if self._ended and not self._gzip:  # only gzip may have several members
                    raise zlib.error("data behind the end")
                self._first = data = self._first + data
                if len(data) < 2:
                    return
                self._stream, self._first = zlib.decompressobj(self._window(data)), b""
            piece = self._stream.decompress(data, PIECE)
            full = len(piece) == PIECE  # there may be more of it inside, though all of the data was taken
            data = self._stream.unconsumed_tail
            if self._stream.eof:
                data, full = self._stream.unused_data, False
                self._stream, self._ended = None, True
            if piece:
                yield piece

    def finish(self) -> None:
        """Say that the body has ended.

        Raises:
            zlib.error: its data is cut short.
        """
        if self._stream is not None or self._first:
            raise zlib.error("cut short")

    def _window(self, data: bytes) -> int:
        if self._gzip:
            return _GZIP
        framed = data[0] & 15 == 8 and int.from_bytes(data[:2]) % 31 == 0
        return _ZLIB if framed else _RAW

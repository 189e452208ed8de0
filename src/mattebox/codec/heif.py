"""The boxes of AVIF and HEIC files that their readers do not look at, or not carefully enough."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from mattebox.codec.cicp import CodePoints
from mattebox.codec.limits import damaged, refuse

_READ = {b"hvc1", b"grid", b"iden", b"iovl"}  # HEVC, and pictures that are put together of others
# A photo of many tiles has a few hundred boxes and some KiB of tables. More would only cost time.
_MOST_BOXES = 10_000
_LARGEST_TABLE = 2**18


class _Box(NamedTuple):
    kind: bytes
    start: int
    end: int


def _boxes(data: bytes, start: int, end: int) -> Iterator[_Box]:
    """The boxes between two places; each one's `start` and `end` are those of its content. Stops where they end."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        size, head = int.from_bytes(data[start : start + 4]), 8
        if size == 1:
            size, head = int.from_bytes(data[start + 8 : start + 16]), 16
        stop = start + size if size else end
        if stop < start + head or stop > end:
            return
        yield _Box(data[start + 4 : start + 8], start + head, stop)
        start = stop


def _child(data: bytes, parent: _Box, kind: bytes, skip: int = 0) -> _Box | None:
    for box in _boxes(data, parent.start + skip, parent.end):
        if box.kind == kind:
            return box if box.end - box.start <= _LARGEST_TABLE else None
    return None


def check_names(data: bytes, name: str) -> None:
    """Refuse a file whose items have names that are not text.

    pi_heif hands such a name to Python without looking (a null pointer in its list of metadata), and the whole process
    dies of it. Names stand in `infe` boxes; the coded pictures, in `mdat`, are not searched.
    """
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16])
        end = min(at + size, len(data)) if size else len(data)
        if end < at + 8:
            return
        hit = -1 if data[at + 4 : at + 8] == b"mdat" else data.find(b"infe", at, end)
        while hit >= 0:
            start = hit + 4
            length = int.from_bytes(data[start - 8 : start - 4])
            try:
                names = data[start + (10 if data[start] >= 3 else 8) : start - 8 + length]
                str(names[:4], "utf-8")  # its type
                str(names[4:], "utf-8")
            except (IndexError, UnicodeDecodeError) as error:
                raise damaged(name) from error
            hit = data.find(b"infe", start, end)
        at = end


def check_coding(data: bytes) -> None:
    """Refuse a HEIC whose main picture is coded with anything but HEVC, by the name of what it is coded with."""
    try:
        kind = _main_kind(data)
    except (struct.error, IndexError):  # a box ends early: the reader of the pixels has its own word about that
        return
    if kind is not None and kind not in _READ:
        refuse(f"A HEIC that is coded as {kind.decode('ascii', 'replace')} is not supported")


def without_exif(data: bytes) -> bytes:
    """The same AVIF with its EXIF data made unknown: where that is damaged, libavif refuses the whole file.

    Nothing of it is needed, because an AVIF is turned by boxes of its own.
    """
    try:
        places = [place for _, place in _items(data) if data[place : place + 4] == b"Exif"]
    except (struct.error, IndexError):
        return data
    if not places:
        return data
    file = bytearray(data)
    for place in places:
        file[place : place + 4] = b"skip"
    return bytes(file)


def _main_kind(data: bytes) -> bytes | None:
    meta = _meta(data)
    main = None if meta is None else _child(data, meta, b"pitm", 4)
    if main is None:
        return None
    wanted = _number(data, main.start + 4, wide=data[main.start] > 0)
    return next((data[place : place + 4] for item, place in _items(data) if item == wanted), None)


def _meta(data: bytes) -> _Box | None:
    return next((box for box in _boxes(data, 0, len(data)) if box.kind == b"meta"), None)


def _items(data: bytes) -> Iterator[tuple[int, int]]:
    """The number of each item, and where in the file its type stands."""
    meta = _meta(data)
    table = None if meta is None else _child(data, meta, b"iinf", 4)
    if table is None:
        return
    for box in _boxes(data, table.start + (8 if data[table.start] else 6), table.end):
        wide = data[box.start] == 3
        if data[box.start] >= 2:
            yield _number(data, box.start + 4, wide=wide), box.start + (10 if wide else 8)


def code_points(data: bytes) -> CodePoints | None:
    """The colours of the main picture where the container gives them as numbers (an `nclx` box).

    Of a picture that is put together from tiles and has no such box, the first tile's counts. A gain map's own colours
    are those of another picture and are not looked at.
    """
    try:
        return _code_points(data)
    except (struct.error, IndexError):  # a box ends early: the reader of the pixels has its own word about that
        return None


def _code_points(data: bytes) -> CodePoints | None:
    meta = _meta(data)
    if meta is None:
        return None
    main, properties = _child(data, meta, b"pitm", 4), _child(data, meta, b"iprp", 4)
    if main is None or properties is None:
        return None
    item = _number(data, main.start + 4, wide=data[main.start] > 0)
    found = _colors_of(data, properties, item)
    references = _child(data, meta, b"iref", 4)
    if found is None and references is not None:
        wide = data[references.start] > 0
        for box in _boxes(data, references.start + 4, references.end):
            first = box.start + (6 if wide else 4)
            if box.kind == b"dimg" and _number(data, box.start, wide=wide) == item:
                return _colors_of(data, properties, _number(data, first, wide=wide))
    return found


def _number(data: bytes, at: int, *, wide: bool) -> int:
    return int(struct.unpack_from(">I" if wide else ">H", data, at)[0])


def _colors_of(data: bytes, properties: _Box, item: int) -> CodePoints | None:
    shared = _child(data, properties, b"ipco")
    if shared is None:
        return None
    boxes = list(_boxes(data, shared.start, shared.end))
    for table in _boxes(data, properties.start, properties.end):
        if table.kind != b"ipma":
            continue
        wide_items, wide_places = data[table.start] > 0, bool(data[table.start + 3] & 1)
        at = table.start + 8
        for _ in range(_number(data, table.start + 4, wide=True)):
            number = _number(data, at, wide=wide_items)
            at += 4 if wide_items else 2
            count, at = data[at], at + 1
            for _ in range(count):
                place = _number(data, at, wide=False) & 0x7FFF if wide_places else data[at] & 0x7F
                at += 2 if wide_places else 1
                if number == item and 0 < place <= len(boxes):
                    box = boxes[place - 1]
                    if box.kind == b"colr" and data[box.start : box.start + 4] == b"nclx":
                        primaries, transfer = struct.unpack_from(">HH", data, box.start + 4)
                        return CodePoints(primaries, transfer)
    return None

"""Photos in base64 that is not quite base64."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from functools import partial

from tests.codec.pictures import quadrants, saved
from tests.hostile.damaged import samples

MB = 2**20


def texts() -> Iterator[tuple[str, Callable[[], object]]]:
    """Each with its name: values for the member that the photo is in."""
    whole = base64.b64encode(saved(quadrants(), "PNG")).decode()
    made: dict[str, Callable[[], object]] = {
        "of four letters a line": lambda: "\r\n".join(whole[at : at + 4] for at in range(0, len(whole), 4)),
        "of the other alphabet": lambda: whole.replace("+", "-").replace("/", "_"),
        "of both alphabets": lambda: whole.replace("+", "-"),
        "without its padding": lambda: whole.rstrip("="),
        "with too much padding": lambda: whole + "====",
        "with padding inside": lambda: whole[:100] + "==" + whole[100:],
        "that is cut": lambda: whole[:-7],
        "of spaces for plus signs": lambda: whole.replace("+", " "),
        "with a megabyte of space": lambda: whole + " " * MB,
        "with a megabyte of new lines": lambda: "\n" * MB + whole,
        "of a megabyte of escapes": lambda: "%2B" * (MB // 3),
        "encoded twice": lambda: base64.b64encode(whole.encode()).decode(),
        "of 40 MB": lambda: "A" * (40 * MB),
        "of 44 MB of padding": lambda: "=" * (44 * MB),
        "of full-width letters": lambda: "".join(chr(ord(each) + 0xFEE0) for each in whole),
        "of null bytes": lambda: "\0" * 1_000,
        "with a null byte": lambda: whole[:50] + "\0" + whole[50:],
        "of surrogates": lambda: "\ud800" * 10,
        "that is too long by one": lambda: whole[:-4] + "A",
        "that is empty": lambda: "",
        "of spaces": lambda: " " * 100,
        "of a HEIC": lambda: base64.b64encode(samples()["HEIC"]).decode(),
    }
    for name, make in made.items():
        yield f"base64 {name}", make
    for head in (
        "data:,", "data:;base64,", "data:image/png,", "data:image/png;base64", "data:image/png;base64,",
        "DATA:IMAGE/PNG;BASE64,", "data:text/html;base64,", "data:image/png;base64;base64,",
        "data:" + "x" * 5_000 + ",", "data:image/svg+xml;utf8,<svg/>", "data:image/png;charset=utf-8;base64,",
        "data:data:image/png;base64,", "file:///etc/passwd", "http://127.0.0.1/", "javascript:alert(1)",
        "@/etc/passwd", "/etc/passwd",
    ):  # fmt: skip
        yield f"base64 behind {head[:40]!r}", partial(lambda head: head + whole, head)
    for value in (None, True, 7, 1.5, [], {}, [whole], {"data": whole}, ["a"] * 1_000):
        yield f"base64 that is {str(value)[:20]}", partial(lambda value: value, value)

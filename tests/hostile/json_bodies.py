"""JSON that is giant, deep, twisted or something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

MB = 2**20


def bodies() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Each with its name."""
    for depth in (100, 10_000, 1_000_000):
        yield f"lists {depth:,} deep", partial(lambda depth: b"[" * depth + b"]" * depth, depth)
        yield f"objects {depth:,} deep", partial(lambda depth: b'{"a":' * depth + b"1" + b"}" * depth, depth)
        yield f"{depth:,} lists that are not closed", partial(lambda depth: b'{"image":' + b"[" * depth, depth)
    yield "a member 200 deep", lambda: b'{"image":' + b"[" * 190 + b"]" * 190 + b"}"
    yield "a million members", lambda: b"{" + b",".join(b'"%d":1' % n for n in range(1_000_000)) + b"}"
    yield "one member a million times", lambda: b"{" + b'"image":1,' * 1_000_000 + b'"image":1}'
    yield "a list of a million numbers", lambda: b'{"image":[' + b"1," * 1_000_000 + b"1]}"
    yield "a text of 30 MB", lambda: b'{"name":"' + b"x" * (30 * MB) + b'"}'
    yield "a text of 60 MB", lambda: b'{"name":"' + b"x" * (60 * MB) + b'"}'
    yield "a name of a megabyte", lambda: b'{"' + b"x" * MB + b'":1}'
    yield "two megabytes of escapes", lambda: b'{"image":"' + b"\\u0000" * (2 * MB // 6) + b'"}'
    yield "a megabyte of space", lambda: b" " * MB + b"{}" + b" " * MB
    yield "a number of a million digits", lambda: b'{"seed":' + b"9" * 1_000_000 + b"}"
    yield "a fraction of a million digits", lambda: b'{"scale":0.' + b"9" * 1_000_000 + b"}"
    for text in (
        b"", b"null", b"true", b"0", b'""', b"[]", b"{}", b"{", b'{"a"', b'{"a":1,}', b"{'a':1}", b"NaN",
        b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":1e999}', b'{"a":-1e999}', b'{"a":1e-999}',
        b'{"a":0x10}', b'{"a":"\\ud800"}', b'{"a":"\\udc00\\ud800"}', b'{"a":"\xff\xfe"}', b'{"a":"\xc0\x80"}',
        b'{"\\u0000":1}', b'{"a":"\\x41"}', b"{}{}", b"{} x", b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0", b"/* a */{}",
        b'{"a":"\n"}', b'{"__proto__":{"a":1}}', b'{"constructor":{"prototype":{}}}', b'{"$ref":"#"}', b"\0",
        b"{\0}", b"<xml/>",
    ):  # fmt: skip
        yield repr(text), partial(lambda text: text, text)

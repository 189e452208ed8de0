"""Values of the wrong kind, length and range, for every option of every route."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.codec.pictures import quadrants, saved
from tests.hostile.doors import Door, Sent

WRONG: tuple[object, ...] = (
    "\0", "x" * 100_000, "-1", "1e308", "99999999999999999999", "0x10", "nan", "\U0001f4a3", "' OR 1=1--",
    "../../etc/passwd", "${jndi:ldap://127.0.0.1/}", "{{7*7}}", "%s%s%n", "\u202e", "a\r\nX-Injected: 1",
    "1" * 5_000, "\uff11", "١", "--", "1,2,3,4,5,6,7", "1e-320", "1_000", "٪50", "50%%", "-50%", "1e5%", "infinity%",
    "#" * 1_000,
)  # fmt: skip
WRONG_IN_JSON: tuple[object, ...] = (
    [], {}, [[]], {"a": {}}, True, -1, 0, 2**63, 2**64, 10**400, 1e308, -1e308, 1e-320, ["a"] * 1_000,
    {"a": "b" * 10_000},
)  # fmt: skip


def fields_of(page: dict[str, object], door: Door) -> Iterator[str]:
    """The names of the options in the body of a route, by the server's own page of API docs."""
    for schema in _schemas(page, door):
        yield from schema["properties"]


def _schemas(page: dict[str, object], door: Door) -> Iterator[dict[str, dict[str, object]]]:
    text = json.dumps(page)
    content = json.loads(text)["paths"][door.path]["post"]["requestBody"]["content"]
    for each in content.values():
        if "properties" in each["schema"]:
            yield each["schema"]


def takes_pictures(post: dict[str, dict[str, dict[str, dict[str, dict[str, object]]]]]) -> bool:
    """Whether the body of an operation has a field for a picture or for a picture's address."""
    return any(
        isinstance(each, dict) and (each.get("format") in ("binary", "base64", "uri") or "base64" in str(each))
        for content in post.get("requestBody", {}).get("content", {}).values()
        for each in (content["schema"], *_properties(content["schema"]))
    )


def _properties(schema: dict[str, object]) -> list[object]:
    found = schema.get("properties")
    return list(found.values()) if isinstance(found, dict) else []


def requests(door: Door, name: str) -> Iterator[Sent]:
    """The wrong values of one option, each beside a photo that is fine."""
    photo = saved(quadrants(), "PNG")
    if door.file:
        for value in WRONG:
            text = str(value).encode()
            yield door.form([(door.file, "a.png", photo), (name, None, text)])
    if door.text:
        sound = json.loads(door.as_text(photo).body)
        for value in (*WRONG_IN_JSON, *(WRONG if not door.file else ())):
            yield door.json({**sound, name: value})
    if door.url and not door.file and not door.text:
        for value in (*WRONG_IN_JSON, *WRONG):
            yield door.json({door.url: "http://127.0.0.1/", name: value})

from __future__ import annotations

import pytest
from starlette.exceptions import HTTPException

from mattebox.edit import Format
from mattebox.server.http.negotiation import ResponseFormat, negotiate


@pytest.mark.parametrize(
    ("accept", "chosen", "expected"),
    [
        ("*/*", None, ResponseFormat(Format.PNG, as_json=False)),
        ("", None, ResponseFormat(Format.PNG, as_json=False)),
        ("image/*", None, ResponseFormat(Format.PNG, as_json=False)),
        ("image/webp, image/*;q=0.5", None, ResponseFormat(Format.WEBP, as_json=False)),
        ("image/png;q=0, image/*", None, ResponseFormat(Format.WEBP, as_json=False)),
        ("application/zip", None, ResponseFormat(Format.ZIP, as_json=False)),
        ("application/json", None, ResponseFormat(Format.PNG, as_json=True)),
        ("application/json;q=0.9, image/avif", None, ResponseFormat(Format.AVIF, as_json=False)),
        ("application/json", Format.JPEG, ResponseFormat(Format.JPEG, as_json=True)),
        ("application/json, */*", Format.JPEG, ResponseFormat(Format.JPEG, as_json=False)),
        ("text/html", Format.WEBP, ResponseFormat(Format.WEBP, as_json=False)),
        ("image/webp;q=much, image/jpeg;q=0.1", None, ResponseFormat(Format.JPEG, as_json=False)),
    ],
)
def test_what_is_answered_with(accept: str, chosen: Format | None, expected: ResponseFormat) -> None:
    assert negotiate(accept, chosen) == expected


@pytest.mark.parametrize("accept", ["text/html", "image/gif", "*/*;q=0"])
def test_where_accept_leaves_nothing(accept: str) -> None:
    with pytest.raises(HTTPException) as caught:
        negotiate(accept, None)
    assert caught.value.status_code == 406

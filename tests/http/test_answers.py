from __future__ import annotations

import pytest
from starlette.exceptions import HTTPException

from mattebox.edit import Format
from mattebox.http.answers import Answer, negotiate


@pytest.mark.parametrize(
    ("accept", "chosen", "expected"),
    [
        ("*/*", None, Answer(Format.PNG, as_json=False)),
        ("", None, Answer(Format.PNG, as_json=False)),
        ("image/*", None, Answer(Format.PNG, as_json=False)),
        ("image/webp, image/*;q=0.5", None, Answer(Format.WEBP, as_json=False)),
        ("image/png;q=0, image/*", None, Answer(Format.WEBP, as_json=False)),
        ("application/zip", None, Answer(Format.ZIP, as_json=False)),
        ("application/json", None, Answer(Format.PNG, as_json=True)),
        ("application/json;q=0.9, image/avif", None, Answer(Format.AVIF, as_json=False)),
        ("application/json", Format.JPEG, Answer(Format.JPEG, as_json=True)),
        ("application/json, */*", Format.JPEG, Answer(Format.JPEG, as_json=False)),
        ("text/html", Format.WEBP, Answer(Format.WEBP, as_json=False)),
        ("image/webp;q=much, image/jpeg;q=0.1", None, Answer(Format.JPEG, as_json=False)),
    ],
)
def test_what_is_answered_with(accept: str, chosen: Format | None, expected: Answer) -> None:
    assert negotiate(accept, chosen) == expected


@pytest.mark.parametrize("accept", ["text/html", "image/gif", "*/*;q=0"])
def test_where_accept_leaves_nothing(accept: str) -> None:
    with pytest.raises(HTTPException) as caught:
        negotiate(accept, None)
    assert caught.value.status_code == 406

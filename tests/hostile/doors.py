"""The routes that take pictures: how each takes them, and how a failure looks in its vendor's own shape."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.codec.pictures import quadrants, saved

SOUND = saved(quadrants(), "PNG")
Headers: TypeAlias = list[tuple[str, str]]
JSON = "application/json"
BOUNDARY = "hostile"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass(frozen=True, slots=True)
class Sent:
    """One request. `start` is its whole first line, where it is not the ordinary one of a POST."""

    path: str
    body: bytes = b""
    headers: Headers = field(default_factory=list)
    start: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One route.

    Attributes:
        members: the names in the body of a failure, all of them.
        file: the field of a form with the photo as a file.
        text: the member of a JSON object with the photo in base64.
        url: the field with the photo's address, in JSON or (`url_in_form`) in a form.
        others: what it asks for besides.
        photo: the field of its photo, where the picture is another one: that behind.
        task: where to ask how the task stands that it makes, with the id at `{}`.
    """

    name: str
    path: str
    members: frozenset[str]
    file: str = ""
    text: str = ""
    url: str = ""
    url_in_form: bool = False
    raw: bool = False
    others: Mapping[str, str] = field(default_factory=dict)
    photo: str = ""
    task: str = ""

    @property
    def carriages(self) -> list[Callable[[bytes], Sent]]:
        """The ways in which it takes the bytes of a photo."""
        ways = [(self.file, self.as_file), (self.text, self.as_text), (self.raw, self.as_body)]
        return [way for known, way in ways if known]

    def as_file(self, photo: bytes) -> Sent:
        sound = [(self.photo, "a.png", SOUND)] if self.photo else []
        return self.form([*sound, (self.file, "photo.jpg", photo)])

    def as_text(self, photo: bytes) -> Sent:
        sound = {self.photo: base64.b64encode(SOUND).decode()} if self.photo else {}
        return self.json({**sound, self.text: base64.b64encode(photo).decode()})

    def as_body(self, photo: bytes) -> Sent:
        return Sent(self.path, photo, [("Content-Type", "image/jpeg")])

    def at(self, address: str) -> Sent:
        """A request for a photo that is somewhere else."""
        if self.url_in_form:
            return self.form([(self.url, None, address.encode("utf-8", "surrogatepass"))])
        return self.json({self.url: address})

    def form(self, parts: list[tuple[str, str | None, bytes]]) -> Sent:
        others = [(name, None, value.encode()) for name, value in self.others.items()]
        return Sent(self.path, multipart([*others, *parts]), [("Content-Type", FORM)])

    def json(self, members: Mapping[str, object]) -> Sent:
        return Sent(self.path, json.dumps({**self.others, **members}).encode(), [("Content-Type", JSON)])


def multipart(parts: list[tuple[str, str | None, bytes]]) -> bytes:
    body = b""
    for name, filename, content in parts:
        file = "" if filename is None else f'; filename="{filename}"'
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def _members(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NATIVE = _members("type title status detail kind parameter request_id")
_REMOVEBG = _members("errors")
_WITHOUTBG = _members("error detail")
_IMGPROCESSING = _members("type title error status detail message errors request_id")
_NOVITA = _members("code reason message metadata")
_NATIVE_TASK, _NOVITA_TASK = "/api/v1/tasks/{}", "/v3/async/task-result?task_id={}"
DOORS = (
    Door(name="native", path="/api/v1/remove", members=_NATIVE, file="image", text="image", url="image_url", raw=True),
    Door(
        name="native replace",
        path="/api/v1/replace",
        members=_NATIVE,
        file="image",
        text="image",
        url="image_url",
        others={"background": "red"},
    ),
    Door(
        name="novita",
        path="/v3/remove-background",
        members=_NOVITA,
        text="image_file",
    ),
    Door(
        name="poof",
        path="/v1/remove",
        members=_members("code message details request_id"),
        file="image_file",
        url="url",
        url_in_form=True,
    ),
    Door(
        name="removebg",
        path="/v1.0/removebg",
        members=_REMOVEBG,
        file="image_file",
        text="image_file_b64",
        url="image_url",
    ),
    Door(name="clipdrop", path="/remove-background/v1", members=_members("error"), file="image_file"),
    Door(
        name="photoroom",
        path="/v1/segment",
        members=_members("detail status_code type"),
        file="image_file",
        text="image_file_b64",
    ),
    Door(name="withoutbg", path="/v1/remove-background", members=_WITHOUTBG, file="image", text="image", raw=True),
    Door(name="withoutbg files", path="/v1.0/image-without-background", members=_WITHOUTBG, file="file"),
    Door(
        name="withoutbg text",
        path="/v1.0/image-without-background-base64",
        members=_WITHOUTBG,
        text="image_base64",
    ),
    Door(
        name="imgprocessing",
        path="/v1/images/upload",
        members=_IMGPROCESSING,
        file="image",
        others={"name": "hostile"},
    ),
    Door(name="imgprocessing links", path="/v1/images", members=_IMGPROCESSING, url="url", others={"name": "hostile"}),
)
"""The main route of each dialect."""
BEHIND = (
    Door(
        name="behind",
        path="/api/v1/remove",
        members=_NATIVE,
        file="background_image",
        text="background_image",
        photo="image",
    ),
    Door(name="behind, replace", path="/api/v1/replace", members=_NATIVE, file="background_image", photo="image"),
    Door(name="behind, removebg", path="/v1.0/removebg", members=_REMOVEBG, file="bg_image_file", photo="image_file"),
    Door(
        name="behind, task",
        path="/api/v1/tasks",
        members=_NATIVE,
        file="background_image",
        text="background_image",
        photo="image",
        task=_NATIVE_TASK,
    ),
)
"""Those for the picture behind."""
PICTURE_DOORS = (
    *DOORS,
    *BEHIND,
    Door(
        name="task",
        path="/api/v1/tasks",
        members=_NATIVE,
        file="image",
        text="image",
        url="image_url",
        raw=True,
        task=_NATIVE_TASK,
    ),
    Door(name="stored", path="/api/v1/images", members=_NATIVE, file="image", text="image", url="image_url", raw=True),
    Door(name="novita replace", path="/v3/replace-background", members=_NOVITA, text="image_file"),
    Door(
        name="novita task", path="/v3/async/image-remove-background", members=_NOVITA, text="image", task=_NOVITA_TASK
    ),
    Door(
        name="novita replace task",
        path="/v3/async/replace-background",
        members=_NOVITA,
        text="image_file",
        task=_NOVITA_TASK,
    ),
    Door(
        name="clipdrop replace",
        path="/replace-background/v1",
        members=_members("error"),
        file="image_file",
        others={"prompt": ""},
    ),
    Door(
        name="removebg improve",
        path="/v1.0/improve",
        members=_REMOVEBG,
        file="image_file",
        text="image_file_b64",
        url="image_url",
    ),
    Door(name="withoutbg alpha", path="/v1.0/alpha-channel", members=_WITHOUTBG, file="file"),
    Door(name="withoutbg alpha text", path="/v1.0/alpha-channel-base64", members=_WITHOUTBG, text="image_base64"),
)
"""All of them but those of pictures that are kept already."""

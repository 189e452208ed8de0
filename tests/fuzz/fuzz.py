"""Coverage-guided fuzzing of the decoder, and of what each dialect reads from a request. `make fuzz` runs it.

    python -m tests.fuzz.fuzz TARGET [FOLDER] [libFuzzer's options]

TARGET is `decoder` or the name of a door of `tests.hostile.doors`, with hyphens for spaces. What is found to be new is
kept in FOLDER. It ends with the input that failed in a file `crash-…`.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mattebox", "PIL", "python_multipart", "starlette.formparsers"]):
    from starlette.types import Message

    from mattebox import codec
    from mattebox.codec import Limits
    from mattebox.errors import MatteboxError
    from mattebox.server.app import create_app
    from mattebox.server.settings import Settings
    from mattebox.testing import FakeModels

from tests.codec.pictures import quadrants, saved
from tests.hostile.damaged import samples
from tests.hostile.doors import DOORS, FORM, JSON, Door

_LIMITS = Limits(max_pixels=1_000_000, max_bytes=2**20)
_TYPES = (JSON, FORM, "application/x-www-form-urlencoded", "image/png", "", "multipart/form-data")
"""The first byte of an input chooses one; the rest is the body."""


def decoder(data: bytes) -> None:
    """Read a picture, or refuse it."""
    try:
        codec.decode(data, _LIMITS)
    except MatteboxError:
        return


class Dialect:
    """A server in this process, asked at one door."""

    def __init__(self, door: Door, folder: Path) -> None:
        self._door = door
        limits = {"max_pixels": _LIMITS.max_pixels, "max_bytes": _LIMITS.max_bytes}
        settings = Settings.model_validate({"data_dir": folder, "limits": limits})
        self._app = create_app(settings, models=FakeModels(), tasks=False)
        self._loop = asyncio.new_event_loop()
        self._lifespan: AbstractAsyncContextManager[object] = self._app.router.lifespan_context(self._app)
        self._loop.run_until_complete(self._lifespan.__aenter__())
        while self._loop.run_until_complete(self._ask("GET", "/ready", "", b""))[0] != 200:
            pass

    def __call__(self, data: bytes) -> None:
        """Send it, and see that it is answered in the vendor's own shape."""
        if not data:
            return
        kind = _TYPES[data[0] % len(_TYPES)]
        status, body = self._loop.run_until_complete(self._ask("POST", self._door.path, kind, data[1:]))
        if status >= 500:
            raise AssertionError(f"answered with {status}: {body[:500]!r}")
        if status >= 400 and not all(f'"{name}":'.encode() in body for name in self._door.members):
            raise AssertionError(f"not in the vendor's shape: {body[:500]!r}")

    async def _ask(self, method: str, path: str, content_type: str, body: bytes) -> tuple[int, bytes]:
        sent: list[Message] = []
        coming: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Message:
            message = next(coming, None)
            if message is None:  # nobody goes away before the answer
                await asyncio.Event().wait()
                raise AssertionError("unreachable")
            return message

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"host", b"127.0.0.1"), (b"content-length", str(len(body)).encode())]
        if content_type:
            headers.append((b"content-type", content_type.encode()))
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": headers, "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1), "root_path": "",
        }  # fmt: skip
        await self._app(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def seeds(target: str) -> list[bytes]:
    """Inputs to begin with: each reads well."""
    if target == "decoder":
        return list(samples().values())
    door = _door(target)
    photo = saved(quadrants(16, 16), "PNG")
    found = [carriage(photo) for carriage in door.carriages]
    if door.url:
        found.append(door.at("http://127.0.0.1:9/photo.png"))
    kinds = {dict(sent.headers)["Content-Type"]: sent.body for sent in found}
    return [bytes([_TYPES.index(kind) if kind in _TYPES else 3]) + body for kind, body in kinds.items()]


def _door(target: str) -> Door:
    return next(door for door in DOORS if door.name.replace(" ", "-") == target)


def main() -> None:
    """Run the target that the command line names."""
    target, arguments = sys.argv[1], sys.argv[2:]
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "seeds"
        first.mkdir()
        for number, each in enumerate(seeds(target)):
            (first / str(number)).write_bytes(each)
        run: Callable[[bytes], None] = decoder if target == "decoder" else Dialect(_door(target), Path(folder) / "data")
        kept = [each for each in arguments if not each.startswith("-")]
        for name in kept:
            Path(name).mkdir(parents=True, exist_ok=True)
        atheris.Setup([sys.argv[0], *arguments, str(first)], run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

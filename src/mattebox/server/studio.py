"""The studio, the page at `/`: its files, the libraries that they import, and what the page may do.

The page's own files are in `mattebox/studio`, as they are written: nothing builds them. The libraries come from npm, by
checksum, and lie in `studio/vendor` of a wheel that was built with them, or else in the user's cache.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import platformdirs
from fastapi import APIRouter, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mattebox import codec, download, samples, toml_tables
from mattebox.download import Download, NpmPackage, Progress, State
from mattebox.edit import Format, Output
from mattebox.errors import MatteboxError
from mattebox.image import Image

FOLDER: Final = Path(__file__).parents[1] / "studio"
"""The page's own files."""
_IMPORT_MAP = re.compile(r'<script type="importmap">(.*?)</script>', re.DOTALL)
_BASE = '<base href="./">'
_UNCHANGED = {"Cache-Control": "no-cache"}  # may be kept, and is asked for again: an answer of 304 is short
_SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_NOT_INSTALLED = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>mattebox</title><h1>mattebox</h1>'
    "<p>The studio's libraries are not installed here; <code>mattebox studio pull</code> fetches them.</p>"
    '<p>The API works without them: <a href="docs">its docs</a>.</p></html>'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    package: tuple[str, str]
    file: str
    member: str
    sha256: str
    bytes: int

    @property
    def download(self) -> Download:
        name, version = self.package
        return Download(
            name=f"studio-{self.file}",
            what=f"the studio's library {self.file}",
            file=self.file,
            sha256=self.sha256,
            bytes=self.bytes,
            sources=(NpmPackage(name, version, f"package/{self.member}"),),
            command="mattebox studio pull",
            folder_command="mattebox studio path",
            parameter="studio",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """The contents of `libraries.toml`, which explains them."""

    files: tuple[_File, ...]


@lru_cache(1)
def libraries() -> tuple[Download, ...]:
    """The files that the page imports and that are other people's, each with its licence beside it."""
    return tuple(each.download for each in toml_tables.load("mattebox.studio", "libraries.toml", _Table).files)


def default_directory() -> Path:
    """The folder of the libraries: the one in the package where that is whole, or else the user's own."""
    shipped = FOLDER / "vendor"
    return shipped if installed(shipped) else Path(platformdirs.user_cache_dir("mattebox", appauthor=False)) / "studio"


def installed(directory: Path) -> bool:
    """Whether all libraries are there and whole: 40 kB are read."""
    return all(download.verify(each, directory) is State.PRESENT for each in libraries())


def pull(directory: Path | None = None, progress: Progress | None = None) -> tuple[MatteboxError, ...]:
    """Fetch the libraries that are missing; returns the failures, as `download.pull_all` does."""
    return download.pull_all(libraries(), directory=directory or default_directory(), progress=progress)


def mount(app: FastAPI, *, public_url: str = "", vendor: Path | None = None) -> None:
    """Serve the page at `/`, and under `/studio` what it is made of.

    Args:
        app: the server.
        public_url: the address by which clients see it, as in the setting.
        vendor: the folder of the libraries; the default one if None.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def _page(request: Request) -> Response:
        if not installed(vendor or default_directory()):
            return HTMLResponse(_NOT_INSTALLED, status_code=503, headers=_UNCHANGED)
        page = (FOLDER / "index.html").read_text("utf-8")
        path = urlsplit(public_url).path or str(request.scope.get("root_path", ""))
        if path:  # the page may have been asked for without a slash at its end, and the proxy does not say
            page = page.replace(_BASE, f'<base href="{html.escape(path.rstrip("/"))}/">')
        return HTMLResponse(page, headers=_UNCHANGED | {"Content-Security-Policy": policy(page), **_SAFE})

    @router.get("/studio/samples/mug.jpg")
    def _sample() -> Response:
        return Response(samples.photo_file(), media_type="image/jpeg", headers=_UNCHANGED)

    @router.get("/studio/samples/mug-small.jpg")
    def _small_sample() -> Response:
        return Response(_small(), media_type="image/jpeg", headers=_UNCHANGED)

    app.include_router(router)
    # Looked for at each start and not at each request: a file is served only from the one folder.
    app.mount("/studio/vendor", _files(vendor or default_directory()))
    app.mount("/studio", _files(FOLDER))


@lru_cache(1)
def _small() -> bytes:
    photo = Image(rgb=samples.make_photo(width=192, height=144))
    return codec.encode(photo, Output(format=Format.JPEG, quality=80))


def policy(page: str) -> str:
    """The content security policy of the page: its own files, its own server, the pictures in its memory, no more."""
    maps = [hashlib.sha256(each.encode()).digest() for each in _IMPORT_MAP.findall(page)]
    hashes = "".join(f" 'sha256-{base64.b64encode(each).decode()}'" for each in maps)
    return (
        f"default-src 'none'; script-src 'self'{hashes}; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self' blob:; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
    )


def _files(folder: Path) -> ASGIApp:
    packed = GZipMiddleware(StaticFiles(directory=folder, check_dir=False))

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}
                message["headers"] += [(name.encode(), value.encode()) for name, value in headers.items()]
            await send(message)

        await packed(scope, receive, with_headers)

    return serve

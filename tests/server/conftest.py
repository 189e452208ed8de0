"""A server in this process, with a stand-in for the networks."""

from __future__ import annotations

import asyncio
import importlib.metadata
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

import fastapi.dependencies.models
import pytest
import uvicorn
from sqlalchemy import Engine
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from mattebox import codec
from mattebox.edit import Output
from mattebox.image import Image
from mattebox.server.app import create_app
from mattebox.server.settings import Settings
from mattebox.server.store.database import connect, create
from mattebox.steps import Generators, Segmenters
from mattebox.testing import FakeModels, make_scene

Serve: TypeAlias = Callable[..., TestClient]
Listen: TypeAlias = Callable[..., int]


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A PNG of 200 × 150 pixels with a figure in it."""
    return codec.encode(Image(rgb=make_scene(width=200, height=150, seed=1).photo), Output())


@pytest.fixture(scope="session", autouse=True)
def _packages_are_listed_once() -> Iterator[None]:
    """Every start asks the hundred packages here for dialects; the answer does not change while the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.metadata, "entry_points", cache(importlib.metadata.entry_points))
        yield


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables and nothing in them: making it takes as long as the rest of a server's start."""
    file = tmp_path_factory.mktemp("database") / "mattebox.db"
    engine = connect(f"sqlite:///{file}")
    create(engine)
    engine.dispose()
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database with its tables, of each kind."""
    url = f"sqlite:///{tmp_path}/mattebox.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_database")
    engine = connect(url)
    create(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def serve(tmp_path: Path, fresh_database: Path) -> Iterator[Serve]:
    """Starts servers: `serve(keys=("k",), ...)` with settings by name; `models` stands in for the networks, and
    `backdrops` for the generators of backdrops, which they have none of otherwise.

    They have no queue, which takes long to start and fits into a process only once, unless `tasks` is True or
    has the queue's settings.
    """
    with _serving(tmp_path, fresh_database) as start:
        yield start


@pytest.fixture(scope="module")
def serve_all(tmp_path_factory: pytest.TempPathFactory, fresh_database: Path) -> Iterator[Serve]:
    """As `serve`, for servers that the tests of a module share because they leave nothing in them."""
    with _serving(tmp_path_factory.mktemp("served"), fresh_database) as start:
        yield start


_ROUTES_SEEN = [each for each in vars(fastapi.dependencies.models).values() if hasattr(each, "cache_clear")]
"""Caches that keep the routes of thousands of servers, and so the servers. To go through all of them takes the garbage
collector a fifth of the time of the tests."""


@contextmanager
def _serving(folder: Path, fresh_database: Path) -> Iterator[Serve]:
    with ExitStack() as running:

        def start(
            *,
            models: Segmenters | None = None,
            backdrops: Generators | None = None,
            tasks: bool | Mapping[str, object] = False,
            **settings: object,
        ) -> TestClient:
            if isinstance(tasks, Mapping):
                settings["tasks"] = tasks
            chosen = Settings.model_validate({"data_dir": folder} | settings)
            file = chosen.data_dir / fresh_database.name
            if not chosen.database_url and not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(fresh_database, file)
            app = create_app(chosen, models=models or FakeModels(), backdrops=backdrops, tasks=bool(tasks))
            return running.enter_context(TestClient(app, raise_server_exceptions=False))

        yield start
    for each in _ROUTES_SEEN:
        each.cache_clear()


@contextmanager
def running(
    app: ASGIApp, *, http: type[asyncio.Protocol] | Literal["auto"] = "auto", lifespan: Literal["auto", "off"] = "auto"
) -> Iterator[int]:
    """The port of a server that runs meanwhile, on 127.0.0.1."""
    config = uvicorn.Config(app, port=0, log_config=None, ws="none", proxy_headers=False, http=http, lifespan=lifespan)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    """Starts servers that can be connected to: `listen(keys=("k",), ...)` is the port on 127.0.0.1."""
    with ExitStack() as running_servers:

        def start(**settings: object) -> int:
            app = create_app(
                Settings.model_validate({"data_dir": tmp_path} | settings), models=FakeModels(), tasks=False
            )
            return running_servers.enter_context(running(app))

        yield start


@pytest.fixture
def client(serve: Serve) -> TestClient:
    """A server that anybody may use."""
    return serve()

"""A server in this process, with a stand-in for the networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest
from starlette.testclient import TestClient

from mattebox import codec
from mattebox.edit import Output
from mattebox.image import Image
from mattebox.pipeline import Generators, Segmenters
from mattebox.server.app import create_app
from mattebox.server.settings import Settings
from mattebox.testing import FakeModels, make_scene

Serve: TypeAlias = Callable[..., TestClient]


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A PNG of 200 × 150 pixels with a figure in it."""
    return codec.encode(Image(rgb=make_scene(width=200, height=150, seed=1).photo), Output())


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers: `serve(keys=("k",), ...)` with settings by name; `models` stands in for the networks, and
    `backdrops` for the generators of backdrops, which they have none of otherwise.

    They have no queue, which takes long to start and fits into a process only once, unless `tasks` is True or
    has the queue's settings.
    """
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
            chosen = Settings.model_validate({"data_dir": tmp_path} | settings)
            app = create_app(chosen, models=models or FakeModels(), backdrops=backdrops, tasks=bool(tasks))
            return running.enter_context(TestClient(app, raise_server_exceptions=False))

        yield start


@pytest.fixture
def client(serve: Serve) -> TestClient:
    """A server that anybody may use."""
    return serve()

"""Flags and fixtures of the whole test suite."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from mattebox.models import Models
from mattebox.pipeline import Engine

pytest_plugins = ["tests.servers"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="draw the golden pictures anew instead of comparing")


@pytest.fixture
def regenerate(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--regenerate"))


@pytest.fixture(scope="session")
def real_engine() -> Engine:
    """One engine with the real networks for all tests that need them."""
    return Engine(Models())


@pytest.fixture(autouse=True)
def _as_a_library_logs() -> Iterator[None]:
    """The command line says how much is logged, for its process. Here one process runs it and much else."""
    logger = logging.getLogger("mattebox")
    logger.setLevel(logging.NOTSET)
    yield
    logger.setLevel(logging.NOTSET)

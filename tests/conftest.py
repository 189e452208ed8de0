"""Flags and fixtures of the whole test suite."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mattebox import telemetry
from mattebox.backdrops.prompts.matcher import Index, Match
from mattebox.engine import Engine
from mattebox.models import Models

telemetry.switch_off()  # for the tests that import a network runtime themselves, and whatever they start

pytest_plugins = ["tests.servers", "tests.watched"]

_SERVERS = frozenset({"postgres", "postgres_url", "postgres_database", "s3", "s3_url"})
"""Fixtures that start a server's binary, and the ids of parameters that ask for them by name."""
_SERVER_IDS = frozenset({"postgresql", "s3", "postgresql and s3"})
_CLIENTS = Path(__file__).parent / "clients"
_BROWSER = Path(__file__).parent / "browser"
_MAY_START_PROCESSES = ("process", "server", "client", "durability", "quality", "browser")
_running: list[pytest.Item] = []
"""The test that runs now, if any."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="draw the golden pictures anew instead of comparing")


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what `-m` does not want
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what a fixture, a parameter or a folder gives away. The rest is marked where it is written."""
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        ids = item.callspec.id.split("-") if hasattr(item, "callspec") else []
        if _SERVERS.intersection(item.fixturenames) or _SERVER_IDS.intersection(ids):
            item.add_marker(pytest.mark.server)
        if _CLIENTS in item.path.parents:
            item.add_marker(pytest.mark.client)
        if _BROWSER in item.path.parents:
            item.add_marker(pytest.mark.browser)
        if sys.platform == "win32" and any(map(item.get_closest_marker, (*_MAY_START_PROCESSES, "posix"))):
            item.add_marker(pytest.mark.skip(reason="needs POSIX: signals, links, pipes or permissions"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Remember which test runs. Servers that many tests share may end, with processes of their own, between two."""
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()


def _only_marked_tests_start_processes(event: str, _arguments: tuple[object, ...]) -> None:
    """The fast suite stays fast: a test that starts a process says so with a marker."""
    if event != "subprocess.Popen" or not _running:
        return
    if not any(_running[-1].get_closest_marker(name) for name in _MAY_START_PROCESSES):
        raise RuntimeError(f"{_running[-1].nodeid} starts a process: mark it with @pytest.mark.process")


sys.addaudithook(_only_marked_tests_start_processes)


@pytest.fixture
def regenerate(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--regenerate"))


@pytest.fixture(scope="session")
def real_engine() -> Engine:
    """One engine with the real networks for all tests that need them."""
    return Engine(Models())


@pytest.fixture
def matched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prompts that were compared with the scenes during the test, as often as they were."""
    prompts: list[str] = []
    best = Index.best

    def counted(index: Index, prompt: str) -> Match | None:
        prompts.append(prompt)
        return best(index, prompt)

    monkeypatch.setattr(Index, "best", counted)
    return prompts


@pytest.fixture(autouse=True)
def _as_a_library_logs() -> Iterator[None]:
    """The command line says how much is logged, for its process. Here one process runs it and much else."""
    logger = logging.getLogger("mattebox")
    logger.setLevel(logging.NOTSET)
    yield
    logger.setLevel(logging.NOTSET)

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.download.server import FileServer, serving


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer()) as running:
        yield running

"""What the page of API docs says, held against the server: generated requests to every route, by schemathesis.

The cases are the same in every run. `MATTEBOX_EXAMPLES=500 pytest -m slow tests/server/test_described.py` tries more
of them, and different ones each time.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.server.conftest import running

from mattebox.server.app import create_app
from mattebox.server.settings import Settings
from mattebox.testing import FakeBackdrops, FakeModels

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

_EXAMPLES = os.environ.get("MATTEBOX_EXAMPLES", "")
_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.timeout(3600)
def test_every_route_answers_as_it_is_described(tmp_path: Path) -> None:
    app = create_app(
        Settings.model_validate({"data_dir": tmp_path, "fetch": {"timeout": 1}}),
        models=FakeModels(),
        backdrops=FakeBackdrops(),
    )
    # A stream of events has no end that a test could wait for.
    found = schemathesis.openapi.from_dict(app.openapi()).exclude(path="/api/v1/tasks/events").get_all_operations()
    operations = [each.ok() for each in found if isinstance(each, Ok)]
    assert len(operations) > 60
    wrong: list[str] = []
    with running(app) as port:
        for operation in operations:

            @settings(
                max_examples=int(_EXAMPLES or 40),
                derandomize=not _EXAMPLES,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy())
            def as_described(case: schemathesis.Case[Any]) -> None:
                case.call_and_validate(base_url=f"http://127.0.0.1:{port}", checks=_CHECKS, timeout=60)

            try:
                as_described()
            except FailureGroup as failures:
                wrong.append(f"{operation.label}: {failures.exceptions}")
    assert wrong == []

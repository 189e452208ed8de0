from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine

from mattebox.errors import Kind, MatteboxError
from mattebox.server.store.claims import Claims
from mattebox.server.store.database import connect


def test_one_holds_a_claim_and_may_keep_it(database: Engine) -> None:
    one, other = Claims(database), Claims(database)
    assert [one.claim("sweep", seconds=60) for _ in range(3)] == [True, True, True]
    assert [other.claim("sweep", seconds=60) for _ in range(2)] == [False, False]
    assert other.claim("another", seconds=60)


def test_a_claim_that_has_run_out_is_anybodys(database: Engine) -> None:
    one, other = Claims(database), Claims(database)
    assert one.claim("sweep", seconds=-1)
    assert other.claim("sweep", seconds=60)
    assert not one.claim("sweep", seconds=60)


def test_of_many_at_once_one_holds_it(database: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        held = list(pool.map(lambda each: each.claim("sweep", seconds=60), [Claims(database) for _ in range(24)]))
    assert sum(held) == 1


def test_without_a_database_nothing_is_claimed(tmp_path: Path) -> None:
    (tmp_path / "mattebox.db").mkdir()
    with pytest.raises(MatteboxError) as caught:
        Claims(connect(f"sqlite:///{tmp_path}/mattebox.db")).claim("sweep", seconds=60)
    assert caught.value.kind is Kind.UNAVAILABLE

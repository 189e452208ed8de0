from __future__ import annotations

from mattebox.sources import Sources, Upload


def test_a_photo_does_not_spill_into_logs() -> None:
    assert "secret" not in repr(Sources(Upload(b"secret"), Upload(b"secret")))

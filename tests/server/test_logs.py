from __future__ import annotations

import io
import json
import logging

import anyio
import pytest
import structlog

from mattebox.server import logs


def record(sentence: str, **fields: object) -> logging.LogRecord:
    return logging.getLogger("mattebox.server").makeRecord(
        "mattebox.server", logging.INFO, __file__, 1, sentence, (), None, extra=fields
    )


def test_a_record_is_one_line_of_json_with_the_id_of_its_request() -> None:
    with structlog.contextvars.bound_contextvars(request_id="req_7"):
        line = logs.formatter(as_text=False).format(record("POST /api 200", status=200, seconds=0.25, key=None))
    assert "\n" not in line
    said = json.loads(line)
    assert said.pop("timestamp").endswith("Z")
    assert said == {
        "event": "POST /api 200",
        "level": "info",
        "logger": "mattebox.server",
        "request_id": "req_7",
        "status": 200,
        "seconds": 0.25,
        "key": None,
    }


def test_fields_that_nobody_declared_are_left_out() -> None:
    line = logs.formatter(as_text=False).format(record("Done.", prompt="a beach", photo=b"\x89PNG", kind="internal"))
    assert json.loads(line)["kind"] == "internal"
    assert "beach" not in line
    assert "PNG" not in line


def test_text_for_a_terminal_says_nothing_twice() -> None:
    line = logs.formatter(as_text=True).format(
        record("POST /api 200", method="POST", status=200, seconds=0.25, key=None)
    )
    assert line.count("POST") == 1
    assert "seconds=0.25" in line
    assert "key" not in line
    assert "\x1b" not in line
    assert "\x1b" in logs.formatter(as_text=True, colors=True).format(record("Done."))


def test_of_lines_that_repeat_the_first_is_written_and_the_number_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "_REPEAT_SECONDS", 0.01)
    written: list[tuple[str, int]] = []

    async def story() -> None:
        repeats = logs.Repeats()

        def write(line: str) -> None:
            repeats.write(line, lambda more: written.append((line, more)))

        for line in ("a", "b", "a", "a"):
            write(line)
        assert written == [("a", 0), ("b", 0)]
        with anyio.fail_after(60):
            while len(written) < 3:
                await anyio.sleep(0.01)
        assert written[2:] == [("a", 2)]
        write("b")
        write("a")
        assert written[3:] == [("b", 0), ("a", 0)]

    anyio.run(story)


@pytest.mark.parametrize("as_text", [True, False])
def test_an_exception_is_shown_and_addresses_are_cut_short(as_text: bool) -> None:
    error = ZeroDivisionError("at https://me:pass@cdn.example.org:8443/a/cat.png?token=abc, and s3://bucket/keys/1")
    with pytest.raises(ZeroDivisionError) as caught:
        raise error
    failed = record("It failed for http://127.0.0.1:9/x?y=z.")
    failed.exc_info = (ZeroDivisionError, error, caught.tb)
    line = logs.formatter(as_text=as_text).format(failed)
    assert "Traceback" in line
    assert "https://cdn.example.org:8443/…" in line
    assert "http://127.0.0.1:9/…" in line
    assert not any(secret in line for secret in ("pass", "token", "cat.png", "keys/1", "y=z"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing here", "nothing here"),
        ("http://a.example", "http://a.example/…"),
        ("('https://a.example/b')", "('https://a.example/…')"),
        ("postgresql://user:word@db/name is away", "postgresql://db/… is away"),
        ("HTTPS://A.example#x", "HTTPS://A.example/…"),
    ],
)
def test_addresses_keep_their_host_only(text: str, expected: str) -> None:
    assert logs.shorten_addresses(text) == expected


@pytest.mark.parametrize(
    ("form", "terminal", "is_json"),
    [
        ("auto", True, False),
        ("auto", False, True),
        ("json", True, True),
        ("text", False, False),
    ],
)
def test_json_unless_a_terminal_reads(
    form: logs.LogFormat, terminal: bool, is_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.WARNING)
    stream = Stream()
    logs.configure(form, stream)
    logging.getLogger("mattebox.server").warning("Done.")
    assert stream.getvalue().startswith("{") == is_json
    assert "Done." in stream.getvalue()

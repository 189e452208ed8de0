"""`mattebox serve`: where it listens, and for whom."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest


def serving(*args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    code = (
        "from mattebox.cli import Components, app; from starlette.applications import Starlette\n"
        "app(obj=Components(server=lambda settings: Starlette()))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, "serve", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ) | dict(env or {}),
    )


@pytest.mark.process
@pytest.mark.parametrize(
    ("args", "env"),
    [
        ([], {}),
        (["--host", "localhost"], {}),
        (["--host", "0.0.0.0"], {"MATTEBOX_KEYS": "secret"}),  # noqa: S104
        (["--host", "0.0.0.0", "--allow-anonymous"], {}),  # noqa: S104
    ],
)
def test_the_server_says_where_it_is(args: list[str], env: dict[str, str]) -> None:
    running = serving("--port", "0", *args, env=env)
    assert running.stderr is not None
    line = running.stderr.readline()
    address = next(word.rstrip(",") for word in line.split() if word.startswith("http://"))
    assert f"{address}/docs" in line
    assert ("Any key" in line) is (not env)
    try:
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(f"{address}/nothing", timeout=5)
        with answer.value as response:
            assert response.code == 404
            assert response.headers["Server"] is None
    finally:
        running.send_signal(signal.SIGINT)
        out, rest = running.communicate(timeout=20)
    assert running.returncode == 130
    assert (out, rest) == ("", "")


@pytest.mark.process
def test_the_server_speaks_https_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "mattebox", "certificate", "localhost", "-o", tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    authority, certificate, key = made.stdout.split()
    running = serving("--port", "0", "--tls-cert", certificate, "--tls-key", key)
    assert running.stderr is not None
    address = next(word.rstrip(",") for word in running.stderr.readline().split() if word.startswith("https://"))
    try:
        trusting = ssl.create_default_context(cafile=authority)
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(address.replace("127.0.0.1", "localhost"), timeout=5, context=trusting)
        answer.value.close()
        assert answer.value.code == 404
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)


@pytest.mark.process
@pytest.mark.parametrize("flags", [["--tls-cert"], ["--tls-key"], ["--tls-cert", "--tls-key"]])
def test_a_certificate_that_cannot_be_used_is_a_wrong_command(flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no certificate")
    args = [word for flag in flags for word in (flag, str(tmp_path / "file"))]
    running = serving("--port", "0", *args)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 2
    assert "certificate" in said
    assert "Traceback" not in said


@pytest.mark.process
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "no-such-host.invalid"])  # noqa: S104
def test_without_keys_other_machines_are_not_let_in(host: str) -> None:
    running = serving("--host", host, "--port", "0")
    _, said = running.communicate(timeout=30)
    assert running.returncode == 2
    assert "Traceback" not in said


@pytest.mark.process
def test_a_port_that_is_in_use_is_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        running = serving("--port", str(port))
        _, said = running.communicate(timeout=30)
    assert running.returncode == 1
    assert said == f"Port {port} is in use; --port takes another one.\n"


@pytest.mark.process
def test_an_app_that_does_not_start_is_a_failure() -> None:
    code = (
        "from contextlib import asynccontextmanager; from starlette.applications import Starlette\n"
        "from mattebox.cli import Components, app\n"
        "@asynccontextmanager\n"
        "async def broken(app):\n    raise RuntimeError('no disk')\n    yield\n"
        "app(obj=Components(server=lambda settings: Starlette(lifespan=broken)))"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, "serve", "--port", "0"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 1
    assert "no disk" in made.stderr
    assert made.stderr.endswith("The server could not start; the log above says why.\n")

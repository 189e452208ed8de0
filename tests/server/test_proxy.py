"""A server behind nginx with the configuration that is shipped."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.server.test_serve import Running

from mattebox import certificates, codec
from mattebox.edit import Output
from mattebox.image import Image
from mattebox.testing import make_scene

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
NGINX = shutil.which("nginx", path=f"/usr/sbin:/usr/local/sbin:{ROOT}/.debian/nginx/usr/sbin")
AROUND = """
daemon off;
user {user};
worker_processes 1;
pid {folder}/pid;
error_log {folder}/errors;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{shipped}
}}
"""
KEY = {"Authorization": "Bearer k"}


@dataclass(frozen=True)
class Proxy:
    """nginx at two ports of this machine."""

    plain: int
    secure: int
    trust: ssl.SSLContext

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", self.secure, context=self.trust, timeout=60)

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = KEY
    ) -> tuple[http.client.HTTPResponse, bytes]:
        with closing(self.connect()) as connection:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer, answer.read()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    assert NGINX is not None, "nginx is missing, which `make test` fetches"
    made = certificates.make(["localhost"], tmp_path / "tls", days=2)
    server = Running(
        tmp_path,
        {"MATTEBOX_MODELS_DOWNLOAD": "false", "MATTEBOX_KEYS": "k", "MATTEBOX_TRUSTED_PROXIES": "127.0.0.1"},
    )
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        plain, secure = one.getsockname()[1], two.getsockname()[1]
    shipped = (ROOT / "deploy" / "nginx.conf").read_text()
    for pattern, replacement, times in (
        (r"127\.0\.0\.1:8000", f"127.0.0.1:{server.port}", 1),
        (r"listen \[.*\n", "", 2),
        (r"listen 80;", f"listen 127.0.0.1:{plain};", 1),
        (r"listen 443 ", f"listen 127.0.0.1:{secure} ", 1),
        (r"cutout\.example\.org;", "localhost;", 2),
        (r"/etc/letsencrypt/\S+/fullchain\.pem", str(made.certificate), 1),
        (r"/etc/letsencrypt/\S+/privkey\.pem", str(made.key), 1),
    ):
        shipped, count = re.subn(pattern, replacement, shipped)
        assert count == times, pattern
    file = tmp_path / "nginx.conf"
    file.write_text(AROUND.format(folder=tmp_path, user=f"{tmp_path.owner()} {tmp_path.group()}", shipped=shipped))
    process = subprocess.Popen([NGINX, "-c", file, "-e", tmp_path / "errors"])
    try:
        deadline = time.monotonic() + 60
        while not _answers(plain):
            assert process.poll() is None, (tmp_path / "errors").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        trust = ssl.create_default_context(cafile=made.authority)
        yield Proxy(plain, secure, trust)
    finally:
        process.terminate()
        process.wait(60)
        server.process.kill()
        server.process.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except ConnectionError:
        return False
    return True


def test_what_is_too_large_is_refused_in_the_words_of_the_api(proxy: Proxy) -> None:
    for size in (32 * 2**20, 60 * 2**20):
        answer, body = proxy.ask("POST", "/api/v1/images", bytes(size), KEY | {"Content-Type": "image/png"})
        assert (answer.status, b"too_many_bytes" in body) == (413, True), body


def test_addresses_are_those_of_the_proxy_whatever_clients_say(proxy: Proxy) -> None:
    picture = codec.encode(Image(rgb=make_scene(width=64, height=48, seed=1).photo), Output())
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil", "X-Forwarded-Proto": "http"}
    answer, body = proxy.ask("POST", "/api/v1/images", picture, KEY | {"Content-Type": "image/png"})
    assert answer.status == 201, body
    path = f"/v1/images/{json.loads(body)['id']}/publish"
    answer, body = proxy.ask("POST", path, headers=KEY | forged)
    base = f"https://localhost:{proxy.secure}"
    address = json.loads(body)["url"]
    assert address.startswith(f"{base}/"), address
    whole, everything = proxy.ask("GET", address.removeprefix(base), headers={})
    part, some = proxy.ask("GET", address.removeprefix(base), headers={"Range": "bytes=0-9"})
    assert (whole.status, part.status, some) == (200, 206, everything[:10])


def test_events_come_as_they_happen(proxy: Proxy) -> None:
    with closing(proxy.connect()) as connection:
        connection.request("GET", "/api/v1/tasks/events", headers=KEY)
        answer = connection.getresponse()
        assert answer.readline() == b"retry: 250\n"  # the stream goes on for 25 seconds


def test_metrics_stay_inside_and_plain_http_is_sent_to_https(proxy: Proxy) -> None:
    assert proxy.ask("GET", "/metrics")[0].status == 404
    assert proxy.ask("GET", "/live")[0].status == 200
    with closing(http.client.HTTPConnection("localhost", proxy.plain, timeout=60)) as connection:
        connection.request("POST", "/v1.0/removebg?a=b")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Location"]) == (308, "https://localhost/v1.0/removebg?a=b")

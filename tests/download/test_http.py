"""Addresses: hosts that cannot be reached, proxies, redirections and who is trusted."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.download.server import CONTENT, FileServer, row, secure_server, unavailable

from mattebox.download import (
    Address,
    transfer,
)
from mattebox.download import http as http_download

# --- hosts that cannot be reached


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The hosts that were tried, where no connection is ever made nor refused."""
    tried: list[str] = []
    released = threading.Event()

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(address[0])
        released.wait(60)
        raise TimeoutError

    monkeypatch.setattr(http_download, "_unreachable", {})
    monkeypatch.setattr(http_download, "_REACH_SECONDS", 0.05)
    monkeypatch.setattr(socket, "create_connection", connect)
    yield tried
    released.set()


def test_each_host_is_waited_for_once_where_there_is_no_network(offline: list[str], tmp_path: Path) -> None:
    addresses = [Address(f"https://{host}/{file}") for file in "ab" for host in ("one.test", "two.test")]
    for name in ("tiny", "other"):
        unavailable(dataclasses.replace(row(*addresses), name=name, file=f"{name}.onnx"), tmp_path)
    assert offline == ["one.test", "two.test"]


def test_a_host_is_tried_again_after_a_while(
    offline: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_download, "_UNREACHABLE_SECONDS", 0.0)
    for _ in range(2):
        unavailable(row(Address("https://one.test/a")), tmp_path)
    assert offline == ["one.test", "one.test"]


def test_behind_a_proxy_only_the_proxy_is_reached_for(
    offline: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    unavailable(row(Address("https://one.test/a")), tmp_path)
    assert offline == ["proxy.test"]


def test_a_secure_address_may_not_lead_to_an_insecure_one(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with secure_server(tmp_path, monkeypatch) as secure:
        secure.elsewhere = server.url
        unavailable(row(Address(secure.url)), tmp_path / "models")
        assert secure.asked == [None]
        assert server.asked == []


def test_a_secure_address_may_lead_to_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with secure_server(tmp_path, monkeypatch) as secure:
        secure.elsewhere = "/elsewhere"
        download = row(Address(secure.url))
        assert transfer.pull(download, directory=tmp_path / "models").read_bytes() == CONTENT
        assert secure.asked == [None, None]


def test_an_address_that_leads_to_itself_ends(server: FileServer, tmp_path: Path) -> None:
    server.elsewhere = "/file.onnx"
    error = unavailable(row(Address(server.url)), tmp_path)
    assert isinstance(error.__cause__, ExceptionGroup)
    assert "redirects too often" in str(error.__cause__.exceptions[0])
    assert len(server.asked) == 6


def test_a_server_that_nobody_vouches_for_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with secure_server(tmp_path, monkeypatch) as secure:
        monkeypatch.delenv("SSL_CERT_FILE")
        unavailable(row(Address(secure.url)), tmp_path / "models")
        assert secure.asked == []


def test_it_goes_through_the_proxy_that_the_environment_names(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://somebody:pass%20word@127.0.0.1:{server.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    download = row(Address("http://files.example/file.onnx"))
    assert transfer.pull(download, directory=tmp_path / "by proxy").read_bytes() == CONTENT
    assert server.proxied == [("http://files.example/file.onnx", "Basic c29tZWJvZHk6cGFzcyB3b3Jk")]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert transfer.pull(row(Address(server.url)), directory=tmp_path / "directly").read_bytes() == CONTENT
    assert len(server.proxied) == 1

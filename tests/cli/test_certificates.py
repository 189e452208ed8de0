from __future__ import annotations

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from mattebox import certificates
from mattebox.errors import Kind, MatteboxError


@pytest.mark.parametrize("name", ["api.example.org", "localhost", "127.0.0.1"])
def test_who_trusts_the_authority_trusts_the_server_by_each_of_its_names(name: str, tmp_path: Path) -> None:
    made = certificates.make(["api.example.org", "localhost", "127.0.0.1"], tmp_path / "certs")
    assert greet(made, name) == b"hello"


def test_another_name_is_not_trusted(tmp_path: Path) -> None:
    made = certificates.make(["api.example.org"], tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        greet(made, "other.example.org")


def greet(files: certificates.Files, name: str) -> bytes:
    """What a client reads from a server that has the certificate, when it calls it `name`."""
    ours, theirs = socket.socketpair()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key)

    def answer() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as connection:
                connection.sendall(b"hello")
        except ssl.SSLError:
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with ssl.create_default_context(cafile=files.authority).wrap_socket(ours, server_hostname=name) as connection:
            return connection.recv(5)
    finally:
        ours.close()
        thread.join(10)


def test_the_key_is_nobody_elses_and_the_authoritys_is_nowhere(tmp_path: Path) -> None:
    made = certificates.make(["localhost"], tmp_path)
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"authority.pem", "server.pem", "server.key"}
    assert b"PRIVATE" not in made.authority.read_bytes() + made.certificate.read_bytes()
    assert certificates.names_in(made.certificate) == ["localhost"]


def test_what_clients_trust_is_not_replaced_unasked(tmp_path: Path) -> None:
    before = certificates.make(["localhost"], tmp_path).authority.read_bytes()
    with pytest.raises(MatteboxError, match=r"^Already there: authority\.pem, server\.pem, server\.key\.") as caught:
        certificates.make(["localhost"], tmp_path)
    assert caught.value.kind is Kind.CONFLICT
    assert (tmp_path / "authority.pem").read_bytes() == before
    assert certificates.make(["localhost"], tmp_path, overwrite=True).authority.read_bytes() != before


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["not a name"],
        ["a..b"],
        [""],
        ["münchen.example"],
        ["x" * 64 + ".example"],
        ["10.0.0.0/8"],
        ["a@b.example"],
        ["-a.example"],
    ],
)
def test_names_that_are_none(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(MatteboxError) as caught:
        certificates.make(names, tmp_path / "certs")
    assert caught.value.kind is Kind.INVALID_PARAMETER
    assert not (tmp_path / "certs").exists()


@pytest.mark.parametrize("days", [1, certificates.LONGEST_DAYS])
def test_it_is_valid_from_now_for_so_many_days(days: int, tmp_path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    made = certificates.make(["localhost"], tmp_path, days=days)
    found = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    assert before + timedelta(days=days) <= found.not_valid_after_utc <= datetime.now(UTC) + timedelta(days=days)
    assert found.not_valid_before_utc < before
    assert found.not_valid_after_utc - found.not_valid_before_utc <= timedelta(days=825)
    authority = x509.load_pem_x509_certificate(made.authority.read_bytes())
    assert authority.not_valid_before_utc < before
    assert authority.not_valid_after_utc >= found.not_valid_after_utc


def test_the_authority_may_sign_servers_only_and_no_other_authority(tmp_path: Path) -> None:
    authority = x509.load_pem_x509_certificate(certificates.make(["localhost"], tmp_path).authority.read_bytes())
    limits = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert limits.ca
    assert limits.path_length == 0


@pytest.mark.parametrize("days", [0, 825])
def test_days_that_no_client_accepts(days: int, tmp_path: Path) -> None:
    with pytest.raises(MatteboxError, match="1 to 824 days"):
        certificates.make(["localhost"], tmp_path, days=days)


def test_a_file_that_is_no_certificate(tmp_path: Path) -> None:
    (tmp_path / "server.pem").write_text("no")
    with pytest.raises(MatteboxError, match="cannot be read"):
        certificates.names_in(tmp_path / "server.pem")

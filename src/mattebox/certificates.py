"""TLS certificates for clients that insist on https and on a name: an authority of one's own, made on the spot.

The authority signs one certificate and then its key is thrown away, unsaved. Whoever trusts it trusts that certificate
and nothing else for ever after; another name or another year takes another authority.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

LONGEST_DAYS = 824
"""Systems of Apple refuse a server's certificate that is valid for more than 825, and one begins a day early."""
_EARLY = datetime.timedelta(days=1)
"""Clocks differ."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where the parts are: what clients trust, what the server shows, and the server's key, which is nobody's else."""

    authority: Path
    certificate: Path
    key: Path


def make(names: Sequence[str], folder: Path, *, days: int = LONGEST_DAYS, overwrite: bool = False) -> Files:
    """A certificate for a server's names, as `server.pem` and `server.key`, and `authority.pem` that has signed it.

    Args:
        names: host names and addresses that clients call the server by, as in `cutout.example` or `127.0.0.1`.
        folder: where they go; it is made where it is missing.
        days: how long they are valid, 1..824.
        overwrite: replace files that are there.

    Raises:
        MatteboxError: INVALID_PARAMETER for a name that is none; CONFLICT where a file is there already or cannot be
            written.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    known = [_name(name) for name in dict.fromkeys(names)]
    if not known or not 1 <= days <= LONGEST_DAYS:
        raise MatteboxError(Kind.INVALID_PARAMETER, f"At least one name is needed, and 1 to {LONGEST_DAYS} days.")
    files = Files(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    there = [path.name for path in (files.authority, files.certificate, files.key) if path.exists()]
    if there and not overwrite:
        raise MatteboxError(
            Kind.CONFLICT,
            f"Already there: {', '.join(there)}. Clients may trust them; say --overwrite to replace them.",
        )
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _sign(authority_key, authority_key, "mattebox, this machine's authority", None, days)
    certificate = _sign(key, authority_key, str(known[0].value), authority, days, names=known)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(files.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o600)
        _write(files.certificate, certificate.public_bytes(Encoding.PEM))
        _write(files.authority, authority.public_bytes(Encoding.PEM))
    except OSError as error:
        raise MatteboxError(Kind.CONFLICT, f"The folder cannot be written to: {error.strerror}.") from error
    return files


def names_in(certificate: Path) -> list[str]:
    """The names and addresses that a certificate's file is for, the first certificate in it counting.

    Raises:
        MatteboxError: INVALID_PARAMETER where it cannot be read.
    """
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except (OSError, ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise MatteboxError(Kind.INVALID_PARAMETER, "The certificate's file cannot be read.") from error
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _name(text: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    labels = text.removeprefix("*.").split(".")
    if not all(label and len(label) <= 63 and label.isascii() and label.replace("-", "").isalnum() for label in labels):
        raise MatteboxError(Kind.INVALID_PARAMETER, f"{text[:80]!r} is neither a host name nor an address.")
    return x509.DNSName(text.lower())


def _sign(
    key: EllipticCurvePrivateKey,
    by: EllipticCurvePrivateKey,
    title: str,
    authority: x509.Certificate | None,
    days: int,
    *,
    names: Sequence[x509.GeneralName] = (),
) -> x509.Certificate:
    """RFC 5280: an authority that signs itself, or a server's certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title[:64])])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority is None else authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=0 if authority is None else None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False)
        .add_extension(_usage(authority=authority is None), True)
    )
    if authority is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    return builder.sign(by, hashes.SHA256())


def _usage(*, authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write beside, then rename; the key is never readable by others, not even for a moment."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    beside.replace(path)

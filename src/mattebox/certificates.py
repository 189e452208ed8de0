"""TLS certificates for clients that insist on https and on a name, signed by an authority of one's own.

The authority signs one certificate and then its key is thrown away, unsaved. Whoever trusts it trusts that certificate
and nothing else; another name or another year takes another authority.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mattebox import extras, files
from mattebox.errors import Kind, MatteboxError

LONGEST_DAYS = 824
"""Systems of Apple refuse a server's certificate that is valid for more than 825, and one begins a day early."""
_EARLY = datetime.timedelta(days=1)
"""Clocks differ."""
_HOST_NAME = re.compile(r"(\*\.)?[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of the parts: what clients trust, what the server shows, and the server's private key."""

    authority: Path
    certificate: Path
    key: Path


def make(names: Sequence[str], folder: Path, *, days: int = LONGEST_DAYS, overwrite: bool = False) -> Files:
    """A certificate for a server's names, as `server.pem` and `server.key`, and `authority.pem` that has signed it.

    Args:
        names: host names and addresses that clients call the server by, as in `cutout.example` or `127.0.0.1`.
        folder: where they go; it is made where it is missing.
        days: how long the server's certificate is valid, 1..824. The authority's dates are `trustme`'s: 2000 to 2038.
        overwrite: replace files that are there.

    Raises:
        MatteboxError: INVALID_PARAMETER for a wrong name or number of days; CONFLICT where a file is there already or
            cannot be written; UNAVAILABLE without the extra `tls`.
    """
    with extras.needs("tls", "Making a certificate"):
        import trustme

    if not names or not 1 <= days <= LONGEST_DAYS:
        raise MatteboxError(Kind.INVALID_PARAMETER, f"Give at least one name, and 1 to {LONGEST_DAYS} days.")
    known = [_name(name) for name in dict.fromkeys(names)]
    made = Files(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    there = [path.name for path in (made.authority, made.certificate, made.key) if path.exists()]
    if there and not overwrite:
        raise MatteboxError(
            Kind.CONFLICT,
            f"Already there: {', '.join(there)}. Clients may trust them; say --overwrite to replace them.",
        )
    now = datetime.datetime.now(datetime.UTC)
    authority = trustme.CA(path_length=0, organization_name="mattebox", organization_unit_name="One server's authority")
    try:
        issued = authority.issue_cert(
            *known,
            organization_name="mattebox",
            organization_unit_name="A server",
            common_name=known[0][:64],
            not_before=now - _EARLY,
            not_after=now + datetime.timedelta(days=days),
        )
    except UnicodeError as error:  # a name that looks like one and that the rules for domains forbid
        raise MatteboxError(Kind.INVALID_PARAMETER, f"A host name cannot be used: {error}.") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MatteboxError(Kind.CONFLICT, f"The folder cannot be made: {error.strerror}.") from error
    files.write(made.key, issued.private_key_pem.bytes(), private=True)
    files.write(made.certificate, issued.cert_chain_pems[0].bytes())
    files.write(made.authority, authority.cert_pem.bytes())
    return made


def names_in(certificate: Path) -> list[str]:
    """The names and addresses that a certificate's file is for, the first certificate in it counting.

    Raises:
        MatteboxError: INVALID_PARAMETER where it cannot be read; UNAVAILABLE without the extra `tls`.
    """
    with extras.needs("tls", "Reading a certificate's names"):
        from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except (OSError, ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise MatteboxError(Kind.INVALID_PARAMETER, "The certificate's file cannot be read.") from error
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _name(text: str) -> str:
    """The name in its usual form; networks and mail addresses, which `trustme` takes too, are not a server's names."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    if not _HOST_NAME.fullmatch(text):
        raise MatteboxError(Kind.INVALID_PARAMETER, f"{text[:80]!r} is neither a host name nor an address.")
    return text.lower()

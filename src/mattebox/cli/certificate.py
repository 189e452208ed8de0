"""`mattebox certificate`: what `mattebox serve --tls-cert --tls-key` needs for clients that insist on https."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mattebox import certificates
from mattebox.certificates import LONGEST_DAYS
from mattebox.cli.terminal import say


def certificate(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Names and addresses that clients call the server by.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the files.")] = Path("certificate"),
    days: Annotated[int, typer.Option(min=1, max=LONGEST_DAYS, help="How long it is valid.")] = LONGEST_DAYS,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Make a certificate for a server of your own, and an authority that clients can be told to trust.

    The authority signs this one certificate, and its key is thrown away.
    """
    made = certificates.make(names, out, days=days, overwrite=overwrite)
    for path in (made.authority, made.certificate, made.key):
        typer.echo(path)
    say(f"Serve with it: mattebox serve --tls-cert {made.certificate} --tls-key {made.key}")
    say(f"Tell clients to trust {made.authority}: with SSL_CERT_FILE, REQUESTS_CA_BUNDLE or NODE_EXTRA_CA_CERTS.")

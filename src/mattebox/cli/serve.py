"""`mattebox serve`: which address it may listen at, and uvicorn with limits that suit it."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mattebox import certificates, extras
from mattebox.cli.context import Components
from mattebox.cli.terminal import say
from mattebox.errors import Kind, MatteboxError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from mattebox.server.settings import Settings

_GRACE = 30
"""Seconds that running requests get when the server is told to stop."""
_MOST_HEADER_BYTES = 32 * 2**10
_BACKLOG = 2048
"""Connections that may wait, above all while systemd restarts a server and keeps its socket."""
_FIRST_HANDED_OVER = 3
"""The number of the first file that systemd opens for a service; see sd_listen_fds(3)."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Role(StrEnum):
    """The role of a process, as in the setting of this name."""

    ALL = "all"
    API = "api"
    WORKER = "worker"


def serve(
    context: typer.Context,
    *,
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0 is every one of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    allow_anonymous: Annotated[
        bool, typer.Option("--allow-anonymous", help="Listen to other machines although no keys are set.")
    ] = False,
    role: Annotated[
        Role | None,
        typer.Option(help="What this process does: take tasks in, work on them, or both.", show_default="all"),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Speak https, with this certificate (PEM). `mattebox certificate` makes one.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key (PEM).")] = None,
) -> None:
    """Serve the HTTP API. What it reads from the environment is in docs/settings.md."""
    with extras.needs("server", "The server"):
        from mattebox.server import logs, settings

    for name, nearest in settings.unknown(os.environ).items():
        hint = f" Did you mean {nearest}?" if nearest else ""
        say(f"Unknown setting {name}.{hint}", style="yellow")
    found = settings.load()
    if role is not None:
        found = found.model_copy(update={"role": role.value})
    keyed = settings.keyed_as_needed(found)
    handed_over = inherited()
    if handed_over is not None and any(_was_given(context, name) for name in ("host", "port")):
        raise typer.BadParameter("systemd hands a socket over, which has an address.", param_hint="--host, --port")
    try:
        # A worker answers nothing but whether it is well.
        open_to_all = keyed or allow_anonymous or found.role == "worker"
        if handed_over is None:
            listener = listen(host, port, anybody=open_to_all)
        else:
            listener = handed_over
            _check_reach(listener.getsockname(), anybody=open_to_all)
    except MatteboxError as error:
        if error.kind is not Kind.INVALID_PARAMETER:
            raise
        hint = "--host" if handed_over is None else "the socket of systemd"
        raise typer.BadParameter(error.message, param_hint=hint) from error
    tls = _tls(tls_cert, tls_key)
    address = address_of(listener, secure=tls is not None)
    who = "" if keyed else " Any key is accepted."
    if not keyed and not found.hosts and is_local(listener):
        known = () if tls is None else _names_in(tls.certificate)
        found = found.model_copy(update={"hosts": (*_LOOPBACK, host, str(listener.getsockname()[0]), *known)})
    logging.getLogger("mattebox").setLevel(logging.INFO)  # a server has somebody who reads its log
    logs.configure(found.log_format)
    said = f"mattebox serves at {address}, docs at {address}/docs.{who}"
    if found.role == "worker":
        said = f"mattebox works on tasks; {address}/ready says whether it can."
    server = context.ensure_object(Components).server(found)
    if not run(server, listener, found, ready=lambda: say(said), tls=tls):
        raise MatteboxError(Kind.UNAVAILABLE, "The server could not start; the log above says why.")


@dataclass(frozen=True, slots=True)
class Tls:
    """A server's certificate and its key."""

    certificate: Path
    key: Path


def _tls(certificate: Path | None, key: Path | None) -> Tls | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise typer.BadParameter("A certificate and its key belong together.", param_hint="--tls-cert, --tls-key")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:  # ssl's own errors are among them
        raise _not_tls() from error
    return Tls(certificate, key)


def _names_in(certificate: Path) -> list[str]:
    try:
        return certificates.names_in(certificate)
    except MatteboxError as error:
        if error.kind is not Kind.INVALID_PARAMETER:
            raise
        raise _not_tls() from error


def _not_tls() -> typer.BadParameter:
    return typer.BadParameter("These are not a certificate and its key, in PEM.", param_hint="--tls-cert, --tls-key")


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def inherited() -> socket.socket | None:
    """The socket that systemd listens at for this process, as a `.socket` unit says; None where there is none.

    It outlives the process: connections wait in it while one server ends and the next one starts.

    Raises:
        MatteboxError: CONFLICT where there are several, or it is none that a server of HTTP can use.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):  # absent, or meant for the program that started this one
        return None
    if os.environ.get("LISTEN_FDS") != "1":
        raise MatteboxError(Kind.CONFLICT, "systemd has to hand over one socket: one ListenStream= in its unit.")
    try:
        found = socket.socket(fileno=_FIRST_HANDED_OVER)
        if found.family not in (socket.AF_INET, socket.AF_INET6):
            raise MatteboxError(Kind.CONFLICT, "The socket of systemd has to be one of TCP: ListenStream=8000, say.")
        found.set_inheritable(False)
        found.listen(_BACKLOG)  # fails for connections, which Accept=yes would hand over
    except OSError as error:
        raise MatteboxError(
            Kind.CONFLICT, f"What systemd hands over cannot be listened at: {error.strerror}."
        ) from error
    return found


def listen(host: str, port: int, *, anybody: bool) -> socket.socket:
    """A socket that listens at the address; port 0 takes a free one.

    The very address that was judged is bound, so that a name cannot stand for one and then for another.

    Args:
        host: an address or a name of this machine.
        port: 0..65535.
        anybody: other machines may connect too.

    Raises:
        MatteboxError: INVALID_PARAMETER where the host is unknown, or other machines could connect and may not;
            CONFLICT where the port is taken; UNAVAILABLE where the system refuses for another reason.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise MatteboxError(Kind.INVALID_PARAMETER, f"{host!r} is not an address of this machine.") from error
    _check_reach(address, anybody=anybody)
    listener = socket.socket(family, kind, protocol)
    try:
        # Left out on Windows, where it means that two servers may share the port.
        if hasattr(socket, "SO_REUSEPORT"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise MatteboxError(Kind.CONFLICT, f"Port {port} is in use; --port takes another one.") from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise MatteboxError(Kind.INVALID_PARAMETER, f"{host!r} is not an address of this machine.") from error
        raise MatteboxError(
            Kind.UNAVAILABLE, f"Port {port} of {host} cannot be listened at: {error.strerror}."
        ) from error
    return listener


def _check_reach(address: tuple[object, ...], *, anybody: bool) -> None:
    if not anybody and not _is_loopback(address):
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            "Without keys the server listens to this machine only. Make one with `mattebox keys create`, set "
            "MATTEBOX_KEYS, or use --allow-anonymous to let in whoever can reach it.",
        )


def is_local(listener: socket.socket) -> bool:
    """Whether only this machine can connect."""
    return _is_loopback(listener.getsockname())


def _is_loopback(address: tuple[object, ...]) -> bool:
    return ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback


def address_of(listener: socket.socket, *, secure: bool = False) -> str:
    """The address for a browser."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1" if listener.family is socket.AF_INET else "::1"
    scheme = "https" if secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def run(
    app: ASGIApp,
    listener: socket.socket,
    settings: Settings,
    *,
    ready: Callable[[], None],
    tls: Tls | None = None,
) -> bool:
    """Serve until a signal comes; whether it came so far that requests were answered.

    Args:
        app: the server.
        listener: where it listens.
        settings: how long connections are kept.
        ready: called once requests are answered.
        tls: for https.
    """
    import uvicorn

    from mattebox.server.connection import Connection, Server

    server = Server(
        uvicorn.Config(
            app,
            http=type("Connection", (Connection,), {"idle": settings.uploads.idle}),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # the application reads them, of proxies that it is told to trust
            backlog=_BACKLOG,
            timeout_keep_alive=settings.keep_alive,
            timeout_graceful_shutdown=_GRACE,
            h11_max_incomplete_event_size=_MOST_HEADER_BYTES,  # why `Connection` is one of h11
            ssl_certfile=None if tls is None else tls.certificate,
            ssl_keyfile=None if tls is None else tls.key,
        ),
        drain=settings.drain,
        ready=ready,
    )
    server.renew_on_hangup()
    try:
        server.run(sockets=[listener])
    except SystemExit:  # how uvicorn ends where the application does not start; it has logged why
        return False
    finally:
        listener.close()
    return server.started

"""The parts of one running server, and how a request finds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request

from mattebox.backdrops import Backdrops
from mattebox.codec import Limits
from mattebox.models.catalogue import Network, Row
from mattebox.server.admission import UploadLimiter
from mattebox.server.fetch import FetchOptions
from mattebox.server.health import Readiness
from mattebox.server.http.dialect import request_context
from mattebox.server.http.idempotency import IdempotencyCache
from mattebox.server.jobs import Tasks
from mattebox.server.rates import RateLimits
from mattebox.server.runner import Runner
from mattebox.server.store.accounts import Accounts
from mattebox.server.store.blobs import Blobs
from mattebox.server.store.images import ImageStore


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServerState:
    """The parts of one running server."""

    runner: Runner
    accounts: Accounts
    readiness: Readiness
    uploads: UploadLimiter
    installed: Callable[[str], bool]
    """Whether a network of the catalogue can be used without fetching it."""
    resolve: Callable[[Row], Network]
    """The network that a row of the catalogue stands for on this server."""
    idempotency: IdempotencyCache = field(default_factory=IdempotencyCache)
    rates: RateLimits = field(default_factory=RateLimits)
    tasks: Tasks | None = None
    """The queue; None where this server has none."""
    blobs: Blobs | None = None
    library: ImageStore | None = None
    """The images that clients keep here; None where this server has none."""
    fetch: FetchOptions = FetchOptions()
    """The hosts that pictures may come from and webhooks go to, among other things."""
    scenes: Backdrops | None = None
    """The scenes that prompts can ask for; None where another program paints them."""
    public_url: str = ""
    """The address by which clients see the server, without a slash at its end; empty: that of each request."""
    listing_url: str = ""
    """The beginning of the addresses of a listing's pages, where that is not `public_url`."""


def server_state(request: Request) -> ServerState:
    """The server that this request came to."""
    found = request.app.state.server
    if not isinstance(found, ServerState):
        raise TypeError("the application has no server state")
    return found


def limits(request: Request) -> Limits:
    """The limits of a picture in this request's dialect."""
    return server_state(request).runner.limits & request_context(request).dialect.limits


def base_address(request: Request) -> str:
    """The address by which clients see this server, as in `https://cutout.example`, without a slash at its end.

    It is the setting's, or else the one that this request was sent to.
    """
    return server_state(request).public_url or str(request.base_url).rstrip("/")

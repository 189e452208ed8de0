"""The server as an application of Ray Serve: `serve run mattebox.server.ray_serve:application`.

Each replica is the same server that `mattebox serve` runs, behind Ray's proxies, with the same settings from the
environment. Ray starts and ends replicas by the requests that are going on, and replaces those that fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import anyio
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from mattebox import extras, telemetry
from mattebox.errors import Kind, MatteboxError
from mattebox.server import logs, settings
from mattebox.server.admission import ARRIVING
from mattebox.server.app import create_app
from mattebox.server.settings import Settings
from mattebox.server.state import ServerState

if TYPE_CHECKING:
    from ray.serve import Application, Deployment

NAME: Final = "mattebox"
"""The deployment's name in a Serve config file."""
_LOADING_SECONDS = 60.0


class Arguments(BaseModel):
    """The `args` of the application in a Serve config file.

    Attributes:
        allow_anonymous: serve although no keys are set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow_anonymous: bool = False


class Replica:
    """One server. Its settings are those of the machine that it runs on."""

    def __init__(self, arguments: Arguments) -> None:
        self._arguments = arguments
        self._app: FastAPI | None = None

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Make the server, once Ray has started this process.

        Raises:
            MatteboxError: INVALID_PARAMETER where the settings are not for a server of which there are several.
        """
        from ray import serve

        found = checked(settings.load(), self._arguments)
        logs.configure(found.log_format)
        # A replica never comes back under its name, so others take its tasks over when its lease has run out.
        node = str(serve.get_replica_context().replica_id.unique_id)
        self._app = create_app(found.model_copy(update={"node": node}))
        return self._app

    async def check_health(self) -> None:
        """Return when the networks are loaded, and a worker is not held by a step that does not end.

        Ray asks once before it sends requests here, and then every few seconds. A database or a storage that is away is
        no reason: a new replica would not have it either.

        Raises:
            MatteboxError: UNAVAILABLE; Ray replaces the replica.
        """
        if self._app is None:
            raise RuntimeError("the replica has no server yet")
        state: ServerState = self._app.state.server
        while True:
            try:
                await state.readiness.check(patience=_LOADING_SECONDS)
                break
            except MatteboxError as error:
                if error.retry_after is None:
                    raise
            await anyio.sleep(1)
        state.runner.check()


def checked(found: Settings, arguments: Arguments) -> Settings:
    """The settings, if replicas on several machines can share them.

    Raises:
        MatteboxError: INVALID_PARAMETER where they cannot; UNAVAILABLE where they have no keys and the database, which
            may have some, is away.
    """
    if not found.database_url or not found.storage_url:
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            "Replicas share a database and a storage: set MATTEBOX_DATABASE_URL and MATTEBOX_STORAGE_URL.",
        )
    if found.metrics.port:
        raise MatteboxError(
            Kind.INVALID_PARAMETER, "Replicas on one machine cannot share a port. Leave MATTEBOX_METRICS_PORT out."
        )
    if not settings.keyed_as_needed(found) and not arguments.allow_anonymous:
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            "There are no keys. Make one with `mattebox keys create`, set MATTEBOX_KEYS, or give the application the "
            "argument allow_anonymous to let in whoever can reach it.",
        )
    return found


def deployment(found: Settings) -> Deployment:
    """The deployment of replicas. Its numbers are defaults, which a Serve config file may change."""
    telemetry.switch_off()
    with extras.needs("ray", "Ray Serve"):
        from ray import serve

    service = found.service
    return serve.deployment(
        name=NAME,
        # More than a server takes on: what is too much it refuses itself, in the words of the API that was called.
        max_ongoing_requests=2 * (service.workers + service.queue + ARRIVING),
        autoscaling_config={"min_replicas": 1, "max_replicas": 10, "target_ongoing_requests": 2 * service.workers},
        health_check_period_s=5,
        health_check_timeout_s=30,
        graceful_shutdown_timeout_s=60,
        ray_actor_options={"num_cpus": service.workers},
    )(serve.ingress()(Replica))


def application(args: Mapping[str, object]) -> Application:
    """The application that a Serve config file names as its `import_path`.

    Args:
        args: those of the file, as in `Arguments`.

    Raises:
        ValueError: an argument is unknown or of a wrong type.
        MatteboxError: INVALID_PARAMETER for wrong settings, UNAVAILABLE where the extra is missing.
    """
    return deployment(settings.load()).bind(Arguments.model_validate(args))

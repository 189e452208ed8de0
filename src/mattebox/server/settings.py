"""The server's settings: every module's own options under one roof, and nothing declared twice.

A knob is declared beside the code that obeys it, with its default and one sentence of documentation. The names of the
environment variables (`MATTEBOX_LIMITS_MAX_PIXELS` is `limits.max_pixels`), the messages about wrong values and
`docs/settings.md` are derived from that. `python -m mattebox.server.settings` prints the page.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import AfterValidator, Field, IPvAnyNetwork, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import URL, make_url

from mattebox import environment
from mattebox.backdrops import BackdropOptions
from mattebox.codec import Limits
from mattebox.environment import PREFIX
from mattebox.errors import Kind, MatteboxError
from mattebox.models import ModelOptions
from mattebox.server.admission import AdmissionOptions
from mattebox.server.fetch import FetchOptions
from mattebox.server.http.results import ResultOptions
from mattebox.server.jobs import TaskOptions
from mattebox.server.logs import LogFormat
from mattebox.server.mattes import MatteOptions
from mattebox.server.metrics_page import MetricsOptions
from mattebox.server.middleware import UploadOptions
from mattebox.server.rates import RateOptions
from mattebox.server.store.accounts import AccountOptions
from mattebox.server.store.database import connect
from mattebox.server.store.keys import Keys
from mattebox.server.store.stored_image import ImageStoreOptions

_OTHERS = frozenset({"EVAL", "GALLERY"})
"""Variables, without the prefix, that something else than the server reads."""


class Settings(BaseSettings):
    """The settings that `mattebox serve` reads from the environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="_", env_nested_max_split=1, env_ignore_empty=True, frozen=True
    )

    data_dir: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("mattebox")),
        description="Folder for everything the server keeps. The default is the user's data folder.",
    )
    keys: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="API keys that are accepted, separated by commas, beside those that `mattebox keys` makes. No keys "
        "at all: any is accepted, and only this machine can connect.",
    )
    hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names and addresses that the server may be called by (the Host header), separated by commas. "
        "Empty: any; for a server without keys that only this machine can connect to, those of this machine.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Sites whose pages may use the server in a browser, as in `https://app.example.org`, separated by "
        "commas; `*` is any. Empty: any where there are keys, none without. Cookies are never asked for.",
    )
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = Field(
        default=(),
        description="Addresses and networks of proxies whose X-Forwarded-Proto, -Host and -Prefix are believed, as in "
        "`127.0.0.1,10.0.0.0/8`. Empty: nobody's are.",
    )
    keep_alive: int = Field(
        default=75,
        ge=1,
        description="Seconds that a connection is kept open after a response, for the next request. Behind a proxy "
        "that keeps connections too, it must be longer than the proxy's own time, or requests fail now and then.",
    )
    drain: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds that a server which was told to stop still takes requests, while /ready answers 503: as "
        "long as the load balancer needs to notice. 0: it takes no more at once, which suits a proxy that sends a "
        "request elsewhere where it cannot connect.",
    )
    model: str = Field(default="auto", description="The model that is loaded at start and used unless a request asks.")
    role: Literal["all", "api", "worker"] = Field(
        default="all",
        description="What this process does: `api` takes tasks in, `worker` works on them and answers only whether "
        "it is well, and /metrics, `all` does both. `mattebox serve --role` comes first.",
    )
    database_url: str = Field(
        default="",
        description="Where tasks and usage are kept: `sqlite:///file` or `postgresql://user:word@host/name`. Empty: "
        "the file mattebox.db in the data folder.",
        repr=False,
    )
    storage_url: str = Field(
        default="",
        description="Where pictures of tasks are kept: `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix` or "
        "`az://container/prefix`. Empty: the folder blobs in the data folder.",
    )
    public_url: str = Field(
        default="",
        description="What clients see of the server, as in `https://cutout.example.org`. Empty: the address that each "
        "request was sent to.",
    )
    listing_url: str = Field(
        default="",
        description="What the addresses of a listing's next and previous page begin with, where that is not the "
        "server's own: some clients know their vendor's address only.",
    )
    node: str = Field(
        default="",
        max_length=255,
        description="This process's name among those that work on tasks. It stays the same over restarts, and each "
        "process needs its own: the name of its pod, say. Empty: one that is made up once and kept in the data folder.",
    )
    log_format: LogFormat = Field(
        default="auto",
        description="How `mattebox serve` writes its log: `text`, `json`, or `auto`, which is text at a terminal and "
        "JSON otherwise.",
    )
    tracing: bool = Field(
        default=False,
        description="Send traces to where OTEL_EXPORTER_OTLP_ENDPOINT says. It needs `pip install 'mattebox[otel]'`.",
    )
    accounts: AccountOptions = AccountOptions()
    rates: RateOptions = RateOptions()
    metrics: MetricsOptions = MetricsOptions()
    limits: Limits = Limits()
    service: AdmissionOptions = AdmissionOptions()
    mattes: MatteOptions = MatteOptions()
    uploads: UploadOptions = UploadOptions()
    models: ModelOptions = ModelOptions()
    fetch: FetchOptions = FetchOptions()
    backdrops: BackdropOptions = BackdropOptions()
    tasks: TaskOptions = TaskOptions()
    storage: ResultOptions = ResultOptions()
    library: ImageStoreOptions = ImageStoreOptions()

    @property
    def database(self) -> str:
        """The database's address, whether it was set or not."""
        file = str((self.data_dir / "mattebox.db").absolute())
        return self.database_url or URL.create("sqlite", database=file).render_as_string()

    @property
    def blobs(self) -> str:
        """The storage's address, whether it was set or not."""
        return self.storage_url or (self.data_dir / "blobs").absolute().as_uri()

    def origins(self, *, keyed: bool) -> tuple[str, ...]:
        """The sites whose pages may use the server, `*` for any, whether they were set or not."""
        own = (_origin(self.public_url),) if self.public_url else ()
        return (*(self.cors_origins or (("*",) if keyed else ())), *own)

    @field_validator("keys", "hosts", "cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return environment.split(value)

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if each != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@*\s]+/?", each, re.IGNORECASE):
                raise ValueError("each must be like https://app.example.org, or *")
        return tuple(each if each == "*" else _origin(each) for each in value)

    @field_validator("public_url", "listing_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment):
            raise ValueError("it must be like https://cutout.example.org")
        return value.rstrip("/")

    @field_validator("*", mode="before")
    @classmethod
    def _as_typed(cls, value: object, info: ValidationInfo) -> object:
        """Variables are text: lists are separated by commas, and a path may begin with `~`."""
        options = type(cls.model_fields[str(info.field_name)].default)
        if not dataclasses.is_dataclass(options) or not isinstance(value, dict):
            return value
        # `storage_url` is a setting of its own, and looks like `url` of `storage` as well.
        inside = {name: part for name, part in value.items() if f"{info.field_name}_{name}" not in cls.model_fields}
        return environment.from_text(options, inside)


def _origin(address: str) -> str:
    """The site of an address as browsers write it: in small letters, without the port where it is the usual one."""
    parts = urlsplit(address.lower())
    usual = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc.removesuffix(usual)}"


def node_of(settings: Settings) -> str:
    """The process's name among those that work on tasks: as set, or as kept in the data folder since the first start.

    Raises:
        MatteboxError: UNAVAILABLE where it cannot be kept.
    """
    if settings.node:
        return settings.node
    file = settings.data_dir / "node"
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), file.open("x") as new:
            new.write(uuid.uuid4().hex)
        found = file.read_text().strip()
    except OSError as error:
        raise MatteboxError(Kind.UNAVAILABLE, "The data folder cannot be written to.") from error
    if not found:  # cut short by a crash, or by another process that is just writing it
        raise MatteboxError(
            Kind.UNAVAILABLE, "The file node in the data folder is empty; delete it, or set MATTEBOX_NODE."
        )
    return found


def keyed(settings: Settings) -> bool:
    """Whether the server asks for keys: those of the settings, or of its database.

    Raises:
        MatteboxError: UNAVAILABLE where the settings have none and the database is away.
    """
    if settings.keys:
        return True
    address = make_url(settings.database)
    if address.drivername == "sqlite" and not Path(str(address.database)).expanduser().exists():
        return False  # looking would make the file
    database = connect(settings.database)
    try:
        return Keys(database).exist()
    finally:
        database.dispose()


def keyed_as_needed(settings: Settings) -> bool:
    """As `keyed`.

    Raises:
        MatteboxError: INVALID_PARAMETER where there are no keys and something is counted per key; UNAVAILABLE.
    """
    found = keyed(settings)
    if settings.accounts.credits and not found:
        # Whoever has used up the credits of one key would make up another.
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            "MATTEBOX_ACCOUNTS_CREDITS counts per key, so it needs MATTEBOX_KEYS or `mattebox keys create`.",
        )
    if (settings.rates.requests or settings.rates.dialects) and not found:
        raise MatteboxError(
            Kind.INVALID_PARAMETER,
            "MATTEBOX_RATES_* count per key, so they need MATTEBOX_KEYS or `mattebox keys create`.",
        )
    return found


def load() -> Settings:
    """Read the environment.

    Raises:
        MatteboxError: INVALID_PARAMETER with every wrong variable by name.
    """
    try:
        return Settings()
    except ValidationError as cause:
        raise environment.wrong(cause.errors()) from cause


def unknown(variables: Iterable[str]) -> dict[str, str | None]:
    """The names among `variables` that look like settings and are none, each with the setting it is nearest to."""
    known = [name.removeprefix(PREFIX) for name, *_ in _rows()]
    names = {*known, *(name.upper() for name in Settings.model_fields), *_OTHERS}
    found: dict[str, str | None] = {}
    for variable in variables:
        name = variable.upper().removeprefix(PREFIX)
        if variable.upper().startswith(PREFIX) and name not in names:
            near = difflib.get_close_matches(name, known, 1)
            found[variable] = PREFIX + near[0] if near else None
    return found


def document() -> str:
    """The page that lists every setting, in Markdown."""
    rows = "\n".join(f"| `{name}` | {default} | {doc} |" for name, default, doc in _rows())
    return (
        "# Settings\n\nThe server reads these from its environment. This page is generated: `make docs`.\n\n"
        f"| variable | default | what it does |\n| --- | --- | --- |\n{rows}\n"
    )


def _rows() -> Iterator[tuple[str, str, str]]:
    for name, info in Settings.model_fields.items():
        options = info.default
        if dataclasses.is_dataclass(options):
            for knob in dataclasses.fields(options):
                value = getattr(options, knob.name)
                yield environment.variable(name, knob.name), _shown(value), knob.metadata["doc"]
        else:
            yield environment.variable(name), _shown(None if info.default_factory else options), str(info.description)


def _shown(value: object) -> str:
    return "–" if value in (None, "", ()) else f"`{value}`"


if __name__ == "__main__":
    print(document(), end="")

"""The settings of backdrops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mattebox.environment import option
from mattebox.errors import MatteboxError

GENERATORS: Mapping[str, str] = MappingProxyType(
    {
        "scenes": "photographed places, drawn studios and tables, and packs of your own pictures",
        "openai": "a server that speaks the OpenAI images API, at `url`",
        "diffusers": "a diffusion network in this process; needs the gpu extra",
    }
)
"""The generators of backdrops by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackdropOptions:
    """The generators of backdrops from words."""

    generators: tuple[str, ...] = option(
        ("scenes",),
        "The generators of backdrops, separated by commas: `scenes`, `openai`, `diffusers`. The first that can serve "
        "a prompt does.",
    )
    directory: Path | None = option(None, "Folder of the panoramas; by default in the user's cache.")
    packs: Path | None = option(None, "Folder of packs of your own pictures; by default in the user's data folder.")
    strict: bool = option(
        False,
        "Refuse a prompt that no backdrop shows, instead of serving the nearest with a warning. A request's own "
        "`nearest` comes first.",
    )
    url: str = option("", "The generator's server, as in http://127.0.0.1:8188. It is trusted.")
    key: str = option("", "The key for the generator's server, if it needs one.", repr=False)
    model: str = option("", "The generator's model; empty is its own default (diffusers: FLUX.2-klein-4B).")
    timeout: float = option(120.0, "Seconds that a generator's server may take.")

    def __post_init__(self) -> None:
        if "automatic1111" in self.generators:
            raise ValueError(
                "automatic1111 is no longer a generator: use `openai` with a server that speaks the OpenAI images API"
            )
        unknown = [name for name in self.generators if name not in GENERATORS]
        if unknown:
            raise ValueError(f"unknown generator {', '.join(unknown)}; choose from {', '.join(GENERATORS)}")
        if not self.generators:
            raise ValueError(f"name at least one generator: {', '.join(GENERATORS)}")
        if not self.url and "openai" in self.generators:
            raise ValueError("the generator openai requires url")
        if not 0 < self.timeout <= 3600:
            raise ValueError("timeout must be above 0 and at most 3600")
        from mattebox.backdrops import generators

        for name in self.generators:
            if name == "scenes":
                continue
            try:
                generators.open_generator(name, self, download=False)  # reports a wrong address, key or model now
            except MatteboxError as error:
                raise ValueError(error.message) from error

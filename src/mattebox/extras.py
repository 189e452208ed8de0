"""The parts of mattebox that `pip` installs only on request, and the sentence where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from mattebox.errors import Kind, MatteboxError

Extra: TypeAlias = Literal[
    "server", "postgres", "tls", "remote", "gpu", "cuda", "onnxruntime", "multilevel", "otel", "redis", "bulk", "ray"
]
"""The optional dependencies of `pyproject.toml` that a missing import can be blamed on."""


def missing(extra: Extra, what: str, *, parameter: str | None = None) -> MatteboxError:
    """The failure where an extra is not installed, with the line to type.

    Args:
        extra: its name.
        what: what needs it, as the beginning of a sentence ("The server").
        parameter: the parameter that asked for it, if one did.
    """
    return MatteboxError(
        Kind.UNAVAILABLE,
        f"{what} needs an extra. Type: pip install 'mattebox[{extra}]'",
        parameter=parameter,
    )


@contextmanager
def needs(extra: Extra, what: str, *, parameter: str | None = None) -> Iterator[None]:
    """Turns a failed import in its block into `missing`. A module of mattebox itself that is missing is a defect."""
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "mattebox":
            raise
        raise missing(extra, what, parameter=parameter) from error

"""The parts of mattebox that `pip` installs only on request, and the sentence where one is missing."""

from __future__ import annotations

from types import TracebackType
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


class needs:  # noqa: N801 - read as a word: `with needs("tls", "A certificate"): import trustme`
    """Turns a failed import in its block into `missing`. A module of mattebox itself that is missing is a defect."""

    def __init__(self, extra: Extra, what: str, *, parameter: str | None = None) -> None:
        self._error = missing(extra, what, parameter=parameter)

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ImportError) and (error.name or "").partition(".")[0] != "mattebox":
            raise self._error from error

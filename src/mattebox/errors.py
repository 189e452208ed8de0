"""Every way mattebox can fail.

A failure is one `MatteboxError`: what kind it is, one sentence that may be shown to anyone, and the parameter to blame
where there is one. The sentence carries no address and no stack, and of paths only those that the asker named; the
cause travels as `__cause__` and goes to the log. Nothing here knows about HTTP: each dialect says which status and
which word of its vendor a kind becomes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial


class Kind(StrEnum):
    """Kinds of failure, as a front end needs them to choose its response."""

    INVALID_REQUEST = "invalid_request"
    """The request as a whole cannot be read: broken JSON, broken form, wrong content type."""
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    """The request's body is packed in a way that cannot be unpacked."""
    UPLOAD_TIMED_OUT = "upload_timed_out"
    """The request's body stopped arriving, or took too long in all."""
    INVALID_PARAMETER = "invalid_parameter"
    """One named parameter has a value that is not allowed."""
    MISSING_IMAGE = "missing_image"
    """No picture was given."""
    UNREADABLE_IMAGE = "unreadable_image"
    """The bytes are not a picture, or are damaged, truncated or in a format that cannot be read."""
    NO_SUBJECT = "no_subject"
    """There is a picture, but nothing in it can be told from its background, and whoever asks wants to hear that."""
    TOO_MANY_BYTES = "too_many_bytes"
    """The upload is larger than the limit."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """The picture has more pixels than the limit."""
    UNREACHABLE_SOURCE = "unreachable_source"
    """A picture's address could not be fetched, or may not be."""
    MISSING_KEY = "missing_key"
    """No API key was sent and one is needed."""
    INVALID_KEY = "invalid_key"
    """The API key is not known."""
    FORBIDDEN = "forbidden"
    """Whoever asks may not, whatever key they hold: a web page of another site, say."""
    OUT_OF_CREDITS = "out_of_credits"
    """The key has used all its credits."""
    NOT_FOUND = "not_found"
    """There is nothing at this address or under this name."""
    CONFLICT = "conflict"
    """Doing it would destroy something: a file that exists, an input, another result."""
    OVERLOADED = "overloaded"
    """Too much work is waiting; try again later."""
    TIMED_OUT = "timed_out"
    """The work took longer than its deadline."""
    CANCELLED = "cancelled"
    """Nobody waits for the result any more."""
    UNAVAILABLE = "unavailable"
    """A part that is needed is not here: weights, a device, an optional package."""
    NOT_OFFERED = "not_offered"
    """Understood, but this server is not set up for it; asking again does not help."""
    INTERNAL = "internal"
    """A defect of mattebox."""


class MatteboxError(Exception):
    """A failure with a public message.

    Args:
        kind: what went wrong.
        message: one plain sentence for the person who asked.
        parameter: the name of the parameter to blame, in the words of the door that was used.
        retry_after: seconds after which trying again makes sense, where that is known.
    """

    def __init__(
        self, kind: Kind, message: str, *, parameter: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.parameter = parameter
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are pickled by their positional arguments, and this one has others: process pools need it.
        return partial(type(self), parameter=self.parameter, retry_after=self.retry_after), (self.kind, self.message)

    def about(self, parameter: str) -> MatteboxError:
        """The same failure, blamed on `parameter`; itself where one is named already."""
        return self if self.parameter is not None else self.blaming(parameter)

    def blaming(self, parameter: str) -> MatteboxError:
        """The same failure, blamed on `parameter`, whatever was named before."""
        renamed = MatteboxError(self.kind, self.message, parameter=parameter, retry_after=self.retry_after)
        renamed.__cause__, renamed.__context__ = self.__cause__, self
        return renamed


@contextmanager
def blame(parameter: str) -> Iterator[None]:
    """Blame what fails inside on `parameter`, where it names none itself."""
    try:
        yield
    except MatteboxError as error:
        raise error.about(parameter) from error.__cause__


def forget_frames(failure: BaseException | None) -> None:
    """Let go of what a failure has come through, such as the body of a request.

    Some of those frames hold the failure themselves, as anyio's that wait for a thread do: a ring that would be there
    until the garbage collector comes by, with hundreds of megabytes meanwhile. Through pydantic's own failures it does
    not even see rings.
    """
    for each in failures_behind(failure):
        each.__traceback__ = None


def failures_behind(failure: BaseException | None) -> Iterator[BaseException]:
    """A failure and all that have led to it, each once: they may lead to one another in a ring."""
    waiting, seen = [failure], set[int]()
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__]

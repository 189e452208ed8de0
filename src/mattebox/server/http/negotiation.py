"""How the routes that are no vendor's answer with a picture: as which file, inside JSON or not, with its measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import pybase64
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mattebox import codec
from mattebox.edit import Format
from mattebox.image import Box, Encoded, Served
from mattebox.server.http import bodies, openapi
from mattebox.server.http import dialect as http

_MEDIA_TYPES = [codec.media_type(each) for each in Format]


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """How the result goes out: as which file, and whether inside a JSON object."""

    format: Format
    as_json: bool


def negotiate(accept: str, chosen: Format | None) -> ResponseFormat:
    """The format of the response: a word in the request settles it, `Accept` the rest.

    Raises:
        HTTPException: 406, where `Accept` leaves nothing.
    """
    wanted = accept_ranges(accept)
    json_quality = _quality(wanted, bodies.JSON_TYPE)
    offered = [(_quality(wanted, codec.media_type(each)), each) for each in Format]
    best, preferred = max(offered, key=lambda offer: offer[0])  # of equals the first
    if chosen is not None:
        # Whoever names a format has decided; what is left to ask is whether they would rather have it inside JSON.
        return ResponseFormat(chosen, json_quality > _quality(wanted, codec.media_type(chosen)))
    if json_quality > best:
        return ResponseFormat(Format.PNG, as_json=True)
    if best == 0:
        offers = ", ".join([*_MEDIA_TYPES, bodies.JSON_TYPE])
        raise HTTPException(406, f"Accept leaves nothing; there are {offers}.")
    return ResponseFormat(preferred, as_json=False)


def accept_ranges(accept: str) -> list[tuple[str, float]]:
    """The media types and wildcards of a header `Accept`, in lower case, and how much each is wanted: 0 to 1."""
    ranges = []
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = min(max(float(value), 0.0), 1.0)
                except ValueError:
                    quality = 0.0
        if kind:
            ranges.append((kind, quality))
    return ranges or [("*/*", 1.0)]


def _quality(ranges: Sequence[tuple[str, float]], media_type: str) -> float:
    """How much a type is wanted: what the most precise range that it falls under says."""
    for pattern in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        found = [quality for kind, quality in ranges if kind == pattern]
        if found:
            return max(found)
    return 0.0


def render(request: Request, encoded: Encoded, answer: ResponseFormat, *, replayed: bool = False) -> Response:
    """The result as it was asked for; `replayed` where it is one from before."""
    headers = _headers(encoded, http.request_context(request).milliseconds) | http.backdrop_headers(encoded.served)
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    if answer.as_json:
        model = PictureResult if encoded.served is None else SceneResult
        return http.json_response(model.model_validate(encoded), headers=headers)
    return Response(encoded.data, media_type=encoded.media_type, headers=headers)


def _headers(encoded: Encoded, milliseconds: int) -> dict[str, str]:
    measured = {"X-Mattebox-Confidence": encoded.confidence, "X-Mattebox-Ambiguity": encoded.ambiguity}
    return {
        "X-Mattebox-Subject": http.subject_header(encoded),
        "X-Image-Width": str(encoded.width),
        "X-Image-Height": str(encoded.height),
        "X-Processing-Time-Ms": str(milliseconds),
        "Vary": "Accept",
        **({} if encoded.chosen_by is None else {"X-Mattebox-Corrections": encoded.chosen_by}),
        **{name: f"{value:.4f}" for name, value in measured.items() if value is not None},
    }


class PictureFacts(BaseModel):
    """A finished picture, besides its bytes: made of an `Encoded`, or of the result of a task."""

    model_config = ConfigDict(from_attributes=True, populate_by_name=True)

    media_type: str = Field(description="the file's type")
    width: int = Field(description="pixels")
    height: int = Field(description="pixels")
    subject: Box | None = Field(description="where the subject is in the result; null where there is none")
    confidence: float | None = Field(description="0 to 1")
    corrections: str | None = Field(
        validation_alias="chosen_by", description="as `X-Mattebox-Corrections`; null where nothing chose"
    )


class PictureResult(PictureFacts):
    """The result inside JSON."""

    image: Annotated[str, BeforeValidator(pybase64.b64encode_as_string)] = Field(
        validation_alias="data", description="the result's file in base64"
    )
    ambiguity: float | None = Field(description="0 to 1")


class SceneResult(PictureResult):
    """The same where a prompt was given."""

    backdrop: Served = Field(
        validation_alias="served", description="what served the prompt; only there where there was one"
    )


def described(*, scenes: bool = False) -> openapi.Responses:
    """The responses of `render`, for the OpenAPI page; `scenes` where prompts are understood."""
    return openapi.result(
        "The result, in the format that `format` or `Accept` asks for",
        media_types=_MEDIA_TYPES,
        model=SceneResult if scenes else PictureResult,
        headers=HEADERS | (http.BACKDROP_HEADERS if scenes else {}),
        example=_JSON_EXAMPLE,
    )


_JSON_EXAMPLE = {
    "image": "iVBORw0KGgo…",
    "media_type": "image/png",
    "width": 1200,
    "height": 800,
    "subject": {"left": 310, "top": 42, "width": 480, "height": 758},
    "confidence": 0.96,
    "ambiguity": 0.007,
    "corrections": None,
}
HEADERS = {
    "X-Mattebox-Subject": "where the subject is: `left,top,width,height`; `none` where there is none",
    "X-Mattebox-Confidence": "how decided the matte is, 0 to 1; a heuristic",
    "X-Mattebox-Ambiguity": "the fraction of pixels with an alpha between 0.1 and 0.9",
    "X-Mattebox-Corrections": "where points or a box said which object is meant, what told the objects apart: `parts`, "
    "the connected parts of the matte",
    "X-Image-Width": "pixels",
    "X-Image-Height": "pixels",
    "X-Processing-Time-Ms": "whole milliseconds",
    "X-Request-ID": "`req_…`",
    "Idempotent-Replayed": "`true` where the answer is one from before",
}
"""Those that it has, each with what it says."""

"""The options of an edit, each declared once: name, type, range, sentence, and what it goes with.

The command line, the native HTTP API, its API docs and the table in `docs/dialects/native.md` are made from these
fields. A front end adds what only it has: a file in a form, a path on a command line.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from mattebox import units
from mattebox.edit import (
    LARGEST_SIDE,
    Backdrop,
    Blur,
    Canvas,
    Color,
    Corrections,
    Edit,
    Fit,
    Foreground,
    Format,
    Gradient,
    Layout,
    Margin,
    Matte,
    Output,
    Picture,
    Prompt,
    Region,
    Shadow,
    ShadowKind,
    Transparent,
)
from mattebox.errors import Kind, MatteboxError
from mattebox.fields import (
    Fields,
    Flag,
    Number,
    Reader,
    ReadFlag,
    ReadText,
    Refusal,
    Relation,
    Schema,
    Text,
    Whole,
    Word,
    Written,
    inlined,
    path_of,
)

LONGEST_SIDE: Final = 65_535
"""Pixels; no file format that is written here can have more."""
LONGEST_PROMPT: Final = 2000
"""Characters. Longer texts do not describe a place."""
BACKGROUNDS: Final = (
    "background",
    "background_image",
    "background_image_url",
    "background_blur",
    "background_gradient",
)
"""Names of the backgrounds besides a scene in words: one of these can be behind the subject."""
FORMATS: Final = {each.value: each for each in Format} | {"jpg": Format.JPEG}
_SHADOWS = {"none": None} | {each.value: each for each in ShadowKind}
ONE_BACKGROUND: Final = {
    name: Relation(excludes=("prompt", *BACKGROUNDS[:place])) for place, name in enumerate(BACKGROUNDS)
}
"""The relation of each of them to the others: of two that are given, the later one is blamed."""
_OF_PROMPT = Relation(requires=("prompt",))


LONGEST_CORRECTIONS: Final = 2**22
"""Bytes of the JSON; the most points that there may be take half of it."""


@dataclass(frozen=True)
class ReadCorrections(Reader):
    """Corrections, as a JSON object or as a text that is one."""

    def read(self, value: object) -> Corrections:  # noqa: D102
        text = value if isinstance(value, str | bytes) else to_json(value)
        if len(text) > LONGEST_CORRECTIONS:
            raise Refusal(f"must have at most {LONGEST_CORRECTIONS} bytes")
        try:
            (found,) = _corrections().validate_json(b"[%b]" % (text.encode() if isinstance(text, str) else text))
        except ValidationError as error:
            refusal = _refusal(error)
        else:
            return found
        raise refusal  # out here, without pydantic's failure: it would hold the frames of the request for ever

    @property
    def schema(self) -> Schema:  # noqa: D102
        items = inlined(_corrections().json_schema())["prefixItems"]
        return {**items[0]} if isinstance(items, list) else {}


def _refusal(error: ValidationError) -> Refusal:
    problem = error.errors(include_url=False, include_input=False)[0]
    if problem["type"] == "json_invalid":
        return Refusal("is not valid JSON")
    own = problem.get("ctx", {}).get("error")
    said = filter(None, (path_of(problem["loc"][1:]), str(own or problem["msg"])))
    return Refusal(f"cannot be used: {': '.join(said)}")


@cache
def _corrections() -> TypeAdapter[tuple[Corrections]]:
    # In a tuple, because the configuration of a dataclass itself is its own.
    return TypeAdapter(tuple[Corrections], config=ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True))


class EditOptions(Fields):
    """The options for removing a background."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[
        Text, Field(description="The network: `auto`, `fast`, `best` or another name of the models' list.")
    ] = "auto"
    format: Annotated[Format | None, Word(FORMATS)] = Field(None, description="The result's file format.")
    quality: Annotated[int | None, Whole(1, 100)] = Field(
        None, description="Quality of JPEG, WebP, AVIF and the colours in a ZIP. 100 makes a WebP lossless."
    )
    background: Annotated[Color | None, Written(units.color), ONE_BACKGROUND["background"]] = Field(
        None, description="A colour behind the subject: `#ffffff`, `rgb(255, 255, 255)` or a CSS name."
    )
    background_gradient: Annotated[Gradient | None, Written(units.gradient), ONE_BACKGROUND["background_gradient"]] = (
        Field(
            None,
            description="A gradient behind the subject: two colours, from the top down, or an angle before them. "
            "`90 #fff #ccd` is from left to right, as in CSS.",
        )
    )
    background_blur: Annotated[float | None, Number(0.3, 1000), ONE_BACKGROUND["background_blur"]] = Field(
        None, description="The photo's own background, blurred: the standard deviation in pixels."
    )
    shadow: Annotated[
        ShadowKind | None, Word(_SHADOWS), Relation(excludes=("prompt",), because="the scene makes the shadow")
    ] = Field(
        None,
        description="`drop` is soft and behind the subject, `cast` its outline on the ground, `ground` only where it "
        "stands.",
    )
    shadow_opacity: Annotated[float, Number(0, 1), Relation(requires=("shadow",))] = Field(
        0.5, description="Opacity of the shadow's darkest part."
    )
    roi: Annotated[Region | None, Written(units.region)] = Field(
        None, description="`x1 y1 x2 y2` in px or %: look for the subject here; all outside is background."
    )
    crop: Annotated[Flag, Field(description="Cut the picture to the subject.")] = False
    ratio: Annotated[tuple[int, int] | None, Written(units.ratio), Relation(requires=("crop",))] = Field(
        None, description="Widen the cropped box to these proportions, as in `4:3`."
    )
    margin: Annotated[Margin, Written(units.margin), Relation(requires=("crop",))] = Field(
        Margin(), description="Round the cropped box: one, two or four lengths, in px or in % of the subject's size."
    )
    scale: Annotated[float | None, Written(units.scale)] = Field(
        None, description="The subject's share of the canvas, as in `80%`."
    )
    position: Annotated[tuple[float, float] | None, Written(units.position)] = Field(
        None, description="Where the subject lies: `center`, or `x% y%` of the free room."
    )
    width: Annotated[int | None, Whole(1, LARGEST_SIDE)] = Field(None, description="Width of the canvas in pixels.")
    height: Annotated[int | None, Whole(1, LARGEST_SIDE)] = Field(None, description="Its height in pixels.")
    fit: Annotated[Fit, Word(Fit), Relation(requires=("width", "height"))] = Field(
        Fit.CONTAIN, description="How a picture of other proportions is brought to the canvas."
    )
    size: Annotated[int | None, Whole(1, LONGEST_SIDE)] = Field(
        None, description="The longer side in pixels at most; the result is never enlarged."
    )
    semitransparency: Annotated[
        Flag, Field(description="Windows and glass may be see-through; without it only the outline is soft.")
    ] = True
    alpha_only: Annotated[
        Flag,
        Relation(excludes=("prompt",), because="the matte shows no backdrop"),
        Field(description="The matte itself, as a grey picture."),
    ] = False
    refine: Annotated[Flag, Field(description="Sharpen the matte at the photo's own resolution.")] = True
    foreground: Annotated[Foreground, Word(Foreground)] = Field(
        Foreground.FAST, description="How the background's colour is taken out of the edge."
    )
    corrections: Annotated[Corrections, ReadCorrections()] = Field(
        Corrections(), description="Strokes that keep or erase, and points and a box that say which object is meant."
    )

    def to_edit(self, *, format: Format) -> Edit:  # noqa: A002 - the option's name
        """The edit that is asked for.

        Args:
            format: of the result, where `format` was left to the front end.
        """
        return Edit(
            backdrop=self._backdrop(),
            shadow=None if self.shadow is None else Shadow(kind=self.shadow, opacity=self.shadow_opacity),
            layout=Layout(
                roi=self.roi,
                crop=self.crop,
                ratio=self.ratio,
                margin=self.margin,
                scale=self.scale,
                position=self.position,
                canvas=self._canvas(),
                max_side=self.size,
            ),
            matte=Matte(
                model=self.model,
                refine=self.refine,
                foreground=self.foreground,
                semitransparency=self.semitransparency,
                corrections=self.corrections,
            ),
            output=Output(format=self.format or format, alpha_only=self.alpha_only, quality=self.quality),
        )

    def _canvas(self) -> Canvas | None:
        if self.width is None and self.height is None:
            return None
        return Canvas(width=self.width, height=self.height, fit=self.fit)

    def _backdrop(self) -> Backdrop:
        if not self.given.isdisjoint(("background_image", "background_image_url")):
            return Picture()
        if self.background_blur is not None:
            return Blur(self.background_blur)
        return self.background or self.background_gradient or Transparent()


class SceneOptions(EditOptions):
    """The same, and scenes in words."""

    prompt: Annotated[str | None, ReadText(LONGEST_PROMPT)] = Field(
        None, description="The place in words, as in `a wooden table`."
    )
    seed: Annotated[int, Whole(-(2**63), 2**63 - 1), _OF_PROMPT] = Field(
        0, description="The same seed gives the same picture again."
    )
    generator: Annotated[
        Text, _OF_PROMPT, Field(description="What makes the backdrop; `auto` is the first that can.")
    ] = "auto"
    nearest: Annotated[bool | None, ReadFlag(), _OF_PROMPT] = Field(
        None,
        description="Where nothing shows what the words say: `true` takes the nearest backdrop, with a warning, "
        "`false` refuses. By default as MATTEBOX_BACKDROPS_STRICT says.",
    )

    def _backdrop(self) -> Backdrop:
        if self.prompt is None:
            return super()._backdrop()
        return Prompt(self.prompt, seed=self.seed, generator=self.generator, nearest=self.nearest)


class ReplaceOptions(SceneOptions):
    """The options for replacing a background: there must be one."""

    def check_relations(self, called: Callable[[str], str] = str) -> None:
        """Refuse fields that cannot be combined, lack another one, or put nothing behind the subject.

        Raises:
            MatteboxError: INVALID_PARAMETER.
        """
        super().check_relations(called)
        if isinstance(self._backdrop(), Transparent):
            name, *others = (called(each) for each in ("prompt", *BACKGROUNDS) if each in type(self).model_fields)
            sentence = f"{name} is required, or one of {', '.join(others)}."
            raise MatteboxError(Kind.INVALID_PARAMETER, sentence, parameter=name)


def narrowed(model: type[Fields], name: str, *metadata: Reader | Relation, description: str | None = None) -> Any:
    """A model's field for a model that reads less in it, as `Field` gives one; all else stays as it was declared.

    Args:
        model: the model that has the field.
        name: the field's name.
        metadata: a reader takes the place of the old one, a relation is added.
        description: another sentence.
    """
    info = copy(model.model_fields[name])
    narrower = any(isinstance(each, Reader) for each in metadata)
    info.metadata = [*metadata, *(each for each in info.metadata if not (narrower and isinstance(each, Reader)))]
    info.description = description or info.description
    return info

"""Putting a subject into a scene, so that it looks as if it had been photographed there.

What makes a composite believable, in the order of its weight: that the subject stands where the ground is, that it
darkens the ground it stands on, that what is far away is out of focus, that the light has the same colour and comes
from the same side, and that both were taken by one camera. The subject's own pixels stay what they were, apart from a
mild gain.

Light is added up where it is linear, which is where blur happens; that is done on small copies. At full size
everything is on stored values and band by band, so that a picture of 16 MP needs no float copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from mattebox import color, compositing, layout, shadows
from mattebox.backdrops.plate import Light, Plate
from mattebox.image import RGB, Alpha, Box, Image, row_bands
from mattebox.matting import CLEAR, Pixels
from mattebox.resampling import disc, enlarged

_Kind = TypeVar("_Kind", np.uint8, np.float32)

_WORKING_SIDE = 1024
"""Shadow and light wrap are smooth, and are found on a copy of at most this many pixels a side."""
_GAMMA = np.float32(1 / 2.2)
"""A factor in linear light, to this power, is nearly a factor on stored values."""

_TOUCHES = 0.004
"""A subject that comes this near to an edge, as a fraction of the height, is cut by it."""
_BASE = (0.80, 0.92)
"""Between these fractions of the height a subject stands."""
_BELOW_HORIZON = 0.10
"""By so much of the height, at least, its base is below the horizon."""
_HEADROOM = 0.03
"""The free space above a subject that has to be made smaller."""
_LAST_GROUND = 0.90
"""With a horizon below this fraction of the height there is no ground to stand on in the picture."""

_DEPTH, _HIDDEN = 1.7, np.float32(0.75)
"""An exponent for the light in the contact shadow, and what the ground under the body lacks besides."""
_BY_FEET = np.float32(0.6)
"""The further darkening of the ground at a foot."""
_FARTHEST_FOOT = 0.4
"""So far above the subject's base, in sizes of the subject, another foot may stand."""
_FLAT = 0.2
"""How high a body looks that was pressed flat onto the ground, at most."""
_FLOATS = 0.3
"""At this height above its base, in sizes of the subject, a part hides a third of what it would hide on the ground."""

_BLUR = 0.009
"""Radius of the circle of confusion at infinity, as a fraction of the side of a square of the frame's area."""
_LEVELS = (0.0, 0.2, 0.45, 0.7, 1.0)
"""The blurs that are made, as fractions of the strongest; what lies between is mixed."""


@dataclass(frozen=True, slots=True)
class _Stance:
    """The place of the subject.

    `box` is the subject's new box; `grounded` says whether it stands on ground that is in the picture. `focus` is the
    row, perhaps below the frame, at which the ground is as far away as the subject.
    """

    box: Box
    grounded: bool
    focus: float


def stage(cutout: Image, subject: Box | None, plate: Plate) -> Image:
    """Put a subject in front of a backdrop: place it, let it cast a shadow, match light, focus and grain.

    A subject that is cut by the frame's lower edge keeps its framing to the pixel; any other is stood on the ground,
    where the plate has one. It stays on every edge that it touches. Noise depends on the size of the picture only, so
    the same call gives the same pixels.

    Args:
        cutout: the subject in its photo's frame, straight colours and alpha; in the same colour profile as the plate.
        subject: the box around the subject; None without a subject.
        plate: the backdrop, of the cutout's size.

    Returns:
        An opaque picture of the plate's size; the plate's own pixels without a subject.

    Raises:
        ValueError: when the sizes differ.
    """
    height, width = plate.rgb.shape[:2]
    if (cutout.height, cutout.width) != (height, width):
        raise ValueError(f"a cutout of {cutout.width} x {cutout.height} on a plate of {width} x {height}")
    alpha = np.ones((height, width), np.float32) if cutout.alpha is None else cutout.alpha
    subject = None if subject is None else _within(subject, width, height)
    if subject is None or not float(alpha.max()) >= CLEAR:
        return Image(rgb=plate.rgb, icc=cutout.icc)
    if plate.finished:
        return Image(rgb=_put_back(cutout.rgb, alpha, plate.rgb), icc=cutout.icc)

    stance = _find_stance(subject, width, height, plate.horizon)
    rgb = cutout.rgb
    if stance.box != subject:
        rgb, alpha = _move(rgb, alpha, subject, stance.box)
    noise = _noise_of(rgb, alpha, stance.box)
    behind = _Behind(plate, stance, alpha, noise)
    front = _Front(rgb, alpha, plate, stance, behind.glow)
    result = np.empty_like(plate.rgb)
    for rows in row_bands(height, width):
        band = behind.band(rows)
        front.lay_over(band, rows)
        band += np.float32(0.5)  # so that the cast below rounds
        result[rows] = np.clip(band, 0, 255, out=band)
    return Image(rgb=result, icc=cutout.icc)


def _within(box: Box, width: int, height: int) -> Box | None:
    left, top = min(max(box.left, 0), width), min(max(box.top, 0), height)
    right, bottom = min(max(box.right, left), width), min(max(box.bottom, top), height)
    return Box(left, top, right - left, bottom - top) if right > left and bottom > top else None


def _find_stance(subject: Box, width: int, height: int, horizon: float | None) -> _Stance:
    near = max(1, round(_TOUCHES * height))
    on_left, on_top = subject.left < near, subject.top < near
    on_right, on_bottom = subject.right > width - near, subject.bottom > height - near
    if horizon is None or on_bottom or horizon > _LAST_GROUND:
        # What is cut by the lower edge stands nearer than any ground in the picture.
        return _Stance(subject, grounded=False, focus=height * max(1.25, (horizon or 0) + 0.5))
    least = min(max(_BASE[0], horizon + _BELOW_HORIZON), 1.0)
    most = max(_BASE[1], least)
    base = round(min(max(subject.bottom / height, least), most) * height)
    headroom = min(subject.top, round(_HEADROOM * height))
    if on_top:  # it hangs into the frame: moved, it would end in mid-air
        grounded = subject.bottom / height > horizon + _BELOW_HORIZON
        return _Stance(subject, grounded, focus=max(subject.bottom, height * least))
    room = max(1, base - headroom)
    if subject.height <= room:
        return _Stance(Box(subject.left, base - subject.height, subject.width, subject.height), True, base)
    if on_left and on_right:  # made smaller, it would come off one of them
        box = Box(subject.left, headroom, subject.width, subject.height)
        return _Stance(box, grounded=True, focus=box.bottom)
    wide = max(1, round(subject.width * room / subject.height))
    left = subject.left if on_left else subject.right - wide if on_right else subject.left + (subject.width - wide) // 2
    return _Stance(Box(left, base - room, wide, room), True, base)


def _move(rgb: RGB, alpha: Alpha, subject: Box, target: Box) -> tuple[RGB, Alpha]:
    """The same frame with everything of the subject moved, and made smaller, as its box is."""
    height, width = alpha.shape
    # Hair and haze may reach beyond the subject's box.
    everything = Box(*cv2.boundingRect((alpha >= CLEAR).view(np.uint8)))
    scale = target.height / subject.height
    wide, high = max(1, round(everything.width * scale)), max(1, round(everything.height * scale))
    placement = layout.Placement(everything, Box(0, 0, wide, high), wide, high)
    moved = layout.place(Image(rgb=rgb, alpha=alpha), placement)
    left = target.left + round((everything.left - subject.left) * scale)
    top = target.top + round((everything.top - subject.top) * scale)
    if everything.left == 0:  # rounding must not open a gap at an edge
        left = 0
    elif everything.right == width:
        left = width - wide
    rgb, alpha = np.zeros_like(rgb), np.zeros_like(alpha)
    seen = _within(Box(left, top, wide, high), width, height)
    if seen is not None and moved.alpha is not None:
        part = Box(seen.left - left, seen.top - top, seen.width, seen.height)
        rgb[seen.slices] = moved.rgb[part.slices]
        alpha[seen.slices] = moved.alpha[part.slices]
    return rgb, alpha


class _Behind:
    """The backdrop as it looks with the subject in the scene: out of focus, in its shadow, with the photo's noise."""

    def __init__(self, plate: Plate, stance: _Stance, alpha: Alpha, noise: float) -> None:
        height, width = plate.rgb.shape[:2]
        self._sharp = plate.rgb
        confusion = _confusion(plate, stance) if plate.depth_of_field else np.zeros(height, np.float32)
        radii = [level * float(confusion.max()) for level in _LEVELS]
        self._radii = [radii[0], *(radius for radius in radii[1:] if radius > 0.6)]
        self._levels = _blur(plate.rgb, self._radii)
        self._mix = np.interp(confusion, self._radii, np.arange(len(self._radii))).astype(np.float32)
        self._light = _darken(plate, stance, alpha)
        # Blur takes the plate's own noise away.
        grain = np.where(confusion > 1, 0, plate.grain)
        self._noise = np.sqrt(np.maximum(noise**2 - grain**2, 0)).astype(np.float32)
        self._pattern = _pattern(width, height)

    @property
    def glow(self) -> Pixels:
        """The whole backdrop, small and very soft, for the light that it sends round the subject's edge."""
        small = _shrink(self._sharp, 128).astype(np.float32)
        return np.asarray(cv2.GaussianBlur(small, (0, 0), 3), np.float32)

    def band(self, rows: slice) -> Pixels:
        """Some rows of it, as stored values in 0..255."""
        result = self._focus(rows)
        if self._light is not None:
            result *= enlarged(self._light, self._sharp.shape, rows)[:, :, None]
        if float(self._noise[rows].max()) > 0.1:
            # Black and white are where sensors clip, and have none.
            room = np.minimum(result, 255 - result)
            room *= np.float32(1 / 24)
            np.clip(room, 0, 1, out=room)
            room *= self._noise[rows, None, None]
            room *= self._pattern[np.ix_(np.arange(rows.start, rows.stop) % self._pattern.shape[0])]
            result += room
        return result

    def _focus(self, rows: slice) -> Pixels:
        mix = self._mix[rows]
        first, last = int(np.floor(mix.min())), int(np.ceil(mix.max()))
        if first == last:
            return self._level(first, rows)
        result = np.zeros((rows.stop - rows.start, *self._sharp.shape[1:]), np.float32)
        for index in range(first, last + 1):
            share = np.clip(1 - np.abs(mix - index), 0, 1)
            if share.any():
                level = self._level(index, rows)
                level *= share[:, None, None]
                result += level
        return result

    def _level(self, index: int, rows: slice) -> Pixels:
        if index == 0:
            return self._sharp[rows].astype(np.float32)
        return enlarged(self._levels[index - 1], self._sharp.shape, rows)


def _confusion(plate: Plate, stance: _Stance) -> npt.NDArray[np.float32]:
    """The radius of the circle of confusion in each row, in pixels: thin lens, flat ground, the rest at infinity.

    The ground's nearness is proportional to the rows below the horizon, and confusion to the difference in nearness.
    """
    height, width = plate.rgb.shape[:2]
    most = _BLUR * float(np.sqrt(height * width))
    if plate.horizon is None:
        return np.full(height, most, np.float32)
    horizon = plate.horizon * height
    nearness = (np.arange(height, dtype=np.float32) + 0.5 - horizon) / max(stance.focus - horizon, 0.05 * height)
    return np.asarray(most * np.abs(1 - np.clip(nearness, 0, 2)), np.float32)


def _blur(rgb: RGB, radii: list[float]) -> list[Pixels]:
    """The picture behind a round aperture, once for each radius but the first: stored values at a smaller size."""
    if len(radii) == 1:
        return []
    height, width = rgb.shape[:2]
    light = np.asarray(cv2.LUT(rgb, _TO_LIGHT), np.uint16)
    levels = []
    for radius in radii[1:]:
        # Three pixels draw a disc well enough, and whatever is smaller than the disc is gone anyway.
        shrink = max(1.0, radius / 3, max(height, width) / 16_000)
        if shrink > 1:
            size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
            light = np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_AREA), np.uint16)
        small = light.astype(np.float32) / np.float32(65535)
        soft = cv2.filter2D(small, -1, disc(radius / shrink), borderType=cv2.BORDER_REFLECT)
        levels.append(_stored(np.asarray(soft, np.float32)))
    return levels


def _darken(plate: Plate, stance: _Stance, alpha: Alpha) -> Pixels | None:
    """The light that the subject leaves on the backdrop, as a factor on stored values, at the working size."""
    if stance.grounded:
        small = np.clip(_shrink(alpha, _WORKING_SIDE), 0, 1)
        across, _, nearer = (value / max(plate.light.direction[1], 0.5) for value in plate.light.direction)
        toward, away = min(max(-across, -1), 1), min(max(nearer, -1), 1)
        near = 1 - shadows.ground(small, toward, away, plate.light.strength)
        light = near**_DEPTH * (1 - _under(small, stance.box, alpha.shape[0]))
        light = 1 - (1 - light) * _ground_near(plate, stance, small.shape[0])[:, None]
    elif plate.horizon is not None:
        # It stands in front of everything that is seen, and only keeps a little of the light away.
        tiny = _shrink(alpha, 256)
        light = 1 - np.float32(0.10) * np.asarray(cv2.GaussianBlur(tiny, (0, 0), 0.04 * max(tiny.shape)), np.float32)
    else:
        return None
    return np.asarray(np.clip(light, 0, 1) ** _GAMMA, np.float32)


def _ground_near(plate: Plate, stance: _Stance, height: int) -> Pixels:
    """In which rows there surely is ground, from 0 to 1: tables end, and walls begin, some way behind the subject."""
    horizon = plate.horizon or 0.0
    base = stance.box.bottom / plate.rgb.shape[0]
    nearness = ((np.arange(height, dtype=np.float32) + 0.5) / height - horizon) / max(base - horizon, 0.05)
    return np.asarray(np.clip((nearness - 0.5) / 0.2, 0, 1), np.float32)


def _under(small: Alpha, subject: Box, height: int) -> Pixels:
    """How much of the sky the subject's body and feet hide from the ground beneath them, in [0, 1].

    The outline is pressed flat towards its base, as seen from above, and blurred. What floats high hides little.
    """
    rows, columns = small.shape
    scale = rows / height
    base, size = subject.bottom * scale, float(np.sqrt(subject.width * subject.height)) * scale
    # As deep as wide, and not higher than what is flat.
    press = min(_FLAT, 0.35 * subject.width / subject.height)
    flat = np.array([[1, 0, 0], [0, 1 / press, base - base / press]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    pressed = np.asarray(cv2.warpAffine(small, flat, (columns, rows), flags=how), np.float32)
    solid = small > 0.5
    lowest = np.where(solid.any(axis=0), rows - np.argmax(solid[::-1], axis=0), 0).astype(np.float32)
    above = np.maximum(base - lowest, 0) / size
    pressed *= np.exp(-above / _FLOATS)[None, :]
    soft = max(0.7, 0.035 * size)
    body = np.asarray(cv2.GaussianBlur(pressed, (0, 0), soft, sigmaY=soft * 0.5), np.float32)
    return 1 - (1 - _HIDDEN * body) * (1 - _BY_FEET * _at_feet(lowest, above, size, rows))


def _at_feet(lowest: Pixels, above: Pixels, size: float, rows: int) -> Pixels:
    """The ground right at the feet, in [0, 1]: at what is narrow, points downwards and ends not far above the base.

    The base is one row, but of four legs two stand farther away, and higher in the picture.
    """
    reach = 2 * max(1, round(0.07 * size)) + 1
    window = np.ones((1, reach), np.uint8)
    line = lowest[None, :]
    broad = np.asarray(cv2.morphologyEx(line, cv2.MORPH_OPEN, window), np.float32)
    tip = np.asarray(cv2.dilate(line, window), np.float32) - np.float32(0.02 * size)
    foot = (line - broad > 0.04 * size) & (line >= tip) & (above < _FARTHEST_FOOT)
    weight = np.where(foot, np.sqrt(np.clip(1 - above / _FARTHEST_FOOT, 0, 1)), 0).astype(np.float32)
    thick = max(1.0, 0.012 * size)
    distance = np.abs(np.arange(rows, dtype=np.float32)[:, None] + 1 - line)
    strip = np.clip(thick + 0.5 - distance, 0, 1) * weight
    soft = max(0.7, 0.015 * size)
    return np.asarray(np.minimum(1.4 * cv2.GaussianBlur(strip, (0, 0), soft, sigmaY=soft * 0.45), 1), np.float32)


def _pattern(width: int, height: int) -> Pixels:
    """Noise of deviation 1, up to 512 rows of it: mostly in lightness, and a little coarser than a pixel."""
    random = np.random.Generator(np.random.PCG64([width, height]))
    shape = (min(height, 512), width)
    grey = random.standard_normal((*shape, 1), np.float32)
    pattern = np.float32(0.9) * grey + np.float32(0.45) * random.standard_normal((*shape, 3), np.float32)
    return np.asarray(cv2.GaussianBlur(pattern, (3, 3), 0.5), np.float32) * np.float32(1.55)


def _noise_of(rgb: RGB, alpha: Alpha, subject: Box) -> float:
    """The noise of the subject's own pixels, as a standard deviation in 8-bit levels, at most 3.

    After Immerkaer, "Fast Noise Variance Estimation" (1996): what is left when all that is locally a plane has been
    taken away. Small patches inside the subject are judged one by one, and a low quantile is taken, since texture
    looks like noise.
    """
    side, patch = 1536, 12
    wide, high = min(subject.width, side), min(subject.height, side)
    middle = Box(subject.left + (subject.width - wide) // 2, subject.top + (subject.height - high) // 2, wide, high)
    if min(wide, high) < patch:
        return 0.0
    grey = np.asarray(cv2.cvtColor(rgb[middle.slices], cv2.COLOR_RGB2GRAY), np.float32)
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    rest = np.abs(np.asarray(cv2.filter2D(grey, -1, mask), np.float32))
    size = (wide // patch, high // patch)
    inside = (alpha[middle.slices] > 0.99).astype(np.float32)
    inside, lightness, rest = (
        np.asarray(cv2.resize(each, size, interpolation=cv2.INTER_AREA), np.float32) for each in (inside, grey, rest)
    )
    usable = (inside > 0.999) & (lightness > 16) & (lightness < 239)
    if np.count_nonzero(usable) < 8:
        return 0.0
    return min(3.0, float(np.quantile(rest[usable], 0.2)) * float(np.sqrt(np.pi / 2)) / 6)


class _Front:
    """The subject in the scene's light."""

    def __init__(self, rgb: RGB, alpha: Alpha, plate: Plate, stance: _Stance, glow: Pixels) -> None:
        self._rgb, self._alpha, self._glow = rgb, alpha, glow
        self._tones = _tones(rgb, alpha, plate)
        self._slope = _slope(plate.light, stance.box, alpha.shape[1])
        small = _shrink(alpha, _WORKING_SIDE)
        self._soft = np.asarray(cv2.GaussianBlur(small, (0, 0), max(0.7, 0.0025 * max(small.shape))), np.float32)

    def lay_over(self, behind: Pixels, rows: slice) -> None:
        """Put these rows of it over `behind`, in place."""
        occupied = np.flatnonzero(self._alpha[rows].max(axis=0) >= CLEAR)
        if not occupied.size:
            return
        columns = slice(int(occupied[0]), int(occupied[-1]) + 1)
        alpha = self._alpha[rows, columns, None]
        colour = np.asarray(cv2.LUT(self._rgb[rows, columns], self._tones), np.float32)
        if self._slope is not None:
            colour *= self._slope[columns, None]
        # Light from behind spills over the edge, where the softened alpha is below 1.
        wrap = np.float32(0.99) - enlarged(self._soft, self._alpha.shape, rows)[:, columns]
        np.clip(wrap, 0, 1, out=wrap)
        if float(wrap.max()) > 0:
            spill = enlarged(self._glow, self._alpha.shape, rows)[:, columns]
            spill -= colour
            spill *= wrap[:, :, None] * np.float32(0.35)
            colour += spill
        part = behind[:, columns]
        colour -= part
        colour *= alpha
        part += colour


def _tones(rgb: RGB, alpha: Alpha, plate: Plate) -> Pixels:
    """A table from the subject's stored values to those in the scene's light, shape (1, 256, 3)."""
    falling = np.maximum(np.array(plate.light.color, np.float32), 1e-3)
    gain = np.clip(falling**0.3, 0.75, 1.3)
    gain /= color.luminance(gain)  # only the hue: how light it is comes next
    gain *= _exposure(rgb, alpha, plate)
    values = np.repeat(np.arange(256, dtype=np.float32)[None, :, None], 3, axis=2)
    return values if np.abs(gain - 1).max() < 1e-4 else _stored(np.minimum(_light(values) * gain, 1))


def _exposure(rgb: RGB, alpha: Alpha, plate: Plate) -> float:
    """How much lighter or darker the subject gets. Nothing within a stop: dark clothes are no reason to add light."""
    small, matte = _shrink(rgb, 128), _shrink(alpha, 128)
    inside = matte > 0.9
    if not inside.any():
        return 1.0
    own = float(np.quantile(_luminance(small)[inside], 0.85))
    there = float(np.quantile(_luminance(_shrink(plate.rgb, 128)), 0.85))
    ratio = (there + 0.01) / (own + 0.01)
    beyond = ratio / min(max(ratio, 0.5), 2.0)
    back_light = max(0.0, -plate.light.direction[2]) * plate.light.strength
    return float(min(max(beyond, 0.15), 1.6) ** 0.25 * (1 - 0.12 * back_light))


def _slope(light: Light, subject: Box, width: int) -> Pixels | None:
    """A factor on stored values for each column: lighter on the side that the light comes from."""
    steep = 0.14 * light.strength * light.direction[0]
    if abs(steep) < 0.005:
        return None
    middle = subject.left + subject.width / 2
    across = np.clip((np.arange(width, dtype=np.float32) + 0.5 - middle) / (subject.width / 2), -1, 1)
    return np.asarray((1 + steep * across) ** _GAMMA, np.float32)


def _put_back(rgb: RGB, alpha: Alpha, plate: RGB) -> RGB:
    """The subject's own pixels over a picture that has it already.

    Solid edges are drawn in by a pixel or two, since the generator painted up to them; hair, which that would wipe
    out, is what an opening takes away.
    """
    by = 1 if max(alpha.shape) <= 1536 else 2
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
    wide = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (4 * by + 1, 4 * by + 1))
    thin = alpha - np.asarray(cv2.morphologyEx(alpha, cv2.MORPH_OPEN, wide), np.float32)
    matte = np.maximum(np.asarray(cv2.erode(alpha, disc), np.float32), thin)
    return compositing.stack(Image(rgb=rgb, alpha=matte), Image(rgb=plate), left=0, top=0).rgb


def _shrink(picture: npt.NDArray[_Kind], side: int) -> npt.NDArray[_Kind]:
    """A copy of at most `side` pixels a side, averaged by area."""
    height, width = picture.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return picture if scale == 1 else np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), picture.dtype)


def _light(stored: Pixels) -> Pixels:
    """Linear light in 0..1 from stored values in 0..255."""
    return color.to_linear(stored / np.float32(255))


def _stored(light: Pixels) -> Pixels:
    """The inverse of `_light`."""
    return color.to_srgb(np.maximum(light, 0)) * np.float32(255)


def _luminance(rgb: npt.NDArray[np.uint8] | Pixels) -> Pixels:
    return color.luminance(_light(rgb.astype(np.float32)))


_TO_LIGHT = np.rint(_light(np.arange(256, dtype=np.float32)) * 65535).astype(np.uint16)[None, :]
"""Stored values to linear light in 16 bits, as `cv2.LUT` wants it."""

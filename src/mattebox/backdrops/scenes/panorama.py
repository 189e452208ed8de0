"""Panoramas of real places: read, looked at through a camera, exposed, and asked for their light.

A panorama is an equirectangular picture in linear light: its columns are directions all around, its rows go from
straight up to straight down. The camera stands upright, as an architect's does: what it sees above and below is moved
by shifting the lens and not by tilting, so that walls stay upright and the horizon lies in one row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from mattebox import color
from mattebox.backdrops.plate import Light
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB
from mattebox.resampling import disc, enlarged

_Floats: TypeAlias = npt.NDArray[np.float32]

_MAX_PIXELS = 16384 * 8192
_HALF_MAX = 65504.0
# Finer ones are made smaller: a place is out of focus, and no view shows more than a quarter of the width.
_WIDEST = 4096

# Exposed light above this is white in the picture anyway. Interpolating an unclipped sun would draw rings around it.
_CLIP = 12.0
# Steps of the projected picture per pixel of the panorama: more would only store the interpolation.
_STEPS = 3.0
# Radius of the lens blur in pixels of the panorama: what hides that there is nothing finer.
_BLUR = 0.9
# A camera sees at most this much without the stretched corners of a flat projection; wider pictures are cylindrical.
_MAX_FLAT = math.radians(85)
_MAX_ROUND = math.radians(220)
_MAX_TALL = math.radians(90)
_PHOTO_ASPECT = 1.5
_BAND = 256


@dataclass(frozen=True, slots=True, eq=False)
class Panorama:
    """A picture of everything around one place.

    `pixels` is linear light in sRGB's primaries, float16, shape (height, 2 * height, 3), not negative. The middle
    column is at yaw 0, yaw grows to the right; the first row is straight up.
    """

    pixels: npt.NDArray[np.float16]

    def __post_init__(self) -> None:
        height, width = self.pixels.shape[:2]
        if self.pixels.dtype != np.float16 or self.pixels.shape != (height, width, 3) or width != 2 * height:
            raise ValueError(
                f"pixels must be float16 (height, 2 * height, 3), not {self.pixels.dtype} {self.pixels.shape}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """How a panorama is looked at.

    Attributes:
        yaw: degrees to the right of the panorama's middle.
        pitch: degrees above the horizon that the middle of a square picture shows; mostly below, so negative.
        field_of_view: degrees that the longer side of a photo covers.
    """

    yaw: float = 0.0
    pitch: float = -8.0
    field_of_view: float = 60.0

    @classmethod
    def with_horizon(cls, horizon: float, *, yaw: float) -> Camera:
        """One that looks there and has the horizon in this row, a fraction of the height."""
        slope = (horizon - 0.5) * 2 * math.tan(math.radians(cls().field_of_view) / 2)
        return cls(yaw=yaw, pitch=math.degrees(math.atan(slope)))

    @property
    def horizon(self) -> float:
        """The horizon's row as a fraction of the height. The same at every shape of the picture."""
        return 0.5 + math.tan(math.radians(self.pitch)) / (2 * math.tan(math.radians(self.field_of_view) / 2))


@dataclass(frozen=True, slots=True)
class _Lens:
    """A camera's projection onto pixels: `focal` is its focal length in pixels of the picture."""

    focal: float
    cylindrical: bool


# --- reading ----------------------------------------------------------------------------------------------------------


def read(file: Path) -> Panorama:
    """Read a Radiance (.hdr) or OpenEXR (.exr) file.

    Raises:
        MatteboxError: UNREADABLE_IMAGE where it is neither, is damaged or is not twice as wide as high;
            TOO_MANY_PIXELS.
    """
    try:
        data = file.read_bytes()
    except OSError as cause:
        raise _unreadable(f"The panorama {file.name} cannot be read: {cause.strerror}.") from cause
    if data.startswith(b"#?"):
        light = _read_radiance(data, file.name)
    elif data.startswith(b"\x76\x2f\x31\x01"):
        light = _read_exr(file)
    else:
        raise _unreadable(f"{file.name} is neither a Radiance nor an OpenEXR file.")
    height, width = light.shape[:2]
    if width != 2 * height:
        raise _unreadable(f"{file.name} is not a full panorama: it is not twice as wide as high.")
    return of_light(light)


def of_light(light: _Floats) -> Panorama:
    """A panorama of linear light, float32, shape (height, 2 * height, 3); what is finer than needed is made smaller."""
    if light.shape[1] > _WIDEST:
        light = np.asarray(cv2.resize(light, (_WIDEST, _WIDEST // 2), interpolation=cv2.INTER_AREA), np.float32)
    return Panorama(np.minimum(_healed(light), _HALF_MAX).astype(np.float16))


def _unreadable(message: str) -> MatteboxError:
    return MatteboxError(Kind.UNREADABLE_IMAGE, message)


def _admit(width: int, height: int, name: str) -> None:
    if width * height > _MAX_PIXELS:
        raise MatteboxError(Kind.TOO_MANY_PIXELS, f"The panorama {name} is larger than 16384 x 8192 pixels.")


def _read_radiance(data: bytes, name: str) -> _Floats:
    header, _, _ = data[:4096].partition(b"\n\n")
    size = data[len(header) + 2 :].partition(b"\n")[0].split()
    if len(size) != 4 or size[0] != b"-Y" or size[2] != b"+X" or not (size[1] + size[3]).isdigit():
        raise _unreadable(f"{name} is a Radiance file of an unsupported kind.")
    _admit(int(size[3]), int(size[1]), name)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.float32 or decoded.ndim != 3:
        raise _unreadable(f"{name} is damaged.")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.float32)


def _read_exr(file: Path) -> _Floats:
    import OpenEXR

    try:
        with OpenEXR.File(str(file), header_only=True) as opened:
            low, high = opened.header()["dataWindow"]
        _admit(int(high[0] - low[0]) + 1, int(high[1] - low[1]) + 1, file.name)
        with OpenEXR.File(str(file)) as opened:
            channels = {name: np.asarray(channel.pixels) for name, channel in opened.channels().items()}
    except RuntimeError as cause:
        raise _unreadable(f"{file.name} is damaged.") from cause
    colors = channels.get("RGB", channels.get("RGBA"))
    if colors is None or colors.ndim != 3:
        raise _unreadable(f"{file.name} has no colours.")
    return colors[..., :3].astype(np.float32)


def _healed(light: _Floats) -> _Floats:
    """No negative and no missing light.

    Panoramas that were made smaller with a sharp filter have dark rings around their lamps, where the filter swung
    below zero. Such pixels, and those right beside them that it made too dark, get the colour of their neighbours.
    """
    light = np.nan_to_num(light, nan=0.0, posinf=_HALF_MAX, neginf=-1.0)
    wrong = light.min(axis=2) < 0
    if not wrong.any():
        return light
    luminance = color.luminance(light)
    around = cv2.medianBlur(np.clip(luminance, 0, _HALF_MAX), 5)
    beside = cv2.dilate(wrong.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    wrong |= beside & (luminance < 0.5 * around)
    weight = np.where(wrong, np.float32(0), np.float32(1))
    # The lamp itself must not flow into the ring around it.
    good = np.minimum(light, 4 * np.maximum(around, 1e-3)[..., None]) * weight[..., None]
    size, sigma = (7, 7), 1.2
    filled = cv2.GaussianBlur(good, size, sigma) / np.maximum(cv2.GaussianBlur(weight, size, sigma), 1e-6)[..., None]
    return np.where(wrong[..., None], np.maximum(filled, 0), light).astype(np.float32)


# --- looking ----------------------------------------------------------------------------------------------------------


def view(panorama: Panorama, camera: Camera, *, width: int, height: int, key: float = 0.18) -> RGB:
    """The view of a camera, exposed and developed like a photo.

    Args:
        panorama: what is looked at.
        camera: from where.
        width, height: of the picture in pixels, any shape.
        key: the grey that the picture's mean becomes before development: 0.18 by day, 0.05 where it is night.
    """
    lens = _lens(camera, width, height)
    per_pixel = lens.focal * 2 * math.pi / panorama.pixels.shape[1]  # picture's pixels to one of the panorama
    shrink = min(1.0, _STEPS / per_pixel)
    columns, rows = max(1, math.ceil(width * shrink)), max(1, math.ceil(height * shrink))
    light = project(panorama, camera, width=columns, height=rows, key=key)
    radius = _BLUR * min(per_pixel * shrink, per_pixel)
    if radius > 0.5:
        light = _defocused(light, radius)
    return _enlarged(tone_map(light), width, height)


def project(panorama: Panorama, camera: Camera, *, width: int, height: int, key: float = 0.18) -> _Floats:
    """The light that falls on the picture, exposed: float32, shape (height, width, 3), in [0, 12], mostly below 1.

    The exposure makes the view's mean luminance (the geometric one, which a lamp does not move) equal to `key`.
    """
    lens = _lens(camera, width, height)
    pixels = panorama.pixels.astype(np.float32)
    density = 2 * math.pi * lens.focal
    if density < 0.75 * pixels.shape[1]:  # the picture is coarser than the panorama
        side = max(8, round(density / 2))
        pixels = np.asarray(cv2.resize(pixels, (2 * side, side), interpolation=cv2.INTER_AREA), np.float32)
    across, down = _lookup(camera, lens, width=width, height=height, columns=pixels.shape[1], rows=pixels.shape[0])
    step = max(1, min(width, height) // 64)
    pixels *= key / _mean_luminance(pixels, across[::step, ::step], down[::step, ::step])
    # What is far too bright for a film is white on it, whatever its colour.
    peak = pixels.max(axis=2, keepdims=True)
    pixels += (peak - pixels) * (0.8 * np.clip((peak - 1) / (_CLIP - 1), 0, 1))
    np.clip(pixels, 0, _CLIP, out=pixels)
    # Interpolated in a compressed scale, where bright and dark are close: a cubic swings over between far values.
    pixels /= 1 + pixels
    pad = 8
    pixels = np.concatenate([pixels[:, -pad:], pixels, pixels[:, :pad]], axis=1)
    pixels = np.asarray(cv2.GaussianBlur(pixels, (3, 3), 0.5), np.float32)
    seen = cv2.remap(pixels, across + pad, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    seen = np.clip(seen, 0, _CLIP / (1 + _CLIP))
    return np.asarray(seen / (1 - seen), np.float32)


def _lens(camera: Camera, width: int, height: int) -> _Lens:
    """The field of view lies along the longer side; much longer sides see more, but not in proportion."""
    aspect = max(width, height) / min(width, height)
    angle = math.radians(camera.field_of_view) * math.sqrt(max(1.0, aspect / _PHOTO_ASPECT))
    if width >= height and angle > _MAX_FLAT:
        return _Lens(width / min(angle, _MAX_ROUND), cylindrical=True)
    return _Lens(max(width, height) / 2 / math.tan(min(angle, _MAX_TALL) / 2), cylindrical=False)


def _lookup(
    camera: Camera, lens: _Lens, *, width: int, height: int, columns: int, rows: int
) -> tuple[_Floats, _Floats]:
    """The place in the panorama that each pixel of the picture shows: column (in [-0.5, columns - 0.5)) and row."""
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / lens.focal
    up = (camera.horizon * height - np.arange(height, dtype=np.float32) - 0.5)[:, None] / lens.focal
    if lens.cylindrical:
        turn, elevation = x, np.broadcast_to(np.arctan(up), (height, width))
    else:
        turn, elevation = np.arctan(x), np.arctan2(up, np.hypot(x, np.float32(1)))
    across = (turn / (2 * math.pi) + camera.yaw / 360 + 0.5) % 1.0 * columns - 0.5
    down = (0.5 - elevation / math.pi) * rows - 0.5
    return (
        np.ascontiguousarray(np.broadcast_to(across, (height, width)), np.float32),
        np.ascontiguousarray(down, np.float32),
    )


def _mean_luminance(pixels: _Floats, across: _Floats, down: _Floats) -> float:
    """The geometric mean of the luminance at some places."""
    height, width = pixels.shape[:2]
    columns = np.clip(np.rint(across).astype(np.intp), 0, width - 1)
    rows = np.clip(np.rint(down).astype(np.intp), 0, height - 1)
    luminance = color.luminance(pixels[rows, columns])
    median = float(np.median(luminance)) or float(luminance.mean())
    # Neither black pixels nor the sun itself say anything of the exposure.
    return float(np.exp(np.log(np.clip(luminance, 1e-3 * median + 1e-6, 20 * median + 1e-6)).mean()))


def _defocused(light: _Floats, radius: float) -> _Floats:
    """Blurred as by a lens: the mean over a disc, in linear light, so that lamps become discs."""
    return np.asarray(cv2.filter2D(light, -1, disc(radius), borderType=cv2.BORDER_REFLECT), np.float32)


def tone_map(light: _Floats) -> _Floats:
    """Exposed light as the display values of a photo, in [0, 1].

    The film-like curve is that of Narkowicz (ACES Filmic Tone Mapping Curve, 2015), then sRGB's transfer curve.
    """
    curve = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
    return color.to_srgb(np.clip(curve, 0, 1).astype(np.float32, copy=False))


def _enlarged(picture: _Floats, width: int, height: int) -> RGB:
    """Enlarged smoothly to a size, in bands, with a little noise against steps in skies."""
    result = np.empty((height, width, 3), np.uint8)
    noise = np.random.default_rng(0).random((_BAND, width, 1), np.float32)  # the same for all channels and bands
    for top in range(0, height, _BAND):
        rows = slice(top, min(height, top + _BAND))
        band = enlarged(picture, result.shape, rows, how=cv2.INTER_CUBIC)
        result[rows] = np.clip(band * 255 + noise[: len(band)], 0, 255)
    return result


# --- light ------------------------------------------------------------------------------------------------------------


def light_of(panorama: Panorama, yaw: float) -> Light:
    """The light of a panorama, as a camera at `yaw` sees it.

    The colour is the irradiance on a card that faces the camera, so of what lies behind it. The direction is that of
    the brightest light above the horizon. The strength grows with the share of the light from above that comes from
    within 20 degrees of that direction.
    """
    side = 64
    small = np.asarray(
        cv2.resize(panorama.pixels.astype(np.float32), (2 * side, side), interpolation=cv2.INTER_AREA), np.float32
    )
    elevation = (0.5 - (np.arange(side) + 0.5) / side)[:, None] * math.pi
    turn = ((np.arange(2 * side) + 0.5) / (2 * side) - 0.5)[None, :] * 2 * math.pi - math.radians(yaw)
    directions = np.stack(
        [
            np.cos(elevation) * np.sin(turn),
            np.broadcast_to(np.sin(elevation), (side, 2 * side)),
            -np.cos(elevation) * np.cos(turn),
        ],
        axis=-1,
    )
    patch = np.cos(elevation)  # the solid angle of a pixel, but for a factor
    irradiance = np.einsum("ij,ijk->k", np.maximum(directions[..., 2], 0) * patch, small.astype(np.float64))
    luminance = float(color.luminance(irradiance))
    tint = irradiance / luminance if luminance > 0 else np.ones(3)
    direction, strength = _main_light(directions, color.luminance(small) * patch)
    return Light(direction=direction, color=(float(tint[0]), float(tint[1]), float(tint[2])), strength=strength)


def _main_light(
    directions: npt.NDArray[np.float64], power: npt.NDArray[np.float64]
) -> tuple[tuple[float, float, float], float]:
    """The brightest direction above the horizon, and how much it is alone."""
    above = np.where(directions[..., 1] > 0, power, 0).ravel()
    flat = directions.reshape(-1, 3)
    total = float(above.sum())
    if total <= 0:
        return (0.0, 1.0, 0.0), 0.0
    # Candidates: every sky direction of a coarser grid would do, but the brightest pixels are few and certain.
    brightest = np.argsort(above)[-256:]
    lobes = (flat[brightest] @ flat.T > math.cos(math.radians(20))) * above
    best = int(lobes.sum(axis=1).argmax())
    towards = (lobes[best][:, None] * flat).sum(axis=0)
    towards /= np.linalg.norm(towards)
    share = float(lobes[best].sum()) / total
    even = 1 - math.cos(math.radians(20))  # the share of a light that comes from everywhere above
    strength = min(1.0, max(0.0, (share - even) / (0.6 - even)))
    return (float(towards[0]), float(towards[1]), float(towards[2])), strength

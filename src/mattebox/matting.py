"""From segmentations to a cutout: fuse them, judge the alpha matte, estimate the foreground colour.

The words are the field's: an image I is composed of a foreground F and a background B, I = alpha F + (1 - alpha) B.
"""

from __future__ import annotations

import math
from typing import TypeAlias, assert_never

import cv2
import numpy as np
import numpy.typing as npt

from mattebox import extras
from mattebox.edit import Foreground
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB, Alpha, Box, row_bands

Pixels: TypeAlias = npt.NDArray[np.float32]
"""Working values in float: colours in 0..255, weights, positions."""

OPAQUE = 1 - 0.5 / 255
"""From here on an alpha is written as 255."""
CLEAR = 0.5 / 255
"""Below this an alpha is written as 0."""


def fuse(detail: Alpha, core: Alpha) -> Alpha:
    """Fill the see-through inside of a detailed segmentation with the solid core of a coarse one.

    A network of high resolution draws edges well and sometimes leaves holes inside; one of low resolution is the other
    way round. Where `core` is sure, away from its own soft border, the larger of the two alphas counts; everywhere
    else, and so at every edge, `detail` is left as it is. Where the two agree as a whole, only what is deep inside can
    be such a hole. Where `detail` has decided nothing, all of `core` counts.

    Args:
        detail: alpha with fine edges; its resolution is the result's.
        core: alpha of the same picture at any resolution.

    Returns:
        The fused alpha, what is nearly clear in it clear and what is nearly opaque opaque; zero everywhere where the
        two together see no subject (`has_subject`).
    """
    height, width = detail.shape
    core = np.asarray(cv2.resize(core, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    if not has_subject(detail, core):
        return np.zeros_like(detail)
    if _decided(_shrunk(detail, _JUDGED)) < _DECIDED:
        return _without_veil(np.maximum(detail, core))
    away = _FAR if agreement(detail, core) >= AGREED else _NEAR
    reach = max(3, round(away * max(height, width)) | 1)
    depth = cv2.distanceTransform((core > 0.7).astype(np.uint8), cv2.DIST_L2, 5)
    solid = (depth > reach // 2).astype(np.float32)
    solid = _softened(solid, reach / 6)
    return _without_veil(np.maximum(detail, solid * core))


def _softened(mask: Pixels, sigma: float) -> Pixels:
    """A Gaussian blur. A wide one is made on a smaller copy, which is cheap and at most two levels of 8 bits off."""
    height, width = mask.shape
    factor = max(1, int(sigma / 4))
    if factor > 1:  # making the copy and enlarging it blur as well
        sigma = math.sqrt(sigma**2 - (factor**2 - 1) / 12 - (factor**2 - 1) / 6) / factor
    small = cv2.resize(mask, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _without_veil(alpha: Alpha) -> Alpha:
    """Without the faint veils that networks leave on the background, and on the subject's inside."""
    alpha = np.asarray(cv2.threshold(alpha, _VEIL, 0, cv2.THRESH_TOZERO)[1], np.float32)
    return np.where(alpha >= 1 - _VEIL, np.float32(1), alpha)


_VEIL = 0.02
AGREED = 0.9
"""From this agreement on, two segmentations show the same thing and differ in its details."""
DOUBTED = 0.8
"""Below this agreement, two looks of the core are not enough."""
_NEAR, _FAR = 17 / 1024, 97 / 1024  # of the longer side: the diameter of the disc that has to fit into the core


def merge(detail: Alpha, *looks: Alpha) -> Alpha:
    """One core of several looks at a picture: what any of them saw, but where `detail` sees nothing, what two saw.

    Args:
        detail: alpha of another network, at any resolution.
        looks: the looks, two or more, of one shape.
    """
    height, width = looks[0].shape
    seen = cv2.resize(detail, (width, height), interpolation=cv2.INTER_AREA) > 0.02
    *_, second, most = np.sort(np.stack(looks), axis=0)
    return np.where(seen, most, second)


def has_subject(*alphas: Alpha) -> bool:
    """Whether segmentations of one picture show a subject rather than a net's guess at an empty scene.

    A network is the more decided the higher the mean of alpha over what it marks (sum of alpha squared over sum of
    alpha). On empty scenes networks answer with faint clouds. So it is a subject where one network at least is decided
    about it (0.5) while every other is drawn to something too (a peak of 0.2); or where one is sure (0.94), however
    blind the others are. All is judged on a small copy, so that single pixels do not count.
    """
    small = [_shrunk(alpha, _JUDGED) for alpha in alphas]
    peaks = [float(alpha.max()) for alpha in small]
    decided = max(map(_decided, small))
    return decided >= _SURE or (decided >= _DECIDED and min(peaks) >= _DRAWN)


def _decided(alpha: Alpha) -> float:
    return float(np.square(alpha).sum() / (alpha.sum() + 1e-6))


def agreement(one: Alpha, other: Alpha) -> float:
    """How far two segmentations of one picture agree, in [0, 1]: what both mark as a share of what either marks."""
    one = _shrunk(one, _JUDGED)
    other = np.asarray(cv2.resize(_shrunk(other, _JUDGED), one.shape[::-1]), np.float32)
    either = float(np.maximum(one, other).sum())
    return float(np.minimum(one, other).sum()) / either if either else 1.0


_JUDGED = 256  # the longest side of the copy
_DRAWN = 0.2
_DECIDED = 0.5
_SURE = 0.94


def _shrunk(alpha: Alpha, side: int) -> Alpha:
    height, width = alpha.shape
    size = (min(side, width), min(side, height))
    return np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.float32)


def framed_photo(alpha: Alpha) -> Box | None:
    """The box of a photo in a picture that is transparent only round it; None where `alpha` is a cutout's matte.

    A photo keeps four straight sides when it gets rounded corners, clear bars or a turn. So it reaches from one side of
    the picture to the other; it fills 97 % of the smallest rectangle round it, at any angle, apart from holes, of which
    a tenth may consist; and it looks the same upside down: all its corners are rounded alike, while a subject that
    fills the picture leaves them as they come. Anything else that is clear in part has been cut out. An alpha that is
    nowhere less than half of its most is a photo under a veil.
    """
    height, width = alpha.shape
    most = float(alpha.max())
    box = Box(*cv2.boundingRect((alpha >= CLEAR).view(np.uint8)))
    if most < CLEAR or (box.width < width - 2 and box.height < height - 2):  # turning leaves a pixel on each side
        return None
    if 2 * float(alpha.min()) >= most:
        return box
    opaque = (alpha >= _STRAIGHT * most).view(np.uint8)
    opaque = np.asarray(cv2.medianBlur(opaque, 3), np.uint8)  # without specks
    outlines, _ = cv2.findContours(opaque, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return None
    filled = np.zeros_like(opaque)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    area = cv2.countNonZero(filled)
    long, short = cv2.minAreaRect(np.concatenate(outlines))[1]
    rectangle = (long + 1) * (short + 1)  # the sides are measured between the pixels' centres
    if area < _RECTANGLE * rectangle or cv2.countNonZero(opaque) < _HOLED * area:
        return None
    left, top, wide, high = cv2.boundingRect(filled)
    filled = filled[top : top + high, left : left + wide]
    if 2 * wide < box.width or 2 * high < box.height:  # a spot in a haze
        return None
    uneven = np.count_nonzero(filled != filled[::-1, ::-1])
    return box if uneven <= 0.05 * (filled.size - area) + 8 else None


_STRAIGHT = 0.95  # of the most opaque, from here on a pixel is the photo's; a matte's rim is softer
_RECTANGLE = 0.97
_HOLED = 0.9


def stretch_alpha(photo: RGB, rough: Alpha) -> Alpha:
    """`rough` at the photo's size and nothing more: averaged when it shrinks, linear when it grows."""
    height, width = photo.shape[:2]
    method = cv2.INTER_AREA if width * height < rough.size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rough, (width, height), interpolation=method), np.float32)


def find_subject(alpha: Alpha) -> Box | None:
    """The smallest box round everything at least half as opaque as the most opaque pixel; None where all is clear.

    Half, because a faint haze far from the subject should not decide how a picture is cropped.
    """
    most = float(alpha.max())
    if most < CLEAR:
        return None
    return Box(*cv2.boundingRect((alpha >= most / 2).view(np.uint8)))


def ambiguity(alpha: Alpha) -> float:
    """The fraction of the picture whose alpha is between 0.1 and 0.9: where the matte is neither one nor the other."""
    return float(cv2.countNonZero(cv2.inRange(alpha, 0.1, 0.9)) / alpha.size)


def support(fused: Alpha, detail: Alpha, core: Alpha) -> float:
    """How far the segmentations that were fused bear out the result, in [0, 1].

    It is the result's agreement with the one that it resembles more. Where the two agree by less than a half, nobody
    knows which of them is wrong, and it falls with that, to 0 where one sees nothing.
    """
    nearest = max(agreement(fused, detail), agreement(fused, core))
    return nearest * min(1.0, 2 * agreement(detail, core))


def decision(alpha: Alpha) -> float:
    """How decided a matte is, in [0, 1]: 1 where every pixel is fully in or out, 0 where there is no subject.

    It is the mean of |2 alpha - 1|, each pixel weighing its alpha.
    """
    sample = alpha[::4, ::4] if alpha.size > 1_000_000 else alpha  # plenty for a mean
    weight = float(sample.sum(dtype=np.float64))
    if weight == 0:
        return 0.0
    return float(np.sum(sample * np.abs(2 * sample - 1), dtype=np.float64)) / weight


def confidence(alpha: Alpha, support: float) -> float:
    """How likely it is that a matte is a good one, with an intersection over union of more than 0.9.

    It grows with `decision(alpha) * support`. The curve is fitted to mattes of the default model on photos with true
    mattes (docs/models.md). Those of other models are ranked by it; how good they are at which value was not measured.

    Args:
        alpha: the matte.
        support: what the segmentation says of itself.

    Returns:
        A probability; 0 where there is no subject.
    """
    raw = decision(alpha) * support
    return 1 / (1 + math.exp(_OFFSET - _SLOPE * raw**4)) if raw else 0.0


_OFFSET, _SLOPE = 4.26, 7.74


def make_solid(alpha: Alpha) -> Alpha:
    """The same outline, with nothing half transparent inside: for a car's windows, or glass.

    A part that is enclosed by the subject becomes opaque, unless it is a real hole: 5 % of it or more are clear, as
    between an arm and a body. A half-transparent part that reaches the outline becomes opaque from 2 % of the subject's
    size inwards, so that soft outlines of up to that width stay as they are.

    Returns:
        Alpha of the same shape, nowhere below `alpha`.
    """
    height, width = alpha.shape
    bands = list(row_bands(height, width))
    _, labels, stats, _ = cv2.connectedComponentsWithStats((alpha < _SOLID).view(np.uint8), connectivity=4)
    clear = np.zeros(len(stats), np.int64)
    for rows in bands:
        clear += np.bincount(labels[rows][alpha[rows] < _SEE_THROUGH], minlength=len(stats))
    left, top, wide, high, area = stats.T
    enclosed = (clear < _HOLE * area) & (left > 0) & (top > 0) & (left + wide < width) & (top + high < height)
    enclosed[0] = False  # the solid parts themselves

    inside = alpha >= _OUTLINE
    depth = cv2.distanceTransform(inside.view(np.uint8), cv2.DIST_L2, 5)
    reach = np.float32(max(2.0, 0.02 * np.sqrt(np.count_nonzero(inside))))
    result = np.empty_like(alpha)
    for rows in bands:
        # Rises between half the reach and all of it.
        sure = np.clip(2 * np.minimum(depth[rows], reach) / reach - 1, 0, 1)
        sure[enclosed[labels[rows]]] = 1
        result[rows] = np.maximum(alpha[rows], sure)
    return result


_SOLID = 0.9  # from here on a pixel encloses what is half transparent
_OUTLINE = 0.3  # and from here on it is the subject's and not a haze round it
_SEE_THROUGH = 0.05
_HOLE = 0.05  # the share of clear pixels that makes a hole


def estimate_foreground(photo: RGB, alpha: Alpha, method: Foreground = Foreground.FAST) -> RGB:
    """The subject's own colours: the background's share is taken out of the half-transparent edge.

    Returns:
        RGB of the photo's shape; equal to the photo where alpha is 1, zero where alpha is 0.

    Raises:
        MatteboxError: UNAVAILABLE, when the multi-level method's package is not installed.
    """
    foreground = np.asarray(cv2.copyTo(photo, (alpha >= CLEAR).view(np.uint8)), np.uint8)
    match method:
        case Foreground.KEEP:
            pass
        case Foreground.FAST:
            _blur_fusion(photo, alpha, foreground)
        case Foreground.MULTILEVEL:
            _multilevel(photo, alpha, foreground)
        case _:
            assert_never(method)
    return foreground


def clear_hidden(rgb: RGB, alpha: Alpha) -> None:
    """Set `rgb` to zero, in place, where `alpha` is written as 0."""
    for rows in row_bands(*alpha.shape):
        rgb[rows] = cv2.copyTo(rgb[rows], (alpha[rows] >= CLEAR).view(np.uint8))


_SURROUNDINGS = 128
_WORKING_SIDE = 512
_REACHES = (30, 8, 2)
_PRIOR = np.float32(0.1)


def _blur_fusion(photo: RGB, alpha: Alpha, result: RGB) -> None:
    """Blur fusion, after Forte, "Approximate Fast Foreground Colour Estimation" (ICIP 2021), only where it matters.

    Blurred colours are smooth, so they are found on a small copy, in three passes of shrinking reach. At full
    resolution only the pixels of fractional alpha are solved for. Two things differ from the paper. Weights are cubed,
    because a hair of alpha 0.3 shows mostly background and says little about F. And the residual of the compositing
    equation is shared between F and B by least squares (as in Germer et al. 2020), instead of F taking alpha of it.
    """
    height, width = alpha.shape
    # Every so-manieth pixel, not averages: single pixels obey the compositing equation, averages of them do not.
    step = max(1, round(max(height, width) / _WORKING_SIDE))
    small, matte = _planes(photo[::step, ::step]), np.ascontiguousarray(alpha[::step, ::step])
    foreground = background = smooth_foreground = smooth_background = small
    for reach in _REACHES:
        smooth_foreground = _weighted_blur(foreground, matte**3, reach)
        smooth_background = _weighted_blur(background, (1 - matte) ** 3, reach)
        residual = _residual(small, matte, smooth_foreground, smooth_background)
        foreground = np.clip(smooth_foreground + matte * residual, 0, 255)
        background = np.clip(smooth_background + (1 - matte) * residual, 0, 255)
    smooth_foreground, smooth_background = (
        np.asarray(cv2.merge(tuple(each)), np.float32) for each in (smooth_foreground, smooth_background)
    )

    for rows in row_bands(height, width):
        fractional = cv2.inRange(alpha[rows], CLEAR, OPAQUE)
        if not cv2.countNonZero(fractional):
            continue
        column, row = np.ascontiguousarray(cv2.findNonZero(fractional)[:, 0].T)
        edge = (row * width + column).astype(np.intp)
        x = column.astype(np.float32) / step
        y = (row.astype(np.float32) + rows.start) / step
        share = np.take(alpha[rows], edge)
        solved = _sample(smooth_foreground, x, y)
        pixels = _planes(np.take(photo[rows].reshape(-1, 3), edge, axis=0))
        residual = _residual(pixels, share, solved, _sample(smooth_background, x, y))
        residual *= share
        solved += residual
        np.clip(solved, 0, 255, out=solved)
        solved += np.float32(0.5)
        pixel = np.dtype("V3")  # three bytes at once are put in place twice as fast as one by one
        result[rows].view(pixel).reshape(-1)[edge] = cv2.merge(tuple(solved.astype(np.uint8))).view(pixel).reshape(-1)


def _planes(colours: npt.NDArray[np.number]) -> Pixels:
    """The channels apart, as float32: sums over whole planes are several times as fast as over three numbers each."""
    return np.ascontiguousarray(np.moveaxis(colours, -1, 0), np.float32)


def _weighted_blur(colour: Pixels, weight: Pixels, reach: int) -> Pixels:
    """The weighted mean of planes of colour over squares that reach so many pixels to each side."""
    square = (2 * reach + 1, 2 * reach + 1)
    total = np.asarray(cv2.blur(weight, square), np.float32) + np.float32(1e-6)
    return np.stack([np.asarray(cv2.blur(plane * weight, square), np.float32) / total for plane in colour])


def _residual(image: Pixels, alpha: Pixels, foreground: Pixels, background: Pixels) -> Pixels:
    """The rest of the image that F and B do not explain, regularised; by least squares alpha of it belongs to F."""
    rest = 1 - alpha
    residual = image - alpha * foreground
    residual -= rest * background
    residual /= _PRIOR + alpha * alpha + rest * rest
    return residual


def _sample(small: Pixels, x: Pixels, y: Pixels) -> Pixels:
    """Colours of `small` (height, width, 3) at n fractional positions, as planes: shape (3, n)."""
    columns = 1024  # remap wants a picture, and none of its sides may pass 32767
    padding = -x.size % columns
    x, y = (np.pad(each, (0, padding)).reshape(-1, columns) for each in (x, y))
    colours = cv2.remap(small, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.stack([plane.reshape(-1)[: plane.size - padding] for plane in cv2.split(colours)])


def _multilevel(photo: RGB, alpha: Alpha, result: RGB) -> None:
    """Germer et al., "Fast Multi-Level Foreground Estimation" (ICPR 2020), as PyMatting has it."""
    with extras.needs("multilevel", "Multi-level foreground estimation", parameter="foreground"):
        try:
            from pymatting.foreground.estimate_foreground_ml import estimate_foreground_ml
        except RuntimeError as error:  # Numba's
            message = "Multi-level foreground estimation needs a folder to be compiled into. Set NUMBA_CACHE_DIR."
            raise MatteboxError(Kind.UNAVAILABLE, message) from error
    left, top, width, height = cv2.boundingRect(cv2.inRange(alpha, CLEAR, OPAQUE))
    if not width or photo.size == 3:  # no edge, or a single pixel, which has no neighbours to learn from
        return
    # Only the part of the picture that has an edge, with some of what surrounds it.
    part = _grown(Box(left, top, width, height), _SURROUNDINGS, alpha.shape[1], alpha.shape[0])
    estimate = estimate_foreground_ml(photo[part.slices].astype(np.float32) / 255, alpha[part.slices])
    edge = cv2.inRange(alpha[part.slices], CLEAR, OPAQUE) > 0
    result[part.slices][edge] = np.clip(estimate * 255 + 0.5, 0, 255)[edge]


def _grown(box: Box, by: int, width: int, height: int) -> Box:
    left, top = max(0, box.left - by), max(0, box.top - by)
    return Box(left, top, min(width, box.right + by) - left, min(height, box.bottom + by) - top)

"""Make the table with which a network's convolutions are computed in 8 bits (`mattebox.models.int8`).

    python tools/int8_scales.py isnet-general TABLE.npz --subjects PICTURE... --backgrounds PICTURE... --exact PATTERN

It looks at free pictures only: each of the subjects as it is and, cropped, mirrored, lighter, darker and in other
colours; drawn scenes; subjects, cut out by the network itself, and drawn figures before the backgrounds. They are the
same each time. No picture with a true matte is needed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import openvino
from openvino import opset13

from mattebox.image import RGB, Alpha
from mattebox.models import families, int8
from mattebox.models.catalogue import CATALOGUE, Variant
from mattebox.models.weights import default_directory, locate
from mattebox.testing import make_scene

Floats: TypeAlias = npt.NDArray[np.float64]

DRAWN, COMPOSED, LOOKS = 14, 34, 2
SAMPLES = 32
"""Pixels a side at which a tensor is sampled."""
LOUD = 5
"""Of a channel's 1024 samples, those that do not count: a few pixels are a thousand times as large as the rest."""
PICTURES = 0.9
"""The share of pictures whose loudest value is not above a channel's range. Clipping a little costs less than steps
that are too large: with the largest value of any picture, the alpha differs ten times as much."""
ROOM = 2.0
FLOOR = 1 / 16
"""The least that a channel's range, or its weights, count for against the largest: smoothing further is worse."""


def read(file: Path) -> RGB:
    """A picture; of one with high dynamic range what a camera would show."""
    pixels = cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if pixels is None:
        raise SystemExit(f"{file} is no picture")
    colours = np.asarray(pixels)[..., ::-1]
    if colours.dtype != np.uint8:
        colours = np.clip(colours / np.percentile(colours, 90), 0, 1) ** (1 / 2.2) * 255
    return np.ascontiguousarray(colours.astype(np.uint8))


def crop(photo: RGB, random: np.random.Generator, least: float = 0.55) -> RGB:
    """A part of a photo with at least that share of each side."""
    sides = [int(side * random.uniform(least, 1)) for side in photo.shape[:2]]
    top, left = (int(random.integers(0, all_ - part + 1)) for all_, part in zip(photo.shape[:2], sides, strict=True))
    return photo[top : top + sides[0], left : left + sides[1]]


def recolour(photo: RGB, random: np.random.Generator) -> RGB:
    """Another exposure, contrast, white balance and saturation."""
    light = (photo / 255) ** np.exp(random.normal(0, 0.35)) * np.exp(random.normal(0, 0.2))
    light = light * np.exp(random.normal(0, 0.12, 3))
    grey = light.mean(axis=-1, keepdims=True)
    return np.asarray(np.clip(grey + (light - grey) * random.uniform(0.3, 1.5), 0, 1) * 255, np.uint8)


def compose(subject: RGB, alpha: Alpha, background: RGB, random: np.random.Generator) -> RGB:
    """A subject somewhere before a background, at any size, perhaps mirrored, blurred behind or grainy."""
    side = 1024
    behind = recolour(np.asarray(cv2.resize(background, (side, side)), np.uint8), random)
    if random.random() < 0.4:
        behind = np.asarray(cv2.GaussianBlur(behind, (0, 0), random.uniform(2, 10)), np.uint8)
    height, width = alpha.shape
    factor = side * random.uniform(0.45, 1.15) / max(height, width)
    across = factor * (1 if random.random() < 0.5 else -1)
    left, top = (side - (width - 1) * across) / 2, (side - (height - 1) * factor) / 2
    matrix = np.array(
        [[across, 0, left + random.normal(0, 90)], [0, factor, top + random.normal(0, 90)]], dtype=np.float32
    )
    front = cv2.warpAffine(subject, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpAffine(alpha, matrix, (side, side))[..., None]
    photo = recolour(np.asarray(front, np.uint8), random) * cover + behind * (1 - cover)
    grain = random.normal(0, 8, photo.shape) if random.random() < 0.3 else 0
    return np.asarray(np.clip(photo + grain, 0, 255), np.uint8)


def pictures(subjects: Sequence[RGB], backgrounds: Sequence[RGB], cut: Callable[[RGB], Alpha]) -> Iterator[RGB]:
    """All pictures that the table is made from."""
    random = np.random.default_rng(1)
    yield from subjects
    for photo in (photo for _ in range(LOOKS) for photo in subjects):
        part = crop(photo, random)
        yield recolour(part[:, ::-1] if random.random() < 0.5 else part, random)
    for seed in range(DRAWN):
        width, height = random.integers(500, 1600, 2).tolist()
        yield make_scene(width=width, height=height, seed=100 + seed).photo
    alphas = [(photo, np.asarray(cv2.resize(cut(photo), photo.shape[1::-1]), np.float32)) for photo in subjects]
    cutouts = [(photo, alpha) for photo, alpha in alphas if 0.03 < alpha.mean() < 0.9]
    for number in range(COMPOSED):
        scene = make_scene(width=900, height=900, seed=300 + number)
        front = (scene.foreground, scene.alpha) if number % 3 == 2 else cutouts[number % len(cutouts)]
        background = backgrounds[number % len(backgrounds)]
        height, width = background.shape[:2]
        if width >= 2 * height:  # a panorama: what is near its horizon, undistorted enough
            left = int(random.integers(0, width - height // 2))
            background = background[height // 4 : height * 3 // 4, left : left + height // 2]
        yield compose(*front, crop(background, random, 0.5), random)


def ranges(network: Any, batches: Iterator[families.Batch]) -> dict[str, Floats]:
    """How loud each channel of each tensor gets, by the tensor's name.

    Only of those that are never below zero, as they are behind ReLU. What reads the others stays in float32; in IS-Net
    these are the first two convolutions, and the second would make a quarter of the error.
    """
    tensors = {
        name: output for node in int8.convolutions(network) for name, output in int8.sources(node.input_value(0))
    }
    results = []
    for output in tensors.values():
        side = output.get_shape()[2]
        step = max(1, side // SAMPLES)
        edges = ([step // 2] * 2, [side] * 2, [step] * 2, [2, 3])
        results.append(opset13.result(opset13.slice(output, *(opset13.constant(np.array(each)) for each in edges))))
    compiled = openvino.Core().compile_model(
        openvino.Model(results, network.get_parameters()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    loudest: dict[str, list[Floats]] = {name: [] for name in tensors}
    negative: set[str] = set()
    for number, batch in enumerate(batches, 1):
        for name, sampled in zip(tensors, compiled(batch).values(), strict=True):
            values = sampled[0].reshape(sampled.shape[1], -1)
            if values.min() < 0:
                negative.add(name)
            quiet = values.shape[1] - 1 - LOUD * values.shape[1] // SAMPLES**2
            loudest[name].append(np.partition(values, quiet, axis=1)[:, quiet].astype(np.float64))
        print(f"picture {number}", end="\r", flush=True)
    return {name: np.quantile(each, PICTURES, axis=0) * ROOM for name, each in loudest.items() if name not in negative}


def smooth(network: Any, loud: dict[str, Floats]) -> dict[str, npt.NDArray[np.float32]]:
    """Scales that leave loud channels and large weights equally hard to round (as SmoothQuant, Xiao et al. 2022).

    Tensors that are read together share one step, so they are scaled together.
    """
    large: dict[str, Floats] = {name: np.zeros(len(each)) for name, each in loud.items()}
    together: dict[str, set[str]] = {name: {name} for name in loud}
    for node in int8.convolutions(network):
        names = [name for name, _ in int8.sources(node.input_value(0))]
        if not all(name in loud for name in names):
            continue
        share = np.abs(int8.weights(node)).astype(np.float64)
        share = (share / share.max(axis=(1, 2, 3), keepdims=True).clip(1e-12)).max(axis=(0, 2, 3))
        for name, part in zip(names, np.split(share, np.cumsum([len(loud[name]) for name in names])[:-1]), strict=True):
            large[name] = np.maximum(large[name], part)
        joined = set[str]().union(*(together[name] for name in names))
        together |= dict.fromkeys(joined, joined)
    scales = {}
    for name in loud:
        group = sorted(together[name], key=list(loud).index)
        loudest, largest = (max(each[member].max() for member in group) for each in (loud, large))
        shape = {
            member: np.sqrt((loud[member] / loudest).clip(FLOOR) / (large[member] / largest).clip(FLOOR))
            for member in group
        }
        step = max((loud[member] / shape[member]).max() for member in group)
        scales[name] = (shape[name] * step).astype(np.float32)
    return scales


def main() -> None:
    """Make the table that the command line asks for."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("network")
    arguments.add_argument("table", type=Path)
    arguments.add_argument("--subjects", type=Path, nargs="+", required=True)
    arguments.add_argument("--backgrounds", type=Path, nargs="+", required=True)
    arguments.add_argument("--exact", default="(?!)", help="regular expression of tensors to leave in float32")
    asked = arguments.parse_args()
    row = CATALOGUE[asked.network]
    if not isinstance(row, Variant):
        arguments.error("that is not one network")
    model = openvino.Core().read_model(locate(row, default_directory()))
    network = openvino.Model([model.get_results()[0]], model.get_parameters())
    compiled = openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def prepared(photo: RGB) -> families.Batch:
        return families.prepare(photo, row, (row.size, row.size))

    def cut(photo: RGB) -> Alpha:
        return families.read_alpha(compiled(prepared(photo))[0][0, 0].copy(), row)

    photos = pictures([read(file) for file in asked.subjects], [read(file) for file in asked.backgrounds], cut)
    loud = ranges(network, (prepared(photo) for photo in photos))
    scales = smooth(network, loud)
    asked.table.write_bytes(int8.write({name: scales[name] for name in scales if not re.match(asked.exact, name)}))
    print(f"\n{asked.table}: {asked.table.stat().st_size} bytes")


if __name__ == "__main__":
    main()

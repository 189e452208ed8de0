"""Shadows, places on a canvas, drawn studios, panoramas, and subjects in all of them."""

from __future__ import annotations

import io
from itertools import product

import cv2
import numpy as np
import PIL.Image
import pytest
from tests.golden.comparison import compare

from mattebox import codec, compositing, shadows
from mattebox.backdrops import composite
from mattebox.backdrops.plate import Plate
from mattebox.backdrops.scenes import panorama
from mattebox.backdrops.scenes.panorama import Camera, Panorama
from mattebox.backdrops.studio import studio
from mattebox.edit import Canvas, Color, Edit, Layout, Output, Shadow, ShadowKind
from mattebox.engine import Engine
from mattebox.image import RGB, Box, Image, Served
from mattebox.testing import FakeModels, make_scene

WIDTH, HEIGHT = 192, 144
CAMERA = Camera(yaw=20, pitch=-8, field_of_view=65)
INDOORS = [kind.name for kind in studio.KINDS]


def picture(rgb: RGB) -> PIL.Image.Image:
    return PIL.Image.fromarray(rgb)


# --- what is drawn for the tests --------------------------------------------------------------------------------------


def drawn(shapes: list[tuple[tuple[int, int, int], list[tuple[float, float]]]], width: int, height: int) -> Image:
    """A cutout of polygons in canvas pixels, later ones over earlier ones, with soft edges."""
    fine = 8
    rgb = np.zeros((height * fine, width * fine, 3), np.uint8)
    alpha = np.zeros((height * fine, width * fine), np.uint8)
    for color, corners in shapes:
        points = np.round(np.array(corners) * fine).astype(np.int32)
        cv2.fillPoly(rgb, [points], color)
        cv2.fillPoly(alpha, [points], (255,))
    size = (width, height)
    # Colours are averaged over the shapes only, so that no black comes into the edge.
    weight = np.asarray(cv2.resize(alpha.astype(np.float32) / 255, size, interpolation=cv2.INTER_AREA), np.float32)
    light = np.asarray(cv2.resize(rgb.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
    straight = np.clip(light / np.maximum(weight, 1e-3)[..., None], 0, 255).astype(np.uint8)
    return Image(rgb=straight, alpha=weight)


def ring(x: float, y: float, rx: float, ry: float) -> list[tuple[float, float]]:
    return [(x + rx * float(np.cos(t)), y + ry * float(np.sin(t))) for t in np.linspace(0, 2 * np.pi, 40)]


def walker(x: float, feet: float, size: float) -> tuple[Image, Box]:
    """Somebody on two legs, `size` pixels tall, and the box round them."""
    u = size / 100
    top = feet - size
    legs = [
        [(x - 13 * u, feet), (x - 5 * u, top + 55 * u), (x + 2 * u, top + 55 * u), (x - 8 * u, feet)],
        [(x + 9 * u, feet), (x - 1 * u, top + 55 * u), (x + 7 * u, top + 55 * u), (x + 14 * u, feet)],
    ]
    trunk = [
        (x - 12 * u, top + 24 * u),
        (x + 12 * u, top + 24 * u),
        (x + 8 * u, top + 60 * u),
        (x - 8 * u, top + 60 * u),
    ]
    image = drawn(
        [
            ((52, 62, 92), legs[0]),
            ((52, 62, 92), legs[1]),
            ((176, 62, 48), trunk),
            ((214, 170, 140), ring(x, top + 11 * u, 9 * u, 11 * u)),
        ],
        WIDTH,
        HEIGHT,
    )
    return image, boxed(image)


def mug(x: float, base: float, size: float) -> tuple[Image, Box]:
    """A mug that was photographed standing, `size` pixels tall."""
    u = size / 100
    wall = [
        (x - 38 * u, base - 96 * u),
        (x + 38 * u, base - 96 * u),
        (x + 34 * u, base - 6 * u),
        (x - 34 * u, base - 6 * u),
    ]
    image = drawn(
        [
            ((40, 120, 130), ring(x + 46 * u, base - 52 * u, 22 * u, 26 * u)),
            ((48, 138, 148), wall),
            ((48, 138, 148), ring(x, base - 8 * u, 34 * u, 8 * u)),
            ((28, 88, 96), ring(x, base - 94 * u, 38 * u, 6 * u)),
        ],
        WIDTH,
        HEIGHT,
    )
    return image, boxed(image)


def boxed(image: Image) -> Box:
    assert image.alpha is not None
    left, top, width, height = cv2.boundingRect((image.alpha > 0.5).astype(np.uint8))
    return Box(left, top, width, height)


def everywhere() -> Panorama:
    """A tiled square with white pillars around it, under a blue sky with a low sun on the left."""
    rows, columns = 256, 512
    elevation = (0.5 - (np.arange(rows) + 0.5) / rows)[:, None] * np.pi
    turn = ((np.arange(columns) + 0.5) / columns - 0.5)[None] * 2 * np.pi
    sky = np.stack([0.25 + 0.5 * np.exp(-3 * elevation), 0.4 + 0.4 * np.exp(-3 * elevation), 0.9 + 0 * elevation], -1)
    light = np.broadcast_to(sky, (rows, columns, 3)).copy()
    away = np.arccos(np.clip(np.sin(elevation) * 0.34 + np.cos(elevation) * 0.94 * np.cos(turn + 0.8), -1, 1))
    light += 60 * np.exp(-((away / 0.05) ** 2))[..., None] * np.array([1.0, 0.85, 0.6])
    # The eye is at a height of 1; tiles are as large.
    distance = 1 / np.tan(np.maximum(-elevation, 1e-3))
    tile = (np.floor(distance * np.sin(turn)) + np.floor(distance * np.cos(turn))) % 2
    ground = (0.16 + 0.22 * tile)[..., None] * np.array([1.0, 0.92, 0.8])
    haze = np.clip(distance / 25, 0, 1)[..., None]
    light = np.where((elevation < 0)[..., None], ground * (1 - haze) + 0.6 * haze, light)
    pillar = (np.abs((turn / (np.pi / 8)) % 1 - 0.5) < 0.12) & (elevation > -0.16) & (elevation < 0.55)
    light[pillar] = (0.8, 0.78, 0.72)
    return Panorama(light.astype(np.float16))


def place() -> Plate:
    seen = everywhere()
    return Plate(
        rgb=panorama.view(seen, CAMERA, width=WIDTH, height=HEIGHT),
        horizon=CAMERA.horizon,
        light=panorama.light_of(seen, CAMERA.yaw),
        depth_of_field=True,
        served=Served(backend="test"),
    )


# --- the pictures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(ShadowKind))
def test_shadows(kind: ShadowKind, regenerate: bool) -> None:
    cutout, _ = walker(96, 124, 104)
    shown = compositing.over(shadows.cast(cutout, Shadow(kind=kind, opacity=0.6)), Color(236, 232, 224))
    compare(f"shadow-{kind}", picture(shown.rgb), regenerate=regenerate, tolerance=0.1, worst=2)


def test_nine_places_on_a_canvas(regenerate: bool) -> None:
    photo = codec.encode(Image(rgb=make_scene(width=240, height=180, seed=7).photo), Output())
    sheet = PIL.Image.new("RGB", (3 * 64, 3 * 48))
    for row, column in product(range(3), range(3)):
        layout = Layout(scale=0.5, position=(column / 2, row / 2), canvas=Canvas(width=64, height=48))
        shade = 180 + 30 * ((row + column) % 2)
        made = Engine(FakeModels()).run_file(Edit(backdrop=Color(shade, shade, 240), layout=layout), photo)
        sheet.paste(PIL.Image.open(io.BytesIO(made.data)), (64 * column, 48 * row))
    compare("positions", sheet, regenerate=regenerate, tolerance=0.1, worst=2)


@pytest.mark.parametrize("kind", INDOORS)
def test_studios(kind: str, regenerate: bool) -> None:
    plate = studio.draw(kind, width=WIDTH, height=HEIGHT, seed=1)
    compare(f"studio-{kind}", picture(plate.rgb), regenerate=regenerate, tolerance=0.1, worst=2)


def test_a_studio_in_a_colour(regenerate: bool) -> None:
    plate = studio.draw("sweep", width=WIDTH, height=HEIGHT, seed=1, color=Color(232, 164, 178))
    compare("studio-sweep-pink", picture(plate.rgb), regenerate=regenerate, tolerance=0.1, worst=2)


@pytest.mark.parametrize(("shape", "size"), [("photo", (192, 144)), ("tall", (96, 192)), ("wide", (192, 48))])
def test_a_panorama(shape: str, size: tuple[int, int], regenerate: bool) -> None:
    rgb = panorama.view(everywhere(), CAMERA, width=size[0], height=size[1])
    compare(f"panorama-{shape}", picture(rgb), regenerate=regenerate, tolerance=0.1, worst=2)


def test_somebody_stands_in_a_place(regenerate: bool) -> None:
    cutout, box = walker(110, 100, 84)
    made = composite.stage(cutout, box, place())
    compare("scene-standing", picture(made.rgb), regenerate=regenerate, tolerance=0.1, worst=2)


def test_somebody_whom_the_frame_cuts_stays(regenerate: bool) -> None:
    cutout, box = walker(90, 230, 200)
    assert box.bottom == HEIGHT
    made = composite.stage(cutout, box, place())
    compare("scene-cropped", picture(made.rgb), regenerate=regenerate, tolerance=0.1, worst=2)


@pytest.mark.parametrize("kind", ["wood", "table_room"])
def test_a_thing_on_a_table(kind: str, regenerate: bool) -> None:
    cutout, box = mug(92, 110, 62)
    made = composite.stage(cutout, box, studio.draw(kind, width=WIDTH, height=HEIGHT, seed=1))
    compare(f"scene-on-{kind}", picture(made.rgb), regenerate=regenerate, tolerance=0.1, worst=2)


def test_a_thing_on_a_table_in_a_place(regenerate: bool) -> None:
    cutout, box = mug(92, 110, 62)
    camera = Camera.with_horizon(studio.TABLE_HORIZON, yaw=CAMERA.yaw)
    assert camera.horizon == pytest.approx(studio.TABLE_HORIZON)
    room = panorama.view(everywhere(), camera, width=WIDTH, height=HEIGHT)
    plate = studio.draw("marble", width=WIDTH, height=HEIGHT, seed=1, room=room)
    made = composite.stage(cutout, box, plate)
    compare("scene-on-marble-in-a-place", picture(made.rgb), regenerate=regenerate, tolerance=0.1, worst=2)

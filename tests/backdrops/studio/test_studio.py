from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mattebox.backdrops.plate import Plate
from mattebox.backdrops.studio import studio
from mattebox.backdrops.studio.noise import Mosaic
from mattebox.edit import Color
from mattebox.errors import Kind, MatteboxError
from mattebox.image import RGB

NAMES = [kind.name for kind in studio.KINDS]
GROUNDED = ["wood", "stone", "marble", "concrete", "brick", "table_room"]
WITHOUT_COLOR = ["table_room"]
MOSAIC = Mosaic(np.random.default_rng(1), np.array([0.2, 0.8, 1.4], np.float32), np.array([0, 0, 1.2], np.float32))


def draw(kind: str, *, size: tuple[int, int] = (160, 160), seed: int = 1, color: Color | None = None) -> Plate:
    return studio.draw(kind, width=size[0], height=size[1], seed=seed, color=color)


@pytest.mark.parametrize("kind", NAMES)
def test_same_seed_same_picture_and_other_seed_another(kind: str) -> None:
    first, again, other = draw(kind), draw(kind), draw(kind, seed=2)

    assert np.array_equal(first.rgb, again.rgb)
    assert first.light == again.light
    assert np.abs(first.rgb.astype(int) - other.rgb.astype(int)).mean() > 1


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 400), (900, 40), (257, 129)])
@pytest.mark.parametrize("kind", NAMES)
def test_any_size(kind: str, size: tuple[int, int]) -> None:
    plate = draw(kind, size=size)

    assert plate.rgb.shape == (size[1], size[0], 3)
    assert plate.rgb.dtype == np.uint8


@pytest.mark.parametrize("kind", NAMES)
def test_what_it_says_of_itself(kind: str) -> None:
    plate = draw(kind, seed=5)

    assert plate.served.backend == "studio"
    assert plate.served.scene == kind
    assert not plate.finished
    assert np.linalg.norm(plate.light.direction) == pytest.approx(1)
    assert plate.light.direction[1] > 0
    assert np.dot(plate.light.color, (0.2126, 0.7152, 0.0722)) == pytest.approx(1)
    assert 0 <= plate.light.strength <= 1


def test_only_what_has_a_ground_has_a_horizon() -> None:
    assert {kind for kind in NAMES if draw(kind).horizon is None} == {"gradient", "bokeh"}


@pytest.mark.parametrize("color", [(204, 40, 60), (30, 90, 160), (240, 200, 60), (128, 128, 128)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_sweep_has_the_colour_asked_for(color: tuple[int, int, int], seed: int) -> None:
    rgb = draw("sweep", seed=seed, color=Color(*color)).rgb

    wall = rgb[16:60, 60:100].mean(axis=(0, 1))
    assert np.abs(wall - color).max() < 8


@pytest.mark.parametrize("seed", range(4))
def test_white_paper_is_white_above_and_shaded_on_the_floor(seed: int) -> None:
    rgb = draw("sweep", size=(320, 320), seed=seed, color=Color(255, 255, 255)).rgb.astype(float)

    assert rgb[:96].mean(axis=2).reshape(-1).min() >= 244
    assert 205 < rgb[-60:].mean() < rgb[:96].mean() - 10
    # No corner: from one row to the next nothing changes but a little.
    rows = rgb.mean(axis=(1, 2))
    assert np.abs(np.diff(rows)).max() < 1.2


def test_black_paper_is_dark_and_not_dead() -> None:
    rgb = draw("sweep", color=Color(0, 0, 0)).rgb

    assert rgb.mean() < 40
    assert rgb[:40].mean() > 2


@pytest.mark.parametrize("kind", [name for name in NAMES if name not in WITHOUT_COLOR])
def test_a_colour_shows(kind: str) -> None:
    red = draw(kind, color=Color(200, 30, 30)).rgb[: 160 * 6 // 10].mean(axis=(0, 1))
    blue = draw(kind, color=Color(30, 30, 200)).rgb[: 160 * 6 // 10].mean(axis=(0, 1))

    assert red[0] > red[2] + 5
    assert blue[2] > blue[0] + 5


@pytest.mark.parametrize("kind", ["sweep", "gradient", "spotlight"])
def test_no_banding(kind: str) -> None:
    # In a gradient without grain neighbouring rows are equal for a long way and then step; grain hides every step,
    # and its mean over a row follows the gradient by far less than a level.
    rgb = draw(kind, size=(512, 2048), seed=3, color=Color(120, 130, 150)).rgb.astype(float)
    means = rgb.mean(axis=(1, 2))

    assert len(np.unique(np.round(means[:1200], 2))) > 100
    assert all(rgb[row].std() > 0.5 for row in range(0, 2048, 97))
    assert np.abs(np.diff(means)).max() < 0.6


@pytest.mark.parametrize("kind", NAMES)
def test_grain_is_what_the_plate_says(kind: str) -> None:
    plate = draw(kind, size=(700, 700), seed=1, color=None if kind == "table_room" else Color(120, 120, 120))
    # Differences between neighbours in a smooth part: the wall above tables, the middle of papers.
    part = plate.rgb[40:90, 200:500].astype(float)
    second = part[:, :-2] - 2 * part[:, 1:-1] + part[:, 2:]
    measured = np.median([np.sqrt(np.mean(row**2) / 6) for row in second])

    if kind not in {"brick", "concrete"}:
        assert plate.grain * 0.85 < measured < plate.grain * 1.6 + 0.3
    assert plate.grain > 0.7


@pytest.mark.parametrize("seed", [2, 4, 5])
def test_seams_of_a_table_meet_at_its_horizon(seed: int) -> None:
    found = []
    for kind in ("wood", "table_room"):
        plate = draw(kind, size=(512, 512), seed=seed)
        assert plate.horizon is not None
        grey = plate.rgb.astype(np.float64).mean(axis=2)
        if _runs_away(grey):
            found.append(_meeting_row(grey) - plate.horizon)

    assert all(abs(error) < 0.03 for error in found)


def test_some_tables_run_away_from_the_viewer() -> None:
    assert any(_runs_away(draw("wood", size=(512, 512), seed=s).rgb.astype(float).mean(axis=2)) for s in (2, 4, 5))


def _runs_away(grey: npt.NDArray[np.float64]) -> bool:
    table = grey[360:500]
    return bool(np.abs(np.diff(table, axis=1)).mean() > 1.05 * np.abs(np.diff(table, axis=0)).mean())


def _meeting_row(grey: npt.NDArray[np.float64]) -> float:
    """The row, as a fraction, towards which the lines of the lower part converge: there the rows line up best."""
    height, width = grey.shape
    rows = np.arange(int(0.70 * height), int(0.98 * height))
    # Seams are thin and darker than what is around them.
    around = np.stack([np.convolve(row, np.ones(21) / 21, "same") for row in grey[rows]])
    detail = np.clip(1 - grey[rows] / around - 0.12, 0, 0.2)
    best, where = -1.0, 0.0
    for horizon in np.arange(0.10, 0.60, 0.01):
        steps = np.linspace(-0.45, 0.45, 600)
        lined = []
        for row, values in zip(rows, detail, strict=True):
            scale = (row + 0.5 - horizon * height) / (0.70 * height - horizon * height)
            x = width / 2 + steps * 0.58 * width * scale
            lined.append(np.interp(x, np.arange(width) + 0.5, values))
        agreement = float(np.mean(lined, axis=0).std())
        if agreement > best:
            best, where = agreement, float(horizon)
    return where


@pytest.mark.parametrize("kind", GROUNDED)
def test_ground_begins_below_the_horizon(kind: str) -> None:
    plate = draw(kind, seed=3)

    assert plate.horizon is not None
    assert 0.2 < plate.horizon < min(studio.TABLE_EDGE, studio.FLOOR_EDGE)


@pytest.mark.parametrize("kind", ["wood", "stone", "marble", "concrete", "brick"])
def test_the_side_of_the_light_is_the_brighter_one(kind: str) -> None:
    left = right = 0
    for seed in range(6):
        plate = draw(kind, seed=seed)
        ground = plate.rgb[125:].astype(float).mean(axis=2)
        lean = ground[:, :60].mean() - ground[:, -60:].mean()
        assert lean * -plate.light.direction[0] > 0
        left, right = left + (lean > 0), right + (lean < 0)

    assert left + right == 6


def test_concrete_panels_lie_differently_from_seed_to_seed() -> None:
    # The darkest thin row of the wall is a seam between two courses.
    seams = set()
    for seed in range(8):
        rows = draw("concrete", size=(400, 400), seed=seed).rgb[10:265].astype(float).mean(axis=(1, 2))
        thin = np.convolve(rows, np.ones(9) / 9, "same") - rows
        seams.add(round((int(np.argmax(thin[8:-8])) + 18) / 8))

    assert len(seams) >= 5


@pytest.mark.parametrize("seed", [0, 1])
def test_granite_keeps_its_grains_up_to_the_table_s_edge(seed: int) -> None:
    grey = draw("stone", size=(600, 600), seed=seed).rgb.astype(float).mean(axis=2)

    for row in (380, 390, 405, 460, 580):
        grains = (grey[row] - np.convolve(grey[row], np.ones(41) / 41, "same"))[30:-30]
        assert grains.std() > 0.025 * grey[row].mean(), row


@given(blur=st.floats(1e-4, 0.05), cells=st.floats(40, 200))
def test_a_mosaic_keeps_its_mean_and_fades_with_the_blur(blur: float, cells: float) -> None:
    ramp = np.linspace(-1, 1, 160, dtype=np.float32)
    wide = [
        MOSAIC.at(ramp[None], ramp[:, None], cells, blur=np.full((160, 1), b, np.float32)) for b in (blur, 2 * blur)
    ]

    assert abs(float(wide[0].mean())) < 0.05
    assert float(wide[1].std()) <= 1.02 * float(wide[0].std())


def test_a_room_shows_behind_its_table() -> None:
    room: RGB = np.zeros((90, 120, 3), np.uint8)
    room[:] = (20, 120, 40)
    plate = studio.draw("table_room", width=200, height=150, seed=0, room=room)

    wall = plate.rgb[10:60].mean(axis=(0, 1))
    assert wall[1] > wall[0] + 50
    assert wall[1] > wall[2] + 50


@pytest.mark.parametrize("kind", sorted(studio.TABLES))
def test_every_table_can_stand_before_a_place_and_in_its_light(kind: str) -> None:
    room = np.zeros((60, 90, 3), np.uint8)
    before = {}
    for name, channel in (("red", 0), ("blue", 2)):
        room[:] = 60
        room[..., channel] = 180
        before[name] = studio.draw(kind, width=90, height=60, seed=0, room=room)
    red, blue = before["red"], before["blue"]
    assert red.horizon == blue.horizon == studio.TABLE_HORIZON
    for part in (slice(0, 20), slice(45, 60)):  # the place, and the table
        assert red.rgb[part, ..., 0].mean() > blue.rgb[part, ..., 0].mean() + 8
        assert red.rgb[part, ..., 2].mean() < blue.rgb[part, ..., 2].mean() - 8
    assert red.light.color[0] > blue.light.color[0]
    dark = studio.draw(kind, width=90, height=60, seed=0, room=np.zeros_like(room))
    assert dark.rgb[:20].mean() < 12


def test_a_room_is_for_tables_only() -> None:
    with pytest.raises(ValueError, match="no room"):
        studio.draw("brick", width=10, height=10, seed=0, room=np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize(("kind", "size", "blamed"), [("moon", (10, 10), "kind"), ("wood", (0, 10), "size")])
def test_what_cannot_be_drawn(kind: str, size: tuple[int, int], blamed: str) -> None:
    with pytest.raises(MatteboxError) as caught:
        draw(kind, size=size)

    assert caught.value.kind is Kind.INVALID_PARAMETER
    assert caught.value.parameter == blamed


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wood", "stone", "concrete"])
def test_longer_sides_than_the_picture_library_takes_at_once(kind: str) -> None:
    for width, height in ((40_000, 3), (3, 40_000), (33_000, 400)):
        assert studio.draw(kind, width=width, height=height, seed=1).rgb.shape == (height, width, 3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bokeh", "table_room"])
def test_a_thread_is_drawn(kind: str) -> None:
    assert studio.draw(kind, width=30_000, height=2, seed=1).rgb.shape == (2, 30_000, 3)

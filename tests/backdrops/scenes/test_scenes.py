from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import OpenEXR
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from mattebox import color
from mattebox.backdrops.prompts.tags import load_tags
from mattebox.backdrops.scenes import catalogue, files, packs
from mattebox.backdrops.scenes.packs import PackScene
from mattebox.download import transfer
from mattebox.download.transfer import State
from mattebox.errors import Kind, MatteboxError

# --- the catalogue


def test_every_view_says_what_it_is() -> None:
    for name, row in catalogue.views().items():
        assert row.name == name
        assert row.name.startswith(row.place.replace("_", "-"))
        assert 4 <= len(row.tags) <= 8, name
        assert len(set(row.tags)) == len(row.tags), name
        assert all(tag == tag.strip() and tag for tag in row.tags)
        assert row.author
        assert -180 <= row.camera.yaw <= 180
        assert 40 <= row.camera.field_of_view <= 95
        assert row.horizon is None if not row.ground else 0.2 < (row.horizon or 0) < 0.5


def test_every_picture_may_be_used_for_anything() -> None:
    assert {row.licence for row in files.panoramas().values()} == {"CC0-1.0"}


def test_every_panorama_is_fetched_by_a_known_checksum() -> None:
    rows = [row.download for row in files.panoramas().values()]
    for row in rows:
        assert len(row.sha256) == 64
        assert row.sources
        assert f"mattebox scenes pull {row.name}" == row.command
    assert len({row.sha256 for row in rows}) == len({row.file for row in rows}) == len(rows)


def test_every_panorama_has_views_and_every_view_a_panorama() -> None:
    assert {row.panorama for row in catalogue.views().values()} == set(files.panoramas())


def test_what_can_be_asked_for_is_there() -> None:
    assert set(load_tags().scenes) == set(catalogue.places())


def test_names_are_resolved_to_panoramas() -> None:
    chosen = catalogue.chosen(["warehouse-ramp", "warehouse", "studio_photo", "night", "studio"])
    assert [row.name for row in chosen] == ["warehouse", "studio", "night"]
    with pytest.raises(MatteboxError, match="Unknown scene moon") as caught:
        catalogue.chosen(["warehouse", "moon"])
    assert caught.value.kind is Kind.INVALID_PARAMETER


def test_a_scene_that_is_not_here_says_how_to_get_it(tmp_path: Path) -> None:
    row = catalogue.views()["warehouse-ramp"]
    assert not catalogue.installed(row, tmp_path)
    with pytest.raises(transfer.NotInstalledError, match="`mattebox scenes pull warehouse`"):
        catalogue.view(row, width=8, height=8, directory=tmp_path)
    transfer.path(row.file.download, tmp_path).write_bytes(b"#?RADIANCE damaged")
    assert catalogue.installed(row, tmp_path)
    with pytest.raises(transfer.NotInstalledError, match="damaged"):
        catalogue.view(row, width=8, height=8, directory=tmp_path)


def test_the_file_within_a_module_is_decoded(tmp_path: Path) -> None:
    conversion = files.panoramas()["warehouse"].download.conversion
    assert conversion is not None
    content = bytes(range(256)) * 3
    script = f"// who made it\nexport default 'data:application/exr;base64,{base64.b64encode(content).decode()}'\n"
    (tmp_path / "a.js").write_text(script)
    conversion.run(tmp_path / "a.js", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content


@pytest.mark.parametrize("apt", ["/usr/bin/apt-get", None])
def test_places_of_a_linux_distribution_are_pulled_where_apt_is(
    apt: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def pull_all(downloads: Sequence[transfer.Download], **_: object) -> tuple[MatteboxError, ...]:
        asked.extend(download.name for download in downloads)
        return ()

    monkeypatch.setattr(transfer, "pull_all", pull_all)
    monkeypatch.setattr("mattebox.backdrops.scenes.catalogue.shutil.which", lambda _: apt)
    assert catalogue.pull() == ()
    assert {"garden", "hotel_room"} & set(asked) == ({"garden", "hotel_room"} if apt else set())
    assert {"warehouse", "forest"} <= set(asked)


# --- real panoramas


@pytest.fixture(scope="module")
def directory() -> Path:
    """Where the panoramas are: fetched, unless they are there already."""
    catalogue.pull()
    assert catalogue.complete()
    return files.default_directory()


@pytest.mark.model
@pytest.mark.parametrize("name", [name for name, row in catalogue.views().items() if not row.file.optional])
def test_a_view_is_a_photo_with_a_light(directory: Path, name: str) -> None:
    row = catalogue.views()[name]
    plate = catalogue.view(row, width=240, height=160, directory=directory)
    assert plate.rgb.shape == (160, 240, 3)
    grey = plate.rgb.mean(axis=2)
    assert grey.std() > 12, "nothing is in sight"
    assert (25 if row.key < 0.1 else 70) < grey.mean() < 200
    assert plate.horizon == row.horizon
    assert plate.depth_of_field == row.ground
    assert plate.served.scene == name
    assert np.linalg.norm(plate.light.direction) == pytest.approx(1, abs=1e-6)
    assert plate.light.direction[1] > 0
    assert np.dot(plate.light.color, (0.2126, 0.7152, 0.0722)) == pytest.approx(1, abs=1e-3)
    assert 0 <= plate.light.strength <= 1


@pytest.mark.model
def test_the_sun_at_sunset_is_before_the_camera_and_low(directory: Path) -> None:
    light = catalogue.view(catalogue.views()["sunset-quay"], width=64, height=64, directory=directory).light
    assert light.direction[2] < -0.8
    assert 0 < light.direction[1] < 0.4


@pytest.mark.model
def test_what_is_here_is_not_fetched_again(directory: Path) -> None:
    everywhere = [row for row in files.panoramas().values() if not row.optional]
    for row in everywhere:
        assert transfer.verify(row.download, directory) is State.PRESENT

    def fail(what: str, _done: int, _total: int | None) -> None:
        pytest.fail(f"something is fetched: {what}")

    assert catalogue.pull([row.name for row in everywhere], progress=fail) == ()


# --- packs


def photo(width: int = 90, height: int = 60, mode: str = "RGB") -> bytes:
    """A picture whose upper third is blue and whose left half is brighter."""
    pixels = np.full((height, width, 3), (120, 110, 100), np.uint8)
    pixels[: height // 3] = (60, 90, 200)
    pixels[:, : width // 2] += 40
    file = io.BytesIO()
    Pillow.fromarray(pixels).convert(mode).save(file, "PNG")
    return file.getvalue()


RIGHT = """
[[scene]]
file = "pictures/kitchen.png"
name = "kitchen"
tags = ["kitchen", "kitchen counter"]
licence = "CC0-1.0"
author = "Jo Doe"
horizon = 0.4
light = { direction = [-1, 2, 2], color = [2, 2, 2], strength = 0.5 }

[[scene]]
file = "hall.png"
name = "hall"
tags = ["hall"]
licence = "CC-BY-4.0"
author = "Jo Doe"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine" / "home"
    (folder / "pictures").mkdir(parents=True)
    (folder / "pack.toml").write_text(RIGHT)
    (folder / "pictures" / "kitchen.png").write_bytes(photo())
    (folder / "hall.png").write_bytes(photo(60, 90))
    (folder / "notes.txt").write_text("not a picture of the pack")
    return folder


def swapped_profile() -> bytes:
    """sRGB with the colorants of red and blue exchanged in the profile's table of tags."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


def test_a_pack_is_read(folder: Path) -> None:
    (pack,) = packs.load_packs(folder.parent)
    assert pack.name == "home"
    kitchen, hall = pack.scenes
    assert (kitchen.name, kitchen.pack, kitchen.tags) == ("kitchen", "home", ("kitchen", "kitchen counter"))
    assert (kitchen.licence, kitchen.author, kitchen.horizon) == ("CC0-1.0", "Jo Doe", 0.4)
    assert kitchen.light is not None
    assert kitchen.light.direction == pytest.approx((-1 / 3, 2 / 3, 2 / 3))
    assert kitchen.light.color == pytest.approx((1, 1, 1))
    assert (hall.horizon, hall.light) == (None, None)
    packs.check(pack)


def test_without_a_directory_there_are_no_packs(tmp_path: Path) -> None:
    assert packs.load_packs(tmp_path / "nowhere") == ()
    (tmp_path / "empty").mkdir()
    assert packs.load_packs(tmp_path) == ()


AROUND = """
scene = [{ file = "Old_Hall_4k.hdr", tags = ["old hall"], licence = "CC0-1.0", author = "Jo Doe" }]
"""


def all_around(*, sun: float) -> npt.NDArray[np.float32]:
    """Green below the horizon, blue above it, and a sun high in the middle of the panorama."""
    light = np.empty((64, 128, 3), np.float32)
    light[:32], light[32:] = (0.1, 0.2, 0.6), (0.1, 0.5, 0.1)
    light[12:16, 62:66] = sun
    return light


def write_radiance(file: Path) -> None:
    found, data = cv2.imencode(".hdr", all_around(sun=500)[..., ::-1])
    assert found
    file.write_bytes(data.tobytes())


def write_exr(file: Path) -> None:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"RGB": all_around(sun=500)}).write(str(file))


def write_jpeg(file: Path) -> None:
    rgb = np.asarray(color.to_srgb(np.clip(all_around(sun=1), 0, 1)) * 255, np.uint8)
    Pillow.fromarray(rgb).save(file, quality=95)


@pytest.mark.parametrize(
    ("file", "write", "more"),
    [
        ("Old_Hall_4k.hdr", write_radiance, ""),
        ("Old_Hall_4k.exr", write_exr, ""),
        ("Old_Hall_4k.jpg", write_jpeg, "panorama = true, "),
    ],
)
def test_a_panorama_in_one_line(file: str, write: Callable[[Path], None], more: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pack.toml").write_text(AROUND.replace("Old_Hall_4k.hdr", file).replace("tags", more + "tags"))
    write(tmp_path / "mine" / file)
    pack = packs.add_pack(tmp_path / "mine", tmp_path / "packs")
    (scene,) = pack.scenes
    assert (scene.name, scene.tags) == ("old_hall_4k", ("old hall",))
    ahead, right, behind, left = (packs.view(scene, width=90, height=60, seed=seed) for seed in range(4))
    for plate in (ahead, right, behind, left):
        assert plate.rgb.shape == (60, 90, 3)
        assert plate.horizon is not None
        sky, ground = plate.rgb[2, 45].astype(int), plate.rgb[-2, 45].astype(int)
        assert sky[2] > sky[1]
        assert ground[1] > ground[2]
        row = round(plate.horizon * 60)
        assert plate.rgb[row - 4, 10, 2] > plate.rgb[row + 4, 10, 2]
        assert plate.depth_of_field
        assert plate.served.scene == "mine/old_hall_4k"
    # The sun is high, before the camera that looks ahead and behind the one that looks back.
    assert ahead.light.direction[2] < -0.3
    assert behind.light.direction[2] > 0.3
    assert ahead.light.direction[1] > 0.5
    assert right.light.direction[0] < -0.3 < 0.3 < left.light.direction[0]


def test_the_views_of_a_panorama_are_chosen(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    write_radiance(tmp_path / "mine" / "Old_Hall_4k.hdr")
    more = "yaw = [10, -20.5], pitch = 3, field_of_view = 50, key = 0.05, ground = false, tags"
    (tmp_path / "mine" / "pack.toml").write_text(AROUND.replace("tags", more))
    (scene,) = packs.load_pack(tmp_path / "mine").scenes
    assert scene.around is not None
    assert [(camera.yaw, camera.pitch, camera.field_of_view) for camera in scene.around.cameras] == [
        (10, 3, 50),
        (-20.5, 3, 50),
    ]
    plate = packs.view(scene, width=30, height=20)
    assert (plate.horizon, plate.depth_of_field) == (None, False)
    assert plate.rgb.mean() < 90


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("panorama = false, ", "true for .hdr and .exr"),
        ("horizon = 0.4, ", "is a panorama, which has no horizon"),
        ("yaw = [], ", r"scene\.0\.yaw: Value should have at least 1 item after validation, not 0\.$"),
        ('yaw = "north", ', r"scene\.0\.yaw\.0: Input should be a valid number"),
        ("field_of_view = 5, ", r"scene\.0\.field_of_view: Input should be greater than or equal to 20"),
        ("ground = 1, ", r"scene\.0\.ground: Input should be a valid boolean"),
    ],
)
def test_what_is_wrong_with_a_panorama_is_said(more: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    write_radiance(tmp_path / "mine" / "Old_Hall_4k.hdr")
    (tmp_path / "mine" / "pack.toml").write_text(AROUND.replace("tags", more + "tags"))
    with pytest.raises(MatteboxError, match=words):
        packs.load_pack(tmp_path / "mine")


def test_a_picture_that_is_no_panorama_is_not_added_as_one(folder: Path, tmp_path: Path) -> None:
    text = RIGHT.replace('file = "hall.png"', 'file = "hall.png"\npanorama = true')
    (folder / "pack.toml").write_text(text)
    with pytest.raises(MatteboxError, match=r"home/hall\.png of a scene pack is not twice as wide as high"):
        packs.add_pack(folder, tmp_path / "packs")
    (folder / "pack.toml").write_text(RIGHT.replace("horizon = 0.4", "yaw = 3"))
    with pytest.raises(MatteboxError, match="is no panorama, and needs no yaw"):
        packs.load_pack(folder)


@pytest.mark.parametrize(("width", "height"), [(90, 60), (45, 30), (200, 200), (400, 50), (50, 400), (1, 1)])
def test_a_picture_is_fitted_and_cut(folder: Path, width: int, height: int) -> None:
    kitchen, hall = packs.load_pack(folder).scenes
    for scene in (kitchen, hall):
        plate = packs.view(scene, width=width, height=height)
        assert plate.rgb.shape == (height, width, 3)
        assert plate.rgb.flags.c_contiguous
    plate = packs.view(kitchen, width=width, height=height)
    assert plate.horizon is not None
    assert 0 <= plate.horizon <= 1
    assert plate.served.scene == "home/kitchen"
    assert packs.view(hall, width=width, height=height).horizon is None


def test_the_horizon_moves_with_the_cut(folder: Path) -> None:
    kitchen = packs.load_pack(folder).scenes[0]
    assert packs.view(kitchen, width=180, height=120).horizon == pytest.approx(0.4)
    wide = packs.view(kitchen, width=90, height=30)  # the rows from 14 to 43 of 60; the horizon is row 24
    assert wide.horizon == pytest.approx(10 / 30, abs=0.04)
    sky = np.flatnonzero(wide.rgb[:, 80, 2] > 150)
    assert len(sky) == pytest.approx(6, abs=1)


def test_a_picture_in_another_profile_comes_out_in_srgb(folder: Path) -> None:
    file = folder / "hall.png"
    with Pillow.open(file) as picture:
        picture.save(file, icc_profile=swapped_profile())
    first, second = (packs.view(scene, width=90, height=90).rgb for scene in packs.load_pack(folder).scenes)
    assert first[5, 70, 2] > first[5, 70, 0] + 50
    assert second[5, 70, 0] > second[5, 70, 2] + 50  # its profile says that what is stored as blue is red


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "", r"must have 1 to 1000 \[\[scene\]\]"),
        (lambda text: "[[scene]", "not TOML"),
        (lambda text: text + '\n[pack]\ntitle = "x"', "pack: Unexpected keyword argument"),
        (lambda text: text.replace('author = "Jo Doe"', "", 1), r"scene\.0\.author: Field required"),
        (
            lambda text: text.replace('licence = "CC0-1.0"', "licence = 3"),
            r"scene\.0\.licence: Input should be a valid string",
        ),
        (lambda text: text.replace('["hall"]', "[]"), r"scene\.1\.tags: Tuple should have at least 1 item"),
        (lambda text: text.replace('["hall"]', '"hall"'), r"scene\.1\.tags: Input should be a valid array"),
        (lambda text: text.replace('name = "hall"', 'name = "kitchen"'), "two scenes are called kitchen"),
        (
            lambda text: text.replace('name = "hall"', 'name = "The Hall"'),
            r"scene\.1\.name: String should match pattern",
        ),
        (
            lambda text: text.replace("horizon = 0.4", "horizon = 1.4"),
            r"scene\.0\.horizon: Input should be less than or equal to 1",
        ),
        (
            lambda text: text.replace("horizon = 0.4", "horizon = true"),
            r"scene\.0\.horizon: Input should be a valid number",
        ),
        (lambda text: text.replace("horizon = 0.4", "horizon = nan"), r"scene\.0\.horizon: Input should be"),
        (
            lambda text: text.replace("horizon = 0.4", "horizont = 0.4"),
            r"scene\.0\.horizont: Unexpected keyword argument",
        ),
        (lambda text: text.replace("hall.png", "../../other.png"), "outside the pack"),
        (lambda text: text.replace("hall.png", "/etc/hostname"), "outside the pack"),
        (lambda text: text.replace("hall.png", "nothing.png"), "nothing.png, does not exist"),
        (
            lambda text: text.replace("[-1, 2, 2]", "[0, 0, 0]"),
            r"scene\.0\.light: direction must be finite numbers, and not all zero",
        ),
        (lambda text: text.replace("[-1, 2, 2]", "[1, 2]"), r"scene\.0\.light\.direction\.2: Field required"),
        (lambda text: text.replace("[2, 2, 2]", "[0, 0, 0]"), r"scene\.0\.light: color must be .* not black"),
        (lambda text: text.replace("strength = 0.5", "strength = 2"), r"scene\.0\.light: strength must be from 0 to 1"),
        (
            lambda text: text.replace("strength = 0.5", "power = 2"),
            r"scene\.0\.light\.power: Unexpected keyword argument",
        ),
    ],
)
def test_what_is_wrong_with_a_pack_is_said(folder: Path, change: Callable[[str], str], words: str) -> None:
    (folder / "pack.toml").write_text(change(RIGHT))
    with pytest.raises(MatteboxError, match=words) as caught:
        packs.load_pack(folder)
    assert caught.value.kind is Kind.INVALID_PARAMETER
    assert "home" in caught.value.message
    assert str(folder) not in caught.value.message


def test_a_link_out_of_a_pack_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(photo())
    (folder / "hall.png").unlink()
    (folder / "hall.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(MatteboxError, match="outside the pack"):
        packs.load_pack(folder)


def test_a_pack_is_copied_with_its_pictures_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "user" / "scenes"
    pack = packs.add_pack(folder, target)
    assert pack.folder == target / "home"
    copied = {str(file.relative_to(target)) for file in target.rglob("*") if file.is_file()}
    assert copied == {"home/pack.toml", "home/hall.png", "home/pictures/kitchen.png"}
    assert packs.load_packs(target) == (pack,)
    with pytest.raises(MatteboxError, match="already") as caught:
        packs.add_pack(folder, target)
    assert caught.value.kind is Kind.CONFLICT


@pytest.mark.parametrize(("content", "words"), [(b"not a picture", "home/hall.png"), (photo(mode="RGBA"), "opaque")])
def test_a_pack_with_an_unfit_picture_is_not_added(folder: Path, tmp_path: Path, content: bytes, words: str) -> None:
    if words == "opaque":
        transparent = Pillow.open(io.BytesIO(content))
        transparent.putalpha(100)
        transparent.save(folder / "hall.png")
    else:
        (folder / "hall.png").write_bytes(content)
    target = tmp_path / "user"
    with pytest.raises(MatteboxError, match=words) as caught:
        packs.add_pack(folder, target)
    assert caught.value.kind is Kind.UNREADABLE_IMAGE
    assert not list(target.glob("*")) if target.exists() else True


def test_a_directory_that_cannot_be_written_is_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "user").write_text("a file where a directory is wanted")
    with pytest.raises(MatteboxError, match="cannot be copied") as caught:
        packs.add_pack(folder, tmp_path / "user")
    assert caught.value.kind is Kind.CONFLICT


def test_a_picture_that_went_away_is_said(folder: Path) -> None:
    scene: PackScene = packs.load_pack(folder).scenes[1]
    scene.file.unlink()
    with pytest.raises(MatteboxError, match=r"home/hall\.png"):
        packs.view(scene, width=8, height=8)

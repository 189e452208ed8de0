"""Run by `test_vendor_clients` with `withoutbg` and nothing else of the test environment.

Arguments: the server's address, a photo, a folder for results.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import withoutbg  # type: ignore[import-not-found]
from click.testing import CliRunner
from PIL import Image
from withoutbg import WithoutBG, cli
from withoutbg.api import ProAPI, WithoutBGAPIClient  # type: ignore[import-not-found]


def failure(action: Callable[[], object]) -> list[str]:
    try:
        action()
    except withoutbg.APIError as error:
        return [type(error).__name__, str(error)]
    return ["nothing failed"]


def main(address: str, photo: str, results: str) -> None:
    folder = Path(results)
    model = WithoutBG.api("right-key", base_url=address)
    steps: list[float] = []
    model.remove_background(photo, progress_callback=steps.append).save(folder / "path.png")
    model.remove_background(Path(photo).read_bytes()).save(folder / "bytes.png")
    with Image.open(photo) as opened:
        large = opened.resize((1500, 1500))
        opened.save(folder / "photo.png")
    model.remove_background(large).save(folder / "large.png")
    # A PNG, because it saves the results under the photos' extensions, and JPEG has no transparency.
    model.remove_background_batch([folder / "photo.png", large.resize((64, 64))], output_dir=folder / "batch")

    # The command has no option for the address.
    original = WithoutBG.api
    WithoutBG.api = staticmethod(lambda key: original(key, base_url=address))
    os.environ["WITHOUTBG_API_KEY"] = "right-key"
    commands = {
        suffix: CliRunner().invoke(
            cli.main, [photo, "--use-api", "--format", suffix, "-o", str(folder / f"command.{suffix}")]
        )
        for suffix in ("png", "jpg", "webp")
    }
    wrong_command = CliRunner().invoke(cli.main, [photo, "--use-api", "--api-key", "wrong-key"])

    right, wrong = WithoutBGAPIClient("right-key", base_url=f"{address}/"), ProAPI("wrong-key", base_url=address)
    broken = WithoutBGAPIClient("right-key", base_url=address)
    broken._encode_image = lambda _: "?"
    said = {
        "where": withoutbg.__file__,
        "steps": steps,
        "commands": {suffix: [done.exit_code, done.output] for suffix, done in commands.items()},
        "wrong command": [wrong_command.exit_code, wrong_command.output],
        "usage": right.get_usage(),
        "models": right.get_models(),
        "wrong key": failure(lambda: wrong.remove_background(photo)),
        "wrong usage": failure(wrong.get_usage),
        "wrong models": failure(wrong.get_models),
        "wrong picture": failure(lambda: broken.remove_background(photo)),
    }
    print(json.dumps(said))


main(*sys.argv[1:])

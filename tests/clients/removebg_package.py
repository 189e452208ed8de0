"""Run by `test_vendor_clients` with `removebg` and nothing else of the test environment.

Its address is a constant of its own and not to be given, so it is set here.

Arguments: the server's address, a photo, the photo's address, a folder for results.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import requests
from removebg import RemoveBg, removebg  # type: ignore[import-not-found]


def failure(action: Callable[[], object]) -> list[object]:
    try:
        action()
    except requests.HTTPError as error:
        answer = error.response
        assert answer is not None
        return [answer.status_code, answer.json()["errors"][0]["code"]]
    return ["nothing failed"]


def main(address: str, photo: str, url: str, results: str) -> None:
    removebg.API_ENDPOINT = f"{address}/v1.0/removebg"
    folder = Path(results)
    client = RemoveBg("right-key", str(folder / "error.log"))
    own = shutil.copy(photo, folder / "photo.jpg")
    client.remove_background_from_img_file(own)
    client.remove_background_from_img_file(shutil.copy(photo, folder / "large.jpg"), size="4k", bg_color="00ff00")
    client.remove_background_from_img_url(url, new_file_name=str(folder / "url"))
    encoded = base64.b64encode(Path(photo).read_bytes())
    client.remove_background_from_base64_img(encoded, "hd", str(folder / "base64"))
    wrong = RemoveBg("wrong-key", str(folder / "error.log"))
    said = {
        "where": removebg.__file__,
        "wrong key": failure(lambda: wrong.remove_background_from_img_file(own)),
        "wrong color": failure(lambda: client.remove_background_from_img_file(own, bg_color="#ggg")),
        "wrong address": failure(lambda: client.remove_background_from_img_url(url + ".missing")),
    }
    print(json.dumps(said))


main(*sys.argv[1:])

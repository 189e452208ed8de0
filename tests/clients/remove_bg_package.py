"""Run by `test_vendor_clients` with `remove-bg` and nothing else of the test environment.

Its address is a constant of its own and not to be given, so it is set here.

Arguments: the server's address, a photo, the photo's address, a folder for results.
"""

from __future__ import annotations

import base64
import collections
import collections.abc
import json
import sys
from collections.abc import Callable
from pathlib import Path

# The client asks for it where Python had it until 3.9.
collections.Callable = collections.abc.Callable  # type: ignore[attr-defined]

from removebg import APIException, RemoveBg, constants  # type: ignore[import-not-found]  # noqa: E402


def failure(action: Callable[[], object]) -> list[object]:
    try:
        action()
    except APIException as error:
        return [type(error).__name__, str(error)]
    return ["nothing failed"]


def main(address: str, photo: str, url: str, results: str) -> None:
    constants.API_ENDPOINT = f"{address}/v1.0/"
    folder = Path(results)
    client = RemoveBg("right-key")
    encoded = base64.b64encode(Path(photo).read_bytes())
    with Path(photo).open("rb") as behind:
        backed = client.remove_background_from_file(photo, size="full", bg_image_file=behind)
    pictures = {
        "file": client.remove_background_from_file(photo, size="full", crop=True, semitransparency=False),
        "backed": backed,
        "url": client.remove_background_from_url(url, size="auto", format="webp"),
        "base64": client.remove_background_from_base64(encoded),
    }
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
    wrong = RemoveBg("wrong-key")
    said = {
        "where": constants.__file__,
        "wrong key": failure(lambda: wrong.remove_background_from_file(photo)),
        "wrong size": failure(lambda: client.remove_background_from_file(photo, size="huge")),
        "wrong address": failure(lambda: client.remove_background_from_url(url + ".missing")),
    }
    print(json.dumps(said))


main(*sys.argv[1:])

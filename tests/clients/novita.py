"""Run by `test_vendor_clients` with one version of the vendor's client and nothing else of the test environment.

Arguments: the server's address, a photo, a folder for results.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import novita_client  # type: ignore[import-not-found]
from novita_client.exceptions import NovitaResponseError  # type: ignore[import-not-found]


def save(folder: Path, name: str, response: Any) -> str:
    (folder / name).write_bytes(base64.b64decode(response.image_file))
    return str(response.image_type)


def failure(action: Callable[[], object]) -> str:
    try:
        action()
    except NovitaResponseError as error:
        return str(error)
    return "nothing failed"


def main(address: str, photo: str, results: str) -> None:
    folder = Path(results)
    client = novita_client.NovitaClient("right-key", address + "/")
    said: dict[str, object] = {"where": novita_client.__file__}
    said["default"] = save(folder, "default", client.remove_background(photo))
    for kind in ("png", "webp", "jpeg"):
        said[kind] = save(folder, kind, client.remove_background(Path(photo), response_image_type=kind))
    said["base64"] = save(
        folder,
        "base64",
        client.remove_background(base64.b64encode(Path(photo).read_bytes()).decode(), "png", enterprise_plan=True),
    )
    wrong = novita_client.NovitaClient("wrong-key", address)
    said["wrong key"] = failure(lambda: wrong.remove_background(photo))
    said["wrong picture"] = failure(lambda: client.remove_background(base64.b64encode(b"a letter").decode()))
    said["wrong type"] = failure(lambda: client.remove_background(photo, response_image_type="tiff"))
    said["unknown call"] = failure(lambda: client.remove_text(photo))
    print(json.dumps(said))


main(*sys.argv[1:])

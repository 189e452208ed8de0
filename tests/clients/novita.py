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


def wait(client: Any, image: str, **extra: object) -> Any:
    """What becomes of a task, as the client waits for it."""
    begun = client._post("/v3/async/image-remove-background", {"image": image, "extra": extra})
    assert list(begun) == ["task_id"]
    seen: list[str] = []
    ended = client.wait_for_task_v3(
        begun["task_id"], wait_for=60, callback=lambda each: seen.append(each.task.status.name)
    )
    assert seen[-1] == ended.task.status.name
    return ended


def tasks(client: Any, photo: str, folder: Path) -> dict[str, object]:
    image = base64.b64encode(Path(photo).read_bytes()).decode()
    done = wait(client, image, response_image_type="webp")
    done.download_images()
    (encoded,) = done.images_encoded
    (folder / "task").write_bytes(base64.b64decode(encoded))
    (shown,) = done.images
    failed = wait(client, "http://192.168.0.1/photo.jpg")
    test = {"enabled": True, "return_task_status": "TASK_STATUS_FAILED"}
    tested = wait(client, "http://192.168.0.1/photo.jpg", webhook={"url": "http://192.168.0.1/", "test_mode": test})
    times = done.extra.debug_info
    return {
        "status": done.task.status.name,
        "type": shown.image_type,
        "ttl": shown.image_url_ttl,
        "progress": done.task.progress_percent,
        "milliseconds": times.complete_time_ms - times.submit_time_ms,
        "failed": [failed.task.status.name, failed.task.reason, failed.images],
        "tested": [tested.task.status.name, tested.images],
        "unknown": failure(lambda: client.async_task_result("nothing")),
    }


def replacements(client: Any, photo: str, folder: Path) -> dict[str, object]:
    """Another background, described in words."""

    def replace(name: str, prompt: str, kind: str | None = None) -> str:
        return save(folder, name, client.replace_background(photo, prompt, response_image_type=kind))

    return {
        "default": replace("replaced", "in a warehouse"),
        "png": replace("replaced-png", "in a warehouse", "png"),
        "again": replace("replaced-again", "in a warehouse", "png"),
        "webp": replace("replaced-webp", "plain pastel pink", "webp"),
        "nothing": replace("replaced-nothing", "", "png"),
        "refused": failure(lambda: client.replace_background(photo, "inside a whale's stomach")),
        "long": failure(lambda: client.replace_background(photo, "warehouse " * 201)),
    }


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
    said["task"] = tasks(client, photo, folder)
    said["replaced"] = replacements(client, photo, folder)
    print(json.dumps(said))


main(*sys.argv[1:])

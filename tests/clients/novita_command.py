"""Run by `test_vendor_clients` with the vendor's command line and nothing else of the test environment.

Its address is a constant of its own and not to be given, so it is set here before the commands are run.

Arguments: the server's address, a photo, a folder for results.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import requests
from click.testing import CliRunner
from novita_cli.core import client  # type: ignore[import-not-found]
from novita_cli.novita_cli import cli  # type: ignore[import-not-found]


def command(*arguments: str) -> list[object]:
    done = CliRunner().invoke(cli, ["--api-key", "right-key", *arguments])
    return [done.exit_code, done.output]


def queue(address: str, image: str) -> str:
    begun = requests.post(
        f"{address}/v3/async/image-remove-background",
        json={"image": image},
        headers={"Authorization": "Bearer right-key"},
        timeout=30,
    )
    return str(begun.json()["task_id"])


def main(address: str, photo: str, results: str) -> None:
    client.BASE_URL = address
    done = queue(address, base64.b64encode(Path(photo).read_bytes()).decode())
    failed = queue(address, "http://192.168.0.1/photo.jpg")
    said = {
        "where": client.__file__,
        "task": done,
        "cut out": command("image", "remove-bg", photo, "-o", f"{results}/direct", "--format", "webp"),
        "wait": command("task", "wait", done, "-o", results, "--timeout", "60"),
        "status": command("task", "status", done),
        "wait for failure": command("task", "wait", failed, "--timeout", "60"),
        "replaced": command("image", "replace-bg", photo, "in a warehouse", "-o", f"{results}/replaced"),
        "refused": command("image", "replace-bg", photo, "inside a whale's stomach", "-o", f"{results}/refused"),
        "unknown": command("task", "status", "nothing"),
    }
    print(json.dumps(said))


main(*sys.argv[1:])

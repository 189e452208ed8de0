"""Run by `test_vendor_clients` with `removebg-cli` and nothing else of the test environment.

It writes one of its addresses as a constant and one in place, so here the vendor's address stands for the server's.

Arguments: the server's address, a photo, the photo's address, a folder for results.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from typing import Any

import removebg_cli  # type: ignore[import-not-found]
import requests


def command(*arguments: str, key: str = "right-key") -> list[object]:
    os.environ["REMOVE_BG_API_KEY"] = key
    sys.argv = ["removebg", *arguments]
    removebg_cli.console.file = said = io.StringIO()
    code = 0
    with contextlib.redirect_stdout(said):
        try:
            removebg_cli.main()
        except SystemExit as error:
            code = int(error.code or 0)
    return [code, said.getvalue()]


def main(address: str, photo: str, url: str, results: str) -> None:
    class Redirected(requests.Session):
        def request(self, method: str, url: str | bytes, *more: Any, **rest: Any) -> requests.Response:
            there = url if isinstance(url, str) else url.decode()
            return super().request(method, there.replace("https://api.remove.bg", address), *more, **rest)

    vars(requests.sessions)["Session"] = Redirected
    said = {
        "where": removebg_cli.__file__,
        "account": command("--account"),
        "file": command(photo, "-o", f"{results}/file"),
        "crop": command(photo, "-o", f"{results}/crop", "-s", "full", "-f", "webp", "-c", "--shadow"),
        "jpg": command(photo, "-o", f"{results}/jpg", "-f", "jpg", "-b", "ff0000"),
        "zip": command(photo, "-o", f"{results}/zip", "-f", "zip"),
        "url": command(url, "-o", f"{results}/url", "-s", "preview"),
        "wrong key": command(photo, key="wrong-key"),
        "wrong account": command("--account", key="wrong-key"),
        "wrong color": command(photo, "-b", "greenish"),
        "wrong address": command(url + ".missing"),
    }
    print(json.dumps(said))


main(*sys.argv[1:])

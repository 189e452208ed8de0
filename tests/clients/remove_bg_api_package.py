"""Run by `test_vendor_clients` with `remove-bg-api` and nothing else of the test environment.

Its address is a constant of its own and not to be given, so it is set here.

Arguments: the server's address, a photo, the photo's address, a folder for results.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path

import remove_bg_api  # type: ignore[import-not-found]
from remove_bg_api import Errors, RemoveBg


def failure(action: Callable[[], object]) -> str:
    try:
        action()
    except (Errors.ApiErrorCode400, Errors.ApiErrorCode402, Errors.ApiErrorCode403) as error:
        return type(error).__name__
    return "nothing failed"


def main(address: str, photo: str, url: str, results: str) -> None:
    remove_bg_api.API_URL = f"{address}/v1.0"
    folder = Path(results)
    client = RemoveBg("right-key")
    before = client.account.balance()
    data = Path(photo).read_bytes()
    client.remove_bg_file(photo, out_path=str(folder / "file"), size="full", raw=False)
    (folder / "bytes").write_bytes(client.remove_bg_bytes(data, data={"size": "full", "channels": "alpha"}))
    (folder / "url").write_bytes(client.remove_bg_url(url))
    encoded = base64.b64encode(data).decode()
    (folder / "base64").write_bytes(client.remove_bg_base64(encoded, data={"bg_color": "white", "size": "hd"}))
    said = {
        "where": remove_bg_api.__file__,
        "charged": before - client.account.balance(),
        "account": client.account.get_all_info(),
        "credits": client.account.get_balance_dict(),
        "free": client.account.free_api_calls(),
        "wrong key": failure(lambda: RemoveBg("wrong-key")),
        "wrong picture": failure(lambda: client.remove_bg_bytes(b"a letter")),
        "wrong scale": failure(lambda: client.remove_bg_file(photo, data={"scale": "0"})),
    }
    print(json.dumps(said))


main(*sys.argv[1:])
